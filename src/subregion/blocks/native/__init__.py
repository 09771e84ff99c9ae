"""The compiled executor, if it was built: the same bytes as in Python, without the interpreter.

Nothing else of the library depends on it. The variable ``SUBREGION_NATIVE=0`` turns it off.
"""

from __future__ import annotations

import os
from typing import Any

from subregion.forks import in_child

#: Turns it off.
VARIABLE = "SUBREGION_NATIVE"
executor: Any
try:
    from subregion.blocks.native import executor
except ImportError:
    executor = None

#: Whether it was built.
BUILT = executor is not None

if BUILT:
    in_child(executor.forget_threads)


def libraries() -> dict[str, str]:
    """Return the codec libraries that it can use, with the versions that it was built with; empty if not."""
    return dict(executor.libraries()) if BUILT else {}


def is_wanted() -> bool:
    """Whether levels that are opened now may be read by it."""
    return BUILT and os.environ.get(VARIABLE) != "0"
