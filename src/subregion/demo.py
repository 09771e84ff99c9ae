"""A tour on real pictures and a large one: every backend timed, checked bit by bit, and shown."""

from __future__ import annotations

import json
import math
import os
import statistics
import struct
import tempfile
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from subregion.cache.workdir import make_store
from subregion.describe import (
    ACCENT,
    BACKGROUND,
    BAR,
    FAINT,
    INK,
    PANEL,
    find_copy,
    reduced,
    to_picture,
    write,
)
from subregion.errors import DamagedFileError
from subregion.frames import SimpleFrames
from subregion.geometry.window import Window
from subregion.raster.opening import open_raster

if TYPE_CHECKING:
    from PIL import Image, ImageDraw
    from rich.console import Console

BACKENDS = (None, "npy", "cog", "auto")
RELIEF = "relief.png"


class Relief:
    """A landscape that does not exist, of any size, whose pixels are known from their place alone.

    Heights are the sum of three layers of noise with a spectrum like that of real land: one is stretched
    over the whole picture, one over hundreds of pixels, one is as fine as the pixels and stronger in the
    mountains. A table turns height and slope towards the light into colours.

    Parameters
    ----------
    rows, cols : int
        Size of the picture.
    seed : int
        Which landscape.
    """

    _TILE = 1024
    _HEIGHTS, _SHADES = 1024, 128
    _COLORS = (
        (-1.0, (16, 42, 79)), (-0.45, (28, 76, 120)), (-0.06, (74, 141, 172)), (-0.001, (137, 190, 200)),
        (0.0, (222, 206, 160)), (0.05, (186, 190, 128)), (0.22, (112, 150, 86)), (0.45, (88, 122, 78)),
        (0.62, (134, 120, 92)), (0.78, (150, 132, 118)), (0.9, (228, 228, 230)), (1.0, (255, 255, 255)),
    )  # fmt: skip

    def __init__(self, rows: int, cols: int, seed: int = 7) -> None:
        self.shape = (rows, cols, 3)
        self._wide_zoom = -(-max(rows, cols) // 960)
        self._middle_zoom = max(1, self._wide_zoom // 6)
        self._wide = _noise(self._TILE, 1.9, (2, 160), seed)
        self._middle = _noise(self._TILE, 1.7, (4, 120), seed + 1)
        self._fine = _noise(self._TILE, 1.4, (16, 170), seed + 2)
        self._table = self._color_table()

    def _color_table(self) -> NDArray[np.uint32]:
        height = np.linspace(-1, 1, self._HEIGHTS)[:, None]
        light = np.linspace(0.35, 1.25, self._SHADES)[None]
        light = np.where(height < 0, 1 + (light - 1) / 4, light)  # water is smooth
        knots = [knot for knot, _ in self._COLORS]
        table = np.zeros((self._HEIGHTS, self._SHADES, 4), np.uint8)
        for band in range(3):
            color = np.interp(height, knots, [color[band] for _, color in self._COLORS])
            table[..., band] = np.clip(np.rint(color * light), 0, 255)
        return table.view(np.uint32).ravel()

    def _height(self, window: Window) -> NDArray[np.float32]:
        """Return heights from about -1 to 1; sea level is 0."""
        height = _stretched(self._wide, window, self._wide_zoom)
        height *= 0.30
        height += 0.04
        rough = np.clip(height, 0, 0.6)
        rough *= 3
        rough += 0.12
        detail = _stretched(self._middle, window, self._middle_zoom)
        detail *= 0.045
        rows = np.arange(window.row, window.row_stop) % self._TILE
        cols = np.arange(window.col, window.col_stop) % self._TILE
        detail += np.take(np.take(self._fine, rows, 0) * np.float32(0.006), cols, 1)
        detail *= rough
        height += detail
        return height

    def read(self, window: Window) -> NDArray[np.uint8]:
        """Return the pixels of a window, (rows, columns, 3): the same ones whatever window they are in."""
        out = np.empty((*window.shape, 3), np.uint8)
        for left in range(0, window.width, self._TILE):  # what fits the cache of a processor is much faster
            part = Window(window.row, window.col + left, window.height, min(self._TILE, window.width - left))
            out[:, left : left + part.width] = self._pixels(part)
        return out

    def _pixels(self, window: Window) -> NDArray[np.uint8]:
        around = Window(window.row, window.col, window.height + 1, window.width + 1)
        height = self._height(around)
        down = (height[1:, :-1] - height[:-1, :-1]) * np.float32(55)
        right = (height[:-1, 1:] - height[:-1, :-1]) * np.float32(55)
        # Lambert: the cosine between the normal of the ground and light from the upper left.
        light = (down + right) * np.float32(0.6) + np.float32(0.75)
        light /= np.sqrt(down * down + right * right + np.float32(1))
        light *= np.float32((self._SHADES - 1) / 1.15)
        level = (height[:-1, :-1] + np.float32(1)) * np.float32((self._HEIGHTS - 1) / 2)
        index = np.clip(level, 0, self._HEIGHTS - 1).astype(np.int32) * self._SHADES
        index += np.clip(light, 0, self._SHADES - 1).astype(np.int32)
        pixels = np.take(self._table, index).view(np.uint8).reshape(*window.shape, 4)
        return np.asarray(pixels[..., :3])

    def strips(self, rows: int = 64) -> Iterator[NDArray[np.uint8]]:
        """Yield the picture from top to bottom, `rows` rows at a time, made on all cores."""
        height, width, _ = self.shape
        cores = os.cpu_count() or 1
        coming: deque[Future[NDArray[np.uint8]]] = deque()
        with ThreadPoolExecutor(cores) as pool:
            for row in range(0, height, rows):
                coming.append(pool.submit(self.read, Window(row, 0, min(rows, height - row), width)))
                if len(coming) > cores:
                    yield coming.popleft().result()
            while coming:
                yield coming.popleft().result()


def _noise(size: int, slope: float, band: tuple[int, int], seed: int) -> NDArray[np.float32]:
    """Make periodic noise whose spectrum falls with the frequency to the power of `slope`, within a band."""
    generator = np.random.default_rng(seed)
    down, right = np.fft.fftfreq(size, 1 / size)[:, None], np.fft.rfftfreq(size, 1 / size)[None]
    frequency = np.maximum(np.hypot(down, right), 1)
    spectrum = generator.normal(size=frequency.shape) + 1j * generator.normal(size=frequency.shape)
    spectrum *= frequency**-slope * np.exp(-((frequency / band[1]) ** 2)) * (frequency >= band[0])
    heights = np.fft.irfft2(spectrum, (size, size))
    return np.asarray(heights / heights.std(), np.float32)


def _stretched(tile: NDArray[np.float32], window: Window, zoom: int) -> NDArray[np.float32]:
    """Read a window of a periodic tile that is magnified by a cubic B-spline, axis by axis."""
    first = window.col // zoom - 1
    knots = np.arange(first, (window.col_stop - 1) // zoom + 3) % tile.shape[1]
    rows = _spline(tile, window.row, window.height, zoom, 0)
    return _spline(np.take(rows, knots, 1), window.col - first * zoom, window.width, zoom, 1)


def _spline(tile: NDArray[np.float32], start: int, count: int, zoom: int, axis: int) -> NDArray[np.float32]:
    knot, part = np.divmod(np.arange(start, start + count), zoom)
    t = (part / zoom).astype(np.float32)
    weights = ((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3)
    out: NDArray[np.float32] | None = None
    for number, weight in enumerate(weights):
        term = np.take(tile, (knot + number - 1) % tile.shape[axis], axis=axis)
        term *= (weight / 6)[:, None] if axis == 0 else weight / 6
        out = term if out is None else np.add(out, term, out=out)
    assert out is not None  # noqa: S101 - there are four weights
    return out


def write_png(path: str, shape: tuple[int, int, int], strips: Iterable[NDArray[np.uint8]]) -> None:
    """Write an RGB picture as a PNG while it comes: in bounded memory, compressed on all cores.

    Parameters
    ----------
    path : str
        Where to write.
    shape : tuple of int
        Rows, columns and 3.
    strips : iterable of ndarray of uint8, (n, columns, 3)
        The picture from top to bottom.
    """
    cores = os.cpu_count() or 1
    waiting: deque[Future[bytes]] = deque()
    checksum = zlib.adler32(b"")
    above = np.zeros((1, shape[1] * 3), np.uint8)
    with open(path, "wb") as file, ThreadPoolExecutor(cores) as pool:

        def put(kind: bytes, content: bytes) -> None:
            check = zlib.crc32(content, zlib.crc32(kind))
            file.write(struct.pack(">I4s", len(content), kind) + content + struct.pack(">I", check))

        file.write(b"\x89PNG\r\n\x1a\n")
        put(b"IHDR", struct.pack(">IIBBBBB", shape[1], shape[0], 8, 2, 0, 0, 0))
        put(b"IDAT", b"\x78\x5e")  # the header of a zlib stream
        for strip in strips:
            rows = strip.reshape(len(strip), -1)
            lines = np.empty((len(rows), rows.shape[1] + 1), np.uint8)
            lines[:, 0] = 2  # the filter Up: each row less the one above
            np.subtract(rows[:1], above, out=lines[:1, 1:])
            np.subtract(rows[1:], rows[:-1], out=lines[1:, 1:])
            above = rows[-1:].copy()
            checksum = zlib.adler32(lines.data, checksum)
            waiting.append(pool.submit(_deflated, lines))
            while len(waiting) > cores:
                put(b"IDAT", waiting.popleft().result())
        while waiting:
            put(b"IDAT", waiting.popleft().result())
        put(b"IDAT", b"\x03\0" + struct.pack(">I", checksum))  # an empty last block
        put(b"IEND", b"")


def _deflated(lines: NDArray[np.uint8]) -> bytes:
    """Compress a part of a stream so that it ends at a byte and refers to nothing before it."""
    encoder = zlib.compressobj(3, wbits=-15)
    return encoder.compress(lines.data) + encoder.flush(zlib.Z_FULL_FLUSH)


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
    whole = _plain_decode(path)
    decode = [time.perf_counter() - started]
    if whole.size < 1e8:
        decode.extend(_seconds(lambda: _plain_decode(path)) for _ in range(2))
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


def _plain_decode(path: str) -> NDArray[Any]:
    """Decode a whole picture, as most programs do for every crop."""
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
        write(draw, (left, y), f"{cols:,} x {rows:,} px, {faster:,.0f} times faster", 15, FAINT)
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
