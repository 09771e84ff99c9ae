"""The stream that all writers drink from: strips of rows, from the top of the image to its bottom."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from subregion.errors import DamagedFileError


def checked_strips(
    strips: Iterable[NDArray[Any]], shape: tuple[int, int, int], dtype: DTypeLike
) -> Iterator[NDArray[Any]]:
    """Pass strips on, as long as together they can be the image that was announced.

    Parameters
    ----------
    strips : iterable of ndarray, (n, columns, bands)
        Rows of the image in order; `n` may differ from strip to strip, and be 0. Byte order does not matter.
    shape : tuple of int
        Rows, columns and bands of the whole image.
    dtype : dtype
        Of the whole image.

    Yields
    ------
    ndarray, (n, columns, bands)
        The strips, untouched.

    Raises
    ------
    DamagedFileError
        If a strip has another width, number of bands or dtype, or if there are too few or too many rows.
    """
    rows, cols, bands = shape
    wanted = np.dtype(dtype).newbyteorder("=")
    seen = 0
    for strip in strips:
        if strip.ndim != 3 or strip.shape[1:] != (cols, bands) or strip.dtype.newbyteorder("=") != wanted:
            raise DamagedFileError(
                f"At row {seen} of an image announced as {rows} x {cols} x {bands} {wanted}, "
                f"a strip of shape {strip.shape} and dtype {strip.dtype} came out of the source."
            )
        seen += len(strip)
        if seen > rows:
            raise DamagedFileError(f"More rows came out of the source than the {rows} that it announced.")
        yield strip
    if seen < rows:
        raise DamagedFileError(
            f"Only {seen} of {rows} rows came out of the source: "
            f"it is truncated, or its decoder stopped early."
        )


@contextlib.contextmanager
def removed_on_error(path: str | os.PathLike[str]) -> Iterator[None]:
    """Leave no half-written file or folder behind, whatever goes wrong, Ctrl-C included."""
    try:
        yield
    except BaseException:
        if os.path.isdir(path):
            shutil.rmtree(path, ignore_errors=True)
        else:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        raise


def regrouped(strips: Iterable[NDArray[Any]], count: int) -> Iterator[NDArray[Any]]:
    """Yield the same rows, `count` at a time."""
    held: list[NDArray[Any]] = []
    have = 0
    for strip in strips:
        start = 0
        while have + len(strip) - start >= count:
            stop = start + count - have
            yield np.concatenate([*held, strip[start:stop]])
            held, have, start = [], 0, stop
        if start < len(strip):
            held.append(strip[start:].copy())
            have += len(strip) - start
    if have:
        yield np.concatenate(held)
