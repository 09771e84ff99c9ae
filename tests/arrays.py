"""Zarr arrays for tests, and the comparison of what we read with what was written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from pictures import samples
from subregion import Window
from subregion.convert.zarr import ZarrConfig, write_zarr
from subregion.formats.open import open_raster
from subregion.formats.raster import Raster

DTYPES = ["b1", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8", "c8", "c16"]


ROWS, COLS = 93, 131


def make(path: Path, array: NDArray[Any], **options: Any) -> Path:
    """Write an array with zarr-python."""
    names = options.pop("names", None)
    options = {"chunks": tuple(min(40, size) for size in array.shape)} | options
    created = zarr.create_array(
        path, shape=array.shape, dtype=array.dtype, dimension_names=names, overwrite=True, **options
    )
    created[...] = array
    return path


def picture(photo: NDArray[np.uint8], dtype: str = "u1", bands: int = 3) -> NDArray[Any]:
    if dtype == "b1":
        return samples(photo[:ROWS, :COLS], "u1", bands) > 100
    if dtype[0] == "c":
        return samples(photo[:ROWS, :COLS], "f8", bands).astype(dtype) * (1 + 2j)
    return samples(photo[:ROWS, :COLS], dtype, bands)


def whole(raster: Raster, level: int = 0) -> NDArray[Any]:
    return raster.read(Window(0, 0, *raster.level_shapes[level]), level=level)


def check(path: Path, expected: NDArray[Any]) -> Raster:
    """Compare the whole, windows, bands and steps with an array (rows, columns, bands)."""
    if expected.dtype == bool:
        expected = expected.astype(np.uint8)
    raster = open_raster(str(path))
    assert raster.shape == expected.shape
    assert raster.dtype == expected.dtype.newbyteorder("=")
    got = whole(raster)
    assert got.flags.owndata
    np.testing.assert_array_equal(got, expected)
    rows, cols, bands = expected.shape
    rng = np.random.default_rng(rows * cols)
    for _ in range(5):
        (top, bottom), (left, right) = (
            sorted(rng.integers(0, size + 1, 2).tolist()) for size in (rows, cols)
        )
        window = Window(top, left, bottom - top, right - left)
        part = expected[top:bottom, left:right]
        np.testing.assert_array_equal(raster.read(window), part)
        chosen = rng.integers(0, bands, rng.integers(1, 4)).tolist()
        np.testing.assert_array_equal(raster.read(window, chosen), part[..., chosen])
        np.testing.assert_array_equal(raster.read(window, None, (3, 2)), part[::3, ::2])
    return raster


def write_ours(path: Path, array: NDArray[Any], nodata: float | None = None, **options: Any) -> Path:
    write_zarr(path, array.shape, array.dtype, [array[:50], array[50:]], ZarrConfig(**options), nodata=nodata)
    return path
