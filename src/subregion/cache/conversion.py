"""Makes the entry of a source in the form that suits it, and confirms it against what was seen of that."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from subregion.cache.checksums import Checksums
from subregion.cache.gc import room_for
from subregion.cache.identity import Identity, identify
from subregion.cache.leases import Lease, book_of
from subregion.cache.metadata import Carried
from subregion.cache.origin import Origin
from subregion.cache.policy import why_not_in_place
from subregion.cache.publish import publish
from subregion.cache.seen import Seen
from subregion.convert.convert import SUFFIXES, convert
from subregion.convert.jpeg import can_keep, kept_frame
from subregion.errors import CacheError, ConfigError, DamagedFileError, SubregionError, UnsupportedFormatError
from subregion.notices import LOGGER

if TYPE_CHECKING:
    from subregion.cache.backend import Recipe
    from subregion.cache.manifest import Entry
    from subregion.cache.opened import OpenAsset
    from subregion.cache.store import Store
    from subregion.convert.convert import Progress
    from subregion.formats.raster import Raster
    from subregion.records import Asset


def for_labels(recipe: Recipe, path: str) -> dict[str, Any]:
    """Return the options by which indices and labels are stored: averages of them mean nothing.

    Raises
    ------
    ConfigError
        If they would be stored with a loss.
    """
    options = recipe.options
    if recipe.kind == "jpeg" or options.get("compress") == "JPEG":
        raise ConfigError(
            f"{path}: labels cannot be stored as JPEG, which would change them; choose 'auto', or another "
            f"compress."
        )
    if options.get("overviews") == "average":
        options["overviews"] = "nearest"
    return options


def for_exact(recipe: Recipe, path: str) -> Recipe:
    """Return the form by which labels are stored; see `for_labels`."""
    form = recipe.forms[-1]
    for_labels(form, path)
    return form


class ReplacedError(Exception):
    """What was found is not there any more; look again."""


@dataclass(frozen=True, slots=True)
class Conversion:
    """What is to be converted.

    Parameters
    ----------
    store : Store
        Where the entry goes, and how it is made.
    asset : Asset
        The source.
    identity : Identity
        What it is known by.
    progress : callable or None
        Called with the rows that are done and those of the image.
    """

    store: Store
    asset: Asset
    identity: Identity
    progress: Progress | None

    def run(self, seen: Seen | None, source: OpenAsset, held: list[Lease | None]) -> tuple[Entry, Recipe]:
        """Make an entry of the source as it was seen before it was identified and opened.

        Parameters
        ----------
        seen : Seen or None
            What it looked like; None if its identity says all.
        source : OpenAsset
            The same, open.
        held : list
            Receives the lease of the entry, so that nobody removes it before it is opened.

        Raises
        ------
        ReplacedError
            If the source was changed meanwhile.
        SubregionError
            If the source is damaged, or the cache cannot be written.
        """
        asset = self.asset
        begin = Seen.now(asset.path)
        if begin.just_changed:  # what happens within this tick of the clock would go unnoticed
            begin, source = Seen.settled(asset.path), self.store.open_in_place(asset)
            if begin.just_changed:
                raise ReplacedError  # somebody is writing to it
        elif source.watched is not None and not source.watched.holds():
            raise ReplacedError
        if seen is not None and begin.state != seen.state:
            raise ReplacedError
        try:
            return self._in_a_form(source.raster, begin, held)
        except CacheError:
            raise
        except SubregionError as error:
            if begin.still(asset.path):
                raise
            raise ReplacedError from error

    def _in_a_form(self, source: Raster, begin: Seen, held: list[Lease | None]) -> tuple[Entry, Recipe]:
        """Choose the form that suits the source."""
        recipe = self.store.recipe
        if self.identity.view.labels and recipe.kind in ("auto", "jpeg"):
            return self._in_form(for_exact(recipe, self.asset.path), source, begin, held)
        if len(recipe.forms) == 1:
            return self._in_form(recipe.forms[0], source, begin, held)
        kept, other = recipe.forms
        if recipe.kind != "auto":
            return self._in_form(other if kept_frame(source) is None else kept, source, begin, held)
        if can_keep(source):
            # What cannot be kept to the last pixel goes the way of all others, on which damage is reported.
            with contextlib.suppress(DamagedFileError, UnsupportedFormatError):
                return self._in_form(kept, source, begin, held)
        return self._in_form(other, source, begin, held)

    def _in_form(
        self, recipe: Recipe, source: Raster, begin: Seen, held: list[Lease | None]
    ) -> tuple[Entry, Recipe]:
        store, identity = self.store, self.identity
        options = recipe.options
        if recipe.kind != "jpeg" and source.as_indices is not None:
            source = source.as_indices  # smaller, and what nodata and nearest are about
        if identity.view.labels or source.palette is not None:
            options = for_labels(recipe, self.asset.path)

        def write(path: str) -> Checksums:
            convert(source, path, recipe.kind, options, threads=store.threads, progress=self.progress)
            return Checksums.of(path)

        def confirm() -> None:
            """Refuse what was made of a source that was changed since, also if it was put back."""
            moved = store.mode == "DVC" and identify(self.asset, store.mode) != identity
            if moved or not begin.still(self.asset.path):
                raise ReplacedError

        @contextlib.contextmanager
        def admit(name: str, nbytes: int) -> Iterator[None]:
            with room_for(store.folder, nbytes, store.max_size):
                held.append(book_of(store.folder.path).hold(name, nbytes))
                yield

        origin = Origin.of(self.asset.path, identity, recipe)
        with store.folder.turn(origin.key, lambda: store.fresh_entry(self.asset, identity) is not None):
            found = store.fresh_entry(self.asset, identity)
            if found is not None:
                return found
            begun = self._log_begin(recipe, source, origin)
            suffix, signature = SUFFIXES[recipe.kind], identity.signature
            carried = Carried.by(source, recipe.kind == "jpeg" and "quality" not in recipe.options)
            entry = publish(store.folder, origin, suffix, signature, carried, write, confirm, admit)
        seconds = time.perf_counter() - begun
        LOGGER.info(
            "converted %s to %s in %.2f s: %d bytes", self.asset.path, recipe.kind, seconds, entry.size
        )
        self._discard_stale()
        return entry, recipe

    def _log_begin(self, recipe: Recipe, source: Raster, origin: Origin) -> float:
        """Tell what is going to be done and why, and return when that was."""
        if LOGGER.isEnabledFor(logging.INFO):
            folder, kind = self.store.folder, self.store.recipe.kind
            why, again = f"backend {kind!r} is asked for", ""
            if folder.look_up(origin.key) is not None:
                why, again = "the source changed since its copy was made", " anew"
            elif os.path.lexists(folder.manifest_path(origin.key)):
                why, again = "its copy is damaged or gone", " anew"
            elif kind == "auto":
                why = why_not_in_place(source)
            path, frame = self.asset.path, self.asset.frame
            name = path if frame is None else f"frame {frame} of {path}"
            LOGGER.info("converting %s to %s%s because: %s", name, recipe.kind, again, why)
        return time.perf_counter()

    def _discard_stale(self) -> None:
        """Take away what was made, in another form, of what the source was before."""
        folder, identity = self.store.folder, self.identity
        for form in self.store.recipe.forms if identity.signature is not None else ():
            entry = folder.look_up(Origin.of(self.asset.path, identity, form).key)
            if entry is not None and not entry.fits(identity.signature):
                folder.discard(entry)
