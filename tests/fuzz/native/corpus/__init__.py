"""A sound block of every kind that the compiled executor knows, small, as a file each."""

from __future__ import annotations

import gzip
import itertools
import struct
import zlib
from pathlib import Path
from typing import Any

import google_crc32c
import lz4.block
import numpy as np
import zstandard

#: Compressors by their numbers in decode.h.
RAW, ZSTD, ZLIB, GZIP, LZ4, BLOSC = range(6)
ROWS, COLS = 12, 20


def _head(compressor: int, kind: int, samples: int, flags: int) -> bytes:
    return bytes([compressor, kind, samples - 1, flags, ROWS - 1, COLS - 1, 2, 3, 0, 0, 0, 0])


def _compressed(compressor: int, data: bytes) -> bytes:
    if compressor == ZSTD:
        return zstandard.ZstdCompressor(level=3, write_checksum=len(data) % 3 == 0).compress(data)
    if compressor == ZLIB:
        return zlib.compress(data)
    if compressor == GZIP:
        return gzip.compress(data, mtime=0)
    return lz4.block.compress(data) if compressor == LZ4 else data


def write(folder: Path) -> None:
    """Write them into a folder, whose blocks are replaced."""
    from numcodecs import blosc

    for old in folder.glob("*.block"):
        old.unlink()
    rng = np.random.default_rng(0)

    def samples(size: int) -> Any:
        smooth = np.add.outer(np.arange(ROWS), np.arange(COLS)) // 3 + rng.integers(0, 3, (ROWS, COLS))
        return smooth.astype(f"<u{size}")

    for compressor, power in itertools.product((RAW, ZSTD, ZLIB, GZIP, LZ4), range(4)):
        data = samples(1 << power).tobytes()
        for predictor, flags in ((1, 1), (2, 8), (3, 8), (1, 1 | 4), (1, 1 | 2)):
            stored = _compressed(compressor, data)
            if flags & 2:
                stored += struct.pack("<I", google_crc32c.value(stored))
            head = _head(compressor, power | (predictor - 1) << 2, 1, flags)
            (folder / f"{compressor}-{power}-{predictor}-{flags}.block").write_bytes(head + stored)
    for name, shuffle, power in itertools.product(("lz4", "zstd", "zlib"), (0, 1, 2), range(4)):
        data = np.tile(samples(1 << power), 1)
        for size in (0, 256):
            stored = blosc.compress(data, name.encode(), 5, shuffle, size)
            head = _head(BLOSC, power, 1, 1)
            (folder / f"blosc-{name}-{shuffle}-{power}-{size}.block").write_bytes(head + bytes(stored))
