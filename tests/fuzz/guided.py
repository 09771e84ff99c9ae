"""Parsers in Python, fuzzed under the guidance of coverage: ``python -m fuzz.guided --help``.

Needs atheris (``pip install atheris``), which watches which lines of this library a file takes, and keeps
what leads to new ones. Each harness opens what it is given by the public face; anything raised that is not a
`SubregionError` is a fault, and so are 10 seconds and 600 MB. The first fault ends a harness: the file is
kept.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from fuzz import seeds
from fuzz.writers import photo

Target = Callable[[bytes], None]
LIMIT = 128 << 20
#: For each harness the kinds of files that it starts from.
HARNESSES: dict[str, tuple[str, ...]] = {
    "tiff": ("tiff plain", "tiff codecs", "bigtiff"),
    "geotiff": ("geotiff",),
    "jpeg": ("jpeg", "jls", "jpeg lossless"),
    "jp2": ("jp2",),
    "npy": ("npy",),
    "pnm": ("pnm",),
    "container": ("video boxes", "video"),
    "zarr": ("zarr metadata",),
    "blosc": ("zarr 3",),
    "coco": ("coco",),
    "sidecars": ("aux.xml", "world"),
    "channels": (),
}


def _opened(path: Path) -> None:
    """Ask a file for all that headers tell, and for one window."""
    import subregion
    from subregion import SubregionError

    image = subregion.open(path, backend=None)
    for question in (lambda: image.shape, image.georeference, lambda: image[3:5, 3:7]):
        try:
            question()
        except SubregionError:
            continue


def _file(folder: Path, suffix: str = ".bin") -> Target:
    def target(data: bytes) -> None:
        path = folder / f"a{suffix}"
        path.write_bytes(data)
        _opened(path)

    return target


def _in_zarr(folder: Path, seed: str, member: str) -> Target:
    """Put the data in the place of a file of an array."""
    place = folder / "seed"
    seeds.make(place, ["zarr 3"])
    array = place / "zarr-3" / seed / "a.zarr"

    def target(data: bytes) -> None:
        (array / member).write_bytes(data)
        _opened(array)

    return target


def _in_zarr_of_any_version(folder: Path) -> Target:
    newer = _in_zarr(folder, "plain", "zarr.json")
    older = folder / "older.zarr"
    older.mkdir()
    (older / "0.0.0").write_bytes(bytes(1000))

    def target(data: bytes) -> None:
        newer(data)
        (older / ".zarray").write_bytes(data)
        _opened(older)

    return target


def _dataset(folder: Path) -> Target:
    from subregion import CocoFrames, SubregionError

    def target(data: bytes) -> None:
        path = folder / "a.json"
        path.write_bytes(data)
        try:
            frames = CocoFrames(path, backend=None)
            for image_id in list(frames.image_ids)[:4]:
                frames.record(image_id)
        except SubregionError:
            return

    return target


def _beside(folder: Path) -> Target:
    from PIL import Image

    path = folder / "a.png"
    Image.fromarray(photo()).save(path)
    names = [folder / "a.png.aux.xml", folder / "a.pgw", folder / "a.prj"]

    def target(data: bytes) -> None:
        for name in names:
            name.write_bytes(data)
        _opened(path)
        names[0].unlink()
        _opened(path)

    return target


def _channels(folder: Path) -> Target:
    import numpy as np

    from subregion import SimpleFrames, SubregionError

    np.save(folder / "a.npy", photo())
    frames = SimpleFrames({1: folder / "a.npy"}, backend=None)

    def target(data: bytes) -> None:
        try:
            frames.load_region(1, (slice(2), slice(2)), data.decode("utf-8", "replace"))
        except SubregionError:
            return

    return target


def target_of(name: str, folder: Path) -> Target:
    """Make the harness of this name, in a folder of its own."""
    if name == "zarr":
        return _in_zarr_of_any_version(folder)
    if name == "blosc":
        return _in_zarr(folder, "blosc-lz4-shuffle", "c/0/0")
    special = {"coco": _dataset, "sidecars": _beside, "channels": _channels}
    return special[name](folder) if name in special else _file(folder)


def fuzz(name: str, arguments: list[str]) -> None:
    """Fuzz in this process; does not return."""
    import atheris

    for limit in ("MAX_IMAGE_BYTES", "MAX_WHOLE_BYTES", "MAX_BLOCK_BYTES", "BOMB_BYTES"):
        os.environ[f"SUBREGION_{limit}"] = str(LIMIT)
    shared = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix="guided-", dir=shared))
    with atheris.instrument_imports(include=["subregion"]):
        target = target_of(name, folder)
        for seed in (b"", b"II*\0", b"\xff\xd8\xff", b"{}"):  # what is imported on the way is watched too
            target(seed)
    atheris.Setup([sys.argv[0], *arguments], target)
    atheris.Fuzz()


def corpus(name: str, folder: Path, output: Path) -> None:
    """Collect what a harness starts from."""
    folder.mkdir(parents=True, exist_ok=True)
    kinds = seeds.kinds()
    made = seeds.make(output / "seeds", list(HARNESSES[name]))
    for kind, places in made.items():
        for seed, place in places.items():
            opened = (place / ".opened").read_text()
            pattern = "a.zarr/c/*/*" if name == "blosc" else kinds[kind].targets or opened
            for number, path in enumerate(seeds.files_below(place, pattern)):
                shutil.copyfile(path, folder / f"{kind}-{seed}-{number}".replace(" ", "-"))


def main() -> int:
    """Run each harness for a while, in a process of its own.

    Returns
    -------
    int
        1 if any of them found a fault.
    """
    parser = argparse.ArgumentParser(prog="python -m fuzz.guided", description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", metavar="WORD", help="harnesses with this word")
    parser.add_argument("--seconds", type=int, default=60, help="for each (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path("fuzz-output/guided"))
    parser.add_argument("--inside", metavar="HARNESS", help=argparse.SUPPRESS)
    options, rest = parser.parse_known_args()
    if options.inside:
        fuzz(options.inside, rest)
    failed = []
    for name in [name for name in HARNESSES if any(word in name for word in options.only or [""])]:
        place = (options.output / name).absolute()
        corpus(name, place / "corpus", options.output.absolute())
        command = [sys.executable, "-m", "fuzz.guided", "--inside", name, str(place / "corpus")]
        command += [
            f"-max_total_time={options.seconds}",
            f"-seed={options.seed}",
            f"-artifact_prefix={place}/",
        ]
        command += ["-timeout=10", "-rss_limit_mb=900", "-max_len=20000", "-verbosity=1"]
        log = place / "log.txt"
        with log.open("wb") as stream:
            code = subprocess.run(command, stdout=stream, stderr=stream, check=False).returncode
        lines = log.read_text(errors="replace").splitlines()
        runs = next((line for line in reversed(lines) if line.startswith("Done")), "")
        print(f"{name:<12}{'fault, see ' + str(log) if code else 'clean'}  {runs[:70]}", flush=True)
        if code:
            failed.append(name)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
