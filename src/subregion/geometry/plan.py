"""From a region of an image to what has to be read of one of its files, and how it gets there. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

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
            Affine.scale(across, down) @ Affine.translation(-window.col, -window.row),
        )

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.height, self.width


def _scaled(size: int, scale: float) -> int:
    return max(1, math.floor(size * scale + 0.5)) if size else 0


@dataclass(frozen=True, slots=True)
class AssetRead:
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
    """

    source: Window
    level: int
    target: Window
    to_target: Affine | None


_NOTHING = AssetRead(Window(0, 0, 0, 0), 0, Window(0, 0, 0, 0), None)


def plan_asset(
    grid: OutputGrid,
    to_image: Affine,
    levels: Sequence[tuple[int, int]],
    image_shape: tuple[int, int] | None,
    filter_: Filter,
    antialias: bool,
) -> AssetRead:
    """Plan the read of one file.

    Parameters
    ----------
    grid : OutputGrid
        What is wanted.
    to_image : affine.Affine
        From pixel corners of the file's full resolution to those of the image; not singular.
    levels : sequence of (rows, columns)
        Sizes of the resolutions of the file, the full one first.
    image_shape : tuple of int or None
        Rows and columns of the image, if known: nothing is drawn outside.
    filter_ : Filter
        How to interpolate.
    antialias : bool
        Whether an overview may serve.

    Returns
    -------
    AssetRead
    """
    full_to_grid = grid.from_image @ to_image
    target = _covered(grid, to_image, levels[0], image_shape)
    if target.empty:
        return _NOTHING
    level = _level(full_to_grid, levels) if antialias else 0
    to_grid = full_to_grid @ _level_to_full(levels[0], levels[level])
    to_target = Affine.translation(-target.col, -target.row) @ to_grid
    shift = _whole_shift(to_target, target)
    rows, cols = levels[level]
    if shift is not None:
        source = Window(-shift[0], -shift[1], target.height, target.width)
        if source.inside(rows, cols):
            return AssetRead(source, level, target, None)
    source = _needed(to_target, target, (rows, cols), filter_, antialias)
    return AssetRead(source, level, target, to_target @ Affine.translation(source.col, source.row))


def _covered(
    grid: OutputGrid, to_image: Affine, shape: tuple[int, int], image_shape: tuple[int, int] | None
) -> Window:
    """Return the bounding window of the result pixels whose centres the file covers."""
    whole = Window(0, 0, grid.height, grid.width)
    covered = whole.intersection(_centres_in(grid.from_image @ to_image, shape))
    if image_shape is None:
        return covered
    image = _centres_in(grid.from_image, image_shape)
    if covers_image(to_image, shape, image_shape):
        return whole.intersection(image)
    return covered.intersection(image)


def covers_image(to_image: Affine, shape: tuple[int, int], image_shape: tuple[int, int]) -> bool:
    """Tell whether a file covers its image, up to the rounding of its size to whole pixels.

    An image of 101 pixels with a file at half the resolution has 50 or 51 pixels there; either way the
    file is meant to reach the border.
    """
    if to_image.b or to_image.d:
        return False
    left, right = sorted((to_image.c, to_image.a * shape[1] + to_image.c))
    top, bottom = sorted((to_image.f, to_image.e * shape[0] + to_image.f))
    across, down = abs(to_image.a), abs(to_image.e)
    sideways = max(abs(left), abs(right - image_shape[1]))
    upright = max(abs(top), abs(bottom - image_shape[0]))
    return bool(sideways < across * (1 + WHOLE_PIXEL) and upright < down * (1 + WHOLE_PIXEL))


def _centres_in(matrix: Affine, shape: tuple[int, int]) -> Window:
    """Return the bounding window of the pixels whose centres lie in a rectangle that was transformed."""
    xs, ys = _corners(matrix, Window(0, 0, *shape))
    left, top = _first_centre(min(xs)), _first_centre(min(ys))
    right, bottom = _last_centre(max(xs)), _last_centre(max(ys))
    return Window(top, left, max(0, bottom - top), max(0, right - left))


def _first_centre(edge: float) -> int:
    return math.ceil(edge - 0.5 - WHOLE_PIXEL)


def _last_centre(edge: float) -> int:
    return math.floor(edge - 0.5 + WHOLE_PIXEL) + 1


def _corners(matrix: Affine, window: Window) -> tuple[list[float], list[float]]:
    points = [matrix @ (x, y) for x in (window.col, window.col_stop) for y in (window.row, window.row_stop)]
    return [x for x, _ in points], [y for _, y in points]


def _level(full_to_grid: Affine, levels: Sequence[tuple[int, int]]) -> int:
    """Return the coarsest resolution that is not coarser than the result."""
    across, down = shrink_factors(full_to_grid)
    best = 0
    for number, (rows, cols) in enumerate(levels):
        if levels[0][1] / cols <= across * LEVEL_SLACK and levels[0][0] / rows <= down * LEVEL_SLACK:
            best = number
    return best


def _level_to_full(full: tuple[int, int], level: tuple[int, int]) -> Affine:
    """Return the transform from an overview to the full resolution.

    Where the size is what halving and rounding up gives, a pixel is worth exactly 2, 4, 8 ... pixels,
    and the last one may hang over; otherwise the overview is a resized copy.
    """

    def factor(whole: int, part: int) -> float:
        power = 1 << max(0, round(math.log2(whole / part)))
        return float(power) if -(-whole // power) == part else whole / part

    if full == level:
        return Affine.identity()
    return Affine.scale(factor(full[1], level[1]), factor(full[0], level[0]))


def _whole_shift(matrix: Affine, target: Window) -> tuple[int, int] | None:
    """Return rows and columns if the transform is a shift by whole pixels all over the target."""
    rows, cols = round(matrix.f), round(matrix.c)
    extent = max(target.height, target.width) + max(abs(rows), abs(cols))
    turn = max(abs(matrix.a - 1), abs(matrix.e - 1), abs(matrix.b), abs(matrix.d)) * extent
    slip = max(abs(matrix.c - cols), abs(matrix.f - rows))
    return (rows, cols) if turn + slip < WHOLE_PIXEL else None


def _needed(
    to_target: Affine, target: Window, shape: tuple[int, int], filter_: Filter, antialias: bool
) -> Window:
    """Return the source pixels that the filter looks at, inside the file."""
    xs, ys = _corners(~to_target, Window(0, 0, *target.shape))
    wide, high = widths(filter_, to_target, antialias)
    margin_x, margin_y = filter_.support * wide + 1, filter_.support * high + 1
    rows, cols = shape
    # At least one pixel: the border is repeated outwards.
    top = min(max(0, math.floor(min(ys) - margin_y)), rows - 1)
    left = min(max(0, math.floor(min(xs) - margin_x)), cols - 1)
    bottom = max(min(rows, math.ceil(max(ys) + margin_y)), top + 1)
    right = max(min(cols, math.ceil(max(xs) + margin_x)), left + 1)
    return Window(top, left, bottom - top, right - left)
