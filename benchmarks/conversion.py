"""A picture of 3.6 GB, as a PNG and as a striped BigTIFF, converted in a process each: time and memory.

``python -m benchmarks.conversion``; needs 13 GB in the temporary folder and a few minutes, or ``--small``.
The picture is a landscape whose pixels are known from their place, so that windows of the converted copies
are compared with what was drawn, not with what some decoder says.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from benchmarks.report import publish
from subregion import SimpleFrames, Window
from subregion.relief import Relief, write_png

#: Promised to conversions of any image that is decoded in strips.
LIMIT_MB = 512
STRIP_ROWS = 16


def draw(folder: str, relief: Relief) -> dict[str, str]:
    """Write the picture in both formats, in bounded memory, and return their paths."""
    paths = {"png": os.path.join(folder, "relief.png"), "tif": os.path.join(folder, "relief.tif")}
    # tifffile leaves a hole for the pixels, which lie one strip after the other.
    tifffile.imwrite(paths["tif"], shape=relief.shape, dtype=np.uint8, photometric="rgb", bigtiff=True,
                     rowsperstrip=STRIP_ROWS, metadata=None)  # fmt: skip
    with tifffile.TiffFile(paths["tif"]) as tiff:
        start = tiff.pages.first.dataoffsets[0]
    with open(paths["tif"], "r+b") as file:
        file.seek(start)

        def kept() -> Iterator[NDArray[np.uint8]]:
            for strip in relief.strips():
                file.write(strip.reshape(-1).data)
                yield strip

        write_png(paths["png"], relief.shape, kept())
    return paths


def peak_mb() -> float:
    """Peak resident memory of this process so far, in megabytes."""
    with contextlib.suppress(OSError), open("/proc/self/status", encoding="ascii") as status:
        # Unlike ru_maxrss, this does not begin with the peak of the process that started this one.
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) * 1024 / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e6 / 1024)


def convert(path: str, backend: str, workdir: str) -> dict[str, float]:
    """Convert a file in this process; say what it took."""
    imported = peak_mb()
    start = time.perf_counter()
    SimpleFrames({0: path}, workdir, backend).prepare(progress=False)
    return {"seconds": time.perf_counter() - start, "peak, MB": peak_mb(), "at start, MB": imported}


def convert_apart(path: str, backend: str, workdir: str) -> dict[str, float]:
    """Convert a file in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.conversion", "--convert", path, backend, workdir]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def compare(path: str, backend: str, workdir: str, relief: Relief) -> int:
    """Compare windows of the copy with the landscape, corners and edges among them."""
    frames = SimpleFrames({0: path}, workdir, backend)
    rows, cols, _ = relief.shape
    generator = np.random.default_rng(0)
    places = [(0, 0), (rows - 300, cols - 300), (0, cols - 300), (rows - 300, 0)]
    inside = generator.integers(0, rows - 300, 12).tolist(), generator.integers(0, cols - 300, 12).tolist()
    places += zip(*inside, strict=True)
    for row, col in places:
        window = Window(row, col, 300, 300)
        np.testing.assert_array_equal(frames.load_region(0, window), relief.read(window))
    return len(places)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="6000 x 8000 pixels instead of 30000 x 40000")
    parser.add_argument("--folder", help="where to work, instead of the temporary folder")
    parser.add_argument("--convert", nargs=3, metavar=("PATH", "BACKEND", "WORKDIR"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.convert:
        json.dump(convert(*options.convert), sys.stdout)
        return
    rows, cols = (6000, 8000) if options.small else (30000, 40000)
    table: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="subregion-bench-", dir=options.folder) as folder:
        relief = Relief(rows, cols)
        start = time.perf_counter()
        paths = draw(folder, relief)
        drawing = time.perf_counter() - start
        for kind, path in paths.items():
            for backend in ("cog", "npy"):
                with tempfile.TemporaryDirectory(dir=folder) as workdir:
                    figures = convert_apart(path, backend, workdir)
                    windows = compare(path, backend, workdir, relief)
                    stored = sum(os.path.getsize(os.path.join(place, name))
                                 for place, _, names in os.walk(workdir) for name in names)  # fmt: skip
                table.append(
                    {"source": kind, "source, MB": os.path.getsize(path) / 1e6, "backend": backend, **figures,
                     "copy, MB": stored / 1e6, "equal": windows}
                )  # fmt: skip
                print(table[-1], flush=True)
    publish(
        "conversion-small" if options.small else "conversion",
        f"Converting {rows} x {cols} x 3 uint8; {LIMIT_MB} MB are promised",
        tuple(table[0]),
        table,
        drawing_seconds=drawing,
        limit_mb=LIMIT_MB,
    )


if __name__ == "__main__":
    main()
