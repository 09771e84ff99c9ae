"""One image, read lazily: as an array that is not loaded, or channel by channel."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
from numpy.typing import DTypeLike, NDArray

from subregion.cache.workdir import make_store
from subregion.errors import RegionError, RegionTypeError, shown
from subregion.geometry.channels import kept_channels
from subregion.geometry.georeference import Bounds, Georeference
from subregion.geometry.pixelsize import PixelSize
from subregion.geometry.region import Region, select, without_axes, without_integers
from subregion.geometry.window import Window
from subregion.interop.lazy import to_dask, to_xarray
from subregion.read.explain import Explanation, explain
from subregion.read.georeference import georeference, window_of
from subregion.read.image import OpenImage
from subregion.read.mending import planned_again
from subregion.read.options import Channels, Fill, Interpolation, ReadArguments, read_options
from subregion.read.plan import is_plain, plan_crops
from subregion.read.region import execute_reads, read_region, thread_count
from subregion.read.resolution import pixel_size, resolved

if TYPE_CHECKING:
    import dask.array
    import xarray

    from subregion.cache.backend import Backend
    from subregion.cache.store import Store
    from subregion.formats.raster import Raster
    from subregion.records import ImageRecord


@dataclass(frozen=True, slots=True, eq=False)
class NativeCrop:
    """What one file holds of a region, at its own resolution.

    Parameters
    ----------
    pixels : ndarray, shape (rows, columns, channels)
        Unresampled.
    transform : ndarray, shape (3, 3)
        From pixel corners of `pixels` (x, y, 1) to those of the region.
    channels : tuple of (str or None)
        Names of the channels, as far as they have any.
    """

    pixels: NDArray[Any]
    transform: NDArray[np.float64]
    channels: tuple[str | None, ...]


class AlignableImageData:
    """The files of one image, read by region of the image.

    Between brackets, integers drop their axis as NumPy's do; `load_region` always gives three axes.

    Parameters
    ----------
    record : ImageRecord
        The image.
    backend : None, str or dict
        As for `Frames`; ``"auto"`` makes a converted copy on the first read of a file that is slow to read by
        window.
    workdir : path or None
        Where copies are kept; None is the user's cache folder.
    hashid_mode : str
        As for `Frames`.

    Examples
    --------
    >>> from subregion import SimpleFrames
    >>> frames = SimpleFrames.demo()
    >>> image = AlignableImageData(frames.record("coffee.png"))
    >>> image.shape
    (400, 600, 3)
    >>> image[100:110, :5].shape
    (10, 5, 3)
    """

    def __init__(
        self,
        record: ImageRecord,
        backend: Backend = "auto",
        workdir: str | os.PathLike[str] | None = None,
        hashid_mode: str = "PATH",
    ) -> None:
        self.record = record
        self._store = make_store(workdir, backend, hashid_mode, warn=False)

    @classmethod
    def from_store(cls, record: ImageRecord, store: Store) -> AlignableImageData:
        """Make one that shares the cache of a collection."""
        image = cls.__new__(cls)
        image.record = record
        image._store = store
        return image

    @property
    def shape(self) -> tuple[int, int, int]:
        """Rows, columns and channels of the default file, on the grid of the image."""
        if is_plain(self.record, None):
            return self._raster.shape
        return planned_again(lambda: OpenImage(self._store, self.record, None).shape)

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Type of the pixels."""
        return self._raster.dtype

    @property
    def _raster(self) -> Raster:
        return self._store.open(self.record.default_asset).raster

    @property
    def _shown(self) -> str:
        """Path, and shape and type if they are known without opening anything."""
        asset, others = self.record.default_asset, len(self.record.assets) - 1
        text = repr(asset.path) + (f" and {others} more files" if others else "")
        opened = self._store.opened(asset) if is_plain(self.record, None) else None
        if opened is not None:
            return f"{text}, shape={opened.raster.shape}, dtype={opened.raster.dtype}"
        if self.record.width is not None and self.record.height is not None:
            return f"{text}, {self.record.height} rows, {self.record.width} columns"
        return text

    def __repr__(self) -> str:
        return f"<AlignableImageData: image {shown(self.record.image_id)}, {self._shown}>"

    def __getitem__(self, region: Any) -> NDArray[Any]:
        slices, axes = without_integers(region)
        pixels = read_region(self._store, self.record, slices)
        return without_axes(pixels, axes, region, lambda: self.shape) if axes else pixels

    def load_region(
        self,
        region: Region = None,
        channels: Channels = None,
        fused: bool = True,
        *,
        bounds: Bounds | None = None,
        crs: Any = None,
        scale: float | tuple[float, float] = 1,
        interpolation: Interpolation = "linear",
        antialias: bool = True,
        nodata: str | None = None,
        dequantize: bool = False,
        fill: Fill = None,
        resolution: float | tuple[float, float] | None = None,
        threads: int | None = 1,
    ) -> Any:
        """Read a region.

        Parameters
        ----------
        region : Window, slices or None
            Which pixels of the image; None for all.
        channels : str, sequence of str or None
            Which channels; None for those of the default asset.
        fused : bool
            Whether to return one array, or what each file holds at its own resolution.
        bounds, crs
            Which pixels, by a rectangle on the ground; see `window`.
        scale, interpolation, antialias, nodata, dequantize, fill, resolution
            As for `Frames.load_region`; only for what is fused.
        threads : int or None
            How many threads decode; None is one per core.

        Returns
        -------
        ndarray, shape (rows, columns, channels), or list of NativeCrop
        """
        if bounds is not None or crs is not None:
            region = self._by_bounds(region, bounds, crs)
        if fused:
            options = read_options(scale, interpolation, antialias, nodata, dequantize, fill, resolution)
            return read_region(self._store, self.record, region, channels, options, threads)
        kept, count = kept_channels(channels), thread_count(threads)
        return planned_again(lambda: self._crops(region, kept, count))

    def explain(
        self,
        region: Region = None,
        channels: Channels = None,
        *,
        fill: Fill = None,
        **options: Unpack[ReadArguments],
    ) -> Explanation:
        """Tell what `load_region` would do; see `Frames.explain`."""
        return explain(self._store, self.record, region, channels, read_options(**options, fill=fill))

    def _crops(self, region: Region, channels: Channels, threads: int) -> list[NativeCrop]:
        image = OpenImage(self._store, self.record, channels)
        selection = select(region, image.shape)
        if selection.bands is not None or (selection.row_step, selection.col_step) != (1, 1):
            raise RegionError(
                f"region {region!r}: steps and channel slices have no meaning for files at several "
                f"resolutions; name the channels instead."
            )
        crops, reads = [], []
        for group, transform, names in plan_crops(image, selection.window):
            pixels = np.empty((*group.read.source.shape, group.band_count), group.raster.dtype)
            reads.append(group.into(pixels))
            crops.append(NativeCrop(pixels, np.array(transform, np.float64).reshape(3, 3), names))
        execute_reads(self._store, image.opened, reads, threads)
        return crops

    def _by_bounds(self, region: Region, bounds: Bounds | None, crs: Any) -> Window:
        if bounds is None:
            raise RegionTypeError(f"crs={crs!r} has no meaning without bounds.")
        if region is not None:
            raise RegionTypeError(f"give region={region!r} or bounds={bounds!r}, not both.")
        return self.window(bounds, crs)

    def georeference(self) -> Georeference:
        """Tell where the image lies on the ground; see `Frames.georeference`."""
        return georeference(self._store, self.record)

    def pixel_size(self) -> PixelSize | None:
        """Tell how large the pixels of the image are; see `Frames.pixel_size`."""
        return pixel_size(self._store, self.record)

    def window(self, bounds: Bounds, crs: Any = None) -> Window:
        """Return the pixels that a rectangle on the ground covers; see `Frames.window`."""
        return window_of(self._store, self.record, bounds, crs)

    def to_dask(
        self,
        channels: Channels = None,
        *,
        chunks: int | tuple[int, int] | None = None,
        fill: float | None = None,
        **options: Unpack[ReadArguments],
    ) -> dask.array.Array:
        """Return a lazy array of all pixels; see `Frames.to_dask`."""
        wanted = resolved(self._store, self.record, read_options(**options, fill=fill))
        return to_dask(self._store, self.record, channels, wanted, chunks)

    def to_xarray(
        self,
        channels: Channels = None,
        *,
        chunks: int | tuple[int, int] | None = None,
        fill: float | None = None,
        **options: Unpack[ReadArguments],
    ) -> xarray.DataArray:
        """Return a lazy array with names and coordinates; see `Frames.to_xarray`."""
        wanted = resolved(self._store, self.record, read_options(**options, fill=fill))
        return to_xarray(self._store, self.record, channels, wanted, chunks)


class LazyFrame:
    """An image that is read when it is indexed.

    Nothing is opened before `shape`, `dtype` or pixels are asked for. Indexing takes regions, see
    `Frames.load_region`, and as this is an array also integers, which drop their axis. NumPy, dask,
    napari and matplotlib take it.

    Parameters
    ----------
    image : AlignableImageData
        What it reads from.
    """

    ndim = 3

    def __init__(self, image: AlignableImageData) -> None:
        self._image = image

    @property
    def shape(self) -> tuple[int, int, int]:
        """Rows, columns and channels."""
        return self._image.shape

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Type of the pixels."""
        return self._image.dtype

    @property
    def size(self) -> int:
        """How many values there are."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the whole image in memory."""
        return self.size * self.dtype.itemsize

    @property
    def chunks(self) -> tuple[int, int, int]:
        """Rows, columns and channels of the blocks that are decoded together."""
        raster = self._image._raster
        rows, cols, bands = raster.shape
        high, wide = raster.block
        if not raster.windowed or raster.mapped:
            high, wide = 1024, 1024
        return min(high, rows), min(wide, cols), bands

    def georeference(self) -> Georeference:
        """Tell where the image lies on the ground; see `Frames.georeference`."""
        return self._image.georeference()

    def pixel_size(self) -> PixelSize | None:
        """Tell how large the pixels of the image are; see `Frames.pixel_size`."""
        return self._image.pixel_size()

    def window(self, bounds: Bounds, crs: Any = None) -> Window:
        """Return the pixels that a rectangle on the ground covers, to index with; see `Frames.window`."""
        return self._image.window(bounds, crs)

    def to_dask(self, chunks: int | tuple[int, int] | None = None) -> dask.array.Array:
        """Return a dask array of whole blocks; see `Frames.to_dask`."""
        return self._image.to_dask(chunks=chunks)

    def to_xarray(self, chunks: int | tuple[int, int] | None = None) -> xarray.DataArray:
        """Return a lazy array with coordinates; see `Frames.to_xarray`."""
        return self._image.to_xarray(chunks=chunks)

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[NDArray[Any]]:
        for row in range(len(self)):
            yield self[row]

    def __getitem__(self, region: Any) -> NDArray[Any]:
        return self._image[region]

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError("a lazy image is read from its file, which always makes a new array.")
        pixels = self._image[None]
        return pixels if dtype is None else pixels.astype(dtype, copy=False)

    def __repr__(self) -> str:
        return f"<LazyFrame: {self._image._shown}>"
