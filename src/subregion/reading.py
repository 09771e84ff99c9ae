"""One read, from a region as the user wrote it to an array: what all faces of the library share."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from numbers import Real
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias, TypedDict

import numpy as np
from numpy.typing import NDArray

from subregion.aligned import (
    AlignedImage,
    DrawnImage,
    check_asset,
    check_size,
    mend,
    mend_unlike,
    planned_again,
)
from subregion.errors import ConfigError, DamagedFileError, MendedError, RecordError, RegionError, shown
from subregion.geometry.channels import ALL, kept_channels, parse_channels
from subregion.geometry.region import Region, Selection, select
from subregion.geometry.resample import filter_of
from subregion.geometry.window import Window
from subregion.layers import Drawing, fill_value
from subregion.raster.limits import check_result
from subregion.records import Asset, ImageRecord, unknown_channel

if TYPE_CHECKING:
    from subregion.cache.store import OpenAsset, Store

Channels: TypeAlias = "str | Sequence[str] | None"
Fill: TypeAlias = "float | str | None"
Interpolation: TypeAlias = "str | Mapping[str | None, str]"


class DrawingOptions(TypedDict, total=False):
    """The options of `drawing_of`, passed on by name."""

    scale: float | tuple[float, float]
    interpolation: Interpolation
    antialias: bool
    nodata: str | None
    dequantize: bool


#: Beyond, images vanish or every pixel becomes an image.
LEAST_SCALE, LARGEST_SCALE = 1e-12, 1e6
#: Modes of `numpy.pad` in which every pixel outside is a copy of one inside.
_CONSTANT = ("constant", "empty")
_COPYING = ("edge", "reflect", "symmetric", "wrap")
_COMPUTED = ("linear_ramp", "maximum", "mean", "median", "minimum")


def drawing_of(
    scale: float | tuple[float, float] = 1,
    interpolation: Interpolation = "linear",
    antialias: bool = True,
    nodata: str | None = None,
    dequantize: bool = False,
) -> Drawing | None:
    """Check how pixels are to be drawn; None if they are to be read as they are.

    Raises
    ------
    ConfigError
        Naming the option, the value and what is allowed.
    """
    if (
        (type(scale) is int and scale == 1)
        and (type(interpolation) is str and interpolation == "linear")
        and nodata is None
        and antialias is True
        and dequantize is False
    ):
        return None  # nearly always, so it must cost nothing
    if not (nodata is None or (isinstance(nodata, str) and nodata in ("float", "ma"))):
        raise ConfigError(f"nodata={shown(nodata)}: allowed are None, 'float', 'ma'.")
    for option, value in (("antialias", antialias), ("dequantize", dequantize)):
        if not isinstance(value, bool | int | np.bool_):
            raise ConfigError(f"{option}={shown(value)}: allowed are True, False.")
    for name in interpolation.values() if isinstance(interpolation, Mapping) else [interpolation]:
        if not isinstance(name, str):
            raise ConfigError(f"interpolation={shown(interpolation)}: names are text, such as 'nearest'.")
        filter_of(name)
    pair = _checked_scale(scale)
    if pair == (1, 1) and nodata is None and interpolation == "linear" and antialias and not dequantize:
        return None
    return Drawing(pair, interpolation, bool(antialias), nodata, dequantize=bool(dequantize))


def _checked_scale(scale: Any) -> tuple[float, float]:
    pair = scale if isinstance(scale, tuple) else (scale, scale)
    if len(pair) == 2 and all(isinstance(each, Real) for each in pair):
        with contextlib.suppress(OverflowError):
            down, across = float(pair[0]), float(pair[1])
            if LEAST_SCALE <= down <= LARGEST_SCALE and LEAST_SCALE <= across <= LARGEST_SCALE:
                return down, across
    raise ConfigError(
        f"scale={shown(scale)}: a number from {LEAST_SCALE:g} to {LARGEST_SCALE:g} is needed, or a pair for "
        f"rows and columns."
    )


def read_region(
    store: Store,
    record: ImageRecord,
    region: Region = None,
    channels: Channels = None,
    fill: Fill = None,
    drawing: Drawing | None = None,
    mended: list[str] | None = None,
) -> NDArray[Any]:
    """Read a region of an image; a damaged copy is made anew from its source on the way.

    Parameters
    ----------
    store : Store
        Where converted copies are.
    record : ImageRecord
        The image.
    region : Window, slices or None
        Which pixels, in pixels of the image.
    channels : str, sequence of str or None
        Which channels.
    fill : float, str or None
        What lies outside the image.
    drawing : Drawing or None
        How pixels get to the grid of the result; None if they lie on it.
    mended : list of str or None
        The sources whose copies were made anew are added.

    Returns
    -------
    ndarray, shape (rows, columns, channels)
        C-contiguous, owned by the caller.
    """
    channels = kept_channels(channels)
    try:
        return _read_region(store, record, region, channels, fill, drawing)
    except MendedError as error:
        if mended is not None:
            mended.append(error.path)
    return planned_again(lambda: _read_region(store, record, region, channels, fill, drawing), mended)


def _read_region(
    store: Store,
    record: ImageRecord,
    region: Region,
    channels: Channels,
    fill: Fill,
    drawing: Drawing | None,
) -> NDArray[Any]:
    """Plan a read and carry it out."""
    if drawing is not None or not is_plain(record, channels):
        return _read_aligned(AlignedImage(store, record, channels), region, fill, drawing or Drawing())
    plan = plan_read(store, record, region, channels)
    try:
        return _read(plan, fill)
    except DamagedFileError as error:
        raise mend(store, plan.asset, plan.opened, error) from error


def is_plain(record: ImageRecord, channels: Channels) -> bool:
    """Whether what is wanted lies in one file that has the grid of the image."""
    if record.default_asset.to_image is not None:
        return False
    return len(record.assets) == 1 or channels is None


def check_fill(fill: Fill, dtype: np.dtype[np.generic]) -> None:
    """Refuse a fill that has no meaning, also where nothing has to be filled.

    Raises
    ------
    ConfigError
        Naming the value and what is allowed.
    """
    if not isinstance(fill, str):
        fill_value(fill, dtype)
    elif fill not in (*_CONSTANT, *_COPYING, *_COMPUTED):
        allowed = ", ".join(map(repr, (*_CONSTANT, *_COPYING, *_COMPUTED)))
        raise ConfigError(f"fill={shown(fill)}: allowed are a number or a mode of numpy.pad: {allowed}.")


def _read_aligned(image: AlignedImage, region: Region, fill: Fill, drawing: Drawing) -> NDArray[Any]:
    check_fill(fill, image.dtype_of(drawing))
    selection = select(region, image.shape)
    window, bands = selection.window, None if selection.bands is None else list(selection.bands)
    stepped = (selection.row_step, selection.col_step) != (1, 1)
    if stepped and drawing.scale != (1, 1):
        raise RegionError(
            f"region {shown(region)} has steps and scale is {drawing.scale}: leave out one of them."
        )
    if isinstance(fill, str) and not window.inside(*image.shape[:2]):
        if drawing.scale != (1, 1) or drawing.nodata == "ma":
            raise ConfigError(
                f"fill={fill!r} pads pixels that are read as they are; with scale or a mask, give a number."
            )
        drawn = DrawnImage(image, drawing)
        shape = (*window.shape, image.shape[2] if bands is None else len(bands))
        check_result(image.path, *shape, drawn.dtype.itemsize)
        out = np.empty(shape, drawn.dtype)
        read_beyond(drawn, window, bands, fill, out)
        return out
    pixels = image.read(window, replace(drawing, fill=None if isinstance(fill, str) else fill), bands)
    if stepped:
        pixels = pixels[:: selection.row_step, :: selection.col_step].copy()
    return pixels


class Readable(Protocol):
    """What windows can be read from into an array."""

    @property
    def path(self) -> str:
        """The file to name in messages."""
        ...

    @property
    def shape(self) -> tuple[int, int, int]:
        """Rows, columns and channels."""
        ...

    def read_into(self, window: Window, out: NDArray[Any], bands: list[int] | None = None) -> None:
        """Read a window that lies inside."""
        ...


class ReadPlan(NamedTuple):
    """What a read of one image comes down to.

    Parameters
    ----------
    asset : Asset
        The file.
    opened : OpenAsset
        The same, open.
    selection : Selection
        Which pixels.
    bands : list of int or None
        Which bands of the file, in which order; None for all.
    """

    asset: Asset
    opened: OpenAsset
    selection: Selection
    bands: list[int] | None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Rows, columns and channels of the result."""
        rows, cols = self.selection.shape
        return rows, cols, self.opened.raster.shape[2] if self.bands is None else len(self.bands)


def plan_read(store: Store, record: ImageRecord, region: Region, channels: Channels) -> ReadPlan:
    """Open the file of an image and resolve which of its pixels are wanted."""
    asset = record.default_asset
    opened = open_default(store, record)
    rows, cols, count = opened.raster.shape
    bands = named_bands(asset, channels)
    selection = select(region, (rows, cols, count if bands is None else len(bands)))
    if selection.bands is not None:
        bands = list(selection.bands) if bands is None else [bands[i] for i in selection.bands]
    return ReadPlan(asset, opened, selection, bands)


def open_default(store: Store, record: ImageRecord) -> OpenAsset:
    """Open the default file of an image, which has the grid of the image.

    Raises
    ------
    RecordError
        If the size or the channels that are declared are not those of the file, naming all of them.
    MendedError
        If only its copy was not, which has been made anew.
    """
    asset = record.default_asset
    opened = store.open(asset)
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
        named_bands(record.default_asset, channels)
        open_default(store, record)
    else:
        AlignedImage(store, record, channels)


def check_file_size(store: Store, record: ImageRecord, width: int | None, height: int | None) -> None:
    """Refuse an image whose default file has not the size that is known.

    Raises
    ------
    RecordError
        Naming the file and both sizes.
    """
    for option, value in (("width", width), ("height", height)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer | None):
            raise ConfigError(f"{option}={shown(value)}: must be a whole number, or None.")
    asset = record.default_asset

    def check() -> None:
        opened = store.open(asset)
        try:
            check_size(asset.path, width, height, opened.raster.shape)
        except RecordError as error:
            mend_unlike(store, asset, opened, error)
            raise

    planned_again(check)


def named_bands(asset: Asset, channels: Channels) -> list[int] | None:
    """Return the indices of named channels in their file; None for all of them.

    Raises
    ------
    UnknownChannelError
        Listing the channels that there are.
    """
    if channels is None or (isinstance(channels, str) and channels == ALL):
        return None
    names = parse_channels(channels)
    known = asset.channels or ()
    for name in names:
        if name not in known:
            raise unknown_channel(name, known, asset.path)
    return [known.index(name) for name in names]


def _read(plan: ReadPlan, fill: Fill) -> NDArray[Any]:
    raster, selection = plan.opened.raster, plan.selection
    if fill is not None:
        check_fill(fill, raster.dtype)
    check_result(raster.path, *plan.shape, raster.dtype.itemsize)
    if selection.window.inside(raster.shape[0], raster.shape[1]):
        return raster.read(selection.window, plan.bands, (selection.row_step, selection.col_step))
    out = np.empty(plan.shape, raster.dtype)
    read_beyond(raster, selection.window, plan.bands, fill, out)
    return out


def read_beyond(
    raster: Readable, window: Window, bands: list[int] | None, fill: Fill, out: NDArray[Any]
) -> None:
    """Fill `out` from a window that leaves the image: what is inside is read, the rest made up."""
    height, width = raster.shape[:2]
    if isinstance(fill, str) and fill in _COPYING:
        rows = _folded(window.row, window.height, height, fill)
        cols = _folded(window.col, window.width, width, fill)
        if rows.size == 0 or cols.size == 0:
            return
        needed = Window(int(rows.min()), int(cols.min()), int(np.ptp(rows)) + 1, int(np.ptp(cols)) + 1)
        part = np.empty((*needed.shape, out.shape[2]), out.dtype)
        raster.read_into(needed, part, bands)
        out[...] = part[np.ix_(rows - needed.row, cols - needed.col)]
        return
    inner = window.intersection(Window(0, 0, height, width))
    place = inner.shifted(-window.row, -window.col).slices
    if isinstance(fill, str) and fill not in _CONSTANT:
        _read_and_pad(raster, window, inner, bands, fill, out)
        return
    out[...] = fill_value(None if isinstance(fill, str) else fill, out.dtype)
    if not inner.empty:
        part = out[place]
        raster.read_into(inner, part, bands)


def _read_and_pad(
    raster: Readable, window: Window, inner: Window, bands: list[int] | None, mode: str, out: NDArray[Any]
) -> None:
    if inner.empty:
        raise RegionError(
            f"{raster.path}: {window} has no pixel inside the image of {raster.shape[0]} x {raster.shape[1]} "
            f"(rows x columns), so fill={mode!r} has nothing to start from. Give a number, or 'edge'."
        )
    part = np.empty((*inner.shape, out.shape[2]), out.dtype)
    raster.read_into(inner, part, bands)
    before = inner.row - window.row, inner.col - window.col
    widths = [(before[0], window.height - inner.height - before[0]),
              (before[1], window.width - inner.width - before[1]), (0, 0)]  # fmt: skip
    out[...] = np.pad(part, widths, mode=mode)  # type: ignore[call-overload]  # checked above


def _folded(start: int, count: int, size: int, mode: str) -> NDArray[np.int64]:
    """Return for each index of a line that leaves an axis the index inside that it copies.

    The same as ``numpy.pad(numpy.arange(size), ..., mode)``, in time that depends on `count` alone.
    """
    index = np.arange(start, start + count)
    if mode == "edge":
        return np.clip(index, 0, size - 1)
    if mode == "wrap":
        return index % size
    if mode == "symmetric":
        index = index % (2 * size)
        return np.minimum(index, 2 * size - 1 - index)
    if size == 1:
        return np.zeros(count, np.int64)
    index = index % (2 * size - 2)
    return np.minimum(index, 2 * size - 2 - index)
