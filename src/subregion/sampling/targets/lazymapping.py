"""Mappings whose values are made when they are first asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any


class LazyMapping(Mapping[str, Any]):
    """A mapping whose values are made when they are first asked for, and kept.

    Pickled, it holds what it was made of, and not what can be made again.

    Parameters
    ----------
    source : object
        What values are made of.
    makers : Mapping
        For each key a function of a module, from the source to the value.
    """

    __slots__ = ("_made", "_makers", "_source")

    def __init__(self, source: Any, makers: Mapping[str, Callable[[Any], Any]]) -> None:
        self._source = source
        self._makers = makers
        self._made: dict[str, Any] = {}

    def __getitem__(self, key: str) -> Any:
        made = self._made
        if key not in made:
            made[key] = self._makers[key](self._source)
        return made[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)

    def __contains__(self, key: object) -> bool:
        return key in self._makers

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._source, dict(self._makers))

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {', '.join(self._makers)}>"
