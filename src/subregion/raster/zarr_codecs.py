"""From the bytes of a zarr chunk to its samples."""

from __future__ import annotations

import lzma
import math
import re
import reprlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from subregion.errors import UnsupportedFormatError
from subregion.libraries import google_crc32c, imagecodecs
from subregion.raster import blosc
from subregion.raster.codecs import BlockRead, BlockReader, Codec, Fetch, RunReader, zstd_run
from subregion.raster.scratch import scratch
from subregion.raster.streams import (
    bunzip,
    inflate,
    lzma_memory,
    too_much,
    ungzip,
    unlz4,
    unlzma,
    zstd,
    zstd_of_thread,
)

if TYPE_CHECKING:
    from subregion.raster.zarr_metadata import ArraySpec, CodecSpec

Data: TypeAlias = "bytes | memoryview"

#: CRC-32C of any bytes followed by their own CRC-32C, little-endian (the residue of the polynomial).
_CRC32C_RESIDUE = 0x48674BC7
#: Types of which there can be differences.
_NUMBERS = re.compile(r"[<>=|]?(?:[iu][1248]|f[248])|u?int(?:8|16|32|64)|float(?:16|32|64)")
#: Bytes of a sample that is shuffled, at most: those of a record.
_MOST_SHUFFLED = 1 << 16
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
    checked : bytearray
        For each block of the grid, whether its checksum was found right since the file was opened.
    """

    filters: tuple[Filter, ...]
    limits: tuple[int, ...]
    stored: np.dtype[np.generic]
    shape: tuple[int, int, int]
    strides: tuple[int, int, int]
    nbytes: int
    checked: bytearray = field(default_factory=bytearray, repr=False)
    mapped: bool = field(init=False)
    exact: bool = field(default=True, init=False)
    kinds: tuple[str, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "mapped", not self.filters)
        object.__setattr__(self, "kinds", tuple(each.kind for each in self.filters))

    def direct(self, fetch: Fetch) -> BlockReader | None:
        """Return the shortest way from the file to samples, for the codecs that are used most.

        Its arrays share one buffer of the thread, which each block overwrites. That it stays in the
        processor's cache saves a tenth of the time of a window, and so do the calls that are left out.
        """
        if self.kinds == ("zstd",):
            return self._from_zstd(fetch)
        if self.kinds in _BLOSC and self.nbytes <= _BUFFER_NBYTES:
            return self._from_blosc(fetch)
        return None

    def _from_zstd(self, fetch: Fetch) -> BlockReader:
        (declared, decompress), array = zstd_of_thread(), np.ndarray
        shape, stored, strides, size = self.shape, self.stored, self.strides, self.nbytes

        def block(offset: int, nbytes: int, number: int, rows: slice | None) -> NDArray[np.generic]:
            data = fetch(offset, nbytes)
            if declared(data) > size:
                raise too_much(size)
            return array(shape, stored, decompress(data, size), 0, strides)

        return block

    def _from_blosc(self, fetch: Fetch) -> BlockReader:
        """Checksums tell what the disk did to a block: they are looked at when it is first read."""
        checked = self.checked if len(self.filters) == 2 else None
        size = self.nbytes
        target = scratch(size)
        samples = np.ndarray(self.shape, self.stored, target, 0, self.strides)
        row = self.strides[0] if self.strides[0] * self.shape[0] == size else 0

        def block(offset: int, nbytes: int, number: int, rows: slice | None) -> NDArray[np.generic]:
            if checked is not None:
                if not checked[number]:
                    check(bytes(fetch(offset, nbytes)))
                    checked[number] = 1
                nbytes -= 4
            data = fetch(offset, nbytes)
            if rows is None or not row:
                blosc.decode(data, size, target)
            else:
                blosc.decode_range(data, size, target, rows.start * row, rows.stop * row)
            return samples

        return block

    def run(self, fetch: Fetch) -> RunReader | None:
        """Return what decodes several blocks in one call: those of some microseconds, if they are plain.

        Two threads that decode blocks of 20 microseconds one by one take longer than one; see `zstd_run`.
        """
        if self.kinds == ("zstd",):
            return zstd_run(fetch, self.shape, self.stored, self.strides, self.nbytes)
        row = self.strides[0]
        if self.kinds not in _BLOSC or row * self.shape[0] != self.nbytes:
            return None
        checked = self.checked if len(self.filters) == 2 else None
        size, shape, strides, stored = self.nbytes, self.shape, self.strides, self.stored
        left_out = 0 if checked is None else 4

        def blocks(wanted: Sequence[BlockRead]) -> list[NDArray[np.generic]] | None:
            needed = (len(wanted) + 1) * size
            if needed > _BUFFER_NBYTES:
                return None
            frames: list[blosc.Range] = []
            for offset, nbytes, number, rows in wanted:
                if checked is not None and not checked[number]:
                    check(bytes(fetch(offset, nbytes)))
                    checked[number] = 1
                first, last = (0, size) if rows is None else (rows.start * row, rows.stop * row)
                frames.append((fetch(offset, nbytes - left_out), first, last))
            target = scratch(needed)
            places = blosc.decode_ranges(frames, size, target)
            if places is None:
                return None
            return [np.ndarray(shape, stored, target, place, strides) for place in places]

        return blocks

    def __call__(self, data: Data, block: int) -> NDArray[np.generic]:
        """Decode a block."""
        for each, limit in zip(self.filters, self.limits, strict=True):
            data = each.undo(data, limit)
        if len(data) < self.nbytes:
            raise ValueError(f"a block holds {len(data)} of {self.nbytes} bytes")
        return np.ndarray(self.shape, self.stored, data, 0, self.strides)


def chunk_codec(spec: ArraySpec, row: int, col: int, band: int | None, count: int) -> ChunkCodec:
    """Return what decodes the `count` blocks of an array whose axes of rows, columns and bands are these.

    Raises
    ------
    UnsupportedFormatError
        Naming the codec that cannot be read, and those that can.
    """
    encoded = [spec.blocks[axis] for axis in spec.order]
    apart = [0] * len(encoded)
    step = spec.dtype.itemsize
    for place in reversed(range(len(encoded))):
        apart[spec.order[place]] = step
        step *= encoded[place]
    samples = 1 if band is None else min(spec.blocks[band], spec.shape[band])
    shape = (spec.blocks[row], spec.blocks[col], samples)
    strides = (apart[row], apart[col], spec.dtype.itemsize if band is None else apart[band])
    stored = np.dtype(np.uint8) if spec.dtype.kind == "b" else spec.dtype
    steps = [_step(spec, codec, step) for codec in spec.codecs]
    limits, most = [], step
    for each in steps:
        limits.append(most)
        most = each.stored(most)
    filters = tuple(each.filter for each in reversed(steps))
    return ChunkCodec(filters, tuple(reversed(limits)), stored, shape, strides, step, bytearray(count))


@dataclass(frozen=True, slots=True)
class _Step:
    """One codec of an array.

    Parameters
    ----------
    filter : Filter
        What undoes it.
    wider : Fraction
        How many bytes it stores for each that it is given, at most.
    extra : int
        How many it stores besides.
    """

    filter: Filter
    wider: Fraction = Fraction(1)
    extra: int = 0

    def stored(self, nbytes: int) -> int:
        """Return how many bytes it stores at most of so many."""
        return math.ceil(nbytes * self.wider) + self.extra


def _step(spec: ArraySpec, codec: CodecSpec, nbytes: int) -> _Step:
    name = codec.name.removeprefix("numcodecs.").removeprefix("https://codec.zarrs.dev/")
    if name in _COMPRESSORS:
        return _Step(Filter(name), *_INCOMPRESSIBLE)
    if name == "lzma":
        return _Step(_lzma_of(spec, codec, nbytes), *_INCOMPRESSIBLE)
    if name == "crc32c":
        return _Step(Filter(name), extra=4)
    if name == "delta":
        whole = _numbers(spec, codec, "dtype", spec.dtype)
        differences = _numbers(spec, codec, "astype", whole)
        undo = Filter(name, (("whole", whole), ("differences", differences)))
        return _Step(undo, Fraction(differences.itemsize, whole.itemsize))
    if name == "shuffle":
        samples = codec.configuration.get("elementsize", 4)
        if isinstance(samples, bool) or not isinstance(samples, int) or not 1 <= samples <= _MOST_SHUFFLED:
            raise _bad(spec, codec, "elementsize", f"a whole number from 1 to {_MOST_SHUFFLED} is needed")
        return _Step(Filter(name, (("samples", samples),)))
    readable = ", ".join(sorted([*_COMPRESSORS, "crc32c", "lzma", "delta", "shuffle"]))
    raise UnsupportedFormatError(
        f"{spec.path}: the zarr codec {codec.name!r} cannot be read here; {readable} can."
    )


def _bad(spec: ArraySpec, codec: CodecSpec, name: str, reason: str) -> UnsupportedFormatError:
    value = reprlib.repr(codec.configuration.get(name))
    return UnsupportedFormatError(
        f"{spec.path}: the zarr codec {codec.name!r} has {name} {value}, which makes no sense: {reason}."
    )


def _blosc(data: Data, most: int) -> Any:
    nbytes = blosc.check_frame(data, most)
    return imagecodecs.blosc_decode(data, numthreads=1, out=nbytes)  # type: ignore[arg-type]  # takes any buffer


def _lzma_of(spec: ArraySpec, codec: CodecSpec, nbytes: int) -> Filter:
    form, filters = codec.configuration.get("format", lzma.FORMAT_XZ), codec.configuration.get("filters")
    if form not in (lzma.FORMAT_AUTO, lzma.FORMAT_XZ, lzma.FORMAT_ALONE, lzma.FORMAT_RAW):
        raise _bad(spec, codec, "format", "0 to 3 are those of Python's lzma")
    if form != lzma.FORMAT_RAW:  # such streams describe themselves
        return Filter("lzma", (("form", form),))
    most = lzma_memory(nbytes)
    try:
        if not isinstance(filters, list):
            raise TypeError("a list is needed")
        for each in filters:
            if each.get("dict_size", 0) > most:
                raise ValueError(f"its dictionary is larger than {most} bytes")
        lzma.LZMADecompressor(form, filters=filters)
    except (ValueError, TypeError, AttributeError, OverflowError, lzma.LZMAError) as error:
        raise _bad(spec, codec, "filters", str(error)) from error
    return Filter("lzma", (("form", form), ("filters", filters)))


def _numbers(
    spec: ArraySpec, codec: CodecSpec, name: str, default: np.dtype[np.generic]
) -> np.dtype[np.generic]:
    value = codec.configuration.get(name)
    if value is None:
        return default
    if not isinstance(value, str) or not _NUMBERS.fullmatch(value):
        raise _bad(spec, codec, name, "a type of numbers, such as '<i2', is needed")
    return np.dtype(value)


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
    if google_crc32c.value(data) != _CRC32C_RESIDUE:
        raise ValueError("its checksum is wrong")


#: Names of compressors in versions 2 and 3 that need no options.
_COMPRESSORS = ("blosc", "zstd", "gzip", "zlib", "bz2", "lz4")
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
#: Blosc frames, with and without a checksum behind them.
_BLOSC = (("blosc",), ("crc32c", "blosc"))
#: What any of them makes of bytes that cannot be compressed: bzip2 takes 1 % more, and some hundred bytes.
_INCOMPRESSIBLE = Fraction(64, 63), 4096
