"""Pictures that are turned as their EXIF tag says, against Pillow."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageOps
from typer.testing import CliRunner

import subregion
from single import Single
from subregion import Asset, CocoFrames, ImageRecord, SimpleFrames, Window
from subregion.cli.main import app
from subregion.errors import RecordError

ROWS, COLS = 93, 131
ORIENTATIONS = range(1, 9)
BACKENDS = [None, "auto", "npy", "cog", "zarr", "jpeg"]


def write(path: Path, photograph: NDArray[np.uint8], orientation: int, **options: Any) -> NDArray[Any]:
    """Write a picture with a tag, and return what Pillow makes of it."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(photograph[:ROWS, :COLS]).save(path, exif=exif, **options)
    return by_pillow(path)


def by_pillow(path: Path) -> NDArray[Any]:
    with Image.open(path) as image:
        return np.asarray(ImageOps.exif_transpose(image))


def check(picture: Any, expected: NDArray[Any]) -> None:
    """Compare all, windows, bands and steps."""
    assert picture.shape == expected.shape
    np.testing.assert_array_equal(picture[:], expected)
    rows, cols = expected.shape[:2]
    rng = np.random.default_rng(rows)
    for _ in range(10):
        (top, bottom), (left, right) = (
            sorted(rng.integers(0, size + 1, 2).tolist()) for size in (rows, cols)
        )
        down, across = (int(step) for step in rng.integers(1, 8, 2))
        region = slice(top, bottom, down), slice(left, right, across), slice(0, None, 2)
        np.testing.assert_array_equal(picture[region], expected[region])


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        (".jpg", {}),
        (".jpg", {"restart_marker_blocks": 3}),
        (".png", {}),
        (".webp", {"lossless": True}),
        (".avif", {}),
        (".tif", {}),
        (".tif", {"compression": "tiff_lzw"}),
    ],
)
def test_every_format(
    tmp_path: Path, photograph: NDArray[np.uint8], suffix: str, options: dict[str, Any], orientation: int
) -> None:
    path = tmp_path / f"picture{suffix}"
    expected = write(path, photograph, orientation, **options)
    check(subregion.open(path, None, orientation="upright"), expected)
    stored = subregion.open(path, None)
    assert stored.shape == (ROWS, COLS, 3)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_copies(tmp_path: Path, photograph: NDArray[np.uint8], backend: Any, suffix: str) -> None:
    for orientation in ORIENTATIONS:
        path = tmp_path / f"{orientation}{suffix}"
        expected = write(path, photograph, orientation)
        lossy = backend == "jpeg" and suffix != ".jpg"
        for asked, pixels in (("upright", expected), ("stored", np.asarray(Image.open(path)))):
            frames = SimpleFrames({1: Asset(str(path), orientation=asked)}, tmp_path / "work", backend)
            for _ in range(2):
                if lossy:
                    assert np.abs(frames.load_region(1).astype(int) - pixels).mean() < 5
                else:
                    check(frames.load_frame(1), pixels)
                frames.backend = backend  # opens the copy anew
            assert frames.verify(deep=True, pixels=True).ok


@settings(max_examples=60, deadline=None)
@given(data=st.data(), orientation=st.sampled_from(ORIENTATIONS), planar=st.booleans())
def test_any_window_of_tiles(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, orientation: int, planar: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / f"turned-{orientation}-{planar}.tif"
    stored = np.random.default_rng(5).integers(0, 60000, (75, 110, 3)).astype(np.uint16)
    if not path.exists():
        tifffile.imwrite(
            path,
            np.moveaxis(stored, 2, 0) if planar else stored,
            tile=(32, 16),
            compression="zlib",
            photometric="rgb",
            planarconfig="separate" if planar else "contig",
            extratags=[(274, 3, 1, orientation, True)],
        )
    turns: dict[int, Any] = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
        8: np.rot90,
    }
    expected = turns[orientation](stored)
    rows, cols, _ = expected.shape
    frames = SimpleFrames({1: Asset(str(path), orientation="upright")})
    row, col = data.draw(st.integers(-20, rows + 5)), data.draw(st.integers(-20, cols + 5))
    height, width = data.draw(st.integers(0, 60)), data.draw(st.integers(0, 60))
    canvas = np.full((rows + 200, cols + 200, 3), 7, np.uint16)
    canvas[100 : 100 + rows, 100 : 100 + cols] = expected
    window = Window(row, col, height, width)
    wanted = canvas[100 + row : 100 + row + height, 100 + col : 100 + col + width]
    np.testing.assert_array_equal(frames.load_region(1, window, fill=7), wanted)
    for threads in (1, 3):
        batch = frames.load_regions([(1, window), (1, Window(0, 0, 40, 30))], fill=7, threads=threads)
        np.testing.assert_array_equal(batch[0], wanted)
        np.testing.assert_array_equal(batch[1], expected[:40, :30])


@pytest.mark.parametrize("orientation", [3, 6, 7])
def test_levels_and_scales(tmp_path: Path, photograph: NDArray[np.uint8], orientation: int) -> None:
    stored = np.ascontiguousarray(photograph[:256, :384])
    small = np.ascontiguousarray(stored[::2, ::2])
    path, turned = tmp_path / "levels.tif", tmp_path / "turned.tif"

    def save(to: Path, pictures: list[NDArray[Any]], tag: int) -> None:
        with tifffile.TiffWriter(to) as file:
            for number, pixels in enumerate(pictures):
                extra = [(274, 3, 1, tag, True)]
                file.write(
                    np.ascontiguousarray(pixels), tile=(64, 32), extratags=extra, subfiletype=min(number, 1)
                )

    save(path, [stored, small], orientation)
    by_tag = {
        3: lambda a: a[::-1, ::-1],
        6: lambda a: np.rot90(a, -1),
        7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    }
    save(turned, [by_tag[orientation](stored), by_tag[orientation](small)], 1)
    frames = SimpleFrames({"tag": Asset(str(path), orientation="upright"), "pixels": turned})
    region = (slice(10, 150), slice(20, 160))
    for scale in (1 / 2, 1 / 3, (0.3, 0.4)):
        one, other = (frames.load_region(each, region, scale=scale) for each in ("tag", "pixels"))
        np.testing.assert_array_equal(one, other)
    assert frames.explain("tag", region, scale=1 / 2).files[0].level == 1


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_scales_of_odd_sizes_lie_where_they_are(tmp_path: Path, orientation: int) -> None:
    rows, cols = np.mgrid[:203, :251]
    ramps = np.stack([cols, rows, cols * 0], axis=-1).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(ramps).save(tmp_path / "picture.jpg", exif=exif, quality=100, subsampling=0)
    with tifffile.TiffWriter(tmp_path / "picture.tif") as file:
        options: dict[str, Any] = {"tile": (64, 64), "photometric": "rgb", "metadata": None}
        file.write(ramps, extratags=[(274, 3, 1, orientation, True)], **options)
        for size in (2, 4):  # rounded down, as libvips does
            high, wide = 203 // size, 251 // size
            squares = ramps[: high * size, : wide * size].reshape(high, size, wide, size, 3)
            file.write(np.rint(squares.mean((1, 3))).astype(np.uint8), subfiletype=1, **options)
    for suffix in ("jpg", "tif"):
        path = tmp_path / f"picture.{suffix}"
        frames = SimpleFrames({1: Asset(str(path), orientation="upright")})
        full = frames.load_image(1)
        assert full is not None
        for size in (2, 4):
            got = frames.load_region(1, scale=1 / size).astype(np.float64)
            assert frames.explain(1, scale=1 / size).files[0].level == size // 2
            high, wide = full.shape[0] // size, full.shape[1] // size
            squares = full[: high * size, : wide * size].reshape(high, size, wide, size, 3)
            off = (got[:high, :wide] - squares.mean((1, 3)))[3:-3, 3:-3, :2]
            assert np.abs(off.mean((0, 1))).max() < 0.6  # a shift by a pixel is 1


def test_large_pictures_are_converted(tmp_path: Path) -> None:
    """Strips of what is shown are columns of what is stored."""
    rng = np.random.default_rng(0)
    for orientation in (3, 6):
        stored = rng.integers(0, 255, (1500, 900, 3)).astype(np.uint8)
        path = tmp_path / f"{orientation}.tif"
        tifffile.imwrite(
            path, stored, tile=(256, 256), photometric="rgb", extratags=[(274, 3, 1, orientation, True)]
        )
        expected = np.rot90(stored, -1) if orientation == 6 else stored[::-1, ::-1]
        for backend in ("npy", {"type": "cog", "config": {"compress": "LZW"}}):
            frames = SimpleFrames({1: Asset(str(path), orientation="upright")}, tmp_path / "work", backend)
            np.testing.assert_array_equal(frames.load_region(1), expected)


def test_sizes_of_a_dataset(tmp_path: Path, photograph: NDArray[np.uint8]) -> None:
    path = tmp_path / "picture.jpg"
    expected = write(path, photograph, 6)
    entry = {"id": 1, "file_name": str(path), "width": ROWS, "height": COLS}
    frames = CocoFrames({"images": [entry]}, backend=None, orientation="upright")
    np.testing.assert_array_equal(frames.load_region(1), expected)
    as_stored = CocoFrames({"images": [entry]}, backend=None)
    for options in ({}, {"scale": 0.5}):
        with pytest.raises(RecordError, match='orientation="upright"'):
            as_stored.load_region(1, **options)  # type: ignore[arg-type]  # options
    wrong = CocoFrames({"images": [{**entry, "width": 5}]}, backend=None)
    with pytest.raises(RecordError) as caught:
        wrong.load_region(1)
    assert "orientation" not in str(caught.value)
    record = ImageRecord(1, (Asset(str(path), width=ROWS, height=COLS),))
    with pytest.raises(RecordError, match="upright"):
        Single(record).load_region(1)


def test_a_folder(tmp_path: Path, photograph: NDArray[np.uint8]) -> None:
    expected = {
        f"{number}.jpg": write(tmp_path / f"{number}.jpg", photograph, number) for number in ORIENTATIONS
    }
    frames = SimpleFrames.from_folder(tmp_path, "*.jpg", orientation="upright")
    for name, pixels in expected.items():
        np.testing.assert_array_equal(frames.load_image(name), pixels)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")  # by Pillow
def test_what_is_no_orientation(tmp_path: Path, photograph: NDArray[np.uint8]) -> None:
    with pytest.raises(RecordError, match="'stored', 'upright'"):
        Asset(str(tmp_path / "a.jpg"), orientation="up")
    for orientation in (0, 9, 77):
        path = tmp_path / f"{orientation}.jpg"
        write(path, photograph, orientation)
        assert subregion.open(path, None, orientation="upright").shape == (ROWS, COLS, 3)
    plain = tmp_path / "plain.npy"
    np.save(plain, photograph)
    assert subregion.open(plain, None, orientation="upright").shape == photograph.shape
    exif = b"Exif\0\0II*\0\xff\xff\xff\xff"
    Image.fromarray(photograph).save(tmp_path / "broken.jpg", exif=exif)
    assert subregion.open(tmp_path / "broken.jpg", None, orientation="upright").shape == photograph.shape


def test_a_tag_behind_the_pixels(tmp_path: Path, photograph: NDArray[np.uint8]) -> None:
    path = tmp_path / "picture.png"
    expected = write(path, photograph, 8)
    data = path.read_bytes()
    at = data.index(b"eXIf") - 4
    chunk = data[at : at + 12 + int.from_bytes(data[at : at + 4], "big")]
    end = data.index(b"IEND") - 4
    path.write_bytes(data[:at] + data[at + len(chunk) : end] + chunk + data[end:])
    check(subregion.open(path, None, orientation="upright"), expected)


def test_the_ground_turns_too(tmp_path: Path, photograph: NDArray[np.uint8]) -> None:
    path = tmp_path / "picture.png"
    expected = write(path, photograph, 6)
    path.with_suffix(".pgw").write_text("10\n0\n0\n-5\n1005\n1997.5\n")
    stored = SimpleFrames({1: path})
    shown = SimpleFrames({1: Asset(str(path), orientation="upright")})
    bounds = (1100, 1800, 1200, 1850)
    one, other = (frames.load_region(1, bounds=bounds) for frames in (stored, shown))
    np.testing.assert_array_equal(np.rot90(one, -1), other)
    assert other.shape[:2] == (10, 10)
    np.testing.assert_array_equal(shown.load_region(1), expected)
    told = CliRunner().invoke(app, ["info", str(path), "--view", "orientation=upright", "--json"])
    (document,) = json.loads(told.stdout)
    # A quarter to the right: what runs down is east, and what runs to the right is north.
    assert document["to_world"] == [0, 10, 1000, 5, 0, 2000 - 5 * ROWS]
    assert document["bounds"] == [1000, 2000 - 5 * ROWS, 1000 + 10 * COLS, 2000]


@pytest.mark.parametrize("options", [{"page": 1}, {"series": 1}])
def test_each_page_has_a_tag_of_its_own(
    tmp_path: Path, photograph: NDArray[np.uint8], options: dict[str, Any]
) -> None:
    path = tmp_path / "scans.tif"
    one, other = photograph[:ROWS, :COLS], photograph[:COLS, :ROWS, ::-1].copy()
    for tags in ((6, 1), (1, 6), (3, 8)):
        with tifffile.TiffWriter(path) as file:
            for pixels, tag in zip((one, other), tags, strict=True):
                file.write(pixels, photometric="rgb", metadata=None, extratags=[(274, 3, 1, tag, True)])
        with Image.open(path) as image:
            image.seek(1)
            image.getexif()[0x0112] = tags[1]
            expected = np.asarray(ImageOps.exif_transpose(image))
        check(subregion.open(path, None, orientation="upright", **options), expected)
