"""Ranges of bytes that lie near each other, fetched together where that pays. The joining is pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from subregion.io.source import ByteSource

#: A joined range has at most so many bytes, so that few are fetched in vain and several can be under way.
MOST_JOINED = 8 << 20


def join_ranges(
    offsets: Sequence[int], sizes: Sequence[int], gap: int, most: int = MOST_JOINED
) -> tuple[list[int], list[int], list[tuple[int, int]]]:
    """Join ranges that are at most `gap` bytes apart.

    Parameters
    ----------
    offsets, sizes : sequence of int
        The ranges, in any order; they may overlap.
    gap : int
        How many bytes between two ranges are worth fetching in vain.
    most : int
        Bytes of a joined range, at most; a single one may have more.

    Returns
    -------
    offsets, sizes : list of int
        The joined ranges, by their offset.
    places : list of (int, int)
        For each range that was given, which of the joined ones holds it, and from which of its bytes on.

    Examples
    --------
    >>> join_ranges([100, 0, 1000], [10, 90, 5], gap=16)
    ([0, 1000], [110, 5], [(0, 100), (0, 0), (1, 0)])
    """
    starts: list[int] = []
    stops: list[int] = []
    places = [(0, 0)] * len(offsets)
    for number in sorted(range(len(offsets)), key=offsets.__getitem__):
        start, stop = offsets[number], offsets[number] + sizes[number]
        if starts and start - stops[-1] <= gap and max(stop, stops[-1]) - starts[-1] <= most:
            stops[-1] = max(stop, stops[-1])
        else:
            starts.append(start)
            stops.append(stop)
        places[number] = len(starts) - 1, start - starts[-1]
    return starts, [stop - start for start, stop in zip(starts, stops, strict=True)], places


def read_joined(file: ByteSource, offsets: Sequence[int], sizes: Sequence[int]) -> list[Any]:
    """Read ranges of a file; near ones with one request, where its source says that this pays.

    Raises
    ------
    DamagedFileError
        If the file ends before.
    """
    if file.gap < 0 or len(offsets) < 2:
        return file.read_ranges(offsets, sizes)
    starts, lengths, places = join_ranges(offsets, sizes, file.gap)
    joined = [memoryview(data) for data in file.read_ranges(starts, lengths)]
    return [joined[which][at : at + size] for (which, at), size in zip(places, sizes, strict=True)]
