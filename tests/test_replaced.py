"""Sources that are replaced at every moment, by a rename and in place: no copy is ever of another content."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from numpy.typing import NDArray
from PIL import Image

from moments import at_moment
from subregion import SimpleFrames, Window
from subregion.cache.workdir import make_store
from subregion.errors import CacheError, IdentityError
from subregion.io.pool import POOL
from subregion.records import Asset

ROWS, COLS = 300, 500


def write_bmp(path: Path, pixels: NDArray[np.uint8]) -> NDArray[Any]:
    Image.fromarray(pixels).save(path, "BMP")
    return pixels


def write_png(path: Path, pixels: NDArray[np.uint8]) -> NDArray[Any]:
    Image.fromarray(pixels).save(path, "PNG", compress_level=0)
    return pixels


def write_jpeg(path: Path, pixels: NDArray[np.uint8]) -> NDArray[Any]:
    Image.fromarray(pixels).save(path, "JPEG")
    with Image.open(path) as image:
        return np.asarray(image)


def write_tiff(path: Path, pixels: NDArray[np.uint8]) -> NDArray[Any]:
    tifffile.imwrite(path, pixels, rowsperstrip=50, photometric="rgb")
    return pixels


def write_npy(path: Path, pixels: NDArray[np.uint8]) -> NDArray[Any]:
    with path.open("wb") as file:
        np.save(file, pixels)
    return pixels


def write_zarr(path: Path, pixels: NDArray[np.uint8]) -> NDArray[Any]:
    zarr.create_array(path, data=pixels, chunks=pixels.shape, compressors=None)
    return pixels


WRITERS: dict[str, Callable[[Path, NDArray[np.uint8]], NDArray[Any]]] = {
    "bmp": write_bmp,
    "png": write_png,
    "jpg": write_jpeg,
    "tif": write_tiff,
    "npy": write_npy,
    "zarr": write_zarr,
}


class Source:
    """A source that has one of two contents, A and B, or what is left of both."""

    def __init__(self, folder: Path, kind: str, photograph: NDArray[np.uint8]) -> None:
        self.path = folder / f"source.{kind}"
        contents = {"A": photograph[:ROWS, :COLS], "B": 255 - photograph[-ROWS:, -COLS:]}
        self.pixels: dict[str, NDArray[Any]] = {}
        self.bytes: dict[str, bytes] = {}
        inner = ""
        for name, pixels in contents.items():
            place = folder / f"{name}.{kind}"
            self.pixels[name] = WRITERS[kind](place, np.ascontiguousarray(pixels))
            if place.is_dir():
                (chunk,) = (each for each in (place / "c").rglob("*") if each.is_file())
                inner = str(chunk.relative_to(place))
            self.bytes[name] = (place / inner).read_bytes()
        if inner:
            shutil.copytree(folder / f"A.{kind}", self.path)
        self.file = self.path / inner
        self.replace("A")

    def replace(self, name: str) -> None:
        """Rename another file over it, with an older time of change, as `rsync -a` does."""
        other = self.file.with_name("other")
        other.write_bytes(self.bytes[name])
        when = time.time_ns() - (10**9 if name == "A" else 3600 * 10**9)
        os.utime(other, ns=(when, when))
        other.replace(self.file)

    def rewrite(self, name: str) -> None:
        """Write into it, and give it the time of change that it had."""
        status = self.file.stat()
        with self.file.open("r+b") as file:
            file.write(self.bytes[name])
            file.truncate()
        os.utime(self.file, ns=(status.st_atime_ns, status.st_mtime_ns))

    def half_rewrite(self, name: str) -> None:
        """Write the first half of another content into it, and give it the time of change that it had."""
        half = len(self.bytes[name]) // 2
        torn = self.bytes[name][:half] + self.bytes["A" if name == "B" else "B"][half:]
        self.bytes["torn"] = torn
        self.rewrite("torn")

    def which(self, pixels: NDArray[Any]) -> str:
        """Tell whose pixels these are."""
        names = [name for name, expected in self.pixels.items() if np.array_equal(pixels, expected)]
        return names[0] if names else "torn"


def frames_of(source: Source, workdir: Path, mode: str, backend: Any) -> SimpleFrames:
    given: dict[str, Any] = {"id_to_hashid": {1: "some hash"}} if mode == "GIVEN" else {}
    return SimpleFrames({1: source.path}, workdir, backend, mode, **given)


def read(source: Source, workdir: Path, mode: str, backend: Any) -> str:
    POOL.forget(lambda key: True)  # as another process does
    frames = frames_of(source, workdir, mode, backend)
    found = source.which(frames.load_region(1))
    assert source.which(frames.load_region(1)) == found
    return found


CASES = [
    *itertools.product(["bmp"], ["PATH", "PIXELS", "GIVEN", "DVC"], ["npy"]),
    ("jpg", "PIXELS", "auto"),
    ("png", "PATH", "auto"),
    ("tif", "PIXELS", "cog"),
    ("zarr", "PATH", "zarr"),
    ("zarr", "PIXELS", "npy"),
    ("npy", "PATH", None),
    ("jpg", "PATH", None),
    ("zarr", "PATH", None),
]


@pytest.mark.parametrize("manner", ["replace", "rewrite"])
@pytest.mark.parametrize(("kind", "mode", "backend"), CASES)
def test_at_every_moment_of_the_first_read(
    kind: str, mode: str, backend: Any, manner: str, tmp_path: Path, photograph: NDArray[np.uint8]
) -> None:
    source = Source(tmp_path, kind, photograph)
    (tmp_path / f"source.{kind}.dvc").write_text(
        f"outs:\n- md5: 0123456789abcdef0123456789abcdef\n  path: source.{kind}\n"
    )
    # There are few moments without a copy, and many when one is made: each case takes others of them.
    step = 1 if backend is None else 8
    first = 0 if backend is None else 2 * CASES.index((kind, mode, backend)) % step + (manner == "rewrite")
    exact = mode in ("PATH", "PIXELS")  # under GIVEN and DVC the hash stays, and so may the copy
    for number in itertools.count(first, step):
        source.replace("A")
        workdir = tmp_path / f"work{number}"
        frames = frames_of(source, workdir, mode, backend)
        with at_moment(number, str(tmp_path), lambda: getattr(source, manner)("B")) as seen:
            found = source.which(frames.load_region(1))
            if manner == "replace":
                assert found != "torn", f"torn at: {seen[number]}"
        if len(seen) <= number:
            break
        for name in ("A", "B"):
            source.replace(name)
            found = read(source, workdir, mode, backend)
            allowed = (name,) if exact else ("A", "B")
            assert found in allowed, f"{found} is not {name}, at: {seen[number]}"
        assert not list(workdir.glob("_cache/frames/unfinished/*"))
    assert number > first


@pytest.mark.parametrize("mode", ["PATH", "PIXELS", "GIVEN", "DVC"])
@pytest.mark.parametrize("manner", ["replace", "rewrite", "half_rewrite"])
@pytest.mark.parametrize("at", ["first rows", "last rows"])
def test_in_the_middle_of_a_conversion(
    at: str, manner: str, mode: str, tmp_path: Path, photograph: NDArray[np.uint8]
) -> None:
    source = Source(tmp_path, "tif", np.tile(photograph, (3, 3, 1)))
    (tmp_path / "source.tif.dvc").write_text(
        "outs:\n- md5: 0123456789abcdef0123456789abcdef\n  path: source.tif\n"
    )
    asset = Asset(str(source.path), hashid="some hash")
    calls = 0

    def progress(done: int, rows: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 1 if at == "first rows" else done == rows and calls < 100:
            calls = 100
            getattr(source, manner)("B")

    store = make_store(tmp_path / "work", "npy", mode)
    store.ensure(asset, progress)
    assert calls >= 100
    for name in ("B", "A", "B"):
        source.replace(name)
        POOL.forget(lambda key: True)
        raster = store.open(asset).raster
        found = source.which(raster.read(Window(0, 0, *raster.shape[:2])))
        if mode in ("PATH", "PIXELS"):
            assert found == name
        else:  # the hash stays, and so may the copy of what the source was when it was left in peace
            assert found in ("A", "B") or manner == "half_rewrite"


@pytest.mark.parametrize("mode", ["GIVEN", "DVC", "PIXELS"])
def test_a_source_that_is_half_written_when_it_is_first_read(
    mode: str, tmp_path: Path, photograph: NDArray[np.uint8]
) -> None:
    source = Source(tmp_path, "tif", photograph)
    (tmp_path / "source.tif.dvc").write_text(
        "outs:\n- md5: 0123456789abcdef0123456789abcdef\n  path: source.tif\n"
    )
    for number in range(8):
        source.replace("A")
        frames = frames_of(source, tmp_path / f"work{number}", mode, "npy")
        half = threading.Event()

        def write(half: threading.Event = half) -> None:
            with source.file.open("r+b", buffering=0) as file:
                middle = len(source.bytes["B"]) // 2
                file.write(source.bytes["B"][:middle])
                half.set()
                time.sleep(0.018)
                file.write(source.bytes["B"][middle:])

        writer = threading.Thread(target=write)
        writer.start()
        half.wait()
        with contextlib.suppress(CacheError, IdentityError):
            frames.load_region(1)
        writer.join()
        POOL.forget(lambda key: True)
        assert source.which(frames.load_region(1)) in ("A", "B")
