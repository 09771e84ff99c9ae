"""The packages that are imported when they are first needed, all in one place.

They take longer to import than this library, and a program needs few of them. No fork interrupts an import
that begins here; see `forks`.
"""

from __future__ import annotations

import atexit
import importlib
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from subregion.errors import DescriptorLimitError, descriptor_limit_error, lacks_descriptors, missing_package
from subregion.forks import IMPORTS

#: What closes files that are not in use, and says whether there were any.
_makers_of_room: list[Callable[[], bool]] = []


def makes_room(make: Callable[[], bool]) -> None:
    """Have something called when an import lacks descriptors.

    Parameters
    ----------
    make : callable
        Closes files, and returns whether there were any.
    """
    _makers_of_room.append(make)


class Library:
    """A package that is imported when one of its names is first used.

    Some packages import their own parts when a name is looked up, so names are looked up once, and kept.

    Parameters
    ----------
    name : str
        What to import.
    complete : callable or None
        Called with the module once it is imported, to import what the package would import later by itself.
    extra : str or None
        The extra of this library that brings it, if it is not always there.
    what : str or None
        What needs it, such as ``"a mask of an annotation"``, to say where it is missing when a name is used;
        None leaves that to `needed`.
    """

    def __init__(
        self,
        name: str,
        complete: Callable[[Any], None] | None = None,
        *,
        extra: str | None = None,
        what: str | None = None,
    ) -> None:
        self._name = name
        self._complete = complete
        self._extra = extra
        self._what = what

    def __getattr__(self, attribute: str) -> Any:
        if attribute == "__wrapped__":  # asked of every name of a module by those who look for functions
            raise AttributeError(attribute)
        with IMPORTS:
            module = self.imported() if self._what is None else self.needed_by(self._what)
            value = self._with_room(lambda: getattr(module, attribute))
        if not attribute.startswith("__"):
            self.__dict__[attribute] = value
        return value

    def imported(self) -> Any:
        """Return the package itself."""
        with IMPORTS:
            module = self._with_room(lambda: importlib.import_module(self._name))
            if self._complete is not None:
                self._complete(module)
                self._complete = None
            return module

    def needed_by(self, what: str) -> Any:
        """Return the package itself, or say what needs it and how to install it."""
        try:
            return self.imported()
        except ImportError as error:
            raise missing_package(what, self._name.partition(".")[0], self._extra) from error

    def _with_room(self, call: Callable[[], Any]) -> Any:
        while True:
            try:
                return call()
            except (OSError, ImportError) as error:
                if not lacks_descriptors(error) or isinstance(error, DescriptorLimitError):
                    raise
                if not any(make() for make in _makers_of_room):
                    raise descriptor_limit_error(f"{self._name} cannot be imported") from error


def require(library: Any) -> Any:
    """Import a package now, and return it: for those that may be missing.

    Raises
    ------
    ImportError
        If it is not there, or does not work.
    """
    return library.imported()


def needed(library: Any, what: str) -> Any:
    """Import a package that may be missing, and return it.

    Parameters
    ----------
    library : Library
        The package.
    what : str
        What needs it, to name in messages.

    Raises
    ------
    MissingPackageError
        If it is not there, or does not work.
    """
    return library.needed_by(what)


def _say_nothing_at_exit(module: Any) -> None:
    """Have libvips let go of what it keeps before pyvips, at exit, lets go of its messages.

    Afterwards it would print all that it had to say of files that were read, in the process that read them.
    """
    owner = os.getpid()

    def let_go() -> None:
        if os.getpid() == owner:
            module.cache_set_max(0)

    atexit.register(let_go)


if TYPE_CHECKING:
    import av
    import cv2
    import dask.array as dask_array
    import delayed_image
    import google_crc32c
    import imagecodecs
    import kwcoco
    import kwimage
    import lz4.block as lz4_block
    import networkx
    import pycocotools.mask as coco_masks
    import pyproj
    import pyvips
    import shapely
    import simplejpeg
    import tifffile
    import torch
    import torchvision
    import xarray
    import yaml
    import zstandard
    from PIL import IcoImagePlugin, Image, ImageCms, ImageDraw, ImageFilter, ImageFont
else:
    Image = Library("PIL.Image", lambda image: image.init())
    IcoImagePlugin = Library("PIL.IcoImagePlugin")
    ImageCms = Library("PIL.ImageCms")
    ImageDraw = Library("PIL.ImageDraw")
    ImageFilter = Library("PIL.ImageFilter")
    ImageFont = Library("PIL.ImageFont")
    av = Library("av", lambda _: importlib.import_module("av.subtitles.stream"))
    cv2 = Library("cv2")
    dask_array = Library("dask.array", extra="xarray")
    delayed_image = Library("delayed_image", what="channels as kwcoco has them")
    google_crc32c = Library("google_crc32c")
    imagecodecs = Library("imagecodecs")
    kwcoco = Library("kwcoco")
    kwimage = Library("kwimage", what="an object of kwimage")
    lz4_block = Library("lz4.block")
    networkx = Library("networkx", what="the graph of categories")
    coco_masks = Library("pycocotools.mask", extra="samples", what="a mask of an annotation")
    pyproj = Library("pyproj", extra="geo")
    pyvips = Library("pyvips", _say_nothing_at_exit)
    shapely = Library("shapely", extra="samples", what="the geometry of annotations")
    simplejpeg = Library("simplejpeg")
    tifffile = Library("tifffile")
    torch = Library("torch")
    torchvision = Library("torchvision", lambda _: importlib.import_module("torchvision.tv_tensors"))
    xarray = Library("xarray", extra="xarray")
    yaml = Library("yaml")
    zstandard = Library("zstandard")

__all__ = [
    "IcoImagePlugin",
    "Image",
    "ImageCms",
    "ImageDraw",
    "ImageFilter",
    "ImageFont",
    "av",
    "coco_masks",
    "cv2",
    "dask_array",
    "delayed_image",
    "google_crc32c",
    "imagecodecs",
    "kwcoco",
    "kwimage",
    "lz4_block",
    "needed",
    "networkx",
    "pyproj",
    "pyvips",
    "require",
    "shapely",
    "simplejpeg",
    "tifffile",
    "torch",
    "torchvision",
    "xarray",
    "yaml",
    "zstandard",
]
