"""What the indices of an image stand for."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from subregion.geo.sidecars import read_category_names

if TYPE_CHECKING:
    from subregion.cache.store import Store
    from subregion.codecs.color import Palette
    from subregion.records import ImageRecord


def read_palette(store: Store, record: ImageRecord) -> Palette | None:
    """Return the palette of the default file of an image; None if it has none.

    Nothing is converted. Names that the file does not carry are looked for in GDAL's ``.aux.xml`` beside it.

    Raises
    ------
    SubregionError
        If the file cannot be opened, or what lies beside it is damaged.
    """
    asset = record.default_asset
    indices = store.header(asset).as_indices
    palette = None if indices is None else indices.palette
    if palette is None or palette.names:
        return palette
    return replace(palette, names=read_category_names(asset.path))
