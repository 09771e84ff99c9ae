"""Sequential JPEG streams: what stands before the coded pixels, and what a window of them needs of it."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from subregion.codecs.jpegheader import FRAMES, HEAD_BYTES, SCAN, Stored, read_header, segments

if TYPE_CHECKING:
    from subregion.io.source import SourceFile

#: Headers with more bytes in front of the pixels are left to decoders that read from the top.
_MAX_HEAD_BYTES = 64 << 20
#: So are those with more bytes that decoders need: tables and marks of colours take a kilobyte.
_MAX_KEPT_BYTES = 64 << 10

_SEQUENTIAL = (0xC0, 0xC1)
_TRANSFORMED = (*_SEQUENTIAL, 0xC2, 0xC9, 0xCA)


@dataclass(frozen=True, slots=True)
class JpegFrame:
    """What the frame of a JPEG of 8-bit samples says.

    Pixels are coded in units (MCU, minimum coded unit) that go row by row through the image.

    Parameters
    ----------
    process : int
        The marker code: 0xC0 and 0xC1 sequential, 0xC2 progressive, 0xC9 and 0xCA with arithmetic coding.
    height, width : int
        Size in pixels.
    sampling : tuple of (int, int)
        For each component, samples across and down in a unit (1 x 1 where there is one component only).
    """

    process: int
    height: int
    width: int
    sampling: tuple[tuple[int, int], ...]

    @property
    def unit(self) -> tuple[int, int]:
        """Rows and columns of pixels in a unit."""
        return 8 * max(down for _, down in self.sampling), 8 * max(across for across, _ in self.sampling)

    @property
    def units(self) -> tuple[int, int]:
        """Rows and columns of units."""
        high, wide = self.unit
        return -(-self.height // high), -(-self.width // wide)

    @property
    def blocks(self) -> int:
        """Blocks of 8 x 8 samples in a unit."""
        return sum(across * down for across, down in self.sampling)

    @property
    def reach(self) -> tuple[int, int]:
        """How many rows and columns beyond a pixel its colour depends on.

        Decoders smooth chroma that is stored for two pixels from the samples on both sides.
        """
        across = {pair[0] for pair in self.sampling}
        down = {pair[1] for pair in self.sampling}
        return int(len(down) > 1), int(len(across) > 1)


@dataclass(frozen=True, slots=True)
class JpegStream:
    """A sequential JPEG in one Huffman-coded scan.

    Parameters
    ----------
    frame : JpegFrame
        Its size and sampling.
    restart : int
        Units between two restart markers; 0 if there are none.
    head : bytes
        What a decoder must see before the coded pixels: tables, frame, restart interval, scan, and the
        markers that decide the colours. Colour profiles, EXIF, thumbnails and comments are left out.
    size_at : int
        Where in `head` height and width stand, two bytes each.
    data : int
        Where in the file the coded pixels begin.
    notes : tuple of bytes
        Content of each segment of the kind APP15.
    """

    frame: JpegFrame
    restart: int
    head: bytes
    size_at: int
    data: int
    notes: tuple[bytes, ...]

    def head_of(self, height: int, width: int) -> bytes:
        """Return the head of a JPEG of another size."""
        at = self.size_at
        return b"%b%b%b" % (self.head[:at], struct.pack(">HH", height, width), self.head[at + 4 :])


def read_frame(file: SourceFile) -> JpegFrame | None:
    """Read the frame of a JPEG file; None if its samples have not 8 bits, or were not transformed.

    Parameters
    ----------
    file : SourceFile
        A file that begins with a JPEG.

    Raises
    ------
    DamagedFileError
        If there is none.
    """
    header = read_header(file)
    return _frame(
        header.process, file.read(header.at, min(10 + 3 * header.components, file.size - header.at))
    )


def read_stream(file: Stored) -> JpegStream | None:
    """Read the headers of a JPEG file.

    Parameters
    ----------
    file : Stored
        What begins with a JPEG.

    Returns
    -------
    JpegStream or None
        None if it is of another process (progressive, arithmetic, lossless), precision or number of
        scans, or if anything is unusual: other decoders know better what to make of it.
    """
    kept: list[bytes] = []
    notes: list[bytes] = []
    frame: JpegFrame | None = None
    framed = b""
    restart = 0
    head = file.head(HEAD_BYTES)
    for code, start, stop in segments(file):
        if code < 0xC0 or not start + 4 <= stop <= min(file.size, _MAX_HEAD_BYTES):
            return None
        segment = head[start:stop] if stop <= len(head) else file.read(start, stop - start)
        if code == SCAN:
            # Tables that live in another file are not ours to find.
            if frame is None or not {0xC4, 0xDB} <= {part[1] for part in kept}:
                return None
            return _stream(kept, frame, framed, restart, segment, stop, tuple(notes))
        if code in FRAMES:
            if frame is not None or code not in _SEQUENTIAL:
                return None
            frame, framed = _frame(code, segment), segment
        elif code == 0xDD:
            if len(segment) != 6:
                return None
            restart = int.from_bytes(segment[4:], "big")
        elif code in (0xC4, 0xDB):
            kept.append(segment)
        elif code == 0xE0 and segment[4:9] == b"JFIF\0" and len(segment) >= 18:
            kept.append(b"\xff\xe0\0\x10" + segment[4:16] + b"\0\0")
        elif code == 0xEE and segment[4:9] == b"Adobe" and len(segment) >= 16:
            kept.append(segment)
        elif code == 0xEF:
            notes.append(segment[4:])
    return None


def _frame(code: int, segment: bytes) -> JpegFrame | None:
    if code not in _TRANSFORMED or len(segment) < 10:
        return None
    precision, height, width, count = struct.unpack_from(">BHHB", segment, 4)
    if precision != 8 or not height or not width or count not in (1, 3, 4) or len(segment) != 10 + 3 * count:
        return None
    sampling = tuple((segment[11 + 3 * k] >> 4, segment[11 + 3 * k] & 15) for k in range(count))
    if not all(1 <= across <= 4 and 1 <= down <= 4 for across, down in sampling):
        return None
    # A lone component is coded block by block.
    return JpegFrame(code, height, width, ((1, 1),) if count == 1 else sampling)


def _stream(
    kept: list[bytes],
    frame: JpegFrame,
    framed: bytes,
    restart: int,
    scan: bytes,
    data: int,
    notes: tuple[bytes, ...],
) -> JpegStream | None:
    count = len(frame.sampling)
    # One scan must hold all components: anything else is not interleaved.
    if len(scan) != 8 + 2 * count or scan[4] != count or sum(map(len, kept)) > _MAX_KEPT_BYTES:
        return None
    if [framed[10 + 3 * k] for k in range(count)] != [scan[5 + 2 * k] for k in range(count)]:
        return None
    before = b"\xff\xd8" + b"".join(kept)
    after = b"\xff\xdd\0\4" + struct.pack(">H", restart) + scan
    return JpegStream(frame, restart, before + framed + after, len(before) + 5, data, notes)
