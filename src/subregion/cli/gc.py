"""The command `gc`."""

from __future__ import annotations

from typing import Annotated

import typer

from subregion.cli.arguments import AsJson, ExistingWorkdir, MaxSize, existing_cache
from subregion.cli.console import print_json


def gc(
    workdir: ExistingWorkdir,
    max_size: MaxSize = None,
    older_than: Annotated[
        str | None, typer.Option(metavar="AGE", help="Remove copies not opened for so long, such as 30d.")
    ] = None,
    orphaned: Annotated[
        bool,
        typer.Option("--orphaned", help="Remove copies of sources that are gone; not of unmounted disks."),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be removed.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove copies that are too many, too old, or of sources that are gone. Nobody who reads is disturbed.

    [bold]Examples[/bold]

      subregion gc cache/ --max-size 200GB

      subregion gc cache/ --older-than 30d --orphaned --dry-run
    """
    from subregion.cache.gc import collect

    if max_size is None and older_than is None and not orphaned:
        raise typer.BadParameter("give --max-size, --older-than or --orphaned, or several of them.")
    report = collect(
        existing_cache(workdir),
        max_size=max_size,
        older_than=older_than,
        orphaned=orphaned,
        dry_run=dry_run,
    )
    if as_json:
        print_json(report.to_dict())
    else:
        typer.echo(str(report))
