"""`.npy` files as an index of a single uncompressed block."""

from __future__ import annotations

import io
import math

import numpy as np

from subregion.errors import DamagedFileError, UnsupportedFormatError
from subregion.raster.codecs import BlockShape, RawCodec
from subregion.raster.raster import BlockRaster
from subregion.raster.source import SourceFile
from subregion.raster.tileindex import TileIndex

MAGIC = b"\x93NUMPY"
_MAX_HEADER = 1 << 16


def open_npy(file: SourceFile) -> BlockRaster:
    """Open a `.npy` file of two or three axes: rows, columns and, if given, bands.

    Raises
    ------
    UnsupportedFormatError
        If it holds objects (which would need pickle), records, text, or another number of axes.
    DamagedFileError
        If the header is malformed or the file is shorter than it says.
    """
    head = io.BytesIO(file.head(_MAX_HEADER))
    try:
        version = np.lib.format.read_magic(head)
        read = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        if version not in ((1, 0), (2, 0)):
            raise UnsupportedFormatError(f"{file.path}: npy version {version}; 1.0 and 2.0 can be read.")
        shape, fortran, dtype = read(head)
    except UnsupportedFormatError:
        raise
    except (ValueError, TypeError, SyntaxError, EOFError, KeyError, UnicodeError) as error:
        raise DamagedFileError(f"{file.path}: the npy header is malformed: {error}") from error
    if dtype.kind not in "biufc" or dtype.itemsize > 16:
        raise UnsupportedFormatError(
            f"{file.path}: an npy of {dtype} is no image; numbers or bools are needed."
        )
    if len(shape) not in (2, 3):
        raise UnsupportedFormatError(
            f"{file.path}: an npy of shape {shape} is no image; (rows, columns) or (rows, columns, bands) is."
        )
    rows, cols, bands = (*shape, 1)[:3]
    if min(rows, cols, bands) < 1:
        raise UnsupportedFormatError(f"{file.path}: an npy of shape {shape} holds no pixels.")
    index = one_block(file, head.tell(), (rows, cols, bands), dtype, "F" if fortran else "C")
    return BlockRaster(file, "NPY", "uncompressed", [index])


def one_block(
    file: SourceFile,
    offset: int,
    shape: tuple[int, int, int],
    dtype: np.dtype[np.generic],
    order: str = "C",
) -> TileIndex:
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
    """
    count = math.prod(shape) * dtype.itemsize
    if offset + count > file.size:
        raise file.too_short(offset, count)
    stored = np.dtype(np.uint8) if dtype.kind == "b" else dtype
    return TileIndex(
        shape=shape,
        dtype=stored.newbyteorder("="),
        block=shape[:2],
        offsets=np.array([[[offset]]], np.int64),
        nbytes=np.array([[[count]]], np.int64),
        codec=RawCodec(BlockShape(*shape, 1, 1, shape[0]), stored, order),
    )
