"""Paths as users write them, and files that fail to open."""

from __future__ import annotations

import builtins
import gc
import io
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import subregion
from faces import refused
from pictures import save_png
from subregion import (
    CocoFrames,
    SimpleFrames,
    SubregionError,
    VideoFrames,
)
from subregion.errors import (
    ConfigError,
    PathTypeError,
    RecordError,
    SourceNotFoundError,
)

pytestmark = pytest.mark.filterwarnings("error::ResourceWarning", "error::numpy.exceptions.ComplexWarning")


@pytest.fixture
def picture(tmp_path: Path, photograph: NDArray[np.uint8]) -> Path:
    path = tmp_path / "a.png"
    save_png(path, photograph)
    return path


class NoPath:
    def __fspath__(self) -> Any:
        return 5


PATHS: dict[str, tuple[Any, type[Exception]]] = {
    "None": (None, PathTypeError),
    "a number": (5, PathTypeError),
    "a float": (1.5, PathTypeError),
    "a list": ([1], PathTypeError),
    "a dict": ({"a": 1}, PathTypeError),
    "a tuple": (("a.png",), PathTypeError),
    "an object": (object(), PathTypeError),
    "pixels": (np.zeros((5, 5)), PathTypeError),
    "a buffer": (io.BytesIO(b"abc"), PathTypeError),
    "a path that is none": (NoPath(), PathTypeError),
    "NUL": ("a\0b.png", SourceNotFoundError),
    "bytes with NUL": (b"a\0b.png", SourceNotFoundError),
    "nothing": ("", SourceNotFoundError),
    "half a character": ("\ud800.png", SourceNotFoundError),
    "nobody's home": ("~nobodyatall/a.png", SourceNotFoundError),
    "missing": (b"missing.png", SourceNotFoundError),
    "endless": ("x" * 500, SubregionError),
}


@pytest.mark.parametrize("case", PATHS)
def test_paths_that_are_none(case: str, workdir: Path, tmp_path: Path) -> None:
    path, error = PATHS[case]
    for backend in (None, "npy"):
        refused(lambda: subregion.open(path, backend, workdir).shape, error)  # noqa: B023
        refused(lambda: SimpleFrames({1: path}, workdir, backend).load_region(1), error)  # noqa: B023
    refused(lambda: SimpleFrames.from_folder(path), error)
    refused(lambda: len(VideoFrames({1: path})), error)
    if not isinstance(path, dict):
        refused(lambda: CocoFrames(path, backend=None))
        refused(lambda: len(VideoFrames(path)))
    if path is not None:
        frames = refused
        frames(lambda: CocoFrames({"images": [{"id": 1, "file_name": "a.png"}]}, root=path).load_region(1))


def test_paths_of_any_kind(picture: Path, photograph: NDArray[np.uint8]) -> None:
    for path in (picture, str(picture), os.fsencode(picture), np.str_(picture)):
        np.testing.assert_array_equal(subregion.open(path, None)[:], photograph)
        np.testing.assert_array_equal(SimpleFrames({1: path}).load_region(1), photograph)  # type: ignore[dict-item]
        assert SimpleFrames.from_folder(os.path.dirname(path)).image_ids == ["a.png"]  # type: ignore[arg-type]
    with builtins.open(picture, "rb") as file:
        refused(lambda: subregion.open(file), PathTypeError, "give its name")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "pattern", ["", ".", "/etc/*", "../*", "**x/*", "a\0b", 5, None, [5], [None], b"*.png", ["*.png", ""]]
)
def test_patterns_without_meaning(pattern: Any, picture: Path) -> None:
    refused(lambda: SimpleFrames.from_folder(picture.parent, pattern), ConfigError, "pattern=")


def test_folders_that_cannot_be_looked_into(picture: Path) -> None:
    refused(lambda: SimpleFrames.from_folder(picture), SourceNotFoundError, "no folder")
    refused(lambda: SimpleFrames.from_folder(picture.parent, "x" * 500), SubregionError)


@pytest.mark.parametrize("frame", ["1", 1.5, -1, True, [1], object()])
def test_frames_without_meaning(frame: Any, picture: Path) -> None:
    refused(lambda: subregion.open(picture, frame=frame), RecordError, "frame=")


BAD_FILES = {
    "a.png": b"\x89PNG\r\n\x1a\n" + bytes(30),
    "a.tif": b"II*\0\x08\0\0\0" + bytes(50),
    "a.npy": b"\x93NUMPY\x01\0" + bytes(50),
    "a.jpg": b"\xff\xd8\xff\xe0" + bytes(50),
    "a.zarr": b"{}",
    "a.json": b'{"images": [null]}',
    "b.json": b"\x1f\x8b\x08\0" + bytes(50),
    "a.zip": b"PK\x03\x04" + bytes(50),
    "a.txt": b"text",
    "a.mkv": b"\x1aE\xdf\xa3" + bytes(50),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_failed_open_closes_what_it_opened(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(BAD_FILES[name])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        calls: list[Callable[[], Any]] = [
            lambda: CocoFrames(path, backend=None).image_ids[0],
            lambda: len(VideoFrames(path)),
            lambda: SimpleFrames.from_folder(path),
        ]
        for call in calls:
            with pytest.raises(SubregionError):
                call()
        gc.collect()
    assert not [each for each in caught if issubclass(each.category, ResourceWarning)]


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes")
@pytest.mark.parametrize("backend", [None, "npy", "cog", "zarr", "jpeg", "auto"])
@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "bmp", "webp", "jp2", "tif", "avif", "npy"])
def test_names_need_not_be_utf_8(
    suffix: str, backend: str | None, tmp_path: Path, photograph: NDArray[np.uint8]
) -> None:
    plain = tmp_path / f"plain.{suffix}"
    if suffix == "npy":
        np.save(plain, photograph)
    else:
        Image.fromarray(photograph).save(plain)
    odd = os.fsencode(tmp_path) + b"/\xff\xfe." + suffix.encode()
    Path(os.fsdecode(odd)).write_bytes(plain.read_bytes())
    workdir = os.fsdecode(os.fsencode(tmp_path) + b"/\xff")
    got = subregion.open(odd, backend, workdir)[50:150, :90]
    np.testing.assert_array_equal(got, subregion.open(plain, backend, tmp_path / "work")[50:150, :90])
    with builtins.open(odd, "r+b") as file:
        file.truncate(100)
    refused(lambda: subregion.open(odd, backend, workdir)[:])
