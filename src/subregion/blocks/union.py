"""Windows that overlap, put together where their union is less work than each for itself. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from subregion.geometry.window import Window

#: A window is compared with so many of the latest unions: more would take longer than they save.
_LOOK_BACK = 16


def unite(windows: Sequence[Window], largest: int) -> list[tuple[Window, list[int]]]:
    """Group windows whose bounding window has fewer pixels than they have together.

    Parameters
    ----------
    windows : sequence of Window
        Not empty each.
    largest : int
        Pixels that a union may have; a single window may have more.

    Returns
    -------
    list of (Window, list of int)
        Bounding windows, from top to bottom, and which windows lie in each.

    Examples
    --------
    >>> unite([Window(0, 0, 8, 8), Window(50, 0, 8, 8), Window(2, 4, 8, 8)], 1000)
    [(Window(row=0, col=0, height=10, width=12), [0, 2]), (Window(row=50, col=0, height=8, width=8), [1])]
    """
    unions: list[tuple[Window, list[int]]] = []
    for number in sorted(range(len(windows)), key=lambda k: (windows[k].row, windows[k].col)):
        window = windows[number]
        for place in range(len(unions) - 1, max(-1, len(unions) - 1 - _LOOK_BACK), -1):
            union, members = unions[place]
            both = _bounding(union, window)
            if _area(both) <= largest and _area(both) < _area(union) + _area(window):
                unions[place] = both, [*members, number]
                break
        else:
            unions.append((window, [number]))
    return unions


def _area(window: Window) -> int:
    return window.height * window.width


def _bounding(one: Window, other: Window) -> Window:
    row, col = min(one.row, other.row), min(one.col, other.col)
    height = max(one.row_stop, other.row_stop) - row
    return Window(row, col, height, max(one.col_stop, other.col_stop) - col)
