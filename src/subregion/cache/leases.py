"""Leases: which entries of a cache folder a living process reads, so that none is taken from under it.

Each process keeps one file in ``leases/``, named after its host, its id and the moment at which it started. A
line ``+<entry>`` is appended when an entry is opened, and ``-<entry>`` some time after it was let go of. The
file is opened, appended to and closed each time: so servers of files pass it on, no descriptor is kept, and
it is noticed if somebody took it away.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import re
import stat
import threading
import time
from collections import Counter, deque

from subregion.cache.disk import SAFELY
from subregion.forks import in_child
from subregion.io.descriptors import open_regular, with_room

#: A lease of another host, whose processes cannot be looked at, ends when nobody wrote to it for so long (s).
EXPIRY = 24 * 3600.0
#: Entries that were let go of are written down with the next one that is opened, or when they are so many.
MOST_DROPPED = 64
#: A lease of more bytes is written anew, if most of what it says is over.
MOST_BYTES = 256 << 10

_NAME = re.compile(r"([0-9A-Za-z_]{1,80})-([0-9]{1,12})-([0-9]{1,20})")
_LINE = re.compile(rb"^([+-])([0-9a-f]{40}\.[0-9a-f]{16}\.[a-z]{1,8})$", re.MULTILINE)
_APPEND = os.O_WRONLY | os.O_APPEND
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC


class Lease:
    """The right to read an entry, until it is dropped.

    Parameters
    ----------
    book : Book
        Where it is written down.
    name : str
        Name of the data of the entry.
    """

    __slots__ = ("_book", "_name", "_pid")

    def __init__(self, book: Book, name: str) -> None:
        self._book, self._name, self._pid = book, name, os.getpid()

    def __del__(self) -> None:
        self._book.drop(self._name, self._pid)


class Book:
    """The leases of this process in one cache folder.

    Parameters
    ----------
    folder : str
        The cache folder.

    Attributes
    ----------
    nbytes : int
        Bytes of all entries that are held.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._closed = False
        self.start_empty()

    def start_empty(self) -> None:
        """Forget everything, as a forked child must: it has a file of its own."""
        self._lock = threading.Lock()
        self._held: dict[str, tuple[int, int]] = {}
        self._dropped: deque[str] = deque()
        self._path = ""
        self._room = 0
        self.nbytes = 0

    def hold(self, name: str, size: int) -> Lease | None:
        """Write a lease down, so that whoever looks afterwards sees it.

        Parameters
        ----------
        name : str
            Name of the data.
        size : int
            Bytes of them.

        Returns
        -------
        Lease or None
            None if it cannot be written, as in a folder of others: then entries are read without.
        """
        with self._lock:
            lines = self._settled()
            times = self._held.get(name, (0, size))[0]
            self._held[name] = times + 1, size
            self.nbytes += 0 if times else size
            if self._write(f"{lines}+{name}\n".encode()):
                return Lease(self, name)
            self._forget(name)
            return None

    def drop(self, name: str, pid: int) -> None:
        """Note that a lease is over; called by the garbage collector, at any moment."""
        if self._closed or pid != os.getpid():
            return  # the program ends, or it was the parent's
        self._dropped.append(name)
        if len(self._dropped) >= MOST_DROPPED:
            self.settle()

    def settle(self) -> None:
        """Write down what was let go of, unless another thread is writing."""
        if self._dropped and self._lock.acquire(blocking=False):
            try:
                self._write(self._settled().encode())
            finally:
                self._lock.release()

    def close(self) -> None:
        """Remove the file, at the end of the program."""
        self._closed = True
        if self._path:
            with contextlib.suppress(OSError):
                os.unlink(self._path)

    def _settled(self) -> str:
        lines = []
        while self._dropped:
            lines.append(f"-{self._dropped.popleft()}\n")
            self._forget(lines[-1][1:-1])
        return "".join(lines)

    def _forget(self, name: str) -> None:
        times, size = self._held.pop(name)
        if times > 1:
            self._held[name] = times - 1, size
        else:
            self.nbytes -= size

    def _write(self, lines: bytes) -> bool:
        """Append to the file; or write it anew, if it is not there, or not as it should be, or too long."""
        if self._closed:
            return False
        self._room -= len(lines)
        try:
            if self._room > 0 and _written(self._path, _APPEND, lines):
                return True
        except FileNotFoundError:
            pass
        except OSError:
            self._room = 0
            return False
        try:
            return self._write_anew()
        except OSError:
            self._room = 0
            return False

    def _write_anew(self) -> bool:
        leases = os.path.join(self._folder, "leases")
        path = self._path or os.path.join(leases, name_of_this_process())
        held = "".join(f"+{name}\n" * times for name, (times, _) in self._held.items()).encode()
        with contextlib.suppress(FileExistsError):
            os.mkdir(leases)  # noqa: PTH102 - not the folders above, which were there when the entry was
        if not stat.S_ISDIR(os.lstat(leases).st_mode):
            return False
        if not _written(f"{path}.new", _CREATE, held):
            os.unlink(f"{path}.new")
            return False
        os.replace(f"{path}.new", path)
        if not self._path:
            self._path = path
            Leases(self._folder).read()  # takes away those of processes that were killed
        self._room = max(MOST_BYTES, 2 * len(held))
        return True


def _written(path: str, how: int, data: bytes) -> bool:
    """Write to a file, and close it; False if the disk took a part only."""
    descriptor = with_room(lambda: os.open(path, how | SAFELY, 0o666))
    try:
        return os.write(descriptor, data) == len(data)
    finally:
        os.close(descriptor)


class Leases:
    """The leases of all processes in a cache folder.

    Parameters
    ----------
    folder : str
        The cache folder.
    """

    def __init__(self, folder: str) -> None:
        self._folder = os.path.join(folder, "leases")
        self._known: dict[str, _Known] = {}

    def read(self, tidy: bool = True) -> None:
        """Read what was written since they were last read.

        Parameters
        ----------
        tidy : bool
            Whether to remove those of processes that are dead.
        """
        present = set()
        with contextlib.suppress(OSError), os.scandir(self._folder) as listing:
            for item in listing:
                begin = _NAME.match(item.name)
                if begin is None or item.name[begin.end() :] not in ("", ".new"):
                    continue
                try:
                    alive = is_alive(begin[0], item.stat(follow_symlinks=False).st_mtime)
                except FileNotFoundError:
                    continue
                if not alive:
                    if tidy:
                        with contextlib.suppress(OSError):
                            os.unlink(item.path)
                elif begin.end() == len(item.name):
                    present.add(item.name)
                    self._known.setdefault(item.name, _Known(item.path)).read()
        for name in self._known.keys() - present:
            del self._known[name]

    def __contains__(self, name: object) -> bool:
        """Whether a process reads the entry with these data."""
        return any(known.times[name] > 0 for known in self._known.values())  # type: ignore[index]

    @property
    def names(self) -> set[str]:
        """The names of the data that are read."""
        return {name for known in self._known.values() for name, times in known.times.items() if times > 0}


class _Known:
    """What is known of the leases of one process."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._file = (0, 0)
        self._read = 0
        self.times: Counter[str] = Counter()

    def read(self) -> None:
        try:
            descriptor, status = open_regular(self._path)
        except OSError:
            return  # it was removed a moment ago, or is none
        with open(descriptor, "rb") as file:
            if self._file != (status.st_dev, status.st_ino) or status.st_size < self._read:
                self._file, self._read = (status.st_dev, status.st_ino), 0
                self.times.clear()
            file.seek(self._read)
            data = file.read()
        end = data.rfind(b"\n") + 1
        self._read += end
        for sign, name in _LINE.findall(data[:end]):
            self.times[name.decode()] += 1 if sign == b"+" else -1


def count_leases(folder: str) -> int:
    """Return how many processes read from a cache folder."""
    try:
        return len(os.listdir(os.path.join(folder, "leases")))
    except OSError:
        return 0


def _place() -> str:
    """Name this host, and the processes that see each other on it."""
    host = os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "")
    try:
        space = f"_{os.stat('/proc/self/ns/pid').st_ino}"  # containers may have the name of their host
    except OSError:
        space = ""
    return re.sub(r"[^0-9A-Za-z]", "_", host)[:60] + space or "_"


def name_of_this_process() -> str:
    """Return a name that no other process on any host has, ever."""
    pid = os.getpid()
    started = _started("self")
    return f"{_place()}-{pid}-{time.time_ns() if started is None else started}"


def _started(pid: str) -> int | None:
    """Return when a process started, in ticks since the system did; None if unknown, -1 if it is dead."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            words = file.read().rpartition(b")")[2].split()
        return -1 if words[0] in b"ZX" else int(words[19])
    except (OSError, ValueError, IndexError):
        return None


def is_alive(name: str, last_sign: float) -> bool:
    """Tell whether a process lives that has such a name, as far as that can be known.

    Parameters
    ----------
    name : str
        As `name_of_this_process` makes them.
    last_sign : float
        When it was last heard of, for where processes cannot be looked at.
    """
    found = _NAME.fullmatch(name)
    if found is None:
        return False
    place, pid, started = found.groups()
    if place == _place() and os.name == "posix":
        try:
            os.kill(int(pid), 0)
        except (ProcessLookupError, OverflowError):
            return False
        except OSError:
            pass  # it is another user's
        if os.path.exists("/proc/self/stat"):
            now = _started(pid)
            return now is None or now == int(started)  # it may be hidden from us
    return abs(time.time() - last_sign) < EXPIRY


_BOOKS: dict[str, Book] = {}


def book_of(folder: str) -> Book:
    """Return the leases of this process in a cache folder."""
    book = _BOOKS.get(folder)
    return _BOOKS.setdefault(folder, Book(folder)) if book is None else book


def _start_anew() -> None:
    for book in _BOOKS.values():
        book.start_empty()


def _close() -> None:
    for book in _BOOKS.values():
        book.close()


in_child(_start_anew)
atexit.register(_close)
