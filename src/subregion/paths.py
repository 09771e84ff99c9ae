"""Names of files as users write them."""

from __future__ import annotations

import os

from subregion.errors import PathTypeError, SourceNotFoundError, shown


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
        Neither absolute nor normalised yet; a leading ``~`` is the user's folder.

    Raises
    ------
    PathTypeError
        If it is no path.
    SourceNotFoundError
        If no file can have such a name.

    Examples
    --------
    >>> path_of(b"a.png")
    'a.png'
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
    return os.path.expanduser(text)


def is_name(text: str) -> bool:
    """Whether a file can have such a name on this system."""
    try:
        return bool(text) and b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:  # half a surrogate pair, as JSON may hold it
        return False
