"""The frame header of a JPEG file."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from subregion.errors import DamagedFileError

if TYPE_CHECKING:
    from subregion.raster.source import SourceFile

_FRAMES = frozenset({*range(0xC0, 0xD0), 0xF7}) - {0xC4, 0xC8, 0xCC}
#: How many bytes and markers that belong to nothing are skipped before the file is given up.
_MAX_STRAY = 1 << 12
#: Segments in front of the frame; colour profiles and notes take some hundred at most.
_MAX_SEGMENTS = 1 << 14
#: Bytes that are read at first, and then around each place beyond them.
_CHUNK_BYTES = 4096
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


def find_frame(file: Stored) -> JpegHeader | None:
    """Walk the markers up to the start of the frame; None if there is none."""
    at, stray, segments = 2, 0, 0
    chunk, begin = file.head(_CHUNK_BYTES), 0
    while at + 10 <= file.size and stray < _MAX_STRAY and segments < _MAX_SEGMENTS:
        if at + 10 > begin + len(chunk):
            chunk, begin = file.read(at, min(_CHUNK_BYTES, file.size - at)), at
        first, code = chunk[at - begin], chunk[at - begin + 1]
        if first != 0xFF or code == 0xFF:
            at, stray = at + 1, stray + 1  # decoders skip what stands between markers
            continue
        if code in _STANDALONE or code == 0:
            at, stray = at + 2, stray + 1
            continue
        if code in (0xD9, 0xDA):
            return None
        length, precision, height, width, components = struct.unpack_from(">HBHHB", chunk, at - begin + 2)
        if code in _FRAMES:
            return JpegHeader(height, width, components, precision, code, at)
        at, segments = at + 2 + length, segments + 1
    return None


def without_stray(data: bytes) -> bytes:
    """Return a JPEG without the bytes between its headers that belong to nothing."""
    at, kept = 2, [data[:2]]
    while at + 4 <= len(data) and len(kept) < _MAX_SEGMENTS:
        marker = data.find(b"\xff", at, at + _MAX_STRAY)
        if marker < 0 or marker + 4 > len(data):
            break
        code, stop = data[marker + 1], marker + 2 + int.from_bytes(data[marker + 2 : marker + 4], "big")
        if code == 0xDA:
            return b"".join([*kept, data[marker:]])
        if code in (0, 0xFF) or code in _STANDALONE:
            at = marker + 1
            continue
        kept.append(data[marker:stop])
        at = stop
    return data
