"""Source files of many kinds, each with the pixels that an independent decoder finds in it."""

from __future__ import annotations

import functools
import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

Writer = Callable[[Path, NDArray[np.uint8]], NDArray[Any]]

ROWS, COLS = 93, 131


def three(array: NDArray[Any]) -> NDArray[Any]:
    """The same picture with an axis of bands, and bools as 0 and 1."""
    array = array.astype(np.uint8) if array.dtype == bool else array
    return array if array.ndim == 3 else array[..., None]


def by_pillow(path: Path, mode: str | None = None) -> NDArray[Any]:
    """What Pillow decodes."""
    with Image.open(path) as image:
        return three(np.asarray(image if mode is None else image.convert(mode)))


def by_tifffile(path: Path) -> NDArray[Any]:
    """What tifffile decodes, bands last."""
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[0]
        assert isinstance(page, tifffile.TiffPage)
        array = page.asarray()
        if page.planarconfig == 2 and page.samplesperpixel > 1:
            array = np.moveaxis(array, 0, -1)
    return three(array)


def once(write: Writer) -> Writer:
    """Encode the same pixels once in a process; to write them again is to copy what was made of them."""
    made: dict[tuple[tuple[int, ...], bytes], tuple[bytes, NDArray[Any]]] = {}

    @functools.wraps(write)
    def written(path: Path, photo: NDArray[np.uint8]) -> NDArray[Any]:
        key = photo.shape, hashlib.blake2b(photo.tobytes()).digest()
        path = path.with_suffix(write.suffix)  # type: ignore[attr-defined]
        if key in made:
            path.write_bytes(made[key][0])
        else:
            pixels = write(path, photo)
            if len(made) >= 8:
                made.clear()
            made[key] = path.read_bytes(), pixels
        return made[key][1].copy()

    return written


def save_png(path: Path, pixels: NDArray[Any]) -> None:
    """Write a PNG; the same pixels are compressed once in a process."""
    image = Image.fromarray(pixels)
    path.write_bytes(_as_png(image.mode, image.size, image.tobytes()))


@functools.lru_cache(8)
def _as_png(mode: str, size: tuple[int, int], samples: bytes) -> bytes:
    file = io.BytesIO()
    Image.frombytes(mode, size, samples).save(file, "PNG", compress_level=1)
    return file.getvalue()


@functools.cache
def pillow_file(suffix: str, mode: str, **options: Any) -> Writer:
    """Write with Pillow and read back with Pillow."""

    def write(path: Path, photo: NDArray[np.uint8]) -> NDArray[Any]:
        path = path.with_suffix(suffix)
        image = Image.fromarray(photo)
        if mode == "P":
            image = image.quantize(64)
        elif mode == "I;16":
            image = Image.fromarray(photo[..., 0].astype(np.uint16) * 257)
        elif mode == "RGBA":
            image.putalpha(Image.fromarray(photo[..., 1]))
        else:
            image = image.convert(mode)
        image.save(path, **options)
        shown = {"P": "RGBA" if "transparency" in options else "RGB", "CMYK": "RGB"}.get(mode)
        return by_pillow(path, shown)

    write.suffix = suffix  # type: ignore[attr-defined]  # the tests name the file by it
    return once(write)


def samples(photo: NDArray[np.uint8], dtype: str, bands: int) -> NDArray[Any]:
    """Picture-like samples of any type and number of bands."""
    wide = np.concatenate([photo] * -(-bands // 3), axis=-1)[..., :bands].astype(np.float64)
    kind = np.dtype(dtype)
    if kind.kind == "u":
        return (wide * (np.iinfo(kind).max / 255)).astype(kind)
    if kind.kind == "i":
        return ((wide - 128) * (np.iinfo(kind).max / 256)).astype(kind)
    return (wide / 3 - 20).astype(kind)


@functools.cache
def tiff_file(dtype: str = "u1", bands: int = 3, **options: Any) -> Writer:
    """Write with tifffile and read back with tifffile."""

    def write(path: Path, photo: NDArray[np.uint8]) -> NDArray[Any]:
        array = samples(photo, dtype, bands)
        if bands == 1:
            array = array[..., 0]
        if options.get("planarconfig") == "separate":
            array = np.moveaxis(array, -1, 0)
        settings: dict[str, Any] = {"photometric": "rgb" if bands == 3 else "minisblack", "metadata": None}
        if bands > 1:
            settings["planarconfig"] = "contig"
        tifffile.imwrite(path, array, **(settings | options))
        return by_tifffile(path)

    write.suffix = ".tif"  # type: ignore[attr-defined]  # the tests name the file by it
    return once(write)


def npy_file(dtype: str, bands: int | None, order: str = "C") -> Writer:
    """Write with NumPy."""

    def write(path: Path, photo: NDArray[np.uint8]) -> NDArray[Any]:
        array = samples(photo, dtype, bands or 1)
        if bands is None:
            array = array[..., 0]
        np.save(path, np.asarray(array, order=order))  # type: ignore[call-overload]  # "C" or "F"
        return three(array.astype(array.dtype.newbyteorder("=")))

    write.suffix = ".npy"  # type: ignore[attr-defined]  # the tests name the file by it
    return write


KINDS: dict[str, Writer] = {
    "png rgb": pillow_file(".png", "RGB"),
    "png grey": pillow_file(".png", "L"),
    "png grey alpha": pillow_file(".png", "LA"),
    "png rgba": pillow_file(".png", "RGBA"),
    "png bilevel": pillow_file(".png", "1"),
    "png palette": pillow_file(".png", "P"),
    "png palette transparent": pillow_file(".png", "P", transparency=3),
    "png 16 bit": pillow_file(".png", "I;16"),
    "png rgb with a transparent colour": pillow_file(".png", "RGB", transparency=(1, 2, 3)),
    "jpeg": pillow_file(".jpg", "RGB", quality=85),
    "jpeg 4:4:4": pillow_file(".jpg", "RGB", subsampling=0),
    "jpeg grey": pillow_file(".jpg", "L"),
    "jpeg progressive": pillow_file(".jpg", "RGB", progressive=True),
    "jpeg with intervals": pillow_file(".jpg", "RGB", subsampling="4:2:2", restart_marker_blocks=3),
    "jpeg with long intervals": pillow_file(".jpg", "RGB", restart_marker_rows=2),
    "jpeg inks": pillow_file(".jpg", "CMYK"),
    "webp": pillow_file(".webp", "RGB", quality=80),
    "webp lossless alpha": pillow_file(".webp", "RGBA", lossless=True),
    "gif": pillow_file(".gif", "P"),
    "bmp": pillow_file(".bmp", "RGB"),
    "bmp grey": pillow_file(".bmp", "L"),
    "bmp palette": pillow_file(".bmp", "P"),
    "jp2": pillow_file(".jp2", "RGB"),
    "jp2 16 bit": pillow_file(".jp2", "I;16"),
    "avif": pillow_file(".avif", "RGB"),
    "ppm": pillow_file(".ppm", "RGB"),
    "tga": pillow_file(".tga", "RGB"),
    "tiff palette": pillow_file(".tif", "P"),
    "tiff bilevel": pillow_file(".tif", "1"),
    "tiff fax": pillow_file(".tif", "1", compression="group4"),
    "tiff fax 3": pillow_file(".tif", "1", compression="group3"),
    "tiff inks": pillow_file(".tif", "CMYK"),
    "tiff by libtiff, lzw": pillow_file(".tif", "RGB", compression="tiff_lzw"),
    "tiff by libtiff, jpeg": pillow_file(".tif", "RGB", compression="jpeg"),
    "npy": npy_file("u1", 3),
    "npy two axes": npy_file("f4", None),
    "npy fortran": npy_file("i2", 3, "F"),
    "npy big endian": npy_file(">u2", 2),
    "npy bands": npy_file("f8", 7),
}
for _dtype in ("u1", "i1", "u2", "i2", "u4", "i4", "f2", "f4", "f8"):
    KINDS[f"tiff {_dtype}"] = tiff_file(_dtype, 1, rowsperstrip=10)
    KINDS[f"tiff {_dtype} zstd tiles, differences"] = tiff_file(
        _dtype, 2, tile=(32, 48), compression="zstd", predictor=2 if _dtype[0] in "ui" else 3
    )
    KINDS[f"tiff {_dtype} big endian deflate"] = tiff_file(
        _dtype, 3, byteorder=">", compression="zlib", rowsperstrip=16, planarconfig="contig"
    )
for _compression in ("lzw", "zlib", "zstd", "packbits", "lzma", "png", "webp", "jpegxl", "lerc"):
    KINDS[f"tiff {_compression}"] = tiff_file(compression=_compression, tile=(64, 64))
    if _compression not in ("png", "webp", "jpegxl"):
        KINDS[f"tiff {_compression} planar"] = tiff_file(
            compression=_compression, planarconfig="separate", rowsperstrip=20
        )
KINDS |= {
    "tiff jpeg tiles": tiff_file(compression="jpeg", tile=(64, 64)),
    "tiff jpeg ycbcr": tiff_file(compression="jpeg", photometric="ycbcr", tile=(64, 64), subsampling=(2, 2)),
    "tiff jpeg2000": tiff_file(compression="jpeg2000", tile=(64, 64)),
    "bigtiff": tiff_file("u2", 4, bigtiff=True, tile=(32, 32)),
    "bigtiff big endian": tiff_file(
        "u2", 4, bigtiff=True, byteorder=">", tile=(16, 16), compression="lzw", predictor=2
    ),
    "tiff planar tiles": tiff_file("f4", 5, planarconfig="separate", tile=(48, 32)),
    "tiff one strip": tiff_file("u1", 3),
    "tiff many bands": tiff_file("u2", 13, tile=(32, 32), compression="zstd", planarconfig="contig"),
}
