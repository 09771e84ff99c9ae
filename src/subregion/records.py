"""Who an image is: frozen values that say which files hold its channels and how they lie."""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from numbers import Real
from typing import Any

from affine import Affine

from subregion.errors import IdentityError, RecordError, UnknownChannelError, shown
from subregion.notices import short_repr
from subregion.paths import path_of
from subregion.views import AS_IT_IS, VIEW_DEFAULTS, VIEW_OPTIONS, View


@dataclass(frozen=True, slots=True)
class Quantization:
    """How stored integers stand for measured values: ``value = stored * step + offset``.

    Parameters
    ----------
    step, offset : float
        In the unit of the values.
    """

    step: float
    offset: float


@dataclass(frozen=True, slots=True)
class Asset:
    """One file of an image.

    Parameters
    ----------
    path : str
        Absolute path of the file. What else names a file becomes that when it is given.
    channels : tuple of str or None
        One name for each band of the file, in order; None if the bands have no names.
    to_image : affine.Affine or None
        From pixel corners of this file (x, y) to those of the image; None is the identity.
    width, height : int or None
        What the record declares; None if only the file knows.
    bands : int or None
        How many bands the record declares.
    nodata : float or None
        The value that means "no pixel here"; None leaves it to the file's own tag.
    quantization : Quantization or None
        What the stored values stand for.
    hashid : str or None
        The identity of the content as the caller gave it (``hashid_mode="GIVEN"``).
    frame, palette, labels, picture, orientation, page, series, level, t, z, c, axes
        Which picture of the file is meant, and what its samples are; see `View`.

    Attributes
    ----------
    view : View
        The same, together.

    Raises
    ------
    RecordError, PathTypeError, SourceNotFoundError, IdentityError
        If a value is of another type, or has no meaning.
    """

    path: str
    channels: tuple[str, ...] | None = None
    to_image: Affine | None = None
    width: int | None = None
    height: int | None = None
    bands: int | None = None
    nodata: float | None = None
    quantization: Quantization | None = None
    hashid: str | None = None
    frame: int | None = None
    palette: str = "rgb"
    labels: bool = False
    picture: str | None = None
    orientation: str = "stored"
    page: int | None = None
    series: int | None = None
    level: int | None = None
    t: int | None = None
    z: int | None = None
    c: int | None = None
    axes: str | None = None
    view: View = field(init=False, repr=False, compare=False)

    __repr__ = short_repr

    def __post_init__(self) -> None:
        path = path_of(self.path)
        if path != self.path or not os.path.isabs(path):
            object.__setattr__(self, "path", os.path.abspath(path))
        if self.channels is not None:
            object.__setattr__(self, "channels", _checked_names(self.path, self.channels))
        _check_affine(self.path, "to_image", self.to_image)
        _check_sizes(self.path, self, "width", "height", "bands")
        if self.nodata is not None and (isinstance(self.nodata, bool) or not isinstance(self.nodata, Real)):
            raise RecordError(f"{self.path}: nodata={shown(self.nodata)} must be a number, or None.")
        if isinstance(self.nodata, int) and not -(1 << 63) <= self.nodata < 1 << 64:
            try:  # no integer type holds it
                object.__setattr__(self, "nodata", float(self.nodata))
            except OverflowError as error:
                raise RecordError(f"{self.path}: nodata={shown(self.nodata)}: no type holds it.") from error
        if not isinstance(self.quantization, Quantization | None):
            raise RecordError(
                f"{self.path}: quantization={shown(self.quantization)} must be a Quantization, or None."
            )
        if not isinstance(self.hashid, str | None):
            raise IdentityError(f"{self.path}: its hash must be text, not a {type(self.hashid).__name__}.")
        given = {name: getattr(self, name) for name in VIEW_OPTIONS}
        try:
            view = AS_IT_IS if given == VIEW_DEFAULTS else View(**given)
        except RecordError as error:
            raise RecordError(f"{self.path}: {error}") from None
        object.__setattr__(self, "view", view)


@dataclass(frozen=True, slots=True)
class VideoPlace:
    """Where an image lies in its video.

    Parameters
    ----------
    video_id : hashable
        The name of the video in its collection.
    frame_index : int or None
        When: images of a video are ordered by it. It may leave out numbers.
    to_video : affine.Affine or None
        From pixel corners of the image (x, y) to those of the video; None is the identity.
    width, height : int or None
        Size of the video in pixels; None if it is where the corner of the image comes to lie.
    """

    video_id: Any
    frame_index: int | None = None
    to_video: Affine | None = None
    width: int | None = None
    height: int | None = None

    __repr__ = short_repr

    def __post_init__(self) -> None:
        owner = f"video {shown(self.video_id)}"
        _check_affine(owner, "to_video", self.to_video)
        _check_sizes(owner, self, "width", "height")
        if isinstance(self.frame_index, bool) or not isinstance(self.frame_index, int | None):
            raise RecordError(
                f"{owner}: frame_index={shown(self.frame_index)} must be a whole number, or None."
            )


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One image: its size and the files that hold its channels.

    Parameters
    ----------
    image_id : hashable
        The name of the image in its collection.
    assets : tuple of Asset
        At least one.
    width, height : int or None
        Size of the image in pixels; None if it is the size of its default asset.
    default : int
        Which asset is read when no channels are asked for.
    video : VideoPlace or None
        Where the image lies in a video, if it is a frame of one.
    """

    image_id: Any
    assets: tuple[Asset, ...]
    width: int | None = None
    height: int | None = None
    default: int = 0
    video: VideoPlace | None = None

    __repr__ = short_repr

    def __post_init__(self) -> None:
        owner = f"image {shown(self.image_id)}"
        given: object = self.assets
        if isinstance(given, list):
            object.__setattr__(self, "assets", tuple(given))
        if not isinstance(self.assets, tuple) or not all(isinstance(each, Asset) for each in self.assets):
            raise RecordError(f"{owner}: assets={shown(self.assets)} must be a tuple of Asset.")
        if not isinstance(self.default, int) or not 0 <= self.default < len(self.assets):
            raise RecordError(f"{owner}: default={shown(self.default)} is none of {len(self.assets)} assets.")
        _check_sizes(owner, self, "width", "height")
        if not isinstance(self.video, VideoPlace | None):
            raise RecordError(f"{owner}: video={shown(self.video)} must be a VideoPlace, or None.")

    @property
    def default_asset(self) -> Asset:
        """The asset that is read when no channels are asked for."""
        return self.assets[self.default]

    def places(self) -> dict[str, tuple[int, int]]:
        """Tell for each channel which asset holds it, and as which band.

        Raises
        ------
        RecordError
            If two assets, or two bands, have one name.
        """
        found: dict[str, tuple[int, int]] = {}
        for number, asset in enumerate(self.assets):
            for band, name in enumerate(asset.channels or ()):
                if name in found:
                    raise RecordError(
                        f"image {shown(self.image_id)}: the channel {name!r} is in {asset.path} and also in "
                        f"{self.assets[found[name][0]].path}; rename one of them."
                    )
                found[name] = number, band
        return found

    def in_video(self) -> ImageRecord:
        """Return the same image on the grid of its video.

        Returns
        -------
        ImageRecord
            Of the size of the video; `Asset.to_image` of each file leads to the pixels of the video.

        Raises
        ------
        RecordError
            If the image is in no video, or its transform to the video is singular.
        """
        place = self.video
        if place is None:
            raise RecordError(
                f"image {shown(self.image_id)}: is in no video that is known, so it has no space='video'. "
                f"Give its record a VideoPlace; in a dataset, a video_id that is among the videos."
            )
        to_video = place.to_video or _IDENTITY
        if not invertible(to_video):
            raise RecordError(
                f"image {shown(self.image_id)}: its transform to the video {shown(place.video_id)}, "
                f"{tuple(to_video[:6])}, is singular; correct it."
            )
        width, height = self._size_in_video(place, to_video)
        if to_video == _IDENTITY and (width, height) == (self.width, self.height):
            return self
        there = VideoPlace(place.video_id, place.frame_index, None, width, height)
        return replace(self, assets=tuple(self._moved(to_video)), width=width, height=height, video=there)

    def _size_in_video(self, place: VideoPlace, to_video: Affine) -> tuple[int | None, int | None]:
        if place.width is not None and place.height is not None:
            return place.width, place.height
        if self.width is None or self.height is None:
            return None, None
        across, down = to_video @ (self.width, self.height)
        if not (across >= 0.5 and down >= 0.5):
            raise RecordError(
                f"image {shown(self.image_id)}: the size of the video {shown(place.video_id)} is needed, "
                f"because {tuple(to_video[:6])} does not tell where it ends; give its width and height."
            )
        return round(across), round(down)

    def _moved(self, to_video: Affine) -> Iterator[Asset]:
        for asset in self.assets:
            if asset.to_image is None:  # it has the size of the image, which is not to be forgotten
                width = self.width if asset.width is None else asset.width
                height = self.height if asset.height is None else asset.height
                yield replace(asset, to_image=to_video, width=width, height=height)
            elif invertible(asset.to_image):
                yield replace(asset, to_image=to_video @ asset.to_image)
            else:  # as it is, so that what is found wrong is what was given
                yield asset


def with_palette(record: ImageRecord, palette: str) -> ImageRecord:
    """Return a record whose palette files are read so."""
    if palette == "rgb":
        return record
    assets = tuple(
        replace(each, palette=palette) if each.palette == "rgb" else each for each in record.assets
    )
    return replace(record, assets=assets)


_IDENTITY = Affine.identity()
#: A pixel of an image may be so many of a file at most, along either axis.
_STEEPEST = 1e12


def _check_affine(owner: str, name: str, matrix: object) -> None:
    if not isinstance(matrix, Affine | None):
        raise RecordError(f"{owner}: {name}={shown(matrix)} must be an affine.Affine, or None.")


def _check_sizes(owner: str, record: object, *names: str) -> None:
    """Refuse sizes that are none, and make plain integers of all others."""
    for name in names:
        value = getattr(record, name)
        if value is None or (type(value) is int and value > 0):
            continue
        try:
            size = 0 if isinstance(value, bool) else operator.index(value)
        except TypeError:
            size = 0
        if size < 1:
            raise RecordError(f"{owner}: {name}={shown(value)} must be a whole number, at least 1, or None.")
        object.__setattr__(record, name, size)


def _checked_names(owner: str, names: Any) -> tuple[str, ...]:
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise RecordError(
            f"{owner}: channels={shown(names)} must be a tuple of names, such as ('r', 'g', 'b')."
        )
    found = tuple(names)
    if not all(isinstance(name, str) for name in found):
        raise RecordError(
            f"{owner}: channels={shown(found)} must be a tuple of names, such as ('r', 'g', 'b')."
        )
    return found


def invertible(matrix: Affine) -> bool:
    """Whether a transform leads back from everywhere, in numbers that still tell pixels apart."""
    area = matrix.determinant
    steepest = max(map(abs, (matrix.a, matrix.b, matrix.d, matrix.e)))
    return (
        0 < abs(area) < math.inf
        and steepest < _STEEPEST * abs(area)
        and math.isfinite(matrix.c)
        and math.isfinite(matrix.f)
    )


def unknown_channel(name: object, known: tuple[str, ...], owner: str) -> UnknownChannelError:
    """Say that a channel is not there, and what is."""
    how = 'Asset(path, channels=(...)), or "channels": "r|g|b" in the entry of a dataset'
    listed = ", ".join(known) if known else f"none with a name; name them by {how}"
    return UnknownChannelError(f"{owner}: no channel {shown(name)}; there is: {listed}.")
