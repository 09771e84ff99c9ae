"""A program that forks while it reads for the first time; `test_forks` starts it in a fresh interpreter.

    python reader.py {names | imports | libraries | converted} BACKEND WORKDIR FILE ...

It prints how many children it forked and how many of them did not read every picture, and read it right.
"""

from __future__ import annotations

import faulthandler
import hashlib
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

import subregion

#: A child that is not done by then hangs, in seconds: a lock without a sign of life is waited for for 60.
BOUND = 50
#: Children of one program, at most.
CHILDREN = 12


def read(paths: Sequence[str], backend: Any, workdir: str) -> list[str]:
    """Read a window of each picture and its reduced copy, as one who never read before."""
    found = []
    for path in paths:
        frames = subregion.SimpleFrames({0: path}, workdir, backend)
        for options in ({}, {"scale": 0.5}, {"nodata": "float"}):
            pixels = frames.load_region(0, (slice(3, 70), slice(5, 90)), **options)
            found.append(hashlib.sha1(pixels.tobytes()).hexdigest())
    return found


class Children:
    """Forked children that read what the parent reads."""

    def __init__(self, paths: Sequence[str], backend: Any, workdir: str) -> None:
        self._what = paths, backend, workdir
        self._pids: list[tuple[int, int]] = []

    def fork(self) -> None:
        """Fork a child, which answers through a pipe what it read."""
        answer, tell = os.pipe()
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                faulthandler.dump_traceback_later(BOUND, exit=True)
                os.write(tell, "\n".join(read(*self._what)).encode())
                code = 0
            finally:
                os._exit(code)
        os.close(tell)
        self._pids.append((pid, answer))

    def wrong(self, expected: list[str]) -> int:
        """Wait for all of them and count those that failed, hung, or read something else."""
        count = 0
        for pid, answer in self._pids:
            with os.fdopen(answer) as pipe:
                found = pipe.read().split("\n")
            _, status = os.waitpid(pid, 0)
            count += status != 0 or found != expected
        return count

    def __len__(self) -> int:
        return len(self._pids)


def during_imports(paths: Sequence[str], backend: Any, workdir: str) -> tuple[int, int]:
    """Fork while another thread imports something, once for each package, or starts a program."""
    children = Children(paths, backend, workdir)
    importing, forking, idle = threading.Event(), threading.Event(), threading.Event()
    packages: set[str] = set()
    expected: list[str] = []

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event not in ("import", "subprocess.Popen") or threading.current_thread() is not reader:
            return
        if not idle.is_set() or len(packages) >= CHILDREN:
            return  # a fork is waiting for this very import
        package = arguments[0].partition(".")[0] if event == "import" else event
        if package not in packages:
            packages.add(package)
            forking.clear()
            importing.set()
            forking.wait(5)
            time.sleep(0.05)  # the fork is on its way, or waits

    reader = threading.Thread(target=lambda: expected.extend(read(paths, backend, workdir)))
    sys.addaudithook(watch)
    idle.set()
    reader.start()
    while reader.is_alive() or importing.is_set():
        if importing.wait(0.05):
            idle.clear()
            importing.clear()
            forking.set()
            children.fork()
            idle.set()
    reader.join()
    return len(children), children.wrong(expected)


def inside_libraries(paths: Sequence[str], backend: Any, workdir: str) -> tuple[int, int]:
    """Fork while other threads read."""
    expected = read(paths, backend, workdir)
    children = Children(paths, backend, workdir)
    stop = threading.Event()

    def read_on() -> None:
        while not stop.is_set():
            assert read(paths, backend, workdir) == expected

    readers = [threading.Thread(target=read_on) for _ in range(4)]
    for reader in readers:
        reader.start()
    for _ in range(CHILDREN):
        time.sleep(0.02)
        children.fork()
    stop.set()
    for reader in readers:
        reader.join()
    return len(children), children.wrong(expected)


def after_conversions(paths: Sequence[str], backend: Any, workdir: str) -> tuple[int, int]:
    """Let daemonic workers of a pool convert and read all pictures but the first, which the parent did."""
    read(paths[:1], backend, workdir)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        jobs = [pool.apply_async(read, ([path], backend, workdir)) for path in paths[1:]]
        found = []
        for job in jobs:
            try:
                found.append(job.get(BOUND))
            except multiprocessing.TimeoutError:
                found.append([])
    return len(found), sum(
        answer != read([path], backend, workdir) for answer, path in zip(found, paths[1:], strict=True)
    )


if __name__ == "__main__":
    when, backend, workdir, *paths = sys.argv[1:]
    if when != "names":
        subregion.SimpleFrames  # noqa: B018 - imports it, as programs do at their beginning
    attack = {
        "names": during_imports,
        "imports": during_imports,
        "libraries": inside_libraries,
        "converted": after_conversions,
    }[when]
    count, wrong = attack(paths, None if backend == "None" else backend, workdir)
    print(f"{count} children, {wrong} wrong")
