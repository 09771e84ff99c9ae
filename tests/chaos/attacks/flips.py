"""Bits that change on the disk: in headers, indexes, blocks, manifests, checksums and stamps.

A bit of a file of an entry changes, or the file is cut, deleted, or swapped with that of another entry, and
images are read: in a collection that had the entry open, though no block of it was read, and in one that
opens it anew. What is returned is right. Raw pixels (``npy`` and ``compress="RAW"``) have no checksums that
reading looks at: there ``verify(deep=True)`` must tell, and mend.
"""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

from chaos.child import Report
from chaos.harness import Arena
from chaos.sources import Sources, make
from chaos.steps import collection, prepare_all

BACKENDS: tuple[Any, ...] = (
    "npy",
    "cog",
    "zarr",
    "jpeg",
    {"type": "cog", "config": {"compress": "LZW"}},
    {"type": "cog", "config": {"compress": "DEFLATE"}},
    {"type": "cog", "config": {"compress": "RAW"}},
    {"type": "zarr", "config": {"compress": "ZSTD"}},
    {"type": "zarr", "config": {"compress": "RAW"}},
)
HARMS = ("flip",) * 9 + ("cut", "delete", "swap")


def attack(arena: Arena) -> None:
    """Change bits."""
    backends = BACKENDS if arena.full else BACKENDS[::2]
    for number, backend in enumerate(backends):
        # JPEGs are kept as they are, so that what is expected is known to the last bit.
        kept = ("jpeg",) if backend == "jpeg" else ("png", "tiff-deflate")
        sources = make(arena.place("sources"), kept)
        with arena.passing("work") as workdir:
            arena.run(
                "chaos.attacks.flips:flip_and_read",
                folder=str(sources.folder),
                workdir=str(workdir),
                backend=backend,
                seed=arena.dice.randrange(1 << 30) + number,
                flips=arena.times(130, 5),
            )
            arena.account.count("flips", arena.times(130, 5))
            arena.run("chaos.steps:verify", folder=str(sources.folder), workdir=str(workdir), backend=backend)


def flip_and_read(report: Report, folder: str, workdir: str, backend: Any, seed: int, flips: int) -> None:
    """Change one place after the other."""
    from subregion import set_cache_limit
    from subregion.io.pool import POOL

    set_cache_limit(0)  # decoded blocks in memory would hide what changed
    sources = Sources(folder)
    frames = collection(sources, workdir, backend)
    names = list(frames.image_ids)
    raw = backend == "npy" or (isinstance(backend, dict) and backend["config"]["compress"] == "RAW")
    dice = random.Random(seed)
    prepare_all(report, frames)
    for number in range(flips):
        name = dice.choice(names)
        if number % 2:
            frames.load_region(name, (slice(0), slice(0)))  # opens it
        files = sorted(
            place for place in Path(workdir).glob("_cache/frames/??/**/*") if place.is_file()
        ) + sorted(Path(workdir).glob("_cache/frames/stamps/*"))
        path = dice.choice(files)
        harm = _change(path, files, dice)
        report.alive(f"{number}: {path.name} {harm}")
        if number % 3 == 0 and not raw:
            prepare_all(report, frames)
        if raw:
            with report.attempt("verify"):
                damage = harm.startswith(("flip", "swap")) and path.parent.name != "stamps"
                if damage and frames.verify(deep=True).ok:
                    report.fault("wrong", f"{path.name} {harm}: verify found nothing")
                if not frames.verify(deep=True, repair=True).ok:
                    report.fault("wrong", f"{path.name} {harm}: was not mended")
            frames.backend = backend  # forgets what is open
        for each in names:
            expected = sources.pixels(each)
            with report.attempt(f"{each} after {path.name} {harm}"):
                report.check(frames.load_region(each), expected, f"{each} after {path.name} {harm}")
        POOL.forget(lambda key: True)


def _change(path: Path, files: list[Path], dice: random.Random) -> str:
    """Change something, and say what."""
    size = path.stat().st_size
    harm = dice.choice(HARMS) if size else "write"
    if harm == "flip":
        near = min(size, 400)
        at = dice.choice([dice.randrange(size), dice.randrange(near), size - 1 - dice.randrange(near)])
        bit = dice.randrange(8)
        with path.open("r+b") as file:
            file.seek(at)
            (value,) = file.read(1)
            file.seek(at)
            file.write(bytes([value ^ 1 << bit]))
        return f"flip of bit {bit} of byte {at}"
    if harm == "cut":
        os.truncate(path, dice.randrange(size))
    elif harm == "delete":
        path.unlink()
    elif harm == "write":
        path.write_bytes(b"x")
    else:
        others = [each for each in files if each.suffix == path.suffix and each != path]
        path.write_bytes(dice.choice(others or [path]).read_bytes() if others else b"x" * size)
    return harm
