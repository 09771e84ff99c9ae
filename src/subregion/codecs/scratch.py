"""The buffer that each thread decodes into, before pixels are copied out of it."""

from __future__ import annotations

import threading

import numpy as np

#: Bytes that a thread keeps, at most.
KEPT = 4 << 20


class _Scratch(threading.local):
    def __init__(self) -> None:
        self.data = memoryview(b"")


_SCRATCH = _Scratch()


def scratch(nbytes: int) -> memoryview:
    """Return so many bytes to decode into, which stand until this thread decodes the next time.

    They stay in the processor's cache, and fresh memory costs as much as decoding a large window does. More
    than `KEPT` are fresh all the same.
    """
    if nbytes > KEPT:
        return np.empty(nbytes, np.uint8).data
    if len(_SCRATCH.data) < nbytes:
        _SCRATCH.data = np.empty(nbytes, np.uint8).data
    return _SCRATCH.data[:nbytes]
