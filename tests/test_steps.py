"""Steps over many blocks cost what the pixels cost that are wanted, not what lies between them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import subregion
from jpegs import decoded, encode, with_intervals
from subregion import SimpleFrames
from subregion.geometry.window import overlaps

pytestmark = pytest.mark.pixels  # read by both executors


@given(
    st.integers(0, 300), st.integers(1, 300), st.integers(1, 80), st.integers(1, 40)
)  # fmt: skip
def test_blocks_are_those_of_the_wanted_pixels(start: int, length: int, step: int, size: int) -> None:
    wanted = np.arange(start, start + length)[::step]
    found = np.full(len(wanted), -1)
    blocks = []
    for block, inner, outer in overlaps(start, start + length, step, size):
        pixels = np.arange(block * size, (block + 1) * size)[inner]
        assert pixels.size
        found[outer] = pixels
        blocks.append(block)
    np.testing.assert_array_equal(found, wanted)
    assert blocks == sorted(set((wanted // size).tolist()))


@pytest.mark.parametrize("sharded", [False, True])
def test_four_pixels_of_a_trillion_chunks(sharded: bool, tmp_path: Path) -> None:
    side = 1_000_000
    array = zarr.create_array(
        tmp_path / "a.zarr", shape=(side, side), dtype="u1", chunks=(1, 1), fill_value=7,
        shards=(4, 4) if sharded else None, compressors=None,
    )  # fmt: skip
    for place in (0, side // 2):
        array[place, place] = 9
    path = tmp_path / "a.zarr"
    begun = time.perf_counter()
    got = subregion.open(path, backend=None)[:: side // 2, :: side // 2]
    frames = SimpleFrames({1: path})
    (batched,) = frames.load_regions([(1, np.s_[:: side // 2, :: side // 2])])
    single = frames.load_region(1, np.s_[3 :: side // 2, side // 2 :: side])
    assert time.perf_counter() - begun < 2
    np.testing.assert_array_equal(got[..., 0], [[9, 7], [7, 9]])
    np.testing.assert_array_equal(batched, got)
    np.testing.assert_array_equal(single[..., 0], [[7], [7]])


STEPS: list[Any] = [np.s_[::50, ::70], np.s_[5::33, 3:400:17], np.s_[7:9:50, ::200], np.s_[::999, ::999]]


@pytest.mark.parametrize("steps", STEPS, ids=str)
def test_tiles_between_the_steps_are_left_out(
    steps: Any, tmp_path: Path, photograph: NDArray[np.uint8]
) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, photograph, tile=(16, 16), compression="zlib", photometric="rgb")
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[0]
        assert isinstance(page, tifffile.TiffPage)
        offsets, counts, across = page.dataoffsets, page.databytecounts, -(-page.imagewidth // 16)
    numbers = np.add.outer(np.arange(400) // 16 * across, np.arange(600) // 16)
    wanted = set(numbers[steps].ravel().tolist())
    content = bytearray(path.read_bytes())
    for number, (offset, count) in enumerate(zip(offsets, counts, strict=True)):
        if number not in wanted:
            content[offset : offset + count] = bytes(count)  # whoever decodes it will say so
    path.write_bytes(content)
    frames = SimpleFrames({1: path})
    np.testing.assert_array_equal(frames.load_region(1, steps), photograph[steps])
    np.testing.assert_array_equal(frames.load_regions([(1, steps)])[0], photograph[steps])


@pytest.mark.parametrize("steps", STEPS, ids=str)
def test_steps_over_intervals_of_a_jpeg(steps: Any, tmp_path: Path, photograph: NDArray[np.uint8]) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(with_intervals(path, encode(np.tile(photograph, (1, 4, 1)), subsampling="420"), 2))
    whole = decoded(path)
    np.testing.assert_array_equal(subregion.open(path, backend=None)[steps], whole[steps])
