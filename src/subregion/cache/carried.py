"""What a source says beside its pixels, kept with copies whose format has no place for it."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from subregion.raster.geotags import GEO_TAGS
from subregion.raster.raster import FileTag

if TYPE_CHECKING:
    from subregion.raster.raster import Raster

#: More than this, in bytes, is not kept: thousands of ground control points, which give no affine.
_MOST = 1 << 16


@dataclass(frozen=True, slots=True)
class Carried:
    """What a source says beside its pixels.

    Parameters
    ----------
    tags : tuple of FileTag
        Where it lies on the ground.
    nodata : float or None
        The value that means "no pixel here".
    """

    tags: tuple[FileTag, ...] = ()
    nodata: float | None = None

    @classmethod
    def by(cls, source: Raster) -> Carried:
        """Take it from an open source."""
        tags = tuple(tag for tag in source.tags if tag.code in GEO_TAGS)
        return cls(tags if sum(len(tag.value) for tag in tags) <= _MOST else (), source.nodata)

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Carried:
        """Read it from the pointer of an entry.

        Raises
        ------
        ValueError, TypeError
            If it is malformed.
        """
        nodata = document.get("nodata")
        tags = tuple(
            FileTag(int(code), int(kind), int(count), base64.b64decode(value))
            for code, kind, count, value in document.get("tags", ())
        )
        return cls(tags, None if nodata is None else float(nodata))

    @property
    def document(self) -> dict[str, Any]:
        """The same for a pointer; empty if there is nothing to be kept."""
        found: dict[str, Any] = {}
        if self.tags:
            found["tags"] = [
                [tag.code, tag.kind, tag.count, base64.b64encode(tag.value).decode()] for tag in self.tags
            ]
        if self.nodata is not None:
            found["nodata"] = self.nodata
        return found

    def give(self, raster: Raster) -> None:
        """Tell an open copy what its own format does not."""
        if self.tags and not raster.tags:
            raster.tags = self.tags
        if raster.nodata is None:
            raster.nodata = self.nodata


NOTHING = Carried()
