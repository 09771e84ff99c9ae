"""What the samples of a JPEG are: in TIFFs of any number of bands, and in files with four components."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from PIL import Image

import jpegs
import subregion
from pictures import by_pillow
from strangers import one_tile
from subregion import SimpleFrames
from subregion.errors import DamagedFileError

Photo = NDArray[np.uint8]


def banded(photo: Photo, count: int) -> Photo:
    return np.stack([np.roll(photo[..., band % 3], 7 * band, axis=1) for band in range(count)], axis=-1)


def by_gdal(path: Path, pixels: Photo, **options: Any) -> Photo:
    """Write with GDAL, and read with it."""
    rows, cols, bands = pixels.shape
    with rasterio.open(path, "w", driver="GTiff", dtype="uint8", height=rows, width=cols, count=bands,
                       compress="JPEG", **options) as target:  # fmt: skip
        target.write(np.moveaxis(pixels, -1, 0))
    with rasterio.open(path) as source:
        return np.ascontiguousarray(np.moveaxis(source.read(), 0, -1))


@pytest.mark.filterwarnings("ignore:Dataset has no geotransform")
@pytest.mark.parametrize("layout", [{"tiled": True, "blockxsize": 64, "blockysize": 64}, {"blockysize": 32}])
@pytest.mark.parametrize(
    ("bands", "options"),
    [
        (2, {}),
        (2, {"alpha": "YES"}),
        (2, {"interleave": "band"}),
        (3, {"photometric": "MINISBLACK"}),
        (3, {"photometric": "RGB"}),
        (3, {"interleave": "band"}),
        (4, {}),
        (4, {"photometric": "RGB"}),
        (4, {"photometric": "RGB", "alpha": "YES"}),
        (4, {"photometric": "MINISBLACK"}),
        (4, {"interleave": "band"}),
        (5, {"interleave": "band"}),
        (7, {"interleave": "band", "photometric": "RGB"}),
    ],
)
def test_tiffs_that_gdal_writes(
    bands: int, options: dict[str, Any], layout: dict[str, Any], tmp_path: Path, photograph: Photo
) -> None:
    path = tmp_path / "a.tif"
    options = {"interleave": "pixel"} | options | layout
    expected = by_gdal(path, banded(photograph[:150, :170], bands), **options)
    frames = SimpleFrames({1: path}, workdir=tmp_path / "work")
    np.testing.assert_array_equal(frames.load_region(1), expected)
    for part in (np.s_[10:20, 60:70], np.s_[63:130:3, 1:169:5], np.s_[140:, 100:]):
        np.testing.assert_array_equal(frames.load_region(1, part), expected[part])
        np.testing.assert_array_equal(frames.load_regions([(1, part)])[0], expected[part])
    np.testing.assert_array_equal(frames.load_region(1, np.s_[5:99, 7:88, 1:2]), expected[5:99, 7:88, 1:2])
    copied = SimpleFrames({1: path}, workdir=tmp_path / "work", backend="cog")
    np.testing.assert_array_equal(copied.load_image(1), expected)


def without_marks(jpeg: bytes) -> bytes:
    """The same without what says what the samples are."""
    kept, at = jpeg[:2], 2
    while jpeg[at + 1] != 0xDA:
        stop = at + 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
        kept += jpeg[at:stop] if jpeg[at + 1] not in (0xE0, 0xEE) else b""
        at = stop
    return kept + jpeg[at:]


@pytest.mark.parametrize("interval", [0, 3])
@pytest.mark.parametrize("transform", [None, 0, 1, 2, 3])
def test_files_of_four_components(
    transform: int | None, interval: int, tmp_path: Path, photograph: Photo
) -> None:
    """With any mark of Adobe or none they are inks, as other libraries have it."""
    path = tmp_path / "a.jpg"
    jpeg = without_marks(
        jpegs.encode(photograph[:93, :131], bands=4, colorspace="CMYK", outcolorspace="CMYK")
    )
    if transform is not None:
        jpeg = jpegs.with_segment(jpeg, 0xEE, b"Adobe\0\x64\0\0\0\0" + bytes([transform]))
    path.write_bytes(jpegs.with_intervals(path, jpeg, interval) if interval else jpeg)
    expected = by_pillow(path, "RGB")
    np.testing.assert_array_equal(subregion.open(path, backend=None)[:], expected)
    np.testing.assert_array_equal(subregion.open(path, backend=None)[20:50, 30:90], expected[20:50, 30:90])


@pytest.mark.filterwarnings("ignore:Dataset has no geotransform")
@pytest.mark.parametrize("transform", [0, 2])
def test_marks_in_a_block_of_four_samples_do_not_count(
    transform: int, tmp_path: Path, photograph: Photo
) -> None:
    """The tags of a TIFF say what samples are."""
    pixels = banded(photograph[:64, :64], 4)
    jpeg = without_marks(bytes(imagecodecs.jpeg8_encode(pixels, colorspace="CMYK", outcolorspace="CMYK")))
    marked = jpegs.with_segment(jpeg, 0xEE, b"Adobe\0\x64\0\0\0\0" + bytes([transform]))
    found = []
    for number, stream in enumerate((jpeg, marked)):
        path = tmp_path / f"{number}.tif"
        path.write_bytes(one_tile(stream, 7, bands=4, photometric=2))
        found.append(subregion.open(path, backend=None)[:])
        with rasterio.open(path) as source:
            np.testing.assert_array_equal(found[-1], np.moveaxis(source.read(), 0, -1))
    np.testing.assert_array_equal(found[0], found[1])


@pytest.mark.parametrize("bits", [12, 14, 16])
def test_lossless_blocks_of_more_bits(bits: int, tmp_path: Path) -> None:
    """Raw files of cameras have two columns as two samples of a pixel."""
    pixels = np.cumsum(np.random.default_rng(1).integers(0, 3, (64, 64)), axis=1).astype(np.uint16)
    for shape in ((64, 64), (64, 32, 2)):
        stream = bytes(imagecodecs.jpeg8_encode(pixels.reshape(shape), lossless=True, bitspersample=bits))
        path = tmp_path / f"{len(shape)}.tif"
        path.write_bytes(one_tile(stream, 7, bits=16))
        np.testing.assert_array_equal(subregion.open(path, backend=None)[..., 0], pixels)


@pytest.mark.parametrize("photometric", [1, 6])
def test_damage_in_progressive_blocks_is_told(photometric: int, tmp_path: Path, photograph: Photo) -> None:
    bands = 1 if photometric == 1 else 3
    image = Image.fromarray(photograph[:64, :64, 0] if bands == 1 else photograph[:64, :64])
    written = io.BytesIO()
    image.save(written, "JPEG", progressive=True, quality=90)
    stream = bytearray(written.getvalue())
    path = tmp_path / "a.tif"
    path.write_bytes(one_tile(bytes(stream), 7, bands=bands, photometric=photometric))
    np.testing.assert_array_equal(
        subregion.open(path, backend=None)[:], by_pillow_of(bytes(stream)).reshape(64, 64, bands)
    )
    start = jpegs.scan_start(bytes(stream))
    stream[start + 100 : start + 400] = b"\x77" * 300
    path.write_bytes(one_tile(bytes(stream), 7, bands=bands, photometric=photometric))
    with pytest.raises((DamagedFileError, subregion.SubregionError), match="a.tif"):
        subregion.open(path, backend=None)[:]


def test_a_scan_that_is_lost_is_told(tmp_path: Path, photograph: Photo) -> None:
    """Decoders pass over what is no marker, and with it over all that a scan would add."""
    written = io.BytesIO()
    Image.fromarray(photograph).save(written, "JPEG", progressive=True)
    stream = bytearray(written.getvalue())
    scans = [at for at in range(len(stream) - 1) if stream[at : at + 2] == b"\xff\xda"]
    stream[scans[-1]] = 0
    path = tmp_path / "a.jpg"
    path.write_bytes(stream)
    with pytest.raises(DamagedFileError):
        subregion.open(path, backend=None)[:]


def by_pillow_of(jpeg: bytes) -> NDArray[Any]:
    with Image.open(io.BytesIO(jpeg)) as image:
        return np.asarray(image)


def test_a_mark_that_says_nothing_hides_no_damage_at_the_end(tmp_path: Path, photograph: Photo) -> None:
    jpeg = jpegs.with_segment(
        without_marks(jpegs.encode(photograph, bands=4, colorspace="CMYK", outcolorspace="CMYK")),
        0xEE,
        b"Adobe\0\x64\0\0\0\0" + struct.pack(">B", 1),
    )
    path = tmp_path / "a.jpg"
    path.write_bytes(jpeg[: len(jpeg) // 2])
    with pytest.raises(DamagedFileError):
        subregion.open(path, backend=None)[:]
