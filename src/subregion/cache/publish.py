"""Publishes entries: written beside, synced to the disk, and only then renamed to where readers look."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Callable
from typing import TypeAlias

from subregion.cache.checksums import SUFFIX, Checksums
from subregion.cache.disk import sync_file, sync_folder, synced_sizes
from subregion.cache.entries import Folder
from subregion.cache.manifest import Entry, manifest_of
from subregion.cache.metadata import Carried
from subregion.cache.origin import Origin
from subregion.cache.seen import Signature
from subregion.errors import SourceIsDirectoryError, SourceNotFoundError, SubregionError, said_by_system
from subregion.libraries import google_crc32c

Admit: TypeAlias = "Callable[[str, int], contextlib.AbstractContextManager[None]]"


def publish(
    folder: Folder,
    origin: Origin,
    suffix: str,
    signature: Signature | None,
    carried: Carried,
    write: Callable[[str], Checksums],
    confirm: Callable[[], None] = lambda: None,
    admit: Admit = lambda name, nbytes: contextlib.nullcontext(),
) -> Entry:
    """Write an entry and make it visible.

    Parameters
    ----------
    folder : Folder
        Where it goes.
    origin : Origin
        What it is made of, and how.
    suffix : str
        Suffix of the data, such as ``".tif"``.
    signature : Signature or None
        What the source looks like.
    carried : Carried
        What the source says beside its pixels.
    write : callable
        Writes and checks the data, a file or a folder, at the path that it is given, and returns their
        checksums.
    confirm : callable
        Called when the data are complete and nobody sees them yet; if it raises, they are removed.
    admit : callable
        Called before that with the name of the data and the bytes of the whole entry: what it returns is
        entered while the entry is made visible.

    Returns
    -------
    Entry
        What was written, or the same from another writer that was done first.

    Raises
    ------
    CacheError
        If the folder cannot be written.
    """
    key = origin.key
    for again in (True, False):
        name = f"{key}.{secrets.token_hex(8)}{suffix}"
        try:
            entry = _written(folder, origin, name, signature, carried, write, confirm, admit)
        except SubregionError:
            raise  # the source failed, not the cache
        except FileNotFoundError as error:  # somebody removed the folder, or what was being written
            if not again:
                raise folder.cannot_write(error) from error
        except OSError as error:
            raise folder.cannot_write(error) from error
        else:
            folder.remove_older(key, os.path.basename(entry.data))
            return entry
        finally:
            folder.remove_unfinished(name)
    raise AssertionError("unreachable")


def _written(
    folder: Folder,
    origin: Origin,
    name: str,
    signature: Signature | None,
    carried: Carried,
    write: Callable[[str], Checksums],
    confirm: Callable[[], None],
    admit: Admit,
) -> Entry:
    unfinished, key = os.path.join(folder.unfinished, name), origin.key
    home = os.path.join(folder.path, key[:2])
    os.makedirs(folder.unfinished, exist_ok=True)
    os.makedirs(home, exist_ok=True)
    try:
        sums = write(unfinished).to_bytes()
    except SubregionError as error:
        if not str(error).startswith(unfinished):
            raise
        # What was written could not be read back, for a reason of the system, or because it is gone.
        if (said := said_by_system(error)) is not None:
            raise said from error
        if isinstance(error, SourceNotFoundError | SourceIsDirectoryError):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), unfinished) from error
        raise
    sizes = synced_sizes(unfinished)
    mark = len(sums), google_crc32c.value(sums)
    _write_synced(unfinished + SUFFIX, sums)
    manifest = f"{unfinished}.json"
    document = manifest_of(name, sizes, os.path.isdir(unfinished), signature, mark, origin, carried)
    _write_synced(manifest, document)
    data, size = os.path.join(home, name), sum(sizes.values())
    with admit(name, size + len(sums) + len(document)):
        confirm()
        current = folder.look_up(key)
        if current is not None and current.fits(signature):
            return current  # another writer was faster, and readers may be about to open its entry
        os.replace(unfinished, data)
        try:
            os.replace(unfinished + SUFFIX, data + SUFFIX)
            _show(folder, manifest, key)
        except BaseException:
            with contextlib.suppress(OSError):
                folder.take_away(data)
            raise
    sync_folder(home)
    return Entry(origin, data, size, signature, mark, carried)


def _show(folder: Folder, manifest: str, key: str) -> None:
    """Rename a manifest to where readers look for it."""
    place = folder.manifest_path(key)
    try:
        os.replace(manifest, place)
    except OSError:
        if not os.path.isdir(place):
            raise
        folder.take_away(place)  # no manifest of ours is a folder
        os.replace(manifest, place)


def _write_synced(path: str, data: bytes) -> None:
    """Write a file, and bring it to the disk."""
    with open(path, "wb") as file:
        file.write(data)
    sync_file(path)
