"""What a read would do, told before it is done: the blocks that it tells are those that it takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from affine import Affine
from numpy.typing import NDArray
from typer.testing import CliRunner

from pictures import save_png
from single import Single
from subregion import Asset, ImageRecord, SimpleFrames, Window
from subregion.cli.main import app


@pytest.fixture
def pixels() -> NDArray[np.uint8]:
    return np.random.default_rng(3).integers(0, 255, (300, 400, 3), np.uint8)


def test_blocks_of_a_tiled_tiff(tmp_path: Path, pixels: NDArray[np.uint8]) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels, tile=(64, 64), compression="zlib", photometric="rgb")
    frames = SimpleFrames({1: path})
    found = frames.explain(1, (slice(60, 70), slice(0, 64)))
    assert found.shape == (10, 64, 3)
    assert found.conversions == ()
    (part,) = found.files
    with tifffile.TiffFile(path) as tiff:
        page: Any = tiff.pages[0]
        expected = [(k, page.dataoffsets[k], page.databytecounts[k]) for k in (0, 7)]
    assert list(part.blocks) == expected
    assert found.nbytes == part.nbytes == sum(nbytes for _, _, nbytes in expected)
    assert part.how == "copied"
    assert "2 blocks" in str(found)
    assert json.loads(json.dumps(found.to_dict()))["files"][0]["blocks"] == [
        list(block) for block in expected
    ]


@pytest.mark.parametrize("backend", ["cog", "zarr", "npy", "jpeg"])
def test_nothing_is_converted_for_it(
    backend: str, tmp_path: Path, workdir: Path, pixels: NDArray[np.uint8]
) -> None:
    path = tmp_path / "a.png"
    save_png(path, pixels)
    frames = SimpleFrames({1: path}, workdir, backend)
    before = frames.explain(1, Window(0, 0, 50, 50))
    assert before.conversions == (str(path),)
    assert before.files[0].blocks == ()
    assert not list(workdir.glob("_cache/frames/??/*"))
    frames.prepare()
    after = frames.explain(1, Window(0, 0, 50, 50))
    assert after.conversions == ()
    assert str(workdir) in after.files[0].path
    assert after.nbytes > 0
    assert len(after.files[0].blocks) > 0


def test_levels_and_resampling(tmp_path: Path, workdir: Path, pixels: NDArray[np.uint8]) -> None:
    big = np.kron(pixels, np.ones((4, 4, 1), np.uint8))
    save_png(tmp_path / "a.png", big)
    frames = SimpleFrames({1: tmp_path / "a.png"}, workdir, "cog")
    frames.prepare()
    assert frames.explain(1, scale=0.5).files[0].level == 1
    assert "resampled (linear)" in frames.explain(1, Window(0, 0, 90, 90), scale=0.3).files[0].how
    assert "every 2 rows" in frames.explain(1, (slice(0, 90, 2), slice(0, 90, 3))).files[0].how


def test_channels_of_several_files(tmp_path: Path, pixels: NDArray[np.uint8]) -> None:
    tifffile.imwrite(tmp_path / "a.tif", pixels, tile=(64, 64), photometric="rgb", compression="zlib")
    tifffile.imwrite(tmp_path / "b.tif", pixels[::2, ::2, 0], tile=(64, 64), compression="zlib")
    record = ImageRecord(
        1,
        (
            Asset(str(tmp_path / "a.tif"), ("r", "g", "b"), nodata=0),
            Asset(str(tmp_path / "b.tif"), ("h",), Affine.scale(2)),
        ),
        400,
        300,
    )
    found = Single(record).explain(1, Window(-5, -5, 40, 40), "g|h", nodata="ma")
    first, second = found.files
    assert first.bands == (1,)
    assert first.how.endswith("nodata 0 masked")
    assert second.how.startswith("resampled")
    assert second.window[:2] == (0, 0)
    assert found.nbytes == first.nbytes + second.nbytes


def test_on_the_command_line(tmp_path: Path, pixels: NDArray[np.uint8]) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels, tile=(64, 64), compression="zlib", photometric="rgb")
    result = CliRunner().invoke(app, ["info", str(path), "--region", "0:64,0:65"])
    assert result.exit_code == 0, result.output
    assert "2 blocks" in result.stdout
    result = CliRunner().invoke(app, ["info", str(path), "--region", "0:64,0:65", "--json"])
    assert len(json.loads(result.stdout)[0]["files"][0]["blocks"]) == 2
