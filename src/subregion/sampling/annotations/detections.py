"""Annotations of a sample as objects of kwimage, which programs for the predecessor read; not clipped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from subregion.errors import RecordError, shown
from subregion.libraries import kwimage, needed
from subregion.sampling.annotations.annotations import Annotations, FramePart
from subregion.sampling.annotations.categories import Categories
from subregion.sampling.annotations.shapes import readable_keypoints, readable_segmentation

#: What an annotation can bring, beside its id and its category.
ALL_PARTS = frozenset(("boxes", "segmentation", "keypoints"))


def boxes_of(annotations: Annotations) -> Any:
    """Return boxes as `kwimage.Boxes`, in the form xywh."""
    boxes = annotations.whole_boxes
    sizes = boxes[:, 2:] - boxes[:, :2]
    return needed(kwimage, "rel_boxes").Boxes(np.concatenate([boxes[:, :2], sizes], axis=1), "xywh")


def segmentations_of(annotations: Annotations, parts: frozenset[str]) -> Any:
    """Return outlines as `kwimage.PolygonList`; None where there is none, or none is wanted."""
    package = needed(kwimage, "rel_ssegs")
    if "segmentation" not in parts:
        return package.PolygonList([None] * len(annotations))
    return package.PolygonList(_made(annotations, "segmentation", _outline))


def keypoints_of(annotations: Annotations, parts: frozenset[str], classes: Categories | None) -> Any:
    """Return keypoints as `kwimage.PointsList`; None where there are none, or none are wanted."""
    package = needed(kwimage, "rel_kpts")
    if "keypoints" not in parts:
        found = package.PointsList([None] * len(annotations))
    else:
        found = package.PointsList(_made(annotations, "keypoints", partial(_points, classes)))
    if classes is not None:
        found.meta["classes"] = classes
    return found


def detections_of(
    annotations: Annotations, parts: frozenset[str], kp_classes: Categories | None
) -> list[Any]:
    """Return the annotations of each frame as `kwimage.Detections`."""
    package = needed(kwimage, "frame_dets")
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


def _made(
    annotations: Annotations, key: str, make: Callable[[Any, FramePart, Counter[str]], Any]
) -> list[Any]:
    """Return what is made of a key of each annotation; what has no meaning is None, and noted."""
    found = []
    for place, frame in enumerate(annotations.frame_index.tolist()):
        counts = Counter[str]()
        found.append(make(annotations.entries[place].get(key), annotations.frames[frame], counts))
        if counts:
            annotations.note(place, counts)
    return found


def _outline(written: Any, part: FramePart, counts: Counter[str]) -> Any:
    written = written.tolist() if isinstance(written, np.ndarray) else written
    segmentation = readable_segmentation(written, part.image_shape, counts)
    if segmentation is None:
        return None
    try:
        shape = kwimage.MultiPolygon.coerce(segmentation, dims=part.image_shape)
        return shape.warp(_matrix(part.to_sample))
    except Exception as error:  # of many kinds
        raise RecordError(f"segmentation={shown(segmentation)}: kwimage cannot read it: {error}.") from error


def _points(classes: Categories | None, written: Any, part: FramePart, counts: Counter[str]) -> Any:
    written = written.tolist() if isinstance(written, np.ndarray) else written
    keypoints = readable_keypoints(written, counts)
    if keypoints is None:
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
