"""What grids cover, images or videos, and where annotations lie in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from subregion.collections.video import VideoCollection
from subregion.errors import ConfigError, UnknownVideoError, shown

if TYPE_CHECKING:
    from affine import Affine

    from subregion.frames import Frames
    from subregion.records import ImageRecord
    from subregion.sampling.annotations.index import AnnotationIndex
    from subregion.sampling.regions.sizes import ImageSizes


@dataclass(frozen=True, slots=True, eq=False)
class Extents:
    """Images, or videos, and the annotations in them.

    Parameters
    ----------
    ids : list
        Of the images or videos.
    shapes : ndarray of int64, shape (M, 2) or (M, 3)
        Rows and columns; of videos frames before them.
    items : ndarray of int64, shape (N,)
        Rows of annotations in the index.
    extent_of_items : ndarray of int64, shape (N,)
        In which extent each is.
    space : str
        ``"image"`` or ``"video"``.
    frames : list of list
        The images of each video, in order; none for images.
    moment : ndarray of int64, shape (N,)
        In which frame of its video each annotation is; none for images.
    boxes : ndarray, shape (N, 4)
        In pixels of the video; none for images.
    """

    ids: list[Any]
    shapes: NDArray[np.int64]
    items: NDArray[np.int64]
    extent_of_items: NDArray[np.int64]
    space: str = "image"
    frames: list[Sequence[Any]] = field(default_factory=list)
    moment: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    boxes: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 4)))

    def without_annotations(self) -> Extents:
        """Return the same images or videos with nothing in them."""
        nothing = self.items[:0]
        return replace(self, items=nothing, extent_of_items=nothing, moment=nothing, boxes=self.boxes[:0])

    def first_image(self, number: int) -> Any:
        """Return the image, or the first frame of the video."""
        return self.ids[number] if self.space == "image" else self.frames[number][0]

    def bounds(self, boxes: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return where boxes begin and end along the axes of their extents."""
        low, high = boxes[:, 1::-1], boxes[:, 3:1:-1]
        if self.space == "image":
            return low, high
        moment = self.moment[:, None].astype(np.float64)
        return np.concatenate([moment, low], axis=1), np.concatenate([moment + 1, high], axis=1)


def image_extents(index: AnnotationIndex, sizes: ImageSizes, ids: Sequence[Any] | None) -> Extents:
    """Return all images, or those with these ids, in the order of the dataset or as they are given."""
    if ids is None:
        every = np.arange(len(index.ids))
        return Extents(list(index.image_ids), sizes.table, every, index.image.astype(np.int64))
    rows = np.array([index.row_of_image(image_id) for image_id in ids], np.int64)
    items, owner = _annotations(index, rows)
    shapes = np.array([sizes.of_image(row) for row in rows.tolist()], np.int64).reshape(-1, 2)
    return Extents(list(ids), shapes, items, owner)


def video_extents(index: AnnotationIndex, frames: Frames, ids: Sequence[Any] | None) -> Extents:
    """Return all videos, or those with these ids, that have frames.

    A box is where the corners of that in the image come to lie in the video; of a frame that is turned, the
    upright rectangle about it.
    """
    if not isinstance(frames, VideoCollection):
        raise ConfigError("task='video_detection': the collection has no videos.")
    videos = _members(index, frames, ids)
    shapes, rows, affines, places = [], [], [], []
    for number, records in enumerate(videos.values()):
        shapes.append((len(records), *_video_size(frames, records)))
        for moment, record in enumerate(records):
            rows.append(index.row_of_image(record.image_id))
            affines.append(None if record.video is None else record.video.to_video)
            places.append((number, moment))
    items, frame = _annotations(index, np.array(rows, np.int64))
    where = np.array(places, np.int64).reshape(-1, 2)
    return Extents(
        list(videos),
        np.array(shapes, np.int64).reshape(-1, 3),
        items,
        where[frame, 0],
        "video",
        [[record.image_id for record in records] for records in videos.values()],
        where[frame, 1],
        _moved(index.boxes[items], frame, affines),
    )


def _annotations(
    index: AnnotationIndex, rows: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the annotations of images, and of which of them each is."""
    first, count = index.first[rows], index.first[rows + 1] - index.first[rows]
    owner = np.repeat(np.arange(len(rows)), count)
    items = np.arange(len(owner)) + np.repeat(first - (np.cumsum(count) - count), count)
    return items, owner


def _members(
    index: AnnotationIndex, frames: VideoCollection, ids: Sequence[Any] | None
) -> dict[Any, list[ImageRecord]]:
    """Return the frames of each video, in order."""
    known = dict.fromkeys(frames.video_ids)
    for video_id in ids or ():
        if video_id not in known:
            raise UnknownVideoError(f"no video with id {shown(video_id)} among {len(known)}.")
    wanted: dict[Any, list[ImageRecord]] = {each: [] for each in (known if ids is None else ids)}
    for image_id in index.image_ids:
        record = frames.record(image_id)
        if record.video is not None and record.video.video_id in wanted:
            wanted[record.video.video_id].append(record)
    for video_id, records in wanted.items():
        if any(record.video is None or record.video.frame_index is None for record in records):
            frames.frames_of(video_id)  # says what is missing
        records.sort(key=_frame_index)
    return {video_id: records for video_id, records in wanted.items() if records}


def _frame_index(record: ImageRecord) -> int:
    place = record.video
    return 0 if place is None or place.frame_index is None else place.frame_index


def _video_size(frames: Frames, records: list[ImageRecord]) -> tuple[int, int]:
    """Return rows and columns of a video; where it has none of its own, those that hold all its frames."""
    sizes = set()
    for record in records:
        there = record.in_video()
        if there.height is None or there.width is None:
            height, width = frames.load_frame(record.image_id, "video").shape[:2]
            sizes.add((height, width))
        else:
            sizes.add((there.height, there.width))
    return max(height for height, _ in sizes), max(width for _, width in sizes)


def _moved(
    boxes: NDArray[np.float64], frame: NDArray[np.int64], affines: list[Affine | None]
) -> NDArray[np.float64]:
    """Return boxes in pixels of the video."""
    table = np.array([(1, 0, 0, 0, 1, 0) if each is None else each[:6] for each in affines], np.float64)
    if not len(boxes):
        return boxes
    a, b, c, d, e, f = table[frame].T
    x, y = boxes[:, [0, 2, 0, 2]].T, boxes[:, [1, 1, 3, 3]].T
    across, down = a * x + b * y + c, d * x + e * y + f
    return np.stack([across.min(axis=0), down.min(axis=0), across.max(axis=0), down.max(axis=0)], axis=1)
