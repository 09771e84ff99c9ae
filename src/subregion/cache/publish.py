"""Entries on disk: written beside their final names, checked, synced, and only then made visible.

An entry is its data, a file or a folder of files, and a *pointer*. The data carry a token in their name that
is never used twice; the pointer ``<key>.json`` names the data and says what they were made from. A reader
starts at the pointer, so renaming the pointer is the moment at which an entry exists, and a rebuilt entry
never mixes with an older one.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import filelock  # not from `libraries`: its own fork hook must be there before ours waits for an import

from subregion.cache.carried import NOTHING, Carried
from subregion.cache.identity import Signature
from subregion.errors import CacheError, SubregionError

#: A lock whose owner shows no sign of life for this long (seconds) is passed by: that costs double work only.
PATIENCE = 60.0
#: Leftovers on file systems without locks are removed after this long (seconds).
ABANDONED = 24 * 3600.0

_KEY = re.compile(r"[0-9a-f]{40}")
_INNER_NAME = re.compile(r"[0-9a-z]+(?:[./][0-9a-z]+)*")


@dataclass(frozen=True, slots=True)
class Entry:
    """A published copy of a source.

    Parameters
    ----------
    key : str
        Hash of identity and recipe.
    data : str
        Absolute path of the file or folder that holds the pixels.
    size : int
        Bytes of its files.
    signature : Signature or None
        What the source looked like when it was converted.
    carried : Carried
        What the source says beside its pixels.
    """

    key: str
    data: str
    size: int
    signature: Signature | None
    carried: Carried = NOTHING


@dataclass(frozen=True, slots=True)
class Folder:
    """A cache folder.

    Parameters
    ----------
    path : str
        Absolute path; made when the first entry is.
    """

    path: str

    def pointer(self, key: str) -> str:
        """Return the path of the file that says where the data of an entry is."""
        return os.path.join(self.path, key[:2], f"{key}.json")

    @property
    def _unfinished(self) -> str:
        return os.path.join(self.path, "unfinished")

    @property
    def _locks(self) -> str:
        return os.path.join(self.path, "locks")

    def look_up(self, key: str) -> Entry | None:
        """Return the entry, or None if there is none that is whole."""
        pointer = self.pointer(key)
        try:
            with open(pointer, "rb") as file:
                document = json.loads(file.read(1 << 20))
            name, size, inner = document["data"], document["size"], document.get("files")
            seen = document["signature"]
            signature = None if seen is None else Signature(int(seen[0]), int(seen[1]))
            # Names come from a file that others may have written: they must stay in this folder.
            if not isinstance(name, str) or not re.fullmatch(rf"{key}\.[0-9a-f]{{16}}\.[a-z]{{1,8}}", name):
                return None
            data = os.path.join(os.path.dirname(pointer), name)
            if inner is None:
                if os.stat(data).st_size != size:
                    return None
            elif not _has_files(data, inner):
                return None
            carried = Carried.from_document(document)
        except (FileNotFoundError, NotADirectoryError, ValueError, LookupError, TypeError, AttributeError):
            return None
        except OSError as error:
            raise CacheError(f"{pointer}: the cache entry cannot be read: {error.strerror}.") from error
        return Entry(key, data, size, signature, carried)

    def present(self) -> set[str]:
        """List the keys of all entries whose pointer and data are both there."""
        pointers: set[str] = set()
        data: set[str] = set()
        with contextlib.suppress(OSError), os.scandir(self.path) as homes:
            for home in homes:
                if len(home.name) != 2:
                    continue
                with contextlib.suppress(OSError), os.scandir(home.path) as listing:
                    for item in listing:
                        key, _, rest = item.name.partition(".")
                        (pointers if rest == "json" else data).add(key)
        return pointers & data

    def publish(
        self,
        key: str,
        suffix: str,
        signature: Signature | None,
        about: dict[str, Any],
        write: Callable[[str], None],
    ) -> Entry:
        """Write an entry and make it visible.

        Parameters
        ----------
        key : str
            Its name.
        suffix : str
            Suffix of the data, such as ``".tif"``.
        signature : Signature or None
            What the source looks like.
        about : dict
            Further facts for people who look into the folder.
        write : callable
            Writes and checks the data, a file or a folder, at the path that it is given.

        Returns
        -------
        Entry
            What was written, or the same from another writer that was done first.

        Raises
        ------
        CacheError
            If the folder cannot be written.
        """
        token = secrets.token_hex(8)
        name = f"{key}.{token}{suffix}"
        unfinished = os.path.join(self._unfinished, name)
        home = os.path.join(self.path, key[:2])
        try:
            os.makedirs(self._unfinished, exist_ok=True)
            os.makedirs(home, exist_ok=True)
            write(unfinished)
            sizes = _synced_sizes(unfinished)
            size = sum(sizes.values())
            document = {
                "data": name,
                "size": size,
                **({"files": sizes} if os.path.isdir(unfinished) else {}),
                "signature": None if signature is None else [signature.size, signature.mtime_ns],
                **about,
            }
            pointer = f"{unfinished}.json"
            with open(pointer, "w", encoding="utf-8") as file:
                json.dump(document, file)
            _sync_file(pointer)
            current = self.look_up(key)
            if current is not None and current.signature == signature:
                return current  # another writer was faster, and readers may be about to open its entry
            data = os.path.join(home, name)
            os.replace(unfinished, data)
            os.replace(pointer, self.pointer(key))
            _sync_folder(home)
        except SubregionError:
            raise  # the source failed, not the cache
        except OSError as error:
            raise self._cannot_write(error) from error
        finally:
            self._remove_unfinished(name)
        self._remove_older(key, name)
        return Entry(key, data, size, signature, Carried.from_document(document))

    def _cannot_write(self, error: OSError) -> CacheError:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            way_out = "Free some space, or choose a workdir on another disk."
        else:
            way_out = "Choose a workdir that can be written, or backend=None to read the sources as they are."
        return CacheError(f"{self.path}: the cache cannot be written: {error.strerror or error}. {way_out}")

    def discard(self, entry: Entry) -> None:
        """Take away an entry that turned out to be damaged, unless it was replaced meanwhile."""
        current = self.look_up(entry.key)
        if current is not None and current.data == entry.data:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.pointer(entry.key))
        with contextlib.suppress(FileNotFoundError):
            self._take_away(entry.data)

    def _take_away(self, data: str) -> None:
        """Remove the data of an entry; a folder goes all at once, so that nobody finds a part of it."""
        if os.path.isdir(data) and not os.path.islink(data):
            gone = os.path.join(self._unfinished, os.path.basename(data))
            os.makedirs(self._unfinished, exist_ok=True)
            os.replace(data, gone)
            data = gone
        _remove(data)

    def _remove_unfinished(self, name: str) -> None:
        with contextlib.suppress(OSError), os.scandir(self._unfinished) as listing:
            for item in listing:
                if item.name.startswith(name):
                    with contextlib.suppress(OSError):
                        _remove(item.path)

    def _remove_older(self, key: str, kept: str = "") -> None:
        """Remove data that no pointer names any more: of a rebuilt entry, or of a writer that was killed."""
        current = self.look_up(key)  # which may be newer than the one to be kept
        spared = {f"{key}.json", kept, "" if current is None else os.path.basename(current.data)}
        with contextlib.suppress(OSError), os.scandir(os.path.join(self.path, key[:2])) as listing:
            for item in listing:
                if item.name.startswith(f"{key}.") and item.name not in spared:
                    with contextlib.suppress(OSError):  # another host was faster
                        self._take_away(item.path)

    @contextlib.contextmanager
    def turn(self, key: str, done: Callable[[], bool]) -> Iterator[None]:
        """Wait for the right to convert one entry.

        The lock saves work and nothing else: where it does not function, or its owner hangs, two
        processes convert the same image, and the entry of the first that is done stays.

        Parameters
        ----------
        key : str
            The entry.
        done : callable
            Whether waiting has become needless, because the owner finished.
        """
        try:
            os.makedirs(self._locks, exist_ok=True)
        except OSError as error:
            raise self._cannot_write(error) from error
        lock = filelock.FileLock(os.path.join(self._locks, f"{key}.lock"), thread_local=False)
        held = False
        last_sign, last_seen = time.monotonic(), self._progress(key)
        pause = 0.01
        while not held:
            try:
                lock.acquire(timeout=0)
                held = True
            except filelock.Timeout:
                if done():
                    break
                sign = self._progress(key)
                if sign != last_seen:
                    last_sign, last_seen = time.monotonic(), sign
                elif time.monotonic() - last_sign > PATIENCE:
                    break
                time.sleep(pause)
                pause = min(0.5, pause * 1.5)
            except (OSError, NotImplementedError):
                break  # no locks on this file system
        try:
            yield
        finally:
            if held:
                with contextlib.suppress(OSError):
                    os.unlink(lock.lock_file)
                lock.release()

    def _progress(self, key: str) -> tuple[tuple[str, int, int], ...]:
        """Tell the state of what somebody is writing for this entry."""
        signs = []
        with contextlib.suppress(OSError), os.scandir(self._unfinished) as listing:
            for item in listing:
                if item.name.startswith(key):
                    with contextlib.suppress(OSError):
                        sizes = _sizes(item.path)
                        signs.append((item.name, sum(sizes.values()), item.stat().st_mtime_ns))
        return tuple(sorted(signs))

    def sweep(self) -> None:
        """Remove what killed writers left behind, and nothing that a living one holds."""
        leftovers: dict[str, list[str]] = {}
        for folder in (self._unfinished, self._locks):
            with contextlib.suppress(OSError), os.scandir(folder) as listing:
                for item in listing:
                    found = _KEY.match(item.name)
                    if found is not None:
                        leftovers.setdefault(found[0], []).append(item.path)
        for key, paths in leftovers.items():
            lock = filelock.FileLock(os.path.join(self._locks, f"{key}.lock"), thread_local=False)
            try:
                lock.acquire(timeout=0)
            except (filelock.Timeout, OSError, NotImplementedError):
                paths = [path for path in paths if _older_than(path, ABANDONED)]
            for path in paths:
                with contextlib.suppress(OSError):
                    _remove(path)
            if lock.is_locked:
                self._remove_older(key)
                with contextlib.suppress(OSError):
                    os.unlink(lock.lock_file)
                lock.release()


def _older_than(path: str, seconds: float) -> bool:
    try:
        return time.time() - os.stat(path).st_mtime > seconds
    except OSError:
        return False


def _has_files(folder: str, sizes: dict[str, int]) -> bool:
    """Whether a folder holds all these files, in these sizes."""
    for name, size in sizes.items():
        if not _INNER_NAME.fullmatch(name) or os.stat(os.path.join(folder, name)).st_size != size:
            return False
    return True


def _files_below(path: str) -> Iterator[str]:
    for folder, _, names in os.walk(path):
        yield from (os.path.join(folder, name) for name in names)


def _sizes(path: str) -> dict[str, int]:
    """Return the size of each file in a folder, by its name there; of a file, its own."""
    if not os.path.isdir(path):
        return {"": os.stat(path).st_size}
    return {
        os.path.relpath(inner, path).replace(os.sep, "/"): os.stat(inner).st_size
        for inner in _files_below(path)
    }


def _synced_sizes(path: str) -> dict[str, int]:
    """Bring a file, or all that is in a folder, to the disk, and return the sizes."""
    if not os.path.isdir(path):
        _sync_file(path)
    for folder, _, names in os.walk(path, topdown=False):
        for name in names:
            _sync_file(os.path.join(folder, name))
        _sync_folder(folder)
    return _sizes(path)


def _sync_file(path: str) -> None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        os.unlink(path)


def _sync_folder(path: str) -> None:
    with contextlib.suppress(OSError):  # some file systems do not sync folders
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
