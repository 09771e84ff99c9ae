"""Windows of files that are not in the page cache: what comes from the disk, and how long it takes."""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks import machine
from benchmarks.cases.windows import labels
from benchmarks.interleaved import Team, random_places
from benchmarks.peers import OURS, Contender, Place
from benchmarks.run import Run
from benchmarks.samples import summarize
from benchmarks.worker import Worker
from subregion.blocks.level import unplaced
from subregion.formats.open import open_raster
from subregion.formats.raster import Raster
from subregion.geometry.window import Window

#: Edge of the windows, and how many are read in a turn.
EDGE, COUNT = 256, 40


def measure(run: Run, picture_name: str) -> None:
    """Empty the page cache before each turn, and count what is read from the disk."""
    reason = machine.why_not_cold()
    if reason is not None:
        run.note(f"cold: skipped, {reason}")
        return
    picture = run.picture(picture_name)
    if min(picture.shape[:2]) < EDGE:
        run.note(f"cold: {picture_name} is smaller than a window of {EDGE} px")
        return
    stored = [item for item in run.stored(picture, every=False) if item.family != "whole"]
    contenders = [each for each in run.contenders(stored) if each.peer != "bare codec"]
    run.say(f"cold: {len(contenders)} contenders")
    places = random_places(picture.shape, EDGE, COUNT)
    useful = sum(height * width for *_, height, width in places) * _pixel_bytes(
        picture.dtype, picture.shape[2]
    )

    def make_cold(worker: Worker) -> None:
        team.each("close")  # pages that any process has mapped stay in memory
        machine.empty_page_cache()
        worker.ask("open")

    with Team(run, contenders) as team:
        team.check(places)  # whatever code it takes is in memory now
        answers = team.rounds(min(5, run.options.repeats), "cold", places, 60.0, before=make_cold)
    for contender, rounds in answers.items():
        read = sorted(count for _, count in rounds)[len(rounds) // 2]
        if read == 0:
            run.note(
                f"cold: {contender.label} read nothing from a disk: it keeps its file in memory, or reads "
                f"all of it when it opens, or the system does not count"
            )
            continue
        run.add("cold", "µs", summarize([times for times, _ in rounds]), picture=picture.name, window=EDGE,
                disk_bytes=read / len(places), disk_per_useful=read / useful,
                **touched(contender, places, read), **labels(contender))  # fmt: skip


def touched(contender: Contender, places: Sequence[Place], read: int) -> dict[str, float]:
    """Compare what was read with the blocks that windows touch, and with the pages that hold them.

    Returns
    -------
    dict
        Empty where the blocks are not ours to know.
    """
    if contender.peer != OURS:
        return {}
    raster: Any = open_raster(contender.stored.path)
    if raster.mapped:
        return {}
    blocks = {span for place in places for span in _spans(raster, Window(*place))}
    pages = {
        page
        for offset, nbytes in blocks
        for page in range(offset // mmap.PAGESIZE, (offset + nbytes - 1) // mmap.PAGESIZE + 1)
    }
    return {
        "disk_per_touched": read / sum(nbytes for _, nbytes in blocks),
        "disk_per_touched_pages": read / (len(pages) * mmap.PAGESIZE),
    }


def _spans(raster: Raster, window: Window) -> Iterator[tuple[int, int]]:
    """List where the blocks lie that a window needs, and their bytes."""
    for block in raster.full.plan([unplaced(raster.full, window)]).blocks:
        yield from raster.full.ranges(block)


def _pixel_bytes(dtype: str, bands: int) -> int:
    import numpy as np

    return np.dtype(dtype).itemsize * bands
