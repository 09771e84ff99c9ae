"""Collections of images as their users meet them."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dask.array
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

import subregion
from pictures import save_png, tiff_file
from subregion import AlignableImageData, Asset, Frames, ImageRecord, SimpleFrames, Window
from subregion.errors import (
    ConfigError,
    RecordError,
    RegionError,
    RegionTypeError,
    SourceNotFoundError,
    UnknownChannelError,
    UnknownImageError,
)

PAD_MODES = ["constant", "edge", "reflect", "symmetric", "wrap"]


@pytest.fixture
def picture(tmp_path: Path, photograph: NDArray[np.uint8]) -> Path:
    path = tmp_path / "picture.png"
    save_png(path, photograph)
    return path


@pytest.fixture
def frames(picture: Path, workdir: Path) -> SimpleFrames:
    return SimpleFrames({"a": picture}, workdir=workdir, backend="cog")


def test_ids_are_any_hashable(picture: Path, photograph: NDArray[np.uint8]) -> None:
    ids = [7, "seven", (7, "x"), None, 2.5, frozenset({1})]
    frames = SimpleFrames(dict.fromkeys(ids, picture))
    assert list(frames.image_ids) == ids
    assert len(frames) == 6
    for image_id in ids:
        np.testing.assert_array_equal(frames.load_region(image_id, slice(0, 3)), photograph[:3])
    np.testing.assert_array_equal(frames[-1], photograph)


@pytest.mark.parametrize("image_id", ["b", 1, [], None])
def test_an_unknown_id_is_a_key_error(frames: SimpleFrames, image_id: Any) -> None:
    with pytest.raises(UnknownImageError) as caught:
        frames.load_region(image_id)
    assert isinstance(caught.value, KeyError)
    assert repr(image_id) in str(caught.value)


def test_a_misspelt_id_is_met_with_a_suggestion(picture: Path) -> None:
    with pytest.raises(UnknownImageError, match="Did you mean 'holiday_01'"):
        SimpleFrames({"holiday_01": picture}).load_region("holiday-01")


@pytest.mark.parametrize(
    ("index", "error"),
    [(1, RegionError), (-2, RegionError), ("a", RegionTypeError), (slice(1), RegionTypeError)],
)
def test_frames_are_indexed_by_position(frames: SimpleFrames, index: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        frames[index]


def test_from_folder_sorts_and_passes_over_what_is_hidden(tmp_path: Path, picture: Path) -> None:
    root = tmp_path / "folder"
    for name in ("b.png", "a/z.png", "a/b.jpg", ".hidden/c.png", ".d.png", "a-b.png"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(picture.read_bytes())
    assert list(SimpleFrames.from_folder(root).image_ids) == ["a-b.png", "a/b.jpg", "a/z.png", "b.png"]
    assert list(SimpleFrames.from_folder(root, "**/*.png").image_ids) == ["a-b.png", "a/z.png", "b.png"]
    assert list(SimpleFrames.from_folder(root, ["*.png", "a/*.jpg"]).image_ids) == [
        "a-b.png",
        "a/b.jpg",
        "b.png",
    ]
    with pytest.raises(SourceNotFoundError):
        SimpleFrames.from_folder(root / "nowhere")


def test_a_list_of_paths_is_met_with_advice(picture: Path) -> None:
    with pytest.raises(TypeError, match=r"dict\(enumerate\(paths\)\)"):
        SimpleFrames([picture])  # type: ignore[arg-type]  # what a user may try


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(-900, 900),
    st.integers(-1300, 1300),
    st.integers(0, 200),
    st.integers(0, 200),
    st.sampled_from(PAD_MODES),
)
def test_windows_are_what_padding_the_whole_picture_gives(
    frames: SimpleFrames,
    photograph: NDArray[np.uint8],
    row: int,
    col: int,
    height: int,
    width: int,
    mode: str,
) -> None:
    padded = np.pad(photograph, ((900, 900), (1300, 1300), (0, 0)), mode=mode)  # type: ignore[call-overload]
    expected = padded[row + 900 : row + 900 + height, col + 1300 : col + 1300 + width]
    got = frames.load_region("a", Window(row, col, height, width), fill=mode)
    assert got.shape == (height, width, 3)
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("mode", ["mean", "median", "maximum", "minimum", "linear_ramp"])
def test_computed_padding_starts_from_what_is_inside(
    frames: SimpleFrames, photograph: NDArray[np.uint8], mode: str
) -> None:
    got = frames.load_region("a", Window(-5, 580, 30, 40), fill=mode)
    expected = np.pad(photograph[:25, 580:], ((5, 0), (0, 20), (0, 0)), mode=mode)  # type: ignore[call-overload]
    np.testing.assert_array_equal(got, expected)
    with pytest.raises(RegionError, match="no pixel inside"):
        frames.load_region("a", Window(-50, 0, 10, 10), fill=mode)


@pytest.mark.parametrize(
    ("fill", "error"),
    [
        (256, ConfigError),
        (-1, ConfigError),
        (0.5, ConfigError),
        ("mirror", ConfigError),
        (np.nan, ConfigError),
    ],
)
def test_a_fill_that_does_not_fit_is_an_error(
    frames: SimpleFrames, fill: Any, error: type[Exception]
) -> None:
    for window in (Window(-1, 0, 5, 5), Window(1, 0, 5, 5)):
        with pytest.raises(error, match="allowed"):
            frames.load_region("a", window, fill=fill)
        with pytest.raises(error, match="allowed"):
            frames.load_regions([("a", window)], fill=fill)


def test_floats_are_surrounded_by_nan(tmp_path: Path, photograph: NDArray[np.uint8]) -> None:
    path = tmp_path / "a.tif"
    expected = tiff_file("f4", 2)(path, photograph)
    got = SimpleFrames({1: path}).load_region(1, Window(-1, -1, 3, 3))
    assert np.isnan(got[0]).all()
    assert np.isnan(got[:, 0]).all()
    np.testing.assert_array_equal(got[1:, 1:], expected[:2, :2])


def test_results_belong_to_the_caller(frames: SimpleFrames, photograph: NDArray[np.uint8]) -> None:
    for backend in (None, "npy", "cog", "zarr"):
        frames.backend = backend
        first = frames.load_region("a", (slice(0, 9), slice(0, 9)))
        first[:] = 0
        np.testing.assert_array_equal(frames.load_region("a", (slice(0, 9), slice(0, 9))), photograph[:9, :9])


def test_a_declared_size_is_checked(frames: SimpleFrames) -> None:
    assert frames.load_region("a", width=600, height=400).shape == (400, 600, 3)
    with pytest.raises(RecordError, match=r"width=500.*width=600"):
        frames.load_region("a", width=500)


def test_channels_of_a_file_by_name(tmp_path: Path, photograph: NDArray[np.uint8], workdir: Path) -> None:
    path = tmp_path / "a.tif"
    expected = tiff_file("u2", 4, tile=(64, 64))(path, photograph)

    class Named(Frames):
        """A collection of the reader's own."""

        @property
        def image_ids(self) -> Sequence[int]:
            return [1]

        def record(self, image_id: Any) -> ImageRecord:
            return ImageRecord(image_id, (Asset(str(path), channels=("r", "g", "b", "nir")),))

    for backend in (None, "npy", "cog", "zarr"):
        frames = Named(workdir=workdir, backend=backend)
        np.testing.assert_array_equal(frames.load_region(1, channels="nir|r"), expected[..., [3, 0]])
        np.testing.assert_array_equal(frames.load_region(1, channels=["g", "g"]), expected[..., [1, 1]])
        np.testing.assert_array_equal(frames.load_region(1, channels="<all>"), expected)
        np.testing.assert_array_equal(
            frames.load_region(1, (slice(2), slice(3), slice(-1, None)), channels="nir|r"),
            expected[:2, :3, :1],
        )
        np.testing.assert_array_equal(frames.load_image(1, channels="b"), expected[..., 2:3])
        with pytest.raises(UnknownChannelError, match="nir"):
            frames.load_region(1, channels="swir")
        image = AlignableImageData(frames.record(1), backend, workdir=workdir)
        assert image.shape == expected.shape
        np.testing.assert_array_equal(image[:9, :9], expected[:9, :9])
        (crop,) = image.load_region((slice(0, 9), slice(5, 9)), "g", fused=False)
        np.testing.assert_array_equal(crop.pixels, expected[:9, 5:9, 1:2])
        np.testing.assert_array_equal(crop.transform, np.eye(3))
        with pytest.raises(RegionError, match="steps"):
            image.load_region((slice(0, 9, 3), slice(5, 9)), "g", fused=False)
        assert crop.channels == ("g",)


def test_lazy_images_are_arrays(frames: SimpleFrames, photograph: NDArray[np.uint8]) -> None:
    lazy = frames.load_frame("a")
    assert lazy.shape == (400, 600, 3)
    assert lazy.dtype == np.uint8
    assert lazy.ndim == 3
    assert lazy.size == photograph.size
    assert lazy.nbytes == photograph.nbytes
    assert len(lazy) == 400
    np.testing.assert_array_equal(lazy[-5:], photograph[-5:])
    np.testing.assert_array_equal(lazy[..., 1:2], photograph[..., 1:2])
    np.testing.assert_array_equal(np.asarray(lazy), photograph)
    np.testing.assert_array_equal(np.asarray(lazy, dtype=np.float32), photograph.astype(np.float32))
    assert np.mean(lazy) == photograph.mean()
    np.testing.assert_array_equal(lazy[-1], photograph[-1])
    np.testing.assert_array_equal(lazy[3, :, 1], photograph[3, :, 1])
    np.testing.assert_array_equal(lazy[..., -2], photograph[..., -2])
    np.testing.assert_array_equal(lazy[5, 6, 2], photograph[5, 6, 2])
    np.testing.assert_array_equal(np.stack(list(lazy)[:3]), photograph[:3])
    for index in (400, -401, (0, 600), (0, 0, 3), (0, 0, 0, 0)):
        with pytest.raises(IndexError):
            lazy[index]
    with pytest.raises(TypeError, match="slice"):
        lazy[1.5]


def test_dask_reads_lazy_images_block_by_block(frames: SimpleFrames, photograph: NDArray[np.uint8]) -> None:
    lazy = frames.load_frame("a")
    array = dask.array.from_array(lazy, chunks=lazy.chunks)
    assert array.chunks[0][0] == 96
    np.testing.assert_array_equal(array.compute(), photograph)
    np.testing.assert_array_equal(array[100:300:3, 50:60].compute(), photograph[100:300:3, 50:60])
    np.testing.assert_array_equal(array[7].compute(), photograph[7])
    np.testing.assert_array_equal(array[..., 0].compute(), photograph[..., 0])


def test_matplotlib_shows_lazy_images(frames: SimpleFrames, photograph: NDArray[np.uint8]) -> None:
    import matplotlib as mpl

    mpl.use("agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots()
    shown = axes.imshow(frames.load_frame("a"))
    np.testing.assert_array_equal(shown.get_array(), photograph)
    plt.close(figure)


def test_nothing_is_opened_before_it_is_asked_for(tmp_path: Path) -> None:
    missing = tmp_path / "missing.png"
    lazy = SimpleFrames({1: missing}).load_frame(1)
    opened = subregion.open(missing)
    for image in (lazy, opened):
        with pytest.raises(FileNotFoundError):
            image.shape  # noqa: B018 - asking is the test


def test_auto_reads_in_place_what_is_tiled_or_small(
    tmp_path: Path, workdir: Path, photograph: NDArray[np.uint8]
) -> None:
    tiled, small, large, raw = (
        tmp_path / name for name in ("tiled.tif", "small.png", "large.png", "raw.tif")
    )
    tiff_file(tile=(128, 128), compression="zstd")(tiled, photograph)
    tiff_file()(raw, photograph)
    Image.fromarray(photograph[:100, :100]).save(small)
    save_png(large, photograph)
    frames = SimpleFrames({p.name: p for p in (tiled, small, large, raw)}, workdir=workdir, backend="auto")
    frames.prepare()
    assert [
        place.suffix for place in frames.cache_dpath.rglob("*.*") if place.suffix not in (".json", ".sums")
    ] == [".tif"]
    np.testing.assert_array_equal(frames.load_image("large.png"), photograph)
    np.testing.assert_array_equal(frames.load_image("tiled.tif"), photograph)


def test_a_million_paths_cost_nothing() -> None:
    paths = {number: f"images/{number:07}.png" for number in range(1_000_000)}
    began = time.perf_counter()
    frames = SimpleFrames(paths)
    took = time.perf_counter() - began
    assert len(frames) == 1_000_000
    assert frames.record(999_999).default_asset.path.endswith("images/0999999.png")
    assert took < 5  # a second is promised; this only guards against opening them


def test_importing_loads_nothing_heavy() -> None:
    code = "import sys, subregion; print(sorted({'numpy', 'PIL', 'tifffile', 'rich'} & set(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout == "[]\n"


def test_every_public_name_is_there() -> None:
    for name in subregion.__all__:
        assert getattr(subregion, name) is not None
    assert set(subregion.__all__) <= set(dir(subregion))
    with pytest.raises(AttributeError):
        subregion.nothing  # noqa: B018 - asking is the test


@pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")  # rasterio with affine 3
def test_georeferencing_is_kept(tmp_path: Path, workdir: Path, photograph: NDArray[np.uint8]) -> None:
    import rasterio
    from rasterio.transform import from_origin

    path = tmp_path / "geo.tif"
    profile = {
        "driver": "GTiff", "height": 400, "width": 600, "count": 3, "dtype": "uint8", "nodata": 7,
        "crs": "EPSG:32633", "transform": from_origin(500_000, 5_200_000, 10, 10), "compress": "deflate",
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as file:
        file.write(np.moveaxis(photograph, -1, 0))
        file.update_tags(1, wavelength="red")
    frames = SimpleFrames({1: path}, workdir=workdir, backend="cog")
    frames.prepare()
    (copy,) = frames.cache_dpath.rglob("*.tif")
    with rasterio.open(path) as source, rasterio.open(copy) as converted:
        assert converted.crs == source.crs
        assert converted.transform == source.transform
        assert converted.nodata == source.nodata
        assert converted.tags(1) == source.tags(1)
        assert converted.overviews(1) == [2, 4, 8]
        np.testing.assert_array_equal(converted.read(), source.read())
