"""Where the pixels of an image lie on the ground, and which of them a rectangle there covers. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Real
from typing import TypeAlias

from affine import Affine

from subregion.errors import RecordError, RegionError, RegionTypeError
from subregion.geometry.window import Window

#: Left, bottom, right and top: (min x, min y, max x, max y).
Bounds: TypeAlias = tuple[float, float, float, float]

#: Bounds may reach this far, in pixels, into a row or column that the window does without: bounds at the edge
#: of a pixel have the noise of float arithmetic, and numbers in files are rounded.
EDGE_SLACK = 1e-3
#: A window that ends farther out than this many pixels is taken for a mistake.
_FARTHEST = 1 << 53


@dataclass(frozen=True, slots=True)
class Georeference:
    """Where an image lies on the ground.

    Parameters
    ----------
    to_world : affine.Affine
        From pixel corners (x, y) to coordinates of the reference system: (0, 0) is the outer corner of the
        top-left pixel.
    crs : str or None
        The coordinate reference system, as ``"EPSG:32633"`` or in WKT; None if it is not known. Coordinates
        are x (east, longitude) before y, whatever the definition of the system says.

    Raises
    ------
    RecordError
        If the transform is singular.
    """

    to_world: Affine
    crs: str | None = None

    def __post_init__(self) -> None:
        numbers, determinant = tuple(self.to_world[:6]), self.to_world.determinant
        if not all(map(math.isfinite, (*numbers, determinant))) or determinant == 0:
            raise RecordError(f"the transform to the ground, {numbers}, is singular; correct it.")

    @property
    def axis_aligned(self) -> bool:
        """Whether rows and columns run along the axes of the reference system."""
        return not (self.to_world.b or self.to_world.d)

    @property
    def crs_name(self) -> str:
        """The coordinate reference system in a few words."""
        if self.crs is None:
            return "an unknown reference system"
        title = re.match(r'\s*\w+\["([^"]+)"', self.crs)
        if title is None:
            return self.crs
        return "a reference system of its own" if title[1].lower() in ("unknown", "unnamed") else title[1]

    def of_part(self, to_part: Affine) -> Georeference:
        """Return the same for another grid of pixels.

        Parameters
        ----------
        to_part : affine.Affine
            From pixel corners of this grid to those of the other.

        Raises
        ------
        RecordError
            If that is singular.
        """
        if to_part.determinant == 0:
            raise RecordError(f"the transform {tuple(to_part[:6])} is singular; correct it.")
        return Georeference(self.to_world @ ~to_part, self.crs)

    def bounds(self, height: int, width: int) -> Bounds:
        """Return the rectangle on the ground that holds all of an image of `height` x `width` pixels."""
        xs, ys = _corners(self.to_world, 0, 0, width, height)
        return min(xs), min(ys), max(xs), max(ys)

    def window(self, bounds: Iterable[float]) -> Window:
        """Return the pixels that a rectangle on the ground covers.

        Parameters
        ----------
        bounds : tuple of float
            Min x, min y, max x and max y, in coordinates of `crs`.

        Returns
        -------
        Window
            The smallest that holds the rectangle: grown outwards to whole pixels, unless no more than a
            thousandth of a pixel would be gained. May leave the image. Where the image is turned against
            the axes, it holds the turned rectangle.

        Raises
        ------
        RegionError, RegionTypeError
            If the bounds are no rectangle.

        Examples
        --------
        >>> Georeference(Affine(10, 0, 5000, 0, -10, 8000)).window((5100, 7805, 5200, 7900))
        Window(row=10, col=10, height=10, width=10)
        """
        left, bottom, right, top = given = check_bounds(bounds)
        cols, rows = _corners(~self.to_world, left, bottom, right, top)
        if not all(abs(place) < _FARTHEST for place in (*cols, *rows)):
            raise RegionError(f"bounds={given} lie too far from the image to count its pixels.")
        col, row = math.floor(min(cols) + EDGE_SLACK), math.floor(min(rows) + EDGE_SLACK)
        # Bounds inside one pixel, however small they are, cover that pixel.
        col_stop = max(math.ceil(max(cols) - EDGE_SLACK), col + 1)
        row_stop = max(math.ceil(max(rows) - EDGE_SLACK), row + 1)
        return Window(row, col, row_stop - row, col_stop - col)


def check_bounds(bounds: Iterable[float], wraps: bool = False) -> Bounds:
    """Return bounds as floats.

    Parameters
    ----------
    bounds : iterable of float
        What the user wrote.
    wraps : bool
        Whether they are degrees, of which the left may be more than the right: across the antimeridian.

    Raises
    ------
    RegionTypeError
        If they are not four numbers.
    RegionError
        If one is not finite, or they hold nothing.
    """
    try:
        values = () if isinstance(bounds, str | bytes) else tuple(bounds)
    except TypeError:
        values = ()
    if len(values) != 4 or not all(isinstance(value, Real) for value in values):
        raise RegionTypeError(f"bounds={bounds!r}: four numbers are needed, (min x, min y, max x, max y).")
    left, bottom, right, top = map(float, values)
    if not all(map(math.isfinite, (left, bottom, right, top))):
        raise RegionError(f"bounds={values!r}: all four must be finite.")
    if bottom >= top or left == right or (left > right and not wraps):
        raise RegionError(
            f"bounds={values!r} hold nothing: the order is (min x, min y, max x, max y), and each minimum "
            f"must be less than its maximum. Only with crs= in degrees may min x be more than max x, for a "
            f"rectangle across the antimeridian."
        )
    return left, bottom, right, top


def _corners(
    matrix: Affine, left: float, bottom: float, right: float, top: float
) -> tuple[list[float], list[float]]:
    points = [matrix @ (x, y) for x in (left, right) for y in (bottom, top)]
    return [x for x, _ in points], [y for _, y in points]
