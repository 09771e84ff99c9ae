"""WebP files of every kind, against Pillow."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import subregion
from strangers import read_in_child

OPTIONS: dict[str, dict[str, Any]] = {
    "lossy": {},
    "lossless": {"lossless": True},
    "exact": {"lossless": True, "exact": True},
}


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "opaque", "L"])
@pytest.mark.parametrize("kind", sorted(OPTIONS))
def test_still_pictures(kind: str, mode: str, tmp_path: Path, photograph: NDArray[np.uint8]) -> None:
    path = tmp_path / "a.webp"
    picture = Image.fromarray(photograph).convert("RGBA" if mode == "opaque" else mode)
    if mode == "RGBA":
        picture.putalpha(Image.fromarray(photograph[..., 1]))
    picture.save(path, **OPTIONS[kind])
    np.testing.assert_array_equal(subregion.open(path, backend=None)[:], np.asarray(Image.open(path)))


@pytest.mark.parametrize("metadata", [{"exif": b"Exif\0\0II*\0\x08\0\0\0\0\0"}, {"icc_profile": b"x" * 200}])
def test_with_metadata(metadata: dict[str, Any], tmp_path: Path, photograph: NDArray[np.uint8]) -> None:
    path = tmp_path / "a.webp"
    Image.fromarray(photograph).save(path, **metadata)
    assert path.read_bytes()[12:16] == b"VP8X"
    np.testing.assert_array_equal(subregion.open(path, backend=None)[:], np.asarray(Image.open(path)))


def test_of_an_animation_the_first_frame(tmp_path: Path, photograph: NDArray[np.uint8]) -> None:
    path = tmp_path / "a.webp"
    first, second = Image.fromarray(photograph), Image.fromarray(255 - photograph)
    first.save(path, save_all=True, append_images=[second], lossless=True)
    np.testing.assert_array_equal(subregion.open(path, backend=None)[:], photograph)


def test_a_header_that_declares_much(tmp_path: Path, photograph: NDArray[np.uint8]) -> None:
    """The few bytes that there are decide what is taken, not the header."""
    path = tmp_path / "a.webp"
    Image.fromarray(photograph[:20, :20]).save(path)
    content = bytearray(path.read_bytes())
    content[26:30] = struct.pack("<HH", 13535, 3261)
    path.write_bytes(content)
    (outcome,), said = read_in_child([path])
    assert outcome.foreign is None
    assert said == ""
    assert outcome.megabytes < 400
