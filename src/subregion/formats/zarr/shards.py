"""The files of a zarr array: shards with their indexes, and chunks that are a file each."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subregion.blocks.level import Block
from subregion.codecs.zarr_filters import check
from subregion.errors import DamagedFileError, SourceNotFoundError, decoding_error, source_error
from subregion.formats.grid import GridLevel
from subregion.formats.zarr.axes import Axes
from subregion.formats.zarr.metadata import ArraySpec, ShardSpec, is_zarr
from subregion.io import limits
from subregion.io.descriptors import State, state_of
from subregion.io.pool import POOL
from subregion.io.source import ByteSource, SourceFile

#: The files of an array are addressed as if they lay this many bytes apart, one behind the other.
SPAN = 1 << 48
#: Chunks of fewer bytes need no look at the limits.
_LARGE = 1 << 24
#: About how many bytes the objects take that a level is made of, with the description of its array.
_LEVEL_NBYTES = 6000
_NEVER_WRITTEN = np.uint64(2**64 - 1)


@dataclass(frozen=True, slots=True, eq=False)
class Shard:
    """An open file of several blocks.

    Parameters
    ----------
    file : SourceFile
        The file.
    offsets, nbytes : ndarray of int64
        Where each block lies, with an axis for each axis of the array; 0 bytes: never written.
    state : tuple of int
        What the file looked like when its index was read.
    """

    file: SourceFile
    offsets: NDArray[np.int64]
    nbytes: NDArray[np.int64]
    state: State


def open_shard(path: str, spec: ShardSpec, grid: tuple[int, ...], immutable: bool = False) -> Shard:
    """Open a shard and read its index, and nothing else.

    Parameters
    ----------
    path : str
        The file.
    spec : ShardSpec
        Where its index is.
    grid : tuple of int
        How many blocks it has along each axis.
    immutable : bool
        Whether nobody writes to it.

    Raises
    ------
    SourceNotFoundError
        If there is no such file.
    DamagedFileError
        If it is too short for its index, the checksum of the index is wrong, or a block lies outside.
    """
    file = SourceFile(path, immutable)
    count = math.prod(grid)
    size = spec.index_nbytes(count)
    if size > file.size:
        raise DamagedFileError(
            f"{path}: truncated: the index of its {count} blocks has {size} bytes, but the file {file.size}. "
            f"Fetch or write it again."
        )
    limits.check_stored(path, size)
    data = file.read(file.size - size if spec.at_end else 0, size)
    if spec.checksum:
        try:
            check(data)
        except ValueError as error:
            raise decoding_error(f"{path}: its block index cannot be trusted", error) from error
    entries = np.frombuffer(data, ">u8" if spec.big_endian else "<u8", 2 * count).astype(np.uint64)
    offsets, nbytes = entries[0::2], entries[1::2]
    missing = (offsets == _NEVER_WRITTEN) & (nbytes == _NEVER_WRITTEN)
    if missing.any():
        offsets, nbytes = np.where(missing, 0, offsets), np.where(missing, 0, nbytes)
    end = np.uint64(file.size)
    outside = (offsets > end) | (nbytes > end - np.minimum(offsets, end))
    if outside.any():
        worst = int(np.argmax(outside))
        raise file.too_short(int(offsets[worst]), int(nbytes[worst]))
    if bool((nbytes == 0).any()) and bool(((nbytes == 0) & ~missing).any()):
        raise DamagedFileError(f"{path}: its index lists a block of 0 bytes.")
    return Shard(
        file, offsets.astype(np.int64).reshape(grid), nbytes.astype(np.int64).reshape(grid), file.state
    )


class ChunkFiles(ByteSource):
    """The files of an array, read as if they lay one behind the other.

    Nothing is kept open but the shards, and those by the pool of the process, which bounds their number. A
    shard that was rewritten meanwhile is noticed when its blocks are looked up.

    Parameters
    ----------
    spec : ArraySpec
        The array.
    """

    __slots__ = ("identity", "path", "size", "spec")

    def __init__(self, spec: ArraySpec) -> None:
        self.spec = spec
        self.path = spec.path
        self.size = SPAN * math.prod(spec.grid)
        self.identity = ""  # any of the files may be written anew at any time, so no block is kept

    def place(self, block: Sequence[int], seen: dict[int, Shard | None]) -> tuple[int, int]:
        """Return address and bytes of a block, which are 0 if it was never written.

        Parameters
        ----------
        block : sequence of int
            Its position in the grid of blocks, on all axes of the array.
        seen : dict
            Shards that were looked at for the same read.
        """
        number, inside = self._in_file(block)
        if self.spec.shard is None:
            return number * SPAN, self._chunk_nbytes(self.spec.file_of(tuple(block)))
        if number not in seen:
            seen[number] = self._shard_now(self._path(number))
        shard = seen[number]
        if shard is None:
            return number * SPAN, 0
        return number * SPAN + int(shard.offsets[inside]), int(shard.nbytes[inside])

    def stored(self, block: Sequence[int], mapped: bool) -> Any:
        """Return the bytes of a block of a shard, from where the index of this very file says that they are.

        The shard may have been replaced since the block was looked up, and its blocks lie elsewhere now. To
        hold the shards of a read from then on would take any number of descriptors.

        Parameters
        ----------
        block : sequence of int
            Its position in the grid of blocks, on all axes of the array.
        mapped : bool
            Whether only some of its bytes will be touched.

        Raises
        ------
        DamagedFileError
            If it is not there any more, or its shard is damaged.
        """
        number, inside = self._in_file(block)
        path = self._path(number)
        shard = self._shard(path)
        offset, nbytes = int(shard.offsets[inside]), int(shard.nbytes[inside])
        if not nbytes:
            raise _taken_away(path)
        return shard.file.map_ranges([offset], [nbytes])[0] if mapped else shard.file.read(offset, nbytes)

    def _in_file(self, block: Sequence[int]) -> tuple[int, tuple[int, ...]]:
        """Return the number of the file that holds a block, and the position of the block in it."""
        number, inside = 0, []
        for at, count, files in zip(block, self.spec.in_shard, self.spec.grid, strict=True):
            file, rest = divmod(at, count)
            number = number * files + file
            inside.append(rest)
        return number, tuple(inside)

    def read_ranges(self, offsets: Sequence[int], sizes: Sequence[int]) -> list[bytes]:
        """Return the bytes of blocks; see `ByteSource.read_ranges`.

        A chunk that is a file is returned as it is now: it may have been replaced since it was looked up.
        """
        found = []
        for offset, count in zip(offsets, sizes, strict=True):
            number, inside = divmod(offset, SPAN)
            file = self._file(self._path(number))
            found.append(file.read(0, file.size) if self.spec.shard is None else file.read(inside, count))
        return found

    def map_ranges(self, offsets: Sequence[int], sizes: Sequence[int]) -> list[memoryview]:
        """Return views of blocks."""
        found = []
        for offset, count in zip(offsets, sizes, strict=True):
            number, inside = divmod(offset, SPAN)
            found += self._file(self._path(number)).map_ranges([inside], [count])
        return found

    def describe(self, offset: int) -> str:
        """Say where an address is, for people."""
        number, inside = divmod(offset, SPAN)
        return f"offset {inside} of {os.path.relpath(self._path(number), self.path)}"

    def is_cold(self, offset: int) -> bool:
        """Tell whether a byte of an open shard would have to come from the disk."""
        shard = self._open_shard(offset)
        return shard is not None and shard.is_cold(offset % SPAN)

    def announce(self, offset: int, count: int) -> None:
        """Tell the system that these bytes of a shard are wanted soon."""
        shard = self._open_shard(offset)
        if shard is not None:
            shard.announce(offset % SPAN, count)

    def _open_shard(self, offset: int) -> SourceFile | None:
        shard: Shard | None = POOL.get(("shard", self._path(offset // SPAN))) if self.spec.shard else None
        return None if shard is None else shard.file

    def _path(self, number: int) -> str:
        chunk = []
        for count in reversed(self.spec.grid):
            number, at = divmod(number, count)
            chunk.append(at)
        return self.spec.file_of(tuple(reversed(chunk)))

    def _chunk_nbytes(self, path: str) -> int:
        status = self._status(path)
        if status is None:
            return 0
        size = status.st_size
        if size == 0:
            raise DamagedFileError(f"{path}: is empty (0 bytes): its writer did not finish.")
        if size > _LARGE:
            limits.check_stored(path, size)
        return size

    def _shard_now(self, path: str) -> Shard | None:
        """Return a shard as it is now; None if it was never written."""
        status = self._status(path)
        return None if status is None else self._shard(path, state_of(status))

    def _shard(self, path: str, state: State | None = None) -> Shard:
        key, spec = ("shard", path), self.spec.shard
        assert spec is not None  # noqa: S101 - for mypy
        shard: Shard | None = POOL.get(key)
        if shard is None or (state is not None and state != shard.state):
            try:
                shard = open_shard(path, spec, self.spec.in_shard)
            except SourceNotFoundError as error:
                raise _taken_away(path) from error
            POOL.put(key, shard)
        return shard

    def _file(self, path: str) -> SourceFile:
        try:
            return SourceFile(path) if self.spec.shard is None else self._shard(path).file
        except SourceNotFoundError as error:
            raise _taken_away(path) from error

    def _status(self, path: str) -> os.stat_result | None:
        """Look at a file; None if it was never written, but the array is still there."""
        try:
            return os.stat(path)
        except (FileNotFoundError, NotADirectoryError) as error:
            if not is_zarr(self.path):
                raise _taken_away(self.path) from error
            return None
        except OSError as error:
            raise source_error(path, error) from error


def _taken_away(path: str) -> DamagedFileError:
    """Say that a file vanished that was there when its block was looked up."""
    return DamagedFileError(f"{path}: was taken away while it was open. Open it again.")


@dataclass(frozen=True, slots=True, eq=False, kw_only=True, weakref_slot=True)
class ScatteredLevel(GridLevel):
    """A grid whose blocks lie in several files, which are looked for when they are needed.

    Parameters
    ----------
    axes : Axes
        Which axes of the array are those of the picture.
    files : ChunkFiles
        Where its blocks are.
    """

    axes: Axes
    files: ChunkFiles

    def __post_init__(self) -> None:
        GridLevel.__post_init__(self)
        object.__setattr__(self, "only", None)  # where it lies is looked up

    @property
    def index_nbytes(self) -> int:
        """About how many bytes of memory it takes: nothing is known of its blocks."""
        return _LEVEL_NBYTES

    def on(self, file: ByteSource) -> ScatteredLevel:
        """Return itself: its files are opened when they are read."""
        return self

    def places(
        self, plane: int, rows: Sequence[int], cols: Sequence[int]
    ) -> tuple[list[list[int]], list[list[int]]]:
        """Return address and bytes of a part of the grid, row by row; see `GridLevel.places`."""
        block = self._position(plane, 0, 0)
        seen: dict[int, Shard | None] = {}
        offsets, nbytes = [], []
        for row in rows:
            block[self.axes.row] = row
            line = []
            for col in cols:
                block[self.axes.col] = col
                line.append(self.files.place(block, seen))
            offsets.append([offset for offset, _ in line])
            nbytes.append([count for _, count in line])
        return offsets, nbytes

    def fetch(self, blocks: Sequence[Block], cold: bool) -> list[Any]:
        """Return the stored bytes of blocks; of shards as they are now, see `ChunkFiles.stored`."""
        if self.files.spec.shard is None:
            return GridLevel.fetch(self, blocks, cold)
        _, grid_rows, grid_cols = self.offsets.shape
        found = []
        for number, _, _ in blocks:
            line, col = divmod(number, grid_cols)
            plane, row = divmod(line, grid_rows)
            found.append(self.files.stored(self._position(plane, row, col), self.mapped))
        return found

    def _position(self, plane: int, row: int, col: int) -> list[int]:
        """Return the position of a block on all axes of the array."""
        block = self.axes.block(self.files.spec)
        if self.axes.band is not None:
            block[self.axes.band] = plane
        block[self.axes.row], block[self.axes.col] = row, col
        return block
