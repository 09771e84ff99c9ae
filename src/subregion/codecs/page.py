"""Rare TIFF blocks: whatever tifffile can decode, and subsampled YCbCr."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subregion.codecs.codec import BlockShape, Codec, Data
from subregion.codecs.headers import declared_size
from subregion.codecs.jpegheader import InMemory
from subregion.codecs.streams import STREAMS, inflate, with_left_over, zstd
from subregion.forks import FOREIGN
from subregion.io.limits import Declared

#: What the decoder of a block may take besides its pixels.
_MORE_BYTES = 16 << 20
#: Bytes of a sample of LERC, at most.
_LERC_BYTES = 8


@dataclass(frozen=True, slots=True)
class PageCodec(Codec):
    """Whatever tifffile can decode, one block at a time.

    Parameters
    ----------
    page : callable
        What ``tifffile.TiffPage.decode`` gave.
    shape : BlockShape
        What a block holds.
    stored : numpy.dtype
        Type of the samples.
    tables : bytes or None
        JPEG tables.
    kind : str or None
        The name of the codec in imagecodecs, if each block is a picture with a header of its own.
    """

    page: Callable[..., Any]
    shape: BlockShape
    stored: np.dtype[np.generic]
    tables: bytes | None = None
    kind: str | None = None
    exact: bool = field(default=False, init=False)
    small: bool = field(default=False, init=False)  # behind its function are all tags of a file

    def decode(self, data: Data, block: int, rows: slice | None = None) -> NDArray[Any]:
        """Decode the block."""
        if self.kind is not None:
            data = self._unwrapped(bytes(data)) if self.kind == "lerc" else bytes(data)
            check_declared(declared_size(self.kind, InMemory(data)), self.shape)
        with FOREIGN:
            samples, _, _ = self.page(data, block, jpegtables=self.tables)
        array: NDArray[Any] = samples.reshape(samples.shape[1:])  # without the axis of depth
        if array.shape[2] != self.shape.samples or not np.can_cast(array.dtype, self.stored):
            raise ValueError(
                f"it has {array.shape[2]} samples of {array.dtype} for a pixel, "
                f"not {self.shape.samples} of {self.stored}"
            )
        return array

    def _unwrapped(self, data: bytes) -> bytes:
        """Undo the compression around LERC."""
        size = with_left_over(self.shape.rows * self.shape.cols * self.shape.samples * _LERC_BYTES)
        if data.startswith(b"\x28\xb5\x2f\xfd"):
            return zstd(data, size)
        return inflate(data, size) if data[:1] == b"\x78" else data


def check_declared(declared: Declared | None, shape: BlockShape) -> None:
    """Refuse a picture that is larger than the block that it is to fill.

    Raises
    ------
    ValueError
        Saying by how much.
    """
    if declared is None:
        raise ValueError("it has no header")
    # Some are larger, of which readers take the upper left, and some get an alpha band.
    if (
        declared.height * declared.width > with_left_over(shape.rows * shape.cols)
        or declared.samples > max(shape.samples, 3) + 1
        or declared.tables > _MORE_BYTES
    ):
        raise ValueError(
            f"it declares {declared.height} rows x {declared.width} columns x {declared.samples} samples, "
            f"which is more than the block has"
        )


@dataclass(frozen=True, slots=True)
class SubsampledCodec(Codec):
    """YCbCr with chroma stored for groups of pixels, outside JPEG.

    Parameters
    ----------
    compression : str or None
        Key of `STREAMS`; None if they are not compressed.
    shape : BlockShape
        What a block holds after chroma was repeated.
    across, down : int
        How many columns and rows share one pair of chroma samples.

    Notes
    -----
    A group is stored as its luma samples row by row, then Cb, then Cr (TIFF 6.0, section 21).
    """

    compression: str | None
    shape: BlockShape
    across: int
    down: int
    exact: bool = field(default=False, init=False)

    def decode(self, data: Data, block: int, rows: slice | None = None) -> NDArray[Any]:
        """Return Y, Cb and Cr for each pixel."""
        lines, cols, _ = self.shape.of(block)
        high, wide = -(-lines // self.down), -(-cols // self.across)
        group = self.across * self.down + 2
        size = high * wide * group
        full = -(-self.shape.rows // self.down) * wide * group
        raw = data if self.compression is None else STREAMS[self.compression](data, full)
        if len(raw) < size:
            raise ValueError(f"a block holds {len(raw)} of {size} bytes")
        groups = np.frombuffer(raw, np.uint8, count=size).reshape(high, wide, group)
        pixels = np.empty((high, self.down, wide, self.across, 3), np.uint8)
        luma = groups[..., :-2].reshape(high, wide, self.down, self.across)
        pixels[..., 0] = luma.transpose(0, 2, 1, 3)
        pixels[..., 1] = groups[:, None, :, None, -2]
        pixels[..., 2] = groups[:, None, :, None, -1]
        return pixels.reshape(high * self.down, wide * self.across, 3)[:lines, :cols]
