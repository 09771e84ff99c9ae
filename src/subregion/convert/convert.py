"""From an open source to a file that is fast to read, and a check that both hold the same pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from subregion.convert.cog import CogConfig, write_cog
from subregion.convert.jpeg import keep_jpeg, write_jpeg
from subregion.convert.jpegencode import check_encodable
from subregion.convert.npy import write_npy
from subregion.convert.tiff_tags import FieldType, Tag
from subregion.convert.zarr import ZarrConfig, write_zarr
from subregion.errors import DamagedFileError
from subregion.formats.open import open_raster
from subregion.geometry.window import Window
from subregion.io.threads import processors

if TYPE_CHECKING:
    from subregion.formats.raster import Raster

#: Is told how many rows are done, and how many there are.
Progress = Callable[[int, int], object]

#: File suffix of each kind of entry.
SUFFIXES = {"npy": ".npy", "cog": ".tif", "zarr": ".zarr", "jpeg": ".jpg"}
#: About how many bytes are decoded at a time; libvips holds several times as many.
STRIP_BYTES = 4 << 20


def convert(
    source: Raster,
    path: str,
    kind: str,
    options: Mapping[str, Any],
    *,
    threads: int | None = None,
    progress: Progress | None = None,
) -> None:
    """Write the pixels of `source` to `path` and look whether they arrived.

    Parameters
    ----------
    source : Raster
        The open image.
    path : str
        Where to write.
    kind : str
        ``"npy"``, ``"cog"``, ``"zarr"`` or ``"jpeg"``.
    options : mapping
        The options of that kind.
    threads : int or None
        Threads that decode and encode blocks; None for one per core.
    progress : callable or None
        Called with the rows that are done and those of the image, after each strip.

    Raises
    ------
    DamagedFileError
        If the source is damaged, or the written file does not give back what was written.
    OSError
        If the file cannot be written.
    """
    if kind == "jpeg" and "quality" not in options:
        keep_jpeg(source, path, options["interval"])
        if progress is not None:
            progress(source.shape[0], source.shape[0])
        return
    if kind == "jpeg":
        check_encodable(source)
    row_bytes = source.shape[1] * source.shape[2] * source.dtype.itemsize
    rows = max(16, min(256, STRIP_BYTES // row_bytes))
    strips = _Watched(source, rows, progress, threads or processors())
    image, nodata = (path, source.shape, source.dtype, strips), source.nodata
    if kind == "npy":
        write_npy(*image)
    elif kind == "zarr":
        write_zarr(*image, ZarrConfig(**options), nodata=nodata, threads=threads)
    elif kind == "jpeg":
        write_jpeg(path, source.shape, strips, options["quality"], options["interval"], threads)
    else:
        tags = [Tag(tag.code, FieldType(tag.kind), tag.count, tag.value) for tag in source.tags]
        write_cog(*image, CogConfig(**options), nodata=nodata, tags=tags, threads=threads)
    _check(path, source, strips, exact="quality" not in options)


class _Watched:
    """Passes the strips of a source on, counts rows, and keeps the first and the last one."""

    def __init__(self, source: Raster, rows: int, progress: Progress | None, threads: int) -> None:
        self._strips = source.strips(rows, threads=threads)
        self._rows = source.shape[0]
        self._progress = progress
        self.first: NDArray[Any] | None = None
        self.last: NDArray[Any] | None = None

    def __iter__(self) -> Iterator[NDArray[Any]]:
        done = 0
        for strip in self._strips:
            if self.first is None:
                self.first = strip[:1].copy()
            last = strip[-1:]
            yield strip
            self.last = last.copy()
            done += len(strip)
            if self._progress is not None:
                self._progress(done, self._rows)


def _check(path: str, source: Raster, written: _Watched, exact: bool) -> None:
    """Open the file as a reader will, and compare what is cheap to compare."""
    raster = open_raster(path)
    if raster.shape != source.shape or raster.dtype != source.dtype:
        raise DamagedFileError(
            f"{path}: the converted file holds {raster.shape} of {raster.dtype}, "
            f"the source {source.path} {source.shape} of {source.dtype}."
        )
    rows, cols, _ = source.shape
    for row, expected in ((0, written.first), (rows - 1, written.last)):
        got = raster.read(Window(row, 0, 1, cols))
        if exact and expected is not None and got.tobytes() != expected.tobytes():
            raise DamagedFileError(
                f"{path}: row {row} of the converted file is not that of the source {source.path}."
            )
