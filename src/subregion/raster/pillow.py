"""Images that Pillow decodes."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from subregion.errors import DamagedFileError, TooLargeError, UnsupportedFormatError, decoding_error
from subregion.libraries import Image
from subregion.raster import limits
from subregion.raster.whole import WholeRaster

if TYPE_CHECKING:
    from subregion.raster.source import SourceFile

#: The plugins that decode pictures by themselves; others call programs or are mere stubs.
_PILLOW_FORMATS = (
    "BMP", "GIF", "JPEG", "PPM", "PNG", "AVIF", "BLP", "CUR", "DCX", "DDS", "DIB", "FITS", "FLI", "FTEX",
    "ICNS", "ICO", "IM", "IMT", "JPEG2000", "MSP", "PCD", "PCX", "PIXAR", "PSD", "QOI", "SGI", "SUN",
    "TIFF", "WEBP", "XBM", "XPM", "SPIDER", "TGA",
)  # fmt: skip


def open_pillow(file: SourceFile, formats: Sequence[str] = _PILLOW_FORMATS) -> WholeRaster:
    """Open whatever Pillow can decode.

    Raises
    ------
    UnsupportedFormatError
        If no plugin knows the file.
    DamagedFileError
        If the plugin that knows it cannot read its header.
    """
    image = _pillow_image(file, formats)
    with image:
        name, shape, dtype = image.format or "?", *_pillow_shape(image)
        if min(shape) < 1:
            raise DamagedFileError(f"{file.path}: declares {shape[1]} x {shape[0]} pixels (width x height).")
        limits.check_whole(file.path, *shape, dtype)
        limits.check_bomb(file.path, file.size, int(np.prod(shape)) * dtype.itemsize)

    def decode() -> NDArray[Any]:
        with _pillow_image(file, formats) as image:
            return _pillow_pixels(image)

    return WholeRaster(file, name, shape, dtype, decode)


def _pillow_image(file: SourceFile, formats: Sequence[str]) -> Any:
    """Open as ``Image.open`` does, without its limit on pixels: ours stand in `limits`."""
    # Plugins look at up to 16 bytes and do not expect fewer.
    prefix = file.head(16).ljust(16, b"\0")
    problems: list[str] = []
    for name in formats:
        if name not in Image.OPEN:
            continue
        factory, accepts = Image.OPEN[name]
        try:
            answer = True if accepts is None else accepts(prefix)
            if not answer or isinstance(answer, str):  # a text says what Pillow was built without
                continue
            return factory(io.FileIO(file.path), file.path)
        except Image.DecompressionBombError as error:
            raise TooLargeError(f"{file.path}: {error}") from error
        except MemoryError as error:
            raise TooLargeError(f"{file.path}: its header asks for more memory than there is.") from error
        except Exception as error:  # noqa: BLE001 - on strange bytes plugins raise whatever comes
            if accepts is not None:
                problems.append(f"as {name}: {str(error).rstrip('.')}")
    if problems:
        raise decoding_error(f"{file.path}: cannot be read", "; ".join(problems))
    raise UnsupportedFormatError(
        f"{file.path}: is not an image of a known format (it begins {bytes(prefix[:8])!r})."
    )


_PILLOW_MODES: dict[str, tuple[int, str]] = {
    "1": (1, "u1"), "L": (1, "u1"), "LA": (2, "u1"), "La": (2, "u1"), "RGB": (3, "u1"), "RGBA": (4, "u1"),
    "RGBa": (4, "u1"), "RGBX": (4, "u1"), "CMYK": (3, "u1"), "YCbCr": (3, "u1"), "LAB": (3, "u1"),
    "HSV": (3, "u1"), "PA": (4, "u1"), "I": (1, "i4"), "F": (1, "f4"), "I;16": (1, "u2"),
    "I;16L": (1, "u2"), "I;16B": (1, "u2"), "I;16N": (1, "u2"),
}  # fmt: skip


def _pillow_shape(image: Any) -> tuple[tuple[int, int, int], np.dtype[np.generic]]:
    width, height = image.size
    if image.format == "TIFF" and image.tag_v2.get(274, 1) in (5, 6, 7, 8):
        width, height = height, width  # Pillow tells the size after its turn
    if image.mode == "P":
        return (height, width, 4 if _transparent(image) else 3), np.dtype(np.uint8)
    if image.mode not in _PILLOW_MODES:
        raise UnsupportedFormatError(f"{image.filename}: pixels of Pillow's mode {image.mode!r} are unknown.")
    bands, kind = _PILLOW_MODES[image.mode]
    if image.format == "PPM" and image.mode == "I":
        kind = "u2"  # Pillow widens them
    return (height, width, bands), np.dtype(kind)


def _turned_by_pillow(image: Any) -> Any:
    """Return what undoes the turn by the orientation tag, which Pillow makes of TIFFs and we do not."""
    if image.format != "TIFF":
        return None
    turn = Image.Transpose
    undone = {
        2: turn.FLIP_LEFT_RIGHT, 3: turn.ROTATE_180, 4: turn.FLIP_TOP_BOTTOM, 5: turn.TRANSPOSE,
        6: turn.ROTATE_90, 7: turn.TRANSVERSE, 8: turn.ROTATE_270,
    }  # fmt: skip
    return undone.get(image.tag_v2.get(274))


def _transparent(image: Any) -> bool:
    return "transparency" in image.info or (image.palette is not None and image.palette.mode == "RGBA")


def _pillow_pixels(image: Any) -> NDArray[Any]:
    # Decided before the pixels are loaded, as the shape was.
    target = {"P": "RGBA" if image.mode == "P" and _transparent(image) else "RGB", "PA": "RGBA"}
    target |= dict.fromkeys(("CMYK", "YCbCr", "LAB", "HSV"), "RGB")
    mode = image.mode
    turn = _turned_by_pillow(image)
    image.load()
    if mode in target and image.mode == mode:
        image = image.convert(target[mode])
    dtype = _pillow_shape(image)[1]
    if turn is not None:
        image = image.transpose(turn)
    pixels: NDArray[Any] = np.asarray(image)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    return pixels.astype(dtype, copy=False)
