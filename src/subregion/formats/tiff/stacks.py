"""Pages of a TIFF that are one picture, or a stack of them: which page holds which position of which axis."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subregion.codecs.codec import RawCodec
from subregion.codecs.color import Color
from subregion.codecs.page import PageCodec
from subregion.errors import DamagedFileError, RecordError, UnsupportedFormatError
from subregion.formats.contents import no_such
from subregion.formats.grid import GridLevel
from subregion.formats.tiff.page import page_level
from subregion.io import limits
from subregion.io.source import SourceFile
from subregion.libraries import tifffile
from subregion.views import View

#: Channels on pages of their own.
_MOST_PAGES = 1 << 12


@dataclass(frozen=True, slots=True, eq=False)
class Only(Color):
    """One band of a pixel.

    Parameters
    ----------
    stored : numpy.dtype
        The type of the stored samples.
    samples : int
        How many there are.
    number : int
        Which band is kept.
    inner : Color or None
        What makes bands of samples; None if they are bands.
    """

    stored: np.dtype[np.generic]
    samples: int
    number: int
    inner: Color | None
    bands: int = 1

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """The type of the band."""
        return self.stored if self.inner is None else self.inner.dtype

    def __call__(self, samples: NDArray[Any]) -> NDArray[Any]:
        """Return the band."""
        pixels = samples if self.inner is None else self.inner(samples)
        return np.ascontiguousarray(pixels[..., self.number : self.number + 1])


@dataclass(frozen=True, slots=True)
class Stack:
    """How a series of pages is laid out.

    Parameters
    ----------
    path : str
        The file.
    outer, sizes : str and tuple of int
        The axes along which pages lie, and how long they are.
    inner : str
        The axes of a page.
    """

    path: str
    outer: str
    sizes: tuple[int, ...]
    inner: str

    @classmethod
    def of(cls, file: SourceFile, series: tifffile.TiffPageSeries, axes: str | None) -> Stack:
        """Tell which axes of a series lie in pages, and which along them.

        Parameters
        ----------
        file : SourceFile
            The file.
        series : tifffile.TiffPageSeries
            The series.
        axes : str or None
            What the caller calls its axes; None for what the file calls them.
        """
        path = file.path
        if axes is None:
            letters, shape = series.get_axes(squeeze=False), series.get_shape(squeeze=False)
        else:
            letters, shape = axes.upper(), series.shape
            if len(letters) != len(shape):
                raise RecordError(
                    f"{path}: axes={axes!r} names {len(letters)} axes, but the series has {len(shape)}: "
                    f"its shape is {tuple(shape)}, its axes {series.axes}."
                )
        planes = math.prod(shape) // max(1, series.keyframe.size)
        if planes > file.size:
            raise DamagedFileError(f"{path}: tells of {planes} planes, which is more than it can hold.")
        for count in reversed(range(len(shape))):
            if {"Y", "X"} <= set(letters[count:]) and math.prod(shape[:count]) == planes:
                outer = letters[:count]
                sizes = tuple(shape[:count])
                if "C" not in letters:  # pages that are samples are channels, as in an array
                    outer = outer.replace("S", "C")
                elif (at := outer.find("C")) >= 0 and sizes[at] == 1:  # so are the samples of the only one
                    outer, sizes = outer[:at] + outer[at + 1 :], sizes[:at] + sizes[at + 1 :]
                return cls(path, outer, sizes, letters[count:])
        raise UnsupportedFormatError(
            f"{path}: a series of shape {tuple(shape)} with axes {letters} is not made of pages with y and x."
        )

    def pages(self, view: View) -> tuple[list[int], list[int] | None]:
        """Return which pages make up a picture, and which channels they are if pages are channels.

        Raises
        ------
        RecordError
            If there is no such position.
        """
        ranges, channels = [], None
        wanted = self._wanted(view)
        for axis, (letter, size) in enumerate(zip(self.outer, self.sizes, strict=True)):
            if letter == "C" and wanted[axis] is None:
                ranges.append(range(size))
            else:
                at = wanted[axis] or 0
                ranges.append(range(at, at + 1))
            if letter == "C":
                channels = list(ranges[-1])
        if math.prod(map(len, ranges)) > _MOST_PAGES:
            raise UnsupportedFormatError(f"{self.path}: has more than {_MOST_PAGES} channels.")
        return [self._number(at) for at in itertools.product(*ranges)], channels

    def _number(self, at: Sequence[int]) -> int:
        number = 0
        for position, size in zip(at, self.sizes, strict=True):
            number = number * size + position
        return number

    def _wanted(self, view: View) -> list[int | None]:
        found: list[int | None] = [None] * len(self.outer)
        unnamed = next((n for n, letter in enumerate(self.outer) if letter not in "TZCS"), None)
        for name, value in (("t", view.t), ("z", view.z), ("c", view.c), ("page", view.page)):
            if value is None:
                continue
            axis = unnamed if name == "page" else _find(self.outer, name.upper())
            if name == "c" and axis is None:
                continue  # it is a sample of each page
            count = 1 if axis is None else self.sizes[axis]
            if value >= count:
                raise no_such(self.path, name, value, count)
            if axis is not None:
                found[axis] = value
        return found

    def left_out(self, view: View) -> list[str]:
        """Say which positions are not in the picture."""
        said = []
        unnamed = next((n for n, letter in enumerate(self.outer) if letter not in "TZCS"), None)
        for axis, (letter, size) in enumerate(zip(self.outer, self.sizes, strict=True)):
            name = letter.lower() if letter in "TZ" else "page" if axis == unnamed else ""
            if size == 1 or letter == "C" or (name and getattr(view, name) is not None):
                continue
            if name == "page":
                said.append(f"has {size} pages, of which 0 is read: choose with page=, or name them by axes=")
            elif name:
                said.append(f"has {name} from 0 to {size - 1}, of which 0 is read: choose with {name}=")
            else:
                said.append(f"has {size} positions of the axis {letter}, of which 0 is read")
        return said


def _find(letters: str, letter: str) -> int | None:
    axis = letters.find(letter)
    return None if axis < 0 else axis


def stacked_level(
    file: SourceFile,
    tiff: tifffile.TiffFile,
    series: tifffile.TiffPageSeries,
    stack: Stack,
    numbers: Sequence[int],
    indices: bool = False,
) -> tuple[GridLevel, tifffile.TiffPage]:
    """Index pages of a series as one picture, whose bands lie on them; with the first page.

    Parameters
    ----------
    file : SourceFile
        The file.
    tiff : tifffile.TiffFile
        The same, as tifffile reads it.
    series : tifffile.TiffPageSeries
        The series, or a level of it.
    stack : Stack
        How it is laid out.
    numbers : sequence of int
        Which pages.
    indices : bool
        Whether indices are wanted of what has a palette.

    Raises
    ------
    UnsupportedFormatError
        If the pages are not alike, or cannot be read block by block.
    DamagedFileError
        If their structure is malformed.
    """
    if len(series) == 1 and math.prod(stack.sizes) > 1:
        first, levels = _in_one_piece(file, series, numbers, indices)
    else:
        pages = [_page(file, tiff, series[number]) for number in numbers]
        first = next((page for page in pages if page is not None), series.keyframe)
        known = page_level(file, first, indices)
        levels = [
            _empty(known) if page is None else known if page is first else page_level(file, page, indices)
            for page in pages
        ]
    return levels[0] if len(levels) == 1 else _together(file, levels), first


def _page(file: SourceFile, tiff: tifffile.TiffFile, page: Any) -> tifffile.TiffPage | None:
    if page is None:  # that it is not in the file is what its writer meant
        return None
    if page.parent is not tiff:
        raise UnsupportedFormatError(f"{file.path}: its pages lie in other files; open each of them.")
    return page if isinstance(page, tifffile.TiffPage) else page.aspage()


def _empty(level: GridLevel) -> GridLevel:
    nothing = np.zeros_like(level.offsets)
    return replace(level, offsets=nothing, nbytes=nothing)


def _in_one_piece(
    file: SourceFile, series: tifffile.TiffPageSeries, numbers: Sequence[int], indices: bool
) -> tuple[tifffile.TiffPage, list[GridLevel]]:
    """Index a stack of which only the first page has tags, and all others follow its pixels."""
    page = series.keyframe
    level = page_level(file, page, indices)
    if series.dataoffset is None or not isinstance(level.codec, RawCodec):
        raise UnsupportedFormatError(f"{file.path}: its pages are described as one, but do not lie in one.")
    end = int((level.offsets + level.nbytes).max()) + max(numbers) * page.nbytes
    if end > file.size:
        raise file.too_short(end - page.nbytes, page.nbytes)
    return page, [replace(level, offsets=level.offsets + number * page.nbytes) for number in numbers]


def _together(file: SourceFile, levels: Sequence[GridLevel]) -> GridLevel:
    """Return one level of which each given one is some of the bands."""
    first = levels[0]
    if not all(_alike(first, each) for each in levels):
        raise UnsupportedFormatError(f"{file.path}: its channels are not stored alike.")
    if first.color is not None:
        raise UnsupportedFormatError(f"{file.path}: its channels are pictures with colours of their own.")
    rows, cols, bands = first.shape
    limits.check_pixels(file.path, rows, cols, bands * len(levels), first.dtype.itemsize)
    return replace(
        first,
        shape=(rows, cols, bands * len(levels)),
        offsets=np.concatenate([each.offsets for each in levels]),
        nbytes=np.concatenate([each.nbytes for each in levels]),
        samples=bands // len(first.offsets),
    )


def _alike(one: GridLevel, other: GridLevel) -> bool:
    if (one.shape, one.dtype, one.block, one.fill) != (other.shape, other.dtype, other.block, other.fill):
        return False
    if isinstance(one.codec, PageCodec) and isinstance(other.codec, PageCodec):  # each decodes by its page
        return replace(one.codec, page=other.codec.page) == other.codec
    return one.codec == other.codec and (one.color is None) == (other.color is None)


def one_band(file: SourceFile, level: GridLevel, band: int) -> GridLevel:
    """Return a level of one band of another.

    Raises
    ------
    RecordError
        If it has fewer.
    """
    rows, cols, bands = level.shape
    if band >= bands:
        raise no_such(file.path, "c", band, bands)
    if bands == 1:
        return level
    if len(level.offsets) == bands:
        return replace(
            level,
            shape=(rows, cols, 1),
            offsets=level.offsets[band : band + 1],
            nbytes=level.nbytes[band : band + 1],
        )
    if len(level.offsets) > 1:
        raise DamagedFileError(f"{file.path}: its bands are not stored alike.")
    color = level.color
    stored = level.dtype if color is None else color.stored
    samples = bands if color is None else color.samples
    return replace(level, shape=(rows, cols, 1), color=Only(stored, samples, band, color))
