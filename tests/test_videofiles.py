"""Frames of video files: compared with PyAV, which decodes each file from its beginning."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

import subregion
from subregion import CocoFrames, SimpleFrames, VideoFrames, Window
from subregion.errors import (
    ConfigError,
    DamagedFileError,
    PrepareError,
    RecordError,
    SubregionError,
    UnknownImageError,
    UnknownVideoError,
    UnsupportedFormatError,
)
from subregion.formats.open import open_raster
from subregion.formats.video import frames as movie
from subregion.formats.video import index as frameindex
from subregion.formats.video.decoder import FrameDecoder
from subregion.views import View

HEIGHT, WIDTH, COUNT = 96, 128, 60
REGION = (slice(5, 30), slice(-40, None))


def scene(count: int = COUNT, height: int = HEIGHT, width: int = WIDTH) -> NDArray[np.uint8]:
    """A pattern that moves, with the number of the frame in its corner."""
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, 255, (height // 8, width // 8, 3), np.uint8)
    still = np.kron(blocks, np.ones((8, 8, 1), np.uint8))
    frames = np.stack([np.roll(still, 3 * n, 1) for n in range(count)])
    frames[:, :8, :8] = (np.arange(count) * 4)[:, None, None, None]
    return frames


def film(
    path: Path, codec: str, layout: str, *, when: Callable[[int], int] = int, file: Any = None, **options: str
) -> Path:
    """Encode the scene; `when` says at which tick a frame is shown."""
    try:
        with av.open(str(path), "w", options=file or {}) as out:
            stream: Any = out.add_stream(codec, rate=25, options=options)
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, layout
            stream.thread_count = 1
            for n, pixels in enumerate(scene()):
                frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                frame.pts, frame.time_base = when(n), Fraction(1, 25)
                out.mux(stream.encode(frame))
            out.mux(stream.encode())
    except av.codec.codec.UnknownCodecError:
        pytest.skip(f"this FFmpeg has no encoder {codec}")
    return path


def shown(path: Path, layout: str = "rgb24") -> list[NDArray[Any]]:
    """All frames, decoded from the beginning."""
    with av.open(str(path)) as file:
        frames: list[NDArray[Any]] = [frame.to_ndarray(format=layout) for frame in file.decode(video=0)]
    return [frame if frame.ndim == 3 else frame[..., None] for frame in frames]


H264: dict[str, Any] = {"g": "10", "bf": "3"}
OPEN: dict[str, Any] = {"x264-params": "open-gop=1:keyint=10:min-keyint=10:bframes=3:scenecut=0"}
FILMS: dict[str, tuple[str, str, str, dict[str, Any]]] = {
    "h264 with B-frames": ("a.mp4", "libx264", "yuv420p", H264),
    "h264 in fragments": (
        "a.mp4", "libx264", "yuv420p", H264 | {"file": {"movflags": "frag_keyframe+empty_moov"}}),
    "h264 with open groups": ("a.mkv", "libx264", "yuv420p", OPEN),
    "h264 with open groups, mov": ("a.mov", "libx264", "yuv420p", OPEN),
    "h264 with open groups, transport stream": ("a.ts", "libx264", "yuv420p", OPEN),
    "h264 that is refreshed in stripes": (
        "a.mkv", "libx264", "yuv420p", {"x264-params": "intra-refresh=1:keyint=12:bframes=0"}),
    "h264 without times of presentation": ("a.avi", "libx264", "yuv420p", H264),
    "h264 at variable rate": ("a.mp4", "libx264", "yuv420p", H264 | {"when": lambda n: n * n}),
    "h264 in flash": ("a.flv", "libx264", "yuv420p", H264),
    "hevc with open groups": (
        "a.mp4", "libx265", "yuv420p",
        {"x265-params": "open-gop=1:keyint=10:min-keyint=10:bframes=3:log-level=none"}),
    "mpeg4": ("a.avi", "mpeg4", "yuv420p", {"g": "10", "bf": "2"}),
    "mpeg4 in mp4": ("a.mp4", "mpeg4", "yuv420p", {"g": "10", "bf": "2"}),
    "mpeg2": ("a.mpg", "mpeg2video", "yuv420p", {"g": "10", "bf": "2"}),
    "mpeg2 in mxf": ("a.mxf", "mpeg2video", "yuv422p", {"g": "10", "bf": "2", "b": "3M"}),
    "motion jpeg": ("a.avi", "mjpeg", "yuvj420p", {}),
    "windows media": ("a.wmv", "wmv2", "yuv420p", {"g": "10"}),
    "vp9": ("a.webm", "libvpx-vp9", "yuv420p", {"g": "10"}),
    "vp8": ("a.webm", "libvpx", "yuv420p", {"g": "10"}),
    "ffv1": ("a.mkv", "ffv1", "bgr0", {"g": "10"}),
    "ffv1 in nut": ("a.nut", "ffv1", "yuv444p", {"g": "10"}),
    "raw": ("a.y4m", "wrapped_avframe", "yuv420p", {}),
}  # fmt: skip


@pytest.mark.parametrize("kind", FILMS)
def test_every_frame_in_any_order(kind: str, tmp_path: Path) -> None:
    name, codec, layout, options = FILMS[kind]
    path = film(tmp_path / name, codec, layout, **options)
    expected = shown(path)
    frames = VideoFrames(path)
    assert len(frames) == len(expected) == COUNT
    assert list(frames.image_ids) == list(range(COUNT))
    rng = np.random.default_rng(1)
    order = [*rng.integers(0, COUNT, 25).tolist(), *range(COUNT), *range(COUNT - 1, -1, -3)]
    for n in order:
        np.testing.assert_array_equal(
            frames.load_region(n, REGION), expected[n][REGION], err_msg=f"frame {n}"
        )
    # And each for itself, by a decoder that knows of no other frame.
    for n in rng.integers(0, COUNT, 4).tolist():
        with movie._DECODERS._changed:
            movie._DECODERS._idle.clear()
        np.testing.assert_array_equal(frames.load_image(n), expected[n], err_msg=f"frame {n}")


def test_lossless_pixels_are_those_that_were_written(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mkv", "ffv1", "bgr0", g="7")
    frames = VideoFrames(path)
    np.testing.assert_array_equal(frames.load_clip("a.mkv"), scene())
    np.testing.assert_array_equal(frames[11], scene()[11])


@pytest.mark.parametrize(
    ("codec", "stored", "layout", "bands", "dtype"),
    [
        ("ffv1", "gray", "gray", 1, np.uint8),
        ("ffv1", "gray10le", "gray16le", 1, np.uint16),
        ("ffv1", "gray16le", "gray16le", 1, np.uint16),
        ("ffv1", "yuv422p10le", "rgb48le", 3, np.uint16),
        ("ffv1", "gbrp16le", "rgb48le", 3, np.uint16),
        ("ffv1", "yuva420p", "rgba", 4, np.uint8),
        ("ffv1", "yuva444p16le", "rgba64le", 4, np.uint16),
        ("libx264", "yuv420p10le", "rgb48le", 3, np.uint16),
        ("rawvideo", "bgr24", "rgb24", 3, np.uint8),
        ("qtrle", "argb", "rgba", 4, np.uint8),
        ("png", "rgb48be", "rgb48le", 3, np.uint16),
    ],
)
def test_bands_and_depth(
    codec: str, stored: str, layout: str, bands: int, dtype: type[np.generic], tmp_path: Path
) -> None:
    path = film(tmp_path / ("a.mov" if codec in ("qtrle", "png", "rawvideo") else "a.mkv"), codec, stored)
    expected = shown(path, layout)
    frames = VideoFrames(path)
    got = frames.load_image(9)
    assert got is not None
    assert got.shape == (HEIGHT, WIDTH, bands)
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, expected[9])


def test_sixteen_bits_arrive_unchanged(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 65536, (3, HEIGHT, WIDTH), np.uint16)
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as out:
        stream: Any = out.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "gray16le"
        for each in pixels:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(each, format="gray16le")))
        out.mux(stream.encode())
    np.testing.assert_array_equal(VideoFrames(path).load_clip("a.mkv")[..., 0], pixels)


def test_edit_lists_are_obeyed(tmp_path: Path) -> None:
    """The file begins in the middle of a group: frames before are decoded, but not shown."""
    whole, cut = film(tmp_path / "a.mp4", "libx264", "yuv420p", **H264), tmp_path / "cut.mp4"
    with (
        av.open(str(whole)) as source,
        av.open(str(cut), "w", options={"avoid_negative_ts": "disabled"}) as out,
    ):
        stream: Any = source.streams.video[0]
        copy: Any = out.add_stream_from_template(stream)
        for packet in source.demux(stream):
            if packet.size and packet.pts is not None and packet.dts is not None and packet.duration:
                packet.stream = copy
                packet.pts -= 15 * packet.duration
                packet.dts -= 15 * packet.duration
                out.mux(packet)
    expected = shown(cut)
    assert len(expected) == COUNT - 15
    frames = VideoFrames(cut)
    assert len(frames) == COUNT - 15
    for n in (3, 0, 20, 24, 1, 4, 5):
        np.testing.assert_array_equal(frames.load_image(n), expected[n])
    np.testing.assert_array_equal(expected[0], shown(whole)[15])


def test_packets_that_show_no_frame_are_not_counted(tmp_path: Path) -> None:
    """VP8 may hold frames that are only there for others to lean on."""
    whole, path = film(tmp_path / "a.webm", "libvpx", "yuv420p", g="10"), tmp_path / "b.webm"
    with av.open(str(whole)) as source, av.open(str(path), "w") as out:
        stream: Any = source.streams.video[0]
        copy: Any = out.add_stream_from_template(stream)
        for n, packet in enumerate(packet for packet in source.demux(stream) if packet.size):
            content = bytearray(bytes(packet))
            if n in (13, 14, 26):
                content[0] &= ~0x10
            twin: Any = av.Packet(bytes(content))
            twin.pts, twin.dts, twin.time_base = packet.pts, packet.dts, packet.time_base
            twin.is_keyframe, twin.stream = packet.is_keyframe, copy
            out.mux(twin)
    expected = shown(path)
    assert len(expected) == COUNT - 3
    frames = VideoFrames(path)
    assert len(frames) == COUNT - 3
    for n in (30, 0, 13, 14, 24, 36):
        np.testing.assert_array_equal(frames.load_image(n), expected[n])


def test_frames_that_are_left_out_are_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where packets turn out not to be frames, the file is decoded once to see what is shown."""
    path = film(tmp_path / "a.mp4", "libx264", "yuv420p", **H264)
    expected = shown(path)
    known = frameindex.index_packets

    def misled(*given: Any) -> Any:
        index = known(*given)
        assert index is not None
        assert index.labels is not None
        labels = np.insert(index.labels, 20, index.labels[20] - 1)
        return dataclasses.replace(index, labels=labels, count=COUNT + 1)

    monkeypatch.setattr(movie, "index_packets", misled)
    frames = VideoFrames(path)
    assert len(frames) == COUNT + 1
    for n in range(COUNT):
        np.testing.assert_array_equal(frames.load_image(n), expected[n])
    with pytest.raises(RecordError, match=f"has {COUNT} frames"):
        frames.load_image(COUNT)


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return film(tmp_path / "a.mp4", "libx264", "yuv420p", **H264)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Which frames are decoded, in order."""
    numbers: list[int] = []
    remember = FrameDecoder.remember

    def noted(self: FrameDecoder, number: int, frame: Any) -> None:
        numbers.append(number)
        remember(self, number, frame)

    monkeypatch.setattr(FrameDecoder, "remember", noted)
    return numbers


@pytest.mark.parametrize("backend", ["npy", "cog", "auto"])
@pytest.mark.parametrize("workers", [0, 3])
def test_preparing_decodes_the_video_once(
    backend: str, workers: int, video: Path, workdir: Path, decoded: list[int]
) -> None:
    frames = VideoFrames(video, workdir, backend)
    frames.prepare(workers=workers)
    entries = len(list(frames.cache_dpath.rglob("*.json")))
    assert entries == (0 if backend == "auto" else COUNT)  # auto leaves small frames where they are
    if entries:
        assert sorted(set(decoded)) == list(range(COUNT))
        assert len(decoded) <= COUNT * (1 if workers == 0 else 1.5)
        movie._MOVIES.forget(lambda key: True)
        before = len(decoded)
        for n, expected in enumerate(shown(video)):
            np.testing.assert_array_equal(frames.load_region(n, REGION), expected[REGION])
        assert len(decoded) == before  # all from the cache
        frames.prepare()
        assert len(decoded) == before


def test_reading_backwards_and_again_decodes_little(video: Path, decoded: list[int]) -> None:
    frames = VideoFrames(video)
    for n in range(COUNT - 1, -1, -1):
        frames.load_region(n, REGION)
        frames.load_region(n, REGION)
    assert len(decoded) <= COUNT + 10
    del decoded[:]
    for n in range(0, COUNT, 2):
        frames.load_region(n, REGION)
    assert len(decoded) <= COUNT


def test_readers_in_threads_share_the_way(video: Path, decoded: list[int]) -> None:
    expected = shown(video)
    frames = VideoFrames(video)
    with ThreadPoolExecutor(6) as threads:
        for n, got in enumerate(threads.map(lambda n: frames.load_region(n, REGION), range(COUNT))):
            np.testing.assert_array_equal(got, expected[n][REGION])
    assert len(decoded) <= 2 * COUNT
    rng = np.random.default_rng(0)
    order = rng.integers(0, COUNT, 150).tolist()
    with ThreadPoolExecutor(6) as threads:
        for n, got in zip(order, threads.map(lambda n: frames.load_region(n, REGION), order), strict=True):
            np.testing.assert_array_equal(got, expected[n][REGION])
    assert len(movie._DECODERS._idle) <= movie.DECODERS_KEPT


def test_a_clip_is_read_like_any_other(video: Path, decoded: list[int]) -> None:
    expected = np.stack(shown(video))
    frames = VideoFrames({"one": video, "two": video})
    assert list(frames.video_ids) == ["one", "two"]
    assert len(frames) == 2 * COUNT
    assert frames.image_ids[COUNT] == ("two", 0)
    np.testing.assert_array_equal(
        frames.load_clip("two", (slice(3, 30, 4), *REGION)), expected[3:30:4][:, *REGION]
    )
    clip = frames.load_clip("one", (slice(-2, None), Window(-3, -3, 10, 10)), details=True)
    np.testing.assert_array_equal(clip.pixels[:, 3:, 3:], expected[-2:, :7, :7])
    assert clip.image_ids == (("one", COUNT - 2), ("one", COUNT - 1))
    assert clip.frame_indexes == (COUNT - 2, COUNT - 1)
    batch = frames.load_regions([(("one", n), Window(0, 0, 9, 9)) for n in (30, 2, 2)])
    np.testing.assert_array_equal(batch, expected[[30, 2, 2], :9, :9])
    half = frames.load_region(("one", 5), scale=0.5)
    assert half.shape == (HEIGHT // 2, WIDTH // 2, 3)


def test_ids_that_no_frame_has(video: Path) -> None:
    frames = VideoFrames(video)
    for wrong in (COUNT, -1, "a", 1.0, True, ("a.mp4", 1), None):
        with pytest.raises(UnknownImageError):
            frames.load_region(wrong)
    assert frames.load_region(np.int64(3), REGION).shape == (25, 40, 3)
    several = VideoFrames({"x": video})
    for other in (3, ("y", 1), ("x", COUNT), ("x", "1"), (["x"], 1)):
        with pytest.raises(UnknownImageError):
            several.load_region(other)
    for name in ("y", ["x"]):
        with pytest.raises(UnknownVideoError):
            several.load_clip(name)
    with pytest.raises(ConfigError):
        VideoFrames(video, hashid_mode="GIVEN")
    with pytest.raises(TypeError, match="enumerate"):
        VideoFrames([video])  # type: ignore[arg-type]
    with pytest.raises(RecordError, match=f"the video has {COUNT} frames, 0 to {COUNT - 1}"):
        open_raster(str(video), View(COUNT))


def test_one_frame_without_a_collection(video: Path, tmp_path: Path, workdir: Path) -> None:
    expected = shown(video)
    np.testing.assert_array_equal(subregion.open(video, None)[:9], expected[0][:9])
    np.testing.assert_array_equal(subregion.open(video, "cog", workdir, frame=7)[:9], expected[7][:9])
    np.testing.assert_array_equal(SimpleFrames({1: video}).load_image(1), expected[0])
    picture = tmp_path / "a.npy"
    np.save(picture, expected[0])
    with pytest.raises(RecordError, match="no video file"):
        _ = subregion.open(picture, None, frame=0).shape


def test_a_dataset_of_video_files(video: Path, tmp_path: Path, workdir: Path) -> None:
    expected = shown(video)
    grey = film(tmp_path / "heat.mkv", "ffv1", "gray")
    heat = shown(grey, "gray")
    asset = {"file_name": "heat.mkv", "channels": "heat", "warp_aux_to_img": {"scale": 1}}
    images = [
        {"id": 10 + n, "file_name": "a.mp4", "channels": "r|g|b", "video_id": 1, "frame_index": n,
         "width": WIDTH, "height": HEIGHT, "assets": [asset | {"frame": n // 2}]}
        for n in range(20)
    ]  # fmt: skip
    dataset = {"videos": [{"id": 1, "width": WIDTH, "height": HEIGHT}], "images": images}
    path = tmp_path / "data.json"
    path.write_text(json.dumps(dataset))
    for backend in (None, "npy"):
        frames = CocoFrames(path, workdir, backend)
        got = frames.load_clip(1, (slice(4, 9), *REGION), "heat|r|g|b")
        np.testing.assert_array_equal(got[..., 1:], np.stack(expected[4:9])[:, *REGION])
        np.testing.assert_array_equal(got[..., :1], np.stack([heat[n // 2] for n in range(4, 9)])[:, *REGION])
    frames.prepare()
    assert len(list(frames.cache_dpath.rglob("*.json"))) == 20 + 10
    images[0]["frame"] = -1
    with pytest.raises(RecordError, match="frame=-1"):
        CocoFrames(dataset, backend=None, root=tmp_path).load_region(10)
    images[0]["frame"] = COUNT
    with pytest.raises(RecordError, match=f"has {COUNT} frames"):
        CocoFrames(dataset, backend=None, root=tmp_path).load_region(10)


@pytest.mark.parametrize("mode", ["PATH", "PIXELS"])
def test_a_replaced_video_is_noticed(mode: str, video: Path, workdir: Path) -> None:
    frames = VideoFrames(video, workdir, "npy", mode)
    before = np.array(frames.load_image(8))
    other = film(video.with_name("other.mp4"), "mpeg4", "yuv420p", g="10")
    os.replace(other, video)
    after = shown(video)[8]
    assert not np.array_equal(before, after)
    np.testing.assert_array_equal(frames.load_image(8), after)


def read_some(frames: VideoFrames, expected: list[NDArray[Any]], seed: int, answers: Any) -> None:
    rng = np.random.default_rng(seed)
    wrong = 0
    for n in rng.integers(0, COUNT, 25).tolist():
        wrong += not np.array_equal(frames.load_region(n, REGION), expected[n][REGION])
    answers.put(wrong)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_children_read_the_same_frames(method: str, video: Path) -> None:
    expected = shown(video)
    frames = VideoFrames(video)
    frames.load_region(17)  # a decoder is open and in the middle
    context: Any = multiprocessing.get_context(method)
    answers = context.Queue()
    children = [context.Process(target=read_some, args=(frames, expected, k, answers)) for k in range(2)]
    for child in children:
        child.start()
    np.testing.assert_array_equal(frames.load_region(18), expected[18])
    assert [answers.get(timeout=120) for _ in children] == [0, 0]
    for child in children:
        child.join(timeout=60)
        assert child.exitcode == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_forking_while_threads_decode_does_not_hang(video: Path) -> None:
    expected = shown(video)
    frames = VideoFrames(video)
    stop = threading.Event()

    def read_on(seed: int) -> None:
        rng = np.random.default_rng(seed)
        while not stop.is_set():
            n = int(rng.integers(0, COUNT))
            np.testing.assert_array_equal(frames.load_region(n, REGION), expected[n][REGION])

    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    with ThreadPoolExecutor(3) as threads:
        readers = [threads.submit(read_on, seed) for seed in range(3)]
        children = [context.Process(target=read_some, args=(frames, expected, k, answers)) for k in range(6)]
        for child in children:
            child.start()
        try:
            assert sum(answers.get(timeout=120) for _ in children) == 0
        finally:
            stop.set()
        for child in children:
            child.join(timeout=60)
            assert child.exitcode == 0
        for reader in readers:
            reader.result()


def test_no_thread_of_ffmpeg_is_started(video: Path) -> None:
    tasks = Path("/proc/self/task")
    if not tasks.exists():
        pytest.skip("threads cannot be counted here")
    frames = VideoFrames(video)
    before = len(list(tasks.iterdir()))
    frames.load_region(12)
    assert len(list(tasks.iterdir())) == before


def test_pickles_hold_no_decoder(video: Path) -> None:
    frames = VideoFrames(video)
    expected = frames.load_region(12, REGION)
    dumped = pickle.dumps(frames)
    assert len(dumped) < 1000
    np.testing.assert_array_equal(pickle.loads(dumped).load_region(12, REGION), expected)
    lazy = frames.load_frame(12)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(lazy))[REGION], expected)


def test_open_files_do_not_pile_up(video: Path) -> None:
    links = Path("/proc/self/fd")
    if not links.exists():
        pytest.skip("descriptors cannot be counted here")
    frames = VideoFrames(video)
    for n in range(COUNT):
        frames.load_region((n * 17) % COUNT, REGION)
    count = sum(str(link.readlink()) == str(video) for link in links.iterdir() if link.is_symlink())
    assert count <= COUNT + movie.DECODERS_KEPT  # each frame that is open, and the decoders


@pytest.mark.parametrize("kind", ["h264 with B-frames", "h264 in fragments", "ffv1", "mpeg4", "vp9"])
def test_a_truncated_file_says_so(kind: str, tmp_path: Path) -> None:
    name, codec, layout, options = FILMS[kind]
    path = film(tmp_path / name, codec, layout, **options)
    content = path.read_bytes()
    for part in (len(content) * 2 // 3, len(content) - 3, 60):
        path.write_bytes(content[:part])
        with pytest.raises(SubregionError, match=name):
            VideoFrames(path).load_region(0)


def test_a_recording_that_was_never_finished_is_read(tmp_path: Path) -> None:
    """Live Matroska leaves its length open: what is there is the video."""
    path = film(tmp_path / "a.mkv", "ffv1", "bgr0", file={"live": "1"}, g="5")
    frames = VideoFrames(path)
    np.testing.assert_array_equal(frames.load_clip("a.mkv"), scene())


def test_damage_is_an_error_of_the_frames_that_it_touches(tmp_path: Path, workdir: Path) -> None:
    path = film(tmp_path / "a.mp4", "libx264", "yuv420p", g="10", bf="3", preset="ultrafast", crf="10")
    expected = shown(path)
    with av.open(str(path)) as file:
        packets = [p for p in file.demux(video=0) if p.size and p.pts is not None]
        target = sorted(packets, key=lambda p: p.pts or 0)[13]
        assert target.pos is not None
        start, size = target.pos, target.size
    content = bytearray(path.read_bytes())
    for k in range(start + size // 2, start + size):
        content[k] ^= 0xA5
    path.write_bytes(content)
    frames = VideoFrames(path, workdir, "npy")
    for n in (5, 25, 9, 39):
        np.testing.assert_array_equal(frames.load_image(n), expected[n])
    with pytest.raises(DamagedFileError, match=r"a.mp4: frame 13 cannot be decoded as h264: Invalid data"):
        frames.load_image(13)
    with pytest.raises(PrepareError) as caught:
        frames.prepare()
    assert 13 in caught.value.failures
    assert set(caught.value.failures) <= set(range(10, 20))


def test_ffmpeg_prints_nothing(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", "libx264", "yuv420p", **H264)
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 100] = b"\xa5" * 100
    path.write_bytes(content)
    code = (
        "import sys, subregion\n"
        "frames = subregion.VideoFrames(sys.argv[1], backend=None)\n"
        "wrong = 0\n"
        "for n in frames.image_ids:\n"
        "    try:\n"
        "        frames.load_region(n)\n"
        "    except subregion.SubregionError:\n"
        "        wrong += 1\n"
        "print(wrong)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert int(done.stdout) > 0


def test_random_damage_is_never_more_than_an_error(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for kind in ("h264 with B-frames", "vp9", "mpeg4"):
        name, codec, layout, options = FILMS[kind]
        path = film(tmp_path / name, codec, layout, **options)
        content = np.frombuffer(path.read_bytes(), np.uint8)
        for _ in range(12):
            spoilt = content.copy()
            spoilt[rng.integers(0, len(spoilt), 20)] = rng.integers(0, 256, 20)
            path.write_bytes(spoilt.tobytes())
            frames = VideoFrames(path)
            for n in (0, 7, 21):
                with contextlib.suppress(SubregionError):
                    assert frames.load_region(n).dtype == np.uint8


def test_what_is_no_video_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, video: Path) -> None:
    audio = tmp_path / "sound.m4a"
    with av.open(str(audio), "w", format="mp4") as out:
        stream: Any = out.add_stream("aac", rate=44100)
        sound = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), format="fltp")
        sound.rate = 44100
        out.mux(stream.encode(sound))
        out.mux(stream.encode())
    with pytest.raises(UnsupportedFormatError, match=r"sound.m4a: has no video, only audio"):
        open_raster(str(audio))
    text = tmp_path / "a.txt"
    text.write_text("hello")
    with pytest.raises(UnsupportedFormatError, match="no video file"):
        len(VideoFrames(text))
    for garbage in (
        b"\x1aE\xdf\xa3" + b"x" * 200,
        b"\0\0\0\x20ftypisom" + b"\0" * 400,
        b"RIFF\xff\xff\xff\xffAVI " + b"x" * 99,
    ):
        text.write_bytes(garbage)
        with pytest.raises(SubregionError, match=r"a\.txt"):
            open_raster(str(text))
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UnsupportedFormatError, match=r"pip install 'subregion\[video\]'"):
        VideoFrames(video).load_region(0)


def test_a_size_that_changes_on_the_way_is_an_error(tmp_path: Path) -> None:
    parts = []
    for k, (width, height) in enumerate([(64, 48), (96, 64)]):
        path = tmp_path / f"{k}.ts"
        with av.open(str(path), "w") as out:
            stream: Any = out.add_stream("mpeg2video", rate=25, options={"g": "1"})
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            for n in range(5):
                frame = av.VideoFrame.from_ndarray(scene(5, height, width)[n], format="rgb24")
                frame.pts, frame.time_base = 5 * k + n, Fraction(1, 25)
                out.mux(stream.encode(frame))
            out.mux(stream.encode())
        parts.append(path.read_bytes())
    path = tmp_path / "both.ts"
    path.write_bytes(b"".join(parts))
    frames = VideoFrames(path)
    assert frames.load_region(0).shape == (48, 64, 3)
    with pytest.raises(UnsupportedFormatError, match="all its frames are alike"):
        frames.load_region(len(frames) - 1)


def test_frames_that_are_larger_than_the_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For a frame that is too large no memory is asked for."""
    path = tmp_path / "a.mp4"
    film(path, "mpeg4", "yuv420p")
    monkeypatch.setenv("SUBREGION_MAX_WHOLE_BYTES", str(HEIGHT * WIDTH * 3 - 1))
    with pytest.raises(SubregionError, match="a.mp4"):
        subregion.open(path, backend=None)[:]
    monkeypatch.setenv("SUBREGION_MAX_WHOLE_BYTES", str(HEIGHT * WIDTH * 3))
    assert subregion.open(path, backend=None).shape == (HEIGHT, WIDTH, 3)


@pytest.mark.timeout(60)
def test_boxes_without_end(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    many, nothing = b"\0\0\0\x08free" * 1_000_000, b"\0\0\0\0moov"
    for boxes in (many, nothing, b"\0\0\0\x01moov" + b"\0" * 8, b"\0\0\0\x08moov" * 9):
        path.write_bytes(b"\0\0\0\x10ftypisom\0\0\0\0" + boxes)
        with pytest.raises(SubregionError, match="a.mp4"):
            subregion.open(path, backend=None).shape  # noqa: B018 - opens it
