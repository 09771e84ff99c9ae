"""What the library has to say beside results: warnings that point at the caller, a log, and short names.

The log is `LOGGER`, named ``subregion``, which is silent unless the program sets logging up.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import sys
import threading
import warnings
from collections import OrderedDict
from typing import Any, NamedTuple

from subregion.forks import in_child

LOGGER = logging.getLogger("subregion")
LOGGER.addHandler(logging.NullHandler())

#: What is passed over on the way to the caller: this library, and what calls its context managers.
_OURS = os.path.join(os.path.dirname(os.path.abspath(__file__)), ""), contextlib.__file__


class Caller(NamedTuple):
    """A line of the program that called the library.

    Parameters
    ----------
    filename : str
        Its file.
    lineno : int
        The line.
    module : str
        The name of its module.
    registry : dict
        Where Python notes which warnings were shown for that module.
    """

    filename: str
    lineno: int
    module: str
    registry: dict[Any, Any]


_threads = threading.local()


def caller() -> Caller:
    """Return the innermost line on the stack that is not of this library.

    In a thread that works for another one, that is the line that the other one was called from.
    """
    known: Caller | None = getattr(_threads, "caller", None)
    if known is not None:
        return known
    frame = sys._getframe(1)
    while frame.f_code.co_filename.startswith(_OURS) and frame.f_back is not None:
        frame = frame.f_back
    registry = frame.f_globals.setdefault("__warningregistry__", {})
    module = frame.f_globals.get("__name__", "<unknown>")
    return Caller(frame.f_code.co_filename, frame.f_lineno, module, registry)


def work_for(other: Caller) -> None:
    """Have warnings of this thread point at a caller: for threads that are started for one call.

    Parameters
    ----------
    other : Caller
        As `caller` gave it in the thread that was called.
    """
    _threads.caller = other


def warn_caller(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn, and point into the file of whoever called the library, however deep inside it we are.

    Parameters
    ----------
    message : str
        What to say.
    category : type
        The kind of warning.
    """
    place = caller()
    warnings.warn_explicit(
        message, category, place.filename, place.lineno, place.module, registry=place.registry
    )


def short_repr(value: Any) -> str:
    """Write a value of a dataclass with what is not as by default.

    Parameters
    ----------
    value : object
        Of any dataclass.

    Returns
    -------
    str
        As Python would write the call that makes it.
    """
    parts = []
    for each in dataclasses.fields(value):
        if not each.repr or not each.init:
            continue
        content = getattr(value, each.name)
        if each.default is dataclasses.MISSING:
            parts.append(repr(content))
        elif content != each.default:
            parts.append(f"{each.name}={content!r}")
    return f"{type(value).__name__}({', '.join(parts)})"


#: Files of which it is remembered that something was said; after so many the first may be told again.
_REMEMBERED = 1 << 16


class Notices:
    """What was said already. Thread-safe; a forked child does not say again what its parent said."""

    def __init__(self) -> None:
        self._said: OrderedDict[str, None] = OrderedDict()
        self._renew()
        in_child(self._renew)

    def _renew(self) -> None:
        self._lock = threading.Lock()

    def is_new(self, key: str) -> bool:
        """Tell whether nothing was said of a file, and remember it."""
        with self._lock:
            if key in self._said:
                return False
            self._said[key] = None
            if len(self._said) > _REMEMBERED:
                self._said.popitem(last=False)
            return True

    def forget(self) -> None:
        """Begin anew."""
        with self._lock:
            self._said.clear()


NOTICES = Notices()
