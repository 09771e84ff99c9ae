"""A tour on real pictures and a large one: every backend timed, checked bit by bit, and shown."""

from __future__ import annotations

import json
import math
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from subregion.cache.workdir import make_store
from subregion.cli.describe import find_copy
from subregion.cli.drawing import reduced
from subregion.cli.terrain import Relief, write_png
from subregion.collections.simple import SimpleFrames
from subregion.errors import DamagedFileError
from subregion.formats.open import open_raster
from subregion.geometry.window import Window
from subregion.picture import ACCENT, BACKGROUND, BAR, FAINT, INK, PANEL, to_picture, write

if TYPE_CHECKING:
    from PIL import Image, ImageDraw
    from rich.console import Console

BACKENDS = (None, "npy", "cog", "auto")
RELIEF = "relief.png"


@dataclass(frozen=True, slots=True)
class Timing:
    """How long one picture takes to be read.

    Parameters
    ----------
    picture : str
        Its name.
    shape : tuple of int
        Rows, columns and bands.
    decode : float
        Milliseconds to decode all of it and crop.
    reads : dict
        Median milliseconds for a region, by backend.
    """

    picture: str
    shape: tuple[int, int, int]
    decode: float
    reads: dict[str, float]


@dataclass(frozen=True, slots=True)
class Conversion:
    """What a backend costs once.

    Parameters
    ----------
    backend : str
        Its name.
    seconds : float
        To convert all pictures.
    nbytes : int
        On the disk.
    regions : int
        How many were read; all of them were equal to a plain decode.
    """

    backend: str
    seconds: float
    nbytes: int
    regions: int


def run(output: Path, *, quick: bool = False, console: Console | None = None) -> Path:
    """Convert, read, check and show.

    Parameters
    ----------
    output : path
        The folder that is left: the large picture, the contact sheet and the times.
    quick : bool
        Whether the large picture has 4 megapixels instead of 105, and fewer regions are read.
    console : rich.console.Console or None
        Where the tables go.

    Returns
    -------
    Path
        The contact sheet.

    Raises
    ------
    DamagedFileError
        If a region is not what a plain decode of the picture gives.
    SubregionError
        If the photographs are not installed.
    """
    from rich.console import Console

    console = console or Console()
    photographs = SimpleFrames.demo()
    paths = {str(name): photographs.record(name).default_asset.path for name in photographs.image_ids}
    output.mkdir(parents=True, exist_ok=True)
    edge, size, count = (2048, 128, 8) if quick else (10240, 256, 40)
    with tempfile.TemporaryDirectory(prefix=".work-", dir=output) as work:
        relief = Relief(edge, edge)
        console.print(f"Drawing a landscape of {edge * edge / 1e6:.0f} megapixels ...")
        unfinished = os.path.join(work, RELIEF)
        write_png(unfinished, relief.shape, relief.strips())
        paths[RELIEF] = os.path.abspath(os.path.join(output, RELIEF))
        os.replace(unfinished, paths[RELIEF])

        collections, seconds = {}, {}
        for backend in BACKENDS:
            name = str(backend)
            console.print(f"Converting {len(paths)} pictures: backend {name} ...")
            collections[name] = SimpleFrames(paths, os.path.join(work, name), backend)
            seconds[name] = _seconds(collections[name].prepare)
        console.print("Reading regions and comparing them with a plain decode ...")
        generator = np.random.default_rng(0)
        timings = [_time(picture, collections, size, count, generator) for picture in paths]
        conversions = [
            Conversion(name, seconds[name], _nbytes(os.path.join(work, name)),
                       sum(_reads(timing.shape, name, count) for timing in timings))
            for name in collections
        ]  # fmt: skip
        _print_tables(console, timings, conversions, size)
        sheet = _contact_sheet(collections["cog"], timings, conversions, size)
    target = output / "contact-sheet.png"
    sheet.save(target)
    document = {
        "timings": [asdict(item) for item in timings],
        "backends": [asdict(item) for item in conversions],
    }
    (output / "times.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    console.print(f"All regions equal a plain decode, bit for bit. See {target}")
    return target


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _nbytes(folder: str) -> int:
    return sum(place.stat().st_size for place in Path(folder).rglob("*") if place.is_file())


def _reads(shape: tuple[int, int, int], backend: str, count: int) -> int:
    """How many regions to read: where each costs the whole of a large image, a few say enough."""
    return 3 if backend == "None" and math.prod(shape) > 1e8 else count


def _time(
    picture: str, collections: dict[str, SimpleFrames], size: int, count: int, generator: np.random.Generator
) -> Timing:
    """Read random regions of one picture through all backends, and hold each against a plain decode."""
    path = collections["None"].record(picture).default_asset.path
    started = time.perf_counter()
    whole = plain_decode(path)
    decode = [time.perf_counter() - started]
    if whole.size < 1e8:
        decode.extend(_seconds(lambda: plain_decode(path)) for _ in range(2))
    rows, cols = whole.shape[:2]
    tops, lefts = (
        generator.integers(0, max(1, rows - size), count),
        generator.integers(0, max(1, cols - size), count),
    )
    reads = {}
    for name, frames in collections.items():
        taken = []
        for top, left in list(zip(tops, lefts, strict=True))[: _reads(whole.shape, name, count)]:
            region = slice(int(top), int(top) + size), slice(int(left), int(left) + size)
            started = time.perf_counter()
            pixels = frames.load_region(picture, region)
            taken.append(time.perf_counter() - started)
            expected = whole[region]
            if pixels.dtype != expected.dtype or not np.array_equal(pixels, expected):
                raise DamagedFileError(
                    f"{path}: region {region} through backend {name} is not what a decode gives."
                )
        reads[name] = statistics.median(taken) * 1e3
    return Timing(picture, whole.shape, statistics.median(decode) * 1e3, reads)


def plain_decode(path: str) -> NDArray[Any]:
    """Decode a whole picture with Pillow, as most programs do for every crop; (rows, columns, bands)."""
    from PIL import Image

    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        with Image.open(path) as image:
            pixels = np.asarray(image)
    finally:
        Image.MAX_IMAGE_PIXELS = limit
    return pixels if pixels.ndim == 3 else pixels[..., None]


def _print_tables(console: Console, timings: list[Timing], conversions: list[Conversion], size: int) -> None:
    from rich.table import Table

    table = Table(title=f"{size} x {size} px: median milliseconds, and times faster than decode and crop")
    table.add_column("picture")
    table.add_column("decode\nand crop", justify="right")
    for conversion in conversions:
        table.add_column(f"backend\n{conversion.backend}", justify="right")
    for timing in timings:
        cells = [
            f"{_figure(value)}\n[dim]{timing.decode / value:,.0f} x[/dim]" for value in timing.reads.values()
        ]
        rows, cols, bands = timing.shape
        table.add_row(
            f"{timing.picture}\n[dim]{rows} x {cols} x {bands}[/dim]", _figure(timing.decode), *cells
        )
    console.print(table)
    table = Table(title="What each backend costs once, for all pictures")
    for heading in ("backend", "conversion", "on disk", "regions read and equal"):
        table.add_column(heading, justify="left" if heading == "backend" else "right")
    for item in conversions:
        table.add_row(
            item.backend, f"{item.seconds:.1f} s", f"{item.nbytes / 1e6:,.0f} MB", str(item.regions)
        )
    console.print(table)


_MARGIN, _GAP, _TALL, _CROP = 44, 24, 720, 316
_WIDTH = 2 * _MARGIN + _TALL + 3 * (_GAP + _CROP)


def _contact_sheet(
    frames: SimpleFrames, timings: list[Timing], conversions: list[Conversion], size: int
) -> Image.Image:
    """Draw crops of all pictures: the landscape with its regions marked, the photographs, and the times."""
    from PIL import Image, ImageDraw

    photographs = [timing for timing in timings if timing.picture != RELIEF]
    edge = (_WIDTH - 2 * _MARGIN - (len(photographs) - 1) * _GAP) // len(photographs)
    tops = [120, 120 + _TALL + 52, 120 + _TALL + 52 + edge + 84]
    sheet = Image.new("RGB", (_WIDTH, tops[2] + 70 + 40 * (1 + len(conversions)) + _MARGIN), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    write(draw, (_MARGIN, 34), "subregion", 44, INK)
    read = sum(item.regions for item in conversions)
    text = f"{read:,} regions of {len(timings)} pictures through {len(conversions)} backends"
    write(draw, (_MARGIN + 232, 56), f"{text}, each equal to a plain decode, bit for bit", 20, FAINT)
    _draw_landscape(sheet, draw, frames, tops[0])
    for number, timing in enumerate(photographs):
        left, top = _MARGIN + number * (edge + _GAP), tops[1]
        rows, cols, _ = timing.shape
        row, col = _liveliest(
            frames.load_region(timing.picture), edge, Window(0, 0, rows - edge, cols - edge)
        )
        pixels = frames.load_region(timing.picture, Window(row, col, edge, edge))
        sheet.paste(Image.fromarray(pixels.squeeze()).convert("RGB"), (left, top))
        y = write(draw, (left, top + edge + 10), timing.picture, 17, INK)
        faster = timing.decode / timing.reads["cog"]
        write(draw, (left, y), f"{cols:,} x {rows:,} px, as cog {faster:,.0f} times faster", 15, FAINT)
    _draw_times(draw, timings[-1], tops[2], size)
    return sheet


def _draw_landscape(sheet: Image.Image, draw: ImageDraw.ImageDraw, frames: SimpleFrames, top: int) -> None:
    """Draw the large picture from an overview, and beside it regions at full resolution."""
    from PIL import Image

    rows, cols, _ = frames.load_frame(RELIEF).shape
    asset = frames.record(RELIEF).default_asset
    copy = find_copy(make_store(frames.workdir, frames.backend, frames.hashid_mode, warn=False), asset)
    raster = open_raster(asset.path if copy is None else copy.data)
    overview = to_picture(reduced(raster, _TALL), raster.dtype, _TALL)
    sheet.paste(overview, (_MARGIN, top))
    title = f"{RELIEF}: {cols:,} x {rows:,} px ({rows * cols / 1e6:.0f} megapixels), here from an overview"
    write(draw, (_MARGIN, top + _TALL + 10), title, 15, FAINT)
    scale = rows / overview.height
    edge = max(12, round(_CROP / scale))
    high, wide = (overview.height - edge) // 2, (overview.width - edge) // 3
    for number in range(6):
        part = Window(number // 3 * high, number % 3 * wide, high, wide)
        row, col = _liveliest(np.asarray(overview), edge, part, coasts=number % 2 == 0)
        region = Window(round(row * scale), round(col * scale), _CROP, _CROP)
        pixels = frames.load_region(RELIEF, region, fill="reflect")
        x = _MARGIN + _TALL + _GAP + number % 3 * (_CROP + _GAP)
        y = top + number // 3 * (_CROP + 58)
        sheet.paste(Image.fromarray(pixels), (x, y))
        place = f"[{region.row}:{region.row_stop}, {region.col}:{region.col_stop}]"
        write(draw, (x + 38, y + _CROP + 12), place, 17, INK)
        left, upper = _MARGIN + col, top + row
        draw.rectangle((left - 1, upper - 1, left + edge + 1, upper + edge + 1), outline="black")
        draw.rectangle((left, upper, left + edge, upper + edge), outline=ACCENT, width=2)
        for badge in ((x, y + _CROP + 10), (left + edge + 2, upper - 1)):
            draw.rounded_rectangle((*badge, badge[0] + 25, badge[1] + 25), 5, fill=ACCENT)
            write(draw, (badge[0] + 8, badge[1] + 2), str(number + 1), 17, BACKGROUND)


def _liveliest(picture: NDArray[Any], edge: int, part: Window, *, coasts: bool = False) -> tuple[int, int]:
    """Choose row and column of a square that begins in a part of a picture, where much is to be seen."""
    generator = np.random.default_rng(1)
    warmth = picture[..., 0].astype(np.float32) - picture[..., -1] / 2

    def interest(place: tuple[int, int]) -> float:
        square = warmth[place[0] : place[0] + edge, place[1] : place[1] + edge]
        return float(square.std() if coasts else np.abs(np.diff(square)).mean())

    rows = generator.integers(part.row, max(part.row, part.row_stop) + 1, 80).tolist()
    cols = generator.integers(part.col, max(part.col, part.col_stop) + 1, 80).tolist()
    return max(zip(rows, cols, strict=True), key=interest)


def _draw_times(draw: ImageDraw.ImageDraw, timing: Timing, top: int, size: int) -> None:
    """Draw the times of the large picture as bars on a logarithmic scale."""
    bars = {"decode and crop": timing.decode} | {
        f"backend {name}": value for name, value in timing.reads.items()
    }
    draw.rounded_rectangle((_MARGIN, top, _WIDTH - _MARGIN, top + 70 + 40 * len(bars)), 12, fill=PANEL)
    title = f"One region of {size} x {size} px of {timing.picture}: milliseconds, on a logarithmic scale"
    write(draw, (_MARGIN + 24, top + 18), title, 18, INK)
    low, high = min(bars.values()) / 2, max(bars.values())
    left, longest = _MARGIN + 190, _WIDTH - 2 * _MARGIN - 340
    for number, (name, value) in enumerate(bars.items()):
        y = top + 62 + 40 * number
        right = left + max(8, round(longest * math.log(value / low) / math.log(high / low)))
        write(draw, (_MARGIN + 24, y), name, 17, FAINT)
        draw.rounded_rectangle((left, y, right, y + 24), 5, fill=BAR if number == 0 else ACCENT)
        write(draw, (right + 14, y), f"{_figure(value)} ms", 17, INK)


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
