"""Checksums over every byte of an entry, kept in a file beside its data.

So an entry stays an ordinary TIFF, JPEG, zarr or npy. What stands there is compared bit by bit with what is
read: header and index when the entry is opened, each compressed block when it is first read, and everything,
in bands of a mebibyte, when all is verified.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from subregion.cache.disk import sizes_of
from subregion.convert.zarr import files_of_level, index_nbytes
from subregion.errors import DamagedFileError, SourceReadError, source_error
from subregion.formats.grid import GridLevel
from subregion.formats.jpeg.intervals import IntervalLevel
from subregion.formats.open import open_raster
from subregion.formats.raster import Raster
from subregion.io.descriptors import read_regular
from subregion.io.source import SourceFile
from subregion.libraries import google_crc32c

#: Bytes of a file that have a checksum together.
BAND = 1 << 20
#: Suffix of the file that holds the checksums, behind the name of the data.
SUFFIX = ".sums"


class Span(msgspec.Struct, frozen=True, array_like=True):
    """Bytes of one file of an entry.

    Parameters
    ----------
    file : str
        Its name inside the entry; empty if the entry is one file.
    start, stop : int
        Where they begin and end.
    crc : int
        CRC-32C of them.
    """

    file: str
    start: int
    stop: int
    crc: int

    def compare(self, file: SourceFile) -> None:
        """Compare it with what is in its file now.

        Raises
        ------
        DamagedFileError
            Naming the file and the bytes.
        SubregionError
            If they cannot be read.
        """
        if google_crc32c.value(file.read(self.start, self.stop - self.start)) != self.crc:
            raise _changed(file.path, self.start, self.stop)


class _Contents(msgspec.Struct, frozen=True):
    """What a file of checksums holds: the fields of `Checksums`, and how many numbers of each kind follow."""

    opened: tuple[Span, ...]
    described: tuple[Span, ...]
    levels: tuple[int, ...]
    bands: dict[str, int]


@dataclass(frozen=True, slots=True, eq=False)
class Checksums:
    """What the bytes of an entry must be.

    Parameters
    ----------
    opened : tuple of Span
        What is compared when the entry is opened: what readers then read.
    described : tuple of Span
        What else tells where pixels are and what they mean, and is compared when the entry is verified.
    levels : tuple of ndarray of uint32
        CRC-32C of each stored block of each resolution, the full one first. That of a level is empty if its
        blocks are not compressed, or have sums inside the file, as the intervals of a JPEG have.
    bands : mapping of str to ndarray of uint32
        For each file of the entry, by its name inside, the CRC-32C of every `BAND` bytes of it.
    """

    opened: tuple[Span, ...]
    described: tuple[Span, ...]
    levels: tuple[NDArray[np.uint32], ...]
    bands: Mapping[str, NDArray[np.uint32]]

    @classmethod
    def of(cls, data: str) -> Checksums:
        """Compute those of an entry that was just written.

        Raises
        ------
        SubregionError
            If it cannot be read back.
        """
        raster = open_raster(data)
        levels = [level for level in raster.levels if isinstance(level, GridLevel)]
        return cls(
            tuple(_span_now(data, *place) for place in _read_at_opening(raster, data)),
            tuple(_span_now(data, *place) for place in _read_later(raster, data)),
            tuple(np.zeros(0, np.uint32) if level.mapped else _block_sums(level) for level in levels),
            {
                name: np.fromiter(_band_sums(_file_of(data, name)), np.uint32)
                for name, size in sorted(sizes_of(data).items())
                if size
            },
        )

    def to_bytes(self) -> bytes:
        """Return them as they are stored: a line that says what there is, and the numbers."""
        says = _Contents(
            self.opened,
            self.described,
            tuple(len(level) for level in self.levels),
            {name: len(numbers) for name, numbers in self.bands.items()},
        )
        numbers = [each.astype("<u4").tobytes() for each in (*self.levels, *self.bands.values())]
        return b"".join([msgspec.json.encode(says), b"\n", *numbers])

    @classmethod
    def from_bytes(cls, data: bytes) -> Checksums:
        """Read them.

        Raises
        ------
        ValueError
            If they are malformed.
        """
        at = data.find(b"\n") + 1
        says = _decode(data[:at])
        levels: list[NDArray[np.uint32]] = []
        bands: dict[str, NDArray[np.uint32]] = {}
        for count in says.levels:
            levels.append(np.frombuffer(data, "<u4", count, at))
            at += 4 * count
        for name, count in says.bands.items():
            bands[name] = np.frombuffer(data, "<u4", count, at)
            at += 4 * count
        return cls(says.opened, says.described, tuple(levels), bands)

    @classmethod
    def read(cls, path: str, expected: tuple[int, int]) -> Checksums:
        """Read those that a manifest speaks of.

        Parameters
        ----------
        path : str
            The file.
        expected : tuple of int
            Bytes of it, and the CRC-32C of them.

        Raises
        ------
        DamagedFileError
            If they are others than were written.
        SubregionError
            If they cannot be read.
        """
        try:
            data = read_regular(path, expected[0] + 1)
        except OSError as error:
            raise source_error(path, error) from error
        if (len(data), google_crc32c.value(data)) != expected:
            raise DamagedFileError(f"{path}: the checksums of a copy are not as they were written.")
        try:
            return cls.from_bytes(data)
        except ValueError as error:
            raise DamagedFileError(f"{path}: holds no checksums of a copy: {error}.") from error

    def compare_opened(self, data: str, file: SourceFile | None = None) -> None:
        """Compare what is read when an entry is opened.

        Parameters
        ----------
        data : str
            The entry.
        file : SourceFile or None
            The same, if it is one file and open.

        Raises
        ------
        DamagedFileError
            If it was changed.
        SubregionError
            If it cannot be read.
        """
        for span in self.opened:
            span.compare(file if file is not None and not span.file else _file_of(data, span.file))

    def compare_described(self, data: str) -> None:
        """Compare all that tells where the pixels of an entry are, and what they mean.

        Raises
        ------
        DamagedFileError
            If it was changed.
        SubregionError
            If it cannot be read.
        """
        for span in (*self.opened, *self.described):
            span.compare(_file_of(data, span.file))

    def compare_all(self, data: str) -> Iterator[int]:
        """Compare every byte, and yield how many of a file were read each time.

        Raises
        ------
        DamagedFileError
            Naming the file and the mebibyte that was changed first.
        SubregionError
            If a file cannot be read.
        """
        for name, numbers in self.bands.items():
            file = _file_of(data, name)
            file.expect_rows()
            if -(-file.size // BAND) != len(numbers):
                raise _changed(file.path, 0, file.size)
            for number, found in enumerate(_band_sums(file)):
                start = number * BAND
                stop = min(start + BAND, file.size)
                if found != numbers[number]:
                    raise _changed(file.path, start, stop)
                yield stop - start


def _band_sums(file: SourceFile) -> Iterator[int]:
    """Yield the CRC-32C of each band of a file."""
    value = google_crc32c.value
    for start in range(0, file.size, BAND):
        yield value(file.read(start, min(BAND, file.size - start)))


def _file_of(data: str, name: str) -> SourceFile:
    """Open a file of an entry by its name inside; empty for an entry that is one file."""
    return SourceFile(os.path.join(data, name) if name else data)


def _span_now(data: str, name: str, start: int, stop: int) -> Span:
    file = _file_of(data, name)
    return Span(name, start, stop, google_crc32c.value(file.read(start, stop - start)))


def _block_sums(level: GridLevel) -> NDArray[np.uint32]:
    """Compute the CRC-32C of each block of a level; 0 for those that were never written."""
    planes, rows, cols = level.offsets.shape
    numbers = np.zeros((planes, rows, cols), np.uint32)
    for plane in range(planes):
        for row in range(rows):
            (offsets,), (sizes,) = level.places(plane, [row], range(cols))
            numbers[plane, row] = [
                google_crc32c.value(level.file.read(offset, nbytes)) if nbytes else 0
                for offset, nbytes in zip(offsets, sizes, strict=True)
            ]
    return numbers.ravel()


def _read_at_opening(raster: Raster, data: str) -> list[tuple[str, int, int]]:
    """List which bytes tell where blocks are and what they mean: name of the file, first and last."""
    if raster.driver == "ZARR":
        # It holds the metadata of all arrays. The index of each shard has a checksum of its own.
        name = "zarr.json"
        return [(name, 0, os.path.getsize(os.path.join(data, name)))]
    if isinstance(raster.full, IntervalLevel):
        return [("", start, stop) for start, stop in raster.full.head_and_index]
    size = os.path.getsize(data)
    begins = [_first_block(level, size) for level in raster.levels if isinstance(level, GridLevel)]
    if not begins:
        raise SourceReadError(f"{data}: is no copy that can be read by blocks.")
    return [("", 0, min(begins))]


def _first_block(level: GridLevel, size: int) -> int:
    return int(level.offsets[level.nbytes > 0].min(initial=size))


def _read_later(raster: Raster, data: str) -> list[tuple[str, int, int]]:
    """List the same of what is read later, or by others."""
    if raster.driver != "ZARR":
        return []
    found = []
    for number, level in enumerate(raster.levels):
        if not isinstance(level, GridLevel):
            continue
        (metadata, shard), size = files_of_level(number), index_nbytes(level.offsets.size)
        end = os.path.getsize(os.path.join(data, shard))
        found += [(metadata, 0, os.path.getsize(os.path.join(data, metadata))), (shard, end - size, end)]
    return found


_decode = msgspec.json.Decoder(_Contents).decode


def _changed(path: str, start: int, stop: int) -> DamagedFileError:
    return DamagedFileError(
        f"{path}: bytes {start} to {stop} are not as they were written: their checksum is another."
    )
