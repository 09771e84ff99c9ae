"""JPEGs in memory, decoded by TurboJPEG where it knows their sampling, otherwise by libvips."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subregion.codecs.jpegstream import JpegFrame
from subregion.codecs.scratch import KEPT, scratch
from subregion.codecs.vips import decode_jpeg
from subregion.libraries import simplejpeg

#: For so few decoded bytes fresh memory is at hand.
_SMALL = 64 << 10
#: Below this edge decoders cannot tell one reduced size from the next.
_MIN_REDUCED_EDGE = 64

_LUMA = (1, 1), (2, 1), (2, 2), (1, 2), (4, 1)
#: Samplings that TurboJPEG knows, as a frame has them: 4:4:4, 4:2:2, 4:2:0, 4:4:0, 4:1:1, and grey.
SAMPLINGS = {(luma, (1, 1), (1, 1)) for luma in _LUMA} | {((1, 1),)}
#: The same with a fourth ink.
INK_SAMPLINGS = {(luma, (1, 1), (1, 1), luma) for luma in _LUMA}

#: A JPEG, its rows and columns, by what it is reduced, and whether warnings are errors, to pixels.
JpegDecoder = Callable[[Any, int, int, int, bool], NDArray[np.uint8]]


def jpeg_decoder(frame: JpegFrame) -> JpegDecoder:
    """Return what decodes JPEGs of such a frame."""
    return turbo_decoder(len(frame.sampling)) if frame.sampling in SAMPLINGS else _vips_decoder


def reduced_shapes(frame: JpegFrame) -> dict[int, tuple[int, int]]:
    """Return by what decoders reduce an image while they decode it, 1 first, and its size then."""
    reducible = frame.sampling in SAMPLINGS and max(frame.height, frame.width) >= _MIN_REDUCED_EDGE
    steps = (1, 2, 4, 8) if reducible else (1,)
    return {by: (-(-frame.height // by), -(-frame.width // by)) for by in steps}


@functools.cache
def turbo_decoder(components: int) -> JpegDecoder:
    """Decode by TurboJPEG, whose warnings are errors here: behind most are pixels that it made up."""
    decode = simplejpeg.decode_jpeg
    color = "GRAY" if components == 1 else "RGB"

    def turbo(data: Any, rows: int, cols: int, by: int, strict: bool) -> NDArray[np.uint8]:
        if by > 1:
            rows, cols = -(-rows // by), -(-cols // by)
        nbytes = rows * cols * components
        out = scratch(nbytes) if _SMALL < nbytes <= KEPT else None
        if by == 1:
            pixels: NDArray[np.uint8] = decode(data, color, False, False, 0, 0, 1.0, out, strict)
            return pixels
        reduced: NDArray[np.uint8] = decode(data, color, False, False, rows, cols, 1.0, out, strict)
        return reduced

    return turbo


def _vips_decoder(data: Any, rows: int, cols: int, by: int, strict: bool) -> NDArray[np.uint8]:
    """Decode by libvips, as strictly: other samplings, and inks, which are made RGB as for whole files."""
    return decode_jpeg(data, "warning" if strict else "error")
