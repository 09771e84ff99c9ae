"""Hashes that DVC holds for files: in names that links lead to, in `.dvc` files, and in lists of folders."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from subregion.errors import IdentityError, source_error
from subregion.io.descriptors import State, read_regular, state_of
from subregion.libraries import require, yaml

#: Bytes of a `.dvc` file that are read, and what it may hold: those of a folder list one file a line at most.
MAX_LISTING = 1 << 20
_MAX_EVENTS, _MAX_DEPTH = 200_000, 32
#: Bytes of the list of a folder: some million files.
MAX_MEMBERS = 256 << 20
#: A hash is no longer than this.
_MAX_HASH = 256
#: How many files that were read are remembered.
_KEPT = 64

_OBJECT = re.compile(r"(?:^|[/\\])([0-9a-f]{2})[/\\]([0-9a-f]{30,62}(?:\.dir)?)$")


def dvc_hash(path: str) -> str:
    """Return the hash that DVC holds for a file.

    It is found in the name that a link into the DVC cache points to, or in a `.dvc` file beside the
    file or beside one of the folders that hold it.

    Raises
    ------
    IdentityError
        If DVC does not track the file, or the file is not the one that DVC tracks.
    SubregionError
        If files of DVC cannot be read.
    """
    if os.path.islink(path):
        found = _OBJECT.search(os.path.realpath(path))
        if found is not None:
            return found[1] + found[2]
    place = Path(path)
    for tracked in (place, *place.parents):
        listing = f"{tracked}.dvc"
        if tracked.name and os.path.isfile(listing):
            return _from_listing(listing, tracked, place)
    raise IdentityError(
        f"{path}: is neither a link into a DVC cache nor listed in a .dvc file. "
        f"Track it with 'dvc add', or use hashid_mode='PATH'."
    )


def _from_listing(listing: str, tracked: Path, place: Path) -> str:
    output = _remembered(listing, MAX_LISTING, _outputs).get(tracked.name)
    if output is None:
        raise IdentityError(f"{listing}: does not list {tracked.name!r} with a hash.")
    value, size = output
    if tracked == place:
        _check_size(listing, place, size)
        return str(value)
    inner = place.relative_to(tracked).as_posix()
    entry = _folder_entry(listing, value, inner)
    return entry if entry is not None else f"{value}/{inner}"


def _check_size(listing: str, place: Path, size: str | None) -> None:
    """Refuse a file that was edited after 'dvc add': it is not what its hash names."""
    if size is None or not re.fullmatch(r"[0-9]{1,19}", size):
        return
    try:
        found = os.stat(place).st_size
    except FileNotFoundError:
        return  # only its link is here
    except OSError as error:
        raise source_error(place, error) from error
    if found != int(size):
        raise IdentityError(
            f"{place}: has {found} bytes, {listing} tracks {size}. "
            f"Run 'dvc add' or 'dvc checkout' so that they agree."
        )


def _folder_entry(listing: str, value: str, inner: str) -> str | None:
    """Look the file up in the cached list of a tracked folder, where that is at hand."""
    name = value.removesuffix(".dir")
    if not re.fullmatch(r"[0-9a-zA-Z]+", name):
        return None  # it names no file in the cache of DVC
    for root in Path(listing).parents:
        cache = root / ".dvc" / "cache"
        if not os.path.isdir(cache):
            continue
        for base in (cache / "files" / "md5", cache):
            members = str(base / name[:2] / f"{name[2:]}.dir")
            if os.path.isfile(members):
                listed = _remembered(members, MAX_MEMBERS, _members)
                if inner not in listed:
                    raise IdentityError(f"{listing[:-4]}/{inner}: is not tracked by {listing}.")
                return str(listed[inner])
        return None
    return None


_known: dict[str, tuple[State, dict[str, Any]]] = {}


def _remembered(path: str, most: int, parse: Callable[[bytes], dict[str, Any]]) -> dict[str, Any]:
    """Read a file of DVC, once for each state that it is in."""
    try:
        state = state_of(os.stat(path))
        known = _known.get(path)
        if known is not None and known[0] == state:
            return known[1]
        data = read_regular(path, most + 1)
    except OSError as error:
        raise source_error(path, error) from error
    if len(data) > most:
        raise IdentityError(f"{path}: is larger than {most} bytes, which is no such file of DVC.")
    try:
        found = parse(data)
    except ImportError as error:
        raise IdentityError(
            f"{path}: reading .dvc files needs PyYAML: pip install 'subregion[dvc]'."
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise IdentityError(f"{path}: is not as DVC writes it: {error!r}.") from error
    if len(_known) >= _KEPT:
        _known.clear()
    _known[path] = state, found
    return found


def _outputs(data: bytes) -> dict[str, Any]:
    """Return hash and size of each output of a `.dvc` file, by its name."""
    found = {}
    for output in _plain_yaml(data)["outs"]:
        value = next((output[key] for key in ("md5", "etag", "checksum") if output.get(key)), None)
        if isinstance(value, str) and len(value) <= _MAX_HASH and isinstance(output["path"], str):
            size = output.get("size")
            found[output["path"]] = value, size if isinstance(size, str) else None
    return found


def _members(data: bytes) -> dict[str, Any]:
    """Return the hash of each file in the list of a folder, by its path there."""
    found = {}
    for item in json.loads(data):
        name, value = item["relpath"], item["md5"]
        if not isinstance(name, str) or not isinstance(value, str) or not 0 < len(value) <= _MAX_HASH:
            raise ValueError(f"{name!r} has the hash {value!r}"[:200])
        found[name] = value
    return found


def _plain_yaml(data: bytes) -> Any:
    """Return the first document of a YAML text, with every scalar as text or None.

    Nothing is made of tags, numbers and dates, and an alias is refused: a few of them, nested, stand for more
    than fits into memory.

    Raises
    ------
    ValueError
        If it is no YAML, or not of the kind that DVC writes.
    ImportError
        If PyYAML is not installed.
    """
    require(yaml)
    root: list[Any] = []
    open_nodes: list[list[Any] | dict[str, Any]] = [root]
    keys: list[str | None] = [None]  # for each open node, the key that waits for its value
    try:
        for count, event in enumerate(yaml.parse(data, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))):
            if count > _MAX_EVENTS or len(open_nodes) > _MAX_DEPTH:
                raise ValueError("it holds too much")
            if isinstance(event, yaml.AliasEvent):
                raise ValueError("it holds an alias")
            if isinstance(event, yaml.DocumentEndEvent):
                break
            if isinstance(event, yaml.CollectionEndEvent):
                open_nodes.pop()
                keys.pop()
                continue
            node: Any
            if isinstance(event, yaml.ScalarEvent):
                plain = event.implicit[0] and event.value in ("", "~", "null", "Null", "NULL")
                node = None if plain else event.value
            elif isinstance(event, yaml.CollectionStartEvent):
                node = {} if isinstance(event, yaml.MappingStartEvent) else []
            else:
                continue
            parent = open_nodes[-1]
            if isinstance(parent, list):
                parent.append(node)
            elif keys[-1] is None:
                if not isinstance(node, str):
                    raise ValueError("a key is no text")
                keys[-1] = node
            else:
                parent[keys[-1]] = node
                keys[-1] = None
            if isinstance(node, dict | list):
                open_nodes.append(node)
                keys.append(None)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error
    return root[0] if root else None
