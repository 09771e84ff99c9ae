"""Limits of a cache folder and what is removed for them, seen by listing files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner, Result

import manifests
import subregion
from subregion import CocoFrames, SimpleFrames, VideoFrames
from subregion.cache import gc, leases, removal
from subregion.cache.entries import Folder
from subregion.cache.gc import collect
from subregion.cache.leases import Book, Leases, book_of
from subregion.cache.ledger import Ledger
from subregion.cache.limits import parse_age, parse_size
from subregion.cli.main import app
from subregion.errors import ConfigError
from subregion.io.pool import POOL

BACKENDS = ["npy", "cog", "zarr", "jpeg"]
DAY = 86400.0


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(6):
        Image.fromarray(pixels(number)).save(folder / f"{number}.png")
    return folder


def pixels(number: int) -> NDArray[np.uint8]:
    return np.random.default_rng(number).integers(0, 255, (200, 400, 3), np.uint8)


def prepared(pictures: Path, workdir: Path, backend: Any = "cog", **options: Any) -> SimpleFrames:
    frames = SimpleFrames.from_folder(pictures, "*.png", workdir, backend, **options)
    frames.prepare()
    return frames


def cache(workdir: Path) -> Folder:
    return Folder(str(workdir / "_cache" / "frames"))


def sources_in(workdir: Path) -> set[str]:
    """The names of the sources of the entries that are there, with their data."""
    found = set()
    for place in workdir.glob("_cache/frames/??/*.json"):
        document = json.loads(place.read_bytes())
        assert (place.parent / document["data"]).exists()
        assert (place.parent / (document["data"] + ".sums")).exists()
        found.add(os.path.basename(document["source"]))
    return found


def files(workdir: Path) -> dict[Path, int]:
    return {
        place: place.stat().st_size
        for place in workdir.glob("_cache/frames/??/**/*")
        if place.is_file() and not place.is_symlink()
    }


def set_ages(workdir: Path, days: dict[str, float]) -> None:
    """Say when entries were last used."""
    for place in workdir.glob("_cache/frames/??/*.json"):
        document = json.loads(place.read_bytes())
        when = time.time() - days[os.path.basename(document["source"])] * DAY
        os.utime(place.parent / (document["data"] + ".sums"), (when, when))


def size_of(source: str, workdir: Path) -> int:
    """Bytes of all that belongs to the entry of a source."""
    for place in workdir.glob("_cache/frames/??/*.json"):
        if os.path.basename(json.loads(place.read_bytes())["source"]) == source:
            return sum(size for path, size in files(workdir).items() if place.stem in str(path))
    raise AssertionError(source)


def all_closed() -> None:
    POOL.forget(lambda key: True)
    for book in leases._BOOKS.values():
        book.settle()


AGES = {"0.png": 3.0, "1.png": 50.0, "2.png": 10.0, "3.png": 0.5, "4.png": 40.0, "5.png": 20.0}


@pytest.mark.parametrize("backend", BACKENDS)
def test_those_used_least_recently_go_first(backend: str, pictures: Path, workdir: Path) -> None:
    prepared(pictures, workdir, backend)
    set_ages(workdir, AGES)
    total = sum(files(workdir).values())
    most = total - size_of("1.png", workdir) - size_of("4.png", workdir) - 10
    before = set(files(workdir))
    report = collect(cache(workdir), max_size=most, dry_run=True)
    assert set(files(workdir)) == before
    again = collect(cache(workdir), max_size=most)
    assert (report.removed, report.removed_bytes, report.reasons) == (
        again.removed,
        again.removed_bytes,
        again.reasons,
    )
    assert again.removed == 3
    assert sources_in(workdir) == {"2.png", "0.png", "3.png"}
    assert again.kept_bytes == sum(files(workdir).values()) == total - again.removed_bytes
    assert collect(cache(workdir), max_size="0").kept == 0
    assert not files(workdir)


def test_older_than(pictures: Path, workdir: Path) -> None:
    prepared(pictures, workdir)
    set_ages(workdir, AGES)
    assert collect(cache(workdir), older_than="30d").reasons == {"older_than": 2}
    assert sources_in(workdir) == {"0.png", "2.png", "3.png", "5.png"}
    assert collect(cache(workdir), older_than=DAY).removed == 3
    assert sources_in(workdir) == {"3.png"}


@pytest.mark.parametrize("how", ["read", "prepare"])
def test_reading_is_using(how: str, pictures: Path, workdir: Path) -> None:
    frames = prepared(pictures, workdir)
    set_ages(workdir, dict.fromkeys(AGES, 40.0))
    if how == "read":
        frames.load_region("4.png", (slice(0, 5), slice(0, 5)))
        all_closed()
    else:
        frames.prepare(["4.png"], use_stamp=False)
    collect(cache(workdir), older_than="30d")
    assert sources_in(workdir) == {"4.png"}


def test_orphans(pictures: Path, workdir: Path, tmp_path: Path) -> None:
    prepared(pictures, workdir)
    other = tmp_path / "disk"
    other.mkdir()
    Image.fromarray(pixels(9)).save(other / "a.png")
    SimpleFrames.from_folder(other, "*.png", workdir, "cog").prepare()
    assert collect(cache(workdir), orphaned=True).removed == 0
    (pictures / "2.png").unlink()
    (other / "a.png").unlink()  # an empty folder is what is left of a disk that is not mounted
    assert collect(cache(workdir), orphaned=True).reasons == {"orphaned": 1}
    assert sources_in(workdir) == {"0.png", "1.png", "3.png", "4.png", "5.png", "a.png"}
    other.rmdir()
    pictures.rename(tmp_path / "moved")
    assert collect(cache(workdir), orphaned=True).removed == 0


READER = """
import sys
from subregion import SimpleFrames
frames = SimpleFrames.from_folder(sys.argv[1], "*.png", sys.argv[2], sys.argv[3])
frames.load_region("3.png", (slice(0, 5), slice(0, 5)))
print("ready", flush=True)
sys.stdin.readline()
print(int(frames.load_region("3.png").sum()), int(frames.load_region("3.png", scale=1 / 2).sum()))
"""


def reader(pictures: Path, workdir: Path, backend: str) -> subprocess.Popen[str]:
    running = subprocess.Popen(
        [sys.executable, "-c", READER, str(pictures), str(workdir), backend],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert running.stdout is not None
    assert running.stdout.readline() == "ready\n"
    return running


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_in_use_is_kept(backend: str, pictures: Path, workdir: Path) -> None:
    frames = prepared(pictures, workdir, backend)
    expected = frames.load_region("3.png").sum(), frames.load_region("3.png", scale=1 / 2).sum()
    all_closed()
    running = reader(pictures, workdir, backend)
    report = collect(cache(workdir), max_size=0)
    assert (report.removed, report.kept, report.in_use) == (5, 1, 1)
    assert sources_in(workdir) == {"3.png"}
    said, _ = running.communicate("\n", timeout=60)
    assert tuple(map(int, said.split())) == expected
    assert not [
        place for place in (workdir / "_cache/frames/leases").iterdir() if str(running.pid) in place.name
    ]
    assert collect(cache(workdir), max_size=0).removed == 1


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX")
def test_what_a_killed_process_used_is_not(pictures: Path, workdir: Path) -> None:
    prepared(pictures, workdir)
    running = reader(pictures, workdir, "cog")
    running.send_signal(signal.SIGKILL)
    running.wait()
    report = collect(cache(workdir), max_size=0)
    assert (report.removed, report.in_use) == (6, 0)
    assert not [
        place for place in (workdir / "_cache/frames/leases").iterdir() if str(running.pid) in place.name
    ]


def test_a_process_with_the_number_of_another_is_another(pictures: Path, workdir: Path) -> None:
    prepared(pictures, workdir)
    name = next(workdir.glob("_cache/frames/??/*.tif")).name
    place, pid, _ = leases.name_of_this_process().split("-")
    folder = workdir / "_cache/frames/leases"
    folder.mkdir(exist_ok=True)
    (folder / f"{place}-{pid}-1").write_text(f"+{name}\n")
    assert collect(cache(workdir), max_size=0).removed == 6


def test_leases_of_other_hosts_end_after_a_day(pictures: Path, workdir: Path) -> None:
    prepared(pictures, workdir)
    name = next(workdir.glob("_cache/frames/??/*.tif")).name
    lease = workdir / "_cache/frames/leases/elsewhere_1-12-345"
    lease.parent.mkdir(exist_ok=True)
    lease.write_text(f"+{name}\n+{name}\n-{name}\n")
    report = collect(cache(workdir), max_size=0)
    assert (report.removed, report.in_use) == (5, 1)
    old = time.time() - DAY - 60
    os.utime(lease, (old, old))
    assert collect(cache(workdir), max_size=0).removed == 1
    assert not lease.exists()


def test_what_is_let_go_of_is_in_use_no_more(pictures: Path, workdir: Path) -> None:
    frames = prepared(pictures, workdir)
    frames.load_region("0.png")
    frames.load_region("1.png")
    assert collect(cache(workdir), max_size=0).in_use == 2
    frames.backend = "npy"  # forgets what is open
    assert collect(cache(workdir), max_size=0).kept == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks are POSIX")
def test_a_forked_child_has_leases_of_its_own(pictures: Path, workdir: Path) -> None:
    frames = prepared(pictures, workdir)
    frames.load_region("0.png")
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            frames.load_region("1.png")
            os.write(theirs, b"x")
            os.read(ours, 0)
            signal.pause()
            status = 0
        finally:
            os._exit(status)
    os.read(ours, 1)
    try:
        collect(cache(workdir), max_size=0)
        assert sources_in(workdir) == {"0.png", "1.png"}
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(ours)
        os.close(theirs)
    collect(cache(workdir), max_size=0)
    assert sources_in(workdir) == {"0.png"}
    np.testing.assert_array_equal(frames.load_region("0.png"), pixels(0))


def test_a_lease_is_written_before_the_entry_is_relied_on(
    pictures: Path, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is removed between look-up and lease; then the lease comes while it is being removed."""
    frames = prepared(pictures, workdir)
    hold = Book.hold
    times: list[str] = []

    def late(book: Book, name: str, size: int) -> Any:
        if not times:
            times.append(name)
            assert collect(cache(workdir), max_size=0).kept == 0
        return hold(book, name, size)

    monkeypatch.setattr(Book, "hold", late)
    np.testing.assert_array_equal(frames.load_region("2.png"), pixels(2))
    assert sources_in(workdir) == {"2.png"}
    monkeypatch.undo()
    all_closed()
    aside = removal.set_aside
    held = []

    def and_then(manifest: str, key: str, unfinished: str, owner: str) -> str:
        place = aside(manifest, key, unfinished, owner)
        (data,) = workdir.glob(f"_cache/frames/??/{key}.*.tif")
        held.append(book_of(str(frames.cache_dpath)).hold(data.name, 1))
        return place

    monkeypatch.setattr(gc, "set_aside", and_then)
    assert collect(cache(workdir), max_size=0).removed == 0
    assert held
    assert sources_in(workdir) == {"2.png"}


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX")
def test_a_killed_collector_leaves_nothing(pictures: Path, workdir: Path) -> None:
    prepared(pictures, workdir)
    code = (
        "import os, sys\n"
        "from subregion.cache import gc\n"
        "from subregion.cache.entries import Folder\n"
        "gc._Collection._take_away = lambda *each: os.kill(os.getpid(), 9)\n"
        "gc.collect(Folder(sys.argv[1]), max_size=0)\n"
    )
    folder = workdir / "_cache/frames"
    subprocess.run([sys.executable, "-c", code, str(folder)], check=False)
    assert sources_in(workdir) == set()
    frames = prepared(pictures, workdir)
    assert len(sources_in(workdir)) == 6
    assert not list((folder / "unfinished").iterdir())
    assert not list((folder / "locks").iterdir())
    np.testing.assert_array_equal(frames.load_region("2.png"), pixels(2))


def test_what_is_not_ours_is_left(pictures: Path, workdir: Path, tmp_path: Path) -> None:
    prepared(pictures, workdir)
    folder = workdir / "_cache/frames"
    manifest = next(folder.glob("??/*.json"))
    strange = [
        folder / "notes.txt",
        manifest.parent / "notes.txt",
        manifest.parent / f"{manifest.stem}.tif",
        manifest.parent / f"{manifest.stem}.0123456789abcdef.tif.bak",
        manifest.parent / f"{'f' * 40}.{'0' * 16}.tif",  # of our form, in the home of others
        manifest.parent / f"{manifest.parent.name}{'1' * 38}.json",  # text of somebody
        folder / "zz" / "a.tif",
    ]
    fresh = manifest.parent / f"{manifest.parent.name}{'2' * 38}.{'0' * 16}.tif"
    for place in [*strange, fresh]:
        place.parent.mkdir(exist_ok=True)
        place.write_text("mine")
    collect(cache(workdir), max_size=0)
    assert all(place.read_text() == "mine" for place in [*strange, fresh])
    assert not list(folder.glob("??/*.sums"))
    old = time.time() - 2 * DAY
    for place in [*strange, fresh]:
        os.utime(place, (old, old))
    report = collect(cache(workdir), older_than="9000d")
    assert report.reasons == {"leftover": 1}
    assert not fresh.exists()
    collect(cache(workdir), max_size=0)
    assert [place.exists() for place in strange] == [True] * 5 + [False, True]
    assert sorted(pictures.iterdir())


def test_a_damaged_manifest_is_removed_after_a_day(pictures: Path, workdir: Path) -> None:
    prepared(pictures, workdir)
    manifest = next(workdir.glob("_cache/frames/??/*.json"))
    manifest.write_bytes(manifest.read_bytes()[:-9])
    assert collect(cache(workdir), max_size=0).kept == 1
    old = time.time() - 2 * DAY
    for place in manifest.parent.glob(f"{manifest.stem}*"):
        os.utime(place, (old, old))
    assert collect(cache(workdir), max_size=0).kept == 0
    assert not files(workdir)


def test_entries_of_other_versions_are_removed(pictures: Path, workdir: Path) -> None:
    prepared(pictures, workdir)
    manifest = next(workdir.glob("_cache/frames/??/*.json"))
    document = json.loads(manifest.read_bytes()) | {"version": 99, "kind": "new", "sums": "other"}
    manifest.write_bytes(manifests.manifest(document))
    assert collect(cache(workdir), max_size=0).removed == 6
    assert not files(workdir)


@pytest.mark.skipif(os.name == "nt", reason="links are POSIX")
@pytest.mark.parametrize("backend", ["cog", "zarr"])
def test_links_are_not_followed(backend: str, pictures: Path, workdir: Path, tmp_path: Path) -> None:
    prepared(pictures, workdir, backend)
    homes = sorted(place for place in workdir.glob("_cache/frames/??") if any(place.iterdir()))
    homes[0].rename(tmp_path / "elsewhere")
    homes[0].symlink_to(tmp_path / "elsewhere")
    data = next(place for place in homes[1].iterdir() if place.suffix in (".tif", ".zarr"))
    data.rename(tmp_path / "data")
    data.symlink_to(tmp_path / "data")
    kept = sorted((tmp_path / "elsewhere").iterdir())
    report = collect(cache(workdir), max_size=0)
    assert sorted((tmp_path / "elsewhere").iterdir()) == kept
    assert (tmp_path / "data").exists()
    assert data.is_symlink()
    assert {place.split(":")[0] for place in report.left_alone} == {str(homes[0]), str(data)}
    assert "left alone: 2" in str(report)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_workdir_is_read(pictures: Path, workdir: Path) -> None:
    frames = prepared(pictures, workdir)
    for place in [workdir, *workdir.rglob("*")]:
        place.chmod(0o555 if place.is_dir() else 0o444)
    np.testing.assert_array_equal(frames.load_region("1.png"), pixels(1))


@pytest.mark.parametrize("what", ["a file", "a link"])
def test_reading_goes_on_without_leases(what: str, pictures: Path, workdir: Path, tmp_path: Path) -> None:
    frames = prepared(pictures, workdir)
    folder = workdir / "_cache/frames/leases"
    if folder.is_dir():
        for place in folder.iterdir():
            place.unlink()
        folder.rmdir()
    if what == "a file":
        folder.write_text("")
    else:
        (tmp_path / "other").mkdir()
        folder.symlink_to(tmp_path / "other")
    np.testing.assert_array_equal(frames.load_region("1.png"), pixels(1))
    assert what == "a file" or not list((tmp_path / "other").iterdir())


def test_a_lease_that_was_deleted_is_written_anew(pictures: Path, workdir: Path) -> None:
    frames = prepared(pictures, workdir)
    frames.load_region("0.png")
    for place in (workdir / "_cache/frames/leases").iterdir():
        place.unlink()
    frames.load_region("1.png")
    collect(cache(workdir), max_size=0)
    assert sources_in(workdir) == {"0.png", "1.png"}


def test_leases_stay_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "MOST_BYTES", 2000)
    book = Book(str(tmp_path))
    first = book.hold(f"{'0' * 40}.{'0' * 16}.tif", 10)
    for number in range(1000):
        book.hold(f"{number:040x}.{'1' * 16}.tif", 5)
    book.settle()
    (path,) = (tmp_path / "leases").iterdir()
    assert path.stat().st_size < 3000
    found = Leases(str(tmp_path))
    found.read()
    assert found.names == {f"{'0' * 40}.{'0' * 16}.tif"}
    assert book.nbytes == 10
    del first
    book.settle()
    found.read()
    assert not found.names
    book.close()
    assert not list((tmp_path / "leases").iterdir())


# --- max_size -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", [*BACKENDS, "auto"])
def test_a_limit_holds_while_preparing(backend: str, pictures: Path, workdir: Path, tmp_path: Path) -> None:
    each = sum(files_of(prepared(pictures, tmp_path / "free", backend)).values()) // 6
    most = int(each * 3.5)
    frames = SimpleFrames.from_folder(pictures, "*.png", workdir, backend, max_size=most)
    for name in frames.image_ids:
        frames.prepare([name], progress=False)
        assert sum(files(workdir).values()) <= most
    assert "5.png" in sources_in(workdir)
    assert "0.png" not in sources_in(workdir)
    for name in frames.image_ids:
        np.testing.assert_array_equal(frames.load_region(name).shape, pixels(0).shape)
        assert sum(files(workdir).values()) <= most
    frames.backend = backend
    assert frames._store.max_size == most


def files_of(frames: SimpleFrames) -> dict[Path, int]:
    return files(frames.workdir)


def test_a_stamp_does_not_claim_what_was_removed(pictures: Path, workdir: Path) -> None:
    stamps = workdir / "_cache/frames/stamps"
    prepared(pictures, workdir, max_size="400KB")
    assert not stamps.exists()
    frames = prepared(pictures, workdir)
    assert len(list(stamps.iterdir())) == 1
    set_ages(workdir, AGES)
    collect(cache(workdir), older_than="30d")
    assert len(sources_in(workdir)) == 4
    frames.prepare()
    assert len(sources_in(workdir)) == 6


def test_a_limit_smaller_than_any_entry(pictures: Path, workdir: Path) -> None:
    frames = SimpleFrames.from_folder(pictures, "*.png", workdir, "cog", max_size=1)
    for _ in range(2):
        for number in range(6):
            np.testing.assert_array_equal(frames.load_region(f"{number}.png"), pixels(number))
            assert len(sources_in(workdir)) <= 2
    frames.prepare()
    assert len(sources_in(workdir)) == 1


def test_others_who_know_of_no_limit_are_counted(pictures: Path, workdir: Path) -> None:
    bounded = SimpleFrames.from_folder(pictures, "*.png", workdir, "cog", max_size="1GB")
    bounded.prepare(["0.png"])
    ledger = Ledger(str(bounded.cache_dpath))
    SimpleFrames.from_folder(pictures, "*.png", workdir, "cog").prepare()
    counted = ledger.read()
    assert counted is not None
    assert counted[0] == sum(files(workdir).values())
    collect(cache(workdir), max_size=0)
    assert ledger.read() == (0, True)


@pytest.mark.parametrize(
    "harm", ["", "counted 1 at 5.0, none before 5.0\n", "counted 1", "\0" * 100, "-5\n+7\n"]
)
def test_a_ledger_that_cannot_be_believed_is_written_anew(harm: str, pictures: Path, workdir: Path) -> None:
    prepared(pictures, workdir)
    ledger = workdir / "_cache/frames/ledger"
    ledger.write_text(harm)
    Image.fromarray(pixels(7)).save(pictures / "7.png")
    total = sum(files(workdir).values())
    SimpleFrames.from_folder(pictures, "7.png", workdir, "cog", max_size=total).prepare()
    assert sum(files(workdir).values()) <= total
    counted = Ledger(str(ledger.parent)).read()
    assert counted is not None
    assert counted[0] == sum(files(workdir).values())


def test_all_collections_take_a_limit(pictures: Path, workdir: Path, tmp_path: Path) -> None:
    path = str(pictures / "0.png")
    images = [{"id": 1, "file_name": path}]
    makers: Iterator[Any] = iter(
        [
            lambda limit: SimpleFrames({1: path}, workdir, "cog", max_size=limit),
            lambda limit: SimpleFrames.from_folder(pictures, "*", workdir, "cog", max_size=limit),
            lambda limit: CocoFrames({"images": images}, workdir, "cog", max_size=limit),
            lambda limit: VideoFrames({}, workdir, "cog", max_size=limit),
            lambda limit: subregion.open(path, "cog", workdir, max_size=limit),
        ]
    )
    for make in makers:
        make("200GB")
        with pytest.raises(ConfigError, match="max_size='200 apples'"):
            make("200 apples")


@pytest.mark.parametrize(
    ("text", "nbytes"),
    [
        (5, 5),
        (np.int64(7), 7),
        ("0", 0),
        ("12", 12),
        ("200GB", 200 * 10**9),
        ("1.5TB", 1_500_000_000_000),
        ("500MB", 500_000_000),
        ("2GiB", 2 << 30),
        ("3 kb", 3000),
        (" 1.5 KiB ", 1536),
        ("2T", 2 * 10**12),
        (None, None),
    ],
)
def test_sizes(text: Any, nbytes: int | None) -> None:
    assert parse_size(text) == nbytes


@pytest.mark.parametrize(
    "value",
    ["", "GB", "-5", "5 apples", "1e9", "1..5GB", -1, 1.5, True, [1], "9" * 30, 1 << 70, "\u0661GB", b"5"],
)
def test_no_sizes(value: Any) -> None:
    with pytest.raises(ConfigError, match="max_size="):
        parse_size(value)


@pytest.mark.parametrize(("text", "seconds"), [("30d", 30 * DAY), ("1.5h", 5400), ("2w", 14 * DAY), (60, 60)])
def test_ages(text: Any, seconds: float) -> None:
    assert parse_age(text) == seconds


@pytest.mark.parametrize("value", ["", "30", "30 years", -1, float("nan"), float("inf"), True, [1]])
def test_no_ages(value: Any) -> None:
    with pytest.raises(ConfigError, match="older_than="):
        parse_age(value)


# --- command line ---------------------------------------------------------------------------------------


def run(*args: object) -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args], prog_name="subregion")


def test_command(pictures: Path, workdir: Path) -> None:
    prepared(pictures, workdir)
    set_ages(workdir, AGES)
    before = set(files(workdir))
    result = run("gc", workdir, "--older-than", "30d", "--dry-run")
    assert result.exit_code == 0, result.output
    assert "would remove 2 copies" in result.stdout
    assert set(files(workdir)) == before
    result = run("gc", workdir, "--older-than", "30d", "--max-size", "200GB", "--orphaned", "--json")
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert (said["removed"], said["kept"], said["reasons"]) == (2, 4, {"older_than": 2})
    assert said["kept_bytes"] == sum(files(workdir).values())
    assert run("gc", workdir).exit_code == 2
    for args in (("--max-size", "many"), ("--older-than", "long")):
        result = run("gc", workdir, *args)
        assert result.exit_code == 1
        assert args[1] in result.stderr
        assert len(result.stderr.splitlines()) == 1
    assert run("gc", pictures, "--orphaned").exit_code == 1


def test_command_prepare_with_a_limit(pictures: Path, workdir: Path) -> None:
    result = run(
        "prepare", pictures, "--workdir", workdir, "--backend", "cog", "--max-size", "500KB", "--json"
    )
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert said["converted"] == len(sources_in(workdir))
    assert said["removed"] == 6 - said["converted"] > 0
    assert sum(files(workdir).values()) <= 500_000
