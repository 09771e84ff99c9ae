"""Frames of video files, decoded by FFmpeg through PyAV."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from subregion.errors import (
    DamagedFileError,
    RecordError,
    SubregionError,
    UnsupportedFormatError,
    decoding_error,
    source_error,
)
from subregion.forks import in_child
from subregion.formats.raster import Raster
from subregion.formats.video.container import Container, check_whole
from subregion.formats.video.decoder import JUMP, FrameDecoder, MisledError, failure
from subregion.formats.video.index import FrameIndex, index_frames, index_packets
from subregion.formats.whole import Picture, whole_raster
from subregion.io import limits
from subregion.io.descriptors import State, state_of
from subregion.io.pool import Pool

if TYPE_CHECKING:
    from subregion.io.source import SourceFile

#: How many decoders one video may have at work at once, for readers in several threads.
DECODERS_EACH = 4
#: A reader waits for a decoder at work that will have passed its frame by fewer frames than this, ...
_BEHIND = 32
#: ... or will save it more frames than this.
_PATIENCE = 2
#: How many idle decoders the process keeps.
DECODERS_KEPT = 8


def open_movie(file: SourceFile, container: Container, frame: int) -> Raster:
    """Open one frame of a video file.

    Parameters
    ----------
    file : SourceFile
        The file.
    container : Container
        What it is.
    frame : int
        Which frame, counted from 0 in the order of presentation.

    Raises
    ------
    RecordError
        If the video has fewer frames.
    UnsupportedFormatError
        If PyAV is not installed, or the file has no video that can be decoded.
    DamagedFileError
        If the file is truncated or damaged.
    """
    movie = movie_of(file, container)
    movie.check(frame)
    layout = f"frame {frame} of {movie.count}, decoded from a key frame before it"
    picture = VideoFrame(container, frame)
    return whole_raster(file, container.driver, movie.shape, movie.dtype, picture, frame, layout)


@dataclass(frozen=True, slots=True)
class VideoFrame(Picture):
    """A frame of a video file.

    Parameters
    ----------
    container : Container
        What the file is.
    number : int
        Which frame, in the order of presentation.
    """

    container: Container
    number: int

    def decode(self, file: SourceFile) -> NDArray[Any]:
        """Return all of the frame."""
        return movie_of(file, self.container).read(self.number)


def movie_of(file: SourceFile, container: Container) -> Movie:
    """Return a video, from the pool of this process if it is there unchanged."""
    key = (file.path, file.state)
    movie: Movie = _MOVIES.get_or_put(key, lambda: Movie(key, container))
    movie.open(file)
    return movie


#: Path of a file, and what it looked like.
Key: TypeAlias = tuple[str, State]


class Movie:
    """The frames of a video file: their index, and the decoders that are at work on it.

    Safe to use from any number of threads at once.

    Parameters
    ----------
    key : tuple
        Which file, and in which state.
    container : Container
        What it is.
    """

    def __init__(self, key: Key, container: Container) -> None:
        self._key = key
        self._container = container
        self._lock = threading.Lock()
        self._index: FrameIndex | None = None
        self._layout: _Layout
        self.shape: tuple[int, int, int]

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Type of the samples."""
        return self._layout.dtype

    @property
    def count(self) -> int:
        """How many frames there are."""
        return self.index.count

    @property
    def index(self) -> FrameIndex:
        """The frames of a video that is open."""
        if self._index is None:
            raise AssertionError("open() comes first")
        return self._index

    def open(self, file: SourceFile) -> None:
        """Look which frames there are, once.

        Raises
        ------
        SubregionError
            If there are none that can be decoded.
        """
        if self._index is not None:
            return
        with self._lock:
            if self._index is not None:
                return
            check_whole(file, self._container)
            decoder = self._new_decoder()
            limits.check_pixels(file.path, *decoder.declared, 3)
            limits.check_whole(file.path, *decoder.declared, 3, np.dtype(np.uint8))
            first: list[Any] = []
            try:
                packets = decoder.packets(first)
                index = index_packets(self._container, packets, decoder.codec, decoder.intra_only)
            except decoder.error as error:
                raise failure(f"{file.path}: cannot be read", error) from error
            if not first:
                first.extend(itertools.islice(decoder.frames(), 1))
            if index is None or not first or index.number_of(first[0].pts) is None:
                index = index_frames(decoder.frames(), decoder.error)
            if not first or not index.count:
                nothing = f"it is empty, or its frames have more than {limits.most_pixels()} pixels"
                raise decoding_error(f"{file.path}: no frame can be decoded", index.damage or nothing)
            frame = first[0]
            self._layout = _layout_of(file.path, frame.format)
            limits.check_pixels(file.path, frame.height, frame.width, self._layout.bands)
            self.shape = (frame.height, frame.width, self._layout.bands)
            self._index = index
        _DECODERS.give_back(self._key, decoder)

    def check(self, frame: int) -> None:
        """Refuse a number that no frame has.

        Raises
        ------
        RecordError
            Naming how many there are.
        DamagedFileError
            If there may have been more before the file was damaged.
        """
        count, damage = self.index.count, self.index.damage
        if isinstance(frame, bool) or not isinstance(frame, int) or frame < 0:
            raise RecordError(f"{self._key[0]}: frame={frame!r} must be a whole number, at least 0.")
        if frame < count:
            return
        if damage is not None:
            raise decoding_error(f"{self._key[0]}: frame {frame} and all from {count} on are lost", damage)
        raise RecordError(
            f"{self._key[0]}: frame={frame} is asked for, but the video has {count} frames, 0 to {count - 1}."
        )

    def read(self, frame: int) -> NDArray[Any]:
        """Decode a frame.

        Parameters
        ----------
        frame : int
            In the order of presentation.

        Returns
        -------
        ndarray, shape `shape`
            Not to be written to.

        Raises
        ------
        DamagedFileError
            If it cannot be decoded.
        """
        index = self.index
        try:
            return self._read(frame, index)
        except MisledError:
            if index.decoded:
                raise self._lost(frame) from None
        self._decode_all(index)
        self.check(frame)
        try:
            return self._read(frame, self.index)
        except MisledError:
            raise self._lost(frame) from None

    def _lost(self, frame: int) -> SubregionError:
        return decoding_error(f"{self._key[0]}: frame {frame} cannot be decoded", "the decoder leaves it out")

    def _read(self, number: int, index: FrameIndex) -> NDArray[Any]:
        with _DECODERS.lease(self._key, number, index, self._new_decoder) as decoder:
            frame = decoder.read(number, index)
            shape = frame.height, frame.width, _layout_of(self._key[0], frame.format).bands
            if shape != self.shape:
                raise UnsupportedFormatError(
                    f"{self._key[0]}: frame {number} has {shape} (rows, columns, bands), the first has "
                    f"{self.shape}; a video is read if all its frames are alike."
                )
            return decoder.convert(frame, self._layout.name)

    def _decode_all(self, misleading: FrameIndex) -> None:
        """Make a better index, since the packets are not the frames after all."""
        with self._lock:
            if self._index is misleading:
                decoder = self._new_decoder()
                self._index = index_frames(decoder.frames(), decoder.error)

    def _new_decoder(self) -> FrameDecoder:
        path = self._key[0]
        try:
            decoder = FrameDecoder(path, self._container)
            status = os.stat(path)
        except OSError as error:
            raise source_error(path, error) from error
        if state_of(status) != self._key[1]:
            raise DamagedFileError(f"{path}: was replaced while it was being read. Read it again.")
        return decoder


@dataclass(frozen=True, slots=True)
class _Layout:
    """A packed pixel format of FFmpeg: its name, its bands and their type."""

    name: str
    bands: int
    dtype: np.dtype[np.generic]


@functools.lru_cache(maxsize=64)
def _layout_named(grey: bool, alpha: bool, deep: bool) -> _Layout:
    if deep:
        name = "rgba64le" if alpha else "gray16le" if grey else "rgb48le"
    else:
        name = "rgba" if alpha else "gray" if grey else "rgb24"
    return _Layout(name, 4 if alpha else 1 if grey else 3, np.dtype(np.uint16 if deep else np.uint8))


def _layout_of(path: str, stored: Any) -> _Layout:
    """Choose what the pixels of a video become: grey, RGB or RGBA, of 8 bits, or 16 if they have more."""
    parts = stored.components
    bits = max(part.bits for part in parts)
    if bits > 16:
        raise UnsupportedFormatError(f"{path}: pixels of FFmpeg's format {stored.name!r} are unknown.")
    alpha = any(part.is_alpha for part in parts)
    lone = sum(not part.is_alpha for part in parts) == 1
    grey = lone and not (alpha or stored.has_palette or stored.is_rgb or stored.is_bayer)
    return _layout_named(grey, alpha and not stored.has_palette, bits > 8)


class _Decoders:
    """The decoders of this process: idle ones for the next reader, and where the others are going.

    Thread-safe. A forked child starts without any and opens its own.
    """

    def __init__(self) -> None:
        self._start_empty()
        in_child(self._start_empty)

    def _start_empty(self) -> None:
        self._changed = threading.Condition()
        self._idle: list[tuple[Key, FrameDecoder]] = []
        self._going: dict[Key, list[int]] = {}

    @contextlib.contextmanager
    def lease(
        self, key: Key, number: int, index: FrameIndex, make: Callable[[], FrameDecoder]
    ) -> Iterator[FrameDecoder]:
        """Hand out the decoder that gets to a frame with the least work."""
        decoder = self._take(key, number, index)
        try:
            if decoder is None:
                decoder = make()
            yield decoder
        finally:
            self._arrived(key, number, decoder)

    def _take(self, key: Key, number: int, index: FrameIndex) -> FrameDecoder | None:
        """Return an idle decoder, or None if a new one may be made; wait for one that is on its way."""
        again = number - index.start_of(number) + JUMP
        with self._changed:
            while True:
                idle = [each for each in self._idle if each[0] == key]
                best = min(idle, key=lambda each: each[1].cost(number, index), default=None)
                cost = again if best is None else best[1].cost(number, index)
                going = self._going.get(key, [])
                # One that is on its way to a frame just before, or just behind, is worth waiting for.
                ahead = min((max(0, number - at) for at in going if at - number < _BEHIND), default=again)
                if ahead + _PATIENCE < cost or (best is None and len(going) >= DECODERS_EACH):
                    self._changed.wait()
                    continue
                if best is not None:
                    self._idle.remove(best)
                self._going.setdefault(key, []).append(number)
                return None if best is None else best[1]

    def _arrived(self, key: Key, number: int, decoder: FrameDecoder | None) -> None:
        with self._changed:
            self._going[key].remove(number)
            if not self._going[key]:
                del self._going[key]
            self._changed.notify_all()
        if decoder is not None:
            self.give_back(key, decoder)

    def give_back(self, key: Key, decoder: FrameDecoder) -> None:
        """Keep a decoder for the next reader."""
        with self._changed:
            self._idle.append((key, decoder))
            dropped = self._idle[:-DECODERS_KEPT]
            del self._idle[:-DECODERS_KEPT]
            self._changed.notify_all()
        del dropped  # files close here, outside the lock


_MOVIES = Pool(64)
_DECODERS = _Decoders()
