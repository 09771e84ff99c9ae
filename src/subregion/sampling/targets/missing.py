"""Channels that images lack: counted where they were filled, refused where no image has them."""

from __future__ import annotations

from collections.abc import Mapping

from subregion.frames import Frames
from subregion.records import unknown_channel
from subregion.sampling.annotations.report import MISSING_CHANNEL
from subregion.sampling.targets.pixels import Pixels
from subregion.sampling.targets.targets import Target


class MissingChannels:
    """What was filled in samples, because an image lacks a channel.

    Parameters
    ----------
    frames : Frames
        The images.
    """

    def __init__(self, frames: Frames) -> None:
        self._frames = frames
        self._count = 0
        self._known: frozenset[str] = frozenset()

    @property
    def counts(self) -> Mapping[str, int]:
        """How many channels of images were filled."""
        return {MISSING_CHANNEL: self._count}

    def tell(self, target: Target, pixels: Pixels) -> None:
        """Count channels that were filled.

        Raises
        ------
        UnknownChannelError
            If no image of the dataset has one of them, and the target does not say what stands there then.
        """
        self._count += len(pixels.missing)
        if target.options.nodata is not None:
            return
        names = dict.fromkeys(name for _, name in pixels.missing)
        if not self._known.issuperset(names):
            records = map(self._frames.record, self._frames.image_ids)
            self._known = frozenset(name for record in records for name in record.places())
        for name in names:
            if name not in self._known:
                raise unknown_channel(name, tuple(sorted(self._known)), "the dataset")
