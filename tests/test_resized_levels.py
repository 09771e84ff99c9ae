"""Overviews that GDAL makes are resized copies, worth the ratio of the sizes; those made here are halves."""

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
from rasterio.shutil import copy

from subregion import Asset, SimpleFrames, Window
from subregion.convert.cog import CogConfig, write_cog

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

TO_WORLD = Affine(10, 0, 499980.5, 0, -12, 5600020.25)
#: Odd all the way down: 1503, 751, 375, 187, and 1007, 503, 251, 125.
ROWS, COLS = 1007, 1503
#: Pixels at the border, which a filter makes of less than the others.
MARGIN = 4


def ramps() -> NDArray[np.float32]:
    """Two bands: the column of each pixel, and its row."""
    rows, cols = np.mgrid[:ROWS, :COLS].astype(np.float32)
    return np.stack([cols, rows])


def write_scene(path: Path, *, placed: bool = True, nodata: float | None = None) -> Path:
    profile: dict[str, Any] = {
        "driver": "GTiff",
        "width": COLS,
        "height": ROWS,
        "count": 2,
        "dtype": "float32",
    }
    profile |= {"tiled": True, "blockxsize": 128, "blockysize": 128, "nodata": nodata}
    if placed:
        profile |= {"crs": "EPSG:32633", "transform": TO_WORLD}
    with rasterio.open(path, "w", **profile) as file:
        file.write(ramps())
    return path


def rebuild(path: Path, how: str) -> Path:
    with rasterio.open(path, "r+") as file:
        file.build_overviews([2, 4, 8], Resampling[how])
    return path


def write_gdal(folder: Path, writer: str, how: str = "average", placed: bool = True) -> Path:
    """Write a scene with overviews whose sizes are rounded down, by the COG driver, or up."""
    scene = write_scene(folder / "scene.tif", placed=placed)
    if writer == "gdaladdo":
        return rebuild(scene, how)
    options = {"overview_resampling": how.upper(), "overview_count": 3, "blocksize": 128}
    copy(scene, folder / "cog.tif", driver="COG", **options)
    return folder / "cog.tif"


def check_ramps(pixels: NDArray[Any], scale: float, off: float = 0.05) -> None:
    """Compare what was read of the whole ramps with where the centres of its pixels lie."""
    rows, cols = ((np.arange(size) + 0.5) / scale - 0.5 for size in pixels.shape[:2])
    inner = slice(MARGIN, -MARGIN)
    assert np.abs(pixels[inner, inner, 0] - cols[None, inner]).max() < off
    assert np.abs(pixels[inner, inner, 1] - rows[inner, None]).max() < off


@pytest.mark.parametrize("placed", [True, False])
@pytest.mark.parametrize("how", ["average", "bilinear"])
@pytest.mark.parametrize("writer", ["cog", "gdaladdo"])
def test_what_is_read_lies_where_it_is(tmp_path: Path, writer: str, how: str, placed: bool) -> None:
    frames = SimpleFrames({1: str(write_gdal(tmp_path, writer, how, placed))})
    for level in (1, 2, 3):
        scale = 1 / 2**level
        assert frames.explain(1, scale=scale).files[0].level == level
        check_ramps(frames.load_region(1, scale=scale), scale)
        window = Window(ROWS - 200, COLS - 240, 160, 160)
        part = frames.load_region(1, window, scale=scale)
        centre = (window.col + 80 - 0.5, window.row + 80 - 0.5)
        np.testing.assert_allclose(part.mean((0, 1)), centre, atol=0.05)


@pytest.mark.parametrize("writer", ["cog", "gdaladdo"])
def test_levels_below_one_that_is_chosen(tmp_path: Path, writer: str) -> None:
    path = write_gdal(tmp_path, writer)
    with rasterio.open(path, overview_level=0) as file:
        across, down = COLS / file.width, ROWS / file.height
    for page, series in ((None, None), (0, None), (None, 0)):
        frames = SimpleFrames({1: Asset(str(path), level=1, page=page, series=series)})
        pixels = frames.load_region(1, scale=1 / 2)
        assert frames.explain(1, scale=1 / 2).files[0].level == 1
        rows, cols = ((np.arange(size) + 0.5) * 2 for size in pixels.shape[:2])
        inner = slice(MARGIN, -MARGIN)
        off = np.abs(pixels[inner, inner, 0] - (cols * across - 0.5)[None, inner]).max()
        assert max(off, np.abs(pixels[inner, inner, 1] - (rows * down - 0.5)[inner, None]).max()) < 0.02


@pytest.mark.parametrize("backend", [None, "cog", "zarr", "npy"])
@pytest.mark.parametrize("writer", ["cog", "gdaladdo"])
def test_levels_lie_where_gdal_places_them(tmp_path: Path, writer: str, backend: str | None) -> None:
    path = write_gdal(tmp_path, writer)
    for level in (1, 2, 3):
        with rasterio.open(path, overview_level=level - 1) as file:
            expected = file.transform
        frames = SimpleFrames({1: Asset(str(path), level=level)}, workdir=tmp_path / "w", backend=backend)
        for _ in range(2):  # from the source, and once it was read, from its copy
            found = frames.georeference(1)
            np.testing.assert_allclose(found.to_world[:6], expected[:6], rtol=1e-12)
            size = frames.pixel_size(1)
            assert size is not None
            assert (size.y, size.x) == pytest.approx((-expected.e, expected.a), rel=1e-12)
            left, top = expected @ (100, 60)
            right, bottom = expected @ (130, 90)
            assert frames.window(1, (left, bottom, right, top)) == Window(60, 100, 30, 30)
            frames.load_image(1)


@pytest.mark.parametrize("backend", ["cog", "zarr", "npy"])
@pytest.mark.parametrize("writer", ["cog", "gdaladdo"])
def test_copies_have_levels_of_their_own(tmp_path: Path, writer: str, backend: str) -> None:
    path = write_gdal(tmp_path, writer)
    frames = SimpleFrames({1: str(path)}, workdir=tmp_path / "w", backend=backend)
    for level in (1, 2, 3):
        check_ramps(frames.load_region(1, scale=1 / 2**level), 1 / 2**level)
        if backend != "npy":
            part = frames.explain(1, scale=1 / 2**level).files[0]
            assert (part.level, part.how) == (level, "copied")


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Write a cloud-optimized GeoTIFF with this library, of a value for what is missing."""
    path, pixels = tmp_path / "own.tif", np.moveaxis(ramps(), 0, -1)
    write_cog(path, pixels.shape, "f4", [pixels], CogConfig(blocksize=128), nodata=-1)
    return path


def test_files_of_this_library_are_halved(own: Path) -> None:
    for _ in range(2):  # and after GDAL wrote a note into it
        frames = SimpleFrames({1: str(own)})
        for level in (1, 2, 3):
            check_ramps(frames.load_region(1, scale=1 / 2**level), 1 / 2**level)
            assert frames.explain(1, scale=1 / 2**level).files[0].how == "copied"
        with rasterio.open(own, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as file:
            file.update_tags(note="checked")


def test_gdal_may_have_made_them_anew(own: Path) -> None:
    with rasterio.open(own, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as file:
        file.build_overviews([2, 4, 8], Resampling.average)
    frames = SimpleFrames({1: str(own)})
    for level in (1, 2, 3):
        check_ramps(frames.load_region(1, scale=1 / 2**level), 1 / 2**level)


def test_without_a_sign_they_are_taken_for_halves(tmp_path: Path) -> None:
    pixels = ramps()[0]
    for placed in (False, True):
        tags = [(33550, 12, 3, (10.0, 10.0, 0.0), True)] if placed else []
        path = tmp_path / f"{placed}.tif"
        with tifffile.TiffWriter(path) as file:
            file.write(pixels, tile=(128, 128), metadata=None, photometric="minisblack", extratags=tags)
            half = pixels[::2, ::2]
            file.write(half, subfiletype=1, tile=(128, 128), metadata=None, photometric="minisblack")
        frames = SimpleFrames({1: str(path)})
        how = frames.explain(1, scale=1 / 2).files[0]
        assert (how.level, how.how == "copied") == (1, not placed)
        got = frames.load_region(1, scale=1 / 2)
        assert np.abs(got[..., 0] - half).max() < 2  # at the far end, less than a pixel of the level
