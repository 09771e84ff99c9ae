"""What the tags of a TIFF call its bands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from subregion.geo.markup import parse_markup

if TYPE_CHECKING:
    from xml.etree import ElementTree

    from subregion.formats.tiff.color import Page

_DESCRIPTION, _GDAL_METADATA = 270, 42112
#: Bytes of XML that are parsed: thousands of planes with all that is known of each.
_MOST_XML = 32 << 20
#: More bands than this have no names.
_MOST_NAMES = 1 << 16


@dataclass(frozen=True, slots=True)
class Said:
    """What a page says in words, to be parsed when it is needed.

    Parameters
    ----------
    description, metadata : str, bytes or None
        Its image description, and the metadata of GDAL.
    """

    description: Any
    metadata: Any

    @classmethod
    def by(cls, page: Page) -> Said:
        """Take it from the tags of a page."""
        return cls(page.tags.valueof(_DESCRIPTION), page.tags.valueof(_GDAL_METADATA))

    @property
    def is_ome(self) -> bool:
        """Whether it is OME-XML."""
        text = self.description
        return isinstance(text, str) and text[-100:].rstrip("\0 \r\n\t").endswith("OME>")

    @property
    def is_stack(self) -> bool:
        """Whether a page says of itself that it is one of a stack."""
        text = self.description
        known = ("ImageJ=", '{"shape"', "shape=")
        return isinstance(text, str) and (text.startswith(known) or self.is_ome)

    def gdal_names(self) -> list[str] | None:
        """Return what GDAL noted as descriptions of the bands; None if there is nothing of the kind."""
        root = _parsed(self.metadata)
        if root is None:
            return None
        found: dict[int, str] = {}
        for item in root.iter("Item"):
            sample = item.get("sample") or ""
            if item.get("role") == "description" and sample.isascii() and sample.isdecimal():
                found[int(sample[:9])] = item.text or ""
        if not found or max(found) >= _MOST_NAMES:
            return None
        return [found.get(band, "") for band in range(max(found) + 1)]

    def ome_pixels(self) -> list[ElementTree.Element] | None:
        """Return the ``Pixels`` of each image of OME-XML; None if there is none that makes sense."""
        root = _parsed(self.description) if self.is_ome else None
        if root is None:
            return None
        return [each for each in root.iter() if _local(each) == "Pixels"]

    def ome_names(self, series: int) -> list[str] | None:
        """Return what OME-XML calls the channels of an image."""
        pixels = self.ome_pixels()
        if not pixels or series >= len(pixels):
            return None
        return [each.get("Name") or "" for each in pixels[series] if _local(each) == "Channel"]


def _parsed(text: Any) -> ElementTree.Element | None:
    data = text.encode("utf-8", "replace") if isinstance(text, str) else text
    if not isinstance(data, bytes) or len(data) > _MOST_XML:
        return None
    try:
        return parse_markup(data.strip(b"\0 \r\n\t"))
    except (ValueError, RecursionError):
        return None


def _local(element: ElementTree.Element) -> str:
    """Return the name of an element without its namespace."""
    return str(element.tag).rpartition("}")[2]
