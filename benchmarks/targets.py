"""What is promised, and whether it holds: each a ratio within one run, repeat by repeat."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.peers import OURS
from benchmarks.run import UNCACHED, Row
from benchmarks.samples import ratio

#: What a conversion may take at its peak, in megabytes.
PEAK_MB = 512


@dataclass(frozen=True, slots=True)
class Figure:
    """What was measured for a promise.

    Parameters
    ----------
    value : float
        The figure.
    against : str
        What it was measured against.
    """

    value: float
    against: str = ""


@dataclass(frozen=True, slots=True)
class Target:
    """A promise.

    Parameters
    ----------
    text : str
        What is promised.
    limit : float
        What the figure is at most.
    measure : callable
        From all rows to the figure; raises `LookupError`, saying what is missing.
    unit : str
        Of figure and limit; empty for ratios.
    """

    text: str
    limit: float
    measure: Callable[[Sequence[Row]], Figure]
    unit: str = ""


def judge(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return a row for each promise: ``target``, ``limit``, ``measured``, ``against``, ``holds`` and ``why``.

    ``holds`` is None where it was not measured, and ``why`` says why not.
    """
    judged = []
    for target in targets():
        line: dict[str, Any] = {"target": target.text, "limit": target.limit, "unit": target.unit}
        try:
            figure = target.measure(rows)
        except LookupError as error:
            line |= {"measured": None, "against": "", "holds": None, "why": str(error.args[0])}
        else:
            holds = figure.value <= target.limit
            line |= {"measured": figure.value, "against": figure.against, "holds": holds, "why": ""}
        judged.append(line)
    return judged


def pick(rows: Sequence[Row], **wanted: Any) -> list[Row]:
    """Return the rows with these labels; a tuple stands for any of its members, a callable decides."""
    return [row for row in rows if all(_fits(row.get(name), value) for name, value in wanted.items())]


def _fits(value: Any, wanted: Any) -> bool:
    if callable(wanted):
        return bool(wanted(value))
    return value in wanted if isinstance(wanted, tuple) else bool(value == wanted)


def fastest(rows: Sequence[Row], **wanted: Any) -> Row:
    """Return the row with these labels whose median is the lowest.

    Raises
    ------
    LookupError
        If there is none.
    """
    found = pick(rows, **wanted)
    if not found:
        named = " ".join(str(value) for value in wanted.values() if isinstance(value, str | int))
        raise LookupError(f"not measured: {named}")
    return min(found, key=lambda row: float(row["median"]))


def is_peer(name: str | None) -> bool:
    """Whether a name is that of another library."""
    return name not in (None, OURS, "bare codec")


def ratio_of(text: str, limit: float, mine: dict[str, Any], theirs: dict[str, Any], **both: Any) -> Target:
    """Promise how the fastest row of ours compares with the fastest of theirs, in the same repeats."""

    def measure(rows: Sequence[Row]) -> Figure:
        rows = of_main_picture(rows)
        ours = fastest(rows, peer=OURS, **mine, **both)
        other = fastest(rows, **{"peer": is_peer, **theirs}, **both)
        return Figure(ratio(ours["repeats"], other["repeats"]), other["label"])

    return Target(text, limit, measure)


def named(stored: str) -> str:
    """Write ``cog ZSTD`` as ```cog` ZSTD``."""
    name, _, rest = stored.partition(" ")
    return f"`{name}` {rest}".rstrip()


def of_main_picture(rows: Sequence[Row]) -> list[Row]:
    """Leave out the pictures after the first, which only add to the account of windows."""
    main = next((row["picture"] for row in rows if row["benchmark"] == "windows"), None)
    return [row for row in rows if row["benchmark"] != "windows" or row["picture"] == main]


def targets() -> Iterator[Target]:
    """List all promises."""
    yield from _windows()
    yield from _openings_and_batches()
    yield from _cold_and_conversion()
    yield from _growth()
    yield from _further()


def _windows() -> Iterator[Target]:
    def one(text: str, limit: float, mine: dict[str, Any], window: int = 256, **theirs: Any) -> Target:
        return ratio_of(f"{text}, {window} px", limit, mine, theirs, benchmark="windows", window=window,
                        placement="random", cache=UNCACHED)  # fmt: skip

    def same(stored: str, peer: str, limit: float) -> Target:
        """Compare with a peer on the same file."""
        who = "the bare codec" if peer == "bare codec" else peer
        return one(f"{named(stored)} : {who} on the same blocks", limit, {"stored": stored}, peer=peer,
                   stored=stored)  # fmt: skip

    npy, jpeg, lz4 = {"stored": "npy"}, {"stored": "jpeg"}, {"stored": "zarr LZ4"}
    yield one("`npy` : memmap, slice and copy", 1.3, npy, peer="NumPy memmap")
    yield one("`npy` : ndsampler `npy`, copied out", 0.5, npy, peer="ndsampler", stored="ndsampler npy")
    yield one("`zarr` LZ4 : fastest peer on any lossless file", 0.45, lz4, family="lossless")
    yield same("zarr LZ4", "bare codec", 1.25)
    yield same("cog ZSTD", "rasterio", 0.75)
    yield same("cog JPEG", "rasterio", 0.45)
    yield same("cog JPEG", "pyvips", 0.9)
    for window, limit in ((64, 0.55), (256, 0.55), (1024, 0.75)):
        yield one("`jpeg` : fastest peer on any JPEG file", limit, jpeg, window, family="jpeg")
    for window in (64, 256, 1024):
        yield one("`jpeg` : rasterio on its best JPEG file", 0.25, jpeg, window, family="jpeg",
                  peer="rasterio")  # fmt: skip
    yield Target("`jpeg` : size of the source", 1.08, _jpeg_size)
    yield Target("`jpeg` : largest difference to Pillow's decode", 0, _jpeg_difference, "grey levels")
    for window in (64, 1024):
        for family, files in _FAMILIES.items():
            ours = {"written_by_us": True, "family": family}
            yield one(f"ours : fastest peer on {files}", 1.0, ours, window, family=family,
                      peer=_not_the_floor)  # fmt: skip


def _not_the_floor(peer: str | None) -> bool:
    """Leave out the memmap: it is what our own reading is made of, and has a promise of its own."""
    return is_peer(peer) and peer != "NumPy memmap"


_FAMILIES = {
    "raw": "uncompressed files (but the bare memmap)",
    "lossless": "lossless files",
    "jpeg": "JPEG files",
}


def _jpeg_size(rows: Sequence[Row]) -> Figure:
    row = fastest(of_main_picture(rows), benchmark="windows", peer=OURS, stored="jpeg")
    source = fastest(of_main_picture(rows), benchmark="windows", stored="source")
    return Figure(row["nbytes"] / source["nbytes"], "the source")


def _jpeg_difference(rows: Sequence[Row]) -> Figure:
    found = pick(rows, benchmark="windows", peer=OURS, stored="jpeg")
    if not found:
        raise LookupError("not measured: jpeg")
    return Figure(max(row["differs"] for row in found), "Pillow")


def _openings_and_batches() -> Iterator[Target]:
    for stored, limit in (("cog ZSTD", 0.9), ("zarr LZ4", 1.2), ("jpeg", 1.2)):
        yield ratio_of(f"first window, {named(stored)} : rasterio.open and read of the COG", limit,
                       {"stored": stored}, {"peer": "rasterio", "stored": "cog ZSTD"},
                       benchmark="opening")  # fmt: skip
    for placement, limit in (("random", 0.58), ("half overlapping", 0.35)):
        for stored in ("cog ZSTD", "zarr LZ4", "jpeg"):
            yield ratio_of(f"batch of 64, two threads, {placement}, {named(stored)} : one by one", limit,
                           {"threads": 2}, {"peer": OURS, "threads": 0}, benchmark="batches",
                           placement=placement, stored=stored)  # fmt: skip


def _cold_and_conversion() -> Iterator[Target]:
    for stored in ("cog ZSTD", "zarr LZ4", "jpeg"):
        text = f"cold, {named(stored)}: bytes from the disk : bytes of the touched blocks"
        yield Target(text, 1.15, _cold_share(stored))
    for source, stored, theirs, limit in (
        ("PNG", "cog ZSTD", "COG ZSTD", 0.25),
        ("PNG", "zarr LZ4", "COG ZSTD", 0.25),
        ("JPEG", "jpeg", "COG JPEG", 0.4),
    ):
        yield ratio_of(f"{source} to {named(stored)} : gdal_translate to {theirs}, time", limit,
                       {"stored": stored}, {"peer": "gdal_translate", "stored": theirs},
                       benchmark="conversion", source=source)  # fmt: skip
    yield Target("peak memory of any conversion", PEAK_MB, _peak, "MB")


def _cold_share(stored: str) -> Callable[[Sequence[Row]], Figure]:
    def measure(rows: Sequence[Row]) -> Figure:
        row = fastest(rows, benchmark="cold", peer=OURS, stored=stored)
        if "disk_per_touched" not in row:
            raise LookupError(f"not measured: the blocks of {stored}")
        pages = row["disk_per_touched_pages"]
        return Figure(row["disk_per_touched"], f"{pages:.2f} of the pages that hold them")

    return measure


def _peak(rows: Sequence[Row]) -> Figure:
    found = pick(rows, benchmark=("conversion", "large"), peer=OURS)
    if not found:
        raise LookupError("not measured: conversion")
    worst = max(found, key=lambda row: float(row["peak_mb"]))
    return Figure(worst["peak_mb"], f"{worst['picture']}, {worst['source']} to {worst['stored']}")


def _growth() -> Iterator[Target]:
    for stored in ("cog", "zarr"):
        for kind, mode, text in (
            ("files", "open", "more files, windows of open ones"),
            ("files", "any", "more files, windows of any"),
            ("files", "first", "more files, first windows"),
            ("megapixels", "open", "more megapixels, open"),
        ):
            yield Target(f"{text}, `{stored}`: slowest : smallest", 1.1, _flatness(stored, kind, mode))


def _flatness(stored: str, kind: str, mode: str) -> Callable[[Sequence[Row]], Figure]:
    def measure(rows: Sequence[Row]) -> Figure:
        found = pick(rows, benchmark="growth", stored=stored, kind=kind, mode=mode)
        if len(found) < 2:
            raise LookupError(f"not measured: growth in {kind}, {stored}")
        first, *others = sorted(found, key=lambda row: int(row["size"]))
        grown = {row["size"]: ratio(row["repeats"], first["repeats"]) for row in others}
        worst = max(grown, key=lambda size: grown[size])
        return Figure(grown[worst], f"{worst:,} and {first['size']:,} {kind}")

    return measure


def _further() -> Iterator[Target]:
    for stored, peer, limit in (
        ("npy", "ndsampler", 0.4),
        ("cog", "delayed_image", 0.2),
        ("cog", "rasterio", 0.1),
    ):
        yield ratio_of(f"ten channels at three resolutions, `{stored}` : {peer}", limit, {"stored": stored},
                       {"peer": peer}, benchmark="aligned")  # fmt: skip
    yield ratio_of("an image at 1/8, `cog` : all of it", 0.05, {"stored": "cog, 1/8"},
                   {"peer": OURS, "stored": "cog, all of it"}, benchmark="overview")  # fmt: skip
    yield Target("`import subregion`, user time beyond that of Python", 150, _import, "ms")


def _import(rows: Sequence[Row]) -> Figure:
    bare = fastest(rows, benchmark="beginnings", what="python -c pass")
    imported = fastest(rows, benchmark="beginnings", what="import subregion")
    return Figure(max(0.0, imported["median"] - bare["median"]), "python -c pass")
