"""Images on the ground: where the grid of a record lies, and which of its pixels a rectangle covers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from affine import Affine

from subregion.errors import (
    ConfigError,
    MissingPackageError,
    NotGeoreferencedError,
    RegionError,
    SourceNotFoundError,
    SubregionError,
)
from subregion.formats.open import tags_of
from subregion.geo.crs import import_pyproj, keys_of
from subregion.geo.georeference import georeference_of
from subregion.geo.geotags import KEY_TAGS, GeoTags, naming_tags, placing_tags
from subregion.geometry.georeference import Bounds, Georeference, check_bounds
from subregion.geometry.window import Window
from subregion.read.image import IDENTITY, image_size
from subregion.read.stored import level_of, turn_of

if TYPE_CHECKING:
    from subregion.cache.store import Store
    from subregion.geo.geotags import FileTag
    from subregion.geometry.region import Selection
    from subregion.records import Asset, ImageRecord

#: How many points are put on each side of a rectangle before it is transformed. More are taken until the
#: window stands still.
SIDE_POINTS = (21, 85, 341, 1365)


def georeference(store: Store, record: ImageRecord, with_crs: bool = True) -> Georeference:
    """Find out where the grid of an image lies on the ground.

    Nothing is converted or decoded.

    Parameters
    ----------
    store : Store
        Where converted copies are.
    record : ImageRecord
        The image. Its default file tells; if that says nothing, the first that does.
    with_crs : bool
        Whether the coordinate reference system is wanted too.

    Returns
    -------
    Georeference
        Of the grid of the image.

    Raises
    ------
    NotGeoreferencedError
        If no file tells.
    """
    try:
        return _of_asset(store, record.default_asset, with_crs)
    except NotGeoreferencedError as error:
        nowhere = error
    for asset in record.assets:
        if asset is not record.default_asset:
            try:
                return _of_asset(store, asset, with_crs)
            except (NotGeoreferencedError, SourceNotFoundError):
                continue  # whoever reads from a missing file will hear of it
    raise nowhere


def _of_asset(store: Store, asset: Asset, with_crs: bool) -> Georeference:
    if asset.picture is not None:
        raise NotGeoreferencedError(f"{asset.path}: nothing tells where its picture={asset.picture!r} lies.")
    turn = turn_of(store, asset)
    stored = replace(asset, orientation="stored")  # what tells is told of the picture as it is stored
    opened = store.opened(stored)
    tags = () if opened is None else opened.raster.tags
    if not tags:
        try:
            tags = tags_of(asset.path, stored.view)
        except SourceNotFoundError:
            tags = store.open(asset).raster.tags  # some identities need the copy only
    found = georeference_of(asset.path, tags, with_crs, level_of(store, asset))
    return found.of_part(turn).of_part(asset.to_image or IDENTITY)


def image_shape(store: Store, record: ImageRecord) -> tuple[int, int]:
    """Return rows and columns of the grid of an image, without a conversion."""
    return image_size(record, lambda: store.header(record.default_asset).shape)


def window_of(store: Store, record: ImageRecord, bounds: Iterable[float], crs: Any = None) -> Window:
    """Return the pixels of an image that a rectangle on the ground covers.

    Parameters
    ----------
    store : Store
        Where converted copies are.
    record : ImageRecord
        The image.
    bounds : tuple of float
        Min x, min y, max x and max y.
    crs : str, int, pyproj.CRS or None
        The coordinate reference system of the bounds, as `pyproj.CRS.from_user_input` takes it; None if it
        is that of the image.

    Returns
    -------
    Window
        See `Georeference.window`.

    Raises
    ------
    NotGeoreferencedError
        If nothing tells where the image lies.
    RegionError, RegionTypeError
        If the bounds are no rectangle, or lie beside the image.
    ConfigError
        If there is no such `crs`.
    MissingPackageError
        If `crs` is not the image's own, and pyproj is not installed.
    """
    given: Any = tuple(bounds) if isinstance(bounds, Sequence) else bounds
    place = georeference(store, record, with_crs=crs is not None)
    shape = image_shape(store, record)
    image = Window(0, 0, *shape)
    window: Window | None = None
    if crs is None or (crs == place.crs and not _wraps(given)):
        window = place.window(given)
    if crs is not None and (window is None or window.intersection(image).empty):
        # Also where the systems are the same: degrees may be off by a whole circle.
        try:
            window = _Transformed(record, place, shape, crs).window(given)
        except MissingPackageError:
            if window is None:
                raise
    if window is None or window.intersection(image).empty:
        stated = "" if crs is None else f" in {crs}"
        raise RegionError(
            f"{record.default_asset.path}: bounds={given!r}{stated} lie beside the image, which covers "
            f"{_rounded(place.bounds(*shape))} in {_name(store, record)}."
        )
    return window


def _wraps(bounds: Any) -> bool:
    try:
        return bool(bounds[0] > bounds[2])
    except (TypeError, IndexError):
        return False  # said better where they are checked


def _name(store: Store, record: ImageRecord) -> str:
    """Return the reference system of an image for a message, which must not fail on its way."""
    try:
        return georeference(store, record).crs_name
    except SubregionError:
        return "coordinates of its own"


def _rounded(bounds: Bounds) -> str:
    return "(" + ", ".join(f"{value:.10g}" for value in bounds) + ")"


def tags_of_part(store: Store, record: ImageRecord, selection: Selection) -> tuple[FileTag, ...]:
    """Return the GeoTIFF tags that a file of some pixels of an image should have; none if nothing tells.

    Parameters
    ----------
    store : Store
        Where converted copies are.
    record : ImageRecord
        The image.
    selection : Selection
        Which of its pixels.
    """
    header = store.header(record.default_asset)
    own = tuple(tag for tag in header.tags if tag.code in KEY_TAGS)
    try:
        place = georeference(store, record, with_crs=not own)
    except NotGeoreferencedError:
        return ()
    window = selection.window
    shift = Affine.translation(-window.col, -window.row)
    part = place.of_part(Affine.scale(1 / selection.col_step, 1 / selection.row_step) @ shift)
    if not own and part.crs is not None:
        own = naming_tags(keys_of(part.crs))
    return placing_tags(part.to_world, GeoTags.of(own).pixel_is_point) + own


class _Transformed:
    """Bounds in another reference system than that of their image."""

    def __init__(self, record: ImageRecord, place: Georeference, shape: tuple[int, int], crs: Any) -> None:
        path = record.default_asset.path
        if place.crs is None:
            raise NotGeoreferencedError(
                f"{path}: has a transform to the ground, but names no coordinate reference system. "
                f"Leave crs={crs!r} out, and give the bounds in the coordinates of the transform."
            )
        pyproj = import_pyproj("bounds in another crs than that of the image")
        try:
            given = pyproj.CRS.from_user_input(crs)
        except pyproj.exceptions.CRSError as error:
            raise ConfigError(f"crs={crs!r}: is no coordinate reference system: {error}") from error
        try:
            own = pyproj.CRS.from_user_input(place.crs)
        except pyproj.exceptions.CRSError as error:
            raise NotGeoreferencedError(f"{path}: names {place.crs!r}, which is unknown: {error}") from error
        self._place, self._crs = place, crs
        self._covered = place.bounds(*shape)
        self._from_degrees, self._to_degrees = given.is_geographic, own.is_geographic
        self._transformer: Any = None
        if not given.equals(own, ignore_axis_order=True):
            try:
                self._transformer = pyproj.Transformer.from_crs(given, own, always_xy=True)
            except pyproj.exceptions.ProjError as error:
                raise NotGeoreferencedError(
                    f"{path}: nothing leads from {crs!r} to its own reference system: {error}"
                ) from error

    def window(self, bounds: Any) -> Window:
        """Return the pixels that the bounds cover."""
        left, bottom, right, top = check_bounds(bounds, wraps=self._from_degrees)
        if left < right:
            return self._window((left, bottom, right, top))
        # Across the antimeridian: the two halves have to meet in the image too.
        west, east = (left, bottom, 180.0, top), (-180.0, bottom, right, top)
        one, other = self._window(west), self._window(east)
        col, col_stop = min(one.col, other.col), max(one.col_stop, other.col_stop)
        row, row_stop = min(one.row, other.row), max(one.row_stop, other.row_stop)
        apart = max(col_stop - col - one.width - other.width, row_stop - row - one.height - other.height)
        if apart > 1:
            raise self._cut(bounds, f"Read {west} and {east} one by one.")
        return Window(row, col, row_stop - row, col_stop - col)

    def _window(self, bounds: Bounds) -> Window:
        if self._transformer is None:
            return self._place.window(self._turned(bounds))
        found: Window | None = None
        for count in SIDE_POINTS:
            box: Bounds = self._transformer.transform_bounds(*bounds, densify_pts=count)
            if not all(map(math.isfinite, box)):
                raise RegionError(
                    f"bounds={bounds} in {self._crs} have no place in the reference system of the image, "
                    f"{self._place.crs_name}: they reach beyond where it is defined."
                )
            window = self._place.window(self._turned(box))
            if window == found:
                break
            found = window
        return window

    def _turned(self, box: Bounds) -> Bounds:
        """Turn degrees by whole circles so that they meet those of the image, which may run to 360."""
        left, bottom, right, top = box
        if not self._to_degrees:
            return box
        crosses = left > right
        if crosses:
            right += 360
        first, _, last, _ = self._covered
        least = (last - first) * 1e-9
        shared = {turn: min(right + turn, last) - max(left + turn, first) for turn in (0, 360, -360)}
        turn = max(shared, key=lambda turn: shared[turn])
        if crosses and sum(length > least for length in shared.values()) > 1:
            raise self._cut(box, "Read what lies on either side of it one by one.")
        return left + turn, bottom, right + turn, top

    def _cut(self, bounds: Any, way_out: str) -> RegionError:
        return RegionError(
            f"bounds={bounds} lie across the antimeridian, where the image, which covers "
            f"{_rounded(self._covered)}, is cut. {way_out}"
        )
