"""Many regions in one call: the same as one by one, with less work."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import subregion.read.region
from pictures import pillow_file, save_png, tiff_file
from subregion import SimpleFrames, Window
from subregion.errors import ConfigError, DamagedFileError, RegionTypeError, UnknownImageError
from subregion.io.pool import POOL


@pytest.fixture
def collection(tmp_path: Path, workdir: Path, photograph: NDArray[np.uint8]) -> SimpleFrames:
    kinds = {
        "png": pillow_file(".png", "RGB"),
        "gif": pillow_file(".gif", "P"),
        "zstd": tiff_file(tile=(64, 64), compression="zstd"),
        "planar": tiff_file(tile=(64, 64), compression="zlib", planarconfig="separate"),
        "palette": pillow_file(".tif", "P", compression="tiff_lzw"),
        "raw": tiff_file(),
    }
    paths = {}
    for name, write in kinds.items():
        paths[name] = tmp_path / f"{name}{write.suffix}"  # type: ignore[attr-defined]
        write(paths[name], photograph)
    return SimpleFrames(paths, workdir=workdir)


def requests(frames: SimpleFrames, count: int, size: int = 50) -> list[tuple[Any, Any]]:
    rng = np.random.default_rng(4)
    return [
        (
            frames.image_ids[int(rng.integers(len(frames)))],
            Window(int(rng.integers(-30, 400)), int(rng.integers(-30, 600)), size, size),
        )
        for _ in range(count)
    ]


#: All numbers of threads with sources as they are and with one kind of copy; few and many with the others.
CASES = [
    *itertools.product([None, "cog"], [None, 0, 1, 2, 8]),
    *itertools.product(["npy", "zarr", "auto"], [1, 8]),
]


@pytest.mark.parametrize(("backend", "threads"), CASES)
def test_batches_equal_single_reads(
    backend: str | None, threads: int | None, collection: SimpleFrames
) -> None:
    collection.backend = backend
    wanted = requests(collection, 60)
    single = np.stack([collection.load_region(*request) for request in wanted])
    got = collection.load_regions(wanted, threads=threads)
    assert isinstance(got, np.ndarray)
    assert got.dtype == np.uint8
    np.testing.assert_array_equal(got, single)
    out = np.full(single.shape, 99, np.float32)
    assert collection.load_regions(iter(wanted), out=out, threads=threads) is out
    np.testing.assert_array_equal(out, single)
    np.testing.assert_array_equal(
        collection.load_regions(wanted, fill="reflect"),
        np.stack([collection.load_region(*request, fill="reflect") for request in wanted]),
    )


@pytest.mark.parametrize(("threads", "cache"), [(1, 1 << 20), (2, 0), (5, 1 << 20)])
@pytest.mark.parametrize("backend", ["cog", "zarr", "jpeg"])
def test_batches_of_one_image(
    backend: str, threads: int, cache: int, tmp_path: Path, workdir: Path, photograph: NDArray[np.uint8]
) -> None:
    Image.fromarray(photograph).save(tmp_path / "a.jpg")
    frames = SimpleFrames({1: tmp_path / "a.jpg"}, workdir=workdir, backend=backend)
    rng = np.random.default_rng(threads)
    regions: list[Any] = [
        (slice(k * 20, k * 20 + 90), slice(k * 25, k * 25 + 100), slice(0, 2)) for k in range(10)
    ]
    regions += [(slice(r, r + 70, 3), slice(c, c + 40)) for r, c in rng.integers(0, 300, (20, 2)).tolist()]
    regions += [Window(r, c, 60, 80) for r, c in rng.integers(-40, 400, (20, 2)).tolist()]
    subregion.set_cache_limit(cache)
    for _ in range(3):  # blocks are kept when they are decoded again
        got = frames.load_regions([(1, region) for region in regions], threads=threads)
        for region, pixels in zip(regions, got, strict=True):
            np.testing.assert_array_equal(pixels, frames.load_region(1, region))


def test_regions_of_several_shapes_are_a_list(
    collection: SimpleFrames, photograph: NDArray[np.uint8]
) -> None:
    regions = [(slice(0, 5), slice(3, 9)), None, (slice(0, 400, 7), slice(0, 0)), (..., slice(0, 1))]
    got = collection.load_regions([("zstd", region) for region in regions])
    assert isinstance(got, list)
    for region, pixels in zip(regions, got, strict=True):
        np.testing.assert_array_equal(pixels, photograph[region] if region else photograph)


def test_nothing_wanted_is_nothing_read(collection: SimpleFrames) -> None:
    assert len(collection.load_regions([])) == 0


def test_more_images_than_may_be_open(
    tmp_path: Path, photograph: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(POOL, "capacity", 3)
    paths = {}
    for number in range(10):
        paths[number] = tmp_path / f"{number}.png"
        save_png(paths[number], np.roll(photograph, number, axis=0))
    frames = SimpleFrames(paths)
    wanted: list[Any] = [(number % 10, (slice(0, 20), slice(number, number + 9))) for number in range(25)]
    expected = np.stack([frames.load_region(*request) for request in wanted])
    np.testing.assert_array_equal(frames.load_regions(wanted), expected)
    out = np.zeros_like(expected)
    frames.load_regions(wanted, out=out)
    np.testing.assert_array_equal(out, expected)
    with pytest.raises(ConfigError, match="shape"):
        frames.load_regions(wanted, out=out[:, :5])


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        ("zstd", RegionTypeError),
        (("zstd",), RegionTypeError),
        (("nobody", None), UnknownImageError),
        (3, RegionTypeError),
    ],
)
def test_bad_requests_are_errors(collection: SimpleFrames, request_: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        collection.load_regions([request_])


def test_an_out_that_does_not_fit_is_an_error(collection: SimpleFrames) -> None:
    wanted = [("zstd", Window(0, 0, 5, 5)), ("png", Window(0, 0, 5, 5))]
    with pytest.raises(ConfigError, match=r"\(2, 5, 5, 3\)"):
        collection.load_regions(wanted, out=np.zeros((2, 5, 5, 1), np.uint8))
    with pytest.raises(ConfigError, match="bool"):
        collection.load_regions(wanted, out=np.zeros((2, 5, 5, 3), bool))
    with pytest.raises(ConfigError, match="one shape"):
        collection.load_regions([*wanted, ("png", Window(0, 0, 6, 5))], out=np.zeros((3, 5, 5, 3), np.uint8))
    with pytest.raises(ConfigError, match="threads"):
        collection.load_regions(wanted, threads=-1)


def test_damage_in_a_copy_is_mended_and_in_a_source_is_told(
    collection: SimpleFrames, photograph: NDArray[np.uint8]
) -> None:
    collection.backend = "cog"
    collection.load_region("png")
    (copy,) = collection.cache_dpath.rglob("*.tif")
    damaged = bytearray(copy.read_bytes())
    damaged[-5000:] = bytes(5000)
    copy.write_bytes(damaged)
    got = collection.load_regions([("png", None)] * 3)
    np.testing.assert_array_equal(got, np.stack([photograph] * 3))
    collection.backend = None
    path = Path(collection.record("zstd").default_asset.path)
    broken = bytearray(path.read_bytes())
    broken[-5000:] = bytes(5000)
    path.write_bytes(broken)
    with pytest.raises(DamagedFileError, match="zstd.tif"):
        collection.load_regions([("zstd", None)] * 3)
