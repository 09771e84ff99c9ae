"""The files beside an image that say where it lies: world files, GDAL's ``.aux.xml``, and ``.prj``."""

from __future__ import annotations

import errno
import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from affine import Affine

from subregion.errors import DamagedFileError, source_error
from subregion.geo.markup import parse_markup
from subregion.io.descriptors import read_regular

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

#: A world file is six short lines; more than this is something else.
_MAX_WORLD = 1 << 12
#: GDAL also keeps histograms in its file. Parsed, it may take a hundred times as much.
_MAX_XML = 4 << 20
_MAX_WKT = 1 << 16
#: What a column of a raster attribute table is used for, as GDAL numbers it.
_NAME, _MIN, _MIN_MAX = "2", "3", "5"
#: Values of a class, at most.
_MOST_NAMES = 1 << 16


@dataclass(frozen=True, slots=True)
class Pam:
    """What GDAL noted beside an image.

    Parameters
    ----------
    path : str
        The file with the notes.
    to_world : affine.Affine or None
        From pixel corners of the image (x, y) to the ground.
    crs : str or None
        The coordinate reference system.
    points : int
        How many ground control points are listed.
    """

    path: str
    to_world: Affine | None
    crs: str | None
    points: int


@dataclass(frozen=True, slots=True)
class World:
    """What a world file says.

    Parameters
    ----------
    path : str
        That file.
    to_world : affine.Affine
        From pixel corners of the image (x, y) to the ground.
    crs : str or None
        The coordinate reference system, from the ``.prj`` beside it.
    """

    path: str
    to_world: Affine
    crs: str | None


def read_pam(path: str) -> Pam | None:
    """Read what GDAL notes beside an image of any format, in ``<name>.aux.xml``; None if there is none.

    Raises
    ------
    DamagedFileError
        If it is not such a file.
    """
    name = f"{path}.aux.xml"
    data = _content(name, _MAX_XML)
    if data is None:
        return None
    try:
        root = parse_markup(data)
        text = root.findtext("GeoTransform")
        matrix = None
        if text is not None:
            c, a, b, f, d, e = (float(number) for number in text.split(","))
            matrix = _checked(Affine(a, b, c, d, e, f))
    except ValueError as error:
        raise DamagedFileError(f"{name}: is not what GDAL writes: {error}. Correct or remove it.") from error
    crs = (root.findtext("SRS") or "").strip() or None
    return Pam(name, matrix, crs, len(root.findall("GCPList/GCP")))


def read_category_names(path: str) -> tuple[str, ...]:
    """Read what GDAL notes of the classes of an image: its category names, or its raster attribute table.

    Returns
    -------
    tuple of str
        By value; empty text for values without a name. Empty if there are none.

    Raises
    ------
    DamagedFileError
        If the file beside the image is not one of GDAL's.
    """
    name = f"{path}.aux.xml"
    data = _content(name, _MAX_XML)
    if data is None:
        return ()
    try:
        root = parse_markup(data)
        listed = root.findall("PAMRasterBand[@band='1']/CategoryNames/Category")
        if listed:
            return tuple((each.text or "").strip() for each in listed)
        table = root.find("PAMRasterBand[@band='1']/GDALRasterAttributeTable")
        return () if table is None else _names_of_rows(table)
    except ValueError as error:
        raise DamagedFileError(f"{name}: is not what GDAL writes: {error}. Correct or remove it.") from error


def _names_of_rows(table: Element) -> tuple[str, ...]:
    """Return the names in a raster attribute table, by value."""
    usages = [(each.findtext("Usage") or "").strip() for each in table.findall("FieldDefn")]
    values = next((usages.index(usage) for usage in (_MIN_MAX, _MIN) if usage in usages), None)
    if values is None or _NAME not in usages:
        return ()
    names: dict[int, str] = {}
    for row in table.findall("Row"):
        cells = [(each.text or "").strip() for each in row.findall("F")]
        value = float(cells[values]) if len(cells) == len(usages) else -1.0
        if 0 <= value < _MOST_NAMES:  # neither infinite nor NaN
            names[int(value)] = cells[usages.index(_NAME)]
    return tuple(names.get(value, "") for value in range(max(names, default=-1) + 1))


def read_world(path: str) -> World | None:
    """Read the world file of an image, with the ``.prj`` beside it; None if there is none.

    For ``a.png`` that is ``a.pgw``, ``a.pngw``, ``a.png.wld`` or ``a.wld``, whichever is found first.

    Raises
    ------
    DamagedFileError
        If it does not hold six numbers.
    """
    stem, extension = os.path.splitext(path)
    kind = extension[1:]
    names = [f"{stem}.{kind[0]}{kind[-1]}w", f"{stem}.{kind}w"] if kind else []
    names += [f"{path}.wld", f"{stem}.wld"]
    for name in names:
        base, suffix = os.path.splitext(name)
        for spelled in dict.fromkeys((name, base + suffix.lower(), base + suffix.upper())):
            data = _content(spelled, _MAX_WORLD)
            if data is not None:
                return World(spelled, _world_matrix(spelled, data), _projection(stem))
    return None


def _world_matrix(name: str, data: bytes) -> Affine:
    try:
        numbers = [float(word.replace(",", ".")) for word in data.decode("ascii").split()]
        a, d, b, e, c, f = numbers[:6]
        # It speaks of the centre of the first pixel.
        return _checked(Affine(a, b, c, d, e, f) @ Affine.translation(-0.5, -0.5))
    except ValueError as error:
        raise DamagedFileError(
            f"{name}: a world file holds six numbers, this one does not: {error}. Correct or remove it."
        ) from error


def _checked(matrix: Affine) -> Affine:
    if not all(map(math.isfinite, (*matrix[:6], matrix.determinant))) or matrix.determinant == 0:
        raise ValueError(f"the transform {tuple(matrix[:6])} is singular")
    return matrix


def _projection(stem: str) -> str | None:
    for name in (f"{stem}.prj", f"{stem}.PRJ"):
        data = _content(name, _MAX_WKT)
        if data is not None:
            return data.decode("utf-8", "replace").strip("\0\ufeff \t\r\n") or None
    return None


def _content(name: str, most: int) -> bytes | None:
    """Return what is in a file; None if it is not there."""
    try:
        data = read_regular(name, most + 1)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno in (errno.ENXIO, errno.ENAMETOOLONG):
            return None  # a pipe, a socket or a device, or a name that no file has
        raise source_error(name, error) from error
    if len(data) > most:
        raise DamagedFileError(f"{name}: is larger than {most} bytes, which is no such file. Remove it.")
    return data
