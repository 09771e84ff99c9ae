"""A file that is read by position only, so that threads and forked children can share it."""

from __future__ import annotations

import mmap
import os
import stat
import threading
from typing import Protocol

from subregion.errors import DamagedFileError, UnsupportedFormatError, source_error

#: After so many looks that found bytes in memory, only one question in so many is answered by a look.
WARM = 8
_CAN_LOOK = hasattr(os, "preadv") and hasattr(os, "RWF_NOWAIT")


class ByteSource(Protocol):
    """Bytes by position: a file, or several that are read as one."""

    @property
    def path(self) -> str:
        """What to name in messages."""
        ...

    @property
    def identity(self) -> str:
        """What decoded blocks are known by; empty if they are not to be kept."""
        ...

    def read(self, offset: int, count: int) -> bytes:
        """Return exactly `count` bytes from `offset`, or raise `DamagedFileError`."""
        ...

    def mapped(self, offset: int, count: int) -> memoryview:
        """Return a view of `count` bytes from `offset`."""
        ...

    def view(self) -> memoryview | None:
        """Return the file as memory, if blocks may be taken from there instead of being read."""
        ...

    def describe(self, offset: int) -> str:
        """Say where a position is, for people."""
        ...

    def forget_pages(self) -> None:
        """Tell the system that pages mapped so far are not needed soon."""
        ...

    def expect_windows(self) -> None:
        """Tell the system that reads are scattered."""
        ...

    def expect_rows(self) -> None:
        """Tell the system that all is read from its beginning to its end."""
        ...

    def is_cold(self, offset: int) -> bool:
        """Tell whether a byte would have to come from the disk."""
        ...

    def announce(self, offset: int, count: int) -> None:
        """Tell the system that these bytes are wanted soon."""
        ...


class SourceFile:
    """An open file without a cursor.

    Reads give the offset each time, so any number of threads may read at once. The descriptor is closed
    when the last user drops the object: holding it is the lease.

    Parameters
    ----------
    path : str
        The file to open.

    Attributes
    ----------
    steady : bool
        Whether nobody writes to it: so it is with copies of ours, which are replaced and never changed.

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
        "_view",
        "_viewed",
        "_warm",
        "descriptor",
        "identity",
        "path",
        "size",
        "steady",
    )

    def __init__(self, path: str) -> None:
        self.descriptor = -1
        self.path = path
        self._map: mmap.mmap | None = None
        self._view: memoryview | None = None
        self.steady = self._viewed = False
        self._lock = threading.Lock()
        self._byte, self._looks, self._warm = [bytearray(1)], 0, 0
        try:
            # A pipe would block in open(), so look before.
            mode = os.stat(path).st_mode
            if stat.S_ISDIR(mode):
                raise IsADirectoryError(21, "Is a directory")
            if not stat.S_ISREG(mode):
                raise UnsupportedFormatError(f"{path}: is a device, pipe or socket, not a regular file.")
            self.descriptor = os.open(
                path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
            )
            status = os.fstat(self.descriptor)
        except ValueError as error:  # a null byte in the path
            raise UnsupportedFormatError(f"{path!r}: not a path: {error}.") from error
        except OSError as error:
            raise source_error(path, error) from error
        self.size = status.st_size
        # Blocks that were decoded of this very file, as it is now, are known by it.
        self.identity = f"{status.st_dev}:{status.st_ino}:{status.st_size}:{status.st_mtime_ns}"
        if self.size == 0:
            raise UnsupportedFormatError(f"{path}: is empty (0 bytes).")

    def read(self, offset: int, count: int) -> bytes:
        """Return exactly `count` bytes from `offset`, or raise `DamagedFileError`."""
        try:
            data = os.pread(self.descriptor, count, offset)
            if len(data) == count:
                return data
            while len(data) < count:  # one call gives at most 2 GiB
                more = os.pread(self.descriptor, count - len(data), offset + len(data))
                if not more:
                    raise self.too_short(offset, count)
                data += more
        except OverflowError as error:
            raise self.too_short(offset, count) from error
        except OSError as error:
            raise source_error(self.path, error) from error
        return data

    def head(self, count: int) -> bytes:
        """Return up to `count` bytes from the beginning."""
        return self.read(0, min(count, self.size))

    def mapped(self, offset: int, count: int) -> memoryview:
        """Return a view of `count` bytes from `offset`; nothing is read until it is touched."""
        if offset < 0 or count < 0 or offset + count > self.size:
            raise self.too_short(offset, count)
        return memoryview(self._mapped())[offset : offset + count]

    def _mapped(self) -> mmap.mmap:
        if self._map is None:
            with self._lock:
                if self._map is None:
                    self._map = mmap.mmap(self.descriptor, self.size, access=mmap.ACCESS_READ)
                    self._advise_map(random=True)
        return self._map

    def view(self) -> memoryview | None:
        """Return the whole file as memory, if blocks may be taken from there instead of being read.

        To copy compressed blocks out of the page cache takes a tenth of a window of 256 px, and a fifth of
        one of 1024 px. But a file that becomes shorter while it is mapped ends the process, so only steady
        ones are, and at each call the size is looked at, which takes 0.4 microseconds. It is None for
        the first window too: making a map costs more than it saves there.

        Raises
        ------
        DamagedFileError
            If it is a steady file that became shorter.
        """
        if not self.steady:
            return None
        try:
            size = os.lseek(self.descriptor, 0, os.SEEK_END)
        except OSError as error:
            raise source_error(self.path, error) from error
        if size < self.size:
            raise DamagedFileError(
                f"{self.path}: truncated: it had {self.size} bytes when it was opened, and has {size} now. "
                f"Fetch or write it again."
            )
        if self._view is None and self._viewed:
            self._view = memoryview(self._mapped())
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
            os.posix_fadvise(self.descriptor, 0, 0, advice)
        self._advise_map(random)

    def _advise_map(self, random: bool) -> None:
        if self._map is not None and hasattr(self._map, "madvise"):
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
            os.posix_fadvise(self.descriptor, offset, count, os.POSIX_FADV_WILLNEED)

    def describe(self, offset: int) -> str:
        """Say where a position is, for people."""
        return f"offset {offset}"

    def forget_pages(self) -> None:
        """Tell the system that pages mapped so far are not needed soon."""
        if self._map is not None and hasattr(self._map, "madvise"):
            self._map.madvise(mmap.MADV_DONTNEED)

    def too_short(self, offset: int, count: int) -> DamagedFileError:
        """Return the error for bytes that should be there and are not."""
        return DamagedFileError(
            f"{self.path}: truncated: {count} bytes at offset {offset} are needed, "
            f"but the file ends at {self.size}. Fetch or write it again."
        )

    def __del__(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1
