"""Channels of several files, lined up by their transforms: planned first, then read and drawn."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from subregion.errors import ConfigError, DamagedFileError, RecordError
from subregion.geometry.channels import ALL, parse_channels
from subregion.geometry.plan import AssetRead, OutputGrid, covers_image, plan_asset
from subregion.geometry.resample import Filter, filter_of, resample, to_dtype, working_dtype
from subregion.geometry.window import Window
from subregion.records import Asset, ImageRecord, unknown_channel

if TYPE_CHECKING:
    from subregion.cache.store import OpenAsset, Store
    from subregion.raster.raster import Raster


@dataclass(frozen=True, slots=True)
class Drawing:
    """How pixels get from the grids of files to that of the result.

    Parameters
    ----------
    scale : tuple of float
        Result pixels for each pixel of the image, along rows and columns.
    interpolation : str or mapping
        Name of a filter, or names for single channels; the key None holds for all others.
    antialias : bool
        Whether shrinking averages.
    nodata : str or None
        None leaves the value that means "no pixel" as it is; ``"float"`` makes NaN of it, ``"ma"`` a mask.
    fill : float or None
        What lies outside; None is 0 for integers and NaN for floats.
    dequantize : bool
        Whether stored integers become the values that they stand for.
    """

    scale: tuple[float, float] = (1.0, 1.0)
    interpolation: str | Mapping[str | None, str] = "linear"
    antialias: bool = True
    nodata: str | None = None
    fill: float | None = None
    dequantize: bool = False

    def filter_of(self, channel: str | None) -> Filter:
        """Return how a channel is interpolated."""
        names = self.interpolation
        if isinstance(names, Mapping):
            return filter_of(names.get(channel, names.get(None, "linear")))
        return filter_of(names)


_IDENTITY = Affine.identity()


class AlignedImage:
    """The open files of one image, seen as one array on the grid of the image.

    Parameters
    ----------
    store : Store
        Where converted copies are.
    record : ImageRecord
        The image.
    channels : str, iterable of str or None
        Which channels; None for those of the default file.

    Raises
    ------
    UnknownChannelError
        If no file has such a channel.
    RecordError
        If the record contradicts itself or its files.
    """

    def __init__(self, store: Store, record: ImageRecord, channels: str | Iterable[str] | None) -> None:
        self._store = store
        self._record = record
        self._opened: dict[int, OpenAsset] = {}
        self.names, self._places = self._look_up(channels)
        height, width = self._size()
        self.shape = (height, width, len(self._places))
        needed = sorted({asset for asset, _ in self._places} or {record.default})
        self.dtype = np.result_type(*(self._raster(asset).dtype for asset in needed))
        for asset in needed:
            self._check_grid(asset)

    @property
    def path(self) -> str:
        """The default file, to name in messages."""
        return self._record.default_asset.path

    def _raster(self, asset: int) -> Raster:
        opened = self._opened.get(asset)
        if opened is None:
            opened = self._opened[asset] = self._store.open(self._record.assets[asset])
            check_asset(self._record.assets[asset], opened.raster.shape)
        return opened.raster

    def _look_up(
        self, channels: str | Iterable[str] | None
    ) -> tuple[list[str | None], list[tuple[int, int]]]:
        """Return for each channel its name, and which band of which file holds it."""
        record = self._record
        known = record.places()
        if channels is None:
            default = record.default
            count = self._raster(default).shape[2]
            names = record.assets[default].channels or (None,) * count
            return list(names), [(default, band) for band in range(count)]
        if channels == ALL:
            if not known:
                return self._look_up(None)
            return list(known), list(known.values())
        wanted = parse_channels(channels)
        for name in wanted:
            if name not in known:
                raise unknown_channel(name, tuple(known), f"image {record.image_id!r}")
        return list(wanted), [known[name] for name in wanted]

    def _size(self) -> tuple[int, int]:
        """Return rows and columns of the image."""
        record = self._record
        if record.width is not None and record.height is not None:
            height, width = record.height, record.width
        else:
            asset = record.default_asset
            rows, cols, _ = self._raster(record.default).shape
            corner = (asset.to_image or _IDENTITY) @ (cols, rows)
            width, height = round(corner[0]), round(corner[1])
        return height, width

    def _check_grid(self, number: int) -> None:
        """Refuse a file that cannot be laid on the grid of the image."""
        asset, (rows, cols, _) = self._record.assets[number], self._raster(number).shape
        if asset.to_image is not None and not _invertible(asset.to_image):
            numbers = tuple(asset.to_image[:6])
            raise RecordError(
                f"{asset.path}: its transform to the image, {numbers}, is singular; correct it."
            )
        height, width, _ = self.shape
        if asset.to_image is None and (rows, cols) != (height, width):
            raise RecordError(
                f"{asset.path}: has width={cols}, height={rows} and no transform, but its image has "
                f"width={width}, height={height}. Give the transform, or correct the size."
            )

    def read(self, window: Window, drawing: Drawing, bands: Iterable[int] | None = None) -> NDArray[Any]:
        """Read a window of the image.

        Parameters
        ----------
        window : Window
            In pixels of the image; may leave it.
        drawing : Drawing
            Scale, filters, fill.
        bands : iterable of int or None
            Which of the channels; None for all.

        Returns
        -------
        ndarray or numpy.ma.MaskedArray, shape (rows, columns, channels)
            C-contiguous, owned by the caller.
        """
        chosen = range(len(self._places)) if bands is None else list(bands)
        grid = OutputGrid.of(window, drawing.scale)
        dtype = self.dtype_of(drawing)
        out = np.empty((*grid.shape, len(chosen)), dtype)
        out[...] = fill_value(drawing.fill, dtype)
        missing = np.ones(out.shape, bool) if drawing.nodata == "ma" else None
        if out.size:
            known: dict[Any, AssetRead] = {}
            for (asset, filter_), channels in self._groups(chosen, drawing).items():
                self._draw(asset, filter_, channels, chosen, grid, drawing, out, missing, known)
        return out if missing is None else np.ma.MaskedArray(out, missing)

    def dtype_of(self, drawing: Drawing) -> np.dtype[Any]:
        """Return the type of what `read` returns."""
        measured = drawing.dequantize and any(
            self._record.assets[asset].quantization is not None for asset, _ in self._places
        )
        return working_dtype(self.dtype) if measured or drawing.nodata == "float" else self.dtype

    def _groups(self, chosen: Iterable[int], drawing: Drawing) -> dict[tuple[int, Filter], list[int]]:
        """Collect the channels that come from one file by one filter; values are places in the result."""
        groups: dict[tuple[int, Filter], list[int]] = {}
        for place, channel in enumerate(chosen):
            key = self._places[channel][0], drawing.filter_of(self.names[channel])
            groups.setdefault(key, []).append(place)
        return groups

    def _plan(
        self,
        asset: int,
        grid: OutputGrid,
        filter_: Filter,
        antialias: bool,
        known: dict[Any, AssetRead] | None = None,
    ) -> AssetRead:
        """Plan the read of one file; files that lie alike share a plan through `known`."""
        to_image = self._record.assets[asset].to_image or _IDENTITY
        levels = self._raster(asset).level_shapes
        if known is None:
            known = {}
        key = (to_image, levels, filter_.name)
        if key not in known:
            known[key] = plan_asset(grid, to_image, levels, self.shape[:2], filter_, antialias)
        return known[key]

    def _draw(
        self,
        asset: int,
        filter_: Filter,
        channels: list[int],
        chosen: Any,
        grid: OutputGrid,
        drawing: Drawing,
        out: NDArray[Any],
        missing: NDArray[np.bool_] | None,
        known: dict[Any, AssetRead],
    ) -> None:
        raster = self._raster(asset)
        step = self._plan(asset, grid, filter_, drawing.antialias, known)
        if step.target.empty:
            return
        bands = [self._places[chosen[place]][1] for place in channels]
        source = self._read(asset, step, None if bands == list(range(raster.shape[2])) else bands)
        nodata = self._record.assets[asset].nodata
        nodata = raster.nodata if nodata is None else nodata
        valid = _valid(source, nodata)
        values, kept = _resampled(source, valid, step, filter_, drawing.antialias)
        if drawing.nodata is not None and kept is not None and missing is None:
            values = np.where(kept, values, np.nan)
        elif kept is not None and nodata is not None:
            values = np.where(kept, values, nodata)
        elif kept is not None:
            values = np.where(kept, values, np.nan)
        quantization = self._record.assets[asset].quantization
        if drawing.dequantize and quantization is not None:
            values = values.astype(np.float64) * quantization.step + quantization.offset
            if kept is not None:
                values = np.where(kept, values, np.nan)
        drawn = to_dtype(values, out.dtype)
        shown = self._inside(asset, step, grid)
        rows, cols = step.target.slices
        for k, place in enumerate(channels):
            if shown is None:
                out[rows, cols, place] = drawn[..., k]
            else:
                np.copyto(out[rows, cols, place], drawn[..., k], where=shown)
            if missing is not None:
                absent = False if kept is None else ~kept[..., k]
                missing[rows, cols, place] = absent if shown is None else absent | ~shown

    def _read(self, asset: int, step: AssetRead, bands: list[int] | None) -> NDArray[Any]:
        try:
            return self._raster(asset).read(step.source, bands, level=step.level)
        except DamagedFileError:
            mended = self._store.reopen(self._record.assets[asset], self._opened[asset])
            if mended is None:
                raise
            self._opened[asset] = mended
            return mended.raster.read(step.source, bands, level=step.level)

    def _inside(self, asset: int, step: AssetRead, grid: OutputGrid) -> NDArray[np.bool_] | None:
        """Return which pixels of the target have their centre on the file; None for all."""
        to_image = self._record.assets[asset].to_image
        shape = self._raster(asset).shape[:2]
        if (
            to_image is None
            or not (to_image.b or to_image.d)
            or covers_image(to_image, shape, self.shape[:2])
        ):
            return None
        inverse = ~(Affine.translation(-step.target.col, -step.target.row) @ grid.from_image @ to_image)
        x, y = np.arange(step.target.width) + 0.5, (np.arange(step.target.height) + 0.5)[:, None]
        across = inverse.a * x + inverse.b * y + inverse.c
        down = inverse.d * x + inverse.e * y + inverse.f
        return np.asarray((across >= 0) & (across <= shape[1]) & (down >= 0) & (down <= shape[0]))

    def crops(self, window: Window) -> list[tuple[NDArray[Any], Affine, tuple[str | None, ...]]]:
        """Read what each file holds of a window, unresampled, with the transform to the window."""
        grid = OutputGrid.of(window)
        found = []
        for (asset, filter_), places in self._groups(range(len(self._places)), Drawing()).items():
            step = self._plan(asset, grid, filter_, antialias=False)
            bands = [self._places[place][1] for place in places]
            to_window = Affine.translation(step.target.col, step.target.row) @ (step.to_target or _IDENTITY)
            pixels = self._read(asset, step, bands)
            found.append((pixels, to_window, tuple(self.names[place] for place in places)))
        return found


class DrawnImage:
    """An aligned image with one way of drawing, read like a file.

    Parameters
    ----------
    image : AlignedImage
        The image.
    drawing : Drawing
        At scale 1 and without a mask.
    """

    def __init__(self, image: AlignedImage, drawing: Drawing) -> None:
        self._image = image
        self._drawing = drawing
        self.path = image.path
        self.shape = image.shape
        self.dtype = image.dtype_of(drawing)

    def read_into(self, window: Window, out: NDArray[Any], bands: list[int] | None = None) -> None:
        """Read a window that lies inside the image."""
        out[...] = self._image.read(window, self._drawing, bands)


def fill_value(fill: float | None, dtype: np.dtype[Any]) -> Any:
    """Return what stands outside the image: as given, or 0 for integers and NaN for floats.

    Raises
    ------
    ConfigError
        If the pixels cannot hold it.
    """
    if fill is None:
        return np.nan if dtype.kind in "fc" else 0
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        if fill != fill or fill != int(fill) or not info.min <= fill <= info.max:
            raise ConfigError(
                f"fill={fill!r} does not fit pixels of {dtype}; "
                f"allowed are whole numbers from {info.min} to {info.max}."
            )
        return int(fill)
    return fill


def _invertible(matrix: Affine) -> bool:
    area = matrix.determinant
    return math.isfinite(area) and area != 0 and math.isfinite(matrix.c) and math.isfinite(matrix.f)


def check_asset(asset: Asset, shape: tuple[int, int, int]) -> None:
    """Refuse a file that is not what its record declares.

    Raises
    ------
    RecordError
        Naming the file, what is declared and what it has.
    """
    if asset.channels is not None and len(asset.channels) != shape[2]:
        raise RecordError(
            f"{asset.path}: {len(asset.channels)} channel names are declared, but the file has "
            f"{shape[2]} bands. Name each band, or leave the names out."
        )
    if asset.bands is not None and asset.bands != shape[2]:
        raise RecordError(f"{asset.path}: num_bands={asset.bands} is declared, but the file has {shape[2]}.")
    if asset.width is not None or asset.height is not None:
        check_size(asset.path, asset.width, asset.height, shape)


def check_size(path: str, width: int | None, height: int | None, shape: tuple[int, int, int]) -> None:
    """Refuse a size that is not that of the file.

    Raises
    ------
    RecordError
        Naming the file and both sizes.
    """
    rows, cols, _ = shape
    if width not in (None, cols) or height not in (None, rows):
        raise RecordError(
            f"{path}: width={width}, height={height} are declared, but the file has width={cols}, "
            f"height={rows}. Correct the record, or leave the size out."
        )


def _valid(source: NDArray[Any], nodata: float | None) -> NDArray[np.bool_] | None:
    """Return which samples are pixels; None if all are."""
    valid: NDArray[np.bool_] | None = None
    if nodata is not None and not np.isnan(nodata):
        valid = source != nodata
    if source.dtype.kind == "f":
        numbers = ~np.isnan(source)
        valid = numbers if valid is None else valid & numbers
    return None if valid is None or valid.all() else valid


def _resampled(
    source: NDArray[Any], valid: NDArray[np.bool_] | None, step: AssetRead, filter_: Filter, antialias: bool
) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """Draw the source on the target; also return which values come from pixels (None: all)."""
    if step.to_target is None:
        return source, valid
    shape = step.target.shape
    if valid is None:
        return resample(source, step.to_target, shape, filter_, antialias), None
    # Samples without a pixel have no weight; a value needs at least half of its weights.
    weight = resample(valid.astype(np.float32), step.to_target, shape, filter_, antialias)
    values = resample(np.where(valid, source, 0), step.to_target, shape, filter_, antialias)
    kept = weight >= 0.5
    if filter_.support == 0:
        return values, kept
    return values / np.where(kept, weight, 1), kept
