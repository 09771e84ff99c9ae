"""What the library has to work with on this machine: versions, cores, and the compiled executor."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from subregion.blocks import native
from subregion.io.threads import processors

#: Libraries that pixels go through.
PACKAGES = ("numpy", "imagecodecs", "tifffile", "pyvips", "simplejpeg", "zstandard", "lz4", "pillow", "av")
#: What brings the compiled executor, or the codecs that it lacks.
HOW = (
    "Install a C compiler, pkg-config and the headers (Debian: gcc pkg-config liblz4-dev libzstd-dev "
    "libdeflate-dev), then: pip install --force-reinstall --no-deps --no-binary subregion subregion"
)


def system() -> dict[str, Any]:
    """Return what there is, as `subregion info --system` tells it.

    Returns
    -------
    dict
        ``compiled`` is None without the compiled executor, otherwise the versions of its codec libraries,
        None for those that it lacks; ``enabled``, whether it is not turned off; ``how``, what to do if
        something is lacking.
    """
    found = {name: text or None for name, text in native.libraries().items()} if native.BUILT else None
    complete = found is not None and all(found.values())
    return {
        "subregion": version_of("subregion"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cores": processors(),
        "packages": {name: version_of(name) for name in PACKAGES},
        "compiled": found,
        "enabled": native.is_wanted(),
        "how": None if complete else HOW,
    }


def in_lines(found: dict[str, Any]) -> str:
    """Return the same for people."""
    packages = ", ".join(f"{name} {text or 'not installed'}" for name, text in found["packages"].items())
    versions = f"subregion {found['subregion']}, Python {found['python']}"
    lines = [f"{versions}, {found['platform']}, {found['cores']} cores", f"packages: {packages}"]
    if found["compiled"] is None:
        lines.append("compiled executor: not built; everything works, in Python and slower")
    else:
        codecs = ", ".join(f"{name} {text or '(not there)'}" for name, text in found["compiled"].items())
        off = "" if found["enabled"] else f", turned off by {native.VARIABLE}=0"
        lines.append(f"compiled executor: built with {codecs}{off}")
    if found["how"]:
        lines.append(found["how"])
    return "\n".join(lines)


def version_of(distribution: str) -> str | None:
    """Return the version of an installed distribution; None if it is not installed."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
