"""Outlines that cross themselves very often: found before anybody waits for them, and drawn as they are.

To make such an outline valid takes a time that grows with the fourth power of its points: 40 s for 300 of
them at random, and hours for 1000.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from subregion.libraries import shapely

#: With so many crossings an outline is made valid within about a second.
MOST_CROSSINGS = 1000
#: For each of its lines so many others may be near, on average.
_NEAR = 64
#: So many pairs of lines, and of lines and rows, are looked at together at most.
_PAIRS = 1 << 25
_CROSSED_ROWS = 1 << 22
#: Farther out no line is drawn; floats would overflow.
_FAR = 1e12


def is_tangled(polygon: Any) -> bool:
    """Tell whether the rings of a polygon cross so often that to make it valid would take too long."""
    begin, end = _lines(polygon)
    count = len(begin)
    lines = shapely.linestrings(np.stack([begin, end], axis=1))
    tree = shapely.STRtree(lines)
    near = crossings = 0
    step = max(1, _PAIRS // count)
    for first in range(0, count, step):
        one, other = tree.query(lines[first : first + step])
        one += first
        near += len(one)
        one, other = one[one < other], other[one < other]
        crossings += int(np.count_nonzero(_cross(begin[one], end[one], begin[other], end[other])))
        if crossings > MOST_CROSSINGS or near > _NEAR * (count + MOST_CROSSINGS):
            return True
    return False


def drawn(polygons: list[Any], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the pixels whose centres lie inside any of some polygons, by the rule of even and odd."""
    found = np.zeros(shape, np.bool_)
    for polygon in polygons:
        found |= _filled(*_lines(polygon), shape)
    return found


def _lines(polygon: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return where the lines of all rings begin and end."""
    rings = [shapely.get_coordinates(ring) for ring in (polygon.exterior, *polygon.interiors)]
    begin, end = (np.concatenate([ring[part] for ring in rings]) for part in (np.s_[:-1], np.s_[1:]))
    return begin.clip(-_FAR, _FAR), end.clip(-_FAR, _FAR)


def _cross(a: NDArray[Any], b: NDArray[Any], c: NDArray[Any], d: NDArray[Any]) -> NDArray[np.bool_]:
    """Tell which lines from a to b cross those from c to d."""
    apart = _side(a, b, c) * _side(a, b, d) < 0
    found: NDArray[np.bool_] = apart & (_side(c, d, a) * _side(c, d, b) < 0)
    return found


def _side(a: NDArray[Any], b: NDArray[Any], point: NDArray[Any]) -> NDArray[np.float64]:
    along, to = b - a, point - a
    found: NDArray[np.float64] = np.sign(along[:, 0] * to[:, 1] - along[:, 1] * to[:, 0])
    return found


def _filled(
    begin: NDArray[np.float64], end: NDArray[np.float64], shape: tuple[int, int]
) -> NDArray[np.bool_]:
    height, width = shape
    borders = np.zeros((height, width + 1), np.uint8)  # how many lines pass left of a pixel: odd or even
    step = max(1, _CROSSED_ROWS // height)
    for first in range(0, len(begin), step):
        (x0, y0), (x1, y1) = begin[first : first + step].T, end[first : first + step].T
        top, bottom = (
            np.ceil(each - 0.5).clip(0, height).astype(np.int64)
            for each in (np.minimum(y0, y1), np.maximum(y0, y1))
        )
        count = bottom - top
        line = np.repeat(np.arange(len(count)), count)
        row = np.arange(len(line)) - np.repeat(np.cumsum(count) - count, count) + top[line]
        part = (row + 0.5 - y0[line]) / (y1 - y0)[line]
        x = x0[line] + part * (x1 - x0)[line]
        np.add.at(borders, (row, np.ceil(x - 0.5).clip(0, width).astype(np.int64)), 1)
    inside: NDArray[np.bool_] = np.bitwise_xor.accumulate(borders & 1, axis=1)[:, :width].astype(np.bool_)
    return inside
