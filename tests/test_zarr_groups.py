"""Zarr groups: which array is the picture, and which are its overviews; folders as images."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from numpy.typing import NDArray

import subregion
from arrays import check, make, whole, write_ours
from subregion import SimpleFrames, Window
from subregion.blocks.execute import FailedReadError, execute, read_blocks
from subregion.blocks.level import WindowRead
from subregion.errors import (
    DamagedFileError,
    RecordError,
    SourceIsDirectoryError,
    UnsupportedFormatError,
)
from subregion.formats.open import open_raster
from subregion.formats.zarr.shards import ScatteredLevel
from subregion.io.pool import POOL

pytestmark = pytest.mark.pixels  # read by both executors


def pyramid(path: Path, array: NDArray[Any], attributes: Callable[[list[str]], Any], **options: Any) -> Path:
    """A group of an array and two smaller ones."""
    group = zarr.open_group(path, mode="w", **options)
    names = ["full", "half", "quarter"]
    for name, step in zip(names, (1, 2, 4), strict=True):
        part = array[..., ::step, ::step]
        created = group.create_array(name, shape=part.shape, chunks=part.shape, dtype=part.dtype)
        created[...] = part
    group.attrs.update(attributes(names))
    return path


def ome(names: list[str], axes: Any = "tczyx") -> Any:
    return [{"axes": [{"name": axis} for axis in axes], "datasets": [{"path": name} for name in names]}]


GROUPS: dict[str, tuple[Callable[[list[str]], Any], dict[str, Any]]] = {
    "OME-NGFF 0.4": (lambda names: {"multiscales": ome(names)}, {"zarr_format": 2}),
    "OME-NGFF 0.5": (lambda names: {"ome": {"version": "0.5", "multiscales": ome(names)}}, {}),
    "OME-NGFF 0.1": (
        lambda names: {"multiscales": [{"datasets": [{"path": name} for name in names]}]},
        {"zarr_format": 2},
    ),
    "GeoZarr": (lambda names: {"multiscales": {"layout": [{"asset": name} for name in names]}}, {}),
}


@pytest.mark.filterwarnings("ignore:Consolidated metadata:UserWarning")
@pytest.mark.parametrize("name", GROUPS)
@pytest.mark.parametrize("consolidated", [False, True])
def test_groups_with_levels(
    name: str, consolidated: bool, tmp_path: Path, photograph: NDArray[np.uint8]
) -> None:
    attributes, options = GROUPS[name]
    stored = photograph.transpose(2, 0, 1)[None, :, None]
    path = pyramid(tmp_path / "a.zarr", stored, attributes, **options)
    if consolidated:
        zarr.consolidate_metadata(path)
    raster = check(path, photograph)
    assert raster.level_shapes == ((400, 600), (200, 300), (100, 150))
    np.testing.assert_array_equal(whole(raster, 2), photograph[::4, ::4])
    check(path / "half", photograph[::2, ::2])
    np.testing.assert_array_equal(
        subregion.open(path, backend=None)[5:9], subregion.open(path, backend="auto", workdir=tmp_path)[5:9]
    )


def test_other_groups(tmp_path: Path, photograph: NDArray[np.uint8]) -> None:
    # several pictures, as bioformats2raw writes them
    group = zarr.open_group(tmp_path / "raw", mode="w", zarr_format=2)
    group.attrs["bioformats2raw.layout"] = 3
    stored = photograph.transpose(2, 0, 1)[None, :, None]
    pyramid(tmp_path / "raw/0", stored, lambda names: {"multiscales": ome(names)}, zarr_format=2)
    check(tmp_path / "raw", photograph)
    # one array, with coordinates
    group = zarr.open_group(tmp_path / "one", mode="w")
    members: dict[str, NDArray[Any]] = {"x": np.arange(600), "y": np.arange(400), "image": photograph}
    for name, values in members.items():
        group.create_array(name, shape=values.shape, dtype=values.dtype)[...] = values
    check(tmp_path / "one", photograph)
    # a subgroup for each level
    group = zarr.open_group(tmp_path / "geo", mode="w")
    for name in "01":
        level = photograph if name == "0" else photograph[::2, ::2]
        group.create_group(name).create_array("data", shape=level.shape, dtype="u1")[...] = level
    group.attrs["multiscales"] = {"layout": [{"asset": "0"}, {"asset": "1"}]}
    assert check(tmp_path / "geo", photograph).level_shapes == ((400, 600), (200, 300))
    # what cannot be told
    group = zarr.open_group(tmp_path / "two", mode="w")
    for name in ("red", "green"):
        group.create_array(name, shape=(5, 5), dtype="u1")
    with pytest.raises(UnsupportedFormatError, match=r"2 arrays: green, red\. Give the path .*two/green"):
        open_raster(str(tmp_path / "two"))
    zarr.open_group(tmp_path / "none", mode="w")
    with pytest.raises(UnsupportedFormatError, match="without arrays"):
        open_raster(str(tmp_path / "none"))
    (tmp_path / "plain").mkdir()
    with pytest.raises(SourceIsDirectoryError, match="plain"):
        open_raster(str(tmp_path / "plain"))


@pytest.mark.parametrize("path", ["../other", "/etc", "a/../../other", "..", "a//b", "C:\\x", "a\0b"])
def test_groups_do_not_lead_outside(path: str, tmp_path: Path, photograph: NDArray[np.uint8]) -> None:
    make(tmp_path / "other", photograph)
    group = zarr.open_group(tmp_path / "a", mode="w")
    group.attrs["ome"] = {"multiscales": ome([path], "yxc")}
    with pytest.raises(DamagedFileError, match="outside"):
        open_raster(str(tmp_path / "a"))


def test_collections_take_a_zarr_folder_for_one_image(
    tmp_path: Path, workdir: Path, photograph: NDArray[np.uint8]
) -> None:
    make(tmp_path / "pictures/b.zarr", photograph)
    write_ours(tmp_path / "pictures/inner/a.zarr", photograph)
    np.save(tmp_path / "pictures/c.npy", photograph)
    frames = SimpleFrames.from_folder(tmp_path / "pictures", workdir=workdir)
    assert list(frames.image_ids) == ["b.zarr", "c.npy", "inner/a.zarr"]
    for backend in (None, "npy", "cog", "zarr", "auto"):
        for mode in ("PATH", "PIXELS"):
            frames = SimpleFrames.from_folder(
                tmp_path / "pictures", workdir=workdir, backend=backend, hashid_mode=mode
            )
            frames.prepare()
            for name in frames.image_ids:
                np.testing.assert_array_equal(frames.load_image(name), photograph)


@pytest.mark.parametrize("backend", [None, "auto", "npy"])
@pytest.mark.parametrize("shards", [None, (80, 80, 3), (400, 600, 3)])
def test_a_source_that_is_rewritten_in_part_is_read_anew(
    shards: Any, backend: str | None, tmp_path: Path, workdir: Path, photograph: NDArray[np.uint8]
) -> None:
    path = make(tmp_path / "a.zarr", photograph, shards=shards)
    frames = SimpleFrames({0: path}, workdir, backend)
    np.testing.assert_array_equal(frames.load_region(0), photograph)
    writer = zarr.open_array(path, mode="r+")
    writer[100:300, 50:70] = 9
    if backend == "npy":  # what is converted is compared with its source when it is opened
        POOL.forget(lambda key: True)
    expected = photograph.copy()
    expected[100:300, 50:70] = 9
    np.testing.assert_array_equal(frames.load_region(0), expected)


@pytest.mark.parametrize("compressors", [None, "auto"])
def test_a_shard_that_is_replaced_between_plan_and_fetch(
    compressors: Any, tmp_path: Path, photograph: NDArray[np.uint8]
) -> None:
    """Blocks are never taken from a shard by the index of the one that was there before."""
    old, new = photograph[:128, :64], 255 - photograph[:128, :64]
    new[:32, :32] = 0  # as nothing is stored for it, all other blocks lie elsewhere in their file
    options: dict[str, Any] = {"chunks": (32, 32, 3), "shards": (64, 64, 3), "compressors": compressors}
    level = open_raster(str(make(tmp_path / "a.zarr", old, **options))).full
    assert isinstance(level, ScatteredLevel)
    out = np.empty((32, 64, 3), np.uint8)
    plan = level.plan([WindowRead(level, Window(32, 0, 32, 64), out)])
    gone = level.plan([WindowRead(level, Window(0, 0, 32, 32), out[:, :32])])
    make(tmp_path / "b.zarr", new, **options)
    os.replace(tmp_path / "b.zarr/c/0/0/0", tmp_path / "a.zarr/c/0/0/0")
    noticed = np.empty((64, 64, 3), np.uint8)
    execute([WindowRead(level, Window(0, 0, 64, 64), noticed)])
    np.testing.assert_array_equal(noticed, new[:64])
    read_blocks(level, plan)
    np.testing.assert_array_equal(out, new[32:64])
    with pytest.raises(FailedReadError, match="taken away"):
        read_blocks(level, gone)


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    """A group whose second resolution is reduced along z, too, of pixels of half a micrometre."""
    planes = np.arange(0, 80, 10, dtype=np.uint8)[:, None, None] + np.zeros((8, 64, 64), np.uint8)
    group = zarr.open_group(tmp_path / "stack.zarr", mode="w")
    datasets: list[Any] = []
    for name, part in (("0", planes), ("1", planes[::2, ::2, ::2])):
        group.create_array(name, shape=part.shape, chunks=part.shape, dtype=part.dtype)[...] = part
        scale = {"type": "scale", "scale": [1, 0.5 * 2 ** int(name), 0.5 * 2 ** int(name)]}
        datasets.append({"path": name, "coordinateTransformations": [scale]})
    axes: list[Any] = [{"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"]
    first: Any = {"axes": axes, "datasets": datasets}
    second: Any = {"axes": axes, "datasets": datasets[1:]}
    group.attrs["ome"] = {"version": "0.5", "multiscales": [first, second]}
    return tmp_path / "stack.zarr"


@pytest.mark.parametrize("z", range(8))
def test_levels_that_are_reduced_in_depth_are_no_overviews(stack: Path, z: int) -> None:
    frames = SimpleFrames({"plane": subregion.Asset(str(stack), z=z, series=0)})
    assert (frames.load_region("plane", scale=0.5) == 10 * z).all()


@pytest.mark.parametrize(("series", "level", "size"), [(0, 0, 0.5), (0, 1, 1.0), (1, 0, 1.0)])
def test_size_of_pixels_is_that_of_the_chosen_picture(
    stack: Path, series: int, level: int, size: float
) -> None:
    found = subregion.open(stack, backend=None, z=0, series=series, level=level).pixel_size()
    assert found is not None
    assert (found.y, found.x) == (size, size)


def test_missing_series_is_no_damage(stack: Path) -> None:
    with pytest.raises(RecordError, match=r"series=2 .* has 2 of them"):
        subregion.open(stack, backend=None, series=2).shape  # noqa: B018 - it opens the file
