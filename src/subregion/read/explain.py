"""What a read would do: which blocks of which files, how many bytes, and what happens to the pixels."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from subregion.blocks.level import unplaced
from subregion.errors import some_of
from subregion.geometry.channels import kept_channels
from subregion.geometry.region import Region
from subregion.read.mending import planned_again
from subregion.read.options import Channels, ReadOptions
from subregion.read.plan import BandGroup, ReadPlan, plan_read

if TYPE_CHECKING:
    from subregion.cache.store import Store
    from subregion.records import ImageRecord

#: Blocks that the text lists of each file.
_LISTED = 12


@dataclass(frozen=True, slots=True)
class FileRead:
    """What is read of one file.

    Parameters
    ----------
    path : str
        The file.
    driver, layout : str
        Its format, and how pixels lie in it.
    level : int
        Which resolution; 0 is the full one.
    level_shape : tuple of int
        Rows and columns of it.
    window : tuple of int
        Row, column, height and width of what is wanted of it, in its own pixels.
    bands : tuple of int or None
        Which bands; None for all.
    how : str
        What happens to the pixels on their way to the result.
    blocks : tuple of (int, int, int)
        Number, offset and bytes of each block that is read; 0 bytes for one that was never written. Empty if
        the file is decoded from its beginning.
    nbytes : int
        Bytes that are read of the file.
    """

    path: str
    driver: str
    layout: str
    level: int
    level_shape: tuple[int, int]
    window: tuple[int, int, int, int]
    bands: tuple[int, ...] | None
    how: str
    blocks: tuple[tuple[int, int, int], ...]
    nbytes: int


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a read would do.

    Parameters
    ----------
    shape : tuple of int
        Rows, columns and channels of the result.
    dtype : str
        Its type.
    nbytes : int
        Bytes that are read of all files; blocks that several want count once.
    files : tuple of FileRead
        What is read of each file.
    conversions : tuple of str
        Sources that would be converted first: what is told of them is how they are read without.
    """

    shape: tuple[int, int, int]
    dtype: str
    nbytes: int
    files: tuple[FileRead, ...]
    conversions: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as plain values, for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        rows, cols, channels = self.shape
        lines = [
            f"{rows} x {cols} x {channels} (rows x columns x channels) of {self.dtype}: "
            f"{self.nbytes:,} bytes to be read"
        ]
        for part in self.files:
            row, col, height, width = part.window
            lines.append(
                f"{part.path}: {part.driver}, {part.layout}; level {part.level} of "
                f"{part.level_shape[0]} x {part.level_shape[1]}, rows {row} to {row + height}, "
                f"columns {col} to {col + width}; {part.how}"
            )
            if not part.blocks:
                lines.append(f"  decoded from its beginning: {part.nbytes:,} bytes at most")
                continue
            lines.append(f"  {len(part.blocks)} blocks, {part.nbytes:,} bytes")
            lines.append(f"  {'block':>8} {'offset':>14} {'bytes':>10}")
            blocks = [f"{number:>8} {offset:>14} {nbytes:>10}" for number, offset, nbytes in part.blocks]
            lines += some_of(blocks, "  ", _LISTED)
        lines += [f"{path}: would be converted first" for path in self.conversions]
        return "\n".join(lines)


def explain(
    store: Store, record: ImageRecord, region: Region, channels: Channels, options: ReadOptions
) -> Explanation:
    """Plan a read, and tell what it would do; nothing is converted and no pixel read.

    Raises
    ------
    SubregionError
        As the read itself would, but for damage further in.
    """
    kept = kept_channels(channels)
    missing = tuple(asset.path for asset in record.assets if store.lacks_copy(asset))
    store = store.in_place if missing else store
    plan = planned_again(lambda: plan_read(store, record, region, kept, options))
    return _explained(plan, missing)


def _explained(plan: ReadPlan, missing: tuple[str, ...]) -> Explanation:
    files = tuple(_read_of(group, plan) for group in plan.groups if not group.read.source.empty)
    ranges = {
        (part.path, part.level, offset, nbytes) for part in files for _, offset, nbytes in part.blocks
    } | {(part.path, 0, 0, part.nbytes) for part in files if not part.blocks}
    used = {asset.path for asset, _ in plan.opened}
    return Explanation(
        plan.shape,
        str(plan.dtype),
        sum(nbytes for *_, nbytes in ranges),
        files,
        tuple(path for path in missing if path in used),
    )


def _read_of(group: BandGroup, plan: ReadPlan) -> FileRead:
    raster, read = group.raster, group.read
    level, window = raster.level(read.level), read.source
    blocks: list[tuple[int, int, int]] = []
    nbytes = raster.nbytes
    if level.windowed:
        planned = level.plan([unplaced(level, window, group.bands, group.steps)])
        ranges = [(block[0], *each) for block in planned.blocks for each in level.ranges(block)]
        ranges.sort(key=lambda each: each[1])
        # What is made of several ranges has no number of its own.
        blocks = [
            (number if isinstance(number, int) else place, offset, size)
            for place, (number, offset, size) in enumerate(ranges)
        ]
        nbytes = sum({offset: size for _, offset, size in blocks}.values())
    return FileRead(
        raster.path,
        raster.driver,
        raster.layout,
        read.level,
        raster.level_shapes[read.level],
        (window.row, window.col, window.height, window.width),
        None if group.bands is None else tuple(group.bands),
        _how(group, plan),
        tuple(blocks),
        nbytes,
    )


def _how(group: BandGroup, plan: ReadPlan) -> str:
    if group.read.to_target is not None and group.filter is not None:
        how = f"resampled ({group.filter.name})"
    else:
        how = "copied" if group.is_straight(plan.options, plan.dtype) else "read, then converted"
    steps = "" if group.steps == (1, 1) else f", every {group.steps[0]} rows and {group.steps[1]} columns"
    masked = f", nodata {group.nodata:g} masked" if plan.options.nodata and group.nodata is not None else ""
    return f"{how}{steps}{masked}"
