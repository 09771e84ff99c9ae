"""What turns the bytes of a block into samples, as values; and uncompressed samples."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

#: Stored bytes and number of a block, and which of its rows are wanted (None: all), to its samples: shape
#: (rows, columns, samples), of the whole block, whose other rows may hold anything.
Decoder: TypeAlias = "Callable[[Any, Any, slice | None], NDArray[Any]]"
Data: TypeAlias = "bytes | memoryview"


@dataclass(frozen=True, slots=True)
class BlockShape:
    """How many rows, columns and samples the blocks of a grid hold.

    Parameters
    ----------
    rows, cols, samples : int
        Of a full block.
    grid_rows : int
        How many blocks the grid has from top to bottom.
    grid_cols : int
        How many it has from left to right.
    last_rows : int
        Rows that the lowest blocks must hold; those of tiled files are always full.
    """

    rows: int
    cols: int
    samples: int
    grid_rows: int
    grid_cols: int
    last_rows: int

    def of(self, block: int) -> tuple[int, int, int]:
        """Return rows, columns and samples of the block with this number."""
        if self.last_rows == self.rows or block // self.grid_cols % self.grid_rows != self.grid_rows - 1:
            return self.rows, self.cols, self.samples
        return self.last_rows, self.cols, self.samples


class Codec(ABC):
    """Turns the stored bytes of one block into its samples.

    A value: what it does follows from its fields, which can be compared, printed and pickled. It raises any
    exception on bytes that it cannot decode.

    Attributes
    ----------
    mapped : bool
        Whether bytes are only looked at, not decoded: then the array is a view of the mapped file.
    exact : bool
        Whether every block that it returns is as large as the grid says.
    checked : bool
        Whether stored bytes end with their CRC-32C; whoever fetches them compares it.
    small : bool
        Whether it holds some numbers and tables, a few kilobytes at most, and no file.
    """

    __slots__ = ()
    mapped: bool = False
    exact: bool = True
    checked: bool = False
    small: bool = True

    @abstractmethod
    def decode(self, data: Data, block: int, rows: slice | None = None) -> NDArray[Any]:
        """Decode the block with this number (row by row through the grid, then plane by plane).

        The array has shape (rows, columns, samples), may be read-only, and belongs to the caller. It may have
        fewer rows than the grid's block where the image ends, never fewer than the image needs.
        """

    def decoder(self) -> Decoder:
        """Return the shortest way from bytes to samples for one thread: the next may overwrite the last."""
        return self.decode

    def decode_many(
        self, data: Sequence[Data], blocks: Sequence[int], rows: Sequence[slice | None]
    ) -> list[NDArray[Any]] | None:
        """Decode several blocks in one call; None if they must be decoded one by one."""
        return None


@dataclass(frozen=True, slots=True)
class RawCodec(Codec):
    """Uncompressed samples, looked at where they lie in the mapped file."""

    shape: BlockShape
    stored: np.dtype[np.generic]
    order: str = "C"
    mapped: bool = field(default=True, init=False)

    def decode(self, data: Data, block: int, rows: slice | None = None) -> NDArray[Any]:
        """View the block as an array."""
        place = self.shape
        alike = place.last_rows == place.rows
        shape = (place.rows, place.cols, place.samples) if alike else place.of(block)
        if self.order == "F":
            return np.ndarray(shape[::-1], self.stored, data).T
        return np.ndarray(shape, self.stored, data)
