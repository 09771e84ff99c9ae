"""The one idea that serves every format: a grid of blocks, and where each lies in its file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from subregion.errors import DamagedFileError, SubregionError
from subregion.raster.color import Color

if TYPE_CHECKING:
    from collections.abc import Sequence

    from subregion.geometry.window import Window
    from subregion.raster.source import SourceFile


class Codec(Protocol):
    """Turns the stored bytes of one block into its samples.

    A codec is called from many threads at once. The array that it returns has shape (rows, columns,
    samples), may be read-only, and belongs to the caller. It may have fewer rows than the grid's
    block where the image ends, never fewer than the image needs.
    """

    @property
    def mapped(self) -> bool:
        """Whether `data` is only looked at, not decoded: then it is a view of the mapped file."""
        ...

    def __call__(self, data: bytes | memoryview, block: int) -> NDArray[np.generic]:
        """Decode the block with this number (row by row through the grid, then plane by plane)."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class TileIndex:
    """One resolution level of one file.

    Parameters
    ----------
    shape : tuple of int
        Rows, columns and bands as they are read, that is after `color`.
    dtype : numpy.dtype
        Type of the samples as they are read, native byte order.
    block : tuple of int
        Rows and columns of a block; a strip is a block as wide as the image.
    offsets, nbytes : ndarray of int64, shape (planes, block rows, block columns)
        Where each block lies. One plane holds all samples of a pixel, or there is a plane for each.
        0 bytes: the block was never written and holds `fill`.
    codec : Codec
        Bytes to samples.
    fill : float
        What a block that was never written holds.
    color : Color or None
        From the stored samples to the pixels of the contract (palette to RGB, and so on).
    """

    shape: tuple[int, int, int]
    dtype: np.dtype[np.generic]
    block: tuple[int, int]
    offsets: NDArray[np.int64]
    nbytes: NDArray[np.int64]
    codec: Codec
    fill: float = 0
    color: Color | None = None

    @property
    def size(self) -> int:
        """Bytes of the whole level, decoded."""
        return self.shape[0] * self.shape[1] * self.shape[2] * self.dtype.itemsize

    def read_into(
        self,
        file: SourceFile,
        window: Window,
        out: NDArray[np.generic],
        bands: Sequence[int] | None = None,
        steps: tuple[int, int] = (1, 1),
    ) -> None:
        """Read a window that lies inside the level.

        Parameters
        ----------
        file : SourceFile
            The file that the offsets belong to.
        window : Window
            What to read, in pixels of this level.
        out : ndarray, shape (rows, columns, bands)
            Where the pixels go; rows and columns are those of the window, divided by the steps, rounded up.
        bands : sequence of int or None
            Which bands, in which order; None for all.
        steps : tuple of int
            Every how many rows and columns one is taken.

        Raises
        ------
        DamagedFileError
            If a block cannot be fetched or decoded.
        """
        if out.size == 0:
            return
        if self.color is None:
            self._read_stored(file, window, out, bands, steps)
            return
        # Colors mix the samples of a pixel, so all of them are needed, but only inside the window.
        stored = np.empty((*out.shape[:2], self.color.samples), self.color.stored)
        self._read_stored(file, window, stored, None, steps)
        pixels = self.color(stored)
        out[...] = pixels if bands is None else pixels[..., list(bands)]

    def _read_stored(
        self,
        file: SourceFile,
        window: Window,
        out: NDArray[np.generic],
        bands: Sequence[int] | None,
        steps: tuple[int, int],
    ) -> None:
        planes, grid_rows, grid_cols = self.offsets.shape
        high, wide = self.block
        top, left = window.row, window.col
        bottom, right = top + window.height, left + window.width
        first_row, last_row = top // high, (bottom - 1) // high
        first_col, last_col = left // wide, (right - 1) // wide
        fetch = file.mapped if self.codec.mapped else file.read
        row_step, col_step = steps
        for plane, here, there in _plane_jobs(planes, bands, out.shape[2]):
            grid = (plane, slice(first_row, last_row + 1), slice(first_col, last_col + 1))
            offsets = self.offsets[grid].tolist()
            nbytes = self.nbytes[grid].tolist()
            for i, block_row in enumerate(range(first_row, last_row + 1)):
                inner_rows, outer_rows = _overlap(top, bottom, row_step, block_row * high, high)
                if inner_rows is None:
                    continue
                for j, block_col in enumerate(range(first_col, last_col + 1)):
                    inner_cols, outer_cols = _overlap(left, right, col_step, block_col * wide, wide)
                    if inner_cols is None:
                        continue
                    target = out[outer_rows, outer_cols, there]
                    count = nbytes[i][j]
                    if count == 0:
                        target[...] = self.fill
                        continue
                    number = (plane * grid_rows + block_row) * grid_cols + block_col
                    try:
                        samples = self.codec(fetch(offsets[i][j], count), number)
                        if here is None:
                            target[...] = samples[inner_rows, inner_cols]
                        else:
                            target[...] = samples[inner_rows, inner_cols][..., here]
                    except SubregionError:
                        raise
                    except MemoryError:
                        raise
                    except Exception as error:
                        raise DamagedFileError(
                            f"{file.path}: the block at row {block_row * high}, column {block_col * wide} "
                            f"({count} bytes at offset {offsets[i][j]}) cannot be decoded: {error}"
                        ) from error


def _plane_jobs(
    planes: int, bands: Sequence[int] | None, count: int
) -> list[tuple[int, list[int] | None, slice]]:
    """List which plane to read, which of its samples, and into which bands of the output."""
    if planes == 1:
        return [(0, None if bands is None else list(bands), slice(None))]
    wanted = range(count) if bands is None else bands
    return [(band, None, slice(k, k + 1)) for k, band in enumerate(wanted)]


def _overlap(start: int, stop: int, step: int, block: int, size: int) -> tuple[slice | None, slice]:
    """Return which pixels of a block along one axis are wanted, and where they go."""
    if step == 1:
        low, high = max(start, block), min(stop, block + size)
        return slice(low - block, high - block), slice(low - start, high - start)
    skipped = max(0, -((start - block) // step))  # samples that lie before the block
    low, high = start + skipped * step, min(stop, block + size)
    if low >= high:
        return None, slice(0, 0)
    taken = (high - low - 1) // step + 1
    return slice(low - block, high - block, step), slice(skipped, skipped + taken)
