"""TIFFs of JPEG blocks: a window holds what decoding whole blocks gives, and damage is told."""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import rasterio
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

import subregion
from jpegs import SAMPLINGS, encode, scan_start, with_intervals
from subregion.codecs.jpeg import JpegCodec
from subregion.convert.cog import CogConfig, write_cog
from subregion.errors import DamagedFileError

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

Photo = NDArray[np.uint8]
Write = Callable[[Path, Photo], None]

ROWS, COLS = 110, 150
#: As in a tag: what a picture of so many bands is called.
PHOTOMETRIC = {1: "minisblack", 3: "ycbcr", 4: "separated"}


def assemble(path: Path, streams: list[bytes], size: int, bands: int) -> None:
    """Put JPEG streams into a TIFF as they are, as its tiles."""
    tifffile.imwrite(
        path,
        data=iter(streams),
        shape=(ROWS, COLS) if bands == 1 else (ROWS, COLS, bands),
        dtype=np.uint8,
        tile=(size, size),
        compression="jpeg",
        photometric=PHOTOMETRIC[bands],
    )


def tiles(photo: Photo, size: int) -> list[Photo]:
    """A picture in squares, the outer ones filled up."""
    rows, cols = -(-ROWS // size), -(-COLS // size)
    padded = np.pad(photo[:ROWS, :COLS], ((0, rows * size - ROWS), (0, cols * size - COLS), (0, 0)), "edge")
    return [
        np.ascontiguousarray(padded[row * size : (row + 1) * size, col * size : (col + 1) * size])
        for row, col in itertools.product(range(rows), range(cols))
    ]


def pasted(blocks: list[NDArray[Any]], size: int) -> NDArray[Any]:
    """The picture that squares make up."""
    across = -(-COLS // size)
    rows = [np.concatenate(blocks[at : at + across], axis=1) for at in range(0, len(blocks), across)]
    return np.concatenate(rows)[:ROWS, :COLS]


def by_pillow(jpeg: bytes) -> NDArray[Any]:
    with Image.open(io.BytesIO(jpeg)) as image:
        pixels = np.asarray(image)
    return pixels if pixels.ndim == 3 else pixels[..., None]


def check_windows(path: Path, expected: NDArray[Any], count: int = 25) -> None:
    """Read windows with the cache of blocks and without, and stepped ones."""
    rows, cols = expected.shape[:2]
    picture = subregion.open(path)
    edges = st.tuples(
        st.integers(0, rows - 1), st.integers(1, rows), st.integers(0, cols - 1), st.integers(1, cols)
    )

    @settings(max_examples=count, deadline=None, database=None)
    @given(edges, st.sampled_from([1, 1, 3]), st.sampled_from([0, 1 << 20]))
    def check(window: tuple[int, int, int, int], step: int, limit: int) -> None:
        subregion.set_cache_limit(limit)
        top, high, left, wide = window
        part = np.s_[top : top + high : step, left : left + wide]
        np.testing.assert_array_equal(picture[part], expected[part])

    check()
    subregion.set_cache_limit(0)
    np.testing.assert_array_equal(picture[:], expected)


@pytest.fixture
def no_other_decoder(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From when it is called, let what decodes whole blocks fail."""
    return lambda: monkeypatch.setattr(imagecodecs, "jpeg8_decode", None)


def in_whole_blocks(path: Path) -> NDArray[Any]:
    """The picture as imagecodecs decodes it, block by block."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(JpegCodec, "decoder", lambda codec: codec.decode)
        subregion.set_cache_limit(0)
        return np.asarray(subregion.open(path)[:])


@pytest.mark.parametrize("blocksize", [16, 48, 128, 256])
@pytest.mark.parametrize("bands", [1, 3])
def test_windows_of_our_own(
    bands: int, blocksize: int, tmp_path: Path, photograph: Photo, no_other_decoder: Callable[[], None]
) -> None:
    path = tmp_path / "image.tif"
    photo = photograph[:300, :280, :bands]
    write_cog(path, photo.shape, photo.dtype, [photo], CogConfig("JPEG", blocksize=blocksize))
    expected = tifffile.imread(path).reshape(photo.shape)
    np.testing.assert_array_equal(in_whole_blocks(path), expected)
    no_other_decoder()
    check_windows(path, expected)


@pytest.mark.parametrize("interval", [0, 1, 4, 8, 5])
@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_windows_of_all_samplings(
    sampling: str,
    interval: int,
    tmp_path: Path,
    photograph: Photo,
    no_other_decoder: Callable[[], None],
) -> None:
    options = SAMPLINGS[sampling]
    bands = options.get("bands", 3)
    streams = [encode(tile, **options) for tile in tiles(photograph, 64)]
    if interval:
        streams = [with_intervals(tmp_path / "tile.jpg", stream, interval) for stream in streams]
    path = tmp_path / "image.tif"
    assemble(path, streams, 64, bands)
    expected = in_whole_blocks(path)
    if bands < 4:
        np.testing.assert_array_equal(expected, pasted([by_pillow(stream) for stream in streams], 64))
    no_other_decoder()
    check_windows(path, expected, 10)


#: GDAL's options; the tables are in each block, half shared, or shared.
GDAL: dict[str, dict[str, Any]] = {
    "YCbCr": {"photometric": "YCBCR", "tiled": True, "count": 3},
    "RGB": {"photometric": "RGB", "tiled": True, "count": 3},
    "grey": {"tiled": True, "count": 1},
    "CMYK": {"photometric": "CMYK", "tiled": True, "count": 4},
    "planes": {"photometric": "RGB", "tiled": True, "count": 3, "interleave": "band"},
    "strips": {"photometric": "YCBCR", "blockysize": 48, "count": 3},
}


@pytest.mark.parametrize("tables", [0, 1, 3])
@pytest.mark.parametrize("kind", GDAL)
def test_windows_of_what_gdal_writes(
    kind: str, tables: int, tmp_path: Path, photograph: Photo, no_other_decoder: Callable[[], None]
) -> None:
    options = {"interleave": "pixel"} | GDAL[kind]
    if options.get("tiled"):
        options |= {"blockxsize": 64, "blockysize": 64}
    photo = np.concatenate([photograph, photograph[..., :1]], axis=-1)[:ROWS, :COLS, : options["count"]]
    path = tmp_path / "image.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=COLS, height=ROWS, dtype="uint8", compress="JPEG",
        JPEGTABLESMODE=tables, **options,
    ) as dataset:  # fmt: skip
        dataset.write(np.moveaxis(photo, -1, 0))
    expected = in_whole_blocks(path)
    if kind == "CMYK":  # tifffile gives inks
        inks = tifffile.imread(path)
        np.testing.assert_array_equal(expected, np.asarray(Image.fromarray(inks, "CMYK").convert("RGB")))
    elif kind != "planes":  # which tifffile cannot decode
        np.testing.assert_array_equal(expected, tifffile.imread(path).reshape(photo.shape))
        assert np.abs(expected.astype(int) - photo).mean() < 6
    else:
        with rasterio.open(path) as dataset:
            np.testing.assert_allclose(np.moveaxis(dataset.read(), 0, -1), expected, atol=2)
    no_other_decoder()
    check_windows(path, expected, 10)


def one_tile(path: Path, stream: bytes, size: int = 128) -> None:
    """A picture of a single block."""
    tifffile.imwrite(
        path,
        data=iter([stream]),
        shape=(size, size, 3),
        dtype=np.uint8,
        tile=(size, size),
        compression="jpeg",
        photometric="ycbcr",
    )


@pytest.fixture
def plain(photograph: Photo) -> bytes:
    """A block without restart markers."""
    return encode(photograph[:128, :128], subsampling="420")


@pytest.fixture
def marked(plain: bytes, tmp_path: Path) -> bytes:
    """The same with one for each row of units."""
    return with_intervals(tmp_path / "tile.jpg", plain, 8)


def marks(stream: bytes) -> list[int]:
    """Where the restart markers are."""
    start = scan_start(stream)
    return [start + found.start() for found in re.finditer(rb"\xff[\xd0-\xd7]", stream[start:])]


def test_rows_that_nobody_wants_are_not_decoded(tmp_path: Path, marked: bytes) -> None:
    path = tmp_path / "image.tif"
    expected = by_pillow(marked)
    at = marks(marked)
    assert len(at) == 7
    broken = bytearray(marked)
    for first, last in ((scan_start(marked), at[0]), (at[5] + 2, at[6])):
        broken[first:last] = b"\xfe" * (last - first)
    one_tile(path, bytes(broken))
    subregion.set_cache_limit(0)
    picture = subregion.open(path)
    np.testing.assert_array_equal(picture[17:95], expected[17:95])
    np.testing.assert_array_equal(picture[50:51, 3:9], expected[50:51, 3:9])
    np.testing.assert_array_equal(picture[113:], expected[113:])
    for rows in (np.s_[0:1], np.s_[16:17], np.s_[90:97], np.s_[112:113], np.s_[:]):
        with pytest.raises(DamagedFileError, match="row 0, column 0"):
            picture[rows]


@pytest.mark.parametrize("fault", ["missing", "swapped", "short", "cut"])
def test_damage_among_intervals(fault: str, tmp_path: Path, marked: bytes) -> None:
    path = tmp_path / "image.tif"
    at = marks(marked)
    broken = {
        "missing": marked[: at[2]] + b"\0\0" + marked[at[2] + 2 :],
        "swapped": marked[: at[2]] + b"\xff\xd5" + marked[at[2] + 2 :],
        "short": marked[: at[2] + 9] + marked[at[3] :],
        "cut": marked[: at[4]],
    }[fault]
    one_tile(path, broken)
    subregion.set_cache_limit(0)
    picture = subregion.open(path)
    with pytest.raises(DamagedFileError, match="row 0, column 0"):
        picture[50:60]
    with pytest.raises(DamagedFileError):
        picture[:]


def test_damage_without_intervals(tmp_path: Path, plain: bytes) -> None:
    subregion.set_cache_limit(0)
    start = scan_start(plain)
    damaged = [
        plain[:start] + bytes(40) + plain[start + 40 :],
        plain[: start + 100] + b"\xff\xd9",
        plain[: start + 100],
        plain[: start - 3],
    ]
    for number, broken in enumerate(damaged):
        path = tmp_path / f"image{number}.tif"
        one_tile(path, broken)
        picture = subregion.open(path)
        with pytest.raises(DamagedFileError):
            picture[:]
        if number:
            with pytest.raises(DamagedFileError):
                picture[20:70]


def test_bytes_that_belong_to_nothing(tmp_path: Path, plain: bytes) -> None:
    """Other readers pass over what stands behind the pixels."""
    path = tmp_path / "image.tif"
    one_tile(path, plain[:-2] + b"\x12\x34\x56\xff\xd9\0\0")
    subregion.set_cache_limit(0)
    picture = subregion.open(path)
    np.testing.assert_array_equal(picture[:], by_pillow(plain))
    np.testing.assert_array_equal(picture[100:120], by_pillow(plain)[100:120])


def test_blocks_whose_heads_differ(tmp_path: Path, photograph: Photo) -> None:
    """Each has its own tables, sampling and intervals, and some are progressive."""
    path = tmp_path / "image.tif"
    streams = []
    for number, tile in enumerate(tiles(photograph, 64)):
        buffer = io.BytesIO()
        Image.fromarray(tile).save(
            buffer,
            "JPEG",
            quality=50 + 5 * number,
            subsampling=number % 3,
            restart_marker_rows=number % 2,
            progressive=number == 4,
            optimize=number == 5,
        )
        streams.append(buffer.getvalue())
    assemble(path, streams, 64, 3)
    check_windows(path, pasted([by_pillow(stream) for stream in streams], 64))


def test_a_block_that_declares_more_than_the_grid(tmp_path: Path, photograph: Photo) -> None:
    path = tmp_path / "image.tif"
    stream = encode(photograph[:160, :160], subsampling="420")
    one_tile(path, stream)
    np.testing.assert_array_equal(subregion.open(path)[30:99], by_pillow(stream)[30:99, :128])


def test_many_threads_share_a_file(tmp_path: Path, photograph: Photo) -> None:
    path = tmp_path / "image.tif"
    photo = photograph[:384, :512]
    write_cog(path, photo.shape, photo.dtype, [photo], CogConfig("JPEG", blocksize=128))
    expected = tifffile.imread(path)
    frames = subregion.SimpleFrames({1: path}, backend=None)
    subregion.set_cache_limit(0)
    requests = [
        (1, np.s_[top : top + 150, left : left + 170]) for top in range(0, 234, 39) for left in (0, 99, 342)
    ]
    for (_, part), got in zip(requests, frames.load_regions(requests, threads=4), strict=True):
        np.testing.assert_array_equal(got, expected[part])
