"""Pictures that are read turned: windows are mapped to the grid that is stored, whatever reads that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from subregion.blocks.level import Block, BlockPlan, Copy, Level, WindowRead
from subregion.codecs.codec import Decoder
from subregion.codecs.color import Color
from subregion.formats.raster import Raster
from subregion.geo.geotags import GEO_TAGS
from subregion.geometry.window import Window
from subregion.io.source import ByteSource

#: By the number of the EXIF tag: whether rows and columns are exchanged, and then, in the picture that is
#: shown, whether the stored rows come from below, and the stored columns from the right.
_TURNS = {
    1: (False, False, False),
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}

#: What a turned level has in common with the one that is stored.
_KEPT = (
    "file", "dtype", "windowed", "mapped", "exact", "ordered", "fill", "color", "checked", "resized",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Turn:
    """How a stored picture is turned to be shown: exchanged rows and columns, then reversed ones.

    Parameters
    ----------
    exchanged : bool
        Whether rows become columns.
    rows, cols : bool
        Whether rows and columns of what is shown run against those that they were.
    """

    exchanged: bool
    rows: bool
    cols: bool

    @classmethod
    def of(cls, orientation: int) -> Turn:
        """Return the turn that an EXIF orientation, 1 to 8, asks for."""
        return cls(*_TURNS[orientation])

    def size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return rows and columns of what is shown, or of what is stored if those of the other are given."""
        return size[::-1] if self.exchanged else size

    def to_shown(self, rows: int, cols: int) -> Affine:
        """Return the transform from pixel corners (x, y) of a stored picture to those of the shown one."""
        high, wide = self.size((rows, cols))
        matrix = Affine(0, 1, 0, 1, 0, 0) if self.exchanged else Affine.identity()
        if self.rows:
            matrix = Affine(1, 0, 0, 0, -1, high) @ matrix
        return Affine(-1, 0, wide, 0, 1, 0) @ matrix if self.cols else matrix

    def stored(self, read: WindowRead, level: Level) -> WindowRead:
        """Return the read of the same pixels of the stored picture: into the same memory, seen turned.

        Parameters
        ----------
        read : WindowRead
            Of what is shown.
        level : Level
            The stored picture.
        """
        high, wide = self.size(level.shape[:2])
        window, (down, across) = read.window, read.steps
        out = read.out[:: -1 if self.rows else 1, :: -1 if self.cols else 1]
        row, height = _reversed(window.row, window.height, down, high if self.rows else None)
        col, width = _reversed(window.col, window.width, across, wide if self.cols else None)
        if self.exchanged:
            turned = Window(col, row, width, height)
            return WindowRead(level, turned, out.transpose(1, 0, 2), read.bands, (across, down))
        return WindowRead(level, Window(row, col, height, width), out, read.bands, read.steps)


def _reversed(start: int, count: int, step: int, size: int | None) -> tuple[int, int]:
    """Return first and number of the rows that are wanted, counted from the other end of so many."""
    if size is None or not count:
        return start, count
    last = start + (count - 1) // step * step  # the first one from there
    return size - 1 - last, last - start + 1


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class TurnedLevel(Level):
    """A resolution of a picture that is shown turned; its blocks are those that are stored.

    Parameters
    ----------
    level : Level
        As it is stored.
    turn : Turn
        How it is turned.
    """

    level: Level
    turn: Turn
    file: ByteSource = field(init=False)
    shape: tuple[int, int, int] = field(init=False)
    dtype: np.dtype[np.generic] = field(init=False)
    block: tuple[int, int] = field(init=False)
    windowed: bool = field(init=False)
    mapped: bool = field(init=False)
    exact: bool = field(init=False)
    ordered: bool = field(init=False)
    fill: float = field(init=False)
    color: Color | None = field(init=False)
    checked: bool = field(init=False)
    resized: bool = field(init=False)

    def __post_init__(self) -> None:
        for name in _KEPT:
            object.__setattr__(self, name, getattr(self.level, name))
        size, block = self.turn.size(self.level.shape[:2]), self.turn.size(self.level.block)
        object.__setattr__(self, "shape", (*size, self.level.shape[2]))
        object.__setattr__(self, "block", block)

    @property
    def as_stored(self) -> Level:
        """The same as it is stored."""
        return self.level

    @property
    def cache_key(self) -> tuple[str, int] | None:
        """What decoded blocks of it are known by: those that are stored."""
        return self.level.cache_key

    @property
    def block_nbytes(self) -> int:
        """About how many bytes a decoded block has."""
        return self.level.block_nbytes

    def plan(self, reads: Sequence[WindowRead], threads: int = 1) -> BlockPlan:
        """Plan the reads of what is stored; see `Level.plan`."""
        return self.level.plan([self.turn.stored(read, self.level) for read in reads], threads)

    def decoder(self) -> Decoder:
        """Return what decodes blocks."""
        return self.level.decoder()

    def ranges(self, block: Block) -> list[tuple[int, int]]:
        """Return offset and bytes of each piece of a block."""
        return self.level.ranges(block)

    def touched(self, block: Block, parts: Sequence[Copy]) -> list[tuple[int, int]]:
        """Return offset and bytes of what copies of a block come from."""
        return self.level.touched(block, parts)

    def fetch(self, blocks: Sequence[Block], cold: bool) -> list[Any]:
        """Return the stored bytes of blocks."""
        return self.level.fetch(blocks, cold)

    def decode_many(
        self, blocks: Sequence[Block], data: Sequence[Any], rows: Sequence[slice | None]
    ) -> list[NDArray[Any]] | None:
        """Decode blocks in one call, if the level can."""
        return self.level.decode_many(blocks, data, rows)

    def check(self, number: Any, data: Any) -> None:
        """Compare the stored bytes of a block with their checksum."""
        self.level.check(number, data)

    def describe(self, block: Block) -> str:
        """Say which block it is, on the grid that is stored."""
        return self.level.describe(block)


def upright(raster: Raster, orientation: int) -> Raster:
    """Return an open picture as it is to be shown.

    Where it lies on the ground is told of the picture as it is stored, so those tags are left out.

    Parameters
    ----------
    raster : Raster
        As it is stored.
    orientation : int
        Of the EXIF tag, 1 to 8.
    """
    if orientation == 1:
        return raster
    turn = Turn.of(orientation)
    return replace(
        raster,
        layout=f"{raster.layout}, turned",
        full=TurnedLevel(raster.full, turn),
        find_overviews=lambda full: [TurnedLevel(level, turn) for level in raster.levels[1:]],
        tags=tuple(tag for tag in raster.tags if tag.code not in GEO_TAGS),
        orientation=orientation,
        reversed=(turn.rows, turn.cols),
        indexed=None if raster.indexed is None else lambda: upright(_indices_of(raster), orientation),
        index_nbytes=None,
        picked=False,  # what stands in the middle of an even square is another pixel when it is mirrored
    )


def _indices_of(raster: Raster) -> Raster:
    indices = raster.as_indices
    assert indices is not None  # noqa: S101 - asked for only where there are some
    return indices
