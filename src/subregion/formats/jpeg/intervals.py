"""JPEG files with restart intervals, read by window.

A window is one small JPEG: the head of the file with another size, and the intervals that cover the window
with their markers numbered anew. An ordinary decoder makes of it, bit for bit, what it makes of the whole.
"""

from __future__ import annotations

import operator
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from subregion.blocks.level import SHARES, Block, BlockPlan, Copy, Level, WindowRead, whole_copy
from subregion.blocks.union import unite
from subregion.codecs.jpegstream import JpegStream, read_stream
from subregion.codecs.turbo import jpeg_decoder, reduced_shapes
from subregion.errors import DamagedFileError
from subregion.formats.jpeg.index import MODULUS, IntervalIndex, find_index
from subregion.formats.raster import Raster
from subregion.formats.vips import Loader, top_down_level
from subregion.geometry.window import Window
from subregion.io import limits

if TYPE_CHECKING:
    from subregion.codecs.codec import Decoder
    from subregion.io.source import ByteSource, SourceFile

#: About how many bytes the objects take that a level is made of, beside its arrays.
_STREAM_NBYTES = 3000
#: About how many decoded bytes one small JPEG may have; larger windows are read in several.
PIECE_BYTES = 16 << 20
#: To decode some intervals in a row takes less time than to begin anew.
_FAR = 8
#: Up to so many intervals a loop is faster than arrays.
_FEW = 140
#: Pixels of windows that are decoded together, at most.
_UNION_PIXELS = 1 << 20
#: Rows of intervals that are decoded together, at least, where windows are divided among threads: one above
#: and one below of them are decoded, too.
_LEAST_ROWS = 8


def open_intervals(file: SourceFile) -> Raster | None:
    """Open a JPEG that has usable restart intervals; None if it has none.

    The reduced sizes that decoders make while they decode (a half, a quarter, an eighth) are its levels.

    Raises
    ------
    DamagedFileError
        If it is a copy of ours that was changed.
    TooLargeError
        If it declares absurd sizes.
    """
    stream = read_stream(file)
    if stream is None or not stream.restart:
        return None
    frame = stream.frame
    limits.check_pixels(file.path, frame.height, frame.width, len(frame.sampling))
    limits.check_bomb(file.path, file.size, frame.height * frame.width * len(frame.sampling))
    index = find_index(file, stream)
    if index is None:
        return None
    full = IntervalLevel(file, stream, index)
    layout = f"restart intervals of {stream.restart} units of {frame.unit[0]} x {frame.unit[1]}"
    file.expect_windows()

    return Raster(file.path, "JPEG", layout, full, _smaller, index_nbytes=_STREAM_NBYTES + len(stream.head))


def _smaller(full: Level) -> list[IntervalLevel]:
    """Return the reduced sizes of a JPEG."""
    assert isinstance(full, IntervalLevel)  # noqa: S101 - for mypy
    return [replace(full, by=by) for by in reduced_shapes(full.stream.frame) if by > 1]


class Rectangle(NamedTuple):
    """Intervals that are decoded together: one block, of several ranges of bytes.

    Parameters
    ----------
    top, bottom : int
        Rows of the grid.
    first, last : int
        Intervals in each of them.
    begins, ends : tuple of int
        Where they lie in the file, for each row.
    """

    top: int
    bottom: int
    first: int
    last: int
    begins: tuple[int, ...]
    ends: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class IntervalLevel(Level):
    """A sequential JPEG whose restart intervals are known, or one of its reduced sizes.

    Parameters
    ----------
    file : SourceFile
        The open file.
    stream : JpegStream
        Its head.
    index : IntervalIndex
        Where its intervals lie.
    by : int
        By what it is reduced: 1, 2, 4 or 8.
    """

    file: SourceFile
    stream: JpegStream
    index: IntervalIndex
    by: int = 1

    @property
    def shape(self) -> tuple[int, int, int]:  # type: ignore[override]
        """Rows, columns and bands."""
        frame = self.stream.frame
        rows, cols = -(-frame.height // self.by), -(-frame.width // self.by)
        return rows, cols, 1 if len(frame.sampling) == 1 else 3

    @property
    def dtype(self) -> np.dtype[np.generic]:  # type: ignore[override]
        """Type of the bands."""
        return np.dtype(np.uint8)

    @property
    def block(self) -> tuple[int, int]:  # type: ignore[override]
        """Rows and columns of an interval, or of several that go from border to border."""
        high, wide = self.index.grid.block
        return -(-high // self.by), -(-wide // self.by)

    @property
    def block_nbytes(self) -> int:
        """How many bytes some intervals that are decoded together have, at most."""
        return PIECE_BYTES

    @property
    def index_nbytes(self) -> int:
        """About how many bytes of memory it takes; its reduced sizes share them."""
        return self.index.nbytes if self.by == 1 else 0

    def on(self, file: ByteSource) -> Level | None:
        """Return the same of the file that was opened again, or closed; see `Level.on`."""
        return None if self.index.mapped else replace(self, file=cast("SourceFile", file))

    @property
    def is_copy(self) -> bool:
        """Whether it was written here, so that changed bytes are noticed."""
        return self.index.sums is not None

    @property
    def head_and_index(self) -> tuple[tuple[int, int], ...]:
        """Where the bytes of a copy begin and end that tell where its intervals are."""
        return (0, self.stream.data), (self.index.at, self.file.size)

    def plan(self, reads: Sequence[WindowRead], threads: int = 1) -> BlockPlan:
        """Plan which intervals are decoded together; windows that overlap share them. See `Level.plan`."""
        self.file.check_size()  # the index of a copy is mapped
        reads = [part for read in reads for part in self._near(read)]
        blocks: list[Block] = []
        copies: list[list[Copy]] = []
        if len(reads) == 1:
            block, top, left = self._rectangle(reads[0].window)
            return BlockPlan([block], [[whole_copy(reads[0], top, left)]])
        groups = unite([read.window for read in reads], _UNION_PIXELS)
        bands = -(-SHARES * threads // len(groups)) if threads > 1 else 1
        for union, members in groups:
            for window in self._divided(union, bands):
                block, top, left = self._rectangle(window)
                blocks.append(block)
                parts = [_within(reads[member], window) for member in members]
                copies.append([whole_copy(part, top, left) for part in parts if part is not None])
        return BlockPlan(blocks, copies)

    def _divided(self, window: Window, count: int) -> list[Window]:
        """Divide a window into so many bands at most, where that adds little to what has to be decoded."""
        high = self.block[0]
        least = _LEAST_ROWS * high
        rows = max(-(-window.height // count // high) * high, least)
        if window.height < rows + least:
            return [window]
        edges = [*range(window.row // high * high + rows, window.row_stop - least, rows), window.row_stop]
        tops = [window.row, *edges[:-1]]
        return [
            Window(top, window.col, stop - top, window.width) for top, stop in zip(tops, edges, strict=True)
        ]

    def _near(self, read: WindowRead) -> list[WindowRead]:
        """Divide a window that is too large to be decoded at once, or whose pixels lie far apart."""
        _, window, out, bands, steps = read
        high, wide = self.block
        if self.by == 1 and (steps[0] > high or steps[1] > _FAR * wide):
            return [
                WindowRead(self, Window(row, col, height, width), out[there, beside], bands, (down, across))
                for row, height, down, there in _apart(window.row, window.row_stop, steps[0], high)
                for col, width, across, beside in _apart(window.col, window.col_stop, steps[1], _FAR * wide)
            ]
        row_bytes = (window.width + wide) * self.shape[2] * self.by
        rows = max(1, PIECE_BYTES // row_bytes)
        if window.height <= rows:
            return [read]
        rows = -(-rows // steps[0]) * steps[0]
        parts = []
        for done in range(0, window.height, rows):
            count = min(rows, window.height - done)
            first = done // steps[0]
            part = out[first : first - (-count // steps[0])]
            below = Window(window.row + done, window.col, count, window.width)
            parts.append(WindowRead(self, below, part, bands, steps))
        return parts

    def _rectangle(self, window: Window) -> tuple[Block, int, int]:
        """Return the intervals that cover a window, and row and column where their pixels begin."""
        grid, frame, by = self.index.grid, self.stream.frame, self.by
        high, wide = grid.block
        reach_rows, reach_cols = frame.reach[0] * by, frame.reach[1] * by
        top = max(window.row * by - reach_rows, 0) // high
        bottom = min(-(-((window.row + window.height) * by + reach_rows) // high), grid.rows)
        if wide >= frame.width:
            left, first, last, cols = 0, 0, grid.across, frame.width
        else:
            first = max(window.col * by - reach_cols, 0) // wide
            last = min(-(-((window.col + window.width) * by + reach_cols) // wide), grid.across)
            if self.stream.restart == 1 and grid.across > 1 and last - first == 1 and (by > 1 or reach_cols):
                # At the right border it may be a column or two, too few to be smoothed, or to tell a reduced
                # size from the next.
                first, last = (first - 1, last) if first else (first, last + 1)
            left = first * wide // by
            cols = min(last * wide, frame.width) - first * wide
        if by > 1 and cols < 8 and bottom - top == 1:
            top, bottom = (top - 1, bottom) if top else (top, min(bottom + 1, grid.rows))
        edges, starts = self.index.edges[top:bottom, first : last + 1], self.index.starts[top:bottom]
        begins, ends = (starts + edges[:, 0]).tolist(), (starts + edges[:, -1]).tolist()
        nbytes = sum(ends) - sum(begins)
        if any(map(operator.ge, begins, ends)) or min(begins) < self.stream.data or nbytes > self.file.size:
            raise self._bad_index()
        rectangle = Rectangle(top, bottom, first, last, tuple(begins), tuple(ends))
        return (rectangle, begins[0], nbytes), top * high // by, left

    def ranges(self, block: Block) -> list[tuple[int, int]]:
        """Return offset and bytes of each row of intervals."""
        rectangle: Rectangle = block[0]
        return [(begin, end - begin) for begin, end in zip(rectangle.begins, rectangle.ends, strict=True)]

    def fetch(self, blocks: Sequence[Block], cold: bool) -> list[Any]:
        """Return the rows of intervals of each block."""
        data = None if cold else self.file.view()
        if data is not None:
            return [
                [data[begin:end] for begin, end in zip(block[0].begins, block[0].ends, strict=True)]
                for block in blocks
            ]
        return [self.file.read_ranges(*zip(*self.ranges(block), strict=True)) for block in blocks]

    def describe(self, block: Block) -> str:
        """Say which intervals, for messages about them."""
        row = block[0].top * self.index.grid.block[0]
        return f"the intervals at row {row} ({block[2]} bytes from offset {block[1]} on) cannot be decoded"

    def decoder(self) -> Decoder:
        """Return what joins the intervals of a rectangle into a JPEG of their own, and decodes that."""
        stream, by = self.stream, self.by
        (high, wide), frame = self.index.grid.block, stream.frame
        decode = jpeg_decoder(frame)

        def rectangle(data: list[Any], where: Rectangle, rows: slice | None) -> NDArray[Any]:
            height = min(where.bottom * high, frame.height) - where.top * high
            width = frame.width
            if wide < frame.width:
                width = min(where.last * wide, frame.width) - where.first * wide
            joined = self._joined(data, where, stream.head_of(height, width))
            try:
                return decode(joined, height, width, by, True)
            except (ValueError, IndexError) as error:
                if self.is_copy:
                    raise
                damage = _damage(self.file)
                if damage is not None:
                    raise DamagedFileError(damage) from error
                return decode(joined, height, width, by, False)

        return rectangle

    def _joined(self, data: list[Any], where: Rectangle, head: bytes) -> bytearray:
        """Join a rectangle of intervals into a JPEG of its own."""
        top, bottom, first, last = where[:4]
        joined = bytearray().join([head, *data])
        sums, edges = self.index.sums, self.index.edges[top:bottom, first : last + 1]
        if sums is not None:
            # The lower half of Adler-32 adds bytes up, faster than anything else that can be had in one call.
            before = sums[top:bottom, first : last + 1 : last - first].tolist()
            expected = sum([after - ahead for ahead, after in before])
            found = zlib.adler32(memoryview(joined)[len(head) :]) & 0xFFFF
            if (found - 1 - expected) % MODULUS:
                raise DamagedFileError(
                    f"{self.file.path}: pixels of this copy are not as they were written. Make it again."
                )
        try:
            _number_anew(joined, len(head), edges)
        except (ValueError, IndexError) as error:
            raise self._bad_index() from error
        return joined

    def _bad_index(self) -> DamagedFileError:
        return DamagedFileError(
            f"{self.file.path}: the index of this copy is not as it was written. Make it again."
        )


#: What `_damage` found out: it decodes all of a file.
_DAMAGE: WeakKeyDictionary[SourceFile, str | None] = WeakKeyDictionary()


def _damage(file: SourceFile) -> str | None:
    """Tell what is wrong with a file; None if decoders complain of bytes that belong to nothing."""
    if file not in _DAMAGE:
        _DAMAGE[file] = _complaint(file)
    return _DAMAGE[file]


def _complaint(file: SourceFile) -> str | None:
    try:
        level = top_down_level(file, Loader("jpegload", "JPEG", shrink=8))
        for _ in Raster(file.path, "JPEG", "", level).strips(256):
            pass
    except DamagedFileError as error:
        return str(error)
    return None


def _within(read: WindowRead, band: Window) -> WindowRead | None:
    """Return the part of a read that lies in a band of rows; None if nothing does."""
    window, step = read.window, read.steps[0]
    first = -(-max(0, band.row - window.row) // step)
    stop = -(-min(window.height, band.row_stop - window.row) // step)
    if first >= stop:
        return None
    row = window.row + first * step
    height = min((stop - first) * step, window.row_stop - row, band.row_stop - row)
    return read._replace(window=Window(row, window.col, height, window.width), out=read.out[first:stop])


def _apart(start: int, stop: int, step: int, near: int) -> list[tuple[int, int, int, slice]]:
    """Split an axis: where every pixel that is wanted lies far from the next, each is read by itself.

    Returns
    -------
    list of (int, int, int, slice)
        Start, length, step, and place in the output of each part.
    """
    if step <= near:
        return [(start, stop - start, step, slice(None))]
    return [(at, 1, 1, slice(k, k + 1)) for k, at in enumerate(range(start, stop, step))]


def _number_anew(joined: bytearray, start: int, edges: NDArray[Any]) -> None:
    """Let the markers of joined rows of intervals count from 0, and end them as an image ends."""
    if edges.size <= _FEW:
        at, number = start - 1, 0  # the number stands in the last byte before an edge
        for row in edges.tolist():
            at -= row[0]
            for edge in row[1:]:
                place = at + edge
                if joined[place - 1] != 0xFF or not joined[place]:
                    raise ValueError("there is no marker")
                joined[place] = 0xD0 | number & 7
                number += 1
            at += row[-1]
        joined[at] = 0xD9
        return
    lengths = edges[:, -1].astype(np.int64) - edges[:, 0]
    before = np.cumsum(lengths) - lengths + (start - 1) - edges[:, 0]
    places = (edges[:, 1:] + before[:, None]).ravel()
    content = np.frombuffer(joined, np.uint8)
    if not ((content[places - 1] == 0xFF) & (content[places] != 0)).all():
        raise ValueError("there is no marker")
    content[places] = np.arange(len(places)) & 7 | 0xD0
    content[places[-1]] = 0xD9
