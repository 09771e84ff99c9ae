"""Which frames a video has, in the order in which they are shown, and where decoding can begin."""

from __future__ import annotations

import bisect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from subregion.formats.video.container import Container

#: A packet of MPEG-4 that says "nothing has changed" and shows no frame is at most so long.
_EMPTY_VOP = 19


@dataclass(frozen=True, slots=True, eq=False)
class KeyFrame:
    """A place where decoding can begin.

    Parameters
    ----------
    number : int
        The first frame that is right when decoding begins here.
    times : tuple of int
        What to ask the container for to get here, in ticks of the stream: its times of presentation and of
        decoding, as far as they are known.
    """

    number: int
    times: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class FrameIndex:
    """The frames of a video in the order of presentation.

    Parameters
    ----------
    count : int
        How many there are.
    labels : ndarray of int64, shape (count,), or None
        Time stamps by which frames are known again, sorted; None if they have none that could serve.
    numbers : ndarray of int64, shape (count,), or None
        Which frame has the stamp at the same place of `labels`; None if they are in order.
    keys : tuple of KeyFrame
        By number.
    decoded : bool
        Whether the video was decoded to find out; otherwise only its packets were looked at.
    damage : str or None
        What ended the decoding before the end of the file.
    """

    count: int
    labels: NDArray[np.int64] | None
    numbers: NDArray[np.int64] | None
    keys: tuple[KeyFrame, ...]
    decoded: bool
    damage: str | None = None

    def number_of(self, label: int | None) -> int | None:
        """Return which frame has a time stamp; None if there is none."""
        if self.labels is None or label is None:
            return None
        place = int(self.labels.searchsorted(label))
        if place == len(self.labels) or self.labels[place] != label:
            return None
        return place if self.numbers is None else int(self.numbers[place])

    def starts(self, number: int) -> Iterator[KeyFrame | None]:
        """Yield where to begin decoding for a frame: the last key frame, ever earlier ones, the beginning.

        The last key frame nearly always does. Where it does not (frames after it lean on earlier ones, or
        the container leads elsewhere), going back in growing steps finds one that does.
        """
        place, step = self._last_key(number), 1
        while place >= 0:
            yield self.keys[place]
            place, step = place - step, step * 2
        yield None

    def start_of(self, number: int) -> int:
        """Return the frame at which decoding begins for another."""
        place = self._last_key(number)
        return 0 if place <= 0 else self.keys[place].number

    def _last_key(self, number: int) -> int:
        return bisect.bisect_right(self.keys, number, key=lambda key: key.number) - 1


def index_packets(
    container: Container, packets: Iterator[Any], codec: str, intra_only: bool
) -> FrameIndex | None:
    """Look at the packets of a video, without decoding them.

    Parameters
    ----------
    container : Container
        What they come from.
    packets : iterator of av.Packet
        All of them.
    codec : str
        The name of the codec.
    intra_only : bool
        Whether no frame leans on another.

    Returns
    -------
    FrameIndex or None
        None if packets of this container and codec do not tell the frames.
    """
    if not (container.presentation or (container.demuxer == "avi" and intra_only)):
        return None
    shown: list[int] = []
    keys: list[tuple[int, int | None]] = []
    for packet in packets:
        if packet.size == 0:
            continue
        if packet.pts is None or (codec == "mpeg4" and packet.size <= _EMPTY_VOP):
            return None
        if packet.is_keyframe:
            keys.append((packet.pts, packet.dts))
        if packet.is_discard or (codec == "vp8" and not memoryview(packet)[0] & 0x10):
            continue  # outside of the edit list, or only there for others to lean on
        shown.append(packet.pts)
    labels = np.array(sorted(shown), np.int64)
    if not keys or not shown or (np.diff(labels) == 0).any() or labels[0] < keys[0][0]:
        return None  # frames that are shown before the first key frame may be dropped by the decoder
    starts = [
        KeyFrame(int(labels.searchsorted(pts)), (pts,) if dts in (None, pts) else (pts, dts))
        for pts, dts in sorted(keys)
    ]
    return FrameIndex(len(labels), labels, None, _usable(starts, len(labels)), decoded=False)


def index_frames(frames: Iterator[Any], damage: type[Exception]) -> FrameIndex:
    """Decode a whole video to see which frames come out.

    Parameters
    ----------
    frames : iterator of av.VideoFrame
        As they are decoded from the beginning.
    damage : type
        What the decoder raises where the file is damaged: the index then ends there, and says so.
    """
    stamps: list[int | None] = []
    keys: list[KeyFrame] = []
    problem = None
    try:
        for frame in frames:
            if frame.key_frame and frame.pts is not None:
                times = (frame.pts,) if frame.dts in (None, frame.pts) else (frame.pts, frame.dts)
                keys.append(KeyFrame(len(stamps), times))
            stamps.append(frame.pts)
    except damage as error:
        problem = str(getattr(error, "strerror", None) or error)
    if None in stamps or len(set(stamps)) < len(stamps):
        return FrameIndex(len(stamps), None, None, (), decoded=True, damage=problem)
    labels = np.array(stamps, np.int64)
    order = np.argsort(labels, kind="stable")
    in_order = bool((order == np.arange(len(order))).all())
    return FrameIndex(
        len(stamps),
        labels[order],
        None if in_order else order,
        _usable(keys, len(stamps)),
        decoded=True,
        damage=problem,
    )


def _usable(keys: list[KeyFrame], count: int) -> tuple[KeyFrame, ...]:
    return tuple(key for key in keys if key.number < count)
