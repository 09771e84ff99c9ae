"""Which axes of an array are those of a picture."""

from __future__ import annotations

from dataclasses import dataclass

from subregion.errors import UnsupportedFormatError
from subregion.formats.zarr.metadata import ArraySpec

_ROWS = {"y", "row", "rows", "lat", "latitude", "height", "northing"}
_COLS = {"x", "col", "cols", "column", "columns", "lon", "longitude", "width", "easting"}
_BANDS = {"c", "ch", "channel", "channels", "band", "bands", "s", "sample", "samples", "rgb", "wavelength"}
#: Axes of which the first position is the image, as the first page of a file of several is.
_PAGES = {"t", "time", "date", "z", "depth", "level", "plane", "frame", "frames", "page"}
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
    """

    row: int
    col: int
    band: int | None


def picture_axes(spec: ArraySpec, names: tuple[str, ...] | None = None) -> Axes:
    """Tell which axes are rows, columns and bands: by their names, or by their number if they have none.

    Raises
    ------
    UnsupportedFormatError
        If that cannot be told.
    """
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
        f"and others if their axes have these names (dimension_names)."
    )
