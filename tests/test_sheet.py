"""Samples as pictures: where colours are, what is drawn of each kind of pixel, and targets that are kept."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from subregion import CocoSampler
from subregion.errors import ConfigError, RecordError, RegionTypeError, SourceNotFoundError, TargetError
from subregion.geometry.window import Window
from subregion.sampling.demo import shapes
from subregion.sampling.sheet.choice import RandomChoice
from subregion.sampling.sheet.overlay import OverlayOptions, class_color
from subregion.sampling.targets.serialize import as_json, read_targets, targets_to_text

FLAT = (10, 60, 30)
LINES = OverlayOptions(masks=False, keypoints=False, names=False)


def dataset(folder: Path, pixels: NDArray[Any], *annotations: dict[str, Any], **image: Any) -> dict[str, Any]:
    """Return a dataset of one image."""
    path = folder / "image.tif"
    bands = pixels.shape[2] if pixels.ndim == 3 else 1
    photometric = "rgb" if bands in (3, 4) and pixels.dtype == np.uint8 else "minisblack"
    planar = "contig" if bands > 1 else None
    tifffile.imwrite(path, pixels, photometric=photometric, planarconfig=planar)
    return {
        "categories": [{"id": 10 * n, "name": name} for n, name in enumerate(("cat", "dog", "bird"), 1)],
        "images": [
            {"id": 1, "file_name": str(path), "height": pixels.shape[0], "width": pixels.shape[1]} | image
        ],
        "annotations": [{"id": n, "image_id": 1} | each for n, each in enumerate(annotations, 1)],
    }


def flat(height: int = 240, width: int = 240) -> NDArray[np.uint8]:
    return np.full((height, width, 3), FLAT, np.uint8)


def drawn(data: dict[str, Any], target: dict[str, Any] | None = None, **options: Any) -> NDArray[np.int64]:
    """Draw a sample of a flat image, and return what is inside the panel of its cell."""
    sheet = CocoSampler(data, backend=None).show(target or {"gid": 1}, size=240, **options)
    pixels = np.asarray(sheet).astype(int)
    rows, cols = np.nonzero((pixels == FLAT).all(axis=-1))
    return pixels[rows.min() : rows.max() + 1, cols.min() : cols.max() + 1]


def extent(pixels: NDArray[np.int64], color: tuple[int, int, int]) -> tuple[int, int, int, int]:
    """Return where a colour is: x0, y0, x1, y1."""
    rows, cols = np.nonzero((pixels == color).all(axis=-1))
    return cols.min(), rows.min(), cols.max() + 1, rows.max() + 1


# --- where annotations are drawn ----------------------------------------------------------------------


def test_a_box_has_the_colour_of_its_class_at_its_place(tmp_path: Path) -> None:
    data = dataset(
        tmp_path,
        flat(),
        {"category_id": 10, "bbox": [60, 50, 100, 80]},
        {"category_id": 30, "bbox": [20, 150, 40, 60]},
    )
    picture = drawn(data, overlay=LINES)
    assert picture.shape == (240, 240, 3)
    assert extent(picture, class_color(0)) == (60, 50, 160, 130)
    assert extent(picture, class_color(2)) == (20, 150, 60, 210)
    assert (picture[60:120, 70:150] == FLAT).all()  # nothing inside


def test_boxes_follow_window_and_scale(tmp_path: Path) -> None:
    data = dataset(tmp_path, flat(480, 480), {"category_id": 20, "bbox": [100, 120, 80, 40]})
    halved = drawn(data, {"gid": 1, "scale": 0.5}, overlay=LINES)
    assert extent(halved, class_color(1)) == (50, 60, 90, 80)
    window = drawn(data, {"gid": 1, "slices": [[100, 220], [80, 200]]}, overlay=LINES)
    assert extent(window, class_color(1)) == (40, 40, 200, 120)  # twice as large


def test_the_side_that_a_window_cuts_off_is_faint(tmp_path: Path) -> None:
    data = dataset(tmp_path, flat(300, 300), {"category_id": 10, "bbox": [150, 50, 140, 100]})
    picture = drawn(data, {"gid": 1, "slices": [[0, 240], [0, 240]]}, overlay=LINES)
    assert tuple(picture[100, 150]) == class_color(0)
    cut = picture[100, 239]
    assert tuple(cut) != FLAT
    assert np.abs(cut - class_color(0)).sum() > np.abs(cut - FLAT).sum() / 2


def test_masks_are_tinted_and_holes_are_not(tmp_path: Path) -> None:
    ring = {
        "exterior": [[20, 20], [220, 20], [220, 220], [20, 220]],
        "interiors": [[[80, 80], [160, 80], [160, 160], [80, 160]]],
    }
    data = dataset(tmp_path, flat(), {"category_id": 20, "bbox": [20, 20, 200, 200], "segmentation": ring})
    picture = drawn(data, overlay=OverlayOptions(boxes=False, names=False))
    assert tuple(picture[120, 120]) == FLAT
    assert tuple(picture[5, 5]) == FLAT
    tint, color = picture[50, 50], np.array(class_color(1))
    assert (np.abs(tint - color) < np.abs(np.array(FLAT) - color)).all()
    assert np.abs(picture[120, 20] - color).max() < np.abs(tint - color).max()  # the outline


def test_run_lengths_are_drawn_as_their_pixels(tmp_path: Path) -> None:
    counts = [240 * 60, 240 * 120, 240 * 60]  # columns 60 to 180
    data = dataset(
        tmp_path,
        flat(),
        {
            "category_id": 10,
            "bbox": [60, 0, 120, 240],
            "segmentation": {"size": [240, 240], "counts": counts},
        },
    )
    picture = drawn(data, overlay=OverlayOptions(boxes=False, names=False))
    changed = (picture != FLAT).any(axis=-1)
    assert changed[:, 60:180].all()
    assert not changed[:, :60].any()
    assert not changed[:, 180:].any()


def test_boxes_of_crowds_are_dashed(tmp_path: Path) -> None:
    box = {"category_id": 10, "bbox": [20, 20, 200, 200]}
    along = []
    for crowd in (0, 1):
        picture = drawn(dataset(tmp_path, flat(), box | {"iscrowd": crowd}), overlay=LINES)
        along.append((picture[20, 20:220] != FLAT).any(axis=-1))
    assert along[0].all()
    assert 0.4 < along[1].mean() < 0.8


def test_keypoints_are_disks_and_hidden_ones_are_rings(tmp_path: Path) -> None:
    points = [60, 80, 2, 150, 100, 1, 0, 0, 0]
    data = dataset(tmp_path, flat(), {"category_id": 10, "bbox": [50, 50, 120, 120], "keypoints": points})
    picture = drawn(data, overlay=OverlayOptions(boxes=False, names=False))
    assert tuple(picture[80, 60]) == class_color(0)
    assert tuple(picture[100, 150]) not in (class_color(0), FLAT)
    assert tuple(picture[100, 152]) == class_color(0)
    assert (picture[:40] == FLAT).all()


def test_classes_are_told_in_a_legend_and_at_their_boxes(tmp_path: Path) -> None:
    data = dataset(tmp_path, flat(), {"category_id": 10, "bbox": [60, 50, 100, 80]})
    named = drawn(data)
    tag = named[34:50, 60:80]
    assert (tag == class_color(0)).all(axis=-1).mean() > 0.3
    sheet = np.asarray(CocoSampler(data, backend=None).show({"gid": 1}))
    assert (sheet[85:112] == class_color(0)).all(axis=-1).any()
    assert not (sheet[85:112] == class_color(1)).all(axis=-1).any()  # not seen


def test_colours_are_far_from_each_other_and_light() -> None:
    colors = [np.array(class_color(place)) for place in range(24)]
    nearest = min(np.abs(a - b).sum() for a, b in itertools.combinations(colors, 2))
    assert nearest > 25
    assert all(0.299 * r + 0.587 * g + 0.114 * b > 100 for r, g, b in colors)
    assert len({class_color(place) for place in range(300)}) > 290


def test_a_class_keeps_its_colour_from_sheet_to_sheet(tmp_path: Path) -> None:
    both = [{"category_id": 10, "bbox": [10, 10, 50, 50]}, {"category_id": 30, "bbox": [150, 150, 60, 60]}]
    picture = drawn(dataset(tmp_path, flat(), *both), overlay=LINES)
    alone = drawn(dataset(tmp_path, flat(), both[1]), overlay=LINES)
    assert extent(picture, class_color(2)) == extent(alone, class_color(2)) == (150, 150, 210, 210)


# --- pixels of every kind -------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "i4", "f4", "f8"])
@pytest.mark.parametrize("bands", [1, 2, 3, 4, 7])
def test_every_kind_of_pixel_is_drawn(dtype: str, bands: int, tmp_path: Path) -> None:
    ramp = np.linspace(0, 200, 240).astype(dtype) * np.ones((240, 1), dtype)
    pixels = np.stack([ramp] * bands, -1)
    sampler = CocoSampler(dataset(tmp_path, pixels.squeeze()), backend=None)
    sheet = np.asarray(sampler.show({"gid": 1}, size=240)).astype(int)
    row = sheet[200, 42:282]
    # bytes as they are, all else stretched
    assert row.min() <= 5
    assert row.max() == pytest.approx(200 if dtype == "u1" else 255, abs=5)
    assert (np.diff(row[:, 0]) >= 0).all()


def test_what_is_no_pixel_is_chequered(tmp_path: Path) -> None:
    pixels = np.tile(np.linspace(0, 1, 240, dtype=np.float32), (240, 1))
    pixels[:120, :120] = np.nan
    sheet = np.asarray(CocoSampler(dataset(tmp_path, pixels), backend=None).show({"gid": 1}, size=240))
    head = sheet.shape[0] - 44 - 32 - 10 - 240
    corner = sheet[head : head + 120, 42:162]
    assert len(np.unique(corner.reshape(-1, 3), axis=0)) == 2
    assert len(np.unique(sheet[head : head + 240, 162:282].reshape(-1, 3), axis=0)) > 50


def test_masked_samples_keep_their_bytes(tmp_path: Path) -> None:
    data = dataset(tmp_path, flat())
    picture = drawn(data, {"gid": 1, "slices": [[-120, 120], [0, 240]], "nodata": "ma"})
    assert picture.shape == (120, 240, 3)
    picture = drawn(data, {"gid": 1, "slices": [[-120, 120], [0, 240]], "nodata": "float"})
    assert picture.shape == (120, 240, 3)


def test_channels_by_name_are_red_green_and_blue(tmp_path: Path) -> None:
    pixels = np.zeros((240, 240, 4), np.uint8)
    pixels[...] = (0, *FLAT[::-1])
    data = dataset(tmp_path, pixels, channels="nir|b|g|r")
    assert drawn(data).shape == (240, 240, 3)
    assert drawn(data, {"gid": 1, "channels": "g|r|b"}).shape == (240, 240, 3)


def test_files_at_their_own_resolution_are_drawn(tmp_path: Path) -> None:
    data = dataset(tmp_path, flat(), {"category_id": 10, "bbox": [60, 50, 100, 80]})
    picture = drawn(data, {"gid": 1, "use_native_scale": True}, overlay=LINES)
    assert extent(picture, class_color(0)) == (60, 50, 160, 130)


def test_of_clips_the_first_the_middle_and_the_last_frame_are_drawn(tmp_path: Path) -> None:
    colors = [(200, 0, 0), (0, 200, 0), (0, 0, 200), (200, 0, 200), (0, 90, 200)]
    images = []
    for number, color in enumerate(colors):
        path = tmp_path / f"{number}.png"
        Image.new("RGB", (64, 48), color).save(path)
        images.append(
            {"id": number + 1, "file_name": str(path), "video_id": 1, "frame_index": number}
            | {"width": 64, "height": 48, "channels": "r|g|b"}
        )
    box = {"id": 1, "image_id": 3, "category_id": 1, "bbox": [16, 12, 32, 24]}
    data = {
        "videos": [{"id": 1, "name": "v", "width": 64, "height": 48}],
        "images": images,
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [box],
    }
    sheet = CocoSampler(data, backend=None).show({"vidid": 1}, overlay=LINES, size=64)
    pixels = np.asarray(sheet)
    left = [extent(pixels.astype(int), colors[number])[0] for number in (0, 2, 4)]
    assert left == sorted(left)
    assert left[1] - left[0] == left[2] - left[1] == 68
    assert not (pixels == colors[1]).all(axis=-1).any()
    middle = pixels[-150:, left[1] : left[1] + 64].astype(int)
    x0, _, x1, _ = extent(middle, class_color(0))
    assert (x0, x1) == (16, 48)


# --- what is given ----------------------------------------------------------------------------------------


@pytest.fixture
def sampler(tmp_path: Path) -> CocoSampler:
    return CocoSampler(shapes("shapes6", tmp_path), backend=None)


@pytest.fixture
def videos(tmp_path: Path) -> CocoSampler:
    return CocoSampler(shapes("vidshapes3", tmp_path), backend=None)


def test_targets_samples_and_numbers_are_the_same(sampler: CocoSampler) -> None:
    sample = sampler.load_item(2)
    sheets = [
        np.asarray(sampler.show(given, title="a")) for given in (2, [2], sample, [sample], sample["target"])
    ]
    for sheet in sheets[1:]:
        np.testing.assert_array_equal(sheet, sheets[0])


def test_a_sheet_is_a_picture_that_notebooks_show(sampler: CocoSampler) -> None:
    sheet = sampler.show(n=3, rng=0)
    assert isinstance(sheet, Image.Image)
    assert (sheet._repr_png_() or b"")[:4] == b"\x89PNG"


def test_seeds_repeat_sheets_and_pictures_are_as_large_as_asked(sampler: CocoSampler) -> None:
    first, second, other = (np.asarray(sampler.show(n=5, rng=seed, size=100)) for seed in (7, 7, 8))
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, other)
    narrow = sampler.show(list(range(6)), size=180, columns=2)
    assert narrow.width < sampler.show(list(range(6)), size=180, columns=3).width


def test_samples_without_annotations_or_target_are_drawn(sampler: CocoSampler) -> None:
    sample = sampler.load_sample({"gid": 1}, with_annots=False)
    assert sampler.show([sample, {"im": sample["im"]}]).width > 240


def test_what_cannot_be_drawn_is_an_error(sampler: CocoSampler) -> None:
    for given, error in (([], ConfigError), ("all", RegionTypeError), (3.5, RegionTypeError)):
        with pytest.raises(error):
            sampler.show(given)
    with pytest.raises(ConfigError, match="leave out targets"):
        sampler.show([0], window_dims=64)
    for options in (
        {"n": 0},
        {"size": 3},
        {"columns": 0},
        {"negatives": 2},
        {"window_dims": (0, 3)},
        {"grid": True, "negatives": 0.5},
        {"frames": 2, "negatives": 0.5},
        {"frames": 2},
    ):
        with pytest.raises(ConfigError):
            sampler.show(**options)


# --- what is drawn at random ------------------------------------------------------------------------------


def test_positives_are_windows_around_objects_each_once(sampler: CocoSampler) -> None:
    targets = RandomChoice(8, (40, 60)).targets(sampler, 3)
    assert len({target["aid"] for target in targets}) == 8
    for target in targets:
        sample = sampler.load_sample(target)
        assert sample["im"].shape[:2] == (40, 60)
        assert target["aid"] in sample["annots"]["aids"]
    assert len(RandomChoice(10_000).targets(sampler)) == sampler.n_positives


def test_negatives_are_the_part_that_is_asked_for(sampler: CocoSampler) -> None:
    targets = RandomChoice(8, 24, 0.25).targets(sampler, 1)
    negatives = [target for target in targets if "aid" not in target]
    assert len(negatives) == 2
    for target in negatives:
        (top, bottom), (left, right) = target["slices"]
        assert (bottom - top, right - left) == (24, 24)
        assert top >= 0
        assert left >= 0
    assert all("aid" not in target for target in RandomChoice(3, 24, 1).targets(sampler, 1))


def test_datasets_without_objects_have_negatives(tmp_path: Path) -> None:
    sampler = CocoSampler(dataset(tmp_path, flat()), backend=None)
    assert len(RandomChoice(4, 32).targets(sampler)) == 4
    assert sampler.show(n=4).width > 500


def test_windows_of_a_grid_are_those_of_the_grid(sampler: CocoSampler, videos: CocoSampler) -> None:
    every = sampler.new_sample_grid("image_detection", (64, 64), use_annots=False)["targets"]
    places = {(target["gid"], str(target["slices"])) for target in every}
    found = RandomChoice(10, 64, grid=True).targets(sampler, 0)
    assert len(found) == 10
    assert {(target["gid"], str(target["slices"])) for target in found} < places
    clips = RandomChoice(4, 64, grid=True, frames=2).targets(videos, 0)
    assert all(videos.load_sample(clip)["im"].shape == (2, 64, 64, 3) for clip in clips)


def test_clips_hold_the_frame_of_their_object(videos: CocoSampler) -> None:
    for target in RandomChoice(9, 48, frames=2).targets(videos, 0):
        sample = videos.load_sample(target)
        assert sample["im"].shape == (2, 48, 48, 3)
        assert target["aid"] in sample["annots"]["aids"]


def test_windows_are_no_larger_than_the_smallest_image(tmp_path: Path) -> None:
    sampler = CocoSampler(dataset(tmp_path, flat(100, 300)), backend=None)
    (target,) = RandomChoice(1).targets(sampler)
    assert target["slices"][0] == [0, 100]
    assert target["slices"][1][1] - target["slices"][1][0] == 256


# --- targets in JSON ----------------------------------------------------------------------------------------

IMAGES: list[dict[str, Any]] = [
    {"gid": 1},
    {"gid": np.int64(2), "slices": (slice(3, 40), slice(-5, 60))},
    {"gid": 1, "slices": (slice(None, 40), slice(np.int64(2), None)), "channels": ("r", "b")},
    {"image_id": 3, "space_slice": Window(-4, 5, 30, 40), "pad": (np.int32(2), 3)},
    {"aid": 4, "window_dims": np.array([50, 60]), "scale": (0.5, 2.0), "interpolation": "nearest"},
    {"aid": 2, "window_dims": "square", "pad": 4, "note": {"epoch": 3}},
    {"gid": 1, "cx": np.float32(40.5), "cy": 30, "width": 20, "height": 10, "dtype": np.float32},
    {"gid": 2, "slices": (slice(-9, 9), slice(0, 9)), "padkw": {"mode": "reflect"}, "nodata": "float"},
]
CLIPS: list[dict[str, Any]] = [
    {"vidid": 1},
    {"vidid": 2, "time_slice": slice(0, 3, 2), "space_slice": (slice(0, 30), slice(10, 50))},
    {"gids": (3, 1), "slices": (slice(5, 40), slice(0, 40)), "channels": "g"},
    {"vidid": 1, "slices": (slice(1, 3), slice(0, 20), slice(0, 30)), "scale": 0.5},
    {"gids": np.array([4, 5]), "aid": 9, "window_dims": (32, 32)},
]


@pytest.mark.parametrize("number", range(len(IMAGES) + len(CLIPS)))
def test_targets_in_json_give_the_same_samples(
    number: int, sampler: CocoSampler, videos: CocoSampler, tmp_path: Path
) -> None:
    source = sampler if number < len(IMAGES) else videos
    target = (IMAGES + CLIPS)[number]
    if "aid" in target and source is videos:
        target = target | {"aid": int(videos.index.ids[videos.index.rows_of(4)][0])}
    sample = source.load_sample(target)
    file = tmp_path / "targets.json"
    # As it was given, as it was returned, and once more.
    file.write_text(targets_to_text([target, sample["target"]]))
    listed = read_targets(file)
    assert listed[0] == listed[1] == as_json(listed[1])
    for each in listed:
        again = source.load_sample(each)
        np.testing.assert_array_equal(again["im"], sample["im"])
        assert again["im"].dtype == sample["im"].dtype
        assert list(again["annots"]["aids"]) == list(sample["annots"]["aids"])


def test_a_returned_target_that_was_changed_is_kept_as_changed(sampler: CocoSampler) -> None:
    target = sampler.load_sample({"gid": 1})["target"]
    target["slices"] = (slice(0, 10), slice(0, 20))
    del target["space_slice"]
    assert as_json(target) == {"gid": 1, "slices": [[0, 10], [0, 20]]}


def test_grids_are_read_as_they_are_written(sampler: CocoSampler, tmp_path: Path) -> None:
    grid = sampler.new_sample_grid("image_detection", (96, 96))
    file = tmp_path / "grid.json"
    file.write_text(json.dumps({"targets": [as_json(target) for target in grid["targets"]]}))
    targets = read_targets(file)
    assert len(targets) == len(grid["targets"])
    np.testing.assert_array_equal(
        sampler.load_sample(targets[1])["im"], sampler.load_sample(grid["targets"][1])["im"]
    )


def test_files_without_targets_are_errors(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFoundError):
        read_targets(tmp_path / "none.json")
    for text in ("{", '{"targets": 3}', "[1]", "3", "\x00"):
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(RecordError, match=r"bad\.json"):
            read_targets(tmp_path / "bad.json")
    with pytest.raises(RegionTypeError, match="'mine'"):
        as_json({"gid": 1, "mine": object()})
    with pytest.raises(TargetError, match="nearly 'slices'"):
        as_json({"gid": 1, "slics": []})
