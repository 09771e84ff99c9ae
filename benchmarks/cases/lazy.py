"""Lazy arrays: what chunks of several sizes cost against each other, and what it costs to begin.

The sum is taken of every chunk, so that reading and not memory is measured.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.run import Run
from benchmarks.samples import summarize
from benchmarks.stored import why_missing
from benchmarks.worker import WorkerError, apart
from subregion.collections.simple import SimpleFrames

#: Edge of the picture in pixels, in full and in a quick run, and of the chunks.
FULL, QUICK = 10_000, 3000
SIDES = (256, 512, 1024, 2048, 4096)
#: West, south, east and north, in metres and in degrees, of a window inside the picture.
METRES, DEGREES = (501000, 5598000, 502000, 5599000), (15.02, 50.51, 15.03, 50.52)
CALLS = 50


def measure(run: Run) -> None:
    """Sum a picture up by chunks of several sizes, and make lazy arrays."""
    missing = why_missing(("rasterio", "dask", "xarray", "pyproj"))
    if missing is not None:
        run.missing["lazy arrays"] = missing
        return
    edge = QUICK if run.options.quick else FULL
    run.say(f"lazy: {edge} px")
    with tempfile.TemporaryDirectory(dir=run.folder) as folder:
        try:
            chunks, calls = apart(lazy_arrays, folder, edge, run.options.repeats)
        except WorkerError as error:
            run.failed("lazy", str(error))
            return
    for side, seconds in chunks.items():
        run.add("lazy", "s", summarize(seconds), what=f"the sum of {edge} x {edge} px by chunks of {side}")
    for what, milliseconds in calls.items():
        run.add("lazy", "ms", summarize(milliseconds), what=what)


def lazy_arrays(folder: str, edge: int, repeats: int) -> tuple[dict[int, Any], dict[str, Any]]:
    """Return seconds by side of the chunks, and milliseconds by call, of each repeat."""
    import dask

    path = os.path.join(folder, "a.tif")
    pixels = _picture(edge)
    _write(path, pixels)
    frames = SimpleFrames({0: path})
    sums = {side: frames.to_dask(0, chunks=side).sum(dtype=np.int64) for side in SIDES}
    calls: dict[str, Callable[[], object]] = {
        "to_dask": lambda: frames.to_dask(0),
        "to_xarray": lambda: frames.to_xarray(0),
        "a window by bounds": lambda: frames.window(0, METRES),
        "a window by bounds in degrees": lambda: frames.window(0, DEGREES, "EPSG:4326"),
    }
    seconds: dict[int, list[list[float]]] = {side: [] for side in SIDES}
    milliseconds: dict[str, list[list[float]]] = {what: [] for what in calls}
    with dask.config.set(scheduler="threads"):
        for repeat in range(-1, repeats):  # the first one warms up
            for side, total in sums.items():
                start = time.perf_counter()
                found = int(total.compute())
                taken = time.perf_counter() - start
                if found != int(pixels.sum(dtype=np.int64)):
                    raise AssertionError(f"chunks of {side} px give another sum")
                if repeat >= 0:
                    seconds[side].append([taken])
            for what, call in calls.items():
                times = [_milliseconds(call) for _ in range(CALLS)]
                if repeat >= 0:
                    milliseconds[what].append(times)
    return seconds, milliseconds


def _picture(side: int) -> NDArray[np.uint8]:
    """Tile a photograph with some noise, so that no two blocks are alike."""
    photograph = SimpleFrames.demo().load_region("retina.jpg")
    times = -(-side // min(photograph.shape[:2]))
    tiled = np.tile(photograph, (times, times, 1))[:side, :side]
    noisy: NDArray[np.uint8] = tiled ^ np.random.default_rng(0).integers(0, 4, tiled.shape, np.uint8)
    return noisy


def _write(path: str, pixels: NDArray[np.uint8]) -> None:
    import rasterio
    from affine import Affine

    with rasterio.open(
        path, "w", driver="GTiff", width=pixels.shape[1], height=pixels.shape[0], count=3, dtype="uint8",
        tiled=True, blockxsize=256, blockysize=256, compress="zstd", interleave="pixel", crs="EPSG:32633",
        transform=Affine(10, 0, 500000, 0, -10, 5600000),
    ) as file:  # fmt: skip
        file.write(np.moveaxis(pixels, -1, 0))


def _milliseconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) * 1e3
