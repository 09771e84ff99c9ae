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
    chosen = [BACKENDS[number] for number in range(arena.times(len(BACKENDS), 2))]
    number = 0
    for turn in range(arena.times(10, 1)):
        for backend, kind in chosen:
            given = {"folder": str(sources.folder), "backend": backend, "kind": kind}
            with arena.passing("work") as workdir:
                given["workdir"] = str(workdir)
                for _ in range(3):
                    _kill_one(arena, number, given)
                    number += 1
                arena.run("chaos.steps:verify", **given)
                if turn % 5 == 4:
                    _kill_worker(arena, given)
                    arena.run("chaos.steps:verify", **given)


def _kill_one(arena: Arena, number: int, given: dict[str, Any]) -> None:
    step = ("prepare", "read", "prepare")[number % 3]
    more: dict[str, Any] = {"workers": 2 * (number % 2)} if step == "prepare" else {"seed": number}
    victim = arena.start(f"chaos.steps:{step}", **given, **more)
    neighbour = arena.start("chaos.steps:prepare", **given) if number % 4 == 1 else None
    if not victim.wait_for("ready"):
        victim.finish()
        return
    time.sleep(arena.dice.uniform(0, 0.7 if neighbour is None else 1.2) ** 1.5)
    if victim.kill():
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
