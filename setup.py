"""Builds the compiled executor, if there is a compiler; everything else is in pyproject.toml.

Nothing depends on it: without a compiler, Cython or the headers of a library the same is done in Python.
"""

from __future__ import annotations

import os
import subprocess
import sys

from setuptools import Extension, setup

FOLDER = "src/subregion/blocks/native"
#: Packages as pkg-config names them, and what tells the sources that they are there.
LIBRARIES = {"liblz4": "SR_HAVE_LZ4", "libzstd": "SR_HAVE_ZSTD", "libdeflate": "SR_HAVE_DEFLATE"}
SOURCES = (
    *("executor.pyx", "work.c", "plan.c", "grid.c"),
    *("decode.c", "blosc.c", "filters.c", "crc32c.c", "copy.c", "guard.c"),
)
HEADERS = ("executor.pxd", "work.h", "plan.h", "grid.h", "decode.h", "copy.h", "guard.h")


def flags_of(package: str, kind: str) -> list[str]:
    """Return what a compiler or linker has to be told to find a library; raises if it is not there."""
    command = os.environ.get("PKG_CONFIG", "pkg-config").split()
    found = subprocess.run([*command, kind, package], check=True, capture_output=True, text=True)  # noqa: S603
    return found.stdout.split()


def executor() -> Extension:
    """Describe the compiled executor with the libraries that are there."""
    compiling = ["/O2", "/std:c11"] if sys.platform == "win32" else ["-O3", "-g0", "-std=c11"]
    linking: list[str] = []
    for package, macro in LIBRARIES.items():
        try:
            found = flags_of(package, "--cflags"), flags_of(package, "--libs")
        except (OSError, subprocess.CalledProcessError):
            print(f"{package} was not found by pkg-config: its blocks are decoded in Python")
            continue
        compiling += [f"-D{macro}", *found[0]]
        linking += found[1]
    return Extension(
        "subregion.blocks.native.executor",
        [f"{FOLDER}/{name}" for name in SOURCES],
        include_dirs=[FOLDER],
        depends=[f"{FOLDER}/{name}" for name in HEADERS],
        extra_compile_args=compiling,
        extra_link_args=linking,
        optional=True,
    )


wanted = os.environ.get("SUBREGION_BUILD_NATIVE", "1") != "0"
setup(ext_modules=[executor()] if wanted else [])
