"""How the pixels of one block become the bytes of one TIFF tile."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subregion.codecs.jpegheader import SCAN, InMemory, segments
from subregion.errors import ConfigError
from subregion.forks import FOREIGN
from subregion.libraries import cv2, imagecodecs, zstandard

#: Rows and columns of a block where nothing else is asked for: a window then decodes little that it does not
#: want, and a block is still worth its call.
BLOCKSIZE = 96
#: The same where a call costs more than a few rows: tables of JPEG, entries in the index of a shard.
LARGER_BLOCKSIZE = 128
#: About how many pixels lie between two restart markers of a JPEG block. A marker costs five bytes.
_INTERVAL_PIXELS = 4096

# A block goes in as a C-contiguous array (rows, columns, bands); what comes out has its length in bytes.
Encode = Callable[[NDArray[Any]], "bytes | memoryview"]


@dataclass(frozen=True, slots=True)
class Encoding:
    """One compression, as TIFF names it and as it is done.

    Parameters
    ----------
    compression : int
        Value of the TIFF tag Compression.
    encode : callable
        From a block to its bytes; may be called from several threads at once.
    jpeg_tables : bytes
        Value of the TIFF tag JPEGTables: what all blocks share; empty if the compression is not JPEG.
    """

    compression: int
    encode: Encode
    jpeg_tables: bytes = b""


def encoding_for(
    compress: str, blocksize: int, dtype: np.dtype[Any], bands: int, *, level: int | None, quality: int
) -> Encoding:
    """Choose how the blocks of one file are compressed.

    Parameters
    ----------
    compress : str
        "ZSTD", "DEFLATE", "LZW", "JPEG" or "RAW".
    blocksize : int
        Edge of a block, in pixels.
    dtype : dtype
        Of the pixels.
    bands : int
        Samples per pixel.
    level : int, optional
        Compression level of ZSTD or DEFLATE.
    quality : int
        Of JPEG, 1 to 100.

    Raises
    ------
    ConfigError
        If there is no such compression, or if it cannot hold such pixels.
    """
    if compress == "ZSTD":
        return Encoding(50000, _zstd(3 if level is None else level))
    if compress == "DEFLATE":
        return Encoding(8, functools.partial(_deflate, level=6 if level is None else level))
    if compress == "LZW":
        return Encoding(5, _lzw)
    if compress == "JPEG":
        return _jpeg(blocksize, dtype, bands, quality)
    if compress == "RAW":
        return Encoding(1, raw_bytes)
    raise ConfigError(f"compress={compress!r}: allowed are 'ZSTD', 'DEFLATE', 'LZW', 'JPEG' and 'RAW'.")


def _zstd(level: int) -> Encode:
    """Frames with their size and a checksum, so that a flipped bit is an error and not a wrong pixel.

    Of all levels 3 is where more effort stops to pay, see docs/performance.md.
    """
    local = threading.local()  # a context serves one thread at a time, and is too dear to make for each block

    def encode(block: NDArray[Any]) -> bytes:
        try:
            compressor: zstandard.ZstdCompressor = local.compressor
        except AttributeError:
            compressor = local.compressor = zstandard.ZstdCompressor(
                level=level, write_checksum=True, write_content_size=True
            )
        return compressor.compress(raw_bytes(block))

    return encode


def _deflate(block: NDArray[Any], level: int) -> bytes:
    return bytes(imagecodecs.deflate_encode(raw_bytes(block), level=level))


def _lzw(block: NDArray[Any]) -> bytes:
    return bytes(imagecodecs.lzw_encode(raw_bytes(block)))


def raw_bytes(block: NDArray[Any]) -> Any:
    """Return the pixels as a memoryview of bytes, which the hints of imagecodecs do not know."""
    return block.reshape(-1).view(np.uint8).data


def _jpeg(blocksize: int, dtype: np.dtype[Any], bands: int, quality: int) -> Encoding:
    """Abbreviated streams: the tables, equal in all blocks, are stored once, a quarter of a small block.

    Restart markers let readers decode only the rows that they need; other readers pass over them.

    RGB becomes YCbCr with half as many rows and columns of colour, as in nearly all photographs.
    """
    if dtype != np.uint8 or bands not in (1, 3):
        raise ConfigError(
            f"compress='JPEG' holds uint8 with 1 or 3 bands, not {dtype} with {bands}: "
            f"use 'ZSTD' (lossless) or another compression."
        )

    unit = 8 if bands == 1 else 16
    rows = max(_INTERVAL_PIXELS // (blocksize * unit), 1)  # of units, in an interval
    options = [cv2.IMWRITE_JPEG_QUALITY, quality]
    if rows * unit < blocksize:
        options += [cv2.IMWRITE_JPEG_RST_INTERVAL, rows * (blocksize // unit)]
    if bands == 3:
        options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420]

    def encode_whole(block: NDArray[Any]) -> bytes:
        with FOREIGN:
            pixels = block[:, :, 0] if bands == 1 else cv2.cvtColor(block, cv2.COLOR_RGB2BGR)
            written, stream = cv2.imencode(".jpg", pixels, options)
        if not written:
            raise RuntimeError("The JPEG encoder refused a block.")
        return bytes(stream.data)

    # The standard tables for that quality do not depend on the pixels, so any block shows them.
    head, tables, frame = _split_jpeg(encode_whole(np.zeros((blocksize, blocksize, bands), np.uint8)))

    def encode(block: NDArray[Any]) -> bytes:
        stream = encode_whole(block)
        if not stream.startswith(head):
            raise RuntimeError("The JPEG encoder did not use the tables that it used for the first block.")
        return frame + stream[len(head) :]

    return Encoding(7, encode, tables)


def _split_jpeg(stream: bytes) -> tuple[bytes, bytes, bytes]:
    """Take a JPEG stream apart, up to its first scan: all of that, the tables alone, and the rest of it."""
    tables = frame = b"\xff\xd8"
    for marker, place, stop in segments(InMemory(stream)):
        if marker == SCAN:
            return stream[:place], tables + b"\xff\xd9", frame
        if marker in (0xDB, 0xC4):  # quantisation and Huffman tables
            tables += stream[place:stop]
        elif not 0xE0 <= marker <= 0xEF:  # the TIFF says what application segments would say
            frame += stream[place:stop]
    raise AssertionError("OpenCV writes a scan")
