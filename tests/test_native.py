"""The compiled executor: pixels of all kinds of blocks, what it hands back, files that are cut meanwhile.

Compared with NumPy, and with files that other libraries wrote.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import pytest
import tifffile
import zarr
import zarr.codecs
from numpy.typing import NDArray

import subregion
from subregion import SimpleFrames, Window
from subregion.blocks import native
from subregion.errors import DamagedFileError, SubregionError
from subregion.formats.open import open_raster

pytestmark = pytest.mark.skipif(not native.BUILT, reason="it was not built here")

ROWS, COLS = 203, 307
DTYPES = ["u1", "<u2", ">u2", "<i4", ">f4", "<f8", "?", "<c8", ">c8", ">c16"]


def pixels(dtype: str, bands: int, seed: int = 0) -> NDArray[Any]:
    rng = np.random.default_rng(seed)
    smooth = np.add.outer(np.arange(ROWS), np.arange(COLS))[..., None] + np.arange(bands) * 7
    found = smooth // 3 + rng.integers(0, 9, (ROWS, COLS, bands))
    if np.dtype(dtype).kind == "c":
        found = found - 2j * found[::-1]
    return found.astype(dtype) if dtype != "?" else (found % 5 < 2)


def is_native(path: Path) -> bool:
    """Whether the compiled executor reads it, so that the test is about that."""
    return open_raster(str(path)).full.table is not None


def check(path: Path, expected: NDArray[Any], backend: Any = None, seed: int = 1, count: int = 60) -> None:
    """Read many windows, one by one and together, with steps and bands."""
    frames = SimpleFrames({1: path}, path.parent / "work", backend)
    rng = np.random.default_rng(seed)
    rows, cols, bands = expected.shape
    places: list[tuple[slice, slice]] = []
    for _ in range(count):
        row, col = int(rng.integers(0, rows)), int(rng.integers(0, cols))
        stop_row, stop_col = int(rng.integers(row, rows)) + 1, int(rng.integers(col, cols)) + 1
        down, across = (int(step) for step in rng.choice([1, 1, 1, 2, 3, 70, 200], 2))
        first = int(rng.integers(0, bands))
        stop = int(rng.integers(first, bands)) + 1
        place = slice(row, stop_row, down), slice(col, stop_col, across)
        places.append(place)
        wanted = expected[place][..., first:stop]
        np.testing.assert_array_equal(frames.load_region(1, (*place, slice(first, stop))), wanted)
    for threads in (1, 3):
        batch = frames.load_regions([(1, place) for place in places], threads=threads, stack=False)
        for place, found in zip(places, batch, strict=True):
            np.testing.assert_array_equal(found, expected[place])
    out = np.zeros((bands, 40, 50, 4), expected.dtype.newbyteorder("=")).transpose(3, 1, 2, 0)
    frames.load_regions([(1, Window(k, 2 * k, 40, 50)) for k in range(4)], out=out)
    for k in range(4):
        np.testing.assert_array_equal(out[k], expected[k : k + 40, 2 * k : 2 * k + 50])


@pytest.mark.parametrize("dtype", [each for each in DTYPES if each != "?"])  # tifffile loses such bits
@pytest.mark.parametrize(
    ("compression", "predictor"),
    [(None, 1), ("zlib", 1), ("zstd", 1), ("zlib", 2), ("zstd", 2), ("zstd", 3), ("zlib", 3)],
)
@pytest.mark.parametrize("layout", ["tiled", "strips", "planes"])
def test_tiffs(tmp_path: Path, dtype: str, compression: str | None, predictor: int, layout: str) -> None:
    kind = np.dtype(dtype).kind
    if (predictor == 2 and kind not in "iu") or (predictor == 3 and kind != "f"):
        pytest.skip("no such predictor of this type")
    expected = pixels(dtype, 3)
    options: dict[str, Any] = {"tile": (48, 64)} if layout != "strips" else {"rowsperstrip": 17}
    stored = np.moveaxis(expected, 2, 0) if layout == "planes" else expected
    options |= {"planarconfig": "separate"} if layout == "planes" else {"planarconfig": "contig"}
    path = tmp_path / "a.tif"
    order: Any = ">" if dtype[0] == ">" else "<"
    tifffile.imwrite(
        path,
        stored,
        byteorder=order,
        photometric="minisblack",
        compression=compression,
        predictor=predictor != 1,
        metadata=None,
        **options,
    )
    assert is_native(path) == (predictor != 3 or layout == "planes")
    check(path, expected, seed=len(dtype) + predictor, count=20)


CODECS: dict[str, Any] = {
    "raw": None,
    "zstd": zarr.codecs.ZstdCodec(level=3),
    "gzip": zarr.codecs.GzipCodec(),
    **{
        f"blosc-{name}-{shuffle}": zarr.codecs.BloscCodec(cname=name, shuffle=shuffle, typesize=None)
        for name in ("lz4", "lz4hc", "zstd", "zlib")
        for shuffle in ("noshuffle", "shuffle", "bitshuffle")
    },
}


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("dtype", ["u1", "u2", "f4", "f8"])
def test_zarr_shards(tmp_path: Path, codec: str, dtype: str) -> None:
    expected = pixels(dtype, 2)
    group = zarr.create_array(
        tmp_path / "a.zarr",
        shape=expected.shape,
        chunks=(32, 48, 2),
        shards=(224, 336, 2),
        dtype=dtype,
        compressors=CODECS[codec],
        dimension_names=("y", "x", "c"),
    )
    group[:] = expected
    check(tmp_path / "a.zarr", expected, count=20)


@pytest.mark.parametrize("dtype", ["u1", "<u2", "<f4"])
@pytest.mark.parametrize(
    "backend",
    [
        "npy",
        {"type": "zarr"},
        {"type": "zarr", "config": {"compress": "ZSTD"}},
        {"type": "cog", "config": {"compress": "ZSTD"}},
        {"type": "cog", "config": {"compress": "DEFLATE"}},
        {"type": "cog", "config": {"compress": "RAW"}},
    ],
    ids=str,
)
def test_copies(tmp_path: Path, backend: Any, dtype: str) -> None:
    expected = pixels(dtype, 3)
    tifffile.imwrite(tmp_path / "a.tif", expected, compression="lzw", photometric="rgb", rowsperstrip=ROWS)
    check(tmp_path / "a.tif", expected, backend, count=40)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_npy(tmp_path: Path, order: Any, dtype: str) -> None:
    expected = pixels(dtype, 3)
    np.save(tmp_path / "a.npy", np.asarray(expected, order=order))
    assert is_native(tmp_path / "a.npy")
    check(tmp_path / "a.npy", expected.astype("u1") if dtype == "?" else expected)


def test_blocks_that_were_never_written(tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    path = tmp_path / "a.tif"
    profile = {"driver": "GTiff", "count": 2, "height": ROWS, "width": COLS, "dtype": "int16", "nodata": -9}
    profile |= {"tiled": True, "blockxsize": 64, "blockysize": 64, "sparse_ok": True, "compress": "zstd"}
    with rasterio.open(path, "w", **profile) as file:
        part = np.arange(2 * 40 * 50, dtype=np.int16).reshape(2, 40, 50)
        file.write(part, window=rasterio.windows.Window(70, 70, 50, 40))
    assert is_native(path)
    with rasterio.open(path) as file:
        check(path, np.moveaxis(file.read(), 0, -1), count=30)


TOLD = """
import os, sys, subregion
for folder in sorted(os.listdir(sys.argv[1])):
    path = os.path.join(sys.argv[1], folder, "a.tif")
    try:
        print("read", subregion.open(path, None)[:].sum())
    except subregion.errors.SubregionError as error:
        print(type(error).__name__, error)
"""


def test_damage_is_told_as_ever(tmp_path: Path) -> None:
    """What is wrong with a block is handed back, and told by the executor that knows what to say.

    ZSTD without a checksum lets some damage pass; then any two releases of it may give other values.
    """
    expected = pixels("u2", 1)[..., 0]
    for seed in range(60):
        path = tmp_path / str(seed) / "a.tif"
        path.parent.mkdir()
        tifffile.imwrite(path, expected, tile=(64, 64), compression="zlib", metadata=None)
        with tifffile.TiffFile(path) as tiff:
            page = tiff.pages.first
            first, last = page.dataoffsets[0], page.dataoffsets[-1] + page.databytecounts[-1]
        data = bytearray(path.read_bytes())
        rng = np.random.default_rng(seed)
        data[int(rng.integers(first, last))] ^= 1 << int(rng.integers(8))
        path.write_bytes(data)
    found = []
    for switch in ("1", "0"):
        command = [sys.executable, "-c", TOLD, str(tmp_path)]
        env = os.environ | {"SUBREGION_NATIVE": switch}
        done = subprocess.run(command, env=env, check=True, capture_output=True, text=True)
        found.append(done.stdout.splitlines())
    assert found[0] == found[1]
    assert len(found[0]) == 60
    assert sum(line.startswith("DamagedFileError") for line in found[0]) > 20


def test_a_file_that_is_cut_under_a_map_is_an_error(tmp_path: Path) -> None:
    expected = pixels("u2", 3)
    path = tmp_path / "a.npy"
    np.save(path, expected)
    size = path.stat().st_size
    frames = SimpleFrames({1: path}, hashid_mode="PATH")
    np.testing.assert_array_equal(frames.load_region(1, Window(0, 0, 9, 9)), expected[:9, :9])
    raster = subregion.open(path, None)
    raster[:2, :2]
    os.truncate(path, 5000)
    with pytest.raises(DamagedFileError, match=r"truncated"):
        frames.load_region(1, Window(ROWS - 9, 0, 9, 9))
    os.truncate(path, size)  # zeros now, which is what the file holds
    np.save(path, expected)
    np.testing.assert_array_equal(SimpleFrames({1: path}).load_region(1), expected)


CUT = """
import os, sys, threading, numpy as np, subregion
path, expected = sys.argv[1], np.load(sys.argv[2])
whole = open(sys.argv[2], "rb").read()
stop = threading.Event()
def cut():
    while not stop.is_set():
        os.truncate(path, 4096)
        with open(path, "r+b") as file:
            file.write(whole)
thread = threading.Thread(target=cut)
thread.start()
wrong = errors = right = 0
rng = np.random.default_rng(0)
rows, cols, _ = expected.shape
for _ in range(3000):
    row, col = int(rng.integers(0, rows - 40)), int(rng.integers(0, cols - 40))
    try:
        found = subregion.SimpleFrames({1: path}).load_region(1, subregion.Window(row, col, 40, 40))
    except subregion.errors.SubregionError:
        errors += 1
        continue
    right += 1
stop.set()
thread.join()
print(errors, right)
"""


def test_files_that_are_cut_all_the_time_end_no_process(tmp_path: Path) -> None:
    np.save(tmp_path / "whole.npy", pixels("u2", 3))
    np.save(tmp_path / "a.npy", pixels("u2", 3))
    command = [sys.executable, "-c", CUT, str(tmp_path / "a.npy"), str(tmp_path / "whole.npy")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    errors, right = map(int, done.stdout.split())
    assert errors + right == 3000


FOREIGN = """
import ctypes, mmap, os, sys, signal, numpy as np, subregion
path, mine = sys.argv[1:3]
subregion.open(mine, None)[:4, :4]
with open(path, "r+b") as file:
    map = mmap.mmap(file.fileno(), 0)
    os.truncate(path, 0)
{handler}
map[9000]
print("read on")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has no such signal")
def test_faults_of_others_are_theirs(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", pixels("u1", 1))
    for handler, code in (
        ("", -signal.SIGBUS),
        ("import faulthandler; faulthandler.enable()", -signal.SIGBUS),
    ):
        (tmp_path / "other").write_bytes(bytes(20_000))
        script = FOREIGN.format(handler=handler)
        command = [sys.executable, "-c", script, str(tmp_path / "other"), str(tmp_path / "a.npy")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == code, done.stderr
        assert "read on" not in done.stdout


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks here")
def test_forks_while_others_read(tmp_path: Path) -> None:
    expected = pixels("u2", 3)
    tifffile.imwrite(tmp_path / "a.tif", expected, tile=(64, 64), compression="zlib", photometric="rgb")
    frames = SimpleFrames({1: tmp_path / "a.tif"})
    stop = threading.Event()

    def go_on() -> None:
        while not stop.is_set():
            frames.load_regions([(1, Window(k, k, 90, 90)) for k in range(20)], threads=2)

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        for _ in range(20):
            child = os.fork()
            if child == 0:
                found = frames.load_regions([(1, Window(k, k, 90, 90)) for k in range(20)], threads=2)
                os._exit(0 if np.array_equal(found[3], expected[3:93, 3:93]) else 1)
            assert os.waitpid(child, 0)[1] == 0
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 1000])
def test_checksums(count: int) -> None:
    data = np.random.default_rng(count).integers(0, 256, count, np.uint8)
    assert native.executor.crc32c(data) == google_crc32c.value(data.tobytes())


def test_it_can_be_turned_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "a.npy", pixels("u1", 1))
    assert is_native(tmp_path / "a.npy")
    monkeypatch.setenv("SUBREGION_NATIVE", "0")
    assert not is_native(tmp_path / "a.npy")
    np.testing.assert_array_equal(subregion.open(tmp_path / "a.npy", None)[:], pixels("u1", 1))


def test_errors_are_ours(tmp_path: Path) -> None:
    expected = pixels("u1", 3)
    tifffile.imwrite(tmp_path / "a.tif", expected, tile=(64, 64), compression="zstd", photometric="rgb")
    os.truncate(tmp_path / "a.tif", 3 * (tmp_path / "a.tif").stat().st_size // 4)
    with pytest.raises(SubregionError, match=r"a\.tif"):
        SimpleFrames({1: tmp_path / "a.tif"}).load_region(1)


@pytest.mark.parametrize(
    "backend", [None, "npy", "zarr", {"type": "cog", "config": {"compress": "DEFLATE"}}], ids=str
)
@pytest.mark.parametrize("threads", [0, 1, 2, 5])
def test_batches_of_one_shape(tmp_path: Path, backend: Any, threads: int) -> None:
    pictures = [pixels("u2", 3, seed) for seed in range(3)]
    for number, picture in enumerate(pictures):
        tifffile.imwrite(
            tmp_path / f"{number}.tif", picture, tile=(32, 48), photometric="rgb", compression="zlib"
        )
    frames = SimpleFrames({k: tmp_path / f"{k}.tif" for k in range(3)}, tmp_path / "work", backend)
    rng = np.random.default_rng(threads)
    wanted, expected = [], []
    for _ in range(50):
        number, row, col = int(rng.integers(3)), int(rng.integers(ROWS - 40)), int(rng.integers(COLS - 50))
        window: Any = Window(row, col, 40, 50)
        if rng.random() < 0.5:
            window = slice(row, row + 40), slice(col - COLS, (col + 50 - COLS) or None)
        wanted.append((number, window))
        expected.append(pictures[number][row : row + 40, col : col + 50])
    found = frames.load_regions(wanted, threads=threads)
    np.testing.assert_array_equal(found, np.stack(expected))
    np.testing.assert_array_equal(frames.load_regions(wanted, stack=True, threads=threads), found)
    one = frames.load_regions(
        [*wanted, (0, Window(-1, -1, 40, 50))], threads=threads
    )  # which leaves the image
    np.testing.assert_array_equal(one[:-1], found)
    np.testing.assert_array_equal(one[-1, 1:, 1:], pictures[0][:39, :49])
    whole = frames.load_region(1, threads=threads)
    np.testing.assert_array_equal(whole, pictures[1])
    np.testing.assert_array_equal(frames.load_image(2, threads=threads), pictures[2])


def test_a_damaged_copy_is_mended_in_a_batch(tmp_path: Path) -> None:
    picture = pixels("u2", 3)
    tifffile.imwrite(tmp_path / "a.tif", picture, photometric="rgb", rowsperstrip=ROWS, compression="lzw")
    frames = SimpleFrames({1: tmp_path / "a.tif"}, tmp_path / "work", "zarr")
    requests = [(1, Window(k, k, 90, 90)) for k in range(9)]
    frames.prepare(progress=False)
    (shard,) = (tmp_path / "work").glob("**/*.zarr/0/c/0/0/0")
    data = bytearray(shard.read_bytes())
    data[2000] ^= 4
    shard.write_bytes(data)
    np.testing.assert_array_equal(frames.load_regions(requests)[0], picture[:90, :90])


def test_damaged_blocks_under_sanitizers() -> None:
    """A few of what `make fuzz-native` does."""
    if not all(native.libraries().values()) or shutil.which("pkg-config") is None:
        pytest.skip("not all codec libraries are there")
    command = [sys.executable, "-m", "fuzz.native", "--count", "3000"]
    done = subprocess.run(
        command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False, timeout=250
    )
    assert done.returncode == 0, done.stderr
    assert "3000 blocks" in done.stdout
