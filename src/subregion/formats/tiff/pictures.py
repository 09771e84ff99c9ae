"""Which picture of a TIFF is meant: one of its pages, or a position in one of its series."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from affine import Affine

from subregion.errors import RecordError, UnsupportedFormatError, is_of_system
from subregion.formats.bands import Band, chosen_bands
from subregion.formats.contents import Contents, Series, no_such
from subregion.formats.grid import GridLevel
from subregion.formats.tiff.color import Page
from subregion.formats.tiff.gdal import as_made
from subregion.formats.tiff.header import count_pages
from subregion.formats.tiff.names import Said
from subregion.formats.tiff.page import StructureError, page_level
from subregion.formats.tiff.slides import first_of_slide, slide_of
from subregion.formats.tiff.stacks import Stack, one_band, stacked_level
from subregion.geometry.placement import level_to_full
from subregion.io.source import SourceFile
from subregion.libraries import tifffile
from subregion.views import AS_IT_IS, View

_IDENTITY = Affine.identity()
#: Pages that are looked at to find one that is no overview.
_MOST_LOOKS = 64
#: Makers of stacks, as tifffile calls their kinds of files.
_STACKS = ("ome", "imagej", "shaped", "lsm", "stk", "fluoview", "micromanager", "scanimage", "qpi")
#: Those that may have one directory for all pages.
_IN_ONE = ("imagej", "shaped", "stk")
#: What OME-XML says with numbers of planes.
_COUNTS = ("IFD", "NumPlanes", "PlaneCount", "FirstT", "FirstZ", "FirstC")
#: More pages than this are not told apart into series, of stacks and of other files: tifffile takes seconds,
#: as of others it compares each page with all before.
_MOST_IN_STACK, _MOST_PAGES = 1 << 16, 1 << 11
#: Pages that are counted.
_MOST_COUNTED = 1 << 20
#: Bytes that a page takes in a file, at the very least.
_PAGE_BYTES = 16


@dataclass(frozen=True, slots=True)
class Reader:
    """A TIFF that is open.

    Parameters
    ----------
    file : SourceFile
        The file.
    tiff : tifffile.TiffFile
        The same, as tifffile reads it.
    again : callable
        Opens the latter anew, for what is looked up later.
    overviews : callable
        Returns the reduced pages that show the picture of a page, given its level and its number.
    indices : bool
        Whether indices are wanted of what has a palette.
    """

    file: SourceFile
    tiff: tifffile.TiffFile
    again: Callable[[], contextlib.AbstractContextManager[tifffile.TiffFile]]
    overviews: Callable[[SourceFile, tifffile.TiffFile, GridLevel, int, bool], list[GridLevel]]
    indices: bool = False

    def anew(self, tiff: tifffile.TiffFile) -> Reader:
        """Return the same with a file that was opened anew."""
        return Reader(self.file, tiff, self.again, self.overviews, self.indices)


@dataclass(frozen=True, slots=True)
class Picture:
    """What is meant of a file.

    Parameters
    ----------
    level : GridLevel
        Its full resolution.
    page : Page
        The page whose tags are its own.
    smaller : callable
        Returns its overviews.
    bands : callable
        Returns what is said of its bands.
    left_out : callable or None
        Returns what of the file is not in it.
    note : str
        Where it lies, in words.
    stacked : bool
        Whether its bands lie on several pages.
    from_full : affine.Affine
        From pixels of the full resolution, of which the tags tell, to those of the level.
    """

    level: GridLevel
    page: Page
    smaller: Callable[[], list[GridLevel]]
    bands: Callable[[], Sequence[Band] | None]
    left_out: Callable[[], str] | None = None
    note: str = ""
    stacked: bool = False
    from_full: Affine = _IDENTITY


def choose(reader: Reader, view: View) -> Picture:
    """Return the picture that is asked for.

    Raises
    ------
    RecordError
        If it is not there.
    UnsupportedFormatError, DamagedFileError
        If it cannot be read block by block.
    """
    if view.page is not None and view.series is None:
        return _of_page(reader, view)
    if view.series is None:
        page = first_of_slide(reader.file.path, reader.tiff)
        if page is not None:
            return _of_slide(reader, view, page)
    return _of_series(reader, view)


def default_stack(reader: Reader) -> Picture | None:
    """Return all channels of the first position of a stack; None for a file that is none."""
    tiff, page = reader.tiff, reader.tiff.pages[0]
    several_pages = tiff.pages.is_multipage
    kinds = _kinds(page, _STACKS if several_pages else _IN_ONE)
    if not kinds or not (several_pages or _in_one(page, kinds)):
        return None
    try:
        several = len(_series(reader)) > 1 and "qpi" not in kinds
        stack = Stack.of(reader.file, tiff.series[0], None)
        if math.prod(stack.sizes) == 1 and not several:
            return None
        return _of_series(reader, AS_IT_IS)
    except Exception as error:  # what cannot be understood is still a file whose first page can be read
        if is_of_system(error):
            raise
        return None


def _kinds(page: Any, asked: Sequence[str] = _STACKS) -> list[str]:
    """List what stacks a page says that it belongs to."""
    return [kind for kind in asked if getattr(page, f"is_{kind}", False)]


def _in_one(page: Any, kinds: Sequence[str]) -> bool:
    """Whether a page may be the first of several that have no directories."""
    if "shaped" in kinds:
        return "truncated" in str(page.shaped_description)
    return not {"imagej", "stk"}.isdisjoint(kinds)


def _of_page(reader: Reader, view: View) -> Picture:
    file, tiff, number = reader.file, reader.tiff, view.page or 0
    for name in ("t", "z", "axes"):
        if getattr(view, name) is not None:
            raise RecordError(
                f"{file.path}: page={number} is one page already: leave out {name}={getattr(view, name)!r}, "
                f"or page=."
            )
    page: Any = None
    if count_pages(file, number)[0] > number:  # tifffile follows a long chain that is a loop for ever
        with contextlib.suppress(IndexError):
            page = tiff.pages[number]
    if page is None:
        base, page = _plane(reader, number)
    else:
        page = page if isinstance(page, tifffile.TiffPage) else page.aspage()
        base = page_level(file, page, reader.indices)
    found = None if isinstance(page, tifffile.TiffPage) and page.index != number else number
    return _of_one(reader, view, base, page, found, f", page {number}")


def _of_one(
    reader: Reader, view: View, base: GridLevel, page: Page, number: int | None, note: str = ""
) -> Picture:
    """Return the picture of one page, with the overviews of the page of a number if there is one."""
    file = reader.file

    def smaller() -> list[GridLevel]:
        with reader.again() as again:
            return [] if number is None else reader.overviews(file, again, base, number, reader.indices)

    band, words = view.c, Said.by(page)

    def bands() -> Sequence[Band] | None:
        return chosen_bands(words.gdal_bands(), None if band is None else [band])

    return replace(_picture(file, view, base, page, smaller, band, bands), note=note)


def _picture(
    file: SourceFile,
    view: View,
    base: GridLevel,
    page: Page,
    smaller: Callable[[], list[GridLevel]],
    band: int | None,
    bands: Callable[[], Sequence[Band] | None],
) -> Picture:
    """Return a picture at the resolution that is asked for, all bands of its pages or one of them."""
    level, rest = _resolution(file.path, base, smaller, view)
    return Picture(
        level if band is None else one_band(file, level, band),
        page,
        lambda: [each if band is None else one_band(file, each, band) for each in rest()],
        bands,
        from_full=~level_to_full(base.shape[:2], level.shape[:2], level.resized),
    )


def _of_slide(reader: Reader, view: View, page: tifffile.TiffPage) -> Picture:
    """Return the slide, or a position in the series of pages that it is in."""
    several = any(getattr(view, name) is not None for name in ("t", "z", "axes"))
    base = page_level(reader.file, page, reader.indices)
    if not several and (view.c is None or view.c < base.shape[2]):
        return _of_one(reader, view, base, page, page.index)
    found = (number for number, each in enumerate(_series(reader)) if page.index in _indices(each))
    return _of_series(reader, view, next(found, 0))


def _indices(series: tifffile.TiffPageSeries) -> Iterator[int]:
    return (page.index for page in series if page is not None)


def _plane(reader: Reader, number: int) -> tuple[GridLevel, Page]:
    """Return a plane of a stack that has directories for fewer."""
    count, _ = count_pages(reader.file, _MOST_COUNTED)
    if count == 1:
        series = _series(reader)
        stack = Stack.of(reader.file, series[0], None)
        if number < math.prod(stack.sizes):
            return stacked_level(reader.file, reader.tiff, series[0], stack, [number], reader.indices)
        count = math.prod(stack.sizes)
    raise no_such(reader.file.path, "page", number, count)


def _of_series(reader: Reader, view: View, default: int = 0) -> Picture:
    file = reader.file
    number = default if view.series is None else view.series
    found = _series(reader)
    if number >= len(found):
        raise no_such(file.path, "series", number, len(found))
    series = found[number]
    stack = Stack.of(file, series, view.axes)
    numbers, channels = stack.pages(view)
    base, page = stacked_level(file, reader.tiff, series, stack, numbers, reader.indices)
    index = page.index if len(numbers) == 1 else None

    def smaller() -> list[GridLevel]:
        with reader.again() as tiff:
            again = reader.anew(tiff)
            same = _series(again)[number]
            levels = same.levels[1:]
            if index is not None and (not levels or same.kind in ("generic", "uniform")):
                found = reader.overviews(file, tiff, base, index, reader.indices)
                if found or not levels:
                    return found
            inner = [stacked_level(file, tiff, each, stack, numbers, reader.indices) for each in levels]
            return _unlike(base, [as_made(file, level, own, page) for level, own in inner])

    band = view.c if channels is None else None
    said = stack.left_out(view)
    if len(found) > 1 and view.series is None and not _is_slide(reader.tiff):
        said.insert(0, f"has {len(found)} series, of which 0 is read: choose with series=")
    first: Any = reader.tiff.pages[0]
    words, own, bands = Said.by(first), Said.by(page), channels if band is None else [band]

    def said_of_bands() -> Sequence[Band] | None:
        if words.is_ome:
            return chosen_bands(words.ome_bands(number), bands)
        return chosen_bands(own.gdal_bands(), None if band is None else [band])

    return replace(
        _picture(file, view, base, page, smaller, band, said_of_bands),
        left_out=lambda: "; ".join(said),
        note=f", {len(numbers)} pages of a stack {stack.outer}{stack.inner}" if stack.outer else "",
        stacked=len(numbers) > 1,
    )


def _is_slide(tiff: tifffile.TiffFile) -> bool:
    """Whether what else is in a file are the pictures beside a slide."""
    slide = slide_of(tiff)
    return slide is not None and slide.kind != "pyramid"


def _resolution(
    path: str, base: GridLevel, smaller: Callable[[], list[GridLevel]], view: View
) -> tuple[GridLevel, Callable[[], list[GridLevel]]]:
    """Return the resolution that is the image, and what finds the smaller ones."""
    number = view.level or 0
    if number == 0:
        return base, smaller
    levels = [base, *smaller()]
    if number >= len(levels):
        raise no_such(path, "level", number, len(levels))
    return levels[number], lambda: levels[number + 1 :]


def _unlike(base: GridLevel, levels: Sequence[GridLevel]) -> list[GridLevel]:
    """Return the levels that show the same in fewer pixels each; they are told apart by their sizes."""
    found, shapes = [], {base.shape}
    for level in levels:
        if level.dtype == base.dtype and level.shape[2] == base.shape[2] and level.shape not in shapes:
            shapes.add(level.shape)
            found.append(level)
    return found


def _series(reader: Reader) -> list[tifffile.TiffPageSeries]:
    """Return the series of a file, after a look at what would make tifffile take gigabytes."""
    page: Any = reader.tiff.pages[0]
    most = _MOST_IN_STACK if _kinds(page) else _MOST_PAGES
    count, ends = count_pages(reader.file, most)
    if not ends and count <= most:
        raise StructureError(f"{reader.file.path}: the chain of its pages does not end.")
    if count <= _MOST_PAGES:
        inner = (reader.tiff.pages[number].subifds for number in range(count))
        count = max(count, sum(len(each) for each in inner if each))
    if count > most:
        raise UnsupportedFormatError(
            f"{reader.file.path}: has more than {most} pages, which are not told apart into series; "
            f"choose one with page=."
        )
    words = Said.by(page)
    if words.is_ome:
        pixels = words.ome_pixels()
        if pixels is None:
            raise StructureError(f"{reader.file.path}: its OME-XML cannot be parsed.")
        most = reader.file.size // _PAGE_BYTES
        for each in pixels:
            count = math.prod(_number(each.get(f"Size{axis}"), 1) for axis in "TZC")
            told = [_number(inner.get(name), 0) for inner in each for name in _COUNTS]
            if count > most or max(told, default=0) > most:
                raise StructureError(f"{reader.file.path}: more planes are in its OME-XML than it can hold.")
    series = reader.tiff.series
    if not series:
        raise UnsupportedFormatError(f"{reader.file.path}: has no series of pages.")
    return series


def _number(text: str | None, default: int) -> int:
    try:
        return default if text is None else max(0, int(text[:20]))
    except ValueError:
        return default


def other_pages(file: SourceFile, tiff: tifffile.TiffFile) -> str:
    """Say whether a file has other pages like its first; empty if they are overviews, masks or other."""
    first: Any = tiff.pages[0]
    for number in range(1, _MOST_LOOKS):
        try:
            page: Any = tiff.pages[number]
        except IndexError:
            break
        if int(page.subfiletype or 0) & 5:  # an overview, or a mask
            continue
        if (page.shape, page.dtype) != (first.shape, first.dtype):
            break
        count, _ = count_pages(file, _MOST_COUNTED)
        number_of = count if count <= _MOST_COUNTED else f"more than {_MOST_COUNTED}"
        return f"has {number_of} pages, of which 0 is read: choose with page="
    return ""


def contents(reader: Reader) -> Contents:
    """List the pages and series of a file; no series if they cannot be told."""
    count, _ = count_pages(reader.file, _MOST_COUNTED)
    try:
        series = _series(reader)
        return Contents(count, tuple(_listed(number, each) for number, each in enumerate(series)))
    except Exception as error:  # what is of no use to tell does not keep the rest from being told
        if is_of_system(error):
            raise
        return Contents(count)


def _listed(number: int, series: tifffile.TiffPageSeries) -> Series:
    levels = []
    for each in series.levels:
        sizes = dict(zip(each.axes, each.shape, strict=True))
        levels.append((sizes.get("Y", 1), sizes.get("X", 1)))
    return Series(number, series.name, series.axes, tuple(series.shape), tuple(levels))
