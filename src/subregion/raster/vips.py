"""Images that libvips decodes row by row from the top, in bounded memory."""

from __future__ import annotations

import os
import re
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from subregion.errors import (
    DescriptorLimitError,
    SubregionError,
    UnsupportedFormatError,
    decoding_error,
)
from subregion.forks import FOREIGN
from subregion.geometry.grid import overlaps
from subregion.geometry.window import Window
from subregion.libraries import pyvips
from subregion.raster import limits
from subregion.raster.blockcache import BLOCKS, level_key, whole_number
from subregion.raster.color import Inks
from subregion.raster.jpegheader import find_frame, without_stray
from subregion.raster.pool import POOL
from subregion.raster.raster import Raster, Read
from subregion.raster.whole import copy_selected

if TYPE_CHECKING:
    from subregion.raster.source import SourceFile

#: Rows that are decoded at a time.
STRIP_ROWS = 64

#: How a file is decoded: every warning is an error; without what belongs to nothing; errors are.
_STRICT, _CLEANED, _LENIENT = range(3)

#: What warnings say that are not about pixels: about bytes in front of a marker, and of odd headers.
_LEFT_OVER = re.compile("extraneous bytes before marker 0x([0-9a-f]{2})")
_OF_NO_PIXELS = re.compile(
    "Unknown Adobe color transform code|unknown JFIF revision number|bad ICC marker|Invalid SOS parameters"
)
#: Markers that stand in front of the first scan; what stands in front of others may be a scan that was lost.
_OF_HEADERS = frozenset({0xC0, 0xC1, 0xC2, 0xDB, *range(0xE0, 0xF0), 0xFE})

#: How often a decoding that failed without a reason is tried again.
_PATIENCE = 3

_VIPS_DTYPES = {
    "uchar": np.uint8,
    "char": np.int8,
    "ushort": np.uint16,
    "short": np.int16,
    "uint": np.uint32,
    "int": np.int32,
    "float": np.float32,
    "double": np.float64,
}


class _Region:
    """A decoding from the top, as strict as the file allows.

    Warnings are errors, because behind most of them are pixels that libjpeg made up. Only bytes between
    markers that belong to nothing are passed over, and marks of colours that mean nothing, as every decoder
    does: the pixels are right. As libjpeg tells only of the first fault, what can be taken out of the file
    is taken out before anything is passed over.
    """

    def __init__(
        self,
        open_image: Callable[[int], Any],
        damaged: Callable[[Exception], Exception],
        harmless: Callable[[str], bool],
    ) -> None:
        self._open_image = open_image
        self._damaged = damaged
        self._harmless = harmless
        self._stage = _STRICT
        self._unexplained = 0
        self._start()

    def _start(self) -> None:
        try:
            with FOREIGN:
                pyvips.vips_lib.vips_error_clear()  # its messages pile up, also those of other files
                self.image = self._open_image(self._stage)
                self._region = pyvips.Region.new(self.image)
        except (pyvips.Error, UnicodeDecodeError) as error:
            self._retry(error)

    def fetch(self, window: Window) -> Any:
        """Return the bytes of a window that is not above one that was fetched before."""
        try:
            with FOREIGN:
                return self._region.fetch(window.col, window.row, window.width, window.height)
        except (pyvips.Error, UnicodeDecodeError) as error:
            self._retry(error)
            return self.fetch(window)

    def __del__(self) -> None:
        with FOREIGN:
            self.image = self._region = None

    def _retry(self, error: Exception) -> None:
        # Whoever keeps an error does not keep the image, of which libvips would speak when it is let go.
        with FOREIGN:
            self.image = self._region = None
            traceback.clear_frames(error.__traceback__)
        reason = _said(error).strip()
        if not reason and self._unexplained < _PATIENCE:
            # All threads share one place for messages, and another has just cleared it.
            self._unexplained += 1
        elif self._stage < _LENIENT and self._harmless(reason):
            self._stage += 1
        elif not self._room_was_made(error):
            raise self._damaged(error) from error
        self._start()

    def _room_was_made(self, error: Exception) -> bool:
        """Whether there were too few descriptors, and some are free now."""
        return isinstance(self._damaged(error), DescriptorLimitError) and bool(POOL.shrink())


def _said(error: Exception) -> str:
    """Return what libvips said, of which pyvips cannot make an error if it names a file that is not UTF-8."""
    if isinstance(error, UnicodeDecodeError):
        return error.object.decode("utf-8", "backslashreplace")
    return str(getattr(error, "detail", error))


class VipsRaster(Raster):
    """An image that libvips decodes row by row from the top, in bounded memory.

    Parameters
    ----------
    file : SourceFile
        The open file.
    driver : str
        Format, such as ``"PNG"``.
    loader : str
        The libvips operation that decodes it.
    bands : int or None
        How many bands to keep, if libvips adds an alpha band of its own.
    bilevel : bool
        Whether samples are one bit, which libvips spreads to 0 and 255.
    shrink : int
        By what a JPEG is reduced while it is decoded: 1, 2, 4 or 8.

    Attributes
    ----------
    tile : tuple of int
        Rows and columns that libvips decodes at once, where its header says so; otherwise those of the image.
    """

    windowed = False
    layout = "decoded in strips from the top"

    def __init__(
        self,
        file: SourceFile,
        driver: str,
        loader: str,
        bands: int | None = None,
        bilevel: bool = False,
        shrink: int = 1,
    ) -> None:
        self.file = file
        self.path = file.path
        self.driver = driver
        self._loader = loader
        self._bilevel = bilevel
        self._reduced = {} if shrink == 1 else {"shrink": shrink}
        region = self._region()
        header = region.image
        if header.format not in _VIPS_DTYPES:
            raise UnsupportedFormatError(
                f"{self.path}: samples of libvips' format {header.format} are no pixels."
            )
        self.dtype = np.dtype(_VIPS_DTYPES[header.format])
        inks = header.interpretation == "cmyk" and header.bands >= 4 and self.dtype.kind == "u"
        self._inks = Inks(self.dtype) if inks else None
        self._stored_bands = header.bands
        self.tile = self._tile_of(header)
        kept = header.bands if bands is None else min(bands, header.bands)
        self.shape = (header.height, header.width, kept if self._inks is None else 3)
        self.block = (header.height, header.width)
        del header  # before the region, which takes care of what libvips does then

    @staticmethod
    def _tile_of(header: Any) -> tuple[int, int]:
        if header.get_typeof("tile-height") and header.get_typeof("tile-width"):
            return header.get("tile-height"), header.get("tile-width")
        return header.height, header.width

    def _open(self, stage: int) -> Any:
        options = {"access": "sequential", "fail_on": "error" if stage == _LENIENT else "warning"}
        if stage == _CLEANED and limits.fits_whole(self.file.size):
            data = without_stray(self.file.read(0, self.file.size))
            return pyvips.Operation.call("jpegload_buffer", data, **options, **self._reduced)
        path = os.fsencode(self.path)  # a name need not be UTF-8
        return pyvips.Operation.call(self._loader, path, revalidate=True, **options, **self._reduced)

    def _damaged(self, error: Exception) -> SubregionError:
        return decoding_error(f"{self.path}: cannot be decoded as {self.driver}", _said(error))

    def _rows(self, region: Any, window: Window) -> NDArray[Any]:
        data = region.fetch(window)
        pixels: NDArray[Any] = np.frombuffer(data, self.dtype)
        pixels = pixels.reshape(window.height, window.width, self._stored_bands)
        if self._inks is not None:
            return self._inks(pixels)
        if self._bilevel:
            pixels = pixels // 255
        return pixels[..., : self.shape[2]]

    def _region(self) -> _Region:
        return _Region(self._open, self._damaged, self._harmless)

    def _harmless(self, reason: str) -> bool:
        """Whether what libjpeg complains of is no damage."""
        marker = _LEFT_OVER.search(reason)
        if marker is None:
            return _OF_NO_PIXELS.search(reason) is not None
        frame = find_frame(self.file)
        return frame is None or not frame.progressive or int(marker[1], 16) in _OF_HEADERS

    def read_into(
        self,
        window: Window,
        out: NDArray[Any],
        bands: Sequence[int] | None = None,
        steps: tuple[int, int] = (1, 1),
        level: int = 0,
    ) -> None:
        """Read a window that lies inside the image; see `TileIndex.read_into`."""
        self.read_many([(window, out, bands, steps)])

    def read_many(self, reads: Sequence[Read], level: int = 0) -> None:
        """Read several windows while decoding once from the top."""
        pixels = self._kept()
        if pixels is not None:
            for window, out, bands, steps in reads:
                copy_selected(pixels[window.slices], out, bands, steps)
            return
        wanted: dict[int, list[tuple[slice, slice, Read]]] = {}
        left, right = self.shape[1], 0
        for read in reads:
            window, out, _, steps = read
            if out.size:
                left, right = min(left, window.col), max(right, window.col_stop)
                for strip, inner, outer in overlaps(window.row, window.row_stop, steps[0], STRIP_ROWS):
                    wanted.setdefault(strip, []).append((inner, outer, read))
        if not wanted:
            return
        region = self._region()
        for strip in sorted(wanted):
            rows = max(inner.stop for inner, _, _ in wanted[strip])
            pixels = self._rows(region, Window(strip * STRIP_ROWS, left, rows, right - left))
            for inner, outer, (window, out, bands, steps) in wanted[strip]:
                cols = slice(window.col - left, window.col_stop - left)
                copy_selected(pixels[inner, cols], out[outer], bands, (1, steps[1]))

    def _kept(self) -> NDArray[Any] | None:
        """Return the whole image if it is small and was asked for more than once."""
        rows, cols, bands = self.shape
        nbytes = rows * cols * bands * self.dtype.itemsize
        if nbytes > BLOCKS.limit // 4:
            return None
        key = self.file.identity, level_key(self.shape), whole_number(0)
        pixels = BLOCKS.get(key)
        if pixels is None and BLOCKS.note(key, nbytes):
            pixels = np.concatenate(list(self.strips(rows)))
            if self.file.in_place():  # libvips opened the path, which may lead elsewhere by now
                BLOCKS.keep(key, pixels)
        return pixels

    def strips(self, rows: int) -> Iterator[NDArray[Any]]:
        """Yield the whole image from top to bottom, `rows` rows at a time."""
        region = self._region()
        height, width, _ = self.shape
        for row in range(0, height, rows):
            yield self._rows(region, Window(row, 0, min(rows, height - row), width))


def decode_jpeg(data: Any, fail_on: str, shrink: int = 1) -> NDArray[np.uint8]:
    """Decode a JPEG that is in memory.

    It is fetched from the top by this thread: what libvips calls writing to memory would start threads of its
    own, which a forked child waits for in vain.

    Parameters
    ----------
    data : bytes
        The JPEG.
    fail_on : str
        ``"warning"``, or ``"error"`` to pass over what is no error.
    shrink : int
        By what it is reduced: 1, 2, 4 or 8.

    Returns
    -------
    ndarray, shape (rows, columns, 1 or 3)
        Inks are made RGB.

    Raises
    ------
    ValueError
        If it is damaged.
    """
    reduced = {} if shrink == 1 else {"shrink": shrink}

    def open_image(_: int) -> Any:
        return pyvips.Operation.call("jpegload_buffer", data, access="sequential", fail_on=fail_on, **reduced)

    region = _Region(
        open_image, lambda error: ValueError(getattr(error, "detail", str(error))), lambda reason: False
    )
    height, width, bands = region.image.height, region.image.width, region.image.bands
    inks = Inks(np.dtype(np.uint8)) if region.image.interpretation == "cmyk" else None
    strips = []
    for top in range(0, height, STRIP_ROWS):
        rows = min(STRIP_ROWS, height - top)
        pixels: NDArray[np.uint8] = np.frombuffer(region.fetch(Window(top, 0, rows, width)), np.uint8)
        strips.append(pixels.reshape(rows, width, bands))
    pixels = np.concatenate(strips)
    return pixels if inks is None else inks(pixels)
