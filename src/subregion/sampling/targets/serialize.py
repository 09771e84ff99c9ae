"""Targets in files of JSON: what was read can be kept, read again and looked at."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from subregion.errors import RecordError, RegionTypeError, SourceNotFoundError, SourceReadError, shown
from subregion.geometry.window import Window
from subregion.paths import path_of
from subregion.sampling.targets.keys import Request, given_keys

#: What `load_sample` adds to a target, and tells anew.
_TOLD_ANEW = ("space_dims", "data_dims", "annot_idx")


def as_json(target: Request) -> dict[str, Any]:
    """Return a target as JSON can hold it; `load_sample` reads the same pixels for it.

    Parameters
    ----------
    target : Mapping
        As it was given to `load_sample`, or as it was returned; of the latter what was given.

    Returns
    -------
    dict
        A slice becomes ``[start, stop]``, with its step behind if there is one; arrays become lists.

    Raises
    ------
    TargetError
        If a key is nearly one that is known.
    RegionTypeError
        If a value is nothing that JSON can hold.

    Examples
    --------
    >>> as_json({"gid": 1, "slices": (slice(0, 64), slice(-8, 56)), "channels": "r|g"})
    {'gid': 1, 'slices': [[0, 64], [-8, 56]], 'channels': 'r|g'}
    """
    given = given_keys(target)
    return {str(key): _plain(key, value) for key, value in given.items() if key not in _TOLD_ANEW}


def _plain(key: Any, value: Any) -> Any:
    """Return a value as JSON has it."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.ndarray | np.generic):
        return _plain(key, value.tolist())
    if isinstance(value, slice):
        ends = [value.start, value.stop] + ([] if value.step in (None, 1) else [value.step])
        return [_plain(key, end) for end in ends]
    if isinstance(value, Window):
        return [_plain(key, part) for part in value.slices]
    if isinstance(value, Mapping):
        return {str(name): _plain(key, each) for name, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset | range):
        return [_plain(key, each) for each in value]
    if isinstance(value, np.dtype) or (isinstance(value, type) and issubclass(value, np.generic)):
        return np.dtype(value).str
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    spec = getattr(value, "spec", None)  # channels of kwcoco
    if isinstance(spec, str):
        return spec
    raise RegionTypeError(f"target: {shown(key)}={shown(value)}: JSON cannot hold that; leave it out.")


def targets_to_text(targets: Iterable[Request]) -> str:
    """Return targets as a list in JSON, one a line; see `as_json`."""
    lines = ",\n".join(json.dumps(as_json(target)) for target in targets)
    return f"[\n{lines}\n]\n" if lines else "[]\n"


def read_targets(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Read targets from a file: a list in JSON, or what `new_sample_grid` returned.

    Raises
    ------
    SourceNotFoundError, SourceReadError
        If the file is not there, or cannot be read.
    RecordError
        If it holds no such list.
    """
    name = path_of(path, "the targets")
    try:
        document = json.loads(Path(name).read_bytes())
    except FileNotFoundError as error:
        raise SourceNotFoundError(f"{name}: does not exist.") from error
    except OSError as error:
        raise SourceReadError(f"{name}: cannot be read: {error.strerror or error}.") from error
    except (ValueError, RecursionError) as error:
        raise RecordError(f"{name}: is no JSON: {error}.") from error
    listed = document.get("targets") if isinstance(document, Mapping) else document
    if not isinstance(listed, list) or not all(isinstance(each, dict) for each in listed):
        raise RecordError(f"{name}: holds no targets: a list of objects such as {{'gid': 1}} is needed.")
    return listed
