"""The process-wide pool of open files: bounded in number, shared by threads, never by processes.

What was found out about a file when it was opened is kept beyond that, bounded by bytes: to open it again
takes a look at its state, and nothing else.
"""

from __future__ import annotations

import os
import threading
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

from subregion.errors import ConfigError
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


#: Bytes of indexes of closed files, unless the environment says otherwise: those of pictures of a few
#: megapixels take 6 to 12 KB, so there is room for ten thousand.
DEFAULT_INDEX_LIMIT = 128 << 20
INDEX_VARIABLE = "SUBREGION_INDEX_CACHE"


class Index(NamedTuple):
    """What was found out when something was opened, without its file.

    Parameters
    ----------
    value : object
        It holds no descriptor, no map and no lease, and is never changed.
    nbytes : int
        About how many bytes of memory it takes.
    """

    value: Any
    nbytes: int


class Indexed(ABC):
    """Something open of which a pool keeps more than it keeps open."""

    __slots__ = ()

    @abstractmethod
    def index(self) -> Index | None:
        """Return what to keep of it when it is closed, without any of its files; None for nothing."""


class Indexes:
    """Keeps indexes of files that were closed, least recently used out first.

    Whoever takes one compares the state of the file: nothing here looks at files. Thread-safe. A forked child
    starts with none.

    Parameters
    ----------
    limit : int
        Bytes of all of them.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.start_empty()
        in_child(self.start_empty)

    def start_empty(self) -> None:
        """Forget all of them."""
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, Index] = OrderedDict()
        self.nbytes = 0

    def get(self, key: Hashable) -> Index | None:
        """Return the index under this key, if there is one, and note that it was used."""
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
            return found

    def put(self, key: Hashable, index: Index) -> None:
        """Keep an index, and let go of others as the limit demands."""
        with self._lock:
            before = self._kept.get(key)
            if before is index:
                return
            if before is not None:
                self._drop(key)
            if index.nbytes <= self.limit:
                self._kept[key] = index
                self.nbytes += index.nbytes
                while self.nbytes > self.limit:
                    self._drop(next(iter(self._kept)))

    def forget(self, wanted: Callable[[Hashable], bool]) -> None:
        """Let go of every index whose key is wanted gone."""
        with self._lock:
            for key in [key for key in self._kept if wanted(key)]:
                self._drop(key)

    def _drop(self, key: Hashable) -> None:
        self.nbytes -= self._kept.pop(key).nbytes

    def __len__(self) -> int:
        return len(self._kept)


def _index_limit() -> int:
    text = os.environ.get(INDEX_VARIABLE, str(DEFAULT_INDEX_LIMIT))
    if not text.isdecimal():
        raise ConfigError(f"{INDEX_VARIABLE}={text!r}: must be a whole number of bytes; 0 is off.")
    return int(text)


class Pool:
    """Keeps the most recently used objects open.

    Of what is `Indexed`, the index is kept in `INDEXES` when it is let go of because there are too many.

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
        _keep_indexes(dropped)
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
        _keep_indexes(dropped)
        return bool(dropped)  # files close here, outside the lock

    def close(self, wanted: Callable[[Hashable], bool]) -> None:
        """Let go of every object whose key is wanted gone, but keep what was found out about it."""
        with self._lock:
            dropped = [(key, self._kept.pop(key)) for key in list(self._kept) if wanted(key)]
        _keep_indexes(dropped)

    def forget(self, wanted: Callable[[Hashable], bool]) -> None:
        """Let go of every object whose key is wanted gone, and of what was found out about it."""
        INDEXES.forget(wanted)
        with self._lock:
            dropped = [self._kept.pop(key) for key in list(self._kept) if wanted(key)]
        del dropped

    def kept(self) -> list[tuple[Hashable, Any]]:
        """List what is open, that which was used least recently first."""
        with self._lock:
            return list(self._kept.items())

    def __len__(self) -> int:
        return len(self._kept)


def _keep_indexes(dropped: list[tuple[Hashable, Any]]) -> None:
    """Keep what was found out about objects that are about to be closed."""
    for key, opened in dropped:
        if isinstance(opened, Indexed) and INDEXES.limit:
            index = opened.index()
            if index is not None:
                INDEXES.put(key, index)


#: What was found out about files that were closed.
INDEXES = Indexes(_index_limit())
#: All open files of this process.
POOL = Pool(_default_capacity())
makes_room(POOL.shrink)
