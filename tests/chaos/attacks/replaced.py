"""Sources that are replaced at every moment, while they are converted and read.

One process opens a source again and again, each time with a new folder for copies, and reads it whole;
meanwhile the source becomes another content of the same size and back, by a rename or by writing into it,
with new times of change, with those that each content had before, or with one and the same. Nothing that
comes of a rename is ever torn. When all is quiet, every folder that a conversion left behind must serve
either content as it is.

What cannot be noticed is not asked for: under PATH, a content of the same size *and* time may be taken for
the other; under GIVEN and DVC, what a hash was first read as stays until there is another hash. Whole it
must be.
"""

from __future__ import annotations

import itertools
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from chaos.child import Report
from chaos.harness import Arena
from chaos.sources import WRITERS, content, write

BACKENDS: tuple[Any, ...] = (None, "npy", "cog", "zarr", "auto")
KINDS = ("bmp", "png", "jpeg", "npy", "tiff-strips", "tiff-deflate", "zarr-raw")
MODES = ("PATH", "PIXELS", "DVC", "DVC link", "GIVEN")
MANNERS = ("rename", "in place", "emptied first")
TIMES = ("new times", "own times", "same time")
#: What a reader may say to a source that is being written to, or replaced all the time.
UNREADY = ("DamagedFileError", "UnsupportedFormatError", "TooLargeError", "SourceReadError", "CacheError")


class Source:
    """A source of two contents.

    Parameters
    ----------
    folder : pathlib.Path
        Where it is, and where its contents wait.
    kind : str
        Its format.
    manner, times, mode : str
        How it is replaced.
    dice : random.Random
        How long each write takes.
    """

    def __init__(self, folder: Path, kind: str, manner: str, times: str, mode: str, dice: Any) -> None:
        self.folder, self.manner, self.times, self.mode, self.dice = folder, manner, times, mode, dice
        suffix = WRITERS[kind][0]
        self.path = folder / f"source{suffix}"
        self.made = time.time_ns()
        self.bytes: dict[str, bytes] = {}
        base = content(dice.randrange(1000), 480, 640)
        for name, pixels in (("A", base), ("B", 255 - base)):
            place = folder / f"{name}{suffix}"
            np.save(folder / f"{name}.pixels.npy", write(place, kind, pixels))
            #: The file that changes: of a folder, the only chunk.
            self.inner = "c/0/0/0" if place.is_dir() else ""
            self.bytes[name] = (place / self.inner).read_bytes()
        if self.inner:
            os.rename(folder / f"A{suffix}", self.path)
        self.state = ""
        self._turns = itertools.count(1)
        self.put("A")

    @property
    def file(self) -> Path:
        """The file whose bytes change."""
        return self.path / self.inner if self.inner else self.path

    def put(self, name: str) -> None:
        """Give it the other content."""
        data, when = self.bytes[name], self._time(name)
        if self.mode == "DVC link":
            digest = ("a" if name == "A" else "b") * 30
            stored = self.folder / "store" / "files/md5" / digest[:2] / digest
            if not stored.exists():
                stored.parent.mkdir(parents=True)
                stored.write_bytes(data)
            link = self.folder / "link"
            link.symlink_to(stored)
            os.replace(link, self.path)
        elif self.manner == "rename" or not self.state:
            other = self.folder / "other"
            other.write_bytes(data)
            os.utime(other, ns=(when, when))
            os.replace(other, self.file)
        else:
            with open(self.file, "wb" if self.manner == "emptied first" else "r+b") as file:
                # Where only a hash names the content, one that lies there half written is one like any other.
                middle = 0 if self.mode in ("GIVEN", "DVC") else self.dice.randrange(len(data))
                file.write(data[:middle])
                file.flush()
                if middle:
                    time.sleep(self.dice.choice([0, 0.002, 0.02]))
                file.write(data[middle:])
                file.truncate()
            if self.times != "new times":
                os.utime(self.file, ns=(when, when))
        if self.mode == "DVC":
            listing = self.folder / "other.dvc"
            digest = ("a" if name == "A" else "b") * 32
            listing.write_text(f"outs:\n- md5: {digest}\n  path: {self.path.name}\n")
            os.replace(listing, self.path.with_name(self.path.name + ".dvc"))
        self.state = name

    def _time(self, name: str) -> int:
        if self.times == "new times":
            return time.time_ns()
        # The second content is the older one, as `rsync -a` and `cp -p` make it.
        return self.made - (3600_000_000_000 if name == "B" and self.times == "own times" else 0)


def attack(arena: Arena) -> None:
    """Replace sources while they are read."""
    cases = [
        case for case in itertools.product(MODES, KINDS, BACKENDS, MANNERS, TIMES) if _has_meaning(*case)
    ]
    arena.dice.shuffle(cases)
    # Every mode as often as any other, and one case of each that was seen to go wrong in other libraries.
    by_mode = {mode: [case for case in cases if case[0] == mode] for mode in MODES}
    for number in range(arena.times(60, 2)):
        mode = ("PATH", "PIXELS", "DVC link", "PATH", "PIXELS", "GIVEN", "PATH", "PIXELS", "DVC")[number % 9]
        chosen = by_mode[mode]
        _session(arena, *chosen[number // 9 * 3 % len(chosen)])


def _has_meaning(mode: str, kind: str, backend: Any, manner: str, times: str) -> bool:
    if mode == "DVC link":  # replacing the link is all that DVC does
        return manner == "rename" and times == "new times" and not kind.startswith("zarr")
    if mode.startswith("DVC") and kind.startswith("zarr"):
        return False
    return backend is not None or mode == "PATH"


def _session(arena: Arena, mode: str, kind: str, backend: Any, manner: str, times: str) -> None:
    with arena.passing("replaced") as folder:
        source = Source(folder, kind, manner, times, mode, arena.dice)
        stop = folder / "stop"
        given = {
            "source": str(source.path),
            "folder": str(folder),
            "kind": kind,
            "mode": mode,
            "backend": backend,
            "manner": manner,
            "times": times,
        }
        child = arena.start(
            "chaos.attacks.replaced:read_while_replaced", stop=str(stop), places=arena.times(40, 3), **given
        )
        child.wait_for("reading")
        for _ in range(arena.times(12, 2)):
            time.sleep(arena.dice.choice([0.015, 0.015, 0.04, 0.1]) * arena.dice.uniform(1, 1.5))
            source.put("B" if source.state == "A" else "A")
            arena.account.count("replaced")
        time.sleep(0.05)
        stop.touch()
        if not child.finish("" if manner == "rename" else "SIGBUS"):
            return
        for name in ("B", "A") if source.state == "A" else ("A", "B"):
            time.sleep(0.02)
            source.put(name)
            arena.run("chaos.attacks.replaced:read_in_quiet", name=name, **given)


def _exact(mode: str, times: str) -> bool:
    """Whether each content must be told from the other."""
    return mode in ("PIXELS", "DVC link") or (mode == "PATH" and times != "same time")


def _frames(source: str, workdir: str, mode: str, backend: Any) -> Any:
    from subregion import SimpleFrames

    given: dict[str, Any] = {"id_to_hashid": {1: "a" * 40}} if mode == "GIVEN" else {}
    return SimpleFrames({1: source}, workdir, backend, mode.partition(" ")[0], **given)


def _contents(folder: str) -> dict[str, Any]:
    return {name: np.load(f"{folder}/{name}.pixels.npy") for name in ("A", "B")}


def _which(pixels: Any, contents: dict[str, Any]) -> str:
    for name, expected in contents.items():
        if np.array_equal(pixels, expected):
            return name
    return f"torn: {np.mean(np.asarray(pixels) == contents['A']):.0%} of it is A" if pixels.size else "empty"


def read_while_replaced(
    report: Report,
    source: str,
    folder: str,
    kind: str,
    mode: str,
    backend: Any,
    manner: str,
    times: str,
    stop: str,
    places: int,
) -> None:
    """Convert and read again and again, each time into another folder."""
    contents = _contents(folder)
    # Bytes that are being written over may be read, of the source itself and into a copy of that moment.
    may_tear = manner != "rename"
    allowed = UNREADY if may_tear or kind.startswith("zarr") else ("CacheError",)
    if mode == "DVC":
        allowed = (*allowed, "IdentityError")
    number = 0
    while not os.path.exists(stop):
        number += 1
        frames = _frames(source, f"{folder}/work/{number % places}", mode, backend)
        with report.attempt(f"conversion {number}", allowed):
            for _ in range(3):
                found = _which(frames.load_region(1), contents)
                if found in contents:
                    report.trial(found)
                elif not may_tear:
                    report.fault("wrong", f"conversion {number}: {found}")
        report.alive("reading")
        time.sleep(0.001)


def read_in_quiet(
    report: Report,
    source: str,
    folder: str,
    kind: str,
    mode: str,
    backend: Any,
    manner: str,
    times: str,
    name: str,
) -> None:
    """Read from every folder that the storm left behind, while nobody writes."""
    contents = _contents(folder)
    places = sorted(os.listdir(f"{folder}/work")) if os.path.isdir(f"{folder}/work") else ["0"]
    first = {}
    for place in places:
        with report.attempt(f"in quiet, {place}"):
            frames = _frames(source, f"{folder}/work/{place}", mode, backend)
            found = _which(frames.load_region(1), contents)
            again = _which(_frames(source, f"{folder}/work/{place}", mode, backend).load_region(1), contents)
            first[place] = found
            if found == again and (found == name or (found in contents and not _exact(mode, times))):
                report.trial(found)
            else:
                report.fault("wrong", f"in quiet, {place}: it is {name}, read as {found}, then as {again}")
