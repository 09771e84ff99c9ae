"""Whether copies are as they were written, and whether they still show what their sources hold.

::

    keys or images -> one check each (manifest, header and index, all bytes, pixels) -> a report

A check reads and changes nothing. Mending is another step, which takes a copy away only if there is something
to make it of.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from subregion.cache.backend import FORMAT_VERSION
from subregion.cache.checksums import Checksums
from subregion.cache.entries import Folder
from subregion.cache.identity import Identity, identify
from subregion.cache.manifest import Entry, NoEntryError
from subregion.cache.origin import Origin
from subregion.cache.store import Store
from subregion.convert.convert import SUFFIXES, convert
from subregion.errors import SubregionError, shown, some_of
from subregion.formats.open import open_raster
from subregion.formats.raster import Raster
from subregion.geometry.window import Window

if TYPE_CHECKING:
    from subregion.records import Asset

#: Rows that are compared with the source at a time, about.
_ROWS = 256


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with one copy.

    Parameters
    ----------
    source : str
        The file that it was made of; of a manifest that cannot be read, the manifest.
    reason : str
        What is wrong, naming the file and the place.
    entry : str or None
        The data of the copy, where they are known.
    mended : bool
        Whether it was made anew.
    """

    source: str
    reason: str
    entry: str | None = None
    mended: bool = False


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What came of looking at copies.

    Parameters
    ----------
    checked : int
        How many copies were looked at.
    nbytes : int
        Bytes of them that were compared with checksums, beside headers.
    damaged : tuple of Finding
        Those that are not as they were written.
    stale : tuple of Finding
        Those whose source was changed since: they are not served, and are made anew when they are needed.
    missing : tuple of Finding
        Images that should have a copy and have none.
    orphaned : tuple of Finding
        Those whose source is gone, though the folder that it was in is there.
    """

    checked: int = 0
    nbytes: int = 0
    damaged: tuple[Finding, ...] = ()
    stale: tuple[Finding, ...] = ()
    missing: tuple[Finding, ...] = ()
    orphaned: tuple[Finding, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every copy is there, sound and up to date, or was mended; orphaned ones may be all that."""
        return all(finding.mended for finding in (*self.damaged, *self.stale, *self.missing))

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as plain values, for JSON."""
        return {"ok": self.ok, **asdict(self)}

    def __str__(self) -> str:
        compared = f", {self.nbytes / 1e6:,.1f} MB compared" if self.nbytes else ""
        lines = [f"{'ok' if self.ok else 'NOT ok'}: {self.checked} copies checked{compared}"]
        for name in ("damaged", "stale", "missing", "orphaned"):
            findings: tuple[Finding, ...] = getattr(self, name)
            mended = sum(finding.mended for finding in findings)
            if findings:
                lines.append(f"{name}: {len(findings)}" + (f", {mended} made anew" if mended else ""))
            told = [f"{each.source}: {each.reason}{' (made anew)' * each.mended}" for each in findings]
            lines += some_of(told, "  ")
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Depth:
    """How closely to look.

    Parameters
    ----------
    deep : bool
        Compare every byte with its checksum; otherwise only what tells where pixels are.
    pixels : bool
        Compare every pixel with the source.
    """

    deep: bool = False
    pixels: bool = False


@dataclass(slots=True)
class _Account:
    """The findings so far."""

    checked: int = 0
    nbytes: int = 0
    found: dict[str, list[Finding]] = field(default_factory=dict)

    def add(self, kind: str, finding: Finding, mend: Callable[[], object] | None) -> None:
        """Note a finding; mend it first, if there is a way."""
        if mend is not None:
            try:
                mend()
            except SubregionError as error:
                finding = replace(finding, reason=f"{finding.reason} It cannot be made anew: {error}")
            else:
                finding = replace(finding, mended=True)
        self.found.setdefault(kind, []).append(finding)

    @property
    def report(self) -> VerifyReport:
        return VerifyReport(
            self.checked, self.nbytes, **{kind: tuple(findings) for kind, findings in self.found.items()}
        )


def verify_folder(folder: Folder, keys: Iterable[str], depth: Depth, repair: bool) -> VerifyReport:
    """Look at entries of a cache folder, whatever collection they belong to.

    Parameters
    ----------
    folder : Folder
        The cache folder.
    keys : iterable of str
        Which entries.
    depth : Depth
        How closely to look.
    repair : bool
        Whether to make damaged and stale entries anew, where their source is there.

    Returns
    -------
    VerifyReport
        Nothing is ever missing here, because nobody says what should be there.
    """
    account = _Account()
    for key in keys:
        account.checked += 1
        try:
            entry = folder.inspect(key)
        except NoEntryError as error:
            origin = error.origin
            mend = _anew(folder, None, origin) if repair and origin is not None else None
            source = folder.manifest_path(key) if origin is None else origin.source
            account.add("damaged", Finding(source, str(error)), mend)
            continue
        mend = _anew(folder, entry, entry.origin) if repair else None
        _examine(entry, depth, account, mend)
    return account.report


def verify_assets(
    store: Store, assets: Iterable[tuple[Any, Asset]], depth: Depth, repair: bool
) -> VerifyReport:
    """Look at the copies of images.

    Parameters
    ----------
    store : Store
        Where they are, and how they are stored.
    assets : iterable of (hashable, Asset)
        The files of the images, each with the id of its image.
    depth : Depth
        How closely to look.
    repair : bool
        Whether to make damaged, stale and missing copies anew.
    """
    account = _Account()
    seen: set[str] = set()
    for image_id, asset in assets:
        entries, faults = _entries_of(store, asset)
        if any(entry.data in seen for entry in entries):
            continue
        seen.update(entry.data for entry in entries)

        def anew(asset: Asset = asset, entries: Sequence[Entry] = entries) -> None:
            for entry in entries:
                store.discard_damaged(entry, asset)
            store.ensure(asset)

        mend = anew if repair else None
        account.checked += len(entries) + len(faults)
        for entry in entries:
            _examine(entry, depth, account, mend)
        for fault in faults:
            account.add("damaged", Finding(asset.path, fault), mend)
        if not entries and not faults:
            lack = _lack_of(store, asset)
            if lack is not None:
                account.add("missing", Finding(asset.path, f"image {shown(image_id)} {lack}"), mend)
    return account.report


def _lack_of(store: Store, asset: Asset) -> str | None:
    """Tell why an asset that has no copy cannot be read fast; None if it needs none."""
    try:
        return "has no copy." if store.wants_copy(asset) else None
    except SubregionError as error:
        return f"has no copy, and none can be made: {error}"


def _entries_of(store: Store, asset: Asset) -> tuple[list[Entry], list[str]]:
    """Return the copies that an asset has, whatever state they are in, and what is wrong with others."""
    entries, faults = [], []
    try:
        keys, _ = store.keys_of(asset)
    except SubregionError:
        if store.mode != "PATH":
            return [], []  # nothing tells the name of its copy
        keys = store.keys_by(asset, Identity("PATH", asset.path, None, asset.view))
    for key in keys:
        try:
            entries.append(store.folder.inspect(key))
        except NoEntryError as error:
            if os.path.lexists(store.folder.manifest_path(key)):
                faults.append(str(error))
    return entries, faults


def _examine(entry: Entry, depth: Depth, account: _Account, mend: Callable[[], object] | None) -> None:
    """Look at one entry and its source, and note what is wrong."""
    source = entry.origin.source
    fault = _fault_of(entry, depth, account)
    there = os.path.exists(source)
    if fault is not None:
        account.add("damaged", Finding(source, fault, entry.data), mend)
    elif there:
        change = _change_of(entry, depth)
        if change is not None:
            account.add("stale", Finding(source, change, entry.data), mend)
        elif depth.pixels:
            unlike = _unlike_source(entry)
            if unlike is not None:
                account.add("damaged", Finding(source, unlike, entry.data), mend)
    if not there and os.path.isdir(os.path.dirname(source)):
        account.add("orphaned", Finding(source, "is gone.", entry.data), None)


def _fault_of(entry: Entry, depth: Depth, account: _Account) -> str | None:
    """Tell what is not as it was written."""
    try:
        sums = Checksums.read(entry.sums_path, entry.sums)
        sums.compare_described(entry.data)
        for nbytes in sums.compare_all(entry.data) if depth.deep else ():
            account.nbytes += nbytes
    except SubregionError as error:
        return str(error)
    return None


def _change_of(entry: Entry, depth: Depth) -> str | None:
    """Tell whether the source is another than the entry was made of, as far as its kind of name shows it."""
    origin = entry.origin
    if origin.version != FORMAT_VERSION:
        return f"the copy is of version {origin.version} of the format, {FORMAT_VERSION} is written now."
    if origin.mode != "PATH" and not (depth.pixels and origin.mode == "PIXELS"):
        return None
    try:
        now = identify(origin.asset, origin.mode)
    except SubregionError as error:
        return str(error)
    if now.value == origin.value and entry.fits(now.signature):
        return None
    return "was changed since the copy was made."


def _as_read(entry: Entry) -> Raster:
    """Open a copy as those do who read it."""
    return entry.carried.given(open_raster(entry.data), entry.origin.view.palette == "rgb")


def _unlike_source(entry: Entry) -> str | None:
    """Tell where an entry shows other pixels than its source; of a lossy one, than a conversion makes now."""
    origin = entry.origin
    try:
        source, copy = open_raster(origin.source, origin.view), _as_read(entry)
        if "quality" not in origin.recipe.options:
            return _first_difference(source, copy)
        with tempfile.TemporaryDirectory(prefix="subregion-verify-") as folder:
            path = os.path.join(folder, "copy" + SUFFIXES[origin.recipe.kind])
            convert(source, path, origin.recipe.kind, origin.recipe.options)
            return _first_difference(open_raster(path), copy)
    except SubregionError as error:
        return str(error)


def _first_difference(source: Raster, copy: Raster) -> str | None:
    """Tell in which rows two images differ first."""
    if (source.shape, source.dtype) != (copy.shape, copy.dtype):
        return f"the copy holds {copy.shape} of {copy.dtype}, the source {source.shape} of {source.dtype}."
    row = 0
    for strip in source.strips(_ROWS):
        got = copy.read(Window(row, 0, strip.shape[0], strip.shape[1]))
        if got.tobytes() != strip.tobytes():
            rows = np.flatnonzero([a.tobytes() != b.tobytes() for a, b in zip(got, strip, strict=True)])
            return f"{copy.path}: row {row + int(rows[0])} is another than in the source."
        row += strip.shape[0]
    return None


def _anew(folder: Folder, entry: Entry | None, origin: Origin) -> Callable[[], object]:
    """Return what makes an entry anew that is known by its manifest alone."""
    store = Store(folder, origin.recipe, origin.mode)

    def mend() -> None:
        if entry is not None:
            store.discard_damaged(entry, origin.asset)
        store.ensure(origin.asset)

    return mend
