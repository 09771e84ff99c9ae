"""The annotations of a sample, by the predecessor's names, each made when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from subregion.sampling.detections import boxes_of, detections_of, keypoints_of, segmentations_of
from subregion.sampling.lazy import LazyMapping
from subregion.sampling.selection import Boxes, Lie, boxes_in

if TYPE_CHECKING:
    from subregion.sampling.categories import Categories
    from subregion.sampling.index import AnnotationIndex

#: What an annotation can bring, beside its id and its category.
ALL_PARTS = frozenset(("boxes", "segmentation", "keypoints"))


class Found:
    """The annotations that a sample holds, frame by frame; what is known of them is looked up when asked for.

    Pickled, it holds what belongs to these, and not the whole dataset.

    Parameters
    ----------
    index : AnnotationIndex
        Where they come from.
    image_ids : tuple of hashable
        The image of each frame.
    lies : tuple of Lie
        How the sample lies over each.
    rows : tuple of intp (K,)
        The rows in the index of each.
    parts : frozenset of str
        What is wanted of each.
    """

    def __init__(
        self,
        index: AnnotationIndex,
        image_ids: tuple[Any, ...],
        lies: tuple[Lie, ...],
        rows: tuple[NDArray[np.intp], ...],
        parts: frozenset[str],
        kp_classes: Categories | None = None,
    ) -> None:
        self._index: AnnotationIndex | None = index
        self.image_ids = image_ids
        self.lies = lies
        self._rows = rows
        self.parts = parts
        self.classes = index.categories
        self.kp_classes = kp_classes

    def __len__(self) -> int:
        return len(self.lies)

    def _column(self, name: str) -> tuple[NDArray[Any], ...]:
        column = getattr(self._index, name)
        return tuple(column[rows] for rows in self._rows)

    @cached_property
    def ids(self) -> tuple[NDArray[np.int64], ...]:
        """Their ids."""
        return self._column("ids")

    @cached_property
    def category_ids(self) -> tuple[NDArray[np.int64], ...]:
        """Their categories; -1 is none."""
        return self._column("category_ids")

    @cached_property
    def track_ids(self) -> tuple[NDArray[np.int64], ...]:
        """Their tracks; -1 is none."""
        return self._column("track_ids")

    @cached_property
    def iscrowd(self) -> tuple[NDArray[np.bool_], ...]:
        """Whether each stands for many objects."""
        return self._column("iscrowd")

    @cached_property
    def boxes(self) -> tuple[Boxes, ...]:
        """Where they are in the sample, and how much of them is seen."""
        return tuple(boxes_in(*each) for each in zip(self._column("boxes"), self.lies, strict=True))

    @cached_property
    def entries(self) -> tuple[list[Mapping[str, Any]], ...]:
        """The annotations, as the dataset has them."""
        index = self._index
        assert index is not None  # noqa: S101 - for mypy
        return tuple([index.entry(int(row)) for row in rows] for rows in self._rows)

    def __getstate__(self) -> dict[str, Any]:
        kept = {name: getattr(self, name) for name in _LOOKED_UP}
        return self.__dict__ | kept | {"_index": None}

    def place_of(self, annotation_id: Any) -> int:
        """Return where an annotation is among all, frames one behind the other; -1 if it is not."""
        before = 0
        for ids in self.ids:
            found = np.flatnonzero(ids == annotation_id)
            if len(found):
                return before + int(found[0])
            before += len(ids)
        return -1


_LOOKED_UP = ("ids", "category_ids", "track_ids", "iscrowd", "boxes", "entries")


class SampleAnnotations(LazyMapping):
    """The annotations of a sample, by the predecessor's names, and as `Annotations`."""

    __slots__ = ()

    @property
    def found(self) -> Found:
        """What they are made of."""
        found: Found = self._source
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
    return np.concatenate(found.ids)


def _category_ids(found: Found) -> NDArray[np.int64]:
    return np.concatenate(found.category_ids)


def _frame_indexes(found: Found) -> NDArray[np.int64]:
    return np.repeat(np.arange(len(found)), [len(ids) for ids in found.ids])


def _frame_dets(found: Found) -> list[Any]:
    return [detections_of(found, frame) for frame in range(len(found))]


def _boxes(found: Found) -> Any:
    return boxes_of(np.concatenate([boxes.xyxy for boxes in found.boxes]))


def _segmentations(found: Found) -> Any:
    return segmentations_of(found, range(len(found)))


def _keypoints(found: Found) -> Any:
    return keypoints_of(found, range(len(found)))


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
