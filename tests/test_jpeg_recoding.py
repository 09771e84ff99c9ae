"""Restart markers put into JPEGs bit by bit: jpegtran and Pillow find what they found in the source."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import jpegs
from subregion.codecs.jpegstream import read_stream
from subregion.convert import huffman, jpegrecode
from subregion.convert.huffman import HuffmanTable
from subregion.errors import DamagedFileError
from subregion.formats.jpeg.index import IntervalScan, grid_of
from subregion.io.source import SourceFile


def check(path: Path, source: bytes, interval: int) -> None:
    """Compare pixels, coefficients if jpegtran is there, and look at every marker."""
    got = jpegs.with_intervals(path, source, interval)
    np.testing.assert_array_equal(jpegs.decoded(got), jpegs.decoded(source))
    if jpegs.JPEGTRAN is not None:
        plain = ("-copy", "none", "-restart", "0", "-optimize")
        assert jpegs.by_jpegtran(got, *plain) == jpegs.by_jpegtran(source, *plain)
    path.write_bytes(got)
    file = SourceFile(str(path))
    stream = read_stream(file)
    assert stream is not None
    assert stream.restart == interval
    grid = grid_of(stream)
    assert grid is not None
    scan = IntervalScan(stream.data)
    scan.feed(file.read(stream.data, file.size - stream.data))
    assert scan.index(grid) is not None
    assert scan.stop == file.size


@pytest.mark.parametrize("interval", [1, 4, 1000])
@pytest.mark.parametrize("sampling", jpegs.SAMPLINGS)
def test_coefficients_stay(
    sampling: str, interval: int, tmp_path: Path, photograph: NDArray[np.uint8]
) -> None:
    check(tmp_path / "a.jpg", jpegs.encode(photograph[:150, :211], **jpegs.SAMPLINGS[sampling]), interval)


@pytest.mark.parametrize("stride", [64, 1 << 9])
@pytest.mark.parametrize("sampling", ["4:4:4", "4:2:0", "grey"])
def test_wherever_decoders_start(
    sampling: str,
    stride: int,
    tmp_path: Path,
    photograph: NDArray[np.uint8],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """So close that most of them never fall into step, and in pieces that end anywhere."""
    monkeypatch.setattr(huffman, "_STRIDE", stride)
    monkeypatch.setattr(jpegrecode, "PIECE_BYTES", 3001)
    check(tmp_path / "a.jpg", jpegs.encode(photograph[:200, :300], **jpegs.SAMPLINGS[sampling]), 3)


@pytest.mark.parametrize("kind", ["blank", "stripes", "noise", "blank with a spot"])
def test_monotonous_and_wild_pictures(
    kind: str, tmp_path: Path, photograph: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a blank picture a decoder that is out of step may stay so for ever."""
    monkeypatch.setattr(huffman, "_STRIDE", 256)
    pixels = np.full((640, 640, 3), 200, np.uint8)
    if kind == "stripes":
        pixels[:, ::16] = 20
    elif kind == "noise":
        pixels = np.random.default_rng(0).integers(0, 256, pixels.shape, np.uint8)
    elif kind == "blank with a spot":
        pixels[400:480, 300:400] = photograph[:80, :100]
    for sampling in ("4:2:0", "4:4:4", "grey"):
        check(tmp_path / "a.jpg", jpegs.encode(pixels, **jpegs.SAMPLINGS[sampling]), 5)


def test_tables_that_hold_only_what_is_used(tmp_path: Path, photograph: NDArray[np.uint8]) -> None:
    """Tables made for one picture lack the codes that the first blocks of intervals need."""
    from PIL import Image

    for quality in (5, 50, 100):
        path = tmp_path / "optimal.jpg"
        Image.fromarray(photograph[:100, :150]).save(path, optimize=True, quality=quality)
        check(tmp_path / "a.jpg", path.read_bytes(), 2)


@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_tables_get_room_for_all_sizes(data: st.DataObject) -> None:
    sizes = data.draw(st.permutations(range(12)))[: data.draw(st.integers(1, 12))]
    # A table as optimisers make it: lengths that fill the code but for its last place.
    lengths = sorted(min(k + 1, 16) for k in range(len(sizes)))
    table = HuffmanTable(tuple(lengths.count(bits) for bits in range(1, 17)), bytes(sizes))
    assert table.valid
    wider = table.with_symbols(range(12))
    assert wider is not None
    assert wider.valid
    assert sorted(wider.symbols) == list(range(12))
    codes = {symbol: (code, bits) for symbol, code, bits in wider.codes()}
    assert all(codes[symbol] == (code, bits) for symbol, code, bits in table.codes())
    words = [format(code, f"0{bits}b") for code, bits in codes.values()]
    assert not any(a != b and b.startswith(a) for a in words for b in words)
    assert not any(set(word) == {"1"} for word in words)


def test_a_full_table_has_no_room() -> None:
    table = HuffmanTable((0,) * 15 + (65535,), bytes(65535))
    assert table.with_symbols(range(12)) is None


@pytest.mark.parametrize("harm", ["cut", "empty", "early end", "too few rows"])
def test_damage_is_an_error(harm: str, tmp_path: Path, photograph: NDArray[np.uint8]) -> None:
    source = jpegs.encode(photograph[:93, :131], subsampling="420")
    start, frame = jpegs.scan_start(source), source.index(b"\xff\xc0")
    content = {
        "cut": source[: len(source) // 2],
        "empty": source[:start] + b"\xff\xd9",
        "early end": source[: len(source) // 2] + b"\xff\xd9",
        "too few rows": source[: frame + 5] + b"\x01\0" + source[frame + 7 :],
    }[harm]
    with pytest.raises(DamagedFileError, match=r"a\.jpg"):
        jpegs.with_intervals(tmp_path / "a.jpg", content, 3)


def test_the_mark_of_the_end_may_be_missing(tmp_path: Path, photograph: NDArray[np.uint8]) -> None:
    source = jpegs.encode(photograph[:93, :131], subsampling="420")
    expected = jpegs.with_intervals(tmp_path / "a.jpg", source, 3)
    assert jpegs.with_intervals(tmp_path / "a.jpg", source[:-2], 3) == expected
    assert (
        jpegs.with_intervals(tmp_path / "a.jpg", source[:-2] + b"\xff\xdc\0\4\0\x5d" + source[-2:], 3)
        == expected
    )


def test_what_stands_behind_the_last_block_is_left_out(tmp_path: Path, photograph: NDArray[np.uint8]) -> None:
    source = jpegs.encode(photograph[:93, :131], subsampling="420")
    expected = jpegs.with_intervals(tmp_path / "a.jpg", source, 3)
    assert (
        jpegs.with_intervals(tmp_path / "a.jpg", source[:-2] + b"stray" + source[-2:] + b"other", 3)
        == expected
    )


def test_random_bytes_end_in_an_error_or_a_jpeg(tmp_path: Path, photograph: NDArray[np.uint8]) -> None:
    source = jpegs.encode(photograph[:93, :131], subsampling="420")
    start = jpegs.scan_start(source)
    rng = np.random.default_rng(0)
    for _ in range(30):
        noise = rng.integers(0, 255, int(rng.integers(1, 5000)), np.uint8).tobytes()
        with pytest.raises(DamagedFileError, match=r"a\.jpg"):
            jpegs.with_intervals(
                tmp_path / "a.jpg", source[:start] + noise[: len(source) // 8] + b"\xff\xd9", 3
            )
