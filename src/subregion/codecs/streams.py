"""Blocks behind general compressors, undone within bounds: a few stored bytes must not become gigabytes.

Each function takes the stored bytes and how many may come out, and raises an exception if more would.
"""

from __future__ import annotations

import bz2
import functools
import gzip
import io
import lzma
import math
import threading
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subregion.codecs.codec import BlockShape, Codec, Data, Decoder
from subregion.libraries import imagecodecs, zstandard

#: What writers have left over behind the samples of a block is at most as much again and this.
_LEFT_OVER = 4096
#: Says to zlib that streams are those of gzip.
_GZIP = 31
#: Memory that LZMA may take for its dictionary, at least: the highest preset of xz has one of 64 MiB.
_LZMA_MEMORY = 80 << 20


def with_left_over(size: int) -> int:
    """Return how many bytes a block of a TIFF may hold of which so many are wanted.

    Writers fill the last strip up, and some go on for a few bytes. Readers look at the beginning.
    """
    return 2 * size + _LEFT_OVER


def too_much(most: int) -> ValueError:
    """Say that a stream holds more than a block can have, so that its writer cannot have meant it."""
    return ValueError(f"it holds more than {most} bytes")


class _PerThread(threading.local):
    """The decompressor of a thread, which must not leave it: making one takes as long as some blocks do."""

    def __init__(self) -> None:
        self.zstd = zstandard.ZstdDecompressor()


@functools.cache
def _contexts() -> _PerThread:
    return _PerThread()


def zstd(data: Any, most: int) -> bytes:
    """Undo ZSTD."""
    return _zstd(data, most, most)


def inflate(data: Any, most: int) -> bytes:
    """Undo zlib."""
    return _one_stream(zlib.decompressobj(), data, most)


def ungzip(data: Any, most: int) -> bytes:
    """Undo gzip, which may have several members."""
    first = zlib.decompressobj(_GZIP)
    found = first.decompress(data, most + 1)
    if first.unused_data:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as members:
            found = members.read(most + 1)
    return _complete(found, most, first.eof)


def bunzip(data: Any, most: int) -> bytes:
    """Undo bzip2."""
    return _one_stream(bz2.BZ2Decompressor(), data, most)


def unlzma(
    data: Any,
    most: int,
    form: int = lzma.FORMAT_XZ,
    filters: Sequence[dict[str, Any]] | None = None,
) -> bytes:
    """Undo LZMA in one of the forms that Python's `lzma` knows.

    Filters describe raw streams; how large their dictionaries are has to be looked at before.
    """
    if form == lzma.FORMAT_RAW:
        return _one_stream(lzma.LZMADecompressor(form, filters=filters), data, most)
    return _one_stream(lzma.LZMADecompressor(form, lzma_memory(most)), data, most)


def lzma_memory(most: int) -> int:
    """Return how much memory the dictionary of a stream may take of which so many bytes are wanted."""
    return max(_LZMA_MEMORY, 2 * most)


def unlz4(data: Any, most: int) -> Any:
    """Undo LZ4 with the size in front, as numcodecs writes it."""
    nbytes = int.from_bytes(data[:4], "little")
    if nbytes > most:
        raise too_much(most)
    return imagecodecs.lz4_decode(memoryview(data)[4:], out=nbytes)  # type: ignore[arg-type]  # takes any buffer


def _one_stream(stream: Any, data: Any, most: int) -> bytes:
    found = stream.decompress(data, most + 1)
    return _complete(found, most, stream.eof)


def _complete(found: bytes, most: int, ended: bool) -> bytes:
    if len(found) > most:
        raise too_much(most)
    if not ended:  # its checksum stands at the end
        raise ValueError("it ends early")
    return found


def _zstd(data: Any, size: int, most: int) -> bytes:
    # The decompressor allocates what a frame declares, whatever it is told.
    if zstandard.frame_content_size(data) > most:
        raise too_much(most)
    return _contexts().zstd.decompress(data, size)


def _zstd_block(data: Any, size: int) -> bytes:
    return _zstd(data, size, with_left_over(size))


def _deflate_block(data: Any, size: int) -> bytes:
    try:
        return bytes(imagecodecs.deflate_decode(data, out=size))
    except imagecodecs.DeflateError:
        return inflate(data, with_left_over(size))  # it may hold more, which libdeflate refuses


def _lzw_block(data: Any, size: int) -> bytes:
    return bytes(imagecodecs.lzw_decode(data, out=size))


def _packbits_block(data: Any, size: int) -> bytes:
    try:
        return bytes(imagecodecs.packbits_decode(data, out=size))
    except imagecodecs.PackbitsError:
        return bytes(imagecodecs.packbits_decode(data, out=with_left_over(size)))


def _lzma_block(data: Any, size: int) -> bytes:
    return unlzma(data, with_left_over(size))


#: Compression of TIFF blocks by name -> bytes, and how many a full block has, to those at least that there
#: are, and to few more than that.
STREAMS: dict[str, Callable[[Any, int], bytes]] = {
    "ZSTD": _zstd_block,
    "DEFLATE": _deflate_block,
    "LZW": _lzw_block,
    "PACKBITS": _packbits_block,
    "LZMA": _lzma_block,
}


@dataclass(frozen=True, slots=True)
class StreamCodec(Codec):
    """Samples behind a general compressor, with or without a predictor.

    Parameters
    ----------
    compression : str
        Key of `STREAMS`.
    shape : BlockShape
        What a block holds.
    stored : numpy.dtype
        Type of the samples in the file, with its byte order.
    predictor : int
        1 none, 2 horizontal differences, 3 floating point (as in TIFF).
    """

    compression: str
    shape: BlockShape
    stored: np.dtype[np.generic]
    predictor: int = 1

    def decoder(self) -> Decoder:
        """Return the shortest way from bytes to samples.

        Where all blocks are alike it spares three calls for each.
        """
        if self.predictor != 1 or self.shape.last_rows != self.shape.rows:
            return self.decode
        shape = self.shape.rows, self.shape.cols, self.shape.samples
        stored, array = self.stored, np.ndarray
        size = math.prod(shape) * stored.itemsize
        if self.compression == "ZSTD":
            return zstd_decoder(shape, stored, None, size, with_left_over)
        decompress = STREAMS[self.compression]

        def block(data: Data, number: int, wanted: slice | None) -> NDArray[Any]:
            return array(shape, stored, decompress(data, size))

        return block

    def decode_many(
        self, data: Sequence[Data], blocks: Sequence[int], rows: Sequence[slice | None]
    ) -> list[NDArray[Any]] | None:
        """Decode several blocks in one call, if they are ZSTD and alike."""
        alike = self.predictor == 1 and self.shape.last_rows == self.shape.rows
        if not alike or self.compression != "ZSTD":
            return None
        shape = self.shape.of(0)
        return zstd_many(data, shape, self.stored, None, math.prod(shape) * self.stored.itemsize)

    def decode(self, data: Data, block: int, rows: slice | None = None) -> NDArray[Any]:
        """Decompress the block and undo the predictor."""
        shape = self.shape.of(block)
        row = shape[1] * shape[2] * self.stored.itemsize
        raw = STREAMS[self.compression](data, self.shape.rows * row)
        if len(raw) < shape[0] * row:
            raise ValueError(f"a block holds {len(raw)} of {shape[0] * row} bytes")
        samples: NDArray[Any] = np.ndarray(shape, self.stored, raw)
        if self.predictor == 1:
            return samples
        if self.predictor == 2:
            native = samples.astype(self.stored.newbyteorder("="), copy=True)
            return np.asarray(imagecodecs.delta_decode(native, axis=1, out=native))
        return np.asarray(imagecodecs.floatpred_decode(samples, axis=-2, dist=1))


def zstd_decoder(
    shape: tuple[int, int, int],
    stored: np.dtype[np.generic],
    strides: tuple[int, ...] | None,
    size: int,
    most_of: Callable[[int], int] = int,
    start: int = 0,
) -> Decoder:
    """Return what decompresses blocks of so many bytes in this thread; those that declare more are refused.

    Parameters
    ----------
    shape, strides : tuple of int
        Of the array that a block becomes; None if its samples lie as NumPy has them.
    stored : numpy.dtype
        Its type.
    size : int
        Bytes that a block holds.
    most_of : callable
        Returns how many it may declare, given that.
    start : int
        Where its first sample lies in them.
    """
    declared, undo, array = zstandard.frame_content_size, _contexts().zstd.decompress, np.ndarray

    def block(data: Data, number: int, rows: slice | None) -> NDArray[Any]:
        if declared(data) > size and declared(data) > (most := most_of(size)):
            raise too_much(most)
        return array(shape, stored, undo(data, size), start, strides)

    return block


def zstd_many(
    data: Sequence[Data],
    shape: tuple[int, int, int],
    stored: np.dtype[np.generic],
    strides: tuple[int, ...] | None,
    size: int,
    start: int = 0,
) -> list[NDArray[Any]]:
    """Decompress several blocks in one call.

    Of two threads that decompress one by one, one waits after each block for the other to let go of the
    interpreter, and for the system to wake it; docs/performance.md has the figures.
    """
    sizes: Any = np.full(len(data), size, np.uint64)
    found: Any = _contexts().zstd.multi_decompress_to_buffer(list(data), decompressed_sizes=sizes)
    return [np.ndarray(shape, stored, found[place], start, strides) for place in range(len(data))]
