"""The one idea that serves most formats: a grid of blocks, and where each lies in its file."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from operator import itemgetter
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from subregion.blocks.cache import level_key
from subregion.blocks.level import Block, BlockPlan, Copy, Level, WindowRead, whole_copy
from subregion.blocks.ranges import read_joined
from subregion.codecs.codec import RawCodec
from subregion.codecs.zarr_filters import CRC32C_RESIDUE
from subregion.errors import SubregionError
from subregion.formats.compiled import table_of
from subregion.geometry.window import overlaps
from subregion.libraries import google_crc32c

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from subregion.codecs.codec import Codec, Decoder
    from subregion.codecs.color import Color
    from subregion.io.source import ByteSource

#: Which plane to read, which of its samples (None: all), and into which bands of the output.
PlaneJob: TypeAlias = "tuple[int, list[int] | None, slice | list[int]]"
#: Whether the compiled executor can read a level is looked up at its first read.
_UNKNOWN = object()
#: About how many bytes the objects take that a level is made of, beside its arrays.
_LEVEL_NBYTES = 2000
#: Bytes that the compiled executor notes of each block, at most, beside those.
_NOTED_NBYTES = 9
#: Of a mapped block of more bytes the disk is told of rows, not of all.
_LARGE = 1 << 20


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class GridLevel(Level):
    """A grid of equal blocks.

    Parameters
    ----------
    file : ByteSource
        The file that the offsets belong to.
    shape : tuple of int
        Rows, columns and bands as they are read, that is after `color`.
    dtype : numpy.dtype
        Type of the samples as they are read, native byte order.
    block : tuple of int
        Rows and columns of a block; a strip is a block as wide as the image.
    offsets, nbytes : ndarray of int64, shape (planes, block rows, block columns)
        Where each block lies. One plane holds all samples of a pixel, or there is a plane for each, or for
        every `samples` of them. 0 bytes: the block was never written and holds `fill`.
    codec : Codec
        Bytes to samples.
    fill : float
        What a block that was never written holds.
    color : Color or None
        From the stored samples to the pixels of the contract (palette to RGB, and so on).
    samples : int
        How many samples of a pixel a plane holds, if there are several planes.
    sums : ndarray of uint32, shape (blocks,), or None
        CRC-32C of the stored bytes of each block by its number, where that was written down: row by row
        through the grid, then plane by plane.
    resized : bool
        Whether it is known as a resized copy of what it is an overview of; see `level_to_full`.
    """

    file: ByteSource
    shape: tuple[int, int, int]
    dtype: np.dtype[np.generic]
    block: tuple[int, int]
    offsets: NDArray[np.int64]
    nbytes: NDArray[np.int64]
    codec: Codec
    fill: float = 0
    color: Color | None = None
    samples: int = 1
    sums: NDArray[np.uint32] | None = None
    resized: bool = False
    mapped: bool = field(init=False)
    exact: bool = field(init=False)
    checked: bool = field(init=False)
    block_nbytes: int = field(init=False)
    only: Block | None = field(init=False)
    decoder: Callable[[], Decoder] = field(init=False)
    _table: Any = field(init=False, repr=False, default=_UNKNOWN)

    def __post_init__(self) -> None:
        # Asked for at every read, so they are no properties.
        planes, samples = self.offsets.shape[0], self.samples
        if planes == 1:
            samples = self.shape[2] if self.color is None else self.color.samples
        object.__setattr__(self, "mapped", self.codec.mapped)
        object.__setattr__(self, "exact", self.codec.exact)
        object.__setattr__(self, "checked", self.sums is not None or self.codec.checked)
        nbytes = self.block[0] * self.block[1] * samples * self.dtype.itemsize
        object.__setattr__(self, "block_nbytes", nbytes)
        only = (0, int(self.offsets.item()), int(self.nbytes.item())) if self.offsets.size == 1 else None
        object.__setattr__(self, "only", only)
        object.__setattr__(self, "decoder", self.codec.decoder)

    @property
    def table(self) -> Any:
        """The same blocks as the compiled executor takes them; None if it cannot read them."""
        if self._table is _UNKNOWN:
            object.__setattr__(self, "_table", table_of(self))
        return self._table

    @property
    def cache_key(self) -> tuple[str, int] | None:
        """What decoded blocks of it are known by; None if they are not to be kept."""
        identity = self.file.identity
        return None if not identity or self.codec.mapped else (identity, level_key(self.shape))

    @property
    def index_nbytes(self) -> int:
        """About how many bytes of memory it takes."""
        arrays = self.offsets.nbytes + self.nbytes.nbytes + (0 if self.sums is None else self.sums.nbytes)
        return _LEVEL_NBYTES + arrays + _NOTED_NBYTES * self.offsets.size

    def on(self, file: ByteSource) -> Level | None:
        """Return the same of the file that was opened again, or closed; see `Level.on`."""
        if not self.codec.small:
            return None
        moved = object.__new__(GridLevel)
        for name in _FIELDS:  # nothing is computed again, and `replace` takes several times as long
            _set(moved, name, getattr(self, name))
        _set(moved, "file", file)
        table = self._table
        _set(moved, "_table", table if table is _UNKNOWN or table is None else table.on(file))
        return moved

    def plan(self, reads: Sequence[WindowRead], threads: int = 1) -> BlockPlan:
        """Tell which blocks windows need, in the order of the file; see `Level.plan`."""
        if self.only is not None:
            return BlockPlan([self.only], [[whole_copy(read) for read in reads]])
        if len(reads) == 1:
            blocks, copies = self._plan_window(reads[0])
            return BlockPlan(blocks, [[copy] for copy in copies])
        wanted: dict[int, tuple[int, Block, list[Copy]]] = {}
        for read in reads:
            for block, copy in zip(*self._plan_window(read), strict=True):
                found = wanted.get(block[0])
                if found is None:
                    wanted[block[0]] = block[1], block, [copy]
                else:
                    found[2].append(copy)
        in_order = sorted(wanted.values(), key=itemgetter(0))
        return BlockPlan([block for _, block, _ in in_order], [copies for _, _, copies in in_order])

    def _plan_window(self, read: WindowRead) -> tuple[list[Block], list[Copy]]:
        """List the blocks of one window in the order of the grid, with the one copy of each."""
        _, window, out, bands, steps = read
        planes, grid_rows, grid_cols = self.offsets.shape
        rows = overlaps(window.row, window.row + window.height, steps[0], self.block[0])
        cols = overlaps(window.col, window.col + window.width, steps[1], self.block[1])
        blocks: list[Block] = []
        copies: list[Copy] = []
        if planes == 1:
            jobs: list[PlaneJob] = [(0, None if bands is None else list(bands), slice(None))]
        else:
            jobs = _plane_jobs(self.samples, range(out.shape[2]) if bands is None else bands)
        for plane, here, there in jobs:
            offsets, nbytes = self.places(plane, [row[0] for row in rows], [col[0] for col in cols])
            for (row, inner_rows, outer_rows), line, sizes in zip(rows, offsets, nbytes, strict=True):
                number = (plane * grid_rows + row) * grid_cols
                for (col, inner_cols, outer_cols), offset, size in zip(cols, line, sizes, strict=True):
                    blocks.append((number + col, offset, size))
                    copies.append(((inner_rows, inner_cols), here, out, (outer_rows, outer_cols, there)))
        return blocks, copies

    def places(
        self, plane: int, rows: Sequence[int], cols: Sequence[int]
    ) -> tuple[list[list[int]], list[list[int]]]:
        """Return offset and bytes of a part of the grid, row by row.

        Parameters
        ----------
        plane : int
            Which plane.
        rows, cols : list of int
            Which blocks, in order.
        """
        if rows[-1] - rows[0] < len(rows) and cols[-1] - cols[0] < len(cols):
            grid = plane, slice(rows[0], rows[-1] + 1), slice(cols[0], cols[-1] + 1)
            return self.offsets[grid].tolist(), self.nbytes[grid].tolist()
        each = np.ix_(rows, cols)  # steps are larger than blocks
        return self.offsets[plane][each].tolist(), self.nbytes[plane][each].tolist()

    def fetch(self, blocks: Sequence[Block], cold: bool) -> list[Any]:
        """Return the stored bytes of blocks; see `Level.fetch`.

        What has to come from the disk is read, because a map would fetch it page by page.
        """
        view = None if cold and not self.mapped else self.file.view()
        if view is not None:
            return [view[offset : offset + nbytes] for _, offset, nbytes in blocks]
        offsets, sizes = [block[1] for block in blocks], [block[2] for block in blocks]
        return self.file.map_ranges(offsets, sizes) if self.mapped else read_joined(self.file, offsets, sizes)

    def decode_many(
        self, blocks: Sequence[Block], data: Sequence[Any], rows: Sequence[slice | None]
    ) -> list[NDArray[Any]] | None:
        """Decode blocks in one call, if the codec can."""
        return self.codec.decode_many(data, [block[0] for block in blocks], rows)

    def check(self, number: int, data: Any) -> None:
        """Compare the stored bytes of a block with their checksum; see `Level.check`."""
        expected = CRC32C_RESIDUE if self.sums is None else self.sums[number]
        if google_crc32c.value(bytes(data)) != expected:
            raise ValueError("it is not as it was written: its checksum is another")

    def touched(self, block: Block, parts: Sequence[Copy]) -> list[tuple[int, int]]:
        """Return offset and bytes of what copies of a block come from; of a large mapped one only rows."""
        number, offset, nbytes = block
        if not isinstance(self.codec, RawCodec) or self.codec.order == "F":
            return [(offset, nbytes)]
        if nbytes <= _LARGE and self.offsets.size > 1:
            return [(offset, nbytes)]
        _, wide, samples = self.codec.shape.of(number)  # the last strip may have fewer rows
        pixel = samples * self.codec.stored.itemsize
        line = wide * pixel
        return [
            (offset + row * line + cols.start * pixel, (cols.stop - cols.start) * pixel)
            for (rows, cols), *_ in parts
            for row in range(rows.start, rows.stop, rows.step or 1)
        ]

    def describe(self, block: Block) -> str:
        """Say which block it is, for messages about it."""
        number, offset, nbytes = block
        _, grid_rows, grid_cols = self.offsets.shape
        row, col = divmod(number % (grid_rows * grid_cols), grid_cols)
        return (
            f"the block at row {row * self.block[0]}, column {col * self.block[1]} "
            f"({nbytes} bytes at {self.file.describe(offset)}) cannot be decoded"
        )


_set = object.__setattr__
_FIELDS = tuple(each.name for each in fields(GridLevel) if each.name not in ("file", "_table"))


def _plane_jobs(samples: int, bands: Sequence[int]) -> list[PlaneJob]:
    """List which planes hold some bands, where each has so many of the samples."""
    if samples == 1:
        return [(band, None, slice(k, k + 1)) for k, band in enumerate(bands)]
    jobs: dict[int, tuple[list[int], list[int]]] = {}
    for k, band in enumerate(bands):
        here, there = jobs.setdefault(band // samples, ([], []))
        here.append(band % samples)
        there.append(k)
    return [(plane, here, there) for plane, (here, there) in jobs.items()]


def overviews_among(candidates: Iterable[Callable[[], GridLevel]], full: Level) -> Iterator[GridLevel]:
    """Yield the levels that show the same picture as the full resolution, each of another size.

    Parameters
    ----------
    candidates : iterable of callable
        Index a level each. One that cannot be indexed is not offered; the full resolution serves.
    full : Level
        The full resolution.
    """
    shapes = {full.shape}
    for index in candidates:
        try:
            level = index()
        except SubregionError:
            continue
        alike = level.dtype == full.dtype and level.shape[2] == full.shape[2] and _same_picture(level, full)
        if alike and level.shape not in shapes:  # levels are told apart by their sizes
            shapes.add(level.shape)
            yield level


def _same_picture(small: Level, full: Level) -> bool:
    """Whether the proportions of an overview are those of the picture, within the rounding of one pixel."""
    ratio = full.shape[1] / small.shape[1]
    return ratio > 1 and abs(full.shape[0] / ratio - small.shape[0]) <= 1.5
