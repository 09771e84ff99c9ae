"""The account of a run in words and tables, as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from benchmarks.cases.windows import FAMILIES
from benchmarks.peers import OURS
from benchmarks.run import UNCACHED, Row
from benchmarks.samples import ratio
from benchmarks.targets import fastest, is_peer, of_main_picture, pick

_TITLES = {
    "raw": "Uncompressed",
    "lossless": "Lossless compression",
    "jpeg": "JPEG",
    "whole": "Decoding the whole and cropping",
}

_METHOD = """Every reader is a process of its own, with its file open, in one thread unless said
otherwise. Readers take turns, and everything is measured {repeats} times; a figure is the median of the
repeats, its spread the distance between the lowest and the highest of them, as a part of it. Ratios are
taken between neighbours in the same repeat, then the median. Block caches hold a megabyte (ours:
nothing), because a collection never fits them, and 64 MB where it says "cached". {compared:,} windows
were compared with a plain decode in this run."""

_WINDOWS = """Microseconds for a window at random in `{picture}`, page cache warm. The largest difference
is that of a decoder of JPEG that rounds, or brings back colour, in its own way."""

_CACHES = """Microseconds for a window of 256 px, at random and sliding by half its edge, with a block
cache of a megabyte (ours: nothing) and of 64 MB."""

_PLACEMENTS = (
    "Microseconds for a window of 256 px that begins anywhere, and one that begins at a multiple of 256."
)

_FORMS = """What we make of each picture without a loss: microseconds for a window of 256 px at random, bytes
as a part of those of the pixels, overviews included, and megapixels converted in a second."""

_PICTURES = """The fastest of ours and the fastest peer, for windows of 256 px at random (64 px where the
picture is small). Left out is libvips: its own cache cannot be turned off, and holds small pictures whole."""

_OPENING = "Microseconds to open a file that is not open, and to read a window of 256 px; page cache warm."

_BATCHES = """64 windows of 256 px in one call: microseconds per window, and as a part of the same
windows one by one. Either way they end up in one array, as a training step needs them."""

_COLD = """Windows of 256 px at random, the page cache emptied before each turn. Bytes are those that the
system read from the disk: per window, per byte of pixels, per byte of the blocks that the windows touch,
and of the pages that hold these blocks."""

_CONVERSION = """Wall time with all cores, in a process that has converted a tiny picture before; peak memory
of the process; size of the result."""

_BREAK_EVEN = """A conversion of the source pays after so many windows of 256 px, against decoding the
source for each of them with the faster of Pillow and OpenCV:"""

_GROWTH = """Microseconds for a window of 256 px. Of files, "open" reads those that are open (as many as
stay open), "any" all of the collection at random, "first" those that are not open."""

_INTERVALS = """Microseconds for a window of `{picture}`, kept as a JPEG with restart intervals of so many
units; `jpeg` takes the bold one."""

_ALIGNED = """Windows of 256 px of ten uint16 channels at three resolutions, drawn on one grid; and an
image at an eighth of its size. Milliseconds."""


def markdown(document: Mapping[str, Any], plots: Mapping[str, str]) -> str:
    """Lay out the account of a run.

    Parameters
    ----------
    document : dict
        What `suite.measure` returned.
    plots : dict
        Name -> path of a drawing, relative to the text.

    Returns
    -------
    str
        The whole page.
    """
    parts = [_heading(document), _targets(document["targets"])]
    rows: list[Row] = document["rows"]
    for benchmark, section in _SECTIONS.items():
        if pick(rows, benchmark=benchmark):
            title, *rest = section(rows)
            drawn = [_drawing(path, name) for name, path in plots.items() if name.startswith(benchmark)]
            parts += [f"## {title}", *drawn, *rest]
    parts.append(_left_out(document))
    return "\n\n".join(part for part in parts if part) + "\n"


def table(columns: Sequence[str], lines: Iterable[Sequence[object]]) -> str:
    """Lay out a table; a column whose name ends with ``:`` is aligned to the right."""
    head = "| " + " | ".join(name.rstrip(":") for name in columns) + " |"
    rule = "|" + "|".join("--:" if name.endswith(":") else "---" for name in columns) + "|"
    return "\n".join([head, rule, *("| " + " | ".join(map(shown, line)) + " |" for line in lines)])


def shown(value: object) -> str:
    """Write a figure with three digits, and anything else as it is.

    Examples
    --------
    >>> [shown(value) for value in (1234.5, 12.34, 0.5678, 0.01234, 7, None, "cog")]
    ['1,234', '12.3', '0.57', '0.012', '7', '', 'cog']
    """
    if value is None:
        return ""
    if not isinstance(value, float):
        return f"{value:,}" if isinstance(value, int) else str(value)
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.2g}"


def _drawing(path: str, name: str) -> str:
    return f"![{name.replace('-', ' ')}]({path})"


def _share(value: float) -> str:
    return f"{value:.0%}"


def _heading(document: Mapping[str, Any]) -> str:
    machine, options = document["machine"], document["options"]
    command = "subregion bench --quick" if options["quick"] else "subregion bench"
    where = (
        f"{machine['date']}, {machine['processors']} processors ({machine['processor']}), "
        f"{machine['memory, GB']} GB of memory, {machine['system']}, Python {machine['python']}."
    )
    versions = ", ".join(f"{name} {version}" for name, version in document["versions"].items())
    method = _METHOD.format(repeats=options["repeats"], compared=document["compared"])
    written = f"Written by `{command}`; do not edit. {where}"
    return "\n\n".join(["# Benchmarks", written, method, f"{versions}."])


def _targets(targets: Sequence[Mapping[str, Any]]) -> str:
    lines = []
    for line in targets:
        unit = f" {line['unit']}".rstrip()
        measured = "" if line["holds"] is None else shown(line["measured"]) + unit
        holds = {None: "", True: "yes", False: "**no**"}[line["holds"]]
        lines.append((line["target"], shown(line["limit"]) + unit, measured, holds,
                      line["why"] or line["against"]))  # fmt: skip
    columns = ("target", "at most:", "measured:", "holds", "against")
    return "## What is promised\n\n" + table(columns, lines)


def _windows(rows: list[Row]) -> Iterable[str]:
    rows = pick(rows, benchmark="windows")
    main = of_main_picture(rows)
    yield "Windows"
    yield _WINDOWS.format(picture=main[0]["picture"])
    for family in FAMILIES:
        found = pick(main, family=family, placement="random", cache=UNCACHED)
        if found:
            yield f"### {_TITLES[family]}"
            yield _by_window(found)
    further = (
        ("Block caches", _CACHES, _caches(main)),
        ("Aligned windows", _PLACEMENTS, _placements(main)),
        ("Other pictures", _PICTURES, _pictures(rows)),
        ("Lossless forms", _FORMS, _forms(rows)),
    )
    for title, text, found_table in further:
        if found_table:
            yield f"### {title}"
            yield text
            yield found_table


def _by_window(rows: list[Row]) -> str:
    edges = sorted({row["window"] for row in rows})
    middle = 256 if 256 in edges else edges[0]
    readers: dict[str, dict[int, Row]] = {}
    for row in rows:
        readers.setdefault(row["label"], {})[row["window"]] = row
    lines = []
    for label, by in sorted(readers.items(), key=lambda item: float(item[1][middle]["median"])):
        row = by[middle]
        lines.append((f"**{label}**" if row["peer"] == OURS else label,
                      *(by[edge]["median"] if edge in by else None for edge in edges),
                      row["p99"], _share(row["spread"]), row["nbytes"] / 1e6, row["peak_mb"],
                      row["differs"] or None))  # fmt: skip
    columns = ("reader, file", *(f"{edge} px:" for edge in edges), f"p99, {middle} px:", "spread:",
               "MB on disk:", "peak MB:", "largest difference:")  # fmt: skip
    return table(columns, lines)


def _caches(rows: list[Row]) -> str:
    lines = []
    for row in pick(rows, cache="on", window=256, placement="random"):
        figures: list[object] = []
        for placement in ("random", "sliding"):
            for cache in ("off", "on"):
                found = pick(rows, peer=row["peer"], stored=row["stored"], window=256, placement=placement,
                             cache=cache)  # fmt: skip
                figures.append(found[0]["median"] if found else None)
        lines.append((f"{row['peer']}, {row['stored']}", *figures))
    columns = ("reader, file", "random:", "random, cached:", "sliding:", "sliding, cached:")
    return table(columns, lines) if lines else ""


def _placements(rows: list[Row]) -> str:
    lines = []
    for row in pick(rows, window=256, placement="aligned", cache=UNCACHED, written_by_us=True):
        (anywhere,) = pick(rows, window=256, placement="random", label=row["label"])
        share = ratio(row["repeats"], anywhere["repeats"])
        lines.append((row["label"], anywhere["median"], row["median"], share))
    columns = ("reader, file", "anywhere:", "aligned:", "aligned : anywhere:")
    return table(columns, lines) if lines else ""


def _pictures(rows: list[Row]) -> str:
    names = list(dict.fromkeys(row["picture"] for row in rows))
    if len(names) == 1:
        return ""
    lines = []
    for name in names:
        edges = {row["window"] for row in pick(rows, picture=name)}
        window = 256 if 256 in edges else min(edges)
        for family in FAMILIES[:3]:
            both = {"picture": name, "family": family, "window": window, "placement": "random",
                    "cache": ("off", "none")}  # fmt: skip
            try:
                ours, other = fastest(rows, peer=OURS, **both), fastest(rows, peer=is_peer, **both)
            except LookupError:
                continue  # no peer reads it, or none is installed
            lines.append((name, _TITLES[family], ours["stored"], ours["median"], other["label"],
                          other["median"], ratio(ours["repeats"], other["repeats"])))  # fmt: skip
    return table(("picture", "kind", "ours", "µs:", "peer", "µs:", "ours : peer:"), lines)


def _forms(rows: list[Row]) -> str:
    ours = pick(rows, peer=OURS, written_by_us=True, family=("raw", "lossless"), placement="random",
                window=256, cache=UNCACHED)  # fmt: skip
    lines = [(row["picture"], row["stored"], row["median"], row["nbytes"] / row["pixel_bytes"],
              row["megapixels"] / row["store_seconds"]) for row in ours]  # fmt: skip
    return table(("picture", "form", "µs:", "size:", "Mpx/s:"), lines) if lines else ""


def _opening(rows: list[Row]) -> Iterable[str]:
    yield "First window"
    yield _OPENING
    yield _times(pick(rows, benchmark="opening"), "µs")


def _times(rows: list[Row], unit: str) -> str:
    ordered = sorted(rows, key=lambda row: float(row["median"]))
    lines = ((row["label"], row["median"], row["p99"], _share(row["spread"])) for row in ordered)
    return table(("reader, file", f"{unit}:", "p99:", "spread:"), lines)


def _batches(rows: list[Row]) -> Iterable[str]:
    yield "Batches"
    yield _BATCHES
    lines = []
    for alone in pick(rows, benchmark="batches", threads=0):
        line: list[object] = [alone["label"], alone["placement"], alone["median"]]
        for threads in (1, 2):
            row = fastest(rows, benchmark="batches", threads=threads, label=alone["label"],
                          placement=alone["placement"])  # fmt: skip
            line += [row["median"], ratio(row["repeats"], alone["repeats"])]
        lines.append(line)
    columns = ("reader, file", "windows", "one by one:", "one thread:", "ratio:", "two threads:", "ratio:")
    yield table(columns, lines)


def _cold(rows: list[Row]) -> Iterable[str]:
    yield "Cold page cache"
    yield _COLD
    ordered = sorted(pick(rows, benchmark="cold"), key=lambda row: float(row["disk_bytes"]))
    columns = ("reader, file", "µs:", "KB per window:", "per useful byte:", "per touched byte:",
               "per touched page:")  # fmt: skip
    yield table(columns, ((row["label"], row["median"], row["disk_bytes"] / 1e3, row["disk_per_useful"],
                           row.get("disk_per_touched"), row.get("disk_per_touched_pages"))
                          for row in ordered))  # fmt: skip


def _conversion(rows: list[Row]) -> Iterable[str]:
    yield "Conversion"
    yield _CONVERSION
    found = pick(rows, benchmark="conversion")
    ordered = sorted(found, key=lambda row: (row["source"], float(row["median"])))
    columns = ("from", "by, to", "seconds:", "spread:", "peak MB:", "MB on disk:", "of the source:",
               "lossless")  # fmt: skip
    yield table(columns, ((row["source"], row["label"], row["median"], _share(row["spread"]), row["peak_mb"],
                           row["nbytes"] / 1e6, row["nbytes"] / row["source_bytes"],
                           "yes" if row["lossless"] else "no") for row in ordered))  # fmt: skip
    even = break_even(rows)
    if even:
        yield _BREAK_EVEN
        yield table(("file", "seconds:", "windows:"), even)


def break_even(rows: list[Row]) -> list[tuple[str, float, int]]:
    """Return what writing each of our files took, and after how many windows that was worth it."""
    main = pick(of_main_picture(rows), benchmark="windows", placement="random", window=256, cache=UNCACHED)
    decoding = pick(main, family="whole", peer=is_peer)
    if not decoding:
        return []
    whole = min(row["median"] for row in decoding) / 1e6
    found = []
    for row in pick(main, peer=OURS, written_by_us=True):
        saved = whole - row["median"] / 1e6
        if saved > 0:
            found.append((row["stored"], row["store_seconds"], max(1, -int(-row["store_seconds"] // saved))))
    return found


def _large(rows: list[Row]) -> Iterable[str]:
    found = pick(rows, benchmark="large")
    yield f"Large pictures: {found[0]['picture']}"
    yield "Conversion of a picture that is drawn for it, in a process of its own."
    yield table(("from", "to", "seconds:", "peak MB:", "MB on disk:"),
                ((row["source"], row["stored"], row["median"], row["peak_mb"], row["nbytes"] / 1e6)
                 for row in found))  # fmt: skip


def _growth(rows: list[Row]) -> Iterable[str]:
    yield "Growth"
    yield _GROWTH
    for kind in ("files", "megapixels"):
        found = pick(rows, benchmark="growth", kind=kind)
        sizes = sorted({row["size"] for row in found})
        series: dict[str, dict[int, float]] = {}
        for row in found:
            series.setdefault(f"{row['stored']}, {row['mode']}", {})[row["size"]] = row["median"]
        yield table((kind, *(f"{size:,}:" for size in sizes)),
                    ((name, *(by.get(size) for size in sizes)) for name, by in series.items()))  # fmt: skip


def _intervals(rows: list[Row]) -> Iterable[str]:
    rows = pick(rows, benchmark="intervals")
    yield "Restart intervals"
    yield _INTERVALS.format(picture=rows[0]["picture"])
    edges = sorted({row["window"] for row in rows})
    lines = []
    for row in pick(rows, window=edges[0]):
        units = f"**{row['units']}**" if row["chosen"] else row["units"]
        same = {each["window"]: each["median"] for each in pick(rows, units=row["units"])}
        lines.append((units, row["pixels"], row["of_source"], *(same.get(edge) for edge in edges)))
    yield table(("units:", "pixels:", "bytes, of the source:", *(f"{edge} px:" for edge in edges)), lines)


def _aligned(rows: list[Row]) -> Iterable[str]:
    yield "Channels on one grid"
    yield _ALIGNED
    yield _times(pick(rows, benchmark=("aligned", "overview")), "ms")


def _lazy(rows: list[Row]) -> Iterable[str]:
    yield "Lazy arrays"
    yield "Sums with the threads of dask; what it costs to make an array, and to read a window by its bounds."
    yield table(("what", "", "median:", "p99:", "spread:"),
                ((row["what"], row["unit"], row["median"], row["p99"], _share(row["spread"]))
                 for row in pick(rows, benchmark="lazy")))  # fmt: skip


def _beginnings(rows: list[Row]) -> Iterable[str]:
    yield "Beginnings"
    yield "Milliseconds; of programs the user time."
    yield table(("what", "ms:", "spread:"), ((row["what"], row["median"], _share(row["spread"]))
                                            for row in pick(rows, benchmark="beginnings")))  # fmt: skip


#: Benchmark -> what makes its section: first the title, then texts and tables.
_SECTIONS: dict[str, Callable[[list[Row]], Iterable[str]]] = {
    "windows": _windows,
    "opening": _opening,
    "batches": _batches,
    "cold": _cold,
    "conversion": _conversion,
    "large": _large,
    "growth": _growth,
    "intervals": _intervals,
    "aligned": _aligned,
    "lazy": _lazy,
    "beginnings": _beginnings,
}


def _left_out(document: Mapping[str, Any]) -> str:
    lines = [f"* {name}: {why}." for name, why in document["missing"].items()]
    lines += [f"* {note}." for note in document["notes"]]
    lines += [f"* Failed: {failure}." for failure in document["failures"]]
    return "## Not measured\n\n" + "\n".join(lines) if lines else ""
