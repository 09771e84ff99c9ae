"""Targets of samples: which pixels a dict of keys stands for, and what is wrong with one."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import numpy as np
import pytest

from scenes import Scene
from subregion import CocoSampler, Window
from subregion.errors import (
    ConfigError,
    RegionTypeError,
    SubregionError,
    TargetError,
    UnknownAnnotationError,
    UnknownChannelError,
    UnknownImageError,
    UnknownVideoError,
)
from subregion.sampling.targets.keys import KNOWN

_S = slice


def _slips() -> list[str]:
    found = []
    for key in sorted(KNOWN):
        for at in range(len(key)):
            if len(key) > 4:  # what is left of a short one is a word of its own
                found.append(key[:at] + key[at + 1 :])
            found.append(key[: at + 1] + key[at:])
            found.append(key[:at] + key[at : at + 2][::-1] + key[at + 2 :])
    return sorted({key for key in found if key and key not in KNOWN})


def test_slips_of_known_keys_are_errors(sampler: CocoSampler) -> None:
    for key in _slips():
        with pytest.raises(TargetError, match="nearly"):
            sampler.load_sample({"gid": 1, key: 3})


# What kwcoco_dataloader keeps in the same dict.
OWN = ["main_idx", "main_gid", "frame_index", "frame_indexes", "resampled", "label", "dist_weights", 7]


def test_unknown_keys_pass_through(sampler: CocoSampler) -> None:
    target = {"gid": 1} | dict.fromkeys([*OWN, "id", "ids", "x", "y"], "mine")
    found = sampler.load_sample(target)["target"]
    assert {key: found[key] for key in OWN} == dict.fromkeys(OWN, "mine")
    with pytest.raises(TargetError, match="main_idx"):
        sampler.load_sample(target, strict=True)
    sampler.load_sample({"gid": 1}, strict=True)


@pytest.mark.parametrize(
    ("target", "window"),
    [
        ({"slices": (_S(5, 9), _S(7, 30))}, (5, 7, 4, 23)),
        ({"space_slice": (_S(-5, 9), _S(70, 90))}, (-5, 70, 14, 20)),
        ({"slices": (_S(None, 9), _S(7, None))}, (0, 7, 9, 73)),
        ({"slices": [[5, 9], [7, 30]]}, (5, 7, 4, 23)),
        ({"slices": Window(-2, 3, 5, 7)}, (-2, 3, 5, 7)),
        ({"slices": (_S(700, 710), _S(0, 5))}, (700, 0, 10, 5)),
        ({"cx": 20, "cy": 10, "width": 7, "height": 4}, (8, 16, 4, 7)),
        ({"cx": 20.5, "cy": 10.5, "width": 7, "height": 4}, (8, 17, 4, 7)),
        ({"cx": 20, "cy": 10, "width": 6.2, "height": 4.0}, (8, 16, 4, 7)),
        ({"cx": 20, "cy": 10, "window_dims": (4, 6)}, (8, 17, 4, 6)),
        ({"cx": 20, "cy": 10, "width": 3, "height": 9, "window_dims": "square"}, (5, 15, 9, 9)),
        ({"cx": 20, "cy": 10, "width": 3, "height": 9, "window_dims": "extent"}, (5, 18, 9, 3)),
        ({"cx": 20, "cy": 10, "width": 3, "height": 9, "window_dims": (2, 2)}, (9, 19, 2, 2)),
        ({"cx": -500, "cy": 3, "window_dims": (2, 4)}, (2, -502, 2, 4)),
        ({"aid": 10}, (8, 10, 12, 20)),
        ({"aid": 10, "window_dims": (4, 6)}, (12, 17, 4, 6)),
        ({"aid": 10, "cx": 30}, (8, 20, 12, 20)),
        ({"aid": 10, "slices": (_S(0, 3), _S(0, 3))}, (0, 0, 3, 3)),
        ({"aid": -1}, (0, 0, 60, 80)),
        ({}, (0, 0, 60, 80)),
    ],
)
def test_windows_of_an_image(sampler: CocoSampler, target: dict[str, Any], window: Any) -> None:
    given = {"gid": 1, **target}
    before = copy.deepcopy(given)
    sample = sampler.load_sample(given)
    row, col, height, width = window
    assert sample["params"]["st_dims"] == [(row, row + height), (col, col + width)]
    assert sample["im"].shape == (height, width, 3)
    assert sample["target"]["space_slice"] in (target.get("space_slice"), Window(*window).slices)
    assert given == before


@pytest.mark.parametrize("name", ["gid", "image_id"])
def test_window_is_read_literally(scene: Scene, sampler: CocoSampler, name: str) -> None:
    sample = sampler.load_sample({name: 1, "slices": (_S(-3, 5), _S(70, 85)), "pad": ((1, 2), (0, 4))})
    expected = np.zeros((11, 19, 3), np.uint8)
    expected[4:, :10] = scene.pixels[1][:7, 70:]
    np.testing.assert_array_equal(sample["im"], expected)
    assert sample["params"]["pad"] == ((1, 2), (0, 4))
    assert sample["params"]["offset"].tolist() == [-70, 4]


@pytest.mark.parametrize(
    ("pad", "sides"),
    [
        (2, ((2, 2), (2, 2))),
        (None, ((0, 0), (0, 0))),
        ((1, 3), ((1, 1), (3, 3))),
        ([1, 3], ((1, 1), (3, 3))),
        ((0, 1, 3), ((1, 1), (3, 3))),
        (((0, 0), (1, 2), (3, 4)), ((1, 2), (3, 4))),
        ((1, (3, 4)), ((1, 1), (3, 4))),
    ],
)
@pytest.mark.parametrize("which", [{"gid": 1}, {"gids": [1, 2]}, {"vidid": 1}])
def test_pad_in_all_forms(sampler: CocoSampler, pad: Any, sides: Any, which: dict[str, Any]) -> None:
    (above, below), (left, right) = sides
    sample = sampler.load_sample({**which, "space_slice": (_S(10, 20), _S(10, 30)), "pad": pad})
    assert sample["im"].shape[-3:-1] == (10 + above + below, 20 + left + right)
    assert sample["params"]["st_dims"] == [(10 - above, 20 + below), (10 - left, 30 + right)]


@pytest.mark.parametrize(
    ("target", "ids"),
    [
        ({"gids": [1, 2]}, [1, 2]),
        ({"image_ids": (2, 1, 2)}, [2, 1, 2]),
        ({"gids": np.array([2])}, [2]),
        ({"vidid": 1}, [11, 12, 13]),
        ({"video_id": 1, "time_slice": _S(1, None)}, [12, 13]),
        ({"vidid": 1, "time_slice": _S(0, 3, 2)}, [11, 13]),
        ({"vidid": 1, "time_slice": [0, 2]}, [11, 12]),
        ({"vidid": 1, "slices": (_S(1, 2), _S(0, 5), _S(0, 6))}, [12]),
        ({"vidid": 1, "gids": [13, 11]}, [13, 11]),
        ({"vidid": None, "gids": [11]}, [11]),
        ({"vidid": 1, "gids": [12], "time_slice": _S(0, 2)}, [12]),
        ({"gids": [11, 22], "space_slice": (_S(0, 5), _S(0, 6))}, [11, 22]),
        ({"gids": [1, 11], "space_slice": (_S(0, 5), _S(0, 6))}, [1, 11]),
    ],
)
def test_frames(sampler: CocoSampler, target: dict[str, Any], ids: list[int]) -> None:
    sample = sampler.load_sample(target)
    assert list(sample["target"]["gids"]) == ids
    assert sample["im"].ndim == 4
    assert len(sample["im"]) == len(sample["annots"]["frame_dets"]) == len(ids)
    assert [each.meta["gid"] for each in sample["annots"]["frame_dets"]] == ids


def test_frames_of_two_videos_and_images_alone(scene: Scene, sampler: CocoSampler) -> None:
    window = (_S(4, 20), _S(6, 30))
    im = sampler.load_sample({"gids": [22, 1, 12], "slices": window, "interpolation": "nearest"})["im"]
    np.testing.assert_array_equal(im[0], scene.pixels[22][window])
    np.testing.assert_array_equal(im[1], scene.pixels[1][window])
    np.testing.assert_array_equal(im[2], scene.pixels[12].repeat(2, 0).repeat(2, 1)[window])


WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({}, TargetError, "which image"),
    ({"gid": 99}, UnknownImageError, "99"),
    ({"gids": [1, 99]}, UnknownImageError, "99"),
    ({"vidid": 9}, UnknownVideoError, "9"),
    ({"aid": 99999}, UnknownAnnotationError, "99999"),
    ({"gid": 1, "aid": 99999}, UnknownAnnotationError, "99999"),
    ({"gid": 1, "image_id": 2}, TargetError, "image_id=2"),
    ({"gids": [1], "image_ids": [2]}, TargetError, "image_ids"),
    ({"vidid": 1, "video_id": 2}, TargetError, "video_id"),
    ({"gid": 2, "aid": 10}, TargetError, "of the image 1"),
    ({"gids": [2], "aid": 10}, TargetError, "neither among"),
    ({"gids": [21], "gid": 1}, TargetError, "neither among"),
    ({"gids": [1], "vidid": 1}, TargetError, "no frame of vidid=1"),
    ({"gids": [11, 21], "vidid": 1}, TargetError, "image 21"),
    ({"gids": []}, TargetError, "empty"),
    ({"gids": 1}, RegionTypeError, "list"),
    ({"gids": "12"}, RegionTypeError, "list"),
    ({"gid": 1, "time_slice": _S(0, 1)}, TargetError, "vidid"),
    ({"vidid": 1, "time_slice": _S(0, 4)}, TargetError, "0 to 3"),
    ({"vidid": 1, "time_slice": _S(-1, None)}, TargetError, "0 to 3"),
    ({"vidid": 1, "time_slice": _S(2, 2)}, TargetError, "at least one"),
    ({"vidid": 1, "time_slice": _S(0, 3, -1)}, TargetError, "forwards"),
    ({"vidid": 1, "time_slice": 1}, RegionTypeError, "slice"),
    ({"vidid": 1, "gids": [13], "time_slice": _S(0, 2)}, TargetError, "time slice"),
    ({"vidid": 1, "time_slice": _S(0, 1), "slices": (_S(0, 2), _S(0, 5), _S(0, 5))}, TargetError, "frames"),
    ({"gids": [11, 1]}, TargetError, "different sizes"),
    ({"gid": 1, "slices": (_S(5, 5), _S(0, 5))}, TargetError, "no pixel"),
    ({"gid": 1, "slices": (_S(5, 3), _S(0, 5))}, TargetError, "no pixel"),
    ({"gid": 1, "slices": (_S(0, 5, 2), _S(0, 5))}, TargetError, "step"),
    ({"gid": 1, "slices": (_S(0.0, 5), _S(0, 5))}, RegionTypeError, "whole number"),
    ({"gid": 1, "slices": (_S(0, True), _S(0, 5))}, RegionTypeError, "whole number"),
    ({"gid": 1, "slices": (3, _S(0, 5))}, RegionTypeError, "slice"),
    ({"gid": 1, "slices": _S(0, 5)}, RegionTypeError, "rows and columns"),
    ({"gid": 1, "slices": (_S(0, 1), _S(0, 5), _S(0, 5))}, RegionTypeError, "rows and columns"),
    ({"gid": 1, "slices": Window(0, 0, 0, 5)}, TargetError, "no pixel"),
    (
        {"gid": 1, "slices": (_S(0, 5), _S(0, 5)), "space_slice": (_S(0, 5), _S(0, 6))},
        TargetError,
        "other windows",
    ),
    (
        {"gid": 1, "slices": (_S(0, 5), _S(0, 5)), "cx": 9, "cy": 9, "window_dims": (5, 5)},
        TargetError,
        "other windows",
    ),
    ({"gid": 1, "slices": (_S(0, 5), _S(0, 5)), "window_dims": (5, 6)}, TargetError, "window_dims"),
    ({"gid": 1, "window_dims": (5, 6)}, TargetError, "cx and cy"),
    ({"gid": 1, "width": 5}, TargetError, "cx and cy"),
    ({"gid": 1, "cx": 5}, TargetError, "cx and cy"),
    ({"gid": 1, "cx": 5, "cy": 5}, TargetError, "height"),
    ({"gid": 1, "cx": 5, "cy": 5, "height": 3}, TargetError, "width"),
    ({"gid": 1, "cx": 5, "cy": 5, "height": 0, "width": 3}, TargetError, "holds nothing"),
    ({"gid": 1, "cx": 5, "cy": 5, "height": -2, "width": 3}, TargetError, "holds nothing"),
    ({"gid": 1, "cx": 5, "cy": 5, "window_dims": (0, 3)}, TargetError, "holds nothing"),
    ({"gid": 1, "cx": float("nan"), "cy": 5, "window_dims": (2, 3)}, TargetError, "finite"),
    ({"gid": 1, "cx": "5", "cy": 5, "window_dims": (2, 3)}, RegionTypeError, "number"),
    ({"gid": 1, "cx": 5, "cy": 5, "window_dims": (1, 2, 3)}, RegionTypeError, "window_dims"),
    ({"gid": 1, "cx": 5, "cy": 5, "window_dims": "full"}, TargetError, "extent"),
    ({"gid": 1, "pad": -1}, TargetError, "at least 0"),
    ({"gid": 1, "pad": 1.5}, RegionTypeError, "whole number"),
    ({"gid": 1, "pad": (1, 2, 3, 4)}, TargetError, "pad"),
    ({"gid": 1, "pad": ((1, 2, 3), 4)}, TargetError, "before"),
    ({"vidid": 1, "pad": (1, 0, 0)}, TargetError, "frames"),
    ({"gid": 1, "padkw": {"mode": "bogus"}}, ConfigError, "bogus"),
    ({"gid": 1, "padkw": {"mode": "linear_ramp", "end_values": 3}}, TargetError, "end_values"),
    ({"gid": 1, "padkw": {"constant_values": (1, 2)}}, TargetError, "one number"),
    ({"gid": 1, "padkw": 3}, TargetError, "dict"),
    ({"gid": 1, "channels": "r|zz"}, UnknownChannelError, "zz"),
    ({"gids": [1], "channels": "zz"}, UnknownChannelError, "zz"),
    ({"gid": 1, "channels": 3}, ConfigError, "names are text"),
    ({"gid": 1, "scale": 0}, ConfigError, "scale"),
    ({"gid": 1, "scale": (1, 2, 3)}, ConfigError, "scale"),
    ({"gid": 1, "interpolation": "bogus"}, ConfigError, "bogus"),
    ({"gid": 1, "antialias": "yes"}, ConfigError, "antialias"),
    ({"gid": 1, "nodata": "bogus"}, ConfigError, "nodata"),
    ({"gid": 1, "nodata": 300}, TargetError, "300"),
    ({"gid": 1, "nodata": "float", "dtype": "uint8"}, TargetError, "NaN"),
    ({"gid": 1, "dtype": "str"}, RegionTypeError, "dtype"),
    ({"gid": 1, "use_native_scale": "yes"}, TargetError, "use_native_scale"),
    ({"gid": 1, "realign_native": "smallest"}, TargetError, "largest"),
    ({"gid": 1, "finalize": False}, TargetError, "load_frame"),
    ({"gid": 1, "nodata": "ma", "as_xarray": True}, TargetError, "masks"),
    ({"gid": 1, "cx": 10**400, "cy": 1, "window_dims": 4}, TargetError, "finite"),
    ({"gid": 1, "cx": 1, "cy": 1, "window_dims": (10**400, 4)}, TargetError, "finite"),
    ({"gid": 1, "slices": (slice(-2, 2), slice(0, 2)), "nodata": 10**400}, TargetError, "cannot hold"),
    ({"gid": 1, "dtype": "f8,(2,"}, RegionTypeError, "dtype"),
    ({"gid": 1, "pad": 1, "padkw": {"constant_values": [[1], [2, 3]]}}, TargetError, "one number"),
    ({"gid": [1]}, UnknownImageError, "image"),
    ({"gids": np.array(1)}, RegionTypeError, "gids"),
    ({"gid": 1, "use_native_scale": np.array([1, 0])}, TargetError, "use_native_scale"),
    ({"gid": 1, "realign_native": np.array([1, 0])}, TargetError, "realign_native"),
    ({"gid": 1, "finalize": np.array([1, 0])}, TargetError, "finalize"),
]


@pytest.mark.parametrize(("target", "kind", "said"), WRONG)
def test_what_is_wrong_is_said(
    sampler: CocoSampler, target: dict[str, Any], kind: type[Exception], said: str
) -> None:
    with pytest.raises(kind, match=said) as error:
        sampler.load_sample(target)
    assert isinstance(error.value, SubregionError)


@pytest.mark.parametrize("index", ["a", None, [0], slice(0, 2), 1.0])
def test_items_that_are_no_number(sampler: CocoSampler, index: Any) -> None:
    with pytest.raises(RegionTypeError):
        sampler.load_item(index)


def test_arguments_that_have_no_meaning(sampler: CocoSampler, scene: Scene) -> None:
    with pytest.raises(RegionTypeError, match="annot_ids"):
        sampler.load_sample({"gid": 1}, annot_ids=5)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="visible_thresh"):
        sampler.load_sample({"gid": 1}, visible_thresh=np.array([0.0, 0.1]))  # type: ignore[arg-type]
    for rng in ("a", -1, 1.5):
        with pytest.raises(ConfigError, match="rng"):
            CocoSampler(scene.dataset, backend=None, rng=rng)  # type: ignore[arg-type]
    assert sampler.load_sample({"gid": 1, "pad": np.array(2)})["params"]["pad"] == (2, 2)


def test_box_that_is_none_is_no_window(scene: Scene) -> None:
    scene.dataset["annotations"][0]["bbox"] = [1, float("nan"), 3, 4]
    sampler = scene.sampler()
    with pytest.raises(TargetError, match="no box"):
        sampler.load_sample({"aid": 10})
    sample = sampler.load_sample({"aid": 10, "slices": (_S(0, 60), _S(0, 80))})
    assert sample["annots"]["aids"].tolist() == [11]


@pytest.mark.parametrize("name", ["pad", "padkw", "dtype", "nodata", "scale", "channels"])
def test_options_by_keyword(sampler: CocoSampler, name: str) -> None:
    values: dict[str, Any] = {"pad": 2, "padkw": {"mode": "edge"}, "dtype": "float64", "nodata": "float"}
    value = values.get(name, "g" if name == "channels" else 2)
    target = {"gid": 1, "slices": (_S(-4, 20), _S(0, 20))}
    option: Any = {name: value}
    by_key, by_word = sampler.load_sample(target | option), sampler.load_sample(target, **option)
    np.testing.assert_array_equal(by_key["im"], by_word["im"])
    assert by_key["im"].dtype == by_word["im"].dtype
    plain = sampler.load_sample(target)["im"]
    assert (
        plain.shape != by_key["im"].shape
        or plain.dtype != by_key["im"].dtype
        or (plain != by_key["im"]).any()
    )
    np.testing.assert_array_equal(sampler.load_sample(by_word["target"])["im"], by_key["im"])


def test_keywords_that_contradict_the_target(sampler: CocoSampler) -> None:
    with pytest.raises(TargetError, match="pad=3"):
        sampler.load_sample({"gid": 1, "pad": 2}, pad=3)
    sampler.load_sample({"gid": 1, "pad": 2}, pad=2)
    with pytest.raises(TypeError, match="bogus"):
        sampler.load_sample({"gid": 1}, bogus=3)
    with pytest.raises(TargetError, match="tr"):
        sampler.load_sample({"gid": 1}, tr={"gid": 1})
    assert sampler.load_sample(tr={"gid": 1})["im"].shape == (60, 80, 3)
    with pytest.raises(TargetError, match="target is needed"):
        sampler.load_sample()
    with pytest.raises(RegionTypeError, match="dict"):
        sampler.load_sample([1])  # type: ignore[arg-type]


REUSED: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"gid": 1, "cx": 20, "cy": 10, "window_dims": (4, 6)}, {"cx": 40}),
    ({"aid": 10}, {"aid": 11}),
    ({"aid": 10}, {"cx": 50}),
    ({"gid": 1}, {"gid": 2}),
    ({"gid": 1, "slices": (_S(0, 5), _S(0, 6))}, {"slices": (_S(2, 9), _S(0, 6))}),
    ({"gid": 1, "slices": (_S(0, 5), _S(0, 6))}, {"pad": 2}),
    ({"vidid": 1}, {"vidid": 2}),
    ({"vidid": 1}, {"time_slice": _S(0, 2)}),
    ({"gids": [11], "aid": 110}, {"aid": 111}),
    ({"gids": [11], "aid": 110}, {"gids": [12, 13]}),
    ({"image_id": 1}, {"image_id": 2}),
]


@pytest.mark.parametrize(("target", "change"), REUSED)
@pytest.mark.parametrize("as_copy", [False, True])
def test_returned_targets_are_reusable(
    sampler: CocoSampler, target: dict[str, Any], change: dict[str, Any], as_copy: bool
) -> None:
    first = sampler.load_sample(target)
    again = sampler.load_sample(first["target"])
    assert again["target"] == first["target"]
    np.testing.assert_array_equal(first["im"], again["im"])
    returned = dict(again["target"]) if as_copy else again["target"]
    returned.update(change)
    expected = sampler.load_sample(target | change)
    changed = sampler.load_sample(returned)
    np.testing.assert_array_equal(expected["im"], changed["im"])
    assert expected["target"] == changed["target"]
    assert expected["annots"]["aids"].tolist() == changed["annots"]["aids"].tolist()


def test_every_key_works_for_images_lists_and_videos(sampler: CocoSampler) -> None:
    whiches: list[dict[str, Any]] = [{"gid": 1}, {"gids": [1, 2]}, {"gids": [11, 21]}, {"vidid": 1}]
    options: list[dict[str, Any]] = [
        {"space_slice": (_S(-2, 30), _S(4, 30))},
        {"slices": (_S(-2, 30), _S(4, 30)), "channels": "b|r"},
        {"cx": 20, "cy": 20, "width": 10, "height": 12, "scale": 2},
        {"cx": 20, "cy": 20, "window_dims": (10, 12), "scale": (0.5, 2), "interpolation": "nearest"},
        {"slices": (_S(0, 30), _S(4, 30)), "nodata": "float", "antialias": False, "scale": 0.5},
        {"slices": (_S(-2, 30), _S(4, 30)), "nodata": "ma"},
        {"slices": (_S(-2, 30), _S(4, 30)), "nodata": 7},
        {"slices": (_S(-2, 30), _S(4, 30)), "dtype": np.float32, "padkw": {"constant_values": np.nan}},
        {"slices": (_S(-2, 30), _S(4, 30)), "padkw": {"constant_values": 9}},
        {"slices": (_S(-2, 30), _S(4, 30)), "padkw": {"mode": "reflect"}},
        {"slices": (_S(-2, 30), _S(4, 30)), "as_xarray": True},
        {"slices": (_S(-2, 30), _S(4, 30)), "use_native_scale": True},
        {"slices": (_S(-2, 30), _S(4, 30)), "use_native_scale": True, "realign_native": "largest"},
        {"slices": (_S(-2, 30), _S(4, 30)), "optimize": False, "finalize": True},
    ]
    for which, option in itertools.product(whiches, options):
        if option.get("realign_native") and which == {"gids": [11, 21]}:
            continue  # their resolutions differ
        sample = sampler.load_sample({**which, **option})
        single = sample["im"] if "gid" in which else sample["im"][0]
        if option.get("use_native_scale") and not option.get("realign_native"):
            assert [part.ndim for part in single] == [3]
        else:
            assert single.ndim == 3
            assert np.array_equal(np.unique(np.isnan(np.asarray(single[0, 0], float))), [False]) or (
                "float32" in str(single.dtype)
            )
