"""Splits of a dataset as datasets of their own, in memory and as files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from subregion.collections.coco_file import read_document
from subregion.collections.coco_records import path_in
from subregion.errors import ConfigError, RecordError, shown
from subregion.io.replacing import written_beside
from subregion.paths import path_of

if TYPE_CHECKING:
    from subregion.sampling.split.split import Split

#: Where file names stand in the entry of an image.
_LISTS = ("auxiliary", "assets")


class _ImageId(msgspec.Struct, gc=False):
    id: Any = None
    video_id: Any = None


class _OfImage(msgspec.Struct, gc=False):
    image_id: Any = None


def filtered(document: Mapping[str, Any], image_ids: Iterable[Any]) -> dict[str, Any]:
    """Return a dataset of some of the images.

    Parameters
    ----------
    document : Mapping
        The dataset. Entries of images, annotations and videos may be JSON that was not parsed.
    image_ids : iterable of hashable
        Which.

    Returns
    -------
    dict
        With the annotations of these images and the videos that they are in; all else is as it was, and
        entries are the same objects.
    """
    wanted = set(image_ids)
    images, videos = [], set()
    for entry in document.get("images") or ():
        image = _typed(entry, _ImageId)
        if image.id in wanted:
            images.append(entry)
            videos.add(image.video_id)
    found = dict(document)
    found["images"] = images
    found["annotations"] = [
        entry for entry in document.get("annotations") or () if _typed(entry, _OfImage).image_id in wanted
    ]
    if document.get("videos"):
        found["videos"] = [entry for entry in document["videos"] if _typed(entry, _ImageId).id in videos]
    return found


def split_documents(dataset: Any, split: Split) -> dict[str, dict[str, Any]]:
    """Return each split as a dataset.

    Parameters
    ----------
    dataset : dict or kwcoco.CocoDataset
        What was split; it is not changed.
    split : Split
        Of image ids.
    """
    document = _document(dataset)
    return {name: filtered(document, ids) for name, ids in split.parts.items()}


def write_splits(
    dataset: Any,
    split: Split,
    folder: str | os.PathLike[str],
    *,
    stem: str | None = None,
    root: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
) -> dict[str, Path]:
    """Write each split as a COCO file.

    Parameters
    ----------
    dataset : path, dict or kwcoco.CocoDataset
        What was split. Of a file, entries are copied as they are, byte by byte.
    split : Split
        Of image ids.
    folder : path
        Where to. In another folder than that of the dataset, relative names of files become absolute.
    stem : str or None
        What names begin with, before ``-train.json``; None is the name of the dataset.
    root : path or None
        The folder that relative names of files start from; None is that of the dataset, as for `CocoFrames`.
    overwrite : bool
        Whether files that exist are replaced.

    Returns
    -------
    dict of str to Path
        The file of each split.

    Raises
    ------
    ConfigError
        If a file exists, or the name of a split cannot be in that of a file.
    RecordError
        If a relative name leaves `root`.
    """
    target = Path(path_of(folder, "folder"))
    document, home = _document(dataset), _root(dataset)
    start = home if root is None else os.path.abspath(path_of(root, "root"))
    if stem is None:
        stem = Path(path_of(dataset)).name.split(".")[0] if _is_path(dataset) else "dataset"
    paths = {name: target / f"{stem}-{name}.json" for name in split.parts}
    for name, path in paths.items():
        if path.parent != target or "/" in name or "\\" in name:
            raise ConfigError(f"the split {shown(name)} cannot be the name of a file.")
        if path.exists() and not overwrite:
            raise ConfigError(f"{path}: exists; write elsewhere, or give overwrite=True (--overwrite).")
    target.mkdir(parents=True, exist_ok=True)
    moved = os.path.abspath(target) != os.path.abspath(start)
    for name, ids in split.parts.items():
        part = filtered(document, ids)
        if moved:
            part["images"] = [
                _absolute(entry, start, f"image {shown(entry.get('id'))}")
                for entry in map(_parsed, part["images"])
            ]
        _write(paths[name], part)
    return paths


def _write(path: Path, document: dict[str, Any]) -> None:
    with written_beside(path) as unfinished:
        try:
            unfinished.write_bytes(msgspec.json.encode(document, enc_hook=_plain))
        except (TypeError, ValueError) as error:
            raise RecordError(f"{path}: the dataset cannot be written as JSON: {error}.") from error


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is nothing that JSON has")


def _is_path(dataset: Any) -> bool:
    return isinstance(dataset, str | bytes | os.PathLike)


def _document(dataset: Any) -> Mapping[str, Any]:
    if _is_path(dataset):
        return read_document(os.path.abspath(path_of(dataset, "the dataset")))
    found = getattr(dataset, "dataset", dataset)
    if not isinstance(found, Mapping):
        raise RecordError(f"a dataset is a path, a dict or a kwcoco.CocoDataset, not {shown(dataset)}.")
    return found


def _root(dataset: Any) -> str:
    if _is_path(dataset):
        return os.path.dirname(os.path.abspath(path_of(dataset)))
    return os.fspath(getattr(dataset, "bundle_dpath", os.getcwd()))


def _typed(entry: Any, kind: Any) -> Any:
    if isinstance(entry, msgspec.Raw):
        return msgspec.json.decode(entry, type=kind)
    return kind(**{name: entry.get(name) for name in kind.__struct_fields__})


def _parsed(entry: Any) -> dict[str, Any]:
    return dict(msgspec.json.decode(entry) if isinstance(entry, msgspec.Raw) else entry)


def _absolute(entry: dict[str, Any], root: str, owner: str) -> dict[str, Any]:
    """Return an entry whose files are found from everywhere."""
    name = entry.get("file_name")
    if isinstance(name, str | os.PathLike) and ":/" not in os.fspath(name):
        entry["file_name"] = path_in(root, os.fspath(name), owner)
    for key in _LISTS:
        if entry.get(key):
            entry[key] = [_absolute(dict(each), root, owner) for each in entry[key]]
    return entry
