"""The command `info`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from subregion.cli.arguments import (
    AsJson,
    Config,
    HashidMode,
    ViewOptions,
    Workdir,
    asset_of,
    existing_cache,
    holds_cache,
    local_path,
    make_cache,
    slices,
)
from subregion.cli.console import complain, print_json
from subregion.errors import SubregionError
from subregion.progress import counted

if TYPE_CHECKING:
    from subregion.cache.store import Store
    from subregion.records import Asset


def info(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="FILE_OR_WORKDIR",
            help="Images, or folders of copies.",
            show_default=False,
            parser=local_path,
        ),
    ] = None,
    view: ViewOptions = None,
    workdir: Workdir = None,
    backend: Annotated[
        str | None,
        typer.Option(
            metavar="npy|cog|zarr|jpeg|auto", help="Look for copies of this backend only. Default: of all."
        ),
    ] = None,
    config: Config = None,
    hashid_mode: HashidMode = "PATH",
    region: Annotated[
        str | None,
        typer.Option(help="Tell which blocks a read of this region would take: slices as for 'read'."),
    ] = None,
    system: Annotated[
        bool,
        typer.Option("--system", help="Tell of versions, cores and the compiled executor instead."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Tell how an image is laid out, how a window of it is read, and whether a copy is in the cache.

    Only the header is read; nothing is converted. Of a folder of copies it tells how many there are, of which
    format and age, whose sources are gone or changed, and what is not finished.

    [bold]Examples[/bold]

      subregion info huge.png

      subregion info *.tif --json

      subregion info cache/

      subregion info huge.png --region '0:512,0:512' --backend cog

      subregion info --system
    """
    from subregion.cache.backend import BACKENDS

    if system:
        _tell_system(as_json)
        return
    if not files:
        raise typer.BadParameter("name at least one image or folder of copies, or give --system.")
    names = [backend] if backend is not None else [name for name in BACKENDS if name != "auto"]
    stores = [make_cache(workdir, name, config if backend else None, hashid_mode)[0] for name in names]
    if region is not None:
        _explain(
            [asset_of(file, view) for file in files],
            region,
            make_cache(workdir, backend or "auto", config, hashid_mode)[0],
            as_json,
        )
        return
    documents = [
        _tell_cache(file, as_json)
        if holds_cache(file)
        else _tell_image(asset_of(file, view), stores, as_json)
        for file in files
    ]
    if as_json:
        print_json([_without_nan(document) for document in documents])
    if any("error" in document for document in documents):
        raise typer.Exit(1)


def _tell_system(as_json: bool) -> None:
    """Tell what the library has to work with on this machine."""
    from subregion.cli.system import in_lines
    from subregion.cli.system import system as look

    found = look()
    if as_json:
        print_json(found)
    else:
        typer.echo(in_lines(found))


def _explain(assets: list[Asset], region: str, store: Store, as_json: bool) -> None:
    """Tell which blocks a read of a region of each file would take."""
    from subregion.read.explain import explain
    from subregion.read.options import AS_STORED
    from subregion.records import ImageRecord

    wanted, documents = slices(region), []
    for asset in assets:
        found = explain(store, ImageRecord(asset.path, (asset,)), wanted, None, AS_STORED)
        documents.append({"path": asset.path, **found.to_dict()})
        if not as_json:
            typer.echo(str(found))
    if as_json:
        print_json(documents)


def _tell_cache(workdir: Path, as_json: bool) -> dict[str, Any]:
    """Tell what is in a folder of copies; return it, for JSON."""
    from subregion.cache.inventory import inventory

    folder = existing_cache(workdir)
    found = inventory(folder, counted(folder.keys(), "looking at copies", not as_json))
    if not as_json:
        typer.echo(str(found))
    return found.to_dict()


def _tell_image(asset: Asset, stores: Sequence[Store], as_json: bool) -> dict[str, Any]:
    """Tell what an image is like, or under ``error`` why that is not known; return it, for JSON."""
    from dataclasses import asdict

    from subregion.cli.describe import describe, in_lines

    try:
        description = describe(asset, stores)
    except SubregionError as error:
        complain(error)
        return {"path": asset.path, "error": str(error)}
    if not as_json:
        typer.echo(in_lines(description))
    return asdict(description)


def _without_nan(value: Any) -> Any:
    """JSON has no NaN and no infinity: they become text."""
    if isinstance(value, float) and not abs(value) < float("inf"):
        return str(value)
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    return value
