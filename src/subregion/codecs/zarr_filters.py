"""From the bytes of a zarr chunk to its samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subregion.codecs import blosc_lz4
from subregion.codecs.codec import Codec, Data, Decoder
from subregion.codecs.scratch import scratch
from subregion.codecs.streams import (
    bunzip,
    inflate,
    too_much,
    ungzip,
    unlz4,
    unlzma,
    zstd,
    zstd_decoder,
    zstd_many,
)
from subregion.libraries import google_crc32c, imagecodecs

#: CRC-32C of any bytes followed by their own CRC-32C, little-endian (the residue of the polynomial).
CRC32C_RESIDUE = 0x48674BC7
#: Blocks of at most so many bytes together are decoded into the buffer of the thread.
_BUFFER_NBYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Filter:
    """One codec of an array: a compressor, a checksum, or what turns samples around.

    Parameters
    ----------
    kind : str
        Key of `_UNDO`.
    options : tuple of (str, value)
        What it has to know, by name.
    """

    kind: str
    options: tuple[tuple[str, Any], ...] = ()

    def undo(self, data: Data, most: int) -> Any:
        """Return what it was given; more than so many bytes are an error."""
        return _UNDO[self.kind](data, most, **dict(self.options))


@dataclass(frozen=True, slots=True)
class ChunkCodec(Codec):
    """The samples of one encoded block, in any order of axes, behind any number of compressors.

    Parameters
    ----------
    filters : tuple of Filter
        From stored bytes to samples, in the order of decoding.
    limits : tuple of int
        How many bytes each of them may give.
    stored : numpy.dtype
        Type of the samples, with its byte order.
    shape, strides : tuple of int
        Rows, columns and samples of a block, and how many bytes apart they lie in it.
    nbytes : int
        Of a decoded block: more than `shape` says, if the block is deeper than a picture.
    start : int
        Where the first sample lies in it.
    """

    filters: tuple[Filter, ...]
    limits: tuple[int, ...]
    stored: np.dtype[np.generic]
    shape: tuple[int, int, int]
    strides: tuple[int, int, int]
    nbytes: int
    start: int = 0
    mapped: bool = field(init=False)
    checked: bool = field(init=False)
    kinds: tuple[str, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "mapped", not self.filters)
        object.__setattr__(self, "kinds", tuple(each.kind for each in self.filters))
        object.__setattr__(self, "checked", self.kinds[:1] == ("crc32c",))

    def decoder(self) -> Decoder:
        """Return the shortest way from bytes to samples, for the codecs that are used most.

        Its arrays share one buffer of the thread, which each block overwrites, so that it stays in the
        processor's cache.
        """
        if self.kinds == ("zstd",):
            return zstd_decoder(self.shape, self.stored, self.strides, self.nbytes, start=self.start)
        if self._plain_blosc and self.nbytes <= _BUFFER_NBYTES:
            return self._blosc_decoder()
        return self.decode

    @property
    def _plain_blosc(self) -> bool:
        """Whether blocks are Blosc frames, with or without a checksum behind them."""
        return self.kinds in (("blosc",), ("crc32c", "blosc"))

    def _blosc_decoder(self) -> Decoder:
        size, checked = self.nbytes, self.checked
        target = scratch(size)
        samples = np.ndarray(self.shape, self.stored, target, self.start, self.strides)
        row = self.strides[0] if self.strides[0] * self.shape[0] == size else 0

        def block(data: Data, number: int, rows: slice | None) -> NDArray[Any]:
            if checked:
                data = data[:-4]
            if rows is None or not row:
                blosc_lz4.decode(data, size, target)
            else:
                blosc_lz4.decode_range(data, size, target, rows.start * row, rows.stop * row)
            return samples

        return block

    def decode_many(
        self, data: Sequence[Data], blocks: Sequence[int], rows: Sequence[slice | None]
    ) -> list[NDArray[Any]] | None:
        """Decode several blocks in one call: those of some microseconds, if they are plain.

        Two threads that decode blocks of 20 microseconds one by one take longer than one; see `zstd_many`.
        """
        size, shape, strides, stored = self.nbytes, self.shape, self.strides, self.stored
        if self.kinds == ("zstd",):
            return zstd_many(data, shape, stored, strides, size, self.start)
        row, needed = strides[0], (len(data) + 1) * size
        if not self._plain_blosc or row * shape[0] != size or needed > _BUFFER_NBYTES:
            return None
        frames: list[blosc_lz4.Range] = []
        for frame, part in zip(data, rows, strict=True):
            first, last = (0, size) if part is None else (part.start * row, part.stop * row)
            frames.append((frame[:-4] if self.checked else frame, first, last))
        target = scratch(needed)
        places = blosc_lz4.decode_ranges(frames, size, target)
        if places is None:
            return None
        return [np.ndarray(shape, stored, target, place + self.start, strides) for place in places]

    def decode(self, data: Data, block: int, rows: slice | None = None) -> NDArray[Any]:
        """Decode a block."""
        if self.checked:
            data = memoryview(data)[:-4]
        for each, limit in zip(self.filters[self.checked :], self.limits[self.checked :], strict=True):
            data = each.undo(data, limit)
        if len(data) < self.nbytes:
            raise ValueError(f"a block holds {len(data)} of {self.nbytes} bytes")
        return np.ndarray(self.shape, self.stored, data, self.start, self.strides)


def _blosc(data: Data, most: int) -> Any:
    nbytes = blosc_lz4.check_frame(data, most)
    return imagecodecs.blosc_decode(data, numthreads=1, out=nbytes)  # type: ignore[arg-type]  # takes any buffer


def _delta(
    data: Data, most: int, whole: np.dtype[np.generic], differences: np.dtype[np.generic]
) -> NDArray[Any]:
    found = np.frombuffer(data, differences)
    if found.size * whole.itemsize > most:
        raise too_much(most)
    return np.cumsum(found, dtype=whole.newbyteorder("=")).astype(whole, copy=False).view(np.uint8)


def _shuffle(data: Data, most: int, samples: int) -> Data:
    """Put the first, second, ... bytes of all samples, which lie together, back to their samples."""
    return np.frombuffer(data, np.uint8).reshape(samples, -1).T.tobytes()


def crc32c(data: Data, size: int) -> memoryview:
    """Check the CRC-32C that follows the bytes, and take it off."""
    check(bytes(data))
    return memoryview(data)[:-4]


def check(data: bytes) -> None:
    """Refuse bytes that are not followed by their CRC-32C."""
    if google_crc32c.value(data) != CRC32C_RESIDUE:
        raise ValueError("its checksum is wrong")


#: Kind of a filter -> what undoes it: bytes, how many may come out at most, and its options.
_UNDO: dict[str, Callable[..., Any]] = {
    "blosc": _blosc,
    "zstd": zstd,
    "gzip": ungzip,
    "zlib": inflate,
    "bz2": bunzip,
    "lz4": unlz4,
    "lzma": unlzma,
    "crc32c": crc32c,
    "delta": _delta,
    "shuffle": _shuffle,
}
