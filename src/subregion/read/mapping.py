"""Whole images as maps of their npy copies, of which only what is touched is read."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from subregion.errors import DamagedFileError, SubregionError, source_error
from subregion.read.mending import mend, planned_again
from subregion.read.options import Channels
from subregion.read.plan import is_plain, named_bands, open_default

if TYPE_CHECKING:
    from subregion.cache.store import Store
    from subregion.records import ImageRecord


def map_image(store: Store, record: ImageRecord, channels: Channels) -> NDArray[Any] | None:
    """Map the whole npy copy of an image; None where the image has to be read instead.

    Parameters
    ----------
    store : Store
        Where converted copies are.
    record : ImageRecord
        The image.
    channels : str, sequence of str or None
        Which channels.

    Returns
    -------
    ndarray, shape (rows, columns, channels), or None
        Read-only. None if images are stored otherwise, if pixels would have to be rearranged, or if the file
        cannot be mapped.

    Raises
    ------
    SubregionError
        If the copy was truncated or deleted and cannot be made anew.
    """
    if store.recipe.kind != "npy" or not is_plain(record, channels):
        return None
    return planned_again(lambda: _map_copy(store, record, channels))


def _map_copy(store: Store, record: ImageRecord, channels: Channels) -> NDArray[Any] | None:
    asset, opened = record.default_asset, open_default(store, record)
    entry, raster = opened.entry, opened.raster
    if entry is None or raster.driver != "NPY" or named_bands(asset, channels, raster) is not None:
        return None
    if raster.indexed is not None:
        return None  # the file holds indices, and their colours are asked for
    try:
        if os.stat(entry.data).st_size == entry.size:
            return raster.memmap.view()
        error: SubregionError = DamagedFileError(f"{entry.data}: was truncated.")
    except FileNotFoundError as missing:
        error = source_error(entry.data, missing)
    except OSError:
        return None  # its file system does not let files be mapped
    raise mend(store, asset, opened, error)
