"""What a source says beside its pixels, kept with copies whose format has no place for it."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from subregion.codecs.color import Palette
from subregion.convert.tiff_tags import FieldType
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
    channels : int
        How many bytes each of them has, 3 or 4.
    names : tuple of str
        What each index is called.
    orientation : int
        How the copy is turned when it is read, by the number of the EXIF tag; 1 if it was written turned.
    """

    tags: tuple[FileTag, ...] = ()
    nodata: float | None = None
    palette: bytes = b""
    channels: int = 3
    names: tuple[str, ...] = ()
    orientation: int = 1

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
        tags = tags if sum(len(tag.value) for tag in tags) <= _MOST else ()
        turned = source.orientation if as_stored else 1
        if source.palette is None:
            return cls(tags, nodata, orientation=turned)
        colors = source.palette.colors
        names = source.palette.names
        return cls(tags, nodata, colors.tobytes(), colors.shape[1], names, turned)

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
        if not (nodata is None or _is_number(nodata)) or not all(tag.code in GEO_TAGS for tag in tags):
            raise ValueError("not what is ever kept")
        if not all(map(_is_sound, tags)) or sum(len(tag.value) for tag in tags) > _MOST:
            raise ValueError("not what is ever kept")
        if type(orientation) is not int or not 1 <= orientation <= 8:
            raise ValueError("no orientation")
        palette = base64.b64decode(document.get("palette", ""), validate=True)
        channels, names = document.get("channels", 3), tuple(document.get("names", ()))
        if channels not in (3, 4) or len(palette) % channels or len(palette) > _MOST_PALETTE:
            raise ValueError("not what is ever kept")
        if not all(isinstance(name, str) for name in names):
            raise ValueError("not what is ever kept")
        return cls(tags, nodata, palette, channels, names, orientation)

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
            found["channels"], found["names"] = self.channels, list(self.names)
        if self.orientation != 1:
            found["orientation"] = self.orientation
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
            table = np.frombuffer(self.palette, np.uint8).reshape(-1, self.channels)
            palette = Palette(table, self.names)
        given = replace(raster, tags=raster.tags or self.tags, nodata=nodata, palette=palette)
        if palette is not None and colors_wanted:
            given = given.colored()
        return upright(given, self.orientation)


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
