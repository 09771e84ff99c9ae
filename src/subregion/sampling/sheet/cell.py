"""One sample as a picture: its frames with their annotations, and what is written below."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from subregion.errors import ConfigError, RegionTypeError, SubregionError
from subregion.geometry.channels import parse_channels
from subregion.libraries import Image
from subregion.picture import PANEL, to_picture
from subregion.sampling.annotations.annotations import Annotations
from subregion.sampling.sheet.overlay import OverlayOptions, draw_over

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

    from subregion.sampling.sampler import CocoSampler

#: The longer side of a frame is drawn with so many pixels at most.
MOST_SIZE = 2048
#: Pixels between the frames of a clip.
GAP = 4
#: Where there is no pixel: dark squares.
_CHECKERS = (34, 40, 48), (46, 53, 63)
_CHECKER = 8
_RED_GREEN_BLUE = (("r", "g", "b"), ("red", "green", "blue"))


@dataclass(frozen=True, slots=True)
class Cell:
    """A sample, drawn.

    Parameters
    ----------
    picture : PIL image
        Its frames, side by side.
    name : str
        Which image, or which frames.
    window : str
        Which part of that.
    count : str
        How many objects.
    classes : Counter
        How often each category is in it.
    """

    picture: Picture
    name: str
    window: str
    count: str
    classes: Counter[int]


def draw_cell(sampler: CocoSampler, sample: Mapping[str, Any], size: int, options: OverlayOptions) -> Cell:
    """Draw a sample.

    Parameters
    ----------
    sampler : CocoSampler
        What it came from.
    sample : Mapping
        As `load_sample` returned it; `annots` and `target` may be missing.
    size : int
        Pixels of the longer side of a frame in the picture.
    options : OverlayOptions
        What is drawn of annotations.
    """
    target = sample.get("target") or {}
    annotations = getattr(sample.get("annots"), "annotations", None)
    stack = _stack(sample["im"], annotations)
    which = sorted({0, len(stack) // 2, len(stack) - 1})
    frames = []
    for number, picture in zip(which, _pictures(stack[which], _names(sampler, target), size), strict=True):
        if annotations is not None:
            part = annotations.for_frame(number) if annotations.is_clip else annotations
            picture = draw_over(picture, part, options)
        frames.append(picture)
    width = sum(frame.width for frame in frames) + GAP * (len(frames) - 1)
    canvas = Image.new("RGB", (width, max(frame.height for frame in frames)))
    left = 0
    for frame in frames:
        if left:  # the gap is as dark as what is around
            canvas.paste(PANEL, (left - GAP, 0, left, canvas.height))
        canvas.paste(frame, (left, 0))
        left += frame.width + GAP
    return Cell(
        canvas,
        _name(sampler, target, len(stack), which),
        _window(target),
        _count(annotations),
        Counter() if annotations is None else Counter(annotations.category_ids.tolist()),
    )


def _stack(pixels: Any, annotations: Annotations | None) -> NDArray[Any]:
    """Return pixels as (frames, rows, columns, channels); of files at their own resolutions the finest."""
    is_clip = annotations is not None and annotations.is_clip
    if isinstance(pixels, list):
        is_clip = bool(pixels) and isinstance(pixels[0], list)
        frames = pixels if is_clip else [pixels]
        chosen = [max(parts, key=lambda part: part.shape[0] * part.shape[1]) for parts in frames if parts]
        if not chosen:
            raise RegionTypeError("a sample without pixels cannot be drawn.")
        bands = min(part.shape[2] for part in chosen)
        chosen = [part for part in chosen if part.shape[:2] == chosen[0].shape[:2]]
        return np.stack([_filled(part)[..., :bands] for part in chosen])
    array = _filled(pixels)
    if array.ndim == 2:
        array = array[..., None]
    stack: NDArray[Any] = array if array.ndim == 4 else array[None]
    if stack.ndim != 4 or not all(stack.shape):
        raise RegionTypeError(f"an array of the shape {array.shape} has no pixels that could be drawn.")
    return stack


def _filled(pixels: Any) -> NDArray[Any]:
    """Return pixels with NaN where they are masked; the type of the others is kept."""
    if isinstance(pixels, np.ma.MaskedArray):
        if not np.ma.is_masked(pixels):
            return np.asarray(pixels.data)
        return np.where(np.ma.getmaskarray(pixels), np.float32(np.nan), pixels.data)
    array = np.asarray(pixels)
    return np.abs(array) if array.dtype.kind == "c" else array


def _names(sampler: CocoSampler, target: Mapping[Any, Any]) -> Sequence[str | None]:
    """Return the names of the channels of a sample, as far as they are known."""
    channels = target.get("channels")
    try:
        if channels is not None:
            return parse_channels(getattr(channels, "spec", channels))
        image_id = target.get("gid") if target.get("gids") is None else target["gids"][0]
        return () if image_id is None else sampler.frames.record(image_id).default_asset.channels or ()
    except (SubregionError, TypeError, LookupError):
        return ()


def _pictures(stack: NDArray[Any], names: Sequence[str | None], size: int) -> list[Picture]:
    """Return frames as pictures of 1 or 3 bands, stretched alike."""
    frames, rows, cols, bands = stack.shape
    chosen: Sequence[int] = range(3) if bands >= 3 else range(1)
    colored = bands in (3, 4) and not names
    if len(names) == bands:
        known = [None if name is None else name.lower() for name in names]
        for trio in _RED_GREEN_BLUE:
            if all(name in known for name in trio):
                chosen, colored = [known.index(name) for name in trio], True
    values = stack[..., list(chosen)].astype(np.float32)
    gaps: NDArray[np.bool_] = np.isfinite(values).max(axis=-1) == 0
    if len(chosen) == 3 and not colored and stack.dtype != np.uint8:
        _stretch_bands(values)  # of unlike quantities; one would hide the others
    dtype = np.dtype(np.uint8) if _are_bytes(stack, values) else values.dtype
    whole = to_picture(values.reshape(frames * rows, cols, len(chosen)), dtype, max(frames * rows, cols))
    found = []
    for number in range(frames):
        frame = whole.crop((0, number * rows, cols, (number + 1) * rows))
        found.append(_sized(frame, gaps[number], size))
    return found


def _are_bytes(stack: NDArray[Any], values: NDArray[np.float32]) -> bool:
    """Whether pixels need no stretch: bytes, or what is left of them where some are missing."""
    if stack.dtype == np.uint8:
        return True
    if stack.dtype.kind != "f" or not np.isnan(values).any():
        return False
    known = values[np.isfinite(values)]
    whole = bool((known == np.rint(known)).all())
    return whole and bool(known.size) and 1 < known.max() <= 255 and known.min() >= 0


def _stretch_bands(values: NDArray[np.float32]) -> None:
    for band in range(values.shape[-1]):
        part = values[..., band]
        known = part[np.isfinite(part)]
        if known.size:
            low, high = np.percentile(known, (1, 99))
            values[..., band] = np.clip((part - low) / (high - low if high > low else 1), 0, 1)


def _sized(frame: Picture, gaps: NDArray[np.bool_], size: int) -> Picture:
    """Enlarge or reduce a frame; pixels of what is enlarged much stay squares."""
    factor = size / max(frame.size)
    shape = max(1, round(frame.width * factor)), max(1, round(frame.height * factor))
    sampling = Image.Resampling.LANCZOS
    if factor > 1:
        sampling = Image.Resampling.NEAREST if factor >= 2 else Image.Resampling.BICUBIC
    frame = frame.resize(shape, sampling)
    if gaps.any():
        rows, cols = np.mgrid[: shape[1], : shape[0]] // _CHECKER
        checkers = np.array(_CHECKERS, np.uint8)[(rows + cols) % 2]
        mask = Image.fromarray(gaps.view(np.uint8) * np.uint8(255))
        frame.paste(Image.fromarray(checkers), (0, 0), mask.resize(shape, Image.Resampling.NEAREST))
    return frame


def _name(sampler: CocoSampler, target: Mapping[Any, Any], count: int, which: Sequence[int]) -> str:
    """Say what a sample is of."""
    if target.get("gids") is not None:
        gids = list(target["gids"])
        drawn = ", ".join(str(gids[number]) for number in which)
        more = "" if len(which) == count else f" of {count} frames"
        video = target.get("vidid")
        return f"images {drawn}{more}" if video is None else f"video {video} · images {drawn}{more}"
    if target.get("gid") is None:
        return ""
    image_id = target["gid"]
    try:
        name = os.path.basename(sampler.frames.record(image_id).default_asset.path)
    except (SubregionError, IndexError):
        return f"image {image_id}"
    return f"image {image_id}" if str(image_id) == name else f"image {image_id} · {name}"


def _window(target: Mapping[Any, Any]) -> str:
    """Say which window a sample is of, and its scale."""
    place = target.get("space_slice") or target.get("slices")
    parts = []
    try:
        (top, bottom), (left, right) = (_ends(part) for part in tuple(place or ())[-2:])
        parts.append(f"{right - left} x {bottom - top} px at {left}, {top}")
    except (TypeError, ValueError):
        pass
    scale = target.get("scale")
    if scale is not None:
        across, down = scale if isinstance(scale, tuple | list | np.ndarray) else (scale, scale)
        parts.append(f"scale {across:.4g}" if across == down else f"scale {across:.4g}, {down:.4g}")
    return " · ".join(parts)


def _ends(part: Any) -> tuple[int, int]:
    return (part.start, part.stop) if isinstance(part, slice) else (part[0], part[1])


def _count(annotations: Annotations | None) -> str:
    if annotations is None:
        return ""
    count = len(annotations)
    what = "object" if count == 1 else "objects"
    frames = f" in {len(annotations.frames)} frames" if annotations.is_clip and count else ""
    return f"{count or 'no'} {what}{frames}"


def checked_size(size: Any) -> int:
    """Return how large a frame is drawn, in pixels of its longer side.

    Raises
    ------
    ConfigError
        If it is no whole number in bounds.
    """
    if isinstance(size, bool) or not isinstance(size, int | np.integer) or not 16 <= size <= MOST_SIZE:
        raise ConfigError(f"size={size!r}: pixels from 16 to {MOST_SIZE} are needed.")
    return int(size)
