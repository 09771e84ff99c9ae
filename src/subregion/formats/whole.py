"""Images that a library decodes in one piece only: one block, which is all of the file."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from subregion.blocks.cache import level_key, whole_number
from subregion.blocks.level import Block, BlockPlan, Level, WindowRead, whole_copy
from subregion.errors import DamagedFileError
from subregion.forks import FOREIGN
from subregion.formats.raster import Raster
from subregion.io import limits

if TYPE_CHECKING:
    from subregion.codecs.codec import Decoder
    from subregion.io.source import SourceFile


class Picture(ABC):
    """What decodes a whole file: a value, which says how."""

    __slots__ = ()

    @abstractmethod
    def decode(self, file: SourceFile) -> NDArray[Any]:
        """Return all of the picture, shape (rows, columns, bands); any exception tells that it is damaged."""


@dataclass(frozen=True, slots=True, eq=False)
class WholeLevel(Level):
    """An image that is decoded for every read, unless the block cache has it.

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
    picture : Picture
        What decodes it.
    number : int
        Which of the images in the file.
    """

    file: SourceFile
    driver: str
    shape: tuple[int, int, int]
    dtype: np.dtype[np.generic]
    picture: Picture
    number: int = 0
    windowed = False

    @property
    def block(self) -> tuple[int, int]:  # type: ignore[override]
        """Rows and columns of the image, which is one block."""
        return self.shape[:2]

    @property
    def cache_key(self) -> tuple[str, int]:
        """What it is known by, decoded."""
        return self.file.identity, level_key(self.shape)

    def plan(self, reads: Sequence[WindowRead], threads: int = 1) -> BlockPlan:
        """Plan to decode it once; see `Level.plan`."""
        block = whole_number(self.number), 0, self.file.size
        return BlockPlan([block], [[whole_copy(read) for read in reads]])

    def fetch(self, blocks: Sequence[Block], cold: bool) -> list[Any]:
        """Fetch nothing: most libraries open the file by themselves."""
        return [None] * len(blocks)

    def decoder(self) -> Decoder:
        """Return what decodes it."""
        return self._decoded

    def _decoded(self, data: None, number: int, rows: slice | None) -> NDArray[Any]:
        with FOREIGN:  # libwebp, for one, holds a lock while it decodes for the first time
            pixels = self.picture.decode(self.file)
        if pixels.shape != self.shape or pixels.dtype != self.dtype:
            raise DamagedFileError(
                f"{self.file.path}: its header promises {self.shape} of {self.dtype}, "
                f"decoding gave {pixels.shape} of {pixels.dtype}."
            )
        return pixels

    def describe(self, block: Block) -> str:
        """Say what cannot be decoded."""
        return f"cannot be decoded as {self.driver}"


def whole_raster(
    file: SourceFile,
    driver: str,
    shape: tuple[int, int, int],
    dtype: np.dtype[np.generic],
    picture: Picture,
    number: int = 0,
    layout: str = "decoded in one piece",
) -> Raster:
    """Return an image that its library decodes in one piece only; see `WholeLevel`.

    Raises
    ------
    TooLargeError
        If it has more pixels than the limits allow for that.
    """
    limits.check_whole(file.path, *shape, dtype)
    return Raster(file.path, driver, layout, WholeLevel(file, driver, shape, dtype, picture, number))
