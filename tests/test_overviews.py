"""Overviews of a stream against a slow, obvious oracle on the whole image."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from subregion.convert import overviews
from subregion.convert.overviews import Halving, Method, Pyramid, overview_shapes

INTEGERS = ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8"]
FLOATS = ["f2", "f4", "f8"]


def mean(samples: list[Any], nodata: Any, dtype: np.dtype[Any]) -> Any:
    """The mean of the samples that take part, in exact arithmetic."""
    valid = [x for x in samples if x == x and (nodata is None or x != nodata)]
    if not valid:
        return dtype.type(np.nan if nodata is None else nodata)
    if dtype.kind in "iu":
        return dtype.type((2 * sum(map(int, valid)) + len(valid)) // (2 * len(valid)))  # half up, any size
    return dtype.type(float(sum(Fraction(float(x)) for x in valid) / len(valid)))


def halved(image: NDArray[Any], method: Method, nodata: Any) -> NDArray[Any]:
    """One halving, pixel by pixel."""
    rows, cols, bands = image.shape
    out = np.empty(((rows + 1) // 2, (cols + 1) // 2, bands), image.dtype)
    for r, c, b in np.ndindex(out.shape):
        square = image[2 * r : 2 * r + 2, 2 * c : 2 * c + 2, b]
        samples = list(square.flat)
        out[r, c, b] = (mode if method == "mode" else mean)(samples, nodata, image.dtype)
    return out


def mode(samples: list[Any], nodata: Any, dtype: np.dtype[Any]) -> Any:
    """The most frequent, and of several the first."""
    valid = [x for x in samples if nodata is None or x != nodata]
    return max(valid, key=valid.count) if valid else dtype.type(nodata)


def picked(image: NDArray[Any], level: int) -> NDArray[Any]:
    """What nearest gives at that scale."""
    rows, cols = (
        [min(i * 2**level + 2 ** (level - 1), size - 1) for i in range(-(-size // 2**level))]
        for size in image.shape[:2]
    )
    return image[np.ix_(rows, cols)]


def cut(image: NDArray[Any], heights: list[int]) -> list[NDArray[Any]]:
    """The image in strips of the given heights, over and over."""
    strips, row = [], 0
    while row < len(image):
        for height in heights:
            strips.append(image[row : row + height])
            row += height
    return strips


def streamed(image: NDArray[Any], heights: list[int], levels: int, **how: Any) -> list[NDArray[Any]]:
    pyramid = Pyramid(image.shape, image.dtype, levels, **how)
    parts: list[list[NDArray[Any]]] = [[] for _ in pyramid.shapes]
    for strip in cut(image, heights):
        own = strip.copy()
        for level, rows in pyramid.push(own):
            parts[level].append(rows.copy())
        own[...] = 77  # the caller may reuse the strip
    result = [np.concatenate(level) for level in parts]
    assert [level.shape for level in result] == list(pyramid.shapes)
    return result


heights = st.lists(st.integers(0, 9), min_size=1, max_size=5).filter(any)


@st.composite
def images(draw: st.DrawFn, dtypes: list[str]) -> NDArray[Any]:
    dtype = np.dtype(draw(st.sampled_from(dtypes)))
    shape = draw(st.tuples(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3, 9])))
    # Few distinct values make equal samples and nodata likely.
    few = hnp.from_dtype(dtype, allow_nan=False, allow_infinity=False) | st.sampled_from(
        [dtype.type(x) for x in (0, 1, 2, 3, 9)]
    )
    return draw(hnp.arrays(dtype, shape, elements=few))


@settings(max_examples=50, deadline=None)
@given(images(INTEGERS), heights)
def test_nearest_takes_what_stands_in_the_middle(image: Any, heights: Any) -> None:
    for number, level in enumerate(streamed(image, heights, 3, method="nearest")[1:], 1):
        np.testing.assert_array_equal(level, picked(image, number))


@settings(max_examples=50, deadline=None)
@given(images(INTEGERS), heights, st.sampled_from(["average", "mode"]), st.sampled_from([None, 0, 9, -1]))
def test_integers_equal_exact_means(image: Any, heights: Any, method: Method, nodata: int | None) -> None:
    expected = image
    for level in streamed(image, heights, 3, method=method, nodata=nodata)[1:]:
        expected = halved(expected, method, nodata)
        np.testing.assert_array_equal(level, expected)


@settings(max_examples=50, deadline=None)
@given(images(FLOATS), heights, st.sampled_from([None, 0.0, 9.0, math.nan]), st.data())
def test_floats_equal_means_of_what_is_there(
    image: Any, heights: Any, nodata: float | None, data: st.DataObject
) -> None:
    image[data.draw(hnp.arrays(bool, image.shape))] = np.nan
    (_, level) = streamed(image, heights, 1, nodata=nodata)
    info = np.finfo(image.dtype)
    # Where large samples cancel out, what is lost of them in double precision stays.
    lost = 4 * np.finfo("f8").eps * np.nanmax(np.abs(image.astype("f8")), initial=0)
    with np.errstate(over="ignore"):
        expected = halved(image, "average", None if nodata != nodata else nodata)
    np.testing.assert_allclose(level, expected, rtol=2 * info.eps, atol=lost + 4 * info.smallest_subnormal)


@settings(max_examples=50, deadline=None)
@given(images(["u1", "i8", "f4", "c8"]), heights, heights, st.sampled_from(["average", "nearest", "mode"]))
def test_the_cut_of_the_strips_does_not_matter(image: Any, one: Any, two: Any, method: Method) -> None:
    for first, second in zip(
        streamed(image, one, 4, method=method), streamed(image, two, 4, method=method), strict=True
    ):
        assert first.tobytes() == second.tobytes()


@pytest.mark.parametrize("dtype", [*INTEGERS, *FLOATS, "c8", "c16"])
def test_a_constant_image_stays_constant(dtype: str) -> None:
    kind = np.dtype(dtype)
    limits = np.iinfo(kind) if kind.kind in "iu" else np.finfo(kind)
    for value in (limits.min, limits.max):
        image = np.full((13, 11, 2), value, kind)
        for nodata in (None, 5):
            for level in streamed(image, [4], 4, nodata=nodata):
                assert (level == value).all()


def test_batches_do_not_show() -> None:
    image = np.random.default_rng(0).integers(0, 255, (37, 90001, 1), np.uint8)
    (_, level) = streamed(image, [37], 1)
    whole = image[:, :90000].reshape(37, 45000, 2).astype(int).sum(2)
    whole = whole[0:36:2] + whole[1:36:2]
    np.testing.assert_array_equal(level[:18, :45000, 0], (whole + 2) // 4)


def test_complex_means_leave_out_nan_and_nodata() -> None:
    image = np.array([[[1 + 2j], [3 + 4j]], [[complex(np.nan, 1)], [-9]]], np.complex64)
    (_, level) = streamed(image, [1], 1, nodata=-9)
    assert level[0, 0, 0] == 2 + 3j


def test_nodata_that_no_sample_can_have_changes_nothing() -> None:
    image = np.array([[[1], [2]], [[255], [255]]], np.uint8)
    for nodata in (-9999, 1e300, math.inf, 1.5):
        (_, level) = streamed(image, [2], 1, nodata=nodata)
        assert level[0, 0, 0] == 128
        (_, floats) = streamed(image.astype("f4"), [2], 1, nodata=nodata)
        assert floats[0, 0, 0] == 128.25


def test_halving_holds_back_only_an_unpaired_row() -> None:
    halving = Halving((5, 4, 1), "u1")
    rows = np.zeros((5, 4, 1), np.uint8)
    assert [len(halving.push(rows[n : n + 1])) for n in range(5)] == [0, 1, 0, 1, 1]


def test_overviews_stop_when_one_block_holds_all() -> None:
    assert overview_shapes(256, 256, 256) == ()
    assert overview_shapes(257, 1, 256) == ((129, 1),)
    assert overview_shapes(5400, 10800, 256)[-1] == (85, 169)


@pytest.mark.parametrize("nodata", [None, 9])
@pytest.mark.parametrize("bands", [1, 3, 4])
@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", ">u2"])
def test_opencv_averages_as_numpy_does(
    dtype: str, bands: int, nodata: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wide enough for its vectors, with an odd last row and column, and strips of any height."""
    rng = np.random.default_rng(bands)
    image = rng.integers(np.iinfo(dtype).min, np.iinfo(dtype).max, (23, 301, bands), endpoint=True).astype(
        dtype
    )
    image[:8] = np.iinfo(dtype).max
    image[8:12] = np.iinfo(dtype).min
    image[18:, :40] = 9
    by_numpy = streamed(image, [5, 1, 7], 3, nodata=nodata)
    monkeypatch.setattr(overviews, "_WORTH_OPENCV", 0)
    monkeypatch.setattr(overviews, "_OPENCV_BATCH", 700)
    for expected, got in zip(by_numpy, streamed(image, [5, 1, 7], 3, nodata=nodata), strict=True):
        np.testing.assert_array_equal(got, expected)
