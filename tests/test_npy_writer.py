"""The plain writer against NumPy's own reader."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from subregion.convert.npy import write_npy
from subregion.errors import DamagedFileError


@pytest.mark.parametrize("dtype", ["u1", ">u2", "i4", "f2", "f8", "c8"])
@pytest.mark.parametrize("shape", [(1, 1, 1), (37, 23, 3), (5, 300, 1), (0, 4, 3)])
def test_numpy_reads_what_was_written(tmp_path: Path, dtype: str, shape: tuple[int, int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 200, shape).astype(dtype)
    path = tmp_path / "image.npy"
    write_npy(path, shape, dtype, [image[:2], image[2:2], image[2:, :, ::1]])
    read = np.load(path, allow_pickle=False)
    np.testing.assert_array_equal(read, image)
    assert read.dtype.newbyteorder("=") == image.dtype.newbyteorder("=")
    assert read.flags.c_contiguous
    if image.size:
        mapped = np.load(path, mmap_mode="r")
        assert mapped.offset % 64 == 0
        assert path.stat().st_size == mapped.offset + mapped.nbytes


def test_a_strip_may_be_a_view(tmp_path: Path) -> None:
    image = np.arange(4 * 5 * 6).reshape(4, 5, 6).astype(np.uint8)
    write_npy(tmp_path / "image.npy", (4, 5, 3), "u1", [image[:, :, ::2]])
    np.testing.assert_array_equal(np.load(tmp_path / "image.npy"), image[:, :, ::2])


@pytest.mark.parametrize(
    "strips",
    [
        [np.zeros((3, 5, 3), np.uint8)],
        [np.zeros((3, 5, 3), np.uint8)] * 2,
        [np.zeros((4, 5, 3), np.uint16)],
        [np.zeros((4, 6, 3), np.uint8)],
        [np.zeros((4, 15), np.uint8)],
    ],
)
def test_strips_that_are_not_the_image_leave_nothing(tmp_path: Path, strips: list[Any]) -> None:
    with pytest.raises(DamagedFileError):
        write_npy(tmp_path / "image.npy", (4, 5, 3), "u1", strips)
    assert not os.listdir(tmp_path)


def test_an_interrupt_leaves_nothing(tmp_path: Path) -> None:
    def strips() -> Any:
        yield np.zeros((2, 5, 3), np.uint8)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_npy(tmp_path / "image.npy", (4, 5, 3), "u1", strips())
    assert not os.listdir(tmp_path)


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="the system cannot reserve space")
def test_a_full_disk_is_found_before_the_first_strip(tmp_path: Path) -> None:
    space = os.statvfs(tmp_path)
    rows = 2 * space.f_bavail * space.f_frsize // 1024 + 1
    pulled: list[int] = []

    def strips() -> Any:
        pulled.append(1)
        yield np.zeros((1, 1024, 1), np.uint8)

    with pytest.raises(OSError, match=r"No space|too large"):
        write_npy(tmp_path / "image.npy", (rows, 1024, 1), "u1", strips())
    assert not pulled
    assert not os.listdir(tmp_path)
