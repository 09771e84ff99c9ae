"""From the bytes of a zarr chunk to its samples."""

from __future__ import annotations

import bz2
import functools
import lzma
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from subregion.errors import UnsupportedFormatError
from subregion.libraries import google_crc32c, imagecodecs
from subregion.raster import blosc
from subregion.raster.codecs import (
    STREAMS,
    BlockRead,
    BlockReader,
    Fetch,
    RunReader,
    zstd_of_thread,
    zstd_run,
)
from subregion.raster.scratch import scratch

if TYPE_CHECKING:
    from subregion.raster.zarr_metadata import ArraySpec, CodecSpec

Data: TypeAlias = "bytes | memoryview"
#: Bytes, and how many may come out at most.
Stage: TypeAlias = Callable[[Any, int], Any]

#: CRC-32C of any bytes followed by their own CRC-32C, little-endian (the residue of the polynomial).
_CRC32C_RESIDUE = 0x48674BC7
#: Blocks of at most so many bytes together are decoded into the buffer of the thread.
_BUFFER_NBYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class ChunkCodec:
    """The samples of one encoded block, in any order of axes, behind any number of compressors.

    Parameters
    ----------
    stages : tuple of callable
        From stored bytes to samples, in the order of decoding.
    stored : numpy.dtype
        Type of the samples, with its byte order.
    shape, strides : tuple of int
        Rows, columns and samples of a block, and how many bytes apart they lie in it.
    nbytes : int
        Of a decoded block: more than `shape` says, if the block is deeper than a picture.
    checked : bytearray
        For each block of the grid, whether its checksum was found right since the file was opened.
    """

    stages: tuple[Stage, ...]
    stored: np.dtype[np.generic]
    shape: tuple[int, int, int]
    strides: tuple[int, int, int]
    nbytes: int
    checked: bytearray = field(default_factory=bytearray, repr=False)
    exact: bool = field(default=True, init=False)

    @property
    def mapped(self) -> bool:
        """Whether the samples are looked at where they lie."""
        return not self.stages

    def direct(self, fetch: Fetch) -> BlockReader | None:
        """Return the shortest way from the file to samples, for the codecs that are used most.

        Its arrays share one buffer of the thread, which each block overwrites. That it stays in the
        processor's cache saves a tenth of the time of a window, and so do the calls that are left out.
        """
        if self.stages == (_zstd,):
            return self._from_zstd(fetch)
        if self.stages in ((_blosc,), (crc32c, _blosc)) and self.nbytes <= _BUFFER_NBYTES:
            return self._from_blosc(fetch)
        return None

    def _from_zstd(self, fetch: Fetch) -> BlockReader:
        decompress, array = zstd_of_thread(), np.ndarray
        shape, stored, strides, size = self.shape, self.stored, self.strides, self.nbytes

        def block(offset: int, nbytes: int, number: int, rows: slice | None) -> NDArray[np.generic]:
            data: Any = fetch(offset, nbytes)
            return array(shape, stored, decompress(data, size), 0, strides)

        return block

    def _from_blosc(self, fetch: Fetch) -> BlockReader:
        """Checksums tell what the disk did to a block: they are looked at when it is first read."""
        checked = self.checked if len(self.stages) == 2 else None
        size = self.nbytes
        target = scratch(size)
        samples = np.ndarray(self.shape, self.stored, target, 0, self.strides)
        row = self.strides[0] if self.strides[0] * self.shape[0] == size else 0

        def block(offset: int, nbytes: int, number: int, rows: slice | None) -> NDArray[np.generic]:
            if checked is not None:
                if not checked[number]:
                    check(bytes(fetch(offset, nbytes)))
                    checked[number] = 1
                nbytes -= 4
            data = fetch(offset, nbytes)
            if rows is None or not row:
                blosc.decode(data, size, target)
            else:
                blosc.decode_range(data, size, target, rows.start * row, rows.stop * row)
            return samples

        return block

    def run(self, fetch: Fetch) -> RunReader | None:
        """Return what decodes several blocks in one call: those of some microseconds, if they are plain.

        Two threads that decode blocks of 20 microseconds one by one take longer than one; see `zstd_run`.
        """
        if self.stages == (_zstd,):
            return zstd_run(fetch, self.shape, self.stored, self.strides, self.nbytes)
        row = self.strides[0]
        if self.stages not in ((_blosc,), (crc32c, _blosc)) or row * self.shape[0] != self.nbytes:
            return None
        checked = self.checked if len(self.stages) == 2 else None
        size, shape, strides, stored = self.nbytes, self.shape, self.strides, self.stored
        left_out = 0 if checked is None else 4

        def blocks(wanted: Sequence[BlockRead]) -> list[NDArray[np.generic]] | None:
            needed = (len(wanted) + 1) * size
            if needed > _BUFFER_NBYTES:
                return None
            frames: list[blosc.Range] = []
            for offset, nbytes, number, rows in wanted:
                if checked is not None and not checked[number]:
                    check(bytes(fetch(offset, nbytes)))
                    checked[number] = 1
                first, last = (0, size) if rows is None else (rows.start * row, rows.stop * row)
                frames.append((fetch(offset, nbytes - left_out), first, last))
            target = scratch(needed)
            places = blosc.decode_ranges(frames, size, target)
            if places is None:
                return None
            return [np.ndarray(shape, stored, target, place, strides) for place in places]

        return blocks

    def __call__(self, data: Data, block: int) -> NDArray[np.generic]:
        """Decode a block."""
        for left, stage in zip(range(len(self.stages) - 1, -1, -1), self.stages, strict=True):
            # Between two stages there may be more bytes than samples: differences may be of a wider type.
            data = stage(data, self.nbytes if left == 0 else 8 * self.nbytes + 4096)
        if len(data) < self.nbytes:
            raise ValueError(f"a block holds {len(data)} of {self.nbytes} bytes")
        return np.ndarray(self.shape, self.stored, data, 0, self.strides)


def chunk_codec(spec: ArraySpec, row: int, col: int, band: int | None, count: int) -> ChunkCodec:
    """Return what decodes the `count` blocks of an array whose axes of rows, columns and bands are these.

    Raises
    ------
    UnsupportedFormatError
        Naming the codec that cannot be read, and those that can.
    """
    encoded = [spec.blocks[axis] for axis in spec.order]
    apart = [0] * len(encoded)
    step = spec.dtype.itemsize
    for place in reversed(range(len(encoded))):
        apart[spec.order[place]] = step
        step *= encoded[place]
    samples = 1 if band is None else min(spec.blocks[band], spec.shape[band])
    shape = (spec.blocks[row], spec.blocks[col], samples)
    strides = (apart[row], apart[col], spec.dtype.itemsize if band is None else apart[band])
    stored = np.dtype(np.uint8) if spec.dtype.kind == "b" else spec.dtype
    stages = tuple(_stage(spec, codec) for codec in reversed(spec.codecs))
    return ChunkCodec(stages, stored, shape, strides, step, bytearray(count))


def _stage(spec: ArraySpec, codec: CodecSpec) -> Stage:
    name = codec.name.removeprefix("numcodecs.").removeprefix("https://codec.zarrs.dev/")
    if name in _STAGES:
        return _STAGES[name]
    if name == "lzma":
        return functools.partial(
            _lzma, form=int(codec.configuration.get("format", 1)), filters=codec.configuration.get("filters")
        )
    if name == "delta":
        return functools.partial(_delta, configuration=dict(codec.configuration), dtype=spec.dtype)
    if name == "shuffle":
        return functools.partial(_shuffle, samples=int(codec.configuration.get("elementsize", 4)))
    readable = ", ".join(sorted([*_STAGES, "lzma", "delta", "shuffle"]))
    raise UnsupportedFormatError(
        f"{spec.path}: the zarr codec {codec.name!r} cannot be read here; {readable} can."
    )


def _blosc(data: Data, size: int) -> Any:
    nbytes = blosc.check_frame(data, size)
    return imagecodecs.blosc_decode(data, numthreads=1, out=nbytes)  # type: ignore[arg-type]  # takes any buffer


def _zstd(data: Data, size: int) -> bytes:
    return STREAMS["ZSTD"](data, size)  # type: ignore[arg-type]  # takes any buffer


def _gzip(data: Data, size: int) -> bytes:
    return zlib.decompressobj(31).decompress(data, size)


def _zlib(data: Data, size: int) -> bytes:
    return zlib.decompressobj().decompress(data, size)


def _bz2(data: Data, size: int) -> bytes:
    return bz2.BZ2Decompressor().decompress(data, size)


def _lzma(data: Data, size: int, form: int, filters: Any) -> bytes:
    # Only raw streams are described from outside; the others describe themselves.
    chain = filters if form == lzma.FORMAT_RAW else None
    return lzma.LZMADecompressor(form, filters=chain).decompress(data, size)


def _lz4(data: Data, size: int) -> Any:
    nbytes = int.from_bytes(data[:4], "little")
    if nbytes > size:
        raise ValueError(f"it announces {nbytes} bytes")
    return imagecodecs.lz4_decode(memoryview(data)[4:], out=nbytes)  # type: ignore[arg-type]  # takes any buffer


def _delta(data: Data, size: int, configuration: dict[str, Any], dtype: np.dtype[np.generic]) -> Any:
    whole = _numbers(configuration.get("dtype"), dtype)
    differences = np.frombuffer(data, _numbers(configuration.get("astype"), whole))
    return np.cumsum(differences, dtype=whole.newbyteorder("=")).astype(whole).tobytes()


def _numbers(name: Any, default: np.dtype[np.generic]) -> np.dtype[np.generic]:
    dtype = default if name is None else np.dtype(str(name))
    if dtype.kind not in "iuf":
        raise ValueError(f"differences of {dtype}")
    return dtype


def _shuffle(data: Data, size: int, samples: int) -> Data:
    """Put the first, second, ... bytes of all samples, which lie together, back to their samples."""
    return np.frombuffer(data, np.uint8).reshape(samples, -1).T.tobytes()


def crc32c(data: Data, size: int) -> memoryview:
    """Check the CRC-32C that follows the bytes, and take it off."""
    check(bytes(data))
    return memoryview(data)[:-4]


def check(data: bytes) -> None:
    """Refuse bytes that are not followed by their CRC-32C."""
    if google_crc32c.value(data) != _CRC32C_RESIDUE:
        raise ValueError("its checksum is wrong")


#: Name of a codec in version 2 or 3 -> what undoes it.
_STAGES: dict[str, Stage] = {
    "blosc": _blosc,
    "zstd": _zstd,
    "gzip": _gzip,
    "zlib": _zlib,
    "bz2": _bz2,
    "lz4": _lz4,
    "crc32c": crc32c,
}
