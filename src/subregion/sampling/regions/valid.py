"""Which part of windows holds pixels and not nodata, told by a small overview of each image."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from subregion.frames import Frames

#: The longer side of what is read of an image, in pixels.
LONGEST = 512
#: So many images are remembered.
KEPT = 64


class ValidPixels:
    """Which part of windows is neither nodata nor NaN in all channels of the default file.

    Images are looked at once, reduced to 512 pixels along the longer side: of a file with overviews one of
    these is read, and never the full resolution. So parts are exact up to pixels of that size.

    Parameters
    ----------
    frames : Frames
        The images.
    space : str
        Whose pixels windows count: those of the ``"image"``, or of its ``"video"``.
    """

    def __init__(self, frames: Frames, space: str = "image") -> None:
        self._frames, self._space = frames, space
        self._tables: OrderedDict[Any, tuple[NDArray[np.int64], float, float]] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_tables": OrderedDict()}

    def fraction(self, image_id: Any, windows: NDArray[Any]) -> NDArray[np.float64]:
        """Return which part of windows holds pixels.

        Parameters
        ----------
        image_id : hashable
            The image.
        windows : ndarray, shape (N, 4)
            x0, y0, x1, y1; what lies outside the image is not counted.

        Returns
        -------
        ndarray of float64, shape (N,)
            From 0 to 1; 0 for a window that lies outside.
        """
        table, down, across = self._table(image_id)
        x = np.clip(windows[:, 0::2] * across, 0, table.shape[1] - 1)
        y = np.clip(windows[:, 1::2] * down, 0, table.shape[0] - 1)
        held = (
            _between(table, y[:, 1], x[:, 1])
            - _between(table, y[:, 0], x[:, 1])
            - _between(table, y[:, 1], x[:, 0])
            + _between(table, y[:, 0], x[:, 0])
        )
        area = (x[:, 1] - x[:, 0]) * (y[:, 1] - y[:, 0])
        part: NDArray[np.float64] = np.zeros(len(windows))
        np.divide(held, area, out=part, where=area > 0)
        return part.clip(0, 1)

    def _table(self, image_id: Any) -> tuple[NDArray[np.int64], float, float]:
        """Return sums of valid pixels above and left of each corner of the overview, and its scale."""
        found = self._tables.get(image_id)
        if found is not None:
            self._tables.move_to_end(image_id)
            return found
        height, width = self._frames.load_frame(image_id, self._space).shape[:2]
        scale = min(1.0, LONGEST / max(height, width))
        both = max(scale, 1 / height), max(scale, 1 / width)  # a pixel is left of the shorter side
        pixels = self._frames.load_region(
            image_id, scale=both, nodata="ma", interpolation="area", space=self._space
        )
        valid = ~np.ma.getmaskarray(pixels).all(axis=2)
        table = np.zeros((valid.shape[0] + 1, valid.shape[1] + 1), np.int64)
        table[1:, 1:] = valid.cumsum(axis=0).cumsum(axis=1)
        found = table, valid.shape[0] / height, valid.shape[1] / width
        self._tables[image_id] = found
        if len(self._tables) > KEPT:
            self._tables.popitem(last=False)
        return found


def _between(table: NDArray[np.int64], y: NDArray[np.float64], x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return sums at places between corners: of pixels that are cut, as much as is left of them."""
    row, col = np.floor(y).astype(np.int64), np.floor(x).astype(np.int64)
    down, right = y - row, x - col
    below, beside = np.minimum(row + 1, table.shape[0] - 1), np.minimum(col + 1, table.shape[1] - 1)
    found: NDArray[np.float64] = (
        table[row, col] * (1 - down) * (1 - right)
        + table[below, col] * down * (1 - right)
        + table[row, beside] * (1 - down) * right
        + table[below, beside] * down * right
    )
    return found
