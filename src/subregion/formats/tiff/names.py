"""What the tags of a TIFF say of its bands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from subregion.formats.bands import Band, nanometres
from subregion.geo.markup import parse_markup

if TYPE_CHECKING:
    from xml.etree import ElementTree

    from subregion.formats.tiff.color import Page

_DESCRIPTION, _GDAL_METADATA = 270, 42112
#: Bytes of XML that are parsed: thousands of planes with all that is known of each.
_MOST_XML = 32 << 20
#: What GDAL notes of single bands, by role or by name.
_OF_BANDS = (
    "description", "unittype", "central_wavelength_um", "wavelength", "wavelength_units", "wavelength_unit"
)  # fmt: skip
#: More bands than this have no names.
_MOST_NAMES = 1 << 16


@dataclass(frozen=True, slots=True)
class Said:
    """What a page says in words, to be parsed when it is needed.

    Parameters
    ----------
    description, metadata : str, bytes or None
        Its image description, and the metadata of GDAL.
    samples : int
        How many a pixel has: bands of which GDAL notes nothing are left out of its metadata.
    """

    description: Any
    metadata: Any
    samples: int

    @classmethod
    def by(cls, page: Page) -> Said:
        """Take it from the tags of a page."""
        return cls(
            page.tags.valueof(_DESCRIPTION), page.tags.valueof(_GDAL_METADATA), int(page.samplesperpixel)
        )

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

    def gdal_bands(self) -> list[Band] | None:
        """Return what GDAL noted of the bands; None if there is nothing of the kind."""
        root = _parsed(self.metadata)
        if root is None:
            return None
        found: dict[int, dict[str, str]] = {}
        for item in root.iter("Item"):
            sample, known = item.get("sample") or "", item.get("role") or (item.get("name") or "").lower()
            if known in _OF_BANDS and sample.isascii() and sample.isdecimal():
                found.setdefault(int(sample[:9]), {}).setdefault(known, item.text or "")
        if not found or max(found) >= _MOST_NAMES:
            return None
        return [_gdal_band(found.get(band, {})) for band in range(max(max(found) + 1, self.samples))]

    def ome_pixels(self) -> list[ElementTree.Element] | None:
        """Return the ``Pixels`` of each image of OME-XML; None if there is none that makes sense."""
        root = _parsed(self.description) if self.is_ome else None
        if root is None:
            return None
        return [each for each in root.iter() if _local(each) == "Pixels"]

    def ome_bands(self, series: int) -> list[Band] | None:
        """Return what OME-XML says of the channels of an image."""
        pixels = self.ome_pixels()
        if not pixels or series >= len(pixels):
            return None
        return [_ome_band(each) for each in pixels[series] if _local(each) == "Channel"]


def _gdal_band(said: dict[str, str]) -> Band:
    wavelength = nanometres(said.get("central_wavelength_um"), "um")
    if wavelength is None:  # as ENVI has it
        unit = said.get("wavelength_units") or said.get("wavelength_unit")
        wavelength = nanometres(said.get("wavelength"), unit)
    return Band(said.get("description", ""), wavelength, said.get("unittype", ""))


def _ome_band(channel: ElementTree.Element) -> Band:
    wavelength = None
    for light in ("Emission", "Excitation"):
        unit = channel.get(f"{light}WavelengthUnit", "nm")
        wavelength = wavelength or nanometres(channel.get(f"{light}Wavelength"), unit)
    return Band(channel.get("Name") or "", wavelength)


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
