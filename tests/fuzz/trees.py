"""Damage to JSON documents, as trees of values."""

from __future__ import annotations

import json
import random
from typing import Any

#: Values that stand where others are expected; those in braces become what cannot be dumped.
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 2**31, 2**32, 2**53 + 1, 2**63, -(2**63), 10**30),
    *(0.5, -0.0, 1e-320, 1e308),
    *("", "a", "0", "\0", "../../etc/passwd", "/etc/passwd", "a" * 5000, "\ud800", "é"),
    *("r|g|b", "b0.0:99999999", "nan", "<u2", "|O"),
    *([], {}, [None], [[]], [0], [1, 2, 3], [-1, -1], [[1, 0, 0], [0, 1, 0]], {"a": 1}, {"type": "affine"}),
    *("{NaN}", "{Infinity}", "{-Infinity}", "{1e400}", "{huge}", "{deep}", "{deep object}", "{many}"),
)
_TEXTS = {
    '"{NaN}"': "NaN",
    '"{Infinity}"': "Infinity",
    '"{-Infinity}"': "-Infinity",
    '"{1e400}"': "1e400",
    '"{huge}"': "9" * 5000,
    '"{deep}"': "[" * 20000 + "]" * 20000,
    '"{deep object}"': '{"a":' * 3000 + "1" + "}" * 3000,
    '"{many}"': "[" + "0," * 20000 + "0]",
}


def damaged(data: bytes, dice: random.Random) -> bytes:
    """Replace, remove, rename, double or move one value of a document.

    Parameters
    ----------
    data : bytes
        The document; what is none is cut.
    dice : random.Random
        What decides.

    Returns
    -------
    bytes
    """
    try:
        tree = json.loads(data)
    except (ValueError, RecursionError):
        return data[: dice.randrange(len(data) + 1)]
    places: list[tuple[Any, Any]] = []

    def walk(value: Any, depth: int) -> None:
        items = (
            value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        )
        for key, inner in items:
            places.append((value, key))
            if depth < 30 and len(places) < 3000:
                walk(inner, depth + 1)

    walk(tree, 0)
    if not places:
        tree = dice.choice(VALUES)
    for _ in range(dice.choice([1, 1, 1, 2, 3]) if places else 0):
        _change(places, dice)
    text = json.dumps(tree)
    for mark, written in _TEXTS.items():
        text = text.replace(mark, written, 1)
    if dice.random() < 0.03:
        text = dice.choice(
            [text[:-1], text + "}", "\ufeff" + text, text.replace('"', "'"), "null", "[]", "5", '""']
        )
    return text.encode("utf-8", "surrogatepass")


def _change(places: list[tuple[Any, Any]], dice: random.Random) -> None:
    home, key = dice.choice(places)
    how = dice.randrange(10)
    try:
        value = home[key]
        if how == 0:
            del home[key]
        elif how == 1 and isinstance(home, list):
            home.insert(0, value)
        elif how == 2:
            other_home, other_key = dice.choice(places)
            home[key], other_home[other_key] = other_home[other_key], value
        elif how == 3 and isinstance(home, dict):
            home[dice.choice(["id", "width", "x", key + " ", ""])] = home.pop(key)
        elif how == 4 and isinstance(value, int | float):
            home[key] = dice.choice(
                [value + 1, value - 1, -value, value * 1000, str(value), [value], float(value)]
            )
        elif how == 5 and isinstance(value, str):
            home[key] = dice.choice(
                [value[:-1], value + "x", value.upper(), [value], value * 2, value.replace("/", "\\")]
            )
        else:
            home[key] = dice.choice(VALUES)
    except (KeyError, IndexError, OverflowError, ValueError):  # it was removed by an earlier change
        return
