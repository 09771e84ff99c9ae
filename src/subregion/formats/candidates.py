"""Which files can be images, by name and first bytes: nothing is decoded, and no library is needed."""

from __future__ import annotations

import os

from subregion.errors import SubregionError
from subregion.formats.video.container import container_of
from subregion.io.source import SourceFile

#: How the names of pictures end. A file of such a name is taken for one, whatever is in it, so that a damaged
#: one is told of; of all others the first bytes decide.
_SUFFIXES = {
    ".apng", ".avif", ".avifs", ".blp", ".bmp", ".btf", ".cur", ".dcx", ".dds", ".dib", ".fit", ".fits",
    ".flc", ".fli", ".ftc", ".ftu", ".gif", ".heic", ".heif", ".hif", ".icb", ".icns", ".ico", ".im",
    ".j2c", ".j2k", ".jfif", ".jls", ".jp2", ".jpc", ".jpe", ".jpeg", ".jpf", ".jpg", ".jpx", ".jxl",
    ".jxr", ".mpo", ".msp", ".ndpi", ".npy", ".pam", ".pbm", ".pcd", ".pcx", ".pfm", ".pgm", ".png", ".pnm",
    ".ppm", ".psd", ".ptif", ".pxr", ".qoi", ".ras", ".rgb", ".rgba", ".rgbe", ".scn", ".sgi", ".spi",
    ".svs", ".tf8", ".tga", ".tif", ".tiff", ".vda", ".vst", ".wdp", ".webp", ".xbm", ".xpm",
}  # fmt: skip
#: What pictures begin with that `open_raster` can open. Those of video files are in `container`; what begins
#: with too little to be told apart (TGA, PCX, ...) goes by its name.
_BEGINNINGS = (
    b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"\x93NUMPY",
    b"\xff\x0a", b"\0\0\0\x0cJXL ", b"II\xbc\x01", b"#?RADIANCE", b"#?RGBE", b"\0\0\0\x0cjP  ",
    b"\xff\x4f\xff\x51", b"GIF87a", b"GIF89a", b"8BPS", b"DDS ", b"icns", b"qoif", b"\x59\xa6\x6a\x95",
    b"SIMPLE  =", b"\x01\xda\0\x01", b"\x01\xda\x01\x01", b"BLP1", b"BLP2",
)  # fmt: skip
_NETPBM, _BLANKS = b"1234567fF", b" \t\r\n"


def can_be_image(path: str) -> bool:
    """Whether a file can be an image, or a video.

    Parameters
    ----------
    path : str
        The file. Only if its name does not tell are its first bytes read.

    Returns
    -------
    bool
        False also if it cannot be read.
    """
    if os.path.splitext(path)[1].lower() in _SUFFIXES:
        return True
    try:
        file = SourceFile(path)
        head = file.head(32)
        return _begins_like_an_image(head) or container_of(file, head) is not None
    except SubregionError:
        return False


def _begins_like_an_image(head: bytes) -> bool:
    if head.startswith(_BEGINNINGS) or head[4:8] == b"ftyp":
        return True
    if head[:4] == b"RIFF":
        return head[8:12] == b"WEBP"
    if (
        head[:2] == b"BM" and len(head) > 18
    ):  # so do words; here stands how long a header follows, and zeros before
        return (
            head[6:10] == bytes(4) and head[15:18] == bytes(3) and head[14] in (12, 40, 52, 56, 64, 108, 124)
        )
    return head[:1] == b"P" and len(head) > 2 and head[1] in _NETPBM and head[2] in _BLANKS
