"""Records as a subclass of `Frames` makes them: checked when they are made."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine

from faces import refused
from subregion import Asset, ImageRecord, VideoPlace
from subregion.errors import PathTypeError, RecordError, SourceNotFoundError

A = Asset("/a.png")

MAKES: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "path None": (lambda: Asset(None), PathTypeError, "None"),  # type: ignore[arg-type]
    "path NUL": (lambda: Asset("/a\0b"), SourceNotFoundError, "a\\\\x00b"),
    "channels text": (lambda: Asset("/a", "rgb"), RecordError, "channels='rgb'"),  # type: ignore[arg-type]
    "channels number": (lambda: Asset("/a", 3), RecordError, "channels=3"),  # type: ignore[arg-type]
    "channels numbers": (lambda: Asset("/a", (3,)), RecordError, r"channels=\(3,\)"),  # type: ignore[arg-type]
    "transform list": (lambda: Asset("/a", None, [1, 0, 0]), RecordError, "to_image"),
    "transform array": (lambda: Asset("/a", to_image=np.eye(3)), RecordError, "to_image"),
    "width text": (lambda: Asset("/a", width="5"), RecordError, "width='5'"),  # type: ignore[arg-type]
    "width zero": (lambda: Asset("/a", width=0), RecordError, "width=0"),
    "height true": (lambda: Asset("/a", height=True), RecordError, "height=True"),
    "height float": (lambda: Asset("/a", height=5.0), RecordError, "height=5.0"),  # type: ignore[arg-type]
    "bands negative": (lambda: Asset("/a", bands=-1), RecordError, "bands=-1"),
    "nodata of 400 digits": (lambda: Asset("/a", nodata=10**400), RecordError, "no type holds it"),
    "nodata text": (lambda: Asset("/a", nodata="0"), RecordError, "nodata='0'"),  # type: ignore[arg-type]
    "quantization": (lambda: Asset("/a", quantization=2), RecordError, "=2"),  # type: ignore[arg-type]
    "frame negative": (lambda: Asset("/a", frame=-1), RecordError, "frame=-1"),
    "frame text": (lambda: Asset("/a", frame="1"), RecordError, "frame='1'"),  # type: ignore[arg-type]
    "no assets": (lambda: ImageRecord(1, ()), RecordError, "default=0 is none of 0"),
    "assets a path": (lambda: ImageRecord(1, "a.png"), RecordError, "assets='a.png'"),  # type: ignore[arg-type]
    "assets paths": (lambda: ImageRecord(1, ("a.png",)), RecordError, "assets="),  # type: ignore[arg-type]
    "default beyond": (lambda: ImageRecord(1, (A,), default=1), RecordError, "default=1"),
    "default text": (lambda: ImageRecord(1, (A,), default="a"), RecordError, "default"),  # type: ignore[arg-type]
    "image width": (lambda: ImageRecord([1], (A,), width=1.5), RecordError, "width=1.5"),  # type: ignore[arg-type]
    "video a number": (lambda: ImageRecord(1, (A,), video=3), RecordError, "video=3"),  # type: ignore[arg-type]
    "to_video": (lambda: VideoPlace(1, to_video=1), RecordError, "to_video=1"),
    "frame_index": (lambda: VideoPlace(1, "a"), RecordError, "frame_index='a'"),  # type: ignore[arg-type]
    "video height": (lambda: VideoPlace(1, height=-5), RecordError, "height=-5"),
}


@pytest.mark.parametrize("case", MAKES)
def test_records_without_meaning(case: str) -> None:
    refused(*MAKES[case])


def test_what_stands_for_a_value_becomes_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    asset = Asset(Path("a.png"), ["r", "g"], Affine.scale(2), np.int64(7), np.uint8(5))  # type: ignore[arg-type]
    assert asset == Asset(str(tmp_path / "a.png"), ("r", "g"), Affine.scale(2), 7, 5)
    assert type(asset.width) is int
    assert hash(asset)
    record = ImageRecord(1, [asset], np.int32(14), 10)  # type: ignore[arg-type]
    assert record.assets == (asset,)
    assert record.places() == {"r": (0, 0), "g": (0, 1)}


def test_a_singular_transform_is_one_error(tmp_path: Path) -> None:
    for matrix in (Affine.scale(0), Affine.scale(1e-200), Affine(1, 1, 0, 1, 1, 0), Affine.scale(np.nan)):
        record = ImageRecord(1, (A,), 5, 5, video=VideoPlace(1, 0, matrix))
        refused(record.in_video, RecordError, "singular")
