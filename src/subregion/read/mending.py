"""Copies that turn out to be damaged when they are read: they are made anew, and all is planned again."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from subregion.errors import MendedError, SubregionError

if TYPE_CHECKING:
    from subregion.cache.opened import OpenAsset
    from subregion.cache.store import Store
    from subregion.formats.raster import Raster
    from subregion.records import Asset

T = TypeVar("T")


def planned_again(read: Callable[[], T], mended: list[str] | None = None) -> T:
    """Carry out a read, and all of it again whenever a damaged copy was made anew on the way.

    What a damaged copy said of its shape may have been wrong, and with it everything that was derived.

    Parameters
    ----------
    read : callable
        Opens, plans and reads.
    mended : list of str or None
        The sources whose copies were made anew are added.
    """
    seen: set[str] = set()
    while True:
        try:
            return read()
        except MendedError as error:
            if error.path in seen:
                raise
            seen.add(error.path)
            if mended is not None:
                mended.append(error.path)


def mend(store: Store, asset: Asset, opened: OpenAsset, error: SubregionError) -> MendedError:
    """Make a damaged copy anew; raise what was found if the damage is in the source, which is the user's."""
    if store.reopen(asset, opened) is None:
        raise error
    return MendedError(
        f"{asset.path}: its converted copy is damaged, and so was the one before. "
        f"Check the disk of the cache, {store.folder.path}.",
        asset.path,
    )


def mend_unlike(store: Store, asset: Asset, opened: OpenAsset, error: SubregionError) -> None:
    """Make a copy anew that is unlike its source, where it contradicts what is known of the image.

    Raises
    ------
    MendedError
        If that is so.
    """
    if opened.entry is not None and _is_unlike(store, asset, opened.raster):
        raise mend(store, asset, opened, error) from error


def _is_unlike(store: Store, asset: Asset, copy: Raster) -> bool:
    """Whether a copy has another shape than its source, as far as there is a source."""
    try:
        return store.in_place.open(asset).raster.shape != copy.shape
    except SubregionError:
        return False
