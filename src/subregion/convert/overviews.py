"""Smaller copies of an image, each half as large as the one before, made while its rows stream by.

An overview pixel stands for a square of 2 x 2 pixels of the level above it, so a level has
``ceil(rows / 2)`` x ``ceil(columns / 2)`` pixels; at an odd edge it stands for the pixels that are there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

from subregion.dtypes import as_integer
from subregion.forks import FOREIGN
from subregion.libraries import cv2

Method = Literal["average", "nearest", "mode"]

_BATCH = 1 << 18  # samples summed at a time, so that all temporaries stay in the processor's cache
# What OpenCV averages exactly as we do, in a tenth of the time.
_OPENCV_DTYPES, _OPENCV_BANDS = tuple(map(np.dtype, (np.uint8, np.uint16, np.int16))), (1, 3, 4)
_OPENCV_BATCH = 1 << 16  # samples made at a time: for more it would start threads of its own
_WORTH_OPENCV = 32 << 20  # samples that NumPy averages while OpenCV would only be imported
_FEW_BANDS = 8  # up to here a loop over bands is faster than NumPy's own over the last axis


def overview_shapes(rows: int, cols: int, blocksize: int) -> tuple[tuple[int, int], ...]:
    """Sizes of the overviews that an image needs: halved until one block holds all of it.

    Parameters
    ----------
    rows, cols : int
        Size of the image, in pixels.
    blocksize : int
        Edge of a block, in pixels.

    Returns
    -------
    tuple of (int, int)
        Rows and columns, from the largest overview to the smallest; empty for an image of one block.

    Examples
    --------
    >>> overview_shapes(700, 1000, 256)
    ((350, 500), (175, 250))
    """
    shapes = []
    while max(rows, cols) > blocksize:
        rows, cols = (rows + 1) // 2, (cols + 1) // 2
        shapes.append((rows, cols))
    return tuple(shapes)


class Halving:
    """One halving of a stream of rows; remembers at most the one row that waits for its partner.

    Parameters
    ----------
    shape : tuple of int
        Rows, columns and bands of the image that streams in.
    dtype : dtype
        Any integer, float or complex type.
    method : {"average", "mode"}
        Mean of the square, or the value that is most frequent in it, the first of several in the order of
        reading. Means of integers are rounded to the nearest, halves up (2.5 becomes 3 and -2.5 becomes
        -2); means of floats are taken in double precision.
    nodata : float or int, optional
        Samples with this value, and NaN in any case, take no part. Where none takes part, the result is
        `nodata`, or NaN if there is none. (A mean that happens to equal `nodata` is left so.)

    Attributes
    ----------
    shape : tuple of int
        Rows, columns and bands of the stream that comes out.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        dtype: DTypeLike,
        method: Method = "average",
        nodata: float | int | None = None,
    ) -> None:
        rows, cols, bands = shape
        self.shape = ((rows + 1) // 2, (cols + 1) // 2, bands)
        self._dtype = np.dtype(dtype)
        self._method = method
        self._nodata = _as_sample(nodata, self._dtype)
        self._by_opencv = (
            self._dtype in _OPENCV_DTYPES
            and bands in _OPENCV_BANDS
            and cols > 1
            and rows * cols * bands >= _WORTH_OPENCV
        )
        self._waiting: NDArray[Any] | None = None
        self._rows_left = rows

    def push(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Take the next rows and give the rows of the smaller image that are now complete.

        Parameters
        ----------
        rows : ndarray, (n, columns, bands)
            May be overwritten by the caller afterwards.

        Returns
        -------
        ndarray, (m, ceil(columns / 2), bands)
            A new array; `m` may be 0.
        """
        self._rows_left -= len(rows)
        if self._waiting is not None:
            rows = np.concatenate((self._waiting, rows))
            self._waiting = None
        if len(rows) % 2 and self._rows_left:
            self._waiting = rows[-1:].copy()
            rows = rows[:-1]
        if self._method == "mode":
            return _modes(rows, self._nodata)
        out = np.empty(((len(rows) + 1) // 2, *self.shape[1:]), self._dtype)
        pairs = len(rows) // 2
        self._average(rows[: 2 * pairs], out[:pairs])
        if len(rows) % 2:
            # The mean of a row and itself is the row: so the last of an odd number needs no rule of its own.
            self._average(np.repeat(rows[-1:], 2, axis=0), out[pairs:])
        return out

    def _average(self, rows: NDArray[Any], out: NDArray[Any]) -> None:
        """Fill `out` with the means of pairs of rows, batch by batch."""
        by_opencv = self._by_opencv and rows.dtype == self._dtype
        step = max(1, (_OPENCV_BATCH if by_opencv else _BATCH // 2) // max(1, out[:1].size))
        for row in range(0, len(out), step):
            taken, batch = rows[2 * row : 2 * (row + step)], out[row : row + step]
            if by_opencv and (self._nodata is None or not _holds(self._nodata, taken)):
                _average_by_opencv(taken, batch)
            else:
                _average_batch(taken[0::2], taken[1::2], batch, self._nodata)


class Picking:
    """A smaller image of pixels that stand in the middle of squares, from a stream of rows.

    Pixel i along an axis is the source's pixel ``floor((i + 1/2) 2^level)``, or the last one: what nearest on
    the full resolution gives at that scale.

    Parameters
    ----------
    shape : tuple of int
        Rows, columns and bands of the image that streams in.
    level : int
        How often it is halved, at least 1.

    Attributes
    ----------
    shape : tuple of int
        Rows, columns and bands of the stream that comes out.
    """

    def __init__(self, shape: tuple[int, int, int], level: int) -> None:
        rows, cols, bands = shape
        step = 1 << level
        self._rows = np.minimum(np.arange(-(-rows // step)) * step + step // 2, rows - 1)
        self._cols = np.minimum(np.arange(-(-cols // step)) * step + step // 2, cols - 1)
        self.shape = (len(self._rows), len(self._cols), bands)
        self._seen = 0

    def push(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Take the next rows, and give those of the smaller image among them; see `Halving.push`."""
        first, stop = np.searchsorted(self._rows, (self._seen, self._seen + len(rows)))
        wanted = self._rows[first:stop] - self._seen
        self._seen += len(rows)
        picked: NDArray[Any] = rows[wanted][:, self._cols]
        return picked


class Pyramid:
    """All overviews of an image, made in one pass over its rows.

    Parameters
    ----------
    shape : tuple of int
        Rows, columns and bands of the image.
    dtype : dtype
        Of the image and of all overviews.
    levels : int
        How many overviews, at least 0.
    method : {"average", "nearest", "mode"}
        See `Halving`, and `Picking` for the nearest.
    nodata : float or int, optional
        See `Halving`.

    Attributes
    ----------
    shapes : tuple of (int, int, int)
        Shape of each level; level 0 is the image itself.
    method : str
        As given.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        dtype: DTypeLike,
        levels: int,
        method: Method = "average",
        nodata: float | int | None = None,
    ) -> None:
        self.method = method
        self.shapes = [shape]
        self._halvings: list[Halving | Picking] = []
        for level in range(1, levels + 1):
            if method == "nearest":
                self._halvings.append(Picking(shape, level))
            else:
                self._halvings.append(Halving(self.shapes[-1], dtype, method, nodata))
            self.shapes.append(self._halvings[-1].shape)

    def push(self, rows: NDArray[Any]) -> Iterator[tuple[int, NDArray[Any]]]:
        """Take the next rows of the image; give, per level, the rows that are now complete.

        Parameters
        ----------
        rows : ndarray, (n, columns, bands)
            The next rows of the image.

        Yields
        ------
        level : int
            0 for the image itself, whose rows come out as they went in.
        rows : ndarray, (m, columns, bands)
            The next rows of that level; never empty.
        """
        yield 0, rows
        for level, halving in enumerate(self._halvings, start=1):
            if self.method == "nearest":  # each level is made of the image itself
                if len(picked := halving.push(rows)):
                    yield level, picked
                continue
            rows = halving.push(rows)
            if not len(rows):
                return
            yield level, rows


def _modes(rows: NDArray[Any], nodata: Any) -> NDArray[Any]:
    """Return the most frequent value of each 2 x 2 square, the first of several in the order of reading."""
    if len(rows) % 2:
        rows = np.concatenate((rows, rows[-1:]))
    corners = list(_corners(rows[0::2], rows[1::2]))
    counts = []
    for one in corners:
        count = np.zeros(one.shape, np.int8)
        for other in corners:
            count += one == other
        if nodata is not None:
            count[one == nodata] = 0
        counts.append(count)
    best = np.argmax(np.stack(counts), axis=0)
    found: NDArray[Any] = np.choose(best, corners)
    return found


def _as_sample(nodata: float | int | None, dtype: np.dtype[Any]) -> Any:
    """Return `nodata` as a value of `dtype`, or None if no sample of that dtype can equal it."""
    if nodata is None or nodata != nodata:  # NaN never takes part anyway
        return None
    if dtype.kind in "iu":
        whole = as_integer(nodata, dtype)
        return None if whole is None else dtype.type(whole)
    with np.errstate(over="ignore"):
        sample = dtype.type(nodata)
    return None if np.isinf(sample) and not np.isinf(nodata) else sample


def _average_by_opencv(rows: NDArray[Any], out: NDArray[Any]) -> None:
    """Fill `out` with the mean of each 2 x 2 square of an even number of rows; all samples take part."""
    height, width, bands = out.shape
    whole = rows.shape[1] // 2
    with FOREIGN:
        drawn = cv2.resize(rows[:, : 2 * whole], (whole, height), interpolation=cv2.INTER_AREA)
    out[:, :whole] = drawn.reshape(height, whole, bands)
    if whole < width:  # an odd last column stands twice
        _average_batch(rows[0::2, -1:], rows[1::2, -1:], out[:, whole:], None)


def _average_batch(top: NDArray[Any], bottom: NDArray[Any], out: NDArray[Any], nodata: Any) -> None:
    """Fill `out` with the mean of each 2 x 2 square of rows `top` and the rows `bottom` below them."""
    bands = out.shape[2]
    # Over a short last axis NumPy's inner loop would run for a few samples only.
    runs: list[Any] = list(range(bands)) if bands <= _FEW_BANDS else [slice(None)]
    integers = out.dtype.kind in "iu"
    if integers and out.dtype.itemsize <= 4 and (nodata is None or not _holds(nodata, top, bottom)):
        columns = np.add(top, bottom, dtype=_wider(out.dtype))
        for band in runs:
            _average_integers(columns[:, :, band], out[:, :, band])
    else:
        average = _average_valid_integers if integers else _average_floats
        for band in runs:
            average(top[:, :, band], bottom[:, :, band], out[:, :, band], nodata)


def _holds(nodata: Any, *rows: NDArray[Any]) -> bool:
    return any((samples == nodata).any() for samples in rows)


def _average_integers(columns: NDArray[Any], out: NDArray[Any]) -> None:
    """Mean of integers of up to 32 bits that all take part, from sums of two in the next wider type."""
    left, right = columns[:, 0::2], columns[:, 1::2]
    squares = left.copy()
    squares[:, : right.shape[1]] += right
    squares[:, right.shape[1] :] += left[:, right.shape[1] :]  # an odd last column stands twice
    squares += 2
    squares >>= 2
    out[...] = squares


def _average_valid_integers(top: NDArray[Any], bottom: NDArray[Any], out: NDArray[Any], nodata: Any) -> None:
    """Mean of the integers that are not `nodata`, without any sum that could overflow.

    With ``x = 12 q + r`` the mean of `n` samples is ``12 / n * sum(q) + sum(r) / n``, where 12 is divisible
    by every `n` from 1 to 4; the second term, rounded, is ``(12 / n * sum(r) + 6) // 12``. Where there is a
    wider type to sum in, `q` may as well be 0.
    """
    work = _wider(out.dtype)
    twelves, rest, count = np.zeros(out.shape, work), np.zeros(out.shape, work), np.zeros(out.shape, np.uint8)
    for corner in _corners(top, bottom):
        valid = np.ones(corner.shape, bool) if nodata is None else corner != nodata
        remainder = corner
        if work == out.dtype:
            quotient, remainder = np.divmod(corner, work.type(12))
            twelves += quotient * valid
        rest += np.multiply(remainder, valid, dtype=work)
        count += valid
    share = np.array([0, 12, 6, 4, 3], work)[count]
    rest *= share
    rest += 6
    rest //= 12
    if work == out.dtype:
        twelves *= share
        rest += twelves
    out[...] = rest
    if nodata is not None:
        out[count == 0] = nodata


def _average_floats(top: NDArray[Any], bottom: NDArray[Any], out: NDArray[Any], nodata: Any) -> None:
    """Mean, in double precision, of the samples that are neither NaN nor `nodata`."""
    work: np.dtype[Any] = np.dtype(np.complex128 if out.dtype.kind == "c" else np.float64)
    total, count = np.zeros(out.shape, work), np.zeros(out.shape, np.uint8)
    with np.errstate(invalid="ignore", over="ignore"):
        for corner in _corners(top, bottom):
            missing = np.isnan(corner)
            if nodata is not None:
                missing |= corner == nodata
            quarter = corner * work.type(0.25)  # before the sum, which then cannot overflow
            quarter[missing] = 0
            total += quarter
            count += ~missing
        total /= np.maximum(count, 1) * 0.25
        out[...] = total
    out[count == 0] = np.nan if nodata is None else nodata


def _corners(top: NDArray[Any], bottom: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Give the four corners of all squares in turn; at an odd edge the last column stands twice."""
    for rows in (top, bottom):
        left, right = rows[:, 0::2], rows[:, 1::2]
        yield left
        yield right if right.shape == left.shape else np.concatenate((right, left[:, -1:]), axis=1)


def _wider(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the integer type of twice the width, or `dtype` itself if there is none."""
    return np.dtype(f"{dtype.kind}{min(8, 2 * dtype.itemsize)}")
