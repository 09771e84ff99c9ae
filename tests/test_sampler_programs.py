"""How programs that were written for the predecessor call it: one test for each of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import kwcoco
import kwimage
import numpy as np
import pytest
from delayed_image import ChannelSpec

from scenes import SIZE, Scene, make_scene
from subregion import CocoSampler, FrameIntersectionIndex

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
_S = slice


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return make_scene(tmp_path)


@pytest.fixture
def sampler(scene: Scene) -> CocoSampler:
    return CocoSampler.coerce(kwcoco.CocoDataset(scene.dataset), backend=None)


#: What the loader keeps in the same dict.
_OWN = {
    "main_idx": 0,
    "main_gid": 11,
    "frame_index": 0,
    "frame_indexes": [0, 1],
    "resampled": False,
    "label": "cat",
    "dist_weights": None,
    "allow_augment": True,
    "fliprot_params": {"rot_k": 0, "flip_axis": None},
    "input_space_scale": 1.0,
    "output_space_scale": "native",
}


def test_kwcoco_dataloader(drawn: Callable[[str], Any], sampler: CocoSampler) -> None:
    dataset = drawn("vidshapes2-multispectral")
    generated = CocoSampler.coerce(dataset, backend=None)
    assert generated.dset is dataset
    target = _OWN | {
        "gids": [1],
        "video_id": 1,
        "space_slice": (_S(-30, 150), _S(510, 690)),
        "channels": ChannelSpec.coerce("B1|B8|unheard").fuse(),
        "padkw": {"constant_values": np.nan},
        "nodata": "float",
        "dtype": np.float32,
        "as_xarray": True,
        "legacy_annots": False,
        "legacy_target": False,
    }
    for options in (
        {"scale": 0.5},
        {"scale": (0.5, 0.2)},
        {"use_native_scale": True, "realign_native": "largest"},
    ):
        sample = generated.load_sample({**target, **options}, with_annots=True)
        im = sample["im"]
        frame = im.values[0]
        assert im.coords["c"].values.tolist() == ["B1", "B8", "unheard"]
        assert im.shape[1:4] == frame.shape
        assert im.dtype == np.float32
        # "no data" is told by NaN: above and right of the image, and of the channel that is not there.
        above, right = round(frame.shape[0] * 30 / 180), round(frame.shape[1] * 90 / 180)
        assert np.isnan(frame[:above]).all()
        assert np.isnan(frame[:, right:]).all()
        assert np.isnan(frame[..., 2]).all()
        assert not np.isnan(frame[above:, :right, :2]).any()
        assert {key: sample["target"][key] for key in _OWN} == _OWN
        dets = sample["annots"]["frame_dets"][0]
        assert sorted(dets.data) == ["aids", "boxes", "cids", "keypoints", "segmentations"]
        dets.scale(2, inplace=True)
        moved = dets.warp(kwimage.Affine.coerce(offset=3))
        np.testing.assert_allclose(moved.boxes.to_ltrb().data[:, :2], dets.boxes.to_ltrb().data[:, :2] + 3)
        assert dets.meta["classes"] is generated.classes
    assert generated.report["missing channel"] == 3
    # Bands of quality: as they are, with the same padkw.
    quality = {key: value for key, value in target.items() if key not in ("dtype", "as_xarray", "nodata")}
    quality |= {"channels": "B10", "interpolation": "nearest", "antialias": False, "nodata": None}
    band = generated.load_sample(quality, with_annots=None)
    assert band["im"].dtype == np.uint16
    assert "annots" not in band
    assert "tr" not in band
    # An image that is in no video, one frame a call; and names of parts.
    alone = {"gids": [2], "video_id": None, "space_slice": (_S(0, 9), _S(0, 9)), "channels": "r|b"}
    assert sampler.load_sample(alone, with_annots="boxes+segmentation")["im"].shape == (1, 9, 9, 2)
    graph, id_to_idx = sampler.classes.graph, sampler.classes.id_to_idx
    assert set(graph.nodes) == {"cat", "animal", "car"}
    assert id_to_idx[2] == list(sampler.classes).index("car")
    boxes = kwimage.Boxes([[0, 0, 30, 30]], "xywh")
    assert list(np.ravel(sampler.regions.overlapping_aids(1, boxes))) == [10]
    sampler.frames.prepare(workers=0, progress=False)


def test_geowatch(sampler: CocoSampler, scene: Scene) -> None:
    grid = sampler.new_sample_grid("video_detection", window_dims=[2, 64, 64], window_overlap=0.5)
    assert grid["positives"]
    assert len(grid["positives"]) + len(grid["negatives"]) == len(grid["targets"])
    for target in grid["positives"][:4] + grid["negatives"][:4]:
        for scale in (1, 0.5, (0.5, 2)):
            sample = sampler.load_sample(
                {**target, "scale": scale, "channels": "r|g"},
                nodata="float",
                padkw={"constant_values": np.nan},
            )
            assert sample["im"].ndim == 4
            assert sample["im"].dtype == np.float32
            assert len(sample["annots"]["frame_dets"]) == len(sample["im"]) == len(target["gids"])
            found = set(sample["annots"]["aids"].tolist())
            assert found == set(target["aids"])
            assert len(sample["annots"]["rel_ssegs"]) == len(sample["annots"]["aids"])
    video = next(each for each in grid["targets"] if each["vidid"] == 2)
    chosen = {"vidid": 2, "gids": video["gids"], "space_slice": video["space_slice"]}
    np.testing.assert_array_equal(
        sampler.load_sample(chosen)["im"][0, :60, :64], scene.pixels[video["gids"][0]][:60, :64]
    )
    with pytest.raises(ValueError, match="no pixel"):  # which it catches
        sampler.load_sample({**chosen, "space_slice": (_S(9, 9), _S(0, 9))})


def test_bioharn(sampler: CocoSampler, scene: Scene) -> None:
    tr = {"gid": 1, "slices": (_S(0, 40), _S(-8, 32))}
    sample = sampler.load_sample(
        tr, pad=5, visible_thresh=0.05, with_annots=["segmentation", "keypoints", "boxes"]
    )
    assert sample["im"].shape == (50, 50, 3)
    pad = sample["params"]["pad"]
    assert pad == (5, 5)
    cropped = sample["im"][pad[0] : -pad[0], pad[1] : -pad[1]]
    np.testing.assert_array_equal(cropped[:, 8:], scene.pixels[1][:40, :32])
    annots = sample["annots"]
    assert annots["aids"].tolist() == [10]
    assert annots["cids"].tolist() == [1]
    assert annots["rel_boxes"].view(-1, 4).data.tolist() == [[23, 13, 20, 12]]
    assert annots["rel_kpts"].data[0].xy.tolist() == [[24, 15]]
    assert annots["rel_ssegs"].data[0].to_boxes().to_ltrb().data.tolist() == [[23, 13, 43, 25]]
    row = sampler.regions.get_positive(3)
    row["width"] = row["height"] = max(row["width"], row["height"])
    chip = sampler.load_sample(row, with_annots=False)
    assert chip["im"].shape == (20, 20, 3)
    assert chip["tr"]["category_id"] == 2
    assert sampler.regions.targets["category_id"].tolist() == [1, 2] * 7
    # What it keeps of a run has a name from what it depends on, and lies beside the converted images.
    assert sampler._depends() == [sampler.hashid]
    assert Path(sampler.regions.workdir, "_cache").parent == Path(sampler.frames.workdir)
    # Windows of a grid of its own are told apart by an index of boxes.
    index = FrameIntersectionIndex.from_coco(sampler.dset, verbose=0)
    windows = kwimage.Boxes(np.array([[0, 0, 40, 30], [40, 0, 80, 30], [31, 0, 40, 60]]), "ltrb")
    aids = [index.overlapping_aids(1, window) for window in windows]
    assert aids == [[10], [], []]
    assert [sampler.dset.annots(some).get("category_id") for some in aids] == [[1], [], []]
    assert index.iooas(1, windows[0])[1].tolist() == [1]


def test_netharn(sampler: CocoSampler, scene: Scene) -> None:
    sample = sampler.load_sample({"gid": 2, "cx": 30, "cy": 20, "width": 64, "height": 50})
    assert sample["im"].shape == (50, 64, 3)
    corners = sample["annots"]["rel_boxes"].to_ltrb().clip(0, 0, 64, 50)
    assert corners.data.tolist() == [[12, 13, 32, 25], [42, 35, 58, 50]]
    positive = sampler.load_positive(1, with_annots=False)
    np.testing.assert_array_equal(positive["im"], scene.pixels[1][30:50, 40:56])
    assert [sampler.classes.id_to_idx[cid] for cid in sample["annots"]["cids"]] == [0, 2]
    table = sampler.regions.targets
    for name in ("aid", "gid", "category_id", "cx", "cy", "width", "height", "img_width", "img_height"):
        assert len(table[name]) == 14
    sampled = sampler.load_sample({"gid": 1, "slices": (_S(0, SIZE[0]), _S(0, SIZE[1]))})
    np.testing.assert_array_equal(sampled["im"], scene.pixels[1])
