"""The command `demo`, beside the demonstration itself, whose imports would slow down every other command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from subregion.cli.arguments import local_path


def demo(
    output: Annotated[
        Path, typer.Option(parser=local_path, metavar="FOLDER", help="The folder for what is made.")
    ] = Path("demo-output"),
    quick: Annotated[bool, typer.Option("--quick", help="A smaller picture and fewer regions.")] = False,
) -> None:
    """Convert photographs and a landscape of 105 megapixels, time each backend, and draw a contact sheet.

    Every region is compared with a plain decode, bit for bit.

    [bold]Examples[/bold]

      subregion demo

      subregion demo --quick --output tour/
    """
    from subregion.cli.demo import run

    run(output, quick=quick)
