"""Windows of files that are not in memory: the system is told what is wanted, and pixels stay right."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from subregion import SimpleFrames, Window
from subregion.io import source
from subregion.io.source import WARM, SourceFile

pytestmark = pytest.mark.skipif(not hasattr(os, "RWF_NOWAIT"), reason="this system cannot be asked")


@pytest.fixture
def pixels() -> NDArray[Any]:
    return np.random.default_rng(0).integers(0, 60000, (600, 700), np.uint16)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch, in_python: None) -> list[tuple[int, int]]:
    """Make every byte seem to be on the disk, and collect what the system is told."""

    def look(*_: Any) -> int:
        raise BlockingIOError

    found: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "preadv", look)
    monkeypatch.setattr(SourceFile, "announce", lambda self, offset, count: found.append((offset, count)))
    return found


def test_blocks_are_announced(tmp_path: Path, pixels: NDArray[Any], told: list[tuple[int, int]]) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels, tile=(64, 64), compression="zlib")
    frames = SimpleFrames({0: path}, tmp_path)
    got = frames.load_region(0, Window(10, 10, 100, 100))[..., 0]
    np.testing.assert_array_equal(got, pixels[10:110, 10:110])
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages.first
        tiles = [(page.dataoffsets[k], page.databytecounts[k]) for k in (0, 1, 11, 12)]
    assert told == tiles
    told.clear()
    frames.load_regions([(0, Window(0, 0, 64, 128)), (0, Window(0, 64, 64, 64))])
    assert sorted(told) == sorted(tiles[:2])


def test_rows_of_mapped_files_are_announced(
    tmp_path: Path, pixels: NDArray[Any], told: list[tuple[int, int]]
) -> None:
    np.save(tmp_path / "a.npy", pixels)
    frames = SimpleFrames({0: tmp_path / "a.npy"}, tmp_path)
    got = frames.load_region(0, (slice(5, 25, 2), slice(30, 90)))[..., 0]
    np.testing.assert_array_equal(got, pixels[5:25:2, 30:90])
    assert told == [(128 + (row * 700 + 30) * 2, 120) for row in range(5, 25, 2)]


def test_looks_become_rare_where_all_is_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    path.write_bytes(bytes(10_000))
    file = SourceFile(str(path))
    looks: list[int] = []
    monkeypatch.setattr(os, "preadv", lambda *arguments: looks.append(1))
    assert not any(file.is_cold(0) for _ in range(10 * WARM))
    assert WARM < len(looks) <= 2 * WARM + 2


def test_file_systems_that_cannot_tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def look(*_: Any) -> int:
        raise OSError(95, "Operation not supported")

    path = tmp_path / "a"
    path.write_bytes(bytes(10_000))
    file = SourceFile(str(path))
    monkeypatch.setattr(os, "preadv", look)
    assert not any(file.is_cold(0) for _ in range(50))


def test_systems_without_such_calls(
    tmp_path: Path, pixels: NDArray[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "_CAN_LOOK", False)
    monkeypatch.delattr(os, "posix_fadvise")
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels, tile=(64, 64), compression="zlib")
    frames = SimpleFrames({0: path}, tmp_path)
    np.testing.assert_array_equal(frames.load_region(0)[..., 0], pixels)


def test_rows_of_a_last_strip_that_is_shorter_are_announced(
    tmp_path: Path, told: list[tuple[int, int]]
) -> None:
    pixels = np.random.default_rng(0).integers(0, 60000, (1900, 1000), np.uint16)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels, rowsperstrip=1000)
    with tifffile.TiffFile(path) as tiff:
        start = tiff.pages[0].dataoffsets[1]
    found = SimpleFrames({0: path}).load_region(0, Window(1890, 7, 3, 50))
    np.testing.assert_array_equal(found[..., 0], pixels[1890:1893, 7:57])
    assert told == [(start + 2 * (row * 1000 + 7), 100) for row in (890, 891, 892)]


def test_intervals_of_a_jpeg_are_announced_row_by_row(
    tmp_path: Path, photograph: NDArray[np.uint8], told: list[tuple[int, int]]
) -> None:
    from PIL import Image

    path = tmp_path / "a.jpg"
    Image.fromarray(photograph).save(path, subsampling="4:4:4", restart_marker_blocks=5)
    frames = SimpleFrames({0: path}, tmp_path)
    got = frames.load_region(0, Window(16, 80, 24, 40))
    with Image.open(path) as image:
        np.testing.assert_array_equal(got, np.asarray(image)[16:40, 80:120])
    content = path.read_bytes()
    assert len(told) == 3
    for offset, count in told:
        stretch = content[offset : offset + count]
        assert sum(stretch.count(bytes([255, 208 + k])) for k in range(8)) == 1
        assert stretch[-2] == 255
