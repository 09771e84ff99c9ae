"""A JPEG has the same pixels at any scale, whether it is read where it lies or from a copy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import jpegs
from subregion import SimpleFrames, Window
from subregion.errors import DamagedFileError
from subregion.formats.open import open_raster

Photo = NDArray[np.uint8]
NOISE = np.random.default_rng(0).integers(0, 256, (400, 600, 3)).astype(np.uint8)
SCALES: list[Any] = [1 / 2, 1 / 4, 1 / 8, 1 / 3, 0.9, 1 / 16, (1 / 2, 1 / 4)]


@pytest.mark.parametrize("size", [(400, 600), (333, 517), (65, 71), (64, 64), (17, 100), (63, 50)], ids=str)
@pytest.mark.parametrize("sampling", [*jpegs.SAMPLINGS, "progressive", "with intervals"])
def test_in_place_and_from_a_copy(
    sampling: str, size: tuple[int, int], tmp_path: Path, photograph: Photo
) -> None:
    path = tmp_path / "a.jpg"
    for pixels in (NOISE, photograph):
        part = np.ascontiguousarray(pixels[: size[0], : size[1]])
        if sampling == "progressive":
            Image.fromarray(part).save(path, quality=85, progressive=True)
        elif sampling == "with intervals":
            path.write_bytes(jpegs.with_intervals(path, jpegs.encode(part, subsampling="420"), 5))
        else:
            path.write_bytes(jpegs.encode(part, **jpegs.SAMPLINGS[sampling]))
        if sampling == "progressive" and jpegs.JPEGTRAN is None:
            return
        in_place = SimpleFrames({1: path})
        copied = SimpleFrames({1: path}, workdir=tmp_path / "work", backend="jpeg")
        assert (
            open_raster(str(path)).level_shapes
            == copied._store.open(copied.record(1).default_asset).raster.level_shapes
        )
        for scale in SCALES:
            for window in (None, Window(0, 0, 16, 16), Window(5, 3, size[0] // 2, size[1] // 2)):
                np.testing.assert_array_equal(
                    in_place.load_region(1, window, scale=scale), copied.load_region(1, window, scale=scale)
                )


@pytest.mark.parametrize("by", [2, 4, 8])
@pytest.mark.parametrize("progressive", [False, True])
def test_the_reduction_is_that_of_the_decoder(
    progressive: bool, by: int, tmp_path: Path, photograph: Photo
) -> None:
    path = tmp_path / "a.jpg"
    Image.fromarray(photograph).save(path, progressive=progressive)
    got = SimpleFrames({1: path}).load_region(1, scale=1 / by)
    np.testing.assert_array_equal(got, jpegs.decoded(path, by))


def test_damage_is_told_at_any_scale(tmp_path: Path, photograph: Photo) -> None:
    path = tmp_path / "a.jpg"
    content = jpegs.encode(photograph)
    start = jpegs.scan_start(content)
    cases: list[Any] = [content[: len(content) // 2], bytearray(content)]
    cases[1][start + 5000 : start + 6000] = b"\x77" * 1000
    for case in cases:
        path.write_bytes(case)
        for scale in (1, 1 / 2, 1 / 4, 1 / 8):
            with pytest.raises(DamagedFileError, match=r"a\.jpg"):
                SimpleFrames({1: path}).load_region(1, scale=scale)


def test_stray_bytes_do_no_harm_at_any_scale(tmp_path: Path, photograph: Photo) -> None:
    path = tmp_path / "a.jpg"
    content = jpegs.encode(photograph)
    at = content.index(b"\xff\xdb")
    path.write_bytes(content[:at] + b"stray" + content[at:-2] + b"stray" + content[-2:])
    for by in (2, 4, 8):
        got = SimpleFrames({1: path}).load_region(1, scale=1 / by)
        np.testing.assert_array_equal(got, jpegs.decoded(content, by))


@pytest.mark.parametrize("scale", [1, 1 / 2, 1 / 8])
def test_stray_bytes_hide_no_damage(scale: float, tmp_path: Path, photograph: Photo) -> None:
    """libjpeg tells of the first fault only."""
    path = tmp_path / "a.jpg"
    content = bytearray(jpegs.encode(photograph))
    start = jpegs.scan_start(bytes(content))
    content[start + 5000 : start + 6000] = b"\x77" * 1000
    at = content.index(b"\xff\xdb")
    path.write_bytes(bytes(content[:at]) + b"stray" + bytes(content[at:]))
    with pytest.raises(DamagedFileError, match=r"a\.jpg"):
        SimpleFrames({1: path}).load_region(1, scale=scale)
