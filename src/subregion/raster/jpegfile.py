"""JPEG files without restart intervals: decoded from the top, and their reduced sizes in one piece."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from subregion.forks import computed_once
from subregion.raster import limits
from subregion.raster.jpeg import reduced_shapes, turbo_decoder
from subregion.raster.jpegheader import without_stray
from subregion.raster.jpegstream import read_frame
from subregion.raster.scratch import KEPT
from subregion.raster.vips import VipsRaster
from subregion.raster.whole import WholeRaster

if TYPE_CHECKING:
    from subregion.geometry.window import Window
    from subregion.raster.raster import Read
    from subregion.raster.source import SourceFile


class JpegFile(VipsRaster):
    """A JPEG that has to be decoded from its first row on.

    Its levels are the reduced sizes that decoders make while they decode, as those of a JPEG with restart
    intervals, so that both give the same pixels at any scale. libvips leaves out the last row and column of
    a reduced size if they are no whole ones; so TurboJPEG makes them, from all of the file at once.

    Parameters
    ----------
    file : SourceFile
        The open file.
    """

    def __init__(self, file: SourceFile) -> None:
        super().__init__(file, "JPEG", "jpegload")
        frame = read_frame(file)
        shapes = {} if frame is None else reduced_shapes(frame)
        rows, cols, bands = self.shape
        self._levels = {
            by: shape
            for by, shape in shapes.items()
            if limits.fits_whole(file.size) and limits.fits_whole(shape[0] * shape[1] * bands)
        } or {1: (rows, cols)}

    @property
    def level_shapes(self) -> tuple[tuple[int, int], ...]:
        """Rows and columns of each resolution, the full one first."""
        return tuple(self._levels.values())

    def read_many(self, reads: Sequence[Read], level: int = 0) -> None:
        """Read several windows of one level; see `Raster.read_many`."""
        if level == 0:
            super().read_many(reads)
        else:
            self._smaller[level - 1].read_many(reads)

    def read_into(
        self,
        window: Window,
        out: NDArray[Any],
        bands: Sequence[int] | None = None,
        steps: tuple[int, int] = (1, 1),
        level: int = 0,
    ) -> None:
        """Read a window that lies inside the level; see `TileIndex.read_into`."""
        if level == 0:
            super().read_into(window, out, bands, steps)
        else:
            self._smaller[level - 1].read_into(window, out, bands, steps)

    @computed_once
    def _smaller(self) -> tuple[WholeRaster, ...]:
        """Return the levels but the first."""
        return tuple(
            WholeRaster(self.file, self.driver, (*shape, self.shape[2]), self.dtype, self._decoder(by))
            for by, shape in self._levels.items()
            if by > 1
        )

    def _decoder(self, by: int) -> Callable[[], NDArray[Any]]:
        rows, cols, bands = self.shape

        def decode() -> NDArray[Any]:
            data, turbo = self.file.read(0, self.file.size), turbo_decoder(bands)
            try:
                pixels = turbo(data, rows, cols, by, True)
            except (ValueError, IndexError) as error:
                if not self._harmless(str(error)):
                    raise
                pixels = self._cleaned(data, by)
            # Small ones lie in the buffer of the thread.
            return pixels.copy() if pixels.nbytes <= KEPT else np.asarray(pixels)

        return decode

    def _cleaned(self, data: bytes, by: int) -> NDArray[Any]:
        """Decode without what belongs to nothing, as the decoder tells only of the first fault."""
        rows, cols, bands = self.shape
        data, turbo = without_stray(data), turbo_decoder(bands)
        try:
            return turbo(data, rows, cols, by, True)
        except (ValueError, IndexError) as error:
            if not self._harmless(str(error)):
                raise
            return turbo(data, rows, cols, by, False)
