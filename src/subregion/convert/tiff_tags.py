"""TIFF directories as values, and their bytes: classic and BigTIFF, little-endian.

Follows the TIFF 6.0 specification (section 2) and the BigTIFF design (Aware Systems), which differ only in
the width of counts and offsets.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from subregion.errors import ConfigError


class FieldType(enum.IntEnum):
    """What the value of a tag is made of."""

    BYTE = 1
    ASCII = 2
    SHORT = 3
    LONG = 4
    RATIONAL = 5
    SBYTE = 6
    UNDEFINED = 7
    SSHORT = 8
    SLONG = 9
    SRATIONAL = 10
    FLOAT = 11
    DOUBLE = 12
    IFD = 13
    LONG8 = 16
    SLONG8 = 17
    IFD8 = 18

    @property
    def form(self) -> str:
        """The `struct` format of one value; a rational is two of these."""
        return _FORMS[self]

    @property
    def nbytes(self) -> int:
        """The size of one value."""
        return struct.calcsize("<" + self.form) * (2 if self in (self.RATIONAL, self.SRATIONAL) else 1)


#: In the order of the types.
_FORMS = dict(zip(FieldType, "BBHIIbBhiifdIQqQ", strict=True))


@dataclass(frozen=True, slots=True)
class Tag:
    """One entry of a TIFF directory.

    Parameters
    ----------
    code : int
        The number of the tag, 0 to 65535.
    type : int
        A `FieldType`.
    count : int
        Number of values of that type.
    value : bytes
        The values, little-endian, one after the other.

    Raises
    ------
    ConfigError
        If the type is unknown or `value` does not have the size that type and count say.
    """

    code: int
    type: int
    count: int
    value: bytes

    def __post_init__(self) -> None:
        known = {int(kind): kind for kind in FieldType}
        if self.type not in known:
            raise ConfigError(f"TIFF tag {self.code} has type {self.type}; allowed are {sorted(known)}.")
        wanted = self.count * known[self.type].nbytes
        if len(self.value) != wanted or not 0 <= self.code <= 0xFFFF:
            raise ConfigError(
                f"TIFF tag {self.code} with {self.count} values of type {known[self.type].name} "
                f"needs {wanted} bytes and a code up to 65535, but has {len(self.value)} bytes."
            )

    @classmethod
    def of(cls, code: int, type: FieldType, *values: float) -> Tag:  # noqa: A002 - the word of the TIFF standard
        """Make a tag of numbers; a rational is given as two of them."""
        value = struct.pack(f"<{len(values)}{type.form}", *values)
        return cls(code, type, len(value) // type.nbytes, value)

    @classmethod
    def text(cls, code: int, text: str) -> Tag:
        """Make a tag of text, which TIFF ends with a zero byte."""
        value = text.encode() + b"\0"
        return cls(code, FieldType.ASCII, len(value), value)


@dataclass(frozen=True, slots=True)
class Form:
    """Which of the two TIFF forms: how wide its numbers are.

    Parameters
    ----------
    header : struct.Struct
        The start of the file; its last field is the offset of the first directory.
    magic : tuple of (bytes or int)
        All fields of the header but the last.
    count : struct.Struct
        The number of entries, in front of a directory.
    entry : struct.Struct
        Code, type, count and value of one entry.
    offset : struct.Struct
        A position in the file; also the largest value that stands in the entry itself.
    offset_type : FieldType
        The type of a tag of positions.
    """

    header: struct.Struct
    magic: tuple[bytes | int, ...]
    count: struct.Struct
    entry: struct.Struct
    offset: struct.Struct
    offset_type: FieldType

    def file_header(self, first_directory: int) -> bytes:
        """Bytes at the start of a file whose first directory is at that position."""
        return self.header.pack(*self.magic, first_directory)

    def directory_size(self, tags: Sequence[Tag]) -> int:
        """Size of a directory in bytes, without the values that stand elsewhere."""
        return self.count.size + len(tags) * self.entry.size + self.offset.size


CLASSIC = Form(
    header=struct.Struct("<2sHI"),
    magic=(b"II", 42),
    count=struct.Struct("<H"),
    entry=struct.Struct("<HHI4s"),
    offset=struct.Struct("<I"),
    offset_type=FieldType.LONG,
)
BIG = Form(
    header=struct.Struct("<2sHHHQ"),
    magic=(b"II", 43, 8, 0),
    count=struct.Struct("<Q"),
    entry=struct.Struct("<HHQ8s"),
    offset=struct.Struct("<Q"),
    offset_type=FieldType.LONG8,
)


def directories_bytes(
    directories: Sequence[Sequence[Tag]], start: int, form: Form, last: Sequence[int] = ()
) -> bytes:
    """Lay out a chain of directories and give its bytes.

    Each directory is followed by those of its values that are too long to stand in it. How many bytes come
    out depends only on the sizes of the tags, not on their values.

    Parameters
    ----------
    directories : sequence of sequences of Tag
        In the order of the chain; the tags of one in any order.
    start : int
        Position in the file, even, of the first byte.
    form : Form
        `CLASSIC` or `BIG`.
    last : sequence of int
        Codes of tags whose long values stand behind all directories: large tables, so that a reader who
        fetches the start of the file learns about all images in it.

    Returns
    -------
    bytes
        To be written at `start`; an even number.
    """
    place = start
    tables = []  # the position of each directory
    values: dict[tuple[int, int], int] = {}  # (directory, code) -> the position of a long value

    def reserve(index: int, tag: Tag) -> None:
        nonlocal place
        values[index, tag.code] = place
        place += len(tag.value) + len(tag.value) % 2

    ordered = [sorted(tags, key=lambda tag: tag.code) for tags in directories]
    long = [[tag for tag in tags if len(tag.value) > form.offset.size] for tags in ordered]
    for index, tags in enumerate(ordered):
        tables.append(place)
        place += form.directory_size(tags)
        for tag in long[index]:
            if tag.code not in last:
                reserve(index, tag)
    for index, tags in enumerate(long):
        for tag in tags:
            if tag.code in last:
                reserve(index, tag)

    out = bytearray(place - start)
    for index, tags in enumerate(ordered):
        following = tables[index + 1] if index + 1 < len(tables) else 0
        table = bytearray(form.count.pack(len(tags)))
        for tag in tags:
            stored = tag.value
            if (index, tag.code) in values:
                at = values[index, tag.code]
                out[at - start : at - start + len(tag.value)] = tag.value
                stored = form.offset.pack(at)
            table += form.entry.pack(tag.code, tag.type, tag.count, stored)  # packed short, padded with zeros
        table += form.offset.pack(following)
        out[tables[index] - start : tables[index] - start + len(table)] = table
    return bytes(out)
