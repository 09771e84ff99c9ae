"""Targets of windows that cover images or videos, with the annotations in each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from subregion.errors import ConfigError, UnknownCategoryError, shown
from subregion.sampling.regions.area import Area
from subregion.sampling.regions.extents import Extents, image_extents, video_extents
from subregion.sampling.regions.grid import Grid, Lattice, Meetings, Spacing, union_area
from subregion.sampling.regions.valid import ValidPixels

if TYPE_CHECKING:
    from subregion.frames import Frames
    from subregion.sampling.annotations.categories import Categories
    from subregion.sampling.annotations.index import AnnotationIndex
    from subregion.sampling.regions.sizes import ImageSizes

#: The category of places that are to be left out.
IGNORE = "ignore"
TASKS = ("image_detection", "video_detection")


@dataclass(frozen=True, slots=True)
class GridOptions:
    """Which windows there are, and which of them are positive.

    Parameters
    ----------
    keepbound : bool
        Whether the last window along an axis is moved inwards, to end where the image does; otherwise it
        keeps its distance and leaves the image. Along time it is always moved.
    classes_of_interest : sequence of str or None
        Only these make a window positive, upper and lower case alike; None is all but "background" and
        "ignore", and annotations without a category.
    ignore_coverage : float or None
        Windows of which annotations of the category "ignore" cover more than this part are left out; None
        leaves none out.
    min_valid : float or None
        Windows of which less than this part holds pixels, and not nodata, are left out; None asks nothing.
        See `ValidPixels`.
    area : shapely geometry, GeoJSON, path or None
        Windows that have nothing in common with this area are left out; see `Area.of`.
    crs : str, int, pyproj.CRS or None
        The reference system of the area.
    use_annots : bool
        Whether annotations are looked for; otherwise ``aids`` are None and no window is positive.
    """

    keepbound: bool = True
    classes_of_interest: Sequence[str] | None = None
    ignore_coverage: float | None = 0.6
    min_valid: float | None = None
    area: Any = None
    crs: Any = None
    use_annots: bool = True

    def __post_init__(self) -> None:
        for name in ("ignore_coverage", "min_valid"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, int | float) and 0 <= value <= 1):
                raise ConfigError(f"{name}={shown(value)}: a number from 0 to 1 is needed, or None.")
        if self.crs is not None and self.area is None:
            raise ConfigError(f"crs={shown(self.crs)} has no meaning without area.")
        classes = self.classes_of_interest
        if classes is not None and (isinstance(classes, str) or not isinstance(classes, Iterable)):
            raise ConfigError(f"classes_of_interest={shown(classes)}: give a list of names.")


def sample_grid(
    index: AnnotationIndex,
    frames: Frames,
    sizes: ImageSizes,
    task: str,
    window_dims: Any,
    window_overlap: Any,
    options: GridOptions,
    ids: Sequence[Any] | None = None,
) -> dict[str, Any]:
    """Cover images or videos with windows; see `Regions.new_sample_grid`."""
    if task not in TASKS:
        raise ConfigError(f"task={shown(task)}: allowed are 'image_detection', 'video_detection'.")
    of_images = task == TASKS[0]
    axes = "h, w" if of_images else "t, h, w"
    spacing = Spacing.of(window_dims, window_overlap, options.keepbound, axes)
    area = None if options.area is None else Area.of(options.area, options.crs)
    extents = image_extents(index, sizes, ids) if of_images else video_extents(index, frames, ids)
    if not options.use_annots:
        extents = extents.without_annotations()
    grid = Grid.over(extents.shapes, spacing)
    boxes = index.boxes[extents.items] if of_images else extents.boxes
    low, high = extents.bounds(boxes)
    met = grid.meeting(extents.extent_of_items, low, high)
    kinds = _kinds(index.categories, options.classes_of_interest)
    category_ids = index.category_ids[extents.items]
    keep = np.ones(len(grid), bool)
    if options.ignore_coverage is not None:
        ignored = np.isin(category_ids, kinds.ignored)
        keep &= ~_covered(grid, met, ignored, low, high, options.ignore_coverage)
    if area is not None:
        keep &= _in_area(grid, extents, area, frames)
    if options.min_valid is not None:
        keep &= _valid(grid, extents, frames, options.min_valid)
    positive = met.any_of(kinds.count(category_ids))
    make = partial(_image_targets if of_images else _video_targets, extents=extents)
    aids = _sorted_ids(index.ids[extents.items], met) if options.use_annots else None
    return _listed(_targets(grid, met.first, keep, aids, make), positive[keep])


@dataclass(frozen=True, slots=True)
class _Kinds:
    """Which categories make windows positive, and which are to be left out."""

    counted: NDArray[np.int64] | None
    never: NDArray[np.int64]
    ignored: NDArray[np.int64]

    def count(self, category_ids: NDArray[np.int64]) -> NDArray[np.bool_]:
        if self.counted is not None:
            return np.isin(category_ids, self.counted)
        return ~np.isin(category_ids, self.never)


def _kinds(categories: Categories, interesting: Sequence[str] | None) -> _Kinds:
    by_name: dict[str, list[int]] = {}
    for name, category_id in categories.node_to_id.items():
        by_name.setdefault(name.lower(), []).append(category_id)
    ignored, background = by_name.get(IGNORE, []), by_name.get("background", [])
    counted = None
    if interesting is not None:
        wanted = [str(name).lower() for name in interesting]
        unknown = [name for name in wanted if name not in by_name]
        if unknown:
            raise UnknownCategoryError(
                f"classes_of_interest: no category {shown(unknown[0])}; there is: {', '.join(categories)}."
            )
        counted = np.array([each for name in wanted for each in by_name[name]], np.int64)
    return _Kinds(counted, np.array(ignored + background, np.int64), np.array(ignored, np.int64))


def _covered(
    grid: Grid,
    met: Meetings,
    ignored: NDArray[np.bool_],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    limit: float,
) -> NDArray[np.bool_]:
    """Tell of which windows boxes to be ignored cover more than a part; overlaps of these count once."""
    found = np.zeros(len(grid), bool)
    if not ignored.any():
        return found
    for window in np.unique(met.windows[ignored[met.boxes]]).tolist():
        extent = int(np.searchsorted(grid.first, window, "right")) - 1
        lattice = grid.lattice(extent)
        begin = lattice.low(window - int(grid.first[extent]))
        end = begin + lattice.size
        rows = met.of_window(window)
        rows = rows[ignored[rows]]
        lows, highs = np.maximum(low[rows], begin), np.minimum(high[rows], end)
        covered = 0.0
        for moment in np.unique(lows[:, :-2], axis=0):  # one of an image; a frame each of a video
            now = (lows[:, :-2] == moment).all(axis=1)
            corners = [lows[now, -1], lows[now, -2], highs[now, -1], highs[now, -2]]
            covered += union_area(np.stack(corners, axis=1))
        found[window] = covered > limit * float(np.prod(lattice.size))
    return found


def _sorted_ids(ids: NDArray[np.int64], met: Meetings) -> list[int]:
    """Return the annotations of all windows one behind the other, by id in each."""
    found = ids[met.boxes]
    found = found[np.lexsort((found, met.windows))]
    listed: list[int] = found.tolist()
    return listed


def _in_area(grid: Grid, extents: Extents, area: Area, frames: Frames) -> NDArray[np.bool_]:
    found = np.zeros(len(grid), bool)
    for extent in range(len(extents.shapes)):
        lattice = grid.lattice(extent)
        if not len(lattice):
            continue
        here = area
        if area.crs is not None:
            image_id = extents.first_image(extent)
            place = frames.load_alignable(image_id, extents.space).georeference()
            rows, cols = extents.shapes[extent, -2:].tolist()
            here = area.in_pixels(place, (rows, cols), f"image {shown(image_id)}")
        met = here.meets(_flat(lattice))
        found[grid.first[extent] : grid.first[extent + 1]] = np.tile(met, len(lattice) // len(met))
    return found


def _valid(grid: Grid, extents: Extents, frames: Frames, least: float) -> NDArray[np.bool_]:
    pixels = ValidPixels(frames, extents.space)
    found = np.zeros(len(grid), bool)
    for extent in range(len(extents.shapes)):
        lattice = grid.lattice(extent)
        if not len(lattice):
            continue
        flat = _flat(lattice)
        if extents.space == "image":
            part = pixels.fraction(extents.first_image(extent), flat)
        else:  # of all frames of each window together
            by_frame = [pixels.fraction(image_id, flat) for image_id in extents.frames[extent]]
            sums = np.concatenate([np.zeros((1, len(flat))), np.cumsum(by_frame, axis=0)])
            begin = lattice.axes[0]
            end = np.minimum(begin + lattice.size[0], len(by_frame))
            part = ((sums[end] - sums[begin]) / (end - begin)[:, None]).ravel()
        found[grid.first[extent] : grid.first[extent + 1]] = part >= least
    return found


def _flat(lattice: Lattice) -> NDArray[np.int64]:
    """Return the windows of an extent in the plane, as x0, y0, x1, y1."""
    plane = Lattice(lattice.axes[-2:], lattice.size[-2:])
    low = plane.lows()
    return np.concatenate([low[:, ::-1], (low + plane.size)[:, ::-1]], axis=1)


def _targets(
    grid: Grid, first: NDArray[np.int64], keep: NDArray[np.bool_], aids: list[int] | None, make: Any
) -> list[dict[str, Any]]:
    """Make the targets of all windows that are kept."""
    found = []
    places = first.tolist()
    made: dict[int, list[Any]] = {}  # windows of images of one size are the same objects
    for extent in range(len(grid.kind)):
        begin, end = int(grid.first[extent]), int(grid.first[extent + 1])
        kind = int(grid.kind[extent])
        if kind not in made:
            made[kind] = _slices(grid.lattices[kind])
        for number in (np.flatnonzero(keep[begin:end]) + begin).tolist():
            target = make(extent, made[kind][number - begin])
            target["aids"] = None if aids is None else aids[places[number] : places[number + 1]]
            found.append(target)
    return found


def _slices(lattice: Lattice) -> list[tuple[slice, ...]]:
    axes = [
        [slice(start, start + size) for start in axis.tolist()]
        for axis, size in zip(lattice.axes, lattice.size, strict=True)
    ]
    found: list[tuple[slice, ...]] = [()]
    for axis in axes:
        found = [(*before, each) for before in found for each in axis]
    return found


def _image_targets(extent: int, window: tuple[slice, ...], extents: Extents) -> dict[str, Any]:
    return {"gid": extents.ids[extent], "slices": window}


def _video_targets(extent: int, window: tuple[slice, ...], extents: Extents) -> dict[str, Any]:
    frames = extents.frames[extent]
    time = slice(window[0].start, min(window[0].stop, len(frames)))
    return {
        "vidid": extents.ids[extent],
        "time_slice": time,
        "space_slice": window[1:],
        "gids": list(frames[time]),
    }


def _listed(targets: list[dict[str, Any]], positive: NDArray[np.bool_]) -> dict[str, Any]:
    found = np.flatnonzero(positive).tolist()
    others = np.flatnonzero(~positive).tolist()
    return {
        "targets": targets,
        "positives_indexes": found,
        "negatives_indexes": others,
        "positives": [targets[place] for place in found],
        "negatives": [targets[place] for place in others],
    }
