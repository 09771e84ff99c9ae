"""Zarr arrays, read where they lie: all that zarr-python and TensorStore write."""

from __future__ import annotations

import base64
import itertools
import json
import math
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest
import tensorstore
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from zarr import codecs as v3

from arrays import DTYPES, check, make, picture, whole
from subregion import SimpleFrames, Window
from subregion.formats.open import open_raster

V3_CODECS: dict[str, Any] = {
    "none": None,
    "gzip": v3.GzipCodec(level=3),
    "zstd": v3.ZstdCodec(level=1),
    "zstd, checksum": v3.ZstdCodec(level=3, checksum=True),
    "blosc and crc32c": [v3.BloscCodec(cname="lz4hc", shuffle="noshuffle"), v3.Crc32cCodec()],
    "crc32c alone": [v3.Crc32cCodec()],
    "two compressors": [v3.GzipCodec(), v3.ZstdCodec(), v3.Crc32cCodec()],
} | {
    f"blosc {name} {shuffle}": v3.BloscCodec(cname=name, shuffle=shuffle, typesize=2)
    for name in ("lz4", "lz4hc", "zstd", "zlib", "blosclz")
    for shuffle in ("noshuffle", "shuffle", "bitshuffle")
}


SHARDS = [None, (40, 80, 3), (120, 160, 3)]


@pytest.mark.parametrize("shards", SHARDS, ids=["files", "shards", "one shard"])
@pytest.mark.parametrize("name", V3_CODECS)
def test_codecs_of_version_3(
    name: str, shards: tuple[int, ...] | None, tmp_path: Path, photograph: NDArray[np.uint8]
) -> None:
    array = picture(photograph, "u2")
    check(make(tmp_path / "a", array, chunks=(40, 40, 3), shards=shards, compressors=V3_CODECS[name]), array)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bands", [1, 3])
def test_types(dtype: str, bands: int, tmp_path: Path, photograph: NDArray[np.uint8]) -> None:
    array = picture(photograph, dtype, bands)
    shape = (40, 40, bands)
    check(make(tmp_path / "3", array, chunks=shape, compressors=v3.BloscCodec()), array)
    check(make(tmp_path / "big", array, chunks=shape, serializer=v3.BytesCodec(endian="big")), array)
    check(make(tmp_path / "2", array, chunks=shape, zarr_format=2), array)
    swapped = array.astype(array.dtype.newbyteorder(">"))
    check(make(tmp_path / "2big", swapped, chunks=shape, zarr_format=2, order="F"), swapped)
    transposed = [v3.TransposeCodec(order=(2, 0, 1))]
    check(make(tmp_path / "t", array, chunks=shape, filters=transposed), array)


V2_CODECS: dict[str, Any] = {
    "none": None,
    "blosc": numcodecs.Blosc(cname="zstd", shuffle=2),
    "zstd": numcodecs.Zstd(3),
    "zlib": numcodecs.Zlib(3),
    "gzip": numcodecs.GZip(3),
    "bz2": numcodecs.BZ2(3),
    "lz4": numcodecs.LZ4(3),
    "lzma": numcodecs.LZMA(),
    "lzma raw": numcodecs.LZMA(format=3, check=-1, filters=[{"id": 33, "preset": 1}]),
}


V2_FILTERS: dict[str, Any] = {
    "no filter": None,
    "delta": [numcodecs.Delta("<u2")],
    "delta in another type": [numcodecs.Delta("<u2", astype="<i4")],
    "shuffle": [numcodecs.Shuffle(2)],
}


@pytest.mark.parametrize(("separator", "order"), [(".", "C"), ("/", "F")])
@pytest.mark.parametrize("name", V2_CODECS)
def test_codecs_of_version_2(
    name: str, separator: Any, order: Any, tmp_path: Path, photograph: NDArray[np.uint8]
) -> None:
    array = picture(photograph, "u2")
    for filters in V2_FILTERS:
        path = make(
            tmp_path / filters, array, zarr_format=2, order=order, filters=V2_FILTERS[filters],
            compressors=V2_CODECS[name], chunk_key_encoding={"name": "v2", "separator": separator},
        )  # fmt: skip
        check(path, array)


@pytest.mark.parametrize("encoding", list(itertools.product(("default", "v2"), ("/", "."))))
def test_chunk_keys(encoding: Any, tmp_path: Path, photograph: NDArray[np.uint8]) -> None:
    array = picture(photograph)
    keys = {"name": encoding[0], "separator": encoding[1]}
    check(make(tmp_path / "a", array, chunk_key_encoding=keys), array)


BLOSC = {"cname": "lz4", "clevel": 5, "shuffle": "bitshuffle", "typesize": 2}


TENSORSTORE_CODECS: dict[str, Any] = {
    "none": [],
    "gzip": [{"name": "gzip", "configuration": {"level": 4}}],
    "zstd": [{"name": "zstd", "configuration": {"level": 1}}],
    "blosc": [{"name": "blosc", "configuration": BLOSC}],
    "crc32c": [{"name": "zstd", "configuration": {"level": 1}}, {"name": "crc32c"}],
}  # fmt: skip


@pytest.mark.parametrize("location", ["start", "end", None])
@pytest.mark.parametrize("name", TENSORSTORE_CODECS)
def test_what_tensorstore_writes(
    name: str, location: str | None, tmp_path: Path, photograph: NDArray[np.uint8]
) -> None:
    array = picture(photograph, "u2")
    inner: list[Any] = [
        {"name": "transpose", "configuration": {"order": [1, 2, 0]}},
        {"name": "bytes", "configuration": {"endian": "big"}},
        *TENSORSTORE_CODECS[name],
    ]
    chunk = [32, 48, 3]
    if location is not None:
        index = [{"name": "bytes", "configuration": {"endian": "big"}}, {"name": "crc32c"}]
        sharding = {
            "chunk_shape": [32, 48, 3],
            "codecs": inner,
            "index_codecs": index,
            "index_location": location,
        }
        inner, chunk = [{"name": "sharding_indexed", "configuration": sharding}], [64, 96, 3]
    store = tensorstore.open(
        {
            "driver": "zarr3",
            "kvstore": {"driver": "file", "path": f"{tmp_path}/a/"},
            "metadata": {
                "shape": list(array.shape),
                "data_type": "uint16",
                "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunk}},
                "codecs": inner,
            },
            "create": True,
        }
    ).result()
    store.write(array).result()
    check(tmp_path / "a", array)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_chunks_shards_and_windows(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    shape = tuple(data.draw(st.integers(1, high)) for high in (50, 50, 6))
    blocks = tuple(data.draw(st.integers(1 + size // 5, size + 4)) for size in shape)
    shards = None
    if data.draw(st.booleans()):
        shards = tuple(block * data.draw(st.integers(1, 4)) for block in blocks)
    array = np.random.default_rng(sum(shape)).integers(0, 255, shape, np.uint8)
    compressors = data.draw(st.sampled_from([None, v3.ZstdCodec(), [v3.BloscCodec(), v3.Crc32cCodec()]]))
    path = tmp_path_factory.mktemp("any") / "a"
    make(path, array, chunks=blocks, shards=shards, compressors=compressors, names=("y", "x", "band"))
    raster = check(path, array)
    steps = data.draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    top, left = data.draw(st.integers(0, shape[0] - 1)), data.draw(st.integers(0, shape[1] - 1))
    high, wide = data.draw(st.integers(0, shape[0] - top)), data.draw(st.integers(0, shape[1] - left))
    bands = data.draw(st.lists(st.integers(0, shape[2] - 1), min_size=1, max_size=8))
    got = raster.read(Window(top, left, high, wide), bands, steps)
    wanted = array[top : top + high : steps[0], left : left + wide : steps[1]][..., bands]
    np.testing.assert_array_equal(got, wanted)
    frames = SimpleFrames({0: path})
    np.testing.assert_array_equal(
        frames.load_regions([(0, Window(top, left, 5, 7)), (0, Window(0, 0, 5, 7))] * 2, threads=2),
        np.stack([frames.load_region(0, Window(*at, 5, 7)) for at in ((top, left), (0, 0))] * 2),
    )


LAYOUTS: dict[str, tuple[Any, tuple[int, ...], Any]] = {
    # from (rows, columns, bands) to the stored array, its chunks, and the names of its axes
    "rows, columns": (lambda a: a[..., 0], (40, 50), None),
    "bands last": (lambda a: a, (40, 50, 3), None),
    "bands first": (lambda a: a.transpose(2, 0, 1), (1, 40, 50), None),
    "bands first, two to a chunk": (lambda a: a.transpose(2, 0, 1), (2, 40, 50), None),
    "columns first, by name": (lambda a: a.transpose(1, 0, 2), (40, 50, 2), ("x", "y", "c")),
    "an unknown third axis": (lambda a: a.transpose(2, 0, 1), (3, 40, 50), ("polarisation", "lat", "lon")),
    "times": (lambda a: np.stack([a[..., 0], a[..., 1]]), (1, 40, 50), ("time", "y", "x")),
    "times in one chunk": (lambda a: np.stack([a[..., 0], a[..., 1]]), (2, 40, 50), ("time", "y", "x")),
    "five axes": (lambda a: np.stack([a.transpose(2, 0, 1)[:, None]] * 2), (1, 1, 1, 40, 50), None),
    "five axes, deep chunks": (
        lambda a: np.stack([np.stack([a.transpose(2, 0, 1), 255 - a.transpose(2, 0, 1)], 1)] * 2),
        (2, 2, 2, 40, 50),
        ("t", "c", "z", "y", "x"),
    ),
    "four axes": (lambda a: np.stack([a.transpose(2, 0, 1)] * 2, 1), (3, 1, 40, 50), ("c", "z", "y", "x")),
}  # fmt: skip


@pytest.mark.parametrize("sharded", [False, True])
@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts(name: str, sharded: bool, tmp_path: Path, photograph: NDArray[np.uint8]) -> None:
    stored, chunks, names = LAYOUTS[name]
    array = picture(photograph)
    first = array[..., :1] if name.startswith(("rows", "times")) else array
    shards = tuple(2 * chunk for chunk in chunks) if sharded else None
    check(make(tmp_path / "a", stored(array), chunks=chunks, shards=shards, names=names), first)
    one = tuple(-(-size // chunk) * chunk for size, chunk in zip(stored(array).shape, chunks, strict=True))
    check(make(tmp_path / "one", stored(array), chunks=chunks, shards=one, names=names), first)


@pytest.mark.parametrize("shards", [None, (32, 32, 2), (64, 64, 2)])
@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize(
    ("dtype", "fill"),
    [("u1", 7), ("i2", -3), ("f4", math.nan), ("f8", -math.inf), ("f4", 1.5), ("b1", True), ("u8", 2**64 - 1),
     ("c8", 1 + 2j)],
)  # fmt: skip
def test_what_was_never_written_is_the_fill_value(
    dtype: str, fill: Any, version: Any, shards: Any, tmp_path: Path
) -> None:
    if shards and version == 2:
        return  # there are none
    array = zarr.create_array(
        tmp_path / "a", shape=(60, 60, 2), chunks=(16, 16, 2), shards=shards, dtype=dtype, fill_value=fill,
        zarr_format=version,
    )  # fmt: skip
    check(tmp_path / "a", np.asarray(array[...]))
    array[10:20, 30:40] = 1
    check(tmp_path / "a", np.asarray(array[...]))


@pytest.mark.parametrize(
    ("text", "dtype", "expected"),
    [
        (base64.b64encode(np.float32(2.5).tobytes()).decode(), "<f4", 2.5),
        ("0x3fc00000", "<f4", 1.5),
        ("Infinity", "<f8", math.inf),
        (None, "<u2", 0),
    ],
)
def test_spellings_of_fill_values(text: Any, dtype: str, expected: float, tmp_path: Path) -> None:
    document = {"zarr_format": 2, "shape": [5, 6], "chunks": [5, 6], "dtype": dtype, "fill_value": text,
                "order": "C", "compressor": None, "filters": None}  # fmt: skip
    (tmp_path / ".zarray").write_text(json.dumps(document))
    np.testing.assert_array_equal(whole(open_raster(str(tmp_path))), np.full((5, 6, 1), expected, dtype))
