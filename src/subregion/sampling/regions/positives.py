"""The table of positives: one row for each annotation with a box."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from subregion.sampling.annotations.index import AnnotationIndex
    from subregion.sampling.regions.sizes import ImageSizes

#: The columns, in order.
COLUMNS = ("aid", "gid", "category_id", "cx", "cy", "width", "height", "img_width", "img_height")


class Positives:
    """One row for each annotation with a box, in the order of the dataset; columns are made when asked for.

    Columns are ``aid``, ``gid``, ``category_id``, ``cx``, ``cy``, ``width``, ``height``, ``img_width`` and
    ``img_height``; lengths are in pixels. As of a data frame, ``len`` counts rows, and to iterate gives names
    of columns.

    Parameters
    ----------
    index : AnnotationIndex
        The annotations.
    sizes : ImageSizes
        Of the images.
    rows : ndarray of int or None
        Which annotations, by their rows in the index; None is all
        that have a box, in the order of the dataset.
    """

    def __init__(
        self, index: AnnotationIndex, sizes: ImageSizes, rows: NDArray[np.intp] | None = None
    ) -> None:
        self._index, self._sizes = index, sizes
        if rows is None:
            rows = index.in_dataset_order
            rows = rows[~np.isnan(index.boxes[rows, 0])]
        self.rows: NDArray[np.intp] = rows
        self._columns: dict[str, NDArray[Any]] = {}

    @property
    def count(self) -> int:
        """How many rows there are."""
        return len(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def keys(self) -> tuple[str, ...]:
        """Return the names of the columns."""
        return COLUMNS

    def items(self) -> Iterator[tuple[str, NDArray[Any]]]:
        """Yield the columns with their names."""
        return ((column, self[column]) for column in COLUMNS)

    def __contains__(self, column: object) -> bool:
        return column in COLUMNS

    def __iter__(self) -> Iterator[str]:
        return iter(COLUMNS)

    def __getitem__(self, column: str) -> NDArray[Any]:
        found = self._columns.get(column)
        if found is None:
            if column not in COLUMNS:
                raise KeyError(column)
            found = self._columns[column] = self._made(column)
        return found

    def row(self, number: int) -> dict[str, Any]:
        """Return a row as a dict of plain Python values."""
        row = int(self.rows[number])
        index = self._index
        x0, y0, x1, y1 = index.boxes[row].tolist()
        image = int(index.image[row])
        height, width = self._sizes.of_image(image)
        return {
            "aid": int(index.ids[row]),
            "gid": index.image_ids[image],
            "category_id": int(index.category_ids[row]),
            "cx": (x0 + x1) / 2,
            "cy": (y0 + y1) / 2,
            "width": x1 - x0,
            "height": y1 - y0,
            "img_width": width,
            "img_height": height,
        }

    def taken(self, numbers: NDArray[np.integer[Any]]) -> Positives:
        """Return the table of some of the rows."""
        return Positives(self._index, self._sizes, self.rows[numbers])

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_columns": {}}

    def __repr__(self) -> str:
        return f"<Positives: {self.count} rows of {', '.join(COLUMNS)}>"

    def _made(self, column: str) -> NDArray[Any]:
        index, rows = self._index, self.rows
        found: NDArray[Any]
        if column in ("aid", "category_id"):
            found = (index.ids if column == "aid" else index.category_ids)[rows]
            return found
        if column == "gid":
            found = as_column(index.image_ids)[index.image[rows]]
            return found
        if column in ("img_width", "img_height"):
            found = self._sizes.table[index.image[rows], int(column == "img_width")]
            return found
        axis = 0 if column in ("cx", "width") else 1
        low, high = index.boxes[rows, axis], index.boxes[rows, axis + 2]
        found = (low + high) / 2 if column in ("cx", "cy") else high - low
        return found


def as_column(ids: Any) -> NDArray[Any]:
    """Return ids as an array of integers if all are, otherwise of objects, so that none changes its type."""
    listed = list(ids)
    if all(type(each) is int and -(1 << 63) <= each < 1 << 63 for each in listed):
        return np.array(listed, np.int64)
    found = np.empty(len(listed), object)
    found[:] = listed
    return found
