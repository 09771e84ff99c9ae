"""Processes that are killed (SIGKILL) at random moments while they convert and read.

After a third of the kills, and at the end, a new process prepares the collection and reads everything: its
pixels must be right, and nothing unfinished, no lock and no data without a pointer may be left. Some
processes have a neighbour at the same work, which must come to a good end. Some prepare by worker processes,
of which one is killed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from chaos.child import Report
from chaos.harness import Arena
from chaos.sources import Sources, kinds, make
from chaos.steps import collection, prepare_all

#: Each with the sources of which it keeps the pixels.
BACKENDS: tuple[tuple[Any, str], ...] = (
    ("npy", ""),
    ("cog", ""),
    ("zarr", ""),
    ("auto", ""),
    ("jpeg", "jpeg"),
    ({"type": "zarr", "config": {"compress": "RAW"}}, ""),
    ({"type": "cog", "config": {"compress": "RAW"}}, ""),
)


def attack(arena: Arena) -> None:
    """Kill, and look what is left."""
    formats = kinds(("png", "jpeg", "jpeg-progressive", "tiff-deflate", "webp"))
    sources = make(arena.place("sources"), formats, each=2)
    moments = Moments(arena)
    turn = 0
    while arena.account.counts.get("kills", 0) < arena.times(200, 3) and turn < 120:
        turn += 1
        backend, kind = BACKENDS[turn % len(BACKENDS)]
        given = {"folder": str(sources.folder), "backend": backend, "kind": kind}
        with arena.passing("work") as workdir:
            given["workdir"] = str(workdir)
            for number in range(3):
                _kill_one(arena, turn * 3 + number, moments, given)
            arena.run("chaos.steps:verify", **given)
        if turn % 10 == 9:
            with arena.passing("work") as workdir:
                given["workdir"] = str(workdir)
                _kill_worker(arena, given)
                arena.run("chaos.steps:verify", **given)


class Moments:
    """When to kill: at any moment of the time that the victims take, which is found out on the way."""

    def __init__(self, arena: Arena) -> None:
        self._dice = arena.dice
        self._lasting: dict[str, float] = {}

    def wait(self, kind: str) -> None:
        """Wait for the moment."""
        time.sleep(self._dice.uniform(0, self._lasting.setdefault(kind, 0.3)))

    def learn(self, kind: str, alive: bool) -> None:
        """Note whether the victim still lived."""
        self._lasting[kind] *= 1.1 if alive else 0.7


def _kill_one(arena: Arena, number: int, moments: Moments, given: dict[str, Any]) -> None:
    step = ("prepare", "read", "prepare")[number % 3]
    more: dict[str, Any] = {"workers": 2 * (number % 2)} if step == "prepare" else {"seed": number}
    victim = arena.start(f"chaos.steps:{step}", **given, **more)
    neighbour = arena.start("chaos.steps:prepare", **given) if number % 4 == 1 else None
    if not victim.wait_for("ready"):
        victim.finish()
        return
    kind = f"{step} {given['backend']} {neighbour is None} {number % 3}"
    moments.wait(kind)
    alive = victim.kill()
    moments.learn(kind, alive)
    if alive:
        arena.account.count("kills")
    if neighbour is not None:
        neighbour.finish()


def _kill_worker(arena: Arena, given: dict[str, Any]) -> None:
    """Kill one of the worker processes that prepare."""
    child = arena.start("chaos.attacks.kills:prepare_by_workers", **given)
    if child.wait_for("ready"):
        time.sleep(arena.dice.uniform(0, 0.5))
        workers = _children_of(child.process.pid)
        if workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(arena.dice.choice(workers), signal.SIGKILL)
                arena.account.count("killed workers")
    child.finish()


def _children_of(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def prepare_by_workers(report: Report, folder: str, workdir: str, backend: Any, kind: str) -> None:
    """Prepare by an executor of which a worker is killed: that is an error of the images concerned."""
    frames = collection(Sources(folder), workdir, backend, kind)
    with ProcessPoolExecutor(2, mp_context=get_context("fork")) as executor:
        executor.submit(int).result()
        report.alive("ready")
        prepare_all(report, frames, ("BrokenProcessPool",), executor=executor)
