"""One resolution of a file, as reads see it: which blocks a window needs, and how those are had."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence, Set
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from subregion.codecs.codec import Decoder
    from subregion.codecs.color import Color
    from subregion.geometry.window import Window
    from subregion.io.source import ByteSource

#: How many pieces of work a thread gets at least, so that all end at about the same time.
SHARES = 4
#: A block that is wanted: its number in the level, and offset and bytes in the file; of several ranges the
#: first offset and the sum. 0 bytes: it was never written. A plain tuple, as `Copy`: made by the dozen.
Block: TypeAlias = "tuple[Any, int, int]"
#: A part of a decoded block, and where it goes: rows and columns inside the block, which of its samples
#: (None: all), the output, and rows, columns and bands of that.
Copy: TypeAlias = (
    "tuple[tuple[slice, slice], list[int] | None, NDArray[Any], tuple[slice, slice, slice | list[int]]]"
)


class WindowRead(NamedTuple):
    """One window to be read.

    Parameters
    ----------
    level : Level
        Of which image, in which resolution.
    window : Window
        In pixels of the level, inside it.
    out : ndarray, shape (rows, columns, bands)
        Where the pixels go; rows and columns are those of the window, divided by the steps, rounded up.
    bands : sequence of int or None
        Which bands, in which order; None for all.
    steps : tuple of int
        Every how many rows and columns one is taken.
    """

    level: Level
    window: Window
    out: NDArray[Any]
    bands: Sequence[int] | None = None
    steps: tuple[int, int] = (1, 1)


class BlockPlan(NamedTuple):
    """What windows of one level need: two tables, of which the level is what all rows have in common.

    Parameters
    ----------
    blocks : list of Block
        Each once, in the order in which they are read.
    copies : list of list of Copy
        For each block, which parts of it go where.
    """

    blocks: list[Block]
    copies: list[list[Copy]]

    def part(self, first: int, stop: int) -> BlockPlan:
        """Return some of the rows."""
        return BlockPlan(self.blocks[first:stop], self.copies[first:stop])

    def only(self, numbers: Set[Any]) -> BlockPlan:
        """Return the rows of blocks with these numbers."""
        rows = [row for row in zip(self.blocks, self.copies, strict=True) if row[0][0] in numbers]
        return BlockPlan([block for block, _ in rows], [copies for _, copies in rows])


class Level(ABC):
    """One resolution of one file.

    What it says never changes while it is open, and it may be read by any number of threads at once.

    Attributes
    ----------
    file : ByteSource
        The file that the offsets of blocks belong to.
    shape : tuple of int
        Rows, columns and bands as they are read, that is after `color`.
    dtype : numpy.dtype
        Type of the samples as they are read, native byte order.
    block : tuple of int
        Rows and columns of a block; a strip is a block as wide as the image.
    block_nbytes : int
        About how many bytes a decoded block has.
    windowed : bool
        Whether a window costs what the window costs; False if it costs the image, or what is above of it.
    mapped : bool
        Whether blocks are views of the mapped file, so that only what is copied of them is touched.
    exact : bool
        Whether every decoded block is as large as the grid says.
    ordered : bool
        Whether one decoder gives the blocks from first to last, and cannot go back.
    fill : float
        What a block that was never written holds.
    color : Color or None
        From the stored samples to the pixels of the contract (palette to RGB, and so on).
    checked : bool
        Whether there are checksums of blocks, which `check` compares.
    table : BlockTable or None
        The same blocks as the compiled executor takes them; None if it cannot read them.
    resized : bool
        Whether it is known as a resized copy of what it is an overview of; see `level_to_full`.
    cache_key : tuple of (str, int) or None
        What decoded blocks of it are known by, beside their number; None if they are not to be kept.
    """

    __slots__ = ()

    file: ByteSource
    shape: tuple[int, int, int]
    dtype: np.dtype[np.generic]
    block: tuple[int, int]
    windowed: bool = True
    mapped: bool = False
    exact: bool = True
    ordered: bool = False
    fill: float = 0
    color: Color | None = None
    checked: bool = False
    table: Any = None
    resized: bool = False

    @property
    def cache_key(self) -> tuple[str, int] | None:
        """What decoded blocks of it are known by."""
        return None

    @property
    def block_nbytes(self) -> int:
        """About how many bytes a decoded block has."""
        return self.block[0] * self.block[1] * self.shape[2] * self.dtype.itemsize

    @property
    def as_stored(self) -> Level:
        """The same in the orientation in which it is stored."""
        return self

    @property
    def index_nbytes(self) -> int:
        """About how many bytes of memory it takes."""
        return 0

    def on(self, file: ByteSource) -> Level | None:
        """Return the same level of the same file that was opened again, or closed; None if that cannot be.

        Parameters
        ----------
        file : ByteSource
            The same bytes as those of `file`.
        """
        return None

    @abstractmethod
    def plan(self, reads: Sequence[WindowRead], threads: int = 1) -> BlockPlan:
        """Tell which blocks windows need, and which parts of them go where. Nothing is decoded.

        Parameters
        ----------
        reads : sequence of WindowRead
            Windows of this level, not empty; those of a level with `color` want all stored samples.
        threads : int
            Between how many the blocks will be divided.
        """

    @abstractmethod
    def decoder(self) -> Decoder:
        """Return what decodes blocks in the thread that asks for it; the next block may overwrite the last.

        It raises any exception on bytes that it cannot decode.
        """

    def ranges(self, block: Block) -> list[tuple[int, int]]:
        """Return offset and bytes of each piece of a block."""
        return [block[1:]]

    def touched(self, block: Block, parts: Sequence[Copy]) -> list[tuple[int, int]]:
        """Return offset and bytes of what copies of a block come from, for the disk to be told of."""
        return self.ranges(block)

    @abstractmethod
    def fetch(self, blocks: Sequence[Block], cold: bool) -> list[Any]:
        """Return the stored bytes of blocks, as the decoder takes them.

        Parameters
        ----------
        blocks : sequence of Block
            Which.
        cold : bool
            Whether they have to come from the disk.

        Raises
        ------
        DamagedFileError
            If the file ends before.
        """

    def decode_many(
        self, blocks: Sequence[Block], data: Sequence[Any], rows: Sequence[slice | None]
    ) -> list[NDArray[Any]] | None:
        """Decode blocks in one call, in which threads wait less for each other; None if that cannot be."""
        return None

    def check(self, number: Any, data: Any) -> None:  # noqa: B027 - most levels have none
        """Compare the stored bytes of a block with their checksum.

        Raises
        ------
        ValueError
            If it is another.
        """

    def describe(self, block: Block) -> str:
        """Say which block it is, for messages about it: what cannot be decoded."""
        number, offset, nbytes = block
        return f"block {number} ({nbytes} bytes at {self.file.describe(offset)}) cannot be decoded"


def unplaced(
    level: Level, window: Window, bands: Sequence[int] | None = None, steps: tuple[int, int] = (1, 1)
) -> WindowRead:
    """Return the read of stored samples of a window that goes nowhere: to learn which blocks it needs."""
    rows, cols = -(-window.height // steps[0]), -(-window.width // steps[1])
    if level.color is not None:
        bands, count = None, level.color.samples
    else:
        count = level.shape[2] if bands is None else len(bands)
    nowhere = np.broadcast_to(np.zeros((), np.uint8), (rows, cols, count))
    return WindowRead(level, window, nowhere, bands, steps)


_EVERYWHERE = slice(None), slice(None), slice(None)


def whole_copy(read: WindowRead, top: int = 0, left: int = 0) -> Copy:
    """Return the copy of a read out of a block that holds all of it, and begins at a pixel of the level."""
    window, (down, across) = read.window, read.steps
    row, col = window.row - top, window.col - left
    inner = slice(row, row + window.height, down), slice(col, col + window.width, across)
    bands = None if read.bands is None else list(read.bands)
    return inner, bands, read.out, _EVERYWHERE
