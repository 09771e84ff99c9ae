"""The first window of a file that is not open yet: the index is parsed, and the page cache is warm."""

from __future__ import annotations

from benchmarks.cases.windows import labels
from benchmarks.interleaved import Team, random_places
from benchmarks.peers import OURS
from benchmarks.run import Run
from benchmarks.samples import summarize

#: Edge of the windows, and how many files are opened in a turn.
EDGE, COUNT = 256, 40


#: Those that open a file in less than some milliseconds.
PEERS = ("rasterio", "TensorStore", "pyvips")


def measure(run: Run, picture_name: str) -> None:
    """Open what we store, and what peers read, again and again."""
    picture = run.picture(picture_name)
    if min(picture.shape[:2]) < EDGE:
        run.note(f"opening: {picture_name} is smaller than a window of {EDGE} px")
        return
    stored = [item for item in run.stored(picture, every=False) if item.family != "whole"]
    contenders = [
        each
        for each in run.contenders(stored)
        if (each.peer == OURS and each.stored.ours) or each.peer in PEERS
    ]
    run.say(f"opening: {len(contenders)} contenders")
    places = random_places(picture.shape, EDGE, COUNT)
    with Team(run, contenders) as team:
        team.check(places)
        team.rounds(1, "first", places[:3], run.options.seconds)  # warms up
        for contender, rounds in team.rounds(
            run.options.repeats, "first", places, run.options.seconds
        ).items():
            run.add(
                "opening", "µs", summarize(rounds), picture=picture.name, window=EDGE, **labels(contender)
            )
