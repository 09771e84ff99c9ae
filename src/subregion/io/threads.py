"""The threads of this process: as many as there is work for, and none taken over by a fork."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

from subregion.forks import in_child

#: A function, and what it is called with.
Work: TypeAlias = "tuple[Callable[..., None], tuple[Any, ...]]"


def processors() -> int:
    """Count the cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def carry_out(work: Sequence[Work], threads: int) -> None:
    """Do independent pieces of work in several threads, the calling one included.

    Raises
    ------
    Exception
        The first that a piece raised, after the work in progress came to its end.
    """
    helpers = min(threads, len(work)) - 1
    if helpers <= 0:
        for call, arguments in work:
            call(*arguments)
        return
    remaining = iter(work)
    take = threading.Lock()
    stop = threading.Event()

    def go_on() -> None:
        while not stop.is_set():
            with take:
                item = next(remaining, None)
            if item is None:
                return
            try:
                item[0](*item[1])
            except BaseException:
                stop.set()
                raise

    futures = [_THREADS.executor().submit(go_on) for _ in range(helpers)]
    try:
        go_on()
    finally:
        for future in futures:
            if not future.cancel():
                future.exception()  # wait: outputs must not be written after the call returns
    for future in futures:
        if not future.cancelled():
            future.result()


class _Threads:
    """Threads that are started when first needed."""

    def __init__(self) -> None:
        self._start_empty()
        in_child(self._start_empty)

    def _start_empty(self) -> None:
        self._lock = threading.Lock()
        self._executor: ThreadPoolExecutor | None = None

    def executor(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._executor is None:
                self._executor = ThreadPoolExecutor(
                    max(32, processors()), thread_name_prefix="subregion-decode"
                )
            return self._executor


_THREADS = _Threads()
