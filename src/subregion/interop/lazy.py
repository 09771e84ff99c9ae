"""Lazy arrays of an image: for dask in chunks of whole blocks, for xarray with names and coordinates."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from subregion.cache.policy import serves_in_place
from subregion.cache.seen import look_at
from subregion.dtypes import as_integer
from subregion.errors import (
    ConfigError,
    NotGeoreferencedError,
    RecordError,
    SourceNotFoundError,
    shown,
)
from subregion.geo.crs import system_of
from subregion.geometry.channels import kept_channels
from subregion.geometry.placement import OutputGrid
from subregion.geometry.region import Selection, select
from subregion.geometry.window import Window
from subregion.libraries import dask_array, needed, xarray
from subregion.read.georeference import georeference
from subregion.read.image import OpenImage
from subregion.read.mending import mend_unlike, planned_again
from subregion.read.options import AS_STORED, Channels, ReadOptions
from subregion.read.padding import fill_value
from subregion.read.plan import plan_part
from subregion.read.region import read_plan, read_region

if TYPE_CHECKING:
    from subregion.cache.store import Store
    from subregion.geometry.georeference import Georeference
    from subregion.records import Asset, ImageRecord

#: A chunk has about so many rows and columns: the cost of a task vanishes, and some chunks fit into memory.
CHUNK_SIDE = 2048
#: A chunk holds at most so many bytes, unless a single block of the file holds more.
CHUNK_BYTES = 64 << 20


@dataclass(frozen=True, slots=True, eq=False)
class LazyPixels:
    """An image drawn on one grid, read when it is indexed. A value that pickles small.

    Parameters
    ----------
    store : Store
        Where converted copies are.
    record : ImageRecord
        The image.
    channels : str, sequence of str or None
        Which channels.
    options : ReadOptions
        How pixels get to the grid.
    shape : tuple of int
        Rows, columns and channels of the result.
    dtype : numpy.dtype
        Its type.
    """

    store: Store
    record: ImageRecord
    channels: Channels
    options: ReadOptions
    shape: tuple[int, int, int]
    dtype: np.dtype[Any]

    @property
    def ndim(self) -> int:
        """Always 3."""
        return 3

    def __getitem__(self, index: Any) -> NDArray[Any]:
        """Read what NumPy would take: dask passes on whatever was cut out of the array."""
        items = index if isinstance(index, tuple) else (index,)
        items += (slice(None),) * (3 - len(items))
        region, then = zip(*map(_axis, items, self.shape), strict=True)
        pixels = self._read(select(region, self.shape))
        for axis in (2, 1, 0):
            if then[axis] is not None:
                pixels = pixels[(slice(None),) * axis + (then[axis],)]
        return pixels

    def _read(self, selection: Selection) -> NDArray[Any]:
        return planned_again(lambda: self._checked(selection))

    def _checked(self, selection: Selection) -> NDArray[Any]:
        """Read a part, and see to it that it has the shape that the array promised."""
        window, bands = selection.window, selection.bands
        image = OpenImage(self.store, self.record, self.channels)
        grid = OutputGrid.of(Window(0, 0, *image.shape[:2]), self.options.scale)
        self._check((*grid.shape, image.shape[2]), self.shape)
        if self.options.scale == (1, 1):
            pixels = read_region(self.store, self.record, selection, self.channels, self.options)
        else:
            pixels = read_plan(self.store, plan_part(image, grid, window, bands, self.options))
            pixels = pixels[:: selection.row_step, :: selection.col_step]
        self._check(pixels.shape, (*selection.shape, self.shape[2] if bands is None else len(bands)))
        return pixels

    def _check(self, found: tuple[int, ...], wanted: tuple[int, ...]) -> None:
        if found == wanted:
            return
        error = RecordError(
            f"{self.record.default_asset.path}: gives {found} where {wanted} were there when the array was "
            f"made; the file was replaced since. Make the array anew."
        )
        for asset in self.record.assets:
            if (opened := self.store.opened(asset)) is not None:
                mend_unlike(self.store, asset, opened, error)
        raise error


def _axis(item: Any, size: int) -> tuple[slice, Any]:
    """Split an index along one axis into what to read and what to take of that."""
    if isinstance(item, slice) and (item.step is None or item.step > 0):
        return item, None
    places = np.arange(size)[item]
    if places.ndim == 0:
        return slice(int(places), int(places) + 1), 0
    if places.size == 0:
        return slice(0, 0), places
    first = int(places.min())
    return slice(first, int(places.max()) + 1), places - first


@dataclass(frozen=True, slots=True, eq=False)
class Header:
    """What is known of an image before a pixel is read.

    Parameters
    ----------
    image : OpenImage
        Its files, open for their headers.
    grid : OutputGrid
        The pixels of the result.
    options : ReadOptions
        How it is drawn.
    """

    image: OpenImage
    grid: OutputGrid
    options: ReadOptions

    @property
    def shape(self) -> tuple[int, int, int]:
        """Rows, columns and channels of the result."""
        return (*self.grid.shape, self.image.shape[2])


def read_header(store: Store, record: ImageRecord, channels: Channels, options: ReadOptions) -> Header:
    """Open the files of an image for their headers; nothing is converted."""
    try:
        image = OpenImage(store.in_place, record, channels)
    except SourceNotFoundError:
        # Some identities need the copy only.
        image = planned_again(lambda: OpenImage(store, record, channels))
    return Header(image, OutputGrid.of(Window(0, 0, *image.shape[:2]), options.scale), options)


def to_dask(
    store: Store,
    record: ImageRecord,
    channels: Channels = None,
    options: ReadOptions = AS_STORED,
    chunks: Any = None,
) -> dask_array.Array:
    """Make a dask array of an image; see `Frames.to_dask`."""
    _check_number(options.fill)
    channels = kept_channels(channels)
    return _dask_array(store, record, channels, read_header(store, record, channels, options), chunks)


def _dask_array(
    store: Store, record: ImageRecord, channels: Channels, header: Header, chunks: Any
) -> dask_array.Array:
    needed(dask_array, "a lazy array")
    options, image = header.options, header.image
    pixels = LazyPixels(store, record, channels, options, header.shape, image.dtype_of(options))
    along = _chunks(store, record, header, pixels.dtype) if chunks is None else _given(chunks, pixels.shape)
    meta: NDArray[Any] = np.empty((0, 0, 0), pixels.dtype)
    return dask_array.from_array(
        pixels,
        chunks=along,
        name=f"subregion-{_token(store, record, channels, options, along)}",
        meta=np.ma.masked_array(meta) if options.nodata == "ma" else meta,
        asarray=False,
        inline_array=True,
    )


def _check_number(fill: Any) -> None:
    """Refuse a fill that no type of pixels takes."""
    if isinstance(fill, str):
        raise ConfigError(f"fill={shown(fill)}: a lazy array takes a number, or None.")
    if fill is not None:
        fill_value(fill, np.dtype(np.complex128))


def _given(chunks: Any, shape: tuple[int, int, int]) -> tuple[Any, ...]:
    pair = chunks if isinstance(chunks, tuple) else (chunks, chunks)
    if len(pair) != 2 or not all(type(size) is int and size > 0 for size in pair):
        raise ConfigError(
            f"chunks={shown(chunks)}: a number of pixels is needed, or a pair for rows and columns."
        )
    return min(pair[0], shape[0]), min(pair[1], shape[1]), shape[2]


def _chunks(store: Store, record: ImageRecord, header: Header, dtype: np.dtype[Any]) -> tuple[Any, ...]:
    """Choose chunks of whole blocks; channels of different files never share one."""
    runs = [len(list(run)) for _, run in groupby(asset for asset, _ in header.image.places)]
    asset = record.default_asset
    across, down = header.options.scale[1], header.options.scale[0]
    if asset.to_image is not None:
        across *= math.hypot(asset.to_image.a, asset.to_image.d)
        down *= math.hypot(asset.to_image.b, asset.to_image.e)
    high, wide = _block(store, asset)
    block = max(1, round(high * down)), max(1, round(wide * across))
    area = min(CHUNK_SIDE**2, CHUNK_BYTES // (dtype.itemsize * max(runs, default=1)))
    rows, cols = chunk_shape(header.shape[:2], block, area)
    return rows, cols, tuple(runs) if runs else 0


def chunk_shape(shape: tuple[int, int], block: tuple[int, int], area: int) -> tuple[int, int]:
    """Choose chunks of whole blocks, near square and of at most `area` pixels where the blocks allow it.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns of the image.
    block : tuple of int
        Rows and columns of a block.
    area : int
        How many pixels a chunk may hold.

    Returns
    -------
    tuple of int
        Rows and columns.

    Examples
    --------
    >>> chunk_shape((30000, 40000), (256, 256), 2048 * 2048)
    (2048, 2048)
    >>> chunk_shape((30000, 40000), (8, 40000), 2048 * 2048)  # strips
    (104, 40000)
    """
    side = max(1, math.isqrt(area))
    high, wide = min(block[0], shape[0]), min(block[1], shape[1])
    # The larger side of the block goes first, and the other takes what is left.
    if wide >= high:
        cols = min(max(side // wide, 1) * wide, shape[1])
        rows = max(max(area // cols, 1) // high, 1) * high if cols > side else max(side // high, 1) * high
        return min(rows, shape[0]), cols
    cols, rows = chunk_shape((shape[1], shape[0]), (wide, high), area)
    return rows, cols


def _block(store: Store, asset: Asset) -> tuple[int, int]:
    """Return the rows and columns that will be decoded together; 1, 1 if a window costs what it holds."""
    opened = store.opened(asset)
    raster = store.header(asset) if opened is None else opened.raster
    kind = store.recipe.kind
    if opened is None and kind != "none" and not (kind == "auto" and serves_in_place(raster)):
        size = store.stored_as.options.get("blocksize", 1)  # of the copy that will be made
        return size, size
    return (1, 1) if raster.mapped else raster.block


def _token(
    store: Store, record: ImageRecord, channels: Channels, options: ReadOptions, chunks: tuple[Any, ...]
) -> str:
    """Name an array by all that its pixels depend on, so that equal arrays share their tasks."""
    parts: list[Any] = [
        (store.recipe.document, record.width, record.height, record.default),
        (channels if isinstance(channels, str | None) else tuple(channels), options, chunks),
    ]
    for asset in record.assets:
        try:
            seen = None if store.mode == "GIVEN" else look_at(asset.path)
        except SourceNotFoundError:
            seen = None
        parts.append((asset, seen))
    return hashlib.blake2b(repr(parts).encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()


def to_xarray(
    store: Store,
    record: ImageRecord,
    channels: Channels = None,
    options: ReadOptions = AS_STORED,
    chunks: Any = None,
) -> xarray.DataArray:
    """Make a labelled array of an image; see `Frames.to_xarray`."""
    needed(xarray, "to_xarray")
    _check_number(options.fill)
    channels = kept_channels(channels)
    if options.nodata == "ma":
        raise ConfigError("nodata='ma': xarray has no masked arrays; write nodata='float', which gives NaN.")
    header = read_header(store, record, channels, options)
    array = _dask_array(store, record, channels, header, chunks)
    names: list[Any] = list(header.image.names)
    if None in names:
        names = list(range(len(names)))
    coords: dict[str, Any] = {"channel": names}
    along_channels, attributes = _of_bands(header)
    coords |= along_channels
    try:
        place = georeference(store, record)
    except NotGeoreferencedError:
        coords |= _centres(~header.grid.from_image, header.grid.shape)
    else:
        path = record.default_asset.path
        coords |= _on_the_ground(path, place.of_part(header.grid.from_image), header.grid.shape)
    attributes |= _nodata(store, record, header)
    found = xarray.DataArray(array, coords, ("y", "x", "channel"), attrs=attributes)
    found.name = None  # xarray takes that of the dask array
    if "spatial_ref" in coords:
        found.encoding["grid_mapping"] = "spatial_ref"
    return found


def _of_bands(header: Header) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what files say of their bands: coordinates along the channels, and attributes of all."""
    bands = [header.image.raster(asset).bands[band] for asset, band in header.image.places]
    coords: dict[str, Any] = {}
    if any(band.wavelength for band in bands):
        values = np.array([np.nan if band.wavelength is None else band.wavelength for band in bands])
        coords["wavelength"] = ("channel", values, {"units": "nm"})
    units = {band.unit for band in bands}
    if len(units) > 1:  # an array has one unit in the conventions of CF
        coords["unit"] = ("channel", [band.unit for band in bands])
    return coords, {"units": bands[0].unit} if len(units) == 1 and "" not in units else {}


def _centres(matrix: Affine, shape: tuple[int, int]) -> dict[str, Any]:
    """Return the coordinates of the centres of rows and columns."""
    with np.errstate(over="ignore"):  # files may say anything
        return {
            "y": matrix.f + matrix.e * (np.arange(shape[0]) + 0.5),
            "x": matrix.c + matrix.a * (np.arange(shape[1]) + 0.5),
        }


def _on_the_ground(path: str, place: Georeference, shape: tuple[int, int]) -> dict[str, Any]:
    """Return coordinates by the conventions of CF and rioxarray."""
    a, b, c, d, e, f = place.to_world[:6]
    about: dict[str, Any] = {"GeoTransform": " ".join(f"{float(n)!r}" for n in (c, a, b, f, d, e))}
    coords = _centres(place.to_world if place.axis_aligned else Affine.identity(), shape)
    if place.crs is not None:
        crs = system_of(place.crs, path, "an image with a coordinate reference system as xarray")
        wkt = crs.to_wkt()
        about = crs.to_cf() | {"crs_wkt": wkt, "spatial_ref": wkt} | about
        if place.axis_aligned:
            for axis in crs.cs_to_cf():
                name = {"X": "x", "Y": "y"}.get(axis.get("axis", ""))
                if name is not None:
                    coords[name] = (name, coords[name], axis)
    coords["spatial_ref"] = ((), 0, about)
    return coords


def _nodata(store: Store, record: ImageRecord, header: Header) -> dict[str, Any]:
    """Return the attribute that says which value means "no pixel", if that is one value for all channels."""
    if header.options.nodata == "float":
        return {"_FillValue": np.nan}
    values = set()
    for number in {asset for asset, _ in header.image.places}:
        asset = record.assets[number]
        values.add(asset.nodata if asset.nodata is not None else store.header(asset).nodata)
    value = values.pop() if len(values) == 1 else None
    dtype = header.image.dtype_of(header.options)
    if value is None or (dtype.kind in "iu" and as_integer(value, dtype) is None):
        return {}
    return {"_FillValue": dtype.type(value)}
