"""The command `read`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from subregion.cli.arguments import (
    Backend,
    Config,
    HashidMode,
    Overwrite,
    Palette,
    Source,
    ViewOptions,
    Workdir,
    asset_of,
    four_numbers,
    local_path,
    make_cache,
    number_or_mode,
    slices,
    whole_numbers,
)
from subregion.cli.console import status
from subregion.errors import ConfigError


def read(
    file: Source,
    output: Annotated[
        Path,
        typer.Argument(
            metavar="OUTPUT", help="A .png, .tif or .npy file.", show_default=False, parser=local_path
        ),
    ],
    region: Annotated[
        str | None,
        typer.Option(help="Rows, columns and bands as NumPy slices: '100:200,-50:', '::8,::8', '...,0:3'."),
    ] = None,
    window: Annotated[
        str | None,
        typer.Option(metavar="ROW,COL,HEIGHT,WIDTH", help="A window in pixels, which may leave the image."),
    ] = None,
    bounds: Annotated[
        str | None,
        typer.Option(
            metavar="MINX,MINY,MAXX,MAXY", help="A rectangle on the ground, of a georeferenced image."
        ),
    ] = None,
    crs: Annotated[
        str | None,
        typer.Option(help="The reference system of --bounds, such as EPSG:4326. Default: the image's own."),
    ] = None,
    channels: Annotated[str | None, typer.Option(help="Channels by name, such as 'r|g|b'.")] = None,
    fill: Annotated[
        str | None, typer.Option(help="What lies outside the image: a number, or a mode such as 'reflect'.")
    ] = None,
    view: ViewOptions = None,
    palette: Palette = None,
    workdir: Workdir = None,
    backend: Backend = "auto",
    config: Config = None,
    hashid_mode: HashidMode = "PATH",
    overwrite: Overwrite = False,
) -> None:
    """Read a region of an image into a file, with the pixels as they are stored.

    A .tif of a georeferenced image is georeferenced too.

    Where the image is slow to read by region, backend 'auto' makes a converted copy first, once;
    with 'none' nothing is kept.

    [bold]Examples[/bold]

      subregion read huge.png crop.png --region 1000:1512,2000:2512

      subregion read scan.tif patch.npy --window -64,-64,512,512 --fill reflect --backend none

      subregion read cells.ome.tif one.npy --view t=3 --view z=12

      subregion read scene.tif city.tif --bounds 15.0,50.5,15.1,50.6 --crs EPSG:4326
    """
    from subregion.cli.export import writer
    from subregion.geometry.region import select
    from subregion.image import AlignableImageData
    from subregion.read.georeference import tags_of_part
    from subregion.records import ImageRecord

    if sum(given is not None for given in (region, window, bounds)) > 1:
        raise ConfigError("give --region, --window or --bounds, not both.")
    if crs is not None and bounds is None:
        raise ConfigError("--crs says what --bounds mean; give them too.")
    wanted = _in_pixels(region, window)
    write = writer(output, overwrite)
    store, _ = make_cache(workdir, backend, config, hashid_mode)
    record = ImageRecord(str(file), (asset_of(file, view, palette),))
    image = AlignableImageData.from_store(record, store)
    with status(f"reading {file}"):
        if bounds is not None:
            wanted = image.window(four_numbers(bounds), crs)
        pixels = image.load_region(wanted, channels, fill=number_or_mode(fill))
        is_tiff = output.suffix.lower() in (".tif", ".tiff")
        write(pixels, tags_of_part(store, record, select(wanted, image.shape)) if is_tiff else ())
    rows, cols, bands = pixels.shape
    typer.echo(f"{output}: {rows} x {cols} x {bands} {pixels.dtype} (rows x columns x bands)")


def _in_pixels(region: str | None, window: str | None) -> Any:
    """Return the region that was given in pixels, as the library takes it; None if none was."""
    from subregion.geometry.window import Window

    if region is not None:
        return slices(region)
    return None if window is None else Window(*whole_numbers(window))
