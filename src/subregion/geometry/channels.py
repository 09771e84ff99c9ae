"""The language of channel names: ``r|g|b``, ``B8.0:4``, ``rgb``, ``3``, as kwcoco writes it."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from typing import Any

from subregion.errors import ConfigError, shown

#: Every channel that there is.
ALL = "<all>"

_ALIASES = {
    "rgb": ("r", "g", "b"),
    "rgba": ("r", "g", "b", "a"),
    "dxdy": ("dx", "dy"),
    "fxfy": ("fx", "fy"),
}
_RANGE = re.compile(r"^(?P<name>[^:]+?)(?:\.(?P<dotted>\d*))?(?P<numbers>(?::\d+){1,3})$")
#: More channels than this are taken for a mistake.
MOST_CHANNELS = 1 << 16
#: So many digits has a number in a specification at most.
_MOST_DIGITS = 18


def kept_channels(spec: Any) -> Any:
    """Return a specification that can be spelled out again and again: not all iterables can be.

    Raises
    ------
    ConfigError
        If it is neither text nor an iterable.
    """
    if spec is None or isinstance(spec, str | tuple):
        return spec
    if isinstance(spec, bytes | bytearray) or not isinstance(spec, Iterable):
        raise ConfigError(f"channels: {shown(spec)} is a {type(spec).__name__}; names are text.")
    return tuple(itertools.islice(spec, MOST_CHANNELS + 1))


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
        If a part is empty, a range holds nothing, or all of them are too many.

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
    items = (spec,) if spec is None or isinstance(spec, str) else kept_channels(spec)
    streams, left = [], MOST_CHANNELS
    for item in items:
        if not isinstance(item, str):
            raise ConfigError(f"channels: {shown(item)} is a {type(item).__name__}; names are text.")
        for stream in item.split(","):
            names: list[str] = []
            for code in stream.split("|"):
                names += _spell_out(code.strip(), item, left - len(names))
            streams.append(tuple(names))
            left -= len(names)
    return tuple(streams)


def _spell_out(code: str, spec: str, left: int) -> Sequence[str]:
    """Return the names that a part stands for, which are `left` at most."""
    if not code:
        raise ConfigError(f"channels: {shown(spec)} has an empty name; write for example 'r|g|b'.")
    found = _RANGE.match(code)
    if code in _ALIASES:
        names: Sequence[str] = _ALIASES[code]
    elif code.isdecimal():
        names = [f"u{number}" for number in _numbers(code, (0, _number(code, code)), left)]
    elif found is None or not found["name"]:
        names = (code,)
    else:
        given = [_number(number, code) for number in found["numbers"].split(":")[1:]]
        if found["dotted"] is not None:
            given = [_number(found["dotted"] or "0", code), *given]
        if len(given) == 1:
            given = [0, *given]
        if len(given) > 3 or 0 in given[2:] or not range(*given):
            raise ConfigError(f"channels: the range {shown(code)} holds nothing.")
        names = [f"{found['name']}.{number}" for number in _numbers(code, given, left)]
    if len(names) > left:
        raise _too_many(code)
    return names


def _number(digits: str, code: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise _too_many(code)
    return int(digits)


def _numbers(code: str, bounds: Sequence[int], left: int) -> range:
    numbers = range(*bounds)
    if not numbers:
        raise ConfigError(f"channels: {shown(code)} names no channel.")
    if (numbers[-1] - numbers[0]) // numbers.step >= left:
        raise _too_many(code)
    return numbers


def _too_many(code: str) -> ConfigError:
    return ConfigError(
        f"channels: with {shown(code)} there are more than {MOST_CHANNELS}, which are allowed."
    )
