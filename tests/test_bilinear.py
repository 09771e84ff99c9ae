"""Bilinear drawing by OpenCV: equal to the arithmetic that it stands in for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from subregion import AlignableImageData, Asset, ImageRecord
from subregion.geometry import bilinear
from subregion.geometry.resample import FILTERS, resample, to_dtype

TYPES = ["u1", "u2", "f4"]


def noise(shape: tuple[int, int, int], dtype: str, seed: int) -> NDArray[Any]:
    generator = np.random.default_rng(seed)
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return generator.random(shape).astype(kind)
    return generator.integers(0, np.iinfo(kind).max, shape, kind, endpoint=True)


def check(source: NDArray[Any], matrix: Affine, shape: tuple[int, int], bands: int) -> None:
    assert bilinear.suits(source.dtype)
    wide = np.zeros((*shape, bands + 3), source.dtype)
    bilinear.draw(source, matrix, wide[..., 2 : 2 + bands])
    exact = resample(source.astype(np.float64), matrix, shape, FILTERS["linear"])[..., :bands]
    expected = to_dtype(exact, source.dtype).astype(np.float64)
    tolerance = 1e-4 if source.dtype.kind == "f" else 1
    np.testing.assert_allclose(wide[..., 2 : 2 + bands], expected, rtol=0, atol=tolerance)
    assert not wide[..., :2].any()
    assert not wide[..., 2 + bands :].any()


@settings(max_examples=80, deadline=None)
@given(
    dtype=st.sampled_from(TYPES),
    size=st.tuples(st.integers(1, 90), st.integers(1, 90), st.integers(1, 6)),
    shape=st.tuples(st.integers(1, 300), st.integers(1, 300)),
    scale=st.tuples(st.floats(0.9, 8), st.floats(0.9, 8)),
    angle=st.sampled_from([0.0, 90.0, 180.0, 33.0]),
    shift=st.tuples(st.floats(-50, 50), st.floats(-50, 50)),
    seed=st.integers(0, 1000),
)
def test_any_affine(
    dtype: str,
    size: tuple[int, int, int],
    shape: tuple[int, int],
    scale: tuple[float, float],
    angle: float,
    shift: tuple[float, float],
    seed: int,
) -> None:
    matrix = Affine.translation(*shift) @ Affine.rotation(angle) @ Affine.scale(*scale)
    check(noise(size, dtype, seed), matrix, shape, max(1, size[2] - seed % 2))


@settings(max_examples=80, deadline=None)
@given(
    dtype=st.sampled_from(TYPES),
    size=st.tuples(st.integers(1, 90), st.integers(1, 90), st.integers(1, 6)),
    factor=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    cut=st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1)),
    seed=st.integers(0, 1000),
)
def test_whole_factors(
    dtype: str,
    size: tuple[int, int, int],
    factor: tuple[int, int],
    cut: tuple[float, float, float, float],
    seed: int,
) -> None:
    full = size[0] * factor[0], size[1] * factor[1]
    shape = 1 + int(cut[0] * (full[0] - 1)), 1 + int(cut[1] * (full[1] - 1))
    left, top = int(cut[2] * (full[1] - shape[1])), int(cut[3] * (full[0] - shape[0]))
    check(noise(size, dtype, seed), Affine(factor[1], 0, -left, 0, factor[0], -top), shape, size[2])


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(
    "matrix", [Affine.scale(3), Affine.scale(7, 2), Affine.rotation(20) @ Affine.scale(2.3)]
)
def test_constants_stay(dtype: str, matrix: Affine) -> None:
    for value in noise((1, 20, 1), dtype, 5).ravel():
        out = np.zeros((70, 70, 4), dtype)
        bilinear.draw(np.full((30, 40, 4), value, dtype), matrix, out)
        assert (out == value).all()


def test_an_older_opencv_is_not_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}.tif" for name in "ab"]
    tifffile.imwrite(paths[0], noise((64, 64, 1), "u2", 1)[..., 0])
    tifffile.imwrite(paths[1], noise((32, 32, 1), "u2", 2)[..., 0])
    assets = [Asset(str(paths[0]), ("a",)), Asset(str(paths[1]), ("b",), Affine.scale(2.0))]
    image = AlignableImageData(ImageRecord(1, tuple(assets), 64, 64))
    new = image.load_region(None, "a|b")
    bilinear.suits.cache_clear()
    monkeypatch.setattr("cv2.__version__", "4.13.0")
    try:
        old = image.load_region(None, "a|b")
        assert not bilinear.suits(np.dtype("u2"))
    finally:
        bilinear.suits.cache_clear()
    np.testing.assert_allclose(old.astype(int), new, rtol=0, atol=1)


def test_large_results_are_drawn_in_tiles() -> None:
    check(noise((700, 40, 1), "u2", 1), Affine(2.31, 0, 3.3, 0, 1.07, -5.1), (740, 90), 1)


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4", "c16"])
@pytest.mark.parametrize("bands", [1, 2, 3, 4, 7])
def test_put_copies_pixels(dtype: str, bands: int) -> None:
    pixels = noise((5, 6, bands), "u1", 1).astype(dtype)
    out = np.zeros((9, 9, 8), dtype)
    bilinear.put(out[2:7, 1:7, 1 : 1 + bands], pixels)
    np.testing.assert_array_equal(out[2:7, 1:7, 1 : 1 + bands], pixels)
    assert np.count_nonzero(out) == np.count_nonzero(pixels)
    bilinear.put(out[2:7, 1:7, 1 : 1 + bands], np.asfortranarray(pixels))
    np.testing.assert_array_equal(out[2:7, 1:7, 1 : 1 + bands], pixels)
