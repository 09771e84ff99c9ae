"""Small sound files of every kind, to be damaged.

A kind is a name, the seeds of it, how its files are damaged beside blindly, and how they are used. A seed is
a folder of its own: what is to be opened in it, and which files may be damaged.
"""

from __future__ import annotations

import functools
import gzip
import importlib.util
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fuzz.writers import (
    Make,
    coco,
    codec,
    dvc,
    dvc_folder,
    entry,
    film,
    floats,
    geo,
    group,
    npy_file,
    ome,
    pages,
    photo,
    pictures,
    pillow,
    plain_bytes,
    pnms,
    psd,
    sidecars,
    sixteen,
    tiff_file,
    vips,
    world,
    zarr2,
    zarr3,
    zipped,
)


@dataclass(frozen=True)
class Kind:
    """A kind of files.

    Parameters
    ----------
    how : str
        Key of `formats.AWARE`, or empty.
    use : str
        What is done with it; see `victim`.
    make : dict
        For each seed what writes it into a folder, and returns the name of what is to be opened.
    targets : str
        Which files are damaged, as a pattern below the folder; empty for the file that is opened.
    """

    how: str
    use: str
    make: dict[str, Make]
    targets: str = ""


_STORED: dict[str, Any] = {
    "npy": "npy",
    "cog": "cog",
    "cog raw": {"type": "cog", "config": {"compress": "RAW"}},
    "cog jpeg": {"type": "cog", "config": {"compress": "JPEG"}},
    "cog lzw": {"type": "cog", "config": {"compress": "LZW", "blocksize": 32}},
    "zarr": "zarr",
    "zarr zstd": {"type": "zarr", "config": {"compress": "ZSTD", "blocksize": 32}},
    "jpeg": "jpeg",
}


def backend_of(seed: str) -> Any:
    """Tell how the entry of a seed is stored."""
    return _STORED[seed]


def _tiffs() -> dict[str, Kind]:
    codecs = ("lzw", "zlib", "zstd", "packbits", "lzma", "png", "webp", "jpegxl", "lerc")
    planes = {"array": lambda: np.moveaxis(photo(), -1, 0), "photometric": "rgb", "planarconfig": "separate"}
    tiles = {"tiled": True, "blockxsize": 16, "blockysize": 16}
    found = {
        "tiff plain": pictures("tiff u", "tiff i", "tiff f", "tiff one", "tiff many"),
        "tiff tools": pictures("tiff palette", "tiff bilevel", "tiff fax", "tiff by", "tiff inks"),
        "tiff codecs": pictures(*(f"tiff {name}" for name in codecs)),
        "tiff jpeg": pictures("tiff jpeg"),
        "tiff odd": {
            "pages": pages,
            "bits": tiff_file(array=lambda: photo()[..., 0] // 4, bitspersample=6),
            "jxr": tiff_file(compression="jpegxr", tile=(32, 32)),
            "complex": tiff_file(array=lambda: floats()[..., 0].astype(np.complex64)),
            "planar": tiff_file(**planes),
            "ome": tiff_file(**planes, ome=True, metadata={"axes": "CYX"}),
            "imagej": tiff_file(array=sixteen, imagej=True),
        },
        "bigtiff": pictures("bigtiff"),
        "geotiff": {
            "gtiff": geo("GTiff", **tiles, compress="deflate"),
            "cog": geo("COG", blocksize=128, compress="zstd"),
            "jpeg": geo("GTiff", **tiles, compress="jpeg", photometric="ycbcr", interleave="pixel"),
            "sparse": geo("GTiff", **tiles, sparse_ok=True, interleave="band"),
        },
    }
    return {name: Kind("tiff", "image", made) for name, made in found.items()}


def _others() -> dict[str, Kind]:
    psds: dict[str, Make] = {"psd": plain_bytes("a.psd", psd)}
    by_name = {name: pillow(f"a.{name}") for name in ("ico", "pcx", "sgi", "im", "dds", "icns", "qoi", "dib")}
    by_mode = {name: pillow(f"a.{name}", mode) for name, mode in (("msp", "1"), ("xbm", "1"), ("blp", "P"))}
    found: dict[str, tuple[str, dict[str, Make]]] = {
        "pnm": ("text", pnms()),
        "gif": ("", pictures("gif") | {"animated": pillow("a.gif", save_all=True, append_images=[])}),
        "webp": ("", pictures("webp")),
        "bmp": ("", pictures("bmp")),
        "tga": ("", pictures("tga") | {"rle": pillow("a.tga", compression="tga_rle")}),
        "others": ("", psds | by_name | by_mode | {"spider": pillow("a.spi", "F", format="SPIDER")}),
        "jp2": ("boxes", pictures("jp2") | {"codestream": codec("a.j2k", "jpeg2k", codecformat="j2k")}),
        "jxl": (
            "boxes",
            {
                "plain": codec("a.jxl", "jpegxl"),
                "box": codec("a.jxl", "jpegxl", usecontainer=True),
                "16": codec("a.jxl", "jpegxl", sixteen, lossless=True),
            },
        ),
        "jls": ("jpeg", {"rgb": codec("a.jls", "jpegls"), "16": codec("a.jls", "jpegls", sixteen)}),
        "jpeg lossless": (
            "jpeg",
            {
                "8": codec("a.jpg", "ljpeg", lambda: photo()[..., 0]),
                "16": codec("a.jpg", "ljpeg", sixteen),
            },
        ),
        "jxr": ("", {"rgb": codec("a.jxr", "jpegxr"), "16": codec("a.jxr", "jpegxr", sixteen)}),
        "hdr": ("text", {"rgbe": codec("a.hdr", "rgbe", floats)}),
        "avif": (
            "boxes",
            pictures("avif") | {"10": codec("a.avif", "avif", lambda: sixteen() // 32, bitspersample=10)},
        ),
        "heif": ("boxes", {"rgb": vips("a.heic", compression="hevc")}),
    }
    return {name: Kind(how, "image", made) for name, (how, made) in found.items()}


def _zarrs() -> dict[str, Kind]:
    groups: dict[str, Make] = {"ours": group, "ome": ome}
    older = {f"2 {name}": made for name, made in zarr2().items()}
    return {
        "zarr 2": Kind("json", "image", zarr2(), "a.zarr/**/*"),
        "zarr 3": Kind("json", "image", zarr3(), "a.zarr/**/*"),
        "zarr groups": Kind("json", "image", groups, "a.zarr/**/*"),
        "zarr metadata": Kind("json", "image", older | zarr3() | groups, "a.zarr/**/*z*"),
    }


def _documents() -> dict[str, Kind]:
    notes = {name: sidecars(f".{name}") for name in ("png", "tif", "jpg")}
    packed = {"gz": coco("a.json.gz", gzip.compress), "zip": coco("a.zip", zipped)}
    return {
        "coco": Kind("json", "coco", {"json": coco("a.json")}),
        "coco packed": Kind("", "coco", packed),
        "dvc": Kind("text", "dvc", {"file": dvc, "folder": dvc_folder}, "*.dvc"),
        "dvc lists": Kind("json", "dvc", {"folder": dvc_folder}, ".dvc/cache/files/md5/*/*"),
        "aux.xml": Kind("text", "image", notes, "*.aux.xml"),
        "world": Kind("text", "image", {"files": world}, "a.p[gr]*"),
    }


def _entries() -> dict[str, Kind]:
    place = "work/_cache/frames/??"
    stored = {name: entry(backend) for name, backend in _STORED.items()}
    folders = {name: stored[name] for name in ("zarr", "zarr zstd")}
    return {
        "entry manifest": Kind("json", "entry", stored, f"{place}/*.json"),
        "entry data": Kind("tiff", "entry", stored, f"{place}/**/*.*"),
        "entry zarr": Kind("json", "entry", folders, f"{place}/*.zarr/**/*"),
        "entry jpeg": Kind("jpeg", "entry", {"jpeg": entry("jpeg", ".jpg")}, f"{place}/*.jpg"),
    }


def _videos() -> dict[str, Kind]:
    if importlib.util.find_spec("av") is None:
        return {}
    films: dict[str, Make] = {
        "mp4": film("a.mp4", "libx264", "yuv420p", g="4", bf="2"),
        "mkv": film("a.mkv", "libx264", "yuv420p", g="4"),
        "avi": film("a.avi", "mjpeg", "yuvj420p"),
        "mpeg4": film("a.mp4", "mpeg4", "yuv420p"),
        "ffv1": film("a.mkv", "ffv1", "bgr0"),
        "webm": film("a.webm", "libvpx", "yuv420p"),
        "ts": film("a.ts", "mpeg2video", "yuv420p"),
        "mov": film("a.mov", "libx264", "yuv420p"),
    }
    return {
        "video boxes": Kind("boxes", "video", {name: films[name] for name in ("mp4", "mpeg4", "mov")}),
        "video": Kind("", "video", films),
    }


@functools.cache
def kinds() -> dict[str, Kind]:
    """Give all kinds, in a fixed order."""
    arrays = {"version 2": npy_file(photo, version=(2, 0)), "version 3": npy_file(photo, version=(3, 0))}
    return {
        "png": Kind("png", "image", pictures("png") | {"interlaced": vips("a.png", interlace=True)}),
        "jpeg": Kind("jpeg", "image", pictures("jpeg") | {"exif": pillow("a.jpg", exif=b"Exif\0\0MM\0*")}),
        "npy": Kind("npy", "image", pictures("npy") | arrays),
        **_tiffs(),
        **_others(),
        **_zarrs(),
        **_documents(),
        **_entries(),
        **_videos(),
    }


def make(folder: Path, wanted: list[str]) -> dict[str, dict[str, Path]]:
    """Write the seeds of kinds.

    Parameters
    ----------
    folder : pathlib.Path
        Where they go; what is there already stays.
    wanted : list of str
        The kinds.

    Returns
    -------
    dict
        For each kind and seed its folder. Those that cannot be made here are left out.
    """
    made: dict[str, dict[str, Path]] = {}
    known = kinds()
    for name in wanted:
        made[name] = {}
        for seed, write in known[name].make.items():
            place = folder / name.replace(" ", "-") / seed.replace(" ", "-").replace(",", "")
            if not (place / ".opened").exists():
                shutil.rmtree(place, ignore_errors=True)
                place.mkdir(parents=True)
                try:
                    opened = write(place)
                except Exception as error:  # noqa: BLE001 - encoders differ in how they say that they are not there
                    (place / ".failed").write_text(f"{type(error).__name__}: {error}")
                    continue
                (place / ".opened").write_text(opened)
            made[name][seed] = place
    return made


def files_below(folder: Path, pattern: str) -> Iterator[Path]:
    """Give the files that match, sorted."""
    yield from sorted(path for path in folder.glob(pattern) if path.is_file() and not os.path.islink(path))
