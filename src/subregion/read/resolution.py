"""How large the pixels of an image are, and the scale at which a read gives others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from affine import Affine

from subregion.errors import (
    ConfigError,
    MissingPackageError,
    NotGeoreferencedError,
    RecordError,
    SourceNotFoundError,
    shown,
)
from subregion.formats.pixelsize import microscope_size, printed_size
from subregion.geo.crs import system_of
from subregion.geometry.pixelsize import PixelSize
from subregion.read.georeference import georeference
from subregion.read.image import IDENTITY
from subregion.read.options import ReadOptions, checked_scale
from subregion.read.stored import level_of, turn_of

if TYPE_CHECKING:
    from subregion.cache.store import Store
    from subregion.formats.raster import Raster
    from subregion.records import Asset, ImageRecord

#: A scale that is closer to 1 is the noise of numbers that were rounded.
_NOISE = 1e-6
#: What files said of the size of their pixels, for as long as they are open.
_KNOWN: WeakKeyDictionary[Raster, dict[ImageRecord, PixelSize | None]] = WeakKeyDictionary()


def pixel_size(store: Store, record: ImageRecord) -> PixelSize | None:
    """Return the size of the pixels of an image, as its default file says it; None if that is unknown.

    Only headers are read, and nothing is converted.

    Raises
    ------
    SubregionError
        If the file cannot be read.
    """
    asset = record.default_asset
    header = store.header(asset)
    known = _KNOWN.setdefault(header, {})
    try:
        return known[record]
    except KeyError:
        size = _of_image(store, record, asset)
    known.clear()  # nearly always a file belongs to one image; threads may read it as another
    known[record] = size
    return size


def _of_image(store: Store, record: ImageRecord, asset: Asset) -> PixelSize | None:
    if asset.picture is not None:
        return None
    try:
        size = microscope_size(asset.path, asset.view)
    except SourceNotFoundError:
        size = None  # there is only a copy
    if size is not None:
        return _on_image(store, asset, size)
    try:
        return _on_the_ground(store, record)
    except NotGeoreferencedError:
        pass
    try:
        size = printed_size(asset.path, asset.view)
    except SourceNotFoundError:
        return None
    return None if size is None else _on_image(store, asset, size)


def _on_image(store: Store, asset: Asset, size: PixelSize) -> PixelSize | None:
    """Return the size of the pixels of an image of which those of a file are known."""
    to_image, from_full = asset.to_image or IDENTITY, level_of(store, asset)
    return None if from_full is None else size.of_part(to_image @ turn_of(store, asset) @ from_full)


def _on_the_ground(store: Store, record: ImageRecord) -> PixelSize | None:
    try:
        place = georeference(store, record)
    except MissingPackageError:
        place = georeference(store, record, with_crs=False)
    unit, path = "unknown", record.default_asset.path
    if place.crs is not None:
        try:
            axes = system_of(place.crs, path, "the unit of its pixels").axis_info
        except (MissingPackageError, NotGeoreferencedError):
            axes = ()
        unit = axes[0].unit_name if axes else unit
    return PixelSize(1.0, 1.0, unit).of_part(~Affine(*place.to_world[:6]))


def resolved(store: Store, record: ImageRecord, options: ReadOptions) -> ReadOptions:
    """Return options whose scale gives the resolution that they ask for, of one image.

    Raises
    ------
    ConfigError
        If the size of its pixels is not known.
    """
    if options.resolution is None:
        return options
    path = record.default_asset.path
    size = pixel_size(store, record)
    if size is None:
        raise ConfigError(
            f"{path}: resolution={_told(options)} needs the size of its pixels, of which the file says "
            f"nothing. Give a scale instead."
        )
    down, across = options.resolution
    pair = size.y / down, size.x / across
    scale = tuple(1.0 if abs(each - 1) < _NOISE else each for each in pair)
    try:
        return replace(options, scale=checked_scale(scale), resolution=None)
    except ConfigError as error:
        raise ConfigError(
            f"{path}: resolution={_told(options)} of pixels of {size.y:g} x {size.x:g} {size.unit}: {error}"
        ) from None


def resolved_alike(store: Store, records: Sequence[ImageRecord], options: ReadOptions) -> ReadOptions:
    """Return the same for images that are read into one array.

    Raises
    ------
    RecordError
        If their pixels are not of one size.
    """
    if options.resolution is None or not records:
        return replace(options, resolution=None)
    found = resolved(store, records[0], options)
    for record in records[1:]:
        if resolved(store, record, options).scale != found.scale:
            raise RecordError(
                f"resolution={_told(options)}: the pixels of image {shown(records[0].image_id)} and of image "
                f"{shown(record.image_id)} are not of one size; read them one by one, or give a scale."
            )
    return found


def _told(options: ReadOptions) -> str:
    down, across = options.resolution or (0.0, 0.0)
    return f"{down:g}" if down == across else f"({down:g}, {across:g})"
