"""What calls of regions are given: generators, numbers and boxes, turned into what is computed with."""

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
    """Return boxes as corners, one a row."""
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
    """Return a place in a list, of which -1 is the last; `error` if there is none."""
    try:
        place = operator.index(index)
    except TypeError:
        raise RegionTypeError(f"{shown(index)}: is no number of one of the {what}.") from None
    if not -count <= place < count:
        missing = " Call preselect(n_neg=...) first." if what == "negatives" and not count else ""
        raise error(f"no {what[:-1]} {shown(index)}: there are {count}.{missing}")
    return place % count


def whole(name: str, value: Any, least: int = 0) -> int:
    """Return a whole number that an option is given."""
    try:
        found = least - 1 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        found = least - 1
    if found < least:
        raise ConfigError(f"{name}={shown(value)}: a whole number is needed, at least {least}.")
    return found


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
