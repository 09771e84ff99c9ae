"""From stored samples to the pixels that are promised: palettes looked up, inks and Lab to RGB.

Each `Color` works pixel by pixel, so it is applied to the window that is read and never to more.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subregion.libraries import Image, ImageCms


class Color(ABC):
    """A rule that turns stored samples into pixels: a value.

    Attributes
    ----------
    samples : int
        How many samples a stored pixel has.
    stored : numpy.dtype
        The type of the stored samples.
    """

    __slots__ = ()
    samples: int
    stored: np.dtype[np.generic]

    @property
    def bands(self) -> int:
        """How many bands a pixel has afterwards."""
        return self.samples

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """The type of the bands afterwards."""
        return self.stored

    @abstractmethod
    def __call__(self, samples: NDArray[Any]) -> NDArray[Any]:
        """Turn (rows, columns, samples) into (rows, columns, bands)."""


@dataclass(frozen=True, slots=True, eq=False)
class Palette:
    """What the indices of a picture stand for.

    Parameters
    ----------
    colors : ndarray of uint8, shape (values, 3 or 4)
        The colour of each index, RGB or RGBA.
    names : tuple of str
        What each index is called, where the file says so; otherwise empty.
    """

    colors: NDArray[np.uint8]
    names: tuple[str, ...] = ()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.colors, dtype)

    def __len__(self) -> int:
        return len(self.colors)


@dataclass(frozen=True, slots=True, eq=False)
class First(Color):
    """The first of several samples, such as an index without its alpha.

    Parameters
    ----------
    stored : numpy.dtype
        The type of the samples.
    samples : int
        How many there are.
    """

    stored: np.dtype[np.generic]
    samples: int
    bands: int = 1

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """The type of the band afterwards."""
        return self.stored

    def __call__(self, samples: NDArray[Any]) -> NDArray[Any]:
        """Take it."""
        return samples[..., :1]


@dataclass(frozen=True, slots=True, eq=False)
class Lookup(Color):
    """A table with a pixel for each value of the first sample: palettes, and greys of few bits.

    Parameters
    ----------
    table : ndarray, shape (values, bands)
        The pixel for each stored value. Values beyond its end take the last row, as in libtiff.
    stored : numpy.dtype
        The type of the stored samples.
    samples : int
        With 2, the second stored sample is alpha and is appended to the pixel as it is.
    """

    table: NDArray[Any]
    stored: np.dtype[np.generic] = field(default_factory=lambda: np.dtype(np.uint8))
    samples: int = 1

    @property
    def bands(self) -> int:
        """How many bands a pixel has afterwards."""
        return int(self.table.shape[1]) + self.samples - 1

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """The type of the bands afterwards."""
        return self.table.dtype

    def __call__(self, samples: NDArray[Any]) -> NDArray[Any]:
        """Look every pixel up."""
        pixels = self.table.take(samples[..., 0], axis=0, mode="clip")
        if self.samples == 1:
            return pixels
        return np.concatenate([pixels, samples[..., 1:].astype(self.table.dtype, copy=False)], axis=-1)


@dataclass(frozen=True, slots=True)
class Inverted(Color):
    """Min-is-white: the first sample counts down from `white`; further ones (alpha) stay.

    Parameters
    ----------
    stored : numpy.dtype
        An unsigned integer type.
    samples : int
        Samples of a pixel.
    white : int
        The highest value that the stored bits can hold.
    """

    stored: np.dtype[np.generic]
    samples: int
    white: int

    def __call__(self, samples: NDArray[Any]) -> NDArray[Any]:
        """Invert the first sample."""
        pixels = samples.copy()
        np.subtract(self.stored.type(self.white), samples[..., 0], out=pixels[..., 0])
        return pixels


@dataclass(frozen=True, slots=True)
class Inks(Color):
    """Cyan, magenta, yellow and black to RGB, by the formula of Pillow.

    Parameters
    ----------
    stored : numpy.dtype
        An unsigned integer type.
    samples : int
        Stored samples of a pixel, at least 4.
    bands : int
        3, or 4 to keep a fifth sample that is alpha; further ones are dropped.
    """

    stored: np.dtype[np.generic]
    samples: int = 4
    bands: int = 3

    def __call__(self, samples: NDArray[Any]) -> NDArray[Any]:
        """Convert a block of pixels."""
        rgb = self._rgb(np.ascontiguousarray(samples[..., :4]))
        return rgb if self.bands == 3 else np.concatenate([rgb, samples[..., 4:5]], axis=-1)

    def _rgb(self, cmyk: NDArray[Any]) -> NDArray[Any]:
        if cmyk.size == 0:
            return np.empty((*cmyk.shape[:2], 3), self.stored)
        if self.stored == np.uint8:
            return np.asarray(Image.fromarray(cmyk, "CMYK").convert("RGB"))
        white = np.iinfo(self.stored).max  # type: ignore[type-var]  # TIFF has no other inks than unsigned
        wide = cmyk.astype(np.uint64)
        paper = white - wide[..., 3:]
        product = wide[..., :3] * paper
        return np.asarray(paper - (product + white // 2) // white).astype(self.stored)


@dataclass(frozen=True, slots=True)
class Lab(Color):
    """CIE L*a*b* to sRGB, by littleCMS as Pillow does it.

    Parameters
    ----------
    stored : numpy.dtype
        uint8 or uint16.
    samples : int
        At least 3; further ones are dropped.
    signed : bool
        Whether a* and b* are stored as two's complement (TIFF's CIELab) or with an offset (ICCLab).
    """

    stored: np.dtype[np.generic]
    samples: int = 3
    signed: bool = True
    bands: int = field(default=3, init=False)
    dtype: np.dtype[np.generic] = field(default_factory=lambda: np.dtype(np.uint8), init=False)

    def __call__(self, samples: NDArray[Any]) -> NDArray[Any]:
        """Convert a block of pixels."""
        lab = samples[..., :3]
        if lab.size == 0:
            return np.empty((*lab.shape[:2], 3), np.uint8)
        if self.stored == np.uint16:
            lab = (lab >> 8).astype(np.uint8)
        if not self.signed:  # Pillow's raw mode takes a* and b* as two's complement
            lab = lab ^ np.array([0, 128, 128], np.uint8)
        image = Image.frombytes("LAB", (lab.shape[1], lab.shape[0]), lab.tobytes())
        return np.asarray(_lab_transform().apply(image))


@functools.cache
def _lab_transform() -> Any:
    return ImageCms.buildTransform(
        ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB"
    )


@dataclass(frozen=True, slots=True)
class PillowLumaChroma(Color):
    """YCbCr to RGB as Pillow converts samples that are stored as they are."""

    samples: int = field(default=3, init=False)
    stored: np.dtype[np.generic] = field(default_factory=lambda: np.dtype(np.uint8), init=False)

    def __call__(self, samples: NDArray[Any]) -> NDArray[Any]:
        """Convert a block of pixels."""
        if samples.size == 0:
            return samples
        return np.asarray(Image.fromarray(np.ascontiguousarray(samples), "YCbCr").convert("RGB"))


@dataclass(frozen=True, slots=True, eq=False)
class LumaChroma(Color):
    """YCbCr samples, one of each for every pixel, to RGB, by the integer tables of the TIFF specification.

    Parameters
    ----------
    luma : tuple of float
        The weights of red, green and blue (tag YCbCrCoefficients).
    reference : tuple of float
        Black and white of Y, Cb and Cr (tag ReferenceBlackWhite).
    samples : int
        At least 3; further ones are dropped.

    Notes
    -----
    Values are rounded as libtiff rounds them, in 16-bit fixed point, so that both give equal pixels.
    """

    luma: tuple[float, float, float] = (0.299, 0.587, 0.114)
    reference: tuple[float, float, float, float, float, float] = (0, 255, 128, 255, 128, 255)
    samples: int = 3
    bands: int = field(default=3, init=False)
    stored: np.dtype[np.generic] = field(default_factory=lambda: np.dtype(np.uint8), init=False)

    def __call__(self, samples: NDArray[Any]) -> NDArray[Any]:
        """Convert a block of pixels."""
        y_table, red_cr, green_cr, green_cb, blue_cb = self._tables()
        y = y_table[samples[..., 0]]
        cb, cr = samples[..., 1], samples[..., 2]
        rgb = np.empty((*samples.shape[:2], 3), np.int32)
        rgb[..., 0] = y + red_cr[cr]
        rgb[..., 1] = y + ((green_cb[cb] + green_cr[cr]) >> 16)
        rgb[..., 2] = y + blue_cb[cb]
        return np.clip(rgb, 0, 255).astype(np.uint8)

    def _tables(self) -> tuple[NDArray[np.int32], ...]:
        red, green, blue = self.luma
        codes = np.arange(256)

        def scaled(black: float, white: float, span: float) -> NDArray[np.float64]:
            return np.asarray((codes - black) * span / (white - black if white != black else 1), np.float64)

        def fixed(value: float) -> int:
            return int(value * 65536 + 0.5)

        black, white, cb_black, cb_white, cr_black, cr_white = self.reference
        # Chroma is counted from its middle and clipped to what two bytes of headroom can hold.
        limit = 128 * 32
        cb = np.clip(scaled(cb_black, cb_white, 127), -limit, limit).astype(np.int64)
        cr = np.clip(scaled(cr_black, cr_white, 127), -limit, limit).astype(np.int64)
        y = np.clip(scaled(black, white, 255), -limit, limit).astype(np.int64)
        from_cr = 2 - 2 * red
        from_cb = 2 - 2 * blue
        half = 1 << 15
        red_cr = (fixed(from_cr) * cr + half) >> 16
        blue_cb = (fixed(from_cb) * cb + half) >> 16
        green_cr = -fixed(red * from_cr / green) * cr
        green_cb = -fixed(blue * from_cb / green) * cb + half
        return tuple(table.astype(np.int32) for table in (y, red_cr, green_cr, green_cb, blue_cb))
