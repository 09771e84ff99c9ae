"""How much of windows annotations cover, and how much of annotations is in windows; many windows at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: So many pairs of a window and a box are compared at a time.
_PAIRS = 1 << 21


@dataclass(frozen=True, slots=True, eq=False)
class BoxTable:
    """Boxes of many images, in an order in which those near a window are found.

    Boxes of similar width are kept together, sorted by image and left edge: those that meet a window are then
    in a run that is not much longer than they are many, however different boxes are.

    Parameters
    ----------
    levels : tuple of Level
        One for each power of two of widths.
    span : float
        Farther right than any image goes.
    """

    levels: tuple[Level, ...]
    span: float

    @classmethod
    def of(
        cls,
        image: NDArray[np.int32] | NDArray[np.int64],
        boxes: NDArray[np.float64],
        iscrowd: NDArray[np.bool_],
        widest: int,
    ) -> BoxTable:
        """Sort boxes.

        Parameters
        ----------
        image : ndarray of int, shape (N,)
            Row of the image of each.
        boxes : ndarray, shape (N, 4)
            x0, y0, x1, y1; NaN is none.
        iscrowd : ndarray of bool, shape (N,)
            Whether each stands for many objects.
        widest : int
            Columns of the widest image.
        """
        span = 2.0 * widest + 4
        width = boxes[:, 2] - boxes[:, 0]
        known = np.flatnonzero(~np.isnan(width))
        power = np.ceil(np.log2(np.clip(width[known], 8, None))).astype(np.int64)
        levels = []
        for each in np.unique(power).tolist():
            rows = known[power == each]
            key = image[rows] * span + np.clip(boxes[rows, 0], 0, widest)
            order = np.argsort(key, kind="stable")
            rows = rows[order]
            levels.append(Level(float(2**each), key[order], np.ascontiguousarray(boxes[rows]), iscrowd[rows]))
        return cls(tuple(levels), span)

    def cover(
        self, image: NDArray[np.int64], windows: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Tell how much windows and boxes have of each other.

        Parameters
        ----------
        image : ndarray of int64, shape (N,)
            Row of the image of each window.
        windows : ndarray, shape (N, 4)
            x0, y0, x1, y1, inside the image, not empty.

        Returns
        -------
        over_window : ndarray of float64, shape (N,)
            The areas that boxes have in common with the window, added up, over that of the window.
        over_annotation : ndarray of float64, shape (N,)
            The largest part of any box, but those of crowds, that is in the window. Of a box without area it
            is 1 where the window holds more than its border, as is that of nothing else.
        """
        over_window, over_annotation = np.zeros(len(image)), np.zeros(len(image))
        for level in self.levels:
            self._add(level, image, windows.astype(np.float64), over_window, over_annotation)
        return over_window / _areas(windows), over_annotation

    def within(
        self,
        image: NDArray[np.int64],
        windows: NDArray[np.int64],
        over_window: float,
        over_annotation: float,
    ) -> NDArray[np.bool_]:
        """Tell of which windows neither part that `cover` returns is above a limit.

        Wide boxes come first, so that small ones are looked at only for windows that these have left.
        """
        found = np.zeros(len(image), bool)
        rows = np.arange(len(image))
        part, largest = np.zeros(len(image)), np.zeros(len(image))
        for level in reversed(self.levels):
            self._add(level, image[rows], windows[rows].astype(np.float64), part, largest)
            left = (part <= over_window * _areas(windows[rows])) & (largest <= over_annotation)
            rows, part, largest = rows[left], part[left], largest[left]
        found[rows] = True
        return found

    def pairs(self, image: NDArray[np.int64], windows: NDArray[np.int64]) -> int:
        """Tell how many boxes are near windows, all together: what it costs at most to compare them."""
        found = 0
        for level in self.levels:
            low, high = self._runs(level, image, windows.astype(np.float64))
            found += int((high - low).sum())
        return found

    def _runs(
        self, level: Level, image: NDArray[np.int64], windows: NDArray[np.float64]
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return where boxes near each window begin and end."""
        base = image * self.span
        # Keys are rounded, so a pixel more is looked at on each side; what meets is computed from boxes.
        low = np.searchsorted(level.key, base + np.clip(windows[:, 0] - level.width - 1, -1, None), "left")
        high = np.searchsorted(level.key, base + windows[:, 2] + 1, "right")
        return low, high

    def _add(
        self,
        level: Level,
        image: NDArray[np.int64],
        windows: NDArray[np.float64],
        shared: NDArray[np.float64],
        over_annotation: NDArray[np.float64],
    ) -> None:
        low, high = self._runs(level, image, windows)
        level.add(windows, low, high - low, shared, over_annotation)


@dataclass(frozen=True, slots=True, eq=False)
class Level:
    """Boxes of similar width.

    Parameters
    ----------
    width : float
        None of them is wider.
    key : ndarray of float64
        Of image and left edge, ascending.
    boxes : ndarray, shape (N, 4)
        In the same order.
    iscrowd : ndarray of bool
        In the same order.
    """

    width: float
    key: NDArray[np.float64]
    boxes: NDArray[np.float64]
    iscrowd: NDArray[np.bool_]

    def add(
        self,
        windows: NDArray[np.float64],
        first: NDArray[np.int64],
        count: NDArray[np.int64],
        shared: NDArray[np.float64],
        over_annotation: NDArray[np.float64],
    ) -> None:
        """Add what these boxes have in common with windows, a run of them for each."""
        ends = np.cumsum(count)
        begin = 0
        while begin < len(count):
            before = int(ends[begin - 1]) if begin else 0
            stop = max(int(np.searchsorted(ends, before + _PAIRS, "right")), begin + 1)
            part = slice(begin, stop)
            self._add(windows, begin, first[part], count[part], shared, over_annotation)
            begin = stop

    def _add(
        self,
        windows: NDArray[np.float64],
        begin: int,
        first: NDArray[np.int64],
        count: NDArray[np.int64],
        shared: NDArray[np.float64],
        over_annotation: NDArray[np.float64],
    ) -> None:
        owner = np.repeat(np.arange(len(count)), count)
        if not len(owner):
            return
        rows = np.arange(len(owner)) + np.repeat(first - (np.cumsum(count) - count), count)
        owner += begin
        box, window = self.boxes[rows], windows[owner]
        meets = ((box[:, :2] < window[:, 2:]) & (box[:, 2:] > window[:, :2])).all(axis=1)
        owner, rows, box, window = owner[meets], rows[meets], box[meets], window[meets]
        common = np.minimum(box[:, 2:], window[:, 2:]) - np.maximum(box[:, :2], window[:, :2])
        pixels = common[:, 0] * common[:, 1]
        shared += np.bincount(owner, pixels, minlength=len(shared))
        area = _areas(box)
        part = np.divide(pixels, area, out=np.ones_like(pixels), where=area > 0)
        single = ~self.iscrowd[rows]
        np.maximum.at(over_annotation, owner[single], part[single])


def _areas(boxes: NDArray[Any]) -> NDArray[Any]:
    found: NDArray[Any] = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return found
