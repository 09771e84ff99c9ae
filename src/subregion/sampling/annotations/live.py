"""The annotations of a dataset that may be edited while samples are drawn from it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
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
    """The annotations of a dataset as arrays, which are made anew when one was added or removed.

    Parameters
    ----------
    source : object
        See `source_of`.
    frames : Frames
        The images.
    """

    def __init__(self, source: Any, frames: Frames) -> None:
        self._source = source
        document = getattr(source, "dataset", source)
        self._document = document if isinstance(document, Mapping) else None
        self._frames = frames
        self._index: AnnotationIndex | None = None
        self._kp_classes: Categories | None = None
        self._stamp: Any = None

    def __getstate__(self) -> dict[str, Any]:
        _ = self.index  # the bytes of a file do not travel twice
        return self.__dict__.copy()

    @property
    def index(self) -> AnnotationIndex:
        """The annotations, as they are now."""
        index = self._index
        if index is None or self._seen() != self._stamp:
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
        source, self._stamp = self._source, self._seen()
        if isinstance(source, Lists):
            if source.annotations is None:
                source = read_dataset(source.path, annotations=True)
            self._source = source._replace(annotations=None)
        self._index, self._kp_classes = AnnotationIndex.of(source, self._frames), None
        return self._index

    def _seen(self) -> Any:
        """Return what tells cheaply that annotations were added or removed."""
        if self._document is None:
            return None
        listed = self._document.get("annotations")
        if not isinstance(listed, list) or not listed:
            return None
        last = listed[-1]
        return len(listed), last.get("id") if isinstance(last, dict) else None


def hash_of(index: AnnotationIndex) -> str:
    """Return 128 hexadecimal digits that images, boxes and categories have in common with equal ones."""
    digest = hashlib.sha512(repr((list(index.image_ids), index.categories.to_coco())).encode())
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
        for name in entry.get("keypoints") or ()
        if isinstance(name, str)
    )
    return Categories.coerce(list(names))
