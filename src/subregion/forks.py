"""What a fork must not interrupt, and what a child starts anew. All fork hooks of the library are here.

Only the thread that forks goes on in the child. What another thread held at that moment, the lock of a module
that was being imported or one inside a C library, is held there for ever; so a fork waits until none is.
"""

from __future__ import annotations

import concurrent.futures.thread  # noqa: F401 - it and logging have fork hooks of their own, and their hooks
import logging  # noqa: F401               - must not appear between the halves of one fork
import os
import threading
import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar, overload

#: How long a fork waits for other threads, in seconds; then it goes on, so that nothing waits for ever.
PATIENCE = 10.0

T = TypeVar("T")


class Section:
    """Code that is not to be running in another thread while the process forks.

    A context manager, which a thread may enter again while it is inside.

    Parameters
    ----------
    exclusive : bool
        Whether only one thread may be inside.
    """

    def __init__(self, exclusive: bool) -> None:
        self._exclusive = exclusive
        self.start_empty()

    def start_empty(self) -> None:
        """Forget who is inside: in a child those threads do not exist."""
        # Reentrant, because the garbage collector may run a destructor that comes here at any moment.
        self._changed = threading.Condition(threading.RLock())
        self._inside: dict[int, int] = {}
        self._forking: list[int] = []

    def __enter__(self) -> None:
        me = threading.get_ident()
        with self._changed:
            if me not in self._inside and me not in self._forking:
                self._changed.wait_for(lambda: not self._forking and not (self._exclusive and self._inside))
            self._inside[me] = self._inside.get(me, 0) + 1

    def __exit__(self, *error: object) -> None:
        me = threading.get_ident()
        with self._changed:
            self._inside[me] -= 1
            if not self._inside[me]:
                del self._inside[me]
                self._changed.notify_all()

    def close(self, deadline: float) -> None:
        """Wait until no other thread is inside, and let none in before `reopen`."""
        me = threading.get_ident()
        with self._changed:
            self._forking.append(me)
            patience = max(0.0, deadline - time.monotonic())
            self._changed.wait_for(lambda: not self._inside.keys() - {me}, patience)

    def reopen(self) -> None:
        """Let threads in again."""
        with self._changed:
            self._forking.remove(threading.get_ident())
            self._changed.notify_all()


#: Held while anything is imported after the library itself was.
IMPORTS = Section(exclusive=True)
#: Held while code of others runs that has locks of its own: libvips, tifffile, OpenCV, decoders of whole
#: pictures and of rare blocks; and while a program is started, whose pipes end when nobody else holds them.
#: It may be entered first and then `IMPORTS`, but not the other way round.
FOREIGN = Section(exclusive=False)

_SECTIONS = (FOREIGN, IMPORTS)
_in_child: list[Callable[[], None]] = []


def in_child(start_anew: Callable[[], None]) -> None:
    """Have something called in every forked child, before anything else runs there.

    Parameters
    ----------
    start_anew : callable
        Lets go of what belongs to the parent: open files, threads, locks.
    """
    _in_child.append(start_anew)


def _before() -> None:
    deadline = time.monotonic() + PATIENCE
    for section in _SECTIONS:
        section.close(deadline)


def _after_in_parent() -> None:
    for section in _SECTIONS:
        section.reopen()


def _after_in_child() -> None:
    for section in _SECTIONS:
        section.start_empty()
    for start_anew in _in_child:
        start_anew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)


class computed_once(Generic[T]):  # noqa: N801 - a decorator, used like property
    """A property that is computed when it is first asked for.

    `functools.cached_property` before Python 3.12 holds one lock for all objects while it computes, which a
    fork would leave locked. Here two threads may compute the same value, and either is right.
    """

    def __init__(self, compute: Callable[[Any], T]) -> None:
        self._compute = compute
        self.__doc__ = compute.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type) -> computed_once[T]: ...

    @overload
    def __get__(self, instance: object, owner: type) -> T: ...

    def __get__(self, instance: object | None, owner: type) -> T | computed_once[T]:
        if instance is None:
            return self
        value = instance.__dict__[self._name] = self._compute(instance)
        return value
