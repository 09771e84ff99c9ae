"""What is not a sound image gives one clear error, in bounded time and memory, and leaves nothing behind."""

from __future__ import annotations

import functools
import os
import pickle
import random
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

import subregion
from pictures import by_pillow, tiff_file
from subregion import SimpleFrames, SubregionError
from subregion.errors import (
    DamagedFileError,
    SourceIsDirectoryError,
    SourceNotFoundError,
    TooLargeError,
    UnsupportedFormatError,
)

BACKENDS = [None, "npy", "cog", "zarr", "jpeg", "auto"]


def png(width: int, height: int, data: bytes, bits: int = 8, kind: int = 2) -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def make_empty(path: Path) -> None:
    path.touch()


def make_text(path: Path) -> None:
    path.write_text("once upon a time there was a file that was no picture at all\n" * 50)


def make_zip(path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "hello")


def make_random(path: Path) -> None:
    path.write_bytes(random.Random(3).randbytes(5000))


def make_folder(path: Path) -> None:
    path.mkdir()


def make_missing(path: Path) -> None:
    pass


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_absurd_png(path: Path) -> None:
    path.write_bytes(png(2**31 - 1, 2**31 - 1, zlib.compress(b"\0" * 100)))


def make_large_png(path: Path) -> None:
    path.write_bytes(png(100_000, 100_000, zlib.compress(b"\0" * 100)))


@functools.cache
def bomb() -> bytes:
    """A sound PNG of 1.2 GB of black in a little over a megabyte."""
    side = 35_000
    compressor = zlib.compressobj(6, wbits=-15)
    rows = compressor.compress(bytes(side + 1) * 500) + compressor.flush(zlib.Z_FULL_FLUSH)
    adler = (side * (side + 1) % 65521) << 16 | 1  # of so many zeros
    body = b"\x78\x9c" + rows * (side // 500) + compressor.flush() + struct.pack(">I", adler)
    return png(side, side, body, kind=0)


def make_bomb(path: Path) -> None:
    path.write_bytes(bomb())


def make_absurd_tiff(path: Path) -> None:
    tifffile.imwrite(path, np.zeros((10, 10), np.uint8), compression="zlib")
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tiff:
        for code in (256, 257, 278):
            tag = tiff.pages[0].tags[code]  # type: ignore[union-attr]  # the first page is whole
            struct.pack_into(
                "<I" if tag.dtype == 4 else "<H",
                data,
                tag.valueoffset,
                2**31 - 1 if tag.dtype == 4 else 65535,
            )
    path.write_bytes(data)


def make_absurd_npy(path: Path) -> None:
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000, 1000000, 3), }"
    header = header.ljust(117) + b"\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + b"\0" * 100)


def make_pickled_npy(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.array([[{"a": 1}]], dtype=object), allow_pickle=True)


def make_svg(path: Path) -> None:
    path.write_text('<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="5" height="5"/>')


CASES: dict[str, tuple[Any, type[SubregionError], type[Exception]]] = {
    "empty": (make_empty, UnsupportedFormatError, ValueError),
    "text": (make_text, UnsupportedFormatError, ValueError),
    "zip": (make_zip, UnsupportedFormatError, ValueError),
    "random bytes": (make_random, SubregionError, ValueError),
    "folder": (make_folder, SourceIsDirectoryError, IsADirectoryError),
    "missing": (make_missing, SourceNotFoundError, FileNotFoundError),
    "pipe": (make_pipe, UnsupportedFormatError, ValueError),
    "absurd png": (make_absurd_png, TooLargeError, ValueError),
    "large png of few bytes": (make_large_png, SubregionError, ValueError),
    "bomb": (make_bomb, TooLargeError, ValueError),
    "absurd tiff": (make_absurd_tiff, SubregionError, ValueError),
    "absurd npy": (make_absurd_npy, DamagedFileError, ValueError),
    "pickled npy": (make_pickled_npy, UnsupportedFormatError, ValueError),
    "svg": (make_svg, UnsupportedFormatError, ValueError),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("case", CASES)
def test_one_clear_error(case: str, backend: str | None, tmp_path: Path, workdir: Path) -> None:
    make, error, builtin = CASES[case]
    path = tmp_path / "picture.img"
    make(path)
    frames = SimpleFrames({1: path}, workdir=workdir, backend=backend)
    for call in (
        lambda: frames.load_region(1, (slice(0, 5), slice(0, 5))),
        lambda: frames.load_image(1),
        lambda: frames.load_frame(1).shape,
        lambda: subregion.open(path, workdir=workdir)[:3],
    ):
        with pytest.raises(error) as caught:
            call()
        assert isinstance(caught.value, builtin)
        assert isinstance(caught.value, SubregionError)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
        again = pickle.loads(pickle.dumps(caught.value))
        assert type(again) is type(caught.value)
        assert str(again) == str(caught.value)
    assert not [place for place in workdir.rglob("*") if place.is_file()]


@pytest.mark.skipif(os.name != "posix", reason="uses POSIX rights")
def test_no_permission(tmp_path: Path) -> None:
    path = tmp_path / "secret.png"
    Image.new("RGB", (5, 5)).save(path)
    path.chmod(0)
    code = """
import os, sys
import subregion
from PIL import Image
from subregion import SubregionError
Image.new("RGB", (5, 5)).save(sys.argv[2])
subregion.open(sys.argv[2], backend=None).shape  # imports everything, while it may still be read
if os.getuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
try:
    subregion.open(sys.argv[1], backend=None).shape
except SubregionError as error:
    print(type(error).__name__, isinstance(error, PermissionError), error)
"""
    for place in [*path.parents][:-1]:
        if os.getuid() == 0:
            place.chmod(place.stat().st_mode | 0o055)
    answer = subprocess.run(
        [sys.executable, "-c", code, str(path), str(tmp_path / "other.png")],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert answer.stdout.startswith("SourcePermissionError True")
    assert "secret.png" in answer.stdout


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data:UserWarning")  # Pillow on a cut TIFF
@pytest.mark.parametrize(
    "suffix", [".png", ".jpg", ".gif", ".bmp", ".webp", ".jp2", ".tif", "_lzw.tif", "_jpeg.tif"]
)
def test_cut_files_are_errors_and_never_grey(
    suffix: str, tmp_path: Path, photograph: NDArray[np.uint8]
) -> None:
    whole = tmp_path / f"whole{suffix}"
    options: dict[str, Any] = {}
    if suffix == "_lzw.tif":
        options["compression"] = "tiff_lzw"
    if suffix == "_jpeg.tif":
        options["compression"] = "jpeg"
    Image.fromarray(photograph).save(whole, **options)
    data = whole.read_bytes()
    expected = by_pillow(whole, "RGB")
    for part in (0.1, 0.5, 0.9, 0.99):
        path = tmp_path / f"cut{part}{suffix}"
        path.write_bytes(data[: int(len(data) * part)])
        for backend in (None, "cog"):
            frames = SimpleFrames({1: path}, workdir=tmp_path / "work", backend=backend)
            try:
                got = frames.load_region(1)
            except SubregionError:
                continue
            else:  # trailing bytes that no pixel needs
                np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_flipped_bytes_give_the_right_pixels_or_an_error(
    suffix: str, tmp_path: Path, photograph: NDArray[np.uint8]
) -> None:
    whole = tmp_path / f"whole{suffix}"
    Image.fromarray(photograph).save(whole)
    expected = by_pillow(whole)
    rng = random.Random(7)
    refused = 0
    for number in range(30):
        data = bytearray(whole.read_bytes())
        data[rng.randrange(200, len(data))] ^= 1 << rng.randrange(8)
        path = tmp_path / f"flipped{number}{suffix}"
        path.write_bytes(data)
        try:
            got = np.asarray(subregion.open(path, backend=None))
        except SubregionError:
            refused += 1
        else:
            if suffix == ".png":  # has check sums; in a JPEG many bits are just other pixels
                np.testing.assert_array_equal(got, expected)
    if suffix == ".png":
        assert refused == 30


def test_a_block_that_lies_beyond_the_file(tmp_path: Path, photograph: NDArray[np.uint8]) -> None:
    path = tmp_path / "a.tif"
    tiff_file(tile=(64, 64), compression="zstd")(path, photograph)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(SubregionError, match="a.tif"):
        subregion.open(path, backend=None)[:]


def test_damage_in_one_block_spares_the_others(tmp_path: Path, photograph: NDArray[np.uint8]) -> None:
    path = tmp_path / "a.tif"
    expected = tiff_file(tile=(64, 64), compression="zlib")(path, photograph)
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[0]
        assert isinstance(page, tifffile.TiffPage)
        at, count = page.dataoffsets[-1], page.databytecounts[-1]
    data = bytearray(path.read_bytes())
    data[at : at + count] = bytes(count)
    path.write_bytes(data)
    picture = subregion.open(path, backend=None)
    np.testing.assert_array_equal(picture[:300, :500], expected[:300, :500])
    with pytest.raises(DamagedFileError, match=r"block at row 384, column 576"):
        picture[:]


def test_limits_can_be_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "bomb.png"
    make_bomb(path)
    monkeypatch.setenv("SUBREGION_BOMB_BYTES", str(1 << 40))
    assert subregion.open(path, backend=None).shape == (35_000, 35_000, 1)
    monkeypatch.setenv("SUBREGION_BOMB_BYTES", "many")
    make_bomb(tmp_path / "other.png")
    with pytest.raises(ValueError, match="SUBREGION_BOMB_BYTES"):
        subregion.open(tmp_path / "other.png", backend=None).shape  # noqa: B018 - opens the file


@pytest.mark.parametrize("name", ["cut.png", "cut.jpg", "cut.tif", "cut.webp"])
def test_damage_is_told_in_one_line_with_the_way_out(
    name: str, tmp_path: Path, photograph: NDArray[np.uint8]
) -> None:
    path = tmp_path / name
    Image.fromarray(photograph).save(
        path, **({"compression": "tiff_adobe_deflate"} if name == "cut.tif" else {})
    )
    data = path.read_bytes()
    middle = len(data) // 2
    path.write_bytes(data[:middle] if name != "cut.tif" else data[:middle] + bytes(50) + data[middle + 50 :])
    with pytest.raises(DamagedFileError) as caught:
        subregion.open(path, backend=None)[:, -50:]
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert message.endswith("The file is truncated or corrupt: fetch or write it again.")
