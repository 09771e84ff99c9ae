"""The suite: chooses, measures, and writes what came of it."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.cases import (
    aligned,
    batches,
    beginnings,
    cold,
    conversion,
    growth,
    intervals,
    large,
    lazy,
    opening,
    windows,
)
from benchmarks.peers import PEERS
from benchmarks.pictures import PICTURES
from benchmarks.run import Options, Run
from benchmarks.stored import why_missing
from benchmarks.targets import judge
from subregion.cli.system import version_of
from subregion.errors import ConfigError

#: Name -> what it measures. Those that read one picture read the first of a run.
BENCHMARKS: dict[str, tuple[str, Callable[[Run, tuple[str, ...]], None]]] = {
    "windows": ("windows of pictures, by every library from every file", windows.measure),
    "opening": ("the first window of a file", lambda run, names: opening.measure(run, names[0])),
    "batches": ("many windows in one call", lambda run, names: batches.measure(run, names[0])),
    "cold": (
        "windows of files that are not in the page cache",
        lambda run, names: cold.measure(run, names[0]),
    ),
    "conversion": ("making the copy", lambda run, names: conversion.measure(run, names[0])),
    "large": ("converting a picture of 3.6 GB: memory", lambda run, names: large.measure(run)),
    "growth": ("more files, more pixels", lambda run, names: growth.measure(run)),
    "intervals": (
        "JPEGs with restart intervals of each length",
        lambda run, names: intervals.measure(run, names[0]),
    ),
    "aligned": ("channels of several files on one grid", lambda run, names: aligned.measure(run)),
    "lazy": ("dask and xarray, windows by bounds", lambda run, names: lazy.measure(run)),
    "beginnings": ("importing, and collecting", lambda run, names: beginnings.measure(run)),
}
#: What belongs to a quick run: without what takes minutes, and what empties the page cache of the machine.
QUICK_BENCHMARKS = ("windows", "opening", "batches", "conversion", "beginnings")
#: The pictures of a run, the main one first.
QUICK_PICTURES = ("shadedrelief",)
FULL_PICTURES = ("shadedrelief", "bmng", "retina", "hubble", "uint16x5", "float32")


def measure(options: Options, say: Callable[[str], object] = lambda text: None) -> dict[str, Any]:
    """Carry out a run.

    Parameters
    ----------
    options : Options
        What to measure.
    say : callable
        Tells what is going on.

    Returns
    -------
    dict
        The account of the run, ready for `json`: ``machine``, ``versions``, ``options``, ``rows``,
        ``targets``, ``missing``, ``notes``, ``failures`` and ``compared``.

    Raises
    ------
    ConfigError
        If a benchmark, peer or picture is not known.
    SubregionError
        If a picture cannot be had.
    """
    _check(options)
    names = options.pictures or (QUICK_PICTURES if options.quick else FULL_PICTURES)
    with tempfile.TemporaryDirectory(prefix="subregion-bench-", dir=options.folder) as folder:
        run = Run(options, folder, say)
        for peer in PEERS.values():
            if run.wants(peer.name) and peer.missing is not None:
                run.missing[peer.name] = peer.missing
        chosen = options.benchmarks or (QUICK_BENCHMARKS if options.quick else tuple(BENCHMARKS))
        for name, (_, benchmark) in BENCHMARKS.items():
            if name in chosen:
                benchmark(run, names)
    return {
        "machine": machine.facts(),
        "versions": _versions(),
        "options": {"quick": options.quick, "repeats": options.repeats, "seconds": options.seconds,
                    "pictures": list(names), "benchmarks": list(chosen)},
        "targets": judge(run.rows),
        "missing": run.missing,
        "notes": run.notes,
        "failures": run.failures,
        "compared": run.compared,
        "rows": run.rows,
    }  # fmt: skip


def _check(options: Options) -> None:
    for kind, given, known in (
        ("benchmark", options.benchmarks, BENCHMARKS),
        ("peer", options.peers, [*PEERS, "gdal_translate", "delayed_image"]),
    ):
        for name in given:
            if name not in known:
                raise ConfigError(f"{kind} {name!r}: known are {', '.join(known)}.")
    for name in options.pictures:
        if name.partition(":")[0] not in PICTURES:
            raise ConfigError(f"picture {name!r}: known are {', '.join(PICTURES)}.")
    if options.repeats < 1:
        raise ConfigError(f"repeats={options.repeats}: must be 1 or more.")
    if options.folder is not None and not os.path.isdir(options.folder):
        raise ConfigError(f"folder {options.folder}: no such folder.")


def _versions() -> dict[str, str]:
    found = {peer.distribution: version_of(peer.distribution) for peer in PEERS.values()}
    try:
        import rasterio

        found["GDAL (in rasterio)"] = rasterio.__gdal_version__
    except ImportError:
        pass
    return {name: version for name, version in found.items() if version}


def write(document: dict[str, Any], results: Path) -> Path:
    """Write the account of a run as JSON, and return the path."""
    results.mkdir(parents=True, exist_ok=True)
    target = results / "results.json"
    head = json.dumps({name: value for name, value in document.items() if name != "rows"}, indent=1)
    rows = ",\n  ".join(json.dumps(row) for row in document["rows"])  # a line for each
    target.write_text(head[:-2] + ',\n "rows": [\n  ' + rows + "\n ]\n}\n", encoding="utf-8")
    return target


def publish(document: dict[str, Any], folder: Path) -> Path:
    """Write the account of a run for people: ``benchmarks.md`` in a folder, with its plots beside it.

    Returns
    -------
    Path
        Of ``benchmarks.md``.
    """
    from benchmarks.plots import draw
    from benchmarks.report import markdown

    markdown(document, {})  # what cannot be laid out leaves nothing behind
    pictures = folder / "benchmarks"
    pictures.mkdir(parents=True, exist_ok=True)
    for old in pictures.glob("*.svg"):
        old.unlink()
    drawn: dict[str, str] = {}
    missing = why_missing(("matplotlib",))
    if missing is None:
        drawn = {name: f"benchmarks/{path.name}" for name, path in draw(document, pictures).items()}
    else:
        document = document | {"missing": document["missing"] | {"drawings": missing}}
    target = folder / "benchmarks.md"
    target.write_text(markdown(document, drawn), encoding="utf-8")
    return target
