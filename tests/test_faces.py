"""What users hand in at the faces: it works, or is one error that says what to write instead."""

from __future__ import annotations

import decimal
import fractions
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import subregion
from faces import BEYOND, DIGITS, refused
from pictures import save_png
from subregion import (
    CocoFrames,
    SimpleFrames,
    Window,
)
from subregion.errors import (
    ConfigError,
    RegionTypeError,
    TooLargeError,
    UnknownImageError,
)

pytestmark = pytest.mark.filterwarnings("error::ResourceWarning", "error::numpy.exceptions.ComplexWarning")


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory, photograph: NDArray[np.uint8]) -> Path:
    """A picture, and beside it the same in other types and a half of it; no test changes them."""
    path = tmp_path_factory.mktemp("pictures") / "a.png"
    save_png(path, photograph)
    save_png(path.with_name("half.png"), photograph[::2, ::2, 0])
    for kind in ("f2", "f4", "c8"):
        np.save(path.with_name(f"{kind}.npy"), photograph.astype(kind))
    return path


@pytest.fixture
def frames(picture: Path) -> SimpleFrames:
    names = ("f2", "f4", "c8")
    return SimpleFrames({1: picture} | {name: picture.with_name(f"{name}.npy") for name in names})


@pytest.fixture
def scene(picture: Path, workdir: Path) -> CocoFrames:
    """An image of two files, under a backend that makes copies."""
    half = {"file_name": "half.png", "channels": "x", "warp_aux_to_img": {"type": "affine", "scale": 2}}
    image = {
        "id": 1,
        "file_name": "a.png",
        "width": 600,
        "height": 400,
        "channels": "r|g|b",
        "assets": [half],
    }
    return CocoFrames({"images": [image]}, workdir, "npy", root=picture.parent)


INDEXES: list[Any] = [
    np.array([1, 2]), np.array([True, False]), np.zeros((400, 600), bool), [1, 2], [True], (np.array([1]), 0),
    ([0], [1]), np.bool_(True), True, 1.5, "rows", {"rows": 1}, b"rows", {1}, range(3), 1j, object(),
    DIGITS, -DIGITS, BEYOND, 400, -401, (0, 600), (0, 0, 3), (slice(5), -601), (0, 0, 0, 0), (0,) * 10,
    (..., ...), (..., 0, 0, 0, 0), slice("a"), slice(1.5), (slice(np.array([1, 2]), None),),
    slice(None, None, 0), slice(None, None, -1), (Window(0, 0, 1, 1), 0), (None,) * 4,
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(INDEXES)))
def test_indexes_of_any_kind(number: int, frames: SimpleFrames) -> None:
    index = INDEXES[number]
    message = refused(lambda: frames.load_frame(1)[index])
    if isinstance(index, list | np.ndarray) and not isinstance(index, np.bool_):
        assert "read the slice that holds them" in message
    refused(lambda: frames.load_region(1, index))
    refused(lambda: frames.load_regions([(1, index)]))


@pytest.mark.parametrize(
    "index",
    [
        0, -1, 399, np.int8(3), np.array(5), (0, 0), (-1, -1, -1), (..., 0), (..., -1, slice(3)), (5, ...),
        (5, ..., 0), (slice(None, None, BEYOND), 3), (slice(-BEYOND, BEYOND), 0), slice(DIGITS),
        (slice(3, 3), 5), (slice(None, None, 10**18), slice(None, None, 10**18)), slice(390, None, DIGITS),
    ],
)  # fmt: skip
@pytest.mark.parametrize("backend", [None, "npy", "cog"])
def test_indexes_are_those_of_numpy(
    backend: str | None, index: Any, picture: Path, workdir: Path, photograph: NDArray[np.uint8]
) -> None:
    got = subregion.open(picture, backend, workdir)[index]
    np.testing.assert_array_equal(got, photograph[index])


WINDOWS: list[tuple[Any, ...]] = [
    (0, 0, 2**40, 10), (0, 0, 2**31, 2**31), (0, 0, 10, 2**52), (0, 0, BEYOND, BEYOND), (BEYOND, 0, 1, 1),
    (-BEYOND, -BEYOND, 2, 2), (0, 0, DIGITS, 1), (0, 0, -DIGITS, 1), (2**62, 0, 1, 1), (0, 0, 1.5, 2),
    (0, 0, -1, 2), ("a", 0, 1, 1), (None, 0, 1, 1), (np.float64(3), 0, 1, 1), (np.array([1]), 0, 1, 1),
    (True, 0, 1, 1), (0, 0, 1, np.nan),
]  # fmt: skip


@pytest.mark.parametrize("fill", [None, 7, "edge", "reflect", "mean"])
@pytest.mark.parametrize("number", range(len(WINDOWS)))
def test_windows_without_bounds(number: int, fill: Any, frames: SimpleFrames) -> None:
    refused(lambda: frames.load_region(1, Window(*WINDOWS[number]), fill=fill))
    refused(lambda: frames.load_regions([(1, Window(*WINDOWS[number]))] * 2, fill=fill))
    refused(lambda: frames.load_frame(1)[Window(*WINDOWS[number])])
    if not isinstance(fill, str):
        refused(lambda: frames.load_region(1, Window(*WINDOWS[number]), fill=fill, nodata="float"))


def test_windows_far_away_and_of_numpy_integers(frames: SimpleFrames) -> None:
    far = Window(2**51, -(2**51), np.int64(3), np.uint8(4))  # type: ignore[arg-type]
    assert frames.load_region(1, far, fill=9).tolist() == np.full((3, 4, 3), 9).tolist()
    edge = frames.load_region(1, far, fill="edge")
    np.testing.assert_array_equal(edge, np.broadcast_to(frames.load_region(1)[-1, 0], (3, 4, 3)))
    assert frames.load_region(1, far, fill=9, scale=0.5).shape == (2, 2, 3)


def test_results_that_no_memory_holds_name_their_size(
    frames: SimpleFrames, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused(lambda: frames.load_region(1, Window(0, 0, 2**40, 10)), TooLargeError, "SUBREGION_MAX_RESULT")
    refused(lambda: frames.load_region(1, scale=1e5), TooLargeError, "40000000 x 60000000 x 3")
    wanted = [(1, Window(k, 0, 40_000, 40_000)) for k in range(100)]
    refused(lambda: frames.load_regions(wanted), TooLargeError)
    monkeypatch.setenv("SUBREGION_MAX_RESULT_BYTES", str(1 << 28))
    refused(lambda: frames.load_region(1, Window(0, 0, 10_000, 10_000)), TooLargeError, "268435456")
    monkeypatch.setenv("SUBREGION_MAX_RESULT_BYTES", "much")
    refused(lambda: frames.load_region(1, Window(0, 0, 10_000, 10_000)), ConfigError, "RESULT_BYTES")


SCALES: list[Any] = [
    float("nan"), float("inf"), -1, 0, 1e300, 1e-300, 5e-324, 1e30, BEYOND, DIGITS, "1", "a", None, [1, 2],
    (1,), (1, 2, 3), (1, "a"), (1, np.nan), np.array([1, 2]), decimal.Decimal("0.5"), 1j, {1: 2},
    (1e-300, 1e300), (1, DIGITS),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(SCALES)))
def test_scales_without_meaning(number: int, frames: SimpleFrames, scene: CocoFrames) -> None:
    scale = SCALES[number]
    for call in (
        lambda: frames.load_region(1, scale=scale),
        lambda: frames.load_regions([(1, None)], scale=scale),
        lambda: frames.to_dask(1, scale=scale),
        lambda: scene.load_region(1, None, "x|b", scale=scale),
        lambda: scene.load_alignable(1).load_region(scale=scale),
    ):
        refused(call, ConfigError, "scale=")


def test_scales_of_any_size_and_type(frames: SimpleFrames, photograph: NDArray[np.uint8]) -> None:
    half = frames.load_region(1, scale=0.5)
    halves: list[Any] = [np.float32(0.5), fractions.Fraction(1, 2), (0.5, np.float64(0.5))]
    for each in halves:
        np.testing.assert_array_equal(frames.load_region(1, scale=each), half)
    for scale in (1e-12, 1e-6):
        assert frames.load_region(1, scale=scale).shape == (1, 1, 3)
    start = time.monotonic()
    for scale in (1e4, 1e6):
        got = frames.to_dask(1, scale=scale, interpolation="linear")[:3, :4].compute()
        np.testing.assert_array_equal(got, np.broadcast_to(photograph[0, 0], (3, 4, 3)))
    assert time.monotonic() - start < 5


FILLS: list[tuple[Any, Any]] = [
    *((1, each) for each in (float("nan"), float("inf"), -np.inf, 300, -1, 1.5, 1j, BEYOND, DIGITS, 1e300)),
    *(("f2", each) for each in (70_000.0, -1e5, 1e300, BEYOND, DIGITS, 1j, np.complex64(1j))),
    *(("f4", each) for each in (1e39, -1e300, 10**300, DIGITS, 1j)),
    *(("c8", each) for each in (1e39, DIGITS)),
    *((name, each) for name in (1, "f2", "f4", "c8")
      for each in ([1], (1, 2), np.array([1, 2]), b"a", object(), {}, "unknown", "", decimal.Decimal(1))),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(FILLS)))
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_fills_that_pixels_cannot_hold(number: int, frames: SimpleFrames) -> None:
    image_id, fill = FILLS[number]
    for window in (Window(-5, -5, 20, 20), Window(5, 5, 20, 20)):
        refused(lambda: frames.load_region(image_id, window, fill=fill), ConfigError, "fill=")  # noqa: B023
        refused(lambda: frames.load_regions([(image_id, window)], fill=fill), ConfigError, "fill=")  # noqa: B023
        if image_id != "c8":
            refused(
                lambda: frames.load_region(image_id, window, fill=fill, scale=0.5),  # noqa: B023
                ConfigError,
                "fill=",
            )


@pytest.mark.parametrize("fill", [True, 3.0, np.uint8(3), np.array(3), fractions.Fraction(3), np.float16(3)])
def test_fills_are_numbers_of_any_type(fill: Any, frames: SimpleFrames) -> None:
    for image_id in (1, "f2", "f4", "c8"):
        assert frames.load_region(image_id, Window(-1, 0, 1, 1), fill=fill)[0, 0, 0] == int(fill)
    assert np.isnan(frames.load_region("f2", Window(-1, 0, 1, 1), fill=np.nan)).all()
    assert np.isinf(frames.load_region("f4", Window(-1, 0, 1, 1), fill=-np.inf)).all()
    assert frames.load_region("c8", Window(-1, 0, 1, 1), fill=2j)[0, 0, 0] == 2j  # type: ignore[arg-type]


CHANNELS: list[Any] = [
    3, [3], ["r", None], [None], b"r", {"r": 1, "q": 2}, np.array(["r", "q"]), object(), 1.5, "", [""], "r||",
    True, "R", ["<all>"], DIGITS, "9" * 5000, "65536|65536", [["r"]], f"a:{BEYOND}", slice(3),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(CHANNELS)))
def test_channels_without_meaning(number: int, frames: SimpleFrames, scene: CocoFrames) -> None:
    channels = CHANNELS[number]
    for each in (frames, scene):
        for call in (
            lambda: each.load_region(1, None, channels),  # noqa: B023
            lambda: each.load_regions([(1, None)], channels),  # noqa: B023
            lambda: each.load_image(1, channels),  # noqa: B023
            lambda: each.load_image(1, channels, noreturn=True),  # noqa: B023
            lambda: each.to_dask(1, channels),  # noqa: B023
            lambda: each.to_xarray(1, channels),  # noqa: B023
            lambda: each.load_alignable(1).load_region(None, channels, fused=False),  # noqa: B023
        ):
            refused(call)


def test_channels_are_any_names(scene: CocoFrames) -> None:
    expected = scene.load_region(1, None, "b|x")
    for channels in (["b", "x"], ("b", "x"), np.array(["b", "x"]), {"b": 1, "x": 2}):
        np.testing.assert_array_equal(scene.load_region(1, None, channels), expected)  # type: ignore[arg-type]
    got = scene.load_regions([(1, None), (1, slice(0, 400))], iter(["b", "x"]))  # type: ignore[arg-type]
    np.testing.assert_array_equal(got, np.stack([expected] * 2))


IDS: list[Any] = [
    [1], {}, set(), None, np.array([1, 2]), object(), DIGITS, "x", 1.5, slice(1), (1, [2]), float("nan"),
    b"1",
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(IDS)))
def test_ids_of_any_kind(number: int, frames: SimpleFrames, scene: CocoFrames, workdir: Path) -> None:
    image_id = IDS[number]
    for each in (frames, scene):
        for call in (
            lambda: each.load_region(image_id),  # noqa: B023
            lambda: each.load_regions([(image_id, None)]),  # noqa: B023
            lambda: each.load_regions([(1, None)] * 70 + [(image_id, None)]),  # noqa: B023
            lambda: each.load_image(image_id),  # noqa: B023
            lambda: each.load_frame(image_id),  # noqa: B023
            lambda: each.georeference(image_id),  # noqa: B023
        ):
            refused(call, UnknownImageError)
        assert image_id not in each
        refused(lambda: each[image_id])  # noqa: B023
    refused(lambda: scene.load_clip(image_id), KeyError)
    refused(lambda: scene.frames_of(image_id), KeyError)
    with pytest.raises(subregion.PrepareError) as caught:
        scene.prepare([1, image_id])
    assert [type(error) for error in caught.value.failures.values()] == [UnknownImageError]


@pytest.mark.parametrize("ids", [5, 1.5, "abc", b"abc", object(), True])
def test_lists_of_ids(ids: Any, scene: CocoFrames) -> None:
    refused(lambda: scene.prepare(ids), RegionTypeError, "a list of ids")


@pytest.mark.parametrize("threads", ["2", 1.5, -1, True, [1], np.array([1, 2]), object(), -BEYOND])
def test_threads_without_meaning(threads: Any, frames: SimpleFrames) -> None:
    refused(lambda: frames.load_regions([(1, None)] * 2, threads=threads), ConfigError, "threads=")


@pytest.mark.parametrize("threads", [0, 1, np.int64(2), 10**9, BEYOND])
def test_any_number_of_threads(threads: Any, frames: SimpleFrames, photograph: NDArray[np.uint8]) -> None:
    got = frames.load_regions([(1, None)] * 3, threads=threads)
    np.testing.assert_array_equal(got, np.stack([photograph] * 3))


@pytest.mark.parametrize(
    "requests",
    [None, 5, "ab", {"a": 1}, {1: None}, [1], [(1,)], [(1, 2, 3)], [None], [b"ab"], [np.array([1, 2])],
     [{1, 2}], b"12", object(), np.array([[1, 2]])],
)  # fmt: skip
def test_requests_without_meaning(requests: Any, frames: SimpleFrames) -> None:
    refused(lambda: frames.load_regions(requests), RegionTypeError, "load_regions")


ODD: list[Any] = [5, "x", [1], {"a": 1}, np.array([1, 2]), b"linear", {"r": 5}, {(1,): [1]}, ("linear",), 1j]
OPTIONS: dict[str, Callable[[SimpleFrames, Any], Any]] = {
    "interpolation": lambda frames, value: frames.load_region(1, interpolation=value, scale=0.5),
    "nodata": lambda frames, value: frames.load_region(1, nodata=value),
    "antialias": lambda frames, value: frames.load_region(1, antialias=value),
    "dequantize": lambda frames, value: frames.load_region(1, dequantize=value),
    "space": lambda frames, value: frames.load_region(1, space=value),
    "width": lambda frames, value: frames.load_region(1, width=value),
    "height": lambda frames, value: frames.load_region(1, height=value),
    "bounds": lambda frames, value: frames.load_region(1, bounds=value),
    "crs": lambda frames, value: frames.load_region(1, crs=value),
    "chunks": lambda frames, value: frames.to_dask(1, chunks=value),
    "executor": lambda frames, value: frames.prepare(executor=value),
    "backend": lambda frames, value: SimpleFrames({}, None, value),
    "a new backend": lambda frames, value: setattr(frames, "backend", value),
}


@pytest.mark.parametrize("number", range(len(ODD)))
@pytest.mark.parametrize("option", OPTIONS)
def test_options_without_meaning(
    option: str, number: int, picture: Path, workdir: Path, frames: SimpleFrames
) -> None:
    collection = SimpleFrames({1: picture}, workdir, "npy") if option == "executor" else frames
    value = ODD[number]
    if isinstance(value, int) and option in ("antialias", "dequantize", "chunks"):
        return  # true, or a number of pixels
    refused(lambda: OPTIONS[option](collection, value))
