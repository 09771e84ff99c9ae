"""Images that are decoded from the top: libvips gives their rows in order, in bounded memory."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from subregion.blocks.cache import BLOCKS, level_key, whole_number
from subregion.blocks.level import Block, BlockPlan, Copy, Level, WindowRead, whole_copy
from subregion.codecs.color import Inks
from subregion.codecs.jpegheader import without_stray
from subregion.codecs.vips import CLEANED, LENIENT, STRIP_ROWS, TopDown, is_harmless, said
from subregion.errors import SubregionError, UnsupportedFormatError, decoding_error
from subregion.geometry.window import Window, overlaps
from subregion.io import limits
from subregion.libraries import pyvips

if TYPE_CHECKING:
    from subregion.codecs.codec import Decoder
    from subregion.io.source import SourceFile

#: How the layout of such files is called.
LAYOUT = "decoded in strips from the top"

_VIPS_DTYPES = {
    "uchar": "u1", "char": "i1", "ushort": "u2", "short": "i2", "uint": "u4", "int": "i4", "float": "f4",
    "double": "f8",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Loader:
    """How libvips decodes a file: a value.

    Parameters
    ----------
    operation : str
        Its name, such as ``"pngload"``.
    driver : str
        Format, such as ``"PNG"``.
    shrink : int
        By what a JPEG is reduced while it is decoded: 1, 2, 4 or 8.
    """

    operation: str
    driver: str
    shrink: int = 1

    def start(self, file: SourceFile) -> TopDown:
        """Begin at the top of a file."""

        def open_image(stage: int) -> Any:
            options: dict[str, Any] = {
                "access": "sequential",
                "fail_on": "error" if stage == LENIENT else "warning",
            }
            if self.shrink > 1:
                options["shrink"] = self.shrink
            if stage == CLEANED and limits.fits_whole(file.size):
                data = without_stray(file.read(0, file.size))
                return pyvips.Operation.call("jpegload_buffer", data, **options)
            path = os.fsencode(file.path)  # a name need not be UTF-8
            return pyvips.Operation.call(self.operation, path, revalidate=True, **options)

        def damaged(error: Exception) -> SubregionError:
            return decoding_error(f"{file.path}: cannot be decoded as {self.driver}", said(error))

        return TopDown(open_image, damaged, lambda reason: is_harmless(reason, file))


@dataclass(frozen=True, slots=True, eq=False)
class TopDownLevel(Level):
    """An image that libvips decodes row by row from the top.

    Its blocks are strips; a small image is one block, which the block cache can hold.

    Parameters
    ----------
    file : SourceFile
        The open file.
    loader : Loader
        What decodes it.
    shape : tuple of int
        Rows, columns and bands.
    dtype : numpy.dtype
        Type of the bands.
    stored_bands : int
        How many bands libvips gives.
    inks : Inks or None
        What makes RGB of them, if they are inks.
    bilevel : bool
        Whether samples are one bit, which libvips spreads to 0 and 255.
    tile : tuple of int
        Rows and columns that libvips decodes at once, where its header says so; otherwise those of the image.
    """

    file: SourceFile
    loader: Loader
    shape: tuple[int, int, int]
    dtype: np.dtype[np.generic]
    stored_bands: int
    inks: Inks | None
    bilevel: bool
    tile: tuple[int, int]
    windowed = False
    ordered = True

    @property
    def _is_small(self) -> bool:
        rows, cols, bands = self.shape
        return rows * cols * bands * self.dtype.itemsize <= BLOCKS.limit // 4

    @property
    def block(self) -> tuple[int, int]:  # type: ignore[override]
        """Rows and columns that are decoded together."""
        rows, cols, _ = self.shape
        return (rows if self._is_small else min(STRIP_ROWS, rows)), cols

    @property
    def cache_key(self) -> tuple[str, int] | None:
        """What it is known by, decoded; None if it is not to be kept."""
        return (self.file.identity, level_key(self.shape)) if self._is_small else None

    def plan(self, reads: Sequence[WindowRead], threads: int = 1) -> BlockPlan:
        """Plan to decode the strips that windows need, from top to bottom; see `Level.plan`."""
        nbytes = self.file.size
        if self._is_small:
            return BlockPlan([(whole_number(0), 0, nbytes)], [[whole_copy(read) for read in reads]])
        wanted: dict[int, list[Copy]] = {}
        for read in reads:
            window, bands = read.window, None if read.bands is None else list(read.bands)
            cols = slice(window.col, window.col_stop, read.steps[1])
            for strip, inner, outer in overlaps(window.row, window.row_stop, read.steps[0], STRIP_ROWS):
                copy: Copy = (inner, cols), bands, read.out, (outer, slice(None), slice(None))
                wanted.setdefault(strip, []).append(copy)
        strips = sorted(wanted)
        return BlockPlan([(strip, 0, nbytes) for strip in strips], [wanted[strip] for strip in strips])

    def fetch(self, blocks: Sequence[Block], cold: bool) -> list[Any]:
        """Fetch nothing: libvips opens the file by itself."""
        return [None] * len(blocks)

    def decoder(self) -> Decoder:
        """Return what decodes strips in order, or all of a small image."""
        top_down = self.loader.start(self.file)
        height, width, _ = self.shape

        def strip(data: None, number: int, rows: slice | None) -> NDArray[Any]:
            if number >= 0:
                top = number * STRIP_ROWS
                count = min(STRIP_ROWS, height - top) if rows is None else rows.stop
                return self._rows(top_down, Window(top, 0, count, width))
            top, stop = (0, height) if rows is None else (rows.start, rows.stop)
            wanted = self._rows(top_down, Window(top, 0, stop - top, width))
            if rows is None:
                return wanted
            pixels = np.empty(self.shape, self.dtype)
            pixels[top:stop] = wanted
            return pixels

        return strip

    def _rows(self, top_down: TopDown, window: Window) -> NDArray[Any]:
        pixels: NDArray[Any] = np.frombuffer(top_down.fetch(window), self.dtype)
        pixels = pixels.reshape(window.height, window.width, self.stored_bands)
        if self.inks is not None:
            return self.inks(pixels)
        if self.bilevel:
            pixels = pixels // 255
        return pixels[..., : self.shape[2]]

    def describe(self, block: Block) -> str:
        """Say what cannot be decoded."""
        return f"cannot be decoded as {self.loader.driver}"


def top_down_level(
    file: SourceFile, loader: Loader, bands: int | None = None, bilevel: bool = False
) -> TopDownLevel:
    """Look at the header of an image that libvips decodes.

    Parameters
    ----------
    file : SourceFile
        The open file.
    loader : Loader
        What decodes it.
    bands : int or None
        How many bands to keep, if libvips adds an alpha band of its own.
    bilevel : bool
        Whether samples are one bit, which libvips spreads to 0 and 255.

    Raises
    ------
    DamagedFileError
        If it cannot be decoded.
    UnsupportedFormatError
        If its samples are no pixels.
    """
    top_down = loader.start(file)
    header = top_down.image
    if header.format not in _VIPS_DTYPES:
        raise UnsupportedFormatError(
            f"{file.path}: samples of libvips' format {header.format} are no pixels."
        )
    dtype = np.dtype(_VIPS_DTYPES[header.format])
    inked = header.interpretation == "cmyk" and header.bands >= 4 and dtype.kind == "u"
    kept = header.bands if bands is None else min(bands, header.bands)
    tiled = header.get_typeof("tile-height") and header.get_typeof("tile-width")
    rows, cols = header.height, header.width
    tile = (header.get("tile-height"), header.get("tile-width")) if tiled else (rows, cols)
    shape, inks = (rows, cols, 3 if inked else kept), Inks(dtype) if inked else None
    level = TopDownLevel(file, loader, shape, dtype, header.bands, inks, bilevel, tile)
    del header  # before what it is of, which takes care of what libvips does then
    return level
