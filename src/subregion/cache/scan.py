"""What lies in a cache folder, by names and sizes: of very many entries as little is read as can be."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from subregion.cache.disk import SAFELY, sizes_of
from subregion.cache.entries import Folder
from subregion.cache.manifest import MAX_MANIFEST, claims_of

_OURS = re.compile(r"([0-9a-f]{40})\.(?:json|([0-9a-f]{16}\.[a-z]{1,8})(\.sums)?)")


@dataclass(slots=True)
class Data:
    """Data of an entry in its home, and their checksums."""

    nbytes: int = 0
    used: float = 0.0
    kind: str = ""  # "file", "folder" or "link"; empty if only the checksums are there


@dataclass(slots=True)
class Found:
    """All that has one key."""

    key: str
    home: str
    manifest: int = -1  # bytes of it
    written: float = 0.0
    data: dict[str, Data] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        """Bytes of all of it."""
        return max(0, self.manifest) + sum(data.nbytes for data in self.data.values())

    @property
    def used(self) -> float:
        """When it was last used, in seconds since 1970."""
        return max((data.used for data in self.data.values()), default=0.0) or self.written


def scan(folder: Folder, left_alone: list[str]) -> Iterator[Found]:
    """Look at all names and sizes; no manifest is read but those of folders, for their size."""
    try:
        with os.scandir(folder.path) as listing:
            homes = [home for home in listing if re.fullmatch("[0-9a-f]{2}", home.name)]
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise folder.cannot_read(folder.path, error) from error
    for home in homes:
        if not home.is_dir(follow_symlinks=False):
            left_alone.append(f"{home.path}: is a link, or no folder")
            continue
        try:
            yield from _scan_home(home.name, home.path, left_alone)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            left_alone.append(f"{home.path}: cannot be read: {error.strerror or error}")


def _scan_home(name: str, path: str, left_alone: list[str]) -> Iterator[Found]:
    found: dict[str, Found] = {}
    with os.scandir(path) as listing:
        for item in listing:
            parts = _OURS.fullmatch(item.name)
            if parts is None or not item.name.startswith(name):
                continue
            key, data, sums = parts.groups()
            try:
                status = item.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            each = found.get(key) or found.setdefault(key, Found(key, path))
            if data is None:
                if item.is_file(follow_symlinks=False):
                    each.manifest, each.written = status.st_size, status.st_mtime
                continue
            part = each.data.get(data) or each.data.setdefault(data, Data())
            if item.is_file(follow_symlinks=False):
                part.nbytes += status.st_size
            if sums:
                part.used = status.st_mtime
            elif item.is_symlink():
                part.kind = "link"
                left_alone.append(f"{item.path}: is a link")
            else:
                part.kind = "folder" if item.is_dir(follow_symlinks=False) else "file"
    for each in found.values():
        for rest, part in each.data.items():
            if part.kind == "folder":
                part.nbytes += _folder_size(each, rest)
    yield from found.values()


def _folder_size(found: Found, rest: str) -> int:
    claims = claims_by(found)
    if claims is not None and claims["data"] == f"{found.key}.{rest}" and type(claims.get("size")) is int:
        return max(0, int(claims["size"]))
    with contextlib.suppress(OSError):
        return sum(sizes_of(os.path.join(found.home, f"{found.key}.{rest}")).values())
    return 0


def manifest_by(found: Found) -> bytes:
    """Read what was a regular file a moment ago."""
    descriptor = os.open(os.path.join(found.home, f"{found.key}.json"), os.O_RDONLY | SAFELY)
    try:
        return os.read(descriptor, MAX_MANIFEST)
    finally:
        os.close(descriptor)


def claims_by(found: Found) -> dict[str, Any] | None:
    """Return what its manifest says; None if there is none that we wrote."""
    if found.manifest < 0:
        return None
    try:
        return claims_of(manifest_by(found), found.key)
    except OSError:
        return None
