"""The one idea that serves every format: a grid of blocks, and where each lies in its file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from subregion.errors import DamagedFileError
from subregion.geometry.grid import overlaps
from subregion.raster.color import Color

if TYPE_CHECKING:
    from collections.abc import Sequence

    from subregion.geometry.window import Window
    from subregion.raster.source import SourceFile


class Codec(Protocol):
    """Turns the stored bytes of one block into its samples.

    A codec is called from many threads at once, and raises any exception on bytes that it cannot decode.
    The array that it returns has shape (rows, columns,
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
        stored = self.stored_buffer(out)
        for piece in self.pieces(window, stored.shape[2], None if self.color else bands, steps):
            piece.paste(self.decode(file, piece), stored, self.fill)
        self.finish(stored, out, bands)

    def pieces(
        self,
        window: Window,
        count: int,
        bands: Sequence[int] | None = None,
        steps: tuple[int, int] = (1, 1),
    ) -> list[Piece]:
        """Plan a read: which part of which block goes where.

        Parameters
        ----------
        window : Window
            What to read, inside the level and not empty.
        count : int
            How many samples the output has for a pixel.
        bands : sequence of int or None
            Which stored samples, in which order; None for all.
        steps : tuple of int
            Every how many rows and columns one is taken.

        Returns
        -------
        list of Piece
            In the order of the blocks in the grid.
        """
        planes, grid_rows, grid_cols = self.offsets.shape
        high, wide = self.block
        rows = overlaps(window.row, window.row_stop, steps[0], high)
        cols = overlaps(window.col, window.col_stop, steps[1], wide)
        first_row, first_col = rows[0][0], cols[0][0]
        found = []
        for plane, here, there in _plane_jobs(planes, bands, count):
            grid = (plane, slice(first_row, rows[-1][0] + 1), slice(first_col, cols[-1][0] + 1))
            offsets = self.offsets[grid].tolist()
            nbytes = self.nbytes[grid].tolist()
            for row, inner_rows, outer_rows in rows:
                line, sizes = offsets[row - first_row], nbytes[row - first_row]
                number = (plane * grid_rows + row) * grid_cols
                for col, inner_cols, outer_cols in cols:
                    found.append(
                        Piece(
                            number + col,
                            line[col - first_col],
                            sizes[col - first_col],
                            (inner_rows, inner_cols),
                            here,
                            (outer_rows, outer_cols, there),
                        )
                    )
        return found

    def decode(self, file: SourceFile, piece: Piece) -> NDArray[np.generic] | None:
        """Fetch and decode the block of a piece; None if it was never written.

        Raises
        ------
        DamagedFileError
            Naming the file and the block.
        """
        if piece.nbytes == 0:
            return None
        codec = self.codec
        data = (file.mapped if codec.mapped else file.read)(piece.offset, piece.nbytes)
        try:
            block = codec(data, piece.block)
            if block.shape[0] < piece.inner[0].stop or block.shape[1] < piece.inner[1].stop:
                raise ValueError(f"it holds {block.shape[0]} rows of {block.shape[1]} pixels")
            return block
        except MemoryError:
            raise
        except Exception as error:
            row, col = divmod(
                piece.block % (self.offsets.shape[1] * self.offsets.shape[2]), self.offsets.shape[2]
            )
            raise DamagedFileError(
                f"{file.path}: the block at row {row * self.block[0]}, column {col * self.block[1]} "
                f"({piece.nbytes} bytes at offset {piece.offset}) cannot be decoded: {error}"
            ) from error

    def stored_buffer(self, out: NDArray[np.generic]) -> NDArray[np.generic]:
        """Return where stored samples go: `out` itself, or a buffer if colors have to be made of them."""
        if self.color is None:
            return out
        # Colors mix the samples of a pixel, so all of them are needed, but only inside the window.
        return np.empty((*out.shape[:2], self.color.samples), self.color.stored)

    def finish(
        self, stored: NDArray[np.generic], out: NDArray[np.generic], bands: Sequence[int] | None
    ) -> None:
        """Turn stored samples into pixels, where `stored_buffer` gave a buffer."""
        if self.color is not None:
            pixels = self.color(stored)
            out[...] = pixels if bands is None else pixels[..., list(bands)]


class Piece(NamedTuple):
    """A part of one block, and where it goes in the output.

    Parameters
    ----------
    block : int
        Number of the block, row by row through the grid, then plane by plane.
    offset, nbytes : int
        Where it lies in the file; 0 bytes: it was never written.
    inner : tuple of slice
        Rows and columns of the block.
    samples : list of int or None
        Which of its samples; None for all.
    outer : tuple of slice
        Rows, columns and bands of the output.
    """

    block: int
    offset: int
    nbytes: int
    inner: tuple[slice, slice]
    samples: list[int] | None
    outer: tuple[slice, slice, slice]

    def paste(self, block: NDArray[np.generic] | None, out: NDArray[np.generic], fill: float) -> None:
        """Copy the part into the output."""
        if block is None:
            out[self.outer] = fill
            return
        part = block[self.inner]
        if self.samples is not None:
            part = part[..., self.samples]
        out[self.outer] = part


def _plane_jobs(
    planes: int, bands: Sequence[int] | None, count: int
) -> list[tuple[int, list[int] | None, slice]]:
    """List which plane to read, which of its samples, and into which bands of the output."""
    if planes == 1:
        return [(0, None if bands is None else list(bands), slice(None))]
    wanted = range(count) if bands is None else bands
    return [(band, None, slice(k, k + 1)) for k, band in enumerate(wanted)]
