"""The reader of plain TIFF directories, against tifffile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import subregion
from pictures import save_png
from subregion import SimpleFrames, SubregionError
from subregion.formats.grid import GridLevel
from subregion.formats.raster import Raster
from subregion.formats.tiff import open as tiff
from subregion.formats.tiff.header import read_plain_page
from subregion.formats.tiff.open import open_tiff
from subregion.io.source import SourceFile

TAGS = [(33550, 12, 3, (2.0, 2.0, 0.0), True), (33922, 12, 6, (0.0, 0.0, 0.0, 5e5, 6e6, 0.0), True),
        (34737, 2, 0, "a name|", True), (282, 5, 1, (72, 1), True)]  # fmt: skip

#: What has to be plain, as tifffile writes it.
PLAIN: dict[str, tuple[str, int, dict[str, Any]]] = {
    "zstd": ("u1", 3, {"compression": "zstd", "tile": (32, 48), "photometric": "rgb"}),
    "deflate 16 bits": ("u2", 1, {"compression": "deflate", "tile": (16, 16), "predictor": True}),
    "lzw strips": ("u1", 3, {"compression": "lzw", "rowsperstrip": 7, "photometric": "rgb"}),
    "packbits": ("u1", 1, {"compression": "packbits", "rowsperstrip": 64}),
    "one strip": ("i2", 1, {"compression": "zstd"}),
    "floats": ("f4", 1, {"compression": "deflate", "tile": (32, 32), "predictor": 3}),
    "doubles, five bands": (
        "f8",
        5,
        {"compression": "zstd", "planarconfig": "contig", "photometric": "minisblack"},
    ),
    "alpha": ("u1", 4, {"compression": "zstd", "photometric": "rgb", "extrasamples": ["unassalpha"]}),
    "tags": ("u1", 3, {"compression": "zstd", "tile": (32, 32), "photometric": "rgb", "extratags": TAGS}),
    "big": ("u1", 3, {"compression": "zstd", "tile": (16, 16), "photometric": "rgb", "bigtiff": True}),
    "jpeg": ("u1", 3, {"compression": "jpeg", "tile": (32, 32), "photometric": "ycbcr"}),
    "grey jpeg": ("u1", 1, {"compression": "jpeg", "tile": (32, 32)}),
}
#: What tifffile has to read.
OTHERS: dict[str, tuple[str, int, dict[str, Any]]] = {
    "uncompressed": ("u1", 3, {"tile": (32, 32), "photometric": "rgb"}),
    "planar": ("u1", 3, {"compression": "zstd", "planarconfig": "separate", "photometric": "rgb"}),
    "big endian": ("u2", 1, {"compression": "zstd", "byteorder": ">"}),
    "inverted": ("u1", 1, {"compression": "zstd", "photometric": "miniswhite"}),
    "jpeg strips": ("u1", 3, {"compression": "jpeg", "rowsperstrip": 16, "photometric": "ycbcr"}),
    "lzma": ("u1", 3, {"compression": "lzma", "photometric": "rgb"}),
}


def write(path: Path, kind: tuple[str, int, dict[str, Any]]) -> None:
    dtype, bands, options = kind
    shape = (70, 90) if bands == 1 else (70, 90, bands)
    pixels: NDArray[Any] = np.random.default_rng(0).integers(0, 100, shape).astype(dtype)
    if "planarconfig" in options:
        pixels = pixels.transpose(2, 0, 1)
    tifffile.imwrite(path, pixels, metadata=None, **options)


def told(raster: Raster) -> dict[str, Any]:
    """What opening a file found out, in a form that can be compared."""
    index = raster.full
    assert isinstance(index, GridLevel)
    return {
        "shape": raster.shape, "dtype": raster.dtype, "layout": raster.layout, "nodata": raster.nodata,
        "tags": [(tag.code, tag.kind, tag.value.rstrip(b"\n\0")) for tag in raster.tags],
        "block": index.block, "fill": index.fill, "levels": raster.level_shapes,
        "offsets": index.offsets.tolist(), "nbytes": index.nbytes.tolist(),
        "codec": repr(index.codec).partition(" at 0x")[0], "color": repr(index.color),
    }  # fmt: skip


def by_both(path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, Any], dict[str, Any]]:
    fast = told(open_tiff(SourceFile(str(path))))
    with monkeypatch.context() as patch:
        patch.setattr(tiff, "read_plain_page", lambda file: None)
        return fast, told(open_tiff(SourceFile(str(path))))


@pytest.mark.parametrize("name", PLAIN)
def test_plain_files_are_told_as_by_tifffile(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "a.tif", PLAIN[name])
    assert read_plain_page(SourceFile(str(tmp_path / "a.tif"))) is not None
    fast, slow = by_both(tmp_path / "a.tif", monkeypatch)
    assert fast == slow


@pytest.mark.parametrize("name", OTHERS)
def test_other_files_are_left_to_tifffile(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "a.tif", OTHERS[name])
    assert read_plain_page(SourceFile(str(tmp_path / "a.tif"))) is None
    fast, slow = by_both(tmp_path / "a.tif", monkeypatch)
    assert fast == slow


@pytest.mark.parametrize("driver", ["COG", "GTiff"])
@pytest.mark.parametrize("compress", ["ZSTD", "DEFLATE", "LZW", "JPEG"])
def test_files_of_gdal(driver: str, compress: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 300, 500)).astype(np.uint8)
    options: dict[str, Any] = (
        {"blocksize": 128} if driver == "COG" else {"tiled": True, "interleave": "pixel"}
    )
    if compress == "JPEG" and driver == "GTiff":
        options["photometric"] = "ycbcr"
    with rasterio.open(
        tmp_path / "a.tif", "w", driver, 500, 300, 3, "EPSG:32633", rasterio.Affine(2, 0, 5e5, 0, -2, 6e6),
        "uint8", None if compress == "JPEG" else 7, compress=compress, **options,
    ) as out:  # fmt: skip
        out.write(pixels)
    assert read_plain_page(SourceFile(str(tmp_path / "a.tif"))) is not None
    fast, slow = by_both(tmp_path / "a.tif", monkeypatch)
    assert fast == slow


@pytest.mark.parametrize("compress", ["ZSTD", "DEFLATE", "JPEG"])
def test_our_copies_are_plain(compress: str, tmp_path: Path, photograph: NDArray[np.uint8]) -> None:

    save_png(tmp_path / "a.png", photograph)
    backend = {"type": "cog", "config": {"compress": compress}}
    frames = SimpleFrames({1: tmp_path / "a.png"}, workdir=tmp_path / "cache", backend=backend)
    frames.prepare()
    (copy,) = (tmp_path / "cache").rglob("*.tif")
    page = read_plain_page(SourceFile(str(copy)))
    assert page is not None
    assert (page.imagelength, page.imagewidth, page.samplesperpixel) == photograph.shape


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plain") / "a.tif"
    write(path, PLAIN["tags"])
    return path


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=3))
def test_a_garbled_directory_is_an_error_or_harmless(
    changes: list[tuple[int, int]], plain: Path, tmp_path: Path
) -> None:
    content = bytearray(plain.read_bytes())
    for at, byte in changes:
        content[at] = byte
    path = tmp_path / "b.tif"
    path.write_bytes(content)
    try:
        pixels = subregion.open(path)[:20, :20]
    except SubregionError:
        return
    assert pixels.shape[0] <= 20
