"""JPEG files with restart intervals, read by window.

A window is one small JPEG: the head of the file with another size, and the intervals that cover the window
with their markers numbered anew. An ordinary decoder makes of it, bit for bit, what it makes of the whole.
"""

from __future__ import annotations

import functools
import operator
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from subregion.errors import DamagedFileError, decoding_error
from subregion.forks import computed_once
from subregion.geometry.window import Window
from subregion.libraries import simplejpeg
from subregion.raster import limits
from subregion.raster.jpegindex import MODULUS, IntervalIndex, find_index
from subregion.raster.jpegstream import JpegFrame, JpegStream, read_stream
from subregion.raster.raster import Raster, read_in_order
from subregion.raster.scratch import KEPT, scratch
from subregion.raster.vips import VipsRaster, decode_jpeg
from subregion.raster.whole import copy_selected

if TYPE_CHECKING:
    from subregion.raster.source import SourceFile

#: About how many decoded bytes one small JPEG may have; larger windows are read in several.
PIECE_BYTES = 16 << 20
#: For so few decoded bytes fresh memory is at hand.
_SMALL = 64 << 10
#: Below this edge decoders cannot tell one reduced size from the next.
_MIN_REDUCED_EDGE = 64

#: To decode some intervals in a row takes less time than to begin anew.
_FAR = 8

#: Samplings that TurboJPEG knows: 4:4:4, 4:2:2, 4:2:0, 4:4:0, 4:1:1, and grey.
_TURBO = {((luma), (1, 1), (1, 1)) for luma in ((1, 1), (2, 1), (2, 2), (1, 2), (4, 1))} | {((1, 1),)}

#: Up to so many intervals a loop is faster than arrays.
_FEW = 140

#: A small JPEG, its rows and columns, by what it is reduced, and whether warnings are errors, to pixels.
Decoder = Callable[[Any, int, int, int, bool], NDArray[np.uint8]]


def open_jpeg(file: SourceFile) -> JpegRaster | None:
    """Open a JPEG that has usable restart intervals; None if it has none.

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
    return None if index is None else JpegRaster(file, stream, index)


def reduced_shapes(frame: JpegFrame) -> dict[int, tuple[int, int]]:
    """Return by what decoders reduce an image while they decode it, 1 first, and its size then."""
    reducible = frame.sampling in _TURBO and max(frame.height, frame.width) >= _MIN_REDUCED_EDGE
    steps = (1, 2, 4, 8) if reducible else (1,)
    return {by: (-(-frame.height // by), -(-frame.width // by)) for by in steps}


class JpegRaster(Raster):
    """A sequential JPEG whose restart intervals are known.

    The reduced sizes that decoders make while they decode (a half, a quarter, an eighth) are its levels.

    Parameters
    ----------
    file : SourceFile
        The open file.
    stream : JpegStream
        Its head.
    index : IntervalIndex
        Where its intervals lie.

    Attributes
    ----------
    stream : JpegStream
        Its head.
    """

    driver = "JPEG"
    windowed = True
    independent = True

    def __init__(self, file: SourceFile, stream: JpegStream, index: IntervalIndex) -> None:
        self.file = file
        self.path = file.path
        self.dtype = np.dtype(np.uint8)
        self.block = index.grid.block
        frame = stream.frame
        self.layout = f"restart intervals of {stream.restart} units of {frame.unit[0]} x {frame.unit[1]}"
        count = len(frame.sampling)
        self.shape = (frame.height, frame.width, 1 if count == 1 else 3)
        self.stream = stream
        self._index = index
        file.steady = self.is_copy
        self._reach = frame.reach
        self._single = stream.restart == 1 and index.grid.across > 1
        turbo = frame.sampling in _TURBO
        self._decode: Decoder = turbo_decoder(count) if turbo else _vips_decoder
        self._levels = tuple(reduced_shapes(frame).values())

    @property
    def level_shapes(self) -> tuple[tuple[int, int], ...]:
        """Rows and columns of each resolution, the full one first."""
        return self._levels

    def read_into(
        self,
        window: Window,
        out: NDArray[Any],
        bands: Sequence[int] | None = None,
        steps: tuple[int, int] = (1, 1),
        level: int = 0,
    ) -> None:
        """Read a window that lies inside the level; see `TileIndex.read_into`."""
        if out.size == 0:
            return
        high, wide = self.block
        if level == 0 and (steps[0] > high or steps[1] > _FAR * wide):
            rows_apart = _apart(window.row, window.row_stop, steps[0], high)
            cols_apart = _apart(window.col, window.col_stop, steps[1], _FAR * wide)
            for row, height, down, there in rows_apart:
                for col, width, across, beside in cols_apart:
                    part = Window(row, col, height, width)
                    self.read_into(part, out[there, beside], bands, (down, across))
            return
        row_bytes = (window.width + self.block[1]) * self.shape[2] << level
        rows = max(1, PIECE_BYTES // row_bytes) if row_bytes else 1
        if window.height <= rows:
            pixels = self._pixels(window.row, window.col, window.height, window.width, level)
            copy_selected(pixels, out, bands, steps)
            return
        rows = -(-rows // steps[0]) * steps[0]
        for done in range(0, window.height, rows):
            count = min(rows, window.height - done)
            pixels = self._pixels(window.row + done, window.col, count, window.width, level)
            first = done // steps[0]
            copy_selected(pixels, out[first : first - (-count // steps[0])], bands, steps)

    def read(
        self,
        window: Window,
        bands: Sequence[int] | None = None,
        steps: tuple[int, int] = (1, 1),
        level: int = 0,
    ) -> NDArray[Any]:
        """Read a window that lies inside the image into a new array; see `read_into`."""
        height, width = window.height, window.width
        if (
            bands is None
            and steps == (1, 1)
            and height
            and width
            and (height * (width + self.block[1]) * self.shape[2] << level) <= PIECE_BYTES
        ):
            return self._pixels(window.row, window.col, height, width, level).copy()
        return super().read(window, bands, steps, level)

    def strips(self, rows: int) -> Iterator[NDArray[Any]]:
        """Yield the whole image from top to bottom in multiples of its block rows near `rows`."""
        high = self.block[0]
        return read_in_order(self.file, super().strips(max(1, round(rows / high)) * high))

    def blocks_of(
        self, window: Window, bands: Sequence[int] | None, steps: tuple[int, int], level: int
    ) -> list[tuple[int, int, int]]:
        """Tell which rows of intervals a read needs: number, offset and bytes."""
        rows, cols = self.shape[:2]
        by = 1 << level
        full = (
            window
            if level == 0
            else Window(window.row * by, window.col * by, window.height * by, window.width * by)
        )
        inside = full.intersection(Window(0, 0, rows, cols))
        return [(number, offset, nbytes) for number, (offset, nbytes) in enumerate(self.spans(inside))]

    def spans(self, window: Window) -> Iterator[tuple[int, int]]:
        """List offset and bytes of the intervals that a window of the full resolution needs."""
        index, (high, wide), (rows, cols) = self._index, self.block, self._reach
        top = max(window.row - rows, 0) // high
        bottom = -(-min(window.row_stop + rows, self.shape[0]) // high)
        left = max(window.col - cols, 0) // wide
        right = -(-min(window.col_stop + cols, self.shape[1]) // wide)
        for line in range(top, bottom):
            for col in range(left, right) if wide < self.shape[1] else range(index.grid.across):
                start, stop = (int(edge) for edge in index.edges[line, col : col + 2])
                yield int(index.starts[line]) + start, stop - start

    def _pixels(self, row: int, col: int, height: int, width: int, level: int) -> NDArray[np.uint8]:
        """Decode what covers a window and return a view of the window in it."""
        grid = self._index.grid
        high, wide = grid.block
        by = 1 << level
        reach_rows, reach_cols = self._reach[0] * by, self._reach[1] * by
        top = max(row * by - reach_rows, 0) // high
        bottom = min(-(-((row + height) * by + reach_rows) // high), grid.rows)
        if wide >= self.shape[1]:
            left, right, first, last = 0, grid.across, 0, grid.across
        else:
            left = max(col * by - reach_cols, 0) // wide
            right = min(-(-((col + width) * by + reach_cols) // wide), grid.across)
            if self._single and right - left == 1 and (by > 1 or reach_cols):
                # At the right border it may be a column or two, too few to be smoothed, or to tell a reduced
                # size from the next.
                left, right = (left - 1, right) if left else (left, right + 1)
            first, last = left, right
        cols = min(right * wide, self.shape[1]) - left * wide if wide < self.shape[1] else self.shape[1]
        if by > 1 and cols < 8 and bottom - top == 1:
            top, bottom = (top - 1, bottom) if top else (top, min(bottom + 1, grid.rows))
        rows = min(bottom * high, self.shape[0]) - top * high
        pixels = self._decoded(top, bottom, first, last, rows, cols, by)
        row -= top * high // by
        if wide < self.shape[1]:
            col -= left * wide // by
        return pixels[row : row + height, col : col + width]

    def _decoded(
        self, top: int, bottom: int, first: int, last: int, rows: int, cols: int, by: int
    ) -> NDArray[np.uint8]:
        """Decode a rectangle of intervals."""
        joined = self._joined(top, bottom, first, last, rows, cols)
        try:
            return self._decode(joined, rows, cols, by, True)
        except (ValueError, IndexError) as error:
            if self.is_copy:
                raise decoding_error(
                    f"{self.path}: the intervals at row {top * self.block[0]} cannot be decoded", error
                ) from error
            if self._damage is not None:
                raise DamagedFileError(self._damage) from error
            return self._decode(joined, rows, cols, by, False)

    @property
    def is_copy(self) -> bool:
        """Whether it was written here, so that changed bytes are noticed."""
        return self._index.sums is not None

    @property
    def head_and_index(self) -> tuple[tuple[int, int], ...]:
        """Where the bytes of a copy begin and end that tell where its intervals are."""
        return (0, self.stream.data), (self._index.at, self.file.size)

    @computed_once
    def _damage(self) -> str | None:
        """Tell what is wrong with the file; None if decoders complain of bytes that belong to nothing."""
        try:
            for _ in VipsRaster(self.file, self.driver, "jpegload", shrink=8).strips(256):
                pass
        except DamagedFileError as error:
            return str(error)
        return None

    def _joined(self, top: int, bottom: int, first: int, last: int, rows: int, cols: int) -> bytearray:
        """Join a rectangle of intervals into a JPEG of its own."""
        index = self._index
        # The index of a copy is mapped, too, so the look at its size comes before the first touch.
        data = self.file.view()
        head = self.stream.head_of(rows, cols)
        edges = index.edges[top:bottom, first : last + 1]
        starts = index.starts[top:bottom]
        begins, ends = (starts + edges[:, 0]).tolist(), (starts + edges[:, -1]).tolist()
        backwards = any(map(operator.gt, begins, ends))
        if backwards or min(begins) < self.stream.data or sum(ends) - sum(begins) > self.file.size:
            raise self._bad_index()
        cold = len(begins) > 1 and self.file.is_cold(begins[0])
        if cold:
            for begin, end in zip(begins, ends, strict=True):
                self.file.announce(begin, end - begin)
        parts: list[bytes | memoryview] = [head]
        spans = zip(begins, ends, strict=True)
        if cold or data is None:
            parts += [self.file.read(begin, end - begin) for begin, end in spans]
        else:
            parts += [data[begin:end] for begin, end in spans]
        joined = bytearray().join(parts)
        if index.sums is not None:
            # The lower half of Adler-32 adds bytes up, faster than anything else that can be had in one call.
            before = index.sums[top:bottom, first : last + 1 : last - first].tolist()
            expected = sum([after - ahead for ahead, after in before])
            found = zlib.adler32(memoryview(joined)[len(head) :]) & 0xFFFF
            if (found - 1 - expected) % MODULUS:
                raise DamagedFileError(
                    f"{self.path}: pixels of this copy are not as they were written. Make it again."
                )
        try:
            _number_anew(joined, len(head), edges)
        except (ValueError, IndexError) as error:
            raise self._bad_index() from error
        return joined

    def _bad_index(self) -> DamagedFileError:
        return DamagedFileError(
            f"{self.path}: the index of this copy is not as it was written. Make it again."
        )


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


@functools.cache
def turbo_decoder(components: int) -> Decoder:
    """Decode by TurboJPEG, whose warnings are errors here: behind most are pixels that it made up."""
    decode = simplejpeg.decode_jpeg
    color = "GRAY" if components == 1 else "RGB"

    def turbo(data: Any, rows: int, cols: int, by: int, strict: bool) -> NDArray[np.uint8]:
        if by > 1:
            rows, cols = -(-rows // by), -(-cols // by)
        nbytes = rows * cols * components
        out = scratch(nbytes) if _SMALL < nbytes <= KEPT else None
        if by == 1:
            pixels: NDArray[np.uint8] = decode(data, color, False, False, 0, 0, 1.0, out, strict)
            return pixels
        reduced: NDArray[np.uint8] = decode(data, color, False, False, rows, cols, 1.0, out, strict)
        return reduced

    return turbo


def _vips_decoder(data: Any, rows: int, cols: int, by: int, strict: bool) -> NDArray[np.uint8]:
    """Decode by libvips, as strictly: other samplings, and inks, which are made RGB as for whole files."""
    return decode_jpeg(data, "warning" if strict else "error")
