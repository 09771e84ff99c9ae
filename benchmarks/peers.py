"""How each library reads a window, tuned as its own documentation advises, with its files kept open.

A peer that holds blocks in a cache is measured with one of a megabyte, because a collection never fits it
and some do not work well with none at all, and with one of `CACHE_BYTES`. What cannot be set is measured as
it is.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from benchmarks.stored import Stored, open_ndsampler, why_missing
from subregion.blocks import cache as blockcache
from subregion.cache.backend import BACKENDS

#: Row, column, height and width, in pixels.
Place: TypeAlias = tuple[int, int, int, int]
#: From a place to its pixels, (rows, columns, bands).
Read: TypeAlias = Callable[[int, int, int, int], Any]

#: What a block cache of a peer may hold, off and on; the same for all.
LEAST_CACHE_BYTES, CACHE_BYTES = 1 << 20, 64 << 20
#: The name of this library among the peers.
OURS = "subregion"
#: Our own block cache is bounded by this environment variable, in bytes; 0 turns it off.
OWN_CACHE_VARIABLE = blockcache.VARIABLE


@dataclass(frozen=True, slots=True)
class Opened:
    """A file that a peer has open.

    Parameters
    ----------
    read : callable
        Reads a window into an array that the caller owns.
    close : callable
        Lets go of the file and of all that was kept of it.
    read_many : callable or None
        Reads many places with so many threads in one call, where the peer can.
    calls : callable or None
        Prepares the work for many places, so that only the work itself is timed; None if that is `read`.
    """

    read: Read
    close: Callable[[], object] = lambda: None
    read_many: Callable[[Sequence[Place], int], Any] | None = None
    calls: Callable[[Sequence[Place]], list[Callable[[], object]]] | None = None

    def prepared(self, places: Sequence[Place]) -> list[Callable[[], object]]:
        """Return a call for each place."""
        if self.calls is not None:
            return self.calls(places)
        return [partial(self.read, *place) for place in places]


@dataclass(frozen=True, slots=True)
class Peer:
    """A way to read windows.

    Parameters
    ----------
    name : str
        As users know it.
    distribution : str
        The package whose version is told.
    modules : tuple of str
        What has to be importable.
    reads : callable
        Which stored pictures it reads.
    open : callable
        Opens one, with a block cache of so many bytes.
    caches : tuple of str
        ``"off"`` and ``"on"`` where the block cache is ours to set, ``"own"`` where it cannot be turned off,
        ``"none"`` where there is no such thing.
    environment : callable
        From the bytes of the cache to the environment that the library has to find when it is imported.
    pixels : bool
        Whether it gives pixels, which can be compared.
    """

    name: str
    distribution: str
    modules: tuple[str, ...]
    reads: Callable[[Stored], bool]
    open: Callable[[Stored, int], Opened]
    caches: tuple[str, ...] = ("none",)
    environment: Callable[[int], dict[str, str]] = lambda nbytes: {}
    pixels: bool = True

    @property
    def missing(self) -> str | None:
        """Why it cannot be measured here; None if it can."""
        return why_missing(self.modules)


@dataclass(frozen=True, slots=True, eq=False)
class Contender:
    """A peer with a file.

    Parameters
    ----------
    peer : str
        One of `PEERS`.
    stored : Stored
        What it reads.
    cache : str
        One of the peer's `caches`.
    """

    peer: str
    stored: Stored
    cache: str

    @property
    def label(self) -> str:
        """What it is called in tables."""
        return f"{self.peer}, {self.stored.name}" + (", cached" if self.cache == "on" else "")

    @property
    def comparable(self) -> bool:
        """Whether it gives pixels."""
        return PEERS[self.peer].pixels

    @property
    def exact(self) -> bool:
        """Whether it must give the pixels of the reference bit for bit."""
        return self.stored.exact or self.peer == OURS

    @property
    def cache_bytes(self) -> int:
        """What its block cache may hold."""
        return {"on": CACHE_BYTES, "off": 0 if self.peer == OURS else LEAST_CACHE_BYTES}.get(self.cache, 0)

    @property
    def environment(self) -> dict[str, str]:
        """What it has to find when its library is imported."""
        return PEERS[self.peer].environment(self.cache_bytes)

    def open(self) -> Opened:
        """Open the file."""
        return PEERS[self.peer].open(self.stored, self.cache_bytes)


def _open_ours(stored: Stored, cache_bytes: int) -> Opened:
    from subregion import SimpleFrames
    from subregion.io.pool import POOL

    path = stored.source if stored.ours else stored.path
    frames = SimpleFrames({0: path}, stored.workdir or None, stored.backend if stored.ours else None)
    assert frames.load_frame(0).shape  # noqa: S101 - opens the file, as the others do here

    def read(row: int, col: int, height: int, width: int) -> NDArray[Any]:
        return frames.load_region(0, (slice(row, row + height), slice(col, col + width)))

    def read_many(places: Sequence[Place], threads: int) -> Any:
        return frames.load_regions(
            [(0, (slice(row, row + height), slice(col, col + width))) for row, col, height, width in places],
            threads=threads,
        )

    return Opened(read, lambda: POOL.forget(lambda key: True), read_many)


def _open_memmap(stored: Stored, cache_bytes: int) -> Opened:
    array: NDArray[Any] = np.load(stored.path, mmap_mode="r")

    def read(row: int, col: int, height: int, width: int) -> NDArray[Any]:
        part: NDArray[Any] = array[row : row + height, col : col + width]
        return part.copy()

    return Opened(read)


def _open_rasterio(stored: Stored, cache_bytes: int) -> Opened:
    import rasterio
    from rasterio.windows import Window

    dataset = rasterio.open(stored.path)

    def read(row: int, col: int, height: int, width: int) -> NDArray[Any]:
        # A view with the bands last: turning it into an array in that order is not timed.
        return np.asarray(dataset.read(window=Window(col, row, width, height))).transpose(1, 2, 0)

    return Opened(read, dataset.close)


def _gdal_environment(cache_bytes: int) -> dict[str, str]:
    # The cache is given in megabytes. A file that is opened does not make GDAL look for others beside it.
    return {"GDAL_CACHEMAX": str(cache_bytes >> 20), "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR"}


def _open_tifffile(stored: Stored, cache_bytes: int) -> Opened:
    import tifffile
    import zarr

    store: Any = tifffile.imread(stored.path, aszarr=True, level=0)
    array: Any = zarr.open_array(store, mode="r")

    def read(row: int, col: int, height: int, width: int) -> Any:
        part = array[row : row + height, col : col + width]
        return part if part.ndim == 3 else part[..., None]

    return Opened(read, store.close)


def _open_zarr(stored: Stored, cache_bytes: int) -> Opened:
    import zarr
    from zarr.storage import LocalStore

    store: Any = LocalStore(_array_path(stored), read_only=True)
    if cache_bytes > LEAST_CACHE_BYTES:  # its cache is an experiment of its authors, and off by default
        from zarr.experimental.cache_store import CacheStore
        from zarr.storage import MemoryStore

        store = CacheStore(store, cache_store=MemoryStore(), max_size=cache_bytes)
    # One thread decodes: handing chunks to others costs more than it gives within a window.
    zarr.config.set({"threading.max_workers": 1})
    array: Any = zarr.open_array(store, mode="r")
    return Opened(lambda row, col, height, width: array[row : row + height, col : col + width], store.close)


def _open_tensorstore(stored: Stored, cache_bytes: int) -> Opened:
    import tensorstore

    one = {"limit": 1}
    array: Any = tensorstore.open(
        {
            "driver": "zarr3",
            "kvstore": {"driver": "file", "path": _array_path(stored)},
            # What is open does not change: its metadata are not looked at again.
            "recheck_cached_metadata": "open",
            "recheck_cached_data": "open",
            "context": {
                "cache_pool": {"total_bytes_limit": cache_bytes},
                "data_copy_concurrency": one,
                "file_io_concurrency": one,
            },
        },
        read=True,
    ).result()

    def read(row: int, col: int, height: int, width: int) -> Any:
        return array[row : row + height, col : col + width].read().result()

    def read_many(places: Sequence[Place], threads: int) -> Any:
        waiting = [array[row : row + height, col : col + width].read() for row, col, height, width in places]
        return np.stack([future.result() for future in waiting])

    return Opened(read, read_many=read_many)


def _array_path(stored: Stored) -> str:
    """Return the folder of the full resolution: in ours it is the first array of a group."""
    return os.path.join(stored.path, "0") if stored.ours else stored.path


def _open_pyvips(stored: Stored, cache_bytes: int) -> Opened:
    import pyvips

    pyvips.cache_set_max(0)  # it would give a file that was opened before
    # A damaged file is to raise, not to give grey pixels.
    image = pyvips.Image.new_from_file(stored.path, access="random", fail_on="truncated")
    region, bands = pyvips.Region.new(image), image.bands
    dtype = np.load(stored.reference, mmap_mode="r").dtype

    def read(row: int, col: int, height: int, width: int) -> NDArray[Any]:
        pixels = np.frombuffer(region.fetch(col, row, width, height), dtype)
        return pixels.reshape(height, width, bands)

    return Opened(read)


def _open_openslide(stored: Stored, cache_bytes: int) -> Opened:
    import openslide

    slide = openslide.OpenSlide(stored.path)
    slide.set_cache(openslide.OpenSlideCache(cache_bytes))

    def read(row: int, col: int, height: int, width: int) -> NDArray[Any]:
        return np.asarray(slide.read_region((col, row), 0, (width, height)))[..., :3]

    return Opened(read, slide.close)


def _open_ndsampler(stored: Stored, cache_bytes: int) -> Opened:
    frames = open_ndsampler(stored.source, stored.path, stored.backend)

    def read(row: int, col: int, height: int, width: int) -> NDArray[Any]:
        # It gives a view of the mapped file; users that keep a window copy it.
        pixels = np.array(frames.load_region(0, (slice(row, row + height), slice(col, col + width))))
        return pixels if pixels.ndim == 3 else pixels[..., None]

    return Opened(read)


def _open_pillow(stored: Stored, cache_bytes: int) -> Opened:
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = None

    def read(row: int, col: int, height: int, width: int) -> NDArray[Any]:
        with Image.open(stored.path) as image:
            pixels = np.asarray(image.crop((col, row, col + width, row + height)))
        return pixels if pixels.ndim == 3 else pixels[..., None]

    return Opened(read)


def _open_opencv(stored: Stored, cache_bytes: int) -> Opened:
    import cv2

    def read(row: int, col: int, height: int, width: int) -> Any:
        pixels: Any = cv2.imread(stored.path, cv2.IMREAD_UNCHANGED)
        part = pixels[row : row + height, col : col + width]
        return cv2.cvtColor(part, cv2.COLOR_BGR2RGB) if part.ndim == 3 else part[..., None].copy()

    return Opened(read)


def _open_codec(stored: Stored, cache_bytes: int) -> Opened:
    """Open a loop over the bare decoder, with all blocks in memory, that copies nothing out."""
    from subregion.blocks.level import unplaced
    from subregion.formats.open import open_raster
    from subregion.geometry.window import Window

    raster = open_raster(stored.path)

    def blocks(place: Place) -> list[bytes]:
        plan = raster.full.plan([unplaced(raster.full, Window(*place))])
        return [raster.file.read(offset, nbytes) for _, offset, nbytes in plan.blocks]

    decode = _bare_decoder(blocks((0, 0, 1, 1))[0])

    def loop(data: list[bytes]) -> None:
        for block in data:
            decode(block)

    return Opened(
        lambda *place: loop(blocks(place)), calls=lambda places: [partial(loop, blocks(p)) for p in places]
    )


def _bare_decoder(block: bytes) -> Callable[[bytes], object]:
    """Return what decodes blocks such as this one: frames of ZSTD, or of Blosc."""
    if block[:4] == b"\x28\xb5\x2f\xfd":
        import zstandard

        return zstandard.ZstdDecompressor().decompress
    import imagecodecs

    buffer: Any = memoryview(bytearray(1 << 20))

    def blosc(data: bytes) -> object:
        # A checksum may follow the frame, whose own length is in its header.
        frame: Any = memoryview(data)[: int.from_bytes(data[12:16], "little")]
        size = int.from_bytes(data[4:8], "little")
        return imagecodecs.blosc_decode(frame, numthreads=1, out=buffer[:size])

    return blosc


def _is(*kinds: str, family: str = "") -> Callable[[Stored], bool]:
    return lambda stored: stored.kind in kinds and (not family or stored.family == family)


def _some_tiffs(*codecs: str) -> Callable[[Stored], bool]:
    return lambda stored: stored.kind == "tiff" and any(codec in stored.name for codec in codecs)


def _in_place_or_ours(stored: Stored) -> bool:
    return stored.ours or stored.kind in ("source", "tiff") or (stored.kind == "zarr" and "zarr" in BACKENDS)


def _three_bands(stored: Stored) -> bool:
    return stored.kind == "source" and stored.path.lower().endswith((".jpg", ".png"))


#: All that are measured, ours first.
PEERS = {
    peer.name: peer
    for peer in (
        Peer(OURS, "subregion", (), _in_place_or_ours, _open_ours, ("off", "on"),
             lambda nbytes: {OWN_CACHE_VARIABLE: str(nbytes)}),
        Peer("bare codec", "imagecodecs", (), lambda stored: stored.ours and stored.family == "lossless",
             _open_codec, pixels=False),
        Peer("NumPy memmap", "numpy", (), _is("npy"), _open_memmap),
        Peer("rasterio", "rasterio", ("rasterio",), _is("tiff"), _open_rasterio, ("off", "on"),
             _gdal_environment),
        Peer("tifffile + zarr", "tifffile", ("tifffile", "zarr"),
             _some_tiffs("DEFLATE 256", "ZSTD 256", "JPEG 256"), _open_tifffile),
        Peer("zarr-python", "zarr", ("zarr",), _is("zarr"), _open_zarr, ("off", "on")),
        Peer("TensorStore", "tensorstore", ("tensorstore",), _is("zarr"), _open_tensorstore, ("off", "on")),
        Peer("pyvips", "pyvips", ("pyvips",), _some_tiffs("JPEG", "DEFLATE", "LZW", "raw"), _open_pyvips,
             ("own",), lambda nbytes: {"VIPS_CONCURRENCY": "1"}),
        Peer("OpenSlide", "openslide-python", ("openslide",), _is("tiff", family="jpeg"), _open_openslide,
             ("off", "on")),
        Peer("ndsampler", "ndsampler", ("ndsampler",), _is("ndsampler"), _open_ndsampler),
        Peer("Pillow", "pillow", ("PIL",), _three_bands, _open_pillow),
        Peer("OpenCV", "opencv-python-headless", ("cv2",), _three_bands, _open_opencv),
    )
}  # fmt: skip
