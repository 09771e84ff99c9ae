"""Files of other worlds that hold arrays: they are not read, but named, with a way to convert them."""

from __future__ import annotations

import contextlib
import os
import zlib
from typing import TYPE_CHECKING

from subregion.errors import SubregionError, shown

if TYPE_CHECKING:
    from subregion.io.source import SourceFile

_HDF5 = b"\x89HDF\r\n\x1a\n"
#: So many bytes tell what a file is.
_HEAD = 2056
#: Bytes of the header of a NIfTI file, and where what says so stands, and what; of versions 1 and 2.
_NIFTI = ((348, 344, (b"n+1\0", b"ni1\0")), (540, 4, (b"n+2\0", b"ni2\0")))


def named_foreign(file: SourceFile) -> str | None:
    """Tell what a file is that is no picture but holds arrays, and how to convert it; None if it is none.

    Parameters
    ----------
    file : SourceFile
        The file; its first kilobytes are looked at.

    Returns
    -------
    str or None
        The end of a message about it.
    """
    head, name = file.head(_HEAD), file.path.lower()
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        if not name.endswith(".npz") and b".npy" not in head[30:300]:
            return "is a zip archive; unpack it (unzip), and give the files in it."
        return _said(
            "a NumPy archive of several arrays (.npz)",
            "numpy.savez",
            f"numpy.save('image.npy', numpy.load({_base(file)})['NAME'])",
        )
    if any(head[at : at + 8] == _HDF5 for at in (0, 512, 1024, 2048)):
        kind = (
            "an HDF5 file" if not name.endswith((".mat", ".nc", ".nc4")) else "an HDF5 file (MATLAB, netCDF)"
        )
        code = f"numpy.save('image.npy', h5py.File({_base(file)})['NAME'][()])"
        return _said(kind, "h5py", code)
    packed = head.startswith(b"\x1f\x8b")
    if _is_nifti(_unpacked(head) if packed else head):
        code = f"numpy.save('image.npy', numpy.asanyarray(nibabel.load({_base(file)}).dataobj)[..., 0])"
        said = _said("a NIfTI volume" + (", compressed by gzip" if packed else ""), "nibabel", code)
        return f"{said} (its first slice; [..., 0] is the last axis)"
    if head[128:132] == b"DICM":
        code = f"numpy.save('image.npy', pydicom.dcmread({_base(file)}).pixel_array)"
        return _said("a DICOM file", "pydicom", code) + " Or use the program dcm2niix, or dcmj2pnm of DCMTK."
    if packed:
        return "is compressed by gzip; unpack it first (gunzip)."
    return None


def _said(what: str, package: str, code: str) -> str:
    imports = "import numpy" if package.startswith("numpy") else f"import numpy, {package}"
    return f"is {what}, which is not read here. Convert it, in Python: {imports}; {code}"


def _base(file: SourceFile) -> str:
    return shown(os.path.basename(file.path))


def _unpacked(head: bytes) -> bytes:
    """Return the beginning of what was compressed by gzip; empty if it is damaged."""
    with contextlib.suppress(zlib.error, SubregionError):
        return zlib.decompressobj(31).decompress(head, _HEAD)
    return b""


def _is_nifti(head: bytes) -> bool:
    for size, at, magics in _NIFTI:
        declared = head[:4]
        if size in (int.from_bytes(declared, "little"), int.from_bytes(declared, "big")):
            return head[at : at + 4] in magics
    return False
