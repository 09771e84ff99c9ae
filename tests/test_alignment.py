"""Channels of several files on one grid: compared with a slow warp of the whole image, cropped."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips
import tifffile
from affine import Affine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from single import Single
from subregion import AlignableImageData, Asset, ImageRecord, SimpleFrames, Window
from subregion.errors import ConfigError, RecordError, RegionError, UnknownChannelError
from subregion.geometry.placement import OutputGrid
from subregion.geometry.resample import FILTERS, resample

FILTER_NAMES = ["nearest", "linear", "cubic", "lanczos", "area"]
HEIGHT, WIDTH = 60, 72


def weight(name: str, distance: float) -> float:
    """The weight of a sample, one at a time, from the textbook."""
    x = abs(distance)
    if name == "linear":
        return max(0.0, 1 - x)
    if name == "cubic":
        a = -0.75
        if x < 1:
            return (a + 2) * x**3 - (a + 3) * x**2 + 1
        return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0
    if x == 0:
        return 1.0
    if x >= 4:
        return 0.0
    return 4 * math.sin(math.pi * x) * math.sin(math.pi * x / 4) / (math.pi * x) ** 2


def slow_warp(
    source: NDArray[Any], to_result: Affine, shape: tuple[int, int], name: str
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Draw all of one band on a grid, pixel by pixel; also tell which centres lie on the source."""
    rows, cols = source.shape
    out = np.zeros(shape)
    inside = np.zeros(shape, bool)
    inverse = ~to_result
    wide = source.astype(np.float64)
    for i in range(shape[0]):
        for j in range(shape[1]):
            x, y = inverse @ (j + 0.5, i + 0.5)
            inside[i, j] = -1e-6 <= x <= cols + 1e-6 and -1e-6 <= y <= rows + 1e-6
            if not inside[i, j]:
                continue
            if name == "nearest":
                out[i, j] = wide[min(max(math.floor(y), 0), rows - 1), min(max(math.floor(x), 0), cols - 1)]
                continue
            reach = {"linear": 1, "cubic": 2, "lanczos": 4}[name]
            total = norm = 0.0
            for r in range(math.floor(y - reach), math.ceil(y + reach) + 1):
                for c in range(math.floor(x - reach), math.ceil(x + reach) + 1):
                    w = weight(name, r + 0.5 - y) * weight(name, c + 0.5 - x)
                    total += w * wide[min(max(r, 0), rows - 1), min(max(c, 0), cols - 1)]
                    norm += w
            out[i, j] = total / norm
    return out, inside


def rounded(values: NDArray[np.float64], dtype: np.dtype[Any]) -> NDArray[Any]:
    if dtype.kind == "f":
        return values
    info = np.iinfo(dtype)
    return np.clip(np.rint(values), info.min, info.max)


def texture(rows: int, cols: int, dtype: str, seed: int = 0) -> NDArray[Any]:
    """Something between noise and a picture."""
    rng = np.random.default_rng(seed)
    base = ndimage.gaussian_filter(rng.random((rows, cols)), 1.0)
    base = (base - base.min()) / np.ptp(base)
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return np.asarray(base, kind)
    info = np.iinfo(kind)
    low, high = max(info.min, -30_000), min(info.max, 60_000)
    return np.asarray(base * (high - low) + low, kind)


def write(path: Path, array: NDArray[Any]) -> str:
    tifffile.imwrite(path, array, tile=(16, 16), compression="zlib", metadata=None)
    return str(path)


affines = st.builds(
    lambda sx, sy, turn, shear, x, y: (
        Affine.translation(x, y) @ Affine.rotation(turn) @ Affine.shear(shear, 0) @ Affine.scale(sx, sy)
    ),
    st.floats(0.5, 3), st.floats(0.5, 3), st.sampled_from([0, 0, 0, 7, -30, 90]), st.sampled_from([0, 0, 10]),
    st.floats(-20, 20), st.floats(-20, 20),
)  # fmt: skip
windows = st.builds(
    Window, st.integers(-30, 50), st.integers(-30, 60), st.integers(0, 24), st.integers(0, 24)
)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    affines, windows, st.sampled_from(["u1", "u2", "i2", "f4", "f8", "i4"]),
    st.sampled_from(["nearest", "linear", "cubic", "lanczos"]), st.sampled_from([1, 0.5, 0.7, 2]),
    st.integers(0, 3),
)  # fmt: skip
def test_any_affine_equals_the_slow_warp(
    tmp_path_factory: pytest.TempPathFactory,
    to_image: Affine, window: Window, dtype: str, name: str, scale: float, seed: int,
) -> None:  # fmt: skip
    folder = tmp_path_factory.mktemp("warp")
    array = texture(31, 27, dtype, seed)
    record = ImageRecord(1, (Asset(write(folder / "a.tif", array), ("x",), to_image),), WIDTH, HEIGHT)
    frames = Single(record)
    got = frames.load_region(1, window, "x", interpolation=name, antialias=False, scale=scale)
    grid = OutputGrid.of(window, (scale, scale))
    assert got.shape == (*grid.shape, 1)
    assert got.dtype == array.dtype
    whole_image, _ = slow_warp(np.ones((HEIGHT, WIDTH)), grid.from_image, grid.shape, "nearest")
    expected, inside = slow_warp(array, grid.from_image @ to_image, grid.shape, name)
    shown = inside & (whole_image > 0)
    expected = rounded(expected, array.dtype)
    expected[~shown] = np.nan if array.dtype.kind == "f" else 0
    if name == "nearest":
        # A centre on the very edge of two pixels may go either way.
        clear = ~on_an_edge(grid.from_image @ to_image, grid.shape)
        np.testing.assert_array_equal(got[..., 0][clear], expected[clear])
    else:
        tolerance = 1e-4 if array.dtype.kind == "f" else 1
        edge = ndimage.binary_dilation(shown) ^ ndimage.binary_erosion(shown) if got.size else shown
        np.testing.assert_allclose(got[..., 0][~edge], expected[~edge], rtol=1e-6, atol=tolerance)
        # On the edge of what is covered, rounding may show a centre or not.
        close = np.isclose(got[..., 0], expected, rtol=1e-6, atol=tolerance, equal_nan=True)
        assert close.size - close.sum() <= 2


def on_an_edge(to_result: Affine, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Tell which centres lie on the edge of a pixel of the source, as far as floats can tell."""
    cols, rows = np.meshgrid(np.arange(shape[1]) + 0.5, np.arange(shape[0]) + 0.5)
    x, y = ~to_result @ (cols, rows)
    apart: NDArray[Any] = np.minimum(np.abs(x - np.rint(x)), np.abs(y - np.rint(y)))
    near: NDArray[np.bool_] = apart < 1e-9 * (1 + np.abs(x) + np.abs(y))
    return near


@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "f4", "f8"])
def test_linear_equals_scipy(dtype: str) -> None:
    array = texture(40, 50, dtype)
    matrix = Affine.translation(3.3, -2.7) @ Affine.rotation(11) @ Affine.scale(1.7, 1.3)
    got = resample(array[..., None], matrix, (64, 80), FILTERS["linear"])[..., 0]
    inverse = ~matrix
    x, y = np.meshgrid(np.arange(80) + 0.5, np.arange(64) + 0.5)
    places = [
        inverse.d * x + inverse.e * y + inverse.f - 0.5,
        inverse.a * x + inverse.b * y + inverse.c - 0.5,
    ]
    expected = ndimage.map_coordinates(array.astype(np.float64), places, order=1, mode="nearest")
    np.testing.assert_allclose(got, expected, atol=1e-4 if dtype[0] == "f" else 0.02, rtol=1e-5)


@pytest.mark.parametrize("name", FILTER_NAMES)
@pytest.mark.parametrize("antialias", [False, True])
def test_a_constant_image_stays_constant_to_its_last_pixel(
    name: str, antialias: bool, tmp_path: Path
) -> None:
    rng = np.random.default_rng(3)
    for number in range(25):
        height, width = (int(n) for n in rng.integers(20, 120, 2))
        factor = float(rng.choice([2, 3, 6, 0.5, 1.5, rng.uniform(0.3, 4)]))
        slack = (0.999, 0.0, 0.5)[number % 3]  # rounded up, down, and to the nearest
        size = [max(1, math.floor(n / factor + slack)) for n in (height, width)]
        path = write(tmp_path / f"{number}.tif", np.full(size, 200, np.uint8))
        frames = Single(ImageRecord(1, (Asset(path, ("x",), Affine.scale(factor)),), width, height))
        for scale in (1, 0.37):
            got = frames.load_region(1, None, "x", interpolation=name, antialias=antialias, scale=scale)
            assert got.min() == got.max() == 200, (height, width, factor, size, scale)


def test_shapes_are_exact(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", texture(50, 40, "u1"))
    rng = np.random.default_rng(5)
    for _ in range(10_000):
        scale = float(rng.uniform(0.05, 3))
        size = int(rng.integers(0, 500)), int(rng.integers(0, 500))
        grid = OutputGrid.of(Window(-3, 5, *size), (scale, scale))
        for got, asked in zip(grid.shape, size, strict=True):
            assert got == (max(1, math.floor(asked * scale + 0.5)) if asked else 0)
    frames = Single(ImageRecord(1, (Asset(path, ("x",), Affine.scale(1.9, 2.1)),), 76, 105))
    for _ in range(300):
        row, col = (int(n) for n in rng.integers(-120, 120, 2))
        height, width = (int(n) for n in rng.integers(0, 90, 2))
        assert frames.load_region(1, Window(row, col, height, width), "x").shape == (height, width, 1)


@pytest.mark.parametrize("name", FILTER_NAMES)
def test_whole_pixel_shifts_are_exact(name: str, tmp_path: Path) -> None:
    array = texture(50, 60, "u2")
    path = write(tmp_path / "a.tif", array)
    frames = Single(ImageRecord(1, (Asset(path, ("x",), Affine.translation(7, -4)),), 90, 80))
    expected = np.zeros((80, 90), np.uint16)
    expected[:46, 7:67] = array[4:]
    for window in (
        Window(0, 0, 80, 90),
        Window(-5, -5, 30, 30),
        Window(40, 60, 20, 20),
        Window(70, 80, 50, 50),
    ):
        padded = np.pad(expected, 100)[window.row + 100 :, window.col + 100 :][
            : window.height, : window.width
        ]
        got = frames.load_region(1, window, "x", interpolation=name)
        np.testing.assert_array_equal(got[..., 0], padded)


@pytest.fixture
def sensors(tmp_path: Path) -> dict[str, Any]:
    """Three files at three resolutions, one of two bands."""
    full = np.stack([texture(120, 96, "u2", 1), texture(120, 96, "u2", 2)], axis=-1)
    half, sixth = texture(60, 48, "u2", 3), texture(20, 16, "f4", 4)
    tifffile.imwrite(
        tmp_path / "full.tif", full, tile=(32, 32), planarconfig="contig", photometric="minisblack"
    )
    write(tmp_path / "half.tif", half)
    write(tmp_path / "sixth.tif", sixth)
    record = ImageRecord(
        "scene",
        (
            Asset(str(tmp_path / "full.tif"), ("red", "nir")),
            Asset(str(tmp_path / "half.tif"), ("B8.0",), Affine.scale(2)),
            Asset(str(tmp_path / "sixth.tif"), ("cloud",), Affine.scale(6), nodata=None),
        ),
    )
    return {"record": record, "full": full, "half": half, "sixth": sixth}


@pytest.mark.parametrize("backend", [None, "npy", "cog", "auto"])
def test_channels_of_three_resolutions(backend: str | None, sensors: dict[str, Any], workdir: Path) -> None:
    frames = Single(sensors["record"], backend=backend, workdir=workdir)
    region = (slice(30, 62), slice(41, 80))
    got = frames.load_region(1, region, "nir|B8.0|cloud|red|nir")
    assert got.dtype == np.float32
    assert got.shape == (32, 39, 5)
    np.testing.assert_array_equal(got[..., [3, 0]], sensors["full"][region])
    np.testing.assert_array_equal(got[..., 4], got[..., 0])
    for channel, name, factor in ((1, "half", 2), (2, "sixth", 6)):
        whole, _ = slow_warp(sensors[name], Affine.scale(factor), (120, 96), "linear")
        np.testing.assert_allclose(got[..., channel], whole[region], atol=1e-4 if channel == 2 else 0.6)
    np.testing.assert_array_equal(frames.load_region(1, region), sensors["full"][region])
    np.testing.assert_array_equal(frames.load_region(1, region, "<all>")[..., 2], got[..., 1])
    exact = frames.load_region(
        1, region, ["cloud", "B8.0"], interpolation={"cloud": "nearest", None: "linear"}
    )
    np.testing.assert_array_equal(exact[..., 0], np.repeat(np.repeat(sensors["sixth"], 6, 0), 6, 1)[region])
    steps = frames.load_region(1, (slice(30, 62, 5), slice(41, 80, 3), slice(0, 2)), "nir|B8.0|cloud")
    np.testing.assert_array_equal(steps, got[::5, ::3, :2])
    np.testing.assert_array_equal(frames.load_region(1, region, "nir|B8.0"), np.rint(got[..., :2]))
    batch = frames.load_regions([(1, Window(30, 41, 32, 39)), (1, Window(0, 0, 32, 39))], "nir|B8.0|cloud")
    np.testing.assert_array_equal(batch[0], got[..., :3])
    image = frames.load_image(1, "B8.0")
    assert image is not None
    assert image.shape == (120, 96, 1)


def test_unfused_crops_lie_where_they_say(sensors: dict[str, Any]) -> None:
    image = AlignableImageData(sensors["record"])
    assert image.shape == (120, 96, 2)
    crops = image.load_region((slice(30, 62), slice(41, 80)), "red|B8.0|cloud", fused=False)
    assert [crop.channels for crop in crops] == [("red",), ("B8.0",), ("cloud",)]
    for crop, name, factor in zip(crops, ("full", "half", "sixth"), (1, 2, 6), strict=True):
        x, y, _ = crop.transform @ [0, 0, 1]
        col, row = (x + 41) / factor, (y + 30) / factor
        assert crop.transform[0, 0] == crop.transform[1, 1] == factor
        source = sensors[name] if sensors[name].ndim == 2 else sensors[name][..., 0]
        rows, cols = crop.pixels.shape[:2]
        np.testing.assert_array_equal(
            crop.pixels[..., 0], source[round(row) : round(row) + rows, round(col) : round(col) + cols]
        )
        assert rows * factor >= 32
        assert cols * factor >= 39


def test_overviews_serve_small_scales(tmp_path: Path, workdir: Path) -> None:
    array = texture(512, 640, "u1")
    path = write(tmp_path / "a.tif", array)
    frames = Single(
        ImageRecord(1, (Asset(path),)), workdir=workdir, backend={"type": "cog", "config": {"blocksize": 64}}
    )
    got = frames.load_region(1, None, scale=1 / 8)
    blocks = array.reshape(64, 8, 80, 8).mean(axis=(1, 3))
    assert got.shape == (64, 80, 1)
    assert np.abs(got[..., 0] - blocks).max() <= 2  # each of three halvings rounds
    area = frames.load_region(1, (slice(8, 40), slice(16, 80)), scale=1 / 4, interpolation="area")
    direct = array[8:40, 16:80].reshape(8, 4, 16, 4).mean(axis=(1, 3))
    assert np.abs(area[..., 0] - direct).max() <= 1.5
    points = frames.load_region(1, None, scale=1 / 8, interpolation="nearest", antialias=False)
    np.testing.assert_array_equal(points[..., 0], array[4::8, 4::8])


@pytest.mark.parametrize("dtype", ["u1", "i2", "f4"])
def test_nodata_is_never_mixed_in(dtype: str, tmp_path: Path) -> None:
    array = np.full((40, 40), 100, dtype)
    nodata = -9 if dtype != "u1" else 255
    array[10:20, 12:30] = nodata
    path = write(tmp_path / "a.tif", array)
    frames = Single(ImageRecord(1, (Asset(path, ("x",), Affine.scale(1.7), nodata=nodata),), 68, 68))
    for name in FILTER_NAMES:
        plain = frames.load_region(1, None, "x", interpolation=name)
        assert set(np.unique(np.round(plain, 3)).tolist()) == {100, nodata}, name
        floats = frames.load_region(1, None, "x", interpolation=name, nodata="float")
        assert floats.dtype == np.float32
        np.testing.assert_array_equal(np.isnan(floats), plain == nodata)
        masked: Any = frames.load_region(1, Window(-2, -2, 72, 72), "x", interpolation=name, nodata="ma")
        assert isinstance(masked, np.ma.MaskedArray)
        assert masked.dtype == array.dtype
        mask = np.ma.getmaskarray(masked)
        assert mask[:2].all()
        np.testing.assert_array_equal(mask[2:70, 2:70], plain == nodata)


@pytest.mark.parametrize("dtype", ["c8", "c16"])
@pytest.mark.parametrize("nodata", [None, "float"])
def test_complex_samples_keep_both_parts(dtype: str, nodata: str | None, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    parts = rng.normal(size=(2, 40, 50)).astype(np.dtype(dtype).char.lower())
    paths = {"whole": tmp_path / "a.npy", "real": tmp_path / "b.npy", "imag": tmp_path / "c.npy"}
    for name, pixels in {"whole": parts[0] + 1j * parts[1], "real": parts[0], "imag": parts[1]}.items():
        np.save(paths[name], pixels.astype(dtype) if name == "whole" else pixels)
    frames = SimpleFrames(paths)
    for options in ({"scale": 0.5}, {"scale": 1.7, "interpolation": "cubic"}, {"scale": (0.3, 1)}):
        whole, real, imag = (frames.load_region(name, nodata=nodata, **options) for name in paths)
        assert whole.dtype == dtype
        np.testing.assert_allclose(whole.real, real, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(whole.imag, imag, rtol=1e-5, atol=1e-6)


def test_fill_outside_the_image(sensors: dict[str, Any]) -> None:
    frames = Single(sensors["record"])
    window = Window(-10, 80, 40, 40)
    got = frames.load_region(1, window, "red|B8.0", fill=7)
    assert (got[:10] == 7).all()
    assert (got[:, 16:] == 7).all()
    np.testing.assert_array_equal(got[10:, :16, 0], sensors["full"][:30, 80:, 0])
    whole = frames.load_region(1, None, "red|B8.0")
    for mode in ("edge", "reflect", "symmetric"):
        padded = np.pad(whole, ((10, 0), (0, 24), (0, 0)), mode=mode)[:40, 80:]
        np.testing.assert_array_equal(frames.load_region(1, window, "red|B8.0", fill=mode), padded)


def test_bad_records_are_one_clear_error(sensors: dict[str, Any], tmp_path: Path) -> None:
    full, half, _ = sensors["record"].assets
    cases = {
        "singular": ((Asset(full.path, ("a", "b"), Affine.scale(0)),), RecordError),
        "rename": ((full, Asset(half.path, ("red",), Affine.scale(2))), RecordError),
        "2 bands": ((Asset(full.path, ("a", "b", "c")),), RecordError),
        "width=12": ((Asset(full.path, ("a", "b"), width=12),), RecordError),
        "no transform": ((full, Asset(half.path, ("x",))), RecordError),
        "missing.tif": ((full, Asset(str(tmp_path / "missing.tif"), ("x",))), FileNotFoundError),
    }
    for words, (assets, error) in cases.items():
        frames = Single(ImageRecord("scene", assets))
        with pytest.raises(error, match=words):
            frames.load_region(1, None, "<all>")
    with pytest.raises(UnknownChannelError, match=r"swir.*red, nir, B8.0, cloud"):
        Single(sensors["record"]).load_region(1, None, "swir")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"scale": 0}, "scale"),
        ({"scale": -1}, "scale"),
        ({"scale": "half"}, "scale"),
        ({"interpolation": "bilinear"}, "'linear'"),
        ({"interpolation": {"red": "sharp"}}, "'linear'"),
        ({"nodata": 7}, "'ma'"),
        ({"channels": "red||nir"}, "empty"),
        ({"channels": "B8.3:3"}, "nothing"),
        ({"channels": [3]}, "text"),
    ],
)
def test_bad_options_say_what_is_allowed(
    options: dict[str, Any], words: str, sensors: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError, match=words):
        Single(sensors["record"]).load_region(1, None, **options)


def test_steps_and_scale_exclude_each_other(sensors: dict[str, Any]) -> None:
    with pytest.raises(RegionError, match="scale"):
        Single(sensors["record"]).load_region(1, slice(0, 50, 2), scale=0.5)


@pytest.mark.parametrize("edge", [777, 1023, 1279, 1500])
def test_levels_whose_sizes_were_rounded_down(tmp_path: Path, edge: int) -> None:
    ramp = np.broadcast_to(np.linspace(0, 60000, edge).astype(np.uint16), (edge, edge)).copy()
    path = str(tmp_path / "pyramid.tif")
    pyvips.Image.new_from_array(ramp).tiffsave(
        path, tile=True, pyramid=True, tile_width=64, tile_height=64, compression="deflate"
    )
    frames = SimpleFrames({0: path})
    for power in (2, 4, 8):
        found = frames.load_region(0, scale=1 / power)[0, :-1, 0]
        assert frames.explain(0, scale=1 / power).files[0].level_shape == (edge // power,) * 2
        centres = (np.arange(len(found)) + 0.5) * power - 0.5
        wanted = np.interp(centres, np.arange(edge), ramp[0])
        np.testing.assert_allclose(found, wanted, atol=0.1 * 60000 / edge)  # a tenth of a pixel


@pytest.mark.parametrize("scale", ["3/10", "1/10", "7/10", "17/10", "1/3", "1/2", "1/6", "9/10", "5/2", "3"])
@pytest.mark.parametrize(
    "to_image",
    [Affine.identity(), Affine.scale(2, 5), Affine(0, 1, 0, -1, 0, 1000), Affine(-3, 0, 2700, 0, 1, 0)],
)
def test_nearest_breaks_ties_alike_everywhere(to_image: Affine, scale: str, tmp_path: Path) -> None:
    step, rng = 1 / Fraction(scale), np.random.default_rng(7)
    rows, cols = np.indices((1000, 900), np.uint16)
    assets = []
    for name, numbers in (("row", rows), ("col", cols)):
        np.save(tmp_path / f"{name}.npy", numbers)
        assets.append(Asset(str(tmp_path / f"{name}.npy"), (name,), to_image))
    frames = Single(ImageRecord(1, tuple(assets), 5000, 5000))
    a, b, c, d, e, f = map(Fraction, to_image[:6])
    for _ in range(12):
        size = int(rng.integers(1, 80)), int(rng.integers(1, 80))
        corner = to_image @ (int(rng.integers(100, 700)), int(rng.integers(100, 900)))
        window = Window(round(corner[1]), round(corner[0]), *size)
        got = frames.load_region(1, window, ["row", "col"], scale=float(1 / step), interpolation="nearest")
        for i, j in itertools.zip_longest(range(got.shape[0]), range(got.shape[1]), fillvalue=0):
            x = window.col + (j + Fraction(1, 2)) * step - c
            y = window.row + (i + Fraction(1, 2)) * step - f
            col, row = (e * x - b * y) / (a * e - b * d), (a * y - d * x) / (a * e - b * d)
            assert got[i, j].tolist() == [math.floor(row), math.floor(col)]
