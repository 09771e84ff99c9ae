"""One read, from a region as the user wrote it to an array: what all faces of the library share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from subregion.errors import ConfigError, DamagedFileError, RegionError
from subregion.geometry.region import Region, Selection, select
from subregion.geometry.window import Window
from subregion.records import Asset, ImageRecord, unknown_channel

if TYPE_CHECKING:
    from subregion.cache.store import OpenAsset, Store
    from subregion.raster.raster import Raster

Channels: TypeAlias = "str | Sequence[str] | None"
Fill: TypeAlias = "float | str | None"

#: Modes of `numpy.pad` in which every pixel outside is a copy of one inside.
_COPYING = ("edge", "reflect", "symmetric", "wrap")
_COMPUTED = ("linear_ramp", "maximum", "mean", "median", "minimum")


def read_region(
    store: Store, record: ImageRecord, region: Region = None, channels: Channels = None, fill: Fill = None
) -> NDArray[Any]:
    """Read a region of an image.

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

    Returns
    -------
    ndarray, shape (rows, columns, channels)
        C-contiguous, owned by the caller.
    """
    plan = plan_read(store, record, region, channels)
    try:
        return _read(plan, fill)
    except DamagedFileError:
        # Damage in our own copy is mended from the source; damage in the source is the user's to know.
        mended = store.reopen(plan.asset, plan.opened)
        if mended is None:
            raise
        return _read(replace(plan, opened=mended), fill)


@dataclass(frozen=True, slots=True, eq=False)
class ReadPlan:
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
    opened = store.open(asset)
    check_declared_size(record, asset, opened.raster)
    rows, cols, count = opened.raster.shape
    bands = named_bands(asset, channels, count)
    selection = select(region, (rows, cols, count if bands is None else len(bands)))
    if selection.bands is not None:
        bands = list(selection.bands) if bands is None else [bands[i] for i in selection.bands]
    return ReadPlan(asset, opened, selection, bands)


def check_declared_size(record: ImageRecord, asset: Asset, raster: Raster) -> None:
    """Refuse an image whose declared size is not that of its file.

    Raises
    ------
    ConfigError
        Naming the file and both sizes.
    """
    rows, cols = raster.shape[:2]
    for width, height in ((asset.width, asset.height), (record.width, record.height)):
        if (width is not None and width != cols) or (height is not None and height != rows):
            raise ConfigError(
                f"{asset.path}: width={width}, height={height} are declared, but the file has width={cols}, "
                f"height={rows}. Correct the record, or leave the size out."
            )


def named_bands(asset: Asset, channels: Channels, count: int) -> list[int] | None:
    """Return the indices of named channels in their file; None for all of them.

    Raises
    ------
    UnknownChannelError
        Listing the channels that there are.
    """
    if channels is None or channels == "<all>":
        return None
    names = channels.split("|") if isinstance(channels, str) else list(channels)
    known = asset.channels or ()
    if known and len(known) != count:
        raise ConfigError(
            f"{asset.path}: {len(known)} channel names are declared, but the file has {count} bands."
        )
    for name in names:
        if name not in known:
            raise unknown_channel(name, known, asset.path)
    return [known.index(name) for name in names]


def _read(plan: ReadPlan, fill: Fill) -> NDArray[Any]:
    raster, selection = plan.opened.raster, plan.selection
    if selection.window.inside(raster.shape[0], raster.shape[1]):
        return raster.read(selection.window, plan.bands, (selection.row_step, selection.col_step))
    out = np.empty(plan.shape, raster.dtype)
    read_beyond(raster, selection.window, plan.bands, fill, out)
    return out


def read_beyond(
    raster: Raster, window: Window, bands: list[int] | None, fill: Fill, out: NDArray[Any]
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
    if isinstance(fill, str) and fill not in ("constant", "empty"):
        _read_and_pad(raster, window, inner, bands, fill, out)
        return
    out[...] = fill_value(None if isinstance(fill, str) else fill, out.dtype)
    if not inner.empty:
        part = out[place]
        raster.read_into(inner, part, bands)


def _read_and_pad(
    raster: Raster, window: Window, inner: Window, bands: list[int] | None, mode: str, out: NDArray[Any]
) -> None:
    if mode not in _COMPUTED:
        allowed = ", ".join(map(repr, ("constant", "empty", *_COPYING, *_COMPUTED)))
        raise ConfigError(f"fill={mode!r}: allowed are a number or a mode of numpy.pad: {allowed}.")
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


def fill_value(fill: float | None, dtype: np.dtype[np.generic]) -> Any:
    """Return what stands outside the image: as given, or 0 for integers and NaN for floats.

    Raises
    ------
    ConfigError
        If the pixels cannot hold it.
    """
    if fill is None:
        return np.nan if dtype.kind in "fc" else 0
    if dtype.kind in "iu":
        info = np.iinfo(dtype)  # type: ignore[type-var]  # asked for integers only
        if fill != fill or fill != int(fill) or not info.min <= fill <= info.max:
            raise ConfigError(
                f"fill={fill!r} does not fit pixels of {dtype}; "
                f"allowed are whole numbers from {info.min} to {info.max}."
            )
        return int(fill)
    return fill
