"""A cache that can be trusted: changed sources, damaged entries, dead writers, full and locked folders."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import manifests
from pictures import save_png
from subregion import PrepareError, SimpleFrames, SubregionError
from subregion.cache.backend import parse_backend
from subregion.cache.checksums import Checksums
from subregion.cache.entries import Folder
from subregion.cache.metadata import Carried
from subregion.cache.origin import Origin
from subregion.cache.publish import publish
from subregion.cache.workdir import make_store
from subregion.errors import (
    CacheError,
    ConfigError,
    DamagedFileError,
    IdentityError,
    SourceNotFoundError,
    UnknownImageError,
)
from subregion.io.pool import POOL
from subregion.records import Asset
from subregion.views import AS_IT_IS

STORED = ["npy", "cog", "zarr"]


def save(path: Path, pixels: NDArray[np.uint8]) -> None:
    Image.fromarray(pixels).save(path)


def files(frames: SimpleFrames) -> list[Path]:
    """All files of a cache, without stamps and leases; a zarr folder counts as one."""
    found = []
    for place in frames.cache_dpath.rglob("*"):
        inside = any(parent.suffix == ".zarr" for parent in place.parents)
        if (
            (place.is_file() or place.suffix == ".zarr")
            and not inside
            and place.parent.name not in ("stamps", "leases")
        ):
            found.append(place)
    return sorted(found)


def data_files(frames: SimpleFrames) -> list[Path]:
    return [place for place in files(frames) if place.suffix in (".npy", ".tif", ".zarr")]


def pixel_file(data: Path) -> Path:
    """The file of an entry that holds the pixels of the full resolution."""
    return data / "0/c/0/0/0" if data.suffix == ".zarr" else data


def remove(place: Path) -> None:
    if place.is_dir():
        shutil.rmtree(place)
    else:
        place.unlink()


@pytest.fixture
def source(tmp_path: Path, photograph: NDArray[np.uint8]) -> Path:
    path = tmp_path / "picture.bmp"  # the size of the file depends on the size of the picture alone
    save(path, photograph)
    return path


@pytest.fixture(params=STORED)
def frames(request: pytest.FixtureRequest, source: Path, workdir: Path) -> SimpleFrames:
    return SimpleFrames({1: source}, workdir=workdir, backend=request.param)


@pytest.mark.parametrize("backend", [None, "npy", "cog", "zarr", "auto"])
@pytest.mark.parametrize("mode", ["PATH", "PIXELS"])
def test_a_source_that_was_replaced_is_read_anew(
    mode: str, backend: str | None, source: Path, workdir: Path, photograph: NDArray[np.uint8]
) -> None:
    frames = SimpleFrames({1: source}, workdir=workdir, backend=backend, hashid_mode=mode)
    np.testing.assert_array_equal(frames.load_region(1), photograph)
    size = source.stat().st_size
    save(source, 255 - photograph)
    assert source.stat().st_size == size
    np.testing.assert_array_equal(frames.load_region(1), 255 - photograph)
    fresh = SimpleFrames({1: source}, workdir=workdir, backend=backend, hashid_mode=mode)
    np.testing.assert_array_equal(fresh.load_image(1), 255 - photograph)


def test_pixels_mode_sees_a_change_behind_a_restored_date(
    source: Path, workdir: Path, photograph: NDArray[np.uint8]
) -> None:
    frames = SimpleFrames({1: source}, workdir=workdir, backend="npy", hashid_mode="PIXELS")
    frames.load_region(1)
    status = source.stat()
    time.sleep(0.05)  # the clock of the file system is coarse
    save(source, 255 - photograph)
    os.utime(source, ns=(status.st_atime_ns, status.st_mtime_ns))
    fresh = SimpleFrames({1: source}, workdir=workdir, backend="npy", hashid_mode="PIXELS")
    POOL.forget(lambda key: True)
    np.testing.assert_array_equal(fresh.load_region(1), 255 - photograph)


def test_pixels_mode_converts_equal_files_once(tmp_path: Path, source: Path, workdir: Path) -> None:
    twin = tmp_path / "twin.bmp"
    shutil.copy(source, twin)
    frames = SimpleFrames({1: source, 2: twin}, workdir=workdir, backend="npy", hashid_mode="PIXELS")
    frames.prepare()
    assert len(data_files(frames)) == 1


def test_given_mode_needs_no_source_once_converted(
    source: Path, workdir: Path, photograph: NDArray[np.uint8]
) -> None:
    def collect() -> SimpleFrames:
        return SimpleFrames(
            {1: source}, workdir=workdir, backend="cog", hashid_mode="GIVEN", id_to_hashid={1: "abc"}
        )

    collect().prepare()
    source.unlink()
    np.testing.assert_array_equal(collect().load_region(1), photograph)


def test_given_mode_without_a_hash_says_so(source: Path, workdir: Path) -> None:
    with pytest.raises(ConfigError, match="id_to_hashid"):
        SimpleFrames({1: source}, workdir=workdir, backend="npy", hashid_mode="GIVEN")
    frames = SimpleFrames({1: source}, workdir=workdir, backend="npy", hashid_mode="GIVEN", id_to_hashid={})
    with pytest.raises(IdentityError, match="picture.bmp"):
        frames.load_region(1)


def test_equal_relative_names_of_two_collections_do_not_mix(
    tmp_path: Path, workdir: Path, photograph: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = {"one": photograph, "two": 255 - photograph}
    collections = {}
    for name, pixels in pictures.items():
        (tmp_path / name / "images").mkdir(parents=True)
        save(tmp_path / name / "images/a.png", pixels)
        monkeypatch.chdir(tmp_path / name)
        collections[name] = SimpleFrames({"a": "images/a.png"}, workdir=workdir, backend="npy")
    monkeypatch.chdir("/")
    for name, pixels in pictures.items():
        np.testing.assert_array_equal(collections[name].load_region("a"), pixels)


@pytest.mark.parametrize(
    "harm", ["truncated", "deleted", "manifest garbled", "manifest elsewhere", "emptied"]
)
def test_a_damaged_entry_is_made_anew(harm: str, frames: SimpleFrames, photograph: NDArray[np.uint8]) -> None:
    frames.load_region(1)
    (data,) = data_files(frames)
    (manifest,) = (place for place in files(frames) if place.suffix == ".json")
    if harm == "truncated":
        with pixel_file(data).open("r+b") as file:
            file.truncate(pixel_file(data).stat().st_size // 2)
    elif harm == "deleted":
        remove(data)
    elif harm == "manifest garbled":
        manifest.write_bytes(b"{")
    elif harm == "manifest elsewhere":
        manifest.write_text(json.dumps({"data": "../../../../etc/passwd", "size": 1, "signature": None}))
    else:
        pixel_file(data).write_bytes(b"")
    POOL.forget(lambda key: True)
    np.testing.assert_array_equal(frames.load_region(1), photograph)
    assert len(data_files(frames)) == 1


@pytest.mark.parametrize("backend", ["cog", "zarr", {"type": "zarr", "config": {"compress": "ZSTD"}}])
def test_an_entry_that_is_cut_while_it_is_read_is_mended(
    backend: Any, source: Path, workdir: Path, photograph: NDArray[np.uint8]
) -> None:
    # To touch a mapped file behind its end would end the process.
    frames = SimpleFrames({1: source}, workdir=workdir, backend=backend)
    for _ in range(3):
        frames.load_region(1)
    (entry,) = data_files(frames)
    with pixel_file(entry).open("r+b") as file:
        file.truncate(1)
    np.testing.assert_array_equal(frames.load_region(1), photograph)


@pytest.mark.parametrize("backend", ["cog", "zarr", {"type": "zarr", "config": {"compress": "ZSTD"}}])
def test_a_flipped_bit_in_a_compressed_entry_is_mended(
    backend: Any, source: Path, workdir: Path, photograph: NDArray[np.uint8]
) -> None:
    frames = SimpleFrames({1: source}, workdir=workdir, backend=backend)
    frames.load_region(1)
    rng = random.Random(0)
    for _ in range(20):
        (entry,) = data_files(frames)
        data = pixel_file(entry)
        if entry.is_dir():
            POOL.forget(lambda key: True)  # checksums are looked at when a block is first read after opening
        with data.open("r+b") as file:
            at = rng.randrange(data.stat().st_size // 2, data.stat().st_size)
            file.seek(at)
            byte = file.read(1)[0]
            file.seek(at)
            file.write(bytes([byte ^ (1 << rng.randrange(8))]))
        np.testing.assert_array_equal(frames.load_region(1), photograph)


def test_the_stamp_of_prepare_is_checked(frames: SimpleFrames, photograph: NDArray[np.uint8]) -> None:
    frames.prepare()
    frames.prepare()
    for place in files(frames):
        remove(place)
    frames.prepare()
    assert len(data_files(frames)) == 1
    save(Path(frames.record(1).default_asset.path), 255 - photograph)
    frames.prepare()
    np.testing.assert_array_equal(frames.load_region(1), 255 - photograph)
    assert len(data_files(frames)) == 1


def test_a_second_prepare_converts_nothing(frames: SimpleFrames) -> None:
    frames.prepare(use_stamp=False)
    (data,) = data_files(frames)
    before = data.stat().st_mtime_ns, data.name
    frames.prepare(use_stamp=False)
    (data,) = data_files(frames)
    assert (data.stat().st_mtime_ns, data.name) == before


@pytest.mark.parametrize("how", ["one by one", "threads", "thread executor", "process executor"])
def test_prepare_reports_all_failures_together_and_makes_all_else(
    how: str, tmp_path: Path, workdir: Path, photograph: NDArray[np.uint8]
) -> None:
    paths: dict[Any, Path] = {}
    for number in range(6):
        paths[number] = tmp_path / f"{number}.png"
        save(paths[number], photograph[: 50 + number])
    paths["empty"] = tmp_path / "empty.png"
    paths["empty"].touch()
    paths["missing"] = tmp_path / "missing.png"
    paths["text"] = tmp_path / "text.png"
    paths["text"].write_text("this is not a picture, although it is named so")
    frames = SimpleFrames(paths, workdir=workdir, backend="npy")
    options: dict[str, Any] = {"threads": {"workers": 3}}.get(how, {})
    executor = None
    if how == "thread executor":
        executor = ThreadPoolExecutor(2)
    elif how == "process executor":
        import multiprocessing

        executor = ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn"))  # type: ignore[assignment]
    try:
        with pytest.raises(PrepareError) as caught:
            frames.prepare(executor=executor, progress=False, **options)
    finally:
        if executor is not None:
            executor.shutdown()
    assert set(caught.value.failures) == {"empty", "missing", "text"}
    assert all(isinstance(error, SubregionError) for error in caught.value.failures.values())
    assert isinstance(caught.value.failures["missing"], FileNotFoundError)
    for name in ("empty.png", "missing.png", "text.png"):
        assert name in str(caught.value)
    assert len(data_files(frames)) == 6
    assert len(files(frames)) == 18


def test_prepare_of_unknown_ids_says_which(frames: SimpleFrames) -> None:
    with pytest.raises(PrepareError) as caught:
        frames.prepare([1, "nobody"])
    assert isinstance(caught.value.failures["nobody"], UnknownImageError)
    assert len(data_files(frames)) == 1


@pytest.mark.parametrize("backend", STORED)
def test_a_conversion_tells_how_many_rows_are_done(
    backend: str, photograph: NDArray[np.uint8], workdir: Path, tmp_path: Path
) -> None:
    save(tmp_path / "a.png", np.tile(photograph, (4, 8, 1)))
    told: list[tuple[int, int]] = []
    store = make_store(workdir, backend, "PATH")
    for _ in range(2):
        store.ensure(Asset(str(tmp_path / "a.png")), lambda done, rows: told.append((done, rows)))
    assert told == sorted(set(told))  # once: the second time nothing is converted
    assert len(told) > 1
    assert told[-1] == (1600, 1600)


@pytest.mark.parametrize("workers", [0, 2])
def test_what_takes_long_has_a_line_of_its_own(
    workers: int,
    photograph: NDArray[np.uint8],
    workdir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    name = "a [b]strange[b] name.png"  # no markup
    save(tmp_path / name, photograph)
    (tmp_path / "bad.png").write_bytes((tmp_path / name).read_bytes()[:-100_000])
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr("subregion.cache.prepare.PATIENCE", -1.0)
    with pytest.raises(PrepareError, match="1 of 2"):
        SimpleFrames({1: tmp_path / "bad.png", 2: tmp_path / name}, workdir, "npy").prepare(workers=workers)
    shown = terminal.getvalue()
    assert "preparing images" in shown
    assert name in shown


def test_a_failed_conversion_leaves_nothing_behind(tmp_path: Path, workdir: Path) -> None:
    path = tmp_path / "cut.png"
    save(path, np.random.default_rng(0).integers(0, 256, (600, 600, 3), np.uint8))
    path.write_bytes(path.read_bytes()[:-200_000])
    for backend in STORED:
        frames = SimpleFrames({1: path}, workdir=workdir, backend=backend)
        with pytest.raises(DamagedFileError, match="cut.png"):
            frames.load_region(1)
        assert files(frames) == []


def test_a_missing_source_is_one_error(workdir: Path, tmp_path: Path) -> None:
    for backend in (None, *STORED, "auto"):
        frames = SimpleFrames({1: tmp_path / "gone.png"}, workdir=workdir, backend=backend)
        with pytest.raises(SourceNotFoundError, match="gone.png"):
            frames.load_region(1)


def test_changing_the_backend_forgets_the_old_one(
    source: Path, workdir: Path, photograph: NDArray[np.uint8]
) -> None:
    frames = SimpleFrames({1: source}, workdir=workdir, backend="npy")
    assert isinstance(frames.load_image(1), np.memmap)
    assert len(POOL) == 1
    frames.backend = {"type": "cog", "config": {"compress": "JPEG", "quality": 30}}
    assert len(POOL) == 0
    assert not np.array_equal(frames.load_region(1), photograph)
    frames.backend = "cog"
    np.testing.assert_array_equal(frames.load_region(1), photograph)
    frames.backend = None
    np.testing.assert_array_equal(frames.load_region(1), photograph)


def test_a_whole_npy_image_is_a_read_only_memmap(source: Path, workdir: Path) -> None:
    image = SimpleFrames({1: source}, workdir=workdir, backend="npy").load_image(1)
    assert isinstance(image, np.memmap)
    assert not image.flags.writeable


def test_cache_false_makes_no_entry(frames: SimpleFrames, photograph: NDArray[np.uint8]) -> None:
    np.testing.assert_array_equal(frames.load_image(1, cache=False), photograph)
    assert files(frames) == []
    assert frames.load_image(1, noreturn=True) is None
    assert len(data_files(frames)) == 1


def test_a_vanished_workdir_is_made_again(frames: SimpleFrames, photograph: NDArray[np.uint8]) -> None:
    frames.load_region(1)
    shutil.rmtree(frames.workdir)
    fresh = SimpleFrames({1: frames.record(1).default_asset.path}, frames.workdir, frames.backend)
    POOL.forget(lambda key: True)
    np.testing.assert_array_equal(fresh.load_region(1), photograph)


def test_a_file_in_place_of_the_workdir_is_one_error(source: Path, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    frames = SimpleFrames({1: source}, workdir=blocked / "work", backend="npy")
    with pytest.raises(CacheError, match="workdir"):
        frames.load_region(1)


def limited_child(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("backend", STORED)
def test_a_full_disk_is_one_error_and_leaves_nothing(backend: str, source: Path, workdir: Path) -> None:
    # A limit on the size of files fails in write() just as a full disk does.
    code = """
import resource, signal, sys
from subregion import SimpleFrames, SubregionError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
frames = SimpleFrames({1: sys.argv[1]}, workdir=sys.argv[2], backend=sys.argv[3])
try:
    frames.load_region(1)
except SubregionError as error:
    print(type(error).__name__, error)
"""
    answer = limited_child(code, source, workdir, backend)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.startswith("CacheError"), answer.stdout
    assert "workdir" in answer.stdout
    frames = SimpleFrames({1: source}, workdir=workdir, backend=backend)
    assert files(frames) == []
    assert frames.load_region(1).shape == (400, 600, 3)


@pytest.mark.skipif(os.name != "posix", reason="uses POSIX rights")
@pytest.mark.parametrize("backend", STORED)
def test_a_read_only_workdir_serves_what_it_has(
    backend: str, source: Path, workdir: Path, tmp_path: Path
) -> None:
    frames = SimpleFrames({1: source}, workdir=workdir, backend=backend)
    frames.load_region(1)
    code = """
import os, sys
from subregion import SimpleFrames, SubregionError
if os.getuid() == 0:
    for backend in ("npy", "cog", "zarr"):  # imports everything, while it may still be read
        SimpleFrames({1: sys.argv[1]}, workdir=sys.argv[4], backend=backend).load_region(1)
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
frames = SimpleFrames({1: sys.argv[1]}, workdir=sys.argv[2], backend=sys.argv[3])
print(frames.load_region(1).shape)
frames.backend = {"npy": "cog", "cog": "zarr", "zarr": "npy"}[sys.argv[3]]
try:
    frames.load_region(1)
except SubregionError as error:
    print(type(error).__name__, error)
"""
    folders = [workdir, *(place for place in workdir.rglob("*") if place.is_dir())]
    reachable = [*source.parents][:-1]
    modes = {place: place.stat().st_mode for place in (*folders, *reachable, source)}
    try:
        for place in reachable:
            place.chmod(0o755)
        source.chmod(0o644)
        for place in folders:
            place.chmod(0o555)
        answer = limited_child(code, source, workdir, backend, tmp_path / "other")
    finally:
        for place, mode in modes.items():
            place.chmod(mode)
    assert answer.returncode == 0, answer.stderr
    lines = answer.stdout.splitlines()
    assert lines[0] == "(400, 600, 3)"
    assert lines[1].startswith("CacheError")


def test_ten_kills_in_the_middle_of_prepare(tmp_path: Path, photograph: NDArray[np.uint8]) -> None:
    workdir = tmp_path / "work"
    sources = tmp_path / "sources"
    sources.mkdir()
    for number in range(12):
        save_png(sources / f"{number}.png", np.roll(np.tile(photograph, (2, 2, 1)), number, axis=0))
    code = """
import sys, warnings
from subregion import SimpleFrames
frames = SimpleFrames.from_folder(sys.argv[1], workdir=sys.argv[2], backend=sys.argv[3])
print("ready", flush=True)
frames.prepare(workers=2)
"""
    rng = random.Random(1)
    killed = 0
    for attempt in range(10):
        backend = STORED[attempt % 3]
        writer = subprocess.Popen(
            [sys.executable, "-c", code, str(sources), str(workdir), backend],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        time.sleep(rng.uniform(0, 0.3))
        writer.send_signal(signal.SIGKILL)
        killed += writer.wait() == -signal.SIGKILL
        writer.stdout.close()
        if attempt in (2, 4, 6, 8):  # so that later runs are killed at work too
            shutil.rmtree(workdir)
    assert killed >= 5
    for backend in STORED:
        frames = SimpleFrames.from_folder(sources, workdir=workdir, backend=backend)
        frames.prepare()
        for name in frames.image_ids:
            with Image.open(sources / str(name)) as image:
                np.testing.assert_array_equal(frames.load_image(name), np.asarray(image))
    assert len(data_files(frames)) == 36
    assert len(files(frames)) == 108  # no leftovers


def test_an_owner_that_hangs_is_passed_by(
    frames: SimpleFrames, photograph: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    import filelock

    monkeypatch.setattr("subregion.cache.locks.PATIENCE", 0.3)
    (key,), _ = frames._store.keys_of(frames.record(1).default_asset)
    locks = frames.cache_dpath / "locks"
    locks.mkdir(parents=True)
    with filelock.FileLock(locks / f"{key}.lock", thread_local=False):
        np.testing.assert_array_equal(frames.load_region(1), photograph)


def test_without_locks_everything_still_works(
    frames: SimpleFrames, photograph: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    import filelock

    def refuse(*args: object, **kwargs: object) -> None:
        raise NotImplementedError("no locks here")

    monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
    with ThreadPoolExecutor(4) as threads:
        for pixels in threads.map(lambda _: frames.load_region(1), range(8)):
            np.testing.assert_array_equal(pixels, photograph)
    frames.prepare()
    assert len(data_files(frames)) == 1


NO_SUMS = Checksums((), (), (), {})


def origin(name: str) -> Origin:
    return Origin(name, "PATH", name, AS_IT_IS, parse_backend("npy"))


def write_file(path: str) -> Checksums:
    Path(path).write_bytes(b"pixels")
    return NO_SUMS


def write_folder(path: str) -> Checksums:
    inner = Path(path, "0", "c")
    inner.mkdir(parents=True)
    inner.with_name("zarr.json").write_bytes(b"{}")
    (inner / "0").write_bytes(b"pixels")
    return NO_SUMS


@pytest.mark.parametrize("write", [write_file, write_folder])
def test_a_writer_that_comes_second_leaves_the_entry_of_the_first(write: Any, tmp_path: Path) -> None:
    folder = Folder(str(tmp_path))
    made_of = origin("a")
    key = made_of.key
    first = []

    def write_slowly(path: str) -> Checksums:
        first.append(publish(folder, made_of, ".npy", None, Carried(), write))
        return write(path)  # type: ignore[no-any-return]

    assert [publish(folder, made_of, ".npy", None, Carried(), write_slowly)] == first == [folder.look_up(key)]
    assert {place.name for place in tmp_path.glob("*/*.*")} == {
        f"{key}.json",
        os.path.basename(first[0].data),
        os.path.basename(first[0].sums_path),
    }


@pytest.mark.parametrize("name", ["zarr.json", "0/zarr.json", "0/c/0/0/0", "1/c/0/0/0"])
@pytest.mark.parametrize("harm", ["cut", "gone"])
def test_a_folder_is_no_entry_without_all_of_its_files(
    harm: str, name: str, source: Path, workdir: Path
) -> None:
    frames = SimpleFrames({1: source}, workdir=workdir, backend="zarr")
    frames.prepare()
    (key,), _ = frames._store.keys_of(frames.record(1).default_asset)
    entry = frames._store.folder.look_up(key)
    assert entry is not None
    assert entry.size == sum(place.stat().st_size for place in Path(entry.data).rglob("*") if place.is_file())
    place = Path(entry.data, name)
    if harm == "cut":
        place.write_bytes(place.read_bytes()[:-1])
    else:
        place.unlink()
    assert frames._store.folder.look_up(key) is None
    frames.load_region(1)
    renewed = frames._store.folder.look_up(key)
    assert renewed is not None
    assert renewed.data != entry.data
    assert len(data_files(frames)) == 1


def test_names_in_a_manifest_do_not_lead_out_of_the_folder(source: Path, workdir: Path) -> None:
    frames = SimpleFrames({1: source}, workdir=workdir, backend="zarr")
    frames.prepare()
    (key,), _ = frames._store.keys_of(frames.record(1).default_asset)
    manifest = Path(frames._store.folder.manifest_path(key))
    for name in ("../../../../../etc/passwd", "/etc/passwd", "0/../../x", ""):
        document = json.loads(manifest.read_bytes())
        manifest.write_bytes(manifests.manifest(document | {"files": {name: 1}}))
        assert frames._store.folder.look_up(key) is None
        manifest.write_bytes(manifests.manifest(document))
        assert frames._store.folder.look_up(key) is not None


@pytest.mark.parametrize("write", [write_file, write_folder])
def test_discarding_takes_the_entry_and_nothing_else(write: Any, tmp_path: Path) -> None:
    folder = Folder(str(tmp_path))
    kept, gone = origin("a").key, origin("b").key
    entries = {
        made_of.key: publish(folder, made_of, ".zarr", None, Carried(), write)
        for made_of in (origin("a"), origin("b"))
    }
    folder.discard(entries[gone])
    assert folder.look_up(gone) is None
    assert not os.path.exists(entries[gone].data)
    assert folder.look_up(kept) == entries[kept]
    assert os.listdir(tmp_path / "unfinished") == []


def test_readers_of_a_replaced_zarr_entry_see_no_fill(
    source: Path, workdir: Path, photograph: NDArray[np.uint8]
) -> None:
    frames = SimpleFrames({1: source}, workdir=workdir, backend="zarr")
    expected = frames.load_region(1, scale=1 / 2)
    asset = frames.record(1).default_asset
    opened = frames._store.open(asset)
    assert opened.entry is not None
    frames._store.folder.discard(opened.entry)  # as another process does
    POOL.forget(lambda key: isinstance(key, tuple) and key[0] == "shard")
    np.testing.assert_array_equal(frames.load_region(1, scale=1 / 2), expected)
    np.testing.assert_array_equal(frames.load_region(1), photograph)


@pytest.mark.parametrize("write", [write_file, write_folder])
def test_sweeping_spares_what_a_living_writer_holds(write: Any, tmp_path: Path) -> None:
    folder = Folder(str(tmp_path / "cache"))
    key = "ab" * 20
    unfinished = tmp_path / "cache/unfinished"
    unfinished.mkdir(parents=True)
    write(str(unfinished / f"{key}.0123456789abcdef.npy"))
    with folder.turn(key, lambda: False):
        folder.sweep()
        assert len(list(unfinished.iterdir())) == 1
    folder.sweep()
    assert list(unfinished.iterdir()) == []
    assert list((tmp_path / "cache/locks").iterdir()) == []


def test_many_processes_convert_each_image_once(tmp_path: Path, photograph: NDArray[np.uint8]) -> None:
    sources = tmp_path / "sources"
    sources.mkdir()
    for number in range(6):
        save_png(sources / f"{number}.png", np.roll(photograph, number, axis=0))
    code = """
import sys
from subregion import SimpleFrames
frames = SimpleFrames.from_folder(sys.argv[1], workdir=sys.argv[2], backend="cog")
frames.prepare()
print(sum(int(frames.load_region(name).sum()) for name in frames.image_ids))
"""
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(sources), str(tmp_path / "work")],
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    answers = {writer.communicate(timeout=120)[0] for writer in writers}
    assert answers == {f"{int(photograph.sum()) * 6}\n"}
    frames = SimpleFrames.from_folder(sources, workdir=tmp_path / "work", backend="cog")
    assert len(data_files(frames)) == 6
    assert len(files(frames)) == 18


def test_dvc_links_and_dvc_files(tmp_path: Path, workdir: Path, photograph: NDArray[np.uint8]) -> None:
    store = tmp_path / ".dvc/cache/files/md5/12"
    store.mkdir(parents=True)
    save(tmp_path / "plain.png", photograph)
    shutil.copy(tmp_path / "plain.png", store / "34567890abcdef34567890abcdef34")
    (tmp_path / "link.png").symlink_to(store / "34567890abcdef34567890abcdef34")
    size = (tmp_path / "plain.png").stat().st_size
    (tmp_path / "plain.png.dvc").write_text(
        f"outs:\n- md5: 1234567890abcdef34567890abcdef34\n  size: {size}\n  path: plain.png\n"
    )
    (tmp_path / "data/inner").mkdir(parents=True)
    save(tmp_path / "data/inner/a.png", 255 - photograph)
    (tmp_path / "data.dvc").write_text("outs:\n- md5: aa11.dir\n  path: data\n")
    paths = {name: tmp_path / name for name in ("link.png", "plain.png", "data/inner/a.png", "untracked.png")}
    save(paths["untracked.png"], photograph)
    frames = SimpleFrames(paths, workdir=workdir, backend="npy", hashid_mode="DVC")
    np.testing.assert_array_equal(frames.load_region("link.png"), photograph)
    np.testing.assert_array_equal(frames.load_region("plain.png"), photograph)
    np.testing.assert_array_equal(frames.load_region("data/inner/a.png"), 255 - photograph)
    assert len(data_files(frames)) == 2  # the link and the file are one content
    with pytest.raises(IdentityError, match="untracked.png"):
        frames.load_region("untracked.png")
    save(paths["plain.png"], photograph[:100])
    POOL.forget(lambda key: True)
    with pytest.raises(IdentityError, match="dvc add"):
        frames.load_region("plain.png")


def test_dvc_folders_are_looked_up_in_their_list(tmp_path: Path) -> None:
    from subregion.cache.dvc import dvc_hash

    members = tmp_path / ".dvc/cache/files/md5/aa"
    members.mkdir(parents=True)
    (members / "11.dir").write_text(json.dumps([{"md5": "feed", "relpath": "inner/a.png"}]))
    (tmp_path / "data/inner").mkdir(parents=True)
    (tmp_path / "data/inner/a.png").touch()
    (tmp_path / "data.dvc").write_text("outs:\n- md5: aa11.dir\n  path: data\n")
    assert dvc_hash(str(tmp_path / "data/inner/a.png")) == "feed"
    with pytest.raises(IdentityError, match="not tracked"):
        dvc_hash(str(tmp_path / "data/inner/b.png"))


@pytest.mark.parametrize(
    ("backend", "words"),
    [
        ("zip", ["zip", "cog", "npy", "zarr"]),
        ({"type": "zarr", "config": {"compress": "JPEG"}}, ["compress", "JPEG", "LZ4"]),
        ({"type": "cog", "config": {"compres": "ZSTD"}}, ["compres", "compress"]),
        ({"type": "cog", "config": {"compress": "zip"}}, ["compress", "zip", "ZSTD"]),
        ({"type": "cog", "config": {"blocksize": 100}}, ["blocksize", "100", "16"]),
        ({"type": "cog", "config": {"blocksize": "256"}}, ["blocksize", "256"]),
        ({"type": "cog", "config": {"quality": 0}}, ["quality", "0", "100"]),
        ({"type": "npy", "config": {"compress": "ZSTD"}}, ["compress", "no options"]),
        ({"typ": "npy"}, ["typ", "type"]),
        (7, ["7"]),
    ],
)
def test_unknown_backends_say_what_is_allowed(backend: Any, words: list[str], workdir: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        SimpleFrames({}, workdir=workdir, backend=backend)
    assert isinstance(caught.value, ValueError)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_one_config_in_several_spellings_is_one_entry(source: Path, workdir: Path) -> None:
    for backend in ("cog", {"type": "cog"}, {"type": "cog", "config": {"compress": "zstd"}}, "auto"):
        frames = SimpleFrames({1: source}, workdir=workdir, backend=backend)
        frames.prepare()
    assert len(data_files(frames)) == 1


def test_the_default_workdir_is_warned_about(
    source: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.warns(UserWarning, match="workdir"):
        SimpleFrames({1: source}, backend="npy")
