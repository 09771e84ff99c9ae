"""Windows that cover images and videos, and which of them boxes meet. Pure geometry, on arrays.

An *extent* is what is covered: the pixels of an image, or the frames and pixels of a video. All of them are
done together, so that a million small images cost as much as one large one.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subregion.errors import ConfigError, TooLargeError, shown
from subregion.sampling.arguments import as_float

#: No image has so many rows or columns.
LARGEST = 1 << 40
#: More windows are no list that anybody can hold, nor are more pairs of a window and an annotation in it.
MOST_WINDOWS = 1 << 31
MOST_MEETINGS = 1 << 27


@dataclass(frozen=True, slots=True)
class Spacing:
    """How large the windows of a grid are, and how far apart.

    Parameters
    ----------
    dims : tuple of (int or None)
        Size along each axis, in pixels or frames; None is all of the extent.
    overlap : tuple of float
        Which part of a window its successor along each axis shares with it, from 0 up to, not including, 1.
    keepbound : bool
        Whether the last window is moved inwards, to end where the extent does. Otherwise it keeps the
        distance, and leaves the extent. Nothing is left out either way. Along time it is always moved: there
        is nothing to fill frames with.
    """

    dims: tuple[int | None, ...]
    overlap: tuple[float, ...]
    keepbound: bool = True

    @classmethod
    def of(cls, window_dims: Any, window_overlap: Any, keepbound: bool, axes: str) -> Spacing:
        """Check what users write.

        Parameters
        ----------
        window_dims : sequence of (int or "full"), or "full"
            One for each axis.
        window_overlap : float or sequence of float
            For all axes, or one for each.
        keepbound : bool
            See `Spacing`.
        axes : str
            What the axes are called, such as ``"h, w"``.

        Raises
        ------
        ConfigError
            If they have no meaning.
        """
        count = len(axes.split(", "))
        if isinstance(window_dims, str) and window_dims == "full":
            dims: tuple[int | None, ...] = (None,) * count
        else:
            dims = tuple(_size(each, window_dims) for each in _listed(window_dims))
        if len(dims) != count:
            raise ConfigError(f"window_dims={shown(window_dims)}: give ({axes}), or 'full'.")
        each = (window_overlap,) * count if isinstance(window_overlap, Real) else _listed(window_overlap)
        if len(each) != count or not all(_is_share(value) for value in each):
            raise ConfigError(
                f"window_overlap={shown(window_overlap)}: a number from 0 up to, not including, 1 is needed, "
                f"or one for each of ({axes})."
            )
        if not isinstance(keepbound, bool | np.bool_):
            raise ConfigError(f"keepbound={shown(keepbound)}: allowed are True, False.")
        return cls(dims, tuple(float(value) for value in each), bool(keepbound))


def starts(length: int, size: int, overlap: float = 0.0, keepbound: bool = True) -> NDArray[np.int64]:
    """Tell where the windows along one axis begin.

    Parameters
    ----------
    length : int
        Of the axis, at least 1.
    size : int
        Of a window. One that is larger than the axis begins at 0, and leaves it.
    overlap : float
        See `Spacing`. The distance of windows is rounded to whole pixels, half to even, and is at least 1.
    keepbound : bool
        See `Spacing`.

    Returns
    -------
    ndarray of int64
        Ascending; every place of the axis is in a window.

    Examples
    --------
    >>> starts(10, 4), starts(10, 4, keepbound=False), starts(10, 4, 0.5), starts(3, 4)
    (array([0, 4, 6]), array([0, 4, 8]), array([0, 2, 4, 6]), array([0]))
    """
    step = max(1, round(size - size * overlap))
    count = 1 if size >= length else -(-(length - size) // step) + 1
    found = np.arange(count, dtype=np.int64) * step
    if keepbound and count > 1:
        found[-1] = length - size
    return found


@dataclass(frozen=True)
class Lattice:
    """The windows over one extent.

    Parameters
    ----------
    axes : tuple of ndarray
        Where windows begin along each axis, ascending.
    size : tuple of int
        Of every window.
    """

    axes: tuple[NDArray[np.int64], ...]
    size: tuple[int, ...]

    @classmethod
    def over(cls, shape: Sequence[int], spacing: Spacing) -> Lattice:
        """Cover an extent of this shape."""
        size = tuple(
            int(length) if dim is None else dim for length, dim in zip(shape, spacing.dims, strict=True)
        )
        return cls(
            tuple(
                starts(int(length), each, overlap, spacing.keepbound or axis < len(size) - 2)
                for axis, (length, each, overlap) in enumerate(zip(shape, size, spacing.overlap, strict=True))
            ),
            size,
        )

    @property
    def shape(self) -> tuple[int, ...]:
        """How many windows there are along each axis."""
        return tuple(len(axis) for axis in self.axes)

    def __len__(self) -> int:
        return math.prod(self.shape)

    def lows(self) -> NDArray[np.int64]:
        """Return where each window begins, row-major: one row a window, one column an axis."""
        return np.stack([each.ravel() for each in np.meshgrid(*self.axes, indexing="ij")], axis=1)

    def low(self, number: int) -> NDArray[np.int64]:
        """Return where one window begins."""
        place = np.unravel_index(number, self.shape)
        return np.array([axis[k] for axis, k in zip(self.axes, place, strict=True)], np.int64)

    def meeting(
        self, low: NDArray[np.float64], high: NDArray[np.float64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Tell which windows boxes meet; those that only touch do not.

        Parameters
        ----------
        low, high : ndarray, shape (N, axes)
            The boxes; NaN meets nothing.

        Returns
        -------
        windows, boxes : ndarray of int64
            One entry for each pair; boxes ascend.
        """
        # Windows of one size that follow each other along an axis meet a box in a run of them.
        first = np.empty(low.shape, np.int64)
        count = np.empty(low.shape, np.int64)
        for k, (axis, size) in enumerate(zip(self.axes, self.size, strict=True)):
            first[:, k] = np.searchsorted(axis + size, low[:, k], "right")
            count[:, k] = np.searchsorted(axis, high[:, k], "left") - first[:, k]
        count = np.where(np.isnan(low) | np.isnan(high), 0, count.clip(0))
        totals = count.prod(axis=1)
        if (total := int(totals.sum())) > MOST_MEETINGS:
            raise TooLargeError(
                f"a grid whose windows hold {total} annotations together is too large; take larger windows, "
                f"or less overlap, or use_annots=False."
            )
        boxes = np.repeat(np.arange(len(low)), totals)
        place = np.arange(len(boxes)) - np.repeat(np.cumsum(totals) - totals, totals)
        windows, stride = np.zeros(len(boxes), np.int64), 1
        for k in reversed(range(len(self.axes))):
            windows += (first[boxes, k] + place % count[boxes, k]) * stride
            place //= count[boxes, k]
            stride *= len(self.axes[k])
        return windows, boxes


@dataclass(frozen=True)
class Grid:
    """The windows over many extents, numbered through: extent by extent, row-major in each.

    Parameters
    ----------
    lattices : tuple of Lattice
        One for each different shape.
    kind : ndarray of int64
        Which of them covers each extent.
    """

    lattices: tuple[Lattice, ...]
    kind: NDArray[np.int64]

    @classmethod
    def over(cls, shapes: NDArray[np.int64], spacing: Spacing) -> Grid:
        """Cover extents.

        Parameters
        ----------
        shapes : ndarray, shape (M, axes)
            Their sizes; one that is empty has no windows.
        spacing : Spacing
            The windows.

        Raises
        ------
        TooLargeError
            If there are more windows than a list can hold.
        """
        different, kind, counts = different_rows(shapes)
        total = sum(int(n) * _count(shape, spacing) for n, shape in zip(counts, different, strict=True))
        if total > MOST_WINDOWS:
            raise TooLargeError(
                f"a grid of {total} windows is too large; take larger ones, or less overlap, or do a part of "
                f"the images at a time."
            )
        nothing = np.empty(0, np.int64)
        return cls(
            tuple(
                Lattice.over(shape, spacing)
                if shape.all()
                else Lattice((nothing,) * len(shape), (1,) * len(shape))
                for shape in different
            ),
            kind,
        )

    @cached_property
    def first(self) -> NDArray[np.int64]:
        """The number of the first window of each extent, and at the end how many there are."""
        sizes = np.array([len(each) for each in self.lattices], np.int64)
        return np.concatenate([[0], np.cumsum(sizes[self.kind])]).astype(np.int64)

    def __len__(self) -> int:
        return int(self.first[-1])

    def lattice(self, extent: int) -> Lattice:
        """Return the windows over one extent."""
        return self.lattices[int(self.kind[extent])]

    def meeting(
        self, extent: NDArray[np.int64], low: NDArray[np.float64], high: NDArray[np.float64]
    ) -> Meetings:
        """Tell which windows boxes meet; those that only touch do not.

        Parameters
        ----------
        extent : ndarray of int
            Where each box is.
        low, high : ndarray, shape (N, axes)
            The boxes, in pixels of their extent; NaN meets nothing.
        """
        windows, boxes = [], []
        kinds = self.kind[extent]
        by_kind = np.argsort(kinds, kind="stable")
        ends = np.searchsorted(kinds[by_kind], np.arange(len(self.lattices) + 1))
        for number, lattice in enumerate(self.lattices):
            rows = by_kind[ends[number] : ends[number + 1]]
            if len(rows) and len(lattice):
                window, row = lattice.meeting(low[rows], high[rows])
                windows.append(window + self.first[extent[rows[row]]])
                boxes.append(rows[row])
        if not windows:
            return Meetings.of(np.empty(0, np.int64), np.empty(0, np.int64), len(self))
        return Meetings.of(np.concatenate(windows), np.concatenate(boxes), len(self))


@dataclass(frozen=True, slots=True)
class Meetings:
    """Which boxes are in which windows.

    Parameters
    ----------
    first : ndarray of int64, shape (windows + 1,)
        The boxes of window k are ``boxes[first[k]:first[k + 1]]``.
    boxes : ndarray of int64
        Rows of boxes; ascending in each window.
    """

    first: NDArray[np.int64]
    boxes: NDArray[np.int64]

    @classmethod
    def of(cls, windows: NDArray[np.int64], boxes: NDArray[np.int64], count: int) -> Meetings:
        """Sort pairs of windows and boxes by window."""
        order = np.lexsort((boxes, windows))
        first = np.zeros(count + 1, np.int64)
        np.cumsum(np.bincount(windows, minlength=count), out=first[1:])
        return cls(first, boxes[order])

    @property
    def windows(self) -> NDArray[np.int64]:
        """The window of each entry of `boxes`."""
        return np.repeat(np.arange(len(self.first) - 1), np.diff(self.first))

    def of_window(self, window: int) -> NDArray[np.int64]:
        """Return the boxes of a window."""
        return self.boxes[self.first[window] : self.first[window + 1]]

    def any_of(self, chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Tell which windows hold a box that is among the chosen."""
        counts = np.concatenate([[0], np.cumsum(chosen[self.boxes])])
        found: NDArray[np.bool_] = counts[self.first[1:]] > counts[self.first[:-1]]
        return found


def different_rows(
    rows: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return the different rows of a table of sizes, which of them each row is, and how often each comes.

    As `numpy.unique` along an axis, in a fraction of its time where rows fit into one number each.

    Examples
    --------
    >>> different_rows(np.array([[3, 4], [1, 9], [3, 4]]))
    (array([[1, 9],
            [3, 4]]), array([1, 0, 1]), array([1, 2]))
    """
    radix = [int(each) + 1 for each in rows.max(axis=0, initial=0)]
    if math.prod(radix) >= 1 << 63:
        different, kind, counts = np.unique(rows, axis=0, return_inverse=True, return_counts=True)
        return different, kind.reshape(-1).astype(np.int64), counts.astype(np.int64)
    key = np.zeros(len(rows), np.int64)
    for column, size in zip(rows.T, radix, strict=True):
        key = key * size + column
    _, first, kind, counts = np.unique(key, return_index=True, return_inverse=True, return_counts=True)
    return rows[first], kind.astype(np.int64), counts.astype(np.int64)


def union_area(boxes: NDArray[np.float64]) -> float:
    """Return the area that boxes cover, places under several of them once.

    Parameters
    ----------
    boxes : ndarray, shape (N, 4)
        x0, y0, x1, y1.

    Examples
    --------
    >>> union_area(np.array([[0, 0, 2, 2], [1, 1, 3, 3], [0, 0, 1, 1.0]]))
    7.0
    """
    xs, ys = np.unique(boxes[:, 0::2]), np.unique(boxes[:, 1::2])
    covered = np.zeros((max(len(ys) - 1, 0), max(len(xs) - 1, 0)), bool)
    for x0, y0, x1, y1 in zip(*_places(xs, ys, boxes), strict=True):
        covered[y0:y1, x0:x1] = True
    return float((covered * np.diff(ys)[:, None] * np.diff(xs)).sum())


def _places(
    xs: NDArray[np.float64], ys: NDArray[np.float64], boxes: NDArray[np.float64]
) -> list[NDArray[np.int64]]:
    return [np.searchsorted(xs if k % 2 == 0 else ys, boxes[:, k]) for k in range(4)]


def _count(shape: NDArray[np.int64], spacing: Spacing) -> int:
    """Tell how many windows an extent needs, before they are made."""
    total = 1
    for length, dim, overlap in zip(shape.tolist(), spacing.dims, spacing.overlap, strict=True):
        size = length if dim is None else dim
        if length == 0:
            return 0
        if size < length:
            total *= -(-(length - size) // max(1, round(size - size * overlap))) + 1
    return total


def _listed(value: Any) -> tuple[Any, ...]:
    if isinstance(value, str | bytes):
        return ()
    try:
        return tuple(value)
    except TypeError:
        return ()


def _size(value: Any, given: Any) -> int | None:
    if isinstance(value, str) and value == "full":
        return None
    try:
        size = 0 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        size = 0
    if not 1 <= size < LARGEST:
        raise ConfigError(
            f"window_dims={shown(given)}: {shown(value)} is no size; give numbers of 1 or more, or 'full'."
        )
    return size


def _is_share(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and 0 <= as_float(value) < 1
