"""Windows of one picture after the other: every library on every file, warm page cache, one thread."""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.interleaved import Team, random_places, sliding_places
from benchmarks.peers import Contender, Place
from benchmarks.pictures import Picture
from benchmarks.run import Run
from benchmarks.samples import summarize

#: Edge of the windows in pixels, and how many are read in a turn, if there is time for them.
WINDOWS = {64: 400, 256: 200, 1024: 40}
#: What one window stands for all.
MIDDLE = 256
#: Files that are to be compared take turns with each other.
FAMILIES = ("raw", "lossless", "jpeg", "whole")


def measure(run: Run, pictures: Iterable[str]) -> None:
    """Read windows of pictures; the first of them in every file, the others in the most important."""
    for number, name in enumerate(pictures):
        picture = run.picture(name)
        every = number == 0 and not run.options.quick
        for family in FAMILIES:
            stored = [item for item in run.stored(picture, every=every) if item.family == family]
            contenders = run.contenders(stored)
            if every:
                few = {item.name for item in run.stored(picture, every=False)}
                contenders += run.contenders([item for item in stored if item.name in few], ("on",))
            if contenders:
                run.say(f"windows of {name}, {family}: {len(contenders)} contenders")
                _interleaved(run, picture, contenders, _conditions(picture, family, number == 0, every))


def _interleaved(
    run: Run,
    picture: Picture,
    contenders: list[Contender],
    conditions: dict[tuple[int, str], list[Place]],
) -> None:
    with Team(run, contenders) as team:
        differences: dict[Contender, int] = {}
        for places in conditions.values():
            for contender, largest in team.check(places).items():
                differences[contender] = max(largest, differences.get(contender, 0))
        team.each("forget_peak")
        team.rounds(1, "run", next(iter(conditions.values())), run.options.seconds)  # warms up
        taken = {
            condition: team.rounds(run.options.repeats, "run", places, run.options.seconds)
            for condition, places in conditions.items()
        }
        peaks = team.each("peak_mb")
    for (edge, placement), answers in taken.items():
        for contender, rounds in answers.items():
            if contender in peaks:
                run.add("windows", "µs", summarize(rounds), picture=picture.name, window=edge,
                        placement=placement, megapixels=picture.megapixels, pixel_bytes=picture.nbytes,
                        **labels(contender), differs=differences[contender],
                        peak_mb=peaks[contender])  # fmt: skip


def labels(contender: Contender) -> dict[str, object]:
    """Say who read what."""
    stored = contender.stored
    return {
        "label": contender.label,
        "peer": contender.peer,
        "cache": contender.cache,
        "stored": stored.name,
        "family": stored.family,
        "written_by_us": stored.ours,
        "nbytes": stored.nbytes,
        "store_seconds": stored.seconds,
    }


def _conditions(picture: Picture, family: str, main: bool, every: bool) -> dict[tuple[int, str], list[Place]]:
    """List edges and placements of windows, with the windows themselves."""
    edges = [edge for edge in WINDOWS if edge <= min(picture.shape[:2])]
    if not main or family == "whole":  # where everything is decoded, the window makes no difference
        edges = [edge for edge in edges if edge <= MIDDLE][-1:]
    found = {(edge, "random"): random_places(picture.shape, edge, WINDOWS[edge]) for edge in edges}
    if every and family != "whole" and MIDDLE in edges:
        count = WINDOWS[MIDDLE]
        found[MIDDLE, "aligned"] = random_places(picture.shape, MIDDLE, count, aligned=True)
        found[MIDDLE, "sliding"] = sliding_places(picture.shape, MIDDLE, count)
    return found
