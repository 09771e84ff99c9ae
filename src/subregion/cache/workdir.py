"""Which folder the cache is in."""

from __future__ import annotations

import os

from subregion.cache.backend import Backend, parse_backend
from subregion.cache.entries import Folder
from subregion.cache.identity import check_mode
from subregion.cache.limits import Size, parse_size
from subregion.cache.store import Store
from subregion.errors import ConfigError, PathTypeError, SourceNotFoundError
from subregion.notices import warn_caller
from subregion.paths import path_of


def default_workdir() -> str:
    """Return the folder for caches of this user."""
    import platformdirs

    return platformdirs.user_cache_dir("subregion", appauthor=False)


def make_store(
    workdir: str | os.PathLike[str] | None,
    backend: Backend,
    hashid_mode: str,
    *,
    warn: bool = True,
    max_size: Size = None,
) -> Store:
    """Check the options that say where and how copies are kept.

    Parameters
    ----------
    workdir : path or None
        None is the user's cache folder, with a warning where something would be written there.
    backend : None, str or dict
        How images are stored.
    hashid_mode : str
        What names a source.
    warn : bool
        Whether to warn.
    max_size : int, str or None
        How many bytes all copies may have; see `limits.parse_size`.

    Returns
    -------
    Store
        Nothing is written before the first conversion.
    """
    recipe = parse_backend(backend)
    mode = check_mode(hashid_mode)
    most = parse_size(max_size)
    if workdir is None:
        workdir = default_workdir()
        if warn and recipe.kind != "none":
            warn_caller(f"The workdir was not given: converted images go to {workdir}.")
    root = os.path.abspath(_folder_of(workdir))
    return Store(Folder(os.path.join(root, "_cache", "frames")), recipe, mode, max_size=most)


def _folder_of(workdir: object) -> str:
    try:
        return path_of(workdir, "workdir")
    except (PathTypeError, SourceNotFoundError) as error:
        raise ConfigError(str(error)) from None
