"""Processes that may have little: 64 descriptors, no descriptor at all for a while, or little memory.

``descriptors``: with a limit of 64, a collection of 150 files is read by eight threads and in one batch.
Then all descriptors but a few are taken: what cannot be opened is an error of the file or of the cache, and
afterwards all is read from the same copies as before; none was taken for damaged.

``memory``: with a limit on the address space that leaves 16 to 200 MB, everything is converted and read. A
`MemoryError` is a good end, and afterwards, without the limit, nothing is amiss. Libraries that end the
process when they get no memory (GLib does, under libvips) are out of reach: such ends are counted as races.
"""

from __future__ import annotations

import os
import random
import resource
from pathlib import Path
from typing import Any

from chaos.child import Report
from chaos.harness import Arena
from chaos.sources import Sources, content, kinds, make
from chaos.steps import check, collection, in_threads, prepare_all

#: What GLib, C++ and threads of Python say when they get no memory: the first two abort, others never start.
OUT_OF_REACH = "GLib-ERROR|failed to allocate|bad_alloc|Exception ignored in thread started by"
BACKENDS: tuple[Any, ...] = (None, "npy", "cog", "zarr", "auto")


def descriptors(arena: Arena) -> None:
    """Limit descriptors."""
    sources = Sources(arena.place("sources"))
    formats = ("tiff-zstd", "npy", "jpeg-intervals", "png", "zarr", "tiff-strips", "webp")
    for number in range(arena.times(150, 20)):
        kind = formats[number % len(formats)]
        sources.add(f"{kind}-{number}", kind, content(number, 96, 128))
    for number in range(arena.times(15, 1)):
        with arena.passing("work") as workdir:
            arena.run(
                "chaos.attacks.limits:use_few_descriptors",
                folder=str(sources.folder),
                workdir=str(workdir),
                backend=BACKENDS[(number * 2) % len(BACKENDS)],
                seed=arena.dice.randrange(1 << 30),
            )
            arena.account.count("processes")


def use_few_descriptors(report: Report, folder: str, workdir: str, backend: Any, seed: int) -> None:
    """Read with few descriptors, with next to none, and with enough of them again."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    sources = Sources(folder)
    frames = collection(sources, workdir, backend)
    names = list(frames.image_ids)
    in_threads(8, lambda number: _small(report, frames, sources, names[number::8], seed + number))
    report.alive("in a batch")
    with report.attempt("batch"):
        region = (slice(5, 37), slice(9, 73))
        rgb = [name for name in names if "png16" not in name]
        batch = frames.load_regions([(name, region) for name in rgb])
        for name, pixels in zip(rgb, batch, strict=True):
            report.check(pixels, sources.pixels(name)[region], f"{name}, in a batch")
    before = _entries(workdir)
    dice = random.Random(seed)
    for spare in (0, 1, 2, 3, 5, 8):
        few = dice.sample(names, 12)
        expected = {name: sources.pixels(name) for name in few}
        frames.backend = backend  # forgets what is open
        taken = _take_all(spare)
        try:
            for name, pixels in expected.items():
                with report.attempt(f"{spare} descriptors, {name}", ("SourceReadError", "CacheError")):
                    report.check(frames.load_region(name, (slice(40), slice(40))), pixels[:40, :40], name)
        finally:
            for descriptor in taken:
                os.close(descriptor)
        report.alive(f"{spare} were spare")
        _small(report, frames, sources, few, seed)
    after = _entries(workdir)
    if before - after:
        gone = sorted(before - after)
        report.fault("wrong", f"{len(gone)} entries were thrown away for want of descriptors: {gone[:4]}")
    keys = {name[:40] for name in before}
    more = sorted(name for name in after - before if name[:40] in keys)
    if more:
        report.fault("leftover", f"for want of descriptors: {more[:4]}")


def _small(report: Report, frames: Any, sources: Sources, names: list[str], seed: int) -> None:
    """Compare windows of small images."""
    dice = random.Random(seed)
    for name in names:
        row, col = dice.randrange(60), dice.randrange(60)
        region = (slice(row, row + 30), slice(col, col + 60))
        with report.attempt(f"read {name}"):
            report.check(frames.load_region(name, region), sources.pixels(name)[region], name)


def _take_all(spare: int) -> list[int]:
    taken = []
    try:
        while True:
            taken.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        for _ in range(spare):
            os.close(taken.pop())
    return taken


def _entries(workdir: str) -> set[str]:
    folder = Path(workdir) / "_cache" / "frames"
    return {path.name for path in folder.glob("??/*")}


def memory(arena: Arena) -> None:
    """Limit memory."""
    formats = kinds() if arena.full else ["png", "jpeg", "webp", "tiff-deflate"]
    sources = make(arena.place("sources"), formats, height=900, width=1200)
    for number in range(arena.times(40, 1)):
        backend = BACKENDS[number % len(BACKENDS)]
        with arena.passing("work") as workdir:
            given = {"folder": str(sources.folder), "workdir": str(workdir), "backend": backend}
            child = arena.start(
                "chaos.attacks.limits:use_little_memory",
                megabytes=arena.dice.choice([16, 20, 24, 28, 32, 48, 64, 100, 200]),
                **given,
            )
            child.finish(OUT_OF_REACH)
            arena.account.count("processes")
            arena.run("chaos.steps:verify", **given)


def use_little_memory(report: Report, folder: str, workdir: str, backend: Any, megabytes: int) -> None:
    """Convert and read with little memory, then with all of it."""
    sources = Sources(folder)
    region = (slice(100, 400), slice(100, 900))
    warm = collection(sources, f"{workdir}/warm", backend)
    for name in warm.image_ids:  # so that everything is loaded that must be
        report.alive(name)
        warm.load_region(name, (slice(10), slice(10)))
    warm.backend = None  # forgets what is open
    expected = {name: sources.pixels(name)[region].copy() for name in warm.image_ids}
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (megabytes << 20), limits[1]))
    frames = collection(sources, workdir, backend)
    allowed = ("MemoryError", "SubregionError")
    try:
        for name in frames.image_ids:
            report.alive(name)
            with report.attempt(f"little memory, {name}", allowed):
                report.check(frames.load_region(name, region), expected[name], f"little memory, {name}")
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
    report.alive("with memory again")
    check(report, collection(sources, workdir, backend), sources)
    prepare_all(report, frames)
