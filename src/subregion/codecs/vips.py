"""Pictures that libvips decodes row by row from the top, in bounded memory."""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from subregion.codecs.color import Inks
from subregion.codecs.jpegheader import find_frame
from subregion.errors import DescriptorLimitError
from subregion.forks import FOREIGN
from subregion.geometry.window import Window
from subregion.io.pool import POOL
from subregion.libraries import pyvips

if TYPE_CHECKING:
    from subregion.codecs.jpegheader import Stored

#: Rows that are decoded at a time.
STRIP_ROWS = 64

#: How a file is decoded: every warning is an error; without what belongs to nothing; errors are.
STRICT, CLEANED, LENIENT = range(3)

#: What warnings say that are not about pixels: about bytes in front of a marker, and of odd headers.
_LEFT_OVER = re.compile("extraneous bytes before marker 0x([0-9a-f]{2})")
_OF_NO_PIXELS = re.compile(
    "Unknown Adobe color transform code|unknown JFIF revision number|bad ICC marker|Invalid SOS parameters"
)
#: Markers that stand in front of the first scan; what stands in front of others may be a scan that was lost.
_OF_HEADERS = frozenset({0xC0, 0xC1, 0xC2, 0xDB, *range(0xE0, 0xF0), 0xFE})

#: How often a decoding that failed without a reason is tried again.
_PATIENCE = 3


class TopDown:
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
        self._stage = STRICT
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
        reason = said(error).strip()
        if not reason and self._unexplained < _PATIENCE:
            # All threads share one place for messages, and another has just cleared it.
            self._unexplained += 1
        elif self._stage < LENIENT and self._harmless(reason):
            self._stage += 1
        elif not self._room_was_made(error):
            raise self._damaged(error) from error
        self._start()

    def _room_was_made(self, error: Exception) -> bool:
        """Whether there were too few descriptors, and some are free now."""
        return isinstance(self._damaged(error), DescriptorLimitError) and bool(POOL.shrink())


def said(error: Exception) -> str:
    """Return what libvips said, of which pyvips cannot make an error if it names a file that is not UTF-8."""
    if isinstance(error, UnicodeDecodeError):
        return error.object.decode("utf-8", "backslashreplace")
    return str(getattr(error, "detail", error))


def is_harmless(reason: str, file: Stored) -> bool:
    """Whether what libjpeg complains of in a JPEG is no damage."""
    marker = _LEFT_OVER.search(reason)
    if marker is None:
        return _OF_NO_PIXELS.search(reason) is not None
    frame = find_frame(file)
    return frame is None or not frame.progressive or int(marker[1], 16) in _OF_HEADERS


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

    region = TopDown(
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
