"""What the length of restart intervals costs: bytes on disk against the time of a window."""

from __future__ import annotations

import os

from benchmarks.cases.windows import labels
from benchmarks.interleaved import Team, random_places
from benchmarks.peers import OURS, Contender
from benchmarks.run import Run
from benchmarks.samples import summarize
from benchmarks.stored import keep_ours
from subregion.codecs.jpegstream import read_frame
from subregion.convert.jpeg import choose_interval
from subregion.io.source import SourceFile

#: Edge of the windows, and how many of each are read in a turn.
WINDOWS = {64: 200, 256: 80, 1024: 12}
#: The longest interval that is measured, in pixels.
WIDEST = 512


def measure(run: Run, picture_name: str) -> None:
    """Keep a JPEG with intervals of every length that divides its rows, and read windows."""
    picture = run.picture(picture_name)
    frame = read_frame(SourceFile(picture.source)) if picture.from_jpeg else None
    if frame is None:
        run.note(f"intervals: {picture_name} is no JPEG")
        return
    nbytes = os.path.getsize(picture.source)
    units, wide = frame.units[1], frame.unit[1]
    chosen = choose_interval(frame, nbytes)
    counts = [count for count in range(1, units + 1) if units % count == 0 and count * wide <= WIDEST]
    contenders = {}
    for count in sorted({*counts, chosen}):
        run.say(f"intervals: {count} units")
        stored = keep_ours("jpeg", {"interval": count})(picture, os.path.dirname(picture.reference))
        contenders[Contender(OURS, stored, "off")] = count
    with Team(run, contenders) as team:
        for edge, number in WINDOWS.items():
            if edge > min(picture.shape[:2]):
                continue
            places = random_places(picture.shape, edge, number)
            team.check(places)
            for contender, rounds in team.rounds(
                run.options.repeats, "run", places, run.options.seconds
            ).items():
                count = contenders[contender]
                share = contender.stored.nbytes / nbytes
                run.add("intervals", "µs", summarize(rounds), picture=picture.name, window=edge, units=count,
                        pixels=count * wide, chosen=count == chosen, of_source=share,
                        **labels(contender))  # fmt: skip
