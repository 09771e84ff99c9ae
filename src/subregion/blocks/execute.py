"""Carries out reads of windows: every block is fetched and decoded once, and decoding runs on all cores."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

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

#: A function, and what it is called with.
Work: TypeAlias = tuple[Callable[..., None], tuple[Any, ...]]

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
                _plan_unions(raster, group, work, threads)
            else:
                work.append((_read_whole, (raster, group)))
        except DamagedFileError as error:
            raise FailedReadError(raster, error) from error
    carry_out(work, threads)
    for finish, arguments in afterwards:
        finish(*arguments)


def _read_whole(raster: Raster, reads: list[WindowRead]) -> None:
    """Read windows of an image that has no blocks to share, or nothing to decode."""
    try:
        if len(reads) == 1:
            _, window, out, bands, steps, level = reads[0]
            raster.read_into(window, out, bands, steps, level)
        else:
            raster.read_many([read[1:5] for read in reads], reads[0].level)
    except DamagedFileError as error:
        raise FailedReadError(raster, error) from error


def _read_union(raster: Raster, union: Window, reads: list[WindowRead]) -> None:
    """Read the windows that lie in a larger one by reading that."""
    try:
        pixels = raster.read(union, level=reads[0].level)
    except DamagedFileError as error:
        raise FailedReadError(raster, error) from error
    for read in reads:
        rows, cols = read.window.shifted(-union.row, -union.col).slices
        copy_selected(pixels[rows, cols], read.out, read.bands, read.steps)


def _read_blocks(
    raster: BlockRaster,
    file: ByteSource,
    index: TileIndex,
    blocks: list[list[tuple[Piece, NDArray[Any]]]],
    cold: bool,
    at_once: bool,
) -> None:
    """Decode some blocks, each once, and copy it to all who want a part of it."""
    wanted = [(parts[0][0], _rows_of(parts)) for parts in blocks]
    try:
        for parts, block in zip(blocks, index.decoded(file, wanted, cold, at_once), strict=True):
            for piece, out in parts:
                index.paste(file, block, piece, out, at_once)
    except DamagedFileError as error:
        raise FailedReadError(raster, error) from error


def _plan_unions(raster: Raster, reads: list[WindowRead], work: list[Work], threads: int) -> None:
    """Read windows that overlap together, but leave some work for each thread."""
    if len(reads) == 1:
        work.append((_read_whole, (raster, reads)))
        return
    windows = [read.window for read in reads]
    share = sum(window.height * window.width for window in windows) // (SHARES * max(1, threads))
    for union, members in unite(windows, min(share, UNION_PIXELS)):
        group = [reads[number] for number in members]
        if len(group) == 1:
            work.append((_read_whole, (raster, group)))
        else:
            work.append((_read_union, (raster, union, group)))


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
    color = index.color is not None
    in_file_order: list[list[tuple[Piece, NDArray[Any]]]]
    wanted: dict[int, list[tuple[Piece, NDArray[Any]]]] = {}
    for _, window, out, bands, steps, _ in reads:
        stored = index.stored_buffer(out)
        pieces = index.pieces(window, stored.shape[2], None if color else bands, steps)
        if len(reads) == 1:
            in_file_order = [[(piece, stored)] for piece in pieces]
        else:
            for piece in pieces:
                wanted.setdefault(piece[0], []).append((piece, stored))
        if color:
            afterwards.append((index.finish, (stored, out, bands)))
    if len(reads) > 1:
        in_file_order = sorted(wanted.values(), key=_offset_of)
    cold = announced(file, [parts[0][0] for parts in in_file_order])
    count = len(in_file_order)
    if threads > 1:
        count = min(RUN_NBYTES // index.block_nbytes, count // (SHARES * threads)) or 1
    for first in range(0, len(in_file_order), count):
        part = in_file_order[first : first + count]
        work.append((_read_blocks, (raster, file, index, part, cold, threads > 1)))


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
        for call, arguments in work:
            call(*arguments)
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
                item[0](*item[1])
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
