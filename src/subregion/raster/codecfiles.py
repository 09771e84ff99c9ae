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

from subregion.errors import UnsupportedFormatError, decoding_error
from subregion.libraries import imagecodecs
from subregion.raster import limits
from subregion.raster.whole import WholeRaster

if TYPE_CHECKING:
    from subregion.raster.source import SourceFile


def open_codec_file(file: SourceFile, driver: str, codec: str) -> WholeRaster:
    """Open a file whose bytes are one stream of ``imagecodecs.<codec>_decode``.

    The header is not parsed here, so the picture is decoded once to learn its shape.

    Raises
    ------
    DamagedFileError
        If it cannot be decoded.
    UnsupportedFormatError
        If what it holds is no picture of rows, columns and bands.
    """
    decode = _decoder(file, driver, codec)
    pixels = decode()
    return WholeRaster(file, driver, pixels.shape, pixels.dtype, decode)


def _decoder(file: SourceFile, driver: str, codec: str) -> Callable[[], NDArray[Any]]:
    def decode() -> NDArray[Any]:
        try:
            pixels = np.asarray(getattr(imagecodecs, f"{codec}_decode")(file.read(0, file.size)))
        except Exception as error:
            raise decoding_error(f"{file.path}: cannot be decoded as {driver}", error) from error
        if pixels.ndim == 2:
            pixels = pixels[..., None]
        elif pixels.ndim == 4:  # an animation: the first frame is the image
            pixels = pixels[0]
        if pixels.ndim != 3:
            raise UnsupportedFormatError(
                f"{file.path}: decoding gave shape {pixels.shape}, which is no image."
            )
        return pixels.astype(np.uint8) if pixels.dtype == bool else pixels

    return decode


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


def jpeg2000_header(file: SourceFile) -> Jpeg2000Header | None:
    """Find and read the SIZ marker; None if there is none near the beginning."""
    head = file.head(1 << 20)
    start = head.find(b"\xff\x4f\xff\x51")
    if start < 0 or start + 42 > len(head):
        return None
    x_end, y_end, x_start, y_start = struct.unpack_from(">4I", head, start + 8)
    (count,) = struct.unpack_from(">H", head, start + 40)
    entries = head[start + 42 : start + 42 + 3 * count]
    if len(entries) < 3 * count or count == 0 or x_end <= x_start or y_end <= y_start:
        return None
    return Jpeg2000Header(
        height=y_end - y_start,
        width=x_end - x_start,
        depths=tuple((depth & 0x7F) + 1 for depth in entries[::3]),
        signed=any(depth & 0x80 for depth in entries[::3]),
        subsampled=any(step != 1 for step in entries[1::3] + entries[2::3]),
    )


def open_jpeg2000(file: SourceFile) -> WholeRaster | None:
    """Open a JPEG 2000 whose samples Pillow would rescale; None if Pillow reads it as it is stored."""
    header = jpeg2000_header(file)
    if header is None:
        return None
    if (set(header.depths) == {8} and not header.signed and len(header.depths) <= 4) or header.subsampled:
        return None
    if len(set(header.depths)) > 1:
        return None
    dtype = np.dtype(f"{'i' if header.signed else 'u'}{1 if max(header.depths) <= 8 else 2}")
    if max(header.depths) > 16:
        dtype = np.dtype("i4" if header.signed else "u4")
    shape = (header.height, header.width, len(header.depths))
    limits.check_bomb(file.path, file.size, int(np.prod(shape)) * dtype.itemsize)
    return WholeRaster(file, "JPEG2000", shape, dtype, _decoder(file, "JPEG2000", "jpeg2k"))
