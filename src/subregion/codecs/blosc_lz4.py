"""Blosc frames of several parts, of which only those are decoded that hold the wanted rows.

A frame is a header, the place of each part, and the parts, each compressed on its own. Any Blosc can read
them all; the common bindings can read no single one.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import TypeAlias

from subregion.libraries import imagecodecs, lz4_block

#: Two versions, flags, bytes of a sample; bytes decoded, of a part, and of the frame.
_HEADER = struct.Struct("<BBBBIII")
_LZ4 = 0x20
_NO_SPLIT = 0x10
#: A frame, and the first and last of the decoded bytes that are wanted of it.
Range: TypeAlias = "tuple[bytes | memoryview, int, int]"
#: How many bytes a part has stored: it stands in front of it.
_LENGTH = struct.Struct("<I")


def encode_parts(data: bytes | bytearray | memoryview, part: int, level: int) -> bytes:
    """Compress bytes by LZ4 at high effort, in parts.

    Parameters
    ----------
    data : bytes
        What to compress.
    part : int
        How many bytes each part has, at most.
    level : int
        Effort of LZ4, 1 to 12.
    """
    data = memoryview(data)
    part = min(part, len(data))  # Blosc refuses more
    count = -(-len(data) // part)
    starts, stored = [], []
    at = _HEADER.size + 4 * count
    for first in range(0, len(data), part):
        plain = data[first : first + part]
        coded = lz4_block.compress(plain, mode="high_compression", compression=level, store_size=False)
        if len(coded) >= len(plain):
            coded = plain  # which is told by its length
        starts.append(at)
        stored += [_LENGTH.pack(len(coded)), coded]
        at += _LENGTH.size + len(coded)
    header = _HEADER.pack(2, 1, _LZ4 | _NO_SPLIT, 1, len(data), part, at)
    return b"".join([header, struct.pack(f"<{count}I", *starts), *stored])


def decode(data: bytes | memoryview, nbytes: int, out: memoryview) -> None:
    """Decode a whole frame into a buffer.

    Raises
    ------
    ValueError
        If the frame does not hold so many bytes, or was cut.
    """
    _parts(data, nbytes)
    imagecodecs.blosc_decode(data, numthreads=1, out=out)  # type: ignore[arg-type]  # takes any buffer


def decode_range(data: bytes | memoryview, nbytes: int, out: memoryview, start: int, stop: int) -> None:
    """Decode those parts of a frame that hold the bytes from `start` to `stop`, into the place of all.

    Frames of other kinds are decoded whole.

    Raises
    ------
    ValueError
        If the frame does not hold so many bytes, or was cut. Other exceptions tell of damage further in.
    """
    part = _parts(data, nbytes)
    if not part:
        imagecodecs.blosc_decode(data, numthreads=1, out=out)  # type: ignore[arg-type]  # takes any buffer
        return
    first, last = start // part, -(-stop // part)
    at = first * part
    for begin in struct.unpack_from(f"<{last - first}I", data, _HEADER.size + 4 * first):
        size = min(part, nbytes - at)
        begin += 4
        coded = data[begin : begin + _LENGTH.unpack_from(data, begin - 4)[0]]
        out[at : at + size] = coded if len(coded) == size else lz4_block.decompress(coded, size)
        at += part


def decode_ranges(frames: Sequence[Range], nbytes: int, out: memoryview) -> list[int] | None:
    """Decode ranges of several frames in one call, so that threads seldom wait for each other.

    Parameters
    ----------
    frames : sequence of (bytes, int, int)
        Frames of one kind, and the first and last byte wanted of each.
    nbytes : int
        What each holds, decoded.
    out : memoryview
        Where they go, one behind the other; one more frame must fit in than there are.

    Returns
    -------
    list of int or None
        For each frame, where in the buffer its first byte is, or would be. None if the frames are not of the
        kind that `encode_parts` makes of parts of one size: nothing was decoded then.

    Raises
    ------
    ValueError, RuntimeError
        If one of them is damaged.
    """
    part = _parts(frames[0][0], nbytes)
    if not part or nbytes % part:
        return None
    starts: list[int] = []
    places: list[int] = []
    at = 0
    for data, start, stop in frames:
        if _parts(data, nbytes) != part:
            return None
        first, last = start // part, -(-stop // part)
        # The ranges lie one behind the other; what is in front of a range in its frame is never looked at.
        places.append(nbytes + (len(starts) - first) * part)
        starts += [
            at + here for here in struct.unpack_from(f"<{last - first}I", data, _HEADER.size + 4 * first)
        ]
        at += len(data)
    front = _HEADER.size + 4 * len(starts)
    header = _HEADER.pack(2, 1, _LZ4 | _NO_SPLIT, 1, len(starts) * part, part, front + at)
    table = struct.pack(f"<{len(starts)}I", *[front + here for here in starts])
    joined = b"".join([header, table, *[data for data, _, _ in frames]])
    into = out[nbytes : nbytes + len(starts) * part]
    imagecodecs.blosc_decode(joined, numthreads=1, out=into)
    return places


def check_frame(data: bytes | memoryview, limit: int) -> int:
    """Return how many bytes a frame holds.

    Blosc believes the header: it would read beyond a frame that was cut.

    Raises
    ------
    ValueError
        If that is more than the limit, or the frame was cut.
    """
    *_, whole, _, stored = _HEADER.unpack_from(data)
    if whole > limit or stored != len(data):
        raise _bad_frame(whole, stored, len(data))
    return int(whole)


def _parts(data: bytes | memoryview, nbytes: int) -> int:
    """Return the bytes of a part in a frame that holds exactly so many; 0 if it is not of our kind."""
    _, _, flags, samples, whole, part, stored = _HEADER.unpack_from(data)
    if whole != nbytes or stored != len(data):
        raise _bad_frame(whole, stored, len(data))
    return int(part) if (flags, samples) == (_LZ4 | _NO_SPLIT, 1) else 0


def _bad_frame(nbytes: int, stored: int, there: int) -> ValueError:
    return ValueError(f"a Blosc frame of {there} bytes announces {stored}, and {nbytes} decoded")
