"""Annotations of a sample as objects of kwimage, which programs for the predecessor read; not clipped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from subregion.errors import RecordError, missing_package, shown
from subregion.libraries import kwimage, require
from subregion.sampling.annotations.annotations import Annotations, FramePart
from subregion.sampling.annotations.categories import Categories

#: What an annotation can bring, beside its id and its category.
ALL_PARTS = frozenset(("boxes", "segmentation", "keypoints"))


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
        raise missing_package(what, "kwimage", "kwimage") from error


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
        [_outline(entry.get("segmentation"), part) for entry, part in _each(annotations)]
    )


def keypoints_of(annotations: Annotations, parts: frozenset[str], classes: Categories | None) -> Any:
    """Return keypoints as `kwimage.PointsList`; None where there are none, or none are wanted."""
    package = needed("rel_kpts")
    if "keypoints" not in parts:
        found = package.PointsList([None] * len(annotations))
    else:
        found = package.PointsList(
            [_points(entry.get("keypoints"), classes, part) for entry, part in _each(annotations)]
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


def relative(annotations: Annotations) -> dict[str, Any]:
    """Return all annotations of a sample under the names of the predecessor, at once.

    Returns
    -------
    dict
        ``frame_dets``, one for each frame, and what is in them, frames one behind the other: ``aids``,
        ``cids``, ``rel_frame_index``, ``rel_boxes``, ``rel_ssegs``, ``rel_kpts``.
    """
    classes = annotations.keypoint_categories or None
    return {
        "frame_dets": detections_of(annotations, ALL_PARTS, classes),
        "aids": annotations.ids,
        "cids": annotations.category_ids,
        "rel_frame_index": annotations.frame_index,
        "rel_boxes": boxes_of(annotations),
        "rel_ssegs": segmentations_of(annotations, ALL_PARTS),
        "rel_kpts": keypoints_of(annotations, ALL_PARTS, classes),
    }


def _each(annotations: Annotations) -> list[tuple[Mapping[str, Any], FramePart]]:
    frames = annotations.frame_index.tolist()
    return [
        (entry, annotations.frames[frame]) for entry, frame in zip(annotations.entries, frames, strict=True)
    ]


def _outline(segmentation: Any, part: FramePart) -> Any:
    if isinstance(segmentation, np.ndarray):
        segmentation = segmentation.tolist()
    if not segmentation:
        return None
    try:
        shape = kwimage.MultiPolygon.coerce(segmentation, dims=part.image_shape)
        return shape.warp(_matrix(part.to_sample))
    except Exception as error:  # of many kinds
        raise RecordError(f"segmentation={shown(segmentation)}: kwimage cannot read it: {error}.") from error


def _points(keypoints: Any, classes: Categories | None, part: FramePart) -> Any:
    if isinstance(keypoints, np.ndarray):
        keypoints = keypoints.tolist()
    if not keypoints:
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
        return points.warp(_matrix(part.to_sample))
    except Exception as error:  # of many kinds
        raise RecordError(f"keypoints={shown(keypoints)}: kwimage cannot read them: {error}.") from error


def _matrix(to_sample: Affine) -> NDArray[np.float64]:
    return np.array(to_sample, np.float64).reshape(3, 3)
