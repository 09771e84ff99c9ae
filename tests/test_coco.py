"""COCO and kwcoco datasets, compared with kwcoco's own reader."""

from __future__ import annotations

import copy
import gzip
import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import kwcoco
import kwimage
import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pictures import save_png
from subregion import CocoFrames, ImageRecord
from subregion.errors import (
    IdentityError,
    RecordError,
    SourceNotFoundError,
    SubregionError,
    UnknownChannelError,
    UnknownImageError,
    UnsupportedFormatError,
)
from subregion.geometry.channels import parse_channels

# kwcoco draws its demonstration with casts that overflow, and regrets that there is no GDAL.
pytestmark = [
    pytest.mark.filterwarnings("ignore:overflow encountered in cast:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:.*(cpu_nms|without gdal).*:UserWarning"),
]


@pytest.fixture(scope="session")
def cache_of_kwcoco(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kwcoco")


@pytest.fixture(scope="session", params=["vidshapes8-multispectral", "vidshapes8-msi-multisensor", "shapes8"])
def generated(request: pytest.FixtureRequest, cache_of_kwcoco: Path) -> Any:
    """A dataset that kwcoco draws."""
    options = {"dpath": str(cache_of_kwcoco / request.param)} if request.param != "shapes8" else {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(cache_of_kwcoco))
        return kwcoco.CocoDataset.demo(request.param, verbose=0, **options)


@pytest.mark.parametrize("backend", [None, "cog"])
def test_the_same_pixels_as_kwcoco(generated: Any, backend: str | None, workdir: Path) -> None:
    frames = CocoFrames(generated, workdir=workdir, backend=backend)
    assert list(frames.image_ids) == list(generated.images())
    rng = np.random.default_rng(0)
    for image_id in list(frames.image_ids)[:3]:
        image = generated.coco_image(image_id)
        height, width = image.img["height"], image.img["width"]
        for channels in ("<all>", *image.channels.fuse().normalize().parsed[:3]):
            name = image.channels.fuse().normalize().spec if channels == "<all>" else channels
            # Away from the border, where kwcoco mixes in what lies outside.
            row, col = (int(n) for n in rng.integers(30, min(height, width) - 110, 2))
            region = (slice(row, row + 70), slice(col, col + 64))
            expected = (
                image.imdelay(name, space="image")
                .crop(region)
                .finalize(interpolation="linear", antialias=False)
            )
            got = frames.load_region(image_id, region, channels, antialias=False)
            assert got.shape == (70, 64, expected.shape[2])
            record = frames.record(image_id)
            names = parse_channels(name)
            for k, channel in enumerate(names):
                well_inside = far_from_border(record, record.places()[channel][0], region)
                difference = np.abs(got[..., k].astype(np.float64) - expected[..., k])[well_inside]
                # OpenCV places samples in steps of 1/32 pixel.
                scale = max(1.0, float(np.nanmax(expected[..., k])))
                assert difference.size == 0 or difference.max() <= 0.06 * scale
                assert difference.size == 0 or difference.mean() <= 0.004 * scale


def far_from_border(record: ImageRecord, number: int, region: tuple[slice, slice]) -> NDArray[np.bool_]:
    """Which pixels of a region lie two pixels or more inside a file."""
    asset = record.assets[number]
    inverse = ~(asset.to_image or Affine.identity())
    y, x = np.mgrid[region]
    across = inverse.a * (x + 0.5) + inverse.b * (y + 0.5) + inverse.c
    down = inverse.d * (x + 0.5) + inverse.e * (y + 0.5) + inverse.f
    assert asset.width is not None
    assert asset.height is not None
    inside: NDArray[np.bool_] = (
        (across > 2) & (down > 2) & (across < asset.width - 2) & (down < asset.height - 2)
    )
    return inside


@settings(max_examples=200, deadline=None)
@given(
    st.fixed_dictionaries(
        {"type": st.just("affine")},
        optional={
            "scale": st.floats(0.1, 9) | st.tuples(st.floats(0.1, 9), st.floats(0.1, 9)).map(list),
            "offset": st.floats(-50, 50) | st.tuples(st.floats(-50, 50), st.floats(-50, 50)).map(list),
            "theta": st.floats(-4, 4),
            "shearx": st.floats(-1, 1),
            "about": st.floats(-9, 9),
        },
    )
)
def test_transforms_are_read_as_kwimage_reads_them(document: dict[str, Any]) -> None:
    expected = kwimage.Affine.coerce(document).matrix
    expected = np.eye(3) if expected is None else expected
    matrix = {"type": "affine", "matrix": expected.tolist()}
    assets = [{"file_name": "a.png", "warp_aux_to_img": each} for each in (document, matrix)]
    got, again = CocoFrames({"images": [{"id": 1, "assets": assets}]}, backend=None).record(1).assets
    np.testing.assert_allclose(np.array(got.to_image).reshape(3, 3), expected, atol=1e-9)
    np.testing.assert_allclose(np.array(again.to_image), np.array(got.to_image), atol=1e-9)


@pytest.fixture
def bundle(tmp_path: Path, photograph: NDArray[np.uint8]) -> dict[str, Any]:
    """A small dataset of files with absolute and relative paths."""
    (tmp_path / "images").mkdir()
    save_png(tmp_path / "images/a.png", photograph)
    save_png(tmp_path / "images/half.png", photograph[::2, ::2, 0])
    return {
        "videos": [],
        "images": [
            {"id": 1, "file_name": "images/a.png", "width": 600, "height": 400, "channels": "r|g|b"},
            {
                "id": "two",
                "file_name": None,
                "width": 600,
                "height": 400,
                "assets": [
                    {"file_name": "images/half.png", "channels": "x", "warp_aux_to_img": {"scale": 2.0}},
                    {"file_name": str(tmp_path / "images/a.png"), "channels": "rgb"},
                ],
            },
        ],
    }


@pytest.mark.parametrize("form", ["json", "json.gz", "zip", "dict", "kwcoco"])
def test_every_form_of_a_dataset(
    form: str,
    bundle: dict[str, Any],
    tmp_path: Path,
    photograph: NDArray[np.uint8],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / f"data.kwcoco.{form}"
    text = json.dumps(bundle)
    dataset: Any = path
    if form == "json":
        path.write_text(text)
    elif form == "json.gz":
        path.write_bytes(gzip.compress(text.encode()))
    elif form == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("data.kwcoco.json", text)
    elif form == "dict":
        monkeypatch.chdir(tmp_path)
        dataset = bundle
    else:
        dataset = kwcoco.CocoDataset(bundle, bundle_dpath=str(tmp_path))
    frames = CocoFrames(dataset, backend=None)
    monkeypatch.chdir("/")
    assert list(frames.image_ids) == [1, "two"]
    np.testing.assert_array_equal(frames.load_region(1), photograph)
    np.testing.assert_array_equal(frames.load_region(1, channels="b|r"), photograph[..., [2, 0]])
    np.testing.assert_array_equal(frames.load_region("two"), photograph)
    np.testing.assert_array_equal(
        frames.load_region("two", slice(0, 50), "g|x")[..., 0], photograph[:50, :, 1]
    )
    twin = pickle.loads(pickle.dumps(frames))
    np.testing.assert_array_equal(twin.load_region(1, slice(0, 5)), photograph[:5])


def test_later_edits_are_seen(bundle: dict[str, Any], tmp_path: Path, photograph: NDArray[np.uint8]) -> None:
    save_png(tmp_path / "images/b.png", 255 - photograph)
    frames = CocoFrames(bundle, backend=None, root=tmp_path)
    np.testing.assert_array_equal(frames.load_region(1), photograph)
    bundle["images"][0]["file_name"] = "images/b.png"
    np.testing.assert_array_equal(frames.load_region(1), 255 - photograph)
    bundle["images"].insert(0, {"id": 9, "file_name": "images/a.png"})
    np.testing.assert_array_equal(frames.load_region(9), photograph)
    np.testing.assert_array_equal(frames.load_region(1), 255 - photograph)
    assert len(frames) == 3
    del bundle["images"][1]
    with pytest.raises(UnknownImageError):
        frames.load_region(1)


def test_quantised_values_on_request(tmp_path: Path) -> None:
    import tifffile

    stored = np.array([[0, 1, 100], [50, 200, 255]], np.uint8)
    tifffile.imwrite(tmp_path / "q.tif", stored)
    quantization = {"orig_min": -1.0, "orig_max": 3.0, "quant_min": 1, "quant_max": 255, "nodata": 0}
    image = {"id": 1, "file_name": "q.tif", "channels": "ndvi", "quantization": quantization}
    frames = CocoFrames({"images": [image]}, backend=None, root=tmp_path)
    np.testing.assert_array_equal(frames.load_region(1)[..., 0], stored)
    got = frames.load_region(1, dequantize=True)[..., 0]
    assert np.isnan(got[0, 0])
    np.testing.assert_allclose(got.ravel()[1:], (stored.ravel()[1:] - 1.0) / 254 * 4 - 1, rtol=1e-6)


HALF = {"file_name": "images/half.png", "channels": "x"}
BROKEN: dict[str, tuple[dict[str, Any], type[SubregionError]]] = {
    "neither a file_name": ({"file_name": None}, RecordError),
    "leaves the folder": ({"file_name": "../outside.png"}, RecordError),
    "missing.png": ({"file_name": "images/missing.png"}, SourceNotFoundError),
    "width=12": ({"width": 12}, RecordError),
    "width=-3": ({"width": -3}, RecordError),
    "num_bands=4": ({"num_bands": 4}, RecordError),
    "2 channel names": ({"channels": "a|b"}, RecordError),
    "rename": ({"auxiliary": [HALF | {"channels": "r", "warp_aux_to_img": {"scale": 2}}]}, RecordError),
    "singular": ({"auxiliary": [HALF | {"warp_aux_to_img": {"scale": 0}}]}, RecordError),
    "unknown keys": ({"auxiliary": [HALF | {"warp_aux_to_img": {"zoom": 0}}]}, RecordError),
    "not affine": ({"auxiliary": [HALF | {"warp_aux_to_img": {"type": "tps"}}]}, RecordError),
    "quantization": ({"quantization": {"orig_min": 0}}, RecordError),
}  # fmt: skip


@pytest.mark.parametrize("words", BROKEN)
def test_bad_records_are_one_clear_error(words: str, bundle: dict[str, Any], tmp_path: Path) -> None:
    changes, error = BROKEN[words]
    bundle["images"][0] |= copy.deepcopy(changes)
    frames = CocoFrames(bundle, backend=None, root=tmp_path)
    with pytest.raises(error, match=words):
        frames.load_region(1, None, "<all>")


def test_unknown_channels_list_what_there_is(bundle: dict[str, Any], tmp_path: Path) -> None:
    frames = CocoFrames(bundle, backend=None, root=tmp_path)
    with pytest.raises(UnknownChannelError, match="x, r, g, b"):
        frames.load_region("two", None, "swir")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b"\x1f\x8b\x08broken", b'{"images": 3}'])
def test_what_is_no_dataset_says_so(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "data.json"
    path.write_bytes(content)
    with pytest.raises(UnsupportedFormatError):
        CocoFrames(path, backend=None)
    with pytest.raises(SourceNotFoundError):
        CocoFrames(tmp_path / "nowhere.json", backend=None)
    with pytest.raises(RecordError):
        CocoFrames(7, backend=None)


def test_ids_of_a_dataset_in_memory_are_a_view(bundle: dict[str, Any], tmp_path: Path) -> None:
    frames = CocoFrames(bundle, backend=None, root=tmp_path)
    ids = frames.image_ids
    assert list(ids) == [1, "two"]
    assert ids == [1, "two"]
    assert ids[-1] == "two"
    assert ids[1:] == ["two"]
    assert repr(ids) == "[1, 'two']"
    bundle["images"].append({"id": 3.5, "file_name": "images/a.png"})
    assert len(ids) == len(frames) == 3
    assert ids[2] == 3.5
    assert ids.index(3.5) == 2
    bundle["images"] = bundle["images"][1:]  # another list
    assert ids == ["two", 3.5]
    with pytest.raises(UnknownImageError):
        frames.record(1)


def test_ids_are_asked_for_without_a_read(bundle: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "images/a.png").unlink()
    (tmp_path / "data.json").write_text(json.dumps(bundle))
    for frames in (CocoFrames(bundle, root=tmp_path), CocoFrames(tmp_path / "data.json")):
        assert 1 in frames
        assert "two" in frames
        others: list[Any] = [2, "one", None, [1], {}, np.arange(3), float("nan")]
        for other in others:
            assert other not in frames
    live = CocoFrames(bundle, root=tmp_path)
    bundle["images"].append({"id": 9})
    assert 9 in live


def test_a_view_of_a_database(cache_of_kwcoco: Path) -> None:
    pytest.importorskip("sqlalchemy")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(cache_of_kwcoco))
        dataset = kwcoco.CocoDataset.demo(
            "vidshapes2-multispectral", verbose=0, dpath=str(cache_of_kwcoco / "sql")
        )
        view = dataset.view_sql(memory=True)
    frames, expected = CocoFrames(view, backend=None), CocoFrames(dataset, backend=None)
    assert list(frames.image_ids) == list(expected.image_ids)
    assert frames.video_ids == expected.video_ids
    for image_id in frames.image_ids:
        assert frames.record(image_id) == expected.record(image_id)
        np.testing.assert_array_equal(
            frames.load_region(image_id, channels="<all>"), expected.load_region(image_id, channels="<all>")
        )
    twin = pickle.loads(pickle.dumps(frames))
    assert twin.record(1) == expected.record(1)


def with_hashes(bundle: dict[str, Any], tmp_path: Path, workdir: Path, **options: Any) -> CocoFrames:
    return CocoFrames(bundle, workdir, "npy", "GIVEN", root=tmp_path, **options)


@pytest.mark.parametrize("how", ["by id", "in the entries", "both"])
def test_given_hashes(
    how: str, bundle: dict[str, Any], tmp_path: Path, workdir: Path, photograph: NDArray[np.uint8]
) -> None:
    hashes: dict[Any, Any] = {1: "h1", "two": {"images/half.png": "h2", str(tmp_path / "images/a.png"): "h1"}}
    if how != "by id":
        bundle["images"][0]["hashid"] = "h1"
        for asset, hashid in zip(bundle["images"][1]["assets"], ("h2", "h1"), strict=True):
            asset["hashid"] = hashid
    if how == "both":
        bundle["images"][0]["hashid"] = "old"
        del hashes["two"]
    options = {} if how == "in the entries" else {"id_to_hashid": hashes}
    frames = with_hashes(bundle, tmp_path, workdir, **options)
    assert [asset.hashid for asset in frames.record(1).assets] == ["h1"]
    assert [asset.hashid for asset in frames.record("two").assets] == ["h2", "h1"]
    frames.prepare()
    assert len(list(frames.cache_dpath.rglob("*.npy"))) == 2
    expected = frames.load_region("two", channels="<all>")
    for path in (tmp_path / "images").iterdir():
        path.unlink()
    frames = with_hashes(bundle, tmp_path, workdir, **options)
    np.testing.assert_array_equal(frames.load_region(1), photograph)
    np.testing.assert_array_equal(frames.load_region("two", channels="<all>"), expected)


def test_given_hashes_that_are_missing_or_malformed(
    bundle: dict[str, Any], tmp_path: Path, workdir: Path
) -> None:
    for hashes in ([("two", "h2")], "h2"):
        with pytest.raises(SubregionError, match="id_to_hashid"):
            with_hashes(bundle, tmp_path, workdir, id_to_hashid=hashes)
    with pytest.raises(IdentityError, match="id_to_hashid"):
        with_hashes(bundle, tmp_path, workdir).load_region(1)
    frames = with_hashes(bundle, tmp_path, workdir, id_to_hashid={1: 5, "two": "h"})
    with pytest.raises(RecordError, match="image 1: images/a.png: hashid=5"):
        frames.record(1)
    with pytest.raises(RecordError, match="2 files.*'images/half.png': 'h'"):
        frames.record("two")
    assert CocoFrames(bundle, root=tmp_path, id_to_hashid={1: "h"}).record(1).assets[0].hashid is None
