"""Where everything lies in a cloud-optimized GeoTIFF: pure, from the sizes of the blocks to the head's bytes.

::

    header | ghost area | directory 0 (image) | directory 1 ... (overviews) | tables of block positions
    blocks of the smallest overview | ... | blocks of the largest overview | blocks of the image

All that a reader needs to find a block comes first, and the overviews, which are read to show the whole, lie
beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subregion.convert.encodings import Encoding
from subregion.convert.tiff_tags import BIG, CLASSIC, FieldType, Form, Tag, directories_bytes
from subregion.errors import ConfigError, UnsupportedFormatError
from subregion.formats.tiff.gdal import GHOST

# The largest size of a classic TIFF: its positions have 32 bits.
CLASSIC_LIMIT = 2**32 - 1

# Blocks begin at a cache line, so that uncompressed pixels in a memory map are aligned.
_ALIGNMENT = 64

_SUBFILE, _WIDTH, _LENGTH, _BITS, _COMPRESSION, _PHOTOMETRIC = 254, 256, 257, 258, 259, 262
_SAMPLES, _PLANAR, _TILE_WIDTH, _TILE_LENGTH, _OFFSETS, _BYTE_COUNTS = 277, 284, 322, 323, 324, 325
_EXTRA, _FORMAT, _JPEG_TABLES, _SUBSAMPLING, _REFERENCE, _NODATA = 338, 339, 347, 530, 532, 42113

_MIN_IS_BLACK, _RGB, _YCBCR = 1, 2, 6
_UNSPECIFIED, _UNASSOCIATED_ALPHA = 0, 2

_SAMPLE_FORMATS = dict.fromkeys(("u1", "u2", "u4", "u8"), 1)
_SAMPLE_FORMATS |= dict.fromkeys(("i1", "i2", "i4", "i8"), 2)
_SAMPLE_FORMATS |= dict.fromkeys(("f2", "f4", "f8"), 3)
_SAMPLE_FORMATS |= dict.fromkeys(("c8", "c16"), 6)


@dataclass(frozen=True, slots=True)
class Layout:
    """The head of a file and where the data that follows it begins.

    Parameters
    ----------
    head : bytes
        Everything before the first block.
    nbytes : int
        Size of the whole file.
    """

    head: bytes
    nbytes: int


def pixel_tags(dtype: np.dtype[Any], bands: int, encoding: Encoding, *, alpha: bool) -> tuple[Tag, ...]:
    """Tags that say what the numbers of a pixel are; the same in every directory.

    Three bands of uint8 or uint16, and four if the last is alpha, are called RGB, because that is what every
    viewer expects. Anything else is called grey with further samples of unspecified meaning: nobody can know
    whether the fourth of four bands is alpha or infrared.

    Parameters
    ----------
    dtype : dtype
        Integers of 8 to 64 bits, floats of 16 to 64, complex of 64 and 128.
    bands : int
        Samples per pixel, 1 to 65535.
    encoding : Encoding
        How blocks are compressed.
    alpha : bool
        Whether the last band is opacity, by which the colours have not been multiplied.

    Raises
    ------
    UnsupportedFormatError
        If TIFF has no form for such pixels.
    """
    sample_format = _SAMPLE_FORMATS.get(dtype.str[1:])
    if sample_format is None or not 1 <= bands <= 0xFFFF:
        raise UnsupportedFormatError(
            f"Pixels with {bands} bands of {dtype} cannot be stored as TIFF; "
            f"it holds 1 to 65535 bands of one of {', '.join(_SAMPLE_FORMATS)}."
        )
    rgb = dtype.str[1:] in ("u1", "u2") and bands - alpha == 3
    photometric = _RGB if rgb else _MIN_IS_BLACK
    extra = [_UNSPECIFIED] * (bands - (3 if rgb else 1))
    if alpha and extra:
        extra[-1] = _UNASSOCIATED_ALPHA
    tags = [
        Tag.of(_BITS, FieldType.SHORT, *[8 * dtype.itemsize] * bands),
        Tag.of(_COMPRESSION, FieldType.SHORT, encoding.compression),
        Tag.of(_SAMPLES, FieldType.SHORT, bands),
        Tag.of(_PLANAR, FieldType.SHORT, 1),
        Tag.of(_FORMAT, FieldType.SHORT, *[sample_format] * bands),
    ]
    if extra:
        tags.append(Tag.of(_EXTRA, FieldType.SHORT, *extra))
    if encoding.jpeg_tables:
        tables = encoding.jpeg_tables
        tags.append(Tag(_JPEG_TABLES, FieldType.UNDEFINED, len(tables), tables))
        if rgb:
            photometric = _YCBCR
            tags.append(Tag.of(_SUBSAMPLING, FieldType.SHORT, 2, 2))
            # The default of the standard puts grey at chroma 0; JPEG has it at 128.
            tags.append(Tag.of(_REFERENCE, FieldType.RATIONAL, 0, 1, 255, 1, 128, 1, 255, 1, 128, 1, 255, 1))
    tags.append(Tag.of(_PHOTOMETRIC, FieldType.SHORT, photometric))
    return tuple(tags)


def nodata_tag(nodata: float | int) -> Tag:
    """GDAL's tag for the value of missing pixels: a decimal number as text."""
    whole = isinstance(nodata, int) or (float(nodata).is_integer() and abs(nodata) < 1e15)
    return Tag.text(_NODATA, str(int(nodata)) if whole else repr(float(nodata)))


def checked_extra_tags(tags: Sequence[Tag], own: Sequence[Tag]) -> tuple[Tag, ...]:
    """Return tags to copy from a source, if none of them contradicts what the writer says itself.

    Raises
    ------
    ConfigError
        If a tag is given twice or describes the form of the pixels.
    """
    reserved = {_SUBFILE, _WIDTH, _LENGTH, _TILE_WIDTH, _TILE_LENGTH, _OFFSETS, _BYTE_COUNTS, _NODATA}
    reserved |= {_EXTRA, _JPEG_TABLES, _SUBSAMPLING, _REFERENCE} | {tag.code for tag in own}
    for tag in tags:
        if tag.code in reserved:
            raise ConfigError(
                f"TIFF tag {tag.code} cannot be copied: the writer sets it itself, or it was given twice."
            )
        reserved.add(tag.code)
    return tuple(tags)


def plan_layout(
    shapes: Sequence[tuple[int, int, int]],
    block_nbytes: Sequence[Sequence[int]],
    blocksize: int,
    common: Sequence[Tag],
    extra: Sequence[Tag],
    *,
    classic_limit: int = CLASSIC_LIMIT,
) -> Layout:
    """Place all parts of the file and write its head; classic TIFF if it is small enough, else BigTIFF.

    Parameters
    ----------
    shapes : sequence of (int, int, int)
        Rows, columns and bands of each level, the image first.
    block_nbytes : sequence of sequences of int
        Size of each block of each level, row by row.
    blocksize : int
        Edge of a block, in pixels.
    common : sequence of Tag
        For every directory.
    extra : sequence of Tag
        For the directory of the image only.
    classic_limit : int
        The largest size of the file, in bytes, to be a classic TIFF.
    """
    layout = _layout(shapes, block_nbytes, blocksize, common, extra, CLASSIC)
    if layout.nbytes > classic_limit:  # then its positions are cut off
        layout = _layout(shapes, block_nbytes, blocksize, common, extra, BIG)
    return layout


def _layout(
    shapes: Sequence[tuple[int, int, int]],
    block_nbytes: Sequence[Sequence[int]],
    blocksize: int,
    common: Sequence[Tag],
    extra: Sequence[Tag],
    form: Form,
) -> Layout:
    sizes = [np.array(level, np.int64) for level in block_nbytes]

    def head(starts: NDArray[np.int64]) -> bytes:
        directories = [
            [
                Tag.of(_SUBFILE, FieldType.LONG, 1 if level else 0),
                Tag.of(_WIDTH, FieldType.LONG, cols),
                Tag.of(_LENGTH, FieldType.LONG, rows),
                Tag.of(_TILE_WIDTH, FieldType.LONG, blocksize),
                Tag.of(_TILE_LENGTH, FieldType.LONG, blocksize),
                _table(_OFFSETS, form.offset_type, starts[level] + np.cumsum(sizes[level]) - sizes[level]),
                _table(_BYTE_COUNTS, form.offset_type, sizes[level]),
                *common,
                *(() if level else extra),
            ]
            for level, (rows, cols, _) in enumerate(shapes)
        ]
        front = form.file_header(form.header.size + len(GHOST)) + GHOST
        front += directories_bytes(directories, len(front), form, last=(_OFFSETS, _BYTE_COUNTS))
        return front + bytes(-len(front) % _ALIGNMENT)

    # The size of the head does not depend on the positions in it, so a draft tells where the blocks begin.
    draft = head(np.zeros(len(shapes), np.int64))
    totals = np.array([level.sum() for level in sizes])
    ends = len(draft) + np.cumsum(totals[::-1])[::-1]  # the smallest overview comes first
    return Layout(head(ends - totals), int(ends[0]))


def _table(code: int, kind: FieldType, numbers: NDArray[np.int64]) -> Tag:
    return Tag(code, kind, len(numbers), numbers.astype(f"<u{kind.nbytes}").tobytes())
