"""How a sample lies in its image or video, told in the predecessor's terms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from subregion.libraries import delayed_image, kwimage
from subregion.sampling.targets.lazymapping import LazyMapping
from subregion.sampling.targets.pixels import Pixels
from subregion.sampling.targets.targets import Target


class SamplePlacement(NamedTuple):
    """How a sample lies in its image or video.

    Parameters
    ----------
    target : Target
        What was asked for.
    channels : tuple of (str or None), or None
        Names of the channels, as far as they are known.
    scales : tuple of (float, float)
        Pixels of the sample for each of the image or the video, along x and y, of each frame.
    parts : tuple of tuple
        Of each frame, for each file that was read at its own resolution: rows and columns, names of
        channels, and its scale.
    missing : tuple of (image id, channel)
        What was filled, because the image lacks the channel.
    """

    target: Target
    channels: tuple[str | None, ...] | None
    scales: tuple[tuple[float, float], ...]
    parts: tuple[tuple[tuple[tuple[int, int], tuple[str, ...], tuple[float, float]], ...], ...]
    missing: tuple[tuple[Any, str], ...]

    @classmethod
    def of(cls, target: Target, pixels: Pixels) -> SamplePlacement:
        """Take over how pixels were read."""
        parts: Any = ()
        if pixels.parts:
            parts = tuple(
                tuple((part.pixels.shape[:2], part.channels, part.scale) for part in frame)
                for frame in pixels.parts
            )
        return cls(target, pixels.channels, pixels.scales, parts, pixels.missing)

    def to_grid(self, frame: int = 0) -> NDArray[np.float64]:
        """Return the transform from pixel corners of the sample to those of the image or the video."""
        window, (across, down) = self.target.padded, self.scales[frame]
        return np.array([[1 / across, 0, window.col], [0, 1 / down, window.row], [0, 0, 1]], np.float64)

    def from_grid(self, frame: int = 0) -> NDArray[np.float64]:
        """Return the way back."""
        window, (across, down) = self.target.padded, self.scales[frame]
        return np.array(
            [[across, 0, -window.col * across], [0, down, -window.row * down], [0, 0, 1]], np.float64
        )


def params_of(placement: SamplePlacement) -> LazyMapping:
    """Return how a sample lies, by the predecessor's names; what needs kwimage is made when asked for."""
    return LazyMapping(placement, _OF_STACKS if placement.target.stacked else _OF_IMAGES)


def _offset(placement: SamplePlacement) -> NDArray[np.int64]:
    window = placement.target.padded
    return np.array([-window.col, -window.row])


def _corners(placement: SamplePlacement) -> Any:
    window = placement.target.padded
    corners = np.array([window.col, window.row, window.col_stop, window.row_stop])
    return kwimage.Boxes(corners[None] if placement.target.stacked else corners, "ltrb")


def _spans(placement: SamplePlacement) -> list[tuple[int, int]]:
    window = placement.target.padded
    return [(window.row, window.row_stop), (window.col, window.col_stop)]


def data_dims(target: Target) -> tuple[int, ...]:
    """Return rows and columns of the image, or frames, rows and columns of the video."""
    return (target.frame_count, *target.shape) if target.stacked else target.shape


def _pad(placement: SamplePlacement) -> tuple[Any, ...]:
    return tuple(before if before == behind else (before, behind) for before, behind in placement.target.pad)


def _channels(placement: SamplePlacement) -> Any:
    names = placement.channels
    if names is None and placement.parts:
        names = tuple(dict.fromkeys(name for frame in placement.parts for _, run, _ in frame for name in run))
    if not names or None in names:
        return None
    return delayed_image.ChannelSpec("|".join(map(str, names)))


def _warps(placement: SamplePlacement) -> list[Any]:
    frames = range(len(placement.scales) if not placement.parts else 0)
    return [kwimage.Affine(placement.from_grid(frame)) for frame in frames]


def _jagged(placement: SamplePlacement) -> list[dict[str, Any]]:
    """Tell for each frame how its parts lie."""
    window, told = placement.target.padded, []
    for frame in placement.parts:
        align, warps = [], []
        for (rows, cols), _, (across, down) in frame:
            align.append(kwimage.Affine(np.diag([across / cols, down / rows, 1.0])))
            matrix = [[across, 0, -window.col * across], [0, down, -window.row * down], [0, 0, 1]]
            warps.append(kwimage.Affine(np.array(matrix, np.float64)))
        chans = [delayed_image.FusedChannelSpec.coerce("|".join(run)) for _, run, _ in frame]
        told.append({"align": align, "chans": chans, "grid_to_part_warps": warps})
    return told


def _target_dims(placement: SamplePlacement) -> tuple[int, ...]:
    return data_dims(placement.target)


def _missing(placement: SamplePlacement) -> list[tuple[Any, str]]:
    return list(placement.missing)


_OF_IMAGES: dict[str, Callable[[SamplePlacement], Any]] = {
    "offset": _offset,
    "tf_rel_to_abs": SamplePlacement.to_grid,
    "sample_tlbr": _corners,
    "st_dims": _spans,
    "data_dims": _target_dims,
    "pad": _pad,
    "missing_channels": _missing,
    "jagged_meta": _jagged,
}
_OF_STACKS: dict[str, Callable[[SamplePlacement], Any]] = _OF_IMAGES | {
    "request_chanspec": _channels,
    "frame_sample_from_grid_warps": _warps,
}
