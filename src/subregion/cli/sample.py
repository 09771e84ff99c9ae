"""The command `sample`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from subregion.cli.arguments import (
    Backend,
    Config,
    Overwrite,
    Root,
    Workdir,
    cache_folder,
    local_path,
    make_cache,
)
from subregion.cli.console import status
from subregion.errors import ConfigError, shown

Dataset = Annotated[
    Path,
    typer.Argument(
        metavar="DATASET",
        help="A COCO or kwcoco dataset.",
        show_default=False,
        parser=local_path,
    ),
]
Count = Annotated[
    int | None,
    typer.Option(
        "--n", "-n", min=1, help="How many samples; by default 24, and in --json of a --grid all windows."
    ),
]
Sheet = Annotated[
    Path | None,
    typer.Option(
        metavar="SHEET.png",
        help="The drawing; by default DATASET-samples.png here, unless only --json is given.",
        show_default=False,
        parser=local_path,
    ),
]
JsonFile = Annotated[
    Path | None,
    typer.Option(
        "--json",
        metavar="FILE.json",
        help="Write the targets, as load_sample takes them.",
        parser=local_path,
    ),
]
TargetsFile = Annotated[
    Path | None,
    typer.Option(
        "--targets",
        metavar="FILE.json",
        help="Draw the targets of a file, such as those that a training run read.",
        parser=local_path,
    ),
]
WindowSize = Annotated[
    str | None,
    typer.Option(
        metavar="HxW", help="Pixels of each sample; by default 256x256, or as the smallest image has."
    ),
]
Negatives = Annotated[
    float | None,
    typer.Option(metavar="PART", help="Which part of them are windows without objects, from 0 to 1."),
]
GridWindows = Annotated[
    bool, typer.Option("--grid", help="Windows out of a grid over all images, not around objects.")
]
FrameCount = Annotated[
    int | None, typer.Option(min=1, help="Clips of so many frames of videos, not single images.")
]
ChannelNames = Annotated[str | None, typer.Option(help="Channels by name, such as 'r|g|b'.")]
Scale = Annotated[str | None, typer.Option(metavar="S|X,Y", help="Pixels of a sample for each of the image.")]
Seed = Annotated[int | None, typer.Option(min=0, help="The same seed draws the same samples.")]
PictureSize = Annotated[int, typer.Option(min=16, max=2048, help="Pixels of each picture.")]

#: How many samples a sheet shows.
SHOWN = 24


def sample(
    dataset: Dataset,
    n: Count = None,
    out: Sheet = None,
    json_file: JsonFile = None,
    targets_file: TargetsFile = None,
    window: WindowSize = None,
    negatives: Negatives = None,
    grid: GridWindows = False,
    frames: FrameCount = None,
    channels: ChannelNames = None,
    scale: Scale = None,
    seed: Seed = None,
    root: Root = None,
    size: PictureSize = 240,
    workdir: Workdir = None,
    backend: Backend = "auto",
    config: Config = None,
    overwrite: Overwrite = False,
) -> None:
    """Draw random samples of a dataset with their boxes, masks and classes, on one sheet.

    Samples are windows around objects, without objects, or of a grid; with --json they are written down, to
    be read again by load_sample or drawn by --targets.

    [bold]Examples[/bold]

      subregion sample train.json --n 48 --window 512x512 --negatives 0.25

      subregion sample train.json --grid --window 256x256 --json windows.json --seed 0

      subregion sample train.json --targets windows.json --out windows.png
    """
    import numpy as np

    from subregion.cli.export import check_output, drawing_writer
    from subregion.io.replacing import written_beside
    from subregion.sampling.sampler import CocoSampler
    from subregion.sampling.sheet.choice import RandomChoice
    from subregion.sampling.targets.serialize import read_targets, targets_to_text

    if targets_file is not None:
        _refuse_random(window, negatives, grid or None, frames, seed)
    shown_count = n or SHOWN
    chosen_count = None if n is None and grid and json_file is not None else shown_count
    choice = RandomChoice(chosen_count, None if window is None else _window(window), negatives, grid, frames)
    reading = _reading(channels, scale)
    if out is None and json_file is None:
        out = Path(f"{dataset.stem.removesuffix('.kwcoco') or dataset.name}-samples.png")
    write = None if out is None else drawing_writer(out, overwrite)
    if json_file is not None:
        check_output(json_file, overwrite)
    _, chosen = make_cache(workdir, backend, config, "PATH")
    given = None if targets_file is None else read_targets(targets_file)
    with status(f"reading {dataset}"):
        sampler = CocoSampler(dataset, cache_folder(workdir), backend=chosen, root=root)
        targets = choice.targets(sampler, seed) if given is None else given
        targets = [target | reading for target in targets]
    if write is not None:
        with status(f"drawing {min(shown_count, len(targets))} samples"):
            write(np.asarray(sampler.show(targets[:shown_count], shown_count, size=size)))
        typer.echo(str(out))
    if json_file is not None:
        with written_beside(json_file) as unfinished:
            unfinished.write_text(targets_to_text(targets), "utf-8")
        typer.echo(f"{json_file}: {len(targets)} targets")


def _refuse_random(*options: Any) -> None:
    """Refuse what says how samples are drawn at random, where they are given."""
    if any(option is not None for option in options):
        raise ConfigError(
            "--window, --negatives, --grid, --frames and --seed draw at random; leave out --targets."
        )


def _window(text: str) -> tuple[int, int]:
    """Parse ``"512x256"``, height and width, or ``"512"``."""
    try:
        sizes = [int(number) for number in text.lower().split("x")]
    except ValueError:
        sizes = []
    if len(sizes) not in (1, 2) or min(sizes) < 1:
        raise ConfigError(f"--window {shown(text)}: write HEIGHTxWIDTH in whole pixels, such as 256x256.")
    return sizes[0], sizes[-1]


def _reading(channels: str | None, scale: str | None) -> dict[str, Any]:
    """Return how pixels are wanted, as keys of a target."""
    reading: dict[str, Any] = {} if channels is None else {"channels": channels}
    if scale is not None:
        try:
            numbers = [float(number) for number in scale.split(",")]
        except ValueError:
            numbers = []
        if len(numbers) not in (1, 2):
            raise ConfigError(f"--scale {shown(scale)}: write a number, or X,Y, such as 0.5.")
        reading["scale"] = numbers[0] if len(numbers) == 1 else numbers
    return reading
