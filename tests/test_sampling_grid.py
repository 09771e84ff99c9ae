"""Grids of windows: everything is covered, and boxes are found where they are."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from subregion.errors import ConfigError, TooLargeError
from subregion.sampling.regions.grid import Grid, Lattice, Spacing, different_rows, starts, union_area

AXES = {1: "x", 2: "h, w", 3: "t, h, w"}


def spacing_of(dims: Any, overlap: Any = 0, keepbound: bool = True, axes: int = 2) -> Spacing:
    return Spacing.of(dims, overlap, keepbound, AXES[axes])


def meet_one_by_one(
    lows: NDArray[Any], size: tuple[int, ...], low: NDArray[Any], high: NDArray[Any]
) -> NDArray[np.bool_]:
    """Compare every window (rows) with every box (columns)."""
    inside = (low[None] < (lows + size)[:, None]) & (high[None] > lows[:, None])
    found: NDArray[np.bool_] = np.logical_and.reduce(inside, axis=2)
    return found


def is_covered(axis: NDArray[Any], size: int, length: int) -> bool:
    """Count for each place how many windows hold it."""
    places = np.arange(length)
    return bool(((axis[:, None] <= places) & (places < axis[:, None] + size)).any(axis=0).all())


def test_everything_is_covered_and_indices_are_right_for_ten_thousand_grids() -> None:
    rng = np.random.default_rng(14)
    for _ in range(1_000):
        axes = int(rng.integers(2, 4))
        shapes = rng.integers(1, 30 if axes == 2 else 9, (10, axes))
        dims = ["full" if rng.random() < 0.1 else int(rng.integers(1, 36 // axes)) for _ in range(axes)]
        keepbound = bool(rng.random() < 0.7)
        grid = Grid.over(shapes, spacing_of(dims, np.round(rng.random(axes) * 0.99, 2), keepbound, axes))
        low = rng.integers(-5, 30, (30, axes)).astype(float)
        high = low + rng.integers(0, 12, (30, axes)).astype(float)
        field = rng.integers(0, 10, 30)
        met = grid.meeting(field, low, high)
        positive = met.any_of(np.arange(30) % 3 == 0)
        for number, shape in enumerate(shapes):
            lattice = grid.lattice(number)
            lows, own = lattice.lows(), slice(grid.first[number], grid.first[number + 1])
            assert len(lows) == len(lattice) == own.stop - own.start
            for place, (axis, length) in enumerate(zip(lattice.axes, shape, strict=True)):
                size = lattice.size[place]
                assert is_covered(axis, size, length)
                if keepbound or place < axes - 2:
                    assert axis[-1] + size == max(size, length)
            expected = meet_one_by_one(lows, lattice.size, low, high) & (field == number)
            found = np.zeros_like(expected)
            inside = (met.windows >= own.start) & (met.windows < own.stop)
            found[met.windows[inside] - own.start, met.boxes[inside]] = True
            assert (found == expected).all()
            assert (positive[own] == expected[:, ::3].any(axis=1)).all()


def test_too_many_annotations_in_too_many_windows() -> None:
    grid = Grid.over(np.array([[3000, 3000]]), spacing_of((10, 10)))
    low = np.zeros((2000, 2))
    with pytest.raises(TooLargeError, match="180000000 annotations"):
        grid.meeting(np.zeros(2000, np.int64), low, low + 3000)


def test_windows_of_no_size() -> None:
    for size in (1 << 40, 10**30):
        with pytest.raises(ConfigError, match="no size"):
            spacing_of((size, 5))
    with pytest.raises(ConfigError, match="window_overlap"):
        Spacing.of((5, 5), 10**400, True, "h, w")


def test_windows_are_row_major_and_numbered_extent_by_extent() -> None:
    shapes = np.array([[4, 6], [2, 2], [4, 6], [0, 5]])
    grid = Grid.over(shapes, spacing_of((2, 3)))
    assert grid.first.tolist() == [0, 4, 5, 9, 9]
    assert grid.lattice(0).lows().tolist() == [[0, 0], [0, 3], [2, 0], [2, 3]]
    met = grid.meeting(
        np.array([2, 0, 1]), np.array([[2.5, 0], [0, 3], [0, 0]]), np.array([[3.0, 1], [2, 6], [1, 1]])
    )
    assert met.windows.tolist() == [1, 4, 7]
    assert met.boxes.tolist() == [1, 2, 0]
    assert met.of_window(7).tolist() == [0]


def test_a_window_larger_than_the_extent_leaves_it() -> None:
    lattice = Lattice.over((5, 7), spacing_of((10, 3), 0))
    assert lattice.lows().tolist() == [[0, 0], [0, 3], [0, 4]]
    assert lattice.size == (10, 3)


def test_without_keepbound_the_last_window_keeps_its_distance() -> None:
    assert starts(10, 4, 0.25, keepbound=False).tolist() == [0, 3, 6]
    assert starts(11, 4, 0.25, keepbound=False).tolist() == [0, 3, 6, 9]
    assert starts(11, 4, 0.25).tolist() == [0, 3, 6, 7]


def test_the_smallest_step_is_a_pixel() -> None:
    assert starts(4, 1, 0.9).tolist() == [0, 1, 2, 3]
    assert starts(5, 3, 0.999).tolist() == [0, 1, 2]


def test_steps_are_rounded_half_to_even() -> None:
    assert starts(12, 5, 0.5).tolist() == [0, 2, 4, 6, 7]
    assert starts(12, 3, 0.5).tolist() == [0, 2, 4, 6, 8, 9]


@pytest.mark.parametrize("dims", [(0, 3), (3,), (1, 2, 3), "whole", ("full", 2.5), (True, 2), 7, (-1, 2)])
def test_sizes_that_are_none(dims: Any) -> None:
    with pytest.raises(ConfigError, match="window_dims="):
        spacing_of(dims)


@pytest.mark.parametrize("overlap", [1, -0.1, math.nan, (0.1,), (0.1, 0.2, 0.3), "half", (0.1, 1.0), True])
def test_overlaps_that_are_none(overlap: Any) -> None:
    with pytest.raises(ConfigError, match="window_overlap="):
        spacing_of((2, 2), overlap)


def test_a_grid_that_nobody_can_hold() -> None:
    with pytest.raises(TooLargeError, match="a grid of 10000000000 windows"):
        Grid.over(np.array([[100_000, 100_000]]), spacing_of((1, 1)))


def test_boxes_of_no_number_meet_nothing() -> None:
    grid = Grid.over(np.array([[4, 4]]), spacing_of((2, 2)))
    low = np.array([[np.nan, 0], [0, 0], [0, np.nan]])
    high = np.array([[4, 4], [4, np.nan], [4, 4.0]])
    assert len(grid.meeting(np.zeros(3, np.int64), low, high).boxes) == 0


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(*[st.integers(0, 9)] * 4).map(lambda b: (*b[:2], b[0] + b[2], b[1] + b[3])), max_size=8
    )
)
def test_the_area_of_a_union(boxes: list[tuple[int, int, int, int]]) -> None:
    canvas = np.zeros((20, 20), bool)
    for x0, y0, x1, y1 in boxes:
        canvas[y0:y1, x0:x1] = True
    assert union_area(np.array(boxes, float).reshape(-1, 4)) == canvas.sum()


@pytest.mark.parametrize("largest", [5, 1 << 40])
def test_different_rows_are_those_that_numpy_finds(largest: int) -> None:
    rows = np.random.default_rng(1).choice([0, 1, 3, largest], (200, 3))
    expected = np.unique(rows, axis=0, return_inverse=True, return_counts=True)
    for found, other in zip(different_rows(rows), expected, strict=True):
        assert np.array_equal(found, other.reshape(found.shape))
    assert [len(each) for each in different_rows(np.empty((0, 2), np.int64))] == [0, 0, 0]
