"""Files as strangers may send them, and what becomes of whoever reads them."""

from __future__ import annotations

import json
import os
import random
import struct
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

#: Numbers that headers seldom expect.
_ODD = [
    0,
    1,
    3,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0x8000,
    0xFFFF,
    0x10000,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
    100_000,
]


def mutated(data: bytes, rng: random.Random) -> bytes:
    """The same with some bytes changed, put in or taken out, mostly at its beginning."""
    changed = bytearray(data)
    reach = rng.choice([64, 200, 600, len(data), len(data)])
    for _ in range(rng.choice([1, 1, 1, 2, 3, 6])):
        if not changed:
            break
        at, action = rng.randrange(min(reach, len(changed))), rng.randrange(8)
        if action <= 2:
            changed[at] ^= 1 << rng.randrange(8)
        elif action == 3:
            form = rng.choice(["<I", ">I", "<H", ">H", "<Q", ">Q"])
            size = struct.calcsize(form)
            changed[at : at + size] = struct.pack(form, rng.choice(_ODD) & (1 << 8 * size) - 1)
        elif action == 4:
            del changed[at : at + rng.choice([1, 2, 4, 16, 100])]
        elif action == 5:
            changed[at:at] = rng.choice([b"\0", b"\xff", b"\xff" * 8, bytes(changed[at : at + 64])])
        elif action == 6:
            changed = changed[:at]
        else:
            other = rng.randrange(len(changed))
            changed[at : at + 12] = changed[other : other + 12]
    return bytes(changed)


#: What a child does with each file. Errors of ours are expected, any other is named with where it came from.
_CHILD = """
import json, os, sys, time, traceback, warnings
warnings.simplefilter("always")
warnings.simplefilter("ignore", DeprecationWarning)  # those are for programmers, and hidden from all others
import numpy as np
import subregion
from subregion import SubregionError
from subregion.errors import NotGeoreferencedError, RecordError
from subregion.cli.describe import describe
from subregion.records import Asset

def resident():
    # getrusage would count what the parent had before this program began.
    try:
        with open("/proc/self/status") as status:
            return {line.split()[0]: int(line.split()[1]) for line in status if "kB" in line}["VmHWM:"] / 1024
    except OSError:
        return 0.0

def forget():
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    except OSError:
        pass

def read(path):
    image = subregion.open(path, backend=None)
    image.shape, image.dtype, image.chunks
    tries = [lambda: image[:4, :4], lambda: image[::100, ::100], lambda: image[:],
             image.georeference, lambda: describe(Asset(path), []),
             lambda: subregion.open(path, backend=None, frame=7)[:]]
    for attempt in tries:
        try:
            attempt()
        except (NotGeoreferencedError, RecordError):
            pass
        except SubregionError as error:
            yield error

for path in map(os.path.abspath, json.load(sys.stdin)):
    forget()
    begun, before, error, foreign = time.perf_counter(), resident(), None, None
    try:
        for each in read(path):
            error = error or each
    except SubregionError as raised:
        error = raised
    except MemoryError as raised:
        foreign = "MemoryError: " + traceback.format_exc(limit=-1)
    except Exception:
        foreign = traceback.format_exc(limit=-4)
    print(json.dumps([error and type(error).__name__, str(error or ""), foreign,
                      time.perf_counter() - begun, resident() - before]), flush=True)
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What reading one file came to.

    Parameters
    ----------
    error, message : str or None, str
        Which error of ours was the first, and what it said.
    foreign : str or None
        The end of the traceback of an error that is not ours.
    seconds, megabytes : float
        How long all took, and how much more was resident at once than before.
    """

    error: str | None
    message: str
    foreign: str | None
    seconds: float
    megabytes: float


#: Limits under which files of strangers are read in tests: none of them is large.
LIMITS = {
    f"SUBREGION_{name}": str(128 << 20)
    for name in ("MAX_IMAGE_BYTES", "MAX_WHOLE_BYTES", "MAX_BLOCK_BYTES", "BOMB_BYTES")
}


def read_in_child(
    paths: Sequence[Path], limits: dict[str, str] | None = None, timeout: float = 120
) -> tuple[list[Outcome], str]:
    """Read files in a process of its own; return what came of each, and all that was said aside."""
    answer = subprocess.run(
        [sys.executable, "-c", _CHILD],
        input=json.dumps([str(path) for path in paths]),
        env=os.environ | (LIMITS if limits is None else limits),
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    outcomes = [Outcome(*json.loads(line)) for line in answer.stdout.splitlines() if line.startswith("[")]
    if len(outcomes) < len(paths):
        died = paths[len(outcomes)]
        raise AssertionError(f"{died}: the reader ended with {answer.returncode}: {answer.stderr[-2000:]}")
    return outcomes, answer.stderr


#: Format of a TIFF value by the number of its type.
_FORMS = {1: "B", 2: "s", 3: "H", 4: "I", 5: "II", 7: "s", 11: "f", 12: "d"}
Tag = tuple[int, int, Sequence[float] | bytes]


def tiff(directories: Iterable[Sequence[Tag]], blocks: bytes = b"", byteorder: str = "<") -> bytes:
    """Write a TIFF from its tags, whatever they say.

    Parameters
    ----------
    directories : iterable of sequence of (code, type, values)
        The directories; blocks begin at offset 8.
    blocks : bytes
        What lies in front of the directories.
    byteorder : str
        ``"<"`` or ``">"``.
    """
    blocks += b"\0" * (len(blocks) % 2)
    head = (b"II*\0" if byteorder == "<" else b"MM\0*") + struct.pack(byteorder + "I", 8 + len(blocks))
    written = head + blocks
    directories = list(directories)
    for number, tags in enumerate(directories):
        at = len(written) + 2 + 12 * len(tags) + 4
        entries, values = b"", b""
        for code, kind, value in tags:
            if isinstance(value, bytes):
                data, count = value, len(value)
            else:
                form = byteorder + _FORMS[kind] * (len(value) // len(_FORMS[kind]))
                data, count = struct.pack(form, *value), len(value) // len(_FORMS[kind])
            place = data.ljust(4, b"\0") if len(data) <= 4 else struct.pack(byteorder + "I", at + len(values))
            if len(data) > 4:
                values += data + b"\0" * (len(data) % 2)
            entries += struct.pack(byteorder + "HHI", code, kind, count) + place
        following = at + len(values) if number + 1 < len(directories) else 0
        written += struct.pack(byteorder + "H", len(tags)) + entries
        written += struct.pack(byteorder + "I", following) + values
    return written


def block_tags(
    nbytes: int,
    compression: int,
    side: int = 64,
    bands: int = 1,
    bits: int = 8,
    photometric: int | None = None,
) -> list[Tag]:
    """The tags of a square picture of one tile, which lies at offset 8."""
    shown = (2 if bands == 3 else 1) if photometric is None else photometric
    return [
        (256, 4, [side]),
        (257, 4, [side]),
        (258, 3, [bits] * bands),
        (259, 3, [compression]),
        (262, 3, [shown]),
        (277, 3, [bands]),
        (284, 3, [1]),
        (322, 4, [side]),
        (323, 4, [side]),
        (324, 4, [8]),
        (325, 4, [nbytes]),
    ]


def one_tile(block: bytes, compression: int, side: int = 64, **options: int) -> bytes:
    """Write a TIFF of one tile from its stored bytes."""
    return tiff([block_tags(len(block), compression, side, **options)], block)
