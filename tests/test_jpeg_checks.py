"""How JPEGs are copied: with which tables, and whether every error of the copy is found."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import jpegs
from subregion.codecs.jpegstream import read_stream
from subregion.convert import jpeg as converting
from subregion.convert import jpegcheck
from subregion.convert.jpegrecode import tables_of
from subregion.convert.jpegwrite import write_indexed
from subregion.errors import DamagedFileError
from subregion.formats.open import open_raster
from subregion.io.source import SourceFile


def pieces(content: bytes, size: int = 999) -> Iterator[bytes]:
    return (content[start : start + size] for start in range(0, len(content), size))


@pytest.mark.parametrize("interval", [2, 7])
@pytest.mark.parametrize("row", [150, 300, 390])
def test_errors_in_any_strip_are_found(
    row: int,
    interval: int,
    tmp_path: Path,
    photograph: NDArray[np.uint8],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Copies are checked strip by strip, or as a whole where strips do not begin with an interval."""
    monkeypatch.setattr(jpegcheck, "_STRIP_UNITS", 8)
    right, wrong = tmp_path / "a.jpg", tmp_path / "b.jpg"
    other = photograph.copy()
    other[row, 400:480] ^= 255
    for path, pixels in ((right, photograph), (wrong, other)):
        Image.fromarray(pixels).save(path, subsampling="4:2:0", restart_marker_blocks=interval)
    source, copy = open_raster(str(right)), str(tmp_path / "copy.jpg")
    content = wrong.read_bytes()
    monkeypatch.setattr(converting, "_with_intervals", lambda *args: pieces(content))
    with pytest.raises(DamagedFileError, match="does not decode to the same pixels"):
        converting.keep_jpeg(source, copy)
    content = right.read_bytes()
    converting.keep_jpeg(source, copy)
    np.testing.assert_array_equal(jpegs.decoded(Path(copy)), jpegs.decoded(right))


@pytest.mark.skipif(jpegs.JPEGTRAN is None, reason="needs jpegtran")
@pytest.mark.parametrize("optimize", [False, True])
def test_standard_tables_stay_and_others_are_made_anew(
    optimize: bool, tmp_path: Path, photograph: NDArray[np.uint8]
) -> None:
    path = tmp_path / "a.jpg"
    Image.fromarray(photograph).save(path, quality=95, optimize=optimize)
    copy = tmp_path / "copy.jpg"
    converting.keep_jpeg(open_raster(str(path)), str(copy))
    np.testing.assert_array_equal(jpegs.decoded(copy), jpegs.decoded(path))
    heads = [read_stream(SourceFile(str(each))) for each in (path, copy)]
    tables = [set(tables_of(stream.head).values()) for stream in heads if stream is not None]
    assert len(tables) == 2
    assert (tables[0] == tables[1]) == (not optimize)
    assert copy.stat().st_size <= 1.08 * path.stat().st_size


def test_pieces_of_any_size_make_the_same_file(tmp_path: Path, photograph: NDArray[np.uint8]) -> None:
    Image.fromarray(photograph).save(tmp_path / "a.jpg", restart_marker_blocks=2)
    content = (tmp_path / "a.jpg").read_bytes()
    for size in (1, 7, 4096, len(content)):
        write_indexed(str(tmp_path / f"{size}.jpg"), pieces(content, size))
    assert len({(tmp_path / f"{size}.jpg").read_bytes() for size in (1, 7, 4096, len(content))}) == 1


def test_a_copy_that_lacks_intervals_is_an_error(tmp_path: Path, photograph: NDArray[np.uint8]) -> None:
    Image.fromarray(photograph).save(tmp_path / "a.jpg", restart_marker_blocks=2)
    content = (tmp_path / "a.jpg").read_bytes()
    first = content.index(b"\xff\xd3")
    for harmed in (content[:-2], content[:first] + content[content.index(b"\xff\xd4") :], content[:300]):
        with pytest.raises(DamagedFileError, match=r"b\.jpg"):
            write_indexed(str(tmp_path / "b.jpg"), pieces(harmed))
