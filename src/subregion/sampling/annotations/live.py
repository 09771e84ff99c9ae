"""The annotations of a dataset that may be edited while samples are drawn from it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from subregion.collections.coco_file import Lists, read_dataset
from subregion.frames import Frames
from subregion.paths import path_of
from subregion.sampling.annotations.categories import Categories
from subregion.sampling.annotations.index import AnnotationIndex


def source_of(dset: Any) -> Any:
    """Return what images and annotations are taken from: a file is read once, here, for both."""
    if isinstance(dset, str | bytes | os.PathLike):
        return read_dataset(os.path.abspath(path_of(dset, "the dataset")), annotations=True)
    return dset


class LiveAnnotations:
    """The annotations of a dataset as arrays, which are made anew when one was added or removed, or an image.

    Parameters
    ----------
    source : object
        See `source_of`.
    frames : Frames
        The images.
    """

    def __init__(self, source: Any, frames: Frames) -> None:
        self._source = source
        self._frames = frames
        self._index: AnnotationIndex | None = None
        self._kp_classes: Categories | None = None

    def __getstate__(self) -> dict[str, Any]:
        _ = self.index  # the bytes of a file do not travel twice
        return self.__dict__.copy()

    @property
    def index(self) -> AnnotationIndex:
        """The annotations, as they are now."""
        index = self._index
        if index is None or not index.is_current():
            index = self.refresh()
        return index

    @property
    def kp_classes(self) -> Categories:
        """The categories of keypoints."""
        if self._kp_classes is None:
            self._kp_classes = _keypoint_categories(self.index)
        return self._kp_classes

    def refresh(self) -> AnnotationIndex:
        """Read all annotations anew: those of a dataset in memory, or of a file."""
        source = self._source
        if isinstance(source, Lists):
            if source.annotations is None:
                source = read_dataset(source.path, annotations=True)
            self._source = source._replace(annotations=None)
        index = AnnotationIndex.of(source, self._frames)
        self._index, self._kp_classes = index, None
        return index


def hash_of(index: AnnotationIndex) -> str:
    """Return 128 hexadecimal digits that images, boxes and categories have in common with equal ones."""
    # Databases write None for what is not there, and keys in their own order.
    categories = [
        sorted((key, value) for key, value in entry.items() if value is not None)
        for entry in index.categories.to_coco()
    ]
    digest = hashlib.sha512(repr((list(index.image_ids), categories)).encode())
    for column in (index.ids, index.image, index.category_ids, index.boxes, index.iscrowd, index.track_ids):
        digest.update(np.ascontiguousarray(column).tobytes())
    return digest.hexdigest()


def _keypoint_categories(index: AnnotationIndex) -> Categories:
    """Return the categories of keypoints of a dataset: its own list, or the names at its categories."""
    if len(index.keypoint_categories):
        return index.keypoint_categories
    names = dict.fromkeys(
        name
        for entry in index.categories.to_coco()
        for name in _listed(entry.get("keypoints"))
        if isinstance(name, str)
    )
    return Categories.coerce(list(names))


def _listed(names: Any) -> Sequence[Any]:
    return names if isinstance(names, list | tuple) else ()
