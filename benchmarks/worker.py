"""A process for each contender: its own environment, caches, memory and account of the disk.

The parent sends the name of a method of `_Server` and its arguments; what comes back is the answer, or why
there is none.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import time
import warnings
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from benchmarks import machine

if TYPE_CHECKING:
    from benchmarks.peers import Contender, Opened, Place

Answer = TypeVar("Answer")

#: A lossy file may be decoded with other rounding, or with simpler chroma, but not by more on average.
GREY_LEVELS = 1.0
#: How long (seconds) to wait for the end of a process that was asked to stop.
PATIENCE = 10.0


class WorkerError(Exception):
    """A contender could not do what it was asked for."""


class Worker:
    """A contender in a process of its own.

    Parameters
    ----------
    contender : Contender
        Who reads what.
    """

    def __init__(self, contender: Contender) -> None:
        self.contender = contender
        self._process, self._connection = _start(contender.environment, _serve, contender)

    def ask(self, method: str, *arguments: Any) -> Any:
        """Have a method called there, and return its answer.

        Raises
        ------
        WorkerError
            If it raised, or if the process ended.
        """
        self.send(method, *arguments)
        return self.answer()

    def send(self, method: str, *arguments: Any) -> None:
        """Ask for something without waiting for it."""
        try:
            self._connection.send((method, arguments))
        except OSError as error:
            raise WorkerError(f"its process ended: {error}") from error

    def answer(self) -> Any:
        """Wait for the answer to what was sent; see `ask`."""
        try:
            done, answer = self._connection.recv()
        except (EOFError, OSError) as error:
            self._process.join(PATIENCE)
            raise WorkerError(f"its process ended with status {self._process.exitcode}") from error
        if not done:
            raise WorkerError(answer)
        return answer

    def stop(self) -> None:
        """End the process."""
        self._connection.close()
        self._process.join(PATIENCE)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.stop()


def apart(work: Callable[..., Answer], *arguments: Any, environment: dict[str, str] | None = None) -> Answer:
    """Call a function of a module in a process of its own, and return what it returns.

    Raises
    ------
    WorkerError
        If it raised, or if the process ended.
    """
    process, connection = _start(environment or {}, _call, work, arguments)
    try:
        done, answer = connection.recv()
    except EOFError:
        process.join()
        raise WorkerError(f"its process ended with status {process.exitcode}") from None
    process.join()
    if not done:
        raise WorkerError(answer)
    result: Answer = answer
    return result


def _start(
    environment: dict[str, str], target: Callable[..., None], *arguments: Any
) -> tuple[BaseProcess, Connection]:
    """Start a process that finds an environment, and return it with the way to talk to it."""
    ours, theirs = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=target, args=(theirs, *arguments), daemon=True)
    before = {name: os.environ.get(name) for name in environment}
    # Libraries look at the environment when they are imported, so it has to be there from the beginning.
    os.environ.update(environment)
    try:
        process.start()
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
    theirs.close()
    return process, ours


def _call(connection: Connection, work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    warnings.simplefilter("ignore")
    try:
        connection.send((True, work(*arguments)))
    except KeyboardInterrupt:
        return
    except Exception as error:  # noqa: BLE001 - the parent reports it
        connection.send((False, f"{type(error).__name__}: {error}"))


def _serve(connection: Connection, contender: Contender) -> None:
    warnings.simplefilter("ignore")  # peers speak of what does not matter here
    server = _Server(contender)
    while True:
        try:
            method, arguments = connection.recv()
        except (EOFError, KeyboardInterrupt):
            return
        try:
            answer = getattr(server, method)(*arguments)
        except KeyboardInterrupt:
            return
        except Exception as error:  # noqa: BLE001 - the parent reports it
            connection.send((False, f"{type(error).__name__}: {error}"))
        else:
            connection.send((True, answer))


class _Server:
    def __init__(self, contender: Contender) -> None:
        self.contender = contender
        self._opened: Opened | None = None

    @property
    def opened(self) -> Opened:
        if self._opened is None:
            self._opened = self.contender.open()
        return self._opened

    def open(self) -> None:
        """Open the file."""
        assert self.opened  # noqa: S101 - the property opens

    def close(self) -> None:
        """Let go of the file and of all that is known of it."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None
            gc.collect()

    def check(self, places: Sequence[Place], seconds: float) -> tuple[int, int]:
        """Compare windows with the reference, for so many seconds at the most but one at least.

        Returns
        -------
        tuple of int
            How many windows were compared, and the largest difference of a sample.
        """
        import numpy as np

        if not self.contender.comparable:
            return 0, 0
        reference = np.load(self.contender.stored.reference, mmap_mode="r")
        largest, total, samples, count = 0.0, 0.0, 0, 0
        end = time.monotonic() + seconds
        for row, col, height, width in places:
            if count and time.monotonic() > end:
                break
            count += 1
            expected = reference[row : row + height, col : col + width]
            pixels = np.asarray(self.opened.read(row, col, height, width))
            if pixels.shape != expected.shape or pixels.dtype != expected.dtype:
                raise ValueError(
                    f"a window is {pixels.dtype} {pixels.shape} instead of {expected.dtype} {expected.shape}"
                )
            if np.array_equal(pixels, expected):
                continue
            apart = np.abs(pixels.astype(np.float64) - expected)
            if self.contender.exact:
                raise ValueError(
                    f"wrong pixels: the window of {height} x {width} at row {row}, column {col} differs "
                    f"from the decode of the whole in {np.mean(apart > 0):.1%} of its samples, by up to "
                    f"{apart.max():g}"
                )
            largest, total, samples = (
                max(largest, float(apart.max())),
                total + apart.sum(),
                samples + apart.size,
            )
        if samples and total / samples > GREY_LEVELS:
            raise ValueError(f"wrong pixels: {total / samples:.2f} grey levels off on average")
        del reference
        return count, int(largest)

    def run(self, places: Sequence[Place], seconds: float) -> list[float]:
        """Time windows one by one, for so many seconds at the most but for one window at least.

        Returns
        -------
        list of float
            Microseconds.
        """
        calls = self.opened.prepared(places)
        clock, taken = time.perf_counter_ns, []
        gc.collect()
        gc.disable()
        try:
            end = clock() + int(seconds * 1e9)
            for call in calls:
                start = clock()
                call()
                now = clock()
                taken.append((now - start) / 1e3)
                if now > end:
                    break
        finally:
            gc.enable()
        return taken

    def first(self, places: Sequence[Place], seconds: float) -> list[float]:
        """Time opening the file together with its first window, over and over; see `run`."""
        clock, taken = time.perf_counter_ns, []
        end = clock() + int(seconds * 1e9)
        for place in places:
            self.close()
            start = clock()
            self.opened.read(*place)
            now = clock()
            taken.append((now - start) / 1e3)
            if now > end:
                break
        return taken

    def one_by_one(self, places: Sequence[Place]) -> list[float]:
        """Time all windows one by one, put into one array as a batch is; return microseconds per window."""
        import numpy as np

        read = self.opened.read
        start = time.perf_counter_ns()
        np.stack([read(*place) for place in places])
        return [(time.perf_counter_ns() - start) / 1e3 / len(places)]

    def together(self, places: Sequence[Place], threads: int) -> list[float]:
        """Time all windows in one call; return microseconds per window."""
        read_many = self.opened.read_many
        if read_many is None:
            raise NotImplementedError("it has no call for many windows")
        start = time.perf_counter_ns()
        read_many(places, threads)
        return [(time.perf_counter_ns() - start) / 1e3 / len(places)]

    def cold(self, places: Sequence[Place], seconds: float) -> tuple[list[float], int]:
        """Time windows as `run` does; return also how many bytes came from the disk meanwhile."""
        before = machine.disk_bytes()
        taken = self.run(places, seconds)
        return taken, machine.disk_bytes() - before

    def forget_peak(self) -> None:
        """Begin anew with the peak of resident memory."""
        gc.collect()
        machine.forget_peak()

    def peak_mb(self) -> float:
        """Return the peak of resident memory."""
        return machine.peak_mb()
