"""Copies that are removed while others read and make them.

``under_load``: four processes read random windows and two convert, in a folder whose limit is half of what
they want, while its size is looked at all the time. ``races``: two processes collect garbage again and again,
down to nothing, while others prepare and read; some readers and collectors are killed.
"""

from __future__ import annotations

import os
import random
import time
from pathlib import Path
from typing import Any

from chaos.attacks.kills import BACKENDS
from chaos.child import Report
from chaos.harness import Arena
from chaos.sources import Sources, kinds, make

KINDS = ("png", "jpeg", "jpeg-progressive", "tiff-deflate", "webp", "jp2")
READERS, CONVERTERS = 4, 2
#: So many windows of an image are read one after the other.
VISIT = 20


def under_load(arena: Arena) -> None:
    """Read and convert more than there is room for."""
    sources = make(arena.place("sources"), kinds(KINDS), each=arena.times(3, 2))
    windows = arena.times(20_000, 320)
    backends = BACKENDS if arena.full else BACKENDS[3:4]
    for number, (backend, kind) in enumerate(backends):
        with arena.passing("work") as workdir:
            sizes = _sizes(arena, sources, backend, kind, workdir)
            if not sizes:
                continue
            given = {
                "folder": str(sources.folder),
                "workdir": str(workdir / "bounded"),
                "backend": backend,
                "kind": kind,
                "limit": sum(sizes) // 2,
            }
            count = windows // len(backends) // READERS
            children = [
                arena.start(
                    "chaos.attacks.eviction:read_windows", seed=100 * number + reader, count=count, **given
                )
                for reader in range(READERS)
            ]
            children += [
                arena.start("chaos.attacks.eviction:convert", seed=number + turn, **given)
                for turn in range(CONVERTERS)
            ]
            most = _watch(children[:READERS], workdir / "bounded")
            (workdir / "bounded" / "stop").touch()
            for child in children:
                child.finish()
            arena.account.count("windows", count * READERS)
            allowed = given["limit"] + (READERS + CONVERTERS) * max(sizes)
            if most > allowed:
                arena.fault("leftover", f"{backend}: {most} bytes, where {allowed} are allowed")
            arena.account.note(f"{backend}: {most / given['limit']:.2f} of the limit at most")


def _sizes(arena: Arena, sources: Sources, backend: Any, kind: str, workdir: Path) -> list[int]:
    """Make all copies without a limit, and return the size of each."""
    given = {"folder": str(sources.folder), "backend": backend, "kind": kind}
    arena.run("chaos.steps:prepare", workdir=str(workdir / "free"), **given)
    entries = (workdir / "free" / "_cache" / "frames").glob("??/*.json")
    return [size_of(sorted(path.parent.glob(f"{path.stem}.*"))) for path in entries]


def size_of(places: list[Path]) -> int:
    """Add up the sizes of files and folders, of which some may vanish meanwhile."""
    total = 0
    for place in places:
        try:
            total += size_of(list(place.iterdir())) if place.is_dir() else place.lstat().st_size
        except (FileNotFoundError, NotADirectoryError):
            continue
    return total


def _watch(children: list[Any], workdir: Path) -> int:
    """Look at the size of all entries until the children ended."""
    most = 0
    while any(child.process.poll() is None for child in children):
        most = max(most, size_of(list((workdir / "_cache" / "frames").glob("??"))))
        time.sleep(0.02)
    return most


def _collection(sources: Sources, workdir: str, backend: Any, kind: str, limit: int | None) -> Any:
    from subregion import SimpleFrames

    paths = {name: path for name, path in sources.paths.items() if name.startswith(kind)}
    return SimpleFrames(paths, workdir, backend, max_size=limit)


def read_windows(
    report: Report, folder: str, workdir: str, backend: Any, kind: str, limit: int, seed: int, count: int
) -> None:
    """Read windows of random images, some from overviews."""
    sources = Sources(folder)
    frames = _collection(sources, workdir, backend, kind, limit)
    expected = {name: sources.pixels(name) for name in frames.image_ids}
    dice = random.Random(seed)
    names = list(expected)
    name = names[0]
    for number in range(count):
        if number % VISIT == 0:
            name = dice.choice(names)
        pixels = expected[name]
        row, col = dice.randrange(pixels.shape[0] - 50), dice.randrange(pixels.shape[1] - 50)
        region = (slice(row, row + dice.randrange(1, 100)), slice(col, col + dice.randrange(1, 100)))
        with report.attempt(f"read {name}"):
            report.check(frames.load_region(name, region), pixels[region], f"{name}, window")
        if number % VISIT == VISIT - 1:
            with report.attempt(f"shrink {name}"):
                frames.load_region(name, scale=1 / 4)


def convert(
    report: Report, folder: str, workdir: str, backend: Any, kind: str, limit: int, seed: int
) -> None:
    """Prepare images in random order until it is told to stop."""
    sources = Sources(folder)
    frames = _collection(sources, workdir, backend, kind, limit)
    dice = random.Random(seed)
    while not os.path.exists(os.path.join(workdir, "stop")):
        frames_here = dice.sample(list(frames.image_ids), min(4, len(frames.image_ids)))
        with report.attempt("prepare"):
            frames.prepare(frames_here, progress=False)
            report.trial("prepare")


def races(arena: Arena) -> None:
    """Collect garbage against those who prepare and read."""
    sources = make(arena.place("sources"), kinds(KINDS))
    for number in range(arena.times(30, 1)):
        backend, kind = BACKENDS[(number * 3 + 2) % len(BACKENDS)]
        with arena.passing("work") as workdir:
            given = {"folder": str(sources.folder), "workdir": str(workdir), "backend": backend, "kind": kind}
            seconds = arena.times(4, 1)
            collectors = [
                arena.start(
                    "chaos.attacks.eviction:collect", workdir=str(workdir), seconds=seconds, seed=turn
                )
                for turn in range(2)
            ]
            children = [
                arena.start("chaos.steps:prepare", **given),
                arena.start("chaos.steps:read", seed=number, rounds=2, **given),
                arena.start("chaos.steps:read", seed=number + 1, threads=4, **given),
            ]
            if number % 2:
                time.sleep(arena.dice.uniform(0.5, seconds))
                for victim in (collectors.pop(), children.pop()):
                    arena.account.count("kills", int(victim.kill()))
            for child in (*children, *collectors):
                child.finish()
            arena.account.count("folders")
            arena.run("chaos.steps:verify", **given)


def collect(report: Report, workdir: str, seconds: float, seed: int) -> None:
    """Remove whatever nobody reads, again and again."""
    from subregion.cache.entries import Folder
    from subregion.cache.gc import collect

    folder = Folder(os.path.join(workdir, "_cache", "frames"))
    dice = random.Random(seed)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with report.attempt("collect"):
            collect(folder, max_size=dice.choice([0, 300_000, 1_000_000]), orphaned=dice.random() < 0.2)
            report.trial("collect")
        time.sleep(dice.uniform(0, 0.05))
