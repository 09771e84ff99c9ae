"""The annotations of a dataset as arrays, in the order of the dataset."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from subregion.errors import RecordError, shown
from subregion.sampling.annotations import report as reasons
from subregion.sampling.annotations.report import Report

#: Floats tell all whole numbers apart up to here.
_EXACT = 1 << 53
#: So many annotations are turned into arrays at a time.
BATCH = 20_000
_NAN = math.nan


class BoxEntry(msgspec.Struct, gc=False, array_like=True, frozen=True, forbid_unknown_fields=True):
    """A box as COCO writes it."""

    x: float
    y: float
    width: float
    height: float


#: Stands where an annotation has no box; no JSON holds infinities.
_NO_BOX = BoxEntry(-math.inf, -math.inf, -math.inf, -math.inf)


class AnnotationEntry(msgspec.Struct, gc=False):
    """What an annotation is to the index: floats, to pack into so many bytes each."""

    id: float = _NAN
    image_id: float = _NAN
    category_id: float = -1.0
    track_id: float = -1.0
    iscrowd: float = 0.0
    bbox: BoxEntry = _NO_BOX


class LooseEntry(AnnotationEntry, gc=False):
    """The same where some write null or a truth value."""

    id: float | None = None  # type: ignore[assignment]
    image_id: float | None = None  # type: ignore[assignment]
    category_id: float | None = None  # type: ignore[assignment]
    track_id: float | None = None  # type: ignore[assignment]
    iscrowd: float | bool | None = None  # type: ignore[assignment]
    bbox: BoxEntry | None = None  # type: ignore[assignment]

    def settled(self) -> AnnotationEntry:
        """Return what it stands for."""
        return AnnotationEntry(
            _NAN if self.id is None else self.id,
            _NAN if self.image_id is None else self.image_id,
            -1.0 if self.category_id is None else self.category_id,
            -1.0 if self.track_id is None else self.track_id,
            float(bool(self.iscrowd)),
            _NO_BOX if self.bbox is None else self.bbox,
        )


def _packed_type() -> np.dtype[np.void]:
    """Return where the numbers of an annotation stand in MessagePack."""
    example = msgspec.msgpack.encode(AnnotationEntry())
    places, place = [], 0
    while (place := example.find(b"\xcb", place)) >= 0:  # what announces a float
        places.append(place + 1)
        place += 9
    names = [f"f{number}" for number in range(len(places))]
    return np.dtype(
        {"names": names, "formats": [">f8"] * len(names), "offsets": places, "itemsize": len(example)}
    )


_PACKED = _packed_type()
_encode = msgspec.msgpack.Encoder().encode


class Batch(NamedTuple):
    """Some annotations as arrays.

    Parameters
    ----------
    ids, category_ids, track_ids : int64 (N,)
        -1 where there is none.
    image_ids : int64 (N,) or list
        As written; a list where some are no whole numbers.
    iscrowd : bool (N,)
    boxes : float64 (4, N)
        x0, y0, x1, y1; NaN where there is none.
    """

    ids: NDArray[np.int64]
    image_ids: NDArray[np.int64] | list[Any]
    category_ids: NDArray[np.int64]
    track_ids: NDArray[np.int64]
    iscrowd: NDArray[np.bool_]
    boxes: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class AnnotationColumns:
    """All annotations of a dataset as arrays, in its order; see `Batch`."""

    ids: NDArray[np.int64]
    image_ids: NDArray[np.int64] | list[Any]
    category_ids: NDArray[np.int64]
    track_ids: NDArray[np.int64]
    iscrowd: NDArray[np.bool_]
    boxes: NDArray[np.float64]
    report: Report


class ColumnsMaker:
    """Puts annotations into arrays, batch by batch.

    Parameters
    ----------
    owner : str
        The file, or what else holds the annotations, to name in messages.
    """

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self._batches: list[Batch] = []
        self._counts: Counter[str] = Counter()
        self._count = 0

    def add(self, packed: list[memoryview]) -> bool:
        """Add what `pack` made; False, and nothing is added, if one has to be looked at more closely."""
        batch = _unpacked(b"".join(packed), self._counts)
        if batch is not None:
            self._append(batch)
        return batch is not None

    def add_documents(self, documents: Sequence[Any]) -> None:
        """Add annotations of any form.

        Raises
        ------
        RecordError
            If one of them is no object, or has no whole number for its id.
        """
        for begin in range(0, len(documents), BATCH):
            some = documents[begin : begin + BATCH]
            try:
                if self.add([pack(msgspec.convert(some, list[AnnotationEntry]))]):
                    continue
            except (msgspec.ValidationError, TypeError, ValueError, RecursionError):
                pass  # one of them is malformed, or holds numbers of NumPy
            self._append(self._looked_at(some))

    def _append(self, batch: Batch) -> None:
        self._batches.append(batch)
        self._count += len(batch.ids)

    def columns(self) -> AnnotationColumns:
        """Return all that was added, and forget it."""
        batches, self._batches = self._batches, []
        ids: list[NDArray[np.int64] | list[Any]] = [batch.image_ids for batch in batches]
        image_ids: NDArray[np.int64] | list[Any]
        if any(isinstance(some, list) for some in ids):
            image_ids = [one for some in ids for one in (some if isinstance(some, list) else some.tolist())]
        else:
            image_ids = _joined(ids, np.int64)
        boxes = np.empty((4, self._count))
        done = 0
        for batch in batches:
            boxes[:, done : done + len(batch.ids)] = batch.boxes
            done += len(batch.ids)
        return AnnotationColumns(
            _joined([batch.ids for batch in batches], np.int64),
            image_ids,
            _joined([batch.category_ids for batch in batches], np.int64),
            _joined([batch.track_ids for batch in batches], np.int64),
            _joined([batch.iscrowd for batch in batches], np.bool_),
            boxes,
            Report(self._counts),
        )

    def _looked_at(self, documents: Sequence[Any]) -> Batch:
        """Return annotations as arrays that are looked at one by one."""
        ids, images, categories, tracks, crowds = [], [], [], [], []
        boxes = np.empty((4, len(documents)))
        for number, entry in enumerate(documents):
            named = f"{self._owner}: annotations[{self._count + number}]"
            if not isinstance(entry, Mapping):
                raise RecordError(f"{named}={shown(entry)} must be an object.")
            found = _whole(entry.get("id"))
            if found is None:
                raise RecordError(f"{named}.id={shown(entry.get('id'))} must be a whole number.")
            ids.append(found)
            images.append(_plain(entry.get("image_id")))
            categories.append(self._optional(entry.get("category_id"), reasons.UNKNOWN_CATEGORY))
            tracks.append(self._optional(entry.get("track_id"), reasons.MALFORMED_TRACK))
            crowds.append(_true(entry.get("iscrowd")))
            boxes[:, number] = _box(entry.get("bbox"))
        return Batch(
            np.array(ids, np.int64),
            np.array(images, np.int64)
            if all(type(one) is int and abs(one) < 1 << 63 for one in images)
            else images,
            np.array(categories, np.int64),
            np.array(tracks, np.int64),
            np.array(crowds, np.bool_),
            _checked(boxes, self._counts),
        )

    def _optional(self, value: Any, reason: str) -> int:
        if value is None:
            return -1
        found = _whole(value)
        if found is None or found < 0:
            self._counts[reason] += found != -1
            return -1
        return found


def _joined(parts: list[Any], dtype: Any) -> NDArray[Any]:
    return np.concatenate(parts, dtype=dtype) if parts else np.empty(0, dtype)


def pack(entries: Sequence[AnnotationEntry]) -> memoryview:
    """Turn annotations into bytes: 5 times as fast as to take their attributes one by one."""
    packed = _encode(entries)
    return memoryview(packed)[len(packed) - len(entries) * _PACKED.itemsize :]  # without their number


def _unpacked(packed: bytes, counts: Counter[str]) -> Batch | None:
    """Return annotations as arrays; None if not all numbers are such as they should be."""
    table = np.frombuffer(packed, _PACKED)
    whole, boxes = np.empty((4, len(table))), np.empty((4, len(table)))
    for number in range(4):
        whole[number] = table[f"f{number}"]
        boxes[number] = table[f"f{number + 5}"]
    with np.errstate(invalid="ignore"):
        exact = whole.astype(np.int64)
    if (
        len(table)
        and (
            (exact != whole).any()  # NaN, where an id is missing, is none
            or not -_EXACT < exact.min() <= exact.max() < _EXACT
            or exact[2:].min() < -1
        )
    ):
        return None
    ids, images, categories, tracks = exact
    return Batch(ids, images, categories, tracks, table["f4"] != 0, _checked(boxes, counts))


def _checked(boxes: NDArray[np.float64], counts: Counter[str]) -> NDArray[np.float64]:
    """Turn x, y, width, height into corners, and count what is wrong with them."""
    missing = boxes[0] == -math.inf
    with np.errstate(invalid="ignore", over="ignore"):
        boxes[2:] += boxes[:2]
        malformed = ~np.isfinite(boxes).all(axis=0) & ~missing
        negative = (boxes[2:] < boxes[:2]).any(axis=0) & ~malformed & ~missing
    for reason, found in (
        (reasons.NO_BOX, missing),
        (reasons.MALFORMED_BOX, malformed),
        (reasons.NEGATIVE_BOX, negative),
    ):
        if found.any():
            counts[reason] += int(np.count_nonzero(found))
            boxes[:, found] = _NAN
    return boxes


def _box(found: Any) -> tuple[float, float, float, float]:
    if found is None:
        return (-math.inf,) * 4
    try:
        x, y, width, height = map(float, found)
    except (TypeError, ValueError, OverflowError):
        return (_NAN,) * 4
    return (_NAN if x == -math.inf else x), y, width, height


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _whole(value: Any) -> int | None:
    """Return a whole number that 64 bits hold; None if it is none."""
    value = _plain(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not -(1 << 63) <= value < 1 << 63:
        return None
    return value


def _true(value: Any) -> bool:
    try:
        return bool(value)
    except (TypeError, ValueError):
        return False
