"""Collections beside what they read: how they are filled, shown, warned of and logged."""

from __future__ import annotations

import os
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import subregion
from faces import refused
from subregion import (
    Asset,
    CocoFrames,
    SimpleFrames,
    VideoFrames,
)
from subregion.errors import SourceNotFoundError


@pytest.fixture
def folder(tmp_path: Path, photograph: NDArray[np.uint8]) -> Path:
    """Two pictures, one of them without a name that says so."""
    root = tmp_path / "pictures"
    root.mkdir()
    Image.fromarray(photograph).save(root / "a.png")
    shutil.copy(root / "a.png", root / "scan-0001")
    return root


# --- what is in a folder --------------------------------------------------------------------------------


def test_files_that_are_no_images_are_passed_over_with_one_warning(folder: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert list(SimpleFrames.from_folder(folder).image_ids) == ["a.png", "scan-0001"]
    (folder / "bad.png").write_bytes(b"not a picture")
    (folder / "notes.txt").write_text("BMW and Porsche")
    (folder / "labels.json").write_text("{}")
    (folder / "gone.tif").symlink_to(folder / "nowhere")
    with pytest.warns(UserWarning, match="passed over") as caught:
        frames = SimpleFrames.from_folder(folder)
    assert list(frames.image_ids) == ["a.png", "bad.png", "scan-0001"]
    (warning,) = caught
    assert "2 of 5 files are no images, such as 'labels.json'" in str(warning.message)
    assert "1 link leads nowhere, such as 'gone.tif'" in str(warning.message)
    assert warning.filename == __file__


def test_a_folder_without_images_is_an_error(tmp_path: Path) -> None:
    refused(lambda: SimpleFrames.from_folder(tmp_path), SourceNotFoundError, "no file in it matches")
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere")
    refused(lambda: SimpleFrames.from_folder(tmp_path), SourceNotFoundError, "1 link leads nowhere")
    np.savez(tmp_path / "a.npz", a=np.zeros(3))
    refused(lambda: SimpleFrames.from_folder(tmp_path, "*.npz"), SourceNotFoundError, "none of 1 files")


def test_every_kind_of_image_is_known_by_its_first_bytes(
    tmp_path: Path, photograph: NDArray[np.uint8]
) -> None:
    kinds = (
        "png",
        "jpeg",
        "tiff",
        "webp",
        "gif",
        "bmp",
        "ppm",
        "jpeg2000",
        "avif",
        "qoi",
        "sgi",
        "ico",
        "dds",
    )
    for kind in kinds:
        with (tmp_path / kind).open("wb") as file:
            picture = Image.fromarray(photograph)
            picture.convert("P").save(file, kind) if kind == "gif" else picture.save(file, kind)
    with (tmp_path / "npy").open("wb") as file:
        np.save(file, photograph)
    found = SimpleFrames.from_folder(tmp_path)
    assert set(found.image_ids) >= {*kinds, "npy"} - {"ico"}  # four bytes, as many other files have them


# --- paths ------------------------------------------------------------------------------------------------


class Place:
    """What another library may have for a path."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __fspath__(self) -> str:
        return str(self.path)


def test_paths_as_users_have_them(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, photograph: NDArray[np.uint8]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (folder / "a.png").rename(folder / "ä b%.png")
    picture = folder / "ä b%.png"
    url = picture.as_uri()
    assert "%20" in url
    spellings = (url, url.replace("file:///", "file:/"), url.replace("file://", "file://localhost"),
                 "~/pictures/ä b%.png", Place(picture), os.fsencode(picture))  # fmt: skip
    for path in spellings:
        np.testing.assert_array_equal(subregion.open(path, None)[:5], photograph[:5])
        np.testing.assert_array_equal(SimpleFrames({1: path}).load_region(1, slice(5)), photograph[:5])  # type: ignore[dict-item]
        assert Asset(path).path == str(picture)  # type: ignore[arg-type]
    for root in (folder.as_uri(), "~/pictures", Place(folder)):
        assert "ä b%.png" in SimpleFrames.from_folder(root)
        workdir = str(root) + "/work" if isinstance(root, str) else Place(folder / "work")
        assert SimpleFrames({}, workdir).workdir == folder / "work"
        frames = CocoFrames({"images": [{"id": 1, "file_name": "ä b%.png"}]}, root=root, backend=None)
        assert frames.record(1).default_asset.path == str(picture)
        frames = CocoFrames({"images": [{"id": 1, "file_name": url}]}, root=root, backend=None)
        assert frames.record(1).default_asset.path == str(picture)


@pytest.mark.parametrize("url", ["http://a.b/c.png", "https://a.b/c.png", "s3://a/c.png", "gs://a/c.png"])
def test_urls_of_other_places_say_what_can_be_done(url: str, tmp_path: Path) -> None:
    calls = [
        lambda: subregion.open(url),
        lambda: SimpleFrames({1: url}).load_region(1),
        lambda: SimpleFrames.from_folder(url),
        lambda: SimpleFrames({}, url),
        lambda: Asset(url),
        lambda: VideoFrames(url),
        lambda: CocoFrames(url),
        lambda: CocoFrames({"images": [{"id": 1, "file_name": url}]}, backend=None).load_region(1),
        lambda: CocoFrames({"images": []}, root=url),
    ]
    for call in calls:
        message = refused(call)
        assert url in message
        assert "download it" in message
        assert ("mount" in message) == (not url.startswith("http"))
    refused(lambda: subregion.open("file://elsewhere/a.png"), SourceNotFoundError, "host 'elsewhere'")
