"""What processes under attack do: prepare, read, and look whether all is as it should be."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from chaos.child import Report
from chaos.harness import leftovers
from chaos.sources import Sources


def collection(sources: Sources, workdir: str, backend: Any, kind: str = "") -> Any:
    """Make a collection of the sources whose name begins so."""
    from subregion import SimpleFrames

    paths = {name: path for name, path in sources.paths.items() if name.startswith(kind)}
    return SimpleFrames(paths, workdir, backend)


def prepare(
    report: Report,
    folder: str,
    workdir: str,
    backend: Any,
    kind: str = "",
    workers: int = 0,
    allowed: Iterable[str] = (),
) -> None:
    """Prepare a collection."""
    frames = collection(Sources(folder), workdir, backend, kind)
    report.alive("ready")
    prepare_all(report, frames, tuple(allowed), workers=workers)


def prepare_all(report: Report, frames: Any, allowed: tuple[str, ...] = (), **options: Any) -> None:
    """Prepare a collection; the failure of each image is looked at by itself."""
    from subregion import PrepareError

    with report.attempt("prepare", allowed):
        failures = {}
        try:
            frames.prepare(progress=False, **options)
            report.trial("prepare")
        except PrepareError as error:
            failures = error.failures
        for name, failure in failures.items():
            with report.attempt(f"prepare {name}", allowed):
                raise failure
    report.alive("prepared")


def check(
    report: Report,
    frames: Any,
    sources: Sources,
    names: Iterable[str] | None = None,
    allowed: tuple[str, ...] = (),
    seed: int = 0,
) -> None:
    """Compare a window and the whole of images with the pixels that they are made of."""
    dice = random.Random(seed)
    for name in list(frames.image_ids) if names is None else names:
        expected = sources.pixels(name)
        row, col = dice.randrange(expected.shape[0] - 50), dice.randrange(expected.shape[1] - 50)
        region = (slice(row, row + dice.randrange(1, 200)), slice(col, col + dice.randrange(1, 200)))
        with report.attempt(f"read {name}", allowed):
            report.check(frames.load_region(name, region), expected[region], f"{name}, window")
        with report.attempt(f"load {name}", allowed):
            report.check(np.asarray(frames.load_image(name)), expected, f"{name}, whole")


def verify(report: Report, folder: str, workdir: str, backend: Any, kind: str = "") -> None:
    """Prepare, read everything, and look for leftovers."""
    sources = Sources(folder)
    frames = collection(sources, workdir, backend, kind)
    prepare_all(report, frames)
    check(report, frames, sources)
    for left in leftovers(Path(workdir)):
        report.fault("leftover", left)


def read(
    report: Report,
    folder: str,
    workdir: str,
    backend: Any,
    kind: str = "",
    seed: int = 0,
    rounds: int = 1,
    threads: int = 0,
    allowed: Iterable[str] = (),
) -> None:
    """Read random images of a collection, each in windows and whole, in any number of threads."""
    sources = Sources(folder)
    frames = collection(sources, workdir, backend, kind)
    report.alive("ready")

    def body(number: int) -> None:
        dice = random.Random(seed + number)
        for turn in range(rounds):
            names = list(frames.image_ids)
            dice.shuffle(names)
            check(report, frames, sources, names, tuple(allowed), seed=dice.randrange(1 << 30) + turn)

    if not threads:
        body(0)
        return
    in_threads(threads, body)


def in_threads(count: int, body: Callable[[int], None]) -> None:
    """Run a function in threads that start together."""
    barrier = threading.Barrier(count)

    def run(number: int) -> None:
        barrier.wait()
        body(number)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
