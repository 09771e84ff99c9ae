"""The command `prepare`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from subregion.cli.arguments import (
    AsJson,
    Backend,
    Config,
    HashidMode,
    MaxSize,
    Palette,
    ViewOptions,
    Workdir,
    asset_of,
    cache_folder,
    listed,
    local_path,
    make_cache,
)
from subregion.cli.console import complain, print_json

if TYPE_CHECKING:
    from subregion.cache.manifest import Entry
    from subregion.cache.store import Store
    from subregion.records import Asset


def prepare(
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="FOLDER_OR_FILES",
            help="Images, or folders of images.",
            show_default=False,
            parser=local_path,
        ),
    ],
    pattern: Annotated[
        list[str] | None,
        typer.Option(help="Which files of a folder, such as '**/*.png'; may be repeated. Default: all."),
    ] = None,
    view: ViewOptions = None,
    palette: Palette = None,
    workdir: Workdir = None,
    backend: Backend = "auto",
    config: Config = None,
    hashid_mode: HashidMode = "PATH",
    workers: Annotated[
        int, typer.Option(min=0, help="How many images to convert at once; 0: one, on all cores.")
    ] = 0,
    max_size: MaxSize = None,
    as_json: AsJson = False,
) -> None:
    """Make the converted copies of images, so that reading any region of them is fast.

    What is there already is not made again; an image that fails does not stop the others.

    [bold]Examples[/bold]

      subregion prepare photos/ --workdir cache/

      subregion prepare slides/ --pattern '**/*.png' --backend cog --config compress=DEFLATE --workers 4
    """
    from subregion.collections.simple import SimpleFrames
    from subregion.errors import PrepareError

    started = time.perf_counter()
    store, chosen = make_cache(workdir, backend, config, hashid_mode)
    images = {name: asset_of(Path(path), view, palette) for name, path in listed(sources, pattern).items()}
    frames = SimpleFrames(images, cache_folder(workdir), chosen, hashid_mode, max_size=max_size)
    assets = {name: frames.record(name).default_asset for name in frames.image_ids}
    before = _copies(store, assets)
    failures: dict[Any, BaseException] = {}
    try:
        frames.prepare(workers=workers)
    except PrepareError as error:
        failures = error.failures
    summary = _summed_up(store, assets, before, failures, max_size is not None)
    summary["seconds"] = round(time.perf_counter() - started, 3)
    if as_json:
        print_json(summary)
    else:
        typer.echo(_in_words(summary))
    for failure in failures.values():
        complain(failure)
    if failures:
        raise typer.Exit(1)


def _summed_up(
    store: Store,
    assets: Mapping[Any, Asset],
    before: Mapping[Any, Entry | None],
    failures: Mapping[Any, BaseException],
    limited: bool,
) -> dict[str, Any]:
    """Count what was done with images, by the copies that were there before and are there now."""
    after = _copies(store, {name: asset for name, asset in assets.items() if name not in failures})
    made = [copy for name, copy in after.items() if copy is not None and copy != before[name]]
    kept = [copy for name, copy in after.items() if copy is not None and copy == before[name]]
    without = [name for name, copy in after.items() if copy is None]
    evicted = [name for name in without if limited and store.wants_copy(assets[name])]
    return {
        "images": len(assets),
        "converted": len(made),
        "already_there": len(kept),
        "read_in_place": len(without) - len(evicted),
        "removed": len(evicted),
        "failed": {str(name): str(failure) for name, failure in failures.items()},
        "nbytes": sum(copy.size for copy in (*made, *kept)),
        "cache": store.folder.path,
    }


def _copies(store: Store, assets: Mapping[Any, Asset]) -> dict[Any, Entry | None]:
    """Return the copy of each asset that is there now."""
    from subregion.cli.describe import find_copy

    return {name: find_copy(store, asset) for name, asset in assets.items()}


def _in_words(summary: dict[str, Any]) -> str:
    removed = summary["removed"]
    ready = summary["images"] - len(summary["failed"]) - removed
    return (
        f"{ready} of {summary['images']} images are ready in {summary['seconds']:.1f} s: "
        f"{summary['converted']} converted, {summary['already_there']} were there, "
        f"{summary['read_in_place']} need no copy. "
        + (f"{removed} were removed again for --max-size. " if removed else "")
        + f"{summary['nbytes'] / 1e6:,.1f} MB in {summary['cache']}"
    )
