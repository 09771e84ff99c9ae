"""A JPEG with restart intervals and an index of them: from a JPEG without any loss, or from pixels."""

from __future__ import annotations

import functools
import io
import math
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from subregion.codecs.jpegstream import JpegFrame, JpegStream, read_frame, read_stream
from subregion.convert.huffman import HuffmanTable
from subregion.convert.jpegcheck import CopyCheck
from subregion.convert.jpegencode import encoded
from subregion.convert.jpegrecode import recoded, tables_of
from subregion.convert.jpegwrite import write_indexed
from subregion.convert.strips import removed_on_error
from subregion.errors import DamagedFileError, UnsupportedFormatError
from subregion.forks import FOREIGN
from subregion.formats.jpeg.index import SCAN_BYTES, IntervalScan
from subregion.formats.jpeg.intervals import IntervalLevel, open_intervals
from subregion.io.source import SourceFile
from subregion.libraries import Image
from subregion.notices import warn_caller

if TYPE_CHECKING:
    from subregion.formats.raster import Raster

#: About how wide an interval should be, in pixels: shorter ones cost bytes, longer ones needless decoding.
INTERVAL_PIXELS = 64
#: Beyond this width an interval is worse than the bytes that shorter ones cost.
_WIDEST_PIXELS = 256
#: What an interval costs in bytes, marker, index and filling up included, and by how much files may grow.
_INTERVAL_BYTES, _GROWTH = 8.5, 0.12
#: Where intervals make a file grow by less, standard Huffman tables stay, which is done in half the time.
_SPARED = 0.07
#: Bytes of what jpegtran writes that are taken at a time.
PIPE_BYTES = 256 << 10
#: jpegtran holds all coefficients in memory; where they are more, it is not asked.
JPEGTRAN_BYTES = 256 << 20


def kept_frame(source: Raster) -> JpegFrame | None:
    """Return the frame of a source whose coefficients can be kept as they are; None if it is no such JPEG."""
    if source.driver != "JPEG" or source.dtype != np.uint8:
        return None
    return read_frame(SourceFile(source.path))


def can_keep(source: Raster, warn: bool = True) -> bool:
    """Whether a JPEG can be given restart intervals here, without any loss.

    Parameters
    ----------
    source : Raster
        An open image.
    warn : bool
        Whether to warn, once in a process, if only a missing program stands in the way.
    """
    frame = kept_frame(source)
    if frame is None:
        return False
    if (
        _ready(SourceFile(source.path))
        or _recodable(source.path)
        or (_fits(frame) and jpegtran() is not None)
    ):
        return True
    if _fits(frame) and warn:
        _warn_once()
    return False


def jpegtran() -> str | None:
    """Return the path of the program jpegtran, if it is there."""
    return shutil.which("jpegtran")


@functools.cache
def _warn_once() -> None:
    warn_caller(
        "Progressive, arithmetic-coded and some other JPEGs are kept as JPEG only with the help of the "
        "program jpegtran, which is not on PATH; they are stored in a lossless form that is several times "
        "larger. Install libjpeg-turbo-progs (Debian, Ubuntu), libjpeg-turbo-utils (Fedora) or jpeg-turbo "
        "(Homebrew)."
    )


def _fits(frame: JpegFrame) -> bool:
    return frame.units[0] * frame.units[1] * frame.blocks * 128 <= JPEGTRAN_BYTES


def _ready(file: SourceFile) -> JpegStream | None:
    """Return the head of a JPEG that has intervals as they should be already."""
    raster = open_intervals(file)
    if raster is None or not isinstance(raster.full, IntervalLevel) or raster.block[1] > _WIDEST_PIXELS:
        return None
    return raster.full.stream


def _recodable(path: str) -> bool:
    stream = read_stream(SourceFile(path))
    return stream is not None and stream.restart == 0


def choose_interval(frame: JpegFrame, nbytes: int, wanted: int | str = "auto") -> int:
    """Choose how many units make an interval.

    Parameters
    ----------
    frame : JpegFrame
        Of the image.
    nbytes : int
        Of its coded pixels, about.
    wanted : int or str
        ``"auto"``, or the most that an interval may have.

    Returns
    -------
    int
        A divisor of the units in a row, so that intervals line up from row to row.
    """
    unit_cols, wide = frame.units[1], frame.unit[1]
    divisors = [count for count in range(1, unit_cols + 1) if unit_cols % count == 0]
    if wanted != "auto":
        return max(count for count in divisors if count <= int(wanted))
    usable = [count for count in divisors if count * wide <= _WIDEST_PIXELS]

    small = [count for count in usable if _growth(frame, nbytes, count) <= _GROWTH] or usable[-1:]
    return min(small, key=lambda count: abs(math.log(count * wide / INTERVAL_PIXELS)))


def _growth(frame: JpegFrame, nbytes: int, count: int) -> float:
    """Return by what part of its bytes a file grows through intervals of so many units."""
    unit_rows, unit_cols = frame.units
    return unit_rows * unit_cols / count * _INTERVAL_BYTES / max(1, nbytes)


def keep_jpeg(source: Raster, path: str, interval: int | str = "auto") -> None:
    """Write a JPEG source with restart intervals and an index, with every coefficient as it was.

    Colour profiles, EXIF data, comments and thumbnails are left out; nothing of them was ever applied.

    Parameters
    ----------
    source : Raster
        A JPEG file that is open.
    path : str
        Where to write.
    interval : int or str
        As for `choose_interval`.

    Raises
    ------
    DamagedFileError
        If the source is damaged, or if what was written does not decode to the same pixels.
    UnsupportedFormatError
        If nothing here can do it.
    """
    file = SourceFile(source.path)
    frame = read_frame(file)
    if frame is None:
        raise UnsupportedFormatError(f"{source.path}: is no JPEG of 8-bit samples.")
    units = choose_interval(frame, file.size, interval)
    with removed_on_error(path), ThreadPoolExecutor(2, "subregion-check") as aside:
        check = CopyCheck(source.path, frame, aside)
        write_indexed(path, _with_intervals(file, frame, units), check.watch)
        raster = open_intervals(SourceFile(path))
        if raster is None or raster.shape != source.full.as_stored.shape:
            raise DamagedFileError(f"{path}: is not the JPEG with restart intervals that it should be.")
        check.finish(raster)


def _with_intervals(file: SourceFile, frame: JpegFrame, units: int) -> Iterator[bytes]:
    ready = _ready(file)
    if ready is not None and ready.restart <= units:
        return _copied(file, ready)
    program = jpegtran()
    stream = read_stream(file)
    if program is not None and _fits(frame):
        # Making the best tables for an image takes as long as all the rest.
        spared = _has_standard_tables(stream) and _growth(frame, file.size, units) <= _SPARED
        return _transcoded(program, file.path, units, optimize=not spared)
    if stream is not None and stream.restart == 0:
        return recoded(file, stream, units)
    if ready is not None:
        return _copied(file, ready)
    if _fits(frame):
        raise UnsupportedFormatError(
            f"{file.path}: only the program jpegtran can give this kind of JPEG restart intervals, and it is "
            f"not on PATH. Install libjpeg-turbo-progs (Debian, Ubuntu), or use the backend 'auto' or 'cog'."
        )
    raise UnsupportedFormatError(
        f"{file.path}: its coefficients take more than {JPEGTRAN_BYTES >> 20} MB, and must all be held to "
        f"give this kind of JPEG restart intervals. Use the backend 'auto' or 'cog'."
    )


def _has_standard_tables(stream: JpegStream | None) -> bool:
    """Whether the Huffman tables of a JPEG are those that jpegtran writes, too, if it makes none."""
    return stream is not None and set(tables_of(stream.head).values()) <= _standard_tables()


@functools.cache
def _standard_tables() -> frozenset[HuffmanTable]:
    """Return the tables of the standard (annex K), which encoders take that do not look at an image first."""
    written = io.BytesIO()
    Image.new("RGB", (8, 8)).save(written, "JPEG")
    content = written.getvalue()
    return frozenset(tables_of(content[: content.index(b"\xff\xda")]).values())


def _copied(file: SourceFile, stream: JpegStream) -> Iterator[bytes]:
    """Yield a JPEG as it is, without what is not needed to decode it."""
    yield stream.head
    scan = IntervalScan(stream.data)
    for offset in range(stream.data, file.size, SCAN_BYTES):
        piece = file.read(offset, min(SCAN_BYTES, file.size - offset))
        scan.feed(piece)
        yield piece if scan.stop is None else piece[: scan.stop - offset]
        if scan.done:
            return


def _transcoded(program: str, path: str, units: int, optimize: bool) -> Iterator[bytes]:
    """Yield what jpegtran makes of a file, with Huffman tables that are the best for it, or standard ones."""
    command = [program, "-restart", f"{units}B", "-copy", "none", os.path.abspath(path)]
    if optimize:
        command.insert(1, "-optimize")
    with tempfile.TemporaryFile() as said:
        try:
            with FOREIGN:  # a child that is forked now would hold the pipes open, and they would never end
                running = subprocess.Popen(  # noqa: S603
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=said,
                    pipesize=2 * PIPE_BYTES,
                )
        except OSError as error:
            raise UnsupportedFormatError(f"{path}: jpegtran cannot be run: {error}.") from error
        with running:
            assert running.stdout is not None  # noqa: S101
            try:
                # Not buffered: what is the last of it can be checked while the program cleans up.
                while piece := os.read(running.stdout.fileno(), PIPE_BYTES):
                    yield piece
                code = running.wait()
            finally:
                running.kill()  # nobody wants the rest
        said.seek(0)
        lines = said.read(1 << 16).splitlines()
    if code not in (0, 2):  # 2: with warnings; whether they are harmless, decoding will tell
        text = b" ".join(lines).decode("utf-8", "replace") or f"exit status {code}"
        raise DamagedFileError(
            f"{path}: cannot be given restart intervals: jpegtran says: {text}. "
            f"Use the backend 'auto' or 'cog'."
        )


def write_jpeg(
    path: str,
    shape: tuple[int, int, int],
    strips: Iterable[NDArray[Any]],
    quality: int,
    interval: int | str = "auto",
    threads: int | None = None,
) -> None:
    """Write pixels as a JPEG with restart intervals and an index, which changes them a little.

    Parameters
    ----------
    path : str
        The file to write.
    shape : tuple of int
        Rows, columns and bands: see `jpegencode.check_encodable`.
    strips : iterable of ndarray of uint8, (n, columns, bands)
        The rows of the image, from the top.
    quality : int
        1 to 100.
    interval : int or str
        As for `choose_interval`.
    threads : int or None
        How many encode; None for one per core.
    """
    rows, cols, bands = shape
    sampling = ((1, 1),) if bands == 1 else ((2, 2), (1, 1), (1, 1))
    # Nothing is coded yet; an eighth of a byte for each sample is what photographs take.
    units = choose_interval(JpegFrame(0xC0, rows, cols, sampling), rows * cols * bands // 8, interval)
    with removed_on_error(path):
        write_indexed(path, encoded(shape, strips, quality, units, threads))
