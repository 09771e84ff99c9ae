"""A JPEG with restart intervals on its way to a file, and the index that is made of it as it passes."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable, Iterable, Iterator

from subregion.codecs.jpegstream import JpegStream, read_stream
from subregion.errors import DamagedFileError
from subregion.formats.jpeg.index import NOTE_BYTES, IntervalIndex, IntervalScan, grid_of
from subregion.io.source import SourceFile

#: Is told of the file that is being written, of its head, and of the intervals that are in it so far.
Watch = Callable[[SourceFile, JpegStream, IntervalScan], object]

#: What is no note yet is a comment, so that the file is a JPEG at any time.
_ROOM = b"\xff\xfe" + struct.pack(">H", NOTE_BYTES - 2) + bytes(NOTE_BYTES - 4)


def write_indexed(path: str, pieces: Iterable[bytes], watch: Watch | None = None) -> None:
    """Write a JPEG that has restart intervals, and the index of them.

    Other readers see an ordinary JPEG: the index stands behind its end, and what leads to it in a segment
    of the kind APP15.

    Parameters
    ----------
    path : str
        The file to write.
    pieces : iterable of bytes
        The JPEG, in order.
    watch : callable or None
        Called after each piece, when its bytes can be read from the file.

    Raises
    ------
    DamagedFileError
        If the JPEG has no restart intervals, or not all of them.
    """
    stream: JpegStream | None = None
    with open(path, "wb") as out:
        rest = iter(pieces)
        head = _first_bytes(rest)
        at = _place_of_note(head)
        for piece in itertools.chain([head[:at] + _ROOM + head[at:]], rest):
            out.write(piece)
            out.flush()
            if stream is None:
                file = SourceFile(path)
                stream = read_stream(file)
                if stream is None:
                    continue  # not all of the head is there
                scan = IntervalScan(stream.data, with_sums=True)
                piece = file.read(stream.data, file.size - stream.data)
            scan.feed(piece)
            if watch is not None:
                watch(file, stream, scan)
        index = None if stream is None else _index(path, stream, scan)
        if stream is None or index is None:
            raise DamagedFileError(f"{path}: was written without the restart intervals that it should have.")
        size = out.tell()
        place = -(-size // 8) * 8
        out.write(bytes(place - size))
        out.write(index.to_bytes())
        out.seek(at)
        out.write(index.note(stream, place))


def _first_bytes(pieces: Iterator[bytes]) -> bytes:
    """Take so many pieces that what comes first in a JPEG is among them."""
    head = b""
    while len(head) < 24 and (piece := next(pieces, None)) is not None:
        head += piece
    return head


def _place_of_note(head: bytes) -> int:
    """Return where a reader sees a note first."""
    jfif = head[2:4] == b"\xff\xe0"  # what names the file JFIF must come first
    return 4 + int.from_bytes(head[4:6], "big") if jfif else 2


def _index(path: str, stream: JpegStream, scan: IntervalScan) -> IntervalIndex | None:
    grid = grid_of(stream)
    try:
        return None if grid is None else scan.index(grid)
    except ValueError as error:
        raise DamagedFileError(f"{path}: was written with {error}.") from error
