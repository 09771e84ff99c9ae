"""Grids of targets over datasets, the table of positives, and lookups by box."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import kwcoco
import ndsampler
import numpy as np
import pytest
import rasterio
from rasterio.enums import Resampling
from rasterio.transform import from_origin

from annotated import dataset, regions_of
from subregion.errors import (
    ConfigError,
    NotGeoreferencedError,
    RegionError,
    RegionTypeError,
    UnknownCategoryError,
    UnknownImageError,
    UnknownVideoError,
)
from subregion.sampling.regions.regions import Regions

IMAGES = "image_detection"
VIDEOS = "video_detection"


def marked(grid: dict[str, Any], size: tuple[int, int]) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Count for each pixel of one image how many windows hold it."""
    counts = np.zeros(size, np.int64)
    for target in grid["targets"]:
        counts[target["slices"]] += 1
    return counts


def test_image_targets_are_those_of_the_predecessor_where_nothing_touches() -> None:
    document = kwcoco.CocoDataset.demo("shapes2")
    ours, theirs = regions_of(document), ndsampler.CocoSampler(document)
    for dims, overlap in [((300, 400), 0.25), ("full", 0), ((97, 201), [0.5, 0.3])]:
        found = ours.new_sample_grid(IMAGES, dims, overlap)
        expected = theirs.new_sample_grid(IMAGES, dims, overlap)
        assert [(t["gid"], t["slices"]) for t in found["targets"]] == [
            (t["gid"], t["slices"]) for t in expected["targets"]
        ]
        for one, other in zip(found["targets"], expected["targets"], strict=True):
            assert set(one["aids"]) <= set(other["aids"])  # those that touch are extra there
            for aid in set(other["aids"]) - set(one["aids"]):
                x, y, w, h = document.anns[aid]["bbox"]
                rows, cols = one["slices"]
                assert x in (cols.stop, cols.start - w) or y in (rows.stop, rows.start - h)


def test_video_targets_are_those_of_the_predecessor() -> None:
    document = kwcoco.CocoDataset.demo("vidshapes2-frames5")
    ours, theirs = regions_of(document), ndsampler.CocoSampler(document)
    for dims, overlap in [((3, 300, 400), 0), ("full", 0), ((2, 250, 250), [0, 0.4, 0.1])]:
        found = ours.new_sample_grid(VIDEOS, dims, overlap)
        expected = theirs.new_sample_grid(VIDEOS, dims, overlap)
        assert found["targets"] == expected["targets"]
        assert len(found["positives"]) == len(expected["positives"])


def test_the_table_of_positives_is_that_of_the_predecessor() -> None:
    document = kwcoco.CocoDataset.demo("vidshapes2-frames5")
    ours, theirs = regions_of(document), ndsampler.CocoSampler(document).regions
    for column in ours.targets:
        assert np.allclose(ours.targets[column], theirs.targets[column])
    assert ours.get_positive(3) == pytest.approx(theirs.get_positive(3))
    assert ours.get_positive(-1) == ours.get_positive(ours.n_positives - 1)
    assert len(ours.targets) == len(theirs.targets) == 20
    assert dict(ours.targets).keys() == set(ours.targets.keys())
    row = ours.get_positive(2)
    assert {key: values[2] for key, values in ours.targets.items()} == row
    assert ours.get_positive(rng=4) == ours.get_positive(rng=4)
    with pytest.raises(RegionError, match="no positive 20: there are 20"):
        ours.get_positive(20)
    with pytest.raises(RegionTypeError):
        ours.get_positive("first")  # type: ignore[arg-type]


def test_number_17_of_the_predecessor_indices_point_at_their_targets() -> None:
    regions = regions_of(dataset({1: (40, 60), 2: (30, 30)}, [(1, [35, 5, 10, 10]), (2, [0, 0, 3, 3])]))
    grid = regions.new_sample_grid(IMAGES, (20, 20))
    assert grid["positives_indexes"] == [1, 2, 6]
    assert grid["negatives_indexes"] == [0, 3, 4, 5, 7, 8, 9]
    for kind in ("positives", "negatives"):
        assert grid[kind] == [grid["targets"][place] for place in grid[f"{kind}_indexes"]]
    assert [grid["targets"][place]["aids"] for place in grid["positives_indexes"]] == [[1], [1], [2]]
    assert all(not target["aids"] for target in grid["negatives"])
    assert "positives" not in regions.new_sample_grid(IMAGES, (20, 20), legacy=False)


def test_u11_what_only_touches_a_window_is_not_in_it() -> None:
    grid = regions_of(dataset({1: (60, 100)}, [(1, [10, 10, 30, 30])])).new_sample_grid(IMAGES, (40, 60))
    assert [target["slices"][1].start for target in grid["targets"]] == [0, 40, 0, 40]
    assert [target["aids"] for target in grid["targets"]] == [[1], [], [1], []]
    assert grid["positives_indexes"] == [0, 2]


def test_random_grids_cover_images_and_find_boxes_as_loops_do() -> None:
    rng = np.random.default_rng(5)
    for _ in range(60):
        sizes = {n: (int(rng.integers(1, 40)), int(rng.integers(1, 40))) for n in range(4)}
        boxes = [
            (int(rng.integers(4)), [*rng.integers(-5, 40, 2).tolist(), *rng.integers(1, 15, 2).tolist()])
            for _ in range(12)
        ]
        grid = regions_of(dataset(sizes, boxes)).new_sample_grid(
            IMAGES, rng.integers(1, 30, 2).tolist(), round(float(rng.random()) * 0.9, 2)
        )
        counts = {image_id: np.zeros(size, int) for image_id, size in sizes.items()}
        for place, target in enumerate(grid["targets"]):
            rows, cols = target["slices"]
            counts[target["gid"]][rows, cols] += 1
            expected = [
                number
                for number, (image_id, (x, y, w, h)) in enumerate(boxes, 1)
                if image_id == target["gid"]
                and max(x, cols.start) < min(x + w, cols.stop)
                and max(y, rows.start) < min(y + h, rows.stop)
            ]
            assert target["aids"] == expected
            assert (place in grid["positives_indexes"]) == bool(expected)
        assert all((count > 0).all() for count in counts.values())


def video_dataset() -> dict[str, Any]:
    """Return a video of five frames, of which the second is half as large and the third is turned."""
    document = dataset(
        dict.fromkeys("edcba", (20, 30)), [("a", [0, 0, 4, 4]), ("b", [5, 5, 5, 5]), ("c", [0, 0, 2, 4])]
    )
    warps = [None, {"scale": 2}, {"matrix": [[0, -1, 20], [1, 0, 0]]}, None, None]
    for number, (name, warp) in enumerate(zip("abcde", warps, strict=True)):
        entry = next(each for each in document["images"] if each["id"] == name)
        entry |= {"video_id": 9, "frame_index": number * 10}
        if warp is not None:
            entry["warp_img_to_vid"] = {"type": "affine"} | warp
    return document | {"videos": [{"id": 9, "name": "v", "width": 60, "height": 40}, {"id": 10, "name": "w"}]}


def test_boxes_of_frames_are_looked_for_in_pixels_of_the_video() -> None:
    grid = regions_of(video_dataset()).new_sample_grid(VIDEOS, (1, 10, 20))
    found = [(t["gids"], t["space_slice"], t["aids"]) for t in grid["targets"] if t["aids"]]
    top, second = slice(0, 10), slice(10, 20)
    assert found == [
        (["a"], (top, slice(0, 20)), [1]),
        (["b"], (second, slice(0, 20)), [2]),
        (["c"], (top, slice(0, 20)), [3]),  # x from 16 to 20, y from 0 to 2
    ]


def test_videos_are_covered_in_time_and_targets_know_their_frames() -> None:
    regions = regions_of(video_dataset())
    grid = regions.new_sample_grid(VIDEOS, (2, "full", 25), [0.5, 0, 0])
    assert [t["time_slice"] for t in grid["targets"]][::3] == [slice(n, n + 2) for n in range(4)]
    counts = np.zeros((5, 40, 60), int)
    for target in grid["targets"]:
        assert target["gids"] == list("abcde"[target["time_slice"]])
        assert target["vidid"] == 9
        counts[(target["time_slice"], *target["space_slice"])] += 1
    assert counts.all()
    whole = regions.new_sample_grid(VIDEOS, (9, 50, 60))["targets"]
    assert [(t["time_slice"], t["space_slice"][0]) for t in whole] == [(slice(0, 5), slice(0, 50))]
    with pytest.raises(UnknownVideoError, match="no video with id 3"):
        regions.new_sample_grid(VIDEOS, "full", video_ids=[3])
    with pytest.raises(ConfigError, match="give image_ids"):
        regions.new_sample_grid(IMAGES, "full", video_ids=[9])


def classified() -> Regions:
    boxes = [
        (1, [0, 0, 10, 10], {"category_id": 1}),
        (1, [10, 0, 10, 10], {"category_id": 2}),
        (1, [20, 0, 10, 10], {"category_id": 3}),
        (1, [30, 0, 6, 10], {"category_id": 4}),
        (1, [31, 0, 6, 10], {"category_id": 4}),
        (1, [40, 0, 5, 10], {"category_id": 4}),
        (1, [40, 0, 5, 9], {"category_id": 4}),
    ]
    return regions_of(dataset({1: (10, 50)}, boxes, ["Cat", "dog", "background", "ignore"]))


def test_which_classes_make_a_window_positive() -> None:
    regions = classified()
    grid = regions.new_sample_grid(IMAGES, (10, 10), ignore_coverage=None)
    assert [t["aids"] for t in grid["targets"]] == [[1], [2], [3], [4, 5], [6, 7]]
    assert grid["positives_indexes"] == [0, 1]
    grid = regions.new_sample_grid(IMAGES, (10, 10), classes_of_interest=["CAT"], ignore_coverage=None)
    assert grid["positives_indexes"] == [0]
    with pytest.raises(UnknownCategoryError, match="no category 'bird'; there is: Cat, dog"):
        regions.new_sample_grid(IMAGES, (10, 10), classes_of_interest=["bird"])
    with pytest.raises(ConfigError, match="classes_of_interest='cat'"):
        regions.new_sample_grid(IMAGES, (10, 10), classes_of_interest="cat")


def test_windows_that_are_mostly_to_be_ignored_are_left_out() -> None:
    """Of the fourth 7 columns are ignored, 5 of them twice; of the fifth 5, twice."""
    grid = classified().new_sample_grid(IMAGES, (10, 10))
    assert [t["slices"][1].start for t in grid["targets"]] == [0, 10, 20, 40]
    less = classified().new_sample_grid(IMAGES, (10, 10), ignore_coverage=0.45)
    assert [t["slices"][1].start for t in less["targets"]] == [0, 10, 20]


def test_without_annotations_all_windows_are_negative() -> None:
    grid = classified().new_sample_grid(IMAGES, (10, 10), use_annots=False)
    assert [t["aids"] for t in grid["targets"]] == [None] * 5
    assert grid["positives_indexes"] == []


def test_some_images_in_the_order_given() -> None:
    regions = regions_of(dataset({1: (4, 4), 2: (4, 8), 3: (4, 4)}, [(2, [5, 0, 1, 1]), (3, [0, 0, 1, 1])]))
    grid = regions.new_sample_grid(IMAGES, (4, 4), image_ids=[3, 2])
    assert [(t["gid"], t["aids"]) for t in grid["targets"]] == [(3, [2]), (2, []), (2, [1])]
    with pytest.raises(UnknownImageError):
        regions.new_sample_grid(IMAGES, (4, 4), image_ids=[8])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "segmentation"}, "task='segmentation': allowed are"),
        ({"keepbound": "no"}, "keepbound='no'"),
        ({"min_valid": 3}, "min_valid=3"),
        ({"crs": "EPSG:4326"}, "no meaning without area"),
        ({"area": "nowhere.geojson"}, "nowhere.geojson: no such file"),
        ({"area": {"type": "Point", "coordinates": [0, 0]}}, "must be a polygon"),
        ({"area": {"type": "Polygon"}}, "is no GeoJSON"),
        ({"overlap": 0.5}, "unknown 'overlap'; options are"),
    ],
)
def test_calls_without_meaning(options: dict[str, Any], message: str) -> None:
    with pytest.raises((ConfigError, FileNotFoundError), match=message):
        classified().new_sample_grid(**({"task": IMAGES, "window_dims": (5, 5)} | options))


def test_an_area_of_interest_in_pixels_is_covered() -> None:
    shapely = pytest.importorskip("shapely")
    rng = np.random.default_rng(2)
    for _ in range(40):
        area = shapely.convex_hull(shapely.MultiPoint(rng.random((6, 2)) * 50))
        size = int(rng.integers(40, 60)), int(rng.integers(40, 60))
        grid = regions_of(dataset({1: size})).new_sample_grid(
            IMAGES, rng.integers(3, 20, 2).tolist(), 0.3, area=area
        )
        pixels = [shapely.box(x, y, x + 1, y + 1) for y in range(size[0]) for x in range(size[1])]
        inside = shapely.area(shapely.intersection(area, pixels)).reshape(size) > 1e-9
        assert (marked(grid, size)[inside] > 0).all()
        for target in grid["targets"]:
            assert inside[target["slices"]].any()


def georeferenced(path: Path, nodata_from: int = 512) -> dict[str, Any]:
    """Write a file of 512 x 512 pixels of 10 m whose columns from some on are nodata, with overviews."""
    pixels = np.ones((512, 512), np.uint8)
    pixels[:, nodata_from:] = 0
    profile = {"driver": "GTiff", "height": 512, "width": 512, "count": 1, "dtype": "uint8", "nodata": 0}
    place = {"crs": "EPSG:32633", "transform": from_origin(500_000, 5_000_000, 10, 10)}
    with rasterio.open(path, "w", **profile, **place, tiled=True, blockxsize=64, blockysize=64) as file:
        file.write(pixels, 1)
        file.build_overviews([2, 4], Resampling.average)
    document = dataset({1: (512, 512)})
    document["images"][0]["file_name"] = str(path)
    return document


def test_an_area_of_interest_on_the_ground(tmp_path: Path) -> None:
    regions = regions_of(georeferenced(tmp_path / "a.tif"))
    ring = [[501_000, 4_998_900], [501_900, 4_998_900], [501_900, 4_999_900], [501_000, 4_999_900]]
    square = {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}
    expected = [(row, col) for row in (0, 64) for col in (64, 128)]

    def found(area: Any, **options: Any) -> list[tuple[int, int]]:
        grid = regions.new_sample_grid(IMAGES, (64, 64), area=area, **options)
        return [(t["slices"][0].start, t["slices"][1].start) for t in grid["targets"]]

    assert found(square, crs="EPSG:32633") == expected
    assert found(square | {"crs": {"type": "name", "properties": {"name": "EPSG:32633"}}}) == expected
    pyproj = pytest.importorskip("pyproj")
    there = pyproj.Transformer.from_crs(32633, 4326, always_xy=True)
    degrees = {"type": "Polygon", "coordinates": [[list(there.transform(*p)) for p in [*ring, ring[0]]]]}
    feature = {"type": "FeatureCollection", "features": [{"type": "Feature", "geometry": degrees}]}
    assert found(feature) == expected
    (tmp_path / "a.geojson").write_text(json.dumps(feature))
    assert found(tmp_path / "a.geojson") == expected
    corners = [[-180, -90], [180, -90], [180, 90], [-180, 90], [-180, -90]]
    assert len(found({"type": "Polygon", "coordinates": [corners]})) == 64
    elsewhere = {"type": "Polygon", "coordinates": [[[100, -30], [101, -30], [101, -31], [100, -30]]]}
    assert found(elsewhere) == []
    pixels = dataset({1: (512, 512)})
    np.save(tmp_path / "b.npy", np.zeros((512, 512), np.uint8))
    pixels["images"][0]["file_name"] = str(tmp_path / "b.npy")
    with pytest.raises(NotGeoreferencedError):
        regions_of(pixels).new_sample_grid(IMAGES, (64, 64), area=feature)


def test_windows_of_nodata_are_left_out_and_the_full_resolution_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = georeferenced(tmp_path / "a.tif", nodata_from=96)
    monkeypatch.setattr("subregion.sampling.regions.valid.LONGEST", 128)
    regions = regions_of(document)

    def columns(**options: Any) -> set[int]:
        grid = regions.new_sample_grid(IMAGES, (64, 64), **options)
        return {target["slices"][1].start for target in grid["targets"]}

    assert columns(min_valid=0.01) == {0, 64}
    assert columns(min_valid=0.5) == {0, 64}
    assert columns(min_valid=0.51) == {0}
    assert len(columns()) == 8
    explained = regions.frames.explain(1, scale=0.25, nodata="ma", interpolation="area")
    assert explained.nbytes <= 128 * 128


def test_valid_parts_of_videos_are_those_of_all_frames(tmp_path: Path) -> None:
    document = video_dataset()
    for entry in document["images"]:
        pixels = np.ones((20, 30, 1), np.float32)
        if entry["id"] != "a":
            pixels[:] = np.nan
        np.save(tmp_path / f"{entry['id']}.npy", pixels)
        entry["file_name"] = str(tmp_path / f"{entry['id']}.npy")
        entry.pop("warp_img_to_vid", None)
    regions = regions_of(document)
    found = regions.new_sample_grid(VIDEOS, (2, 20, 30), min_valid=0.5)["targets"]
    assert [(t["gids"], t["space_slice"]) for t in found] == [(["a", "b"], (slice(0, 20), slice(0, 30)))]


def test_annotations_that_meet_boxes() -> None:
    regions = regions_of(dataset({1: (50, 50)}, [(1, [0, 0, 10, 10]), (1, [20, 20, 10, 10])]))
    assert regions.overlapping_aids(1, [5, 5, 20, 20]) == [1]
    assert regions.overlapping_aids(1, np.array([[5, 5, 20, 20], [25, 25, 26, 26]])) == [1, 2]
    assert regions.overlapping_aids(1, [5, 0, 20, 10], visible_thresh=0.5) == []
    assert regions.overlapping_aids(1, [4, 0, 20, 10], visible_thresh=0.5) == [1]
    kwimage = pytest.importorskip("kwimage")
    assert regions.overlapping_aids(1, kwimage.Boxes([[25, 25, 9, 9]], "xywh")) == [2]
    with pytest.raises(UnknownImageError):
        regions.overlapping_aids(2, [0, 0, 1, 1])
    with pytest.raises(RegionTypeError, match="boxes="):
        regions.overlapping_aids(1, [0, 0, 1])


def test_segmentations_are_those_of_the_dataset() -> None:
    polygon = [[0, 0, 5, 0, 5, 5]]
    document = dataset({1: (9, 9)}, [(1, [0, 0, 5, 5], {"segmentation": polygon}), (1, [0, 0, 2, 2])])
    assert regions_of(document).get_segmentations([2, 1]) == [None, polygon]


def test_valid_pixels_of_images_that_are_much_longer_than_wide(tmp_path: Path) -> None:
    pixels = np.ones((20_000, 3), np.float32)
    pixels[10_000:] = np.nan
    np.save(tmp_path / "a.npy", pixels)
    document = dataset({1: (20_000, 3)})
    document["images"][0]["file_name"] = str(tmp_path / "a.npy")
    grid = regions_of(document).new_sample_grid(IMAGES, (5_000, 3), min_valid=0.9)
    assert [target["slices"][0].start for target in grid["targets"]] == [0, 5_000]
