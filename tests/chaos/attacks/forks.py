"""Forks at bad moments: while other threads read for the first time, and after every decoder was used.

``during``: a fresh interpreter; threads read images for the first time, which imports and starts everything
that is used; after 0 to 50 ms the process forks in one of several ways, and the children read images of
every format.

``after``: a process reads and converts one image of every format under every backend, with aligned reads and
batches; then children of every start method read these and convert others.
"""

from __future__ import annotations

import multiprocessing
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np

from chaos.child import Kept, Report, forked, joined
from chaos.harness import Arena
from chaos.sources import Sources, kinds, make

BACKENDS: tuple[Any, ...] = (None, "npy", "cog", "zarr", "auto")
#: A copy in any of these has other pixels than its source, so that its children are compared with the parent.
LOSSY: tuple[Any, ...] = ("jpeg", {"type": "cog", "config": {"compress": "JPEG"}})
WAYS = ("fork", "pool", "loader", "nested", "executor")
OTHER_WAYS = ("spawn", "forkserver")


def during(arena: Arena) -> None:
    """Fork while threads make their first reads."""
    sources = make(arena.place("sources"), kinds())
    names = list(sources.paths)
    for number in range(arena.times(64, 2)):
        with arena.passing("work") as workdir:
            child = arena.start(
                "chaos.attacks.forks:fork_during_first_reads",
                folder=str(sources.folder),
                workdir=str(workdir),
                backend=BACKENDS[number % len(BACKENDS)],
                first=arena.dice.sample(names, 2),
                wanted=arena.dice.sample(names, 4),
                delay=arena.dice.uniform(0, 0.05),
                way=WAYS[number // len(BACKENDS) % len(WAYS)],
                ready=arena.dice.random() < 0.5,
            )
            child.finish()
            arena.account.count("forks")


def after(arena: Arena) -> None:
    """Fork after everything was used."""
    sources = make(arena.place("sources"), kinds(), each=3)
    ways = [*WAYS, *OTHER_WAYS]
    backends = [*BACKENDS, *LOSSY]
    for number in range(arena.times(70, 2)):
        with arena.passing("work") as workdir:
            arena.run(
                "chaos.attacks.forks:fork_after_conversions",
                folder=str(sources.folder),
                workdir=str(workdir),
                backend=backends[number % len(backends)],
                kind=arena.dice.choice(kinds()) if arena.dice.random() < 0.5 else "",
                way=ways[number // len(backends) % len(ways)] if arena.full else ways[number],
            )
            arena.account.count("forks")


def fork_during_first_reads(
    report: Report,
    folder: str,
    workdir: str,
    backend: Any,
    first: list[str],
    wanted: list[str],
    delay: float,
    way: str,
    ready: bool,
) -> None:
    """Read in two threads, fork after a moment, and read in the children.

    The main thread has imported the library; with `ready`, it has made the collection too.
    """
    import subregion

    sources = Sources(folder)
    expected = {name: sources.pixels(name) for name in {*first, *wanted}}
    settings = {"paths": sources.paths, "workdir": workdir, "backend": backend}
    if ready:
        subregion.SimpleFrames(sources.paths, workdir, backend)
    started = threading.Barrier(len(first) + 1)

    def read_first(name: str) -> None:
        started.wait()
        _read(report, settings, name, expected[name], "parent")

    threads = [threading.Thread(target=read_first, args=(name,)) for name in first]
    for thread in threads:
        thread.start()
    started.wait()
    time.sleep(delay)
    _children(report, settings, folder, wanted, way)
    for thread in threads:
        thread.join()


def fork_after_conversions(
    report: Report, folder: str, workdir: str, backend: Any, kind: str, way: str
) -> None:
    """Use everything, then fork, and let the children use it again."""
    sources = Sources(folder)
    names = [name for name in sources.paths if name.startswith(kind)]
    settings = {"paths": sources.paths, "workdir": workdir, "backend": backend}
    frames = _frames(settings)
    for name in names:
        if "-0." in name:
            with report.attempt(f"parent, {name}"):
                shown = frames.load_image(name)
                if backend not in LOSSY:
                    report.check(np.asarray(shown), sources.pixels(name), f"parent, {name}")
                # Aligned reads draw by OpenCV, batches decode in threads.
                frames.load_region(name, scale=0.6, interpolation="linear")
                frames.load_regions([(name, (slice(n, n + 50), slice(n, n + 50))) for n in range(0, 200, 20)])
    report.alive("the parent has used everything")
    wanted = [name for name in names if "-0." in name or "-1." in name]
    _children(report, settings, folder, wanted, way)
    # The parent goes on, with what neither it nor its children have seen.
    for name in names:
        if "-2." in name:
            _read(report, settings, name, sources.pixels(name), "parent afterwards")


def _frames(settings: dict[str, Any]) -> Any:
    from subregion import SimpleFrames

    return SimpleFrames(settings["paths"], settings["workdir"], settings["backend"])


def _read(report: Report, settings: dict[str, Any], name: str, expected: Any, who: str) -> None:
    """Read windows and the whole, and compare."""
    report.alive(f"{who}, {name}")
    with report.attempt(f"{who}, {name}"):
        frames = _frames(settings)
        region = (slice(40, 170), slice(-200, -30))
        part = frames.load_region(name, region)
        whole = np.asarray(frames.load_image(name))
        if settings["backend"] in LOSSY:
            if whole.shape != expected.shape or not np.array_equal(part, whole[region]):
                report.fault("wrong", f"{who}, {name}: the window is not that of the whole")
            report.trial()
            return
        report.check(part, expected[region], f"{who}, {name}, window")
        report.check(whole, expected, f"{who}, {name}, whole")


def _read_in_child(task: tuple[Report, dict[str, Any], str, str, str]) -> str:
    """Read one image; runs in workers of pools."""
    report, settings, folder, name, who = task
    _read(report, settings, name, Sources(folder).pixels(name), who)
    return name


def _serve(report: Report, settings: dict[str, Any], folder: str, tasks: Any, answers: Any) -> None:
    """Answer a queue of names, as the workers of a data loader do."""
    while (name := tasks.get()) is not None:
        answers.put(_read_in_child((report, settings, folder, name, "loader")))


def _children(report: Report, settings: dict[str, Any], folder: str, wanted: list[str], way: str) -> None:
    """Start children in one of the ways, and wait for them."""
    tasks = [(report, settings, folder, name, way) for name in wanted]

    def all_of_it() -> None:
        for task in tasks:
            _read_in_child(task)

    if way == "fork":
        joined(report, [forked(report, way, all_of_it) for _ in range(2)])
    elif way == "nested":

        def once_more() -> None:
            _read_in_child(tasks[0])
            joined(report, [forked(report, "a fork of a fork", all_of_it)])

        joined(report, [forked(report, way, once_more)])
    elif way == "pool":
        with multiprocessing.get_context("fork").Pool(2) as pool:  # its workers are daemonic
            pool.map(_read_in_child, tasks, chunksize=1)
    elif way == "executor":
        with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")) as executor:
            list(executor.map(_read_in_child, tasks))
    elif way == "loader":
        _loader(report, settings, folder, wanted)
    else:
        _by_method(report, tasks, way)


def _loader(report: Report, settings: dict[str, Any], folder: str, wanted: list[str]) -> None:
    context = multiprocessing.get_context("fork")
    questions, answers = context.Queue(), context.Queue()
    workers = [
        context.Process(target=_serve, args=(report, settings, folder, questions, answers), daemon=True)
        for _ in range(2)
    ]
    for worker in workers:
        worker.start()
    for name in [*wanted, None, None]:
        questions.put(name)
    for _ in wanted:
        answers.get()
    for worker in workers:
        worker.join()
        if worker.exitcode:
            report.fault("signal", f"a worker ended with {worker.exitcode}")


def _by_method(report: Report, tasks: list[Any], way: str) -> None:
    """Spawned children do not have the pipe: they return what they found, and this process tells it."""
    context = multiprocessing.get_context(way)
    with context.Pool(2) as pool:
        for said in pool.imap_unordered(_read_and_return, [(*task[1:],) for task in tasks]):
            for kind, detail in said:
                report.say(kind, detail)


def _read_and_return(task: tuple[dict[str, Any], str, str, str]) -> list[tuple[str, str]]:
    report = Kept()
    _read_in_child((report, *task))
    return report.said
