"""Making all converted copies of a collection: in threads or by an executor, with one account at the end."""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

from subregion.cache.stamp import stamp_holds, write_stamp
from subregion.errors import ConfigError, PrepareError, SubregionError, shown
from subregion.io.threads import processors
from subregion.notices import caller, work_for

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from subregion.cache.store import Store
    from subregion.records import Asset, ImageRecord

#: Is told how many images are done, how many there are, and which was the last one.
Told: TypeAlias = "Callable[[int, int, Any], object]"

#: How many failures the message spells out; all of them are in ``PrepareError.failures``.
LISTED = 50
#: More threads than this are taken for a mistake.
MOST_WORKERS = 10_000
#: An image whose conversion lasts longer (seconds) gets a line of its own below the bar.
PATIENCE = 1.0


def prepare(
    store: Store,
    image_ids: Sequence[Any],
    record: Callable[[Any], ImageRecord],
    workers: int,
    use_stamp: bool,
    executor: Executor | None,
    progress: bool | Told,
) -> None:
    """Make every converted copy that is not there yet; see `Frames.prepare`."""
    if isinstance(workers, bool) or not isinstance(workers, int) or not 0 <= workers <= MOST_WORKERS:
        raise ConfigError(f"workers={shown(workers)}: must be a whole number from 0 to {MOST_WORKERS}.")
    if executor is not None and not callable(getattr(executor, "submit", None)):
        raise ConfigError(f"executor={shown(executor)}: a concurrent.futures.Executor is needed, or None.")
    count = _Count(image_ids, progress)
    if store.recipe.kind == "none":
        count.all_done()
        return
    store.folder.sweep()
    failures: dict[Any, BaseException] = {}
    assets: list[tuple[int, Asset]] = []
    copies: set[str] = set()

    def fail(number: int, problem: BaseException) -> None:
        image_id = image_ids[number]
        failures[image_id if _is_hashable(image_id) else shown(image_id)] = problem

    for number, image_id in enumerate(image_ids):
        try:
            found = record(image_id).assets
        except SubregionError as problem:
            fail(number, problem)
            count.expect(number, 0)
        else:
            assets.extend((number, asset) for asset in found)
            count.expect(number, len(found))
    if use_stamp and not failures and stamp_holds(store, (asset for _, asset in assets)):
        count.all_done()
        return
    count.begin()
    with _Bar(len(assets), progress is True) as bar, _runner(workers, executor, bar.convert) as run:
        for number, outcome in run(store, assets):
            bar.advance()
            if isinstance(outcome, BaseException):
                fail(number, outcome)
            elif outcome is not None:
                copies.add(outcome)
            count.advance(number)
    if failures:
        raise PrepareError(_account(failures, len(image_ids)), failures)
    if use_stamp:
        write_stamp(store, (asset for _, asset in assets), copies)


class _Count:
    """Tells a callable of the caller, if there is one, how many images are done: one has several files."""

    def __init__(self, image_ids: Sequence[Any], progress: bool | Told) -> None:
        self._image_ids = image_ids
        self._tell = progress if callable(progress) else None
        self._left: dict[int, int] = {}
        self._done = 0

    def expect(self, number: int, files: int) -> None:
        """Note how many files an image has."""
        if self._tell is not None:
            self._left[number] = files

    def begin(self) -> None:
        """Tell of the images that have none."""
        for number in [number for number, files in self._left.items() if not files]:
            self._tell_of(number)

    def advance(self, number: int) -> None:
        """Count a file of an image."""
        if self._tell is not None:
            self._left[number] -= 1
            if not self._left[number]:
                self._tell_of(number)

    def all_done(self) -> None:
        """Tell that nothing had to be done."""
        for number in range(len(self._image_ids)) if self._tell is not None else ():
            self._tell_of(number)

    def _tell_of(self, number: int) -> None:
        self._done += 1
        if self._tell is not None:
            self._tell(self._done, len(self._image_ids), self._image_ids[number])


def _is_hashable(image_id: Any) -> bool:
    try:
        hash(image_id)
    except TypeError:
        return False
    return True


def convert_asset(store: Store, asset: Asset) -> str | None:
    """Make sure of the copy of one asset; runs wherever an executor puts it."""
    return store.ensure(asset)


#: Number of the image, and what went wrong, or the name of the copy; None if there need be none.
Outcome = tuple[int, BaseException | str | None]
Convert = Callable[["Store", "Asset"], str | None]
Run = Callable[["Store", list[tuple[int, "Asset"]]], Iterator[Outcome]]


@contextlib.contextmanager
def _runner(workers: int, executor: Executor | None, convert_here: Convert) -> Iterator[Run]:
    cores = processors()
    if executor is not None:
        yield lambda store, assets: _submitted(store, assets, convert_asset, executor, cores * 8)
    elif workers == 0:
        yield lambda store, assets: _one_by_one(store, assets, convert_here)
    else:
        with ThreadPoolExecutor(
            workers, "subregion-prepare", initializer=work_for, initargs=(caller(),)
        ) as threads:
            # Several images at once keep the cores busy; more threads for each would only compete.
            share = max(1, cores // workers)
            yield lambda store, assets: _submitted(
                replace(store, threads=share), assets, convert_here, threads, workers * 2
            )


def _one_by_one(store: Store, assets: list[tuple[int, Asset]], convert: Convert) -> Iterator[Outcome]:
    for number, asset in assets:
        try:
            outcome: BaseException | str | None = convert(store, asset)
        except Exception as error:  # noqa: BLE001 - reported at the end, together with all others
            outcome = error
        yield number, outcome


def _submitted(
    store: Store, assets: list[tuple[int, Asset]], convert: Convert, executor: Executor, ahead: int
) -> Iterator[Outcome]:
    """Keep `ahead` images submitted, so that a collection of millions does not become millions of futures."""
    waiting = iter(assets)
    running: dict[Future[str | None], int] = {}
    try:
        while True:
            while len(running) < ahead and (item := next(waiting, None)) is not None:
                number, asset = item
                try:
                    running[executor.submit(convert, store, asset)] = number
                except RuntimeError as error:  # it was shut down, or its workers are dead
                    yield number, error
            if not running:
                return
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                yield running.pop(future), _outcome(future)
    finally:
        for future in running:
            future.cancel()


def _outcome(future: Future[str | None]) -> BaseException | str | None:
    error = future.exception()
    if error is None:
        return future.result()
    if isinstance(error, Exception):
        return error
    raise error


def _account(failures: dict[Any, BaseException], total: int) -> str:
    lines = [f"{len(failures)} of {total} images could not be prepared (all others were):"]
    for image_id, error in itertools.islice(failures.items(), LISTED):
        lines.append(f"  {shown(image_id)}: {error}")
    if len(failures) > LISTED:
        lines.append(f"  ... and {len(failures) - LISTED} more; see the attribute 'failures'.")
    return "\n".join(lines)


class _Bar:
    """A progress bar on standard error, where that is a terminal: images, and rows of those that last."""

    def __init__(self, total: int, wanted: bool) -> None:
        self._total = total
        self._wanted = wanted and total > 0 and sys.stderr.isatty()
        self._shown: Progress | None = None
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> _Bar:
        if self._wanted:
            from rich.console import Console
            from rich.progress import Progress

            self._shown = self._stack.enter_context(Progress(console=Console(stderr=True), transient=True))
            self._images = self._shown.add_task("preparing images", total=self._total)
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def advance(self) -> None:
        """Count one image."""
        if self._shown is not None:
            self._shown.advance(self._images)

    def convert(self, store: Store, asset: Asset) -> str | None:
        """Make sure of the copy of one asset in this process, and show how it gets on."""
        if self._shown is None:
            return convert_asset(store, asset)
        from rich.markup import escape

        with _Line(self._shown, f"  {escape(os.path.basename(asset.path))}") as line:
            return store.ensure(asset, line.update)


class _Line:
    """One image below the bar, which appears when it has lasted a while."""

    def __init__(self, shown: Progress, text: str) -> None:
        self._shown = shown
        self._text = text
        self._since = time.monotonic()
        self._task: TaskID | None = None

    def __enter__(self) -> _Line:
        return self

    def __exit__(self, *error: object) -> None:
        if self._task is not None:
            self._shown.remove_task(self._task)

    def update(self, done: int, rows: int) -> None:
        """Tell how many rows are done."""
        if self._task is not None:
            self._shown.update(self._task, completed=done)
        elif time.monotonic() - self._since > PATIENCE:
            self._task = self._shown.add_task(self._text, total=rows, completed=done)
