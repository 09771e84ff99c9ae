"""Builds the compiled executor, if there is a compiler; everything else is in pyproject.toml.

Nothing depends on it: without a compiler, Cython or the headers of a library the same is done in Python.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

from setuptools import Extension, setup

with (Path(__file__).parent / "pyproject.toml").open("rb") as described:
    NATIVE = tomllib.load(described)["tool"]["subregion"]["native"]


def flags_of(package: str, kind: str) -> list[str]:
    """Return what a compiler or linker has to be told to find a library; raises if it is not there."""
    command = os.environ.get("PKG_CONFIG", "pkg-config").split()
    found = subprocess.run([*command, kind, package], check=True, capture_output=True, text=True)  # noqa: S603
    return found.stdout.split()


def executor() -> Extension:
    """Describe the compiled executor with the libraries that are there."""
    folder = NATIVE["folder"]
    compiling = ["/O2", "/std:c11"] if sys.platform == "win32" else ["-O3", "-g0", "-std=c11"]
    linking: list[str] = []
    for package, macro in NATIVE["libraries"].items():
        try:
            found = flags_of(package, "--cflags"), flags_of(package, "--libs")
        except (OSError, subprocess.CalledProcessError):
            print(f"{package} was not found by pkg-config: its blocks are decoded in Python")
            continue
        compiling += [f"-D{macro}", *found[0]]
        linking += found[1]
    return Extension(
        "subregion.blocks.native.executor",
        [f"{folder}/{name}" for name in ("executor.pyx", *NATIVE["sources"])],
        include_dirs=[folder],
        depends=[f"{folder}/{name}" for name in ("executor.pxd", *NATIVE["headers"])],
        extra_compile_args=compiling,
        extra_link_args=linking,
        optional=True,
    )


wanted = os.environ.get("SUBREGION_BUILD_NATIVE", "1") != "0"
setup(ext_modules=[executor()] if wanted else [])
