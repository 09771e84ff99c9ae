"""Zarr that is damaged, absurd or of an unknown kind: one clear error."""

from __future__ import annotations

import json
import os
import random
import struct
import time
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from zarr import codecs as v3

import subregion
from arrays import make, whole, write_ours
from subregion import SubregionError, Window
from subregion.errors import (
    DamagedFileError,
    TooLargeError,
    UnsupportedFormatError,
)
from subregion.formats.open import open_raster
from subregion.io.pool import POOL


def test_axes_that_cannot_be_told_are_an_error(tmp_path: Path) -> None:
    array = np.zeros((2, 3, 40, 50), np.uint8)
    with pytest.raises(UnsupportedFormatError, match="dimension_names"):
        open_raster(str(make(tmp_path / "a", array)))
    with pytest.raises(UnsupportedFormatError, match="'p', 'q', 'y', 'x'"):
        open_raster(str(make(tmp_path / "b", array, names=("p", "q", "y", "x"))))
    with pytest.raises(UnsupportedFormatError, match="shape"):
        open_raster(str(make(tmp_path / "c", np.zeros(5))))


@pytest.mark.parametrize("shards", [None, (160, 160, 3), (400, 600, 3)])
def test_damage_is_an_error_that_names_the_file(
    shards: Any, tmp_path: Path, photograph: NDArray[np.uint8]
) -> None:
    path = make(
        tmp_path / "a.zarr", photograph, shards=shards, compressors=[v3.BloscCodec(), v3.Crc32cCodec()]
    )
    rng = random.Random(5)
    files = sorted(place for place in (path / "c").rglob("*") if place.is_file())
    refused = 0
    for _ in range(40):
        place = rng.choice(files)
        sound = place.read_bytes()
        broken = bytearray(sound)
        broken[rng.randrange(len(broken))] ^= 1 << rng.randrange(8)
        place.write_bytes(rng.choice([bytes(broken), sound[: rng.randrange(len(sound))]]))
        POOL.forget(lambda key: True)
        with pytest.raises(DamagedFileError) as caught:
            subregion.open(path, backend=None)[:]
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
        refused += 1
        place.write_bytes(sound)
    assert refused == 40
    POOL.forget(lambda key: True)
    np.testing.assert_array_equal(subregion.open(path, backend=None)[:], photograph)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, bytes]:
    """Metadata of a group, and of arrays of both versions."""
    folder = tmp_path_factory.mktemp("garbled")
    array = np.arange(60 * 70 * 3).astype(np.uint8).reshape(60, 70, 3)
    places = [
        write_ours(folder / "group", array, blocksize=32) / "zarr.json",
        make(folder / "3", array, compressors=v3.BloscCodec()) / "zarr.json",
        make(folder / "2", array, zarr_format=2, filters=[numcodecs.Delta("u1")]) / ".zarray",
    ]
    return {place: place.read_bytes() for place in places}


JUNK: list[Any] = [
    None, -1, 0, 2**70, 10**400, 1.5, float("nan"), float("inf"), "x", "..", "\0", "a" * 10_000, [], {}, [[]],
    True, "NaN", [10**9] * 3, [1] * 64, [{}], {"name": 5}, {"id": 5}, "<M8[ns]", "i4, (",
]  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_garbled_metadata_are_an_error_or_harmless(data: st.DataObject, sound: dict[Path, bytes]) -> None:
    place = data.draw(st.sampled_from(sorted(sound)))
    document = json.loads(sound[place])
    node = document
    while True:
        key = data.draw(st.sampled_from(sorted(node) if isinstance(node, dict) else range(len(node))))
        if isinstance(node[key], dict | list) and node[key] and data.draw(st.booleans()):
            node = node[key]
            continue
        if data.draw(st.booleans()):
            del node[key]
        else:
            node[key] = data.draw(st.sampled_from(JUNK))
        break
    place.write_text(json.dumps(document))
    try:
        raster = open_raster(str(place.parent))
        raster.read(Window(0, 0, min(raster.shape[0], 50), min(raster.shape[1], 50)))
    except SubregionError as error:
        told = str(error)
    else:
        told = str(place.parent)
    finally:
        place.write_bytes(sound[place])
        POOL.forget(lambda key: True)
    assert str(place.parent) in told


@pytest.mark.parametrize("depth", [900, 100_000])
def test_metadata_that_are_nested_deeply(depth: int, tmp_path: Path) -> None:
    document = '{"zarr_format": 2, "shape": [50, 60], "chunks": [20, 20], "dtype": "|u1", "fill_value": %s, '
    document += '"order": "C", "compressor": null, "filters": null}'
    (tmp_path / ".zarray").write_text(document % ("[" * depth + "]" * depth))
    with pytest.raises(DamagedFileError, match=tmp_path.name):
        open_raster(str(tmp_path))


def test_numbers_that_no_sample_can_be(tmp_path: Path) -> None:
    array = np.arange(50 * 60).astype(np.uint8).reshape(50, 60)
    path = make(tmp_path / "a", array, zarr_format=2)
    (path / ".zattrs").write_text(json.dumps({"_FillValue": 10**400, "missing_value": 3}))
    picture = subregion.SimpleFrames({1: path}).load_region(1, nodata="ma")
    np.testing.assert_array_equal(np.ma.getmaskarray(picture)[..., 0], array == 3)


def test_groups_of_very_many_arrays(tmp_path: Path) -> None:
    (tmp_path / ".zgroup").write_text('{"zarr_format": 2}')
    for number in range(1001):
        (tmp_path / f"{number}").mkdir()
    with pytest.raises(UnsupportedFormatError, match="1001 folders"):
        open_raster(str(tmp_path))
    levels = [{"path": "0"}] * 100_000
    array = np.zeros((50, 60), np.uint8)
    make(tmp_path / "0", array, zarr_format=2)
    document = {"multiscales": [{"datasets": levels, "axes": ["y", "x"]}]}
    (tmp_path / ".zattrs").write_text(json.dumps(document))
    begun = time.perf_counter()
    assert open_raster(str(tmp_path)).level_shapes == ((50, 60),)
    assert time.perf_counter() - begun < 2


BAD: dict[str, tuple[dict[str, Any], type[SubregionError], str]] = {
    "objects": ({"dtype": "|O", "filters": [{"id": "pickle"}]}, UnsupportedFormatError, r"\|O"),
    "records": ({"dtype": [["a", "<u1"]]}, UnsupportedFormatError, "dtype"),
    "text": ({"dtype": "<U5"}, UnsupportedFormatError, "<U5"),
    "dates": ({"dtype": "<M8[ns]"}, UnsupportedFormatError, "M8"),
    "pickle as a filter": ({"filters": [{"id": "pickle"}]}, UnsupportedFormatError, "pickle.*blosc, bz2"),
    "an unknown compressor": ({"compressor": {"id": "zfpy"}}, UnsupportedFormatError, "zfpy.*blosc, bz2"),
    "an absurd shape": ({"shape": [2**40, 2**40]}, TooLargeError, "SUBREGION_MAX_IMAGE_BYTES"),
    "absurd chunks": ({"chunks": [2**20, 2**20]}, TooLargeError, "SUBREGION_MAX_BLOCK_BYTES"),
    "no shape": ({"shape": None}, DamagedFileError, "malformed"),
    "too few chunks": ({"chunks": [5]}, DamagedFileError, "malformed"),
    "a fill that does not fit": ({"fill_value": 300}, DamagedFileError, "fill value 300"),
    "another version": ({"zarr_format": 1}, UnsupportedFormatError, "2 and 3"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_metadata(name: str, tmp_path: Path) -> None:
    change, error, words = BAD[name]
    document = {"zarr_format": 2, "shape": [50, 60], "chunks": [20, 20], "dtype": "|u1", "fill_value": 0,
                "order": "C", "compressor": {"id": "zlib"}, "filters": None}  # fmt: skip
    (tmp_path / ".zarray").write_text(json.dumps(document))
    assert open_raster(str(tmp_path)).shape == (50, 60, 1)
    (tmp_path / ".zarray").write_text(json.dumps(document | change))
    with pytest.raises(error, match=words) as caught:
        open_raster(str(tmp_path))
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"[" * 100_000, b"\xff\xfe", b'{"zarr_format": 3}'])
@pytest.mark.parametrize("name", ["zarr.json", ".zarray"])
def test_damaged_json(text: bytes, name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(text)
    with pytest.raises(SubregionError, match=str(tmp_path)):
        open_raster(str(tmp_path))


def test_a_pipe_in_place_of_metadata_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "zarr.json")
    with pytest.raises(UnsupportedFormatError, match="pipe"):
        open_raster(str(tmp_path))


def test_frames_that_lie_about_their_size_are_refused(tmp_path: Path) -> None:
    array = np.ones((64, 64), np.uint8)
    path = make(tmp_path / "a", array, chunks=(64, 64), compressors=v3.BloscCodec(cname="lz4"))
    chunk = path / "c/0/0"
    sound = chunk.read_bytes()
    for nbytes in (0, 4095, 4097, 2**31 - 1, 2**32 - 1):
        chunk.write_bytes(sound[:4] + struct.pack("<I", nbytes) + sound[8:])
        POOL.forget(lambda key: True)
        with pytest.raises(DamagedFileError, match="c/0/0"):
            whole(open_raster(str(path)))
