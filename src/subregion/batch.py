"""Many regions of many images in one call."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from subregion.aligned import mend_unlike, planned_again
from subregion.errors import ConfigError, DamagedFileError, RegionTypeError, shown
from subregion.geometry.channels import kept_channels
from subregion.geometry.region import Region
from subregion.geometry.window import Window
from subregion.layers import Drawing, fill_value
from subregion.outputs import Output, stacked
from subregion.raster.batch import WindowRead, carry_out, processors, read_batch
from subregion.raster.limits import check_result
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
    out: Any,
    threads: int | None,
    fill: Fill,
    drawing: Drawing | None,
    mended: list[str] | None = None,
) -> Any:
    """Read many regions; see `Frames.load_regions`.

    Sources whose copies were damaged and made anew are added to `mended`.
    """
    wanted = _checked_requests(requests)
    count = processors() if threads is None else _checked_threads(threads)
    output = None if out is None else Output.of(out, drawing is not None and drawing.nodata == "ma")
    batch = _Batch(store, kept_channels(channels), count, fill, drawing, mended)
    try:
        images = list(dict.fromkeys(image_id for image_id, _ in wanted))
    except TypeError:
        images = []  # whoever looks the id up says what is wrong with it
    if len(images) <= OPEN_AT_ONCE:
        return batch.read([(record(image_id), region) for image_id, region in wanted], output)
    # More files than may be open at once: some images at a time.
    parts: list[Any] = [None] * len(wanted)
    for first in range(0, len(images), OPEN_AT_ONCE):
        group = set(images[first : first + OPEN_AT_ONCE])
        places = [place for place, (image_id, _) in enumerate(wanted) if image_id in group]
        results = batch.read([(record(wanted[place][0]), wanted[place][1]) for place in places], None)
        for place, result in zip(places, results, strict=True):
            if output is None:
                parts[place] = result
            else:
                output.check(len(wanted), result.shape, result.dtype)
                output.put(place, result)
    return stacked(parts) if output is None else output.finish()


def _checked_requests(requests: Any) -> list[tuple[Any, Region]]:
    if isinstance(requests, str | bytes | Mapping) or not isinstance(requests, Iterable):
        raise RegionTypeError(
            f"load_regions: {shown(requests)} is no list of requests; write [(image_id, region), ...]."
        )
    wanted = []
    for request in requests:
        if not isinstance(request, Sequence) or isinstance(request, str | bytes) or len(request) != 2:
            raise RegionTypeError(f"load_regions: {shown(request)} is not a pair (image_id, region).")
        wanted.append((request[0], request[1]))
    return wanted


def _checked_threads(threads: int) -> int:
    try:
        count = -1 if isinstance(threads, bool) else operator.index(threads)
    except TypeError:
        count = -1
    if count < 0:
        raise ConfigError(
            f"threads={shown(threads)}: must be a whole number, 0 or more, or None for one per core."
        )
    return count


@dataclass(frozen=True, slots=True, eq=False)
class _Batch:
    """Reads regions of so few images at once that all of them can be open."""

    store: Store
    channels: Channels
    threads: int
    fill: Fill
    drawing: Drawing | None
    mended: list[str] | None

    def read(self, wanted: list[tuple[ImageRecord, Region]], output: Output | None) -> Any:
        """Read into `output`, or return one array or a list."""
        return planned_again(lambda: self._read(wanted, output), self.mended)

    def _read(self, wanted: list[tuple[ImageRecord, Region]], output: Output | None) -> Any:
        if self.drawing is None and all(is_plain(record, self.channels) for record, _ in wanted):
            plans = [plan_read(self.store, record, region, self.channels) for record, region in wanted]
            results = self._places(plans, output)
            try:
                read_batch(
                    [
                        read
                        for plan, result in zip(plans, results, strict=True)
                        for read in _reads(plan, result, self.fill)
                    ],
                    self.threads,
                )
            except DamagedFileError:
                pass  # rare, so the slow way may find which image it was, and mend a copy of ours
            else:
                return results if output is None else output.finish()
        parts = self._read_each(wanted)
        if output is None:
            return stacked(parts)
        for place, part in enumerate(parts):
            output.check(len(parts), part.shape, part.dtype)
            output.put(place, part)
        return output.finish()

    def _places(self, plans: list[ReadPlan], output: Output | None) -> NDArray[Any] | list[NDArray[Any]]:
        """Return one array for all results if they have one shape, otherwise one for each."""
        if output is None:
            return _new_arrays(plans)
        try:
            for plan in plans:
                output.check(len(plans), plan.shape, plan.opened.raster.dtype)
        except ConfigError as error:
            for plan in plans:
                mend_unlike(self.store, plan.asset, plan.opened, error)
            if len(shapes := {plan.shape for plan in plans}) > 1:
                raise ConfigError(
                    f"load_regions: out= needs regions of one shape, these have {shown(sorted(shapes))}. "
                    f"Use a Window, whose result always has its own shape."
                ) from None
            raise
        return output.pixels

    def _read_each(self, wanted: list[tuple[ImageRecord, Region]]) -> list[NDArray[Any]]:
        """Read regions each for itself."""
        parts: list[Any] = [None] * len(wanted)

        def read(place: int) -> None:
            record, region = wanted[place]
            parts[place] = read_region(
                self.store, record, region, self.channels, self.fill, self.drawing, self.mended
            )

        carry_out([partial(read, place) for place in range(len(wanted))], self.threads)
        return parts


def _new_arrays(plans: list[ReadPlan]) -> NDArray[Any] | list[NDArray[Any]]:
    """Return one array for all results if they have one shape, otherwise one for each."""
    shapes = {plan.shape for plan in plans}
    if plans:
        need = sum(math.prod(plan.shape) * plan.opened.raster.dtype.itemsize for plan in plans)
        check_result(plans[0].asset.path, need)
    if len(shapes) != 1:
        return [np.empty(plan.shape, plan.opened.raster.dtype) for plan in plans]
    dtype = np.result_type(*(plan.opened.raster.dtype for plan in plans))
    return np.empty((len(plans), *shapes.pop()), dtype)


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
