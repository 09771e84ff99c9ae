"""The compiled executor at its edges: what it refuses, what it leaves to others, and what it must not do."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
import zarr.codecs

import subregion
from subregion import SimpleFrames, Window
from subregion.blocks import native
from subregion.blocks.level import WindowRead
from subregion.errors import DamagedFileError, RegionError, TooLargeError
from subregion.formats.open import open_raster
from test_native import ROWS, is_native, pixels

pytestmark = pytest.mark.skipif(not native.BUILT, reason="it was not built here")


def test_numbers_that_no_machine_has(tmp_path: Path) -> None:
    expected = pixels("u1", 3)
    np.save(tmp_path / "a.npy", expected)
    frames = SimpleFrames({1: tmp_path / "a.npy"})
    for window in (Window(2**70, 0, 9, 9), Window(0, -(2**70), 9, 9), Window(0, 0, 2**70, 9)):
        with pytest.raises(RegionError):
            frames.load_region(1, window)
        with pytest.raises(RegionError):
            frames.load_regions([(1, window)])
    limit = subregion.cache_info().limit
    subregion.set_cache_limit(2**70)
    try:
        for threads in (1, 2**40):
            found = frames.load_regions([(1, Window(k, k, 9, 9)) for k in range(9)], threads=threads)
            np.testing.assert_array_equal(found[8], expected[8:17, 8:17])
            np.testing.assert_array_equal(frames.load_region(1, threads=threads), expected)
    finally:
        subregion.set_cache_limit(limit)


def test_large_results_are_asked_for_in_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.lib.format.open_memmap(tmp_path / "a.npy", "w+", np.float64, (6000, 6000)).flush()  # a sparse file
    monkeypatch.setenv("SUBREGION_MAX_RESULT_BYTES", str(1 << 20))
    frames = SimpleFrames({1: tmp_path / "a.npy"})
    for read in (frames.load_image, frames.load_region):
        with pytest.raises(TooLargeError):
            read(1)
    assert frames.load_region(1, Window(5000, 5000, 5, 5)).sum() == 0


@pytest.mark.filterwarnings("error")
def test_a_nodata_value_that_the_type_cannot_hold(tmp_path: Path) -> None:
    expected = pixels("f4", 1)[..., 0]
    lowest = [(42113, 2, 0, "-1.7976931348623157e+308", True)]
    tifffile.imwrite(tmp_path / "a.tif", expected, tile=(64, 64), compression="zlib", extratags=lowest)
    assert is_native(tmp_path / "a.tif")
    np.testing.assert_array_equal(subregion.open(tmp_path / "a.tif", None)[:][..., 0], expected)


def test_only_blocks_that_are_wanted_again_are_kept(tmp_path: Path) -> None:
    expected = pixels("u2", 3)
    tifffile.imwrite(tmp_path / "a.tif", expected, tile=(32, 32), compression="zlib", photometric="rgb")
    before = subregion.cache_info()
    for number, many in enumerate((False, True)):
        path = tmp_path / f"{number}.tif"
        shutil.copy(tmp_path / "a.tif", path)
        frames = SimpleFrames({1: path})
        kept = subregion.cache_info().blocks
        for k in range(4):  # any two neighbours have one block in common
            window = Window(0, 32 * k, 32, 64)
            found = frames.load_regions([(1, window)])[0] if many else frames.load_region(1, window)
            np.testing.assert_array_equal(found, expected[:32, 32 * k : 32 * k + 64])
        assert subregion.cache_info().blocks - kept == 3
    assert subregion.cache_info().hits == before.hits


def test_reads_that_leave_their_level_are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", pixels("u2", 3), tile=(64, 64), compression="zlib")
    level = open_raster(str(tmp_path / "a.tif")).full
    out = np.empty((9, 9, 3), np.uint16)
    assert level.table.read([WindowRead(level, Window(0, 0, 9, 9), out)], 0) is None
    for read in (
        WindowRead(level, Window(ROWS - 8, 0, 9, 9), out),
        WindowRead(level, Window(-1, 0, 9, 9), out),
        WindowRead(level, Window(0, 0, 10, 9), out),
        WindowRead(level, Window(0, 0, 9, 9), out, None, (2, 1)),
        WindowRead(level, Window(0, 0, 9, 9), out, (0, 1)),
        WindowRead(level, Window(0, 0, 9, 9), out, (0, 1, 3)),
        WindowRead(level, Window(0, 0, 9, 9), out[..., :2]),
        WindowRead(level, Window(0, 0, 9, 9), out[..., 0]),
        WindowRead(level, Window(0, 0, 9, 9), out.astype("u1")),
    ):
        with pytest.raises(ValueError, match=r"output|band"):
            level.table.read([read], 0)


def test_a_frame_of_blosc_that_is_none(tmp_path: Path) -> None:
    expected = np.random.default_rng(0).integers(0, 256, (64, 64, 1), np.uint8)
    array = zarr.create_array(
        tmp_path / "a.zarr",
        shape=expected.shape,
        chunks=(32, 32, 1),
        shards=(64, 64, 1),
        dtype="u1",
        compressors=zarr.codecs.BloscCodec(cname="lz4"),
        dimension_names=("y", "x", "c"),
    )
    array[:] = expected
    (shard,) = (tmp_path / "a.zarr").glob("c/0/0/0")
    data = shard.read_bytes()
    begin = data.index((1024).to_bytes(4, "little")) - 4  # of a block that could not be made shorter
    for place, value in ((0, 9), (2, data[begin + 2] | 8), (9, 99)):
        shard.write_bytes(data[: begin + place] + bytes([value]) + data[begin + place + 1 :])
        with pytest.raises(DamagedFileError):
            SimpleFrames({1: tmp_path / "a.zarr"}).load_region(1)


TAKEN_OVER = """
import faulthandler, os, signal, sys, numpy as np, subregion
from subregion import Window
path, mode = sys.argv[1:]
if mode == "ignored":
    signal.signal(signal.SIGBUS, signal.SIG_IGN)
frames = subregion.SimpleFrames({1: path})
level = subregion.formats.open.open_raster(path).full
def read():
    out = np.empty((4, 4, 1), "u1")
    return level.table.read([subregion.blocks.level.WindowRead(level, Window(900, 900, 4, 4), out)], 0)
assert read() is None
if mode == "replaced":
    faulthandler.enable()
    for _ in range(20):
        read()
else:
    os.kill(os.getpid(), signal.SIGBUS)
os.truncate(path, 4096)
assert read() == [0]
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has no such signal")
@pytest.mark.parametrize("mode", ["replaced", "ignored"])
def test_a_signal_that_others_took_over(tmp_path: Path, mode: str) -> None:
    """Where faults cannot be caught nothing is mapped; where they are ignored, they still are ours."""
    np.save(tmp_path / "a.npy", np.ones((1000, 1000), np.uint8))
    command = [sys.executable, "-c", TAKEN_OVER, str(tmp_path / "a.npy"), mode]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
