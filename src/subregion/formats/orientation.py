"""How a picture is to be turned before it is shown, as its EXIF or TIFF tag says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from subregion.errors import SubregionError
from subregion.formats.pillow import PillowPicture, opened_by_pillow
from subregion.formats.tiff import open as tiff
from subregion.formats.whole import WholeLevel
from subregion.libraries import Image
from subregion.views import AS_IT_IS, View

if TYPE_CHECKING:
    from subregion.formats.raster import Raster
    from subregion.io.source import SourceFile

_TAG = 0x0112
#: Formats whose tag is that of EXIF; decoders of HEIF and JPEG XL turn by themselves.
_BY_EXIF = frozenset({"JPEG", "PNG", "WEBP", "AVIF"})
#: A chunk of EXIF data is not longer.
_MOST_BYTES = 1 << 20


def orientation_of(file: SourceFile, raster: Raster, view: View = AS_IT_IS) -> int:
    """Return the orientation of a picture, from 1, as it is stored, to 8; 1 where nothing sensible is said.

    Parameters
    ----------
    file : SourceFile
        The open file.
    raster : Raster
        The same, as it is stored.
    view : View
        Which picture of it that is.
    """
    try:
        if raster.driver == "TIFF":
            found: Any = tiff.orientation_of(file, view)
        elif raster.driver in _BY_EXIF and not _turned_already(raster):
            found = _of_exif(file, raster.driver)
        else:
            return 1
    except (SubregionError, MemoryError):
        raise
    except Exception:  # noqa: BLE001 - EXIF data of strangers make libraries raise whatever comes
        return 1
    return found if type(found) is int and 1 <= found <= 8 else 1


def _turned_already(raster: Raster) -> bool:
    """Whether the decoder turns by itself: libheif does, Pillow does not."""
    full = raster.full
    by_pillow = isinstance(full, WholeLevel) and isinstance(full.picture, PillowPicture)
    return raster.driver == "AVIF" and not by_pillow


def _of_exif(file: SourceFile, driver: str) -> Any:
    if driver == "PNG":
        data = _png_exif(file)
        if data is not None:
            exif = Image.Exif()
            exif.load(b"Exif\0\0" + data)
            return exif.get(_TAG)
    with opened_by_pillow(file, (driver,)) as image:
        # That of PNG would decode all pixels to see what is behind them.
        return Image.Image.getexif(image).get(_TAG)


def _png_exif(file: SourceFile) -> bytes | None:
    """Find the EXIF chunk, which may stand behind the pixels."""
    at = 8
    while at + 12 <= file.size:
        head = file.read(at, 8)
        length = int.from_bytes(head[:4], "big")
        if head[4:] == b"eXIf":
            fits = length <= _MOST_BYTES and at + 8 + length <= file.size
            return bytes(file.read(at + 8, length)) if fits else None
        if head[4:] == b"IEND":
            break
        at += 12 + length
    return None
