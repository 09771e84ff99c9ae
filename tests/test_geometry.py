"""Regions and windows against NumPy's own indexing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from subregion.errors import RegionError, RegionTypeError
from subregion.geometry.region import select
from subregion.geometry.window import Window

bounds = st.none() | st.integers(-40, 40)
steps = st.none() | st.integers(1, 45)
slices = st.builds(slice, bounds, bounds, steps)
axes = slices | st.none()
regions = (
    st.none()
    | st.just(...)
    | slices
    | st.lists(axes, max_size=3).map(tuple)
    | st.tuples(st.lists(axes, max_size=2), st.lists(axes, max_size=1)).map(
        lambda two: (*two[0], ..., *two[1])
    )
)
windows = st.builds(
    Window, st.integers(-30, 30), st.integers(-30, 30), st.integers(0, 30), st.integers(0, 30)
)


def as_numpy(region: Any) -> Any:
    """The same region in NumPy's words, where None means a new axis."""
    if region is None:
        return ...
    if isinstance(region, tuple):
        return tuple(slice(None) if item is None else item for item in region)
    return region


@given(regions, st.tuples(st.integers(0, 20), st.integers(0, 20), st.integers(1, 5)))
def test_slices_select_what_numpy_selects(region: Any, shape: tuple[int, int, int]) -> None:
    array = np.arange(np.prod(shape)).reshape(shape)
    chosen = select(region, shape)
    rows, cols = chosen.window.slices
    got = array[rows, cols][:: chosen.row_step, :: chosen.col_step]
    if chosen.bands is not None:
        got = got[..., list(chosen.bands)]
    np.testing.assert_array_equal(got, array[as_numpy(region)])
    assert got.shape[:2] == chosen.shape
    assert chosen.window.inside(*shape[:2])


@given(windows, windows)
def test_intersection_holds_the_pixels_of_both(one: Window, two: Window) -> None:
    def pixels(window: Window) -> set[tuple[int, int]]:
        return {
            (r, c) for r in range(window.row, window.row_stop) for c in range(window.col, window.col_stop)
        }

    assert pixels(one.intersection(two)) == pixels(one) & pixels(two)


@given(windows, st.integers(-5, 5), st.integers(-5, 5))
def test_a_window_is_literal(window: Window, rows: int, cols: int) -> None:
    assert select(window, (10, 10, 3)).window == window
    assert window.shifted(rows, cols).shifted(-rows, -cols) == window


@pytest.mark.parametrize(
    ("region", "error", "advice"),
    [
        (3, RegionError, "slice(3, 4)"),
        (-1, RegionError, "slice(-1, None)"),
        (np.int64(3), RegionError, "slice(3, 4)"),
        ((slice(None), 2), RegionError, "columns"),
        (1.5, RegionTypeError, "slice"),
        (True, RegionTypeError, "slice"),
        ("abc", RegionTypeError, "slice"),
        ([slice(None)], RegionTypeError, "slice"),
        (np.zeros(3), RegionTypeError, "slice"),
        (slice(0.5, 3), RegionTypeError, "round"),
        (slice(None, None, -1), RegionError, "[::-1]"),
        (slice(None, None, 0), RegionError, "step of 0"),
        ((slice(None),) * 4, RegionError, "4 axes"),
        ((..., ...), RegionError, "once"),
    ],
)
def test_what_is_no_region_says_what_to_write(region: Any, error: type[Exception], advice: str) -> None:
    with pytest.raises(error) as caught:
        select(region, (10, 10, 3))
    assert advice in str(caught.value)


@pytest.mark.parametrize(
    ("values", "error"),
    [((0, 0, -1, 2), RegionError), ((0.5, 0, 1, 2), RegionTypeError), ((0, 0, True, 2), RegionTypeError)],
)
def test_a_window_is_checked_at_birth(values: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        Window(*values)


def test_a_window_takes_numpy_integers_as_plain_ones() -> None:
    window = Window(np.int64(1), np.uint8(2), np.int32(3), np.int16(4))  # type: ignore[arg-type]
    assert all(type(value) is int for value in (window.row, window.col, window.height, window.width))
