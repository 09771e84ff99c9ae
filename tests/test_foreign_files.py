"""Files that hold arrays and are no pictures: named, with a way to convert them."""

from __future__ import annotations

import gzip
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import subregion
from faces import refused
from subregion import SimpleFrames
from subregion.errors import SourceNotFoundError, UnsupportedFormatError


def nifti(version: int, order: str) -> bytes:
    size, magic = (348, b"n+1\0") if version == 1 else (540, b"n+2\0\r\n\x1a\n")
    header = bytearray(struct.pack(order + "i", size).ljust(size, b"\0"))
    at = 344 if version == 1 else 4
    header[at : at + len(magic)] = magic
    return bytes(header) + bytes(4000)


FOREIGN: dict[str, tuple[bytes, str]] = {
    "a.h5": (b"\x89HDF\r\n\x1a\n" + bytes(4000), "an HDF5 file.*h5py"),
    "a.mat": (b"MATLAB 7.3".ljust(512) + b"\x89HDF\r\n\x1a\n" + bytes(4000), "an HDF5 file.*h5py"),
    "a.nii": (nifti(1, "<"), "a NIfTI volume, which.*nibabel"),
    "b.nii": (nifti(2, ">"), "a NIfTI volume, which.*nibabel"),
    "a.nii.gz": (gzip.compress(nifti(1, "<")), "a NIfTI volume, compressed by gzip.*nibabel"),
    "a.dcm": (bytes(128) + b"DICM" + bytes(4000), "a DICOM file.*pydicom.*dcm2niix"),
    "a.gz": (gzip.compress(b"anything"), "compressed by gzip; unpack it"),
    "short.gz": (b"\x1f\x8b", "compressed by gzip"),
    "a.zip": (b"PK\3\4" + bytes(40), "a zip archive; unpack it"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_files_of_other_worlds_are_named_with_a_way_to_convert_them(name: str, tmp_path: Path) -> None:
    data, said = FOREIGN[name]
    (tmp_path / name).write_bytes(data)
    for backend in (None, "npy"):
        message = refused(lambda: subregion.open(tmp_path / name, backend)[:1], UnsupportedFormatError, said)  # noqa: B023
        assert message.startswith(f"{tmp_path / name}: is ")
    refused(lambda: SimpleFrames.from_folder(tmp_path), SourceNotFoundError, said)


def test_the_python_that_is_told_converts(tmp_path: Path, photograph: NDArray[np.uint8]) -> None:
    np.savez(tmp_path / "a.npz", NAME=photograph)
    message = refused(lambda: subregion.open(tmp_path / "a.npz").shape, UnsupportedFormatError)
    code = message.partition("in Python: ")[2]
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    np.testing.assert_array_equal(subregion.open(tmp_path / "image.npy")[:], photograph)
