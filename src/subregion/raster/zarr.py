"""Zarr arrays, versions 2 and 3, as indexes of blocks: in one file, in several shards, or a file each."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from subregion.errors import (
    DamagedFileError,
    SourceIsDirectoryError,
    SourceNotFoundError,
    SubregionError,
    UnsupportedFormatError,
)
from subregion.forks import computed_once
from subregion.raster import limits
from subregion.raster.descriptors import State, state_of
from subregion.raster.raster import BlockRaster
from subregion.raster.source import ByteSource, SourceFile
from subregion.raster.tileindex import TileIndex, same_picture
from subregion.raster.zarr_codecs import ChunkCodec, chunk_codec
from subregion.raster.zarr_files import ChunkFiles, Shard, open_shard
from subregion.raster.zarr_groups import Member, members_of
from subregion.raster.zarr_metadata import ArraySpec, parse_array, read_node

if TYPE_CHECKING:
    pass

_ROWS = {"y", "row", "rows", "lat", "latitude", "height", "northing"}
_COLS = {"x", "col", "cols", "column", "columns", "lon", "longitude", "width", "easting"}
_BANDS = {"c", "ch", "channel", "channels", "band", "bands", "s", "sample", "samples", "rgb", "wavelength"}
#: Axes of which the first position is the image, as the first page of a file of several is.
_PAGES = {"t", "time", "date", "z", "depth", "level", "plane", "frame", "frames", "page"}
#: Without names, a first axis as short as this is taken for bands, if the last one is longer.
_FEW_BANDS = 16


@dataclass(frozen=True, slots=True)
class Axes:
    """Which axes of an array are those of a picture; of all others the first position is taken.

    Parameters
    ----------
    row, col : int
        Number of the axis.
    band : int or None
        None if a pixel is one sample.
    """

    row: int
    col: int
    band: int | None


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ScatteredIndex(TileIndex):
    """A grid whose blocks lie in several files, which are looked for when they are needed.

    Parameters
    ----------
    axes : Axes
        Which axes of the array are those of the picture.
    files : ChunkFiles
        Where its blocks are.
    """

    axes: Axes
    files: ChunkFiles

    def places(
        self, plane: int, rows: Sequence[int], cols: Sequence[int]
    ) -> tuple[list[list[int]], list[list[int]]]:
        """Return address and bytes of a part of the grid, row by row; see `TileIndex.places`."""
        block = [0] * len(self.files.spec.shape)
        if self.axes.band is not None:
            block[self.axes.band] = plane
        seen: dict[int, Shard | None] = {}
        offsets, nbytes = [], []
        for row in rows:
            block[self.axes.row] = row
            line = []
            for col in cols:
                block[self.axes.col] = col
                line.append(self.files.place(block, seen))
            offsets.append([offset for offset, _ in line])
            nbytes.append([count for _, count in line])
        return offsets, nbytes


class ZarrRaster(BlockRaster):
    """A zarr array, with its overviews if its group lists them."""

    def __init__(
        self,
        path: str,
        spec: ArraySpec,
        file: ByteSource,
        full: TileIndex,
        smaller: Sequence[Member],
        metadata: State | None,
    ) -> None:
        super().__init__(file, "ZARR", _layout(spec), [full], _nodata(spec))
        self.path = path
        # Chunks and shards are looked up when they are read; what is open already has to be watched.
        if isinstance(file, SourceFile):
            self.watched = (file.path, file.state)
        elif metadata is not None:
            self.watched = (spec.metadata_path, metadata)
        self._smaller = smaller

    @computed_once
    def _overviews(self) -> tuple[tuple[ByteSource, TileIndex], ...]:
        smaller = _overviews(self._smaller, self._levels[0])
        return tuple((file, self._compared(index, level)) for level, (file, index) in enumerate(smaller, 1))

    def compare_with(self, sums: Sequence[NDArray[np.uint32]]) -> None:
        """Have blocks compared when they are first read; see `BlockRaster.compare_with`."""
        super().compare_with(sums)
        codec = self._levels[0].codec
        if self._levels[0].sums is not None and isinstance(codec, ChunkCodec):
            codec.checked[:] = b"\1" * len(codec.checked)  # its own checksum would be the second

    def stored_level(self, level: int) -> tuple[ByteSource, TileIndex]:
        """Return one level, with the file that its blocks are in."""
        return (self.file, self._levels[0]) if level == 0 else self._overviews[level - 1]

    @property
    def levels(self) -> tuple[TileIndex, ...]:
        """The full resolution and its overviews, which are opened when first asked."""
        return self._levels + tuple(index for _, index in self._overviews)


def open_zarr(folder: str) -> ZarrRaster:
    """Open a zarr array, or the picture that a zarr group holds.

    Raises
    ------
    SourceIsDirectoryError
        If the folder is no zarr.
    UnsupportedFormatError
        If a group does not say which of its arrays is the picture, the axes of the array cannot be told,
        or it is encoded in a way that cannot be read here.
    DamagedFileError
        If metadata or the index of a shard are malformed.
    """
    before = _metadata_of(folder)
    node = read_node(folder)
    if node is None:
        raise SourceIsDirectoryError(
            f"{folder}: is a folder, not an image. Use SimpleFrames.from_folder() for a folder of images."
        )
    kind, document = node
    first, *smaller = [Member(folder, document)] if kind == "array" else members_of(folder, document)
    if kind != "array":
        before = _metadata_of(first.path)
    spec = parse_array(*first.array())
    axes = _checked_axes(spec, first.axes)
    file, full = _one_file(spec, axes) or _scattered(spec, axes)
    return ZarrRaster(folder, spec, file, full, smaller, before.get(spec.metadata_path))


def _metadata_of(folder: str) -> dict[str, State]:
    """Tell what the metadata of an array look like before they are read, so that no change is missed."""
    found = {}
    for name in ("zarr.json", ".zarray"):
        path = os.path.join(folder, name)
        with contextlib.suppress(OSError, ValueError):
            found[path] = state_of(os.stat(path))
    return found


def picture_axes(spec: ArraySpec, names: tuple[str, ...] | None = None) -> Axes:
    """Tell which axes are rows, columns and bands: by their names, or by their number if they have none.

    Raises
    ------
    UnsupportedFormatError
        If that cannot be told.
    """
    count = len(spec.shape)
    given = names if names is not None and len(names) == count else spec.names
    called = [(name or "").lower() for name in given] if given else [""] * count
    rows, cols, bands = (
        [axis for axis, name in enumerate(called) if name in known] for known in (_ROWS, _COLS, _BANDS)
    )
    if len(rows) == len(cols) == 1 and len(bands) <= 1:
        rest = [axis for axis in range(count) if axis not in (*rows, *cols, *bands)]
        unknown = [axis for axis in rest if called[axis] not in _PAGES and spec.shape[axis] > 1]
        if not bands and len(unknown) == 1:
            bands = unknown
        if set(unknown) <= set(bands):
            return Axes(rows[0], cols[0], bands[0] if bands else None)
    if count == 2:
        return Axes(0, 1, None)
    if count == 3 and spec.shape[0] <= _FEW_BANDS < spec.shape[2]:
        return Axes(1, 2, 0)
    if count == 3:
        return Axes(0, 1, 2)
    if count == 5:  # as OME-NGFF has it: time, channel, z, y, x
        return Axes(3, 4, 1)
    raise UnsupportedFormatError(
        f"{spec.path}: an array of shape {spec.shape} with axes {list(given) if given else 'without names'} "
        f"is no image here; (y, x), (y, x, band), (band, y, x) and (t, c, z, y, x) are, "
        f"and others if their axes have these names (dimension_names)."
    )


def _checked_axes(spec: ArraySpec, names: tuple[str, ...] | None) -> Axes:
    """Tell which axes are those of the picture, and refuse sizes that no honest array declares."""
    axes = picture_axes(spec, names)
    bands = 1 if axes.band is None else spec.shape[axes.band]
    limits.check_pixels(spec.path, spec.shape[axes.row], spec.shape[axes.col], bands, spec.dtype.itemsize)
    limits.check_block(spec.path, spec.blocks, spec.dtype)
    return axes


def _grid(spec: ArraySpec, axes: Axes) -> tuple[int, int, int]:
    """How many planes, rows and columns of blocks the picture has."""

    def blocks(axis: int | None) -> int:
        return 1 if axis is None else -(-spec.shape[axis] // spec.blocks[axis])

    return blocks(axes.band), blocks(axes.row), blocks(axes.col)


def _one_file(spec: ArraySpec, axes: Axes) -> tuple[ByteSource, TileIndex] | None:
    """Index a picture whose blocks lie in one file, which stays open; None if there are more, or none."""
    if any(spec.grid[axis] > 1 for axis in (axes.row, axes.col, axes.band) if axis is not None):
        return None
    path = spec.file_of((0,) * len(spec.shape))
    try:
        if spec.shard is None:
            file = SourceFile(path)
            limits.check_stored(path, file.size)
            one = np.zeros((1, 1, 1), np.int64)
            return file, _index(spec, axes, one, one + file.size)
        shard = open_shard(path, spec.shard, spec.in_shard)
    except SourceNotFoundError:
        return None
    planes, rows, cols = _grid(spec, axes)

    def in_grid(table: NDArray[np.int64]) -> NDArray[np.int64]:
        wanted = [axis for axis in (axes.band, axes.row, axes.col) if axis is not None]
        first = tuple(slice(None) if axis in wanted else 0 for axis in range(table.ndim))
        left = [axis for axis in range(table.ndim) if axis in wanted]
        table = table[first].transpose([left.index(axis) for axis in wanted])
        return (table if axes.band is not None else table[None])[:planes, :rows, :cols]

    return shard.file, _index(spec, axes, in_grid(shard.offsets), in_grid(shard.nbytes))


def _scattered(spec: ArraySpec, axes: Axes) -> tuple[ByteSource, TileIndex]:
    """Index a picture whose blocks lie in several files, without a look at any of them."""
    files = ChunkFiles(spec)
    nowhere = np.broadcast_to(np.int64(0), _grid(spec, axes))
    return files, _index(spec, axes, nowhere, nowhere, partial(ScatteredIndex, axes=axes, files=files))


def _index(
    spec: ArraySpec,
    axes: Axes,
    offsets: NDArray[np.int64],
    nbytes: NDArray[np.int64],
    make: Callable[..., TileIndex] = TileIndex,
) -> TileIndex:
    rows, cols = spec.shape[axes.row], spec.shape[axes.col]
    bands = 1 if axes.band is None else spec.shape[axes.band]
    codec: ChunkCodec = chunk_codec(
        spec, axes.row, axes.col, axes.band, offsets.size if make is TileIndex else 0
    )
    if make is TileIndex and codec.mapped and bool(((nbytes > 0) & (nbytes < codec.nbytes)).any()):
        raise DamagedFileError(
            f"{spec.path}: an uncompressed chunk has {nbytes[nbytes > 0].min()} bytes, {codec.nbytes} are "
            f"needed. Fetch or write it again."
        )
    return make(
        shape=(rows, cols, bands),
        dtype=codec.stored.newbyteorder("="),
        block=(spec.blocks[axes.row], spec.blocks[axes.col]),
        offsets=offsets,
        nbytes=nbytes,
        codec=codec,
        fill=spec.fill,
        samples=1 if axes.band is None else spec.blocks[axes.band],
    )


def _overviews(smaller: Sequence[Member], full: TileIndex) -> Iterator[tuple[ByteSource, TileIndex]]:
    """Open the smaller arrays that show the same picture; their files are only kept open by the pool."""
    shapes = {full.shape}
    for member in smaller:
        try:
            spec = parse_array(*member.array())
            file, index = _scattered(spec, _checked_axes(spec, member.axes))
        except SubregionError:
            continue  # an overview that cannot be indexed is not offered; the full resolution serves
        alike = index.dtype == full.dtype and index.shape[2] == full.shape[2] and same_picture(index, full)
        if alike and index.shape not in shapes:  # levels are told apart by their sizes
            shapes.add(index.shape)
            yield file, index


def _layout(spec: ArraySpec) -> str:
    names = ", ".join(codec.name for codec in spec.codecs if codec.name != "crc32c") or "uncompressed"
    blocks = " x ".join(map(str, spec.blocks))
    return f"{'shards of ' if spec.shard else ''}chunks {blocks}, {names}"


def _nodata(spec: ArraySpec) -> float | None:
    for name in ("nodata", "_FillValue", "missing_value"):
        value = spec.attributes.get(name)
        if isinstance(value, str):
            value = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}.get(value)
        if isinstance(value, int) and not -(2**63) <= value < 2**64:
            continue  # no sample is that
        if isinstance(value, int | float) and not isinstance(value, bool):
            return value
    return None
