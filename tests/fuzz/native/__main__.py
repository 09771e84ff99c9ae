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
from pathlib import Path

from fuzz.native.corpus import write

HERE = Path(__file__).parent
SOURCES = Path(__file__).parents[3] / "src/subregion/blocks/native"
#: Packages as pkg-config names them, and what tells the sources that they are there.
LIBRARIES = {"liblz4": "SR_HAVE_LZ4", "libzstd": "SR_HAVE_ZSTD", "libdeflate": "SR_HAVE_DEFLATE"}
SANITIZERS = "address,undefined"


def build(target: Path, guided: bool) -> None:
    """Compile the decoders and what feeds them."""
    compiler = "clang" if guided else os.environ.get("CC", "cc")
    command = [compiler, "-g", "-O1", "-std=c11", "-fno-sanitize-recover=all", f"-I{SOURCES}"]
    command.append(f"-fsanitize={'fuzzer,' if guided else ''}{SANITIZERS}")
    command += [] if guided else ["-DALONE"]
    linking = []
    for package, macro in LIBRARIES.items():
        found = subprocess.run(["pkg-config", "--libs", package], capture_output=True, text=True, check=True)
        command.append(f"-D{macro}")
        linking += found.stdout.split()
    names = ("decode.c", "blosc.c", "filters.c", "crc32c.c")
    sources = [str(HERE / "door.c"), *(str(SOURCES / name) for name in names)]
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
