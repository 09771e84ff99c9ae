"""Annotations of a sample in the forms of others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from subregion.libraries import needed, require, shapely, torch, torchvision
from subregion.sampling.annotations.mask import filled, masks_of
from subregion.sampling.annotations.shapes import RunLengths, Segmentation, area_of

if TYPE_CHECKING:
    from subregion.sampling.annotations.annotations import Annotations


def to_coco(annotations: Annotations) -> list[dict[str, Any]]:
    """Return annotations as COCO writes them, in pixels of the sample.

    Boxes and segmentations are those that are clipped. ``"area"`` is that of the segmentation, else of the
    box; polygons with holes are written as masks, because COCO has no other form for them. A sample with time
    says by ``"frame_index"`` to which frame each belongs. Keys without value are left out.

    Returns
    -------
    list of dict
        Nothing in them but what JSON has.
    """
    found = []
    height, width = annotations.shape
    areas = areas_of(annotations)
    for place, (segmentation, keypoints) in enumerate(
        zip(annotations.segmentations, annotations.keypoints, strict=True)
    ):
        frame = int(annotations.frame_index[place])
        entry: dict[str, Any] = {
            "id": int(annotations.ids[place]),
            "image_id": annotations.frames[frame].image_id,
            "iscrowd": int(annotations.iscrowd[place]),
        }
        if annotations.category_ids[place] >= 0:
            entry["category_id"] = int(annotations.category_ids[place])
        if annotations.track_ids[place] >= 0:
            entry["track_id"] = int(annotations.track_ids[place])
        if annotations.is_clip:
            entry["frame_index"] = frame
        box = annotations.xywh[place]
        if np.isfinite(box).all():
            entry["bbox"] = box.tolist()
        if segmentation is not None:
            entry["segmentation"] = _written(segmentation, height, width)
        if np.isfinite(areas[place]):
            entry["area"] = float(areas[place])
        if keypoints is not None:
            entry["keypoints"] = keypoints.to_coco()
            entry["num_keypoints"] = int(np.count_nonzero(keypoints.visibility))
        found.append(entry)
    return found


def areas_of(annotations: Annotations) -> NDArray[np.float64]:
    """Return the visible area of each annotation, in pixels of the sample: of its segmentation, else box."""
    found: NDArray[np.float64] = annotations.xywh[:, 2:].prod(axis=1)
    for place, segmentation in enumerate(annotations.segmentations):
        if segmentation is not None:
            found[place] = area_of(segmentation)
    return found


def _written(segmentation: Segmentation, height: int, width: int) -> Any:
    if isinstance(segmentation, RunLengths):
        return segmentation.to_coco()
    parts = [part for part in shapely.get_parts(segmentation).tolist() if not part.is_empty]
    if any(len(part.interiors) for part in parts):
        return RunLengths.of(filled(segmentation, (height, width))).to_coco()
    return [shapely.get_coordinates(part.exterior)[:-1].ravel().tolist() for part in parts]


def to_torchvision(annotations: Annotations, masks: bool = True) -> Any:
    """Return annotations as the detection models of torchvision take them.

    Parameters
    ----------
    annotations : Annotations
        Of one sample. Those without box are left out.
    masks : bool
        Whether masks are drawn.

    Returns
    -------
    dict of str to Tensor; a list of them, one a frame, for a sample with time
        ``boxes`` (x0, y0, x1, y1, float32) and ``masks`` (uint8) are tv_tensors if torchvision is installed,
        else plain tensors; ``labels`` are category ids; ``area`` is that of `to_coco`;
        ``iscrowd``, ``ids``, ``track_ids``.

    Raises
    ------
    MissingPackageError
        If PyTorch is not installed.
    """
    if annotations.is_clip:
        frames = range(len(annotations.frames))
        return [to_torchvision(annotations.for_frame(number), masks) for number in frames]
    needed(torch, "to_torchvision")
    some = annotations[np.isfinite(annotations.boxes).all(axis=1)]
    boxes = torch.from_numpy(some.boxes.astype(np.float32))
    wrapped = _tv_tensors()
    target: dict[str, Any] = {
        "boxes": boxes
        if wrapped is None
        else wrapped.BoundingBoxes(boxes, format="XYXY", canvas_size=annotations.shape),
        "labels": torch.from_numpy(some.category_ids.copy()),
        "area": torch.from_numpy(areas_of(some).astype(np.float32)),
        "iscrowd": torch.from_numpy(some.iscrowd.astype(np.int64)),
        "ids": torch.from_numpy(some.ids.copy()),
        "track_ids": torch.from_numpy(some.track_ids.copy()),
    }
    if masks:
        drawn = torch.from_numpy(masks_of(some).astype(np.uint8))
        target["masks"] = drawn if wrapped is None else wrapped.Mask(drawn)
    return target


def _tv_tensors() -> Any:
    try:
        return require(torchvision).tv_tensors
    except ImportError:
        return None
