"""A process that reads damaged files, one after the other, and says what became of each.

``python -m fuzz.worker FD``: cases come as lines of JSON on standard input; on the descriptor goes a line
when one begins and a line of findings when it ends. What it prints on standard error is a finding too, so
that is a file.
"""

from __future__ import annotations

import faulthandler
import gc
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import threading
import traceback
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

from fuzz import seeds, victim
from fuzz.cases import Case

LIMIT = 128 << 20
#: What a process may have resident, in bytes, whatever it reads.
MOST_RESIDENT = 600 << 20
#: More address space than this fails: nothing that is allowed to happen comes near.
MOST_ADDRESSES = 12 << 30


class Notes:
    """What is found of one case: (class, detail)."""

    def __init__(self) -> None:
        self.found: list[tuple[str, str]] = []
        self.answers = 0

    def attempt(self, function: Any) -> Any:
        """Call, and note every error that is not the library's own."""
        try:
            result = function()
        except Exception as error:  # noqa: BLE001 - the class of the error is the finding
            self.note(error)
            return None
        self.answers += 1
        return result

    def note(self, error: BaseException) -> None:
        """Note an error, and those that it stands for."""
        names = {base.__name__ for base in type(error).__mro__}
        for failure in getattr(error, "failures", {}).values() if "PrepareError" in names else ():
            self.note(failure)
        if "SubregionError" not in names:
            places = traceback.extract_tb(error.__traceback__)
            ours = [place for place in places if "/subregion/" in place.filename] or list(places)
            last = ours[-1]
            where = f"{last.filename.rpartition('/subregion/')[2]}:{last.lineno} {last.name}"
            self.found.append(("foreign", f"{type(error).__name__} in {where}: {str(error)[:300]}"))


def _resident() -> int:
    """Tell the most that was resident since `_forget_resident`, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def _forget_resident() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def _set_limits() -> None:
    for name in ("MAX_IMAGE_BYTES", "MAX_WHOLE_BYTES", "MAX_BLOCK_BYTES", "BOMB_BYTES"):
        os.environ[f"SUBREGION_{name}"] = str(LIMIT)
    resource.setrlimit(resource.RLIMIT_AS, (MOST_ADDRESSES, MOST_ADDRESSES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _listen(notes: Notes) -> None:
    """Take note of warnings, and of errors that nobody catches."""

    def warned(message: Any, category: Any, filename: str, lineno: int, *rest: Any) -> None:
        notes.found.append(("warning", f"{category.__name__}: {str(message)[:200]}\n{filename}:{lineno}"))

    def uncaught(what: Any) -> None:
        notes.found.append(("foreign", f"where nobody catches it: {what.exc_value!r}"))

    warnings.simplefilter("always")
    warnings.showwarning = warned  # type: ignore[assignment]  # of the same arguments
    sys.unraisablehook = threading.excepthook = uncaught


def main() -> None:
    """Serve until there are no more cases."""
    descriptor = int(sys.argv[1])
    os.set_inheritable(descriptor, False)
    _set_limits()  # before anything looks at them
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    notes = Notes()
    _listen(notes)
    seeds.kinds()
    os.write(descriptor, b'{"ready": true}\n')
    shared = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=shared) as root:
        for line in sys.stdin:
            _serve(json.loads(line), descriptor, notes, Path(root))


def _serve(question: dict[str, Any], descriptor: int, notes: Notes, root: Path) -> None:
    """Read one file."""
    case = Case(question["kind"], question["number"], question["seed"], question["steps"])
    os.ftruncate(2, 0)
    place, workdir = root / "case", root / "work"
    place.mkdir()
    seed, opened, steps = case.write({name: Path(path) for name, path in question["made"].items()}, place)
    begun = {"seed": seed, "steps": steps}
    os.write(descriptor, json.dumps(begun).encode() + b"\n")
    if question["keep"]:
        _keep(place, Path(question["keep"]))
    notes.found, notes.answers = [], 0
    _forget_resident()
    use = seeds.kinds()[case.kind].use
    try:
        victim.use(case.name, seed, place / opened, use, workdir, notes.attempt)
    except Exception as error:  # noqa: BLE001 - what no attempt encloses
        notes.note(error)
    resident = _resident()
    if case.number % 10 == 0:
        gc.collect()
    if resident > MOST_RESIDENT:
        notes.found.append(("memory", f"{resident >> 20} MB resident"))
    if text := _printed():
        notes.found.append(("noise", text))
    found = sorted({(kind, detail.replace(str(place), "CASE")) for kind, detail in notes.found})
    answer = begun | {"found": found, "resident": resident, "answers": notes.answers}
    os.write(descriptor, json.dumps(answer).encode() + b"\n")
    for left in (place, workdir):
        shutil.rmtree(left, ignore_errors=True)


def _printed() -> str:
    """Return what was printed on standard error, which is a file: each line once, and how often."""
    lines = Counter(os.pread(2, 100_000, 0).decode(errors="replace").splitlines())
    return "\n".join(f"{line} ({times} times)" for line, times in lines.items())


def _keep(place: Path, target: Path) -> None:
    """Copy a case; of pipes and the like only the names."""
    shutil.rmtree(target, ignore_errors=True)
    odd = [path.name for path in place.rglob("*") if not path.is_symlink() and path.is_fifo()]
    shutil.copytree(place, target, symlinks=True, ignore=shutil.ignore_patterns(*odd))
    for name in odd:
        (target / f"{name} is a pipe").touch()


if __name__ == "__main__":
    main()
