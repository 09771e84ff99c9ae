"""A small dataset in memory whose pixels and boxes are known: images alone, and frames of two videos."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from subregion import CocoSampler

#: Rows and columns of the images.
SIZE = 60, 80


@dataclass(frozen=True, eq=False)
class Scene:
    """A dataset, and its pixels by image id."""

    dataset: dict[str, Any]
    pixels: dict[int, NDArray[np.uint8]]

    def sampler(self, **options: Any) -> CocoSampler:
        return CocoSampler(self.dataset, backend=None, **options)


def make_scene(folder: Path) -> Scene:
    """Write images 1 and 2, which are alone; 11 to 13 of a video twice their size; 21 and 22 of another."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(5)
    pixels, images, annotations = {}, [], []
    places: dict[int, dict[str, Any]] = {1: {}, 2: {}}
    for frame, image_id in enumerate((11, 12, 13)):
        places[image_id] = {"video_id": 1, "frame_index": frame, "warp_img_to_vid": {"scale": 2}}
    for frame, image_id in enumerate((21, 22)):
        places[image_id] = {"video_id": 2, "frame_index": frame}
    for image_id, place in places.items():
        pixels[image_id] = rng.integers(1, 255, (*SIZE, 3), dtype=np.uint8)
        path = folder / f"{image_id}.png"
        Image.fromarray(pixels[image_id]).save(path)
        images.append(
            {"id": image_id, "file_name": str(path), "channels": "r|g|b", "width": SIZE[1], "height": SIZE[0]}
            | place
        )
        for number, box in enumerate(([10, 8, 20, 12], [40, 30, 16, 20])):
            x, y, w, h = box
            annotations.append(
                {
                    "id": 10 * image_id + number,
                    "image_id": image_id,
                    "category_id": 1 + number,
                    "bbox": box,
                    "segmentation": [[x, y, x + w, y, x + w, y + h, x, y + h]],
                    "keypoints": [x + 1, y + 2, 2],
                }
            )
    dataset = {
        "categories": [
            {"id": 1, "name": "cat", "supercategory": "animal", "keypoints": ["nose"]},
            {"id": 2, "name": "car", "keypoints": ["nose"]},
        ],
        "videos": [
            {"id": 1, "name": "one", "width": 2 * SIZE[1], "height": 2 * SIZE[0]},
            {"id": 2, "name": "two", "width": SIZE[1], "height": SIZE[0]},
        ],
        "images": images,
        "annotations": annotations,
    }
    return Scene(dataset, pixels)
