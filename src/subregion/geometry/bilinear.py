"""Bilinear interpolation by OpenCV: the way that nearly every aligned read goes.

OpenCV takes positions as 32-bit floats. Those near 128 are 1e-5 pixels apart, and a step of one pixel may
span all 65,536 values of an integer, so results are drawn in tiles that look at no more than `REACH`
source pixels along an axis: then no sample is off by more than its rounding. Tiles also stay
below the size from which OpenCV starts threads of its own.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from subregion.forks import FOREIGN
from subregion.libraries import cv2

if TYPE_CHECKING:
    from affine import Affine

#: Source pixels that a tile may span, along each axis, for each type that OpenCV interpolates exactly.
REACH = {np.dtype(np.uint8): 2048, np.dtype(np.uint16): 160, np.dtype(np.float32): 160}
#: Rows and columns of the largest tile.
TILE = 256
#: By larger factors strips are enlarged that are much larger than what is wanted of them.
_MOST_ENLARGED = 64
#: Bands that are drawn together: OpenCV has vector code for one and for four, but not for two and three.
TOGETHER = 4


@functools.cache
def suits(dtype: np.dtype[Any]) -> bool:
    """Tell whether `draw` takes samples of a type, with the OpenCV that is there."""
    # Older generations round positions to 1/32 of a pixel.
    return dtype in REACH and int(cv2.__version__.split(".", 1)[0]) >= 5


def draw(source: NDArray[Any], to_target: Affine, out: NDArray[Any]) -> None:
    """Interpolate an array on another grid.

    Parameters
    ----------
    source : ndarray, shape (rows, columns, bands)
        Of a type that `suits`; pixels beyond its border count as copies of those at the border. It may
        have more bands than `out`: those are left out.
    to_target : affine.Affine
        From pixel corners of `source` (x, y) to those of `out`.
    out : ndarray, shape (rows, columns, bands)
        Filled; of the type of `source`.
    """
    if _enlarge(source, to_target, out):
        return
    inverse = ~to_target
    a, b, d, e = inverse.a, inverse.b, inverse.d, inverse.e
    # OpenCV counts from the centre of the first pixel.
    c, f = inverse.c + (a + b - 1) / 2, inverse.f + (d + e - 1) / 2
    height, width = out.shape[:2]
    edge = min(TILE, int((REACH[source.dtype] - 2) / max(abs(a) + abs(b), abs(d) + abs(e), 1e-6)))
    high, wide = _even(height, edge), _even(width, edge)
    for top in range(0, height, high):
        y = np.arange(top, min(top + high, height))[:, None]
        for left in range(0, width, wide):
            x = np.arange(left, min(left + wide, width))
            # Without rotation one row of positions, and one column, serve for all.
            across = a * x + (b * y + c if b else c)
            down = (d * x + f if d else f) + e * y
            _draw_tile(source, across, down, out[top : top + high, left : left + wide])


def _enlarge(source: NDArray[Any], to_target: Affine, out: NDArray[Any]) -> bool:
    """Draw by whole factors, where pixel corners meet; tell whether that was the case.

    It takes half the time, and is what bands of 10, 20 and 60 metres are. Not for floats: the weights of
    OpenCV's `resize` add up to 1 only nearly.
    """
    if source.dtype.kind == "f" or max(abs(to_target.e), abs(to_target.a)) > _MOST_ENLARGED:
        return False
    down, across = _whole(to_target.e), _whole(to_target.a)
    top, left = _whole(-to_target.f), _whole(-to_target.c)
    if to_target.b or to_target.d or not (down and across) or top is None or left is None:
        return False
    rows, cols = source.shape[:2]
    height, width = out.shape[:2]
    if (
        down < 1
        or across < 1
        or not 0 <= top <= rows * down - height
        or not 0 <= left <= cols * across - width
    ):
        return False
    high = _even(height, max(1, TILE * TILE // (cols * across) - 4 * down))
    for first in range(0, height, high):
        stop = min(first + high, height)
        # One row more on either side, so that every strip is interpolated as the whole would be.
        start = max(0, (top + first) // down - 1)
        part = source[start : -(-(top + stop) // down) + 1]
        skipped = top + first - start * down
        for band in range(0, out.shape[2], TOGETHER):
            shown = out[first:stop, :, band : band + TOGETHER]
            drawn = _resize(part[..., band : band + TOGETHER], down, across)
            put(shown, drawn[skipped : skipped + stop - first, left : left + width, : shown.shape[2]])
    return True


def _whole(number: float) -> int | None:
    """Return a number as an integer, if it is one but for the noise of float arithmetic."""
    nearest = round(number)
    return nearest if abs(number - nearest) < 1e-6 else None


def _resize(part: NDArray[Any], down: int, across: int) -> NDArray[Any]:
    shape = part.shape[0] * down, part.shape[1] * across
    with FOREIGN:
        drawn = cv2.resize(part, shape[::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(drawn).reshape(*shape, part.shape[2])


def _even(size: int, limit: int) -> int:
    """Return the edge of tiles that cut a length evenly, none longer than the limit."""
    return -(-size // -(-size // max(1, limit)))


def _draw_tile(
    source: NDArray[Any], across: NDArray[np.float64], down: NDArray[np.float64], out: NDArray[Any]
) -> None:
    rows, cols = source.shape[:2]
    top, bottom = _span(down, rows)
    left, right = _span(across, cols)
    shape = out.shape[:2]
    x, y = np.empty(shape, np.float32), np.empty(shape, np.float32)
    x[...] = (across - left).astype(np.float32)
    y[...] = (down - top).astype(np.float32)
    part = source[top:bottom, left:right]
    for first in range(0, out.shape[2], TOGETHER):
        shown = out[..., first : first + TOGETHER]
        put(shown, _remap(part[..., first : first + TOGETHER], x, y)[..., : shown.shape[2]])


def _span(positions: NDArray[np.float64], size: int) -> tuple[int, int]:
    """Return the source pixels that positions along an axis look at; at least one."""
    first = min(max(0, math.floor(positions.min())), size - 1)
    return first, max(first + 1, min(size, math.floor(positions.max()) + 2))


def _remap(part: NDArray[Any], x: NDArray[np.float32], y: NDArray[np.float32]) -> NDArray[Any]:
    bands = part.shape[2]
    if bands in (2, 3):
        wider = np.zeros((*part.shape[:2], TOGETHER), part.dtype)
        put(wider[..., :bands], part)
        part = wider
    with FOREIGN:
        drawn = cv2.remap(part, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(drawn).reshape(*x.shape, part.shape[2])[..., :bands]


def put(out: NDArray[Any], pixels: NDArray[Any]) -> None:
    """Copy pixels of a few bands into those bands of a wider array, pixel by pixel and not sample by sample.

    NumPy copies such rows of two to ten samples ten times slower than opaque records of the same size.

    Parameters
    ----------
    out, pixels : ndarray, shape (rows, columns, bands)
        Of one type; the samples of a pixel lie side by side in both.
    """
    bands = out.shape[2]
    if bands == 1 or out.dtype != pixels.dtype or not _packed(out) or not _packed(pixels):
        out[...] = pixels
        return
    record = np.dtype((np.void, bands * out.itemsize))
    out.view(record)[...] = pixels.view(record)


def _packed(array: NDArray[Any]) -> bool:
    return array.strides[2] == array.itemsize and array.size > 0
