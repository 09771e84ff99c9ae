"""The images of a folder: found by pattern, name and first bytes, with an account of what was passed over."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from subregion.errors import ConfigError, SourceNotFoundError, SubregionError, shown, source_error
from subregion.formats.candidates import can_be_image
from subregion.formats.open import open_raster
from subregion.formats.zarr.metadata import is_zarr
from subregion.paths import is_name, path_of


@dataclass(frozen=True, slots=True)
class FolderImages:
    """What was found in a folder.

    Parameters
    ----------
    root : str
        The folder.
    paths : dict of str to str
        From names relative to the folder, with forward slashes, to paths; sorted.
    others : tuple of str
        Names of files that cannot be images.
    dangling : tuple of str
        Names of links that lead nowhere.
    """

    root: str
    paths: dict[str, str]
    others: tuple[str, ...]
    dangling: tuple[str, ...]

    @property
    def remark(self) -> str | None:
        """What to tell of what was passed over, in one line; None if nothing was."""
        return f"{self.root}: passed over: {self.passed_over}." if self.passed_over else None

    @property
    def passed_over(self) -> str:
        """What was passed over, in words; empty if nothing was."""
        parts = []
        if self.others:
            total = len(self.others) + len(self.paths)
            parts.append(
                f"{len(self.others)} of {total} files are no images, such as {shown(self.others[0])}"
            )
        if self.dangling:
            count = len(self.dangling)
            links = "link leads" if count == 1 else "links lead"
            parts.append(f"{count} {links} nowhere, such as {shown(self.dangling[0])}")
        return "; ".join(parts)


def find_images(folder: Any, pattern: str | Sequence[str]) -> FolderImages:
    """Look for images in a folder; see `SimpleFrames.from_folder`.

    Raises
    ------
    SourceNotFoundError
        If there is no such folder, or no image in it.
    ConfigError
        If a pattern has no meaning.
    """
    root = Path(path_of(folder, "the folder")).absolute()
    patterns = _checked_patterns(pattern)
    try:
        os.scandir(root).close()
    except NotADirectoryError:
        raise SourceNotFoundError(f"{root}: is no folder.") from None
    except OSError as error:
        raise source_error(root, error) from error
    files, folders, links = _matching(root, patterns)
    files = {place for place in files if folders.isdisjoint(place.parents)}
    images = {place for place in files if can_be_image(str(place))}
    folders = {place for place in folders if folders.isdisjoint(place.parents)}
    found = {place.relative_to(root).as_posix(): str(place) for place in images | folders}
    result = FolderImages(
        str(root),
        {name: found[name] for name in sorted(found)},
        _names(files - images, root),
        _names({place for place in links if folders.isdisjoint(place.parents)}, root),
    )
    if not found:
        raise _nothing(result, patterns)
    return result


def _matching(root: Path, patterns: Iterable[str]) -> tuple[set[Path], set[Path], set[Path]]:
    """Return the files, zarr folders and dangling links that match, but for hidden ones."""
    files: set[Path] = set()
    folders: set[Path] = set()
    links: set[Path] = set()
    try:
        for place in (place for each in patterns for place in root.glob(each)):
            if any(part.startswith(".") for part in place.relative_to(root).parts):
                continue
            if place.is_file():
                files.add(place)
            elif place != root and is_zarr(str(place)):
                folders.add(place)
            elif place.is_symlink() and not place.exists():
                links.add(place)
    except OSError as error:
        raise source_error(root, error) from error
    return files, folders, links


def _names(places: Iterable[Path], root: Path) -> tuple[str, ...]:
    return tuple(sorted(place.relative_to(root).as_posix() for place in places))


def _nothing(found: FolderImages, patterns: Iterable[str]) -> SourceNotFoundError:
    """Say that there is no image, and what there is instead."""
    wanted = " or ".join(patterns)
    if not found.others:
        remark = (
            f" ({found.remark.removeprefix(found.root).lstrip(': ').rstrip('.')})" if found.remark else ""
        )
        return SourceNotFoundError(f"{found.root}: no file in it matches {wanted}{remark}.")
    said = ""
    try:
        open_raster(os.path.join(found.root, found.others[0]))
    except SubregionError as error:  # what kind of file it is, and how to convert it
        said = f" The first: {error}"
    return SourceNotFoundError(
        f"{found.root}: none of {len(found.others)} files in it that match {wanted} is an image.{said}"
    )


def _checked_patterns(pattern: Any) -> tuple[str, ...]:
    """Return patterns that `pathlib.Path.glob` takes."""
    patterns = (pattern,) if isinstance(pattern, str) else pattern
    if isinstance(patterns, bytes) or not isinstance(patterns, Iterable):
        raise ConfigError(f"pattern={shown(pattern)}: text is needed, such as '**/*.png', or a list of it.")
    checked = tuple(str(each) if isinstance(each, str) else each for each in patterns)
    for each in checked:
        parts = Path(each).parts if isinstance(each, str) and is_name(each) else ()
        if not parts or Path(each).is_absolute() or ".." in parts:
            raise ConfigError(
                f"pattern={shown(each)}: text is needed that is relative to the folder, such as '**/*.png'."
            )
        if any("**" in part and part != "**" for part in parts):
            raise ConfigError(f"pattern={shown(each)}: '**' stands alone, between slashes: 'a/**/*.png'.")
    return checked
