"""The area of interest: a polygon in pixels, or GeoJSON on the ground."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subregion.collections.coco_file import parse
from subregion.errors import ConfigError, NotGeoreferencedError, shown, source_error
from subregion.geo.crs import import_pyproj
from subregion.geometry.georeference import Georeference
from subregion.libraries import needed, shapely
from subregion.paths import path_of

#: What GeoJSON means where it says nothing: longitude and latitude.
GEOJSON_CRS = "OGC:CRS84"
#: So many points are put on the longest side of an area before it is bent by another reference system.
_POINTS = 200


@dataclass(frozen=True, eq=False)
class Area:
    """An area of interest.

    Parameters
    ----------
    geometry : shapely.Polygon or shapely.MultiPolygon
        Of pixels (x, y), from the outer corner of the first; or of coordinates on the ground.
    crs : str or None
        The reference system of the ground; None for pixels.
    """

    geometry: Any
    crs: Any = None

    @classmethod
    def of(cls, area: Any, crs: Any = None) -> Area:
        """Take over what users give.

        Parameters
        ----------
        area : shapely geometry, GeoJSON as a dict, or the path of a GeoJSON file
            One or several polygons. A geometry without `crs` is in pixels of each image. GeoJSON is on the
            ground: in `crs`, else in that of its member ``"crs"``, else in longitude and latitude (RFC 7946).
        crs : str, int, pyproj.CRS or None
            The reference system.

        Raises
        ------
        ConfigError
            If it is no area.
        """
        module = needed(shapely, "an area of interest")
        if isinstance(area, str | os.PathLike):
            area = _read(path_of(area, "the area of interest"))
        if isinstance(area, Mapping):
            crs = _named_crs(area) if crs is None else crs
            area = _geometry(module, area)
        if not isinstance(area, module.Geometry) or module.get_dimensions(area) != 2:
            raise ConfigError(f"area={shown(area)}: must be a polygon, or several, as shapely or GeoJSON.")
        return cls(area if module.is_valid(area) else module.make_valid(area), crs)

    def in_pixels(self, place: Georeference, size: tuple[int, int], image: str) -> Area:
        """Return the same area in pixels of an image.

        Parameters
        ----------
        place : Georeference
            Where the image lies.
        size : tuple of int
            Rows and columns of the image. What is far from it is left out, because its reference system may
            not be defined there.
        image : str
            To name in messages.

        Raises
        ------
        NotGeoreferencedError
            If nothing leads from the reference system of the area to that of the image.
        """
        if self.crs is None:
            return self
        module, geometry = needed(shapely, "an area of interest"), self.geometry
        transformer = self._transformer(place, image)
        if transformer is not None:
            geometry = _near(module, geometry, place.bounds(*size), transformer)
            left, bottom, right, top = geometry.bounds
            if not geometry.is_empty:
                geometry = module.segmentize(geometry, max(right - left, top - bottom) / _POINTS)
        back = ~place.to_world

        def moved(points: NDArray[np.float64]) -> NDArray[np.float64]:
            x, y = points[:, 0], points[:, 1]
            if transformer is not None:
                x, y = transformer.transform(x, y)
            found = np.stack([back.a * x + back.b * y + back.c, back.d * x + back.e * y + back.f], axis=1)
            if not np.isfinite(found).all():
                raise NotGeoreferencedError(
                    f"{image}: the area of interest reaches beyond where the reference system of the image, "
                    f"{place.crs_name}, is defined; cut it first."
                )
            return found

        geometry = module.transform(geometry, moved)
        return Area(geometry if module.is_valid(geometry) else module.make_valid(geometry))

    def _transformer(self, place: Georeference, image: str) -> Any:
        """Return what leads to the reference system of an image; None if it is that."""
        if place.crs is None:
            raise NotGeoreferencedError(
                f"{image}: names no coordinate reference system, so nothing leads there from that of the "
                f"area of interest. Give the area in pixels, as a shapely geometry without crs."
            )
        if place.crs == self.crs:
            return None
        pyproj = import_pyproj("an area of interest in another crs than that of the image")
        try:
            given = pyproj.CRS.from_user_input(self.crs)
        except pyproj.exceptions.CRSError as error:
            raise ConfigError(f"crs={shown(self.crs)}: is no coordinate reference system: {error}") from error
        try:
            own = pyproj.CRS.from_user_input(place.crs)
            if given.equals(own, ignore_axis_order=True):
                return None
            return pyproj.Transformer.from_crs(given, own, always_xy=True)
        except pyproj.exceptions.ProjError as error:
            raise NotGeoreferencedError(f"{image}: nothing leads there from {self.crs}: {error}") from error

    def meets(self, windows: NDArray[Any]) -> NDArray[np.bool_]:
        """Tell which windows share more than a border with the area, which is in pixels.

        Parameters
        ----------
        windows : ndarray, shape (N, 4)
            x0, y0, x1, y1.
        """
        module = needed(shapely, "an area of interest")
        module.prepare(self.geometry)
        boxes = module.box(*np.asarray(windows, np.float64).T)
        met: NDArray[np.bool_] = np.asarray(module.intersects(self.geometry, boxes))
        rows = np.flatnonzero(met)
        met[rows] = ~np.asarray(module.touches(self.geometry, boxes[rows]))
        return met


def _near(module: Any, geometry: Any, bounds: tuple[float, ...], transformer: Any) -> Any:
    """Cut an area to the surroundings of an image, whose bounds are in its own reference system."""
    left, bottom, right, top = transformer.transform_bounds(*bounds, direction="INVERSE")
    if not np.isfinite([left, bottom, right, top]).all() or left >= right:  # across the antimeridian
        return geometry
    x, y = (right - left) / 10, (top - bottom) / 10
    return module.intersection(geometry, module.box(left - x, bottom - y, right + x, top + y))


def _read(path: str) -> Any:
    try:
        with open(path, "rb") as file:
            return parse(path, file.read())
    except OSError as error:
        raise source_error(path, error) from error


def _named_crs(document: Mapping[str, Any]) -> str:
    named = document.get("crs")
    if named is None:
        return GEOJSON_CRS
    try:
        return str(named["properties"]["name"])
    except (TypeError, LookupError):
        raise ConfigError(
            f"area: its crs={shown(named)} is not understood; give crs=..., or remove it."
        ) from None


def _geometry(module: Any, document: Mapping[str, Any]) -> Any:
    """Return the polygons of GeoJSON as one geometry."""
    kind = document.get("type")
    try:
        if kind == "FeatureCollection":
            parts = [feature["geometry"] for feature in document["features"]]
        else:
            parts = [document["geometry"] if kind == "Feature" else document]
        found = [module.from_geojson(json.dumps(part)) for part in parts if part is not None]
    except (TypeError, LookupError, ValueError, module.errors.ShapelyError) as error:
        raise ConfigError(f"area: is no GeoJSON: {error}.") from error
    return module.union_all([each if module.is_valid(each) else module.make_valid(each) for each in found])
