"""Collections whose images are frames of videos, read by region of space and time."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from subregion.errors import ConfigError, RecordError, RegionTypeError, shown
from subregion.frames import Frames
from subregion.geometry.region import ClipRegion, Region, split_time
from subregion.read.clip import Clip, read_clip
from subregion.read.options import Channels, Fill, Interpolation, read_options
from subregion.read.resolution import resolved_alike


class VideoCollection(Frames):
    """A collection whose images are frames of videos.

    A subclass supplies `video_ids` and `frames_of`, besides `image_ids` and `record`, whose records say
    by a `VideoPlace` where each frame lies in its video.
    """

    @property
    @abstractmethod
    def video_ids(self) -> Sequence[Hashable]:
        """The ids of all videos, in order."""

    @abstractmethod
    def frames_of(self, video_id: Any) -> Sequence[Hashable]:
        """Return the ids of the images of a video, in the order of their frame index.

        Raises
        ------
        UnknownVideoError
            If there is no such video.
        """

    def load_clip(
        self,
        video_id: Any,
        region: ClipRegion = None,
        channels: Channels = None,
        *,
        frames: Iterable[Any] | None = None,
        space: str = "video",
        scale: float | tuple[float, float] = 1,
        interpolation: Interpolation = "linear",
        antialias: bool = True,
        nodata: str | None = None,
        dequantize: bool = False,
        fill: Fill = None,
        threads: int | None = None,
        details: bool = False,
        resolution: float | tuple[float, float] | None = None,
    ) -> Any:
        """Read a region of space and time.

        Parameters
        ----------
        video_id : hashable
            Which video.
        region : tuple of slices, Window or None
            Which frames and pixels, as of an array (frames, rows, columns, channels), in which each frame
            of the video is one step of the first axis, whatever its frame index. Slices are NumPy's. A
            `Window` stands for rows and columns, alone or behind a slice of frames; it may leave the video,
            and the result has exactly its shape. None is the whole video.
        channels : str, sequence of str or None
            Which channels; see `load_region`. ``"<all>"`` is every channel of the whole video, in the order
            in which they first appear; None those of the default file, if they are the same in all frames.
        frames : iterable of hashable or None
            Which images make up the first axis, in which order: ids as `frames_of` gives them, which may
            repeat. None is all of the video.
        space : str
            Whose pixels are counted: those of the ``"video"``, into which each frame is drawn by its own
            transform, or those of each ``"image"``.
        scale, interpolation, antialias, nodata, dequantize
            As for `load_region`.
        fill : float, str or None
            What lies outside, as for `load_region`. A number also stands for a channel that a frame lacks,
            which otherwise is 0 for integers and NaN for floats, under ``nodata="float"`` always NaN, and
            under ``nodata="ma"`` masked.
        threads : int or None
            How many threads decode; None is one per core.
        details : bool
            Whether to tell what was read: images, frame indexes, and which channels were missing where.
        resolution : float, tuple of float or None
            As for `load_region`; the pixels of all frames must be of one size.

        Returns
        -------
        ndarray, shape (frames, rows, columns, channels), or Clip
            Of a type that holds all frames, C-contiguous, owned by the caller; a `Clip` with `details`.

        Raises
        ------
        UnknownVideoError, UnknownImageError, UnknownChannelError
            If there is no such video or image, or no frame of the video has such a channel (`KeyError`).
        RegionError, RegionTypeError
            If the region has no meaning (`IndexError`, `TypeError`).
        RecordError
            If frames do not fit together, or are not of this video.
        SubregionError
            As for `load_region`.
        """
        options = read_options(scale, interpolation, antialias, nodata, dequantize, fill, resolution)
        owner = f"video {shown(video_id)}"
        every = self.frames_of(video_id)
        listed = every if frames is None else _listed(frames)
        times, rest = split_time(region, len(listed))
        record = partial(self._record_in, space)
        records = [record(listed[time]) for time in times]
        for each in records:
            if each.video is None or each.video.video_id != video_id:
                raise RecordError(f"image {shown(each.image_id)}: is no frame of {owner}.")
        if not every:
            raise RecordError(f"{owner}: has no frames, so there is nothing to read.")
        if resolution is not None:
            options = resolved_alike(self._store, records or [record(every[0])], options)
        clip = read_clip(
            self._store,
            owner,
            records,
            lambda: map(record, every),
            rest,
            channels,
            threads,
            options,
        )
        return clip if details else clip.pixels

    def load_stack(
        self,
        image_ids: Iterable[Any],
        region: Region = None,
        channels: Channels = None,
        *,
        space: str = "video",
        scale: float | tuple[float, float] = 1,
        interpolation: Interpolation = "linear",
        antialias: bool = True,
        nodata: str | None = None,
        dequantize: bool = False,
        fill: Fill = None,
        threads: int | None = None,
        at_least: DTypeLike | None = None,
    ) -> Clip:
        """Read one region of many images, of one video, of several, or of none.

        Channels that an image lacks, or all of them, are filled and told.

        Parameters
        ----------
        image_ids : iterable of hashable
            Which images make up the first axis, in which order; they may repeat. At least one.
        region : Window, slices or None
            Which pixels of each.
        channels : str, sequence of str or None
            Which channels; see `load_region`. ``"<all>"`` is every channel that any of them has, in the order
            in which they first appear; None those of the default file, if they are the same in all.
        space : str
            ``"video"``: each frame of a video is drawn on the grid of its own, and an image that is in none
            is read as it is; ``"image"``: all of them are.
        scale, interpolation, antialias, nodata, dequantize, fill, threads
            As for `load_clip`.
        at_least : dtype or None
            A type that the result must hold, beside the pixels: float32 has integers come as floats, with NaN
            outside unless `fill` says otherwise.

        Returns
        -------
        Clip
            Pixels, and which channels were missing where.

        Raises
        ------
        UnknownImageError
            If there is no such image.
        RegionError, RegionTypeError, RecordError, SubregionError
            As for `load_clip`.
        """
        options = read_options(scale, interpolation, antialias, nodata, dequantize, fill)
        records = [self._record_in("image", image_id) for image_id in _listed(image_ids)]
        if space == "video":
            records = [record if record.video is None else record.in_video() for record in records]
        elif space != "image":
            raise ConfigError(f"space={shown(space)}: allowed are 'image', 'video'.")
        if not records:
            raise RecordError("load_stack: there are no images, so there is nothing to read.")
        return read_clip(
            self._store,
            "the images",
            records,
            lambda: iter(records),
            region,
            channels,
            threads,
            options,
            lenient=True,
            at_least=None if at_least is None else np.dtype(at_least),
        )


def _listed(frames: Any) -> Sequence[Any]:
    if isinstance(frames, str | bytes) or not isinstance(frames, Iterable):
        raise RegionTypeError(
            f"frames={shown(frames)}: a list of image ids is needed, such as [{shown(frames)}]."
        )
    return list(frames)
