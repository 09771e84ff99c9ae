"""Which arrays of a zarr group are the picture and its overviews."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from subregion.errors import (
    DamagedFileError,
    RecordError,
    SourceNotFoundError,
    UnsupportedFormatError,
    shown,
    source_error,
)
from subregion.formats.zarr.metadata import Document, attributes_of, is_zarr, read_node

#: How many arrays a message lists.
_LISTED = 20
#: Resolutions of a picture: each is half of the one before.
_MOST_LEVELS = 64
#: How many folders of a group are looked at, where it does not say which of its arrays is the picture.
_MOST_FOLDERS = 1000


@dataclass(frozen=True, slots=True)
class Member:
    """An array of a group.

    Parameters
    ----------
    path : str
        Its folder.
    known : dict or None
        Its metadata, if the group holds them; None if they are still to be read.
    axes : tuple of str or None
        What its axes are called, if the group says it.
    labels : tuple of str or None
        What its channels are called, if the group says it.
    """

    path: str
    known: Document | None
    axes: tuple[str, ...] | None = None
    labels: tuple[str, ...] | None = None

    def array(self) -> tuple[str, Document]:
        """Return folder and metadata of the array, which may be the only one of a group of its own.

        Raises
        ------
        SubregionError
            If there is none, or more than one.
        """
        if self.known is not None:
            return self.path, self.known
        node = read_node(self.path)
        if node is None:
            raise SourceNotFoundError(f"{self.path}: no zarr array is there, although its group lists it.")
        kind, document = node
        if kind == "array":
            return self.path, document
        return _only_array(self.path)


def members_of(folder: str, document: Document, series: int = 0) -> list[Member]:
    """List the levels of a picture that a group holds, the full resolution first.

    Parameters
    ----------
    folder : str
        The group.
    document : dict
        Its metadata.
    series : int
        Which of its pictures.

    Raises
    ------
    UnsupportedFormatError
        If the group does not say which of its arrays is the picture.
    DamagedFileError
        If what it says is malformed.
    RecordError
        If it has fewer pictures.
    """
    attributes = attributes_of(document)
    try:
        count = _count(folder, attributes)
        if series >= count:
            raise RecordError(
                f"{folder}: series={shown(series)} is asked for, but the group has {count} of them: "
                f"0 to {count - 1}."
            )
        paths, axes = _multiscales(attributes, series)
        labels = _labels(attributes)
    except RecordError:  # a ValueError, too
        raise
    except (KeyError, TypeError, IndexError, AttributeError, ValueError) as error:
        raise DamagedFileError(f"{folder}: its multiscales metadata are malformed: {error!r}.") from error
    if paths:
        known, paths = _consolidated(document), paths[:_MOST_LEVELS]
        return [
            Member(_inside(folder, path), _if_array(known.get(path.strip("/"))), axes, labels)
            for path in paths
        ]
    if "bioformats2raw.layout" in _ome(attributes):  # several pictures, each a group of its own
        inner = os.path.join(folder, str(series))
        node = read_node(inner)
        if node is not None and node[0] == "group":
            return members_of(inner, {**node[1], "attributes": _without_series(node[1])})
    return [Member(*_only_array(folder))]


def multiscales_of(folder: str, document: Document, series: int = 0) -> Document | None:
    """Return what OME-NGFF says of the levels of the picture that `members_of` finds; None if nothing.

    Malformed metadata raise any exception.
    """
    attributes = attributes_of(document)
    multiscales = _ome(attributes).get("multiscales")
    if isinstance(multiscales, list) and multiscales:
        chosen: Document = multiscales[series]
        return chosen
    if "bioformats2raw.layout" in _ome(attributes):
        node = read_node(os.path.join(folder, str(series)))
        if node is not None and node[0] == "group":
            return multiscales_of(folder, {**node[1], "attributes": _without_series(node[1])})
    return None


def count_series(folder: str, document: Document) -> int:
    """Count the pictures of a group; 1 also where its metadata make no sense."""
    try:
        return _count(folder, attributes_of(document))
    except (KeyError, TypeError, IndexError, AttributeError, ValueError):
        return 1


def _count(folder: str, attributes: Document) -> int:
    multiscales = _ome(attributes).get("multiscales")
    if isinstance(multiscales, list) and multiscales:
        return len(multiscales)
    count = 1
    if "bioformats2raw.layout" in _ome(attributes):
        while count < _MOST_FOLDERS and is_zarr(os.path.join(folder, str(count))):
            count += 1
    return count


def _labels(attributes: Document) -> tuple[str, ...] | None:
    """Return what OMERO calls the channels."""
    omero = _ome(attributes).get("omero", attributes.get("omero"))
    channels = omero.get("channels") if isinstance(omero, dict) else None
    if not isinstance(channels, list):
        return None
    labels = [each.get("label") if isinstance(each, dict) else None for each in channels]
    return tuple(label if isinstance(label, str) else "" for label in labels)


def _ome(attributes: Document) -> Document:
    ome = attributes.get("ome")
    return ome if isinstance(ome, dict) else attributes


def _without_series(document: Document) -> Document:
    attributes = dict(attributes_of(document))
    ome = {key: value for key, value in _ome(attributes).items() if key != "bioformats2raw.layout"}
    return {"ome": ome} if "ome" in attributes else ome


def _multiscales(attributes: Document, series: int) -> tuple[list[str], tuple[str, ...] | None]:
    """Return paths of the levels and names of the axes, as OME-NGFF or GeoZarr have them."""
    multiscales = _ome(attributes).get("multiscales")
    if isinstance(multiscales, list) and multiscales:
        first = multiscales[series]
        axes: Any = first.get("axes")
        names = None
        if axes:  # until OME-NGFF 0.3 plain names
            names = tuple(str(axis["name"]) if isinstance(axis, dict) else str(axis) for axis in axes)
        return [str(dataset["path"]) for dataset in first["datasets"]], names
    multiscales = attributes.get("multiscales")
    if isinstance(multiscales, dict) and "layout" in multiscales:
        return [str(level["asset"]) for level in multiscales["layout"]], None
    return [], None


def _consolidated(document: Document) -> Document:
    consolidated = document.get("consolidated_metadata")
    metadata = consolidated.get("metadata") if isinstance(consolidated, dict) else None
    return metadata if isinstance(metadata, dict) else {}


def _if_array(document: Any) -> Document | None:
    return document if isinstance(document, dict) and document.get("node_type") == "array" else None


def _inside(folder: str, path: str) -> str:
    """Return the folder of a level; a path that others wrote must not lead out of the group."""
    parts = path.rstrip("/").split("/")
    if any(part in ("", ".", "..") or "\\" in part or "\0" in part or ":" in part for part in parts):
        if path in ("", "."):
            return folder
        raise DamagedFileError(f"{folder}: its metadata list the array {path!r}, which is outside of it.")
    return os.path.join(folder, *parts)


def _only_array(folder: str) -> tuple[str, Document]:
    """Return the only picture among the arrays of a group; coordinates, with one axis, are none."""
    found = list(_arrays(folder))
    pictures = [each for each in found if len(each[1].get("shape") or ()) >= 2]
    if len(pictures) == 1:
        return pictures[0]
    names = [os.path.basename(path) for path, _ in (pictures or found)]
    if not names:
        raise UnsupportedFormatError(f"{folder}: is a zarr group without arrays.")
    listed = ", ".join(names[:_LISTED]) + (", ..." if len(names) > _LISTED else "")
    raise UnsupportedFormatError(
        f"{folder}: is a zarr group without multiscales metadata that holds "
        f"{len(names)} arrays: {listed}. Give the path of one, such as {os.path.join(folder, names[0])}."
    )


def _arrays(folder: str) -> Iterator[tuple[str, Document]]:
    try:
        with os.scandir(folder) as listing:
            names = sorted(item.name for item in listing if item.is_dir())
    except OSError as error:
        raise source_error(folder, error) from error
    if len(names) > _MOST_FOLDERS:
        raise UnsupportedFormatError(
            f"{folder}: is a zarr group without multiscales metadata that holds {len(names)} folders. "
            f"Give the path of one of its arrays."
        )
    for name in names:
        path = os.path.join(folder, name)
        node = read_node(path)
        if node is not None and node[0] == "array":
            yield path, node[1]
