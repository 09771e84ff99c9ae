"""What lies beside the package in a clone of its repository, and in no wheel: the benchmark suite."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import typer

from subregion.errors import ConfigError

#: How `bench` is registered: its options, help among them, are those of the suite.
PASSED_ON: dict[str, Any] = {
    "add_help_option": False,
    "context_settings": {"ignore_unknown_options": True, "allow_extra_args": True},
}
HELP_OPTIONS = {"-h", "--help"}


def bench(context: typer.Context) -> None:
    """Measure reading and converting against other libraries, on the same pixels.

    The suite is not part of the package: it is the folder `benchmarks` of a clone of the repository. There
    `make bench` installs what it needs and runs it, and this command takes its options.

    [bold]Examples[/bold]

      subregion bench --quick
    """
    suite = _suite()
    if suite is not None:
        command = typer.main.get_command(suite.app)
        with command.make_context(context.info_name, context.args, parent=context.parent) as inner:
            command.invoke(inner)
    elif HELP_OPTIONS.intersection(context.args):
        typer.echo(context.get_help())
    else:
        raise ConfigError(
            f"{Path(__file__).parents[1]}: the benchmark suite is not part of the package; "
            "clone the repository, and run 'make bench' there."
        )


def _suite() -> Any | None:
    """Return the module `benchmarks.command`, if the package is run from a clone or the suite runs it."""
    root = Path(__file__).parents[3]
    if (root / "benchmarks" / "command.py").is_file():
        if str(root) not in sys.path[:1]:
            sys.path.insert(0, str(root))  # ahead of other folders of this name; processes inherit it
    elif "benchmarks" not in sys.modules:  # `python -m benchmarks`, which may measure an installed package
        return None
    return importlib.import_module("benchmarks.command")
