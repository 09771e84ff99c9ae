"""From a path to an open raster: the format is told by the first bytes, never by the name."""

from __future__ import annotations

import contextlib
import struct
from dataclasses import replace

from subregion.codecs.jpegheader import read_header
from subregion.errors import (
    DamagedFileError,
    SourceIsDirectoryError,
    SubregionError,
    TooLargeError,
    UnsupportedFormatError,
)
from subregion.formats.codecfiles import open_codec_file, open_jpeg2000, open_webp
from subregion.formats.contents import Contents, no_such
from subregion.formats.foreign import named_foreign
from subregion.formats.jp2 import tags_of_jp2
from subregion.formats.jpeg.intervals import open_intervals
from subregion.formats.jpeg.whole import open_jpeg_file
from subregion.formats.npy import MAGIC as NPY_MAGIC
from subregion.formats.npy import open_npy
from subregion.formats.orientation import orientation_of
from subregion.formats.pillow import count_animation, open_animation, open_pillow
from subregion.formats.pnm import MAGICS as PNM_MAGICS
from subregion.formats.pnm import open_pnm
from subregion.formats.raster import Raster
from subregion.formats.tiff import open as tiff
from subregion.formats.tiff.page import StructureError
from subregion.formats.tiff.slides import SlideError
from subregion.formats.turned import upright
from subregion.formats.video.container import container_of
from subregion.formats.video.frames import movie_of, open_movie
from subregion.formats.vips import LAYOUT, Loader, top_down_level
from subregion.formats.zarr.metadata import is_zarr
from subregion.formats.zarr.open import contents_of_zarr, open_zarr
from subregion.geo.geotags import FileTag
from subregion.io import limits
from subregion.io.source import SourceFile
from subregion.views import AS_IT_IS, PLACES, View

#: What a file is that is asked for a frame of a video, and what can be asked of arrays.
_NO_VIDEO = "no video file"
_OF_ARRAYS = ("series", "level", "t", "z", "c", "axes")

_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_CODEC_FILES = {
    b"\xff\x0a": ("JPEG XL", "jpegxl"),
    b"\0\0\0\x0cJXL \r\n\x87\n": ("JPEG XL", "jpegxl"),
    b"II\xbc": ("JPEG XR", "jpegxr"),
    b"#?RADIANCE": ("Radiance HDR", "rgbe"),
    b"#?RGBE": ("Radiance HDR", "rgbe"),
}
_JPEG2000_MAGICS = (b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51")


def open_raster(path: str, view: View = AS_IT_IS, immutable: bool = False) -> Raster:
    """Open an image file or a zarr folder, by blocks where its format allows it.

    Parameters
    ----------
    path : str
        The file.
    view : View
        Which picture of it is meant, and what its samples are.
    immutable : bool
        Whether nobody writes to it, as to our copies, so that it may be read through a map.

    Returns
    -------
    Raster
        Ready to be read by any number of threads.

    Raises
    ------
    SubregionError
        If the file is missing, unreadable, empty, no image, damaged, or declares absurd sizes.
    """
    try:
        file = SourceFile(path, immutable)
    except SourceIsDirectoryError:
        view.check_only(path, _NO_VIDEO, *_OF_ARRAYS)
        return open_zarr(path, immutable, view)
    head = file.head(32)
    container = container_of(file, head)
    if container is not None:
        view.check_only(path, "a video file", "frame")
        return open_movie(file, container, view.frame or 0)
    if head[:4] in tiff.TIFF_MAGICS:
        view.check_only(path, "a TIFF", "picture", *PLACES, "axes")
        raster = _open_tiff(file, view)
    else:
        view.check_only(path, _NO_VIDEO, *PLACES, "axes")
        raster = _open_picture(file, head, view)
    if view.orientation == "stored":
        return raster
    return upright(raster, orientation_of(file, raster, view))


def _open_picture(file: SourceFile, head: bytes, view: View) -> Raster:
    indices = view.palette == "index"
    if view.chosen:
        view.check_only(file.path, "no TIFF and no zarr", "page")
        count = count_animation(file) or 1
        if view.page is not None and view.page >= count:
            raise no_such(file.path, "page", view.page, count)
        if count > 1:
            return open_animation(file, view.page or 0, indices)
    if head.startswith(NPY_MAGIC):
        return open_npy(file)
    if head[:2] in PNM_MAGICS:
        raster = open_pnm(file)
        if raster is not None:
            return raster
    if head.startswith(_PNG_MAGIC):
        return _open_png(file, indices)
    if head.startswith(b"\xff\xd8\xff"):
        return _open_jpeg(file)
    return _open_other(file, head, indices)


def tags_of(path: str, view: View = AS_IT_IS) -> tuple[FileTag, ...]:
    """Read the tags of an image file that its copies take along; empty where its format has none.

    Its pixels are neither indexed nor decoded, unless it has several pictures of which one is chosen.

    Raises
    ------
    SubregionError
        If the file is missing, unreadable or damaged.
    """
    try:
        file = SourceFile(path)
    except SourceIsDirectoryError:
        if is_zarr(path):
            return ()
        raise
    head = file.head(32)
    if head[:4] in tiff.TIFF_MAGICS:
        return tiff.open_tiff(file, view).tags if view.chosen else tiff.tags_of(file)
    if head.startswith(_JPEG2000_MAGICS[0]):
        return tags_of_jp2(file)
    return ()


def contents_of(path: str) -> Contents:
    """List what a file holds, if it is of a kind that may hold several pictures.

    Raises
    ------
    SubregionError
        If it cannot be read.
    """
    try:
        file = SourceFile(path)
    except SourceIsDirectoryError:
        return contents_of_zarr(path)
    head = file.head(32)
    if head[:4] in tiff.TIFF_MAGICS:
        return tiff.contents_of_tiff(file)
    if container_of(file, head) is not None:
        return Contents()
    return Contents(count_animation(file))


def count_frames(path: str) -> int:
    """Count the frames of a video file.

    Raises
    ------
    UnsupportedFormatError
        If it is no video file.
    SubregionError
        If it cannot be read.
    """
    file = SourceFile(path)
    container = container_of(file, file.head(32))
    if container is None:
        raise UnsupportedFormatError(f"{path}: is no video file of a known format.")
    return movie_of(file, container).count


def _open_tiff(file: SourceFile, view: View) -> Raster:
    try:
        return tiff.open_tiff(file, view)
    except SlideError:
        raise
    except (StructureError, UnsupportedFormatError) as first:
        if view.chosen:  # libvips would decode the first page
            raise
        # What has no index may still be decoded from the top.
        try:
            raster = _open_odd_tiff(file)
        except TooLargeError:
            raise
        except SubregionError:
            raise first from None
        tags: tuple[FileTag, ...] = ()
        with contextlib.suppress(SubregionError):  # as it has pixels, they are read
            tags = tiff.tags_of(file)
        return replace(raster, tags=tags, layout=f"{LAYOUT}, because {_cause(first, file)}")


def _open_odd_tiff(file: SourceFile) -> Raster:
    level = top_down_level(file, Loader("tiffload", "TIFF"))
    rows, cols, bands = level.shape
    limits.check_pixels(file.path, rows, cols, bands * level.dtype.itemsize)
    limits.check_whole(file.path, rows, cols, bands, level.dtype)
    limits.check_block(file.path, (*level.tile, bands), level.dtype)
    level.decoder()(None, 0, slice(0, 1))  # whether it can be decoded is known only then
    return Raster(file.path, "TIFF", LAYOUT, level)


def _cause(error: SubregionError, file: SourceFile) -> str:
    return str(error).removeprefix(f"{file.path}: ").rstrip(".")


def _open_png(file: SourceFile, indices: bool) -> Raster:
    head = file.head(33)
    if len(head) < 33 or head[12:16] != b"IHDR":
        raise DamagedFileError(f"{file.path}: the PNG ends before its header is complete.")
    width, height, bits, kind = struct.unpack_from(">IIBB", head, 16)
    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(kind)
    if samples is None or bits not in (1, 2, 4, 8, 16) or not 0 < width < 1 << 31 or not 0 < height < 1 << 31:
        raise DamagedFileError(
            f"{file.path}: the PNG header declares {width} x {height} pixels (width x height), "
            f"colour type {kind}, {bits} bits; that is no valid PNG."
        )
    need = height * -(-width * samples * bits // 8)
    limits.check_pixels(file.path, height, width, samples * max(1, bits // 8))
    limits.check_bomb(file.path, file.size, need)
    if need > 1100 * file.size:
        raise DamagedFileError(
            f"{file.path}: {file.size} bytes cannot hold the {width} x {height} pixels (width x height) "
            f"that the PNG header declares: it is truncated or its header is wrong."
        )
    if kind == 3 and indices:
        return open_pillow(file, ("PNG",), indices)
    # libvips makes alpha of the transparent colour of grey and RGB; Pillow leaves the bands as they are.
    kept = None if kind == 3 else samples
    level = top_down_level(file, Loader("pngload", "PNG"), bands=kept, bilevel=kind == 0 and bits == 1)
    indexed = (lambda: open_pillow(file, ("PNG",), indices=True)) if kind == 3 else None
    return Raster(file.path, "PNG", LAYOUT, level, indexed=indexed)


def _open_jpeg(file: SourceFile) -> Raster:
    raster = open_intervals(file)
    if raster is not None:
        return raster
    header = read_header(file)
    limits.check_pixels(file.path, header.height, header.width, header.components)
    limits.check_bomb(file.path, file.size, header.height * header.width * header.components)
    if header.lossless_ls:
        return open_codec_file(file, "JPEG-LS", "jpegls")
    if header.lossless or header.precision != 8:
        return open_codec_file(file, "JPEG", "jpeg")
    return open_jpeg_file(file)


def _open_other(file: SourceFile, head: bytes, indices: bool) -> Raster:
    if head.startswith(_JPEG2000_MAGICS):
        raster = open_jpeg2000(file)
        with contextlib.suppress(SubregionError):  # whoever asks where it lies will hear of it
            raster = replace(raster, tags=tags_of(file.path))
        return raster
    if head[4:8] == b"ftyp" and head[8:12] in (b"avif", b"avis"):
        return _open_avif(file)
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return open_webp(file) or open_pillow(file, ("WEBP",))
    for magic, (driver, codec) in _CODEC_FILES.items():
        if head.startswith(magic):
            return open_codec_file(file, driver, codec)
    if head[4:8] == b"ftyp":
        return Raster(file.path, "HEIF", LAYOUT, top_down_level(file, Loader("heifload", "HEIF")))
    foreign = named_foreign(file)
    if foreign is not None:
        raise UnsupportedFormatError(f"{file.path}: {foreign}")
    try:
        return open_pillow(file, indices=indices)
    except UnsupportedFormatError as error:
        if b"\0" not in file.head(512) and b"<svg" in file.head(4096):
            raise UnsupportedFormatError(
                f"{file.path}: is an SVG drawing, not pixels; render it to PNG first."
            ) from error
        raise


def _open_avif(file: SourceFile) -> Raster:
    try:
        deep = Raster(file.path, "AVIF", LAYOUT, top_down_level(file, Loader("heifload", "AVIF")))
    except SubregionError:
        return open_pillow(file, ("AVIF",))
    # Pillow reduces 10 and 12 bits to 8; for the rest it turns nothing, where libvips does.
    return deep if deep.dtype.itemsize > 1 else open_pillow(file, ("AVIF",))
