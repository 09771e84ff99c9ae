"""Fast access to subregions of images.

Every name is imported when it is first used, so that ``import subregion`` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from subregion.forks import IMPORTS

if TYPE_CHECKING:
    from subregion.blocks.cache import CacheInfo, cache_info, set_cache_limit
    from subregion.cache.verify import VerifyReport
    from subregion.collections.coco import CocoFrames
    from subregion.collections.simple import SimpleFrames, open_image
    from subregion.collections.video import VideoCollection
    from subregion.collections.videofile import VideoFrames
    from subregion.errors import PerformanceWarning, PrepareError, SubregionError
    from subregion.frames import Frames
    from subregion.geometry.georeference import Georeference
    from subregion.geometry.pixelsize import PixelSize
    from subregion.geometry.window import Window
    from subregion.image import AlignableImageData, LazyFrame, NativeCrop
    from subregion.read.clip import Clip
    from subregion.records import Asset, ImageRecord, VideoPlace
    from subregion.sampling.annotations.annotations import Annotations
    from subregion.sampling.annotations.categories import Categories
    from subregion.sampling.annotations.index import AnnotationIndex
    from subregion.sampling.regions.intersection import FrameIntersectionIndex
    from subregion.sampling.regions.negatives import NegativeRule
    from subregion.sampling.sampler import CocoSampler
    from subregion.sampling.split.files import write_splits
    from subregion.sampling.split.split import Split, split_images, split_targets
    from subregion.sampling.targets.serialize import read_targets, targets_to_text

    open = open_image  # noqa: A001 - subregion.open is meant to read like open

__version__ = "0.1.0.dev0"

_HOMES = {
    "AlignableImageData": ("subregion.image", "AlignableImageData"),
    "AnnotationIndex": ("subregion.sampling.annotations.index", "AnnotationIndex"),
    "Annotations": ("subregion.sampling.annotations.annotations", "Annotations"),
    "Asset": ("subregion.records", "Asset"),
    "CacheInfo": ("subregion.blocks.cache", "CacheInfo"),
    "Categories": ("subregion.sampling.annotations.categories", "Categories"),
    "Clip": ("subregion.read.clip", "Clip"),
    "CocoFrames": ("subregion.collections.coco", "CocoFrames"),
    "CocoSampler": ("subregion.sampling.sampler", "CocoSampler"),
    "FrameIntersectionIndex": ("subregion.sampling.regions.intersection", "FrameIntersectionIndex"),
    "Frames": ("subregion.frames", "Frames"),
    "Georeference": ("subregion.geometry.georeference", "Georeference"),
    "ImageRecord": ("subregion.records", "ImageRecord"),
    "LazyFrame": ("subregion.image", "LazyFrame"),
    "NativeCrop": ("subregion.image", "NativeCrop"),
    "NegativeRule": ("subregion.sampling.regions.negatives", "NegativeRule"),
    "PerformanceWarning": ("subregion.errors", "PerformanceWarning"),
    "PixelSize": ("subregion.geometry.pixelsize", "PixelSize"),
    "PrepareError": ("subregion.errors", "PrepareError"),
    "SimpleFrames": ("subregion.collections.simple", "SimpleFrames"),
    "Split": ("subregion.sampling.split.split", "Split"),
    "SubregionError": ("subregion.errors", "SubregionError"),
    "VerifyReport": ("subregion.cache.verify", "VerifyReport"),
    "VideoCollection": ("subregion.collections.video", "VideoCollection"),
    "VideoFrames": ("subregion.collections.videofile", "VideoFrames"),
    "VideoPlace": ("subregion.records", "VideoPlace"),
    "Window": ("subregion.geometry.window", "Window"),
    "cache_info": ("subregion.blocks.cache", "cache_info"),
    "open": ("subregion.collections.simple", "open_image"),
    "read_targets": ("subregion.sampling.targets.serialize", "read_targets"),
    "set_cache_limit": ("subregion.blocks.cache", "set_cache_limit"),
    "split_images": ("subregion.sampling.split.split", "split_images"),
    "split_targets": ("subregion.sampling.split.split", "split_targets"),
    "targets_to_text": ("subregion.sampling.targets.serialize", "targets_to_text"),
    "write_splits": ("subregion.sampling.split.files", "write_splits"),
}

# `open` is left out: `from subregion import *` must not hide the one of Python.
__all__ = [
    "AlignableImageData",
    "AnnotationIndex",
    "Annotations",
    "Asset",
    "CacheInfo",
    "Categories",
    "Clip",
    "CocoFrames",
    "CocoSampler",
    "FrameIntersectionIndex",
    "Frames",
    "Georeference",
    "ImageRecord",
    "LazyFrame",
    "NativeCrop",
    "NegativeRule",
    "PerformanceWarning",
    "PixelSize",
    "PrepareError",
    "SimpleFrames",
    "Split",
    "SubregionError",
    "VerifyReport",
    "VideoCollection",
    "VideoFrames",
    "VideoPlace",
    "Window",
    "cache_info",
    "read_targets",
    "set_cache_limit",
    "split_images",
    "split_targets",
    "targets_to_text",
    "write_splits",
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
    return sorted({*globals(), *_HOMES})
