"""`.npy` files as a grid of a single uncompressed block."""

from __future__ import annotations

import math
import re
import reprlib

import numpy as np

from subregion.codecs.codec import BlockShape, RawCodec
from subregion.errors import DamagedFileError, UnsupportedFormatError
from subregion.formats.grid import GridLevel
from subregion.formats.raster import Raster
from subregion.io import limits
from subregion.io.source import SourceFile

MAGIC = b"\x93NUMPY"
#: Headers of images have some 100 bytes, and are filled up to a multiple of 64.
_MAX_HEADER = 1 << 16
_TEXT, _SIZES = r"""'[^'"]*'|"[^'"]*\"""", r"\(\s*(?:\d{1,18}L?\s*(?:,\s*|(?=\))))*\)"
_ITEM = rf"""\s*['"](\w+)['"]\s*:\s*({_TEXT}|True|False|{_SIZES})\s*(?:,|(?=\s*\}}))"""
#: The dictionary that a header is. NumPy would have Python parse it, with all that Python can be made to do.
_HEADER = re.compile(rf"\{{(?:{_ITEM})*\s*\}}\s*")
_ITEMS = re.compile(_ITEM)
_RECORDS = re.compile(r"""['"]descr['"]\s*:\s*\[""")
_NUMBERS = re.compile(r"[<>|=]?[biufc]\d{1,2}")


def open_npy(file: SourceFile) -> Raster:
    """Open a `.npy` file of two or three axes: rows, columns and, if given, bands.

    Raises
    ------
    UnsupportedFormatError
        If it holds objects (which would need pickle), records, text, or another number of axes.
    DamagedFileError
        If the header is malformed or the file is shorter than it says.
    """
    text, start = _header_of(file)
    if _RECORDS.search(text):
        raise UnsupportedFormatError(
            f"{file.path}: an npy of records is no image; numbers or bools are needed."
        )
    items = dict(_ITEMS.findall(text)) if _HEADER.fullmatch(text) else {}
    try:
        descr, order, sizes = (items[key] for key in ("descr", "fortran_order", "shape"))
    except KeyError:
        raise DamagedFileError(
            f"{file.path}: the npy header is malformed: {reprlib.repr(text)}. Fetch or write it again."
        ) from None
    descr, shape = descr[1:-1], tuple(map(int, re.findall(r"\d+", sizes)))
    if not _NUMBERS.fullmatch(descr):
        raise UnsupportedFormatError(
            f"{file.path}: an npy of {reprlib.repr(descr)} is no image; numbers or bools are needed."
        )
    try:
        dtype = np.dtype(descr)
    except TypeError as error:
        raise UnsupportedFormatError(f"{file.path}: an npy of {descr!r}: {error}.") from error
    if len(shape) not in (2, 3):
        raise UnsupportedFormatError(
            f"{file.path}: an npy of shape {reprlib.repr(shape)} is no image; "
            f"(rows, columns) or (rows, columns, bands) is."
        )
    rows, cols, bands = (*shape, 1)[:3]
    if min(rows, cols, bands) < 1:
        raise UnsupportedFormatError(f"{file.path}: an npy of shape {shape} holds no pixels.")
    level = one_block(file, start, (rows, cols, bands), dtype, "F" if order == "True" else "C")
    file.expect_windows()
    return Raster(file.path, "NPY", "uncompressed", level, index_nbytes=0)


def _header_of(file: SourceFile) -> tuple[str, int]:
    """Return the header, and where the samples begin."""
    head = file.head(_MAX_HEADER)
    version = tuple(head[6:8])
    if version not in ((1, 0), (2, 0)):
        raise UnsupportedFormatError(f"{file.path}: npy version {version}; (1, 0) and (2, 0) can be read.")
    begin = 10 if version == (1, 0) else 12
    stop = begin + int.from_bytes(head[8:begin], "little")
    if not begin < stop <= len(head):
        raise DamagedFileError(
            f"{file.path}: the npy header is malformed: it has {stop - begin} bytes, the file {file.size}, "
            f"and {_MAX_HEADER} are read at most. Fetch or write it again."
        )
    return head[begin:stop].decode("latin-1"), stop


def one_block(
    file: SourceFile,
    offset: int,
    shape: tuple[int, int, int],
    dtype: np.dtype[np.generic],
    order: str = "C",
) -> GridLevel:
    """Index samples that lie in one piece.

    Parameters
    ----------
    file : SourceFile
        The file.
    offset : int
        Where the samples begin, in bytes.
    shape : tuple of int
        Rows, columns and bands.
    dtype : numpy.dtype
        Type of the samples in the file; bools are read as 0 and 1.
    order : str
        ``"C"``, or ``"F"`` if the first axis varies fastest.

    Raises
    ------
    DamagedFileError
        If the file ends before the samples do.
    TooLargeError
        If there are more of them than the limits allow.
    """
    count = math.prod(shape) * dtype.itemsize
    if offset + count > file.size:
        raise file.too_short(offset, count)
    limits.check_pixels(file.path, shape[0], shape[1], shape[2] * dtype.itemsize)
    stored = np.dtype(np.uint8) if dtype.kind == "b" else dtype
    return GridLevel(
        file=file,
        shape=shape,
        dtype=stored.newbyteorder("="),
        block=shape[:2],
        offsets=np.array([[[offset]]], np.int64),
        nbytes=np.array([[[count]]], np.int64),
        codec=RawCodec(BlockShape(*shape, 1, 1, shape[0]), stored, order),
    )
