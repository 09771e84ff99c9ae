"""Which sources are fast enough to be read as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from subregion.formats.jpeg.intervals import IntervalLevel

if TYPE_CHECKING:
    from subregion.formats.raster import Raster

#: Under `auto`, a source whose blocks hold at most so many decoded bytes is read where it lies:
#: a window then costs a few blocks at the most.
BLOCK_IN_PLACE = 2 << 20
#: Under `auto`, a source of at most so many decoded bytes is decoded whole for each window: that takes
#: about a millisecond, less than the first read of a converted copy would save.
WHOLE_IN_PLACE = 192 << 10
#: Under `auto`, a JPEG with restart intervals is read where it lies if an interval holds at most so many
#: decoded bytes, and the file, which is scanned for markers when it is opened, at most so many coded ones.
JPEG_BLOCK_IN_PLACE = 32 << 10
JPEG_FILE_IN_PLACE = 8 << 20


def serves_in_place(raster: Raster) -> bool:
    """Whether a window of the source as it is costs about what the window costs."""
    rows, cols, bands = raster.shape
    if rows * cols * bands * raster.dtype.itemsize <= WHOLE_IN_PLACE:
        return True
    if not raster.windowed:
        return False
    high, wide = raster.block
    if isinstance(raster.full.as_stored, IntervalLevel):
        # Making a copy with the best intervals, and an index of them, costs little and loses nothing.
        return high * wide * bands <= JPEG_BLOCK_IN_PLACE and raster.file.size <= JPEG_FILE_IN_PLACE
    return raster.mapped or high * wide * bands * raster.dtype.itemsize <= BLOCK_IN_PLACE


def why_not_in_place(raster: Raster) -> str:
    """Say why a source that does not serve in place is converted."""
    if not raster.windowed:
        return "its windows cost the whole file"
    if isinstance(raster.full, IntervalLevel):
        return "its restart intervals are long, or take long to be found when it is opened"
    nbytes = raster.block[0] * raster.block[1] * raster.shape[2] * raster.dtype.itemsize
    return f"its windows cost blocks of {nbytes / (1 << 20):.1f} MiB"
