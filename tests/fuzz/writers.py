"""What writes small sound files of every kind, to be damaged."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Make = Callable[[Path], str]
ROWS, COLS = 61, 83


def photo() -> NDArray[np.uint8]:
    """Make a small picture."""
    from chaos.sources import content

    return content(7, ROWS, COLS)


def plain_bytes(name: str, encode: Callable[[], bytes]) -> Make:
    """Give what writes these bytes."""

    def write(folder: Path) -> str:
        (folder / name).write_bytes(encode())
        return name

    return write


def pictures(*words: str) -> dict[str, Make]:
    """Take those of the pictures of other tests whose name begins so."""
    from pictures import KINDS as PICTURES

    def one(writer: Any) -> Make:
        def write(folder: Path) -> str:
            writer(folder / f"a{writer.suffix}", photo())
            return f"a{writer.suffix}"

        return write

    return {name: one(writer) for name, writer in PICTURES.items() if name.startswith(words)}


def pillow(name: str, mode: str = "RGB", **options: Any) -> Make:
    """Give what writes by Pillow."""

    def write(folder: Path) -> str:
        from PIL import Image

        Image.fromarray(photo()).convert(mode).save(folder / name, **options)
        return name

    return write


def vips(name: str, **options: Any) -> Make:
    """Give what writes by libvips."""

    def write(folder: Path) -> str:
        import pyvips

        pyvips.Image.new_from_array(photo()).write_to_file(str(folder / name), **options)
        return name

    return write


def codec(name: str, coder: str, array: Callable[[], NDArray[Any]] = photo, **options: Any) -> Make:
    """Give what writes by imagecodecs."""

    def encode() -> bytes:
        import imagecodecs

        return bytes(getattr(imagecodecs, f"{coder}_encode")(array(), **options))

    return plain_bytes(name, encode)


def sixteen() -> NDArray[np.uint16]:
    """Make a grey picture of 16 bits."""
    return photo()[..., 0].astype(np.uint16) * 100


def floats() -> NDArray[np.float32]:
    """Make a picture of floats."""
    return (photo() / 50).astype(np.float32)


def psd() -> bytes:
    """Make a Photoshop document."""
    planes = np.moveaxis(photo(), -1, 0).tobytes()
    head = b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, ROWS, COLS, 8, 3)
    return head + struct.pack(">III", 0, 0, 0) + struct.pack(">H", 0) + planes


def pnm_file(magic: str, head: str, body: bytes) -> Make:
    """Give what writes a head and a body."""
    return plain_bytes(f"a.{magic}", lambda: head.encode() + body)


def pnms() -> dict[str, Make]:
    """Give the kinds of PNM."""
    grey = photo()[..., 0]
    plain = " ".join(map(str, grey[:8, :8].ravel().tolist())).encode()
    pam = f"P7\nWIDTH {COLS}\nHEIGHT {ROWS}\nDEPTH 3\nMAXVAL 255\nTUPLTYPE RGB\nENDHDR\n"
    return {
        "ppm": pnm_file("ppm", f"P6\n# a\n{COLS} {ROWS}\n255\n", photo().tobytes()),
        "pgm": pnm_file("pgm", f"P5\n{COLS} {ROWS}\n255\n", grey.tobytes()),
        "pgm16": pnm_file("pgm", f"P5\n{COLS} {ROWS}\n65535\n", sixteen().astype(">u2").tobytes()),
        "pbm": pnm_file("pbm", f"P4\n{COLS} {ROWS}\n", np.packbits(grey > 100, axis=1).tobytes()),
        "plain": pnm_file("pgm", "P2\n8 8\n255\n", plain),
        "pfm": pnm_file("pfm", f"PF\n{COLS} {ROWS}\n-1.0\n", floats().tobytes()),
        "pam": pnm_file("pam", pam, photo().tobytes()),
    }


def npy_file(array: Callable[[], NDArray[Any]], **options: Any) -> Make:
    """Give what writes an array."""

    def encode() -> bytes:
        stream = io.BytesIO()
        np.lib.format.write_array(stream, array(), **options)
        return stream.getvalue()

    return plain_bytes("a.npy", encode)


def tiff_file(**options: Any) -> Make:
    """Give what writes by tifffile."""

    def write(folder: Path) -> str:
        import tifffile

        array = options.get("array", photo)()
        more = {key: value for key, value in options.items() if key != "array"}
        settings: dict[str, Any] = {
            "photometric": "rgb" if array.ndim == 3 else "minisblack",
            "metadata": None,
        }
        tifffile.imwrite(folder / "a.tif", array, **(settings | more))
        return "a.tif"

    return write


def pages(folder: Path) -> str:
    """Write a TIFF of several pages and levels."""
    import tifffile

    with tifffile.TiffWriter(folder / "a.tif") as out:
        out.write(photo(), subifds=1, tile=(16, 16), compression="zlib", photometric="rgb")
        out.write(photo()[::2, ::2], subfiletype=1, tile=(16, 16), compression="zlib", photometric="rgb")
        out.write(photo()[..., 0], compression="lzw")
    return "a.tif"


def geo(driver: str, **options: Any) -> Make:
    """Give what writes by GDAL."""

    def write(folder: Path) -> str:
        import rasterio

        with rasterio.open(
            folder / "a.tif", "w", driver=driver, height=ROWS, width=COLS, count=3, dtype="uint8", nodata=7,
            crs="EPSG:32633", transform=rasterio.Affine(10, 0, 5e5, 0, -10, 6e6), **options,
        ) as out:  # fmt: skip
            out.write(np.moveaxis(photo(), -1, 0))
        return "a.tif"

    return write


def zarr_array(version: int, **options: Any) -> Make:
    """Give what writes by zarr-python."""

    def write(folder: Path) -> str:
        import zarr

        array = options.get("array", photo)()
        more = {key: value for key, value in options.items() if key != "array"}
        settings: dict[str, Any] = {"chunks": (16, 32, *array.shape[2:]), "zarr_format": version}
        made = zarr.create_array(folder / "a.zarr", shape=array.shape, dtype=array.dtype, **(settings | more))
        made[...] = array
        return "a.zarr"

    return write


def zarr3() -> dict[str, Make]:
    """Give arrays of version 3."""
    from zarr import codecs

    made: dict[str, Make] = {
        "plain": zarr_array(3, compressors=None),
        "zstd": zarr_array(3, compressors=codecs.ZstdCodec(checksum=True)),
        "gzip": zarr_array(3, compressors=codecs.GzipCodec()),
        "sharded": zarr_array(3, shards=(32, 64, 3)),
        "crc": zarr_array(3, compressors=codecs.Crc32cCodec()),
        "transposed": zarr_array(3, filters=codecs.TransposeCodec(order=(2, 0, 1))),
        "floats": zarr_array(3, array=floats, serializer=codecs.BytesCodec(endian="big")),
    }
    for name in ("lz4", "lz4hc", "blosclz", "zlib", "zstd"):
        for shuffle in ("shuffle", "bitshuffle", "noshuffle"):
            blosc = codecs.BloscCodec(cname=name, shuffle=shuffle)
            made[f"blosc {name} {shuffle}"] = zarr_array(3, array=sixteen, compressors=blosc)
    return made


def zarr2() -> dict[str, Make]:
    """Give arrays of version 2."""
    import numcodecs

    codecs: dict[str, Any] = {
        "plain": {"compressors": None},
        "zstd": {"compressors": numcodecs.Zstd()},
        "zlib": {"compressors": numcodecs.Zlib()},
        "gzip": {"compressors": numcodecs.GZip()},
        "bz2": {"compressors": numcodecs.BZ2()},
        "lz4": {"compressors": numcodecs.LZ4()},
        "lzma": {"compressors": numcodecs.LZMA()},
        "blosc": {"compressors": numcodecs.Blosc()},
        "delta": {"filters": [numcodecs.Delta(dtype="<u2")], "array": sixteen},
        "shuffle": {"filters": [numcodecs.Shuffle(elementsize=2)], "array": sixteen},
        "nested": {"chunk_key_encoding": {"name": "v2", "separator": "/"}},
    }
    return {name: zarr_array(2, **options) for name, options in codecs.items()}


def group(folder: Path) -> str:
    """Write a group as this library does."""
    from subregion.convert.zarr import ZarrConfig, write_zarr

    picture = np.tile(photo(), (6, 6, 1))
    write_zarr(str(folder / "a.zarr"), picture.shape, picture.dtype, [picture], ZarrConfig(blocksize=64))
    return "a.zarr"


def ome(folder: Path) -> str:
    """Write a group of OME-NGFF."""
    import zarr

    made = zarr.create_group(folder / "a.zarr", zarr_format=2)
    for level in range(2):
        array = np.moveaxis(photo()[:: 1 << level, :: 1 << level], -1, 0)[None, :, None]
        level_array = made.create_array(
            str(level), shape=array.shape, dtype=array.dtype, chunks=(1, 1, 1, 32, 32)
        )
        level_array[...] = array
    scales: Any = [
        {"path": str(n), "coordinateTransformations": [{"type": "scale", "scale": [1, 1, 1, 2**n, 2**n]}]}
        for n in range(2)
    ]
    axes: Any = [{"name": name} for name in "tczyx"]
    made.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": scales}]
    return "a.zarr"


def film(name: str, coder: str, layout: str, **options: str) -> Make:
    """Give what writes a video."""

    def write(folder: Path) -> str:
        import av

        with av.open(str(folder / name), "w") as out:
            stream: Any = out.add_stream(coder, rate=25, options=options)
            stream.height, stream.width, stream.pix_fmt, stream.thread_count = 48, 64, layout, 1
            for shift in range(8):
                frame = av.VideoFrame.from_ndarray(
                    np.ascontiguousarray(np.roll(photo(), shift, 1)[:48, :64]), format="rgb24"
                )
                out.mux(stream.encode(frame))
            out.mux(stream.encode())
        return name

    return write


def beside(folder: Path, *suffixes: str) -> None:
    """Write pictures for datasets and sidecars."""
    from PIL import Image

    for suffix in suffixes or (".png",):
        Image.fromarray(photo()).save(folder / f"a{suffix}")


def coco(name: str, pack: Callable[[bytes], bytes] = bytes) -> Make:
    """Give what writes a dataset."""

    def write(folder: Path) -> str:
        beside(folder, ".png", ".tif")
        (folder / name).write_bytes(pack(json.dumps(dataset(), indent=1).encode()))
        return name

    return write


def zipped(data: bytes) -> bytes:
    """Pack a document into an archive."""
    import zipfile

    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data.json", data)
    return stream.getvalue()


def dataset() -> dict[str, Any]:
    """Make a dataset with everything in it that is looked at."""
    plain = {"file_name": "a.png", "width": COLS, "height": ROWS, "channels": "r|g|b"}
    other = {**plain, "file_name": "a.tif"}
    quantized = {
        **plain,
        "warp_aux_to_img": {"type": "affine", "scale": 2, "offset": [3, 4], "theta": 0.1},
        "quantization": {"orig_min": 0, "orig_max": 1, "quant_min": 0, "quant_max": 254, "nodata": 255},
    }
    sheared = {
        **other,
        "channels": "x.0:3",
        "warp_aux_to_img": {"type": "affine", "shearx": 0.1, "about": [1, 2]},
        "nodata": 0,
    }
    shot = {
        "id": 2,
        "name": "two",
        "file_name": None,
        "width": COLS * 2,
        "height": ROWS * 2,
        "video_id": 1,
        "frame_index": 0,
        "timestamp": "2024-01-01",
        "warp_img_to_vid": {"type": "affine", "matrix": [[1, 0, 2], [0, 1, 3], [0, 0, 1]]},
        "auxiliary": [quantized, sheared],
    }
    third = {"id": 3, "name": "three", **plain, "video_id": 1, "frame_index": 1, "warp_img_to_vid": None}
    return {
        "info": [{"type": "process"}],
        "categories": [{"id": 1, "name": "cat"}],
        "videos": [{"id": 1, "name": "v", "width": 200, "height": 150}],
        "images": [
            {"id": 1, "name": "one", **plain},
            shot,
            {**third, "assets": [{**other, "channels": "y|z|w"}]},
        ],
        "assets": [{"id": 1, "image_id": 1, **plain, "channels": "q|s|t"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]}],
    }


def dvc(folder: Path) -> str:
    """Write a picture that DVC tracks."""
    beside(folder)
    size = (folder / "a.png").stat().st_size
    digest = "0123456789abcdef" * 2
    (folder / "a.png.dvc").write_text(f"outs:\n- md5: {digest}\n  size: {size}\n  hash: md5\n  path: a.png\n")
    return "a.png"


def dvc_folder(folder: Path) -> str:
    """Write a picture in a folder that DVC tracks."""
    (folder / "data").mkdir()
    beside(folder / "data")
    members = folder / ".dvc/cache/files/md5/aa"
    members.mkdir(parents=True)
    (members / "11.dir").write_text(json.dumps([{"md5": "feed", "relpath": "a.png"}]))
    (folder / "data.dvc").write_text("outs:\n- md5: aa11.dir\n  nfiles: 1\n  path: data\n")
    return "data/a.png"


PAM = """<PAMDataset>
  <SRS>PROJCS["WGS 84 / UTM zone 33N",GEOGCS["WGS 84"],AUTHORITY["EPSG","32633"]]</SRS>
  <GeoTransform> 5.0e+05, 10.0, 0.0, 6.0e+06, 0.0, -10.0</GeoTransform>
  <GCPList Projection="EPSG:4326"><GCP Id="1" Pixel="0" Line="0" X="1" Y="2" Z="0"/></GCPList>
  <PAMRasterBand band="1"><NoDataValue>0</NoDataValue></PAMRasterBand>
</PAMDataset>
"""


def sidecars(suffix: str) -> Make:
    """Give what writes a picture with GDAL's notes."""

    def write(folder: Path) -> str:
        beside(folder, suffix)
        (folder / f"a{suffix}.aux.xml").write_text(PAM)
        return f"a{suffix}"

    return write


def world(folder: Path) -> str:
    """Write a picture with a world file and its `.prj`."""
    import pyproj

    beside(folder, ".png")
    (folder / "a.pgw").write_text("10\n0\n0\n-10\n500005\n5999995\n")
    (folder / "a.prj").write_text(pyproj.CRS("EPSG:32633").to_wkt("WKT1_ESRI"))
    return "a.png"


def entry(backend: Any, source: str = ".png") -> Make:
    """Convert a picture, so that the entry can be damaged."""

    def write(folder: Path) -> str:
        from subregion import SimpleFrames

        beside(folder, source)
        frames = SimpleFrames(
            {1: folder / f"a{source}"}, folder / "work", backend, "GIVEN", id_to_hashid={1: "a"}
        )
        frames.prepare()
        return f"a{source}"

    return write
