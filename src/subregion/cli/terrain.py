"""A landscape that does not exist, of any size, and a PNG written while it comes."""

from __future__ import annotations

import struct
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from subregion.geometry.window import Window
from subregion.io.threads import processors

Task = TypeVar("Task")
Result = TypeVar("Result")


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
        """Return the picture from top to bottom, `rows` rows at a time, made on all cores."""
        height, width, _ = self.shape
        windows = (Window(row, 0, min(rows, height - row), width) for row in range(0, height, rows))
        return _results_ahead(self.read, windows)


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
    checksum = zlib.adler32(b"")

    def filtered() -> Iterator[NDArray[np.uint8]]:
        nonlocal checksum
        above = np.zeros((1, shape[1] * 3), np.uint8)
        for strip in strips:
            rows = strip.reshape(len(strip), -1)
            lines = np.empty((len(rows), rows.shape[1] + 1), np.uint8)
            lines[:, 0] = 2  # the filter Up: each row less the one above
            np.subtract(rows[:1], above, out=lines[:1, 1:])
            np.subtract(rows[1:], rows[:-1], out=lines[1:, 1:])
            above = rows[-1:].copy()
            checksum = zlib.adler32(lines.data, checksum)
            yield lines

    with open(path, "wb") as file:

        def put(kind: bytes, content: bytes) -> None:
            check = zlib.crc32(content, zlib.crc32(kind))
            file.write(struct.pack(">I4s", len(content), kind) + content + struct.pack(">I", check))

        file.write(b"\x89PNG\r\n\x1a\n")
        put(b"IHDR", struct.pack(">IIBBBBB", shape[1], shape[0], 8, 2, 0, 0, 0))
        put(b"IDAT", b"\x78\x5e")  # the header of a zlib stream
        for part in _results_ahead(_deflated, filtered()):
            put(b"IDAT", part)
        put(b"IDAT", b"\x03\0" + struct.pack(">I", checksum))  # an empty last block
        put(b"IEND", b"")


def _deflated(lines: NDArray[np.uint8]) -> bytes:
    """Compress a part of a stream so that it ends at a byte and refers to nothing before it."""
    encoder = zlib.compressobj(3, wbits=-15)
    return encoder.compress(lines.data) + encoder.flush(zlib.Z_FULL_FLUSH)


def _results_ahead(work: Callable[[Task], Result], tasks: Iterable[Task]) -> Iterator[Result]:
    """Yield the result of each task in order, while threads are at those that come after it.

    As many tasks as there are cores are taken before they are needed, in the calling thread.
    """
    cores = processors()
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(cores) as pool:
        for task in tasks:
            waiting.append(pool.submit(work, task))
            if len(waiting) > cores:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
