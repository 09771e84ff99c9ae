"""The annotations of one sample."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import ArrayLike, NDArray

from subregion.errors import RegionError, shown
from subregion.geometry.placement import OutputGrid
from subregion.geometry.window import Window
from subregion.libraries import shapely
from subregion.sampling.annotations import export, mask
from subregion.sampling.annotations.categories import Categories
from subregion.sampling.annotations.index import AnnotationIndex
from subregion.sampling.annotations.report import Report
from subregion.sampling.annotations.shapes import (
    Keypoints,
    Segmentation,
    keypoints_in,
    moved,
    segmentation_in,
)


@dataclass(frozen=True, slots=True, eq=False)
class FramePart:
    """What a sample shows of one image.

    Parameters
    ----------
    image_id : hashable
        The image.
    rows : intp (K,)
        Which annotations, as rows of the index.
    to_sample : affine.Affine
        From pixel corners of the image (x, y) to those of the sample.
    image_shape : (h, w)
        Size of the image: what of an annotation lies outside is not visible.
    """

    image_id: Hashable
    rows: NDArray[np.intp]
    to_sample: Affine
    image_shape: tuple[int, int]

    @classmethod
    def overlapping(
        cls,
        index: AnnotationIndex,
        image_id: Hashable,
        window: Window,
        *,
        scale: tuple[float, float] = (1.0, 1.0),
        warp: Affine | None = None,
    ) -> FramePart:
        """Find the annotations of an image that a window meets.

        Parameters
        ----------
        index : AnnotationIndex
            Of the dataset.
        image_id : hashable
            The image.
        window : Window
            In pixels of the image, or of its video.
        scale : (down, across)
            Pixels of the sample for each of those.
        warp : affine.Affine or None
            From pixels of the image to those of its video.
        """
        to_sample = OutputGrid.of(window, scale).from_image
        x0, y0, x1, y1 = window.col, window.row, window.col + window.width, window.row + window.height
        bounds: tuple[float, ...] = (x0, y0, x1, y1)
        if warp is not None:
            to_sample = to_sample @ warp
            corners = moved(np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], np.float64), ~warp)
            bounds = (*corners.min(axis=0).tolist(), *corners.max(axis=0).tolist())
        rows = index.overlapping(image_id, bounds)
        return cls(image_id, rows, to_sample, index.size_of(image_id))


_UNIT = np.array([(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)])


@dataclass(frozen=True, eq=False)
class Annotations:
    """The annotations of one sample, in its pixels; made by `of`.

    Parameters
    ----------
    ids, category_ids, track_ids : int64 (N,)
        -1: none.
    iscrowd : bool (N,)
        Whether it stands for many objects that were not told apart.
    boxes : float64 (N, 4)
        x0, y0, x1, y1, clipped to the sample; NaN where there is none.
    whole_boxes : float64 (N, 4)
        The same, not clipped.
    visible : float64 (N,)
        Which share of its box lies inside both sample and image, from 0 to 1. A box without area counts as
        long as it is, and a point as 1 if it is inside.
    frame_index : int64 (N,)
        In which frame of the sample it is.
    frames : tuple of FramePart
        What the sample shows of each image; their `rows` are those that were asked for.
    shape : (h, w)
        Size of the sample.
    categories, keypoint_categories : Categories
        Of the dataset.
    is_clip : bool
        Whether the sample has an axis of time.
    index, rows
        What `entries` are taken from, when they are asked for; not part of what is pickled.
    """

    ids: NDArray[np.int64]
    category_ids: NDArray[np.int64]
    track_ids: NDArray[np.int64]
    iscrowd: NDArray[np.bool_]
    boxes: NDArray[np.float64]
    whole_boxes: NDArray[np.float64]
    visible: NDArray[np.float64]
    frame_index: NDArray[np.int64]
    frames: tuple[FramePart, ...]
    shape: tuple[int, int]
    categories: Categories
    keypoint_categories: Categories
    is_clip: bool
    index: AnnotationIndex | None
    rows: NDArray[np.intp]

    @classmethod
    def of(
        cls,
        index: AnnotationIndex,
        frames: Sequence[FramePart],
        shape: tuple[int, int],
        *,
        is_clip: bool = False,
        visible_thresh: float | None = None,
    ) -> Annotations:
        """Put annotations into a sample.

        Parameters
        ----------
        index : AnnotationIndex
            Of the dataset.
        frames : sequence of FramePart
            What the sample shows of each image.
        shape : (h, w)
            Size of the sample.
        is_clip : bool
            Whether the sample has an axis of time.
        visible_thresh : float or None
            If given, only annotations are kept of which a larger share is visible.
        """
        if len(frames) == 1:
            rows = frames[0].rows
            whole, visible = _placed(index.boxes[rows], frames[0], shape)
            frame_index = np.zeros(len(rows), np.int64)
        else:
            placed = [_placed(index.boxes[part.rows], part, shape) for part in frames]
            rows = np.concatenate([np.empty(0, np.intp), *(part.rows for part in frames)])
            whole = np.concatenate([np.empty((0, 4)), *(boxes for boxes, _ in placed)])
            visible = np.concatenate([np.empty(0), *(shares for _, shares in placed)])
            frame_index = np.repeat(np.arange(len(frames)), [len(part.rows) for part in frames])
        edge = np.array((shape[1], shape[0]) * 2, np.float64)
        found = cls(
            index.ids[rows],
            index.category_ids[rows],
            index.track_ids[rows],
            index.iscrowd[rows],
            np.minimum(np.maximum(whole, 0.0), edge),
            whole,
            visible,
            frame_index,
            tuple(frames),
            shape,
            index.categories,
            index.keypoint_categories,
            is_clip,
            index,
            rows,
        )
        return found if visible_thresh is None else found[visible > visible_thresh]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, which: ArrayLike | slice) -> Annotations:
        """Return some of them: a mask, positions or a slice."""
        if isinstance(which, int | np.integer):
            raise RegionError(f"annotations[{which}] must be a mask, positions or a slice.")
        places: Any = which if isinstance(which, slice) else np.asarray(which)
        if isinstance(places, np.ndarray) and not places.size:
            places = places.astype(np.bool_ if len(self) == 0 else np.intp)
        columns = {name: getattr(self, name)[places] for name in _COLUMNS}
        found = replace(self, **columns)
        if "entries" in self.__dict__:
            kept = np.arange(len(self))[places].tolist()
            found.__dict__["entries"] = tuple(self.entries[place] for place in kept)
        return found

    def __getstate__(self) -> dict[str, Any]:
        # The index of a large dataset does not travel with every sample.
        frames = tuple(replace(part, rows=np.empty(0, np.intp)) for part in self.frames)
        return self.__dict__ | {"entries": self.entries, "index": None, "frames": frames}

    def __repr__(self) -> str:
        names = Counter(self.category_names)
        listed = ", ".join(f"{count} {name}" for name, count in names.items())
        return f"<Annotations: {listed or 'none'}; {self.shape[0]} rows, {self.shape[1]} columns>"

    @property
    def xywh(self) -> NDArray[np.float64]:
        """The boxes as x, y, width, height."""
        return np.concatenate([self.boxes[:, :2], self.boxes[:, 2:] - self.boxes[:, :2]], axis=1)

    @property
    def category_names(self) -> list[str | None]:
        """The name of each category; None where there is none."""
        return [self.categories.id_to_node.get(one) for one in self.category_ids.tolist()]

    @cached_property
    def entries(self) -> tuple[Mapping[str, Any], ...]:
        """The annotations as the dataset has them."""
        index = self.index
        return () if index is None else tuple(index.entry(row) for row in self.rows.tolist())

    @cached_property
    def _shapes(self) -> tuple[tuple[Segmentation, ...], tuple[Keypoints | None, ...], Report]:
        counts: Counter[str] = Counter()
        segmentations, keypoints = [], []
        for place, number in enumerate(self.frame_index.tolist()):
            entry, part, own = self.entries[place], self.frames[number], Counter[str]()
            segmentations.append(
                segmentation_in(entry.get("segmentation"), part.to_sample, self.shape, part.image_shape, own)
            )
            keypoints.append(keypoints_in(entry.get("keypoints"), part.to_sample, own))
            if own:
                counts += own
                self.note(place, own)
        return tuple(segmentations), tuple(keypoints), Report(counts)

    @property
    def segmentations(self) -> tuple[Segmentation, ...]:
        """Polygons (of `shapely`) or masks (`RunLengths`), clipped to the sample; None: there is none."""
        return self._shapes[0]

    @property
    def keypoints(self) -> tuple[Keypoints | None, ...]:
        """The keypoints of each; None where there are none."""
        return self._shapes[1]

    @property
    def report(self) -> Report:
        """What segmentations and keypoints had no meaning, and were left out."""
        return self._shapes[2]

    def note(self, place: int, found: Iterable[str]) -> None:
        """Let the report of the dataset know what of one of them has no meaning."""
        if self.index is not None:
            self.index.note(int(self.ids[place]), found)

    def for_frame(self, number: int) -> Annotations:
        """Return those of one frame, as those of a sample without time.

        Raises
        ------
        RegionError
            If there is no such frame.
        """
        if not -len(self.frames) <= number < len(self.frames):
            raise RegionError(f"no frame {shown(number)} among {len(self.frames)}.")
        number %= len(self.frames)
        some = self[self.frame_index == number]
        found = replace(
            some, frames=(self.frames[number],), frame_index=np.zeros_like(some.frame_index), is_clip=False
        )
        if "entries" in some.__dict__:
            found.__dict__["entries"] = some.entries
        return found

    def to_mask(self, kind: str = "semantic", **options: Any) -> NDArray[Any]:
        """Draw them; see `subregion.sampling.annotations.mask.draw`."""
        return mask.draw(self, kind, **options)

    def to_coco(self) -> list[dict[str, Any]]:
        """Return them as COCO writes annotations, in pixels of the sample; see `export.to_coco`."""
        return export.to_coco(self)

    def to_torchvision(self, masks: bool = True) -> Any:
        """Return them as the detection models of torchvision take them; see `export.to_torchvision`."""
        return export.to_torchvision(self, masks)


_COLUMNS = (
    "ids",
    "category_ids",
    "track_ids",
    "iscrowd",
    "boxes",
    "whole_boxes",
    "visible",
    "frame_index",
    "rows",
)


def _placed(
    boxes: NDArray[np.float64], part: FramePart, shape: tuple[int, int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return boxes of an image in pixels of a sample, and which share of each is visible there."""
    matrix = part.to_sample
    height, width = part.image_shape
    if matrix.b == matrix.d == 0:
        whole = _scaled(boxes, matrix)
        across = sorted((matrix.c, matrix.a * width + matrix.c))
        down = sorted((matrix.f, matrix.e * height + matrix.f))
        low = np.array((max(across[0], 0.0), max(down[0], 0.0)))
        high = np.array((min(across[1], shape[1]), min(down[1], shape[0])), np.float64)
        return whole, _share(whole, low, high)
    corners = [moved(boxes[:, list(pair)], matrix) for pair in ((0, 1), (2, 1), (2, 3), (0, 3))]
    whole = np.concatenate([np.min(corners, axis=0), np.max(corners, axis=0)], axis=1)
    seen = np.zeros(len(boxes))
    fit = np.isfinite(boxes).all(axis=1)
    if fit.any():
        outline = moved(_UNIT * (width, height), matrix)
        place = shapely.intersection(shapely.Polygon(outline), shapely.box(0, 0, shape[1], shape[0]))
        turned = shapely.polygons(np.stack(corners, axis=1)[fit])
        area = shapely.area(turned)
        inside = shapely.area(shapely.intersection(turned, place))
        flat = shapely.covers(place, shapely.points(corners[0][fit]))
        seen[fit] = np.where(area > 0, inside / np.where(area > 0, area, 1), flat)
    return whole, np.clip(seen, 0, 1)


def _scaled(boxes: NDArray[np.float64], matrix: Affine) -> NDArray[np.float64]:
    """Return boxes behind a transform that keeps their sides upright."""
    found: NDArray[np.float64] = boxes * np.array((matrix.a, matrix.e) * 2)
    found += np.array((matrix.c, matrix.f) * 2)
    if matrix.a < 0:
        found[:, 0::2] = found[:, 2::-2]
    if matrix.e < 0:
        found[:, 1::2] = found[:, 3::-2]
    return found


def _share(
    boxes: NDArray[np.float64], low: NDArray[np.float64], high: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return which share of each box lies between two corners."""
    begin, end = boxes[:, :2], boxes[:, 2:]
    length = end - begin
    common = np.maximum(np.minimum(end, high) - np.maximum(begin, low), 0.0)
    if length.all():  # as nearly always; NaN, too, is not 0
        share = common / length
    else:
        point = (begin >= low) & (begin < high)
        share = np.where(length == 0, point, common / np.where(length == 0, 1, length))
    found: NDArray[np.float64] = share[:, 0] * share[:, 1]
    found[np.isnan(found)] = 0.0
    return found
