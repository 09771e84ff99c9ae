"""Fast access to subregions of images.

Every name is imported when it is first used, so that ``import subregion`` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from subregion.forks import IMPORTS

if TYPE_CHECKING:
    from subregion.alignable import AlignableImageData, LazyFrame, NativeCrop
    from subregion.cache.verify import VerifyReport
    from subregion.coco import CocoFrames
    from subregion.errors import PrepareError, SubregionError
    from subregion.files import SimpleFrames
    from subregion.files import open_image as open  # noqa: A004 - subregion.open is meant to read like open
    from subregion.frames import Frames
    from subregion.geometry.georeference import Georeference
    from subregion.geometry.window import Window
    from subregion.raster.blockcache import CacheInfo, cache_info, set_cache_limit
    from subregion.read.clip import Clip
    from subregion.records import Asset, ImageRecord, VideoPlace
    from subregion.videofiles import VideoFrames
    from subregion.videos import VideoCollection

__version__ = "0.1.0.dev0"

_HOMES = {
    "AlignableImageData": ("subregion.alignable", "AlignableImageData"),
    "Asset": ("subregion.records", "Asset"),
    "CacheInfo": ("subregion.raster.blockcache", "CacheInfo"),
    "Clip": ("subregion.read.clip", "Clip"),
    "CocoFrames": ("subregion.coco", "CocoFrames"),
    "Frames": ("subregion.frames", "Frames"),
    "Georeference": ("subregion.geometry.georeference", "Georeference"),
    "ImageRecord": ("subregion.records", "ImageRecord"),
    "LazyFrame": ("subregion.alignable", "LazyFrame"),
    "NativeCrop": ("subregion.alignable", "NativeCrop"),
    "PrepareError": ("subregion.errors", "PrepareError"),
    "SimpleFrames": ("subregion.files", "SimpleFrames"),
    "SubregionError": ("subregion.errors", "SubregionError"),
    "VideoCollection": ("subregion.videos", "VideoCollection"),
    "VerifyReport": ("subregion.cache.verify", "VerifyReport"),
    "VideoFrames": ("subregion.videofiles", "VideoFrames"),
    "VideoPlace": ("subregion.records", "VideoPlace"),
    "Window": ("subregion.geometry.window", "Window"),
    "cache_info": ("subregion.raster.blockcache", "cache_info"),
    "open": ("subregion.files", "open_image"),
    "set_cache_limit": ("subregion.raster.blockcache", "set_cache_limit"),
}

__all__ = [
    "AlignableImageData",
    "Asset",
    "CacheInfo",
    "Clip",
    "CocoFrames",
    "Frames",
    "Georeference",
    "ImageRecord",
    "LazyFrame",
    "NativeCrop",
    "PrepareError",
    "SimpleFrames",
    "SubregionError",
    "VerifyReport",
    "VideoCollection",
    "VideoFrames",
    "VideoPlace",
    "Window",
    "cache_info",
    "open",
    "set_cache_limit",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'subregion' has no attribute {name!r}")
    module, attribute = _HOMES[name]
    with IMPORTS:
        value = getattr(importlib.import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
