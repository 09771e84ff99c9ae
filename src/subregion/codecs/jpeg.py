"""Blocks that are JPEG streams, of which no more is decoded than the rows that are wanted.

A part of a block is a small JPEG: its head with another height, and the restart intervals that hold the rows,
with their markers numbered anew. TurboJPEG makes of it, bit for bit, what it makes of the whole. Without
intervals decoding begins at the top, and ends at the last row that is wanted.
"""

from __future__ import annotations

import functools
import math
import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subregion.codecs.codec import BlockShape, Codec, Data, Decoder
from subregion.codecs.headers import declared_frame
from subregion.codecs.jpegheader import END, SCAN, InMemory, JpegHeader, find_frame, segments
from subregion.codecs.jpegstream import JpegFrame, JpegStream, read_stream
from subregion.codecs.page import check_declared
from subregion.codecs.scratch import scratch
from subregion.codecs.turbo import INK_SAMPLINGS, SAMPLINGS
from subregion.libraries import imagecodecs, simplejpeg

#: Samples of a pixel, what streams hold and what is wanted, to TurboJPEG's name for it.
_COLORS = {
    (1, None, None): "GRAY",
    (3, None, 2): "RGB",
    (3, 2, 2): "RGB",
    (4, None, 4): "CMYK",
    (4, 4, 4): "CMYK",
}
_SAMPLINGS = SAMPLINGS | INK_SAMPLINGS
_RGB = 2
#: Says that the samples are RGB.
_ADOBE_RGB = b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0\0"
_START, _END = b"\xff\xd8", b"\xff\xd9"
#: How segments begin that say what the samples are: those of JFIF and of Adobe.
_OF_COLORS = (b"\xff\xe0", b"\xff\xee")
#: Segments of Huffman and of quantisation tables.
_TABLES = (0xC4, 0xDB)

#: More intervals than blocks have are not worth their list.
MAX_INTERVALS = 4096
#: Splits coded bytes at restart markers, which are kept.
_split = re.compile(b"(\xff[\xd0-\xd7])").split
_MARKS = [bytes([0xFF, 0xD0 | number & 7]) for number in range(MAX_INTERVALS)]

#: What the first warning is if the pixels are complete, and there are further bytes before the end.
_LEFT_OVER = "extraneous bytes before marker 0xd9"
#: What warnings say that are about coded pixels; others are about a head that is odd.
_DAMAGE = re.compile("Corrupt JPEG data|Premature end")


@dataclass(frozen=True, slots=True)
class JpegCodec(Codec):
    """A JPEG stream for each block, with or without tables of its own.

    Parameters
    ----------
    shape : BlockShape
        What a block holds.
    tables : bytes or None
        Tables that the blocks share.
    colors, output : int or None
        What the streams hold, where they do not say it themselves, and what is wanted, as libjpeg counts
        colour spaces: 2 is RGB, 4 inks, or any four samples.
    stored : numpy.dtype
        uint8, or uint16 for more than 8 bits.
    """

    shape: BlockShape
    tables: bytes | None
    colors: int | None
    output: int | None
    stored: np.dtype[np.generic] = field(default_factory=lambda: np.dtype(np.uint8))
    exact: bool = field(default=False, init=False)

    def decoder(self) -> Decoder:
        """Return the shortest way from bytes to samples, for the colours that TurboJPEG knows.

        Pixels go into one buffer of the thread, which each block overwrites.
        """
        shape = self.shape
        color = _COLORS.get((shape.samples, self.colors, self.output))
        if color is None or self.stored.itemsize > 1:
            return self.decode
        fronts, decode, array, byte = (
            _last_front(self),
            simplejpeg.decode_jpeg,
            np.ndarray,
            np.dtype(np.uint8),
        )
        target = scratch(shape.rows * shape.cols * shape.samples)
        # All blocks of a row of the grid want the same part, and nearly always begin with the same bytes.
        front: BlockFront | None = fronts[0] if fronts else None
        layout: BlockLayout | None = None
        planned: slice | None = None
        part = head = None

        def block(stored: Data, number: int, rows: slice | None) -> NDArray[Any]:
            nonlocal front, layout, planned, part, head
            data = bytes(stored)
            if front is None or not data.startswith(front.stored):
                front, head = self._read_front(data, front), None
                if front is None:
                    return self.decode(data, number)
                fronts[:] = [front]
            if data.find(_END, -64) < 0:
                raise _early_end()
            if part is None or rows is not planned or front.layout is not layout:
                layout, planned, head = front.layout, rows, None
                part = layout.part(rows)
            if head is None:
                head = front.before + part.height + front.after
            coded = data[len(front.stored) :]
            if part.count < front.layout.total:
                coded = _cut(coded, part.first, part.count, front.layout.total)
            try:
                decode(head + coded + _END, color, False, False, 0, 0, 1.0, target[part.at :], True)
            except ValueError as error:
                text = str(error)
                if not (part.tail and _LEFT_OVER in text):
                    if _DAMAGE.search(text):
                        raise
                    return self.decode(data, number)
            return array(front.layout.shape, byte, target)

        return block

    def decode(self, data: Data, block: int, rows: slice | None = None) -> NDArray[Any]:
        """Decode the block."""
        data = bytes(data)
        if _END not in data[-64:]:
            raise _early_end()
        frame = find_frame(InMemory(data))
        check_declared(None if frame is None else declared_frame(frame), self.shape)
        samples = self.shape.samples
        pixels = self._checked(data, frame)
        if pixels is None:
            # This one knows all kinds, but says nothing of damage.
            pixels = imagecodecs.jpeg8_decode(
                data, tables=self.tables, colorspace=self.colors, outcolorspace=self.output
            )
        pixels = pixels.reshape(*pixels.shape[:2], -1)
        if pixels.shape[2] != samples and pixels.size == math.prod(self.shape.of(block)):
            pixels = pixels.reshape(self.shape.of(block))  # raw files have two columns as two samples
        if pixels.shape[2] != samples or pixels.dtype != self.stored:
            raise ValueError(
                f"its JPEG stream has {pixels.shape[2]} samples of {pixels.dtype} for a pixel, "
                f"not {samples} of {self.stored}"
            )
        return pixels  # writers may cut the blocks at the edges of the image

    def _checked(self, data: bytes, frame: JpegHeader | None) -> NDArray[Any] | None:
        """Decode a whole stream by TurboJPEG, which tells of damage; None if it cannot."""
        color, tables = _COLORS.get((self.shape.samples, self.colors, self.output)), _shared(self.tables)
        if color is None or tables is None or self.colors is not None or self.stored.itemsize > 1:
            return None
        stream = _START + tables + data[2:]
        try:
            # Warnings are errors: behind most are pixels that it made up.
            decoded: NDArray[Any] = simplejpeg.decode_jpeg(stream, color, False, False, 0, 0, 1.0, None, True)
            return decoded
        except ValueError as error:
            # Of several scans one may be lost in what is left over.
            harmless = _LEFT_OVER in str(error) and frame is not None and not frame.progressive
            if _DAMAGE.search(str(error)) and not harmless:
                raise
            return None

    def _read_front(self, data: bytes, last: BlockFront | None) -> BlockFront | None:
        """Read what stands in front of the coded pixels; None if others know better what to make of it.

        Where blocks have tables of their own, as GDAL makes them, all else is as in the last one.
        """
        tables = _shared(self.tables)
        found = _walk(data)
        if tables is None or found is None or not data.startswith(_START):
            return None
        size_at, stop, traits = found
        if last is None or traits != last.traits:
            stream = read_stream(InMemory(_START + tables + data[2:]))
            if stream is None or not self._holds(stream.frame):
                return None
            if self.colors is not None and any(trait.startswith(_OF_COLORS) for trait in traits):
                return None
            layout = BlockLayout.of(stream)
        else:
            layout = last.layout
        if self.colors != _RGB:
            before = _START + tables + data[2:size_at]
        else:
            before = _START + tables + data[2 : size_at - 5] + _ADOBE_RGB + data[size_at - 5 : size_at]
        return BlockFront(data[:stop], before, data[size_at + 2 : stop], traits, layout)

    def _holds(self, frame: JpegFrame) -> bool:
        """Whether TurboJPEG can decode it, and it is no larger than a block."""
        shape, sampling = self.shape, frame.sampling
        fits = frame.height <= shape.rows and frame.width <= shape.cols
        return fits and sampling in _SAMPLINGS and len(sampling) == shape.samples


@dataclass(frozen=True, slots=True)
class IntervalCodec(JpegCodec):
    """Restart intervals of one JPEG, each taken for a JPEG of its own.

    Parameters
    ----------
    head : bytes
        What each begins with: the head of the whole, with the size of a block.
    """

    head: bytes = b""

    def decoder(self) -> Decoder:
        """Return what decodes intervals."""
        decode = JpegCodec.decoder(self)

        def interval(stored: Data, number: int, rows: slice | None) -> NDArray[Any]:
            return decode(self._stream(stored), number, rows)

        return interval

    def decode(self, data: Data, block: int, rows: slice | None = None) -> NDArray[Any]:
        """Decode the interval, or the stream that was made of it."""
        data = bytes(data)
        return JpegCodec.decode(self, data if data.startswith(self.head) else self._stream(data), block, rows)

    def _stream(self, stored: Data) -> bytes:
        """Put a head in front of an interval, and an end in the place of the marker behind it."""
        data = bytes(stored)
        end = len(data) - 2 if data[-2:-1] == b"\xff" and data[-1:] != b"\0" else len(data)
        return self.head + data[:end] + _END


@dataclass(frozen=True, slots=True)
class BlockFront:
    """What stands in front of the coded pixels of a block.

    Parameters
    ----------
    stored : bytes
        As it stands in the file.
    before, after : bytes
        What a decoder must see in front of the height, and between it and the coded pixels.
    traits : list of bytes
        All segments but tables.
    layout : BlockLayout
        How its intervals lie on its rows.
    """

    stored: bytes
    before: bytes
    after: bytes
    traits: list[bytes]
    layout: BlockLayout


@dataclass(frozen=True, slots=True)
class BlockPart:
    """Some rows of a block as a JPEG of their own.

    Parameters
    ----------
    at : int
        Where its pixels begin, in decoded bytes of the block.
    height : bytes
        Its rows, as they stand in its head.
    first, count : int
        Which intervals hold the coded pixels.
    tail : bool
        Whether the last of them may hold more pixels than the part.
    """

    at: int
    height: bytes
    first: int
    count: int
    tail: bool


@dataclass(frozen=True, slots=True)
class BlockLayout:
    """How the intervals of a block lie on its rows.

    Parameters
    ----------
    shape : tuple of int
        Rows, columns and samples.
    unit : int
        Rows of a unit.
    reach : int
        How many rows beyond a pixel its colour depends on.
    step : int
        Rows in a group of intervals that goes from the left border to the right one; 0 if intervals do
        not line up in this way.
    together : int
        Intervals in a group.
    total : int
        Intervals in the block; 1 if there are no markers.
    """

    shape: tuple[int, int, int]
    unit: int
    reach: int
    step: int
    together: int
    total: int

    @classmethod
    def of(cls, stream: JpegStream) -> BlockLayout:
        """Lay the intervals of a stream on its rows."""
        frame, interval = stream.frame, stream.restart
        shape, high = (frame.height, frame.width, len(frame.sampling)), frame.unit[0]
        rows, cols = frame.units
        total = -(-rows * cols // interval) if interval else 1
        step = together = 0
        if total == 1:
            step, together = rows * high, 1
        elif total <= MAX_INTERVALS and (cols % interval == 0 or interval % cols == 0):
            step, together = max(interval // cols, 1) * high, max(cols // interval, 1)
        return cls(shape, high, frame.reach[0], step, together, total)

    def part(self, rows: slice | None) -> BlockPart:
        """Plan which intervals hold some rows (None: all), and those that their colours depend on."""
        height, width, samples = self.shape
        step, together, total = self.step, self.together, self.total
        if rows is None or not step or rows.stop > height:
            return BlockPart(0, height.to_bytes(2, "big"), 0, total, total == 1)
        below = rows.stop + self.reach
        top, bottom = max(rows.start - self.reach, 0) // step, -(-below // step)
        stop = min(-(-below // self.unit) * self.unit, height)
        first, last = top * together, min(bottom * together, total)
        tail = total == 1 or stop < min(bottom * step, height)
        start = top * step
        return BlockPart(
            start * width * samples, (stop - start).to_bytes(2, "big"), first, last - first, tail
        )


def _cut(coded: bytes, first: int, count: int, total: int) -> bytes:
    """Return some of all intervals, with markers that count from 0.

    Raises
    ------
    ValueError
        If markers are missing or not in order, also in front of them.
    """
    last = first + count
    pieces = _split(coded, last)
    marks = min(last, total - 1)
    if pieces[1 : 2 * marks : 2] != _MARKS[:marks]:
        raise ValueError("restart markers are missing or not in order")
    if first & 7:
        pieces[2 * first + 1 : 2 * last - 1 : 2] = _MARKS[: count - 1]
    return b"".join(pieces[2 * first : 2 * last - 1])


def _early_end() -> ValueError:
    """Say that a stream was cut: libjpeg would fill the rest with grey."""
    return ValueError("its JPEG stream ends early")


@functools.lru_cache(64)
def _last_front(codec: JpegCodec) -> list[BlockFront]:
    """Return the place for what the last block had in front: nearly always it is the same in all."""
    return []


@functools.lru_cache(64)
def _shared(stream: bytes | None) -> bytes | None:
    """Return the tables that blocks share; None if there is anything odd about the stream that holds them.

    What else it holds does not count: decoders forget it when the stream of a block begins.
    """
    if not stream:
        return b""
    at, kept = 2, b""
    for code, start, stop in segments(InMemory(stream)):
        if code == END:
            break
        if stop < start + 4:
            return None
        if code in _TABLES:
            kept += stream[start:stop]
        at = stop
    return kept if stream[at : at + 2] in (_END, b"") and at <= len(stream) else None


def _walk(data: bytes) -> tuple[int, int, list[bytes]] | None:
    """Return where the height of a stream stands, where its coded pixels begin, and all segments but tables.

    None if anything is odd.
    """
    size_at, traits = 0, []
    for code, start, stop in segments(InMemory(data)):
        if code not in _TABLES:
            traits.append(data[start:stop])
        if code in (0xC0, 0xC1):
            size_at = start + 5
        elif code == SCAN:
            return (size_at, stop, traits) if size_at and stop <= len(data) else None
        elif not (code in _TABLES or 0xDB <= code <= 0xEF or code == 0xFE):
            return None
    return None
