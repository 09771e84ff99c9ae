"""The command `subregion bench`: parse, measure, print. What measures is imported when it is needed."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from subregion.cli.arguments import AsJson
from subregion.errors import DamagedFileError, SourceNotFoundError

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")


@app.command()
def bench(
    quick: Annotated[
        bool, typer.Option("--quick", help="One picture, fewer files and windows: some minutes.")
    ] = False,
    benchmark: Annotated[
        list[str] | None, typer.Option(help="What to measure; may be repeated. Default: everything.")
    ] = None,
    peer: Annotated[
        list[str] | None, typer.Option(help="Whom to measure against; may be repeated. Default: all.")
    ] = None,
    picture: Annotated[
        list[str] | None,
        typer.Option(help="Which pictures, the main one first; may be repeated. 'relief:512' draws one."),
    ] = None,
    repeats: Annotated[
        int | None, typer.Option(min=1, help="How often; by default 7, with --quick 5.", show_default=False)
    ] = None,
    output: Annotated[
        Path, typer.Option(help="The folder for results.json, benchmarks.md and its drawings.")
    ] = Path("benchmark-output"),
    folder: Annotated[
        Path | None,
        typer.Option(help="Where to work; by default the temporary folder. In full it takes some 20 GB."),
    ] = None,
    results: Annotated[
        Path | None,
        typer.Option(help="Only lay out the results.json of an earlier run anew.", readable=False),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Fail if a promise does not hold.")] = False,
    listing: Annotated[bool, typer.Option("--list", help="List benchmarks, peers and pictures.")] = False,
    as_json: AsJson = False,
) -> None:
    """Measure reading and converting against other libraries, on the same pixels.

    Every reader is a process of its own, with its file open; all take turns, and pixels are compared in the
    run. A peer that is not installed is listed as missing. The status is 1 if anyone gave wrong pixels.

    [bold]Examples[/bold]

      subregion bench --quick

      subregion bench --benchmark windows --peer rasterio --picture shadedrelief --json
    """
    from benchmarks import suite
    from benchmarks.run import Options

    if listing:
        _list_choices()
        return
    if results is not None:
        document, page = _laid_out(results, output)
    else:
        options = Options(
            benchmarks=tuple(benchmark or ()),
            peers=tuple(peer or ()),
            pictures=tuple(picture or ()),
            quick=quick,
            repeats=repeats or (5 if quick else 7),
            seconds=0.06 if quick else 0.4,
            folder=None if folder is None else str(folder),
        )
        document = suite.measure(options, _progress())
        suite.write(document, output)
        page = suite.publish(document, output)
    if as_json:
        typer.echo(json.dumps(document, indent=1))
    else:
        _print_summary(document, page)
    for failure in document["failures"]:
        typer.echo(f"subregion: {failure}", err=True)
    if document["failures"] or (strict and any(line["holds"] is False for line in document["targets"])):
        raise typer.Exit(1)


def _progress() -> Callable[[str], object]:
    """Return what tells of progress, on a terminal."""
    if not sys.stderr.isatty():
        return lambda text: None
    started = time.monotonic()
    return lambda text: typer.echo(f"{time.monotonic() - started:5.0f} s  {text}", err=True)


def _list_choices() -> None:
    from rich.console import Console
    from rich.table import Table

    from benchmarks.peers import PEERS
    from benchmarks.pictures import PICTURES
    from benchmarks.suite import BENCHMARKS

    for title, choices in (
        ("benchmark", {name: text for name, (text, _) in BENCHMARKS.items()}),
        ("peer", {name: peer.missing or "installed" for name, peer in PEERS.items()}),
        ("picture", PICTURES),
    ):
        table = Table(title, "", box=None)
        for name, text in choices.items():
            table.add_row(name, text)
        Console().print(table)


def _laid_out(path: Path, output: Path) -> tuple[dict[str, Any], Path]:
    """Judge the account of an earlier run, and lay its page out anew."""
    from benchmarks import suite
    from benchmarks.targets import judge

    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SourceNotFoundError(f"{path}: no such file.") from None
    except UnicodeError as error:
        raise DamagedFileError(f"{path}: is not the results.json of a run: {error}.") from error
    try:
        document: dict[str, Any] = json.loads(text)
        document["targets"] = judge(document["rows"])
        return document, suite.publish(document, output)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise DamagedFileError(
            f"{path}: is not the results.json of a run: {type(error).__name__}: {error}."
        ) from error


def _print_summary(document: dict[str, Any], page: Path) -> None:
    """Print what was promised and what was measured, what was left out, and where the rest is."""
    from rich.console import Console
    from rich.table import Table

    from benchmarks.report import shown

    console = Console()
    table = Table("promised", "at most", "measured", "holds", "against")
    for line in document["targets"]:
        if line["holds"] is not None:
            color = "green" if line["holds"] else "red"
            table.add_row(line["target"].replace("`", ""), shown(line["limit"]), shown(line["measured"]),
                          f"[{color}]{'yes' if line['holds'] else 'no'}[/]", line["against"])  # fmt: skip
    if table.row_count:
        console.print(table)
    for name, why in document["missing"].items():
        console.print(f"missing: {name}: {why}", highlight=False, markup=False)
    for note in document["notes"]:
        console.print(note, highlight=False, markup=False)
    console.print(
        f"{document['compared']:,} windows were compared with a plain decode. See {page}", highlight=False
    )


if __name__ == "__main__":
    from subregion.cli.main import app as command_line

    command_line(["bench", *sys.argv[1:]], prog_name="subregion")
