"""COCO and kwcoco datasets as collections of images."""

from __future__ import annotations

import contextlib
import copy
import gzip
import json
import math
import os
import zipfile
from collections import OrderedDict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from affine import Affine

from subregion.errors import (
    RecordError,
    UnknownImageError,
    UnknownVideoError,
    UnsupportedFormatError,
    source_error,
)
from subregion.geometry.channels import parse_channels
from subregion.raster.container import SUFFIXES
from subregion.records import Asset, ImageRecord, Quantization, VideoPlace
from subregion.videos import VideoCollection

if TYPE_CHECKING:
    from subregion.cache.recipe import Backend

#: A dataset that grows beyond this on decompression is refused.
MAX_JSON_BYTES = 64 << 30
#: How many records are kept as they were read.
KNOWN_RECORDS = 1024


class CocoFrames(VideoCollection):
    """The images of a COCO or kwcoco dataset.

    Parameters
    ----------
    dataset : path, dict or kwcoco.CocoDataset
        A file (``.json``, ``.json.gz``, or ``.zip`` with one JSON inside), its content, or the object.
        Later edits of a dict or an object are seen.
    workdir, backend, hashid_mode
        See `Frames`.
    root : path or None
        The folder that relative paths start from; None is the folder of the file, that of the object, or
        the current one for a dict.

    Raises
    ------
    SubregionError
        If the file is missing, or no such dataset.

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
    ) -> None:
        super().__init__(workdir, backend, hashid_mode)
        self._editable = not isinstance(dataset, str | os.PathLike)
        if isinstance(dataset, str | os.PathLike):
            path = os.path.abspath(os.path.expanduser(os.fspath(dataset)))
            self._dataset: Any = _read_json(path)
            folder = os.path.dirname(path)
        elif isinstance(dataset, Mapping):
            self._dataset, folder = dataset, os.getcwd()
        elif isinstance(
            getattr(dataset, "dataset", None), Mapping
        ):  # a kwcoco.CocoDataset, not imported here
            self._dataset, folder = dataset.dataset, os.path.abspath(dataset.bundle_dpath)
        else:
            raise RecordError(
                f"a dataset is a path, a dict or a kwcoco.CocoDataset, not a {type(dataset).__name__}."
            )
        if not isinstance(self._dataset.get("images"), list):
            raise UnsupportedFormatError("the dataset has no list of 'images': it is not in the COCO format.")
        self._root = folder if root is None else os.path.abspath(os.path.expanduser(os.fspath(root)))
        self._index: dict[Any, int] = {}
        self._known: OrderedDict[Any, tuple[Any, ImageRecord]] = OrderedDict()
        self._video_index: dict[Any, int] = {}
        self._members: dict[Any, list[Mapping[str, Any]]] | None = None

    @property
    def image_ids(self) -> Sequence[Hashable]:
        """The ids of all images, in the order of the dataset."""
        return [image["id"] for image in self._dataset["images"]]

    def __len__(self) -> int:
        return len(self._dataset["images"])

    def __getstate__(self) -> dict[str, Any]:
        lazy: dict[str, Any] = {"_index": {}, "_known": OrderedDict(), "_video_index": {}, "_members": None}
        return self.__dict__ | lazy

    @property
    def video_ids(self) -> Sequence[Hashable]:
        """The ids of all videos, in the order of the dataset."""
        return [video["id"] for video in self._dataset.get("videos") or ()]

    def frames_of(self, video_id: Any) -> Sequence[Hashable]:
        """Return the ids of the images of a video, in the order of their `frame_index`.

        Raises
        ------
        UnknownVideoError
            If there is no such video.
        RecordError
            If an image of it has no `frame_index`.
        """
        if self._video(video_id) is None:
            known = len(self._dataset.get("videos") or ())
            raise UnknownVideoError(f"no video with id {video_id!r} among {known}.")
        return [image["id"] for image in sorted(self._images_of(video_id), key=_frame_index)]

    def _images_of(self, video_id: Any) -> list[Mapping[str, Any]]:
        images = self._dataset["images"]
        if self._editable:  # any entry may have moved to another video since the last look
            return [image for image in images if image.get("video_id") == video_id]
        if self._members is None:
            members: dict[Any, list[Mapping[str, Any]]] = {}
            for image in images:
                members.setdefault(image.get("video_id"), []).append(image)
            self._members = members
        return self._members.get(video_id, [])

    def _video(self, video_id: Any) -> Mapping[str, Any] | None:
        """Return the video's entry in the dataset; None if there is none."""
        if video_id is None or not isinstance(video_id, Hashable):
            return None
        videos = self._dataset.get("videos") or ()
        place = self._video_index.get(video_id)
        if place is None or place >= len(videos) or videos[place].get("id") != video_id:
            # The first look, or the list was edited since.
            self._video_index = {video.get("id"): place for place, video in enumerate(videos)}
            place = self._video_index.get(video_id)
        found: Mapping[str, Any] | None = None if place is None else videos[place]
        return found

    def image(self, image_id: Any) -> Mapping[str, Any]:
        """Return the image's entry in the dataset.

        Raises
        ------
        UnknownImageError
            If there is none.
        """
        images = self._dataset["images"]
        place = self._index.get(image_id)
        if place is not None and place < len(images) and images[place].get("id") == image_id:
            found: Mapping[str, Any] = images[place]
            return found
        # The first look, or the list was edited since.
        self._index = {image.get("id"): place for place, image in enumerate(images)}
        try:
            found = images[self._index[image_id]]
        except (KeyError, TypeError):
            raise UnknownImageError(f"no image with id {image_id!r} among {len(images)}.") from None
        return found

    def record(self, image_id: Any) -> ImageRecord:
        """Return what is known of an image; see `Frames.record`."""
        image = self.image(image_id)
        video = self._video(image.get("video_id"))
        entry = image if video is None else (image, video.get("width"), video.get("height"))
        # To compare an entry with what it was takes a tenth of reading it anew, and sees every edit.
        known = self._known.get(image_id)
        with contextlib.suppress(ValueError):  # arrays in the entry, which do not compare to a bool
            if known is not None and known[0] == entry:
                return known[1]
        record = self._read(image_id, image, video)
        if len(self._known) >= KNOWN_RECORDS:
            with contextlib.suppress(KeyError):  # another thread may have been faster
                self._known.popitem(last=False)
        self._known[image_id] = copy.deepcopy(entry), record
        return record

    def _read(self, image_id: Any, image: Mapping[str, Any], video: Mapping[str, Any] | None) -> ImageRecord:
        owner = f"image {image_id!r}"
        assets = tuple(self._assets(image, owner))
        if not assets:
            raise RecordError(f"{owner}: has neither a file_name nor assets.")
        width, height = _size(image, "width", owner), _size(image, "height", owner)
        default = _default(assets, width, height)
        place = None if video is None else self._place(image, video, owner)
        return ImageRecord(image_id, assets, width, height, default, place)

    def _place(self, image: Mapping[str, Any], video: Mapping[str, Any], owner: str) -> VideoPlace:
        """Return where an image lies in its video."""
        of_video = f"video {video['id']!r}"
        return VideoPlace(
            video["id"],
            image.get("frame_index"),
            _transform(image.get("warp_img_to_vid"), owner),
            _size(video, "width", of_video),
            _size(video, "height", of_video),
        )

    def _assets(self, image: Mapping[str, Any], owner: str) -> Iterator[Asset]:
        if image.get("file_name") is not None:
            yield self._asset(image, owner, image)
        for key in ("auxiliary", "assets"):
            for entry in image.get(key) or ():
                if entry.get("file_name") is not None:
                    yield self._asset(entry, owner, image)

    def _asset(self, entry: Mapping[str, Any], owner: str, image: Mapping[str, Any]) -> Asset:
        path = self._path(entry["file_name"], owner)
        channels = entry.get("channels")
        return Asset(
            path=path,
            channels=None if channels is None else parse_channels(channels),
            to_image=None if entry is image else _transform(entry.get("warp_aux_to_img"), path),
            width=_size(entry, "width", path),
            height=_size(entry, "height", path),
            bands=_size(entry, "num_bands", path),
            nodata=_nodata(entry),
            quantization=_quantization(entry.get("quantization"), path),
            frame=_frame(path, entry, image),
        )

    def _path(self, name: Any, owner: str) -> str:
        if not isinstance(name, str | os.PathLike):
            raise RecordError(f"{owner}: the file_name {name!r} is no path.")
        text = os.fspath(name)
        if os.path.isabs(text):
            return os.path.normpath(text)
        path = os.path.normpath(os.path.join(self._root, text))
        if os.path.relpath(path, self._root).split(os.sep, 1)[0] == os.pardir:
            raise RecordError(
                f"{owner}: the file_name {text!r} leaves the folder of the dataset, {self._root}; "
                f"write an absolute path if that is meant."
            )
        return path


def _read_json(path: str) -> Any:
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                names = [info for info in archive.infolist() if info.filename.endswith(".json")]
                if len(names) != 1:
                    raise UnsupportedFormatError(f"{path}: holds {len(names)} JSON files; one is needed.")
                if names[0].file_size > MAX_JSON_BYTES:
                    raise UnsupportedFormatError(f"{path}: declares {names[0].file_size} bytes of JSON.")
                with archive.open(names[0]) as file:
                    document = json.load(file)
        else:
            with open(path, "rb") as raw:
                packed = raw.read(2) == b"\x1f\x8b"
            with gzip.open(path) if packed else open(path, "rb") as file:
                document = json.load(file)
    except OSError as error:
        if isinstance(error, gzip.BadGzipFile):
            raise UnsupportedFormatError(f"{path}: is damaged: {error}.") from error
        raise source_error(path, error) from error
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UnsupportedFormatError(f"{path}: is not JSON: {error}.") from error
    if not isinstance(document, dict):
        raise UnsupportedFormatError(f"{path}: holds a {type(document).__name__}, not a COCO dataset.")
    return document


def _size(entry: Mapping[str, Any], key: str, owner: str) -> int | None:
    value = entry.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value) or value < 1:
        raise RecordError(f"{owner}: {key}={value!r} must be a whole number, at least 1.")
    return int(value)


def _frame_index(image: Mapping[str, Any]) -> int:
    index = image.get("frame_index")
    if isinstance(index, bool) or not isinstance(index, int):
        raise RecordError(
            f"image {image.get('id')!r}: is in the video {image.get('video_id')!r}, but its "
            f"frame_index={index!r} is no whole number; give it one."
        )
    return index


def _frame(path: str, entry: Mapping[str, Any], image: Mapping[str, Any]) -> int | None:
    """Tell which frame of a video file is meant; None for other files."""
    if not path.lower().endswith(SUFFIXES):
        return None
    frame = entry.get("frame", image.get("frame_index"))
    if frame is not None and (isinstance(frame, bool) or not isinstance(frame, int) or frame < 0):
        raise RecordError(f"{path}: frame={frame!r} must be a whole number, at least 0.")
    return frame


def _default(assets: tuple[Asset, ...], width: int | None, height: int | None) -> int:
    """Choose what is read without channels: a file on the grid of the image, the first such."""
    for number, asset in enumerate(assets):
        if asset.to_image is None:
            return number
    for number, asset in enumerate(assets):
        identity = asset.to_image == Affine.identity()
        if identity and asset.width in (None, width) and asset.height in (None, height):
            return number
    return 0


def _transform(document: Any, owner: str) -> Affine | None:
    """Read a transform as kwcoco writes it; None where it is missing."""
    if document is None:
        return None
    if not isinstance(document, Mapping) or document.get("type", "affine") != "affine":
        raise RecordError(f"{owner}: the transform {document!r} is not affine.")
    known = {"type", "matrix", "scale", "offset", "theta", "shearx", "shear", "about"}
    if unknown := set(document) - known:
        raise RecordError(
            f"{owner}: the transform has unknown keys {sorted(unknown)}; known are {sorted(known)}."
        )
    try:
        if "matrix" in document:
            rows = [[float(number) for number in row] for row in document["matrix"]]
            (a, b, c), (d, e, f) = rows[0], rows[1]
            if len(rows) == 3 and rows[2] != [0, 0, 1]:
                raise RecordError(f"{owner}: the matrix {rows} is not affine: its last row must be 0, 0, 1.")
            return Affine(a, b, c, d, e, f)
        sx, sy = _pair(document.get("scale", 1))
        tx, ty = _pair(document.get("offset", 0))
        x, y = _pair(document.get("about", 0))
        theta, shear = (
            float(document.get("theta", 0)),
            float(document.get("shearx", document.get("shear", 0))),
        )
    except (TypeError, ValueError, IndexError) as error:
        raise RecordError(f"{owner}: the transform {document!r} cannot be read: {error}.") from error
    cos, sin = math.cos(theta), math.sin(theta)
    turned = Affine(sx * cos, sy * (shear * cos - sin), 0, sx * sin, sy * (shear * sin + cos), 0)
    return Affine.translation(tx + x, ty + y) @ turned @ Affine.translation(-x, -y)


def _pair(value: Any) -> tuple[float, float]:
    if isinstance(value, Sequence) and not isinstance(value, str):
        first, second = value
        return float(first), float(second)
    return float(value), float(value)


def _nodata(entry: Mapping[str, Any]) -> float | None:
    value = entry.get("nodata")
    if value is None and isinstance(entry.get("quantization"), Mapping):
        value = entry["quantization"].get("nodata")
    return None if value is None else float(value)


def _quantization(document: Any, owner: str) -> Quantization | None:
    if document is None:
        return None
    try:
        quant_min, quant_max = float(document["quant_min"]), float(document["quant_max"])
        orig_min, orig_max = float(document["orig_min"]), float(document["orig_max"])
    except (KeyError, TypeError, ValueError) as error:
        raise RecordError(f"{owner}: the quantization {document!r} cannot be read: {error!r}.") from error
    if quant_max == quant_min:
        raise RecordError(f"{owner}: the quantization {document!r} spans no values.")
    step = (orig_max - orig_min) / (quant_max - quant_min)
    return Quantization(step, orig_min - step * quant_min)
