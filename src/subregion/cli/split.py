"""The command `split`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from subregion.cli.arguments import AsJson, Overwrite, Root, local_path
from subregion.cli.console import complain, print_json, status
from subregion.errors import ConfigError, shown

if TYPE_CHECKING:
    from subregion.sampling.annotations.index import AnnotationIndex
    from subregion.sampling.split.split import Split


def split(
    dataset: Annotated[
        Path, typer.Argument(metavar="DATASET.json", show_default=False, parser=local_path, help="COCO.")
    ],
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="FOLDER", help="By default that of the dataset.", show_default=False, parser=local_path
        ),
    ] = None,
    part: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=PART",
            help="A split and its part; may be repeated. Default: train=0.8, validation=0.1, test=0.1.",
        ),
    ] = None,
    by: Annotated[
        str,
        typer.Option(
            metavar="auto|image|video|area|KEY",
            help="What stays together; KEY is one of image entries. By default videos, where there are any.",
        ),
    ] = "auto",
    block: Annotated[
        float | None, typer.Option(help="Side of a block of ground, for --by area, in units of --crs.")
    ] = None,
    margin: Annotated[
        float, typer.Option(help="How far apart images of different splits are on the ground, at least.")
    ] = 0.0,
    crs: Annotated[
        str | None, typer.Option(help="The reference system of blocks. Default: that of the images.")
    ] = None,
    stratify: Annotated[bool, typer.Option(help="Whether each split gets its part of every class.")] = True,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same splits.")] = 0,
    root: Root = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Split a dataset for training, validation and test, each written as a COCO file.

    [bold]Examples[/bold]

      subregion split cells.json

      subregion split scenes.json splits/ --by site --part train=0.7 --part test=0.3

      subregion split scenes.json --by area --block 20000 --margin 500
    """
    from subregion.sampling.sampler import CocoSampler
    from subregion.sampling.split.files import write_splits
    from subregion.sampling.split.split import WAYS, split_images

    with status(f"splitting {dataset}"):
        sampler = CocoSampler(dataset, dataset.parent, backend=None, root=root)
        index = sampler.index
        way = None if by == "auto" else by if by in WAYS and by != "tag" else "tag"
        found = split_images(
            index,
            sampler.frames,
            _fractions(part),
            by=way,
            tag=by if way == "tag" else None,
            block=block,
            margin=margin,
            crs=crs,
            stratify=stratify,
            seed=seed,
        )
        paths = write_splits(str(dataset), found, folder or dataset.parent, root=root, overwrite=overwrite)
    if found.left_out:
        complain(f"{len(found.left_out)} images were left out, which are near those of other splits.")
    for name, missing in _missing(index, found).items():
        complain(f"{name} has no {', '.join(missing[:12])}{' ...' if len(missing) > 12 else ''}.")
    if as_json:
        told = {name: {"images": len(found[name]), "file": str(path)} for name, path in paths.items()}
        print_json({"splits": told, "left_out": len(found.left_out)})
        return
    for name, path in paths.items():
        typer.echo(f"{path}: {len(found[name])} images")


def _missing(index: AnnotationIndex, split: Split) -> dict[str, list[str]]:
    """Return the classes that are annotated somewhere, but not in a split."""
    import numpy as np

    places = {image_id: row for row, image_id in enumerate(index.image_ids)}
    everywhere = set(index.category_ids.tolist()) - {-1}
    found = {}
    for name, ids in split.parts.items():
        rows = np.zeros(len(places), bool)
        rows[[places[image_id] for image_id in ids]] = True
        lacking = everywhere - set(index.category_ids[rows[index.image]].tolist())
        if lacking:
            found[name] = sorted(index.categories.name_of(each) for each in lacking)
    return found


def _fractions(parts: list[str] | None) -> dict[str, float] | None:
    if not parts:
        return None
    found = {}
    for item in parts:
        name, _, value = item.partition("=")
        try:
            found[name] = float(value)
        except ValueError:
            raise ConfigError(f"--part {shown(item)}: write NAME=PART, such as train=0.8.") from None
    return found
