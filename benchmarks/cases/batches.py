"""Many windows in one call, against the same windows one by one."""

from __future__ import annotations

from typing import Any

from benchmarks.cases.windows import labels
from benchmarks.interleaved import Team, random_places, sliding_places
from benchmarks.peers import OURS
from benchmarks.run import Run
from benchmarks.samples import summarize

#: Edge of the windows, and how many make a batch.
EDGE, COUNT = 256, 64
#: Threads that decode; 0 stands for windows one by one.
THREADS = (0, 1, 2)


def measure(run: Run, picture_name: str) -> None:
    """Read batches of windows at random, and of windows that overlap by half, into one array each."""
    picture = run.picture(picture_name)
    if min(picture.shape[:2]) < EDGE:
        run.note(f"batches: {picture_name} is smaller than a window of {EDGE} px")
        return
    stored = [item for item in run.stored(picture, every=False) if item.family != "whole"]
    contenders = [each for each in run.contenders(stored) if each.peer == OURS and each.stored.ours]
    run.say(f"batches: {len(contenders)} contenders")
    batches = {
        "random": random_places(picture.shape, EDGE, COUNT),
        "half overlapping": sliding_places(picture.shape, EDGE, COUNT),
    }
    with Team(run, contenders) as team:
        for placement, places in batches.items():
            team.check(places)
            taken: dict[int, dict[object, list[list[float]]]] = {threads: {} for threads in THREADS}
            for repeat in range(-1, run.options.repeats):  # the first one warms up
                for threads in THREADS:
                    how: tuple[Any, ...] = (
                        ("together", places, threads) if threads else ("one_by_one", places)
                    )
                    for contender, (times,) in team.rounds(1, *how).items():
                        if repeat >= 0:
                            taken[threads].setdefault(contender, []).append(times)
            for threads, answers in taken.items():
                for contender in team.contenders:
                    run.add("batches", "µs", summarize(answers[contender]), picture=picture.name, window=EDGE,
                            placement=placement, threads=threads, **labels(contender))  # fmt: skip
