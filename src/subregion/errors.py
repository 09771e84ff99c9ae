"""Every error that `subregion` raises on purpose, and its kinds of warnings.

Each error is a `SubregionError` and at the same time the builtin kind that a caller who does not know this
library would catch (`KeyError`, `OSError`, ...). A message names the file, the value, the limit and the
way out. All of them survive `pickle`, so that worker processes can hand them back.
"""

from __future__ import annotations

import errno
import os
import reprlib
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard


class SubregionError(Exception):
    """Base of all errors of this library."""

    def __str__(self) -> str:
        # KeyError shows the repr of its argument and OSError its own form; a message is a message.
        return str(self.args[0]) if self.args else ""


class SourceNotFoundError(SubregionError, FileNotFoundError):
    """The source file does not exist."""


class SourcePermissionError(SubregionError, PermissionError):
    """The source file may not be read by this user."""


class SourceIsDirectoryError(SubregionError, IsADirectoryError):
    """A folder stands where an image file is expected."""


class SourceReadError(SubregionError, OSError):
    """The operating system failed while reading the source file."""


class PathTypeError(SubregionError, TypeError):
    """What is given in place of a file, or a folder, is no path."""


class UnsupportedFormatError(SubregionError, ValueError):
    """The file is not an image, or an image of a kind that nothing here can decode."""


class DamagedFileError(SubregionError, ValueError):
    """The file is an image, but truncated or corrupt: its pixels cannot be trusted."""


class MendedError(DamagedFileError):
    """A damaged copy was made anew in the middle of a read, which has to be planned again.

    Reads do that by themselves; whoever sees this error met with damage again and again.

    Attributes
    ----------
    path : str
        The source of the copy.
    """

    def __init__(self, message: str, path: str = "") -> None:
        super().__init__(message)
        self.path = path


class SourceReplacedError(DamagedFileError, SourceReadError):
    """Another host replaced the file while it was open, and its server has forgotten the one that was."""


class TooLargeError(SubregionError, ValueError):
    """More pixels than the limits allow are declared by a file or asked for, or than its bytes could hold."""


class RegionError(SubregionError, IndexError):
    """A region with a form or a value that has no meaning for an image."""


class RegionTypeError(SubregionError, TypeError):
    """A region with an element of a type that cannot address pixels."""


class UnknownImageError(SubregionError, KeyError):
    """There is no image with this id in the collection."""


class UnknownVideoError(SubregionError, KeyError):
    """There is no video with this id in the collection."""


class UnknownChannelError(SubregionError, KeyError):
    """The image has no channel with this name."""


class UnknownAnnotationError(SubregionError, KeyError):
    """There is no annotation with this id in the dataset."""


class UnknownCategoryError(SubregionError, KeyError):
    """There is no category with this id or name in the dataset."""


class TargetError(SubregionError, ValueError):
    """What a sample is to be of contradicts itself, or cannot be told from what is given."""


class NegativesError(SubregionError, ValueError):
    """So many windows without objects were not found; the message has the figures."""


class MissingNegativePoolError(SubregionError, AssertionError, IndexError):
    """There are no negatives with this number, because fewer were chosen, or none."""


class RecordError(SubregionError, ValueError):
    """The record of an image contradicts itself or its files."""


class ConfigError(SubregionError, ValueError):
    """An option with an unknown key or value; the message lists what is allowed."""


class IdentityError(SubregionError, ValueError):
    """The identity of a source cannot be told in the chosen `hashid_mode`."""


class CacheError(SubregionError, OSError):
    """The cache folder cannot be written or read."""


class DescriptorLimitError(SourceReadError, CacheError):
    """As many files are open as this process, or the system, may have."""


class NotGeoreferencedError(SubregionError, ValueError):
    """Nothing tells where the image lies on the ground, or not by an affine."""


class MissingPackageError(SubregionError, ImportError):
    """An optional package is needed; the message says how to install it."""


class PrepareError(SubregionError, RuntimeError):
    """Some images could not be prepared; all others were.

    Attributes
    ----------
    failures : dict
        Maps each failed image id to the error that it raised.
    """

    def __init__(self, message: str, failures: Mapping[Any, BaseException] | None = None) -> None:
        super().__init__(message)
        self.failures = dict(failures or {})

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.args[0], self.failures)


class PerformanceWarning(UserWarning):
    """What is done costs many times what it would cost in another way, which the message names."""


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 120


def shown(value: object) -> str:
    """Write a value of anybody's for a message: in one line, and short however large it is.

    Parameters
    ----------
    value : object
        Anything.

    Returns
    -------
    str
    """
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 400:
        return f"a number of {value.bit_length()} bits"
    try:
        text = _SHORT.repr(value)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - objects of others may do anything, and a message has to come about
        return f"a {type(value).__name__}"
    return " ".join(text.split())


def some_of(lines: Sequence[str], indent: str, most: int = 20) -> list[str]:
    """Return lines for a message, indented; of many only the first, and how many more there are."""
    found = [indent + line for line in lines[:most]]
    return found if len(lines) <= most else [*found, f"{indent}... and {len(lines) - most} more"]


def decoding_error(what: str, error: object) -> SubregionError:
    """Say as one of ours that a decoder gave up.

    Parameters
    ----------
    what : str
        What happened, such as ``"a.png: cannot be decoded as PNG"``.
    error : object
        What the decoder said, in any number of lines.

    Returns
    -------
    SubregionError
        In one line, ready to be raised ``from error``: that the file is damaged, unless it was the operating
        system that would not go on, which says nothing about the file.
    """
    detail = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    if lacks_descriptors(error):
        return descriptor_limit_error(what)
    if "system error: " in detail:  # as libvips tells what the operating system said
        for number in (errno.EIO, errno.ENOMEM, errno.EACCES, errno.ESTALE, errno.ENOENT):
            if f"system error: {os.strerror(number)}" in detail:
                return source_error(what, OSError(number, os.strerror(number)))
    if is_of_system(error):
        return source_error(what, error)
    if isinstance(error, ImportError):  # for want of memory or descriptors, or of a part of the package
        return SourceReadError(f"{what}: {detail}.")
    return DamagedFileError(f"{what}: {detail}. The file is truncated or corrupt: fetch or write it again.")


_OUT_OF_DESCRIPTORS = (errno.EMFILE, errno.ENFILE)


def lacks_descriptors(error: object) -> bool:
    """Whether something failed because no file can be opened any more; libraries say so in many ways.

    Parameters
    ----------
    error : object
        What was raised or said.
    """
    if isinstance(error, OSError) and error.errno in _OUT_OF_DESCRIPTORS:
        return True
    return isinstance(error, DescriptorLimitError) or any(
        os.strerror(number) in str(error) for number in _OUT_OF_DESCRIPTORS
    )


def descriptor_limit_error(what: str) -> DescriptorLimitError:
    """Say that no file can be opened any more, and what helps.

    Parameters
    ----------
    what : str
        What could not be opened.

    Returns
    -------
    DescriptorLimitError
        Ready to be raised ``from error``.
    """
    return DescriptorLimitError(
        f"{what}: too many files are open. Raise the limit ('ulimit -n', or in Python "
        f"resource.setrlimit(resource.RLIMIT_NOFILE, ...)), or close files elsewhere in this process."
    )


def is_of_system(error: object) -> TypeGuard[OSError]:
    """Whether the operating system would not go on, which says nothing about the bytes of a file.

    Parameters
    ----------
    error : object
        What was raised.
    """
    # Positions that no file has come from malformed bytes.
    return isinstance(error, OSError) and error.errno not in (None, errno.EINVAL, errno.EOVERFLOW)


def said_by_system(error: BaseException | None) -> OSError | None:
    """Return what the operating system said at the root of an error; None if it was not the system.

    Parameters
    ----------
    error : BaseException or None
        Of ours, with its causes.
    """
    while error is not None and not is_of_system(error):
        error = error.__cause__
    return error


def source_error(path: str | os.PathLike[str], error: OSError | ValueError) -> SubregionError:
    """Say as one of ours why the operating system would not give us a source file.

    Parameters
    ----------
    path : str or os.PathLike
        The file that was asked for.
    error : OSError or ValueError
        What the operating system said, or Python of a path that no file can have.

    Returns
    -------
    SubregionError
        Ready to be raised ``from error``.
    """
    name = os.fspath(path)
    if not isinstance(error, OSError):
        return SourceReadError(f"{name}: cannot be read: {error}.")
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return SourceNotFoundError(
            f"{name}: no such file or folder. Check the path and that its disk is mounted."
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return SourcePermissionError(f"{name}: permission denied. Give this user the right to read it.")
    if error.errno == errno.EISDIR:
        return SourceIsDirectoryError(
            f"{name}: is a folder, not an image. Use SimpleFrames.from_folder() for a folder of images."
        )
    if error.errno == errno.ENXIO:
        return UnsupportedFormatError(f"{name}: is a device, pipe or socket, not a regular file.")
    if error.errno in _OUT_OF_DESCRIPTORS:
        return descriptor_limit_error(name)
    if error.errno == errno.ESTALE:
        return SourceReplacedError(f"{name}: was replaced on its server while it was open. Open it again.")
    return SourceReadError(f"{name}: cannot be read: {error.strerror or error}.")


def missing_package(what: str, package: str, extra: str | None = None) -> MissingPackageError:
    """Say that an optional package is needed, and how to install it.

    Parameters
    ----------
    what : str
        What needs it, such as ``"to_xarray"``.
    package : str
        Its name.
    extra : str or None
        The extra of this library that brings it; None if none does.

    Returns
    -------
    MissingPackageError
        Ready to be raised ``from error``.
    """
    install = package if extra is None else f"'subregion[{extra}]'"
    return MissingPackageError(f"{what} needs {package}: pip install {install}.")
