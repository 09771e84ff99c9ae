"""A zarr v3 group from a stream of strips, in one pass, with threads, in bounded memory.

::

    strips -> pyramid -> block rows -> encoders (threads) -> one shard per level

Each level is an array (y, x, c) of which all blocks lie in one shard, whose index comes last: so blocks are
written as they come. The group lists the levels in the ways of OME-NGFF 0.5 and of the multiscales convention
of GeoZarr, and holds the metadata of its arrays, so that one small read tells all.
"""

from __future__ import annotations

import contextlib
import functools
import json
import math
import os
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

from subregion.codecs.blosc_lz4 import encode_parts
from subregion.convert.blocks import encode_levels, plan_levels
from subregion.convert.encodings import LARGER_BLOCKSIZE, Encode, encoding_for, raw_bytes
from subregion.convert.strips import removed_on_error
from subregion.dtypes import as_integer
from subregion.errors import ConfigError
from subregion.libraries import google_crc32c, imagecodecs

_CONVENTION = {
    "schema_url": "https://raw.githubusercontent.com/zarr-conventions/multiscales/refs/tags/v0.1/schema.json",
    "spec_url": "https://github.com/zarr-conventions/multiscales/blob/v0.1/README.md",
    "uuid": "d35379db-88df-4056-af3a-620245f8e347",
    "name": "multiscales",
    "description": "Multiscale layout of zarr datasets",
}
#: Rows of a block that LZ4 compresses together: a window decodes no others. Fewer make files larger and
#: windows no faster; see docs/performance.md.
ROWS_TOGETHER = 64


@dataclass(frozen=True, slots=True)
class ZarrConfig:
    """How a zarr group is written.

    Parameters
    ----------
    compress : {"LZ4", "ZSTD", "RAW"}
        Compression of the blocks; none changes pixels.
    blocksize : int
        Edge of a block, in pixels.
    overviews : {"average", "nearest", "mode", "none"}
        How an overview pixel is made from four; "none" writes no overviews.
    """

    compress: str = "LZ4"
    blocksize: int = LARGER_BLOCKSIZE
    overviews: Literal["average", "nearest", "mode", "none"] = "average"


def write_zarr(
    path: str | os.PathLike[str],
    shape: tuple[int, int, int],
    dtype: DTypeLike,
    strips: Iterable[NDArray[Any]],
    config: ZarrConfig,
    *,
    nodata: float | int | None = None,
    threads: int | None = None,
) -> None:
    """Write a zarr v3 group: an array of the image and one for each overview, each in one sharded file.

    Equal pixels and options give equal bytes, however the strips are cut and however many threads there are.
    The strips are pulled in the calling thread, one at a time, while threads encode earlier ones; about two
    rows of blocks are held. Nothing is synced to the disk: who publishes the group does that.

    Parameters
    ----------
    path : str or os.PathLike
        The folder to make.
    shape : tuple of int
        Rows, columns and bands of the image, each at least 1.
    dtype : dtype
        Integers of 8 to 64 bits, floats of 16 to 64, complex of 64 and 128.
    strips : iterable of ndarray, (n, columns, bands)
        The rows of the image, from the top; `n` is free. A strip is no longer needed when the next is pulled.
    config : ZarrConfig
        How to write it.
    nodata : float or int, optional
        The value of samples that are missing; they take no part in averages.
    threads : int, optional
        How many encode; by default as many as this process may use processors.

    Raises
    ------
    ConfigError
        If there is no such compression.
    DamagedFileError
        If the strips do not make up the image.
    OSError
        If the disk is full or cannot be written. After any error nothing is left.
    """
    dtype = np.dtype(dtype).newbyteorder("<")
    size = config.blocksize
    codecs, encode = _encoding(config.compress, dtype)
    pyramid = plan_levels(shape, dtype, size, config.overviews, nodata)
    arrays = {
        str(level): _array_metadata(level_shape, dtype, size, codecs, nodata)
        for level, level_shape in enumerate(pyramid.shapes)
    }
    os.makedirs(path)
    with removed_on_error(path), contextlib.ExitStack() as stack:
        shards = [stack.enter_context(_Shard(os.path.join(path, name))) for name in arrays]
        encode_levels(strips, shape, dtype, pyramid, size, encode, shards, threads)
        for shard in shards:
            shard.finish()
        for name, metadata in arrays.items():
            _write_json(os.path.join(path, name), metadata)
        _write_json(path, _group_metadata(arrays, pyramid.method))


def files_of_level(level: int) -> tuple[str, str]:
    """Return the names, in the group, of the metadata of a level and of the file that holds its blocks."""
    return f"{level}/zarr.json", f"{level}/c/0/0/0"


def index_nbytes(blocks: int) -> int:
    """Return how many bytes at the end of a shard tell where its blocks are: two numbers each, a checksum."""
    return 16 * blocks + 4


class _Shard:
    """The only shard of an array: blocks one behind the other, then where each of them lies."""

    def __init__(self, folder: str) -> None:
        self._path = os.path.join(folder, "c", "0", "0", "0")
        self._nbytes: list[int] = []

    def __enter__(self) -> _Shard:
        os.makedirs(os.path.dirname(self._path))
        self._file = open(self._path, "wb")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._file.close()
        else:
            with contextlib.suppress(OSError):  # what is not written then is not needed
                self._file.close()

    def append(self, blocks: Sequence[bytes | memoryview]) -> None:
        self._file.writelines(blocks)
        self._nbytes.extend(map(len, blocks))

    def finish(self) -> None:
        """Write the index: offset and size of each block, and the checksum of these."""
        index = np.empty((len(self._nbytes), 2), "<u8")
        index[:, 1] = self._nbytes
        index[:, 0] = np.cumsum(index[:, 1]) - index[:, 1]
        self._file.write(_with_checksum(index.tobytes()))


def _encoding(compress: str, dtype: np.dtype[Any]) -> tuple[list[dict[str, Any]], Encode]:
    """Return the codecs of a block as zarr names them, and what they do.

    LZ4 is that of Blosc at high effort, which decodes as fast as the quick one and is smaller; of its levels
    5 is where more effort stops to pay, see docs/performance.md. Samples of several bytes are shuffled, which
    brings equal bytes together: smooth pictures of 16 and 32 bits become smaller and are decoded faster.
    Blosc has no checksums, so each block gets one, as ZSTD frames have: a flipped bit is an error.
    Samples of one byte are compressed by some rows at a time, see `ROWS_TOGETHER`.
    """
    little = (
        {"name": "bytes", "configuration": {"endian": "little"}} if dtype.itemsize > 1 else {"name": "bytes"}
    )
    if compress == "RAW":
        return [little], raw_bytes
    if compress == "ZSTD" and dtype.itemsize == 1:
        encoding = encoding_for("ZSTD", 0, dtype, 0, level=None, quality=0)
        return [little, {"name": "zstd", "configuration": {"level": 3, "checksum": True}}], encoding.encode
    if compress not in ("LZ4", "ZSTD"):
        raise ConfigError(f"compress={compress!r}: allowed are 'LZ4', 'ZSTD' and 'RAW'.")
    name, level = ("lz4hc", 5) if compress == "LZ4" else ("zstd", 3)
    shuffled = dtype.itemsize > 1
    blosc = {
        "cname": name,
        "clevel": level,
        "shuffle": "shuffle" if shuffled else "noshuffle",
        "typesize": dtype.itemsize,
        "blocksize": 0,
    }
    encode = functools.partial(_blosc, compressor=name, level=level, samples=dtype.itemsize)
    if compress == "LZ4" and not shuffled:
        encode = functools.partial(_blosc_by_rows, level=level)
    return [little, {"name": "blosc", "configuration": blosc}, {"name": "crc32c"}], encode


def _blosc(block: NDArray[Any], compressor: str, level: int, samples: int) -> bytes:
    return _with_checksum(
        imagecodecs.blosc_encode(
            raw_bytes(block),
            level=level,
            compressor=compressor,
            shuffle=int(samples > 1),
            typesize=samples,
            numthreads=1,
        )
    )


def _blosc_by_rows(block: NDArray[Any], level: int) -> bytes:
    part = ROWS_TOGETHER * block.shape[1] * block.shape[2]
    return _with_checksum(encode_parts(raw_bytes(block), part, level))


def _with_checksum(data: bytes | bytearray) -> bytes:
    data = bytes(data)
    return data + struct.pack("<I", google_crc32c.value(data))


def _array_metadata(
    shape: tuple[int, int, int],
    dtype: np.dtype[Any],
    size: int,
    codecs: list[dict[str, Any]],
    nodata: float | int | None,
) -> dict[str, Any]:
    rows, cols, bands = shape
    index_codecs = [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}]
    sharding = {
        "chunk_shape": [size, size, bands],
        "codecs": codecs,
        "index_codecs": index_codecs,
        "index_location": "end",
    }
    shard = [-(-rows // size) * size, -(-cols // size) * size, bands]
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": [rows, cols, bands],
        "data_type": dtype.name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": shard}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": _fill_value(nodata, dtype),
        "codecs": [{"name": "sharding_indexed", "configuration": sharding}],
        "dimension_names": ["y", "x", "c"],
        "attributes": {} if nodata is None else {"nodata": _number(nodata)},
    }


def _fill_value(nodata: float | int | None, dtype: np.dtype[Any]) -> Any:
    """Return `nodata` as the fill value, which such an array never shows, where its type can hold it."""
    if dtype.kind == "c":
        return [0.0, 0.0]
    if dtype.kind == "f":
        return 0.0 if nodata is None else _number(float(dtype.type(nodata)))
    return 0 if nodata is None else as_integer(nodata, dtype) or 0


def _number(value: float | int) -> float | int | str:
    """Return a number as zarr writes it in JSON, which has no NaN and no infinity."""
    if isinstance(value, int) or math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _group_metadata(arrays: dict[str, dict[str, Any]], method: str) -> dict[str, Any]:
    datasets, layout = [], []
    for level, name in enumerate(arrays):
        factor = 2**level
        # OME-NGFF places the centre of the first pixel; that of "nearest" is where it was.
        shift = (factor - 1) / 2 if method == "average" else 0.0
        datasets.append(
            {
                "path": name,
                "coordinateTransformations": [
                    {"type": "scale", "scale": [factor, factor, 1]},
                    {"type": "translation", "translation": [shift, shift, 0]},
                ],
            }
        )
        layout.append(
            {"asset": name, "transform": {"scale": [1.0, 1.0]}}
            if level == 0
            else {"asset": name, "derived_from": str(level - 1), "transform": {"scale": [2.0, 2.0]}}
        )
    axes = [{"name": "y", "type": "space"}, {"name": "x", "type": "space"}, {"name": "c", "type": "channel"}]
    return {
        "zarr_format": 3,
        "node_type": "group",
        "attributes": {
            "ome": {"version": "0.5", "multiscales": [{"axes": axes, "datasets": datasets, "type": method}]},
            "zarr_conventions": [_CONVENTION],
            "multiscales": {"layout": layout, "resampling_method": method},
        },
        "consolidated_metadata": {"kind": "inline", "must_understand": False, "metadata": arrays},
    }


def _write_json(folder: str | os.PathLike[str], document: dict[str, Any]) -> None:
    with open(os.path.join(folder, "zarr.json"), "w", encoding="utf-8") as file:
        json.dump(document, file, separators=(",", ":"))
