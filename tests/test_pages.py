"""Pages, series, resolutions and positions of files that hold several pictures, and names of channels."""

from __future__ import annotations

import itertools
import json
import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

import subregion
from subregion import SimpleFrames
from subregion.cli.main import app
from subregion.errors import RecordError, SubregionError, UnknownChannelError
from subregion.formats.open import open_raster
from subregion.io.pool import POOL
from subregion.notices import NOTICES
from subregion.records import Asset

SIZES = {"T": 2, "Z": 3, "C": 4, "Y": 48, "X": 80}
BACKENDS: list[Any] = [None, "cog", "zarr"]
quiet = pytest.mark.filterwarnings("ignore:.*of which 0 is read:UserWarning")


def stack(axes: str = "TZCYX") -> NDArray[np.uint16]:
    shape = [SIZES[axis] for axis in axes]
    return np.random.default_rng(1).integers(0, 60000, shape).astype(np.uint16)


def at(array: NDArray[Any], axes: str, **positions: int) -> NDArray[Any]:
    """What is meant, by NumPy alone: rows, columns, and a channel or all of them."""
    places = {"T": 0, "Z": 0} | {name.upper(): value for name, value in positions.items()}
    taken = array[tuple(places.get(axis, slice(None)) for axis in axes)]
    left = [axis for axis in axes if axis not in places]
    if "C" not in left:
        return taken[..., None]
    return np.moveaxis(taken, left.index("C"), -1)


def write(path: Path, kind: str, axes: str, array: NDArray[Any]) -> Path:
    options: dict[str, Any] = {"photometric": "minisblack", "metadata": {"axes": axes}}
    if kind == "zarr":
        zarr.create_array(path, data=array, chunks=(2, 2, 3, 20, 30), dimension_names=list(axes.lower()))
    elif kind == "ome tiles":
        tifffile.imwrite(path, array, ome=True, tile=(16, 16), compression="zlib", **options)
    else:
        tifffile.imwrite(path, array, ome=kind == "ome", imagej=kind == "imagej", **options)
    return path


ORDERS = [
    *itertools.product(("ome", "ome tiles", "shaped", "zarr"), ("TZCYX", "CZTYX", "ZTCYX")),
    ("imagej", "TZCYX"),
]


@quiet
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("kind", "axes"), ORDERS)
def test_positions(tmp_path: Path, kind: str, axes: str, backend: Any) -> None:
    array = stack(axes)
    path = write(tmp_path / "a.ome.tif", kind, axes, array)
    chosen: list[dict[str, Any]] = [{}, {"c": 2}, {"t": 1}, {"z": 2, "c": 3}, {"t": 1, "z": 1, "c": 0}]
    frames = SimpleFrames(
        {number: Asset(str(path), **options) for number, options in enumerate(chosen)},
        tmp_path / "w",
        backend,
    )
    for _ in range(2):  # once with a conversion, and once more from what is there
        for number, options in enumerate(chosen):
            expected = at(array, axes, **options)
            np.testing.assert_array_equal(frames.load_image(number), expected)
            np.testing.assert_array_equal(
                frames.load_region(number, np.s_[5:40, 17:70]), expected[5:40, 17:70]
            )
        frames = pickle.loads(pickle.dumps(frames))


@quiet
def test_blocks_of_positions_do_not_mix_in_memory(tmp_path: Path) -> None:
    array = stack()
    path = write(tmp_path / "a.ome.tif", "ome tiles", "TZCYX", array)
    images = [subregion.open(path, None, z=z, c=1) for z in range(3)]
    for _ in range(4):
        for z, image in enumerate(images):
            np.testing.assert_array_equal(image[:], at(array, "TZCYX", z=z, c=1))


@quiet
@pytest.mark.parametrize("kind", ["ome", "ome tiles", "shaped", "imagej"])
def test_pages(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path / "a.ome.tif", kind, "TZCYX", stack())
    pages = stack().reshape(-1, 48, 80)
    for number in (0, 7, 23):
        np.testing.assert_array_equal(subregion.open(path, None, page=number)[..., 0], pages[number])
    with pytest.raises(RecordError, match=r"a\.ome\.tif: page=24 .* 24 of them: 0 to 23"):
        subregion.open(path, None, page=24).shape  # noqa: B018


def write_pages(path: Path, pages: list[NDArray[Any]], **options: Any) -> Path:
    with tifffile.TiffWriter(path) as writer:
        for page in pages:
            writer.write(page, metadata=None, **options)
    return path


@quiet
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_generic_pages_and_series(tmp_path: Path, backend: Any, compression: Any) -> None:
    rng = np.random.default_rng(2)
    small = [rng.integers(0, 255, (30, 40), np.uint8) for _ in range(3)]
    large = [rng.integers(0, 255, (50, 60, 3), np.uint8) for _ in range(2)]
    path = write_pages(tmp_path / "a.tif", [*small, *large], compression=compression)
    for number, page in enumerate([*small, *large]):
        got = subregion.open(path, backend, tmp_path / "w", page=number)[:]
        np.testing.assert_array_equal(got, page.reshape(got.shape))
    got = subregion.open(path, backend, tmp_path / "w", series=1, page=1)[:]
    np.testing.assert_array_equal(got, large[1])
    np.testing.assert_array_equal(
        subregion.open(path, backend, tmp_path / "w", page=3, c=2)[:], large[0][..., 2:]
    )
    np.testing.assert_array_equal(
        subregion.open(path, backend, tmp_path / "w", series=0, axes="cyx")[:], np.stack(small, axis=-1)
    )
    with pytest.raises(RecordError, match=r"series=2 .* 2 of them"):
        subregion.open(path, None, series=2).shape  # noqa: B018


@pytest.mark.parametrize("kind", ["cog", "ome"])
def test_levels(tmp_path: Path, kind: str) -> None:
    full = np.random.default_rng(3).integers(0, 255, (2, 256, 320), np.uint8)
    path, levels = tmp_path / "a.ome.tif", [full[:, ::step, ::step] for step in (1, 2, 4)]
    options: dict[str, Any] = {"tile": (64, 64), "photometric": "minisblack"}
    with tifffile.TiffWriter(path, ome=kind == "ome") as writer:
        if kind == "ome":
            writer.write(full, subifds=2, metadata={"axes": "CYX"}, **options)
            for level in levels[1:]:
                writer.write(level, subfiletype=1, **options)
        else:
            levels = [level[:1] for level in levels]
            for number, level in enumerate(levels):
                writer.write(level[0], subfiletype=number > 0, metadata=None, compression="zlib", **options)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for number, level in enumerate(levels):
            raster = open_raster(str(path), Asset(str(path), level=number).view)
            image = subregion.open(path, None, level=number)
            np.testing.assert_array_equal(image[:], np.moveaxis(level, 0, -1))
            assert raster.level_shapes == tuple(each.shape[1:] for each in levels[number:])
        with pytest.raises(RecordError, match=r"level=3 .* 3 of them: 0 to 2"):
            subregion.open(path, None, level=3).shape  # noqa: B018
        subregion.open(path, None)[:]


@quiet
@pytest.mark.parametrize(("name", "value"), [("t", 2), ("z", 3), ("c", 4), ("series", 1), ("level", 1)])
@pytest.mark.parametrize("kind", ["ome", "zarr"])
def test_what_is_not_there(tmp_path: Path, kind: str, name: str, value: int) -> None:
    path = write(tmp_path / "a.ome.tif", kind, "TZCYX", stack())
    with pytest.raises(RecordError, match=rf"a\.ome\.tif: {name}={value} is asked for"):
        subregion.open(path, None, **{name: value}).shape  # type: ignore[arg-type]  # noqa: B018


@pytest.mark.parametrize("value", [slice(0, 3), [1, 2], range(2)])
def test_several_positions_are_several_images(tmp_path: Path, value: Any) -> None:
    with pytest.raises(RecordError, match="one position of z.*np.stack"):
        subregion.open(tmp_path / "a.tif", z=value)


@pytest.mark.parametrize("options", [{"page": -1}, {"t": 1.5}, {"c": True}, {"axes": "ab"}, {"axes": "yxx"}])
def test_options_without_meaning(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(RecordError, match=next(iter(options))):
        subregion.open(tmp_path / "a.tif", **options)


def test_files_of_one_picture(tmp_path: Path) -> None:
    Image.new("RGB", (20, 10)).save(tmp_path / "a.png")
    assert subregion.open(tmp_path / "a.png", None, page=0).shape == (10, 20, 3)
    with pytest.raises(RecordError, match="page=1"):
        subregion.open(tmp_path / "a.png", None, page=1).shape  # noqa: B018
    with pytest.raises(RecordError, match="z=0"):
        subregion.open(tmp_path / "a.png", None, z=0).shape  # noqa: B018


@pytest.mark.parametrize("backend", [None, "zarr"])
@pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
def test_animations(tmp_path: Path, suffix: str, backend: Any) -> None:
    rng = np.random.default_rng(4)
    pictures = [Image.fromarray(rng.integers(0, 255, (30, 40, 3), np.uint8)) for _ in range(4)]
    path = tmp_path / f"a.{suffix}"
    lossless: dict[str, Any] = {"lossless": True} if suffix == "webp" else {}
    pictures[0].save(path, save_all=True, append_images=pictures[1:], **lossless)
    with warnings.catch_warnings(), Image.open(path) as file:
        warnings.simplefilter("error")
        subregion.open(path, None)[:]
        for number in range(4):
            file.seek(number)
            got = subregion.open(path, backend, tmp_path / "w", page=number)[:]
            np.testing.assert_array_equal(got[..., :3], np.asarray(file.convert("RGB")))
    with pytest.raises(RecordError, match=r"page=4 .* 4 of them: 0 to 3"):
        subregion.open(path, None, page=4).shape  # noqa: B018


def said(path: Path, **options: Any) -> list[str]:
    NOTICES.forget()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(2):
            subregion.open(path, None, **options)[:]
    assert all(each.filename == __file__ for each in caught)
    return [str(each.message) for each in caught]


def test_what_is_left_out_is_said_once(tmp_path: Path) -> None:
    path = write(tmp_path / "a.ome.tif", "ome", "TZCYX", stack())
    (message,) = said(path)
    assert "t from 0 to 1" in message
    assert "z from 0 to 2" in message
    assert "choose with z=" in message
    (message,) = said(path, t=1)
    assert "t from" not in message
    assert not said(path, t=0, z=0)
    assert not said(path, page=3)
    pages = [np.zeros((30, 40), np.uint8)] * 3
    for compression in (None, "zlib"):
        (message,) = said(write_pages(tmp_path / "b.tif", pages, compression=compression))
        assert "3 pages" in message
        unequal = [pages[0], np.zeros((20, 20), np.uint8)]
        assert not said(write_pages(tmp_path / "c.tif", unequal, compression=compression))
        assert not said(write_pages(tmp_path / "d.tif", pages[:1], compression=compression))
    array = zarr.create_array(tmp_path / "e.zarr", shape=(100, 256, 300), chunks=(50, 64, 64), dtype="u1")
    array[:] = 1
    (message,) = said(tmp_path / "e.zarr")
    assert "axes=" in message
    assert not said(tmp_path / "e.zarr", axes="yxc")


def test_copies_say_it_too(tmp_path: Path) -> None:
    path = write(tmp_path / "a.ome.tif", "ome", "TZCYX", stack())
    for _ in range(2):
        NOTICES.forget()
        frames = SimpleFrames({0: path}, tmp_path / "w", "zarr")
        with pytest.warns(UserWarning, match="t from 0 to 1"):
            frames.load_image(0)
        POOL.forget(lambda key: True)


def test_pages_that_are_samples(tmp_path: Path) -> None:
    array, path = stack("CYX"), tmp_path / "a.tif"
    tifffile.imwrite(path, array, photometric="minisblack", metadata=None)
    np.testing.assert_array_equal(subregion.open(path, None, axes="syx")[:], np.moveaxis(array, 0, -1))
    np.testing.assert_array_equal(subregion.open(path, None, axes="syx", c=2)[..., 0], array[2])


def test_axes_of_arrays_without_names(tmp_path: Path) -> None:
    array = np.random.default_rng(5).integers(0, 255, (20, 30, 40), np.uint8)
    zarr.create_array(tmp_path / "a.zarr", data=array, chunks=(7, 8, 9))
    meant = {
        "cyx": np.moveaxis(array, 0, -1),
        "yxc": array,
        "xyc": array.swapaxes(0, 1),
    }
    for axes, expected in meant.items():
        np.testing.assert_array_equal(subregion.open(tmp_path / "a.zarr", None, axes=axes)[:], expected)
    got = subregion.open(tmp_path / "a.zarr", None, axes="zyx", z=11)[..., 0]
    np.testing.assert_array_equal(got, array[11])
    with pytest.raises(RecordError, match="names 4 axes, but the array has 3"):
        subregion.open(tmp_path / "a.zarr", None, axes="tzyx").shape  # noqa: B018


def test_groups(tmp_path: Path) -> None:
    group = zarr.open_group(tmp_path / "a.zarr", mode="w")
    arrays = {}
    for name, step in (("0", 1), ("1", 2), ("other", 1)):
        arrays[name] = np.random.default_rng(6).integers(0, 255, (2, 64 // step, 80 // step), np.uint8)
        if name == "other":
            arrays[name] = 255 - arrays[name]
        group.create_array(name, data=arrays[name], chunks=(1, 32, 32))
    axes = [{"name": axis} for axis in "cyx"]
    group.attrs["ome"] = {
        "multiscales": [
            {"axes": axes, "datasets": [{"path": "0"}, {"path": "1"}]},
            {"axes": axes, "datasets": [{"path": "other"}]},
        ],
        "omero": {"channels": [{"label": "DAPI"}, {"label": "GFP"}]},
    }
    path = tmp_path / "a.zarr"
    with pytest.warns(UserWarning, match="2 series"):
        np.testing.assert_array_equal(subregion.open(path, None)[:], np.moveaxis(arrays["0"], 0, -1))
    got = subregion.open(path, None, series=0, level=1)[:]
    np.testing.assert_array_equal(got, np.moveaxis(arrays["1"], 0, -1))
    np.testing.assert_array_equal(subregion.open(path, None, series=1, c=1)[..., 0], arrays["other"][1])
    frames = SimpleFrames({0: Asset(str(path), series=0)})
    np.testing.assert_array_equal(frames.load_region(0, None, "GFP")[..., 0], arrays["0"][1])


@quiet
@pytest.mark.parametrize("backend", BACKENDS)
def test_names_of_channels(tmp_path: Path, backend: Any) -> None:
    ome, gdal = tmp_path / "a.ome.tif", tmp_path / "b.tif"
    array = stack("CYX")
    names = ["DAPI", "GFP", "RFP", "Cy5"]
    tifffile.imwrite(
        ome, array, ome=True, photometric="minisblack", metadata={"axes": "CYX", "Channel": {"Name": names}}
    )
    items = "".join(
        f'<Item name="DESCRIPTION" sample="{n}" role="description">B{n:02}</Item>' for n in range(4)
    )
    tifffile.imwrite(
        gdal, np.moveaxis(array, 0, -1), photometric="minisblack", planarconfig="contig", metadata=None,
        extratags=[(42112, "s", 0, f"<GDALMetadata>{items}</GDALMetadata>", True)], compression="zlib",
    )  # fmt: skip
    frames = SimpleFrames({"ome": ome, "gdal": gdal}, tmp_path / "w", backend)
    for _ in range(2):
        np.testing.assert_array_equal(
            frames.load_region("ome", None, "Cy5|GFP"), np.moveaxis(array[[3, 1]], 0, -1)
        )
        np.testing.assert_array_equal(frames.load_region("gdal", None, ["B02"])[..., 0], array[2])
        with pytest.raises(UnknownChannelError, match="DAPI"):
            frames.load_region("ome", None, "B02")
        frames = pickle.loads(pickle.dumps(frames))


@pytest.mark.parametrize(
    "metadata",
    [
        "<GDALMetadata>" + '<Item name="D" sample="0" role="description">A</Item>' * 2 + "</GDALMetadata>",
        '<!DOCTYPE a [<!ENTITY b "c">]><GDALMetadata><Item sample="0" role="description">&b;</Item>'
        "</GDALMetadata>",
        "<GDALMetadata><Item",
        '<GDALMetadata><Item sample="99999999999999" role="description">A</Item></GDALMetadata>',
    ],
)
def test_names_that_are_none(tmp_path: Path, metadata: str) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, np.zeros((20, 30, 2), np.uint8), photometric="minisblack", planarconfig="contig", metadata=None,
        extratags=[(42112, "s", 0, metadata, True)],
    )  # fmt: skip
    assert open_raster(str(path)).channel_names is None


@quiet
def test_info_lists_what_there_is(tmp_path: Path) -> None:
    path = write(tmp_path / "a.ome.tif", "ome", "TZCYX", stack())
    (found,) = json.loads(CliRunner().invoke(app, ["info", str(path), "--json"]).stdout)
    assert found["pages"] == 24
    assert found["series"][0]["axes"] == "TZCYX"
    assert found["series"][0]["shape"] == [2, 3, 4, 48, 80]
    assert "choose with z=" in found["left_out"]
    text = CliRunner().invoke(app, ["info", str(path)]).stdout
    assert "TZCYX 2 x 3 x 4 x 48 x 80" in text


@pytest.mark.parametrize("size", ["SizeT", "SizeC"])
def test_xml_that_promises_too_much(tmp_path: Path, size: str) -> None:
    path = tmp_path / "a.ome.tif"
    text = (
        '<OME><Image ID="Image:0"><Pixels DimensionOrder="XYCZT" Type="uint8" SizeX="40" SizeY="30" '
        'SizeC="1" SizeZ="1" SizeT="1"><TiffData/></Pixels></Image></OME>'
    ).replace(f'{size}="1"', f'{size}="99999999999"')
    write_pages(path, [np.zeros((30, 40), np.uint8)] * 2, description=text)
    NOTICES.forget()
    with pytest.warns(UserWarning, match="2 pages"):
        assert subregion.open(path, None)[:].shape == (30, 40, 1)
    with pytest.raises(SubregionError, match="more planes"):
        subregion.open(path, None, t=1).shape  # noqa: B018


@pytest.mark.parametrize("backend", ["none", "cog"])
def test_pages_on_the_command_line(tmp_path: Path, backend: str) -> None:
    path, output = tmp_path / "pages.tif", tmp_path / "page.npy"
    pages = np.random.default_rng(4).integers(0, 255, (4, 50, 60), dtype=np.uint8)
    with tifffile.TiffWriter(path) as file:
        for page in pages:
            file.write(page, contiguous=False)

    def run(*words: str) -> Any:
        return CliRunner().invoke(app, [*words, "--workdir", str(tmp_path / "work")])

    shared = ["--view", "page=2", "--backend", backend]
    done = run("read", str(path), str(output), *shared)
    assert done.exit_code == 0, done.output
    np.testing.assert_array_equal(np.load(output)[..., 0], pages[2])
    done = run("prepare", str(path), *shared)
    assert done.exit_code == 0, done.output
    done = run("info", str(path), "--view", "page=2", "--json")
    assert bool(json.loads(done.stdout)[0]["copies"]) == (backend == "cog")
    assert not json.loads(run("info", str(path), "--json").stdout)[0]["copies"]
    for wrong in ("page", "pages=2", "page=9", "page=-1", "page=x"):
        failed = run("read", str(path), str(tmp_path / "b.npy"), "--view", wrong)
        assert failed.exit_code != 0
        assert not (tmp_path / "b.npy").exists()


def test_levels_of_a_stack_of_indices_are_indices(tmp_path: Path) -> None:
    planes = np.random.default_rng(3).integers(0, 6, (2, 64, 96), dtype=np.uint8)
    path = str(tmp_path / "indices.ome.tif")
    colors = np.zeros((3, 256), np.uint16)
    colors[:, :6] = np.arange(18).reshape(3, 6) * 3000
    options: Any = {"photometric": "palette", "colormap": colors, "tile": (16, 16)}
    with tifffile.TiffWriter(path, ome=True) as file:
        file.write(planes, subifds=1, metadata={"axes": "ZYX"}, **options)
        file.write(planes[:, ::2, ::2].copy(), subfiletype=1, **options)
    found = subregion.open(path, backend=None, palette="index", z=1, level=1)
    np.testing.assert_array_equal(np.asarray(found[:])[..., 0], planes[1, ::2, ::2])


@pytest.mark.parametrize("axes", ["SYX", "YXS", "ZSYX"])
@quiet
def test_samples_of_the_only_channel_are_counted_as_channels(tmp_path: Path, axes: str) -> None:
    shape = tuple({"Z": 2, "S": 3, "Y": 40, "X": 50}[axis] for axis in axes)
    array, path = np.random.default_rng(3).integers(0, 255, shape, np.uint8), tmp_path / "a.ome.tif"
    planar = "separate" if axes.endswith("SYX") else "contig"
    tifffile.imwrite(path, array, ome=True, photometric="rgb", planarconfig=planar, metadata={"axes": axes})
    pixels = np.moveaxis(array[-1] if "Z" in axes else array, axes.removeprefix("Z").index("S"), -1)
    z = 1 if "Z" in axes else None
    np.testing.assert_array_equal(subregion.open(path, None, z=z)[:], pixels)
    for c in range(3):
        np.testing.assert_array_equal(subregion.open(path, None, z=z, c=c)[:], pixels[..., c : c + 1])
    with pytest.raises(RecordError, match="it has 3 of them"):
        _ = subregion.open(path, None, z=z, c=3).shape
