"""Assets that are open for reading, and what is kept of them when they are closed."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from subregion.cache.seen import Watched, WatchedFile
from subregion.io.pool import Index, Indexed
from subregion.io.source import ClosedFile

if TYPE_CHECKING:
    from subregion.cache.backend import Recipe
    from subregion.cache.leases import Book
    from subregion.cache.manifest import Entry
    from subregion.formats.raster import Raster

#: An entry that is opened counts as used then, up to so many seconds.
MOMENT = 60.0
#: About how many bytes the objects take that an asset is made of, beside its raster.
_ASSET_NBYTES = 2000


@dataclass(frozen=True, slots=True)
class OpenAsset(Indexed):
    """An asset that is open for reading.

    Parameters
    ----------
    raster : Raster
        The source itself, or its converted copy.
    entry : Entry or None
        The copy; None if the source is read in place.
    watched : WatchedFile, WatchedFolder or None
        What the source looked like before it was opened; None if its identity says all.
    recipe : Recipe
        How it is stored.
    used : float
        When that it was used was noted last, by the clock that never goes back.
    source : Index or None
        That of the same, from which it was opened again.
    """

    raster: Raster
    entry: Entry | None
    watched: Watched | None
    recipe: Recipe
    used: float = field(default=0.0, repr=False, compare=False)
    source: Index | None = field(default=None, repr=False, compare=False)

    def index(self) -> Index | None:
        """Return what to keep of it when it is closed, without any of its files; None for nothing."""
        known, now = self.source, self.raster.__dict__
        if known is not None and ("levels" in now) == ("levels" in known.value.raster.__dict__):
            return known
        # Of a folder, no file alone tells a change; and without any, only what it is known as.
        if not isinstance(self.watched, WatchedFile):
            return None
        closed = self.raster.closed()
        if closed is None:
            return None
        raster, nbytes = closed
        kept = OpenAsset(raster, self.entry, self.watched, self.recipe, self.used)
        return Index(kept, nbytes + _nbytes(self))


def opened_again(index: Index, book: Book) -> OpenAsset | None:
    """Open an asset by what was kept of it; None if it is not there any more as it was.

    Parameters
    ----------
    index : Index
        What `OpenAsset.index` gave.
    book : Book
        Where it is written down that an entry is read.
    """
    known: OpenAsset = index.value
    closed, entry, watched = known.raster.file, known.entry, known.watched
    if watched is None or not watched.holds() or not isinstance(closed, ClosedFile):
        return None
    # Whoever removes entries may have been faster: then it is not there, or stays as long as it is open.
    lease = None if entry is None else book.hold(os.path.basename(entry.data), entry.size)
    file = closed.opened()
    raster = None if file is None else known.raster.on(file, lease)
    if raster is None:
        return None
    if entry is None or time.monotonic() - known.used < MOMENT:
        return OpenAsset(raster, entry, watched, known.recipe, known.used, index)
    note_use(entry)
    return OpenAsset(raster, entry, watched, known.recipe, time.monotonic())


def _nbytes(opened: OpenAsset) -> int:
    """Return about how many bytes of memory an asset takes beside its raster; all names are its own."""
    entry = opened.entry
    held = 0 if entry is None else entry.sums[0] + 4 * len(entry.data) + len(entry.origin.source)
    return _ASSET_NBYTES + 4 * len(opened.raster.path) + held


def note_use(entry: Entry) -> None:
    """Note that an entry is used now, by the date of its checksums; a read-only folder stays as it is."""
    with contextlib.suppress(OSError):
        if abs(time.time() - os.stat(entry.sums_path).st_mtime) > MOMENT:
            os.utime(entry.sums_path)
