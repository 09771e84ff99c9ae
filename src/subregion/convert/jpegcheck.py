"""Whether a JPEG that is being written decodes as its source does, found out while it is written.

Both are decoded at an eighth of their size, for which every coded bit must be read. The copy is decoded
strip by strip: markers are numbered from 0 to 7, so every eight rows of units begin like a JPEG of their own.
"""

from __future__ import annotations

import hashlib
from concurrent.futures import Executor, Future
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from subregion.codecs.vips import decode_jpeg
from subregion.convert.strips import regrouped
from subregion.errors import DamagedFileError, decoding_error
from subregion.formats.raster import Raster
from subregion.formats.vips import LAYOUT, Loader, top_down_level
from subregion.geometry.window import Window
from subregion.io.source import SourceFile

if TYPE_CHECKING:
    from subregion.codecs.jpegstream import JpegFrame, JpegStream
    from subregion.formats.jpeg.index import IntervalScan

#: Rows of units in a strip: a multiple of eight.
_STRIP_UNITS = 32
#: How many rows are compared pixel by pixel.
_COMPARED_ROWS = 32


class CopyCheck:
    """Compares a JPEG with its source while it is being written.

    Parameters
    ----------
    source : str
        The JPEG that is copied.
    frame : JpegFrame
        Its frame.
    pool : concurrent.futures.Executor
        Where both are decoded.
    """

    def __init__(self, source: str, frame: JpegFrame, pool: Executor) -> None:
        self._source = source
        self._frame = frame
        self._pool = pool
        self._shrink = 1 if min(frame.height, frame.width) < 8 else 8
        self._strips = 1 if self._shrink == 1 else max(1, frame.units[0] // _STRIP_UNITS)
        self._expected = pool.submit(self._hashes, source)
        self._first_rows = pool.submit(self._decode_first_rows)
        self._found: list[Future[bytes]] = []

    def watch(self, file: SourceFile, stream: JpegStream, scan: IntervalScan) -> None:
        """Decode the strips that are whole by now; see `jpegwrite.write_indexed`."""
        frame, across = stream.frame, stream.frame.units[1]
        if frame.units != self._frame.units or not stream.restart:
            raise DamagedFileError(f"{file.path}: is not the JPEG with restart intervals that it should be.")
        if self._strips > 1 and _STRIP_UNITS * across % (8 * stream.restart):
            return  # strips do not begin where intervals do
        while len(self._found) < self._strips:
            top = len(self._found) * _STRIP_UNITS
            last = len(self._found) == self._strips - 1
            bottom = frame.units[0] if last else top + _STRIP_UNITS
            start = scan.edge(top * across // stream.restart)
            stop = scan.edge(-(-bottom * across // stream.restart))
            if start is None or stop is None:
                return
            rows = min(frame.height, bottom * frame.unit[0]) - top * frame.unit[0]
            head = stream.head_of(rows, frame.width)
            self._found.append(self._pool.submit(self._hash_of_strip, file, head, start, stop))

    def finish(self, raster: Raster) -> None:
        """Compare what was decoded.

        Parameters
        ----------
        raster : Raster
            The copy, which is written to its end.

        Raises
        ------
        DamagedFileError
            If the source is damaged, or if the copy does not decode to the same pixels.
        """
        expected, first = self._expected.result(), self._first_rows.result()
        if raster.read(Window(0, 0, *first.shape[:2])).tobytes() != first.tobytes():
            raise DamagedFileError(f"{raster.path}: its first rows are not those of {self._source}.")
        found = [each.result() for each in self._found] or self._hashes(raster.path)
        if found != expected:
            raise DamagedFileError(f"{raster.path}: does not decode to the same pixels as {self._source}.")

    def _decode_first_rows(self) -> NDArray[Any]:
        frame = self._frame
        window = Window(0, 0, min(_COMPARED_ROWS, frame.height), frame.width)
        return _from_the_top(self._source).read(window)

    def _hashes(self, path: str) -> list[bytes]:
        """Hash each strip of a file."""
        reduced = _from_the_top(path, self._shrink)
        rows = _STRIP_UNITS * self._frame.unit[0] // self._shrink if self._strips > 1 else reduced.shape[0]
        hashes = [hashlib.blake2b() for _ in range(self._strips)]
        for number, strip in enumerate(regrouped(reduced.strips(rows), rows)):
            hashes[min(number, self._strips - 1)].update(np.ascontiguousarray(strip).data)
        return [each.digest() for each in hashes]

    def _hash_of_strip(self, file: SourceFile, head: bytes, start: int, stop: int) -> bytes:
        """Hash a strip of a file that is being written."""
        data = b"".join((head, file.read(start, stop - start - 2), b"\xff\xd9"))
        try:
            pixels = decode_jpeg(data, "warning", self._shrink)
        except ValueError as error:
            raise decoding_error(f"{file.path}: cannot be decoded as JPEG", error) from error
        return hashlib.blake2b(np.ascontiguousarray(pixels).data).digest()


def _from_the_top(path: str, shrink: int = 1) -> Raster:
    """Open a JPEG to be decoded without its restart intervals, as any other decoder does."""
    level = top_down_level(SourceFile(path), Loader("jpegload", "JPEG", shrink))
    return Raster(path, "JPEG", LAYOUT, level)
