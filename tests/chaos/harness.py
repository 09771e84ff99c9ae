"""What all attacks share: children with a bound for hangs, places to work in, and the account of faults."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

#: A process that shows no sign of life for so long (seconds) hangs.
BOUND = 10.0
#: How long it may take to say its first word, on a machine that does much else.
STARTING = 60.0
#: What can go wrong. "refused" is an error of the library's own where pixels were due.
FAULTS = ("wrong", "hang", "foreign", "refused", "leftover", "signal")
TESTS = Path(__file__).resolve().parent.parent


@dataclass
class Account:
    """What an attack found.

    Parameters
    ----------
    trials : int
        Comparisons and runs with a good end.
    counts : dict
        How often the attack did what its name says, in its own words: kills, forks, ...
    faults : dict
        What went wrong, by kind.
    races : int
        Ends that are known and stated, such as the SIGBUS of a file that is cut while it is copied.
    notes : dict
        What is worth knowing and no fault: the first of its kind, and how often.
    """

    trials: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    faults: dict[str, list[str]] = field(default_factory=lambda: {kind: [] for kind in FAULTS})
    races: int = 0
    notes: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    _kinds: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def document(self) -> dict[str, Any]:
        """The same for JSON."""
        return {key: value for key, value in vars(self).items() if not key.startswith("_")}

    def count(self, what: str, number: int = 1) -> None:
        """Count what the attack did."""
        self.counts[what] = self.counts.get(what, 0) + number

    def note(self, text: str) -> None:
        """Note what is no fault."""
        first = self._kinds.setdefault(_without_figures(text), text)
        self.notes[first] = self.notes.get(first, 0) + 1

    def grouped(self, kind: str) -> dict[str, int]:
        """Give the faults of a kind, those that differ in figures and paths alone as one, and how often."""
        found: dict[str, tuple[str, int]] = {}
        for detail in self.faults[kind]:
            first, number = found.get(_without_figures(detail), (detail, 0))
            found[_without_figures(detail)] = first, number + 1
        return dict(found.values())

    @property
    def failed(self) -> int:
        """How many faults there are."""
        return sum(map(len, self.faults.values()))


def _without_figures(text: str) -> str:
    """Leave of a message what it has in common with others: of a traceback, where it ends."""
    words = text.rpartition("\n  File")[2] if "\n  File" in text else text
    return re.sub(r"\S*[/.]\w\S*|[0-9a-f]*\d[0-9a-f.]*|\w+$", "#", words)


class Arena:
    """Where one attack takes place.

    Parameters
    ----------
    name : str
        The attack.
    folder : pathlib.Path
        An empty folder of its own.
    seed : int
        What all its dice start from.
    full : bool
        Whether it runs in full or in short.
    """

    def __init__(self, name: str, folder: Path, seed: int, full: bool) -> None:
        self.name = name
        self.folder = folder
        self.full = full
        self.dice = random.Random(f"{seed} {name}")
        self.account = Account()
        self._places = 0

    def times(self, full: int, short: int) -> int:
        """Say how often something is to be done."""
        return full if self.full else short

    def place(self, label: str = "place") -> Path:
        """Make an empty folder."""
        self._places += 1
        path = self.folder / f"{label}-{self._places}"
        path.mkdir(parents=True)
        return path

    @contextlib.contextmanager
    def passing(self, label: str = "place") -> Iterator[Path]:
        """Make an empty folder that is gone afterwards."""
        path = self.place(label)
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)

    def fault(self, kind: str, detail: str) -> None:
        """Note a fault."""
        self.account.faults[kind].append(detail)

    def start(self, step: str, *, environment: dict[str, str] | None = None, **arguments: Any) -> Child:
        """Start a step in a process of its own; `finish` or `kill` must follow."""
        return Child(self, step, arguments, environment or {})

    def run(self, step: str, *, environment: dict[str, str] | None = None, **arguments: Any) -> Child:
        """Run a step in a process of its own to its end."""
        child = self.start(step, environment=environment, **arguments)
        child.finish()
        return child


class Child:
    """A process under attack, and whatever it forks: a session of its own.

    Parameters
    ----------
    arena : Arena
        What it found is noted there.
    step : str
        ``MODULE:FUNCTION``, called with a `Report` and the arguments.
    arguments : dict
        Fit for JSON.
    environment : dict
        Added to that of this process.
    """

    def __init__(
        self, arena: Arena, step: str, arguments: dict[str, Any], environment: dict[str, str]
    ) -> None:
        self.arena = arena
        self.step = step
        self.arguments = arguments
        self.words: list[str] = []
        self._said = threading.Condition()
        self._last = time.monotonic()
        self._over = False
        errors = arena.folder / "stderr"
        errors.mkdir(exist_ok=True)
        self._stderr = errors / f"{len(os.listdir(errors))}-{threading.get_ident()}"
        ours, theirs = os.pipe()
        paths = [os.environ.get("PYTHONPATH", ""), str(TESTS), str(TESTS.parent / "src")]
        try:
            with self._stderr.open("wb") as stderr:
                self.process = subprocess.Popen(
                    [sys.executable, "-m", "chaos.child", step, str(theirs)],
                    stdin=subprocess.PIPE,
                    stdout=stderr,
                    stderr=stderr,
                    pass_fds=[theirs],
                    start_new_session=True,
                    env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))} | environment,
                )
        finally:
            os.close(theirs)
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(arguments).encode())
            self.process.stdin.close()
        self._reader = threading.Thread(target=self._listen, args=(ours,), daemon=True)
        self._reader.start()

    def __str__(self) -> str:
        shown = {key: value for key, value in self.arguments.items() if not isinstance(value, dict | list)}
        return f"{self.step.removeprefix('chaos.attacks.')} {json.dumps(shown)}"

    def _listen(self, descriptor: int) -> None:
        account = self.arena.account
        with os.fdopen(descriptor, "rb") as pipe:
            for line in pipe:
                try:
                    kind, detail = json.loads(line)
                except ValueError:  # the process was killed in the middle of it
                    continue
                with self._said:
                    self._last = time.monotonic()
                    self.words.append(f"{kind}: {detail}" if kind in FAULTS else detail)
                    if kind == "trial":
                        account.trials += 1
                    elif kind == "note":
                        account.note(detail)
                    elif kind in FAULTS:
                        account.faults[kind].append(f"{self}: {detail}")
                    self._said.notify_all()
        with self._said:
            self._over = True
            self._said.notify_all()

    @property
    def _silent(self) -> bool:
        return time.monotonic() - self._last > (BOUND if self.words else STARTING)

    def wait_for(self, word: str) -> bool:
        """Wait until the process says something; False if it ended or hangs."""
        with self._said:
            while word not in self.words:
                if self._over or self._silent:
                    return False
                self._said.wait(0.5)
        return True

    def kill(self) -> bool:
        """Kill it and its forks where they stand; False if it had ended by itself."""
        alive = self.process.poll() is None
        self._end_session(signal.SIGKILL)
        self.process.wait()
        self._reader.join(BOUND)
        return alive

    def finish(self, excuse: str = "") -> bool:
        """Wait for its end, and for that of its forks.

        Parameters
        ----------
        excuse : str
            What an end by a signal, or a hang, must say to be a known and stated one: a regular expression.

        Returns
        -------
        bool
            Whether it came to a good end.
        """
        with self._said:
            while not self._over and not self._silent:
                self._said.wait(0.5)
            hangs = not self._over
        if hangs:
            last = self.words[-1] if self.words else "nothing"
            self._end_hanging(f"last word {last!r}", excuse)
            return False
        try:
            code = self.process.wait(BOUND)
        except subprocess.TimeoutExpired:
            self._end_hanging("does not end", excuse)
            return False
        if code < 0:
            last = self.words[-1] if self.words else "nothing"
            how = f"{signal.Signals(-code).name} after {last!r}"
            self._lost("signal", f"{self}: {how}\n{self.stderr}", excuse)
        elif code:
            self.arena.fault("foreign", f"{self}: exit status {code}\n{self.stderr}")
        elif self.stderr:
            self.arena.account.note(f"noise of {self}: {self.stderr[-500:]}")
        return code == 0

    @property
    def stderr(self) -> str:
        """What it and its forks printed, the end of it."""
        return self._stderr.read_text(errors="replace").strip()[-6000:]

    def _lost(self, kind: str, text: str, excuse: str) -> None:
        """Note that it came to no good end."""
        if excuse and re.search(excuse, text):
            self.arena.account.races += 1
        else:
            self.arena.fault(kind, text)

    def _end_hanging(self, how: str, excuse: str) -> None:
        self._end_session(signal.SIGUSR1, pause=0.1)  # each tells where it is, one after the other
        self._end_session(signal.SIGKILL)
        self.process.wait()
        self._lost("hang", f"{self}: {how}\n{self.stderr}", excuse)

    def _end_session(self, number: signal.Signals, pause: float = 0.0) -> None:
        for pid in _session(self.process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
            time.sleep(pause)


def _session(leader: int) -> list[int]:
    """List the processes of a session that was started here."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                status = Path(f"/proc/{name}/stat").read_text()
                if int(status.rpartition(")")[2].split()[3]) == leader:
                    found.append(int(name))
    return found


def leftovers(workdir: Path) -> list[str]:
    """List what should not be in a cache folder that nobody writes to: see docs/cache.md."""
    folder = workdir / "_cache" / "frames"
    found = []
    for name in ("unfinished", "locks"):
        with contextlib.suppress(FileNotFoundError):
            found += [f"{name}/{inner}" for inner in os.listdir(folder / name)]
    for home in folder.glob("??"):
        pointers = {path.stem for path in home.glob("*.json")}
        entries = [path for path in home.iterdir() if path.suffix not in (".json", ".sums")]
        names = {path.name for path in entries}
        found += [f"{path.name}: no data" for path in home.glob("*.sums") if path.stem not in names]
        found += [
            f"{home.name}/{path.name}: no pointer" for path in entries if path.name[:40] not in pointers
        ]
        kept = {path.name[:40] for path in entries}
        found += [f"{home.name}/{key}.json: no data" for key in pointers - kept]
        keys = [path.name[:40] for path in entries]
        found += [f"{home.name}/{key}: twice" for key in kept if keys.count(key) > 1]
    return found
