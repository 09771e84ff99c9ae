"""Damage to formats whose parts can be told apart, so that it gets past the sums and lengths."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Callable

from fuzz import trees
from fuzz.mutate import BLIND, VALUES, Mutator, flip_bits, set_integer


def _damaged(part: bytes, dice: random.Random) -> bytes:
    """Damage a part blindly, if there is any."""
    return bytes(dice.choice(BLIND)(bytearray(part), dice, b"")) if part else dice.randbytes(4)


def _shuffled(parts: list[bytes], dice: random.Random) -> list[bytes]:
    """Leave a part out, write one twice, or change their order."""
    at = dice.randrange(len(parts))
    how = dice.randrange(3)
    if how == 0:
        del parts[at]
    elif how == 1:
        parts.insert(dice.randrange(len(parts)), parts[at])
    else:
        to = dice.randrange(len(parts))
        parts[at], parts[to] = parts[to], parts[at]
    return parts


def png(data: bytearray, dice: random.Random, other: bytes) -> bytearray:
    """Damage chunks of a PNG, with sums that are right."""
    chunks: list[tuple[bytes, bytes]] = []
    at = 8
    while at + 12 <= len(data):
        (size,) = struct.unpack_from(">I", data, at)
        chunks.append((bytes(data[at + 4 : at + 8]), bytes(data[at + 8 : at + 8 + size])))
        at += 12 + size
    if not chunks:
        return flip_bits(data, dice, other)
    chosen = dice.randrange(len(chunks))
    name, body = chunks[chosen]
    how = dice.randrange(4)
    if how == 0 and name == b"IDAT":
        try:
            body = zlib.compress(_damaged(zlib.decompress(body), dice))
        except zlib.error:
            body = _damaged(body, dice)
    elif how == 1 and name == b"IHDR" and len(body) == 13:
        header = bytearray(body)
        if dice.random() < 0.5:
            header[dice.randrange(8, 13)] = dice.choice([0, 1, 2, 3, 4, 6, 8, 16, 255])
        else:
            struct.pack_into(">I", header, dice.choice([0, 4]), dice.choice(VALUES) & 0xFFFFFFFF)
        body = bytes(header)
    elif how == 2:
        name = dice.choice([b"IHDR", b"PLTE", b"tRNS", b"gAMA", b"iCCP", b"zTXt", b"acTL", b"fdAT", b"IEND"])
    else:
        body = _damaged(body, dice)
    chunks[chosen] = name, body
    parts = [
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    ]
    if dice.random() < 0.3:
        parts = _shuffled(parts, dice)
    return bytearray(data[:8] + b"".join(parts))


def jpeg(data: bytearray, dice: random.Random, other: bytes) -> bytearray:
    """Damage segments of a JPEG, with lengths that are right, or markers in its stream."""
    segments: list[bytes] = []
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] not in (0xD9, 0xDA):
        size = 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        segments.append(bytes(data[at : at + size]))
        at += size
    stream = bytearray(data[at:])
    if dice.random() < 0.35 and len(stream) > 20:
        to = dice.randrange(2, len(stream))
        stream[to:to] = bytes([0xFF, dice.choice([*range(0xC0, 0x100), 0])])
    elif segments:
        chosen = dice.randrange(len(segments))
        segment = segments[chosen]
        body = _damaged(segment[4:], dice)[:65533]
        marker = segment[:2] if dice.random() < 0.8 else bytes([0xFF, dice.randrange(0xC0, 0x100)])
        if marker[1] in range(0xC0, 0xC4) and dice.random() < 0.6 and len(segment) > 9:
            frame = bytearray(segment[4:])
            frame[dice.randrange(len(frame))] = dice.choice([0, 1, 2, 4, 8, 0x11, 0x22, 0x44, 0xFF])
            body = bytes(frame)
        segments[chosen] = marker + (len(body) + 2).to_bytes(2, "big") + body
        if dice.random() < 0.3:
            segments = _shuffled(segments, dice)
    return bytearray(data[:2] + b"".join(segments) + stream)


_TIFF_SIZES = {
    **{1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8},
    **{13: 4, 16: 8, 17: 8, 18: 8},
}
_COMPRESSIONS = (
    *(1, 2, 3, 4, 5, 6, 7, 8, 32773, 32946, 34712, 34887, 34892, 34925, 34926, 34933, 34934),
    *(50000, 50001, 50002, 52546),
)
_TAGS = (
    *(256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 317, 320, 322, 323, 324, 325, 330, 338, 339),
    *(347, 530, 532, 33550, 33922, 34264, 34735, 34736, 34737, 42112, 42113, 50674),
)
_PARENTS = tuple(b"moov trak mdia minf stbl edts meta iprp ipco jp2h moof traf".split())
_WORDS = (
    *(
        b"",
        b"nan",
        b"inf",
        b"-1e400",
        b"0",
        b"9" * 400,
        b"-",
        b"\0",
        b"\xff\xfe",
        b"a" * 70000,
        b"2024-01-01",
    ),
    *(b"*a", b"&a [*a, *a]", b"!!python/object:os.system x", b"&x;", b"<" * 2000, b"[" * 5000),
    *(b'encoding="utf-99"', b"<!DOCTYPE x [<!ENTITY x 'y'>]>"),
)


def tiff(data: bytearray, dice: random.Random, other: bytes) -> bytearray:
    """Damage an entry of a directory of a TIFF, or the values that it points to."""
    order = "little" if data[:2] == b"II" else "big"
    number: Callable[[int, int], int] = lambda at, size: int.from_bytes(data[at : at + size], order)  # type: ignore[arg-type]  # noqa: E731
    big = number(2, 2) == 43
    wide, entry, counted = (8, 20, 8) if big else (4, 12, 2)
    directories: list[int] = []
    at = number(8 if big else 4, wide)
    while 8 <= at < len(data) - counted and at not in directories and len(directories) < 20:
        directories.append(at)
        at = number(at + counted + number(at, counted) * entry, wide)
    if not directories:
        return set_integer(data, dice, other)
    home = dice.choice(directories)
    places = [home + counted + n * entry for n in range(min(number(home, counted), 100))]
    places = [place for place in places if place + entry <= len(data)]
    if not places:
        return set_integer(data, dice, other)
    place = dice.choice(places)

    def put(at: int, value: int, size: int) -> None:
        data[at : at + size] = (value & ((1 << 8 * size) - 1)).to_bytes(size, order)  # type: ignore[arg-type]

    kind, count = number(place + 2, 2), number(place + 4, wide)
    held = place + 4 + wide
    total = _TIFF_SIZES.get(kind, 1) * count
    values = held if total <= wide else number(held, wide)
    how = dice.randrange(7)
    if how == 0:
        put(place, dice.choice(_TAGS), 2)
    elif how == 1:
        put(place + 2, dice.choice([0, *range(1, 19), 255]), 2)
    elif how == 2:
        put(place + 4, dice.choice([*VALUES, count + 1, count - 1, count * 2]), wide)
    elif how == 3:
        data[place : place + entry] = data[(twin := dice.choice(places)) : twin + entry]
    elif how == 4 and number(place, 2) == 259:
        put(held, dice.choice(_COMPRESSIONS), 2)
    elif how == 5:
        put(held, dice.choice([*VALUES, len(data), home, number(held, wide) + 1]), wide)
    else:
        size = _TIFF_SIZES.get(kind, 1)
        at = values + dice.randrange(max(1, min(count, 1000))) * size
        put(at, dice.choice([*VALUES, len(data), number(at, size) + 1, number(at, size) * 2]), size)
    return data


def boxes(data: bytearray, dice: random.Random, other: bytes) -> bytearray:
    """Damage a box of MP4, AVIF, JPEG 2000 or JPEG XL: its size, its name, or what is in it."""
    found: list[tuple[int, int]] = []

    def walk(at: int, end: int, depth: int) -> None:
        while at + 8 <= end and len(found) < 500:
            size = int.from_bytes(data[at : at + 4], "big")
            if size < 8 or at + size > end:
                found.append((at, end - at))
                return
            found.append((at, size))
            if depth < 8 and bytes(data[at + 4 : at + 8]) in _PARENTS:
                walk(at + (12 if data[at + 4 : at + 8] == b"meta" else 8), at + size, depth + 1)
            at += size

    walk(0, len(data), 0)
    if not found:
        return flip_bits(data, dice, other)
    at, size = dice.choice(found)
    how = dice.randrange(6)
    if how == 0:
        data[at : at + 4] = (dice.choice([*VALUES, size - 1, size + 1]) & 0xFFFFFFFF).to_bytes(4, "big")
    elif how == 1:
        twin, _ = dice.choice(found)
        data[at + 4 : at + 8] = data[twin + 4 : twin + 8]
    elif how == 2:
        del data[at : at + size]
    elif how == 3:
        data[at:at] = data[at : at + size]
    else:
        body = at + 8 + dice.randrange(max(1, size - 8)) // 4 * 4
        width = dice.choice([2, 4, 8])
        value = dice.choice([*VALUES, dice.randrange(1 << 16)]) & ((1 << 8 * width) - 1)
        data[body : body + width] = value.to_bytes(width, "big")
    return data or bytearray(1)


def npy(data: bytearray, dice: random.Random, other: bytes) -> bytearray:
    """Damage the header of an `.npy`, which is a Python literal."""
    end = data.find(b"\n")
    if end < 10:
        return set_integer(data, dice, other)
    words = bytes(data[10:end]).decode("latin1")
    swaps: list[tuple[str, list[str]]] = [
        ("False", ["True", "None", "1", "[]", "0" * 50]),
        (
            "<f4",
            [
                "|O",
                "<f8",
                ">u2",
                "<M8[ns]",
                "|V8",
                "<U4",
                "|S3",
                "<c16",
                "f",
                "[('a','<f4')]",
                "3<f4",
                "\\x00",
            ],
        ),
        ("|u1", ["|b1", "|O", "<i8", "|V0", "<U99999999", "(2,)|u1", "u1,u1"]),
        ("(", ["((", "(-1, ", "(10**9, ", "(99999999999999999999, ", "(0, ", "(True, ", "(1.5, ", "(" * 300]),
        ("'shape'", ["'shap'", "shape", "'shape': (1,), 'shape'"]),
        ("'descr'", ["b'descr'", "'descr': '<f4', 'x'", '"descr"']),
        ("}", ["", "}}", ", 'more': 1}", "  # \x00", "}" + " " * 9]),
        ("{", ["", "{" * 200, "__import__('os').abort() or {", "[" * 2000]),
        (", ", [",", ",\t", ", \\\n", ", \u00b2", " if "]),
    ]
    there = [(old, new) for old, new in swaps if old in words]
    if there:
        old, news = dice.choice(there)
        words = words.replace(old, dice.choice(news), dice.choice([1, -1]))
    body = data[end + 1 :]
    line = words.encode("latin1") + b"\n"
    head = bytearray(data[:10])
    if dice.random() < 0.8:
        head[8:10] = (len(line) & 0xFFFF).to_bytes(2, "little")
    return head + line + body


def text(data: bytearray, dice: random.Random, other: bytes) -> bytearray:
    """Damage a word or a figure of a text."""
    words = bytes(data).split(b" ") if dice.random() < 0.5 else bytes(data).split(b"\n")
    at = dice.randrange(len(words))
    words[at] = dice.choice([*_WORDS, words[at] * 2, b"\n".join([words[at]] * 50)])
    return bytearray((b" " if b" " in data else b"\n").join(words) or b"\0")


def json(data: bytearray, dice: random.Random, other: bytes) -> bytearray:
    """Damage a JSON document where its values are."""
    return bytearray(trees.damaged(bytes(data), dice)) or bytearray(1)


AWARE: dict[str, Mutator] = {
    "png": png,
    "jpeg": jpeg,
    "tiff": tiff,
    "boxes": boxes,
    "npy": npy,
    "text": text,
    "json": json,
}


def mutated(data: bytes, how: str, dice: random.Random, other: bytes) -> bytes:
    """Damage a file once.

    Parameters
    ----------
    data : bytes
        The file.
    how : str
        Key of `AWARE`, or empty.
    dice : random.Random
        What decides.
    other : bytes
        Another file of the kind.

    Returns
    -------
    bytes
    """
    if not data:
        return dice.randbytes(10)
    aware = AWARE.get(how)
    mutator = aware if aware is not None and dice.random() < 0.6 else dice.choice(BLIND)
    return bytes(mutator(bytearray(data), dice, other))
