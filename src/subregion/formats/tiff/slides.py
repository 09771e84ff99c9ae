"""Whole slides: which pages of a TIFF are the levels of the slide, and which show what is beside it.

Scanners write pages in an order of their own, and seldom flag those that are reduced.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from subregion.errors import DamagedFileError, UnsupportedFormatError
from subregion.geo.markup import parse_markup
from subregion.libraries import tifffile

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

#: More pages than this are a stack, of which no slide is made.
_MOST_PAGES = 4096
#: Pages of a pyramid, at most.
_MOST_LEVELS = 64
#: Tags of NDPI: the power of the lens (of other pictures a negative number), and the focal plane.
_NDPI_LENS, _NDPI_Z = 65421, 65424
_NDPI_PICTURES = {-1: "macro"}
#: Flags of a page that Aperio calls its macro image and its label.
_APERIO_FLAGS = {9: "macro", 1: "label"}
#: Pages of one pyramid are alike in all of these.
_ALIKE = ("samplesperpixel", "bitspersample", "compression", "tilelength", "tilewidth", "planarconfig")


class SlideError(UnsupportedFormatError):
    """A slide cannot be read, and what other libraries read of its file is not the slide."""


@dataclass(frozen=True, slots=True)
class Slide:
    """The pages of a slide.

    Parameters
    ----------
    kind : str
        Whose file it is.
    levels : list of TiffPage
        The resolutions of the slide, the full one first.
    pictures : dict
        The pages of what is beside it, as far as they are there: ``"label"``, ``"macro"``, ``"thumbnail"``.
    sizes : dict
        Rows and columns of the levels that are padded in the file, by the index of their page.
    extent : tuple of float or None
        Height and width of the full resolution in micrometres, if the file says it in that way.
    """

    kind: str
    levels: list[tifffile.TiffPage]
    pictures: dict[str, tifffile.TiffPage] = field(default_factory=dict)
    sizes: dict[int, tuple[int, int]] = field(default_factory=dict)
    extent: tuple[float, float] | None = None


def slide_of(tiff: tifffile.TiffFile) -> Slide | None:
    """Tell which pages are a slide; None if the file is none that is known here.

    Raises
    ------
    DamagedFileError
        If it lists pages that are not there.
    """
    with contextlib.suppress(ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        return _told(tiff)  # tags of strangers may hold anything
    return None


def _told(tiff: tifffile.TiffFile) -> Slide | None:
    first: Any = tiff.pages[0]
    if first.is_svs and first.is_tiled:
        return _aperio(_pages(tiff))
    if first.is_ndpi:
        return _hamamatsu(_pages(tiff))
    if first.is_scn:
        return _leica(_pages(tiff), first.description)
    if first.is_philips:
        return _philips(_pages(tiff), first.description)
    return _pyramid(tiff)


def first_of_slide(path: str, tiff: tifffile.TiffFile) -> tifffile.TiffPage | None:
    """Return the page that is the full resolution of a scanner's slide; None if the file is no slide.

    Raises
    ------
    DamagedFileError
        If it is one, but does not tell which page that is.
    """
    slide, first = slide_of(tiff), tiff.pages[0]
    if not getattr(first, "is_scn", False):
        known = slide is not None and slide.kind != "pyramid" and isinstance(first, tifffile.TiffPage)
        return first if known else None  # type: ignore[return-value]  # mypy does not see what is known
    if slide is None:
        raise DamagedFileError(f"{path}: its description does not say which of its pages is the slide.")
    return slide.levels[0]


def is_leica(description: bytes) -> bool:
    """Whether a description is that of a Leica SCN, whose first page need not be the slide."""
    return description.rstrip(b"\0\r\n\t ").endswith(b"</scn>")


def _pages(tiff: tifffile.TiffFile) -> list[Any]:
    """Return the pages of a file, each with its own tags."""
    found = []
    for number in range(_MOST_PAGES):
        try:
            page: Any = tiff.pages[number]
        except IndexError:
            break
        found.append(page if isinstance(page, tifffile.TiffPage) else page.aspage())
    return found


def _has_page(tiff: tifffile.TiffFile, number: int) -> bool:
    """Whether there are so many pages; to count all of them would not end where they are a loop."""
    try:
        tiff.pages[number]
    except IndexError:
        return False
    return True


def _by_size(pages: list[Any]) -> list[Any]:
    """Order levels from large to small, each size once: what has the same is another focal plane."""
    by_width = {page.imagewidth: page for page in reversed(pages)}
    return [by_width[width] for width in sorted(by_width, reverse=True)]


def _aperio(pages: list[Any]) -> Slide:
    levels = [pages[0]]
    pictures: dict[str, Any] = {}
    for number, page in enumerate(pages[1:], 1):
        if page.is_tiled and not page.is_reduced:
            levels.append(page)
            continue
        _, _, second = page.description.partition("\n")
        word = second.split(maxsplit=1)[0].lower() if second.strip() else ""
        name = word if word in ("label", "macro") else _APERIO_FLAGS.get(int(page.subfiletype))
        if name is None and number == 1:
            name = "thumbnail"
        if name is not None:
            pictures.setdefault(name, page)
    return Slide("Aperio SVS", _by_size(levels), pictures)


def _hamamatsu(pages: list[Any]) -> Slide:
    levels: list[Any] = []
    pictures: dict[str, Any] = {}
    for page in pages:
        lens, plane = _number(page.tags.valueof(_NDPI_LENS)), _number(page.tags.valueof(_NDPI_Z))
        if lens is None or lens > 0:
            if not plane:  # 0, or there is only one
                levels.append(page)
        elif (name := _NDPI_PICTURES.get(round(lens))) is not None:
            pictures.setdefault(name, page)
    return Slide("Hamamatsu NDPI", _by_size(levels) or pages[:1], pictures)


def _number(value: Any) -> float | None:
    value = value[0] if isinstance(value, tuple) and value else value
    usable = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if usable else None


def _leica(pages: list[Any], description: str) -> Slide | None:
    """Take the largest picture that does not show all of the glass for the slide, as OpenSlide does."""
    try:
        root = parse_markup(description.encode())
    except ValueError:
        return None
    slides: list[tuple[list[Any], tuple[float, float] | None]] = []
    pictures: dict[str, Any] = {}
    for collection in _children(root, "collection"):
        glass = [collection.get(name) for name in ("sizeX", "sizeY")]
        for image in _children(collection, "image"):
            levels = _leica_levels(pages, image)
            view = next(_children(image, "view"), None)
            if not levels:
                continue
            if view is not None and [view.get(name) for name in ("sizeX", "sizeY")] == glass:
                pictures.setdefault("macro", levels[0])
            else:
                slides.append((levels, _extent(view)))
        for extra in _children(collection, "supplementalImage"):
            page = _page_at(pages, extra.get("ifd"))
            if extra.get("type") == "label" and page is not None:
                pictures.setdefault("label", page)
    if not slides:
        return Slide("Leica SCN", [pictures["macro"]], pictures) if "macro" in pictures else None
    largest, extent = max(slides, key=lambda slide: slide[0][0].imagewidth)
    return Slide("Leica SCN", largest, pictures, extent=extent)


def _extent(view: Element | None) -> tuple[float, float] | None:
    """Return height and width of a picture in micrometres; its file has nanometres."""
    sizes = [] if view is None else [_number(float(view.get(name, "nan"))) for name in ("sizeY", "sizeX")]
    return None if None in sizes or not sizes else (sizes[0] / 1000, sizes[1] / 1000)  # type: ignore[operator]


def _children(node: Element, name: str) -> Iterator[Element]:
    return (child for child in node if child.tag.rpartition("}")[2] == name)


def _leica_levels(pages: list[Any], image: Element) -> list[Any]:
    """List the pages of a picture: of its first channel and focal plane."""
    found = []
    for pixels in _children(image, "pixels"):
        for size in _children(pixels, "dimension"):
            page = _page_at(pages, size.get("ifd"))
            if page is not None and size.get("z", "0") == "0" and size.get("c", "0") == "0":
                found.append(page)
    return _by_size(found)


def _page_at(pages: list[Any], number: str | None) -> Any:
    if number is None or not number.strip().isdecimal():
        return None
    if int(number) >= len(pages):
        raise DamagedFileError(
            f"{pages[0].parent.filehandle.path}: describes a picture in page {int(number)}, but there are "
            f"{len(pages)}: it is truncated."
        )
    return pages[int(number)]


def _philips(pages: list[Any], description: str) -> Slide:
    levels: list[Any] = []
    pictures: dict[str, Any] = {}
    for page in pages:
        word = page.description.split(maxsplit=1)[0].lower() if page.description.strip() else ""
        if word in ("label", "macro"):
            pictures.setdefault(word, page)
        elif page.is_tiled:
            levels.append(page)
    return Slide("Philips TIFF", levels or pages[:1], pictures, _unpadded(levels, description))


def _unpadded(levels: list[Any], description: str) -> dict[int, tuple[int, int]]:
    """Return the sizes of levels without the tiles that fill them up, as their pixel spacing tells it."""
    spacings = philips_spacings(description)
    if len(spacings) != len(levels) or len(levels) < 2:
        return {}
    sizes, (high, wide) = {}, spacings[0]
    rows, cols = levels[0].imagelength, levels[0].imagewidth
    for page, spacing in zip(levels[1:], spacings[1:], strict=True):
        size = rows // (round(spacing[0] / high) or 1), cols // (round(spacing[1] / wide) or 1)
        if 0 < size[0] <= page.imagelength and 0 < size[1] <= page.imagewidth:
            sizes[page.index] = size
    return sizes


def philips_spacings(description: str) -> list[tuple[float, float]]:
    """Return height and width of a pixel of each level, in millimetres."""
    found: list[tuple[float, float]] = []
    try:
        root = parse_markup(description.encode())
    except ValueError:
        return found
    for part in root.iter("DataObject"):
        if part.get("ObjectType") != "PixelDataRepresentation":
            continue
        for attribute in part.iter("Attribute"):
            if attribute.get("Name") == "DICOM_PIXEL_SPACING":
                with contextlib.suppress(ValueError):
                    high, wide = map(float, (attribute.text or "").replace('"', " ").split())
                    if min(high, wide) > 0 and math.isfinite(high + wide):
                        found.append((high, wide))
    return found


def _pyramid(tiff: tifffile.TiffFile) -> Slide | None:
    """Take pages for a pyramid that are tiled alike, each smaller by a power of two than the one before.

    Each page has to be so: of a stack of pictures that is true of none.
    """
    first: Any = tiff.pages[0]
    if not first.is_tiled or not _has_page(tiff, 1) or _has_page(tiff, _MOST_LEVELS):
        return None
    pages = _pages(tiff)
    for large, small in itertools.pairwise(pages):
        if not small.is_tiled or any(getattr(small, name) != getattr(large, name) for name in _ALIKE):
            return None
        power = 1 << max(0, round(math.log2(max(1, large.imagewidth / max(1, small.imagewidth)))))
        if power < 2 or not all(
            abs(getattr(large, side) / power - getattr(small, side)) < 1
            for side in ("imagelength", "imagewidth")
        ):
            return None
    return Slide("pyramid", pages)
