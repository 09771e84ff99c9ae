"""Pictures as they come from the world: few bits, inks, palettes, turned, animated, half-written."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageCms

import subregion
from pictures import by_pillow, by_tifffile
from subregion.errors import DamagedFileError

Photo = NDArray[np.uint8]


def read(path: Path, backend: str | None = None, workdir: Path | None = None) -> NDArray[Any]:
    """All pixels, and a check that windows are parts of them."""
    picture = subregion.open(path, backend=backend, workdir=workdir)
    pixels = np.asarray(picture)
    np.testing.assert_array_equal(picture[30:71:3, 20:99], pixels[30:71:3, 20:99])
    np.testing.assert_array_equal(picture[-1:, -1:], pixels[-1:, -1:])
    return pixels


def write_tiff(
    path: Path, width: int, height: int, tags: dict[int, tuple[int, Any]], strips: Sequence[Any]
) -> None:
    """Write a TIFF from raw strips and tags (code -> type and values); for what no library writes."""
    tags = {
        256: (4, width),
        257: (4, height),
        273: (4, [0] * len(strips)),
        279: (4, [len(s) for s in strips]),
    } | tags
    forms = {3: "H", 4: "I", 5: "I", 12: "d"}
    entries, extra = [], b""
    base = 8 + 2 + 12 * len(tags) + 4
    data_at = base + 4096
    place = data_at
    offsets = []
    for strip in strips:
        offsets.append(place)
        place += len(strip)
    tags[273] = (4, offsets)
    for code in sorted(tags):
        kind, values = tags[code]
        numbers = list(values) if isinstance(values, list | tuple) else [values]
        packed = struct.pack(f"<{len(numbers)}{forms[kind]}", *numbers)
        count = len(numbers) // 2 if kind == 5 else len(numbers)
        if len(packed) <= 4:
            entries.append(struct.pack("<HHI", code, kind, count) + packed.ljust(4, b"\0"))
        else:
            entries.append(struct.pack("<HHII", code, kind, count, base + len(extra)))
            extra += packed
    head = b"II*\0" + struct.pack("<IH", 8, len(tags)) + b"".join(entries) + struct.pack("<I", 0) + extra
    path.write_bytes(head.ljust(data_at, b"\0") + b"".join(strips))


@pytest.mark.parametrize("bits", [1, 2, 4])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_greys_of_few_bits_are_what_pillow_shows(
    bits: int, suffix: str, tmp_path: Path, photograph: Photo
) -> None:
    grey = photograph[:93, :131, 0] >> (8 - bits)
    path = tmp_path / f"grey{suffix}"
    if suffix == ".tif":
        packed = [imagecodecs.packints_encode(row, bits) for row in grey]
        write_tiff(path, 131, 93, {258: (3, bits), 259: (3, 1), 262: (3, 1), 278: (4, 1)}, packed)
    else:
        Image.fromarray(photograph[:93, :131, 0]).convert("L").save(path, bits=bits)
        path.write_bytes(grey_png(grey, bits))
    expected = by_pillow(path)
    np.testing.assert_array_equal(read(path), expected)
    scale = 1 if bits == 1 else 255 // ((1 << bits) - 1)
    np.testing.assert_array_equal(expected[..., 0], grey * scale)


def grey_png(grey: NDArray[Any], bits: int) -> bytes:
    import zlib

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    rows = b"".join(b"\0" + imagecodecs.packints_encode(row, bits) for row in grey)
    header = struct.pack(">IIBBBBB", grey.shape[1], grey.shape[0], bits, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_samples_between_bytes_are_as_stored(bits: int, tmp_path: Path, photograph: Photo) -> None:
    grey = photograph[:93, :131, 0].astype(np.uint16) << (bits - 8)
    path = tmp_path / "a.tif"
    packed = [imagecodecs.packints_encode(row, bits) for row in grey]
    write_tiff(path, 131, 93, {258: (3, bits), 259: (3, 1), 262: (3, 1), 278: (4, 1)}, packed)
    got = read(path)
    assert got.dtype == np.uint16
    np.testing.assert_array_equal(got[..., 0], grey)


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 12, 16, 32])
def test_min_is_white_is_inverted(bits: int, tmp_path: Path, photograph: Photo) -> None:
    dtype = np.dtype("u1") if bits <= 8 else np.dtype("u2") if bits <= 16 else np.dtype("u4")
    wide = photograph[:93, :131, 0].astype(np.uint64)
    grey = (wide >> (8 - bits) if bits < 8 else wide << (bits - 8)).astype(dtype)
    path = tmp_path / "a.tif"
    rows = [row.tobytes() if bits in (8, 16, 32) else imagecodecs.packints_encode(row, bits) for row in grey]
    write_tiff(path, 131, 93, {258: (3, bits), 259: (3, 1), 262: (3, 0), 278: (4, 1)}, rows)
    white = (1 << bits) - 1
    expected = (white - grey.astype(np.uint64)) * (255 // white if bits in (2, 4) else 1)
    np.testing.assert_array_equal(read(path)[..., 0], expected)
    if bits <= 8:
        np.testing.assert_array_equal(read(path), by_pillow(path))


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_palettes_become_rgb(bits: int, tmp_path: Path, photograph: Photo) -> None:
    index = photograph[:93, :131, 0] >> (8 - bits)
    colours = np.random.default_rng(2).integers(0, 1 << 16, (3, 1 << bits))
    path = tmp_path / "a.tif"
    rows = [imagecodecs.packints_encode(row, bits) if bits < 8 else row.tobytes() for row in index]
    tags = {258: (3, bits), 259: (3, 1), 262: (3, 3), 278: (4, 1), 320: (3, colours.ravel().tolist())}
    write_tiff(path, 131, 93, tags, rows)
    np.testing.assert_array_equal(read(path), (colours.T >> 8).astype(np.uint8)[index])
    np.testing.assert_array_equal(read(path), by_pillow(path, "RGB"))


def test_wide_inks_become_wide_rgb(tmp_path: Path, photograph: Photo) -> None:
    inks = np.concatenate([photograph, photograph[..., :1] // 2], axis=-1)[:93, :131].astype(np.uint16) * 257
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, inks, photometric="separated", compression="zlib", tile=(64, 64))
    got = read(path)
    assert got.dtype == np.uint16
    small = tmp_path / "b.tif"
    tifffile.imwrite(small, (inks // 257).astype(np.uint8), photometric="separated")
    expected = by_pillow(small, "RGB")
    np.testing.assert_array_equal(read(small), expected)
    assert np.abs(got / 257.0 - expected).max() <= 1


def test_lab_becomes_rgb(tmp_path: Path, photograph: Photo) -> None:
    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    lab = ImageCms.profileToProfile(Image.fromarray(photograph[:93, :131]), *profiles, outputMode="LAB")
    assert lab is not None
    path = tmp_path / "a.tif"
    lab.save(path)
    np.testing.assert_array_equal(read(path), by_pillow(path, "RGB"))
    assert np.abs(read(path).astype(int) - photograph[:93, :131]).mean() < 3


@pytest.mark.parametrize("compression", [1, 5, 8])
@pytest.mark.parametrize(("across", "down"), [(1, 1), (2, 1), (2, 2), (4, 1), (4, 2), (4, 4)])
def test_chroma_that_pixels_share(
    down: int, across: int, compression: int, tmp_path: Path, photograph: Photo
) -> None:
    height, width = 92, 132
    ycc = np.asarray(Image.fromarray(photograph[:height, :width]).convert("YCbCr"))
    luma = ycc[..., 0].reshape(height // down, down, width // across, across).transpose(0, 2, 1, 3)
    chroma = ycc[::down, ::across, 1:]
    groups = np.concatenate([luma.reshape(*chroma.shape[:2], -1), chroma], axis=-1)
    encoders: dict[int, Callable[[Any], Any]] = {
        1: bytes,
        5: imagecodecs.lzw_encode,
        8: imagecodecs.zlib_encode,
    }
    path = tmp_path / "a.tif"
    tags = {
        258: (3, [8, 8, 8]),
        259: (3, compression),
        262: (3, 6),
        277: (3, 3),
        278: (4, 4),
        530: (3, [across, down]),
    }
    strips = [
        encoders[compression](groups[k : k + 4 // down].tobytes())
        for k in range(0, height // down, 4 // down)
    ]
    write_tiff(path, width, height, tags, strips)
    got = read(path)
    repeated = np.stack(
        [ycc[..., 0], *(chroma[..., k].repeat(down, 0).repeat(across, 1) for k in (0, 1))], axis=-1
    )
    expected = np.asarray(Image.fromarray(repeated, "YCbCr").convert("RGB")).astype(int)
    assert np.abs(got - expected).max() <= 1  # libtiff and Pillow round the same formula differently
    if compression != 1 and down < 4:  # libtiff leaves the last columns of 4 x 4 black
        np.testing.assert_array_equal(got, by_pillow(path, "RGB"))


def test_bits_from_right_to_left(tmp_path: Path, photograph: Photo) -> None:
    grey = photograph[:93, :131, 0]
    path = tmp_path / "a.tif"
    rows = [imagecodecs.bitorder_encode(row.tobytes()) for row in grey]
    write_tiff(path, 131, 93, {258: (3, 8), 259: (3, 1), 262: (3, 1), 266: (3, 2), 278: (4, 1)}, rows)
    np.testing.assert_array_equal(read(path)[..., 0], grey)


def test_a_strip_may_hold_more_than_it_needs(tmp_path: Path, photograph: Photo) -> None:
    grey = photograph[:93, :131, 0]
    path = tmp_path / "a.tif"
    strips = [imagecodecs.zlib_encode(grey[k : k + 20].tobytes() + bytes(500)) for k in range(0, 93, 20)]
    write_tiff(path, 131, 93, {258: (3, 8), 259: (3, 8), 262: (3, 1), 278: (4, 20)}, strips)
    np.testing.assert_array_equal(read(path)[..., 0], grey)


def test_a_strip_that_holds_too_little_is_damage(tmp_path: Path, photograph: Photo) -> None:
    grey = photograph[:93, :131, 0]
    path = tmp_path / "a.tif"
    encoders: dict[int, Callable[[Any], Any]] = {
        1: bytes,
        5: imagecodecs.lzw_encode,
        8: imagecodecs.zlib_encode,
        32773: imagecodecs.packbits_encode,
        50000: imagecodecs.zstd_encode,
    }
    for compression, encode in encoders.items():
        strips = [encode(grey[k : k + 20].tobytes()) for k in range(0, 93, 20)]
        strips[1] = encode(grey[20:25].tobytes())
        write_tiff(path, 131, 93, {258: (3, 8), 259: (3, compression), 262: (3, 1), 278: (4, 20)}, strips)
        with pytest.raises(DamagedFileError, match="a.tif"):
            read(path)


@pytest.mark.parametrize("shape", [(32, 64), (64, 32), (1, 64)])
def test_a_tile_that_is_all_of_the_image_and_too_small(
    shape: tuple[int, int], tmp_path: Path, photograph: Photo, workdir: Path
) -> None:
    """Whoever goes through all rows is told of it in the same words as whoever reads a window."""
    path = tmp_path / "a.tif"
    small = imagecodecs.jpeg_encode(np.ascontiguousarray(photograph[: shape[0], : shape[1]]))
    tifffile.imwrite(
        path, iter([bytes(small)]), shape=(64, 64, 3), dtype="u1", tile=(64, 64), photometric="ycbcr",
        compression="jpeg", subsampling=(2, 2), metadata=None,
    )  # fmt: skip
    for backend in (None, "cog", "zarr", "npy"):
        frames = subregion.SimpleFrames({"a": path}, workdir, backend)
        with pytest.raises(DamagedFileError, match=rf"a\.tif: the block at row 0.* {shape[0]} rows of"):
            frames.load_region("a")


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_tiles_that_were_never_written(tmp_path: Path, photograph: Photo) -> None:
    import rasterio
    from rasterio.windows import Window

    for nodata in (None, 9):
        path = tmp_path / f"sparse{nodata}.tif"
        profile = {
            "driver": "GTiff", "height": 400, "width": 600, "count": 3, "dtype": "uint8", "tiled": True,
            "blockxsize": 64, "blockysize": 64, "sparse_ok": True, "compress": "deflate", "nodata": nodata,
        }  # fmt: skip
        with rasterio.open(path, "w", **profile) as file:
            file.write(np.moveaxis(photograph[:64, :64], -1, 0), window=Window(128, 64, 64, 64))
        with rasterio.open(path) as file:
            expected = np.moveaxis(file.read(), 0, -1)
        np.testing.assert_array_equal(read(path), expected)


@pytest.mark.parametrize("suffix", [".jpg", ".tif", ".png", ".webp"])
@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_orientation_is_not_applied(orientation: int, suffix: str, tmp_path: Path, photograph: Photo) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    path, plain = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    image = Image.fromarray(photograph[:93, :131])
    image.save(path, exif=exif)
    image.save(plain)
    np.testing.assert_array_equal(read(path), by_pillow(plain))


def test_the_first_page_is_the_image(tmp_path: Path, photograph: Photo) -> None:
    pages = [photograph[:93, :131], photograph[100:193, 100:231]]
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.stack(pages), photometric="rgb")
    np.testing.assert_array_equal(read(path), pages[0])
    images = [Image.fromarray(page) for page in pages]
    for suffix in (".gif", ".webp", ".png", ".mpo"):
        path = tmp_path / f"a{suffix}"
        options: dict[str, Any] = {"lossless": True} if suffix == ".webp" else {}
        images[0].save(path, save_all=True, append_images=images[1:], **options)
        np.testing.assert_array_equal(read(path), by_pillow(path, "RGB"), err_msg=suffix)


@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_bands_last_as_tifffile_writes_them(byteorder: Any, tmp_path: Path, photograph: Photo) -> None:
    path = tmp_path / "a.tif"
    array = photograph[:93, :131, :2].astype(np.uint16) * 3
    tifffile.imwrite(path, array, byteorder=byteorder)
    np.testing.assert_array_equal(read(path), tifffile.imread(path))
    stack = photograph[:93, :131, 0][:, None, :].repeat(4, 1)  # a stack of pictures of 4 rows stays one
    tifffile.imwrite(path, stack, byteorder=byteorder)
    np.testing.assert_array_equal(np.asarray(subregion.open(path, backend=None))[..., 0], stack[0])


def test_overviews_are_not_the_image(tmp_path: Path, photograph: Photo, workdir: Path) -> None:
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as writer:
        writer.write(photograph, photometric="rgb", tile=(64, 64), subifds=1)
        writer.write(photograph[::2, ::2], photometric="rgb", tile=(64, 64), subfiletype=1)
    from subregion.formats.open import open_raster

    assert open_raster(str(path)).level_shapes == ((400, 600), (200, 300))
    np.testing.assert_array_equal(read(path), photograph)
    frames = subregion.SimpleFrames({1: path}, workdir=workdir, backend="cog")
    frames.prepare()
    (copy,) = frames.cache_dpath.rglob("*.tif")
    assert open_raster(str(copy)).level_shapes == ((400, 600), (200, 300), (100, 150), (50, 75))


def test_bytes_between_the_markers_of_a_jpeg(tmp_path: Path, photograph: Photo) -> None:
    buffer = io.BytesIO()
    Image.fromarray(photograph).save(buffer, "JPEG")
    data = buffer.getvalue()
    path = tmp_path / "a.jpg"
    path.write_bytes(data[:20] + b"\0" * 5 + data[20:])
    np.testing.assert_array_equal(read(path), by_pillow(path))


def test_a_jpeg_that_promises_more_rows_than_it_holds(tmp_path: Path, photograph: Photo) -> None:
    buffer = io.BytesIO()
    Image.fromarray(photograph).save(buffer, "JPEG")
    data = bytearray(buffer.getvalue())
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 2] = struct.pack(">H", 800)
    path = tmp_path / "a.jpg"
    path.write_bytes(data)
    with pytest.raises(DamagedFileError, match="a.jpg"):
        np.asarray(subregion.open(path, backend=None))


@pytest.mark.parametrize("options", [{"bitspersample": 12}, {"lossless": True}])
def test_jpegs_that_few_can_read(options: dict[str, Any], tmp_path: Path, photograph: Photo) -> None:
    pixels = (
        photograph[:93, :131].astype(np.uint16) << 4 if "bitspersample" in options else photograph[:93, :131]
    )
    path = tmp_path / "a.jpg"
    data = imagecodecs.jpeg_encode(pixels, level=95, **options)
    path.write_bytes(data)
    np.testing.assert_array_equal(read(path), imagecodecs.jpeg_decode(data))


@pytest.mark.parametrize("dtype", ["u2", "i2", "i1"])
def test_jpeg2000_keeps_its_samples(dtype: str, tmp_path: Path, photograph: Photo) -> None:
    kind = np.dtype(dtype)
    pixels = (photograph[:93, :131].astype(np.int32) - (128 if kind.kind == "i" else 0)).astype(kind)
    path = tmp_path / "a.jp2"
    path.write_bytes(imagecodecs.jpeg2k_encode(pixels, level=0, codecformat="jp2"))
    got = read(path)
    assert got.dtype == kind
    np.testing.assert_array_equal(got, pixels)


def test_portable_maps(tmp_path: Path, photograph: Photo) -> None:
    wide = photograph[:93, :131].astype(">u2") * 257
    path = tmp_path / "a.ppm"
    path.write_bytes(b"P6\n# made by hand\n131 93\n65535\n" + wide.tobytes())
    np.testing.assert_array_equal(read(path), wide)
    path = tmp_path / "a.pgm"
    path.write_bytes(b"P5 131 93 1000\n" + (wide[..., 0] // 66).astype(">u2").tobytes())
    got = read(path)
    assert got.dtype == np.uint16
    np.testing.assert_array_equal(got, by_pillow(path))


def test_half_floats_and_more_samples_than_colours(tmp_path: Path, photograph: Photo) -> None:
    path = tmp_path / "a.tif"
    samples = np.concatenate([photograph, photograph[..., :2]], axis=-1)[:93, :131].astype(np.float16) / 3
    for planar in ("contig", "separate"):
        array = samples if planar == "contig" else np.moveaxis(samples, -1, 0)
        tifffile.imwrite(path, array, photometric="rgb", planarconfig=planar, compression="zlib", predictor=3)
        got = read(path)
        assert got.dtype == np.float16
        np.testing.assert_array_equal(got, samples)
        np.testing.assert_array_equal(got, by_tifffile(path))


def test_messages_that_another_thread_cleared(
    tmp_path: Path, photograph: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    """libvips keeps one text for all threads: an error without one is looked at again."""
    import pyvips

    path = tmp_path / "a.jpg"
    Image.fromarray(photograph).save(path)
    content = path.read_bytes()
    at = content.index(b"\xff\xdb")
    path.write_bytes(content[:at] + b"stray bytes" + content[at:])
    cleared: list[int] = []
    error = pyvips.Error

    class Cleared(error):  # type: ignore[misc, valid-type]
        def __init__(self, message: str, detail: str | None = None) -> None:
            super().__init__(message, detail)
            if len(cleared) < 2:
                cleared.append(1)
                self.detail = ""

    monkeypatch.setattr("pyvips.voperation.Error", Cleared)
    monkeypatch.setattr("pyvips.vregion.Error", Cleared)
    got = subregion.open(path)[:]
    with Image.open(path) as image:
        np.testing.assert_array_equal(got, np.asarray(image))
    assert len(cleared) == 2
