"""What calls are given in several forms: generators, counts, sizes, boxes; checked, and brought into one."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subregion.errors import ConfigError, RegionTypeError, shown


def as_generator(rng: Any) -> np.random.Generator:
    """Return a generator of random numbers.

    Parameters
    ----------
    rng : None, int, numpy.random.Generator or numpy.random.RandomState
        None is a new one, that nobody can foresee; a number its seed; a generator goes on where it is.

    Raises
    ------
    ConfigError
        If it is none of these.
    """
    if isinstance(rng, np.random.RandomState):
        return np.random.Generator(rng._bit_generator)
    try:
        return np.random.default_rng(rng)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"rng={shown(rng)}: give a seed, or a numpy.random.Generator.") from error


def corners(boxes: Any) -> NDArray[np.float64]:
    """Return boxes as corners.

    Parameters
    ----------
    boxes : kwimage.Boxes, or array of float, shape (4,) or (N, 4)
        x0, y0, x1, y1.

    Returns
    -------
    ndarray of float64, shape (N, 4)

    Raises
    ------
    RegionTypeError
        If they are of another shape.
    """
    if hasattr(boxes, "to_ltrb"):
        boxes = boxes.to_ltrb().data
    try:
        found = np.asarray(boxes, np.float64)
    except (TypeError, ValueError):
        found = np.empty((0, 0))
    found = found[None] if found.ndim == 1 else found
    if found.ndim != 2 or found.shape[1] != 4:
        raise RegionTypeError(f"boxes={shown(boxes)}: give x0, y0, x1, y1, or rows of them.")
    return np.ascontiguousarray(found)


def place_of(index: Any, count: int, what: str, error: type[Exception]) -> int:
    """Return a place in a list, of which -1 is the last.

    Parameters
    ----------
    index : int
        Which.
    count : int
        How many there are.
    what : str
        What is in the list, in the plural, to name in messages.
    error : type
        What is raised if there is no such place.
    """
    try:
        place = operator.index(index)
    except TypeError:
        raise RegionTypeError(f"{shown(index)}: is no number of one of the {what}.") from None
    if not -count <= place < count:
        missing = " Call preselect(n_neg=...) first." if what == "negatives" and not count else ""
        raise error(f"no {what[:-1]} {shown(index)}: there are {count}.{missing}")
    return place % count


def checked_count(name: str, value: Any, least: int = 0) -> int:
    """Return a whole number that an option is given.

    Raises
    ------
    ConfigError
        If it is none, or below `least`.
    """
    try:
        found = least - 1 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        found = least - 1
    if found < least:
        raise ConfigError(f"{name}={shown(value)}: a whole number is needed, at least {least}.")
    return found


def checked_dims(window_dims: Any) -> tuple[int, int]:
    """Return height and width of windows, in pixels.

    Raises
    ------
    ConfigError
        If they are not two whole numbers of 1 or more.
    """
    try:
        height, width = window_dims
    except (TypeError, ValueError):
        raise ConfigError(f"window_dims={shown(window_dims)}: give (height, width).") from None
    return checked_count("window_dims", height, least=1), checked_count("window_dims", width, least=1)


def as_float(value: Any) -> float:
    """Return a real number as a float; infinity where it is larger than these."""
    try:
        return float(value)
    except OverflowError:
        return math.inf


def by_ratio(ratio: Any, positives: int) -> int:
    """Return how many negatives there are to be, of so many for each positive."""
    try:
        found = float(ratio) * positives
    except (TypeError, ValueError):
        found = -1.0
    if not 0 <= found < 1 << 40:
        raise ConfigError(f"neg_to_pos_ratio={shown(ratio)}: a number is needed, at least 0.")
    return int(found)


def checked_threshold(visible_thresh: Any) -> float:
    """Return how much of a box must be seen, from 0 to 1.

    Raises
    ------
    ConfigError
        If it is no number from 0 to 1.
    """
    if type(visible_thresh) is float and visible_thresh == 0.0:
        return visible_thresh
    number = isinstance(visible_thresh, int | float | np.integer | np.floating) and not isinstance(
        visible_thresh, bool
    )
    if not number or not 0 <= visible_thresh <= 1:
        raise ConfigError(f"visible_thresh={shown(visible_thresh)}: a number from 0 to 1 is needed.")
    return float(visible_thresh)
