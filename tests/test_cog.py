"""Cloud-optimized GeoTIFFs: other people's readers see the same pixels, and their validators approve."""

from __future__ import annotations

import itertools
import os
import struct
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips
import rasterio
import tifffile
from numpy.typing import NDArray
from PIL import Image
from rasterio.errors import NotGeoreferencedWarning
from rio_cogeo.cogeo import cog_validate

from subregion.convert.cog import CogConfig, write_cog
from subregion.convert.cog_layout import pixel_tags, plan_layout
from subregion.convert.encodings import encoding_for
from subregion.convert.overviews import Pyramid
from subregion.convert.tiff_tags import FieldType, Tag
from subregion.errors import ConfigError, DamagedFileError, UnsupportedFormatError
from subregion.formats.tiff.gdal import GHOST

pytestmark = [
    pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning"),
    pytest.mark.pixels,
]

DTYPES = ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8", "c8", "c16"]
LOSSLESS = ["ZSTD", "DEFLATE", "LZW", "RAW"]
# One pixel, one block exactly, a column or row more than one, several levels, thin ones.
SHAPES = [(1, 1, 1), (16, 16, 3), (17, 33, 2), (131, 70, 4), (64, 65, 7), (5, 90, 1), (90, 2, 3)]


def picture(shape: tuple[int, int, int], dtype: str = "u1", seed: int = 0) -> NDArray[Any]:
    """Smooth with some noise, over all of the values that the dtype can have without NaN."""
    rng = np.random.default_rng(seed)
    rows, cols, bands = shape
    waves = np.sin(np.arange(rows) / 9)[:, None, None] + np.cos(np.arange(cols) / 7)[:, None]
    unit = np.clip((waves + np.arange(bands) / bands + rng.normal(0, 0.02, shape)) / 6 + 0.4, 0, 1)
    kind = np.dtype(dtype)
    if kind.kind in "iu":
        limits = np.iinfo(kind)
        span = float(limits.max) - float(limits.min)
        return np.array(unit * span * 0.99 + float(limits.min), np.longdouble).astype(kind)
    image: NDArray[Any] = ((unit - 0.5) * 1000).astype(kind)
    return image + kind.type(1j) * image[::-1] if kind.kind == "c" else image


def strips(image: NDArray[Any], height: int = 13) -> Iterator[NDArray[Any]]:
    for row in range(0, len(image), height):
        yield image[row : row + height]


def write(path: Path, image: NDArray[Any], config: CogConfig, **options: Any) -> None:
    write_cog(path, image.shape, image.dtype, strips(image), config, **options)
    assert os.listdir(path.parent) == [path.name]


def levels_of(image: NDArray[Any], count: int, **how: Any) -> list[NDArray[Any]]:
    """The image and its overviews, made in one go."""
    pyramid = Pyramid(image.shape, image.dtype, count, **how)
    return [rows for _, rows in pyramid.push(image)]


def pages_of(tiff: tifffile.TiffFile) -> list[tifffile.TiffPage]:
    return [page for page in tiff.pages if isinstance(page, tifffile.TiffPage)]


def assert_cog(path: Path, levels: int) -> None:
    """Every rule of GDAL's validator that a file without masks can break."""
    valid, errors, remarks = cog_validate(path, strict=True, quiet=True)
    assert valid, (errors, remarks)
    with tifffile.TiffFile(path) as tiff:
        big = tiff.is_bigtiff
        pages = pages_of(tiff)
        size = tiff.filehandle.size
    assert len(pages) == levels
    data = path.read_bytes()
    start = 16 if big else 8
    assert data[start : start + len(GHOST)] == GHOST
    head, _, promises = GHOST.partition(b"\n")
    assert int(head.split(b"=")[1].split()[0]) == len(promises)
    assert pages[0].offset == start + len(GHOST)
    assert [page.offset for page in pages] == sorted(page.offset for page in pages)
    end = size
    for page in pages:  # the image lies last, each overview directly before the next larger level
        ends = [offset + nbytes for offset, nbytes in zip(page.dataoffsets, page.databytecounts, strict=True)]
        assert list(page.dataoffsets[1:]) == ends[:-1]
        assert ends[-1] == end
        end = page.dataoffsets[0]
    assert end % 64 == 0
    assert all(page.offset < end for page in pages)


def assert_pixels(path: Path, levels: list[NDArray[Any]]) -> None:
    """Equal for tifffile and for GDAL."""
    with tifffile.TiffFile(path) as tiff:
        assert [page.is_reduced for page in pages_of(tiff)] == [level > 0 for level in range(len(levels))]
        for page, level in zip(pages_of(tiff), levels, strict=True):
            np.testing.assert_array_equal(page.asarray().reshape(level.shape), level)
            assert page.asarray().dtype == level.dtype
    for number, level in enumerate(levels):
        chosen = {"overview_level": number - 1} if number else {}
        with rasterio.open(path, **chosen) as dataset:
            read = np.moveaxis(dataset.read(), 0, -1)
        np.testing.assert_array_equal(read.astype(level.dtype), level)


@pytest.mark.parametrize("compress", LOSSLESS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_all_readers_see_the_pixels(tmp_path: Path, compress: str, dtype: str) -> None:
    for shape in SHAPES:
        image = picture(shape, dtype)
        path = tmp_path / "image.tif"
        write(path, image, CogConfig(compress, blocksize=16))
        levels = levels_of(image, 0 if max(shape[:2]) <= 16 else int(np.ceil(np.log2(max(shape[:2]) / 16))))
        assert_pixels(path, levels)
        assert_cog(path, len(levels))


@pytest.mark.parametrize("blocksize", [128, 256, 512])
@pytest.mark.parametrize("overviews", ["average", "nearest"])
def test_a_larger_picture(tmp_path: Path, blocksize: int, overviews: Any) -> None:
    image = picture((700, 1031, 3))
    path = tmp_path / "image.tif"
    write(path, image, CogConfig(blocksize=blocksize, overviews=overviews))
    levels = levels_of(image, {128: 4, 256: 3, 512: 2}[blocksize], method=overviews)
    assert max(levels[-1].shape) <= blocksize
    assert_pixels(path, levels)
    assert_cog(path, len(levels))
    with rasterio.open(path) as dataset:
        assert dataset.overviews(1) == [2**n for n in range(1, len(levels))]
        assert dataset.block_shapes[0] == (blocksize, blocksize)


def test_one_column(tmp_path: Path) -> None:
    """Not shown to rio-cogeo, which tells the scale of an overview by its width alone."""
    image = picture((90, 1, 1))
    write(tmp_path / "image.tif", image, CogConfig(blocksize=16))
    assert_pixels(tmp_path / "image.tif", levels_of(image, 3))


def test_no_overviews(tmp_path: Path) -> None:
    image = picture((300, 200, 1))
    write(tmp_path / "image.tif", image, CogConfig(blocksize=64, overviews="none"))
    assert_pixels(tmp_path / "image.tif", [image])
    assert_cog(tmp_path / "image.tif", 1)


@pytest.mark.parametrize("bands", [1, 3])
def test_jpeg(tmp_path: Path, bands: int) -> None:
    for rows, cols in ((1, 1), (16, 16), (200, 333)):
        image = picture((rows, cols, bands))
        path = tmp_path / "image.tif"
        write(path, image, CogConfig("JPEG", blocksize=64, quality=95))
        read = tifffile.imread(path).reshape(image.shape)
        assert np.abs(read.astype(int) - image).mean() < 4
        with rasterio.open(path) as dataset:
            np.testing.assert_allclose(np.moveaxis(dataset.read(), 0, -1), read, atol=2)
        with Image.open(path) as pillow:
            assert pillow.mode == ("RGB" if bands == 3 else "L")
            np.testing.assert_allclose(np.asarray(pillow).reshape(image.shape), read, atol=2)
        assert_cog(path, 1 if rows < 64 else 4)


@pytest.mark.parametrize("blocksize", [64, 128, 256])
@pytest.mark.parametrize("bands", [1, 3])
def test_nobody_minds_restart_markers(
    tmp_path: Path, bands: int, blocksize: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each reader sees the same pixels as in a file without them, of the image and of its overviews."""
    image = picture((300, 333, bands))
    config = CogConfig("JPEG", blocksize=blocksize)
    (tmp_path / "with").mkdir()
    marked, plain = tmp_path / "with" / "image.tif", tmp_path / "image.tif"
    write(marked, image, config)
    monkeypatch.setattr("subregion.convert.encodings._INTERVAL_PIXELS", 1 << 30)
    write_cog(plain, image.shape, image.dtype, strips(image), config)
    assert (b"\xff\xdd\0\4" in marked.read_bytes()) == (blocksize > 64)
    assert b"\xff\xdd\0\4" not in plain.read_bytes()
    levels = {64: 4, 128: 3, 256: 2}[blocksize]
    assert_cog(marked, levels)
    for read, level in itertools.product((_by_tifffile, _by_vips, _by_pillow, _by_rasterio), range(levels)):
        np.testing.assert_array_equal(read(marked, level), read(plain, level))


def _by_tifffile(path: Path, level: int) -> NDArray[Any]:
    return tifffile.imread(path, key=level)


def _by_vips(path: Path, level: int) -> NDArray[Any]:
    return np.asarray(pyvips.Image.tiffload(str(path), page=level, fail_on="warning").numpy())


def _by_pillow(path: Path, level: int) -> NDArray[Any]:
    with Image.open(path) as image:
        image.seek(level)
        return np.asarray(image)


def _by_rasterio(path: Path, level: int) -> NDArray[Any]:
    options = {"overview_level": level - 1} if level else {}
    with rasterio.open(path, **options) as dataset:
        return np.asarray(dataset.read())


@pytest.mark.parametrize(("dtype", "bands"), [("u1", 4), ("u1", 2), ("u2", 3), ("f4", 1)])
def test_jpeg_refuses_what_it_cannot_hold(tmp_path: Path, dtype: str, bands: int) -> None:
    with pytest.raises(ConfigError, match=rf"{np.dtype(dtype)} with {bands}.*ZSTD"):
        write_cog(tmp_path / "image.tif", (9, 9, bands), dtype, [], CogConfig("JPEG"))
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("compress", LOSSLESS)
@pytest.mark.parametrize(
    ("dtype", "bands", "alpha", "mode"),
    [
        ("u1", 1, False, "L"),
        ("u1", 3, False, "RGB"),
        ("u1", 4, True, "RGBA"),
        ("u1", 2, True, "LA"),
        ("u2", 1, False, "I;16"),
        ("f4", 1, False, "F"),
    ],
)
def test_pillow_reads_what_it_can(
    tmp_path: Path, compress: str, dtype: str, bands: int, alpha: bool, mode: str
) -> None:
    image = picture((75, 61, bands), dtype)
    write(tmp_path / "image.tif", image, CogConfig(compress, blocksize=32), alpha=alpha)
    with Image.open(tmp_path / "image.tif") as pillow:
        assert pillow.mode == mode
        np.testing.assert_array_equal(np.asarray(pillow).reshape(image.shape), image)


@pytest.mark.parametrize(
    ("dtype", "bands", "alpha", "meaning"),
    [
        ("u1", 3, False, ["red", "green", "blue"]),
        ("u2", 4, True, ["red", "green", "blue", "alpha"]),
        ("u1", 4, False, ["gray", "undefined", "undefined", "undefined"]),
        ("f4", 3, False, ["gray", "undefined", "undefined"]),
        ("u1", 2, True, ["gray", "alpha"]),
    ],
)
def test_what_the_bands_are_said_to_be(
    tmp_path: Path, dtype: str, bands: int, alpha: bool, meaning: list[str]
) -> None:
    write(tmp_path / "image.tif", picture((20, 20, bands), dtype), CogConfig(), alpha=alpha)
    with rasterio.open(tmp_path / "image.tif") as dataset:
        assert [band.name for band in dataset.colorinterp] == meaning


def test_nodata_on_every_level_and_out_of_the_averages(tmp_path: Path) -> None:
    for dtype, nodata, text in (("i2", -9999, "-9999"), ("f4", np.nan, "nan"), ("f8", -0.1, "-0.1")):
        image = picture((70, 50, 1), dtype)
        image[10:31, 5:20] = nodata
        path = tmp_path / "image.tif"
        write(path, image, CogConfig(blocksize=16), nodata=nodata)
        levels = levels_of(image, 3, nodata=nodata)
        assert_pixels(path, levels)
        assert_cog(path, 4)
        with tifffile.TiffFile(path) as tiff:
            assert [page.tags[42113].value for page in pages_of(tiff)] == [text] * 4
        with rasterio.open(path) as dataset:
            np.testing.assert_equal(dataset.nodata, nodata)


def test_tags_are_copied_to_the_image_only(tmp_path: Path) -> None:
    metadata = '<GDALMetadata><Item name="sensor">camera</Item></GDALMetadata>'
    tags = [
        Tag.of(33550, FieldType.DOUBLE, 30.0, 30.0, 0.0),
        Tag.of(33922, FieldType.DOUBLE, 0.0, 0.0, 0.0, 500000.0, 4600000.0, 0.0),
        Tag.of(34735, FieldType.SHORT, 1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 32633),
        Tag.text(42112, metadata),
        Tag(34675, FieldType.UNDEFINED, 5, b"color"),
        Tag.of(282, FieldType.RATIONAL, 300, 1),
    ]
    path = tmp_path / "image.tif"
    image = picture((100, 60, 3))
    write(path, image, CogConfig(blocksize=32), tags=tags)
    assert_cog(path, 3)
    assert_pixels(path, levels_of(image, 2))
    with rasterio.open(path) as dataset, warnings.catch_warnings():
        warnings.simplefilter("error", NotGeoreferencedWarning)
        assert dataset.crs.to_epsg() == 32633
        assert dataset.transform[:6] == (30, 0, 500000, 0, -30, 4600000)
        assert dataset.tags()["sensor"] == "camera"
    with tifffile.TiffFile(path) as tiff:
        assert tiff.pages.first.tags[34675].value == b"color"
        assert tiff.pages.first.tags[282].value == (300, 1)
        for page in pages_of(tiff)[1:]:
            assert not {tag.code for tag in tags} & {tag.code for tag in page.tags}


@pytest.mark.parametrize("code", [256, 324, 277, 347, 42113])
def test_tags_of_the_writer_cannot_be_given(tmp_path: Path, code: int) -> None:
    with pytest.raises(ConfigError, match=str(code)):
        write(tmp_path / "image.tif", picture((9, 9, 1)), CogConfig(), tags=[Tag.of(code, FieldType.LONG, 1)])
    assert not os.listdir(tmp_path)


def test_a_tag_of_the_wrong_size_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"33550.*24 bytes"):
        Tag(33550, FieldType.DOUBLE, 3, b"12345678")
    with pytest.raises(ConfigError, match="type 99"):
        Tag(33550, 99, 1, b"")


@pytest.mark.parametrize("compress", ["ZSTD", "RAW"])
def test_a_file_too_large_for_classic_tiff_is_bigtiff(tmp_path: Path, compress: str) -> None:
    image = picture((131, 70, 3), "u2")
    path = tmp_path / "image.tif"
    write(path, image, CogConfig(compress, blocksize=16))
    classic = path.stat().st_size
    assert struct.unpack("<2sH", path.read_bytes()[:4]) == (b"II", 42)
    write(path, image, CogConfig(compress, blocksize=16), classic_limit=classic)
    assert struct.unpack("<2sH", path.read_bytes()[:4]) == (b"II", 42)
    write(path, image, CogConfig(compress, blocksize=16), classic_limit=classic - 1)
    assert struct.unpack("<2sH", path.read_bytes()[:4]) == (b"II", 43)
    levels = levels_of(image, 4)
    assert_pixels(path, levels)
    assert_cog(path, len(levels))


def test_positions_beyond_four_gigabytes(tmp_path: Path) -> None:
    encoding = encoding_for("RAW", 16384, np.dtype("<u8"), 1, level=None, quality=90)
    tags = pixel_tags(np.dtype("<u8"), 1, encoding, alpha=False)
    nbytes = [[2**31] * 6, [2**31] * 2, [2**31]]
    layout = plan_layout([(20000, 40000, 1), (10000, 20000, 1), (5000, 10000, 1)], nbytes, 16384, tags, ())
    path = tmp_path / "image.tif"
    path.write_bytes(layout.head)
    os.truncate(path, layout.nbytes)  # a hole, where the blocks would be
    with tifffile.TiffFile(path) as tiff:
        assert tiff.is_bigtiff
        places = [list(page.dataoffsets) for page in pages_of(tiff)]
    start = len(layout.head)
    assert places == [
        [start + n * 2**31 for n in range(3, 9)],
        [start + n * 2**31 for n in range(1, 3)],
        [start],
    ]
    assert layout.nbytes == start + 9 * 2**31


def test_bytes_depend_on_nothing_but_the_pixels(tmp_path: Path) -> None:
    image = picture((333, 257, 3))
    files = []
    for threads, height in ((1, 333), (2, 7), (5, 64)):
        path = tmp_path / "image.tif"
        write_cog(path, image.shape, ">u1", strips(image, height), CogConfig(blocksize=32), threads=threads)
        files.append(path.read_bytes())
    assert files[0] == files[1] == files[2]
    swapped = image.astype(">u2")
    for source in (swapped, swapped.astype("<u2")):
        write(tmp_path / "image.tif", source, CogConfig())
        files.append((tmp_path / "image.tif").read_bytes())
    assert files[3] == files[4]


def test_a_flipped_bit_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "image.tif"
    write(path, picture((64, 64, 3)), CogConfig(blocksize=64))
    data = bytearray(path.read_bytes())
    for place in range(1, 12):
        damaged = data.copy()
        damaged[-place * len(data) // 16] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(Exception, match=r"(?i)zstd|corrupt|checksum|decode"):
            tifffile.imread(path)


@pytest.mark.parametrize("fault", ["few", "many", "width", "bands", "dtype", "flat", "raise", "interrupt"])
@pytest.mark.parametrize("at", [0, 1])
def test_a_bad_stream_leaves_nothing(tmp_path: Path, fault: str, at: int) -> None:
    image = picture((100, 90, 3))
    good = image[:50]

    def stream() -> Iterator[NDArray[Any]]:
        yield from [good] * at
        match fault:
            case "few":
                return
            case "many":
                yield image
                yield good
            case "width":
                yield good[:, :-1]
            case "bands":
                yield good[..., :1]
            case "dtype":
                yield good.astype("i1")
            case "flat":
                yield good[..., 0]
            case "raise":
                raise RuntimeError("decoder")
            case "interrupt":
                raise KeyboardInterrupt

    kind = {"raise": RuntimeError, "interrupt": KeyboardInterrupt}.get(fault, DamagedFileError)
    before = threading.active_count()
    with pytest.raises(kind):
        write_cog(tmp_path / "image.tif", (100, 90, 3), "u1", stream(), CogConfig(blocksize=16))
    assert not os.listdir(tmp_path)
    assert threading.active_count() == before


@pytest.mark.parametrize("when", ["encode", "spool", "join"])
def test_a_failure_on_the_way_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    def full(*_args: Any, **_kwargs: Any) -> None:
        raise OSError(28, "No space left on device")

    target = {
        "encode": "blocks.Conveyor._encode_all",
        "spool": "cog._Spool.append",
        "join": "cog.shutil.copyfileobj",
    }
    monkeypatch.setattr(f"subregion.convert.{target[when]}", full)
    with pytest.raises(OSError, match="No space"):
        write(tmp_path / "image.tif", picture((100, 90, 3)), CogConfig(blocksize=16))
    assert not os.listdir(tmp_path)


def test_without_help_of_the_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = picture((100, 90, 3))
    write(tmp_path / "image.tif", image, CogConfig(blocksize=16))
    expected = (tmp_path / "image.tif").read_bytes()
    monkeypatch.delattr("os.copy_file_range", raising=False)
    write(tmp_path / "image.tif", image, CogConfig(blocksize=16))
    assert (tmp_path / "image.tif").read_bytes() == expected


def test_what_tiff_cannot_hold(tmp_path: Path) -> None:
    for shape, dtype in (((0, 4, 1), "u1"), ((4, 0, 1), "u1"), ((4, 4, 0), "u1"), ((4, 4, 1), "?")):
        with pytest.raises(UnsupportedFormatError):
            write_cog(tmp_path / "image.tif", shape, dtype, [], CogConfig())
    with pytest.raises(ConfigError, match="LERC"):
        write_cog(tmp_path / "image.tif", (4, 4, 1), "u1", [], CogConfig("LERC"))
    assert not os.listdir(tmp_path)


def test_strips_are_pulled_as_they_are_needed(tmp_path: Path) -> None:
    """About two rows of blocks are in memory: a strip buffer can be used again at once."""
    image = picture((400, 120, 3))
    buffer = np.empty((10, 120, 3), np.uint8)

    def stream() -> Iterator[NDArray[Any]]:
        for row in range(0, 400, 10):
            buffer[...] = image[row : row + 10]
            yield buffer

    write_cog(tmp_path / "image.tif", (400, 120, 3), "u1", stream(), CogConfig(blocksize=16))
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "image.tif"), image)
