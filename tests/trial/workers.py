"""Child processes that may crash, hang or eat memory without taking the trial along."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any


class WorkerDiedError(Exception):
    """The child did not answer: a signal, the time limit or the memory limit."""


def _serve(pipe: Connection, memory: int) -> None:
    """Answer calls until the pipe closes."""
    limit = memory + _address_space()
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    while True:
        try:
            function, arguments = pipe.recv()
        except EOFError:
            return
        try:
            result = (True, function(*arguments))
        except MemoryError as error:
            result = (False, f"MemoryError: {error}")
        except Exception as error:  # noqa: BLE001 - whatever it is, the parent reports it
            result = (False, f"{type(error).__name__}: {error}")
        pipe.send(result)


def _address_space() -> int:
    with open("/proc/self/statm") as stream:
        return int(stream.read().split()[0]) * resource.getpagesize()


class Worker:
    """One child process that is replaced when it dies.

    Parameters
    ----------
    seconds : float
        How long one call may take.
    memory : int
        How many bytes of address space a call may add.
    """

    def __init__(self, seconds: float = 60, memory: int = 4 << 30) -> None:
        self.seconds = seconds
        self.memory = memory
        self._process: multiprocessing.process.BaseProcess | None = None
        self._pipe: Connection | None = None

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Run a function in the child.

        Parameters
        ----------
        function : callable
            Importable by name.
        *arguments : object
            Picklable.

        Returns
        -------
        object
            What the function returned.

        Raises
        ------
        WorkerDiedError
            It did not return.
        RuntimeError
            It raised; the message says what.
        """
        if self._process is None:
            self._start()
        assert self._pipe is not None
        assert self._process is not None
        started = time.monotonic()
        try:
            self._pipe.send((function, arguments))
            if not self._pipe.poll(self.seconds):
                self.close(force=True)
                raise WorkerDiedError(f"no answer in {self.seconds:g} s")
            good, value = self._pipe.recv()
        except (EOFError, BrokenPipeError, ConnectionResetError) as error:
            self._process.join(10)
            code = self._process.exitcode
            self.close(force=True)
            cause = signal.Signals(-code).name if code is not None and code < 0 else f"exit status {code}"
            raise WorkerDiedError(f"{cause} after {time.monotonic() - started:.1f} s") from error
        if not good:
            raise RuntimeError(value)
        return value

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other, self.memory), daemon=True)
        self._process.start()
        other.close()

    def close(self, *, force: bool = False) -> None:
        """End the child.

        Parameters
        ----------
        force : bool
            Do not wait for it.
        """
        if self._pipe is not None:
            self._pipe.close()
        if self._process is not None:
            if force:
                self._process.kill()
            self._process.join(10)
        self._process = self._pipe = None
