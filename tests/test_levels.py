"""Levels that are chosen: where they lie on the ground and how large their pixels are, as GDAL says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import tifffile
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import Resampling

import subregion
from slidefiles import big, write_pyramid, write_svs
from subregion import Asset, PixelSize, SimpleFrames, Window
from subregion.errors import NotGeoreferencedError

TO_WORLD = Affine(10, 0, 499980.5, 0, -12, 5600020.25)
ROWS, COLS = 448, 640


def write_cog(path: Path, place: str = "tags", point: bool = False) -> Path:
    """Write a picture with overviews as GDAL does; where it lies is in its tags, or beside it."""
    pixels = np.random.default_rng(1).integers(0, 255, (1, ROWS, COLS), np.uint8)
    profile: dict[str, Any] = {"driver": "GTiff", "width": COLS, "height": ROWS, "count": 1, "dtype": "uint8"}
    profile |= {"tiled": True, "blockxsize": 64, "blockysize": 64, "crs": "EPSG:32633", "transform": TO_WORLD}
    profile["profile"] = {"tags": "GDALGeoTIFF", "world": "BASELINE", "pam": "BASELINE"}[place]
    if place == "world":
        profile["tfw"] = "yes"
    with rasterio.open(path, "w", **profile) as file:
        if point:
            file.update_tags(AREA_OR_POINT="Point")
        file.write(pixels)
    with rasterio.open(path, "r+") as file:
        file.build_overviews([2, 4], Resampling.average)
    return path


@pytest.mark.parametrize("backend", [None, "auto", "cog", "zarr"])
@pytest.mark.parametrize(
    ("place", "point"), [("tags", False), ("tags", True), ("world", False), ("pam", False)]
)
def test_where_a_level_lies(tmp_path: Path, place: str, point: bool, backend: str | None) -> None:
    path = write_cog(tmp_path / "scene.tif", place, point)
    assert (tmp_path / "scene.tfw").exists() == (place == "world")
    for level in (0, 1, 2):
        chosen = {"overview_level": level - 1} if level else {}
        with rasterio.open(path, **chosen) as file:
            expected, shape, bounds = file.transform, file.shape, file.bounds
        frames = SimpleFrames({1: Asset(str(path), level=level)}, workdir=tmp_path / "w", backend=backend)
        for _ in range(2):  # from the source, and once it was read, from its copy
            found = frames.georeference(1)
            assert found.to_world.almost_equals(expected, 1e-6)
            assert found.bounds(*shape) == pytest.approx(tuple(bounds))
            size = frames.pixel_size(1)
            assert size is not None
            assert (size.y, size.x) == pytest.approx((12 * 2**level, 10 * 2**level))
            x, y = expected @ (16, 32)
            corner = x, y - 8 * 12 * 2**level, x + 8 * 10 * 2**level, y
            np.testing.assert_array_equal(
                frames.load_region(1, bounds=corner), frames.load_region(1, Window(32, 16, 8, 8))
            )


def test_copies_of_a_level_say_where_it_lies(tmp_path: Path) -> None:
    path = write_cog(tmp_path / "scene.tif")
    frames = SimpleFrames({1: Asset(str(path), level=1)}, workdir=tmp_path / "w", backend="cog")
    frames.prepare()
    (copy,) = (tmp_path / "w").rglob("*.tif")
    with rasterio.open(path, overview_level=0) as expected, rasterio.open(copy) as file:
        assert file.transform == expected.transform
        assert file.crs == expected.crs


def test_turned_levels(tmp_path: Path, photograph: NDArray[np.uint8]) -> None:
    path = tmp_path / "a.tif"
    grey = np.ascontiguousarray(big(photograph, ROWS, COLS)[..., 0])
    tags: Any = [(274, 3, 1, 6, True), (33550, 12, 3, (10, 12, 0)), (33922, 12, 6, (0, 0, 0, 5, 9, 0))]
    with tifffile.TiffWriter(path) as file:
        file.write(grey, subifds=1, tile=(64, 64), metadata=None, extratags=tags)
        file.write(np.ascontiguousarray(grey[::2, ::2]), subfiletype=1, tile=(64, 64))
    frames = SimpleFrames({1: Asset(str(path), level=1)}, orientation="upright", backend=None)
    assert frames[0].shape[:2] == (COLS // 2, ROWS // 2)
    to_world = frames.georeference(1).to_world
    # A quarter to the right: the last row, at the left of what is shown, is the southernmost.
    assert to_world @ (0, 0) == pytest.approx((5, 9 - 12 * ROWS))
    assert to_world @ (ROWS // 2, COLS // 2) == pytest.approx((5 + 10 * COLS, 9))


def test_sizes_of_levels(tmp_path: Path, photograph: NDArray[np.uint8]) -> None:
    slide, beside = big(photograph, ROWS, COLS), big(photograph, 40, 50)
    write_svs(tmp_path / "a.svs", slide, beside, 0.25)
    grey = np.ascontiguousarray(slide[..., 0])
    about = {"axes": "YX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.25}
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as file:
        file.write(grey, subifds=2, tile=(64, 64), metadata=about)
        for step in (2, 4):
            file.write(np.ascontiguousarray(grey[::step, ::step]), subfiletype=1, tile=(64, 64))
    write_pyramid(tmp_path / "a.tif", slide)
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+") as pyramid:
        shapes = [page.shape[:2] for page in pyramid.pages]
        assert shapes[1][0] * 2 == shapes[0][0]
        for code, value in ((282, (20000, 1)), (283, (40000, 1)), (296, 3)):
            pyramid.pages[0].tags[code].overwrite(value)  # type: ignore[union-attr]
    for name, size in (
        ("a.svs", PixelSize(0.25, 0.25)),
        ("a.ome.tif", PixelSize(0.25, 0.5)),
        ("a.tif", PixelSize(0.25, 0.5)),
    ):
        path = tmp_path / name
        full = subregion.open(path, backend=None)
        assert full.pixel_size() == size
        down = full.shape[0] // subregion.open(path, backend=None, level=1).shape[0]
        part = SimpleFrames({1: Asset(str(path), level=1)}, backend=None)
        assert part.pixel_size(1) == PixelSize(size.y * down, size.x * down)
        asked = size.y * down * 2, size.x * down * 2
        np.testing.assert_array_equal(
            part.load_region(1, Window(0, 0, 32, 32), resolution=asked),
            part.load_region(1, Window(0, 0, 32, 32), scale=0.5),
        )


def test_sizes_of_pages_and_series(tmp_path: Path) -> None:
    grey = np.zeros((64, 80), np.uint8)
    with tifffile.TiffWriter(tmp_path / "pages.tif") as file:
        for step, across in ((1, 20000), (3, 10000), (5, 5000)):
            part = np.ascontiguousarray(grey[::step, ::step])
            file.write(part, resolution=(across, across), resolutionunit="centimeter", metadata=None)
    with tifffile.TiffWriter(tmp_path / "series.ome.tif", ome=True) as file:
        for step in (1, 2):
            about = {"axes": "YX", "PhysicalSizeX": 0.5 * step, "PhysicalSizeY": 0.25 * step}
            file.write(np.ascontiguousarray(grey[::step, ::step]), metadata=about)
    path = tmp_path / "pages.tif"
    for place, count in (("page", 3), ("series", 2)):
        for number in range(count):
            chosen: Any = {place: number}
            image = subregion.open(path, backend=None, **chosen)
            size = {64: 0.5, 22: 1.0, 13: 2.0}[image.shape[0]]
            assert image.pixel_size() == PixelSize(size, size)
    path = tmp_path / "series.ome.tif"
    for number in (0, 1):
        found = subregion.open(path, backend=None, series=number).pixel_size()
        assert found == PixelSize(0.25 * (number + 1), 0.5 * (number + 1))


def test_other_pages_of_a_slide_have_no_size_of_its_own(
    tmp_path: Path, photograph: NDArray[np.uint8]
) -> None:
    write_svs(tmp_path / "a.svs", big(photograph, ROWS, COLS), big(photograph, 40, 50), 0.25)
    assert subregion.open(tmp_path / "a.svs", backend=None, page=0).pixel_size() == PixelSize(0.25, 0.25)
    assert subregion.open(tmp_path / "a.svs", backend=None, page=1).pixel_size() is None


@pytest.mark.parametrize("backend", ["npy", "cog", "zarr"])
@pytest.mark.parametrize("place", ["tags", "world", "pam"])
def test_what_lies_beside_a_file_that_is_gone_is_not_taken_for_its_level(
    tmp_path: Path, place: str, backend: str
) -> None:
    path = write_cog(tmp_path / "scene.tif", place)
    with rasterio.open(path, overview_level=0) as file:
        expected = file.transform
    asset = Asset(str(path), level=1)
    SimpleFrames({1: asset}, tmp_path / "w", backend, "GIVEN", id_to_hashid={1: "abc"}).prepare()
    path.unlink()
    frames = SimpleFrames({1: asset}, tmp_path / "w", backend, "GIVEN", id_to_hashid={1: "abc"})
    if place == "tags":
        (tmp_path / "scene.tfw").write_text("1\n0\n0\n-1\n5\n5\n")
        assert frames.georeference(1).to_world.almost_equals(expected, 1e-6)
        return
    with pytest.raises(NotGeoreferencedError, match="tells of the full resolution only"):
        frames.georeference(1)
    assert frames.pixel_size(1) is None
