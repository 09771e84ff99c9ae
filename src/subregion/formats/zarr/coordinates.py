"""What a zarr array and the coordinates beside it, as xarray writes them, say of its bands."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from subregion.errors import SourceNotFoundError, is_of_system
from subregion.formats.bands import Band, chosen_bands, nanometres
from subregion.formats.zarr.axes import Axes
from subregion.formats.zarr.filters import chunk_codec
from subregion.formats.zarr.metadata import ArraySpec, Document, attributes_of, parse_array, read_node
from subregion.io.source import SourceFile

#: A coordinate of more positions, or of chunks of more bytes, says nothing of bands.
_MOST_BANDS, _MOST_NBYTES = 1 << 16, 1 << 22
_VLEN = "vlen-utf8"
_UTF32 = "fixed_length_utf32"


def bands_of(spec: ArraySpec, axes: Axes, labels: Sequence[str] | None) -> Sequence[Band] | None:
    """Tell what is known of the bands of a picture.

    Parameters
    ----------
    spec : ArraySpec
        The array.
    axes : Axes
        Which axis is that of its bands.
    labels : sequence of str or None
        What its group calls them.

    Returns
    -------
    sequence of Band or None
        None if there are too many. A coordinate that cannot be read says nothing.
    """
    axis = axes.letters.find("c")  # also where one of its positions is the picture
    count = 1 if axis < 0 else spec.shape[axis]
    if count > _MOST_BANDS:
        return None
    unit = spec.attributes.get("units")
    names = list(labels or ()) if any(labels or ()) else []
    wavelengths: list[float | None] = []
    for values, about in () if axis < 0 else _coordinates(spec, axis, count):
        if not values:
            continue
        if isinstance(values[0], str):
            names = names or (values if any(values) else [])
        elif not wavelengths:
            lengths = [nanometres(value, about.get("units")) for value in values]
            if any(lengths):  # mere numbers of bands are none, and another coordinate may have them
                wavelengths = lengths
    found = [
        Band(
            names[band] if band < len(names) else "",
            wavelengths[band] if band < len(wavelengths) else None,
            unit if isinstance(unit, str) else "",
        )
        for band in range(count)
    ]
    return found if axis < 0 or axes.band is not None else chosen_bands(found, axes.at[axis : axis + 1])


def _coordinates(spec: ArraySpec, axis: int, count: int) -> Iterator[tuple[list[Any], Document]]:
    """Yield values and attributes of what stands along an axis, that of its own name first."""
    name = spec.names[axis] if spec.names is not None else None
    if name is None:
        return
    listed = spec.attributes.get("coordinates")
    for each in dict.fromkeys((name, *(listed.split() if isinstance(listed, str) else ()))):
        if each in (".", "..") or any(sign in each for sign in "/\\\0:"):
            continue
        folder = os.path.join(os.path.dirname(spec.path), each)
        try:
            node = read_node(folder)
            if node is not None and node[0] == "array" and node[1].get("shape") == [count]:
                yield _values(folder, node[1], name), attributes_of(node[1])
        except Exception as error:  # what makes no sense of a coordinate does not keep pixels from being read
            if is_of_system(error):
                raise


def _values(folder: str, document: Document, axis: str) -> list[Any]:
    """Return the text, or the numbers, of an array of one axis; nothing if it is another."""
    kind, plain = _as_bytes(document)
    spec = parse_array(folder, plain)
    if spec.shard is not None or (spec.names is not None and spec.names != (axis,)):
        return []
    filters = chunk_codec(spec, 0, 0, None).filters
    values: list[Any] = []
    for number in range(spec.grid[0]):
        try:
            file = SourceFile(spec.file_of((number,)))
        except SourceNotFoundError:  # a chunk of nothing but the fill value is not written
            values += [_filling(kind, document, spec)] * min(spec.chunks[0], spec.shape[0])
            continue
        data: Any = file.read(0, min(file.size, _MOST_NBYTES))
        for each in filters:
            data = each.undo(data, _MOST_NBYTES)
        if kind == _VLEN:
            values += _texts(bytes(data))
        else:
            values += np.frombuffer(bytes(data), kind or spec.dtype).tolist()
    return values[: spec.shape[0]]


def _filling(kind: str, document: Document, spec: ArraySpec) -> Any:
    """Return what stands where nothing is written: text as it is, or a number."""
    if not kind:
        return np.asarray(spec.fill, spec.dtype).item()
    fill = document.get("fill_value")
    return fill if isinstance(fill, str) else ""


def _as_bytes(document: Document) -> tuple[str, Document]:
    """Return what kind of text an array holds, empty for numbers, and its metadata as those of bytes."""
    if document.get("zarr_format") == 3:
        kind, codecs = document["data_type"], document["codecs"]
        if isinstance(kind, dict) and kind.get("name") == _UTF32:
            letters = int(kind["configuration"]["length_bytes"]) // 4
            order = ">" if codecs[0].get("configuration", {}).get("endian") == "big" else "<"
            return f"{order}U{letters}", document | {"data_type": "uint8", "fill_value": 0}
        if kind == "string":
            codecs = [{"name": "bytes"} if each["name"] == _VLEN else each for each in codecs]
            return _VLEN, document | {"data_type": "uint8", "fill_value": 0, "codecs": codecs}
        return "", document
    kind, filters = document["dtype"], document.get("filters") or []
    if kind == "|O":
        rest = [each for each in filters if each["id"] != _VLEN]
        return _VLEN, document | {"dtype": "|u1", "fill_value": 0, "filters": rest}
    if kind[1:2] == "U":
        return kind, document | {"dtype": "|u1", "fill_value": 0}
    return "", document


def _texts(data: bytes) -> list[str]:
    """Return the texts of a chunk: their number, and the length and the bytes of each."""
    (count,) = struct.unpack_from("<I", data)
    texts, at = [], 4
    for _ in range(min(count, _MOST_BANDS)):
        (size,) = struct.unpack_from("<I", data, at)
        texts.append(data[at + 4 : at + 4 + size].decode("utf-8"))
        at += 4 + size
    return texts
