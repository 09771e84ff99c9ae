"""COCO and kwcoco datasets as collections of images."""

from __future__ import annotations

import contextlib
import copy
import os
from collections import OrderedDict
from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from subregion.collections.coco_entries import LiveEntries, entries_of
from subregion.collections.coco_file import Lists, read_dataset
from subregion.collections.coco_records import RecordMaker
from subregion.collections.coco_schema import ImageEntry, Member, VideoEntry
from subregion.collections.video import VideoCollection
from subregion.errors import (
    RecordError,
    RegionTypeError,
    UnknownImageError,
    UnknownVideoError,
    shown,
)
from subregion.paths import path_of
from subregion.records import ImageRecord, with_palette
from subregion.views import View

if TYPE_CHECKING:
    from subregion.cache.backend import Backend
    from subregion.cache.limits import Size

#: How many records are kept as they were read.
KNOWN_RECORDS = 1024


class CocoFrames(VideoCollection):
    """The images of a COCO or kwcoco dataset.

    Parameters
    ----------
    dataset : path, dict, kwcoco.CocoDataset, kwcoco.CocoSqlDatabase or Lists
        A file (``.json``, ``.json.gz``, or ``.zip`` with one JSON inside), its content, the object, or what
        `read_dataset` made of a file.
        Later edits of a dict or a `CocoDataset` are seen; the images of a database are read once, now.
    workdir, backend, hashid_mode, max_size
        See `Frames`.
    palette : str
        What pixels of palette files are; see `SimpleFrames`.
    root : path or None
        The folder that relative paths start from; None is the folder of the file, that of the object, or
        the current one for a dict.
    id_to_hashid : mapping or None
        For ``hashid_mode="GIVEN"``, from image id to the hash of its content; where an image has several
        files, to a mapping from the ``file_name`` of each, as the dataset writes it, to its hash. An image or
        a file that is not in it has the hash that stands in its entry as ``"hashid"``.
    orientation : str
        Whether rows and columns of the files are those that are ``"stored"``, or as viewers turn them by
        their EXIF tag: ``"upright"``, as most tools record the sizes of photographs.

    Raises
    ------
    SubregionError
        If the file is missing, or no such dataset, or ids are missing or given twice. What is wrong with a
        single image is told when that image is asked for.

    Examples
    --------
    >>> from subregion import SimpleFrames
    >>> path = SimpleFrames.demo().record("coffee.png").default_asset.path
    >>> frames = CocoFrames({"images": [{"id": 7, "file_name": path, "channels": "rgb"}]}, backend=None)
    >>> frames.load_region(7, (slice(0, 10), slice(0, 20)), "b|r").shape
    (10, 20, 2)
    """

    def __init__(
        self,
        dataset: Any,
        workdir: str | os.PathLike[str] | None = None,
        backend: Backend = "auto",
        hashid_mode: str = "PATH",
        *,
        root: str | os.PathLike[str] | None = None,
        id_to_hashid: Mapping[Any, str | Mapping[str, str]] | None = None,
        max_size: Size = None,
        palette: str = "rgb",
        orientation: str = "stored",
    ) -> None:
        super().__init__(workdir, backend, hashid_mode, max_size=max_size)
        self._palette = View(palette=palette).palette
        if isinstance(dataset, str | bytes | os.PathLike):
            path = os.path.abspath(path_of(dataset, "the dataset"))
            document: Lists | Mapping[str, Any] = read_dataset(path)
            owner, folder = path, os.path.dirname(path)
        elif isinstance(dataset, Lists):
            document, owner, folder = dataset, dataset.path, os.path.dirname(dataset.path)
        elif isinstance(dataset, Mapping):
            document, owner, folder = dataset, "the dataset", os.getcwd()
        elif isinstance(
            getattr(dataset, "dataset", None), Mapping
        ):  # a kwcoco.CocoDataset, not imported here
            document, owner = dataset.dataset, "the dataset"
            folder = os.path.abspath(dataset.bundle_dpath)
        else:
            raise RecordError(
                f"a dataset is a path, a dict or a kwcoco.CocoDataset, not a {type(dataset).__name__}."
            )
        self._images, self._videos = entries_of(document, owner)
        root = folder if root is None else os.path.abspath(path_of(root, "root"))
        if id_to_hashid is not None and not isinstance(id_to_hashid, Mapping):
            raise RegionTypeError(
                f"id_to_hashid must map image ids to hashes, not be a {type(id_to_hashid).__name__}."
            )
        View(orientation=orientation)  # says what is wrong with it
        self._maker = RecordMaker(root, dict(id_to_hashid or {}), self.hashid_mode == "GIVEN", orientation)
        self._known: OrderedDict[Any, tuple[Any, ImageRecord]] = OrderedDict()

    @property
    def image_ids(self) -> Sequence[Hashable]:
        """The ids of all images, in order; of a dict or an object a view, in which later edits are seen."""
        return self._images.ids

    def __len__(self) -> int:
        return len(self._images)

    def _count_shown(self) -> str:
        return f"{len(self._images)} images, {len(self._videos)} videos"

    def __contains__(self, image_id: object) -> bool:
        """Whether there is an image with this id; nothing is read."""
        return self._images.find(image_id) is not None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_known": OrderedDict()}

    @property
    def video_ids(self) -> Sequence[Hashable]:
        """The ids of all videos, in the order of the dataset."""
        return self._videos.ids

    def frames_of(self, video_id: Any) -> Sequence[Hashable]:
        """Return the ids of the images of a video, in the order of their `frame_index`.

        Raises
        ------
        UnknownVideoError
            If there is no such video.
        RecordError
            If an image of it has no `frame_index`.
        """
        if video_id is None or self._videos.find(video_id) is None:
            raise UnknownVideoError(f"no video with id {shown(video_id)} among {len(self._videos)}.")
        return [member.id for member in sorted(self._images.members(video_id), key=self._frame_index)]

    def _frame_index(self, member: Member) -> int:
        index = member.frame_index
        if isinstance(index, bool) or not isinstance(index, int):
            raise RecordError(
                f"{self._images.owner}: image {shown(member.id)}: is in the video {shown(member.video_id)}, "
                f"but its frame_index={shown(index)} is no whole number; give it one."
            )
        return index

    def image(self, image_id: Any) -> Mapping[str, Any]:
        """Return the image's entry in the dataset; of a file, a copy.

        Raises
        ------
        UnknownImageError
            If there is none.
        """
        return self._images.document(self._place(image_id))

    def declared_sizes(self) -> NDArray[np.int64]:
        """Return the sizes of all images as the dataset has them, in the order of `image_ids`.

        Returns
        -------
        ndarray of int64, shape (images, 2)
            Height and width; 0 where the dataset says nothing. No record is made and nothing opened.
        """
        return self._images.sizes()

    def _place(self, image_id: Any) -> int:
        place = self._images.find(image_id)
        if place is None:
            raise UnknownImageError(f"no image with id {shown(image_id)} among {len(self._images)}.")
        return place

    def record(self, image_id: Any) -> ImageRecord:
        """Return what is known of an image; see `Frames.record`."""
        place = self._place(image_id)
        known = self._known.get(image_id)
        seen = self._seen(place)
        with contextlib.suppress(ValueError):  # arrays in the entry, which do not compare to a bool
            if known is not None and known[0] == seen:
                return known[1]
        image = self._images.typed(place, ImageEntry)
        video = self._video_of(place, image)
        record = self._maker.record(image_id, image, video, self._images.named(place))
        record = with_palette(record, self._palette)
        if len(self._known) >= KNOWN_RECORDS:
            with contextlib.suppress(KeyError):  # another thread may have been faster
                self._known.popitem(last=False)
        self._known[image_id] = copy.deepcopy(seen), record
        return record

    def _video_of(self, place: int, image: ImageEntry) -> VideoEntry | None:
        if image.video_id is None:
            return None
        try:
            hash(image.video_id)
        except TypeError:
            raise RecordError(
                f"{self._images.named(place)}: video_id={shown(image.video_id)} must be a number or a text."
            ) from None
        found = self._videos.find(image.video_id)
        return None if found is None else self._videos.typed(found, VideoEntry)

    def _seen(self, place: int) -> Any:
        """Return all that a record depends on, where that may be edited."""
        if not isinstance(self._images, LiveEntries):
            return None
        # To compare an entry with what it was takes a tenth of reading it anew, and sees every edit.
        image = self._images.document(place)
        video_id = image.get("video_id")
        found = None if video_id is None else self._videos.find(video_id)
        video = {} if found is None else self._videos.document(found)
        return (
            {key: image[key] for key in ImageEntry.__struct_fields__ if key in image},
            video.get("width"),
            video.get("height"),
        )
