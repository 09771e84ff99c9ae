"""How the pixels of a sample are wanted: the options of a target, checked once. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from subregion.errors import RegionTypeError, TargetError, shown
from subregion.geometry.channels import kept_channels
from subregion.read.options import Channels, Fill, Interpolation, checked_scale, read_options
from subregion.sampling.targets.keys import OPTIONS, Request


@dataclass(frozen=True, slots=True)
class SampleOptions:
    """How pixels of a sample are wanted.

    Parameters
    ----------
    channels : str, tuple of str or None
        Which channels; None is those of the default file of an image, and all of a stack of frames.
    scale : tuple of float
        Pixels of the sample for each of the image, along x and y.
    interpolation, antialias
        As for `load_region`.
    nodata : str, float or None
        As for `load_region`; or a number, which pixels have that are none.
    fill : float, str or None
        What lies outside.
    dtype : numpy.dtype or None
        What pixels are cast to.
    native : bool
        Whether each file is read at its own resolution.
    joined : bool
        Whether what is native is enlarged to the finest, as one array.
    as_xarray : bool
        Whether pixels come with names.
    """

    channels: Channels = None
    scale: tuple[float, float] = (1.0, 1.0)
    interpolation: Interpolation = "linear"
    antialias: bool = True
    nodata: str | float | None = None
    fill: Fill = None
    dtype: np.dtype[Any] | None = None
    native: bool = False
    joined: bool = False
    as_xarray: bool = False

    @property
    def reading(self) -> dict[str, Any]:
        """The options of `load_region`, but scale."""
        number = isinstance(self.nodata, Real)
        # NaN is what is outside floats anyway, and integers cannot hold it.
        nan = isinstance(self.fill, float) and math.isnan(self.fill)
        return {
            "interpolation": self.interpolation,
            "antialias": self.antialias,
            "nodata": "ma" if number else self.nodata,
            "fill": None if nan else self.fill,
        }


#: Pixels as they are stored.
PLAIN = SampleOptions()
_NAMES = frozenset(OPTIONS)


def options_of(keys: Request) -> SampleOptions:
    """Check the options of a target.

    Raises
    ------
    ConfigError, TargetError, RegionTypeError
        Naming the key, the value and what is allowed.
    """
    if _NAMES.isdisjoint(keys):
        return PLAIN
    given = {key: keys[key] for key in _NAMES.intersection(keys)}
    if set(given) == {"channels"}:
        return SampleOptions(channels=_channels(given["channels"]))
    scale = _scale(given.get("scale"))
    interpolation, antialias = given.get("interpolation"), given.get("antialias")
    interpolation = "linear" if interpolation is None else interpolation
    antialias = True if antialias is None else antialias
    nodata = _nodata(given.get("nodata"))
    named = "ma" if isinstance(nodata, float | int) else nodata
    read_options((scale[1], scale[0]), interpolation, antialias, named)  # says what is wrong with them
    dtype, fill = _dtype(given.get("dtype")), _fill(given.get("padkw"))
    if nodata == "float" and dtype is not None and dtype.kind in "iu":
        raise TargetError(f"target: nodata='float' makes NaN, which dtype={shown(str(dtype))} cannot hold.")
    native, joined = _flag(given, "use_native_scale"), _joined(given.get("realign_native"))
    as_xarray = _flag(given, "as_xarray")
    if as_xarray and named == "ma" and nodata == "ma":
        raise TargetError("target: as_xarray has no masks; write nodata='float' instead of 'ma'.")
    if given.get("finalize") is not None and given["finalize"] is not True:
        raise TargetError(
            "target: finalize=False: samples hold pixels; frames.load_frame(gid) is an image that is read "
            "when it is indexed."
        )
    return SampleOptions(
        _channels(given.get("channels")),
        scale,
        interpolation,
        bool(antialias),
        nodata,
        fill,
        dtype,
        native,
        native and joined,
        as_xarray,
    )


def _channels(channels: Any) -> Channels:
    """Return channels as `load_region` takes them; also those of kwcoco."""
    spec = getattr(channels, "spec", channels)
    kept: Channels = kept_channels(spec)
    return kept


def _scale(scale: Any) -> tuple[float, float]:
    """Return a scale along x and y."""
    if scale is None:
        return 1.0, 1.0
    return checked_scale(tuple(scale) if isinstance(scale, list | np.ndarray) else scale)


def _nodata(nodata: Any) -> str | float | None:
    if nodata is None or isinstance(nodata, str):
        return "float" if nodata == "auto" else nodata
    if isinstance(nodata, bool) or not isinstance(nodata, Real):
        raise TargetError(f"target: nodata={shown(nodata)}: allowed are None, 'float', 'ma' and numbers.")
    return nodata.item() if isinstance(nodata, np.generic) else nodata  # type: ignore[return-value]


def _dtype(dtype: Any) -> np.dtype[Any] | None:
    if dtype is None:
        return None
    try:
        found: np.dtype[Any] = np.dtype(dtype)
    except (TypeError, ValueError, SyntaxError):
        raise RegionTypeError(f"target: dtype={shown(dtype)}: is no type of numbers.") from None
    if found.kind not in "iufc":
        raise RegionTypeError(f"target: dtype={shown(dtype)}: is no type of numbers.")
    return found


def _flag(given: Mapping[str, Any], key: str) -> bool:
    value = given.get(key)
    if value is None or (isinstance(value, bool | np.bool_ | int) and value in (0, 1)):
        return bool(value)
    raise TargetError(f"target: {key}={shown(value)}: allowed are True, False.")


def _joined(realign: Any) -> bool:
    if (
        realign is not None
        and realign is not False
        and not (isinstance(realign, str) and realign == "largest")
    ):
        raise TargetError(f"target: realign_native={shown(realign)}: allowed are None, 'largest'.")
    return bool(realign)


def _fill(padkw: Any) -> Fill:
    """Return what lies outside, from arguments of `numpy.pad`."""
    if padkw is None:
        return None
    if not isinstance(padkw, Mapping):
        raise TargetError(
            f"target: padkw={shown(padkw)}: a dict for numpy.pad is needed, such as {{'mode': 'reflect'}}."
        )
    mode = padkw.get("mode", "constant")
    allowed = {"mode", "constant_values"} if mode == "constant" else {"mode"}
    if unknown := set(padkw) - allowed:
        raise TargetError(
            f"target: padkw={shown(dict(padkw))}: with mode={shown(mode)}, {sorted(map(str, unknown))} "
            f"cannot be said; allowed are {sorted(allowed)}."
        )
    if mode != "constant":
        if not isinstance(mode, str):
            raise TargetError(f"target: padkw: mode={shown(mode)}: must be the name of a mode of numpy.pad.")
        return mode
    value = padkw.get("constant_values")
    if value is None:
        return None
    try:
        values = np.unique(np.asarray(value))
    except (TypeError, ValueError):  # of lists of unlike lengths, or objects without an order
        values = np.empty(0)
    if values.size != 1 or values.dtype.kind not in "iufc":
        raise TargetError(f"target: padkw: constant_values={shown(value)}: one number is needed.")
    fill: float = values[0].item()
    return fill
