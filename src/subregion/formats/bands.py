"""What a file says of its bands."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from subregion.geometry.pixelsize import micrometres


@dataclass(frozen=True, slots=True)
class Band:
    """What a file says of one band.

    Parameters
    ----------
    name : str
        What it calls it; may be empty.
    wavelength : float or None
        Of the light that it shows, in nanometres.
    unit : str
        Of its values, as the file has it; may be empty.
    """

    name: str = ""
    wavelength: float | None = None
    unit: str = ""


def nanometres(value: Any, unit: Any) -> float | None:
    """Return a wavelength in nanometres; None if it is no number, or the unit no length that is known."""
    try:
        length = float(value) * (micrometres(unit) or math.nan) * 1000
    except (TypeError, ValueError, OverflowError):
        return None
    return round(length, 9) if 0 < length < math.inf else None


def chosen_bands(bands: Sequence[Band] | None, numbers: Sequence[int] | None) -> Sequence[Band] | None:
    """Return some of the bands; those that are not known have no name."""
    if bands is None or numbers is None:
        return bands
    return [bands[number] if number < len(bands) else Band() for number in numbers]
