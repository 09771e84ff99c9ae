"""Binary PGM and PPM files as a grid of a single uncompressed block."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from subregion.formats.npy import one_block
from subregion.formats.raster import Raster

if TYPE_CHECKING:
    from subregion.io.source import SourceFile

MAGICS = (b"P5", b"P6")
_SPACE = rb"(?:\s|#[^\r\n]*[\r\n])+"
_HEADER = re.compile(rb"P([56])" + _SPACE + rb"(\d{1,9})" + _SPACE + rb"(\d{1,9})" + _SPACE + rb"(\d{1,9})\s")


def open_pnm(file: SourceFile) -> Raster | None:
    """Open a binary PGM or PPM of 8 or 16 full bits; None for the kinds whose samples have to be scaled.

    Raises
    ------
    DamagedFileError
        If the file is shorter than its header says.
    """
    found = _HEADER.match(file.head(4096))
    if found is None:
        return None
    width, height, highest = (int(number) for number in found.groups()[1:])
    colour = found[1] == b"6"
    if min(width, height) < 1 or not (highest in (255, 65535) or (colour and 255 < highest < 65535)):
        return None
    dtype = np.dtype("u1") if highest == 255 else np.dtype(">u2")
    level = one_block(file, found.end(), (height, width, 3 if colour else 1), dtype)
    file.expect_windows()
    return Raster(file.path, "PPM", "uncompressed", level)
