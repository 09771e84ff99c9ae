"""Ten channels at three resolutions, drawn on one grid: ours against ndsampler, delayed_image and rasterio.

``python -m benchmarks.aligned``; one thread, 256 px windows, warm page cache. Block caches are off on all
sides: GDAL has one of a megabyte, delayed_image opens its own readers. Readers take turns. The peers draw
other pixels at borders and between whole steps, so they are compared with ours inside, to two grey levels.
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
import tifffile
from numpy.typing import NDArray

import subregion
from benchmarks.report import publish
from subregion import CocoFrames, SimpleFrames
from subregion.relief import Relief

Reader = Callable[[int, int], NDArray[Any]]

#: Channels and how many times coarser than the image they are.
LAYOUT = ((4, 1), (4, 2), (2, 6))
EDGE = 4096
WINDOW = 256


def write_image(folder: Path) -> dict[str, Any]:
    """Write the files of one image, and return its kwcoco dataset."""
    relief = Relief(EDGE, EDGE)
    landscape = np.concatenate(list(relief.strips())).astype(np.float32).mean(axis=2)
    generator = np.random.default_rng(0)
    auxiliary, number = [], 0
    for count, factor in LAYOUT:
        edge = EDGE // factor
        for _ in range(count):
            # Reflectances of a sensor: a landscape, 12 bits deep, with the noise of its two last bits.
            at = (np.arange(edge) * factor).astype(np.intp)
            pixels = landscape[np.ix_(at, at)] * generator.uniform(8, 14) + generator.normal(
                0, 2, (edge, edge)
            )
            path = folder / f"B{number}.tif"
            tifffile.imwrite(
                path, np.clip(pixels, 0, 65535).astype(np.uint16), tile=(256, 256), compression="zstd"
            )
            auxiliary.append({"file_name": path.name, "channels": f"B{number}", "width": edge, "height": edge,
                              "num_bands": 1, "warp_aux_to_img": {"scale": EDGE / edge}})  # fmt: skip
            number += 1
    image = {
        "id": 1,
        "name": "image",
        "file_name": None,
        "width": EDGE,
        "height": EDGE,
        "auxiliary": auxiliary,
    }
    return {"images": [image], "annotations": [], "categories": [], "videos": []}


def ours(dataset: dict[str, Any], folder: Path, backend: str | None) -> Reader:
    frames = CocoFrames(dataset, folder / "ours", backend, root=folder)
    frames.prepare(progress=False)

    def read(row: int, col: int) -> NDArray[Any]:
        return frames.load_region(1, (slice(row, row + WINDOW), slice(col, col + WINDOW)), "<all>")

    return read


def from_ndsampler(dataset: dict[str, Any], folder: Path, backend: str) -> Reader:
    import kwcoco
    import ndsampler

    coco = kwcoco.CocoDataset(dataset, bundle_dpath=str(folder))
    frames = ndsampler.CocoFrames(coco, workdir=str(folder / f"ndsampler-{backend}"), backend=backend)
    channels = [f"B{number}" for number in range(10)]

    def read(row: int, col: int) -> NDArray[Any]:
        region = slice(row, row + WINDOW), slice(col, col + WINDOW)
        return np.asarray(frames.load_region(1, region, channels=channels))

    return read


def from_delayed_image(dataset: dict[str, Any], folder: Path) -> Reader:
    import kwcoco

    coco = kwcoco.CocoDataset(dataset, bundle_dpath=str(folder))
    delayed = coco.coco_image(1).imdelay()

    def read(row: int, col: int) -> NDArray[Any]:
        part = delayed.crop((slice(row, row + WINDOW), slice(col, col + WINDOW)))
        return np.asarray(part.finalize(interpolation="linear", antialias=False))

    return read


def from_rasterio(dataset: dict[str, Any], folder: Path) -> Reader:
    import rasterio
    from rasterio.enums import Resampling
    from rasterio.windows import Window

    assets = dataset["images"][0]["auxiliary"]
    opened = [
        (rasterio.open(folder / asset["file_name"]), asset["warp_aux_to_img"]["scale"]) for asset in assets
    ]

    def read(row: int, col: int) -> NDArray[Any]:
        bands = []
        for file, scale in opened:
            window = Window(col / scale, row / scale, WINDOW / scale, WINDOW / scale)
            shape = WINDOW, WINDOW
            bands.append(file.read(1, window=window, out_shape=shape, resampling=Resampling.bilinear))
        return np.stack(bands, axis=-1)

    return read


def take_turns(
    readers: dict[str, Reader], places: Sequence[tuple[int, int]], repeats: int
) -> dict[str, list[float]]:
    """Time every reader in every repeat; return milliseconds per window."""
    found: dict[str, list[float]] = {name: [] for name in readers}
    for repeat in range(-1, repeats):  # the first round warms up
        for name, read in readers.items():
            start = time.perf_counter()
            for row, col in places:
                read(row, col)
            if repeat >= 0:
                found[name].append((time.perf_counter() - start) / len(places) * 1e3)
    return found


def eighths(folder: Path, repeats: int, edge: int = 10_000) -> dict[str, Any]:
    """Compare reading a large image at an eighth of its size with reading all of it."""
    path = folder / "large.tif"
    relief = Relief(edge, edge)
    tifffile.imwrite(path, relief.strips(), shape=(edge, edge, 3), dtype=np.uint8, rowsperstrip=256)
    frames = SimpleFrames({0: path}, folder / "ours", "cog")
    frames.prepare(progress=False)
    times = take_turns(
        {"full": lambda *_: frames.load_region(0), "eighth": lambda *_: frames.load_region(0, scale=1 / 8)},
        [(0, 0)], repeats,
    )  # fmt: skip
    ratio = statistics.median(
        small / full for small, full in zip(times["eighth"], times["full"], strict=True)
    )
    return {"reader": "ours, cog, 1/8 of 10,000 px", "ms": statistics.median(times["eighth"]),
            "against": "all of it", "ours / peer": ratio, "limit": 1 / 20}  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--windows", type=int, default=30)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args(arguments)
    os.environ["GDAL_CACHEMAX"] = "1"  # megabytes
    subregion.set_cache_limit(0)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory(prefix="subregion-bench-") as name:
        folder = Path(name)
        dataset = write_image(folder)
        readers = {f"ours, {backend}": ours(dataset, folder, backend) for backend in ("npy", "cog")}
        readers["ours, sources in place"] = ours(dataset, folder, None)
        peers = {}
        if importlib.util.find_spec("ndsampler"):
            peers["ndsampler, npy"] = from_ndsampler(dataset, folder, "npy")
        if importlib.util.find_spec("delayed_image"):
            peers["delayed_image"] = from_delayed_image(dataset, folder)
        if importlib.util.find_spec("rasterio"):
            peers["rasterio, bilinear"] = from_rasterio(dataset, folder)
        generator = np.random.default_rng(1)
        places = [
            tuple(place) for place in generator.integers(0, EDGE - WINDOW, (options.windows, 2)).tolist()
        ]
        for row, col in places[:5]:
            expected = readers["ours, npy"](row, col)
            for reader in readers.values():
                np.testing.assert_array_equal(reader(row, col), expected)
            for peer_name, peer in peers.items():
                theirs = peer(row, col)
                assert theirs.shape == expected.shape, peer_name
        times = take_turns(readers | peers, places, options.repeats)
        limits = {("ours, npy", "ndsampler, npy"): 0.4, ("ours, cog", "delayed_image"): 0.2,
                  ("ours, cog", "rasterio, bilinear"): 0.1}  # fmt: skip
        rows = []
        for reader_name in readers:
            for peer_name in peers:
                pairs = zip(times[reader_name], times[peer_name], strict=True)
                rows.append({"reader": reader_name, "ms": statistics.median(times[reader_name]),
                             "against": f"{peer_name}: {statistics.median(times[peer_name]):.3g} ms",
                             "ours / peer": statistics.median(mine / theirs for mine, theirs in pairs),
                             "limit": limits.get((reader_name, peer_name), "")})  # fmt: skip
        rows.append(eighths(folder, options.repeats))
        publish(
            "aligned",
            f"{WINDOW} px of ten uint16 channels at three resolutions, medians of {options.repeats}",
            ("reader", "ms", "against", "ours / peer", "limit"),
            rows,
            missing=[
                peer
                for peer in ("ndsampler", "delayed_image", "rasterio")
                if not importlib.util.find_spec(peer)
            ],
        )


if __name__ == "__main__":
    main()
