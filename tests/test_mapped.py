"""Files that become shorter while they are mapped: an error or mended, never the end of the process."""

from __future__ import annotations

import errno
import json
import mmap
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from numpy.typing import NDArray
from PIL import Image

from pictures import save_png
from subregion import SimpleFrames, SubregionError
from subregion.errors import DamagedFileError, SourceReadError
from subregion.formats.open import open_raster
from subregion.io import source as sources

RAW_COG = {"type": "cog", "config": {"compress": "RAW"}}
RAW_ZARR = {"type": "zarr", "config": {"compress": "RAW"}}

#: Reads windows of sources, of which a file is cut before the last ones, through every face that reads.
READER = """
import json, os, sys
import numpy as np
from subregion import SimpleFrames, SubregionError, Window
def outcomes(source, workdir, backend, cut, size):
    frames = SimpleFrames({1: source}, workdir, backend)
    expected = frames.load_region(1)
    for _ in range(3):
        frames.load_region(1, (slice(10, 200), slice(20, 300)))
    if cut == "entry":
        (cut,) = [os.path.join(place, name) for place, _, names in os.walk(workdir) for name in names
                  if name.endswith((".npy", ".tif", ".jpg")) or place.endswith("0/c/0/0")]
    os.truncate(cut, size)
    reads = {
        "window": lambda: frames.load_region(1, (slice(10, 200), slice(20, 300))),
        "steps": lambda: frames.load_region(1, (slice(0, 400, 3), slice(0, 600, 2)), None),
        "bands": lambda: frames.load_region(1, (slice(10, 200), slice(20, 300), slice(1, 2))),
        "beyond": lambda: frames.load_region(1, Window(-5, -5, 50, 50)),
        "batch": lambda: frames.load_regions([(1, Window(9, 9, 90, 90)), (1, Window(300, 300, 50, 50))]),
        "scaled": lambda: frames.load_region(1, scale=0.3),
        "whole": lambda: frames.load_region(1),
        "lazy": lambda: frames.load_frame(1)[300:],
    }
    found = {}
    for name, read in reads.items():
        try:
            pixels = read()
            found[name] = "same" if name == "whole" and np.array_equal(pixels, expected) else "read"
        except SubregionError as error:
            found[name] = type(error).__name__
    return found
for case in json.loads(sys.argv[1]):
    print(json.dumps(outcomes(*case)), flush=True)
"""
Case = tuple[Path, Path, Any, Path | str, int]


def cut_and_read(cases: Sequence[Case]) -> Iterator[dict[str, str]]:
    """Read and cut, in one other process: (source, workdir, backend, what is cut, to what size)."""
    told = json.dumps(
        [(*map(str, (source, workdir)), *rest) for source, workdir, *rest in cases], default=str
    )
    answer = subprocess.run(
        [sys.executable, "-c", READER, told], capture_output=True, text=True, timeout=120, check=False
    )
    assert answer.returncode == 0, (answer.returncode, answer.stdout, answer.stderr)
    found = [json.loads(line) for line in answer.stdout.splitlines()]
    assert len(found) == len(cases)
    yield from found


@pytest.mark.parametrize("backend", ["npy", RAW_COG, RAW_ZARR, "cog", "jpeg"])
def test_an_entry_that_is_cut_is_mended(
    backend: Any, tmp_path: Path, workdir: Path, photograph: NDArray[np.uint8]
) -> None:
    path = tmp_path / "a.png"
    save_png(path, photograph)
    sizes = (0, 1, 5000, 20_000 if backend == "jpeg" else 300_000)
    cases: list[Case] = [(path, workdir / str(size), backend, "entry", size) for size in sizes]
    for size, answers in zip(sizes, cut_and_read(cases), strict=True):
        assert answers.pop("whole") == "same", size
        assert set(answers.values()) == {"read"}, size


def write_npy(path: Path, pixels: NDArray[np.uint8]) -> Path:
    np.save(path / "a.npy", pixels)
    return path / "a.npy"


def write_ppm(path: Path, pixels: NDArray[np.uint8]) -> Path:
    Image.fromarray(pixels).save(path / "a.ppm")
    return path / "a.ppm"


def write_strips(path: Path, pixels: NDArray[np.uint8]) -> Path:
    tifffile.imwrite(path / "a.tif", pixels, rowsperstrip=37)
    return path / "a.tif"


def write_one_strip(path: Path, pixels: NDArray[np.uint8]) -> Path:
    tifffile.imwrite(path / "a.tif", pixels)
    return path / "a.tif"


def write_tiles(path: Path, pixels: NDArray[np.uint8]) -> Path:
    tifffile.imwrite(path / "a.tif", pixels, tile=(64, 64))
    return path / "a.tif"


def write_chunk(path: Path, pixels: NDArray[np.uint8]) -> Path:
    zarr.create_array(path / "a.zarr", data=pixels, chunks=pixels.shape, compressors=None)
    return path / "a.zarr"


def write_shard(path: Path, pixels: NDArray[np.uint8]) -> Path:
    zarr.create_array(
        path / "a.zarr", data=pixels, chunks=(100, 100, 3), shards=(400, 600, 3), compressors=None
    )
    return path / "a.zarr"


def write_copy(path: Path, pixels: NDArray[np.uint8]) -> Path:
    """A copy of ours, whose index is mapped, as the source of somebody."""
    Image.fromarray(pixels).save(path / "a.png")
    frames = SimpleFrames({1: path / "a.png"}, path / "other", "jpeg")
    frames.prepare()
    (copy,) = frames.cache_dpath.glob("??/*.jpg")
    return copy.rename(path / "a.jpg")


WRITERS = [
    write_npy,
    write_ppm,
    write_strips,
    write_one_strip,
    write_tiles,
    write_chunk,
    write_shard,
    write_copy,
]


@pytest.mark.parametrize("write", WRITERS)
def test_a_source_that_is_cut_is_an_error(
    write: Any, tmp_path: Path, workdir: Path, photograph: NDArray[np.uint8]
) -> None:
    sizes = (0, 7, 20_000)
    cases: list[Case] = []
    for size in sizes:
        folder = tmp_path / str(size)
        folder.mkdir()
        path = write(folder, photograph)
        cut = next(place for place in (path / "c").rglob("*") if place.is_file()) if path.is_dir() else path
        cases.append((path, workdir, None, cut, size))
    for size, answers in zip(sizes, cut_and_read(cases), strict=True):
        if (
            write is write_copy and size == 20_000
        ):  # a JPEG without its index, the first rows of which are there
            assert answers.pop("beyond") == "read"
        refused = {"DamagedFileError", "UnsupportedFormatError", "StructureError"}
        assert set(answers.values()) <= refused, (size, answers)


@pytest.mark.parametrize("write", [write_npy, write_ppm, write_one_strip, write_tiles, write_chunk])
def test_an_open_source_that_is_cut_before_it_is_mapped(
    write: Any, tmp_path: Path, photograph: NDArray[np.uint8]
) -> None:
    path = write(tmp_path, photograph)
    raster = open_raster(str(path))
    cut = next(place for place in (path / "c").rglob("*") if place.is_file()) if path.is_dir() else path
    os.truncate(cut, 5000)
    with pytest.raises(DamagedFileError, match="truncated"):
        next(iter(raster.strips(400)))


def test_a_raw_chunk_that_is_too_short_is_one_error(tmp_path: Path, photograph: NDArray[np.uint8]) -> None:
    path = write_chunk(tmp_path, photograph)
    (chunk,) = (place for place in (path / "c").rglob("*") if place.is_file())
    chunk.write_bytes(chunk.read_bytes()[:-1])
    with pytest.raises(DamagedFileError, match="a.zarr"):
        SimpleFrames({1: path}).load_region(1)


@pytest.mark.parametrize("number", [errno.ENODEV, errno.ENOMEM, errno.EACCES, errno.EAGAIN])
@pytest.mark.parametrize("backend", [None, "npy", RAW_COG, RAW_ZARR, "cog", "zarr"])
def test_where_files_cannot_be_mapped_they_are_read(
    backend: Any,
    number: int,
    tmp_path: Path,
    workdir: Path,
    photograph: NDArray[np.uint8],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*args: Any, **kwargs: Any) -> mmap.mmap:
        raise OSError(number, os.strerror(number))

    path = write_npy(tmp_path, photograph)
    monkeypatch.setattr(mmap, "mmap", refuse)
    frames = SimpleFrames({1: path}, workdir, backend)
    for _ in range(3):
        np.testing.assert_array_equal(frames.load_region(1), photograph)
        region = slice(90, 200), slice(20, 300)
        np.testing.assert_array_equal(frames.load_region(1, region), photograph[region])


def test_what_cannot_be_mapped_nor_read_at_once_is_one_error(
    tmp_path: Path, photograph: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch, in_python: None
) -> None:
    def refuse(*args: Any, **kwargs: Any) -> mmap.mmap:
        raise OSError(errno.ENODEV, "No such device")

    path = write_npy(tmp_path, photograph)
    monkeypatch.setattr(mmap, "mmap", refuse)
    monkeypatch.setattr(sources, "READ_INSTEAD", 1000)
    with pytest.raises(SourceReadError, match=r"a\.npy.*mapped.*'cog'"):
        SimpleFrames({1: path}).load_region(1)


def test_a_file_system_that_takes_no_advice(
    tmp_path: Path, photograph: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    if not hasattr(os, "posix_fadvise"):
        pytest.skip("no advice here")
    monkeypatch.setattr(os, "posix_fadvise", refuse)
    path = write_strips(tmp_path, photograph)
    np.testing.assert_array_equal(SimpleFrames({1: path}).load_region(1), photograph)


@pytest.mark.parametrize("backend", [None, "npy", "cog", "zarr", "jpeg"])
def test_reads_that_give_a_part_are_continued(
    backend: Any,
    tmp_path: Path,
    workdir: Path,
    photograph: NDArray[np.uint8],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, photograph, tile=(64, 64), compression="zstd")
    frames = SimpleFrames({1: path}, workdir, backend)
    expected = frames.load_region(1)
    entries = sorted(workdir.glob("_cache/frames/??/*"))
    frames.backend = backend  # forgets what is open
    real = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, count, offset: real(fd, min(count, 999), offset))
    for _ in range(3):
        np.testing.assert_array_equal(frames.load_region(1), expected)
    assert sorted(workdir.glob("_cache/frames/??/*")) == entries


@pytest.mark.parametrize("backend", [None, "npy", "cog", "zarr"])
def test_a_disk_that_fails_is_no_damage(
    backend: Any,
    tmp_path: Path,
    workdir: Path,
    photograph: NDArray[np.uint8],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, photograph, tile=(64, 64), compression="zstd")
    frames = SimpleFrames({1: path}, workdir, backend)
    expected = frames.load_region(1)
    entries = sorted(workdir.glob("_cache/frames/??/*"))
    frames.backend = backend

    def refuse(*args: Any) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pread", refuse)
        with pytest.raises(SubregionError, match="Input/output error"):
            frames.load_region(1)
    assert sorted(workdir.glob("_cache/frames/??/*")) == entries
    np.testing.assert_array_equal(frames.load_region(1), expected)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="nothing tells which files are open")
def test_a_handle_that_a_server_forgot_is_opened_anew(
    tmp_path: Path, workdir: Path, photograph: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.png"
    save_png(path, photograph)
    frames = SimpleFrames({1: path}, workdir, "cog")
    frames.load_region(1, (slice(10), slice(10)))
    (entry,) = workdir.glob("_cache/frames/??/*.tif")
    links = Path("/proc/self/fd").iterdir()
    forgotten = {int(link.name) for link in links if os.path.realpath(link) == str(entry)}
    assert forgotten

    def stale(call: Any) -> Any:
        def called(descriptor: int, *args: Any) -> Any:
            if descriptor in forgotten:
                raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
            return call(descriptor, *args)

        return called

    for name in ("pread", "fstat", "lseek"):
        monkeypatch.setattr(os, name, stale(getattr(os, name)))
    np.testing.assert_array_equal(frames.load_region(1), photograph)
    assert entry.exists()
