"""From the keys of a GeoTIFF to a coordinate reference system in words that every library understands.

A registered system is named by its EPSG code. One that a file defines by itself is put together by pyproj:
PROJ makes the map projection, and it is grafted onto the datum that the file names.
"""

from __future__ import annotations

import math
import re
import reprlib
from typing import TYPE_CHECKING, Any, TypeAlias

from subregion.errors import SubregionError, UnsupportedFormatError
from subregion.libraries import needed, pyproj

if TYPE_CHECKING:
    from subregion.geo.geotags import GeoTags, KeyValue

_MODEL_TYPE, _CITATION = 1024, 1026
_GEODETIC, _DATUM, _PRIME_MERIDIAN = 2048, 2050, 2051
_ANGULAR_UNIT, _ANGULAR_UNIT_SIZE = 2054, 2055
_ELLIPSOID, _SEMI_MAJOR, _SEMI_MINOR, _INVERSE_FLATTENING = 2056, 2057, 2058, 2059
_PRIME_MERIDIAN_LONGITUDE, _TO_WGS84 = 2061, 2062
_PROJECTED, _PROJECTED_CITATION, _PROJECTION, _METHOD = 3072, 3073, 3074, 3075
_LINEAR_UNIT, _LINEAR_UNIT_SIZE = 3076, 3077
_IS_PROJECTED, _IS_GEOGRAPHIC, _IS_GEOCENTRIC = 1, 2, 3
_USER_DEFINED = 32767

#: The citations of a file, in which some writers put the whole system in WKT.
_CITATIONS = (_PROJECTED_CITATION, _CITATION, 2049)
_WKT = re.compile(r"\b(?:PROJCS|PROJCRS|GEOGCS|GEOGCRS|GEODCRS|COMPD_CS|BOUNDCRS)\[")

# Keys of parameters. Writers differ in which they use for the same thing, so each is a list of choices.
_PARALLEL_1, _PARALLEL_2 = (3078,), (3079,)
_LONGITUDE, _LATITUDE = (3080, 3084, 3088, 3095), (3081, 3085, 3089)
_POLE_LONGITUDE = (3095, 3080, 3084, 3088)
_EASTING, _NORTHING = (3082, 3086, 3090), (3083, 3087, 3091)
_SCALE = (3092, 3093)
_AZIMUTH, _SKEW = (3094,), (3096,)

_Parameters: TypeAlias = "dict[str, tuple[int, ...]]"
_NATURAL: _Parameters = {"lat_0": _LATITUDE, "lon_0": _LONGITUDE}
_SCALED: _Parameters = {**_NATURAL, "k_0": _SCALE}
_CONIC: _Parameters = {**_NATURAL, "lat_1": _PARALLEL_1, "lat_2": _PARALLEL_2}
_OBLIQUE: _Parameters = {
    "lat_0": _LATITUDE,
    "lonc": _LONGITUDE,
    "alpha": _AZIMUTH,
    "gamma": _SKEW,
    "k_0": _SCALE,
}
_MERIDIAN: _Parameters = {"lon_0": _LONGITUDE}
#: GeoTIFF's number of a map projection: what PROJ calls it, and from which keys its parameters come.
_METHODS: dict[int, tuple[str, _Parameters]] = {
    1: ("tmerc", _SCALED),
    3: ("omerc +no_uoff", _OBLIQUE),
    5: ("somerc", _SCALED),
    7: ("merc", {**_MERIDIAN, "k_0": _SCALE, "lat_ts": _PARALLEL_1}),
    8: ("lcc", _CONIC),
    9: ("lcc", {**_SCALED, "lat_1": _LATITUDE}),
    10: ("laea", _NATURAL),
    11: ("aea", _CONIC),
    12: ("aeqd", _NATURAL),
    13: ("eqdc", _CONIC),
    14: ("stere", _SCALED),
    15: ("stere", {"lat_0": _LATITUDE, "lon_0": _POLE_LONGITUDE, "k_0": _SCALE}),
    16: ("sterea", _SCALED),
    17: ("eqc", {**_NATURAL, "lat_ts": _PARALLEL_1}),
    18: ("cass", _NATURAL),
    19: ("gnom", _NATURAL),
    20: ("mill", _MERIDIAN),
    21: ("ortho", _NATURAL),
    22: ("poly", _NATURAL),
    23: ("robin", _MERIDIAN),
    24: ("sinu", _MERIDIAN),
    25: ("vandg", _MERIDIAN),
    26: ("nzmg", _NATURAL),
    27: ("tmerc +axis=wsu", _SCALED),
    28: ("cea", {**_MERIDIAN, "lat_ts": _PARALLEL_1}),
    9815: ("omerc", _OBLIQUE),
}
_POLAR = 15


def import_pyproj(what: str) -> Any:
    """Return pyproj; `what` needs it.

    Raises
    ------
    MissingPackageError
        If it is not installed.
    """
    return needed(pyproj, what)


def crs_of(tags: GeoTags, path: str) -> str | None:
    """Name the coordinate reference system of a GeoTIFF.

    Parameters
    ----------
    tags : GeoTags
        What the file says.
    path : str
        The file, to name in messages.

    Returns
    -------
    str or None
        ``"EPSG:..."``, or WKT; None if the file names none. Heights are left out.

    Raises
    ------
    UnsupportedFormatError
        If the system is defined by the file in a way that is not understood.
    MissingPackageError
        If it is defined by the file, and pyproj is not installed.
    """
    keys = tags.keys
    model = keys.get(_MODEL_TYPE)
    projected = model == _IS_PROJECTED or (model is None and _PROJECTED in keys)
    code = _code(keys.get(_PROJECTED)) if projected else _code(keys.get(_GEODETIC))
    if code is not None and model != _USER_DEFINED:
        return f"EPSG:{code}"
    for citation in _CITATIONS:
        text = keys.get(citation)
        found = _WKT.search(text) if isinstance(text, str) else None
        if found is not None and isinstance(text, str):
            return text[found.start() :].strip()
    if not keys or model in (0, _USER_DEFINED, _IS_GEOCENTRIC):
        return None
    if not projected and _GEODETIC not in keys and _DATUM not in keys and _SEMI_MAJOR not in keys:
        return None
    pyproj = import_pyproj(f"{path}: its own coordinate reference system")
    try:
        base = _geographic(pyproj, keys)
        return str((_projected_on(pyproj, base, keys) if projected else base).to_wkt())
    except SubregionError:
        raise
    except (pyproj.exceptions.CRSError, TypeError, ValueError, KeyError) as error:
        raise UnsupportedFormatError(
            f"{path}: defines its own coordinate reference system, which makes no sense: {error}"
        ) from error


def system_of(crs: str, path: str, what: str) -> Any:
    """Return a coordinate reference system that a file names, as pyproj has it.

    Parameters
    ----------
    crs : str
        What the file says.
    path : str
        The file, to name in messages.
    what : str
        What needs pyproj.

    Returns
    -------
    pyproj.CRS

    Raises
    ------
    UnsupportedFormatError
        If PROJ does not know it.
    MissingPackageError
        If pyproj is not installed.
    """
    module = import_pyproj(what)
    try:
        return module.CRS.from_user_input(crs)
    except module.exceptions.CRSError as error:
        raise UnsupportedFormatError(
            f"{path}: names a coordinate reference system that PROJ does not know: {reprlib.repr(crs)}. "
            f"Correct it, or leave it out."
        ) from error


def keys_of(crs: str) -> dict[int, int | str]:
    """Return the keys by which a GeoTIFF names a coordinate reference system.

    Parameters
    ----------
    crs : str
        As `crs_of` returns it. One without an EPSG code goes into a citation, as GDAL and Esri write it.

    Raises
    ------
    MissingPackageError
        If pyproj is not installed.
    UnsupportedFormatError
        If there is no such system.
    """
    pyproj = import_pyproj("a coordinate reference system that is written into a file")
    try:
        system = pyproj.CRS.from_user_input(crs)
        code = system.to_epsg()
        keys: dict[int, int | str] = {1025: 1}
        if code is None:
            text = f"ESRI PE String = {system.to_wkt('WKT1_ESRI')}"
            return keys | {_MODEL_TYPE: _USER_DEFINED, _PROJECTED_CITATION: text}
    except pyproj.exceptions.CRSError as error:
        raise UnsupportedFormatError(f"crs={crs!r}: cannot be written into a file: {error}") from error
    if system.is_projected:
        return keys | {_MODEL_TYPE: _IS_PROJECTED, _PROJECTED: code}
    return keys | {_MODEL_TYPE: _IS_GEOGRAPHIC, _GEODETIC: code}


def _code(value: KeyValue | None) -> int | None:
    """Return the number of a registered thing; None where a file defines its own, or nothing."""
    return value if isinstance(value, int) and 0 < value < _USER_DEFINED else None


def _number(keys: dict[int, KeyValue], *choices: int) -> float | None:
    for choice in choices:
        value = keys.get(choice)
        if isinstance(value, int | float) and math.isfinite(value):
            return float(value)
    return None


def _unit(pyproj: Any, keys: dict[int, KeyValue], category: str) -> dict[str, Any]:
    """Return the unit of coordinates or angles in the words of PROJJSON."""
    linear = category == "linear"
    code = _code(keys.get(_LINEAR_UNIT if linear else _ANGULAR_UNIT))
    kind = "LinearUnit" if linear else "AngularUnit"
    usual: dict[str, Any] = {"type": kind, "name": "metre" if linear else "degree"}
    usual["conversion_factor"] = 1.0 if linear else math.pi / 180
    if code == (9001 if linear else 9102):
        return usual
    known = pyproj.database.get_units_map(auth_name="EPSG", category=category, allow_deprecated=True)
    for unit in known.values() if code is not None else ():
        if int(unit.code) == code:
            return {"type": kind, "name": unit.name, "conversion_factor": unit.conv_factor}
    size = _number(keys, _LINEAR_UNIT_SIZE if linear else _ANGULAR_UNIT_SIZE)
    if size is not None and size > 0:
        return {"type": kind, "name": "unknown", "conversion_factor": size}
    return usual


def _axes(subtype: str, unit: dict[str, Any], *axes: tuple[str, str, str]) -> dict[str, Any]:
    return {
        "subtype": subtype,
        "axis": [
            {"name": name, "abbreviation": short, "direction": direction, "unit": unit}
            for name, short, direction in axes
        ],
    }


def _geographic(pyproj: Any, keys: dict[int, KeyValue]) -> Any:
    """Return latitude and longitude on the datum of the file."""
    crs = pyproj.crs
    code = _code(keys.get(_GEODETIC))
    if code is not None:
        return crs.CRS.from_epsg(code).to_2d()
    datum = _code(keys.get(_DATUM))
    meridian = _code(keys.get(_PRIME_MERIDIAN))
    longitude = _number(keys, _PRIME_MERIDIAN_LONGITUDE) or 0.0
    unit = _unit(pyproj, keys, "angular")
    if datum is not None:
        reference = crs.Datum.from_epsg(datum)
    else:
        if meridian is not None:
            start = crs.PrimeMeridian.from_epsg(meridian)
        else:
            degrees = longitude * unit["conversion_factor"] * 180 / math.pi
            start = crs.datum.CustomPrimeMeridian(degrees, "unknown" if degrees else "Greenwich")
        reference = crs.datum.CustomDatum(ellipsoid=_ellipsoid(crs, keys), prime_meridian=start)
    axes = _axes("ellipsoidal", unit, ("Longitude", "lon", "east"), ("Latitude", "lat", "north"))
    document = {
        "type": "GeographicCRS",
        "name": "unknown",
        _datum_word(reference): reference.to_json_dict(),
        "coordinate_system": axes,
    }
    found = crs.CRS.from_json_dict(document)
    shift = keys.get(_TO_WGS84)
    if datum is None and isinstance(shift, tuple) and len(shift) in (3, 7):
        return crs.BoundCRS(
            source_crs=found,
            target_crs="EPSG:4326",
            transformation=crs.coordinate_operation.ToWGS84Transformation(found, *shift),
        )
    return found


def _datum_word(datum: Any) -> str:
    return "datum_ensemble" if datum.to_json_dict()["type"] == "DatumEnsemble" else "datum"


def _ellipsoid(crs: Any, keys: dict[int, KeyValue]) -> Any:
    code = _code(keys.get(_ELLIPSOID))
    if code is not None:
        return crs.Ellipsoid.from_epsg(code)
    major, minor = _number(keys, _SEMI_MAJOR), _number(keys, _SEMI_MINOR)
    flattening = _number(keys, _INVERSE_FLATTENING)
    if major is None:
        raise ValueError("it has neither a datum nor an ellipsoid")
    if flattening is None and minor is None:
        minor = major
    if flattening == 0:  # as writers put it for a sphere
        flattening, minor = None, major
    return crs.datum.CustomEllipsoid(
        semi_major_axis=major,
        inverse_flattening=flattening,
        semi_minor_axis=minor if flattening is None else None,
    )


def _projected_on(pyproj: Any, base: Any, keys: dict[int, KeyValue]) -> Any:
    """Graft the map projection of the file onto its latitude and longitude."""
    unit = _unit(pyproj, keys, "linear")
    bound = base.is_bound
    projection = _code(keys.get(_PROJECTION))
    if projection is not None:
        conversion = pyproj.crs.CoordinateOperation.from_epsg(projection)
    else:
        text = _proj_text(
            keys, _unit(pyproj, keys, "angular")["conversion_factor"], unit["conversion_factor"]
        )
        # The ellipsoid is that of `base`; PROJ wants one to make sense of the text.
        conversion = pyproj.CRS.from_user_input(f"{text} +ellps=GRS80 +type=crs").coordinate_operation
    south = keys.get(_METHOD) == 27
    axes = _axes(
        "Cartesian",
        unit,
        ("Westing", "W", "west") if south else ("Easting", "E", "east"),
        ("Southing", "S", "south") if south else ("Northing", "N", "north"),
    )
    citation = keys.get(_PROJECTED_CITATION, keys.get(_CITATION))
    document = {
        "type": "ProjectedCRS",
        "name": citation if isinstance(citation, str) and citation else "unknown",
        "base_crs": (base.source_crs if bound else base).to_json_dict(),
        "conversion": conversion.to_json_dict(),
        "coordinate_system": axes,
    }
    found = pyproj.CRS.from_json_dict(document)
    if not bound:
        return found
    return pyproj.crs.BoundCRS(
        source_crs=found, target_crs="EPSG:4326", transformation=base.coordinate_operation
    )


def _proj_text(keys: dict[int, KeyValue], radians: float, metres: float) -> str:
    method = keys.get(_METHOD)
    if not isinstance(method, int) or method not in _METHODS:
        known = ", ".join(map(str, sorted(_METHODS)))
        raise ValueError(f"map projection {method} is not among those that are known: {known}")
    name, places = _METHODS[method]
    degrees = radians * 180 / math.pi
    values: dict[str, float] = {}
    for parameter, choices in places.items():
        value = _number(keys, *choices)
        if value is not None:
            values[parameter] = value if parameter == "k_0" else value * degrees
    for parameter, choices in {"x_0": _EASTING, "y_0": _NORTHING}.items():
        values[parameter] = (_number(keys, *choices) or 0.0) * metres
    if method == _POLAR:
        latitude = values.pop("lat_0", 90.0)
        if abs(abs(latitude) - 90) > 1e-9:  # then it is that of true scale
            values.pop("k_0", None)
            values["lat_ts"] = latitude
        values["lat_0"] = math.copysign(90, latitude)
    if name.startswith("omerc"):
        values.setdefault("gamma", values.get("alpha", 0.0))
    return f"+proj={name} " + " ".join(f"+{key}={value!r}" for key, value in values.items())
