"""Many windows at once: every block is fetched and decoded once, and decoding runs on all cores."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from subregion.forks import in_child
from subregion.geometry.union import unite
from subregion.raster.raster import BlockRaster, Raster
from subregion.raster.tileindex import announced
from subregion.raster.whole import copy_selected

if TYPE_CHECKING:
    from subregion.geometry.window import Window
    from subregion.raster.tileindex import Piece

Work = Callable[[], None]

#: Pixels of windows that are read together, at most: what a thread keeps at hand.
UNION_PIXELS = 1 << 20
#: How many pieces of work a thread gets at least, so that all end at about the same time.
SHARES = 4
#: Decoded bytes of the blocks that a thread takes at once, at most: neighbours in the file, decoded in one
#: call where the codec can. With half of it threads wait more for each other; twice as much has to be fetched
#: again from beyond the processor's cache.
RUN_NBYTES = 800 << 10


@dataclass(frozen=True, slots=True, eq=False)
class WindowRead:
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
    """

    raster: Raster
    window: Window
    out: NDArray[Any]
    bands: Sequence[int] | None = None
    steps: tuple[int, int] = (1, 1)


def read_batch(reads: Iterable[WindowRead], threads: int) -> None:
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
    SubregionError
        The first that a read raised, after the work in progress came to its end.
    """
    images: dict[int, list[WindowRead]] = {}
    for read in reads:
        if read.out.size:
            images.setdefault(id(read.raster), []).append(read)
    work: list[Work] = []
    afterwards: list[Work] = []
    for group in images.values():
        raster = group[0].raster
        if isinstance(raster, BlockRaster) and not raster.mapped:
            _plan_blocks(raster, group, work, afterwards, threads)
        elif raster.independent:
            work.extend(_plan_unions(raster, group, threads))
        else:
            work.append(_WholeReads(raster, group))
    carry_out(work, threads)
    for finish in afterwards:
        finish()


@dataclass(frozen=True, slots=True, eq=False)
class _WholeReads:
    """Reads of an image that has no blocks to share, or nothing to decode."""

    raster: Raster
    reads: list[WindowRead]

    def __call__(self) -> None:
        self.raster.read_many([(read.window, read.out, read.bands, read.steps) for read in self.reads])


@dataclass(frozen=True, slots=True, eq=False)
class _BlockRun:
    """Decode some blocks, each once, and copy it to all who want a part of it."""

    raster: BlockRaster
    blocks: list[list[tuple[Piece, NDArray[Any]]]]
    cold: bool
    at_once: bool

    def __call__(self) -> None:
        index, file = self.raster.full, self.raster.file
        decoded = index.decoded(
            file, [(parts[0][0], _rows_of(parts)) for parts in self.blocks], self.cold, self.at_once
        )
        for parts, block in zip(self.blocks, decoded, strict=True):
            for piece, out in parts:
                index.paste(file, block, piece, out)


@dataclass(frozen=True, slots=True, eq=False)
class _UnionRead:
    """Read the windows that lie in a larger one by reading that."""

    raster: Raster
    union: Window
    reads: list[WindowRead]

    def __call__(self) -> None:
        pixels = self.raster.read(self.union)
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
    index = raster.full
    wanted: dict[int, list[tuple[Piece, NDArray[Any]]]] = {}
    for read in reads:
        stored = index.stored_buffer(read.out)
        bands = None if index.color else read.bands
        for piece in index.pieces(read.window, stored.shape[2], bands, read.steps):
            wanted.setdefault(piece[0], []).append((piece, stored))
        if index.color is not None:
            afterwards.append(_Finish(raster, stored, read))
    in_file_order = sorted(wanted.values(), key=lambda parts: parts[0][0][1])
    offsets = [parts[0][0][1] for parts in in_file_order]
    cold = announced(raster.file, [offsets], [[parts[0][0][2] for parts in in_file_order]])
    count = min(RUN_NBYTES // index.block_nbytes, len(in_file_order) // (SHARES * max(1, threads))) or 1
    starts = range(0, len(in_file_order), count)
    work.extend(
        _BlockRun(raster, in_file_order[first : first + count], cold, threads > 1) for first in starts
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Finish:
    """Make pixels of the stored samples of one read."""

    raster: BlockRaster
    stored: NDArray[Any]
    read: WindowRead

    def __call__(self) -> None:
        self.raster.full.finish(self.stored, self.read.out, self.read.bands)


def carry_out(work: Sequence[Work], threads: int) -> None:
    """Do independent pieces of work in several threads, the calling one included.

    Raises
    ------
    Exception
        The first that a piece raised, after the work in progress came to its end.
    """
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

    helpers = min(threads, len(work)) - 1
    if helpers <= 0:
        go_on()
        return
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
