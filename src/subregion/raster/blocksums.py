"""Checksums of the stored bytes of blocks, kept apart from the file, compared when a block is first read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from subregion.libraries import google_crc32c

if TYPE_CHECKING:
    from subregion.raster.codecs import BlockRead, BlockReader, Fetch
    from subregion.raster.source import ByteSource
    from subregion.raster.tileindex import TileIndex


class BlockSums:
    """What the blocks of one level of one open file must be.

    That a block was found right is remembered for as long as the file is open: its bytes come from the disk
    once, and from memory after that.

    Parameters
    ----------
    numbers : ndarray of uint32, shape (blocks,)
        CRC-32C of each block, by its number: row by row through the grid, then plane by plane.
    """

    __slots__ = ("_awaited", "_left", "_numbers", "_value")

    def __init__(self, numbers: NDArray[np.uint32]) -> None:
        self._numbers = numbers
        self._awaited = bytearray(b"\1") * len(numbers)
        self._left = len(numbers)
        self._value: Any = google_crc32c.value

    def compare(self, number: int, data: bytes | memoryview) -> None:
        """Compare a block, and note that it was found right.

        Raises
        ------
        ValueError
            If it is not as it was written.
        """
        if self._value(bytes(data)) != self._numbers[number]:
            raise ValueError("it is not as it was written: its checksum is another")
        if self._awaited[number]:  # two threads may do so at once: then one block is compared again
            self._awaited[number] = 0
            self._left -= 1

    def compare_all(self, blocks: Sequence[BlockRead], fetch: Fetch) -> None:
        """Compare those of some blocks that were not compared yet.

        Raises
        ------
        ValueError
            If one is not as it was written.
        """
        if self._left > 0:
            for offset, nbytes, number, _ in blocks:
                if self._awaited[number]:
                    self.compare(number, fetch(offset, nbytes))

    def before(self, read: BlockReader, fetch: Fetch) -> BlockReader:
        """Return what compares a block where that is still to be done, and then reads it."""
        if self._left <= 0:
            return read
        awaited, compare = self._awaited, self.compare

        def block(offset: int, nbytes: int, number: int, rows: slice | None) -> NDArray[np.generic]:
            if awaited[number]:
                compare(number, fetch(offset, nbytes))
            return read(offset, nbytes, number, rows)

        return block


def sums_of(file: ByteSource, index: TileIndex) -> NDArray[np.uint32]:
    """Compute the CRC-32C of each block of a level; 0 for those that were never written.

    Raises
    ------
    SubregionError
        If the file cannot be read.
    """
    planes, rows, cols = index.offsets.shape
    numbers = np.zeros((planes, rows, cols), np.uint32)
    value = google_crc32c.value
    for plane in range(planes):
        for row in range(rows):
            (offsets,), (sizes,) = index.places(plane, range(row, row + 1), range(cols))
            numbers[plane, row] = [
                value(file.read(offset, nbytes)) if nbytes else 0
                for offset, nbytes in zip(offsets, sizes, strict=True)
            ]
    return numbers.ravel()
