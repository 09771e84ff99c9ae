"""Garbage collection: entries that are too old, too many, or of sources that are gone.

Only what we wrote is removed: an entry has a manifest with its checksum, and its data a name that it names.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from subregion.cache.checksums import SUFFIX
from subregion.cache.disk import last_change
from subregion.cache.entries import ABANDONED, Folder
from subregion.cache.leases import Leases, book_of, name_of_this_process
from subregion.cache.ledger import Ledger
from subregion.cache.limits import Age, Size, parse_age, parse_size
from subregion.cache.manifest import KEY_DIGITS, MAX_MANIFEST, claims_of
from subregion.cache.removal import put_back, restore_abandoned, set_aside
from subregion.cache.scan import Found, claims_by, manifest_by, scan
from subregion.errors import SubregionError, some_of
from subregion.io.descriptors import read_regular
from subregion.notices import LOGGER

#: A folder that has a limit and is full is emptied down to this share of it, so that it has not to be done
#: each time.
ROOM = 0.9
#: If a limit cannot be kept because all is in use, the next look waits so many times as long as this took.
PAUSE = 10
#: So many manifests are set aside at a time.
BATCH = 64


@dataclass(frozen=True, slots=True)
class GcReport:
    """What was removed from a cache folder, and what was left.

    Parameters
    ----------
    path : str
        The folder.
    removed : int
        Entries that were removed, or would be in a dry run.
    removed_bytes : int
        Their size, with checksums and manifests.
    kept : int
        Entries that are left.
    kept_bytes : int
        Size of all that is left.
    in_use : int
        How many of the kept entries a living process reads.
    reasons : dict of str to int
        How many were removed why: ``"older_than"``, ``"orphaned"``, ``"max_size"``, and ``"leftover"`` for
        data without a manifest.
    left_alone : tuple of str
        What is not as we leave it, or could not be removed.
    dry_run : bool
        Whether nothing was changed.
    """

    path: str
    removed: int
    removed_bytes: int
    kept: int
    kept_bytes: int
    in_use: int
    reasons: dict[str, int]
    left_alone: tuple[str, ...]
    dry_run: bool

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as plain values, for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        verb = "would remove" if self.dry_run else "removed"
        why = ", ".join(f"{number} {_WORDS[reason]}" for reason, number in self.reasons.items())
        lines = [
            f"{self.path}: {verb} {self.removed} copies, {self.removed_bytes / 1e6:,.1f} MB"
            + (f" ({why})" if why else ""),
            f"  kept: {self.kept} copies, {self.kept_bytes / 1e6:,.1f} MB; in use: {self.in_use}",
        ]
        if self.left_alone:
            lines.append(f"  left alone: {len(self.left_alone)}")
            lines += some_of(self.left_alone, "    ")
        return "\n".join(lines)


_WORDS = {
    "older_than": "not used for so long",
    "orphaned": "whose source is gone",
    "max_size": "used least recently",
    "leftover": "left over",
}


def collect(
    folder: Folder,
    *,
    max_size: Size = None,
    older_than: Age = None,
    orphaned: bool = False,
    dry_run: bool = False,
) -> GcReport:
    """Remove entries of a cache folder that nobody reads.

    Parameters
    ----------
    folder : Folder
        The cache folder.
    max_size : int, str or None
        Remove those that were used least recently until no more than so many bytes are left.
    older_than : float, str, timedelta or None
        Remove those that were not opened for so long (seconds, or ``"30d"``).
    orphaned : bool
        Remove those whose source is gone, while the folder that held it is there and not empty.
    dry_run : bool
        Only tell what would be removed.

    Returns
    -------
    GcReport
        What was done. It can be printed.

    Raises
    ------
    ConfigError
        If a limit is none.
    CacheError
        If the folder cannot be read.
    """
    most, oldest = parse_size(max_size), parse_age(older_than)
    if dry_run:
        return _Collection(folder, True).run(most, oldest, orphaned)
    if os.path.isdir(folder.path):
        folder.sweep()
        with folder.alone():
            return _Collection(folder, False).run(most, oldest, orphaned)
    return _Collection(folder, True).run(most, oldest, orphaned)


@contextlib.contextmanager
def room_for(folder: Folder, nbytes: int, max_size: int | None) -> Iterator[None]:
    """Make room for an entry that is made visible inside, and account for it.

    Parameters
    ----------
    folder : Folder
        The cache folder.
    nbytes : int
        Bytes of the entry.
    max_size : int or None
        How many bytes all entries may have; None for any number.
    """
    ledger = Ledger(folder.path)
    if max_size is None:
        yield
        ledger.add(nbytes)
        return
    with folder.alone():
        known = ledger.read()
        if known is None or (known[0] + nbytes > max_size and known[1]):
            with contextlib.suppress(SubregionError, OSError):  # a conversion does not fail for that
                _Collection(folder, False).make_room(nbytes, max_size)
        yield
        ledger.add(nbytes)


@dataclass(frozen=True, slots=True)
class _Removable:
    """An entry that may be removed: its manifest as it was read, and the names of its data."""

    found: Found
    manifest: bytes
    names: list[str]
    nbytes: int


class _Collection:
    """One pass over a cache folder."""

    def __init__(self, folder: Folder, dry: bool) -> None:
        self._folder, self._dry = folder, dry
        self._begin = time.monotonic()
        self._leases = Leases(folder.path)
        self._owner = name_of_this_process()
        self._reasons: Counter[str] = Counter()
        self._freed = 0
        self._left: list[str] = []
        if not dry:
            restore_abandoned(folder.unfinished, folder.manifest_path)
        book_of(folder.path).settle()
        self._leases.read(tidy=not dry)
        found = list(scan(folder, self._left))
        self._entries = {each.key: each for each in found if each.manifest >= 0}
        self._total = sum(each.nbytes for each in found)
        self._remove_leftovers(each for each in found if each.manifest < 0 or len(each.data) > 1)

    def run(self, most: int | None, oldest: float | None, orphaned: bool) -> GcReport:
        now = time.time()
        if oldest is not None:
            self._remove("older_than", [e for e in self._entries.values() if now - e.used > oldest])
        if orphaned:
            places: dict[str, bool] = {}
            self._remove("orphaned", [e for e in self._entries.values() if self._is_orphan(e, places)])
        if most is not None:
            self._shrink(most)
        ledger = Ledger(self._folder.path)
        if not self._dry and ledger.is_there:
            ledger.start(self._total)
        names = {name[:KEY_DIGITS] for name in self._leases.names}
        return GcReport(
            self._folder.path,
            sum(self._reasons.values()),
            self._freed,
            len(self._entries),
            self._total,
            len(names & self._entries.keys()),
            dict(self._reasons),
            tuple(self._left),
            self._dry,
        )

    def make_room(self, nbytes: int, max_size: int) -> None:
        """Make room for an entry, if there is not enough."""
        pause = 0.0
        if self._total + nbytes > max_size:
            most = max(0, int(ROOM * max_size) - nbytes)
            self._shrink(most)
            if self._total > most:  # what is left is in use
                pause = PAUSE * (time.monotonic() - self._begin)
        Ledger(self._folder.path).start(self._total, pause)

    def _is_orphan(self, found: Found, places: dict[str, bool]) -> bool:
        """Whether the source of an entry is gone, and not the disk that it was on."""
        claims = claims_by(found)
        source = None if claims is None else claims.get("source")
        try:
            if not isinstance(source, str) or not os.path.isabs(source) or os.path.lexists(source):
                return False
        except ValueError:
            return False
        place = os.path.dirname(source)
        if place not in places:
            try:
                with os.scandir(place) as listing:
                    places[place] = next(listing, None) is not None  # a disk is mounted on an empty folder
            except OSError:
                places[place] = False
        return places[place]

    def _shrink(self, most: int) -> None:
        """Remove those that were used least recently."""
        queue = deque(sorted(self._entries.values(), key=lambda each: (each.used, each.key)))
        while self._total > most and queue:
            batch: list[Found] = []
            left = self._total
            while queue and left > most and len(batch) < BATCH:
                batch.append(queue.popleft())
                left -= batch[-1].nbytes
            self._remove("max_size", batch)

    def _remove(self, reason: str, found: list[Found]) -> None:
        for start in range(0, len(found), BATCH):
            wanted = (self._removable(each) for each in found[start : start + BATCH])
            chosen = [each for each in wanted if each is not None]
            for each in chosen if self._dry else self._removed(chosen):
                del self._entries[each.found.key]
                self._count(reason, each.nbytes)
                if not self._dry and LOGGER.isEnabledFor(logging.INFO):
                    self._log(reason, each)

    def _log(self, reason: str, gone: _Removable) -> None:
        claims = claims_of(gone.manifest, gone.found.key) or {}
        source = claims.get("source", "an unknown source")
        path = os.path.join(gone.found.home, gone.names[0])
        LOGGER.info("evicted %s (%d bytes), the copy of %s: %s", path, gone.nbytes, source, _WORDS[reason])

    def _removable(self, found: Found) -> _Removable | None:
        """Look whether an entry is ours and nobody reads it; None if not."""
        try:
            manifest = manifest_by(found)
        except OSError:
            return None
        claims = claims_of(manifest, found.key)
        name = None if claims is None else str(claims["data"])
        names = [name] if name is not None else [f"{found.key}.{rest}" for rest in found.data]
        parts = [found.data[each[KEY_DIGITS + 1 :]] for each in names if each[KEY_DIGITS + 1 :] in found.data]
        if any(each in self._leases for each in names) or any(part.kind == "link" for part in parts):
            return None
        if name is None and not self._is_abandoned(found, [f"{found.key}.json", *names]):
            return None
        return _Removable(found, manifest, names, found.manifest + sum(part.nbytes for part in parts))

    def _removed(self, chosen: list[_Removable]) -> list[_Removable]:
        """Remove entries, and return those that are gone; see `removal` for why in this order."""
        aside: list[tuple[_Removable, str]] = []
        for each in chosen:
            manifest = self._folder.manifest_path(each.found.key)
            try:
                place = set_aside(manifest, each.found.key, self._folder.unfinished, self._owner)
            except FileNotFoundError:
                continue  # another was faster
            except OSError as error:
                self._left.append(f"{manifest}: cannot be removed: {error.strerror or error}")
                continue
            if _holds(place, each.manifest):
                aside.append((each, place))
            else:
                put_back(place, manifest)  # it was made anew a moment ago
        self._leases.read()
        done = []
        for each, place in aside:
            used = any(name in self._leases for name in each.names)
            if used or not self._take_away(each.found, each.names):
                put_back(place, self._folder.manifest_path(each.found.key))
                continue
            with contextlib.suppress(OSError):
                os.unlink(place)
            done.append(each)
        return done

    def _take_away(self, found: Found, names: Iterable[str]) -> bool:
        for name in names:
            path = os.path.join(found.home, name)
            try:
                self._folder.take_away(path)
            except FileNotFoundError:
                pass
            except OSError as error:
                self._left.append(f"{path}: cannot be removed: {error.strerror or error}")
                return False
        return True

    def _remove_leftovers(self, found: Iterable[Found]) -> None:
        """Remove data that no manifest names, if nobody wrote to them for long."""
        for each in found:
            claims = claims_by(each)
            if each.manifest >= 0 and claims is None:
                continue  # which of them are the data is not known
            named = None if claims is None else claims["data"]
            for rest, part in list(each.data.items()):
                name = f"{each.key}.{rest}"
                if name == named or part.kind == "link" or name in self._leases:
                    continue
                if self._is_abandoned(each, [name, name + SUFFIX]) and (
                    self._dry or self._take_away(each, [name])
                ):
                    del each.data[rest]
                    self._count("leftover", part.nbytes)

    def _is_abandoned(self, found: Found, names: list[str]) -> bool:
        changes = []
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                changes.append(last_change(os.path.join(found.home, name)))
        now = time.time()
        return all(abs(now - change) > ABANDONED for change in changes) and (
            self._dry or not self._folder.is_converted(found.key)
        )

    def _count(self, reason: str, nbytes: int) -> None:
        self._reasons[reason] += 1
        self._freed += nbytes
        self._total -= nbytes


def _holds(path: str, expected: bytes) -> bool:
    try:
        return read_regular(path, MAX_MANIFEST) == expected
    except OSError:
        return False
