"""The command `verify`."""

from __future__ import annotations

from typing import Annotated

import typer

from subregion.cli.arguments import AsJson, ExistingWorkdir, existing_cache
from subregion.cli.console import print_json
from subregion.progress import counted


def verify(
    workdir: ExistingWorkdir,
    deep: Annotated[bool, typer.Option("--deep", help="Compare every byte with its checksum.")] = False,
    pixels: Annotated[bool, typer.Option("--pixels", help="Compare every pixel with the source.")] = False,
    repair: Annotated[
        bool, typer.Option("--repair", help="Make anew what is damaged or stale, where the source is there.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Look whether copies are as they were written, and their sources what they were.

    Without options manifests, sizes, headers and indexes are compared. The status is 1 if anything is damaged
    or stale and was not made anew.

    [bold]Examples[/bold]

      subregion verify cache/

      subregion verify cache/ --deep --repair
    """
    from subregion.cache.verify import Depth, verify_folder

    folder = existing_cache(workdir)
    keys = counted(folder.keys(), "verifying copies", not as_json)
    report = verify_folder(folder, keys, Depth(deep, pixels), repair)
    if as_json:
        print_json(report.to_dict())
    else:
        typer.echo(str(report))
    if not report.ok:
        raise typer.Exit(1)
