"""Datasets that are malformed: one clear error that names the file, the image and the value, and quickly."""

from __future__ import annotations

import contextlib
import copy
import gzip
import io
import json
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from subregion import CocoFrames, SubregionError
from subregion.errors import RecordError, SourceReadError, TooLargeError, UnsupportedFormatError

INF, NAN = float("inf"), float("nan")
HUGE = 10**400


@pytest.fixture
def folder(tmp_path: Path, photograph: NDArray[np.uint8]) -> Path:
    Image.fromarray(photograph[:40, :60]).save(tmp_path / "a.png")
    Image.fromarray(photograph[:20, :30, 0]).save(tmp_path / "half.png")
    return tmp_path


def dataset() -> dict[str, Any]:
    half = {"file_name": "half.png", "channels": "x", "warp_aux_to_img": {"type": "affine", "scale": 2.0}}
    image = {
        "id": 7, "file_name": "a.png", "width": 60, "height": 40, "channels": "r|g|b", "assets": [half],
        "video_id": 3, "frame_index": 0, "warp_img_to_vid": {"type": "affine", "offset": [1.0, 2.0]},
    }  # fmt: skip
    other = {"id": 8, "file_name": "a.png", "channels": "r|g|b", "video_id": 3, "frame_index": 1}
    return {"videos": [{"id": 3, "width": 64, "height": 48}], "images": [image, other]}


def put(value: Any, *path: Any) -> Callable[[dict[str, Any]], None]:
    """A change of the dataset: a value at a place."""

    def change(document: Any) -> None:
        for key in path[:-1]:
            document = document[key]
        document[path[-1]] = value

    return change


def image(value: Any, *path: Any) -> Callable[[dict[str, Any]], None]:
    return put(value, "images", 0, *path)


def asset(value: Any, *path: Any) -> Callable[[dict[str, Any]], None]:
    return image(value, "assets", 0, *path)


def warp(**document: Any) -> Callable[[dict[str, Any]], None]:
    return asset(document, "warp_aux_to_img")


def quantization(**changes: Any) -> Callable[[dict[str, Any]], None]:
    whole = {"orig_min": 0.0, "orig_max": 1.0, "quant_min": 0, "quant_max": 255}
    return image(whole | changes, "quantization")


def without(*path: Any) -> Callable[[dict[str, Any]], None]:
    def change(document: Any) -> None:
        for key in path[:-1]:
            document = document[key]
        del document[path[-1]]

    return change


#: A change, and the words that the error has to hold.
CHANGES: dict[str, tuple[Callable[[dict[str, Any]], None], tuple[str, ...]]] = {
    "images null": (put(None, "images"), ("images",)),
    "images a number": (put(5, "images"), ("images",)),
    "images text": (put("abc", "images"), ("images",)),
    "images an object": (put({"7": {}}, "images"), ("images",)),
    "no images": (without("images"), ("images",)),
    "an image null": (put([None], "images"), ("images[0]", "None")),
    "an image a number": (put(8, "images", 1), ("images[1]", "8")),
    "an image a list": (put([1], "images", 1), ("images[1]", "[1]")),
    "an image text": (put("id", "images", 1), ("images[1]", "id")),
    "no id": (without("images", 1, "id"), ("images[1]", "id", "a.png")),
    "id null": (image(None, "id"), ("images[0]", "None")),
    "id a list": (image([1], "id"), ("images[0]", "[1]")),
    "id an object": (image({"a": 1}, "id"), ("images[0]", "'a'")),
    "id NaN": (image(NAN, "id"), ("images[0]", "nan")),
    "ids given twice": (put(7, "images", 1, "id"), ("images[0]", "images[1]", "7")),
    "an id true and one": (put([{"id": 1}, {"id": True}], "images"), ("images[1]", "True")),
    "videos a number": (put(5, "videos"), ("videos", "5")),
    "videos an object": (put({"a": 1}, "videos"), ("videos", "a")),
    "a video null": (put([None], "videos"), ("videos[0]", "None")),
    "a video without id": (put([{"width": 3}], "videos"), ("videos[0]", "id")),
    "videos given twice": (put([{"id": 3}, {"id": 3}], "videos"), ("videos[1]", "3")),
    "video id a list": (put([{"id": [3]}], "videos"), ("videos[0]", "[3]")),
    "width of a video": (put(INF, "videos", 0, "width"), ("video 3", "width=inf")),
    "width infinite": (image(INF, "width"), ("image 7", "width=inf")),
    "width NaN": (image(NAN, "width"), ("image 7", "width=nan")),
    "width text": (image("60", "width"), ("image 7", "width='60'")),
    "width a list": (image([60], "width"), ("image 7", "width=[60]")),
    "width true": (image(True, "width"), ("image 7", "width=True")),
    "width zero": (image(0, "width"), ("image 7", "width=0")),
    "width negative": (image(-60, "width"), ("image 7", "width=-60")),
    "width broken": (image(60.5, "width"), ("image 7", "width=60.5")),
    "width huge": (image(HUGE, "width"), ("image 7", "width=a number of")),
    "width 2**63": (image(2**63, "width"), ("image 7", "width=9223372036854775808")),
    "height huge": (image(1e300, "height"), ("image 7", "height=1e+300")),
    "height of an asset": (asset(INF, "height"), ("image 7", "assets[0].height=inf")),
    "bands text": (asset("three", "num_bands"), ("image 7", "assets[0].num_bands='three'")),
    "nodata text": (image("abc", "nodata"), ("image 7", "nodata='abc'")),
    "nodata a list": (image([0], "nodata"), ("image 7", "nodata=[0]")),
    "nodata true": (image(True, "nodata"), ("image 7", "nodata=True")),
    "nodata huge": (image(HUGE, "nodata"), ("image 7", "nodata=a number of")),
    "nodata an object": (asset({"a": 1}, "nodata"), ("image 7", "assets[0].nodata=")),
    "file_name a list": (image(["a.png"], "file_name"), ("image 7", "file_name=['a.png']")),
    "file_name a number": (image(3, "file_name"), ("image 7", "file_name=3")),
    "file_name with NUL": (image("a\0.png", "file_name"), ("image 7", "a\\x00.png")),
    "file_name empty": (image("", "file_name"), ("image 7", "file_name=''")),
    "file_name half a character": (image("\ud800.png", "file_name"), ("image 7", "\\ud800.png")),
    "file_name of an asset": (asset({"a": 1}, "file_name"), ("image 7", "assets[0].file_name=")),
    "file_name up and away": (image("../a.png", "file_name"), ("image 7", "../a.png")),
    "file_name endless": (image("a" * 100_000, "file_name"), ("aaaa",)),
    "assets a number": (image(5, "assets"), ("image 7", "assets=5")),
    "assets text": (image("abc", "assets"), ("image 7", "assets='abc'")),
    "assets an object": (image({"file_name": "a.png"}, "assets"), ("image 7", "assets=")),
    "an asset null": (image([None], "assets"), ("image 7", "assets[0]=None")),
    "an asset a list": (image([[]], "auxiliary"), ("image 7", "auxiliary[0]=[]")),
    "channels a number": (image(3, "channels"), ("image 7", "channels=3")),
    "channels with a number": (image(["r", 3], "channels"), ("image 7", "channels[1]=3")),
    "channels an object": (image({"r": 1}, "channels"), ("image 7", "channels=")),
    "channels empty": (image("r||b", "channels"), ("image 7", "r||b")),
    "channels beyond count": (image("99999999999999999999", "channels"), ("image 7", "channels")),
    "channels of many digits": (image("9" * 5000, "channels"), ("image 7", "channels")),
    "channels of a long range": (image(f"a:{10**30}", "channels"), ("image 7", "channels")),
    "channels of many ranges": (image("|".join(["65000"] * 10_000), "channels"), ("image 7", "channels")),
    "channels in two files": (asset("r", "channels"), ("image 7", "'r'")),
    "transform a number": (asset(5, "warp_aux_to_img"), ("image 7", "assets[0].warp_aux_to_img=5")),
    "transform a list": (asset([1, 0, 0], "warp_aux_to_img"), ("image 7", "warp_aux_to_img=[1, 0, 0]")),
    "transform of another kind": (warp(type="homography", matrix=[[1]]), ("image 7", "homography")),
    "transform with other keys": (warp(zoom=3), ("image 7", "zoom")),
    "theta infinite": (warp(theta=INF), ("image 7", "theta=inf")),
    "theta NaN": (warp(theta=NAN), ("image 7", "theta=nan")),
    "theta text": (warp(theta="0.5"), ("image 7", "theta='0.5'")),
    "theta huge": (warp(theta=HUGE), ("image 7", "theta=a number of")),
    "scale zero": (warp(scale=0), ("half.png", "singular")),
    "scale tiny": (warp(scale=1e-300), ("half.png", "singular")),
    "scale small": (warp(scale=1e-30), ("half.png", "singular")),
    "scale infinite": (warp(scale=INF), ("image 7", "scale=inf")),
    "scale of three": (warp(scale=[1, 2, 3]), ("image 7", "scale=[1, 2, 3]")),
    "scale text": (warp(scale="ab"), ("image 7", "scale='ab'")),
    "offset null in a pair": (warp(offset=[1, None]), ("image 7", "offset[1]=None")),
    "offset far out": (warp(offset=1e300), ("image 7", "offset=1e+300")),
    "about text": (warp(about="me"), ("image 7", "about='me'")),
    "shear NaN": (warp(shearx=NAN), ("image 7", "shearx=nan")),
    "matrix a number": (warp(matrix=5), ("image 7", "matrix=5")),
    "matrix empty": (warp(matrix=[]), ("image 7", "matrix")),
    "matrix of one row": (warp(matrix=[[1, 0, 0]]), ("image 7", "matrix")),
    "matrix ragged": (warp(matrix=[[1, 0, 0], [0, 1]]), ("image 7", "matrix")),
    "matrix projective": (warp(matrix=[[1, 0, 0], [0, 1, 0], [0.1, 0, 1]]), ("image 7", "0.1")),
    "matrix NaN": (warp(matrix=[[1, 0, NAN], [0, 1, 0]]), ("image 7", "matrix[0][2]=nan")),
    "matrix infinite": (warp(matrix=[[INF, 0, 0], [0, 1, 0]]), ("image 7", "matrix[0][0]=inf")),
    "matrix text": (warp(matrix=[["1", 0, 0], [0, 1, 0]]), ("image 7", "matrix[0][0]='1'")),
    "matrix singular": (warp(matrix=[[1, 1, 0], [1, 1, 0]]), ("half.png", "singular")),
    "matrix huge": (warp(matrix=[[HUGE, 0, 0], [0, 1, 0]]), ("image 7", "matrix[0][0]")),
    "to video a list": (image([1], "warp_img_to_vid"), ("image 7", "warp_img_to_vid=[1]")),
    "to video NaN": (image({"offset": NAN}, "warp_img_to_vid"), ("image 7", "offset=nan")),
    "video_id a list": (image([3], "video_id"), ("image 7", "video_id=[3]")),
    "frame_index text": (image("first", "frame_index"), ("image 7", "frame_index='first'")),
    "frame_index a list": (image([0], "frame_index"), ("image 7", "frame_index=[0]")),
    "frame_index broken": (image(0.5, "frame_index"), ("image 7", "frame_index=0.5")),
    "frame_index true": (image(True, "frame_index"), ("image 7", "frame_index=True")),
    "frame_index huge": (image(HUGE, "frame_index"), ("image 7", "frame_index")),
    "quantization a list": (image([0, 1], "quantization"), ("image 7", "quantization=[0, 1]")),
    "quantization text": (image("u8", "quantization"), ("image 7", "quantization='u8'")),
    "quantization incomplete": (image({"orig_min": 0}, "quantization"), ("image 7", "quantization=")),
    "quantization NaN": (quantization(orig_max=NAN), ("image 7", "orig_max=nan")),
    "quantization text in it": (quantization(quant_max="255"), ("image 7", "quant_max='255'")),
    "quantization of nothing": (quantization(quant_max=0), ("image 7", "spans no values")),
    "quantization nodata": (quantization(nodata="x"), ("image 7", "'x'")),
    "no file": (put([{"id": 7}], "images"), ("image 7", "file_name")),
}  # fmt: skip

#: What no JSON can hold.
OBJECTS: dict[str, tuple[Callable[[dict[str, Any]], None], tuple[str, ...]]] = {
    "an id that is an array": (image(np.arange(3), "id"), ("images[0]", "array")),
    "a width that is an object": (image(object(), "width"), ("image 7", "width=<object")),
    "a width that is complex": (image(60j, "width"), ("image 7", "width=60j")),
    "a file_name of bytes": (image(b"a.png", "file_name"), ("image 7", "file_name=b'a.png'")),
    "a transform with numbers as keys": (asset({1: 2}, "warp_aux_to_img"), ("image 7", "warp_aux_to_img")),
    "assets that are a set": (image({1}, "assets"), ("image 7", "assets")),
    "a matrix of objects": (warp(matrix=np.array([[object()] * 3] * 2)), ("image 7", "matrix[0][0]")),
}


def read_all(frames: CocoFrames) -> None:
    frames.load_region(7, (slice(0, 5), slice(0, 5)), "<all>")
    frames.load_region(7, space="video")
    frames.load_clip(3)


def refused(words: tuple[str, ...], source: Any, root: Path) -> SubregionError:
    start = time.monotonic()
    with pytest.raises(SubregionError) as caught:
        read_all(CocoFrames(source, backend=None, root=root))
    assert time.monotonic() - start < 5
    message = str(caught.value)
    for word in words:
        assert word in message
    assert "\n" not in message
    assert len(message) < 2000 or "aaaa" in message
    return caught.value


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("form", ["file", "dict"])
def test_malformed_entries(form: str, change: str, folder: Path) -> None:
    document = dataset()
    read_all(CocoFrames(document, backend=None, root=folder))
    CHANGES[change][0](document)
    words = CHANGES[change][1]
    if form == "dict":
        refused(words, document, folder)
        return
    path = folder / "data.kwcoco.json"
    path.write_text(json.dumps(document))
    error = refused(words, path, folder)
    if not isinstance(error, SourceReadError):  # which names the image
        assert str(path) in str(error) or "half.png" in str(error) or "channel 'r'" in str(error)


@pytest.mark.parametrize("change", CHANGES | OBJECTS)
def test_edits_that_make_a_dataset_malformed(change: str, folder: Path) -> None:
    document = dataset()
    frames = CocoFrames(document, backend=None, root=folder)
    read_all(frames)
    (CHANGES | OBJECTS)[change][0](document)
    with pytest.raises(SubregionError):
        read_all(frames)


@pytest.mark.parametrize("change", OBJECTS)
def test_objects_in_entries(change: str, folder: Path) -> None:
    document = dataset()
    OBJECTS[change][0](document)
    refused(OBJECTS[change][1], document, folder)


def test_what_holds_itself(folder: Path) -> None:
    document = dataset()
    document["images"][0]["assets"].append(document["images"][0])
    refused(("image 7", "holds itself"), document, folder)
    document = dataset()
    document["images"][0]["mine"] = document
    read_all(CocoFrames(document, backend=None, root=folder))


def test_numpy_and_paths_stand_for_what_they_are(folder: Path, photograph: NDArray[np.uint8]) -> None:
    document = dataset()
    document["images"][0] |= {
        "width": np.int64(60), "height": np.float64(40), "nodata": np.float32(3),
        "file_name": folder / "a.png", "channels": ("r", "g", "b"),
    }  # fmt: skip
    document["images"][0]["assets"][0]["warp_aux_to_img"] = {"matrix": np.diag([2.0, 2, 1])}
    frames = CocoFrames(document, backend=None, root=folder)
    np.testing.assert_array_equal(frames.load_region(7), photograph[:40, :60])
    assert frames.load_region(7, None, "x").shape == (40, 60, 1)


@pytest.mark.parametrize("name", ["NaN", "Infinity", "a mark of byte order", "UTF-16", "half a character"])
def test_what_only_python_parses_is_read_all_the_same(
    name: str, folder: Path, photograph: NDArray[np.uint8]
) -> None:
    document = dataset() | {"annotations": [{"id": 1, "image_id": 7, "score": 0.5}]}
    if name == "half a character":
        document["images"][1]["caption"] = "\ud83d"
    text = json.dumps(document)
    if name in ("NaN", "Infinity"):
        text = text.replace("0.5", name)
    coding = {"a mark of byte order": "utf-8-sig", "UTF-16": "utf-16"}.get(name, "utf-8")
    path = folder / "data.json"
    path.write_bytes(text.encode(coding))
    frames = CocoFrames(path, backend=None)
    assert list(frames.image_ids) == [7, 8]
    assert dict(frames.image(7)) == document["images"][0]
    np.testing.assert_array_equal(frames.load_region(7), photograph[:40, :60])
    assert frames.load_clip(3).shape == (2, 48, 64, 3)


def packed(text: bytes) -> bytes:
    return gzip.compress(text, mtime=0)


def zipped(text: bytes, method: int = zipfile.ZIP_DEFLATED, names: tuple[str, ...] = ("a.json",)) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name in names:
            archive.writestr(name, text)
    return file.getvalue()


def encrypted(data: bytes) -> bytes:
    """Say of the member of an archive that it is encrypted."""
    changed = bytearray(data)
    changed[6] |= 1
    changed[data.index(b"PK\x01\x02") + 8] |= 1
    return bytes(changed)


def flipped(data: bytes, at: int) -> bytes:
    changed = bytearray(data)
    changed[at] ^= 0x55
    return bytes(changed)


TEXT = json.dumps(dataset()).encode()
LONG = json.dumps(dataset() | {"info": [os.urandom(50).hex() for _ in range(300)]}).encode()
FILES: dict[str, bytes] = {
    "empty": b"",
    "a brace": b"{",
    "cut": TEXT[:200],
    "rubbish behind": TEXT + b"}",
    "a list": b"[]",
    "a list of images": b'[{"id": 7, "file_name": "a.png"}]',
    "a number": b"5",
    "null": b"null",
    "text": b'"images"',
    "NUL": bytes(1000),
    "no UTF-8": TEXT.replace(b"a.png", b"\xff.png"),
    "UTF-16 cut": TEXT.decode().encode("utf-16")[:101],
    "a bad escape": TEXT.replace(b"a.png", b"\\x.png"),
    "deep lists": b'{"images": ' + b"[" * 200_000,
    "deep lists elsewhere": b'{"images": [], "info": ' + b"[" * 200_000 + b"]" * 200_000 + b"}",
    "deep objects": b'{"images": ' + b'{"a":' * 200_000,
    "a deep entry": TEXT.replace(b'"a.png"', b"[" * 200_000 + b"]" * 200_000),
    "digits": b'{"images": ' + b"9" * 100_000 + b"}",
    "an id of digits": TEXT.replace(b'"id": 7', b'"id": ' + b"9" * 5000),
    "a size of digits": TEXT.replace(b'"width": 60', b'"width": ' + b"9" * 5000),
    "gzip of nothing": packed(b""),
    "gzip of a list": packed(b"[]"),
    "gzip cut": packed(LONG)[:-500],
    "gzip cut to its head": packed(LONG)[:12],
    "gzip without its sum": packed(LONG)[:-8],
    "gzip with a wrong sum": flipped(packed(LONG), -6),
    "gzip flipped": flipped(packed(LONG), 300),
    "gzip by another method": flipped(packed(LONG), 2),
    "gzip with flags": b"\x1f\x8b\x08\xff" + packed(LONG)[4:],
    "gzip and rubbish": packed(LONG) + b"rubbish",
    "zip of nothing": zipped(b"", names=()),
    "zip of two": zipped(TEXT, names=("a.json", "b.json")),
    "zip of other files": zipped(TEXT, names=("a.txt",)),
    "zip of a list": zipped(b"[]"),
    "zip cut": zipped(LONG)[:-300],
    "zip flipped": flipped(zipped(LONG), 300),
    "zip flipped in its list": flipped(zipped(LONG), zipped(LONG).index(b"PK\x01\x02") + 16),
    "zip, stored and flipped": flipped(zipped(LONG, zipfile.ZIP_STORED), 300),
    "zip by bzip2": zipped(LONG, zipfile.ZIP_BZIP2),
    "zip by lzma": zipped(LONG, zipfile.ZIP_LZMA),
    "zip, encrypted": encrypted(zipped(LONG)),
    "a picture": b"\x89PNG\r\n\x1a\n" + bytes(100),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.filterwarnings("error::ResourceWarning")
def test_malformed_files(name: str, folder: Path) -> None:
    path = folder / "data.json"
    path.write_bytes(FILES[name])
    error = refused((), path, folder)
    assert str(path) in str(error)


@pytest.mark.parametrize("pack", [packed, zipped])
def test_any_flipped_byte_of_a_packed_file_is_an_error_or_nothing(
    pack: Callable[[bytes], bytes], folder: Path
) -> None:
    data = pack(TEXT)
    path = folder / "data"
    for at in range(len(data)):
        path.write_bytes(flipped(data, at))
        with contextlib.suppress(SubregionError):
            read_all(CocoFrames(path, backend=None, root=folder))


def test_any_flipped_byte_of_a_dataset_is_an_error_or_nothing(folder: Path) -> None:
    path = folder / "data.json"
    for at in range(len(TEXT)):
        path.write_bytes(flipped(TEXT, at))
        with contextlib.suppress(SubregionError):
            read_all(CocoFrames(path, backend=None, root=folder))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="uses pipes")
def test_a_pipe_is_not_waited_for(folder: Path) -> None:
    os.mkfifo(folder / "data.json")
    with pytest.raises(UnsupportedFormatError, match="no regular file"):
        CocoFrames(folder / "data.json", backend=None)
    with pytest.raises(SubregionError, match="folder"):
        CocoFrames(folder, backend=None)


@pytest.mark.parametrize("kind", ["gzip", "zip"])
def test_a_bomb_is_refused_in_bounded_memory(kind: str, folder: Path) -> None:
    path = folder / "bomb"
    body = (b'{"images": [' + b" " * ((1 << 20) - 12), b" " * (1 << 20))
    with path.open("wb") as raw:
        if kind == "gzip":
            with gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=6) as file:
                file.write(body[0])
                for _ in range(300):
                    file.write(body[1])
        else:
            with (
                zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED) as archive,
                archive.open("a.json", "w", force_zip64=True) as member,
            ):
                member.write(body[0])
                for _ in range(300):
                    member.write(body[1])
    assert path.stat().st_size < 4 << 20
    code = (
        "import sys, resource\n"
        "from subregion import CocoFrames\n"
        "from subregion.errors import TooLargeError\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: CocoFrames(sys.argv[1], backend=None)\n"
        "except TooLargeError as error: print('bomb' in str(error))\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    environment = os.environ | {"SUBREGION_BOMB_BYTES": str(32 << 20)}
    answer = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        capture_output=True, text=True, timeout=60, check=True, env=environment,
    ).stdout.split()  # fmt: skip
    assert answer[0] == "True"
    assert int(answer[1]) * 1024 < 2 * 200 * path.stat().st_size + (64 << 20)


def test_limits_of_a_dataset_can_be_set(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / "data.json"
    path.write_bytes(TEXT)
    monkeypatch.setenv("SUBREGION_MAX_JSON_BYTES", "100")
    with pytest.raises(TooLargeError, match="SUBREGION_MAX_JSON_BYTES"):
        CocoFrames(path, backend=None)


def test_one_bad_image_spares_the_others(folder: Path, photograph: NDArray[np.uint8]) -> None:
    document = dataset()
    document["images"][0]["width"] = "wide"
    path = folder / "data.json"
    path.write_text(json.dumps(document))
    for source in (path, copy.deepcopy(document)):
        frames = CocoFrames(source, backend=None, root=folder)
        assert 7 in frames
        np.testing.assert_array_equal(frames.load_region(8), photograph[:40, :60])
        with pytest.raises(RecordError, match="width='wide'"):
            frames.load_region(7)
