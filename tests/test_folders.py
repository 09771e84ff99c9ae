"""Sources that are folders: a change of any of their files is noticed, at a cost that is bounded."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from numpy.typing import NDArray

from moments import at_moment
from subregion import SimpleFrames
from subregion.io.pool import POOL

LAYOUTS: dict[str, dict[str, Any]] = {
    "chunks": {"chunks": (100, 100, 3), "compressors": None},
    "shards": {"chunks": (50, 50, 3), "shards": (200, 300, 3), "compressors": None},
    "one chunk": {"chunks": (400, 600, 3), "compressors": None},
    "version 2": {"chunks": (100, 100, 3), "compressors": None, "zarr_format": 2},
}


def write(path: Path, pixels: NDArray[Any], layout: str = "chunks") -> Path:
    zarr.create_array(path, data=pixels, overwrite=True, **LAYOUTS[layout])
    return path


def last_chunk(path: Path) -> Path:
    found = sorted(place for place in path.rglob("*") if place.is_file() and place.suffix != ".json")
    return [place for place in found if not place.name.startswith(".")][-1]


@pytest.mark.parametrize("mode", ["PATH", "PIXELS"])
@pytest.mark.parametrize("when", ["older", "same", "in place"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("backend", [None, "npy", "auto", "zarr"])
def test_a_chunk_of_the_same_size_that_was_replaced(
    backend: str | None,
    layout: str,
    when: str,
    mode: str,
    tmp_path: Path,
    workdir: Path,
    photograph: NDArray[np.uint8],
) -> None:
    path = write(tmp_path / "a.zarr", photograph, layout)
    other = write(tmp_path / "b.zarr", 255 - photograph, layout)
    frames = SimpleFrames({1: path}, workdir, backend, mode)
    np.testing.assert_array_equal(frames.load_region(1), photograph)
    chunk, new = last_chunk(path), last_chunk(other)
    status = chunk.stat()
    old = chunk.read_bytes()
    if when == "in place":
        time.sleep(0.02)  # the clock of the file system is coarse
        with chunk.open("r+b") as file:
            file.write(new.read_bytes())
    else:  # as `rsync -a` and `cp -p` do
        back = 10**9 if when == "older" else 0
        os.utime(new, ns=(status.st_atime_ns, status.st_mtime_ns - back))
        os.replace(new, chunk)
    assert chunk.stat().st_size == len(old)
    expected = zarr.open_array(path, mode="r")[...]
    assert not np.array_equal(expected, photograph)
    np.testing.assert_array_equal(frames.load_region(1), expected)
    POOL.forget(lambda key: True)  # as another process does
    np.testing.assert_array_equal(SimpleFrames({1: path}, workdir, backend, mode).load_region(1), expected)
    frames.prepare(use_stamp=True)
    np.testing.assert_array_equal(frames.load_region(1), expected)
    assert len(list(workdir.glob("_cache/frames/??/*.json"))) <= (2 if mode == "PIXELS" else 1)


@pytest.mark.parametrize("backend", [None, "npy", "auto"])
def test_a_folder_that_was_replaced(
    backend: str | None, tmp_path: Path, workdir: Path, photograph: NDArray[np.uint8]
) -> None:
    path = write(tmp_path / "a.zarr", photograph)
    other = write(tmp_path / "b.zarr", 255 - photograph)
    frames = SimpleFrames({1: path}, workdir, backend)
    np.testing.assert_array_equal(frames.load_region(1), photograph)
    path.rename(tmp_path / "c.zarr")
    other.rename(path)
    np.testing.assert_array_equal(frames.load_region(1), 255 - photograph)
    shutil.rmtree(path)
    (tmp_path / "c.zarr").rename(path)
    np.testing.assert_array_equal(frames.load_region(1), photograph)


def test_copies_are_used_again_while_nothing_changes(
    tmp_path: Path, workdir: Path, photograph: NDArray[np.uint8]
) -> None:
    path = write(tmp_path / "a.zarr", photograph)
    frames = SimpleFrames({1: path}, workdir, "npy")
    frames.prepare()
    (entry,) = workdir.glob("_cache/frames/??/*.npy")
    for _ in range(3):
        POOL.forget(lambda key: True)
        frames.load_region(1)
        frames.prepare(use_stamp=False)
    assert list(workdir.glob("_cache/frames/??/*.npy")) == [entry]


def test_looking_at_many_files_takes_a_small_part_of_the_time(
    tmp_path: Path, workdir: Path, photograph: NDArray[np.uint8]
) -> None:
    path = tmp_path / "a.zarr"
    zarr.create_array(path, data=photograph[:240, :240], chunks=(24, 24, 3), compressors=None)
    frames = SimpleFrames({1: path}, workdir, "npy")
    frames.prepare()
    frames.load_region(1, (slice(9), slice(9)))
    with at_moment(-1, str(path), lambda: None) as seen:
        for _ in range(2000):
            frames.load_region(1, (slice(9), slice(9)))
    looks = sum(event == f"os.scandir {path}" for event in seen)
    assert 0 < looks < 400, looks


def test_links_in_a_folder_that_lead_back(
    tmp_path: Path, workdir: Path, photograph: NDArray[np.uint8]
) -> None:
    path = write(tmp_path / "a.zarr", photograph)
    for place in [path, *(each for each in path.rglob("*") if each.is_dir())]:
        (place / "up").symlink_to(path)
        (place / "here").symlink_to(".")
        (place / "ring").symlink_to("ring")
        (place / "nowhere").symlink_to("/nowhere/at/all")
    for mode in ("PATH", "PIXELS"):
        frames = SimpleFrames({1: path}, workdir, "npy", mode)
        begin = time.monotonic()
        np.testing.assert_array_equal(frames.load_region(1), photograph)
        assert time.monotonic() - begin < 10
