"""What commands are given: the options that several share, and words turned into the library's values."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from subregion.errors import ConfigError, shown
from subregion.paths import path_of

if TYPE_CHECKING:
    from subregion.cache.entries import Folder
    from subregion.cache.store import Store
    from subregion.records import Asset


def local_path(text: str | os.PathLike[str]) -> Path:
    """Return the path that a word names: a ``file://`` URL is one too."""
    return Path(path_of(text))


Backend = Annotated[
    str, typer.Option(metavar="none|npy|cog|zarr|jpeg|auto", help="How images are stored for fast reading.")
]
Config = Annotated[
    list[str] | None, typer.Option(metavar="KEY=VALUE", help="An option of the backend; may be repeated.")
]
Workdir = Annotated[
    Path | None,
    typer.Option(
        parser=local_path, metavar="FOLDER", help="Where copies are kept; by default the user's cache folder."
    ),
]
ExistingWorkdir = Annotated[
    Path, typer.Argument(metavar="WORKDIR", help="Where copies are kept.", parser=local_path)
]
HashidMode = Annotated[
    str, typer.Option(metavar="PATH|PIXELS|DVC", help="What names a source: its path, its bytes or DVC.")
]
MaxSize = Annotated[
    str | None,
    typer.Option(metavar="SIZE", help="Bytes of all copies, such as 200GB: those used least recently go."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
Root = Annotated[
    Path | None,
    typer.Option(
        help="The folder that relative names of files start from. Default: that of the dataset.",
        show_default=False,
        parser=local_path,
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the output if it exists.")]
Source = Annotated[
    Path, typer.Argument(metavar="FILE", help="The image.", show_default=False, parser=local_path)
]


#: Longer numbers are none that an option takes.
_MOST_DIGITS = 20
_TRUTH = {"true": True, "false": False}


def cache_folder(workdir: Path | None) -> str:
    """Return the folder that was given, or the user's cache folder."""
    from subregion.cache.workdir import default_workdir

    return default_workdir() if workdir is None else str(workdir)


def make_cache(
    workdir: Path | None, backend: str, config: list[str] | None, hashid_mode: str
) -> tuple[Store, dict[str, Any] | None]:
    """Return the cache, and the backend as the library takes it."""
    from subregion.cache.workdir import make_store

    chosen: dict[str, Any] | None = None if backend.lower() == "none" else {"type": backend.lower()}
    options: dict[str, Any] = {}
    for item in config or ():
        pair = _pair(item)
        if pair is None:
            raise ConfigError(f"--config {_short(item)}: write KEY=VALUE, such as compress=DEFLATE.")
        options[pair[0]] = pair[1]
    if options:
        if chosen is None:
            raise ConfigError("--config has no meaning for backend 'none', which stores nothing.")
        chosen["config"] = options
    return make_store(cache_folder(workdir), chosen, hashid_mode.upper(), warn=False), chosen


def holds_cache(workdir: Path) -> bool:
    """Whether a folder is one in which copies were kept."""
    return os.path.isdir(os.path.join(workdir, "_cache", "frames"))


def existing_cache(workdir: Path) -> Folder:
    """Return the cache in a folder that was named.

    Raises
    ------
    ConfigError
        If no copies were ever kept there.
    """
    from subregion.cache.workdir import make_store

    if not holds_cache(workdir):
        raise ConfigError(
            f"{workdir}: holds no cache of converted images. Name the folder given as --workdir."
        )
    return make_store(workdir, "auto", "PATH", warn=False).folder


#: The options of the commands that read pixels.
Palette = Annotated[
    str | None,
    typer.Option(metavar="rgb|index", help="What pixels of a palette are: colours, or their indices."),
]
ViewOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--view",
        metavar="KEY=VALUE",
        help="Which picture of the file is meant: page=2, series=1, level=1, t=3, z=12, c=0, axes=zyx, "
        "frame=9, picture=label, orientation=upright, labels=true; may be repeated.",
    ),
]


def asset_of(file: Path, view: list[str] | None = None, palette: str | None = None) -> Asset:
    """Return the file as an asset of its own, with the picture of it that is meant."""
    from subregion.records import Asset

    options = _view_options(view)
    if palette is not None:
        options["palette"] = palette
    return Asset(os.path.abspath(file), **options)


def _view_options(view: list[str] | None) -> dict[str, Any]:
    from subregion.views import VIEW_OPTIONS

    options: dict[str, Any] = {}
    for item in view or ():
        pair = _pair(item)
        if pair is None or pair[0] not in VIEW_OPTIONS:
            raise ConfigError(
                f"--view {_short(item)}: write KEY=VALUE, such as page=2; keys are {', '.join(VIEW_OPTIONS)}."
            )
        key, value = pair
        options[key] = _TRUTH.get(str(value).lower(), value) if key == "labels" else value
    return options


def _pair(item: str) -> tuple[str, int | str] | None:
    """Split ``"KEY=VALUE"``, and make a number of what is one; None if there is no ``=``."""
    key, equals, value = item.partition("=")
    if not equals:
        return None
    return key, int(value) if value.isdecimal() and len(value) < _MOST_DIGITS else value


def listed(sources: list[Path], pattern: list[str] | None) -> dict[str, str]:
    """Return the files that were named and the images of folders that were named, by name as it was given.

    What is passed over in a folder is told on standard error.
    """
    from subregion.cli.console import complain
    from subregion.collections.folder import find_images
    from subregion.formats.zarr.metadata import is_zarr

    found: dict[str, str] = {}
    for source in sources:
        if not source.is_dir() or is_zarr(str(source)):
            found[str(source)] = str(source)
            continue
        inside = find_images(source, tuple(pattern or ("**/*",)))
        if inside.remark is not None:
            complain(inside.remark)
        found |= {str(source / name): path for name, path in inside.paths.items()}
    return found


def slices(text: str) -> tuple[Any, ...]:
    """Parse ``"0:10,::2"`` as NumPy would between brackets."""
    items: list[Any] = []
    for part in text.strip().strip("[]()").split(","):
        part = part.strip()
        if part == "...":
            items.append(...)
            continue
        try:
            numbers = [int(number) if number.strip() else None for number in part.split(":")]
        except ValueError:
            raise ConfigError(
                f"--region {_short(text)}: {shown(part)} is no slice; write START:STOP or START:STOP:STEP."
            ) from None
        if len(numbers) == 1 and numbers[0] is not None:
            raise ConfigError(
                f"--region {_short(text)}: write {part}:{numbers[0] + 1 or ''} for the single {shown(part)}."
            )
        if not 2 <= len(numbers) <= 3:
            raise ConfigError(
                f"--region {_short(text)}: {shown(part)} is no slice; write START:STOP or START:STOP:STEP."
            )
        items.append(slice(*numbers))
    return tuple(items)


def whole_numbers(text: str) -> list[int]:
    """Parse ``"0,0,512,512"``."""
    try:
        numbers = [int(number) for number in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != 4:
        raise ConfigError(
            f"--window {_short(text)}: write ROW,COL,HEIGHT,WIDTH in whole pixels, such as 0,0,512,512."
        )
    return numbers


def four_numbers(text: str) -> tuple[float, float, float, float]:
    """Parse ``"15.0,50.5,15.1,50.6"``."""
    try:
        numbers = [float(number) for number in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != 4:
        raise ConfigError(f"--bounds {_short(text)}: write MINX,MINY,MAXX,MAXY, such as 15.0,50.5,15.1,50.6.")
    return numbers[0], numbers[1], numbers[2], numbers[3]


def _short(text: str) -> str:
    """Cut what was typed, where it is longer than a message can be."""
    return text if len(text) <= 120 else f"{text[:100]}..."


def number_or_mode(fill: str | None) -> float | str | None:
    """Parse what lies outside an image."""
    if fill is None:
        return None
    try:
        return float(fill)
    except ValueError:
        return fill
