"""Splits: nothing is in two of them, groups stay together, classes are in all, files can be opened."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import kwcoco
import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.transform import from_origin
from typer.testing import CliRunner

from annotated import dataset, regions_of
from subregion.cli.main import app
from subregion.collections.coco import CocoFrames
from subregion.errors import ConfigError, NotGeoreferencedError, SubregionError, TooLargeError
from subregion.sampling.annotations.index import AnnotationIndex
from subregion.sampling.split.files import split_documents, write_splits
from subregion.sampling.split.split import Split, split_images, split_targets


def split_of(document: Any, *args: Any, **options: Any) -> Split:
    regions = regions_of(document)
    return split_images(regions.index, regions.frames, *args, **options)


def all_of(found: Split) -> list[Any]:
    return list(itertools.chain.from_iterable(found.parts.values()))


def mixed(count: int = 400, seed: int = 0, **more: Any) -> dict[str, Any]:
    """Return a dataset in which classes are of very different frequency."""
    rng = np.random.default_rng(seed)
    sizes = {number: (50, 50) for number in range(count)}  # noqa: C420 - read as a table
    boxes = []
    for number in sizes:
        for category, often in ((1, 0.7), (2, 0.2), (3, 0.05)):
            for _ in range(int(rng.poisson(often * 2))):
                boxes.append((number, [1, 1, 5, 5], {"category_id": category}))
    return dataset(sizes, boxes, ["usual", "seldom", "rare"], **more)


def test_every_image_is_in_one_split_and_parts_are_exact() -> None:
    found = split_of(mixed(), stratify=False)
    assert {name: len(ids) for name, ids in found.parts.items()} == {
        "train": 320,
        "validation": 40,
        "test": 40,
    }
    assert sorted(all_of(found)) == list(range(400))
    assert found["train"] == sorted(found["train"])
    assert str(found) == "train 320, validation 40, test 40"


def test_each_split_has_its_part_of_every_class() -> None:
    document = mixed()
    found = split_of(document, (0.6, 0.2, 0.2))
    total = np.bincount([each["category_id"] for each in document["annotations"]], minlength=4)
    for name, part in (("train", 0.6), ("validation", 0.2), ("test", 0.2)):
        ids = set(found[name])
        own = [each["category_id"] for each in document["annotations"] if each["image_id"] in ids]
        counts = np.bincount(own, minlength=4)
        assert (abs(counts - part * total) <= 2.5).all()
        assert abs(len(ids) - part * 400) <= 3


def test_the_seed_decides() -> None:
    document = mixed()
    assert split_of(document, seed=3) == split_of(document, seed=3) != split_of(document, seed=4)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1 << 30), st.sampled_from(["tag", "video"]), st.booleans())
def test_groups_stay_together(seed: int, by: str, stratify: bool) -> None:
    rng = np.random.default_rng(seed)
    document = mixed(40, seed)
    for image in document["images"]:
        group = int(rng.integers(0, 8))
        if group and by == "tag":
            image["site"] = f"s{group}"
        elif group:
            image |= {"video_id": group, "frame_index": image["id"]}
    document["videos"] = [{"id": number, "name": str(number)} for number in range(1, 8)]
    found = split_of(document, by=by, tag="site" if by == "tag" else None, seed=seed, stratify=stratify)
    assert sorted(all_of(found)) == list(range(40))
    key = "site" if by == "tag" else "video_id"
    groups = [
        {image.get(key) for image in document["images"] if image["id"] in ids} for ids in found.parts.values()
    ]
    for one in range(3):
        for other in range(one):
            assert not (groups[one] & groups[other]) - {None}


def test_images_of_a_video_that_is_not_listed_stay_together() -> None:
    document = dataset(dict.fromkeys(range(30), (5, 5)))
    for image in document["images"]:
        image |= {"video_id": image["id"] % 5, "frame_index": image["id"]}
    found = split_of(document, (0.5, 0.5), by="video")
    assert not {image_id % 5 for image_id in found["train"]} & {image_id % 5 for image_id in found["test"]}


def tiles(folder: Path, crs: str = "EPSG:32633") -> dict[str, Any]:
    """Write 36 images of 100 x 100 m beside each other, each overlapping the next by 10 m."""
    document = dataset({row * 6 + col: (10, 10) for row in range(6) for col in range(6)})
    for image in document["images"]:
        path = folder / f"{image['id']}.tif"
        row, col = divmod(image["id"], 6)
        place = from_origin(500_000 + col * 90, 5_000_000 - row * 90, 10, 10)
        with rasterio.open(
            path, "w", driver="GTiff", height=10, width=10, count=1, dtype="uint8", crs=crs, transform=place
        ) as file:
            file.write(np.ones((1, 10, 10), np.uint8))
        image["file_name"] = str(path)
    return document


@pytest.mark.parametrize("margin", [0, 40])
def test_images_of_different_splits_are_apart_on_the_ground(tmp_path: Path, margin: float) -> None:
    found = split_of(tiles(tmp_path), (0.5, 0.5), by="area", block=200, margin=margin)
    assert found["train"]
    assert found["test"]
    assert found.left_out
    assert sorted(all_of(found) + found.left_out) == list(range(36))
    for one in found["train"]:
        for other in found["test"]:
            (row, col), (row2, col2) = divmod(one, 6), divmod(other, 6)
            assert max(abs(row - row2), abs(col - col2)) * 90 - 100 >= margin


def test_blocks_in_another_reference_system(tmp_path: Path) -> None:
    pytest.importorskip("pyproj")
    found = split_of(tiles(tmp_path), (0.5, 0.5), by="area", block=0.005, crs="EPSG:4326")
    assert len(all_of(found) + found.left_out) == 36
    with pytest.raises(ConfigError, match="crs='nowhere'"):
        split_of(tiles(tmp_path), by="area", block=1, crs="nowhere")


@pytest.mark.parametrize("block", [0.01, 1e-9, 1e-300])
def test_too_many_blocks(block: float) -> None:
    targets = [{"gid": 1, "slices": (slice(0, 100), slice(0, 100))}]
    with pytest.raises(TooLargeError, match="too many"):
        split_targets(targets, block=block)
    for margin in (1e300, 10**400):
        with pytest.raises(SubregionError, match="margin"):
            split_targets(targets, block=50, margin=margin)


@pytest.mark.parametrize("fractions", [{"a": 1e308, "b": 1e308}, {"a": 10**400, "b": 1}])
def test_fractions_beyond_floats(fractions: dict[str, float]) -> None:
    document = dataset({1: (5, 5), 2: (5, 5)})
    frames = CocoFrames(document, backend=None)
    with pytest.raises(ConfigError, match="fractions"):
        split_images(AnnotationIndex.of(document, frames), frames, fractions)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1 << 30))
def test_no_pixel_is_in_windows_of_two_splits(seed: int) -> None:
    rng = np.random.default_rng(seed)
    regions = regions_of(dataset({1: (300, 200), 2: (90, 400)}, [(1, [0, 0, 30, 30]), (2, [50, 50, 60, 20])]))
    grid = regions.new_sample_grid("image_detection", rng.integers(5, 40, 2).tolist(), 0.3)
    margin = int(rng.integers(0, 20))
    found = split_targets(
        grid["targets"],
        block=int(rng.integers(40, 120)),
        margin=margin,
        seed=seed,
        index=regions.index if seed % 2 else None,
    )
    assert sum(map(len, found.parts.values())) + len(found.left_out) == len(grid["targets"])
    taken = {1: np.zeros((340, 240), int), 2: np.zeros((130, 440), int)}
    for number, members in enumerate(found.parts.values(), 1):
        for target in members:
            rows, cols = target["slices"]
            low, high = (rows.start, cols.start), (rows.stop, cols.stop)
            grown = tuple(
                slice(max(a - margin + 1, 0), b + max(margin - 1, 0)) for a, b in zip(low, high, strict=True)
            )
            near = taken[target["gid"]][grown if margin else target["slices"]]
            assert np.isin(near, (0, number)).all()
        for target in members:
            taken[target["gid"]][target["slices"]] = number


def test_windows_of_videos_are_split_in_space() -> None:
    document = dataset({1: (40, 100), 2: (40, 100)})
    for number, image in enumerate(document["images"]):
        image |= {"video_id": 5, "frame_index": number}
    document["videos"] = [{"id": 5, "name": "v", "width": 100, "height": 40}]
    grid = regions_of(document).new_sample_grid("video_detection", (1, 20, 20))
    found = split_targets(grid["targets"], (0.5, 0.5), block=20)
    assert not found.left_out
    places = [
        {(t["space_slice"][0].start, t["space_slice"][1].start) for t in part}
        for part in found.parts.values()
    ]
    assert not places[0] & places[1]
    assert [len(part) for part in found.parts.values()] == [10, 10]
    with pytest.raises(ConfigError, match="has no slices"):
        split_targets([{"gid": 1}], block=3)
    assert split_targets([], block=3).parts == {"train": [], "validation": [], "test": []}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fractions": (1,)}, r"fractions=\(1,\)"),
        ({"fractions": {"train": 1}}, "at least two"),
        ({"fractions": {"train": 1, "test": 0}}, "a number above 0"),
        ({"fractions": 0.8}, "fractions=0.8"),
        ({"by": "moon"}, "by='moon': allowed are"),
        ({"by": "tag"}, "needs the tag"),
        ({"tag": "site"}, "needs the tag"),
        ({"by": "tag", "tag": "site"}, "no image has the tag 'site'"),
        ({"by": "video"}, "no image is in a video"),
        ({"by": "area"}, "block=None"),
        ({"by": "area", "block": -1}, "block=-1"),
        ({"by": "area", "block": 10, "margin": -1}, "margin=-1"),
        ({"block": 10}, "are for by='area'"),
    ],
)
def test_calls_without_meaning(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        split_of(mixed(5), **options)


def test_images_that_lie_nowhere(tmp_path: Path) -> None:
    document = dataset({1: (5, 5)})
    np.save(tmp_path / "a.npy", np.zeros((5, 5), np.uint8))
    document["images"][0]["file_name"] = str(tmp_path / "a.npy")
    with pytest.raises(NotGeoreferencedError):
        split_of(document, by="area", block=10)


def test_splits_are_datasets(tmp_path: Path) -> None:
    document = mixed(30, videos=[{"id": 1, "name": "v"}, {"id": 2, "name": "w"}], info={"year": 1999})
    document["images"][4] |= {"video_id": 2, "frame_index": 0}
    found = split_documents(document, split_of(document))
    for name, part in found.items():
        ids = [image["id"] for image in part["images"]]
        assert [image for image in document["images"] if image["id"] in ids] == part["images"]
        assert [each for each in document["annotations"] if each["image_id"] in ids] == part["annotations"]
        assert part["videos"] == ([{"id": 2, "name": "w"}] if 4 in ids else [])
        assert (part["info"], part["categories"]) == ({"year": 1999}, document["categories"])
        assert name in ("train", "validation", "test")


def test_files_of_splits_are_as_the_dataset_was(tmp_path: Path) -> None:
    demo = kwcoco.CocoDataset.demo("vidshapes4-multispectral", num_frames=2)
    document, root = demo.dataset, tmp_path / "bundle"
    shutil.copytree(demo.bundle_dpath, root)
    source = root / "copy.json"
    source.write_text(json.dumps(document))
    frames = CocoFrames(str(source), backend=None)
    found = Split({"one": list(frames.image_ids)[:3], "two": list(frames.image_ids)[3:]}, [])
    for folder in (root / "splits", root):
        paths = write_splits(source, found, folder, stem="copy", overwrite=True)
        for name, path in paths.items():
            written = kwcoco.CocoDataset(str(path))
            assert not written.missing_images()
            assert sorted(written.images()) == sorted(found[name])
            assert written.dataset["annotations"] == [
                each for each in document["annotations"] if each["image_id"] in found[name]
            ]
            part = CocoFrames(str(path), backend=None)
            first = found[name][0]
            assert np.array_equal(
                part.load_region(first, None, "B8|B1"), frames.load_region(first, None, "B8|B1")
            )
    with pytest.raises(ConfigError, match="copy-one.json: exists"):
        write_splits(source, found, root, stem="copy")
    with pytest.raises(ConfigError, match="cannot be the name of a file"):
        write_splits(source, Split({"../a": [], "b": []}, []), root)


def test_the_command_writes_files(tmp_path: Path) -> None:
    document = mixed(50)
    for image in document["images"]:
        image["site"] = image["id"] % 10
    (tmp_path / "data.json").write_text(json.dumps(document))
    given = ["split", str(tmp_path / "data.json")]
    told = CliRunner().invoke(
        app, [*given, str(tmp_path / "out"), "--part", "a=1", "--part", "b=1", "--by", "site", "--json"]
    )
    assert told.exit_code == 0
    summary = json.loads(told.stdout)
    assert {name: part["images"] for name, part in summary["splits"].items()} == {"a": 25, "b": 25}
    sites = [
        {image["site"] for image in json.loads(Path(part["file"]).read_text())["images"]}
        for part in summary["splits"].values()
    ]
    assert not sites[0] & sites[1]
    plain = CliRunner().invoke(app, given)
    assert plain.exit_code == 0
    assert [int(line.split()[-2]) for line in plain.stdout.splitlines()] == pytest.approx([40, 5, 5], abs=1)
    again = CliRunner().invoke(app, given)
    assert again.exit_code == 1
    assert "exists" in again.output
    assert CliRunner().invoke(app, [*given, "--part", "a"]).exit_code == 1
