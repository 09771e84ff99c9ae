"""Windows without objects: as many as asked for, free by the rule, spread by the rule."""

from __future__ import annotations

import pickle
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from annotated import dataset, regions_of
from subregion.errors import ConfigError, MissingNegativePoolError, NegativesError
from subregion.sampling.regions.boxtable import BoxTable
from subregion.sampling.regions.negatives import NegativeRule
from subregion.sampling.regions.regions import Regions

NOTHING = NegativeRule(over_window=0, over_annotation=0)


def targets_of(regions: Regions) -> list[dict[str, Any]]:
    return [regions.get_negative(number) for number in range(regions.n_negatives)]


def covers(window: tuple[float, ...], boxes: Sequence[tuple[float, ...]]) -> tuple[float, float]:
    """Compute, box by box, the sum of shares of the window and the largest share of a box."""
    x0, y0, x1, y1 = window
    total, largest = 0.0, 0.0
    for bx0, by0, bx1, by1 in boxes:
        if bx0 < x1 and bx1 > x0 and by0 < y1 and by1 > y0:
            shared = (min(bx1, x1) - max(bx0, x0)) * (min(by1, y1) - max(by0, y0))
            area = (bx1 - bx0) * (by1 - by0)
            total += shared / ((x1 - x0) * (y1 - y0))
            largest = max(largest, shared / area if area else 1.0)
    return total, largest


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 1 << 32))
def test_covers_are_those_of_a_loop_over_all_boxes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count, images = int(rng.integers(0, 60)), 3
    low = rng.integers(-20, 200, (count, 2)).astype(float)
    size = np.where(
        rng.random((count, 2)) < 0.8, rng.integers(0, 20, (count, 2)), rng.random((count, 2)) * 300
    )
    boxes = np.concatenate([low, low + size], axis=1)
    boxes[rng.random(count) < 0.05] = np.nan
    image = np.sort(rng.integers(0, images, count)).astype(np.int32)
    crowd = rng.random(count) < 0.2
    table = BoxTable.of(image, boxes, crowd, 200)
    begin = rng.integers(0, 150, (40, 2))
    windows = np.concatenate([begin, begin + rng.integers(1, 50, (40, 2))], axis=1)
    where = rng.integers(0, images, 40)
    over_window, over_annotation = table.cover(where, windows)
    for number in range(40):
        own = [(box, c) for box, i, c in zip(boxes.tolist(), image, crowd, strict=True) if i == where[number]]
        total, _ = covers(tuple(windows[number]), [tuple(box) for box, _ in own])
        _, largest = covers(tuple(windows[number]), [tuple(box) for box, c in own if not c])
        assert over_window[number] == pytest.approx(total)
        assert over_annotation[number] == pytest.approx(largest)
    limits = 0.4 * rng.random(2) + 1e-7
    expected = (over_window <= limits[0]) & (over_annotation <= limits[1])
    assert (table.within(where, windows, *limits.tolist()) == expected).all()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1 << 32), st.sampled_from(["area", "image"]))
def test_exactly_so_many_windows_inside_and_free(seed: int, by: str) -> None:
    rng = np.random.default_rng(seed)
    sizes = {number: (int(rng.integers(20, 90)), int(rng.integers(20, 90))) for number in range(6)}
    boxes = []
    for image_id in sizes:
        for _ in range(int(rng.integers(0, 5))):
            boxes.append((image_id, [*rng.integers(0, 60, 2).tolist(), *rng.integers(1, 30, 2).tolist()]))
    boxes.append((0, [3, 4, 5, 6]))
    regions = regions_of(dataset(sizes, boxes), seed)
    dims = None if rng.random() < 0.5 else (int(rng.integers(1, 20)), int(rng.integers(1, 20)))
    rule = NegativeRule(float(rng.random() * 0.5), float(rng.random()), by)
    try:
        assert regions.preselect(n_neg=57, window_dims=dims, rule=rule) == (len(boxes), 57)
    except NegativesError:
        return
    assert len(targets_of(regions)) == 57
    for target in targets_of(regions):
        height, width = sizes[target["gid"]]
        x0, y0 = target["cx"] - target["width"] / 2, target["cy"] - target["height"] / 2
        window = x0, y0, x0 + target["width"], y0 + target["height"]
        assert x0 >= 0 <= y0
        assert window[2] <= width
        assert window[3] <= height
        assert dims is None or (target["height"], target["width"]) == dims
        own = [(x, y, x + w, y + h) for image_id, (x, y, w, h) in boxes if image_id == target["gid"]]
        total, largest = covers(window, own)
        assert total <= rule.over_window + 1e-9
        assert largest <= rule.over_annotation + 1e-9


def free_places(size: tuple[int, int], dims: tuple[int, int], boxes: list[Any]) -> NDArray[np.bool_]:
    """Tell of every position of a window whether it shares no pixel with any box."""
    taken = np.zeros(size, bool)
    for x, y, w, h in boxes:
        taken[y : y + h, x : x + w] = True
    view = np.lib.stride_tricks.sliding_window_view(taken, dims)
    free: NDArray[np.bool_] = ~np.logical_or.reduce(view, axis=(2, 3))
    return free


SIZES = {1: (12, 17), 2: (30, 20), 3: (5, 40), 4: (9, 9)}
BOXES = [(1, [3, 3, 4, 5]), (2, [0, 0, 20, 10]), (2, [15, 15, 3, 3]), (4, [2, 2, 5, 5])]


@pytest.mark.parametrize("by", ["area", "image"])
def test_windows_are_uniform_by_the_rule_asked_for(by: str) -> None:
    dims = 4, 3
    regions = regions_of(dataset(SIZES, BOXES), 7)
    regions.preselect(n_neg=40_000, window_dims=dims, rule=NegativeRule(0, 0, by))
    expected: dict[tuple[Any, int, int], float] = {}
    for image_id, size in SIZES.items():
        free = free_places(size, dims, [box for i, box in BOXES if i == image_id])
        for y, x in np.argwhere(free).tolist():
            expected[image_id, x, y] = 1.0 if by == "area" else 1 / free.sum()
    total = sum(expected.values())
    found = dict.fromkeys(expected, 0)
    for target in targets_of(regions):
        found[target["gid"], int(target["cx"] - 1.5), int(target["cy"] - 2)] += 1
    assert {image_id for image_id, *_ in expected} == {1, 2, 3}
    theory = np.array(list(expected.values())) / total * 40_000
    assert stats.chisquare(list(found.values()), theory).pvalue > 1e-3


def test_sizes_of_windows_are_those_of_positives() -> None:
    document = dataset({1: (500, 500)}, [(1, [0, 0, 10, 20]), (1, [0, 0, 30.5, 7.2]), (1, [5, 5, 9, 9])])
    regions = regions_of(document)
    regions.preselect(n_neg=3000)
    found = [(target["height"], target["width"]) for target in targets_of(regions)]
    counts = [found.count(each) for each in [(20, 10), (8, 31), (9, 9)]]
    assert sum(counts) == 3000
    assert min(counts) > 800


def test_the_seed_decides() -> None:
    document = dataset(SIZES, BOXES)
    first, second, other = regions_of(document, 5), regions_of(document, 5), regions_of(document, 6)
    for regions in (first, second, other):
        regions.preselect(n_pos=2, n_neg=20)
    assert targets_of(first) == targets_of(second) != targets_of(other)
    assert first.get_positive(0) == second.get_positive(0)
    first.preselect(n_neg=20, rng=np.random.default_rng(3))
    second.preselect(n_neg=20, rng=3)
    assert targets_of(first) == targets_of(second)


def test_crowds_count_by_their_part_of_the_window_only() -> None:
    crowd = dataset({1: (100, 100)}, [(1, [0, 0, 100, 100], {"iscrowd": 1})])
    with pytest.raises(NegativesError):
        regions_of(crowd).preselect(n_neg=1, window_dims=(10, 10))
    small = dataset({1: (20, 20)}, [(1, [9, 9, 2, 2], {"iscrowd": 1})])
    whole = NegativeRule(over_window=0.05, over_annotation=0)
    assert regions_of(small).preselect(n_neg=5, window_dims=(20, 20), rule=whole) == (1, 5)
    single = dataset({1: (20, 20)}, [(1, [9, 9, 2, 2])])
    with pytest.raises(NegativesError):
        regions_of(single).preselect(n_neg=5, window_dims=(20, 20), rule=whole)


def test_what_is_annotated_as_background_is_no_object() -> None:
    document = dataset({1: (50, 50)}, [(1, [0, 0, 50, 50])], ["background"])
    regions = regions_of(document)
    regions.preselect(n_neg=4, window_dims=(50, 50))
    assert regions.get_negative(0)["category_id"] == 1


def test_several_objects_together_cover_no_window() -> None:
    quarters = [(1, [x, y, 50, 50]) for x in (0, 50) for y in (0, 50)]
    with pytest.raises(NegativesError, match="0 of 3 windows"):
        regions_of(dataset({1: (100, 100)}, quarters)).preselect(n_neg=3, window_dims=(10, 10))


def test_an_error_has_the_figures_and_nothing_is_changed() -> None:
    regions = regions_of(dataset({1: (40, 40)}, [(1, [10, 10, 20, 20])]))
    regions.preselect(n_neg=2, window_dims=(5, 5))
    before = targets_of(regions)
    with pytest.raises(NegativesError, match=r"0 of 3 .* in \d+ tries: \d+ were refused .*of \(30, 30\)"):
        regions.preselect(n_pos=1, n_neg=3, window_dims=(30, 30), rule=NOTHING)
    assert targets_of(regions) == before
    assert regions.n_positives == 1


def test_one_free_image_among_many_full_ones_is_found() -> None:
    full = dict.fromkeys(range(50), (30, 30))
    document = dataset(full | {50: (30, 30)}, [(number, [0, 0, 30, 30]) for number in full])
    for by in ("area", "image"):
        regions = regions_of(document)
        regions.preselect(n_neg=10, window_dims=(9, 9), rule=NegativeRule(by=by))
        assert {target["gid"] for target in targets_of(regions)} == {50}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"over_window": 1}, "over_window=1: .* inside an object"),
        ({"over_window": -0.1}, "over_window=-0.1"),
        ({"over_window": float("nan")}, "over_window=nan"),
        ({"over_annotation": 1.5}, "over_annotation=1.5"),
        ({"by": "video"}, "by='video': allowed are"),
        ({"tries": 0}, "tries=0"),
        ({"min_valid": 2}, "min_valid=2"),
    ],
)
def test_rules_without_meaning(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        NegativeRule(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_neg": -1}, "n_neg=-1"),
        ({"n_neg": 2.5}, "n_neg=2.5"),
        ({"n_pos": 5}, "n_pos=5: there are 4"),
        ({"n_neg": 1, "neg_to_pos_ratio": 1}, "give n_neg=1 or neg_to_pos_ratio=1"),
        ({"neg_to_pos_ratio": -1}, "neg_to_pos_ratio=-1"),
        ({"n_neg": 1, "window_dims": (3,)}, r"window_dims=\(3,\)"),
        ({"n_neg": 1, "window_dims": (3, 0)}, "window_dims=0"),
        ({"n_neg": 1, "window_dims": 7}, "window_dims=7"),
        ({"n_neg": 1, "rng": "dice"}, "rng='dice'"),
    ],
)
def test_calls_without_meaning(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        regions_of(dataset(SIZES, BOXES)).preselect(**options)


# What the predecessor does wrong.


def test_u1_negatives_come_from_all_images() -> None:
    sizes = dict.fromkeys(range(1, 33), (100, 100))
    document = dataset(sizes, [(number, [40, 40, 20, 20]) for number in sizes])
    counts = np.zeros(33, int)
    for seed in range(20):
        regions = regions_of(document, seed)
        regions.preselect(n_neg=200, window_dims=(32, 32))
        counts += np.bincount([target["gid"] for target in targets_of(regions)], minlength=33)
    assert counts.sum() == 4000
    assert stats.chisquare(counts[1:]).pvalue > 1e-3


def test_u2_windows_have_exactly_the_size_asked_for() -> None:
    regions = regions_of(dataset({1: (333, 777)}))
    regions.preselect(n_neg=200, window_dims=(64, 31))
    for target in targets_of(regions):
        low = np.floor([target["cx"] - target["width"] / 2, target["cy"] - target["height"] / 2])
        assert (target["height"], target["width"]) == (64.0, 31.0)
        assert (low == [target["cx"] - 15.5, target["cy"] - 32]).all()


def test_u3_no_window_lies_inside_an_annotation() -> None:
    regions = regions_of(dataset({1: (300, 300)}, [(1, [0, 0, 300, 300])]))
    with pytest.raises(NegativesError, match="0 of 20"):
        regions.preselect(n_neg=20, window_dims=(10, 10))
    beside = regions_of(dataset({1: (300, 300)}, [(1, [0, 0, 300, 250])]))
    beside.preselect(n_neg=200, window_dims=(10, 10), rule=NOTHING)
    assert min(target["cy"] for target in targets_of(beside)) >= 255


def test_u4_the_length_stays_as_it_is() -> None:
    regions = regions_of(dataset(SIZES, BOXES))
    regions.preselect(n_neg=5)
    found = [regions.get_negative() for _ in range(10)]
    assert len(regions) == 9
    assert found[:5] == found[5:] == targets_of(regions)


def test_u18_without_annotations_sizes_must_be_given() -> None:
    regions = regions_of(dataset({1: (50, 50)}))
    with pytest.raises(ConfigError, match="there are no positives; give window_dims="):
        regions.preselect(n_neg=3)
    assert regions.preselect(n_neg=3, window_dims=(5, 5)) == (0, 3)


def test_u19_windows_larger_than_every_image_are_an_error_at_once() -> None:
    regions = regions_of(dataset({1: (80, 100), 2: (90, 50)}))
    with pytest.raises(ConfigError, match=r"\(300, 300\): no image .* highest has 90 rows, the widest 100 "):
        regions.preselect(n_neg=5, window_dims=(300, 300))


def test_number_18_of_the_predecessor_so_many_positives_as_asked_for() -> None:
    boxes = [(1, [number, 0, 5, 5]) for number in range(71)]
    regions = regions_of(dataset({1: (100, 100)}, boxes))
    assert regions.preselect(n_pos=3) == (3, 0)
    assert len(regions) == regions.n_positives == 3
    assert len({regions.get_positive(number)["aid"] for number in range(3)}) == 3
    assert regions.preselect() == (71, 0)
    assert regions.preselect(neg_to_pos_ratio=0.5) == (71, 35)


def test_negatives_that_were_not_chosen() -> None:
    regions = regions_of(dataset(SIZES, BOXES))
    for number in (0, 3, -1):
        with pytest.raises(MissingNegativePoolError, match="there are 0. Call preselect"):
            regions.get_negative(number)
    fresh = regions.get_negative()
    assert fresh["aid"] == -1
    assert len(regions) == 4


def test_regions_travel() -> None:
    regions = regions_of(dataset(SIZES, BOXES))
    regions.preselect(n_neg=5)
    copy = pickle.loads(pickle.dumps(regions))
    assert targets_of(copy) == targets_of(regions)
    assert copy.get_negative(rng=1) == regions.get_negative(rng=1)


def test_windows_of_nodata_are_refused_by_what_the_overview_tells(tmp_path: Path) -> None:
    pixels = np.full((60, 80), np.nan, np.float32)
    pixels[:, 50:] = 1
    np.save(tmp_path / "a.npy", pixels)
    document = dataset({1: (60, 80)})
    document["images"][0]["file_name"] = str(tmp_path / "a.npy")
    regions = regions_of(document)
    for min_valid, begin in ((0, 41), (0.5, 45), (1, 50)):
        regions.preselect(n_neg=300, window_dims=(10, 10), rule=NegativeRule(min_valid=min_valid))
        assert min(target["cx"] - 5 for target in targets_of(regions)) == begin


def test_a_million_annotations_cost_little() -> None:
    rng = np.random.default_rng(0)
    count = 1_000_000
    image = np.sort(rng.integers(0, 1000, count)).astype(np.int32)
    low = rng.random((count, 2)) * 10_000
    boxes = np.concatenate([low, low + 2 ** (rng.random((count, 2)) * 10)], axis=1)
    table = BoxTable.of(image, boxes, np.zeros(count, bool), 10_000)
    where = rng.integers(0, 1000, 10_000)
    begin = rng.integers(0, 9_700, (10_000, 2))
    windows = np.concatenate([begin, begin + 256], axis=1)
    times = []
    for _ in range(3):
        start = time.perf_counter()
        over_window, _ = table.cover(where, windows)
        times.append(time.perf_counter() - start)
    for number in range(0, 10_000, 500):
        own = [tuple(box) for box in boxes[image == where[number]].tolist()]
        assert over_window[number] == pytest.approx(covers(tuple(windows[number]), own)[0])
    assert min(times) < 5  # far from what it takes, but what a quadratic search would
