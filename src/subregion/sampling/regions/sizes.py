"""The sizes of all images of a dataset."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from subregion.collections.coco import CocoFrames

if TYPE_CHECKING:
    from subregion.frames import Frames
    from subregion.sampling.annotations.index import AnnotationIndex


class ImageSizes:
    """The sizes of all images, looked up when they are first needed.

    Parameters
    ----------
    index : AnnotationIndex
        Knows the images.
    frames : Frames
        The images.
    """

    def __init__(self, index: AnnotationIndex, frames: Frames) -> None:
        self._index, self._frames = index, frames

    @cached_property
    def table(self) -> NDArray[np.int64]:
        """Height and width of each image, by its row."""
        ids = self._index.image_ids
        found = np.zeros((len(ids), 2), np.int64)
        if isinstance(self._frames, CocoFrames):
            declared = self._frames.declared_sizes()
            if len(declared) == len(ids):
                found = declared
        for row in np.flatnonzero((found == 0).any(axis=1)).tolist():
            found[row] = self._index.size_of(ids[row])
        return found

    def of_image(self, row: int) -> tuple[int, int]:
        """Return height and width of one image."""
        if "table" in self.__dict__:
            height, width = self.table[row].tolist()
            return height, width
        return self._index.size_of(self._index.image_ids[row])
