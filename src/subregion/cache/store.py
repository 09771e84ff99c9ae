"""From an asset to an open raster that is fast to read: converted at most once, never stale."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from subregion.cache.carried import Carried
from subregion.cache.identity import Identity, Signature, identify, look_at
from subregion.cache.publish import Entry, Folder
from subregion.cache.recipe import Recipe
from subregion.convert.convert import SUFFIXES, convert
from subregion.convert.jpeg import can_keep, kept_frame
from subregion.errors import (
    CacheError,
    DamagedFileError,
    SourceNotFoundError,
    SubregionError,
    UnsupportedFormatError,
    source_error,
)
from subregion.raster.jpeg import JpegRaster
from subregion.raster.opening import open_raster
from subregion.raster.pool import POOL
from subregion.raster.raster import BlockRaster

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
#: Names of JPEGs end so, mostly; what they are is told by their first bytes.
_JPEG_NAMES = (".jpg", ".jpeg", ".jpe", ".mpo")
#: Under `auto`, a JPEG with restart intervals is read where it lies if an interval holds at most so many
#: decoded bytes, and the file, which is scanned for markers when it is opened, at most so many coded ones.
JPEG_BLOCK_IN_PLACE = 32 << 10
JPEG_FILE_IN_PLACE = 8 << 20
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
        opened = self.opened(asset)
        if opened is None:
            opened = self._open(asset)
            POOL.put(self._pooled_as(asset), opened)
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
        if self._fresh_entry(asset, identity) is None:
            self._open(asset, progress)

    def keys_of(self, asset: Asset) -> tuple[tuple[str, ...], Signature | None]:
        """Return the names that the entry of an asset may have, and what the source looks like."""
        identity = identify(asset, self.mode)
        return tuple(_key(identity, form) for form in self._forms(asset)), identity.signature

    def entry_of(self, asset: Asset) -> Entry | None:
        """Return the copy that is served for an asset as it is now; None if there is none, or none needed."""
        if self.recipe.kind == "none":
            return None
        found = self._fresh_entry(asset, identify(asset, self.mode))
        return None if found is None else found[0]

    def opened(self, asset: Asset) -> OpenAsset | None:
        """Return an asset that is open and unchanged; None if it would have to be opened."""
        found: OpenAsset | None = POOL.get(self._pooled_as(asset))
        if found is None or found.watched is None or found.watched.holds():
            return found
        return None

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

    def _forms(self, asset: Asset) -> tuple[Recipe, ...]:
        """List the recipes by which the entry may have been made, the likelier first."""
        forms = self.recipe.forms
        if len(forms) == 1 or asset.path.lower().endswith(_JPEG_NAMES):
            return forms
        return forms[::-1]

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
        found = self._fresh_entry(asset, identity)
        if found is None:
            source = open_raster(asset.path, asset.frame)
            if self.recipe.kind == "auto" and serves_in_place(source):
                return self._in_place(source, Watched.now(asset.path))
            found = self._convert(asset, identity, source, progress)
        entry, recipe = found
        try:
            raster = open_raster(entry.data)
            if recipe.kind == "jpeg" and not (isinstance(raster, JpegRaster) and raster.is_copy):
                # With another header it may still be a picture, but one of which windows cost all of it.
                raise DamagedFileError(f"{entry.data}: is not as it was written.")
        except SourceNotFoundError:
            raise _ReplacedError from None
        except SubregionError as error:
            self.folder.discard(entry)
            raise _ReplacedError from error
        if isinstance(raster, BlockRaster):
            raster.stands_still()
        entry.carried.give(raster)
        return OpenAsset(raster, entry, watched, recipe)

    def _in_place(self, source: Raster, watched: Watched | None) -> OpenAsset:
        if source.watched is not None:  # what tells a change of a folder is a file in it
            watched = Watched(*source.watched)
        return OpenAsset(source, None, watched, self.recipe)

    def _fresh_entry(self, asset: Asset, identity: Identity) -> tuple[Entry, Recipe] | None:
        """Return the entry that was made of the source as it is now, and how."""
        for form in self._forms(asset):
            entry = self.folder.look_up(_key(identity, form))
            if entry is not None and entry.signature == identity.signature:
                return entry, form
        return None

    def _convert(
        self, asset: Asset, identity: Identity, source: Raster, progress: Progress | None
    ) -> tuple[Entry, Recipe]:
        """Make an entry, of the form that suits the source."""
        forms = self.recipe.forms
        if len(forms) == 1:
            return self._convert_as(forms[0], asset, identity, source, progress)
        kept, other = forms
        if self.recipe.kind != "auto":
            form = other if kept_frame(source) is None else kept
            return self._convert_as(form, asset, identity, source, progress)
        if can_keep(source):
            # What cannot be kept to the last pixel goes the way of all others, on which damage is reported.
            with contextlib.suppress(DamagedFileError, UnsupportedFormatError):
                return self._convert_as(kept, asset, identity, source, progress)
        return self._convert_as(other, asset, identity, source, progress)

    def _convert_as(
        self, recipe: Recipe, asset: Asset, identity: Identity, source: Raster, progress: Progress | None
    ) -> tuple[Entry, Recipe]:
        def write(path: str) -> None:
            convert(source, path, recipe.kind, recipe.options, threads=self.threads, progress=progress)

        key = _key(identity, recipe)
        with self.folder.turn(key, lambda: self._fresh_entry(asset, identity) is not None):
            found = self._fresh_entry(asset, identity)
            if found is not None:
                return found
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
        self._discard_stale(asset, identity)
        return entry, recipe

    def _discard_stale(self, asset: Asset, identity: Identity) -> None:
        """Take away what was made, in another form, of what the source was before."""
        for form in self.recipe.forms if identity.signature is not None else ():
            entry = self.folder.look_up(_key(identity, form))
            if entry is not None and entry.signature != identity.signature:
                self.folder.discard(entry)


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
    if isinstance(raster, JpegRaster):
        # Making a copy with the best intervals, and an index of them, costs little and loses nothing.
        return high * wide * bands <= JPEG_BLOCK_IN_PLACE and raster.file.size <= JPEG_FILE_IN_PLACE
    return raster.mapped or high * wide * bands * raster.dtype.itemsize <= BLOCK_IN_PLACE
