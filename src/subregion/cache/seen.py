"""What a source looks like from outside, and by which signs a change of it is noticed."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from subregion.blocks import native
from subregion.errors import SubregionError, source_error
from subregion.formats.zarr.metadata import is_zarr
from subregion.io.descriptors import TICK, State, state_of, with_room

#: For so many ticks it is awaited that nobody writes to a source.
QUIET = 10
#: To look whether folders of many files changed while they are open may take one part in so many of all
#: time, ...
SHARE = 20
#: ... which is saved up to so much (seconds): some ten thousand files.
LONGEST_LOOK = 0.05

#: File systems that make up the numbers of their files, which are others after the next mount.
_MADE_UP = ("fuse", "9p", "cifs", "exfat", "msdos", "smb3", "vboxsf", "vfat")


@dataclass(frozen=True, slots=True)
class Signature:
    """What a source looked like when it was converted, so far as that is kept with the copy.

    Parameters
    ----------
    size : int
        Bytes; of a folder, of all files in it.
    mtime_ns : int
        Time of the last change, in nanoseconds.
    files : str or None
        Of a folder: a hash of name, size and time of change of every file in it.
    numbers : str or None
        The number (inode) of the file, or a hash of those of all files; None if they do not last.
    """

    size: int
    mtime_ns: int
    files: str | None = None
    numbers: str | None = None

    def agrees(self, other: Signature) -> bool:
        """Whether both may be of one state; numbers are compared where both have them."""
        return (self.size, self.mtime_ns, self.files) == (other.size, other.mtime_ns, other.files) and (
            None in (self.numbers, other.numbers) or self.numbers == other.numbers
        )

    @property
    def document(self) -> list[Any]:
        """The same for a manifest."""
        return [self.size, self.mtime_ns, self.files, self.numbers]

    @classmethod
    def from_document(cls, document: Any) -> Signature:
        """Read it from a manifest.

        Raises
        ------
        ValueError
            If it is malformed.
        """
        if not isinstance(document, list) or len(document) != 4:
            raise ValueError("a signature is a list of four")
        size, mtime_ns, files, numbers = document
        if type(size) is not int or type(mtime_ns) is not int:
            raise ValueError("size and time of change are whole numbers")
        if not isinstance(files, str | None) or not isinstance(numbers, str | None):
            raise ValueError("hashes are text")
        return cls(size, mtime_ns, files, numbers)


@dataclass(frozen=True, slots=True)
class Seen:
    """A source as it looked at one moment.

    Parameters
    ----------
    signature : Signature
        What is kept with a copy.
    state : tuple
        All that tells that it was changed meanwhile, for this process only.
    changed_ns : int
        Time of the last change of anything, in nanoseconds; others cannot set it.
    """

    signature: Signature
    state: tuple[Any, ...]
    changed_ns: int

    @classmethod
    def now(cls, path: str) -> Seen:
        """Look at a file; at a zarr folder with all that is in it.

        Raises
        ------
        SubregionError
            If it cannot be looked at.
        """
        try:
            status, link = os.stat(path), os.lstat(path)
            if stat.S_ISDIR(status.st_mode) and is_zarr(path):
                return _folder_now(path)
        except (OSError, ValueError) as error:
            raise source_error(path, error) from error
        state = state_of(status)
        numbers = str(status.st_ino) if _lasting(status) else None
        return cls(
            Signature(status.st_size, status.st_mtime_ns, numbers=numbers),
            # A link may be led elsewhere and back while the file behind it stays as it is.
            state if state == state_of(link) else (*state, state_of(link)),
            _changed_ns(status),
        )

    @classmethod
    def settled(cls, path: str) -> Seen:
        """Look at a source so that every change after this looks different: when nobody is writing to it.

        If that does not come about in `QUIET` ticks, it is as it is: `just_changed`.

        Raises
        ------
        SubregionError
            If it cannot be looked at.
        """
        seen = cls.now(path)
        for _ in range(QUIET):
            if not seen.just_changed:
                break
            time.sleep(TICK)
            seen = cls.now(path)
        return seen

    @property
    def just_changed(self) -> bool:
        """Whether it was changed so short a time ago that another change might look the same."""
        return 0 <= time.time_ns() - self.changed_ns < TICK * 1e9

    def still(self, path: str) -> bool:
        """Whether the source still looks like that, also to the server that it may be on."""
        with contextlib.suppress(OSError):  # systems remember for seconds what files of servers look like
            os.close(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)))
        try:
            return Seen.now(path).state == self.state
        except SubregionError:
            return False


def _changed_ns(status: os.stat_result) -> int:
    # On Windows that is the time when the file was made.
    return status.st_ctime_ns if os.name == "posix" else status.st_mtime_ns


def look_at(path: str) -> Signature:
    """Return what a file looks like; a zarr folder with all that is in it.

    Raises
    ------
    SubregionError
        If it cannot be looked at.
    """
    return Seen.now(path).signature


def _folder_now(folder: str) -> Seen:
    files, numbers, states = (hashlib.blake2b(digest_size=16) for _ in range(3))
    size = mtime_ns = changed_ns = 0
    lasting = True
    for name, status in files_below(folder):
        key = name.encode("utf-8", "surrogateescape") + b"\0"
        files.update(b"%s%d %d\n" % (key, status.st_size, status.st_mtime_ns))
        numbers.update(b"%s%d\n" % (key, status.st_ino))
        states.update(b"%s%d %d %d\n" % (key, status.st_dev, status.st_ino, status.st_ctime_ns))
        size += status.st_size
        mtime_ns = max(mtime_ns, status.st_mtime_ns)
        changed_ns = max(changed_ns, _changed_ns(status))
        lasting = lasting and _lasting(status)
    signature = Signature(size, mtime_ns, files.hexdigest(), numbers.hexdigest() if lasting else None)
    return Seen(signature, (signature.files, states.hexdigest()), changed_ns)


def files_below(folder: str) -> Iterator[tuple[str, os.stat_result]]:
    """Yield name and status of every file in a folder and those in it, in a fixed order.

    Links are followed, but no folder is entered twice. What vanishes meanwhile is left out.

    Raises
    ------
    OSError
        If a folder cannot be read.
    """
    entered: set[tuple[int, int]] = set()
    waiting = [""]
    while waiting:
        inner = waiting.pop()
        place = os.path.join(folder, inner) if inner else folder
        try:
            status = os.stat(place)
            if (status.st_dev, status.st_ino) in entered:
                continue
            entered.add((status.st_dev, status.st_ino))
            with with_room(lambda: os.scandir(place)) as listing:  # noqa: B023 - called at once
                items = sorted(listing, key=lambda item: item.name)
        except (FileNotFoundError, NotADirectoryError):
            if inner:
                continue
            raise
        below = []
        for item in items:
            name = f"{inner}/{item.name}" if inner else item.name
            try:
                status = item.stat()
            except OSError:
                try:
                    status = item.stat(follow_symlinks=False)  # a link that leads nowhere
                except FileNotFoundError:
                    continue
            if stat.S_ISDIR(status.st_mode):
                below.append(name)
            else:
                yield name, status
        waiting += reversed(below)


#: The same look, compiled: half the time. None without it, and it says None where it cannot tell.
_looks_like = native.executor.looks_like if native.BUILT else None


@dataclass(frozen=True, slots=True)
class WatchedFile:
    """What a file looked like, so that a change is noticed at the cost of one look (a microsecond).

    Parameters
    ----------
    path : str
        The file.
    state : tuple of int
        What it looked like; see `descriptors.State`.
    """

    path: str
    state: State

    @classmethod
    def now(cls, path: str) -> WatchedFile:
        """Look at a file.

        Raises
        ------
        SubregionError
            If it cannot be looked at.
        """
        try:
            return cls(path, state_of(os.stat(path)))
        except (OSError, ValueError) as error:
            raise source_error(path, error) from error

    def holds(self) -> bool:
        """Whether it still looks like that."""
        if _looks_like is not None and (found := _looks_like(self.path, self.state)) is not None:
            return bool(found)
        try:
            status = os.stat(self.path)
        except OSError:
            return False  # opening it again says what is wrong, if anything is
        return (  # asked at every read, so `state_of` stands here
            status.st_size,
            status.st_mtime_ns,
            status.st_ino,
            status.st_dev,
            status.st_ctime_ns,
        ) == self.state


class WatchedFolder:
    """What the files of a folder looked like, so that a change is noticed soon.

    To look at all of them takes long, so it is done as often as `SHARE` allows for all folders together, and
    left to the next opening where it takes more than `LONGEST_LOOK`.

    Parameters
    ----------
    path : str
        The folder.

    Raises
    ------
    SubregionError
        If it cannot be looked at.
    """

    __slots__ = ("_took", "path", "seen")

    def __init__(self, path: str) -> None:
        begin = time.monotonic()
        self.path = path
        self.seen = Seen.now(path)
        self._took = time.monotonic() - begin

    def holds(self) -> bool:
        """Whether all files looked like that when it was last allowed to look."""
        if not _ALLOWANCE.covers(self._took):
            return True
        try:
            now = WatchedFolder(self.path)
        except SubregionError:
            return False  # opening it again says what is wrong, if anything is
        self._took = now._took
        _ALLOWANCE.spend(now._took)
        return now.seen.state == self.seen.state


class _Allowance:
    """The time that looking at folders may take."""

    def __init__(self) -> None:
        self._saved = LONGEST_LOOK
        self._since = time.monotonic()

    def covers(self, seconds: float) -> bool:
        """Whether so much has been saved."""
        now = time.monotonic()
        self._saved = min(LONGEST_LOOK, self._saved + (now - self._since) / SHARE)
        self._since = now
        return self._saved >= seconds

    def spend(self, seconds: float) -> None:
        """Note that so much was spent."""
        self._saved -= seconds


_ALLOWANCE = _Allowance()

Watched: TypeAlias = WatchedFile | WatchedFolder


def _lasting(status: os.stat_result) -> bool:
    return status.st_ino != 0 and _keeps_numbers(status.st_dev)


@functools.lru_cache(maxsize=64)
def _keeps_numbers(device: int) -> bool:
    """Whether the file system of a device gives its files the same numbers after the next mount."""
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            mounts = [line.split() for line in file]
    except OSError:
        return True
    number = f"{os.major(device)}:{os.minor(device)}"
    kinds = [words[words.index("-") + 1] for words in mounts if words[2] == number and "-" in words]
    return not any(kind.startswith(_MADE_UP) for kind in kinds)
