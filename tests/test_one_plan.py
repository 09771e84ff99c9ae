"""Reads in a batch are those reads one by one, whatever is asked for; and blocks are decoded once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from affine import Affine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from subregion import Asset, Frames, ImageRecord, SubregionError, VideoPlace, Window
from subregion.records import Quantization

pytestmark = pytest.mark.pixels  # read by both executors

ROWS, COLS = 70, 90


class Scenes(Frames):
    """Images of several files each."""

    def __init__(self, records: Sequence[ImageRecord], **options: Any) -> None:
        super().__init__(**options)
        self._records = {record.image_id: record for record in records}

    @property
    def image_ids(self) -> list[Any]:
        return list(self._records)

    def record(self, image_id: Any) -> ImageRecord:
        return self._records[image_id]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Scenes:
    folder = tmp_path_factory.mktemp("scenes")
    dice = np.random.default_rng(11)
    pixels = dice.integers(0, 200, (ROWS, COLS, 3), np.uint8)
    pixels[10:30, 20:50] = 7
    tifffile.imwrite(folder / "rgb.tif", pixels, tile=(16, 32), compression="zlib", photometric="rgb")
    Image.fromarray(pixels).save(folder / "rgb.png")
    Image.fromarray(pixels).save(folder / "rgb.jpg", restart_marker_blocks=1)
    half = dice.integers(0, 4000, (ROWS // 2, COLS // 2), np.uint16)
    tifffile.imwrite(folder / "half.tif", half, tile=(16, 16), compression="zstd")
    floats = dice.normal(0, 9, (ROWS, COLS)).astype(np.float32)
    floats[5:20, 5:20] = np.nan
    np.save(folder / "floats.npy", floats)
    halves = Affine.scale(2)
    turned = Affine.translation(4, 3) @ Affine.rotation(7) @ Affine.scale(1.6)
    place = VideoPlace("v", 0, Affine.translation(2, 1) @ Affine.scale(0.8), 80, 60)
    rgb = Asset(str(folder / "rgb.tif"), ("r", "g", "b"), nodata=7)
    other = [
        Asset(str(folder / "half.tif"), ("h",), halves, quantization=Quantization(0.5, -3)),
        Asset(str(folder / "half.tif"), ("t",), turned),
        Asset(str(folder / "floats.npy"), ("f",)),
    ]
    records = [
        ImageRecord("rgb", (rgb,), COLS, ROWS, video=place),
        ImageRecord("png", (Asset(str(folder / "rgb.png"), ("r", "g", "b")),), COLS, ROWS, video=place),
        ImageRecord("jpg", (Asset(str(folder / "rgb.jpg"), ("r", "g", "b")),), COLS, ROWS, video=place),
        ImageRecord("all", (rgb, *other), COLS, ROWS, video=place),
        ImageRecord("floats", (other[2],), COLS, ROWS, video=place),
    ]
    return Scenes(records, workdir=folder / "work", backend=None)


slices = st.builds(
    slice,
    st.none() | st.integers(-30, 80),
    st.none() | st.integers(-10, 100),
    st.none() | st.integers(1, 9),
)
windows = st.builds(
    Window, st.integers(-30, 80), st.integers(-30, 90), st.integers(0, 60), st.integers(0, 60)
)
regions = st.none() | windows | st.tuples(slices, slices) | st.tuples(slices, slices, slices)
options = st.fixed_dictionaries(
    {},
    optional={
        "scale": st.sampled_from([1, 0.5, (0.3, 0.7), 2]),
        "interpolation": st.sampled_from(["nearest", "linear", "cubic", "area"]),
        "antialias": st.booleans(),
        "nodata": st.sampled_from([None, "float", "ma"]),
        "dequantize": st.booleans(),
        "fill": st.sampled_from([None, 3, "edge", "reflect", "wrap", "mean"]),
        "space": st.sampled_from(["image", "video"]),
    },
)


def outcome(read: Any) -> Any:
    try:
        return read()
    except SubregionError as error:
        return type(error)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    requests=st.lists(
        st.tuples(st.sampled_from(["rgb", "png", "jpg", "all", "floats"]), regions), min_size=1, max_size=6
    ),
    channels=st.sampled_from([None, "<all>", "g|r", "f|b", "h|t"]),
    how=options,
    threads=st.sampled_from([1, 4]),
    backend=st.sampled_from([None, "cog", "zarr", "npy", "jpeg"]),
)
def test_a_batch_is_what_its_regions_are_one_by_one(
    scenes: Scenes, requests: Any, channels: Any, how: dict[str, Any], threads: int, backend: Any
) -> None:
    scenes.backend = backend
    each = [
        outcome(lambda r=request: scenes.load_region(r[0], r[1], channels, **how)) for request in requests
    ]
    together = outcome(lambda: scenes.load_regions(requests, channels, threads=threads, **how))
    failures = [kind for kind in each if isinstance(kind, type)]
    if failures:
        assert together in failures
        return
    assert len(together) == len(each)
    for got, expected in zip(together, each, strict=True):
        if isinstance(together, list):
            assert got.dtype == expected.dtype
        np.testing.assert_array_equal(np.ma.getdata(got), np.ma.getdata(expected))
        np.testing.assert_array_equal(np.ma.getmaskarray(got), np.ma.getmaskarray(expected))
    if len({pixels.shape for pixels in each}) == 1:
        dtype = np.result_type(*(pixels.dtype for pixels in each))
        out: Any = np.zeros((len(each), *each[0].shape), dtype)
        if how.get("nodata") == "ma":
            out = np.ma.MaskedArray(out)
        scenes.load_regions(requests, channels, threads=threads, out=out, **how)
        np.testing.assert_array_equal(np.ma.getdata(out), np.ma.getdata(together))
        np.testing.assert_array_equal(np.ma.getmaskarray(out), np.ma.getmaskarray(together))


@pytest.mark.parametrize("how", [{}, {"nodata": "ma"}, {"scale": 0.5}, {"fill": "edge"}])
def test_more_images_than_are_open_at_once(tmp_path: Path, how: dict[str, Any]) -> None:
    dice = np.random.default_rng(2)
    records = []
    for number in range(70):
        path = tmp_path / f"{number}.tif"
        pixels: NDArray[Any] = dice.integers(0, 255, (40, 40, 1), np.uint8)
        tifffile.imwrite(path, pixels[..., 0], tile=(16, 16), compression="zlib")
        records.append(ImageRecord(number, (Asset(str(path), nodata=9),), 40, 40))
    scenes = Scenes(records, workdir=tmp_path / "work", backend=None)
    requests = [(number % 70, Window(number % 30 - 5, number % 23 - 5, 20, 20)) for number in range(150)]
    together = scenes.load_regions(requests, **how)
    for got, request in zip(together, requests, strict=True):
        expected = scenes.load_region(*request, **how)
        np.testing.assert_array_equal(np.ma.getdata(got), np.ma.getdata(expected))
        np.testing.assert_array_equal(np.ma.getmaskarray(got), np.ma.getmaskarray(expected))
