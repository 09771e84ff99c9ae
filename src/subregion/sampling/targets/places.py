"""Where images lie, as targets need it: their sizes, their videos, and the way from one to the other."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, Protocol

from affine import Affine

from subregion.collections.video import VideoCollection

#: Sizes of so many images are kept.
KNOWN_SHAPES = 1 << 14
#: Left, top, right, bottom.
Box = tuple[float, float, float, float]


class Annotated(Protocol):
    """What a target asks of annotations."""

    def annotation_of(self, annotation_id: Any) -> tuple[Hashable, Box, int]:
        """Return the image of an annotation, its box in pixels of that, and its category (-1 for none)."""
        ...


class Places:
    """The sizes of images and videos, and how images lie in videos.

    Sizes of images are looked up once: to compare a record with what it was takes longer than all else here.

    Parameters
    ----------
    frames : VideoCollection
        The images.
    """

    def __init__(self, frames: VideoCollection) -> None:
        self.frames = frames
        self._shapes: dict[Any, tuple[int, int]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_shapes": {}}

    def forget(self) -> None:
        """Look sizes up again."""
        self._shapes = {}

    def video_of(self, image_id: Any) -> Any:
        """Return the id of the video that an image is a frame of; None if it is in none that is known."""
        place = self.frames.record(image_id).video
        return None if place is None else place.video_id

    def frames_of(self, video_id: Any) -> Sequence[Any]:
        """Return the ids of the frames of a video, in order."""
        return self.frames.frames_of(video_id)

    def image_shape(self, image_id: Any) -> tuple[int, int]:
        """Return rows and columns of an image."""
        try:
            shape = self._shapes.get(image_id)
        except TypeError:  # no id of anything
            return self._image_shape(image_id)
        if shape is None:
            shape = self._image_shape(image_id)
            if len(self._shapes) >= KNOWN_SHAPES:
                self._shapes = {}
            self._shapes[image_id] = shape
        return shape

    def _image_shape(self, image_id: Any) -> tuple[int, int]:
        record = self.frames.record(image_id)
        if record.width is not None and record.height is not None:
            return record.height, record.width
        rows, cols, _ = self.frames.load_alignable(image_id).shape
        return rows, cols

    def grid_shape(self, image_id: Any) -> tuple[int, int]:
        """Return rows and columns of the video of an image; those of the image, if it is in none."""
        place = self.frames.record(image_id).video
        if place is None:
            return self.image_shape(image_id)
        if place.width is not None and place.height is not None:
            return place.height, place.width
        rows, cols, _ = self.frames.load_alignable(image_id, "video").shape
        return rows, cols

    def to_grid(self, image_id: Any) -> Affine | None:
        """Return the transform from an image to its video; None if it is the identity."""
        place = self.frames.record(image_id).video
        if place is None or place.to_video is None or place.to_video == _IDENTITY:
            return None
        return place.to_video


_IDENTITY = Affine.identity()


def moved_box(box: Box, matrix: Affine) -> Box:
    """Return the rectangle around a box that was transformed."""
    left, top, right, bottom = box
    corners = [matrix @ corner for corner in ((left, top), (right, top), (left, bottom), (right, bottom))]
    across, down = [x for x, _ in corners], [y for _, y in corners]
    return min(across), min(down), max(across), max(down)
