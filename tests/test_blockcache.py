"""The cache of decoded blocks: bounded, counted, private to its process, and never wrong."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

import subregion
from pictures import save_png
from subregion import SimpleFrames, Window
from subregion.blocks.cache import BlockCache
from subregion.errors import ConfigError, DamagedFileError
from subregion.formats.open import open_raster
from subregion.formats.pillow import open_pillow
from subregion.formats.raster import Raster
from subregion.formats.vips import LAYOUT, Loader, top_down_level
from subregion.io.source import SourceFile


def block(value: int, nbytes: int = 100) -> NDArray[Any]:
    return np.full(nbytes, value, np.uint8)


def picture(rows: int = 512, cols: int = 640) -> NDArray[Any]:
    return np.random.default_rng(3).integers(0, 255, (rows, cols, 3), np.uint8)


def tiled(path: Path, pixels: NDArray[Any]) -> str:
    tifffile.imwrite(path, pixels, tile=(64, 64), compression="zstd", photometric="rgb")
    return str(path)


def test_a_block_is_kept_when_it_is_decoded_twice() -> None:
    cache = BlockCache(1000)
    key = ("file", 1, 2, 0)
    assert cache.get(key) is None
    assert not cache.note(key, 100)
    assert cache.get(key) is None
    assert cache.note(key, 100)
    cache.keep(key, block(7))
    kept = cache.get(key)
    assert kept is not None
    assert kept[0] == 7
    info = cache.info()
    assert (info.hits, info.misses, info.hit_bytes, info.blocks, info.nbytes) == (1, 2, 100, 1, 100)


def test_the_limit_holds_and_the_least_recently_used_goes() -> None:
    cache = BlockCache(1000)
    for number in range(30):
        cache.keep(("file", 1, number, 0), block(number))
        cache.get(("file", 1, 25, 0))
        assert cache.info().nbytes <= 1000
    assert cache.get(("file", 1, 25, 0)) is not None
    assert cache.get(("file", 1, 3, 0)) is None
    cache.keep(("file", 1, 99, 0), block(1, 2000))
    assert cache.get(("file", 1, 99, 0)) is None
    cache.resize(0)
    assert cache.info()[3:] == (0, 0, 0)


def test_what_was_seen_long_ago_is_forgotten() -> None:
    cache = BlockCache(1000)
    for number in range(500):
        assert not cache.note(("file", 1, number, 0), 100)
    assert not cache.note(("file", 1, 0, 0), 100)
    assert cache.note(("file", 1, 0, 0), 100)
    assert len(cache._seen) + len(cache._seen_before) <= 12


def test_sliding_windows_hit_and_pixels_stay(tmp_path: Path) -> None:
    pixels = picture()
    frames = SimpleFrames({0: tiled(tmp_path / "a.tif", pixels)}, tmp_path)
    for row in range(0, 400, 32):
        for col in range(0, 500, 32):
            got = frames.load_region(0, Window(row, col, 128, 128))
            np.testing.assert_array_equal(got[:112, :140], pixels[row : row + 112, col : col + 128])
            got[...] = 0  # what the caller gets is the caller's
    info = subregion.cache_info()
    assert info.hits > 5 * info.misses
    assert 0 < info.nbytes <= info.limit


def test_switched_off(tmp_path: Path) -> None:
    pixels = picture()
    frames = SimpleFrames({0: tiled(tmp_path / "a.tif", pixels)}, tmp_path)
    subregion.set_cache_limit(0)
    for _ in range(3):
        np.testing.assert_array_equal(frames.load_region(0, Window(10, 10, 99, 99)), pixels[10:109, 10:109])
    assert subregion.cache_info() == (0, 0, 0, 0, 0, 0)


def test_a_file_that_changes_is_not_mixed_up(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    first, second = picture(), picture()[::-1].copy()
    frames = SimpleFrames({0: tiled(path, first)}, tmp_path)
    window = Window(0, 0, 200, 200)
    for _ in range(3):
        np.testing.assert_array_equal(frames.load_region(0, window), first[:200, :200])
    tiled(path, second)
    os.utime(path, ns=(1, 1))
    for _ in range(3):
        np.testing.assert_array_equal(frames.load_region(0, window), second[:200, :200])


def test_overviews_are_told_apart(tmp_path: Path) -> None:
    frames = SimpleFrames({0: tiled(tmp_path / "a.tif", picture())}, tmp_path, "cog")
    full = [frames.load_region(0, scale=scale) for scale in (1, 0.5, 0.25)]
    for _ in range(3):
        for scale, expected in zip((1, 0.5, 0.25), full, strict=True):
            np.testing.assert_array_equal(frames.load_region(0, scale=scale), expected)


@pytest.mark.parametrize("suffix", ["png", "gif"])
def test_small_pictures_are_decoded_once(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(picture()).quantize(16).save(path)
    expected = np.asarray(Image.open(path).convert("RGB"))
    frames = SimpleFrames({0: path}, tmp_path)
    for row in range(0, 300, 50):
        np.testing.assert_array_equal(
            frames.load_region(0, Window(row, 7, 60, 60))[..., :3], expected[row : row + 60, 7:67]
        )
    assert subregion.cache_info().misses == 2
    assert subregion.cache_info().hits == 4


def test_no_decoder_begins_for_what_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To begin takes libvips five times as long as all else about such a read."""
    save_png(tmp_path / "a.png", picture())
    frames = SimpleFrames({0: tmp_path / "a.png"}, tmp_path)
    window = Window(3, 7, 60, 60)
    _, expected = (frames.load_region(0, window) for _ in range(2))
    began: list[Any] = []
    monkeypatch.setattr(Loader, "start", lambda self, file: began.append(file))
    np.testing.assert_array_equal(frames.load_region(0, window), expected)
    np.testing.assert_array_equal(frames.load_regions([(0, window)] * 3, threads=2)[2], expected)
    assert began == []


def test_batches_use_it(tmp_path: Path) -> None:
    pixels = picture()
    frames = SimpleFrames({0: tiled(tmp_path / "a.tif", pixels)}, tmp_path)
    for _ in range(4):
        batch = frames.load_regions([(0, Window(k, k, 90, 90)) for k in range(0, 300, 30)], threads=2)
        for k, part in zip(range(0, 300, 30), batch, strict=True):
            np.testing.assert_array_equal(part, pixels[k : k + 90, k : k + 90])
    assert subregion.cache_info()[:2] == (2 * 24, 2 * 24)  # of 24 blocks, the third and fourth time


def test_many_threads(tmp_path: Path) -> None:
    pixels = picture()
    subregion.set_cache_limit(200_000)
    frames = SimpleFrames({0: tiled(tmp_path / "a.tif", pixels)}, tmp_path)
    wrong: list[int] = []

    def read(seed: int) -> None:
        generator = np.random.default_rng(seed)
        for row, col in generator.integers(0, 400, (150, 2)).tolist():
            if not np.array_equal(
                frames.load_region(0, Window(row, col, 64, 64)), pixels[row : row + 64, col : col + 64]
            ):
                wrong.append(seed)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert subregion.cache_info().nbytes <= 200_000


def _blocks_in_child(queue: Any) -> None:
    queue.put(subregion.cache_info().blocks)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_starts_with_nothing(tmp_path: Path) -> None:
    frames = SimpleFrames({0: tiled(tmp_path / "a.tif", picture())}, tmp_path)
    for _ in range(3):
        frames.load_region(0)
    assert subregion.cache_info().blocks
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_blocks_in_child, args=(queue,))
    child.start()
    assert queue.get(timeout=60) == 0
    child.join()


def test_the_environment_sets_the_limit() -> None:
    def limit(value: str) -> subprocess.CompletedProcess[str]:
        code = "import subregion; print(subregion.cache_info().limit)"
        environment = os.environ | {"SUBREGION_BLOCK_CACHE": value}
        return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)

    assert limit("1000000").stdout.strip() == "1000000"
    assert "SUBREGION_BLOCK_CACHE='much'" in limit("much").stderr


@pytest.mark.parametrize("value", [-1, 1.5, True, "64MB", None])
def test_limits_that_make_no_sense(value: Any) -> None:
    with pytest.raises(ConfigError, match="whole number of bytes"):
        subregion.set_cache_limit(value)


def test_blocks_and_whole_images_of_a_file_are_not_mixed_up(
    tmp_path: Path, photograph: NDArray[np.uint8]
) -> None:
    # A file that is being written may be read by blocks at one moment, and only whole at the next.
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, photograph, rowsperstrip=64, compression="zlib", photometric="rgb")
    by_blocks = open_raster(str(path))
    for _ in range(3):
        by_blocks.read(Window(0, 0, 10, 10))
    file = SourceFile(str(path))
    for _ in range(3):
        np.testing.assert_array_equal(open_pillow(file, ("TIFF",)).read(Window(0, 0, 400, 600)), photograph)
        whole = Raster(str(path), "TIFF", LAYOUT, top_down_level(file, Loader("tiffload", "TIFF")))
        np.testing.assert_array_equal(whole.read(Window(0, 0, 400, 600)), photograph)
    np.testing.assert_array_equal(by_blocks.read(Window(0, 0, 400, 600)), photograph)


def damaged_below(path: Path, pixels: NDArray[Any]) -> Path:
    """A picture of which the upper quarter can be decoded, and not all of the rest."""
    if path.suffix == ".tif":
        tifffile.imwrite(path, pixels, compression="jpeg", tile=(256, 256), photometric="rgb")
    else:
        Image.fromarray(pixels).save(path)
    stored = bytearray(path.read_bytes())
    half = len(stored) // 2
    if path.suffix == ".tif":
        stored[half : half + 2] = b"\xff\xd9"  # the end of a JPEG
    else:
        stored[half:-40:9] = b"\xff" * len(stored[half:-40:9])
    path.write_bytes(stored)
    return path


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
@pytest.mark.parametrize("columns", [30, 300])
def test_what_can_be_read_once_can_be_read_again(suffix: str, columns: int, tmp_path: Path) -> None:
    """Whole blocks are decoded to keep them: that others of their rows are damaged changes nothing."""
    shape = (256, 256, 3) if suffix == ".tif" else (256, 512, 3)
    pixels = np.repeat(picture(shape[0], shape[1] // 8), 8, axis=1)
    path = damaged_below(tmp_path / f"a{suffix}", pixels)
    frames = SimpleFrames({0: path})
    window = Window(3, 10, 20, columns)
    first = frames.load_region(0, window)
    for threads in (1, 2, 1, 2):
        np.testing.assert_array_equal(frames.load_region(0, window), first)
        np.testing.assert_array_equal(frames.load_regions([(0, window)] * 2, threads=threads)[1], first)
    with pytest.raises(DamagedFileError, match=rf"a\{suffix}"):
        frames.load_region(0)
    np.testing.assert_array_equal(frames.load_region(0, window), first)
