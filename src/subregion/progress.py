"""A bar on standard error for what takes long, where that is a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


def counted(items: Sequence[T], text: str, wanted: bool) -> Iterator[T]:
    """Yield items, and show how many are done.

    Parameters
    ----------
    items : sequence
        What is to be done.
    text : str
        What is being done, such as ``"verifying copies"``.
    wanted : bool
        Whether to show a bar, if standard error is a terminal.
    """
    if not wanted or not items or not sys.stderr.isatty():
        yield from items
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        yield from bar.track(items, description=text)
