"""Entries and sources that become shorter while they are open and mapped.

``between``: the file is cut between two windows. The next window must be mended from the source or, where it
was the source, be one error; a signal is a fault.

``within``: the file is cut and written again all the time while it is read. There is a moment between the
look at the size and the copy out of the map in which a cut ends the process by SIGBUS: such ends are counted
as races, and the next process must be served well.
"""

from __future__ import annotations

import contextlib
import os
import random
import time
from pathlib import Path
from typing import Any

import numpy as np

from chaos.attacks.folders import _holds_pixels
from chaos.child import Report
from chaos.harness import Arena
from chaos.sources import Sources, content
from chaos.steps import collection

RAW = ({"type": "cog", "config": {"compress": "RAW"}}, {"type": "zarr", "config": {"compress": "RAW"}})
#: A source, how it is stored, and which of both is cut.
CASES: tuple[tuple[str, Any, str], ...] = (
    ("png", "npy", "entry"),
    ("png", RAW[0], "entry"),
    ("png", RAW[1], "entry"),
    ("png", "cog", "entry"),
    ("png", "zarr", "entry"),
    ("jpeg", "jpeg", "entry"),
    ("npy", None, "source"),
    ("tiff-strips", None, "source"),
    ("tiff-zstd", None, "source"),
    ("zarr-raw", None, "source"),
    ("zarr", None, "source"),
    ("png", None, "source"),
    ("jpeg", None, "source"),
    ("jpeg-intervals", None, "source"),
    ("bmp", None, "source"),
    ("npy", "auto", "source"),
    ("tiff-strips", "auto", "source"),
)


def between(arena: Arena) -> None:
    """Cut between windows."""
    _attack(arena, arena.times(2, 1), "cut_between")


def within(arena: Arena) -> None:
    """Cut within windows."""
    _attack(arena, arena.times(2, 1), "read_while_cut")


def _attack(arena: Arena, rounds: int, step: str) -> None:
    cases = CASES if arena.full else CASES[:: 7 if step == "cut_between" else 9]
    for kind, backend, cut in cases:
        for _ in range(rounds):
            with arena.passing("cut") as place:
                sources = Sources(place)
                sources.add("a", kind, content(arena.dice.randrange(1000), 600, 800))
                given = {"folder": str(place), "workdir": str(place / "work"), "backend": backend}
                arena.run("chaos.steps:verify", **given)
                if step == "cut_between":
                    arena.run(
                        "chaos.attacks.truncation:cut_between",
                        cut=cut,
                        seed=arena.dice.randrange(1 << 30),
                        cuts=arena.times(12, 2),
                        **given,
                    )
                    arena.account.count("cuts", arena.times(12, 2))
                else:
                    _cut_within(arena, cut, given)
                if cut == "source":
                    continue
                arena.run("chaos.steps:verify", **given)


def _cut_within(arena: Arena, cut: str, given: dict[str, Any]) -> None:
    stop = Path(given["folder"]) / "stop"
    child = arena.start("chaos.attacks.truncation:read_while_cut", cut=cut, stop=str(stop), **given)
    child.wait_for("ready")
    deadline = time.monotonic() + (1.5 if arena.full else 0.4)
    whole: dict[str, bytes] = {}
    while time.monotonic() < deadline and child.process.poll() is None:
        for path in _targets(given["folder"], given["workdir"], cut):
            with contextlib.suppress(OSError):
                size = path.stat().st_size
                if cut == "source":
                    data = whole.setdefault(str(path), path.read_bytes())
                with path.open("r+b") as file:
                    file.truncate(arena.dice.choice([0, 1, size // 2, size // 4096 * 4096, size - 1]))
                arena.account.count("cuts")
                time.sleep(arena.dice.uniform(0, 0.004))
                if cut == "source":
                    path.write_bytes(data)
        time.sleep(arena.dice.uniform(0, 0.02))
    stop.touch()
    child.finish("SIGBUS")


def _targets(folder: str, workdir: str, cut: str) -> list[Path]:
    """List the files that hold pixels, of the source or of the entry."""
    root = Path(folder) / "files" if cut == "source" else Path(workdir) / "_cache" / "frames"
    found = [Path(where) / name for where, _, names in os.walk(root) for name in sorted(names)]
    if cut == "source":
        return [path for path in found if path.name != "zarr.json"]
    with contextlib.suppress(FileNotFoundError):  # a mended entry takes the place of another
        return [path for path in found if _holds_pixels(path) and "unfinished" not in path.parts]
    return []


def cut_between(
    report: Report, folder: str, workdir: str, backend: Any, cut: str, seed: int, cuts: int
) -> None:
    """Read, cut, and read again."""
    sources = Sources(folder)
    frames = collection(sources, workdir, backend)
    (name,) = frames.image_ids
    expected = sources.pixels(name)
    dice = random.Random(seed)
    for number in range(cuts):
        for _ in range(3):  # from the second window on, files are mapped
            _window(report, frames, name, expected, dice, ())
        targets = _targets(folder, workdir, cut)
        path = dice.choice(targets)
        data = path.read_bytes()
        size = len(data)
        to = dice.choice([0, 1, size // 2, size // 4096 * 4096, size - 1, dice.randrange(size)])
        report.alive(f"cut {number}: {path.name} from {size} to {to}")
        os.truncate(path, to)
        allowed = ("DamagedFileError", "UnsupportedFormatError") if cut == "source" else ()
        for _ in range(4):
            _window(report, frames, name, expected, dice, allowed)
        if cut == "source":
            path.with_name("other").write_bytes(data)
            os.replace(path.with_name("other"), path)
        _window(report, frames, name, expected, dice, ())


def _window(
    report: Report, frames: Any, name: str, expected: Any, dice: random.Random, allowed: tuple[str, ...]
) -> None:
    row, col = dice.randrange(400), dice.randrange(500)
    region = (slice(row, row + dice.randrange(1, 200)), slice(col, col + dice.randrange(1, 300)))
    with report.attempt(f"window {region}", allowed):
        report.check(frames.load_region(name, region), expected[region], f"window {region}")


def read_while_cut(report: Report, folder: str, workdir: str, backend: Any, cut: str, stop: str) -> None:
    """Read windows; of a source that is being written anew they may be torn, of an entry never."""
    sources = Sources(folder)
    frames = collection(sources, workdir, backend)
    (name,) = frames.image_ids
    expected = sources.pixels(name)
    dice = random.Random(0)
    report.alive("ready")
    unready = ("DamagedFileError", "UnsupportedFormatError", "TooLargeError", "SourceReadError")
    # An entry that was just mended may be cut again before it is read.
    allowed = unready if cut == "source" else ("CacheError", "DamagedFileError")
    while not os.path.exists(stop):
        row, col = dice.randrange(400), dice.randrange(500)
        region = (slice(row, row + dice.randrange(1, 200)), slice(col, col + dice.randrange(1, 300)))
        with report.attempt("window", allowed):
            pixels = frames.load_region(name, region)
            if cut == "entry":
                report.check(pixels, expected[region], "window")
            elif np.array_equal(pixels, expected[region]):
                report.trial()
