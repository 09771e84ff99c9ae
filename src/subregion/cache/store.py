"""From an asset to an open raster that is fast to read: converted at most once, never stale."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from subregion.cache.backend import Recipe
from subregion.cache.checksums import Checksums
from subregion.cache.conversion import Conversion, ReplacedError
from subregion.cache.entries import Folder
from subregion.cache.identity import Identity, identify
from subregion.cache.leases import Lease, book_of, count_leases
from subregion.cache.manifest import Entry
from subregion.cache.opened import OpenAsset, note_use, opened_again
from subregion.cache.origin import Origin
from subregion.cache.policy import serves_in_place
from subregion.cache.seen import Seen, Signature, Watched, WatchedFile, WatchedFolder
from subregion.errors import (
    CacheError,
    DamagedFileError,
    DescriptorLimitError,
    SourceNotFoundError,
    SourcePermissionError,
    SourceReadError,
    SubregionError,
)
from subregion.formats.jpeg.intervals import IntervalLevel
from subregion.formats.open import open_raster
from subregion.io.pool import INDEXES, POOL
from subregion.io.source import SourceFile
from subregion.notices import LOGGER, NOTICES, warn_caller

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

    from subregion.blocks.wholes import Tally
    from subregion.convert.convert import Progress
    from subregion.formats.raster import Raster
    from subregion.records import Asset

#: Names of JPEGs end so, mostly; what they are is told by their first bytes.
_JPEG_NAMES = (".jpg", ".jpeg", ".jpe", ".mpo")
#: How often a reader starts again when sources and entries are replaced under its hands.
ATTEMPTS = 5
#: How often, if entries are removed to make room for others.
EVICTIONS = 100
#: In a folder that has a limit, copies that nobody reads at the moment are only kept open up to this share of
#: it, by all processes together: what is open cannot be removed.
OPEN_SHARE = 0.25


@dataclass(frozen=True, slots=True)
class Store:
    """Opens assets through a cache folder.

    A value without handles or state: it pickles small, and open files live in the pool of the process.

    Parameters
    ----------
    folder : Folder
        Where entries are.
    recipe : Recipe
        How images are stored.
    mode : str
        What names a source; see `identity.MODES`.
    threads : int or None
        Threads that encode blocks during a conversion; None for one per core.
    max_size : int or None
        How many bytes all entries of the folder may have; None for any number.
    tally : Tally or None
        Counts what reading sources as they are costs; None if nobody is to be warned of it.
    """

    folder: Folder
    recipe: Recipe
    mode: str = "PATH"
    threads: int | None = None
    max_size: int | None = None
    tally: Tally | None = field(default=None, repr=False, compare=False)
    name: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        # A string keeps its hash, and the pool is asked at every read.
        object.__setattr__(self, "name", repr((self.folder.path, self.recipe, self.mode)))

    def open(self, asset: Asset) -> OpenAsset:
        """Open an asset, converting it first if that is still to be done.

        A source that changed since it was opened is noticed here, at the cost of one look at the file.

        Raises
        ------
        SubregionError
            If the source cannot be read, or the cache cannot be written.
        """
        opened = self.opened(asset)
        if opened is None:
            opened = self._open(asset)
            POOL.put(self._pooled_as(asset), opened)
            _tell(asset, opened.raster)
        return opened

    def reopen(self, asset: Asset, damaged: OpenAsset) -> OpenAsset | None:
        """Open an asset anew that turned out to be damaged; None if the damage is in the source as it is now.

        A damaged entry is made anew. What was replaced while it was being read is no damage.

        Raises
        ------
        CacheError
            If a damaged entry cannot be removed.
        SubregionError
            If the source cannot be read.
        """
        if damaged.entry is None:
            if (damaged.watched is None or damaged.watched.holds()) and damaged.raster.file.in_place():
                return None
        elif damaged.raster.file.is_there():
            self.discard_damaged(damaged.entry, asset)
        gone = self._pooled_as(asset)
        POOL.forget(lambda key: key == gone)
        return self.open(asset)

    def forget(self) -> None:
        """Let go of everything that was opened through this store."""
        POOL.forget(lambda key: isinstance(key, tuple) and key[0] == self.name)
        book_of(self.folder.path).settle()

    def ensure(self, asset: Asset, progress: Progress | None = None) -> str | None:
        """Make sure that the asset can be read without a conversion.

        Parameters
        ----------
        asset : Asset
            The file.
        progress : callable or None
            Called during a conversion with the rows that are done and those of the image.

        Returns
        -------
        str or None
            Name of the data of the copy; None if the source is read in place.

        Raises
        ------
        SubregionError
            If the source cannot be read, or the cache cannot be written.
        """
        if self.recipe.kind == "none":
            return None
        identity = identify(asset, self.mode)
        found = self.fresh_entry(asset, identity)
        if found is not None:
            note_use(found[0])
            return os.path.basename(found[0].data)
        opened = self._open(asset, progress)
        _tell(asset, opened.raster)
        if POOL.get(self._pooled_as(asset)) is not None:  # what the source was before
            POOL.put(self._pooled_as(asset), opened)
        copy = None if opened.entry is None else os.path.basename(opened.entry.data)
        del opened
        book_of(self.folder.path).settle()
        return copy

    def keys_of(self, asset: Asset) -> tuple[tuple[str, ...], Signature | None]:
        """Return the names that the entry of an asset may have, and what the source looks like."""
        identity = identify(asset, self.mode)
        return self.keys_by(asset, identity), identity.signature

    def keys_by(self, asset: Asset, identity: Identity) -> tuple[str, ...]:
        """Return the names that the entry of an asset may have that is known as this."""
        return tuple(Origin.of(asset.path, identity, form).key for form in self._forms(asset))

    def entry_of(self, asset: Asset) -> Entry | None:
        """Return the copy that is served for an asset as it is now; None if there is none, or none needed."""
        if self.recipe.kind == "none":
            return None
        found = self.fresh_entry(asset, identify(asset, self.mode))
        return None if found is None else found[0]

    def opened(self, asset: Asset) -> OpenAsset | None:
        """Return an asset that is open and unchanged; None if it would have to be opened."""
        key = self._pooled_as(asset)
        found: OpenAsset | None = POOL.get(key)
        if found is None:
            return self._opened_again(key)
        return found if found.watched is None or found.watched.holds() else None

    def _opened_again(self, key: Hashable) -> OpenAsset | None:
        """Open what was open before, and is as it was; None if it is not, or nothing was kept of it."""
        index = INDEXES.get(key)
        if index is None:
            return None
        if index.value.entry is not None:
            self._let_go()
        opened = opened_again(index, book_of(self.folder.path))
        if opened is not None:
            POOL.put(key, opened)
        return opened

    def header(self, asset: Asset) -> Raster:
        """Open an asset for all but its pixels, without a conversion.

        Returns
        -------
        Raster
            What is open already, or the source; the copy where only that is left.
        """
        opened = self.opened(asset)
        if opened is None:
            try:
                opened = self.in_place.open(asset)
            except SourceNotFoundError:
                opened = self.open(asset)
        return opened.raster

    @property
    def in_place(self) -> Store:
        """The same without copies: sources are read as they are."""
        return replace(self, recipe=Recipe("none"))

    @property
    def stored_as(self) -> Recipe:
        """How a copy is stored, where one is made of a source that is no JPEG."""
        return self.recipe.forms[-1]

    def lacks_copy(self, asset: Asset) -> bool:
        """Whether a read would convert the asset first."""
        if self.recipe.kind == "none" or self.opened(asset) is not None:
            return False
        try:
            return self.entry_of(asset) is None and self.wants_copy(asset)
        except SubregionError:
            return False  # the read will tell

    def wants_copy(self, asset: Asset) -> bool:
        """Whether an asset is only read fast from a copy; its header is read for that.

        Raises
        ------
        SubregionError
            If the source cannot be read.
        """
        if self.recipe.kind in ("none", "auto"):
            return self.recipe.kind == "auto" and not serves_in_place(self.in_place.open(asset).raster)
        return True

    def _forms(self, asset: Asset) -> tuple[Recipe, ...]:
        """List the recipes by which the entry may have been made, the likelier first."""
        forms = self.recipe.forms
        if len(forms) == 1 or asset.path.lower().endswith(_JPEG_NAMES):
            return forms
        return forms[::-1]

    def _pooled_as(self, asset: Asset) -> tuple[str, str, str | None, str]:
        return self.name, asset.path, asset.hashid, asset.view.name

    def _open(self, asset: Asset, progress: Progress | None = None) -> OpenAsset:
        replaced: BaseException | None = None
        attempts = evictions = 0
        self._let_go()
        while attempts < ATTEMPTS and evictions < EVICTIONS:
            try:
                return self._open_once(asset, progress)
            except _EvictedError:
                evictions += 1
            except ReplacedError as error:
                replaced = error.__cause__
                attempts += 1
            except DescriptorLimitError:  # in a library that opens files by itself
                if not POOL.shrink():
                    raise
        raise CacheError(
            f"{asset.path}: it, or its cache entry, was replaced {attempts + evictions} times while being "
            f"opened. Is it being rewritten all the time?"
        ) from replaced

    def _let_go(self) -> None:
        """Close copies that were used least recently, if so much is open that a limit cannot be kept."""
        book = book_of(self.folder.path)
        if self.max_size is None or not book.nbytes:
            return
        most = OPEN_SHARE * self.max_size / max(1, count_leases(self.folder.path))
        excess = book.nbytes - most
        if excess <= 0:
            return
        begin, gone = os.path.join(self.folder.path, ""), set()
        for key, opened in POOL.kept():
            if isinstance(opened, OpenAsset) and opened.entry and opened.entry.data.startswith(begin):
                gone.add(key)
                gone |= {("shard", path) for path in _shards(opened.entry.data)}
                excess -= opened.entry.size
                if excess <= 0:
                    break
        POOL.close(gone.__contains__)

    def _open_once(self, asset: Asset, progress: Progress | None) -> OpenAsset:
        if self.recipe.kind == "none":
            return self.open_in_place(asset)
        folder = os.path.isdir(asset.path)
        source = None
        if self.recipe.kind == "auto" and folder:
            # A folder may hold a million files; none of them is looked at before it must be.
            source = self.open_in_place(asset)
            if serves_in_place(source.raster):
                return source
        watched, seen = self._look(asset, folder)
        identity = identify(asset, self.mode, seen)
        found = self.fresh_entry(asset, identity)
        if found is None:
            if source is None:
                source = self.open_in_place(asset)
            if self.recipe.kind == "auto" and serves_in_place(source.raster):
                return source
            held: list[Lease | None] = []  # so that nobody removes it before it is opened
            found = Conversion(self, asset, identity, progress).run(seen, source, held)
        entry, recipe = found
        return OpenAsset(self._open_entry(entry, recipe, asset), entry, watched, recipe, time.monotonic())

    def _look(self, asset: Asset, folder: bool) -> tuple[Watched | None, Seen | None]:
        """Look at the source of an asset, unless its identity stands without it."""
        if self.mode == "GIVEN" or (self.mode == "DVC" and not os.path.exists(asset.path)):
            return None, None  # maybe only the hash is here, or the link; the entry serves
        if folder and self.mode != "DVC":
            watched = WatchedFolder(asset.path)
            return watched, watched.seen
        return WatchedFile.now(asset.path), Seen.now(asset.path) if self.mode != "DVC" else None

    def open_in_place(self, asset: Asset) -> OpenAsset:
        """Open the source of an asset as it is."""
        watched = WatchedFile.now(asset.path)  # before it is opened, so that no change goes unnoticed
        try:
            source = open_raster(asset.path, asset.view)
        except SubregionError as error:
            if watched.holds():
                raise
            raise ReplacedError from error
        if source.watched is not None:  # what tells a change of a folder is a file in it
            watched = WatchedFile(*source.watched)
        return OpenAsset(source, None, watched, self.recipe)

    def _open_entry(self, entry: Entry, recipe: Recipe, asset: Asset) -> Raster:
        lease = book_of(self.folder.path).hold(os.path.basename(entry.data), entry.size)
        if lease is not None and not self.folder.is_named(entry):
            raise _EvictedError
        try:
            sums = Checksums.read(entry.sums_path, entry.sums)
            raster = open_raster(entry.data, immutable=True)
            file = raster.file if isinstance(raster.file, SourceFile) else None
            sums.compare_opened(entry.data, file)
            raster = replace(raster, sums=sums.levels, lease=lease)
            full = raster.full.as_stored
            if recipe.kind == "jpeg" and not (isinstance(full, IntervalLevel) and full.is_copy):
                # With another header it may still be a picture, but one of which windows cost all of it.
                raise DamagedFileError(f"{entry.data}: is not as it was written.")
        except SourceNotFoundError as error:
            if self.folder.look_up(entry.key) == entry:  # it asks for files that it never had
                self.folder.discard(entry)
            raise ReplacedError from error
        except DescriptorLimitError:
            raise
        except (SourceReadError, SourcePermissionError) as error:
            raise CacheError(
                f"{error} It is a converted copy: give this user the right to read it, delete it so that it "
                f"is made anew, or choose another workdir."
            ) from error
        except SubregionError as error:
            # What the system lacks says nothing about the content.
            if not isinstance(error.__cause__, OSError | MemoryError):
                self.discard_damaged(entry, asset)
            raise ReplacedError from error
        note_use(entry)
        exact, overviews = asset.labels or entry.carried.palette, recipe.options.get("overviews")
        raster = replace(raster, picked=overviews == "nearest" or bool(exact and overviews == "average"))
        return entry.carried.given(raster, asset.palette == "rgb")

    def discard_damaged(self, entry: Entry, asset: Asset) -> None:
        """Take a damaged entry away, so that it is made anew.

        Raises
        ------
        DamagedFileError
            If there is nothing to make it of: what is left of it is kept then.
        CacheError
            If it cannot be removed.
        """
        if not os.path.exists(asset.path):
            raise DamagedFileError(
                f"{entry.data}: this copy is damaged, and its source is gone, so it cannot be made anew: put "
                f"{asset.path} back. What is left of the copy is kept."
            )
        LOGGER.warning("the copy %s of %s is damaged, and made anew", entry.data, asset.path)
        self.folder.discard(entry)

    def fresh_entry(self, asset: Asset, identity: Identity) -> tuple[Entry, Recipe] | None:
        """Return the entry that was made of the source as it is now, and how."""
        for form in self._forms(asset):
            entry = self.folder.look_up(Origin.of(asset.path, identity, form).key)
            if entry is not None and entry.fits(identity.signature):
                return entry, form
        return None


class _EvictedError(ReplacedError):
    """The entry was removed to make room before it could be held."""


def _tell(asset: Asset, raster: Raster) -> None:
    """Say once of a file what of it is not read, and how to choose it."""
    if NOTICES.is_new(f"{asset.view.name}:{asset.path}"):
        try:
            left_out = raster.left_out
        except SubregionError:
            return  # whoever reads what is damaged will hear of it
        if left_out:
            warn_caller(f"{asset.path}: {left_out}.")


def _shards(data: str) -> Iterator[str]:
    """Yield the files of a copy that is a folder: some of them may be open by themselves."""
    for place, _, names in os.walk(data) if os.path.isdir(data) else ():
        yield from (os.path.join(place, name) for name in names)
