"""Making the copy: time with all cores, peak memory and size, each conversion in a process of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks import machine
from benchmarks.interleaved import random_places
from benchmarks.peers import OURS
from benchmarks.pictures import Picture, as_png
from benchmarks.run import Run
from benchmarks.samples import summarize
from benchmarks.stored import CONFIGS, copy_of, nbytes_of, ours_named, why_missing
from benchmarks.worker import WorkerError, apart
from subregion.cache.backend import BACKENDS
from subregion.formats.open import open_raster
from subregion.geometry.window import Window


@dataclass(frozen=True, slots=True, eq=False)
class Conversion:
    """A way from a source to a file that is fast to read by window.

    Parameters
    ----------
    peer : str
        Who converts.
    result : str
        Into what.
    lossless : bool
        Whether pixels stay what they are.
    convert : callable
        From the source, a place for the result and `arguments` to the path of the result, seconds and peak
        megabytes.
    arguments : tuple
        Further arguments.
    missing : str or None
        Why it cannot be done here.
    quick : bool
        Whether it is part of a quick run.
    """

    peer: str
    result: str
    lossless: bool
    convert: Callable[..., tuple[str, float, float]]
    arguments: tuple[Any, ...]
    missing: str | None = None
    quick: bool = False


def measure(run: Run, picture_name: str) -> None:
    """Convert a picture from a PNG, and from a JPEG where it came as one."""
    picture = run.picture(picture_name)
    if not picture.photographic:
        run.note(f"conversion: {picture_name} cannot be a PNG of bytes")
        return
    png = os.path.join(os.path.dirname(picture.reference), "source.png")
    run.say(f"conversion: writing {picture.name} as a PNG")
    as_png(picture, png)
    sources = {"PNG": png} | ({"JPEG": picture.source} if picture.from_jpeg else {})
    for kind, source in sources.items():
        conversions = []
        for conversion in _conversions(kind):
            if not run.wants(conversion.peer) or (run.options.quick and not conversion.quick):
                continue
            if conversion.missing is not None:
                run.missing[conversion.peer] = conversion.missing
            else:
                conversions.append(conversion)
        _interleaved(run, picture, kind, source, conversions)


def _interleaved(run: Run, picture: Picture, kind: str, source: str, conversions: list[Conversion]) -> None:
    repeats = 1 if run.options.quick else min(5, run.options.repeats)
    taken: dict[Conversion, list[tuple[float, float, int]]] = {each: [] for each in conversions}
    with open(source, "rb") as file:
        shutil.copyfileobj(file, _Nowhere())  # the page cache holds it for all
    for repeat in range(repeats):
        for conversion in list(taken):
            who = f"{conversion.peer}, {kind} to {conversion.result}"
            run.say(f"conversion {repeat + 1}/{repeats}: {who}")
            os.sync()  # who brings a copy to the disk does not wait for what others left to be written
            with tempfile.TemporaryDirectory(dir=run.folder) as folder:
                try:
                    path, seconds, peak = apart(warmed, conversion, source, folder)
                    if repeat == 0 and conversion.lossless:
                        _compare(path, picture)
                        run.compared += 8
                    taken[conversion].append((seconds, peak, nbytes_of(path)))
                except (WorkerError, AssertionError) as error:
                    run.failed(who, str(error))
                    del taken[conversion]
    for conversion, figures in taken.items():
        sample = summarize([[seconds] for seconds, _, _ in figures])
        run.add("conversion", "s", sample, picture=picture.name,
                label=f"{conversion.peer}, {conversion.result}", peer=conversion.peer,
                stored=conversion.result, source=kind, source_bytes=os.path.getsize(source),
                nbytes=figures[0][2], peak_mb=max(peak for _, peak, _ in figures),
                lossless=conversion.lossless)  # fmt: skip


class _Nowhere:
    def write(self, data: bytes) -> int:
        return len(data)


def _compare(path: str, picture: Picture) -> None:
    """Hold windows of a result against the picture."""
    raster, pixels = open_raster(path), picture.pixels()
    for row, col, height, width in random_places(picture.shape, min(64, *picture.shape[:2]), 8):
        expected = pixels[row : row + height, col : col + width]
        np.testing.assert_array_equal(raster.read(Window(row, col, height, width)), expected)


def _conversions(kind: str) -> Iterator[Conversion]:
    for backend in BACKENDS:
        if backend == "auto" or (backend == "jpeg") != (kind == "JPEG"):
            continue  # a PNG to JPEG loses pixels, and a JPEG has no better home than itself
        for config in CONFIGS.get(backend, ({},)):
            if config.get("compress") != "JPEG":
                name = ours_named(backend, config)
                yield Conversion(OURS, name, True, convert_ours, (backend, config), quick=True)
    no_gdal = None if shutil.which("gdal_translate") else "gdal_translate is not on PATH; Debian: gdal-bin"
    no_rasterio = why_missing(("rasterio",))
    for codec in ("ZSTD", "DEFLATE") if kind == "PNG" else ("JPEG",):
        exact = codec != "JPEG"
        yield Conversion("gdal_translate", f"COG {codec}", exact, by_gdal_translate, (codec,), no_gdal,
                         quick=codec != "DEFLATE")  # fmt: skip
        yield Conversion("rasterio", f"COG {codec}", exact, by_rasterio, (codec,), no_rasterio)
    if kind == "PNG":
        yield Conversion("pyvips", "pyramid DEFLATE", True, by_pyvips, ("deflate",), why_missing(("pyvips",)))
    else:
        yield Conversion("pyvips", "pyramid JPEG", False, by_pyvips, ("jpeg",), why_missing(("pyvips",)))


def warmed(conversion: Conversion, source: str, folder: str) -> tuple[str, float, float]:
    """Convert a tiny picture first, so that what is imported for it is not timed, as in a collection."""
    from PIL import Image

    tiny = os.path.join(folder, f"tiny{os.path.splitext(source)[1]}")
    Image.new("RGB", (64, 64)).save(tiny)
    conversion.convert(tiny, os.path.join(folder, "tiny"), *conversion.arguments)
    return conversion.convert(source, os.path.join(folder, "result"), *conversion.arguments)


def convert_ours(source: str, folder: str, backend: str, config: dict[str, str]) -> tuple[str, float, float]:
    """Convert with this library."""
    from subregion import SimpleFrames

    chosen = {"type": backend, "config": config}
    start = time.perf_counter()
    SimpleFrames({0: source}, folder, chosen).prepare(progress=False)
    seconds = time.perf_counter() - start
    return copy_of(source, chosen, folder), seconds, machine.peak_mb()


def by_gdal_translate(source: str, folder: str, codec: str) -> tuple[str, float, float]:
    """Convert with GDAL's program, which makes overviews too and may use all cores."""
    target = f"{folder}.tif"
    command = [
        "gdal_translate",
        "-q",
        "-of",
        "COG",
        "-co",
        f"COMPRESS={codec}",
        "-co",
        "NUM_THREADS=ALL_CPUS",
    ]
    start = time.perf_counter()
    process = subprocess.Popen([*command, source, target])  # noqa: S603 - our own files
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"gdal_translate ended with status {process.returncode}")
    return target, seconds, usage.ru_maxrss * 1024 / 1e6


def by_rasterio(source: str, folder: str, codec: str) -> tuple[str, float, float]:
    """Convert with the newer GDAL that rasterio's wheel brings."""
    import rasterio.shutil

    target = f"{folder}.tif"
    start = time.perf_counter()
    rasterio.shutil.copy(source, target, driver="COG", compress=codec, num_threads="ALL_CPUS")
    return target, time.perf_counter() - start, machine.peak_mb()


def by_pyvips(source: str, folder: str, codec: str) -> tuple[str, float, float]:
    """Convert with libvips, in a stream."""
    import pyvips

    target = f"{folder}.tif"
    start = time.perf_counter()
    image = pyvips.Image.new_from_file(source, access="sequential", fail_on="truncated")
    image.tiffsave(target, tile=True, pyramid=True, compression=codec, tile_width=256, tile_height=256)
    return target, time.perf_counter() - start, machine.peak_mb()
