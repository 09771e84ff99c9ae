"""Forks at the worst moments: while another thread imports or is inside a library, and after conversions."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import av
import imagecodecs
import numpy as np
import pytest
import zarr
from numpy.typing import NDArray
from PIL import Image

from pictures import Writer, pillow_file, tiff_file

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")

PROGRAM = Path(__file__).parent / "forking" / "reader.py"


def fork_in(when: str, backend: str | None, workdir: Path, *paths: Path) -> int:
    """Run the program, see that no child was wrong, and return how many there were."""
    done = subprocess.run(
        [sys.executable, str(PROGRAM), when, str(backend), str(workdir), *map(str, paths)],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    count, _, wrong, _ = done.stdout.replace(",", "").split()
    assert wrong == "0", done.stderr
    return int(count)


def write_zarr(path: Path, photo: NDArray[np.uint8]) -> None:
    zarr.create_array(str(path), data=photo, chunks=(64, 64, 3))


def write_jpeg2000(path: Path, photo: NDArray[np.uint8]) -> None:
    path.write_bytes(imagecodecs.jpeg2k_encode(photo[..., 0].astype(np.uint16), level=0))


def write_video(path: Path, photo: NDArray[np.uint8]) -> None:
    with av.open(str(path), "w") as out:
        stream: Any = out.add_stream("mpeg4", rate=10)
        stream.height, stream.width = photo.shape[:2]
        for _ in range(3):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(photo, "rgb24")))
        out.mux(stream.encode())


KINDS: dict[str, Writer | Any] = {
    "png": pillow_file(".png", "RGB"),
    "jpg": pillow_file(".jpg", "RGB"),
    "cmyk.jpg": pillow_file(".jpg", "CMYK"),
    "webp": pillow_file(".webp", "RGB"),
    "gif": pillow_file(".gif", "P"),
    "zstd.tif": tiff_file(tile=(64, 64), compression="zstd"),
    "lzma.tif": tiff_file(tile=(64, 64), compression="lzma"),
    "predictor.tif": tiff_file(compression="deflate", predictor=True),
    "lab.tif": pillow_file(".tif", "LAB"),
    "jp2": write_jpeg2000,
    "zarr": write_zarr,
    "mp4": write_video,
}


def made(kind: str, folder: Path, photo: NDArray[np.uint8]) -> Path:
    path = folder / f"{kind.split('.')[0]}.{kind.split('.')[-1]}"
    KINDS[kind](path, photo)
    return path


#: Those that `auto` converts need more packages.
CASES = [
    *((kind, None) for kind in sorted(KINDS)),
    *((kind, "auto") for kind in ("png", "jpg", "jp2", "mp4")),
]


@pytest.mark.parametrize(("kind", "backend"), CASES)
def test_a_fork_while_a_thread_imports(
    kind: str, backend: str | None, tmp_path: Path, workdir: Path, photograph: NDArray[np.uint8]
) -> None:
    path = made(kind, tmp_path, photograph[:300, :400])
    assert fork_in("imports", backend, workdir, path) >= 1  # every kind of file needs a package at least


def test_a_fork_while_a_thread_uses_a_name_for_the_first_time(
    tmp_path: Path, workdir: Path, photograph: NDArray[np.uint8]
) -> None:
    assert fork_in("names", None, workdir, made("png", tmp_path, photograph[:300, :400])) >= 1


@pytest.mark.parametrize(
    "kinds", [("png", "jpg", "cmyk.jpg"), ("webp", "gif", "lzma.tif"), ("zarr", "mp4", "jp2")]
)
def test_a_fork_while_threads_are_inside_libraries(
    kinds: tuple[str, ...], tmp_path: Path, workdir: Path, photograph: NDArray[np.uint8]
) -> None:
    paths = [made(kind, tmp_path, photograph[:300, :400]) for kind in kinds]
    assert fork_in("libraries", None, workdir, *paths) == 12


@pytest.mark.parametrize("backend", ["auto", "npy", "cog", "zarr", "jpeg"])
def test_workers_convert_after_the_parent_did(
    backend: str, tmp_path: Path, workdir: Path, photograph: NDArray[np.uint8]
) -> None:
    paths = []
    for number, suffix in enumerate(("jpg", "jpg", "png", "jpg", "png", "webp")):
        paths.append(tmp_path / f"{number}.{suffix}")
        Image.fromarray(np.roll(photograph, number, 1)).save(paths[-1])
    assert fork_in("converted", backend, workdir, *paths) == 5
