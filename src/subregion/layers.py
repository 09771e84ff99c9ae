"""Layers of a read: channels that come from one file by one filter, put on the canvas of the result."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Complex, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subregion.errors import ConfigError, shown
from subregion.geometry import bilinear
from subregion.geometry.plan import AssetRead
from subregion.geometry.resample import Filter, filter_of, resample, to_dtype
from subregion.geometry.window import Window
from subregion.records import Quantization


@dataclass(frozen=True, slots=True)
class Drawing:
    """How pixels get from the grids of files to that of the result.

    Parameters
    ----------
    scale : tuple of float
        Result pixels for each pixel of the image, along rows and columns.
    interpolation : str or mapping
        Name of a filter, or names for single channels; the key None holds for all others.
    antialias : bool
        Whether shrinking averages.
    nodata : str or None
        None leaves the value that means "no pixel" as it is; ``"float"`` makes NaN of it, ``"ma"`` a mask.
    fill : float or None
        What lies outside; None is 0 for integers and NaN for floats.
    dequantize : bool
        Whether stored integers become the values that they stand for.
    dtype : dtype or None
        Type of the result, which must hold that of the files; None is theirs.
    """

    scale: tuple[float, float] = (1.0, 1.0)
    interpolation: str | Mapping[str | None, str] = "linear"
    antialias: bool = True
    nodata: str | None = None
    fill: float | None = None
    dequantize: bool = False
    dtype: np.dtype[Any] | None = None

    def filter_of(self, channel: str | None) -> Filter:
        """Return how a channel is interpolated."""
        names = self.interpolation
        if isinstance(names, Mapping):
            return filter_of(names.get(channel, names.get(None, "linear")))
        return filter_of(names)


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """Bands of one file, and where they go.

    Parameters
    ----------
    asset : int
        Which file of the record.
    bands : tuple of int or None
        Which of its bands; None for all.
    places : tuple of int
        The channels of the result that they become.
    step : AssetRead
        What to read, and how it lies on the result.
    filter : Filter
        How to interpolate.
    dtype : numpy.dtype
        Type of the file.
    nodata : float or None
        Its value for "no pixel here".
    quantization : Quantization or None
        What its values stand for, if they are to become that.
    shown : ndarray of bool, shape (rows, columns) of the target, or None
        Which pixels have their centre on the file; None for all.
    """

    asset: int
    bands: tuple[int, ...] | None
    places: tuple[int, ...]
    step: AssetRead
    filter: Filter
    dtype: np.dtype[Any]
    nodata: float | None
    quantization: Quantization | None
    shown: NDArray[np.bool_] | None


class Canvas:
    """The array of one read.

    Parameters
    ----------
    shape : tuple of int
        Rows, columns and channels.
    dtype : numpy.dtype
        Of the result.
    drawing : Drawing
        How pixels become those of the result.
    covered : bool
        Whether the layers cover all of it, so that nothing has to be filled.
    """

    def __init__(
        self, shape: tuple[int, int, int], dtype: np.dtype[Any], drawing: Drawing, covered: bool
    ) -> None:
        self.pixels = np.empty(shape, dtype)
        self._drawing = drawing
        self._missing = np.ones(shape, bool) if drawing.nodata == "ma" else None
        fill = fill_value(drawing.fill, dtype)
        if not covered:
            self.pixels[...] = fill

    def finish(self) -> NDArray[Any]:
        """Return the result, as a masked array if the drawing says so."""
        return self.pixels if self._missing is None else np.ma.MaskedArray(self.pixels, self._missing)

    def part(self, target: Window, places: Sequence[int]) -> NDArray[Any] | None:
        """Return the part of the result that some channels of a window are, if they lie side by side."""
        first = places[0]
        if tuple(places) != tuple(range(first, first + len(places))):
            return None
        rows, cols = target.slices
        return self.pixels[rows, cols, first : first + len(places)]

    def straight(self, layer: Layer) -> NDArray[Any] | None:
        """Return where a layer can be read to as it is; None if something has to be done to it."""
        if layer.step.to_target is not None or layer.shown is not None or layer.quantization is not None:
            return None
        if self._drawing.nodata is not None or not np.can_cast(layer.dtype, self.pixels.dtype, "safe"):
            return None
        return self.part(layer.step.target, layer.places)

    def interpolates(self, layer: Layer) -> bool:
        """Tell whether a layer can be drawn together with others of the same step and filter."""
        dtype = self.pixels.dtype
        return (
            layer.step.to_target is not None
            and layer.filter.name == "linear"
            and layer.step.widening == (1.0, 1.0)
            and layer.shown is None
            and layer.quantization is None
            and len(layer.places) <= bilinear.TOGETHER
            and bilinear.suits(dtype)
            and np.can_cast(layer.dtype, dtype, "safe")
        )

    def draw_together(self, layers: Sequence[Layer], source: NDArray[Any]) -> None:
        """Interpolate layers whose pixels were read side by side into one array of the result's type."""
        step = layers[0].step
        places = [place for layer in layers for place in layer.places]
        gaps = any(_valid(part, layer.nodata) is not None for layer, part in _parts(layers, source))
        if gaps or step.to_target is None:
            for layer, part in _parts(layers, source):
                self.draw(layer, part)
            return
        out = self.part(step.target, places)
        drawn = out if out is not None else np.empty((*step.target.shape, len(places)), source.dtype)
        bilinear.draw(source, step.to_target, drawn)
        rows, cols = step.target.slices
        if out is None:
            for k, place in enumerate(places):
                self.pixels[rows, cols, place] = drawn[..., k]
        if self._missing is not None:
            self._missing[rows, cols, places] = False

    def draw(self, layer: Layer, source: NDArray[Any]) -> None:
        """Put the pixels of one layer where they belong."""
        step, nodata = layer.step, self._drawing.nodata
        values, kept = _resampled(source, _valid(source, layer.nodata), step, layer.filter)
        if kept is not None:
            values = np.where(
                kept, values, np.nan if nodata == "float" or layer.nodata is None else layer.nodata
            )
        if layer.quantization is not None:
            values = values.astype(np.float64) * layer.quantization.step + layer.quantization.offset
            if kept is not None:
                values = np.where(kept, values, np.nan)
        drawn = to_dtype(values, self.pixels.dtype)
        rows, cols = step.target.slices
        out = self.part(step.target, layer.places)
        if out is not None and layer.shown is None and self._missing is None:
            bilinear.put(out, drawn)
            return
        for k, place in enumerate(layer.places):
            if layer.shown is None:
                self.pixels[rows, cols, place] = drawn[..., k]
            else:
                np.copyto(self.pixels[rows, cols, place], drawn[..., k], where=layer.shown)
            if self._missing is not None:
                gone = False if kept is None else ~kept[..., k]
                self._missing[rows, cols, place] = gone if layer.shown is None else gone | ~layer.shown


def _parts(layers: Sequence[Layer], source: NDArray[Any]) -> list[tuple[Layer, NDArray[Any]]]:
    found, first = [], 0
    for layer in layers:
        found.append((layer, source[..., first : first + len(layer.places)]))
        first += len(layer.places)
    return found


def fill_value(fill: float | None, dtype: np.dtype[Any]) -> Any:
    """Return what stands outside the image: as given, or 0 for integers and NaN for floats.

    Raises
    ------
    ConfigError
        If the pixels cannot hold it.
    """
    if fill is None:
        return np.nan if dtype.kind in "fc" else 0
    value = fill.item() if isinstance(fill, np.ndarray) and fill.ndim == 0 else fill
    with contextlib.suppress(ValueError, OverflowError):  # of NaN, infinities, and integers beyond all floats
        if dtype.kind in "iu":
            limits = np.iinfo(dtype)
            if isinstance(value, Real) and limits.min <= int(value) <= limits.max and value == int(value):
                return int(value)
        elif isinstance(value, Complex if dtype.kind == "c" else Real):
            number = complex(value) if dtype.kind == "c" else float(value)
            if not float(np.finfo(dtype).max) < abs(number) < math.inf:
                return number
    if dtype.kind in "iu":
        allowed = f"whole numbers from {np.iinfo(dtype).min} to {np.iinfo(dtype).max}"
    else:
        allowed = f"numbers up to {np.finfo(dtype).max:.6g}, infinities and NaN"
    raise ConfigError(f"fill={shown(fill)} does not fit pixels of {dtype}; allowed are {allowed}.")


def _valid(source: NDArray[Any], nodata: float | None) -> NDArray[np.bool_] | None:
    """Return which samples are pixels; None if all are."""
    valid: NDArray[np.bool_] | None = None
    if nodata is not None and not np.isnan(nodata):
        valid = source != nodata
    if source.dtype.kind in "fc":
        numbers = ~np.isnan(source)
        valid = numbers if valid is None else valid & numbers
    return None if valid is None or valid.all() else valid


def _resampled(
    source: NDArray[Any], valid: NDArray[np.bool_] | None, step: AssetRead, filter_: Filter
) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """Draw the source on the target; also return which values come from pixels (None: all)."""
    if step.to_target is None:
        return source, valid
    shape = step.target.shape
    if valid is None:
        return resample(source, step.to_target, shape, filter_, step.widening), None
    # Samples without a pixel have no weight; a value needs at least half of its weights.
    weight = resample(valid.astype(np.float32), step.to_target, shape, filter_, step.widening)
    values = resample(np.where(valid, source, 0), step.to_target, shape, filter_, step.widening)
    kept = weight >= 0.5
    if filter_.support == 0:
        return values, kept
    return values / np.where(kept, weight, 1), kept
