"""Annotations of a sample as objects of kwimage, as programs that were written for ndsampler read them."""

from __future__ import annotations

from typing import Any

import numpy as np
from affine import Affine

from subregion.errors import missing_package
from subregion.libraries import kwimage, require
from subregion.sampling.annotations import Annotations


def frame_detections(annotations: Annotations, number: int, classes: Any = None) -> Any:
    """Return the annotations of a frame as `kwimage.Detections`.

    Boxes, segmentations and keypoints are in pixels of the sample and not clipped.

    Parameters
    ----------
    annotations : Annotations
        Of one sample.
    number : int
        Which frame of it.
    classes : object or None
        What stands as ``meta["classes"]``; None is `Categories`.

    Raises
    ------
    MissingPackageError
        If kwimage is not installed.
    """
    _kwimage()
    some = annotations.for_frame(number)
    part = some.frames[0]
    matrix = _matrix(part.to_sample)
    classes = annotations.categories if classes is None else classes
    segmentations = [
        _moved(kwimage.Segmentation.coerce(written, dims=part.image_shape), matrix) if written else None
        for written in (entry.get("segmentation") for entry in some.entries)
    ]
    keypoints = [
        _moved(kwimage.Points.from_coco(written), matrix) if written else None
        for written in (entry.get("keypoints") for entry in some.entries)
    ]
    boxes = some.whole_boxes
    return kwimage.Detections(
        boxes=kwimage.Boxes(np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1), "xywh"),
        segmentations=kwimage.SegmentationList(segmentations),
        keypoints=kwimage.PointsList(keypoints),
        aids=some.ids.copy(),
        cids=some.category_ids.copy(),
        classes=classes,
        gid=part.image_id,
        rel_frame_index=number,
        datakeys=["aids", "cids"],
        metakeys=["gid", "rel_frame_index"],
    )


def relative(annotations: Annotations, classes: Any = None) -> dict[str, Any]:
    """Return all annotations of a sample under the names of ndsampler.

    Returns
    -------
    dict
        ``frame_dets``, one for each frame, and what is in them, frames one behind the other: ``aids``,
        ``cids``, ``rel_frame_index``, ``rel_boxes``, ``rel_ssegs``, ``rel_kpts``.
    """
    found = [frame_detections(annotations, number, classes) for number in range(len(annotations.frames))]
    order = np.argsort(annotations.frame_index, kind="stable")
    boxes = annotations.whole_boxes[order]
    return {
        "frame_dets": found,
        "aids": annotations.ids[order],
        "cids": annotations.category_ids[order],
        "rel_frame_index": annotations.frame_index[order],
        "rel_boxes": _kwimage().Boxes(
            np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1), "xywh"
        ),
        "rel_ssegs": kwimage.PolygonList([one for each in found for one in each.data["segmentations"].data]),
        "rel_kpts": kwimage.PointsList([one for each in found for one in each.data["keypoints"].data]),
    }


def _kwimage() -> Any:
    try:
        return require(kwimage)
    except ImportError as error:
        raise missing_package("frame_dets", "kwimage", "kwimage") from error


def _matrix(transform: Affine) -> Any:
    return np.array(transform).reshape(3, 3)


def _moved(found: Any, matrix: Any) -> Any:
    return found if found is None else found.warp(matrix)
