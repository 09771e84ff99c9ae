"""Rasters of labels beside the image: cut by the window and the transform of the sample, by nearest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from subregion import CocoFrames, CocoSampler
from subregion.errors import RecordError

_S = slice
#: Rows and columns of the image; labels have half as many.
SIZE = 60, 80
_COLORS = [0, 0, 0, 9, 90, 200, 20, 130, 40, 200, 0, 0]


@pytest.fixture
def labels() -> NDArray[np.uint8]:
    return np.random.default_rng(2).integers(0, 4, (SIZE[0] // 2, SIZE[1] // 2), dtype=np.uint8)


@pytest.fixture
def dataset(tmp_path: Path, labels: NDArray[np.uint8]) -> dict[str, Any]:
    """Return a frame of a video of twice its size: a photograph, and a palette of its classes."""
    pixels = np.random.default_rng(3).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    mask = Image.fromarray(labels, "P")
    mask.putpalette(_COLORS)
    mask.save(tmp_path / "classes.png")
    photo = {"file_name": "photo.png", "channels": "r|g|b", "width": SIZE[1], "height": SIZE[0]}
    classes = {
        "file_name": "classes.png",
        "channels": "classes",
        "warp_aux_to_img": {"scale": 2},
        "palette": "index",
        "labels": True,
    }
    image: dict[str, Any] = {
        "id": 1,
        "file_name": None,
        "width": SIZE[1],
        "height": SIZE[0],
        "assets": [photo, classes],
    }
    image |= {"video_id": 1, "frame_index": 0, "warp_img_to_vid": {"scale": 2}}
    box = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [20, 10, 16, 12]}
    return {
        "images": [image],
        "videos": [{"id": 1, "name": "one", "width": 2 * SIZE[1], "height": 2 * SIZE[0]}],
        "annotations": [box],
        "categories": [{"id": 1, "name": "cat"}],
    }


def _nearest(
    labels: NDArray[np.uint8], window: tuple[slice, slice], scale: float, size: float, outside: int
) -> NDArray[np.uint8]:
    """Return the labels under the centres of the pixels of a window, of something `size` times as large."""
    places = []
    for part, length in zip(window, labels.shape, strict=True):
        count = round((part.stop - part.start) * scale)
        place = np.floor(((np.arange(count) + 0.5) / scale + part.start) / size).astype(int)
        places.append(np.where((place >= 0) & (place < length), place, length))
    return np.pad(labels, ((0, 1), (0, 1)), constant_values=outside)[np.ix_(*places)]


@pytest.mark.parametrize("backend", [None, "npy", "cog"])
@pytest.mark.parametrize("scale", [1, 0.5, 2, 4])
def test_labels_are_cut_as_the_image_is(
    backend: str | None, scale: float, dataset: dict[str, Any], labels: NDArray[np.uint8], tmp_path: Path
) -> None:
    sampler = CocoSampler(dataset, tmp_path / "work", backend=backend, root=tmp_path)
    window = _S(-6, 30), _S(40, 90)
    for which, size in (({"gid": 1}, 2), ({"vidid": 1}, 4)):
        target = {**which, "slices": window, "scale": scale}
        image = sampler.load_sample({**target, "channels": "r|g|b"})
        found = sampler.load_sample({**target, "channels": "classes", "padkw": {"constant_values": 255}})
        assert found["im"].dtype == np.uint8
        assert found["im"].shape[:-1] == image["im"].shape[:-1]
        for key in ("offset", "tf_rel_to_abs"):
            np.testing.assert_array_equal(found["params"][key], image["params"][key])
        classes = found["im"].reshape(found["im"].shape[-3:-1])
        np.testing.assert_array_equal(classes, _nearest(labels, window, scale, size, 255))
        # Beside the bands of the image, too, whatever these are read by.
        together = sampler.load_sample({**target, "channels": "r|g|b|classes", "interpolation": "linear"})
        np.testing.assert_array_equal(together["im"][..., :3], image["im"])
        expected = _nearest(labels, window, scale, size, 0)
        np.testing.assert_array_equal(together["im"].reshape(*classes.shape, 4)[..., 3], expected)


def test_windows_of_annotations_hold_their_labels(
    dataset: dict[str, Any], labels: NDArray[np.uint8], tmp_path: Path
) -> None:
    sampler = CocoSampler(dataset, backend=None, root=tmp_path)
    sample = sampler.load_positive(0, target={"channels": "classes"})
    np.testing.assert_array_equal(sample["im"][..., 0], labels[5:11, 10:18].repeat(2, 0).repeat(2, 1))


def test_entries_say_what_values_are(dataset: dict[str, Any], tmp_path: Path) -> None:
    asset = dataset["images"][0]["assets"][1]
    frames = CocoFrames(dataset, backend=None, root=tmp_path)
    assert frames.record(1).assets[1].labels
    assert frames.record(1).assets[1].palette == "index"
    del asset["palette"], asset["labels"]
    assert frames.record(1).assets[1].palette == "rgb"
    indices = CocoSampler(dataset, backend=None, root=tmp_path, palette="index").frames
    assert indices.record(1).assets[1].palette == "index"
    for key, value in (("labels", "yes"), ("palette", "bogus"), ("palette", 3)):
        asset[key] = value
        with pytest.raises(RecordError, match=rf"classes\.png: {key}="):
            frames.record(1)
        del asset[key]
    # An image may have something of its own under these names.
    dataset["images"][0] |= {"labels": ["cat", "dog"], "palette": [1, 2, 3]}
    assert not frames.record(1).assets[0].labels
    dataset["images"][0] |= {"labels": "cat", "palette": "warm"}
    assert not frames.record(1).assets[0].labels
    dataset["images"][0] |= {"labels": True, "file_name": "photo.png", "assets": []}
    assert frames.record(1).assets[0].labels
