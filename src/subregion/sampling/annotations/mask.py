"""Annotations drawn as masks."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from subregion.errors import ConfigError, shown
from subregion.libraries import coco_masks, shapely
from subregion.sampling.annotations.shapes import RunLengths, Segmentation, area_of

if TYPE_CHECKING:
    from subregion.sampling.annotations.annotations import Annotations

KINDS = ("semantic", "instance", "binary")
#: What losses of PyTorch leave out where nothing else is said.
IGNORED = -100


def draw(
    annotations: Annotations,
    kind: str = "semantic",
    *,
    background: int | None = None,
    ignore: int = IGNORED,
    boxes: bool = True,
) -> NDArray[Any]:
    """Draw annotations over each other.

    What stands for a crowd is drawn first, under all else, and then the larger before the smaller by their
    visible area, in their own order if they are equal: what is small stays on top.

    Parameters
    ----------
    annotations : Annotations
        Of one sample.
    kind : str
        ``"semantic"``: the category id of what is on top, also where that is a crowd; annotations without
        category are `ignore`. ``"instance"``: 1 more than the position of what is on top in `annotations`,
        and `ignore` for crowds. ``"binary"``: whether there is anything, crowds included.
    background : int or None
        What stands where nothing is; of ``"semantic"`` only. None is the id of the category "background", or
        0 if there is none; -1 if 0 is the id of another category.
    ignore : int
        What stands where there is something that cannot be told apart; never the background.
    boxes : bool
        Whether the box is drawn where there is no segmentation.

    Returns
    -------
    int64, as losses take it, or bool (h, w); (t, h, w) for a sample with time
    """
    if kind not in KINDS:
        raise ConfigError(f"kind={shown(kind)} must be one of {', '.join(KINDS)}.")
    if kind == "semantic":
        nothing = _background(annotations) if background is None else background
        values = np.where(annotations.category_ids < 0, ignore, annotations.category_ids)
    else:
        nothing = 0
        values = np.where(annotations.iscrowd, ignore, np.arange(1, len(annotations) + 1))
    if kind == "binary":
        values = np.ones(len(annotations), np.int64)
    count = len(annotations.frames) if annotations.is_clip else 1
    drawn = np.full((count, *annotations.shape), nothing, np.int64)
    shapes = _shapes_of(annotations, boxes)
    areas = [0.0 if shape is None else area_of(shape) for shape in shapes]
    for place in np.lexsort((np.negative(areas), ~annotations.iscrowd)).tolist():
        frame = drawn[annotations.frame_index[place] if annotations.is_clip else 0]
        (row, col), patch = _patch(shapes[place], annotations.shape)
        frame[row : row + patch.shape[0], col : col + patch.shape[1]][patch] = values[place]
    found: NDArray[Any] = drawn.astype(np.bool_) if kind == "binary" else drawn
    return found if annotations.is_clip else found[0]


def _background(annotations: Annotations) -> int:
    categories = annotations.categories
    found = categories.background_id
    return found if categories.id_to_node.get(found, "background") == "background" else -1


def masks_of(annotations: Annotations, boxes: bool = True) -> NDArray[np.bool_]:
    """Return a mask of each annotation.

    Parameters
    ----------
    annotations : Annotations
        Of one sample.
    boxes : bool
        Whether the box stands in where there is no segmentation.

    Returns
    -------
    bool (N, h, w)
    """
    masks = np.zeros((len(annotations), *annotations.shape), np.bool_)
    for place, shape in enumerate(_shapes_of(annotations, boxes)):
        masks[place] = filled(shape, annotations.shape)
    return masks


def _shapes_of(annotations: Annotations, boxes: bool) -> list[Segmentation]:
    """Return what is drawn of each annotation; None where there is nothing."""
    shapes = list(annotations.segmentations)
    for place, box in enumerate(annotations.boxes):
        if boxes and shapes[place] is None and np.isfinite(box).all():
            shapes[place] = shapely.box(*box.tolist())
    return shapes


def filled(found: Segmentation, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the pixels of a segmentation in a sample of a size.

    Polygons are filled as pycocotools does, which rounds their points to a fifth of a pixel; holes are cut
    out.
    """
    mask = np.zeros(shape, np.bool_)
    (row, col), patch = _patch(found, shape)
    mask[row : row + patch.shape[0], col : col + patch.shape[1]] = patch
    return mask


def _patch(found: Segmentation, shape: tuple[int, int]) -> tuple[tuple[int, int], NDArray[np.bool_]]:
    """Return the pixels of a segmentation within its bounds, and where these begin."""
    if isinstance(found, RunLengths):
        return (0, 0), found.to_mask()
    if found is None or found.is_empty:
        return (0, 0), np.zeros((0, 0), np.bool_)
    x0, y0, x1, y1 = found.bounds
    # A pixel more on each side: what is drawn must not depend on where its bounds are.
    col, row = max(0, math.floor(x0) - 1), max(0, math.floor(y0) - 1)
    height, width = min(shape[0], math.ceil(y1) + 1) - row, min(shape[1], math.ceil(x1) + 1) - col
    drawn = np.zeros((height, width), np.bool_)
    for polygon in shapely.get_parts(found).tolist():
        if not polygon.is_empty:
            one = _inside(polygon.exterior, row, col, drawn.shape)
            for ring in polygon.interiors:
                one &= ~_inside(ring, row, col, drawn.shape)
            drawn |= one
    return (row, col), drawn


def _inside(ring: Any, row: int, col: int, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    flat = (shapely.get_coordinates(ring)[:-1] - (col, row)).ravel().tolist()
    mask: NDArray[np.uint8] = coco_masks.decode(coco_masks.frPyObjects([flat], *shape))[..., 0]
    return mask.view(np.bool_)
