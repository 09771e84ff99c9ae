"""Doing something at one moment of a call: when it opens, lists, renames or removes a certain file.

Python tells audit hooks of all that. They cannot be taken away, so there is one, which is asleep mostly.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_LISTENERS: list[Callable[[str, tuple[Any, ...]], None]] = []
#: What tells of the file system.
EVENTS = {"open", "os.listdir", "os.scandir", "os.mkdir", "os.rename", "os.remove"}


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if _LISTENERS and event in EVENTS:
        for listener in tuple(_LISTENERS):
            listener(event, arguments)


sys.addaudithook(_hook)


@contextmanager
def at_moment(number: int, part: str, action: Callable[[], None]) -> Iterator[list[str]]:
    """Act when so many things happened to files with this in their path, just before the next one.

    Yields
    ------
    list of str
        What happened.
    """
    seen: list[str] = []
    busy = False

    def listener(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal busy
        paths = [os.fsdecode(each) for each in arguments[:2] if isinstance(each, str | bytes | os.PathLike)]
        if busy or not any(part in path for path in paths):
            return
        seen.append(f"{event} {' '.join(paths)}")
        if len(seen) == number + 1:
            busy = True
            try:
                action()
            finally:
                busy = False

    _LISTENERS.append(listener)
    try:
        yield seen
    finally:
        _LISTENERS.remove(listener)
