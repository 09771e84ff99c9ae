"""Every kind of source through every backend: the same pixels as an independent decoder, bit for bit."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from jpegs import JPEGTRAN
from pictures import COLS, KINDS, ROWS
from subregion import SimpleFrames, Window

REGIONS: dict[str, Any] = {
    "whole": None,
    "dots": ...,
    "inside": (slice(20, 61), slice(33, 100)),
    "border": (slice(80, 200), slice(100, 1000)),
    "negative": (slice(-13, None), slice(-40, -7)),
    "empty": (slice(50, 50), slice(10, 20)),
    "reversed bounds": (slice(60, 20), slice(None)),
    "stepped": (slice(3, None, 7), slice(None, 90, 11)),
    "one pixel": (slice(92, 93), slice(130, 131)),
    "rows only": slice(10, 12),
    "last band": (..., slice(-1, None)),
    "every second band": (slice(0, 5), slice(0, 5), slice(None, None, 2)),
}
WINDOWS = [Window(-5, -7, 40, 30), Window(80, 120, 50, 50), Window(10, 10, 20, 20), Window(500, 0, 4, 6)]


def beyond(pixels: NDArray[Any], window: Window, fill: Any) -> NDArray[Any]:
    """A literal window of an array, by padding all of it."""
    pad = 600
    padded = np.pad(pixels, ((pad, pad), (pad, pad), (0, 0)), constant_values=fill)
    rows, cols = window.shifted(pad, pad).slices
    return padded[rows, cols]


#: The backend `jpeg` changes pixels of everything that is no JPEG.
CASES = [
    *itertools.product(KINDS, [None, "npy", "cog", "zarr", "auto"]),
    *((kind, "jpeg") for kind in KINDS if kind.startswith("jpeg")),
]


@pytest.mark.parametrize(("kind", "backend"), CASES)
def test_same_pixels(
    kind: str, backend: str | None, tmp_path: Path, workdir: Path, photograph: NDArray[np.uint8]
) -> None:
    if backend == "jpeg" and "progressive" in kind and JPEGTRAN is None:
        pytest.skip("needs jpegtran")
    write = KINDS[kind]
    path = tmp_path / f"picture{write.suffix}"  # type: ignore[attr-defined]
    expected = write(path, photograph[:ROWS, :COLS])
    frames = SimpleFrames({"it": path}, workdir=workdir, backend=backend)
    for name, region in REGIONS.items():
        got = frames.load_region("it", region)
        wanted = expected if region is None else expected[region]
        assert got.dtype == expected.dtype, name
        assert got.flags.c_contiguous, name
        assert got.flags.owndata, name
        assert got.flags.writeable, name
        np.testing.assert_array_equal(got, wanted, err_msg=name)
    for window in WINDOWS:
        fill = np.nan if expected.dtype.kind == "f" else 0
        np.testing.assert_array_equal(frames.load_region("it", window), beyond(expected, window, fill))
        np.testing.assert_array_equal(frames.load_region("it", window, fill=3), beyond(expected, window, 3))
    image = frames.load_image("it")
    assert image is not None
    np.testing.assert_array_equal(image, expected)
    np.testing.assert_array_equal(frames.load_frame("it"), expected)
