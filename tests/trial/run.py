"""Compare a reader with independent decoders over a folder of pictures.

``python -m trial.run FOLDER [--reader MODULE:FUNCTION] [--jobs 1] [--json report.json]``
"""

from __future__ import annotations

import argparse
import collections
import functools
import importlib
import inspect
import json
import random
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trial.cache import OracleCache
from trial.workers import Worker, WorkerDiedError

CLASSES = (
    "equal",
    "close",
    "differs",
    "error-both",
    "refused",
    "accepted-damaged",
    "crash",
)


@functools.cache
def _reader(name: str) -> Callable[[str], Any]:
    """Import a reader; it is told ``backend=None`` if it knows that word."""
    module, _, function = name.partition(":")
    found = getattr(importlib.import_module(module), function)
    if "backend" in inspect.signature(found).parameters:
        return lambda path: found(path, backend=None)
    return lambda path: found(path)


def _is_own_error(error: BaseException) -> bool:
    return any(base.__name__ == "SubregionError" for base in type(error).__mro__)


def examine(reader: str, path: str, verdict: dict[str, Any], windows: int) -> dict[str, Any]:
    """Read one file and compare it with the oracle's answers; runs in a child process.

    Parameters
    ----------
    reader : str
        ``MODULE:FUNCTION``.
    path : str
        The picture.
    verdict : dict
        From `OracleCache.verdict`.
    windows : int
        How many random windows to compare with the whole.

    Returns
    -------
    dict
        ``class``, ``detail``, ``decoders`` and ``windows`` (a list of mismatches).
    """
    accepted = sorted({answer["decoder"].partition(":")[0] for answer in verdict["answers"]})
    try:
        whole = np.asarray(_reader(reader)(path))
    except MemoryError as error:
        return {"class": "crash", "detail": f"MemoryError: {error}", "decoders": accepted}
    except Exception as error:  # noqa: BLE001 - the class of the error is the finding
        detail = f"{type(error).__name__}: {error}"
        if not _is_own_error(error):
            return {"class": "crash", "detail": detail, "decoders": accepted}
        return {"class": "refused" if accepted else "error-both", "detail": detail, "decoders": accepted}
    result = _judge(whole, verdict, accepted)
    result["shape"], result["dtype"] = list(whole.shape), str(whole.dtype)
    result["windows"] = _window_mismatches(reader, path, whole, windows) if whole.ndim == 3 else []
    return result


def _judge(whole: NDArray[Any], verdict: dict[str, Any], accepted: list[str]) -> dict[str, Any]:
    if not accepted:
        return {
            "class": "accepted-damaged",
            "detail": f"{whole.shape} {whole.dtype}, yet no decoder could",
            "decoders": [],
        }
    equal: list[str] = []
    near: tuple[float, str, str] | None = None
    for answer in verdict["answers"]:
        other = np.load(Path(verdict["folder"]) / answer["file"], mmap_mode="r")
        distance, detail = difference(whole, other)
        if distance == 0:
            equal.append(answer["decoder"])
        elif near is None or distance < near[0]:
            near = (distance, detail, answer["decoder"])
    if equal:
        agreeing = {name.partition(":")[0] for name in equal}
        return {
            "class": "equal",
            "detail": "",
            "decoders": equal,
            "others": [name for name in accepted if name not in agreeing],
            "other_detail": near[1] if near else "",
        }
    assert near is not None
    return {
        "class": "close" if near[0] < 1 else "differs",
        "detail": f"{near[1]} from {near[2]}",
        "decoders": accepted,
    }


def difference(mine: NDArray[Any], other: NDArray[Any]) -> tuple[float, str]:
    """Say how far two pictures are from each other.

    Parameters
    ----------
    mine, other : numpy.ndarray
        The reader's and the oracle's.

    Returns
    -------
    float
        0 for equal; under 1 for what two decoders of a lossy format may differ; more otherwise.
    str
        In words, with the first differing pixel.
    """
    if mine.ndim != other.ndim or mine.shape[:2] != other.shape[:2]:
        return 1e9, f"shape {mine.shape} for {other.shape}"
    if mine.shape != other.shape:
        return 1e8, f"bands {mine.shape[2]} for {other.shape[2]}"
    if mine.dtype != other.dtype:
        return 1e7, f"dtype {mine.dtype} for {other.dtype}"
    if np.array_equal(mine, other, equal_nan=mine.dtype.kind == "f"):
        return 0, ""
    unequal = mine != other
    first = tuple(int(axis) for axis in np.argwhere(unequal)[0])
    with np.errstate(all="ignore"):
        gap = np.abs(mine.astype(np.float64) - other.astype(np.float64))
    largest, mean = float(np.nanmax(gap)), float(np.nanmean(gap))
    # Relative to the values that occur, so that bits and few-bit samples are never merely close.
    with np.errstate(all="ignore"):
        scale = max(float(np.nanmax(other)) - float(np.nanmin(other)), 1e-30) / 255
    words = (
        f"pixels: max {largest:g}, mean {mean:.3g}, {unequal.mean():.1%} of samples, "
        f"first {first}: {mine[first]} for {other[first]}"
    )
    if largest <= 40 * scale and mean <= 1.5 * scale:
        return min(0.99, 0.01 + largest / (50 * scale)), words
    return 1 + mean / scale, words


def _window_mismatches(reader: str, path: str, whole: NDArray[Any], count: int) -> list[str]:
    height, width = whole.shape[:2]
    if not height or not width:
        return []
    dice = random.Random(f"{Path(path).name} {whole.shape}")
    found = []
    for number in range(count):
        row, column = dice.randrange(height), dice.randrange(width)
        if number == 0:
            slices = (slice(row, row + dice.randint(1, 300)), slice(column, column + dice.randint(1, 300)))
        elif number == 1:
            slices = (slice(-dice.randint(1, height) - 5, height + 9), slice(column // 2, width + 7))
        else:
            slices = (slice(row, row + 1), slice(column, column + 1))
        words = f"[{slices[0].start}:{slices[0].stop}, {slices[1].start}:{slices[1].stop}]"
        try:
            window = np.asarray(_reader(reader)(path)[slices])
        except Exception as error:  # noqa: BLE001 - any failure after a whole read is a finding
            found.append(f"{words}: {type(error).__name__}: {error}")
            continue
        distance, detail = difference(window, whole[slices])
        if distance:
            found.append(f"{words}: {detail}")
    return found


def _trial_of(path: Path, root: Path, options: argparse.Namespace, workers: tuple[Worker, Worker]) -> Any:
    oracle, reading = workers
    verdict = OracleCache(options.cache, oracle).verdict(path)
    started = time.monotonic()
    try:
        result = reading.call(examine, options.reader, str(path), verdict, options.windows)
    except (WorkerDiedError, RuntimeError) as death:
        accepted = sorted({str(answer["decoder"]) for answer in verdict["answers"]})  # type: ignore[attr-defined]
        result = {"class": "crash", "detail": str(death), "decoders": accepted}
    result["seconds"] = round(time.monotonic() - started, 3)
    result["path"] = str(path.relative_to(root))
    result["kind"] = verdict["kind"]
    result["oracle_errors"] = verdict["errors"]
    return result


def cause(result: dict[str, Any]) -> str:
    """Shorten a result to what it has in common with others.

    Parameters
    ----------
    result : dict
        From `examine`.

    Returns
    -------
    str
        Without paths and figures that only concern one file.
    """
    text = result["detail"].replace(result["path"], "FILE")
    text = re.sub(r"\S*/\S+", "FILE", text)
    if text.startswith("pixels"):
        return f"pixels from {text.rpartition(' from ')[2]}"
    if text.startswith("shape"):
        return f"shape from {text.rpartition(' from ')[2]}"
    return re.sub(r"\d+(\.\d+)?", "#", text)[:110]


def report(results: list[dict[str, Any]]) -> str:
    """Summarise.

    Parameters
    ----------
    results : list of dict
        From `examine`, with ``path`` and ``kind``.

    Returns
    -------
    str
        A table by format and class, then every file that is not equal, grouped by cause.
    """
    kinds = sorted({result["kind"] for result in results})
    counts = collections.Counter((result["kind"], result["class"]) for result in results)
    lines = ["format    " + "".join(f"{name:>17}" for name in CLASSES)]
    lines += [
        f"{kind:<10}" + "".join(f"{counts[kind, name] or '.':>17}" for name in CLASSES) for kind in kinds
    ]
    totals = collections.Counter(result["class"] for result in results)
    lines.append("all       " + "".join(f"{totals[name] or '.':>17}" for name in CLASSES))
    broken = [result for result in results if result.get("windows")]
    lines.append(f"\nfiles with a window unequal to the crop of the whole: {len(broken)}")
    lines += [f"  {result['path']}: {result['windows'][0]}" for result in broken]
    alone = [result for result in results if len(result.get("others", ())) > 1]
    lines.append(f"\nequal to some decoder although two or more others disagree: {len(alone)}")
    lines += [
        f"  {r['path']}: as {' '.join(r['decoders'])}; unlike {' '.join(r['others'])} ({r['other_detail']})"
        for r in alone
    ]
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = collections.defaultdict(list)
    for result in results:
        if result["class"] not in ("equal", "error-both"):
            groups[result["class"], result["kind"], cause(result)].append(result)
    order = sorted(groups.items(), key=lambda item: (CLASSES.index(item[0][0]), item[0][1], -len(item[1])))
    for (name, kind, shared), members in order:
        lines.append(f"\n## {name}: {kind}: {shared} ({len(members)})")
        lines += [f"  {r['path']}: {r['detail'][:200]} [{' '.join(r['decoders'])}]" for r in members]
    return "\n".join(lines)


def pictures(folder: Path) -> Iterable[Path]:
    """List the files of a corpus.

    Parameters
    ----------
    folder : pathlib.Path
        Searched in depth; hidden files and notes are left out.

    Returns
    -------
    iterable of pathlib.Path
        Sorted.
    """
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".") and path.suffix not in (".md", ".txt", ".json")
    )


def main() -> int:
    """Run from the command line.

    Returns
    -------
    int
        1 if anything differs, crashed, or read a window unlike the whole; else 0.
    """
    parser = argparse.ArgumentParser(prog="python -m trial.run", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--reader", default="subregion:open", help="MODULE:FUNCTION (default %(default)s)")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write all results there")
    parser.add_argument("--match", default="", help="only paths that contain this regular expression")
    parser.add_argument("--windows", type=int, default=3, help="windows per file (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=60, help="limit per file (default %(default)s)")
    parser.add_argument("--memory", type=float, default=4, help="limit in GiB (default %(default)s)")
    parser.add_argument(
        "--cache", type=Path, default=Path(tempfile.gettempdir()) / "subregion-trial-oracle", help="answers"
    )
    options = parser.parse_args()
    files = [path for path in pictures(options.folder) if re.search(options.match, str(path))]
    memory = int(options.memory * (1 << 30))

    def series(part: list[Path]) -> list[dict[str, Any]]:
        workers = Worker(options.seconds, memory), Worker(options.seconds, memory)
        done = []
        for number, path in enumerate(part):
            done.append(_trial_of(path, options.folder, options, workers))
            if number % 50 == 0 and sys.stderr.isatty():
                print(f"\r{number}/{len(part)} {path.name[:60]:<60}", end="", file=sys.stderr)
        for worker in workers:
            worker.close()
        return done

    with ThreadPoolExecutor(options.jobs) as pool:
        parts = pool.map(series, [files[start :: options.jobs] for start in range(options.jobs)])
        results = sorted((result for part in parts for result in part), key=lambda result: result["path"])
    print(report(results))
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))
    bad = any(result["class"] in ("differs", "crash") or result.get("windows") for result in results)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
