"""Rectangles of decoded blocks: which rows hold them, and how they are copied where threads wait."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from subregion.blocks.level import Copy


def rows_of(parts: Sequence[Copy]) -> slice:
    """Return the rows of a block that hold all that is wanted of it."""
    if len(parts) == 1:
        return parts[0][0][0]
    wanted = [part[0][0] for part in parts]
    return slice(min([rows.start for rows in wanted]), max([rows.stop for rows in wanted]))


def copy_rows(
    block: NDArray[Any], inner: tuple[slice, slice], out: NDArray[Any], outer: Sequence[Any]
) -> None:
    """Copy a rectangle as rows of opaque bytes, if it can be; otherwise pixel by pixel.

    NumPy lets go of the interpreter to copy more than 500 elements, and where another thread waits for it, it
    takes longer than the copy until it is had again; so a row is one element here.
    """
    rows, cols = inner
    if (
        rows.step
        or cols.step
        or block.strides[1:] != out.strides[1:]
        or block.dtype != out.dtype
        or block.shape[2] != out.shape[2]
        or not block.flags.c_contiguous
        or not out.flags.c_contiguous
    ):
        out[tuple(outer)] = block[inner]
        return
    here, pixel, _ = block.strides
    there = out.strides[0]
    count, row = rows.stop - rows.start, _opaque((cols.stop - cols.start) * pixel)
    begin, into = rows.start * here + cols.start * pixel, (outer[0].start or 0) * there
    into += (outer[1].start or 0) * pixel
    array = np.ndarray
    array((count,), row, out, into, (there,))[...] = array((count,), row, block, begin, (here,))


@functools.lru_cache(maxsize=256)
def _opaque(nbytes: int) -> np.dtype[np.void]:
    return np.dtype((np.void, nbytes))
