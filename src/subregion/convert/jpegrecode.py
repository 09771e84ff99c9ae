"""Restart markers put into a sequential JPEG without decoding it to pixels, in bounded memory.

Bits are copied as they are. All that changes is where an interval begins: there the mean of the first block
of each component, coded as the difference from the block before, is coded as the difference from nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from subregion.codecs.jpegheader import SCAN, InMemory, segments
from subregion.convert.huffman import MARGIN, BlockFinder, BlockTables, HuffmanTable, words_of
from subregion.errors import DamagedFileError, UnsupportedFormatError

if TYPE_CHECKING:
    from subregion.codecs.jpegstream import JpegStream
    from subregion.io.source import SourceFile

#: Coded bytes that are worked on at a time; it takes some fifty times as much memory.
PIECE_BYTES = 2 << 20
#: Means of blocks have at most so many bits.
_SIZES = range(12)


@dataclass(frozen=True, slots=True)
class _Head:
    """The tables of a stream, and the head of what is written."""

    blocks: BlockTables
    component: tuple[int, ...]
    head: bytes


def recoded(file: SourceFile, stream: JpegStream, interval: int) -> Iterator[bytes]:
    """Yield the bytes of a JPEG with restart intervals and the same coefficients.

    Parameters
    ----------
    file : SourceFile
        The source.
    stream : JpegStream
        Its head; it has no restart intervals.
    interval : int
        Units in an interval.

    Raises
    ------
    DamagedFileError
        If the coded pixels end early.
    UnsupportedFormatError
        If the Huffman tables have no room for what the first blocks of intervals need.
    """
    head = _new_head(file.path, stream, interval)
    yield head.head
    units = stream.frame.units[0] * stream.frame.units[1]
    recoder = _Recoder(head, interval, units)
    at = stream.data
    pending = b""
    done = False
    while not done:
        raw = pending + file.read(at, min(PIECE_BYTES, file.size - at))
        at += len(raw) - len(pending)
        bits, used, done = _unstuffed(raw)
        # Some files end without the mark of an end, or with something else; their blocks are counted.
        done = done or used < len(raw) - 1 or at >= file.size
        pending = raw[used:]
        try:
            yield recoder.feed(bits, done)
        except _TooShortError as error:
            raise DamagedFileError(f"{file.path}: {error}") from None
    yield b"\xff\xd9"


class _TooShortError(Exception):
    """There are fewer blocks than the image has."""


def _unstuffed(raw: bytes) -> tuple[NDArray[np.uint8], int, bool]:
    """Return the bits without the zero behind each FF, how many bytes they took, and whether they end."""
    data = np.frombuffer(raw, np.uint8)
    full = np.flatnonzero(data == 0xFF)
    if len(full) and full[-1] == len(data) - 1:
        data, full = data[:-1], full[:-1]
    codes = data[full + 1]
    marks = full[codes != 0]
    used, done = len(data), False
    if len(marks):
        stop = int(marks[0])
        used = stop
        while stop + 1 < len(data) and data[stop + 1] == 0xFF:
            stop += 1
        done = stop + 1 < len(data) and data[stop + 1] == 0xD9
        full = full[full < used]
    keep = np.ones(used, bool)
    keep[full + 1] = False
    return data[:used][keep], used, done


def _new_head(path: str, stream: JpegStream, interval: int) -> _Head:
    """Parse the tables of a stream, and write the head of one with restart intervals."""
    tables: dict[int, HuffmanTable] = {}
    kept: list[bytes] = [b"\xff\xd8"]
    frame, scan = b"", b""
    for code, start, stop in segments(InMemory(stream.head)):
        segment = stream.head[start:stop]
        if code == 0xC4:
            tables |= _tables(segment[4:])
        elif code == SCAN:
            scan = segment
        elif code in (0xC0, 0xC1):
            frame = segment
        elif code != 0xDD:
            kept.append(segment)
    count = scan[4]
    written = dict(tables)
    dc: list[HuffmanTable] = []
    ac: list[HuffmanTable] = []
    component: list[int] = []
    for k in range(count):
        selector = scan[6 + 2 * k]
        if selector >> 4 not in tables or 0x10 | (selector & 15) not in tables:
            raise DamagedFileError(f"{path}: its scan names a Huffman table that is not there.")
        extended = tables[selector >> 4].with_symbols(_SIZES)
        if extended is None:
            raise UnsupportedFormatError(f"{path}: a Huffman table of it has no room for further codes.")
        written[selector >> 4] = extended
        across, down = stream.frame.sampling[k]
        dc += [extended] * (across * down)
        ac += [tables[0x10 | (selector & 15)]] * (across * down)
        component += [k] * (across * down)
    if not all(table.valid for table in written.values()):
        raise DamagedFileError(f"{path}: a Huffman table of it is not valid.")
    body = b"".join(bytes([number, *table.counts]) + table.symbols for number, table in written.items())
    kept.append(frame)
    kept.append(b"\xff\xc4" + struct.pack(">H", len(body) + 2) + body)
    kept.append(b"\xff\xdd\0\4" + struct.pack(">H", interval) + scan)
    return _Head(BlockTables(tuple(dc), tuple(ac)), tuple(component), b"".join(kept))


def tables_of(head: bytes) -> dict[int, HuffmanTable]:
    """Return the Huffman tables in the head of a JPEG by class and number, as the scan names them."""
    tables: dict[int, HuffmanTable] = {}
    for code, start, stop in segments(InMemory(head)):
        if code == 0xC4:
            tables |= _tables(head[start + 4 : stop])
    return tables


def _tables(body: bytes) -> dict[int, HuffmanTable]:
    """Parse the Huffman tables of one segment."""
    found, at = {}, 0
    while at + 17 <= len(body):
        counts = tuple(body[at + 1 : at + 17])
        found[body[at]] = HuffmanTable(counts, body[at + 17 : at + 17 + sum(counts)])
        at += 17 + sum(counts)
    return found


class _Recoder:
    """Takes bits, gives intervals; keeps what is not yet a whole interval."""

    def __init__(self, head: _Head, interval: int, units: int) -> None:
        tables = head.blocks
        self._blocks = len(tables.dc)
        # Where all blocks are coded alike, decoders cannot tell which is which; counting does.
        alike = len(set(tables.dc)) == len(set(tables.ac)) == 1
        self._finder = BlockFinder(BlockTables(tables.dc[:1], tables.ac[:1]) if alike else tables)
        self._phases = 1 if alike else self._blocks
        self._interval = interval
        self._left = units * self._blocks
        self._component = np.array(head.component)
        self._firsts = [head.component.index(k) for k in range(max(head.component) + 1)]
        dc = [tables.dc[first] for first in self._firsts]
        self._codes = [_MeanCodes(table) for table in dc]
        self._sizes = [table.lookup(dc=True) for table in dc]
        self._code_bits = [_code_bits(table) for table in dc]
        self._bits = np.empty(0, np.uint8)
        self._start = 0
        self._means = np.zeros(len(self._firsts), np.int64)
        self._count = 0

    def feed(self, bits: NDArray[np.uint8], last: bool) -> bytes:
        """Take the bytes that follow, and return the intervals that are complete."""
        data = np.concatenate([self._bits, bits, np.zeros(MARGIN if last else 0, np.uint8)])
        stop = 8 * (len(data) - MARGIN)
        if stop <= self._start and not last:
            self._bits = data
            return b""
        starts = np.flatnonzero(self._finder.find(data, self._start, 0, stop))
        if last:
            # What stands behind the last block may look like more of them: bits that fill up its last byte,
            # and bytes that belong to nothing, which decoders pass over.
            if len(starts) <= self._left or starts[self._left] > stop:
                raise _TooShortError("its coded pixels end before the image does.")
            starts = starts[: self._left + 1]
            whole = self._left
        else:
            per_interval = self._interval * self._blocks
            whole = min((len(starts) - 1) // per_interval * per_interval, self._left)
        if whole == 0:
            self._bits = data
            return b""
        written = self._intervals(data, starts[: whole + 1])
        self._left -= whole
        first = int(starts[whole]) >> 3
        self._bits, self._start = data[first:], int(starts[whole]) & 7
        return written

    def _intervals(self, data: NDArray[np.uint8], starts: NDArray[np.int64]) -> bytes:
        """Write the intervals that these blocks make; the last start is that of the block behind them."""
        blocks = len(starts) - 1
        component = np.resize(self._component, blocks)
        lengths, differences = self._first_symbols(words_of(data), starts[:-1], component)
        per_interval = self._interval * self._blocks
        heads = np.arange(0, blocks, per_interval)
        # Bits as bytes of 0 and 1: joining slices of them is what takes the least time.
        bits = np.unpackbits(data[: (int(starts[-1]) >> 3) + 1]).data
        means_of, begins = [], []
        for k, first in enumerate(self._firsts):
            mine = np.flatnonzero(component == k)
            means = np.cumsum(differences[mine]) + self._means[k]
            at = heads + first
            means_of.append(means[np.searchsorted(mine, at)])
            begins.append(starts[at] + lengths[at])
            self._means[k] = means[-1]
        ends = [starts[heads + first] for first in self._firsts[1:]]
        ends.append(starts[np.minimum(heads + per_interval, blocks)])
        return self._joined(bits, *(np.stack(each, axis=1).tolist() for each in (means_of, begins, ends)))

    def _first_symbols(
        self, words: NDArray[np.uint32], starts: NDArray[np.int64], component: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the bits of the first symbol of each block, and the difference that it stands for."""
        byte, shift = starts >> 3, (starts & 7).astype(np.uint64)
        window = words[byte].astype(np.uint64) << np.uint64(32) | words[byte + 4]
        window = window << shift
        peek = (window >> np.uint64(48)).astype(np.int64)
        lengths, code_bits = np.empty(len(starts), np.int64), np.empty(len(starts), np.int64)
        for k in range(len(self._firsts)):
            mine = component == k
            lengths[mine] = self._sizes[k][peek[mine]] & 0x1F
            code_bits[mine] = self._code_bits[k][peek[mine]]
        size = (lengths - code_bits).astype(np.uint64)
        value = ((window << code_bits.astype(np.uint64)) >> np.uint64(32)) >> (np.uint64(32) - size)
        signed = value.astype(np.int64)
        negative = (size > 0) & (value < (np.uint64(1) << np.maximum(size, np.uint64(1)) - np.uint64(1)))
        signed[negative] -= (1 << size[negative].astype(np.int64)) - 1
        return lengths, signed

    def _joined(
        self, bits: memoryview, means: list[list[int]], begins: list[list[int]], ends: list[list[int]]
    ) -> bytes:
        """Put intervals together, fill each up to a whole byte with ones, and set markers between them."""
        parts: list[bytes | memoryview] = []
        sizes: list[int] = []
        codes, padding = self._codes, [b"\1" * count for count in range(8)]
        for mean, begin, end in zip(means, begins, ends, strict=True):
            size = 0
            for k, value in enumerate(mean):
                code = codes[k][value]
                parts.append(code)
                parts.append(bits[begin[k] : end[k]])
                size += len(code) + end[k] - begin[k]
            parts.append(padding[-size % 8])
            sizes.append((size + 7) // 8)
        joined = np.packbits(np.frombuffer(b"".join(parts), np.uint8))
        # A zero behind each FF, and a marker in front of each interval but the first.
        stuffed = np.flatnonzero(joined == 0xFF) + 1
        edges = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        numbers = np.arange(self._count, self._count + len(sizes))
        if self._count == 0:
            edges, numbers = edges[1:], numbers[1:]
        self._count += len(sizes)
        marks = np.stack([np.full(len(edges), 0xFF), 0xD0 + (numbers - 1) % 8], axis=1).ravel()
        places = np.concatenate([stuffed, np.repeat(edges, 2)])
        return np.insert(
            joined, places, np.concatenate([np.zeros(len(stuffed)), marks]).astype(np.uint8)
        ).tobytes()


class _MeanCodes(dict[int, bytes]):
    """The bits, each in a byte, of the difference that begins an interval."""

    def __init__(self, table: HuffmanTable) -> None:
        super().__init__()
        self._by_size = {symbol: (code, bits) for symbol, code, bits in table.codes()}

    def __missing__(self, value: int) -> bytes:
        size = abs(value).bit_length()
        if size not in self._by_size:
            raise _TooShortError("the mean of a block is out of range.")
        code, bits = self._by_size[size]
        extra = value if value >= 0 else value + (1 << size) - 1
        text = format(code << size | extra, f"0{bits + size}b")
        found = self[value] = bytes(map(int, text))
        return found


def _code_bits(table: HuffmanTable) -> NDArray[np.int64]:
    """Return for each 16 bits how long the code in front is, without its magnitude."""
    found = np.ones(1 << 16, np.int64)
    for _, code, bits in table.codes():
        found[code << (16 - bits) : (code + 1) << (16 - bits)] = bits
    return found
