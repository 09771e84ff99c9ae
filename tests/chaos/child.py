"""A process under attack: runs one step of an attack and reports through a pipe, line by line.

``python -m chaos.child MODULE:FUNCTION FD``, with the arguments as JSON on standard input. Forked children
report through the same pipe: a line is shorter than what a pipe takes at once, so lines never mix.
"""

from __future__ import annotations

import contextlib
import faulthandler
import importlib
import json
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

_LONGEST = 3000


class Report:
    """What a process under attack has to tell.

    Parameters
    ----------
    descriptor : int
        Where the lines go.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def say(self, kind: str, detail: str) -> None:
        """Tell one thing."""
        line = json.dumps([kind, detail[-_LONGEST:]])[:4000]
        os.write(self.descriptor, line.encode() + b"\n")

    def alive(self, what: str = "") -> None:
        """Start the time for hangs anew."""
        self.say("alive", what)

    def trial(self, what: str = "") -> None:
        """Count one trial that had a good end."""
        self.say("trial", what)

    def fault(self, kind: str, detail: str) -> None:
        """Tell of a fault: wrong, foreign, refused, leftover."""
        self.say(kind, detail)

    def note(self, detail: str) -> None:
        """Tell what is worth knowing and no fault."""
        self.say("note", detail)

    def check(self, got: NDArray[Any], expected: NDArray[Any], what: str) -> bool:
        """Count one comparison of pixels."""
        if got.shape != expected.shape or got.dtype != expected.dtype:
            self.fault("wrong", f"{what}: {got.shape} {got.dtype} for {expected.shape} {expected.dtype}")
            return False
        if not np.array_equal(got, expected):
            share = float(np.mean(np.asarray(got) != expected))
            zeros = float(np.mean(np.asarray(got) == 0))
            self.fault("wrong", f"{what}: {share:.1%} of the samples differ, {zeros:.1%} are 0")
            return False
        self.trial(what)
        return True

    @contextlib.contextmanager
    def attempt(self, what: str, allowed: tuple[str, ...] = ()) -> Iterator[None]:
        """Tell apart the library's own errors from those of others.

        Parameters
        ----------
        what : str
            What is tried.
        allowed : tuple of str
            Names of classes of errors that are a good end here.
        """
        try:
            yield
        except Exception as error:  # noqa: BLE001 - the class of the error is the finding
            names = {base.__name__ for base in type(error).__mro__}
            text = f"{what}: {type(error).__name__}: {error}"
            if names & set(allowed):
                self.trial(what)
                self.note(text)
            elif "SubregionError" not in names:
                places = traceback.format_list(traceback.extract_tb(error.__traceback__)[-5:])
                self.fault("foreign", f"{text}\n{''.join(places)}")
            else:
                self.fault("refused", text)


class Kept(Report):
    """A report that is kept, for processes that do not have the pipe.

    Attributes
    ----------
    said : list of (str, str)
        What is to be told by whoever has it.
    """

    def __init__(self) -> None:
        super().__init__(-1)
        self.said: list[tuple[str, str]] = []

    def say(self, kind: str, detail: str) -> None:
        """Keep one thing."""
        self.said.append((kind, detail))


def forked(report: Report, what: str, body: Any) -> int:
    """Run a function in a child made by a plain fork, and return its process id."""
    pid = os.fork()
    if pid:
        return pid
    code = 0
    try:
        with report.attempt(what):
            body()
    except BaseException:  # noqa: BLE001 - nothing may go on beyond here
        traceback.print_exc()
        code = 1
    os._exit(code)


def joined(report: Report, pids: list[int]) -> None:
    """Wait for plain forks; one that hangs is found by whoever watches the pipe."""
    for pid in pids:
        _, status = os.waitpid(pid, 0)
        code = os.waitstatus_to_exitcode(status)
        if code:
            report.fault("signal" if code < 0 else "foreign", f"a forked child ended with {code}")


def main() -> None:
    """Run the step that the command line names."""
    faulthandler.enable()
    # Also in forks: the parent sends this signal to ask where a process hangs.
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    step, descriptor = sys.argv[1], int(sys.argv[2])
    os.set_inheritable(descriptor, False)
    module, _, name = step.partition(":")
    arguments = json.load(sys.stdin)
    report = Report(descriptor)
    function = getattr(importlib.import_module(module), name)
    report.alive("started")
    function(report, **arguments)


if __name__ == "__main__":
    main()
