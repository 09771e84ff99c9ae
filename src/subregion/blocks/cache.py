"""Decoded blocks that are wanted again and again: one bounded cache for the process.

Overlapping windows decode the same blocks several times; scattered ones hardly ever do, and for them
every block that is kept only drives others out of the processor's cache. So a block is kept when it is
decoded for the second time while the first is still remembered, and what is remembered is no more than
what the cache could hold.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias
from weakref import WeakKeyDictionary

from numpy.typing import NDArray

from subregion.errors import ConfigError
from subregion.forks import in_child

if TYPE_CHECKING:
    from subregion.blocks.level import Level

#: The file as it was opened, which of its levels, and number and offset of the block: pages of a file may
#: have levels of one size.
BlockKey: TypeAlias = "tuple[str, int, int, int]"

#: Bytes, unless the environment says otherwise.
DEFAULT_LIMIT = 64 << 20
VARIABLE = "SUBREGION_BLOCK_CACHE"

#: Which blocks were found to be what they must be, for as long as their level is open: their bytes come from
#: the disk once, and from memory after that.
VERIFIED: WeakKeyDictionary[Level, set[Any]] = WeakKeyDictionary()


def level_key(shape: tuple[int, int, int]) -> int:
    """Return what tells the levels of a file apart: no two have one size, and colours have other bands."""
    return (shape[0] << 32 | shape[1]) << 32 | shape[2]


def whole_number(image: int) -> int:
    """Return the number under which a whole image of a file is kept: one that no block has.

    A file may be read by blocks by one reader, and whole by another.
    """
    return -1 - image


class CacheInfo(NamedTuple):
    """What the block cache of this process did so far.

    Attributes
    ----------
    hits, misses : int
        Blocks that were there, and blocks that had to be decoded.
    hit_bytes : int
        Decoded bytes that were there.
    blocks, nbytes : int
        What is kept now.
    limit : int
        Bytes that may be kept; 0 is off.
    """

    hits: int
    misses: int
    hit_bytes: int
    blocks: int
    nbytes: int
    limit: int


class BlockCache:
    """Keeps decoded blocks, least recently used out first.

    Thread-safe. A forked child starts with an empty one.

    Parameters
    ----------
    limit : int
        Bytes.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._start_empty()
        in_child(self._start_empty)

    def _start_empty(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[BlockKey, NDArray[Any]] = OrderedDict()
        # What was decoded lately, in two generations: the older one is dropped when the newer is full.
        self._seen: set[BlockKey] = set()
        self._seen_before: set[BlockKey] = set()
        self._seen_bytes = 0
        self._nbytes = self._hits = self._misses = self._hit_bytes = 0

    def get(self, key: BlockKey) -> NDArray[Any] | None:
        """Return a block that is kept; it must not be written to."""
        block = self._kept.get(key)
        if block is None:
            return None  # counted by `note`, to take the lock once
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            self._hits += 1
            self._hit_bytes += block.nbytes
        return block

    def note(self, key: BlockKey, nbytes: int) -> bool:
        """Remember that a block had to be decoded, and tell whether that was so before not long ago."""
        with self._lock:
            self._misses += 1
            if key in self._seen or key in self._seen_before:
                return True
            self._remember(key, nbytes)
            return False

    def note_before(self, key: BlockKey, nbytes: int) -> None:
        """Remember a block that others decoded not long ago, if that is not known."""
        with self._lock:
            if key not in self._kept and key not in self._seen and key not in self._seen_before:
                self._misses += 1
                self._remember(key, nbytes)

    def _remember(self, key: BlockKey, nbytes: int) -> None:
        self._seen.add(key)
        self._seen_bytes += nbytes
        if 2 * self._seen_bytes > self.limit:
            self._seen_before, self._seen, self._seen_bytes = self._seen, set(), 0

    def keep(self, key: BlockKey, block: NDArray[Any]) -> None:
        """Keep a block, and let go of others as the limit demands."""
        with self._lock:
            if key not in self._kept and block.nbytes <= self.limit:
                self._kept[key] = block
                self._nbytes += block.nbytes
                self._shrink()

    def resize(self, limit: int) -> None:
        """Set how many bytes may be kept."""
        with self._lock:
            self.limit = limit
            self._shrink()

    def _shrink(self) -> None:
        while self._nbytes > self.limit:
            self._nbytes -= self._kept.popitem(last=False)[1].nbytes

    def info(self) -> CacheInfo:
        """Say what was kept and what it was good for."""
        with self._lock:
            return CacheInfo(
                self._hits, self._misses, self._hit_bytes, len(self._kept), self._nbytes, self.limit
            )


def _limit_from_environment() -> int:
    text = os.environ.get(VARIABLE)
    if text is None:
        return DEFAULT_LIMIT
    try:
        return checked_limit(int(text))
    except ValueError:
        raise ConfigError(f"{VARIABLE}={text!r}: must be a whole number of bytes; 0 is off.") from None


def checked_limit(limit: int) -> int:
    """Return a limit that makes sense.

    Raises
    ------
    ConfigError
        If it is no whole number of bytes.
    """
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 0:
        raise ConfigError(f"limit={limit!r}: must be a whole number of bytes, 0 or more; 0 is off.")
    return limit


#: The block cache of this process.
BLOCKS = BlockCache(_limit_from_environment())


def cache_info() -> CacheInfo:
    """Tell what the block cache of this process keeps, and how often it helped.

    Examples
    --------
    >>> import subregion
    >>> subregion.cache_info().limit
    67108864
    """
    return BLOCKS.info()


def set_cache_limit(limit: int) -> None:
    """Set how many bytes of decoded blocks this process may keep.

    The environment variable ``SUBREGION_BLOCK_CACHE`` sets it from the start, and for every child.

    Parameters
    ----------
    limit : int
        Bytes; 0 turns the cache off.

    Raises
    ------
    ConfigError
        If it is no whole number, or negative.
    """
    BLOCKS.resize(checked_limit(limit))
