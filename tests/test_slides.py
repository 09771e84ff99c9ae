"""Whole slides of several scanners against OpenSlide and tifffile."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

import subregion
from slidefiles import big, reduced, write_ndpi, write_philips, write_pyramid, write_scn, write_svs
from subregion import Asset, SimpleFrames, Window
from subregion.errors import RecordError, UnsupportedFormatError
from subregion.formats.open import open_raster
from subregion.views import View

openslide = pytest.importorskip("openslide")

ROWS, COLS = 411, 613
#: Rows and columns of a level that OpenSlide shows at an offset.
Offset = tuple[int, int]


@pytest.fixture
def slide(photograph: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return big(photograph, ROWS, COLS)


@pytest.fixture
def beside(photograph: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return big(photograph[100:200, 100:225], 40, 50)


def by_openslide(path: Path, level: int, window: Window, offset: Offset = (0, 0)) -> NDArray[Any]:
    with openslide.OpenSlide(path) as file:
        down = round(file.level_downsamples[level])
        place = (window.col * down + offset[1], window.row * down + offset[0])
        return np.asarray(file.read_region(place, level, (window.width, window.height)))[..., :3]


def windows(shape: tuple[int, int]) -> list[Window]:
    rng = np.random.default_rng(shape[0])
    found = []
    for _ in range(8):
        height, width = (int(rng.integers(1, min(90, size) + 1)) for size in shape)
        row, col = int(rng.integers(0, shape[0] - height + 1)), int(rng.integers(0, shape[1] - width + 1))
        found.append(Window(row, col, height, width))
    return found


def check_levels(
    path: Path, shapes: list[tuple[int, int]], offset: Offset = (0, 0), compared: int = 3
) -> None:
    """Compare windows of so many levels with OpenSlide."""
    raster = open_raster(str(path))
    assert list(raster.level_shapes) == shapes
    for level, shape in enumerate(shapes[:compared]):
        for window in windows(shape):
            expected = by_openslide(path, level, window, offset)
            np.testing.assert_array_equal(raster.read(window, level=level), expected)


def pages(path: Path) -> list[NDArray[Any]]:
    with tifffile.TiffFile(path) as file:
        return [page.asarray() for page in file.pages]


def check_pages(path: Path, numbers: list[int]) -> None:
    """Compare every level with the page that it is, as tifffile decodes it."""
    raster, stored = open_raster(str(path)), pages(path)
    assert len(raster.level_shapes) == len(numbers)
    for level, number in enumerate(numbers):
        rows, cols = raster.level_shapes[level]
        got = raster.read(Window(0, 0, rows, cols), level=level)
        np.testing.assert_array_equal(got, stored[number][:rows, :cols])


@pytest.mark.parametrize("shape", [(416, 608), (ROWS, COLS)])
def test_aperio(
    tmp_path: Path, slide: NDArray[np.uint8], beside: NDArray[np.uint8], shape: tuple[int, int]
) -> None:
    path = tmp_path / "slide.svs"
    write_svs(path, big(slide, *shape), beside)
    with openslide.OpenSlide(path) as file:
        shapes = [size[::-1] for size in file.level_dimensions]
        associated = {name: np.asarray(each)[..., :3] for name, each in file.associated_images.items()}
    assert shapes == [(shape[0] // by, shape[1] // by) for by in (1, 4, 16)]
    # Where sizes are no multiples, OpenSlide moves windows of its smaller levels by parts of pixels.
    check_levels(path, shapes, compared=3 if shape == (416, 608) else 1)
    check_pages(path, [0, 2, 3])
    assert set(associated) == {"label", "macro", "thumbnail"}
    for name, expected in associated.items():
        np.testing.assert_array_equal(subregion.open(path, None, picture=name)[:], expected)


def test_a_quarter_of_an_aperio_reads_its_level(
    tmp_path: Path, slide: NDArray[np.uint8], beside: NDArray[np.uint8]
) -> None:
    path = tmp_path / "slide.svs"
    write_svs(path, slide[:400, :600], beside)
    frames = SimpleFrames({"slide": path})
    (part,) = frames.explain("slide", scale=1 / 4).files
    assert (part.level, part.level_shape, part.how) == (1, (100, 150), "copied")
    np.testing.assert_array_equal(frames.load_region("slide", scale=1 / 4), pages(path)[2])


def test_leica(tmp_path: Path, slide: NDArray[np.uint8], beside: NDArray[np.uint8]) -> None:
    path = tmp_path / "slide.scn"
    write_scn(path, big(slide, 416, 608), beside)
    with openslide.OpenSlide(path) as file:
        offset = tuple(int(file.properties[f"openslide.bounds-{side}"]) for side in ("y", "x"))
        assert offset == (416, 608)
        assert file.level_count == 3
        macro = np.asarray(file.associated_images["macro"])[..., :3]
    check_levels(path, [(416, 608), (104, 152), (26, 38)], offset)
    check_pages(path, [2, 3, 4])
    np.testing.assert_array_equal(subregion.open(path, None, picture="macro")[:], macro)


def test_philips(tmp_path: Path, slide: NDArray[np.uint8], beside: NDArray[np.uint8]) -> None:
    path = tmp_path / "slide.tiff"
    write_philips(path, big(slide, 448, 640), beside)
    with openslide.OpenSlide(path) as file:
        shapes = [size[::-1] for size in file.level_dimensions]
        associated = {name: np.asarray(each)[..., :3] for name, each in file.associated_images.items()}
    assert shapes == [(448, 640), (224, 320), (112, 160)]
    check_levels(path, shapes)
    assert {"label", "macro"} <= set(associated)
    for name in ("label", "macro"):
        np.testing.assert_array_equal(subregion.open(path, None, picture=name)[:], associated[name])


@pytest.mark.parametrize("units", [8, 16])
def test_hamamatsu(tmp_path: Path, slide: NDArray[np.uint8], beside: NDArray[np.uint8], units: int) -> None:
    path = tmp_path / "slide.ndpi"
    write_ndpi(path, big(slide, 408, 640), beside, units)
    with openslide.OpenSlide(path) as file:
        shapes = [size[::-1] for size in file.level_dimensions][:3]
        macro = np.asarray(file.associated_images["macro"])[..., :3]
    assert shapes == [(408, 640), (204, 320), (102, 160)]
    check_levels(path, shapes)
    check_pages(path, [0, 1, 2])
    assert open_raster(str(path)).block == (8, 8 * units)
    np.testing.assert_array_equal(subregion.open(path, None, picture="macro")[:], macro)


def test_intervals_that_are_no_grid_are_told(
    tmp_path: Path, slide: NDArray[np.uint8], beside: NDArray[np.uint8]
) -> None:
    path = tmp_path / "slide.ndpi"
    write_ndpi(path, big(slide, 408, 648), beside, units=4)  # 81 units in a row
    with pytest.raises(UnsupportedFormatError, match="restart intervals"):
        open_raster(str(path))


def test_pages_of_a_pyramid(tmp_path: Path, slide: NDArray[np.uint8]) -> None:
    for flagged in (False, True):
        path = tmp_path / f"{flagged}.tif"
        write_pyramid(path, slide, flagged)
        check_pages(path, [0, 1, 2])


def test_pages_of_a_stack_are_no_pyramid(tmp_path: Path, slide: NDArray[np.uint8]) -> None:
    for name, other in {"same": slide, "odd": slide[:200, :307], "third": reduced(slide, 3)}.items():
        path = tmp_path / f"{name}.tif"
        with tifffile.TiffWriter(path) as file:
            for pixels in (slide, other):
                file.write(pixels, tile=(64, 64), photometric="rgb", metadata=None)
        assert len(open_raster(str(path)).level_shapes) == 1


def test_what_is_not_there_is_told(
    tmp_path: Path, slide: NDArray[np.uint8], beside: NDArray[np.uint8]
) -> None:
    path = tmp_path / "slide.scn"
    write_scn(path, slide, beside)
    with pytest.raises(RecordError, match="there is: 'macro'"):
        _ = subregion.open(path, None, picture="label").shape
    with pytest.raises(RecordError, match="allowed are 'label'"):
        subregion.open(path, None, picture="barcode")
    np.save(tmp_path / "other.npy", slide)
    with pytest.raises(RecordError, match="picture='label' is asked for"):
        _ = subregion.open(tmp_path / "other.npy", None, picture="label").shape


def test_pictures_have_entries_and_blocks_of_their_own(
    tmp_path: Path, slide: NDArray[np.uint8], beside: NDArray[np.uint8]
) -> None:
    path = tmp_path / "slide.svs"
    write_svs(path, slide, beside)
    for backend in ("npy", "cog", None):
        for name, expected in (("label", 4), ("macro", 5)):
            for _ in range(3):
                got = subregion.open(path, backend, tmp_path / "work", picture=name)[:]
                np.testing.assert_array_equal(got, pages(path)[expected])


@pytest.mark.parametrize("write", [write_svs, write_scn, write_philips, write_ndpi])
def test_cut_slides_are_errors_or_right(
    tmp_path: Path,
    slide: NDArray[np.uint8],
    beside: NDArray[np.uint8],
    write: Callable[[Path, Any, Any], None],
) -> None:
    whole = tmp_path / f"whole.{'ndpi' if write is write_ndpi else 'tif'}"
    write(whole, big(slide, 448, 640), beside)
    data, shape = whole.read_bytes(), open_raster(str(whole)).shape
    for part in np.linspace(0.05, 0.99, 12):
        path = tmp_path / f"cut{whole.suffix}"
        path.write_bytes(data[: int(len(data) * part)])
        try:
            raster = open_raster(str(path))
            levels = raster.level_shapes
        except subregion.SubregionError:
            continue
        assert raster.shape == shape
        assert set(levels) <= set(open_raster(str(whole)).level_shapes)


@pytest.mark.parametrize(
    ("write", "numbers"),
    [(write_svs, [0, 2, 3]), (write_scn, [2, 3, 4]), (write_philips, [0, 1, 2]), (write_ndpi, [0, 1, 2])],
)
def test_levels_are_those_of_the_slide(
    tmp_path: Path,
    slide: NDArray[np.uint8],
    beside: NDArray[np.uint8],
    write: Callable[[Path, Any, Any], None],
    numbers: list[int],
) -> None:
    path = tmp_path / f"slide.{'ndpi' if write is write_ndpi else 'tif'}"
    write(path, slide[:408, :512], beside)
    stored, raster = pages(path), open_raster(str(path))
    for level, ((rows, cols), number) in enumerate(zip(raster.level_shapes, numbers, strict=True)):
        expected = stored[number][:rows, :cols]
        np.testing.assert_array_equal(subregion.open(path, None, level=level)[:], expected)
        green = subregion.open(path, None, level=level, c=1)
        np.testing.assert_array_equal(green[:], expected[..., 1:2])
        frames = SimpleFrames({1: Asset(str(path), level=level)}, backend=None)
        size, full = frames.pixel_size(1), subregion.open(path, None).pixel_size()
        assert size is not None
        assert full is not None
        assert size.y / full.y == pytest.approx(raster.shape[0] / rows, rel=0.05)
    with pytest.raises(RecordError, match="it has 3 of them"):
        subregion.open(path, None, level=3)[:]


def test_levels_of_what_is_beside_a_leica(
    tmp_path: Path, slide: NDArray[np.uint8], beside: NDArray[np.uint8]
) -> None:
    path = tmp_path / "slide.scn"
    write_scn(path, slide, slide[:200, :300])
    stored = pages(path)
    for view, number in ((View(page=0), 0), (View(page=3), 3), (View(series=0, level=1), 1)):
        raster = open_raster(str(path), view)
        np.testing.assert_array_equal(raster.read(Window(0, 0, *raster.shape[:2])), stored[number])
    assert open_raster(str(path), View(page=0)).level_shapes == ((200, 300),)
