"""What it costs to begin: importing the library, and opening a collection of a million images.

``python -m benchmarks.opening``
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

import numpy as np

from benchmarks.report import publish
from subregion import SimpleFrames

#: User time in seconds that importing the library may take.
LIMIT = 0.15


def user_seconds(code: str) -> float:
    """User time of a fresh interpreter that runs some code."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    subprocess.run([sys.executable, "-c", code], check=True)
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before


def first_read(count: int, folder: str, repeats: int) -> tuple[float, float]:
    """Median milliseconds to make a collection of so many paths, and to read the first region in it."""
    path = os.path.join(folder, "a.npy")
    np.save(path, np.zeros((512, 512, 3), np.uint8))
    making, reading = [], []
    for repeat in range(repeats):
        # Every path is another one, as in a real collection, and so is the image that is read.
        link = os.path.join(folder, f"{count}-{repeat}.npy")
        os.link(path, link)
        paths = {number: f"{folder}/{number}.npy" for number in range(count - 1)} | {count - 1: link}
        start = time.perf_counter()
        frames = SimpleFrames(paths)
        made = time.perf_counter()
        frames.load_region(count - 1, (slice(100, 164), slice(100, 164)))
        reading.append((time.perf_counter() - made) * 1e3)
        making.append((made - start) * 1e3)
    return statistics.median(making), statistics.median(reading)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args(arguments)
    bare, imported, used = (
        [user_seconds(code) for _ in range(options.repeats)]
        for code in ("pass", "import subregion", "import subregion; subregion.SimpleFrames")
    )
    with tempfile.TemporaryDirectory(prefix="subregion-bench-") as folder:
        first_read(2, folder, 1)  # modules are loaded now
        many = first_read(options.count, folder, 5)
        one = first_read(1, folder, 5)
    rows = [
        {"what": "python -c pass, user s", "value": statistics.median(bare)},
        {"what": "import subregion, user s", "value": statistics.median(imported)},
        {"what": "import and SimpleFrames, user s", "value": statistics.median(used)},
        {"what": f"collection of {options.count:,} made, ms", "value": many[0]},
        {"what": f"first region in it, ms (of {options.count:,})", "value": many[1]},
        {"what": "first region, ms (of 1)", "value": one[1]},
    ]
    publish("opening", f"Beginnings; importing may take {LIMIT} s", ("what", "value"), rows, limit=LIMIT)


if __name__ == "__main__":
    main()
