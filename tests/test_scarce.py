"""No descriptors, space, rights, locks or right time: an error that says so, and no entry is lost."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from moments import at_moment
from pictures import save_png
from subregion import PrepareError, SimpleFrames, SubregionError
from subregion.cache.entries import Folder
from subregion.errors import CacheError, DamagedFileError, SourceReadError, decoding_error
from subregion.io.pool import POOL

BACKENDS = [None, "npy", "cog", "zarr", "jpeg", "auto"]


@pytest.fixture
def source(tmp_path: Path, photograph: NDArray[np.uint8]) -> Path:
    path = tmp_path / "a.png"
    save_png(path, photograph)
    return path


def entries(workdir: Path) -> list[Path]:
    return sorted(workdir.glob("_cache/frames/??/*"))


def leftovers(workdir: Path) -> list[Path]:
    return [*workdir.glob("_cache/frames/unfinished/*"), *workdir.glob("_cache/frames/locks/*")]


FEW_DESCRIPTORS = """
import os, resource, sys
from subregion import SimpleFrames, SubregionError, Window
folder, workdir, backend = sys.argv[1:]
frames = SimpleFrames.from_folder(folder, workdir=workdir, backend=eval(backend))
sums = {name: int(frames.load_region(name).sum()) for name in frames.image_ids}
kept = sorted(name for _, _, names in os.walk(workdir) for name in names)
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
for name, total in sums.items():  # the pool holds more than the new limit
    assert int(frames.load_region(name).sum()) == total
few = dict(list(sums.items())[:18])  # three of each kind
for spare in (0, 1, 2, 3):
    frames.backend = eval(backend)  # forgets what is open
    taken = []
    try:
        while True:
            taken.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        for _ in range(spare):
            os.close(taken.pop())
    for name, total in few.items():
        try:
            assert int(frames.load_region(name).sum()) == total
        except SubregionError as error:
            assert isinstance(error, OSError), repr(error)
            said = str(error)
    for descriptor in taken:
        os.close(descriptor)
    for name, total in few.items():
        assert int(frames.load_region(name).sum()) == total
now = sorted(name for _, _, names in os.walk(workdir) for name in names)
assert kept == now, (len(kept), len(now))
assert "ulimit" in said, said
print("good")
"""


@pytest.mark.parametrize("backend", BACKENDS)
def test_few_descriptors(backend: Any, tmp_path: Path, workdir: Path, photograph: NDArray[np.uint8]) -> None:
    folder = tmp_path / "sources"
    folder.mkdir()
    picture = np.ascontiguousarray(photograph[:100, :120])
    for number in range(0, 60, 6):
        Image.fromarray(picture).save(folder / f"{number}.png")
        Image.fromarray(picture).save(folder / f"{number + 1}.bmp")
        Image.fromarray(picture).save(folder / f"{number + 2}.jpg")
        Image.fromarray(picture).save(folder / f"{number + 3}.webp", lossless=True)
        tifffile.imwrite(folder / f"{number + 4}.tif", picture, tile=(32, 32), compression="zstd")
        np.save(folder / f"{number + 5}.npy", picture)
    answer = subprocess.run(
        [sys.executable, "-c", FEW_DESCRIPTORS, str(folder), str(workdir), repr(backend)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert answer.stdout == "good\n", answer.stderr


def test_a_batch_of_more_images_than_there_are_descriptors(tmp_path: Path) -> None:
    code = """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
from subregion import SimpleFrames, Window
frames = SimpleFrames.from_folder(sys.argv[1])
batch = frames.load_regions([(name, Window(1, 1, 5, 5)) for name in frames.image_ids])
print(batch.shape, batch[:, 0, 0, 0].tolist() == sorted(range(100), key=str))
"""
    for number in range(100):
        np.save(tmp_path / f"{number}.npy", np.full((20, 30, 1), number, np.uint8))
    answer = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert answer.stdout == "(100, 5, 5, 1) True\n", answer.stderr


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.jpg", "a.tif"])
def test_packages_that_cannot_be_imported_for_want_of_descriptors(
    name: str, tmp_path: Path, photograph: NDArray[np.uint8]
) -> None:
    code = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
from subregion import SimpleFrames, SubregionError
frames = SimpleFrames({1: sys.argv[1], 2: sys.argv[2]})
frames.load_region(2)
frames.backend = None  # forgets what is open
taken = []
try:
    while True:
        taken.append(os.open(os.devnull, os.O_RDONLY))
except OSError:
    os.close(taken.pop())  # for the file, but not for the package
try:
    frames.load_region(1)
except SubregionError as error:
    print(type(error).__name__)
for descriptor in taken:
    os.close(descriptor)
print(frames.load_region(1).shape)
"""
    if name == "a.tif":
        tifffile.imwrite(tmp_path / name, photograph, compression="lzw", predictor=True, tile=(64, 64))
    else:
        Image.fromarray(photograph).save(tmp_path / name)
    np.save(tmp_path / "a.npy", photograph)
    answer = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / name), str(tmp_path / "a.npy")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert answer.stdout.splitlines() == ["DescriptorLimitError", "(400, 600, 3)"], answer.stderr


#: Calls of the system in publishing an entry, as (name, how many pass before one fails).
CALLS = [
    *(("fsync", number) for number in range(4)),
    *(("replace", number) for number in range(2)),
    *(("makedirs", number) for number in range(3)),
]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES])
@pytest.mark.parametrize(("name", "passing"), CALLS)
@pytest.mark.parametrize("backend", ["npy", "zarr"])
def test_any_call_that_fails_is_one_error_and_leaves_nothing(
    backend: str,
    name: str,
    passing: int,
    number: int,
    source: Path,
    workdir: Path,
    photograph: NDArray[np.uint8],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = getattr(os, name)
    calls = 0

    def fails(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == passing + 1:
            raise OSError(number, os.strerror(number))
        return real(*args, **kwargs)

    frames = SimpleFrames({1: source}, workdir, backend)
    with monkeypatch.context() as patch:
        patch.setattr(os, name, fails)
        try:
            frames.prepare(progress=False)
        except PrepareError as error:
            (failure,) = error.failures.values()
            assert isinstance(failure, CacheError)
            assert os.strerror(number) in str(failure)
            assert entries(workdir) == []
        else:  # there were fewer calls, or one that is only for comfort
            assert len(entries(workdir)) == 3
    assert leftovers(workdir) == []
    np.testing.assert_array_equal(frames.load_region(1), photograph)


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO])
@pytest.mark.parametrize("backend", ["npy", "cog", "zarr"])
def test_a_damaged_entry_that_cannot_be_removed_is_one_error(
    backend: str,
    number: int,
    source: Path,
    workdir: Path,
    photograph: NDArray[np.uint8],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    frames = SimpleFrames({1: source}, workdir, backend)
    frames.load_region(1)
    data = next(place for place in entries(workdir) if place.suffix in (".npy", ".tif", ".jpg", ".zarr"))
    pixels = data / "0/c/0/0/0" if data.is_dir() else data
    with pixels.open("r+b") as file:  # of the size that it had
        file.write(bytes(200))
        file.seek(pixels.stat().st_size // 2)
        file.write(bytes(pixels.stat().st_size - file.tell()))

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        for name in ("unlink", "replace", "makedirs"):
            patch.setattr(os, name, refuse)
        for _ in range(2):
            frames.backend = backend  # forgets what is open
            with pytest.raises(CacheError, match=f"{data.name}.*writable"):
                frames.load_region(1)
    np.testing.assert_array_equal(frames.load_region(1), photograph)
    assert len(entries(workdir)) == 3


@pytest.mark.parametrize(
    "number", [errno.EMFILE, errno.ENFILE, errno.EACCES, errno.EIO, errno.ENOMEM, errno.ESTALE]
)
@pytest.mark.parametrize("part", [".json", ".npy", ".tif", ".zarr", ".sums"])
def test_an_entry_that_cannot_be_opened_is_not_thrown_away(
    part: str,
    number: int,
    source: Path,
    workdir: Path,
    photograph: NDArray[np.uint8],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    backend = {".npy": "npy", ".tif": "cog"}.get(part, "zarr")
    frames = SimpleFrames({1: source}, workdir, backend)
    frames.prepare()
    before = entries(workdir)
    real = os.open

    def refuse(path: Any, *args: Any, **kwargs: Any) -> int:
        if str(workdir) in str(path) and part in str(path):
            raise OSError(number, os.strerror(number))
        return real(path, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        with pytest.raises(SubregionError) as caught:
            frames.load_region(1)
    assert isinstance(caught.value, CacheError | SourceReadError), repr(caught.value)
    assert not isinstance(caught.value, DamagedFileError)
    assert entries(workdir) == before
    np.testing.assert_array_equal(frames.load_region(1), photograph)
    assert entries(workdir) == before


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EIO, errno.ENOTSUP, errno.ENOSYS, errno.EINTR])
@pytest.mark.parametrize("when", ["lock", "unlock", "both"])
@pytest.mark.filterwarnings("ignore:flock not supported:UserWarning")
def test_locks_that_fail(
    when: str,
    number: int,
    source: Path,
    workdir: Path,
    photograph: NDArray[np.uint8],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = fcntl.flock

    def fails(descriptor: int, operation: int) -> None:
        if when == "both" or (when == "unlock") == (operation == fcntl.LOCK_UN):
            raise OSError(number, os.strerror(number))
        real(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", fails)
    for backend in ("npy", "cog"):
        frames = SimpleFrames({1: source}, workdir, backend)
        np.testing.assert_array_equal(frames.load_region(1), photograph)
        frames.prepare(use_stamp=False)
        Folder(str(frames.cache_dpath)).sweep()
    assert len(entries(workdir)) == 6


def leave_over(folder: Path, key: str, when: float) -> Path:
    unfinished = folder / "unfinished"
    unfinished.mkdir(parents=True, exist_ok=True)
    place = unfinished / f"{key}.0123456789abcdef.npy"
    place.write_bytes(b"unfinished")
    os.utime(place, (when, when))
    return place


TIMES = [0.0, 4102444800.0]  # 1970 and 2100


@pytest.mark.parametrize("when", TIMES)
def test_what_a_living_writer_holds_stays_whatever_the_time(when: float, tmp_path: Path) -> None:
    folder = Folder(str(tmp_path))
    key = "ab" * 20
    place = leave_over(tmp_path, key, when)
    with folder.turn(key, lambda: False):
        folder.sweep()
        assert place.exists()
    folder.sweep()
    assert not place.exists()


@pytest.mark.parametrize("when", TIMES)
def test_without_locks_leftovers_of_other_times_are_removed(
    when: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise NotImplementedError("no locks here")

    monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
    folder = Folder(str(tmp_path))
    old, new = leave_over(tmp_path, "ab" * 20, when), leave_over(tmp_path, "cd" * 20, time.time())
    folder.sweep()
    assert not old.exists()
    assert new.exists()


def test_waiting_for_a_lock_ends_whatever_the_clock_says(
    source: Path, workdir: Path, photograph: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("subregion.cache.locks.PATIENCE", 0.3)
    frames = SimpleFrames({1: source}, workdir, "npy")
    frames.prepare()
    (manifest,) = (place for place in entries(workdir) if place.suffix == ".json")
    manifest.unlink()
    true, jump = time.time, iter(range(10**9))
    monkeypatch.setattr(time, "time", lambda: true() - 3600 * next(jump))
    lock = workdir / "_cache/frames/locks" / f"{manifest.stem}.lock"
    with filelock.FileLock(lock, thread_local=False):
        begin = time.monotonic()
        np.testing.assert_array_equal(frames.load_region(1), photograph)
        POOL.forget(lambda key: True)
        np.testing.assert_array_equal(frames.load_region(1), photograph)
        assert time.monotonic() - begin < 10


def when_first_called(what: Callable[[], Any]) -> Callable[[int, int], None]:
    calls: list[int] = []

    def progress(done: int, rows: int) -> None:
        calls.append(done)
        if len(calls) == 1:
            what()

    return progress


@pytest.mark.parametrize("gone", ["", "_cache", "_cache/frames/unfinished"])
@pytest.mark.parametrize("backend", ["npy", "cog", "zarr"])
def test_a_folder_that_vanishes_during_a_conversion(
    backend: str, gone: str, tmp_path: Path, workdir: Path, photograph: NDArray[np.uint8]
) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.tile(photograph, (4, 2, 1)), rowsperstrip=16)
    frames = SimpleFrames({1: path}, workdir, backend)
    asset = frames.record(1).default_asset
    frames._store.ensure(asset, when_first_called(lambda: shutil.rmtree(workdir / gone)))
    np.testing.assert_array_equal(frames.load_region(1), np.tile(photograph, (4, 2, 1)))
    assert leftovers(workdir) == []


@pytest.mark.parametrize("how", ["vanishes", "becomes a file"])
@pytest.mark.parametrize("backend", ["npy", "zarr", "jpeg"])
def test_a_folder_that_vanishes_at_every_moment(
    backend: str, how: str, source: Path, workdir: Path, photograph: NDArray[np.uint8]
) -> None:
    expected = SimpleFrames({1: source}, workdir.with_name("other"), backend).load_region(1)

    def vanish() -> None:
        shutil.rmtree(workdir, ignore_errors=True)
        if how == "becomes a file":
            workdir.touch()

    # A copy of many files has many moments, of which each way takes others.
    for number in itertools.count(how == "becomes a file", 5 if backend == "zarr" else 2):
        frames = SimpleFrames({1: source}, workdir, backend)
        with at_moment(number, str(workdir), vanish) as seen, contextlib.suppress(CacheError):
            np.testing.assert_array_equal(frames.load_region(1), expected)
            np.testing.assert_array_equal(frames.load_region(1, (slice(9), slice(9))), expected[:9, :9])
        if workdir.is_file():
            workdir.unlink()
        shutil.rmtree(workdir, ignore_errors=True)
        POOL.forget(lambda key: True)
        if len(seen) <= number:
            break
    assert number > 10


def test_a_folder_that_becomes_a_file_during_a_conversion(
    tmp_path: Path, workdir: Path, photograph: NDArray[np.uint8]
) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.tile(photograph, (4, 2, 1)), rowsperstrip=16)
    frames = SimpleFrames({1: path}, workdir, "cog")

    def become_a_file() -> None:
        shutil.rmtree(workdir)
        workdir.touch()

    with pytest.raises(CacheError, match="workdir"):
        frames._store.ensure(frames.record(1).default_asset, when_first_called(become_a_file))


@pytest.mark.parametrize("backend", ["npy", "cog", "zarr", "jpeg"])
def test_entries_that_were_deleted_while_they_are_open(
    backend: str, source: Path, workdir: Path, photograph: NDArray[np.uint8]
) -> None:
    frames = SimpleFrames({1: source}, workdir, backend)
    expected = frames.load_region(1)
    half = frames.load_region(1, scale=0.5)
    shutil.rmtree(workdir)
    np.testing.assert_array_equal(frames.load_region(1), expected)
    np.testing.assert_array_equal(frames.load_region(1, scale=0.5), half)
    POOL.forget(lambda key: True)
    np.testing.assert_array_equal(frames.load_region(1), expected)


def test_a_shard_that_vanishes_between_two_looks(
    source: Path, workdir: Path, photograph: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = SimpleFrames({1: source}, workdir, "zarr")
    half = frames.load_region(1, scale=0.5)
    POOL.forget(lambda key: isinstance(key, tuple) and key[0] == "shard")
    real = os.open
    times: list[int] = []

    def gone(path: Any, *args: Any, **kwargs: Any) -> int:
        if str(path).endswith("1/c/0/0/0") and not times:
            times.append(1)
            shutil.rmtree(workdir)
        return real(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", gone)
    np.testing.assert_array_equal(frames.load_region(1, scale=0.5), half)


def test_a_folder_that_becomes_a_file_while_entries_are_open(
    source: Path, workdir: Path, photograph: NDArray[np.uint8]
) -> None:
    frames = SimpleFrames({1: source}, workdir, "zarr")
    half = frames.load_region(1, scale=0.5)
    shutil.rmtree(workdir)
    workdir.touch()
    with pytest.raises(CacheError, match="workdir"):
        frames.load_region(1, scale=0.5)
    workdir.unlink()
    np.testing.assert_array_equal(frames.load_region(1, scale=0.5), half)


def test_what_libraries_say_of_the_system_is_no_damage() -> None:
    for number in (errno.EIO, errno.ENOMEM, errno.ESTALE, errno.EACCES):
        said = f"a.png: read error\nsystem error: {os.strerror(number)}\nvipspng: libpng read error"
        error = decoding_error("a.png: cannot be decoded", said)
        assert isinstance(error, DamagedFileError) == (number == errno.ESTALE)
        assert "corrupt" not in str(error)
    assert "ulimit" in str(decoding_error("a.png: cannot be decoded", "system error: Too many open files"))
    for value in (OSError(errno.EINVAL, "Invalid argument"), OSError("not a picture"), ValueError("no")):
        assert isinstance(decoding_error("a.png: cannot be decoded", value), DamagedFileError)
    assert isinstance(decoding_error("a.png", ImportError("libfoo.so: cannot be loaded")), SourceReadError)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can be others")
def test_a_folder_of_another_user(source: Path, tmp_path: Path, workdir: Path) -> None:
    frames = SimpleFrames({1: source}, workdir, "cog")
    frames.prepare()
    for place in workdir.rglob("*"):
        place.chmod(0o700 if place.is_dir() else 0o600)
    for place in [source, *source.parents[:-1]]:
        place.chmod(place.stat().st_mode | 0o055)
    code = """
import os, sys
from subregion import SimpleFrames, SubregionError
for backend in ("cog", "npy"):  # imports everything, while it may still be read
    SimpleFrames({1: sys.argv[1]}, sys.argv[3], backend).load_region(1)
os.setgroups([]); os.setgid(65534); os.setuid(65534)
for backend in ("cog", "npy"):
    frames = SimpleFrames({1: sys.argv[1]}, sys.argv[2], backend)
    try:
        frames.load_region(1)
    except SubregionError as error:
        print(type(error).__name__, "right" in str(error) or "workdir" in str(error))
"""
    before = entries(workdir)
    answer = subprocess.run(
        [sys.executable, "-c", code, str(source), str(workdir), str(tmp_path / "other")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert answer.stdout.split() == ["CacheError", "True"] * 2, answer.stderr
    assert entries(workdir) == before


def test_an_executor_that_is_shut_down_is_one_account(source: Path, workdir: Path) -> None:
    frames = SimpleFrames(dict.fromkeys(range(20), source), workdir, "cog")
    executor = ThreadPoolExecutor(1)
    executor.shutdown()
    with pytest.raises(PrepareError, match="20 of 20"):
        frames.prepare(executor=executor)


def test_workers_that_die_are_one_account(source: Path, workdir: Path) -> None:
    import multiprocessing

    frames = SimpleFrames(dict.fromkeys(range(50), source), workdir, "cog")
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as executor:
        dead: Future[None] = executor.submit(os._exit, 1)
        assert dead.exception() is not None
        with pytest.raises(PrepareError, match="50 of 50"):
            frames.prepare(executor=executor)
