"""Cloud-optimized GeoTIFF from a stream of strips, in one pass, with threads, in bounded memory.

::

    strips -> pyramid -> block rows -> encoders (threads) -> one spool per level -> the file

The file begins with the positions of all blocks and the blocks of the smallest overview, which are known
last. So the blocks of each level wait in a spool of their own until the end of the stream, when the kernel
joins the spools behind the head.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

from subregion.convert.blocks import encode_levels, plan_levels
from subregion.convert.cog_layout import (
    CLASSIC_LIMIT,
    checked_extra_tags,
    nodata_tag,
    pixel_tags,
    plan_layout,
)
from subregion.convert.encodings import BLOCKSIZE, encoding_for
from subregion.convert.strips import removed_on_error
from subregion.convert.tiff_tags import Tag
from subregion.errors import CacheError, UnsupportedFormatError


@dataclass(frozen=True, slots=True)
class CogConfig:
    """How a cloud-optimized GeoTIFF is written.

    Parameters
    ----------
    compress : {"ZSTD", "DEFLATE", "LZW", "JPEG", "RAW"}
        Compression of the blocks; only "JPEG" changes pixels.
    blocksize : int
        Edge of a block, in pixels: a multiple of 16.
    quality : int
        Of "JPEG", 1 to 100.
    overviews : {"average", "nearest", "mode", "none"}
        How an overview pixel is made from four; "none" writes no overviews.
    level : int, optional
        Compression level of "ZSTD" or "DEFLATE", instead of the one that was measured to be best.
    """

    compress: str = "ZSTD"
    blocksize: int = BLOCKSIZE
    quality: int = 90
    overviews: Literal["average", "nearest", "mode", "none"] = "average"
    level: int | None = None


def write_cog(
    path: str | os.PathLike[str],
    shape: tuple[int, int, int],
    dtype: DTypeLike,
    strips: Iterable[NDArray[Any]],
    config: CogConfig,
    *,
    nodata: float | int | None = None,
    alpha: bool = False,
    tags: Sequence[Tag] = (),
    threads: int | None = None,
    classic_limit: int = CLASSIC_LIMIT,
) -> None:
    """Write a cloud-optimized GeoTIFF: tiled, with overviews, all positions at its start.

    Equal pixels and options give equal bytes, however the strips are cut and however many threads there are.
    The strips are pulled in the calling thread, one at a time, while threads encode earlier ones; about two
    rows of blocks are held. The disk must have room for the file twice. The file is not synced to the disk:
    who publishes it does that.

    Parameters
    ----------
    path : str or os.PathLike
        The file to write. Names that begin with this one are used for spools.
    shape : tuple of int
        Rows, columns and bands of the image, each at least 1.
    dtype : dtype
        Integers of 8 to 64 bits, floats of 16 to 64, complex of 64 and 128.
    strips : iterable of ndarray, (n, columns, bands)
        The rows of the image, from the top; `n` is free. A strip is no longer needed when the next is pulled.
    config : CogConfig
        How to write it.
    nodata : float or int, optional
        The value of samples that are missing; they take no part in averages.
    alpha : bool
        Whether the last band is opacity.
    tags : sequence of Tag
        To be copied into the directory of the image: georeferencing, colour profile, resolution.
    threads : int, optional
        How many encode; by default as many as this process may use processors.
    classic_limit : int
        Size of the file in bytes above which it becomes a BigTIFF.

    Raises
    ------
    ConfigError
        If the compression cannot hold such pixels, or a tag contradicts the writer's own.
    UnsupportedFormatError
        If TIFF cannot hold such an image.
    DamagedFileError
        If the strips do not make up the image.
    OSError
        If the disk is full or cannot be written. After any error neither file nor spools are left.
    """
    dtype = np.dtype(dtype).newbyteorder("<")
    rows, cols, bands = shape
    if not (0 < rows < 2**32 and 0 < cols < 2**32):
        raise UnsupportedFormatError(
            f"TIFF holds images of 1 to 2**32 - 1 rows and columns, not {rows} x {cols}."
        )
    size = config.blocksize
    encoding = encoding_for(config.compress, size, dtype, bands, level=config.level, quality=config.quality)
    pixels = pixel_tags(dtype, bands, encoding, alpha=alpha)
    extra = checked_extra_tags(tags, pixels)
    common = pixels if nodata is None else (*pixels, nodata_tag(nodata))

    pyramid = plan_levels(shape, dtype, size, config.overviews, nodata)

    with removed_on_error(path), contextlib.ExitStack() as stack:
        paths = [f"{os.fspath(path)}.level{number}" for number in range(len(pyramid.shapes))]
        spools = [stack.enter_context(_Spool(each)) for each in paths]
        encode_levels(strips, shape, dtype, pyramid, size, encoding.encode, spools, threads)

        nbytes = [spool.block_nbytes for spool in spools]
        layout = plan_layout(pyramid.shapes, nbytes, size, common, extra, classic_limit=classic_limit)
        with open(path, "wb") as file:
            file.write(layout.head)
            for spool in reversed(spools):
                spool.append_to(file)
            if file.tell() != layout.nbytes:
                raise CacheError(f"{os.fspath(path)}: {file.tell()} of {layout.nbytes} bytes were written.")


class _Spool:
    """The encoded blocks of one level, in a file that exists as long as this context."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.block_nbytes: list[int] = []

    def __enter__(self) -> _Spool:
        self._file = open(self._path, "w+b")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):  # of what was not written, nothing is needed any more
            self._file.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)

    def append(self, blocks: Sequence[bytes | memoryview]) -> None:
        self._file.writelines(blocks)
        self.block_nbytes.extend(map(len, blocks))

    def append_to(self, file: BinaryIO) -> None:
        """Copy all blocks to the end of another file: by the kernel if it can, which may not even copy."""
        self._file.flush()
        file.flush()
        done, end = 0, sum(self.block_nbytes)
        with contextlib.suppress(OSError, AttributeError):  # what is really wrong shows again below
            while done < end:
                copied = os.copy_file_range(self._file.fileno(), file.fileno(), end - done, offset_src=done)
                if not copied:
                    break
                done += copied
        self._file.seek(done)
        file.seek(0, os.SEEK_END)
        shutil.copyfileobj(self._file, file, 1 << 20)
