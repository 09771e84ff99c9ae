"""System calls that fail: no locks, and disks on which now and then anything fails or does only a part.

A small library (`faulty.c`, made by the C compiler; without one this is left out) makes calls fail in the
processes that load it. ``locks``: taking or giving back a lock fails, always or sometimes, as on file
systems that have none, while three processes prepare the same. ``calls``: opening, reading, writing,
syncing, renaming and deleting below the cache folder, or reading the sources, fails now and then.

What fails is a `CacheError` or an error of the source; pixels are right; afterwards nothing is amiss or left
over.
"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from chaos.child import Report
from chaos.harness import Arena
from chaos.sources import Sources, kinds, make
from chaos.steps import check, collection, prepare_all

BACKENDS: tuple[Any, ...] = ("npy", "cog", "zarr", "auto")
KINDS = ("png", "jpeg", "tiff-deflate", "tiff-zstd", "webp", "npy", "zarr")
NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EIO)
WRITING = (errno.ENOSPC, errno.EIO, errno.EROFS, errno.EDQUOT, errno.EACCES, errno.ESTALE)
OPENING = (errno.EMFILE, errno.ENFILE, errno.EIO, errno.EACCES, errno.ESTALE, errno.ENOMEM)


def _library(arena: Arena) -> Path | None:
    """Compile the library; None where there is no compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    target = arena.folder / "faulty.so"
    if compiler is None:
        arena.account.note("there is no C compiler here: left out")
        return None
    source = Path(__file__).with_name("faulty.c")
    subprocess.run(
        [compiler, "-O1", "-fPIC", "-shared", "-o", str(target), str(source), "-ldl"],
        check=True,
        capture_output=True,
    )
    return target


def locks(arena: Arena) -> None:
    """Let locks fail."""
    library = _library(arena)
    sources = make(arena.place("sources"), kinds(KINDS))
    for number in range(arena.times(24, 1) if library else 0):
        why, often = arena.dice.choice(NO_LOCKS), arena.dice.choice([1000, 1000, 300])
        rules = [f"flock:{why}:{often}:*", f"unlock:{why}:{often}:*"]
        chosen = rules[1:] if number % 3 == 1 else rules[:1] if number % 3 == 2 else rules
        with arena.passing("work") as workdir:
            given = {
                "folder": str(sources.folder),
                "workdir": str(workdir),
                "backend": BACKENDS[number % len(BACKENDS)],
            }
            environment = {"LD_PRELOAD": str(library), "CHAOS_CALLS": ",".join(chosen)}
            children = [
                arena.start("chaos.steps:prepare", environment=environment, **given),
                arena.start("chaos.steps:prepare", environment=environment, workers=2, **given),
                arena.start("chaos.steps:read", environment=environment, seed=number, **given),
            ]
            for child in children:
                child.finish()
                arena.account.count("processes")
            arena.run("chaos.steps:verify", **given)


def calls(arena: Arena) -> None:
    """Let anything fail."""
    library = _library(arena)
    sources = make(arena.place("sources"), kinds(KINDS))
    for number in range(arena.times(60, 2) if library else 0):
        with arena.passing("work") as workdir:
            given = {
                "folder": str(sources.folder),
                "workdir": str(workdir),
                "backend": BACKENDS[number % len(BACKENDS)],
            }
            at_source = number % 5 == 4
            environment = {
                "LD_PRELOAD": str(library),
                "CHAOS_SEED": str(arena.dice.randrange(1 << 30)),
                "CHAOS_CALLS": ",".join(
                    _rules(arena, f"{sources.folder}/files" if at_source else str(workdir))
                ),
            }
            arena.run("chaos.attacks.calls:use_what_fails", environment=environment, **given)
            arena.account.count("processes")
            arena.run("chaos.steps:verify", **given)


def _rules(arena: Arena, part: str) -> list[str]:
    often = arena.dice.choice([10, 30, 100, 300])
    rules = [f"read:0:{often}:{part}", f"write:0:{often}:{part}"]
    for call in arena.dice.sample(
        ["write", "fsync", "ftruncate", "fallocate", "rename", "unlink", "mkdir"], 3
    ):
        rules.append(f"{call}:{arena.dice.choice(WRITING)}:{often}:{part}")
    for call in ("open", "read"):
        if arena.dice.random() < 0.5:
            why = arena.dice.choice(OPENING) if call == "open" else errno.EIO
            rules.append(f"{call}:{why}:{often // 3}:{part}")
    return rules


def use_what_fails(report: Report, folder: str, workdir: str, backend: Any) -> None:
    """Prepare and read; what does not go well must say so by the right name."""
    sources = Sources(folder)
    allowed = ("CacheError", "SourceReadError", "SourcePermissionError")
    os.environ.pop("LD_PRELOAD")  # for programs that are started from here
    for turn in range(3):
        frames = collection(sources, workdir, backend)
        prepare_all(report, frames, allowed, use_stamp=bool(turn % 2))
        check(report, frames, sources, allowed=allowed, seed=turn)
        frames.backend = backend  # forgets what is open
