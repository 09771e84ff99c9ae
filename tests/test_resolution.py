"""Sizes of pixels, and reads at one resolution of images that differ in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from numpy.typing import NDArray

import subregion
from single import Single
from slidefiles import big, write_ndpi, write_philips, write_pyramid, write_scn, write_svs
from subregion import Asset, CocoFrames, ImageRecord, PixelSize, SimpleFrames, Window
from subregion.errors import ConfigError, RecordError

ROWS, COLS = 448, 640


@pytest.fixture
def slide(photograph: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return big(photograph, ROWS, COLS)


@pytest.fixture
def beside(photograph: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return big(photograph, 40, 50)


def size_of(path: Path) -> PixelSize | None:
    return SimpleFrames({1: path}).pixel_size(1)


def test_slides_tell(tmp_path: Path, slide: NDArray[np.uint8], beside: NDArray[np.uint8]) -> None:
    write_svs(tmp_path / "a.svs", slide, beside, 0.2525)
    write_ndpi(tmp_path / "a.ndpi", slide, beside)
    write_scn(tmp_path / "a.scn", slide, beside)
    write_philips(tmp_path / "a.tiff", slide, beside)
    sizes = {}
    openslide = pytest.importorskip("openslide")
    for path in sorted(tmp_path.iterdir()):
        size = size_of(path)
        assert size is not None
        assert size.unit == "micrometre"
        with openslide.OpenSlide(path) as file:
            expected = [float(file.properties[f"openslide.mpp-{axis}"]) for axis in "yx"]
        assert [size.y, size.x] == pytest.approx(expected)
        sizes[path.suffix] = size.x
    assert sizes == pytest.approx({".svs": 0.2525, ".ndpi": 0.5, ".scn": 1.0, ".tiff": 0.25})


def test_ome_and_imagej_tell(tmp_path: Path, slide: NDArray[np.uint8]) -> None:
    grey = slide[..., 0]
    metadata = {"axes": "YX", "PhysicalSizeX": 325, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 0.65}
    tifffile.imwrite(tmp_path / "a.ome.tif", grey, metadata=metadata)
    assert size_of(tmp_path / "a.ome.tif") == PixelSize(0.65, 0.325)
    for unit, expected in (("Å", PixelSize(0.65, 0.0325)), ("Mm", None), ("furlong", None)):
        tifffile.imwrite(tmp_path / "b.ome.tif", grey, metadata=metadata | {"PhysicalSizeXUnit": unit})
        assert size_of(tmp_path / "b.ome.tif") == expected
    options: dict[str, Any] = {"imagej": True, "metadata": {"unit": "um"}}
    tifffile.imwrite(tmp_path / "j.tif", grey, resolution=(2, 4), **options)
    assert size_of(tmp_path / "j.tif") == PixelSize(0.25, 0.5)


@pytest.mark.parametrize(
    ("resolution", "unit", "expected"),
    [
        ((20000, 40000), "centimeter", PixelSize(0.25, 0.5)),
        ((25400, 25400), "inch", PixelSize(1, 1)),
        ((300, 300), "inch", None),
        ((72, 72), "inch", None),
        ((0, 0), "centimeter", None),
        ((20000, 20000), "none", None),
    ],
)
def test_resolution_tags(
    tmp_path: Path, slide: NDArray[np.uint8], resolution: Any, unit: str, expected: PixelSize | None
) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, slide, resolution=resolution, resolutionunit=unit, metadata=None)
    assert size_of(path) == expected


def test_ngff_tells(tmp_path: Path, slide: NDArray[np.uint8]) -> None:
    axes: list[Any] = [{"name": name, "type": "space", "unit": "nanometer"} for name in "yx"]
    scales = [{"type": "scale", "scale": [500, 250]}]
    multiscale: Any = {"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": scales}]}
    for name, expected in (("a", PixelSize(0.5, 0.25)), ("b", None)):
        group = zarr.open_group(tmp_path / f"{name}.zarr", mode="w", zarr_format=3)
        group.create_array("0", data=slide[..., 0])
        group.attrs["ome"] = {"version": "0.5", "multiscales": [multiscale]}
        assert size_of(tmp_path / f"{name}.zarr") == expected
        axes[0].pop("unit", None)


def test_the_ground_tells(tmp_path: Path, slide: NDArray[np.uint8]) -> None:
    rasterio = pytest.importorskip("rasterio")
    for crs, unit in (("EPSG:32633", "metre"), ("EPSG:4326", "degree"), (None, "unknown")):
        path = tmp_path / f"{unit}.tif"
        transform = rasterio.transform.from_origin(10, 50, 0.5, 0.25)
        with rasterio.open(path, "w", "GTiff", COLS, ROWS, 1, crs, transform, "uint8") as file:
            file.write(slide[..., 0], 1)
        assert size_of(path) == PixelSize(0.25, 0.5, unit)
    frames = SimpleFrames({1: path})
    np.testing.assert_array_equal(
        frames.load_region(1, resolution=(0.5, 1)), frames.load_region(1, scale=1 / 2)
    )


def test_pictures_that_are_turned(tmp_path: Path, slide: NDArray[np.uint8]) -> None:
    path = tmp_path / "a.tif"
    extra = [(274, 3, 1, 6, True)]
    tifffile.imwrite(
        path, slide, resolution=(20000, 40000), resolutionunit="centimeter", metadata=None, extratags=extra
    )
    assert size_of(path) == PixelSize(0.25, 0.5)
    assert SimpleFrames({1: path}, orientation="upright").pixel_size(1) == PixelSize(0.5, 0.25)


def test_files_on_another_grid(tmp_path: Path, slide: NDArray[np.uint8]) -> None:
    from affine import Affine

    path = tmp_path / "a.tif"
    tifffile.imwrite(path, slide, resolution=(20000, 20000), resolutionunit="centimeter", metadata=None)
    record = ImageRecord(1, (Asset(str(path), to_image=Affine.scale(2, 4)),))
    assert Single(record).pixel_size(1) == PixelSize(0.125, 0.25)


def test_reads_at_one_resolution(tmp_path: Path, slide: NDArray[np.uint8], beside: NDArray[np.uint8]) -> None:
    write_svs(tmp_path / "a.svs", slide, beside, 0.25)
    write_ndpi(tmp_path / "b.ndpi", slide, beside)
    write_scn(tmp_path / "c.scn", slide, beside)
    scales = {"a.svs": 0.25, "b.ndpi": 0.5, "c.scn": 1.0}
    frames = SimpleFrames.from_folder(tmp_path)
    requests = []
    for name, scale in scales.items():
        window = Window(64, 96, round(64 / scale), round(96 / scale))
        requests.append((name, window))
        one = frames.load_region(name, window, resolution=1.0)
        np.testing.assert_array_equal(one, frames.load_region(name, window, scale=scale))
        assert frames.explain(name, window, resolution=1.0).shape == (64, 96, 3)
        image = frames.load_alignable(name)
        np.testing.assert_array_equal(image.load_region(window, resolution=1.0), one)
    batch = frames.load_regions(requests, resolution=1.0)
    assert batch.shape == (3, 64, 96, 3)
    for (name, window), pixels in zip(requests, batch, strict=True):
        np.testing.assert_array_equal(pixels, frames.load_region(name, window, resolution=1.0))
    (part,) = frames.explain("a.svs", resolution=1.0).files
    assert part.level == 1
    # Pixels that are as large as they are asked for are those that are stored.
    assert frames.explain("c.scn", requests[2][1], resolution=1).files[0].how == "copied"


def test_lazy_arrays(tmp_path: Path, slide: NDArray[np.uint8], beside: NDArray[np.uint8]) -> None:
    pytest.importorskip("dask")
    pytest.importorskip("xarray")
    write_svs(tmp_path / "a.svs", slide, beside, 0.25)
    frames = SimpleFrames({1: tmp_path / "a.svs"})
    expected = frames.load_region(1, scale=1 / 2)
    np.testing.assert_array_equal(frames.to_dask(1, resolution=0.5).compute(), expected)
    np.testing.assert_array_equal(frames.to_xarray(1, resolution=0.5).values, expected)
    assert subregion.open(tmp_path / "a.svs").pixel_size() == PixelSize(0.25, 0.25)


def test_clips(tmp_path: Path, slide: NDArray[np.uint8], beside: NDArray[np.uint8]) -> None:
    images = []
    for number, mpp in enumerate((0.25, 0.25, 0.5)):
        write_svs(tmp_path / f"{number}.svs", slide, beside, mpp)
        images.append({"id": number, "file_name": f"{number}.svs", "video_id": 1, "frame_index": number})
    frames = CocoFrames({"images": images, "videos": [{"id": 1}]}, root=tmp_path, backend=None)
    clip = frames.load_clip(1, frames=[0, 1], space="image", resolution=0.5)
    np.testing.assert_array_equal(clip[0], frames.load_region(0, scale=1 / 2))
    with pytest.raises(RecordError, match="not of one size"):
        frames.load_clip(1, space="image", resolution=0.5)


def test_what_has_no_meaning(tmp_path: Path, slide: NDArray[np.uint8], beside: NDArray[np.uint8]) -> None:
    write_pyramid(tmp_path / "a.tif", slide)
    write_svs(tmp_path / "a.svs", slide, beside, None)
    frames = SimpleFrames.from_folder(tmp_path)
    for name in frames.image_ids:
        assert frames.pixel_size(name) is None
        for read in (frames.load_region, frames.explain, frames.to_dask):
            with pytest.raises(ConfigError, match=r"resolution=0\.5 needs the size"):
                read(name, resolution=0.5)
        with pytest.raises(ConfigError, match="needs the size"):
            frames.load_regions([(name, None)], resolution=0.5)
    with pytest.raises(ConfigError, match="not both"):
        frames.load_region("a.tif", scale=0.5, resolution=0.5)
    for value in (0, -1, "fine", float("nan"), (1, 2, 3), True):
        with pytest.raises(ConfigError, match="above 0"):
            frames.load_region("a.tif", resolution=value)  # type: ignore[arg-type]  # that is the point
    write_svs(tmp_path / "b.svs", slide, beside, 0.25)
    picture = subregion.open(tmp_path / "b.svs", None, picture="label")
    assert picture.pixel_size() is None


def test_a_replaced_file_is_looked_at_again(
    tmp_path: Path, slide: NDArray[np.uint8], beside: NDArray[np.uint8]
) -> None:
    path = tmp_path / "a.svs"
    frames = SimpleFrames({1: path})
    for mpp in (0.25, 0.5):
        path.unlink(missing_ok=True)
        write_svs(path, slide, beside, mpp)
        assert frames.pixel_size(1) == PixelSize(mpp, mpp)
