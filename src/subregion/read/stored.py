"""From the picture that a file itself tells of, stored and in full, to the one that was chosen of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from affine import Affine

from subregion.errors import SourceNotFoundError
from subregion.formats.turned import Turn

if TYPE_CHECKING:
    from subregion.cache.store import Store
    from subregion.records import Asset


def level_of(store: Store, asset: Asset) -> Affine | None:
    """Return the transform from pixels of the full resolution of a file to those of the level that is chosen.

    None if the file is gone: then only its copy can tell, which tells of the level, and nothing that lies
    beside the file, which tells of its full resolution.

    Parameters
    ----------
    store : Store
        Where files are open.
    asset : Asset
        The file, and what is chosen of it.
    """
    if not asset.level:
        return Affine.identity()
    try:
        return store.in_place.open(asset).raster.from_full
    except SourceNotFoundError:
        return None


def turn_of(store: Store, asset: Asset) -> Affine:
    """Return the transform from pixels as they are stored to those as they are shown.

    Parameters
    ----------
    store : Store
        Where files are open.
    asset : Asset
        The file, and what is chosen of it.

    Raises
    ------
    SubregionError
        If it is turned, and its source cannot be opened.
    """
    if asset.orientation == "stored":
        return Affine.identity()
    source = store.in_place.open(asset).raster
    return Turn.of(source.orientation).to_shown(*source.full.as_stored.shape[:2])
