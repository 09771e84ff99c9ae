"""The frame header of a JPEG file."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from subregion.errors import DamagedFileError

if TYPE_CHECKING:
    from subregion.raster.source import SourceFile

_FRAMES = frozenset({*range(0xC0, 0xD0), 0xF7}) - {0xC4, 0xC8, 0xCC}
#: How many bytes that belong to no marker are skipped before the file is given up.
_MAX_STRAY = 1 << 12
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD9)})


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
    at, stray = 2, 0
    while at + 4 <= file.size and stray < _MAX_STRAY:
        marker = file.read(at, min(4, file.size - at))
        if marker[0] != 0xFF:
            at, stray = at + 1, stray + 1  # decoders skip what stands between markers
            continue
        code = marker[1]
        if code == 0xFF or code in _STANDALONE or code == 0:
            at += 1 if code == 0xFF else 2
            continue
        if code in (0xD9, 0xDA):
            break
        (length,) = struct.unpack(">H", marker[2:])
        if code in _FRAMES:
            body = file.read(at + 4, min(6, file.size - at - 4))
            if len(body) < 6:
                break
            precision, height, width, components = struct.unpack(">BHHB", body)
            if width == 0 or components == 0:
                raise DamagedFileError(f"{file.path}: the JPEG declares {width} x {height} pixels.")
            return JpegHeader(height, width, components, precision, code, at)
        at += 2 + length
    raise DamagedFileError(f"{file.path}: the JPEG has no frame header: it is truncated or damaged.")
