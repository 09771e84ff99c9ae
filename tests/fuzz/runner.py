"""Workers that may crash and hang, kept at work; and the findings, each kind of them once."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fuzz.cases import Case
from fuzz.worker import MOST_RESIDENT

#: A file that takes longer (seconds) hangs.
BOUND = 10.0
#: How long a worker may take to start, on a machine that does much else.
STARTING = 120.0
FAULTS = ("signal", "hang", "memory", "foreign", "noise", "warning")
TESTS = Path(__file__).resolve().parent.parent


@dataclass
class Finding:
    """A kind of fault.

    Parameters
    ----------
    kind : str
        One of `FAULTS`.
    detail : str
        What was seen first.
    case : Case
        Of which file.
    seed : str
        What it was made of.
    count : int
        How often it was seen.
    """

    kind: str
    detail: str
    case: Case
    seed: str
    count: int = 1


@dataclass
class Account:
    """What came of all files.

    Parameters
    ----------
    files : collections.Counter
        How many of each kind there were.
    pixels : collections.Counter
        Of how many any pixel could be read.
    findings : dict
        By what they have in common.
    resident : int
        The most that a worker had resident, in bytes.
    slowest : float
        The longest that a file took, in seconds.
    """

    files: Counter[str] = field(default_factory=Counter)
    pixels: Counter[str] = field(default_factory=Counter)
    findings: dict[str, Finding] = field(default_factory=dict)
    resident: int = 0
    slowest: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def find(self, kind: str, detail: str, case: Case, seed: str) -> Finding | None:
        """Note a fault; return it if it is the first of its kind."""
        common = re.sub(r"0x\w+|b?'[^']*'|\"[^\"]*\"|\S*CASE\S*|\S*\d\S*", "#", detail.splitlines()[0][:200])
        places = re.findall(r'"[^"]*/subregion/([^"]+)", line (\d+)', detail)
        if kind in ("signal", "hang"):  # where it was says more than how
            common = " ".join(places[0]) if places else case.kind
        elif kind == "foreign":
            common = detail.partition(": ")[0]
        with self.lock:
            known = self.findings.get(f"{kind} {common}")
            if known is not None:
                known.count += 1
                return None
            found = self.findings[f"{kind} {common}"] = Finding(kind, detail, case, seed)
            return found

    def count(self, kind: str) -> int:
        """How often a kind of fault was seen."""
        return sum(finding.count for finding in self.findings.values() if finding.kind == kind)


class Worker:
    """A process that reads damaged files; made anew when it ends.

    Parameters
    ----------
    folder : pathlib.Path
        For what it prints.
    made : dict
        The seeds of all kinds.
    """

    def __init__(self, folder: Path, made: dict[str, dict[str, Path]]) -> None:
        self._folder = folder
        self._made = made
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: Any = None
        self._printed = folder / f"stderr-{threading.get_ident()}"

    def run(self, case: Case, keep: Path | None = None) -> dict[str, Any]:
        """Read one file.

        Returns
        -------
        dict
            ``found``, ``seed``, ``steps``, ``resident``, ``answers`` and ``seconds``.
        """
        started = self._process is not None and self._process.poll() is None
        if not started:
            self._start()
        assert self._process is not None
        assert self._process.stdin is not None
        made = {name: str(path) for name, path in self._made[case.kind].items()}
        question = {
            "kind": case.kind,
            "number": case.number,
            "seed": case.seed,
            "steps": case.steps,
            "made": made,
            "keep": None if keep is None else str(keep),
        }
        self._process.stdin.write(json.dumps(question).encode() + b"\n")
        self._process.stdin.flush()
        begun, bound = time.monotonic(), BOUND if started else STARTING
        answer: dict[str, Any] = {"seed": "", "steps": (), "resident": 0, "answers": 0}
        while (seconds := time.monotonic() - begun) < bound:
            ready, _, _ = select.select([self._pipe], [], [], 1)
            line = self._pipe.readline() if ready else None
            if line == b"":
                return answer | {"found": self._died(), "seconds": seconds}
            if line:
                answer |= json.loads(line)
                if "found" in answer:
                    if answer["resident"] > MOST_RESIDENT:
                        self.close()  # so that the next one is measured by itself
                    return answer | {"seconds": time.monotonic() - begun}
                begun, bound = time.monotonic(), BOUND
        return answer | {"found": self._hangs(), "seconds": BOUND}

    def _start(self) -> None:
        self.close()
        ours, theirs = os.pipe()
        paths = [os.environ.get("PYTHONPATH", ""), str(TESTS), str(TESTS.parent / "src")]
        with self._printed.open("ab+") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "fuzz.worker", str(theirs)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                pass_fds=[theirs],
                env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))},
            )
        os.close(theirs)
        self._pipe = os.fdopen(ours, "rb", buffering=0)

    def _told(self) -> str:
        return self._printed.read_text(errors="replace")[-4000:]

    def _died(self) -> list[tuple[str, str]]:
        assert self._process is not None
        code = self._process.wait()
        how = signal.Signals(-code).name if code < 0 else f"exit status {code}"
        told = self._told()
        self.close()
        return [("signal", f"{how}\n{told}")]

    def _hangs(self) -> list[tuple[str, str]]:
        assert self._process is not None
        self._process.send_signal(signal.SIGUSR1)  # so that it tells where it is
        time.sleep(0.3)
        told = self._told()
        self.close()
        return [("hang", f"over {BOUND:.0f} s\n{told}")]

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            assert self._process.stdin is not None
            with contextlib.suppress(OSError):
                self._process.stdin.close()
            self._pipe.close()
            self._process = None


def smallest(worker: Worker, finding: Finding, keep: Path) -> None:
    """Find out which single damage suffices, and keep the file that shows it."""
    case = finding.case
    if finding.kind != "hang":
        for step in range(4):
            alone = Case(case.kind, case.number, case.seed, (step,))
            answer = worker.run(alone)
            if step in answer["steps"] or answer["found"]:
                same = [
                    detail
                    for kind, detail in answer["found"]
                    if kind == finding.kind
                    and detail.splitlines()[0][:60] == finding.detail.splitlines()[0][:60]
                ]
                if same:
                    case = alone
                    break
    worker.run(case, keep / "files")
    command = f"python -m fuzz --only '{case.kind}' --number {case.number} --seed {case.seed}"
    if case.steps is not None:
        command += f" --steps {','.join(map(str, case.steps))}"
    text = f"{finding.kind}, seed file {finding.seed!r}\n{finding.detail}\n\n{command}\n"
    (keep / "report.txt").write_text(text)


def cases(kinds: list[str], count: int, seed: int, first: int = 0) -> Iterator[Case]:
    """Give cases, of all kinds in turn."""
    for number in range(first, first + count):
        yield Case(kinds[number % len(kinds)], number // len(kinds), seed)
