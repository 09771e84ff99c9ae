"""Windows for which a whole file was decoded: counted for collections that read files as they are.

Nothing is counted on the way of other reads. Whether a file was decoded is known where that is done, maybe in
another thread; whom it concerns, where the call that wanted it ends. Between them lie the names of files.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from subregion.errors import PerformanceWarning
from subregion.notices import warn_caller

if TYPE_CHECKING:
    from subregion.blocks.level import BlockPlan, Level, WindowRead

#: Smaller images take some milliseconds.
PIXELS = 1_000_000
#: One or two windows do not pay for a copy.
PATIENCE = 3
#: By how much a window of 256 px of a PNG of 2 megapixels was faster from a copy; see docs/performance.md.
FACTOR = 46

#: Paths of files that were decoded for windows since somebody asked.
DECODED: set[str] = set()


class Tally:
    """How many windows of a collection cost a whole file in this process."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0

    def __reduce__(self) -> tuple[type[Tally], tuple[()]]:
        return type(self), ()  # another process counts for itself


def note_whole(level: Level, plan: BlockPlan) -> None:
    """Note that a file is decoded for what may be but a window.

    Parameters
    ----------
    level : Level
        That is decoded in one piece, or from its top.
    plan : BlockPlan
        What is decoded of it.
    """
    pixels = level.shape[0] * level.shape[1]
    if pixels <= PIXELS or not plan.blocks:
        return
    parts = [inner for copies in plan.copies for inner, *_ in copies]
    wanted = sum((rows.stop - rows.start) * (cols.stop - cols.start) for rows, cols in parts)
    if 2 * wanted < pixels:  # otherwise it is the image that is wanted
        DECODED.add(level.file.path)


def tell_of_wholes(tally: Tally | None, reads: Iterable[WindowRead]) -> None:
    """Count the files that were decoded for reads, and warn of the third.

    Parameters
    ----------
    tally : Tally or None
        That of the collection; None if it is not to be warned of.
    reads : iterable of WindowRead
        What was read.
    """
    found = {read.level.file.path: read.level.shape for read in reads if read.level.file.path in DECODED}
    DECODED.difference_update(found)
    if tally is None or not found:
        return
    before = tally.count
    tally.count += len(found)
    if before < PATIENCE <= tally.count:
        path, (rows, cols, _) = next(iter(found.items()))
        warn_caller(
            f"{path}: is not stored by blocks, so each window costs decoding up to all of its "
            f'{rows} x {cols} pixels (rows x columns). backend="auto" converts such files once; a window '
            f"was then {FACTOR} times as fast (of a PNG of 2 megapixels; see docs/performance.md). "
            f"Said once: this was the third such window of the collection.",
            PerformanceWarning,
        )
