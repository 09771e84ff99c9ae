"""Windows that are put together."""

from hypothesis import given
from hypothesis import strategies as st

from subregion import Window
from subregion.blocks.union import unite

WINDOWS = st.builds(
    Window, st.integers(-50, 300), st.integers(-50, 300), st.integers(1, 80), st.integers(1, 80)
)


def area(window: Window) -> int:
    return window.height * window.width


@given(st.lists(WINDOWS, max_size=40), st.integers(0, 20000))
def test_unions_hold_their_windows_and_are_less_work(windows: list[Window], largest: int) -> None:
    unions = unite(windows, largest)
    assert sorted(number for _, members in unions for number in members) == list(range(len(windows)))
    for union, members in unions:
        rows = [windows[number].row for number in members]
        assert union.row == min(rows)
        for number in members:
            assert union.intersection(windows[number]) == windows[number]
        assert len(members) == 1 or area(union) <= largest
        assert area(union) <= sum(area(windows[number]) for number in members)


def test_windows_that_slide_become_strips_of_the_allowed_size() -> None:
    windows = [Window(0, 128 * k, 256, 256) for k in range(10)]
    unions = unite(windows, 256 * 768)
    assert [union for union, _ in unions] == [
        Window(0, 0, 256, 768), Window(0, 640, 256, 768),
    ]  # fmt: skip


def test_the_same_window_twice_is_read_once() -> None:
    assert unite([Window(3, 4, 50, 60)] * 3, 10000) == [(Window(3, 4, 50, 60), [0, 1, 2])]


def test_windows_that_lie_apart_stay_apart() -> None:
    windows = [Window(0, 0, 10, 10), Window(0, 10, 10, 10), Window(30, 0, 10, 10)]
    assert [members for _, members in unite(windows, 10**6)] == [[0], [1], [2]]
