"""From a stream of rows to encoded blocks, in order, with threads, in bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from subregion.convert.encodings import Encode
from subregion.convert.overviews import Pyramid, overview_shapes
from subregion.convert.strips import checked_strips
from subregion.io.threads import processors

_WAITING_NBYTES = 24 << 20  # pixels that wait for encoders, so that none of them waits for the decoder
_JOB_NBYTES = 1 << 20  # pixels per job: enough to make handing it over cheap, little enough to share out


class BlockFile(Protocol):
    """Where encoded blocks end."""

    def append(self, blocks: Sequence[bytes | memoryview]) -> None:
        """Write the next blocks."""
        ...


def plan_levels(
    shape: tuple[int, int, int],
    dtype: np.dtype[Any],
    blocksize: int,
    overviews: Literal["average", "nearest", "mode", "none"],
    nodata: float | int | None,
) -> Pyramid:
    """Return what makes the overviews of an image, down to about a block; with "none", no overviews."""
    rows, cols, _ = shape
    count = 0 if overviews == "none" else len(overview_shapes(rows, cols, blocksize))
    return Pyramid(shape, dtype, count, "average" if overviews == "none" else overviews, nodata)


def encode_levels(
    strips: Iterable[NDArray[Any]],
    shape: tuple[int, int, int],
    dtype: np.dtype[Any],
    pyramid: Pyramid,
    blocksize: int,
    encode: Encode,
    files: Sequence[BlockFile],
    threads: int | None,
) -> None:
    """Put the encoded blocks of an image and of its overviews into a file for each level, in one pass.

    Parameters
    ----------
    strips : iterable of ndarray, (n, columns, bands)
        The rows of the image, from the top.
    shape : tuple of int
        Rows, columns and bands of the image.
    dtype : numpy.dtype
        Of the blocks.
    pyramid : Pyramid
        What makes the levels.
    blocksize : int
        Edge of a block, in pixels.
    encode : callable
        From a block to its bytes.
    files : sequence of BlockFile
        One for each level, the image first.
    threads : int or None
        How many encode; None for as many as this process may use processors.

    Raises
    ------
    DamagedFileError
        If the strips do not make up the image.
    """
    cutters = [Cutter(level_shape, dtype, blocksize) for level_shape in pyramid.shapes]
    with ThreadPoolExecutor(threads or processors(), "subregion-encode") as pool:
        conveyor = Conveyor(pool, encode, limit=max(_WAITING_NBYTES, cutters[0].row_nbytes))
        for strip in checked_strips(strips, shape, dtype):
            for level, part in pyramid.push(strip):
                for blocks in cutters[level].push(part):
                    conveyor.put(blocks, files[level])
        conveyor.finish()


class Cutter:
    """Cuts a stream of rows into rows of blocks; where a block leaves the image, the last pixels repeat.

    Repeated pixels compress to almost nothing and, unlike a fill value, give JPEG no edge to ring at.
    """

    def __init__(self, shape: tuple[int, int, int], dtype: np.dtype[Any], size: int) -> None:
        self._rows_left, self._cols, bands = shape
        self._size = size
        self._dtype = dtype
        self._shape = (-(-self._cols // size), size, size, bands)
        self._blocks = np.empty(0, dtype)
        self._filled = 0  # rows of `_blocks` that hold pixels
        self.row_nbytes = int(np.prod(self._shape)) * dtype.itemsize

    def push(self, rows: NDArray[Any]) -> Iterator[NDArray[Any]]:
        """Take the next rows, (n, columns, bands); give whole rows of blocks, (blocks, size, size, bands)."""
        while len(rows):
            if not self._filled:
                self._blocks = np.empty(self._shape, self._dtype)
            taken = rows[: self._size - self._filled]
            rows = rows[len(taken) :]
            self._fill(taken)
            self._rows_left -= len(taken)
            if not self._rows_left:
                self._blocks[:, self._filled :] = self._blocks[:, self._filled - 1 : self._filled]
            if not self._rows_left or self._filled == self._size:
                self._filled = 0
                yield self._blocks

    def _fill(self, rows: NDArray[Any]) -> None:
        """Copy rows into the blocks, where each block is contiguous."""
        whole, cols = divmod(self._cols, self._size)
        target = self._blocks[:, self._filled : self._filled + len(rows)]
        across = rows[:, : whole * self._size].reshape(len(rows), whole, self._size, rows.shape[2])
        target[:whole] = across.swapaxes(0, 1)
        if cols:
            target[whole, :, :cols] = rows[:, whole * self._size :]
            target[whole, :, cols:] = rows[:, -1:]
        self._filled += len(rows)


class Conveyor:
    """Rows of blocks on their way through the encoders to their files, in the order in which they came."""

    def __init__(self, pool: ThreadPoolExecutor, encode: Encode, limit: int) -> None:
        self._pool = pool
        self._encode = encode
        self._limit = limit  # bytes of pixels that may wait while the caller goes for more
        self._waiting: deque[tuple[BlockFile, int, list[Future[list[bytes | memoryview]]]]] = deque()
        self._waiting_nbytes = 0

    def put(self, blocks: NDArray[Any], file: BlockFile) -> None:
        """Hand over blocks, (n, size, size, bands), that nobody writes to any more."""
        per_job = max(1, _JOB_NBYTES * len(blocks) // blocks.nbytes)
        jobs = [
            self._pool.submit(self._encode_all, blocks[first : first + per_job])
            for first in range(0, len(blocks), per_job)
        ]
        self._waiting.append((file, blocks.nbytes, jobs))
        self._waiting_nbytes += blocks.nbytes
        while self._waiting_nbytes > self._limit:
            self._take()

    def finish(self) -> None:
        """Wait until all is in the files."""
        while self._waiting:
            self._take()

    def _take(self) -> None:
        file, nbytes, jobs = self._waiting.popleft()
        self._waiting_nbytes -= nbytes
        for job in jobs:
            file.append(job.result())

    def _encode_all(self, blocks: NDArray[Any]) -> list[bytes | memoryview]:
        return [self._encode(block) for block in blocks]
