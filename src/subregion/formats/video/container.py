"""Video files by their first bytes, and whether they are whole. Needs no library."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from subregion.errors import DamagedFileError

if TYPE_CHECKING:
    from subregion.io.source import SourceFile


@dataclass(frozen=True, slots=True)
class Container:
    """A kind of file that holds video.

    Parameters
    ----------
    driver : str
        Its name.
    demuxer : str
        What FFmpeg calls the reader of it. It is named so that FFmpeg does not guess: among what it would
        guess are playlists, which lead to other files.
    presentation : bool
        Whether every packet is one frame and says when that is shown.
    """

    driver: str
    demuxer: str
    presentation: bool = False


_QUICKTIME = Container("MOV", "mov", presentation=True)
_MAGICS = {
    b"\x1aE\xdf\xa3": Container("Matroska", "matroska", presentation=True),
    b"FLV\x01": Container("FLV", "flv", presentation=True),
    b"nut/multimedia container\0": Container("NUT", "nut", presentation=True),
    b"YUV4MPEG2 ": Container("Y4M", "yuv4mpegpipe", presentation=True),
    b"0&\xb2u\x8ef\xcf\x11\xa6\xd9\0\xaa\0b\xcel": Container("ASF", "asf"),
    b"OggS": Container("Ogg", "ogg"),
    b"DKIF\0\0": Container("IVF", "ivf"),
    b"\x06\x0e+4\x02\x05\x01\x01\r\x01\x02": Container("MXF", "mxf"),
    b"\0\0\x01\xba": Container("MPEG-PS", "mpeg"),
    b"\0\0\x01\xb3": Container("MPEG", "mpegvideo"),
}
_AVI = Container("AVI", "avi")
_TRANSPORT = Container("MPEG-TS", "mpegts")
#: How the names of video files end, for those who have to know before they open one.
SUFFIXES = (
    ".3g2", ".3gp", ".asf", ".avi", ".flv", ".f4v", ".ivf", ".m2ts", ".m2v", ".m4v", ".mkv", ".mov", ".mp4",
    ".mpeg", ".mpg", ".mts", ".mxf", ".nut", ".ogv", ".qt", ".ts", ".vob", ".webm", ".wmv", ".y4m",
)  # fmt: skip
#: QuickTime files from before there was `ftyp` begin with one of these.
_QUICKTIME_BOXES = (b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
#: Brands of `ftyp` that are pictures.
_PICTURES = (
    b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"mif2", b"msf1",
    b"miaf", b"MiHB", b"MiHA", b"MiHE", b"MA1A", b"MA1B", b"avif", b"avis", b"avci", b"avcs", b"crx ",
    b"jp2 ", b"jpx ", b"jpm ", b"mjp2", b"jxl ",
)  # fmt: skip


#: Boxes at the top of a file that are looked at: a long recording has some thousands.
_MAX_BOXES = 1 << 16


def container_of(file: SourceFile, head: bytes) -> Container | None:
    """Tell which container of video a file is, by its first bytes; None if it is none.

    Parameters
    ----------
    file : SourceFile
        The file.
    head : bytes
        Its first 32 bytes, or all if it has fewer.
    """
    if head[4:8] == b"ftyp":
        return None if head[8:12] in _PICTURES else _QUICKTIME
    if head[4:8] in _QUICKTIME_BOXES:
        return _QUICKTIME
    if head[:4] == b"RIFF":
        return _AVI if head[8:12] == b"AVI " else None
    for magic, container in _MAGICS.items():
        if head.startswith(magic):
            return container
    for first, packet in ((0, 188), (4, 192)):  # plain, and with the time codes of discs
        if head[first : first + 1] == b"G" and file.size >= 3 * packet:
            start = file.head(3 * packet)
            if all(start[first + k * packet] == 0x47 for k in range(3)):
                return _TRANSPORT
    return None


def check_whole(file: SourceFile, container: Container) -> None:
    """Refuse a file that ends before its container does.

    Raises
    ------
    DamagedFileError
        Naming the size that the container declares.
    """
    end = {"mov": _end_of_boxes, "matroska": _end_of_segment, "avi": _end_of_riff}.get(container.demuxer)
    declared = 0 if end is None else end(file)
    if declared > file.size:
        raise DamagedFileError(
            f"{file.path}: truncated: its {container.driver} container declares {declared} bytes, but the "
            f"file ends at {file.size}. Fetch or write it again."
        )


def _end_of_boxes(file: SourceFile) -> int:
    """Return where the last box at the top of an ISO or QuickTime file ends."""
    place = 0
    for _ in range(_MAX_BOXES):
        if place + 8 > file.size:
            return place
        size = int.from_bytes(file.read(place, 4), "big")
        if size == 1 and place + 16 <= file.size:
            size = int.from_bytes(file.read(place + 8, 8), "big")
        if size < 8:  # 0: up to the end of the file; others are left to the demuxer
            return file.size
        place += size
    return file.size


def _end_of_segment(file: SourceFile) -> int:
    """Return where the segment of a Matroska file ends; 0 if it is left open, as in recordings."""
    head, place = file.head(4096), 4
    for identifier in (b"\x1aE\xdf\xa3", b"\x18S\x80g"):
        if head[place - 4 : place] != identifier or place >= len(head):
            return 0
        length = 9 - head[place].bit_length()
        if length > 8 or place + length > len(head):
            return 0
        size = int.from_bytes(head[place : place + length], "big") - (1 << (7 * length))
        if size == (1 << (7 * length)) - 1:
            return 0  # unknown
        end = place + length + size
        place = end + 4
    return end


def _end_of_riff(file: SourceFile) -> int:
    """Return where the first list of an AVI file ends; long files go on with others."""
    size = int.from_bytes(file.read(4, 4), "little")
    return 0 if size == 0xFFFFFFFF else size + 8
