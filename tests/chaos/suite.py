"""All attacks, and the account of what they found."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from pathlib import Path

from chaos.attacks import (
    calls,
    clocks,
    eviction,
    flips,
    folders,
    forks,
    kills,
    limits,
    races,
    replaced,
    truncation,
)
from chaos.harness import FAULTS, Account, Arena

#: In the order of the time that they take, the longest first.
ATTACKS: dict[str, Callable[[Arena], None]] = {
    "kills": kills.attack,
    "replaced sources": replaced.attack,
    "eviction under load": eviction.under_load,
    "gc races": eviction.races,
    "forks after conversions": forks.after,
    "forks during first reads": forks.during,
    "racing processes": races.processes,
    "64 threads": races.threads,
    "cut between windows": truncation.between,
    "cut within windows": truncation.within,
    "flipped bits": flips.attack,
    "full disk": folders.full,
    "read-only disk": folders.read_only,
    "vanished folder": folders.vanished,
    "few descriptors": limits.descriptors,
    "little memory": limits.memory,
    "clocks": clocks.attack,
    "no locks": calls.locks,
    "failing calls": calls.calls,
}


def attack(name: str, seed: int, full: bool, folder: Path) -> Account:
    """Carry out one attack.

    Parameters
    ----------
    name : str
        Key of `ATTACKS`.
    seed : int
        Where its dice start.
    full : bool
        In full, or in short.
    folder : pathlib.Path
        An empty folder.

    Returns
    -------
    Account
        What was found; an attack that fails itself is a fault.
    """
    arena = Arena(name, folder, seed, full)
    started = time.monotonic()
    try:
        ATTACKS[name](arena)
    except Exception:  # noqa: BLE001 - the other attacks go on
        arena.fault("foreign", f"the attack itself: {traceback.format_exc()}")
    arena.account.seconds = time.monotonic() - started
    return arena.account


def table(accounts: dict[str, Account]) -> str:
    """Draw the table of attacks."""
    heads = ["attack", "what was done", "trials", *FAULTS, "race", "seconds"]
    rows = [
        [
            name,
            ", ".join(f"{number} {what}" for what, number in account.counts.items()),
            str(account.trials),
            *(str(len(account.faults[kind])) for kind in FAULTS),
            str(account.races),
            f"{account.seconds:.0f}",
        ]
        for name, account in accounts.items()
    ]
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    lines = [[heads, ["-" * width for width in widths]], rows]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
        for part in lines
        for line in part
    )


def told(account: Account) -> str:
    """Tell the faults, each kind of them once."""
    lines = []
    for kind in FAULTS:
        for detail, times in account.grouped(kind).items():
            lines.append(f"\n{kind.upper()}, {times} times: {detail}")
    return "\n".join(lines)
