"""Lazy arrays: what chunks of several sizes cost against each other, and what it costs to begin.

``python -m benchmarks.lazy``; a picture of 10000 x 10000 RGB in blocks of 256 (ZSTD). The sum is
taken of every chunk, so that reading and not memory is measured. Sizes take turns; the figure of each is its
best.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Sequence

import dask
import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray

from benchmarks.report import publish
from subregion import SimpleFrames

SIDES = (256, 512, 1024, 2048, 4096)
BOUNDS = (501000, 5598000, 502000, 5599000)


def picture(side: int) -> NDArray[np.uint8]:
    """Tiles of a photograph with some noise, so that no two blocks are alike."""
    photograph = SimpleFrames.demo().load_image("retina.jpg")
    assert photograph is not None
    times = -(-side // min(photograph.shape[:2]))
    tiled = np.tile(photograph, (times, times, 1))[:side, :side]
    noisy: NDArray[np.uint8] = tiled ^ np.random.default_rng(0).integers(0, 4, tiled.shape, np.uint8)
    return noisy


def seconds(call: Callable[[], object]) -> float:
    """Time one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args(arguments)
    pixels = picture(options.side)
    expected = int(pixels.sum(dtype=np.int64))
    with tempfile.TemporaryDirectory(prefix="subregion-bench-") as folder:
        path = os.path.join(folder, "a.tif")
        profile = {
            "driver": "GTiff",
            "width": options.side,
            "height": options.side,
            "count": 3,
            "dtype": "uint8",
        }
        profile |= {
            "tiled": True,
            "blockxsize": 256,
            "blockysize": 256,
            "compress": "zstd",
            "interleave": "pixel",
        }
        profile |= {"crs": "EPSG:32633", "transform": Affine(10, 0, 500000, 0, -10, 5600000)}
        with rasterio.open(path, "w", **profile) as file:
            file.write(np.moveaxis(pixels, -1, 0))
        frames = SimpleFrames({0: path})
        sums = {side: frames.to_dask(0, chunks=side).sum(dtype=np.int64) for side in SIDES}
        best = dict.fromkeys(SIDES, float("inf"))
        with dask.config.set(scheduler="threads"):
            for _ in range(options.repeats):
                for side, total in sums.items():
                    start = time.perf_counter()
                    found = total.compute()
                    best[side] = min(best[side], time.perf_counter() - start)
                    assert int(found) == expected
        rows = [
            {"what": f"chunks of {side} px: time of those of 2048 px", "value": best[side] / best[2048]}
            for side in SIDES
        ]
        calls: dict[str, Callable[[], object]] = {
            "to_dask made, ms": lambda: frames.to_dask(0),
            "to_xarray made, ms": lambda: frames.to_xarray(0),
            "window by bounds, ms": lambda: frames.window(0, BOUNDS),
            "window by bounds in degrees, ms": lambda: frames.window(
                0, (15.0, 50.5, 15.1, 50.6), "EPSG:4326"
            ),
        }
        rows += [
            {"what": what, "value": 1e3 * float(np.median([seconds(call) for _ in range(50)]))}
            for what, call in calls.items()
        ]
    publish("lazy", "Lazy arrays", ("what", "value"), rows)


if __name__ == "__main__":
    main()
