"""The manifest of an entry: which data it has, and what they were made from.

It is JSON that begins with the CRC-32C of all that follows, so that a changed bit makes it no manifest.
"""

from __future__ import annotations

import errno
import json
import os
import re
import stat
from dataclasses import dataclass
from typing import Any

from subregion.cache.checksums import SUFFIX
from subregion.cache.metadata import NOTHING, Carried
from subregion.cache.origin import Origin
from subregion.cache.seen import Signature
from subregion.io.descriptors import read_regular, with_room
from subregion.libraries import google_crc32c

#: Bytes of a manifest; ours have some hundred.
MAX_MANIFEST = 1 << 20

#: Hexadecimal digits of the name of an entry.
KEY_DIGITS = 40

_BEGINNING = re.compile(rb'\{"crc32c": "([0-9a-f]{8})", ')
#: Bytes of that.
_BEGIN = len('{"crc32c": "01234567", ')
_AT_ONCE = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)
_DATA_NAME = re.compile(rf"[0-9a-f]{{{KEY_DIGITS}}}\.[0-9a-f]{{16}}\.[a-z]{{1,8}}")
_INNER_NAME = re.compile(r"[0-9a-z]+(?:[./][0-9a-z]+)*")


@dataclass(frozen=True, slots=True)
class Entry:
    """A published copy of a source.

    Parameters
    ----------
    origin : Origin
        What it was made of, and how.
    data : str
        Absolute path of the file or folder that holds the pixels.
    size : int
        Bytes of its files.
    signature : Signature or None
        What the source looked like when it was converted.
    sums : tuple of int
        Bytes of the file of checksums that is beside the data, and the CRC-32C of them.
    carried : Carried
        What the source says beside its pixels.
    """

    origin: Origin
    data: str
    size: int
    signature: Signature | None
    sums: tuple[int, int]
    carried: Carried = NOTHING

    @property
    def key(self) -> str:
        """Its name: a hash of what it was made of, and how."""
        return os.path.basename(self.data)[:KEY_DIGITS]

    @property
    def sums_path(self) -> str:
        """Where its checksums are."""
        return self.data + SUFFIX

    def fits(self, signature: Signature | None) -> bool:
        """Whether it was made of a source that looks like this."""
        if self.signature is None or signature is None:
            return self.signature is signature
        return self.signature.agrees(signature)


def manifest_of(
    name: str,
    sizes: dict[str, int],
    folder: bool,
    signature: Signature | None,
    sums: tuple[int, int],
    origin: Origin,
    carried: Carried,
) -> bytes:
    """Return the manifest of an entry.

    Parameters
    ----------
    name : str
        Name of the file or folder that holds them.
    sizes : dict
        Bytes of each of its files.
    folder : bool
        Whether it is a folder.
    signature : Signature or None
        What the source looked like.
    sums : tuple of int
        Bytes of the file of checksums, and the CRC-32C of them.
    origin : Origin
        What it was made of, and how.
    carried : Carried
        What the source says beside its pixels.
    """
    document = {
        "data": name,
        "size": sum(sizes.values()),
        **({"files": sizes} if folder else {}),
        "signature": None if signature is None else signature.document,
        "sums": sums,
        **origin.document,
        **carried.document,
    }
    rest = json.dumps(document).encode()[1:]
    return b'{"crc32c": "%08x", ' % google_crc32c.value(rest) + rest


def document_of(data: bytes) -> dict[str, Any]:
    """Parse a manifest, after a look at its checksum.

    Raises
    ------
    ValueError, RecursionError
        If it was changed, or is none.
    """
    begin = _BEGINNING.match(data)
    if begin is None or google_crc32c.value(data[begin.end() :]) != int(begin[1], 16):
        raise ValueError("it is not as it was written")
    document: dict[str, Any] = json.loads(data)
    return document


def claims_of(manifest: bytes, key: str) -> dict[str, Any] | None:
    """Return what a manifest of whatever version says, its ``"data"`` checked; None if it is not ours."""
    try:
        document = document_of(manifest)
        name = document["data"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    return document if isinstance(name, str) and _names_data_of(key, name) else None


def still_names(path: str, name: str) -> bool:
    """Whether a manifest that was read a moment ago still names the same data.

    Raises
    ------
    OSError
        If it is there and cannot be read.
    """
    expected = b'"data": "%s"' % name.encode()
    try:
        descriptor = with_room(lambda: os.open(path, _AT_ONCE))  # as this is done at each opening, no more
        try:
            return os.read(descriptor, _BEGIN + len(expected))[_BEGIN:] == expected
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ESTALE):
            return False
        raise


def _names_data_of(key: str, name: str) -> bool:
    return name.startswith(f"{key}.") and _DATA_NAME.fullmatch(name) is not None


class NoEntryError(Exception):
    """A manifest is malformed, or its data are not there in full; says which.

    Parameters
    ----------
    reason : str
        What is wrong.
    origin : Origin or None
        What the entry was made of, as far as that can be told.
    """

    def __init__(self, reason: str, origin: Origin | None = None) -> None:
        super().__init__(reason)
        self.origin = origin


def read_manifest(path: str, key: str) -> Entry:
    """Read a manifest, and look whether the data that it names are there.

    Anybody may have written it, or damaged it. What is not as we write it is no entry.

    Parameters
    ----------
    path : str
        The manifest.
    key : str
        Of which entry.

    Raises
    ------
    NoEntryError
        If it is malformed, or the data are not there in full.
    OSError
        If the manifest or the data cannot be looked at.
    """
    try:
        document = document_of(read_regular(path, MAX_MANIFEST))
        name, size, files = document["data"], document["size"], document.get("files")
        sums_size, sums_crc = document["sums"]
        seen = document["signature"]
        signature = None if seen is None else Signature.from_document(seen)
        # Names must stay in this folder.
        if not isinstance(name, str) or not _names_data_of(key, name):
            raise ValueError("it names no data of this entry")
        if not all(type(number) is int for number in (size, sums_size, sums_crc)):
            raise ValueError("sizes are whole numbers")
        carried, origin = Carried.from_document(document), Origin.from_document(document)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise NoEntryError(f"{path}: the manifest is not as it was written: {error}") from error
    place = os.path.join(os.path.dirname(path), name)
    try:
        there = _is_file(place, size) if files is None else _has_files(place, files, size)
        whole = there and _is_file(place + SUFFIX, sums_size)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NoEntryError(f"{error.filename}: is missing", origin) from error
    if not whole:
        raise NoEntryError(f"{place}: it, or its checksums, have not the size that they had", origin)
    return Entry(origin, place, size, signature, (sums_size, sums_crc), carried)


def _is_file(path: str, size: object) -> bool:
    """Whether there is a regular file of this size; a link is none."""
    status = os.lstat(path)
    return stat.S_ISREG(status.st_mode) and type(size) is int and status.st_size == size


def _has_files(folder: str, sizes: object, total: int) -> bool:
    """Whether a folder holds all these files, in these sizes."""
    if not isinstance(sizes, dict) or not sizes or not stat.S_ISDIR(os.lstat(folder).st_mode):
        return False
    return all(
        _INNER_NAME.fullmatch(name) and _is_file(os.path.join(folder, name), size)
        for name, size in sizes.items()
    ) and total == sum(sizes.values())
