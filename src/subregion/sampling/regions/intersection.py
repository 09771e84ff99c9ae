"""Which annotations of an image a box meets, and how much of them, as programs for the predecessor ask."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subregion.collections.coco import CocoFrames
from subregion.errors import ConfigError, shown
from subregion.libraries import kwimage, needed
from subregion.sampling.annotations.index import AnnotationIndex
from subregion.sampling.annotations.live import source_of
from subregion.sampling.arguments import as_generator, checked_count, corners
from subregion.sampling.demo import demo_dataset
from subregion.sampling.regions.negatives import NegativeRule, draw_negatives
from subregion.sampling.regions.regions import Regions


class FrameIntersectionIndex:
    """Boxes of annotations by image; made by `from_coco`, of a dataset as it is then.

    Parameters
    ----------
    regions : Regions
        The annotations and the images.

    Examples
    --------
    >>> box = {"id": 7, "image_id": 1, "category_id": 1, "bbox": [10, 10, 20, 10]}
    >>> image = {"id": 1, "file_name": "a.png", "width": 80, "height": 60}
    >>> index = FrameIntersectionIndex.from_coco({"images": [image], "annotations": [box], "categories": []})
    >>> index.iooas(1, [0, 0, 20, 15])
    ([7], array([0.25]))
    """

    def __init__(self, regions: Regions) -> None:
        self._regions = regions
        self._index: AnnotationIndex = regions.index

    @classmethod
    def from_coco(cls, dset: Any, verbose: int = 0) -> FrameIntersectionIndex:
        """Index a dataset.

        Parameters
        ----------
        dset : path, dict, kwcoco.CocoDataset or kwcoco.CocoSqlDatabase
            The dataset.
        verbose : int
            Has no effect.
        """
        source = source_of(dset)
        frames = CocoFrames(source, backend=None)
        return cls(Regions(AnnotationIndex.of(source, frames), frames))

    @classmethod
    def demo(cls, key: str = "shapes", **options: Any) -> FrameIntersectionIndex:
        """Index a generated dataset; see `CocoSampler.demo`."""
        return cls.from_coco(demo_dataset(key, **options))

    @property
    def all_gids(self) -> list[Any]:
        """The ids of all images, sorted if they can be."""
        ids = list(self._index.image_ids)
        try:
            return sorted(ids)
        except TypeError:
            return ids

    def __repr__(self) -> str:
        return (
            f"<FrameIntersectionIndex: {len(self._index.image_ids)} images, {len(self._index)} annotations>"
        )

    def overlapping_aids(self, gid: Hashable, box: Any) -> list[int]:
        """Return the annotations of an image that have pixels in common with a box.

        Parameters
        ----------
        gid : hashable
            The image.
        box : kwimage.Boxes, or array of float, shape (4,) or (1, 4)
            x0, y0, x1, y1 in pixels of the image. What only touches has nothing in common.

        Returns
        -------
        list of int
            Ids of annotations, ascending.
        """
        ids: list[int] = self._index.ids[self._meeting(gid, box)[0]].tolist()
        return ids

    def ious(self, gid: Hashable, box: Any) -> tuple[list[int], NDArray[np.float64]]:
        """Return the annotations that a box meets, and the intersection with each over their union."""
        rows, one = self._meeting(gid, box)
        shared, own = self._shared(rows, one), _areas(self._index.boxes[rows])
        together = own + _areas(one[None]) - shared
        parts = np.divide(shared, together, out=np.zeros_like(shared), where=together > 0)
        return self._index.ids[rows].tolist(), parts

    def iooas(self, gid: Hashable, box: Any) -> tuple[list[int], NDArray[np.float64]]:
        """Return the annotations that a box meets, and which part of each is in it; 1 of one without area."""
        rows, one = self._meeting(gid, box)
        shared, own = self._shared(rows, one), _areas(self._index.boxes[rows])
        return self._index.ids[rows].tolist(), np.divide(shared, own, out=np.ones_like(shared), where=own > 0)

    def random_negatives(
        self,
        num: int,
        anchors: Any = None,
        window_size: Any = None,
        gids: Sequence[Any] | None = None,
        thresh: float = 0.0,
        exact: Any = True,
        rng: Any = None,
        patience: Any = None,
    ) -> tuple[NDArray[Any], Any]:
        """Draw windows without objects, in whole pixels, inside their images.

        Parameters
        ----------
        num : int
            How many; so many come.
        anchors : array of float, shape (K, 2), or None
            Widths and heights as parts of those of the image, one for each window at random.
        window_size : tuple of int or None
            Width and height in pixels. Either this is given, or `anchors`.
        gids : sequence of hashable or None
            The images to draw from, each equally likely; None is all.
        thresh : float
            Which part of the window annotations may cover, and which part of any one annotation may be in it;
            at 1 only windows that are wholly covered are refused.
        exact, patience
            Have no effect: it is as many windows as asked for, or an error.
        rng : None, int, numpy.random.Generator or numpy.random.RandomState
            Draws.

        Returns
        -------
        gids : ndarray, shape (num,)
            The image of each.
        boxes : kwimage.Boxes
            x0, y0, x1, y1 of each.

        Raises
        ------
        ConfigError
            If an option has no meaning, or no image is as large as a window.
        UnknownImageError
            If there is no such image.
        NegativesError
            If not so many were found.
        """
        if (anchors is None) == (window_size is None):
            raise ConfigError("random_negatives: give either anchors or window_size.")
        count, generator = checked_count("num", num), as_generator(rng)
        most = min(thresh, np.nextafter(1, 0)) if isinstance(thresh, int | float) else thresh
        rule = NegativeRule(over_window=most, over_annotation=thresh, by="image")
        sizes = self._sizes(gids)
        images, windows = np.zeros(count, np.int64), np.zeros((count, 4), np.int64)
        for places, some, dims in _alike(sizes, anchors, window_size, count, generator):
            found = draw_negatives(self._regions.box_table, some, len(places), dims, rule, generator)
            images[places], windows[places] = found.images, found.windows
        ids = self._index.image_ids
        chosen = np.array([ids[image] for image in images.tolist()])
        return chosen, needed(kwimage, "random_negatives").Boxes(windows.astype(np.float64), "ltrb")

    def _sizes(self, gids: Sequence[Any] | None) -> NDArray[np.int64]:
        """Return heights and widths of all images; 0 of those that are not asked for."""
        sizes = self._regions.sizes.table
        if gids is None:
            return sizes
        rows = [self._index.row_of_image(gid) for gid in gids]
        some = np.zeros_like(sizes)
        some[rows] = sizes[rows]
        return some

    def _meeting(self, gid: Hashable, box: Any) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        boxes = corners(box)
        if len(boxes) != 1:
            raise ConfigError(f"box={shown(box)}: give one box; Regions.overlapping_aids takes several.")
        return self._index.overlapping(gid, boxes[0]), boxes[0]

    def _shared(self, rows: NDArray[np.intp], box: NDArray[np.float64]) -> NDArray[np.float64]:
        own = self._index.boxes[rows]
        common = np.minimum(own[:, 2:], box[2:]) - np.maximum(own[:, :2], box[:2])
        shared: NDArray[np.float64] = common.prod(axis=1)
        return shared


def _areas(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    areas: NDArray[np.float64] = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    return areas


def _alike(
    sizes: NDArray[np.int64], anchors: Any, window_size: Any, count: int, rng: np.random.Generator
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.int64], NDArray[np.int64]]]:
    """Return which windows are drawn together: their places, sizes of images, and their own in pixels."""
    if anchors is None:
        width, height = _pairs("window_size", np.asarray(window_size)[None])[0].tolist()
        dims = np.array([[checked_count("window_size", each, least=1) for each in (height, width)]], np.int64)
        yield np.arange(count), sizes, dims
        return
    parts = _pairs("anchors", anchors)
    if not len(parts) or not ((parts > 0) & (parts <= 1)).all():
        raise ConfigError(f"anchors={shown(anchors)}: widths and heights above 0, up to 1, are needed.")
    there = np.flatnonzero(sizes.all(axis=1))
    if not len(there):
        raise ConfigError("random_negatives: there are no images to draw windows from.")
    shapes = sizes[there[rng.integers(len(there), size=count)]]
    for shape in np.unique(shapes, axis=0):
        places = np.flatnonzero((shapes == shape).all(axis=1))
        some = np.where((sizes == shape).all(axis=1)[:, None], sizes, 0)
        yield places, some, np.maximum(np.rint(parts[:, ::-1] * shape), 1).astype(np.int64)


def _pairs(name: str, given: Any) -> NDArray[Any]:
    """Return pairs (width, height) as rows."""
    try:
        found = np.asarray(given)
    except ValueError:
        found = np.empty(0)
    if found.ndim != 2 or found.shape[1] != 2 or found.dtype.kind not in "iuf":
        raise ConfigError(f"{name}={shown(given)}: width and height are needed.")
    return found
