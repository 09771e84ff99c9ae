"""The demonstration, in its quick form, and the landscape that it draws."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner

from subregion import SimpleFrames, Window
from subregion.cli.demo import run
from subregion.cli.main import app
from subregion.cli.terrain import Relief, write_png
from subregion.errors import SourceNotFoundError


def test_quick_demo_leaves_only_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user-cache"))
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["demo", "--quick"])
    assert result.exit_code == 0, result.output
    assert [item.name for item in tmp_path.iterdir()] == ["demo-output"]
    left = {item.name for item in (tmp_path / "demo-output").iterdir()}
    assert left == {"contact-sheet.png", "relief.png", "times.json"}
    with Image.open(tmp_path / "demo-output" / "contact-sheet.png") as sheet:
        pixels = np.asarray(sheet)
    assert min(pixels.shape[:2]) > 1000
    assert len(np.unique(pixels.reshape(-1, 3)[::7], axis=0)) > 1000
    document = json.loads((tmp_path / "demo-output" / "times.json").read_text())
    assert {timing["picture"] for timing in document["timings"]} == {
        *SimpleFrames.demo().image_ids,
        "relief.png",
    }
    assert [conversion["backend"] for conversion in document["backends"]] == ["None", "npy", "cog", "auto"]
    assert all(conversion["regions"] for conversion in document["backends"])


def test_demo_notices_wrong_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(self: SimpleFrames, image_id: str, region: object) -> object:
        pixels = correct(self, image_id, region)  # type: ignore[arg-type]
        pixels[-1, -1, -1] ^= 1
        return pixels

    correct = SimpleFrames.load_region
    monkeypatch.setattr(SimpleFrames, "load_region", wrong)
    with pytest.raises(ValueError, match="is not what a decode gives"):
        run(tmp_path, quick=True, console=Console(file=io.StringIO()))
    assert not (tmp_path / "contact-sheet.png").exists()
    assert [item.name for item in tmp_path.iterdir()] == ["relief.png"]


def test_demo_without_photographs_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SourceNotFoundError, match=r"subregion\[demo\]"):
        run(tmp_path / "out", quick=True, console=Console(file=io.StringIO()))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "window", [Window(0, 0, 1, 1), Window(500, 1001, 300, 1900), Window(130, 2999, 77, 1)]
)
def test_a_place_of_the_landscape_is_the_same_in_every_window(window: Window) -> None:
    relief = Relief(1000, 3000)
    whole = np.concatenate(list(relief.strips()))
    assert whole.shape == relief.shape == (1000, 3000, 3)
    np.testing.assert_array_equal(relief.read(window), whole[window.slices])


@pytest.mark.parametrize("rows", [1, 7, 100])
def test_png_in_strips_is_an_ordinary_png(rows: int, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (100, 83, 3), np.uint8)
    path = str(tmp_path / "a.png")
    write_png(path, (100, 83, 3), (pixels[row : row + rows] for row in range(0, 100, rows)))
    with Image.open(path) as image:
        image.verify()
    np.testing.assert_array_equal(np.asarray(Image.open(path)), pixels)
