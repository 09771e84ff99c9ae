"""Samples compared with those of ndsampler 0.8.1, on datasets that kwcoco draws, wherever it is right."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from subregion import CocoSampler

ndsampler = pytest.importorskip("ndsampler")

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
_S = slice
#: Some pixels in and some out of the image; in the middle; a small one.
_PLACES = [(_S(-10, 100), _S(250, 400)), (_S(120, 280), _S(101, 350)), (_S(500, 611), _S(520, 660))]

Pair = tuple[CocoSampler, Any]


@pytest.fixture(scope="module")
def pairs(drawn: Callable[[str], Any], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Pair]:
    """Return both samplers of a dataset."""
    known: dict[str, Pair] = {}

    def pair(key: str) -> Pair:
        if key not in known:
            dataset = drawn(key)
            folder = tmp_path_factory.mktemp("theirs")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                theirs = ndsampler.CocoSampler(dataset, workdir=str(folder), backend=None)
            known[key] = CocoSampler(dataset, folder / "ours", backend=None), theirs
        return known[key]

    return pair


def _targets_of_images() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [{"gid": 2}, {"gid": 1, "aid": 1}]
    found += [{"gid": 1, "slices": place} for place in _PLACES]
    found += [{"image_id": 3, "space_slice": place, "pad": pad} for place in _PLACES for pad in (3, (2, 5))]
    found += [{"aid": aid} for aid in range(1, 9)]
    found += [{"aid": aid, "window_dims": (31, 60)} for aid in range(1, 9)]
    found += [{"aid": aid, "window_dims": "square", "pad": ((1, 2), (3, 4))} for aid in range(1, 9)]
    rng = np.random.default_rng(3)
    for _ in range(30):
        cx, cy, width, height = rng.uniform(1, 590, 4).round(2).tolist()
        found.append({"gid": int(rng.integers(1, 9)), "cx": cx, "cy": cy, "width": width, "height": height})
    return found


def _targets_of_videos() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [{"vidid": 1}, {"vidid": 2, "time_slice": _S(1, 2)}, {"gids": [1]}]
    found += [{"vidid": 1, "space_slice": place} for place in _PLACES]
    found += [{"gids": [2, 1], "slices": (_S(0, 2), *place)} for place in _PLACES]
    found += [{"gids": [1, 2], "aid": aid, "window_dims": (40, 61)} for aid in (1, 2)]
    found += [{"vidid": 1, "space_slice": _PLACES[1], "pad": (0, 3, 4)}]
    found += [{"vidid": 1, "space_slice": _PLACES[1], "scale": scale} for scale in (1, 2, (0.5, 2), (4, 1))]
    return found


def _alike(ours: Any, theirs: Any) -> bool:
    """Whether two values are the same, whatever types of numbers they have."""
    if isinstance(theirs, dict):
        return all(_alike(ours[key], theirs[key]) for key in theirs)
    if isinstance(theirs, tuple | list) or type(theirs).__name__ == "SortedSet":
        return len(ours) == len(theirs) and all(map(_alike, ours, theirs))
    if hasattr(theirs, "matrix"):
        return bool(np.allclose(np.asarray(ours.matrix, float), np.asarray(theirs.matrix, float)))
    if isinstance(theirs, slice):
        return bool(ours == theirs)
    if hasattr(theirs, "data") and hasattr(theirs, "format"):
        corners = [each.to_ltrb().data.reshape(-1, 4) for each in (ours, theirs) if each.data.size]
        return type(ours) is type(theirs) and (not corners or bool(np.allclose(*corners)))
    if isinstance(theirs, int | float | np.generic | np.ndarray):
        return bool(np.allclose(ours, theirs))
    return bool(ours == theirs)


def _touching(ours: dict[str, Any], theirs: dict[str, Any]) -> list[int]:
    """Return annotations that they have and we have not; each only touches the window."""
    boxes = theirs["annots"]["rel_boxes"]
    boxes = boxes.to_ltrb().data if boxes.data.size else np.empty((0, 4))
    (top, bottom), (left, right) = ours["params"]["st_dims"]
    across, down = 1 / ours["params"]["tf_rel_to_abs"][[0, 1], [0, 1]]
    height, width = (bottom - top) * down, (right - left) * across
    left_out = []
    for aid, (x0, y0, x1, y1) in zip(theirs["annots"]["aids"].tolist(), boxes.tolist(), strict=True):
        if aid not in ours["annots"]["aids"]:
            assert x1 <= 1e-6 or y1 <= 1e-6 or x0 >= width - 1e-6 or y0 >= height - 1e-6
            left_out.append(aid)
    return left_out


def _compare(ours: dict[str, Any], theirs: dict[str, Any], pixels: bool = True, lie: bool = True) -> None:
    if pixels:
        np.testing.assert_array_equal(np.asarray(ours["im"]), np.asarray(theirs["im"]))
        assert ours["im"].dtype == theirs["im"].dtype
    for key in ("offset", "tf_rel_to_abs", "sample_tlbr", "st_dims", "data_dims"):
        if key == "tf_rel_to_abs" and not lie:
            continue
        assert _alike(ours["params"][key], theirs["params"][key]), key
    if "frame_sample_from_grid_warps" in theirs["params"]:
        key = "frame_sample_from_grid_warps"
        assert _alike(ours["params"][key], theirs["params"][key])
    else:
        assert _alike(ours["params"]["pad"], theirs["params"]["pad"])
    for key, value in theirs["target"].items():
        if key in ("annot_idx", "window_dims", "time_slice", "slices", "nodata"):
            continue  # an index shifts by what only touches; what was given stays; [2, 1] is no time slice
        assert _alike(ours["target"][key], value), key
    if left_out := _touching(ours, theirs):
        assert not set(left_out) & set(ours["annots"]["aids"].tolist())
        return
    assert ours["target"]["annot_idx"] == theirs["target"]["annot_idx"]
    for key in ("aids", "cids", "rel_frame_index"):
        assert ours["annots"][key].tolist() == theirs["annots"][key].tolist(), key
    assert _alike(ours["annots"]["rel_boxes"], theirs["annots"]["rel_boxes"])
    for one, other in zip(ours["annots"]["frame_dets"], theirs["annots"]["frame_dets"], strict=True):
        _compare_detections(one, other)
    for key in ("rel_ssegs", "rel_kpts"):
        _compare_shapes(ours["annots"][key], theirs["annots"][key])


def _compare_shapes(ours: Any, theirs: Any) -> None:
    for one, other in zip(_shapes(ours), _shapes(theirs), strict=True):
        assert (one is None) == (other is None)
        for ring, same in zip(one or (), other or (), strict=True):
            np.testing.assert_allclose(ring, same, rtol=0, atol=1e-4)


def _shapes(listed: Any) -> list[Any]:
    """Return the points of outlines, or of keypoints."""
    found: list[Any] = []
    for each in listed.data:
        if each is None:
            found.append(None)
        elif hasattr(each, "xy"):
            found.append([each.xy])
        else:
            rings = [polygon.data["exterior"].data for polygon in each.to_multi_polygon().data]
            found.append(rings)
    return found


def _compare_detections(ours: Any, theirs: Any) -> None:
    assert ours.data.keys() == theirs.data.keys()
    assert ours.meta["gid"] == theirs.meta["gid"]
    assert ours.meta["rel_frame_index"] == theirs.meta["rel_frame_index"]
    for key in ("aids", "cids"):
        assert ours.data[key].tolist() == theirs.data[key].tolist()
    assert _alike(ours.boxes, theirs.boxes)
    for key in ("segmentations", "keypoints"):
        _compare_shapes(ours.data[key], theirs.data[key])


def test_samples_of_images(pairs: Callable[[str], Pair]) -> None:
    ours, theirs = pairs("shapes8")
    for target in _targets_of_images():
        _compare(ours.load_sample(target), theirs.load_sample(target))


def test_samples_of_videos(pairs: Callable[[str], Pair]) -> None:
    ours, theirs = pairs("vidshapes2")
    for target in _targets_of_videos():
        # Without channels they come sorted by name there.
        target = target | {"channels": "r|g|b"}
        if "scale" in target:
            target["interpolation"] = "nearest"
        shrunk = target.get("scale") == (0.5, 2)
        _compare(ours.load_sample(target), theirs.load_sample(target), pixels=not shrunk)


def test_pixels_of_videos_outside(pairs: Callable[[str], Pair]) -> None:
    ours, theirs = pairs("vidshapes2")
    for place in _PLACES:
        target = {"vidid": 1, "space_slice": place, "channels": "r|g|b"}
        np.testing.assert_array_equal(ours.load_sample(target)["im"], theirs.load_sample(target)["im"])


def test_without_channels_all_come_in_their_own_order(pairs: Callable[[str], Pair]) -> None:
    ours, theirs = pairs("vidshapes2")
    target = {"vidid": 1, "space_slice": _PLACES[1]}
    np.testing.assert_array_equal(ours.load_sample(target)["im"], theirs.load_sample(target)["im"][..., ::-1])
    assert ours.load_sample(target)["params"]["request_chanspec"].spec == "r|g|b"


@pytest.mark.parametrize("nodata", [None, "float"])
def test_channels_of_files_of_other_sizes(pairs: Callable[[str], Pair], nodata: str | None) -> None:
    ours, theirs = pairs("vidshapes2-multispectral")
    target = {"vidid": 1, "space_slice": (_S(120, 280), _S(101, 350)), "channels": "B8|B1|B11"}
    a, b = ours.load_sample(target, nodata=nodata), theirs.load_sample(target, nodata=nodata)
    _compare(a, b, pixels=False)
    assert a["im"].dtype == ("uint16" if nodata is None else "float32")
    np.testing.assert_allclose(a["im"], b["im"], atol=1)


def test_sensors_with_channels_of_their_own(pairs: Callable[[str], Pair]) -> None:
    """Frames differ in channels, resolutions and turns of their files."""
    ours, theirs = pairs("vidshapes2-msi-multisensor")
    lacking = set()
    for which in ({"vidid": 1}, {"vidid": 2}, {"gids": [2, 1]}):
        for place in _PLACES:
            target = {**which, "space_slice": place, "channels": "B11|B8|r"}
            a, b = ours.load_sample(target, nodata="float"), theirs.load_sample(target, nodata="float")
            _compare(a, b, pixels=False)
            assert a["im"].shape == b["im"].shape
            gids = a["target"]["gids"]
            for gid, channel in a["params"]["missing_channels"]:
                assert channel not in ours.dset.coco_image(gid).channels.fuse().as_list()
                plane = gids.index(gid), ..., ["B11", "B8", "r"].index(channel)
                assert np.isnan(a["im"][plane]).all()
                assert np.isnan(b["im"][plane]).all()
                lacking.add((gid, channel))
            if place is _PLACES[1]:
                # Along edges of files they mix in what is no pixel; within they go in steps of 1/32 pixel.
                far = np.abs(a["im"] - b["im"]) > 0.06 * np.nanmax(a["im"], axis=(0, 1, 2))
                assert far.mean() < 0.02
    assert lacking


def test_parts_at_their_own_resolution(pairs: Callable[[str], Pair]) -> None:
    ours, theirs = pairs("vidshapes2-multispectral")
    for scale in (None, 2):
        target: dict[str, Any] = {"vidid": 1, "space_slice": (_S(120, 300), _S(60, 300))}
        target |= {"channels": "B8|B1|B11|B10"}
        target |= {"use_native_scale": True, "scale": scale}
        a, b = ours.load_sample(target), theirs.load_sample(target)
        assert [[part.shape for part in frame] for frame in a["im"]] == [
            [part.shape for part in frame] for frame in b["im"]
        ]
        for one, other in zip(a["params"]["jagged_meta"], b["params"]["jagged_meta"], strict=True):
            assert [each.spec for each in one["chans"]] == [each.spec for each in other["chans"]]
            assert _alike(one["align"], other["align"])
        if scale is None:
            for one, other in zip(a["im"][0], b["im"][0], strict=True):
                np.testing.assert_array_equal(one, other)
        # Their transform forgets the scale of parts, by which their annotations are scaled.
        _compare(a, b, pixels=False, lie=scale is None)


def test_parts_joined(pairs: Callable[[str], Pair]) -> None:
    ours, theirs = pairs("vidshapes2-multispectral")
    target = {"vidid": 1, "space_slice": (_S(120, 300), _S(60, 300)), "channels": "B1|B8|B11"}
    target |= {"use_native_scale": True, "realign_native": "largest"}
    a, b = ours.load_sample(target, nodata="float"), theirs.load_sample(target, nodata="float")
    _compare(a, b, pixels=False)
    assert a["im"].shape == b["im"].shape
    np.testing.assert_array_equal(a["im"][..., 0], b["im"][..., 0])


def test_with_names(pairs: Callable[[str], Pair]) -> None:
    whiches: dict[str, dict[str, Any]] = {"shapes8": {"gid": 1}, "vidshapes2-multispectral": {"vidid": 1}}
    for key, which in whiches.items():
        ours, theirs = pairs(key)
        target = which | {"space_slice": _PLACES[1], "as_xarray": True}
        if "gid" not in target:
            target["channels"] = "B1|B8"
        a, b = ours.load_sample(target)["im"], theirs.load_sample(target)["im"]
        assert a.dims == b.dims
        assert a.coords["c"].values.tolist() == b.coords["c"].values.tolist()
        np.testing.assert_allclose(a.values, b.values, atol=1)


@pytest.mark.parametrize(
    "with_annots", [None, False, 0, [], True, "boxes", ["segmentation"], "keypoints+boxes"]
)
def test_parts_of_annotations(pairs: Callable[[str], Pair], with_annots: Any) -> None:
    ours, theirs = pairs("shapes8")
    a, b = ours.load_sample({"gid": 1}, with_annots), theirs.load_sample({"gid": 1}, with_annots)
    assert a.keys() == b.keys()
    if "annots" in b:
        assert set(a["annots"]) == set(b["annots"])
        _compare(a, b)
    else:
        assert "annot_idx" not in a["target"]


def test_visible_part(pairs: Callable[[str], Pair]) -> None:
    ours, theirs = pairs("shapes8")
    rng = np.random.default_rng(0)
    for _ in range(40):
        y, x = rng.integers(-50, 500, 2).tolist()
        target = {"gid": int(rng.integers(1, 9)), "slices": (_S(y, y + 150), _S(x, x + 120))}
        for share in (0.05, 0.5, 0.95):
            a = ours.load_sample(target, visible_thresh=share)["annots"]["aids"].tolist()
            b = theirs.load_sample(target, visible_thresh=share)["annots"]["aids"].tolist()
            assert a == b


def test_chosen_annotations(pairs: Callable[[str], Pair]) -> None:
    ours, theirs = pairs("vidshapes2")
    for ids in ([1], [2, 1], [1, 2, 3], []):
        a = ours.load_sample({"vidid": 1, "channels": "r|g|b"}, annot_ids=ids)
        b = theirs.load_sample({"vidid": 1, "channels": "r|g|b"}, annot_ids=ids)
        assert a["annots"]["aids"].tolist() == b["annots"]["aids"].tolist()


def test_flags_that_take_the_older_names_away(pairs: Callable[[str], Pair]) -> None:
    ours, theirs = pairs("vidshapes2")
    target = {"gids": [1], "channels": "r|g|b", "legacy_annots": False, "legacy_target": False}
    a, b = ours.load_sample(target), theirs.load_sample(target)
    assert a.keys() == b.keys()
    assert set(a["annots"]) == set(b["annots"])
    assert ("annot_idx" in a["target"]) == ("annot_idx" in b["target"])
    _compare_detections(a["annots"]["frame_dets"][0], b["annots"]["frame_dets"][0])


def test_what_there_is(pairs: Callable[[str], Pair]) -> None:
    ours, theirs = pairs("shapes8")
    for name in (
        "n_positives",
        "n_samples",
        "n_annots",
        "n_images",
        "class_ids",
        "BACKGROUND_CLASS_ID",
    ):
        assert getattr(ours, name) == getattr(theirs, name), name
    assert list(ours.image_ids) == list(theirs.image_ids)
    assert len(ours) == len(theirs)
    assert list(ours.classes) == list(theirs.classes)
    assert set(ours.kp_classes) == set(theirs.kp_classes)
    assert len(ours.hashid) == len(theirs.hashid) == 128
    assert ours.lookup_class_id("star") == theirs.lookup_class_id("star")
    assert ours.lookup_class_name(3) == theirs.lookup_class_name(3)
    for index in range(0, 20, 3):
        _compare(ours.load_item(index), theirs.load_item(index))
        assert _alike(ours.load_positive(index)["target"]["cx"], theirs.load_positive(index)["target"]["cx"])
    for image_id in (1, 4):
        one, other = ours.load_image_with_annots(image_id), theirs.load_image_with_annots(image_id)
        np.testing.assert_array_equal(one[0]["imdata"], other[0]["imdata"])
        assert [each["id"] for each in one[1]] == sorted(each["id"] for each in other[1])
        np.testing.assert_array_equal(ours.load_image(image_id), theirs.load_image(image_id))
        by_id = sorted(theirs.load_annotations(image_id), key=lambda entry: entry["id"])
        assert ours.load_annotations(image_id) == by_id
    target = {"gid": 2, "slices": _PLACES[1]}
    assert ours.load_target_annots(target) == list(theirs.load_sample(target)["annots"]["aids"])
