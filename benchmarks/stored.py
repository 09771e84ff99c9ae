"""The files that a picture is kept in: ours and those of peers, each with the pixels that it must give."""

from __future__ import annotations

import contextlib
import io
import os
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.pictures import Picture
from subregion.cache.backend import BACKENDS

#: Blocks of the files that GDAL writes.
BLOCKS = (128, 256, 512)
#: Qualities of JPEGs that peers read: one with which maps take about as many bytes as they came with, and the
#: default of GDAL and libvips.
QUALITIES = (88, 75)


@dataclass(frozen=True, slots=True)
class Stored:
    """A picture in a file.

    Parameters
    ----------
    name : str
        Who wrote it and how.
    kind : str
        ``"npy"``, ``"tiff"``, ``"zarr"``, ``"jpeg"``, ``"ndsampler"``, or ``"source"`` for the picture as it
        came.
    family : str
        Files that are to be compared: ``"raw"``, ``"lossless"``, ``"jpeg"``, or ``"whole"`` where each
        window costs a decode of everything.
    path : str
        The file; of zarr the folder of the array.
    nbytes : int
        Its size on the disk.
    reference : str
        An ``.npy`` file of what decoding all of it gives.
    exact : bool
        Whether every reader must give those pixels; decoders of JPEG may round in their own ways.
    seconds : float
        What it took to write.
    source : str
        The picture that it was made of.
    backend : None, dict
        Of ours: how it is stored.
    workdir : str
        Of ours: the cache that holds it; otherwise empty.
    block : int
        Edge of the blocks that GDAL was asked for; 0 where nobody was asked.
    """

    name: str
    kind: str
    family: str
    path: str
    nbytes: int
    reference: str
    exact: bool
    seconds: float
    source: str
    backend: Any = None
    workdir: str = ""
    block: int = 0

    @property
    def ours(self) -> bool:
        """Whether we wrote it."""
        return bool(self.workdir)


@dataclass(frozen=True, slots=True)
class Way:
    """A way to keep a picture.

    Parameters
    ----------
    name : str
        As in `Stored`.
    modules : tuple of str
        What has to be importable for it.
    quick : bool
        Whether it is part of a quick run.
    keep : callable
        From a picture and a folder to what is stored.
    """

    name: str
    modules: tuple[str, ...]
    quick: bool
    keep: Callable[[Picture, str], Stored]

    @property
    def missing(self) -> str | None:
        """Why it cannot be gone here; None if it can."""
        return why_missing(self.modules)


def why_missing(modules: tuple[str, ...]) -> str | None:
    """Say which modules cannot be imported; None if all can."""
    absent = [name for name in modules if find_spec(name) is None]
    if not absent:
        return None
    return f"{', '.join(absent)} cannot be imported; pip install 'subregion[bench]'" + (
        " does not bring osgeo, which comes with GDAL's own bindings" if "osgeo" in absent else ""
    )


def ways(picture: Picture) -> Iterator[Way]:
    """List all ways to keep a picture."""
    yield Way("source", (), True, _as_it_came)
    for backend in BACKENDS:
        if backend == "auto":
            continue  # it chooses one of the others
        for config in CONFIGS.get(backend, ({},)):
            if not picture.photographic and "JPEG" in (backend.upper(), config.get("compress")):
                continue
            yield Way(ours_named(backend, config), (), True, keep_ours(backend, config))
    yield Way(_gdal_named("NONE", 256), ("rasterio",), False, _gdal("NONE", 256))
    for codec in ("ZSTD", "DEFLATE", "LZW"):
        for block in BLOCKS:
            quick = (codec, block) in (("ZSTD", 128), ("DEFLATE", 256))
            yield Way(_gdal_named(codec, block), ("rasterio",), quick, _gdal(codec, block))
    if picture.photographic:
        for quality in QUALITIES:
            for block in BLOCKS:
                quick = quality == QUALITIES[0] and block < 512
                yield Way(
                    _gdal_named("JPEG", block, quality), ("rasterio",), quick, _gdal("JPEG", block, quality)
                )
    yield Way("ndsampler npy", ("ndsampler",), True, _ndsampler("npy"))
    if picture.photographic:
        yield Way("ndsampler cog", ("ndsampler", "osgeo"), True, _ndsampler("cog"))
    for codec in ("LZ4", "ZSTD"):
        for block in (128, 256):
            quick = (codec, block) == ("LZ4", 256)
            yield Way(f"zarr {codec} {block}", ("tensorstore",), quick, _zarr(codec, block))


#: The options of our backends that are measured, where there are any.
CONFIGS: dict[str, tuple[dict[str, str], ...]] = {
    "cog": ({"compress": "ZSTD"}, {"compress": "JPEG"}),
    "zarr": ({"compress": "LZ4"}, {"compress": "ZSTD"}),
}


def ours_named(backend: str, config: dict[str, Any]) -> str:
    """Return the name of one of our ways to keep a picture, such as ``"cog ZSTD"``."""
    return " ".join((backend, *map(str, config.values())))


def nbytes_of(path: str) -> int:
    """Return the size of a file, or of all files in a folder."""
    if not os.path.isdir(path):
        return os.path.getsize(path)
    return sum(
        os.path.getsize(os.path.join(place, name)) for place, _, names in os.walk(path) for name in names
    )


def _as_it_came(picture: Picture, folder: str) -> Stored:
    path = picture.source
    return Stored("source", "source", "whole", path, nbytes_of(path), picture.reference, True, 0.0, path)


def keep_ours(backend: str, config: dict[str, Any]) -> Callable[[Picture, str], Stored]:
    """Return what keeps a picture in a backend of ours with these options."""

    def keep(picture: Picture, folder: str) -> Stored:
        from subregion import SimpleFrames

        chosen, workdir = {"type": backend, "config": dict(config)}, os.path.join(folder, "ours")
        start = time.perf_counter()
        SimpleFrames({0: picture.source}, workdir, chosen).prepare(progress=False)
        seconds = time.perf_counter() - start
        path = copy_of(picture.source, chosen, workdir)
        name = ours_named(backend, config)
        lossy = config.get("compress") == "JPEG" or (backend == "jpeg" and not picture.from_jpeg)
        reference = _reference_of(path, folder, name) if lossy else picture.reference
        kind = {"npy": "npy", "cog": "tiff"}.get(backend, backend)
        family = {"npy": "raw", "jpeg": "jpeg"}.get(backend, "jpeg" if lossy else "lossless")
        return Stored(name, kind, family, path, nbytes_of(path), reference, family != "jpeg", seconds,
                      picture.source, chosen, workdir)  # fmt: skip

    return keep


def copy_of(source: str, backend: Any, workdir: str) -> str:
    """Return the path of the copy that our cache holds of a file."""
    from subregion.cache.workdir import make_store
    from subregion.cli.describe import find_copy
    from subregion.errors import CacheError
    from subregion.records import Asset

    copy = find_copy(make_store(workdir, backend, "PATH"), Asset(os.path.abspath(source)))
    if copy is None:
        raise CacheError(f"{source}: backend {backend!r} keeps no copy of it in {workdir}.")
    return copy.data


def _gdal_named(codec: str, block: int, quality: int | None = None) -> str:
    codec = "raw" if codec == "NONE" else codec
    return f"GDAL {codec} {block}" + (f" q{quality}" if quality else "")


def _gdal(codec: str, block: int, quality: int | None = None) -> Callable[[Picture, str], Stored]:
    def keep(picture: Picture, folder: str) -> Stored:
        import rasterio
        from rasterio.errors import NotGeoreferencedWarning

        rows, cols, bands = picture.shape
        options: dict[str, Any] = {"compress": codec, "interleave": "pixel", "num_threads": "ALL_CPUS"}
        if codec == "JPEG":
            options |= {"jpeg_quality": quality} | ({"photometric": "YCBCR"} if bands == 3 else {})
        name = _gdal_named(codec, block, quality)
        path = os.path.join(folder, f"{name.replace(' ', '-')}.tif")
        start = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(
                path, "w", driver="GTiff", height=rows, width=cols, count=bands, dtype=picture.dtype,
                tiled=True, blockxsize=block, blockysize=block, bigtiff="IF_SAFER", **options,
            ) as dataset:  # fmt: skip
                dataset.write(np.asarray(picture.pixels()).transpose(2, 0, 1))
        seconds = time.perf_counter() - start
        reference = _reference_of(path, folder, name) if codec == "JPEG" else picture.reference
        family = {"NONE": "raw", "JPEG": "jpeg"}.get(codec, "lossless")
        return Stored(name, "tiff", family, path, nbytes_of(path), reference, codec != "JPEG", seconds,
                      picture.source, block=block)  # fmt: skip

    return keep


def _zarr(codec: str, block: int) -> Callable[[Picture, str], Stored]:
    def keep(picture: Picture, folder: str) -> Stored:
        import tensorstore

        path = os.path.join(folder, f"{codec}-{block}.zarr")
        shuffle = {"typesize": np.dtype(picture.dtype).itemsize, "shuffle": "noshuffle", "blocksize": 0}
        compressors = {
            "LZ4": {"name": "blosc", "configuration": {"cname": "lz4", "clevel": 5, **shuffle}},
            "ZSTD": {"name": "zstd", "configuration": {"level": 3}},
        }
        metadata = {
            "shape": list(picture.shape),
            "data_type": picture.dtype,
            "chunk_grid": {
                "name": "regular",
                "configuration": {"chunk_shape": [block, block, picture.shape[2]]},
            },
            "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, compressors[codec]],
        }
        start = time.perf_counter()
        array = tensorstore.open(
            {"driver": "zarr3", "kvstore": {"driver": "file", "path": path}, "metadata": metadata},
            create=True,
            delete_existing=True,
        ).result()
        array[...].write(np.asarray(picture.pixels())).result()
        seconds = time.perf_counter() - start
        return Stored(f"zarr {codec} {block}", "zarr", "lossless", path, nbytes_of(path), picture.reference,
                      True, seconds, picture.source, block=block)  # fmt: skip

    return keep


def _ndsampler(backend: str) -> Callable[[Picture, str], Stored]:
    def keep(picture: Picture, folder: str) -> Stored:
        workdir = os.path.join(folder, f"ndsampler-{backend}")
        start = time.perf_counter()
        open_ndsampler(picture.source, workdir, backend)
        seconds = time.perf_counter() - start
        reference = picture.reference
        if backend == "cog":
            (copy,) = Path(workdir).rglob("*.cog.tif*")
            reference = _reference_of(str(copy), folder, "ndsampler cog")
        family = {"npy": "raw", "cog": "jpeg"}[backend]
        return Stored(f"ndsampler {backend}", "ndsampler", family, workdir, nbytes_of(workdir), reference,
                      backend == "npy", seconds, picture.source, backend, block=0)  # fmt: skip

    return keep


def open_ndsampler(source: str, workdir: str, backend: str) -> Any:
    """Return ndsampler's collection of one picture, converted."""
    from ndsampler.abstract_frames import SimpleFrames

    with contextlib.redirect_stdout(io.StringIO()):  # it draws bars there
        frames = SimpleFrames({0: source}, workdir=workdir, backend=backend)
        frames.prepare(workers=0)
    return frames


def _reference_of(path: str, folder: str, name: str) -> str:
    """Decode a lossy file with a reader that is none of those measured, and keep the pixels."""
    import tifffile

    from subregion.cli.demo import plain_decode

    pixels = tifffile.imread(path, key=0) if path.endswith(".tif") else plain_decode(path)
    reference = os.path.join(folder, f"{name.replace(' ', '-')}.npy")
    np.save(reference, pixels if pixels.ndim == 3 else pixels[..., None])
    return reference
