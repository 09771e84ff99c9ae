"""Descriptors of regular files: opened without waiting, and with room made where there are none left."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from typing import TypeAlias, TypeVar

from subregion.errors import lacks_descriptors
from subregion.io.pool import POOL

T = TypeVar("T")

#: What tells that a file was changed or replaced: size, time of change, number, device, and the time of
#: change of all that the system knows of it, which is beyond the reach of tools that restore dates.
State: TypeAlias = tuple[int, int, int, int, int]

_FLAGS = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_AT_ONCE = getattr(os, "O_NONBLOCK", 0)


#: Clocks of file systems tick this often at least (seconds): two changes within a tick look like one.
TICK = 0.02


def state_of(status: os.stat_result) -> State:
    """Return what tells that a file was changed."""
    return status.st_size, status.st_mtime_ns, status.st_ino, status.st_dev, status.st_ctime_ns


def open_again(path: str, state: State) -> int | None:
    """Open a file that was open before; None if it is not there, or is not as it was.

    It was a regular file, so it is one if it is the same, and the path is not looked at first.
    """
    try:
        descriptor = with_room(lambda: os.open(path, _FLAGS | _AT_ONCE))
    except OSError:  # whoever opens it anew says what is wrong
        return None
    if state_of(os.fstat(descriptor)) == state:
        return descriptor
    os.close(descriptor)
    return None


def with_room(call: Callable[[], T]) -> T:
    """Make a call that takes a descriptor; if there is none left, the pool closes files and it is made again.

    Raises
    ------
    OSError
        What the call raises, also if there is no descriptor left although the pool is empty.
    """
    while True:
        try:
            return call()
        except OSError as error:
            if not lacks_descriptors(error) or not POOL.shrink():
                raise


def open_regular(path: str) -> tuple[int, os.stat_result]:
    """Open a regular file for reading; pipes, sockets and devices are refused instead of waited for.

    Returns
    -------
    tuple of (int, os.stat_result)
        The descriptor, which is the caller's to close, and what the file looks like.

    Raises
    ------
    OSError
        ENXIO if it is a pipe, a socket or a device, EISDIR if it is a folder.
    ValueError
        If the path holds a null byte.
    """
    _check_regular(os.stat(path))  # to open a device may do something
    descriptor = with_room(lambda: _opened(path))
    try:
        status = os.fstat(descriptor)
        _check_regular(status)  # it may be another file by now
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor, status


def read_regular(path: str, most: int) -> bytes:
    """Read a regular file, at most so many bytes of it; see `open_regular`."""
    descriptor, status = open_regular(path)
    try:
        wanted = min(status.st_size, most)
        data = os.read(descriptor, wanted)
        while len(data) < wanted and (more := os.read(descriptor, wanted - len(data))):
            data += more
        return data
    finally:
        os.close(descriptor)


def _opened(path: str) -> int:
    try:
        return os.open(path, _FLAGS | _AT_ONCE)
    except BlockingIOError:  # another program holds a lease on it, and the system asks it to give that back
        return os.open(path, _FLAGS)


def _check_regular(status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.ENXIO, "it is a device, pipe or socket, not a regular file")
