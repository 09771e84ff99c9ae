"""Some kilobytes that would become gigabytes: no decoder gives more than what is wanted of it."""

from __future__ import annotations

import bz2
import functools
import gzip
import io
import json
import lzma
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import zstandard
from PIL import Image

import subregion
from strangers import one_tile, read_in_child, tiff
from subregion.errors import DamagedFileError, UnsupportedFormatError

#: What a bomb would decode to, and what reading it may take.
NBYTES = 128 << 20
MEGABYTES = 60
SIDE = 64
REFUSED = ("TooLargeError", "DamagedFileError", "UnsupportedFormatError")


def zeros(compressor: Any, count: int = NBYTES) -> bytes:
    piece = bytes(1 << 20)
    return b"".join([*(compressor.compress(piece) for _ in range(count >> 20)), compressor.flush()])


def wide_lzma(data: bytes) -> bytes:
    """An xz stream that declares a dictionary of almost 4 GiB."""
    stream = bytearray(lzma.compress(data, preset=0))
    assert stream[12:16] == b"\x02\x00\x21\x01"
    stream[16] = 40
    stream[20:24] = struct.pack("<I", zlib.crc32(stream[12:20]))
    return bytes(stream)


def endless_zstd() -> bytes:
    """A frame that declares a terabyte."""
    return b"\x28\xb5\x2f\xfd\xe0" + struct.pack("<Q", 1 << 40) + b"\x01\x00\x00"


@functools.cache
def deflated() -> bytes:
    return zeros(zlib.compressobj(9))


STREAMS: dict[str, Callable[[], bytes]] = {
    "deflate": deflated,
    "zstd": lambda: zeros(zstandard.ZstdCompressor(1).compressobj(size=NBYTES)),
    "zstd of unknown size": lambda: zeros(zstandard.ZstdCompressor(1).compressobj()),
    "zstd terabyte": endless_zstd,
    "packbits": lambda: b"\x81\0" * (NBYTES // 128),
    "lzma": lambda: zeros(lzma.LZMACompressor(preset=0)),
    "lzma dictionary": lambda: wide_lzma(bytes(SIDE * SIDE)),
}
COMPRESSIONS = {"deflate": 8, "zstd": 50000, "packbits": 32773, "lzma": 34925}


def pictures() -> dict[int, bytes]:
    """Compression -> a picture that declares 12,000 x 12,000 pixels, made of a small one."""
    small = np.zeros((SIDE, SIDE), np.uint8)
    rgb = np.zeros((SIDE, SIDE, 3), np.uint8)
    jpeg = io.BytesIO()
    Image.fromarray(rgb).save(jpeg, "JPEG", progressive=True)
    before, after = struct.pack(">HH", SIDE, SIDE), struct.pack(">HH", 12000, 12000)
    siz, large = struct.pack(">II", SIDE, SIDE), struct.pack(">II", 12000, 12000)
    jpeg2000 = bytes(imagecodecs.jpeg2k_encode(small, codecformat="j2k"))
    png = bytearray(imagecodecs.png_encode(rgb))
    png[16:24] = large
    png[29:33] = struct.pack(">I", zlib.crc32(png[12:29]))
    webp = bytearray(imagecodecs.webp_encode(rgb, lossless=True))
    assert webp[12:16] == b"VP8L"
    webp[21:25] = struct.pack("<I", 11999 | 11999 << 14)
    lerc = bytearray(imagecodecs.lerc_encode(small, level=0))
    lerc[14:22] = struct.pack("<ii", 12000, 12000)
    xr = bytes(imagecodecs.jpegxr_encode(rgb))
    at = xr.index(b"WMPHOTO\0") + 12
    xr = xr[:at] + struct.pack(">HH", 11999, 11999) + xr[at + 4 :]
    return {
        7: jpeg.getvalue().replace(before, after, 1),
        34712: jpeg2000.replace(siz, large),
        34933: bytes(png),
        50001: bytes(webp),
        34887: bytes(lerc),
        22610: xr,
        50002: bytes(imagecodecs.jpegxl_encode(np.zeros((3000, 3000, 3), np.uint8), effort=1)),
    }


def test_blocks_of_a_tiff(tmp_path: Path) -> None:
    made = {name: one_tile(STREAMS[name](), COMPRESSIONS[name.split()[0]]) for name in STREAMS}
    made |= {f"picture {code}": one_tile(block, code, bands=3 if code not in (34712, 34887) else 1)
             for code, block in pictures().items()}  # fmt: skip
    made["lerc in zstd"] = one_tile(endless_zstd(), 34887)
    made["subsampled"] = tiff(
        [[(256, 4, [64]), (257, 4, [64]), (258, 3, [8] * 3), (259, 3, [8]), (262, 3, [6]), (273, 4, [8]),
          (277, 3, [3]), (278, 4, [64]), (279, 4, [len(STREAMS["deflate"]())]), (530, 3, [2, 2])]],
        STREAMS["deflate"](),
    )  # fmt: skip
    paths = []
    for name, content in made.items():
        paths.append(tmp_path / f"{name}.tif")
        paths[-1].write_bytes(content)
    outcomes, _ = read_in_child(paths)
    for path, outcome in zip(paths, outcomes, strict=True):
        assert outcome.foreign is None, (path, outcome)
        assert outcome.error in ("DamagedFileError", "UnsupportedFormatError"), (path, outcome)
        assert outcome.megabytes < MEGABYTES, (path, outcome)


def test_lzw_stops_at_the_end_of_the_block(tmp_path: Path) -> None:
    block = np.arange(SIDE * SIDE).astype(np.uint8).tobytes()
    path = tmp_path / "a.tif"
    path.write_bytes(one_tile(bytes(imagecodecs.lzw_encode(block + bytes(NBYTES))), 5))
    (outcome,), _ = read_in_child([path])
    assert outcome.error is None
    assert outcome.megabytes < MEGABYTES
    assert subregion.open(path, backend=None)[:].tobytes() == block


@pytest.mark.parametrize("code", [8, 50000, 5, 32773, 34925])
def test_what_writers_leave_over_is_cut(code: int, tmp_path: Path) -> None:
    """Readers of TIFF stop where the block ends, so writers may go on for a little."""
    block = np.random.default_rng(1).integers(0, 9, SIDE * SIDE).astype(np.uint8).tobytes()
    encode: dict[int, Callable[..., Any]] = {
        8: zlib.compress, 50000: zstandard.compress, 34925: lzma.compress,
        5: imagecodecs.lzw_encode, 32773: imagecodecs.packbits_encode,
    }  # fmt: skip
    path = tmp_path / "a.tif"
    path.write_bytes(one_tile(bytes(encode[code](block + b"more" * 200)), code))
    assert subregion.open(path, backend=None)[:].tobytes() == block


@pytest.mark.parametrize("code", [8, 50000, 5, 32773, 34925])
def test_the_last_strip_may_be_filled_up(code: int, tmp_path: Path) -> None:
    rows, cols, high = 70, 50, 64
    pixels = np.random.default_rng(1).integers(0, 9, (2 * high, cols)).astype(np.uint8)
    encode: dict[int, Callable[..., Any]] = {
        8: zlib.compress, 50000: zstandard.compress, 34925: lzma.compress,
        5: imagecodecs.lzw_encode, 32773: imagecodecs.packbits_encode,
    }  # fmt: skip
    strips = [bytes(encode[code](pixels[at : at + high].tobytes())) for at in (0, high)]
    path = tmp_path / "a.tif"
    path.write_bytes(
        tiff(
            [[(256, 4, [cols]), (257, 4, [rows]), (258, 3, [8]), (259, 3, [code]), (262, 3, [1]),
              (273, 4, [8, 8 + len(strips[0])]), (277, 3, [1]), (278, 4, [high]),
              (279, 4, [len(strip) for strip in strips])]],
            b"".join(strips),
        )
    )  # fmt: skip
    picture = subregion.open(path, backend=None)
    np.testing.assert_array_equal(picture[..., 0], pixels[:rows])
    np.testing.assert_array_equal(picture[66:, 3:9][..., 0], pixels[66:rows, 3:9])


def zarr_v2(
    path: Path, chunk: bytes, compressor: Any = None, filters: Any = None, dtype: str = "|u1", **others: Any
) -> Path:
    """Write a zarr array of one chunk, whatever its metadata say."""
    path.mkdir()
    document = {
        "zarr_format": 2, "shape": [SIDE, SIDE], "chunks": [SIDE, SIDE], "dtype": dtype, "order": "C",
        "fill_value": 0, "compressor": compressor, "filters": filters,
    } | others  # fmt: skip
    (path / ".zarray").write_text(json.dumps(document))
    (path / "0.0").write_bytes(chunk)
    return path


def test_chunks_of_a_zarr(tmp_path: Path) -> None:
    raw = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 20}]
    alone = bytearray(lzma.compress(bytes(SIDE * SIDE), lzma.FORMAT_ALONE))
    alone[1:5] = b"\xff" * 4
    made = {
        "zlib": (STREAMS["deflate"](), {"id": "zlib"}, None),
        "gzip": (gzip.compress(bytes(NBYTES)), {"id": "gzip"}, None),
        "gzip of many members": (gzip.compress(bytes(NBYTES >> 3)) * 8, {"id": "gzip"}, None),
        "bz2": (zeros(bz2.BZ2Compressor()), {"id": "bz2"}, None),
        "lzma": (STREAMS["lzma"](), {"id": "lzma"}, None),
        "lzma raw": (lzma.compress(bytes(NBYTES), lzma.FORMAT_RAW, filters=raw),
                     {"id": "lzma", "format": 3, "filters": raw}, None),
        "lzma dictionary": (STREAMS["lzma dictionary"](), {"id": "lzma"}, None),
        "lzma alone": (bytes(alone), {"id": "lzma", "format": 2}, None),
        "zstd": (STREAMS["zstd"](), {"id": "zstd"}, None),
        "zstd of unknown size": (STREAMS["zstd of unknown size"](), {"id": "zstd"}, None),
        "zstd terabyte": (endless_zstd(), {"id": "zstd"}, None),
        "lz4": (struct.pack("<I", NBYTES) + imagecodecs.lz4_encode(bytes(NBYTES)), {"id": "lz4"}, None),
        "blosc": (bytes(imagecodecs.blosc_encode(bytes(NBYTES))), {"id": "blosc"}, None),
        "zlib before delta": (STREAMS["deflate"](), {"id": "zlib"}, [{"id": "delta", "dtype": "|u1"}]),
        "twice": (zlib.compress(STREAMS["deflate"]()), {"id": "zlib"}, [{"id": "zlib"}]),
        "widened": (zlib.compress(bytes(SIDE * SIDE)), {"id": "zlib"},
                    [{"id": "delta", "dtype": "<i8", "astype": "|u1"}]),
    }  # fmt: skip
    paths = [zarr_v2(tmp_path / f"{name}.zarr", *each) for name, each in made.items()]
    outcomes, _ = read_in_child(paths)
    for path, outcome in zip(paths, outcomes, strict=True):
        assert outcome.foreign is None, (path, outcome)
        assert outcome.error == "DamagedFileError", (path, outcome)
        assert outcome.megabytes < MEGABYTES, (path, outcome)


def test_gzip_of_several_members(tmp_path: Path) -> None:
    data = np.random.default_rng(1).integers(0, 9, SIDE * SIDE).astype(np.uint8).tobytes()
    chunk = b"".join(gzip.compress(data[at : at + 1000]) for at in range(0, len(data), 1000))
    path = zarr_v2(tmp_path / "a.zarr", chunk, {"id": "gzip"})
    assert subregion.open(path, backend=None)[:].tobytes() == data


@pytest.mark.parametrize(
    ("codec", "named"),
    [
        ({"id": "shuffle", "elementsize": 0}, "elementsize"),
        ({"id": "shuffle", "elementsize": -1}, "elementsize"),
        ({"id": "shuffle", "elementsize": "four"}, "elementsize"),
        ({"id": "shuffle", "elementsize": 10**30}, "elementsize"),
        ({"id": "delta", "dtype": "S1000000000"}, "dtype"),
        ({"id": "delta", "dtype": "i4, ("}, "dtype"),
        ({"id": "delta", "dtype": ["<i4"]}, "dtype"),
        ({"id": "delta", "dtype": "<i4", "astype": "O"}, "astype"),
        ({"id": "lzma", "format": "seven"}, "format"),
        ({"id": "lzma", "format": 10**30}, "format"),
        ({"id": "lzma", "format": 3}, "filters"),
        ({"id": "lzma", "format": 3, "filters": 5}, "filters"),
        ({"id": "lzma", "format": 3, "filters": [5]}, "filters"),
        ({"id": "lzma", "format": 3, "filters": [{"id": 10**30}]}, "filters"),
        ({"id": "lzma", "format": 3, "filters": [{"id": 33, "dict_size": 1 << 31}]}, "filters"),
        ({"id": "lzma", "format": 3, "filters": [{"id": 33, "dict_size": "large"}]}, "filters"),
    ],
)
def test_absurd_parameters_are_named_when_the_array_is_opened(codec: Any, named: str, tmp_path: Path) -> None:
    path = zarr_v2(tmp_path / "a.zarr", bytes(SIDE * SIDE), filters=[codec])
    with pytest.raises(UnsupportedFormatError, match=named) as caught:
        subregion.open(path, backend=None).shape  # noqa: B018 - opens the array
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("count", [0, 1, SIDE * SIDE - 1])
@pytest.mark.parametrize("compressor", [None, {"id": "zlib"}])
def test_short_chunks_are_damaged(count: int, compressor: Any, tmp_path: Path) -> None:
    chunk = bytes(count) if compressor is None else zlib.compress(bytes(count))
    path = zarr_v2(tmp_path / "a.zarr", chunk, compressor)
    for read in (np.s_[:], np.s_[::9, ::9], np.s_[:3, :3]):
        with pytest.raises((DamagedFileError, UnsupportedFormatError), match="0.0|a.zarr"):
            subregion.open(path, backend=None)[read]


def enlarged(data: bytes, before: bytes, after: bytes) -> bytes:
    assert data.count(before) >= 1
    return data.replace(before, after)


def picture_files() -> dict[str, bytes]:
    """Files that declare far more than they hold, or hold far more than they seem to."""
    small, rgb = np.zeros((SIDE, SIDE), np.uint8), np.zeros((SIDE, SIDE, 3), np.uint8)
    siz, large = struct.pack(">II", SIDE, SIDE), struct.pack(">II", 16000, 16000)
    jp2 = bytes(imagecodecs.jpeg2k_encode(rgb))
    j2k = bytes(imagecodecs.jpeg2k_encode(rgb, codecformat="j2k"))
    decoy = struct.pack(">I4s", 8 + len(j2k), b"free") + j2k
    tiled = j2k[:24] + struct.pack(">II", 1, 1) + j2k[32:]
    xr = bytes(imagecodecs.jpegxr_encode(rgb))
    at = xr.index(b"WMPHOTO\0") + 12
    hdr = bytes(imagecodecs.rgbe_encode(np.zeros((SIDE, SIDE, 3), np.float32), header=True))
    lossless = bytes(imagecodecs.jpeg8_encode(small, lossless=True))
    frame = lossless.index(b"\xff\xc3")
    second = b"\xff\xe3\0\x13\xff\xc3\0\x0b\x08" + struct.pack(">HH", 60000, 60000) + b"\1\1\x11\0\0\0\0\0"
    return {
        "zeros.jls": bytes(imagecodecs.jpegls_encode(np.zeros((14000, 14000), np.uint8))),
        "large.jls": enlarged(
            bytes(imagecodecs.jpegls_encode(small)), struct.pack(">HH", SIDE, SIDE), b"\xff" * 4
        ),
        "large.jp2": enlarged(jp2, siz, large),
        "decoy.jp2": enlarged(jp2[:12] + decoy + jp2[12:], siz, siz)[: 12 + len(decoy)]
        + enlarged(jp2[12:], siz, large),
        "large.j2k": enlarged(j2k, siz, large),
        "tiles.j2k": enlarged(tiled, siz, struct.pack(">II", 255, 255)),
        "large.jxr": xr[:at] + struct.pack(">HH", 15999, 15999) + xr[at + 4 :],
        "large.hdr": enlarged(hdr, b"-Y 64 +X 64", b"-Y 16000 +X 16000"),
        "zeros.jxl": bytes(imagecodecs.jpegxl_encode(np.zeros((7000, 7000, 3), np.uint8), effort=1)),
        "lossless.jpg": lossless[: frame + 5] + b"\xff" * 4 + lossless[frame + 9 :],
        # The usual decoder gives up on the first frame, and another one looks for a frame by itself.
        "second.jpg": (lossless[:2] + second + lossless[2:]).replace(
            b"\xff\xc3\0\x0b\x08\0", b"\xff\xcb\0\x0b\x08\0"
        ),
    }


def icon(picture: bytes, kind: int) -> bytes:
    entry = struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, len(picture), 22)
    return struct.pack("<HHH", 0, kind, 1) + entry + picture


def files_with_files_inside() -> dict[str, bytes]:
    png = io.BytesIO()
    Image.new("RGB", (9000, 9000)).save(png, "PNG")
    picture = png.getvalue()
    resource = b"ic07" + struct.pack(">I", len(picture) + 8) + picture
    bitmap = struct.pack("<IiiHHIIiiII", 40, 9000, 18000, 1, 8, 1, 0, 0, 0, 256, 0) + bytes(1024)
    stars = np.zeros((8000, 8000), np.uint8)
    cards = ["XTENSION= 'BINTABLE'", "ZIMAGE  = T", "BITPIX  = 8", "ZBITPIX = 8", "NAXIS   = 2",
             "NAXIS1  = 0", "NAXIS2  = 0", "ZNAXIS  = 2", "ZNAXIS1 = 8000", "ZNAXIS2 = 8000",
             "ZCMPTYPE= 'GZIP_1  '", "END"]  # fmt: skip
    first = ["SIMPLE  = T", "BITPIX  = 8", "NAXIS   = 0", "END"]
    header, table = ("".join(card.ljust(80) for card in each).ljust(2880) for each in (first, cards))
    gif = io.BytesIO()
    Image.new("P", (9000, 9000)).save(gif, "GIF", disposal=2)
    frame = bytearray(gif.getvalue())
    frame[6:10] = struct.pack("<HH", 16, 16)
    return {
        "frame.gif": bytes(frame),
        "png.ico": icon(picture, 1),
        "bitmap.ico": icon(bitmap + b"\xff\0" * 400_000, 1),
        "bitmap.cur": icon(bitmap + b"\xff\0" * 400_000, 2),
        "png.icns": b"icns" + struct.pack(">I", len(resource) + 8) + resource,
        "stars.fits": header.encode() + table.encode() + gzip.compress(stars.tobytes() * 4),
    }


@pytest.mark.parametrize("made", [picture_files, files_with_files_inside])
def test_whole_files(made: Callable[[], dict[str, bytes]], tmp_path: Path) -> None:
    paths = []
    for name, content in made().items():
        paths.append(tmp_path / name)
        paths[-1].write_bytes(content)
    outcomes, said = read_in_child(paths)
    for path, outcome in zip(paths, outcomes, strict=True):
        assert outcome.foreign is None, (path, outcome)
        assert outcome.error in ("TooLargeError", "DamagedFileError", "UnsupportedFormatError"), (
            path,
            outcome,
        )
        assert outcome.megabytes < MEGABYTES, (path, outcome)
        assert outcome.seconds < 3, (path, outcome)
    assert said == ""


def test_of_an_animation_only_the_first_frame_is_decoded(tmp_path: Path) -> None:
    frames = np.random.default_rng(1).integers(0, 255, (3, 40, 50, 3)).astype(np.uint8)
    path = tmp_path / "a.jxl"
    path.write_bytes(imagecodecs.jpegxl_encode(frames, lossless=True))
    np.testing.assert_array_equal(subregion.open(path, backend=None)[:], frames[0])


def test_jpeg_ls_that_was_cut(tmp_path: Path, photograph: Any) -> None:
    """Its decoder would count two thousand million zeros behind the end."""
    stream = bytes(imagecodecs.jpegls_encode(photograph[:93, :131]))
    paths = []
    for size in (400, 2200, 6700, len(stream) - 2):
        paths.append(tmp_path / f"{size}.jls")
        paths[-1].write_bytes(stream[:size])
    outcomes, _ = read_in_child(paths)
    assert [outcome.error for outcome in outcomes] == ["DamagedFileError"] * 4
    assert max(outcome.seconds for outcome in outcomes) < 2


def test_planes_of_jpeg_ls_are_bands(tmp_path: Path, photograph: Any) -> None:
    """Without interleaving each component is a scan of its own."""
    path = tmp_path / "a.jls"
    for pixels in (photograph[:60, :70], photograph[:60, :70, 0]):
        path.write_bytes(imagecodecs.jpegls_encode(pixels))
        expected = pixels if pixels.ndim == 3 else pixels[..., None]
        np.testing.assert_array_equal(subregion.open(path, backend=None)[:], expected)
