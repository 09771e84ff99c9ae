"""A picture of 3.6 GB, as a PNG and as a striped BigTIFF, converted in a process each: time and memory.

The picture is a landscape whose pixels are known from their place, so that windows of the converted copies
are compared with what was drawn, not with what some decoder says.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator

import numpy as np
import tifffile
from numpy.typing import NDArray

from benchmarks.cases.conversion import convert_ours
from benchmarks.peers import OURS
from benchmarks.run import Run
from benchmarks.samples import summarize
from benchmarks.stored import nbytes_of
from benchmarks.worker import WorkerError, apart
from subregion.cache.backend import BACKENDS
from subregion.cli.terrain import Relief, write_png
from subregion.formats.open import open_raster
from subregion.geometry.window import Window

#: Rows and columns, in full and in a quick run. In full it takes 13 GB of the temporary folder.
FULL, QUICK = (30000, 40000), (6000, 8000)
STRIP_ROWS = 16


def measure(run: Run) -> None:
    """Convert the picture to all that keeps its pixels."""
    rows, cols = QUICK if run.options.quick else FULL
    with tempfile.TemporaryDirectory(dir=run.folder) as folder:
        relief = Relief(rows, cols)
        run.say(f"large: drawing {rows} x {cols} pixels")
        sources = draw(folder, relief)
        for kind, source in sources.items():
            for backend in BACKENDS:
                if backend in ("auto", "jpeg"):
                    continue  # one of the others, and one that does not keep the pixels of these sources
                run.say(f"large: {kind} to {backend}")
                with tempfile.TemporaryDirectory(dir=folder) as workdir:
                    try:
                        path, seconds, peak = apart(convert_ours, source, workdir, backend, {})
                        run.compared += compare(path, relief)
                    except (WorkerError, AssertionError) as error:
                        run.failed(f"large {kind} to {backend}", str(error))
                        continue
                    run.add("large", "s", summarize([[seconds]]), picture=f"{rows} x {cols}",
                            label=f"{OURS}, {backend}", peer=OURS, stored=backend, source=kind,
                            source_bytes=os.path.getsize(source), nbytes=nbytes_of(path), peak_mb=peak,
                            lossless=True)  # fmt: skip


def draw(folder: str, relief: Relief) -> dict[str, str]:
    """Write the picture in both formats, in bounded memory, and return their paths."""
    paths = {"PNG": os.path.join(folder, "relief.png"), "TIFF": os.path.join(folder, "relief.tif")}
    # tifffile leaves a hole for the pixels, which lie one strip after the other.
    tifffile.imwrite(paths["TIFF"], shape=relief.shape, dtype=np.uint8, photometric="rgb", bigtiff=True,
                     rowsperstrip=STRIP_ROWS, metadata=None)  # fmt: skip
    with tifffile.TiffFile(paths["TIFF"]) as tiff:
        start = tiff.pages.first.dataoffsets[0]
    with open(paths["TIFF"], "r+b") as file:
        file.seek(start)

        def kept() -> Iterator[NDArray[np.uint8]]:
            for strip in relief.strips():
                file.write(strip.reshape(-1).data)
                yield strip

        write_png(paths["PNG"], relief.shape, kept())
    return paths


def compare(path: str, relief: Relief) -> int:
    """Compare windows of a copy with the landscape, corners and edges among them."""
    raster = open_raster(path)
    rows, cols, _ = relief.shape
    generator = np.random.default_rng(0)
    places = [(0, 0), (rows - 300, cols - 300), (0, cols - 300), (rows - 300, 0)]
    inside = generator.integers(0, rows - 300, 12).tolist(), generator.integers(0, cols - 300, 12).tolist()
    places += zip(*inside, strict=True)
    for row, col in places:
        window = Window(row, col, 300, 300)
        np.testing.assert_array_equal(raster.read(window), relief.read(window))
    return len(places)
