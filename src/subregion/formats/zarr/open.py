"""Zarr arrays, versions 2 and 3, as grids of blocks: in one file, in several shards, or a file each."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from subregion.blocks.level import Level
from subregion.errors import (
    DamagedFileError,
    RecordError,
    SourceIsDirectoryError,
    SourceNotFoundError,
    SubregionError,
    UnsupportedFormatError,
)
from subregion.formats.contents import Contents, Series
from subregion.formats.grid import GridLevel, overviews_among
from subregion.formats.raster import Raster
from subregion.formats.zarr.axes import Axes, described, picture_axes
from subregion.formats.zarr.coordinates import bands_of
from subregion.formats.zarr.filters import chunk_codec
from subregion.formats.zarr.groups import Member, count_series, members_of
from subregion.formats.zarr.metadata import ArraySpec, Document, parse_array, read_node
from subregion.formats.zarr.shards import ChunkFiles, ScatteredLevel, open_shard
from subregion.io import limits
from subregion.io.descriptors import State, state_of
from subregion.io.source import ByteSource, SourceFile
from subregion.views import AS_IT_IS, View

#: About how many bytes are kept of what a copy says of itself.
_COPY_NBYTES = 1000


def open_zarr(folder: str, immutable: bool = False, view: View = AS_IT_IS) -> Raster:
    """Open a zarr array, or the picture that a zarr group holds, with its overviews if the group lists them.

    Parameters
    ----------
    folder : str
        The zarr.
    immutable : bool
        Whether nobody writes to it.
    view : View
        Which picture of it is meant.

    Raises
    ------
    RecordError
        If it has no such picture.
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
    first, *smaller = _members(folder, kind, document, view)
    if kind != "array":
        before = _metadata_of(first.path)
    spec = parse_array(*first.array())
    axes = _checked_axes(spec, first.axes, view)
    full = _one_file(spec, axes, immutable) or _scattered(spec, axes)
    full.file.expect_windows()
    metadata = before.get(spec.metadata_path)
    # Chunks and shards are looked up when they are read; what is open already has to be watched.
    watched = None if metadata is None else (spec.metadata_path, metadata)
    if isinstance(full.file, SourceFile):
        watched = full.file.path, full.file.state
        if view.chosen:  # the blocks of others have the same numbers
            full.file.identity += f":{view.name}"
    find_overviews = partial(_overviews, smaller, view, spec, axes)
    if immutable:
        find_overviews = partial(_overviews_now, folder, view)
    return Raster(
        folder,
        "ZARR",
        _layout(spec),
        full,
        find_overviews,
        nodata=_nodata(spec),
        watched=watched,
        find_bands=lambda: bands_of(spec, axes, first.labels),
        find_left_out=lambda full: _left_out(folder, kind, document, spec, axes, view),
        index_nbytes=_COPY_NBYTES if immutable else None,  # others may have any amount of metadata
    )


def _overviews(
    smaller: Sequence[Member], view: View, spec: ArraySpec, axes: Axes, full: Level
) -> Iterator[GridLevel]:
    """Yield the smaller resolutions that show the same picture as the full one."""
    return overviews_among((partial(_smaller, member, view, spec, axes) for member in smaller), full)


def _overviews_now(folder: str, view: View, full: Level) -> Iterator[GridLevel]:
    """Yield the same of a folder that nobody writes to; its metadata are not held until then."""
    node = read_node(folder)
    if node is None:
        return iter(())
    first, *smaller = _members(folder, *node, view)
    spec = parse_array(*first.array())
    return _overviews(smaller, view, spec, _checked_axes(spec, first.axes, view), full)


def _members(folder: str, kind: str, document: Document, view: View) -> list[Member]:
    """List the resolutions from the one that is the image on."""
    if kind == "array":
        if view.series:
            raise RecordError(f"{folder}: series={view.series} is asked for, but it is a single array.")
        members = [Member(folder, document)]
    else:
        members = members_of(folder, document, view.series or 0)
    level = view.level or 0
    if level >= len(members):
        raise RecordError(
            f"{folder}: level={level} is asked for, but it has {len(members)} of them: "
            f"0 to {len(members) - 1}."
        )
    return members[level:]


def _left_out(folder: str, kind: str, document: Document, spec: ArraySpec, axes: Axes, view: View) -> str:
    """Say what of a folder is not in the picture, and what was assumed of it."""
    said = [described(spec, axes, view)]
    count = 1 if kind == "array" else count_series(folder, document)
    if count > 1 and view.series is None:
        said.append(f"has {count} series, of which 0 is read: choose with series=")
    return "; ".join(filter(None, said))


def contents_of_zarr(folder: str) -> Contents:
    """List the pictures of a zarr folder.

    Raises
    ------
    SubregionError
        If its metadata cannot be read.
    """
    node = read_node(folder)
    if node is None:
        return Contents()
    kind, document = node
    found = []
    for number in range(1 if kind == "array" else count_series(folder, document)):
        first, *smaller = _members(folder, kind, document, View(series=number))
        spec = parse_array(*first.array())
        axes = _checked_axes(spec, first.axes)
        shapes = [spec.shape]
        for each in smaller:
            with contextlib.suppress(SubregionError):
                shapes.append(parse_array(*each.array()).shape)
        levels = tuple(
            (shape[axes.row], shape[axes.col]) for shape in shapes if len(shape) == len(spec.shape)
        )
        found.append(Series(number, "", axes.letters.upper(), spec.shape, levels))
    return Contents(None, tuple(found))


def _metadata_of(folder: str) -> dict[str, State]:
    """Tell what the metadata of an array look like before they are read, so that no change is missed."""
    found = {}
    for name in ("zarr.json", ".zarray"):
        path = os.path.join(folder, name)
        with contextlib.suppress(OSError, ValueError):
            found[path] = state_of(os.stat(path))
    return found


def _checked_axes(spec: ArraySpec, names: tuple[str, ...] | None, view: View = AS_IT_IS) -> Axes:
    """Tell which axes are those of the picture, and refuse sizes that no honest array declares."""
    axes = picture_axes(spec, names, view)
    bands = 1 if axes.band is None else spec.shape[axes.band]
    limits.check_pixels(spec.path, spec.shape[axes.row], spec.shape[axes.col], bands, spec.dtype.itemsize)
    limits.check_block(spec.path, spec.blocks, spec.dtype)
    return axes


def _grid(spec: ArraySpec, axes: Axes) -> tuple[int, int, int]:
    """How many planes, rows and columns of blocks the picture has."""

    def blocks(axis: int | None) -> int:
        return 1 if axis is None else -(-spec.shape[axis] // spec.blocks[axis])

    return blocks(axes.band), blocks(axes.row), blocks(axes.col)


def _one_file(spec: ArraySpec, axes: Axes, immutable: bool) -> GridLevel | None:
    """Index a picture whose blocks lie in one file, which stays open; None if there are more, or none."""
    if any(spec.grid[axis] > 1 for axis in (axes.row, axes.col, axes.band) if axis is not None):
        return None
    base = axes.block(spec)
    path = spec.file_of(tuple(at // count for at, count in zip(base, spec.in_shard, strict=True)))
    try:
        if spec.shard is None:
            file = SourceFile(path, immutable)
            limits.check_stored(path, file.size)
            one = np.zeros((1, 1, 1), np.int64)
            return _level(spec, axes, file, one, one + file.size)
        shard = open_shard(path, spec.shard, spec.in_shard, immutable)
    except SourceNotFoundError:
        return None
    planes, rows, cols = _grid(spec, axes)

    def in_grid(table: NDArray[np.int64]) -> NDArray[np.int64]:
        wanted = [axis for axis in (axes.band, axes.row, axes.col) if axis is not None]
        first = tuple(
            slice(None) if axis in wanted else base[axis] % spec.in_shard[axis] for axis in range(table.ndim)
        )
        left = [axis for axis in range(table.ndim) if axis in wanted]
        table = table[first].transpose([left.index(axis) for axis in wanted])
        return (table if axes.band is not None else table[None])[:planes, :rows, :cols]

    return _level(spec, axes, shard.file, in_grid(shard.offsets), in_grid(shard.nbytes))


def _scattered(spec: ArraySpec, axes: Axes) -> GridLevel:
    """Index a picture whose blocks lie in several files, without a look at any of them."""
    files = ChunkFiles(spec)
    nowhere = np.broadcast_to(np.int64(0), _grid(spec, axes))
    return _level(spec, axes, files, nowhere, nowhere, partial(ScatteredLevel, axes=axes, files=files))


def _level(
    spec: ArraySpec,
    axes: Axes,
    file: ByteSource,
    offsets: NDArray[np.int64],
    nbytes: NDArray[np.int64],
    make: Callable[..., GridLevel] = GridLevel,
) -> GridLevel:
    rows, cols = spec.shape[axes.row], spec.shape[axes.col]
    bands = 1 if axes.band is None else spec.shape[axes.band]
    codec = chunk_codec(spec, axes.row, axes.col, axes.band, axes.inside(spec))
    if make is GridLevel and codec.mapped and bool(((nbytes > 0) & (nbytes < codec.nbytes)).any()):
        raise DamagedFileError(
            f"{spec.path}: an uncompressed chunk has {nbytes[nbytes > 0].min()} bytes, {codec.nbytes} are "
            f"needed. Fetch or write it again."
        )
    return make(
        file=file,
        shape=(rows, cols, bands),
        dtype=codec.stored.newbyteorder("="),
        block=(spec.blocks[axes.row], spec.blocks[axes.col]),
        offsets=offsets,
        nbytes=nbytes,
        codec=codec,
        fill=spec.fill,
        samples=1 if axes.band is None else spec.blocks[axes.band],
    )


def _smaller(member: Member, view: View, full: ArraySpec, full_axes: Axes) -> GridLevel:
    """Index a smaller array, whose files are only kept open by the pool."""
    spec = parse_array(*member.array())
    axes = _checked_axes(spec, member.axes, view)
    if _beside(spec, axes) != _beside(full, full_axes):
        raise UnsupportedFormatError(
            f"{spec.path}: is reduced along more than rows and columns, so its positions are others."
        )
    return _scattered(spec, axes)


def _beside(spec: ArraySpec, axes: Axes) -> list[int]:
    """How long the axes are that are neither rows nor columns."""
    return [size for axis, size in enumerate(spec.shape) if axis not in (axes.row, axes.col)]


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
