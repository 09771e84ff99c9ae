"""From an asset to an open raster that is fast to read: converted at most once, never stale."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from subregion.cache.carried import Carried
from subregion.cache.identity import Identity, Signature, identify, look_at
from subregion.cache.publish import Entry, Folder
from subregion.cache.recipe import LOSSLESS, Recipe
from subregion.errors import CacheError, SourceNotFoundError, SubregionError, source_error
from subregion.raster.opening import open_raster
from subregion.raster.pool import POOL

if TYPE_CHECKING:
    from subregion.convert.convert import Progress
    from subregion.raster.raster import Raster
    from subregion.records import Asset

#: Under `auto`, a source whose blocks hold at most so many decoded bytes is read where it lies:
#: a window then costs a few blocks at the most.
BLOCK_IN_PLACE = 2 << 20
#: Under `auto`, a source of at most so many decoded bytes is decoded whole for each window: that takes
#: about a millisecond, less than the first read of a converted copy would save.
WHOLE_IN_PLACE = 192 << 10
#: How often a reader starts again when entries are replaced under its hands.
ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Watched:
    """What a file looked like, so that a change is noticed.

    Parameters
    ----------
    path : str
        The file.
    state : tuple of int
        Its size, time of change and number.
    """

    path: str
    state: tuple[int, int, int]

    @classmethod
    def now(cls, path: str) -> Watched:
        """Look at a file."""
        return cls(path, _look(path))

    def holds(self) -> bool:
        """Whether it still looks like that."""
        try:
            status = os.stat(self.path)
        except OSError:
            return False  # opening it again says what is wrong, if anything is
        return (status.st_size, status.st_mtime_ns, status.st_ino) == self.state


@dataclass(frozen=True, slots=True)
class OpenAsset:
    """An asset that is open for reading.

    Parameters
    ----------
    raster : Raster
        The source itself, or its converted copy.
    entry : Entry or None
        The copy; None if the source is read in place.
    watched : Watched or None
        What the source looked like when it was opened; None if its identity says all.
    recipe : Recipe
        How it is stored.
    """

    raster: Raster
    entry: Entry | None
    watched: Watched | None
    recipe: Recipe


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
    """

    folder: Folder
    recipe: Recipe
    mode: str = "PATH"
    threads: int | None = None
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
        key = self._pooled_as(asset)
        opened: OpenAsset | None = POOL.get(key)
        if opened is not None:
            watched = opened.watched
            if watched is None or watched.holds():
                return opened
        opened = self._open(asset)
        POOL.put(key, opened)
        return opened

    def reopen(self, asset: Asset, damaged: OpenAsset) -> OpenAsset | None:
        """Replace an entry that turned out to be damaged; None if the damage is in the source itself."""
        if damaged.entry is None:
            return None
        self.folder.discard(damaged.entry)
        gone = self._pooled_as(asset)
        POOL.forget(lambda key: key == gone)
        return self.open(asset)

    def forget(self) -> None:
        """Let go of everything that was opened through this store."""
        POOL.forget(lambda key: isinstance(key, tuple) and key[0] == self.name)

    def ensure(self, asset: Asset, progress: Progress | None = None) -> None:
        """Make sure that the asset can be read without a conversion.

        Parameters
        ----------
        asset : Asset
            The file.
        progress : callable or None
            Called during a conversion with the rows that are done and those of the image.

        Raises
        ------
        SubregionError
            If the source cannot be read, or the cache cannot be written.
        """
        if self.recipe.kind == "none":
            return
        identity = identify(asset, self.mode)
        if self._fresh_entry(identity, self.stored_as) is None:
            self._open(asset, progress)

    def key_of(self, asset: Asset) -> tuple[str, Signature | None]:
        """Return the name that the entry of an asset has, and what the source looks like."""
        identity = identify(asset, self.mode)
        return _key(identity, self.stored_as), identity.signature

    def opened(self, asset: Asset) -> OpenAsset | None:
        """Return an asset that is open and unchanged; None if it would have to be opened."""
        found: OpenAsset | None = POOL.get(self._pooled_as(asset))
        if found is None or (found.watched is not None and found.watched != self._watch(asset)):
            return None
        return found

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
        """How a copy is stored, where one is made."""
        return LOSSLESS if self.recipe.kind == "auto" else self.recipe

    def _pooled_as(self, asset: Asset) -> tuple[str, str, str | None, int | None]:
        return self.name, asset.path, asset.hashid, asset.frame

    def _open(self, asset: Asset, progress: Progress | None = None) -> OpenAsset:
        for attempt in range(ATTEMPTS):
            try:
                return self._open_once(asset, progress)
            except _ReplacedError:
                if attempt == ATTEMPTS - 1:
                    raise CacheError(
                        f"{asset.path}: its cache entry was replaced {ATTEMPTS} times while being opened. "
                        f"Is the source being rewritten all the time?"
                    ) from None
        raise AssertionError("unreachable")

    def _watch(self, asset: Asset) -> Watched | None:
        """Look at the source of an asset, unless its identity stands without it."""
        if self.recipe.kind != "none" and self.mode != "PATH":
            if self.mode == "GIVEN":
                return None
            if self.mode == "DVC" and not os.path.exists(asset.path):
                return None  # only its link is here; the entry serves
        return Watched.now(asset.path)

    def _open_once(self, asset: Asset, progress: Progress | None) -> OpenAsset:
        watched = self._watch(asset)
        if self.recipe.kind == "none":
            return self._in_place(open_raster(asset.path, asset.frame), watched)
        if self.recipe.kind == "auto" and os.path.isdir(asset.path):
            # A folder may hold a million files; none of them is looked at before it must be.
            source = open_raster(asset.path, asset.frame)
            if serves_in_place(source):
                return self._in_place(source, watched)
        identity = identify(asset, self.mode)
        recipe = self.stored_as
        entry = self._fresh_entry(identity, recipe)
        if entry is None:
            source = open_raster(asset.path, asset.frame)
            if self.recipe.kind == "auto" and serves_in_place(source):
                return self._in_place(source, Watched.now(asset.path))
            entry = self._convert(asset, identity, recipe, source, progress)
        try:
            raster = open_raster(entry.data)
        except SourceNotFoundError:
            raise _ReplacedError from None
        except SubregionError as error:
            self.folder.discard(entry)
            raise _ReplacedError from error
        entry.carried.give(raster)
        return OpenAsset(raster, entry, watched, recipe)

    def _in_place(self, source: Raster, watched: Watched | None) -> OpenAsset:
        if source.watched is not None:  # what tells a change of a folder is a file in it
            watched = Watched(*source.watched)
        return OpenAsset(source, None, watched, self.recipe)

    def _fresh_entry(self, identity: Identity, recipe: Recipe) -> Entry | None:
        entry = self.folder.look_up(_key(identity, recipe))
        if entry is None or entry.signature != identity.signature:
            return None
        return entry

    def _convert(
        self, asset: Asset, identity: Identity, recipe: Recipe, source: Raster, progress: Progress | None
    ) -> Entry:
        from subregion.convert.convert import SUFFIXES, convert

        def write(path: str) -> None:
            convert(source, path, recipe.kind, recipe.options, threads=self.threads, progress=progress)

        key = _key(identity, recipe)
        with self.folder.turn(key, lambda: self._fresh_entry(identity, recipe) is not None):
            entry = self._fresh_entry(identity, recipe)
            if entry is not None:
                return entry
            entry = self.folder.publish(
                key,
                SUFFIXES[recipe.kind],
                identity.signature,
                {"source": asset.path, "mode": identity.mode, "identity": identity.value}
                | {"frame": identity.frame, **recipe.document, **Carried.by(source).document},
                write,
            )
        if identity.signature is not None and look_at(asset.path) != identity.signature:
            raise _ReplacedError  # the source was rewritten while it was being converted
        return entry


class _ReplacedError(Exception):
    """What was found is not there any more; look again."""


def _key(identity: Identity, recipe: Recipe) -> str:
    names = [identity.mode, identity.value, recipe.document]
    if identity.frame is not None:
        names.append({"frame": identity.frame})
    document = json.dumps(names, sort_keys=True)
    return hashlib.blake2b(document.encode("utf-8", "surrogateescape"), digest_size=20).hexdigest()


def _look(path: str) -> tuple[int, int, int]:
    try:
        status = os.stat(path)
    except OSError as error:
        raise source_error(path, error) from error
    return status.st_size, status.st_mtime_ns, status.st_ino


def serves_in_place(raster: Raster) -> bool:
    """Whether a window of the source as it is costs about what the window costs."""
    rows, cols, bands = raster.shape
    if rows * cols * bands * raster.dtype.itemsize <= WHOLE_IN_PLACE:
        return True
    if not raster.windowed:
        return False
    high, wide = raster.block
    return raster.mapped or high * wide * bands * raster.dtype.itemsize <= BLOCK_IN_PLACE
