"""JPEGs of every kind, made on the spot, and what Pillow makes of them."""

from __future__ import annotations

import io
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from subregion.codecs.jpegstream import read_stream
from subregion.convert.jpegrecode import recoded
from subregion.io.source import SourceFile

#: The program that some tests need; continuous integration installs it.
JPEGTRAN = shutil.which("jpegtran")

#: Name to the options of `encode`.
SAMPLINGS: dict[str, dict[str, Any]] = {
    "4:4:4": {"subsampling": "444"},
    "4:2:2": {"subsampling": "422"},
    "4:2:0": {"subsampling": "420"},
    "4:4:0": {"subsampling": "440"},
    "4:1:1": {"subsampling": "411"},
    "grey": {"bands": 1},
    "RGB": {"colorspace": "RGB", "outcolorspace": "RGB"},
    "CMYK": {"bands": 4, "colorspace": "CMYK", "outcolorspace": "CMYK"},
    "YCCK": {"bands": 4, "colorspace": "CMYK", "outcolorspace": "YCCK", "subsampling": "420"},
}


def encode(photo: NDArray[np.uint8], bands: int = 3, **options: Any) -> bytes:
    """Encode by imagecodecs, without restart intervals."""
    pixels = np.concatenate([photo, photo[..., :1]], axis=-1)[..., :bands]
    pixels = (pixels[..., 0] if bands == 1 else pixels).copy()
    return bytes(imagecodecs.jpeg8_encode(pixels, level=85, **options))


def decoded(jpeg: bytes | Path, by: int = 1) -> NDArray[Any]:
    """What Pillow makes of a JPEG, as rows, columns and bands, reduced as far as it does while decoding."""
    with Image.open(io.BytesIO(jpeg) if isinstance(jpeg, bytes) else jpeg) as image:
        if by > 1:
            image.draft(image.mode, (image.width // by, image.height // by))
        pixels = np.asarray(image.convert("RGB") if image.mode == "CMYK" else image)
    return pixels if pixels.ndim == 3 else pixels[..., None]


def by_jpegtran(jpeg: bytes, *options: str) -> bytes:
    """What jpegtran makes of a JPEG."""
    assert JPEGTRAN is not None
    return subprocess.run([JPEGTRAN, *options], input=jpeg, capture_output=True, check=True).stdout


def with_intervals(path: Path, jpeg: bytes, interval: int) -> bytes:
    """Put restart intervals into a JPEG by our own recoder, without an index."""
    path.write_bytes(jpeg)
    file = SourceFile(str(path))
    stream = read_stream(file)
    assert stream is not None
    return b"".join(recoded(file, stream, interval))


def segment(code: int, body: bytes) -> bytes:
    """A segment in front of the pixels."""
    return struct.pack(">BBH", 0xFF, code, len(body) + 2) + body


def with_segment(jpeg: bytes, code: int, body: bytes) -> bytes:
    """The same JPEG with one more segment in front."""
    return jpeg[:2] + segment(code, body) + jpeg[2:]


def scan_start(jpeg: bytes) -> int:
    """Where the coded pixels begin."""
    at = 2
    while jpeg[at + 1] != 0xDA:
        at += 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
    return at + 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
