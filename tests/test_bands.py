"""What files say of their bands: names, wavelengths and units, compared with what other programs wrote."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import tifffile
import xarray
import zarr

import subregion
from subregion import SimpleFrames

NAMES = ["B02", "B03", "B08"]
WAVELENGTHS = [490.0, 560.0, 842.0]
PIXELS = np.random.default_rng(1).integers(0, 4000, (3, 70, 90), dtype=np.uint16)


def by_rasterio(
    path: str, about: list[dict[str, str]], units: tuple[str, ...] = (), names: list[str] = NAMES
) -> str:
    profile = {"driver": "GTiff", "count": 3, "height": 70, "width": 90, "dtype": "uint16"}
    profile["transform"] = rasterio.Affine(10, 0, 5e5, 0, -10, 5e6)
    with rasterio.open(path, "w", **profile) as file:
        file.write(PIXELS)
        file.descriptions = names
        if units:
            file.units = units
        for band, tags in enumerate(about, 1):
            domain = {"ns": "IMAGERY"} if "CENTRAL_WAVELENGTH_UM" in tags else {}
            file.update_tags(band, **domain, **tags)
    return path


@pytest.fixture(params=["imagery", "envi", "ome", "zarr 2", "zarr 3", "zarr of objects"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str | None]:
    """A file of three bands with names and wavelengths, and its unit."""
    path = str(tmp_path / "bands.tif")
    if request.param == "imagery":
        about = [{"CENTRAL_WAVELENGTH_UM": str(each / 1000)} for each in WAVELENGTHS]
        return by_rasterio(path, about, ("reflectance",) * 3), "reflectance"
    if request.param == "envi":
        about = [{"wavelength": str(each), "wavelength_units": "Nanometers"} for each in WAVELENGTHS]
        return by_rasterio(path, about), None
    if request.param == "ome":
        channel = {"Name": NAMES, "EmissionWavelength": WAVELENGTHS, "EmissionWavelengthUnit": ["nm"] * 3}
        tifffile.imwrite(
            path, PIXELS, ome=True, photometric="minisblack", metadata={"axes": "CYX", "Channel": channel}
        )
        return path, None
    names: Any = np.array(NAMES, object) if "objects" in request.param else NAMES
    coords = {"band": names, "wavelength": ("band", np.array(WAVELENGTHS) / 1000, {"units": "µm"})}
    array = xarray.DataArray(PIXELS, coords, ("band", "y", "x"), "scene", {"units": "K"})
    path = str(tmp_path / "scene.zarr")
    version = 2 if request.param.endswith("2") else 3
    with pytest.warns() if version == 3 else contextlib.nullcontext():
        array.to_dataset().to_zarr(path, zarr_format=version)
    return path, "K"


@pytest.mark.parametrize("backend", [None, "auto", "cog", "npy"])
def test_bands_are_read_by_the_names_of_the_file(
    source: tuple[str, str | None], backend: str | None, tmp_path: Path
) -> None:
    frames = SimpleFrames({"a": source[0]}, tmp_path / "work", backend)
    found = frames.load_region("a", (slice(10, 40), slice(None)), "B08|B02")
    np.testing.assert_array_equal(found, PIXELS[[2, 0], 10:40].transpose(1, 2, 0))


def test_xarray_knows_wavelengths_and_units(source: tuple[str, str | None]) -> None:
    path, unit = source
    found = subregion.open(path).to_xarray()
    assert list(found["channel"].values) == NAMES
    np.testing.assert_allclose(found["wavelength"], WAVELENGTHS)
    assert found["wavelength"].attrs == {"units": "nm"}
    assert found.attrs.get("units") == unit
    assert found.sel(channel="B03")["wavelength"] == pytest.approx(560)
    np.testing.assert_array_equal(found.values, PIXELS.transpose(1, 2, 0))


def test_units_of_their_own(tmp_path: Path) -> None:
    path = by_rasterio(str(tmp_path / "a.tif"), [], ("K", "K", "m"))
    found = subregion.open(path).to_xarray()
    assert "units" not in found.attrs
    assert list(found["unit"].values) == ["K", "K", "m"]
    assert "wavelength" not in found.coords


def test_a_last_band_of_which_nothing_is_said(tmp_path: Path) -> None:
    path = by_rasterio(str(tmp_path / "a.tif"), [], ("K", "m", ""), ["", "", ""])
    assert list(subregion.open(path).to_xarray()["unit"].values) == ["K", "m", ""]
    assert [each or "" for each in rasterio.open(path).units] == ["K", "m", ""]


@pytest.mark.parametrize("file", ["c/0", "zarr.json"])
@pytest.mark.parametrize("at", range(0, 200, 17))
def test_coordinates_that_are_junk_name_nothing(tmp_path: Path, file: str, at: int) -> None:
    names = np.array(NAMES, object)
    array = xarray.DataArray(PIXELS, {"band": names}, ("band", "y", "x"), "scene")
    array.to_dataset().to_zarr(tmp_path / "a.zarr", zarr_format=3, consolidated=False)
    damaged = tmp_path / "a.zarr" / "band" / file
    data = bytearray(damaged.read_bytes())
    data[at % len(data)] ^= 0x5A
    damaged.write_bytes(data)
    image = subregion.open(tmp_path / "a.zarr" / "scene")
    assert len(image.to_xarray()["channel"]) == 3
    np.testing.assert_array_equal(image[:5, :7], PIXELS[:, :5, :7].transpose(1, 2, 0))


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_numbers_of_bands_hide_no_wavelengths(tmp_path: Path) -> None:
    coords = {"band": [1, 2, 3], "wavelength": ("band", WAVELENGTHS, {"units": "nm"})}
    path = str(tmp_path / "scene.zarr")
    xarray.DataArray(PIXELS, coords, ("band", "y", "x"), "scene").to_dataset().to_zarr(path)
    found = subregion.open(path, backend=None).to_xarray()
    np.testing.assert_array_equal(found.coords["wavelength"], WAVELENGTHS)
    one = subregion.open(path, backend=None, c=1).to_xarray()
    np.testing.assert_array_equal(one.coords["wavelength"], WAVELENGTHS[1:2])


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_one_band_of_a_zarr_keeps_its_name(tmp_path: Path) -> None:
    path = str(tmp_path / "scene.zarr")
    array = xarray.DataArray(PIXELS, {"band": NAMES}, ("band", "y", "x"), "scene")
    array.to_dataset().to_zarr(path, zarr_format=2)
    assert subregion.open(path, backend=None, c=2).to_xarray().coords["channel"].item() == NAMES[2]


@pytest.mark.parametrize("labels", [["", ""], [], None])
def test_empty_labels_hide_no_coordinates(tmp_path: Path, labels: list[str] | None) -> None:
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=3)
    group.create_array("0", data=PIXELS[:2], dimension_names=("c", "y", "x"))
    group.create_array("c", data=np.array(["red", "nir"]), dimension_names=("c",))
    multiscale = {"axes": [{"name": name} for name in "cyx"], "datasets": [{"path": "0"}]}
    ome: dict[str, Any] = {"version": "0.5", "multiscales": [multiscale]}
    if labels is not None:
        ome["omero"] = {"channels": [{"label": label} for label in labels]}
    group.attrs["ome"] = ome
    found = SimpleFrames({1: tmp_path / "a.zarr"}).load_region(1, channels="nir")
    np.testing.assert_array_equal(found[..., 0], PIXELS[1])


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("values", [WAVELENGTHS, NAMES])
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
def test_parts_of_coordinates_that_are_the_fill_value(
    tmp_path: Path, version: Any, values: list[Any]
) -> None:
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=version)
    names = {"scene": ["band", "y", "x"], "band": ["band"]}
    about: dict[str, Any] = {each: {} for each in names}
    if version == 3:
        about = {each: {"dimension_names": dims} for each, dims in names.items()}
    group.create_array("scene", data=PIXELS, **about["scene"])
    options: dict[str, Any] = {"dtype": float if values[0] == 490 else str, "fill_value": values[0]}
    band = group.create_array("band", shape=(3,), chunks=(1,), **options, **about["band"])
    band[:] = np.array(values)
    band.attrs["units"] = "nm"
    if version == 2:
        for each, dims in names.items():
            group[each].attrs["_ARRAY_DIMENSIONS"] = dims
    assert len(list((tmp_path / "a.zarr" / "band").rglob("[0-9]"))) == 2  # the first chunk is not written
    found = subregion.open(tmp_path / "a.zarr" / "scene", None).to_xarray()
    np.testing.assert_array_equal(band[:], values)
    assert list(found.coords["wavelength" if values[0] == 490 else "channel"].values) == values
