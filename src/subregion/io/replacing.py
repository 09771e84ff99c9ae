"""Files are written beside their place, and renamed: nobody sees half of one."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from subregion.errors import SubregionError


@contextmanager
def written_beside(path: Path, suffix: str | None = None) -> Iterator[Path]:
    """Give a name beside a file, which is renamed to that of the file at the end, unless writing failed.

    Parameters
    ----------
    path : Path
        The file; one that is there is replaced.
    suffix : str or None
        What the name ends in; None is that of the file.

    Raises
    ------
    SubregionError
        If it cannot be written.
    """
    unfinished = path.with_name(f".{secrets.token_hex(8)}{path.suffix if suffix is None else suffix}")
    try:
        yield unfinished
        os.replace(unfinished, path)
    except OSError as error:
        if isinstance(error, SubregionError):
            raise
        raise SubregionError(f"{path}: cannot be written: {error.strerror or error}.") from error
    finally:
        unfinished.unlink(missing_ok=True)
