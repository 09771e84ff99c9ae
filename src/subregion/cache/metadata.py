"""What a source says beside its pixels, kept with copies whose format has no place for it."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from subregion.codecs.color import Palette
from subregion.convert.tiff_tags import FieldType
from subregion.formats.bands import Band
from subregion.formats.turned import upright
from subregion.geo.geotags import GEO_TAGS, FileTag

if TYPE_CHECKING:
    from subregion.formats.raster import Raster

#: More than this, in bytes, is not kept: thousands of ground control points, which give no affine.
_MOST = 1 << 16
#: Bytes of the colours of 16-bit indices.
_MOST_PALETTE = 1 << 18


@dataclass(frozen=True, slots=True)
class Carried:
    """What a source says beside its pixels.

    Parameters
    ----------
    tags : tuple of FileTag
        Where it lies on the ground.
    nodata : float or None
        The value that means "no pixel here".
    palette : bytes
        The colours of indices, one after the other, if the copy holds indices.
    colors : int
        How many bytes each of them has, 3 or 4.
    classes : tuple of str
        What each index is called.
    orientation : int
        How the copy is turned when it is read, by the number of the EXIF tag; 1 if it was written turned.
    bands : tuple of Band
        What it says of its bands; empty for nothing.
    left_out : str
        What of its file is not in the image, in words.
    """

    tags: tuple[FileTag, ...] = ()
    nodata: float | None = None
    palette: bytes = b""
    colors: int = 3
    classes: tuple[str, ...] = ()
    orientation: int = 1
    bands: tuple[Band, ...] = ()
    left_out: str = ""

    @classmethod
    def by(cls, source: Raster, as_stored: bool = False) -> Carried:
        """Take it from an open source.

        Parameters
        ----------
        source : Raster
            The source.
        as_stored : bool
            Whether the pixels of the copy lie as they are stored in the source, however that is read.
        """
        tags = tuple(tag for tag in source.tags if tag.code in GEO_TAGS and _is_sound(tag))
        nodata = source.nodata if _is_number(source.nodata) else None
        bands, left_out = source.bands, source.left_out[:_MOST]
        known = any(band != Band() for band in bands)
        said = cls(
            tags if sum(len(tag.value) for tag in tags) <= _MOST else (),
            nodata,
            orientation=source.orientation if as_stored else 1,
            bands=bands if known and sum(len(band.name) + len(band.unit) for band in bands) <= _MOST else (),
            left_out=left_out,
        )
        if source.palette is None:
            return said
        colors = source.palette.colors
        return replace(said, palette=colors.tobytes(), colors=colors.shape[1], classes=source.palette.names)

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Carried:
        """Read it from the manifest of an entry.

        Raises
        ------
        ValueError, TypeError
            If it is malformed.
        """
        nodata, orientation = document.get("nodata"), document.get("orientation", 1)
        tags = tuple(
            FileTag(code, kind, count, base64.b64decode(value, validate=True))
            for code, kind, count, value in document.get("tags", ())
        )
        sound = all(tag.code in GEO_TAGS and _is_sound(tag) for tag in tags)
        few = sum(len(tag.value) for tag in tags) <= _MOST
        if not (nodata is None or _is_number(nodata)) or not sound or not few:
            raise ValueError("not what is ever kept")
        if type(orientation) is not int or not 1 <= orientation <= 8:
            raise ValueError("no orientation")
        palette = base64.b64decode(document.get("palette", ""), validate=True)
        colors, classes = document.get("colors", 3), document.get("classes", [])
        if colors not in (3, 4) or len(palette) % colors or len(palette) > _MOST_PALETTE:
            raise ValueError("not what is ever kept")
        left_out = document.get("left_out", "")
        if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
            raise ValueError("not what is ever kept")
        if not isinstance(left_out, str):
            raise ValueError("not what is ever kept")
        bands = tuple(_checked_band(*each) for each in document.get("bands", ()))
        return cls(tags, nodata, palette, colors, tuple(classes), orientation, bands, left_out)

    @property
    def document(self) -> dict[str, Any]:
        """The same for a manifest; empty if there is nothing to be kept."""
        found: dict[str, Any] = {}
        if self.tags:
            found["tags"] = [
                [tag.code, tag.kind, tag.count, base64.b64encode(tag.value).decode()] for tag in self.tags
            ]
        if self.nodata is not None:
            found["nodata"] = self.nodata
        if self.palette:
            found["palette"] = base64.b64encode(self.palette).decode()
            found["colors"], found["classes"] = self.colors, list(self.classes)
        if self.orientation != 1:
            found["orientation"] = self.orientation
        if self.bands:
            found["bands"] = [[band.name, band.wavelength, band.unit] for band in self.bands]
        if self.left_out:
            found["left_out"] = self.left_out
        return found

    def given(self, raster: Raster, colors_wanted: bool) -> Raster:
        """Return an open copy that says what its own format does not.

        Parameters
        ----------
        raster : Raster
            The copy.
        colors_wanted : bool
            Whether of indices the colours are wanted.
        """
        nodata = self.nodata if raster.nodata is None else raster.nodata
        palette = None
        if self.palette:
            table = np.frombuffer(self.palette, np.uint8).reshape(-1, self.colors)
            palette = Palette(table, self.classes)
        bands, left_out = self.bands or None, self.left_out
        index_nbytes = raster.index_nbytes
        if index_nbytes is not None:
            index_nbytes += len(left_out) + len(self.palette) + sum(len(tag.value) for tag in self.tags)
        given = replace(
            raster,
            tags=raster.tags or self.tags,
            nodata=nodata,
            palette=palette,
            find_bands=lambda: bands,
            find_left_out=lambda full: left_out,
            index_nbytes=index_nbytes,
        )
        if palette is not None and colors_wanted:
            given = given.colored()
        return upright(given, self.orientation)


def _checked_band(name: Any, wavelength: Any, unit: Any) -> Band:
    if not isinstance(name, str) or not isinstance(wavelength, float | None) or not isinstance(unit, str):
        raise ValueError("not what is ever kept")
    return Band(name, wavelength, unit)


def _is_number(value: object) -> bool:
    """Whether a pixel could hold it."""
    return isinstance(value, float) or (type(value) is int and value.bit_length() <= 64)


def _is_sound(tag: FileTag) -> bool:
    """Whether a tag is made of numbers, and its value as long as it says."""
    if not all(type(number) is int for number in (tag.code, tag.kind, tag.count)):
        return False
    return tag.kind in _KINDS and tag.count * FieldType(tag.kind).nbytes == len(tag.value)


_KINDS = frozenset(FieldType)

NOTHING = Carried()
