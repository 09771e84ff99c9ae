"""An open image, whatever its format: its resolutions, and what the file says of itself."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from subregion.blocks.execute import FailedReadError, decode_block, execute, read_once
from subregion.blocks.level import Level, WindowRead, unplaced
from subregion.codecs.color import Lookup
from subregion.errors import DamagedFileError
from subregion.forks import computed_once
from subregion.formats.bands import Band
from subregion.formats.grid import GridLevel
from subregion.geometry.placement import Levels
from subregion.geometry.window import Window
from subregion.io import limits
from subregion.io.source import SourceFile

if TYPE_CHECKING:
    from subregion.codecs.color import Palette
    from subregion.geo.geotags import FileTag
    from subregion.io.descriptors import State
    from subregion.io.source import ByteSource


_IDENTITY = Affine.identity()


def _none(full: Level) -> Iterable[Level]:
    return ()


def _no_bands() -> None:
    return None


def _nothing(full: Level) -> str:
    return ""


#: About how many bytes the objects take that a raster is made of, beside its levels.
_RASTER_NBYTES = 2000
#: The same of a band and its name, which many have.
_BAND_NBYTES = 200


@dataclass(frozen=True, eq=False)
class Raster:
    """An open image of one resolution or more.

    Safe to use from any number of threads at once. It closes its file when the last holder drops it.

    Parameters
    ----------
    path : str
        The file.
    driver : str
        Format, such as ``"TIFF"``.
    layout : str
        How the pixels lie in the file, in words.
    full : Level
        The full resolution.
    find_overviews : callable
        Returns the smaller resolutions of a full one, from large to small, which are looked for when first
        asked.
    nodata : float or None
        The file's own tag for "no pixel here".
    tags : tuple of FileTag
        What a converted file takes along.
    watched : tuple or None
        The file whose change means that the image changed, and what it looked like when it was opened; None
        if that is `path`.
    sums : tuple of ndarray of uint32
        For each level the CRC-32C of its blocks, compared when a block is first read; an empty one for a
        level that has none.
    lease : object
        Dropped together with it: the right to read a copy that others would remove.
    palette : Palette or None
        What its samples stand for, if they are indices.
    indexed : callable or None
        Returns the same image as indices, if it is one of colours that a palette gives.
    picked : bool
        Whether pixels of its overviews are those that nearest takes of the full resolution.
    from_full : affine.Affine
        From pixels of the full resolution of the file to those of this image, which is a smaller one.
    orientation : int
        How it was turned, by the number of the EXIF tag; 1 if it is as it is stored.
    reversed : tuple of bool
        Whether rows and columns, as they are shown, run against those that are stored.
    find_bands : callable
        Returns what the file says of its bands, looked up when first asked; None if it says nothing.
    find_left_out : callable
        Returns what of the file is not in the image and how to choose it, in words; empty for nothing. It is
        given the full resolution.
    index_nbytes : int or None
        If nothing but its levels holds the file, so that all else may be kept when that is closed: about how
        many bytes of memory that takes; otherwise None.

    Attributes
    ----------
    shape : tuple of int
        Rows, columns and bands of the full resolution.
    dtype : numpy.dtype
        Type of the bands.

    Raises
    ------
    DamagedFileError
        If there are more blocks in a level, or fewer, than checksums.
    """

    path: str
    driver: str
    layout: str
    full: Level
    find_overviews: Callable[[Level], Iterable[Level]] = _none
    nodata: float | None = None
    tags: tuple[FileTag, ...] = ()
    watched: tuple[str, State] | None = None
    sums: tuple[NDArray[np.uint32], ...] = ()
    lease: object = None
    palette: Palette | None = None
    indexed: Callable[[], Raster] | None = None
    picked: bool = False
    from_full: Affine = _IDENTITY
    orientation: int = 1
    reversed: tuple[bool, bool] = (False, False)
    find_bands: Callable[[], Sequence[Band] | None] = _no_bands
    find_left_out: Callable[[Level], str] = _nothing
    index_nbytes: int | None = None
    shape: tuple[int, int, int] = field(init=False)
    dtype: np.dtype[np.generic] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "full", self._compared(self.full, 0))
        # Asked for at every read, so they are no properties.
        object.__setattr__(self, "shape", self.full.shape)
        object.__setattr__(self, "dtype", self.full.dtype)

    @property
    def file(self) -> ByteSource:
        """The file of the full resolution."""
        return self.full.file

    @property
    def block(self) -> tuple[int, int]:
        """Rows and columns that are decoded together."""
        return self.full.block

    @property
    def windowed(self) -> bool:
        """Whether a window costs what the window costs; False if it costs the image, or what is above it."""
        return self.full.windowed

    @property
    def mapped(self) -> bool:
        """Whether the samples are uncompressed, so that only those of the window are touched."""
        return self.full.mapped

    @property
    def nbytes(self) -> int:
        """Bytes of the file."""
        try:
            return os.path.getsize(self.path)
        except OSError:
            return 0

    @computed_once
    def levels(self) -> tuple[Level, ...]:
        """Return the full resolution and its overviews."""
        smaller = enumerate(self.find_overviews(self.full), 1)
        return self.full, *(self._compared(level, number) for number, level in smaller)

    @computed_once
    def level_shapes(self) -> tuple[tuple[int, int], ...]:
        """Rows and columns of each resolution, the full one first."""
        return tuple(level.shape[:2] for level in self.levels)

    @computed_once
    def placed_levels(self) -> Levels:
        """How the resolutions lie on each other."""
        resized = any(level.resized for level in self.levels[1:])
        return Levels(self.level_shapes, resized, self.reversed)

    @computed_once
    def channel_names(self) -> tuple[str, ...] | None:
        """Names that the file gives its bands; None if not each has one of its own."""
        names = tuple(band.name for band in self.bands)
        return names if all(names) and len(set(names)) == len(names) else None

    @computed_once
    def bands(self) -> tuple[Band, ...]:
        """Return what the file says of each of its bands."""
        found = self.find_bands()
        return (Band(),) * self.shape[2] if found is None or len(found) != self.shape[2] else tuple(found)

    @computed_once
    def left_out(self) -> str:
        """Words for what of the file is not in the image, and how to choose it; empty for nothing."""
        return self.find_left_out(self.full)

    @computed_once
    def memmap(self) -> NDArray[Any]:
        """All of a ``.npy`` file as a read-only `numpy.memmap`: one serves all who ask for it."""
        mapped: NDArray[Any] = np.load(self.path, mmap_mode="r", allow_pickle=False)
        return mapped

    def level(self, number: int) -> Level:
        """Return one resolution; the overviews are not looked for if it is the full one."""
        return self.full if number == 0 else self.levels[number]

    def colored(self) -> Raster:
        """Return the colours of an image of indices.

        Raises
        ------
        ValueError
            If it has no palette, or its levels are no grids of blocks.
        """
        palette = self.palette
        if palette is None:
            raise ValueError("there is no palette")

        def colored(level: Level) -> GridLevel:
            if not isinstance(level, GridLevel):
                raise ValueError("only grids of blocks are coloured")
            lookup = Lookup(palette.colors, level.dtype)
            shape = *level.shape[:2], lookup.bands
            return replace(level, color=lookup, shape=shape, dtype=lookup.dtype)

        return replace(
            self,
            full=colored(self.full),
            find_overviews=lambda full: [colored(level) for level in self.levels[1:]],
            palette=None,
            indexed=lambda: self,
            index_nbytes=None,
        )

    def closed(self) -> tuple[Raster, int] | None:
        """Return what was found out about it, without its file, and about how many bytes of memory it takes.

        None if it cannot be told from its file, or if another change of that would look like the one that
        was just before it was opened.
        """
        file = self.file
        if self.index_nbytes is None or not isinstance(file, SourceFile) or not file.settled:
            return None
        index = self.on(file.closed(), None)
        if index is None:
            return None
        levels = index.__dict__.get("levels", (index.full,))
        itself = _RASTER_NBYTES + _BAND_NBYTES * self.shape[2] + self.index_nbytes
        return index, itself + sum(level.index_nbytes for level in levels)

    def on(self, file: ByteSource, lease: object) -> Raster | None:
        """Return the same of the same file that was opened again, or closed; None if that cannot be.

        Parameters
        ----------
        file : ByteSource
            The same bytes as those of `file`.
        lease : object
            The right to read it.
        """
        full = self.full.on(file)
        if full is None:
            return None
        moved = object.__new__(Raster)
        known = moved.__dict__
        known.update(self.__dict__)  # nothing is computed again, neither what was looked up since
        known["full"], known["lease"] = full, lease
        for name in ("memmap", "as_indices"):
            known.pop(name, None)
        if "levels" in known:
            smaller = [level.on(file) for level in known.pop("levels")[1:]]
            if None not in smaller:
                known["levels"] = full, *smaller
        return moved

    def holds(self, level: Level) -> bool:
        """Whether a resolution that was read is one of this image."""
        if level is self.full or level in self.__dict__.get("levels", ()):
            return True
        indices = self.__dict__.get("as_indices")
        return indices is not None and indices.holds(level)

    @computed_once
    def as_indices(self) -> Raster | None:
        """Return the same image as indices of its palette; None if it has none."""
        return self if self.palette is not None else None if self.indexed is None else self.indexed()

    def _compared(self, level: Level, number: int) -> Level:
        """Return a level with the checksums of its blocks, if there are any."""
        sums = self.sums[number] if number < len(self.sums) else None
        if sums is None or not len(sums) or not isinstance(level, GridLevel):
            return level
        if len(sums) != level.offsets.size:
            raise DamagedFileError(
                f"{self.path}: level {number} has {level.offsets.size} blocks, but there are {len(sums)} "
                f"checksums of blocks."
            )
        return replace(level, sums=sums)

    def read(
        self,
        window: Window,
        bands: Sequence[int] | None = None,
        steps: tuple[int, int] = (1, 1),
        level: int = 0,
    ) -> NDArray[Any]:
        """Read a window that lies inside a level into a new array; see `WindowRead`.

        Raises
        ------
        DamagedFileError
            If the file is damaged.
        """
        rows, cols = -(-window.height // steps[0]), -(-window.width // steps[1])
        out = np.empty((rows, cols, self.shape[2] if bands is None else len(bands)), self.dtype)
        try:
            execute([WindowRead(self.level(level), window, out, bands, steps)])
        except FailedReadError as failure:
            raise failure.error from failure.error.__cause__
        return out

    def strips(self, rows: int, level: int = 0, threads: int = 1) -> Iterator[NDArray[Any]]:
        """Yield a whole resolution from top to bottom, in multiples of its block rows near `rows`.

        What is decoded in one piece is decoded once, and held until the last strip; all else takes bounded
        memory. So many threads decode what needs no interpreter.

        Raises
        ------
        DamagedFileError
            If the file is damaged.
        """
        resolution = self.level(level)
        file = resolution.file
        file.expect_rows()
        try:
            for strip in _strips(resolution, rows, threads):
                yield strip
                file.forget_pages()
        except FailedReadError as failure:
            raise failure.error from failure.error.__cause__
        finally:
            file.expect_windows()


def _strips(level: Level, rows: int, threads: int) -> Iterator[NDArray[Any]]:
    height, width, bands = level.shape
    if level.as_stored is not level and not level.windowed:
        # Its blocks are no strips of what is shown.
        limits.check_whole(level.file.path, *level.shape, level.dtype)
        pixels = np.empty(level.shape, level.dtype)
        read_once(WindowRead(level, Window(0, 0, height, width), pixels))
        yield from (pixels[row : row + rows] for row in range(0, height, rows))
        return
    if level.as_stored is not level and not level.mapped:
        rows = max(1, round(rows / level.block[0])) * level.block[0]
    elif not level.mapped:
        blocks, copies = level.plan([unplaced(level, Window(0, 0, height, width))])
        if level.ordered or (len(blocks) == 1 and blocks[0][2]):
            decode = level.decoder() if level.ordered else None
            for block, parts in zip(blocks, copies, strict=True):
                yield from _cut(level, decode_block(level, block, parts, decode)[:height, :width], rows)
            return
        rows = max(1, round(rows / level.block[0])) * level.block[0]
    for row in range(0, height, rows):
        strip = np.empty((min(rows, height - row), width, bands), level.dtype)
        read_once(WindowRead(level, Window(row, 0, *strip.shape[:2]), strip), threads)
        yield strip


def _cut(level: Level, pixels: NDArray[Any], rows: int) -> Iterator[NDArray[Any]]:
    for row in range(0, len(pixels), rows):
        strip = pixels[row : row + rows]
        yield strip if level.color is None else level.color(strip)
