"""Whole images: their ids, going through them, and what is mapped of their copies."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from faces import refused
from pictures import save_png
from subregion import (
    Asset,
    CocoFrames,
    Frames,
    ImageRecord,
    SimpleFrames,
)
from subregion.errors import (
    SourceNotFoundError,
    UnknownChannelError,
)

pytestmark = pytest.mark.filterwarnings("error::ResourceWarning", "error::numpy.exceptions.ComplexWarning")


@pytest.fixture
def picture(tmp_path: Path, photograph: NDArray[np.uint8]) -> Path:
    path = tmp_path / "a.png"
    save_png(path, photograph)
    return path


@pytest.fixture
def scene(picture: Path, photograph: NDArray[np.uint8], workdir: Path) -> CocoFrames:
    """An image of two files, under a backend that makes copies."""
    save_png(picture.with_name("half.png"), photograph[::2, ::2, 0])
    half = {"file_name": "half.png", "channels": "x", "warp_aux_to_img": {"type": "affine", "scale": 2}}
    image = {
        "id": 1,
        "file_name": "a.png",
        "width": 600,
        "height": 400,
        "channels": "r|g|b",
        "assets": [half],
    }
    return CocoFrames({"images": [image]}, workdir, "npy", root=picture.parent)


class Few(Frames):
    """A collection of one's own that supplies what it must."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    @property
    def image_ids(self) -> list[Any]:
        return [1, "two"]

    def record(self, image_id: Any) -> ImageRecord:
        return ImageRecord(image_id, (Asset(str(self.path)),))


def test_asking_for_an_id_reads_nothing_and_going_through_reads_one_by_one(
    picture: Path, photograph: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = picture.with_name("missing.png")
    for frames in (SimpleFrames({1: picture, "two": missing}), Few(picture)):
        for image_id in (1, "two"):
            assert image_id in frames
        others: list[Any] = [0, "one", None, [1], np.arange(2), np.zeros((400, 600, 3))]
        for other in others:
            assert other not in frames
    images = iter(SimpleFrames({1: picture, "two": missing}))
    np.testing.assert_array_equal(next(images), photograph)
    with pytest.raises(SourceNotFoundError):
        next(images)
    for image in Few(picture):
        np.testing.assert_array_equal(image, photograph)
    assert len(list(Few(picture))) == 2


def test_a_whole_npy_image_is_mapped_once(
    picture: Path, workdir: Path, photograph: NDArray[np.uint8]
) -> None:
    frames = SimpleFrames({1: picture}, workdir, "npy")
    first, second = frames.load_image(1), frames.load_image(1)
    assert isinstance(first, np.memmap)
    assert isinstance(second, np.memmap)
    assert first is not second
    assert np.shares_memory(first, second)
    assert not first.flags.writeable
    with pytest.raises(ValueError, match="WRITEABLE"):
        first.flags.writeable = True
    second.shape = (1, *second.shape)  # the caller's own
    assert frames.load_image(1).shape == (400, 600, 3)  # type: ignore[union-attr]
    np.testing.assert_array_equal(first, photograph)


@pytest.mark.parametrize("harm", ["deleted", "data deleted", "truncated", "source replaced", "all deleted"])
def test_a_mapped_image_is_made_again_when_it_is_gone(
    harm: str, picture: Path, workdir: Path, photograph: NDArray[np.uint8]
) -> None:
    import shutil

    expected = photograph
    for warm in (False, True):
        frames = SimpleFrames({1: picture}, workdir, "npy")
        frames.load_region(1, slice(0, 5))
        before = frames.load_image(1) if warm else None
        (data,) = frames.cache_dpath.rglob("*.npy")
        if harm == "all deleted":
            shutil.rmtree(workdir)
        elif harm == "source replaced":
            expected = 255 - expected
            save_png(picture.with_name("b.png"), expected)
            picture.with_name("b.png").replace(picture)
        elif harm == "truncated":
            with data.open("r+b") as file:
                file.truncate(1000)
        else:
            data.unlink()
            if harm == "deleted":
                data.with_name(f"{data.name.split('.')[0]}.json").unlink()
        got = frames.load_image(1)
        assert isinstance(got, np.memmap)
        np.testing.assert_array_equal(got, expected)
        assert Path(str(got.filename)).exists()
        if before is not None and harm in ("deleted", "data deleted", "all deleted"):
            np.testing.assert_array_equal(before, expected)  # what was handed out stays


@pytest.mark.parametrize(
    ("channels", "copies"), [(None, 1), ("x", 1), ("r", 1), ("g|x", 2), ("<all>", 2), (["b"], 1)]
)
def test_making_sure_of_the_files_that_hold_channels(channels: Any, copies: int, scene: CocoFrames) -> None:
    assert scene.load_image(1, channels, noreturn=True) is None
    made = sorted(np.load(path).shape for path in scene.cache_dpath.rglob("*.npy"))
    half, whole = (200, 300, 1), (400, 600, 3)
    assert made == ([half, whole] if copies == 2 else [half] if channels == "x" else [whole])
    refused(lambda: scene.load_image(1, "nir", noreturn=True), UnknownChannelError)


def test_image_ids_of_a_large_dataset_cost_nothing() -> None:
    images = [{"id": number, "file_name": "/a.png"} for number in range(300_000)]
    frames = CocoFrames({"images": images}, backend=None)
    start = time.perf_counter()
    for number in range(0, 300_000, 3000):
        assert frames.image_ids[number] == number
        assert number in frames
        assert len(frames) == 300_000
    assert time.perf_counter() - start < 0.5
