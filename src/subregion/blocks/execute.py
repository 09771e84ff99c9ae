"""Carries out reads of windows: every block is fetched once and decoded once, in threads, and copied."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subregion.blocks.cache import BLOCKS, VERIFIED
from subregion.blocks.copying import copy_rows, rows_of
from subregion.blocks.level import SHARES, Block, BlockPlan, Copy, Level, WindowRead
from subregion.blocks.wholes import note_whole
from subregion.codecs.codec import Decoder
from subregion.codecs.scratch import KEPT
from subregion.errors import DamagedFileError, SubregionError, decoding_error
from subregion.io.threads import Work, carry_out

#: Decoded bytes of the blocks that a thread takes at once, at most: neighbours in the file, decoded in one
#: call where the codec can. With half of it threads wait more for each other; twice as much has to be fetched
#: again from beyond the processor's cache.
RUN_NBYTES = 800 << 10
#: The same where one thread does all: what is fetched at once has to be held.
PART_NBYTES = 16 << 20


class FailedReadError(Exception):
    """A file turned out to be damaged while it was read.

    Parameters
    ----------
    level : Level
        Where.
    error : DamagedFileError
        What was found.
    """

    def __init__(self, level: Level, error: DamagedFileError) -> None:
        super().__init__(str(error))
        self.level = level
        self.error = error


def execute(reads: Iterable[WindowRead], threads: int = 1) -> None:
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
    levels: dict[int, list[WindowRead]] = {}
    for read in reads:
        if read.out.size:
            levels.setdefault(id(read.level), []).append(read)
    colored: list[tuple[WindowRead, WindowRead]] = []
    left: list[tuple[Level, list[WindowRead], Set[Any] | None]] = []
    jobs: list[tuple[Any, Level, list[WindowRead]]] = []
    for group in levels.values():
        level = group[0].level
        if level.color is not None:
            stored = [_stored(read) for read in group]
            colored += zip(group, stored, strict=True)
            group = stored
        table = level.table
        if table is None or not table.fits(group):
            left.append((level, group, None))
        elif threads > 1:
            jobs.append((table.job(group, BLOCKS.limit, threads), level, group))
        elif (numbers := table.read(group, BLOCKS.limit)) is not None:
            _check_cut(level)
            left.append((level, group, set(numbers)))
    if jobs:
        run_jobs([job for job, *_ in jobs], threads)
        for job, level, group in jobs:
            if (numbers := job.left()) is not None:
                _check_cut(level)
                left.append((level, group, set(numbers)))
    if left:
        _execute_in_python(left, threads)
    for read, stored_read in colored:
        colour(stored_read.out, read)


def _check_cut(level: Level) -> None:
    """Refuse a file that was cut under its map: Python's own maps are not guarded against that."""
    if level.table.cut:
        path, size = level.file.path, level.file.size
        error = DamagedFileError(
            f"{path}: truncated: it had {size} bytes when it was opened, and was shorter while it was read. "
            f"Fetch or write it again."
        )
        raise FailedReadError(level, error)


def run_jobs(jobs: Sequence[Any], threads: int) -> None:
    """Do work of the compiled executor in so many threads; what it leaves is to be asked of each job."""
    shares = [(job.run, ()) for job in jobs for _ in range(min(max(1, threads), job.shares))]
    carry_out(shares, threads)


def _execute_in_python(groups: list[tuple[Level, list[WindowRead], Set[Any] | None]], threads: int) -> None:
    """Read blocks of levels that the compiled executor cannot: those with some numbers, or all (None)."""
    work: list[Work] = []
    for level, group, numbers in groups:
        try:
            plan = level.plan(group, threads)
            if numbers is not None:
                plan = plan.only(numbers)
                if level.table.keeps:
                    _note(level, plan)
            cold = level.windowed and bool(plan.blocks) and level.file.is_cold(plan.blocks[0][1])
            if cold:
                _announce(level, plan)
        except DamagedFileError as error:
            raise FailedReadError(level, error) from error
        if level.mapped or level.ordered:
            work.append((read_blocks, (level, plan, cold)))
        elif threads > 1 or len(plan.blocks) * level.block_nbytes > PART_NBYTES:
            work += [(read_blocks, (level, part, cold, threads > 1)) for part in _parts(level, plan, threads)]
        else:
            work.append((read_blocks, (level, plan, cold)))
    if len(work) == 1:
        read_blocks(*work[0][1])
    else:
        carry_out(work, threads)


def _note(level: Level, plan: BlockPlan) -> None:
    """Note that blocks were decoded before: they were handed back to be kept."""
    key = level.cache_key
    for number, offset, nbytes in plan.blocks:
        if key is not None and nbytes:
            BLOCKS.note_before((*key, number, offset), level.block_nbytes)


def _stored(read: WindowRead) -> WindowRead:
    """Return the read of the stored samples: colours mix those of a pixel, so that all are needed."""
    color = read.level.color
    assert color is not None  # noqa: S101 - for mypy
    out = np.empty((*read.out.shape[:2], color.samples), color.stored)
    return read._replace(out=out, bands=None)


def colour(stored: NDArray[Any], read: WindowRead) -> None:
    """Turn stored samples into the pixels that a read wants."""
    pixels = stored if read.level.color is None else read.level.color(stored)
    read.out[...] = pixels if read.bands is None else pixels[..., list(read.bands)]


def _announce(level: Level, plan: BlockPlan) -> None:
    """Tell the disk of all that is wanted, so that it can work on several blocks at once."""
    for block, parts in zip(*plan, strict=True):
        for offset, nbytes in level.touched(block, parts) if block[2] else ():
            level.file.announce(offset, nbytes)


def _parts(level: Level, plan: BlockPlan, threads: int) -> list[BlockPlan]:
    """Divide a plan into pieces of work: what is fetched at once has to be held."""
    total = len(plan.blocks)
    if threads > 1:
        count = min(RUN_NBYTES // level.block_nbytes, total // (SHARES * threads)) or 1
    else:
        count = PART_NBYTES // level.block_nbytes or 1
    return [plan.part(first, first + count) for first in range(0, total, count)]


def read_blocks(
    level: Level, plan: BlockPlan, cold: bool = False, at_once: bool = False, decode: Decoder | None = None
) -> None:
    """Fetch and decode blocks, each once, and copy them to all who want a part of them.

    Parameters
    ----------
    level : Level
        Of which they are.
    plan : BlockPlan
        What is wanted of them.
    cold : bool
        Whether they have to come from the disk.
    at_once : bool
        Whether other threads do the same, so that few long calls are better than many short ones.
    decode : callable or None
        Decodes them, if that is known; then none of them is looked for among those that are kept, nor kept.

    Raises
    ------
    FailedReadError
        If one of them cannot be had.
    """
    if not plan.blocks:
        return
    block = plan.blocks[0]
    kept: Set[Any] = _NONE
    try:
        key = level.cache_key if BLOCKS.limit and decode is None else None
        if key is not None or 0 in [each[2] for each in plan.blocks]:
            plan, kept = _left(level, plan, key, at_once)
            if not plan.blocks:  # decoders may take longer to begin than all of this
                return
        data = level.fetch(plan.blocks, cold)
        if level.checked:
            _check(level, plan.blocks, data)
        found = _decoded_at_once(level, plan, data, kept) if at_once and len(data) > 1 else None
        if decode is None and found is None:
            if not level.windowed:
                note_whole(level, plan)
            decode = level.decoder()
        for block, parts, pixels in zip(plan.blocks, plan.copies, found or data, strict=True):
            if found is None and decode is not None:
                rows = parts[0][0][0] if len(parts) == 1 else rows_of(parts)
                whole = _whole(level, decode, pixels, block[0]) if block[0] in kept else None
                if block[0] in kept and whole is None:
                    kept, decode = kept - {block[0]}, level.decoder()
                pixels = decode(pixels, block[0], rows) if whole is None else whole
            if kept or not level.exact:
                _check_extent(pixels, parts)
                if block[0] in kept and key is not None and level.file.in_place():
                    BLOCKS.keep((*key, block[0], block[1]), pixels.copy())
            copy_parts(pixels, parts, at_once)
    except (FailedReadError, MemoryError):
        raise
    except Exception as error:
        raise _failure(level, block, error) from error


_NONE: frozenset[Any] = frozenset()


def _whole(level: Level, decode: Decoder, data: Any, number: Any) -> NDArray[Any] | None:
    """Decode all of a block to keep it; None if it is damaged, maybe where nothing is wanted.

    What a read gives must not depend on whether its blocks were read before.
    """
    try:
        return decode(data, number, None)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - whoever decodes what is wanted will tell
        return None


def decode_block(
    level: Level, block: Block, parts: list[Copy], decode: Decoder | None = None
) -> NDArray[Any]:
    """Fetch and decode one block that was written, all of it, to be kept by the caller.

    Parameters
    ----------
    level : Level
        Of which it is.
    block : Block
        Which.
    parts : list of Copy
        What is wanted of it, and so has to be there.
    decode : callable or None
        The decoder that has given all blocks above, if they come in order only.

    Raises
    ------
    FailedReadError
        If it cannot be had.
    """
    try:
        data = level.fetch([block], False)
        if level.checked:
            _check(level, [block], data)
        pixels = (decode or level.decoder())(data[0], block[0], None)
        if not level.exact:
            _check_extent(pixels, parts)
    except (FailedReadError, MemoryError):
        raise
    except Exception as error:
        raise _failure(level, block, error) from error
    # Small ones may lie in the buffer of the thread.
    dtype = level.dtype if level.color is None else level.color.stored
    return pixels.astype(dtype, copy=decode is None and pixels.nbytes <= KEPT)


def read_once(read: WindowRead, threads: int = 1) -> None:
    """Read a window whose blocks are wanted once only.

    Parameters
    ----------
    read : WindowRead
        What to read.
    threads : int
        How many threads decode where they need no interpreter, the calling one included; otherwise it is all.

    Raises
    ------
    FailedReadError
        If a block cannot be had.
    """
    level = read.level
    stored = read if level.color is None else _stored(read)
    if not _read_compiled(level, stored, threads):
        read_blocks(level, level.plan([stored]), decode=level.decoder())
    if level.color is not None:
        colour(stored.out, read)


def _read_compiled(level: Level, read: WindowRead, threads: int) -> bool:
    """Carry out a read by the compiled executor, and tell whether nothing of it is left."""
    table = level.table
    if table is None or not table.fits([read]):
        return False
    job = table.job([read], 0, threads)
    run_jobs([job], threads)
    if job.left() is None:
        return True
    _check_cut(level)
    return False


def _failure(level: Level, block: Block, error: Exception) -> Exception:
    """Say what went wrong with a block, in our words."""
    if not isinstance(error, SubregionError):
        error = decoding_error(f"{level.file.path}: {level.describe(block)}", error)
    return FailedReadError(level, error) if isinstance(error, DamagedFileError) else error


def _left(
    level: Level, plan: BlockPlan, key: tuple[str, int] | None, at_once: bool
) -> tuple[BlockPlan, set[Any]]:
    """Copy what needs no decoding, and return what is left, and which of these blocks are to be kept."""
    left = BlockPlan([], [])
    kept = set()
    for block, parts in zip(*plan, strict=True):
        if not block[2]:
            for _, _, out, outer in parts:
                out[outer] = level.fill
            continue
        if key is not None:
            pixels = BLOCKS.get((*key, block[0], block[1]))
            if pixels is not None:
                copy_parts(pixels, parts, at_once)
                continue
            if (
                BLOCKS.note((*key, block[0], block[1]), level.block_nbytes)
                and level.block_nbytes <= BLOCKS.limit
            ):
                kept.add(block[0])
        left.blocks.append(block)
        left.copies.append(parts)
    return left, kept


def _check(level: Level, blocks: list[Block], data: list[Any]) -> None:
    """Compare blocks with their checksums, where that was not done since the file was opened."""
    verified = VERIFIED.get(level)
    if verified is None:
        verified = set()
        if level.file.identity:  # otherwise its files may be written anew at any time
            VERIFIED[level] = verified
    for block, stored in zip(blocks, data, strict=True):
        if block[0] not in verified:
            try:
                level.check(block[0], stored)
            except ValueError as error:
                raise _failure(level, block, error) from error
            verified.add(block[0])


def _decoded_at_once(
    level: Level, plan: BlockPlan, data: list[Any], kept: Set[Any]
) -> Sequence[NDArray[Any]] | None:
    """Decode blocks in one call; None if that cannot be, or fails, so that it is told which block it is."""
    rows = [None if block[0] in kept else rows_of(parts) for block, parts in zip(*plan, strict=True)]
    try:
        return level.decode_many(plan.blocks, data, rows)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - see above
        return None


def _check_extent(pixels: NDArray[Any], parts: list[Copy]) -> None:
    """Refuse a block that is smaller than what is wanted of it: copying could repeat its only row."""
    for (rows, cols), _, _, _ in parts:
        if pixels.shape[0] < rows.stop or pixels.shape[1] < cols.stop:
            raise ValueError(f"it holds {pixels.shape[0]} rows of {pixels.shape[1]} pixels")


def copy_parts(pixels: NDArray[Any], parts: list[Copy], at_once: bool) -> None:
    """Copy the parts of a decoded block that are wanted."""
    for inner, samples, out, outer in parts:
        if samples is not None:
            out[outer] = pixels[inner][..., samples]
        elif at_once:
            copy_rows(pixels, inner, out, outer)
        else:
            out[outer] = pixels[inner]
