"""A reader to try the trial with: Pillow behind the errors of this library."""

from __future__ import annotations

import os
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from subregion.errors import DamagedFileError, UnsupportedFormatError


def read(path: str | os.PathLike[str]) -> NDArray[Any]:
    """Read a whole picture with Pillow.

    Parameters
    ----------
    path : str or os.PathLike
        The picture.

    Returns
    -------
    numpy.ndarray
        ``(h, w, C)``.

    Raises
    ------
    UnsupportedFormatError
        Pillow does not know the format.
    DamagedFileError
        Pillow failed while decoding.
    """
    try:
        with Image.open(path) as opened:
            image: Image.Image = opened
            if image.mode in ("P", "PA"):
                image = image.convert("RGBA" if image.has_transparency_data else "RGB")
            elif image.mode in ("CMYK", "YCbCr"):
                image = image.convert("RGB")
            array = np.asarray(image)
    except UnidentifiedImageError as error:
        raise UnsupportedFormatError(f"{path}: {error}") from error
    except (OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError) as error:
        raise DamagedFileError(f"{path}: {error}") from error
    array = array.astype(np.uint8) if array.dtype == np.bool_ else array
    return array if array.ndim == 3 else array[:, :, np.newaxis]
