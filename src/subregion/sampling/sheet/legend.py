"""Which colour stands for which class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from subregion.picture import FAINT, INK, font_for, shortened
from subregion.sampling.sheet.overlay import Color, color_of

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw as Pen

    from subregion.sampling.annotations.categories import Categories

#: Pixels from line to line.
LEGEND_LINE = 28
_SIZE, _CHIP, _SPACE = 14, 21, 24
_MOST_LINES = 3
#: What the count of those takes that have no room.
_MORE = 90


@dataclass(frozen=True, slots=True)
class Entry:
    """A class in a legend.

    Parameters
    ----------
    color : tuple of int or None
        Its colour; None for what is said of the classes that have no room.
    name, count : str
        What is written.
    left : int
        Where it begins.
    """

    color: Color | None
    name: str
    count: str
    left: int


def legend(
    categories: Categories,
    counts: Mapping[int, int],
    room: int,
    most_lines: int = _MOST_LINES,
    *,
    list_up: bool = False,
) -> list[list[Entry]]:
    """Lay out the classes that are seen, line by line.

    Parameters
    ----------
    categories : Categories
        Of the dataset; their order is kept.
    counts : Mapping of int to int
        How often each category id is seen; -1 is none.
    room : int
        Pixels of a line.
    most_lines : int
        Classes behind so many lines are only counted.
    list_up : bool
        Whether each class has a line of its own.
    """
    places = categories.id_to_idx
    listed = sorted(counts, key=lambda one: places.get(one, len(places)))
    lines: list[list[Entry]] = []
    left = 0
    for done, category_id in enumerate(listed):
        count = f"{counts[category_id]:,}"
        own = _CHIP + round(font_for(count, _SIZE).getlength(count)) + 6
        name = shortened(
            categories.id_to_node.get(category_id, "no category"),
            _SIZE,
            room - own - (0 if list_up else _MORE),
        )
        width = own + round(font_for(name, _SIZE).getlength(name))
        last = done == len(listed) - 1
        reserved = _MORE if len(lines) == most_lines and not last else 0
        if not lines or list_up or left + width + reserved > room:
            if len(lines) == most_lines:
                lines[-1] = [] if list_up else lines[-1]
                more = len(listed) - done + (1 if list_up else 0)
                lines[-1].append(Entry(None, f"and {more} more", "", 0 if list_up else left))
                break
            lines.append([])
            left = 0
        lines[-1].append(Entry(color_of(categories, category_id), name, count, left))
        left += width + _SPACE
    return lines


def draw_legend(pen: Pen, lines: list[list[Entry]], place: tuple[int, int]) -> None:
    """Draw a legend, with its first line at a place (x, y)."""
    plain = font_for("", _SIZE)
    left, top = place
    for line in lines:
        for entry in line:
            x = left + entry.left
            if entry.color is None:
                pen.text((x, top), entry.name, font=plain, fill=FAINT)
                continue
            font = font_for(entry.name, _SIZE)
            pen.rounded_rectangle((x, top + 2, x + 13, top + 15), 4, fill=entry.color)
            pen.text((x + _CHIP, top), entry.name, font=font, fill=INK)
            pen.text((x + _CHIP + font.getlength(entry.name) + 6, top), entry.count, font=plain, fill=FAINT)
        top += LEGEND_LINE
