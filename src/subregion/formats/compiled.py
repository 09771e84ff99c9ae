"""Which levels the compiled executor can read, and how it is told of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from subregion.blocks.native import executor, is_wanted
from subregion.codecs.codec import BlockShape, Codec, RawCodec
from subregion.codecs.streams import StreamCodec
from subregion.codecs.zarr_filters import ChunkCodec
from subregion.io.source import SourceFile

if TYPE_CHECKING:
    from subregion.formats.grid import GridLevel

#: Compressions of TIFF and what they are called there.
_STREAMS = {"ZSTD": "zstd", "DEFLATE": "zlib"}
#: Filters of zarr that undo one compressor.
_COMPRESSORS = ("zstd", "zlib", "gzip", "lz4", "blosc")
#: To decode these again costs no more than to look for what was kept.
_CHEAP = ("raw", "lz4", "blosc")


class _Layout(NamedTuple):
    """How blocks become samples.

    Parameters
    ----------
    stored : numpy.dtype
        Type of the samples, with its byte order.
    codec : dict
        What is done to the stored bytes; see `BlockTable`.
    strides : tuple of int
        Bytes from one row, column and sample to the next.
    start : int
        Where the first sample lies.
    last_rows : int
        Rows that the lowest blocks must hold.
    """

    stored: np.dtype[np.generic]
    codec: dict[str, Any]
    strides: tuple[int, int, int]
    start: int
    last_rows: int


def table_of(level: GridLevel) -> Any:
    """Return the blocks of a level as the compiled executor takes them.

    Parameters
    ----------
    level : GridLevel
        The level.

    Returns
    -------
    BlockTable or None
        None if it was not built, is turned off, or cannot read blocks of this kind.
    """
    file = level.file
    if not (level.windowed and is_wanted()) or not isinstance(file, SourceFile):
        return None
    layout = _layout_of(level.codec)
    if layout is None or not executor.has(layout.codec["compressor"]):
        return None
    samples, stored = level.samples, layout.stored
    if level.offsets.shape[0] == 1:
        samples = level.shape[2] if level.color is None else level.color.samples
    fill = np.empty((), stored.newbyteorder("="))
    with np.errstate(all="ignore"):  # the lowest float64 stands for nothing in a float32 too
        fill[...] = level.fill
    compressor = layout.codec["compressor"]
    return executor.BlockTable(
        file,
        file.immutable or level.mapped,
        level.shape,
        np.ascontiguousarray(level.offsets, np.int64),
        np.ascontiguousarray(level.nbytes, np.int64),
        level.block,
        samples,
        fill.dtype,
        layout.codec | {"itemsize": stored.itemsize, "swapped": _swapped(stored)},
        layout.strides,
        layout.start,
        layout.last_rows,
        fill.tobytes(),
        None if level.sums is None else np.ascontiguousarray(level.sums, np.uint32),
        compressor not in _CHEAP and bool(file.identity),
    )


def _swapped(stored: np.dtype[np.generic]) -> int:
    """Return how many bytes each number has that lie the other way round; 0 if none do."""
    if stored.isnative:
        return 0
    return stored.itemsize // 2 if stored.kind == "c" else stored.itemsize


def _layout_of(codec: Codec) -> _Layout | None:
    """Return how blocks become samples; None if the compiled executor does not know how."""
    if isinstance(codec, StreamCodec):
        return _of_stream(codec)
    if isinstance(codec, ChunkCodec):
        return _of_chunk(codec)
    return _of_raw(codec) if isinstance(codec, RawCodec) else None


def _of_stream(codec: StreamCodec) -> _Layout | None:
    compressor, kind = _STREAMS.get(codec.compression), codec.stored.kind
    of_predictor = {1: True, 2: kind in "iu", 3: kind == "f" and codec.shape.samples == 1}
    if compressor is None or not of_predictor.get(codec.predictor, False):
        return None
    strides = _strides(codec.shape, codec.stored)
    about = {
        "compressor": compressor,
        "predictor": codec.predictor,
        "nbytes": codec.shape.rows * strides[0],
        "row_nbytes": strides[0],
    }
    return _Layout(codec.stored, about, strides, 0, codec.shape.last_rows)


def _of_chunk(codec: ChunkCodec) -> _Layout | None:
    filters = list(codec.filters[codec.checked :])
    about: dict[str, Any] = {
        "compressor": "raw",
        "exact": True,
        "checked": codec.checked,
        "nbytes": codec.nbytes,
    }
    if filters and filters[0].kind in _COMPRESSORS:
        about["compressor"] = filters.pop(0).kind
    if filters and filters[0].kind == "shuffle" and about["compressor"] != "blosc":
        about["shuffle"] = dict(filters.pop(0).options)["samples"]
        if codec.nbytes % about["shuffle"]:
            return None
    if filters:
        return None
    if "shuffle" not in about and codec.start == 0 and codec.strides[0] * codec.shape[0] == codec.nbytes:
        about["row_nbytes"] = codec.strides[0]
    return _Layout(codec.stored, about, codec.strides, codec.start, codec.shape[0])


def _of_raw(codec: RawCodec) -> _Layout:
    shape, stored = codec.shape, codec.stored
    strides = _strides(shape, stored)
    about = {"compressor": "raw", "nbytes": shape.rows * strides[0], "row_nbytes": strides[0]}
    if codec.order == "F":
        del about["row_nbytes"]
        line = shape.rows * stored.itemsize
        strides = stored.itemsize, line, line * shape.cols
    return _Layout(stored, about, strides, 0, shape.last_rows)


def _strides(shape: BlockShape, stored: np.dtype[Any]) -> tuple[int, int, int]:
    """Return the bytes of a row, of a pixel, and of a sample."""
    pixel = shape.samples * stored.itemsize
    return shape.cols * pixel, pixel, stored.itemsize
