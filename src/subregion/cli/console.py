"""What commands say besides their results: what went wrong, and that something is going on."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator

import typer


def print_json(document: object) -> None:
    """Print a result for scripts."""
    typer.echo(json.dumps(document, indent=2))


def complain(message: object) -> None:
    """Say what went wrong, in one line on standard error."""
    typer.echo(f"subregion: {' '.join(str(message).splitlines())}", err=True)


@contextlib.contextmanager
def status(text: str) -> Iterator[None]:
    """Show that something is going on, on a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(text):
        yield
