"""TIFF files: tifffile reads the tags, or our own reader those of plain files; blocks are read by us."""

from __future__ import annotations

import contextlib
import logging
import struct
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any, BinaryIO

import numpy as np
from affine import Affine

from subregion.blocks.level import Level
from subregion.codecs.page import PageCodec
from subregion.errors import (
    DamagedFileError,
    NotGeoreferencedError,
    RecordError,
    SubregionError,
    UnsupportedFormatError,
    is_of_system,
    source_error,
)
from subregion.forks import FOREIGN, IMPORTS
from subregion.formats.bands import Band
from subregion.formats.contents import Contents
from subregion.formats.grid import GridLevel, overviews_among
from subregion.formats.npy import one_block
from subregion.formats.raster import Raster
from subregion.formats.tiff.color import Page, palette_of
from subregion.formats.tiff.gdal import as_made
from subregion.formats.tiff.header import FEW_BANDS, PlainPage, may_have_like, read_plain_page
from subregion.formats.tiff.names import Said
from subregion.formats.tiff.page import COMPRESSIONS, StructureError, check_size, nodata_of, page_level
from subregion.formats.tiff.pictures import (
    Picture,
    Reader,
    choose,
    contents,
    default_stack,
    other_pages,
)
from subregion.formats.tiff.slides import Slide, SlideError, first_of_slide, is_leica, slide_of
from subregion.geo.geotags import PLACE_TAGS, FileTag, GeoTags, placing_tags
from subregion.io.descriptors import with_room
from subregion.io.source import SourceFile
from subregion.libraries import tifffile
from subregion.views import AS_IT_IS, View

# tifffile reports through logging what it repairs; an application that wants to hear it can.
logging.getLogger("tifffile").addHandler(logging.NullHandler())


#: How classic and big TIFFs begin, in either order of bytes.
TIFF_MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
#: Tags that a converted file takes along: ICC profile, resolution, GeoTIFF, band metadata.
KEPT_TAGS = (282, 283, 296, 33550, 33922, 34264, 34675, 34735, 34736, 34737, 42112)

#: Those of them that tell of the full resolution only: its place, and how large its pixels are.
OF_FULL = (282, 283, 296, *PLACE_TAGS)
_ORIENTATION = 274
#: Reduced pages of a picture: each is half of the one before, and may have a mask.
_MOST_LEVELS = 64


def open_tiff(file: SourceFile, view: View = AS_IT_IS) -> Raster:
    """Open a picture of a TIFF or BigTIFF as a grid of blocks.

    Parameters
    ----------
    file : SourceFile
        The open file.
    view : View
        Which picture: by default the first page, or all channels of the first position of a stack.

    Raises
    ------
    UnsupportedFormatError
        If its pixels cannot be read block by block; another reader may be able to read them whole.
    DamagedFileError
        If its structure is malformed.
    RecordError
        If it has no such picture.
    """
    if view.picture is not None:
        return _beside(file, view.picture)
    indices = view.palette == "index"
    plain = None if view.chosen else read_plain_page(file)
    is_slide = plain is not None and 270 in plain.tags and is_leica(plain.tags[270].data)
    if plain is not None and not is_slide and not (plain.following and Said.by(plain).is_stack):
        return _raster(file, plain, bool(plain.following), indices)
    with _tiff(file) as tiff:
        if view.chosen:
            return _chosen(file, choose(_reader(file, tiff, indices), view), view)
        page = _first_page(file, tiff)
        if page.is_scn:
            return _leica(file, tiff, indices)
        rows = _rows_as_pages(file, tiff, page)
        if rows is not None:
            return Raster(file.path, "TIFF", "a page for each row, RAW", rows)
        stack = default_stack(_reader(file, tiff, indices))
        if stack is not None:
            return _chosen(file, stack, view)
        return _raster(file, page, tiff.pages.is_multipage, indices)


def _reader(file: SourceFile, tiff: tifffile.TiffFile, indices: bool = False) -> Reader:
    return Reader(file, tiff, lambda: _tiff(file), _overviews, indices)


def _raster(file: SourceFile, page: Page, more: bool, indices: bool) -> Raster:
    full = page_level(file, page, indices)

    def smaller() -> list[GridLevel]:
        with _tiff(file) as tiff:
            return _overviews(file, tiff, full, 0 if isinstance(page, PlainPage) else page.index, indices)

    def left_out() -> str:
        with _tiff(file) as tiff:
            return other_pages(file, tiff)

    words = Said.by(page)

    def bands() -> list[Band] | None:
        return words.ome_bands(0) if words.is_ome else words.gdal_bands()

    raster = _made(file, Picture(full, page, smaller, bands, left_out if more else None), indices)
    if isinstance(page, PlainPage):
        following = page.following if more else 0
        return replace(
            raster,
            find_overviews=_overviews_of_plain,
            find_left_out=partial(_left_out_of_plain, following),
            index_nbytes=page.nbytes,
        )
    if raster.palette is None and palette_of(page) is not None:
        return replace(raster, indexed=lambda: _raster(file, page, more, indices=True))
    return raster


def _overviews_of_plain(full: Level) -> list[GridLevel]:
    """Return the overviews of the first page, looked for anew in its file."""
    assert isinstance(full, GridLevel) and isinstance(full.file, SourceFile)  # noqa: S101, PT018 - for mypy
    with _tiff(full.file) as tiff:
        return _overviews(full.file, tiff, full, 0, False)


def _left_out_of_plain(following: int, full: Level) -> str:
    """Say what pages there are beside the first one, behind which is another at this offset."""
    file = full.file
    assert isinstance(file, SourceFile)  # noqa: S101 - for mypy
    if not following or not may_have_like(file, following, full.shape[:2]):
        return ""
    with _tiff(file) as tiff:
        return other_pages(file, tiff)


def _chosen(file: SourceFile, picture: Picture, view: View) -> Raster:
    if view.chosen or picture.stacked:  # the blocks of others have the same numbers
        file.identity += f":{view.name}"
    indices = view.palette == "index"
    raster = _made(file, picture, indices)
    if raster.palette is None and palette_of(picture.page) is not None:
        path = file.path
        return replace(raster, indexed=lambda: open_tiff(SourceFile(path), replace(view, palette="index")))
    return raster


def _made(file: SourceFile, picture: Picture, indices: bool) -> Raster:
    _probe(picture.level)
    file.expect_windows()
    page = picture.page
    return Raster(
        file.path,
        "TIFF",
        _layout(page) + picture.note,
        picture.level,
        lambda full: picture.smaller(),
        nodata=nodata_of(page),
        tags=_tags_of(page, picture.from_full),
        from_full=picture.from_full,
        palette=palette_of(page) if indices else None,
        find_bands=picture.bands,
        find_left_out=lambda full: "" if picture.left_out is None else picture.left_out(),
    )


def _tags_of(page: Page, from_full: Affine) -> tuple[FileTag, ...]:
    """Return what a copy of a level takes along of the tags of the full resolution."""
    tags = tuple(_kept_tags(page))
    if from_full.is_identity:
        return tags
    kept = tuple(tag for tag in tags if tag.code not in OF_FULL)
    told = GeoTags.of(tags)
    try:
        to_world = told.to_world("") @ ~from_full
    except NotGeoreferencedError:
        return kept
    return placing_tags(to_world, told.pixel_is_point) + kept


def contents_of_tiff(file: SourceFile) -> Contents:
    """List the pages and series of a TIFF.

    Raises
    ------
    DamagedFileError
        If its structure is malformed.
    """
    with _tiff(file) as tiff:
        return contents(_reader(file, tiff))


def _leica(file: SourceFile, tiff: tifffile.TiffFile, indices: bool) -> Raster:
    """Open a slide whose first page may be the macro picture."""
    page: Any = first_of_slide(file.path, tiff)
    try:
        return _raster(file, page, False, indices)
    except UnsupportedFormatError as error:
        raise SlideError(str(error)) from error


def _beside(file: SourceFile, picture: str) -> Raster:
    """Open a picture beside a slide."""
    with _tiff(file) as tiff:
        page = _page_beside(file, tiff, picture)
        # It may be as large as a level, whose decoded blocks must not be taken for its own.
        file.identity = f"{file.identity}:{picture}"
        raster = _raster(file, page, False, False)
        return replace(raster, find_overviews=lambda full: ())


def _page_beside(file: SourceFile, tiff: tifffile.TiffFile, picture: str) -> tifffile.TiffPage:
    """Return the page of a picture beside a slide."""
    _first_page(file, tiff)
    slide = slide_of(tiff)
    known = {} if slide is None else slide.pictures
    if picture not in known:
        listed = ", ".join(map(repr, sorted(known))) or "none"
        raise RecordError(f"{file.path}: has no picture={picture!r} beside the image; there is: {listed}.")
    return known[picture]


def orientation_of(file: SourceFile, view: View = AS_IT_IS) -> Any:
    """Return the value of the tag that says how a picture is to be turned; None if there is none."""
    plain = None if view.chosen or view.picture is not None else read_plain_page(file)
    if plain is not None:
        return plain.tags.valueof(_ORIENTATION)
    with page_of(file, view) as found:
        value = None if found is None else found[1].tags.valueof(_ORIENTATION)
        return int(value) if isinstance(value, int) else None


def tags_of(file: SourceFile) -> tuple[FileTag, ...]:
    """Read the tags of the default page that a converted file takes along; its blocks are not looked at.

    Raises
    ------
    DamagedFileError
        If the structure is malformed.
    """
    with _tiff(file) as tiff:
        return tuple(_kept_tags(_default_page(file, tiff)))


def tags_in(stream: BinaryIO) -> tuple[FileTag, ...]:
    """Read the same of a TIFF inside another file; any exception may come out of malformed bytes."""
    with np.errstate(all="ignore"), tifffile.TiffFile(stream) as tiff:
        page = tiff.pages[0]
        return tuple(_kept_tags(page)) if isinstance(page, tifffile.TiffPage) else ()


@contextlib.contextmanager
def page_of(file: SourceFile, view: View) -> Iterator[tuple[tifffile.TiffFile, Page] | None]:
    """Open a TIFF for the tags of a picture; what is entered is None if it is no TIFF with a first page."""
    with tiff_of(file) as tiff:
        if tiff is None:
            yield None
        elif view.picture is not None:
            yield tiff, _page_beside(file, tiff, view.picture)
        elif view.chosen:
            yield tiff, choose(_reader(file, tiff), replace(view, level=None)).page
        else:
            yield tiff, _default_page(file, tiff)


@contextlib.contextmanager
def tiff_of(file: SourceFile) -> Iterator[tifffile.TiffFile | None]:
    """Open a TIFF for its tags; what is entered is None if it is no TIFF with a first page."""
    if file.head(4) not in TIFF_MAGICS:
        yield None
        return
    with _tiff(file) as tiff:
        _first_page(file, tiff)
        yield tiff


@contextlib.contextmanager
def _tiff(file: SourceFile) -> Iterator[tifffile.TiffFile]:
    """Open a TiffFile whose every complaint about structure is a `DamagedFileError`."""
    try:
        # tifffile computes with whatever numbers the tags hold.
        with (
            FOREIGN,
            np.errstate(all="ignore"),
            # Other files that one names are not opened.
            with_room(lambda: tifffile.TiffFile(file.path, _multifile=False)) as tiff,
        ):
            yield tiff
    except (SubregionError, MemoryError):
        raise
    except Exception as error:
        if is_of_system(error):
            raise source_error(file.path, error) from error
        raise StructureError(f"{file.path}: the TIFF structure is malformed: {error}") from error


def _first_page(file: SourceFile, tiff: tifffile.TiffFile) -> tifffile.TiffPage:
    page = tiff.pages[0]
    if not isinstance(page, tifffile.TiffPage):
        raise DamagedFileError(f"{file.path}: the TIFF has no first page.")
    return page


def _default_page(file: SourceFile, tiff: tifffile.TiffFile) -> tifffile.TiffPage:
    """Return the first page, or that of the slide where it need not be the first."""
    page = _first_page(file, tiff)
    return (first_of_slide(file.path, tiff) or page) if page.is_scn else page


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
    check_size(file, page)
    dtype = np.dtype(page.dtype).newbyteorder(tiff.byteorder)
    return one_block(file, offset, (shape[0], shape[1], shape[2]), dtype)


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


def _overviews(
    file: SourceFile, tiff: tifffile.TiffFile, full: GridLevel, page: int, indices: bool
) -> list[GridLevel]:
    """Return the reduced pages that show the same picture as a page, from large to small."""
    if getattr(tiff.pages[0], "is_scn", False):
        slide = slide_of(tiff)
        if slide is not None and slide.levels[0].index != page:
            slide = None  # it is beside the slide
    else:
        slide = slide_of(tiff) if page == 0 else None
    flagged = [] if slide is not None and slide.kind != "pyramid" else _flagged(tiff, page)
    pages = flagged + (slide.levels[1:] if slide is not None and not flagged else [])
    pictures = [each for each in pages if not int(each.subfiletype or 0) & 4]  # others are masks

    first: Any = tiff.pages[page]

    def level_of(each: Any) -> GridLevel:
        level = _without_padding(page_level(file, each, indices), each, slide)
        return as_made(file, level, each, first)

    found = overviews_among((partial(level_of, each) for each in pictures), full)
    return sorted(found, key=lambda level: -level.shape[1])


def _flagged(tiff: tifffile.TiffFile, page: int) -> list[Any]:
    """Return the pages of a file that are flagged as reduced behind a page, and those below it."""
    first = tiff.pages[page]
    candidates: list[Any] = []
    if isinstance(first, tifffile.TiffPage) and first.subifds and len(first.subifds) <= _MOST_LEVELS:
        candidates.extend(first.pages or ())
    for number in range(page + 1, page + _MOST_LEVELS):
        try:
            other = tiff.pages[number]
        except IndexError:
            break
        if not isinstance(other, tifffile.TiffPage):
            other = other.aspage()
        if int(other.subfiletype or 0) & 1:
            candidates.append(other)
        else:
            break  # the next picture begins
    return candidates


def _without_padding(level: GridLevel, page: Any, slide: Slide | None) -> GridLevel:
    """Leave out what only fills the last tiles of a level."""
    size = None if slide is None else slide.sizes.get(page.index)
    return level if size is None else replace(level, shape=(*size, level.shape[2]))


def _layout(page: Page) -> str:
    name = COMPRESSIONS.get(int(page.compression)) or getattr(page.compression, "name", str(page.compression))
    how = (
        f"tiles {page.tilelength} x {page.tilewidth}"
        if page.is_tiled
        else f"strips of {min(page.rowsperstrip or page.imagelength, page.imagelength)} rows"
    )
    planar = ", planar" if page.planarconfig == 2 and page.samplesperpixel > 1 else ""
    return f"{how}, {name}{planar}"
