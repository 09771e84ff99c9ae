"""What a file is like to read, in words and numbers."""

from __future__ import annotations

import math
import os
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

from subregion.cache import policy
from subregion.cache.seen import look_at
from subregion.cache.store import Store
from subregion.cache.workdir import make_store
from subregion.convert.jpeg import can_keep
from subregion.errors import NotGeoreferencedError, SubregionError
from subregion.formats.contents import Contents, Series
from subregion.formats.open import contents_of, open_raster
from subregion.read.georeference import georeference
from subregion.records import Asset, ImageRecord

if TYPE_CHECKING:
    from collections.abc import Sequence

    from subregion.cache.manifest import Entry
    from subregion.formats.raster import Raster
    from subregion.geometry.georeference import Georeference

#: Series that are spelled out.
_LISTED = 20


@dataclass(frozen=True, slots=True)
class CachedCopy:
    """A converted copy that is ready to be read.

    Parameters
    ----------
    kind : str
        ``"npy"``, ``"cog"``, ``"zarr"`` or ``"jpeg"``.
    path : str
        The file, or folder.
    nbytes : int
        Its size.
    """

    kind: str
    path: str
    nbytes: int


@dataclass(frozen=True, slots=True)
class Description:
    """How an image file is laid out and how it is read.

    Parameters
    ----------
    path : str
        Absolute path.
    nbytes : int
        Size of the file.
    driver, layout : str
        Format, and how the pixels lie in the file.
    shape : tuple of int
        Rows, columns and bands.
    dtype : str
        Type of the bands.
    block : tuple of int
        Rows and columns that are decoded together.
    levels : tuple of (int, int)
        Rows and columns of each resolution, the full one first.
    channels : tuple of str or None
        What the file calls its bands.
    pages : int or None
        How many pages or frames the file has, if it is of a kind that may have several.
    series : tuple of Series
        The pictures and stacks of the file: their axes, sizes and resolutions.
    left_out : str
        What of the file is not in the image, and how to choose it.
    nodata : float or None
        The file's own value for "no pixel here".
    crs : str or None
        The coordinate reference system, where the image is georeferenced.
    to_world : tuple of float or None
        The six numbers of the affine from pixel corners (x, y) to the ground, row by row.
    bounds : tuple of float or None
        What the image covers: min x, min y, max x, max y.
    ground : str
        Where the image lies on the ground, or why that is not known, in words.
    windowed : bool
        Whether a window costs what the window costs.
    reading : str
        What reading a window of the file itself means, in words.
    auto_converts : bool
        Whether ``backend="auto"`` makes a copy.
    auto : str
        What ``backend="auto"`` does and why, in words.
    copies : tuple of CachedCopy
        The copies that are in the cache.
    """

    path: str
    nbytes: int
    driver: str
    layout: str
    shape: tuple[int, int, int]
    dtype: str
    block: tuple[int, int]
    levels: tuple[tuple[int, int], ...]
    channels: tuple[str, ...] | None
    pages: int | None
    series: tuple[Series, ...]
    left_out: str
    nodata: float | None
    crs: str | None
    to_world: tuple[float, ...] | None
    bounds: tuple[float, ...] | None
    ground: str
    windowed: bool
    reading: str
    auto_converts: bool
    auto: str
    copies: tuple[CachedCopy, ...]


def describe(asset: Asset, caches: Sequence[Store]) -> Description:
    """Look at a file, and for its copies.

    Parameters
    ----------
    asset : Asset
        The file.
    caches : sequence of Store
        Where to look for copies; those that convert nothing are passed over.

    Returns
    -------
    Description
        Nothing is converted or written for it.

    Raises
    ------
    SubregionError
        If the file is missing, unreadable, no image or damaged.
    """
    raster = open_raster(asset.path, asset.view)
    in_place = policy.serves_in_place(raster)
    found: dict[str, CachedCopy] = {}
    for cache in caches:
        entry = find_copy(cache, asset)
        if entry is not None:
            kind = os.path.splitext(entry.data)[1].removeprefix(".")
            found[entry.data] = CachedCopy(
                {"tif": "cog", "jpg": "jpeg"}.get(kind, kind), entry.data, entry.size
            )
    place, ground = _place(asset, raster)
    contents = _contents(asset.path)
    return Description(
        path=asset.path,
        nbytes=look_at(asset.path).size,
        driver=raster.driver,
        layout=raster.layout,
        shape=raster.shape,
        dtype=str(raster.dtype),
        block=raster.block,
        levels=raster.level_shapes,
        channels=raster.channel_names,
        pages=contents.pages,
        series=contents.series,
        left_out=raster.left_out,
        nodata=raster.nodata,
        crs=None if place is None else place.crs,
        to_world=None if place is None else tuple(place.to_world[:6]),
        bounds=None if place is None else place.bounds(*raster.shape[:2]),
        ground=ground,
        windowed=raster.windowed,
        reading=_reading(raster),
        auto_converts=not in_place,
        auto=_auto(raster, in_place),
        copies=tuple(found.values()),
    )


def find_copy(cache: Store, asset: Asset) -> Entry | None:
    """Return the copy of an asset that a cache would serve now; None if it would make one, or needs none."""
    try:
        return cache.entry_of(asset)
    except SubregionError:
        return None  # whoever reads the source reports that better


def _contents(path: str) -> Contents:
    try:
        return contents_of(path)
    except SubregionError:
        return Contents()  # the picture that can be read is described all the same


def _place(asset: Asset, raster: Raster) -> tuple[Georeference | None, str]:
    store = make_store(None, None, "PATH", warn=False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is not read has a line of its own
            place = georeference(store, ImageRecord(None, (asset,)))
    except NotGeoreferencedError as error:
        said = str(error).removeprefix(f"{raster.path}: ")
        return None, said if "ground control" in said or "affine" in said else "not georeferenced"
    except SubregionError as error:
        return None, str(error)  # what is wrong beside the pixels does not keep them from being read
    low_x, low_y, high_x, high_y = place.bounds(*raster.shape[:2])
    return place, f"{place.crs_name}: x {low_x:.10g} to {high_x:.10g}, y {low_y:.10g} to {high_y:.10g}"


def _block_bytes(raster: Raster) -> int:
    return raster.block[0] * raster.block[1] * raster.shape[2] * raster.dtype.itemsize


def _reading(raster: Raster) -> str:
    if raster.mapped:
        return "by window where it lies: uncompressed, so only the pixels of the window are touched"
    if raster.windowed:
        return f"by window where it lies: blocks of {_kib(_block_bytes(raster))} are decoded"
    return f"{raster.layout}: each window costs up to the whole image"


def _auto(raster: Raster, in_place: bool) -> str:
    size = math.prod(raster.shape) * raster.dtype.itemsize
    if in_place and raster.windowed:
        return "reads the file where it lies: its blocks are small enough"
    if in_place:
        return f"reads the file where it lies: all of it is {_kib(size)}, decoded in about a millisecond"
    if raster.driver == "JPEG" and can_keep(raster, warn=False):
        return "makes a copy: the same JPEG with short restart intervals and an index of them"
    if raster.windowed:
        limit = _kib(policy.BLOCK_IN_PLACE)
        return f"makes a copy: one block of the file is {_kib(_block_bytes(raster))}, more than {limit}"
    return "makes a copy: the file cannot be read by window"


def _kib(nbytes: int) -> str:
    return f"{nbytes / 1024:.0f} KiB" if nbytes < 1 << 20 else f"{nbytes / (1 << 20):.1f} MiB"


def in_lines(description: Description) -> str:
    """Lay a description out for people to read."""
    rows, cols, bands = description.shape
    high, wide = description.block
    facts = {
        "format": f"{description.driver}, {description.layout}",
        "size": f"{rows} rows x {cols} columns x {bands} bands of {description.dtype}",
        "file": _bytes(description.nbytes),
        "block": f"{high} x {wide}" if description.windowed else "the whole image",
        "levels": ", ".join(f"{level[0]} x {level[1]}" for level in description.levels),
        **_several(description),
        "nodata": "none" if description.nodata is None else f"{description.nodata:g}",
        "ground": description.ground,
        "reading": description.reading,
        "auto": description.auto,
        "copies": "none",
    }
    lines = [description.path, *(f"  {name:<8} {fact}" for name, fact in facts.items())]
    if description.copies:
        listed = [f"{copy.kind}, {_bytes(copy.nbytes)}: {copy.path}" for copy in description.copies]
        lines[-1] = f"  {'copies':<8} " + f"\n  {'':<8} ".join(listed)
    return "\n".join(lines)


def _several(description: Description) -> dict[str, str]:
    """Tell what else a file holds, where it holds more than one picture, and what bands are called."""
    facts = {}
    if description.channels is not None:
        facts["channels"] = ", ".join(description.channels)
    if description.pages is not None and description.pages > 1:
        facts["pages"] = str(description.pages)
    several = len(description.series) > 1 or any(set(each.axes) - set("YXCS") for each in description.series)
    if several or description.left_out:
        listed = [_series(each) for each in description.series[:_LISTED]]
        if len(description.series) > _LISTED:
            listed.append(f"... and {len(description.series) - _LISTED} more")
        facts["series"] = f"\n  {'':<8} ".join(listed) or "none"
    if description.left_out:
        facts["not read"] = description.left_out
    return facts


def _series(series: Series) -> str:
    shape = " x ".join(map(str, series.shape))
    name = f" ({series.name})" if series.name else ""
    levels = ", ".join(f"{rows} x {cols}" for rows, cols in series.levels)
    return f"{series.number}{name}: {series.axes} {shape}; levels {levels}"


def _bytes(count: int) -> str:
    return f"{count / 1e6:,.1f} MB" if count >= 1e5 else f"{count:,} bytes"
