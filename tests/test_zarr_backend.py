"""The backend zarr: zarr-python and TensorStore read what we write."""

from __future__ import annotations

import json
import math
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorstore
import zarr
from numpy.typing import NDArray

from arrays import DTYPES, check, make, picture, whole, write_ours
from subregion import SimpleFrames, Window
from subregion.convert.zarr import ZarrConfig, write_zarr
from subregion.errors import (
    ConfigError,
    DamagedFileError,
)
from subregion.formats.open import open_raster
from subregion.io.pool import POOL

pytestmark = pytest.mark.pixels  # read by both executors


@pytest.mark.parametrize("compress", ["LZ4", "ZSTD", "RAW"])
@pytest.mark.parametrize(("dtype", "bands"), [(dtype, 1 + 3 * (k % 2)) for k, dtype in enumerate(DTYPES[1:])])
def test_others_read_what_we_write(
    compress: str, dtype: str, bands: int, tmp_path: Path, photograph: NDArray[np.uint8]
) -> None:
    array = picture(photograph, dtype, bands)
    path = write_ours(tmp_path / "a.zarr", array, compress=compress, blocksize=32)
    raster = check(path, array)
    assert raster.level_shapes == ((93, 131), (47, 66), (24, 33), (12, 17))
    group = zarr.open_group(path, mode="r")
    assert sorted(group.array_keys()) == ["0", "1", "2", "3"]
    for level in range(4):
        ours = whole(raster, level)
        there = group[str(level)]
        assert isinstance(there, zarr.Array)
        assert there.dtype == ours.dtype
        assert there.metadata.dimension_names == ("y", "x", "c")  # type: ignore[union-attr]  # of version 3
        np.testing.assert_array_equal(there[...], ours)
        spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{path}/{level}/"}}
        np.testing.assert_array_equal(tensorstore.open(spec).result().read().result(), ours)
    assert len([place for place in path.rglob("*") if place.is_file()]) == 9  # two for each array


def test_overviews_are_those_of_a_cog(tmp_path: Path, workdir: Path, photograph: NDArray[np.uint8]) -> None:
    path = tmp_path / "a.npy"
    np.save(path, photograph)
    for method in ("average", "nearest", "none"):
        rasters = []
        for kind in ("cog", "zarr"):
            frames = SimpleFrames({0: path}, workdir, {"type": kind, "config": {"overviews": method}})
            rasters.append(frames._store.open(frames.record(0).default_asset).raster)
        cog, ours = rasters
        assert cog.level_shapes == ours.level_shapes
        assert len(cog.level_shapes) == (1 if method == "none" else 4)
        for level in range(len(cog.level_shapes)):
            np.testing.assert_array_equal(whole(ours, level), whole(cog, level))


def test_the_group_says_what_its_arrays_are(tmp_path: Path, photograph: NDArray[np.uint8]) -> None:
    attributes = json.loads((write_ours(tmp_path / "a", photograph) / "zarr.json").read_bytes())["attributes"]
    (multiscales,) = attributes["ome"]["multiscales"]
    assert [axis["name"] for axis in multiscales["axes"]] == ["y", "x", "c"]
    assert [dataset["path"] for dataset in multiscales["datasets"]] == ["0", "1", "2", "3"]
    scale, shift = multiscales["datasets"][2]["coordinateTransformations"]
    assert scale == {"type": "scale", "scale": [4, 4, 1]}
    assert shift == {"type": "translation", "translation": [1.5, 1.5, 0]}
    layout = attributes["multiscales"]["layout"]
    assert [level["asset"] for level in layout] == ["0", "1", "2", "3"]
    assert layout[2] == {"asset": "2", "derived_from": "1", "transform": {"scale": [2.0, 2.0]}}


@pytest.mark.parametrize("nodata", [7, 0, -1, 300, 2.5, math.nan, -math.inf])
@pytest.mark.parametrize("dtype", ["u1", "f4"])
def test_nodata_survives(dtype: str, nodata: float, tmp_path: Path, photograph: NDArray[np.uint8]) -> None:
    array = picture(photograph, dtype)
    path = write_ours(tmp_path / "a", array, nodata)
    got = check(path, array).nodata
    assert got == nodata or (got != got and nodata != nodata)
    assert zarr.open_array(path / "0", mode="r").shape == array.shape


def test_equal_pixels_make_equal_bytes(tmp_path: Path, photograph: NDArray[np.uint8]) -> None:
    for number, (cut, threads) in enumerate([(1, 1), (37, 2), (400, 4)]):
        strips = [photograph[row : row + cut] for row in range(0, 400, cut)]
        write_zarr(tmp_path / str(number), photograph.shape, "u1", strips, ZarrConfig(), threads=threads)
    for place in (tmp_path / "0").rglob("*"):
        if place.is_file():
            for other in "12":
                twin = tmp_path / other / place.relative_to(tmp_path / "0")
                assert twin.read_bytes() == place.read_bytes()


def test_a_failed_conversion_leaves_no_folder(tmp_path: Path, photograph: NDArray[np.uint8]) -> None:
    with pytest.raises(DamagedFileError, match="399 of 400"):
        write_zarr(tmp_path / "a", photograph.shape, "u1", [photograph[:399]], ZarrConfig())
    with pytest.raises(ConfigError, match="LZ4"):
        write_zarr(tmp_path / "a", photograph.shape, "u1", [photograph], ZarrConfig(compress="zip"))
    (tmp_path / "kept").mkdir()
    with pytest.raises(FileExistsError):
        write_zarr(tmp_path / "kept", photograph.shape, "u1", [photograph], ZarrConfig())
    assert [place.name for place in tmp_path.iterdir()] == ["kept"]


def test_only_the_index_of_a_shard_is_read_on_opening(
    tmp_path: Path, photograph: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = make(tmp_path / "one", photograph, shards=(400, 600, 3))
    many = make(tmp_path / "many", photograph, shards=(80, 80, 3))
    pread, read = os.pread, []

    def counted(descriptor: int, count: int, offset: int) -> bytes:
        read.append(count)
        return pread(descriptor, count, offset)

    monkeypatch.setattr(os, "pread", counted)
    open_raster(str(one))
    assert read[-1] == 16 * 10 * 15 + 4
    assert len(read) == 2
    read.clear()
    raster = open_raster(str(many))
    assert len(read) == 1
    raster.read(Window(0, 0, 10, 10))
    assert read[1] == 16 * 4 + 4
    assert len(read) == 3


def test_overviews_do_not_hold_files_open(tmp_path: Path, photograph: NDArray[np.uint8]) -> None:
    raster = open_raster(str(write_ours(tmp_path / "a", photograph)))
    for level in range(4):
        whole(raster, level)
    links = Path("/proc/self/fd")
    if links.exists():
        POOL.forget(lambda key: True)
        held = [link for link in links.iterdir() if str(tmp_path) in os.path.realpath(link)]
        assert len(held) == 1
    shutil.rmtree(tmp_path / "a")
    np.testing.assert_array_equal(whole(raster), photograph)  # what is open stays
    with pytest.raises(DamagedFileError, match="taken away"):
        whole(raster, 1)
