"""The note that a run of `prepare` leaves, so that the next one need not open every entry.

A stamp is a promise that is checked: it names the state of every source and which copies there were,
and holds only while all of that is so.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from subregion.cache.manifest import KEY_DIGITS
from subregion.errors import SubregionError

if TYPE_CHECKING:
    from subregion.cache.store import Store
    from subregion.records import Asset


def stamp_holds(store: Store, assets: Iterable[Asset]) -> bool:
    """Whether an earlier run left all of these images ready and nothing changed since."""
    state = _state(store, assets, store.folder.present())
    return state is not None and os.path.exists(_stamp(store, state))


def write_stamp(store: Store, assets: Iterable[Asset], copies: Iterable[str]) -> None:
    """Note that all of these images are ready, unless a copy of them was removed meanwhile.

    Parameters
    ----------
    store : Store
        The cache.
    assets : iterable of Asset
        The files.
    copies : iterable of str
        Names of the data that were found, or made.
    """
    present = store.folder.present()
    state = _state(store, assets, present)
    if state is None or not all(
        copy[KEY_DIGITS + 1 :] in present.get(copy[:KEY_DIGITS], ()) for copy in copies
    ):
        return
    stamp = _stamp(store, state)
    with contextlib.suppress(OSError):  # without it the next run looks at every entry, no more
        os.makedirs(os.path.dirname(stamp), exist_ok=True)
        with open(stamp, "xb"):
            pass


def _stamp(store: Store, state: str) -> str:
    return os.path.join(store.folder.path, "stamps", state)


def _state(store: Store, assets: Iterable[Asset], present: dict[str, list[str]]) -> str | None:
    """Hash what the sources look like and which entries are there; None if a source cannot be looked at."""
    state = hashlib.blake2b(digest_size=20)
    try:
        for asset in assets:
            keys, signature = store.keys_of(asset)
            there = [present.get(key) for key in keys]
            state.update(f"{keys} {signature} {there}\n".encode())
    except SubregionError:
        return None  # the run itself will report it
    return state.hexdigest()
