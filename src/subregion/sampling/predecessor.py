"""Annotations of a sample as objects of kwimage, which programs for the predecessor read; not clipped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from subregion.errors import MissingPackageError, RecordError, shown
from subregion.libraries import kwimage, require
from subregion.sampling.annotations import Annotations
from subregion.sampling.categories import Categories


def needed(what: str) -> Any:
    """Return kwimage.

    Raises
    ------
    MissingPackageError
        If it is not installed.
    """
    try:
        return require(kwimage)
    except ImportError as error:
        raise MissingPackageError(f"{what} needs kwimage: pip install kwimage.") from error


def boxes_of(annotations: Annotations) -> Any:
    """Return boxes as `kwimage.Boxes`, in the form xywh."""
    boxes = annotations.whole_boxes
    sizes = boxes[:, 2:] - boxes[:, :2]
    return needed("rel_boxes").Boxes(np.concatenate([boxes[:, :2], sizes], axis=1), "xywh")


def segmentations_of(annotations: Annotations, parts: frozenset[str]) -> Any:
    """Return outlines as `kwimage.PolygonList`; None where there is none, or none is wanted."""
    package = needed("rel_ssegs")
    if "segmentation" not in parts:
        return package.PolygonList([None] * len(annotations))
    return package.PolygonList(
        [_outline(entry.get("segmentation"), matrix) for entry, matrix in _each(annotations)]
    )


def keypoints_of(annotations: Annotations, parts: frozenset[str], classes: Categories | None) -> Any:
    """Return keypoints as `kwimage.PointsList`; None where there are none, or none are wanted."""
    package = needed("rel_kpts")
    if "keypoints" not in parts:
        found = package.PointsList([None] * len(annotations))
    else:
        found = package.PointsList(
            [_points(entry.get("keypoints"), classes, matrix) for entry, matrix in _each(annotations)]
        )
    if classes is not None:
        found.meta["classes"] = classes
    return found


def detections_of(
    annotations: Annotations, parts: frozenset[str], kp_classes: Categories | None
) -> list[Any]:
    """Return the annotations of each frame as `kwimage.Detections`."""
    package = needed("frame_dets")
    found = []
    for number, part in enumerate(annotations.frames):
        some = annotations.for_frame(number)
        found.append(
            package.Detections(
                boxes=boxes_of(some),
                segmentations=segmentations_of(some, parts),
                keypoints=keypoints_of(some, parts, kp_classes),
                aids=some.ids,
                cids=some.category_ids,
                classes=annotations.categories,
                gid=part.image_id,
                rel_frame_index=number,
                datakeys=["aids", "cids"],
                metakeys=["gid", "rel_frame_index"],
                checks=False,
            )
        )
    return found


def _each(annotations: Annotations) -> list[tuple[Mapping[str, Any], NDArray[np.float64]]]:
    matrices = [_matrix(part.to_sample) for part in annotations.frames]
    frames = annotations.frame_index.tolist()
    return [(entry, matrices[frame]) for entry, frame in zip(annotations.entries, frames, strict=True)]


def _outline(segmentation: Any, matrix: NDArray[np.float64]) -> Any:
    if segmentation is None or (isinstance(segmentation, list | tuple) and not segmentation):
        return None
    try:
        return kwimage.MultiPolygon.coerce(segmentation).warp(matrix)
    except Exception as error:  # of many kinds
        raise RecordError(f"segmentation={shown(segmentation)}: kwimage cannot read it: {error}.") from error


def _points(keypoints: Any, classes: Categories | None, matrix: NDArray[np.float64]) -> Any:
    if keypoints is None or (isinstance(keypoints, list | tuple) and not keypoints):
        return None
    try:
        if isinstance(keypoints[0], Mapping):
            points = kwimage.Points.from_coco(keypoints, classes=classes)
        else:
            listed = np.asarray(keypoints, float).reshape(-1, 3)
            points = kwimage.Points(
                xy=listed[:, :2],
                visible=listed[:, 2].astype(int),
                class_idxs=np.arange(len(listed)),
                classes=classes,
            )
        return points.warp(matrix)
    except Exception as error:  # of many kinds
        raise RecordError(f"keypoints={shown(keypoints)}: kwimage cannot read them: {error}.") from error


def _matrix(to_sample: Affine) -> NDArray[np.float64]:
    return np.array(to_sample, np.float64).reshape(3, 3)
