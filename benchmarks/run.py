"""One run of the suite: what was chosen, what is measured so far, and what could not be."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, TypeAlias

from benchmarks.peers import OURS, PEERS, Contender
from benchmarks.pictures import Picture, make_picture
from benchmarks.samples import Sample
from benchmarks.stored import Stored, ways
from subregion.errors import SubregionError

#: One measurement: labels, figures, and what else is known of it; plain values, as they go into the JSON.
Row: TypeAlias = dict[str, Any]

#: Block caches as they are where a collection does not fit them: off, impossible, or not to be turned off.
UNCACHED = ("off", "none", "own")


@dataclass(frozen=True, slots=True)
class Options:
    """What to measure.

    Parameters
    ----------
    benchmarks, peers, pictures : tuple of str
        Their names; empty for all that belong to the run.
    quick : bool
        Fewer files, windows and pictures.
    repeats : int
        How often everything is measured.
    seconds : float
        How long one turn of one contender may take.
    folder : str or None
        Where files are made and removed again; None is the temporary folder.
    """

    benchmarks: tuple[str, ...] = ()
    peers: tuple[str, ...] = ()
    pictures: tuple[str, ...] = ()
    quick: bool = False
    repeats: int = 7
    seconds: float = 0.4
    folder: str | None = None


@dataclass(slots=True)
class Run:
    """A run under way.

    Parameters
    ----------
    options : Options
        What was chosen.
    folder : str
        Where files are made.
    say : callable
        Tells what is going on.
    rows : list of dict
        What was measured.
    missing : dict
        Peer or way to keep a picture -> why it is not there.
    notes : list of str
        What was left out, and why.
    failures : list of str
        Who gave wrong pixels, or none.
    compared : int
        Windows that were compared with a reference.
    """

    options: Options
    folder: str
    say: Callable[[str], object]
    rows: list[Row] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    compared: int = 0
    _pictures: dict[str, Picture] = field(default_factory=dict)
    _stored: dict[tuple[str, bool], list[Stored]] = field(default_factory=dict)

    def picture(self, name: str) -> Picture:
        """Return a picture, made when it is first asked for."""
        if name not in self._pictures:
            self.say(f"picture {name}")
            self._pictures[name] = make_picture(name, self.folder)
        return self._pictures[name]

    def stored(self, picture: Picture, *, every: bool) -> list[Stored]:
        """Return a picture in all files, or in those of a quick run, written when first asked for."""
        known = self._stored.get((picture.name, every))
        if known is not None:
            return known
        folder = os.path.dirname(picture.reference)
        earlier = {item.name: item for item in self._stored.get((picture.name, not every), [])}
        kept = []
        for way in ways(picture):
            if not every and not way.quick:
                continue
            if way.missing is not None:
                self.missing[way.name] = way.missing
                continue
            if way.name in earlier:
                kept.append(earlier[way.name])
                continue
            self.say(f"picture {picture.name}: {way.name}")
            try:
                kept.append(way.keep(picture, folder))
            except SubregionError as error:
                self.note(f"{picture.name} as {way.name}: {error}")
            except Exception as error:  # noqa: BLE001 - a peer's writer may raise anything; it is reported
                self.failed(f"{picture.name} as {way.name}", f"{type(error).__name__}: {error}")
        self._stored[picture.name, every] = kept
        return kept

    def contenders(self, stored: Iterable[Stored], caches: tuple[str, ...] = UNCACHED) -> list[Contender]:
        """Pair files with all chosen peers that read them; note those that are not installed."""
        found = []
        for item in stored:
            for peer in PEERS.values():
                if not self.wants(peer.name) or not peer.reads(item):
                    continue
                if peer.missing is not None:
                    self.missing[peer.name] = peer.missing
                    continue
                found += [Contender(peer.name, item, cache) for cache in peer.caches if cache in caches]
        return found

    def wants(self, peer: str) -> bool:
        """Whether a peer was chosen."""
        return not self.options.peers or peer in (OURS, *self.options.peers)

    def add(self, benchmark: str, unit: str, sample: Sample, **labels: Any) -> None:
        """Write a measurement down."""
        self.rows.append({"benchmark": benchmark, **labels, "unit": unit, **asdict(sample)})

    def note(self, text: str) -> None:
        """Write down what was left out, once."""
        if text not in self.notes:
            self.notes.append(text)
            self.say(text)

    def failed(self, who: str, why: str) -> None:
        """Write down who gave wrong pixels, or none."""
        self.failures.append(f"{who}: {why}")
        self.say(f"FAILED {who}: {why}")
