"""Ten channels at three resolutions, drawn on one grid: ours against ndsampler, delayed_image and rasterio.

One thread, warm page cache. Block caches are off on all sides: GDAL has one of a megabyte, delayed_image
opens its own readers. The peers draw other pixels at borders and between whole steps, so of theirs the shape
is compared, and the channels that need no drawing.
"""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from benchmarks.peers import OURS, OWN_CACHE_VARIABLE
from benchmarks.run import Run
from benchmarks.samples import summarize
from benchmarks.stored import why_missing
from benchmarks.worker import WorkerError, apart
from subregion.cli.terrain import Relief
from subregion.collections.coco import CocoFrames
from subregion.collections.simple import SimpleFrames

Reader = Callable[[int, int], NDArray[Any]]

#: Channels and how many times coarser than the image they are.
LAYOUT = ((4, 1), (4, 2), (2, 6))
#: Edge of the image, in full and in a quick run; of the windows; and how many windows make a turn.
FULL, QUICK = 4096, 1536
WINDOW, COUNT = 256, 30


def measure(run: Run) -> None:
    """Read all channels of windows, and a whole image at an eighth of its size."""
    edge = QUICK if run.options.quick else FULL
    peers = []
    for peer in PEERS:
        missing = why_missing((peer.replace("-", "_"), "kwcoco"))
        if missing is not None:
            run.missing[f"{peer} (aligned)"] = missing
        elif run.wants(peer):
            peers.append(peer)
    for kind, work, arguments in (
        ("aligned", ten_channels, (edge, peers, run.options.repeats)),
        ("overview", an_eighth, (edge * 2 + 1808, run.options.repeats)),
    ):
        run.say(f"{kind}: {edge} px")
        with tempfile.TemporaryDirectory(dir=run.folder) as folder:
            try:
                found = apart(
                    work, folder, *arguments, environment={"GDAL_CACHEMAX": "1", OWN_CACHE_VARIABLE: "0"}
                )
            except WorkerError as error:
                run.failed(kind, str(error))
                continue
        for (peer, stored), rounds in found.items():
            run.add(kind, "ms", summarize(rounds), label=f"{peer}, {stored}", peer=peer, stored=stored,
                    window=WINDOW if kind == "aligned" else None)  # fmt: skip


def write_image(folder: Path, size: int) -> dict[str, Any]:
    """Write the files of one image, and return its kwcoco dataset."""
    relief = Relief(size, size)
    landscape = np.concatenate(list(relief.strips())).astype(np.float32).mean(axis=2)
    generator = np.random.default_rng(0)
    auxiliary, number = [], 0
    for count, factor in LAYOUT:
        edge = size // factor
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
                              "num_bands": 1, "warp_aux_to_img": {"scale": size / edge}})  # fmt: skip
            number += 1
    image = {
        "id": 1,
        "name": "image",
        "file_name": None,
        "width": size,
        "height": size,
        "auxiliary": auxiliary,
    }
    return {"images": [image], "annotations": [], "categories": [], "videos": []}


def from_us(dataset: dict[str, Any], folder: Path, backend: str | None) -> Reader:
    """Open the image with this library."""
    frames = CocoFrames(dataset, folder / "ours", backend, root=folder)
    frames.prepare(progress=False)

    def read(row: int, col: int) -> NDArray[Any]:
        return frames.load_region(1, (slice(row, row + WINDOW), slice(col, col + WINDOW)), "<all>")

    return read


def from_ndsampler(dataset: dict[str, Any], folder: Path, backend: str) -> Reader:
    """Open the image with ndsampler."""
    import kwcoco
    import ndsampler

    coco = kwcoco.CocoDataset(dataset, bundle_dpath=str(folder))
    with contextlib.redirect_stdout(io.StringIO()):  # it draws bars there
        frames = ndsampler.CocoFrames(coco, workdir=str(folder / f"ndsampler-{backend}"), backend=backend)
        frames.prepare(workers=0)
    channels = [f"B{number}" for number in range(10)]

    def read(row: int, col: int) -> NDArray[Any]:
        region = slice(row, row + WINDOW), slice(col, col + WINDOW)
        return np.asarray(frames.load_region(1, region, channels=channels))

    return read


def from_delayed_image(dataset: dict[str, Any], folder: Path) -> Reader:
    """Open the image with delayed_image."""
    import kwcoco

    coco = kwcoco.CocoDataset(dataset, bundle_dpath=str(folder))
    delayed = coco.coco_image(1).imdelay()

    def read(row: int, col: int) -> NDArray[Any]:
        part = delayed.crop((slice(row, row + WINDOW), slice(col, col + WINDOW)))
        return np.asarray(part.finalize(interpolation="linear", antialias=False))

    return read


def from_rasterio(dataset: dict[str, Any], folder: Path) -> Reader:
    """Open the files of the image with rasterio, which resamples while it reads."""
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


#: Name -> from a dataset and its folder to a reader, and what it reads.
PEERS: dict[str, tuple[Callable[[dict[str, Any], Path], Reader], str]] = {
    "ndsampler": (lambda dataset, folder: from_ndsampler(dataset, folder, "npy"), "npy"),
    "delayed_image": (from_delayed_image, "sources"),
    "rasterio": (from_rasterio, "sources, bilinear"),
}


def ten_channels(folder: str, edge: int, peers: Sequence[str], repeats: int) -> dict[tuple[str, str], Any]:
    """Read windows of all channels; return milliseconds by reader and what it reads."""
    home = Path(folder)
    dataset = write_image(home, edge)
    ours = {(OURS, str(backend)): from_us(dataset, home, backend) for backend in ("npy", "cog", None)}
    theirs = {(name, PEERS[name][1]): PEERS[name][0](dataset, home) for name in peers}
    generator = np.random.default_rng(1)
    places = generator.integers(0, edge - WINDOW, (COUNT, 2)).tolist()
    for row, col in places[:5]:
        expected = ours[OURS, "npy"](row, col)
        for reader in ours.values():
            np.testing.assert_array_equal(reader(row, col), expected)
        for peer, reader in theirs.items():
            pixels = reader(row, col)
            if pixels.shape != expected.shape:
                raise AssertionError(f"{peer}: {pixels.shape} instead of {expected.shape}")
            np.testing.assert_array_equal(pixels[..., : LAYOUT[0][0]], expected[..., : LAYOUT[0][0]])
    return _interleaved(ours | theirs, places, repeats)


def an_eighth(folder: str, edge: int, repeats: int) -> dict[tuple[str, str], Any]:
    """Read a large image at an eighth of its size, and all of it; see `ten_channels`."""
    path = os.path.join(folder, "large.tif")
    relief = Relief(edge, edge)
    tifffile.imwrite(path, relief.strips(), shape=(edge, edge, 3), dtype=np.uint8, rowsperstrip=256)
    frames = SimpleFrames({0: path}, os.path.join(folder, "ours"), "cog")
    frames.prepare(progress=False)
    readers: dict[tuple[str, str], Reader] = {
        (OURS, "cog, all of it"): lambda row, col: frames.load_region(0),
        (OURS, "cog, 1/8"): lambda row, col: frames.load_region(0, scale=1 / 8),
    }
    return _interleaved(readers, [[0, 0]], repeats)


def _interleaved(
    readers: dict[tuple[str, str], Reader], places: list[list[int]], repeats: int
) -> dict[tuple[str, str], list[list[float]]]:
    found: dict[tuple[str, str], list[list[float]]] = {who: [] for who in readers}
    for repeat in range(-1, repeats):  # the first one warms up
        for who, read in readers.items():
            times = []
            for row, col in places:
                start = time.perf_counter()
                read(row, col)
                times.append((time.perf_counter() - start) * 1e3)
            if repeat >= 0:
                found[who].append(times)
    return found
