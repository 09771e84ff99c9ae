"""Annotations of a sample, compared with shapely, pycocotools, kwimage and pixels one by one."""

from __future__ import annotations

import importlib.util
import json
import math
import pickle
import sys
import types
from pathlib import Path
from typing import Any

import kwcoco
import kwimage
import numpy as np
import pycocotools.mask
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st

from subregion import CocoFrames, libraries
from subregion.errors import ConfigError, MissingPackageError, RegionError
from subregion.geometry.window import Window
from subregion.sampling.annotations import tangled
from subregion.sampling.annotations.annotations import Annotations, FramePart
from subregion.sampling.annotations.detections import relative
from subregion.sampling.annotations.index import AnnotationIndex
from subregion.sampling.annotations.report import Report
from subregion.sampling.annotations.shapes import RunLengths

HEIGHT, WIDTH = 60, 80


def index_of(annotations: list[dict[str, Any]], categories: Any = None, images: int = 2) -> AnnotationIndex:
    dataset = {
        "categories": categories or [{"id": 1, "name": "cat"}, {"id": 7, "name": "dog"}],
        "images": [
            {"id": number, "file_name": f"{number}.png", "width": WIDTH, "height": HEIGHT}
            for number in range(images)
        ],
        "annotations": [{"image_id": 0, "category_id": 7} | entry for entry in annotations],
    }
    for number, entry in enumerate(dataset["annotations"]):
        entry.setdefault("id", number)
    return AnnotationIndex.of(dataset, CocoFrames(dataset, backend=None))


def seen(index: AnnotationIndex, window: Window, **options: Any) -> Annotations:
    part = FramePart.overlapping(index, 0, window, **options)
    down, across = options.get("scale", (1, 1))
    return Annotations.of(index, [part], (round(window.height * down), round(window.width * across)))


def everything(index: AnnotationIndex, to_sample: Affine, shape: tuple[int, int]) -> Annotations:
    rows = index.rows_of(0)
    part = FramePart(0, np.arange(rows.start, rows.stop), to_sample, (HEIGHT, WIDTH))
    return Annotations.of(index, [part], shape)


places = st.floats(-40, 120).map(lambda value: round(value, 2))
lengths = st.one_of(st.just(0.0), st.floats(0.1, 90).map(lambda value: round(value, 2)))
boxes = st.tuples(places, places, lengths, lengths)
linear = st.tuples(*[st.floats(-2, 2)] * 4).filter(lambda m: abs(m[0] * m[3] - m[1] * m[2]) > 0.05)
matrices = st.one_of(
    st.builds(lambda m, x, y: Affine(m[0], m[1], x, m[2], m[3], y), linear, places, places),
    st.builds(
        lambda sx, sy, x, y: Affine(sx, 0, x, 0, sy, y),
        st.sampled_from([1, 2, 0.5, -1, 1.3]),
        st.sampled_from([1, 3, 0.25, -2]),
        places,
        places,
    ),
)


@given(st.lists(boxes, max_size=6), matrices, st.integers(1, 90), st.integers(1, 90))
@settings(max_examples=100, deadline=None)
def test_boxes_and_what_of_them_is_visible(found: list[Any], matrix: Affine, height: int, width: int) -> None:
    annotations = everything(index_of([{"bbox": list(box)} for box in found]), matrix, (height, width))
    window = shapely.box(0, 0, width, height)
    image = shapely.transform(shapely.box(0, 0, WIDTH, HEIGHT), lambda xy: np.array([matrix * p for p in xy]))
    for place, (x, y, w, h) in enumerate(found):
        corners = [matrix * point for point in ((x, y), (x + w, y), (x + w, y + h), (x, y + h))]
        turned = shapely.Polygon(corners)
        np.testing.assert_allclose(annotations.whole_boxes[place], turned.bounds, atol=1e-6)
        x0, y0, x1, y1 = turned.bounds
        clipped = np.clip([x0, y0, x1, y1], 0, [width, height, width, height])
        np.testing.assert_allclose(annotations.boxes[place], clipped, atol=1e-6)
        if w and h:
            expected = turned.intersection(window).intersection(image).area / turned.area
            assert annotations.visible[place] == pytest.approx(expected, abs=1e-6)
        else:
            assert 0 <= annotations.visible[place] <= 1
    np.testing.assert_allclose(
        annotations.xywh[:, 2:], annotations.boxes[:, 2:] - annotations.boxes[:, :2], atol=1e-9
    )


def test_the_share_of_boxes_without_area() -> None:
    found = [[10, 10, 0, 20], [10, 10, 0, 0], [30, 10, 0, 0], [-5, 10, 10, 0], [20, 0, 0, 10]]
    annotations = everything(index_of([{"bbox": box} for box in found]), Affine.identity(), (20, 20))
    assert annotations.visible.tolist() == [0.5, 1, 0, 0.5, 0]


rings = st.lists(st.tuples(places, places), min_size=3, max_size=8)


@given(rings, matrices)
@settings(max_examples=100, deadline=None)
def test_polygons_are_clipped(ring: list[tuple[float, float]], matrix: Affine) -> None:
    flat = [value for point in ring for value in point]
    index = index_of([{"bbox": [0, 0, 50, 50], "segmentation": [flat]}])
    (found,) = everything(index, matrix, (50, 70)).segmentations
    polygon = shapely.make_valid(shapely.Polygon([matrix * point for point in ring]))
    expected = polygon.intersection(shapely.box(0, 0, 70, 50))
    assert found.area == pytest.approx(expected.area, abs=1e-5, rel=1e-6)
    assert found.is_empty or shapely.box(-1e-6, -1e-6, 70 + 1e-6, 50 + 1e-6).covers(found)
    assert found.geom_type in ("Polygon", "MultiPolygon")


FORMS = {
    "coco": [[10, 10, 40, 10, 40, 30, 10, 30], [50, 10, 60, 10, 60, 30]],
    "one flat list": [10, 10, 40, 10, 40, 30, 10, 30],
    "kwcoco": [{"exterior": [[10, 10], [40, 10], [40, 30]], "interiors": [[[30, 12], [38, 12], [38, 20]]]}],
    "one of kwcoco": {"exterior": [[10, 10], [40, 10], [40, 30]], "interiors": []},
}


@pytest.mark.parametrize("form", FORMS)
def test_polygons_of_every_form_are_filled(form: str) -> None:
    index = index_of([{"bbox": [10, 10, 50, 20], "segmentation": FORMS[form]}])
    annotations = seen(index, Window(0, 0, HEIGHT, WIDTH))
    (found,) = annotations.segmentations
    written = kwimage.Segmentation.coerce(
        [FORMS[form]] if form == "one flat list" else FORMS[form], dims=(HEIGHT, WIDTH)
    )
    assert found.area == pytest.approx(written.to_multi_polygon().to_shapely().area)
    inside = shapely.contains_xy(
        found.buffer(-0.8), *np.meshgrid(np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5)
    )
    touched = shapely.contains_xy(
        found.buffer(0.8), *np.meshgrid(np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5)
    )
    drawn = annotations.to_mask("binary")
    assert drawn[inside].all()
    assert not drawn[~touched].any()
    if form == "coco":
        merged = pycocotools.mask.merge(pycocotools.mask.frPyObjects(FORMS[form], HEIGHT, WIDTH))
        np.testing.assert_array_equal(drawn, pycocotools.mask.decode(merged))


@given(
    st.integers(0, 2**32), st.integers(-9, 70), st.integers(-9, 70), st.integers(1, 40), st.integers(1, 40)
)
@settings(max_examples=50, deadline=None)
def test_masks_are_cut_like_pixels(seed: int, row: int, col: int, height: int, width: int) -> None:
    mask = np.random.default_rng(seed).random((HEIGHT, WIDTH)) < 0.5
    packed = pycocotools.mask.encode(np.asfortranarray(mask, np.uint8))
    runs = np.flatnonzero(np.diff(np.concatenate([[False], mask.T.ravel(), [not mask[-1, -1]]])))
    plain = np.diff(np.concatenate([[0], runs])).tolist()
    forms: list[Any] = [packed["counts"].decode(), plain]
    index = index_of(
        [
            {"bbox": [0, 0, WIDTH, HEIGHT], "segmentation": {"size": [HEIGHT, WIDTH], "counts": c}}
            for c in forms
        ]
    )
    annotations = everything(index, Affine.translation(-col, -row), (height, width))
    outside = np.pad(mask, 100)[row + 100 : row + 100 + height, col + 100 : col + 100 + width]
    assert annotations.report == Report()
    for found in annotations.segmentations:
        np.testing.assert_array_equal(found.to_mask(), outside)
    half = everything(index, Affine.scale(0.5), (HEIGHT // 2, WIDTH // 2))
    np.testing.assert_array_equal(half.segmentations[0].to_mask(), mask[1::2, 1::2])


@pytest.mark.parametrize("count", [80, 1000, 20_000])
def test_outlines_that_cross_themselves_often(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    ring = np.random.default_rng(count).random((count, 2)) * (WIDTH + 20, HEIGHT + 20) - 10
    window = Window(-5, 10, 40, 50)
    found = seen(index_of([{"bbox": [0, 0, 80, 60], "segmentation": [ring.ravel().tolist()]}]), window)
    mask = found.to_mask("binary")
    x, y = np.meshgrid(np.arange(50) + 10.5, np.arange(40) - 4.5)
    (x0, y0), (x1, y1) = ring.T, np.roll(ring, -1, axis=0).T
    left = np.zeros(x.shape, np.int64)  # how many lines are left of each pixel
    for place in range(count):
        spans = (y0[place] <= y) != (y1[place] <= y)
        cut = x0[place] + (y - y0[place]) / (y1[place] - y0[place]) * (x1[place] - x0[place])
        left += spans & (cut <= x)
    expected = left % 2 == 1
    if count > 100:
        assert isinstance(found.segmentations[0], RunLengths)
        assert (mask == expected).all()
        assert found.to_coco()[0]["area"] == expected.sum()
        return
    monkeypatch.setattr(tangled, "MOST_CROSSINGS", 10)
    index = index_of([{"bbox": [0, 0, 80, 60], "segmentation": [ring.ravel().tolist()]}])
    drawn = seen(index, window).segmentations[0]
    assert isinstance(drawn, RunLengths)
    assert (drawn.to_mask() == expected).all()


def test_a_few_crossings_among_many_points() -> None:
    turn = np.linspace(0, 2 * np.pi, 50_000, endpoint=False)
    ring = np.stack([40 + 20 * np.cos(turn), 30 + 20 * np.sin(turn)], axis=1)
    ring[[5, 9]] = ring[[9, 5]]
    found = seen(
        index_of([{"bbox": [0, 0, 80, 60], "segmentation": [ring.ravel().tolist()]}]), Window(0, 0, 60, 80)
    )
    assert found.segmentations[0].area == pytest.approx(np.pi * 400, rel=1e-3)


def test_segmentations_and_keypoints_as_arrays() -> None:
    ring, points = [1.0, 1, 20, 1, 20, 20], [3.0, 4, 2, 5, 6, 1]
    window = Window(0, 0, 60, 80)
    listed = [{"bbox": [1, 1, 19, 19], "segmentation": [ring], "keypoints": points}]
    arrays = [{"bbox": [1, 1, 19, 19], "segmentation": np.array([ring]), "keypoints": np.array(points)}]
    one, other = seen(index_of(listed), window), seen(index_of(arrays), window)
    assert (one.to_mask() == other.to_mask()).all()
    assert relative(one)["rel_kpts"].data[0].xy.tolist() == relative(other)["rel_kpts"].data[0].xy.tolist()
    outlines = [relative(each)["rel_ssegs"].data[0].to_coco() for each in (one, other)]
    assert outlines[0] == outlines[1]
    nothing = [{"bbox": [1, 1, 9, 9], "segmentation": np.array([]), "keypoints": np.array([1, 2, np.nan])}]
    found = seen(index_of(nothing), window)
    assert (found.segmentations, found.keypoints) == ((None,), (None,))
    assert found.report == Report({"malformed keypoints": 1})


def test_masks_behind_a_rotation() -> None:
    mask = np.random.default_rng(0).random((HEIGHT, WIDTH)) < 0.5
    index = index_of([{"bbox": [0, 0, 9, 9], "segmentation": RunLengths.of(mask).to_coco()}])
    turned = everything(index, Affine(0, -1, HEIGHT, 1, 0, 0), (WIDTH, HEIGHT))
    np.testing.assert_array_equal(turned.segmentations[0].to_mask(), np.rot90(mask, -1))


def test_segmentations_without_meaning_are_counted() -> None:
    good = {"size": [HEIGHT, WIDTH], "counts": [HEIGHT * WIDTH]}
    found: list[Any] = [
        {"size": [HEIGHT, WIDTH + 1], "counts": [HEIGHT * (WIDTH + 1)]},
        {"size": [HEIGHT, WIDTH], "counts": [5]},
        {"size": [HEIGHT, WIDTH], "counts": "~~~"},
        {"size": [HEIGHT, WIDTH], "counts": ""},
        {"size": [HEIGHT, WIDTH], "counts": [-1, HEIGHT * WIDTH + 1]},
        {"size": "x", "counts": []},
        {"counts": "0"},
        good,
        [[1, 2, 3, 4]],
        [[1, 2, 3, 4, 5, 6, 7]],
        [[math.nan, 2, 3, 4, 5, 6]],
        [None],
        "text",
        {"exterior": 5},
        [[1, 2, 3, 4], [1, 1, 9, 1, 9, 9]],
        [],
        None,
    ]
    index = index_of([{"bbox": [0, 0, 9, 9], "segmentation": one} for one in found])
    annotations = seen(index, Window(0, 0, 50, 50))
    assert annotations.report == Report(
        {"mask of another size": 1, "malformed mask": 6, "malformed polygon": 7}
    )
    assert [place for place, one in enumerate(annotations.segmentations) if one is not None] == [7, 14]


def test_keypoints_of_both_forms() -> None:
    index = index_of(
        [
            {"bbox": [0, 0, 9, 9], "keypoints": [10, 20, 2, 0, 0, 0, 70, 5, 1]},
            {
                "bbox": [0, 0, 9, 9],
                "keypoints": [{"xy": [10, 20], "keypoint_category_id": 4}, {"xy": [1, 2], "visible": 1}],
            },
            {"bbox": [0, 0, 9, 9], "keypoints": [1, 2]},
            {"bbox": [0, 0, 9, 9], "keypoints": [{"y": 1}]},
            {"bbox": [0, 0, 9, 9], "keypoints": []},
        ]
    )
    annotations = seen(index, Window(2, 4, 20, 30), scale=(2, 3))
    flat, listed, *none = annotations.keypoints
    assert flat is not None
    assert listed is not None
    assert none == [None, None, None]
    assert annotations.report == Report({"malformed keypoints": 2})
    np.testing.assert_array_equal(flat.xy, [[18, 36], [math.nan, math.nan], [198, 6]])
    assert flat.visibility.tolist() == [2, 0, 1]
    assert flat.inside(40, 90).tolist() == [True, False, False]
    assert flat.to_coco() == [18, 36, 2, 0, 0, 0, 198, 6, 1]
    np.testing.assert_array_equal(listed.xy, [[18, 36], [-9, 0]])
    assert listed.category_ids.tolist() == [4, -1]
    assert listed.visibility.tolist() == [2, 1]


def square(x: float, size: float, **more: Any) -> dict[str, Any]:
    return {"bbox": [x, x, size, size], **more}


def test_masks_are_drawn_in_order() -> None:
    index = index_of(
        [
            square(20, 10),
            square(10, 40, category_id=1),
            square(15, 5, iscrowd=1),
            square(0, 2, category_id=None),
        ]
    )
    annotations = seen(index, Window(0, 0, HEIGHT, WIDTH))
    semantic, instance = annotations.to_mask(), annotations.to_mask("instance")
    assert semantic.dtype == np.int64
    assert semantic[25, 25] == 7  # the smaller one on top
    assert semantic[17, 17] == 1  # crowds lie under all else
    assert semantic[45, 45] == 1
    assert semantic[0, 0] == -100  # of no known class
    assert semantic[59, 79] == 0
    assert instance[25, 25] == 1
    assert instance[17, 17] == instance[45, 45] == 2
    alone = annotations[[2]]
    assert alone.to_mask("instance")[17, 17] == -100
    assert alone.to_mask("instance", ignore=99)[17, 17] == 99
    assert alone.to_mask("binary").sum() == 25
    assert alone.to_mask("semantic", background=5)[0, 0] == 5
    assert not alone.to_mask("binary", boxes=False).any()
    with pytest.raises(ConfigError, match="kind='other'"):
        annotations.to_mask("other")


def test_the_background_is_no_category() -> None:
    index = index_of([square(10, 10, category_id=0)], categories=[{"id": 0, "name": "cat"}])
    assert set(np.unique(seen(index, Window(0, 0, 50, 50)).to_mask())) == {-1, 0}
    named = [{"id": 3, "name": "background"}, {"id": 0, "name": "cat"}]
    index = index_of([square(10, 10, category_id=0)], categories=named)
    assert set(np.unique(seen(index, Window(0, 0, 50, 50)).to_mask())) == {3, 0}


def test_a_mask_of_a_window_is_a_window_of_the_mask() -> None:
    rng = np.random.default_rng(0)
    found = [{"bbox": [0, 0, 80, 60], "segmentation": [rng.integers(0, 60, 10).tolist()]} for _ in range(10)]
    index = index_of(found)
    whole = everything(index, Affine.identity(), (HEIGHT, WIDTH)).to_mask("binary")
    part = everything(index, Affine.translation(-20, -10), (30, 40)).to_mask("binary")
    assert (whole[10:40, 20:60] != part).mean() < 0.02  # pycocotools rounds points, of clipped polygons too


def test_coco_reads_what_is_written() -> None:
    index = index_of(
        [
            {
                "bbox": [10, 10, 40, 20],
                "segmentation": FORMS["coco"],
                "track_id": 5,
                "keypoints": [20, 20, 2],
            },
            {"bbox": [10, 10, 40, 20], "segmentation": FORMS["kwcoco"], "iscrowd": 1},
            {"bbox": [10, 10, 40, 20], "category_id": None},
        ]
    )
    annotations = seen(index, Window(5, 20, 20, 30))
    entries = json.loads(json.dumps(annotations.to_coco()))
    assert entries[0]["bbox"] == [0, 5, 30, 15]
    assert entries[0]["keypoints"] == [0, 15, 2]
    assert entries[0]["track_id"] == 5
    assert "category_id" not in entries[2]
    assert entries[2]["area"] == 450
    assert entries[1]["segmentation"]["size"] == [20, 30]
    for entry, found in zip(entries[:2], annotations.segmentations, strict=False):
        assert entry["area"] == pytest.approx(found.area)
        written = entry["segmentation"]
        if isinstance(written, dict):  # with a hole
            pixels = pycocotools.mask.decode(written | {"counts": written["counts"].encode()})
            assert pixels.sum() == pytest.approx(found.area, abs=10)
        else:
            assert kwimage.MultiPolygon.coerce(written).to_shapely().equals(found)


@pytest.mark.parametrize("installed", [False, True])
def test_torchvision(installed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    wrapped = types.SimpleNamespace(
        BoundingBoxes=lambda found, **options: ("boxes", found, options),
        Mask=lambda found: ("mask", found),
    )
    monkeypatch.setattr(
        "subregion.sampling.annotations.export.torchvision",
        types.SimpleNamespace(imported=lambda: _module(installed, wrapped)),
    )
    triangle = {"segmentation": [[10, 10, 20, 10, 10, 20]], "area": 1234}
    halves = index_of([square(10, 10, **triangle)])
    (coco,) = everything(halves, Affine.identity(), (30, 40)).to_coco()
    assert everything(halves, Affine.identity(), (30, 40)).to_torchvision()["area"].tolist() == [50]
    assert coco["area"] == 50
    index = index_of([square(10, 10), {"id": 9, "bbox": None}])
    target = everything(index, Affine.identity(), (30, 40)).to_torchvision()
    plain = target["boxes"][1] if installed else target["boxes"]
    assert plain.tolist() == [[10, 10, 20, 20]]
    assert plain.dtype == torch.float32
    if installed:
        assert target["boxes"][2] == {"format": "XYXY", "canvas_size": (30, 40)}
    masks = target["masks"][1] if installed else target["masks"]
    assert masks.shape == (1, 30, 40)
    assert masks.sum() == 100
    assert target["labels"].tolist() == [7]
    assert target["labels"].dtype == torch.int64


def _module(installed: bool, wrapped: Any) -> Any:
    if not installed:
        raise ImportError("torchvision")
    return types.SimpleNamespace(tv_tensors=wrapped)


def test_frames_of_a_clip() -> None:
    index = index_of(
        [square(1, 5, image_id=1), square(2, 9), square(30, 9), square(40, 9, image_id=1, category_id=1)]
    )
    window = Window(0, 0, 60, 60)
    parts = [FramePart.overlapping(index, number, window) for number in (1, 0, 1)]
    clip = Annotations.of(index, parts, (60, 60), is_clip=True)
    assert clip.ids.tolist() == [0, 3, 1, 2, 0, 3]
    assert clip.frame_index.tolist() == [0, 0, 1, 1, 2, 2]
    assert clip.category_names == ["dog", "cat", "dog", "dog", "dog", "cat"]
    assert clip.to_mask().shape == (3, 60, 60)
    for number in range(3):
        frame = clip.for_frame(number)
        np.testing.assert_array_equal(frame.to_mask(), clip.to_mask()[number])
        assert not frame.is_clip
        assert {entry["image_id"] for entry in frame.to_coco()} == {parts[number].image_id}
    assert [entry["frame_index"] for entry in clip.to_coco()] == [0, 0, 1, 1, 2, 2]
    if importlib.util.find_spec("torch") is not None:
        assert [len(one["labels"]) for one in clip.to_torchvision()] == [2, 2, 2]
    with pytest.raises(RegionError, match="no frame 3"):
        clip.for_frame(3)


def test_a_threshold_of_what_is_visible() -> None:
    index = index_of([square(0, 10), square(15, 10), square(18, 10)])
    part = FramePart.overlapping(index, 0, Window(0, 0, 20, 20))
    found = [len(Annotations.of(index, [part], (20, 20), visible_thresh=t)) for t in (0, 0.05, 0.25, 0.9, 1)]
    assert found == [3, 2, 1, 1, 0]


def test_entries_are_parsed_only_when_shapes_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    index = index_of([square(0, 10)])
    annotations = seen(index, Window(0, 0, 20, 20))
    monkeypatch.setattr(AnnotationIndex, "entry", None)
    assert annotations.boxes.tolist() == [[0, 0, 10, 10]]
    assert annotations.category_names == ["dog"]
    with pytest.raises(TypeError):
        _ = annotations.segmentations


def test_samples_travel_without_their_dataset() -> None:
    index = index_of([square(number, 10, segmentation=FORMS["coco"]) for number in range(2000)])
    annotations = seen(index, Window(0, 0, 2, 2))
    sent = pickle.dumps(annotations)
    assert len(sent) < 10_000
    found = pickle.loads(sent)
    assert found.index is None
    np.testing.assert_array_equal(found.to_mask(), annotations.to_mask())
    assert found.for_frame(0).to_coco() == annotations.to_coco()
    assert len(found[[]]) == 0
    assert "2 dog" in repr(found)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore:overflow encountered in cast:RuntimeWarning")
@pytest.mark.parametrize("key", ["shapes8", "vidshapes8"])
def test_the_same_as_ndsampler(key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ndsampler = pytest.importorskip("ndsampler")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    dataset = kwcoco.CocoDataset.demo(key, verbose=0)
    theirs = ndsampler.CocoSampler(dataset, workdir=str(tmp_path / "work"), backend=None)
    index = AnnotationIndex.of(dataset, CocoFrames(dataset, backend=None))
    rng = np.random.default_rng(0)
    compared = 0
    for image_id in dataset.images():
        row, col = rng.integers(-40, 300, 2).tolist()
        window = Window(row, col, 250, 311)
        target = {"gid": image_id, "slices": (slice(row, row + 250), slice(col, col + 311))}
        expected = theirs.load_sample(target, with_annots=True)["annots"]
        part = FramePart.overlapping(index, image_id, window)
        found = relative(Annotations.of(index, [part], (250, 311)))
        assert found["aids"].tolist() == expected["aids"].tolist()
        assert found["cids"].tolist() == expected["cids"].tolist()
        np.testing.assert_allclose(found["rel_boxes"].data, expected["rel_boxes"].data)
        for name in ("rel_ssegs", "rel_kpts"):
            for mine, other in zip(found[name].data, expected[name].data, strict=True):
                assert (mine is None) == (other is None)
                if mine is not None:
                    assert type(mine) is type(other)
                    assert mine.to_coco(style="new") == other.to_coco(style="new")
                    compared += 1
        (dets,) = found["frame_dets"]
        assert dets.data.keys() >= expected["frame_dets"][0].data.keys()
        assert dets.meta.keys() == expected["frame_dets"][0].meta.keys()
    assert compared


def test_kwimage_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    annotations = seen(index_of([square(0, 10)]), Window(0, 0, 20, 20))
    monkeypatch.setattr(libraries.kwimage, "_name", "kwimage_that_is_not_there")
    with pytest.raises(MissingPackageError, match="pip install kwimage_that_is_not_there"):
        relative(annotations)
    assert "kwimage" in sys.modules  # by this test, not by annotations
