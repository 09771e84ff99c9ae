"""How many functions of the library a read goes through: a reader has to follow them, and each costs time.

Comprehensions count as part of the function that they stand in, as Python itself has it from 3.12 on.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import CodeType
from typing import Any

import numpy as np
import pytest

import subregion
from subregion import SimpleFrames, Window

PACKAGE = os.path.dirname(subregion.__file__) + os.sep


@pytest.fixture
def frames(tmp_path: Path) -> SimpleFrames:
    dice = np.random.default_rng(0)
    for number in range(3):
        np.save(tmp_path / f"{number}.npy", dice.integers(0, 30, (1500, 1500, 3), np.uint8))
    paths = {number: tmp_path / f"{number}.npy" for number in range(3)}
    frames = SimpleFrames(paths, workdir=tmp_path / "work", backend="cog")
    frames.prepare(progress=False)
    subregion.set_cache_limit(0)
    return frames


def calls_of(read: Callable[[], Any]) -> list[CodeType]:
    for _ in range(3):
        read()
    found: list[CodeType] = []

    def note(frame: Any, event: str, argument: Any) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(PACKAGE) and not code.co_name.startswith("<"):
            found.append(code)

    sys.setprofile(note)
    try:
        read()
    finally:
        sys.setprofile(None)
    return found


def test_a_window_of_nine_blocks(frames: SimpleFrames) -> None:
    region = (slice(130, 380), slice(130, 380))
    (part,) = frames.explain(0, region).files
    high, wide = (int(size) for size in part.layout.split(",")[0].removeprefix("tiles ").split(" x "))
    region = (slice(high + 2, 4 * high - 9), slice(wide + 2, 4 * wide - 9))
    assert len(frames.explain(0, region).files[0].blocks) == 9
    found = calls_of(lambda: frames.load_region(0, region))
    assert len(set(found)) <= 36
    assert len({code.co_filename for code in found}) <= 13


def test_a_batch_of_three_files(frames: SimpleFrames) -> None:
    dice = np.random.default_rng(1)
    places = dice.integers(0, 1200, (32, 2)).tolist()
    requests = [(number % 3, Window(row, col, 256, 256)) for number, (row, col) in enumerate(places)]
    assert len(calls_of(lambda: frames.load_regions(requests, threads=1))) <= 1500
