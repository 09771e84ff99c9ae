"""What may stand in the dict of a target: keys, their other names, what is taken for a slip. Pure."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Mapping
from numbers import Real
from typing import Any, TypeAlias

import numpy as np

from subregion.errors import RegionTypeError, TargetError, shown
from subregion.geometry.window import Window

#: A target as users write it.
Request: TypeAlias = Mapping[Any, Any]
#: Pixels added before and behind, of rows and of columns.
Pad: TypeAlias = tuple[tuple[int, int], tuple[int, int]]

#: Other names of keys.
ALIASES = {"image_id": "gid", "image_ids": "gids", "video_id": "vidid"}
#: Which images.
OBJECTS = ("gid", "gids", "vidid", "time_slice", "aid")
#: Which pixels of them.
PLACES = ("slices", "space_slice", "cx", "cy", "width", "height", "window_dims", "pad")
#: How these are wanted.
OPTIONS = (
    "channels",
    "scale",
    "interpolation",
    "antialias",
    "nodata",
    "dtype",
    "padkw",
    "use_native_scale",
    "realign_native",
    "as_xarray",
    "optimize",
    "finalize",
    "legacy_annots",
    "legacy_target",
)
#: What is told of a target, and does not change what is read.
TOLD = ("category_id", "space_dims", "data_dims", "annot_idx", "aids", "img_width", "img_height")
#: Where a returned target keeps what was added to it; see `given_keys`.
COMPLETED = "completed"

_ALIASES = frozenset(ALIASES)
#: Every key that has a meaning.
KNOWN = frozenset((*ALIASES, *OBJECTS, *PLACES, *OPTIONS, *TOLD, COMPLETED))
#: Keys of a region that another window makes void.
_WHERE = ("cx", "cy", "width", "height", "window_dims", "slices", "space_slice")
#: Keys of a target that may be given by keyword.
_KEYWORDS = frozenset((*OPTIONS, "pad"))
#: In keys of so few letters a missing one is no slip; see `near_miss`.
_SHORT = 4


@functools.lru_cache(maxsize=4096)
def near_miss(key: str) -> str | None:
    """Return the known key of which one is a slip: two letters exchanged, one missing, one doubled.

    Examples
    --------
    >>> near_miss("widht"), near_miss("slicess"), near_miss("chanels"), near_miss("label"), near_miss("id")
    ('width', 'slices', 'channels', None, None)
    """
    for known in sorted(KNOWN):
        if key == known or abs(len(key) - len(known)) > 1:
            continue
        for at in range(len(known)):
            missing = known[:at] + known[at + 1 :]
            doubled = known[: at + 1] + known[at:]
            exchanged = known[:at] + known[at : at + 2][::-1] + known[at + 2 :]
            # What is left of a short key is as often a word of its own: id, ids, x.
            if key in (doubled, exchanged) or (key == missing and len(known) > _SHORT):
                return known
    return None


def given_keys(request: Request, strict: bool = False) -> dict[Any, Any]:
    """Return what the user gave, under one name each, without what an earlier call added.

    Parameters
    ----------
    request : Mapping
        The target.
    strict : bool
        Whether unknown keys are an error.

    Raises
    ------
    TargetError
        If a key is nearly one that is known, or has another value than its other name.
    """
    if type(request) is not dict and not isinstance(request, Mapping):
        raise RegionTypeError(f"target={shown(request)}: must be a dict, such as {{'gid': 1}}.")
    if not request.keys() <= KNOWN:
        _check_unknown(request, strict)
    found = without_completed(request)
    if _ALIASES.isdisjoint(found):
        return found
    for alias, name in ALIASES.items():
        if alias in found:
            value = found.pop(alias)
            if value is None:
                continue
            if found.get(name) is None:
                found[name] = value
            elif not alike(found[name], value):
                raise TargetError(
                    f"target: {alias}={shown(value)} and {name}={shown(found[name])} are two names of one "
                    f"thing; leave out one."
                )
    return found


def without_completed(request: Request) -> dict[Any, Any]:
    """Return a target without what an earlier call added.

    A returned target remembers, under ``"completed"``, which keys were added to it and with which values.
    Where such a value is as it was, it was not given; so what it came from can be changed.

    Raises
    ------
    TargetError
        If ``"completed"`` is no mapping.
    """
    found = dict(request)
    added = found.pop(COMPLETED, None)
    if added:
        if not isinstance(added, Mapping):
            raise TargetError(f"target[{COMPLETED!r}]={shown(added)}: is kept by load_sample; remove it.")
        for key, value in added.items():
            if key in found and alike(found[key], value):
                del found[key]
    return found


def _check_unknown(request: Request, strict: bool) -> None:
    for key in request:
        if key in KNOWN:
            continue
        known = near_miss(key) if isinstance(key, str) else None
        if known is not None:
            raise TargetError(
                f"target: the key {key!r} is nearly {known!r}; write that, or give a key of your own another "
                f"name."
            )
        if strict:
            listed = ", ".join(sorted(KNOWN))
            raise TargetError(f"target: the key {shown(key)} is unknown; known are {listed}.")


def merged(target: Request | None, tr: Request | None, options: Mapping[str, Any]) -> Request:
    """Return a target with what was given by keyword.

    Parameters
    ----------
    target, tr : Mapping or None
        The target, under its name and its older one; exactly one is given.
    options : Mapping
        Keys of a target that were given by keyword; None is not given.

    Raises
    ------
    TargetError
        If there is no target, or it says something else.
    TypeError
        If there is no such keyword.
    """
    if target is not None and tr is not None:
        raise TargetError("load_sample: target and tr are two names of one thing; leave out one.")
    request = tr if target is None else target
    if request is None:
        raise TargetError("load_sample: a target is needed, such as {'gid': 1}.")
    if not options:
        return request
    if unknown := [name for name in options if name not in _KEYWORDS]:
        listed = ", ".join(sorted(_KEYWORDS))
        raise TypeError(f"load_sample: no option {unknown[0]!r}; there are: {listed}.")
    found = dict(request)
    for name, value in options.items():
        if value is None:
            continue
        there = found.get(name)
        if there is not None and there is not value and repr(there) != repr(value):
            raise TargetError(
                f"load_sample: {name}={shown(value)} is given, and {name}={shown(there)} in the target; "
                f"leave out one."
            )
        found[name] = value
    return found


def replaced(row: Mapping[str, Any], target: Request | None) -> dict[Any, Any]:
    """Return a region with some keys replaced; another window replaces all that says where it was."""
    if not target:
        return dict(row)
    void = _WHERE if {"slices", "space_slice"} & set(target) else ()
    return {**{key: value for key, value in row.items() if key not in void}, **target}


def alike(one: Any, other: Any) -> bool:
    """Whether two values are the same, also where they are arrays."""
    if one is other:
        return True
    try:
        return (type(one) is type(other) and bool(np.all(one == other))) or bool(one == other)
    except (TypeError, ValueError):
        return False


def interval(part: Any, size: int, name: str) -> tuple[int, int]:
    """Return where a literal slice begins and ends; None stands for the edges.

    Raises
    ------
    RegionTypeError
        If it is no slice of whole numbers.
    TargetError
        If it has a step, or ends before it begins, or holds nothing.
    """
    if part is None:
        return 0, size
    if isinstance(part, slice):
        start, stop, step = part.start, part.stop, part.step
    elif isinstance(part, list | tuple) and len(part) == 2:
        (start, stop), step = part, None
    else:
        raise RegionTypeError(f"target: {name}={shown(part)}: a slice is needed, such as slice(0, 64).")
    if step is not None and step != 1:
        raise TargetError(f"target: {name}={shown(part)}: has a step; leave it out, and give scale instead.")
    low = start if type(start) is int else 0 if start is None else whole(start, name)
    high = stop if type(stop) is int else size if stop is None else whole(stop, name)
    if high <= low:
        raise TargetError(f"target: {name}={shown(part)}: holds no pixel; its end must lie behind its begin.")
    return low, high


def window_of(slices: Any, shape: tuple[int, int], name: str) -> Window:
    """Return the window that slices for rows and columns stand for, literally.

    Parameters
    ----------
    slices : tuple of slice, or Window
        As the user wrote it.
    shape : tuple of int
        Rows and columns of the image or the video.
    name : str
        The key.
    """
    if isinstance(slices, Window):
        if slices.empty:
            raise TargetError(f"target: {name}={slices}: holds no pixel.")
        return slices
    if not isinstance(slices, tuple | list) or len(slices) != 2:
        raise RegionTypeError(
            f"target: {name}={shown(slices)}: slices for rows and columns are needed, such as "
            f"(slice(0, 64), slice(0, 64))."
        )
    top, bottom = interval(slices[0], shape[0], name)
    left, right = interval(slices[1], shape[1], name)
    return Window(top, left, bottom - top, right - left)


def whole(value: Any, name: str) -> int:
    """Return a whole number."""
    try:
        if not isinstance(value, bool):
            return operator.index(value)
    except TypeError:
        pass
    raise RegionTypeError(f"target: {name}={shown(value)}: a whole number is needed; round it first.")


def number(value: Any, name: str) -> float:
    """Return a finite number."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise RegionTypeError(f"target: {name}={shown(value)}: a number is needed.")
    try:
        found = float(value)
    except OverflowError:
        found = math.inf
    if not math.isfinite(found):
        raise TargetError(f"target: {name}={shown(value)}: a finite number is needed.")
    return found


NO_PAD: Pad = ((0, 0), (0, 0))


def pad_of(pad: Any) -> Pad:
    """Return how many pixels are added before and behind, of rows and of columns.

    Parameters
    ----------
    pad : int, tuple or None
        A number for all sides, one for rows and one for columns, or pairs (before, behind). In front of these
        may stand what is added in time, which must be 0.

    Examples
    --------
    >>> pad_of(2), pad_of((0, 1, (2, 3)))
    (((2, 2), (2, 2)), ((1, 1), (2, 3)))
    """
    if pad is None:
        return NO_PAD
    pad = pad.tolist() if isinstance(pad, np.ndarray) else pad
    parts = tuple(pad) if isinstance(pad, list | tuple) else (pad, pad)
    if len(parts) == 3:
        if _sides(parts[0], pad) != (0, 0):
            raise TargetError(f"target: pad={shown(pad)}: no frames can be added; the first must be 0.")
        parts = parts[1:]
    if len(parts) != 2:
        raise TargetError(
            f"target: pad={shown(pad)}: a number is needed, or one for rows and one for columns, or pairs "
            f"(before, behind)."
        )
    return _sides(parts[0], pad), _sides(parts[1], pad)


def _sides(part: Any, pad: Any) -> tuple[int, int]:
    pair = tuple(part) if isinstance(part, list | tuple | np.ndarray) else (part, part)
    if len(pair) != 2:
        raise TargetError(f"target: pad={shown(pad)}: a side has a number before and one behind.")
    before, behind = whole(pair[0], "pad"), whole(pair[1], "pad")
    if before < 0 or behind < 0:
        raise TargetError(f"target: pad={shown(pad)}: must be at least 0.")
    return before, behind
