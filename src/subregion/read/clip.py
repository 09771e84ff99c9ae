"""One region of many frames of a video, as one array: channels that a frame lacks are filled and told."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from subregion.errors import RecordError, RegionError
from subregion.geometry.channels import ALL, kept_channels, parse_channels
from subregion.geometry.placement import OutputGrid
from subregion.geometry.region import Region, Selection, select
from subregion.geometry.window import Window
from subregion.io.limits import check_result
from subregion.read.image import OpenImage
from subregion.read.mending import planned_again
from subregion.read.options import Channels, ReadOptions
from subregion.read.padding import check_fill, fill_value
from subregion.read.plan import is_plain
from subregion.read.region import read_regions
from subregion.records import ImageRecord, unknown_channel

if TYPE_CHECKING:
    from subregion.cache.store import Store

#: How often a clip is planned again, because copies of its frames were damaged and made anew.
ATTEMPTS = 3
#: The frames of the whole video; asked only where those of the clip do not answer.
Everything = Callable[[], Iterable[ImageRecord]]


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """A region of some frames of a video, and what is in it.

    Parameters
    ----------
    pixels : ndarray or numpy.ma.MaskedArray, shape (frames, rows, columns, channels)
        The pixels.
    image_ids : tuple of hashable
        Which image each frame is.
    frame_indexes : tuple of (int or None)
        The frame index of each.
    channels : tuple of (str or None)
        Names of the channels, as far as they have any.
    missing : ndarray of bool, shape (frames, channels)
        Which frames lack which channels: there, all pixels are made up.
    """

    pixels: NDArray[Any]
    image_ids: tuple[Any, ...]
    frame_indexes: tuple[int | None, ...]
    channels: tuple[str | None, ...]
    missing: NDArray[np.bool_]


def read_clip(
    store: Store,
    owner: str,
    frames: Sequence[ImageRecord],
    everything: Everything,
    region: Region,
    channels: Channels,
    threads: int | None,
    options: ReadOptions,
    *,
    lenient: bool = False,
    at_least: np.dtype[Any] | None = None,
) -> Clip:
    """Read one region of many frames.

    Parameters
    ----------
    store : Store
        Where converted copies are.
    owner : str
        The video, to name in messages.
    frames : sequence of ImageRecord
        The frames of the clip, in order.
    everything : callable
        Returns all frames of the video.
    region : Window, slices or None
        Which pixels of each.
    channels : str, sequence of str or None
        Which channels; None for those of the default file, which must be the same in all frames.
    threads : int or None
        As for `read_regions`.
    options : ReadOptions
        How pixels are wanted; its fill stands for channels that a frame lacks, too.
    lenient : bool
        Whether a channel that no frame of the video has is filled, and told, as one that some lack.
    at_least : dtype or None
        What the type of the result must hold, beside the pixels.

    Returns
    -------
    Clip

    Raises
    ------
    UnknownChannelError
        If no frame of the video has such a channel.
    RecordError
        If the frames do not fit together.
    """
    channels = kept_channels(channels)
    for _ in range(ATTEMPTS):
        mended: list[str] = []
        given = store, owner, frames, everything, region, channels, threads, options
        clip = planned_again(partial(_read_clip, *given, mended, lenient, at_least), mended)
        if not mended:  # the shape of the clip is that of frames that were whole
            break
    return clip


def _read_clip(
    store: Store,
    owner: str,
    frames: Sequence[ImageRecord],
    everything: Everything,
    region: Region,
    channels: Channels,
    threads: int | None,
    options: ReadOptions,
    mended: list[str],
    lenient: bool,
    at_least: np.dtype[Any] | None,
) -> Clip:
    """Read a clip; the sources whose copies were made anew meanwhile are added to `mended`."""
    pattern = frames or [next(iter(everything()))]
    names = _names(owner, pattern, everything, channels, lenient)
    count = _band_count(store, owner, pattern) if names is None else len(names)
    sizes = [_size(store, record) for record in pattern]
    selections = {size: select(region, (*size, count)) for size in set(sizes)}
    shape = _common_shape(owner, selections, options)
    bands = next(iter(selections.values())).bands
    bands = range(count) if bands is None else bands
    labels = (None,) * len(bands) if names is None else tuple(names[band] for band in bands)
    reads = [
        _FrameRead(record, selections[size], _held(record, labels, names is None))
        for record, size in zip(frames, sizes, strict=False)  # there is a size also where there is no frame
    ]
    reader = _ClipReader(store, labels, shape, threads, options, mended)
    dtypes = [reader.dtype_of(read) for read in reads if read.held]
    if not dtypes:
        dtypes = [reader.dtype_of(_elsewhere(pattern[0], everything, labels))]
    dtype = np.result_type(*dtypes, *([] if at_least is None else [at_least]))
    return Clip(
        reader.draw(reads, dtypes, dtype),
        tuple(read.record.image_id for read in reads),
        tuple(None if read.record.video is None else read.record.video.frame_index for read in reads),
        labels,
        np.array([[k not in read.held for k in range(len(labels))] for read in reads], bool).reshape(
            len(reads), len(labels)
        ),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _FrameRead:
    """What to read of one frame: which pixels, and which channels of the clip it holds."""

    record: ImageRecord
    selection: Selection
    held: tuple[int, ...]


def _held(record: ImageRecord, labels: tuple[str | None, ...], unnamed: bool) -> tuple[int, ...]:
    if unnamed:
        return tuple(range(len(labels)))
    known = record.places()
    return tuple(k for k, name in enumerate(labels) if name in known)


def _names(
    owner: str, pattern: Sequence[ImageRecord], everything: Everything, channels: Channels, lenient: bool
) -> tuple[str, ...] | None:
    """Spell out which channels are wanted; None for the bands of default files that have no names."""
    if isinstance(channels, str) and channels == ALL:
        every = tuple(dict.fromkeys(name for record in everything() for name in record.places()))
        if every:
            return every
    elif channels is not None:
        wanted = parse_channels(channels)
        if lenient:
            return wanted
        known = {name for record in pattern for name in record.places()}
        if not known.issuperset(wanted):
            listed = dict.fromkeys(name for record in everything() for name in record.places())
            for name in wanted:
                if name not in listed:
                    raise unknown_channel(name, tuple(listed), owner)
        return wanted
    defaults: dict[tuple[str, ...] | None, Any] = {}
    for record in pattern:
        defaults.setdefault(record.default_asset.channels, record.image_id)
    if len(defaults) > 1:
        (first, one), (second, other) = list(defaults.items())[:2]
        raise RecordError(
            f"{owner}: its frames have different default channels, {_listed(first)} in image {one!r} and "
            f"{_listed(second)} in image {other!r}. Name the channels to be read, or write '<all>'."
        )
    return next(iter(defaults))


def _listed(names: tuple[str, ...] | None) -> str:
    return "none with a name" if names is None else "|".join(names)


def _band_count(store: Store, owner: str, pattern: Sequence[ImageRecord]) -> int:
    counts: dict[int, Any] = {}
    for record in pattern:
        counts.setdefault(store.open(record.default_asset).raster.shape[2], record.image_id)
    if len(counts) > 1:
        (first, one), (second, other) = list(counts.items())[:2]
        raise RecordError(
            f"{owner}: image {one!r} has {first} bands and image {other!r} has {second}; give them names."
        )
    return int(next(iter(counts)))


def _size(store: Store, record: ImageRecord) -> tuple[int, int]:
    """Return rows and columns of an image."""
    if record.width is not None and record.height is not None:
        return record.height, record.width
    return OpenImage(store, record, None).shape[:2]


def _common_shape(
    owner: str, selections: dict[tuple[int, int], Selection], options: ReadOptions
) -> tuple[int, int]:
    shapes = {_shape(selection, options) for selection in selections.values()}
    if len(shapes) > 1:
        raise RegionError(
            f"{owner}: its frames have different sizes, {sorted(selections)} (rows, columns), and so have "
            f"the regions. Read in space='video', or give a Window, whose result always has its own shape."
        )
    return shapes.pop()


def _shape(selection: Selection, options: ReadOptions) -> tuple[int, int]:
    if options.scale == (1, 1):
        return selection.shape
    return OutputGrid.of(selection.window, options.scale).shape


def _elsewhere(first: ImageRecord, everything: Everything, labels: tuple[str | None, ...]) -> _FrameRead:
    """Return a frame of the video that holds what no frame of the clip does, for its type."""
    nothing = Selection(Window(0, 0, 0, 0))
    for record in everything():
        if held := _held(record, labels, None in labels):
            return _FrameRead(record, nothing, held)
    return _FrameRead(first, nothing, ())


@dataclass(frozen=True, slots=True, eq=False)
class _ClipReader:
    """Reads frames into one array: those that hold the same channels in one batch."""

    store: Store
    labels: tuple[str | None, ...]
    shape: tuple[int, int]
    threads: int | None
    options: ReadOptions
    mended: list[str]

    @property
    def masked(self) -> bool:
        return self.options.nodata == "ma"

    def channels_of(self, read: _FrameRead) -> list[str] | None:
        names = [self.labels[k] for k in read.held]
        return None if None in names else [name for name in names if name is not None]

    def dtype_of(self, read: _FrameRead) -> np.dtype[Any]:
        channels = self.channels_of(read)
        if self.options.as_stored and is_plain(read.record, channels):
            return self.store.open(read.record.default_asset).raster.dtype
        return OpenImage(self.store, read.record, channels).dtype_of(self.options)

    def draw(
        self, reads: list[_FrameRead], dtypes: list[np.dtype[Any]], dtype: np.dtype[Any]
    ) -> NDArray[Any]:
        """Read all frames.

        Parameters
        ----------
        reads : list of _FrameRead
            The frames.
        dtypes : list of dtype
            Of those that hold anything.
        dtype : dtype
            One that holds all.
        """
        check_fill(self.options.fill, dtype)
        options = self.options
        if any(each != dtype for each in dtypes):  # what lies outside is filled as that of all has it
            options = replace(options, dtype=dtype)
        groups: dict[tuple[int, ...], list[int]] = {}
        for place, read in enumerate(reads):
            groups.setdefault(read.held, []).append(place)
        if len(groups) == 1 and len(reads[0].held) == len(self.labels) > 0:
            whole: NDArray[Any] = self._batch(reads, options)
            return whole
        shape = (len(reads), *self.shape, len(self.labels))
        check_result(reads[0].record.default_asset.path if reads else "the clip", *shape, dtype.itemsize)
        out = np.empty(shape, dtype)
        out[...] = self._absent(dtype)
        missing = np.ones(out.shape, bool) if self.masked else None
        for held, places in groups.items():
            if held:
                part = self._batch([reads[place] for place in places], options)
                where = np.ix_(places, range(self.shape[0]), range(self.shape[1]), held)
                out[where] = np.ma.getdata(part)
                if missing is not None:
                    missing[where] = np.ma.getmaskarray(part)
        return out if missing is None else np.ma.MaskedArray(out, missing)

    def _absent(self, dtype: np.dtype[Any]) -> Any:
        """Return what stands for a channel that a frame lacks."""
        return np.nan if self.options.nodata == "float" else fill_value(self.options.fill, dtype)

    def _batch(self, reads: list[_FrameRead], options: ReadOptions) -> Any:
        """Read frames that hold the same channels."""
        channels = self.channels_of(reads[0])
        requests = [
            (place, read.selection if channels is None else read.selection._replace(bands=None))
            for place, read in enumerate(reads)
        ]

        def record(place: int) -> ImageRecord:
            return reads[place].record

        return read_regions(self.store, record, requests, channels, None, self.threads, options, self.mended)
