"""Contenders that take turns, so that a machine that slows down slows all of them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.worker import Worker, WorkerError

if TYPE_CHECKING:
    from benchmarks.peers import Contender, Place
    from benchmarks.run import Run

#: How many windows of a contender are compared with the reference, and for how many turns at the most.
CHECK_COUNT, CHECK_TURNS = 40, 5


class Team:
    """Contenders, each in its own process, until the end of a ``with`` block.

    One that cannot do what it is asked for is noted as failed and takes no further turn.

    Parameters
    ----------
    run : Run
        Where failures are noted.
    contenders : iterable of Contender
        Who takes part.
    """

    def __init__(self, run: Run, contenders: Iterable[Contender]) -> None:
        self._run = run
        self._end = contextlib.ExitStack()
        self.workers = [self._end.enter_context(Worker(contender)) for contender in contenders]

    def __enter__(self) -> Team:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._end.close()

    @property
    def contenders(self) -> list[Contender]:
        """Those that are still in."""
        return [worker.contender for worker in self.workers]

    def each(self, method: str, *arguments: Any) -> dict[Contender, Any]:
        """Ask one contender after the other, and return their answers."""
        answers = {}
        for worker in list(self.workers):
            with self._failing(worker):
                answers[worker.contender] = worker.ask(method, *arguments)
        return answers

    def check(self, places: Sequence[Place]) -> dict[Contender, int]:
        """Compare the pixels of all; return the largest difference, which is 0 unless a file is lossy.

        Nothing is timed here, so all of them work at once.
        """
        seconds = self._run.options.seconds * CHECK_TURNS
        for worker in list(self.workers):
            with self._failing(worker):
                worker.send("check", places[:CHECK_COUNT], seconds)
        answers = {}
        for worker in list(self.workers):
            with self._failing(worker):
                answers[worker.contender] = worker.answer()
        self._run.compared += sum(count for count, _ in answers.values())
        return {contender: largest for contender, (_, largest) in answers.items()}

    def rounds(
        self, repeats: int, method: str, *arguments: Any, before: Callable[[Worker], object] | None = None
    ) -> dict[Contender, list[Any]]:
        """Ask all in every repeat, and return the answers of those that gave one each time.

        Who begins changes from repeat to repeat, so that nobody always comes after the same one. `before`
        is called ahead of each turn.
        """
        answers: dict[Contender, list[Any]] = {worker.contender: [] for worker in self.workers}
        for repeat in range(repeats):
            start = repeat * len(self.workers) // repeats
            for worker in self.workers[start:] + self.workers[:start]:
                with self._failing(worker):
                    if before is not None:
                        before(worker)
                    answers[worker.contender].append(worker.ask(method, *arguments))
        return {contender: given for contender, given in answers.items() if len(given) == repeats}

    @contextlib.contextmanager
    def _failing(self, worker: Worker) -> Iterator[None]:
        try:
            yield
        except WorkerError as error:
            self._run.failed(worker.contender.label, str(error))
            if worker in self.workers:
                self.workers.remove(worker)
            worker.stop()


def random_places(shape: tuple[int, ...], edge: int, count: int, *, aligned: bool = False) -> list[Place]:
    """Return windows at random: anywhere, or at multiples of their edge."""
    generator = np.random.default_rng(edge)
    step = edge if aligned else 1
    rows = generator.integers(0, (shape[0] - edge) // step + 1, count) * step
    cols = generator.integers(0, (shape[1] - edge) // step + 1, count) * step
    return [(row, col, edge, edge) for row, col in zip(rows.tolist(), cols.tolist(), strict=True)]


def sliding_places(shape: tuple[int, ...], edge: int, count: int) -> list[Place]:
    """Return windows in reading order that overlap their neighbours by half, from the middle on.

    They begin somewhere inside a block, as windows do in general: at its border all readers would be faster.
    """
    step = edge // 2
    inside = [min(length - edge, 3 * step // 8) for length in shape[:2]]
    down, across = ((length - edge - at) // step + 1 for length, at in zip(shape[:2], inside, strict=True))
    first = max(0, min(down // 2, down - -(-count // across)))
    places = (divmod(number, across) for number in range(count))
    return [
        ((first + row) % down * step + inside[0], col * step + inside[1], edge, edge) for row, col in places
    ]
