"""Where a file lies on a result: which of its pixels are needed, of which level, by which transform. Pure."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import NamedTuple

from affine import Affine

from subregion.geometry.resample import Filter, shrink_factors, widths
from subregion.geometry.window import Window

#: A deviation from a whole-pixel shift of less than this, in pixels, is the noise of float arithmetic.
WHOLE_PIXEL = 1e-5
#: An overview is used up to this much coarser than asked for: sizes of overviews are rounded.
LEVEL_SLACK = 1.02


@dataclass(frozen=True, slots=True)
class OutputGrid:
    """The pixels that a read returns, as a part of the image.

    Parameters
    ----------
    height, width : int
        Rows and columns of the result.
    from_image : affine.Affine
        From pixel corners of the image (x, y) to those of the result.
    """

    height: int
    width: int
    from_image: Affine

    @classmethod
    def of(cls, window: Window, scale: tuple[float, float] = (1.0, 1.0)) -> OutputGrid:
        """Lay a grid over a window of the image.

        Parameters
        ----------
        window : Window
            In pixels of the image.
        scale : tuple of float
            Result pixels for each image pixel, along rows and columns. A size is rounded to the nearest
            whole number, halves up, and is at least 1 if the window holds a pixel.
        """
        down, across = scale
        return cls(
            _scaled(window.height, down),
            _scaled(window.width, across),
            Affine(across, 0.0, -window.col * across, 0.0, down, -window.row * down),
        )

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.height, self.width

    def part(self, window: Window) -> OutputGrid:
        """Return the grid of some pixels of this one."""
        moved = Affine.translation(-window.col, -window.row) @ self.from_image
        return OutputGrid(window.height, window.width, moved)


def _scaled(size: int, scale: float) -> int:
    return max(1, math.floor(size * scale + 0.5)) if size else 0


class SourceRead(NamedTuple):
    """What to read of one file and where it goes.

    Parameters
    ----------
    source : Window
        What to read, in pixels of the level, inside it; empty if the file has nothing to give.
    level : int
        Which resolution of the file.
    target : Window
        Which pixels of the result the file covers.
    to_target : affine.Affine or None
        From pixel corners of `source` to those of `target`; None if it is pasted as it is.
    widening : tuple of float
        How many times wider than usual the filter is, along columns and rows, where the result shrinks.
    """

    source: Window
    level: int
    target: Window
    to_target: Affine | None
    widening: tuple[float, float] = (1.0, 1.0)


class Levels(NamedTuple):
    """The resolutions of a file, and how the smaller ones lie on the full one.

    Parameters
    ----------
    sizes : tuple of (rows, columns)
        The full one first.
    resized : bool
        Whether the others are resized copies, whatever their sizes; see `level_to_full`.
    reversed : tuple of bool
        Whether rows and columns are shown against the order in which they are stored: where a level does not
        end with the picture, it then does not begin with it.
    """

    sizes: tuple[tuple[int, int], ...]
    resized: bool = False
    reversed: tuple[bool, bool] = (False, False)

    def to_full(self, number: int) -> Affine:
        """Return the transform from one of them to the full resolution."""
        full, level = self.sizes[0], self.sizes[number]
        matrix = level_to_full(full, level, self.resized)
        rows, cols = self.reversed
        over = full[1] - matrix.a * level[1] if cols else 0.0
        under = full[0] - matrix.e * level[0] if rows else 0.0
        return Affine.translation(over, under) @ matrix


_NOTHING = SourceRead(Window(0, 0, 0, 0), 0, Window(0, 0, 0, 0), None)


def plan_asset(
    grid: OutputGrid,
    to_image: Affine,
    levels: Levels,
    image_shape: tuple[int, int] | None,
    filter_: Filter,
    antialias: bool,
) -> SourceRead:
    """Plan the read of one file.

    Parameters
    ----------
    grid : OutputGrid
        What is wanted.
    to_image : affine.Affine
        From pixel corners of the file's full resolution to those of the image; not singular.
    levels : Levels
        The resolutions of the file.
    image_shape : tuple of int or None
        Rows and columns of the image, if known: nothing is drawn outside.
    filter_ : Filter
        How to interpolate.
    antialias : bool
        Whether an overview may serve.

    Returns
    -------
    SourceRead
    """
    scale = grid.from_image.a, grid.from_image.e
    layout = _layout(to_image, levels, image_shape, scale, filter_, antialias)
    target = _covered(layout, grid)
    if target.empty:
        return _NOTHING
    # The grid begins somewhere in the image, and the target somewhere in the grid.
    matrix = layout.to_grid
    across, down = grid.from_image.c - target.col, grid.from_image.f - target.row
    shift = _whole_shift(matrix, matrix.c + across, matrix.f + down, target)
    if shift is not None:
        source = Window(-shift[0], -shift[1], target.height, target.width)
        if source.inside(*layout.level_shape):
            return SourceRead(source, layout.level, target, None)
    source = _needed(layout, across, down, target)
    to_target = Affine(
        matrix.a,
        matrix.b,
        matrix.a * source.col + matrix.b * source.row + matrix.c + across,
        matrix.d,
        matrix.e,
        matrix.d * source.col + matrix.e * source.row + matrix.f + down,
    )
    return SourceRead(source, layout.level, target, to_target, layout.widening)


@dataclass(frozen=True, slots=True)
class _Layout:
    """How a file lies in its image at one scale: what all windows have in common.

    Parameters
    ----------
    level : int
        Which resolution serves.
    level_shape : tuple of int
        Its rows and columns.
    to_grid : affine.Affine
        From its pixel corners to those of the whole image at that scale.
    from_grid : affine.Affine
        The way back.
    box : tuple of float
        Left, top, right and bottom of what may be drawn, on the same grid.
    widening : tuple of float
        How many times wider than usual the filter is, along columns and rows.
    margin : tuple of float
        How many pixels of the level the filter looks beyond an output pixel, along columns and rows.
    """

    level: int
    level_shape: tuple[int, int]
    to_grid: Affine
    from_grid: Affine
    box: tuple[float, float, float, float]
    widening: tuple[float, float]
    margin: tuple[float, float]


@functools.lru_cache(maxsize=4096)  # files of a collection lie alike, and windows take microseconds
def _layout(
    to_image: Affine,
    levels: Levels,
    image_shape: tuple[int, int] | None,
    scale: tuple[float, float],
    filter_: Filter,
    antialias: bool,
) -> _Layout:
    from_image = Affine.scale(*scale)
    full_to_grid = from_image @ to_image
    sizes = levels.sizes
    level = _level(full_to_grid, sizes) if antialias else 0
    to_grid = full_to_grid @ levels.to_full(level)
    box = _bounds(full_to_grid, sizes[0])
    if image_shape is not None:
        image = _bounds(from_image, image_shape)
        if covers_image(to_image, sizes[0], image_shape):
            box = image
        else:
            box = max(box[0], image[0]), max(box[1], image[1]), min(box[2], image[2]), min(box[3], image[3])
    wide, high = widths(filter_, to_grid, antialias)
    margin = filter_.support * wide + 1, filter_.support * high + 1
    return _Layout(level, sizes[level], to_grid, ~to_grid, box, (wide, high), margin)


def _bounds(matrix: Affine, shape: tuple[int, int]) -> tuple[float, float, float, float]:
    """Return left, top, right and bottom of a rectangle that was transformed."""
    across, down = shape[1] * matrix.a, shape[1] * matrix.d  # along the columns
    over, along = shape[0] * matrix.b, shape[0] * matrix.e  # along the rows
    left, top = matrix.c + min(0.0, across) + min(0.0, over), matrix.f + min(0.0, down) + min(0.0, along)
    return left, top, left + abs(across) + abs(over), top + abs(down) + abs(along)


def _covered(layout: _Layout, grid: OutputGrid) -> Window:
    """Return the bounding window of the result pixels whose centres may be drawn."""
    left, top, right, bottom = layout.box
    across, down = grid.from_image.c, grid.from_image.f
    first_row, stop_row = max(0, _first_centre(top + down)), min(grid.height, _stop_centre(bottom + down))
    first_col, stop_col = max(0, _first_centre(left + across)), min(grid.width, _stop_centre(right + across))
    return Window(first_row, first_col, max(0, stop_row - first_row), max(0, stop_col - first_col))


def covers_image(to_image: Affine, shape: tuple[int, int], image_shape: tuple[int, int]) -> bool:
    """Tell whether a file covers its image, up to the rounding of its size to whole pixels.

    An image of 101 pixels with a file at half the resolution has 50 or 51 pixels there; either way the
    file is meant to reach the border.
    """
    if to_image.b or to_image.d:
        return False
    left, top, right, bottom = _bounds(to_image, shape)
    across, down = abs(to_image.a), abs(to_image.e)
    sideways = max(abs(left), abs(right - image_shape[1]))
    upright = max(abs(top), abs(bottom - image_shape[0]))
    return bool(sideways < across * (1 - WHOLE_PIXEL) and upright < down * (1 - WHOLE_PIXEL))


def _first_centre(edge: float) -> int:
    return math.ceil(edge - 0.5 - WHOLE_PIXEL)


def _stop_centre(edge: float) -> int:
    return math.floor(edge - 0.5 + WHOLE_PIXEL) + 1


def _level(full_to_grid: Affine, levels: tuple[tuple[int, int], ...]) -> int:
    """Return the coarsest resolution that is not coarser than the result."""
    across, down = shrink_factors(full_to_grid)
    best = 0
    for number, (rows, cols) in enumerate(levels):
        if levels[0][1] / cols <= across * LEVEL_SLACK and levels[0][0] / rows <= down * LEVEL_SLACK:
            best = number
    return best


def level_to_full(full: tuple[int, int], level: tuple[int, int], resized: bool = False) -> Affine:
    """Return the transform from an overview to the full resolution.

    Where the size is what halving and rounding gives, a pixel is worth exactly 2, 4, 8 ... pixels. Rounded
    up, the last one hangs over; rounded down, as libvips and scanners do, the last one stands for what is
    left at the border too. Otherwise the overview is a resized copy.

    Parameters
    ----------
    full, level : tuple of int
        Rows and columns of either.
    resized : bool
        Whether it is a resized copy whatever its size, as GDAL makes them: one of 101 pixels in 50 has
        pixels worth 2.02.
    """

    def factor(whole: int, part: int) -> float:
        if resized:
            return whole / part
        power = 1 << max(0, round(math.log2(whole / part)))
        return float(power) if part in (whole // power, -(-whole // power)) else whole / part

    if full == level:
        return Affine.identity()
    return Affine.scale(factor(full[1], level[1]), factor(full[0], level[0]))


def _whole_shift(matrix: Affine, across: float, down: float, target: Window) -> tuple[int, int] | None:
    """Return rows and columns if a transform with that offset shifts by whole pixels all over the target."""
    rows, cols = round(down), round(across)
    extent = max(target.height, target.width) + max(abs(rows), abs(cols))
    turn = max(abs(matrix.a - 1), abs(matrix.e - 1), abs(matrix.b), abs(matrix.d)) * extent
    slip = max(abs(across - cols), abs(down - rows))
    return (rows, cols) if turn + slip < WHOLE_PIXEL else None


def _needed(layout: _Layout, across: float, down: float, target: Window) -> Window:
    """Return the source pixels that the filter looks at, inside the file."""
    inverse = layout.from_grid
    left, top, right, bottom = _bounds(inverse, target.shape)
    from_left = -inverse.a * across - inverse.b * down
    from_top = -inverse.d * across - inverse.e * down
    margin_x, margin_y = layout.margin
    rows, cols = layout.level_shape
    # At least one pixel: the border is repeated outwards.
    first_row = min(max(0, math.floor(top + from_top - margin_y)), rows - 1)
    first_col = min(max(0, math.floor(left + from_left - margin_x)), cols - 1)
    stop_row = max(min(rows, math.ceil(bottom + from_top + margin_y)), first_row + 1)
    stop_col = max(min(cols, math.ceil(right + from_left + margin_x)), first_col + 1)
    return Window(first_row, first_col, stop_row - first_row, stop_col - first_col)
