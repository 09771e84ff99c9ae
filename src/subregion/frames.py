"""Collections of images that are read by region; what concerns their cache is in `cachedimages`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from operator import is_
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
from numpy.typing import NDArray

from subregion.cache.workdir import make_store
from subregion.cachedimages import CachedImages
from subregion.errors import ConfigError, RegionError, RegionTypeError, shown
from subregion.geometry.channels import kept_channels
from subregion.geometry.georeference import Bounds, Georeference
from subregion.geometry.pixelsize import PixelSize
from subregion.geometry.region import Region
from subregion.geometry.window import Window
from subregion.image import AlignableImageData, LazyFrame
from subregion.read.explain import Explanation
from subregion.read.image import check_file_size
from subregion.read.mapping import map_image
from subregion.read.mending import planned_again
from subregion.read.options import (
    AS_STORED,
    DEFAULTS,
    Channels,
    Fill,
    Interpolation,
    ReadArguments,
    read_options,
)
from subregion.read.palette import read_palette
from subregion.read.plan import open_needed
from subregion.read.region import read_region, read_regions

if TYPE_CHECKING:
    import dask.array
    import xarray

    from subregion.codecs.color import Palette
    from subregion.records import ImageRecord


class Frames(CachedImages):
    """A collection of images, read by region in time that depends on the region.

    A subclass supplies `image_ids` and `record`; all else is inherited. Instances hold no open files:
    they may be pickled, copied, forked and shared between threads at any moment.

    Parameters
    ----------
    workdir : path or None
        Where converted copies are kept; None is the user's cache folder, with a warning.
    backend : None, str or dict
        How images are stored for reading: None reads the sources as they are; ``"npy"``, ``"cog"``,
        ``"zarr"``, ``"jpeg"`` and ``"auto"`` convert each image once.
        ``{"type": "cog", "config": {"compress": "ZSTD"}}`` sets options.
    hashid_mode : str
        What names a source: its ``"PATH"`` (with size and time of change), the bytes (``"PIXELS"``), the
        hash that ``"DVC"`` holds, or one that is ``"GIVEN"``.
    max_size : int, str or None
        How many bytes all copies under `workdir` may have, such as ``"200GB"``: where a conversion would lead
        beyond it, copies that were used least recently are removed. None is no limit.
    """

    def __iter__(self) -> Iterator[NDArray[Any]]:
        """Yield all images, each read when its turn comes."""
        for image_id in self.image_ids:
            yield self._whole(image_id)

    def __getitem__(self, index: int) -> NDArray[Any]:
        if isinstance(index, bool) or not isinstance(index, int | np.integer):
            raise RegionTypeError(
                f"frames[{shown(index)}]: takes the position of an image; "
                f"use load_image(image_id) or load_region(image_id, region)."
            )
        try:
            image_id = self.image_ids[int(index)]
        except IndexError:
            raise RegionError(f"frames[{shown(index)}]: there are {len(self)} images.") from None
        return self._whole(image_id)

    def _whole(self, image_id: Any) -> NDArray[Any]:
        return np.asanyarray(self.load_image(image_id))

    def load_region(
        self,
        image_id: Any,
        region: Region = None,
        channels: Channels = None,
        *,
        bounds: Bounds | None = None,
        crs: Any = None,
        width: int | None = None,
        height: int | None = None,
        scale: float | tuple[float, float] = 1,
        interpolation: Interpolation = "linear",
        antialias: bool = True,
        nodata: str | None = None,
        dequantize: bool = False,
        fill: Fill = None,
        space: str = "image",
        resolution: float | tuple[float, float] | None = None,
        threads: int | None = 1,
    ) -> NDArray[Any]:
        """Read a region of an image.

        Parameters
        ----------
        image_id : hashable
            Which image.
        region : Window, slices or None
            Which pixels. Slices behave as NumPy's do: they count from the end when negative, are clipped to
            the image, may have positive steps, and a third one picks channels. A `Window` is literal: it may
            leave the image, and the result has exactly its shape. None is the whole image.
        channels : str, sequence of str or None
            Which channels, by name: ``"r|g|b"``, ``["B8", "B1"]``, ``"B8.0:4"``, ``"<all>"``; None for all of
            the default file. Those of other files are drawn on the grid of the image.
        bounds : tuple of float or None
            Which pixels, by a rectangle on the ground: min x, min y, max x, max y. Instead of `region`; see
            `window`.
        crs : str, int, pyproj.CRS or None
            The reference system of the bounds; None if it is that of the image.
        width, height : int or None
            The size that the whole image is known to have; another size of the file is an error.
        scale : float or tuple of float
            How many pixels of the result make one of the image, along both axes or (rows, columns). The
            shape is that of the region times the scale, rounded; an overview is read where there is one.
        interpolation : str or mapping
            ``"nearest"``, ``"linear"``, ``"cubic"``, ``"area"`` or ``"lanczos"``, for channels that do not
            lie on the grid of the result; or one for each channel, with the key None for all others.
        antialias : bool
            Whether shrinking averages over all pixels that vanish.
        nodata : str or None
            What becomes of pixels with the file's value for "no pixel": None keeps the value, ``"float"``
            makes NaN of it, ``"ma"`` returns a masked array.
        dequantize : bool
            Whether stored integers become the values that they stand for, where the record says which.
        fill : float, str or None
            What lies outside the image: a number, or a mode of `numpy.pad`; None is 0 for integers and NaN
            for floats.
        space : str
            Whose pixels the region counts: those of the ``"image"``, or of the ``"video"`` that it is a
            frame of.
        resolution : float, tuple of float or None
            How large the pixels of the result are to be, in micrometres or units of the reference system,
            instead of `scale`; see `pixel_size`.
        threads : int or None
            How many threads decode; None is one per core. More than one pays for windows of many blocks.

        Returns
        -------
        ndarray, shape (rows, columns, channels)
            Of the type that the file stores (of several files, a type that holds all), C-contiguous, owned
            by the caller.

        Raises
        ------
        UnknownImageError, UnknownChannelError
            If there is no such image or channel (`KeyError`).
        RegionError, RegionTypeError
            If the region has no meaning, or the bounds lie beside the image (`IndexError`, `TypeError`).
        SubregionError
            If the file is missing, unreadable or damaged.

        Examples
        --------
        >>> from subregion import SimpleFrames, Window
        >>> frames = SimpleFrames.demo()
        >>> frames.load_region("coffee.png", (slice(0, 100), slice(-50, None))).shape
        (100, 50, 3)
        >>> frames.load_region("coffee.png", Window(-10, -10, 64, 64)).shape
        (64, 64, 3)
        """
        record = self._record_in(space, image_id)
        if bounds is not None or crs is not None:
            region = self.load_alignable(image_id, space)._by_bounds(region, bounds, crs)
        if width is not None or height is not None:
            check_file_size(self._store, record, width, height)
        given = scale, interpolation, antialias, nodata, dequantize, fill, resolution
        # Nearly always nothing is given, so that must cost nothing.
        options = AS_STORED if all(map(is_, given, DEFAULTS)) else read_options(*given)
        return read_region(self._store, record, region, channels, options, threads)

    def load_regions(
        self,
        requests: Iterable[tuple[Any, Region]],
        channels: Channels = None,
        *,
        out: Any = None,
        stack: bool | None = None,
        threads: int | None = None,
        scale: float | tuple[float, float] = 1,
        interpolation: Interpolation = "linear",
        antialias: bool = True,
        nodata: str | None = None,
        dequantize: bool = False,
        fill: Fill = None,
        space: str = "image",
        resolution: float | tuple[float, float] | None = None,
    ) -> Any:
        """Read many regions, of one image or of many.

        Blocks that several regions share are fetched and decoded once, and decoding runs on all cores.

        Parameters
        ----------
        requests : iterable of (image_id, region)
            What to read; regions as for `load_region`.
        channels : str, sequence of str or None
            Which channels of each.
        out : ndarray, tensor or buffer, shape (N, rows, columns, channels), or None
            Filled in place and returned, if given; pixels are cast to its type. Anything in main memory that
            NumPy can share will do, such as a `torch.Tensor`. For ``nodata="ma"`` it is a masked array.
        stack : bool or None
            True for one array, which is an error if the shapes of the regions differ; False for a list of
            arrays; None for one array if the shapes agree, otherwise a list.
        threads : int or None
            How many threads decode; None is one per core, 1 the calling thread alone.
        scale, interpolation, antialias, nodata, dequantize, fill, space, resolution
            As for `load_region`. Under a resolution each image has a scale of its own.

        Returns
        -------
        ndarray or numpy.ma.MaskedArray, shape (N, rows, columns, channels), or list of them, or `out`
            In the order of the requests; see `stack`.

        Raises
        ------
        ConfigError
            If `out` has another shape, or a type that cannot hold the pixels or their mask, or cannot be
            written into; under ``stack=True``, if the shapes of the regions differ or there are none.
        SubregionError
            As for `load_region`.

        Examples
        --------
        >>> from subregion import SimpleFrames, Window
        >>> frames = SimpleFrames.demo()
        >>> batch = [("coffee.png", Window(0, 0, 64, 64)), ("retina.jpg", Window(500, 500, 64, 64))]
        >>> frames.load_regions(batch).shape
        (2, 64, 64, 3)
        """
        options = read_options(scale, interpolation, antialias, nodata, dequantize, fill, resolution)
        record = partial(self._record_in, space)
        return read_regions(self._store, record, requests, channels, out, threads, options, stack=stack)

    def load_image(
        self,
        image_id: Any,
        channels: Channels = None,
        cache: bool = True,
        noreturn: bool = False,
        *,
        threads: int | None = None,
    ) -> NDArray[Any] | None:
        """Read a whole image.

        Parameters
        ----------
        image_id : hashable
            Which image.
        channels : str, sequence of str or None
            Which channels.
        cache : bool
            With False, the source is read as it is and no copy is made or used.
        noreturn : bool
            With True, only make sure that the converted copies are there, of the files that hold these
            channels, and return None.
        threads : int or None
            How many threads decode; None is one per core, 1 the calling thread alone.

        Returns
        -------
        ndarray, shape (rows, columns, channels), or None
            Under the ``npy`` backend a read-only `numpy.memmap` of the copy, unless single channels are asked
            for. It stays what it was when the copy is replaced or deleted, but is the caller's: if somebody
            truncates the file, touching the map ends the process. Copy it first where that may happen.
        """
        record, channels = self.record(image_id), kept_channels(channels)
        store = self._store if cache else make_store(self._workdir, None, self._store.mode, warn=False)
        if noreturn:
            planned_again(lambda: open_needed(store, record, channels))
            return None
        mapped = map_image(store, record, channels)
        return mapped if mapped is not None else read_region(store, record, None, channels, threads=threads)

    def palette(self, image_id: Any) -> Palette | None:
        """Return what indices of an image stand for; None if its default file has no palette."""
        return read_palette(self._store, self.record(image_id))

    def load_frame(self, image_id: Any, space: str = "image") -> LazyFrame:
        """Return an image, or its place in its video, as an array that is read when it is indexed."""
        return LazyFrame(self.load_alignable(image_id, space))

    def load_alignable(self, image_id: Any, space: str = "image") -> AlignableImageData:
        """Return the files of an image, to be read by region of the image or its video, and by channel."""
        return AlignableImageData.from_store(self._record_in(space, image_id), self._store)

    def _record_in(self, space: str, image_id: Any) -> ImageRecord:
        if isinstance(space, str) and space == "image":
            return self.record(image_id)
        if not isinstance(space, str) or space != "video":
            raise ConfigError(f"space={shown(space)}: allowed are 'image', 'video'.")
        return self.record(image_id).in_video()

    def georeference(self, image_id: Any) -> Georeference:
        """Tell where an image lies on the ground, from GeoTIFF tags, GDAL's ``.aux.xml``, or a world file.

        Of several files of an image from the default one, otherwise the first that tells, by way of its
        transform to the image. Only headers are read, and nothing is converted.

        Returns
        -------
        Georeference
            ``to_world``, from pixel corners (x, y) to coordinates, and ``crs``, as ``"EPSG:..."`` or WKT.

        Raises
        ------
        NotGeoreferencedError
            If nothing tells, or only by ground control points.
        """
        return self.load_alignable(image_id).georeference()

    def pixel_size(self, image_id: Any, space: str = "image") -> PixelSize | None:
        """Tell how large the pixels of an image are.

        As makers of microscopes and OME write it, otherwise by where the image lies on the ground, otherwise
        by the resolution tags of a TIFF, if below 10 micrometres. Nothing is converted.

        Returns
        -------
        PixelSize or None
            ``y`` and ``x``, height and width in ``unit``: ``"micrometre"``, or that of the reference system,
            such as ``"metre"``. None if the default file says nothing.
        """
        return self.load_alignable(image_id, space).pixel_size()

    def window(self, image_id: Any, bounds: Bounds, crs: Any = None) -> Window:
        """Return the pixels of an image that a rectangle on the ground covers.

        Parameters
        ----------
        image_id : hashable
            Which image.
        bounds : tuple of float
            Min x, min y, max x and max y; x is east or longitude, whatever the reference system says.
        crs : str, int, pyproj.CRS or None
            The reference system of the bounds, such as ``"EPSG:4326"``; None if it is that of the image. In
            degrees, min x may be more than max x: across the antimeridian. Another one than that of the
            image needs pyproj.

        Returns
        -------
        Window
            The smallest of whole pixels that holds the rectangle, up to a thousandth of a pixel: bounds at
            the edges of pixels give exactly those pixels. It may leave the image.

        Raises
        ------
        NotGeoreferencedError
            If nothing tells where the image lies.
        RegionError, RegionTypeError
            If the bounds are no rectangle, or no pixel of the image is in it.
        """
        return self.load_alignable(image_id).window(bounds, crs)

    def to_dask(
        self,
        image_id: Any,
        channels: Channels = None,
        *,
        chunks: int | tuple[int, int] | None = None,
        fill: float | None = None,
        **options: Unpack[ReadArguments],
    ) -> dask.array.Array:
        """Return an image as a dask array, read chunk by chunk when it is computed.

        Headers are read now, for shape and type; no pixel is read and nothing converted before that. What is
        cut out of it before is all that is read. Tasks hold no open files: they run in threads, processes and
        clusters. Equal arrays have equal names. Needs the extra `xarray`.

        Parameters
        ----------
        image_id : hashable
            Which image.
        channels : str, sequence of str or None
            Which channels.
        chunks : int, tuple of int or None
            Rows and columns of a chunk; None is whole blocks of the file that is read, about 2048 x 2048
            pixels and at most 64 MiB. Channels of different files never share a chunk.
        fill : float or None
            What lies outside the files of the image.
        **options
            ``scale``, ``interpolation``, ``antialias``, ``nodata``, ``dequantize`` and ``resolution``, as for
            `load_region`.

        Returns
        -------
        dask.array.Array, shape (rows, columns, channels)
        """
        return self.load_alignable(image_id).to_dask(channels, chunks=chunks, fill=fill, **options)

    def to_xarray(
        self,
        image_id: Any,
        channels: Channels = None,
        *,
        chunks: int | tuple[int, int] | None = None,
        fill: float | None = None,
        **options: Unpack[ReadArguments],
    ) -> xarray.DataArray:
        """Return an image as a lazy array with names and coordinates.

        The pixels are those of `to_dask`, and so are the parameters. Needs the extra `xarray`.

        Returns
        -------
        xarray.DataArray, dimensions (y, x, channel)
            ``channel`` are names, or numbers from 0 where there are none. ``x`` and ``y`` are the centres of
            pixels: on the ground where the image lies along the axes of its reference system, otherwise in
            pixels of the image (the first is at 0.5). ``spatial_ref`` is there where the image is
            georeferenced, with the reference system and the transform as CF and rioxarray write them, and
            the attribute ``_FillValue`` where the files say which value means "no pixel".

        Raises
        ------
        ConfigError
            For ``nodata="ma"``: xarray has no masked arrays.
        """
        return self.load_alignable(image_id).to_xarray(channels, chunks=chunks, fill=fill, **options)

    def explain(
        self,
        image_id: Any,
        region: Region = None,
        channels: Channels = None,
        *,
        fill: Fill = None,
        space: str = "image",
        **options: Unpack[ReadArguments],
    ) -> Explanation:
        """Tell what `load_region` would do; nothing is converted, and no pixel read.

        Parameters
        ----------
        image_id, region, channels, fill, space, **options
            As for `load_region`.

        Returns
        -------
        Explanation
            Which blocks of which files and levels would be read, their bytes, what is copied as it is and
            what resampled. It can be printed; `to_dict` makes JSON of it.
        """
        image = self.load_alignable(image_id, space)
        return image.explain(region, channels, fill=fill, **options)
