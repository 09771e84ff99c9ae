"""Windows without objects, drawn at random: candidates that annotations cover too much are refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from numbers import Real
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from subregion.errors import ConfigError, NegativesError, shown
from subregion.sampling.regions.boxtable import BoxTable
from subregion.sampling.regions.grid import different_rows

#: Tells which windows (x0, y0, x1, y1) of images (their rows) hold enough pixels.
Validity: TypeAlias = "Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.bool_]]"

#: So many candidates are looked at together.
_ROUND = 1 << 14
#: Where not one of so many candidates is free, none is expected; fewer, if so many boxes were near them.
HOPELESS = 200_000
_MOST_PAIRS = 1 << 27
#: So many sizes are taken from objects at most.
MOST_SIZES = 1000


@dataclass(frozen=True, slots=True)
class NegativeRule:
    """When a window is free of objects, and how free windows are spread over images.

    Parameters
    ----------
    over_window : float
        Which part of the window annotations may cover, from 0 up to, not including, 1. Their areas are added
        up. So no window lies inside an object, nor inside several together.
    over_annotation : float
        Which part of any one annotation may be in the window, from 0 to 1; 1 permits all. Crowds are not
        asked: their box says little of where its many objects are.
    by : str
        ``"area"`` makes every free window of the dataset equally likely; ``"image"`` every image that has
        one, and in it every free window.
    min_valid : float or None
        Which part of the window must hold pixels and not nodata, at least, from 0 to 1; at 0 it must not be
        all nodata. None asks nothing, and reads nothing. See `ValidPixels`.
    tries : int
        How many candidates may be refused for each window, on average, before that is an error. Under
        ``by="image"`` an image counts as full in which so many were refused, and none was free.

    Raises
    ------
    ConfigError
        If a value has no meaning.
    """

    over_window: float = 0.3
    over_annotation: float = 0.3
    by: str = "area"
    min_valid: float | None = None
    tries: int = 2000

    def __post_init__(self) -> None:
        if not _is_number(self.over_window) or not 0 <= self.over_window < 1:
            raise ConfigError(
                f"over_window={shown(self.over_window)}: a number from 0 up to, not including, 1 is needed; "
                f"at 1 a window could lie inside an object."
            )
        if not _is_number(self.over_annotation) or not 0 <= self.over_annotation <= 1:
            raise ConfigError(
                f"over_annotation={shown(self.over_annotation)}: a number from 0 to 1 is needed."
            )
        if self.min_valid is not None and not (_is_number(self.min_valid) and 0 <= self.min_valid <= 1):
            raise ConfigError(f"min_valid={shown(self.min_valid)}: a number from 0 to 1 is needed, or None.")
        if self.by not in ("area", "image"):
            raise ConfigError(f"by={shown(self.by)}: allowed are 'area', 'image'.")
        if not isinstance(self.tries, int) or isinstance(self.tries, bool) or self.tries < 1:
            raise ConfigError(f"tries={shown(self.tries)}: a whole number is needed, at least 1.")


@dataclass(frozen=True, slots=True, eq=False)
class Negatives:
    """Windows without objects.

    Parameters
    ----------
    images : ndarray of int64, shape (N,)
        Row of the image of each.
    windows : ndarray of int64, shape (N, 4)
        x0, y0, x1, y1 in whole pixels, inside the image.
    """

    images: NDArray[np.int64]
    windows: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.images)


def draw_negatives(
    table: BoxTable,
    sizes: NDArray[np.int64],
    count: int,
    dims: NDArray[np.int64],
    rule: NegativeRule,
    rng: np.random.Generator,
    valid: Validity | None = None,
) -> Negatives:
    """Draw windows that are free of objects.

    They are drawn independently of each other, so the same one may come twice.

    Parameters
    ----------
    table : BoxTable
        The annotations.
    sizes : ndarray of int64, shape (M, 2)
        Height and width of each image.
    count : int
        How many.
    dims : ndarray of int64, shape (K, 2)
        Heights and widths of windows; each window takes one of them, at random.
    rule : NegativeRule
        What is free.
    rng : numpy.random.Generator
        Decides.
    valid : callable or None
        Asked of windows that are free of objects; what it denies is refused, too.

    Raises
    ------
    ConfigError
        If no image is as large as a window.
    NegativesError
        If so many were not found.
    """
    places = _Places(sizes, dims, rule.by)
    draw = _Draw(table, places, rule, rng, valid)
    return draw.run(count)


class _Places:
    """Where windows of some sizes can be, in images of some sizes.

    Images of one size are drawn together: there are few sizes, where there are many images.
    """

    def __init__(self, sizes: NDArray[np.int64], dims: NDArray[np.int64], by: str) -> None:
        self.shapes, kind, counts = different_rows(sizes)
        self.counts = counts
        self.members = np.argsort(kind, kind="stable")
        self.offsets = np.cumsum(counts) - counts
        room = (self.shapes[None] - dims[:, None] + 1).clip(0)
        positions = room.astype(np.float64).prod(axis=2)
        weights = counts * (positions if by == "area" else positions > 0)
        fitting = weights.any(axis=1)
        if not fitting.any():
            raise ConfigError(_too_large(sizes, dims))
        self.dims = dims[fitting]
        self._cumulated = np.cumsum(weights[fitting], axis=1)
        last = weights.shape[1] - 1 - np.argmax(weights[fitting][:, ::-1] > 0, axis=1)
        self._last = last

    def draw_images(self, size: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """Draw an image for each window, which is given by the number of its size."""
        total = self._cumulated[:, -1]
        places = np.arange(len(total))
        flat = (self._cumulated / total[:, None] + places[:, None]).ravel()
        found = np.searchsorted(flat, size + rng.random(len(size)), "right") - size * len(self.shapes)
        shape = np.minimum(found, self._last[size])  # a sum of floats may be rounded beyond the last
        member = rng.integers(0, self.counts[shape])
        images: NDArray[np.int64] = self.members[self.offsets[shape] + member]
        return images


@dataclass
class _Draw:
    """One call: which windows are there, and what was refused."""

    table: BoxTable
    places: _Places
    rule: NegativeRule
    rng: np.random.Generator
    valid: Validity | None
    tried: int = 0
    covered: int = 0
    empty: int = 0
    pairs: int = 0

    @cached_property
    def shapes(self) -> NDArray[np.int64]:
        """Height and width of each image."""
        places = self.places
        shape = np.empty((len(places.members), 2), np.int64)
        shape[places.members] = np.repeat(places.shapes, places.counts, axis=0)
        return shape

    def run(self, count: int) -> Negatives:
        """Draw until all are there."""
        rng, places = self.rng, self.places
        size = rng.integers(0, len(places.dims), count)
        images, windows = np.zeros(count, np.int64), np.zeros((count, 4), np.int64)
        image = places.draw_images(size, rng)
        known = _Outcomes()
        pending = np.arange(count)
        while len(pending):
            self._give_up(count, len(pending))
            repeat = self._repeats(len(pending))
            slots = np.repeat(pending, repeat)
            own = places.draw_images(size[slots], rng) if self.rule.by == "area" else image[slots]
            candidates = self._windows(own, places.dims[size[slots]])
            good = self._free(own, candidates)
            first = _first_of_each(good, repeat)
            hit = first >= 0
            chosen = first[hit]
            images[pending[hit]], windows[pending[hit]] = own[chosen], candidates[chosen]
            pending = pending[~hit]
            if self.rule.by == "image" and len(pending):
                known = known.added(size[slots] * len(self.shapes) + own, good)
                self._leave_full_images(pending, size, image, known.full(self.rule.tries))
        return Negatives(images, windows)

    def _repeats(self, pending: int) -> int:
        """Tell how many candidates each window is given next: more, the more were refused so far."""
        found = self.tried - self.covered - self.empty
        likely = 1 if self.tried == 0 else min(self.tried / max(found, 1), 1000)
        most = min(_ROUND, _MOST_PAIRS * self.tried // self.pairs) if self.pairs else _ROUND
        return int(max(1, min(np.ceil(likely), most // max(pending, 1), self.rule.tries)))

    def _windows(self, image: NDArray[np.int64], dims: NDArray[np.int64]) -> NDArray[np.int64]:
        low = self.rng.integers(0, self.shapes[image] - dims + 1)
        return np.concatenate([low[:, ::-1], (low + dims)[:, ::-1]], axis=1)

    def _free(self, image: NDArray[np.int64], windows: NDArray[np.int64]) -> NDArray[np.bool_]:
        rule = self.rule
        if self.tried == self.covered:  # nothing was found yet
            self.pairs += self.table.pairs(image, windows)
        free = self.table.within(image, windows, rule.over_window, rule.over_annotation)
        self.tried += len(free)
        self.covered += int(np.count_nonzero(~free))
        if self.valid is not None and free.any():
            rows = np.flatnonzero(free)
            free[rows] = self.valid(image[rows], windows[rows])
            self.empty += len(rows) - int(np.count_nonzero(free))
        return free

    def _leave_full_images(
        self,
        pending: NDArray[np.int64],
        size: NDArray[np.int64],
        image: NDArray[np.int64],
        full: NDArray[np.int64],
    ) -> None:
        """Draw other images for windows whose image has no place for them."""
        for _ in range(64):
            again = pending[np.isin(size[pending] * len(self.shapes) + image[pending], full)]
            if not len(again):
                break
            image[again] = self.places.draw_images(size[again], self.rng)

    def _give_up(self, count: int, pending: int) -> None:
        found = self.tried - self.covered - self.empty
        costly = self.pairs >= _MOST_PAIRS and self.tried >= self.rule.tries
        hopeless = found == 0 and (self.tried >= HOPELESS or costly)
        if not hopeless and self.tried <= max(self.rule.tries * count, HOPELESS):
            return
        rule = self.rule
        without = "" if self.valid is None else f", {self.empty} for want of valid pixels"
        raise NegativesError(
            f"{count - pending} of {count} windows without objects were found in {self.tried} tries: "
            f"{self.covered} were refused because annotations cover more than {rule.over_window:g} of the "
            f"window, or it more than {rule.over_annotation:g} of one{without}. Permit more by over_window "
            f"and over_annotation, take smaller windows (of {_listed(self.places.dims)}), or fewer."
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Outcomes:
    """How many candidates were tried, and how many of them good, for each size of window in each image."""

    keys: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    tried: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    good: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))

    def added(self, keys: NDArray[np.int64], good: NDArray[np.bool_]) -> _Outcomes:
        """Return these and further candidates."""
        every, place = np.unique(np.concatenate([self.keys, keys]), return_inverse=True)
        tried = np.concatenate([self.tried, np.ones(len(keys), np.int64)])
        found = np.concatenate([self.good, good.astype(np.int64)])
        place = place.reshape(-1)
        sums = [np.bincount(place, each, minlength=len(every)).astype(np.int64) for each in (tried, found)]
        return _Outcomes(every, *sums)

    def full(self, tries: int) -> NDArray[np.int64]:
        """Return where nothing was found in so many tries."""
        keys: NDArray[np.int64] = self.keys[(self.good == 0) & (self.tried >= tries)]
        return keys


def _first_of_each(good: NDArray[np.bool_], repeat: int) -> NDArray[np.int64]:
    """Return the place of the first good candidate of each window; -1 where there is none."""
    table = good.reshape(-1, repeat)
    first = table.argmax(axis=1) + np.arange(len(table)) * repeat
    return np.where(table.any(axis=1), first, -1)


def _too_large(sizes: NDArray[np.int64], dims: NDArray[np.int64]) -> str:
    if not len(sizes):
        return "there are no images to draw windows without objects from."
    height, width = sizes.max(axis=0).tolist()
    return (
        f"window_dims={_listed(dims)}: no image is as large as such a window; the highest has {height} rows, "
        f"the widest {width} columns. Take smaller windows."
    )


def _listed(dims: NDArray[np.int64]) -> str:
    if len(dims) == 1:
        return f"({dims[0, 0]}, {dims[0, 1]})"
    low, high = dims.min(axis=0).tolist(), dims.max(axis=0).tolist()
    return f"({low[0]}, {low[1]}) to ({high[0]}, {high[1]})"


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
