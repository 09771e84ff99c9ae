"""A contact sheet: many samples on one picture, to look at."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from subregion.errors import ConfigError, RegionTypeError, shown
from subregion.libraries import Image, ImageDraw
from subregion.picture import ACCENT, BACKGROUND, FAINT, INK, PANEL, font_for, shortened, write
from subregion.sampling.arguments import checked_count
from subregion.sampling.sheet.cell import Cell, checked_size, draw_cell
from subregion.sampling.sheet.choice import RandomChoice
from subregion.sampling.sheet.legend import LEGEND_LINE, draw_legend, legend
from subregion.sampling.sheet.overlay import OverlayOptions

if TYPE_CHECKING:
    from PIL.Image import Image as Picture
    from PIL.ImageDraw import ImageDraw as Pen

    from subregion.sampling.sampler import CocoSampler

#: Around all, between cells, and within their panels.
_MARGIN, _GAP, _INSET = 32, 16, 10
#: The height of what is written below each picture.
_CAPTION = 44
#: Where the title, what is counted below it, the legend and, without one, the cells begin.
_TITLE, _FACTS, _LEGEND, _HEAD = 22, 56, 90, 92
#: Below a legend.
_LEGEND_GAP = 10
#: Cells, and sheets, are at least so wide that their texts have room.
_LEAST_CELL, _LEAST_SHEET = 170, 420
#: How much wider than high a sheet is to be.
_ASPECT = 1.5
_NAME_SIZE, _NOTE_SIZE = 14, 12


def contact_sheet(
    sampler: CocoSampler,
    targets: Any = None,
    n: int = 24,
    *,
    window_dims: Any = None,
    negatives: float | None = None,
    grid: bool = False,
    frames: int | None = None,
    rng: Any = None,
    size: int = 240,
    columns: int | None = None,
    title: str | None = None,
    overlay: OverlayOptions | None = None,
    **reading: Any,
) -> Picture:
    """Draw samples with their boxes, masks, keypoints and classes, a colour for each class.

    Pixels of any type and number of channels become grey or red, green and blue: channels of these names, or
    the first three. Bytes are drawn as they are, all else is stretched between its percentiles 1 and 99.
    What is no pixel is chequered. Of clips the first, the middle and the last frame are drawn.

    Parameters
    ----------
    sampler : CocoSampler
        Where samples come from.
    targets : dict, int, iterable of them, or None
        What is drawn: targets, samples that were read, or numbers of samples. None draws at random.
    n : int
        How many are drawn at random, or at most of those that are given.
    window_dims, negatives, grid, frames
        Which samples are drawn at random; see `RandomChoice`.
    rng : None, int or numpy.random.Generator
        Draws them.
    size : int
        Pixels of the longer side of each picture.
    columns : int or None
        Cells side by side; None fits a sheet that is half as wide again as high.
    title : str or None
        What is written above.
    overlay : OverlayOptions or None
        What is drawn of annotations; None is all.
    **reading
        Options of `CocoSampler.load_sample` for what was not read yet, such as ``channels`` or ``scale``.

    Returns
    -------
    PIL.Image.Image

    Raises
    ------
    SubregionError
        As for `CocoSampler.load_sample`.
    ConfigError
        If an option has no meaning, or there is nothing to draw.
    """
    size, options = checked_size(size), overlay or OverlayOptions()
    choice = RandomChoice(n, window_dims, negatives, grid, frames)
    if targets is None:
        targets = choice.targets(sampler, rng)
    elif window_dims is not None or negatives is not None or grid or frames is not None:
        raise ConfigError(
            "window_dims, negatives, grid and frames say what is drawn at random; leave out targets."
        )
    cells = []
    for sample in _samples(sampler, targets, reading):
        cells.append(draw_cell(sampler, sample, size, options))
        if len(cells) == n:
            break
    if not cells:
        raise ConfigError("targets: there is nothing to draw.")
    if title is None:
        every = len(targets) if isinstance(targets, Sequence) else len(cells)
        some = f"{len(cells):,}" if every <= len(cells) else f"{len(cells):,} of {every:,}"
        title = f"{some} sample{'' if every == 1 else 's'} of {_dataset_name(sampler)}"
    return _sheet(sampler, cells, columns, title)


def _samples(sampler: CocoSampler, targets: Any, reading: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Read what was not read yet."""
    if isinstance(targets, Mapping | int | np.integer):
        targets = [targets]
    if isinstance(targets, str) or not isinstance(targets, Iterable):
        raise RegionTypeError(f"targets={shown(targets)}: targets or samples are needed, or their numbers.")
    for each in targets:
        if isinstance(each, int | np.integer):
            yield sampler.load_item(int(each), **reading)
        elif isinstance(each, Mapping) and "im" in each:
            yield each
        else:
            yield sampler.load_sample(each, **reading)


def _sheet(sampler: CocoSampler, cells: list[Cell], columns: int | None, title: str) -> Picture:
    inner = max(max(cell.picture.width for cell in cells), _LEAST_CELL)
    width = inner + 2 * _INSET
    columns = (
        _columns(cells, width)
        if columns is None
        else min(checked_count("columns", columns, least=1), len(cells))
    )
    rows = [cells[start : start + columns] for start in range(0, len(cells), columns)]
    heights = [max(cell.picture.height for cell in row) for row in rows]
    across = max(2 * _MARGIN + columns * (width + _GAP) - _GAP, _LEAST_SHEET)
    counts: Counter[int] = sum((cell.classes for cell in cells), Counter())
    entries = legend(sampler.classes, counts, across - 2 * _MARGIN)
    head = _HEAD + LEGEND_LINE * len(entries) + (_LEGEND_GAP if entries else 0)
    down = head + sum(height + 2 * _INSET + _CAPTION + _GAP for height in heights) - _GAP + _MARGIN
    canvas = Image.new("RGB", (across, down), BACKGROUND)
    pen = ImageDraw.Draw(canvas)
    write(pen, (_MARGIN, _TITLE), shortened(title, 24, across - 2 * _MARGIN), 24, INK)
    facts = " · ".join(
        f"{count:,} {one if count == 1 else many}"
        for count, one, many in (
            (sampler.n_images, "image", "images"),
            (sampler.n_annots, "annotation", "annotations"),
            (len(sampler.class_ids), "category", "categories"),
        )
    )
    write(pen, (_MARGIN, _FACTS), facts, 14, FAINT)
    draw_legend(pen, entries, (_MARGIN, _LEGEND))
    number, top = 1, head
    for row, height in zip(rows, heights, strict=True):
        for place, cell in enumerate(row):
            left = _MARGIN + place * (width + _GAP)
            _draw_cell(canvas, pen, cell, number, (left, top, width, height))
            number += 1
        top += height + 2 * _INSET + _CAPTION + _GAP
    return canvas


def _columns(cells: list[Cell], width: int) -> int:
    """Return how many cells are side by side in a sheet of a good shape."""
    height = max(cell.picture.height for cell in cells) + 2 * _INSET + _CAPTION
    found = math.sqrt(len(cells) * _ASPECT * (height + _GAP) / (width + _GAP))
    columns = max(1, min(len(cells), round(found)))
    return math.ceil(len(cells) / math.ceil(len(cells) / columns))  # the last row as full as can be


def _draw_cell(canvas: Picture, pen: Pen, cell: Cell, number: int, place: tuple[int, int, int, int]) -> None:
    left, top, width, height = place
    pen.rounded_rectangle(
        (left, top, left + width - 1, top + height + 2 * _INSET + _CAPTION - 1), 8, fill=PANEL
    )
    picture = cell.picture
    canvas.paste(
        picture,
        (left + (width - picture.width) // 2, top + _INSET + (height - picture.height) // 2),
    )
    x, y = left + _INSET, top + _INSET + height + 9
    large, small = font_for("", _NAME_SIZE), font_for("", _NOTE_SIZE)
    room = width - 2 * _INSET
    pen.text((x, y), str(number), font=large, fill=ACCENT)
    begin = round(large.getlength(str(number))) + 8
    name = shortened(cell.name, _NAME_SIZE, room - begin)
    pen.text((x + begin, y), name, font=font_for(name, _NAME_SIZE), fill=INK)
    y += 21
    counted = small.getlength(cell.count)
    pen.text((x + room - counted, y), cell.count, font=small, fill=FAINT)
    pen.text((x, y), shortened(cell.window, _NOTE_SIZE, room - counted - 10), font=small, fill=FAINT)


def _dataset_name(sampler: CocoSampler) -> str:
    """Return what a dataset is called."""
    given = sampler.dset
    if isinstance(given, bytes):
        given = os.fsdecode(given)
    if not isinstance(given, str | os.PathLike):
        given = getattr(given, "tag", None) or getattr(given, "fpath", None)
    return os.path.basename(os.fspath(given)) if isinstance(given, str | os.PathLike) else "the dataset"
