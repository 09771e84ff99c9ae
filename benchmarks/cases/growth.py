"""What a window costs in a collection of ten thousand files, and in a picture of a gigapixel."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import tifffile

from benchmarks.interleaved import random_places
from benchmarks.peers import OURS, OWN_CACHE_VARIABLE
from benchmarks.run import Run
from benchmarks.samples import summarize
from benchmarks.worker import WorkerError, apart
from subregion.cache.backend import BACKENDS
from subregion.cli.terrain import Relief
from subregion.collections.simple import SimpleFrames

#: Edge of the windows, and how many are read in a turn.
EDGE, COUNT = 256, 200
#: How many files there are, and how many megapixels, in full and in a quick run.
FILES = {True: (1, 10, 100), False: (1, 10, 100, 1000, 10_000)}
MEGAPIXELS = {True: (1, 4, 16), False: (10, 100, 1000)}
#: Different pictures among the files, and their edge.
DIFFERENT, FILE_EDGE = 16, 384
#: Files of which windows are read "again": so few that all stay open.
OPEN = 64


def measure(run: Run) -> None:
    """Grow in both ways."""
    for backend in ("cog", "zarr"):
        if backend not in BACKENDS:
            continue
        for kind, grow, sizes in (
            ("files", more_files, FILES[run.options.quick]),
            ("megapixels", more_pixels, MEGAPIXELS[run.options.quick]),
        ):
            run.say(f"growth in {kind}, {backend}: {', '.join(f'{size:,}' for size in sizes)}")
            with tempfile.TemporaryDirectory(dir=run.folder) as folder:
                try:
                    rows = apart(grow, folder, backend, sizes, run.options.repeats, environment={
                        OWN_CACHE_VARIABLE: "0"})  # fmt: skip
                except WorkerError as error:
                    run.failed(f"growth in {kind}, {backend}", str(error))
                    continue
            for mode, size, rounds in rows:
                run.add("growth", "µs", summarize(rounds), label=f"{OURS}, {backend}", peer=OURS,
                        stored=backend, kind=kind, size=size, mode=mode)  # fmt: skip


Rounds = list[tuple[str, int, list[list[float]]]]


def more_files(folder: str, backend: str, sizes: tuple[int, ...], repeats: int) -> Rounds:
    """Read windows in collections of more and more files.

    Returns
    -------
    list of (str, int, list)
        Mode, number of files, and microseconds of each repeat. The modes: ``"open"``, of files that are open
        already; ``"any"``, of any file of the collection; ``"first"``, of files that are not open.
    """
    relief = Relief(FILE_EDGE * DIFFERENT, FILE_EDGE)
    for number, strip in enumerate(relief.strips(FILE_EDGE)):
        tifffile.imwrite(
            os.path.join(folder, f"source-{number}.tif"), strip, rowsperstrip=64, compression="zlib"
        )
    paths = {}
    for number in range(max(sizes)):
        paths[number] = os.path.join(folder, f"{number}.tif")
        os.link(os.path.join(folder, f"source-{number % DIFFERENT}.tif"), paths[number])
    workdir = os.path.join(folder, "cache")
    SimpleFrames(paths, workdir, backend).prepare(progress=False)
    collections = {
        size: SimpleFrames({number: paths[number] for number in range(size)}, workdir, backend)
        for size in sizes
    }
    generator = np.random.default_rng(0)
    taken: dict[tuple[str, int], list[list[float]]] = {}
    for repeat in range(-1, repeats):  # the first one warms up
        for size, frames in collections.items():
            places = random_places((FILE_EDGE, FILE_EDGE), EDGE, COUNT)
            for mode in ("open", "any", "first"):
                ids = generator.integers(0, min(size, OPEN) if mode == "open" else size, COUNT).tolist()
                if mode == "open":
                    for number in set(ids):
                        frames.load_region(number, (slice(0, 1), slice(0, 1)))
                calls = [_call(frames, number, place) for number, place in zip(ids, places, strict=True)]
                times = _timed(calls, _closing(frames, backend) if mode == "first" else None)
                if repeat >= 0:
                    taken.setdefault((mode, size), []).append(times)
    return [(mode, size, rounds) for (mode, size), rounds in taken.items()]


def more_pixels(folder: str, backend: str, sizes: tuple[int, ...], repeats: int) -> Rounds:
    """Read windows in pictures of more and more megapixels; see `more_files`."""
    workdir = os.path.join(folder, "cache")
    collections = {}
    for size in sizes:
        edge = round((size * 1e6) ** 0.5)
        relief, path = Relief(edge, edge), os.path.join(folder, f"{size}.tif")
        tifffile.imwrite(path, relief.strips(), shape=relief.shape, dtype=np.uint8, photometric="rgb",
                         rowsperstrip=64, bigtiff=True, metadata=None)  # fmt: skip
        collections[size] = (
            SimpleFrames({0: path}, workdir, backend),
            random_places((edge, edge), EDGE, COUNT),
        )
        collections[size][0].prepare(progress=False)
    taken: dict[tuple[str, int], list[list[float]]] = {}
    for repeat in range(-1, repeats):
        for size, (frames, places) in collections.items():
            for mode in ("open", "first"):
                closing = _closing(frames, backend) if mode == "first" else None
                times = _timed([_call(frames, 0, place) for place in places], closing)
                if repeat >= 0:
                    taken.setdefault((mode, size), []).append(times)
    return [(mode, size, rounds) for (mode, size), rounds in taken.items()]


def _call(frames: SimpleFrames, image_id: int, place: tuple[int, int, int, int]) -> Callable[[], Any]:
    row, col, height, width = place
    region = slice(row, row + height), slice(col, col + width)
    return lambda: frames.load_region(image_id, region)


def _closing(frames: SimpleFrames, backend: str) -> Callable[[], None]:
    def close() -> None:
        frames.backend = backend  # setting it forgets what was opened

    return close


def _timed(calls: list[Callable[[], Any]], before: Callable[[], None] | None) -> list[float]:
    clock, taken = time.perf_counter_ns, []
    for call in calls:
        if before is not None:
            before()
        start = clock()
        call()
        taken.append((clock() - start) / 1e3)
    return taken
