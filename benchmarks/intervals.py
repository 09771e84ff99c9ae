"""What the length of restart intervals costs: bytes on disk against the time of a window.

``python -m benchmarks.intervals a-large-picture.jpg``; one thread, files stay open and their pages in memory,
the block caches of the peers hold 1 MB. All readers take each window in turn, and for each window the fastest
of its repeats counts, so what else the machine does is hardly felt. With ``--peers``, pyvips and rasterio
read JPEG compressed TIFFs of the same picture; what they give is another picture, compressed once more.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from subregion.convert.jpeg import choose_interval, keep_jpeg
from subregion.geometry.window import Window
from subregion.raster.jpegstream import read_frame
from subregion.raster.opening import open_raster
from subregion.raster.source import SourceFile

Reader = Callable[[int, int, int], object]

#: Edge of the windows in pixels, and how many of each are read.
SIZES = {64: 200, 256: 80, 1024: 12}
#: Of the TIFFs that peers read; shadedrelief.jpg takes about as many bytes as before.
QUALITY = 88


def own(source: str, folder: str, interval: int) -> tuple[int, Reader]:
    """Return the bytes of a copy, which is compared with the source as it is made, and its reader."""
    path = os.path.join(folder, f"{interval}.jpg")
    keep_jpeg(open_raster(source), path, interval)
    raster = open_raster(path)
    return os.path.getsize(path), lambda row, col, size: raster.read(Window(row, col, size, size))


def peers(source: str, folder: str) -> dict[str, tuple[int, Reader]]:
    """Return the bytes of tiled TIFFs and their readers."""
    import pyvips
    import rasterio
    from rasterio.windows import Window as RasterioWindow

    pyvips.cache_set_max_mem(1 << 20)
    found: dict[str, tuple[int, Reader]] = {}
    for block in (128, 256, 512):
        path = os.path.join(folder, f"{block}.tif")
        pyvips.Image.new_from_file(source).tiffsave(
            path, tile=True, tile_width=block, tile_height=block, compression="jpeg", Q=QUALITY
        )
        region = pyvips.Region.new(pyvips.Image.new_from_file(path))
        dataset = rasterio.open(path)

        def by_vips(row: int, col: int, size: int, region: Any = region) -> NDArray[np.uint8]:
            return np.frombuffer(region.fetch(col, row, size, size), np.uint8).reshape(size, size, -1)

        def by_rasterio(row: int, col: int, size: int, dataset: Any = dataset) -> object:
            return dataset.read(window=RasterioWindow(col, row, size, size))

        found[f"pyvips, blocks of {block}"] = os.path.getsize(path), by_vips
        found[f"rasterio, blocks of {block}"] = os.path.getsize(path), by_rasterio
    return found


def fastest(
    readers: dict[str, Reader], windows: Sequence[tuple[int, int, int]], repeats: int
) -> dict[str, float]:
    """Return microseconds per window: the mean over windows of the fastest of their repeats."""
    best = {name: [float("inf")] * len(windows) for name in readers}
    for _ in range(repeats):
        for k, window in enumerate(windows):
            for name, read in readers.items():
                start = time.perf_counter()
                read(*window)
                best[name][k] = min(best[name][k], time.perf_counter() - start)
    return {name: float(np.mean(times)) * 1e6 for name, times in best.items()}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source")
    parser.add_argument("--widest", type=int, default=512, help="of the intervals, in pixels")
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args(arguments)
    os.environ["GDAL_CACHEMAX"] = "1"  # megabytes
    frame = read_frame(SourceFile(options.source))
    assert frame is not None
    nbytes = os.path.getsize(options.source)
    chosen = choose_interval(frame, nbytes)
    units, wide = frame.units[1], frame.unit[1]
    with tempfile.TemporaryDirectory(prefix="subregion-bench-") as folder:
        contest = {
            f"{count} units, {count * wide} px{' (chosen)' if count == chosen else ''}": own(
                options.source, folder, count
            )
            for count in range(1, units + 1)
            if units % count == 0 and (count * wide <= options.widest or count == chosen)
        }
        if options.peers:
            contest |= peers(options.source, folder)
        generator = np.random.default_rng(0)
        times = {}
        for size, count in SIZES.items():
            rows = generator.integers(0, frame.height - size, count).tolist()
            cols = generator.integers(0, frame.width - size, count).tolist()
            windows = [(row, col, size) for row, col in zip(rows, cols, strict=True)]
            readers = {name: reader for name, (_, reader) in contest.items()}
            times[size] = fastest(readers, windows, options.repeats)
    table = Table(title=f"{os.path.basename(options.source)}, {frame.height} x {frame.width}: microseconds")
    for column in ("", "bytes, of the source", *(f"{size} px" for size in SIZES)):
        table.add_column(column, justify="right")
    for name, (size_on_disk, _) in contest.items():
        table.add_row(name, f"{size_on_disk / nbytes:.3f}", *(f"{times[size][name]:.0f}" for size in SIZES))
    Console().print(table)


if __name__ == "__main__":
    main()
