"""From a dict of keys to what is to be read: which frames, which window of them, how. No pixel is read."""

from __future__ import annotations

import itertools
import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from subregion.errors import RegionTypeError, TargetError, shown
from subregion.geometry.window import Window
from subregion.sampling.targets.keys import NO_PAD, Pad, given_keys, number, pad_of, whole, window_of
from subregion.sampling.targets.options import SampleOptions, options_of
from subregion.sampling.targets.places import Annotated, Box, Places, moved_box

#: Lengths that are so much more than a whole number, in pixels, are that number: floats of 32 bits
#: cannot tell them apart, and one pixel more would be read.
ROUNDING = 1e-4
#: The annotation id of a target that has none.
NO_ANNOTATION = -1


class Target(NamedTuple):
    """What a sample is of. A named tuple, because it is made for every sample.

    Parameters
    ----------
    image_ids : tuple of hashable
        The frames, in order; one for an image.
    stacked : bool
        Whether frames make an axis of the sample, so that pixels are those of the video.
    video_id : hashable or None
        The video of all frames.
    window : Window
        What is asked for, in pixels of the image or the video; it may leave that.
    pad : tuple of (int, int)
        Pixels that are read before and behind that, of rows and of columns.
    shape : tuple of int
        Rows and columns of the image or the video.
    times : range or None
        Which frames of the video these are, if they are at even distances, in order.
    frame_count : int
        How many frames the video has, or are listed.
    annotation_id : hashable or None
        The annotation that it is about.
    options : SampleOptions
        How pixels are wanted.
    """

    image_ids: tuple[Any, ...]
    stacked: bool
    video_id: Any
    window: Window
    pad: Pad
    shape: tuple[int, int]
    times: range | None
    frame_count: int
    annotation_id: Any
    options: SampleOptions

    @property
    def padded(self) -> Window:
        """The window that is read."""
        window = self.window
        if self.pad is NO_PAD:
            return window
        (above, below), (left, right) = self.pad
        return Window(
            window.row - above,
            window.col - left,
            window.height + above + below,
            window.width + left + right,
        )


class Resolved(NamedTuple):
    """A target, and the keys that it came from.

    Parameters
    ----------
    target : Target
        What is to be read.
    given : dict
        What the user gave, under one name each.
    filled : dict
        What the annotation says beside that.
    """

    target: Target
    given: dict[Any, Any]
    filled: dict[str, Any]


def resolve(request: Mapping[Any, Any], places: Places, known: Annotated, strict: bool = False) -> Resolved:
    """Tell what a target stands for.

    Parameters
    ----------
    request : Mapping
        The target, as the user wrote it. It is not changed.
    places : Places
        Where images lie.
    known : Annotated
        The annotations.
    strict : bool
        Whether unknown keys are an error.

    Returns
    -------
    Resolved

    Raises
    ------
    TargetError
        If keys contradict each other, or do not tell which pixels are meant.
    RegionTypeError
        If a value is of another type.
    UnknownImageError, UnknownVideoError, UnknownAnnotationError
        If there is no such thing.
    """
    keys = given_keys(request, strict)
    annotation_id = keys.get("aid")
    found = None
    if annotation_id is not None and not _is_none(annotation_id):
        found = known.annotation_of(annotation_id)
    else:
        annotation_id = None
    if keys.get("gids") is None and keys.get("vidid") is None:
        image_ids, times, count = (_image_of(keys, found),), None, 1
        stacked, video_id = False, None
        shape = places.image_shape(image_ids[0])
    else:
        image_ids, times, count, video_id = _frames_of(keys, places, found)
        stacked, shape = True, places.grid_shape(image_ids[0])
    filled = _filled(keys, found, places, stacked)
    window = _window_of(keys, filled, places, image_ids, shape)
    pad = keys.get("pad")
    target = Target(
        image_ids,
        stacked,
        video_id,
        window,
        NO_PAD if pad is None else pad_of(pad),
        shape,
        times,
        count,
        annotation_id,
        options_of(keys),
    )
    return Resolved(target, keys, filled)


def _is_none(annotation_id: Any) -> bool:
    return isinstance(annotation_id, int | np.integer) and annotation_id == NO_ANNOTATION


def _image_of(keys: Mapping[str, Any], found: tuple[Hashable, Box, int] | None) -> Any:
    """Return the image that is meant."""
    image_id = keys.get("gid")
    if keys.get("time_slice") is not None:
        raise TargetError("target: time_slice picks frames of a video, but there is no vidid; leave it out.")
    if found is None:
        if image_id is None:
            raise TargetError(
                "target: does not say which image: give gid, the aid of an annotation, gids or vidid."
            )
        return image_id
    if image_id is not None and image_id != found[0]:
        raise TargetError(
            f"target: annotation aid={shown(keys['aid'])} is of the image {shown(found[0])}, not of "
            f"gid={shown(image_id)}; leave out one of them."
        )
    return found[0]


def _frames_of(
    keys: Mapping[str, Any], places: Places, found: tuple[Hashable, Box, int] | None
) -> tuple[tuple[Any, ...], range | None, int, Any]:
    """Return the frames that are meant, where they are in their video, how many it has, and which it is."""
    video_id, listed = keys.get("vidid"), keys.get("gids")
    if listed is not None:
        listed = _listed(listed)
        videos = {places.video_of(image_id) for image_id in listed}
        if video_id is not None and videos != {video_id}:
            strange = next(each for each in listed if places.video_of(each) != video_id)
            raise TargetError(
                f"target: image {shown(strange)} of gids is no frame of vidid={shown(video_id)}; "
                f"leave out vidid."
            )
        video_id = videos.pop() if len(videos) == 1 else None
    every = None if video_id is None else places.frames_of(video_id)
    slices = keys.get("slices")
    of_slices = slices[0] if isinstance(slices, tuple | list) and len(slices) == 3 else None
    times = None
    for name, part in (("time_slice", keys.get("time_slice")), ("slices[frames]", of_slices)):
        if part is None:
            continue
        if every is None:
            count = len(listed or ())
            if _times(part, count, name) != range(count):
                raise TargetError(
                    f"target: {name}={shown(part)}: gids are of no one video, of which frames could be taken."
                )
            continue
        chosen = _times(part, len(every), name)
        if times is not None and times != chosen:
            raise TargetError(f"target: time_slice and slices name other frames: {times} and {chosen}.")
        times = chosen
    if listed is None:
        assert every is not None  # noqa: S101 - for mypy
        times = range(len(every)) if times is None else times
        listed = tuple(every[time] for time in times)
        if not listed:
            raise TargetError(f"target: the video {shown(video_id)} has no frames.")
    else:
        times = _times_of(listed, every, times)
    _check_related(keys, places, found, listed, video_id)
    return listed, times, len(listed) if every is None else len(every), video_id


def _listed(gids: Any) -> tuple[Any, ...]:
    if isinstance(gids, np.ndarray):
        gids = gids.tolist()
    if isinstance(gids, str | bytes | Mapping) or not isinstance(gids, Iterable):
        raise RegionTypeError(f"target: gids={shown(gids)}: a list of image ids is needed.")
    listed = tuple(gids)
    if not listed:
        raise TargetError("target: gids is empty; name at least one image.")
    return listed


def _times(part: Any, count: int, name: str) -> range:
    """Return the positions of frames that a forward slice stands for, all of which must be there."""
    if isinstance(part, slice):
        start, stop, step = part.start, part.stop, part.step
    elif isinstance(part, list | tuple) and len(part) in (2, 3):
        start, stop, step = (*part, None)[:3]
    else:
        raise RegionTypeError(f"target: {name}={shown(part)}: a slice is needed, such as slice(0, 5).")
    first = 0 if start is None else whole(start, name)
    last = count if stop is None else whole(stop, name)
    stride = 1 if step is None else whole(step, name)
    if stride < 1 or not 0 <= first < last <= count:
        raise TargetError(
            f"target: {name}={shown(part)}: frames are counted from 0 to {count}, forwards, and at least one "
            f"is needed."
        )
    return range(first, last, stride)


def _times_of(listed: tuple[Any, ...], every: Sequence[Any] | None, times: range | None) -> range | None:
    """Return where frames that were listed are in their video, if at even distances."""
    if every is None:
        return None
    place_of = {image_id: place for place, image_id in enumerate(every)}
    found = [place_of[image_id] for image_id in listed]
    if times is not None and (strange := set(found) - set(times)):
        raise TargetError(
            f"target: gids hold frame {min(strange)} of the video, which is not in the time slice, {times}; "
            f"leave that out."
        )
    step = found[1] - found[0] if len(found) > 1 else 1
    if step < 1 or any(b - a != step for a, b in itertools.pairwise(found)):
        return None
    return range(found[0], found[-1] + 1, step)


def _check_related(
    keys: Mapping[str, Any],
    places: Places,
    found: tuple[Hashable, Box, int] | None,
    listed: tuple[Any, ...],
    video_id: Any,
) -> None:
    """Refuse an image, or that of an annotation, that has nothing to do with the frames."""
    named = [("gid", keys.get("gid"))]
    if found is not None:
        named.append(("the image of aid", found[0]))
    for what, image_id in named:
        if image_id is None or image_id in listed:
            continue
        if video_id is None or places.video_of(image_id) != video_id:
            raise TargetError(
                f"target: {what}, {shown(image_id)}, is neither among the frames nor in their video; "
                f"leave it out."
            )


def _filled(
    keys: Mapping[str, Any], found: tuple[Hashable, Box, int] | None, places: Places, stacked: bool
) -> dict[str, Any]:
    """Return what an annotation says beside what is given, in pixels of the sample's grid."""
    if found is None:
        return {}
    image_id, box, category_id = found
    filled: dict[str, Any] = {"gid": image_id}
    if category_id >= 0:
        filled["category_id"] = category_id
    if all(map(math.isfinite, box)):
        matrix = places.to_grid(image_id) if stacked else None
        left, top, right, bottom = box if matrix is None else moved_box(box, matrix)
        filled["cx"], filled["cy"] = (left + right) / 2, (top + bottom) / 2
        filled["width"], filled["height"] = right - left, bottom - top
    return {key: value for key, value in filled.items() if keys.get(key) is None}


_SIZES = ("width", "height", "window_dims")
_AROUND = frozenset(("cx", "cy", *_SIZES))


def _window_of(
    keys: Mapping[str, Any],
    filled: Mapping[str, Any],
    places: Places,
    image_ids: tuple[Any, ...],
    shape: tuple[int, int],
) -> Window:
    """Return the window that is meant; where it is told more than once, all must agree."""
    told: dict[str, Window] = {}
    if keys.get("space_slice") is not None:
        told["space_slice"] = window_of(keys["space_slice"], shape, "space_slice")
    slices = keys.get("slices")
    if slices is not None:
        if isinstance(slices, tuple | list) and len(slices) == 3 and _in_time(keys):
            slices = slices[1:]
        told["slices"] = window_of(slices, shape, "slices")
    centre, sizes = {}, {}
    if not _AROUND.isdisjoint(keys):
        centre = {name: keys[name] for name in ("cx", "cy") if keys.get(name) is not None}
        sizes = {name: keys[name] for name in _SIZES if keys.get(name) is not None}
    if told:
        if len(told) > 1 or centre or sizes:
            _check_told(told, centre, sizes)
        return next(iter(told.values()))
    if centre or sizes or "cx" in filled:
        return _around({**filled, **centre, **sizes}, keys)
    if keys.get("aid") is not None and filled:
        raise TargetError(
            f"target: annotation aid={shown(keys['aid'])} has no box; give slices, or cx, cy and window_dims."
        )
    if len(image_ids) > 1:
        shapes = {places.grid_shape(image_id) for image_id in dict.fromkeys(image_ids)}
        if len(shapes) > 1:
            raise TargetError(
                f"target: the images have different sizes, {sorted(shapes)} (rows, columns); give slices."
            )
    return Window(0, 0, *shape)


def _in_time(keys: Mapping[str, Any]) -> bool:
    return keys.get("gids") is not None or keys.get("vidid") is not None


def _check_told(told: dict[str, Window], centre: dict[str, Any], sizes: dict[str, Any]) -> None:
    """Refuse a window that is told in two ways which do not agree."""
    window = next(iter(told.values()))
    if centre and sizes and len(centre) == 2 and ("window_dims" in sizes or len(sizes) == 2):
        told = told | {"cx, cy": _around(centre | sizes, {})}
    elif "window_dims" in sizes and not isinstance(sizes["window_dims"], str):
        dims = _size_of(sizes)
        told = told | {"window_dims": Window(window.row, window.col, *dims)}
    for name, each in told.items():
        if each != window:
            first = next(iter(told))
            raise TargetError(
                f"target: {first} and {name} name other windows, {window} and {each}; leave out one of them."
            )


def _around(keys: Mapping[str, Any], given: Mapping[str, Any]) -> Window:
    """Return the window around a centre."""
    for name in ("cx", "cy"):
        if keys.get(name) is None:
            said = ", ".join(f"{key}={shown(value)}" for key, value in keys.items() if key in given)
            raise TargetError(f"target: {said or 'a size'} needs cx and cy, or the aid of an annotation.")
    height, width = _size_of(keys)
    if height <= 0 or width <= 0:
        raise TargetError(
            f"target: a window of {height} x {width} pixels (rows x columns) holds nothing; give window_dims."
        )
    row = math.floor(number(keys["cy"], "cy") - height / 2 + ROUNDING)
    col = math.floor(number(keys["cx"], "cx") - width / 2 + ROUNDING)
    return Window(row, col, height, width)


def _size_of(keys: Mapping[str, Any]) -> tuple[int, int]:
    """Return rows and columns of a window around a centre."""
    dims = keys.get("window_dims")
    if dims is not None and not isinstance(dims, str):
        pair = tuple(dims) if isinstance(dims, list | tuple | np.ndarray) else (dims, dims)
        if len(pair) != 2:
            raise RegionTypeError(
                f"target: window_dims={shown(dims)}: rows and columns are needed, 'extent' or 'square'."
            )
        return _ceiled(pair[0], "window_dims"), _ceiled(pair[1], "window_dims")
    if dims not in (None, "extent", "square"):
        raise TargetError(
            f"target: window_dims={shown(dims)}: allowed are (rows, columns), 'extent' and 'square'."
        )
    for name in ("height", "width"):
        if keys.get(name) is None:
            raise TargetError(f"target: there is no {name} around cx, cy; give it, or window_dims.")
    height, width = _ceiled(keys["height"], "height"), _ceiled(keys["width"], "width")
    if dims == "square":
        height = width = max(height, width)
    return height, width


def _ceiled(value: Any, name: str) -> int:
    return math.ceil(number(value, name) - ROUNDING)
