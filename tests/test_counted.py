"""How often bytes are fetched and blocks decoded, counted by a source and a codec that wrap others."""

from __future__ import annotations

import dataclasses
import tracemalloc
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

import subregion
from subregion import Asset, ImageRecord, Window
from subregion.blocks.level import Level
from subregion.blocks.ranges import join_ranges
from subregion.cache.backend import parse_backend
from subregion.cache.entries import Folder
from subregion.cache.store import Store
from subregion.codecs.codec import Codec, Data, Decoder
from subregion.formats.grid import GridLevel
from subregion.formats.jpeg.intervals import IntervalLevel
from subregion.formats.open import open_raster
from subregion.formats.raster import Raster
from subregion.io.source import ByteSource
from subregion.read.options import ReadOptions, read_options
from subregion.read.plan import ReadPlan, plan_read
from subregion.read.region import read_plans

SIZE = 1024


class CountedSource(ByteSource):
    """A file that notes which ranges were asked for, as a server would; it cannot be mapped."""

    def __init__(self, file: ByteSource, gap: int = -1) -> None:
        self.path, self.identity, self.size, self.gap = file.path, file.identity, file.size, gap
        self.file = file
        self.asked: list[tuple[int, int]] = []

    def read_ranges(self, offsets: Sequence[int], sizes: Sequence[int]) -> list[Any]:
        self.asked += zip(offsets, sizes, strict=True)
        return self.file.read_ranges(offsets, sizes)

    def check_size(self) -> None:
        """Nothing is mapped."""


@dataclasses.dataclass(frozen=True)
class CountedCodec(Codec):
    """A codec that notes which blocks it decoded."""

    codec: Codec
    decoded: list[int]

    @property
    def exact(self) -> bool:  # type: ignore[override]
        return self.codec.exact

    @property
    def checked(self) -> bool:  # type: ignore[override]
        return self.codec.checked

    def decode(self, data: Data, block: int, rows: slice | None = None) -> NDArray[Any]:
        self.decoded.append(block)
        return self.codec.decode(data, block, rows)

    def decoder(self) -> Decoder:
        return self.decode


class Counts:
    """Images whose bytes and blocks are counted: of blocks file, level and numbers."""

    def __init__(self) -> None:
        self.sources: dict[str, CountedSource] = {}
        self.blocks: list[tuple[str, int, list[int]]] = []
        self._rasters: dict[str, Raster] = {}

    def of(self, raster: Raster) -> Raster:
        """Return the same image, counted."""
        if raster.path not in self._rasters:
            levels = [self._level(level) for level in raster.levels]
            self._rasters[raster.path] = dataclasses.replace(
                raster, full=levels[0], find_overviews=lambda full: levels[1:]
            )
        return self._rasters[raster.path]

    def _level(self, level: Level) -> Level:
        source: Any = self.sources.setdefault(level.file.path, CountedSource(level.file))
        if isinstance(level, IntervalLevel):
            return dataclasses.replace(level, file=source)
        assert isinstance(level, GridLevel)
        blocks: list[int] = []
        self.blocks.append((level.file.path, level.shape[0], blocks))
        return dataclasses.replace(level, file=source, codec=CountedCodec(level.codec, blocks))

    def plan(self, plan: ReadPlan) -> ReadPlan:
        """Return the same plan, counted."""
        return plan._replace(groups=[group._replace(raster=self.of(group.raster)) for group in plan.groups])


@pytest.fixture(scope="module")
def pixels() -> NDArray[np.uint8]:
    return np.random.default_rng(5).integers(0, 250, (SIZE, SIZE, 3), np.uint8) // 8


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, pixels: NDArray[np.uint8]) -> Path:
    folder = tmp_path_factory.mktemp("counted")
    options: dict[str, Any] = {"tile": (128, 128), "photometric": "rgb", "compression": "zstd"}
    with tifffile.TiffWriter(folder / "a.tif") as tiff:
        tiff.write(pixels, subifds=1, **options)
        tiff.write(pixels[::2, ::2], subfiletype=1, **options)
    tifffile.imwrite(
        folder / "b.tif", pixels[..., 0], rowsperstrip=64, compression="zlib", photometric="minisblack"
    )
    zarr.create_array(folder / "a.zarr", data=pixels, chunks=(128, 128, 3), shards=(SIZE, SIZE, 3))
    Image.fromarray(pixels).save(folder / "a.jpg", restart_marker_blocks=4, subsampling="4:2:0")
    return folder


@pytest.fixture(autouse=True)
def without_block_cache() -> None:
    subregion.set_cache_limit(0)


def store(folder: Path) -> Store:
    return Store(Folder(str(folder / "cache")), parse_backend(None))


def read(
    folder: Path, record: ImageRecord, windows: Sequence[Window], options: ReadOptions, threads: int
) -> tuple[Counts, list[NDArray[Any]]]:
    counts, place = Counts(), store(folder)
    plans = [counts.plan(plan_read(place, record, window, None, options)) for window in windows]
    outs = [np.empty(plan.shape, plan.dtype) for plan in plans]
    masks = [np.empty(plan.shape, bool) if options.nodata == "ma" else None for plan in plans]
    read_plans(place, plans, outs, masks, threads)
    return counts, outs


OPTIONS: dict[str, dict[str, Any]] = {
    "as stored": {},
    "floats": {"nodata": "float"},
    "masked": {"nodata": "ma"},
    "half": {"scale": 0.5},
    "two thirds": {"scale": 0.67, "antialias": False},
    "cubic": {"scale": 1.3, "interpolation": "cubic"},
    "nearest": {"scale": 0.8, "interpolation": "nearest"},
    "reflected": {"fill": "reflect"},
}
#: Windows that overlap, and some that leave the image.
OVERLAPPING = [
    Window(int(row), int(col), 256, 256) for row, col in np.random.default_rng(1).integers(-60, 700, (32, 2))
]


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("name", ["a.tif", "b.tif", "a.zarr"])
def test_every_block_is_fetched_and_decoded_once(name: str, options: str, threads: int, folder: Path) -> None:
    record = ImageRecord(1, (Asset(str(folder / name), nodata=3),))
    counts, _ = read(folder, record, OVERLAPPING, read_options(**OPTIONS[options]), threads)
    (source,) = counts.sources.values()
    assert source.asked
    assert max(Counter(source.asked).values()) == 1
    decoded = [(path, level, block) for path, level, blocks in counts.blocks for block in blocks]
    assert len(decoded) == len(source.asked)
    assert max(Counter(decoded).values()) == 1


def test_no_block_too_many(folder: Path, pixels: NDArray[np.uint8]) -> None:
    windows = [Window(130, 130, 250, 250), Window(200, 90, 60, 60)]
    record = ImageRecord(1, (Asset(str(folder / "a.tif")),))
    counts, outs = read(folder, record, windows, read_options(nodata="float"), 1)
    np.testing.assert_array_equal(outs[0], pixels[130:380, 130:380])
    with tifffile.TiffFile(folder / "a.tif") as tiff:
        page: Any = tiff.pages[0]
        # Tiles 1 and 2 of the rows 1 and 2, and tile 0 of them for the second window.
        wanted = [(page.dataoffsets[k], page.databytecounts[k]) for k in (8, 9, 10, 16, 17, 18)]
    (source,) = counts.sources.values()
    assert sorted(source.asked) == sorted(wanted)


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("options", OPTIONS)
def test_intervals_are_read_little_more_than_once(options: str, threads: int, folder: Path) -> None:
    record = ImageRecord(1, (Asset(str(folder / "a.jpg"), nodata=3),))
    assert isinstance(open_raster(str(folder / "a.jpg")).full, IntervalLevel)
    windows = [
        Window(int(row), int(col), 256, 256)
        for row, col in np.random.default_rng(2).integers(300, 420, (32, 2))
    ]
    counts, _ = read(folder, record, windows, read_options(**OPTIONS[options]), threads)
    (source,) = counts.sources.values()
    touched = np.zeros(source.size, bool)
    for offset, nbytes in source.asked:
        touched[offset : offset + nbytes] = True
    assert sum(nbytes for _, nbytes in source.asked) <= 1.3 * touched.sum()


def test_a_batch_takes_its_results_and_little_more(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, np.zeros((3000, 3000, 3), np.uint8), tile=(256, 256), compression="zstd", photometric="rgb"
    )
    record = ImageRecord(1, (Asset(str(path), nodata=3),))
    windows = [Window(10 * k, 20 * k, 1600, 1600) for k in range(40)]
    place = store(tmp_path)
    plans = [plan_read(place, record, window, None, read_options(nodata="float")) for window in windows]
    outs = [np.empty(plan.shape, plan.dtype) for plan in plans]
    tracemalloc.start()
    try:
        read_plans(place, plans, outs, [None] * len(plans), 2)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 256 << 20


@given(
    st.lists(st.tuples(st.integers(0, 500), st.integers(1, 60)), min_size=1, max_size=20),
    st.integers(0, 50),
    st.integers(1, 200),
)
def test_joined_ranges_hold_all(ranges: list[tuple[int, int]], gap: int, most: int) -> None:
    content = np.random.default_rng(0).bytes(600)
    offsets, sizes = [offset for offset, _ in ranges], [size for _, size in ranges]
    starts, lengths, places = join_ranges(offsets, sizes, gap, most)
    joined = [content[start : start + length] for start, length in zip(starts, lengths, strict=True)]
    assert starts == sorted(starts)
    assert len(starts) <= len(ranges)
    for (offset, size), (which, at) in zip(ranges, places, strict=True):
        assert joined[which][at : at + size] == content[offset : offset + size]
    for length in lengths:
        assert length <= max(most, *sizes)


def test_a_source_that_says_so_is_asked_for_neighbours_at_once(
    folder: Path, pixels: NDArray[np.uint8]
) -> None:
    full = open_raster(str(folder / "a.tif")).full
    assert isinstance(full, GridLevel)
    far = CountedSource(full.file, gap=1 << 20)
    raster = Raster("far.tif", "TIFF", "", dataclasses.replace(full, file=far))
    np.testing.assert_array_equal(raster.read(Window(100, 100, 300, 300)), pixels[100:400, 100:400])
    assert len(far.asked) == 1
