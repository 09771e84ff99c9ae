"""Where the restart intervals of a JPEG lie: found by scanning, or read from the notes in our own copies.

At a restart marker coding begins anew: at a whole byte, and without memory of what came before. So what lies
between two markers is a block that can be decoded without the others.
"""

from __future__ import annotations

import bisect
import math
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from subregion.errors import DamagedFileError, decoding_error

if TYPE_CHECKING:
    from subregion.codecs.jpegstream import JpegStream
    from subregion.io.source import SourceFile

#: Bytes of a file that are scanned at a time.
SCAN_BYTES = 4 << 20
#: Decoded bytes of a row of blocks, beyond which the index is of no use.
MAX_ROW_BYTES = 64 << 20

#: That of Adler-32, whose lower half is one more than the sum of all bytes.
MODULUS = 65521

#: The index of a copy is read at once if it has no more bytes than this.
_READ_NBYTES = 1 << 20
_NOTE = struct.Struct("<10sBBIIQI")
_NOTE_MAGIC = b"subregion\0"
_NOTE_VERSION = 1
#: Bytes of our segment in a copy, marker and length included.
NOTE_BYTES = _NOTE.size + 4


@dataclass(frozen=True, slots=True)
class IntervalGrid:
    """How the intervals of a stream lie on its image.

    They line up in columns if an interval divides the units of a row. Otherwise they begin at the left
    border only every few rows of units, and what lies between is a block as wide as the image.

    Parameters
    ----------
    rows : int
        Rows of blocks.
    across : int
        Intervals in a row of blocks.
    total : int
        Intervals in the image; the last row may have fewer.
    block : tuple of int
        Rows and columns of pixels in a block.
    """

    rows: int
    across: int
    total: int
    block: tuple[int, int]


def grid_of(stream: JpegStream) -> IntervalGrid | None:
    """Lay the intervals of a stream on its image; None if it has none, or too long ones to be of use."""
    frame = stream.frame
    unit_rows, unit_cols = frame.units
    high, wide = frame.unit
    interval = stream.restart
    if interval == 0:
        return None
    total = -(-unit_rows * unit_cols // interval)
    if unit_cols % interval == 0:
        return IntervalGrid(unit_rows, unit_cols // interval, total, (high, interval * wide))
    together = min(interval // math.gcd(interval, unit_cols), unit_rows)
    if together * high * frame.width * len(frame.sampling) > MAX_ROW_BYTES:
        return None
    across = total if together == unit_rows else together * unit_cols // interval
    return IntervalGrid(-(-unit_rows // together), across, total, (together * high, frame.width))


@dataclass(frozen=True, slots=True, eq=False)
class IntervalIndex:
    """Where each interval of a grid lies in its file.

    Parameters
    ----------
    grid : IntervalGrid
        The grid.
    starts : ndarray of int64, shape (rows,)
        Offset in the file of each row of blocks.
    edges : ndarray of unsigned int, shape (rows, across + 1)
        Where its intervals begin, counted from there. Each ends, its marker included, where the next begins.
    sums : ndarray of uint16, shape (rows, across + 1), or None
        All bytes of the coded pixels before each edge, added up, modulo `MODULUS`. So two of them tell the
        sum of what lies between, and any changed byte is noticed.
    at : int
        Where all this lies in a copy of ours; 0 if it was found by scanning.
    mapped : bool
        Whether the arrays are views of the mapped file.
    """

    grid: IntervalGrid
    starts: NDArray[np.int64]
    edges: NDArray[np.unsignedinteger[Any]]
    sums: NDArray[np.uint16] | None
    at: int = 0
    mapped: bool = False

    @property
    def nbytes(self) -> int:
        """Bytes of its arrays."""
        return self.starts.nbytes + self.edges.nbytes + (0 if self.sums is None else self.sums.nbytes)

    def to_bytes(self) -> bytes:
        """Return what `find_index` reads of a copy, without the note."""
        edges = self.edges.astype(self.edges.dtype.newbyteorder("<"))
        sums = b"" if self.sums is None else self.sums.astype("<u2").tobytes()
        return b"".join((self.starts.astype("<i8").tobytes(), edges.tobytes(), sums))

    def note(self, stream: JpegStream, at: int) -> bytes:
        """Return the segment that leads to the index, which lies at offset `at` to the end of the file."""
        content = _NOTE.pack(
            _NOTE_MAGIC,
            _NOTE_VERSION,
            self.edges.itemsize,
            self.grid.rows,
            self.grid.across,
            at,
            zlib.crc32(stream.head),
        )
        return b"\xff\xef" + struct.pack(">H", len(content) + 2) + content


class IntervalScan:
    """Finds the markers in coded pixels that pass by piece after piece.

    Parameters
    ----------
    start : int
        Offset in the file of the first piece.
    with_sums : bool
        Whether to add up all bytes before each marker.

    Attributes
    ----------
    stop : int or None
        The offset after the end-of-image marker, once it was seen.
    broken : bool
        Whether anything else was found than restart markers.
    ordered : bool
        Whether the restart markers that were found count from 0 to 7, again and again.
    """

    def __init__(self, start: int, with_sums: bool = False) -> None:
        self.stop: int | None = None
        self.broken = False
        self.ordered = True
        self._start = self._at = start
        self._pending = b""
        self._count = 0
        self._counts: list[int] = []
        self._edges: list[NDArray[np.int64]] = []
        self._sums: list[NDArray[np.int64]] | None = [] if with_sums else None
        self._sum = 0

    @property
    def done(self) -> bool:
        """Whether further pieces would not be looked at."""
        return self.broken or self.stop is not None

    def feed(self, piece: bytes | memoryview) -> None:
        """Look at the bytes that follow those of the last call."""
        if self.done or not len(piece):
            return
        data = np.frombuffer(self._pending + piece if self._pending else piece, np.uint8)
        at = self._at - len(self._pending)
        self._at += len(piece)
        # The byte after FF decides, so a last FF waits for the next piece.
        found = np.flatnonzero(data == 0xFF)
        held = len(found) and found[-1] == len(data) - 1
        if held:
            found = found[:-1]
        codes = data[found + 1]
        marks = np.flatnonzero((codes != 0) & (codes != 0xFF))
        found, codes = found[marks], codes[marks]
        restarts = (codes & 0xF8) == 0xD0
        count = len(codes)
        if not restarts.all():
            count = int(np.argmin(restarts))
            self.broken = codes[count] != 0xD9
            self.stop = at + int(found[count]) + 2
        numbers = (codes[:count] & 7).astype(np.int64)
        if (numbers != (np.arange(count) + self._count) % 8).any():
            self.ordered = False
        self._count += count
        ends = found[: count + (self.stop is not None)] + 2
        self._edges.append(ends + at)
        self._counts.append(len(ends) + (self._counts[-1] if self._counts else 0))
        used = len(data) - 1 if held else len(data)
        if self._sums is not None and used:
            self._sums.append(self._sums_before(data[:used], ends))
        self._pending = data[used:].tobytes()

    def _sums_before(self, data: NDArray[np.uint8], ends: NDArray[np.int64]) -> NDArray[np.int64]:
        """Add up all bytes before each of these ends, and keep the sum of all."""
        places = np.concatenate([[0], ends])
        # A sum of nothing is not asked for: `reduceat` would take the byte that is there instead.
        whole = places[:-1] if places[-1] == len(data) else places
        sums = np.add.reduceat(data, whole, dtype=np.uint64 if len(data) >= 1 << 24 else np.uint32)
        running = np.cumsum(sums, dtype=np.int64)
        running += self._sum
        self._sum = int(running[-1]) % MODULUS
        return running[: len(ends)] % MODULUS

    def edge(self, number: int) -> int | None:
        """Return the offset at which the interval of this number begins; None if that was not seen yet."""
        if number == 0:
            return self._start
        piece = bisect.bisect_left(self._counts, number)
        if piece == len(self._counts):
            return None
        return int(self._edges[piece][number - self._counts[piece] - 1])

    def index(self, grid: IntervalGrid) -> IntervalIndex | None:
        """Return the index of what was seen; None if that was not one scan up to its end.

        Raises
        ------
        ValueError
            If markers are missing or not in order.
        """
        if self.broken or self.stop is None:
            return None
        if not self.ordered or self._count != grid.total - 1:
            raise ValueError("restart markers are missing or not in order")
        edges = np.concatenate([[self._start], *self._edges])
        numbers = np.arange(grid.rows)[:, None] * grid.across + np.arange(grid.across + 1)
        np.minimum(numbers, grid.total, out=numbers)
        starts = edges[numbers[:, 0]]
        table = edges[numbers] - starts[:, None]
        longest = int(table[:, -1].max())
        small = next(kind for kind in (np.uint16, np.uint32, np.uint64) if longest <= np.iinfo(kind).max)
        sums = None
        if self._sums is not None:
            sums = np.concatenate([[0], *self._sums])[numbers].astype(np.uint16)
        return IntervalIndex(grid, starts, table.astype(small), sums)


def find_index(file: SourceFile, stream: JpegStream) -> IntervalIndex | None:
    """Return the index of a JPEG: from the notes in our own copies, or by scanning it.

    Returns
    -------
    IntervalIndex or None
        None if the file has no restart intervals, too long ones, several scans, or no end.

    Raises
    ------
    DamagedFileError
        If restart markers are missing or not in order, so that decoders would make up pixels, or if it is a
        copy of ours whose head was changed.
    """
    grid = grid_of(stream)
    if grid is None:
        return None
    for note in stream.notes:
        if len(note) == _NOTE.size and note.startswith(_NOTE_MAGIC):
            index = _read_index(file, stream, grid, note)
            if index is not None:
                return index
    scan = IntervalScan(stream.data)
    for offset in range(stream.data, file.size, SCAN_BYTES):
        scan.feed(file.read(offset, min(SCAN_BYTES, file.size - offset)))
        if scan.done:
            break
    try:
        return scan.index(grid)
    except ValueError as error:
        raise decoding_error(f"{file.path}: cannot be decoded as JPEG", error) from error


def _read_index(
    file: SourceFile, stream: JpegStream, grid: IntervalGrid, note: bytes
) -> IntervalIndex | None:
    """Read the index that a note leads to; None if the note belongs to another file than it is in."""
    _, version, width, rows, across, at, checksum = _NOTE.unpack(note)
    if version != _NOTE_VERSION or width not in (2, 4) or (rows, across) != (grid.rows, grid.across):
        return None
    count = rows * (across + 1)
    if at % 8 or at + 8 * rows + (width + 2) * count != file.size:
        return None
    if checksum != zlib.crc32(stream.head):
        raise DamagedFileError(f"{file.path}: the head of this copy is not as it was written.")
    # Views of the mapped file, if it is large: only the rows that windows need are ever read.
    size = file.size - at
    mapped = size > _READ_NBYTES
    data = file.map_ranges([at], [size])[0] if mapped else file.read(at, size)
    shape = rows, across + 1
    return IntervalIndex(
        grid,
        np.frombuffer(data, "<i8", rows),
        np.frombuffer(data, f"<u{width}", count, 8 * rows).reshape(shape),
        np.frombuffer(data, "<u2", count, 8 * rows + width * count).reshape(shape),
        at,
        mapped,
    )
