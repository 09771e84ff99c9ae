"""The one place that turns what a user writes for a region into whole pixels.

Two dialects exist. Slices are NumPy's: negative values count from the end, everything is clipped to
the image, missing axes are whole. A `Window` is literal: nothing is clipped.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from types import EllipsisType
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from subregion.errors import RegionError, RegionTypeError, shown
from subregion.geometry.window import Window

Region: TypeAlias = "Window | slice | EllipsisType | tuple[slice | EllipsisType | None, ...] | None"

#: Of a clip: slices for frames, rows, columns and channels, or a slice of frames and a `Window` for all.
ClipRegion: TypeAlias = "Region | tuple[slice | EllipsisType | Window | None, ...]"

#: Windows may begin so far from an image, and be so large, in pixels: what floats still tell apart.
FARTHEST = 1 << 52

_AXES = ("rows", "columns", "channels", "frames")


class Selection(NamedTuple):
    """The pixels that a region asks for, with every dialect resolved.

    A named tuple, because it is made for every read: a frozen dataclass takes half a microsecond more.

    Parameters
    ----------
    window : Window
        The rectangle that holds all of them, in pixels; leaves the image only if the user gave a `Window`.
    row_step, col_step : int
        Every how many rows and columns one is taken, at least 1.
    bands : range or None
        Which of the channels, in order; None for all.
    """

    window: Window
    row_step: int = 1
    col_step: int = 1
    bands: range | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the result."""
        window = self.window
        return -(-window.height // self.row_step), -(-window.width // self.col_step)


def select(region: Region | Selection, shape: tuple[int, int, int]) -> Selection:
    """Resolve a region against an image.

    Parameters
    ----------
    region : Window, slice, tuple of slices, ``...``, None or Selection
        The region in either dialect; None is the whole image. A selection is resolved already.
    shape : tuple of int
        Rows, columns and channels of the image.

    Returns
    -------
    Selection
        Exactly what ``numpy.empty(shape)[region]`` would hold, or the window as it was given.

    Raises
    ------
    RegionTypeError
        If an element is neither a slice nor ``...`` nor None, or a slice holds something else than integers.
    RegionError
        If there are too many axes, an integer index, a step below 1, or a window beyond all images.

    Examples
    --------
    >>> select((slice(-3, None), slice(0, 9, 4)), (10, 10, 3))
    Selection(window=Window(row=7, col=0, height=3, width=9), row_step=1, col_step=4, bands=None)
    """
    if isinstance(region, Window):
        if max(abs(region.row), abs(region.col), region.height, region.width) > FARTHEST:
            raise RegionError(
                f"region {shown(region)}: lies farther out than any image is large, {FARTHEST}."
            )
        return Selection(region)
    if isinstance(region, Selection):
        return region
    rows: slice | None
    cols: slice | None
    bands: slice | None
    if type(region) is tuple and len(region) == 2 and type(region[0]) is type(region[1]) is slice:
        rows, cols, bands = region[0], region[1], None  # by far the most frequent form
    else:
        rows, cols, bands = _three_slices(region)
    row, height, row_step = _resolve(rows, shape[0], 0)
    col, width, col_step = _resolve(cols, shape[1], 1)
    if bands is None:
        return Selection(Window(row, col, height, width), row_step, col_step)
    band, extent, band_step = _resolve(bands, shape[2], 2)
    return Selection(
        Window(row, col, height, width), row_step, col_step, range(band, band + extent, band_step)
    )


def split_time(region: ClipRegion, count: int) -> tuple[range, Region]:
    """Divide a region of a clip into its frames and what is wanted of each.

    Parameters
    ----------
    region : Window, slice, tuple, ``...`` or None
        Slices as for an array (frames, rows, columns, channels); or a `Window`, alone or behind a slice of
        frames.
    count : int
        How many frames there are.

    Returns
    -------
    frames : range
        Which frames.
    region : Window, slices or None
        Of each of them.

    Raises
    ------
    RegionTypeError, RegionError
        As for `select`.

    Examples
    --------
    >>> split_time((slice(-2, None), slice(0, 9)), 10)
    (range(8, 10), (slice(0, 9, None),))
    >>> split_time((slice(0, 9, 4), Window(-1, -1, 5, 5)), 10)
    (range(0, 9, 4), Window(row=-1, col=-1, height=5, width=5))
    """
    if region is None or region is Ellipsis or isinstance(region, Window):
        return range(count), region
    items, dots = _items(region, 4, "a clip has 4: frames, rows, columns, channels")
    rest: Region
    if len(items) == 2 and isinstance(items[1], Window):
        first, rest = items[0], items[1]
    else:
        if dots and len(items) == 5:  # the dots stand for nothing
            items = tuple(item for item in items if item is not Ellipsis)
        first = items[0] if items else None
        rest = items if first is Ellipsis else items[1:]
    if first is None or first is Ellipsis:
        return range(count), rest
    if not isinstance(first, slice):
        raise _not_a_slice(first, 3)
    start, extent, step = _resolve(first, count, 3)
    return range(start, start + extent, step), rest


def without_integers(region: Any) -> tuple[Region, tuple[int, ...]]:
    """Turn integers of an index into slices of length one, for faces that behave as NumPy arrays.

    The shape of the image is not asked for: where an integer lies outside, its axis comes out empty.

    Parameters
    ----------
    region : Window, slice, int, tuple of these, ``...`` or None
        What stood between the brackets.

    Returns
    -------
    region : Window, slices or None
        A region without integers.
    axes : tuple of int
        The axes of the result that have to go.

    Raises
    ------
    RegionError
        If there are more integers than axes.

    Examples
    --------
    >>> without_integers((-1, ..., 0))
    ((slice(-1, None, None), Ellipsis, slice(0, 1, None)), (0, 2))
    """
    items = region if isinstance(region, tuple) else (region,)
    slices, axes = list(items), []
    behind_dots = False
    for place, item in enumerate(items):
        behind_dots = behind_dots or item is Ellipsis
        index = _whole(item)
        if index is None:
            continue
        axis = place + 3 - len(items) if behind_dots else place
        if not 0 <= axis < 3:
            raise RegionError(f"region {shown(region)}: more axes than 3: rows, columns, channels.")
        slices[place] = slice(index, None if index == -1 else index + 1)
        axes.append(axis)
    if not axes:
        return region, ()
    return tuple(slices), tuple(axes)


def without_axes(
    pixels: NDArray[Any], axes: tuple[int, ...], region: Any, shape: Callable[[], Any]
) -> NDArray[Any]:
    """Let go of the axes that `without_integers` named.

    Parameters
    ----------
    pixels : ndarray, shape (rows, columns, channels)
        What the region without integers gave.
    axes : tuple of int
        Which of its axes have to go.
    region : object
        What stood between the brackets, to name in messages.
    shape : callable
        Returns the shape of the image, likewise.

    Raises
    ------
    RegionError
        If an integer lay outside the image.
    """
    if any(pixels.shape[axis] == 0 for axis in axes):
        raise RegionError(
            f"region: index {shown(region)} is out of bounds for {shape()} (rows, columns, channels)."
        )
    return np.squeeze(pixels, axes)


def _whole(item: object) -> int | None:
    """Return an integer of any kind as a plain one; None if it is none."""
    if isinstance(item, int):
        return None if isinstance(item, bool) else item
    try:
        return operator.index(item)  # type: ignore[arg-type]  # the except below is the check
    except TypeError:
        return None


def _items(region: Any, most: int, what: str) -> tuple[tuple[Any, ...], int]:
    """Return what a region has for each axis, and how many of it are dots: none, or one."""
    items = region if isinstance(region, tuple) else (region,)
    dots = sum(item is Ellipsis for item in items)
    if dots > 1:
        raise RegionError(f"region {shown(region)}: '...' may stand only once.")
    if len(items) - dots > most:
        raise RegionError(f"region {shown(region)}: {len(items) - dots} axes, but {what}.")
    return items, dots


def _three_slices(region: Any) -> tuple[slice | None, slice | None, slice | None]:
    if region is None or region is Ellipsis:
        return None, None, None
    items, dots = _items(region, 3, "an image has 3: rows, columns, channels")
    if dots:
        at = next(i for i, item in enumerate(items) if item is Ellipsis)
        whole = (None,) * (4 - len(items))
        items = items[:at] + whole + items[at + 1 :]
    else:
        items = items + (None,) * (3 - len(items))
    for axis, item in enumerate(items):
        if item is not None and not isinstance(item, slice):
            raise _not_a_slice(item, axis)
    return items[0], items[1], items[2]


def _not_a_slice(item: object, axis: int) -> Exception:
    name, index = _AXES[axis], _whole(item)
    if index is None:
        if isinstance(item, list | np.ndarray):
            way_out = "read the slice that holds them, and index the result"
        else:
            way_out = "write a slice, '...', None, or a subregion.Window"
        return RegionTypeError(
            f"region: {shown(item)} ({type(item).__name__}) cannot choose {name}; {way_out}."
        )
    stop = "None" if index == -1 else shown(index + 1)
    return RegionError(
        f"region: the integer {shown(index)} would drop the axis of {name}; "
        f"write slice({shown(index)}, {stop}) to keep it."
    )


def _resolve(item: slice | None, size: int, axis: int) -> tuple[int, int, int]:
    """Return first index, extent up to the last one taken, and step."""
    if item is None:
        return 0, size, 1
    try:
        start, stop, step = item.indices(size)
    except TypeError:
        raise RegionTypeError(
            f"region: {shown(item)} for the {_AXES[axis]} holds something else than whole numbers; "
            f"round first, for example with int(numpy.floor(...))."
        ) from None
    except ValueError:
        raise RegionError(
            f"region: {shown(item)} for the {_AXES[axis]}: a step of 0 takes nothing."
        ) from None
    if step < 0:
        raise RegionError(
            f"region: {shown(item)} for the {_AXES[axis]} has a negative step; "
            f"read forwards and turn the result around with [::-1]."
        )
    if stop <= start:
        return start, 0, step
    if step > 1:
        step = min(step, FARTHEST)  # beyond all indices, and so large that NumPy still counts with it
        stop = start + (stop - start - 1) // step * step + 1
    return start, stop - start, step
