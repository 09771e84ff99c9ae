"""Codecs are values: they can be compared, printed and sent to another process."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
import zarr.codecs
from numpy.typing import NDArray

from subregion.formats.grid import GridLevel
from subregion.formats.open import open_raster

TIFFS: dict[str, dict[str, Any]] = {
    "raw": {},
    "deflate": {"compression": "zlib", "predictor": 2},
    "zstd": {"compression": "zstd"},
    "lzw": {"compression": "lzw"},
    "lzma": {"compression": "lzma"},
    "packbits": {"compression": "packbits"},
    "jpeg": {"compression": "jpeg"},
}
ZARRS: dict[str, dict[str, Any]] = {
    "raw": {"compressors": None},
    "blosc": {"compressors": zarr.codecs.BloscCodec(cname="lz4")},
    "zstd": {"compressors": zarr.codecs.ZstdCodec()},
    "gzip with a checksum": {"compressors": [zarr.codecs.GzipCodec(), zarr.codecs.Crc32cCodec()]},
}


@pytest.fixture
def pixels() -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 99, (64, 64, 3), np.uint8)


def check(path: Path) -> None:
    raster, again = open_raster(str(path)), open_raster(str(path))
    assert isinstance(raster.full, GridLevel)
    assert isinstance(again.full, GridLevel)
    codec = raster.full.codec
    assert codec == again.full.codec
    sent = pickle.loads(pickle.dumps(codec))
    assert sent == codec
    assert repr(sent) == repr(codec)
    data = raster.file.read(int(raster.full.offsets.flat[0]), int(raster.full.nbytes.flat[0]))
    np.testing.assert_array_equal(sent.decode(data, 0), codec.decode(data, 0))


@pytest.mark.parametrize("name", TIFFS)
def test_of_tiff(name: str, tmp_path: Path, pixels: NDArray[np.uint8]) -> None:
    tifffile.imwrite(tmp_path / "a.tif", pixels, tile=(32, 32), photometric="rgb", **TIFFS[name])
    check(tmp_path / "a.tif")


@pytest.mark.parametrize("name", ZARRS)
def test_of_zarr(name: str, tmp_path: Path, pixels: NDArray[np.uint8]) -> None:
    zarr.create_array(tmp_path / "a.zarr", data=pixels, chunks=(64, 64, 3), **ZARRS[name])
    check(tmp_path / "a.zarr")
