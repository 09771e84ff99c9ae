"""What a read comes down to: which window of which file, and how it gets to the result. No pixel is read."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from subregion.blocks.level import WindowRead
from subregion.errors import ConfigError, RecordError, RegionError, shown
from subregion.geometry.channels import ALL, parse_channels
from subregion.geometry.placement import Levels, OutputGrid, SourceRead, plan_asset
from subregion.geometry.region import Region, Selection, select
from subregion.geometry.resample import Filter, filter_of
from subregion.geometry.window import Window
from subregion.io.limits import SURELY_FITS, check_result
from subregion.read.image import IDENTITY, OpenImage, check_asset, check_size
from subregion.read.mending import mend_unlike
from subregion.read.options import AS_STORED, Channels, ReadOptions
from subregion.read.padding import Padding, Stepped, check_fill, plan_padding
from subregion.read.resolution import resolved
from subregion.records import unknown_channel

if TYPE_CHECKING:
    from subregion.cache.opened import OpenAsset
    from subregion.cache.store import Store
    from subregion.formats.raster import Raster
    from subregion.records import Asset, ImageRecord, Quantization


NEAREST = filter_of("nearest")


class BandGroup(NamedTuple):
    """Bands of one file that go the same way to the result.

    A named tuple, as all that is made for every read: frozen dataclasses take microseconds more.

    Parameters
    ----------
    raster : Raster
        The file.
    bands : sequence of int or None
        Which of its bands; None for all.
    places : tuple of int or None
        The channels of the result that they become; None for all, in order.
    read : SourceRead
        What to read, and how it lies on the result.
    steps : tuple of int
        Every how many rows and columns of the file one is taken.
    filter : Filter or None
        How to interpolate, where the read says that it has to be.
    nodata : float or None
        Its value for "no pixel here".
    quantization : Quantization or None
        What its values stand for, if they are to become that.
    shown : ndarray of bool, shape (rows, columns) of the target, or None
        Which pixels have their centre on the file; None for all.
    palette : ndarray of uint8, shape (values, channels), or None
        What becomes of indices that are read, which nodata is compared with; None if they are pixels.
    """

    raster: Raster
    bands: Sequence[int] | None
    places: tuple[int, ...] | None
    read: SourceRead
    steps: tuple[int, int] = (1, 1)
    filter: Filter | None = None
    nodata: float | None = None
    quantization: Quantization | None = None
    shown: NDArray[np.bool_] | None = None
    palette: NDArray[np.uint8] | None = None

    @property
    def band_count(self) -> int:
        """How many bands there are."""
        return self.raster.shape[2] if self.bands is None else len(self.bands)

    def into(self, out: NDArray[Any]) -> WindowRead:
        """Return the read of its pixels into an array of the shape of its source window."""
        raster, read = self.raster, self.read
        level = raster.levels[read.level] if read.level else raster.full
        return WindowRead(level, read.source, out, self.bands, self.steps)

    def is_straight(self, options: ReadOptions, dtype: np.dtype[Any]) -> bool:
        """Whether its pixels can be read to where they belong, because nothing is to be done to them."""
        stored = self.raster.dtype
        return (
            self.read.to_target is None
            and self.shown is None
            and self.quantization is None
            and self.palette is None
            and options.nodata is None
            and (stored == dtype or np.can_cast(stored, dtype, "safe"))
        )


class ReadPlan(NamedTuple):
    """What a read of one region comes down to.

    Parameters
    ----------
    path : str
        The file to name in messages.
    opened : sequence of (Asset, OpenAsset)
        The files that are read.
    options : ReadOptions
        How pixels are wanted.
    shape : tuple of int
        Rows, columns and channels of the result.
    dtype : numpy.dtype
        Its type.
    drawn : tuple of int
        Rows, columns and channels that the groups make up.
    groups : sequence of BandGroup
        What is read.
    covered : bool
        Whether they cover all of it, so that nothing has to be filled.
    padding : callable or None
        Makes of what was drawn what is wanted, if that is something else.
    stored : bool
        Whether the result is a window of one file as it is stored.
    """

    path: str
    opened: Sequence[tuple[Asset, OpenAsset]]
    options: ReadOptions
    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    drawn: tuple[int, int, int]
    groups: Sequence[BandGroup]
    covered: bool
    padding: Padding | None = None
    stored: bool = False


def plan_read(
    store: Store,
    record: ImageRecord,
    region: Region | Selection,
    channels: Channels,
    options: ReadOptions,
    opened: OpenAsset | None = None,
) -> ReadPlan:
    """Plan the read of a region of an image; its files are opened for that.

    Parameters
    ----------
    store : Store
        Where converted copies are.
    record : ImageRecord
        The image.
    region : Window, slices, Selection or None
        Which pixels, in pixels of the image.
    channels : str, sequence of str or None
        Which channels.
    options : ReadOptions
        How pixels are wanted.
    opened : OpenAsset or None
        What `open_default` gave for this read, if it was asked: to look at a file takes microseconds.

    Raises
    ------
    SubregionError
        If the region, the channels or the options make no sense for the image, or a file cannot be opened.
    """
    if (options is AS_STORED or options.as_stored) and is_plain(record, channels):
        return _plan_stored(store, record, region, channels, options, opened)
    if options.resolution is not None:
        return plan_read(store, record, region, channels, resolved(store, record, options))
    image = OpenImage(store, record, channels)
    dtype = image.dtype_of(options)
    check_fill(options.fill, dtype)
    selection = select(region, image.shape)
    window, steps = selection.window, (selection.row_step, selection.col_step)
    if steps != (1, 1) and options.scale != (1, 1):
        raise RegionError(
            f"region {shown(region)} has steps and scale is {options.scale}: leave out one of them."
        )
    computed = options.scale != (1, 1) or options.nodata == "ma"
    if computed and isinstance(options.fill, str) and not window.inside(*image.shape[:2]):
        raise ConfigError(
            f"fill={options.fill!r} pads pixels that are read as they are; with scale or a mask, "
            f"give a number."
        )
    bands = range(image.shape[2]) if selection.bands is None else selection.bands
    window, padding = plan_padding(options.fill, window, image.shape, image.path)
    if steps != (1, 1):
        padding = Stepped(*steps)
    grid = OutputGrid.of(window, options.scale)
    shape = grid.shape if padding is None else selection.shape
    return _plan_drawn(image, grid, bands, options, (*shape, len(bands)), padding)


def plan_part(
    image: OpenImage, whole: OutputGrid, part: Window, bands: Iterable[int] | None, options: ReadOptions
) -> ReadPlan:
    """Plan the read of some pixels of a result, as if it had been read whole and cropped.

    Parameters
    ----------
    image : OpenImage
        The image.
    whole : OutputGrid
        The pixels of the whole result.
    part : Window
        Which of them.
    bands : iterable of int or None
        Which of the channels; None for all.
    options : ReadOptions
        How pixels are wanted.
    """
    chosen = range(image.shape[2]) if bands is None else list(bands)
    return _plan_drawn(image, whole.part(part), chosen, options, (*part.shape, len(chosen)), None)


def plan_crops(image: OpenImage, window: Window) -> list[tuple[BandGroup, Affine, tuple[str | None, ...]]]:
    """Plan what each file holds of a window, unresampled: with the transform to the window, and names."""
    options = ReadOptions(antialias=False)
    found = []
    for group in _groups(image, range(image.shape[2]), OutputGrid.of(window), options):
        read = group.read
        to_window = Affine.translation(read.target.col, read.target.row) @ (read.to_target or IDENTITY)
        names = tuple(image.names[place] for place in group.places or ())
        check_result(group.raster.path, *read.source.shape, group.band_count, group.raster.dtype.itemsize)
        found.append((group, to_window, names))
    return found


def is_plain(record: ImageRecord, channels: Channels) -> bool:
    """Whether what is wanted lies in one file that has the grid of the image."""
    assets = record.assets
    return assets[record.default].to_image is None and (len(assets) == 1 or channels is None)


def open_default(store: Store, record: ImageRecord, asset: Asset | None = None) -> OpenAsset:
    """Open the default file of an image, which has the grid of the image.

    Raises
    ------
    RecordError
        If the size or the channels that are declared are not those of the file, naming all of them.
    MendedError
        If only its copy was not, which has been made anew.
    """
    asset = record.default_asset if asset is None else asset
    opened = store.open(asset)
    declared = asset.channels, asset.bands, asset.width, asset.height, record.width, record.height
    if declared == (None,) * len(declared):
        return opened
    try:
        check_asset(asset, opened.raster.shape)
        if record.width is not None or record.height is not None:
            check_size(asset.path, record.width, record.height, opened.raster.shape)
    except RecordError as error:
        mend_unlike(store, asset, opened, error)
        raise
    return opened


def open_needed(store: Store, record: ImageRecord, channels: Channels) -> None:
    """Open the files that hold some channels of an image, which makes the copies that are missing.

    Raises
    ------
    UnknownChannelError
        If no file has such a channel.
    RecordError
        If the record contradicts itself or its files.
    """
    if is_plain(record, channels):
        asset = record.default_asset
        if asset.channels is not None:  # known before anything is opened
            named_bands(asset, channels)
        named_bands(asset, channels, open_default(store, record).raster)
    else:
        OpenImage(store, record, channels)


def named_bands(asset: Asset, channels: Channels, raster: Raster | None = None) -> list[int] | None:
    """Return the indices of named channels in their file; None for all of them.

    The names of the record count; where it has none, those that the open file gives.

    Raises
    ------
    UnknownChannelError
        Listing the channels that there are.
    """
    if channels is None or (isinstance(channels, str) and channels == ALL):
        return None
    names = parse_channels(channels)
    known = asset.channels or (() if raster is None else raster.channel_names) or ()
    for name in names:
        if name not in known:
            raise unknown_channel(name, known, asset.path)
    return [known.index(name) for name in names]


def _plan_stored(
    store: Store,
    record: ImageRecord,
    region: Region | Selection,
    channels: Channels,
    options: ReadOptions,
    opened: OpenAsset | None,
) -> ReadPlan:
    """Plan a read of one file that has the grid of the image."""
    asset = record.assets[record.default]
    if opened is None:
        opened = open_default(store, record, asset)
    raster, bands = opened.raster, None if channels is None else named_bands(asset, channels, opened.raster)
    rows, cols, count = raster.shape
    selection = select(region, raster.shape if bands is None else (rows, cols, len(bands)))
    if selection.bands is not None:
        bands = list(selection.bands) if bands is None else [bands[i] for i in selection.bands]
    if options.fill is not None:
        check_fill(options.fill, raster.dtype)
    shape = (*selection.shape, count if bands is None else len(bands))
    if math.prod(shape) * raster.dtype.itemsize > SURELY_FITS:
        check_result(raster.path, *shape, raster.dtype.itemsize)
    window, steps = selection.window, (selection.row_step, selection.col_step)
    padding = None
    if window.inside(rows, cols):
        read, drawn, covered = SourceRead(window, 0, _whole(shape[0], shape[1]), None), shape, True
    else:
        window, padding = plan_padding(options.fill, window, raster.shape, raster.path)
        inner = window.intersection(Window(0, 0, rows, cols))
        read = SourceRead(inner, 0, inner.shifted(-window.row, -window.col), None)
        drawn = (*window.shape, shape[2])
        covered = read.target.shape == window.shape
    group = BandGroup(raster, bands, None, read, steps)
    stored = covered and padding is None
    return ReadPlan(
        raster.path, [(asset, opened)], options, shape, raster.dtype, drawn, [group], covered, padding, stored
    )


@functools.lru_cache(maxsize=256)  # windows of a training are alike, and each of these takes a microsecond
def _whole(rows: int, cols: int) -> Window:
    """Return the window of all of a result."""
    return Window(0, 0, rows, cols)


def _plan_drawn(
    image: OpenImage,
    grid: OutputGrid,
    bands: Sequence[int],
    options: ReadOptions,
    shape: tuple[int, int, int],
    padding: Padding | None,
) -> ReadPlan:
    """Plan a read of files that may lie on other grids."""
    whole = Window(0, 0, grid.height, grid.width)
    dtype = image.dtype_of(options)
    groups = list(_groups(image, bands, grid, options)) if bands else []
    covered = all(group.read.target == whole and group.shown is None for group in groups)
    drawn = (*grid.shape, len(bands))
    check_result(image.path, *drawn, dtype.itemsize)
    return ReadPlan(image.path, image.opened, options, shape, dtype, drawn, groups, covered, padding)


def _groups(
    image: OpenImage, bands: Sequence[int], grid: OutputGrid, options: ReadOptions
) -> Iterable[BandGroup]:
    """Plan what each file gives; those that lie alike share one read."""
    together: dict[tuple[int, Filter], list[int]] = {}
    for place, band in enumerate(bands):
        number = image.places[band][0]
        filter_ = NEAREST if image.asset(number).labels else options.filter_of(image.names[band])
        key = number, filter_
        together.setdefault(key, []).append(place)
    reads: dict[Any, SourceRead] = {}
    for (number, filter_), places in together.items():
        asset, raster = image.asset(number), image.raster(number)
        to_image, levels = asset.to_image or IDENTITY, raster.placed_levels
        alike = to_image, levels, filter_.name, raster.picked
        read = reads.get(alike)
        if read is None:
            read = _placed(grid, to_image, raster, image.shape[:2], filter_, options.antialias)
            reads[alike] = read
        wanted = tuple(image.places[bands[place]][1] for place in places)
        nodata = raster.nodata if asset.nodata is None else asset.nodata
        palette, chosen = None, None if wanted == tuple(range(raster.shape[2])) else wanted
        compared = nodata is not None and (options.nodata is not None or read.to_target is not None)
        if compared and raster.palette is None and (indices := raster.as_indices) is not None:
            assert indices.palette is not None  # noqa: S101 - for mypy
            raster, palette, chosen = indices, indices.palette.colors[:, list(wanted)], None
        yield BandGroup(
            raster,
            chosen,
            tuple(places),
            read,
            (1, 1),
            filter_,
            nodata,
            asset.quantization if options.dequantize else None,
            image.covered(number, read, grid),
            palette,
        )


def _placed(
    grid: OutputGrid,
    to_image: Affine,
    raster: Raster,
    image_shape: tuple[int, int],
    filter_: Filter,
    antialias: bool,
) -> SourceRead:
    """Plan what to read of one file; nearest takes pixels of the full resolution, whatever else there is."""
    levels = raster.placed_levels
    if filter_.support > 0:
        return plan_asset(grid, to_image, levels, image_shape, filter_, antialias)
    if raster.picked:
        read = plan_asset(grid, to_image, levels, image_shape, filter_, True)
        if read.level == 0 or read.to_target is None:
            return read
    return plan_asset(grid, to_image, Levels(levels.sizes[:1]), image_shape, filter_, False)
