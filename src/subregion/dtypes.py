"""What types of pixels can hold."""

from __future__ import annotations

from typing import Any

import numpy as np


def as_integer(value: float, dtype: np.dtype[Any]) -> int | None:
    """Return a number as the integer that a type of integers holds, or None if no pixel can have it.

    Parameters
    ----------
    value : int or float
        May be NaN or infinite, which no integer is.
    dtype : numpy.dtype
        Signed or unsigned.
    """
    try:
        whole = int(value)
    except (ValueError, OverflowError):  # NaN, infinities
        return None
    limits = np.iinfo(dtype)
    return whole if whole == value and limits.min <= whole <= limits.max else None
