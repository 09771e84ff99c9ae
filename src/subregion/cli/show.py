"""The command `show`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from subregion.cli.arguments import (
    Backend,
    Config,
    HashidMode,
    Overwrite,
    Source,
    ViewOptions,
    Workdir,
    asset_of,
    local_path,
    make_cache,
)
from subregion.cli.console import status
from subregion.errors import ConfigError


def show(
    file: Source,
    output: Annotated[
        Path | None,
        typer.Argument(
            metavar="OUTPUT.png",
            help="By default FILE-blocks.png here.",
            show_default=False,
            parser=local_path,
        ),
    ] = None,
    view: ViewOptions = None,
    workdir: Workdir = None,
    backend: Backend = "auto",
    config: Config = None,
    hashid_mode: HashidMode = "PATH",
    overwrite: Overwrite = False,
) -> None:
    """Draw a thumbnail of an image with its grid of blocks, and its levels beside it.

    Where a backend keeps a copy, that is drawn, and made first if need be; with 'none' it is the file itself.

    [bold]Examples[/bold]

      subregion show scan.tif

      subregion show huge.png blocks.png --backend none
    """
    import numpy as np

    from subregion.cli.drawing import draw_blocks
    from subregion.cli.export import writer

    output = output or Path(f"{file.stem or file.name}-blocks.png")
    if output.suffix.lower() != ".png":
        raise ConfigError(f"{output}: a drawing is a PNG; give a name that ends in .png.")
    write = writer(output, overwrite)
    store, _ = make_cache(workdir, backend, config, hashid_mode)
    with status(f"drawing {file}"):
        raster = store.open(asset_of(file, view)).raster
        write(np.asarray(draw_blocks(raster, file.name)))
    typer.echo(str(output))
