"""Where samples are drawn: at annotations (positives), away from them (negatives), or on a grid."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from subregion.errors import ConfigError, MissingNegativePoolError, RegionError, shown
from subregion.sampling.annotations.categories import BACKGROUND
from subregion.sampling.arguments import (
    as_generator,
    by_ratio,
    checked_count,
    checked_dims,
    corners,
    place_of,
)
from subregion.sampling.regions.boxtable import BoxTable
from subregion.sampling.regions.grid import LARGEST, different_rows
from subregion.sampling.regions.negatives import MOST_SIZES, NegativeRule, Negatives, draw_negatives
from subregion.sampling.regions.positives import Positives
from subregion.sampling.regions.samplegrid import TASKS, GridOptions, sample_grid
from subregion.sampling.regions.sizes import ImageSizes
from subregion.sampling.regions.valid import ValidPixels

if TYPE_CHECKING:
    from subregion.frames import Frames
    from subregion.sampling.annotations.index import AnnotationIndex

#: Sizes of images times sizes of windows; with more, fewer sizes are taken from objects.
_MOST_PLACES = 20_000_000


class Regions:
    """Where samples of a dataset are drawn.

    Positives are annotations with a box, in the order of the dataset.
    Negatives are windows without objects; there are none before `preselect` chose some.

    Parameters
    ----------
    index : AnnotationIndex
        The annotations; later edits of the dataset are seen by a new one.
    frames : Frames
        The images.
    rng : None, int or numpy.random.Generator
        Draws where no other is given; None is a new one.
    """

    def __init__(self, index: AnnotationIndex, frames: Frames, *, rng: Any = None) -> None:
        self.index = index
        self.frames = frames
        self.classes = index.categories
        self.sizes = ImageSizes(index, frames)
        self.targets = Positives(index, self.sizes)
        self._rng = as_generator(rng)
        self._chosen: NDArray[np.int64] | None = None
        self._negatives: list[dict[str, Any]] = []
        self._next = 0
        self._table: BoxTable | None = None
        self._valid_pixels = ValidPixels(frames)

    # How many there are.

    @property
    def n_positives(self) -> int:
        """How many positives there are, or were chosen."""
        return self.targets.count if self._chosen is None else len(self._chosen)

    @property
    def n_negatives(self) -> int:
        """How many negatives were chosen."""
        return len(self._negatives)

    @property
    def n_samples(self) -> int:
        """How many of both."""
        return self.n_positives + self.n_negatives

    def __len__(self) -> int:
        return self.n_samples

    @property
    def n_annots(self) -> int:
        """How many annotations there are, also of those without a box."""
        return len(self.index)

    @property
    def n_images(self) -> int:
        """How many images there are."""
        return len(self.index.image_ids)

    @property
    def n_categories(self) -> int:
        """How many categories there are."""
        return len(self.classes)

    @property
    def image_ids(self) -> Sequence[Any]:
        """The ids of all images."""
        return self.index.image_ids

    @property
    def workdir(self) -> Any:
        """The folder of the converted images, where programs keep files of their own."""
        return self.frames.workdir

    @property
    def background_id(self) -> int:
        """The category of negatives."""
        return self.classes.background_id

    # One of them.

    def get_positive(self, index: int | None = None, rng: Any = None) -> dict[str, Any]:
        """Return a positive as a target.

        Parameters
        ----------
        index : int or None
            Which; -1 is the last; None is one at random.
        rng : None, int or numpy.random.Generator
            Draws that.

        Returns
        -------
        dict
            ``aid``, ``gid``, ``category_id``, ``cx``, ``cy``, ``width``, ``height``, ``img_width`` and
            ``img_height``, a row of `targets`.

        Raises
        ------
        RegionError
            If there is no such positive (`IndexError`).
        """
        if index is None:
            if not self.n_positives:
                raise RegionError("there are no positives: no annotation has a box, or none was chosen.")
            index = int((self._rng if rng is None else as_generator(rng)).integers(self.n_positives))
        place = place_of(index, self.n_positives, "positives", RegionError)
        return self.targets.row(place if self._chosen is None else int(self._chosen[place]))

    def get_negative(self, index: int | None = None, rng: Any = None) -> dict[str, Any]:
        """Return a window without objects as a target.

        Parameters
        ----------
        index : int or None
            Which of those that `preselect` chose. None is the next, and after the last one the first again;
            if none were chosen, a window that is drawn now and not kept.
        rng : None, int or numpy.random.Generator
            Draws that.

        Returns
        -------
        dict
            As for `get_positive`; ``aid`` is -1, ``category_id`` that of the background.

        Raises
        ------
        MissingNegativePoolError
            If there is no such negative (`AssertionError` and `IndexError`).
        NegativesError
            If none was found.
        """
        if index is not None:
            place = place_of(index, self.n_negatives, "negatives", MissingNegativePoolError)
            return dict(self._negatives[place])
        if not self._negatives:
            return self._rows(self.draw_negatives(1, rng=rng))[0]
        found = self._negatives[self._next % len(self._negatives)]
        self._next = (self._next + 1) % len(self._negatives)
        return dict(found)

    # Choosing.

    def preselect(
        self,
        n_pos: int | None = None,
        n_neg: int | None = None,
        neg_to_pos_ratio: float | None = None,
        window_dims: Any = None,
        rng: Any = None,
        verbose: int = 0,
        *,
        rule: NegativeRule | None = None,
    ) -> tuple[int, int]:
        """Choose positives, and draw negatives.

        Parameters
        ----------
        n_pos : int or None
            How many positives, at random and each once, in a random order; None is all, in their order.
        n_neg : int or None
            How many negatives; None is none, or by the ratio.
        neg_to_pos_ratio : float or None
            How many negatives there are to be for each positive, instead of `n_neg`.
        window_dims : tuple of int or None
            Height and width of negatives; None gives them sizes of positives.
        rng : None, int or numpy.random.Generator
            Draws.
        verbose : int
            Has no effect.
        rule : NegativeRule or None
            What counts as free of objects, and how negatives are spread over images.

        Returns
        -------
        n_pos, n_neg : int
            How many there are now.

        Raises
        ------
        ConfigError
            If an option has no meaning, or there are not so many positives.
        NegativesError
            If not so many negatives were found. Nothing is changed then.
        """
        if n_neg is not None and neg_to_pos_ratio is not None:
            raise ConfigError(f"give n_neg={shown(n_neg)} or neg_to_pos_ratio={shown(neg_to_pos_ratio)}.")
        generator = self._rng if rng is None else as_generator(rng)
        chosen = None
        if n_pos is not None:
            count = checked_count("n_pos", n_pos)
            if count > self.targets.count:
                raise ConfigError(f"n_pos={count}: there are {self.targets.count} annotations with a box.")
            chosen = generator.permutation(self.targets.count)[:count]
        positives = self.targets.count if chosen is None else len(chosen)
        count = checked_count("n_neg", 0 if n_neg is None else n_neg)
        if neg_to_pos_ratio is not None:
            count = by_ratio(neg_to_pos_ratio, positives)
        found = self._rows(self.draw_negatives(count, window_dims, generator, rule=rule))
        self._chosen, self._negatives, self._next = chosen, found, 0
        return positives, len(found)

    def draw_negatives(
        self,
        count: int,
        window_dims: Any = None,
        rng: Any = None,
        *,
        rule: NegativeRule | None = None,
    ) -> Negatives:
        """Draw windows without objects, independently of each other; nothing is kept.

        Parameters
        ----------
        count : int
            How many.
        window_dims : tuple of int or None
            Height and width; None gives each the size of a positive that is drawn at random.
        rng : None, int or numpy.random.Generator
            Draws.
        rule : NegativeRule or None
            What counts as free.

        Raises
        ------
        ConfigError
            If no image is as large as a window, or there are no positives to take sizes from.
        NegativesError
            If so many were not found; the message has the figures.
        """
        count = checked_count("n_neg", count)
        generator = self._rng if rng is None else as_generator(rng)
        if not count:
            return Negatives(np.empty(0, np.int64), np.empty((0, 4), np.int64))
        sizes = self.sizes.table
        dims = self._dims(window_dims, count, generator)
        rule = rule or NegativeRule()
        valid = None if rule.min_valid is None else partial(self._is_valid, rule.min_valid)
        return draw_negatives(self.box_table, sizes, count, dims, rule, generator, valid)

    def _is_valid(
        self, least: float, images: NDArray[np.int64], windows: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """Tell which windows hold enough pixels that are not nodata, and any at all."""
        found = np.zeros(len(images), bool)
        for image in np.unique(images).tolist():
            rows = np.flatnonzero(images == image)
            part = self._valid_pixels.fraction(self.index.image_ids[image], windows[rows])
            found[rows] = (part >= least) & (part > 0)
        return found

    @property
    def box_table(self) -> BoxTable:
        """The boxes of all objects, sorted for drawing; what is annotated as background is none."""
        if self._table is None:
            index = self.index
            rows = np.arange(len(index))
            if BACKGROUND in self.classes:
                rows = np.flatnonzero(index.category_ids != self.background_id)
            widest = int(self.sizes.table[:, 1].max(initial=0))
            self._table = BoxTable.of(index.image[rows], index.boxes[rows], index.iscrowd[rows], widest)
        return self._table

    def _dims(self, window_dims: Any, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Return the sizes that negatives may have."""
        if window_dims is not None:
            height, width = checked_dims(window_dims)
            return np.array([[min(height, LARGEST), min(width, LARGEST)]], np.int64)
        if not self.n_positives:
            raise ConfigError(
                "window_dims=None takes the sizes of positives for windows without objects, and there are no "
                "positives; give window_dims=(height, width)."
            )
        shapes = len(different_rows(self.sizes.table)[0])
        most = min(count, MOST_SIZES, max(16, _MOST_PLACES // shapes))
        rows = self.targets.rows[rng.integers(self.targets.count, size=most)]
        boxes = self.index.boxes[rows]
        sizes = np.ceil(boxes[:, [3, 2]] - boxes[:, [1, 0]]).clip(1, 1 << 40)
        return sizes.astype(np.int64)

    def _rows(self, found: Negatives) -> list[dict[str, Any]]:
        """Return negatives as targets."""
        ids, background = self.index.image_ids, self.background_id
        rows = []
        for image, (x0, y0, x1, y1) in zip(found.images.tolist(), found.windows.tolist(), strict=True):
            height, width = self.sizes.of_image(image)
            rows.append(
                {
                    "aid": -1,
                    "gid": ids[image],
                    "category_id": background,
                    "cx": (x0 + x1) / 2,
                    "cy": (y0 + y1) / 2,
                    "width": float(x1 - x0),
                    "height": float(y1 - y0),
                    "img_width": width,
                    "img_height": height,
                }
            )
        return rows

    def new_sample_grid(
        self,
        task: str,
        window_dims: Any,
        window_overlap: Any = 0,
        *,
        image_ids: Sequence[Any] | None = None,
        video_ids: Sequence[Any] | None = None,
        legacy: bool = True,
        **options: Any,
    ) -> dict[str, Any]:
        """Cover images or videos with windows, row by row.

        Every pixel and every frame is in a window, unless an option leaves it out. Windows along the edges
        are moved inwards. One that is larger than its image leaves it; of a video it holds all frames.

        Parameters
        ----------
        task : str
            ``"image_detection"`` covers images; ``"video_detection"`` videos, in their own pixels.
        window_dims : sequence of (int or "full"), or "full"
            Height and width; of videos frames before them.
        window_overlap : float or sequence of float
            Which part of a window the next one shares with it, along all axes or each; from 0 up to, not
            including, 1. Distances are rounded to whole pixels, half to even, and are at least 1.
        image_ids, video_ids : sequence of hashable or None
            Which images or videos; None is all.
        legacy : bool
            Whether the result has the lists of targets ``"positives"`` and ``"negatives"``, too.
        **options
            See `GridOptions`: ``keepbound``, ``classes_of_interest``, ``ignore_coverage``, ``min_valid``,
            ``area``, ``crs``, ``use_annots``.

        Returns
        -------
        dict
            ``"targets"``, a list of dicts that `CocoSampler.load_sample` takes: ``gid`` and ``slices``, or
            ``vidid``, ``time_slice``, ``space_slice`` and ``gids``; and ``aids``, the annotations whose box
            has pixels in common with the window. ``"positives_indexes"`` and ``"negatives_indexes"`` are
            places in that list.

        Raises
        ------
        ConfigError
            If an option has no meaning.
        UnknownImageError, UnknownVideoError, UnknownCategoryError
            If there is no such thing.
        """
        of_images = task == TASKS[0]
        if (video_ids if of_images else image_ids) is not None:
            other = "image_ids" if of_images else "video_ids"
            raise ConfigError(f"task={shown(task)}: give {other}.")
        unknown = options.keys() - GridOptions.__slots__
        if unknown:
            known = ", ".join(GridOptions.__slots__)
            raise ConfigError(f"new_sample_grid: unknown {shown(min(unknown))}; options are {known}.")
        found = sample_grid(
            self.index,
            self.frames,
            self.sizes,
            task,
            window_dims,
            window_overlap,
            GridOptions(**options),
            image_ids if of_images else video_ids,
        )
        if not legacy:
            del found["positives"], found["negatives"]
        return found

    # Looking up.

    def overlapping_aids(self, image_id: Any, boxes: Any, visible_thresh: float = 0.0) -> list[int]:
        """Return the annotations of an image that have pixels in common with any of some boxes.

        Parameters
        ----------
        image_id : hashable
            The image.
        boxes : kwimage.Boxes, or array of float, shape (4,) or (N, 4)
            x0, y0, x1, y1 in pixels of the image. What only touches has nothing in common.
        visible_thresh : float
            Only those of which more than this part is in one of the boxes.

        Returns
        -------
        list of int
            Ids of annotations, ascending.
        """
        found: set[int] = set()
        for box in corners(boxes):
            rows = self.index.overlapping(image_id, box)
            if visible_thresh > 0:
                rows = rows[self._visible(rows, box) > visible_thresh]
            found.update(self.index.ids[rows].tolist())
        return sorted(found)

    def _visible(self, rows: NDArray[np.intp], box: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return which part of annotations is in a box that they meet."""
        own = self.index.boxes[rows]
        common = np.minimum(own[:, 2:], box[2:]) - np.maximum(own[:, :2], box[:2])
        area = (own[:, 2:] - own[:, :2]).prod(axis=1)
        part: NDArray[np.float64] = np.ones(len(rows))
        np.divide(common.prod(axis=1), area, out=part, where=area > 0)
        return part

    def get_segmentations(self, aids: Any) -> list[Any]:
        """Return the segmentation of each annotation as the dataset has it; None where it has none."""
        return [self.index.entry(self.index.find(aid)).get("segmentation") for aid in aids]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_table": None}
