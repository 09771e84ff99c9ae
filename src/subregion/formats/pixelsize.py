"""How large a pixel is, as microscopes and their files say it."""

from __future__ import annotations

import contextlib
import os
import re
from typing import TYPE_CHECKING, Any

from subregion.errors import SubregionError
from subregion.formats.tiff import open as tiff
from subregion.formats.tiff.names import Said
from subregion.formats.tiff.slides import philips_spacings, slide_of
from subregion.formats.zarr.groups import multiscales_of
from subregion.formats.zarr.metadata import read_node
from subregion.geometry.pixelsize import PixelSize, micrometres
from subregion.io.source import SourceFile
from subregion.views import AS_IT_IS, View

if TYPE_CHECKING:
    from xml.etree import ElementTree

    import tifffile

_X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT = 282, 283, 296
#: Micrometres of what the resolution tags count in: inches and centimetres.
_TAG_UNITS = {2: 25400.0, 3: 10000.0}
#: A resolution that is coarser than so many micrometres was meant for a printer (2540 dots per inch).
COARSEST = 10.0
_APERIO_MPP = re.compile(r"\|\s*MPP\s*=\s*([0-9.eE+-]+)")
#: What malformed metadata raise.
_MALFORMED = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


def microscope_size(path: str, view: View = AS_IT_IS) -> PixelSize | None:
    """Return the size of a pixel as Aperio, Hamamatsu, Leica, Philips, OME and NGFF have it.

    None if the file is none of these, or does not say it. Only headers are read. `view` says which picture.
    Of a TIFF it is the size at full resolution, whichever level is chosen.

    Raises
    ------
    SubregionError
        If it cannot be read.
    """
    if os.path.isdir(path):
        with contextlib.suppress(*_MALFORMED):
            return _ngff(path, view)
        return None
    with contextlib.suppress(*_MALFORMED), tiff.tiff_of(SourceFile(path)) as file:
        return None if file is None else _of_slide(file, view)
    return None


def printed_size(path: str, view: View = AS_IT_IS) -> PixelSize | None:
    """Return what ImageJ, or the resolution tags of a TIFF, say of the size of a pixel.

    None if they say nothing, or something that can only be meant for a printer. `view` says which picture.
    Of a TIFF it is the size at full resolution, whichever level is chosen.
    """
    if os.path.isdir(path):
        return None
    with contextlib.suppress(*_MALFORMED), tiff.page_of(SourceFile(path), view) as found:
        if found is None:
            return None
        file, page = found
        if file.is_imagej:
            return _imagej(file)
        size = _by_tags(page)
        return None if size is None or max(size.y, size.x) > COARSEST else size
    return None


def _of_slide(file: tifffile.TiffFile, view: View) -> PixelSize | None:
    first: Any = file.pages[0]
    if first.is_ome:
        pixels = Said.by(first).ome_pixels()
        if pixels is None:
            return None
        if view.page and view.series is None:  # nothing says of which series it is
            sizes = {_ome(each) for each in pixels}
            return sizes.pop() if len(sizes) == 1 else None
        return _ome(pixels[view.series or 0])
    slide = slide_of(file)
    if slide is None or slide.kind == "pyramid" or view.page or view.series:
        return None
    page: Any = slide.levels[0]
    if first.is_svs:
        found = _APERIO_MPP.search(first.description)
        return None if found is None else PixelSize.checked(float(found[1]), float(found[1]))
    if slide.extent is not None:
        height, width = slide.extent
        return PixelSize.checked(height / page.imagelength, width / page.imagewidth)
    if first.is_philips and (spacings := philips_spacings(first.description)):
        return PixelSize.checked(spacings[0][0] * 1e3, spacings[0][1] * 1e3)
    return _by_tags(page)


def _by_tags(page: Any) -> PixelSize | None:
    unit = _TAG_UNITS.get(int(page.tags.valueof(_RESOLUTION_UNIT, 2)))
    across, down = (_ratio(page.tags.valueof(code)) for code in (_X_RESOLUTION, _Y_RESOLUTION))
    return None if not (unit and across and down) else PixelSize.checked(unit / down, unit / across)


def _ratio(value: Any) -> float:
    if isinstance(value, tuple):
        return float(value[0]) / value[1] if value[1] else 0.0
    return float(value or 0)


def _ome(node: ElementTree.Element) -> PixelSize | None:
    sizes = []
    for axis in "YX":
        value, unit = node.get(f"PhysicalSize{axis}"), micrometres(node.get(f"PhysicalSize{axis}Unit", "µm"))
        if value is None or unit is None:
            return None
        sizes.append(float(value) * unit)
    return PixelSize.checked(sizes[0], sizes[1])


def _imagej(file: tifffile.TiffFile) -> PixelSize | None:
    page: Any = file.pages[0]
    unit = micrometres(str((file.imagej_metadata or {}).get("unit", "")).replace("\\u00B5", "µ"))
    across, down = (_ratio(page.tags.valueof(code)) for code in (_X_RESOLUTION, _Y_RESOLUTION))
    return None if not (unit and across and down) else PixelSize.checked(unit / down, unit / across)


def _ngff(path: str, view: View) -> PixelSize | None:
    try:
        node = read_node(path)
    except SubregionError:
        return None
    multiscale = None if node is None else multiscales_of(path, node[1], view.series or 0)
    if multiscale is None:
        return None
    axes = multiscale["axes"]
    names = [axis["name"] if isinstance(axis, dict) else axis for axis in axes]
    place = {name: names.index(name) for name in ("y", "x")}
    sizes = []
    for name in ("y", "x"):
        unit = micrometres(axes[place[name]].get("unit"))
        if unit is None:
            return None
        size = unit
        for each in (multiscale, multiscale["datasets"][view.level or 0]):
            for transformation in each.get("coordinateTransformations") or ():
                if transformation.get("type") == "scale":
                    size *= float(transformation["scale"][place[name]])
        sizes.append(size)
    return PixelSize.checked(sizes[0], sizes[1])
