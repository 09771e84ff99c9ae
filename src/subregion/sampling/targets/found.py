"""The annotations of a sample, by the predecessor's names, each made when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subregion.errors import RegionTypeError, shown
from subregion.sampling.annotations.annotations import Annotations, FramePart
from subregion.sampling.annotations.categories import Categories
from subregion.sampling.annotations.detections import boxes_of, detections_of, keypoints_of, segmentations_of
from subregion.sampling.annotations.index import AnnotationIndex
from subregion.sampling.annotations.lazy import LazyMapping
from subregion.sampling.targets.pixels import Pixels
from subregion.sampling.targets.places import Places
from subregion.sampling.targets.selection import Lie, select
from subregion.sampling.targets.targets import Target


class Found:
    """The annotations that a sample holds; what is known of them is looked up when it is asked for.

    Pickled, it holds what belongs to these, and not the whole dataset.

    Parameters
    ----------
    index : AnnotationIndex
        Where they come from.
    target : Target
        What the sample is of.
    lies : tuple of Lie
        How the sample lies over the image of each frame.
    rows : tuple of intp (K,)
        The rows in the index, of each frame.
    parts : frozenset of str
        What is wanted of each annotation.
    """

    def __init__(
        self,
        index: AnnotationIndex,
        target: Target,
        lies: tuple[Lie, ...],
        rows: tuple[NDArray[np.intp], ...],
        parts: frozenset[str],
    ) -> None:
        self._index: AnnotationIndex | None = index
        self._rows = rows
        self.target = target
        self.lies = lies
        self.parts = parts
        self.kp_classes: Categories | None = None

    @cached_property
    def annotations(self) -> Annotations:
        """All of them, in pixels of the sample."""
        index = self._index
        assert index is not None  # noqa: S101 - for mypy
        frames = [
            FramePart(image_id, rows, lie.to_sample, lie.image_shape)
            for image_id, rows, lie in zip(self.target.image_ids, self._rows, self.lies, strict=True)
        ]
        return Annotations.of(index, frames, self.lies[0].shape, is_clip=self.target.stacked)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"annotations": self.annotations, "_index": None, "_rows": ()}

    def only(self, threshold: float) -> Found:
        """Return those of whose box more than a part is seen."""
        index = self._index
        assert index is not None  # noqa: S101 - for mypy
        seen = self.annotations.visible > threshold
        ends = np.cumsum([len(rows) for rows in self._rows])[:-1]
        kept = np.split(seen, ends)
        rows = tuple(each[some] for each, some in zip(self._rows, kept, strict=True))
        return Found(index, self.target, self.lies, rows, self.parts)

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
        index = self._index
        assert index is not None  # noqa: S101 - for mypy
        places = np.flatnonzero(np.concatenate(self._rows) == index.find(annotation_id))
        return int(places[0]) if len(places) else -1


def find_annotations(
    index: AnnotationIndex,
    places: Places,
    target: Target,
    pixels: Pixels,
    parts: frozenset[str],
    threshold: float = 0.0,
    annotation_ids: Iterable[Any] | None = None,
) -> Found:
    """Find what annotations a sample holds, frame by frame.

    Parameters
    ----------
    index : AnnotationIndex
        All annotations.
    places : Places
        Where images lie.
    target : Target
        What the sample is of.
    pixels : Pixels
        How it was read.
    parts : frozenset of str
        What is wanted of each annotation.
    threshold : float
        More than this part of a box must be seen.
    annotation_ids : iterable of int or None
        The ids to take instead of a search; those of other images are passed over.
    """
    window = target.padded
    lies: tuple[Lie, ...]
    rows: tuple[NDArray[np.intp], ...]
    if not target.stacked:
        lies = (Lie(window, pixels.scales[0], target.shape),)
        if annotation_ids is None:  # nearly always, and then a search is all that takes time
            row, col, height, width = window.row, window.col, window.height, window.width
            rows = (index.overlapping(target.image_ids[0], (col, row, col + width, row + height)),)
            found = Found(index, target, lies, rows, parts)
            return found.only(threshold) if threshold > 0 else found
    else:
        lies = tuple(
            Lie(window, scale, places.image_shape(image_id), places.to_grid(image_id))
            for image_id, scale in zip(target.image_ids, pixels.scales, strict=True)
        )
    ids = None if annotation_ids is None else _listed(annotation_ids)
    rows = tuple([select(index, image_id, lie, ids) for image_id, lie in zip(target.image_ids, lies)])  # noqa: B905
    found = Found(index, target, lies, rows, parts)
    return found.only(threshold) if threshold > 0 else found


def _listed(annotation_ids: Any) -> list[Any]:
    try:
        return list(annotation_ids)
    except TypeError:
        raise RegionTypeError(f"annot_ids={shown(annotation_ids)}: a list of ids is needed.") from None


class SampleAnnotations(LazyMapping):
    """The annotations of a sample, by the predecessor's names, and as `Annotations`."""

    __slots__ = ()

    @property
    def annotations(self) -> Annotations:
        """All of them, with what can be made of them: masks, COCO, tensors."""
        found: Annotations = self._source.annotations
        return found


def annots_of(found: Found, legacy: bool) -> SampleAnnotations:
    """Return annotations by the predecessor's names.

    Parameters
    ----------
    found : Found
        The annotations.
    legacy : bool
        Whether there is more than ``frame_dets``.
    """
    return SampleAnnotations(found, _ALL if legacy else _FRAMES)


def _ids(found: Found) -> NDArray[np.int64]:
    return found.column("ids")


def _category_ids(found: Found) -> NDArray[np.int64]:
    return found.column("category_ids")


def _frame_indexes(found: Found) -> NDArray[np.int64]:
    return found.annotations.frame_index


def _boxes(found: Found) -> Any:
    return boxes_of(found.annotations)


def _segmentations(found: Found) -> Any:
    return segmentations_of(found.annotations, found.parts)


def _keypoints(found: Found) -> Any:
    return keypoints_of(found.annotations, found.parts, found.kp_classes)


def _frame_dets(found: Found) -> list[Any]:
    return detections_of(found.annotations, found.parts, found.kp_classes)


_FRAMES: dict[str, Callable[[Found], Any]] = {"frame_dets": _frame_dets}
_ALL: dict[str, Callable[[Found], Any]] = {
    "aids": _ids,
    "cids": _category_ids,
    "rel_frame_index": _frame_indexes,
    "rel_boxes": _boxes,
    "rel_ssegs": _segmentations,
    "rel_kpts": _keypoints,
    **_FRAMES,
}
