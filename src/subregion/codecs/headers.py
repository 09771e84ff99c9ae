"""What compressed pictures declare of their size, read without decoding them.

Nothing here checks that a picture is sound. What is said is what its decoder will believe.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator

from subregion.codecs.jpegheader import JpegHeader, Stored, find_frame
from subregion.io.limits import Declared

#: Boxes in front of the one that is looked for; real files have a dozen.
_MAX_BOXES = 1000
_JP2 = b"\0\0\0\x0cjP  \r\n\x87\n"
#: Bytes that a tile of JPEG 2000 has in the file at least, and what OpenJPEG keeps for it and its components.
_JP2_TILE_HEADER, _OPJ_TILE, _OPJ_COMPONENT = 14, 6000, 1100
_JXL = b"\0\0\0\x0cJXL \r\n\x87\n"
#: Bytes that a sample of JPEG XR takes, by its number of a bit depth; fixed point becomes floating point.
_XR_BYTES = {0: 1, 1: 1, 2: 2, 15: 1}
_XR_SAMPLES = {0: 1, 1: 3, 2: 3, 3: 3, 4: 4, 5: 4, 6: 16, 7: 3, 8: 4}
#: Width as a part of the height, by the number of a ratio in JPEG XL.
_XL_RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}
_LERC_BYTES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 8}


def declared_size(kind: str, file: Stored) -> Declared | None:
    """Read the header of a picture.

    Parameters
    ----------
    kind : str
        The name of its codec in imagecodecs.
    file : Stored
        What begins with the picture.

    Returns
    -------
    Declared or None
        None if there is no header that a decoder could use.
    """
    try:
        found = _READERS[kind](file)
    except (struct.error, IndexError, ValueError):  # it ends within its header
        return None
    return None if found is None or min(found.height, found.width, found.samples) < 1 else found


def boxes(file: Stored) -> Iterator[tuple[bytes, int, int]]:
    """Yield kind, first byte of the content, and end of each box of the ISO format, up to one that is odd."""
    at, end = 0, file.size
    for _ in range(_MAX_BOXES):
        if at + 8 > end:
            return
        length, kind = struct.unpack(">I4s", file.read(at, 8))
        head = 8
        if length == 1 and at + 16 <= end:
            (length,) = struct.unpack(">Q", file.read(at + 8, 8))
            head = 16
        if length == 0:
            length = end - at
        if length < head:
            return
        yield kind, at + head, min(at + length, end)
        at += length


def _jpeg(file: Stored) -> Declared | None:
    frame = find_frame(file)
    return None if frame is None else declared_frame(frame)


def declared_frame(frame: JpegHeader) -> Declared:
    """Return what the frame of a JPEG declares."""
    return Declared(frame.height, frame.width, frame.components, 1 if frame.precision <= 8 else 2)


def _png(file: Stored) -> Declared | None:
    head = file.head(26)
    if head[12:16] != b"IHDR":
        return None
    width, height, bits, kind = struct.unpack_from(">IIBB", head, 16)
    # A colour that counts as transparent makes one more.
    samples = {0: 2, 2: 4, 3: 4, 4: 2, 6: 4}.get(kind, 4)
    return Declared(height, width, samples, 2 if bits > 8 else 1)


def _webp(file: Stored) -> Declared | None:
    head = file.head(32)
    if head[:4] != b"RIFF" or head[8:12] != b"WEBP":
        return None
    kind = head[12:16]
    if kind == b"VP8X":
        if head[20] & 2:  # an animation, of which all frames would be decoded
            return None
        alpha = head[20] & 0x10
        size = [1 + int.from_bytes(head[at : at + 3], "little") for at in (24, 27)]
    elif kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", head, 21)
        alpha = bits & 1 << 28
        size = [1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)]
    else:
        alpha = 0
        size = [side & 0x3FFF for side in struct.unpack_from("<HH", head, 26)]
    return Declared(size[1], size[0], 4 if alpha else 3, 1)


def _lerc(file: Stored) -> Declared | None:
    head = file.head(90)
    if head[:9] == b"CntZImage":
        _, _, height, width = struct.unpack_from("<4i", head, 10)
        return Declared(height, width, 1, 4)
    bands, first = 0, None
    at = 0
    while at + 50 <= file.size and file.read(at, 6) == b"Lerc2 ":
        part = file.read(at, min(90, file.size - at))
        (version,) = struct.unpack_from("<i", part, 6)
        place = 10 if version < 3 else 14
        height, width = struct.unpack_from("<2i", part, place)
        place += 8
        depth = 1
        if version >= 4:
            (depth,) = struct.unpack_from("<i", part, place)
            place += 4
        _, _, nbytes, kind = struct.unpack_from("<4i", part, place)
        found = Declared(height, width, depth, _LERC_BYTES.get(kind, 8))
        if nbytes <= 0 or (first is not None and found != first):
            break
        first, bands, at = found, bands + 1, at + nbytes
    if first is None:
        return None
    return Declared(first.height, first.width, first.samples * bands, first.itemsize)


def jpeg2000_stream(file: Stored) -> int | None:
    """Return where the code stream of a JPEG 2000 begins; None if there is none."""
    at = 0
    if file.head(12) == _JP2:
        at = next((begin for kind, begin, _ in boxes(file) if kind == b"jp2c"), file.size)
    return at if at + 4 <= file.size and file.read(at, 4) == b"\xff\x4f\xff\x51" else None


def _jpeg2000(file: Stored) -> Declared | None:
    at = jpeg2000_stream(file)
    if at is None:
        return None
    x_end, y_end, x, y, wide, high, tile_x, tile_y, count = struct.unpack(">8IH", file.read(at + 8, 34))
    entries = file.read(at + 42, 3 * count)
    if wide < 1 or high < 1 or not entries:
        return None
    tiles = -(-(x_end - tile_x) // wide) * -(-(y_end - tile_y) // high)
    if tiles * _JP2_TILE_HEADER > file.size - at:
        return None
    # Decoders work in 32 bits, whatever comes out.
    return Declared(y_end - y, x_end - x, count, 4, tiles * (_OPJ_TILE + count * _OPJ_COMPONENT))


def _jpegxr(file: Stored) -> Declared | None:
    (at,) = struct.unpack("<I", file.read(4, 4))
    (count,) = struct.unpack("<H", file.read(at, 2))
    image = None
    for code, _, _, value in struct.iter_unpack("<HHII", file.read(at + 2, 12 * count)):
        if code == 0xBCC0:
            image = value
    if image is None or file.read(image, 8) != b"WMPHOTO\0":
        return None
    head = file.read(image + 8, 12)
    short = head[2] & 0x80
    width, height = struct.unpack_from(">HH" if short else ">II", head, 4)
    samples = _XR_SAMPLES.get(head[3] >> 4, 16) + 1  # alpha may be a picture of its own
    return Declared(height + 1, width + 1, samples, _XR_BYTES.get(head[3] & 15, 4))


def _rgbe(file: Stored) -> Declared | None:
    # Decoders take one of the lines; which, does not matter if all are looked at.
    sizes = re.findall(rb"-Y\s+(\d{1,10})\s+\+X\s+(\d{1,10})", file.head(1 << 16))
    if not sizes:
        return None
    height, width = max(((int(rows), int(cols)) for rows, cols in sizes), key=lambda size: size[0] * size[1])
    return Declared(height, width, 3, 4)


def _jpegxl(file: Stored) -> Declared | None:
    if file.head(12) != _JXL:
        return _xl_stream(file.head(64))
    for kind, begin, stop in boxes(file):
        if kind in (b"jxlc", b"jxlp"):
            begin += 4 if kind == b"jxlp" else 0
            return _xl_stream(file.read(begin, min(64, stop - begin)))
    return None


class _Bits:
    """Bits from the lowest of the first byte on."""

    def __init__(self, data: bytes) -> None:
        self._bits, self._left = int.from_bytes(data, "little"), 8 * len(data)

    def take(self, count: int) -> int:
        value = self._bits & ((1 << count) - 1)
        self._bits >>= count
        self._left -= count
        if self._left < 0:
            raise ValueError("the header ends early")
        return value

    def choose(self, *choices: tuple[int, int]) -> int:
        """Take a number of which two bits say how many it has, and what is added to it."""
        count, offset = choices[self.take(2)]
        return offset + self.take(count)


def _xl_stream(data: bytes) -> Declared | None:
    """Read the headers of a code stream (ISO 18181-1, annexes A and D) up to the number of its channels."""
    if data[:2] != b"\xff\x0a":
        return None
    bits = _Bits(data[2:])
    height, width = _xl_size(bits)
    itemsize, extra = 1, 0
    if not bits.take(1):
        if bits.take(1):
            bits.take(3)
            if bits.take(1):
                _xl_size(bits)
            if bits.take(1):
                _xl_preview(bits)
            if bits.take(1):
                _xl_animation(bits)
        if bits.take(1):
            itemsize = 4
            bits.choose((0, 32), (0, 16), (0, 24), (6, 1))
            bits.take(4)
        else:
            depth = bits.choose((0, 8), (0, 10), (0, 12), (6, 1))
            itemsize = 1 if depth <= 8 else 2 if depth <= 16 else 4
        bits.take(1)
        extra = bits.choose((0, 0), (0, 1), (4, 2), (12, 1))
    # The decoder works on floats where there are further channels.
    return Declared(height, width, 3 + extra, 4 if extra > 1 else itemsize)


def _xl_size(bits: _Bits) -> tuple[int, int]:
    small = bits.take(1)

    def side() -> int:
        return 8 * (1 + bits.take(5)) if small else bits.choose((9, 1), (13, 1), (18, 1), (30, 1))

    height = side()
    ratio = bits.take(3)
    if not ratio:
        return height, side()
    across, down = _XL_RATIOS[ratio]
    return height, height * across // down


def _xl_preview(bits: _Bits) -> None:
    choices = (
        ((0, 16), (0, 32), (5, 1), (9, 33)) if bits.take(1) else ((6, 1), (8, 65), (10, 321), (12, 1345))
    )
    bits.choose(*choices)
    if not bits.take(3):
        bits.choose(*choices)


def _xl_animation(bits: _Bits) -> None:
    bits.choose((0, 100), (0, 1000), (10, 1), (30, 1))
    bits.choose((0, 1), (0, 1001), (8, 1), (10, 1))
    bits.choose((0, 0), (3, 0), (16, 0), (32, 0))
    bits.take(1)


_READERS: dict[str, Callable[[Stored], Declared | None]] = {
    "jpeg": _jpeg,
    "jpegls": _jpeg,
    "png": _png,
    "webp": _webp,
    "lerc": _lerc,
    "jpeg2k": _jpeg2000,
    "jpegxl": _jpegxl,
    "jpegxr": _jpegxr,
    "rgbe": _rgbe,
}
