"""Collections beside what they read: how they are filled, shown, warned of and logged."""

from __future__ import annotations

import logging
import os
import pickle
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import subregion
from faces import refused
from pictures import save_png
from subregion import (
    AlignableImageData,
    Asset,
    CocoFrames,
    ImageRecord,
    SimpleFrames,
    VideoFrames,
    Window,
)
from subregion.errors import ConfigError, RegionError, SourceNotFoundError


@pytest.fixture
def folder(tmp_path: Path, photograph: NDArray[np.uint8]) -> Path:
    """Two pictures, one of them without a name that says so."""
    root = tmp_path / "pictures"
    root.mkdir()
    save_png(root / "a.png", photograph)
    shutil.copy(root / "a.png", root / "scan-0001")
    return root


# --- what is in a folder --------------------------------------------------------------------------------


def test_files_that_are_no_images_are_passed_over_with_one_warning(folder: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert list(SimpleFrames.from_folder(folder).image_ids) == ["a.png", "scan-0001"]
    (folder / "bad.png").write_bytes(b"not a picture")
    (folder / "notes.txt").write_text("BMW and Porsche")
    (folder / "labels.json").write_text("{}")
    (folder / "gone.tif").symlink_to(folder / "nowhere")
    with pytest.warns(UserWarning, match="passed over") as caught:
        frames = SimpleFrames.from_folder(folder)
    assert list(frames.image_ids) == ["a.png", "bad.png", "scan-0001"]
    (warning,) = caught
    assert "2 of 5 files are no images, such as 'labels.json'" in str(warning.message)
    assert "1 link leads nowhere, such as 'gone.tif'" in str(warning.message)
    assert warning.filename == __file__


def test_a_folder_without_images_is_an_error(tmp_path: Path) -> None:
    refused(lambda: SimpleFrames.from_folder(tmp_path), SourceNotFoundError, "no file in it matches")
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere")
    refused(lambda: SimpleFrames.from_folder(tmp_path), SourceNotFoundError, "1 link leads nowhere")
    np.savez(tmp_path / "a.npz", a=np.zeros(3))
    refused(lambda: SimpleFrames.from_folder(tmp_path, "*.npz"), SourceNotFoundError, "none of 1 files")


def test_every_kind_of_image_is_known_by_its_first_bytes(
    tmp_path: Path, photograph: NDArray[np.uint8]
) -> None:
    kinds = ["png", "jpeg", "tiff", "webp", "gif", "bmp", "ppm", "jpeg2000", "avif", "qoi", "sgi", "dds"]
    for kind in kinds:
        with (tmp_path / kind).open("wb") as file:
            picture = Image.fromarray(photograph)
            picture.convert("P").save(file, kind) if kind == "gif" else picture.save(file, kind)
    with (tmp_path / "npy").open("wb") as file:
        np.save(file, photograph)
    assert set(SimpleFrames.from_folder(tmp_path).image_ids) == {*kinds, "npy"}


# --- paths ------------------------------------------------------------------------------------------------


class Place:
    """What another library may have for a path."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __fspath__(self) -> str:
        return str(self.path)


def test_paths_as_users_have_them(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, photograph: NDArray[np.uint8]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (folder / "a.png").rename(folder / "ä b%.png")
    picture = folder / "ä b%.png"
    url = picture.as_uri()
    assert "%20" in url
    spellings = (url, url.replace("file:///", "file:/"), url.replace("file://", "file://localhost"),
                 "~/pictures/ä b%.png", Place(picture), os.fsencode(picture))  # fmt: skip
    for path in spellings:
        np.testing.assert_array_equal(subregion.open(path, None)[:5], photograph[:5])
        np.testing.assert_array_equal(SimpleFrames({1: path}).load_region(1, slice(5)), photograph[:5])  # type: ignore[dict-item]
        assert Asset(path).path == str(picture)  # type: ignore[arg-type]
    for root in (folder.as_uri(), "~/pictures", Place(folder)):
        assert "ä b%.png" in SimpleFrames.from_folder(root)
        workdir = str(root) + "/work" if isinstance(root, str) else Place(folder / "work")
        assert SimpleFrames({}, workdir).workdir == folder / "work"
        frames = CocoFrames({"images": [{"id": 1, "file_name": "ä b%.png"}]}, root=root, backend=None)
        assert frames.record(1).default_asset.path == str(picture)
        frames = CocoFrames({"images": [{"id": 1, "file_name": url}]}, root=root, backend=None)
        assert frames.record(1).default_asset.path == str(picture)


@pytest.mark.parametrize("url", ["http://a.b/c.png", "https://a.b/c.png", "s3://a/c.png", "gs://a/c.png"])
def test_urls_of_other_places_say_what_can_be_done(url: str, tmp_path: Path) -> None:
    calls = [
        lambda: subregion.open(url),
        lambda: SimpleFrames({1: url}).load_region(1),
        lambda: SimpleFrames.from_folder(url),
        lambda: SimpleFrames({}, url),
        lambda: Asset(url),
        lambda: VideoFrames(url),
        lambda: CocoFrames(url),
        lambda: CocoFrames({"images": [{"id": 1, "file_name": url}]}, backend=None).load_region(1),
        lambda: CocoFrames({"images": []}, root=url),
    ]
    for call in calls:
        message = refused(call)
        assert url in message
        assert "download it" in message
        assert ("mount" in message) == (not url.startswith("http"))
    refused(lambda: subregion.open("file://elsewhere/a.png"), SourceNotFoundError, "host 'elsewhere'")


# --- what windows of whole files cost --------------------------------------------------------------------


@pytest.fixture
def large(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 20, (1200, 1000, 3), np.uint8)
    for number in range(4):
        Image.fromarray(pixels + number).save(tmp_path / f"{number}.png", compress_level=1)
    return tmp_path


def warned(read: Callable[[], object]) -> list[warnings.WarningMessage]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        read()
    return [each for each in caught if issubclass(each.category, subregion.PerformanceWarning)]


@pytest.mark.parametrize("read", ["load_region", "load_regions", "load_frame"])
def test_the_third_window_that_costs_a_whole_file_is_warned_of(read: str, large: Path) -> None:
    frames = SimpleFrames.from_folder(large, "*.png")

    def window(number: int) -> object:
        region = (slice(5, 60), slice(7, 70))
        if read == "load_frame":
            return frames.load_frame(f"{number}.png")[region]
        if read == "load_region":
            return frames.load_region(f"{number}.png", region)
        return frames.load_regions([(f"{number}.png", region)] * 2, threads=2)

    assert not warned(lambda: (window(0), window(1)))
    (warning,) = warned(lambda: window(2))
    assert warning.filename == __file__
    assert 'backend="auto"' in str(warning.message)
    assert "46 times" in str(warning.message)
    assert issubclass(subregion.PerformanceWarning, UserWarning)
    assert not warned(lambda: (window(3), window(0)))
    assert not warned(lambda: pickle.loads(pickle.dumps(frames)).load_region("0.png", slice(5)))
    frames = SimpleFrames.from_folder(large, "*.png")
    assert warned(lambda: [window(number) for number in range(4)])  # another collection


def test_a_batch_of_many_threads_is_warned_of_in_the_calling_one(large: Path) -> None:
    frames = SimpleFrames.from_folder(large, "*.png")
    requests = [(name, (slice(50), slice(50))) for name in frames.image_ids]
    (warning,) = warned(lambda: frames.load_regions(requests, threads=4))
    assert warning.filename == __file__


def test_what_is_not_warned_of(large: Path, photograph: NDArray[np.uint8], workdir: Path) -> None:
    frames = SimpleFrames.from_folder(large, "*.png")
    assert not warned(lambda: [frames.load_image(name) for name in frames.image_ids])
    assert not warned(lambda: [frames.load_region(name, slice(1, None)) for name in frames.image_ids])
    Image.fromarray(photograph).save(large / "small.bmp")
    np.save(large / "large.npy", np.zeros((2000, 2000), np.uint8))
    others = SimpleFrames.from_folder(large, ["*.bmp", "*.npy"])
    assert not warned(lambda: [others.load_region(name, slice(5)) for name in list(others.image_ids) * 4])
    paths = {name: large / str(name) for name in frames.image_ids}
    for backend in ("auto", "npy"):
        copies = SimpleFrames(paths, workdir, backend)
        assert not warned(lambda: [copies.load_region(name, slice(5)) for name in copies.image_ids])  # noqa: B023
    assert not warned(lambda: [subregion.open(path, None)[:5] for path in paths.values()])


def test_backends_by_default(large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    copies = tmp_path / "cache/subregion/_cache/frames"
    record = SimpleFrames.from_folder(large, "*.png").record("0.png")
    assert SimpleFrames.from_folder(large, "*.png").backend is None
    assert not copies.exists()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert AlignableImageData(record)[:5].shape == (5, 1000, 3)
    assert len(list(copies.glob("??/*.tif"))) == 1
    assert CocoFrames({"images": []}).backend == VideoFrames({}).backend == "auto"


# --- what collections say of themselves -------------------------------------------------------------------


def test_asking_for_an_id_reads_nothing(folder: Path) -> None:
    frames = SimpleFrames({1: folder / "missing.png", "a": folder / "a.png"})
    dataset = CocoFrames({"images": [{"id": 1, "file_name": "missing.png"}]}, backend=None)
    for each in (frames, dataset):
        assert 1 in each
        assert np.int64(1) in each
        others: tuple[Any, ...] = ("missing.png", 2, None, [], {}, np.zeros(3))
        for other in others:
            assert other not in each
    films = VideoFrames(folder / "missing.mkv", backend=None)
    assert "a" not in films
    assert -1 not in films
    assert "missing.mkv" in repr(films.video_ids)


def test_what_things_are_called(folder: Path, workdir: Path) -> None:
    frames = SimpleFrames({1: folder / "a.png", 2: folder / "missing.png"}, workdir, "npy")
    assert repr(frames) == f"<SimpleFrames: 2 images, backend='npy', workdir={str(workdir)!r}>"
    assert repr(VideoFrames(folder / "missing.mkv", workdir)).startswith(
        "<VideoFrames: 1 videos, frames not counted yet, backend='auto', workdir="
    )
    dataset = CocoFrames({"images": [{"id": 1, "file_name": "x.png", "width": 5, "height": 4}]}, workdir)
    assert repr(dataset).startswith("<CocoFrames: 1 images, 0 videos, backend='auto', workdir=")
    assert repr(dataset.load_frame(1)).endswith("x.png', 4 rows, 5 columns>")
    assert repr(frames.load_frame(2)) == f"<LazyFrame: {str(folder / 'missing.png')!r}>"
    picture = frames.load_frame(1)
    assert "shape" not in repr(picture)
    assert not workdir.exists()
    assert picture.shape == (400, 600, 3)
    assert repr(picture).endswith("a.png', shape=(400, 600, 3), dtype=uint8>")
    assert repr(frames.load_alignable(1)).startswith("<AlignableImageData: image 1, '/")
    asset = Asset("/a/b.tif", channels=("r", "g"), nodata=0)
    assert repr(asset) == "Asset('/a/b.tif', channels=('r', 'g'), nodata=0)"
    assert eval(repr(asset)) == asset
    record = ImageRecord(7, (asset,), width=5)
    assert repr(record) == f"ImageRecord(7, ({asset!r},), width=5)"


# --- batches and indexes ----------------------------------------------------------------------------------


def test_batches_are_stacked_or_not(folder: Path, photograph: NDArray[np.uint8]) -> None:
    frames = SimpleFrames(dict.fromkeys(range(100), folder / "a.png"))
    for count in (2, 100):  # more than are open at the same time, too
        same = [(number, Window(number, 0, 4, 5)) for number in range(count)]
        expected = [photograph[number : number + 4, :5] for number in range(count)]
        unlike = [*same[:-1], (count - 1, Window(0, 0, 4, 6))]
        for stack in (None, True):
            together = frames.load_regions(same, stack=stack)
            assert isinstance(together, np.ndarray)
            np.testing.assert_array_equal(together, np.stack(expected))
        apart = frames.load_regions(same, stack=False)
        assert isinstance(apart, list)
        for got, wanted in zip(apart, expected, strict=True):
            assert got.base is None
            np.testing.assert_array_equal(got, wanted)
        masked = frames.load_regions(same, stack=False, nodata="ma")
        assert all(isinstance(each, np.ma.MaskedArray) for each in masked)
        assert isinstance(frames.load_regions(unlike), list)
        assert isinstance(frames.load_regions(unlike, stack=False), list)
        with pytest.raises(ConfigError, match="stack=True needs regions of one shape"):
            frames.load_regions(unlike, stack=True)
    assert frames.load_regions([], stack=False) == frames.load_regions([]) == []
    refused(lambda: frames.load_regions([], stack=True), ConfigError, "no regions")
    refused(lambda: frames.load_regions(same, stack="yes"), ConfigError, "stack='yes'")  # type: ignore[arg-type]
    out = np.zeros((100, 4, 5, 3), np.uint8)
    assert frames.load_regions(same, out=out, stack=True) is out
    refused(lambda: frames.load_regions(same, out=out, stack=False), ConfigError, "leave one out")


def test_brackets_drop_axes_and_methods_keep_them(folder: Path, photograph: NDArray[np.uint8]) -> None:
    frames = SimpleFrames({1: folder / "a.png"})
    for picture in (frames.load_frame(1), frames.load_alignable(1), subregion.open(folder / "a.png", None)):
        np.testing.assert_array_equal(picture[5], photograph[5])
        np.testing.assert_array_equal(picture[-1, :, 0], photograph[-1, :, 0])
    calls: list[Callable[[], object]] = [
        lambda: frames.load_region(1, 5),  # type: ignore[arg-type]
        lambda: frames.load_regions([(1, 5)]),  # type: ignore[list-item]
        lambda: frames.load_alignable(1).load_region(5),  # type: ignore[arg-type]
        lambda: frames.explain(1, 5),  # type: ignore[arg-type]
    ]
    for call in calls:
        refused(call, RegionError, r"write slice\(5, 6\) to keep it")
    assert frames.load_region(1, slice(5, 6)).shape == (1, 600, 3)


# --- what the log and the counter tell --------------------------------------------------------------------


def messages(caplog: pytest.LogCaptureFixture, begin: str = "") -> list[str]:
    found = [each.getMessage() for each in caplog.records if each.name == "subregion"]
    caplog.clear()
    return [each for each in found if each.startswith(begin)]


def test_the_log_tells_of_conversions(
    folder: Path, workdir: Path, caplog: pytest.LogCaptureFixture, photograph: NDArray[np.uint8]
) -> None:
    caplog.set_level(logging.INFO, "subregion")
    path = folder / "a.png"
    frames = SimpleFrames({1: path}, workdir, "auto")
    frames.load_region(1, slice(5))
    begun, done = messages(caplog)
    assert begun == f"converting {path} to cog because: its windows cost the whole file"
    (copy,) = workdir.glob("_cache/frames/??/*.tif")
    assert done.startswith(f"converted {path} to cog in ")
    assert done.endswith(f" s: {copy.stat().st_size} bytes")
    frames.load_region(1, slice(5))
    assert messages(caplog) == []
    save_png(path, photograph[::-1])
    frames.load_region(1, slice(5))
    assert (
        messages(caplog)[0]
        == f"converting {path} to cog anew because: the source changed since its copy was made"
    )
    frames.backend = "npy"
    frames.load_region(1, slice(5))
    assert messages(caplog)[0] == f"converting {path} to npy because: backend 'npy' is asked for"


def test_the_log_tells_of_damage_and_eviction(
    folder: Path, workdir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "subregion")
    path = folder / "a.png"
    frames = SimpleFrames({1: path, 2: folder / "scan-0001"}, workdir, "npy", max_size=1_000_000)
    frames.prepare([1])
    (copy,) = workdir.glob("_cache/frames/??/*.npy")
    copy.write_bytes(copy.read_bytes()[:-1] + b"x")
    frames.verify([1], deep=True, repair=True)
    assert f"the copy {copy} of {path} is damaged, and made anew" in messages(caplog)
    (copy,) = workdir.glob("_cache/frames/??/*.npy")
    copy.write_bytes(copy.read_bytes()[:-1])
    frames.load_region(1)
    assert f"converting {path} to npy anew because: its copy is damaged or gone" in messages(caplog)
    (copy,) = workdir.glob("_cache/frames/??/*.npy")
    frames.backend = "npy"  # lets go of it
    frames.prepare([2])
    (evicted,) = messages(caplog, "evicted")
    assert str(copy) in evicted
    assert str(path) in evicted


def test_the_log_is_silent_unless_asked(folder: Path, workdir: Path) -> None:
    code = (
        "import sys; from subregion import SimpleFrames\n"
        "SimpleFrames({1: sys.argv[1]}, sys.argv[2], 'cog').prepare()"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, folder / "a.png", workdir], capture_output=True, check=True
    )
    assert result.stdout == result.stderr == b""


@pytest.mark.parametrize("how", ["one by one", "threads", "executor", "as it is"])
def test_progress_is_told_by_images(how: str, folder: Path, workdir: Path) -> None:
    (folder / "bad.png").write_bytes(b"not a picture")
    half = {"file_name": "scan-0001", "channels": "x|y|z", "warp_aux_to_img": {"scale": 2}}
    images = [
        {"id": "two files", "file_name": "a.png", "channels": "r|g|b", "assets": [half]},
        {"id": "none"},
        {"id": "bad", "file_name": "bad.png"},
        {"id": "again", "file_name": "a.png"},
    ]
    backend = None if how == "as it is" else "cog"
    frames = CocoFrames({"images": images}, workdir, backend, root=folder)
    told: list[tuple[int, int, Any]] = []

    def tell(*told_of: Any) -> None:
        told.append(told_of)

    def prepare(ids: list[str] | None = None) -> None:
        with ThreadPoolExecutor(2) as executor:
            frames.prepare(ids, workers=2 * (how == "threads"), progress=tell,
                           executor=executor if how == "executor" else None)  # fmt: skip

    if backend is None:
        prepare()
    else:
        with pytest.raises(subregion.PrepareError) as caught:
            prepare()
        assert caught.value.failures.keys() == {"none", "bad"}
    assert [each[:2] for each in told] == [(done, 4) for done in (1, 2, 3, 4)]
    assert {each[2] for each in told} == {"two files", "none", "bad", "again"}
    for _ in range(2):  # the second time a note says that all is there
        told.clear()
        prepare(["again", "two files"])
        assert sorted(told) == sorted([(1, 2, told[0][2]), (2, 2, told[1][2])])
        assert {each[2] for each in told} == {"two files", "again"}


def test_what_a_counter_raises_ends_the_work(folder: Path, workdir: Path) -> None:
    frames = SimpleFrames.from_folder(folder, workdir=workdir, backend="npy")

    def stop(done: int, total: int, image_id: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        frames.prepare(progress=stop)
    assert len(list(workdir.glob("_cache/frames/??/*.npy"))) == 1


def test_warnings_of_threads_point_at_the_caller(
    folder: Path, workdir: Path, monkeypatch: pytest.MonkeyPatch, photograph: NDArray[np.uint8]
) -> None:
    from subregion.convert import jpeg

    jpeg._warn_once.cache_clear()
    monkeypatch.setenv("PATH", "")
    Image.fromarray(photograph).save(folder / "a.jpg", progressive=True)
    frames = SimpleFrames({1: folder / "a.jpg"}, workdir, "auto")
    with pytest.warns(UserWarning, match="jpegtran") as caught:
        frames.prepare(workers=2)
    assert [each.filename for each in caught] == [__file__]
    with pytest.warns(UserWarning, match="workdir") as caught:
        SimpleFrames({}, backend="cog")
    assert [each.filename for each in caught] == [__file__]
