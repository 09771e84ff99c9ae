"""What the predecessor does wrong where it reads images, each right here; names begin with its numbers.

Those of samples are in test_sampler_faults.py and test_sampling_negatives.py, 17 in test_sampling_regions.py.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from scenes import SIZE, make_scene
from subregion import CocoFrames, SimpleFrames
from subregion.errors import SourceNotFoundError

#: Larger than a block, so that a read has several to choose from.
_HEIGHT, _WIDTH = 700, 900
_COG: dict[str, Any] = {"type": "cog", "config": {"blocksize": 128}}


def _noise(path: Path, seed: int = 0, size: tuple[int, int] = (_HEIGHT, _WIDTH)) -> NDArray[np.uint8]:
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


def _wrong_reads(frames: SimpleFrames, pixels: NDArray[np.uint8], seed: int, count: int = 50) -> int:
    """Return how many of some windows, at random, are not what they should be."""
    rng = np.random.default_rng(seed)
    wrong = 0
    for _ in range(count):
        row, col = int(rng.integers(_HEIGHT - 200)), int(rng.integers(_WIDTH - 200))
        region = slice(row, row + 200), slice(col, col + 150)
        wrong += not np.array_equal(frames.load_region("a", region), pixels[region])
    return wrong


def _tell(frames: SimpleFrames, pixels: NDArray[np.uint8], seed: int, answers: Any) -> None:
    answers.put(_wrong_reads(frames, pixels, seed))


def test_1_cog_after_fork(tmp_path: Path) -> None:
    pixels = _noise(tmp_path / "a.png")
    frames = SimpleFrames({"a": tmp_path / "a.png"}, tmp_path / "work", _COG)
    assert _wrong_reads(frames, pixels, 0, 3) == 0  # so that its copy is open
    context: Any = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    children = [context.Process(target=_tell, args=(frames, pixels, seed, answers)) for seed in range(3)]
    for child in children:
        child.start()
    assert _wrong_reads(frames, pixels, 9) == 0
    for child in children:
        child.join(60)
        assert child.exitcode == 0
    assert [answers.get() for _ in children] == [0, 0, 0]


def test_2_cog_with_eight_threads(tmp_path: Path) -> None:
    pixels = _noise(tmp_path / "a.png")
    frames = SimpleFrames({"a": tmp_path / "a.png"}, tmp_path / "work", _COG)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda seed: _wrong_reads(frames, pixels, seed), range(8))) == [0] * 8


def test_3_cog_is_lossless_by_default(tmp_path: Path) -> None:
    pixels = _noise(tmp_path / "a.png")
    frames = SimpleFrames({"a": tmp_path / "a.png"}, tmp_path / "work", "cog")
    np.testing.assert_array_equal(frames.load_image("a"), pixels)
    np.testing.assert_array_equal(
        frames.load_region("a", (slice(600, 700), slice(800, 900))), pixels[600:, 800:]
    )


@pytest.mark.parametrize("backend", [None, "npy", "cog"])
def test_4_a_source_that_was_written_anew(backend: str | None, tmp_path: Path) -> None:
    path, region = tmp_path / "a.png", (slice(0, 40), slice(0, 40))
    old = _noise(path, 1)
    frames = SimpleFrames({"a": path}, tmp_path / "work", backend)
    np.testing.assert_array_equal(frames.load_region("a", region), old[region])
    new = _noise(path, 2)
    for each in (SimpleFrames({"a": path}, tmp_path / "work", backend), frames):
        np.testing.assert_array_equal(each.load_region("a", region), new[region])


@pytest.mark.parametrize("backend", ["npy", "cog"])
def test_5_files_of_one_name_in_one_workdir(backend: str, tmp_path: Path) -> None:
    expected = {}
    for number, name in enumerate(("one", "two")):
        (tmp_path / name).mkdir()
        expected[name] = _noise(tmp_path / name / "a.png", number)
    for name, pixels in expected.items():
        document = {"images": [{"id": 1, "file_name": "a.png", "width": _WIDTH, "height": _HEIGHT}]}
        frames = CocoFrames(document, tmp_path / "work", backend, root=tmp_path / name)
        np.testing.assert_array_equal(frames.load_image(1), pixels)


def test_6_options_of_compression_as_documented(tmp_path: Path) -> None:
    pixels = _noise(tmp_path / "a.png")
    for compress in ("ZSTD", "LZW", "DEFLATE"):
        backend: Any = {"type": "cog", "config": {"compress": compress}}
        frames = SimpleFrames({"a": tmp_path / "a.png"}, tmp_path / "work", backend)
        np.testing.assert_array_equal(frames.load_image("a"), pixels)
        assert _wrong_reads(frames, pixels, 0, 3) == 0


@pytest.mark.parametrize("backend", [None, "npy", "cog"])
def test_7_a_missing_source_is_one_quiet_error(
    backend: str | None, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    frames = SimpleFrames({"a": tmp_path / "gone.png"}, tmp_path / "work", backend)
    with pytest.raises(SourceNotFoundError, match=r"gone\.png: no such file") as error:
        frames.load_region("a", (slice(0, 4), slice(0, 4)))
    assert "\n" not in str(error.value)
    assert capfd.readouterr() == ("", "")


_RACE = """
import sys
import numpy as np
from subregion import SimpleFrames
frames = SimpleFrames({"a": sys.argv[1]}, sys.argv[2], "npy")
sys.stdin.read(1)
print(int(frames.load_region("a", (slice(0, 600, 7), slice(0, 800, 7))).sum(dtype=np.int64)))
"""


def test_8_readers_that_race_for_a_copy(tmp_path: Path) -> None:
    pixels = _noise(tmp_path / "a.png")
    command = [sys.executable, "-c", _RACE, str(tmp_path / "a.png"), str(tmp_path / "work")]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    readers = [subprocess.Popen(command, env=dict(os.environ), **pipes) for _ in range(4)]
    found = []
    for reader in readers:
        go: Any = reader.stdin
        go.write("x")
        go.flush()
    for reader in readers:
        out, _ = reader.communicate(timeout=120)
        assert reader.returncode == 0
        found.append(int(out))
    assert found == [int(pixels[0:600:7, 0:800:7].sum(dtype=np.int64))] * 4
    frames = SimpleFrames({"a": tmp_path / "a.png"}, tmp_path / "work", "npy")
    assert _wrong_reads(frames, pixels, 0, 5) == 0


@pytest.mark.parametrize("backend", ["npy", "cog"])
def test_9_videos_under_every_backend_without_prepare(backend: str, tmp_path: Path) -> None:
    scene = make_scene(tmp_path)
    frames = CocoFrames(scene.dataset, tmp_path / "work", backend)
    clip = np.asarray(frames.load_clip(2, (slice(0, 2), slice(3, 30), slice(5, 20))))
    np.testing.assert_array_equal(clip, [scene.pixels[image][3:30, 5:20] for image in (21, 22)])


@pytest.mark.parametrize("backend", [None, "npy", "cog"])
def test_10_single_channels_of_whole_frames_keep_their_axis(backend: str | None, tmp_path: Path) -> None:
    path = tmp_path / "grey.png"
    Image.fromarray(np.full(SIZE, 7, np.uint8)).save(path)
    image = {"id": 1, "file_name": str(path), "width": SIZE[1], "height": SIZE[0], "channels": "grey"}
    image |= {"video_id": 1, "frame_index": 0}
    video = {"id": 1, "name": "one", "width": SIZE[1], "height": SIZE[0]}
    frames = CocoFrames({"images": [image], "videos": [video]}, tmp_path / "work", backend)
    assert np.asarray(frames.load_clip(1)).shape == (1, *SIZE, 1)
    assert np.asarray(frames.load_image(1)).shape == frames.load_frame(1)[...].shape == (*SIZE, 1)


@pytest.mark.parametrize("key", ["assets", "auxiliary"])
def test_13_assets_are_understood(key: str, tmp_path: Path) -> None:
    pixels = _noise(tmp_path / "a.png", size=SIZE)
    image = {"id": 1, "file_name": None, "width": SIZE[1], "height": SIZE[0]}
    document = {"images": [image | {key: [{"file_name": "a.png", "channels": "r|g|b"}]}]}
    frames = CocoFrames(document, tmp_path / "work", "npy", root=tmp_path)
    np.testing.assert_array_equal(frames.load_region(1, channels="b|r"), pixels[..., [2, 0]])


def test_14_load_frame_is_a_lazy_image(tmp_path: Path) -> None:
    pixels = _noise(tmp_path / "a.png", size=SIZE)
    for backend in (None, "npy", "cog"):
        frame = SimpleFrames({"a": tmp_path / "a.png"}, tmp_path / "work", backend).load_frame("a")
        assert frame.shape == (*SIZE, 3)
        np.testing.assert_array_equal(frame[5:20, 10:30], pixels[5:20, 10:30])


def test_19_prepared_copies_that_are_gone_and_other_backends(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    pixels = _noise(path)
    frames = SimpleFrames({"a": path}, tmp_path / "work", "npy")
    frames.prepare(progress=False)
    for copy in frames.cache_dpath.rglob("*.npy"):
        copy.unlink()
    frames.prepare(progress=False)
    assert list(frames.cache_dpath.rglob("*.npy"))
    assert _wrong_reads(frames, pixels, 0, 3) == 0
    # Another backend opens copies of its own.
    frames.backend = "cog"
    assert _wrong_reads(frames, pixels, 0, 3) == 0
    assert list(frames.cache_dpath.rglob("*.tif*"))
    # What is read belongs to the caller.
    frames.backend = None
    for read in (frames.load_image("a"), frames.load_region("a", (slice(0, 9), slice(0, 9)))):
        np.asarray(read)[...] = 0
    np.testing.assert_array_equal(frames.load_image("a"), pixels)


@pytest.mark.parametrize("backend", [None, "npy", "cog"])
def test_21_lazy_images_are_indexed_from_the_end_and_travel(backend: str | None, tmp_path: Path) -> None:
    pixels = _noise(tmp_path / "a.png", size=SIZE)
    frame = SimpleFrames({"a": tmp_path / "a.png"}, tmp_path / "work", backend).load_frame("a")
    for each in (frame, pickle.loads(pickle.dumps(frame))):
        np.testing.assert_array_equal(each[-5:], pixels[-5:])
        np.testing.assert_array_equal(each[-1], pixels[-1])
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(each))[-5:, -1], pixels[-5:, -1])


def test_22_steps_and_a_third_slice_are_obeyed(tmp_path: Path) -> None:
    pixels = _noise(tmp_path / "a.png", size=SIZE)
    frames = SimpleFrames({"a": tmp_path / "a.png"}, tmp_path / "work", "npy")
    region = slice(4, 50, 3), slice(None, None, 2), slice(0, 3, 2)
    np.testing.assert_array_equal(frames.load_region("a", region), pixels[region])
    np.testing.assert_array_equal(frames.load_region("a"), pixels)
