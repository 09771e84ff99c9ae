"""Pictures inside of others: icons hold PNG and JPEG 2000, textures JPEG, GIFs frames of their own size.

Pillow opens them with a limit of its own, the same for the whole process, so they are looked at before.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING

from subregion.codecs.headers import declared_size
from subregion.codecs.jpegheader import InMemory
from subregion.errors import decoding_error
from subregion.io import limits
from subregion.io.limits import Declared

if TYPE_CHECKING:
    from subregion.io.source import SourceFile

#: How pictures inside of others begin.
_SIGNATURES = {
    b"\x89PNG\r\n\x1a\n": "png",
    b"\xff\x4f\xff\x51": "jpeg2k",
    b"\xff\xd8\xff": "jpeg",
}
#: The header of a picture is among so many bytes.
_HEADER_BYTES = 1 << 16
#: Icons have a dozen pictures.
_MAX_PICTURES = 256
#: Parts of extensions in front of the first frame of a GIF.
_MAX_BLOCKS = 1 << 16
#: Formats by Pillow's name, and what their pictures are.
_INSIDE = {
    "ICO": (b"\x89PNG\r\n\x1a\n",),
    "CUR": (),
    "ICNS": (b"\x89PNG\r\n\x1a\n", b"\xff\x4f\xff\x51"),
    "BLP": (b"\xff\xd8\xff",),
}


def check_nested(file: SourceFile, name: str) -> None:
    """Refuse a file that holds a picture of more pixels than the limits allow.

    Parameters
    ----------
    file : SourceFile
        The file.
    name : str
        What Pillow calls its format; most have no pictures inside.

    Raises
    ------
    TooLargeError
        Naming the file, what the picture declares, and the limit.
    DamagedFileError
        If it holds more pictures than such a file can.
    """
    if name == "GIF":
        frame = _first_frame(file)
        if frame is not None:
            limits.check_declared(file.path, file.size, frame)
    if name not in _INSIDE:
        return
    limits.check_stored(file.path, file.size)
    data = file.read(0, file.size)
    for signature in _INSIDE[name]:
        if data.count(signature) > _MAX_PICTURES:
            raise decoding_error(
                f"{file.path}: cannot be read as {name}", "more pictures are in it than can be"
            )
        at = data.find(signature)
        while at >= 0:
            stream = InMemory(data[at : at + _HEADER_BYTES], file.size - at)
            declared = declared_size(_SIGNATURES[signature], stream)
            if declared is not None:
                limits.check_declared(file.path, file.size, declared)
            at = data.find(signature, at + 1)
    if name in ("ICO", "CUR"):
        for declared in _bitmaps(data):
            limits.check_declared(file.path, file.size, declared)


def _bitmaps(data: bytes) -> Iterator[Declared]:
    """Yield what the bitmaps of an icon declare: twice their height, because their mask counts too."""
    count = int.from_bytes(data[4:6], "little")
    for entry in range(6, min(6 + 16 * count, len(data) - 15), 16):
        (at,) = struct.unpack_from("<I", data, entry + 12)
        if at + 12 <= len(data) and data[at : at + 8] != b"\x89PNG\r\n\x1a\n":
            size, width, height = struct.unpack_from("<Iii", data, at)
            if size >= 40:
                yield Declared(abs(height), abs(width), 4, 1)


def _first_frame(file: SourceFile) -> Declared | None:
    """Return what the first frame of a GIF declares, which may leave the canvas; None if there is none."""
    head = file.head(13)
    if len(head) < 13:
        return None
    at = 13 + (3 << (head[10] & 7) + 1 if head[10] & 0x80 else 0)
    inside = False  # of an extension, which is a chain of parts with their length in front, and 0 at its end
    for _ in range(_MAX_BLOCKS):
        block = file.read(at, min(9, file.size - at)) if at < file.size else b""
        if not block:
            return None
        if inside:
            inside = block[0] != 0
            at += 1 + block[0]
        elif block[0] == 0x21:
            inside, at = True, at + 2
        elif block[0] == 0x2C and len(block) == 9:
            left, top, width, height = struct.unpack_from("<4H", block, 1)
            return Declared(top + height, left + width, 4, 1)
        else:
            at += 1
    return None
