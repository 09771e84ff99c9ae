"""One open decoder of a video: goes to any frame, and forwards without starting anew."""

from __future__ import annotations

import contextlib
import errno
import itertools
from collections import OrderedDict
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from subregion.errors import SourceReadError, SubregionError, UnsupportedFormatError, decoding_error
from subregion.io import limits
from subregion.io.descriptors import with_room
from subregion.libraries import av, require

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from subregion.formats.video.container import Container
    from subregion.formats.video.index import FrameIndex, KeyFrame

#: Decoded frames that a decoder remembers, in bytes: readers in several threads come a little out of order.
REMEMBERED_BYTES = 24 << 20

#: Decoders round sizes up, put a border around their frames, and count all that as pixels.
_BORDER = 1 << 17

#: About how many frames could be decoded while a container is made to go elsewhere.
JUMP = 8


def import_av(path: str) -> Any:
    """Return PyAV.

    Raises
    ------
    UnsupportedFormatError
        If it is not installed.
    """
    try:
        return require(av)
    except ImportError as error:
        raise UnsupportedFormatError(
            f"{path}: is a video; to read its frames, PyAV is needed: pip install 'subregion[video]'."
        ) from error


def failure(what: str, error: Exception) -> SubregionError:
    """Say as one of ours what FFmpeg says, without the name of its function.

    It says the same of a disk that fails as of a file that ends early, and of memory that is short as of a
    file that asks for too much.
    """
    said = str(getattr(error, "strerror", None) or error)
    if getattr(error, "errno", None) in (errno.EIO, errno.ENOMEM):
        return SourceReadError(
            f"{what}: {said}. The disk fails, memory is short, or the file is truncated or corrupt."
        )
    return decoding_error(what, said)


class MisledError(Exception):
    """The decoder gives other frames than the index says."""


class FrameDecoder:
    """Decodes the frames of one video stream, in one thread at a time.

    FFmpeg gets no threads of its own: they would be gone in a forked child, and closing a decoder there
    would wait for them for ever.

    Parameters
    ----------
    path : str
        The file.
    container : Container
        What it is.
    """

    def __init__(self, path: str, container: Container) -> None:
        self.path = path
        self._container = container
        self._av = import_av(path)
        self._reformatter = self._av.video.reformatter.VideoReformatter()
        self._remembered: OrderedDict[int, Any] = OrderedDict()
        self._index: FrameIndex | None = None
        self._input: Any = None
        # For larger frames no memory is asked for; their size is known only when one is decoded.
        most = limits.most_pixels()
        self._most = str(most + most // 8 + _BORDER)
        self._open()

    def _open(self) -> None:
        """Open the file at its beginning."""
        self.close()
        self._input = with_room(self._opened)
        stream = self._input.streams.best("video")
        if stream is None or stream.disposition & self._av.stream.Disposition.attached_pic:
            kinds = ", ".join(sorted({each.type for each in self._input.streams})) or "nothing"
            raise UnsupportedFormatError(f"{self.path}: has no video, only {kinds}.")
        if stream.codec_context is None:
            raise UnsupportedFormatError(f"{self.path}: its video codec is one that FFmpeg cannot decode.")
        self._stream = stream
        stream.codec_context.thread_count = 1
        stream.codec_context.options = {"err_detect": "crccheck+explode", "max_pixels": self._most}
        for other in self._input.streams:
            if other.index != stream.index:
                other.discard = self._av.stream.Discard.all
        self._frames = self._decoded(self._input.demux(stream))
        #: The frame that was decoded last, -1 before the first; None if that is still to be seen.
        self.number: int | None = -1
        self._begin = 0

    def close(self) -> None:
        """Close the file."""
        if self._input is not None:
            self._input.close()

    def __del__(self) -> None:
        if getattr(self, "_input", None) is not None:
            self._input.close()

    @property
    def error(self) -> type[Exception]:
        """What PyAV raises if something is wrong with the file."""
        kind: type[Exception] = self._av.FFmpegError
        return kind

    @property
    def intra_only(self) -> bool:
        """Whether no frame leans on another."""
        return bool(self._stream.codec_context.codec.intra_only)

    @property
    def declared(self) -> tuple[int, int]:
        """Rows and columns of a frame, as the container has them; 0 if it says nothing."""
        context = self._stream.codec_context
        return int(context.height), int(context.width)

    @property
    def codec(self) -> str:
        """Name of the codec."""
        return str(self._stream.codec_context.name)

    def packets(self, first: list[Any]) -> Iterator[Any]:
        """Yield all packets of a decoder that was just opened; it is at no frame afterwards.

        Parameters
        ----------
        first : list
            Receives the first frame that can be decoded; only the packets before it are decoded.
        """
        self.number = None
        for packet in self._input.demux(self._stream):
            if not first:
                with contextlib.suppress(self._av.FFmpegError):  # told when that frame is asked for
                    first.extend(packet.decode()[:1])
            yield packet

    def frames(self) -> Iterator[Any]:
        """Yield all frames from the beginning; the decoder is at no frame afterwards."""
        self._open()
        self.number = None
        yield from self._frames

    def _decoded(self, packets: Iterator[Any]) -> Iterator[Any]:
        begun = False
        for packet in packets:
            begun = begun or packet.is_keyframe or packet.size == 0
            if not begun:
                continue  # there is nothing that it could lean on
            try:
                frames = packet.decode()
            except self._av.FFmpegError:
                if self.number is not None:
                    raise
                continue  # after a jump, frames that lean on what was jumped over are not wanted anyway
            yield from frames

    def cost(self, number: int, index: FrameIndex) -> int:
        """Estimate how many frames have to be decoded to get to one."""
        again = number - index.start_of(number) + JUMP
        if index is not self._index:
            return again
        if number in self._remembered:
            return 0
        if self.number is not None and self.number < number:
            return min(again, number - self.number)
        return again

    def read(self, number: int, index: FrameIndex) -> Any:
        """Go to a frame.

        Parameters
        ----------
        number : int
            Which, in the order of presentation.
        index : FrameIndex
            Of this video.

        Returns
        -------
        av.VideoFrame

        Raises
        ------
        DamagedFileError
            If it cannot be decoded.
        MisledError
            If even from the beginning, the frames are not those of the index.
        """
        if index is not self._index:  # numbers of another index mean other frames
            self._index, self.number = index, None
            self._remembered.clear()
        kept = self._remembered.get(number)
        if kept is not None:
            self._remembered.move_to_end(number)
            return kept
        at = self.number
        if at is not None and at < number and number - at <= self.cost(number, index):
            # An error may only be due to where the decoding began.
            with contextlib.suppress(self._av.FFmpegError):
                if self._advance(number, index):
                    return self._remembered[number]
        problem: Exception | None = None
        for attempt, key in enumerate(index.starts(number)):
            try:
                if self._start(key, index) and self._advance(number, index):
                    return self._remembered[number]
            except self._av.FFmpegError as error:
                problem = error
                if attempt:
                    break
        self.number = None
        if problem is not None:
            raise failure(
                f"{self.path}: frame {number} cannot be decoded as {self.codec}", problem
            ) from problem
        raise MisledError

    def convert(self, frame: Any, layout: str) -> NDArray[Any]:
        """Return the pixels of a frame in one of FFmpeg's packed pixel formats."""
        converted = self._reformatter.reformat(frame, format=layout, threads=1)
        pixels: NDArray[Any] = converted.to_ndarray()
        return pixels if pixels.ndim == 3 else pixels[..., None]

    def _opened(self) -> Any:
        try:
            return self._av.open(
                self.path,
                format=self._container.demuxer,
                options={"protocol_whitelist": "file", "max_pixels": self._most},
                metadata_errors="ignore",
            )
        except self._av.FFmpegError as error:
            raise failure(f"{self.path}: cannot be opened as {self._container.driver}", error) from error

    def _start(self, key: KeyFrame | None, index: FrameIndex) -> bool:
        """Go to a key frame, or to the beginning; False if the container leads behind it."""
        self.number, self._begin = None, 0
        if key is None:
            self._open()
            return True
        for time in key.times:
            self._input.seek(time, stream=self._stream)
            packets = self._input.demux(self._stream)
            first = next((packet for packet in packets if packet.is_keyframe), None)
            if first is not None and first.pts is not None and first.pts <= key.times[0]:
                begin = index.number_of(first.pts)
                self._begin = key.number if begin is None else begin
                self._frames = self._decoded(itertools.chain([first], packets))
                return True
        return False

    def _advance(self, number: int, index: FrameIndex) -> bool:
        """Decode up to a frame; False if others come than the index says."""
        for frame in self._frames:
            found = self._number_of(frame, index)
            if self.number is None and (found is None or found < self._begin):
                continue  # leans on frames before the key frame, so it may be wrong
            if found is None or found != (self._begin if self.number is None else self.number + 1):
                break
            if frame.is_corrupt:
                raise self._av.InvalidDataError(0, "the decoder marks the frame as corrupt")
            self.number = found
            self.remember(found, frame)
            if found == number:
                return True
        self.number = None
        return False

    def _number_of(self, frame: Any, index: FrameIndex) -> int | None:
        if index.labels is not None:
            return index.number_of(frame.pts)
        return None if self.number is None else self.number + 1

    def remember(self, number: int, frame: Any) -> None:
        """Keep a frame that was just decoded, and let go of the oldest."""
        self._remembered[number] = frame
        size = sum(plane.buffer_size for plane in frame.planes)
        while len(self._remembered) > 1 and len(self._remembered) * size > REMEMBERED_BYTES:
            self._remembered.popitem(last=False)
