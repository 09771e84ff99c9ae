"""Files and folders on the disk: how large they are, and what is needed to write and remove them safely."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator

#: How files of ours are opened that are not read as sources are: children do not inherit them, no link is
#: followed, and nothing is waited for.
SAFELY = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


def _files_below(path: str) -> Iterator[str]:
    for folder, _, names in os.walk(path):
        yield from (os.path.join(folder, name) for name in names)


def sizes_of(path: str) -> dict[str, int]:
    """Return the size of each file in a folder, by its name there; of a file, its own."""
    if not os.path.isdir(path):
        return {"": os.lstat(path).st_size}
    return {
        os.path.relpath(inner, path).replace(os.sep, "/"): os.lstat(inner).st_size
        for inner in _files_below(path)
    }


def last_change(path: str) -> float:
    """Return the time of the last change of a file, or of all that is in a folder, in seconds."""
    return max(os.lstat(each).st_mtime for each in (path, *_files_below(path)))


def synced_sizes(path: str) -> dict[str, int]:
    """Bring a file, or all that is in a folder, to the disk, and return the sizes."""
    if not os.path.isdir(path):
        sync_file(path)
    for folder, _, names in os.walk(path, topdown=False):
        for name in names:
            sync_file(os.path.join(folder, name))
        sync_folder(folder)
    return sizes_of(path)


def sync_file(path: str) -> None:
    """Bring a file to the disk."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(path: str) -> None:
    """Bring the names in a folder to the disk, where the file system does that."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def remove(path: str) -> None:
    """Remove a file, or a folder with all that is in it; links are not followed."""
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        os.unlink(path)
