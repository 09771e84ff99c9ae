"""Cache folders that are full, may not be written, or are gone.

``full``: a small disk (tmpfs) of 100 KB to 4 MB, or one that is filled and emptied meanwhile. What does not
fit is a `CacheError`, leaves nothing behind, and is no hindrance when there is space again.

``read_only``: a disk that was remounted: entries that are there serve, also beside one that is damaged; for
the rest there is a `CacheError`.

``vanished``: the folder is deleted, renamed away and back, or replaced by a file, at random moments.

Disks are mounted, so the first two are left out where this is not allowed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from chaos.child import Report
from chaos.harness import Arena, leftovers
from chaos.sources import Sources, kinds, make
from chaos.steps import check, collection, prepare_all

BACKENDS: tuple[Any, ...] = ("npy", "cog", "zarr", "auto")
KINDS = ("png", "jpeg", "tiff-deflate", "webp")


def _mount(place: Path, options: str) -> bool:
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


@contextlib.contextmanager
def _disk(arena: Arena, size: int) -> Iterator[Path | None]:
    """Mount a small disk; None where that is not allowed."""
    place = arena.place("disk")
    if not _mount(place, f"size={size}"):
        arena.account.note("disks may not be mounted here: left out")
        yield None
        return
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], capture_output=True, check=False)


def full(arena: Arena) -> None:
    """Run out of space."""
    sources = make(arena.place("sources"), kinds(KINDS), each=2)
    for number in range(arena.times(24, 1)):
        backend = BACKENDS[number % len(BACKENDS)]
        size = 4096 * arena.dice.choice([25, 60, 120, 250, 500, 1000])
        with _disk(arena, size) as disk:
            if disk is None:
                return
            given = {"folder": str(sources.folder), "workdir": str(disk / "work"), "backend": backend}
            stop = arena.folder / f"stop-{number}"
            child = arena.start("chaos.attacks.folders:use_full_disk", stop=str(stop), **given)
            filler = disk / "filler"
            for _ in range(arena.times(6, 2)):
                if number % 2:
                    _fill(filler)
                    arena.account.count("filled")
                time.sleep(arena.dice.uniform(0.05, 0.3))
                with contextlib.suppress(FileNotFoundError):
                    filler.unlink()
                time.sleep(arena.dice.uniform(0, 0.1))
            stop.touch()
            child.finish()
            arena.account.count("disks")
            if _mount(disk, "remount,size=100m"):
                arena.run("chaos.steps:verify", **given)


def _fill(filler: Path) -> None:
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while file.write(bytes(16384)) == 16384:
            pass


def use_full_disk(report: Report, folder: str, workdir: str, backend: Any, stop: str) -> None:
    """Prepare and read while there is too little space."""
    sources = Sources(folder)
    while not os.path.exists(stop):
        frames = collection(sources, workdir, backend)
        prepare_all(report, frames, ("CacheError",), use_stamp=False)
        check(report, frames, sources, allowed=("CacheError",))
        for left in leftovers(Path(workdir)):
            report.fault("leftover", f"after a full disk: {left}")
        check(report, collection(sources, workdir, None), sources, list(frames.image_ids)[:2])


def read_only(arena: Arena) -> None:
    """Take the right to write away."""
    sources = make(arena.place("sources"), kinds(KINDS))
    for number in range(arena.times(12, 1)):
        backend = BACKENDS[number % len(BACKENDS)]
        with _disk(arena, 100 << 20) as disk:
            if disk is None:
                return
            workdir = disk / "work"
            given = {"folder": str(sources.folder), "workdir": str(workdir), "backend": backend}
            arena.run("chaos.steps:verify", **given)
            damaged = _damage(arena, workdir) if number % 2 else ""
            if not _mount(disk, "remount,ro"):
                continue
            arena.run("chaos.attacks.folders:use_read_only", damaged=damaged, **given)
            arena.account.count("disks")
            _mount(disk, "remount,rw")
            arena.run("chaos.steps:verify", **given)


def _damage(arena: Arena, workdir: Path) -> str:
    """Cut an entry, and return the name of its key."""
    entries = sorted(path for path in workdir.rglob("*") if path.is_file() and _holds_pixels(path))
    chosen: Path = arena.dice.choice(entries)
    with chosen.open("r+b") as file:
        file.truncate(chosen.stat().st_size // 2)
    return chosen.name


def _holds_pixels(path: Path) -> bool:
    return path.suffix in (".npy", ".tif", ".jpg") or (path.name == "0" and path.stat().st_size > 1000)


def use_read_only(report: Report, folder: str, workdir: str, backend: Any, damaged: str) -> None:
    """Read what is there, and be refused what is not."""
    sources = Sources(folder)
    allowed = ("CacheError",) if damaged else ()
    check(report, collection(sources, workdir, backend), sources, allowed=allowed)
    prepare_all(report, collection(sources, workdir, backend), allowed)
    other = {"npy": "cog", "cog": "zarr", "zarr": "npy", "auto": "npy"}[backend]
    check(report, collection(sources, workdir, other), sources, allowed=("CacheError",))
    prepare_all(report, collection(sources, workdir, other), ("CacheError",))
    check(report, collection(sources, workdir, None), sources)


def vanished(arena: Arena) -> None:
    """Take the folder away."""
    sources = make(arena.place("sources"), kinds(KINDS))
    for number in range(arena.times(24, 1)):
        with arena.passing("gone") as place:
            workdir, aside = place / "work", place / "aside"
            backend = BACKENDS[number % len(BACKENDS)]
            given = {"folder": str(sources.folder), "workdir": str(workdir), "backend": backend}
            stop = place / "stop"
            child = arena.start("chaos.attacks.folders:use_what_vanishes", stop=str(stop), **given)
            child.wait_for("prepared")
            for _ in range(arena.times(10, 3)):
                time.sleep(arena.dice.uniform(0, 0.12))
                _take_away(arena.dice.choice(["deleted", "renamed", "a file"]), workdir, aside, arena)
                arena.account.count("taken away")
            stop.touch()
            child.finish()
            arena.run("chaos.steps:verify", **given)


def _take_away(how: str, workdir: Path, aside: Path, arena: Arena) -> None:
    if how == "deleted":
        shutil.rmtree(workdir, ignore_errors=True)
        return
    with contextlib.suppress(OSError):  # it is not there at this moment
        os.rename(workdir, aside)
        if how == "a file":
            workdir.touch()
        time.sleep(arena.dice.uniform(0, 0.05))
        if how == "a file":
            workdir.unlink()
        shutil.rmtree(workdir, ignore_errors=True)
        os.rename(aside, workdir)
    shutil.rmtree(aside, ignore_errors=True)


def use_what_vanishes(report: Report, folder: str, workdir: str, backend: Any, stop: str) -> None:
    """Prepare and read all the time."""
    sources = Sources(folder)
    lasting = collection(sources, workdir, backend)
    while not os.path.exists(stop):
        frames = collection(sources, workdir, backend)
        prepare_all(report, frames, ("CacheError",))
        check(report, frames, sources, allowed=("CacheError",))
        frames.backend = backend  # forgets what is open
        check(report, lasting, sources, allowed=("CacheError",))
