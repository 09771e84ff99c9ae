"""An image as a picture: reduced in bounded memory, with its blocks and levels."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from subregion.picture import ACCENT, BACKGROUND, FAINT, INK, to_picture, write

if TYPE_CHECKING:
    from collections.abc import Iterator

    from PIL import Image, ImageDraw

    from subregion.formats.raster import Raster

#: Decoded bytes that are held at a time while a picture is reduced.
STRIP_BYTES = 4 << 20


def reduced(raster: Raster, long_side: int) -> NDArray[np.float32]:
    """Average an image down, in memory that does not depend on its size.

    Parameters
    ----------
    raster : Raster
        The open image; its smallest overview that is large enough serves.
    long_side : int
        How many pixels the longer side is to have at least, if the image has so many; it has less than
        twice as many.

    Returns
    -------
    ndarray of float32, shape (rows, columns, 1 or 3)
        Grey or the first three bands; NaN where there is no pixel.
    """
    level = max(n for n, shape in enumerate(raster.level_shapes) if n == 0 or max(shape) >= long_side)
    height, width = raster.level_shapes[level]
    factor = max(1, max(height, width) // long_side)
    bands = 3 if raster.shape[2] >= 3 else 1
    total = np.zeros((-(-height // factor), -(-width // factor), bands), np.float32)
    count = np.zeros_like(total)
    gaps = raster.dtype.kind in "fc" or raster.nodata is not None
    row = 0
    for strip in _strips(raster, level):
        # Sums are floats, larger than what is stored, so a strip is taken in parts.
        for part in np.array_split(strip[..., :bands], -(-len(strip) // factor)):
            rows = slice(row // factor, (row + len(part) - 1) // factor + 1)
            valid = _valid(part, raster.nodata) if gaps else np.ones((*part.shape[:2], 1), bool)
            total[rows] += _squares(np.where(valid, part, 0) if gaps else part, row, factor)
            count[rows] += _squares(valid, row, factor)
            row += len(part)
    with np.errstate(invalid="ignore"):
        return total / count


def _valid(pixels: NDArray[Any], nodata: float | None) -> NDArray[np.bool_]:
    valid: NDArray[np.bool_] = np.isfinite(pixels)
    if nodata is not None:
        valid &= pixels != nodata
    return valid


def _strips(raster: Raster, level: int) -> Iterator[NDArray[Any]]:
    height, width = raster.level_shapes[level]
    row_bytes = width * raster.shape[2] * raster.dtype.itemsize
    rows = max(1, min(height, STRIP_BYTES // row_bytes))
    yield from raster.strips(rows, level)


def _squares(values: NDArray[Any], row: int, factor: int) -> NDArray[np.float32]:
    """Sum squares of `factor` pixels; the first row of `values` is `row` of the image."""
    first = -row % factor  # rows until the next square begins
    starts = np.arange(first, len(values), factor)
    if first:
        starts = np.concatenate(([0], starts))
    down = np.add.reduceat(values, starts, axis=0, dtype=np.float32)
    return np.asarray(np.add.reduceat(down, np.arange(0, values.shape[1], factor), axis=1))


#: Between two lines of the grid there are at least so many pixels of the picture.
_GRID_STEP = 7


def draw_blocks(raster: Raster, title: str, long_side: int = 1024) -> Image.Image:
    """Draw an image with its grid of blocks, and its levels beside it.

    Parameters
    ----------
    raster : Raster
        The open image.
    title : str
        What to write above.
    long_side : int
        Pixels of the longer side of the image in the drawing.
    """
    from PIL import Image, ImageDraw

    picture = to_picture(reduced(raster, long_side), raster.dtype, long_side)
    small = max(picture.size) < long_side // 2
    if small:  # magnify, so that its blocks can be seen
        times = long_side // max(picture.size)
        picture = picture.resize((picture.width * times, picture.height * times), Image.Resampling.NEAREST)
    margin, panel, head = 32, 300, 104
    canvas = Image.new(
        "RGB", (picture.width + panel + 3 * margin, max(picture.height, 420) + head + margin), BACKGROUND
    )
    draw = ImageDraw.Draw(canvas, "RGBA")
    rows, cols, bands = raster.shape
    write(draw, (margin, 24), title, 26, INK, width=canvas.width - 2 * margin)
    facts = f"{cols:,} x {rows:,} px · {bands} x {raster.dtype} · {raster.driver}: {raster.layout}"
    write(draw, (margin, 62), facts, 16, FAINT, width=canvas.width - 2 * margin)
    canvas.paste(picture, (margin, head))
    note = _draw_grid(draw, raster, (margin, head), picture.size)
    _draw_levels(canvas, draw, raster, picture, (picture.width + 2 * margin, head), panel, note)
    return canvas


def _draw_grid(
    draw: ImageDraw.ImageDraw, raster: Raster, origin: tuple[int, int], size: tuple[int, int]
) -> str:
    """Draw the borders of the blocks, and say what is seen."""
    if not raster.windowed:
        return f"No blocks: {raster.layout}."
    if raster.mapped and raster.block == raster.shape[:2]:
        return "No blocks are needed: uncompressed, read pixel by pixel."
    left, top = origin
    scale = size[0] / raster.shape[1]
    every = max(1, math.ceil(_GRID_STEP / (min(raster.block) * scale)))
    for axis, extent in ((1, raster.shape[1]), (0, raster.shape[0])):
        step = raster.block[axis] * every
        for place in range(step, extent, step):
            at = round(place * scale)
            line = (
                (left + at, top, left + at, top + size[1] - 1)
                if axis == 1
                else (left, top + at, left + size[0] - 1, top + at)
            )
            draw.line(line, fill=(255, 255, 255, 110))
    counts = [-(-raster.shape[axis] // raster.block[axis]) for axis in (0, 1)]
    blocks = f"{counts[1]:,} x {counts[0]:,} blocks of {raster.block[1]:,} x {raster.block[0]:,} px"
    return blocks if every == 1 else f"{blocks}; a line for every {every}"


def _draw_levels(
    canvas: Image.Image,
    draw: ImageDraw.ImageDraw,
    raster: Raster,
    picture: Image.Image,
    origin: tuple[int, int],
    width: int,
    note: str,
) -> None:
    """Draw each level to scale, one below the other, with its size."""
    left, top = origin
    y = write(draw, (left, top), note, 15, ACCENT, width=width) + 22
    shapes = raster.level_shapes
    headline = "1 level, no overviews" if len(shapes) == 1 else f"{len(shapes)} levels"
    y = write(draw, (left, y), headline, 20, INK, width=width) + 14
    largest = min(width * 0.55 / shapes[0][1], canvas.height * 0.3 / shapes[0][0])
    for number, (rows, cols) in enumerate(shapes):
        if y > canvas.height - 40:
            break
        size = max(2, round(cols * largest)), max(2, round(rows * largest))
        canvas.paste(picture.resize(size), (left, y))
        text = f"{cols:,} x {rows:,}" if number else f"{cols:,} x {rows:,}, full"
        write(draw, (left + size[0] + 12, y + max(0, size[1] // 2 - 9)), text, 14, FAINT)
        y += max(size[1], 18) + 12
