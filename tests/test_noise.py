"""Nothing is said aside about files of strangers: no warnings, and nothing that a C library prints."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import subregion
from pictures import KINDS, by_pillow
from strangers import one_tile, read_in_child, tiff


def damaged(data: bytes, rng: random.Random) -> list[bytes]:
    """The same with holes, cut, and with bytes changed at its beginning and anywhere."""
    hole, early, anywhere = bytearray(data), bytearray(data), bytearray(data)
    at = len(data) // 3
    hole[at : at + len(data) // 8] = b"\x55" * (len(data) // 8)
    for _ in range(3):
        early[rng.randrange(min(200, len(data)))] ^= 1 << rng.randrange(8)
        anywhere[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return [bytes(hole), data[: len(data) // 2], data[:-20], bytes(early), bytes(anywhere), data + b"more"]


def test_damaged_files_of_every_kind(tmp_path: Path, photograph: NDArray[np.uint8]) -> None:
    rng = random.Random(9)
    paths = []
    for number, (kind, write) in enumerate(KINDS.items()):
        suffix = write.suffix  # type: ignore[attr-defined]  # writers have it
        whole = (tmp_path / f"{number}").with_suffix(suffix)
        write(whole, photograph[:93, :131])
        for which, content in enumerate(damaged(whole.read_bytes(), rng)):
            paths.append(tmp_path / f"{kind} {which}{suffix}")
            paths[-1].write_bytes(content)
    outcomes, said = read_in_child(paths, timeout=250)
    assert said == ""
    for path, outcome in zip(paths, outcomes, strict=True):
        assert outcome.foreign is None, (path, outcome)
        assert outcome.seconds < 10, (path, outcome)


@pytest.mark.parametrize(
    "compression", ["group3", "group4", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"]
)
def test_damaged_tiffs_that_libtiff_would_speak_of(
    compression: str, tmp_path: Path, photograph: NDArray[np.uint8]
) -> None:
    image = Image.fromarray(photograph)
    image.convert("1" if compression.startswith("group") else "RGB").save(
        tmp_path / "whole.tif", compression=compression
    )
    rng = random.Random(1)
    paths = []
    for which, content in enumerate(damaged((tmp_path / "whole.tif").read_bytes(), rng)):
        paths.append(tmp_path / f"{which}.tif")
        paths[-1].write_bytes(content)
    outcomes, said = read_in_child(paths)
    assert said == ""
    assert not any(outcome.foreign for outcome in outcomes)


def test_tags_that_make_no_sense(tmp_path: Path) -> None:
    odd: list[Any] = [
        (282, 5, [1, 0]), (306, 2, b"no date"), (34665, 4, [5]), (34853, 4, [1 << 31]),
        (37724, 7, b"\xff" * 50), (42112, 2, b"<GDALMetadata>"), (42113, 2, b"nothing"),
        (50838, 4, [9] * 5), (50839, 1, b"\1" * 9), (65000, 12, [float("nan")] * 3),
    ]  # fmt: skip
    base: list[Any] = [
        (256, 3, [8]), (257, 3, [8]), (258, 3, [8]), (259, 3, [1]), (262, 3, [1]), (273, 4, [8]),
        (277, 3, [1]), (278, 3, [8]), (279, 4, [64]),
    ]  # fmt: skip
    paths = []
    for number, tag in enumerate(odd):
        paths.append(tmp_path / f"{number}.tif")
        paths[-1].write_bytes(tiff([[*base, tag]], bytes(range(64))))
    outcomes, said = read_in_child(paths)
    assert said == ""
    assert not any(outcome.foreign for outcome in outcomes)


def test_icons_and_jpegs_that_read_all_the_same(tmp_path: Path, photograph: NDArray[np.uint8]) -> None:
    icon, jpeg = tmp_path / "a.ico", tmp_path / "a.jpg"
    Image.fromarray(photograph[:64, :64]).save(icon, sizes=[(64, 64)])
    content = bytearray(icon.read_bytes())
    content[6:8] = b"\x20\x20"  # the list says another size than the picture
    icon.write_bytes(content)
    Image.fromarray(photograph).save(jpeg)
    content = bytearray(jpeg.read_bytes())
    at = content.index(b"\xff\xdb")
    jpeg.write_bytes(content[:at] + b"stray" + content[at:])
    outcomes, said = read_in_child([icon, jpeg])
    assert said == ""
    assert [outcome.error for outcome in outcomes] == [None, None]
    np.testing.assert_array_equal(subregion.open(icon, backend=None)[..., :3], photograph[:64, :64])


def test_old_style_jpeg(tmp_path: Path, photograph: NDArray[np.uint8]) -> None:
    """TIFF 6.0, section 22: in the usual form all of a JPEG file is in it."""
    jpeg = tmp_path / "a.jpg"
    rows, cols, _ = photograph.shape
    for subsampling in (0, 2):
        Image.fromarray(photograph).save(jpeg, quality=90, subsampling=subsampling)
        stream = jpeg.read_bytes()
        path = tmp_path / "a.tif"
        path.write_bytes(
            tiff(
                [[(256, 4, [cols]), (257, 4, [rows]), (258, 3, [8, 8, 8]), (259, 3, [6]), (262, 3, [6]),
                  (273, 4, [8]), (277, 3, [3]), (278, 4, [rows]), (279, 4, [len(stream)]), (512, 3, [1]),
                  (513, 4, [8]), (514, 4, [len(stream)])]],
                stream,
            )
        )  # fmt: skip
        np.testing.assert_array_equal(subregion.open(path, backend=None)[:], by_pillow(jpeg))
        np.testing.assert_array_equal(
            subregion.open(path, backend=None)[50:60, 70:80], by_pillow(jpeg)[50:60, 70:80]
        )


def test_old_style_jpeg_in_pieces_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(one_tile(b"\xff\xd8\xff\xd9" * 8, 6, bands=3, photometric=6))
    with pytest.raises(subregion.SubregionError, match="old-style JPEG"):
        subregion.open(path, backend=None)[:]
