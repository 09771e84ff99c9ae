"""The literal window, a rectangle of whole pixels that may leave the image; and where it meets a grid."""

from __future__ import annotations

import operator
from dataclasses import dataclass

from subregion.errors import RegionError, RegionTypeError, shown


@dataclass(frozen=True, slots=True)
class Window:
    """A half-open rectangle of whole pixels, counted from the top-left pixel of the image.

    It may lie partly or wholly outside the image: reading it always gives exactly `height` rows and
    `width` columns, and what lies outside is filled.

    Parameters
    ----------
    row, col : int
        The first row and column, in pixels; may be negative.
    height, width : int
        The number of rows and columns, at least 0.

    Raises
    ------
    RegionTypeError
        If a value is not a whole number.
    RegionError
        If `height` or `width` is negative.

    Examples
    --------
    >>> Window(row=-2, col=3, height=5, width=4).intersection(Window(0, 0, 10, 10))
    Window(row=0, col=3, height=3, width=4)
    """

    row: int
    col: int
    height: int
    width: int

    def __post_init__(self) -> None:
        if not (type(self.row) is type(self.col) is type(self.height) is type(self.width) is int):
            for name in ("row", "col", "height", "width"):
                object.__setattr__(self, name, _whole(name, getattr(self, name)))
        if self.height < 0 or self.width < 0:
            raise RegionError(
                f"Window(height={shown(self.height)}, width={shown(self.width)}): "
                f"sizes are numbers of pixels, at least 0."
            )

    @property
    def row_stop(self) -> int:
        """The row after the last one."""
        return self.row + self.height

    @property
    def col_stop(self) -> int:
        """The column after the last one."""
        return self.col + self.width

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.height, self.width

    @property
    def empty(self) -> bool:
        """Whether there is no pixel in it."""
        return self.height == 0 or self.width == 0

    @property
    def slices(self) -> tuple[slice, slice]:
        """The same rectangle as slices; only for a window that starts inside the array."""
        return slice(self.row, self.row + self.height), slice(self.col, self.col + self.width)

    def shifted(self, rows: int, cols: int) -> Window:
        """Move the window down by `rows` and right by `cols` pixels."""
        return Window(self.row + rows, self.col + cols, self.height, self.width)

    def intersection(self, other: Window) -> Window:
        """Return the pixels that both windows hold; empty where they do not meet."""
        row = max(self.row, other.row)
        col = max(self.col, other.col)
        height = max(0, min(self.row_stop, other.row_stop) - row)
        width = max(0, min(self.col_stop, other.col_stop) - col)
        return Window(row, col, height, width)

    def inside(self, height: int, width: int) -> bool:
        """Whether no part of it leaves an image of `height` x `width` pixels."""
        row, col = self.row, self.col
        return row >= 0 and col >= 0 and row + self.height <= height and col + self.width <= width


def _whole(name: str, value: object) -> int:
    if isinstance(value, bool):
        raise RegionTypeError(f"Window({name}={value!r}): a whole number of pixels is needed, not a bool.")
    try:
        return operator.index(value)  # type: ignore[arg-type]  # the except below is the check
    except TypeError:
        raise RegionTypeError(
            f"Window({name}={shown(value)}): a whole number of pixels is needed, not {type(value).__name__}; "
            f"round it first, for example with int(numpy.floor(...))."
        ) from None


def overlaps(start: int, stop: int, step: int, size: int) -> list[tuple[int, slice, slice]]:
    """List the blocks along one axis that an interval touches.

    Parameters
    ----------
    start, stop : int
        The interval, in pixels, not empty.
    step : int
        Every how many pixels one is taken, counted from `start`.
    size : int
        Pixels of a block.

    Returns
    -------
    list of (int, slice, slice)
        Number of the block, which of its pixels are wanted, and where they go in the output. Blocks that
        lie between two steps are left out.

    Examples
    --------
    >>> overlaps(3, 9, 1, 4)
    [(0, slice(3, 4, None), slice(0, 1, None)), (1, slice(0, 4, None), slice(1, 5, None)),
     (2, slice(0, 1, None), slice(5, 6, None))]
    """
    first, last = start // size, (stop - 1) // size
    if step == 1:
        lead = start - first * size
        if first == last:
            return [(first, slice(lead, lead + stop - start), slice(0, stop - start))]
        # Nearly all windows come here, and to ask at each block for its ends would take three times as long.
        whole, done = slice(0, size), size - lead
        between = range(done, done + (last - first - 1) * size, size)
        return [
            (first, slice(lead, size), slice(0, done)),
            *[(first + k, whole, slice(at, at + size)) for k, at in enumerate(between, 1)],
            (last, slice(0, stop - last * size), slice(last * size - start, stop - start)),
        ]
    found = []
    at = start
    while at < stop:
        block = at // size
        end = min(stop, (block + 1) * size)
        count = -(-(end - at) // step)
        done = (at - start) // step
        found.append((block, slice(at - block * size, end - block * size, step), slice(done, done + count)))
        at += count * step
    return found
