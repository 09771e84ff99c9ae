"""Changed bits anywhere in an entry: the right pixels, or an error."""

from __future__ import annotations

import itertools
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from numpy.typing import NDArray

from pictures import save_png
from subregion import SimpleFrames, SubregionError
from subregion.errors import DamagedFileError
from subregion.io.pool import POOL

pytestmark = pytest.mark.pixels  # read by both executors

#: Backends whose pixels are compared with checksums when they are read.
COMPARED: dict[str, Any] = {
    "cog": "cog",
    "cog deflate": {"type": "cog", "config": {"compress": "DEFLATE"}},
    "cog lzw": {"type": "cog", "config": {"compress": "LZW"}},
    "cog jpeg": {"type": "cog", "config": {"compress": "JPEG", "quality": 95}},
    "zarr": "zarr",
    "zarr zstd": {"type": "zarr", "config": {"compress": "ZSTD"}},
    "jpeg": "jpeg",
}
#: Those whose pixels are raw: what tells where they are is compared, they themselves only by `verify`.
RAW: dict[str, Any] = {
    "npy": "npy",
    "cog raw": {"type": "cog", "config": {"compress": "RAW"}},
    "zarr raw": {"type": "zarr", "config": {"compress": "RAW"}},
}


@pytest.fixture(scope="module")
def picture() -> NDArray[np.uint8]:
    from skimage import data

    image: NDArray[np.uint8] = data.coffee()[:280, :400]
    return np.ascontiguousarray(image)


@pytest.fixture
def source(tmp_path: Path, picture: NDArray[np.uint8]) -> Path:
    path = tmp_path / "a.png"
    save_png(path, picture)
    return path


def files_of(workdir: Path) -> list[Path]:
    return sorted(place for place in workdir.glob("_cache/frames/??/**/*") if place.is_file())


def flip(path: Path, at: int, bit: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        (value,) = file.read(1)
        file.seek(at)
        file.write(bytes([value ^ 1 << bit]))


def places(workdir: Path, count: int, seed: int) -> Iterator[tuple[Path, int, int]]:
    """Choose bits in all files of an entry, more often at their beginnings and ends."""
    dice = random.Random(seed)
    for _ in range(count):
        path = dice.choice(files_of(workdir))
        size = path.stat().st_size
        near = min(size, 600)
        at = dice.choice([dice.randrange(size), dice.randrange(near), size - 1 - dice.randrange(near)])
        yield path, at, dice.randrange(8)


def read_all(workdir: Path, source: Path, backend: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    """Read everything and an overview, in a collection that has opened nothing yet."""
    POOL.forget(lambda key: True)
    frames = SimpleFrames({1: source}, workdir, backend)
    return frames.load_region(1), frames.load_region(1, scale=1 / 2)


@pytest.mark.parametrize("name", COMPARED)
def test_a_changed_bit_is_mended(name: str, source: Path, workdir: Path) -> None:
    backend = COMPARED[name]
    expected = read_all(workdir, source, backend)
    for path, at, bit in places(workdir, 24, seed=1):
        flip(path, at, bit)
        for got, right in zip(read_all(workdir, source, backend), expected, strict=True):
            np.testing.assert_array_equal(got, right, err_msg=f"bit {bit} of byte {at} of {path.name}")


@pytest.mark.parametrize("name", COMPARED)
def test_a_changed_bit_is_an_error_where_the_source_is_gone(name: str, source: Path, workdir: Path) -> None:
    backend = COMPARED[name]
    frames = SimpleFrames({1: source}, workdir, backend, "GIVEN", id_to_hashid={1: "x"})
    expected = frames.load_region(1)
    source.unlink()
    saved = workdir.with_name("saved")
    shutil.copytree(workdir, saved)
    for path, at, bit in places(workdir, 24, seed=2):
        flip(path, at, bit)
        before = {place: place.read_bytes() for place in files_of(workdir)}
        POOL.forget(lambda key: True)
        frames = SimpleFrames({1: source}, workdir, backend, "GIVEN", id_to_hashid={1: "x"})
        try:
            got = frames.load_region(1)
        except SubregionError as problem:
            error = problem
        else:
            np.testing.assert_array_equal(got, expected, err_msg=f"bit {bit} of byte {at} of {path.name}")
            continue
        finally:
            assert {place: place.read_bytes() for place in files_of(workdir)} == before
            path.write_bytes((saved / path.relative_to(workdir)).read_bytes())
        assert str(workdir) in str(error) or str(source) in str(error)
        assert isinstance(error, DamagedFileError | FileNotFoundError)


#: Other codecs are kept in the same files as `cog` and `zarr`.
HARMS = [
    *itertools.product(["cut", "gone", "emptied", "longer", "swapped"], ["cog", "zarr", "jpeg", *RAW]),
    *itertools.product(["cut", "swapped"], ["cog deflate", "cog lzw", "cog jpeg", "zarr zstd"]),
]


@pytest.mark.parametrize(("harm", "name"), HARMS)
def test_files_that_are_cut_gone_or_swapped(
    harm: str, name: str, source: Path, workdir: Path, picture: NDArray[np.uint8]
) -> None:
    backend = (COMPARED | RAW)[name]
    other = source.with_name("b.png")
    save_png(other, 255 - picture)
    SimpleFrames({1: other}, workdir.with_name("other"), backend).prepare()
    expected = read_all(workdir, source, backend)
    for number in range(len(files_of(workdir))):
        path = files_of(workdir)[number]
        data = path.read_bytes()
        if harm == "gone":
            path.unlink()
        elif harm == "swapped":
            strange = files_of(workdir.with_name("other"))[number].read_bytes()
            if name in RAW and len(strange) == len(data):
                continue  # only their pixels differ, which `verify` tells
            path.write_bytes(strange)
        else:
            path.write_bytes({"cut": data[:-1], "emptied": b"", "longer": data + b"\0"}[harm])
        for got, right in zip(read_all(workdir, source, backend), expected, strict=True):
            np.testing.assert_array_equal(got, right, err_msg=str(path))


def test_other_readers_need_not_know(source: Path, workdir: Path, picture: NDArray[np.uint8]) -> None:
    SimpleFrames({1: source}, workdir, "cog").prepare()
    SimpleFrames({1: source}, workdir, "zarr").prepare()
    (tiff,) = workdir.glob("_cache/frames/??/*.tif")
    (group,) = workdir.glob("_cache/frames/??/*.zarr")
    np.testing.assert_array_equal(tifffile.imread(tiff), picture)
    np.testing.assert_array_equal(zarr.open_array(group / "0", mode="r")[:], picture)
