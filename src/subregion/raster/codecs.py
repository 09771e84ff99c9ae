"""What turns the bytes of a block into samples.

The common codecs are called directly, because a window is some ten blocks and the time per block is
what a reader feels. Everything rare goes through the decoder that tifffile made for the page.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from subregion.forks import FOREIGN
from subregion.libraries import imagecodecs
from subregion.raster.headers import Declared, declared_size
from subregion.raster.jpegheader import InMemory
from subregion.raster.source import SourceFile
from subregion.raster.streams import (
    STREAMS,
    inflate,
    too_much,
    with_left_over,
    zstd,
    zstd_contexts,
    zstd_of_thread,
)

if TYPE_CHECKING:
    from subregion.raster.source import ByteSource

#: What the decoder of a block may take besides its pixels.
_MORE_BYTES = 16 << 20
#: Bytes of a sample of LERC, at most.
_LERC_BYTES = 8
#: Offset, bytes and number of a block, and which of its rows are wanted (None: all), to its samples. The
#: array is that of the whole block; its other rows may hold anything, where the codec can do without them.
BlockReader: TypeAlias = Callable[[int, int, int, "slice | None"], NDArray[np.generic]]

#: Offset, bytes and number of a block, and which of its rows are wanted (None: all).
BlockRead: TypeAlias = "tuple[int, int, int, slice | None]"
#: Some blocks to their samples, as from a `BlockReader`, in one call; None if they must be read one by one.
RunReader: TypeAlias = Callable[[Sequence[BlockRead]], "list[NDArray[np.generic]] | None"]

#: Offset and bytes to the bytes that are there, which may be fewer where the file ends.
Fetch: TypeAlias = "Callable[[int, int], bytes | memoryview]"


def fetcher(file: ByteSource, cold: bool) -> Fetch | None:
    """Return the shortest way to the bytes of a file; None if there is no short one.

    What has to come from the disk is read, because a map would fetch it page by page.
    """
    if not isinstance(file, SourceFile) or not hasattr(os, "pread"):
        return None
    view = None if cold else file.view()
    if view is not None:
        return lambda offset, nbytes: view[offset : offset + nbytes]
    pread, descriptor = os.pread, file.descriptor

    def fetch(offset: int, nbytes: int) -> bytes:
        data = pread(descriptor, nbytes, offset)
        return data if len(data) == nbytes else file.up_to(offset, nbytes)

    return fetch


def zstd_run(
    fetch: Fetch,
    shape: tuple[int, int, int],
    stored: np.dtype[np.generic],
    strides: tuple[int, ...],
    size: int,
) -> RunReader:
    """Return what decompresses several blocks in one call.

    Two threads that decompress one by one take 0.77 of the time of one thread, because one waits for the
    other to let go of the interpreter after each block, and for the system to wake it; in runs of eight 0.54.
    """
    decompress, array = zstd_contexts().zstd.multi_decompress_to_buffer, np.ndarray

    def blocks(wanted: Sequence[BlockRead]) -> list[NDArray[np.generic]]:
        frames: Any = [fetch(offset, nbytes) for offset, nbytes, _, _ in wanted]
        sizes: Any = np.full(len(frames), size, np.uint64)
        found: Any = decompress(frames, decompressed_sizes=sizes)
        return [array(shape, stored, found[place], 0, strides) for place in range(len(frames))]

    return blocks


@dataclass(frozen=True, slots=True)
class BlockShape:
    """How many rows, columns and samples the blocks of a grid hold.

    Parameters
    ----------
    rows, cols, samples : int
        Of a full block.
    grid_rows : int
        How many blocks the grid has from top to bottom.
    grid_cols : int
        How many it has from left to right.
    last_rows : int
        Rows that the lowest blocks must hold; those of tiled files are always full.
    """

    rows: int
    cols: int
    samples: int
    grid_rows: int
    grid_cols: int
    last_rows: int

    def of(self, block: int) -> tuple[int, int, int]:
        """Return rows, columns and samples of the block with this number."""
        if self.last_rows == self.rows or block // self.grid_cols % self.grid_rows != self.grid_rows - 1:
            return self.rows, self.cols, self.samples
        return self.last_rows, self.cols, self.samples


class Codec(ABC):
    """Turns the stored bytes of one block into its samples.

    A value: what it does follows from its fields, which can be compared, printed and pickled. It is called
    from many threads at once, and raises any exception on bytes that it cannot decode. The array that it
    returns has shape (rows, columns, samples), may be read-only, and belongs to the caller. It may have fewer
    rows than the grid's block where the image ends, never fewer than the image needs.

    Attributes
    ----------
    mapped : bool
        Whether bytes are only looked at, not decoded: then the array is a view of the mapped file.
    exact : bool
        Whether every block that it returns is as large as the grid says.
    """

    __slots__ = ()
    mapped: bool
    exact: bool

    @abstractmethod
    def __call__(self, data: bytes | memoryview, block: int) -> NDArray[np.generic]:
        """Decode the block with this number (row by row through the grid, then plane by plane)."""

    def direct(self, fetch: Fetch) -> BlockReader | None:
        """Return the shortest way from the file to samples; None if there is none but to call it."""
        return None

    def run(self, fetch: Fetch) -> RunReader | None:
        """Return what decodes several blocks in one call; None if they must be decoded one by one."""
        return None


@dataclass(frozen=True, slots=True)
class RawCodec(Codec):
    """Uncompressed samples, looked at where they lie in the mapped file."""

    shape: BlockShape
    stored: np.dtype[np.generic]
    order: str = "C"
    mapped: bool = field(default=True, init=False)
    exact: bool = field(default=True, init=False)

    def __call__(self, data: bytes | memoryview, block: int) -> NDArray[np.generic]:
        """View the block as an array."""
        shape = self.shape.of(block)
        samples = np.frombuffer(data, self.stored, count=shape[0] * shape[1] * shape[2])
        if self.order == "F":
            return samples.reshape(shape[::-1]).T
        return samples.reshape(shape)


@dataclass(frozen=True, slots=True)
class StreamCodec(Codec):
    """Samples behind a general compressor, with or without a predictor.

    Parameters
    ----------
    compression : str
        Key of `STREAMS`.
    shape : BlockShape
        What a block holds.
    stored : numpy.dtype
        Type of the samples in the file, with its byte order.
    predictor : int
        1 none, 2 horizontal differences, 3 floating point (as in TIFF).
    """

    compression: str
    shape: BlockShape
    stored: np.dtype[np.generic]
    predictor: int = 1
    mapped: bool = field(default=False, init=False)
    exact: bool = field(default=True, init=False)

    @property
    def _alike(self) -> bool:
        """Whether all blocks hold as many samples, which only have to be decompressed."""
        return self.predictor == 1 and self.shape.last_rows == self.shape.rows

    def direct(self, fetch: Fetch) -> BlockReader | None:
        """Return the shortest way from the file to samples, if all blocks are alike.

        It saves five calls for each block, a tenth of the time of a large window.
        """
        if not self._alike:
            return None
        shape, stored, array = self.shape.of(0), self.stored, np.ndarray
        size = shape[0] * shape[1] * shape[2] * stored.itemsize
        if self.compression == "ZSTD":
            most, (declared, undo) = with_left_over(size), zstd_of_thread()

            def frame(offset: int, nbytes: int, number: int, rows: slice | None) -> NDArray[np.generic]:
                data = fetch(offset, nbytes)
                if declared(data) > most:
                    raise too_much(most)
                return array(shape, stored, undo(data, size))

            return frame
        decompress = STREAMS[self.compression]

        def block(offset: int, nbytes: int, number: int, rows: slice | None) -> NDArray[np.generic]:
            return array(shape, stored, decompress(fetch(offset, nbytes), size))

        return block

    def run(self, fetch: Fetch) -> RunReader | None:
        """Return what decodes several blocks in one call, if they are ZSTD and alike."""
        if not self._alike or self.compression != "ZSTD":
            return None
        rows, cols, samples = shape = self.shape.of(0)
        pixel = samples * self.stored.itemsize
        strides = cols * pixel, pixel, self.stored.itemsize
        return zstd_run(fetch, shape, self.stored, strides, rows * cols * pixel)

    def __call__(self, data: bytes | memoryview, block: int) -> NDArray[np.generic]:
        """Decompress the block and undo the predictor."""
        shape = self.shape.of(block)
        row = shape[1] * shape[2] * self.stored.itemsize
        raw = STREAMS[self.compression](data, self.shape.rows * row)
        if len(raw) < shape[0] * row:
            raise ValueError(f"a block holds {len(raw)} of {shape[0] * row} bytes")
        samples: NDArray[np.generic] = np.ndarray(shape, self.stored, raw)
        if self.predictor == 1:
            return samples
        if self.predictor == 2:
            native = samples.astype(self.stored.newbyteorder("="), copy=True)
            return np.asarray(imagecodecs.delta_decode(native, axis=1, out=native))
        return np.asarray(imagecodecs.floatpred_decode(samples, axis=-2, dist=1))


@dataclass(frozen=True, slots=True)
class PageCodec(Codec):
    """Whatever tifffile can decode, one block at a time.

    Parameters
    ----------
    decode : callable
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

    decode: Callable[..., Any]
    shape: BlockShape
    stored: np.dtype[np.generic]
    tables: bytes | None = None
    kind: str | None = None
    mapped: bool = field(default=False, init=False)
    exact: bool = field(default=False, init=False)

    def __call__(self, data: bytes | memoryview, block: int) -> NDArray[np.generic]:
        """Decode the block."""
        if self.kind is not None:
            data = self._unwrapped(bytes(data)) if self.kind == "lerc" else bytes(data)
            check_declared(declared_size(self.kind, InMemory(data)), self.shape)
        with FOREIGN:
            samples, _, _ = self.decode(data, block, jpegtables=self.tables)
        array: NDArray[np.generic] = samples.reshape(samples.shape[1:])  # without the axis of depth
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
    mapped: bool = field(default=False, init=False)
    exact: bool = field(default=False, init=False)

    def __call__(self, data: bytes | memoryview, block: int) -> NDArray[np.generic]:
        """Return Y, Cb and Cr for each pixel."""
        rows, cols, _ = self.shape.of(block)
        high, wide = -(-rows // self.down), -(-cols // self.across)
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
        return pixels.reshape(high * self.down, wide * self.across, 3)[:rows, :cols]
