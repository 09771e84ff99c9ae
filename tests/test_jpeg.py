"""JPEGs with restart intervals, read by window: Pillow, which decodes all of it, is the judge."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

import jpegs
from subregion.codecs.jpegstream import JpegFrame
from subregion.convert.jpeg import choose_interval, keep_jpeg
from subregion.convert.jpegwrite import write_indexed
from subregion.errors import DamagedFileError
from subregion.formats.jpeg.intervals import IntervalLevel, open_intervals
from subregion.formats.open import open_raster
from subregion.formats.raster import Raster
from subregion.geometry.window import Window
from subregion.io.source import SourceFile

SIZES = [(93, 131), (64, 96), (1, 1), (17, 16), (33, 129), (8, 200), (200, 3)]


def opened(path: Path, jpeg: bytes) -> Raster:
    path.write_bytes(jpeg)
    raster = open_raster(str(path))
    assert isinstance(raster.full, IntervalLevel), raster.layout
    return raster


def windows(rows: int, cols: int, count: int, seed: int = 0) -> list[Window]:
    """Random windows, many of them at a border."""
    rng = np.random.default_rng(seed)
    found = [Window(0, 0, rows, cols), Window(rows - 1, cols - 1, 1, 1), Window(0, cols - 1, rows, 1)]
    for _ in range(count):
        height, width = int(rng.integers(1, rows + 1)), int(rng.integers(1, cols + 1))
        row = int(rng.choice([0, rows - height, int(rng.integers(0, rows - height + 1))]))
        col = int(rng.choice([0, cols - width, int(rng.integers(0, cols - width + 1))]))
        found.append(Window(row, col, height, width))
    return found


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("sampling", jpegs.SAMPLINGS)
def test_windows_are_those_of_the_whole(
    sampling: str, size: tuple[int, int], tmp_path: Path, photograph: NDArray[np.uint8]
) -> None:
    source = jpegs.encode(photograph[: size[0], : size[1]], **jpegs.SAMPLINGS[sampling])
    expected = jpegs.decoded(source)
    frame_units = -(-size[1] // 8)
    for interval in sorted({1, 3, 5, 2 * frame_units}):
        raster = open_intervals(
            _file(tmp_path / "a.jpg", jpegs.with_intervals(tmp_path / "b.jpg", source, interval))
        )
        assert raster is not None
        assert raster.shape == expected.shape
        for window in windows(*size, count=6, seed=interval):
            np.testing.assert_array_equal(
                raster.read(window), expected[window.slices], str((interval, window))
            )


def _file(path: Path, content: bytes) -> SourceFile:
    path.unlink(missing_ok=True)
    path.write_bytes(content)
    return SourceFile(str(path))


@pytest.mark.parametrize("sampling", ["4:4:4", "4:2:2", "4:2:0", "4:4:0", "4:1:1", "grey", "RGB"])
def test_levels_are_the_reduced_sizes_of_the_decoder(
    sampling: str, tmp_path: Path, photograph: NDArray[np.uint8]
) -> None:
    for (rows, cols), interval in itertools.product([(213, 309), (209, 9), (97, 65), (9, 129)], (1, 3)):
        source = jpegs.encode(photograph[:rows, :cols], **jpegs.SAMPLINGS[sampling])
        raster = opened(tmp_path / "a.jpg", jpegs.with_intervals(tmp_path / "b.jpg", source, interval))
        assert len(raster.level_shapes) == 4
        for level in (1, 2, 3):
            expected = jpegs.decoded(source, 1 << level)
            assert expected.shape[:2] == raster.level_shapes[level]
            for window in windows(*raster.level_shapes[level], count=10, seed=level):
                got = raster.read(window, level=level)
                np.testing.assert_array_equal(
                    got, expected[window.slices], str((rows, cols, interval, level, window))
                )


@pytest.mark.parametrize("size", [(209, 3), (5, 129)])
def test_levels_of_narrow_pictures(
    size: tuple[int, int], tmp_path: Path, photograph: NDArray[np.uint8]
) -> None:
    import cv2

    source = jpegs.encode(photograph[: size[0], : size[1]], subsampling="420")
    raster = opened(tmp_path / "a.jpg", jpegs.with_intervals(tmp_path / "b.jpg", source, 1))
    flags = (cv2.IMREAD_REDUCED_COLOR_2, cv2.IMREAD_REDUCED_COLOR_4, cv2.IMREAD_REDUCED_COLOR_8)
    for level, flag in enumerate(flags, 1):
        whole = cv2.imdecode(np.frombuffer(source, np.uint8), flag)
        assert whole is not None
        for window in windows(*raster.level_shapes[level], count=10, seed=level):
            np.testing.assert_array_equal(raster.read(window, level=level), whole[window.slices][..., ::-1])


@pytest.mark.skipif(shutil.which("cjpeg") is None, reason="needs cjpeg")
@pytest.mark.parametrize(
    "factors", ["3x1,1x1,1x1", "2x2,2x1,1x2", "1x1,2x1,1x1", "1x4,1x1,1x1", "4x2,1x1,1x1", "2x2,1x1,2x2"]
)
def test_odd_samplings(factors: str, tmp_path: Path, photograph: NDArray[np.uint8]) -> None:
    Image.fromarray(photograph[:93, :131]).save(tmp_path / "a.ppm")
    command = ["cjpeg", "-sample", factors, "-restart", "1B", str(tmp_path / "a.ppm")]
    source = subprocess.run(command, capture_output=True, check=True).stdout
    expected = jpegs.decoded(source)
    raster = opened(tmp_path / "a.jpg", source)
    for window in windows(93, 131, count=25):
        np.testing.assert_array_equal(raster.read(window), expected[window.slices], str(window))


@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_any_window_of_any_picture(data: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    rows, cols = data.draw(st.integers(1, 100)), data.draw(st.integers(1, 140))
    noise = np.random.default_rng(data.draw(st.integers(0, 9))).integers(0, 256, (rows, cols, 3), np.uint8)
    source = jpegs.encode(noise, **jpegs.SAMPLINGS[data.draw(st.sampled_from(sorted(jpegs.SAMPLINGS)))])
    folder = tmp_path_factory.mktemp("any")
    content = jpegs.with_intervals(folder / "b.jpg", source, data.draw(st.integers(1, 20)))
    raster = open_intervals(_file(folder / "a.jpg", content))
    assert raster is not None
    expected = jpegs.decoded(source)
    for _ in range(4):
        row, col = data.draw(st.integers(0, rows - 1)), data.draw(st.integers(0, cols - 1))
        height, width = data.draw(st.integers(1, rows - row)), data.draw(st.integers(1, cols - col))
        window = Window(row, col, height, width)
        np.testing.assert_array_equal(raster.read(window), expected[window.slices])
        steps = data.draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
        part = expected[window.slices][:: steps[0], :: steps[1]]
        np.testing.assert_array_equal(raster.read(window, steps=steps), part)
        np.testing.assert_array_equal(raster.read(window, [0], steps), part[..., :1])


def test_large_windows_are_read_in_pieces(
    tmp_path: Path, photograph: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("subregion.formats.jpeg.intervals.PIECE_BYTES", 30_000)
    source = jpegs.encode(photograph, subsampling="420")
    raster = opened(tmp_path / "a.jpg", jpegs.with_intervals(tmp_path / "b.jpg", source, 2))
    expected = jpegs.decoded(source)
    for steps in ((1, 1), (7, 3), (50, 1)):
        got = raster.read(Window(3, 5, 390, 500), steps=steps)
        np.testing.assert_array_equal(got, expected[3 : 393 : steps[0], 5 : 505 : steps[1]])
    np.testing.assert_array_equal(np.concatenate(list(raster.strips(50))), expected)


@pytest.fixture
def plain(photograph: NDArray[np.uint8], tmp_path: Path) -> bytes:
    """A JPEG of 93 x 131 pixels with intervals of one unit, without an index."""
    return jpegs.with_intervals(
        tmp_path / "plain.jpg", jpegs.encode(photograph[:93, :131], subsampling="420"), 1
    )


def test_markers_may_be_filled_up(plain: bytes, tmp_path: Path) -> None:
    start = jpegs.scan_start(plain)
    pixels = plain[start:]
    for number in (0, 3):
        pixels = pixels.replace(bytes([0xFF, 0xD0 + number]), bytes([0xFF, 0xFF, 0xFF, 0xD0 + number]))
    raster = opened(tmp_path / "a.jpg", plain[:start] + pixels)
    expected = jpegs.decoded(plain)
    for window in windows(93, 131, 20):
        np.testing.assert_array_equal(raster.read(window), expected[window.slices])


def test_metadata_changes_nothing(plain: bytes, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6  # turned by a quarter
    content = jpegs.with_segment(plain, 0xE1, exif.tobytes())
    content = jpegs.with_segment(content, 0xE2, b"ICC_PROFILE\0\1\1" + bytes(50_000))
    content = jpegs.with_segment(content, 0xEF, b"subregion\0 that is not a note of ours")
    raster = opened(tmp_path / "a.jpg", content + b"what follows belongs to somebody else \xff\xd8\xff")
    np.testing.assert_array_equal(raster.read(Window(20, 30, 50, 70)), jpegs.decoded(plain)[20:70, 30:100])


def test_of_several_images_the_first_counts(photograph: NDArray[np.uint8], tmp_path: Path) -> None:
    first, second = (Image.fromarray(photograph[k : k + 93, :131]) for k in (0, 100))
    first.save(tmp_path / "a.mpo", "MPO", save_all=True, append_images=[second], restart_marker_blocks=3)
    raster = open_intervals(SourceFile(str(tmp_path / "a.mpo")))
    assert raster is not None
    expected = jpegs.decoded(tmp_path / "a.mpo")
    np.testing.assert_array_equal(raster.read(Window(20, 30, 50, 70)), expected[20:70, 30:100])


@pytest.mark.parametrize(
    "harm", ["cut", "cut at a marker", "number", "missing marker", "no end", "two scans", "no height"]
)
def test_intervals_that_are_not_as_they_should_be_are_not_used(
    harm: str, plain: bytes, tmp_path: Path
) -> None:
    start = jpegs.scan_start(plain)
    marker = plain.index(b"\xff\xd2", start)
    frame = plain.index(b"\xff\xc0")
    content = {
        "cut": plain[: len(plain) * 2 // 3],
        "cut at a marker": plain[:marker],
        "number": plain[:marker] + b"\xff\xd5" + plain[marker + 2 :],
        "missing marker": plain[:marker] + plain[marker + 2 :],
        "no end": plain[:-2],
        "two scans": plain[:marker] + jpegs.segment(0xDA, bytes(10)) + plain[marker + 2 :],
        "no height": plain[: frame + 5] + b"\0\0" + plain[frame + 7 :],
    }[harm]
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    with pytest.raises(DamagedFileError, match=r"a\.jpg"):
        open_raster(str(path)).read(Window(0, 0, 93, 131))


def test_damage_in_an_interval_is_an_error_and_never_grey(plain: bytes, tmp_path: Path) -> None:
    start = jpegs.scan_start(plain)
    marker = plain.index(b"\xff\xd2", start)
    raster = opened(tmp_path / "a.jpg", plain[: marker - 3] + plain[marker:])
    with pytest.raises(DamagedFileError, match=r"a\.jpg"):
        raster.read(Window(0, 0, 93, 131))


def test_bytes_that_belong_to_nothing_are_passed_over(plain: bytes, tmp_path: Path) -> None:
    marker = plain.index(b"\xff\xd2", jpegs.scan_start(plain))
    raster = opened(tmp_path / "a.jpg", plain[:marker] + b"stray bytes" + plain[marker:])
    expected = jpegs.decoded(plain)
    np.testing.assert_array_equal(raster.read(Window(0, 0, 93, 131)), expected)
    np.testing.assert_array_equal(raster.read(Window(3, 20, 40, 50)), expected[3:43, 20:70])


@pytest.mark.skipif(jpegs.JPEGTRAN is None, reason="needs jpegtran")
@pytest.mark.parametrize("kind", ["-progressive", "-arithmetic"])
def test_other_processes_are_decoded_from_the_top(kind: str, plain: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(jpegs.by_jpegtran(plain, kind, "-restart", "1B"))
    assert open_intervals(SourceFile(str(path))) is None


def test_an_indexed_copy_is_an_ordinary_jpeg(plain: bytes, tmp_path: Path) -> None:
    import cv2
    import pyvips

    path = tmp_path / "a.jpg"
    write_indexed(str(path), [plain[:30], plain[30:]])
    expected = jpegs.decoded(plain)
    np.testing.assert_array_equal(jpegs.decoded(path), expected)
    by_opencv = cv2.imread(str(path))
    assert by_opencv is not None
    np.testing.assert_array_equal(by_opencv[..., ::-1], expected)
    image = pyvips.Image.jpegload(str(path), fail_on="warning")
    np.testing.assert_array_equal(image.numpy(), expected)
    if shutil.which("djpeg"):
        said = subprocess.run(["djpeg", "-outfile", str(tmp_path / "a.ppm"), str(path)], capture_output=True)
        assert (said.returncode, said.stderr) == (0, b"")


def test_the_index_is_read_and_not_made_again(
    plain: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.jpg"
    write_indexed(str(path), [plain])
    monkeypatch.setattr("subregion.formats.jpeg.index.IntervalScan.feed", None)
    raster = open_intervals(SourceFile(str(path)))
    assert raster is not None
    np.testing.assert_array_equal(raster.read(Window(0, 0, 93, 131)), jpegs.decoded(plain))


def test_any_flipped_bit_of_a_copy_is_noticed(plain: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    write_indexed(str(path), [plain])
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    start, end = jpegs.scan_start(content), content.rindex(b"\xff\xd9")
    for at in [int(rng.integers(start, end)) for _ in range(60)] + [
        int(rng.integers(80, start)) for _ in range(20)
    ]:
        harmed = bytearray(content)
        harmed[at] ^= 1 << int(rng.integers(8))
        other = tmp_path / f"{at}.jpg"
        other.write_bytes(harmed)
        with pytest.raises(DamagedFileError, match=str(at)):
            open_raster(str(other)).read(Window(0, 0, 93, 131))


def test_a_note_in_another_file_leads_nowhere(plain: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    write_indexed(str(path), [plain])
    shortened = path.read_bytes()[:-8]
    raster = opened(tmp_path / "b.jpg", shortened)
    np.testing.assert_array_equal(raster.read(Window(0, 0, 93, 131)), jpegs.decoded(plain))


@pytest.mark.parametrize(
    ("width", "nbytes", "units"),
    [(10800, 5_650_000, 5), (5400, 2_311_548, 2), (4000, 6_000_000, 5), (100, 9000, 7), (16 * 337, 10**7, 1)],
)
def test_intervals_divide_a_row(width: int, nbytes: int, units: int) -> None:
    frame = JpegFrame(0xC0, width // 2, width, ((2, 2), (1, 1), (1, 1)))
    assert choose_interval(frame, nbytes) == units
    assert frame.units[1] % choose_interval(frame, nbytes, 50) == 0


def test_a_source_that_changes_its_size_is_refused(plain: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(plain)
    source = open_raster(str(path))
    path.write_bytes(jpegs.encode(np.zeros((50, 50, 3), np.uint8)))
    with pytest.raises(DamagedFileError, match="should be"):
        keep_jpeg(source, str(tmp_path / "b.jpg"))
    assert not (tmp_path / "b.jpg").exists()


def test_a_source_that_is_cut_while_it_is_open_is_an_error(plain: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    raster = opened(path, plain)
    os.truncate(path, 2000)
    with pytest.raises(DamagedFileError, match="truncated"):
        raster.read(Window(0, 0, 93, 131))
