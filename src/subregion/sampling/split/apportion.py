"""Groups of images, or blocks of ground, are shared out to splits: each gets its part of every class."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subregion.errors import ConfigError, TooLargeError, shown
from subregion.sampling.arguments import as_float

#: More blocks, each of them counted once for all that lies in it, take more memory than there is.
MOST_BLOCKS = 1 << 26
#: Farther from the origin blocks have no number.
_FARTHEST = 1 << 52
#: The usual splits.
USUAL = {"train": 0.8, "validation": 0.1, "test": 0.1}


def checked_fractions(fractions: Any) -> dict[str, float]:
    """Return the part of each split.

    Parameters
    ----------
    fractions : mapping of str to float, sequence of 2 or 3 floats, or None
        Of each split; or of train and test, or of train, validation and test. They are divided by their sum.
        None is 0.8, 0.1 and 0.1.

    Raises
    ------
    ConfigError
        If they are no such thing.
    """
    found = USUAL if fractions is None else fractions
    if not isinstance(found, Mapping) and isinstance(found, Sequence):
        names = {2: ("train", "test"), 3: ("train", "validation", "test")}.get(len(found), ())
        found = dict(zip(names, found, strict=False))
    if not isinstance(found, Mapping) or len(found) < 2:
        raise ConfigError(f"fractions={shown(fractions)}: give at least two, such as {USUAL}.")
    for name, value in found.items():
        good = isinstance(value, Real) and not isinstance(value, bool) and 0 < as_float(value) < math.inf
        if not isinstance(name, str) or not name or not good:
            raise ConfigError(f"fractions={shown(fractions)}: give a number above 0 for each name.")
    total = sum(map(float, found.values()))
    if total == math.inf:
        raise ConfigError(f"fractions={shown(fractions)}: no float holds their sum; give smaller ones.")
    return {name: float(value) / total for name, value in found.items()}


@dataclass(frozen=True, slots=True, eq=False)
class Contents:
    """How much of what is in each group: one row of three arrays for each group and kind that is in it.

    Parameters
    ----------
    groups, kinds : ndarray of int64, shape (N,)
        Sorted by group.
    counts : ndarray of float64, shape (N,)
        How much.
    n_groups, n_kinds : int
        How many there are.
    """

    groups: NDArray[np.int64]
    kinds: NDArray[np.int64]
    counts: NDArray[np.float64]
    n_groups: int
    n_kinds: int

    @classmethod
    def of(cls, groups: NDArray[np.int64], kinds: NDArray[np.int64], n_groups: int, n_kinds: int) -> Contents:
        """Count members, each of which is of a kind and in a group."""
        key, counts = np.unique(groups * n_kinds + kinds, return_counts=True)
        return cls(key // n_kinds, key % n_kinds, counts.astype(np.float64), n_groups, n_kinds)


def apportion(contents: Contents, parts: Sequence[float], rng: np.random.Generator) -> NDArray[np.int64]:
    """Share out groups.

    Each group goes where it brings the parts of all kinds closest to those that are wanted, in the sum of
    squares over these; groups with a large part of a kind go first, those that are alike in a random order.
    Groups of one member each are so shared out as seats are by the method of Sainte-Lague.

    Parameters
    ----------
    contents : Contents
        What is in the groups.
    parts : sequence of float
        Which part of every kind each split should have.
    rng : numpy.random.Generator
        Decides among groups that are alike.

    Returns
    -------
    ndarray of int64, shape (groups,)
        The number of the split of each.
    """
    totals = np.bincount(contents.kinds, contents.counts, minlength=contents.n_kinds)
    shares = contents.counts / totals[contents.kinds]
    largest = np.zeros(contents.n_groups)
    np.maximum.at(largest, contents.groups, shares)
    shuffled = rng.permutation(contents.n_groups)
    order = shuffled[np.argsort(-largest[shuffled], kind="stable")]
    ends = np.searchsorted(contents.groups, np.arange(contents.n_groups + 1)).tolist()
    sizes = np.asarray(parts)
    wanted = np.tile(sizes[:, None], (1, contents.n_kinds))
    found = np.zeros(contents.n_groups, np.int64)
    kinds = contents.kinds
    for group in order.tolist():
        own = slice(ends[group], ends[group + 1])
        kind, share = kinds[own], shares[own]
        split = int(((wanted[:, kind] @ share - share @ share / 2) / sizes).argmax())
        wanted[split, kind] -= share
        found[group] = split
    return found


@dataclass(frozen=True, slots=True)
class Blocks:
    """Squares of ground, or of an image, that are shared out as a whole.

    Parameters
    ----------
    size : tuple of float
        Height and width of a block, in pixels or units of the ground.
    margin : float
        How far apart members of different splits are, at least.
    """

    size: tuple[float, float]
    margin: float = 0.0

    @classmethod
    def of(cls, block: Any, margin: Any) -> Blocks:
        """Check what users write: one length for a square, or height and width."""
        pair = (block, block) if isinstance(block, Real) else tuple(block) if _is_pair(block) else ()
        if len(pair) != 2 or not all(_is_length(each) and each > 0 for each in pair):
            raise ConfigError(f"block={shown(block)}: give a length above 0, or (height, width).")
        if not _is_length(margin):
            raise ConfigError(f"margin={shown(margin)}: a number is needed, at least 0.")
        return cls((float(pair[0]), float(pair[1])), float(margin))

    def apportion(
        self,
        plane: NDArray[np.int64],
        boxes: NDArray[np.float64],
        kinds: Sequence[NDArray[np.int64]],
        n_kinds: int,
        parts: Sequence[float],
        rng: np.random.Generator,
    ) -> NDArray[np.int64]:
        """Share out boxes by the blocks in which they lie.

        Parameters
        ----------
        plane : ndarray of int64, shape (N,)
            In which plane each box lies; those in different ones are never near each other.
        boxes : ndarray, shape (N, 4)
            x0, y0, x1, y1.
        kinds : sequence of ndarray of int64
            Of what is in each box.
        n_kinds : int
            How many kinds there are.
        parts, rng
            As for `apportion`.

        Returns
        -------
        ndarray of int64, shape (N,)
            The number of the split of each; -1 for one that, grown by half of the margin, reaches into blocks
            of different splits.
        """
        step = np.array([self.size[1], self.size[0]])
        with np.errstate(over="ignore"):
            reach = (boxes[:, 2:] - boxes[:, :2] + self.margin) / step + 1
            total = float(reach.prod(axis=1).sum())
            far = np.abs(boxes / np.tile(step, 2)).max(initial=0)
        if not (total <= MOST_BLOCKS and far < _FARTHEST):
            raise TooLargeError(
                f"block=({self.size[0]:g}, {self.size[1]:g}), margin={self.margin:g}: there are too many "
                f"blocks to be shared out; take larger ones."
            )
        low = np.floor((boxes[:, :2] - self.margin / 2) / step + _SLACK).astype(np.int64)
        high = np.ceil((boxes[:, 2:] + self.margin / 2) / step - _SLACK).astype(np.int64)
        spans = np.maximum(high - low, 1)
        count = spans.prod(axis=1)
        owner = np.repeat(np.arange(len(boxes)), count)
        place = np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count)
        across = spans[owner, 0]
        cells = np.stack([plane[owner], low[owner, 1] + place // across, low[owner, 0] + place % across], 1)
        every, cell = np.unique(cells, axis=0, return_inverse=True)
        cell = cell.reshape(-1)
        # What is in a box counts where its centre is.
        middle = (spans // 2) @ np.array([0, 1]) * spans[:, 0] + spans[:, 0] // 2
        home = cell[np.cumsum(count) - count + middle]
        members = np.repeat(home, [len(each) for each in kinds])
        flat = np.concatenate([*kinds, np.empty(0, np.int64)])
        split = apportion(Contents.of(members, flat, len(every), n_kinds), parts, rng)
        lowest = np.full(len(boxes), len(parts))
        highest = np.full(len(boxes), -1)
        np.minimum.at(lowest, owner, split[cell])
        np.maximum.at(highest, owner, split[cell])
        return np.where(lowest == highest, highest, -1)


#: Bounds on the ground have the noise of float arithmetic; so much of a block does not matter.
_SLACK = 1e-6


def _is_length(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and 0 <= as_float(value) < math.inf


def _is_pair(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)
