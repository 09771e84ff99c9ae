"""What it costs to begin: importing the library, and opening a collection of a million images."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time

import numpy as np

from benchmarks.run import Run
from benchmarks.samples import summarize
from subregion.collections.simple import SimpleFrames

#: Images in the large collection, in full and in a quick run.
FULL, QUICK = 1_000_000, 100_000


def measure(run: Run) -> None:
    """Import, collect, and read a first region."""
    run.say("beginnings")
    count = QUICK if run.options.quick else FULL
    programs = {
        "python -c pass": "pass",
        "import subregion": "import subregion",
        "import subregion, and SimpleFrames": "import subregion; subregion.SimpleFrames",
    }
    for name, code in programs.items():
        taken = [[user_seconds(code) * 1e3] for _ in range(run.options.repeats)]
        run.add("beginnings", "ms", summarize(taken), what=name)
    with tempfile.TemporaryDirectory(dir=run.folder) as folder:
        first_read(2, folder)  # modules are loaded now
        many = [first_read(count, folder) for _ in range(run.options.repeats)]
        one = [first_read(1, folder) for _ in range(run.options.repeats)]
    figures = {
        f"a collection of {count:,} paths": [[made] for made, _ in many],
        f"the first region in a collection of {count:,}": [[read] for _, read in many],
        "the first region in a collection of one": [[read] for _, read in one],
    }
    for name, taken in figures.items():
        run.add("beginnings", "ms", summarize(taken), what=name)


def user_seconds(code: str) -> float:
    """Return the user time of a fresh interpreter that runs some code."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    subprocess.run([sys.executable, "-c", code], check=True)  # noqa: S603 - our own code
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before


def first_read(count: int, folder: str) -> tuple[float, float]:
    """Return milliseconds to make a collection of so many paths, and to read the first region in it."""
    # Every path is another one, as in a real collection, and so is the image that is read.
    path = os.path.join(folder, f"{time.monotonic_ns()}.npy")
    np.save(path, np.zeros((512, 512, 3), np.uint8))
    paths = {number: f"{folder}/{number}.npy" for number in range(count - 1)} | {count - 1: path}
    start = time.perf_counter()
    frames = SimpleFrames(paths)
    made = time.perf_counter()
    frames.load_region(count - 1, (slice(100, 164), slice(100, 164)))
    return (made - start) * 1e3, (time.perf_counter() - made) * 1e3
