"""Many regions of many images in one call."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from subregion.errors import ConfigError, DamagedFileError, RegionTypeError
from subregion.geometry.region import Region
from subregion.geometry.window import Window
from subregion.layers import Drawing, fill_value
from subregion.raster.batch import WindowRead, carry_out, processors, read_batch
from subregion.raster.pool import POOL
from subregion.reading import (
    Channels,
    Fill,
    ReadPlan,
    check_fill,
    is_plain,
    plan_read,
    read_beyond,
    read_region,
)

#: How many images are open at the same time.
OPEN_AT_ONCE = min(64, POOL.capacity)

if TYPE_CHECKING:
    from subregion.cache.store import Store
    from subregion.records import ImageRecord


def read_regions(
    store: Store,
    record: Callable[[Any], ImageRecord],
    requests: Iterable[tuple[Any, Region]],
    channels: Channels,
    out: NDArray[Any] | None,
    threads: int | None,
    fill: Fill,
    drawing: Drawing | None,
) -> NDArray[Any] | list[NDArray[Any]]:
    """Read many regions; see `Frames.load_regions`."""
    wanted = [_request(request) for request in requests]
    count = processors() if threads is None else _checked_threads(threads)
    images = list(dict.fromkeys(image_id for image_id, _ in wanted))
    if len(images) <= OPEN_AT_ONCE:
        return _read_open(store, record, wanted, channels, out, count, fill, drawing)
    # More files than may be open at once: some images at a time.
    parts: list[Any] = [None] * len(wanted) if out is None else list(out)
    for first in range(0, len(images), OPEN_AT_ONCE):
        group = set(images[first : first + OPEN_AT_ONCE])
        places = [place for place, (image_id, _) in enumerate(wanted) if image_id in group]
        some = [wanted[place] for place in places]
        results = _read_open(store, record, some, channels, None, count, fill, drawing)
        for place, result in zip(places, results, strict=True):
            if out is None:
                parts[place] = result
            else:
                _check_out(out, len(wanted), result.shape, result.dtype)
                parts[place][...] = result
    if out is not None:
        return out
    return np.stack(parts) if len({part.shape for part in parts}) == 1 else parts


def _read_open(
    store: Store,
    record: Callable[[Any], ImageRecord],
    wanted: list[tuple[Any, Region]],
    channels: Channels,
    out: NDArray[Any] | None,
    threads: int,
    fill: Fill,
    drawing: Drawing | None,
) -> NDArray[Any] | list[NDArray[Any]]:
    """Read regions of so few images that all of them can be open."""
    records = [record(image_id) for image_id, _ in wanted]
    if drawing is not None or not all(is_plain(each, channels) for each in records):
        return _read_each(store, records, wanted, channels, out, threads, fill, drawing)
    plans = [
        plan_read(store, each, region, channels) for each, (_, region) in zip(records, wanted, strict=True)
    ]
    results = _outputs(plans, out)
    try:
        reads = [
            read for plan, result in zip(plans, results, strict=True) for read in _reads(plan, result, fill)
        ]
        read_batch(reads, threads)
    except DamagedFileError:
        # Rare, so the slow way may find which image it was: one by one, copies of ours are mended.
        for each, (_, region), result in zip(records, wanted, results, strict=True):
            result[...] = read_region(store, each, region, channels, fill)
    return results


def _read_each(
    store: Store,
    records: list[ImageRecord],
    wanted: list[tuple[Any, Region]],
    channels: Channels,
    out: NDArray[Any] | None,
    threads: int,
    fill: Fill,
    drawing: Drawing | None,
) -> NDArray[Any] | list[NDArray[Any]]:
    """Read regions that have to be drawn, each for itself."""
    parts: list[Any] = [None] * len(wanted)

    def draw(place: int) -> None:
        parts[place] = read_region(store, records[place], wanted[place][1], channels, fill, drawing)

    carry_out([partial(draw, place) for place in range(len(wanted))], threads)
    if out is None:
        stack = np.ma.stack if drawing is not None and drawing.nodata == "ma" else np.stack
        return stack(parts) if len({part.shape for part in parts}) == 1 else parts
    for place, part in enumerate(parts):
        _check_out(out, len(wanted), part.shape, part.dtype)
        out[place] = part
    return out


def _request(request: Any) -> tuple[Any, Region]:
    if not isinstance(request, Sequence) or isinstance(request, str) or len(request) != 2:
        raise RegionTypeError(f"load_regions: {request!r} is not a pair (image_id, region).")
    return request[0], request[1]


def _checked_threads(threads: int) -> int:
    if isinstance(threads, bool) or not isinstance(threads, int) or threads < 0:
        raise ConfigError(
            f"threads={threads!r}: must be a whole number, 0 or more, or None for one per core."
        )
    return threads


def _outputs(plans: list[ReadPlan], out: NDArray[Any] | None) -> NDArray[Any] | list[NDArray[Any]]:
    """Return one array for all results if they have one shape, otherwise one for each."""
    shapes = {plan.shape for plan in plans}
    if out is None:
        if len(shapes) != 1:
            return [np.empty(plan.shape, plan.opened.raster.dtype) for plan in plans]
        dtype = np.result_type(*(plan.opened.raster.dtype for plan in plans))
        return np.empty((len(plans), *shapes.pop()), dtype)
    if len(shapes) > 1:
        raise ConfigError(
            f"load_regions: out= needs regions of one shape, these have {sorted(shapes)}. "
            f"Use a Window, whose result always has its own shape."
        )
    for plan in plans:
        _check_out(out, len(plans), plan.shape, plan.opened.raster.dtype)
    return out


def _check_out(out: NDArray[Any], count: int, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> None:
    if out.shape != (count, *shape):
        raise ConfigError(f"load_regions: out has shape {out.shape}, the regions need {(count, *shape)}.")
    if not np.can_cast(dtype, out.dtype, "same_kind"):
        raise ConfigError(f"load_regions: out is {out.dtype}, which cannot hold pixels of {dtype}.")


def _reads(plan: ReadPlan, out: NDArray[Any], fill: Fill) -> Iterable[WindowRead]:
    raster, selection = plan.opened.raster, plan.selection
    height, width = raster.shape[:2]
    window, steps = selection.window, (selection.row_step, selection.col_step)
    check_fill(fill, raster.dtype)
    if window.inside(height, width):
        yield WindowRead(raster, window, out, plan.bands, steps)
        return
    if isinstance(fill, str):  # padding looks at the pixels that were read
        part = np.empty(plan.shape, raster.dtype)
        read_beyond(raster, window, plan.bands, fill, part)
        out[...] = part
        return
    out[...] = fill_value(fill, raster.dtype)
    inner = window.intersection(Window(0, 0, height, width))
    if not inner.empty:
        place = inner.shifted(-window.row, -window.col).slices
        yield WindowRead(raster, inner, out[place], plan.bands)
