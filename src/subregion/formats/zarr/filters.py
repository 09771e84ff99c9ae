"""What the metadata of an array say of its codecs, as the value that decodes its blocks."""

from __future__ import annotations

import lzma
import math
import re
import reprlib
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from subregion.codecs.streams import lzma_memory
from subregion.codecs.zarr_filters import ChunkCodec, Filter
from subregion.errors import UnsupportedFormatError
from subregion.formats.zarr.metadata import ArraySpec, CodecSpec

#: Names of compressors in versions 2 and 3 that need no options.
_COMPRESSORS = ("blosc", "zstd", "gzip", "zlib", "bz2", "lz4")
#: What any of them makes of bytes that cannot be compressed: bzip2 takes 1 % more, and some hundred bytes.
_INCOMPRESSIBLE = Fraction(64, 63), 4096
#: Types of which there can be differences.
_NUMBERS = re.compile(r"[<>=|]?(?:[iu][1248]|f[248])|u?int(?:8|16|32|64)|float(?:16|32|64)")
#: Bytes of a sample that is shuffled, at most: those of a record.
_MOST_SHUFFLED = 1 << 16


def chunk_codec(
    spec: ArraySpec, row: int, col: int, band: int | None, inside: Sequence[int] | None = None
) -> ChunkCodec:
    """Return what decodes the blocks of an array whose axes of rows, columns and bands are these.

    Parameters
    ----------
    spec : ArraySpec
        The array.
    row, col, band : int or None
        Which of its axes they are.
    inside : sequence of int or None
        Where in a block the picture begins, on all axes; None at its first sample.

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
    start = sum(at * gap for at, gap in zip(inside, apart, strict=True)) if inside else 0
    return ChunkCodec(filters, tuple(reversed(limits)), stored, shape, strides, step, start)


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
