"""Processes and threads that all want the same at the same time.

``processes``: four start together with an empty folder: one prepares, one prepares in threads, two read, of
which one in eight threads. ``threads``: 64 threads read one collection, conversions included, singly and in
batches.
"""

from __future__ import annotations

import random
from typing import Any

from chaos.attacks.kills import BACKENDS
from chaos.child import Report
from chaos.harness import Arena
from chaos.sources import Sources, kinds, make
from chaos.steps import check, collection, in_threads

KINDS = ("png", "jpeg", "jpeg-progressive", "tiff-deflate", "tiff-zstd", "webp", "npy", "zarr")


def processes(arena: Arena) -> None:
    """Let processes compete."""
    sources = make(arena.place("sources"), kinds(KINDS))
    for number in range(arena.times(35, 1)):
        backend, kind = BACKENDS[(number * 3 + 2) % len(BACKENDS)]
        with arena.passing("work") as workdir:
            given = {"folder": str(sources.folder), "workdir": str(workdir), "backend": backend, "kind": kind}
            children = [
                arena.start("chaos.steps:prepare", **given),
                arena.start("chaos.steps:prepare", workers=3, **given),
                arena.start("chaos.steps:read", seed=number, **given),
                arena.start("chaos.steps:read", seed=number + 1, threads=8, **given),
            ]
            for child in children:
                child.finish()
            arena.account.count("processes", len(children))
            arena.run("chaos.steps:verify", **given)


def threads(arena: Arena) -> None:
    """Let threads compete."""
    sources = make(arena.place("sources"), kinds(KINDS))
    backends = [(None, ""), *BACKENDS]
    for number in range(arena.times(24, 1)):
        backend, kind = backends[(number * 5 + 1) % len(backends)]
        with arena.passing("work") as workdir:
            arena.run(
                "chaos.attacks.races:read_in_threads",
                folder=str(sources.folder),
                workdir=str(workdir),
                backend=backend,
                kind=kind,
                seed=arena.dice.randrange(1 << 30),
            )
            arena.account.count("threads", 64)


def read_in_threads(
    report: Report, folder: str, workdir: str, backend: Any, kind: str, seed: int, count: int = 64
) -> None:
    """Read one collection in many threads, from its first conversion on."""
    sources = Sources(folder)
    frames = collection(sources, workdir, backend, kind)
    expected = {name: sources.pixels(name) for name in frames.image_ids}

    def body(number: int) -> None:
        dice = random.Random(seed + number)
        names = dice.sample(list(expected), min(3, len(expected)))
        check(report, frames, sources, names, seed=dice.randrange(1 << 30))
        with report.attempt("batch"):
            wanted = []
            for _ in range(12):
                row, col = dice.randrange(250), dice.randrange(300)
                wanted.append((dice.choice(names), (slice(row, row + 64), slice(col, col + 64))))
            for (name, region), pixels in zip(wanted, frames.load_regions(wanted), strict=True):
                same = pixels[..., : expected[name].shape[2]]
                report.check(same.astype(expected[name].dtype), expected[name][region], f"{name}, in a batch")

    in_threads(count, body)
