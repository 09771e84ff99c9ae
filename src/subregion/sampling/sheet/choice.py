"""Samples that are drawn at random to be looked at: around annotations, away from them, or off a grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from subregion.errors import ConfigError, shown
from subregion.sampling.arguments import as_generator, checked_count, checked_dims
from subregion.sampling.regions.samplegrid import TASKS

if TYPE_CHECKING:
    from subregion.sampling.sampler import CocoSampler

#: Rows and columns of windows, where images are not smaller and nothing else is asked for.
WINDOW = 256


@dataclass(frozen=True, slots=True)
class RandomChoice:
    """Which samples are drawn.

    Parameters
    ----------
    count : int or None
        How many; there are fewer if there are not so many annotations, or windows of the grid. None is all
        windows of the grid.
    window_dims : tuple of int, int or None
        Height and width of the windows; None is 256 pixels, or as many as the smallest image has.
    negatives : float or None
        Which part of them are windows without objects, from 0 to 1; None is none, or all in a dataset
        without objects.
    grid : bool
        Whether they are windows out of a grid over all images, instead of windows around annotations.
    frames : int or None
        Of how many frames of a video each is; None is of single images.

    Raises
    ------
    ConfigError
        If a value has no meaning.
    """

    count: int | None = 24
    window_dims: Any = None
    negatives: float | None = None
    grid: bool = False
    frames: int | None = None

    def __post_init__(self) -> None:
        if self.count is not None or not self.grid:
            checked_count("n", self.count, least=1)
        part = self.negatives
        if part is not None and not (isinstance(part, int | float) and 0 <= part <= 1):
            raise ConfigError(f"negatives={shown(part)}: a part of all samples is needed, from 0 to 1.")
        if self.grid and part is not None:
            raise ConfigError("negatives: windows of a grid lie where they lie; leave out one of both.")
        if self.frames is not None:
            checked_count("frames", self.frames, least=1)
            if part:
                raise ConfigError("negatives: are windows of single images; leave out frames.")

    def targets(self, sampler: CocoSampler, rng: Any = None) -> list[dict[str, Any]]:
        """Draw them; each once, as a dict that `load_sample` takes and JSON can hold.

        Raises
        ------
        ConfigError
            If there is nothing to draw from.
        NegativesError
            If so many windows without objects were not found.
        """
        generator = as_generator(rng)
        dims = self._dims(sampler)
        if self.grid:
            return self._of_grid(sampler, dims, generator)
        part = self.negatives
        if part is None:
            part = 0.0 if sampler.regions.targets.count or self.frames is not None else 1.0
        count = self.count or 0  # checked: only of a grid there may be none
        negatives = round(count * part)
        found = self._around(sampler, count - negatives, dims, generator)
        drawn = sampler.regions.draw_negatives(negatives, dims, generator)
        ids = sampler.index.image_ids
        for image, (x0, y0, x1, y1) in zip(drawn.images.tolist(), drawn.windows.tolist(), strict=True):
            found.append({"gid": ids[image], "slices": [[y0, y1], [x0, x1]]})
        return found

    def _dims(self, sampler: CocoSampler) -> tuple[int, int]:
        if self.window_dims is None:
            sizes = sampler.regions.sizes.table
            if not len(sizes):
                raise ConfigError("there are no images to draw samples from.")
            height, width = sizes.min(axis=0).clip(1, WINDOW).tolist()
            return height, width
        dims = self.window_dims
        return checked_dims((dims, dims) if isinstance(dims, int | np.integer) else dims)

    def _around(
        self, sampler: CocoSampler, count: int, dims: tuple[int, int], rng: np.random.Generator
    ) -> list[dict[str, Any]]:
        """Return windows around annotations."""
        if not count:
            return []
        rows = sampler.regions.targets.rows
        if not len(rows):
            raise ConfigError("no annotation has a box that a window could lie around; try a grid.")
        index, found = sampler.index, []
        for row in rows[rng.permutation(len(rows))].tolist():
            target: dict[str, Any] = {"aid": int(index.ids[row]), "window_dims": list(dims)}
            if self.frames is not None:
                clip = self._clip(sampler, index.image_ids[index.image[row]])
                if clip is None:
                    continue
                target |= clip
            found.append(target)
            if len(found) == count:
                break
        if not found:
            raise ConfigError("frames: no annotation is in a frame of a video; leave frames out.")
        return found

    def _clip(self, sampler: CocoSampler, image_id: Any) -> dict[str, Any] | None:
        """Return the frames around an image; None if it is in no video."""
        place = sampler.frames.record(image_id).video
        if place is None or self.frames is None:
            return None
        every = list(sampler.frames.frames_of(place.video_id))
        first = max(0, min(every.index(image_id) - self.frames // 2, len(every) - self.frames))
        return {"vidid": place.video_id, "time_slice": [first, min(first + self.frames, len(every))]}

    def _of_grid(
        self, sampler: CocoSampler, dims: tuple[int, int], rng: np.random.Generator
    ) -> list[dict[str, Any]]:
        """Return windows of a grid, in its order."""
        shape = dims if self.frames is None else (self.frames, *dims)
        task = TASKS[0] if self.frames is None else TASKS[1]
        every = sampler.new_sample_grid(task, shape, use_annots=False, legacy=False)["targets"]
        if not every:
            raise ConfigError("the grid has no windows: there are no images, or no videos.")
        places = np.sort(rng.permutation(len(every))[: self.count])
        return [{k: v for k, v in every[place].items() if v is not None} for place in places.tolist()]
