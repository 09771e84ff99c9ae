"""Which annotations a sample holds, found frame by frame."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from subregion.errors import RegionTypeError, shown
from subregion.geometry.placement import OutputGrid
from subregion.geometry.window import Window
from subregion.sampling.annotations.annotations import Annotations, FramePart
from subregion.sampling.annotations.categories import Categories
from subregion.sampling.annotations.index import AnnotationIndex
from subregion.sampling.targets.places import Places, moved_box
from subregion.sampling.targets.targets import Target


class FramePlacement(NamedTuple):
    """How a sample lies over the image of one frame.

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


def select_rows(
    index: AnnotationIndex,
    image_id: Any,
    placement: FramePlacement,
    annotation_ids: Iterable[Any] | None = None,
) -> NDArray[np.intp]:
    """Find the annotations of one image that a sample holds.

    Parameters
    ----------
    index : AnnotationIndex
        All annotations.
    image_id : hashable
        The image.
    placement : FramePlacement
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
    rows = index.overlapping(image_id, placement.around)
    to_grid = placement.to_grid
    if to_grid is None or not (to_grid.b or to_grid.d):
        return rows
    # Behind a turn the search was for the rectangle around the sample, which holds more.
    window, boxes = placement.window, index.boxes[rows]
    kept = np.zeros(len(rows), bool)
    for place, box in enumerate(boxes.tolist()):
        left, top, right, bottom = moved_box(tuple(box), to_grid)
        kept[place] = (
            left < window.col_stop and right > window.col and top < window.row_stop and bottom > window.row
        )
    return rows[kept]


class Selection:
    """The annotations that a sample holds; what is known of them is looked up when it is asked for.

    Pickled, it holds what belongs to these, and not the whole dataset.

    Parameters
    ----------
    index : AnnotationIndex
        Where they come from.
    target : Target
        What the sample is of.
    placements : tuple of FramePlacement
        How the sample lies over the image of each frame.
    rows : tuple of intp (K,)
        The rows in the index, of each frame.
    parts : frozenset of str
        What is wanted of each annotation.
    kp_classes : Categories or None
        The categories of keypoints.
    """

    def __init__(
        self,
        index: AnnotationIndex,
        target: Target,
        placements: tuple[FramePlacement, ...],
        rows: tuple[NDArray[np.intp], ...],
        parts: frozenset[str],
        kp_classes: Categories | None,
    ) -> None:
        self._index: AnnotationIndex | None = index
        self._rows = rows
        self.target = target
        self.placements = placements
        self.parts = parts
        self.kp_classes = kp_classes

    @property
    def _source(self) -> AnnotationIndex:
        """The index; a pickled selection has none, and does not need it."""
        assert self._index is not None  # noqa: S101 - for mypy
        return self._index

    @cached_property
    def annotations(self) -> Annotations:
        """All of them, in pixels of the sample."""
        frames = [
            FramePart(image_id, rows, placement.to_sample, placement.image_shape)
            for image_id, rows, placement in zip(
                self.target.image_ids, self._rows, self.placements, strict=True
            )
        ]
        return Annotations.of(self._source, frames, self.placements[0].shape, is_clip=self.target.stacked)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"annotations": self.annotations, "_index": None, "_rows": ()}

    def visible(self, threshold: float) -> Selection:
        """Return those of whose box more than a part is seen."""
        seen = self.annotations.visible > threshold
        ends = np.cumsum([len(rows) for rows in self._rows])[:-1]
        kept = np.split(seen, ends)
        rows = tuple(each[some] for each, some in zip(self._rows, kept, strict=True))
        return Selection(self._source, self.target, self.placements, rows, self.parts, self.kp_classes)

    def column(self, name: str) -> NDArray[Any]:
        """Return one array of the index for all of them; that is less than to put all together."""
        index = self._index
        if index is None:
            column: NDArray[Any] = getattr(self.annotations, name)
            return column
        rows = self._rows[0] if len(self._rows) == 1 else np.concatenate(self._rows)
        return getattr(index, name)[rows]  # type: ignore[no-any-return]

    def place_of(self, annotation_id: Any) -> int:
        """Return where an annotation is among all, frames one behind the other; -1 if it is not."""
        places = np.flatnonzero(np.concatenate(self._rows) == self._source.find(annotation_id))
        return int(places[0]) if len(places) else -1


def select_annotations(
    index: AnnotationIndex,
    places: Places,
    target: Target,
    scales: tuple[tuple[float, float], ...],
    parts: frozenset[str],
    threshold: float = 0.0,
    annotation_ids: Iterable[Any] | None = None,
    kp_classes: Categories | None = None,
) -> Selection:
    """Find what annotations a sample holds, frame by frame.

    Parameters
    ----------
    index : AnnotationIndex
        All annotations.
    places : Places
        Where images lie.
    target : Target
        What the sample is of.
    scales : tuple of (float, float)
        Pixels of the sample for each of the image or the video, along x and y, of each frame.
    parts : frozenset of str
        What is wanted of each annotation.
    threshold : float
        More than this part of a box must be seen.
    annotation_ids : iterable of int or None
        The ids to take instead of a search; those of other images are passed over.
    kp_classes : Categories or None
        The categories of keypoints.

    Raises
    ------
    UnknownAnnotationError
        If one of `annotation_ids` is none.
    """
    window = target.padded
    placements: tuple[FramePlacement, ...]
    rows: tuple[NDArray[np.intp], ...]
    if target.stacked:
        placements = tuple(
            FramePlacement(window, scale, places.image_shape(image_id), places.to_grid(image_id))
            for image_id, scale in zip(target.image_ids, scales, strict=True)
        )
    else:
        placements = (FramePlacement(window, scales[0], target.shape),)
    if annotation_ids is None and not target.stacked:  # nearly always, and then only the search takes time
        row, col, height, width = window.row, window.col, window.height, window.width
        rows = (index.overlapping(target.image_ids[0], (col, row, col + width, row + height)),)
    else:
        ids = None if annotation_ids is None else _listed(annotation_ids)
        rows = tuple(
            select_rows(index, image_id, placement, ids)
            for image_id, placement in zip(target.image_ids, placements, strict=True)
        )
    found = Selection(index, target, placements, rows, parts, kp_classes)
    return found.visible(threshold) if threshold > 0 else found


def _listed(annotation_ids: Any) -> list[Any]:
    try:
        return list(annotation_ids)
    except TypeError:
        raise RegionTypeError(f"annot_ids={shown(annotation_ids)}: a list of ids is needed.") from None
