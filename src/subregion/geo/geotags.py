"""GeoTIFF tags as values: the transform, and the keys that name the coordinate reference system.

Follows OGC 19-008, GeoTIFF 1.1. Nothing of it needs more than the bytes of the tags.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from affine import Affine

from subregion.errors import NotGeoreferencedError

_PIXEL_SCALE, _TIEPOINTS, _TRANSFORMATION = 33550, 33922, 34264
_DIRECTORY, _DOUBLES, _TEXTS = 34735, 34736, 34737
#: The tags that name the coordinate reference system.
KEY_TAGS = (_DIRECTORY, _DOUBLES, _TEXTS)
#: The tags that hold the transform to the ground.
PLACE_TAGS = (_PIXEL_SCALE, _TIEPOINTS, _TRANSFORMATION)
#: The tags that say where an image lies.
GEO_TAGS = (*PLACE_TAGS, *KEY_TAGS)

_RASTER_TYPE = 1025
_PIXEL_IS_POINT = 2
_FORMS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 11: "f", 12: "d", 16: "Q", 17: "q"}

#: The value of a key: a number (a code, where it is whole), some of them, or text.
KeyValue: TypeAlias = "int | float | tuple[float, ...] | str"


@dataclass(frozen=True, slots=True)
class FileTag:
    """A TIFF tag that travels with the pixels: georeferencing, colour profile, band metadata.

    Parameters
    ----------
    code : int
        Number of the tag.
    kind : int
        TIFF data type of the values.
    count : int
        How many values.
    value : bytes
        The values, little endian.
    """

    code: int
    kind: int
    count: int
    value: bytes


@dataclass(frozen=True, slots=True)
class GeoTags:
    """What the GeoTIFF tags of a file say.

    Parameters
    ----------
    scale : tuple of float
        Size of a pixel in x, y and z; empty if there is no such tag.
    tiepoints : tuple of float
        Six numbers for each: column, row and layer in the image, x, y and z on the ground.
    matrix : tuple of float
        The 4 x 4 transform from the image to the ground, row by row.
    keys : dict
        From the number of a key to its value.
    """

    scale: tuple[float, ...]
    tiepoints: tuple[float, ...]
    matrix: tuple[float, ...]
    keys: dict[int, KeyValue]

    @classmethod
    def of(cls, tags: Iterable[FileTag]) -> GeoTags:
        """Read them from the tags of a file; what is malformed counts as missing."""
        found = {tag.code: tag for tag in tags if tag.code in GEO_TAGS}
        return cls(
            _numbers(found.get(_PIXEL_SCALE)),
            _numbers(found.get(_TIEPOINTS)),
            _numbers(found.get(_TRANSFORMATION)),
            _keys(found.get(_DIRECTORY), found.get(_DOUBLES), found.get(_TEXTS)),
        )

    @property
    def pixel_is_point(self) -> bool:
        """Whether coordinates are those of the centres of pixels."""
        return self.keys.get(_RASTER_TYPE) == _PIXEL_IS_POINT

    def to_world(self, path: str) -> Affine:
        """Return the transform from pixel corners (x, y) to the ground.

        Raises
        ------
        NotGeoreferencedError
            If the tags hold none.
        """
        if len(self.scale) >= 2 and self.scale[0] and self.scale[1] and len(self.tiepoints) >= 6:
            column, row, _, x, y, _ = self.tiepoints[:6]
            across, down = self.scale[0], -abs(self.scale[1])
            placed = Affine(across, 0, x - column * across, 0, down, y - row * down)
        elif len(self.matrix) == 16:
            a, b, _, c, d, e, _, f = self.matrix[:8]
            placed = Affine(a, b, c, d, e, f)
        elif len(self.tiepoints) >= 6:
            raise NotGeoreferencedError(
                f"{path}: has {len(self.tiepoints) // 6} ground control points and no affine to the ground. "
                f"Warp it first, for example with gdalwarp."
            )
        else:
            what = (
                "a coordinate reference system, but no affine to the ground"
                if self.keys
                else "no GeoTIFF tags"
            )
            raise NotGeoreferencedError(f"{path}: has {what}.")
        if self.pixel_is_point:
            placed = placed @ Affine.translation(-0.5, -0.5)
        return placed


def placing_tags(to_world: Affine, pixel_is_point: bool = False) -> tuple[FileTag, ...]:
    """Return the tags that give a file this transform.

    Parameters
    ----------
    to_world : affine.Affine
        From pixel corners (x, y) to the ground.
    pixel_is_point : bool
        Whether the keys that go with them say that coordinates are those of the centres of pixels.
    """
    if pixel_is_point:
        to_world = to_world @ Affine.translation(0.5, 0.5)
    a, b, c, d, e, f = to_world[:6]
    if b == d == 0 and a > 0 > e:
        return _doubles(_PIXEL_SCALE, a, -e, 0), _doubles(_TIEPOINTS, 0, 0, 0, c, f, 0)
    return (_doubles(_TRANSFORMATION, a, b, 0, c, d, e, 0, f, 0, 0, 0, 0, 0, 0, 0, 1),)


def naming_tags(keys: dict[int, int | str]) -> tuple[FileTag, ...]:
    """Return the tags that give a file these keys: codes and texts."""
    entries, text = [1, 1, 0, len(keys)], b""
    for key in sorted(keys):
        value = keys[key]
        if isinstance(value, str):
            written = value.encode() + b"|"
            entries += [key, _TEXTS, len(written), len(text)]
            text += written
        else:
            entries += [key, 0, 1, value]
    directory = FileTag(_DIRECTORY, 3, len(entries), struct.pack(f"<{len(entries)}H", *entries))
    return (directory, FileTag(_TEXTS, 2, len(text) + 1, text + b"\0")) if text else (directory,)


def _doubles(code: int, *values: float) -> FileTag:
    return FileTag(code, 12, len(values), struct.pack(f"<{len(values)}d", *values))


def _numbers(tag: FileTag | None) -> tuple[float, ...]:
    form = None if tag is None else _FORMS.get(tag.kind)
    if tag is None or form is None:
        return ()
    size = struct.calcsize(f"<{form}")
    return struct.unpack(f"<{len(tag.value) // size}{form}", tag.value[: len(tag.value) // size * size])


def _keys(directory: FileTag | None, doubles: FileTag | None, texts: FileTag | None) -> dict[int, KeyValue]:
    shorts = [int(number) for number in _numbers(directory) if isinstance(number, int)]
    floats = _numbers(doubles)
    text = b"" if texts is None else texts.value
    found: dict[int, KeyValue] = {}
    if len(shorts) < 4:
        return found
    for at in range(4, min(4 + 4 * shorts[3], len(shorts) - 3), 4):
        key, place, count, value = shorts[at : at + 4]
        if place == 0:
            found[key] = value
        elif place == _DOUBLES and 0 < count <= len(floats) - value:
            found[key] = floats[value] if count == 1 else floats[value : value + count]
        elif place == _DIRECTORY and 0 < count <= len(shorts) - value:
            found[key] = shorts[value] if count == 1 else tuple(shorts[value : value + count])
        elif place == _TEXTS and value < len(text):
            found[key] = text[value : value + count].decode("utf-8", "replace").rstrip("\0|")
    return found
