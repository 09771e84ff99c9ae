"""How long it takes to look after a cache: ``python -m benchmarks.upkeep``.

A workdir of many small entries is made by copying one, and one of large files; then `verify`, `info` and `gc`
go over them. Printed are seconds, and for the deep one the ratio to the checksum alone over the same bytes.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
from PIL import Image

from subregion import SimpleFrames
from subregion.cache.checksums import BAND
from subregion.views import AS_IT_IS


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Return the seconds of a call, and what it gave."""
    begin = time.perf_counter()
    found = call()
    return time.perf_counter() - begin, found


def multiply(workdir: Path, sources: Path, count: int) -> None:
    """Make so many entries of one, each of a source of its own: links to the same data under other names."""
    from subregion.cache.entries import Folder
    from subregion.cache.manifest import manifest_of
    from subregion.cache.metadata import Carried
    from subregion.cache.origin import Origin
    from subregion.cache.seen import look_at

    folder = Folder(str(workdir / "_cache/frames"))
    (key,) = folder.keys()
    entry = folder.inspect(key)
    first = Path(entry.origin.source)
    signature = look_at(str(first))
    suffix = Path(entry.data).suffix
    for number in range(count - 1):
        path = str(sources / f"{number}.png")
        os.symlink(first, path)
        made = Origin(path, "PATH", path, AS_IT_IS, entry.origin.recipe)
        home = workdir / "_cache/frames" / made.key[:2]
        home.mkdir(exist_ok=True)
        name = f"{made.key}.{number:016x}{suffix}"
        shutil.copyfile(entry.data, home / name)
        shutil.copyfile(entry.sums_path, home / f"{name}.sums")
        manifest = manifest_of(name, {"": entry.size}, False, signature, entry.sums, made, Carried())
        (home / f"{made.key}.json").write_bytes(manifest)


def checksum_alone(path: Path) -> int:
    """Read a file and compute its checksums, and nothing else."""
    done = 0
    with open(path, "rb", buffering=0) as file:
        while data := file.read(BAND):
            google_crc32c.value(data)
            done += len(data)
    return done


def many(count: int) -> None:
    """Look after many small entries."""
    with tempfile.TemporaryDirectory() as place:
        sources, workdir = Path(place, "sources"), Path(place, "work")
        sources.mkdir()
        Image.fromarray(np.arange(64 * 64 * 3, dtype=np.uint8).reshape(64, 64, 3)).save(sources / "first.png")
        frames = SimpleFrames({"first": sources / "first.png"}, workdir, "cog")
        frames.prepare()
        multiply(workdir, sources, count)
        run = Command()
        for name in ("info", "verify", "verify --deep", "gc --older-than 30d", "gc --max-size 1"):
            verb, *options = name.split()
            seconds, answer = timed(lambda verb=verb, options=options: run(verb, workdir, *options))  # type: ignore[misc]
            print(f"{name:22}{count:9,} entries {seconds:8.2f} s   {_gist(answer)}", flush=True)


def large(gigabytes: float) -> None:
    """Look at every byte of large entries, by turns with the checksum alone."""
    with tempfile.TemporaryDirectory() as place:
        pixels = np.random.default_rng(0).integers(0, 255, (16_000, int(gigabytes * 62_500)), np.uint8)
        np.save(Path(place, "a.npy"), pixels)
        frames = SimpleFrames({0: Path(place, "a.npy")}, Path(place, "work"), "npy")
        frames.prepare(progress=False)
        (data,) = Path(place, "work").glob("_cache/frames/??/*.npy")
        ratios = []
        for _ in range(7):
            alone, nbytes = timed(lambda: checksum_alone(data))
            whole, report = timed(lambda: frames.verify(deep=True, progress=False))
            if not report.ok or report.nbytes != nbytes:
                raise AssertionError(f"{report} instead of {nbytes} intact bytes")
            ratios.append(alone / whole)
            print(
                f"deep: {nbytes / whole / 1e9:.2f} GB/s, checksum alone {nbytes / alone / 1e9:.2f}",
                flush=True,
            )
        print(f"deep : checksum alone = {sorted(ratios)[len(ratios) // 2]:.2f} of its speed")


class Command:
    """Runs the command line in this process."""

    def __call__(self, *words: object) -> str:
        """Return what a command prints with `--json`."""
        from typer.testing import CliRunner

        from subregion.cli.main import app

        return CliRunner().invoke(app, [*map(str, words), "--json"]).output


def _gist(answer: str) -> str:
    try:
        document = json.loads(answer)
    except ValueError:
        return re.sub(r"\s+", " ", answer)[:200]
    document = document[0] if isinstance(document, list) else document
    return ", ".join(f"{key} {value}" for key, value in document.items() if isinstance(value, int | float))


def main() -> None:
    """Measure both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=100_000)
    parser.add_argument("--gigabytes", type=float, default=2.0)
    arguments = parser.parse_args()
    large(arguments.gigabytes)
    many(arguments.entries)


if __name__ == "__main__":
    main()
