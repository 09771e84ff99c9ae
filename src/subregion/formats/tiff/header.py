"""The first directory of a plain TIFF, read in a fraction of the time that a reader of every TIFF takes.

Most files of a collection are opened for one window, and then that time is a large part of it. What is
read here are tiles or strips of whole bytes, little endian, as GDAL and this library write them; all else is
left to tifffile, and so is every doubt. The names are those of `tifffile.TiffPage`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from subregion.libraries import tifffile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from subregion.io.source import SourceFile

#: Bytes that are read at first: the directory and its short values, as nearly all files have them there.
HEAD_BYTES = 4096
#: A picture that is narrower than this is taken for one row of as many bands.
FEW_BANDS = 16
#: A directory of more entries than this is unusual.
_MAX_ENTRIES = 100

#: Format of the values by the number of their type: bytes, text, 16 and 32 bits, ..., 64 bits.
_FORMATS = {1: "B", 2: "s", 3: "H", 4: "I", 5: "II", 7: "s", 11: "f", 12: "d", 13: "I", 16: "Q"}
_SIZES = {kind: struct.calcsize("<" + form) for kind, form in _FORMATS.items()}

_WIDTH, _LENGTH, _BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER = 256, 257, 258, 259, 262, 266
_STRIP_OFFSETS, _SAMPLES, _ROWS_PER_STRIP, _STRIP_SIZES = 273, 277, 278, 279
_PLANAR, _PREDICTOR, _TILE_WIDTH, _TILE_LENGTH, _TILE_OFFSETS, _TILE_SIZES = 284, 317, 322, 323, 324, 325
_EXTRA, _FORMAT, _JPEG_TABLES, _SUBFILE = 338, 339, 347, 254
#: Bytes of a directory that are read to see what kind of page it is, and how many overviews are passed over.
_DIRECTORY_BYTES = 512
_MOST_OVERVIEWS = 64

#: Palettes and other colours, volumes, and what makers of microscopes mean in their own way: not plain.
_UNUSUAL = frozenset({320, 512, 513, 514, 529, 32997, 32998, 33628, 33629, 34412, 65420, 65426})
#: What can be decoded block by block without tifffile: LZW, JPEG, Deflate, PackBits, ZSTD.
_PLAIN_COMPRESSIONS = frozenset({5, 7, 8, 32946, 32773, 50000, 34926})
_JPEG = 7
_LETTERS = {1: "u", 2: "i", 3: "f"}


@dataclass(frozen=True, slots=True)
class PlainTag:
    """A tag: number, number of its type, how many values, and their bytes, little endian."""

    code: int
    dtype: int
    count: int
    data: bytes

    @property
    def value(self) -> Any:
        """The values as tifffile gives them: a number, a tuple of numbers, text or bytes."""
        form = _FORMATS[self.dtype]
        if self.dtype == 2:
            try:
                return self.data.rstrip(b"\0").decode()
            except UnicodeDecodeError:
                return self.data
        if form == "s":
            return self.data
        values = struct.unpack("<" + form * self.count, self.data)
        return values[0] if len(values) == 1 else values


class PlainTags(dict[int, PlainTag]):
    """The tags of a directory, by number."""

    def valueof(self, code: int, default: Any = None) -> Any:
        """Return the value of a tag, if it is there."""
        tag = self.get(code)
        return default if tag is None else tag.value


@dataclass(frozen=True, slots=True)
class _Parent:
    byteorder: Literal["<"] = "<"


_LITTLE_ENDIAN = _Parent()


@dataclass(frozen=True, slots=True, eq=False)
class PlainPage:
    """What the first directory of a plain TIFF says; see `tifffile.TiffPage`.

    `following` is where the next directory lies; 0 if there is none, -1 if that is not known.
    """

    imagelength: int
    imagewidth: int
    samplesperpixel: int
    bitspersample: int
    sampleformat: int
    dtype: np.dtype[Any]
    compression: int
    photometric: int
    predictor: int
    is_tiled: bool
    tilelength: int
    tilewidth: int
    rowsperstrip: int
    extrasamples: tuple[int, ...]
    jpegtables: bytes | None
    dataoffsets: NDArray[np.int64]
    databytecounts: NDArray[np.int64]
    tags: PlainTags
    following: int
    planarconfig: int = 1
    imagedepth: int = 1
    tiledepth: int = 1
    fillorder: int = 1
    colormap: None = None
    is_jfif: bool = False
    parent: _Parent = _LITTLE_ENDIAN

    @property
    def nbytes(self) -> int:
        """Bytes of its tags, but for where its blocks lie."""
        return sum(len(tag.data) for tag in self.tags.values())


def read_plain_page(file: SourceFile) -> PlainPage | None:
    """Read the first directory of a TIFF; None if it is not plain, or anything about it is in doubt."""
    directory = _directory(file)
    if directory is None:
        return None
    try:
        return _page(file, *directory)
    except (KeyError, TypeError, ValueError, IndexError, struct.error):
        return None


#: Where the values of a tag lie: number of their type, how many, and their offset in the file.
_Table = tuple[int, int, int]


def _directory(file: SourceFile) -> tuple[PlainTags, dict[int, _Table], int] | None:
    """Return the tags of the first directory, where the long tables are, and where the next one is."""
    head = file.head(HEAD_BYTES)
    big = head[:4] == b"II+\0"
    if len(head) < 16 or not (big or head[:4] == b"II*\0"):
        return None
    (at,) = struct.unpack_from("<Q" if big else "<I", head, 8 if big else 4)
    if not 8 <= at <= len(head) - 8:
        return None
    (count,) = struct.unpack_from("<Q" if big else "<H", head, at)
    at += 8 if big else 2
    size, inline = (20, 8) if big else (12, 4)
    if not 0 < count <= _MAX_ENTRIES or at + count * size > len(head):
        return None
    tags, tables = PlainTags(), {}
    entries = struct.iter_unpack("<HHQ8s" if big else "<HHI4s", head[at : at + count * size])
    for code, kind, number, value in entries:
        if code in tags or code in tables or code in _UNUSUAL or kind not in _SIZES or number < 1:
            return None
        nbytes = number * _SIZES[kind]
        offset = int.from_bytes(value, "little")
        if nbytes > inline and offset + nbytes > file.size:
            return None
        if code in (_STRIP_OFFSETS, _STRIP_SIZES, _TILE_OFFSETS, _TILE_SIZES) and nbytes > inline:
            tables[code] = kind, number, offset
        elif nbytes <= inline:
            tags[code] = PlainTag(code, kind, number, value[:nbytes])
        elif nbytes > 1 << 20:
            return None
        elif offset + nbytes <= len(head):
            tags[code] = PlainTag(code, kind, number, head[offset : offset + nbytes])
        else:
            tags[code] = PlainTag(code, kind, number, file.read(offset, nbytes))
    end = at + count * size
    link = head[end : end + (8 if big else 4)]
    return tags, tables, int.from_bytes(link, "little") if len(link) == (8 if big else 4) else -1


def may_have_like(file: SourceFile, following: int, size: tuple[int, int]) -> bool:
    """Whether a page lies there that may be like the first one: of its size, and neither overview nor mask.

    A few hundred bytes are read for each overview, and no more than one other page is looked at.
    """
    big = file.head(4) == b"II+\0"
    first, entry, link = (8, 20, 8) if big else (2, 12, 4)
    at = following
    for _ in range(_MOST_OVERVIEWS):
        if at <= 0 or at + first > file.size:
            return at < 0
        data = file.read(at, min(_DIRECTORY_BYTES, file.size - at))
        count = int.from_bytes(data[:first], "little")
        end = first + count * entry
        if end + link > len(data):
            return True
        found = {code: int.from_bytes(value[:4], "little") for code, value in _entries(data[first:end], big)}
        if not found.get(_SUBFILE, 0) & 5:
            return (found.get(_LENGTH), found.get(_WIDTH)) == size
        at = int.from_bytes(data[end : end + link], "little")
    return True


def count_pages(file: SourceFile, most: int) -> tuple[int, bool]:
    """Count the pages of any TIFF by the links between them, up to so many and one more.

    Returns
    -------
    tuple of (int, bool)
        How many there are, and whether the chain ends: others come back to themselves, or leave the file.
    """
    head = file.head(16)
    order: Literal["little", "big"] = "little" if head[:2] == b"II" else "big"
    big = 43 in head[2:4]
    first, size, link = (8, 20, 8) if big else (2, 12, 4)

    def number(data: bytes) -> int:
        return int.from_bytes(data, order)

    at = number(head[8:16] if big else head[4:8])
    seen: set[int] = set()
    while at and at not in seen and at + first <= file.size and len(seen) <= most:
        seen.add(at)
        after = at + first + number(file.read(at, first)) * size
        if after + link > file.size:
            break
        at = number(file.read(after, link))
    return len(seen), at == 0


def _entries(data: bytes, big: bool) -> Iterator[tuple[int, bytes]]:
    """Yield the numbers of tags, and the values of those that are one number."""
    for code, kind, _, value in struct.iter_unpack("<HHQ8s" if big else "<HHI4s", data):
        yield code, value[: _SIZES.get(kind, 4)]


def _page(file: SourceFile, tags: PlainTags, tables: dict[int, _Table], following: int) -> PlainPage | None:
    def one(code: int, default: int | None = None) -> int:
        value = tags[code].value if default is None or code in tags else default
        if type(value) is not int:
            raise TypeError(f"tag {code}")
        return value

    samples, compression, photometric = one(_SAMPLES, 1), one(_COMPRESSION), one(_PHOTOMETRIC)
    bits, formats = _all(tags, _BITS, 1, samples), _all(tags, _FORMAT, 1, samples)
    extra = tags.valueof(_EXTRA, ())
    if compression not in _PLAIN_COMPRESSIONS or bits not in (8, 16, 32, 64) or formats not in _LETTERS:
        return None
    if one(_PLANAR, 1) != 1 or one(_FILL_ORDER, 1) != 1:
        return None
    # Grey or RGB with any further samples; JPEG makes YCbCr of RGB.
    if compression == _JPEG:
        known = (photometric, samples) in ((1, 1), (6, 3))
    else:
        known = photometric == 1 or (photometric == 2 and samples >= 3)
    predictor = one(_PREDICTOR, 1)
    if not known or predictor not in ((1, 3) if formats == 3 else (1, 2)):
        return None
    tiled, width = _TILE_WIDTH in tags, one(_WIDTH)
    if compression == _JPEG and not (tiled and bits == 8 and formats == 1):
        return None
    if width <= FEW_BANDS:  # rows of pixels may be pages
        return None
    offsets, sizes = (_TILE_OFFSETS, _TILE_SIZES) if tiled else (_STRIP_OFFSETS, _STRIP_SIZES)
    length = one(_LENGTH)
    return PlainPage(
        imagelength=length,
        imagewidth=width,
        samplesperpixel=samples,
        bitspersample=bits,
        sampleformat=formats,
        dtype=np.dtype(f"{_LETTERS[formats]}{bits // 8}"),
        compression=tifffile.COMPRESSION(compression),
        photometric=photometric,
        predictor=predictor,
        is_tiled=tiled,
        tilelength=one(_TILE_LENGTH) if tiled else 0,
        tilewidth=one(_TILE_WIDTH) if tiled else 0,
        rowsperstrip=0 if tiled else min(one(_ROWS_PER_STRIP, length), length),
        extrasamples=extra if isinstance(extra, tuple) else (extra,),
        jpegtables=tags.valueof(_JPEG_TABLES),
        dataoffsets=_numbers(file, tags, tables, offsets),
        databytecounts=_numbers(file, tags, tables, sizes),
        tags=tags,
        following=following,
    )


def _all(tags: PlainTags, code: int, default: int, samples: int) -> int:
    """Return the value that all samples share; 0 if they do not."""
    value = tags.valueof(code, default)
    values = value if isinstance(value, tuple) else (value,)
    return int(values[0]) if len(set(values)) == 1 and len(values) in (1, samples) else 0


def _numbers(file: SourceFile, tags: PlainTags, tables: dict[int, _Table], code: int) -> NDArray[np.int64]:
    if code in tables:
        kind, count, offset = tables[code]
        data = file.read(offset, count * _SIZES[kind])
    else:
        kind, count, data = tags[code].dtype, tags[code].count, tags[code].data
    if kind not in (3, 4, 16):
        raise TypeError(f"tag {code}")
    numbers = np.frombuffer(data, "<" + _FORMATS[kind], count)
    if kind == 16 and count and int(numbers.max()) >> 63:
        raise ValueError(f"tag {code}")
    return numbers.astype(np.int64)
