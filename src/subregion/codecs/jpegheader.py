"""The segments of a JPEG in front of its coded pixels, and what the header of its frame says."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from subregion.errors import DamagedFileError

if TYPE_CHECKING:
    from subregion.io.source import SourceFile

#: Codes of markers: those of frames, of a scan, of the end, and those that stand alone.
FRAMES = frozenset({*range(0xC0, 0xD0), 0xF7}) - {0xC4, 0xC8, 0xCC}
SCAN, END = 0xDA, 0xD9
#: How many bytes and markers that belong to nothing are skipped before the file is given up.
_MAX_STRAY = 1 << 12
#: Segments in front of the pixels; colour profiles and notes take some hundred at most.
_MAX_SEGMENTS = 1 << 14
#: Bytes that are read at first: the headers of nearly all files, and of all our own.
HEAD_BYTES = 4096
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD9)})


class Stored(Protocol):
    """What a picture is read from: a file, or a block of one."""

    @property
    def size(self) -> int:
        """Bytes that there are."""
        ...

    def head(self, count: int) -> bytes:
        """Return the first bytes, as many as there are."""
        ...

    def read(self, offset: int, count: int) -> bytes:
        """Return bytes from an offset."""
        ...


class InMemory:
    """Bytes that are read as a file is.

    Parameters
    ----------
    data : bytes
        The bytes, or only the first of them.
    size : int or None
        How many there are, if there are more.
    """

    def __init__(self, data: bytes, size: int | None = None) -> None:
        self._data = data
        self.size = len(data) if size is None else size

    def head(self, count: int) -> bytes:
        """Return the first bytes, as many as there are."""
        return self._data[:count]

    def read(self, offset: int, count: int) -> bytes:
        """Return bytes from an offset, as many as there are."""
        return self._data[offset : offset + count]


@dataclass(frozen=True, slots=True)
class JpegHeader:
    """What the start-of-frame marker says.

    Parameters
    ----------
    height, width : int
        Size in pixels.
    components : int
        1 grey, 3 colour, 4 inks.
    precision : int
        Bits of a sample.
    process : int
        The marker code: 0xC0 baseline, 0xC2 progressive, 0xC3 lossless, 0xC9 arithmetic, 0xF7 JPEG-LS.
    at : int
        Where in the file the marker stands.
    """

    height: int
    width: int
    components: int
    precision: int
    process: int
    at: int

    @property
    def progressive(self) -> bool:
        """Whether each component is coded in several scans."""
        return self.process in (0xC2, 0xC6, 0xCA, 0xCE)

    @property
    def lossless(self) -> bool:
        """Whether it is coded by prediction, without a cosine transform."""
        return self.process in (0xC3, 0xC7, 0xCB, 0xCF)

    @property
    def lossless_ls(self) -> bool:
        """Whether it is JPEG-LS."""
        return self.process == 0xF7


def read_header(file: SourceFile) -> JpegHeader:
    """Walk the markers up to the start of the frame.

    Raises
    ------
    DamagedFileError
        If there is no frame, or it declares no pixels.
    """
    found = find_frame(file)
    if found is None:
        raise DamagedFileError(f"{file.path}: the JPEG has no frame header: it is truncated or damaged.")
    if found.width == 0 or found.components == 0:
        raise DamagedFileError(f"{file.path}: the JPEG declares {found.width} x {found.height} pixels.")
    return found


def segments(file: Stored, lenient: bool = False) -> Iterator[tuple[int, int, int]]:
    """Yield the segments in front of the coded pixels, up to the header of the first scan or the end.

    Parameters
    ----------
    file : Stored
        What begins with a JPEG.
    lenient : bool
        Whether bytes that belong to nothing are passed over, as decoders do; otherwise all ends in front of
        them, but for the fill bytes that may stand before any marker.

    Yields
    ------
    code, start, stop : int
        The code of the marker, and where the segment begins and says that it ends.
    """
    data, begin, at, stray = file.head(HEAD_BYTES), 0, 2, 0
    for _ in range(_MAX_SEGMENTS):
        while True:
            if at + 4 > begin + len(data):
                if at + 4 > file.size:
                    return
                data, begin = file.read(at, min(HEAD_BYTES, file.size - at)), at
            first, code, length = struct.unpack_from(">BBH", data, at - begin)
            if first == 0xFF and code not in (0, 0xFF) and code not in _STANDALONE:
                break
            if stray == _MAX_STRAY or not (lenient or first == code == 0xFF):
                return
            at, stray = at + (1 if first != 0xFF or code == 0xFF else 2), stray + 1
        yield code, at, at + 2 + length
        if code in (SCAN, END):
            return
        at += 2 + length


def find_frame(file: Stored) -> JpegHeader | None:
    """Walk the markers up to the start of the frame; None if there is none."""
    for code, at, _ in segments(file, lenient=True):
        if code in FRAMES and at + 10 <= file.size:
            precision, height, width, components = struct.unpack(">BHHB", file.read(at + 4, 6))
            return JpegHeader(height, width, components, precision, code, at)
    return None


def without_stray(data: bytes) -> bytes:
    """Return a JPEG without the bytes between its headers that belong to nothing."""
    kept = [data[:2]]
    for code, at, stop in segments(InMemory(data), lenient=True):
        if code == SCAN:
            return b"".join([*kept, data[at:]])
        kept.append(data[at:stop])
    return data
