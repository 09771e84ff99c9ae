"""Files that were closed because too many were open: they are opened again quickly, and never stale."""

from __future__ import annotations

import gc
import mmap
import multiprocessing
import os
import shutil
import threading
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from subregion import SimpleFrames, Window
from subregion.blocks.cache import BLOCKS
from subregion.formats import open as opening
from subregion.io import pool
from subregion.io.descriptors import TICK, state_of
from subregion.io.pool import INDEXES, POOL

BACKENDS = ["npy", "cog", {"type": "cog", "config": {"compress": "JPEG"}}, "zarr", "jpeg"]


def picture(seed: int, rows: int = 300, cols: int = 280) -> NDArray[np.uint8]:
    """Return a picture that compresses, and is another for each seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (rows // 20 + 1, cols // 20 + 1, 3), np.uint8)
    return coarse.repeat(20, 0).repeat(20, 1)[:rows, :cols]


@pytest.fixture
def paths(tmp_path: Path) -> dict[int, str]:
    """Write some pictures, longer ago than the clock of the file system ticks."""
    found = {}
    for number in range(6):
        found[number] = str(tmp_path / f"{number}.tif")
        tifffile.imwrite(found[number], picture(number), tile=(64, 64), compression="zlib")
    time.sleep(2 * TICK)
    return found


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let two files be open at a time."""
    monkeypatch.setattr(POOL, "capacity", 2)
    yield
    POOL.forget(lambda key: True)


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list to which every file is added that is parsed."""
    from subregion.cache import store

    found: list[str] = []

    def noted(path: str, *rest: Any, **named: Any) -> Any:
        found.append(path)
        return opening.open_raster(path, *rest, **named)

    monkeypatch.setattr(store, "open_raster", noted)
    return found


def read_all(frames: SimpleFrames, paths: dict[int, str], **options: Any) -> list[NDArray[Any]]:
    return [frames.load_region(number, (slice(30, 200), slice(11, 250)), **options) for number in paths]


@pytest.mark.parametrize("backend", [None, *BACKENDS], ids=str)
@pytest.mark.parametrize("compiled", [True, False])
def test_pixels_of_files_that_are_opened_again(
    backend: Any,
    compiled: bool,
    paths: dict[int, str],
    tmp_path: Path,
    parsed: list[str],
    request: pytest.FixtureRequest,
) -> None:
    if not compiled:
        request.getfixturevalue("in_python")
    frames = SimpleFrames(paths, tmp_path / "cache", backend)
    first = read_all(frames, paths)
    count = len(parsed)
    assert len(POOL) == 2
    for _ in range(3):
        again = read_all(frames, paths)
        for one, other in zip(first, again, strict=True):
            np.testing.assert_array_equal(one, other)
    assert len(parsed) == count
    if backend in (None, "npy", "cog", "zarr"):
        for number, pixels in enumerate(first):
            np.testing.assert_array_equal(pixels, picture(number)[30:200, 11:250])


@pytest.mark.parametrize("backend", BACKENDS[1:], ids=str)
def test_overviews_are_kept_with_the_index(backend: Any, tmp_path: Path, parsed: list[str]) -> None:
    paths = {}
    for number in range(4):
        paths[number] = str(tmp_path / f"{number}.tif")
        tifffile.imwrite(paths[number], picture(number, 1300, 1200))
    frames = SimpleFrames(paths, tmp_path / "cache", backend)
    first = read_all(frames, paths, scale=0.25)
    count = len(parsed)
    for _ in range(2):
        for one, other in zip(first, read_all(frames, paths, scale=0.25), strict=True):
            np.testing.assert_array_equal(one, other)
    assert len(parsed) == count


def replace_in_place(path: str, content: bytes) -> None:
    with open(path, "r+b") as file:
        file.write(content)


def replace_by_name(path: str, content: bytes) -> None:
    Path(f"{path}.new").write_bytes(content)
    os.replace(f"{path}.new", path)


@pytest.mark.parametrize("backend", [None, "npy", "cog", "zarr", "jpeg"])
@pytest.mark.parametrize("write", [replace_in_place, replace_by_name])
def test_a_source_that_changed_while_it_was_closed(
    backend: Any, write: Any, paths: dict[int, str], tmp_path: Path
) -> None:
    frames = SimpleFrames(paths, tmp_path / "cache", backend)
    read_all(frames, paths)
    status = os.stat(paths[0])
    other = tmp_path / "other.tif"
    tifffile.imwrite(other, 255 - picture(0), tile=(64, 64), compression="zlib")
    content = other.read_bytes()
    content += bytes(max(0, status.st_size - len(content)))
    write(paths[0], content)
    os.utime(paths[0], ns=(status.st_atime_ns, status.st_mtime_ns))  # as nobody should
    found = frames.load_region(0, (slice(30, 200), slice(11, 250)))
    expected = (255 - picture(0))[30:200, 11:250].astype(int)
    assert np.abs(found - expected).mean() < (10 if backend == "jpeg" else 1e-9)


def test_a_file_of_the_same_size_with_another_index(tmp_path: Path, parsed: list[str]) -> None:
    paths = {number: str(tmp_path / f"{number}.npy") for number in range(4)}
    for number, path in paths.items():
        np.save(path, picture(number))
    time.sleep(2 * TICK)
    frames = SimpleFrames(paths, tmp_path / "cache", None)
    read_all(frames, paths)
    np.save(paths[0], picture(9).transpose(1, 0, 2))  # as many bytes, other rows
    assert frames.load_image(0).shape == (280, 300, 3)  # type: ignore[union-attr]
    np.testing.assert_array_equal(frames.load_region(0), picture(9).transpose(1, 0, 2))
    assert parsed.count(paths[0]) > 1


def test_files_that_were_just_written_are_parsed_again(tmp_path: Path) -> None:
    paths = {number: str(tmp_path / f"{number}.npy") for number in range(4)}
    frames = SimpleFrames(paths, tmp_path / "cache", None)
    for number in paths:
        np.save(paths[number], picture(number))
        frames.load_region(number)
    # Another write within the same tick would look the same, so nothing may be known of them.
    assert len(INDEXES) == 0


@pytest.mark.parametrize("backend", ["npy", "cog", "zarr", "jpeg"])
def test_a_copy_that_was_taken_away_is_made_anew(backend: str, paths: dict[int, str], tmp_path: Path) -> None:
    frames = SimpleFrames(paths, tmp_path / "cache", backend)
    first = read_all(frames, paths)
    shutil.rmtree(tmp_path / "cache")
    for one, other in zip(first, read_all(frames, paths), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("backend", ["cog", "zarr", "jpeg"])
def test_a_copy_that_was_damaged_while_it_was_closed_is_made_anew(
    backend: str, paths: dict[int, str], tmp_path: Path
) -> None:
    frames = SimpleFrames(paths, tmp_path / "cache", backend)
    first = read_all(frames, paths)
    read_all(frames, paths)
    for path in (tmp_path / "cache").rglob("*"):
        status = path.stat()
        if path.is_file() and status.st_size > 2000 and path.suffix not in (".json", ".sums"):
            content = bytearray(path.read_bytes())
            for at in range(len(content) // 3, 2 * len(content) // 3, 100):
                content[at] ^= 0x55
            path.write_bytes(content)
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    POOL.close(lambda key: True)
    for one, other in zip(first, read_all(frames, paths), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.pixels
@pytest.mark.parametrize("backend", ["cog", "zarr"])
def test_a_copy_that_rotted_while_it_was_closed_is_made_anew(backend: str, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (512, 512, 3), np.uint8)
    np.save(tmp_path / "a.npy", noise)
    time.sleep(2 * TICK)
    frames = SimpleFrames({1: tmp_path / "a.npy"}, tmp_path / "cache", backend)
    frames.load_region(1)
    POOL.forget(lambda key: True)
    path = max((tmp_path / "cache").rglob("*"), key=lambda path: path.is_file() and path.stat().st_size)
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        # A page that is dirty already is changed without any sign of it, as on a disk that decays.
        for at in range(0, len(mapped), 1000):
            mapped[at] = mapped[at]
        time.sleep(2 * TICK)
        np.testing.assert_array_equal(frames.load_region(1), noise)
        POOL.close(lambda key: True)
        BLOCKS._start_empty()
        assert len(INDEXES) == 1
        before = state_of(path.stat())
        for at in range(len(mapped) // 4000 * 1000, len(mapped) // 2, 1000):
            mapped[at] ^= 0x55
        if state_of(path.stat()) != before:
            pytest.skip("the system wrote the pages back too soon")
        np.testing.assert_array_equal(frames.load_region(1), noise)


def test_indexes_are_bounded_by_bytes(
    paths: dict[int, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parsed: list[str]
) -> None:
    frames = SimpleFrames(paths, tmp_path / "cache", "cog")
    read_all(frames, paths)
    assert len(INDEXES) == 4
    one = INDEXES.nbytes // 4
    INDEXES.forget(lambda key: True)
    assert INDEXES.nbytes == 0
    monkeypatch.setattr(INDEXES, "limit", 2 * one + one // 2)
    read_all(frames, paths)
    assert len(INDEXES) == 2
    assert 0 < INDEXES.nbytes <= INDEXES.limit
    INDEXES.forget(lambda key: True)
    monkeypatch.setattr(INDEXES, "limit", 0)
    count = len(parsed)
    read_all(frames, paths)
    read_all(frames, paths)
    assert len(INDEXES) == 0
    assert len(parsed) > count


@pytest.mark.parametrize("backend", [None, "cog"])
def test_names_of_bands_count_as_memory(backend: str | None, tmp_path: Path) -> None:
    items = "".join(
        f'<Item name="DESCRIPTION" sample="{band}" role="description">Band {band}</Item>'
        for band in range(200)
    )
    said = f"<GDALMetadata>{items}</GDALMetadata>"
    paths = {number: tmp_path / f"{number}.tif" for number in range(12)}
    for path in paths.values():
        tags = [(42112, 2, len(said) + 1, said, True)]
        pixels = np.zeros((120, 120, 200), np.uint8)
        how: Any = {"planarconfig": "contig", "tile": (64, 64), "compression": "zlib", "extratags": tags}
        tifffile.imwrite(path, pixels, photometric="minisblack", **how)
    time.sleep(2 * TICK)
    BLOCKS.resize(0)
    frames = SimpleFrames(paths, tmp_path / "cache", backend)

    def kept(numbers: range) -> int:
        before = INDEXES.nbytes
        for number in numbers:
            frames.load_region(number, Window(0, 0, 4, 4), channels="Band 7")
        gc.collect()
        return INDEXES.nbytes - before

    kept(range(12))
    POOL.forget(lambda key: True)
    kept(range(4))
    tracemalloc.start()
    try:
        assert kept(range(4, 12)) > tracemalloc.get_traced_memory()[0] * 0.7
    finally:
        tracemalloc.stop()


def test_the_least_recently_used_index_goes_first() -> None:
    indexes = pool.Indexes(100)
    for name in "abc":
        indexes.put(name, pool.Index(name, 30))
    assert indexes.get("a") == ("a", 30)
    indexes.put("d", pool.Index("d", 30))
    assert [name for name in "abcd" if indexes.get(name)] == ["a", "c", "d"]
    indexes.put("e", pool.Index("e", 101))
    assert indexes.get("e") is None
    assert indexes.nbytes == 90


def test_no_descriptor_is_held_by_an_index(paths: dict[int, str], tmp_path: Path) -> None:
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("descriptors cannot be listed here")
    kinds: list[Any] = [None, *BACKENDS]
    frames = {str(kind): SimpleFrames(paths, tmp_path / "cache", kind) for kind in kinds}
    for each in frames.values():
        read_all(each, paths)
    POOL.close(lambda key: True)
    assert len(INDEXES) == len(frames) * len(paths)
    held = [os.path.realpath(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")]
    assert not [path for path in held if path.startswith(str(tmp_path))]
    with open("/proc/self/maps", encoding="utf-8") as maps:
        assert not [line for line in maps if str(tmp_path) in line]


def test_forgotten_with_the_collection_that_opened_them(paths: dict[int, str], tmp_path: Path) -> None:
    frames = SimpleFrames(paths, tmp_path / "cache", "cog")
    read_all(frames, paths)
    assert len(INDEXES) > 0
    frames.backend = "zarr"
    assert len(INDEXES) == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_child_opens_for_itself(paths: dict[int, str], tmp_path: Path) -> None:
    frames = SimpleFrames(paths, tmp_path / "cache", "cog")
    first = read_all(frames, paths)

    def child() -> None:
        empty = len(INDEXES) == 0
        found = [*read_all(frames, paths), *read_all(frames, paths)]
        answers.put(empty and all(map(np.array_equal, found, first + first)))

    assert len(INDEXES) > 0
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    process = context.Process(target=child)
    process.start()
    assert answers.get()
    process.join(60)
    assert process.exitcode == 0
    for one, other in zip(first, read_all(frames, paths), strict=True):
        np.testing.assert_array_equal(one, other)


def test_threads_that_close_each_others_files(paths: dict[int, str], tmp_path: Path) -> None:
    frames = SimpleFrames(paths, tmp_path / "cache", "cog")
    first = read_all(frames, paths)
    wrong: list[int] = []

    def reads(seed: int) -> None:
        for number in np.random.default_rng(seed).integers(0, len(paths), 60).tolist():
            found = frames.load_region(number, Window(30, 11, 170, 239))
            if not np.array_equal(found, first[number]):
                wrong.append(number)

    threads = [threading.Thread(target=reads, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(POOL) == 2
