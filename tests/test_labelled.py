"""Lazy arrays for dask and xarray: compared with plain reads, and with rioxarray on georeferenced files."""

from __future__ import annotations

import multiprocessing
import pickle
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import dask
import dask.array
import numpy as np
import pytest
import rasterio
import rioxarray
import tifffile
import xarray
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import subregion
from single import Single
from subregion import Asset, Frames, ImageRecord, SimpleFrames
from subregion.errors import ConfigError, MissingPackageError, RecordError
from subregion.interop import lazy as labelled
from subregion.interop.lazy import CHUNK_SIDE, chunk_shape

TO_WORLD = Affine(10, 0, 499980, 0, -10, 5600040)


def write(path: Path, pixels: NDArray[Any], **options: Any) -> None:
    """Write bands, rows and columns with GDAL."""
    bands, height, width = pixels.shape
    profile = {"count": bands, "height": height, "width": width, "dtype": pixels.dtype, "crs": "EPSG:32633"}
    with rasterio.open(path, "w", **(profile | {"driver": "GTiff", "transform": TO_WORLD} | options)) as file:
        if pixels.strides[0]:  # otherwise the file stays sparse
            file.write(pixels)


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    """A georeferenced picture of 300 x 500 pixels and 3 bands, with nodata 0."""
    path = tmp_path / "scene.tif"
    pixels = np.random.default_rng(1).integers(0, 200, (3, 300, 500), np.uint8)
    write(path, pixels, nodata=0, tiled=True, blockxsize=64, blockysize=32, compress="zstd")
    return path


def frames_of(path: Path, **options: Any) -> SimpleFrames:
    return SimpleFrames({1: path}, **options)


@pytest.fixture
def sensors(tmp_path: Path) -> Frames:
    """Three files at two resolutions: r|g, b, and nir at half the size."""
    rng = np.random.default_rng(2)
    for name, shape in (("rg", (200, 240, 2)), ("b", (200, 240)), ("nir", (100, 120))):
        pixels = rng.integers(0, 4000, shape, np.uint16)
        tifffile.imwrite(tmp_path / f"{name}.tif", pixels, tile=(32, 32), planarconfig="contig")
    assets = (
        Asset(str(tmp_path / "rg.tif"), ("r", "g")),
        Asset(str(tmp_path / "b.tif"), ("b",)),
        Asset(str(tmp_path / "nir.tif"), ("nir",), Affine.scale(2, 2)),
    )
    return Single(ImageRecord(1, assets, 240, 200))


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What lazy arrays were asked for."""
    asked: list[Any] = []
    original = labelled.LazyPixels.__getitem__

    def spy(self: labelled.LazyPixels, index: Any) -> NDArray[Any]:
        asked.append(index)
        return original(self, index)

    monkeypatch.setattr(labelled.LazyPixels, "__getitem__", spy)
    return asked


# --- values --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", [None, "npy", "cog", "auto"])
def test_all_pixels(scene: Path, workdir: Path, backend: str | None) -> None:
    frames = frames_of(scene, backend=backend, workdir=workdir)
    array = frames.to_dask(1, chunks=128)
    assert array.chunks == ((128, 128, 44), (128, 128, 128, 116), (3,))
    np.testing.assert_array_equal(array.compute(), frames.load_region(1))
    np.testing.assert_array_equal(frames.to_dask(1).compute(), frames.load_region(1))
    np.testing.assert_array_equal(subregion.open(scene).to_dask(64).compute(), frames.load_region(1))


_INDEX = st.one_of(
    st.integers(-200, 199),
    st.slices(200).filter(lambda item: item.step is None or abs(item.step) < 60),
    st.lists(st.integers(-200, 199), max_size=6).map(np.array).map(lambda a: a.astype(int)),
)


@pytest.fixture(scope="module")
def numbers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture in which every sample is different."""
    path = tmp_path_factory.mktemp("numbers") / "numbers.npy"
    np.save(path, np.arange(200 * 210 * 3, dtype=np.int32).reshape(200, 210, 3))
    return path


@settings(max_examples=30, deadline=None)
@given(_INDEX, _INDEX)
def test_any_index_gives_what_numpy_gives(numbers: Path, rows: Any, cols: Any) -> None:
    whole, array = np.load(numbers), frames_of(numbers).to_dask(1, chunks=(64, 70))
    if isinstance(rows, np.ndarray) and isinstance(cols, np.ndarray):
        cols = slice(3, 100, 7)  # dask knows one list only
    np.testing.assert_array_equal(array[rows, cols].compute(scheduler="sync"), whole[rows, cols])


def test_an_index_of_an_index(numbers: Path) -> None:
    whole, array = np.load(numbers), frames_of(numbers).to_dask(1, chunks=(64, 70))
    found = array[10:150:3, ::-1][5:20, [7, 3, 60]][..., 1]
    np.testing.assert_array_equal(found.compute(), whole[10:150:3, ::-1][5:20, [7, 3, 60]][..., 1])


def test_only_what_is_cut_out_is_read(scene: Path, reads: list[Any]) -> None:
    image = frames_of(scene).to_xarray(1)
    image.isel(y=slice(40, 50), x=slice(100, 107), channel=1).compute()
    assert reads == [(slice(40, 50, None), slice(100, 107, None), 1)]


@pytest.mark.parametrize(
    "options",
    [
        {"scale": 0.3},
        {"scale": (0.5, 2.0), "interpolation": "cubic"},
        {"nodata": "float"},
        {"scale": 1 / 4, "nodata": "float", "antialias": False},
        {"scale": 1.6, "interpolation": "nearest"},  # no centre falls between two pixels
    ],
    ids=str,
)
def test_drawn_chunks_are_parts_of_the_whole(scene: Path, options: dict[str, Any]) -> None:
    frames = frames_of(scene)
    whole = frames.load_region(1, **options)
    array = frames.to_dask(1, chunks=(50, 64), **options)
    assert array.shape == whole.shape
    assert array.dtype == whole.dtype
    found = array.compute()
    # A tie between two grey levels may fall either way.
    np.testing.assert_allclose(found, whole, rtol=0, atol=1 if whole.dtype.kind == "u" else 1e-3)
    np.testing.assert_array_equal(array[10:20:3, -40:, 2:0:-1].compute(), found[10:20:3, -40:, 2:0:-1])


def test_masks(scene: Path) -> None:
    found = frames_of(scene).to_dask(1, nodata="ma", chunks=100)
    expected = frames_of(scene).load_region(1, nodata="ma")
    result = found.compute()
    assert isinstance(result, np.ma.MaskedArray)
    np.testing.assert_array_equal(np.ma.getmaskarray(result), np.ma.getmaskarray(expected))
    assert dask.array.ma.getmaskarray(found).sum().compute() == (frames_of(scene).load_region(1) == 0).sum()
    with pytest.raises(ConfigError, match="nodata='float'"):
        frames_of(scene).to_xarray(1, nodata="ma")


# --- several files ----------------------------------------------------------------------------------------


def test_channels_of_several_files(sensors: Frames, reads: list[Any]) -> None:
    image = sensors.to_xarray(1, "<all>")
    assert image.dims == ("y", "x", "channel")
    assert image.channel.values.tolist() == ["r", "g", "b", "nir"]
    assert image.chunks == ((200,), (240,), (2, 1, 1))
    np.testing.assert_array_equal(image.values, sensors.load_region(1, channels="<all>"))
    reads.clear()
    np.testing.assert_array_equal(
        image.sel(channel="nir").values, sensors.load_region(1, channels="nir")[..., 0]
    )
    assert len(reads) == 1  # one file
    assert sensors.to_xarray(1, "nir|r|nir").channel.values.tolist() == ["nir", "r", "nir"]
    ndvi = (image.sel(channel="nir") / 1.0 - image.sel(channel="r")).mean()
    plain = sensors.load_region(1, channels="nir|r").astype(float)
    assert float(ndvi) == pytest.approx((plain[..., 0] - plain[..., 1]).mean())


def test_scaled_coordinates_stay_those_of_the_image(sensors: Frames) -> None:
    whole, half = sensors.to_xarray(1), sensors.to_xarray(1, scale=0.5)
    assert whole.x.values[:3].tolist() == [0.5, 1.5, 2.5]
    assert half.x.values[:3].tolist() == [1.0, 3.0, 5.0]
    assert half.shape == (100, 120, 2)
    assert "spatial_ref" not in whole.coords


# --- building ---------------------------------------------------------------------------------------------


def test_building_reads_and_converts_nothing(tmp_path: Path, workdir: Path, reads: list[Any]) -> None:
    big = tmp_path / "big.tif"
    nothing = np.broadcast_to(np.uint16(0), (3, 30_000, 40_000))
    tiles = {"tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "deflate"}
    write(big, nothing, **tiles, sparse_ok=True, bigtiff="yes")
    frames_of(big).to_xarray(1)  # what is imported stays
    for backend in (None, "npy", "cog", "auto"):
        frames = frames_of(big, backend=backend, workdir=workdir)
        tracemalloc.start()
        image = frames.to_xarray(1)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert image.shape == (30_000, 40_000, 3)
        assert peak < 8 << 20
    assert not reads
    assert not workdir.exists()
    assert int(frames_of(big).to_xarray(1)[20_000:20_010, 30_000:30_005].sum()) == 0
    assert subregion.open(big).to_dask().chunks[0][0] == 2048


def test_chunks_are_whole_blocks(tmp_path: Path, workdir: Path) -> None:
    pixels = np.zeros((700, 900, 3), np.uint8)
    tifffile.imwrite(tmp_path / "tiles.tif", pixels, tile=(48, 64), compression="zlib")
    tifffile.imwrite(tmp_path / "strips.tif", pixels, rowsperstrip=7, compression="zlib")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(labelled, "CHUNK_SIDE", 200)
        assert frames_of(tmp_path / "tiles.tif").to_dask(1).chunksize == (192, 192, 3)
        assert frames_of(tmp_path / "strips.tif").to_dask(1).chunksize == (42, 900, 3)
        cog = {"type": "cog", "config": {"blocksize": 80}}
        frames = frames_of(tmp_path / "strips.tif", backend=cog, workdir=workdir)
        assert frames.to_dask(1).chunksize == (160, 160, 3)  # of the copy that will be made
        frames.prepare()
        assert frames.to_dask(1).chunksize == (160, 160, 3)
        frames = frames_of(tmp_path / "tiles.tif", backend="npy", workdir=workdir)
        assert frames.to_dask(1).chunksize == (200, 200, 3)


@settings(max_examples=200)
@given(
    st.tuples(st.integers(1, 10**5), st.integers(1, 10**5)),
    st.tuples(st.integers(1, 10**5), st.integers(1, 10**5)),
    st.integers(1, CHUNK_SIDE**2),
)
def test_chunk_shapes(shape: tuple[int, int], block: tuple[int, int], area: int) -> None:
    chunk = chunk_shape(shape, block, area)
    for size, part, step in zip(shape, chunk, block, strict=True):
        assert 1 <= part <= size
        assert part == size or part % step == 0
    inside = [min(step, size) for step, size in zip(block, shape, strict=True)]
    assert chunk[0] * chunk[1] <= max(area, inside[0] * inside[1])


@pytest.mark.parametrize("chunks", [0, -1, 1.5, (1, 2, 3), "auto", True])
def test_chunks_that_are_none(scene: Path, chunks: Any) -> None:
    with pytest.raises(ConfigError, match="chunks="):
        frames_of(scene).to_dask(1, chunks=chunks)


def test_equal_arrays_share_their_tasks(scene: Path, sensors: Frames) -> None:
    one, same = frames_of(scene).to_dask(1), SimpleFrames({"other": scene}).to_dask("other")
    assert one.name == same.name
    different = [
        frames_of(scene).to_dask(1, chunks=50),
        frames_of(scene).to_dask(1, scale=0.5),
        frames_of(scene).to_dask(1, nodata="float"),
        frames_of(scene).to_dask(1, nodata="float", fill=3),
        sensors.to_dask(1),
        sensors.to_dask(1, "r"),
    ]
    assert len({array.name for array in (one, *different)}) == len(different) + 1
    data = scene.read_bytes()
    scene.unlink()
    scene.write_bytes(data)
    assert frames_of(scene).to_dask(1).name != one.name


def test_a_file_that_was_replaced_is_noticed(scene: Path) -> None:
    array = frames_of(scene).to_dask(1, chunks=100)
    tifffile.imwrite(scene, np.zeros((150, 500, 3), np.uint8))
    with pytest.raises(RecordError, match="replaced"):
        array.compute(scheduler="sync")


# --- where it runs ------------------------------------------------------------------------------------------


def test_other_processes(scene: Path, workdir: Path) -> None:
    frames = frames_of(scene, backend="cog", workdir=workdir)
    array = frames.to_dask(1, chunks=(128, 256))
    expected = frames.load_region(1)
    assert len(pickle.dumps(array)) < 50_000
    with (
        dask.config.set({"multiprocessing.context": "spawn"}),
        multiprocessing.get_context("spawn").Pool(2) as pool,
    ):
        found = array.compute(scheduler="processes", pool=pool)
    np.testing.assert_array_equal(found, expected)


def test_a_cluster(scene: Path) -> None:
    distributed = pytest.importorskip("distributed")
    image = frames_of(scene).to_xarray(1, chunks=128)
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None, protocol="inproc"
        ) as cluster,
        distributed.Client(cluster),
    ):
        assert int(image.sum()) == frames_of(scene).load_region(1).sum()


def test_without_the_extra(scene: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = frames_of(scene)
    needs = {"dask.array": frames.to_dask, "xarray": frames.to_xarray, "pyproj": frames.to_xarray}
    for module, call in needs.items():
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, module, None)
            with pytest.raises(MissingPackageError, match=r"pip install 'subregion\[(xarray|geo)\]'"):
                call(1)


# --- labels ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", [None, "npy", "cog"])
def test_rioxarray_finds_the_same(scene: Path, workdir: Path, backend: str | None) -> None:
    ours = frames_of(scene, backend=backend, workdir=workdir).to_xarray(1)
    with rioxarray.open_rasterio(scene) as opened:
        theirs = opened.transpose("y", "x", "band")
        np.testing.assert_array_equal(ours.values, theirs.values)
        np.testing.assert_array_equal(ours.x, theirs.x)
        np.testing.assert_array_equal(ours.y, theirs.y)
        assert ours.rio.crs == theirs.rio.crs
        assert ours.rio.transform() == ours.rio.transform(recalc=True) == theirs.rio.transform()
        assert ours.rio.bounds() == theirs.rio.bounds()
        assert ours.rio.nodata == theirs.rio.nodata == 0
        assert type(ours.attrs["_FillValue"]) is type(theirs.attrs["_FillValue"])
        box = (500100, 5598000, 500600, 5598400)
        np.testing.assert_array_equal(ours.rio.clip_box(*box).values, theirs.rio.clip_box(*box).values)
        np.testing.assert_array_equal(
            ours.rio.clip_box(*box).values, frames_of(scene).load_region(1, bounds=box)
        )
    assert ours.name is None
    assert ours.x.attrs["standard_name"] == "projection_x_coordinate"
    assert np.isnan(frames_of(scene).to_xarray(1, nodata="float").rio.nodata)


def test_scaled_and_written(scene: Path, tmp_path: Path) -> None:
    half = frames_of(scene).to_xarray(1, scale=0.5)
    assert half.rio.transform() == TO_WORLD @ Affine.scale(2)
    half.transpose("channel", "y", "x").rio.to_raster(tmp_path / "half.tif")
    with rasterio.open(tmp_path / "half.tif") as file:
        assert (file.crs, file.nodata, file.transform) == ("EPSG:32633", 0, TO_WORLD @ Affine.scale(2))
    floats = frames_of(scene).to_xarray(1, scale=0.5, nodata="float")
    floats.to_dataset(name="scene").to_netcdf(tmp_path / "half.nc", engine="scipy")
    with xarray.open_dataset(tmp_path / "half.nc", engine="scipy", decode_coords="all") as stored:
        np.testing.assert_array_equal(stored.scene, floats)
        assert stored.rio.crs == "EPSG:32633"
        assert stored.rio.transform() == half.rio.transform()


def test_turned_images_keep_pixel_coordinates_and_the_transform(tmp_path: Path) -> None:
    turned = TO_WORLD @ Affine.rotation(20)
    pixels = np.ones((1, 40, 50), np.float32)
    write(tmp_path / "a.tif", pixels, crs="EPSG:4326", transform=turned, nodata=-1)
    image = frames_of(tmp_path / "a.tif").to_xarray(1)
    assert image.x.values[:2].tolist() == [0.5, 1.5]
    assert image.y.values[:2].tolist() == [0.5, 1.5]
    np.testing.assert_allclose(image.rio.transform()[:6], turned[:6])
    assert image.rio.crs == "EPSG:4326"
    assert image.rio.nodata == -1


def test_no_value_stands_for_several_files(tmp_path: Path) -> None:
    assets = []
    for name, nodata in (("a", 5.0), ("b", 6.0)):
        tifffile.imwrite(tmp_path / f"{name}.tif", np.zeros((20, 20), np.uint8))
        assets.append(Asset(str(tmp_path / f"{name}.tif"), (name,), nodata=nodata))
    frames = Single(ImageRecord(1, tuple(assets), 20, 20))
    assert frames.to_xarray(1, "a").attrs == {"_FillValue": 5}
    assert frames.to_xarray(1, "a|b").attrs == {}
