"""What the JSON of a zarr array or group says, versions 2 and 3, as checked values.

Follows the Zarr core specifications, version 2 and version 3.0 with the codecs registered there.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import os
import re
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from subregion.dtypes import as_integer
from subregion.errors import DamagedFileError, SourceNotFoundError, UnsupportedFormatError
from subregion.io.source import SourceFile

Document: TypeAlias = dict[str, Any]

#: Bytes of JSON that are read; consolidated metadata of a large group is some megabytes. Parsed, they may
#: take twenty times as much.
MAX_JSON = 16 << 20
_MAX_AXES = 32
_V3_TYPES = {
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
    "float16", "float32", "float64", "complex64", "complex128",
}  # fmt: skip
_V2_TYPE = re.compile(r"[<>|][biufc](?:1|2|4|8|16)")
_SPECIAL = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


@dataclass(frozen=True, slots=True)
class CodecSpec:
    """One step from samples to bytes, as the metadata name it.

    Parameters
    ----------
    name : str
        Such as ``"blosc"``.
    configuration : dict
        Its options.
    """

    name: str
    configuration: Document


@dataclass(frozen=True, slots=True)
class ShardSpec:
    """How several blocks lie in one file.

    Parameters
    ----------
    at_end : bool
        Whether the index is at the end of the file; otherwise at its start.
    checksum : bool
        Whether a CRC-32C follows the index.
    big_endian : bool
        Byte order of the index.
    """

    at_end: bool
    checksum: bool
    big_endian: bool

    def index_nbytes(self, blocks: int) -> int:
        """Size of the index of so many blocks."""
        return 16 * blocks + (4 if self.checksum else 0)


@dataclass(frozen=True, slots=True)
class ArraySpec:
    """A zarr array.

    Parameters
    ----------
    path : str
        Its folder.
    version : int
        Of the format: 2 or 3.
    shape : tuple of int
        Length of each axis.
    dtype : numpy.dtype
        Type of the stored samples, with its byte order.
    chunks : tuple of int
        What one file holds.
    blocks : tuple of int
        What is encoded together: a chunk, or a part of it if files are shards.
    order : tuple of int
        Which axis of the array each axis of an encoded block is.
    codecs : tuple of CodecSpec
        From bytes to bytes, in the order of encoding.
    shard : ShardSpec or None
        None if each block is a file.
    fill : int, float or complex
        What blocks hold that were never written.
    prefix, separator : str
        The file of chunk (1, 2) is ``prefix`` 1 ``separator`` 2.
    names : tuple of (str or None) or None
        What the axes are called.
    attributes : dict
        Of the user.
    """

    path: str
    version: int
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    chunks: tuple[int, ...]
    blocks: tuple[int, ...]
    order: tuple[int, ...]
    codecs: tuple[CodecSpec, ...]
    shard: ShardSpec | None
    fill: Any
    prefix: str
    separator: str
    names: tuple[str | None, ...] | None
    attributes: Document

    @property
    def grid(self) -> tuple[int, ...]:
        """How many files there can be along each axis."""
        return tuple(-(-size // chunk) for size, chunk in zip(self.shape, self.chunks, strict=True))

    @property
    def in_shard(self) -> tuple[int, ...]:
        """How many blocks a file holds along each axis."""
        return tuple(chunk // block for chunk, block in zip(self.chunks, self.blocks, strict=True))

    @property
    def metadata_path(self) -> str:
        """Path of the file that these values come from."""
        return os.path.join(self.path, "zarr.json" if self.version == 3 else ".zarray")

    def file_of(self, chunk: tuple[int, ...]) -> str:
        """Path of the file of a chunk. Made of numbers, so it cannot leave the folder."""
        return os.path.join(self.path, self.prefix + self.separator.join(map(str, chunk)))


def read_json(path: str) -> Document:
    """Read a JSON object.

    Raises
    ------
    SubregionError
        If it is missing, unreadable, or no JSON object of a sane size.
    """
    file = SourceFile(path)
    if file.size > MAX_JSON:
        raise DamagedFileError(f"{path}: {file.size} bytes of JSON; at most {MAX_JSON} are read.")
    try:
        document = json.loads(file.read(0, file.size))
    except (ValueError, RecursionError) as error:
        raise DamagedFileError(f"{path}: is no valid JSON: {error}") from error
    if not isinstance(document, dict):
        raise DamagedFileError(f"{path}: holds no JSON object.")
    return document


def read_node(folder: str) -> tuple[str, Document] | None:
    """Read the metadata of a zarr folder.

    Returns
    -------
    tuple of (str, dict) or None
        ``"array"`` or ``"group"``, and the metadata; those of version 2 get their ``attributes`` as those
        of version 3 have them. None if the folder is no zarr.
    """
    for name, kind in (("zarr.json", ""), (".zarray", "array"), (".zgroup", "group")):
        path = os.path.join(folder, name)
        try:
            document = read_json(path)
        except SourceNotFoundError:
            continue
        if not kind:
            kind = str(document.get("node_type"))
            if kind not in ("array", "group") or document.get("zarr_format") != 3:
                raise DamagedFileError(f"{path}: is neither array nor group of zarr 3.")
            return kind, document
        try:
            document["attributes"] = read_json(os.path.join(folder, ".zattrs"))
        except SourceNotFoundError:
            document["attributes"] = {}
        return kind, document
    return None


def is_zarr(folder: str) -> bool:
    """Whether a folder says that it is a zarr array or group."""
    return any(os.path.isfile(os.path.join(folder, name)) for name in ("zarr.json", ".zarray", ".zgroup"))


def parse_array(folder: str, document: Document) -> ArraySpec:
    """Check the metadata of an array.

    Raises
    ------
    DamagedFileError
        If they contradict themselves.
    UnsupportedFormatError
        If the array holds no numbers, or is encoded in a way that nothing here can decode.
    """
    try:
        return (_parse_v3 if document.get("zarr_format") == 3 else _parse_v2)(folder, document)
    except (DamagedFileError, UnsupportedFormatError):
        raise
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
        raise DamagedFileError(f"{folder}: the zarr metadata are malformed: {error!r}.") from error


def attributes_of(document: Document) -> Document:
    """Return the attributes of a node, or nothing if they are malformed."""
    attributes = document.get("attributes")
    return attributes if isinstance(attributes, dict) else {}


def _parse_v3(folder: str, document: Document) -> ArraySpec:
    shape = _sizes(document["shape"])
    grid = document["chunk_grid"]
    if grid["name"] != "regular":
        raise UnsupportedFormatError(
            f"{folder}: chunk grid {grid['name']!r}; only 'regular' ones can be read."
        )
    chunks = _sizes(grid["configuration"]["chunk_shape"], len(shape))
    kind = document["data_type"]
    if not isinstance(kind, str) or kind not in _V3_TYPES:
        raise UnsupportedFormatError(f"{folder}: data type {kind!r} is no image; numbers or bools are.")
    dtype = np.dtype(kind)
    codecs = _codec_specs(folder, document["codecs"])
    blocks, shard = chunks, None
    if any(codec.name == "sharding_indexed" for codec in codecs):
        if len(codecs) != 1:
            names = ", ".join(codec.name for codec in codecs)
            raise UnsupportedFormatError(
                f"{folder}: codecs {names}: a shard inside of other codecs has no block index."
            )
        inner = codecs[0].configuration
        blocks = _sizes(inner["chunk_shape"], len(shape))
        if any(chunk % block for chunk, block in zip(chunks, blocks, strict=True)):
            raise DamagedFileError(f"{folder}: shards of {chunks} are no multiples of blocks of {blocks}.")
        shard = _shard_spec(folder, inner)
        codecs = _codec_specs(folder, inner["codecs"])
    order, endian, rest = _split_codecs(folder, codecs, len(shape))
    encoding = document["chunk_key_encoding"]
    configuration = encoding.get("configuration") or {}
    style = encoding["name"]
    if style not in ("default", "v2"):
        raise UnsupportedFormatError(f"{folder}: chunk keys {style!r}; 'default' and 'v2' can be read.")
    separator = _separator(configuration.get("separator", "/" if style == "default" else "."))
    return ArraySpec(
        path=folder,
        version=3,
        shape=shape,
        dtype=dtype.newbyteorder(endian),
        chunks=chunks,
        blocks=blocks,
        order=order,
        codecs=rest,
        shard=shard,
        fill=_fill(document["fill_value"], dtype),
        prefix=f"c{separator}" if style == "default" else "",
        separator=separator,
        names=_names(document.get("dimension_names"), len(shape)),
        attributes=attributes_of(document),
    )


def _parse_v2(folder: str, document: Document) -> ArraySpec:
    if document["zarr_format"] != 2:
        raise UnsupportedFormatError(
            f"{folder}: zarr format {document['zarr_format']!r}; 2 and 3 can be read."
        )
    shape = _sizes(document["shape"])
    chunks = _sizes(document["chunks"], len(shape))
    kind = document["dtype"]
    if not isinstance(kind, str) or not _V2_TYPE.fullmatch(kind):
        raise UnsupportedFormatError(f"{folder}: dtype {kind!r} is no image; numbers or bools are needed.")
    dtype = np.dtype(kind)
    backwards = document.get("order", "C") == "F"
    steps = [*(document.get("filters") or []), document.get("compressor")]
    codecs = tuple(
        CodecSpec(str(step["id"]), {key: value for key, value in step.items() if key != "id"})
        for step in steps
        if step is not None
    )
    attributes = attributes_of(document)
    return ArraySpec(
        path=folder,
        version=2,
        shape=shape,
        dtype=dtype,
        chunks=chunks,
        blocks=chunks,
        order=tuple(reversed(range(len(shape)))) if backwards else tuple(range(len(shape))),
        codecs=codecs,
        shard=None,
        fill=_fill(document.get("fill_value"), dtype),
        prefix="",
        separator=_separator(document.get("dimension_separator", ".")),
        names=_names(attributes.get("_ARRAY_DIMENSIONS"), len(shape)),
        attributes=attributes,
    )


def _sizes(value: Any, count: int | None = None) -> tuple[int, ...]:
    sizes = tuple(value)
    if any(isinstance(size, bool) or not isinstance(size, int) or not 0 < size < 2**63 for size in sizes):
        raise ValueError(f"sizes {value!r}")
    if len(sizes) > _MAX_AXES or (count is not None and len(sizes) != count):
        raise ValueError(f"{len(sizes)} sizes for {count} axes")
    return sizes


def _separator(value: Any) -> str:
    if value not in (".", "/"):
        raise ValueError(f"separator {value!r}")
    return str(value)


def _names(value: Any, count: int) -> tuple[str | None, ...] | None:
    if not isinstance(value, list) or len(value) != count:
        return None
    return tuple(name if isinstance(name, str) else None for name in value)


def _codec_specs(folder: str, codecs: Any) -> tuple[CodecSpec, ...]:
    specs = []
    for codec in codecs:
        codec = {"name": codec} if isinstance(codec, str) else codec
        configuration = codec.get("configuration") or {}
        if not isinstance(configuration, dict):
            raise DamagedFileError(f"{folder}: codec {codec['name']!r} has a malformed configuration.")
        specs.append(CodecSpec(str(codec["name"]), configuration))
    return tuple(specs)


def _split_codecs(
    folder: str, codecs: tuple[CodecSpec, ...], axes: int
) -> tuple[tuple[int, ...], Literal["<", ">"], tuple[CodecSpec, ...]]:
    """Return the order of axes, the byte order, and what goes from bytes to bytes."""
    order: tuple[int, ...] = tuple(range(axes))
    for place, codec in enumerate(codecs):
        if codec.name == "transpose":
            step = codec.configuration["order"]
            if step in ("C", "F"):  # until version 3.0 was final
                step = range(axes) if step == "C" else range(axes - 1, -1, -1)
            if sorted(step) != list(range(axes)):
                raise ValueError(f"transpose to {step!r}")
            order = tuple(order[axis] for axis in step)
        elif codec.name == "bytes":
            endian = codec.configuration.get("endian", "little")
            if endian not in ("little", "big"):
                raise ValueError(f"endian {endian!r}")
            return order, "<" if endian == "little" else ">", codecs[place + 1 :]
        else:
            raise UnsupportedFormatError(
                f"{folder}: the zarr codec {codec.name!r} cannot be read here; "
                f"'transpose' and 'bytes' can, and compressors after them."
            )
    raise DamagedFileError(f"{folder}: no codec makes bytes of samples.")


def _shard_spec(folder: str, configuration: Document) -> ShardSpec:
    location = configuration.get("index_location", "end")
    if location not in ("start", "end"):
        raise ValueError(f"index_location {location!r}")
    codecs = _codec_specs(folder, configuration["index_codecs"])
    names = [codec.name for codec in codecs]
    if names not in (["bytes"], ["bytes", "crc32c"]):
        raise UnsupportedFormatError(
            f"{folder}: an index of shards encoded by {', '.join(names)}; 'bytes' and 'crc32c' can be read."
        )
    return ShardSpec(
        at_end=location == "end",
        checksum="crc32c" in names,
        big_endian=codecs[0].configuration.get("endian", "little") == "big",
    )


def _fill(value: Any, dtype: np.dtype[Any]) -> Any:
    """Return the fill value as a number that an array of `dtype` takes."""
    if value is None:
        return 0
    if dtype.kind == "c":
        if isinstance(value, list):
            parts = np.dtype(f"f{dtype.itemsize // 2}")
            return complex(_fill(value[0], parts), _fill(value[1], parts))
        return complex(value)
    if isinstance(value, str):
        if dtype.kind == "f" and value in _SPECIAL:
            return _SPECIAL[value]
        if value.startswith("0x"):
            return _from_bytes(int(value, 16).to_bytes(dtype.itemsize, "big"), dtype.newbyteorder(">"))
        try:
            return _from_bytes(base64.standard_b64decode(value), dtype)
        except binascii.Error as error:
            raise ValueError(f"fill value {value!r}") from error
    if isinstance(value, bool) or dtype.kind == "b":
        return int(bool(value))
    if not isinstance(value, int | float):
        raise ValueError(f"fill value {value!r}")
    if dtype.kind in "iu":
        whole = as_integer(value, dtype)
        if whole is None:
            raise ValueError(f"fill value {value!r} of {dtype}")
        return whole
    return float(value)


def _from_bytes(data: bytes, dtype: np.dtype[Any]) -> Any:
    if len(data) != dtype.itemsize:
        raise ValueError(f"a fill value of {len(data)} bytes")
    return np.frombuffer(data, dtype)[0].item()
