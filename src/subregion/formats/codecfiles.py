"""Image files that are one compressed stream, decoded by imagecodecs.

These are the kinds that Pillow cannot read or would reduce to 8 bits.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from subregion.codecs.headers import declared_size, jpeg2000_stream
from subregion.errors import SubregionError, UnsupportedFormatError, decoding_error
from subregion.formats.pillow import open_pillow
from subregion.formats.raster import Raster
from subregion.formats.whole import Picture, whole_raster
from subregion.io import limits
from subregion.io.limits import Declared
from subregion.libraries import imagecodecs

if TYPE_CHECKING:
    from subregion.io.source import SourceFile


def open_codec_file(file: SourceFile, driver: str, codec: str) -> Raster:
    """Open a file whose bytes are one stream of ``imagecodecs.<codec>_decode``.

    The header does not say all about the picture, so that it is decoded once to learn its shape.

    Raises
    ------
    DamagedFileError
        If it cannot be decoded.
    TooLargeError
        If it declares more than the limits allow.
    UnsupportedFormatError
        If what it holds is no picture of rows, columns and bands.
    """
    picture = StreamPicture(codec, _checked(file, driver, codec))
    try:
        pixels = picture.decode(file)
    except (SubregionError, MemoryError):
        raise
    except Exception as error:
        raise decoding_error(f"{file.path}: cannot be decoded as {driver}", error) from error
    return whole_raster(file, driver, pixels.shape, pixels.dtype, picture)


def open_webp(file: SourceFile) -> Raster | None:
    """Open a WebP; None if it is an animation, or has no header that makes sense.

    Pillow, which reads animations too, takes seven times the memory of the pixels.

    Raises
    ------
    TooLargeError
        If it declares more than the limits allow.
    """
    declared = declared_size("webp", file)
    if declared is None:
        return None
    limits.check_declared(file.path, file.size, declared)
    shape = declared.height, declared.width, declared.samples
    return whole_raster(file, "WEBP", shape, np.dtype(np.uint8), StreamPicture("webp", declared))


def _checked(file: SourceFile, driver: str, codec: str) -> Declared:
    """Read the header of a picture, and refuse it if it declares too much."""
    declared = declared_size(codec, file)
    if declared is None:
        raise decoding_error(f"{file.path}: cannot be decoded as {driver}", "its header makes no sense")
    limits.check_declared(file.path, file.size, declared)
    return declared


@dataclass(frozen=True, slots=True)
class StreamPicture(Picture):
    """A picture that is one stream of a codec of imagecodecs.

    Parameters
    ----------
    codec : str
        Name of the codec.
    declared : Declared
        What its header says.
    """

    codec: str
    declared: Declared

    def decode(self, file: SourceFile) -> NDArray[Any]:
        """Return all of the picture."""
        pixels = np.asarray(_DECODERS[self.codec](file.read(0, file.size), self.declared))
        if pixels.ndim == 2:
            pixels = pixels[..., None]
        # The decoder of JPEG XL may have turned it.
        rows, cols = self.declared.height, self.declared.width
        if pixels.ndim != 3 or sorted(pixels.shape[:2]) != sorted((rows, cols)):
            raise UnsupportedFormatError(
                f"{file.path}: decoding gave shape {pixels.shape}, which is no image of "
                f"{rows} rows and {cols} columns."
            )
        return pixels.astype(np.uint8) if pixels.dtype == bool else pixels


def _check_end(data: bytes) -> None:
    """Refuse a JPEG that was cut: decoders make pixels up, or look for the end for ten seconds."""
    if b"\xff\xd9" not in data.rstrip(b"\0")[-64:]:
        raise ValueError("it ends early")


def _jpeg(data: bytes, declared: Declared) -> NDArray[Any]:
    """Decode a JPEG of more than 8 bits, or a lossless one."""
    _check_end(data)
    return imagecodecs.jpeg8_decode(data)


def _jpegls(data: bytes, declared: Declared) -> NDArray[Any]:
    _check_end(data)
    return imagecodecs.jpegls_decode(data)


#: What of the directory of a JPEG XR its decoder needs; of what it does not know it would speak aloud.
_XR_TAGS = {0xBC01, 0xBC02, *range(0xBC80, 0xBC84), *range(0xBCC0, 0xBCC6)}


def _jpegxr(data: bytes, declared: Declared) -> NDArray[Any]:
    (at,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, at)
    entries = [data[place : place + 12] for place in range(at + 2, at + 2 + 12 * count, 12)]
    kept = [entry for entry in entries if int.from_bytes(entry[:2], "little") in _XR_TAGS]
    directory = struct.pack("<H", len(kept)) + b"".join(kept) + bytes(4)
    return imagecodecs.jpegxr_decode(data[:4] + struct.pack("<I", len(data)) + data[8:] + directory)


#: What decodes a file, by the name of its codec.
_DECODERS: dict[str, Callable[[bytes, Declared], NDArray[Any]]] = {
    "jpeg": _jpeg,
    "jpegls": _jpegls,
    "jpeg2k": lambda data, _: imagecodecs.jpeg2k_decode(data),
    "jpegxr": _jpegxr,
    "webp": lambda data, declared: imagecodecs.webp_decode(data, hasalpha=declared.samples == 4),
    "rgbe": lambda data, _: imagecodecs.rgbe_decode(data),
    # Of an animation the first frame is the image, and the others are not decoded.
    "jpegxl": lambda data, _: imagecodecs.jpegxl_decode(data, index=0),
}


@dataclass(frozen=True, slots=True)
class Jpeg2000Header:
    """What the SIZ marker of a JPEG 2000 code stream says.

    Parameters
    ----------
    height, width : int
        Size of the image in pixels.
    depths : tuple of int
        Bits of each component.
    signed : bool
        Whether any component is signed.
    subsampled : bool
        Whether any component has fewer samples than the image has pixels.
    """

    height: int
    width: int
    depths: tuple[int, ...]
    signed: bool
    subsampled: bool

    @property
    def rescaled(self) -> bool:
        """Whether Pillow would give other samples than are stored."""
        if self.subsampled or len(set(self.depths)) > 1:
            return False
        return self.signed or self.depths[0] != 8 or len(self.depths) > 4


def jpeg2000_header(file: SourceFile) -> Jpeg2000Header | None:
    """Find and read the SIZ marker; None if there is none."""
    start = jpeg2000_stream(file)
    if start is None or start + 42 > file.size:
        return None
    x_end, y_end, x_start, y_start = struct.unpack(">4I", file.read(start + 8, 16))
    (count,) = struct.unpack(">H", file.read(start + 40, 2))
    entries = file.read(start + 42, min(3 * count, file.size - start - 42))
    if len(entries) < 3 * count or count == 0 or x_end <= x_start or y_end <= y_start:
        return None
    return Jpeg2000Header(
        height=y_end - y_start,
        width=x_end - x_start,
        depths=tuple((depth & 0x7F) + 1 for depth in entries[::3]),
        signed=any(depth & 0x80 for depth in entries[::3]),
        subsampled=any(step != 1 for step in entries[1::3] + entries[2::3]),
    )


def open_jpeg2000(file: SourceFile) -> Raster:
    """Open a JPEG 2000: by Pillow, but for samples that it would rescale.

    Raises
    ------
    DamagedFileError
        If it cannot be decoded.
    TooLargeError
        If it declares more than the limits allow.
    """
    declared = _checked(file, "JPEG2000", "jpeg2k")
    header = jpeg2000_header(file)
    if header is None or not header.rescaled:
        raster = open_pillow(file, ("JPEG2000",))
        if raster.shape[:2] != (declared.height, declared.width):
            raise decoding_error(
                f"{file.path}: cannot be decoded as JPEG2000", "its headers disagree about its size"
            )
        return raster
    dtype = np.dtype(f"{'i' if header.signed else 'u'}{1 if max(header.depths) <= 8 else 2}")
    if max(header.depths) > 16:
        dtype = np.dtype("i4" if header.signed else "u4")
    shape = (header.height, header.width, len(header.depths))
    return whole_raster(file, "JPEG2000", shape, dtype, StreamPicture("jpeg2k", declared))
