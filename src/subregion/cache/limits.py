"""Limits as users write them: sizes such as ``"200GB"``, ages such as ``"30d"``."""

from __future__ import annotations

import datetime
import operator
import re
from fractions import Fraction
from typing import Any, TypeAlias

from subregion.errors import ConfigError, shown

Size: TypeAlias = "int | str | None"
Age: TypeAlias = "float | str | datetime.timedelta | None"

#: More is taken for a mistake: 16 EB, and ten thousand years.
MOST_BYTES = 1 << 64
MOST_SECONDS = 10_000 * 366 * 86400.0

_SIZE = re.compile(r"([0-9]{1,20}(?:\.[0-9]{1,20})?)\s*(?:([KMGTP])(I?))?B?", re.IGNORECASE)
_AGE = re.compile(r"([0-9]{1,20}(?:\.[0-9]{1,20})?)\s*([smhdw])", re.IGNORECASE)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


def parse_size(value: Any) -> int | None:
    """Return the limit `max_size` in bytes.

    Parameters
    ----------
    value : int, str or None
        Bytes, or text: ``"500MB"``, ``"1.5TB"`` (powers of 1000), ``"200GiB"`` (powers of 1024).

    Returns
    -------
    int or None
        None for no limit.

    Raises
    ------
    ConfigError
        If it is none of these.

    Examples
    --------
    >>> parse_size("1.5TB"), parse_size("2KiB")
    (1500000000000, 2048)
    """
    if value is None:
        return None
    nbytes = -1
    if isinstance(value, str):
        found = _SIZE.fullmatch(value.strip())
        if found is not None:
            power = "KMGTP".index(found[2].upper()) + 1 if found[2] else 0
            nbytes = int(Fraction(found[1]) * (1024 if found[3] else 1000) ** power)
    elif not isinstance(value, bool):
        try:
            nbytes = operator.index(value)
        except TypeError:
            nbytes = -1
    if not 0 <= nbytes < MOST_BYTES:
        raise ConfigError(
            f"max_size={shown(value)}: must be a number of bytes, or text such as '200GB', '1.5TB' "
            f"or '500MiB'."
        )
    return nbytes


def parse_age(value: Any) -> float | None:
    """Return the age `older_than` in seconds.

    Parameters
    ----------
    value : float, str, datetime.timedelta or None
        Seconds, or text: ``"30d"``, ``"12h"``, ``"2w"``, ``"90m"``, ``"10s"``.

    Raises
    ------
    ConfigError
        If it is none of these.

    Examples
    --------
    >>> parse_age("30d")
    2592000.0
    """
    if value is None:
        return None
    seconds = -1.0
    if isinstance(value, str):
        found = _AGE.fullmatch(value.strip())
        if found is not None:
            seconds = float(found[1]) * _SECONDS[found[2].lower()]
    elif isinstance(value, datetime.timedelta):
        seconds = value.total_seconds()
    elif isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value) if -1 < value < MOST_SECONDS else -1.0
    if not 0 <= seconds < MOST_SECONDS:
        raise ConfigError(
            f"older_than={shown(value)}: must be a number of seconds, or text such as '30d', '12h' or '2w'."
        )
    return seconds
