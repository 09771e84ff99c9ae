"""The one idea that serves every format: a grid of blocks, and where each lies in its file."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from subregion.errors import SubregionError, decoding_error
from subregion.geometry.grid import overlaps
from subregion.raster.blockcache import BLOCKS, level_key
from subregion.raster.codecs import BlockRead, BlockReader, Codec, Fetch, fetcher
from subregion.raster.color import Color

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from subregion.geometry.window import Window
    from subregion.raster.blocksums import BlockSums
    from subregion.raster.source import ByteSource


#: A part of one block, and where it goes: number of the block (row by row through the grid, then plane by
#: plane), its offset and bytes in the file (0 bytes: never written), rows and columns inside it, which of its
#: samples (None: all), and rows, columns and bands of the output. A plain tuple: it is made by the dozen.
Piece: TypeAlias = tuple[
    int, int, int, tuple[slice, slice], "list[int] | None", tuple[slice, slice, "slice | list[int]"]
]


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
        Where each block lies. One plane holds all samples of a pixel, or there is a plane for each, or for
        every `samples` of them. 0 bytes: the block was never written and holds `fill`.
    codec : Codec
        Bytes to samples.
    fill : float
        What a block that was never written holds.
    color : Color or None
        From the stored samples to the pixels of the contract (palette to RGB, and so on).
    samples : int
        How many samples of a pixel a plane holds, if there are several planes.
    sums : BlockSums or None
        What the stored bytes of each block must be, where that was written down.
    """

    shape: tuple[int, int, int]
    dtype: np.dtype[np.generic]
    block: tuple[int, int]
    offsets: NDArray[np.int64]
    nbytes: NDArray[np.int64]
    codec: Codec
    fill: float = 0
    color: Color | None = None
    samples: int = 1
    sums: BlockSums | None = None

    def read_into(
        self,
        file: ByteSource,
        window: Window,
        out: NDArray[np.generic],
        bands: Sequence[int] | None = None,
        steps: tuple[int, int] = (1, 1),
    ) -> None:
        """Read a window that lies inside the level.

        Parameters
        ----------
        file : ByteSource
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
        pieces = self.pieces(window, stored.shape[2], None if self.color else bands, steps)
        blocks = self.decoded(file, [(piece, piece[3][0]) for piece in pieces], announced(file, pieces))
        for piece, block in zip(pieces, blocks, strict=True):
            self.paste(file, block, piece, stored)
        self.finish(stored, out, bands)

    def _block_reader(self, file: ByteSource, cold: bool) -> BlockReader:
        """Return what fetches, compares and decodes blocks; the next may overwrite the last."""
        fetch = fetcher(file, cold)
        read = self._plain_reader(file, fetch)
        return read if self.sums is None else self.sums.before(read, fetch or file.read)

    def _plain_reader(self, file: ByteSource, fetch: Fetch | None) -> BlockReader:
        codec = self.codec
        direct = None if fetch is None else codec.direct(fetch)
        if direct is not None:
            return direct
        take = file.mapper() if codec.mapped else file.read

        def block(offset: int, nbytes: int, number: int, rows: slice | None) -> NDArray[np.generic]:
            return codec(take(offset, nbytes), number)

        return block

    @property
    def block_nbytes(self) -> int:
        """About how many bytes a decoded block has."""
        planes = self.offsets.shape[0]
        bands = self.samples if planes > 1 else self.shape[2] if self.color is None else self.color.samples
        return self.block[0] * self.block[1] * bands * self.dtype.itemsize

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
        part = _numbers(rows), _numbers(cols)
        found: list[Piece] = []
        for plane, here, there in _plane_jobs(planes, self.samples, bands, count):
            offsets, nbytes = self.places(plane, *part)
            for (row, inner_rows, outer_rows), line, sizes in zip(rows, offsets, nbytes, strict=True):
                number = (plane * grid_rows + row) * grid_cols
                found += [
                    (
                        number + col,
                        offset,
                        size,
                        (inner_rows, inner_cols),
                        here,
                        (outer_rows, outer_cols, there),
                    )
                    for (col, inner_cols, outer_cols), offset, size in zip(cols, line, sizes, strict=True)
                ]
        return found

    def places(
        self, plane: int, rows: Sequence[int], cols: Sequence[int]
    ) -> tuple[list[list[int]], list[list[int]]]:
        """Return offset and bytes of a part of the grid, row by row.

        Parameters
        ----------
        plane : int
            Which plane.
        rows, cols : range or list of int
            Which blocks: all from one to another, or one by one.
        """
        if type(rows) is range and type(cols) is range:
            grid = plane, slice(rows.start, rows.stop), slice(cols.start, cols.stop)
            return self.offsets[grid].tolist(), self.nbytes[grid].tolist()
        each = np.ix_(rows, cols)
        return self.offsets[plane][each].tolist(), self.nbytes[plane][each].tolist()

    def _undecodable(
        self, file: ByteSource, number: int, offset: int, nbytes: int, error: Exception
    ) -> SubregionError:
        _, grid_rows, grid_cols = self.offsets.shape
        row, col = divmod(number % (grid_rows * grid_cols), grid_cols)
        return decoding_error(
            f"{file.path}: the block at row {row * self.block[0]}, column {col * self.block[1]} "
            f"({nbytes} bytes at {file.describe(offset)}) cannot be decoded",
            error,
        )

    def decoded(
        self,
        file: ByteSource,
        blocks: Sequence[tuple[Piece, slice]],
        cold: bool = False,
        at_once: bool = False,
    ) -> Iterator[NDArray[np.generic] | None]:
        """Fetch and decode the block of each piece, its given rows at least; None if it was never written.

        A block stands until the next one is asked for. All are decoded in one call if `at_once` is true and
        the codec can, for which several threads wait less for each other.

        Raises
        ------
        DamagedFileError
            Naming the file and the block.
        """
        identity, level = file.identity, level_key(self.shape)
        cached = BLOCKS.limit > 0 and identity != "" and not self.codec.mapped
        size = self.block_nbytes if cached else 0
        wanted: list[BlockRead] = []
        found: list[NDArray[np.generic] | None] = []
        for piece, rows in blocks:
            number, nbytes = piece[0], piece[2]
            block = BLOCKS.get((identity, level, number)) if cached and nbytes else None
            found.append(block)
            if block is None and nbytes:
                keep = cached and BLOCKS.note((identity, level, number), size)
                wanted.append((piece[1], nbytes, number, None if keep else rows))
        run = self._decoded_at_once(file, wanted, cold) if at_once else None
        fresh = iter(run) if run is not None else self._one_by_one(file, wanted, cold)
        if not cached and len(wanted) == len(found):
            yield from fresh
            return
        decoded = zip(wanted, fresh, strict=True)
        for block, (piece, _) in zip(found, blocks, strict=True):
            if block is None and piece[2]:
                (_, _, number, part), block = next(decoded)
                if part is None:
                    BLOCKS.keep((identity, level, number), block.copy())
            yield block

    def _one_by_one(
        self, file: ByteSource, wanted: Sequence[BlockRead], cold: bool
    ) -> Iterator[NDArray[np.generic]]:
        """Fetch and decode blocks; the next may overwrite the last."""
        read = self._block_reader(file, cold)
        for offset, nbytes, number, rows in wanted:
            try:
                yield read(offset, nbytes, number, rows)
            except (SubregionError, MemoryError):
                raise
            except Exception as error:
                raise self._undecodable(file, number, offset, nbytes, error) from error

    def _decoded_at_once(
        self, file: ByteSource, wanted: Sequence[BlockRead], cold: bool
    ) -> list[NDArray[np.generic]] | None:
        if len(wanted) < 2 or (fetch := fetcher(file, cold)) is None:
            return None
        run = self.codec.run(fetch)
        if run is None:
            return None
        try:
            if self.sums is not None:
                self.sums.compare_all(wanted, fetch)
            return run(wanted)
        except MemoryError:
            raise
        except Exception:  # noqa: BLE001 - one by one, it will be told which block it is
            return None

    def paste(
        self,
        file: ByteSource,
        block: NDArray[np.generic] | None,
        piece: Piece,
        out: NDArray[np.generic],
        by_rows: bool = False,
    ) -> None:
        """Copy the part of a decoded block that a piece wants; by rows, if threads wait for each other."""
        number, offset, nbytes, inner, samples, outer = piece
        if block is None:
            out[outer] = self.fill
            return
        rows, cols = inner
        if not self.codec.exact:
            try:
                _check_extent(block, rows, cols)
            except ValueError as error:
                raise self._undecodable(file, number, offset, nbytes, error) from error
        if not by_rows or samples is not None or rows.step or cols.step or not _alike(block, out):
            out[outer] = block[inner] if samples is None else block[inner][..., samples]
            return
        # NumPy lets go of the interpreter to copy more than 500 elements. That takes three microseconds, and
        # where another thread waits for it, fifty until it is had again; so a row is one element here.
        here, pixel, _ = block.strides
        there = out.strides[0]
        count, row = rows.stop - rows.start, _opaque((cols.stop - cols.start) * pixel)
        begin, into = rows.start * here + cols.start * pixel, outer[0].start * there + outer[1].start * pixel
        array = np.ndarray
        array((count,), row, out, into, (there,))[...] = array((count,), row, block, begin, (here,))

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


def _alike(block: NDArray[np.generic], out: NDArray[np.generic]) -> bool:
    """Whether pixels are the same bytes in both arrays, side by side in a row."""
    return (
        block.strides[1:] == out.strides[1:]
        and block.dtype == out.dtype
        and block.shape[2] == out.shape[2]
        and block.flags.c_contiguous
        and out.flags.c_contiguous
    )


@functools.lru_cache(maxsize=256)
def _opaque(nbytes: int) -> np.dtype[np.void]:
    return np.dtype((np.void, nbytes))


def _numbers(blocks: list[tuple[int, slice, slice]]) -> range | list[int]:
    """Return which blocks an axis needs, as `TileIndex.places` takes them."""
    first, last = blocks[0][0], blocks[-1][0]
    if last - first == len(blocks) - 1:
        return range(first, last + 1)
    return [block for block, _, _ in blocks]  # steps are larger than blocks


def announced(file: ByteSource, pieces: Sequence[Piece]) -> bool:
    """Let the disk fetch all blocks at once, and return True, if they have to come from there."""
    if not pieces or not file.is_cold(pieces[0][1]):
        return False
    for _, offset, nbytes, *_ in pieces:
        file.announce(offset, nbytes)
    return True


def _check_extent(block: NDArray[np.generic], rows: slice, cols: slice) -> None:
    """Refuse a block that is smaller than what is wanted of it: copying could repeat its only row."""
    if block.shape[0] < rows.stop or block.shape[1] < cols.stop:
        raise ValueError(f"it holds {block.shape[0]} rows of {block.shape[1]} pixels")


def _plane_jobs(
    planes: int, samples: int, bands: Sequence[int] | None, count: int
) -> list[tuple[int, list[int] | None, slice | list[int]]]:
    """List which plane to read, which of its samples, and into which bands of the output."""
    if planes == 1:
        return [(0, None if bands is None else list(bands), slice(None))]
    wanted = range(count) if bands is None else bands
    if samples == 1:
        return [(band, None, slice(k, k + 1)) for k, band in enumerate(wanted)]
    jobs: dict[int, tuple[list[int], list[int]]] = {}
    for k, band in enumerate(wanted):
        here, there = jobs.setdefault(band // samples, ([], []))
        here.append(band % samples)
        there.append(k)
    return [(plane, here, there) for plane, (here, there) in jobs.items()]


def same_picture(small: TileIndex, full: TileIndex) -> bool:
    """Whether the proportions of an overview are those of the picture, within the rounding of one pixel."""
    ratio = full.shape[1] / small.shape[1]
    return ratio > 1 and abs(full.shape[0] / ratio - small.shape[0]) <= 1.5
