"""Where a window meets a grid of equal blocks."""

from __future__ import annotations


def overlaps(start: int, stop: int, step: int, size: int) -> list[tuple[int, slice, slice]]:
    """List the blocks along one axis that an interval touches.

    Parameters
    ----------
    start, stop : int
        The interval, in pixels, not empty.
    step : int
        Every how many pixels one is taken, counted from `start`.
    size : int
        Pixels of a block.

    Returns
    -------
    list of (int, slice, slice)
        Number of the block, which of its pixels are wanted, and where they go in the output. Blocks that
        lie between two steps are left out.

    Examples
    --------
    >>> overlaps(3, 9, 1, 4)
    [(0, slice(3, 4, None), slice(0, 1, None)), (1, slice(0, 4, None), slice(1, 5, None)),
     (2, slice(0, 1, None), slice(5, 6, None))]
    """
    first, last = start // size, (stop - 1) // size
    if step == 1:
        lead = start - first * size
        if first == last:
            return [(first, slice(lead, lead + stop - start), slice(0, stop - start))]
        # Nearly all windows come here, and to ask at each block for its ends would take three times as long.
        whole, done = slice(0, size), size - lead
        between = range(done, done + (last - first - 1) * size, size)
        return [
            (first, slice(lead, size), slice(0, done)),
            *[(first + k, whole, slice(at, at + size)) for k, at in enumerate(between, 1)],
            (last, slice(0, stop - last * size), slice(last * size - start, stop - start)),
        ]
    found = []
    at = start
    while at < stop:
        block = at // size
        end = min(stop, (block + 1) * size)
        count = -(-(end - at) // step)
        done = (at - start) // step
        found.append((block, slice(at - block * size, end - block * size, step), slice(done, done + count)))
        at += count * step
    return found
