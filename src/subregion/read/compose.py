"""The result of one read: what is read straight to its place, and what is drawn there afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subregion.blocks.level import WindowRead
from subregion.dtypes import as_integer
from subregion.geometry import bilinear
from subregion.geometry.placement import SourceRead
from subregion.geometry.resample import Filter, resample, to_dtype
from subregion.geometry.window import Window
from subregion.io.limits import check_result
from subregion.read.padding import fill_value
from subregion.read.plan import BandGroup, ReadPlan


class Composition:
    """One result while it comes about: reads go into its array, or into sources that are drawn on it.

    Parameters
    ----------
    plan : ReadPlan
        What is read, and how it gets to the result.
    out : ndarray, shape (rows, columns, channels)
        Where the result goes.
    mask : ndarray of bool, of the same shape, or None
        Where it has no pixels; None if nobody asks.

    Attributes
    ----------
    reads : list of WindowRead
        What has to be read before `compose` is called.
    held : int
        Bytes of the sources.
    """

    __slots__ = ("_mask", "_out", "_out_mask", "_pixels", "_plan", "_sources", "held", "reads")

    def __init__(self, plan: ReadPlan, out: NDArray[Any], mask: NDArray[np.bool_] | None) -> None:
        self._plan, self._out, self._out_mask = plan, out, mask
        self._sources: list[tuple[Sequence[BandGroup], NDArray[Any]]] = []
        self.reads: list[WindowRead] = []
        self.held = 0
        direct = [group.is_straight(plan.options, plan.dtype) for group in plan.groups]
        if plan.padding is None and (out.dtype == plan.dtype or all(direct)):
            self._pixels, self._mask = out, mask
        else:
            self._pixels = np.empty(plan.drawn, plan.dtype)
            self._mask = None if mask is None else np.empty(plan.drawn, bool)
            self.held += self._pixels.nbytes
        if self._mask is not None:
            self._mask[...] = True
        if not plan.covered:
            self._pixels[...] = fill_value(plan.options.fill, plan.dtype)
        self._take(direct)

    def _take(self, direct: list[bool]) -> None:
        """Say what has to be read, and where it goes."""
        together: dict[int, list[BandGroup]] = {}
        for group, straight in zip(self._plan.groups, direct, strict=True):
            if group.read.target.empty:
                continue
            place = self._part(group.read.target, group.places) if straight else None
            if place is not None:
                self._read(group, place)
            elif self._interpolates(group):
                bundle = together.setdefault(id(group.read), [])
                if sum(other.band_count for other in (*bundle, group)) > bilinear.TOGETHER:
                    self._read_together(bundle)
                    bundle.clear()
                bundle.append(group)
            else:
                source = self._source(group.read.source, group.band_count, group.raster.dtype)
                self._read(group, source)
                self._sources.append(((group,), source))
        for bundle in together.values():
            self._read_together(bundle)

    def _read(self, group: BandGroup, out: NDArray[Any]) -> None:
        self.reads.append(group.into(out))

    def _read_together(self, bundle: list[BandGroup]) -> None:
        """Read groups of one window side by side, to interpolate them in one go."""
        count = sum(group.band_count for group in bundle)
        # Two or three bands are slower to interpolate than four.
        window = bundle[0].read.source
        source = self._source(window, 1 if count == 1 else bilinear.TOGETHER, self._plan.dtype)
        source[..., count:] = 0
        first = 0
        for group in bundle:
            self._read(group, source[..., first : first + group.band_count])
            first += group.band_count
        self._sources.append((tuple(bundle), source))

    def _source(self, window: Window, count: int, dtype: np.dtype[Any]) -> NDArray[Any]:
        check_result(self._plan.path, *window.shape, count, dtype.itemsize)
        source = np.empty((*window.shape, count), dtype)
        self.held += source.nbytes
        return source

    def _interpolates(self, group: BandGroup) -> bool:
        """Whether a group can be interpolated together with others of the same read and filter."""
        dtype = self._plan.dtype
        return (
            group.read.to_target is not None
            and group.filter is not None
            and group.filter.name == "linear"
            and group.read.widening == (1.0, 1.0)
            and group.shown is None
            and group.quantization is None
            and group.palette is None
            and group.band_count <= bilinear.TOGETHER
            and bilinear.suits(dtype)
            and np.can_cast(group.raster.dtype, dtype, "safe")
        )

    def _part(self, target: Window, places: Sequence[int] | None) -> NDArray[Any] | None:
        """Return the part of the result that some channels of a window are, if they lie side by side."""
        rows, cols = target.slices
        if places is None:
            return self._pixels[rows, cols]
        first = places[0]
        if tuple(places) != tuple(range(first, first + len(places))):
            return None
        return self._pixels[rows, cols, first : first + len(places)]

    @property
    def done(self) -> bool:
        """Whether the result is complete once all is read."""
        return not self._sources and self._pixels is self._out

    def compose(self) -> None:
        """Draw what was read into sources, and pad."""
        for groups, source in self._sources:
            if len(groups) == 1 and not self._interpolates(groups[0]):
                self._draw(groups[0], source)
            else:
                self._draw_together(groups, source)
        if self._pixels is self._out:
            return
        padding = self._plan.padding
        self._out[...] = self._pixels if padding is None else padding(self._pixels)
        if self._mask is not None and self._out_mask is not None:
            self._out_mask[...] = self._mask if padding is None else padding(self._mask)

    def _draw_together(self, groups: Sequence[BandGroup], source: NDArray[Any]) -> None:
        """Interpolate groups whose pixels were read side by side into one array of the result's type."""
        read = groups[0].read
        places = [place for group in groups for place in group.places or range(group.band_count)]
        gaps = any(_valid(part, group.nodata) is not None for group, part in _parts(groups, source))
        if gaps or read.to_target is None:
            for group, part in _parts(groups, source):
                self._draw(group, part)
            return
        out = self._part(read.target, places)
        drawn = out if out is not None else np.empty((*read.target.shape, len(places)), source.dtype)
        bilinear.draw(source, read.to_target, drawn)
        rows, cols = read.target.slices
        if out is None:
            for k, place in enumerate(places):
                self._pixels[rows, cols, place] = drawn[..., k]
        if self._mask is not None:
            self._mask[rows, cols, places] = False

    def _draw(self, group: BandGroup, source: NDArray[Any]) -> None:
        """Put the pixels of one group where they belong."""
        nodata = self._plan.options.nodata
        valid = _valid(source, group.nodata)
        gap: Any = np.nan if nodata == "float" or group.nodata is None else group.nodata
        if group.palette is not None:
            index = None if group.nodata is None else as_integer(group.nodata, source.dtype)
            source = group.palette.take(source[..., 0], axis=0, mode="clip")
            valid = None if valid is None else np.broadcast_to(valid, source.shape)
            if nodata != "float" and index is not None:  # without an index that it is, there is no gap
                gap = group.palette.take(index, axis=0, mode="clip")
        values, kept = _resampled(source, valid, group.read, group.filter)
        if kept is not None:
            values = np.where(kept, values, gap)
        if group.quantization is not None:
            values = values.astype(np.float64) * group.quantization.step + group.quantization.offset
            if kept is not None:
                values = np.where(kept, values, np.nan)
        drawn = to_dtype(values, self._plan.dtype)
        places = group.places or tuple(range(drawn.shape[2]))
        rows, cols = group.read.target.slices
        out = self._part(group.read.target, places)
        if out is not None and group.shown is None and self._mask is None:
            bilinear.put(out, drawn)
            return
        for k, place in enumerate(places):
            if group.shown is None:
                self._pixels[rows, cols, place] = drawn[..., k]
            else:
                np.copyto(self._pixels[rows, cols, place], drawn[..., k], where=group.shown)
            if self._mask is not None:
                gone = False if kept is None else ~kept[..., k]
                self._mask[rows, cols, place] = gone if group.shown is None else gone | ~group.shown


def _parts(groups: Sequence[BandGroup], source: NDArray[Any]) -> list[tuple[BandGroup, NDArray[Any]]]:
    found, first = [], 0
    for group in groups:
        found.append((group, source[..., first : first + group.band_count]))
        first += group.band_count
    return found


def _valid(source: NDArray[Any], nodata: float | None) -> NDArray[np.bool_] | None:
    """Return which samples are pixels; None if all are."""
    valid: NDArray[np.bool_] | None = None
    if nodata is not None and source.dtype.kind in "iu":
        nodata = as_integer(nodata, source.dtype)
    if nodata is not None and nodata == nodata:  # NaN is told by itself
        valid = source != nodata
    if source.dtype.kind in "fc":
        numbers = ~np.isnan(source)
        valid = numbers if valid is None else valid & numbers
    return None if valid is None or valid.all() else valid


def _resampled(
    source: NDArray[Any], valid: NDArray[np.bool_] | None, read: SourceRead, filter_: Filter | None
) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """Draw the source on the target; also return which values come from pixels (None: all)."""
    if read.to_target is None or filter_ is None:
        return source, valid
    shape = read.target.shape
    if valid is None:
        return resample(source, read.to_target, shape, filter_, read.widening), None
    # Samples without a pixel have no weight; a value needs at least half of its weights.
    weight = resample(valid.astype(np.float32), read.to_target, shape, filter_, read.widening)
    values = resample(np.where(valid, source, 0), read.to_target, shape, filter_, read.widening)
    kept = weight >= 0.5
    if filter_.support == 0:
        return values, kept
    return values / np.where(kept, weight, 1), kept
