"""Small datasets with annotations, whose images need not be there as long as nobody reads them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from subregion.collections.coco import CocoFrames
from subregion.sampling.annotations.index import AnnotationIndex
from subregion.sampling.regions.regions import Regions

Box = Sequence[float]


def dataset(
    sizes: Mapping[Any, tuple[int, int]],
    boxes: Iterable[tuple[Any, Box] | tuple[Any, Box, dict[str, Any]]] = (),
    categories: Sequence[str] = ("thing", "other"),
    **more: Any,
) -> dict[str, Any]:
    """Return a dataset of images of these sizes (height, width) and boxes (x, y, width, height) in them."""
    annotations = []
    for number, (image_id, box, *rest) in enumerate(boxes, 1):
        extra = rest[0] if rest else {}
        annotations.append(
            {"id": number, "image_id": image_id, "category_id": 1, "bbox": list(box), "iscrowd": 0} | extra
        )
    return {
        "images": [
            {"id": image_id, "file_name": f"{image_id}.png", "height": height, "width": width}
            for image_id, (height, width) in sizes.items()
        ],
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for number, name in enumerate(categories, 1)],
    } | more


def regions_of(document: Any, rng: Any = 0) -> Regions:
    frames = CocoFrames(document, backend=None)
    return Regions(AnnotationIndex.of(document, frames), frames, rng=rng)
