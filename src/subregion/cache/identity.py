"""What a source is: the value that names its content, and the signs by which a change is noticed."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from subregion.errors import ConfigError, IdentityError, source_error
from subregion.libraries import require, yaml
from subregion.raster.zarr_metadata import is_zarr
from subregion.records import Asset

MODES = ("PATH", "PIXELS", "DVC", "GIVEN")


@dataclass(frozen=True, slots=True)
class Signature:
    """What a file looked like from outside.

    Parameters
    ----------
    size : int
        Bytes.
    mtime_ns : int
        Time of the last change, in nanoseconds.
    """

    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Identity:
    """The name of a content.

    Parameters
    ----------
    mode : str
        One of `MODES`.
    value : str
        Absolute path, hash of the bytes, hash from DVC, or what the caller gave.
    signature : Signature or None
        What must still hold for an entry to be fresh; None where `value` alone names the content.
    frame : int or None
        Which frame of a video file.
    """

    mode: str
    value: str
    signature: Signature | None
    frame: int | None = None


def check_mode(mode: object) -> str:
    """Return `mode` if it is one of `MODES`; `ConfigError` otherwise."""
    if mode not in MODES:
        raise ConfigError(f"hashid_mode={mode!r}: allowed are {', '.join(map(repr, MODES))}.")
    return str(mode)


def identify(asset: Asset, mode: str) -> Identity:
    """Tell what the file of an asset is.

    Parameters
    ----------
    asset : Asset
        Whose path is absolute.
    mode : str
        One of `MODES`.

    Raises
    ------
    SubregionError
        If the source cannot be looked at, or has no identity in this mode.
    """
    if mode == "PATH":
        return Identity(mode, asset.path, look_at(asset.path), asset.frame)
    if mode == "PIXELS":
        return Identity(mode, _content_hash(asset.path), None, asset.frame)
    if mode == "DVC":
        return Identity(mode, dvc_hash(asset.path), None, asset.frame)
    if not asset.hashid:
        raise IdentityError(
            f"{asset.path}: hashid_mode='GIVEN' needs a hash for each image; give it in id_to_hashid."
        )
    return Identity(mode, asset.hashid, None, asset.frame)


def look_at(path: str) -> Signature:
    """Return size and time of change of a file; of a zarr folder, of all that is in it."""
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode) and is_zarr(path):
            found = [os.stat(inner) for inner in _files_below(path)]
            return Signature(
                sum(each.st_size for each in found), max(each.st_mtime_ns for each in (status, *found))
            )
    except (OSError, ValueError) as error:
        raise source_error(path, error if isinstance(error, OSError) else OSError(str(error))) from error
    return Signature(status.st_size, status.st_mtime_ns)


def _files_below(folder: str) -> list[str]:
    return sorted(os.path.join(place, name) for place, _, names in os.walk(folder) for name in names)


_hashes: dict[str, tuple[tuple[int, ...], str]] = {}
_HASHES_KEPT = 100_000


def _content_hash(path: str) -> str:
    """Hash the bytes of a file, once for each state that the file is in."""
    if os.path.isdir(path) and is_zarr(path):
        return _folder_hash(path)
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            # The time of change of the inode is beyond the reach of tools that restore dates.
            state = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
            known = _hashes.get(path)
            if known is not None and known[0] == state:
                return known[1]
            value = hashlib.file_digest(file, "blake2b").hexdigest()[:64]
    except (OSError, ValueError) as error:
        raise source_error(path, error if isinstance(error, OSError) else OSError(str(error))) from error
    # Without a lock: one could be held by another thread when the process forks, and stay so in the child.
    if len(_hashes) >= _HASHES_KEPT:
        _hashes.clear()
    _hashes[path] = (state, value)
    return value


def _folder_hash(path: str) -> str:
    """Hash the names and bytes of all files in a folder."""
    value = hashlib.blake2b(digest_size=32)
    for inner in _files_below(path):
        value.update(
            f"{os.path.relpath(inner, path)}\n{_content_hash(inner)}\n".encode("utf-8", "surrogateescape")
        )
    return value.hexdigest()


_DVC_OBJECT = re.compile(r"(?:^|[/\\])([0-9a-f]{2})[/\\]([0-9a-f]{30,62}(?:\.dir)?)$")


def dvc_hash(path: str) -> str:
    """Return the hash that DVC holds for a file.

    It is found in the name that a link into the DVC cache points to, or in a `.dvc` file beside the
    file or beside one of the folders that hold it.

    Raises
    ------
    IdentityError
        If DVC does not track the file, or the file is not the one that DVC tracks.
    """
    if os.path.islink(path):
        found = _DVC_OBJECT.search(os.path.realpath(path))
        if found is not None:
            return found[1] + found[2]
    place = Path(path)
    for tracked in (place, *place.parents):
        listing = tracked.with_name(tracked.name + ".dvc") if tracked.name else None
        if listing is not None and listing.is_file():
            return _from_dvc_file(listing, tracked, place)
    raise IdentityError(
        f"{path}: is neither a link into a DVC cache nor listed in a .dvc file. "
        f"Track it with 'dvc add', or use hashid_mode='PATH'."
    )


def _from_dvc_file(listing: Path, tracked: Path, place: Path) -> str:
    try:
        require(yaml)
    except ImportError as error:
        raise IdentityError(
            f"{listing}: reading .dvc files needs PyYAML: pip install 'subregion[dvc]'."
        ) from error
    try:
        document: Any = yaml.safe_load(listing.read_text(encoding="utf-8"))
        outputs = [out for out in document["outs"] if out["path"] == tracked.name]
        output = outputs[0]
        value = str(output.get("md5") or output.get("etag") or output["checksum"])
    except (OSError, yaml.YAMLError, KeyError, TypeError, IndexError, AttributeError, UnicodeError) as error:
        raise IdentityError(f"{listing}: does not list {tracked.name!r} with a hash: {error!r}.") from error
    if tracked == place:
        _check_dvc_size(listing, place, output.get("size"))
        return value
    inner = place.relative_to(tracked).as_posix()
    entry = _dvc_folder_entry(listing, value, inner)
    return entry if entry is not None else f"{value}/{inner}"


def _check_dvc_size(listing: Path, place: Path, size: Any) -> None:
    """Refuse a file that was edited after 'dvc add': it is not what its hash names."""
    if isinstance(size, int) and place.exists() and place.stat().st_size != size:
        raise IdentityError(
            f"{place}: has {place.stat().st_size} bytes, {listing} tracks {size}. "
            f"Run 'dvc add' or 'dvc checkout' so that they agree."
        )


def _dvc_folder_entry(listing: Path, value: str, inner: str) -> str | None:
    """Look the file up in the cached list of a tracked folder, where that is at hand."""
    name = value.removesuffix(".dir")
    for root in listing.parents:
        cache = root / ".dvc" / "cache"
        if not cache.is_dir():
            continue
        for base in (cache / "files" / "md5", cache):
            members = base / name[:2] / f"{name[2:]}.dir"
            if members.is_file():
                try:
                    listed = {item["relpath"]: item["md5"] for item in json.loads(members.read_bytes())}
                except (OSError, ValueError, KeyError, TypeError) as error:
                    raise IdentityError(f"{members}: is not a list of DVC: {error!r}.") from error
                if inner not in listed:
                    raise IdentityError(f"{listing.with_suffix('')}/{inner}: is not tracked by {listing}.")
                return str(listed[inner])
        return None
    return None
