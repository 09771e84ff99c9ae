"""The command line: parse, call, print."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import typer.core

from subregion import __version__
from subregion.cli.arguments import (
    AsJson,
    Backend,
    Config,
    HashidMode,
    MaxSize,
    Overwrite,
    Source,
    Workdir,
    asset_of,
    cache_folder,
    existing_cache,
    four_numbers,
    holds_cache,
    listed,
    make_cache,
    number_or_mode,
    slices,
    whole_numbers,
)
from subregion.cli.clone import PASSED_ON, bench
from subregion.errors import ConfigError, SubregionError
from subregion.progress import counted

if TYPE_CHECKING:
    from subregion.cache.store import Store


class _Commands(typer.core.TyperGroup):
    """Says what went wrong in a line, without a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command; errors end the program with status 1, Ctrl-C with 130."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise  # typer ends quietly
        except SubregionError as error:
            _complain(error)
            raise typer.Exit(1) from None
        except OSError as error:  # the output has no room, or a folder cannot be made
            place = "" if error.filename is None else f"{error.filename}: "
            _complain(f"{place}{error.strerror or error}.")
            raise typer.Exit(1) from None
        except MemoryError as error:
            _complain(f"there is not enough memory for that: {error}".rstrip(": "))
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            _complain("interrupted; what was finished stays usable.")
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


def main() -> None:
    """Run the program."""
    try:
        app(prog_name="subregion")
    except KeyboardInterrupt:  # while modules are still being imported
        sys.exit(130)


def _complain(message: object) -> None:
    typer.echo(f"subregion: {' '.join(str(message).splitlines())}", err=True)


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


@app.command()
def prepare(
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="FOLDER_OR_FILES",
            help="Images, or folders of images.",
            show_default=False,
            readable=False,
        ),
    ],
    pattern: Annotated[
        list[str] | None,
        typer.Option(help="Which files of a folder, such as '**/*.png'; may be repeated. Default: all."),
    ] = None,
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
    import time

    from subregion.cli.describe import find_copy
    from subregion.collections.simple import SimpleFrames
    from subregion.errors import PrepareError

    started = time.perf_counter()
    store, chosen = make_cache(workdir, backend, config, hashid_mode)
    frames = SimpleFrames(
        listed(sources, pattern), cache_folder(workdir), chosen, hashid_mode, max_size=max_size
    )
    assets = {name: frames.record(name).default_asset for name in frames.image_ids}
    before = {name: find_copy(store, asset) for name, asset in assets.items()}
    failures: dict[Any, BaseException] = {}
    try:
        frames.prepare(workers=workers)
    except PrepareError as error:
        failures = error.failures
    after = {name: find_copy(store, asset) for name, asset in assets.items() if name not in failures}
    made = [copy for name, copy in after.items() if copy is not None and copy != before[name]]
    kept = [copy for name, copy in after.items() if copy is not None and copy == before[name]]
    without = [name for name, copy in after.items() if copy is None]
    evicted = [name for name in without if max_size is not None and store.wants_copy(assets[name])]
    ready = len(after) - len(evicted)
    summary: dict[str, Any] = {
        "images": len(assets),
        "converted": len(made),
        "already_there": len(kept),
        "read_in_place": len(without) - len(evicted),
        "removed": len(evicted),
        "failed": {str(name): str(failure) for name, failure in failures.items()},
        "nbytes": sum(copy.size for copy in (*made, *kept)),
        "cache": store.folder.path,
        "seconds": round(time.perf_counter() - started, 3),
    }
    if as_json:
        typer.echo(json.dumps(summary, indent=2))
    else:
        typer.echo(
            f"{ready} of {len(assets)} images are ready in {summary['seconds']:.1f} s: "
            f"{len(made)} converted, {len(kept)} were there, {summary['read_in_place']} need no copy. "
            + (f"{len(evicted)} were removed again for --max-size. " if evicted else "")
            + f"{summary['nbytes'] / 1e6:,.1f} MB in {store.folder.path}"
        )
    for failure in failures.values():
        _complain(failure)
    if failures:
        raise typer.Exit(1)


@app.command()
def info(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE_OR_WORKDIR",
            help="Images, or folders of copies.",
            show_default=False,
            readable=False,
        ),
    ],
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
    """
    from dataclasses import asdict

    from subregion.cache.inventory import inventory
    from subregion.cli.describe import describe, in_lines

    names = [backend] if backend is not None else ["npy", "cog", "zarr", "jpeg"]
    stores = [make_cache(workdir, name, config if backend else None, hashid_mode)[0] for name in names]
    documents: list[dict[str, Any]] = []
    failed = False
    if region is not None:
        _explain(files, region, make_cache(workdir, backend or "none", config, hashid_mode)[0], as_json)
        return
    for file in files:
        if holds_cache(file):
            folder = existing_cache(file)
            found = inventory(folder, counted(folder.keys(), "looking at copies", not as_json))
            documents.append(found.to_dict())
            if not as_json:
                typer.echo(str(found))
            continue
        try:
            description = describe(asset_of(file), stores)
        except SubregionError as error:
            failed = True
            _complain(error)
            documents.append({"path": str(file), "error": str(error)})
            continue
        documents.append(asdict(description))
        if not as_json:
            typer.echo(in_lines(description))
    if as_json:
        typer.echo(json.dumps([_without_nan(document) for document in documents], indent=2))
    if failed:
        raise typer.Exit(1)


def _explain(files: list[Path], region: str, store: Store, as_json: bool) -> None:
    """Tell which blocks a read of a region of each file would take."""
    from subregion.read.explain import explain
    from subregion.read.options import AS_STORED
    from subregion.records import ImageRecord

    wanted, documents = slices(region), []
    for file in files:
        asset = asset_of(file)
        found = explain(store, ImageRecord(str(file), (asset,)), wanted, None, AS_STORED)
        documents.append({"path": str(file), **found.to_dict()})
        if not as_json:
            typer.echo(str(found))
    if as_json:
        typer.echo(json.dumps(documents, indent=2))


@app.command()
def verify(
    workdir: Annotated[
        Path, typer.Argument(metavar="WORKDIR", help="Where copies are kept.", readable=False)
    ],
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
    typer.echo(json.dumps(report.to_dict(), indent=2) if as_json else str(report))
    if not report.ok:
        raise typer.Exit(1)


@app.command()
def gc(
    workdir: Annotated[
        Path, typer.Argument(metavar="WORKDIR", help="Where copies are kept.", readable=False)
    ],
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
    typer.echo(json.dumps(report.to_dict(), indent=2) if as_json else str(report))


@app.command()
def read(
    file: Source,
    output: Annotated[
        Path, typer.Argument(metavar="OUTPUT", help="A .png, .tif or .npy file.", show_default=False)
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

      subregion read scene.tif city.tif --bounds 15.0,50.5,15.1,50.6 --crs EPSG:4326
    """
    from subregion.cli.export import writer
    from subregion.geometry.region import select
    from subregion.geometry.window import Window
    from subregion.image import AlignableImageData
    from subregion.read.georeference import tags_of_part
    from subregion.records import ImageRecord

    wanted: Any = None
    if sum(given is not None for given in (region, window, bounds)) > 1:
        raise ConfigError("give --region, --window or --bounds, not both.")
    if crs is not None and bounds is None:
        raise ConfigError("--crs says what --bounds mean; give them too.")
    if region is not None:
        wanted = slices(region)
    elif window is not None:
        wanted = Window(*whole_numbers(window))
    write = writer(output, overwrite)
    store, _ = make_cache(workdir, backend, config, hashid_mode)
    record = ImageRecord(str(file), (asset_of(file),))
    image = AlignableImageData.from_store(record, store)
    with _status(f"reading {file}"):
        if bounds is not None:
            wanted = image.window(four_numbers(bounds), crs)
        pixels = image.load_region(wanted, channels, fill=number_or_mode(fill))
        is_tiff = output.suffix.lower() in (".tif", ".tiff")
        write(pixels, tags_of_part(store, record, select(wanted, image.shape)) if is_tiff else ())
    rows, cols, bands = pixels.shape
    typer.echo(f"{output}: {rows} x {cols} x {bands} {pixels.dtype} (rows x columns x bands)")


@app.command()
def show(
    file: Source,
    output: Annotated[
        Path | None,
        typer.Argument(metavar="OUTPUT.png", help="By default FILE-blocks.png here.", show_default=False),
    ] = None,
    workdir: Workdir = None,
    backend: Backend = "none",
    config: Config = None,
    hashid_mode: HashidMode = "PATH",
    overwrite: Overwrite = False,
) -> None:
    """Draw a thumbnail of an image with its grid of blocks, and its levels beside it.

    With a backend, it is the converted copy that is drawn.

    [bold]Examples[/bold]

      subregion show scan.tif

      subregion show huge.png blocks.png --backend cog
    """
    import numpy as np

    from subregion.cli.export import writer
    from subregion.cli.show import draw_blocks

    output = output or Path(f"{file.stem or file.name}-blocks.png")
    if output.suffix.lower() != ".png":
        raise ConfigError(f"{output}: a drawing is a PNG; give a name that ends in .png.")
    write = writer(output, overwrite)
    store, _ = make_cache(workdir, backend, config, hashid_mode)
    with _status(f"drawing {file}"):
        raster = store.open(asset_of(file)).raster
        write(np.asarray(draw_blocks(raster, file.name)))
    typer.echo(str(output))


@app.command()
def demo(
    output: Annotated[Path, typer.Option(help="The folder for what is made.")] = Path("demo-output"),
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


app.command(**PASSED_ON)(bench)


def _without_nan(value: Any) -> Any:
    """JSON has no NaN and no infinity: they become text."""
    if isinstance(value, float) and not abs(value) < float("inf"):
        return str(value)
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    return value


@contextlib.contextmanager
def _status(text: str) -> Iterator[None]:
    """Show that something is going on, on a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(text):
        yield


if __name__ == "__main__":
    main()
