"""Whole slides as scanners write them, small: the layouts, descriptions and tags of real files."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]

APERIO = "Aperio Image Library v11.2.1 \r\n"


def big(photograph: Pixels, rows: int, cols: int) -> Pixels:
    """A picture without repetition at one place, and no two levels of which are alike."""
    image = Image.fromarray(photograph).resize((cols, rows), Image.Resampling.BICUBIC)
    return np.array(image, np.uint8)


def reduced(pixels: Pixels, by: int) -> Pixels:
    """The same smaller, as scanners do it: without the last row and column that are no whole ones."""
    rows, cols = pixels.shape[0] // by, pixels.shape[1] // by
    part = pixels[: rows * by, : cols * by].reshape(rows, by, cols, by, 3)
    small: Pixels = part.mean(axis=(1, 3)).round().astype(np.uint8)
    return small


def write_svs(path: Path, slide: Pixels, beside: Pixels, mpp: float | None = 0.25) -> None:
    """Baseline, thumbnail, levels, label and macro; only the last two are flagged."""
    rows, cols = slide.shape[:2]
    about = f"{APERIO}{cols}x{rows} [0,0 {cols}x{rows}] (64x64) JPEG/RGB Q=70|AppMag = 40"
    about += "" if mpp is None else f"|MPP = {mpp}|Left = 1.0"
    tiles: dict[str, Any] = {"tile": (64, 64), "compression": "jpeg", "photometric": "rgb", "metadata": None}
    strips: dict[str, Any] = {"rowsperstrip": 16, "photometric": "rgb", "metadata": None}
    with tifffile.TiffWriter(path) as file:
        file.write(slide, description=about, **tiles)
        thumbnail = f"{APERIO}{cols}x{rows} -> 77x51 - |AppMag = 40"
        file.write(reduced(slide, 8), description=thumbnail, compression="jpeg", **strips)
        for by in (4, 16):
            file.write(reduced(slide, by), description=f"{about} -> small", **tiles)
        file.write(
            beside,
            description=f"{APERIO}label 50x40",
            subfiletype=1,
            compression="lzw",
            predictor=2,
            **strips,
        )
        macro = f"{APERIO}macro 50x40"
        file.write(beside[:, ::-1], description=macro, subfiletype=9, compression="jpeg", **strips)


def write_scn(path: Path, slide: Pixels, macro: Pixels) -> None:
    """The macro picture first, with a level of its own, then the slide; an offset on the glass."""
    rows, cols = slide.shape[:2]
    wide, high = cols * 1000, rows * 1000  # nanometres: one micrometre for each pixel

    def sizes(pages: dict[int, tuple[int, ...]]) -> str:
        return "".join(
            f'<dimension sizeX="{shape[1]}" sizeY="{shape[0]}" r="{r}" ifd="{page}"/>'
            for r, (page, shape) in enumerate(pages.items())
        )

    levels = [slide, reduced(slide, 4), reduced(slide, 16)]
    macros = [macro, reduced(macro, 2)]
    first = sizes({0: macros[0].shape, 1: macros[1].shape})
    second = sizes({2: levels[0].shape, 3: levels[1].shape, 4: levels[2].shape})
    about = (
        '<?xml version="1.0"?><scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01">'
        f'<collection name="c" sizeX="{3 * wide}" sizeY="{3 * high}">'
        f'<image name="macro"><pixels sizeX="{macro.shape[1]}" sizeY="{macro.shape[0]}">{first}</pixels>'
        f'<view sizeX="{3 * wide}" sizeY="{3 * high}" offsetX="0" offsetY="0"/>'
        "<scanSettings><objectiveSettings><objective>0.6</objective></objectiveSettings>"
        "<illuminationSettings><illuminationSource>brightfield</illuminationSource></illuminationSettings>"
        "</scanSettings></image>"
        f'<image name="slide"><pixels sizeX="{cols}" sizeY="{rows}">{second}</pixels>'
        f'<view sizeX="{wide}" sizeY="{high}" offsetX="{wide}" offsetY="{high}"/>'
        "<scanSettings><objectiveSettings><objective>20</objective></objectiveSettings>"
        "<illuminationSettings><illuminationSource>brightfield</illuminationSource></illuminationSettings>"
        "</scanSettings></image></collection></scn>"
    )
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        for number, pixels in enumerate(macros + levels):
            file.write(
                pixels,
                tile=(64, 64),
                compression="jpeg",
                photometric="ycbcr",
                subsampling=(1, 1),
                resolution=(10000, 10000),
                resolutionunit="centimeter",
                description=about if number == 0 else None,
                metadata=None,
            )


def write_philips(path: Path, slide: Pixels, beside: Pixels) -> None:
    """Levels that are filled up to whole tiles; their true size follows from the spacing of pixels."""
    spacings = "".join(
        '<DataObject ObjectType="PixelDataRepresentation"><Attribute Name="DICOM_PIXEL_SPACING" '
        f'Group="0x0028" Element="0x0030" PMSVR="IDoubleArray">"{0.00025 * by}" "{0.00025 * by}"'
        "</Attribute></DataObject>"
        for by in (1, 2, 4)
    )
    about = (
        '<?xml version="1.0" encoding="UTF-8" ?><DataObject ObjectType="DPUfsImport">'
        '<Attribute Name="PIM_DP_SCANNED_IMAGES" Group="0x301D" Element="0x1003" PMSVR="IDataObjectArray">'
        '<Array><DataObject ObjectType="DPScannedImage"><Attribute Name="PIM_DP_IMAGE_TYPE" Group="0x301D" '
        'Element="0x1004" PMSVR="IString">WSI</Attribute>'
        '<Attribute Name="DICOM_PIXEL_SPACING" Group="0x0028" Element="0x0030" PMSVR="IDoubleArray">'
        '"0.00025" "0.00025"</Attribute>'
        '<Attribute Name="PIIM_PIXEL_DATA_REPRESENTATION_SEQUENCE" Group="0x1001" Element="0x8B01" '
        f'PMSVR="IDataObjectArray"><Array>{spacings}</Array></Attribute></DataObject></Array></Attribute>'
        "</DataObject>"
    )
    with tifffile.TiffWriter(path) as file:
        for number, by in enumerate((1, 2, 4)):
            pixels = reduced(slide, by)
            high, wide = (-(-side // 64) * 64 for side in pixels.shape[:2])
            padded = np.zeros((high, wide, 3), np.uint8)
            padded[: pixels.shape[0], : pixels.shape[1]] = pixels
            file.write(
                padded,
                tile=(64, 64),
                compression="jpeg",
                photometric="ycbcr",
                subsampling=(1, 1),
                software="Philips DP v1.0",
                description=about if number == 0 else f"level={number} mag=10",
                subfiletype=0 if number == 0 else 1,
                metadata=None,
            )
        for name in ("Macro", "Label"):
            file.write(
                beside if name == "Macro" else beside[::-1],
                rowsperstrip=16,
                compression="jpeg",
                photometric="rgb",
                description=f"{name} -offset=(0,0)",
                subfiletype=1,
                metadata=None,
            )


def _jpeg(pixels: Pixels, units: int | None) -> tuple[bytes, list[int]]:
    """Encode with restart intervals of so many units; also return where each begins."""
    options: dict[str, Any] = {} if units is None else {"restart_marker_blocks": units}
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=90, subsampling=0, **options)
    data = stream.getvalue()
    # Hamamatsu has no segment of JFIF.
    if data[2:4] == b"\xff\xe0":
        data = data[:2] + data[4 + int.from_bytes(data[4:6], "big") :]
    scan = data.index(b"\xff\xda")
    first = scan + 2 + int.from_bytes(data[scan + 2 : scan + 4], "big")
    starts = [first]
    starts += [
        at + 2 for at in range(first, len(data) - 1) if data[at] == 0xFF and 0xD0 <= data[at + 1] <= 0xD7
    ]
    return data, starts


def write_ndpi(path: Path, slide: Pixels, macro: Pixels, units: int | None = 8) -> None:
    """Levels of one JPEG each, whose restart intervals are listed; offsets of 64 bits in a classic TIFF."""
    levels = [(reduced(slide, by), 20.0 / by, units if by == 1 else None) for by in (1, 2, 4)]
    body = bytearray(b"II*\0" + bytes(8))
    link = 4
    for pixels, lens, every in [*levels, (macro, -1.0, None)]:
        data, starts = _jpeg(pixels, every)
        at = len(body)
        body += data + bytes(-len(data) % 8)
        tags: list[tuple[int, int, Sequence[Any] | bytes]] = [
            (256, 4, [pixels.shape[1]]),
            (257, 4, [pixels.shape[0]]),
            (258, 3, [8, 8, 8]),
            (259, 3, [7]),
            (262, 3, [6]),
            (271, 2, b"Hamamatsu\0"),
            (272, 2, b"NanoZoomer\0"),
            (273, 4, [at]),
            (277, 3, [3]),
            (278, 4, [pixels.shape[0]]),
            (279, 4, [len(data)]),
            (282, 5, [int(20000 * lens / 20), 1] if lens > 0 else [100, 1]),
            (283, 5, [int(20000 * lens / 20), 1] if lens > 0 else [100, 1]),
            (284, 3, [1]),
            (296, 3, [3]),
            (65420, 4, [1]),
            (65421, 11, [lens]),
            (65422, 9, [0]),
            (65423, 9, [0]),
            (65424, 9, [0]),
        ]
        if every is not None:
            tags.append((65426, 4, starts))
        entries = b""
        for code, kind, values in tags:
            form = {2: "s", 3: "H", 4: "I", 5: "I", 9: "i", 11: "f"}[kind]
            value = values if isinstance(values, bytes) else struct.pack(f"<{len(values)}{form}", *values)
            count = len(values) // (2 if kind == 5 else 1)
            if len(value) > 4:
                place = len(body)
                body += value + bytes(-len(value) % 8)
                value = struct.pack("<I", place)
            entries += struct.pack("<HHI", code, kind, count) + value.ljust(4, b"\0")
        struct.pack_into("<Q", body, link, len(body))
        body += struct.pack("<H", len(tags)) + entries
        link = len(body)
        body += bytes(8) + bytes(4 * len(tags))
        body += bytes(-len(body) % 8)
    path.write_bytes(body)


def write_pyramid(path: Path, slide: Pixels, flagged: bool = False) -> None:
    """Pages one after the other, each half of the one before."""
    with tifffile.TiffWriter(path) as file:
        for by in (1, 2, 4):
            file.write(
                reduced(slide, by),
                tile=(64, 64),
                compression="zlib",
                photometric="rgb",
                subfiletype=1 if flagged and by > 1 else 0,
                metadata=None,
            )
