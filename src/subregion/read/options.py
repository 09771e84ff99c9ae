"""How pixels are wanted: the options of a read, checked once, at the face."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, TypeAlias, TypedDict

import numpy as np

from subregion.errors import ConfigError, shown
from subregion.geometry.resample import Filter, filter_of

Channels: TypeAlias = "str | Sequence[str] | None"
Fill: TypeAlias = "float | str | None"
Interpolation: TypeAlias = "str | Mapping[str | None, str]"

#: Beyond, images vanish or every pixel becomes an image.
LEAST_SCALE, LARGEST_SCALE = 1e-12, 1e6


class ReadArguments(TypedDict, total=False):
    """The options of `read_options` but `fill`, passed on by name."""

    scale: float | tuple[float, float]
    interpolation: Interpolation
    antialias: bool
    nodata: str | None
    dequantize: bool
    resolution: float | tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class ReadOptions:
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
    dequantize : bool
        Whether stored integers become the values that they stand for.
    fill : float, str or None
        What lies outside: a number, or a mode of `numpy.pad`; None is 0 for integers and NaN for floats.
    dtype : dtype or None
        Type of the result, which must hold that of the files; None is theirs.
    resolution : tuple of float or None
        How large the pixels of the result are to be, along rows and columns, from which the scale follows
        for each image.
    """

    scale: tuple[float, float] = (1.0, 1.0)
    interpolation: Interpolation = "linear"
    antialias: bool = True
    nodata: str | None = None
    dequantize: bool = False
    fill: Fill = None
    dtype: np.dtype[Any] | None = None
    resolution: tuple[float, float] | None = None

    @property
    def as_stored(self) -> bool:
        """Whether pixels that lie on the grid of the image are wanted as they are stored."""
        return (
            self.nodata is None
            and self.scale == (1, 1)
            and self.interpolation == "linear"
            and self.antialias
            and not self.dequantize
            and self.dtype is None
            and self.resolution is None
        )

    def filter_of(self, channel: str | None) -> Filter:
        """Return how a channel is interpolated."""
        names = self.interpolation
        if isinstance(names, Mapping):
            return filter_of(names.get(channel, names.get(None, "linear")))
        return filter_of(names)


#: Pixels that are not resampled, as they are stored.
AS_STORED = ReadOptions()
#: What `read_options` takes if nothing is given.
DEFAULTS = (1, "linear", True, None, False, None, None)


def read_options(
    scale: float | tuple[float, float] = 1,
    interpolation: Interpolation = "linear",
    antialias: bool = True,
    nodata: str | None = None,
    dequantize: bool = False,
    fill: Fill = None,
    resolution: float | tuple[float, float] | None = None,
) -> ReadOptions:
    """Check how pixels are wanted.

    Raises
    ------
    ConfigError
        Naming the option, the value and what is allowed.
    """
    if not (nodata is None or (isinstance(nodata, str) and nodata in ("float", "ma"))):
        raise ConfigError(f"nodata={shown(nodata)}: allowed are None, 'float', 'ma'.")
    for option, value in (("antialias", antialias), ("dequantize", dequantize)):
        if not isinstance(value, bool | int | np.bool_):
            raise ConfigError(f"{option}={shown(value)}: allowed are True, False.")
    for name in interpolation.values() if isinstance(interpolation, Mapping) else [interpolation]:
        if not isinstance(name, str):
            raise ConfigError(f"interpolation={shown(interpolation)}: names are text, such as 'nearest'.")
        filter_of(name)
    checked = checked_scale(scale)
    size = None if resolution is None else _checked_resolution(resolution)
    if size is not None and checked != (1, 1):
        raise ConfigError(f"give scale={shown(scale)} or resolution={shown(resolution)}, not both.")
    return ReadOptions(
        checked, interpolation, bool(antialias), nodata, bool(dequantize), fill, resolution=size
    )


def _checked_resolution(resolution: Any) -> tuple[float, float]:
    pair = resolution if isinstance(resolution, tuple) else (resolution, resolution)
    if len(pair) == 2 and all(isinstance(each, Real) and not isinstance(each, bool) for each in pair):
        with contextlib.suppress(OverflowError):
            down, across = float(pair[0]), float(pair[1])
            if 0 < down < math.inf and 0 < across < math.inf:
                return down, across
    raise ConfigError(
        f"resolution={shown(resolution)}: a number above 0 is needed, the size of a pixel of the result, or "
        f"a pair for rows and columns."
    )


def checked_scale(scale: Any) -> tuple[float, float]:
    """Return a scale along rows and columns.

    Raises
    ------
    ConfigError
        If it is none, or one at which images vanish or every pixel becomes an image.
    """
    pair = scale if isinstance(scale, tuple) else (scale, scale)
    if len(pair) == 2 and all(isinstance(each, Real) for each in pair):
        with contextlib.suppress(OverflowError):
            down, across = float(pair[0]), float(pair[1])
            if LEAST_SCALE <= down <= LARGEST_SCALE and LEAST_SCALE <= across <= LARGEST_SCALE:
                return down, across
    raise ConfigError(
        f"scale={shown(scale)}: a number from {LEAST_SCALE:g} to {LARGEST_SCALE:g} is needed, or a pair for "
        f"rows and columns."
    )
