"""Where the pixels of many reads go: one array, a list, or memory of the caller."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subregion.errors import ConfigError, shown


@dataclass(frozen=True, slots=True, eq=False)
class Output:
    """Memory of the caller that is to be filled.

    Parameters
    ----------
    given : object
        What the caller gave: an array, or anything that shares its memory with NumPy.
    pixels : ndarray, shape (N, rows, columns, channels)
        The same memory.
    mask : ndarray of bool, of the same shape, or None
        What becomes its mask; None if it is no masked array.
    """

    given: Any
    pixels: NDArray[Any]
    mask: NDArray[np.bool_] | None

    @classmethod
    def of(cls, given: Any, masked: bool) -> Output:
        """Look at what a caller gave.

        Parameters
        ----------
        given : object
            An array, a tensor in main memory, a buffer.
        masked : bool
            Whether the pixels that go there have a mask.

        Raises
        ------
        ConfigError
            If it cannot be written into, or would lose the mask.
        """
        pixels = _as_array(given)
        if not pixels.flags.writeable:
            raise ConfigError("load_regions: out is read-only; give an array that may be written to.")
        if pixels.dtype.kind not in "iufcb":
            raise ConfigError(f"load_regions: out is {pixels.dtype}, which cannot hold pixels.")
        if isinstance(given, np.ma.MaskedArray):
            return cls(given, pixels, np.zeros(given.shape, bool))
        if masked:
            raise ConfigError(
                f"load_regions: nodata='ma' gives a mask, for which out, a {type(given).__name__}, has no "
                f"place. Give a numpy.ma.MaskedArray, or write nodata='float', which gives NaN."
            )
        return cls(given, pixels, None)

    def check(self, count: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        """Refuse results of another shape, or of a type that does not fit in.

        Raises
        ------
        ConfigError
            Naming both.
        """
        if self.pixels.shape != (count, *shape):
            raise ConfigError(
                f"load_regions: out has shape {self.pixels.shape}, the regions need {(count, *shape)}."
            )
        if not np.can_cast(dtype, self.pixels.dtype, "same_kind"):
            raise ConfigError(
                f"load_regions: out is {self.pixels.dtype}, which cannot hold pixels of {dtype}."
            )

    def put(self, place: int, part: NDArray[Any]) -> None:
        """Fill in one result."""
        self.pixels[place] = np.ma.getdata(part)
        if self.mask is not None:
            self.mask[place] = np.ma.getmaskarray(part)

    def finish(self) -> Any:
        """Return what the caller gave, filled."""
        if self.mask is not None:
            self.given.mask = self.mask
        return self.given


def _as_array(given: Any) -> NDArray[Any]:
    """Return an array in the memory of an object."""
    if isinstance(given, np.ma.MaskedArray):
        return given.data.view(np.ndarray)
    if isinstance(given, np.ndarray):
        return given.view(np.ndarray)
    if not any(hasattr(given, name) for name in ("__array_interface__", "__array__")):
        try:
            given = memoryview(given)
        except TypeError:
            raise ConfigError(
                f"load_regions: out={shown(given)}: an array is needed, or what shares its memory with one."
            ) from None
    try:
        one, other = np.asarray(given), np.asarray(given)
    except MemoryError:
        raise
    except Exception as error:  # what libraries say of memory that is on a device, or that they track
        raise ConfigError(
            f"load_regions: out, a {type(given).__name__}, gives NumPy no access to its memory: "
            f"{' '.join(str(error).split())}"
        ) from error
    if one.__array_interface__["data"] != other.__array_interface__["data"]:
        raise ConfigError(
            f"load_regions: out, a {type(given).__name__}, gives NumPy a copy of its values only; "
            f"what is written there would be lost."
        )
    return one


def check_stack(stack: object, count: int, out: object) -> None:
    """Refuse a value of `stack` that has no meaning, or cannot be had.

    Raises
    ------
    ConfigError
        Naming it.
    """
    if stack is not None and not isinstance(stack, bool):
        raise ConfigError(f"load_regions: stack={shown(stack)}: allowed are True, False, None.")
    if stack is False and out is not None:
        raise ConfigError("load_regions: stack=False asks for a list, but out= is one array; leave one out.")
    if stack and not count and out is None:
        raise ConfigError("load_regions: stack=True, but there are no regions, so no shape is known.")


def unlike_shapes(shapes: Iterable[tuple[int, ...]], option: str = "stack=True") -> ConfigError:
    """Say that regions have several shapes where one is needed."""
    return ConfigError(
        f"load_regions: {option} needs regions of one shape, these have {shown(sorted(shapes))}. "
        f"Use a Window, whose result always has its own shape."
    )


def stacked(parts: Sequence[NDArray[Any]], stack: bool | None) -> NDArray[Any] | list[NDArray[Any]]:
    """Return results as one array, or as a list, as `stack` says; masked ones stay masked.

    Raises
    ------
    ConfigError
        If they are to be one array, and their shapes differ.
    """
    shapes = {part.shape for part in parts}
    if stack and len(shapes) > 1:
        raise unlike_shapes(shapes)
    if len(shapes) != 1 or stack is False:
        return list(parts)
    masked = any(isinstance(part, np.ma.MaskedArray) for part in parts)
    together: NDArray[Any] = np.ma.stack(parts) if masked else np.stack(parts)
    return together
