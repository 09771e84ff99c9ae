"""Which annotations of an image a sample holds, where in it, and how much of each is seen. Arrays, no I/O."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from subregion.geometry.window import Window
from subregion.sampling.places import moved_box

if TYPE_CHECKING:
    from subregion.sampling.index import AnnotationIndex


@dataclass(frozen=True, slots=True)
class Lie:
    """How a sample lies over one image.

    Parameters
    ----------
    window : Window
        What is read, in pixels of the image, or of its video.
    scale : tuple of float
        Pixels of the sample for each of these, along x and y.
    image_shape : tuple of int
        Rows and columns of the image.
    to_grid : affine.Affine or None
        From the image to its video; None if pixels are those of the image.
    """

    window: Window
    scale: tuple[float, float]
    image_shape: tuple[int, int]
    to_grid: Affine | None = None

    @property
    def to_sample(self) -> Affine:
        """From pixel corners of the image to those of the sample."""
        (across, down), window = self.scale, self.window
        matrix = Affine(across, 0.0, -window.col * across, 0.0, down, -window.row * down)
        return matrix if self.to_grid is None else matrix @ self.to_grid

    @property
    def turned(self) -> bool:
        """Whether rows of the sample are no rows of the image."""
        return self.to_grid is not None and bool(self.to_grid.b or self.to_grid.d)

    @property
    def around(self) -> tuple[float, float, float, float]:
        """The rectangle of the image that the sample lies in: x0, y0, x1, y1."""
        window = self.window
        seen = window.col, window.row, window.col + window.width, window.row + window.height
        return seen if self.to_grid is None else moved_box(seen, ~self.to_grid)

    @property
    def shape(self) -> tuple[float, float]:
        """Rows and columns of the sample, before they are rounded."""
        return self.window.height * self.scale[1], self.window.width * self.scale[0]


class Boxes(NamedTuple):
    """Boxes in a sample.

    Parameters
    ----------
    xyxy : float64 (K, 4)
        x0, y0, x1, y1 in pixels of the sample, not clipped; NaN where there is none.
    visible : float64 (K,)
        Which part of each is inside the sample, and inside the image.
    """

    xyxy: NDArray[np.float64]
    visible: NDArray[np.float64]


def select(
    index: AnnotationIndex,
    image_id: Any,
    lie: Lie,
    threshold: float = 0.0,
    annotation_ids: Iterable[Any] | None = None,
) -> NDArray[np.intp]:
    """Find the annotations of an image that a sample holds.

    Parameters
    ----------
    index : AnnotationIndex
        All annotations.
    image_id : hashable
        The image.
    lie : Lie
        How the sample lies over it.
    threshold : float
        More than this part of a box must be seen.
    annotation_ids : iterable of int or None
        The ids to take instead of a search; those of other images are passed over.

    Returns
    -------
    intp (K,)
        The rows of those whose box shares more than its border with the sample, in the order of their ids.
    """
    if annotation_ids is None:
        rows = index.overlapping(image_id, lie.around)
    else:
        own = index.rows_of(image_id)
        found = {index.find(annotation_id) for annotation_id in annotation_ids}
        rows = np.array(sorted(row for row in found if own.start <= row < own.stop), np.intp)
    if threshold > 0:
        return rows[boxes_in(index.boxes[rows], lie).visible > threshold]
    if annotation_ids is None and lie.turned:  # the search was for the rectangle around the sample
        height, width = lie.shape
        boxes = boxes_in(index.boxes[rows], lie).xyxy
        return rows[((boxes[:, :2] < (width, height)) & (boxes[:, 2:] > 0)).all(axis=1)]
    return rows


def boxes_in(boxes: NDArray[np.float64], lie: Lie) -> Boxes:
    """Tell where boxes of an image are in a sample, and how much of them is seen.

    Parameters
    ----------
    boxes : float64 (K, 4)
        x0, y0, x1, y1 in pixels of the image.
    lie : Lie
        How the sample lies over it.
    """
    to_sample, (height, width) = lie.to_sample, lie.shape
    xyxy = moved_boxes(boxes, to_sample)
    image = moved_box((0.0, 0.0, lie.image_shape[1], lie.image_shape[0]), to_sample)
    low = np.maximum(xyxy[:, :2], (max(0.0, image[0]), max(0.0, image[1])))
    high = np.minimum(xyxy[:, 2:], (min(width, image[2]), min(height, image[3])))
    inner, whole = np.maximum(high - low, 0).prod(axis=1), (xyxy[:, 2:] - xyxy[:, :2]).prod(axis=1)
    area = whole > 0
    visible = inner / np.where(area, whole, 1)
    if not area.all():  # a box without area is seen where it is inside
        visible = np.where(area, visible, (low <= high).all(axis=1))
    return Boxes(xyxy, visible)


def moved_boxes(boxes: NDArray[np.float64], matrix: Affine) -> NDArray[np.float64]:
    """Return the rectangles around boxes that were transformed.

    Parameters
    ----------
    boxes : float64 (K, 4)
        x0, y0, x1, y1.
    matrix : affine.Affine
        The transform.
    """
    a, b, c, d, e, f = matrix[:6]
    if not (b or d) and a > 0 and e > 0:
        return np.asarray(boxes * (a, e, a, e) + (c, f, c, f))
    x, y = boxes[:, [0, 2, 0, 2]], boxes[:, [1, 1, 3, 3]]
    across, down = a * x + b * y + c, d * x + e * y + f
    return np.stack([across.min(1), down.min(1), across.max(1), down.max(1)], axis=1)
