"""Compare two versions of the library in one run: ``python -m benchmarks.compare OLD NEW``.

OLD and NEW are checkouts. Both run in processes of their own, by the interpreter that runs this, and take
turns, because a machine is seldom alike for two minutes. Printed are medians, and the median of the ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

#: Edge of the picture, in pixels.
EDGE = 4096
BACKENDS = ("npy", "cog", "zarr", "jpeg", "raw cog", "lzw cog", "None of TIFF")
#: Windows of one turn, for each of their edges.
WINDOWS = {64: 300, 256: 100, 1024: 12}


class Contender:
    """What one version does: runs in a process of its own, on requests from standard input."""

    def __init__(self, folder: str) -> None:
        import subregion

        subregion.set_cache_limit(0)
        self._subregion = subregion
        self._folder = folder
        self._frames: dict[str, Any] = {}

    def frames(self, backend: str, workdir: str = "work") -> Any:
        """Open a collection of one picture."""
        name = (
            "picture.jpg"
            if backend == "jpeg"
            else "tiled.tif"
            if backend == "None of TIFF"
            else "picture.png"
        )
        how: Any = {
            "raw cog": {"type": "cog", "config": {"compress": "RAW"}},
            "lzw cog": {"type": "cog", "config": {"compress": "LZW"}},
            "None of TIFF": None,
        }.get(backend, backend)
        return self._subregion.SimpleFrames(
            {0: os.path.join(self._folder, name)}, os.path.join(self._folder, workdir), how
        )

    def warm(self, backend: str, edge: int, seed: int) -> float:
        """Seconds of a window of a picture that is open, every block of which was read."""
        if backend not in self._frames:
            self._frames[backend] = self.frames(backend)
            self._frames[backend].load_region(0)
        frames, rng = self._frames[backend], np.random.default_rng(seed)
        corners = rng.integers(0, EDGE - edge, (WINDOWS[edge], 2)).tolist()
        begin = time.perf_counter()
        for row, col in corners:
            frames.load_region(0, (slice(row, row + edge), slice(col, col + edge)))
        return (time.perf_counter() - begin) / len(corners)

    def first(self, backend: str, edge: int, seed: int) -> float:
        """Seconds of the first window of a picture that is not open, by a collection that is."""
        frames, rng = self.frames(backend), np.random.default_rng(seed)
        frames.load_region(0, (slice(0, 1), slice(0, 1)))
        spent = 0.0
        for row, col in rng.integers(0, EDGE - edge, (20, 2)).tolist():
            frames.backend = frames.backend  # forgets what is open
            begin = time.perf_counter()
            frames.load_region(0, (slice(row, row + edge), slice(col, col + edge)))
            spent += time.perf_counter() - begin
        return spent / 20

    def touch(self, backend: str, edge: int, seed: int) -> float:
        """Seconds of a window whose blocks are read for the first time since the picture was opened."""
        frames, spent = self.frames(backend), 0.0
        corners = [
            (row, col) for row in range(0, EDGE - edge + 1, edge) for col in range(0, EDGE - edge + 1, edge)
        ]
        corners = corners[:64]
        for _ in range(2):
            frames.backend = frames.backend
            frames.load_region(0, (slice(EDGE - 1, EDGE), slice(EDGE - 1, EDGE)))
            frames.load_region(0, (slice(EDGE - 1, EDGE), slice(EDGE - 1, EDGE)))
            begin = time.perf_counter()
            for row, col in corners:
                frames.load_region(0, (slice(row, row + edge), slice(col, col + edge)))
            spent += time.perf_counter() - begin
        return spent / (2 * len(corners))

    def batch(self, backend: str, edge: int, seed: int) -> float:
        """Seconds of a window in a batch of 64."""
        frames, rng = self.frames(backend), np.random.default_rng(seed)
        corners = rng.integers(0, EDGE - edge, (64, 2)).tolist()
        requests = [(0, (slice(row, row + edge), slice(col, col + edge))) for row, col in corners]
        begin = time.perf_counter()
        frames.load_regions(requests)
        return (time.perf_counter() - begin) / len(corners)

    def convert(self, backend: str, edge: int, seed: int) -> float:
        """Seconds of a conversion."""
        with tempfile.TemporaryDirectory(dir=self._folder) as workdir:
            frames = self.frames(backend, workdir)
            begin = time.perf_counter()
            frames.prepare(progress=False)
            return time.perf_counter() - begin

    def serve(self) -> None:
        """Answer requests until there are no more."""
        for line in sys.stdin:
            kind, backend, edge, seed = json.loads(line)
            measure: Callable[[str, int, int], float] = getattr(self, kind)
            print(json.dumps(measure(backend, edge, seed)), flush=True)


def cases() -> list[tuple[str, str, int]]:
    """List what is measured: kind, backend and edge of the window."""
    found = [("warm", backend, edge) for backend in BACKENDS for edge in WINDOWS]
    found += [(kind, backend, 256) for kind in ("first", "touch", "batch") for backend in BACKENDS]
    return found + [("convert", backend, 0) for backend in BACKENDS if backend != "None of TIFF"]


def make_pictures(folder: str) -> None:
    """Draw a landscape with some noise, and store it as people do."""
    import tifffile
    from PIL import Image

    rng = np.random.default_rng(0)
    axis = np.linspace(0, 25, EDGE, dtype=np.float32)
    waves = np.sin(axis)[:, None] * np.cos(1.3 * axis)[None] + np.sin(axis[:, None] * axis[None] / 9)
    grey = 127 + 50 * waves
    pixels = np.stack([grey, grey * 0.8, 255 - grey], axis=-1) + rng.normal(0, 3, (EDGE, EDGE, 3))
    pixels = np.clip(pixels, 0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(os.path.join(folder, "picture.jpg"), quality=90)
    Image.fromarray(pixels).save(os.path.join(folder, "picture.png"), compress_level=1)
    tifffile.imwrite(
        os.path.join(folder, "tiled.tif"), pixels, tile=(256, 256), compression="deflate", photometric="rgb"
    )


def interleaved(
    workers: list[subprocess.Popen[str]], case: tuple[str, str, int], pairs: int
) -> tuple[list[float], list[float]]:
    """Return the seconds of each turn of the old version, and of the new."""
    times: tuple[list[float], list[float]] = [], []
    turns = max(3, pairs // 5) if case[0] == "convert" else pairs
    for turn in range(-1, turns):
        for place in (0, 1) if turn % 2 else (1, 0):
            requests, answers = workers[place].stdin, workers[place].stdout
            assert requests is not None  # noqa: S101 - both are pipes
            assert answers is not None  # noqa: S101
            requests.write(json.dumps([*case, max(turn, 0)]) + "\n")
            requests.flush()
            seconds = float(answers.readline())
            if turn >= 0:  # the one before is to warm up
                times[place].append(seconds)
    return times


def main() -> None:
    """Let two versions take turns and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--pairs", type=int, default=30)
    parser.add_argument("--only", default="", help="cases whose name holds this, such as 'warm npy'")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        make_pictures(folder)
        workers = []
        for number, checkout in enumerate((arguments.old, arguments.new)):
            own = os.path.join(folder, str(number))
            Path(own).mkdir()
            for name in ("picture.jpg", "picture.png", "tiled.tif"):
                os.link(os.path.join(folder, name), os.path.join(own, name))
            workers.append(
                subprocess.Popen(  # noqa: S603 - our own code
                    [sys.executable, "-P", __file__, "--serve", own],
                    env=os.environ | {"PYTHONPATH": str(checkout.resolve() / "src")},
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
        print(f"{'':28}{'old':>10}{'new':>10}{'new : old':>12}   (microseconds, {arguments.pairs} pairs)")
        for kind, backend, edge in cases():
            if arguments.only not in f"{kind} {backend} {edge}":
                continue
            times = interleaved(workers, (kind, backend, edge), arguments.pairs)
            ratios = [new / old for old, new in zip(*times, strict=True)]
            old, new = (statistics.median(each) * 1e6 for each in times)
            print(
                f"{kind:8}{backend:14}{edge or '':>6}{old:10.1f}{new:10.1f}{statistics.median(ratios):12.3f}",
                flush=True,
            )
        for worker in workers:
            worker.communicate()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        Contender(sys.argv[2]).serve()
    else:
        main()
