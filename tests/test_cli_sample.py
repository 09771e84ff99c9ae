"""The commands that draw samples and annotations: `sample`, and `show --annots`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from subregion import CocoSampler
from subregion.cli.main import app
from subregion.sampling.demo import shapes
from subregion.sampling.sheet.overlay import class_color
from subregion.sampling.targets.serialize import read_targets, targets_to_text


@pytest.fixture(autouse=True)
def _somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user-cache"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return written(tmp_path / "train.kwcoco.json", shapes("shapes5", tmp_path / "images"))


def written(path: Path, document: dict[str, Any]) -> Path:
    path.write_text(json.dumps(document))
    return path


def run(*args: object) -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args], prog_name="subregion")


def decoded(path: Path | str) -> np.ndarray[Any, Any]:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


# --- sample -------------------------------------------------------------------------------------------


def test_help() -> None:
    result = run("sample", "--help")
    assert result.exit_code == 0
    assert "subregion sample" in result.output.split("Examples")[1]


@pytest.mark.parametrize("backend", ["none", "npy", "cog", "auto"])
def test_sample_draws_a_sheet(backend: str, dataset: Path, tmp_path: Path) -> None:
    args = ("--n", 6, "--seed", 1, "--size", 100, "--window", "64x48")
    result = run("sample", dataset, *args, "--workdir", tmp_path / "work", "--backend", backend)
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == "train-samples.png"
    sheet = decoded("train-samples.png")
    expected = CocoSampler(dataset, backend=None).show(n=6, window_dims=(64, 48), rng=1, size=100)
    np.testing.assert_array_equal(sheet, np.asarray(expected))
    assert [path.name for path in Path().iterdir()] == ["train-samples.png"]


def test_targets_that_were_written_give_the_same_samples(dataset: Path) -> None:
    args = ("--n", 7, "--seed", 2, "--negatives", 0.3, "--window", 32, "--channels", "g|r", "--scale", "2,1")
    result = run("sample", dataset, *args, "--json", "a.json", "--out", "a.png", "--backend", "none")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == ["a.png", "a.json: 7 targets"]
    targets = read_targets("a.json")
    assert sum("aid" not in target for target in targets) == 2
    sampler = CocoSampler(dataset, backend=None)
    for target in targets:
        assert sampler.load_sample(target)["im"].shape == (32, 64, 2)
    again = run("sample", dataset, "--targets", "a.json", "--out", "b.png", "--backend", "none")
    assert again.exit_code == 0, again.output
    np.testing.assert_array_equal(decoded("a.png"), decoded("b.png"))


def test_json_alone_draws_nothing(dataset: Path) -> None:
    result = run("sample", dataset, "--grid", "--window", "64x64", "--json", "a.json", "--n", 5, "--seed", 0)
    assert result.exit_code == 0, result.output
    assert [path.name for path in Path().iterdir()] == ["a.json"]
    assert len(json.loads(Path("a.json").read_text())) == 5


def test_windows_of_a_training_run_are_drawn(dataset: Path) -> None:
    sampler = CocoSampler(dataset, backend=None)
    seen = [sampler.load_item(number)["target"] for number in (3, 1)]
    Path("seen.json").write_text(targets_to_text(seen))
    result = run("sample", dataset, "--targets", "seen.json", "--out", "seen.png", "--backend", "none")
    assert result.exit_code == 0, result.output
    np.testing.assert_array_equal(decoded("seen.png"), np.asarray(sampler.show([3, 1])))


def test_clips_of_videos(tmp_path: Path) -> None:
    videos = written(tmp_path / "v.json", shapes("vidshapes2", tmp_path / "images"))
    result = run("sample", videos, "--frames", 3, "--n", 2, "--json", "a.json", "--seed", 0)
    assert result.exit_code == 0, result.output
    sample = CocoSampler(videos, backend=None).load_sample(read_targets("a.json")[0])
    assert sample["im"].shape == (3, 192, 256, 3)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--window", "3y"), "--window"),
        (("--window", "0x4"), "--window"),
        (("--window", "1x2x3"), "--window"),
        (("--scale", "big"), "--scale"),
        (("--scale", "-1"), "scale"),
        (("--negatives", "1.5"), "negatives"),
        (("--negatives", "0.5", "--grid"), "negatives"),
        (("--channels", "lidar"), "lidar"),
        (("--frames", "2"), "frames"),
        (("--out", "a.jpg"), "a.jpg"),
        (("--out", "none/a.png"), "none"),
        (("--json", "none/a.json"), "none"),
        (("--targets", "none.json"), "none.json"),
        (("--targets", "none.json", "--grid"), "--targets"),
        (("--backend", "xyz"), "xyz"),
        (("--window", "1000x1000", "--negatives", "1"), "1000"),
    ],
)
def test_what_is_wrong_is_told_in_a_line(args: tuple[str, ...], said: str, dataset: Path) -> None:
    result = run("sample", dataset, *args)
    assert result.exit_code == 1, result.output
    assert len(result.stderr.splitlines()) == 1
    assert said in result.stderr
    assert not list(Path().iterdir())


def test_datasets_that_are_none_are_errors(tmp_path: Path) -> None:
    for text in ("{", "[]", '{"images": [], "annotations": []}'):
        (tmp_path / "bad.json").write_text(text)
        result = run("sample", tmp_path / "bad.json")
        assert result.exit_code == 1, result.output
        assert len(result.stderr.splitlines()) == 1
    assert run("sample", tmp_path / "none.json").exit_code == 1


def test_outputs_are_replaced_only_if_asked(dataset: Path) -> None:
    args = ("sample", dataset, "--n", 1, "--out", "a.png", "--json", "a.json")
    Path("a.json").write_text("mine")
    result = run(*args)
    assert result.exit_code == 1
    assert "--overwrite" in result.stderr
    assert Path("a.json").read_text() == "mine"
    assert not Path("a.png").exists()
    assert run(*args, "--overwrite").exit_code == 0
    assert len(read_targets("a.json")) == 1


# --- show --annots -------------------------------------------------------------------------------------


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    """A dataset with one flat image of 1500 x 3000 pixels, and annotations on it."""
    Image.new("RGB", (3000, 1500), (10, 60, 30)).save(tmp_path / "flat.png")
    document = {
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
        "images": [
            {"id": 7, "file_name": "flat.png", "width": 3000, "height": 1500},
            {"id": 8, "file_name": "other.png", "width": 3000, "height": 1500},
        ],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 2, "bbox": [300, 300, 900, 600]},
            {"id": 2, "image_id": 8, "category_id": 1, "bbox": [1500, 600, 300, 300]},
        ],
    }
    return written(tmp_path / "d.json", document)


@pytest.mark.parametrize("backend", ["none", "cog"])
def test_annotations_lie_over_the_reduced_image(backend: str, flat: Path, tmp_path: Path) -> None:
    image = tmp_path / "flat.png"
    result = run("show", image, "--annots", flat, "--backend", backend, "--workdir", tmp_path / "work")
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == "flat-annots.png"
    drawing = decoded("flat-annots.png").astype(int)
    rows, cols = np.nonzero((drawing == (10, 60, 30)).all(axis=-1))
    picture = drawing[rows.min() : rows.max() + 1, cols.min() : cols.max() + 1]
    scale = 3000 / picture.shape[1]
    assert 1000 <= picture.shape[1] <= 1024
    rows, cols = np.nonzero((picture == class_color(1)).all(axis=-1))
    found = np.array([cols.min(), cols.max() + 1, rows.max() + 1]) * scale
    np.testing.assert_allclose(found, [300, 1200, 900], atol=2 * scale)
    assert not (picture == class_color(0)).all(axis=-1).any()  # of the other image


def test_images_are_found_by_id_or_path(flat: Path, tmp_path: Path) -> None:
    image = tmp_path / "flat.png"
    result = run("show", image, "a.png", "--annots", flat, "--image-id", 8, "--backend", "none")
    assert result.exit_code == 0, result.output
    assert (decoded("a.png") == class_color(0)).all(axis=-1).any()
    (tmp_path / "link.png").symlink_to(image)
    assert run("show", tmp_path / "link.png", "--annots", flat, "--backend", "none").exit_code == 0
    Image.new("RGB", (30, 20)).save("strange.png")
    for args, said in (
        (("strange.png", "--annots", flat), "strange.png"),
        (("strange.png", "--annots", flat, "--image-id", 9), "'9'"),
        (("strange.png", "--image-id", 7), "--annots"),
        (("strange.png", "--annots", tmp_path / "none.json"), "none.json"),
    ):
        result = run("show", *args, "--backend", "none")
        assert result.exit_code == 1, result.output
        assert said in result.stderr
        assert len(result.stderr.splitlines()) == 1
    document = json.loads(flat.read_text())
    document["images"][1]["file_name"] = "flat.png"
    result = run("show", image, "--annots", written(tmp_path / "twice.json", document))
    assert result.exit_code == 1
    assert "7, 8" in result.stderr


def test_many_annotations_are_drawn_without_names(flat: Path, tmp_path: Path) -> None:
    document = json.loads(flat.read_text())
    document["annotations"] = [
        {"id": n, "image_id": 7, "category_id": 1 + n % 2, "bbox": [n * 5, n * 2, 40, 40]} for n in range(500)
    ]
    dataset = written(tmp_path / "many.json", document)
    result = run("show", tmp_path / "flat.png", "--annots", dataset, "--backend", "none")
    assert result.exit_code == 0, result.output
    assert decoded("flat-annots.png").std() > 5


# --- datasets whose images lie elsewhere, and videos ---------------------------------------------------


@pytest.fixture
def elsewhere(tmp_path: Path) -> tuple[Path, Path]:
    """A file of annotations beside the folder of the images, as COCO ships them; returns both."""
    document = shapes("shapes5", tmp_path / "train2017")
    for image in document["images"]:
        image["file_name"] = Path(image["file_name"]).name
    (tmp_path / "annotations").mkdir()
    return written(tmp_path / "annotations" / "instances.json", document), tmp_path / "train2017"


def test_images_that_lie_elsewhere(elsewhere: tuple[Path, Path]) -> None:
    dataset, root = elsewhere
    result = run("sample", dataset, "--root", root, "--n", 2, "--backend", "none")
    assert result.exit_code == 0, result.output
    image = next(path for path in root.iterdir() if path.suffix == ".png")
    result = run("show", image, "--annots", dataset, "--root", root)
    assert result.exit_code == 0, result.output
    result = run("split", dataset, "parts", "--root", root, "--part", "a=0.6", "--part", "b=0.4")
    assert result.exit_code == 0, result.output
    for name in ("a", "b"):
        for entry in json.loads(Path(f"parts/instances-{name}.json").read_text())["images"]:
            assert Path(entry["file_name"]).parent == root
            assert Path(entry["file_name"]).is_file()


def test_a_split_does_not_follow_names_out_of_the_folder(elsewhere: tuple[Path, Path]) -> None:
    dataset, _ = elsewhere
    document = json.loads(dataset.read_text())
    document["images"][0]["file_name"] = "../train2017/a.png"
    dataset.write_text(json.dumps(document))
    result = run("split", dataset, "parts")
    assert result.exit_code != 0
    assert "leaves the folder" in result.stderr


def test_frames_of_a_video_stay_together_unless_asked_otherwise(tmp_path: Path) -> None:
    document = shapes("vidshapes6", tmp_path / "images")
    dataset = written(tmp_path / "videos.json", document)
    result = run("split", dataset, "parts", "--part", "a=0.5", "--part", "b=0.5")
    assert result.exit_code == 0, result.output
    parts = [json.loads(Path(f"parts/videos-{name}.json").read_text())["images"] for name in ("a", "b")]
    owners = [{image["video_id"] for image in part} for part in parts]
    assert owners[0]
    assert owners[1]
    assert not owners[0] & owners[1]


def test_what_a_split_lacks_is_told(dataset: Path) -> None:
    document = json.loads(dataset.read_text())
    document["annotations"] = [each for each in document["annotations"] if each["image_id"] == 1]
    alone = written(dataset.with_name("one.json"), document)
    result = run("split", alone, "parts", "--part", "a=0.5", "--part", "b=0.5")
    assert result.exit_code == 0, result.output
    assert "has no" in result.stderr


def test_all_windows_of_a_grid_are_written(dataset: Path) -> None:
    result = run("sample", dataset, "--grid", "--window", 32, "--json", "grid.json", "--backend", "none")
    assert result.exit_code == 0, result.output
    sampler = CocoSampler(dataset, backend=None)
    every = sampler.new_sample_grid("image_detection", (32, 32))["targets"]
    assert len(read_targets("grid.json")) == len(every) > 24
    result = run("sample", dataset, "--grid", "--window", 32, "--n", 5, "--json", "five.json")
    assert len(read_targets("five.json")) == 5
