"""Statistics of repeated measurements: what a figure is, how sure it is, and how two of them compare."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sample:
    """What was measured, in one unit.

    Parameters
    ----------
    repeats : tuple of float
        The median of each repeat, in the order of time.
    median : float
        Of the repeats.
    p99 : float
        99 of 100 single measurements take at most this.
    spread : float
        From the lowest repeat to the highest, as a part of the median.
    count : int
        How many single measurements there were.
    """

    repeats: tuple[float, ...]
    median: float
    p99: float
    spread: float
    count: int


def summarize(rounds: Sequence[Sequence[float]]) -> Sample:
    """Sum up measurements.

    Parameters
    ----------
    rounds : sequence of sequence of float
        The single measurements of each repeat; none is empty.

    Examples
    --------
    >>> summarize([[1.0, 2.0, 3.0], [2.0, 2.5, 9.0]])
    Sample(repeats=(2.0, 2.5), median=2.25, p99=9.0, spread=0.2222222222222222, count=6)
    """
    repeats = tuple(statistics.median(taken) for taken in rounds)
    median = statistics.median(repeats)
    ordered = sorted(figure for taken in rounds for figure in taken)
    return Sample(
        repeats,
        median,
        ordered[math.ceil(0.99 * len(ordered)) - 1],
        (max(repeats) - min(repeats)) / median if median else 0.0,
        len(ordered),
    )


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Return how many times theirs ours is: the median over repeats that were measured side by side.

    A machine that slows down for a while slows both sides of a pair, so pairs tell more than medians do.

    Examples
    --------
    >>> ratio([1.0, 2.0, 9.0], [2.0, 4.0, 3.0])
    0.5
    """
    return statistics.median(mine / other for mine, other in zip(ours, theirs, strict=True))
