"""What the samples of a TIFF page are: palettes, inks, YCbCr, and which of it decoders undo by themselves."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from subregion.codecs.color import (
    Color,
    First,
    Inks,
    Inverted,
    Lab,
    Lookup,
    LumaChroma,
    Palette,
    PillowLumaChroma,
)
from subregion.errors import DamagedFileError
from subregion.formats.tiff.header import PlainPage
from subregion.libraries import tifffile

#: A page as either reader gives it.
Page: TypeAlias = "tifffile.TiffPage | PlainPage"

#: Codecs whose output is RGB already, whatever the tags say of YCbCr.
RGB_CODECS = {7, 6, 34892, 33007, 50001, 34927, 52546, 50002, 34933, 34712, 33004, 33005}


def jpeg_colors(page: Page, samples: int) -> tuple[int | None, int | None]:
    """Return what JPEG streams hold, where their markers do not say it, and what they are to become.

    Both as libjpeg counts: 2 is RGB, 4 inks.
    """
    photometric = int(page.photometric)
    if samples == 1 or photometric in (5, 6):
        return None, {5: 4, 6: 2}.get(photometric) if samples > 1 else None
    if photometric == 2 and samples == 3:
        # Without a JFIF marker the stream is taken at the word of the tag (Aperio writes such files).
        return (None if page.is_jfif else 2), 2
    # As libtiff has it: what is coded are the samples, whatever a decoder would think of three or four.
    return {3: (2, 2), 4: (4, 4)}.get(samples, (None, None))


def subsampling(page: Page) -> tuple[int, int]:
    """Return how many columns and rows of a YCbCr page share one pair of chroma samples."""
    if page.photometric != 6:
        return 1, 1
    value = page.tags.valueof(530, (2, 2))
    if not isinstance(value, tuple) or len(value) != 2 or not set(value) <= {1, 2, 4}:
        return 1, 1
    return int(value[0]), int(value[1])


def palette_of(page: Page) -> Palette | None:
    """Return the palette of a page; None if it has none.

    Raises
    ------
    DamagedFileError
        If it has one that is no table of colours.
    """
    if isinstance(page, PlainPage) or int(page.photometric) != 3 or page.colormap is None:
        return None
    colormap = np.asarray(page.colormap)
    if colormap.dtype.kind not in "iu" or colormap.ndim != 2 or colormap.shape[0] != 3 or not colormap.size:
        raise DamagedFileError(
            f"{page.parent.filehandle.path}: its ColorMap holds {colormap.size} values, which are no colours."
        )
    table = colormap if colormap.dtype == np.uint8 else colormap >> 8
    return Palette(np.ascontiguousarray(table.T.astype(np.uint8)))


def color_of(page: Page, stored: np.dtype[np.generic], indices: bool = False) -> Color | None:
    """Return what makes pixels of the samples of a page; None if they are pixels.

    Those of a palette are its colours, or `indices`.
    """
    photometric = int(page.photometric)
    bits, samples = page.bitspersample, page.samplesperpixel
    unsigned = stored.kind == "u"
    if photometric in (0, 1) and samples == 1 and bits in (2, 4) and unsigned:
        # As Pillow and libvips do, so that a PNG and a TIFF of few bits hold the same greys.
        greys = np.linspace(0, 255, 1 << bits).astype(np.uint8)[:, None]
        return Lookup(greys[::-1] if photometric == 0 else greys)
    if photometric == 0 and unsigned:
        return Inverted(stored, samples, (1 << bits) - 1)
    if (palette := palette_of(page)) is not None and unsigned:
        if indices:
            return None if samples == 1 else First(stored, samples)
        return Lookup(palette.colors, stored, min(samples, 2))
    if photometric == 5 and samples >= 4 and unsigned:
        alpha = samples == 5 and tuple(map(int, page.extrasamples)) in ((1,), (2,))
        return Inks(stored, samples, 4 if alpha else 3)
    if photometric == 6 and samples == 3 and page.compression == 1 and subsampling(page) == (1, 1):
        return PillowLumaChroma() if stored == np.uint8 else None
    converted = int(page.compression) in RGB_CODECS and page.planarconfig != 2
    if photometric == 6 and stored == np.uint8 and samples >= 3 and not converted:
        luma = _floats(page, 529, 3) or (0.299, 0.587, 0.114)
        reference = _floats(page, 532, 6) or (0.0, 255.0, 128.0, 255.0, 128.0, 255.0)
        if min(luma) > 0:
            return LumaChroma(luma, reference, samples)  # type: ignore[arg-type]  # lengths are checked
    if photometric in (8, 9) and stored in (np.uint8, np.uint16) and samples >= 3:
        return Lab(stored, samples, signed=photometric == 8)
    return None


def _floats(page: Page, code: int, count: int) -> tuple[float, ...] | None:
    value = page.tags.valueof(code)
    if not isinstance(value, tuple):
        return None
    if len(value) == 2 * count:  # rationals come as numerators and denominators
        if any(bottom == 0 for bottom in value[1::2]):
            return None
        return tuple(top / bottom for top, bottom in zip(value[::2], value[1::2], strict=True))
    return tuple(float(item) for item in value) if len(value) == count else None
