"""How many bytes a cache folder holds, known without a look at each entry.

The file ``ledger`` begins with what was counted and when; behind that stands a line for each entry that was
added since. What others removed is not in it, so it says too much rather than too little, and is counted anew
before anything is removed for it.
"""

from __future__ import annotations

import contextlib
import os
import re
import time

from subregion.cache.disk import SAFELY
from subregion.io.descriptors import read_regular, with_room

#: So long (seconds) it is believed: those who know of no limit may slip through while it is written.
BELIEVED = 3600.0
#: More bytes, and it is written anew.
MOST_BYTES = 256 << 10

_HEAD = re.compile(
    rb"counted ([0-9]{1,20}) at ([0-9]{1,12}\.[0-9]{1,3}), none before ([0-9]{1,12}\.[0-9]{1,3})"
)
_ADDED = re.compile(rb"\+[0-9]{1,20}")
_FLAGS = os.O_WRONLY | os.O_APPEND


class Ledger:
    """The ledger of a cache folder.

    Parameters
    ----------
    folder : str
        The cache folder.
    """

    def __init__(self, folder: str) -> None:
        self._path = os.path.join(folder, "ledger")

    @property
    def is_there(self) -> bool:
        """Whether anybody ever counted."""
        return os.path.exists(self._path)

    def read(self) -> tuple[int, bool] | None:
        """Return how many bytes there are, and whether it is time to remove some if they are too many.

        Returns
        -------
        tuple of (int, bool) or None
            None if they must be counted.
        """
        try:
            data = read_regular(self._path, MOST_BYTES)
        except (OSError, ValueError):
            return None
        head, *added = data.splitlines() or [b""]
        found = _HEAD.fullmatch(head)
        now = time.time()
        if found is None or len(data) == MOST_BYTES or not all(map(_ADDED.fullmatch, added)):
            return None
        if not -1 <= now - float(found[2]) <= BELIEVED:
            return None
        return int(found[1]) + sum(map(int, added)), now >= float(found[3])

    def start(self, nbytes: int, pause: float = 0.0) -> None:
        """Write down what was counted.

        Parameters
        ----------
        nbytes : int
            Bytes of all entries.
        pause : float
            For how long (seconds) it is of no use to try to remove more.
        """
        now = time.time()
        beside = f"{self._path}.new"
        with contextlib.suppress(OSError):
            descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | SAFELY, 0o666)
            try:
                os.write(descriptor, b"counted %d at %.3f, none before %.3f\n" % (nbytes, now, now + pause))
            finally:
                os.close(descriptor)
            os.replace(beside, self._path)

    def add(self, nbytes: int) -> None:
        """Note that an entry was added, if there is a ledger."""
        with contextlib.suppress(OSError):
            descriptor = with_room(lambda: os.open(self._path, _FLAGS | SAFELY))
            try:
                if os.fstat(descriptor).st_size < MOST_BYTES:
                    os.write(descriptor, b"+%d\n" % nbytes)
            finally:
                os.close(descriptor)
