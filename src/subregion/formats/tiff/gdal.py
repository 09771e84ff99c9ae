"""What tells that GDAL made the overviews of a TIFF, which are resized copies, or this library, which halves.

A TIFF does not say how its reduced pages were made. GDAL is known by what else it writes: its own tags, and
behind the header what it calls the ghost area. GeoTIFFs count as its own, too: most of their overviews are.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from subregion.geo.geotags import KEY_TAGS, PLACE_TAGS

if TYPE_CHECKING:
    from subregion.formats.grid import GridLevel
    from subregion.formats.tiff.color import Page
    from subregion.io.source import SourceFile

_METADATA, _NODATA = 42112, 42113
_SIGNS = (*PLACE_TAGS, KEY_TAGS[0], _METADATA, _NODATA)
_BEGIN = b"GDAL_STRUCTURAL_METADATA_SIZE="
#: Behind the header of a classic TIFF and of a BigTIFF.
_OFFSETS = (8, 16)

# Promises about the order of the parts. Not promised is each block's size in front of the block and its last
# bytes again behind it: they spare a reader over the network the table of sizes, which here stands at the
# start of the file anyway. The blank lets an editor turn NO into YES.
_PROMISES = b"LAYOUT=IFDS_BEFORE_DATA\nBLOCK_ORDER=ROW_MAJOR\nKNOWN_INCOMPATIBLE_EDITION=NO\n "
#: The one that this library writes. GDAL writes another, and turns NO into YES where it writes blocks anew.
GHOST = _BEGIN + b"%06d bytes\n" % len(_PROMISES) + _PROMISES
GHOST += b" " * (len(GHOST) % 2)


def as_made(file: SourceFile, level: GridLevel, own: Page, full: Page) -> GridLevel:
    """Return an overview that knows whether it is a resized copy.

    Parameters
    ----------
    file : SourceFile
        The file.
    level : GridLevel
        The overview.
    own : Page
        Its page.
    full : Page
        The page of the picture that it shows.
    """
    # Of overviews that it adds to any file, GDAL notes there how it made them.
    resized = _METADATA in own.tags or (
        not _begins(file, GHOST) and (_begins(file, _BEGIN) or any(code in full.tags for code in _SIGNS))
    )
    return replace(level, resized=resized)


def _begins(file: SourceFile, text: bytes) -> bool:
    head = file.head(_OFFSETS[-1] + len(text))
    return any(head.startswith(text, offset) for offset in _OFFSETS)
