"""What is known of the entries of a COCO or kwcoco dataset, and what is wrong with one that is malformed."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

import msgspec
import numpy as np
from msgspec import Meta

from subregion.errors import RecordError, shown

#: Sizes beyond are no sizes of images, and further out no float tells pixels apart.
_LARGEST = 1 << 40
_FARTHEST = 1e15

Size = Annotated[int, Meta(ge=1, le=_LARGEST)] | Annotated[float, Meta(ge=1, le=_LARGEST, multiple_of=1)]
Number = Annotated[float, Meta(ge=-_FARTHEST, le=_FARTHEST)]
Pair = Number | Annotated[list[Number], Meta(min_length=2, max_length=2)]


class Warp(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """An affine transform in the form that kwcoco writes."""

    type: Any = "affine"
    matrix: list[list[Number]] | None = None
    scale: Pair | None = None
    offset: Pair | None = None
    theta: Number | None = None
    shearx: Number | None = None
    shear: Number | None = None
    about: Pair | None = None


class Quantized(msgspec.Struct, gc=False):
    """What stored integers stand for."""

    orig_min: Number
    orig_max: Number
    quant_min: Number
    quant_max: Number
    nodata: float | str | None = None


class AssetEntry(msgspec.Struct, gc=False):
    """A file of an image."""

    file_name: str | None = None
    channels: str | list[str] | None = None
    width: Size | None = None
    height: Size | None = None
    num_bands: Size | None = None
    nodata: float | str | None = None
    quantization: Quantized | None = None
    warp_aux_to_img: Warp | None = None
    frame: Any = None
    hashid: Any = None
    palette: Any = None
    labels: Any = None


class ImageEntry(AssetEntry, gc=False):
    """An image, which may be a file by itself."""

    id: Any = None
    auxiliary: list[AssetEntry] | None = None
    assets: list[AssetEntry] | None = None
    video_id: Any = None
    frame_index: Annotated[int, Meta(ge=-(1 << 53), le=1 << 53)] | None = None
    warp_img_to_vid: Warp | None = None


class VideoEntry(msgspec.Struct, gc=False):
    """A video."""

    id: Any = None
    width: Size | None = None
    height: Size | None = None


class Member(msgspec.Struct, gc=False):
    """To which video an image belongs."""

    id: Any = None
    video_id: Any = None
    frame_index: Any = None


Entry = TypeVar("Entry", ImageEntry, VideoEntry, Member)

# msgspec looks at a type when it is first decoded, and crashes if two threads do so at once: here one does.
for _kind in (ImageEntry, VideoEntry, Member):
    msgspec.json.Decoder(_kind)

#: What is said of a value that is malformed, by the key that it stands at.
_MUST_BE = {
    "file_name": "must be a path",
    "channels": "must be text, such as 'r|g|b', or a list of names",
    "nodata": "must be a number",
    "quantization": "must hold the numbers orig_min, orig_max, quant_min and quant_max",
    "frame_index": "must be a whole number",
    "auxiliary": "must be a list of objects",
    "assets": "must be a list of objects",
    "scale": "must be a finite number, or a pair of them",
    "offset": "must be a finite number, or a pair of them",
    "about": "must be a finite number, or a pair of them",
    "matrix": "must be rows of finite numbers",
} | dict.fromkeys(("width", "height", "num_bands"), "must be a whole number, at least 1")
_MUST_BE |= dict.fromkeys(
    ("theta", "shearx", "shear", "orig_min", "orig_max", "quant_min", "quant_max"), "must be a finite number"
)
_MUST_BE |= dict.fromkeys(
    ("warp_aux_to_img", "warp_img_to_vid"),
    "must be an affine as kwcoco writes it, such as {'type': 'affine', 'scale': 2}",
)
_PLACE = re.compile(r"(?P<what>.*?)(?: - at (?:`key` in )?`\$(?P<path>.*)`)?", re.DOTALL)
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]")


def typed(document: Any, kind: type[Entry], owner: str) -> Entry:
    """Check an entry of a dataset that is in memory.

    Parameters
    ----------
    document : Mapping
        The entry. Numbers and arrays of NumPy count as numbers and lists, `os.PathLike` as text.
    kind : type
        What it has to be. Keys that are not known are passed over.
    owner : str
        The file and the image, to name in messages.

    Raises
    ------
    RecordError
        Naming the value that is malformed.
    """
    try:
        known = {key: document[key] for key in kind.__struct_fields__ if key in document}
        plain = msgspec.to_builtins(known, builtin_types=(bytes, bytearray, memoryview), enc_hook=_plain)
        return msgspec.convert(plain, kind)
    except msgspec.ValidationError as error:
        raise RecordError(f"{owner}: {_said(document, error)}") from error
    except (TypeError, ValueError) as error:  # a key that is no text
        raise RecordError(f"{owner}: cannot be read: {error}.") from error
    except RecursionError as error:
        raise RecordError(f"{owner}: is nested too deeply, or holds itself.") from error


def _plain(value: Any) -> Any:
    """Turn what is not JSON into what it stands for, or into something that is malformed everywhere."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        return dict(value)
    return {"a Python object": type(value).__name__}


def _said(document: Any, error: msgspec.ValidationError) -> str:
    """Say which value is malformed, and what it must be."""
    found = _PLACE.fullmatch(str(error))
    if found is None:
        return f"{error}."
    what, path = found["what"].replace("`", ""), (found["path"] or "").removeprefix(".")
    value: Any = document
    try:
        for name, number in _STEP.findall(found["path"] or ""):
            value = value[name or int(number)]
    except (LookupError, TypeError, AttributeError):
        return f"{path}: {what}."
    named = f"{path}={shown(value)}" if path else shown(value)
    if what.startswith("Object contains unknown field"):
        known = ", ".join(Warp.__struct_fields__)
        return f"{named} has unknown keys, {what.rpartition(' ')[2]}; known are {known}."
    keys = [name for name, _ in _STEP.findall(found["path"] or "") if name in _MUST_BE]
    if not keys:
        return f"{named}: {what}."
    return f"{named} {_MUST_BE[keys[-1]]}."
