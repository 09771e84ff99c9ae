"""Which annotations of an image a sample holds. Arrays, no I/O."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from subregion.geometry.placement import OutputGrid
from subregion.geometry.window import Window
from subregion.sampling.targets.places import moved_box

if TYPE_CHECKING:
    from subregion.sampling.annotations.index import AnnotationIndex


class Lie(NamedTuple):
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
    def around(self) -> tuple[float, float, float, float]:
        """The rectangle of the image that the sample lies in: x0, y0, x1, y1."""
        window = self.window
        seen = window.col, window.row, window.col + window.width, window.row + window.height
        return seen if self.to_grid is None else moved_box(seen, ~self.to_grid)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the sample."""
        if self.scale == (1, 1):
            return self.window.shape
        return OutputGrid.of(self.window, (self.scale[1], self.scale[0])).shape


def select(
    index: AnnotationIndex, image_id: Any, lie: Lie, annotation_ids: Iterable[Any] | None = None
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
    annotation_ids : iterable of int or None
        The ids to take instead of a search; those of other images are passed over.

    Returns
    -------
    intp (K,)
        The rows of those whose box shares more than its border with the sample, in the order of their ids.
    """
    if annotation_ids is not None:
        own = index.rows_of(image_id)
        found = {index.find(annotation_id) for annotation_id in annotation_ids}
        return np.array(sorted(row for row in found if own.start <= row < own.stop), np.intp)
    rows = index.overlapping(image_id, lie.around)
    to_grid = lie.to_grid
    if to_grid is None or not (to_grid.b or to_grid.d):
        return rows
    # Behind a turn the search was for the rectangle around the sample, which holds more.
    window, boxes = lie.window, index.boxes[rows]
    kept = np.zeros(len(rows), bool)
    for place, box in enumerate(boxes.tolist()):
        left, top, right, bottom = moved_box(tuple(box), to_grid)
        kept[place] = (
            left < window.col_stop and right > window.col and top < window.row_stop and bottom > window.row
        )
    return rows[kept]
