"""Drawings of a run, as SVG: colours that everybody can tell apart (Okabe and Ito), logarithmic axes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.peers import OURS
from benchmarks.report import shown
from benchmarks.run import UNCACHED, Row
from benchmarks.targets import is_peer, of_main_picture, pick

OURS_COLOR, PEER_COLOR, FLOOR_COLOR = "#0072B2", "#D55E00", "#777777"
_MARKS = {"raw": "s", "lossless": "o", "jpeg": "^", "whole": "D"}
_SERIES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
#: Text stays text, so that files are small and can be searched; nothing depends on the day.
_STYLE = {"svg.fonttype": "none", "svg.hashsalt": "subregion", "font.family": "sans-serif", "font.size": 9,
          "axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True}  # fmt: skip


def draw(document: Mapping[str, Any], folder: Path) -> dict[str, Path]:
    """Draw what was measured.

    Parameters
    ----------
    document : dict
        What `suite.measure` returned.
    folder : path
        Where the drawings go.

    Returns
    -------
    dict
        Name -> file; the name begins with that of the benchmark.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    import matplotlib
    from matplotlib.figure import Figure

    drawings: dict[str, Callable[[Any, list[Row]], None]] = {
        "windows-by-reader": _by_reader,
        "windows-time-and-size": _time_and_size,
        "cold": _cold,
        "conversion": _conversion,
        "growth": _growth,
    }
    drawn = {}
    with matplotlib.rc_context(_STYLE):
        for name, work in drawings.items():
            rows = pick(document["rows"], benchmark=name.partition("-")[0])
            if not rows:
                continue
            figure = Figure(layout="constrained")
            work(figure, rows)
            drawn[name] = folder / f"{name}.svg"
            figure.savefig(drawn[name], metadata={"Date": None, "Creator": None})
    return drawn


def _by_reader(figure: Any, rows: list[Row]) -> None:
    """Draw times by reader: all of ours, and of each peer and kind its fastest file."""
    rows = pick(of_main_picture(rows), placement="random", cache=UNCACHED)
    edges = sorted({row["window"] for row in rows})
    middle = 256 if 256 in edges else edges[0]
    best: dict[object, Row] = {}
    for row in pick(rows, window=middle):
        mine = row["peer"] == OURS and row["written_by_us"]
        key = row["label"] if mine else (row["peer"], row["family"])
        if key not in best or row["median"] < best[key]["median"]:
            best[key] = row
    order = sorted(best.values(), key=lambda row: -float(row["median"]))
    labels = [row["label"] for row in order]
    figure.set_size_inches(9, 1 + 0.22 * len(labels))
    panels = figure.subplots(1, len(edges), sharey=True, squeeze=False)[0]
    for panel, edge in zip(panels, edges, strict=True):
        for place, chosen in enumerate(order):
            for row in pick(rows, label=chosen["label"], window=edge):
                color = _color(row)
                panel.plot([row["median"], row["p99"]], [place, place], color=color, alpha=0.35, linewidth=1)
                panel.plot(row["median"], place, _MARKS[row["family"]], color=color, markersize=5)
        _logarithmic(panel.xaxis)
        panel.set_title(f"{edge} px")
        panel.grid(axis="x", alpha=0.3)
        panel.set_xlabel("µs per window (line: to p99)")
    panels[0].set_yticks(range(len(labels)), labels)
    for tick, row in zip(panels[0].get_yticklabels(), order, strict=True):
        tick.set_color(OURS_COLOR if row["peer"] == OURS else "black")
    _legend(figure)


def _color(row: Row) -> str:
    return {OURS: OURS_COLOR, "bare codec": FLOOR_COLOR, "NumPy memmap": FLOOR_COLOR}.get(
        row["peer"], PEER_COLOR
    )


def _logarithmic(axis: Any) -> None:
    """Scale an axis by powers of ten, written as 10, 1k, 1M."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    axis.set_major_formatter(FuncFormatter(lambda value, place: _short(value)))
    axis.set_minor_formatter(NullFormatter())


def _short(value: float) -> str:
    for unit, name in ((1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:g}{name}"
    return f"{value:g}"


def _legend(figure: Any) -> None:
    from matplotlib.lines import Line2D

    kinds = {"raw": "uncompressed", "lossless": "lossless", "jpeg": "JPEG", "whole": "decode all"}
    colors = {OURS: OURS_COLOR, "peers": PEER_COLOR, "floor": FLOOR_COLOR}
    marks = [
        *(Line2D([], [], color="black", marker=_MARKS[kind], linestyle="", label=text, fillstyle="none")
          for kind, text in kinds.items()),
        *(Line2D([], [], color=color, linewidth=5, label=text) for text, color in colors.items()),
    ]  # fmt: skip
    figure.legend(handles=marks, loc="outside upper center", ncols=7, frameon=False)


def _time_and_size(figure: Any, rows: list[Row]) -> None:
    """Draw what a window costs over what the file takes; ours are named, and the fastest peers."""
    rows = pick(of_main_picture(rows), placement="random", cache=UNCACHED, family=("raw", "lossless", "jpeg"))
    edges = {row["window"] for row in rows}
    middle = 256 if 256 in edges else min(edges)
    rows = pick(rows, window=middle, peer=lambda peer: peer != "bare codec")
    figure.set_size_inches(9, 5)
    panel = figure.subplots()
    for row in rows:
        mine = row["peer"] == OURS
        panel.plot(row["nbytes"] / 1e6, row["median"], _MARKS[row["family"]], markersize=7 if mine else 5,
                   color=_color(row), alpha=0.9 if mine else 0.6)  # fmt: skip
    named = [(row, row["stored"]) for row in rows if row["peer"] == OURS and row["written_by_us"]]
    for family in _MARKS:
        peers = pick(rows, family=family, peer=is_peer)
        if peers:
            best = min(peers, key=lambda row: float(row["median"]))
            named.append((best, best["peer"]))
    for (x, y, color), names in _joined(named).items():
        panel.annotate(names, (x, y), xytext=(6, -3), color=color, textcoords="offset points")
    _logarithmic(panel.xaxis)
    _logarithmic(panel.yaxis)
    panel.margins(x=0.1)
    panel.set_xlabel("MB on disk")
    panel.set_ylabel(f"µs for a window of {middle} px")
    panel.grid(alpha=0.3)
    _legend(figure)


def _joined(named: list[tuple[Row, str]]) -> dict[tuple[float, float, str], str]:
    """Join the names of points that lie on one another: place and colour -> names."""
    places: dict[tuple[int, int], tuple[float, float, str]] = {}
    joined: dict[tuple[float, float, str], str] = {}
    for row, name in named:
        x, y = row["nbytes"] / 1e6, row["median"]
        near = round(20 * math.log10(x)), round(20 * math.log10(y))
        place = places.setdefault(near, (x, y, _color(row)))
        joined[place] = f"{joined[place]}, {name}" if place in joined else name
    return joined


def _cold(figure: Any, rows: list[Row]) -> None:
    """Draw how much is read from the disk, by reader."""
    rows = sorted(rows, key=lambda row: -float(row["disk_per_useful"]))
    figure.set_size_inches(9, 0.8 + 0.22 * len(rows))
    panel = figure.subplots()
    for place, row in enumerate(rows):
        panel.plot(row["disk_per_useful"], place, _MARKS[row["family"]], color=_color(row), markersize=5)
        panel.annotate(shown(row["disk_per_useful"]), (row["disk_per_useful"], place), xytext=(7, -3),
                       textcoords="offset points")  # fmt: skip
    panel.set_yticks(range(len(rows)), [row["label"] for row in rows])
    _logarithmic(panel.xaxis)
    panel.margins(x=0.1, y=0.02)
    panel.grid(axis="x", alpha=0.3)
    panel.set_xlabel("bytes from the disk per byte of pixels, page cache cold")


def _conversion(figure: Any, rows: list[Row]) -> None:
    """Draw seconds by converter, for each source."""
    sources = {source: pick(rows, source=source) for source in dict.fromkeys(row["source"] for row in rows)}
    figure.set_size_inches(9, 1.2 + 0.24 * len(rows))
    heights = [len(found) for found in sources.values()]
    panels = figure.subplots(len(sources), 1, squeeze=False, height_ratios=heights)[:, 0]
    for panel, (source, found) in zip(panels, sources.items(), strict=True):
        found = sorted(found, key=lambda row: -float(row["median"]))
        bars = panel.barh([row["label"] for row in found], [row["median"] for row in found],
                          color=[_color(row) for row in found])  # fmt: skip
        panel.bar_label(bars, [shown(row["median"]) for row in found], padding=3)
        panel.set_title(f"from {source}", loc="left")
        panel.margins(x=0.1)
    panels[-1].set_xlabel("seconds to convert, all cores")


def _growth(figure: Any, rows: list[Row]) -> None:
    """Draw times over sizes; the axis of times begins at nothing, so that flat looks flat."""
    kinds = [kind for kind in ("files", "megapixels") if pick(rows, kind=kind)]
    figure.set_size_inches(9, 3.4)
    panels = figure.subplots(1, len(kinds), squeeze=False, sharey=True)[0]
    for panel, kind in zip(panels, kinds, strict=True):
        series: dict[str, list[Row]] = {}
        for row in pick(rows, kind=kind):
            series.setdefault(f"{row['stored']}, {row['mode']}", []).append(row)
        for number, (name, found) in enumerate(series.items()):
            panel.plot([row["size"] for row in found], [row["median"] for row in found], label=name,
                       marker="os^Dvx"[number % 6], color=_SERIES[number % 6])  # fmt: skip
        _logarithmic(panel.xaxis)
        panel.set_ylim(bottom=0)
        panel.set_xlabel(kind)
        panel.grid(alpha=0.3)
        panel.legend(frameon=False)
    panels[0].set_ylabel("µs per window of 256 px")
