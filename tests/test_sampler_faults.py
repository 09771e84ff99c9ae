"""What the predecessor does wrong, each right here; names and numbers are those of its lists of faults.

U1, U3 and U19 are in test_sampling_negatives.py, 17 in test_sampling_regions.py; 1 to 10, 13, 14, 19 and 21,
which are of images, in test_predecessor_faults.py.
"""

from __future__ import annotations

import copy
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from scenes import SIZE, Scene
from subregion import CocoSampler, FrameIntersectionIndex
from subregion.errors import ConfigError, TargetError

_S = slice


def _constant(folder: Path, dtype: Any, value: float) -> CocoSampler:
    """Return a sampler of a video of one frame that holds one value."""
    path = folder / "constant.tif"
    import tifffile

    tifffile.imwrite(path, np.full((20, 24), value, dtype))
    image = {"id": 1, "file_name": str(path), "channels": "a", "width": 24, "height": 20}
    video = {"id": 1, "width": 24, "height": 20}
    place = {"video_id": 1, "frame_index": 0}
    return CocoSampler({"images": [image | place], "videos": [video], "annotations": []}, backend=None)


def test_u4_length_does_not_change(sampler: CocoSampler) -> None:
    sampler.preselect(n_neg=3, window_dims=(4, 4))
    length = len(sampler)
    assert length == sampler.n_positives + 3
    for _ in range(7):
        sampler.load_negative()
    assert len(sampler) == length
    assert [sampler[length - 3 + k]["target"]["aid"] for k in range(3)] == [-1, -1, -1]


def test_u2_negatives_have_the_size_asked_for(sampler: CocoSampler) -> None:
    sampler.preselect(n_neg=20, window_dims=(6, 9))
    assert {sampler.load_negative()["im"].shape for _ in range(20)} == {(6, 9, 3)}
    # Sizes that went through floats of 32 bits are no pixel larger either.
    row = {"gid": 1, "cx": np.float32(16.0), "cy": np.float32(16.0)}
    size = {"width": np.float32(32.000001), "height": 32.00000077486038}
    assert sampler.load_sample(row | size)["im"].shape == (32, 32, 3)


@pytest.mark.parametrize(
    "target", [{"slices": (_S(700, 710), _S(0, 5))}, {"cx": -500, "cy": 5, "window_dims": (10, 5)}]
)
@pytest.mark.parametrize("which", [{"gid": 1}, {"vidid": 1}])
def test_u5_windows_outside_keep_their_place(
    sampler: CocoSampler, which: dict[str, Any], target: dict[str, Any]
) -> None:
    sample = sampler.load_sample({**which, **target})
    rows, cols = sample["params"]["st_dims"]
    assert (rows, cols) == (((700, 710), (0, 5)) if "slices" in target else ((0, 10), (-503, -498)))
    assert sample["params"]["offset"].tolist() == [-cols[0], -rows[0]]
    assert not sample["im"].any()
    assert len(sample["annots"]["aids"]) == 0
    boxes = (
        sampler.load_sample({**which, **target}, annot_ids=[10, 110])["annots"]["rel_boxes"].to_ltrb().data
    )
    scale = 2 if "vidid" in which else 1
    assert boxes[0, :2].tolist() == [10 * scale - cols[0], 8 * scale - rows[0]]


@pytest.mark.parametrize("options", [{}, {"nodata": "float"}, {"dtype": "float32"}])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_u6_scaling_does_not_eat_the_border(tmp_path: Path, dtype: Any, options: dict[str, Any]) -> None:
    sampler = _constant(tmp_path, dtype, 7)
    for which in ({"vidid": 1}, {"gid": 1}):
        for scale in (2, 0.5, (1.5, 3)):
            inside = sampler.load_sample(
                {**which, "space_slice": (_S(5, 9), _S(5, 9)), "scale": scale, **options}
            )
            assert (inside["im"] == 7).all()
            over = {"space_slice": (_S(-4, 8), _S(4, 12)), "scale": scale}
            im = sampler.load_sample({**which, **over, **options})["im"]
            im = im[0] if im.ndim == 4 else im
            beyond = round(4 * (scale if isinstance(scale, int | float) else scale[1]))
            assert (im[beyond:] == 7).all()
            outside = im[:beyond]
            assert (
                np.isnan(outside) if im.dtype.kind == "f" and "dtype" not in options else outside != 7
            ).all()


def test_u7_boxes_of_annotations_are_brought_into_the_video(sampler: CocoSampler) -> None:
    for which in ({"gids": [11]}, {"vidid": 1}, {"gids": [13, 11]}):
        sample = sampler.load_sample({**which, "aid": 110})
        # The box 10, 8, 20, 12 in a video of twice the size.
        assert sample["params"]["st_dims"] == [(16, 40), (20, 60)]
        place = sample["target"]["annot_idx"]
        assert sample["annots"]["aids"][place] == 110
        assert sample["annots"]["rel_boxes"].data[place].tolist() == [0, 0, 40, 24]
    assert sampler.load_target_annots({"gids": [11], "aid": 110}) == [110]


def test_u8_annotation_of_another_image_is_an_error(sampler: CocoSampler) -> None:
    with pytest.raises(TargetError, match="of the image 1, not of gid=2"):
        sampler.load_sample({"gid": 2, "aid": 10})


def test_u9_frames_may_repeat_beside_an_annotation(scene: Scene, sampler: CocoSampler) -> None:
    sample = sampler.load_sample({"gids": [12, 12, 11], "aid": 120, "interpolation": "nearest"})
    expected = [scene.pixels[image].repeat(2, 0).repeat(2, 1)[16:40, 20:60] for image in (12, 12, 11)]
    np.testing.assert_array_equal(sample["im"], expected)
    assert sample["annots"]["aids"].tolist() == [120, 120, 110]
    assert sample["annots"]["rel_frame_index"].tolist() == [0, 1, 2]
    assert sample["target"]["annot_idx"] == 0


def test_u10_ids_are_integers_also_of_frames_without_annotations(sampler: CocoSampler, scene: Scene) -> None:
    scene.dataset["annotations"] = [each for each in scene.dataset["annotations"] if each["image_id"] != 12]
    for target in ({"vidid": 1}, {"gids": [12]}, {"gid": 1, "slices": (_S(0, 2), _S(0, 2))}):
        annots = sampler.load_sample(target)["annots"]
        for key in ("aids", "cids", "rel_frame_index"):
            assert annots[key].dtype == np.int64
        assert annots["rel_boxes"].data.shape == (len(annots["aids"]), 4)
        assert all(each.data["aids"].dtype == np.int64 for each in annots["frame_dets"])


def test_u11_edges_that_touch_do_not_count(sampler: CocoSampler) -> None:
    # The box ends at x = 30 and y = 20.
    for slices, seen in (((_S(0, 60), _S(30, 40)), False), ((_S(0, 60), _S(29, 40)), True)):
        assert (10 in sampler.load_sample({"gid": 1, "slices": slices})["annots"]["aids"]) is seen
    assert 10 not in sampler.load_sample({"gid": 1, "slices": (_S(20, 40), _S(0, 80))})["annots"]["aids"]
    assert 10 not in sampler.load_sample({"gid": 1, "slices": (_S(0, 8), _S(0, 80))})["annots"]["aids"]


def test_u12_new_samplers_know_new_boxes(scene: Scene, tmp_path: Path) -> None:
    old = scene.sampler(workdir=tmp_path / "work")
    assert old.regions.get_positive(0)["cx"] == 20
    scene.dataset["annotations"][0]["bbox"] = [30, 8, 20, 12]
    new = scene.sampler(workdir=tmp_path / "work")
    assert new.regions.get_positive(0)["cx"] == new.load_positive(0)["target"]["cx"] == 40
    assert new.load_positive(0)["annots"]["rel_boxes"].data[0, :2].tolist() == [0, 0]
    old.refresh()
    assert old.regions.get_positive(0)["cx"] == 40


def test_u13_returned_targets_are_reusable(sampler: CocoSampler) -> None:
    target = sampler.load_sample({"gid": 1, "cx": 20, "cy": 20, "width": 8, "height": 8})["target"]
    target["cx"] = 40
    assert sampler.load_sample(target)["params"]["st_dims"] == [(16, 24), (36, 44)]


def test_u14_parts_of_all_resolutions_have_warps_of_their_own(tmp_path: Path) -> None:
    files = []
    for name, factor in (("full", 1), ("half", 2), ("third", 3)):
        path = tmp_path / f"{name}.png"
        Image.fromarray(np.full((60 // factor, 90 // factor), 9, np.uint8)).save(path)
        files.append({"file_name": str(path), "channels": name, "warp_aux_to_img": {"scale": factor}})
    images = [{"id": 1, "file_name": None, "width": 90, "height": 60, "auxiliary": files}]
    sampler = CocoSampler({"images": images, "annotations": []}, backend=None)
    sample = sampler.load_sample(
        {
            "gids": [1],
            "space_slice": (_S(6, 30), _S(12, 60)),
            "channels": "half|full|third",
            "use_native_scale": True,
        }
    )
    warps = sample["params"]["jagged_meta"][0]["grid_to_part_warps"]
    found = [np.asarray(warp.matrix)[:2].tolist() for warp in warps]
    assert found[0] == [[0.5, 0, -6], [0, 0.5, -3]]
    assert found[1] == [[1, 0, -12], [0, 1, -6]]
    np.testing.assert_allclose(found[2], [[1 / 3, 0, -4], [0, 1 / 3, -2]])
    assert [part.shape for part in sample["im"][0]] == [(12, 24, 1), (24, 48, 1), (8, 16, 1)]


@pytest.mark.parametrize("value", ["0", "1", ""])
def test_u15_no_variable_of_the_environment_decides_how_boxes_are_found(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("USE_RTREE", value)
    index = FrameIntersectionIndex.from_coco(scene.dataset)
    assert index.overlapping_aids(1, [0, 0, 30, 20]) == [10]
    assert index.overlapping_aids(1, [30, 20, 40, 30]) == []
    target = {"gid": 1, "slices": (_S(20, 30), _S(30, 41))}
    assert scene.sampler().load_sample(target)["annots"]["aids"].tolist() == []


def test_u16_single_channels_keep_their_axis(tmp_path: Path) -> None:
    sampler = _constant(tmp_path, np.uint8, 7)
    assert sampler.load_sample({"vidid": 1})["im"].shape == (1, 20, 24, 1)
    assert sampler.load_image(1).shape == (20, 24, 1)
    assert sampler.load_sample({"gid": 1})["im"].shape == (20, 24, 1)


@pytest.mark.parametrize("backend", [None, "npy", "cog"])
def test_u17_samples_share_no_memory(scene: Scene, tmp_path: Path, backend: str | None) -> None:
    sampler = CocoSampler(scene.dataset, tmp_path / "w", backend=backend)
    for target in ({"gid": 1}, {"vidid": 1}):
        one, other = sampler.load_sample(target)["im"], sampler.load_sample(target)["im"]
        assert not np.shares_memory(one, other)
        expected = other.copy()
        one[...] = 0
        np.testing.assert_array_equal(sampler.load_sample(target)["im"], expected)


def test_u18_no_annotations_and_negatives(scene: Scene) -> None:
    scene.dataset["annotations"] = []
    sampler = scene.sampler(rng=1)
    assert len(sampler) == 0
    assert sampler.preselect(n_neg=4, window_dims=(5, 6)) == (0, 4)
    assert [sample["im"].shape for sample in sampler] == [(5, 6, 3)] * 4
    assert sampler.load_sample({"gid": 1})["annots"]["aids"].tolist() == []


def test_u20_unknown_interpolation_is_an_error_also_where_nothing_is_resampled(sampler: CocoSampler) -> None:
    for which in ({"gid": 1}, {"vidid": 2}):
        with pytest.raises(ConfigError, match="bogus"):
            sampler.load_sample({**which, "interpolation": "bogus"})


# The other list.


def test_11_floats_out_of_bounds_keep_the_last_valid_row(tmp_path: Path) -> None:
    sampler = _constant(tmp_path, np.float32, 7)
    im = sampler.load_sample({"vidid": 1, "space_slice": (_S(15, 25), _S(18, 30))})["im"][0, ..., 0]
    assert (im[:5, :6] == 7).all()
    assert np.isnan(im[5:]).all()
    assert np.isnan(im[:, 6:]).all()


def test_12_channels_of_images_as_text(scene: Scene, sampler: CocoSampler) -> None:
    for channels in ("b|r", ["b", "r"], "b,r"):
        im = sampler.load_sample({"gid": 1, "channels": channels})["im"]
        np.testing.assert_array_equal(im, scene.pixels[1][..., [2, 0]])
    np.testing.assert_array_equal(
        sampler.load_sample({"gid": 1, "channels": "g"})["im"], scene.pixels[1][..., 1:2]
    )


@pytest.mark.parametrize("mode", ["reflect", "edge", "symmetric", "wrap", "constant", "maximum"])
def test_15_padkw_works_and_stays_as_it_is(scene: Scene, sampler: CocoSampler, mode: str) -> None:
    padkw = {"mode": mode} | ({"constant_values": 5} if mode == "constant" else {})
    before = copy.deepcopy(padkw)
    for which in ({"gid": 1}, {"gids": [1]}):
        sample = sampler.load_sample({**which, "pad": ((3, 2), (4, 1)), "padkw": padkw})
        im = sample["im"] if "gid" in which else sample["im"][0]
        expected = np.pad(scene.pixels[1], ((3, 2), (4, 1), (0, 0)), **padkw)  # type: ignore[call-overload]
        np.testing.assert_array_equal(im, expected)
        assert padkw == before
        assert sample["target"]["padkw"] == before


def test_16_nodata_is_a_number_or_a_mask(tmp_path: Path) -> None:
    import tifffile

    path = tmp_path / "a.tif"
    pixels = np.arange(12, dtype=np.int16).reshape(3, 4)
    tifffile.imwrite(path, pixels, extratags=[(42113, "s", 2, "5", True)])
    image = {"id": 1, "file_name": str(path), "channels": "a", "width": 4, "height": 3}
    sampler = CocoSampler({"images": [image], "annotations": []}, backend=None)
    for which in ({"gid": 1}, {"gids": [1]}):
        target = {**which, "space_slice": (_S(0, 3), _S(-1, 4))}
        gone = np.pad(pixels == 5, ((0, 0), (1, 0)), constant_values=True)
        masked = sampler.load_sample(target | {"nodata": "ma"})["im"].reshape(3, 5)
        np.testing.assert_array_equal(np.ma.getmaskarray(masked), gone)
        number = sampler.load_sample(target | {"nodata": -9})["im"].reshape(3, 5)
        assert number.dtype == np.int16
        np.testing.assert_array_equal(number, np.where(gone, -9, np.pad(pixels, ((0, 0), (1, 0)))))
        for name in ("float", "auto"):
            floats = sampler.load_sample(target | {"nodata": name})["im"].reshape(3, 5)
            np.testing.assert_array_equal(np.isnan(floats), gone)
            assert floats.dtype == np.float32


def test_18_as_many_positives_as_were_asked_for(sampler: CocoSampler) -> None:
    assert sampler.preselect(n_pos=3) == (3, 0)
    assert len(sampler) == len(list(sampler)) == 3


@pytest.mark.parametrize("add", ["dict", "kwcoco"])
def test_20_added_annotations_are_seen(scene: Scene, add: str) -> None:
    dataset: Any = scene.dataset
    if add == "kwcoco":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import kwcoco
        dataset = kwcoco.CocoDataset(scene.dataset)
    sampler = CocoSampler(dataset, backend=None)
    count = len(sampler)
    target = {"gid": 1, "slices": (_S(0, 5), _S(0, 5))}
    assert sampler.load_sample(target)["annots"]["aids"].tolist() == []
    if add == "kwcoco":
        new = dataset.add_annotation(image_id=1, category_id=1, bbox=[1, 1, 2, 2])
    else:
        new = 999
        dataset["annotations"].append({"id": new, "image_id": 1, "category_id": 1, "bbox": [1, 1, 2, 2]})
    assert sampler.load_sample(target)["annots"]["aids"].tolist() == [new]
    assert len(sampler) == count + 1
    assert sampler.load_sample({"aid": new})["im"].shape == (2, 2, 3)
    if add == "kwcoco":
        dataset.remove_annotation(new)
    else:
        dataset["annotations"].pop()
    assert sampler.load_sample(target)["annots"]["aids"].tolist() == []
    scene.dataset["annotations"][0]["bbox"] = [0, 0, 3, 3]
    sampler.refresh()
    assert sampler.load_sample(target)["annots"]["aids"].tolist() == [10]


@pytest.mark.parametrize("edit", ["last", "list"])
def test_annotations_in_place_of_others_are_seen(scene: Scene, edit: str) -> None:
    listed: list[Any] = scene.dataset["annotations"]
    sampler = CocoSampler(scene.dataset, backend=None)
    other = {"id": listed[-1]["id"], "image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 1]}
    target = {"gid": 1, "slices": (_S(0, 1), _S(0, 1))}
    assert other["id"] not in sampler.load_sample(target)["annots"]["aids"]
    if edit == "last":
        listed[-1] = other
    else:
        scene.dataset["annotations"] = [*map(dict, listed[:-1]), other]
    assert other["id"] in sampler.load_sample(target)["annots"]["aids"]
    scene.dataset["annotations"].clear()
    assert len(sampler.load_sample(target)["annots"]["aids"]) == sampler.n_annots == 0


def test_added_images_are_seen(scene: Scene) -> None:
    sampler = CocoSampler(scene.dataset, backend=None)
    assert sampler.n_images == len(scene.dataset["images"])
    scene.dataset["images"].append(scene.dataset["images"][0] | {"id": 777})
    sample = sampler.load_sample({"gid": 777})
    assert np.array_equal(sample["im"], sampler.load_sample({"gid": 1})["im"])
    assert len(sample["annots"]["aids"]) == 0


def test_22_steps_are_refused_and_whole_images_work(sampler: CocoSampler) -> None:
    with pytest.raises(TargetError, match="step"):
        sampler.load_sample({"gid": 1, "slices": (_S(0, 10, 2), _S(0, 10))})
    assert sampler.load_sample({"gid": 1})["im"].shape == (*SIZE, 3)
