"""Images that Pillow decodes."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from subregion.codecs.color import Palette
from subregion.errors import (
    DamagedFileError,
    TooLargeError,
    UnsupportedFormatError,
    decoding_error,
    is_of_system,
    source_error,
)
from subregion.formats.nested import check_nested
from subregion.formats.raster import Raster
from subregion.formats.whole import Picture, whole_raster
from subregion.io import limits
from subregion.io.descriptors import with_room
from subregion.libraries import IcoImagePlugin, Image

if TYPE_CHECKING:
    from subregion.io.source import SourceFile

#: The plugins that decode pictures by themselves; others call programs or are mere stubs, and of TIFF libtiff
#: would speak its mind to the standard error stream of the process.
_PILLOW_FORMATS = (
    "BMP", "GIF", "PPM", "AVIF", "BLP", "CUR", "DCX", "DDS", "DIB", "FITS", "FLI", "FTEX", "ICNS", "ICO",
    "IM", "IMT", "JPEG2000", "MSP", "PCD", "PCX", "PIXAR", "PSD", "QOI", "SGI", "SUN", "WEBP", "XBM", "XPM",
    "SPIDER", "TGA",
)  # fmt: skip
#: A decoder in Python that takes some hundred bytes for each pixel.
_GREEDY, _GREED = "fits_gzip", 100


def open_pillow(file: SourceFile, formats: Sequence[str] = _PILLOW_FORMATS, indices: bool = False) -> Raster:
    """Open whatever Pillow can decode; of what has a palette its colours, or `indices`.

    Raises
    ------
    UnsupportedFormatError
        If no plugin knows the file.
    DamagedFileError
        If the plugin that knows it cannot read its header.
    TooLargeError
        If it declares more than the limits allow.
    """
    with opened_by_pillow(file, formats) as image:
        name, shape, dtype = image.format or "?", *_pillow_shape(file.path, image, indices)
        palette = _palette_of(image)
        if min(shape) < 1:
            raise DamagedFileError(f"{file.path}: declares {shape[1]} x {shape[0]} pixels (width x height).")
        limits.check_whole(file.path, *shape, dtype)
        decoders = {tile[0] for tile in image.tile}
        need = math.prod(shape) * dtype.itemsize * (_GREED if _GREEDY in decoders else 1)
        # Those that are written in Python give some megabytes in a second.
        limits.check_bomb(file.path, file.size, need, slow=not decoders.isdisjoint(Image.DECODERS))

    raster = whole_raster(file, name, shape, dtype, PillowPicture(tuple(formats), indices))
    return _with_palette(raster, palette, indices, lambda: open_pillow(file, formats, indices=True))


def _with_palette(
    raster: Raster, palette: Palette | None, indices: bool, indexed: Callable[[], Raster]
) -> Raster:
    """Return a raster of indices, or of colours, that knows what the indices are."""
    if palette is None:
        return raster
    return replace(raster, palette=palette) if indices else replace(raster, indexed=indexed)


#: How files begin that may hold an animation, at which offset, and Pillow's name of the format.
_ANIMATED = {
    (0, b"GIF8"): "GIF", (8, b"WEBP"): "WEBP", (0, b"\x89PNG"): "PNG", (8, b"avis"): "AVIF",
    (4, b"\x11\xaf"): "FLI", (4, b"\x12\xaf"): "FLI", (0, b"\xb1\x68\xde\x3a"): "DCX",
}  # fmt: skip
#: The chunk that makes an animation of a PNG comes before its pixels.
_BEFORE_PIXELS = 1 << 16


def count_animation(file: SourceFile) -> int | None:
    """Count the frames of an animation; None if the file is none."""
    name = _animated(file)
    if name is None:
        return None
    with opened_by_pillow(file, (name,)) as image:
        return int(_within(file, lambda: getattr(image, "n_frames", 1)))


def open_animation(file: SourceFile, page: int, indices: bool = False) -> Raster:
    """Open one frame of an animation, as it is shown; of what has a palette its colours, or `indices`.

    Raises
    ------
    DamagedFileError
        If it cannot be read.
    TooLargeError
        If it declares more than the limits allow.
    """
    name = _animated(file) or ""
    with opened_by_pillow(file, (name,)) as image:
        limits.check_whole(file.path, *_pillow_shape(file.path, image)[0], np.dtype(np.uint8))
        _within(file, lambda: image.seek(page))
        shape, dtype = _pillow_shape(file.path, image, indices)
        palette = _palette_of(image)  # of a GIF the first frame only: others are drawn on it
        limits.check_whole(file.path, *shape, dtype)
    raster = whole_raster(file, name, shape, dtype, PillowPicture((name,), indices, page), page)
    return _with_palette(raster, palette, indices, lambda: open_animation(file, page, indices=True))


def _animated(file: SourceFile) -> str | None:
    head = file.head(16)
    for (at, magic), name in _ANIMATED.items():
        if head[at:].startswith(magic):
            if name == "PNG" and b"acTL" not in file.head(_BEFORE_PIXELS).partition(b"IDAT")[0]:
                return None
            return name
    return None


def _within(file: SourceFile, call: Callable[[], Any]) -> Any:
    """Call a plugin, which raises whatever comes on strange bytes."""
    try:
        return call()
    except Exception as error:
        if is_of_system(error):
            raise source_error(file.path, error) from error
        raise decoding_error(f"{file.path}: its frames cannot be read", error) from error


@dataclass(frozen=True, slots=True)
class PillowPicture(Picture):
    """A picture that one of Pillow's plugins decodes.

    Parameters
    ----------
    formats : tuple of str
        Which of them are asked, in this order.
    indices : bool
        Whether indices are wanted of what has a palette.
    page : int
        Which frame of an animation.
    """

    formats: tuple[str, ...]
    indices: bool = False
    page: int = 0

    def decode(self, file: SourceFile) -> NDArray[Any]:
        """Return all of the picture."""
        with opened_by_pillow(file, self.formats) as image:
            if self.page:
                image.seek(self.page)
            return _pillow_pixels(file.path, image, self.indices)


@contextlib.contextmanager
def opened_by_pillow(file: SourceFile, formats: Sequence[str]) -> Iterator[Any]:
    """Open as ``Image.open`` does, without its limit on pixels: ours stand in `limits`."""
    # Plugins look at up to 16 bytes and do not expect fewer.
    prefix = file.head(16).ljust(16, b"\0")
    problems: list[str] = []
    for name in formats:
        if name not in Image.OPEN:
            continue
        factory, accepts = Image.OPEN[name]
        if not _accepted(accepts, prefix):
            continue
        check_nested(file, name)
        with _handle(file) as handle:
            try:
                image = _icon(handle) if name == "ICO" else factory(handle, file.path)
            except Image.DecompressionBombError as error:
                raise TooLargeError(f"{file.path}: {error}") from error
            except MemoryError as error:
                raise TooLargeError(f"{file.path}: its header asks for more memory than there is.") from error
            except Exception as error:  # on strange bytes plugins raise whatever comes
                if is_of_system(error):
                    raise source_error(file.path, error) from error
                if accepts is not None:
                    problems.append(f"as {name}: {str(error).rstrip('.')}")
                continue
            yield image
            return
    if problems:
        raise decoding_error(f"{file.path}: cannot be read", "; ".join(problems))
    raise UnsupportedFormatError(
        f"{file.path}: is not an image of a known format (it begins {bytes(prefix[:8])!r})."
    )


def _handle(file: SourceFile) -> BinaryIO:
    """Open the file for a plugin; what the system gives only a part of is read on, because it is buffered."""
    try:
        return with_room(lambda: open(file.path, "rb"))
    except OSError as error:
        raise source_error(file.path, error) from error


def _icon(handle: BinaryIO) -> Any:
    """Open the largest picture of an icon, of which the plugin would warn if its size were not as listed."""
    image = IcoImagePlugin.IcoFile(handle).frame(0)
    image.format = "ICO"
    return image


def _accepted(accepts: Callable[[bytes], bool | str] | None, prefix: bytes) -> bool:
    """Ask a plugin whether a file is its own; a text says what Pillow was built without."""
    try:
        return accepts is None or accepts(prefix) is True
    except Exception:  # noqa: BLE001 - on strange bytes plugins raise whatever comes
        return False


_PILLOW_MODES: dict[str, tuple[int, str]] = {
    "1": (1, "u1"), "L": (1, "u1"), "LA": (2, "u1"), "La": (2, "u1"), "RGB": (3, "u1"), "RGBA": (4, "u1"),
    "RGBa": (4, "u1"), "RGBX": (4, "u1"), "CMYK": (3, "u1"), "YCbCr": (3, "u1"), "LAB": (3, "u1"),
    "HSV": (3, "u1"), "PA": (4, "u1"), "I": (1, "i4"), "F": (1, "f4"), "I;16": (1, "u2"),
    "I;16L": (1, "u2"), "I;16B": (1, "u2"), "I;16N": (1, "u2"),
}  # fmt: skip


def _palette_of(image: Any) -> Palette | None:
    """Return the palette of an image that was opened and not loaded."""
    if image.mode not in ("P", "PA") or image.palette is None:
        return None
    swatch = Image.frombytes("P", (256, 1), bytes(range(256)))
    swatch.palette, swatch.info = image.palette.copy(), dict(image.info)
    swatch.palette.dirty = 1
    try:
        return Palette(np.asarray(swatch.convert("RGBA" if _transparent(image) else "RGB"))[0])
    except ValueError:
        return None  # it has more colours than there are indices, or is damaged: reading tells


def _pillow_shape(
    path: str, image: Any, indices: bool = False
) -> tuple[tuple[int, int, int], np.dtype[np.generic]]:
    width, height = image.size
    if indices and image.mode in ("P", "PA"):
        return (height, width, 1), np.dtype(np.uint8)
    if image.mode == "P":
        return (height, width, 4 if _transparent(image) else 3), np.dtype(np.uint8)
    if image.mode not in _PILLOW_MODES:
        raise UnsupportedFormatError(f"{path}: pixels of Pillow's mode {image.mode!r} are unknown.")
    bands, kind = _PILLOW_MODES[image.mode]
    if image.format == "PPM" and image.mode == "I":
        kind = "u2"  # Pillow widens them
    return (height, width, bands), np.dtype(kind)


def _transparent(image: Any) -> bool:
    return "transparency" in image.info or (image.palette is not None and image.palette.mode == "RGBA")


def _pillow_pixels(path: str, image: Any, indices: bool = False) -> NDArray[Any]:
    if indices and image.mode in ("P", "PA"):
        image.load()
        return np.asarray(image).reshape(image.height, image.width, -1)[..., :1]
    # Decided before the pixels are loaded, as the shape was.
    target = {"P": "RGBA" if image.mode == "P" and _transparent(image) else "RGB", "PA": "RGBA"}
    target |= dict.fromkeys(("CMYK", "YCbCr", "LAB", "HSV"), "RGB")
    mode = image.mode
    image.load()
    if mode in target and image.mode == mode:
        image = image.convert(target[mode])
    dtype = _pillow_shape(path, image)[1]
    pixels: NDArray[Any] = np.asarray(image)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    return pixels.astype(dtype, copy=False)
