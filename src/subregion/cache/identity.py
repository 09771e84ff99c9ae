"""What a source is: the value that names its content."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from typing import Any

from subregion.cache.dvc import dvc_hash
from subregion.cache.seen import Seen, Signature, files_below
from subregion.errors import CacheError, ConfigError, IdentityError, SubregionError, source_error
from subregion.formats.zarr.metadata import is_zarr
from subregion.io.descriptors import open_regular
from subregion.records import Asset
from subregion.views import AS_IT_IS, View

MODES = ("PATH", "PIXELS", "DVC", "GIVEN")
#: Characters of a hash that the caller gives.
MAX_GIVEN = 1000
#: How often a source that is being rewritten is hashed anew.
ATTEMPTS = 5


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
    view : View
        Which picture of the source is meant.
    """

    mode: str
    value: str
    signature: Signature | None
    view: View = AS_IT_IS


def check_mode(mode: object) -> str:
    """Return `mode` if it is one of `MODES`; `ConfigError` otherwise."""
    if not isinstance(mode, str) or mode not in MODES:
        raise ConfigError(f"hashid_mode={mode!r}: allowed are {', '.join(map(repr, MODES))}.")
    return mode


def identify(asset: Asset, mode: str, seen: Seen | None = None) -> Identity:
    """Tell what the file of an asset is.

    Parameters
    ----------
    asset : Asset
        Whose path is absolute.
    mode : str
        One of `MODES`.
    seen : Seen or None
        What the source looks like, if that is known.

    Raises
    ------
    SubregionError
        If the source cannot be looked at, or has no identity in this mode.
    """
    if mode == "GIVEN":
        return Identity(mode, _given(asset), None, asset.view)
    if mode == "DVC":
        return Identity(mode, dvc_hash(asset.path), None, asset.view)
    if seen is None:
        seen = Seen.now(asset.path)
    if mode == "PATH":
        return Identity(mode, asset.path, seen.signature, asset.view)
    return Identity(mode, _content_hash(asset.path, seen), None, asset.view)


def _given(asset: Asset) -> str:
    value = asset.hashid
    if not value:
        raise IdentityError(
            f"{asset.path}: hashid_mode='GIVEN' needs a hash for each image; give it in id_to_hashid."
        )
    if len(value) > MAX_GIVEN:
        raise IdentityError(
            f"{asset.path}: its hash has {len(value)} characters; at most {MAX_GIVEN} are allowed. "
            f"Give the hexadecimal digest of a hash."
        )
    return value


_hashes: dict[str, tuple[tuple[Any, ...], str]] = {}
_HASHES_KEPT = 100_000


def _content_hash(path: str, seen: Seen) -> str:
    """Hash the bytes of a file or a zarr folder, once for each state that it is in."""
    known = _hashes.get(path)
    if known is not None and known[0] == seen.state:
        return known[1]
    for _ in range(ATTEMPTS):
        before = Seen.settled(path)
        if before.just_changed:
            continue  # somebody is writing to it
        try:
            value = _hash(path)
        except SubregionError:
            if before.still(path):
                raise
            continue
        if before.still(path):
            # Without a lock: one could be held by another thread when the process forks, and stay so.
            if len(_hashes) >= _HASHES_KEPT:
                _hashes.clear()
            _hashes[path] = before.state, value
            return value
    raise CacheError(
        f"{path}: was replaced {ATTEMPTS} times while its bytes were being hashed. "
        f"Is it being rewritten all the time?"
    )


def _hash(path: str) -> str:
    try:
        if not (os.path.isdir(path) and is_zarr(path)):
            return _file_hash(path)
        value = hashlib.blake2b(digest_size=32)
        for name, status in files_below(path):
            digest = _file_hash(os.path.join(path, name)) if stat.S_ISREG(status.st_mode) else ""
            value.update(f"{name}\n{digest}\n".encode("utf-8", "surrogateescape"))
        return value.hexdigest()
    except (OSError, ValueError) as error:
        raise source_error(path, error if isinstance(error, OSError) else OSError(str(error))) from error


def _file_hash(path: str) -> str:
    with open(open_regular(path)[0], "rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()[:64]
