"""A TIFF page as a grid of blocks: where they lie, and what decodes them."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subregion.codecs.codec import BlockShape, Codec, RawCodec
from subregion.codecs.jpeg import IntervalCodec, JpegCodec
from subregion.codecs.jpegheader import InMemory, find_frame
from subregion.codecs.page import PageCodec, SubsampledCodec
from subregion.codecs.streams import STREAMS, StreamCodec
from subregion.dtypes import as_integer
from subregion.errors import DamagedFileError, UnsupportedFormatError
from subregion.forks import IMPORTS
from subregion.formats.grid import GridLevel
from subregion.formats.tiff.color import RGB_CODECS, Page, color_of, jpeg_colors, subsampling
from subregion.formats.tiff.header import PlainPage
from subregion.io import limits
from subregion.io.source import SourceFile
from subregion.libraries import tifffile

#: Compressions that are undone here, by their number in the tag.
COMPRESSIONS = {
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
#: Whole numbers up to this are floats too.
_EXACT = 1 << 53
_APERIO_YCBCR = 33003
#: Rows and columns of a JPEG that libjpeg decodes, at most.
_LONGEST_JPEG = 65500
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
#: What must be whole numbers; tags may be of any type.
_WHOLE_NUMBERS = (
    "imagelength", "imagewidth", "samplesperpixel", "tilelength", "tilewidth", "rowsperstrip", "planarconfig",
    "imagedepth", "tiledepth",
)  # fmt: skip


class StructureError(DamagedFileError):
    """The tags of a TIFF cannot be made sense of; another library may be more patient."""


def page_level(file: SourceFile, page: Page, indices: bool = False) -> GridLevel:
    """Index the blocks of a page; of one with a palette its colours, or `indices`.

    Raises
    ------
    UnsupportedFormatError
        If its pixels cannot be read block by block.
    DamagedFileError
        If its structure is malformed.
    """
    check_size(file, page)
    if page.imagedepth != 1 or page.tiledepth not in (0, 1):
        raise UnsupportedFormatError(f"{file.path}: a volume of depth {page.imagedepth} has no block index.")
    stored = _stored_dtype(file, page)
    if int(page.compression) == _OLD_JPEG:
        return _old_jpeg(file, page)
    color = color_of(page, stored, indices)
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


def check_size(file: SourceFile, page: Page) -> None:
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
    if isinstance(codec, IntervalCodec) and len(page.dataoffsets) != count:
        raise UnsupportedFormatError(
            f"{file.path}: its {len(page.dataoffsets)} JPEG restart intervals do not end where its rows do, "
            f"so that there is no block index."
        )
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
    name = COMPRESSIONS.get(compression)
    byteorder: Any = page.parent.byteorder
    plain_samples = (
        page.bitspersample == stored.itemsize * 8 and page.fillorder == 1 and np.dtype(page.dtype) == stored
    )
    planar = page.planarconfig == 2
    if subsampling(page) != (1, 1) and (
        planar or (compression not in RGB_CODECS and compression != _APERIO_YCBCR)
    ):
        across, down = subsampling(page)
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
        colors = jpeg_colors(page, shape.samples)
        # Hamamatsu lists where the restart intervals of one huge JPEG are: each is a block.
        head = getattr(page, "jpegheader", None)
        if head is not None:
            return IntervalCodec(shape, None, *colors, stored, head=head)
        if max(page.imagelength, page.imagewidth) > _LONGEST_JPEG and shape.grid_rows == shape.grid_cols == 1:
            raise UnsupportedFormatError(
                f"{file.path}: is one JPEG of {page.imagewidth} x {page.imagelength} pixels (width x height) "
                f"without a list of restart intervals, larger than decoders take."
            )
        return JpegCodec(shape, page.jpegtables, *colors, stored)
    if compression != 1 and compression not in tifffile.TIFF.DECOMPRESSORS:
        raise UnsupportedFormatError(
            f"{file.path}: nothing here can decode compression {page.compression!r}."
        )
    if isinstance(page, PlainPage):
        raise StructureError(f"{file.path}: samples of {stored} have no predictor {predictor}.")
    with IMPORTS:
        return PageCodec(page.decode, shape, stored, page.jpegtables, _PICTURES.get(compression))


def nodata_of(page: Page) -> float | int | None:
    """Return the value that GDAL noted for "no pixel here"."""
    if 42113 not in page.tags:
        return None
    text = str(page.tags[42113].value).strip().rstrip("\0")
    with contextlib.suppress(ValueError):
        whole = int(text)  # of 64 bits a float would often be another number
        if whole.bit_length() <= 64:
            return whole if abs(whole) > _EXACT else float(whole)
    with contextlib.suppress(ValueError):
        return float(text)
    return None


def _fill(page: Page, dtype: np.dtype[np.generic]) -> float:
    nodata = nodata_of(page)
    if nodata is None:
        return 0
    return as_integer(nodata, dtype) or 0 if dtype.kind in "iu" else nodata
