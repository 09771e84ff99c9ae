"""The backend `jpeg`, and what `auto` makes of JPEGs: copies that lose nothing, or errors and other ways."""

from __future__ import annotations

import os
import subprocess
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import jpegs
from subregion import SimpleFrames, Window
from subregion.convert import jpeg as converting
from subregion.convert.jpegencode import encoded
from subregion.errors import ConfigError, DamagedFileError, UnsupportedFormatError
from subregion.formats.jpeg.intervals import IntervalLevel
from subregion.formats.open import open_raster
from subregion.io.pool import POOL
from subregion.records import Asset

needs_jpegtran = pytest.mark.skipif(jpegs.JPEGTRAN is None, reason="needs jpegtran")


@pytest.fixture(params=["with jpegtran", "without"])
def either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With and without the program on PATH."""
    if request.param == "without":
        monkeypatch.setenv("PATH", "")
    elif jpegs.JPEGTRAN is None:
        pytest.skip("needs jpegtran")
    return str(request.param)


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """No program on PATH, and nothing said about that yet."""
    monkeypatch.setenv("PATH", "")
    converting._warn_once.cache_clear()


def copy_of(frames: SimpleFrames, image_id: Any = 1) -> str:
    entry = frames._store.entry_of(frames.record(image_id).default_asset)
    assert entry is not None
    return entry.data


def collection(path: Path, content: bytes, workdir: Path, backend: Any = "jpeg") -> SimpleFrames:
    path.write_bytes(content)
    return SimpleFrames({1: path}, workdir=workdir, backend=backend)


@pytest.mark.parametrize("backend", ["jpeg", "auto", {"type": "jpeg", "config": {"interval": 2}}])
@pytest.mark.parametrize("sampling", jpegs.SAMPLINGS)
def test_copies_lose_nothing(
    sampling: str,
    backend: Any,
    either_way: str,
    tmp_path: Path,
    workdir: Path,
    photograph: NDArray[np.uint8],
) -> None:
    source = jpegs.encode(photograph[:333, :477], **jpegs.SAMPLINGS[sampling])
    frames = collection(tmp_path / "a.jpg", source, workdir, backend)
    expected = jpegs.decoded(source)
    np.testing.assert_array_equal(frames.load_image(1), expected)
    np.testing.assert_array_equal(
        frames.load_region(1, (slice(30, 99), slice(7, 303))), expected[30:99, 7:303]
    )
    if backend != "auto" or expected.size > 200_000:
        raster = open_raster(copy_of(frames))
        assert isinstance(raster.full, IntervalLevel)
        assert raster.full.is_copy
        assert copy_of(frames).endswith(".jpg")


@needs_jpegtran
@pytest.mark.parametrize("kind", ["-progressive", "-arithmetic", "-scans"])
@pytest.mark.parametrize("backend", ["jpeg", "auto"])
def test_other_processes_become_sequential(
    backend: str, kind: str, tmp_path: Path, workdir: Path, photograph: NDArray[np.uint8]
) -> None:
    options = [kind]
    if kind == "-scans":
        (tmp_path / "scans").write_text("0;\n1;\n2;\n")
        options.append(str(tmp_path / "scans"))
    source = jpegs.by_jpegtran(jpegs.encode(photograph, subsampling="420"), *options)
    frames = collection(tmp_path / "a.jpg", source, workdir, backend)
    np.testing.assert_array_equal(frames.load_image(1), jpegs.decoded(source))
    assert isinstance(open_raster(copy_of(frames)).full, IntervalLevel)


def test_orientation_and_profiles_are_not_applied(
    either_way: str, tmp_path: Path, workdir: Path, photograph: NDArray[np.uint8]
) -> None:
    exif = Image.Exif()
    exif[274] = 6
    options: dict[str, Any] = {"exif": exif, "icc_profile": bytes(3000), "comment": "hello"}
    Image.fromarray(photograph).save(tmp_path / "a.jpg", **options)
    frames = SimpleFrames({1: tmp_path / "a.jpg"}, workdir=workdir, backend="jpeg")
    np.testing.assert_array_equal(frames.load_image(1), jpegs.decoded(tmp_path / "a.jpg"))
    with Image.open(copy_of(frames)) as copied:
        assert not copied.getexif()
        assert set(copied.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density", "dpi"}


def test_of_several_images_the_first_is_kept(
    either_way: str, tmp_path: Path, workdir: Path, photograph: NDArray[np.uint8]
) -> None:
    first, second = Image.fromarray(photograph), Image.fromarray(photograph[::-1].copy())
    first.save(tmp_path / "a.mpo", "MPO", save_all=True, append_images=[second])
    frames = SimpleFrames({1: tmp_path / "a.mpo"}, workdir=workdir, backend="jpeg")
    np.testing.assert_array_equal(frames.load_image(1), jpegs.decoded(tmp_path / "a.mpo"))


def test_intervals_that_are_there_already_are_kept(
    bare: None, tmp_path: Path, workdir: Path, photograph: NDArray[np.uint8]
) -> None:
    Image.fromarray(photograph).save(tmp_path / "a.jpg", restart_marker_blocks=2)
    frames = SimpleFrames({1: tmp_path / "a.jpg"}, workdir=workdir, backend="jpeg")
    expected = jpegs.decoded(tmp_path / "a.jpg")
    np.testing.assert_array_equal(frames.load_image(1), expected)
    raster = open_raster(copy_of(frames))
    assert isinstance(raster.full, IntervalLevel)
    assert raster.full.stream.restart == 2
    frames.backend = "auto"
    np.testing.assert_array_equal(frames.load_image(1), expected)
    assert frames._store.open(frames.record(1).default_asset).entry is None or copy_of(frames).endswith(
        ".jpg"
    )


def test_auto_reads_short_intervals_where_they_lie(
    tmp_path: Path, workdir: Path, photograph: NDArray[np.uint8]
) -> None:
    Image.fromarray(photograph).save(tmp_path / "short.jpg", restart_marker_blocks=2)
    Image.fromarray(photograph).save(tmp_path / "long.jpg", restart_marker_rows=9)
    frames = SimpleFrames.from_folder(tmp_path, "*.jpg", workdir=workdir, backend="auto")
    for name in frames.image_ids:
        np.testing.assert_array_equal(frames.load_image(name), jpegs.decoded(tmp_path / str(name)))
    opened = {name: frames._store.open(frames.record(name).default_asset) for name in frames.image_ids}
    assert opened["short.jpg"].entry is None
    assert jpegs.JPEGTRAN is None or opened["long.jpg"].recipe.kind == "jpeg"


@needs_jpegtran
def test_without_jpegtran_auto_takes_a_lossless_form_and_says_so_once(
    bare: None, tmp_path: Path, workdir: Path, photograph: NDArray[np.uint8]
) -> None:
    for name in "abc":
        Image.fromarray(photograph).save(tmp_path / f"{name}.jpg", progressive=True)
    frames = SimpleFrames.from_folder(tmp_path, "*.jpg", workdir=workdir, backend="auto")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        frames.prepare(progress=False)
    assert [warning for warning in said if "libjpeg-turbo-progs" in str(warning.message)] == said[:1]
    assert len(said) == 1
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        np.testing.assert_array_equal(frames.load_image(name), jpegs.decoded(tmp_path / name))
        assert copy_of(frames, name).endswith(".tif")
    frames.backend = "jpeg"
    with pytest.raises(UnsupportedFormatError, match=r"libjpeg-turbo-progs"):
        frames.load_image("a.jpg")


@needs_jpegtran
def test_what_was_made_without_jpegtran_still_serves_with_it(
    tmp_path: Path, workdir: Path, photograph: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(photograph).save(tmp_path / "a.jpg", progressive=True)
    with monkeypatch.context() as patch:
        patch.setenv("PATH", "")
        frames = SimpleFrames({1: tmp_path / "a.jpg"}, workdir=workdir, backend="auto")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # said once in a process, here or before
            frames.prepare(progress=False)
        made = copy_of(frames)
    again = SimpleFrames({1: tmp_path / "a.jpg"}, workdir=workdir, backend="auto")
    np.testing.assert_array_equal(again.load_image(1), jpegs.decoded(tmp_path / "a.jpg"))
    assert copy_of(again) == made


def test_lossy_copies_are_never_served_by_auto(
    tmp_path: Path, workdir: Path, photograph: NDArray[np.uint8]
) -> None:
    path = tmp_path / "misnamed.jpg"
    Image.fromarray(photograph).save(path, "PNG")
    lossy = SimpleFrames({1: path}, workdir=workdir, backend="jpeg")
    image = lossy.load_image(1)
    assert image is not None
    difference = np.abs(image.astype(int) - photograph)
    assert 0 < difference.mean() < 4
    exact = SimpleFrames({1: path}, workdir=workdir, backend="auto")
    np.testing.assert_array_equal(exact.load_image(1), photograph)


@pytest.mark.parametrize("bands", [1, 3])
@pytest.mark.parametrize("size", [(1, 1), (17, 300), (333, 477), (700, 20)])
def test_pixels_are_encoded_as_pillow_encodes_the_whole(
    size: tuple[int, int],
    bands: int,
    tmp_path: Path,
    workdir: Path,
    photograph: NDArray[np.uint8],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("subregion.convert.jpegencode._STRIP_PIXELS", 1000)
    pixels = np.tile(photograph, (2, 1, 1))[: size[0], : size[1], :bands].copy()
    image = Image.fromarray(pixels.squeeze(2) if bands == 1 else pixels)
    image.save(tmp_path / "a.png")
    image.save(tmp_path / "whole.jpg", quality=75, subsampling="4:2:0")
    backend = {"type": "jpeg", "config": {"quality": 75}}
    frames = SimpleFrames({1: tmp_path / "a.png"}, workdir=workdir, backend=backend)
    np.testing.assert_array_equal(frames.load_image(1), jpegs.decoded(tmp_path / "whole.jpg"))
    assert isinstance(open_raster(copy_of(frames)).full, IntervalLevel)


def test_strips_of_any_height_make_the_same_file(photograph: NDArray[np.uint8]) -> None:
    whole = b"".join(encoded(photograph.shape, [photograph], 80, 2))
    parts = [photograph[row : row + 37] for row in range(0, len(photograph), 37)]
    assert b"".join(encoded(photograph.shape, parts, 80, 2, threads=1)) == whole


@pytest.mark.parametrize(("mode", "dtype"), [("RGBA", np.uint8), ("LA", np.uint8), ("I;16", np.uint16)])
def test_what_a_jpeg_cannot_hold_is_refused(
    mode: str, dtype: type, tmp_path: Path, workdir: Path, photograph: NDArray[np.uint8]
) -> None:
    image = Image.fromarray(photograph).convert(mode if mode != "I;16" else "I").convert(mode)
    image.save(tmp_path / "a.png")
    frames = SimpleFrames({1: tmp_path / "a.png"}, workdir=workdir, backend="jpeg")
    with pytest.raises(
        ConfigError, match=r"a\.png: the backend 'jpeg' stores uint8 with 1 or 3 bands.*'cog'"
    ):
        frames.load_region(1)


@pytest.mark.parametrize(
    "config", [{"quality": 0}, {"quality": "high"}, {"interval": 0}, {"interval": "all"}, {"blocksize": 4}]
)
def test_options_are_checked(config: dict[str, Any], tmp_path: Path, workdir: Path) -> None:
    with pytest.raises(ConfigError, match="backend 'jpeg'"):
        SimpleFrames({1: tmp_path / "a.png"}, workdir=workdir, backend={"type": "jpeg", "config": config})


@pytest.mark.parametrize("backend", ["jpeg", "auto"])
def test_truncated_sources_are_an_error(
    backend: str, either_way: str, tmp_path: Path, workdir: Path, photograph: NDArray[np.uint8]
) -> None:
    source = jpegs.encode(photograph, subsampling="420")
    frames = collection(tmp_path / "a.jpg", source[: len(source) * 2 // 3], workdir, backend)
    with pytest.raises(DamagedFileError, match=r"a\.jpg"):
        frames.load_region(1, (slice(0, 10), slice(0, 10)))
    assert not list(workdir.rglob("*.jpg"))


@pytest.mark.parametrize("size", [(1, 1), (7, 300), (300, 7), (16, 16)])
def test_small_pictures(
    size: tuple[int, int], either_way: str, tmp_path: Path, workdir: Path, photograph: NDArray[np.uint8]
) -> None:
    source = jpegs.encode(photograph[: size[0], : size[1]], subsampling="420")
    frames = collection(tmp_path / "a.jpg", source, workdir)
    np.testing.assert_array_equal(frames.load_image(1), jpegs.decoded(source))
    assert isinstance(open_raster(copy_of(frames)).full, IntervalLevel)


@pytest.mark.parametrize("backend", ["jpeg", "auto"])
def test_stray_bytes_in_a_source_do_no_harm(
    backend: str, either_way: str, tmp_path: Path, workdir: Path, photograph: NDArray[np.uint8]
) -> None:
    source = jpegs.encode(photograph, subsampling="420")
    frames = collection(tmp_path / "a.jpg", source[:-2] + b"stray bytes" + source[-2:], workdir, backend)
    np.testing.assert_array_equal(frames.load_image(1), jpegs.decoded(source))


@needs_jpegtran
def test_bytes_between_the_headers_do_no_harm(
    tmp_path: Path, workdir: Path, photograph: NDArray[np.uint8]
) -> None:
    source = jpegs.encode(photograph, subsampling="420")
    at = source.index(b"\xff\xdb")
    frames = collection(tmp_path / "a.jpg", source[:at] + b"stray" + source[at:], workdir)
    np.testing.assert_array_equal(frames.load_image(1), jpegs.decoded(source))


def test_a_transcoder_that_errs_is_found_out(
    tmp_path: Path, workdir: Path, photograph: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`auto` then takes another form; the backend that was asked for says so."""
    wrong = photograph.copy()
    wrong[300, 400] ^= 255
    wrong[301:308, 400:407] ^= 255
    other = b"".join(encoded(wrong.shape, [wrong], 75, 5))
    monkeypatch.setattr(converting, "_with_intervals", lambda *args: iter([other]))
    Image.fromarray(photograph).save(tmp_path / "a.jpg", quality=75)
    frames = SimpleFrames({1: tmp_path / "a.jpg"}, workdir=workdir, backend="jpeg")
    with pytest.raises(DamagedFileError, match="does not decode to the same pixels"):
        frames.load_image(1)
    frames.backend = "auto"
    np.testing.assert_array_equal(frames.load_image(1), jpegs.decoded(tmp_path / "a.jpg"))
    assert copy_of(frames).endswith(".tif")


def test_a_program_that_is_no_jpegtran(
    tmp_path: Path, workdir: Path, photograph: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bin" / "jpegtran"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho 'out of order' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    Image.fromarray(photograph).save(tmp_path / "a.jpg", progressive=True)
    frames = SimpleFrames({1: tmp_path / "a.jpg"}, workdir=workdir, backend="jpeg")
    with pytest.raises(DamagedFileError, match="jpegtran says: out of order.*'auto'"):
        frames.load_image(1)
    frames.backend = "auto"
    np.testing.assert_array_equal(frames.load_image(1), jpegs.decoded(tmp_path / "a.jpg"))


def test_large_sources_are_not_given_to_jpegtran(
    tmp_path: Path, workdir: Path, photograph: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would hold all coefficients in memory."""
    monkeypatch.setattr(converting, "JPEGTRAN_BYTES", 1 << 16)
    monkeypatch.setattr(subprocess, "Popen", None)
    Image.fromarray(photograph).save(tmp_path / "a.jpg")
    Image.fromarray(photograph).save(tmp_path / "b.jpg", progressive=True)
    frames = SimpleFrames.from_folder(tmp_path, "*.jpg", workdir=workdir, backend="auto")
    for name, suffix in (("a.jpg", ".jpg"), ("b.jpg", ".tif")):
        np.testing.assert_array_equal(frames.load_image(name), jpegs.decoded(tmp_path / name))
        assert copy_of(frames, name).endswith(suffix)
    frames.backend = "jpeg"
    with pytest.raises(UnsupportedFormatError, match="coefficients take more"):
        frames.load_image("b.jpg")


def test_a_damaged_copy_is_made_again(tmp_path: Path, workdir: Path, photograph: NDArray[np.uint8]) -> None:
    source = jpegs.encode(photograph, subsampling="420")
    frames = collection(tmp_path / "a.jpg", source, workdir)
    expected = jpegs.decoded(source)
    frames.prepare(progress=False)
    rng = np.random.default_rng(1)
    for part in (0.01, 0.3, 0.5, 0.8):  # the head, and pixels
        path = Path(copy_of(frames))
        content = bytearray(path.read_bytes())
        at = int(part * len(content)) if part > 0.1 else content.index(b"\xff\xdb") + 20
        content[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(content)
        fresh = SimpleFrames({1: tmp_path / "a.jpg"}, workdir=workdir, backend="jpeg")
        np.testing.assert_array_equal(fresh.load_region(1, Window(0, 0, 400, 600)), expected)
        assert copy_of(fresh) != str(path)
        frames = fresh


@pytest.mark.parametrize("where", ["head", "index", "pixels"])
def test_a_flipped_bit_anywhere_is_mended(
    where: str, tmp_path: Path, workdir: Path, photograph: NDArray[np.uint8]
) -> None:
    path = tmp_path / "a.jpg"
    Image.fromarray(photograph[:160, :200]).save(path, quality=90)
    expected = jpegs.decoded(path)
    frames = SimpleFrames({1: path}, workdir=workdir, backend="jpeg")
    frames.prepare(progress=False)
    sound = Path(copy_of(frames)).read_bytes()
    raster = open_raster(copy_of(frames))
    assert isinstance(raster.full, IntervalLevel)
    rows, across = -(-160 // raster.block[0]), -(-200 // raster.block[1])
    index = len(sound) - rows * (8 + 4 * (across + 1))
    first, last = {"head": (0, raster.full.stream.data), "index": (index, len(sound))}.get(
        where, (raster.full.stream.data, index)
    )
    step = max(1, (last - first) // 60)
    for number, at in enumerate(range(first, last, step)):
        broken = bytearray(sound)
        broken[at] ^= 1 << number % 8
        copy = Path(copy_of(frames))
        status = copy.stat()
        copy.write_bytes(broken)
        os.utime(copy, ns=(status.st_atime_ns, status.st_mtime_ns))
        POOL.forget(lambda key: True)
        for top in range(0, 160, 70):
            for left in range(0, 200, 70):
                part = np.s_[top : top + 70, left : left + 70]
                np.testing.assert_array_equal(frames.load_region(1, part), expected[part], f"{at} {number}")
        np.testing.assert_array_equal(frames.load_region(1), expected, f"{at} {number}")
        # Whatever is served, windows of it cost what windows cost.
        served = open_raster(copy_of(frames))
        assert isinstance(served.full, IntervalLevel)
        assert served.full.is_copy, at


def test_an_index_of_a_stranger_is_looked_at(tmp_path: Path, photograph: NDArray[np.uint8]) -> None:
    """Copies are files like others: what their index says may be made up."""
    path, copy = tmp_path / "a.jpg", tmp_path / "b.jpg"
    Image.fromarray(photograph).save(path, quality=90)
    converting.keep_jpeg(open_raster(str(path)), str(copy))
    sound = copy.read_bytes()
    raster = open_raster(str(copy))
    assert isinstance(raster.full, IntervalLevel)
    rows, across = -(-400 // raster.block[0]), -(-600 // raster.block[1])
    index = len(sound) - rows * (8 + 4 * (across + 1))
    edges = index + 8 * rows
    attacks = [
        (index, np.full(rows, -5, "<i8")),
        (index, np.full(rows, 1 << 60, "<i8")),
        (index, np.full(rows, len(sound) - 10, "<i8")),
        (index, np.zeros(rows, "<i8")),
        (edges, np.full(rows * (across + 1), 65535, "<u2")),
        (edges, np.arange(rows * (across + 1)).astype("<u2")),
        (edges, np.tile(np.arange(across + 1)[::-1], rows).astype("<u2")),
    ]
    for at, values in attacks:
        broken = bytearray(sound)
        broken[at : at + values.nbytes] = values.tobytes()
        copy.write_bytes(broken)
        for window in (Window(0, 0, 400, 600), Window(100, 100, 20, 20), Window(399, 599, 1, 1)):
            with pytest.raises(DamagedFileError, match=r"b\.jpg"):
                open_raster(str(copy)).read(window)


@pytest.mark.timeout(60)
def test_damage_in_a_source_is_looked_for_once(tmp_path: Path, photograph: NDArray[np.uint8]) -> None:
    """A decoder complains at every window; whether it is right takes all of the file."""
    path = tmp_path / "a.jpg"
    jpeg = jpegs.with_intervals(path, jpegs.encode(np.tile(photograph, (6, 6, 1)), subsampling="420"), 4)
    broken = bytearray(jpeg)
    start = jpegs.scan_start(jpeg)
    for at in range(start + 500, len(broken) - 2, 1000):
        if 0xFF not in broken[at - 1 : at + 2]:
            broken[at] = 0
    path.write_bytes(broken)
    raster = open_raster(str(path))
    assert isinstance(raster.full, IntervalLevel)
    windows = [Window(top, left, 100, 100) for top in range(0, 2400, 100) for left in range(0, 3600, 100)]
    begun = time.perf_counter()
    for window in windows:
        with pytest.raises(DamagedFileError):
            raster.read(window)
    assert time.perf_counter() - begun < 10


def test_a_replaced_source_of_another_kind(
    tmp_path: Path, workdir: Path, photograph: NDArray[np.uint8]
) -> None:
    path = tmp_path / "a.jpg"
    frames = SimpleFrames({1: path}, workdir=workdir, backend="auto")
    for turn in range(3):
        pixels = np.roll(photograph, turn, axis=0)
        Image.fromarray(pixels).save(path, ("PNG", "JPEG")[turn % 2])
        expected = jpegs.decoded(path)
        np.testing.assert_array_equal(frames.load_image(1), expected)
        left = [place.suffix for place in workdir.rglob("*.*") if place.suffix in (".jpg", ".tif")]
        assert left == [(".tif", ".jpg")[turn % 2]]


def test_reduced_pixels_come_from_the_decoder(
    tmp_path: Path, workdir: Path, photograph: NDArray[np.uint8]
) -> None:
    source = jpegs.encode(photograph, subsampling="420")
    frames = collection(tmp_path / "a.jpg", source, workdir)
    np.testing.assert_array_equal(frames.load_region(1, scale=1 / 4), jpegs.decoded(source, 4))
    part = frames.load_region(1, Window(80, 160, 64, 128), scale=1 / 8)
    np.testing.assert_array_equal(part, jpegs.decoded(source, 8)[10:18, 20:36])


def test_batches_and_bands(tmp_path: Path, workdir: Path, photograph: NDArray[np.uint8]) -> None:
    source = jpegs.encode(photograph, subsampling="422")
    frames = collection(tmp_path / "a.jpg", source, workdir)
    expected = jpegs.decoded(source)
    requests = [(1, (slice(row, row + 40), slice(row, row + 50))) for row in range(0, 300, 7)]
    for threads in (1, 3):
        for (_, region), got in zip(requests, frames.load_regions(requests, threads=threads), strict=True):
            np.testing.assert_array_equal(got, expected[region])
    strided = (slice(3, 90, 4), slice(5, None, 7), slice(0, 3, 2))
    np.testing.assert_array_equal(frames.load_region(1, strided), expected[strided])


def test_an_asset_may_have_any_name(tmp_path: Path, workdir: Path, photograph: NDArray[np.uint8]) -> None:
    path = tmp_path / "-copy all.dat"
    path.write_bytes(jpegs.encode(photograph, subsampling="420"))
    frames = SimpleFrames({1: path}, workdir=workdir, backend="auto")
    np.testing.assert_array_equal(frames.load_image(1), jpegs.decoded(path))
    keys, _ = frames._store.keys_of(Asset(str(path)))
    assert len(keys) == 2


def test_a_copy_that_is_cut_while_it_is_read_is_mended(
    tmp_path: Path, workdir: Path, photograph: NDArray[np.uint8]
) -> None:
    # To touch a mapped file behind its end would end the process.
    Image.fromarray(photograph).save(tmp_path / "a.jpg")
    frames = SimpleFrames({1: tmp_path / "a.jpg"}, workdir=workdir, backend="jpeg")
    expected = jpegs.decoded(tmp_path / "a.jpg")
    for _ in range(3):
        np.testing.assert_array_equal(frames.load_region(1), expected)
    (copy,) = workdir.rglob("*.jpg")
    with copy.open("r+b") as file:
        file.truncate(100)
    np.testing.assert_array_equal(frames.load_region(1), expected)
