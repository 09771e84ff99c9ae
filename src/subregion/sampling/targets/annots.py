"""The annotations of a sample by the predecessor's names, each made when it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subregion.sampling.annotations.annotations import Annotations
from subregion.sampling.annotations.detections import boxes_of, detections_of, keypoints_of, segmentations_of
from subregion.sampling.targets.lazymapping import LazyMapping
from subregion.sampling.targets.selection import Selection


class SampleAnnotations(LazyMapping):
    """The annotations of a sample, by the predecessor's names, and as `Annotations`."""

    __slots__ = ()

    @property
    def annotations(self) -> Annotations:
        """All of them, with what can be made of them: masks, COCO, tensors."""
        annotations: Annotations = self._source.annotations
        return annotations


def annots_of(selection: Selection, legacy: bool) -> SampleAnnotations:
    """Return annotations by the predecessor's names.

    Parameters
    ----------
    selection : Selection
        The annotations.
    legacy : bool
        Whether there is more than ``frame_dets``.
    """
    return SampleAnnotations(selection, _ALL if legacy else _FRAMES)


def _ids(selection: Selection) -> NDArray[np.int64]:
    return selection.column("ids")


def _category_ids(selection: Selection) -> NDArray[np.int64]:
    return selection.column("category_ids")


def _frame_indexes(selection: Selection) -> NDArray[np.int64]:
    return selection.annotations.frame_index


def _boxes(selection: Selection) -> Any:
    return boxes_of(selection.annotations)


def _segmentations(selection: Selection) -> Any:
    return segmentations_of(selection.annotations, selection.parts)


def _keypoints(selection: Selection) -> Any:
    return keypoints_of(selection.annotations, selection.parts, selection.kp_classes)


def _frame_dets(selection: Selection) -> list[Any]:
    return detections_of(selection.annotations, selection.parts, selection.kp_classes)


_FRAMES: dict[str, Callable[[Selection], Any]] = {"frame_dets": _frame_dets}
_ALL: dict[str, Callable[[Selection], Any]] = {
    "aids": _ids,
    "cids": _category_ids,
    "rel_frame_index": _frame_indexes,
    "rel_boxes": _boxes,
    "rel_ssegs": _segmentations,
    "rel_kpts": _keypoints,
    **_FRAMES,
}
