"""The benchmark suite: its statistics, its judgement, its readers, and a small run from end to end."""

from __future__ import annotations

import itertools
import json
import os
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from benchmarks import machine, stored, suite
from benchmarks.cases import cold
from benchmarks.interleaved import Team, random_places, sliding_places
from benchmarks.peers import OURS, OWN_CACHE_VARIABLE, PEERS, Contender
from benchmarks.pictures import Picture, as_png, make_picture
from benchmarks.plots import draw
from benchmarks.report import break_even, markdown
from benchmarks.run import Options, Row, Run
from benchmarks.samples import ratio, summarize
from benchmarks.stored import Stored, ways, why_missing
from benchmarks.targets import judge
from benchmarks.worker import WorkerError, apart
from subregion.cli.demo import plain_decode
from subregion.cli.main import app
from subregion.errors import ConfigError, SourceNotFoundError

ABSENT = ("rasterio", "tensorstore", "openslide", "ndsampler", "osgeo", "zarr")


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Picture:
    return make_picture("relief:192", str(tmp_path_factory.mktemp("picture")))


def bench(*args: object) -> Result:
    return CliRunner().invoke(app, ["bench", *map(str, args)], prog_name="subregion")


# --- statistics ---------------------------------------------------------------------------------------


@given(st.lists(st.lists(st.floats(1, 1e6), min_size=1, max_size=30), min_size=1, max_size=9))
def test_a_sample_agrees_with_numpy(rounds: list[list[float]]) -> None:
    sample = summarize(rounds)
    medians = [float(np.median(taken)) for taken in rounds]
    assert sample.repeats == pytest.approx(medians)
    assert sample.median == pytest.approx(np.median(medians))
    everything = np.concatenate([np.asarray(taken) for taken in rounds])
    assert sample.p99 == np.percentile(everything, 99, method="inverted_cdf")
    assert sample.spread == pytest.approx((max(medians) - min(medians)) / np.median(medians))
    assert sample.count == everything.size


def test_ratios_are_taken_in_pairs() -> None:
    # The machine was ten times slower in the second repeat; both sides were.
    assert ratio([1.0, 10.0, 1.0], [2.0, 20.0, 2.0]) == 0.5
    with pytest.raises(ValueError, match="argument 2"):
        ratio([1.0], [1.0, 2.0])


@given(st.integers(64, 400), st.integers(64, 400), st.sampled_from([16, 32, 64]), st.integers(1, 60))
def test_places_lie_inside(rows: int, cols: int, edge: int, count: int) -> None:
    anywhere = random_places((rows, cols), edge, count)
    aligned = random_places((rows, cols), edge, count, aligned=True)
    sliding = sliding_places((rows, cols), edge, count)
    for row, col, height, width in anywhere + aligned + sliding:
        assert (height, width) == (edge, edge)
        assert 0 <= row <= rows - edge
        assert 0 <= col <= cols - edge
    assert len(anywhere) == len(aligned) == len(sliding) == count
    assert all(row % edge == col % edge == 0 for row, col, *_ in aligned)
    for before, after in itertools.pairwise(sliding):
        beside = after[0] == before[0] and after[1] - before[1] == edge // 2
        assert beside or after[1] == sliding[0][1]


# --- judgement ----------------------------------------------------------------------------------------


def row(peer: str, name: str, *repeats: float, **labels: Any) -> Row:
    sample = summarize([[figure] for figure in repeats])
    return {
        "benchmark": "windows", "picture": "relief", "peer": peer, "stored": name, "label": f"{peer}, {name}",
        "family": "lossless", "cache": "off", "window": 256, "placement": "random", "written_by_us": True,
        "nbytes": 1000, "store_seconds": 2.0, "differs": 0, "peak_mb": 50.0, "unit": "µs",
        "megapixels": 1.0, "pixel_bytes": 3000,
        "repeats": sample.repeats, "median": sample.median, "p99": sample.p99, "spread": sample.spread,
    } | labels  # fmt: skip


def test_promises_are_judged_by_the_fastest_peer() -> None:
    rows = [
        row(OURS, "zarr LZ4", 10.0, 20.0, 10.0),
        row("rasterio", "GDAL ZSTD 128", 40.0, 80.0, 40.0),
        row("TensorStore", "zarr LZ4 256", 30.0, 40.0, 30.0),
        row("TensorStore", "zarr LZ4 256", 1.0, 1.0, 1.0, cache="on"),
        row("bare codec", "zarr LZ4", 9.0, 10.0, 9.0, cache="none"),
        row("rasterio", "GDAL ZSTD 128", 1.0, 1.0, 1.0, picture="another"),
    ]
    judged = {line["target"]: line for line in judge(rows)}
    lossless = judged["`zarr` LZ4 : fastest peer on any lossless file, 256 px"]
    assert lossless["measured"] == pytest.approx(1 / 3)
    assert lossless["against"] == "TensorStore, zarr LZ4 256"
    assert lossless["holds"] is True
    codec = judged["`zarr` LZ4 : the bare codec on the same blocks, 256 px"]
    assert codec["measured"] == pytest.approx(10 / 9)
    absent = judged["`npy` : memmap, slice and copy, 256 px"]
    assert absent["holds"] is None
    assert absent["why"].startswith("not measured: ")
    slower = judge([row(OURS, "cog ZSTD", 5.0), row("rasterio", "cog ZSTD", 4.0)])
    (line,) = (
        line for line in slower if line["target"] == "`cog` ZSTD : rasterio on the same blocks, 256 px"
    )
    assert line["holds"] is False


def test_growth_and_memory_are_judged_by_the_worst() -> None:
    growth = [
        row(OURS, "cog", figure, benchmark="growth", kind="files", size=size, mode="open")
        for size, figure in ((1, 10.0), (10, 10.5), (100, 12.0), (1000, 11.0))
    ]
    memory = [
        row(OURS, "npy", 1.0, benchmark=benchmark, peak_mb=peak, source="PNG")
        for benchmark, peak in (("conversion", 600.0), ("large", 300.0))
    ]
    judged = {line["target"]: line for line in judge(growth + memory)}
    flat = judged["more files, windows of open ones, `cog`: slowest : smallest"]
    assert (flat["measured"], flat["against"], flat["holds"]) == (
        pytest.approx(1.2),
        "100 and 1 files",
        False,
    )
    peak = judged["peak memory of any conversion"]
    assert (peak["measured"], peak["unit"], peak["holds"]) == (600.0, "MB", False)


def test_conversions_pay_after_so_many_windows() -> None:
    rows = [
        row("Pillow", "source", 250_000.0, family="whole", written_by_us=False),
        row("OpenCV", "source", 300_000.0, family="whole", written_by_us=False),
        row(OURS, "cog ZSTD", 500.0),
    ]
    # 2 seconds to convert, a quarter of a second saved each time, less half a millisecond.
    assert break_even(rows) == [("cog ZSTD", 2.0, 9)]


# --- readers ------------------------------------------------------------------------------------------


def test_every_peer_reads_every_file_alike(picture: Picture, tmp_path: Path) -> None:
    """All that are installed, in this process; in a run each has its own."""
    places = [(0, 0, 64, 64), (100, 37, 64, 64), (128, 128, 64, 64)]
    met = set()
    for way in ways(picture):
        if way.missing is not None:
            continue
        kept = way.keep(picture, str(tmp_path))
        reference = np.load(kept.reference)
        assert kept.nbytes > 0
        for peer in PEERS.values():
            if peer.missing is not None or not peer.reads(kept) or not peer.pixels:
                continue
            met.add(peer.name)
            contender = Contender(peer.name, kept, peer.caches[0])
            opened = contender.open()
            for top, left, high, wide in places:
                pixels = np.asarray(opened.read(top, left, high, wide))
                expected = reference[top : top + high, left : left + wide]
                if contender.exact:
                    np.testing.assert_array_equal(pixels, expected, err_msg=contender.label)
                else:
                    assert pixels.shape == expected.shape
                    assert np.abs(pixels.astype(float) - expected).mean() < 1, contender.label
            if opened.read_many is not None:
                together = opened.read_many(places, 2)
                assert len(together) == len(places)
                first = reference[:64, :64]
                assert np.abs(np.asarray(together[0]).astype(float) - first).mean() < 1
            opened.close()
    assert {OURS, "NumPy memmap", "pyvips", "Pillow", "OpenCV"} <= met
    assert met >= {peer.name for peer in PEERS.values() if peer.missing is None and peer.pixels}


def test_the_bare_codec_decodes_the_blocks_of_the_windows(picture: Picture, tmp_path: Path) -> None:
    kept = [way.keep(picture, str(tmp_path)) for way in ways(picture) if way.name in ("cog ZSTD", "zarr LZ4")]
    for item in kept:
        calls = PEERS["bare codec"].open(item, 0).prepared([(0, 0, 64, 64), (64, 64, 128, 128)])
        assert len(calls) == 2
        for call in calls:
            call()


def test_wrong_pixels_are_noticed(picture: Picture, tmp_path: Path) -> None:
    wrong = picture.pixels().copy()
    wrong[70, 80, 1] ^= 1
    reference = tmp_path / "wrong.npy"
    np.save(reference, wrong)
    right = Stored("npy", "npy", "raw", picture.reference, 1, picture.reference, True, 0.0, picture.source)
    run = Run(Options(), str(tmp_path), lambda text: None)
    contenders = [
        Contender("NumPy memmap", right, "none"),
        Contender("NumPy memmap", replace(right, name="altered", reference=str(reference)), "none"),
    ]
    with Team(run, contenders) as team:
        assert list(team.check([(64, 64, 64, 64)])) == contenders[:1]
        answers = team.rounds(2, "run", [(0, 0, 64, 64)] * 3, 1.0)
    assert list(answers) == contenders[:1]
    assert [len(times) for times in answers[contenders[0]]] == [3, 3]
    (failure,) = run.failures
    assert failure.startswith(
        "NumPy memmap, altered: ValueError: wrong pixels: the window of 64 x 64 at row 64"
    )
    assert run.compared == 1


def test_processes_begin_with_their_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(OWN_CACHE_VARIABLE, "12345678")
    assert apart(cache_limit, environment={OWN_CACHE_VARIABLE: "0"}) == 0
    assert os.environ[OWN_CACHE_VARIABLE] == "12345678"


def cache_limit() -> int:
    import subregion

    return subregion.cache_info().limit


def test_a_process_that_fails_says_why() -> None:
    with pytest.raises(WorkerError, match="SourceNotFoundError: .*none.png: no such file"):
        apart(plain_open, "none.png")


def plain_open(path: str) -> None:
    from subregion.formats.open import open_raster

    open_raster(path)


@pytest.mark.parametrize("name", ["uint16x5:64", "float32:64", "relief:100"])
def test_drawn_pictures_are_what_their_files_hold(name: str, tmp_path: Path) -> None:
    from subregion import SimpleFrames

    made = make_picture(name, str(tmp_path))
    np.testing.assert_array_equal(SimpleFrames({0: made.source}).load_region(0), made.pixels())
    assert made.dtype == str(made.pixels().dtype)
    if made.photographic:
        as_png(made, str(tmp_path / "a.png"))
        np.testing.assert_array_equal(plain_decode(str(tmp_path / "a.png")), made.pixels())


def test_pictures_that_are_not_there() -> None:
    with pytest.raises(ConfigError, match="known are shadedrelief"):
        make_picture("mona lisa", "/nowhere")
    with pytest.raises(ConfigError, match="at least 64"):
        make_picture("relief:3", "/nowhere")


def test_maps_that_are_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.pictures.find_spec", lambda name: None)
    with pytest.raises(SourceNotFoundError, match=r"pip install 'subregion\[bench\]'"):
        make_picture("shadedrelief", str(tmp_path))


# --- a run --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """A quick run in which most peers are missing."""
    output = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stored, "find_spec", lambda name: None if name in ABSENT else find_spec(name))
        result = bench("--quick", "--benchmark", "windows", "--peer", "NumPy memmap",
                       "--peer", "rasterio", "--picture", "relief:320", "--repeats", 2, "--output", output,
                       "--json")  # fmt: skip
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout), output


def test_a_run_from_end_to_end(outcome: tuple[dict[str, Any], Path]) -> None:
    document, output = outcome
    assert json.loads((output / "results.json").read_text()) == document
    assert document["failures"] == []
    assert "pip install 'subregion[bench]'" in document["missing"]["rasterio"]
    assert "GDAL ZSTD 128" in document["missing"]
    assert document["compared"] > 0
    peers = {line["peer"] for line in document["rows"]}
    assert peers == {OURS, "NumPy memmap"}
    kept = {line["stored"] for line in document["rows"]}
    assert {"npy", "cog ZSTD", "cog JPEG", "source"} <= kept
    for line in document["rows"]:
        assert len(line["repeats"]) == 2
        assert line["median"] > 0
    (floor,) = (line for line in document["targets"] if line["against"] == "NumPy memmap, npy")
    assert floor["measured"] > 0


def test_the_page_of_a_run(outcome: tuple[dict[str, Any], Path]) -> None:
    _, output = outcome
    page = (output / "benchmarks.md").read_text()
    assert "**subregion, cog ZSTD**" in page
    assert "| `npy` : memmap, slice and copy, 256 px | 1.30 |" in page
    assert "* rasterio: rasterio cannot be imported" in page
    for name in ("windows-by-reader", "windows-time-and-size"):
        assert f"(benchmarks/{name}.svg)" in page
        tree = ElementTree.parse(output / "benchmarks" / f"{name}.svg")
        assert any("npy" in (text.text or "") for text in tree.iter("{http://www.w3.org/2000/svg}text"))


def test_a_page_is_laid_out_anew(outcome: tuple[dict[str, Any], Path], tmp_path: Path) -> None:
    _, output = outcome
    result = bench("--results", output / "results.json", "--output", tmp_path)
    assert result.exit_code == 0, result.output
    assert "windows were compared with a plain decode" in result.stdout
    assert (tmp_path / "benchmarks.md").read_text() == (output / "benchmarks.md").read_text()
    assert not (tmp_path / "results.json").exists()


def test_pages_and_drawings_of_all_benchmarks(outcome: tuple[dict[str, Any], Path], tmp_path: Path) -> None:
    document, _ = outcome
    further = [
        row(OURS, "cog ZSTD", 90.0, benchmark="opening"),
        *(row(OURS, "cog ZSTD", 90.0, benchmark="batches", threads=threads) for threads in (0, 1, 2)),
        row(OURS, "cog ZSTD", 90.0, benchmark="cold", disk_bytes=9000.0, disk_per_useful=0.5,
            disk_per_touched=1.1, disk_per_touched_pages=1.0),
        row("gdal_translate", "COG ZSTD", 6.0, benchmark="conversion", source="PNG", source_bytes=1000,
            lossless=True),
        row(OURS, "cog", 6.0, benchmark="large", picture="60 x 80", source="PNG"),
        row(OURS, "cog", 90.0, benchmark="growth", kind="files", size=1, mode="open"),
        row(OURS, "cog", 91.0, benchmark="growth", kind="files", size=10, mode="open"),
        row(OURS, "jpeg 5", 90.0, benchmark="intervals", units=5, pixels=80, chosen=True, of_source=1.08),
        row(OURS, "cog", 3.0, benchmark="aligned"),
        row("", "", 3.0, benchmark="lazy", what="to_dask"),
        row("", "", 3.0, benchmark="beginnings", what="import subregion"),
        row("TensorStore", "zarr LZ4 256", 50.0, picture="relief:320", cache="on"),
        row("rasterio", "GDAL ZSTD 128", 50.0, picture="another"),
        row(OURS, "cog ZSTD", 40.0, picture="another"),
    ]  # fmt: skip
    document = document | {"rows": document["rows"] + further, "notes": ["cold: skipped"]}
    drawn = draw(document, tmp_path)
    assert set(drawn) == {"windows-by-reader", "windows-time-and-size", "cold", "conversion", "growth"}
    page = markdown(document, {name: path.name for name, path in drawn.items()})
    for title in ("First window", "Batches", "Cold page cache", "Conversion", "Large pictures: 60 x 80",
                  "Growth", "Restart intervals", "Channels on one grid", "Lazy arrays", "Beginnings",
                  "Not measured"):  # fmt: skip
        assert f"\n## {title}\n" in page
    assert "### Other pictures" in page
    assert "### Block caches" in page


def test_broken_promises_fail_where_that_is_asked_for(tmp_path: Path) -> None:
    rows = [row(OURS, "npy", 50.0, family="raw"), row("NumPy memmap", "npy", 10.0, family="raw")]
    document = {
        "machine": machine.facts(), "versions": {}, "rows": rows, "targets": [], "missing": {}, "notes": [],
        "failures": [], "compared": 0, "options": {"quick": True, "repeats": 1},
    }  # fmt: skip
    suite.write(document, tmp_path)
    args = ("--results", tmp_path / "results.json", "--output", tmp_path)
    assert bench(*args).exit_code == 0
    assert bench(*args, "--strict").exit_code == 1
    suite.write(document | {"failures": ["someone: wrong pixels"]}, tmp_path)
    failed = bench(*args)
    assert failed.exit_code == 1
    assert "someone: wrong pixels" in failed.stderr


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--benchmark", "boxing"), "benchmark 'boxing': known are windows"),
        (("--peer", "photoshop"), "peer 'photoshop'"),
        (("--picture", "mona"), "picture 'mona'"),
        (("--folder", "/no/such/folder"), "no such folder"),
        (("--results", "/no/such/results.json"), "no such file"),
        (("--results", __file__), "is not the results.json of a run"),
    ],
)
def test_wrong_choices_are_named(args: tuple[str, ...], said: str, tmp_path: Path) -> None:
    result = bench(*args, "--output", tmp_path)
    assert result.exit_code == 1
    assert said in result.stderr


def test_choices_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "find_spec", lambda name: None if name == "rasterio" else find_spec(name))
    listing = bench("--list").stdout
    for name in (*suite.BENCHMARKS, *PEERS, "shadedrelief"):
        assert name in listing
    assert "rasterio cannot be imported" in " ".join(listing.split())
    assert why_missing(("rasterio", "numpy")) is not None


def test_cold_reads_are_skipped_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "why_not_cold", lambda: "emptying the page cache takes root")
    run = Run(Options(quick=True), str(tmp_path), lambda text: None)
    cold.measure(run, "relief:320")
    assert run.notes == ["cold: skipped, emptying the page cache takes root"]
    assert run.rows == []
