"""The command line: parse, call, print. Each command has a module; here is what is common to all."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from typing import Annotated, Any

import typer
import typer.core

from subregion import __version__
from subregion.cli.clone import PASSED_ON, bench
from subregion.cli.console import complain
from subregion.cli.demo_command import demo
from subregion.cli.gc import gc
from subregion.cli.info import info
from subregion.cli.prepare import prepare
from subregion.cli.read import read
from subregion.cli.sample import sample
from subregion.cli.show import show
from subregion.cli.split import split
from subregion.cli.verify import verify
from subregion.errors import SubregionError


class _Commands(typer.core.TyperGroup):
    """Says what went wrong in a line, without a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command; errors end the program with status 1, Ctrl-C with 130."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise  # typer ends quietly
        except SubregionError as error:
            complain(error)
            raise typer.Exit(1) from None
        except OSError as error:  # the output has no room, or a folder cannot be made
            place = "" if error.filename is None else f"{error.filename}: "
            complain(f"{place}{error.strerror or error}.")
            raise typer.Exit(1) from None
        except MemoryError as error:
            complain(f"there is not enough memory for that: {error}".rstrip(": "))
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            complain("interrupted; what was finished stays usable.")
            raise typer.Exit(130) from None


app = typer.Typer(
    name="subregion",
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Fast access to regions of images that are too big to decode for one crop.",
)

#: In the order in which help lists them.
_COMMANDS: tuple[Callable[..., None], ...] = (prepare, info, verify, gc, read, show, sample, split, demo)


def main() -> None:
    """Run the program."""
    warnings.showwarning = lambda message, *_: complain(message)
    try:
        app(prog_name="subregion")
    except KeyboardInterrupt:  # while modules are still being imported
        sys.exit(130)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"subregion {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


for _command in _COMMANDS:
    app.command()(_command)
app.command(**PASSED_ON)(bench)


if __name__ == "__main__":
    main()
