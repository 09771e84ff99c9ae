"""Images that a library decodes in one piece only."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from subregion.errors import DamagedFileError, SubregionError, decoding_error
from subregion.forks import FOREIGN
from subregion.raster import limits
from subregion.raster.blockcache import BLOCKS, level_key, whole_number
from subregion.raster.raster import Raster, Read

if TYPE_CHECKING:
    from subregion.geometry.window import Window
    from subregion.raster.source import SourceFile


class WholeRaster(Raster):
    """An image that its library decodes in one piece only.

    It is one block: decoded for every read, unless the block cache has it.

    Parameters
    ----------
    file : SourceFile
        The open file.
    driver : str
        Format, such as ``"GIF"``.
    shape : tuple of int
        Rows, columns and bands.
    dtype : numpy.dtype
        Type of the bands.
    decode : callable
        Returns the whole image, of that shape and type.
    number : int
        Which of the images in the file.
    """

    windowed = False
    layout = "decoded in one piece"

    def __init__(
        self,
        file: SourceFile,
        driver: str,
        shape: tuple[int, int, int],
        dtype: np.dtype[np.generic],
        decode: Callable[[], NDArray[Any]],
        number: int = 0,
    ) -> None:
        limits.check_whole(file.path, *shape, dtype)
        self.file = file
        self.path = file.path
        self.driver = driver
        self.shape = shape
        self.dtype = dtype
        self.block = shape[:2]
        self._decode = decode
        self._number = number

    def _pixels(self) -> NDArray[Any]:
        if not BLOCKS.limit:
            return self._decoded()
        key = self.file.identity, level_key(self.shape), whole_number(self._number)
        pixels = BLOCKS.get(key)
        if pixels is None:
            pixels = self._decoded()
            if self.file.in_place():  # most libraries open the path again, which may lead elsewhere by now
                BLOCKS.offer(key, pixels)
        return pixels

    def _decoded(self) -> NDArray[Any]:
        try:
            with FOREIGN:  # libwebp, for one, holds a lock while it decodes for the first time
                pixels = self._decode()
        except (SubregionError, MemoryError):
            raise
        except Exception as error:
            raise decoding_error(f"{self.path}: cannot be decoded as {self.driver}", error) from error
        if pixels.shape != self.shape or pixels.dtype != self.dtype:
            raise DamagedFileError(
                f"{self.path}: its header promises {self.shape} of {self.dtype}, "
                f"decoding gave {pixels.shape} of {pixels.dtype}."
            )
        return pixels

    def read_into(
        self,
        window: Window,
        out: NDArray[Any],
        bands: Sequence[int] | None = None,
        steps: tuple[int, int] = (1, 1),
        level: int = 0,
    ) -> None:
        """Read a window that lies inside the image; see `TileIndex.read_into`."""
        if out.size:
            copy_selected(self._pixels()[window.slices], out, bands, steps)

    def read_many(self, reads: Sequence[Read], level: int = 0) -> None:
        """Read several windows of one decoding."""
        pixels = self._pixels()
        for window, out, bands, steps in reads:
            copy_selected(pixels[window.slices], out, bands, steps)

    def strips(self, rows: int) -> Iterator[NDArray[Any]]:
        """Yield the whole image from top to bottom, `rows` rows at a time."""
        pixels = self._decoded()
        for row in range(0, self.shape[0], rows):
            yield pixels[row : row + rows]


def copy_selected(
    pixels: NDArray[Any], out: NDArray[Any], bands: Sequence[int] | None, steps: tuple[int, int]
) -> None:
    """Copy every so many rows and columns of some bands into `out`."""
    taken = pixels[:: steps[0], :: steps[1]]
    out[...] = taken if bands is None else taken[..., list(bands)]
