"""Segmentations and keypoints of annotations: from what datasets write to where they lie in a sample."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from subregion.libraries import coco_masks, shapely
from subregion.sampling.annotations.report import (
    MALFORMED_KEYPOINTS,
    MALFORMED_MASK,
    MALFORMED_POLYGON,
    MASK_OF_OTHER_SIZE,
)
from subregion.sampling.annotations.tangled import drawn, is_tangled


@dataclass(frozen=True, slots=True)
class RunLengths:
    """A mask in COCO's run lengths.

    Parameters
    ----------
    height, width : int
        Its size.
    counts : bytes
        The run lengths, compressed.
    """

    height: int
    width: int
    counts: bytes

    @classmethod
    def of(cls, mask: NDArray[Any]) -> RunLengths:
        """Encode a mask (h, w)."""
        height, width = mask.shape
        packed = coco_masks.encode(np.asfortranarray(mask, np.uint8))
        return cls(height, width, packed["counts"])

    def to_mask(self) -> NDArray[np.bool_]:
        """Decode it: (h, w)."""
        mask: NDArray[np.uint8] = coco_masks.decode(
            {"size": [self.height, self.width], "counts": self.counts}
        )
        return mask.view(np.bool_)

    def to_coco(self) -> dict[str, Any]:
        """Return what JSON of COCO holds."""
        return {"size": [self.height, self.width], "counts": self.counts.decode("ascii")}


def area_of(segmentation: Segmentation) -> float:
    """Return the area of a segmentation in pixels."""
    if not isinstance(segmentation, RunLengths):
        return float(segmentation.area)
    size = [segmentation.height, segmentation.width]
    return float(coco_masks.area({"size": size, "counts": segmentation.counts}))


#: A `shapely` polygon or multi-polygon; or a mask; None where there is none.
Segmentation: TypeAlias = Any


@dataclass(frozen=True, slots=True, eq=False)
class Keypoints:
    """The keypoints of one object.

    Parameters
    ----------
    xy : float64 (K, 2)
        Where they are, also outside the sample; NaN for those that are not labelled.
    visibility : int64 (K,)
        0: not labelled, 1: labelled but hidden, 2: visible.
    category_ids : int64 (K,)
        In ``keypoint_categories`` of the dataset; -1 where the dataset writes none: their place tells.
    """

    xy: NDArray[np.float64]
    visibility: NDArray[np.int64]
    category_ids: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.xy)

    def inside(self, height: int, width: int) -> NDArray[np.bool_]:
        """Return which of them lie in a sample of a size."""
        x, y = self.xy.T
        found: NDArray[np.bool_] = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        return found

    def to_coco(self) -> list[float]:
        """Return them as COCO does: x, y, visibility of each."""
        xy = np.where(self.visibility[:, None] > 0, self.xy, 0.0)
        triples = np.column_stack([xy, self.visibility]).ravel().tolist()
        return [int(value) if number % 3 == 2 else value for number, value in enumerate(triples)]


def segmentation_in(
    written: Any,
    to_sample: Affine,
    sample_shape: tuple[int, int],
    image_shape: tuple[int, int],
    counts: Counter[str],
) -> Segmentation:
    """Return a segmentation as a sample shows it.

    Parameters
    ----------
    written : object
        As the dataset has it: polygons of COCO or of kwcoco, or run lengths, compressed or not.
    to_sample : affine.Affine
        From pixels of the image to those of the sample.
    sample_shape, image_shape : (h, w)
        Their sizes.
    counts : Counter
        Counts what is malformed.

    Returns
    -------
    shapely polygon or multi-polygon, RunLengths or None
        Clipped to the sample, and empty if nothing of it is there. None if there is none, or none that has a
        meaning: a mask of another size than the image, or polygons without a ring of three points. Polygons
        that cross themselves more often than `tangled.MOST_CROSSINGS` come as a mask.
    """
    if isinstance(written, np.ndarray):
        written = written.tolist()
    if written is None or (isinstance(written, Sequence) and not written):
        return None
    if isinstance(written, Mapping) and "counts" in written:
        return _mask_in(written, to_sample, sample_shape, image_shape, counts)
    polygons = [_polygon(part, to_sample) for part in _parts(written)]
    found = [polygon for polygon in polygons if polygon is not None]
    if len(found) < len(polygons):
        counts[MALFORMED_POLYGON] += len(polygons) - len(found)
    if not found:
        return None
    valid = [polygon.is_valid for polygon in found]
    if not all(valid):
        if any(not good and is_tangled(polygon) for polygon, good in zip(found, valid, strict=True)):
            return RunLengths.of(drawn(found, sample_shape))
        found = [
            polygon if good else _areas(shapely.make_valid(polygon))
            for polygon, good in zip(found, valid, strict=True)
        ]
    return _clipped(found, sample_shape)


def readable_segmentation(written: Any, image_shape: tuple[int, int], counts: Counter[str]) -> Any:
    """Return what of a segmentation has a meaning, as the dataset has it, for others to read.

    Parameters
    ----------
    written, image_shape, counts
        As for `segmentation_in`, which leaves out the same.

    Returns
    -------
    object
        None if there is nothing.
    """
    if written is None or (isinstance(written, Sequence) and not written):
        return None
    if isinstance(written, Mapping):
        if "counts" in written and _mask_of(written, image_shape, counts) is None:
            return None
        written = dict(written)  # which others may write to
    parts = [] if isinstance(written, Mapping) and "counts" in written else _parts(written)
    good = [part for part in parts if _has_corners(part)]
    if len(good) == len(parts):
        return written
    counts[MALFORMED_POLYGON] += len(parts) - len(good)
    return good or None


def _has_corners(part: Any) -> bool:
    """Whether a polygon can be read."""
    try:
        if isinstance(part, Mapping):
            for ring in (part["exterior"], *(part.get("interiors") or ())):
                _corners(ring)
        else:
            _corners(np.asarray(part, np.float64).reshape(-1, 2))
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError):
        return False
    return True


def _parts(written: Any) -> Sequence[Any]:
    """Return the polygons of a segmentation."""
    if isinstance(written, Mapping):
        return [written]
    if not isinstance(written, Sequence) or isinstance(written, str | bytes):
        return [None]
    return [written] if isinstance(written[0], int | float | np.number) else list(written)


def _polygon(part: Any, to_sample: Affine) -> Any:
    """Return a polygon in pixels of the sample, which may cross itself; None if it is none."""
    try:
        if isinstance(part, Mapping):
            exterior = _ring(part["exterior"], to_sample)
            holes = [_ring(ring, to_sample) for ring in part.get("interiors") or ()]
        else:
            flat = np.asarray(part, np.float64)
            exterior, holes = _ring(flat.reshape(-1, 2), to_sample), []
        return shapely.Polygon(exterior, holes)
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError):
        return None


def _ring(points: Any, to_sample: Affine) -> NDArray[np.float64]:
    return moved(_corners(points), to_sample)


def _corners(points: Any) -> NDArray[np.float64]:
    xy = np.asarray(points, np.float64)
    if xy.ndim != 2 or xy.shape[1] != 2 or len(xy) < 3 or not np.isfinite(xy).all():
        raise ValueError("no ring")
    return xy


def moved(xy: NDArray[np.float64], matrix: Affine) -> NDArray[np.float64]:
    """Return points (N, 2) behind a transform."""
    x, y = xy[:, 0], xy[:, 1]
    across = matrix.a * x + matrix.b * y + matrix.c
    down = matrix.d * x + matrix.e * y + matrix.f
    return np.stack([across, down], axis=1)


def _areas(geometry: Any) -> Any:
    """Return what of a geometry has an area."""
    if geometry.geom_type in ("Polygon", "MultiPolygon"):
        return geometry
    parts = [part for part in shapely.get_parts(geometry) if part.geom_type in ("Polygon", "MultiPolygon")]
    return shapely.union_all(parts) if parts else shapely.MultiPolygon()


def _clipped(polygons: list[Any], shape: tuple[int, int]) -> Any:
    height, width = shape
    whole = polygons[0] if len(polygons) == 1 else shapely.union_all(polygons)
    x0, y0, x1, y1 = whole.bounds
    if x0 >= 0 and y0 >= 0 and x1 <= width and y1 <= height:
        return whole
    return _areas(shapely.intersection(whole, shapely.box(0, 0, width, height)))


def _mask_in(
    written: Mapping[str, Any],
    to_sample: Affine,
    sample_shape: tuple[int, int],
    image_shape: tuple[int, int],
    counts: Counter[str],
) -> RunLengths | None:
    mask = _mask_of(written, image_shape, counts)
    return None if mask is None else RunLengths.of(_sampled(mask, to_sample, sample_shape))


def _mask_of(
    written: Mapping[str, Any], image_shape: tuple[int, int], counts: Counter[str]
) -> NDArray[np.uint8] | None:
    """Return the mask of an image; None if it has no meaning."""
    try:
        size = tuple(int(length) for length in written["size"])
    except (TypeError, ValueError, KeyError, OverflowError):
        size = ()
    if len(size) != 2:
        counts[MALFORMED_MASK] += 1
        return None
    if size != tuple(image_shape):
        counts[MASK_OF_OTHER_SIZE] += 1
        return None
    mask = _decoded(written["counts"], *size)
    if mask is None:
        counts[MALFORMED_MASK] += 1
    return mask


def _decoded(runs: Any, height: int, width: int) -> NDArray[np.uint8] | None:
    """Decode run lengths; None if they do not fill their size: pycocotools would return what memory held."""
    size = [height, width]
    try:
        packed = runs.encode("ascii") if isinstance(runs, str) else runs
        lengths = _lengths(packed) if isinstance(packed, bytes) else np.asarray(runs, np.int64)
        if lengths.ndim != 1 or not len(lengths) or lengths.min() < 0 or lengths.sum() != height * width:
            return None
        if not isinstance(packed, bytes):
            packed = coco_masks.frPyObjects({"size": size, "counts": lengths.tolist()}, *size)["counts"]
        mask: NDArray[np.uint8] = coco_masks.decode({"size": size, "counts": packed})
    except (TypeError, ValueError, OverflowError):
        return None
    return mask


def _lengths(packed: bytes) -> NDArray[np.int64]:
    """Return the run lengths of a compressed mask: five bits a byte, and differences from the fourth on."""
    codes = np.frombuffer(packed, np.uint8).astype(np.int64) - 48
    ends = np.flatnonzero(codes & 32 == 0)
    if not len(codes) or not len(ends) or ends[-1] != len(codes) - 1 or codes.min() < 0 or codes.max() > 63:
        raise ValueError("no run lengths")
    begins = np.concatenate([[0], ends[:-1] + 1])
    if (ends - begins).max() > 9:
        raise ValueError("run lengths of more bits than pixels are counted in")
    place = np.arange(len(codes)) - np.repeat(begins, ends - begins + 1)
    found: NDArray[np.int64] = np.add.reduceat((codes & 31) << (5 * place), begins)
    found -= np.where(codes[ends] & 16, np.int64(1) << (5 * (place[ends] + 1)), 0)
    found[1::2] = found[1::2].cumsum()
    found[2::2] = found[2::2].cumsum()
    return found


def _sampled(mask: NDArray[Any], to_sample: Affine, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the pixels of a mask that lie under the centres of those of a sample."""
    height, width = shape
    rows, cols = mask.shape
    back = ~to_sample
    x, y = np.arange(width) + 0.5, np.arange(height) + 0.5
    if back.b == back.d == 0:
        col, row = np.floor(back.a * x + back.c), np.floor(back.e * y + back.f)
        across, down = (col >= 0) & (col < cols), (row >= 0) & (row < rows)
        found = np.zeros(shape, np.bool_)
        found[np.ix_(down, across)] = mask[np.ix_(row[down].astype(int), col[across].astype(int))]
        return found
    col = np.floor(back.a * x + back.b * y[:, None] + back.c)
    row = np.floor(back.d * x + back.e * y[:, None] + back.f)
    inside = (col >= 0) & (col < cols) & (row >= 0) & (row < rows)
    found = np.zeros(shape, np.bool_)
    found[inside] = mask[row[inside].astype(int), col[inside].astype(int)]
    return found


def keypoints_in(written: Any, to_sample: Affine, counts: Counter[str]) -> Keypoints | None:
    """Return keypoints as a sample shows them.

    Parameters
    ----------
    written : object
        As the dataset has them: x, y, visibility of each in one list, as in COCO, or an object for each, as
        in kwcoco.
    to_sample : affine.Affine
        From pixels of the image to those of the sample.
    counts : Counter
        Counts what is malformed.
    """
    if written is None or (isinstance(written, Sequence) and not written):
        return None
    try:
        xy, visibility, category_ids = _read(written)
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError):
        counts[MALFORMED_KEYPOINTS] += 1
        return None
    xy = np.where((visibility > 0)[:, None], moved(xy, to_sample), math.nan)
    return Keypoints(xy, visibility, category_ids)


def readable_keypoints(written: Any, counts: Counter[str]) -> Any:
    """Return keypoints as the dataset has them, for others to read; None if they have no meaning."""
    if written is None or (isinstance(written, Sequence) and not written):
        return None
    try:
        _read(written)
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError):
        counts[MALFORMED_KEYPOINTS] += 1
        return None
    return written


def _read(written: Any) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    if isinstance(written[0], Mapping):
        xy = np.array([point["xy"] for point in written], np.float64)
        seen = [point.get("visible") for point in written]
        ids = [point.get("keypoint_category_id") for point in written]
        visibility = np.array([2 if one is None else int(one) for one in seen], np.int64)
        category_ids = np.array([-1 if one is None else int(one) for one in ids], np.int64)
    else:
        triples = np.asarray(written, np.float64).reshape(-1, 3)
        if not np.isfinite(triples[:, 2]).all():
            raise ValueError("no visibility")
        xy, visibility = triples[:, :2], triples[:, 2].astype(np.int64)
        category_ids = np.full(len(xy), -1, np.int64)
    if xy.shape != (len(written) if isinstance(written[0], Mapping) else len(written) // 3, 2):
        raise ValueError("no points")
    if not np.isfinite(xy[visibility > 0]).all():
        raise ValueError("no points")
    return xy, visibility, category_ids
