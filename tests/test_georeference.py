"""Where images lie on the ground: compared with what rasterio, that is GDAL, finds in the same files."""

from __future__ import annotations

import io
import json
import math
import struct
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import pytest
import rasterio
import rasterio.warp
import rasterio.windows
import tifffile
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from rasterio.control import GroundControlPoint
from rasterio.io import MemoryFile
from typer.testing import CliRunner

import subregion
from manifests import manifest
from single import Single
from subregion import Asset, Georeference, ImageRecord, SimpleFrames, Window
from subregion.cli.main import app
from subregion.errors import (
    ConfigError,
    DamagedFileError,
    MissingPackageError,
    NotGeoreferencedError,
    RecordError,
    RegionError,
    RegionTypeError,
    SourceNotFoundError,
    UnsupportedFormatError,
)
from subregion.formats.open import tags_of
from subregion.geo.georeference import georeference_of
from subregion.geo.geotags import GEO_TAGS, FileTag, GeoTags, placing_tags

NORTH_UP = Affine(10, 0, 499980.5, 0, -12, 5600020.25)
TURNED = Affine.translation(400000, 5e6) @ Affine.rotation(31) @ Affine.shear(7, 0) @ Affine.scale(20, -15)
ROWS, COLS = 60, 90


def write(path: Path, crs: Any = "EPSG:32633", transform: Affine = NORTH_UP, **options: Any) -> Path:
    """Write a small picture as GDAL does."""
    tags = options.pop("tags", {})
    pixels = np.arange(ROWS * COLS, dtype=np.uint16).reshape(1, ROWS, COLS) % 251
    profile: dict[str, Any] = {"driver": "GTiff", "width": COLS, "height": ROWS, "count": 1, "dtype": "uint8"}
    profile |= options
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with rasterio.open(path, "w", **profile, crs=crs, transform=transform) as file:
            file.update_tags(**tags)
            file.write(pixels.astype(np.uint8))
    return path


def by_rasterio(path: Path) -> tuple[Affine, pyproj.CRS | None]:
    with rasterio.open(path) as file:
        wkt = file.crs.to_wkt() if file.crs else None
        return file.transform, None if wkt is None else pyproj.CRS.from_wkt(wkt)


def frames_of(path: Path, **options: Any) -> SimpleFrames:
    return SimpleFrames({1: path}, **options)


def ours(path: Path) -> Georeference:
    return frames_of(path).georeference(1)


def assert_same_system(found: str | None, expected: pyproj.CRS | None, near: tuple[float, float]) -> None:
    """Compare two systems by where they put points on the ellipsoid."""
    assert (found is None) == (expected is None)
    if found is None or expected is None:
        return
    mine = pyproj.CRS.from_user_input(found)
    assert mine.ellipsoid.semi_major_metre == pytest.approx(expected.ellipsoid.semi_major_metre)
    assert mine.ellipsoid.inverse_flattening == pytest.approx(expected.ellipsoid.inverse_flattening)
    assert mine.is_geographic == expected.is_geographic
    xs, ys = near[0] + np.array([0, 1000, 5000.0]), near[1] + np.array([0, 3000, 1000.0])
    if mine.is_geographic:
        xs, ys = np.array([1, 20, -30.0]), np.array([4, 50, -60.0])
    down = [
        np.array(pyproj.Transformer.from_crs(crs, 4326, always_xy=True).transform(xs, ys))
        for crs in (mine, expected)
    ]
    assert np.isfinite(down).all()
    np.testing.assert_allclose(down[0], down[1], rtol=0, atol=1e-9)


# --- GeoTIFF -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("point", [False, True])
@pytest.mark.parametrize(
    "transform", [NORTH_UP, TURNED, Affine(3, 0, 7, 0, 3, 9)], ids=["north", "turned", "south"]
)
@pytest.mark.parametrize(
    "crs", ["EPSG:32633", "EPSG:4326", "EPSG:3857", "EPSG:3031", "EPSG:2056", "EPSG:32633+5773"]
)
def test_registered_systems(tmp_path: Path, crs: str, transform: Affine, point: bool) -> None:
    tags = {"AREA_OR_POINT": "Point"} if point else {}
    path = write(tmp_path / "a.tif", crs, transform, tags=tags)
    expected, _ = by_rasterio(path)
    found = ours(path)
    np.testing.assert_allclose(found.to_world[:6], expected[:6], rtol=1e-14)
    np.testing.assert_allclose(found.to_world[:6], transform[:6], rtol=1e-14)
    assert found.crs == crs.split("+")[0]  # heights are left out


OWN_SYSTEMS = {
    "laea": "+proj=laea +lat_0=52 +lon_0=10 +x_0=4321000 +y_0=3210000 +ellps=GRS80",
    "albers in feet": "+proj=aea +lat_1=29.5 +lat_2=45.5 +lat_0=23 +lon_0=-96 +datum=NAD83 +units=us-ft",
    "tmerc": "+proj=tmerc +lat_0=1 +lon_0=9 +k=0.9996 +x_0=500000 +y_0=7 +ellps=bessel",
    "tmerc in feet": "+proj=tmerc +lat_0=1 +lon_0=9 +k=0.9996 +x_0=500000 +datum=WGS84 +units=ft",
    "lcc 2": "+proj=lcc +lat_1=49 +lat_2=46 +lat_0=47.5 +lon_0=13 +x_0=4e5 +y_0=4e5 +ellps=bessel",
    "lcc 1": "+proj=lcc +lat_1=46.5 +lat_0=46.5 +lon_0=2 +k_0=0.9998 +x_0=6e5 +y_0=2e5 +ellps=clrk80ign",
    "utm on another datum": "+proj=utm +zone=33 +ellps=bessel +towgs84=600,200,460,1,2,3,4",
    "utm south": "+proj=utm +zone=20 +south +ellps=intl",
    "stere b": "+proj=stere +lat_0=90 +lat_ts=71 +lon_0=-45 +datum=WGS84",
    "stere south": "+proj=stere +lat_0=-90 +lat_ts=-70 +lon_0=20 +ellps=WGS84",
    "stere a": "+proj=stere +lat_0=90 +k_0=0.994 +lon_0=33 +x_0=2e6 +y_0=2e6 +datum=WGS84",
    "stere oblique": "+proj=stere +lat_0=40 +k_0=0.9 +lon_0=5 +datum=WGS84",
    "sterea": "+proj=sterea +lat_0=52.15 +lon_0=5.38 +k=0.9999 +x_0=155000 +y_0=463000 +ellps=bessel",
    "omerc a": "+proj=omerc +no_uoff +lat_0=4 +lonc=115 +alpha=53.3 +gamma=53.1 +k=0.99984 +ellps=evrstSS",
    "omerc b": "+proj=omerc +lat_0=4 +lonc=115 +alpha=53.3 +gamma=53.1 +k=0.99984 +x_0=59 +ellps=evrstSS",
    "cassini": "+proj=cass +lat_0=10.4 +lon_0=-61.3 +x_0=86501 +y_0=65379 +ellps=clrk66",
    "eqdc": "+proj=eqdc +lat_0=39 +lon_0=-96 +lat_1=33 +lat_2=45 +datum=NAD83",
    "polyconic": "+proj=poly +lat_0=0 +lon_0=-54 +x_0=5e6 +y_0=1e7 +ellps=aust_SA",
    "robinson": "+proj=robin +lon_0=10 +datum=WGS84",
    "sinusoidal": "+proj=sinu +lon_0=5 +R=6371007.181",
    "cea": "+proj=cea +lat_ts=30 +lon_0=3 +datum=WGS84",
    "mercator a": "+proj=merc +lon_0=110 +k=0.997 +x_0=39e5 +y_0=9e5 +ellps=bessel",
    "mercator b": "+proj=merc +lat_ts=42 +lon_0=51 +ellps=krass",
    "aeqd": "+proj=aeqd +lat_0=50 +lon_0=8 +datum=WGS84",
    "gnomonic": "+proj=gnom +lat_0=50 +lon_0=8 +datum=WGS84",
    "orthographic": "+proj=ortho +lat_0=50 +lon_0=8 +datum=WGS84",
    "miller": "+proj=mill +lon_0=8 +datum=WGS84",
    "van der grinten": "+proj=vandg +lon_0=8 +R=6371000",
    "equirectangular": "+proj=eqc +lat_ts=12 +lon_0=8 +datum=WGS84",
    "new zealand": "+proj=nzmg +lat_0=-41 +lon_0=173 +x_0=2510000 +y_0=6023150 +ellps=intl",
    "mollweide": "+proj=moll +lon_0=7 +datum=WGS84",
    "own ellipsoid": "+proj=longlat +a=6378000 +rf=299 +no_defs",
    "sphere": "+proj=longlat +R=6371000 +no_defs",
    "paris": "+proj=longlat +ellps=clrk80ign +pm=paris +no_defs",
    "lambert of paris": "+proj=lcc +lat_1=46.8 +lat_0=46.8 +k_0=0.99 +a=6378249.2 +b=6356515 +pm=paris",
}


@pytest.mark.filterwarnings("ignore:You will likely lose important projection information")
@pytest.mark.parametrize("text", OWN_SYSTEMS.values(), ids=OWN_SYSTEMS.keys())
def test_systems_that_a_file_defines(tmp_path: Path, text: str) -> None:
    path = write(tmp_path / "a.tif", text)
    transform, crs = by_rasterio(path)
    assert crs is not None
    near = (0.0, 0.0)
    if crs.is_projected:
        conversion = pyproj.CRS.from_user_input(text)
        lon = conversion.to_dict().get("lon_0", conversion.to_dict().get("lonc", 15))
        lat = conversion.to_dict().get("lat_0", 1)
        near = pyproj.Transformer.from_crs(crs.geodetic_crs, crs, always_xy=True).transform(
            float(lon) + 0.5, min(max(float(lat), -80), 80) + 0.5
        )
    found = ours(path)
    assert found.to_world == transform
    assert_same_system(found.crs, crs, near)


@pytest.mark.parametrize(
    ("code", "flavor"),
    [(code, "STANDARD") for code in (27572, 2154, 3413, 27700, 2229, 21781, 6933)]
    + [(5514, "ESRI_PE"), (2229, "ESRI_PE")],
)
def test_registered_systems_written_without_their_code(tmp_path: Path, code: int, flavor: str) -> None:
    """What has a code elsewhere, stripped of it, so that the parameters have to be understood."""
    registered = pyproj.CRS.from_epsg(code)
    bare = registered.to_wkt("WKT1_GDAL").replace(f',AUTHORITY["EPSG","{code}"]', "")
    bare = bare.replace(registered.name, "nameless")
    path = write(tmp_path / "a.tif", bare, GEOTIFF_KEYS_FLAVOR=flavor)
    _, crs = by_rasterio(path)
    area = registered.area_of_use
    assert area is not None
    assert crs is not None
    middle = (area.west + area.east) / 2, (area.south + area.north) / 2
    near = pyproj.Transformer.from_crs(4326, registered, always_xy=True).transform(*middle)
    assert_same_system(ours(path).crs, crs, near)


@settings(max_examples=40, deadline=None)
@given(
    st.tuples(*[st.floats(-1e3, 1e3)] * 4).filter(lambda m: abs(m[0] * m[3] - m[1] * m[2]) > 1e-3),
    st.tuples(*[st.floats(-1e7, 1e7)] * 2),
    st.booleans(),
)
def test_our_tags_are_read_by_gdal(
    matrix: tuple[float, float, float, float], origin: tuple[float, float], point: bool
) -> None:
    a, b, d, e = matrix
    transform = Affine(a, b, origin[0], d, e, origin[1])
    keys = FileTag(34735, 3, 8, struct.pack("<8H", 1, 1, 0, 1, 1025, 0, 1, 1 + point))
    tags = (*placing_tags(transform, point), keys)
    found = GeoTags.of(tags).to_world("a.tif")
    np.testing.assert_allclose(found[:6], transform[:6], rtol=1e-9, atol=1e-6)
    written = io.BytesIO()
    extra = [(tag.code, tag.kind, tag.count, tag.value, True) for tag in tags]
    tifffile.imwrite(written, np.zeros((4, 4), np.uint8), extratags=extra)
    with MemoryFile(written.getvalue()) as memory, memory.open() as file:
        np.testing.assert_allclose(file.transform[:6], transform[:6], rtol=1e-9, atol=1e-6)


def tagged(path: Path, *tags: tuple[int, int, tuple[Any, ...]], keys: Sequence[int] = ()) -> Path:
    """Write a TIFF with such tags, by tifffile."""
    if keys:
        tags = (*tags, (34735, 3, (1, 1, 0, len(keys) // 4, *keys)))
    extra = [(code, kind, len(values), values, True) for code, kind, values in tags]
    tifffile.imwrite(path, np.zeros((8, 8), np.uint8), extratags=extra)
    return path


def test_tiepoints_elsewhere_and_with_heights(tmp_path: Path) -> None:
    path = tagged(
        tmp_path / "a.tif", (33550, 12, (2.0, 3.0, 5.0)), (33922, 12, (4.0, 2.0, 1.0, 1000.0, 500.0, 77.0))
    )
    assert ours(path).to_world == by_rasterio(path)[0] == Affine(2, 0, 992, 0, -3, 506)
    assert ours(path).crs is None


def test_matrix_with_heights(tmp_path: Path) -> None:
    numbers = (2.0, 0.5, 9.0, 100.0, 0.25, -3.0, 8.0, 200.0, 0.0, 0.0, 1.0, 5.0, 0.0, 0.0, 0.0, 1.0)
    path = tagged(tmp_path / "a.tif", (34264, 12, numbers))
    assert ours(path).to_world == by_rasterio(path)[0] == Affine(2, 0.5, 100, 0.25, -3, 200)


def test_big_endian_and_bigtiff(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    extra = [
        (33550, 12, 3, (2.0, 3.0, 0.0), True),
        (33922, 12, 6, (0.0, 0.0, 0.0, 10.0, 20.0, 0.0), True),
        (34735, 3, 12, (1, 1, 0, 2, 1024, 0, 1, 1, 3072, 0, 1, 25832), True),
    ]
    tifffile.imwrite(path, np.zeros((8, 8), np.uint8), byteorder=">", bigtiff=True, extratags=extra)
    assert ours(path) == Georeference(Affine(2, 0, 10, 0, -3, 20), "EPSG:25832")


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_control_points_alone_are_no_affine(tmp_path: Path) -> None:
    points = [GroundControlPoint(r, c, 1e5 + c, 2e5 - r) for r, c in ((0, 0), (0, 90), (60, 0), (60, 90))]
    path = tmp_path / "a.tif"
    profile: dict[str, Any] = {"driver": "GTiff", "width": COLS, "height": ROWS, "count": 1, "dtype": "uint8"}
    with rasterio.open(path, "w", **profile) as file:
        file.gcps = points, rasterio.CRS.from_epsg(32633)
        file.write(np.zeros((1, ROWS, COLS), np.uint8))
    with pytest.raises(NotGeoreferencedError, match="4 ground control points and no affine"):
        ours(path)
    with pytest.raises(NotGeoreferencedError, match="4 ground control points"):
        frames_of(path).load_region(1, bounds=(0, 0, 1, 1))
    assert "ground control points" in CliRunner().invoke(app, ["info", str(path)]).stdout


def test_nothing_and_only_a_system(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((8, 8), np.uint8))
    with pytest.raises(NotGeoreferencedError, match=r"no GeoTIFF tags.*no world file"):
        ours(tmp_path / "a.tif")
    path = tagged(tmp_path / "b.tif", keys=(1024, 0, 1, 1, 3072, 0, 1, 32633))
    with pytest.raises(NotGeoreferencedError, match="a coordinate reference system, but no affine"):
        ours(path)
    with pytest.raises(SourceNotFoundError):
        ours(tmp_path / "none.tif")


def test_bad_keys_are_an_error_and_never_a_guess(tmp_path: Path) -> None:
    place = ((33550, 12, (2.0, 3.0, 0.0)), (33922, 12, (0.0,) * 6))
    path = tagged(
        tmp_path / "a.tif", *place, keys=(1024, 0, 1, 1, 2048, 0, 1, 4326, 3072, 0, 1, 32767, 3075, 0, 1, 4)
    )
    with pytest.raises(UnsupportedFormatError, match=r"a\.tif.*map projection 4 is not among"):
        ours(path)
    # The transform is known all the same.
    assert frames_of(path).window(1, (2, -6, 4, -3)) == Window(1, 1, 1, 1)
    path = tagged(tmp_path / "b.tif", *place, keys=(1024, 0, 1, 2, 2048, 0, 1, 32767, 2050, 0, 1, 32767))
    with pytest.raises(UnsupportedFormatError, match="neither a datum nor an ellipsoid"):
        ours(path)
    path = tagged(tmp_path / "c.tif", (33550, 12, (2.0, 3.0, 0.0)), (33922, 12, (math.nan,) * 6))
    with pytest.raises(DamagedFileError, match=r"c\.tif.*singular"):
        ours(path)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.builds(
            FileTag,
            st.sampled_from(GEO_TAGS),
            st.sampled_from([1, 2, 3, 4, 12, 99]),
            st.integers(0, 9),
            st.binary(),
        )
    )
)
def test_any_bytes_are_read_or_refused(tags: list[FileTag]) -> None:
    try:
        found = georeference_of("nowhere.tif", tags)
    except subregion.SubregionError:
        return
    assert isinstance(found, Georeference)


# --- copies and files beside ------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", [None, "npy", "cog", "zarr", "auto"])
def test_copies_keep_the_place(tmp_path: Path, backend: str | None) -> None:
    path = write(tmp_path / "a.tif", OWN_SYSTEMS["laea"], NORTH_UP, nodata=7)
    frames = frames_of(path, backend=backend, workdir=tmp_path / "work")
    before = frames.georeference(1)
    assert not (tmp_path / "work").exists()  # nothing was converted for it
    frames.prepare()
    frames.load_region(1)
    assert frames.georeference(1) == before == ours(path)
    assert np.isnan(frames.load_region(1, nodata="float")).sum() == (frames.load_region(1) == 7).sum() > 0


def test_a_copy_outlives_its_source(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", nodata=7)
    for backend in ("npy", "cog", "zarr"):
        frames = SimpleFrames({1: path}, tmp_path / "work", backend, "GIVEN", id_to_hashid={1: "abc"})
        frames.prepare()
    path.unlink()
    for backend in ("npy", "cog", "zarr"):
        frames = SimpleFrames({1: path}, tmp_path / "work", backend, "GIVEN", id_to_hashid={1: "abc"})
        assert frames.georeference(1) == Georeference(NORTH_UP, "EPSG:32633")
        left, bottom, right, top = frames.georeference(1).bounds(ROWS, COLS)
        assert frames.load_region(1, bounds=(left, bottom, right, top)).shape == (ROWS, COLS, 1)


def test_a_pointer_with_nonsense_is_no_entry(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif")
    frames = frames_of(path, backend="npy", workdir=tmp_path / "work")
    frames.prepare()
    (pointer,) = frames.cache_dpath.glob("??/*.json")
    document = json.loads(pointer.read_text())
    pointer.write_bytes(manifest(document | {"tags": [["x", 1, 1, "?"]]}))
    assert frames_of(path, backend="npy", workdir=tmp_path / "work").load_region(1).shape == (ROWS, COLS, 1)
    (pointer,) = frames.cache_dpath.glob("??/*.json")
    assert json.loads(pointer.read_text())["tags"] == document["tags"]


@pytest.mark.parametrize("suffix", ["pgw", "pngw", "PGW", "wld", "png.wld"])
@pytest.mark.parametrize("transform", [NORTH_UP, TURNED], ids=["north", "turned"])
def test_world_files(tmp_path: Path, suffix: str, transform: Affine) -> None:
    Image.fromarray(np.zeros((ROWS, COLS), np.uint8)).save(tmp_path / "a.png")
    centre = transform @ Affine.translation(0.5, 0.5)
    a, b, c, d, e, f = centre[:6]
    (tmp_path / f"a.{suffix}").write_text("".join(f"{number:.12f}\n" for number in (a, d, b, e, c, f)))
    (tmp_path / "a.prj").write_text(pyproj.CRS.from_epsg(32633).to_wkt("WKT1_ESRI"))
    found = ours(tmp_path / "a.png")
    np.testing.assert_allclose(found.to_world[:6], transform[:6], rtol=1e-9)
    if suffix != "png.wld":  # which GDAL does not look for
        np.testing.assert_allclose(found.to_world[:6], by_rasterio(tmp_path / "a.png")[0][:6], rtol=1e-9)
    assert pyproj.CRS.from_user_input(found.crs).equals("EPSG:32633", ignore_axis_order=True)


@pytest.mark.parametrize("driver", ["PNG", "JPEG"])
def test_what_gdal_notes_beside_a_picture(tmp_path: Path, driver: str) -> None:
    path = write(tmp_path / "a.bin", "EPSG:3031", TURNED, driver=driver)
    assert (tmp_path / "a.bin.aux.xml").exists()
    transform, crs = by_rasterio(path)
    found = ours(path)
    assert found.to_world == transform
    assert_same_system(found.crs, crs, (1e5, 1e5))


@pytest.mark.parametrize("crs", ["EPSG:32633", "EPSG:4326", "EPSG:3035"])
@pytest.mark.parametrize("left_out", ["", "GeoJP2", "GMLJP2"])
def test_jpeg2000(tmp_path: Path, crs: str, left_out: str) -> None:
    options = {left_out: "NO"} if left_out else {}
    transform = Affine(0.5, 0, 10, 0, -0.25, 60) if crs == "EPSG:4326" else Affine(10, 0, 4e6, 0, -20, 3e6)
    path = write(tmp_path / "a.jp2", crs, transform, driver="JP2OpenJPEG", **options)
    expected, system = by_rasterio(path)
    np.testing.assert_allclose(ours(path).to_world[:6], expected[:6])
    assert pyproj.CRS.from_user_input(ours(path).crs) == system == pyproj.CRS.from_user_input(crs)
    frames = frames_of(path, backend="cog", workdir=tmp_path / "work")
    frames.prepare()
    (copy,) = frames.cache_dpath.glob("??/*.tif")
    assert by_rasterio(copy) == (expected, system)


def test_a_damaged_box_leaves_the_pixels(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jp2", driver="JP2OpenJPEG", GMLJP2="NO")
    data = path.read_bytes()
    place = data.index(b"II*\0")
    path.write_bytes(data[: place + 4] + b"\xff" * 60 + data[place + 64 :])
    frames = frames_of(path)
    assert frames.load_region(1).shape == (ROWS, COLS, 1)
    with pytest.raises(DamagedFileError, match=r"a\.jp2.*GeoJP2"):
        frames.georeference(1)


def test_tags_come_before_a_world_file_and_notes_before_tags(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif")
    (tmp_path / "a.tfw").write_text("1\n0\n0\n-1\n5\n6\n")
    assert ours(path).to_world == by_rasterio(path)[0] == NORTH_UP
    note = "<PAMDataset><GeoTransform> 1, 2, 0, 3, 0, -4 </GeoTransform></PAMDataset>"
    (tmp_path / "a.tif.aux.xml").write_text(note)
    assert ours(path).to_world == by_rasterio(path)[0] == Affine(2, 0, 1, 0, -4, 3)
    assert ours(path).crs == "EPSG:32633"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.pgw", "1 2 3"),
        ("a.pgw", "1\n0\n0\nnorth\n0\n0"),
        ("a.pgw", "0\n0\n0\n0\n1\n1\n"),
        ("a.pgw", "1 " * 9000),
        ("a.png.aux.xml", "<PAMDataset><GeoTransform>1,2"),
        ("a.png.aux.xml", "<PAMDataset><GeoTransform>1,2,3</GeoTransform></PAMDataset>"),
        ("a.png.aux.xml", '<!DOCTYPE a [<!ENTITY b "c">]><PAMDataset>&b;</PAMDataset>'),
    ],
)
def test_damaged_files_beside(tmp_path: Path, name: str, text: str) -> None:
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "a.png")
    (tmp_path / name).write_text(text)
    with pytest.raises(DamagedFileError, match=name.replace(".", r"\.")):
        ours(tmp_path / "a.png")
    assert frames_of(tmp_path / "a.png").load_region(1).shape == (8, 8, 1)
    assert name in CliRunner().invoke(app, ["info", str(tmp_path / "a.png")]).stdout


def test_tags_are_found_without_the_pixels(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", compress="deflate")
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[0]
        assert isinstance(page, tifffile.TiffPage)
        for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True):
            data[offset : offset + count] = b"\0" * count
    path.write_bytes(data)
    assert {tag.code for tag in tags_of(str(path))} >= {33550, 33922, 34735}
    assert ours(path).crs == "EPSG:32633"


# --- windows by bounds ------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(
    st.floats(1e-6, 1e3),
    st.floats(1e-6, 1e3),
    st.floats(-1e6, 1e6),
    st.floats(-1e6, 1e6),
    st.integers(-1000, 50_000),
    st.integers(-1000, 50_000),
    st.integers(1, 5000),
    st.integers(1, 5000),
    st.booleans(),
)
def test_bounds_at_pixel_edges_give_those_pixels(
    across: float, down: float, x: float, y: float, row: int, col: int, high: int, wide: int, south: bool
) -> None:
    across, down = max(across, abs(x) * 1e-9), max(down, abs(y) * 1e-9)  # what floats can tell apart
    place = Georeference(Affine(across, 0, x, 0, down if south else -down, y))
    left, top = place.to_world @ (col, row)
    right, bottom = place.to_world @ (col + wide, row + high)
    bounds = (left, min(top, bottom), right, max(top, bottom))
    assert place.window(bounds) == Window(row, col, high, wide)


@settings(max_examples=100, deadline=None)
@given(st.floats(-50, 950), st.floats(-50, 950), st.floats(0.01, 400), st.floats(0.01, 400))
def test_bounds_are_covered_by_the_smallest_window(x: float, y: float, width: float, height: float) -> None:
    place = Georeference(Affine(7, 0, 11, 0, -5, 900))
    bounds = (x, y, x + width, y + height)
    window = place.window(bounds)
    exact = rasterio.windows.from_bounds(*bounds, transform=place.to_world)
    slack = 1e-3 + 1e-9
    assert window.row - slack <= exact.row_off < window.row + 1 + slack
    assert window.col - slack <= exact.col_off < window.col + 1 + slack
    assert window.row_stop - 1 - slack < exact.row_off + exact.height <= window.row_stop + slack
    assert window.col_stop - 1 - slack < exact.col_off + exact.width <= window.col_stop + slack


def test_a_turned_image_gives_the_window_that_holds_the_rectangle() -> None:
    place = Georeference(TURNED)
    bounds = (400100.0, 5000100.0, 400700.0, 5000500.0)
    window = place.window(bounds)
    cols, rows = zip(*[~TURNED @ (x, y) for x in bounds[::2] for y in bounds[1::2]], strict=True)
    assert (window.col, window.row) == (math.floor(min(cols)), math.floor(min(rows)))
    assert (window.col_stop, window.row_stop) == (math.ceil(max(cols)), math.ceil(max(rows)))


def test_pixels_by_bounds_are_those_of_rasterio(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif")
    frames = frames_of(path)
    bounds = (500100.5, 5599420.25, 500420.5, 5599720.25)
    with rasterio.open(path) as file:
        exact = rasterio.windows.from_bounds(*bounds, transform=file.transform)
        expected = file.read(window=exact.round_offsets().round_lengths())
    np.testing.assert_array_equal(frames.load_region(1, bounds=bounds), np.moveaxis(expected, 0, -1))
    picture = subregion.open(path)
    np.testing.assert_array_equal(picture[picture.window(bounds)], np.moveaxis(expected, 0, -1))
    whole = frames.load_alignable(1).load_region(bounds=bounds, scale=0.5)
    np.testing.assert_array_equal(whole, frames.load_region(1, frames.window(1, bounds), scale=0.5))


def test_bounds_may_leave_the_image_but_not_miss_it(tmp_path: Path) -> None:
    frames = frames_of(write(tmp_path / "a.tif"))
    left, bottom, right, top = frames.georeference(1).bounds(ROWS, COLS)
    pixels = frames.load_region(1, bounds=(left - 50, top - 24, left + 20, top + 36), fill=99)
    assert pixels.shape == (5, 7, 1)
    assert (pixels[3:, 5:, 0] == frames.load_region(1)[:2, :2, 0]).all()
    assert (pixels[:3] == 99).all()
    with pytest.raises(RegionError, match=r"beside the image, which covers \(499980\.5.*EPSG:32633"):
        frames.load_region(1, bounds=(0, 0, 10, 10))
    with pytest.raises(RegionError, match="beside the image"):
        frames.load_region(1, bounds=(right, bottom, right + 10, top))


@pytest.mark.parametrize(
    ("bounds", "error"),
    [
        ((1, 2, 1, 3), RegionError),
        ((1, 2, 3, 2), RegionError),
        ((3, 2, 1, 4), RegionError),
        ((1, 4, 3, 2), RegionError),
        ((1, 2, math.nan, 4), RegionError),
        ((1, 2, math.inf, 4), RegionError),
        ((1, 2, 3), RegionTypeError),
        ("1,2,3,4", RegionTypeError),
        (("1", "2", "3", "4"), RegionTypeError),
        (5, RegionTypeError),
        ((-1e300, -1e300, 1e300, 1e300), RegionError),
    ],
)
def test_bounds_that_are_no_rectangle(tmp_path: Path, bounds: Any, error: type[Exception]) -> None:
    frames = frames_of(write(tmp_path / "a.tif"))
    with pytest.raises(error, match="bounds="):
        frames.load_region(1, bounds=bounds)
    with pytest.raises((RegionError, RegionTypeError), match="bounds="):
        frames.load_region(1, bounds=bounds, crs="EPSG:3857")


def test_contradictions(tmp_path: Path) -> None:
    frames = frames_of(write(tmp_path / "a.tif"))
    with pytest.raises(RegionTypeError, match="not both"):
        frames.load_region(1, (slice(0, 4),), bounds=(0, 0, 1, 1))
    with pytest.raises(RegionTypeError, match="without bounds"):
        frames.load_region(1, crs="EPSG:4326")
    with pytest.raises(ConfigError, match="'EPSG:nonsense'.*no coordinate reference system"):
        frames.load_region(1, bounds=(0, 0, 1, 1), crs="EPSG:nonsense")
    bare = tagged(tmp_path / "b.tif", (33550, 12, (2.0, 3.0, 0.0)), (33922, 12, (0.0,) * 6))
    with pytest.raises(NotGeoreferencedError, match="names no coordinate reference system"):
        frames_of(bare).load_region(1, bounds=(0, -3, 2, 0), crs="EPSG:4326")
    with pytest.raises(RecordError, match="singular"):
        Georeference(Affine(1, 1, 0, 1, 1, 0))


# --- bounds in other systems -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("own", "origin", "size", "given", "bounds"),
    [
        ("EPSG:32633", (500000, 5640000), 100, "EPSG:4326", (15.0, 50.8, 15.1, 50.9)),
        ("EPSG:4326", (10, 60), 0.1, "EPSG:32633", (400000, 6.1e6, 500000, 6.2e6)),
        ("EPSG:3031", (-3e6, 3e6), 66666, "EPSG:4326", (20, -80, 60, -65)),
        ("EPSG:3857", (1.05e6, 6.35e6), 1000, "EPSG:3035", (4.3e6, 2.9e6, 4.33e6, 2.93e6)),
    ],
)
def test_other_systems(
    tmp_path: Path, own: str, origin: tuple[float, float], size: float, given: str, bounds: Any
) -> None:
    transform = Affine(size, 0, origin[0], 0, -size, origin[1])
    frames = frames_of(write(tmp_path / "a.tif", own, transform))
    box = rasterio.warp.transform_bounds(given, own, *bounds, densify_pts=5001)
    exact = rasterio.windows.from_bounds(*box, transform=transform)
    for crs in (given, pyproj.CRS.from_user_input(given), int(given[5:])):
        window = frames.window(1, bounds, crs)
        assert (window.row, window.col) == (
            math.floor(exact.row_off + 1e-3),
            math.floor(exact.col_off + 1e-3),
        )
        assert window.row_stop == math.ceil(exact.row_off + exact.height - 1e-3)
        assert window.col_stop == math.ceil(exact.col_off + exact.width - 1e-3)


def test_the_pole_is_found_inside(tmp_path: Path) -> None:
    """The densified edge, not the corners, says how far a cap of the earth reaches."""
    frames = frames_of(write(tmp_path / "a.tif", "EPSG:3031", Affine(1e5, 0, -4.5e6, 0, -1e5, 3e6)))
    window = frames.window(1, (-180, -90, 180, -65), "EPSG:4326")
    reach = pyproj.Transformer.from_crs(4326, 3031, always_xy=True).transform(90, -65)[0]
    assert window.width == window.height == 2 * math.ceil(reach / 1e5)


def test_across_the_antimeridian(tmp_path: Path) -> None:
    fiji = (177.0, -19.0, -178.0, -16.0)
    # In a system that does not cut there.
    frames = frames_of(write(tmp_path / "utm.tif", "EPSG:32760", Affine(1e4, 0, 4e5, 0, -1e4, 8.3e6)))
    window = frames.window(1, fiji, "EPSG:4326")
    there = pyproj.Transformer.from_crs(4326, 32760, always_xy=True)
    west, east = there.transform(177, -19)[0], there.transform(-178, -19)[0]
    assert window.width == pytest.approx((east - west) / 1e4, abs=3)
    # In degrees that run on beyond 180.
    frames = frames_of(write(tmp_path / "on.tif", "EPSG:4326", Affine(0.25, 0, 170, 0, -0.25, -10)))
    assert frames.window(1, fiji, "EPSG:4326") == Window(24, 28, 12, 20)
    assert frames.window(1, (-179, -19, -178, -16), "EPSG:4326") == Window(24, 44, 12, 4)
    utm = (4e5, 7.9e6, 9e5, 8e6)
    window = frames.window(1, utm, "EPSG:32760")
    assert window.inside(ROWS, COLS)
    assert 15 < window.width < 25
    # In degrees from 0 to 360, the western hemisphere lies on the right.
    frames = frames_of(write(tmp_path / "east.tif", "EPSG:4326", Affine(4, 0, 0, 0, -3, 90)))
    assert frames.window(1, (-8, 0, -4, 3), "EPSG:4326") == frames.window(1, (352, 0, 356, 3))
    # In a world map that is cut there.
    frames = frames_of(write(tmp_path / "world.tif", "EPSG:4326", Affine(4, 0, -180, 0, -3, 90)))
    for crs, bounds in (("EPSG:4326", fiji), (pyproj.CRS.from_epsg(32760), utm)):
        with pytest.raises(RegionError, match=r"antimeridian.*is cut\. Read"):
            frames.window(1, bounds, crs)
    assert frames.window(1, (-180, -90, 180, 90), "EPSG:4326") == Window(0, 0, ROWS, COLS)
    frames = frames_of(write(tmp_path / "web.tif", "EPSG:3857", Affine(445278, 0, -20037508, 0, -6e5, 18e6)))
    with pytest.raises(RegionError, match="antimeridian"):
        frames.window(1, fiji, "EPSG:4326")


def test_bounds_beyond_a_system(tmp_path: Path) -> None:
    frames = frames_of(write(tmp_path / "a.tif", OWN_SYSTEMS["gnomonic"], Affine(1e3, 0, 0, 0, -1e3, 0)))
    with pytest.raises(RegionError, match="beyond where it is defined"):
        frames.window(1, (-175, -60, -170, -50), "EPSG:4326")


# --- several files, and without pyproj ---------------------------------------------------------------------


def test_several_files(tmp_path: Path) -> None:
    fine, coarse = (
        write(tmp_path / "fine.tif"),
        write(tmp_path / "coarse.tif", "EPSG:3857", Affine(20, 0, 5, 0, -20, 9)),
    )
    tifffile.imwrite(tmp_path / "bare.tif", np.zeros((ROWS, COLS), np.uint8))
    placed = Asset(str(coarse), ("c",), Affine(2, 0, 6, 0, 2, -4))
    record = ImageRecord(1, (Asset(str(fine), ("f",)), placed), COLS, ROWS)
    assert Single(record).georeference(1) == Georeference(NORTH_UP, "EPSG:32633")
    # The default says nothing, so the other one tells, through its place in the image.
    record = ImageRecord(1, (Asset(str(tmp_path / "bare.tif"), ("b",)), placed), COLS, ROWS)
    found = Single(record).georeference(1)
    assert found.crs == "EPSG:3857"
    for corner in ((0, 0), (COLS, 0), (10, ROWS)):
        assert placed.to_image is not None
        assert found.to_world @ (placed.to_image @ corner) == pytest.approx(
            Affine(20, 0, 5, 0, -20, 9) @ corner
        )
    left, top = found.to_world @ (10, 20)
    window = Single(record).window(1, (left, top - 30, left + 40, top))
    assert window == Window(20, 10, 3, 4)
    assert Single(record).load_region(1, None, "c|b", bounds=(left, top - 30, left + 40, top)).shape == (
        3,
        4,
        2,
    )


def test_without_pyproj(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known, own = write(tmp_path / "a.tif"), write(tmp_path / "b.tif", OWN_SYSTEMS["laea"])
    monkeypatch.setitem(sys.modules, "pyproj", None)
    bounds = (500000.5, 5599900.25, 500100.5, 5599960.25)
    assert ours(known).crs == "EPSG:32633"
    for path in (known, own):
        assert frames_of(path).load_region(1, bounds=bounds).shape == (5, 10, 1)
    assert frames_of(known).load_region(1, bounds=bounds, crs="EPSG:32633").shape == (5, 10, 1)
    for call in (lambda: ours(own), lambda: frames_of(known).window(1, bounds, "EPSG:3857")):
        with pytest.raises(MissingPackageError, match=r"pip install 'subregion\[geo\]'") as caught:
            call()
        assert isinstance(caught.value, ImportError)
    assert "pip install" in CliRunner().invoke(app, ["info", str(own)]).stdout


# --- the command line --------------------------------------------------------------------------------------


def test_info_and_read_by_bounds(tmp_path: Path) -> None:
    for name, crs in (
        ("known", "EPSG:32633"),
        ("own", OWN_SYSTEMS["tmerc"]),
        ("moll", OWN_SYSTEMS["mollweide"]),
    ):
        path = write(tmp_path / f"{name}.tif", crs, NORTH_UP, tags={"AREA_OR_POINT": "Point"})
        output = tmp_path / f"{name}-crop.tif"
        bounds = "500000.5,5599900.25,500100.5,5599960.25"
        result = CliRunner().invoke(
            app, ["read", str(path), str(output), "--bounds", bounds, "--backend", "none"]
        )
        assert result.exit_code == 0, result.output
        transform, system = by_rasterio(output)
        np.testing.assert_allclose(transform[:6], (10, 0, 500000.5, 0, -12, 5599960.25))
        assert system == by_rasterio(path)[1]
        with rasterio.open(output) as file:
            assert file.shape == (5, 10)
    (document,) = json.loads(CliRunner().invoke(app, ["info", "--json", str(tmp_path / "known.tif")]).stdout)
    assert document["crs"] == "EPSG:32633"
    assert document["to_world"] == list(NORTH_UP[:6])
    with rasterio.open(tmp_path / "known.tif") as file:
        assert document["bounds"] == pytest.approx(tuple(file.bounds))


def test_read_of_a_picture_with_a_world_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.png", "EPSG:3031", TURNED, driver="PNG")
    output = tmp_path / "crop.tif"
    args = ["read", str(path), str(output), "--region", "10:30:2,5:", "--backend", "none"]
    assert CliRunner().invoke(app, args).exit_code == 0
    transform, system = by_rasterio(output)
    expected = TURNED @ Affine.translation(5, 10) @ Affine.scale(1, 2)
    np.testing.assert_allclose(transform[:6], expected[:6])
    assert system == pyproj.CRS.from_epsg(3031)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--bounds", "1,2,3"), "MINX,MINY,MAXX,MAXY"),
        (("--bounds", "1,2,3,4", "--window", "0,0,1,1"), "not both"),
        (("--crs", "EPSG:4326"), "give them too"),
        (("--bounds", "1,2,3,4"), "beside the image"),
    ],
)
def test_read_explains(tmp_path: Path, options: tuple[str, ...], said: str) -> None:
    path = write(tmp_path / "a.tif")
    result = CliRunner().invoke(
        app, ["read", str(path), str(tmp_path / "out.tif"), *options, "--backend", "none"]
    )
    assert result.exit_code == 1
    assert said in result.stderr
