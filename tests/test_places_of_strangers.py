"""What files of strangers say of where they lie: read, or refused with an error of ours, in little time."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from affine import Affine
from PIL import Image

import subregion
from strangers import Tag, block_tags, tiff
from subregion import SubregionError
from subregion.cli.describe import describe
from subregion.errors import DamagedFileError, UnsupportedFormatError
from subregion.records import Asset

PLACED = b"<PAMDataset><SRS>EPSG:32633</SRS><GeoTransform>1, 2, 0, 3, 0, -2</GeoTransform></PAMDataset>"


def ask(path: Path) -> list[SubregionError]:
    """Ask for all that depends on the place of an image; return the errors of ours."""
    image = subregion.open(path, backend=None)
    questions: list[Callable[[], Any]] = [
        image.georeference,
        lambda: describe(Asset(str(path)), []),
        lambda: image.window((0, 0, 1, 1)),
        lambda: image.window((0, 0, 1, 1), "EPSG:4326"),
        image.to_xarray,
    ]
    errors = []
    for question in questions:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                question()
            except SubregionError as error:
                errors.append(error)
    return errors


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "a.png"
    Image.new("L", (8, 8)).save(path)
    return path


@pytest.mark.parametrize(
    "data",
    [
        PLACED,
        b'<?xml version="1.0" encoding="klingon"?>' + PLACED,
        b'<?xml version="1.0" encoding="utf-16"?>' + PLACED,
        b'<?xml version="1.0" encoding="\xff"?>' + PLACED,
        b"\xef\xbb\xbf" + PLACED,
        PLACED.decode().encode("utf-16"),
        PLACED.replace(b"<SRS>", b"<Note>\xe9</Note><SRS>"),
    ],
)
def test_notes_of_gdal_in_any_encoding(data: bytes, picture: Path) -> None:
    Path(f"{picture}.aux.xml").write_bytes(data)
    place = subregion.open(picture, backend=None).georeference()
    assert place.to_world == Affine(2, 0, 1, 0, -2, 3)
    assert place.crs == "EPSG:32633"


LAUGHS = '<!DOCTYPE a [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]><PAMDataset>&b;</PAMDataset>'


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0",
        b"<a>" * 100_000 + b"</a>" * 100_000,
        b"<a " + b" ".join(b'x%d="1"' % number for number in range(100_000)) + b"/>",
        b"<a>" + b"<b/>" * 500_000 + b"</a>",
        b"<a>" + b" " * 5_000_000 + b"</a>",
        LAUGHS.encode(),
        LAUGHS.encode("utf-16"),
        b"<PAMDataset><GeoTransform>nan,1,1,1,1,1</GeoTransform></PAMDataset>",
        b"<PAMDataset><GeoTransform>1,1</GeoTransform></PAMDataset>",
        b"<PAMDataset><GeoTransform>0,1e308,0,0,0,1e308</GeoTransform></PAMDataset>",
        b"<PAMDataset><GeoTransform>" + b"1" * 100_000 + b",1,0,0,0,1</GeoTransform></PAMDataset>",
        PLACED.replace(b"EPSG:32633", b"EPSG:99999999"),
        PLACED.replace(b"EPSG:32633", b'PROJCS["' * 3000),
        PLACED.replace(b"EPSG:32633", b'{"type":"x"}'),
        PLACED.replace(b"EPSG:32633", b"+proj=pipeline +step"),
        PLACED.replace(b"EPSG:32633", "é".encode()),
    ],
    ids=range(17),
)
def test_notes_of_gdal_that_are_junk(data: bytes, picture: Path) -> None:
    Path(f"{picture}.aux.xml").write_bytes(data)
    assert ask(picture)


@pytest.mark.parametrize("entities", [LAUGHS.encode(), LAUGHS.encode("utf-16")])
def test_entities_are_refused(entities: bytes, picture: Path) -> None:
    Path(f"{picture}.aux.xml").write_bytes(entities)
    with pytest.raises(DamagedFileError, match="entities"):
        subregion.open(picture, backend=None).georeference()


def test_a_reference_system_that_nobody_knows(picture: Path) -> None:
    Path(f"{picture}.aux.xml").write_bytes(PLACED.replace(b"EPSG:32633", b"EPSG:99999999"))
    with pytest.raises(UnsupportedFormatError, match=r"a\.png.*EPSG:99999999"):
        subregion.open(picture, backend=None).to_xarray()


@pytest.mark.parametrize(
    "text",
    ["", "1", "a b c d e f", "1 0 0 -1 nan 0", "inf 0 0 -1 0 0", "1e400 0 0 1 0 0", "0 0 0 0 0 0",
     "1" * 4000 + " 0 0 -1 0 0", "٣ 0 0 -1 0 0", "0x10 0 0 -1 0 0", "1e308 0 0 -1e308 1e308 1e308"],
)  # fmt: skip
def test_world_files_that_are_junk(text: str, picture: Path) -> None:
    picture.with_suffix(".pgw").write_text(text, encoding="utf-8")
    assert ask(picture)


@pytest.mark.parametrize(
    "data", [b"", b"junk", b"\xff" * 50, b"PROJCS[" * 5000, b'"' * 60_000, b"{" * 60_000, b"+proj=longlat\0x"]
)
def test_projections_that_are_junk(data: bytes, picture: Path) -> None:
    picture.with_suffix(".pgw").write_text("1 0 0 -1 0 0")
    picture.with_suffix(".prj").write_bytes(data)
    ask(picture)


def junk_keys(rng: random.Random) -> list[Tag]:
    """GeoTIFF tags that are well formed, more or less, and mean nothing."""
    known = [*range(1024, 1027), *range(2048, 2063), *range(3072, 3097), 4096, 5000]
    values = [0, 1, 2, 3, 4326, 32633, 32767, 9001, 9102, 7030, 6326, 8901, 16033, rng.randrange(65536)]
    keys = [
        [rng.choice(known), rng.choice([0, 0, 34735, 34736, 34737, 7]), rng.choice([0, 1, 1, 2, 7, 65535]),
         rng.choice(values)]
        for _ in range(rng.randrange(1, 12))
    ]  # fmt: skip
    count = rng.choice([len(keys), len(keys), 0, 65535])
    tags: list[Tag] = [(34735, 3, [1, 1, 0, count, *(number for key in keys for number in key)])]
    numbers = [0.0, 1.0, -1.0, 6378137.0, 298.257, 1e300, 1e308, float("nan"), float("inf"), 45.0]
    for code, sizes in ((34736, [1, 7, 20]), (33550, [3, 2]), (33922, [6, 5, 12]), (34264, [16, 15])):
        if rng.random() < 0.6:
            tags.append((code, 12, [rng.choice(numbers) for _ in range(rng.choice(sizes))]))
    texts = [b"WGS|x|\0", b'PROJCS["x"]|\0', b'GEOGCS["', b"\xff\xfe|"]
    if rng.random() < 0.6:
        tags.append((34737, 2, rng.choice(texts)))
    if rng.random() < 0.2:
        tags[0] = (34735, 12, [rng.choice(numbers) for _ in range(12)])
    return tags


def test_keys_of_geotiffs_that_are_junk(tmp_path: Path) -> None:
    rng = random.Random(5)
    path = tmp_path / "a.tif"
    for _ in range(150):
        path.write_bytes(tiff([[*block_tags(4096, 1), *junk_keys(rng)]], bytes(4096)))
        ask(path)


def test_boxes_of_jpeg_2000_that_are_junk(tmp_path: Path) -> None:
    Image.new("RGB", (16, 16)).save(tmp_path / "whole.jp2")
    content = (tmp_path / "whole.jp2").read_bytes()
    at = content.index(b"jp2c") - 4
    identifier = bytes.fromhex("b14bf8bd083d4b43a5ae8cd7d5a6ce03")
    rng = random.Random(3)

    def box(kind: bytes, body: bytes) -> bytes:
        return (len(body) + 8).to_bytes(4, "big") + kind + body

    gml = (
        b"gml.data<a><RectifiedGrid><Point><pos>%s</pos></Point>"
        b"<offsetVector>%s</offsetVector></RectifiedGrid></a>"
    )
    junk = [
        *(box(b"uuid", identifier + tiff([junk_keys(rng)])) for _ in range(30)),
        box(b"uuid", identifier + b"II*\0"),
        box(b"uuid", identifier + rng.randbytes(300)),
        box(b"asoc", gml % (b"nan nan", b"1 1")),
        box(b"asoc", gml % (b"x", b"")),
        box(b"asoc", b"gml.data" + LAUGHS.encode()),
        box(b"asoc", b"gml.data" + b"<a>" * 100_000),
        box(b"free", b"") * 100_000,
    ]
    path = tmp_path / "a.jp2"
    for body in junk:
        path.write_bytes(content[:at] + body + content[at:])
        try:
            subregion.open(path, backend=None).shape  # noqa: B018 - opens it
        except DamagedFileError:
            continue
        ask(path)
