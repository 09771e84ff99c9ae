"""Annotations drawn over a picture: masks, boxes, keypoints and names, a colour for each class."""

from __future__ import annotations

import colorsys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from subregion.libraries import Image, ImageDraw, ImageFilter, shapely
from subregion.picture import font_for, shortened
from subregion.sampling.annotations.shapes import RunLengths

if TYPE_CHECKING:
    from PIL.Image import Image as Picture
    from PIL.ImageDraw import ImageDraw as Pen

    from subregion.sampling.annotations.annotations import Annotations
    from subregion.sampling.annotations.categories import Categories

Color = tuple[int, int, int]
#: Of the first classes; those behind get hues that are as far from each other as can be.
_COLORS = (
    (76, 201, 240),
    (255, 159, 67),
    (94, 224, 138),
    (255, 107, 107),
    (167, 139, 250),
    (255, 217, 61),
    (255, 121, 198),
    (61, 139, 255),
    (190, 227, 56),
    (45, 200, 180),
    (214, 150, 100),
    (240, 160, 255),
)
#: Of annotations without a category.
NO_CLASS: Color = (200, 208, 216)
_GOLDEN = 0.618033988749895
#: Lines are drawn so many times as large, and reduced: their edges are smooth then.
FINE = 3
_FILL_ALPHA, _EDGE_ALPHA, _CUT_ALPHA = 70, 235, 110
#: How wide the outline of a mask is, in fine pixels.
_EDGE = FINE + 1
#: Pictures with more annotations have no names written on them where there is no room.
_MOST_NAMES = 12
#: Boxes of more annotations have lines of one pixel, instead of two.
_MOST_THICK = 200
_NAME_SIZE = 12
#: So many names are written at most.
_ROOM = 100
#: Colours are at least so light, as they lie over pictures that may be dark.
_LEAST_LIGHT = 105


def class_color(place: int) -> Color:
    """Return the colour of the class at a position of the categories; -1 is none."""
    if place < 0:
        return NO_CLASS
    if place < len(_COLORS):
        return _COLORS[place]
    hue = (place * _GOLDEN) % 1
    red, green, blue = colorsys.hsv_to_rgb(hue, (0.85, 0.5)[place % 2], (1.0, 0.85)[place // 2 % 2])
    lack = max(0.0, _LEAST_LIGHT / 255 - _light((red, green, blue)))
    share = lack / (1 - _light((red, green, blue)))  # of white
    red, green, blue = (one + (1 - one) * share for one in (red, green, blue))
    return round(red * 255), round(green * 255), round(blue * 255)


def _light(color: tuple[float, float, float]) -> float:
    red, green, blue = color
    return 0.299 * red + 0.587 * green + 0.114 * blue


def color_of(categories: Categories, category_id: int) -> Color:
    """Return the colour of a category: the same in every drawing of a dataset."""
    return class_color(categories.id_to_idx.get(category_id, -1))


@dataclass(frozen=True, slots=True)
class OverlayOptions:
    """What is drawn of annotations.

    Parameters
    ----------
    boxes, masks, keypoints, names : bool
        Which parts.
    """

    boxes: bool = True
    masks: bool = True
    keypoints: bool = True
    names: bool = True


def draw_over(picture: Picture, annotations: Annotations, options: OverlayOptions | None = None) -> Picture:
    """Draw the annotations of one frame over a picture of it, and return that.

    Masks are tinted and outlined. A side of a box that the picture cuts off is faint; the box of a crowd is
    dashed. A keypoint is a disk, one that is hidden a ring.

    Parameters
    ----------
    picture : PIL image
        Of the sample, of any size.
    annotations : Annotations
        Of one frame.
    options : OverlayOptions or None
        What is drawn; None is all.
    """
    options = options or OverlayOptions()
    if not len(annotations) or not min(annotations.shape):
        return picture
    height, width = annotations.shape
    scale = picture.width * FINE / width, picture.height * FINE / height
    layer = Image.new("RGBA", (picture.width * FINE, picture.height * FINE), (0, 0, 0, 0))
    colors = [color_of(annotations.categories, one) for one in annotations.category_ids.tolist()]
    # What is small stays on top, as in masks.
    sizes = np.nan_to_num((annotations.boxes[:, 2:] - annotations.boxes[:, :2]).prod(axis=1), nan=np.inf)
    order = np.argsort(-sizes, kind="stable").tolist()
    if options.masks:
        shapes = annotations.segmentations
        for place in order:
            if shapes[place] is not None:
                _draw_mask(layer, shapes[place], colors[place], scale)
    pen = ImageDraw.Draw(layer)
    if options.boxes:
        line = 2 * FINE if len(annotations) <= _MOST_THICK else FINE
        for place in order:
            box = annotations.whole_boxes[place] * (scale * 2)
            if np.isfinite(box).all():
                crowd = bool(annotations.iscrowd[place])
                _draw_box(pen, box, layer.size, (colors[place], line), crowd)
    if options.keypoints:
        for points, color in zip(annotations.keypoints, colors, strict=True):
            if points is not None:
                inside = points.inside(height, width)
                _draw_points(pen, points.xy[inside] * scale, points.visibility[inside].tolist(), color)
    found = Image.alpha_composite(
        picture.convert("RGBA"), layer.resize(picture.size, Image.Resampling.BOX)
    ).convert("RGB")
    if options.names:
        boxes = annotations.boxes * (np.array(scale * 2) / FINE)
        _draw_names(found, boxes, annotations.category_names, colors, order[::-1])
    return found


def _draw_mask(layer: Picture, shape: Any, color: Color, scale: tuple[float, float]) -> None:
    """Tint a segmentation, and outline it."""
    found = _pixels_of(shape, scale) if isinstance(shape, RunLengths) else _inside_of(shape, scale)
    if found is None:
        return
    (left, top), mask = found
    inner = np.asarray(mask.filter(ImageFilter.MinFilter(2 * _EDGE + 1)))
    alpha = np.where(inner > 0, np.uint8(_FILL_ALPHA), np.uint8(_EDGE_ALPHA)) * (np.asarray(mask) > 0)
    tint = Image.new("RGBA", mask.size, (*color, 255))
    tint.putalpha(Image.fromarray(alpha.astype(np.uint8)))
    layer.alpha_composite(tint, (max(0, left), max(0, top)), (max(0, -left), max(0, -top)))


def _inside_of(shape: Any, scale: tuple[float, float]) -> tuple[tuple[int, int], Picture] | None:
    """Return what is inside polygons, and where that begins; around it is a margin that is empty."""
    if shape.is_empty:
        return None
    low, high = np.reshape(shape.bounds, (2, 2)) * scale
    begin, end = np.floor(low).astype(int) - _EDGE, np.ceil(high).astype(int) + _EDGE + 1
    mask = Image.new("L", tuple((end - begin).tolist()), 0)
    pen = ImageDraw.Draw(mask)
    for polygon in shapely.get_parts(shape).tolist():
        if not polygon.is_empty:
            for number, ring in enumerate((polygon.exterior, *polygon.interiors)):
                points = shapely.get_coordinates(ring) * scale - begin
                pen.polygon([tuple(point) for point in points.tolist()], fill=0 if number else 255)
    return (int(begin[0]), int(begin[1])), mask


def _pixels_of(shape: RunLengths, scale: tuple[float, float]) -> tuple[tuple[int, int], Picture] | None:
    """Return the pixels of run lengths in the same way."""
    pixels = shape.to_mask()
    rows, cols = np.flatnonzero(pixels.any(axis=1)), np.flatnonzero(pixels.any(axis=0))
    if not len(rows):
        return None
    low, high = np.array([cols[0], rows[0]]), np.array([cols[-1], rows[-1]]) + 1
    begin, end = np.rint(low * scale).astype(int), np.rint(high * scale).astype(int)
    part = np.ascontiguousarray(pixels[low[1] : high[1], low[0] : high[0]]).view(np.uint8) * np.uint8(255)
    size = np.maximum(end - begin, 1)
    mask = Image.new("L", tuple((size + 2 * _EDGE).tolist()), 0)
    mask.paste(Image.fromarray(part).resize(tuple(size.tolist()), Image.Resampling.NEAREST), (_EDGE, _EDGE))
    return (int(begin[0]) - _EDGE, int(begin[1]) - _EDGE), mask


def _draw_box(
    pen: Pen, box: NDArray[np.float64], size: tuple[int, int], style: tuple[Color, int], crowd: bool
) -> None:
    """Draw a box with lines inside it, of a colour and a width."""
    color, line = style
    x0, y0, x1, y1 = box.tolist()
    left, top = max(0.0, x0), max(0.0, y0)
    right, bottom = min(float(size[0]), x1), min(float(size[1]), y1)
    right, bottom = max(right, left + line), max(bottom, top + line)
    sides = (
        ((left, top, right, top + line), y0 < 0),
        ((left, bottom - line, right, bottom), y1 > size[1]),
        ((left, top, left + line, bottom), x0 < 0),
        ((right - line, top, right, bottom), x1 > size[0]),
    )
    for side, cut in sorted(sides, key=lambda one: not one[1]):
        fill = (*color, _CUT_ALPHA if cut else 255)
        for part in _dashes(side) if crowd else (side,):
            a, b, c, d = (round(edge) for edge in part)
            pen.rectangle((a, b, c - 1, d - 1), fill=fill)


def _dashes(side: tuple[float, float, float, float]) -> Iterable[tuple[float, float, float, float]]:
    x0, y0, x1, y1 = side
    dash = 6.0 * FINE
    across = x1 - x0 > y1 - y0
    begin, end = (x0, x1) if across else (y0, y1)
    for start in np.arange(begin, end, dash * 1.7).tolist():
        stop = min(end, start + dash)
        yield (start, y0, stop, y1) if across else (x0, start, x1, stop)


def _draw_points(pen: Pen, points: NDArray[np.float64], visibility: Sequence[int], color: Color) -> None:
    for (x, y), seen in zip(points.tolist(), visibility, strict=True):
        outer, inner = 4.0 * FINE, 2.7 * FINE
        pen.ellipse((x - outer, y - outer, x + outer, y + outer), fill=(15, 18, 22, 230))
        pen.ellipse((x - inner, y - inner, x + inner, y + inner), fill=(*color, 255))
        if seen == 1:
            hole = 1.4 * FINE
            pen.ellipse((x - hole, y - hole, x + hole, y + hole), fill=(15, 18, 22, 255))


def ink_on(color: Color) -> str:
    """Return the colour of text that can be read on another."""
    return "#101318" if _light(color) > 110 else "#ffffff"


Rect = tuple[float, float, float, float]


def _draw_names(
    picture: Picture,
    boxes: NDArray[np.float64],
    names: Sequence[str | None],
    colors: Sequence[Color],
    order: Sequence[int],
) -> None:
    """Write the names of classes at their boxes, where they hide each other least."""
    pen, widest = ImageDraw.Draw(picture), min(picture.width - 10, max(80, picture.width // 2))
    taken: list[Rect] = []
    for place in order[: 8 * _ROOM]:
        name = names[place]
        if name is None or not np.isfinite(boxes[place]).all():
            continue
        text = shortened(name, _NAME_SIZE, widest)
        font = font_for(text, _NAME_SIZE)
        size = font.getlength(text) + 8, 16.0
        spots = _spots(boxes[place].tolist(), size, picture.size)
        hidden = [sum(_common(spot, other) for other in taken) for spot in spots]
        best = int(np.argmin(hidden))
        if hidden[best] > 0 and len(names) > _MOST_NAMES:
            continue
        if len(taken) == _ROOM:
            break
        x0, y0, x1, y1 = spots[best]
        taken.append(spots[best])
        pen.rounded_rectangle((x0, y0, x1 - 1, y1 - 1), 3, fill=colors[place])
        pen.text(((x0 + x1) / 2, (y0 + y1) / 2), text, font=font, fill=ink_on(colors[place]), anchor="mm")


def _spots(box: list[float], size: tuple[float, float], within: tuple[int, int]) -> list[Rect]:
    """Return where a name may stand: above its box, below, or inside."""
    x0, y0, x1, y1 = box
    width, height = size
    corners = (
        (x0, y0 - height),
        (x1 - width, y0 - height),
        (x0, y1),
        (x1 - width, y1),
        (x0, y0),
        (x0, y1 - height),
        (x1, y0),
        (x0 - width, y0),
    )
    fit = [(x, y) for x, y in corners if 0 <= y <= within[1] - height]
    found = []
    for x, y in fit or [(x0, y0)]:
        left = float(round(min(max(0.0, x), within[0] - width)))
        top = float(round(min(max(0.0, y), within[1] - height)))
        found.append((left, top, left + width, top + height))
    return found


def _common(one: Rect, other: Rect) -> float:
    across = min(one[2], other[2]) - max(one[0], other[0])
    down = min(one[3], other[3]) - max(one[1], other[1])
    return across * down if across > 0 and down > 0 else 0.0
