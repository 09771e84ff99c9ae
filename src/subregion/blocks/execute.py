"""Carries out reads of windows: every block is fetched and decoded once, and decoding runs on all cores."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from numpy.typing import NDArray

from subregion.blocks.union import unite
from subregion.errors import DamagedFileError
from subregion.forks import in_child
from subregion.raster.raster import BlockRaster, Raster
from subregion.raster.tileindex import announced
from subregion.raster.whole import copy_selected

if TYPE_CHECKING:
    from subregion.geometry.window import Window
    from subregion.raster.source import ByteSource
    from subregion.raster.tileindex import Piece, TileIndex

Work = Callable[[], None]

#: Pixels of windows that are read together, at most: what a thread keeps at hand.
UNION_PIXELS = 1 << 20
#: How many pieces of work a thread gets at least, so that all end at about the same time.
SHARES = 4
#: Decoded bytes of the blocks that a thread takes at once, at most: neighbours in the file, decoded in one
#: call where the codec can. With half of it threads wait more for each other; twice as much has to be fetched
#: again from beyond the processor's cache.
RUN_NBYTES = 800 << 10


class WindowRead(NamedTuple):
    """One window to be read.

    Parameters
    ----------
    raster : Raster
        Of which image.
    window : Window
        Inside it.
    out : ndarray, shape (rows, columns, bands)
        Where the pixels go.
    bands : sequence of int or None
        Which bands, in which order; None for all.
    steps : tuple of int
        Every how many rows and columns one is taken.
    level : int
        Of which resolution.
    """

    raster: Raster
    window: Window
    out: NDArray[Any]
    bands: Sequence[int] | None = None
    steps: tuple[int, int] = (1, 1)
    level: int = 0


class FailedReadError(Exception):
    """A file turned out to be damaged while it was read.

    Parameters
    ----------
    raster : Raster
        The file.
    error : DamagedFileError
        What was found.
    """

    def __init__(self, raster: Raster, error: DamagedFileError) -> None:
        super().__init__(str(error))
        self.raster = raster
        self.error = error


def execute(reads: Iterable[WindowRead], threads: int) -> None:
    """Carry out many reads.

    Blocks are taken in the order in which they lie in their files. Outputs must not overlap.

    Parameters
    ----------
    reads : iterable of WindowRead
        Of any images.
    threads : int
        How many threads decode, the calling one included.

    Raises
    ------
    FailedReadError
        If a file turned out to be damaged; after the work in progress came to its end.
    SubregionError
        The first of another kind that a read raised, likewise.
    """
    levels: dict[tuple[int, int], list[WindowRead]] = {}
    for read in reads:
        if read.out.size:
            levels.setdefault((id(read.raster), read.level), []).append(read)
    work: list[Work] = []
    afterwards: list[Work] = []
    for group in levels.values():
        raster = group[0].raster
        try:
            if isinstance(raster, BlockRaster) and not raster.mapped:
                _plan_blocks(raster, group, work, afterwards, threads)
            elif raster.independent:
                work.extend(_plan_unions(raster, group, threads))
            else:
                work.append(_WholeReads(raster, group))
        except DamagedFileError as error:
            raise FailedReadError(raster, error) from error
    carry_out(work, threads)
    for finish in afterwards:
        finish()


@dataclass(frozen=True, slots=True, eq=False)
class _WholeReads:
    """Reads of an image that has no blocks to share, or nothing to decode."""

    raster: Raster
    reads: list[WindowRead]

    def __call__(self) -> None:
        wanted = [(read.window, read.out, read.bands, read.steps) for read in self.reads]
        try:
            self.raster.read_many(wanted, self.reads[0].level)
        except DamagedFileError as error:
            raise FailedReadError(self.raster, error) from error


@dataclass(frozen=True, slots=True, eq=False)
class _BlockRun:
    """Decode some blocks, each once, and copy it to all who want a part of it."""

    raster: BlockRaster
    file: ByteSource
    index: TileIndex
    blocks: list[list[tuple[Piece, NDArray[Any]]]]
    cold: bool
    at_once: bool

    def __call__(self) -> None:
        index, file = self.index, self.file
        try:
            decoded = index.decoded(
                file, [(parts[0][0], _rows_of(parts)) for parts in self.blocks], self.cold, self.at_once
            )
            for parts, block in zip(self.blocks, decoded, strict=True):
                for piece, out in parts:
                    index.paste(file, block, piece, out, self.at_once)
        except DamagedFileError as error:
            raise FailedReadError(self.raster, error) from error


@dataclass(frozen=True, slots=True, eq=False)
class _UnionRead:
    """Read the windows that lie in a larger one by reading that."""

    raster: Raster
    union: Window
    reads: list[WindowRead]

    def __call__(self) -> None:
        try:
            pixels = self.raster.read(self.union, level=self.reads[0].level)
        except DamagedFileError as error:
            raise FailedReadError(self.raster, error) from error
        for read in self.reads:
            rows, cols = read.window.shifted(-self.union.row, -self.union.col).slices
            copy_selected(pixels[rows, cols], read.out, read.bands, read.steps)


def _plan_unions(raster: Raster, reads: list[WindowRead], threads: int) -> Iterable[Work]:
    """Read windows that overlap together, but leave some work for each thread."""
    windows = [read.window for read in reads]
    share = sum(window.height * window.width for window in windows) // (SHARES * max(1, threads))
    for union, members in unite(windows, min(share, UNION_PIXELS)):
        group = [reads[number] for number in members]
        yield _WholeReads(raster, group) if len(group) == 1 else _UnionRead(raster, union, group)


def _rows_of(parts: list[tuple[Piece, NDArray[Any]]]) -> slice:
    """Return the rows of a block that hold all that is wanted of it."""
    if len(parts) == 1:
        return parts[0][0][3][0]
    wanted = [piece[3][0] for piece, _ in parts]
    return slice(min(rows.start for rows in wanted), max(rows.stop for rows in wanted))


def _plan_blocks(
    raster: BlockRaster,
    reads: list[WindowRead],
    work: list[Work],
    afterwards: list[Work],
    threads: int,
) -> None:
    """Collect what is wanted of each block of one level, and divide the blocks among the threads."""
    file, index = raster.stored_level(reads[0].level)
    wanted: dict[int, list[tuple[Piece, NDArray[Any]]]] = {}
    for window, out, bands, steps in ((read[1], read[2], read[3], read[4]) for read in reads):
        stored = index.stored_buffer(out)
        pieces = index.pieces(window, stored.shape[2], None if index.color else bands, steps)
        for piece in pieces:
            wanted.setdefault(piece[0], []).append((piece, stored))
        if index.color is not None:
            afterwards.append(partial(index.finish, stored, out, bands))
    in_file_order = sorted(wanted.values(), key=_offset_of)
    cold = announced(file, [parts[0][0] for parts in in_file_order])
    count = min(RUN_NBYTES // index.block_nbytes, len(in_file_order) // (SHARES * max(1, threads))) or 1
    if threads <= 1:
        count = len(in_file_order)
    work += [
        _BlockRun(raster, file, index, in_file_order[first : first + count], cold, threads > 1)
        for first in range(0, len(in_file_order), count)
    ]


def _offset_of(parts: list[tuple[Piece, NDArray[Any]]]) -> int:
    return parts[0][0][1]


def carry_out(work: Sequence[Work], threads: int) -> None:
    """Do independent pieces of work in several threads, the calling one included.

    Raises
    ------
    Exception
        The first that a piece raised, after the work in progress came to its end.
    """
    helpers = min(threads, len(work)) - 1
    if helpers <= 0:
        for item in work:
            item()
        return
    remaining = iter(work)
    take = threading.Lock()
    stop = threading.Event()

    def go_on() -> None:
        while not stop.is_set():
            with take:
                item = next(remaining, None)
            if item is None:
                return
            try:
                item()
            except BaseException:
                stop.set()
                raise

    futures = [_THREADS.executor().submit(go_on) for _ in range(helpers)]
    try:
        go_on()
    finally:
        for future in futures:
            if not future.cancel():
                future.exception()  # wait: outputs must not be written after the call returns
    for future in futures:
        if not future.cancelled():
            future.result()


class _Threads:
    """The decoding threads of this process, started when first needed and never taken over by a fork."""

    def __init__(self) -> None:
        self._start_empty()
        in_child(self._start_empty)

    def _start_empty(self) -> None:
        self._lock = threading.Lock()
        self._executor: ThreadPoolExecutor | None = None

    def executor(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._executor is None:
                self._executor = ThreadPoolExecutor(
                    max(32, processors()), thread_name_prefix="subregion-decode"
                )
            return self._executor


_THREADS = _Threads()


def processors() -> int:
    """Count the cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1
