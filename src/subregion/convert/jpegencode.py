"""Pixels to a JPEG with restart intervals, strip by strip."""

from __future__ import annotations

import functools
import io
import itertools
import struct
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from subregion.codecs.jpegheader import SCAN, InMemory, segments
from subregion.convert.strips import checked_strips, regrouped
from subregion.errors import ConfigError
from subregion.io.threads import processors
from subregion.libraries import Image

if TYPE_CHECKING:
    from subregion.formats.raster import Raster

#: Decoders take no more rows or columns.
MAX_EDGE = 65500
#: About how many pixels of a strip are encoded at a time.
_STRIP_PIXELS = 2 << 20


def check_encodable(source: Raster) -> None:
    """Refuse pixels that a JPEG cannot hold.

    Raises
    ------
    ConfigError
        Naming the file, what it holds, what a JPEG can hold, and what to use instead.
    """
    rows, cols, bands = source.shape
    if source.dtype != np.uint8 or bands not in (1, 3):
        raise ConfigError(
            f"{source.path}: the backend 'jpeg' stores uint8 with 1 or 3 bands, and this is {source.dtype} "
            f"with {bands}. Use 'auto' or 'cog', which are lossless."
        )
    if max(rows, cols) > MAX_EDGE:
        raise ConfigError(
            f"{source.path}: a JPEG has at most {MAX_EDGE} rows and columns, and this has {rows} and {cols}. "
            f"Use 'auto' or 'cog'."
        )


def encoded(
    shape: tuple[int, int, int],
    strips: Iterable[NDArray[Any]],
    quality: int,
    interval: int,
    threads: int | None = None,
) -> Iterator[bytes]:
    """Yield the bytes of a JPEG.

    Colour has half as many rows and columns as luma, as in nearly all photographs.

    Parameters
    ----------
    shape : tuple of int
        Rows, columns and bands (1 or 3).
    strips : iterable of ndarray of uint8, (n, columns, bands)
        The rows of the image, from the top.
    quality : int
        1 to 100.
    interval : int
        Units between restart markers; a divisor of the units in a row.
    threads : int or None
        How many encode; None for one per core.
    """
    rows, cols, bands = shape
    high = 8 if bands == 1 else 16
    # Markers are numbered from 0 to 7, so every eight rows of units the numbers begin anew.
    count = 8 * high * max(1, _STRIP_PIXELS // (8 * high * cols))
    threads = threads or processors()
    first, encode = True, functools.partial(_encode, quality=quality, interval=interval)
    with ThreadPoolExecutor(threads, thread_name_prefix="subregion-encode") as pool:
        waiting = regrouped(checked_strips(strips, shape, np.uint8), count)
        while group := list(itertools.islice(waiting, 2 * threads)):
            for stream in pool.map(encode, group):
                head, pixels = _split(stream, rows)
                yield head if first else b"\xff\xd7"
                yield pixels
                first = False
    yield b"\xff\xd9"


def _encode(strip: NDArray[np.uint8], quality: int, interval: int) -> bytes:
    written = io.BytesIO()
    image = Image.fromarray(strip[..., 0] if strip.shape[2] == 1 else strip)
    image.save(written, "JPEG", quality=quality, subsampling="4:2:0", restart_marker_blocks=interval)
    return written.getvalue()


def _split(stream: bytes, rows: int) -> tuple[bytes, bytes]:
    """Return the head of a JPEG with another number of rows, and its coded pixels."""
    for code, start, stop in segments(InMemory(stream)):
        if code == 0xC0:
            stream = stream[: start + 5] + struct.pack(">H", rows) + stream[start + 7 :]
        elif code == SCAN:
            return stream[:stop], stream[stop:-2]
    raise AssertionError("Pillow writes a scan")
