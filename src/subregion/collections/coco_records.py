"""From the entries of a dataset to the records of its images."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from affine import Affine

from subregion.collections.coco_schema import AssetEntry, ImageEntry, Pair, Quantized, Size, VideoEntry, Warp
from subregion.errors import ConfigError, RecordError, shown
from subregion.formats.video.container import SUFFIXES
from subregion.geometry.channels import parse_channels
from subregion.paths import is_name, path_of
from subregion.records import Asset, ImageRecord, Quantization, VideoPlace
from subregion.views import PALETTES


@dataclass(frozen=True, slots=True, eq=False)
class RecordMaker:
    """Makes records of entries.

    Parameters
    ----------
    root : str
        The folder that relative paths start from.
    hashes : Mapping or None
        The hashes that were given; see `CocoFrames`.
    given : bool
        Whether files are named by them.
    orientation : str
        Of all files; see `View`.
    """

    root: str
    hashes: Mapping[Any, Any]
    given: bool
    orientation: str = "stored"

    def record(self, image_id: Any, image: ImageEntry, video: VideoEntry | None, owner: str) -> ImageRecord:
        """Return what an entry says of an image.

        Parameters
        ----------
        image_id : hashable
            Its id.
        image : ImageEntry
            The entry.
        video : VideoEntry or None
            That of the video which it is a frame of.
        owner : str
            The file and the image, to name in messages.

        Raises
        ------
        RecordError
            If the entry has no meaning.
        """
        listed: list[AssetEntry] = [image, *(image.auxiliary or ()), *(image.assets or ())]
        files = [entry for entry in listed if entry.file_name is not None]
        if not files:
            raise RecordError(f"{owner}: has neither a file_name nor assets.")
        hashes = self._hashes_of(image_id, files, owner) if self.given else [None] * len(files)
        assets = tuple(
            self._asset(entry, image, hashid, owner) for entry, hashid in zip(files, hashes, strict=True)
        )
        width, height = _whole(image.width), _whole(image.height)
        place = None
        if video is not None:
            to_video = affine_of(image.warp_img_to_vid, f"{owner}: warp_img_to_vid")
            place = VideoPlace(
                video.id, image.frame_index, to_video, _whole(video.width), _whole(video.height)
            )
        return ImageRecord(image_id, assets, width, height, _default(assets, width, height), place)

    def _asset(self, entry: AssetEntry, image: ImageEntry, hashid: str | None, owner: str) -> Asset:
        path = self._path(entry.file_name or "", owner)
        owner = f"{owner}: {entry.file_name}"
        channels, nodata = entry.channels, entry.nodata
        if nodata is None and entry.quantization is not None:
            nodata = entry.quantization.nodata
        try:
            names = None if channels is None else parse_channels(channels)
        except ConfigError as error:
            raise RecordError(f"{owner}: {error}") from error
        return Asset(
            path=path,
            channels=names,
            to_image=None
            if entry is image
            else affine_of(entry.warp_aux_to_img, f"{owner}: warp_aux_to_img"),
            width=_whole(entry.width),
            height=_whole(entry.height),
            bands=_whole(entry.num_bands),
            nodata=_number(nodata, owner),
            quantization=_quantization(entry.quantization, owner),
            hashid=hashid,
            frame=_frame(path, entry, image, owner),
            orientation=self.orientation,
            **_meaning(entry, image),
        )

    def _path(self, name: str, owner: str) -> str:
        if not is_name(name):
            raise RecordError(f"{owner}: file_name={shown(name)}: no file can have such a name.")
        if ":/" in name:
            name = path_of(name, f"{owner}: file_name")
        return path_in(self.root, name, owner)

    def _hashes_of(self, image_id: Any, files: Sequence[AssetEntry], owner: str) -> list[str | None]:
        """Return the hash of each file of an image, as far as there is one."""
        given = self.hashes.get(image_id)
        if isinstance(given, str) and len(files) > 1:
            raise RecordError(
                f"{owner}: has {len(files)} files, for which one hash was given. Give a mapping from the "
                f"file_name of each to its hash, such as {{{files[0].file_name!r}: {given!r}}}."
            )
        by_name = (
            given if isinstance(given, Mapping) else {} if given is None else {files[0].file_name: given}
        )
        found = []
        for entry in files:
            hashid = by_name.get(entry.file_name, entry.hashid)
            if hashid is not None and not (isinstance(hashid, str) and hashid):
                raise RecordError(f"{owner}: {entry.file_name}: hashid={shown(hashid)} must be text.")
            found.append(hashid)
        return found


def _whole(size: Size | None) -> int | None:
    return None if size is None else int(size)


def _number(value: float | str | None, owner: str) -> float | None:
    """Return a value for "no pixel", which some write as text."""
    try:
        return None if value is None else float(value)
    except ValueError:
        raise RecordError(f"{owner}: nodata={shown(value)} must be a number.") from None


def _frame(path: str, entry: AssetEntry, image: ImageEntry, owner: str) -> int | None:
    """Tell which frame of a video file is meant; None for other files."""
    if not path.lower().endswith(SUFFIXES):
        return None
    frame = image.frame_index if entry.frame is None else entry.frame
    if frame is not None and (isinstance(frame, bool) or not isinstance(frame, int) or frame < 0):
        raise RecordError(f"{owner}: frame={shown(frame)} must be a whole number, at least 0.")
    return frame


def _meaning(entry: AssetEntry, image: ImageEntry) -> dict[str, Any]:
    """Return what values of a file are: see `palette` and `labels` of `View`, which tells what is wrong."""
    found = {"palette": entry.palette, "labels": entry.labels}
    if entry is image:  # where others keep something of their own under these names
        found["palette"] = entry.palette if entry.palette in PALETTES else None
        found["labels"] = entry.labels if isinstance(entry.labels, bool) else None
    return {name: value for name, value in found.items() if value is not None}


def path_in(root: str, name: str, owner: str) -> str:
    """Return the path of a file of a dataset.

    Parameters
    ----------
    root : str
        The folder that relative names start from.
    name : str
        What the dataset calls the file.
    owner : str
        The image, to name in messages.

    Raises
    ------
    RecordError
        If a relative name leaves the folder.
    """
    path = os.path.normpath(os.path.join(root, name))
    if not os.path.isabs(name) and os.path.relpath(path, root).split(os.sep, 1)[0] == os.pardir:
        raise RecordError(
            f"{owner}: the file_name {name!r} leaves the folder of the dataset, {root}; "
            f"write an absolute path if that is meant."
        )
    return path


def _default(assets: tuple[Asset, ...], width: int | None, height: int | None) -> int:
    """Choose what is read without channels: a file on the grid of the image, the first such."""
    for number, asset in enumerate(assets):
        if asset.to_image is None:
            return number
    for number, asset in enumerate(assets):
        identity = asset.to_image == Affine.identity()
        if identity and asset.width in (None, width) and asset.height in (None, height):
            return number
    return 0


def affine_of(warp: Warp | None, owner: str) -> Affine | None:
    """Return a transform as kwcoco means it; None where it is missing.

    Raises
    ------
    RecordError
        If it is no affine.
    """
    if warp is None:
        return None
    if warp.type not in ("affine", None):
        raise RecordError(f"{owner}: the transform of type {shown(warp.type)} is not affine.")
    if warp.matrix is not None:
        rows = warp.matrix
        if len(rows) not in (2, 3) or any(len(row) != 3 for row in rows):
            raise RecordError(f"{owner}: the matrix {shown(rows)} must be 2 or 3 rows of 3 numbers.")
        if rows[2:] not in ([], [[0, 0, 1]]):
            raise RecordError(
                f"{owner}: the matrix {shown(rows)} is not affine: its last row must be 0, 0, 1."
            )
        return Affine(*rows[0], *rows[1])
    (sx, sy), (tx, ty), (x, y) = _pair(warp.scale, 1), _pair(warp.offset, 0), _pair(warp.about, 0)
    theta, shear = warp.theta or 0.0, (warp.shear if warp.shearx is None else warp.shearx) or 0.0
    cos, sin = math.cos(theta), math.sin(theta)
    turned = Affine(sx * cos, sy * (shear * cos - sin), 0, sx * sin, sy * (shear * sin + cos), 0)
    return Affine.translation(tx + x, ty + y) @ turned @ Affine.translation(-x, -y)


def _pair(value: Pair | None, default: float) -> tuple[float, float]:
    if isinstance(value, list):
        return value[0], value[1]
    number = default if value is None else value
    return number, number


def _quantization(stored: Quantized | None, owner: str) -> Quantization | None:
    if stored is None:
        return None
    span = stored.quant_max - stored.quant_min
    step = (stored.orig_max - stored.orig_min) / span if span else math.inf
    offset = stored.orig_min - step * stored.quant_min
    if not (math.isfinite(step) and math.isfinite(offset)):
        raise RecordError(
            f"{owner}: the quantization from quant_min={stored.quant_min} to quant_max={stored.quant_max} "
            f"spans no values."
        )
    return Quantization(step, offset)
