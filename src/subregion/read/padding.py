"""What lies outside an image: a number, or pixels made of those inside. Pure."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Complex, Real
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from subregion.dtypes import as_integer
from subregion.errors import ConfigError, RegionError, shown
from subregion.geometry.window import Window
from subregion.read.options import Fill

#: Modes of `numpy.pad` that are a number.
_CONSTANT = ("constant", "empty")
#: Those in which every pixel outside is a copy of one inside, and those that compute it.
_COPYING = ("edge", "reflect", "symmetric", "wrap")
_COMPUTED = ("linear_ramp", "maximum", "mean", "median", "minimum")

#: From the pixels that were read to those that are wanted.
Padding: TypeAlias = Callable[[NDArray[Any]], NDArray[Any]]


def check_fill(fill: Fill, dtype: np.dtype[np.generic]) -> None:
    """Refuse a fill that has no meaning, also where nothing has to be filled.

    Raises
    ------
    ConfigError
        Naming the value and what is allowed.
    """
    if not isinstance(fill, str):
        fill_value(fill, dtype)
    elif fill not in (*_CONSTANT, *_COPYING, *_COMPUTED):
        allowed = ", ".join(map(repr, (*_CONSTANT, *_COPYING, *_COMPUTED)))
        raise ConfigError(f"fill={shown(fill)}: allowed are a number or a mode of numpy.pad: {allowed}.")


def fill_value(fill: Fill, dtype: np.dtype[Any]) -> Any:
    """Return the number that stands outside the image: as given, or 0 for integers and NaN for floats.

    Raises
    ------
    ConfigError
        If the pixels cannot hold it.
    """
    if fill is None or isinstance(fill, str):
        return np.nan if dtype.kind in "fc" else 0
    value = fill.item() if isinstance(fill, np.ndarray) and fill.ndim == 0 else fill
    with contextlib.suppress(ValueError, OverflowError):  # of NaN, infinities, and integers beyond all floats
        if dtype.kind in "iu":
            whole = as_integer(value, dtype) if isinstance(value, Real) else None
            if whole is not None:
                return whole
        elif isinstance(value, Complex if dtype.kind == "c" else Real):
            number = complex(value) if dtype.kind == "c" else float(value)
            if not float(np.finfo(dtype).max) < abs(number) < math.inf:
                return number
    if dtype.kind in "iu":
        allowed = f"whole numbers from {np.iinfo(dtype).min} to {np.iinfo(dtype).max}"
    else:
        allowed = f"numbers up to {np.finfo(dtype).max:.6g}, infinities and NaN"
    raise ConfigError(f"fill={shown(fill)} does not fit pixels of {dtype}; allowed are {allowed}.")


def plan_padding(
    fill: Fill, window: Window, shape: tuple[int, ...], path: str
) -> tuple[Window, Padding | None]:
    """Plan how a window that leaves an image comes about.

    Parameters
    ----------
    fill : float, str or None
        What lies outside.
    window : Window
        What is wanted.
    shape : tuple of int
        Rows and columns of the image, and what else there is.
    path : str
        The file to name in messages.

    Returns
    -------
    window : Window
        What is to be read for it, inside the image; the one that is wanted, if what lies outside is a number.
    padding : callable or None
        Makes of that what is wanted.

    Raises
    ------
    RegionError
        If the mode computes with pixels inside, and there are none.
    """
    height, width = shape[:2]
    if not isinstance(fill, str) or fill in _CONSTANT or window.inside(height, width):
        return window, None
    if fill in _COPYING:
        rows = _folded(window.row, window.height, height, fill)
        cols = _folded(window.col, window.width, width, fill)
        if rows.size == 0 or cols.size == 0:
            return window, None
        top, left = int(rows.min()), int(cols.min())
        return Window(top, left, int(np.ptp(rows)) + 1, int(np.ptp(cols)) + 1), _Fold(rows - top, cols - left)
    inner = window.intersection(Window(0, 0, height, width))
    if inner.empty:
        raise RegionError(
            f"{path}: {window} has no pixel inside the image of {height} x {width} "
            f"(rows x columns), so fill={fill!r} has nothing to start from. Give a number, or 'edge'."
        )
    above, before = inner.row - window.row, inner.col - window.col
    below, behind = window.height - inner.height - above, window.width - inner.width - before
    return inner, _Pad(((above, below), (before, behind), (0, 0)), fill)


@dataclass(frozen=True, slots=True, eq=False)
class _Fold:
    """Takes rows and columns, each any number of times."""

    rows: NDArray[np.int64]
    cols: NDArray[np.int64]

    def __call__(self, pixels: NDArray[Any]) -> NDArray[Any]:
        return pixels[np.ix_(self.rows, self.cols)]


@dataclass(frozen=True, slots=True, eq=False)
class _Pad:
    """Pads as NumPy does."""

    widths: tuple[tuple[int, int], ...]
    mode: str

    def __call__(self, pixels: NDArray[Any]) -> NDArray[Any]:
        padded: NDArray[Any] = np.pad(pixels, self.widths, mode=self.mode)  # type: ignore[call-overload]
        return padded


@dataclass(frozen=True, slots=True)
class Stepped:
    """Takes every so many rows and columns.

    Parameters
    ----------
    row, col : int
        Steps.
    """

    row: int
    col: int

    def __call__(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """Take them."""
        return pixels[:: self.row, :: self.col]


def _folded(start: int, count: int, size: int, mode: str) -> NDArray[np.int64]:
    """Return for each index of a line that leaves an axis the index inside that it copies.

    The same as ``numpy.pad(numpy.arange(size), ..., mode)``, in time that depends on `count` alone.
    """
    index = np.arange(start, start + count)
    if mode == "edge":
        return np.clip(index, 0, size - 1)
    if mode == "wrap":
        return index % size
    if mode == "symmetric":
        index = index % (2 * size)
        return np.minimum(index, 2 * size - 1 - index)
    if size == 1:
        return np.zeros(count, np.int64)
    index = index % (2 * size - 2)
    return np.minimum(index, 2 * size - 2 - index)
