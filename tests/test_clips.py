"""Regions of space and time: compared with kwcoco, and with frames that are drawn one pixel at a time."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import kwcoco
import numpy as np
import pytest
import tifffile
from affine import Affine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import subregion.frames
from subregion import Asset, CocoFrames, ImageRecord, VideoPlace, Window
from subregion.errors import (
    ConfigError,
    RecordError,
    RegionError,
    RegionTypeError,
    UnknownChannelError,
    UnknownImageError,
    UnknownVideoError,
)
from subregion.geometry.region import split_time

# kwcoco draws its demonstration with casts that overflow, and regrets that there is no GDAL.
pytestmark = [
    pytest.mark.filterwarnings("ignore:overflow encountered in cast:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:.*(cpu_nms|without gdal).*:UserWarning"),
]

VIDEO = (64, 80)
#: Affines of whole numbers, so that the nearest pixel is never in doubt.
WARPS = [
    Affine.identity(),
    Affine.translation(5, -3),
    Affine.scale(2),
    Affine.translation(-9, 7) @ Affine.scale(3),
    Affine.translation(1, 0),
]


@pytest.fixture(scope="session", params=["vidshapes8-multispectral", "vidshapes8-msi-multisensor"])
def moved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A dataset that kwcoco draws, with frames that lie anyhow in their videos."""
    folder = tmp_path_factory.mktemp("kwcoco")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        dataset = kwcoco.CocoDataset.demo(request.param, verbose=0, dpath=str(folder / "d"))
    rng = np.random.default_rng(0)
    for image in dataset.dataset["images"]:
        image["warp_img_to_vid"] = {
            "type": "affine",
            "scale": float(rng.uniform(0.8, 1.4)),
            "theta": float(rng.choice([0, 0.1])),
            "offset": [float(n) for n in rng.uniform(-20, 20, 2)],
        }
    for video in dataset.dataset["videos"]:
        video["width"], video["height"] = 640, 620
    return dataset


def test_the_same_clip_as_kwcoco(moved: Any) -> None:
    frames = CocoFrames(moved, backend=None)
    assert list(frames.video_ids) == list(moved.videos())
    compared = 0
    for video_id in list(frames.video_ids)[:3]:
        assert list(frames.frames_of(video_id)) == list(moved.images(video_id=video_id))
        region = (slice(150, 220), slice(170, 234))
        clip = frames.load_clip(video_id, (slice(None), *region), "<all>", antialias=False, details=True)
        assert clip.pixels.shape == (len(clip.image_ids), 70, 64, len(clip.channels))
        assert clip.frame_indexes == tuple(moved.images(clip.image_ids).lookup("frame_index"))
        for place, image_id in enumerate(clip.image_ids):
            image = moved.coco_image(image_id)
            held = image.channels.fuse().normalize().parsed
            assert [name not in held for name in clip.channels] == clip.missing[place].tolist()
            assert not clip.pixels[place][..., clip.missing[place]].any()
            record = frames.record(image_id).in_video()
            for name in held:
                expected = (
                    image.imdelay(name, space="video")
                    .crop(region)
                    .finalize(interpolation="linear", antialias=False)
                )[..., 0]
                inside = far_from_border(record, record.places()[name][0], region)
                got = clip.pixels[place, ..., clip.channels.index(name)].astype(np.float64)
                difference = np.abs(got - expected)[inside]
                scale = max(1.0, float(np.nanmax(expected)))
                compared += difference.size
                # OpenCV places samples in steps of 1/32 pixel.
                assert difference.max(initial=0) <= 0.06 * scale
                assert difference.size == 0 or difference.mean() <= 0.004 * scale
    assert compared > 50_000


def far_from_border(record: ImageRecord, number: int, region: tuple[slice, slice]) -> NDArray[np.bool_]:
    """Which pixels of a region lie two pixels or more inside a file."""
    asset = record.assets[number]
    assert asset.to_image is not None
    assert asset.width is not None
    assert asset.height is not None
    inverse = ~asset.to_image
    y, x = np.mgrid[region]
    across = inverse.a * (x + 0.5) + inverse.b * (y + 0.5) + inverse.c
    down = inverse.d * (x + 0.5) + inverse.e * (y + 0.5) + inverse.f
    inside: NDArray[np.bool_] = (
        (across > 2) & (down > 2) & (across < asset.width - 2) & (down < asset.height - 2)
    )
    return inside


def document(warp: Affine) -> dict[str, Any]:
    return {"type": "affine", "matrix": np.array(warp).reshape(3, 3).tolist()}


@pytest.fixture(scope="session")
def walk(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Two sensors take turns; each frame lies elsewhere in the video. Ids and order are mixed."""
    folder = tmp_path_factory.mktemp("walk")
    rng = np.random.default_rng(0)
    images = []
    for number, warp in enumerate(WARPS):
        rows, cols = int(rng.integers(20, 60)), int(rng.integers(20, 70))
        rows, cols = rows * 2, cols * 2
        image: dict[str, Any] = {
            "id": 100 - number, "video_id": 7, "frame_index": 10 * number, "width": cols, "height": rows,
            "warp_img_to_vid": document(warp), "name": f"{number}",
        }  # fmt: skip
        tifffile.imwrite(
            folder / f"{number}.tif", rng.integers(1, 255, (rows, cols), np.uint8), tile=(16, 16)
        )
        image |= {"file_name": f"{number}.tif", "channels": "grey" if number % 2 else "pan"}
        tifffile.imwrite(folder / f"{number}x.tif", rng.integers(1, 9999, (rows // 2, cols // 2), np.uint16))
        asset = {"file_name": f"{number}x.tif", "channels": "x", "warp_aux_to_img": {"scale": 2}}
        if number != 2:
            image["assets"] = [asset]
        images.append(image)
    other = {"id": 1, "file_name": "0.tif", "video_id": 8, "frame_index": 0, "channels": "thermal"}
    video = {"id": 7, "name": "walk", "width": VIDEO[1], "height": VIDEO[0]}
    lonely = {"id": 3, "file_name": "0.tif", "channels": "grey"}
    return folder, {
        "videos": [{"id": 8, "name": "other"}, video, {"id": 9, "name": "empty", "width": 5, "height": 5}],
        "images": [lonely, *reversed(images), other],
    }


def slow_frame(walk: tuple[Path, dict[str, Any]], number: int, channel: str, fill: float) -> NDArray[Any]:
    """A whole frame of the video, the nearest pixel looked up for each pixel centre."""
    folder, _ = walk
    out = np.full(VIDEO, fill)
    if channel == "x":
        if number == 2:
            return out
        pixels, warp = tifffile.imread(folder / f"{number}x.tif"), WARPS[number] @ Affine.scale(2)
    else:
        if channel != ("grey" if number % 2 else "pan"):
            return out
        pixels, warp = tifffile.imread(folder / f"{number}.tif"), WARPS[number]
    for row in range(VIDEO[0]):
        for col in range(VIDEO[1]):
            x, y = ~warp @ (col + 0.5, row + 0.5)
            if 0 <= x < pixels.shape[1] and 0 <= y < pixels.shape[0]:
                out[row, col] = pixels[int(y), int(x)]
    return out


CHANNELS = ("pan", "x", "grey")
slices = st.builds(
    slice, *(st.one_of(st.none(), st.integers(-90, 90)),) * 2, st.sampled_from([None, 1, 2, 3])
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.tuples(slices, slices, slices, slices),
    st.lists(st.sampled_from(CHANNELS), min_size=1, max_size=4),
    st.sampled_from([None, 3]),
)
def test_any_slices_equal_those_of_the_slow_video(
    walk: tuple[Path, dict[str, Any]],
    slow_video: dict[float, NDArray[Any]],
    region: tuple[slice, slice, slice, slice],
    channels: list[str],
    fill: float | None,
) -> None:
    frames = CocoFrames(walk[1], backend=None, root=walk[0])
    expected = slow_video[fill or 0][..., [CHANNELS.index(name) for name in channels]][region]
    got = frames.load_clip(7, region, channels, interpolation="nearest", fill=fill)
    assert got.shape == expected.shape
    np.testing.assert_array_equal(got, expected)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    slices,
    st.builds(Window, *(st.integers(-90, 90),) * 2, *(st.integers(0, 40),) * 2),
    st.lists(st.sampled_from(CHANNELS), min_size=1, max_size=4),
)
def test_any_window_equals_that_of_the_slow_video(
    walk: tuple[Path, dict[str, Any]],
    slow_video: dict[float, NDArray[Any]],
    times: slice,
    window: Window,
    channels: list[str],
) -> None:
    frames = CocoFrames(walk[1], backend=None, root=walk[0])
    whole = np.pad(slow_video[0], [(0, 0), (90, 140), (90, 140), (0, 0)])
    whole = whole[times, window.row + 90 :, window.col + 90 :, :][:, : window.height, : window.width]
    expected = whole[..., [CHANNELS.index(name) for name in channels]]
    got = frames.load_clip(7, (times, window), channels, interpolation="nearest")
    assert got.shape == expected.shape == (expected.shape[0], *window.shape, len(channels))
    np.testing.assert_array_equal(got, expected)


@pytest.fixture(scope="session")
def slow_video(walk: tuple[Path, dict[str, Any]]) -> dict[float, NDArray[Any]]:
    """The whole video, for each fill."""
    return {
        fill: np.stack(
            [
                np.stack([slow_frame(walk, number, name, fill) for name in CHANNELS], -1)
                for number in range(len(WARPS))
            ]
        )
        for fill in (0, 3)
    }


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.builds(Window, *(st.integers(-90, 90),) * 2, *(st.integers(0, 50),) * 2),
    st.floats(0.1, 3),
    st.sampled_from([None, "float", "ma"]),
    st.sampled_from(["pan|x", "<all>", "x", "grey"]),
)
def test_shapes_are_exact_at_any_scale(
    walk: tuple[Path, dict[str, Any]], window: Window, scale: float, nodata: str | None, channels: str
) -> None:
    frames = CocoFrames(walk[1], backend=None, root=walk[0])
    clip = frames.load_clip(7, (slice(1, 4), window), channels, scale=scale, nodata=nodata, details=True)
    rows, cols = (max(1, int(np.floor(n * scale + 0.5))) if n else 0 for n in window.shape)
    assert clip.pixels.shape == (3, rows, cols, len(clip.channels))
    assert clip.missing.shape == (3, len(clip.channels))
    one = (
        frames.load_region(97, window, clip.channels[0], scale=scale, space="video")
        if not clip.missing[2, 0]
        else None
    )
    if one is not None and nodata is None:
        np.testing.assert_array_equal(clip.pixels[2, ..., :1], one)


def test_what_stands_for_a_missing_channel(walk: tuple[Path, dict[str, Any]]) -> None:
    frames = CocoFrames(walk[1], backend=None, root=walk[0])
    region = (slice(0, 3), slice(20, 30), slice(20, 30))
    clip = frames.load_clip(7, region, "x|pan", details=True)
    assert clip.pixels.dtype == np.uint16
    np.testing.assert_array_equal(clip.missing, [[False, False], [False, True], [True, False]])
    assert clip.image_ids == (100, 99, 98)
    assert clip.frame_indexes == (0, 10, 20)
    assert clip.channels == ("x", "pan")
    assert (clip.pixels[2, ..., 0] == 0).all()
    assert (frames.load_clip(7, region, "x|pan", fill=9)[2, ..., 0] == 9).all()
    numbers = frames.load_clip(7, region, "x|pan", nodata="float", fill=9)
    assert numbers.dtype.kind == "f"
    assert np.isnan(numbers[2, ..., 0]).all()
    assert not np.isnan(numbers[0]).any()
    masked = frames.load_clip(7, region, "x|pan", nodata="ma")
    assert masked.dtype == np.uint16
    np.testing.assert_array_equal(masked.mask.all(axis=(1, 2)), clip.missing)
    np.testing.assert_array_equal(masked.data[~masked.mask], clip.pixels[~masked.mask])
    # None of these frames has the channel, but another has: its type counts.
    only = frames.load_clip(7, slice(2, 3), "x", details=True)
    assert only.pixels.shape == (1, *VIDEO, 1)
    assert only.pixels.dtype == np.uint16
    assert only.missing.all()
    assert frames.load_clip(7, slice(0, 0), "pan").shape == (0, *VIDEO, 1)
    assert frames.load_clip(7, slice(0, 0), "pan").dtype == np.uint8


def test_frames_can_be_chosen_and_may_repeat(walk: tuple[Path, dict[str, Any]]) -> None:
    frames = CocoFrames(walk[1], backend=None, root=walk[0])
    assert list(frames.frames_of(7)) == [100, 99, 98, 97, 96]
    whole = frames.load_clip(7, None, "x")
    chosen = frames.load_clip(7, slice(1, None), "x", frames=[100, 96, 96, 99])
    np.testing.assert_array_equal(chosen, whole[[4, 4, 1]])
    with pytest.raises(RecordError, match="no frame of video 7"):
        frames.load_clip(7, None, "x", frames=[1])
    with pytest.raises(RecordError, match="no frame of video 7"):
        frames.load_clip(7, None, "x", frames=[3], space="image")
    with pytest.raises(UnknownImageError):
        frames.load_clip(7, None, "x", frames=[12345])
    with pytest.raises(RegionTypeError, match="list of image ids"):
        frames.load_clip(7, None, "x", frames=100)  # type: ignore[arg-type]


def test_plain_frames_keep_their_bands(tmp_path: Path, workdir: Path) -> None:
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 255, (6, 70, 90, 3), np.uint8)
    images = []
    for number, frame in enumerate(pixels):
        tifffile.imwrite(
            tmp_path / f"{number}.tif", frame, tile=(32, 32), compression="zlib", photometric="rgb"
        )
        images.append({"id": number, "file_name": f"{number}.tif", "video_id": 1, "frame_index": number})
    dataset = {"videos": [{"id": 1}], "images": images}
    for backend in (None, "npy"):
        frames = CocoFrames(dataset, workdir, backend, root=tmp_path)
        np.testing.assert_array_equal(frames.load_clip(1), pixels)
        region = (slice(1, 5, 2), slice(-30, None, 2), slice(3, 50), slice(None, None, 2))
        np.testing.assert_array_equal(frames.load_clip(1, region), pixels[region])
        np.testing.assert_array_equal(frames.load_clip(1, (..., slice(0, 1))), pixels[..., :1])
        got = frames.load_clip(1, Window(-1, -2, 80, 100), fill="edge")
        np.testing.assert_array_equal(got, np.pad(pixels, [(0, 0), (1, 9), (2, 8), (0, 0)], mode="edge"))
        clip = frames.load_clip(1, slice(2), details=True)
        assert clip.channels == (None, None, None)
        assert not clip.missing.any()
        np.testing.assert_array_equal(frames.load_clip(1, slice(2), "<all>"), pixels[:2])
    tifffile.imwrite(tmp_path / "3.tif", pixels[3, ..., 0])
    with pytest.raises(RecordError, match="image 3 has 1"):
        frames.load_clip(1)


def test_types_and_what_lies_outside_agree_over_all_frames(tmp_path: Path) -> None:
    images = []
    for number, dtype in enumerate(["u1", "f4", "u2"]):
        tifffile.imwrite(tmp_path / f"{number}.tif", np.full((20, 30), 7, dtype))
        images.append({"id": number, "file_name": f"{number}.tif", "channels": "a", "video_id": 1,
                       "frame_index": number, "width": 30, "height": 20})  # fmt: skip
    frames = CocoFrames(
        {"videos": [{"id": 1, "width": 30, "height": 20}], "images": images}, root=tmp_path, backend=None
    )
    got = frames.load_clip(1, Window(-2, -3, 30, 40), "a")[..., 0]
    assert got.dtype == np.float32
    expected = np.full((3, 30, 40), np.nan)
    expected[:, 2:22, 3:33] = 7
    np.testing.assert_array_equal(got, expected)
    half = frames.load_clip(1, Window(-2, -4, 30, 40), "a", scale=0.5)[..., 0]
    expected = np.full((3, 15, 20), np.nan)
    expected[:, 1:11, 2:17] = 7
    np.testing.assert_array_equal(half, expected)
    np.testing.assert_array_equal(frames.load_clip(1, slice(0, 3, 2), "a").dtype, np.uint16)


def test_default_channels_must_agree(walk: tuple[Path, dict[str, Any]]) -> None:
    frames = CocoFrames(walk[1], backend=None, root=walk[0])
    assert frames.load_clip(7, slice(0, None, 2)).shape == (3, *VIDEO, 1)
    with pytest.raises(RecordError, match=r"pan in image 100 and grey in image 99.*'<all>'"):
        frames.load_clip(7)
    clip = frames.load_clip(7, slice(1, 2), "<all>", details=True)
    assert clip.channels == ("pan", "x", "grey")
    with pytest.raises(UnknownChannelError, match="video 7: no channel 'swir'; there is: pan, x, grey"):
        frames.load_clip(7, None, "x|swir")
    with pytest.raises(UnknownChannelError, match="thermal"):
        frames.load_clip(7, None, "thermal")


def test_frames_of_the_image_space_must_be_of_one_size(walk: tuple[Path, dict[str, Any]]) -> None:
    frames = CocoFrames(walk[1], backend=None, root=walk[0])
    with pytest.raises(RegionError, match=r"different sizes.*space='video'"):
        frames.load_clip(7, None, "x", space="image")
    got = frames.load_clip(7, Window(0, 0, 30, 30), "x", space="image")
    np.testing.assert_array_equal(got[1], frames.load_region(99, Window(0, 0, 30, 30), "x"))


def test_one_frame_in_either_space(
    walk: tuple[Path, dict[str, Any]], slow_video: dict[float, NDArray[Any]]
) -> None:
    folder, dataset = walk
    frames = CocoFrames(dataset, backend=None, root=folder)
    got = frames.load_region(98, channels="pan", interpolation="nearest", space="video")
    np.testing.assert_array_equal(got, slow_video[0][2, ..., :1])
    np.testing.assert_array_equal(frames.load_region(98), tifffile.imread(folder / "2.tif")[..., None])
    requests = [(98, Window(3, 4, 10, 11)), (100, Window(0, 0, 10, 11))]
    pair = frames.load_regions(requests, "pan", interpolation="nearest", space="video")
    np.testing.assert_array_equal(pair[0], slow_video[0][2, 3:13, 4:15, :1])
    np.testing.assert_array_equal(pair[1], slow_video[0][0, :10, :11, :1])
    assert frames.load_alignable(98, "video").shape == (*VIDEO, 1)
    assert frames.load_frame(98, "video").shape == (*VIDEO, 1)
    crops = frames.load_alignable(97, "video").load_region(Window(10, 10, 9, 9), "x", fused=False)
    assert crops[0].transform[0, 0] == 6
    with pytest.raises(ConfigError, match=r"space='time': allowed are 'image', 'video'"):
        frames.load_region(98, space="time")
    with pytest.raises(RecordError, match="image 3: is in no video"):
        frames.load_region(3, space="video")


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"warp_img_to_vid": {"scale": 0}}, RecordError, "singular"),
        ({"warp_img_to_vid": {"type": "tps"}}, RecordError, "not affine"),
        ({"frame_index": None}, RecordError, "frame_index=None"),
        ({"frame_index": "3"}, RecordError, "frame_index='3'"),
        ({"width": 11}, RecordError, "width=11"),
    ],
)
def test_bad_places_are_one_clear_error(
    walk: tuple[Path, dict[str, Any]], change: dict[str, Any], error: type[Exception], words: str
) -> None:
    dataset = copy.deepcopy(walk[1])
    next(image for image in dataset["images"] if image["id"] == 98).update(change)
    frames = CocoFrames(dataset, backend=None, root=walk[0])
    with pytest.raises(error, match=words):
        frames.load_clip(7, None, "pan")
    if words == "singular":
        with pytest.raises(error, match="image 98: its transform to the video 7"):
            frames.load_region(98, space="video")
        assert frames.load_region(98).shape[2] == 1


def test_unknown_and_empty_videos(walk: tuple[Path, dict[str, Any]]) -> None:
    frames = CocoFrames(walk[1], backend=None, root=walk[0])
    with pytest.raises(UnknownVideoError, match="no video with id 77 among 3"):
        frames.load_clip(77)
    with pytest.raises(KeyError):
        frames.frames_of([7])
    assert list(frames.frames_of(9)) == []
    with pytest.raises(RecordError, match="no frames"):
        frames.load_clip(9)
    assert frames.load_clip(8).shape[0] == 1  # without a size: that of its frame
    dataset = copy.deepcopy(walk[1])
    dataset["videos"] = []
    with pytest.raises(RecordError, match="in no video that is known"):
        CocoFrames(dataset, backend=None, root=walk[0]).load_region(100, space="video")


def test_later_edits_of_videos_are_seen(walk: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    dataset = copy.deepcopy(walk[1])
    frames = CocoFrames(dataset, backend=None, root=walk[0])
    assert len(frames.frames_of(7)) == 5
    moved = next(image for image in dataset["images"] if image["id"] == 98)
    moved["video_id"] = 9
    assert list(frames.frames_of(7)) == [100, 99, 97, 96]
    assert list(frames.frames_of(9)) == [98]
    moved |= {"video_id": 7, "frame_index": -5, "warp_img_to_vid": document(Affine.translation(2, 1))}
    assert list(frames.frames_of(7)) == [98, 100, 99, 97, 96]
    source = tifffile.imread(walk[0] / "2.tif")
    got = frames.load_clip(7, (slice(0, 1), slice(1, 11), slice(2, 12)), "pan")
    np.testing.assert_array_equal(got[0, ..., 0], source[:10, :10])
    dataset["videos"].insert(0, {"id": "new", "width": 3, "height": 3})
    assert list(frames.frames_of("new")) == []
    assert frames.load_clip(7, slice(0, 1), "x").shape[1:3] == VIDEO
    path = tmp_path / "walk.json"
    path.write_text(json.dumps(dataset))
    stored = CocoFrames(path, backend=None, root=walk[0])
    twin = pickle.loads(pickle.dumps(stored))
    for each in (stored, twin):
        assert list(each.frames_of(7)) == [98, 100, 99, 97, 96]
        np.testing.assert_array_equal(
            each.load_clip(7, slice(2), "pan"), frames.load_clip(7, slice(2), "pan")
        )


def test_a_record_of_ones_own(tmp_path: Path) -> None:
    pixels = np.arange(20, dtype=np.uint8).reshape(4, 5)
    tifffile.imwrite(tmp_path / "a.tif", pixels)
    asset = Asset(str(tmp_path / "a.tif"), ("a",))

    class Two(subregion.frames.Frames):
        @property
        def image_ids(self) -> list[int]:
            return [1, 2]

        def record(self, image_id: Any) -> ImageRecord:
            place = VideoPlace("v", image_id, Affine.translation(-1, 2), 6, 7) if image_id == 1 else None
            return ImageRecord(image_id, (asset,), video=place)

    frames = Two(backend=None)
    expected = np.zeros((7, 6), np.uint8)
    expected[2:6, :4] = pixels[:, 1:]
    np.testing.assert_array_equal(frames.load_region(1, space="video")[..., 0], expected)
    record = frames.record(1).in_video()
    assert record.in_video() == record
    with pytest.raises(RecordError, match="image 2"):
        frames.load_regions([(1, None), (2, None)], space="video")


@pytest.mark.parametrize(
    ("region", "error"),
    [
        (3, RegionError),
        ((slice(None), 3), RegionError),
        (("a", slice(None)), RegionTypeError),
        ((slice(None), slice(None), Window(0, 0, 1, 1)), RegionTypeError),
        ((slice(None, None, -1),), RegionError),
        ((slice(0, 2.5),), RegionTypeError),
        ((..., slice(None), ...), RegionError),
        ((slice(None),) * 5, RegionError),
    ],
)
def test_regions_without_meaning(
    region: Any, error: type[Exception], walk: tuple[Path, dict[str, Any]]
) -> None:
    frames = CocoFrames(walk[1], backend=None, root=walk[0])
    with pytest.raises(error):
        frames.load_clip(7, region, "x")


@settings(max_examples=300)
@given(
    st.lists(st.one_of(slices, st.none()), max_size=4).flatmap(
        lambda items: st.integers(0, len(items)).map(lambda at: (*items[:at], ..., *items[at:]))
    )
)
def test_time_is_divided_as_numpy_divides_it(region: tuple[Any, ...]) -> None:
    array = np.arange(4 * 5 * 6 * 2).reshape(4, 5, 6, 2)
    whole = tuple(slice(None) if item is None else item for item in region)
    times, rest = split_time(region, 4)
    items = rest if isinstance(rest, tuple) else (slice(None),)
    items = tuple(slice(None) if item is None else item for item in items)
    np.testing.assert_array_equal(
        array[list(times)][(slice(None), *items)] if times else array[:0][(slice(None), *items)], array[whole]
    )
