"""JPEG files without restart intervals: decoded from the top, and their reduced sizes in one piece."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from subregion.blocks.level import Level
from subregion.codecs.jpegheader import without_stray
from subregion.codecs.jpegstream import read_frame
from subregion.codecs.scratch import KEPT
from subregion.codecs.turbo import reduced_shapes, turbo_decoder
from subregion.codecs.vips import LENIENT, STRICT, is_harmless
from subregion.formats.raster import Raster
from subregion.formats.vips import LAYOUT, Loader, top_down_level
from subregion.formats.whole import Picture, WholeLevel
from subregion.io import limits

if TYPE_CHECKING:
    from subregion.io.source import SourceFile


def open_jpeg_file(file: SourceFile) -> Raster:
    """Open a JPEG that has to be decoded from its first row on.

    Its levels are the reduced sizes that decoders make while they decode, as those of a JPEG with restart
    intervals, so that both give the same pixels at any scale. libvips leaves out the last row and column of
    a reduced size if they are no whole ones; so TurboJPEG makes them, from all of the file at once.

    Parameters
    ----------
    file : SourceFile
        The open file.

    Raises
    ------
    DamagedFileError
        If it cannot be decoded.
    """
    full = top_down_level(file, Loader("jpegload", "JPEG"))

    def smaller(_: Level) -> Iterator[WholeLevel]:
        frame = read_frame(file)
        if frame is None or not limits.fits_whole(file.size):
            return
        for by, shape in reduced_shapes(frame).items():
            if by > 1 and limits.fits_whole(shape[0] * shape[1] * full.shape[2]):
                yield WholeLevel(
                    file, "JPEG", (*shape, full.shape[2]), full.dtype, ReducedJpeg(*full.shape, by)
                )

    return Raster(file.path, "JPEG", LAYOUT, full, smaller)


@dataclass(frozen=True, slots=True)
class ReducedJpeg(Picture):
    """A reduced size of a JPEG.

    Parameters
    ----------
    rows, cols, bands : int
        Of the full size.
    by : int
        By what it is reduced.
    """

    rows: int
    cols: int
    bands: int
    by: int

    def decode(self, file: SourceFile) -> NDArray[Any]:
        """Return all of the picture."""
        pixels = self._decoded(file.read(0, file.size), file, STRICT)
        # Small ones lie in the buffer of the thread.
        return pixels.copy() if pixels.nbytes <= KEPT else np.asarray(pixels)

    def _decoded(self, data: bytes, file: SourceFile, stage: int) -> NDArray[Any]:
        """Decode as strictly as the file allows; see `codecs.vips.TopDown`."""
        try:
            return turbo_decoder(self.bands)(data, self.rows, self.cols, self.by, stage < LENIENT)
        except (ValueError, IndexError) as error:
            if stage == LENIENT or not is_harmless(str(error), file):
                raise
        return self._decoded(without_stray(data) if stage == STRICT else data, file, stage + 1)
