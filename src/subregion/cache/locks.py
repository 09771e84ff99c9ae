"""Locks of a cache folder, which save work and nothing else.

Where they do not function, or an owner hangs, work is done twice, and the outcome is the same.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterator

import filelock  # not from `libraries`: its own fork hook must be there before ours waits for an import

from subregion.io.descriptors import read_regular

#: A lock whose owner shows no sign of life for this long (seconds) is passed by: that costs double work only.
PATIENCE = 60.0
#: What filelock makes for a moment to see whether there are locks; a process that dies then leaves it.
PROBE = ".filelock-probe-"
#: More bytes are in no lock file.
_SIGNED = 4096


class Lock:
    """The right to do one thing, for one process and thread at a time.

    Parameters
    ----------
    path : str
        Its file, which is there while somebody has it, or died with it.

    Attributes
    ----------
    held : bool or None
        Whether it was got; False if somebody else has it, None if there are no locks here.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._lock = filelock.FileLock(path, thread_local=False)
        self.held: bool | None = False

    @property
    def tells_the_dead(self) -> bool:
        """Whether the system lets go of it with its owner; otherwise a file of a dead owner looks alive."""
        return not isinstance(self._lock, filelock.SoftFileLock)

    def acquire(self) -> bool | None:
        """Try to get it, and return `held`."""
        try:
            self._lock.acquire(timeout=0)
            self.held = True
        except filelock.Timeout:
            self.held = False
        except (OSError, RuntimeError):  # the file system has no locks, or this thread has that one already
            self.held = None
        return self.held

    def release(self) -> None:
        """Let go of it, if it was got; where the server of the locks is gone, so is it."""
        if self.held:
            with contextlib.suppress(OSError):
                os.unlink(self._path)
            with contextlib.suppress(OSError):
                self._lock.release()
            self.held = False

    @property
    def owner(self) -> str | None:
        """Which process has it; None if nobody has."""
        if not os.path.isfile(self._path):
            return None
        if self.acquire():
            self.release()
            return None
        try:
            words = read_regular(self._path, _SIGNED).decode().split()
            return f"process {words[0]} on {words[1]}"
        except (OSError, ValueError, IndexError):
            return "an unknown process"

    @contextlib.contextmanager
    def waited_for(
        self, done: Callable[[], bool], sign: Callable[[], object], pauses: tuple[float, float]
    ) -> Iterator[None]:
        """Wait until it is got, or waiting is of no use any more.

        Parameters
        ----------
        done : callable
            Whether waiting has become needless.
        sign : callable
            What changes as long as the owner lives.
        pauses : tuple of float
            How long to wait between two looks, at first and at most, in seconds.
        """
        last_sign, last_seen = time.monotonic(), sign()
        pause, longest = pauses
        while self.acquire() is False and not done():
            now = sign()
            if now != last_seen:
                last_sign, last_seen = time.monotonic(), now
            elif time.monotonic() - last_sign > PATIENCE:
                break
            time.sleep(pause)
            pause = min(longest, pause * 1.5)
        if self.held:
            self._write_owner()
        try:
            yield
        finally:
            self.release()

    def _write_owner(self) -> None:
        """Write into its file who holds it, as lock files of systems without locks say it."""
        with contextlib.suppress(OSError):
            if os.path.getsize(self._path) == 0:
                with open(self._path, "w", encoding="utf-8") as file:
                    file.write(f"{os.getpid()}\n{socket.gethostname()}\n")
