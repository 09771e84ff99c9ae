"""The process-wide pool of open files: bounded in number, shared by threads, never by processes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

from subregion.forks import in_child
from subregion.libraries import makes_room

try:
    import resource
except ImportError:  # not on Windows
    resource = None  # type: ignore[assignment]


def _default_capacity() -> int:
    """Take a quarter of the descriptors that this process may have, at most 256."""
    if resource is None:
        return 64
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return 256 if limit == resource.RLIM_INFINITY else max(8, min(256, limit // 4))


class Pool:
    """Keeps the most recently used objects open.

    Holding an object is the lease: eviction only drops the pool's own reference, so a file is closed when
    its last reader is done. Thread-safe. A forked child starts with an empty pool and opens for itself.

    Parameters
    ----------
    capacity : int
        How many objects to keep.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._start_empty()
        in_child(self._start_empty)

    def _start_empty(self) -> None:
        # A lock that another thread held while the process forked would stay locked in the child.
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, Any] = OrderedDict()

    def get(self, key: Hashable) -> Any | None:
        """Return the object that is open under this key, if any, and note that it was used."""
        kept = self._kept
        found = kept.get(key)
        if found is not None:
            try:  # noqa: SIM105 - asked at every read, and suppress() takes as long as all the rest
                kept.move_to_end(key)
            except KeyError:  # evicted a moment ago by another thread; still ours to use
                pass
        return found

    def put(self, key: Hashable, opened: Any) -> None:
        """Keep an object, and let go of the least recently used one if there are too many."""
        with self._lock:
            self._kept[key] = opened
            self._kept.move_to_end(key)
            dropped = []
            while len(self._kept) > self.capacity:
                dropped.append(self._kept.popitem(last=False))
        del dropped  # files close here, outside the lock

    def get_or_put(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """Return the object that is open under this key, or keep the one that is made now, quickly."""
        with self._lock:
            found = self._kept.get(key)
            if found is None:
                found = self._kept[key] = make()
        self.put(key, found)
        return found

    def shrink(self) -> bool:
        """Let go of the half that was used least recently; False if there was nothing to let go of.

        It is for when there are no descriptors left, so the limit may be lower than it was when we started.
        """
        with self._lock:
            self.capacity = min(self.capacity, _default_capacity())
            dropped = [self._kept.popitem(last=False) for _ in range((len(self._kept) + 1) // 2)]
        return bool(dropped)  # files close here, outside the lock

    def forget(self, wanted: Callable[[Hashable], bool]) -> None:
        """Let go of every object whose key is wanted gone."""
        with self._lock:
            dropped = [self._kept.pop(key) for key in list(self._kept) if wanted(key)]
        del dropped

    def kept(self) -> list[tuple[Hashable, Any]]:
        """List what is open, that which was used least recently first."""
        with self._lock:
            return list(self._kept.items())

    def __len__(self) -> int:
        return len(self._kept)


#: All open files of this process.
POOL = Pool(_default_capacity())
makes_room(POOL.shrink)
