"""What a file holds: its pages, and its series with their axes and resolutions."""

from __future__ import annotations

from dataclasses import dataclass

from subregion.errors import RecordError


@dataclass(frozen=True, slots=True)
class Series:
    """One of the pictures, or stacks of pictures, of a file.

    Parameters
    ----------
    number : int
        Which, as the option `series` counts.
    name : str
        What the file calls it; may be empty.
    axes : str
        A letter for each axis, such as ``"TZCYX"``; ``"?"`` or others for those that are no option.
    shape : tuple of int
        How long the axes are.
    levels : tuple of (int, int)
        Rows and columns of each resolution, the full one first.
    """

    number: int
    name: str
    axes: str
    shape: tuple[int, ...]
    levels: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Contents:
    """What a file holds.

    Parameters
    ----------
    pages : int or None
        How many pages, or frames of an animation; None for files that have none.
    series : tuple of Series
        Its series, if it has any.
    """

    pages: int | None = None
    series: tuple[Series, ...] = ()


def no_such(path: str, name: str, value: int, count: int) -> RecordError:
    """Say that a position is not there, and which are."""
    there = f"it has {count} of them: 0 to {count - 1}" if count > 1 else f"it has one, which is {name}=0"
    return RecordError(f"{path}: {name}={value} is asked for, but {there}.")
