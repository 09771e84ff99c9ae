"""Where a JPEG 2000 file says that it lies: the boxes of GeoJP2 and GMLJP2, as GeoTIFF tags."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from affine import Affine

from subregion.codecs.headers import boxes
from subregion.errors import DamagedFileError, SubregionError
from subregion.formats.tiff import open as tiff
from subregion.geo.geotags import GEO_TAGS, FileTag, naming_tags, placing_tags
from subregion.geo.markup import parse_markup

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from subregion.io.source import SourceFile

_GEOJP2 = bytes.fromhex("b14bf8bd083d4b43a5ae8cd7d5a6ce03")
#: Boxes with descriptions are small; a larger one is passed over.
_MAX_BOX = 1 << 20
_CODE = re.compile(r"(?i)epsg(?:::?|\.xml#|/0/|:[\d.]*:)(\d+)$")


def tags_of_jp2(file: SourceFile) -> tuple[FileTag, ...]:
    """Read the georeferencing of a JPEG 2000 file; empty if it has none.

    GeoJP2, a small GeoTIFF in a box, comes before GMLJP2.

    Raises
    ------
    DamagedFileError
        If what a box holds makes no sense.
    """
    found: tuple[FileTag, ...] = ()
    for kind, data in _boxes(file):
        if kind == b"uuid" and data[:16] == _GEOJP2:
            return _from_tiff(file, data[16:])
        if kind == b"asoc" and not found:
            found = _from_gml(file, data)
    return found


def _boxes(file: SourceFile) -> Iterator[tuple[bytes, bytes]]:
    """Yield kind and content of the boxes that may describe the picture."""
    for kind, begin, stop in boxes(file):
        if kind in (b"uuid", b"asoc") and stop - begin <= _MAX_BOX:
            yield kind, file.read(begin, stop - begin)


def _from_tiff(file: SourceFile, data: bytes) -> tuple[FileTag, ...]:
    try:
        return tuple(tag for tag in tiff.tags_in(io.BytesIO(data)) if tag.code in GEO_TAGS)
    except SubregionError:
        raise
    except Exception as error:
        raise DamagedFileError(f"{file.path}: its GeoJP2 box is malformed: {error}") from error


def _from_gml(file: SourceFile, data: bytes) -> tuple[FileTag, ...]:
    start, end = data.find(b"<"), data.rfind(b">")
    if b"gml.data" not in data or start < 0:
        return ()
    try:
        return _from_grid(parse_markup(data[start : end + 1]))
    except (ValueError, IndexError) as error:
        raise DamagedFileError(f"{file.path}: its GMLJP2 box is malformed: {error}") from error


def _from_grid(root: Element) -> tuple[FileTag, ...]:
    grid = root.find(".//{*}RectifiedGrid")
    point = None if grid is None else grid.find(".//{*}Point")
    if grid is None or point is None:
        return ()
    x, y = _pair(point.findtext("{*}pos") or point.findtext("{*}coordinates"))
    (a, d), (b, e) = (_pair(vector.text) for vector in grid.findall("{*}offsetVector")[:2])
    # Many systems put north first. Along a row of the picture one goes east rather than north.
    north_first = abs(d) > abs(a)
    if north_first:
        x, y, a, d, b, e = y, x, d, a, e, b
    to_world = Affine(a, b, x, d, e, y) @ Affine.translation(-0.5, -0.5)  # of the centre of the first pixel
    code = _CODE.search(point.get("srsName") or grid.get("srsName") or "")
    if code is None:
        return placing_tags(to_world)
    number = int(code[1])
    degrees = 4000 <= number < 5000 or (north_first and abs(x) <= 360 and abs(y) <= 90)
    keys = {1024: 2, 1025: 1, 2048: number} if degrees else {1024: 1, 1025: 1, 3072: number}
    return placing_tags(to_world) + (naming_tags(dict(keys)) if 0 < number < 32767 else ())


def _pair(text: str | None) -> tuple[float, float]:
    first, second = (float(number) for number in (text or "").replace(",", " ").split()[:2])
    return first, second
