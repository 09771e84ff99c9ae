"""How an entry is removed without being taken from under a reader.

A reader writes its lease first, and then looks whether the manifest is still there. Who removes takes the
manifest away first, by renaming it, and then looks for leases. Whichever is first, one of the two sees the
other: either the reader finds no manifest, and begins anew; or the lease is found, and the manifest put back.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable

from subregion.cache.leases import is_alive

_ASIDE = re.compile(r"aside\.([0-9A-Za-z_-]+)\.([0-9a-f]{40})\.json")


def set_aside(manifest: str, key: str, unfinished: str, owner: str) -> str:
    """Rename a manifest to where no reader looks, and return its new path.

    Parameters
    ----------
    manifest : str
        The manifest.
    key : str
        Of which entry.
    unfinished : str
        The folder for it.
    owner : str
        The name of this process; see `leases.name_of_this_process`.

    Raises
    ------
    OSError
        If that cannot be done, or another was faster.
    """
    aside = os.path.join(unfinished, f"aside.{owner}.{key}.json")
    try:
        os.rename(manifest, aside)
    except FileNotFoundError:
        os.makedirs(unfinished, exist_ok=True)
        os.rename(manifest, aside)
    return aside


def put_back(aside: str, manifest: str) -> None:
    """Undo `set_aside`, unless there is a newer entry."""
    with contextlib.suppress(OSError):
        try:
            os.link(aside, manifest)
        except FileExistsError:
            pass
        except OSError:  # no links here
            if not os.path.lexists(manifest):
                os.rename(aside, manifest)
                return
        os.unlink(aside)


def restore_abandoned(unfinished: str, manifest_path: Callable[[str], str]) -> None:
    """Put back what a process had set aside that was killed then."""
    with contextlib.suppress(OSError), os.scandir(unfinished) as listing:
        for item in listing:
            found = _ASIDE.fullmatch(item.name)
            if found is not None:
                with contextlib.suppress(OSError):
                    if not is_alive(found[1], item.stat(follow_symlinks=False).st_ctime):
                        put_back(item.path, manifest_path(found[2]))
