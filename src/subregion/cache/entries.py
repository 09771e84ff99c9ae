"""Entries on disk: written beside their final names, checked, synced, and only then made visible.

An entry is its data, a file or a folder of files, the checksums of them, and a *manifest*. The data carry a
token in their name that is never used twice, and so do the checksums beside them; the manifest ``<key>.json``
names both and says what they were made from. A reader starts at the manifest, so renaming it is the moment at
which an entry exists, and a rebuilt entry never mixes with an older one.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from subregion.cache.checksums import SUFFIX
from subregion.cache.disk import last_change, remove, sizes_of
from subregion.cache.leases import Leases
from subregion.cache.locks import PROBE, Lock
from subregion.cache.manifest import KEY_DIGITS, Entry, NoEntryError, read_manifest, still_names
from subregion.cache.removal import restore_abandoned
from subregion.errors import CacheError, SubregionError, descriptor_limit_error

#: Leftovers on file systems without locks are removed after this long (seconds).
ABANDONED = 24 * 3600.0

#: The lock of whoever removes entries.
_REMOVING = "gc"
_KEY = re.compile(rf"[0-9a-f]{{{KEY_DIGITS}}}")
_MANIFEST = re.compile(rf"[0-9a-f]{{{KEY_DIGITS}}}\.json")
#: What opening a manifest says if there is none that we wrote: nothing, or a folder, pipe or ring of links.
_NO_MANIFEST = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENXIO, errno.ELOOP)


@dataclass(frozen=True, slots=True)
class Folder:
    """A cache folder.

    Parameters
    ----------
    path : str
        Absolute path; made when the first entry is.
    """

    path: str

    def manifest_path(self, key: str) -> str:
        """Return the path of the manifest, the file that says where the data of an entry are."""
        return os.path.join(self.path, key[:2], f"{key}.json")

    def is_named(self, entry: Entry) -> bool:
        """Whether the entry is still there that was looked up a moment ago.

        Raises
        ------
        CacheError
            If the folder cannot be read.
        """
        path = self.manifest_path(entry.key)
        try:
            return still_names(path, os.path.basename(entry.data))
        except OSError as error:
            raise self.cannot_read(path, error) from error

    @property
    def unfinished(self) -> str:
        """Where entries are written, and where they go when they are removed."""
        return os.path.join(self.path, "unfinished")

    @property
    def _locks(self) -> str:
        return os.path.join(self.path, "locks")

    def look_up(self, key: str) -> Entry | None:
        """Return the entry, or None if there is none that is whole.

        Raises
        ------
        CacheError
            If the folder cannot be read.
        """
        try:
            return self.inspect(key)
        except NoEntryError:
            return None

    def inspect(self, key: str) -> Entry:
        """Return the entry, or say why there is none that is whole.

        Raises
        ------
        NoEntryError
            Saying what is missing or malformed.
        CacheError
            If the folder cannot be read.
        """
        path = self.manifest_path(key)
        for again in (True, False):
            try:
                return read_manifest(path, key)
            except OSError as error:
                if error.errno in _NO_MANIFEST:
                    raise NoEntryError(f"{path}: there is no such manifest") from error
                if error.errno != errno.ESTALE or not again:  # replaced on its server at this moment
                    raise self.cannot_read(path, error) from error
        raise AssertionError("unreachable")

    def keys(self) -> list[str]:
        """List the names of all entries that have a manifest, sound or not.

        Raises
        ------
        CacheError
            If the folder is there and cannot be read.
        """
        found: list[str] = []
        try:
            with os.scandir(self.path) as listing:
                homes = [home.path for home in listing if len(home.name) == 2 and not home.is_symlink()]
            for home in homes:
                with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(home) as listing:
                    found += [
                        item.name[:KEY_DIGITS]
                        for item in listing
                        if _MANIFEST.fullmatch(item.name) is not None
                    ]
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise self.cannot_read(self.path, error) from error
        return sorted(found)

    def present(self) -> dict[str, list[str]]:
        """List the data that are there of each entry that has a manifest, by its key."""
        manifests: set[str] = set()
        data: dict[str, list[str]] = {}
        with contextlib.suppress(OSError), os.scandir(self.path) as homes:
            for home in homes:
                if len(home.name) != 2:
                    continue
                with contextlib.suppress(OSError), os.scandir(home.path) as listing:
                    for item in listing:
                        key, _, rest = item.name.partition(".")
                        if rest == "json":
                            manifests.add(key)
                        else:
                            data.setdefault(key, []).append(rest)
        return {key: sorted(data[key]) for key in manifests & data.keys()}

    def cannot_write(self, error: OSError) -> SubregionError:
        """Return the error for what the system said when something here was written."""
        if error.errno in (errno.EMFILE, errno.ENFILE):
            return descriptor_limit_error(f"{self.path}: the cache cannot be written")
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            way_out = "Free some space, or choose a workdir on another disk."
        elif error.errno == errno.ENAMETOOLONG:
            way_out = "Choose a workdir with a shorter path."
        else:
            way_out = "Choose a workdir that can be written, or backend=None to read the sources as they are."
        return CacheError(f"{self.path}: the cache cannot be written: {error.strerror or error}. {way_out}")

    def cannot_read(self, path: str, error: OSError) -> SubregionError:
        """Return the error for what the system said when something here was read."""
        if error.errno in (errno.EMFILE, errno.ENFILE):
            return descriptor_limit_error(path)
        if error.errno == errno.ENAMETOOLONG:
            return self.cannot_write(error)
        return CacheError(
            f"{path}: the cache cannot be read: {error.strerror or error}. Give this user the right to read "
            f"it, choose another workdir, or backend=None to read the sources as they are."
        )

    def discard(self, entry: Entry) -> None:
        """Take away an entry that turned out to be damaged, unless it was replaced meanwhile.

        Raises
        ------
        CacheError
            If the folder cannot be written.
        """
        current = self.look_up(entry.key)
        if current is not None and current.data == entry.data:
            try:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self.manifest_path(entry.key))
            except OSError as error:
                raise CacheError(
                    f"{entry.data}: this copy is damaged, and cannot be removed: {error.strerror or error}. "
                    f"Make the folder writable so that it can be made anew, or choose another workdir."
                ) from error
        try:
            self.take_away(entry.data)
        except OSError:  # nobody finds them any more
            self._note_leftover(entry.key)

    def take_away(self, data: str) -> None:
        """Remove the data of an entry, and their checksums; of a folder nobody ever finds a part."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(data + SUFFIX)
        if os.path.isdir(data) and not os.path.islink(data):
            gone = os.path.join(self.unfinished, os.path.basename(data))
            os.makedirs(self.unfinished, exist_ok=True)
            os.replace(data, gone)
            data = gone
        remove(data)

    def remove_unfinished(self, name: str) -> None:
        """Remove what is left of an entry that was being written."""
        with contextlib.suppress(OSError), os.scandir(self.unfinished) as listing:
            for item in listing:
                if item.name.startswith(name):
                    with contextlib.suppress(OSError):
                        remove(item.path)

    def remove_older(self, key: str, kept: str = "") -> None:
        """Remove data that no manifest names any more: of a rebuilt entry, or of a writer that was killed."""
        try:
            current = self.look_up(key)  # which may be newer than the one to be kept
        except SubregionError:
            return  # what it names is not known
        data = {kept} if current is None else {kept, os.path.basename(current.data)}
        spared = {f"{key}.json", *data, *(name + SUFFIX for name in data)}
        with contextlib.suppress(OSError), os.scandir(os.path.join(self.path, key[:2])) as listing:
            for item in listing:
                if item.name.startswith(f"{key}.") and item.name not in spared:
                    try:
                        self.take_away(item.path)
                    except FileNotFoundError:
                        pass  # another was faster
                    except OSError:
                        self._note_leftover(key)

    def _note_leftover(self, key: str) -> None:
        """Have the next sweep look for data of an entry that could not be removed now."""
        with contextlib.suppress(OSError):
            open(os.path.join(self.unfinished, f"{key}.leftover"), "wb").close()

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Wait for the right to remove entries, and to add some to a folder that has a limit.

        As with `turn`, all goes well without it, too: two may remove at once, and a limit be missed a little.
        """
        with contextlib.suppress(OSError):
            os.makedirs(self._locks, exist_ok=True)
        with self._lock(_REMOVING).waited_for(lambda: False, lambda: None, (0.001, 0.05)):
            yield

    def is_converted(self, key: str) -> bool:
        """Whether somebody is making this entry at this moment."""
        return self.owner_of(key) is not None

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
            raise self.cannot_write(error) from error
        with self._lock(key).waited_for(done, lambda: self._progress(key), (0.01, 0.5)):
            yield

    def _lock(self, name: str) -> Lock:
        return Lock(os.path.join(self._locks, f"{name}.lock"))

    def _progress(self, key: str) -> tuple[tuple[str, int, int], ...]:
        """Tell the state of what somebody is writing for this entry."""
        signs = []
        with contextlib.suppress(OSError), os.scandir(self.unfinished) as listing:
            for item in listing:
                if item.name.startswith(key):
                    with contextlib.suppress(OSError):
                        sizes = sizes_of(item.path)
                        signs.append((item.name, sum(sizes.values()), item.stat().st_mtime_ns))
        return tuple(sorted(signs))

    def unfinished_paths(self) -> list[str]:
        """List what is being written, or was left behind."""
        try:
            with os.scandir(self.unfinished) as listing:
                return sorted(item.path for item in listing if _KEY.match(item.name))
        except OSError:
            return []

    def owner_of(self, name: str) -> str | None:
        """Return which process holds the right to write an entry; None if nobody does.

        Parameters
        ----------
        name : str
            That of the entry, or of what is being written for it.
        """
        return self._lock(name[:KEY_DIGITS]).owner

    def sweep(self) -> None:
        """Remove what killed writers left behind, and nothing that a living one holds."""
        leftovers: dict[str, list[str]] = {}
        for folder in (self.unfinished, self._locks):
            with contextlib.suppress(OSError), os.scandir(folder) as listing:
                for item in listing:
                    found = _KEY.match(item.name)
                    if found is not None:
                        leftovers.setdefault(found[0], []).append(item.path)
                    elif item.name.startswith(PROBE):
                        with contextlib.suppress(OSError):
                            os.unlink(item.path)
                    elif item.name == f"{_REMOVING}.lock" and (lock := self._lock(_REMOVING)).acquire():
                        lock.release()
        restore_abandoned(self.unfinished, self.manifest_path)
        Leases(self.path).read()
        if leftovers:
            with contextlib.suppress(OSError):
                os.makedirs(self._locks, exist_ok=True)
        for key, paths in leftovers.items():
            lock = self._lock(key)
            held = lock.acquire()
            if held is False and lock.tells_the_dead:
                continue  # its owner lives
            # Without locks of the system, the file of a dead owner looks like that of a living one.
            if not held and not _abandoned(paths):
                continue
            for path in paths:
                with contextlib.suppress(OSError):
                    remove(path)
            self.remove_older(key)
            lock.release()


def _abandoned(paths: list[str]) -> bool:
    """Whether nobody wrote to any of these files for long, by a clock that may have been set since."""
    try:
        return all(abs(time.time() - last_change(path)) > ABANDONED for path in paths)
    except OSError:
        return False
