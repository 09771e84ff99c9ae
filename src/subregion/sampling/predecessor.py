"""Annotations of a sample as kwimage has them: it is imported when it is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from subregion.errors import MissingPackageError, RecordError, shown
from subregion.libraries import kwimage, require

if TYPE_CHECKING:
    from subregion.sampling.found import Found


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


def boxes_of(boxes: NDArray[np.float64]) -> Any:
    """Return boxes in the form xywh.

    Parameters
    ----------
    boxes : float64 (K, 4)
        x0, y0, x1, y1.
    """
    sizes = boxes[:, 2:] - boxes[:, :2]
    return needed("rel_boxes").Boxes(np.concatenate([boxes[:, :2], sizes], axis=1), "xywh")


def detections_of(found: Found, frame: int) -> Any:
    """Return the annotations of a frame as `kwimage.Detections`."""
    return needed("frame_dets").Detections(
        boxes=boxes_of(found.boxes[frame].xyxy),
        segmentations=segmentations_of(found, [frame]),
        keypoints=keypoints_of(found, [frame]),
        aids=found.ids[frame],
        cids=found.category_ids[frame],
        classes=found.classes,
        gid=found.image_ids[frame],
        rel_frame_index=frame,
        datakeys=["aids", "cids"],
        metakeys=["gid", "rel_frame_index"],
        checks=False,
    )


def segmentations_of(found: Found, frames: Iterable[int]) -> Any:
    """Return the outlines of annotations; None where there is none, or none is wanted."""
    wanted = "segmentation" in found.parts
    shapes = [
        _outline(entry.get("segmentation"), found.lies[frame].to_sample) if wanted else None
        for frame in frames
        for entry in (found.entries[frame] if wanted else found.ids[frame])
    ]
    return needed("rel_ssegs").PolygonList(shapes)


def _outline(segmentation: Any, to_sample: Affine) -> Any:
    if segmentation is None or (isinstance(segmentation, list | tuple) and not segmentation):
        return None
    try:
        shape = kwimage.MultiPolygon.coerce(segmentation)
    except Exception as error:  # of many kinds
        raise RecordError(f"segmentation={shown(segmentation)}: kwimage cannot read it: {error}.") from error
    return shape.warp(_matrix(to_sample))


def keypoints_of(found: Found, frames: Iterable[int]) -> Any:
    """Return the keypoints of annotations; None where there are none, or none are wanted."""
    wanted = "keypoints" in found.parts
    points = [
        _points(entry, found, found.lies[frame].to_sample) if wanted else None
        for frame in frames
        for entry in (found.entries[frame] if wanted else found.ids[frame])
    ]
    kept = needed("rel_kpts").PointsList(points)
    if found.kp_classes is not None:
        kept.meta["classes"] = found.kp_classes
    return kept


def _points(entry: Mapping[str, Any], found: Found, to_sample: Affine) -> Any:
    keypoints = entry.get("keypoints")
    if keypoints is None or (isinstance(keypoints, list | tuple) and not keypoints):
        return None
    if not isinstance(keypoints[0], Mapping):
        listed = np.asarray(keypoints, float).reshape(-1, 3)
        points = kwimage.Points(
            xy=listed[:, :2],
            visible=listed[:, 2],
            class_idxs=np.arange(len(listed)),
            classes=found.kp_classes,
        )
    else:
        points = kwimage.Points.from_coco(keypoints, classes=found.kp_classes)
    return points.warp(_matrix(to_sample))


def _matrix(to_sample: Affine) -> NDArray[np.float64]:
    return np.array(to_sample, np.float64).reshape(3, 3)
