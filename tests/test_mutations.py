"""Files of every kind in which some bytes were changed: read, or refused with an error of ours.

`make fuzz` does so for as long as one likes; this is what fits between other tests.
"""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import imagecodecs
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

import jpegs
from pictures import KINDS
from strangers import mutated, read_in_child
from subregion.convert.jpeg import keep_jpeg
from subregion.formats.open import open_raster

Photo = NDArray[np.uint8]
#: How many files are made of each.
EACH = 8


def usual(folder: Path, photo: Photo) -> dict[str, bytes]:
    found = {}
    for kind, write in KINDS.items():
        suffix = write.suffix  # type: ignore[attr-defined]  # writers have it
        path = (folder / kind.replace(" ", "_")).with_suffix(suffix)
        write(path, photo)
        found[f"{kind}{suffix}"] = path.read_bytes()
    return found


def by_pillow(folder: Path, photo: Photo) -> dict[str, bytes]:
    found = {}
    plain: dict[str, dict[str, Any]] = {name: {} for name in ("ico", "icns", "pcx", "dds", "qoi", "avif")}
    given: dict[str, dict[str, Any]] = {
        "sgi": {"rle": True},
        "tga": {"compression": "tga_rle"},
        "webp": {"lossless": True},
    }
    for suffix, options in (plain | given).items():
        image = Image.fromarray(photo)
        written = io.BytesIO()
        small = image.resize((64, 64)) if suffix in ("ico", "icns") else image
        small.save(written, suffix, **options)
        found[f"a.{suffix}"] = written.getvalue()
    return found


def by_codecs(folder: Path, photo: Photo) -> dict[str, bytes]:
    return {
        "a.jls": bytes(imagecodecs.jpegls_encode(photo)),
        "a.jxr": bytes(imagecodecs.jpegxr_encode(photo)),
        "a.jxl": bytes(imagecodecs.jpegxl_encode(photo, lossless=True)),
        "b.jxl": bytes(imagecodecs.jpegxl_encode(photo, usecontainer=True)),
        "a.j2k": bytes(imagecodecs.jpeg2k_encode(photo, codecformat="j2k")),
        "a.jp2": bytes(imagecodecs.jpeg2k_encode(photo.astype(np.uint16) * 257)),
        "a.hdr": bytes(imagecodecs.rgbe_encode(photo.astype(np.float32) / 255, header=True)),
        "lossless.jpg": bytes(imagecodecs.jpeg8_encode(photo[..., 0].copy(), lossless=True)),
        "deep.jpg": bytes(imagecodecs.jpeg8_encode(photo.astype(np.uint16) * 16, bitspersample=12)),
    }


def in_blocks(folder: Path, photo: Photo) -> dict[str, bytes]:
    found = {}
    for compression in ("jpeg", "jpeg2000", "jpegxl", "jpegxr", "webp", "png", "lerc", "lzma", "zstd"):
        path = folder / f"{compression}.tif"
        tifffile.imwrite(path, photo, compression=compression, tile=(32, 32), photometric="rgb")
        found[path.name] = path.read_bytes()
    return found


def jpeg_files(folder: Path, photo: Photo) -> dict[str, bytes]:
    found = {}
    for name, options in jpegs.SAMPLINGS.items():
        jpeg = jpegs.encode(photo, **options)
        found[f"{name}.jpg"] = jpeg
        found[f"{name} with intervals.jpg"] = jpegs.with_intervals(folder / "a.jpg", jpeg, 3)
    (folder / "source.jpg").write_bytes(found["4:2:0.jpg"])
    keep_jpeg(open_raster(str(folder / "source.jpg")), str(folder / "copy.jpg"))
    return found | {"copy.jpg": (folder / "copy.jpg").read_bytes()}


def videos(folder: Path, photo: Photo) -> dict[str, bytes]:
    found = {}
    kinds = {"a.mp4": "mpeg4 yuv420p", "a.avi": "mjpeg yuvj420p", "a.mkv": "ffv1 yuv420p",
             "a.mov": "png rgb24", "a.ts": "mpeg2video yuv420p"}  # fmt: skip
    for name, kind in kinds.items():
        codec, layout = kind.split()
        with av.open(str(folder / name), "w") as out:
            stream: Any = out.add_stream(codec, rate=25)
            stream.width, stream.height, stream.pix_fmt = 96, 64, layout
            for shift in range(10):
                pixels = np.ascontiguousarray(np.roll(photo[:64, :96], 3 * shift, axis=1))
                out.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
            out.mux(stream.encode())
        found[name] = (folder / name).read_bytes()
    return found


@pytest.mark.parametrize("made", [usual, by_pillow, by_codecs, in_blocks, jpeg_files, videos])
def test_changed_bytes(
    made: Callable[[Path, Photo], dict[str, bytes]], tmp_path: Path, photograph: Photo
) -> None:
    rng = random.Random(made.__name__)
    paths = []
    for name, content in made(tmp_path, np.ascontiguousarray(photograph[:93, :131])).items():
        for number in range(EACH):
            paths.append(tmp_path / f"{number} {name}")
            paths[-1].write_bytes(mutated(content, rng))
    outcomes, said = read_in_child(paths, timeout=280)
    assert said == ""
    for path, outcome in zip(paths, outcomes, strict=True):
        assert outcome.foreign is None, (path, outcome)
        assert outcome.seconds < 10, (path, outcome)
        assert outcome.megabytes < 400, (path, outcome)
