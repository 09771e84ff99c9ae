"""What training asks for: crops with their annotations, by target or by number."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from subregion.collections.coco import CocoFrames
from subregion.errors import ConfigError, RegionError
from subregion.sampling.annotations.categories import Categories
from subregion.sampling.annotations.index import AnnotationIndex
from subregion.sampling.annotations.live import LiveAnnotations, hash_of, source_of
from subregion.sampling.annotations.report import Report
from subregion.sampling.arguments import as_generator, checked_threshold, place_of
from subregion.sampling.demo import demo_dataset
from subregion.sampling.regions.regions import Regions
from subregion.sampling.sheet.sheet import contact_sheet
from subregion.sampling.targets.keys import Request, merged, replaced
from subregion.sampling.targets.missing import MissingChannels
from subregion.sampling.targets.pixels import read_pixels
from subregion.sampling.targets.places import Box, Places
from subregion.sampling.targets.sample import make_sample, wanted_parts
from subregion.sampling.targets.selection import select_annotations
from subregion.sampling.targets.targets import resolve

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

    from subregion.cache.backend import Backend


class CocoSampler:
    """Samples of a COCO or kwcoco dataset: crops of images and videos, with their annotations.

    Samplers may be pickled, forked and shared between threads at any moment. An annotation that is added to a
    dataset in memory, or removed, is seen by the next sample; after other edits of annotations call
    `refresh`. Either forgets what `preselect` chose.

    Parameters
    ----------
    dset : path, dict, kwcoco.CocoDataset or kwcoco.CocoSqlDatabase
        The dataset; see `CocoFrames`.
    workdir : path or None
        Where converted copies of images are kept; see `Frames`.
    autoinit : bool
        Whether annotations are read now, or when they are first needed.
    backend : None, str or dict
        How images are stored for reading; see `Frames`.
    verbose : int
        Accepted for code that gives it; nothing is printed.
    rng : int, numpy.random.Generator or None
        What random choices come from.
    **options
        Of the images, as for `CocoFrames`: ``root``, ``palette``, ``orientation``, ``hashid_mode`` and so on.

    Examples
    --------
    >>> from subregion import CocoSampler
    >>> sampler = CocoSampler.demo("shapes8", backend=None)
    >>> sample = sampler.load_sample({"gid": 1, "slices": (slice(0, 64), slice(-8, 56)), "channels": "r|g"})
    >>> sample["im"].shape, sorted(sample)
    ((64, 64, 2), ['annots', 'classes', 'im', 'kp_classes', 'params', 'target', 'tr'])
    """

    def __init__(
        self,
        dset: Any,
        workdir: str | os.PathLike[str] | None = None,
        autoinit: bool = True,
        backend: Backend = "auto",
        verbose: int = 0,
        *,
        rng: int | np.random.Generator | None = None,
        **options: Any,
    ) -> None:
        self.dset = dset
        self.workdir = workdir
        self.verbose = verbose
        source = source_of(dset)
        self.frames = CocoFrames(source, workdir, backend, **options)
        self._places = Places(self.frames)
        self._live = LiveAnnotations(source, self.frames)
        self._rng = as_generator(rng)
        self._regions: Regions | None = None
        self._missing = MissingChannels(self.frames)
        if autoinit:
            _ = self.index

    @classmethod
    def coerce(cls, data: Any, **options: Any) -> CocoSampler:
        """Return a sampler of what stands for one: a sampler itself, or a dataset.

        Parameters
        ----------
        data : CocoSampler, or as `dset`
            The data.
        **options
            As for `CocoSampler`; those of a sampler stay as they are.
        """
        if isinstance(data, CocoSampler):
            if options:
                raise ConfigError(
                    f"coerce: a sampler has options of its own, so {sorted(options)} cannot be set; "
                    f"give sampler.dset."
                )
            return data
        return cls(data, **options)

    @classmethod
    def demo(
        cls,
        key: str = "shapes",
        workdir: str | os.PathLike[str] | None = None,
        backend: Backend = None,
        **options: Any,
    ) -> CocoSampler:
        """Return a sampler of generated images.

        Parameters
        ----------
        key : str
            One of kwcoco's, such as ``"shapes8"`` or ``"vidshapes8-multispectral"``, if that is installed;
            without it ``"shapes"`` and ``"vidshapes"``, with a number behind.
        workdir, backend
            As for `CocoSampler`.
        **options
            For kwcoco's generator.
        """
        return cls(demo_dataset(key, **options), workdir, backend=backend)

    # What there is.

    @property
    def index(self) -> AnnotationIndex:
        """The annotations as arrays; made anew where one was added to the dataset, or removed."""
        return self._live.index

    def refresh(self) -> None:
        """Read all annotations anew, after edits of a dataset in memory, or of a file."""
        self._live.refresh()
        self._places.forget()

    @property
    def regions(self) -> Regions:
        """Positives, negatives and grids."""
        index = self.index
        if self._regions is None or self._regions.index is not index:
            self._regions = Regions(index, self.frames, rng=self._rng)
        return self._regions

    @property
    def report(self) -> Report:
        """What was passed over, mended or filled, and how often."""
        return self.index.report + self._missing.counts

    @property
    def classes(self) -> Categories:
        """The categories."""
        return self.index.categories

    catgraph = classes

    @property
    def kp_classes(self) -> Categories:
        """The categories of keypoints."""
        return self._live.kp_classes

    @property
    def _backend(self) -> Any:
        """How images are stored for reading, where programs look for it."""
        return self.frames.backend

    @property
    def BACKGROUND_CLASS_ID(self) -> int:  # noqa: N802 - as it is called there
        """The id of the category "background"; 0 if there is none of that name."""
        return self.classes.background_id

    @property
    def n_positives(self) -> int:
        """How many annotations have a box."""
        return self.regions.n_positives

    @property
    def n_samples(self) -> int:
        """How many samples there are by number: positives, and the pool of negatives."""
        return self.regions.n_samples

    @property
    def n_annots(self) -> int:
        """How many annotations there are."""
        return len(self.index)

    @property
    def n_images(self) -> int:
        """How many images there are."""
        return len(self.frames)

    @property
    def n_categories(self) -> int:
        """How many categories there are, with those that only stand above others."""
        return len(self.classes)

    @property
    def class_ids(self) -> list[int]:
        """The ids of the categories that the dataset lists."""
        return list(self.classes.category_ids)

    @property
    def image_ids(self) -> list[Any]:
        """The ids of all images, sorted if they can be."""
        try:
            return sorted(self.frames.image_ids)
        except TypeError:
            return list(self.frames.image_ids)

    def lookup_class_name(self, class_id: int) -> str:
        """Return the name of a category."""
        return self.classes.name_of(class_id)

    def lookup_class_id(self, class_name: str) -> int:
        """Return the id of a category."""
        return self.classes.id_of(class_name)

    @property
    def hashid(self) -> str:
        """A name for images, boxes and categories, as 128 hexadecimal digits: equal data have equal names."""
        return hash_of(self.index)

    def _depends(self) -> list[Any]:
        """Return what names of files that programs keep depend on."""
        return [self.hashid]

    def __len__(self) -> int:
        return self.n_samples

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.load_item(index)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for number in range(len(self)):
            yield self.load_item(number)

    def __repr__(self) -> str:
        folder = os.fspath(self.frames.workdir)
        return (
            f"<CocoSampler: {self.n_images} images, {self.n_annots} annotations, {len(self.class_ids)} "
            f"categories, backend={self.frames.backend!r}, workdir={folder!r}>"
        )

    # Samples.

    def load_sample(
        self,
        target: Request | None = None,
        with_annots: Any = True,
        annot_ids: Iterable[Any] | None = None,
        visible_thresh: float = 0.0,
        *,
        strict: bool = False,
        tr: Request | None = None,
        **options: Any,
    ) -> dict[str, Any]:
        """Read one sample.

        Parameters
        ----------
        target : dict
            What to read: an image (``gid``, or the ``aid`` of an annotation), frames (``gids``, in any order)
            or a video (``vidid``, with ``time_slice``); a window of it (``slices`` or ``space_slice``, which
            are literal, or ``cx``, ``cy`` with ``width`` and ``height`` or ``window_dims``, or around the
            box of ``aid``), and ``pad``; how pixels are wanted (``channels``, ``scale`` as a number or
            (x, y), ``interpolation``, ``antialias``, ``nodata``, ``dtype``, ``padkw``, ``use_native_scale``,
            ``realign_native``, ``as_xarray``). Other keys stay in the target of the sample. The dict is not
            changed.
        with_annots : bool, str or list of str
            Whether annotations are wanted; or which parts of them: ``"boxes+segmentation+keypoints"``. Boxes
            always come.
        annot_ids : iterable of int or None
            The annotations that may come, instead of all that the window meets.
        visible_thresh : float
            More than this part of a box must be seen: inside the window, and inside the image. At 0 all come
            that the window meets, also what lies outside its image.
        strict : bool
            Whether keys that are unknown are an error.
        tr : dict
            The older name of `target`.
        **options
            Any key of a target that says how pixels are wanted, or ``pad``.

        Returns
        -------
        dict
            ``im``: pixels (rows, columns, channels), of frames (frames, rows, columns, channels);
            ``annots``: annotations in pixels of the sample; ``target``: the target, completed, which can be
            given again; ``params``: how the sample lies; ``classes`` and ``kp_classes``.

        Raises
        ------
        TargetError, RegionTypeError, ConfigError
            If the target is contradictory, or a value has no meaning.
        UnknownImageError, UnknownVideoError, UnknownAnnotationError, UnknownChannelError
            If there is no such thing; of channels only if no image of the dataset has it, and
            ``nodata="float"`` does not ask for NaN.
        SubregionError
            As for `load_region`.
        """
        request = merged(target, tr, options)
        parts = wanted_parts(with_annots)
        threshold = checked_threshold(visible_thresh)
        index, kp_classes = self._live.index, self._live.kp_classes
        resolved = resolve(request, self._places, self, strict)
        pixels = read_pixels(self.frames, resolved.target)
        if pixels.missing:
            self._missing.tell(resolved.target, pixels)
        selection = None
        if parts is not None:
            wanted = parts, threshold, annot_ids, kp_classes
            selection = select_annotations(index, self._places, resolved.target, pixels.scales, *wanted)
        sample = make_sample(self.frames, request, resolved, pixels, selection)
        sample["classes"], sample["kp_classes"] = index.categories, kp_classes
        return sample

    def annotation_of(self, annotation_id: Any) -> tuple[Any, Box, int]:
        """Return the image of an annotation, its box (x0, y0, x1, y1) and its category (-1 for none)."""
        index = self.index
        row = index.find(annotation_id)
        box: Any = tuple(index.boxes[row].tolist())
        return index.image_ids[index.image[row]], box, int(index.category_ids[row])

    def load_item(
        self,
        index: int,
        with_annots: Any = True,
        target: Request | None = None,
        rng: int | np.random.Generator | None = None,
        **options: Any,
    ) -> dict[str, Any]:
        """Read a sample by its number: positives come first, then the pool of negatives.

        Parameters
        ----------
        index : int
            From 0 to ``len(sampler)``; from the end if negative.
        with_annots, **options
            As for `load_sample`.
        target : dict or None
            Keys that are set, or replaced.
        rng : int, numpy.random.Generator or None
            Not needed, as nothing is random; for code that gives it.

        Raises
        ------
        RegionError
            If there is no such sample (`IndexError`).
        """
        number = place_of(index, len(self), "samples", RegionError)
        positives = self.n_positives
        if number < positives:
            return self.load_positive(number, with_annots, target, rng, **options)
        return self.load_negative(number - positives, with_annots, target, rng, **options)

    def load_positive(
        self,
        index: int | None = None,
        with_annots: Any = True,
        target: Request | None = None,
        rng: int | np.random.Generator | None = None,
        **options: Any,
    ) -> dict[str, Any]:
        """Read the window around an annotation; a random one without `index`. See `load_item`."""
        row = self.regions.get_positive(index, rng=rng)
        return self.load_sample(replaced(row, target), with_annots, **options)

    def load_negative(
        self,
        index: int | None = None,
        with_annots: Any = True,
        target: Request | None = None,
        rng: int | np.random.Generator | None = None,
        **options: Any,
    ) -> dict[str, Any]:
        """Read a window without annotations; the next one of the pool without `index`. See `load_item`."""
        row = self.regions.get_negative(index, rng=rng)
        return self.load_sample(replaced(row, target), with_annots, **options)

    def preselect(self, **options: Any) -> tuple[int, int]:
        """Choose positives and make a pool of negatives; see `Regions.preselect`."""
        return self.regions.preselect(**options)

    def new_sample_grid(
        self, task: str, window_dims: Any, window_overlap: Any = 0, **options: Any
    ) -> dict[str, Any]:
        """Return windows that cover all images, or videos; see `Regions.new_sample_grid`."""
        return self.regions.new_sample_grid(task, window_dims, window_overlap, **options)

    def show(self, targets: Any = None, n: int = 24, **options: Any) -> Picture:
        """Draw a contact sheet of samples, with their boxes, masks and classes; see `sheet.contact_sheet`."""
        options.setdefault("rng", self._rng)
        return contact_sheet(self, targets, n, **options)

    # Images and annotations as they are.

    def load_image(self, image_id: Any, cache: bool = True) -> NDArray[Any]:
        """Read a whole image, (rows, columns, channels); see `Frames.load_image`."""
        return np.asanyarray(self.frames.load_image(image_id, cache=cache))

    def load_annotations(self, image_id: Any) -> list[Mapping[str, Any]]:
        """Return the annotations of an image as the dataset has them, in the order of their ids."""
        rows = self.index.rows_of(image_id)
        return [self.index.entry(row) for row in range(rows.start, rows.stop)]

    def load_image_with_annots(
        self, image_id: Any, cache: bool = True
    ) -> tuple[dict[str, Any], list[Mapping[str, Any]]]:
        """Return what the dataset says of an image, with its pixels as ``"imdata"``, and its annotations."""
        image = {**self.frames.image(image_id), "imdata": self.load_image(image_id, cache)}
        return image, self.load_annotations(image_id)

    def load_target_annots(self, target: Request) -> list[int]:
        """Return the ids of the annotations that a target holds, frame by frame; no pixel is read."""
        resolved = resolve(target, self._places, self).target
        scales = (resolved.options.scale,) * len(resolved.image_ids)
        selection = select_annotations(self.index, self._places, resolved, scales, frozenset())
        ids: list[int] = selection.column("ids").tolist()
        return ids
