"""The annotations of a file: read to arrays piece by piece, and parsed as a whole when one is asked for.

Only a parser can tell where an annotation ends, and to look for that alone takes a third of the time of
reading. So the list is cut where it looks as if one ended, and the piece is parsed. If it parses, the guess
was right: JSON that begins with a whole value and ends with a whole value cannot be read in another way.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, overload

import msgspec
import numpy as np

from subregion.collections.coco_file import Lists, parse
from subregion.errors import UnsupportedFormatError, shown
from subregion.sampling.annotations.columns import (
    BATCH,
    AnnotationColumns,
    AnnotationEntry,
    ColumnsMaker,
    LooseEntry,
    pack,
)

#: So many bytes are parsed at a time, and again whenever an annotation in them is asked for.
PIECE = 32 << 10
#: After so many guesses, or so many pieces without an end, the parser looks for the ends.
_LONGEST = 16
_GUESSES = 8
#: Pieces that are kept with the ends of their annotations.
_KEPT = 64

_FIRST_KEY = re.compile(rb'\[\s*\{\s*("(?:[^"\\]|\\.)*")\s*:')
_read = msgspec.json.Decoder(list[AnnotationEntry]).decode
_read_loose = msgspec.json.Decoder(list[LooseEntry]).decode
_read_raw = msgspec.json.Decoder(list[msgspec.Raw]).decode
_MALFORMED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class FileAnnotations(Sequence[Mapping[str, Any]]):
    """The annotations of a file, as it has them; they stay JSON until they are asked for.

    Parameters
    ----------
    listed : memoryview or bytes
        The list as JSON, well-formed.
    owner : str
        The file, to name in messages.
    """

    def __init__(self, listed: memoryview | bytes, owner: str) -> None:
        self.listed = listed
        self._owner = owner
        self._begins: list[int] = []
        self._ends: list[int] = []
        self._firsts: list[int] = []
        self._count = 0
        self._kept: dict[int, list[Any]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"listed": bytes(self.listed), "_kept": {}}

    def add(self, begin: int, end: int, count: int) -> None:
        """Tell that so many whole annotations stand between two bytes."""
        self._begins.append(begin)
        self._ends.append(end)
        self._firsts.append(self._count)
        self._count += count

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, place: int) -> Mapping[str, Any]: ...

    @overload
    def __getitem__(self, place: slice) -> list[Mapping[str, Any]]: ...

    def __getitem__(self, place: int | slice) -> Mapping[str, Any] | list[Mapping[str, Any]]:
        if isinstance(place, slice):
            return [self[one] for one in range(*place.indices(self._count))]
        place = range(self._count)[place]
        piece = bisect_right(self._firsts, place) - 1
        found = self._raw(piece)[place - self._firsts[piece]]
        if not isinstance(found, msgspec.Raw):
            return found  # type: ignore[no-any-return]
        try:
            entry = msgspec.json.decode(found)
        except _MALFORMED:  # such as a number that no float can hold
            entry = parse(f"{self._owner}: annotations[{place}]", bytes(found))
        return entry  # type: ignore[no-any-return]

    def _raw(self, piece: int) -> list[Any]:
        """Return the annotations of a piece as JSON."""
        found = self._kept.get(piece)
        if found is None:
            found = _documents(_as_list(self.listed, self._begins[piece], self._ends[piece]), self._owner)
            while len(self._kept) >= _KEPT:
                with suppress(KeyError, StopIteration, RuntimeError):  # another thread may have been faster
                    del self._kept[next(iter(self._kept))]
            self._kept[piece] = found
        return found


def read_columns(lists: Lists) -> tuple[AnnotationColumns, FileAnnotations]:
    """Read the annotations of a file.

    Parameters
    ----------
    lists : Lists
        With annotations as JSON, which is kept.

    Returns
    -------
    AnnotationColumns
    FileAnnotations

    Raises
    ------
    SubregionError
        If it is no list of objects with a whole number for their id each.
    """
    if not lists.annotations[:1].tobytes() == b"[":
        raise UnsupportedFormatError(
            f"{lists.path}: is no dataset in the COCO format: annotations="
            f"{shown(lists.annotations[:80].tobytes())} must be a list."
        )
    try:
        return _read_columns(lists.annotations, lists.path)
    except _MALFORMED as error:
        raise UnsupportedFormatError(f"{lists.path}: is no dataset in the COCO format: {error}.") from error


def _read_columns(listed: memoryview, owner: str) -> tuple[AnnotationColumns, FileAnnotations]:
    maker = ColumnsMaker(owner)
    annotations = FileAnnotations(listed, owner)
    waiting: list[memoryview] = []
    first = 0

    def put() -> None:
        if not maker.add(waiting):
            maker.add_documents(annotations[first:])
        waiting.clear()

    for begin, end, entries in _pieces(listed, annotations):
        if entries is None or len(annotations) - first > BATCH:
            put()
            first = len(annotations)
        if entries is None:
            annotations.add(begin, end, len(_documents(_as_list(listed, begin, end), owner)))
            maker.add_documents(annotations[first:])
            first = len(annotations)
        else:
            annotations.add(begin, end, len(entries))
            waiting.append(pack(entries))
        del entries  # while the processor still has them at hand
    put()
    return maker.columns(), annotations


def _as_list(listed: memoryview | bytes, begin: int, end: int) -> bytes:
    return b"".join((b"[", listed[begin:end], b"]"))


def _pieces(
    listed: memoryview | bytes, known: Sequence[Any]
) -> Iterator[tuple[int, int, list[AnnotationEntry] | None]]:
    """Cut a list, and read its pieces; None for those that hold what is not as usual."""
    first_key = _FIRST_KEY.match(listed)
    begin, last = 1, len(listed) - 1
    if first_key is None:
        if len(bytes(listed).strip(b"[] \t\r\n")):
            yield from _sought(listed, 0)
        return
    # Most writers give all annotations the same first key, which what is nested in them does not have.
    border = re.compile(rb"\}\s*,\s*(?=\{\s*" + re.escape(first_key[1]) + rb"\s*:)")
    while begin < last:
        place = begin + PIECE
        for _ in range(_GUESSES):
            if place < last:
                found = border.search(listed, place, min(begin + _LONGEST * PIECE, last))
                if found is None:
                    continue
                end, place = found.start() + 1, found.end()
            else:
                end = place = last
            try:
                yield begin, end, _entries(_as_list(listed, begin, end))
            except _MALFORMED:
                continue
            begin = place
            break
        else:
            yield from _sought(listed, len(known))
            return


def _sought(listed: memoryview | bytes, done: int) -> Iterator[tuple[int, int, list[AnnotationEntry] | None]]:
    """Cut what is left of a list behind so many annotations where the parser finds that they end."""
    found = _read_raw(listed)
    start = np.frombuffer(listed, np.uint8).ctypes.data
    step = max(1, PIECE * len(found) // len(listed))
    for number in range(done, len(found), step):
        some = found[number : number + step]
        begin = np.frombuffer(some[0], np.uint8).ctypes.data - start
        end = np.frombuffer(some[-1], np.uint8).ctypes.data - start + len(memoryview(some[-1]))
        try:
            yield begin, end, _entries(_as_list(listed, begin, end))
        except _MALFORMED:
            yield begin, end, None


def _entries(piece: bytes) -> list[Any] | None:
    """Read some annotations; None if they are JSON, but not as usual.

    Raises
    ------
    msgspec.DecodeError
        If they are no JSON.
    """
    try:
        return _read(piece)
    except msgspec.ValidationError:
        pass
    except msgspec.DecodeError:
        if b"NaN" not in piece and b"Infinity" not in piece:
            raise
        try:
            json.loads(piece)
        except ValueError as error:
            raise msgspec.DecodeError(str(error)) from error
        return None
    with suppress(msgspec.ValidationError):
        return [entry.settled() for entry in _read_loose(piece)]
    _read_raw(piece)
    return None


def _documents(piece: bytes, owner: str) -> list[Any]:
    """Return some annotations, parsed if they are such as only Python's parser takes."""
    try:
        return _read_raw(piece)
    except _MALFORMED:
        return parse(owner, piece)  # type: ignore[no-any-return]
