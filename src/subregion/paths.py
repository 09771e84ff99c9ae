"""Names of files as users write them."""

from __future__ import annotations

import os
import re
import urllib.parse

from subregion.errors import PathTypeError, SourceNotFoundError, shown

#: What a URL begins with. Two letters at least, because one is a drive of Windows; one slash, because
#: `pathlib` leaves no more of it.
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")
_WEB = ("http", "https", "ftp", "ftps")


def path_of(value: object, what: str = "the path") -> str:
    """Return a path as text.

    Parameters
    ----------
    value : str, bytes or os.PathLike
        As it was given.
    what : str
        What it is, to name in messages.

    Returns
    -------
    str
        Neither absolute nor normalised yet. A leading ``~`` is the user's folder, a ``file://`` URL the file
        that it names.

    Raises
    ------
    PathTypeError
        If it is no path.
    SourceNotFoundError
        If no file can have such a name, or it is on another machine.

    Examples
    --------
    >>> path_of(b"a.png")
    'a.png'
    >>> path_of("file:///data/my%20scan.tif")
    '/data/my scan.tif'
    """
    if not isinstance(value, str | bytes | os.PathLike):
        way_out = "give its name" if hasattr(value, "read") else "give a str or a pathlib.Path"
        raise PathTypeError(f"{what}: {shown(value)} is a {type(value).__name__}, no path; {way_out}.")
    try:
        text = os.fsdecode(value)
    except TypeError as error:  # an object that says it is a path, and is none
        raise PathTypeError(f"{what}: {shown(value)} is no path: {error}.") from error
    if not is_name(text):
        raise SourceNotFoundError(f"{what}: {shown(text)}: no file can have such a name.")
    if ":/" in text and (scheme := _SCHEME.match(text)) is not None:
        return _local(text, scheme[1].lower(), what)
    return os.path.expanduser(text)


def _local(url: str, scheme: str, what: str) -> str:
    """Return the file that a URL names.

    Raises
    ------
    SourceNotFoundError
        If it is not on this machine.
    """
    if scheme != "file":
        first = "download it" if scheme in _WEB else "download it, or mount the bucket as a folder"
        raise SourceNotFoundError(
            f"{what}: {shown(url)}: only files on disks are read today, not {scheme}:// URLs; {first}, and "
            f"give the path of the file."
        )
    rest = url[len("file:") :]
    if rest.startswith("//"):
        host, slash, rest = rest[2:].partition("/")
        if host.lower() not in ("", "localhost"):
            raise SourceNotFoundError(
                f"{what}: {shown(url)}: is on the host {shown(host)}; mount its disk, and give the path. "
                f"A file of this machine has three slashes, file:///."
            )
        rest = slash + rest
    path = os.fsdecode(urllib.parse.unquote_to_bytes(os.fsencode(rest)))
    if not is_name(path):
        raise SourceNotFoundError(f"{what}: {shown(url)}: no file can have such a name.")
    return path.removeprefix("/") if _DRIVE.match(path) else path


_DRIVE = re.compile(r"/[A-Za-z]:/")


def is_name(text: str) -> bool:
    """Whether a file can have such a name on this system."""
    try:
        return bool(text) and b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:  # half a surrogate pair, as JSON may hold it
        return False
