"""Reads of regions: planned, carried out, composed; damaged copies are made anew on the way."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from subregion.blocks.cache import BLOCKS
from subregion.blocks.execute import FailedReadError, execute, run_jobs
from subregion.blocks.level import WindowRead
from subregion.blocks.wholes import DECODED, tell_of_wholes
from subregion.errors import ConfigError, MendedError, RegionTypeError, shown
from subregion.geometry.channels import kept_channels
from subregion.geometry.region import Region, Selection
from subregion.io.limits import SURELY_FITS, check_result
from subregion.io.pool import POOL
from subregion.io.threads import carry_out, processors
from subregion.read.compose import Composition
from subregion.read.mending import mend, mend_unlike, planned_again
from subregion.read.options import AS_STORED, Channels, ReadOptions
from subregion.read.output import Output, check_stack, stacked, unlike_shapes
from subregion.read.plan import ReadPlan, is_plain, open_default, plan_read

if TYPE_CHECKING:
    from subregion.cache.opened import OpenAsset
    from subregion.cache.store import Store
    from subregion.records import Asset, ImageRecord

#: How many images are open at the same time, at most.
OPEN_AT_ONCE = 64
#: Bytes of pixels that wait to be drawn at the same time, beside the results.
HELD_NBYTES = 128 << 20


def read_region(
    store: Store,
    record: ImageRecord,
    region: Region | Selection = None,
    channels: Channels = None,
    options: ReadOptions = AS_STORED,
    threads: int | None = 1,
) -> NDArray[Any]:
    """Read a region of an image.

    Parameters
    ----------
    store : Store
        Where converted copies are.
    record : ImageRecord
        The image.
    region : Window, slices, Selection or None
        Which pixels, in pixels of the image.
    channels : str, sequence of str or None
        Which channels.
    options : ReadOptions
        How pixels are wanted.
    threads : int or None
        How many decode, the calling one included; None is one per core.

    Returns
    -------
    ndarray or numpy.ma.MaskedArray, shape (rows, columns, channels)
        C-contiguous, owned by the caller.
    """
    channels = None if channels is None else kept_channels(channels)
    count = 1 if threads == 1 else thread_count(threads)
    opened = None
    try:  # nearly always this is all
        if options is AS_STORED and count == 1 and channels is None and is_plain(record, None):
            opened = open_default(store, record)
            table = _table_of(opened)
            found = None if table is None else table.window(region, BLOCKS.limit, SURELY_FITS)
            if found is not None:
                return cast("NDArray[Any]", found)
        return read_plan(store, plan_read(store, record, region, channels, options, opened), count)
    except MendedError:
        pass
    return planned_again(lambda: read_plan(store, plan_read(store, record, region, channels, options), count))


def _table_of(opened: OpenAsset) -> Any:
    """Return the blocks of a file whose samples are its pixels; see `Level.table`."""
    level = opened.raster.full
    return None if level.color is not None else level.table


def read_plan(store: Store, plan: ReadPlan, threads: int = 1) -> NDArray[Any]:
    """Carry out one plan; see `read_region`.

    Raises
    ------
    MendedError
        If a copy was damaged, which was made anew: all has to be planned again.
    """
    out = np.empty(plan.shape, plan.dtype)
    if plan.stored:  # nearly always: nothing is left to be composed
        execute_reads(store, plan.opened, [plan.groups[0].into(out)], threads)
        return out
    mask = np.empty(plan.shape, bool) if plan.options.nodata == "ma" else None
    read_plans(store, [plan], [out], [mask], threads)
    return out if mask is None else np.ma.MaskedArray(out, mask)


def read_plans(
    store: Store,
    plans: Sequence[ReadPlan],
    outs: Sequence[NDArray[Any]] | NDArray[Any],
    masks: Sequence[NDArray[np.bool_] | None] | NDArray[np.bool_],
    threads: int,
) -> None:
    """Carry out plans; blocks that several of them want are decoded once.

    Parameters
    ----------
    store : Store
        Where converted copies are.
    plans : sequence of ReadPlan
        What to read.
    outs : sequence of ndarray
        Where each result goes; they must not overlap.
    masks : sequence of (ndarray of bool or None)
        Where it is told which of its pixels are none.
    threads : int
        How many decode, the calling one included.

    Raises
    ------
    MendedError
        If a copy was damaged, which was made anew: all has to be planned again.
    SubregionError
        If a source is damaged.
    """
    reads: list[WindowRead] = []
    compositions: list[Composition] = []
    held = 0
    for plan, out, mask in zip(plans, outs, masks, strict=True):
        if plan.stored and out.dtype == plan.dtype:  # nothing is left to be composed
            reads.append(plan.groups[0].into(out))
            continue
        composition = Composition(plan, out, mask)
        reads += composition.reads
        compositions.append(composition)
        held += composition.held
        if held > HELD_NBYTES:
            _carry_out(store, plans, reads, compositions, threads)
            reads, compositions, held = [], [], 0
    _carry_out(store, plans, reads, compositions, threads)


def _carry_out(
    store: Store,
    plans: Sequence[ReadPlan],
    reads: list[WindowRead],
    compositions: Sequence[Composition],
    threads: int,
) -> None:
    """Read what results are made of, and make them."""
    opened = (pair for plan in plans for pair in plan.opened)  # only looked at if a file is damaged
    execute_reads(store, opened, reads, threads)
    waiting = [(composition.compose, ()) for composition in compositions if not composition.done]
    if waiting:
        carry_out(waiting, threads)


def execute_reads(
    store: Store, opened: Iterable[tuple[Asset, OpenAsset]], reads: Sequence[WindowRead], threads: int
) -> None:
    """Carry out reads of open files; a copy that turns out to be damaged is made anew.

    Raises
    ------
    MendedError
        If that was so.
    SubregionError
        If a source is damaged.
    """
    try:
        execute(reads, threads)
    except FailedReadError as failure:
        for asset, each in opened:
            if each.raster.holds(failure.level):
                raise mend(store, asset, each, failure.error) from failure.error
        raise failure.error from None
    if DECODED:
        tell_of_wholes(store.tally, reads)


def read_regions(
    store: Store,
    record: Callable[[Any], ImageRecord],
    requests: Iterable[tuple[Any, Region | Selection]],
    channels: Channels,
    out: Any,
    threads: int | None,
    options: ReadOptions,
    mended: list[str] | None = None,
    stack: bool | None = None,
) -> Any:
    """Read many regions; see `Frames.load_regions`.

    Sources whose copies were damaged and made anew are added to `mended`.
    """
    wanted = _checked_requests(requests)
    check_stack(stack, len(wanted), out)
    count = thread_count(threads)
    output = None if out is None else Output.of(out, options.nodata == "ma")
    batch = _Batch(store, kept_channels(channels), count, options, mended, stack)
    try:
        images = list(dict.fromkeys([image_id for image_id, _ in wanted]))
    except TypeError:
        images = []  # whoever looks the id up says what is wrong with it
    at_once = min(OPEN_AT_ONCE, POOL.capacity)
    if len(images) <= at_once:
        return batch.read([(record(image_id), region) for image_id, region in wanted], output)
    # More files than may be open at once: some images at a time.
    batch = replace(batch, stack=False if stack is None else stack)
    parts: list[Any] = [None] * len(wanted)
    for first in range(0, len(images), at_once):
        group = set(images[first : first + at_once])
        places = [place for place, (image_id, _) in enumerate(wanted) if image_id in group]
        results = batch.read([(record(wanted[place][0]), wanted[place][1]) for place in places], None)
        for place, result in zip(places, results, strict=True):
            if output is None:
                parts[place] = result
            else:
                output.check(len(wanted), result.shape, result.dtype)
                output.put(place, result)
    return stacked(parts, stack) if output is None else output.finish()


def _checked_requests(requests: Any) -> list[tuple[Any, Region | Selection]]:
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


def thread_count(threads: int | None) -> int:
    """Return how many threads are meant; None is one per core.

    Raises
    ------
    ConfigError
        If it is no number of threads.
    """
    if threads is None:
        return processors()
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
    options: ReadOptions
    mended: list[str] | None
    stack: bool | None

    def read(self, wanted: list[tuple[ImageRecord, Region | Selection]], output: Output | None) -> Any:
        """Read into `output`, or return one array or a list."""
        return planned_again(lambda: self._read(wanted, output), self.mended)

    def _read_windows(self, wanted: list[tuple[ImageRecord, Region | Selection]]) -> NDArray[Any] | None:
        """Read windows of one shape, of files as they are stored, in compiled calls; None otherwise.

        To plan them one by one takes longer than to read small ones.
        """
        records = {id(record): record for record, _ in wanted}
        if not all(is_plain(record, None) for record in records.values()):
            return None
        tables = {key: _table_of(open_default(self.store, record)) for key, record in records.items()}
        if None in tables.values():
            return None
        shapes, groups = set(), dict[int, list[int]]()
        for place, (record, region) in enumerate(wanted):
            table = tables[id(record)]
            shapes.add((table.shape_of(region), table.bands, table.dtype))
            groups.setdefault(id(record), []).append(place)
        if len(shapes) != 1 or (found := shapes.pop())[0] is None:
            return None
        (height, width), bands, dtype = found
        need = len(wanted) * height * width * bands * dtype.itemsize
        check_result(wanted[0][0].default_asset.path, need)
        out = np.empty((len(wanted), height, width, bands), dtype)
        jobs = []
        for key, places in groups.items():
            regions, parts = [wanted[place][1] for place in places], [out[place] for place in places]
            jobs.append(tables[key].windows(regions, parts, BLOCKS.limit, self.threads))
        if any(job.wanted_again() for job in jobs):
            return None
        run_jobs(jobs, self.threads)
        return out if all(job.left() is None for job in jobs) else None

    def _read(self, wanted: list[tuple[ImageRecord, Region | Selection]], output: Output | None) -> Any:
        plain = self.options.as_stored and self.options.fill is None and self.channels is None
        if plain and output is None and self.stack is not False:
            found = self._read_windows(wanted)
            if found is not None:
                return found
        plans = [
            plan_read(self.store, record, region, self.channels, self.options) for record, region in wanted
        ]
        if output is None:
            outs, masks = _new_arrays(plans, self.options.nodata == "ma", self.stack)
        else:
            self._check(plans, output)
            outs = output.pixels
            masked = output.mask is not None and self.options.nodata == "ma"
            masks = output.mask if masked else [None] * len(plans)
        read_plans(self.store, plans, outs, masks, self.threads)
        if output is not None:
            return output.finish()
        if self.options.nodata != "ma":
            return outs
        if isinstance(outs, np.ndarray):
            return np.ma.MaskedArray(outs, masks)
        return [np.ma.MaskedArray(pixels, mask) for pixels, mask in zip(outs, masks, strict=True)]

    def _check(self, plans: list[ReadPlan], output: Output) -> None:
        """Refuse results that do not fit into the memory of the caller."""
        try:
            for plan in plans:
                output.check(len(plans), plan.shape, plan.dtype)
        except ConfigError as error:
            for plan in plans:
                for asset, opened in plan.opened:
                    mend_unlike(self.store, asset, opened, error)
            if len(shapes := {plan.shape for plan in plans}) > 1:
                raise unlike_shapes(shapes, "out=") from None
            raise


def _new_arrays(plans: list[ReadPlan], masked: bool, stack: bool | None) -> tuple[Any, Any]:
    """Return one array for all results, or one for each, as `stack` and shapes say; and for the masks."""
    shapes = {plan.shape for plan in plans}
    if stack and len(shapes) > 1:
        raise unlike_shapes(shapes)
    if plans:
        need = sum([math.prod(plan.shape) * (plan.dtype.itemsize + masked) for plan in plans])
        check_result(plans[0].path, need)
    if len(shapes) != 1 or stack is False:
        masks = [np.empty(plan.shape, bool) if masked else None for plan in plans]
        return [np.empty(plan.shape, plan.dtype) for plan in plans], masks
    shape = (len(plans), *shapes.pop())
    dtype = np.result_type(*{plan.dtype for plan in plans})
    return np.empty(shape, dtype), np.empty(shape, bool) if masked else [None] * len(plans)
