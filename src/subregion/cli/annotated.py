"""An image as a picture with its annotations over it."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine

from subregion.cli.drawing import reduced
from subregion.errors import ConfigError, UnknownImageError, shown
from subregion.picture import ACCENT, BACKGROUND, FAINT, INK, to_picture, write
from subregion.sampling.annotations.annotations import Annotations, FramePart
from subregion.sampling.sampler import CocoSampler
from subregion.sampling.sheet.legend import LEGEND_LINE, draw_legend, legend
from subregion.sampling.sheet.overlay import OverlayOptions, draw_over

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

    from subregion.formats.raster import Raster
    from subregion.records import Asset
    from subregion.sampling.annotations.index import AnnotationIndex

#: Pictures with more annotations have no names, which would hide what they name.
_MOST_NAMED = 60
_MARGIN, _PANEL, _HEAD = 32, 220, 104


@dataclass(frozen=True, slots=True, eq=False)
class FoundImage:
    """An image of a dataset.

    Parameters
    ----------
    index : AnnotationIndex
        Of the dataset.
    image_id : hashable
        Which image.
    asset : Asset or None
        The file of it that was named; None if it has no such file.
    dataset : str
        What the dataset is called.
    """

    index: AnnotationIndex
    image_id: Any
    asset: Asset | None
    dataset: str


def find_image(
    dataset: Path, file: Path, image_id: str | None = None, root: Path | None = None
) -> FoundImage:
    """Find the image of a dataset that a file belongs to.

    Parameters
    ----------
    dataset : Path
        The dataset.
    file : Path
        The file.
    image_id : str or None
        The id of the image, as text; None finds it by the path.
    root : Path or None
        The folder that relative names of files start from; None is that of the dataset.

    Raises
    ------
    UnknownImageError
        If there is no such image.
    ConfigError
        If several images have this file.
    """
    sampler = CocoSampler(dataset, backend=None, root=root)
    frames, wanted = sampler.frames, os.path.realpath(file)
    named = [each for each in frames.image_ids if image_id is None or str(each) == image_id]
    if not named:
        raise UnknownImageError(f"{dataset}: there is no image with the id {shown(image_id)}.")
    found: list[tuple[Any, Asset | None]] = [
        (each, asset)
        for each in named
        for asset in frames.record(each).assets
        if os.path.basename(asset.path) == file.name or image_id is None
        if os.path.realpath(asset.path) == wanted
    ]
    if image_id is not None:
        found = found[:1] or [(named[0], None)]
    if not found:
        raise UnknownImageError(
            f"{dataset}: no image has the file {file}; name the image by --image-id, or give --root."
        )
    if len({each for each, _ in found}) > 1:
        ids = ", ".join(str(each) for each, _ in found[:5])
        raise ConfigError(f"{dataset}: the images {ids} have the file {file}; name one by --image-id.")
    return FoundImage(sampler.index, *found[0], dataset.name)


def draw_annotated(raster: Raster, image: FoundImage, title: str, long_side: int = 1024) -> Picture:
    """Draw an image, reduced, with all of its annotations, and beside it which classes there are.

    Parameters
    ----------
    raster : Raster
        The open file.
    image : FoundImage
        What the dataset says of it.
    title : str
        What to write above.
    long_side : int
        Pixels of the longer side of the image in the drawing.
    """
    from PIL import Image, ImageDraw

    picture = to_picture(reduced(raster, long_side), raster.dtype, long_side)
    if max(picture.size) <= long_side // 2:  # magnify, so that its annotations can be seen
        times = long_side // max(picture.size)
        picture = picture.resize((picture.width * times, picture.height * times), Image.Resampling.NEAREST)
    annotations = _placed(image, raster, picture)
    options = OverlayOptions(names=len(annotations) <= _MOST_NAMED)
    picture = draw_over(picture, annotations, options)
    counts = Counter(annotations.category_ids.tolist())
    most = max(1, (max(picture.height, 320) - 70) // LEGEND_LINE)
    entries = legend(annotations.categories, counts, _PANEL, most, list_up=True)
    size = picture.width + _PANEL + 3 * _MARGIN, max(picture.height, 320) + _HEAD + _MARGIN
    canvas = Image.new("RGB", size, BACKGROUND)
    draw = ImageDraw.Draw(canvas)
    rows, cols, bands = raster.shape
    write(draw, (_MARGIN, 24), title, 26, INK, width=size[0] - 2 * _MARGIN)
    facts = f"{cols:,} x {rows:,} px · {bands} x {raster.dtype} · image {image.image_id} of {image.dataset}"
    write(draw, (_MARGIN, 62), facts, 16, FAINT, width=size[0] - 2 * _MARGIN)
    canvas.paste(picture, (_MARGIN, _HEAD))
    left = picture.width + 2 * _MARGIN
    count = len(annotations)
    write(draw, (left, _HEAD), f"{count:,} annotation{'' if count == 1 else 's'}", 20, INK, width=_PANEL)
    bottom = _HEAD + 42
    draw_legend(draw, entries, (left, bottom))
    if not options.names:
        bottom += LEGEND_LINE * len(entries) + 6
        write(draw, (left, bottom), "Too many for names.", 14, ACCENT, width=_PANEL)
    return canvas


def _placed(image: FoundImage, raster: Raster, picture: Picture) -> Annotations:
    """Return all annotations of an image, in pixels of a picture of a file of it."""
    index = image.index
    rows = index.rows_of(image.image_id)
    asset = image.asset
    to_image = None if asset is None else asset.to_image
    height, width = index.size_of(image.image_id)
    if to_image is None:
        to_file = Affine.scale(raster.shape[1] / width, raster.shape[0] / height)
    else:
        to_file = ~to_image
    to_sample = Affine.scale(picture.width / raster.shape[1], picture.height / raster.shape[0]) @ to_file
    part = FramePart(image.image_id, np.arange(rows.start, rows.stop), to_sample, (height, width))
    return Annotations.of(index, [part], (picture.height, picture.width))
