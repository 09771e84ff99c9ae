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
    Root,
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
            help="By default FILE-blocks.png here, or FILE-annots.png.",
            show_default=False,
            parser=local_path,
        ),
    ] = None,
    annots: Annotated[
        Path | None,
        typer.Option(
            metavar="DATASET.json",
            help="Draw the annotations that a COCO or kwcoco dataset has of the image.",
            parser=local_path,
        ),
    ] = None,
    image_id: Annotated[
        str | None, typer.Option(metavar="ID", help="Which image of the dataset it is, if not by its path.")
    ] = None,
    root: Root = None,
    view: ViewOptions = None,
    workdir: Workdir = None,
    backend: Backend = "auto",
    config: Config = None,
    hashid_mode: HashidMode = "PATH",
    overwrite: Overwrite = False,
) -> None:
    """Draw a thumbnail of an image with its grid of blocks and its levels beside it, or with annotations.

    Where a backend keeps a copy, that is drawn, and made first if need be; with 'none' it is the file itself.

    [bold]Examples[/bold]

      subregion show scan.tif

      subregion show huge.png blocks.png --backend none

      subregion show scan.tif --annots train.json
    """
    import numpy as np

    from subregion.cli.export import drawing_writer

    if image_id is not None and annots is None:
        raise ConfigError("--image-id says which image of --annots is meant; give that too.")
    what = "blocks" if annots is None else "annots"
    output = output or Path(f"{file.stem or file.name}-{what}.png")
    write = drawing_writer(output, overwrite)
    store, _ = make_cache(workdir, backend, config, hashid_mode)
    with status(f"drawing {file}"):
        if annots is None:
            from subregion.cli.drawing import draw_blocks

            drawing = draw_blocks(store.open(asset_of(file, view)).raster, file.name)
        else:
            from subregion.cli.annotated import draw_annotated, find_image

            found = find_image(annots, file, image_id, root)
            asset = found.asset if view is None and found.asset is not None else asset_of(file, view)
            drawing = draw_annotated(store.open(asset).raster, found, file.name)
        write(np.asarray(drawing))
    typer.echo(str(output))
