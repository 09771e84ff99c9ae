"""The language of channel names: ``r|g|b``, ``B8.0:4``, ``rgb``, ``3``, as kwcoco writes it."""

from __future__ import annotations

import re
from collections.abc import Iterable

from subregion.errors import ConfigError

#: Every channel that there is.
ALL = "<all>"

_ALIASES = {
    "rgb": ("r", "g", "b"),
    "rgba": ("r", "g", "b", "a"),
    "dxdy": ("dx", "dy"),
    "fxfy": ("fx", "fy"),
}
_RANGE = re.compile(r"^(?P<name>[^:]+?)(?:\.(?P<dotted>\d*))?(?P<numbers>(?::\d+){1,3})$")
#: A range of more channels than this is taken for a mistake.
_MOST = 1 << 16


def parse_channels(spec: str | Iterable[str]) -> tuple[str, ...]:
    """Spell out a channel specification.

    Parameters
    ----------
    spec : str or iterable of str
        ``|`` joins channels and ``,`` streams of them; ``a.0:4`` is ``a.0`` to ``a.3``, ``a:2`` starts at 0,
        ``a.1:6:2``, also written ``a:1:6:2``, has a step; ``rgb``, ``rgba``, ``dxdy`` and ``fxfy`` are short
        for their letters; a number stands for as many channels without a name. Each item of an iterable is
        such a specification.

    Returns
    -------
    tuple of str
        One name for each channel, in order; names may repeat.

    Raises
    ------
    ConfigError
        If a part is empty, or a range holds nothing or too much.

    Examples
    --------
    >>> parse_channels("rgb|B8.0:2,nir")
    ('r', 'g', 'b', 'B8.0', 'B8.1', 'nir')
    """
    return tuple(name for stream in parse_streams(spec) for name in stream)


def parse_streams(spec: str | Iterable[str]) -> tuple[tuple[str, ...], ...]:
    """Spell out a channel specification, one tuple of names for each stream.

    Examples
    --------
    >>> parse_streams("rgb,a:2")
    (('r', 'g', 'b'), ('a.0', 'a.1'))
    """
    items = [spec] if isinstance(spec, str) else list(spec)
    for item in items:
        if not isinstance(item, str):
            raise ConfigError(f"channels: {item!r} is a {type(item).__name__}; names are text.")
    streams = []
    for item in items:
        for stream in item.split(","):
            names = tuple(name for code in stream.split("|") for name in _spell_out(code.strip(), item))
            streams.append(names)
    return tuple(streams)


def _spell_out(code: str, spec: str) -> tuple[str, ...]:
    if not code:
        raise ConfigError(f"channels: {spec!r} has an empty name; write for example 'r|g|b'.")
    if code in _ALIASES:
        return _ALIASES[code]
    if code.isdecimal():
        _check_count(int(code), code)
        return tuple(f"u{number}" for number in range(int(code)))
    found = _RANGE.match(code)
    if found is None or not found["name"]:
        return (code,)
    given = [int(number) for number in found["numbers"].split(":")[1:]]
    if found["dotted"] is not None:
        given = [int(found["dotted"] or 0), *given]
    if len(given) == 1:
        given = [0, *given]
    if len(given) > 3 or 0 in given[2:] or not range(*given):
        raise ConfigError(f"channels: the range {code!r} holds nothing.")
    numbers = range(*given)
    _check_count(len(numbers), code)
    return tuple(f"{found['name']}.{number}" for number in numbers)


def _check_count(count: int, code: str) -> None:
    if not 0 < count <= _MOST:
        raise ConfigError(f"channels: {code!r} names {count} channels; from 1 to {_MOST} are allowed.")
