"""Video files as collections of their frames."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from subregion.collections.video import VideoCollection
from subregion.errors import ConfigError, RegionTypeError, UnknownImageError, UnknownVideoError, shown
from subregion.formats.open import count_frames
from subregion.paths import path_of
from subregion.records import Asset, ImageRecord, VideoPlace

if TYPE_CHECKING:
    from subregion.cache.backend import Backend
    from subregion.cache.limits import Size
    from subregion.cache.store import Store


class VideoFrames(VideoCollection):
    """The frames of a video file, or of several.

    Frame `n` is the n-th that is shown when the file is played from its beginning, counted from 0, whatever
    its time. Frames are decoded by FFmpeg (``pip install 'subregion[video]'``): the nearest key frame is
    found by an index, and frames that are read in order are decoded in one go.

    Parameters
    ----------
    videos : path, or mapping from name to path
        One file, whose image ids are the numbers of its frames; or several, whose image ids are pairs
        ``(name, number)``. Relative paths are relative to the folder that is current now.
    workdir, backend, hashid_mode, max_size
        See `Frames`; hashes cannot be ``"GIVEN"``. A converted copy is made of each frame by itself.

    Examples
    --------
    >>> import av, os, tempfile
    >>> import numpy as np
    >>> path = os.path.join(tempfile.mkdtemp(), "grey.mkv")
    >>> with av.open(path, "w") as file:
    ...     stream = file.add_stream("ffv1", rate=25, width=64, height=48, pix_fmt="gray")
    ...     for level in (0, 100, 200):
    ...         pixels = np.full((48, 64), level, np.uint8)
    ...         file.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="gray")))
    ...     file.mux(stream.encode())
    >>> frames = VideoFrames(path)
    >>> len(frames)
    3
    >>> int(frames.load_region(2, (slice(0, 10), slice(0, 10))).max())
    200
    >>> frames.load_clip("grey.mkv", (slice(1, None), slice(0, 10), slice(0, 20))).shape
    (2, 10, 20, 1)
    """

    def __init__(
        self,
        videos: str | os.PathLike[str] | Mapping[Any, str | os.PathLike[str]],
        workdir: str | os.PathLike[str] | None = None,
        backend: Backend = "auto",
        hashid_mode: str = "PATH",
        *,
        max_size: Size = None,
    ) -> None:
        super().__init__(workdir, backend, hashid_mode, max_size=max_size)
        if self.hashid_mode == "GIVEN":
            raise ConfigError("VideoFrames takes no hashes; use hashid_mode='PATH', 'PIXELS' or 'DVC'.")
        self._single = isinstance(videos, str | bytes | os.PathLike)
        if isinstance(videos, str | bytes | os.PathLike):
            videos = {os.path.basename(path_of(videos, "videos")): os.fsdecode(videos)}
        if not isinstance(videos, Mapping):
            raise RegionTypeError(
                f"videos must be a path or map names to paths, not be a {type(videos).__name__}; "
                f"for a list of paths write dict(enumerate(paths))."
            )
        self._paths = {
            name: os.path.abspath(path_of(path, f"video {shown(name)}")) for name, path in videos.items()
        }
        self._counts: dict[Any, int] = {}
        self._ids: Sequence[Hashable] | None = None

    def _counting(self, store: Store) -> Store:
        return store  # frames that are read in order cost a frame each, not the file

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_counts": {}, "_ids": None}

    @property
    def video_ids(self) -> Sequence[Hashable]:
        """The names of the videos; that of a single one is the name of its file."""
        return list(self._paths)

    @property
    def image_ids(self) -> Sequence[Hashable]:
        """The numbers of all frames, or pairs ``(name, number)``; looks into every file, once."""
        if self._ids is None:
            if self._single:
                self._ids = range(len(self))
            else:
                self._ids = [(name, n) for name in self._paths for n in range(self._count(name))]
        return self._ids

    def __len__(self) -> int:
        return sum(self._count(name) for name in self._paths)

    def _count_shown(self) -> str:
        known = [self._counts.get(name) for name in self._paths]
        frames = "frames not counted yet" if None in known else f"{sum(filter(None, known))} images"
        return f"{len(self._paths)} videos, {frames}"

    def __contains__(self, image_id: object) -> bool:
        """Whether there is such a frame; its file is looked into once, for how many there are."""
        try:
            name, number = self._named(image_id)
        except UnknownImageError:
            return False
        return number >= 0 and number < self._count(name)

    def frames_of(self, video_id: Any) -> Sequence[Hashable]:
        """Return the image ids of the frames of a video, in the order in which they are shown."""
        try:
            known = video_id in self._paths
        except TypeError:
            known = False
        if not known:
            raise UnknownVideoError(f"no video {shown(video_id)} among {shown(list(self._paths))}.")
        count = self._count(video_id)
        return range(count) if self._single else [(video_id, n) for n in range(count)]

    def record(self, image_id: Any) -> ImageRecord:
        """Return what is known of a frame; see `Frames.record`."""
        name, number = self._named(image_id)
        if not 0 <= number < self._count(name):
            raise UnknownImageError(
                f"no frame {shown(image_id)}: {self._paths[name]} has {self._count(name)} frames, "
                f"0 to {self._count(name) - 1}."
            )
        asset = Asset(self._paths[name], frame=number)
        return ImageRecord(image_id, (asset,), video=VideoPlace(name, number))

    def _named(self, image_id: Any) -> tuple[Any, int]:
        name, number = (next(iter(self._paths)), image_id) if self._single else (None, None)
        if not self._single and isinstance(image_id, tuple) and len(image_id) == 2:
            name, number = image_id
        try:
            known = name in self._paths
        except TypeError:
            known = False
        if not known or isinstance(number, bool) or not isinstance(number, int | np.integer):
            form = "the number of a frame" if self._single else "a pair (name of the video, number)"
            raise UnknownImageError(f"no image with id {shown(image_id)}: an id is {form}.")
        return name, int(number)

    def _count(self, name: Any) -> int:
        count = self._counts.get(name)
        if count is None:
            count = self._counts[name] = count_frames(self._paths[name])
        return count
