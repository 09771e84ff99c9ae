"""Ten thousand random reads of every form of copy, by both executors, against NumPy."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from subregion import SimpleFrames, Window

pytestmark = pytest.mark.pixels

#: Reads of each form; with the forms below they are 10,000 for each executor.
READS = 1250
ROWS, COLS, BANDS = 211, 333, 4
FORMS: dict[str, Any] = {
    "npy": "npy",
    "zarr": "zarr",
    "zarr-zstd": {"type": "zarr", "config": {"compress": "ZSTD", "blocksize": 32}},
    "zarr-raw": {"type": "zarr", "config": {"compress": "RAW", "blocksize": 48}},
    "cog": "cog",
    "cog-deflate": {"type": "cog", "config": {"compress": "DEFLATE", "blocksize": 64}},
    "cog-zstd": {"type": "cog", "config": {"compress": "ZSTD", "blocksize": 16}},
    "cog-raw": {"type": "cog", "config": {"compress": "RAW", "blocksize": 80}},
}


def a_slice(rng: np.random.Generator, size: int) -> slice:
    """One that NumPy takes: from either end, beyond it, empty, with steps."""
    start, stop = (int(each) for each in rng.integers(-size - 9, size + 9, 2))
    step = int(rng.choice([1, 1, 1, 2, 3, 7, 50, 400]))
    return slice(None if rng.random() < 0.1 else start, None if rng.random() < 0.1 else stop, step)


def a_window(rng: np.random.Generator) -> Window:
    """One that may leave the image."""
    height, width = (math.ceil(2 ** rng.uniform(0, 7.5)) for _ in range(2))
    return Window(int(rng.integers(-height, ROWS)), int(rng.integers(-width, COLS)), height, width)


def padded(pixels: NDArray[Any], window: Window) -> NDArray[Any]:
    """What a window shows, with zeros outside."""
    found = np.zeros((*window.shape, pixels.shape[2]), pixels.dtype)
    rows = slice(max(0, window.row), min(ROWS, window.row + window.height))
    cols = slice(max(0, window.col), min(COLS, window.col + window.width))
    if rows.start < rows.stop and cols.start < cols.stop:
        found[
            rows.start - window.row : rows.stop - window.row, cols.start - window.col : cols.stop - window.col
        ] = pixels[rows, cols]
    return found


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("form", FORMS)
def test_random_reads(form: str, dtype: str, tmp_path: Path) -> None:
    rng = np.random.default_rng([sorted(FORMS).index(form), np.dtype(dtype).itemsize])
    ramp = np.add.outer(np.arange(ROWS) * 3, np.arange(COLS) * 2)[..., None] + np.arange(BANDS) * 11
    pixels = (ramp + rng.integers(0, 40, ramp.shape)).astype(dtype)
    np.save(tmp_path / "a.npy", pixels)
    frames = SimpleFrames({1: tmp_path / "a.npy"}, tmp_path / "work", FORMS[form])
    done = 0
    while done < READS // 2:
        if rng.random() < 0.5:
            place = a_slice(rng, ROWS), a_slice(rng, COLS)
            bands = slice(*sorted(int(each) for each in rng.integers(0, BANDS + 1, 2)))
            found = frames.load_region(1, (*place, bands), threads=int(rng.choice([1, 1, 1, 2])))
            np.testing.assert_array_equal(found, pixels[(*place, bands)])
            done += 1
            continue
        windows = [a_window(rng) for _ in range(int(rng.integers(1, 9)))]
        batch = frames.load_regions(
            [(1, window) for window in windows], threads=int(rng.choice([1, 2])), stack=False
        )
        for window, found in zip(windows, batch, strict=True):
            np.testing.assert_array_equal(found, padded(pixels, window))
        done += len(windows)
