"""Annotations of a dataset as arrays: compared with Python's JSON, kwcoco and comparisons one by one."""

from __future__ import annotations

import gzip
import json
import math
import pickle
from pathlib import Path
from typing import Any

import kwcoco
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from subregion import CocoFrames
from subregion.collections.coco_file import read_dataset
from subregion.errors import RecordError, SubregionError, UnknownAnnotationError, UnknownImageError
from subregion.sampling.annotations import index as index_module
from subregion.sampling.annotations import stream
from subregion.sampling.annotations.index import AnnotationIndex
from subregion.sampling.annotations.report import Report


def dataset_of(annotations: list[Any], images: int = 3, **more: Any) -> dict[str, Any]:
    listed = [
        {"id": number, "file_name": f"{number}.png", "width": 100, "height": 80} for number in range(images)
    ]
    return {
        "categories": [{"id": 1, "name": "cat"}, {"id": 7, "name": "dog"}],
        "images": listed,
        "annotations": annotations,
    } | more


def index_of(dataset: Any) -> AnnotationIndex:
    return AnnotationIndex.of(dataset, CocoFrames(dataset, backend=None))


def through_file(dataset: Any, path: Path, **options: Any) -> AnnotationIndex:
    path.write_text(json.dumps(dataset, **options))
    lists = read_dataset(str(path), annotations=True)
    return AnnotationIndex.of(lists, CocoFrames(lists, backend=None))


def as_expected(index: AnnotationIndex, dataset: dict[str, Any]) -> None:
    """Compare with what the dataset says, one by one."""
    places = {image["id"]: place for place, image in enumerate(dataset["images"])}
    known = [entry for entry in dataset["annotations"] if entry.get("image_id") in places]
    known.sort(key=lambda entry: (places[entry["image_id"]], entry["id"]))
    assert index.ids.tolist() == [entry["id"] for entry in known]
    assert index.image.tolist() == [places[entry["image_id"]] for entry in known]
    for row, entry in enumerate(known):
        assert index.entry(row) == entry
        assert index.find(entry["id"]) == row
        assert index.iscrowd[row] == bool(entry.get("iscrowd"))
        track = entry.get("track_id")
        assert index.track_ids[row] == (-1 if track is None else track)
        assert index.category_ids[row] == (
            entry.get("category_id") if entry.get("category_id") in (1, 7) else -1
        )
        if entry.get("bbox") is None:
            assert np.isnan(index.boxes[row]).all()
        else:
            x, y, w, h = entry["bbox"]
            assert index.boxes[row].tolist() == [x, y, x + w, y + h]
    for image_id, place in places.items():
        rows = index.rows_of(image_id)
        assert rows == slice(index.first[place], index.first[place + 1])
        assert {known[row]["image_id"] for row in range(rows.start, rows.stop)} <= {image_id}


numbers = st.floats(-50, 150, allow_nan=False).map(lambda value: round(value, 3))
sizes = st.one_of(st.floats(0, 90).map(lambda value: round(value, 2)), st.integers(0, 90))
texts = st.sampled_from(
    ["", "plain", 'quoted }, {"id": 3, ', "}]", "] , [", "\\", "ü\u2028", '"annotations": [']
)
nested = st.sampled_from(
    [
        [],
        [[1, 2, 3, 4, 5, 6]],
        [{"id": 1, "xy": [1, 2]}, {"id": 2}],
        {"size": [2, 2], "counts": "04"},
        None,
        1e300,
    ]
)


@st.composite
def entries(draw: Any) -> list[dict[str, Any]]:
    count = draw(st.integers(0, 25))
    ids = draw(st.permutations(range(count)))
    found = []
    for number in ids:
        entry = {"id": number * draw(st.sampled_from([1, 1, 1 << 54])), "image_id": draw(st.integers(0, 4))}
        optional = {
            "category_id": st.sampled_from([1, 7, 7, 1, 5, None]),
            "bbox": st.one_of(st.none(), st.tuples(numbers, numbers, sizes, sizes).map(list)),
            "iscrowd": st.sampled_from([0, 1, True, None]),
            "track_id": st.sampled_from([None, 0, 5, 1 << 60]),
            "segmentation": nested,
            "keypoints": nested,
            "caption": texts,
        }
        for key, values in optional.items():
            if draw(st.integers(0, 3)):
                entry[key] = draw(values)
        keys = draw(st.permutations(list(entry))) if draw(st.booleans()) else list(entry)
        found.append({key: entry[key] for key in keys})
    return found


@given(
    entries(),
    st.sampled_from([None, 0, 2]),
    st.booleans(),
    st.integers(1, 300),
    st.sampled_from(["images", "categories", "unknown", "info"]),
)
@settings(max_examples=60, deadline=None)
def test_a_file_gives_what_it_says(
    found: list[Any], indent: int | None, ascii_only: bool, piece: int, last: str
) -> None:
    dataset = dataset_of(found, unknown=[{"id": 3}], info={"about": '"annotations": [{"id": 1}]'})
    dataset[last] = dataset.pop(last)
    data = json.dumps(dataset, indent=indent, ensure_ascii=ascii_only).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream, "PIECE", piece)
        patch.setattr("subregion.collections.coco_file._read", lambda path: data)
        lists = read_dataset("some.json", annotations=True)
        index = AnnotationIndex.of(lists, CocoFrames(lists, backend=None))
        again = pickle.loads(pickle.dumps(index))
    as_expected(index, dataset)
    as_expected(again, dataset)
    as_expected(index_of(dataset), dataset)
    assert index.report == index_of(dataset).report


def test_nothing_is_parsed_twice_to_find_where_annotations_end(tmp_path: Path) -> None:
    boxes = [{"id": number, "image_id": number % 3, "bbox": [1, 2, 3, 4]} for number in range(5000)]
    path = tmp_path / "data.json"
    for last in ("annotations", "categories"):
        dataset = dataset_of(boxes)
        dataset[last] = dataset.pop(last)
        path.write_text(json.dumps(dataset))
        assert read_dataset(str(path), annotations=True).guessed
        as_expected(through_file(dataset, path), dataset)


def test_nested_objects_with_the_same_first_key(tmp_path: Path) -> None:
    points = [{"id": number, "xy": [1, 2]} for number in range(40)]
    boxes = [
        {"id": number, "image_id": 0, "keypoints": points, "bbox": [1, 2, 3, 4]} for number in range(300)
    ]
    dataset = dataset_of(boxes)
    as_expected(through_file(dataset, tmp_path / "data.json"), dataset)


def test_an_annotation_larger_than_many_pieces(tmp_path: Path) -> None:
    long = list(range(300_000))
    boxes = [
        {"id": number, "image_id": 0, "segmentation": [long], "bbox": [1, 2, 3, 4]} for number in range(3)
    ]
    dataset = dataset_of(boxes)
    as_expected(through_file(dataset, tmp_path / "data.json"), dataset)


def test_packed_files(tmp_path: Path) -> None:
    dataset = dataset_of([{"id": 1, "image_id": 2, "bbox": [1, 2, 3, 4]}])
    path = tmp_path / "data.json.gz"
    path.write_bytes(gzip.compress(json.dumps(dataset).encode()))
    as_expected(AnnotationIndex.of(path, CocoFrames(path, backend=None)), dataset)


def test_what_is_wrong_is_counted(tmp_path: Path) -> None:
    found: list[Any] = [
        {"id": 1, "image_id": 0, "bbox": [math.nan, 1, 2, 3]},
        {"id": 2, "image_id": 0, "bbox": [1, 2, 3]},
        {"id": 3, "image_id": 0, "bbox": [1, 2, -3, 4]},
        {"id": 4, "image_id": 0},
        {"id": 5, "image_id": 99, "bbox": [1, 2, 3, 4]},
        {"id": 6, "image_id": 0, "bbox": [1, 2, 3, 4], "category_id": 55, "track_id": "a"},
        {"id": 7, "image_id": "text", "bbox": [1, 2, 3, 4]},
        {"id": 8, "image_id": 0, "bbox": [1, 2, 3, 4, 5], "category_id": 7},
        {"id": 9, "image_id": 0, "bbox": [-500, -500, 3, 4], "category_id": 7},
    ]
    expected = Report(
        {
            "malformed box": 3,
            "box of negative size": 1,
            "no box": 1,
            "unknown image": 2,
            "unknown category": 1,
            "malformed track id": 1,
            "box outside the image": 1,
        }
    )
    dataset = dataset_of(found)
    for index in (index_of(dataset), through_file(dataset, tmp_path / "data.json")):
        assert index.report == expected
        assert index.ids.tolist() == [1, 2, 3, 4, 6, 8, 9]
        assert index.overlapping(0, (0, 0, 100, 80)).tolist() == [4]
        assert "unknown image (left out: " in str(index.report)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ([{"id": 1, "image_id": 0}, {"id": 1, "image_id": 1}], "annotation id 1 is given twice"),
        ([{"image_id": 0}], r"annotations\[0\].id=None"),
        ([{"id": "a", "image_id": 0}], r"annotations\[0\].id='a'"),
        ([{"id": 0, "image_id": 0}, {"id": True, "image_id": 0}], r"annotations\[1\].id=True"),
        ([7], r"annotations\[0\]=7 must be an object"),
        ({"id": 1}, "must be a list"),
        ("text", "must be a list"),
        (5, "must be a list"),
    ],
)
def test_what_has_no_meaning_is_an_error(found: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=said):
        index_of(dataset_of(found))
    with pytest.raises(SubregionError, match=said):
        through_file(dataset_of(found), tmp_path / "data.json")


@pytest.mark.parametrize(
    "text", ['{"images": [], "annotations": [{"id": 1}, }', '{"images": [], "annotations": [{"id": 1]}']
)
def test_files_that_are_no_json(text: str, tmp_path: Path) -> None:
    path = tmp_path / "data.json"
    path.write_text(text)
    with pytest.raises(SubregionError, match="data.json"):
        AnnotationIndex.of(path, CocoFrames({"images": []}, backend=None))


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 5), st.integers(0, 5))), st.data()
)
@settings(max_examples=60, deadline=None)
def test_windows(boxes: list[Any], data: Any) -> None:
    dataset = dataset_of(
        [{"id": number, "image_id": 1, "bbox": list(box)} for number, box in enumerate(boxes)]
        + [{"id": 1000, "image_id": 1}, {"id": 1001, "image_id": 2, "bbox": [0, 0, 50, 50]}]
    )
    index = index_of(dataset)
    x, y, w, h = (data.draw(st.integers(-1, 10)) for _ in range(4))
    expected = [
        number
        for number, (left, top, width, height) in enumerate(boxes)
        if left < x + w and left + width > x and top < y + h and top + height > y
    ]
    assert index.ids[index.overlapping(1, (x, y, x + w, y + h))].tolist() == expected
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index_module, "MANY", 1)  # by the tree
        assert index.ids[index.overlapping(1, (x, y, x + w, y + h))].tolist() == expected
    assert index.overlapping(0, (0, 0, 9, 9)).tolist() == []


def test_unknown_ids() -> None:
    index = index_of(dataset_of([{"id": 4, "image_id": 0, "bbox": [1, 2, 3, 4]}]))
    for unknown in (5, "a", None, [1], 4.5):
        with pytest.raises(UnknownAnnotationError):
            index.find(unknown)
    for unknown in (50, "a", [1]):
        with pytest.raises(UnknownImageError):
            index.overlapping(unknown, (0, 0, 1, 1))


def test_image_ids_of_any_kind() -> None:
    for ids in (["a", "b"], [1 << 70, 5], [10**15, -(10**15)], [3, "b"]):
        dataset = {
            "images": [{"id": one, "file_name": "x.png"} for one in ids],
            "annotations": [
                {"id": number, "image_id": one, "bbox": [1, 1, 1, 1]} for number, one in enumerate(ids)
            ],
        }
        index = index_of(dataset)
        assert [index.image_ids[row] for row in index.image] == ids
        assert index.ids[index.rows_of(ids[1])].tolist() == [1]


def test_edits_of_a_dataset_in_memory() -> None:
    dataset = dataset_of([{"id": 4, "image_id": 0, "bbox": [1, 2, 3, 4]}])
    index = index_of(dataset)
    assert index.is_current()
    dataset["annotations"].append({"id": 5, "image_id": 1, "bbox": [1, 2, 3, 4]})
    assert not index.is_current()
    assert index.refreshed().ids.tolist() == [4, 5]
    dataset["annotations"][0]["bbox"][0] = 2
    assert index.refreshed().boxes[0].tolist() == [2, 2, 5, 6]
    index = index.refreshed()
    dataset["annotations"].clear()
    assert not index.is_current()
    index = index.refreshed()
    assert index.is_current()
    del dataset["annotations"]
    assert index.is_current()


@pytest.mark.parametrize("place", range(4))
def test_boxes_of_numbers_that_no_float_holds(place: int, tmp_path: Path) -> None:
    box = [1, 1, 2, 2]
    box[place] = 10**400
    path = tmp_path / "data.json"
    path.write_text(json.dumps(dataset_of([{"id": 1, "image_id": 1, "bbox": box}])))
    found = AnnotationIndex.of(path, CocoFrames(path, backend=None))
    assert np.isnan(found.boxes).all()
    assert found.report == Report({"malformed box": 1})


@pytest.mark.filterwarnings("ignore:overflow encountered in cast:RuntimeWarning")
@pytest.mark.parametrize("key", ["shapes8", "vidshapes8"])
def test_the_same_as_kwcoco(key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    dataset = kwcoco.CocoDataset.demo(key, verbose=0)
    path = Path(dataset.fpath)
    for index in (index_of(dataset), AnnotationIndex.of(path, CocoFrames(path, backend=None))):
        assert len(index) == dataset.n_annots
        for image_id in dataset.images():
            rows = index.rows_of(image_id)
            found = dataset.annots(image_id=image_id)
            assert set(index.ids[rows]) == set(found)
            assert index.size_of(image_id) == (
                dataset.imgs[image_id]["height"],
                dataset.imgs[image_id]["width"],
            )
        for aid, entry in dataset.anns.items():
            row = index.find(aid)
            np.testing.assert_allclose(index.boxes[row], dataset.annots([aid]).boxes.to_ltrb().data[0])
            assert index.category_ids[row] == entry["category_id"]
            assert index.entry(row)["bbox"] == entry["bbox"]
