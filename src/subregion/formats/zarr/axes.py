"""Which axes of an array are those of a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from subregion.errors import RecordError, UnsupportedFormatError, shown
from subregion.formats.zarr.metadata import ArraySpec
from subregion.views import AS_IT_IS, View

_ROWS = {"y", "row", "rows", "lat", "latitude", "height", "northing"}
_COLS = {"x", "col", "cols", "column", "columns", "lon", "longitude", "width", "easting"}
_BANDS = {"c", "ch", "channel", "channels", "band", "bands", "s", "sample", "samples", "rgb", "wavelength"}
_TIMES = {"t", "time", "date", "frame", "frames"}
_DEPTHS = {"z", "depth", "level", "plane"}
#: Axes of which the first position is the image, as the first page of a file of several is.
_PAGES = _TIMES | _DEPTHS | {"page"}
#: Without names, a first axis as short as this is taken for bands, if the last one is longer.
_FEW_BANDS = 16


@dataclass(frozen=True, slots=True)
class Axes:
    """Which axes of an array are those of a picture; of all others the first position is taken.

    Parameters
    ----------
    row, col : int
        Number of the axis.
    band : int or None
        None if a pixel is one sample.
    at : tuple of int
        The position on each axis, where it is none of these; none for the first on all.
    letters : str
        What the axes are, as `View.axes` has it, with ``"?"`` for others.
    assumed : bool
        Whether the array does not say it.
    """

    row: int
    col: int
    band: int | None
    at: tuple[int, ...] = ()
    letters: str = ""
    assumed: bool = False

    def block(self, spec: ArraySpec) -> list[int]:
        """Return the position of the first block of the picture in the grid of blocks."""
        if not self.at:
            return [0] * len(spec.shape)
        return [at // size for at, size in zip(self.at, spec.blocks, strict=True)]

    def inside(self, spec: ArraySpec) -> list[int]:
        """Return where in a block the picture begins, on all axes."""
        if not self.at:
            return [0] * len(spec.shape)
        return [at % size for at, size in zip(self.at, spec.blocks, strict=True)]


def picture_axes(spec: ArraySpec, names: tuple[str, ...] | None = None, view: View = AS_IT_IS) -> Axes:
    """Tell which axes are rows, columns and bands, and which position is meant on the others.

    By what the caller says, by their names, or by their number if they have none.

    Raises
    ------
    UnsupportedFormatError
        If that cannot be told.
    RecordError
        If the array has no such axis, or no such position.
    """
    count = len(spec.shape)
    if view.axes is not None:
        if len(view.axes) != count:
            raise RecordError(
                f"{spec.path}: axes={view.axes!r} names {len(view.axes)} axes, but the array has {count}: "
                f"its shape is {spec.shape}."
            )
        if {"c", "s"} <= set(view.axes):
            raise RecordError(
                f"{spec.path}: axes={view.axes!r}: an image has one axis of bands, not c and s."
            )
        names = tuple(view.axes)
    axes = _told(spec, names)
    given = names if names is not None and len(names) == count else spec.names
    letters = "".join(_letter(axes, axis, given) for axis in range(count))
    axes = replace(axes, letters=letters, assumed=not any(given or ()))
    wanted = {name: value for name in "tzc" if (value := getattr(view, name)) is not None}
    return _placed(spec, axes, wanted) if wanted else axes


def _letter(axes: Axes, axis: int, given: Sequence[str | None] | None) -> str:
    known = {axes.row: "y", axes.col: "x", axes.band: "c"}.get(axis)
    if known is not None:
        return known
    if not any(given or ()):
        return {0: "t", 2: "z"}.get(axis, "?")  # of five, as OME-NGFF has it
    name = (given[axis] if given else "") or ""
    return "t" if name.lower() in _TIMES else "z" if name.lower() in _DEPTHS else "?"


def _placed(spec: ArraySpec, axes: Axes, wanted: dict[str, int]) -> Axes:
    at = [0] * len(spec.shape)
    for name, value in wanted.items():
        axis = axes.letters.find(name)
        count = 1 if axis < 0 else spec.shape[axis]
        if value >= count:
            there = f"it has {count} of them: 0 to {count - 1}" if axis >= 0 else f"it has no axis {name}"
            raise RecordError(
                f"{spec.path}: {name}={shown(value)} is asked for, but {there}. Its shape is {spec.shape}, "
                f"its axes are {axes.letters!r}."
            )
        if axis >= 0:
            at[axis] = value
    return replace(axes, at=tuple(at), band=None if "c" in wanted else axes.band)


def described(spec: ArraySpec, axes: Axes, view: View) -> str:
    """Say what of an array is not in the picture, and what was assumed of it; empty for nothing."""
    said = [
        f"has {letter} from 0 to {size - 1}, of which 0 is read: choose with {letter}="
        for letter, size in zip(axes.letters, spec.shape, strict=True)
        if letter in "tz" and size > 1 and getattr(view, letter) is None
    ]
    others = [n for n, letter in enumerate(axes.letters) if letter == "?" and spec.shape[n] > 1]
    if others:
        said.append(f"has axes {others} of which the first position is read: name them with axes=")
    many = axes.band is not None and spec.shape[axes.band] > _FEW_BANDS
    if axes.assumed and len(spec.shape) == 3 and many:
        said.append(
            f"has axes without names, {spec.shape}, taken for {axes.letters!r} (rows, columns, bands): say "
            f"axes= if they are others, such as axes='cyx' or 'zyx'"
        )
    return "; ".join(said)


def _told(spec: ArraySpec, names: tuple[str, ...] | None) -> Axes:
    count = len(spec.shape)
    given = names if names is not None and len(names) == count else spec.names
    called = [(name or "").lower() for name in given] if given else [""] * count
    rows, cols, bands = (
        [axis for axis, name in enumerate(called) if name in known] for known in (_ROWS, _COLS, _BANDS)
    )
    if len(rows) == len(cols) == 1 and len(bands) <= 1:
        rest = [axis for axis in range(count) if axis not in (*rows, *cols, *bands)]
        unknown = [axis for axis in rest if called[axis] not in _PAGES and spec.shape[axis] > 1]
        if not bands and len(unknown) == 1:
            bands = unknown
        if set(unknown) <= set(bands):
            return Axes(rows[0], cols[0], bands[0] if bands else None)
    if count == 2:
        return Axes(0, 1, None)
    if count == 3 and spec.shape[0] <= _FEW_BANDS < spec.shape[2]:
        return Axes(1, 2, 0)
    if count == 3:
        return Axes(0, 1, 2)
    if count == 5:  # as OME-NGFF has it: time, channel, z, y, x
        return Axes(3, 4, 1)
    raise UnsupportedFormatError(
        f"{spec.path}: an array of shape {spec.shape} with axes {list(given) if given else 'without names'} "
        f"is no image here; (y, x), (y, x, band), (band, y, x) and (t, c, z, y, x) are, "
        f"and others if their axes have these names (dimension_names), or axes= tells them: axes='zcyx'."
    )
