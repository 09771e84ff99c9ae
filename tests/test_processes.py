"""The same pixels in forked, spawned and threaded readers, also after the parent has used the collection."""

from __future__ import annotations

import copy
import itertools
import multiprocessing
import os
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import subregion
from pictures import pillow_file, tiff_file
from subregion import SimpleFrames
from subregion.io.pool import POOL

BACKENDS = [None, "npy", "cog", "zarr", "jpeg", "auto"]


@pytest.fixture
def collection(tmp_path: Path, workdir: Path, photograph: NDArray[np.uint8]) -> SimpleFrames:
    paths = {}
    for name, write in {
        "png": pillow_file(".png", "RGB"),
        "jpg": pillow_file(".jpg", "RGB"),
        "webp": pillow_file(".webp", "RGB"),
        "tif": tiff_file(tile=(64, 64), compression="zstd"),
        "jpeg.tif": tiff_file(tile=(64, 64), compression="jpeg"),
    }.items():
        paths[name] = tmp_path / f"picture.{name}"
        write(paths[name], photograph)
        if name == "jpg":
            paths[name] = paths[name].with_suffix(".jpg")
    return SimpleFrames(paths, workdir=workdir)


def check(frames: SimpleFrames, expected: dict[Any, NDArray[Any]], seed: int, count: int = 40) -> int:
    """Read random windows and return how many were wrong."""
    rng = np.random.default_rng(seed)
    wrong = 0
    for _ in range(count):
        name = frames.image_ids[int(rng.integers(len(frames)))]
        row, col = int(rng.integers(0, 300)), int(rng.integers(0, 500))
        region = (slice(row, row + 70), slice(col, col + 90))
        wrong += not np.array_equal(frames.load_region(name, region), expected[name][region])
    return wrong


def child(frames: SimpleFrames, expected: dict[Any, NDArray[Any]], seed: int, answers: Any) -> None:
    answers.put((seed, check(frames, expected, seed)))


#: What a fork inherits differs by backend; to the others comes a pickle, which is the same in all of them.
CASES = [
    *itertools.product(["fork"], BACKENDS),
    *itertools.product(["spawn"], [None, "zarr"]),
    *itertools.product(["forkserver"], ["cog", "auto"]),
]


@pytest.mark.parametrize(("method", "backend"), CASES)
def test_children_read_the_same_pixels(method: str, backend: str | None, collection: SimpleFrames) -> None:
    collection.backend = backend
    expected = {name: np.array(collection.load_image(name)) for name in collection.image_ids}
    assert check(collection, expected, 0) == 0
    context: Any = multiprocessing.get_context(method)
    answers = context.Queue()
    children = [
        context.Process(target=child, args=(collection, expected, seed, answers)) for seed in range(1, 4)
    ]
    for process in children:
        process.start()
    assert check(collection, expected, 9) == 0  # the parent goes on meanwhile
    got = dict(answers.get(timeout=120) for _ in children)
    for process in children:
        process.join(timeout=60)
        assert process.exitcode == 0
    assert got == {1: 0, 2: 0, 3: 0}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.parametrize("backend", [None, "cog", "zarr", "jpeg"])
def test_forking_while_threads_read_does_not_hang(backend: str | None, collection: SimpleFrames) -> None:
    collection.backend = backend
    expected = {name: np.array(collection.load_image(name)) for name in collection.image_ids}
    stop = threading.Event()

    def read_on() -> None:
        while not stop.is_set():
            assert check(collection, expected, 5, count=3) == 0

    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    with ThreadPoolExecutor(3) as threads:
        readers = [threads.submit(read_on) for _ in range(3)]
        children = [
            context.Process(target=child, args=(collection, expected, seed, answers)) for seed in range(6)
        ]
        for process in children:
            process.start()
        try:
            assert sum(answers.get(timeout=120)[1] for _ in children) == 0
        finally:
            stop.set()
        for process in children:
            process.join(timeout=60)
        for reader in readers:
            reader.result()


@pytest.mark.parametrize("backend", BACKENDS)
def test_eight_threads_read_the_same_pixels(backend: str | None, collection: SimpleFrames) -> None:
    collection.backend = backend
    expected = {name: np.array(collection.load_image(name)) for name in collection.image_ids}
    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(lambda seed: check(collection, expected, seed), range(8))) == 0


@pytest.mark.parametrize("backend", ["npy", "cog", "zarr"])
def test_eight_threads_that_all_want_the_first_conversion(backend: str, collection: SimpleFrames) -> None:
    collection.backend = None
    expected = {name: np.array(collection.load_image(name)) for name in collection.image_ids}
    collection.backend = backend
    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(lambda seed: check(collection, expected, seed), range(8))) == 0
    assert len(list(collection.cache_dpath.glob("??/*.json"))) == len(collection)


def test_pickles_are_small_and_hold_no_handles(collection: SimpleFrames) -> None:
    collection.backend = "cog"
    before = len(pickle.dumps(collection))
    for name in collection.image_ids:
        collection.load_image(name)
    dumped = pickle.dumps(collection)
    assert len(dumped) <= before + 100
    assert len(dumped) < 3000
    for twin in (pickle.loads(dumped), copy.copy(collection), copy.deepcopy(collection)):
        for name in collection.image_ids:
            np.testing.assert_array_equal(twin.load_image(name), collection.load_image(name))
        assert twin.backend == "cog"
        assert twin.cache_dpath == collection.cache_dpath


def test_lazy_images_pickle_after_they_were_read(collection: SimpleFrames) -> None:
    lazy = collection.load_frame("png")
    pixels = lazy[:10]
    dumped = pickle.dumps(lazy)
    assert len(dumped) < 2000
    np.testing.assert_array_equal(pickle.loads(dumped)[:10], pixels)


def test_the_pool_is_bounded_and_readers_keep_what_it_lets_go(
    tmp_path: Path, workdir: Path, photograph: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(POOL, "capacity", 3)
    write = tiff_file(tile=(64, 64), compression="zstd")
    paths = {}
    for number in range(10):
        paths[number] = tmp_path / f"{number}.tif"
        expected = write(paths[number], photograph)
    frames = SimpleFrames(paths, workdir=workdir)
    before = open_files(tmp_path)
    with ThreadPoolExecutor(8) as threads:
        for pixels in threads.map(
            lambda n: frames.load_region(n % 10, (slice(9, 99), slice(5, 70))), range(400)
        ):
            np.testing.assert_array_equal(pixels, expected[9:99, 5:70])
    assert len(POOL) == 3
    assert open_files(tmp_path) - before <= 3


def open_files(folder: Path) -> int:
    """How many files below a folder this process holds open."""
    links = Path("/proc/self/fd")
    if not links.exists():
        return 0
    count = 0
    for link in links.iterdir():
        try:
            count += str(link.readlink()).startswith(str(folder))
        except OSError:
            continue
    return count


def test_a_forked_child_opens_for_itself(collection: SimpleFrames) -> None:
    collection.load_image("tif")
    assert len(POOL) > 0
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    process = context.Process(target=lambda: answers.put(len(POOL)))
    process.start()
    assert answers.get(timeout=60) == 0
    process.join(timeout=60)


def test_open_gives_what_the_collection_gives(collection: SimpleFrames) -> None:
    path = collection.record("png").default_asset.path
    picture = subregion.open(path, workdir=collection.workdir)
    np.testing.assert_array_equal(picture[10:20, 30:50], collection.load_region("png")[10:20, 30:50])
