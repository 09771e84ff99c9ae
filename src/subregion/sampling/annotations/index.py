"""Which annotations a window of an image meets, found in microseconds among millions."""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subregion.collections.coco import CocoFrames
from subregion.collections.coco_file import Lists, read_dataset, settled
from subregion.errors import (
    RecordError,
    UnknownAnnotationError,
    UnknownImageError,
    UnsupportedFormatError,
    shown,
)
from subregion.frames import Frames
from subregion.libraries import shapely
from subregion.paths import path_of
from subregion.sampling.annotations import report as reasons
from subregion.sampling.annotations.categories import Categories
from subregion.sampling.annotations.columns import AnnotationColumns, ColumnsMaker
from subregion.sampling.annotations.report import Report
from subregion.sampling.annotations.stream import read_columns

#: Ids of images are looked up in a table if it has at most so many places for each image.
_SPARSE = 8
#: In images with so many annotations an R-tree finds faster than a comparison with all.
MANY = 8192
#: And those with so few annotations one by one.
FEW = 16
#: So many boxes are compared with their images at a time.
_TOGETHER = 1 << 18


class AnnotationIndex:
    """The annotations of a dataset as arrays, sorted by image and by id.

    It is made by `of`. Arrays must not be written to.

    Attributes
    ----------
    image_ids : sequence
        The ids of the M images, in the order of the dataset.
    ids : int64 (N,)
        Ids of annotations, sorted by the row of their image, then by themselves.
    image : int32 (N,)
        Row of the image of each in `image_ids`.
    category_ids : int64 (N,)
        -1: none.
    boxes : float64 (N, 4)
        x0, y0, x1, y1 in pixels of the image; NaN: none.
    iscrowd : bool (N,)
        Whether it stands for many objects that were not told apart.
    track_ids : int64 (N,)
        -1: none.
    first : int64 (M + 1,)
        Annotations of the image in row m are ``first[m]:first[m + 1]``.
    categories, keypoint_categories : Categories
        Of the dataset.
    """

    def __init__(
        self, columns: AnnotationColumns, entries: Any, frames: Frames, categories: Categories, owner: str
    ) -> None:
        self.owner = owner
        self.categories = categories
        self.keypoint_categories = Categories()
        self.image_ids: Sequence[Hashable] = frames.image_ids[:]
        self._frames = frames
        self._entries = entries
        self._rows = dict(zip(self.image_ids, range(len(self.image_ids)), strict=True))
        image = self._rows_of_images(columns.image_ids)
        known = image >= 0
        counts = {reasons.UNKNOWN_IMAGE: len(image) - int(np.count_nonzero(known))}
        order = _order(image, columns.ids)
        if counts[reasons.UNKNOWN_IMAGE]:
            order = np.arange(len(image)) if order is None else order
            order = order[known[order]]
        self._order = order

        def take(column: NDArray[Any]) -> NDArray[Any]:
            return column if order is None else column[..., order]

        self.image: NDArray[np.int32] = take(image)
        self.ids: NDArray[np.int64] = take(columns.ids)
        _check_unique(self.ids, owner)
        category_ids, unknown = _known(take(columns.category_ids), categories)
        self.category_ids: NDArray[np.int64] = category_ids
        counts[reasons.UNKNOWN_CATEGORY] = unknown
        self.track_ids: NDArray[np.int64] = take(columns.track_ids)
        self.iscrowd: NDArray[np.bool_] = take(columns.iscrowd)
        # Column by column in memory: a comparison goes through one of them.
        self._columns: NDArray[np.float64] = np.ascontiguousarray(take(columns.boxes))
        self.boxes: NDArray[np.float64] = self._columns.T
        self.first: NDArray[np.int64] = np.searchsorted(
            self.image, np.arange(len(self.image_ids) + 1, dtype=np.int32)
        )
        self._report: Report = columns.report + counts
        self._faults: dict[str, set[int]] = {}
        self._outside: int | None = None
        self._by_id: NDArray[np.intp] | None = None
        self._trees: dict[int, Any] = {}
        self._dataset: Any = None
        self._document: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, dataset: Any, frames: Frames) -> AnnotationIndex:
        """Index the annotations of a dataset.

        Parameters
        ----------
        dataset : path, dict, kwcoco.CocoDataset, kwcoco.CocoSqlDatabase or Lists
            See `CocoFrames`; what ``read_dataset(path, annotations=True)`` made serves both, so that a file
            is read once. Of a dict or an object the annotations are taken as they are now; see `is_current`
            and `refreshed`.
        frames : Frames
            Its images.

        Raises
        ------
        SubregionError
            If it is no dataset, or an annotation is no object, or ids are missing or given twice.
        """
        if isinstance(dataset, str | bytes | os.PathLike):
            dataset = read_dataset(os.path.abspath(path_of(dataset, "the dataset")), annotations=True)
        if isinstance(dataset, Lists):
            columns, entries, dataset = _of_file(dataset)
            index = cls(columns, entries, frames, Categories.of(dataset.categories), dataset.path)
            index.keypoint_categories = Categories.of(dataset.keypoint_categories)
            return index
        document = getattr(dataset, "dataset", dataset)  # a kwcoco.CocoDataset, not imported here
        if not isinstance(document, Mapping):
            raise RecordError(
                f"a dataset is a path, a dict or a kwcoco.CocoDataset, not a {type(dataset).__name__}."
            )
        columns, entries = _in_memory(document.get("annotations"), "the dataset")
        index = cls(columns, entries, frames, Categories.of(document.get("categories")), "the dataset")
        index.keypoint_categories = Categories.of(document.get("keypoint_categories"))
        index._dataset, index._document = dataset, document
        return index

    def is_current(self) -> bool:
        """Whether no annotation or image was added or removed since; an edit within one is not noticed.

        It takes microseconds. What a file holds is taken as it was.
        """
        if self._document is None:
            return True
        found, known = self._document.get("annotations"), self._entries
        if found is None:
            found = []
        if not isinstance(found, list):  # the rows of a database
            return True
        return (
            len(found) == len(known)
            and (not known or (found[0] is known[0] and found[-1] is known[-1]))
            and len(self._frames.image_ids) == len(self.image_ids)
        )

    def refreshed(self) -> AnnotationIndex:
        """Return the index of the dataset as it is now, whatever was edited; of a file this one."""
        return self if self._document is None else AnnotationIndex.of(self._dataset, self._frames)

    @property
    def report(self) -> Report:
        """How many annotations were passed over or mended, by reason.

        Of segmentations and keypoints, which are read when they are asked for, what was met so far.
        """
        if self._outside is None:
            self._outside = self._count_outside()
        met = {reason: len(ids) for reason, ids in self._faults.items()}
        return self._report + met + {reasons.OUTSIDE: self._outside}

    def note(self, annotation_id: int, found: Iterable[str]) -> None:
        """Note what of an annotation has no meaning; it counts once, however often it is met."""
        for reason in found:
            self._faults.setdefault(reason, set()).add(annotation_id)

    def _count_outside(self) -> int:
        """Count boxes of which nothing is in the image, as large as the dataset says that it is."""
        if not isinstance(self._frames, CocoFrames):
            return 0
        sizes, count = self._frames.declared_sizes(), 0
        if len(sizes) != len(self.image_ids):  # images were added since
            return 0
        for begin in range(0, len(self), _TOGETHER):
            part = slice(begin, begin + _TOGETHER)
            height, width = sizes[self.image[part]].T
            left, top, right, bottom = self._columns[:, part]
            beyond = ((left >= width) & (width > 0)) | ((top >= height) & (height > 0))
            count += int(np.count_nonzero(beyond | (right <= 0) | (bottom <= 0)))
        return count

    def __getstate__(self) -> dict[str, Any]:
        # Tables of a database cannot be pickled, but it can.
        return self.__dict__ | {"boxes": None, "_trees": {}, "_document": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._document = getattr(self._dataset, "dataset", self._dataset)
        self.boxes = self._columns.T

    def __len__(self) -> int:
        return len(self.ids)

    def row_of_image(self, image_id: Any) -> int:
        """Return the row of an image in `image_ids`.

        Raises
        ------
        UnknownImageError
            If there is none.
        """
        try:
            return self._rows[image_id]
        except (KeyError, TypeError):
            raise UnknownImageError(f"no image with id {shown(image_id)} among {len(self._rows)}.") from None

    def rows_of(self, image_id: Any) -> slice:
        """Return the rows of the annotations of an image."""
        row = self.row_of_image(image_id)
        return slice(int(self.first[row]), int(self.first[row + 1]))

    def find(self, annotation_id: Any) -> int:
        """Return the row of an annotation.

        Raises
        ------
        UnknownAnnotationError
            If there is none with this id, or its image is unknown.
        """
        if self._by_id is None:
            self._by_id = np.argsort(self.ids)
        by_id = self._by_id
        try:
            place = int(np.searchsorted(self.ids, annotation_id, sorter=by_id))
            if place < len(by_id) and self.ids[by_id[place]] == annotation_id:
                return int(by_id[place])
        except (TypeError, ValueError):
            pass
        raise UnknownAnnotationError(f"no annotation with id {shown(annotation_id)} among {len(self)}.")

    def overlapping(self, image_id: Any, window: Iterable[float]) -> NDArray[np.intp]:
        """Return the rows of the annotations whose box shares more than its border with a window.

        A box without area is found where it lies inside.

        Parameters
        ----------
        image_id : hashable
            The image.
        window : (x0, y0, x1, y1)
            In pixels of the image.

        Returns
        -------
        intp (K,)
            In ascending order: that of the ids.
        """
        x0, y0, x1, y1 = window
        rows = self.rows_of(image_id)
        begin, end = rows.start, rows.stop
        if end - begin <= FEW:  # arrays would take longer
            meets = [
                row
                for row, (left, top, right, bottom) in enumerate(self.boxes[begin:end].tolist(), begin)
                if left < x1 and right > x0 and top < y1 and bottom > y0
            ]
            return np.array(meets, np.intp)
        if end - begin >= MANY:
            return self._in_tree(rows, x0, y0, x1, y1)
        left, top, right, bottom = self._columns
        across = (left[begin:end] < x1) & (right[begin:end] > x0)
        found: NDArray[np.intp] = (across & (top[begin:end] < y1) & (bottom[begin:end] > y0)).nonzero()[0]
        found += begin
        return found

    def _in_tree(self, rows: slice, x0: float, y0: float, x1: float, y1: float) -> NDArray[np.intp]:
        """Return which of the annotations of an image meet a window, where there are many."""
        tree = self._trees.get(rows.start)
        if tree is None:
            # Boxes of NaN have no place in a tree, but a place in what it was made of.
            tree = self._trees[rows.start] = shapely.STRtree(shapely.box(*self._columns[:, rows]))
        near = np.sort(tree.query(shapely.box(x0, y0, x1, y1))) + rows.start
        left, top, right, bottom = self._columns[:, near]  # touching is not overlapping
        found: NDArray[np.intp] = near[(left < x1) & (right > x0) & (top < y1) & (bottom > y0)]
        return found

    def entry(self, row: int) -> Mapping[str, Any]:
        """Return an annotation as the dataset has it."""
        place = int(row if self._order is None else self._order[row])
        found: Mapping[str, Any] = self._entries[place]
        return found

    @property
    def in_dataset_order(self) -> NDArray[np.intp]:
        """The rows of all annotations, in the order of the dataset."""
        return np.arange(len(self)) if self._order is None else np.argsort(self._order)

    def size_of(self, image_id: Any) -> tuple[int, int]:
        """Return rows and columns of an image: as the dataset has them, else those of the file."""
        record = self._frames.record(image_id)
        if record.height is not None and record.width is not None:
            return record.height, record.width
        height, width = self._frames.load_frame(image_id).shape[:2]
        return height, width

    def _rows_of_images(self, image_ids: NDArray[np.int64] | list[Any]) -> NDArray[np.int32]:
        """Return the row of the image of each annotation; -1 where there is none."""
        own = None if isinstance(image_ids, list) else _as_integers(self.image_ids)
        if own is None or isinstance(image_ids, list):
            listed = image_ids if isinstance(image_ids, list) else image_ids.tolist()
            return np.fromiter((self._row_or_none(image_id) for image_id in listed), np.int32, len(listed))
        if not len(own):
            return np.full(len(image_ids), -1, np.int32)
        low, high = int(own.min()), int(own.max())
        if high - low < _SPARSE * len(own):
            table = np.full(high - low + 2, -1, np.int32)
            table[own - low] = np.arange(len(own), dtype=np.int32)
            outside = (image_ids < low) | (image_ids > high)
            found: NDArray[np.int32] = table[np.where(outside, high + 1, image_ids) - low]
            return found
        order = np.argsort(own)
        places = np.searchsorted(own, image_ids, sorter=order)
        nearest = order[np.minimum(places, len(own) - 1)]
        rows: NDArray[np.int32] = np.where(own[nearest] == image_ids, nearest, -1).astype(np.int32)
        return rows

    def _row_or_none(self, image_id: Any) -> int:
        try:
            return self._rows.get(image_id, -1)
        except TypeError:
            return -1


def _as_integers(ids: Sequence[Any]) -> NDArray[np.int64] | None:
    if set(map(type, ids)) <= {int}:
        try:
            return np.fromiter(ids, np.int64, len(ids))
        except OverflowError:
            return None
    return None


def _order(image: NDArray[np.int32], ids: NDArray[np.int64]) -> NDArray[np.intp] | None:
    """Return how to sort annotations by image, then by id; None if they are."""
    step = np.diff(image)
    if (step >= 0).all() and ((step > 0) | (np.diff(ids) > 0)).all():
        return None
    return np.lexsort((ids, image))


def _check_unique(ids: NDArray[np.int64], owner: str) -> None:
    if (np.diff(ids) > 0).all():
        return
    ordered = np.sort(ids)
    twice = ordered[1:][ordered[1:] == ordered[:-1]]
    if len(twice):
        raise RecordError(
            f"{owner}: the annotation id {twice[0]} is given twice; each annotation needs one of its own."
        )


def _known(category_ids: NDArray[np.int64], categories: Categories) -> tuple[NDArray[np.int64], int]:
    """Return the ids of categories, -1 in place of unknown ones, and how many those are."""
    unknown = ~np.isin(category_ids, np.array([-1, *categories.category_ids], np.int64))
    if unknown.any():
        category_ids = np.where(unknown, -1, category_ids)
    return category_ids, int(np.count_nonzero(unknown))


def _of_file(lists: Lists) -> tuple[AnnotationColumns, Sequence[Any], Lists]:
    """Return the annotations of a file as arrays, and themselves."""
    if lists.guessed:
        try:
            return *read_columns(lists), lists
        except UnsupportedFormatError:
            lists = settled(lists)
    if isinstance(lists.annotations, memoryview):
        return *read_columns(lists), lists
    return *_in_memory(lists.annotations, lists.path), lists


def _in_memory(found: Any, owner: str) -> tuple[AnnotationColumns, Sequence[Any]]:
    """Return annotations that are objects already as arrays, and themselves."""
    if found is None:
        found = []
    if isinstance(found, str | bytes | Mapping) or not isinstance(found, Iterable):
        raise RecordError(f"{owner}: annotations={shown(found)} must be a list.")
    entries = list(found)
    maker = ColumnsMaker(owner)
    maker.add_documents(entries)
    return maker.columns(), entries
