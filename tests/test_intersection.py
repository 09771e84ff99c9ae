"""Which annotations a box meets, by the names that programs for the predecessor use."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import kwimage
import numpy as np
import pytest

from annotated import dataset
from subregion import FrameIntersectionIndex
from subregion.errors import ConfigError, NegativesError, RegionTypeError, UnknownImageError

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


def test_the_same_as_the_predecessor_where_nothing_touches(drawn: Callable[[str], Any]) -> None:
    ndsampler = pytest.importorskip("ndsampler")
    ours = FrameIntersectionIndex.from_coco(drawn("shapes8"))
    theirs = ndsampler.FrameIntersectionIndex.from_coco(drawn("shapes8"))
    assert ours.all_gids == theirs.all_gids
    rng = np.random.default_rng(1)
    met = 0
    for _ in range(100):
        gid = int(rng.integers(1, 9))
        x, y, w, h = rng.uniform(0.1, 400, 4)
        box = kwimage.Boxes([x, y, w, h], "xywh")
        ids = ours.overlapping_aids(gid, box)
        assert ids == theirs.overlapping_aids(gid, box)
        assert (
            ids
            == ours.overlapping_aids(gid, box[None, :])
            == ours.overlapping_aids(gid, [x, y, x + w, y + h])
        )
        for name in ("ious", "iooas"):
            own, other = getattr(ours, name)(gid, box), getattr(theirs, name)(gid, box)
            assert own[0] == list(other[0]) == ids
            np.testing.assert_allclose(own[1], np.ravel(other[1]), rtol=1e-6)
        met += len(ids)
    assert met > 50


def test_parts_by_hand() -> None:
    boxes = [(1, [10, 10, 20, 10]), (1, [30, 20, 10, 10]), (1, [12, 12, 0, 0]), (2, [0, 0, 9, 9])]
    index = FrameIntersectionIndex.from_coco(dataset({1: (60, 80), 2: (60, 80)}, boxes))
    assert index.overlapping_aids(1, [0, 0, 30, 20]) == [1, 3]  # what only touches is not in it
    ids, parts = index.ious(1, [20, 10, 40, 20])
    assert (ids, parts.tolist()) == ([1], [100 / 300])
    ids, parts = index.iooas(1, [0, 0, 20, 15])
    assert (ids, parts.tolist()) == ([1, 3], [0.25, 1])
    assert index.ious(1, [50, 50, 60, 60])[1].shape == (0,)
    with pytest.raises(UnknownImageError, match="7"):
        index.overlapping_aids(7, [0, 0, 1, 1])
    with pytest.raises(RegionTypeError, match="x0, y0"):
        index.overlapping_aids(1, [0, 0, 1])
    with pytest.raises(ConfigError, match="one box"):
        index.overlapping_aids(1, [[0, 0, 1, 1]] * 2)


@pytest.mark.parametrize("sizes", [{"window_size": (12, 8)}, {"anchors": [[0.25, 0.125], [0.5, 0.25]]}])
def test_negatives_are_so_many_inside_and_free(sizes: dict[str, Any]) -> None:
    shapes = {1: (60, 80), 2: (40, 50), 3: (60, 80)}
    index = FrameIntersectionIndex.from_coco(
        dataset(shapes, [(1, [0, 0, 40, 60]), (2, [10, 10, 8, 8]), (3, [0, 0, 80, 60])])
    )
    gids, boxes = index.random_negatives(90, gids=[1, 2], rng=3, **sizes)
    assert len(gids) == len(boxes) == 90
    assert min(Counter(gids.tolist())[gid] for gid in (1, 2)) > 25
    for gid, (x0, y0, x1, y1) in zip(gids.tolist(), boxes.data.tolist(), strict=True):
        height, width = shapes[gid]
        assert 0 <= x0 < x1 <= width
        assert 0 <= y0 < y1 <= height
        parts = sizes.get("anchors", [(12 / width, 8 / height)])
        allowed = [(np.rint(part[0] * width), np.rint(part[1] * height)) for part in parts]
        assert (x1 - x0, y1 - y0) in allowed
        assert index.overlapping_aids(gid, [x0, y0, x1, y1]) == []
    again, _ = index.random_negatives(90, gids=[1, 2], rng=3, **sizes)
    assert again.tolist() == gids.tolist()


def test_negatives_that_cannot_be() -> None:
    index = FrameIntersectionIndex.from_coco(dataset({1: (60, 80)}, [(1, [0, 0, 80, 60])]))
    with pytest.raises(NegativesError, match="0 of 3"):
        index.random_negatives(3, window_size=(9, 9))
    # A part of the window, and of the annotation: no window lies inside an object.
    with pytest.raises(NegativesError, match="0 of 3"):
        index.random_negatives(3, window_size=(9, 9), thresh=0.5)
    for options, said in (
        ({}, "either"),
        ({"window_size": (9, 9), "anchors": [[1, 1]]}, "either"),
        ({"window_size": (0, 9)}, "at least 1"),
        ({"window_size": 9}, "width and height"),
        ({"window_size": (99, 9)}, "no image"),
        ({"anchors": [[2, 1]]}, "up to 1"),
        ({"anchors": "wide"}, "width and height"),
        ({"window_size": (9, 9), "thresh": 2}, "over_annotation"),
    ):
        with pytest.raises(ConfigError, match=said):
            index.random_negatives(3, **options)
    with pytest.raises(UnknownImageError, match="8"):
        index.random_negatives(3, window_size=(9, 9), gids=[8])


def test_generated_datasets() -> None:
    assert FrameIntersectionIndex.demo("shapes2").all_gids == [1, 2]
