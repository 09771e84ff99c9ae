"""The sampler: by number, in other processes and threads, from all kinds of datasets; options of pixels."""

from __future__ import annotations

import json
import multiprocessing
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from scenes import Scene
from subregion import CocoSampler
from subregion.errors import (
    ConfigError,
    MissingPackageError,
    RegionError,
    UnknownAnnotationError,
    UnknownCategoryError,
    UnknownChannelError,
    UnknownImageError,
)
from subregion.libraries import kwimage
from subregion.sampling.demo import shapes
from subregion.sampling.targets.keys import COMPLETED
from subregion.sampling.targets.serialize import as_json

_S = slice


def test_items_by_number(sampler: CocoSampler, scene: Scene) -> None:
    sampler.preselect(n_neg=4, window_dims=(5, 7))
    assert len(sampler) == 18
    numbers = [sampler[number]["target"]["aid"] for number in range(18)]
    assert numbers == [each["id"] for each in scene.dataset["annotations"]] + [-1] * 4
    assert [each["target"]["aid"] for each in sampler] == numbers
    assert sampler[-1]["target"] == sampler[17]["target"]
    for index in (18, -19):
        with pytest.raises(RegionError, match="there are 18"):
            sampler[index]
        with pytest.raises(IndexError):
            sampler.load_item(index)
    np.testing.assert_array_equal(sampler[0]["im"], scene.pixels[1][8:20, 10:30])


def test_items_with_keys_replaced(sampler: CocoSampler) -> None:
    assert sampler.load_item(0, target={"window_dims": (6, 8)})["im"].shape == (6, 8, 3)
    assert sampler.load_positive(0, target={"slices": (_S(0, 3), _S(0, 4))})["im"].shape == (3, 4, 3)
    assert sampler.load_positive(0, target={"channels": "r"}, pad=1)["im"].shape == (14, 22, 1)
    assert sampler.load_item(0, False).keys() == sampler.load_positive(0, with_annots=False).keys()
    one, other = sampler.load_positive(rng=3), sampler.load_positive(rng=3)
    assert one["target"] == other["target"]
    assert sampler.load_negative(rng=1)["target"]["aid"] == -1


def _shown(sampler: CocoSampler) -> Any:
    """Return all that samples hold, in types that compare."""
    found = []
    for target in (
        {"gid": 1, "slices": (_S(-3, 30), _S(0, 40))},
        {"vidid": 1, "time_slice": _S(0, 2)},
        {"aid": 211},
    ):
        sample = sampler.load_sample(target)
        found.append((sample["im"].tolist(), sample["annots"]["aids"].tolist(), repr(sample["target"])))
    return found


@pytest.mark.parametrize("kind", ["dict", "path"])
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize("backend", ["npy", "cog"])
def test_other_processes(scene: Scene, tmp_path: Path, kind: str, method: str, backend: str) -> None:
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip("not on this system")
    dataset: Any = scene.dataset
    if kind == "path":
        dataset = tmp_path / "data.json"
        dataset.write_text(json.dumps(scene.dataset))
    sampler = CocoSampler(dataset, tmp_path / "work", backend=backend)
    expected = _shown(sampler)
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert pool.map(_shown, [sampler] * 3) == [expected] * 3


def test_threads(scene: Scene, tmp_path: Path) -> None:
    sampler = CocoSampler(scene.dataset, tmp_path / "work", backend="cog")
    expected = _shown(sampler)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(_shown, [sampler] * 16)) == [expected] * 16


@pytest.mark.parametrize("kind", ["dict", "path", "kwcoco"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_all_kinds_of_datasets(scene: Scene, tmp_path: Path, kind: str) -> None:
    import kwcoco

    path = tmp_path / "data.json"
    path.write_text(json.dumps(scene.dataset))
    dataset: Any = {"dict": scene.dataset, "path": path}.get(kind) or kwcoco.CocoDataset(scene.dataset)
    sampler = CocoSampler(dataset, backend=None)
    assert _shown(sampler) == _shown(scene.sampler())
    assert sampler.dset is dataset
    assert sampler.hashid == scene.sampler().hashid
    assert list(sampler.kp_classes) == ["nose"]
    copied = pickle.loads(pickle.dumps(sampler))
    assert _shown(copied) == _shown(sampler)
    assert copied.hashid == sampler.hashid


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_samplers_of_databases_are_pickled(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import kwcoco

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path = tmp_path / "data.json"
    path.write_text(json.dumps(scene.dataset))
    sampler = CocoSampler(kwcoco.CocoDataset(str(path)).view_sql(), backend=None)
    assert _shown(pickle.loads(pickle.dumps(sampler))) == _shown(sampler) == _shown(scene.sampler())
    assert pickle.loads(pickle.dumps(sampler)).hashid == sampler.hashid


def test_samples_are_pickled_without_the_dataset(scene: Scene) -> None:
    for number in range(5000):
        scene.dataset["annotations"].append(
            {"id": 10_000 + number, "image_id": 2, "category_id": 1, "bbox": [0, 0, 1, 1]}
        )
    sample = scene.sampler().load_sample({"gid": 1, "slices": (_S(0, 30), _S(0, 40)), "cool": 3})
    packed = pickle.dumps(sample)
    assert len(packed) < 20_000
    again = pickle.loads(packed)
    np.testing.assert_array_equal(again["im"], sample["im"])
    assert again["target"] == sample["target"]
    assert set(again["annots"]) == set(sample["annots"])
    assert again["annots"]["aids"].tolist() == [10]
    assert again["annots"]["frame_dets"][0].boxes.data.tolist() == [[10, 8, 20, 12]]
    assert again["annots"]["rel_kpts"].data[0].xy.tolist() == [[11, 10]]
    assert set(again["params"]) == set(sample["params"])
    assert again["params"]["tf_rel_to_abs"].tolist() == np.eye(3).tolist()


def test_hash_of_data(scene: Scene) -> None:
    first = scene.sampler().hashid
    assert scene.sampler().hashid == first
    assert int(first, 16) >= 0
    scene.dataset["annotations"][3]["bbox"] = [1, 2, 3, 4]
    assert scene.sampler().hashid != first


def test_coerce(sampler: CocoSampler, scene: Scene) -> None:
    assert CocoSampler.coerce(sampler) is sampler
    assert _shown(CocoSampler.coerce(scene.dataset, backend=None)) == _shown(sampler)
    with pytest.raises(ConfigError, match="backend"):
        CocoSampler.coerce(sampler, backend="npy")


def test_names(sampler: CocoSampler) -> None:
    assert sampler.lookup_class_id("car") == 2
    assert sampler.lookup_class_name(1) == "cat"
    assert sampler.BACKGROUND_CLASS_ID == 0
    assert (sampler.n_annots, sampler.n_images, sampler.n_positives, sampler.n_categories) == (14, 7, 14, 3)
    assert sampler.class_ids == [1, 2]
    assert sampler.image_ids == [1, 2, 11, 12, 13, 21, 22]
    assert sampler.catgraph is sampler.classes
    assert "7 images, 14 annotations, 2 categories" in repr(sampler)
    with pytest.raises(UnknownCategoryError):
        sampler.lookup_class_id("cow")


def test_annotations_and_images_as_they_are(sampler: CocoSampler, scene: Scene) -> None:
    image, annotations = sampler.load_image_with_annots(12)
    np.testing.assert_array_equal(image["imdata"], scene.pixels[12])
    assert image["frame_index"] == 1
    assert annotations == sampler.load_annotations(12) == scene.dataset["annotations"][6:8]
    assert "imdata" not in scene.dataset["images"][3]
    np.testing.assert_array_equal(sampler.load_image(2, cache=False), scene.pixels[2])
    for call in (sampler.load_annotations, sampler.load_image, sampler.load_image_with_annots):
        with pytest.raises(UnknownImageError):
            call(77)


def test_autoinit_false_reads_annotations_when_they_are_needed(scene: Scene) -> None:
    scene.dataset["annotations"][0]["id"] = "no number"
    with pytest.raises(ValueError, match="id"):
        scene.sampler()
    sampler = scene.sampler(autoinit=False)
    scene.dataset["annotations"][0]["id"] = 10
    assert sampler.n_annots == 14


def test_annotations_as_values(sampler: CocoSampler) -> None:
    annots = sampler.load_sample({"gid": 1, "slices": (_S(10, 40), _S(0, 50))})["annots"]
    value = annots.annotations
    assert value.ids.tolist() == annots["aids"].tolist() == [10, 11]
    assert value.boxes.tolist() == [[10, 0, 30, 10], [40, 20, 50, 30]]
    np.testing.assert_allclose(value.visible, [10 / 12, 10 * 10 / (16 * 20)])
    mask = value.to_mask("semantic")
    assert mask.shape == (30, 50)
    assert (mask[0:10, 10:30] == 1).all()
    assert (mask[20:30, 40:50] == 2).all()
    assert np.count_nonzero(mask) == 300
    clip = sampler.load_sample({"vidid": 1, "scale": 0.5})["annots"].annotations
    assert clip.frame_index.tolist() == [0, 0, 1, 1, 2, 2]
    assert clip.boxes[0].tolist() == [10, 8, 30, 20]


def test_turned_frames(tmp_path: Path, scene: Scene) -> None:
    """A frame that lies across in its video: rows become columns."""
    scene.dataset["images"][2]["warp_img_to_vid"] = {"matrix": [[0, 1, 0], [1, 0, 0], [0, 0, 1]]}
    sampler = scene.sampler()
    window = (_S(0, 60), _S(0, 60))
    sample = sampler.load_sample({"gids": [11], "space_slice": window, "interpolation": "nearest"})
    np.testing.assert_array_equal(sample["im"][0], scene.pixels[11][:60, :60].transpose(1, 0, 2))
    boxes = sample["annots"]["rel_boxes"].to_ltrb().data
    assert boxes.tolist() == [[8, 10, 20, 30], [30, 40, 50, 56]]
    only = sampler.load_sample({"gids": [11], "space_slice": (_S(0, 35), _S(0, 60))})
    assert only["annots"]["aids"].tolist() == [110]
    one = sampler.load_sample({"gids": [11], "aid": 111, "interpolation": "nearest"})
    np.testing.assert_array_equal(one["im"][0], scene.pixels[11][30:50, 40:56].transpose(1, 0, 2))


def test_scale_is_x_y_and_sizes_are_rounded(sampler: CocoSampler, scene: Scene) -> None:
    target = {"slices": (_S(0, 20), _S(0, 60)), "scale": 1.27}
    for which in ({"gid": 1}, {"gids": [1]}):
        assert sampler.load_sample({**which, **target})["im"].shape[-3:-1] == (25, 76)
        pair = {**which, **target, "scale": (2, 3), "interpolation": "nearest"}
        sample = sampler.load_sample(pair)
        im = sample["im"] if "gid" in which else sample["im"][0]
        np.testing.assert_array_equal(im, scene.pixels[1][:20, :60].repeat(3, 0).repeat(2, 1))
        assert sample["params"]["tf_rel_to_abs"][[0, 1], [0, 1]].tolist() == [1 / 2, 1 / 3]
        assert sample["annots"]["rel_boxes"].data[0].tolist() == [20, 24, 40, 36]


def test_channels_that_some_frames_lack(tmp_path: Path, scene: Scene) -> None:
    path = tmp_path / "extra.png"
    extra = np.random.default_rng(0).integers(1, 255, (60, 80), dtype=np.uint8)
    Image.fromarray(extra).save(path)
    asset = {"file_name": str(path), "channels": "extra", "width": 80, "height": 60}
    scene.dataset["images"][1]["auxiliary"] = [asset]
    sampler = scene.sampler()
    for nodata, gone in ((None, 0), ("float", np.nan), (9, 9)):
        sample = sampler.load_sample({"gids": [1, 2], "channels": "g|extra", "nodata": nodata})
        np.testing.assert_array_equal(sample["im"][0, ..., 1], np.full((60, 80), gone))
        np.testing.assert_array_equal(sample["im"][1, ..., 1], extra)
        np.testing.assert_array_equal(sample["im"][0, ..., 0], scene.pixels[1][..., 1])
        assert sample["params"]["missing_channels"] == [(1, "extra")]
        # Of an image alone, too.
        alone = sampler.load_sample({"gid": 1, "channels": "g|extra", "nodata": nodata})
        np.testing.assert_array_equal(alone["im"], sample["im"][0])
        assert alone["params"]["missing_channels"] == [(1, "extra")]
    assert sampler.report["missing channel"] == 6
    masked = sampler.load_sample({"gids": [1, 2], "channels": "g|extra", "nodata": "ma"})["im"]
    np.testing.assert_array_equal(np.ma.getmaskarray(masked).any((1, 2)), [[False, True], [False, False]])
    # One that no image has is an error, unless NaN is asked for.
    for which in ({"gid": 1}, {"gids": [1, 2]}):
        with pytest.raises(UnknownChannelError, match="b, extra, g, r"):
            sampler.load_sample({**which, "channels": "g|never"})
        im = sampler.load_sample({**which, "channels": "g|never", "nodata": "float"})["im"]
        assert np.isnan(im[..., 1]).all()
        assert not np.isnan(im[..., 0]).any()
    # Without channels: those of the default file of an image, all of a stack.
    assert sampler.load_sample({"gid": 2})["im"].shape[-1] == 3
    assert sampler.load_sample({"gid": 2, "channels": "<all>"})["im"].shape[-1] == 4
    stack = sampler.load_sample({"gids": [1, 2], "as_xarray": True})["im"]
    assert stack.coords["c"].values.tolist() == ["r", "g", "b", "extra"]


@pytest.mark.parametrize("which", [{"gid": 1}, {"gids": [1]}])
def test_types_and_fills(sampler: CocoSampler, scene: Scene, which: dict[str, Any]) -> None:
    target = {**which, "space_slice": (_S(-1, 4), _S(0, 5))}

    def read(**options: Any) -> NDArray[Any]:
        im = sampler.load_sample(target | options)["im"]
        found: NDArray[Any] = im if "gid" in which else im[0]
        np.testing.assert_array_equal(found[1:], scene.pixels[1][:4, :5])
        return found

    assert (read()[0] == 0).all()
    assert read(dtype=np.float32).dtype == np.float32
    assert (read(dtype=np.float32)[0] == 0).all()
    assert np.isnan(read(dtype="float32", padkw={"constant_values": np.nan})[0]).all()
    assert (read(padkw={"constant_values": np.nan})[0] == 0).all()
    assert (read(padkw={"mode": "constant", "constant_values": 7})[0] == 7).all()
    assert np.isnan(read(nodata="float")[0]).all()
    assert read(nodata="float", dtype=np.float64).dtype == np.float64
    assert (read(nodata="float", padkw={"constant_values": 3})[0] == 3).all()


def test_targets_go_through_json(sampler: CocoSampler) -> None:
    for target in ({"gid": 1, "slices": [[0, 9], [-2, 5]], "label": "mine"}, {"aid": 11}, {"vidid": 1}):
        sample = sampler.load_sample(target)
        written = json.loads(json.dumps(as_json(sample["target"])))
        assert written == target
        np.testing.assert_array_equal(sampler.load_sample(written)["im"], sample["im"])
        assert COMPLETED in sample["target"]
    # What was changed of a returned target is kept, also where load_sample had filled it.
    returned = sampler.load_sample({"aid": 11})["target"]
    returned["cx"] += 5
    changed = json.loads(json.dumps(as_json(returned)))
    assert changed == {"aid": 11, "cx": 53.0}
    np.testing.assert_array_equal(
        sampler.load_sample(changed)["im"], sampler.load_sample({"aid": 11, "cx": 53.0})["im"]
    )


def test_unknown_annotations(sampler: CocoSampler) -> None:
    with pytest.raises(UnknownAnnotationError, match="777"):
        sampler.load_sample({"gid": 1}, annot_ids=[777])
    assert sampler.load_sample({"gid": 1}, annot_ids=[110, 11])["annots"]["aids"].tolist() == [11]
    for share in (-0.1, 2, "half", True):
        with pytest.raises(ConfigError, match="visible_thresh"):
            sampler.load_sample({"gid": 1}, visible_thresh=share)  # type: ignore[arg-type]
    for parts in (["bogus"], "boxes+bogus", 3.5):
        with pytest.raises(ConfigError, match="with_annots"):
            sampler.load_sample({"gid": 1}, with_annots=parts)


def test_without_kwimage(sampler: CocoSampler, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kwimage", None)
    monkeypatch.setattr(kwimage, "_name", "kwimage_that_is_not_there")
    sample = sampler.load_sample({"gid": 1})
    assert sample["annots"]["aids"].tolist() == [10, 11]
    for key in ("frame_dets", "rel_boxes", "rel_ssegs", "rel_kpts"):
        with pytest.raises(MissingPackageError, match="kwimage"):
            sample["annots"][key]
    with pytest.raises(ImportError, match="kwimage"):
        sample["params"]["sample_tlbr"]


def test_what_needs_packages_that_are_missing_says_so() -> None:
    code = """
import sys
for name in ("shapely", "pycocotools", "kwimage", "networkx"):
    sys.modules[name] = None
from subregion import CocoSampler
from subregion.errors import MissingPackageError
from subregion.sampling.demo import shapes
sampler = CocoSampler(shapes("shapes2"), backend=None)
sample = sampler.load_sample({"gid": 1})
annotations = sample["annots"].annotations
print(annotations.boxes.shape[1])
calls = {
    "segmentations": lambda: annotations.segmentations,
    "mask": lambda: annotations.to_mask(),
    "params": lambda: sample["params"]["sample_tlbr"],
    "graph": lambda: sampler.classes.graph,
}
for name, call in calls.items():
    try:
        call()
    except MissingPackageError as error:
        print(name, str(error).split(" needs ")[1])
"""
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.splitlines() == [
        "4",
        "segmentations shapely: pip install 'subregion[samples]'.",
        "mask shapely: pip install 'subregion[samples]'.",
        "params kwimage: pip install kwimage.",
        "graph networkx: pip install networkx.",
    ]


def test_shapes_of_ours(tmp_path: Path) -> None:
    for key, stacks in (("shapes3", False), ("vidshapes2", True)):
        dataset = shapes(key, tmp_path)
        assert dataset == shapes(key, tmp_path)
        sampler = CocoSampler(dataset, backend=None)
        assert len(sampler) == len(dataset["annotations"]) > 0
        for sample in sampler:
            # The middle of a shape has its colour.
            middle = sample["im"][tuple(np.array(sample["im"].shape[:2]) // 2)]
            assert middle.tolist() != [235, 235, 235]
        assert len(dataset["videos"]) == (2 if stacks else 0)
    with pytest.raises(ConfigError, match="shapes"):
        shapes("photos")


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_demo() -> None:
    sampler = CocoSampler.demo("shapes2")
    assert len(sampler.frames) == 2
    assert sampler[0]["im"].ndim == 3
