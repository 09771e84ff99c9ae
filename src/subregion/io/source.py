"""A file that is read by position only, so that threads and forked children can share it."""

from __future__ import annotations

import contextlib
import mmap
import os
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from subregion.errors import DamagedFileError, SourceReadError, UnsupportedFormatError, source_error
from subregion.io.descriptors import TICK, State, open_again, open_regular, state_of, with_room

#: So many bytes are read at once where a file system does not let its files be mapped; more are refused.
READ_INSTEAD = 64 << 20
#: After so many looks that found bytes in memory, only one question in so many is answered by a look.
WARM = 8
_CAN_LOOK = hasattr(os, "preadv") and hasattr(os, "RWF_NOWAIT")


class ByteSource(ABC):
    """Bytes by position: a file, or several that are read as one.

    Whatever can give ranges of bytes can be read by region; the rest is advice that a source may ignore.

    Attributes
    ----------
    path : str
        What to name in messages.
    identity : str
        What decoded blocks are known by; empty if they are not to be kept.
    size : int
        How many bytes there are.
    gap : int
        How many bytes between two ranges are worth fetching to spare a request; below 0 none is spared.
    """

    __slots__ = ()

    path: str
    identity: str
    size: int
    gap: int = -1

    @abstractmethod
    def read_ranges(self, offsets: Sequence[int], sizes: Sequence[int]) -> list[Any]:
        """Return the bytes of each range, all of them.

        Raises
        ------
        DamagedFileError
            If the file ends before.
        SubregionError
            If it cannot be read.
        """

    def read(self, offset: int, count: int) -> bytes:
        """Return exactly `count` bytes from `offset`; see `read_ranges`."""
        return bytes(self.read_ranges([offset], [count])[0])

    def map_ranges(self, offsets: Sequence[int], sizes: Sequence[int]) -> list[memoryview]:
        """Return views of ranges, of which only what is touched has to be read, where that can be had."""
        return [memoryview(data) for data in self.read_ranges(offsets, sizes)]

    def view(self) -> memoryview | None:
        """Return all of it as memory, if blocks may be taken from there instead of being read.

        Raises
        ------
        DamagedFileError
            If it became shorter.
        """
        return None

    def in_place(self) -> bool:
        """Whether the path still leads to these bytes, as they were when it was opened."""
        return True

    def is_there(self) -> bool:
        """Whether the path still leads to the same file, in whatever state."""
        return True

    def describe(self, offset: int) -> str:
        """Say where a position is, for people."""
        return f"offset {offset}"

    def forget_pages(self) -> None:  # noqa: B027 - advice
        """Tell the system that pages mapped so far are not needed soon."""

    def expect_windows(self) -> None:  # noqa: B027 - advice
        """Tell the system that reads are scattered."""

    def expect_rows(self) -> None:  # noqa: B027 - advice
        """Tell the system that all is read from its beginning to its end."""

    def is_cold(self, offset: int) -> bool:
        """Tell whether a byte would have to come from the disk."""
        return False

    def announce(self, offset: int, count: int) -> None:  # noqa: B027 - advice
        """Tell the system that these bytes are wanted soon."""


@dataclass(frozen=True, slots=True)
class ClosedFile(ByteSource):
    """What is known of a file that was open: by that it is opened again, and only as it was.

    Parameters
    ----------
    path : str
        The file.
    identity : str
        See `ByteSource`.
    state : tuple of int
        What it looked like; see `descriptors.State`.
    immutable : bool
        Whether nobody writes to it.
    """

    path: str
    identity: str
    state: State
    immutable: bool
    descriptor: ClassVar[int] = -1

    @property
    def size(self) -> int:  # type: ignore[override]
        """How many bytes there are."""
        return self.state[0]

    def read_ranges(self, offsets: Sequence[int], sizes: Sequence[int]) -> list[Any]:
        """Refuse it: it is closed."""
        raise SourceReadError(f"{self.path}: is closed.")

    def opened(self) -> SourceFile | None:
        """Open it again, for windows; None if it is not there as it was."""
        descriptor = open_again(self.path, self.state)
        if descriptor is None:
            return None
        file = SourceFile.__new__(SourceFile)
        file._start(descriptor, self)
        file._advise(random=True)
        return file


class SourceFile(ByteSource):
    """An open file without a cursor.

    Reads give the offset each time, so any number of threads may read at once. The descriptor is closed
    when the last user drops the object: holding it is the lease.

    Parameters
    ----------
    path : str
        The file to open.
    immutable : bool
        Whether nobody writes to it: so it is with copies of ours, which are replaced and never changed.

    Attributes
    ----------
    state : tuple of int
        What it looked like when it was opened; see `descriptors.State`.
    settled : bool
        Whether every change since it was opened shows in its state: not if it was changed just before.
    descriptor : int
        Of the open file.

    Raises
    ------
    SubregionError
        If it does not exist, may not be read, is a folder or no regular file, or is empty.
    """

    __slots__ = (
        "__weakref__",
        "_byte",
        "_lock",
        "_looks",
        "_map",
        "_unmappable",
        "_view",
        "_viewed",
        "_warm",
        "descriptor",
        "identity",
        "immutable",
        "path",
        "settled",
        "size",
        "state",
    )

    def __init__(self, path: str, immutable: bool = False) -> None:
        self.descriptor = -1
        try:
            descriptor, status = open_regular(path)
        except ValueError as error:  # a null byte in the path
            raise UnsupportedFormatError(f"{path!r}: not a path: {error}.") from error
        except OSError as error:
            raise source_error(path, error) from error
        state = size, changed, number, device, touched = state_of(status)
        # Blocks that were decoded of this very file, as it is now, are known by it.
        identity = f"{device}:{number}:{size}:{changed}:{touched}"
        self._start(descriptor, ClosedFile(path, identity, state, immutable))
        self.settled = immutable or time.time_ns() - touched > TICK * 1e9
        if self.size == 0:
            raise UnsupportedFormatError(f"{path}: is empty (0 bytes).")

    def _start(self, descriptor: int, known: ClosedFile) -> None:
        self.descriptor = descriptor
        self.path, self.identity, self.state, self.immutable = (
            known.path, known.identity, known.state, known.immutable
        )  # fmt: skip
        self.size = known.state[0]
        self.settled = True
        self._map: mmap.mmap | None = None
        self._view: memoryview | None = None
        self._viewed = self._unmappable = False
        self._lock = threading.Lock()
        self._byte, self._looks, self._warm = [bytearray(1)], 0, 0

    def closed(self) -> ClosedFile:
        """Return what is known of it when it is closed."""
        return ClosedFile(self.path, self.identity, self.state, self.immutable)

    def read_ranges(self, offsets: Sequence[int], sizes: Sequence[int]) -> list[bytes]:
        """Return the bytes of each range; see `ByteSource.read_ranges`."""
        pread, descriptor = os.pread, self.descriptor
        with contextlib.suppress(OSError, OverflowError):  # which are told of below
            found = [pread(descriptor, count, at) for at, count in zip(offsets, sizes, strict=True)]
            if sum(map(len, found)) == sum(sizes):
                return found
        return list(map(self.read, offsets, sizes))

    def read(self, offset: int, count: int) -> bytes:
        """Return exactly `count` bytes from `offset`, or raise `DamagedFileError`."""
        data = self.up_to(offset, count)
        if len(data) < count:
            raise self.too_short(offset, count)
        return data

    def up_to(self, offset: int, count: int) -> bytes:
        """Return `count` bytes from `offset`, or fewer where the file ends."""
        try:
            data = os.pread(self.descriptor, count, offset)
            while len(data) < count:  # one call gives at most 2 GiB, and less whenever the system likes
                more = os.pread(self.descriptor, count - len(data), offset + len(data))
                if not more:
                    break
                data += more
        except OverflowError as error:
            raise self.too_short(offset, count) from error
        except OSError as error:
            raise source_error(self.path, error) from error
        return data

    def head(self, count: int) -> bytes:
        """Return up to `count` bytes from the beginning."""
        return self.read(0, min(count, self.size))

    def map_ranges(self, offsets: Sequence[int], sizes: Sequence[int]) -> list[memoryview]:
        """Return views of ranges; nothing is read until it is touched.

        They are views of the mapped file, so they are to be touched at once: if the file becomes shorter
        before that, the system ends the process.

        Raises
        ------
        DamagedFileError
            If the file is too short.
        SourceReadError
            If the file system does not let it be mapped, and it is too much to be read instead.
        """
        for offset, count in zip(offsets, sizes, strict=True):
            if offset < 0 or count < 0 or offset + count > self.size:
                raise self.too_short(offset, count)
        self.check_size()
        mapped = self._mapped()
        if mapped is not None:
            whole = memoryview(mapped)
            return [whole[offset : offset + count] for offset, count in zip(offsets, sizes, strict=True)]
        count = sum(sizes)
        if count > READ_INSTEAD:
            raise SourceReadError(
                f"{self.path}: its file system does not let files be mapped into memory, and {count} bytes "
                f"are too many to be read for one window. Put it on another file system, or choose a backend "
                f"of small blocks: 'cog' or 'zarr'."
            )
        return super().map_ranges(offsets, sizes)

    def _mapped(self) -> mmap.mmap | None:
        if self._map is None and not self._unmappable:
            with self._lock:
                if self._map is None:
                    self._map = self._new_map()
                    self._unmappable = self._map is None
                    self._advise_map(random=True)
        return self._map

    def _new_map(self) -> mmap.mmap | None:
        try:
            return with_room(lambda: mmap.mmap(self.descriptor, self.size, access=mmap.ACCESS_READ))
        except ValueError:  # "mmap length is greater than file size"
            self.check_size()
            return None
        except OSError:
            if not hasattr(mmap, "MAP_PRIVATE"):
                return None
        # Some file systems of other hosts and programs share no memory, but allow this.
        with contextlib.suppress(OSError, ValueError):
            return mmap.mmap(self.descriptor, self.size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
        return None

    def check_size(self) -> None:
        """Refuse the file if it became shorter: to touch a map behind the end of its file ends the process.

        It is one call, so that it can be asked before each window.

        Raises
        ------
        DamagedFileError
            If it is shorter than when it was opened.
        """
        try:
            size = os.lseek(self.descriptor, 0, os.SEEK_END)
        except OSError as error:
            raise source_error(self.path, error) from error
        if size < self.size:
            raise DamagedFileError(
                f"{self.path}: truncated: it had {self.size} bytes when it was opened, and has {size} now. "
                f"Fetch or write it again."
            )

    def in_place(self) -> bool:
        """Whether the path still leads to this file, in the state in which it was opened."""
        try:
            return state_of(os.stat(self.path)) == self.state
        except OSError:
            return False

    def is_there(self) -> bool:
        """Whether the path still leads to this file, in whatever state."""
        try:
            return os.path.samestat(os.fstat(self.descriptor), os.stat(self.path))
        except OSError:
            return False

    def view(self) -> memoryview | None:
        """Return the whole file as memory, if blocks may be taken from there instead of being read.

        It spares a copy of compressed blocks out of the page cache. But a file that becomes shorter while it
        is mapped ends the process, so only immutable ones are, and the size is looked at at each call. It is
        None for the first window too: making a map costs more than it saves there.

        Raises
        ------
        DamagedFileError
            If the file became shorter.
        """
        self.check_size()
        if not self.immutable:
            return None
        if self._view is None and self._viewed:
            whole = self._mapped()
            self._view = None if whole is None else memoryview(whole)
        self._viewed = True
        return self._view

    def expect_windows(self) -> None:
        """Tell the system that reads are scattered, so that it reads nothing around what is asked for."""
        self._advise(random=True)

    def expect_rows(self) -> None:
        """Tell the system that the file is read from its beginning to its end."""
        self._advise(random=False)

    def _advise(self, random: bool) -> None:
        if hasattr(os, "posix_fadvise"):
            advice = os.POSIX_FADV_RANDOM if random else os.POSIX_FADV_SEQUENTIAL
            with contextlib.suppress(OSError):  # no more than advice, which not all file systems take
                os.posix_fadvise(self.descriptor, 0, 0, advice)
        self._advise_map(random)

    def _advise_map(self, random: bool) -> None:
        if self._map is not None and hasattr(self._map, "madvise"):
            with contextlib.suppress(OSError):
                self._map.madvise(mmap.MADV_RANDOM if random else mmap.MADV_SEQUENTIAL)

    def is_cold(self, offset: int) -> bool:
        """Tell whether a byte would have to come from the disk.

        It takes a microsecond, so where the last looks found everything in memory only every eighth
        question is answered by a look, and the others by no.
        """
        self._looks += 1
        if (self._warm >= WARM and self._looks % WARM) or not _CAN_LOOK:
            return False
        try:
            os.preadv(self.descriptor, self._byte, offset, os.RWF_NOWAIT)
        except BlockingIOError:
            self._warm = 0
            return True
        except OSError:  # a file system that cannot tell
            self._warm, self._looks = WARM, 1
            return False
        self._warm += 1
        return False

    def announce(self, offset: int, count: int) -> None:
        """Tell the system that these bytes are wanted soon, so that the disk can work on several at once."""
        if hasattr(os, "posix_fadvise"):
            with contextlib.suppress(OSError):
                os.posix_fadvise(self.descriptor, offset, count, os.POSIX_FADV_WILLNEED)

    def forget_pages(self) -> None:
        """Tell the system that pages mapped so far are not needed soon."""
        if self._map is not None and hasattr(self._map, "madvise"):
            with contextlib.suppress(OSError):
                self._map.madvise(mmap.MADV_DONTNEED)

    def too_short(self, offset: int, count: int) -> DamagedFileError:
        """Return the error for bytes that should be there and are not."""
        return DamagedFileError(
            f"{self.path}: truncated: {count} bytes at offset {offset} are needed, "
            f"but the file ends at {self.size}. Fetch or write it again."
        )

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        # At the end of a program `os` may be gone before the last file is.
        if self.descriptor >= 0:
            close(self.descriptor)
            self.descriptor = -1
