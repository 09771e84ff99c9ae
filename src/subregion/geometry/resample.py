"""From one grid of pixels to another, by an affine transform: pure arithmetic on arrays.

Coordinates are those of pixel *corners*: pixel (row, column) covers from (column, row) to
(column + 1, row + 1), and its centre is half a pixel further. Pixels beyond the border of the source
count as copies of those at the border, so that nothing foreign is ever mixed in.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from subregion.errors import ConfigError

if TYPE_CHECKING:
    from affine import Affine


#: A centre so close before the edge between two pixels, in pixels, lies on it but for the noise of floats.
_ON_EDGE = 1e-6


def _linear(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.maximum(0.0, 1.0 - np.abs(x))


def _cubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    # R. Keys, "Cubic convolution interpolation for digital image processing", 1981, with a = -0.75 as OpenCV.
    a, x = -0.75, np.abs(x)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x < 1, near, np.where(x < 2, far, 0))


def _lanczos(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(np.abs(x) < 4, np.sinc(x) * np.sinc(x / 4), 0)


@dataclass(frozen=True, slots=True)
class Filter:
    """A way to interpolate.

    Parameters
    ----------
    name : str
        What users write.
    support : float
        How far from a sample it looks, in source pixels.
    kernel : callable or None
        Weight at a distance; None for the two that ask how much of a pixel is covered.
    """

    name: str
    support: float
    kernel: Callable[[NDArray[np.float64]], NDArray[np.float64]] | None

    def taps(
        self, centre: NDArray[np.float64], width: float, size: int
    ) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """List which samples of an axis go into each output sample, and their weights.

        Parameters
        ----------
        centre : ndarray, any shape
            Where along the axis each output sample has its centre.
        width : float
            How many times wider than usual the filter is.
        size : int
            How many samples the axis has; those beyond its ends are copies of the outermost.

        Returns
        -------
        index, weights : ndarray, shape (taps, ...)
            The weights of each output sample add up to 1.
        """
        if self.support == 0:
            nearest = np.clip(np.floor(centre + _ON_EDGE), 0, size - 1).astype(np.intp)
            return nearest[None], np.ones((1, *centre.shape))
        half = self.support * width
        first = np.floor(centre - half + (0 if self.kernel is None else 0.5))
        count = math.ceil(2 * half) + (1 if self.kernel is None or width > 1 else 0)
        index = first + np.arange(count).reshape(-1, *(1,) * centre.ndim)
        if self.kernel is None:
            covered = np.minimum(index + 1, centre + half) - np.maximum(index, centre - half)
            weights = np.maximum(covered, 0)
        else:
            weights = self.kernel((index + 0.5 - centre) / width)
        weights /= weights.sum(axis=0)
        return np.clip(index, 0, size - 1).astype(np.intp), weights


FILTERS = {
    "nearest": Filter("nearest", 0, None),
    "linear": Filter("linear", 1, _linear),
    "cubic": Filter("cubic", 2, _cubic),
    "lanczos": Filter("lanczos", 4, _lanczos),
    "area": Filter("area", 0.5, None),
}


def filter_of(name: object) -> Filter:
    """Return the filter of that name.

    Raises
    ------
    ConfigError
        Listing the names that there are.
    """
    found = FILTERS.get(name) if isinstance(name, str) else None
    if found is None:
        raise ConfigError(f"interpolation={name!r}: allowed are {', '.join(map(repr, FILTERS))}.")
    return found


def shrink_factors(matrix: Affine) -> tuple[float, float]:
    """Tell how many source pixels fall on one output pixel, along the source's columns and rows.

    Parameters
    ----------
    matrix : affine.Affine
        From source to output.
    """
    inverse = ~matrix
    return math.hypot(inverse.a, inverse.b), math.hypot(inverse.d, inverse.e)


def widths(filter_: Filter, matrix: Affine, antialias: bool) -> tuple[float, float]:
    """Tell how many times wider than usual the filter is, along the source's columns and rows."""
    if not antialias and filter_.name != "area":
        return 1.0, 1.0
    across, down = shrink_factors(matrix)
    return max(1.0, across), max(1.0, down)


def resample(
    source: NDArray[Any],
    matrix: Affine,
    shape: tuple[int, int],
    filter_: Filter,
    widening: tuple[float, float] = (1.0, 1.0),
) -> NDArray[np.float64] | NDArray[np.float32] | NDArray[Any]:
    """Draw an array on another grid.

    Parameters
    ----------
    source : ndarray, shape (rows, columns, bands)
        Not empty.
    matrix : affine.Affine
        From corners of `source` (x, y) to those of the output.
    shape : tuple of int
        Rows and columns of the output.
    filter_ : Filter
        How to interpolate.
    widening : tuple of float
        How many times wider than usual the filter is, along columns and rows; see `widths`.

    Returns
    -------
    ndarray, shape (rows, columns, bands)
        Of the type of `source` for ``nearest``; float32 where that holds every value of `source` exactly,
        float64 otherwise, and the complex type of that precision for complex samples.
    """
    draw = _separable if matrix.b == 0 and matrix.d == 0 else _gathered
    with np.errstate(invalid="ignore", over="ignore"):  # infinity is a value as others are
        return draw(source, matrix, shape, filter_, widening)


def working_dtype(dtype: np.dtype[Any]) -> np.dtype[np.inexact[Any]]:
    """Return the type in which samples of a type are combined: of single precision where that is exact."""
    single, double = (np.complex64, np.complex128) if dtype.kind == "c" else (np.float32, np.float64)
    return np.dtype(single if np.can_cast(dtype, single, "safe") else double)


def _separable(
    source: NDArray[Any],
    matrix: Affine,
    shape: tuple[int, int],
    filter_: Filter,
    widening: tuple[float, float],
) -> NDArray[Any]:
    """Resample without rotation: one axis after the other."""
    wide, high = widening
    rows = filter_.taps((np.arange(shape[0]) + 0.5 - matrix.f) / matrix.e, high, source.shape[0])
    cols = filter_.taps((np.arange(shape[1]) + 0.5 - matrix.c) / matrix.a, wide, source.shape[1])
    if filter_.support == 0:
        return np.asarray(source[rows[0][0]][:, cols[0][0]])
    work = source.astype(working_dtype(source.dtype), copy=False)
    # The axis that leaves less to do for the other goes first.
    if shape[0] * source.shape[1] <= source.shape[0] * shape[1]:
        return _along(_along(work, *rows, axis=0), *cols, axis=1)
    return _along(_along(work, *cols, axis=1), *rows, axis=0)


def _along(
    work: NDArray[Any], index: NDArray[np.intp], weights: NDArray[np.float64], *, axis: int
) -> NDArray[Any]:
    """Combine samples along one axis."""
    shape = (-1, 1, 1) if axis == 0 else (1, -1, 1)
    factors = weights.astype(work.dtype)
    total = work.take(index[0], axis) * factors[0].reshape(shape)
    for tap in range(1, len(index)):
        total += work.take(index[tap], axis) * factors[tap].reshape(shape)
    return np.asarray(total)


def _gathered(
    source: NDArray[Any],
    matrix: Affine,
    shape: tuple[int, int],
    filter_: Filter,
    widening: tuple[float, float],
) -> NDArray[Any]:
    """Resample with rotation or shear: every output pixel for itself."""
    inverse = ~matrix
    x, y = np.arange(shape[1]) + 0.5, (np.arange(shape[0]) + 0.5)[:, None]
    wide, high = widening
    cols, col_weights = filter_.taps(inverse.a * x + inverse.b * y + inverse.c, wide, source.shape[1])
    rows, row_weights = filter_.taps(inverse.d * x + inverse.e * y + inverse.f, high, source.shape[0])
    if filter_.support == 0:
        return np.asarray(source[rows[0], cols[0]])
    work = source.astype(working_dtype(source.dtype), copy=False)
    total = np.zeros((*shape, source.shape[2]), work.dtype)
    for row, row_weight in zip(rows, row_weights, strict=True):
        for col, col_weight in zip(cols, col_weights, strict=True):
            total += work[row, col] * (row_weight * col_weight).astype(work.dtype)[..., None]
    return total


def to_dtype(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Round and clip floats to a type that holds fewer values; halves go to the even number."""
    if values.dtype == dtype:
        return values
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        rounded = np.rint(values)
        if np.dtype(dtype).itemsize < 4:
            return np.asarray(np.clip(rounded, info.min, info.max).astype(dtype))
        # The largest 32 and 64 bit integers have no exact float below them to clip to.
        result = np.clip(rounded, float(info.min), float(info.max))
        top = result >= float(info.max)
        return np.asarray(np.where(top, info.max, np.where(top, 0, result).astype(dtype)))
    converted: NDArray[Any] = values.astype(dtype)
    return converted
