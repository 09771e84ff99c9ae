"""What is wrong with targets and datasets: one clear error, or a skip that `sampler.report` counts."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from annotated import dataset
from scenes import SIZE, Scene, make_scene
from subregion import CocoSampler, SubregionError
from subregion.errors import (
    TargetError,
    UnknownAnnotationError,
    UnknownCategoryError,
    UnknownImageError,
)
from subregion.sampling.annotations.report import MEANINGS

_S = slice
_WHOLE = {"gid": 1, "slices": (_S(0, SIZE[0]), _S(0, SIZE[1]))}


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return make_scene(tmp_path)


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ({"gid": 1, "widht": 3}, "'widht' is nearly 'width'"),
        ({"gid": 1, "space_slcie": None}, "'space_slcie' is nearly 'space_slice'"),
        ({"gid": 1, "slices": (_S(3, 3), _S(0, 9))}, "holds no pixel"),
        ({"gid": 1, "cx": 5, "cy": 5, "width": 0, "height": 3}, "holds nothing"),
        ({"gid": 1, "cx": 5, "cy": 5, "width": 3, "height": math.nan}, "finite"),
        ({"vidid": 1, "time_slice": _S(1, 1)}, "at least one"),
        ({"gid": 1, "aid": 20}, "of the image 2, not of gid=1"),
        ({"gids": [11], "vidid": 2}, "image 11"),
    ],
)
def test_targets_are_refused_with_a_reason(scene: Scene, target: dict[str, Any], said: str) -> None:
    sampler = scene.sampler()
    with pytest.raises(TargetError, match=said) as error:
        sampler.load_sample(target)
    assert "\n" not in str(error.value)
    assert not sampler.report
    with pytest.raises(TargetError, match="'mine' is unknown"):
        sampler.load_sample({"gid": 1, "mine": 1}, strict=True)


def test_categories_that_do_not_exist(scene: Scene) -> None:
    scene.dataset["annotations"][0]["category_id"] = 77
    sampler = scene.sampler()
    assert sampler.report["unknown category"] == 1
    sample = sampler.load_sample(_WHOLE)
    assert sample["annots"]["aids"].tolist() == [10, 11]
    assert sample["annots"]["cids"].tolist() == [-1, 2]
    assert sample["annots"].annotations.category_names == [None, "car"]
    for call in (
        lambda: sampler.lookup_class_id("cow"),
        lambda: sampler.lookup_class_name(77),
        lambda: sampler.new_sample_grid("image_detection", (9, 9), classes_of_interest=["cow"]),
    ):
        with pytest.raises(UnknownCategoryError, match="cow|77"):
            call()


@pytest.mark.parametrize("box", [[math.nan, 1, 3, 4], [1, 1, 3], [1, 1, math.inf, 2], "text", [1, 1, -3, 4]])
def test_boxes_that_are_none(scene: Scene, box: Any) -> None:
    scene.dataset["annotations"][0]["bbox"] = box
    sampler = scene.sampler()
    assert sum(sampler.report.values()) == 1
    assert sampler.report["box of negative size" if box[-2:] == [-3, 4] else "malformed box"] == 1
    assert sampler.load_sample(_WHOLE)["annots"]["aids"].tolist() == [11]
    assert sampler.n_positives == sampler.n_annots - 1
    with pytest.raises(TargetError, match="no box"):
        sampler.load_sample({"aid": 10})


def test_boxes_outside_their_image_are_kept_and_counted(scene: Scene) -> None:
    for box in ([SIZE[1], 0, 5, 5], [-5, 0, 5, 5], [0, SIZE[0] + 9, 5, 5], [200, -9, 5, 5]):
        scene.dataset["annotations"][0]["bbox"] = box
        sampler = scene.sampler()
        assert dict(sampler.report) == {"box outside the image": 1}
        assert sampler.load_sample(_WHOLE)["annots"]["aids"].tolist() == [11]
        sample = sampler.load_positive(0)
        assert sample["annots"]["aids"].tolist() == [10]
        assert sample["annots"].annotations.visible.tolist() == [0]
        assert sampler.load_sample({"aid": 10}, visible_thresh=1e-9)["annots"]["aids"].tolist() == []
        assert not sample["im"].any()
    for box in ([SIZE[1] - 1, 0, 5, 5], [-4, -4, 5, 5]):
        scene.dataset["annotations"][0]["bbox"] = box
        assert not scene.sampler().report


def test_annotations_of_unknown_images(scene: Scene) -> None:
    scene.dataset["annotations"][0]["image_id"] = 99
    sampler = scene.sampler()
    assert dict(sampler.report) == {"unknown image": 1}
    assert sampler.n_annots == len(scene.dataset["annotations"]) - 1
    assert sampler.load_sample(_WHOLE)["annots"]["aids"].tolist() == [11]
    with pytest.raises(UnknownAnnotationError, match="10"):
        sampler.load_sample({"aid": 10})
    with pytest.raises(UnknownAnnotationError, match="10"):
        sampler.load_sample(_WHOLE, annot_ids=[10])
    with pytest.raises(UnknownImageError, match="99"):
        sampler.load_annotations(99)


_PIXELS = SIZE[0] * SIZE[1]
#: Segmentations without meaning, and why.
_SHAPES: list[tuple[Any, str]] = [
    ({"size": [SIZE[0], SIZE[1] + 1], "counts": [_PIXELS + SIZE[0]]}, "mask of another size"),
    ({"size": [SIZE[1], SIZE[0]], "counts": [_PIXELS]}, "mask of another size"),
    ({"size": list(SIZE), "counts": [5]}, "malformed mask"),
    ({"size": list(SIZE), "counts": "~~~"}, "malformed mask"),
    ({"size": list(SIZE), "counts": ""}, "malformed mask"),
    ({"counts": "0"}, "malformed mask"),
    ([[1, 2, 3, 4]], "malformed polygon"),
    ([[math.nan, 2, 3, 4, 5, 6]], "malformed polygon"),
    ("text", "malformed polygon"),
    ({"exterior": 5}, "malformed polygon"),
]


@pytest.mark.parametrize(("segmentation", "reason"), _SHAPES)
def test_segmentations_without_meaning_are_none_and_counted_once(
    scene: Scene, segmentation: Any, reason: str
) -> None:
    scene.dataset["annotations"][0]["segmentation"] = segmentation
    before = copy.deepcopy(scene.dataset["annotations"][0])
    looks: list[Callable[[Any], Any]] = [
        lambda annots: annots.annotations.segmentations,
        lambda annots: annots["rel_ssegs"].data,
        lambda annots: annots["frame_dets"][0].data["segmentations"].data,
    ]
    for look in looks:
        sampler = scene.sampler()
        assert not sampler.report  # shapes are read when they are asked for
        for _ in range(2):
            assert [shape is None for shape in look(sampler.load_sample(_WHOLE)["annots"])] == [True, False]
        assert dict(sampler.report) == {reason: 1}
        assert MEANINGS[reason] in str(sampler.report)
    assert repr(scene.dataset["annotations"][0]) == repr(before)


def test_of_several_polygons_those_with_a_meaning_stay(scene: Scene) -> None:
    scene.dataset["annotations"][0]["segmentation"] = [[1, 2, 3, 4], [1, 1, 9, 1, 9, 9]]
    sampler = scene.sampler()
    annots = sampler.load_sample(_WHOLE)["annots"]
    assert annots.annotations.segmentations[0].area == 32
    assert annots["rel_ssegs"].data[0].area == 32
    assert dict(sampler.report) == {"malformed polygon": 1}


@pytest.mark.parametrize("keypoints", [[1, 2], "text", [math.nan, 2, 2], [{"xy": 5}], 7])
def test_keypoints_without_meaning_are_none_and_counted(scene: Scene, keypoints: Any) -> None:
    scene.dataset["annotations"][0]["keypoints"] = keypoints
    sampler = scene.sampler()
    annots = sampler.load_sample(_WHOLE)["annots"]
    for found in (annots.annotations.keypoints, annots["rel_kpts"].data):
        assert [points is None for points in found] == [True, False]
    assert dict(sampler.report) == {"malformed keypoints": 1}


def test_missing_channels_are_counted(scene: Scene) -> None:
    sampler = scene.sampler()
    for _ in range(2):
        assert np.isnan(
            sampler.load_sample({"gid": 1, "channels": "r|zz", "nodata": "float"})["im"][..., 1]
        ).all()
    assert dict(sampler.report) == {"missing channel": 2}
    assert "filled" in str(sampler.report)


def test_all_at_once() -> None:
    entries: list[Any] = [
        (1, [1, 1, 3, 3], {"category_id": 9}),
        (1, [1, 1, math.nan, 3]),
        (1, [70, 1, 3, 3]),
        (5, [1, 1, 3, 3]),
    ]
    sampler = CocoSampler(dataset({1: (40, 50)}, entries), backend=None)
    reasons = ("unknown category", "malformed box", "box outside the image", "unknown image")
    assert dict(sampler.report) == dict.fromkeys(reasons, 1)
    assert set(sampler.report) <= set(MEANINGS)
    assert sampler.n_annots == 3
    assert issubclass(UnknownCategoryError, SubregionError)
