"""What calls of the sampler are given, in all the forms that programs use; brought into one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from subregion.errors import ConfigError, TargetError, shown
from subregion.sampling.targets.keys import OPTIONS, Request

#: Keys of a region that another window makes void.
_WINDOW = ("cx", "cy", "width", "height", "window_dims", "slices", "space_slice")
#: Keys of a target that may be given by keyword.
_KEYWORDS = frozenset((*OPTIONS, "pad"))


def merged(target: Request | None, tr: Request | None, options: Mapping[str, Any]) -> Request:
    """Return a target with what was given by keyword."""
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
    merged = dict(request)
    for name, value in options.items():
        if value is None:
            continue
        there = merged.get(name)
        if there is not None and there is not value and repr(there) != repr(value):
            raise TargetError(
                f"load_sample: {name}={shown(value)} is given, and {name}={shown(there)} in the target; "
                f"leave out one."
            )
        merged[name] = value
    return merged


def replaced(row: Mapping[str, Any], target: Request | None) -> dict[Any, Any]:
    """Return a region with some keys replaced; another window replaces all that says where it was."""
    if not target:
        return dict(row)
    void = _WINDOW if {"slices", "space_slice"} & set(target) else ()
    return {**{key: value for key, value in row.items() if key not in void}, **target}


def checked_threshold(visible_thresh: Any) -> float:
    """Return how much of a box must be seen."""
    if type(visible_thresh) is float and visible_thresh == 0.0:
        return visible_thresh
    number = isinstance(visible_thresh, int | float | np.integer | np.floating) and not isinstance(
        visible_thresh, bool
    )
    if not number or not 0 <= visible_thresh <= 1:
        raise ConfigError(f"visible_thresh={shown(visible_thresh)}: a number from 0 to 1 is needed.")
    return float(visible_thresh)
