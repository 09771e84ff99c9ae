"""One sample: its pixels, its annotations in the pixels of the sample, and the target, completed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from subregion.errors import ConfigError, shown
from subregion.sampling.annotations.detections import ALL_PARTS
from subregion.sampling.targets.annots import annots_of
from subregion.sampling.targets.keys import COMPLETED, Request, without_completed
from subregion.sampling.targets.params import SamplePlacement, data_dims, params_of
from subregion.sampling.targets.pixels import Pixels, channel_names, with_names
from subregion.sampling.targets.selection import Selection
from subregion.sampling.targets.targets import Resolved, Target

if TYPE_CHECKING:
    from subregion.collections.video import VideoCollection

_PARTS = {
    "boxes": "boxes",
    "segmentation": "segmentation",
    "segmentations": "segmentation",
    "keypoints": "keypoints",
}


def wanted_parts(with_annots: Any) -> frozenset[str] | None:
    """Return which parts of annotations are wanted; None for no annotations.

    Raises
    ------
    ConfigError
        If a part is unknown.
    """
    if with_annots is True:
        return ALL_PARTS
    if with_annots is None or with_annots is False or (isinstance(with_annots, int) and with_annots == 0):
        return None
    named = with_annots.split("+") if isinstance(with_annots, str) else with_annots
    if isinstance(named, int):
        return ALL_PARTS
    if not isinstance(named, Iterable) or not all(isinstance(part, str) for part in named):
        raise ConfigError(f"with_annots={shown(with_annots)}: allowed are True, False, and names of parts.")
    if unknown := [part for part in named if part not in _PARTS]:
        raise ConfigError(
            f"with_annots={shown(with_annots)}: no part {shown(unknown[0])}; there are boxes, segmentation "
            f"and keypoints."
        )
    return frozenset(_PARTS[part] for part in named)


def make_sample(
    frames: VideoCollection, request: Request, resolved: Resolved, pixels: Pixels, selection: Selection | None
) -> dict[str, Any]:
    """Put a sample together.

    Parameters
    ----------
    frames : VideoCollection
        The images, which know the names of channels.
    request : Mapping
        The target, as the user wrote it.
    resolved : Resolved
        What it stands for.
    pixels : Pixels
        What was read.
    selection : Selection or None
        The annotations; None if they are not wanted.

    Returns
    -------
    dict
        ``im``, ``target``, ``params``, and unless they are declined ``tr`` and ``annots``; see
        `CocoSampler.load_sample`.
    """
    target, given = resolved.target, resolved.given
    names = pixels.channels
    if target.options.as_xarray and names is None and not pixels.parts:
        names = channel_names(frames, target)
    legacy = given.get("legacy_annots")
    completed = _completed(request, resolved, None if legacy is False else selection)
    sample = {
        "im": _image(target, pixels, names),
        "target": completed,
        "params": params_of(SamplePlacement.of(target, pixels)),
    }
    if given.get("legacy_target") is not False:
        sample["tr"] = completed
    if selection is not None:
        sample["annots"] = annots_of(selection, legacy is not False)
    return sample


def _image(target: Target, pixels: Pixels, names: tuple[str | None, ...] | None) -> Any:
    """Return pixels as they are wanted: an array, or lists of them."""
    as_xarray = target.options.as_xarray
    if pixels.array is not None:
        return with_names(pixels.array, names) if as_xarray else pixels.array
    parts = [
        [with_names(part.pixels, part.channels or None) if as_xarray else part.pixels for part in frame]
        for frame in pixels.parts
    ]
    return parts if target.stacked else parts[0]


def _completed(request: Request, resolved: Resolved, selection: Selection | None) -> dict[Any, Any]:
    """Return the target with what follows from it, which is noted so that it can be used again."""
    target, given = resolved.target, resolved.given
    out = without_completed(request)
    window, added = target.window, dict(resolved.filled)
    rows, cols = window.slices
    if target.stacked:
        times = _slice_of(target.times)
        added["gids"], added["vidid"], added["time_slice"] = list(target.image_ids), target.video_id, times
        added["slices"] = (times, rows, cols)
    else:
        added["gid"] = target.image_ids[0]
        added["slices"] = rows, cols
    if given.get("slices") is None and given.get("space_slice") is None and ("cx" in given or "cx" in added):
        added["window_dims"] = window.shape
    added["space_slice"] = rows, cols
    added = {key: value for key, value in added.items() if out.get(key) is None}
    out |= added
    out["space_dims"], out["data_dims"] = target.shape, data_dims(target)
    if selection is not None:
        out["annot_idx"] = -1 if target.annotation_id is None else selection.place_of(target.annotation_id)
    out[COMPLETED] = added
    return out


def _slice_of(times: range | None) -> slice | None:
    if times is None:
        return None
    return slice(times.start, times.stop, None if times.step == 1 else times.step)
