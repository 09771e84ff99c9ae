"""Pixels into files that any program opens: PNG, TIFF, npy; written beside their names, then renamed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from subregion.errors import ConfigError
from subregion.io.replacing import written_beside
from subregion.notices import warn_caller

if TYPE_CHECKING:
    from subregion.geo.geotags import FileTag


class Write(Protocol):
    """Writes pixels into a file."""

    def __call__(self, pixels: NDArray[Any], tags: Sequence[FileTag] = ()) -> None:
        """Write pixels, (rows, columns, bands), and the tags that a TIFF of them has besides."""
        ...


def writer(output: Path, overwrite: bool) -> Write:
    """Check before any work that an output can be written, and return what writes it.

    Parameters
    ----------
    output : Path
        A name that ends in .png, .tif, .tiff or .npy.
    overwrite : bool
        Whether to replace a file of that name.

    Returns
    -------
    callable
        Takes pixels, (rows, columns, bands), and tags for a TIFF. They are written beside the output, which
        appears or is replaced when all of them are there.

    Raises
    ------
    ConfigError
        If the name says no format, its folder is missing, or the file exists; by the callable, if the
        format cannot hold the pixels.
    SubregionError
        By the callable, if the file cannot be written.
    """
    suffix = output.suffix.lower()
    if suffix not in (".png", ".tif", ".tiff", ".npy"):
        raise ConfigError(f"{output}: the name must end in .png, .tif or .npy.")
    check_output(output, overwrite)

    def write(pixels: NDArray[Any], tags: Sequence[FileTag] = ()) -> None:
        if pixels.size == 0 and suffix != ".npy":
            rows, cols, _ = pixels.shape
            raise ConfigError(
                f"{output}: the region is empty ({rows} x {cols} pixels); only .npy holds that."
            )
        if suffix == ".png" and (pixels.dtype not in ("u1", "u2") or pixels.shape[2] > 4):
            raise ConfigError(
                f"{output}: PNG holds 1 to 4 bands of uint8 or uint16, "
                f"not {pixels.shape[2]} of {pixels.dtype}; "
                f"write a .tif or .npy, or choose bands with --region '...,0:3'."
            )
        if suffix == ".png" and pixels.shape[2] == 2:
            warn_caller(
                f"{output}: the second of 2 bands is alpha in a PNG; .tif and .npy have both as they are."
            )
        with written_beside(output, suffix) as unfinished:
            _encode(unfinished, suffix, pixels, tags)

    return write


def drawing_writer(output: Path, overwrite: bool) -> Write:
    """Return what writes a drawing, which is a PNG; see `writer`."""
    if output.suffix.lower() != ".png":
        raise ConfigError(f"{output}: a drawing is a PNG; give a name that ends in .png.")
    return writer(output, overwrite)


def check_output(output: Path, overwrite: bool) -> None:
    """Check that a file of a name can be written.

    Raises
    ------
    ConfigError
        If its folder is missing, or it exists.
    """
    if output.is_dir():
        raise ConfigError(f"{output}: is a folder; give the name of a file.")
    if not output.parent.is_dir():
        raise ConfigError(f"{output}: there is no folder {output.parent}.")
    if output.exists() and not overwrite:
        raise ConfigError(f"{output}: exists already; give --overwrite to replace it.")


def _encode(path: Path, suffix: str, pixels: NDArray[Any], tags: Sequence[FileTag]) -> None:
    if suffix == ".npy":
        np.save(path, pixels, allow_pickle=False)
    elif suffix == ".png":
        import imagecodecs

        path.write_bytes(imagecodecs.png_encode(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels))
    else:
        import tifffile

        rgb = pixels.shape[2] in (3, 4) and pixels.dtype in ("u1", "u2")
        extra = pixels.shape[2] - (3 if rgb else 1)
        tifffile.imwrite(
            path,
            pixels.squeeze(2) if pixels.shape[2] == 1 else pixels,
            photometric="rgb" if rgb else "minisblack",
            planarconfig="contig" if pixels.shape[2] > 1 else None,
            extrasamples=["unspecified"] * extra if extra else None,
            metadata=None,
            extratags=[(tag.code, tag.kind, tag.count, tag.value, True) for tag in tags],
        )
