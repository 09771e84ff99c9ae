"""TIFFs whose tags say anything: read, or refused with an error of ours, in little time and memory."""

from __future__ import annotations

import lzma
import random
import struct
import subprocess
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
import zstandard

import subregion
from strangers import Outcome, Tag, block_tags, read_in_child, tiff
from subregion import SubregionError
from subregion.errors import DamagedFileError
from subregion.formats.open import open_raster

RAW = bytes(range(256)) * 16


def read(tmp_path: Path, files: Sequence[bytes]) -> list[Outcome]:
    paths = []
    for number, content in enumerate(files):
        paths.append(tmp_path / f"{number}.tif")
        paths[-1].write_bytes(content)
    return read_in_child(paths, timeout=250)[0]


@pytest.mark.parametrize("layout", ["tiles", "strips"])
@pytest.mark.parametrize("compression", [1, 8])
@pytest.mark.parametrize(("code", "value"), [(256, 0), (257, 0), (277, 0)])
def test_pictures_without_pixels(
    code: int, value: int, compression: int, layout: str, tmp_path: Path
) -> None:
    block = RAW if compression == 1 else zlib.compress(RAW)
    tags = block_tags(len(block), compression)
    if layout == "strips":
        places = {322: None, 323: (278, 4, [64]), 324: (273, 4, [8]), 325: (279, 4, [len(block)])}
        tags = [new for tag in tags if (new := places.get(tag[0], tag)) is not None]
    path = tmp_path / "a.tif"
    path.write_bytes(tiff([[tag if tag[0] != code else (code, 4, [value]) for tag in tags]], block))
    with pytest.raises(SubregionError, match=r"a\.tif"):
        subregion.open(path, backend=None).shape  # noqa: B018 - opens it


def test_a_row_for_each_page_without_pixels(tmp_path: Path) -> None:
    row: list[Tag] = [
        (256, 4, [4]), (257, 4, [0]), (258, 3, [8]), (259, 3, [1]), (262, 3, [1]),
        (270, 2, b'{"shape": [3, 0, 4]}\0'), (273, 4, [8]), (277, 3, [1]), (278, 4, [1]), (279, 4, [0]),
    ]  # fmt: skip
    path = tmp_path / "a.tif"
    path.write_bytes(tiff([row] * 3, RAW))
    with pytest.raises(SubregionError, match=r"a\.tif"):
        subregion.open(path, backend=None)[:]


def test_overviews_without_pixels_and_of_one_size(tmp_path: Path) -> None:
    small = [(254, 4, [1]), *block_tags(1024, 1, side=32)]
    other = [tag if tag[0] != 324 else (324, 4, [9]) for tag in small]
    empty = [tag if tag[0] != 256 else (256, 4, [0]) for tag in small]
    path = tmp_path / "a.tif"
    path.write_bytes(tiff([block_tags(4096, 1), empty, small, other], RAW))
    raster = open_raster(str(path))
    assert raster.level_shapes == ((64, 64), (32, 32))
    half = raster.read(subregion.Window(0, 0, 32, 32), level=1)
    np.testing.assert_array_equal(half.ravel(), np.frombuffer(RAW[:1024], np.uint8))


@pytest.mark.parametrize("kind", [5, 11, 12])
@pytest.mark.parametrize("code", [256, 257, 277, 278, 322, 323])
def test_sizes_that_are_no_whole_numbers(code: int, kind: int, tmp_path: Path) -> None:
    tags = [
        tag if tag[0] != code else (code, kind, [64.0] if kind > 5 else [64, 1])
        for tag in block_tags(4096, 1)
    ]
    path = tmp_path / "a.tif"
    path.write_bytes(tiff([tags], RAW))
    try:
        picture = subregion.open(path, backend=None)[:]
    except SubregionError as error:
        assert "a.tif" in str(error)  # noqa: PT017 - either will do
    else:
        assert picture.shape == (64, 64, 1)


def chained(count: int, tags: Sequence[Tag], first: Sequence[Tag]) -> bytes:
    """Many directories of short tags, each leading to the next."""
    parts = [b"II*\0" + struct.pack("<I", 8 + len(RAW)) + RAW]
    at = len(parts[0])
    for number in range(count):
        entries = [
            struct.pack("<HHI", code, kind, 1)
            + struct.pack("<I" if kind == 4 else "<HH", *value, *[0] * (kind == 3))
            for code, kind, value in (tags if number else first)
        ]
        at += 2 + 12 * len(entries) + 4
        following = at if number + 1 < count else 0
        parts.append(struct.pack("<H", len(entries)) + b"".join(entries) + struct.pack("<I", following))
    return b"".join(parts)


def test_directories_without_end(tmp_path: Path) -> None:
    whole, reduced = block_tags(4096, 1), [(254, 4, [1]), *block_tags(1024, 1, side=32)]
    looped = []
    for target in (0, 1):
        content = bytearray(tiff([whole, reduced], RAW))
        starts = [struct.unpack_from("<I", content, 4)[0]]
        for tags in (whole, reduced):
            starts.append(starts[-1] + 2 + 12 * len(tags) + 4)
        struct.pack_into("<I", content, starts[2] - 4, starts[target])
        looped.append(bytes(content))
    begin = 8 + len(RAW)
    files = [
        *looped,
        chained(20_000, reduced, whole),
        chained(60_000, [(254, 4, [1])], whole),
        tiff([[*whole, (330, 4, [begin] * 20_000)]], RAW),
        tiff([[*whole, (330, 4, [5000] * 200_000)]], RAW),
        tiff([[*whole, *[(1000 + number, 4, [number]) for number in range(60_000)]]], RAW),
        tiff([[*whole, *[(256, 4, [64])] * 60_000]], RAW),
        tiff([[*whole, (324, 4, [8] * 200_000), (325, 4, [4096] * 200_000)]], RAW),
    ]
    for outcome in read(tmp_path, files):
        assert outcome.foreign is None
        assert outcome.seconds < 2
        assert outcome.megabytes < 100


CODES = [
    254, 256, 257, 258, 259, 262, 266, 270, 273, 274, 277, 278, 279, 282, 284, 317, 320, 322, 323, 324, 325,
    330, 338, 339, 347, 512, 513, 514, 529, 530, 532, 33550, 33922, 34264, 34735, 34736, 42112, 42113, 50674,
    32997, 32998, 33628, 34412, 65000,
]  # fmt: skip
VALUES = [
    0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 32, 63, 64, 65, 255, 256, 32767, 65535, 65536, 2**31 - 1, 2**31,
    2**32 - 1,
]  # fmt: skip
COMPRESSIONS = [
    1, 2, 3, 4, 5, 6, 7, 8, 32773, 32809, 34676, 34712, 34887, 34892, 34925, 34933, 50000, 50001, 50002,
    22610, 65000, 33003, 33007, 0, 99,
]  # fmt: skip


_READ = """
import sys
import subregion
for view in ({}, {"page": 149}, {"page": 150}, {"page": 10**9}, {"page": 2**70}, {"level": 1}, {"series": 0}):
    image = subregion.open(sys.argv[1], None, **view)
    try:
        print(image[:].mean(), image.pixel_size())
    except subregion.SubregionError as error:
        print(error)
"""


@pytest.mark.parametrize("back", [0, 20, 148])
@pytest.mark.parametrize("tile", [None, (16, 16)])
def test_a_long_chain_of_pages_that_is_a_loop(
    tmp_path: Path, tile: tuple[int, int] | None, back: int
) -> None:
    path = tmp_path / "loop.tif"
    with tifffile.TiffWriter(path) as file:
        for number in range(150):
            file.write(np.full((16, 16), number, np.uint8), metadata=None, tile=tile)
    data, links = bytearray(path.read_bytes()), [4]
    while at := struct.unpack_from("<I", data, links[-1])[0]:
        links.append(at + 2 + 12 * struct.unpack_from("<H", data, at)[0])
    data[links[-1] : links[-1] + 4] = data[links[back] : links[back] + 4]
    path.write_bytes(data)
    command = [sys.executable, "-W", "ignore", "-c", _READ, str(path)]
    lines = subprocess.run(command, timeout=60, check=True, capture_output=True, text=True).stdout.split("\n")
    assert lines[:2] == ["0.0 None", "149.0 None"]
    assert all("it has 150 of them: 0 to 149" in line for line in lines[2:5])
    assert all(f"{path}: " in line for line in lines[5:7])


def junk(rng: random.Random, blocks: dict[int, bytes]) -> bytes:
    """A TIFF in which a few tags were changed, or have moved, or are not there."""
    compression = rng.choice(list(blocks))
    block, bands, bits = blocks[compression], rng.choice([1, 1, 2, 3, 4]), rng.choice([8, 8, 16, 1, 12, 32])
    directories = [block_tags(len(block), compression, bands=bands, bits=bits)]
    for _ in range(rng.choice([0, 1])):
        tags = block_tags(len(block), compression, side=32, bands=bands, bits=bits)
        directories.append([(254, 4, [1]), *tags])
    for _ in range(rng.choice([1, 1, 2, 3])):
        tags, action = rng.choice(directories), rng.randrange(5)
        if action == 0:
            del tags[rng.randrange(len(tags))]
        elif action == 1:
            tags.append(rng.choice(tags))
        else:
            code, kind = rng.choice(CODES), rng.choice([1, 2, 3, 3, 4, 4, 7, 11, 12])
            numbers: list[Any] = [
                rng.choice(COMPRESSIONS if code == 259 else VALUES)
                for _ in range(rng.choice([1, 1, 2, 3, 6, 300]))
            ]
            if kind in (1, 2, 7):
                value: Any = bytes(number & 255 for number in numbers)
            elif kind in (11, 12):
                value = [rng.choice([float("nan"), float("inf"), -1.0, float(number)]) for number in numbers]
            else:
                value = [min(number, 65535 if kind == 3 else 2**32 - 1) for number in numbers]
            tags[:] = sorted(
                [*(tag for tag in tags if tag[0] != code), (code, kind, value)], key=lambda tag: tag[0]
            )
    return tiff(directories, block, rng.choice("<<>"))


def test_changed_tags(tmp_path: Path) -> None:
    rng = random.Random(17)
    raw = np.random.default_rng(0).integers(0, 255, 64 * 64 * 4).astype(np.uint8).tobytes()
    blocks = {
        1: raw,
        5: bytes(imagecodecs.lzw_encode(raw)),
        7: bytes(imagecodecs.jpeg8_encode(np.zeros((64, 64, 3), np.uint8))),
        8: zlib.compress(raw),
        32773: bytes(imagecodecs.packbits_encode(raw)),
        34887: bytes(imagecodecs.lerc_encode(np.zeros((64, 64), np.uint8))),
        34925: lzma.compress(raw, preset=0),
        50000: zstandard.compress(raw),
    }
    for outcome in read(tmp_path, [junk(rng, blocks) for _ in range(600)]):
        assert outcome.foreign is None
        assert outcome.seconds < 5
        assert outcome.megabytes < 350


def test_samples_that_are_not_those_of_the_tags(tmp_path: Path) -> None:
    """A block of three samples does not become a picture of one, nor one of 16 bits a picture of 8."""
    cases = [
        (block_tags(0, 32773, photometric=6), bytes(imagecodecs.packbits_encode(bytes(64 * 64 * 2)))),
        (block_tags(0, 34933), bytes(imagecodecs.png_encode(np.zeros((64, 64), np.uint16) + 300))),
        (block_tags(0, 34933), bytes(imagecodecs.png_encode(np.zeros((64, 64, 3), np.uint8)))),
        (block_tags(0, 34712), bytes(imagecodecs.jpeg2k_encode(np.zeros((64, 64), np.uint16) + 300))),
    ]
    path = tmp_path / "a.tif"
    for tags, block in cases:
        path.write_bytes(tiff([[tag if tag[0] != 325 else (325, 4, [len(block)]) for tag in tags]], block))
        with pytest.raises((DamagedFileError, SubregionError), match=r"a\.tif"):
            subregion.open(path, backend=None)[:]
