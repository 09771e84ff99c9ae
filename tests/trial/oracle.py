"""What independent decoders make of a picture, brought to the pixel rules of this library.

Nothing here imports `subregion`: the point is a second opinion. Where careful decoders disagree and
the rules leave room (say, whether four grey bits are scaled to 0..255), every reading is an `Answer`
of its own, with a note.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[Any]

#: Bump when an answer changes, so that cached answers are forgotten.
VERSION = 10

#: More pixels than this (times bands) are not asked of any decoder.
MAX_SAMPLES = 400_000_000

_SIGNATURES: tuple[tuple[str, int, bytes], ...] = (
    ("png", 0, b"\x89PNG"),
    ("jpeg", 0, b"\xff\xd8\xff"),
    ("jpegls", 0, b"\xff\xd8\xff\xf7"),
    ("tiff", 0, b"II*\0"),
    ("tiff", 0, b"MM\0*"),
    ("bigtiff", 0, b"II+\0"),
    ("bigtiff", 0, b"MM\0+"),
    ("jpegxr", 0, b"II\xbc"),
    ("gif", 0, b"GIF8"),
    ("webp", 8, b"WEBP"),
    ("bmp", 0, b"BM"),
    ("jp2", 4, b"jP  "),
    ("j2k", 0, b"\xff\x4f\xff\x51"),
    ("avif", 4, b"ftypavi"),
    ("heif", 4, b"ftyphei"),
    ("heif", 4, b"ftypmif1"),
    ("heif", 4, b"ftypmsf1"),
    ("heif", 4, b"ftyphev"),
    ("jxl", 0, b"\xff\x0a"),
    ("jxl", 4, b"JXL "),
    ("qoi", 0, b"qoif"),
    ("psd", 0, b"8BPS"),
    ("npy", 0, b"\x93NUMPY"),
    ("exr", 0, b"\x76\x2f\x31\x01"),
    ("dds", 0, b"DDS "),
    ("hdr", 0, b"#?"),
    ("fits", 0, b"SIMPLE"),
    ("ico", 0, b"\0\0\1\0"),
    ("cur", 0, b"\0\0\2\0"),
    ("pnm", 0, b"P1"),
    ("pnm", 0, b"P2"),
    ("pnm", 0, b"P3"),
    ("pnm", 0, b"P4"),
    ("pnm", 0, b"P5"),
    ("pnm", 0, b"P6"),
    ("pnm", 0, b"P7"),
    ("pfm", 0, b"Pf"),
    ("pfm", 0, b"PF"),
    ("xpm", 0, b"/* XPM"),
    ("mng", 0, b"\x8aMNG"),
    ("jng", 0, b"\x8bJNG"),
)


@dataclass(frozen=True)
class Answer:
    """One acceptable reading of a picture.

    Parameters
    ----------
    decoder : str
        Who made it, with a suffix after a colon where one decoder offers several readings.
    array : numpy.ndarray
        ``(h, w, C)``.
    note : str
        Why this reading is acceptable although another decoder may disagree.
    """

    decoder: str
    array: Pixels
    note: str = ""


@dataclass
class Verdict:
    """All answers for one file, and why the other decoders gave none.

    Parameters
    ----------
    kind : str
        The format, told by signature.
    answers : list of Answer
        What may be returned.
    errors : dict
        Decoder to the message of its failure; a decoder that does not know the format is left out.
    """

    kind: str
    answers: list[Answer] = field(default_factory=list)
    errors: dict[str, str] = field(default_factory=dict)


class AbstainError(Exception):
    """A decoder has nothing trustworthy to say about this kind of file."""


def sniff(head: bytes) -> str:
    """Tell a format by its first bytes.

    Parameters
    ----------
    head : bytes
        At least the first 16 bytes of the file.

    Returns
    -------
    str
        A short name, or ``"unknown"``.
    """
    found = "unknown"
    longest = 0
    for name, offset, signature in _SIGNATURES:
        if len(signature) > longest and head[offset : offset + len(signature)] == signature:
            found, longest = name, len(signature)
    return found


def banded(array: Pixels) -> Pixels:
    """Give an array its third axis and this machine's byte order; booleans become uint8.

    Parameters
    ----------
    array : numpy.ndarray
        Two or three axes.

    Returns
    -------
    numpy.ndarray
        ``(h, w, C)``.
    """
    if array.dtype == np.bool_:
        array = array.astype(np.uint8)
    if array.ndim == 2:
        array = array[:, :, np.newaxis]
    if array.ndim != 3:
        raise AbstainError(f"{array.ndim} axes")
    return np.ascontiguousarray(array.astype(array.dtype.newbyteorder("="), copy=False))


def cmyk_to_rgb(array: Pixels) -> Pixels:
    """Convert CMYK as Pillow does, at 8 or 16 bits, keeping bands after the fourth.

    Parameters
    ----------
    array : numpy.ndarray
        ``(h, w, C)`` with at least 4 bands; 0 is no ink.

    Returns
    -------
    numpy.ndarray
        ``(h, w, C - 1)``.
    """
    if array.dtype.kind != "u":
        raise AbstainError("CMYK of signed or float samples")
    top = int(np.iinfo(array.dtype).max)
    ink = array[..., :3].astype(np.uint64)
    light = (top - array[..., 3:4]).astype(np.int64)
    # Pillow multiplies 8-bit samples as (a * b + 128), then t + (t >> 8) >> 8: division with rounding.
    product = ((ink * light.astype(np.uint64) + top // 2) // top).astype(np.int64)
    rgb = np.clip(light - product, 0, top).astype(array.dtype)
    return np.concatenate([rgb, array[..., 4:]], axis=2)


def _pillow_rgb(array: Pixels, mode: str) -> Pixels:
    from PIL import Image, ImageCms

    image = Image.frombytes(mode, (array.shape[1], array.shape[0]), np.ascontiguousarray(array).tobytes())
    if mode == "LAB":
        transform = ImageCms.buildTransform(
            ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB"
        )
        converted = ImageCms.applyTransform(image, transform)
        if converted is None:
            raise AbstainError("Lab")
        image = converted
    return np.asarray(image.convert("RGB"))


def _pillow(path: str, data: bytes, kind: str) -> Iterator[Answer]:
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = Image.open(path)
        declared = (image.height, image.width)
        mode = image.mode
        depth = _tag_depth(image) if kind in ("tiff", "bigtiff") else 0
        if kind in ("tiff", "bigtiff"):
            _distrust_pillow_tiff(image, mode, depth)
        if kind in ("jp2", "j2k"):
            _distrust_pillow_jp2(data)
        image.load()
    transparent = image.has_transparency_data
    name = "pillow"
    if mode in ("P", "PA"):
        if getattr(image, "mode", mode) not in ("P", "PA"):
            yield Answer(name, banded(np.asarray(image)))
            return
        if transparent:
            yield Answer(name, banded(np.asarray(image.convert("RGBA"))))
            yield Answer(f"{name}:opaque", banded(np.asarray(image.convert("RGB"))), "transparency dropped")
        else:
            yield Answer(name, banded(np.asarray(image.convert("RGB"))))
        return
    if mode == "CMYK" and kind in ("tiff", "bigtiff") and depth > 8:
        raise AbstainError("CMYK reduced to 8 bits by Pillow")
    if mode in ("CMYK", "YCbCr", "HSV"):
        yield Answer(name, banded(np.asarray(image.convert("RGB"))))
        return
    if mode == "LAB":
        yield Answer(name, _pillow_rgb(np.asarray(image), "LAB"))
        return
    if mode in ("RGB", "RGBA", "LA", "L", "La", "RGBa", "RGBX") and depth not in (0, 1, 2, 4, 8):
        raise AbstainError(f"{depth}-bit samples reduced to 8 bits by Pillow")
    if kind == "png" and len(data) > 24 and data[24] == 16 and mode != "I;16":
        raise AbstainError("16-bit samples reduced to 8 bits by Pillow")
    array = np.asarray(image)
    if mode == "I" and kind in ("pnm", "png", "jp2", "j2k") and array.min() >= 0 and array.max() < 65536:
        array = array.astype(np.uint16)
    if mode == "I" and kind in ("tiff", "bigtiff") and _tag_format(image) == 1:
        array = array.view(np.uint32)
    if mode == "F" and kind in ("tiff", "bigtiff") and depth != 32:
        array = array.astype({16: np.float16, 64: np.float64}.get(depth, np.float32))
    if mode in ("I", "L") and kind in ("tiff", "bigtiff") and depth in (8, 16) and _tag_format(image) == 2:
        array = array.astype({8: np.int8, 16: np.int16}[depth])
    note = ""
    if mode == "RGBX":
        note = "a fourth band without meaning is kept"
    if kind in ("tiff", "bigtiff") and mode in ("L", "RGB") and depth in (2, 4):
        note = "few bits scaled to 0..255"
    if array.shape[:2] != declared:
        note = f"{note} size after load {array.shape[:2]}".strip()
    yield Answer(name, banded(array), note)
    if mode == "1":
        yield Answer(f"{name}:scaled", banded(array.astype(np.uint8) * 255), "one bit scaled to 0 and 255")
    elif kind == "gif" and mode == "L":
        yield Answer(f"{name}:rgb", banded(np.asarray(image.convert("RGB"))), "grey palette written out")
    elif transparent and mode in ("L", "RGB", "1") and kind == "png":
        with contextlib.suppress(ValueError):
            full = image.convert("RGBA" if mode == "RGB" else "LA")
            yield Answer(f"{name}:trns", banded(np.asarray(full)), "tRNS written out as a band")
    elif mode == "RGBX":
        yield Answer(f"{name}:rgb", banded(np.asarray(image.convert("RGB"))), "unused band dropped")


def _tag_depth(image: Any) -> int:
    bits = image.tag_v2.get(258, (1,))
    return int(max(bits)) if isinstance(bits, tuple) else int(bits)


def _tag_format(image: Any) -> int:
    value = image.tag_v2.get(339, (1,))
    return int(value[0]) if isinstance(value, tuple) else int(value)


def _distrust_pillow_tiff(image: Any, mode: str, depth: int) -> None:
    """AbstainError where Pillow is known to change or lose stored samples of a TIFF."""
    tags = image.tag_v2
    compressed = tags.get(259, 1) != 1
    if tags.get(274, 1) != 1:
        raise AbstainError("Pillow turns the picture as the orientation tag says")
    if tags.prefix == b"MM" and compressed and (mode in ("F", "I") or _tag_format(image) != 1):
        raise AbstainError("Pillow swaps the bytes of compressed big-endian samples")
    if tags.get(262) == 0 and depth > 8:
        raise AbstainError("Pillow inverts min-is-white up to 8 bits only")
    if _tag_format(image) == 2 and depth == 8:
        raise AbstainError("Pillow reads signed bytes as unsigned")
    if len(image.getbands()) < tags.get(277, 1):
        raise AbstainError("Pillow drops bands")
    if mode in ("LA", "La") and tags.get(284) == 2:
        raise AbstainError("Pillow loses the alpha plane")
    if 0 in (tags.get(325) or tags.get(279) or ()):
        raise AbstainError("Pillow fills missing tiles with others")


def _distrust_pillow_jp2(data: bytes) -> None:
    """AbstainError where Pillow scales or shifts the samples of a JPEG 2000 picture."""
    at = data.find(b"\xff\x4f\xff\x51")
    if at < 0 or at + 42 >= len(data):
        return
    depth = data[at + 42]
    components = int.from_bytes(data[at + 40 : at + 42], "big")
    if depth & 0x80 or depth + 1 not in (8, 16) or (depth > 7 and components > 1):
        raise AbstainError("Pillow scales to 8 or 16 bits and shifts signed samples")


def _tifffile(path: str, data: bytes, kind: str) -> Iterator[Answer]:
    import tifffile

    with tifffile.TiffFile(path) as tif:
        page: Any = tif.pages[0]
        _refuse_large(page.size)
        # tifffile gives zeros for what lies beyond the end of the file.
        ends = (offset + count for offset, count in zip(page.dataoffsets, page.databytecounts, strict=False))
        if max(ends, default=0) > len(data):
            raise ValueError("segments beyond the end of the file")
        stored = page.asarray()
        separate, depth, height, width, samples = page.shaped
        if depth != 1:
            raise AbstainError("volume")
        stored = stored.reshape(separate, height, width, samples)
        array = np.moveaxis(stored, 0, -1).reshape(height, width, -1) if separate > 1 else stored[0]
        photometric = int(page.photometric)
        bits = page.bitspersample
        bits = bits if isinstance(bits, int) else max(bits)
        jpeg = int(page.compression) in (6, 7, 33007, 34892)
        colormap = page.colormap
        if page.fillorder == 2 and int(page.compression) not in (1, 2, 3, 4, 5, 7, 8, 32946, 32773):
            raise AbstainError("reversed bits")
    if array.dtype.kind not in "uifb":
        raise AbstainError(f"dtype {array.dtype}")
    array = banded(array)
    yield from _interpreted("tifffile", array, photometric, bits, jpeg=jpeg, colormap=colormap)


def _interpreted(
    name: str, array: Pixels, photometric: int, bits: int, *, jpeg: bool, colormap: Pixels | None
) -> Iterator[Answer]:
    """Apply the meaning of a TIFF photometric interpretation to stored samples."""
    if photometric == 3 and colormap is not None:
        table = colormap if colormap.max() < 256 else colormap >> 8
        yield Answer(name, np.moveaxis(table[:, array[..., 0]], 0, -1).astype(np.uint8))
        if colormap.max() >= 256:
            deep = np.moveaxis(colormap[:, array[..., 0]], 0, -1).astype(np.uint16)
            yield Answer(f"{name}:rgb16", deep, "palette colours at their full 16 bits")
    elif photometric == 0:
        top = 1 if array.max() <= 1 and bits == 1 else (1 << bits) - 1
        if array.dtype.kind == "u":
            inverted = array.copy()
            inverted[..., 0] = (top - array[..., 0].astype(np.int64)).astype(array.dtype)
            yield from _few_bits(name, inverted, bits)
        elif array.dtype.kind == "i":
            yield Answer(f"{name}:complement", ~array, "signed min-is-white as -1 - x")
            yield Answer(f"{name}:negated", -array, "signed min-is-white as -x")
            yield Answer(f"{name}:stored", array, "signed min-is-white as stored")
        else:
            yield Answer(f"{name}:negated", -array, "float min-is-white as -x")
            yield Answer(f"{name}:one-minus", (1 - array).astype(array.dtype), "float min-is-white as 1 - x")
            yield Answer(f"{name}:stored", array, "float min-is-white as stored")
    elif photometric == 5 and array.shape[2] >= 4:
        yield Answer(name, cmyk_to_rgb(array))
    elif photometric == 6 and not jpeg:
        if array.dtype != np.uint8 or array.shape[2] != 3:
            raise AbstainError("YCbCr of unusual samples")
        yield Answer(name, _pillow_rgb(array, "YCbCr"))
    elif photometric in (8, 9, 10):
        if photometric == 10:
            raise AbstainError("ITU Lab")
        if array.dtype == np.uint8 and array.shape[2] == 3:
            signed = array ^ np.array([0, 128, 128], np.uint8) if photometric == 9 else array
            yield Answer(name, _pillow_rgb(signed, "LAB"))
        else:
            raise AbstainError("Lab of unusual samples")
    elif photometric in (32844, 32845):
        raise AbstainError("LogLuv")
    else:
        yield from _few_bits(name, array, bits)


def _few_bits(name: str, array: Pixels, bits: int) -> Iterator[Answer]:
    yield Answer(name, array, "few bits unscaled" if bits < 8 else "")
    if bits < 8 and array.dtype == np.uint8 and array.max() < (1 << bits):
        scaled = (array.astype(np.uint16) * 255 // ((1 << bits) - 1)).astype(np.uint8)
        yield Answer(f"{name}:scaled", scaled, "few bits scaled to 0..255")


def _imagecodecs(path: str, data: bytes, kind: str) -> Iterator[Answer]:
    import imagecodecs

    if kind == "jpeg":
        yield from _imagecodecs_jpeg(data)
        return
    decoders: dict[str, Callable[[bytes], Any]] = {
        "png": imagecodecs.png_decode,
        "jp2": imagecodecs.jpeg2k_decode,
        "j2k": imagecodecs.jpeg2k_decode,
        "webp": imagecodecs.webp_decode,
        "avif": lambda blob: imagecodecs.avif_decode(blob, index=0),
        "jxl": lambda blob: imagecodecs.jpegxl_decode(blob, index=0),
        "jpegxr": imagecodecs.jpegxr_decode,
        "jpegls": imagecodecs.jpegls_decode,
        "qoi": imagecodecs.qoi_decode,
        "gif": lambda blob: imagecodecs.gif_decode(blob, index=0),
    }
    decode = decoders.get(kind)
    if decode is None:
        raise AbstainError("format")
    array = banded(np.asarray(decode(data)))
    note = ""
    if kind == "gif":
        note = "first frame as RGB"
    yield Answer("imagecodecs", array, note)
    if kind == "png" and len(data) > 25 and data[24] < 8 and data[25] == 0 and array.shape[2] == 1:
        unscaled = (array // (255 // ((1 << data[24]) - 1))).astype(np.uint8)
        yield Answer("imagecodecs:unscaled", unscaled, "few bits unscaled")
    if kind == "png" and data.find(b"tRNS", 0, 4096) > 0 and array.shape[2] in (2, 4):
        yield Answer("imagecodecs:no-trns", array[..., :-1].copy(), "tRNS not written out")


def _imagecodecs_jpeg(data: bytes) -> Iterator[Answer]:
    import imagecodecs

    frame, bits, components, adobe = _jpeg_frame(data)
    if frame in (0xC3, 0xC7, 0xCB, 0xCF) or bits > 8:
        yield Answer("imagecodecs", banded(np.asarray(imagecodecs.jpeg_decode(data))))
        return
    if components == 4:
        inks = imagecodecs.jpeg8_decode(data, outcolorspace="cmyk")
        inks = 255 - inks if adobe else inks
        yield Answer("imagecodecs", cmyk_to_rgb(banded(inks)))
        return
    if frame not in (0xC9, 0xCA):
        raise AbstainError("the same libjpeg-turbo as Pillow's, but silent about damage")
    yield Answer("imagecodecs", banded(np.asarray(imagecodecs.jpeg8_decode(data))))


def _jpeg_frame(data: bytes) -> tuple[int, int, int, bool]:
    """Find the frame header: marker, bits, components, and whether an Adobe marker comes before it."""
    at = 2
    adobe = False
    while at + 9 < len(data):
        if data[at] != 0xFF or data[at + 1] in (0xFF, 0x00):
            at += 1
            continue
        marker = data[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return marker, data[at + 4], data[at + 9], adobe
        if marker == 0xEE and data[at + 4 : at + 9] == b"Adobe":
            adobe = True
        if marker == 0xDA:
            break
        has_length = not (0xD0 <= marker <= 0xD9 or marker == 0x01)
        at += 2 + (int.from_bytes(data[at + 2 : at + 4], "big") if has_length else 0)
    raise ValueError("no JPEG frame header")


def _vips(path: str, data: bytes, kind: str) -> Iterator[Answer]:
    import pyvips

    photometric = -1
    if kind in ("tiff", "bigtiff"):
        photometric = _distrust_vips_tiff(path)
    # Up to fail_on="error" libvips gives black tiles for those of a TIFF that it cannot decode.
    strictness = "warning" if kind in ("tiff", "bigtiff") else "error"
    image: Any = pyvips.Image.new_from_file(path, access="sequential", fail_on=strictness)
    fields = image.get_fields()
    if image.get("vips-loader") in ("csvload", "matrixload", "rawload", "vipsload", "svgload", "pdfload"):
        raise AbstainError("not a raster loader")
    if image.get("vips-loader").startswith(("svg", "pdf")):
        raise AbstainError("not a raster loader")
    bands, interpretation = image.bands, image.interpretation
    _refuse_large(image.width * image.height * bands)
    bits = image.get("bits-per-sample") if "bits-per-sample" in fields else 0
    if image.format in ("complex", "dpcomplex"):
        raise AbstainError("complex")
    array = _vips_array(image)
    if photometric == 6 and array.shape[2] == 4:
        yield Answer("vips", array[..., :3].copy())
    elif interpretation == "cmyk":
        yield Answer("vips", cmyk_to_rgb(array))
    elif interpretation in ("lab", "labs", "xyz"):
        converted = pyvips.Image.new_from_file(path, fail_on="error").colourspace("srgb")
        yield Answer("vips", _vips_array(converted), "Lab or XYZ by libvips")
    else:
        yield Answer("vips", array)
        if bits == 1 and array.shape[2] == 1 and array.dtype == np.uint8:
            yield Answer("vips:unscaled", (array > 127).astype(np.uint8), "one bit as 0 and 1")


def _vips_array(image: Any) -> Pixels:
    # Image.numpy() drops the axis of a single band, and every axis of a single pixel.
    return banded(np.asarray(image.numpy()).reshape(image.height, image.width, image.bands))


def _distrust_vips_tiff(path: str) -> int:
    """AbstainError where libvips is known to be wrong; else give the photometric interpretation."""
    import tifffile

    try:
        with tifffile.TiffFile(path) as tif:
            page: Any = tif.pages[0]
            compression, photometric = int(page.compression), int(page.photometric)
            colormap, sample_format, bits = page.colormap, page.sampleformat, page.bitspersample
            subsampling = page.tags.get("YCbCrSubSampling")
    except Exception:  # noqa: BLE001 - tifffile cannot parse it, so nothing is known against libvips
        return -1
    if compression not in (1, 2, 3, 4, 5, 7, 8, 32773, 32946, 50001):
        raise AbstainError("tiles of a codec that its build may lack come back black, without an error")
    if photometric == 3 and colormap is not None and colormap.max() < 256:
        raise AbstainError("palette of 8-bit colours turns black")
    if photometric == 6 and compression not in (6, 7) and subsampling and max(subsampling.value) == 1:
        raise AbstainError("YCbCr left unconverted")
    if sample_format == 3 and bits == 16:
        raise AbstainError("float16 widened to float32")
    return photometric


def _gdal(path: str, data: bytes, kind: str) -> Iterator[Answer]:
    import rasterio
    from rasterio.enums import ColorInterp, PhotometricInterp

    warnings.simplefilter("ignore")
    if kind not in ("tiff", "bigtiff", "png", "gif", "jp2", "j2k", "bmp", "webp"):
        # Its JPEG differs by up to 50 from libjpeg-turbo's, to which all others agree bit for bit.
        raise AbstainError("format")
    with rasterio.open(path) as source:
        _refuse_large(source.width * source.height * source.count)
        if kind == "gif" and source.count > 1:
            raise AbstainError("bands that GDAL made up")
        array = np.moveaxis(source.read(), 0, -1)
        structure = source.tags(ns="IMAGE_STRUCTURE")
        bits = int(source.tags(1, ns="IMAGE_STRUCTURE").get("NBITS", 8 * array.dtype.itemsize))
        palette = None
        if source.colorinterp[0] == ColorInterp.palette:
            palette = source.colormap(1)
        cyan = source.colorinterp[0] == ColorInterp.cyan
        photometric = source.photometric
    if array.dtype.kind not in "uifb":
        raise AbstainError(f"dtype {array.dtype}")
    array = banded(array)
    if kind in ("tiff", "bigtiff") and photometric in (PhotometricInterp.cielab, PhotometricInterp.ycbcr):
        raise AbstainError("colours left as stored by GDAL")
    if kind in ("tiff", "bigtiff") and photometric == PhotometricInterp.white:
        yield from _interpreted("gdal", array, 0, bits, jpeg=False, colormap=None)
        return
    if cyan:
        yield Answer("gdal", cmyk_to_rgb(array))
    elif palette is not None:
        table = np.zeros((max(max(palette) + 1, int(array.max()) + 1), 4), np.uint8)
        for index, colour in palette.items():
            table[index] = colour
        colours = table[array[..., 0]]
        grey_bit = kind in ("tiff", "bigtiff") and bits == 1
        if grey_bit:
            white = (colours[..., :1] > 127).astype(np.uint8)
            yield Answer("gdal:grey", white, "one bit with a palette that GDAL made up")
        if (table[..., 3][np.array(sorted(palette))] < 255).any():
            yield Answer("gdal", colours)
            yield Answer("gdal:opaque", colours[..., :3].copy(), "transparency dropped")
        else:
            yield Answer("gdal", colours[..., :3].copy())
    elif structure.get("MINISWHITE") == "YES" or photometric == PhotometricInterp.white:
        yield from _interpreted("gdal", array, 0, bits, jpeg=False, colormap=None)
    else:
        yield from _few_bits("gdal", array, bits)


def _numpy(path: str, data: bytes, kind: str) -> Iterator[Answer]:
    if kind != "npy":
        raise AbstainError("format")
    array = np.load(io.BytesIO(data), allow_pickle=False)
    if array.dtype.kind not in "uifb":
        raise ValueError(f"dtype {array.dtype}")
    yield Answer("numpy", banded(array))


def _refuse_large(samples: int) -> None:
    if samples > MAX_SAMPLES:
        raise ValueError(f"too large: {samples} samples")


#: Name to decoder, in the order in which they are asked.
DECODERS: dict[str, Callable[[str, bytes, str], Iterator[Answer]]] = {
    "pillow": _pillow,
    "tifffile": _tifffile,
    "imagecodecs": _imagecodecs,
    "vips": _vips,
    "gdal": _gdal,
    "numpy": _numpy,
}


def ask(decoder: str, path: str) -> Verdict:
    """Ask one decoder.

    Parameters
    ----------
    decoder : str
        A key of `DECODERS`.
    path : str
        The picture.

    Returns
    -------
    Verdict
        With no answer and no error if the decoder abstains.
    """
    with open(path, "rb") as stream:
        data = stream.read()
    verdict = Verdict(sniff(data[:16]))
    if decoder == "tifffile" and verdict.kind not in ("tiff", "bigtiff"):
        return verdict
    try:
        verdict.answers.extend(DECODERS[decoder](path, data, verdict.kind))
    except AbstainError:
        verdict.answers.clear()
    except Exception as error:  # noqa: BLE001 - decoders of other projects raise anything
        verdict.answers.clear()
        verdict.errors[decoder] = f"{type(error).__name__}: {str(error).strip()[:300]}"
    return verdict


def acceptable(path: str) -> list[Answer]:
    """List what a correct reader may return for a picture, in this very process.

    Parameters
    ----------
    path : str
        The picture.

    Returns
    -------
    list of Answer
        Empty if no decoder can read it.
    """
    return [answer for decoder in DECODERS for answer in ask(decoder, path).answers]
