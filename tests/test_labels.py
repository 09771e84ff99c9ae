"""Pictures of classes: indices of palettes, nodata of them, and reads that never make a value up."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

import subregion
from subregion import Asset, SimpleFrames, SubregionError, Window
from subregion.cli.main import app
from subregion.errors import DamagedFileError

ROWS, COLS = 300, 420
FORMATS = ("png", "gif", "bmp", "tif", "tiled.tif")
BACKENDS: tuple[Any, ...] = (None, "auto", "npy", "cog", "zarr", {"type": "cog", "config": {"blocksize": 32}})


@pytest.fixture(scope="module")
def indices() -> NDArray[np.uint8]:
    coarse = np.random.default_rng(4).integers(0, 7, (ROWS // 4, COLS // 4), np.uint8)
    found = np.kron(coarse, np.ones((4, 4), np.uint8))
    found[::9, ::5] = 6
    return found


@pytest.fixture(scope="module")
def colors() -> NDArray[np.uint8]:
    table = np.random.default_rng(5).integers(0, 256, (256, 3)).astype(np.uint8)
    table[2], table[5], table[4] = (0, 80, 90), (0, 0, 0), table[3]  # two classes have one colour
    return table


@pytest.fixture(scope="module")
def folder(
    tmp_path_factory: pytest.TempPathFactory, indices: NDArray[np.uint8], colors: NDArray[np.uint8]
) -> Path:
    folder = tmp_path_factory.mktemp("labels")
    picture = Image.fromarray(indices, "P")
    picture.putpalette(colors.ravel().tolist())
    for kind in ("png", "gif", "bmp"):
        picture.save(folder / f"a.{kind}")
    colormap = colors.T.astype(np.uint16) * 257
    options: dict[str, Any] = {"photometric": "palette", "colormap": colormap, "compression": "zlib"}
    tifffile.imwrite(folder / "a.tif", indices, rowsperstrip=16, **options)
    tifffile.imwrite(folder / "a.tiled.tif", indices, tile=(64, 64), **options)
    return folder


def frames_of(path: Path, workdir: Path, backend: Any, **how: Any) -> SimpleFrames:
    return SimpleFrames({0: Asset(str(path), **how)}, workdir=workdir, backend=backend)


@pytest.mark.parametrize("backend", BACKENDS, ids=str)
@pytest.mark.parametrize("kind", FORMATS)
def test_colours_indices_and_nodata(
    kind: str,
    backend: Any,
    folder: Path,
    workdir: Path,
    indices: NDArray[np.uint8],
    colors: NDArray[np.uint8],
) -> None:
    path, window = folder / f"a.{kind}", Window(10, 20, 130, 150)
    part = indices[10:140, 20:170]
    found = frames_of(path, workdir, backend, palette="index").load_region(0, window)
    np.testing.assert_array_equal(found, part[..., None])
    as_colors = frames_of(path, workdir, backend)
    np.testing.assert_array_equal(as_colors.load_region(0, window), colors[part])
    # The index 4 has the colour of 3, and 2 and 5 have a red of 0.
    for nodata in (0, 4):
        frames = frames_of(path, workdir, backend, nodata=nodata)
        masked = frames.load_region(0, window, nodata="ma")
        np.testing.assert_array_equal(
            np.ma.getmaskarray(masked), np.repeat((part == nodata)[..., None], 3, 2)
        )
        np.testing.assert_array_equal(masked.data[part != nodata], colors[part][part != nodata])
        floats = frames.load_region(0, window, nodata="float")
        np.testing.assert_array_equal(np.isnan(floats[..., 0]), part == nodata)
    palette = as_colors.palette(0)
    assert palette is not None
    np.testing.assert_array_equal(palette.colors[:7], colors[:7])


@pytest.mark.parametrize("scale", [1, 0.5, 0.25, 1 / 3, 0.7, 2.3])
@pytest.mark.parametrize("how", ["nearest", "labels", "index"])
@pytest.mark.parametrize("kind", ["png", "tiled.tif"])
def test_nearest_is_alike_under_every_backend(
    kind: str, how: str, scale: float, folder: Path, workdir: Path, indices: NDArray[np.uint8]
) -> None:
    asset: dict[str, Any] = {"palette": "index"}
    options: dict[str, Any] = {"scale": scale}
    if how == "labels":
        asset["labels"] = True
    else:
        options["interpolation"] = "nearest"
    window = Window(13, 9, 200, 240)
    found = [
        frames_of(folder / f"a.{kind}", workdir, backend, **asset).load_region(0, window, **options)
        for backend in BACKENDS
    ]
    rows, cols = (
        np.minimum(np.floor((np.arange(size) + 0.5) / scale).astype(int) + first, most - 1)
        for size, first, most in zip(found[0].shape[:2], (13, 9), (ROWS, COLS), strict=True)
    )
    for pixels in found:
        np.testing.assert_array_equal(pixels[..., 0], indices[np.ix_(rows, cols)])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    backend=st.sampled_from(BACKENDS),
    corner=st.tuples(st.integers(0, 250), st.integers(0, 370)),
    size=st.tuples(st.integers(1, 50), st.integers(1, 50)),
    scale=st.tuples(st.floats(0.05, 3), st.floats(0.05, 3)),
    labels=st.booleans(),
    overviews=st.sampled_from(["average", "nearest", "mode", "none"]),
)
def test_no_value_is_made_up(
    backend: Any,
    corner: tuple[int, int],
    size: tuple[int, int],
    scale: tuple[float, float],
    labels: bool,
    overviews: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.getbasetemp() / "made_up"
    folder.mkdir(exist_ok=True)
    path = folder / "mask.npy"
    mask = np.where(np.random.default_rng(8).integers(0, 5, (300, 420)) == 0, 200, 0).astype(np.uint8)
    if not path.exists():
        np.save(path, mask)
    if backend in ("cog", "zarr"):
        backend = {"type": backend, "config": {"overviews": overviews, "blocksize": 32}}
    frames = frames_of(path, folder / "work", backend, labels=labels)
    how: dict[str, Any] = {} if labels else {"interpolation": "nearest"}
    window = Window(*corner, *size)
    got = frames.load_region(0, window, scale=scale, **how)
    assert set(np.unique(got)) <= set(np.unique(mask[corner[0] :, corner[1] :]))
    expected = frames_of(path, folder / "work", None).load_region(
        0, window, scale=scale, interpolation="nearest"
    )
    np.testing.assert_array_equal(got, expected)


def test_overviews_of_labels_are_read(tmp_path: Path, workdir: Path) -> None:
    mask = np.random.default_rng(1).integers(0, 9, (1500, 1500), np.uint8)
    np.save(tmp_path / "a.npy", mask)
    frames = frames_of(tmp_path / "a.npy", workdir, "cog", labels=True)
    frames.prepare(progress=False)
    (part,) = frames.explain(0, Window(0, 0, 1024, 1024), scale=0.25).files
    assert part.level == 2
    got = frames.load_region(0, Window(0, 0, 1024, 1024), scale=0.25)
    np.testing.assert_array_equal(got[..., 0], mask[2:1024:4, 2:1024:4])


@pytest.mark.parametrize("backend", ["jpeg", {"type": "cog", "config": {"compress": "JPEG"}}], ids=str)
def test_labels_are_no_jpeg(backend: Any, folder: Path, workdir: Path) -> None:
    with pytest.raises(SubregionError, match="JPEG"):
        frames_of(folder / "a.png", workdir, backend, labels=True).load_region(0)


def test_names_of_classes(folder: Path, tmp_path: Path) -> None:
    import rasterio

    path = tmp_path / "a.tif"
    path.write_bytes((folder / "a.tif").read_bytes())
    assert SimpleFrames({0: path}).palette(0).names == ()  # type: ignore[union-attr]
    Path(f"{path}.aux.xml").write_text(
        "<PAMDataset><PAMRasterBand band='1'><CategoryNames><Category>water</Category><Category>tree"
        "</Category></CategoryNames></PAMRasterBand></PAMDataset>"
    )
    palette = SimpleFrames({0: path}).palette(0)
    assert palette is not None
    assert palette.names == ("water", "tree")
    Path(f"{path}.aux.xml").write_text(
        "<PAMDataset><PAMRasterBand band='1'><GDALRasterAttributeTable>"
        "<FieldDefn index='0'><Name>Value</Name><Type>0</Type><Usage>5</Usage></FieldDefn>"
        "<FieldDefn index='1'><Name>Class</Name><Type>2</Type><Usage>2</Usage></FieldDefn>"
        "<Row index='0'><F>1</F><F>crop</F></Row><Row index='1'><F>3</F><F>road</F></Row>"
        "</GDALRasterAttributeTable></PAMRasterBand></PAMDataset>"
    )
    palette = SimpleFrames({0: path}).palette(0)
    assert palette is not None
    assert palette.names == ("", "crop", "", "road")
    with rasterio.open(path) as dataset:
        assert dataset.colormap(1)[3][:3] == tuple(palette.colors[3])


def test_faces(folder: Path, tmp_path: Path, indices: NDArray[np.uint8]) -> None:
    path = folder / "a.png"
    picture = subregion.open(path, backend=None, palette="index")
    assert picture.shape == (*indices.shape, 1)
    frames = SimpleFrames({0: path}, palette="index")
    np.testing.assert_array_equal(frames.load_region(0)[..., 0], indices)
    grey = tmp_path / "grey.png"
    Image.fromarray(indices).save(grey)
    frames = SimpleFrames({0: grey}, palette="index")
    np.testing.assert_array_equal(frames.load_region(0)[..., 0], indices)
    assert frames.palette(0) is None
    with pytest.raises(SubregionError, match="'rgb', 'index'"):
        SimpleFrames({0: path}, palette="colours")
    out = tmp_path / "out.npy"
    command = ["read", str(path), str(out), "--palette", "index", "--backend", "none"]
    assert CliRunner().invoke(app, command).exit_code == 0
    np.testing.assert_array_equal(np.load(out)[..., 0], indices)


@pytest.mark.parametrize("kind", ["gif", "png"])
def test_frames_of_an_animation_have_palettes(
    kind: str, tmp_path: Path, indices: NDArray[np.uint8], colors: NDArray[np.uint8]
) -> None:
    path, pictures = tmp_path / f"a.{kind}", []
    for frame in (indices, indices[::-1].copy()):
        pictures.append(Image.fromarray(frame, "P"))
        pictures[-1].putpalette(colors.ravel().tolist())
    pictures[0].save(path, save_all=True, append_images=pictures[1:])
    for page in range(2):
        with Image.open(path) as file:
            file.seek(page)
            expected, shown = np.asarray(file), np.asarray(file.convert("RGB"))
        if expected.ndim == 3:  # of a GIF the second frame is drawn on the first one, in colours
            continue
        for palette, pixels in (("index", expected[..., None]), ("rgb", shown)):
            frames = frames_of(path, tmp_path, None, page=page, palette=palette, nodata=3)
            masked = frames.load_region(0, nodata="ma")
            np.testing.assert_array_equal(frames.load_region(0), pixels)
            np.testing.assert_array_equal(
                np.ma.getmaskarray(masked), np.broadcast_to(expected[..., None] == 3, pixels.shape)
            )
            known = frames.palette(0)
            assert known is not None
            np.testing.assert_array_equal(known.colors[expected], shown)


@pytest.mark.parametrize("nodata", [np.nan, np.inf, -np.inf, 1e300, 10**30, -1, 256, 2.5])
@pytest.mark.parametrize("palette", ["rgb", "index"])
def test_nodata_that_no_index_is(
    palette: str,
    nodata: float,
    folder: Path,
    tmp_path: Path,
    indices: NDArray[np.uint8],
    colors: NDArray[np.uint8],
) -> None:
    expected = indices[..., None] if palette == "index" else colors[indices]
    for name, backend in (("a.png", None), ("a.tiled.tif", None), ("a.png", "cog"), ("a.tif", "zarr")):
        frames = frames_of(folder / name, tmp_path, backend, nodata=nodata, palette=palette)
        np.testing.assert_array_equal(frames.load_region(0), expected)
        masked = frames.load_region(0, nodata="ma")
        assert not np.ma.getmaskarray(masked).any()
        np.testing.assert_array_equal(masked.data, expected)
        np.testing.assert_array_equal(frames.load_region(0, nodata="float"), expected)
        halves = frames.load_region(0, scale=0.5, interpolation="nearest", nodata="ma")
        np.testing.assert_array_equal(halves, expected[1::2, 1::2])
        plain = frames_of(folder / name, tmp_path, backend, palette=palette)
        np.testing.assert_array_equal(frames.load_region(0, scale=0.5), plain.load_region(0, scale=0.5))


@pytest.mark.parametrize("dtype", ["int64", "uint64"])
def test_nodata_of_64_bits_is_the_whole_number_that_is_written(dtype: str, tmp_path: Path) -> None:
    path, limits = tmp_path / "a.tif", np.iinfo(dtype)
    array = np.full((40, 50), limits.max, dtype)
    array[10:30, 5:], array[0, 0] = limits.max - 1, limits.min
    tifffile.imwrite(path, array, extratags=[(42113, 2, None, str(limits.max), True)])
    for backend in (None, "cog", "zarr"):
        masked: Any = frames_of(path, tmp_path / "work", backend).load_region(0, nodata="ma")
        np.testing.assert_array_equal(np.ma.getmaskarray(masked)[..., 0], array == limits.max)
        np.testing.assert_array_equal(masked.data[..., 0], array)


@pytest.mark.parametrize("count", [0, 1, 767])
@pytest.mark.parametrize("palette", ["rgb", "index"])
def test_palettes_without_colours_are_damage(
    palette: str, count: int, tmp_path: Path, indices: NDArray[np.uint8], colors: NDArray[np.uint8]
) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, indices, photometric="palette", colormap=colors.T.astype(np.uint16) * 257)
    with tifffile.TiffFile(path) as file:
        place = file.pages[0].tags[320].offset  # type: ignore[union-attr]
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, place + 4, count)
    path.write_bytes(data)
    for page in (None, 0):
        with pytest.raises(DamagedFileError, match="ColorMap"):
            subregion.open(path, backend=None, palette=palette, page=page)[:]


@pytest.mark.parametrize("value", ["inf", "-inf", "nan", "1e400", "1e30", "-1", "x"])
def test_values_of_classes_that_no_index_is(value: str, folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes((folder / "a.tif").read_bytes())
    Path(f"{path}.aux.xml").write_text(
        "<PAMDataset><PAMRasterBand band='1'><GDALRasterAttributeTable>"
        "<FieldDefn index='0'><Name>Value</Name><Type>1</Type><Usage>5</Usage></FieldDefn>"
        "<FieldDefn index='1'><Name>Class</Name><Type>2</Type><Usage>2</Usage></FieldDefn>"
        f"<Row index='0'><F>{value}</F><F>crop</F></Row><Row index='1'><F>2</F><F>road</F></Row>"
        "</GDALRasterAttributeTable></PAMRasterBand></PAMDataset>"
    )
    if value == "x":
        with pytest.raises(DamagedFileError, match=r"aux\.xml"):
            SimpleFrames({0: path}).palette(0)
        return
    palette = SimpleFrames({0: path}).palette(0)
    assert palette is not None
    assert palette.names == ("", "", "road")
