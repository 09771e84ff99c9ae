"""What every open image can do, whatever its format."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from subregion.errors import DamagedFileError, decoding_error
from subregion.forks import computed_once
from subregion.geometry.window import Window
from subregion.raster.blocksums import BlockSums
from subregion.raster.source import SourceFile

if TYPE_CHECKING:
    from subregion.raster.descriptors import State
    from subregion.raster.source import ByteSource
    from subregion.raster.tileindex import TileIndex


@dataclass(frozen=True, slots=True)
class FileTag:
    """A TIFF tag that travels with the pixels: georeferencing, colour profile, band metadata.

    Parameters
    ----------
    code : int
        Number of the tag.
    kind : int
        TIFF data type of the values.
    count : int
        How many values.
    value : bytes
        The values, little endian.
    """

    code: int
    kind: int
    count: int
    value: bytes


#: Window, output, bands and steps, as `Raster.read_into` takes them.
Read: TypeAlias = tuple[Window, NDArray[Any], "Sequence[int] | None", tuple[int, int]]


class Raster(ABC):
    """An open image of one resolution or more.

    Safe to use from any number of threads at once. It closes its file when the last holder drops it.

    Attributes
    ----------
    path : str
        The file.
    driver : str
        Format, such as ``"TIFF"``.
    layout : str
        How the pixels lie in the file, in words.
    shape : tuple of int
        Rows, columns and bands of the full resolution.
    dtype : numpy.dtype
        Type of the bands.
    block : tuple of int
        Rows and columns that are decoded together.
    windowed : bool
        Whether a window costs what the window costs; False if it costs the whole image.
    mapped : bool
        Whether the samples are uncompressed, so that only those of the window are touched.
    independent : bool
        Whether several windows share no work, so that each may be read by a thread of its own.
    nodata : float or None
        The file's own tag for "no pixel here".
    tags : tuple of FileTag
        What a converted file takes along.
    lease : object
        Dropped together with it: the right to read a copy that others would remove.
    watched : tuple or None
        The file whose change means that the image changed, and what it looked like when it was opened; None
        if that is `path`.
    """

    path: str
    driver: str
    layout: str
    shape: tuple[int, int, int]
    dtype: np.dtype[np.generic]
    block: tuple[int, int]
    windowed: bool
    mapped: bool = False
    independent: bool = False
    nodata: float | None = None
    tags: tuple[FileTag, ...] = ()
    watched: tuple[str, State] | None = None
    lease: object = None

    @abstractmethod
    def read_into(
        self,
        window: Window,
        out: NDArray[Any],
        bands: Sequence[int] | None = None,
        steps: tuple[int, int] = (1, 1),
        level: int = 0,
    ) -> None:
        """Read a window that lies inside the image; see `TileIndex.read_into`."""

    def read(
        self,
        window: Window,
        bands: Sequence[int] | None = None,
        steps: tuple[int, int] = (1, 1),
        level: int = 0,
    ) -> NDArray[Any]:
        """Read a window that lies inside the image into a new array; see `read_into`."""
        rows, cols = -(-window.height // steps[0]), -(-window.width // steps[1])
        out = np.empty((rows, cols, self.shape[2] if bands is None else len(bands)), self.dtype)
        self.read_into(window, out, bands, steps, level)
        return out

    def read_many(self, reads: Sequence[Read], level: int = 0) -> None:
        """Read several windows of one level, each given as for `read_into`."""
        for window, out, bands, steps in reads:
            self.read_into(window, out, bands, steps, level)

    def blocks_of(
        self, window: Window, bands: Sequence[int] | None, steps: tuple[int, int], level: int
    ) -> list[tuple[int, int, int]] | None:
        """Tell which blocks a read needs: number, offset and bytes; None if all has to be decoded."""
        return None

    @property
    def nbytes(self) -> int:
        """Bytes of the file."""
        try:
            return os.path.getsize(self.path)
        except OSError:
            return 0

    @property
    def level_shapes(self) -> tuple[tuple[int, int], ...]:
        """Rows and columns of each resolution, the full one first."""
        return (self.shape[:2],)

    def strips(self, rows: int) -> Iterator[NDArray[Any]]:
        """Yield the whole image from top to bottom, `rows` rows at a time, in bounded memory."""
        height, width, bands = self.shape
        for row in range(0, height, rows):
            count = min(rows, height - row)
            strip = np.empty((count, width, bands), self.dtype)
            self.read_into(Window(row, 0, count, width), strip)
            yield strip


class BlockRaster(Raster):
    """A file whose blocks are known: any window is read from the blocks that it touches."""

    windowed = True

    def __init__(
        self,
        file: ByteSource,
        driver: str,
        layout: str,
        levels: Sequence[TileIndex],
        nodata: float | None = None,
        tags: tuple[FileTag, ...] = (),
    ) -> None:
        full = levels[0]
        self.file = file
        self.path = file.path
        self.driver = driver
        self.layout = layout
        self.shape = full.shape
        self.dtype = full.dtype
        self.block = full.block
        self.mapped = full.codec.mapped
        self.nodata = nodata
        self.tags = tags
        self._levels = tuple(levels)
        self._sums: tuple[NDArray[np.uint32], ...] = ()
        file.expect_windows()

    def stands_still(self) -> None:
        """Note that nobody writes to the file, so that it may be mapped; see `SourceFile.view`."""
        if isinstance(self.file, SourceFile):
            self.file.steady = True

    def compare_with(self, sums: Sequence[NDArray[np.uint32]]) -> None:
        """Have each block compared with its checksum when it is first read.

        Parameters
        ----------
        sums : sequence of ndarray of uint32
            For each level the CRC-32C of its blocks; an empty one for a level that has none.

        Raises
        ------
        DamagedFileError
            If there are more blocks, or fewer, than checksums.
        """
        self._sums = tuple(sums)
        self._levels = tuple(self._compared(index, level) for level, index in enumerate(self._levels))

    def _compared(self, index: TileIndex, level: int) -> TileIndex:
        """Return a level with the checksums of its blocks, if there are any."""
        numbers = self._sums[level] if level < len(self._sums) else None
        if numbers is None or not len(numbers):
            return index
        if len(numbers) != index.offsets.size:
            raise DamagedFileError(
                f"{self.path}: level {level} has {index.offsets.size} blocks, but there are {len(numbers)} "
                f"checksums of blocks."
            )
        return replace(index, sums=BlockSums(numbers))

    def blocks_of(
        self, window: Window, bands: Sequence[int] | None, steps: tuple[int, int], level: int
    ) -> list[tuple[int, int, int]]:
        """Tell which blocks a read needs: number, offset and bytes."""
        _, index = self.stored_level(level)
        if window.empty:
            return []
        count = index.shape[2] if bands is None else len(bands)
        wanted = None if index.color is not None else bands
        pieces = index.pieces(window, count if index.color is None else index.color.samples, wanted, steps)
        return sorted({(piece[0], piece[1], piece[2]) for piece in pieces}, key=lambda block: block[1])

    def stored_level(self, level: int) -> tuple[ByteSource, TileIndex]:
        """Return one level, with the file that its blocks are in."""
        return self.file, self._levels[0] if level == 0 else self.levels[level]

    @property
    def stored_levels(self) -> tuple[tuple[ByteSource, TileIndex], ...]:
        """The levels, each with the file that its blocks are in."""
        return tuple(self.stored_level(level) for level in range(len(self.levels)))

    @property
    def full(self) -> TileIndex:
        """The full resolution."""
        return self._levels[0]

    @property
    def levels(self) -> tuple[TileIndex, ...]:
        """The full resolution and its overviews."""
        return self._levels

    @computed_once
    def level_shapes(self) -> tuple[tuple[int, int], ...]:
        """Rows and columns of each resolution, the full one first."""
        return tuple(level.shape[:2] for level in self.levels)

    def read_into(
        self,
        window: Window,
        out: NDArray[Any],
        bands: Sequence[int] | None = None,
        steps: tuple[int, int] = (1, 1),
        level: int = 0,
    ) -> None:
        """Read a window that lies inside the level; see `TileIndex.read_into`."""
        array = self._array if level == 0 else None
        if array is None:
            file, index = self.stored_level(level)
            index.read_into(file, window, out, bands, steps)
            return
        part = self._part(array, window, steps)
        if bands is None:
            out[...] = part
            return
        for k, band in enumerate(bands):
            out[..., k] = part[..., band]

    @computed_once
    def _array(self) -> NDArray[Any] | None:
        """Return the whole image as a view of the mapped file, where it is one uncompressed block."""
        full, file = self._levels[0], self.file
        if not full.codec.mapped or full.offsets.size != 1 or full.color is not None or not full.nbytes.all():
            return None
        if not isinstance(file, SourceFile) or not file.mappable:
            return None
        data = file.mapped(int(full.offsets[0, 0, 0]), int(full.nbytes[0, 0, 0]))
        try:
            array = full.codec(data, 0)
        except (ValueError, TypeError) as error:
            raise decoding_error(f"{self.path}: its samples cannot be used as they are", error) from error
        return array if array.dtype.isnative else None

    def read(
        self,
        window: Window,
        bands: Sequence[int] | None = None,
        steps: tuple[int, int] = (1, 1),
        level: int = 0,
    ) -> NDArray[Any]:
        """Read a window that lies inside the image into a new array; see `read_into`."""
        array = self._array if level == 0 else None
        if array is None:
            return super().read(window, bands, steps, level)
        if bands is None:
            return self._part(array, window, steps).copy()
        return super().read(window, bands, steps, level)

    def _part(self, array: NDArray[Any], window: Window, steps: tuple[int, int]) -> NDArray[Any]:
        """Return a window of a mapped image; the disk is told before its rows are touched one by one.

        Raises
        ------
        DamagedFileError
            If the file became shorter.
        """
        self.file.check_size()
        top, left = window.row, window.col
        if window.height > 1 and (layout := self._rows) is not None:
            begin, row_bytes, pixel_bytes = layout
            start = begin + top * row_bytes + left * pixel_bytes
            if self.file.is_cold(start):
                for row in range(0, window.height, steps[0]):
                    self.file.announce(start + row * row_bytes, window.width * pixel_bytes)
        return array[top : top + window.height : steps[0], left : left + window.width : steps[1]]

    @computed_once
    def _rows(self) -> tuple[int, int, int] | None:
        """Where a mapped image begins, and the bytes of a row and a pixel; None if rows are in pieces."""
        array = self._array
        if array is None or not array.flags.c_contiguous:
            return None
        return int(self.full.offsets[0, 0, 0]), array.strides[0], array.strides[1]

    @computed_once
    def memmap(self) -> NDArray[Any]:
        """All of a ``.npy`` file as a read-only `numpy.memmap`: one serves all who ask for it."""
        mapped: NDArray[Any] = np.load(self.path, mmap_mode="r", allow_pickle=False)
        return mapped

    def strips(self, rows: int) -> Iterator[NDArray[Any]]:
        """Yield the whole image from top to bottom in multiples of its block rows near `rows`."""
        high = self.block[0]
        if high >= self.shape[0] and not self._levels[0].codec.mapped:
            rows = self.shape[0]  # one block: decode it once
        elif not self._levels[0].codec.mapped:
            rows = max(1, round(rows / high)) * high
        return read_in_order(self.file, super().strips(rows))


def read_in_order(file: ByteSource, strips: Iterator[NDArray[Any]]) -> Iterator[NDArray[Any]]:
    """Yield strips from the top of a file to its end, and let the system know that they are read so."""
    file.expect_rows()
    try:
        for strip in strips:
            yield strip
            file.forget_pages()
    finally:
        file.expect_windows()
