"""How large a pixel is. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from affine import Affine

#: The unit of microscopes.
MICROMETRE = "micrometre"
#: What other programs call units of length, in lower case, and how many micrometres each is.
_MICROMETRES = {
    "å": 1e-4, "angstrom": 1e-4, "angstroms": 1e-4,
    "nm": 1e-3, "nanometer": 1e-3, "nanometers": 1e-3, "nanometre": 1e-3, "nanometres": 1e-3,
    "µm": 1.0, "μm": 1.0, "um": 1.0, "micron": 1.0, "microns": 1.0,
    "micrometer": 1.0, "micrometers": 1.0, "micrometre": 1.0, "micrometres": 1.0,
    "mm": 1e3, "millimeter": 1e3, "millimetre": 1e3,
    "cm": 1e4, "centimeter": 1e4, "centimetre": 1e4,
    "m": 1e6, "meter": 1e6, "metre": 1e6,
}  # fmt: skip


def micrometres(unit: Any) -> float | None:
    """Return how many micrometres a unit is; None if it is no length that is known."""
    if not isinstance(unit, str) or unit.strip() == "Mm":  # a megametre of OME is no millimetre
        return None
    return _MICROMETRES.get(unit.strip().lower())


@dataclass(frozen=True, slots=True)
class PixelSize:
    """How large a pixel is.

    Parameters
    ----------
    y, x : float
        Its height and width.
    unit : str
        ``"micrometre"``, or the unit of the reference system of an image on the ground: ``"metre"``,
        ``"degree"``, ...; ``"unknown"`` where that has no name.
    """

    y: float
    x: float
    unit: str = MICROMETRE

    @classmethod
    def checked(cls, y: float, x: float, unit: str = MICROMETRE) -> PixelSize | None:
        """Return it; None if these are no sizes, as files may say anything."""
        return cls(y, x, unit) if all(math.isfinite(each) and each > 0 for each in (y, x)) else None

    def of_part(self, to_part: Affine) -> PixelSize | None:
        """Return the size of the pixels of another grid; None if it has none.

        Parameters
        ----------
        to_part : affine.Affine
            From pixel corners (x, y) of this grid to those of the other.
        """
        if to_part.determinant == 0:
            return None
        matrix = Affine.scale(self.x, self.y) @ ~to_part
        return self.checked(math.hypot(matrix.b, matrix.e), math.hypot(matrix.a, matrix.d), self.unit)
