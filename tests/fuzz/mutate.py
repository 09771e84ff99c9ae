"""Damage to bytes, blind to what they mean."""

from __future__ import annotations

import random
from collections.abc import Callable

Mutator = Callable[[bytearray, random.Random, bytes], bytearray]

#: For each size of an integer, in bytes, the values that programs stumble over.
VALUES = (
    0,
    1,
    2,
    3,
    7,
    8,
    16,
    255,
    256,
    65535,
    1 << 15,
    (1 << 31) - 1,
    1 << 31,
    (1 << 32) - 1,
    (1 << 63) - 1,
    -1,
    -2,
)


def flip_bits(data: bytearray, dice: random.Random, other: bytes) -> bytearray:
    """Flip up to 16 bits."""
    for _ in range(dice.choice([1, 1, 2, 4, 16])):
        data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
    return data


def flip_bits_of_head(data: bytearray, dice: random.Random, other: bytes) -> bytearray:
    """Flip bits where headers are."""
    for _ in range(dice.choice([1, 1, 2, 4])):
        data[dice.randrange(min(len(data), 300))] ^= 1 << dice.randrange(8)
    return data


def overwrite(data: bytearray, dice: random.Random, other: bytes) -> bytearray:
    """Overwrite a run of bytes."""
    at = dice.randrange(len(data))
    count = min(len(data) - at, dice.choice([1, 2, 4, 16, 100, 1000]))
    data[at : at + count] = dice.choice([bytes(count), b"\xff" * count, dice.randbytes(count)])
    return data


def truncate(data: bytearray, dice: random.Random, other: bytes) -> bytearray:
    """Cut the end off."""
    return data[
        : dice.choice([dice.randrange(len(data)), dice.randrange(min(len(data), 200)), len(data) - 1])
    ]


def extend(data: bytearray, dice: random.Random, other: bytes) -> bytearray:
    """Append garbage."""
    return data + dice.choice([bytes(100), dice.randbytes(1000), bytes(data), other])


def splice(data: bytearray, dice: random.Random, other: bytes) -> bytearray:
    """Go on with another file of the kind."""
    if not other:
        return flip_bits(data, dice, other)
    at = dice.randrange(len(data))
    return data[:at] + bytearray(other[dice.choice([at, dice.randrange(len(other))]) :])


def insert(data: bytearray, dice: random.Random, other: bytes) -> bytearray:
    """Insert bytes, so that all offsets are off."""
    at = dice.randrange(len(data))
    data[at:at] = dice.choice([dice.randbytes(dice.choice([1, 2, 4, 100])), bytes(dice.choice([1, 4, 64]))])
    return data


def remove(data: bytearray, dice: random.Random, other: bytes) -> bytearray:
    """Take bytes out."""
    at = dice.randrange(len(data))
    del data[at : at + dice.choice([1, 2, 4, 64, 1000])]
    return data or bytearray(1)


def repeat(data: bytearray, dice: random.Random, other: bytes) -> bytearray:
    """Write a stretch twice, or over another."""
    at, count = dice.randrange(len(data)), dice.choice([4, 16, 64, 512])
    part = data[at : at + count]
    to = dice.randrange(len(data))
    data[to : to + (len(part) if dice.random() < 0.5 else 0)] = part
    return data


def set_integer(data: bytearray, dice: random.Random, other: bytes) -> bytearray:
    """Set an integer, mostly of the head, to a value that is awkward."""
    size = dice.choice([1, 2, 2, 4, 4, 8])
    within = len(data) if dice.random() < 0.3 else min(len(data), 512)
    at = dice.randrange(within) // size * size
    value = dice.choice([*VALUES, len(data), len(data) - 1, dice.randrange(1 << 31)])
    written = (value & ((1 << 8 * size) - 1)).to_bytes(size, dice.choice(["little", "big"]))
    data[at : at + size] = written
    return data


BLIND: tuple[Mutator, ...] = (
    flip_bits,
    flip_bits_of_head,
    overwrite,
    truncate,
    extend,
    splice,
    insert,
    remove,
    repeat,
    set_integer,
    set_integer,
)
