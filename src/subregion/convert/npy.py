"""A plain `.npy` file from a stream of strips: uncompressed, to be memory-mapped."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from subregion.convert.strips import checked_strips, removed_on_error


def write_npy(
    path: str | os.PathLike[str],
    shape: tuple[int, int, int],
    dtype: DTypeLike,
    strips: Iterable[NDArray[Any]],
) -> None:
    """Write a `.npy` file (format 1.0), little-endian and in C order.

    The file is not synced to the disk: who publishes it does that.

    Parameters
    ----------
    path : str or os.PathLike
        The file to write.
    shape : tuple of int
        Rows, columns and bands of the image.
    dtype : dtype
        Of the pixels: any that is plain numbers.
    strips : iterable of ndarray, (n, columns, bands)
        The rows of the image, from the top; `n` is free. A strip is no longer needed when the next is pulled.

    Raises
    ------
    DamagedFileError
        If the strips do not make up the image.
    OSError
        If the disk is full, which is found out before the first strip is pulled, or cannot be written.
        After any error no file is left.
    """
    dtype = np.dtype(dtype).newbyteorder("<")
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    with removed_on_error(path), open(path, "wb") as file:
        # NumPy pads the header so that the pixels begin at a multiple of 64 bytes.
        np.lib.format.write_array_header_1_0(file, header)
        file.flush()
        _reserve(file.fileno(), file.tell() + int(np.prod(shape, dtype=np.int64)) * dtype.itemsize)
        for strip in checked_strips(strips, shape, dtype):
            pixels = np.ascontiguousarray(strip, dtype)
            file.write(pixels.reshape(-1).view(np.uint8).data)


def _reserve(descriptor: int, nbytes: int) -> None:
    """Claim the space now, so that a full disk is an error now and the pixels lie together."""
    if not hasattr(os, "posix_fallocate"):
        return
    try:
        os.posix_fallocate(descriptor, 0, nbytes)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS):  # a file system without it
            raise
