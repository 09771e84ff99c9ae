"""TIFF pages as indexes of blocks: tifffile reads the tags, our reader reads the blocks."""

from __future__ import annotations

import logging
import math
import struct
from collections.abc import Iterator
from typing import Any, BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray

from subregion.codecs.codec import BlockShape, Codec, RawCodec
from subregion.codecs.color import Color, Inks, Inverted, Lab, Lookup, LumaChroma, PillowLumaChroma
from subregion.codecs.jpeg import JpegCodec
from subregion.codecs.jpegheader import InMemory, find_frame
from subregion.codecs.page import PageCodec, SubsampledCodec
from subregion.codecs.streams import STREAMS, StreamCodec
from subregion.errors import (
    DamagedFileError,
    SubregionError,
    UnsupportedFormatError,
    is_of_system,
    source_error,
)
from subregion.forks import FOREIGN, IMPORTS
from subregion.formats.grid import GridLevel, same_picture
from subregion.formats.npy import one_block
from subregion.formats.raster import Raster
from subregion.formats.tiff.header import FEW_BANDS, PlainPage, read_plain_page
from subregion.geo.geotags import FileTag
from subregion.io import limits
from subregion.io.descriptors import with_room
from subregion.io.source import SourceFile
from subregion.libraries import tifffile

# tifffile reports through logging what it repairs; an application that wants to hear it can.
logging.getLogger("tifffile").addHandler(logging.NullHandler())


#: Tags that a converted file takes along: ICC profile, resolution, GeoTIFF, band metadata.
KEPT_TAGS = (282, 283, 296, 33550, 33922, 34264, 34675, 34735, 34736, 34737, 42112)

_STREAMS = {
    1: "RAW",
    5: "LZW",
    8: "DEFLATE",
    32946: "DEFLATE",
    32773: "PACKBITS",
    34925: "LZMA",
    50000: "ZSTD",
    34926: "ZSTD",
}
_JPEG, _OLD_JPEG = 7, 6
#: Codecs whose output is RGB already, whatever the tags say of YCbCr.
_RGB_CODECS = {_JPEG, _OLD_JPEG, 34892, 33007, 50001, 34927, 52546, 50002, 34933, 34712, 33004, 33005}
_APERIO_YCBCR = 33003
#: Codecs whose blocks have a header of their own: the name of each in imagecodecs.
_PICTURES = {
    **dict.fromkeys((_JPEG, 34892, 33007), "jpeg"),
    **dict.fromkeys((_APERIO_YCBCR, 33004, 33005, 34712), "jpeg2k"),
    **dict.fromkeys((34934, 22610), "jpegxr"),
    **dict.fromkeys((50001, 34927), "webp"),
    **dict.fromkeys((50002, 52546), "jpegxl"),
    34887: "lerc",
    34933: "png",
}
#: Reduced pages of a picture: each is half of the one before, and may have a mask.
_MOST_LEVELS = 64
#: What must be whole numbers; tags may be of any type.
_WHOLE_NUMBERS = (
    "imagelength", "imagewidth", "samplesperpixel", "tilelength", "tilewidth", "rowsperstrip", "planarconfig",
    "imagedepth", "tiledepth",
)  # fmt: skip


#: A page as either reader gives it.
Page: TypeAlias = "tifffile.TiffPage | PlainPage"


def open_tiff(file: SourceFile) -> Raster:
    """Open the first page of a TIFF or BigTIFF as an index of blocks.

    Raises
    ------
    UnsupportedFormatError
        If its pixels cannot be read block by block; another reader may be able to read them whole.
    DamagedFileError
        If its structure is malformed.
    """
    plain = read_plain_page(file)
    if plain is not None:
        return _raster(file, plain)
    with _tiff(file) as tiff:
        page = _first_page(file, tiff)
        rows = _rows_as_pages(file, tiff, page)
        if rows is not None:
            return Raster(file.path, "TIFF", "a page for each row, RAW", rows)
        return _raster(file, page)


def _raster(file: SourceFile, page: Page) -> Raster:
    full = _level(file, page)
    _probe(full)
    file.expect_windows()

    def smaller() -> list[GridLevel]:
        with _tiff(file) as tiff:
            return _overviews(file, tiff, full)

    tags = tuple(_kept_tags(page))
    return Raster(file.path, "TIFF", _layout(page), full, smaller, nodata=_nodata(page), tags=tags)


def tags_of(file: SourceFile) -> tuple[FileTag, ...]:
    """Read the tags of the first page that a converted file takes along; its blocks are not looked at.

    Raises
    ------
    DamagedFileError
        If the structure is malformed.
    """
    with _tiff(file) as tiff:
        return tuple(_kept_tags(_first_page(file, tiff)))


def tags_in(stream: BinaryIO) -> tuple[FileTag, ...]:
    """Read the same of a TIFF inside another file; any exception may come out of malformed bytes."""
    with np.errstate(all="ignore"), tifffile.TiffFile(stream) as tiff:
        page = tiff.pages[0]
        return tuple(_kept_tags(page)) if isinstance(page, tifffile.TiffPage) else ()


class StructureError(DamagedFileError):
    """The tags of a TIFF cannot be made sense of; another library may be more patient."""


class _tiff:  # noqa: N801 - a context manager, used like a function
    """A TiffFile whose every complaint about structure is a `DamagedFileError`."""

    def __init__(self, file: SourceFile) -> None:
        self.file = file
        self.tiff: tifffile.TiffFile | None = None
        # tifffile computes with whatever numbers the tags hold.
        self._errstate = np.errstate(all="ignore")

    def __enter__(self) -> tifffile.TiffFile:
        FOREIGN.__enter__()
        self._errstate.__enter__()
        try:
            self.tiff = with_room(lambda: tifffile.TiffFile(self.file.path))
        except BaseException as error:
            self._errstate.__exit__(None, None, None)
            FOREIGN.__exit__()
            self._translate(error)
            raise
        return self.tiff

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self.tiff is not None:
            self.tiff.close()
        self._errstate.__exit__(None, None, None)
        FOREIGN.__exit__()
        if error is not None:
            self._translate(error)

    def _translate(self, error: BaseException) -> None:
        if isinstance(error, SubregionError | MemoryError) or not isinstance(error, Exception):
            return
        if is_of_system(error):
            raise source_error(self.file.path, error) from error
        raise StructureError(f"{self.file.path}: the TIFF structure is malformed: {error}") from error


def _first_page(file: SourceFile, tiff: tifffile.TiffFile) -> tifffile.TiffPage:
    page = tiff.pages[0]
    if not isinstance(page, tifffile.TiffPage):
        raise DamagedFileError(f"{file.path}: the TIFF has no first page.")
    return page


def _check_size(file: SourceFile, page: Page) -> None:
    """Refuse a page without pixels, and one with more of them than the limits allow."""
    for name in _WHOLE_NUMBERS:
        if not isinstance(getattr(page, name), int):
            raise DamagedFileError(f"{file.path}: the TIFF declares {name} {getattr(page, name)!r}.")
    rows, cols, samples = page.imagelength, page.imagewidth, page.samplesperpixel
    if min(rows, cols, samples) < 1:
        raise DamagedFileError(
            f"{file.path}: the TIFF declares {cols} x {rows} pixels (width x height) of {samples} samples."
        )
    limits.check_pixels(file.path, rows, cols, samples)


def _rows_as_pages(file: SourceFile, tiff: tifffile.TiffFile, page: tifffile.TiffPage) -> GridLevel | None:
    """Index what ``tifffile.imwrite`` makes of (rows, columns, few bands): a page for each row.

    It notes the shape in the description, so that the pages can be told from a stack of pictures.
    """
    if not page.is_shaped or page.imagewidth > FEW_BANDS or page.dtype is None:
        return None
    series = tiff.series[0]
    shape, offset = series.shape, series.dataoffset
    if len(shape) != 3 or shape[1:] != page.shape or len(series) != shape[0] or offset is None:
        return None
    _check_size(file, page)
    dtype = np.dtype(page.dtype).newbyteorder(tiff.byteorder)
    return one_block(file, offset, (shape[0], shape[1], shape[2]), dtype)


def _level(file: SourceFile, page: Page) -> GridLevel:
    _check_size(file, page)
    if page.imagedepth != 1 or page.tiledepth not in (0, 1):
        raise UnsupportedFormatError(f"{file.path}: a volume of depth {page.imagedepth} has no block index.")
    stored = _stored_dtype(file, page)
    if int(page.compression) == _OLD_JPEG:
        return _old_jpeg(file, page)
    color = _color(page, stored)
    if page.is_tiled:
        block = (page.tilelength, page.tilewidth)
    else:
        block = (min(page.rowsperstrip or page.imagelength, page.imagelength), page.imagewidth)
    if min(block) < 1:
        raise DamagedFileError(f"{file.path}: the TIFF declares blocks of {block[1]} x {block[0]} pixels.")
    samples = page.samplesperpixel
    planes = samples if page.planarconfig == 2 and samples > 1 else 1
    grid = (math.ceil(page.imagelength / block[0]), math.ceil(page.imagewidth / block[1]))
    in_block = samples // planes
    last_rows = block[0] if page.is_tiled else page.imagelength - (grid[0] - 1) * block[0]
    shape = BlockShape(block[0], block[1], in_block, *grid, last_rows)
    codec = _codec(file, page, shape, stored)
    if not codec.mapped:
        limits.check_block(file.path, (*block, in_block), stored)
    offsets, nbytes = _places(file, page, (planes, *grid), codec, shape, stored)
    bands = samples if color is None else color.bands
    dtype = np.dtype(np.uint8) if stored.kind == "b" else stored
    return GridLevel(
        file=file,
        shape=(page.imagelength, page.imagewidth, bands),
        dtype=(dtype if color is None else color.dtype).newbyteorder("="),
        block=block,
        offsets=offsets,
        nbytes=nbytes,
        codec=codec,
        fill=_fill(page, dtype),
        color=color,
    )


def _old_jpeg(file: SourceFile, page: Page) -> GridLevel:
    """Index the JPEG file that old-style JPEG has inside, as one block; its strips are parts of that."""
    places = [page.tags.valueof(code) for code in (513, 514)]
    start, nbytes = (place[0] if isinstance(place, tuple) and place else place for place in places)
    rows, cols, samples = page.imagelength, page.imagewidth, page.samplesperpixel
    if isinstance(start, int) and isinstance(nbytes, int) and 0 < start < start + nbytes <= file.size:
        limits.check_stored(file.path, nbytes)
        data = file.read(start, nbytes)
        frame = find_frame(InMemory(data))
        if frame is not None and (frame.height, frame.width, frame.components) == (rows, cols, samples):
            limits.check_block(file.path, (rows, cols, samples), np.dtype(np.uint8))
            shape = BlockShape(rows, cols, samples, 1, 1, rows)
            return GridLevel(
                file=file,
                shape=(rows, cols, samples),
                dtype=np.dtype(np.uint8),
                block=(rows, cols),
                offsets=np.full((1, 1, 1), start, np.int64),
                nbytes=np.full((1, 1, 1), nbytes, np.int64),
                codec=JpegCodec(shape, None, None, 2 if samples == 3 else None),
            )
    raise UnsupportedFormatError(
        f"{file.path}: old-style JPEG without a whole JPEG inside has no block index."
    )


def _probe(level: GridLevel) -> None:
    """Decode one block of a rare kind, so that what cannot be decoded is known on opening."""
    codec = level.codec
    if not isinstance(codec, PageCodec):
        return
    written = np.flatnonzero(level.nbytes)
    if written.size == 0:
        return
    block = int(written[0])
    data = level.file.read(int(level.offsets.flat[block]), int(level.nbytes.flat[block]))
    try:
        with FOREIGN, IMPORTS:  # the first block brings in what decodes it
            codec.decode(data, block)
    except Exception as error:
        raise UnsupportedFormatError(
            f"{level.file.path}: its first block cannot be decoded: {error}"
        ) from error


def _stored_dtype(file: SourceFile, page: Page) -> np.dtype[np.generic]:
    if page.dtype is None:
        raise UnsupportedFormatError(
            f"{file.path}: samples of {page.bitspersample} bits in format {page.sampleformat} are unknown."
        )
    dtype = np.dtype(page.dtype)
    if dtype.kind not in "biufc":
        raise UnsupportedFormatError(f"{file.path}: samples of type {dtype} are no pixels.")
    return np.dtype(np.uint8) if dtype.kind == "b" else dtype


def _places(
    file: SourceFile,
    page: Page,
    grid: tuple[int, int, int],
    codec: Codec,
    shape: BlockShape,
    stored: np.dtype[np.generic],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    count = math.prod(grid)
    if len(page.dataoffsets) < count:
        raise DamagedFileError(f"{file.path}: lists {len(page.dataoffsets)} blocks, its size needs {count}.")
    if len(page.databytecounts) < count:
        raise DamagedFileError(
            f"{file.path}: lists the sizes of {len(page.databytecounts)} blocks, its size needs {count}."
        )
    try:
        offsets = np.array(page.dataoffsets[:count], np.int64)
        nbytes = np.array(page.databytecounts[:count], np.int64)
    except OverflowError as error:
        raise DamagedFileError(f"{file.path}: a block lies beyond any file: {error}") from error
    # GDAL leaves blocks out that hold nothing: offset and size are both 0.
    written = (nbytes != 0) | (offsets != 0)
    if isinstance(codec, RawCodec):
        # Uncompressed blocks are as long as their shape says; the tag is often wrong.
        full = shape.rows * shape.cols * shape.samples * stored.itemsize
        last = shape.last_rows * shape.cols * shape.samples * stored.itemsize
        sizes = np.full(grid, full, np.int64)
        sizes[:, -1, :] = last
        _check_listed_sizes(file, page, sizes.ravel())
        nbytes = sizes.ravel()
    if np.any(written & (nbytes <= 0)):
        worst = int(np.argmax(written & (nbytes <= 0)))
        raise DamagedFileError(
            f"{file.path}: block {worst} is listed at offset {offsets[worst]} with {nbytes[worst]} bytes: "
            f"its writer did not finish."
        )
    if np.any(written & ((offsets < 0) | (offsets + nbytes > file.size))):
        worst = int(np.argmax(np.where(written, offsets + nbytes, 0)))
        raise file.too_short(int(offsets[worst]), int(nbytes[worst]))
    nbytes = np.where(written, nbytes, 0)
    if not codec.mapped:
        limits.check_stored(file.path, int(nbytes.max()))
    return offsets.reshape(grid), nbytes.reshape(grid)


def _check_listed_sizes(file: SourceFile, page: Page, needed: NDArray[np.int64]) -> None:
    """Refuse uncompressed blocks that were cut short, of which tifffile says only what they should have."""
    listed = page.tags.valueof(325 if page.is_tiled else 279)
    if needed.size == 1 or not isinstance(listed, tuple) or len(listed) != needed.size:
        return  # the size of a single block overflows in large files, and is of no use
    for block, (has, needs) in enumerate(zip(listed, needed.tolist(), strict=True)):
        if 0 < has < needs:
            raise DamagedFileError(f"{file.path}: block {block} has {has} bytes, {needs} are needed.")


def _codec(file: SourceFile, page: Page, shape: BlockShape, stored: np.dtype[np.generic]) -> Codec:
    compression = int(page.compression)
    name = _STREAMS.get(compression)
    byteorder: Any = page.parent.byteorder
    plain_samples = (
        page.bitspersample == stored.itemsize * 8 and page.fillorder == 1 and np.dtype(page.dtype) == stored
    )
    planar = page.planarconfig == 2
    if _subsampling(page) != (1, 1) and (
        planar or (compression not in _RGB_CODECS and compression != _APERIO_YCBCR)
    ):
        across, down = _subsampling(page)
        if name is None or planar or shape.samples != 3 or stored != np.uint8 or page.fillorder != 1:
            raise UnsupportedFormatError(f"{file.path}: subsampled YCbCr in this form has no block index.")
        return SubsampledCodec(name if name in STREAMS else None, shape, across, down)
    if plain_samples and name == "RAW":
        return RawCodec(shape, stored.newbyteorder(byteorder))
    predictor = int(page.predictor)
    known = (
        predictor == 1 or (predictor == 2 and stored.kind in "iu") or (predictor == 3 and stored.kind == "f")
    )
    if plain_samples and name in STREAMS and known:
        return StreamCodec(name, shape, stored.newbyteorder(byteorder), predictor)
    if _PICTURES.get(compression) == "jpeg" and stored in (np.uint8, np.uint16):
        return JpegCodec(shape, page.jpegtables, *_jpeg_colors(page, shape.samples), stored)
    if compression != 1 and compression not in tifffile.TIFF.DECOMPRESSORS:
        raise UnsupportedFormatError(
            f"{file.path}: nothing here can decode compression {page.compression!r}."
        )
    if isinstance(page, PlainPage):
        raise StructureError(f"{file.path}: samples of {stored} have no predictor {predictor}.")
    with IMPORTS:
        return PageCodec(page.decode, shape, stored, page.jpegtables, _PICTURES.get(compression))


def _jpeg_colors(page: Page, samples: int) -> tuple[int | None, int | None]:
    """Return what JPEG streams hold, where their markers do not say it, and what they are to become.

    Both as libjpeg counts: 2 is RGB, 4 inks.
    """
    photometric = int(page.photometric)
    if samples == 1 or photometric in (5, 6):
        return None, {5: 4, 6: 2}.get(photometric) if samples > 1 else None
    if photometric == 2 and samples == 3:
        # Without a JFIF marker the stream is taken at the word of the tag (Aperio writes such files).
        return (None if page.is_jfif else 2), 2
    # As libtiff has it: what is coded are the samples, whatever a decoder would think of three or four.
    return {3: (2, 2), 4: (4, 4)}.get(samples, (None, None))


def _subsampling(page: Page) -> tuple[int, int]:
    if page.photometric != 6:
        return 1, 1
    value = page.tags.valueof(530, (2, 2))
    if not isinstance(value, tuple) or len(value) != 2 or not set(value) <= {1, 2, 4}:
        return 1, 1
    return int(value[0]), int(value[1])


def _color(page: Page, stored: np.dtype[np.generic]) -> Color | None:
    photometric = int(page.photometric)
    bits, samples = page.bitspersample, page.samplesperpixel
    unsigned = stored.kind == "u"
    if photometric in (0, 1) and samples == 1 and bits in (2, 4) and unsigned:
        # As Pillow and libvips do, so that a PNG and a TIFF of few bits hold the same greys.
        greys = np.linspace(0, 255, 1 << bits).astype(np.uint8)[:, None]
        return Lookup(greys[::-1] if photometric == 0 else greys)
    if photometric == 0 and unsigned:
        return Inverted(stored, samples, (1 << bits) - 1)
    if photometric == 3 and unsigned and page.colormap is not None:
        colormap = np.asarray(page.colormap)
        table = colormap if colormap.dtype == np.uint8 else colormap >> 8
        return Lookup(np.ascontiguousarray(table.T.astype(np.uint8)), stored, min(samples, 2))
    if photometric == 5 and samples >= 4 and unsigned:
        alpha = samples == 5 and tuple(map(int, page.extrasamples)) in ((1,), (2,))
        return Inks(stored, samples, 4 if alpha else 3)
    if photometric == 6 and samples == 3 and page.compression == 1 and _subsampling(page) == (1, 1):
        return PillowLumaChroma() if stored == np.uint8 else None
    converted = int(page.compression) in _RGB_CODECS and page.planarconfig != 2
    if photometric == 6 and stored == np.uint8 and samples >= 3 and not converted:
        luma = _floats(page, 529, 3) or (0.299, 0.587, 0.114)
        reference = _floats(page, 532, 6) or (0.0, 255.0, 128.0, 255.0, 128.0, 255.0)
        if min(luma) > 0:
            return LumaChroma(luma, reference, samples)  # type: ignore[arg-type]  # lengths are checked
    if photometric in (8, 9) and stored in (np.uint8, np.uint16) and samples >= 3:
        return Lab(stored, samples, signed=photometric == 8)
    return None


def _floats(page: Page, code: int, count: int) -> tuple[float, ...] | None:
    value = page.tags.valueof(code)
    if not isinstance(value, tuple):
        return None
    if len(value) == 2 * count:  # rationals come as numerators and denominators
        if any(bottom == 0 for bottom in value[1::2]):
            return None
        return tuple(top / bottom for top, bottom in zip(value[::2], value[1::2], strict=True))
    return tuple(float(item) for item in value) if len(value) == count else None


def _nodata(page: Page) -> float | None:
    if 42113 not in page.tags:
        return None
    try:
        return float(str(page.tags[42113].value).strip().rstrip("\0"))
    except ValueError:
        return None


def _fill(page: Page, dtype: np.dtype[np.generic]) -> float:
    nodata = _nodata(page)
    if nodata is None or (dtype.kind in "iu" and not _holds(dtype, nodata)):
        return 0
    return int(nodata) if dtype.kind in "iu" else nodata


def _holds(dtype: np.dtype[np.generic], value: float) -> bool:
    info = np.iinfo(dtype)  # type: ignore[type-var]  # asked for integers only
    return math.isfinite(value) and value == int(value) and info.min <= value <= info.max


def _kept_tags(page: Page) -> Iterator[FileTag]:
    for code in KEPT_TAGS:
        tag = page.tags.get(code)
        if tag is None:
            continue
        kind = int(tag.dtype)
        letter = tifffile.TIFF.DATA_FORMATS[kind]
        if kind == 2:
            text = tag.value if isinstance(tag.value, bytes) else str(tag.value).encode("utf-8", "replace")
            text = text.rstrip(b"\0") + b"\0"
            yield FileTag(code, 2, len(text), text)
            continue
        if isinstance(tag.value, bytes):
            yield FileTag(code, kind, len(tag.value), tag.value)
            continue
        values = tag.value if isinstance(tag.value, tuple) else (tag.value,)
        try:
            data = struct.pack(f"<{len(values)}{letter[-1]}", *values)
        except struct.error:
            continue  # a tag that does not hold what its type says has nothing to give
        yield FileTag(code, kind, tag.count, data)


def _overviews(file: SourceFile, tiff: tifffile.TiffFile, full: GridLevel) -> list[GridLevel]:
    """Return the reduced pages that show the same picture, from large to small."""
    first = tiff.pages[0]
    candidates: list[Any] = []
    if isinstance(first, tifffile.TiffPage) and first.subifds and len(first.subifds) <= _MOST_LEVELS:
        candidates.extend(first.pages or ())
    for number in range(1, _MOST_LEVELS):
        try:
            page = tiff.pages[number]
        except IndexError:
            break
        if not isinstance(page, tifffile.TiffPage):
            page = page.aspage()
        if int(page.subfiletype or 0) & 1:
            candidates.append(page)
        else:
            break  # the next picture begins
    found = []
    shapes = {full.shape}
    for page in candidates:
        if int(page.subfiletype or 0) & 4:  # a transparency mask
            continue
        try:
            level = _level(file, page)
        except SubregionError:
            continue  # an overview that cannot be indexed is not offered; the full resolution serves
        alike = level.dtype == full.dtype and level.shape[2] == full.shape[2] and same_picture(level, full)
        if alike and level.shape not in shapes:  # levels are told apart by their sizes
            shapes.add(level.shape)
            found.append(level)
    return sorted(found, key=lambda level: -level.shape[1])


def _layout(page: Page) -> str:
    name = _STREAMS.get(int(page.compression)) or getattr(page.compression, "name", str(page.compression))
    how = (
        f"tiles {page.tilelength} x {page.tilewidth}"
        if page.is_tiled
        else f"strips of {min(page.rowsperstrip or page.imagelength, page.imagelength)} rows"
    )
    planar = ", planar" if page.planarconfig == 2 and page.samplesperpixel > 1 else ""
    return f"{how}, {name}{planar}"
