"""What is in a cache folder: how much of what, how old, of which sources, and what is not finished."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from subregion.cache.disk import last_change, sizes_of
from subregion.cache.entries import Folder
from subregion.cache.manifest import Entry, NoEntryError
from subregion.cache.seen import look_at
from subregion.errors import SubregionError, some_of


@dataclass(frozen=True, slots=True)
class Stored:
    """The copies of one format.

    Parameters
    ----------
    entries : int
        How many there are.
    nbytes : int
        Their size, without checksums and manifests.
    """

    entries: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class Unfinished:
    """What is being written, or was left behind.

    Parameters
    ----------
    path : str
        The file or folder.
    nbytes : int
        Its size.
    seconds : float
        For how long nothing was written to it.
    owner : str or None
        Which process holds the right to write it; None if nobody does: it is removed by the next `prepare`.
    """

    path: str
    nbytes: int
    seconds: float
    owner: str | None


@dataclass(frozen=True, slots=True)
class Inventory:
    """What is in a cache folder.

    Parameters
    ----------
    path : str
        The folder.
    entries : int
        Copies that are whole.
    nbytes : int
        Their size.
    formats : dict of str to Stored
        How much of it is of which backend.
    oldest, newest : float or None
        How long ago the first and the last of them was made, in seconds.
    broken : tuple of str
        What is wrong with others: `verify` tells more.
    gone, changed : tuple of str
        Sources of copies that are not there any more, and those that are others now.
    unfinished : tuple of Unfinished
        What is being written, or was left behind.
    """

    path: str
    entries: int
    nbytes: int
    formats: dict[str, Stored]
    oldest: float | None
    newest: float | None
    broken: tuple[str, ...]
    gone: tuple[str, ...]
    changed: tuple[str, ...]
    unfinished: tuple[Unfinished, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as plain values, for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        lines = [f"{self.path}: {self.entries} copies, {_size(self.nbytes)}"]
        lines += [
            f"  {kind}: {stored.entries} copies, {_size(stored.nbytes)}"
            for kind, stored in self.formats.items()
        ]
        if self.oldest is not None and self.newest is not None:
            lines.append(f"  made {_age(self.oldest)} to {_age(self.newest)} ago")
        for name, found in (
            ("not whole", self.broken),
            ("sources that are gone", self.gone),
            ("sources that were changed since", self.changed),
            ("unfinished", [_line(each) for each in self.unfinished]),
        ):
            if found:
                lines.append(f"  {name}: {len(found)}")
                lines += some_of(found, "    ")
        return "\n".join(lines)


def inventory(folder: Folder, keys: Iterable[str]) -> Inventory:
    """Look at the manifests of entries and at their sources; no data are read.

    Parameters
    ----------
    folder : Folder
        The cache folder.
    keys : iterable of str
        Which entries.

    Raises
    ------
    CacheError
        If the folder cannot be read.
    """
    formats: dict[str, Stored] = {}
    ages: list[float] = []
    broken: list[str] = []
    gone: list[str] = []
    changed: list[str] = []
    now = time.time()
    for key in keys:
        try:
            entry = folder.inspect(key)
            ages.append(now - os.stat(folder.manifest_path(key)).st_mtime)
        except NoEntryError as error:
            broken.append(str(error))
            continue
        except FileNotFoundError:
            continue  # it was removed at this moment
        before = formats.get(entry.origin.recipe.kind, Stored(0, 0))
        formats[entry.origin.recipe.kind] = Stored(before.entries + 1, before.nbytes + entry.size)
        if not os.path.exists(entry.origin.source):
            gone.append(entry.origin.source)
        elif _is_changed(entry):
            changed.append(entry.origin.source)
    return Inventory(
        folder.path,
        sum(stored.entries for stored in formats.values()),
        sum(stored.nbytes for stored in formats.values()),
        dict(sorted(formats.items())),
        max(ages, default=None),
        min(ages, default=None),
        tuple(broken),
        tuple(sorted(gone)),
        tuple(sorted(changed)),
        tuple(_unfinished(folder, now)),
    )


def _is_changed(entry: Entry) -> bool:
    """Whether the source looks different now, where an entry is known by what its source looks like."""
    if entry.signature is None:
        return False
    try:
        return not entry.fits(look_at(entry.origin.source))
    except SubregionError:
        return True


def _unfinished(folder: Folder, now: float) -> Iterable[Unfinished]:
    for path in folder.unfinished_paths():
        try:
            nbytes, changed = sum(sizes_of(path).values()), last_change(path)
        except OSError:
            continue  # it was finished at this moment
        yield Unfinished(path, nbytes, now - changed, folder.owner_of(os.path.basename(path)))


def _line(each: Unfinished) -> str:
    owner = f"written by {each.owner}" if each.owner else "nobody's: the next prepare removes it"
    return f"{each.path}: {_size(each.nbytes)}, last written {_age(each.seconds)} ago, {owner}"


def _size(nbytes: float) -> str:
    return f"{nbytes / 1e9:,.2f} GB" if nbytes >= 1e9 else f"{nbytes / 1e6:,.1f} MB"


def _age(seconds: float) -> str:
    for count, name in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * count:
            return f"{seconds / count:.0f} {name}"
    return f"{max(0.0, seconds):.0f} seconds"
