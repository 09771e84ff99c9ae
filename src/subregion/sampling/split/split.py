"""A dataset is split for training, validation and test: by image, video, tag or place on the ground."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from subregion.collections.coco import CocoFrames
from subregion.collections.video import VideoCollection
from subregion.errors import ConfigError, NotGeoreferencedError, RecordError, shown
from subregion.geo.crs import import_pyproj
from subregion.sampling.arguments import as_generator
from subregion.sampling.regions.sizes import ImageSizes
from subregion.sampling.split.apportion import Blocks, Contents, apportion, checked_fractions

if TYPE_CHECKING:
    from subregion.frames import Frames
    from subregion.sampling.annotations.index import AnnotationIndex

WAYS = ("image", "video", "tag", "area")


@dataclass(frozen=True)
class Split:
    """Which images, or targets, are in which split.

    Parameters
    ----------
    parts : dict of str to list
        The members of each split, in the order in which they were given.
    left_out : list
        Those that are near others of different splits.
    """

    parts: dict[str, list[Any]]
    left_out: list[Any]

    def __getitem__(self, name: str) -> list[Any]:
        return self.parts[name]

    def __str__(self) -> str:
        counts = ", ".join(f"{name} {len(members)}" for name, members in self.parts.items())
        return counts + (f", left out {len(self.left_out)}" if self.left_out else "")


def split_images(
    index: AnnotationIndex,
    frames: Frames,
    fractions: Any = None,
    *,
    by: str | None = None,
    tag: str | None = None,
    block: Any = None,
    margin: float = 0,
    crs: Any = None,
    stratify: bool = True,
    seed: Any = 0,
) -> Split:
    """Share out the images of a dataset.

    Parameters
    ----------
    index : AnnotationIndex
        The annotations.
    frames : Frames
        The images.
    fractions : mapping of str to float, sequence of float, or None
        Which part each split should have; see `checked_fractions`.
    by : str or None
        What stays together: an ``"image"``; all images of a ``"video"``; all whose entries have the same
        value of `tag`; or, by ``"area"``, all in one block of ground. Images in no video, or without the
        tag, are alone. None is by
        video if any image is in one, else by image.
    tag : str or None
        A key of the entries of images, for ``by="tag"``.
    block : float or tuple of float or None
        Height and width of a block in units of `crs`, for ``by="area"``.
    margin : float
        How far apart images of different splits are on the ground, at least. Images that are nearer to
        others, across the border of a block, are left out.
    crs : str, int, pyproj.CRS or None
        The reference system of blocks; None is that of the images, which must be the same.
    stratify : bool
        Whether each split should have its part of every class, and not only of the images.
    seed : int or numpy.random.Generator
        Decides; the same seed gives the same splits.

    Returns
    -------
    Split
        Of image ids.

    Raises
    ------
    ConfigError
        If an option has no meaning.
    NotGeoreferencedError
        If an image does not say where it lies, for ``by="area"``.
    """
    parts = checked_fractions(fractions)
    if by is None:
        by = "video" if _has_videos(index, frames) else "image"
    _check_way(by, tag, block, margin, crs)
    rng = as_generator(seed)
    ids = list(index.image_ids)
    kinds, n_kinds = _kinds(index, stratify)
    if by == "area":
        boxes = _footprints(frames, ImageSizes(index, frames), ids, crs)
        per_image = _by_image(kinds, len(ids))
        plane = np.zeros(len(ids), np.int64)
        found = Blocks.of(block, margin).apportion(
            plane, boxes, per_image, n_kinds, list(parts.values()), rng
        )
    else:
        group, count = _groups(index, frames, by, tag)
        image, kind = kinds
        contents = Contents.of(group[image], kind, count, n_kinds)
        found = apportion(contents, list(parts.values()), rng)[group]
    return _as_split(ids, found, list(parts))


def split_targets(
    targets: Sequence[Mapping[str, Any]],
    fractions: Any = None,
    *,
    block: Any,
    margin: float = 0,
    index: AnnotationIndex | None = None,
    seed: Any = 0,
) -> Split:
    """Share out windows of large images by the blocks of pixels in which they lie.

    Parameters
    ----------
    targets : sequence of Mapping
        As `Regions.new_sample_grid` makes them: with ``gid`` and ``slices``, or ``vidid`` and
        ``space_slice``.
    fractions
        As for `split_images`.
    block : int or tuple of int
        Height and width of a block in pixels. Blocks several times as large as windows lose few of them.
    margin : float
        How many pixels are between windows of different splits, at least. Windows that reach into blocks of
        several splits, or come too near, are left out.
    index : AnnotationIndex or None
        If given, each split gets its part of every class; otherwise of windows with annotations, and without.
    seed : int or numpy.random.Generator
        Decides.

    Returns
    -------
    Split
        Of targets. No pixel is in windows of two splits.
    """
    parts = checked_fractions(fractions)
    blocks = Blocks.of(block, margin)
    rng = as_generator(seed)
    numbers: dict[Any, int] = {}
    plane, boxes = [], []
    for target in targets:
        rows, cols = _window(target)
        owner = ("vidid", target["vidid"]) if "vidid" in target else ("gid", target.get("gid"))
        plane.append(numbers.setdefault(owner, len(numbers)))
        boxes.append((cols.start, rows.start, cols.stop, rows.stop))
    if not targets:
        return Split({name: [] for name in parts}, [])
    kinds, n_kinds = _kinds_of_targets(targets, index)
    corners = np.array(boxes, np.float64)
    found = blocks.apportion(np.array(plane), corners, kinds, n_kinds, list(parts.values()), rng)
    return _as_split(list(targets), found, list(parts))


def _kinds_of_targets(
    targets: Sequence[Mapping[str, Any]], index: AnnotationIndex | None
) -> tuple[list[NDArray[np.int64]], int]:
    """Return what is in each window: kind 0 is the window itself."""
    if index is None or not len(index):
        one, both = np.zeros(1, np.int64), np.array([0, 1])
        return [both if target.get("aids") else one for target in targets], 2
    known, kind = np.unique(index.category_ids, return_inverse=True)
    by_id = np.argsort(index.ids)
    found = []
    for target in targets:
        aids = np.array(target.get("aids") or [], np.int64)
        rows = by_id[np.searchsorted(index.ids, aids, sorter=by_id).clip(0, len(index) - 1)]
        if not (index.ids[rows] == aids).all():
            raise ConfigError(f"aids={shown(aids.tolist())}: are not all in the dataset of the index.")
        found.append(np.concatenate([[0], kind.reshape(-1)[rows] + 1]))
    return found, len(known) + 1


def _window(target: Mapping[str, Any]) -> tuple[slice, slice]:
    try:
        rows, cols = tuple(target["space_slice"] if "space_slice" in target else target["slices"])[-2:]
    except (TypeError, ValueError, LookupError):
        rows = cols = None
    whole = [getattr(each, end, None) for each in (rows, cols) for end in ("start", "stop")]
    if not all(isinstance(each, int | np.integer) for each in whole):
        raise ConfigError(f"target={shown(dict(target))}: has no slices with a start and a stop each.")
    return rows, cols


def _check_way(by: Any, tag: Any, block: Any, margin: Any, crs: Any) -> None:
    if by not in WAYS:
        raise ConfigError(f"by={shown(by)}: allowed are {', '.join(map(repr, WAYS))}.")
    if (by == "tag") != (tag is not None):
        raise ConfigError(f"by={shown(by)}, tag={shown(tag)}: by='tag' needs the tag, and nothing else does.")
    if by == "area":
        Blocks.of(block, margin)
    elif block is not None or margin or crs is not None:
        raise ConfigError(f"by={shown(by)}: block, margin and crs are for by='area'.")


def _as_split(members: list[Any], found: NDArray[np.int64], names: list[str]) -> Split:
    parts: dict[str, list[Any]] = {name: [] for name in names}
    left_out: list[Any] = []
    for member, number in zip(members, found.tolist(), strict=True):
        (left_out if number < 0 else parts[names[number]]).append(member)
    return Split(parts, left_out)


def _kinds(index: AnnotationIndex, stratify: bool) -> tuple[tuple[NDArray[np.int64], NDArray[np.int64]], int]:
    """Return what is to be shared out evenly: image and kind of each; kind 0 is the images themselves."""
    images = np.arange(len(index.image_ids))
    if not stratify:
        return (images, np.zeros(len(images), np.int64)), 1
    known, kind = np.unique(index.category_ids, return_inverse=True)
    owners = np.concatenate([images, index.image.astype(np.int64)])
    return (owners, np.concatenate([np.zeros(len(images), np.int64), kind.reshape(-1) + 1])), len(known) + 1


def _by_image(kinds: tuple[NDArray[np.int64], NDArray[np.int64]], count: int) -> list[NDArray[np.int64]]:
    image, kind = kinds
    order = np.argsort(image, kind="stable")
    return np.split(kind[order], np.searchsorted(image[order], np.arange(1, count)))


def _groups(
    index: AnnotationIndex, frames: Frames, by: str, tag: str | None
) -> tuple[NDArray[np.int64], int]:
    """Return the number of the group of each image, and how many there are."""
    ids = index.image_ids
    if by == "image":
        return np.arange(len(ids)), len(ids)
    numbers: dict[Any, int] = {}
    found = np.empty(len(ids), np.int64)
    for row, image_id in enumerate(ids):
        value = _value(frames, image_id, tag)
        found[row] = numbers.setdefault(("alone", row) if value is None else ("group", value), len(numbers))
    if all(alone == "alone" for alone, _ in numbers):
        what = "is in a video" if by == "video" else f"has the tag {shown(tag)}"
        raise ConfigError(f"by={shown(by)}: no image {what}.")
    return found, len(numbers)


def _has_videos(index: AnnotationIndex, frames: Frames) -> bool:
    listed = isinstance(frames, VideoCollection) and len(frames.video_ids) > 0
    return listed and any(_value(frames, image_id, None) is not None for image_id in index.image_ids)


def _value(frames: Frames, image_id: Any, tag: str | None) -> Hashable | None:
    """Return the video of an image, or the value of a tag; None if it has none."""
    if tag is None:
        if isinstance(frames, CocoFrames):  # also of a video that is not listed
            tag = "video_id"
        else:
            place = frames.record(image_id).video
            return None if place is None else (place.video_id,)
    if not isinstance(frames, CocoFrames):
        raise ConfigError("by='tag': the collection has no entries with tags.")
    value = frames.image(image_id).get(tag)
    try:
        hash(value)
    except TypeError:
        raise RecordError(f"image {shown(image_id)}: {tag}={shown(value)} must be one value.") from None
    found: Hashable | None = value
    return found


def _footprints(frames: Frames, sizes: ImageSizes, ids: list[Any], crs: Any) -> NDArray[np.float64]:
    """Return where each image lies on the ground, as x0, y0, x1, y1 in one reference system."""
    pyproj = None if crs is None else import_pyproj("blocks in another crs than that of the images")
    found = np.empty((len(ids), 4))
    transformers: dict[str, Any] = {}
    first: tuple[Any, str | None] | None = None
    for row, image_id in enumerate(ids):
        place = frames.georeference(image_id)
        bounds = place.bounds(*sizes.of_image(row))
        first = (image_id, place.crs) if first is None else first
        if crs is None and place.crs != first[1]:
            raise ConfigError(
                f"by='area': image {shown(first[0])} is in {shown(first[1])} and image {shown(image_id)} in "
                f"{place.crs_name}; give the crs of blocks."
            )
        if pyproj is not None:
            if place.crs is None:
                raise NotGeoreferencedError(f"image {shown(image_id)}: names no coordinate reference system.")
            if place.crs not in transformers:
                try:
                    transformers[place.crs] = pyproj.Transformer.from_crs(place.crs, crs, always_xy=True)
                except pyproj.exceptions.ProjError as error:
                    raise ConfigError(f"crs={shown(crs)}: {error}.") from error
            bounds = transformers[place.crs].transform_bounds(*bounds)
        found[row] = bounds
    if not np.isfinite(found).all():
        raise NotGeoreferencedError(f"crs={shown(crs)}: is not defined where all images lie.")
    return found
