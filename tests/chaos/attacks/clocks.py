"""Clocks that jump, and files from other times.

Sources, entries and leftovers get times of change from 1970 to 2100. Two processes convert the same while
their clocks (`time.time`) jump by up to a year at every question; a third one, whose clock is a week ahead,
prepares, and must not take what a living process is writing for a leftover.
"""

from __future__ import annotations

import os
import random
import time
from pathlib import Path
from typing import Any

from chaos.child import Report
from chaos.harness import Arena
from chaos.sources import Sources, kinds, make
from chaos.steps import check, collection, prepare_all

BACKENDS: tuple[Any, ...] = ("npy", "cog", "zarr", "auto")
DAY = 86400.0
#: In seconds: the epoch, before it, the end of 32 bits, 2100, and now.
TIMES = (0, -5 * DAY, 2**31 - 1, 2**31 + 5, 4102444800, 1)


def attack(arena: Arena) -> None:
    """Set clocks and times."""
    sources = make(
        arena.place("sources"), kinds(("png", "jpeg", "tiff-deflate", "tiff-zstd", "zarr")), each=2
    )
    for number in range(arena.times(12, 1)):
        _set_times(arena, list((sources.folder / "files").rglob("*")))
        with arena.passing("work") as workdir:
            backend = BACKENDS[number % len(BACKENDS)]
            given = {"folder": str(sources.folder), "workdir": str(workdir), "backend": backend}
            _leave_over(workdir)
            children = [
                arena.start("chaos.attacks.clocks:use_jumping_clock", most=most, seed=number, **given)
                for most in (365 * DAY, 365 * DAY, 7 * DAY)
            ]
            for child in children:
                child.finish()
                arena.account.count("clocks")
            arena.run("chaos.steps:verify", **given)
            _set_times(arena, [path for path in workdir.rglob("*") if path.is_file()])
            arena.run("chaos.steps:verify", **given)


def _set_times(arena: Arena, paths: list[Path]) -> None:
    for path in paths:
        when = arena.dice.choice([*TIMES, time.time()])
        try:
            os.utime(path, (when, when))
        except (OSError, OverflowError):  # a file system that cannot
            continue
        arena.account.count("times")


def _leave_over(workdir: Path) -> None:
    """Leave what a killed writer leaves, from the past and the future."""
    place = workdir / "_cache/frames/unfinished"
    place.mkdir(parents=True)
    for number, when in enumerate((0, 4102444800)):
        path = place / f"{number:040x}.{number:016x}.npy"
        path.write_bytes(b"unfinished")
        os.utime(path, (when, when))


def use_jumping_clock(
    report: Report, folder: str, workdir: str, backend: Any, most: float, seed: int
) -> None:
    """Prepare and read while the clock jumps."""
    true, dice = time.time, random.Random(f"{seed} {os.getpid()}")
    ahead = most == 7 * DAY
    time.time = lambda: true() + (most if ahead else dice.uniform(-most, most))
    sources = Sources(folder)
    frames = collection(sources, workdir, backend)
    for _ in range(4 if ahead else 1):  # each time it sweeps away what it takes for left over
        prepare_all(report, frames, use_stamp=False)
    check(report, frames, sources)
