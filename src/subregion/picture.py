"""Pixels as pictures that can be looked at, and how all drawings look: colours and text."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from subregion.libraries import Image, ImageFont

if TYPE_CHECKING:
    from PIL import ImageDraw
    from PIL.ImageFont import FreeTypeFont
    from PIL.ImageFont import ImageFont as BitmapFont

BACKGROUND, PANEL, BAR, ACCENT = "#15181d", "#1e232a", "#5d6b7a", "#ffb454"
INK, FAINT = "#eef1f4", "#98a2ad"
#: Fonts that many systems have, for letters that the one of Pillow lacks.
_OTHER_FONTS = (
    "DejaVuSans.ttf",
    "NotoSans-Regular.ttf",
    "NotoSansCJK-Regular.ttc",
    "Arial Unicode.ttf",
    "arial.ttf",
    "msgothic.ttc",
)
#: A code point that is no letter of any font: what is drawn for it is drawn for every one that is missing.
_NO_LETTER = chr(0xFFFF)


def to_picture(values: NDArray[np.float32], dtype: np.dtype[Any], long_side: int) -> Image.Image:
    """Make a picture of pixels: bytes as they are, all else stretched from dark to light.

    Parameters
    ----------
    values : ndarray of float32, shape (rows, columns, 1 or 3)
        The pixels; NaN becomes black.
    dtype : dtype
        What the file stores.
    long_side : int
        The longer side of the picture, at most.
    """
    finite = values[np.isfinite(values)]
    low, high = (0.0, 255.0)
    if dtype != np.uint8 and finite.size:
        low, high = (float(edge) for edge in np.percentile(finite, (1, 99)))
    scaled = (values - np.float32(low)) * np.float32(255 / (high - low if high > low else 1))
    pixels = np.clip(np.nan_to_num(np.rint(scaled)), 0, 255).astype(np.uint8)
    picture = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).convert("RGB")
    shrink = min(1.0, long_side / max(picture.size))
    size = max(1, round(picture.width * shrink)), max(1, round(picture.height * shrink))
    return picture if size == picture.size else picture.resize(size, Image.Resampling.LANCZOS)


def write(
    draw: ImageDraw.ImageDraw,
    place: tuple[int, int],
    text: str,
    size: int,
    color: str,
    *,
    width: int | None = None,
) -> int:
    """Write text, in lines that are no wider than `width` pixels, and return where the last one ends."""
    font = font_for(text, size)
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}".strip()
        if width is None or not lines[-1] or font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    x, y = place
    for line in lines:
        draw.text((x, y), line, font=font, fill=color)
        y += round(size * 1.3)
    return y


@lru_cache(maxsize=1024)
def font_for(text: str, size: int) -> FreeTypeFont | BitmapFont:
    """Return a font that has the letters of a text: the one of Pillow, or one of the system."""
    default = ImageFont.load_default(size)
    if text.isascii() or _has_letters(default, text):
        return default
    for name in _OTHER_FONTS:
        try:
            font = ImageFont.truetype(name, size)
        except OSError:
            continue
        if _has_letters(font, text):
            return font
    return default


def _has_letters(font: FreeTypeFont | BitmapFont, text: str) -> bool:
    missing = bytes(font.getmask(_NO_LETTER))
    return all(letter.isspace() or bytes(font.getmask(letter)) != missing for letter in set(text))


def shortened(text: str, size: int, width: float) -> str:
    """Return a text, cut with dots where it is wider than some pixels."""
    font = font_for(text, size)
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}...") > width:
        text = text[:-1]
    return f"{text}..."
