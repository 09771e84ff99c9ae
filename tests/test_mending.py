"""A damaged copy may say anything of its shape: what comes back is what the source holds, by every face."""

from __future__ import annotations

import itertools
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from affine import Affine
from numpy.typing import NDArray

from pictures import save_png
from subregion import Asset, Frames, ImageRecord, VideoCollection, VideoPlace, Window
from subregion.io.pool import POOL


class Twins(VideoCollection):
    """One picture several times, in a way of its own each."""

    def __init__(self, paths: dict[str, Path], workdir: Path, backend: Any, declared: bool = False) -> None:
        super().__init__(workdir, backend)
        self.paths = paths
        self.declared = declared

    @property
    def image_ids(self) -> list[str]:
        return list(self.paths)

    @property
    def video_ids(self) -> list[str]:
        return ["walk"]

    def frames_of(self, video_id: Any) -> list[str]:
        return list(self.paths)

    def record(self, image_id: Any) -> ImageRecord:
        place = VideoPlace("walk", list(self.paths).index(image_id))
        height, width = (400, 600) if self.declared else (None, None)
        path = str(self.paths[image_id])
        if image_id == "drawn":
            return ImageRecord(image_id, (Asset(path, to_image=Affine.scale(2)),), None, None, 0, place)
        return ImageRecord(image_id, (Asset(path),), width, height, 0, place)


def harm_cog(entry: Path, height: int) -> None:
    """Change the height that the entry declares, and bytes of all of its blocks."""
    with tifffile.TiffFile(entry) as tiff:
        pages = [page for page in tiff.pages if isinstance(page, tifffile.TiffPage)]
        tag = pages[0].tags[257]
        blocks = [offset for page in pages for offset in page.dataoffsets]
    data = bytearray(entry.read_bytes())
    struct.pack_into("<H" if tag.dtype == 3 else "<I", data, tag.valueoffset, height)
    for block in blocks:
        data[block + 20 : block + 60] = bytes(40)
    entry.write_bytes(data)


def harm_zarr(entry: Path, height: int) -> None:
    for place in (entry / "zarr.json", entry / "0/zarr.json"):
        text = place.read_text()
        assert '"shape":[400,' in text
        place.write_text(text.replace('"shape":[400,', f'"shape":[{height},'))
    for blocks in entry.glob("*/c/0/0/0"):
        data = bytearray(blocks.read_bytes())
        for at in range(0, len(data) - 2000, 1000):  # spare the index at the end
            data[at + 20 : at + 60] = bytes(40)
        blocks.write_bytes(data)


HARMS: dict[str, Callable[[Path, int], None]] = {"cog": harm_cog, "zarr": harm_zarr}
SUFFIXES = {"cog": ".tif", "zarr": ".zarr"}


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory, photograph: NDArray[np.uint8]) -> dict[str, Path]:
    paths = {}
    folder = tmp_path_factory.mktemp("sources")
    for k, name in enumerate(("plain", "other", "drawn")):
        paths[name] = folder / f"{name}.png"
        save_png(paths[name], np.roll(photograph, k, axis=0))
    return paths


@pytest.fixture(scope="module", params=["cog", "zarr"])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def whole(backend: str, sources: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of all sources, which tests read, and damage copies of."""
    workdir = tmp_path_factory.mktemp("whole") / backend
    Twins(sources, workdir, backend).prepare(progress=False)
    return workdir


def harmed(frames: Frames, backend: str, height: int) -> None:
    """Damage all entries of a cache behind the back of this process."""
    POOL.forget(lambda key: True)
    entries = list(frames.cache_dpath.rglob(f"*{SUFFIXES[backend]}"))
    assert len(entries) == 3
    for entry in entries:
        HARMS[backend](entry, height)


READS: dict[str, Callable[[Twins], Any]] = {
    "whole": lambda frames: frames.load_region("plain"),
    "slices": lambda frames: frames.load_region("plain", (slice(-90, None), slice(0, 50))),
    "a window": lambda frames: frames.load_region("plain", Window(-5, -5, 420, 40), fill="edge"),
    "steps": lambda frames: frames.load_region("plain", (slice(None, None, 7), slice(0, 90, 3))),
    "drawn": lambda frames: frames.load_region("drawn"),
    "drawn, from the end": lambda frames: frames.load_region("drawn", slice(-30, None)),
    "scaled": lambda frames: frames.load_region("plain", scale=0.5),
    "padded": lambda frames: frames.load_region(
        "drawn", Window(-5, -5, 60, 60), fill="reflect", interpolation="nearest"
    ),
    "masked": lambda frames: frames.load_region("plain", nodata="ma"),
    "a batch": lambda frames: frames.load_regions([("plain", None), ("other", None)]),
    "a batch of slices": lambda frames: frames.load_regions(
        [("plain", slice(-90, None)), ("other", slice(-90, None))]
    ),
    "a batch, drawn": lambda frames: frames.load_regions([("plain", None), ("other", None)], scale=0.5),
    "a batch of several shapes": lambda frames: frames.load_regions([("plain", None), ("drawn", None)])[1],
    "out": lambda frames: frames.load_regions(
        [("plain", None), ("other", None)], out=np.zeros((2, 400, 600, 3), np.uint8)
    ),
    "a clip": lambda frames: frames.load_clip("walk", space="image", frames=["plain", "other"]),
    "a clip from the end": lambda frames: frames.load_clip(
        "walk", (slice(None), slice(-90, None)), space="image", frames=["plain", "other"], nodata="ma"
    ),
    "a lazy image": lambda frames: np.asarray(frames.load_frame("plain")),
    "a row of a lazy image": lambda frames: frames.load_frame("plain")[-1, :, 0],
    "a lazy image, drawn": lambda frames: frames.load_frame("drawn")[-30:],
    "dask": lambda frames: frames.to_dask("plain")[-30:].compute(),
    "dask, drawn": lambda frames: frames.to_dask("plain", scale=0.5)[-30:].compute(),
    "whole image": lambda frames: frames.load_image("plain"),
    "by position": lambda frames: frames[0],
    "crops": lambda frames: (
        frames.load_alignable("drawn").load_region(slice(-30, None), fused=False)[0].pixels
    ),
    "a size that is known": lambda frames: frames.load_region("plain", width=600, height=400),
}  # fmt: skip


#: Too few rows and too many in turn, and both for the reads that the others are made of.
HEIGHTS = sorted(
    {(read, (100, 500)[number % 2]) for number, read in enumerate(READS)}
    | set(itertools.product(["whole", "slices", "scaled", "a batch", "a clip", "a lazy image"], [100, 500]))
)


@pytest.mark.parametrize(("read", "height"), HEIGHTS)
def test_reads_are_planned_again_when_a_copy_was_mended(
    read: str, height: int, backend: str, sources: dict[str, Path], whole: Path, tmp_path: Path
) -> None:
    expected = READS[read](Twins(sources, whole, backend))
    shutil.copytree(whole, tmp_path / "work")
    frames = Twins(sources, tmp_path / "work", backend)
    harmed(frames, backend, height)
    got = READS[read](frames)
    np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(np.ma.getmaskarray(got), np.ma.getmaskarray(expected))


def only_height(entry: Path, height: int) -> None:
    with tifffile.TiffFile(entry) as tiff:
        page = tiff.pages[0]
        assert isinstance(page, tifffile.TiffPage)
        tag = page.tags[257]
    data = bytearray(entry.read_bytes())
    struct.pack_into("<H" if tag.dtype == 3 else "<I", data, tag.valueoffset, height)
    entry.write_bytes(data)


@pytest.mark.parametrize(
    "read",
    ["whole", "scaled", "a batch", "a batch, drawn", "a clip", "a lazy image", "whole image", "by position"],
)
def test_a_copy_that_contradicts_its_record_is_compared_with_the_source(
    read: str, sources: dict[str, Path], tmp_path: Path
) -> None:
    expected = READS[read](Twins(sources, tmp_path / "whole", None, declared=True))
    frames = Twins(sources, tmp_path / "work", {"type": "cog", "config": {"overviews": "none"}}, True)
    frames.prepare(progress=False)
    POOL.forget(lambda key: True)
    for entry in frames.cache_dpath.rglob("*.tif"):
        only_height(entry, 256)
    np.testing.assert_array_equal(READS[read](frames), expected)
