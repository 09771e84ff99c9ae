"""COCO files: plain JSON, packed by gzip, or the one JSON in a zip; read in bounded memory.

Datasets of a million images are opened in seconds, because only what is needed becomes Python objects: the
lists of images and videos are kept as JSON, and an entry is parsed when it is asked for.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import stat
import zipfile
import zlib
from typing import IO, Any, NamedTuple, Protocol

import msgspec
import numpy as np

from subregion.errors import SubregionError, UnsupportedFormatError, source_error
from subregion.io.limits import check_json

#: So much is unpacked at a time, in bytes.
_CHUNK = 4 << 20
#: Where the annotations begin, and what may follow them, in so many last bytes.
_ANNOTATIONS = re.compile(rb'"annotations"\s*:\s*\[')
_FOLLOWING = re.compile(
    rb'\]\s*,\s*"(?:categories|keypoint_categories|images|videos|tracks|info|licenses)"\s*:'
)
_TAIL = 4 << 20


class Readable(Protocol):
    """What bytes can be read from."""

    def read(self, size: int, /) -> bytes:
        """Return up to so many bytes; none at the end."""
        ...


class Lists(NamedTuple):
    """The lists of a dataset that are needed.

    Parameters
    ----------
    images, videos : bytes or object
        As JSON; or parsed, where only Python's own parser takes it: NaN and infinities, UTF-16, a mark of
        byte order. That takes some 20 times as long, and much memory.
    path : str
        The file.
    annotations : memoryview or object
        As JSON, in the memory that the file was read to; or parsed; None if they were not asked for.
    categories : object
        Parsed; None if there are none, or annotations were not asked for.
    keypoint_categories : object
        The same of keypoints, where kwcoco writes such.
    guessed : bool
        Whether `annotations` may be no list, or end too late; see `settled`.
    """

    images: Any
    videos: Any
    path: str = ""
    annotations: Any = None
    categories: Any = None
    keypoint_categories: Any = None
    guessed: bool = False


class _Document(msgspec.Struct, gc=False):
    images: msgspec.Raw
    videos: msgspec.Raw = msgspec.Raw(b"[]")


class _Annotated(_Document, gc=False):
    annotations: msgspec.Raw = msgspec.Raw(b"[]")
    categories: Any = None
    keypoint_categories: Any = None


def read_dataset(path: str, annotations: bool = False) -> Lists:
    """Read a dataset.

    Parameters
    ----------
    path : str
        A ``.json``, ``.json.gz``, or ``.zip`` with one JSON inside; what it is, is told by its bytes.
    annotations : bool
        Whether annotations are wanted. Their bytes are then kept, as they are.

    Raises
    ------
    SubregionError
        If the file is missing, damaged, too large, or no such dataset.
    """
    data = _read(path)
    return (_guessed(path, data) if annotations else None) or _lists(path, data, annotations)


def settled(lists: Lists) -> Lists:
    """Return what a file holds if it was not where it was guessed to be.

    The end of a list is looked for at its usual places, because a parser takes a third of the time of reading
    to find it. If what is before it is JSON, the list was asked for where it begins; and if it then parses as
    one list, it is that list.
    """
    return _lists(lists.path, lists.annotations.obj, annotations=True) if lists.guessed else lists


def _lists(path: str, data: bytes, annotations: bool) -> Lists:
    """Have the parser find the lists."""
    try:
        document = (_read_annotated if annotations else _read_document)(data)
    except msgspec.ValidationError as error:
        raise UnsupportedFormatError(f"{path}: is no dataset in the COCO format: {error}.") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        found = _parsed(path, data)
        lists = Lists(found.get("images"), found.get("videos"), path)
        if annotations:
            lists = lists._replace(
                annotations=found.get("annotations", []),
                categories=found.get("categories"),
                keypoint_categories=found.get("keypoint_categories"),
            )
        return lists
    lists = Lists(bytes(document.images), bytes(document.videos), path)
    if isinstance(document, _Annotated):
        begin = _place(document.annotations, data)
        listed = memoryview(data)[begin : begin + len(memoryview(document.annotations))]
        lists = lists._replace(
            annotations=listed if begin >= 0 else memoryview(b"[]"),
            categories=document.categories,
            keypoint_categories=document.keypoint_categories,
        )
    return lists


def _parsed(path: str, data: bytes) -> dict[str, Any]:
    """Return a dataset as Python's own parser reads it."""
    found = parse(path, data)
    if not isinstance(found, dict):
        raise UnsupportedFormatError(f"{path}: holds a {type(found).__name__}, no dataset.") from None
    return found


class _RawLists(msgspec.Struct, gc=False):
    images: list[msgspec.Raw] = []
    annotations: list[msgspec.Raw] = []
    videos: list[msgspec.Raw] = []


# Made on import: msgspec looks at a type when it is first decoded, and crashes if two threads do so at once.
_read_document = msgspec.json.Decoder(_Document).decode
_read_annotated = msgspec.json.Decoder(_Annotated).decode
_read_keys = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_read_raw = msgspec.json.Decoder(_RawLists).decode


def read_document(path: str) -> dict[str, Any]:
    """Read all of a dataset, to be written again.

    Parameters
    ----------
    path : str
        As for `read_dataset`.

    Returns
    -------
    dict
        Entries of images, annotations and videos as JSON that is not parsed; or parsed, where only Python's
        own parser takes the file.

    Raises
    ------
    SubregionError
        As for `read_dataset`.
    """
    data = _read(path)
    try:
        document = _read_keys(data)
        entries = _read_raw(data)
    except msgspec.ValidationError as error:
        raise UnsupportedFormatError(f"{path}: is no dataset in the COCO format: {error}.") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _parsed(path, data)
    lists = {key: getattr(entries, key) for key in _RawLists.__struct_fields__ if key in document}
    return dict(document) | lists


def _guessed(path: str, data: bytes) -> Lists | None:
    """Look for the annotations at their usual place, behind the images; None if they are not there."""
    key = _ANNOTATIONS.search(data)
    if key is None:
        return None
    begin, end = key.end() - 1, data.rfind(b"]") + 1
    following = _FOLLOWING.search(data, max(begin, len(data) - _TAIL))
    if following is not None:
        end = following.start() + 1
    if end <= begin:
        return None
    without = b"%b[]%b" % (data[:begin], data[end:])
    try:
        document = _read_annotated(without)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if _place(document.annotations, without) != begin:
        return None
    listed = memoryview(data)[begin:end]
    return Lists(
        bytes(document.images),
        bytes(document.videos),
        path,
        listed,
        document.categories,
        document.keypoint_categories,
        guessed=True,
    )


def _place(raw: msgspec.Raw, data: bytes) -> int:
    """Return where in a document a part of it begins; -1 if it is none."""
    place: int = _address(raw) - _address(data)
    return place if 0 <= place < len(data) else -1


def _address(data: Any) -> int:
    address: int = np.frombuffer(data, np.uint8).ctypes.data
    return address


def parse(what: str, data: bytes) -> Any:
    """Parse JSON as Python does.

    Raises
    ------
    UnsupportedFormatError
        If it is none, naming `what`.
    """
    try:
        return json.loads(data)
    except RecursionError as error:
        raise UnsupportedFormatError(f"{what}: is nested too deeply to be read as JSON.") from error
    except ValueError as error:
        raise UnsupportedFormatError(f"{what}: is not JSON: {error}.") from error


def _read(path: str) -> bytes:
    """Return the JSON of a file, unpacked."""
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise UnsupportedFormatError(f"{path}: is no regular file.")
            return _unpacked(path, file, status.st_size)
    except OSError as error:
        if isinstance(error, SubregionError):
            raise
        raise source_error(path, error) from error


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # a pipe would wait for its writer


def _unpacked(path: str, file: IO[bytes], size: int) -> bytes:
    begin = file.read(4)
    file.seek(0)
    try:
        if begin[:2] == b"\x1f\x8b":
            with gzip.open(file) as packed:
                return _all_of(path, packed, size)
        if begin[:2] == b"PK" and zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive, archive.open(_member(path, archive)) as packed:
                return _all_of(path, packed, size)
    except SubregionError:
        raise
    except (gzip.BadGzipFile, zipfile.BadZipFile, zlib.error, EOFError, ValueError, RuntimeError) as error:
        said = " ".join(str(error).split()).rstrip(".")
        raise UnsupportedFormatError(
            f"{path}: cannot be unpacked: {said}. The file is truncated or corrupt: fetch or write it again."
        ) from error
    check_json(path, size, None)
    content = file.read(size)  # in one piece, which takes two thirds of the time
    rest = _all_of(path, file, None)
    return content + rest if rest else content


def _member(path: str, archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    """Return the one JSON of an archive."""
    names = [info for info in archive.infolist() if info.filename.endswith(".json")]
    if len(names) != 1:
        raise UnsupportedFormatError(f"{path}: holds {len(names)} JSON files; one is needed.")
    (found,) = names
    if found.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or found.flag_bits & 1:
        raise UnsupportedFormatError(
            f"{path}: {found.filename} is encrypted, or packed by another method than deflate; "
            f"only what is stored or deflated can be read."
        )
    return found


def _all_of(path: str, file: Readable, packed: int | None) -> bytes:
    """Read a file to its end, unless it grows out of all proportion."""
    content = io.BytesIO()
    while chunk := file.read(_CHUNK):
        content.write(chunk)
        check_json(path, content.tell(), packed)
    return content.getvalue()
