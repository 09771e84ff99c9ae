"""Datasets to try things on: those that kwcoco generates, or shapes of ours where it is not installed."""

from __future__ import annotations

import io
import os
import re
import tempfile
from contextlib import redirect_stdout
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subregion.errors import ConfigError, shown
from subregion.libraries import Image, kwcoco, require

_KEY = re.compile(r"(vid)?shapes(\d*)")
#: Rows and columns of images of ours.
SIZE = 192, 256
#: How many frames a video of ours has.
FRAMES = 3
_COLORS = {"box": (220, 60, 50), "disk": (50, 170, 80), "wedge": (60, 90, 210)}


def demo_dataset(key: str = "shapes", **options: Any) -> Any:
    """Return a generated dataset.

    Parameters
    ----------
    key : str
        One of kwcoco's; without kwcoco ``"shapes"`` or ``"vidshapes"``, with the number of images, or videos,
        behind.
    **options
        For kwcoco.

    Returns
    -------
    kwcoco.CocoDataset or dict
    """
    try:
        package = require(kwcoco)
    except ImportError:
        return shapes(key)
    if "shapes" not in key or options.get("verbose"):
        return package.CocoDataset.demo(key, **options)
    with redirect_stdout(io.StringIO()):  # it tells how far it is, whatever `verbose` says
        return package.CocoDataset.demo(key, **{"verbose": 0, **options})


def shapes(key: str = "shapes", folder: str | os.PathLike[str] | None = None) -> dict[str, Any]:
    """Draw shapes into images, and return the dataset; equal keys give equal images.

    Parameters
    ----------
    key : str
        ``"shapes8"`` for 8 images, ``"vidshapes2"`` for 2 videos of 3 frames.
    folder : path or None
        Where the images go; None is a folder of the system for files that may vanish.
    """
    found = _KEY.fullmatch(key) if isinstance(key, str) else None
    if found is None:
        raise ConfigError(
            f"demo: {shown(key)}: without kwcoco there are 'shapes' and 'vidshapes', with a number behind."
        )
    videos, count = bool(found[1]), int(found[2] or 8)
    if folder is None:
        folder = os.path.join(tempfile.gettempdir(), f"subregion-shapes-{os.getuid()}")
    folder = os.fspath(folder)
    os.makedirs(folder, exist_ok=True)
    rng = np.random.default_rng(len(key) + count)
    dataset: dict[str, Any] = {
        "categories": [{"id": n, "name": name} for n, name in enumerate(_COLORS, 1)],
        "videos": [],
        "images": [],
        "annotations": [],
    }
    for number in range(1, count + 1):
        objects = [_Shape(rng) for _ in range(int(rng.integers(2, 6)))]
        if videos:
            height, width = SIZE
            video = {"id": number, "name": f"video{number}", "width": width, "height": height}
            dataset["videos"].append(video)
        for frame in range(FRAMES if videos else 1):
            image_id = len(dataset["images"]) + 1
            name = os.path.join(folder, f"{key}-{number}-{frame}.png")
            place = {"video_id": number, "frame_index": frame} if videos else {}
            height, width = SIZE
            dataset["images"].append(
                {"id": image_id, "file_name": name, "channels": "r|g|b", "width": width, "height": height}
                | place
            )
            canvas = np.full((*SIZE, 3), 235, np.uint8)
            for track, shape in enumerate(objects, 1):
                shape.draw(canvas, frame)
                dataset["annotations"].append(
                    shape.annotation(frame)
                    | {"id": len(dataset["annotations"]) + 1, "image_id": image_id}
                    | ({"track_id": 100 * number + track} if videos else {})
                )
            _write(name, canvas)
    return dataset


class _Shape:
    """A shape that moves."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.category_id = int(rng.integers(1, len(_COLORS) + 1))
        self.size = int(rng.integers(20, 60))
        self.start = rng.integers(0, (SIZE[1] - self.size, SIZE[0] - self.size))
        self.speed = rng.integers(-4, 5, 2)

    def corner(self, frame: int) -> tuple[int, int]:
        x, y = np.clip(self.start + frame * self.speed, 0, (SIZE[1] - self.size, SIZE[0] - self.size))
        return int(x), int(y)

    def outline(self, frame: int) -> NDArray[np.float64]:
        x, y = self.corner(frame)
        if self.category_id == 1:
            unit = np.array([(0, 0), (1, 0), (1, 1), (0, 1)], float)
        elif self.category_id == 2:
            turn = np.linspace(0, 2 * np.pi, 24, endpoint=False)
            unit = np.stack([np.cos(turn), np.sin(turn)], 1) / 2 + 0.5
        else:
            unit = np.array([(0.5, 0), (1, 1), (0, 1)])
        return unit * self.size + (x, y)

    def draw(self, canvas: NDArray[np.uint8], frame: int) -> None:
        x, y = self.corner(frame)
        rows, cols = (np.mgrid[: self.size, : self.size] + 0.5) / self.size
        inside = np.ones_like(rows, bool)
        if self.category_id == 2:
            inside = np.hypot(rows - 0.5, cols - 0.5) <= 0.5
        elif self.category_id == 3:
            inside = abs(cols - 0.5) <= rows / 2
        canvas[y : y + self.size, x : x + self.size][inside] = list(_COLORS.values())[self.category_id - 1]

    def annotation(self, frame: int) -> dict[str, Any]:
        x, y = self.corner(frame)
        outline = self.outline(frame)
        return {
            "category_id": self.category_id,
            "bbox": [x, y, self.size, self.size],
            "segmentation": [outline.round(2).ravel().tolist()],
            "keypoints": [x + self.size / 2, y + self.size / 2, 2],
            "iscrowd": 0,
        }


def _write(name: str, canvas: NDArray[np.uint8]) -> None:
    """Write an image, unless it is there."""
    if os.path.exists(name):
        return
    beside = f"{name}.{os.getpid()}"
    Image.fromarray(canvas).save(beside, "PNG")
    os.replace(beside, name)
