"""Build the decoders of the compiled executor with sanitizers, and feed them damaged blocks.

``python -m fuzz.native`` mutates the corpus; ``--guided SECONDS`` lets libFuzzer do it, which needs clang.
Any finding ends it with the sanitizer's report. ``--corpus`` writes the corpus anew.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from fuzz.native.corpus import write

HERE = Path(__file__).parent
ROOT = Path(__file__).parents[3]
SANITIZERS = "address,undefined"


def build(target: Path, guided: bool) -> None:
    """Compile the C sources and what feeds them."""
    native = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["subregion"]["native"]
    folder = ROOT / native["folder"]
    compiler = "clang" if guided else os.environ.get("CC", "cc")
    command = [compiler, "-g", "-O1", "-std=c11", "-fno-sanitize-recover=all", f"-I{folder}"]
    command.append(f"-fsanitize={'fuzzer,' if guided else ''}{SANITIZERS}")
    command += [] if guided else ["-DALONE"]
    linking = []
    for package, macro in native["libraries"].items():
        found = subprocess.run(["pkg-config", "--libs", package], capture_output=True, text=True, check=True)
        command.append(f"-D{macro}")
        linking += found.stdout.split()
    sources = [str(HERE / "door.c"), *(str(folder / name) for name in native["sources"])]
    subprocess.run([*command, *sources, "-o", str(target), *linking], check=True)


def main() -> int:
    """Run from the command line; returns 0 if nothing was found."""
    parser = argparse.ArgumentParser(prog="python -m fuzz.native", description=__doc__)
    parser.add_argument("--count", type=int, default=20_000, help="damaged blocks")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--guided", type=int, metavar="SECONDS", help="by libFuzzer, for so long")
    parser.add_argument("--corpus", action="store_true", help="write the corpus anew and end")
    arguments = parser.parse_args()
    corpus = HERE / "corpus"
    if arguments.corpus:
        write(corpus)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "door"
        build(program, arguments.guided is not None)
        if arguments.guided is None:
            files = sorted(str(path) for path in corpus.glob("*.block"))
            command = [str(program), str(arguments.count), str(arguments.seed), *files]
        else:
            grown = Path(folder) / "grown"
            shutil.copytree(corpus, grown, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
            command = [str(program), f"-max_total_time={arguments.guided}", "-max_len=65536", str(grown)]
        return subprocess.run(command, check=False, cwd=folder).returncode


if __name__ == "__main__":
    sys.exit(main())
