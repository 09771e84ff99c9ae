"""Who an image is: frozen values that say which files hold its channels and how they lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from subregion.errors import RecordError, UnknownChannelError

if TYPE_CHECKING:
    from affine import Affine


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
        Absolute path of the file.
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
    """

    image_id: Any
    assets: tuple[Asset, ...]
    width: int | None = None
    height: int | None = None
    default: int = 0

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
                        f"image {self.image_id!r}: the channel {name!r} is in {asset.path} and also in "
                        f"{self.assets[found[name][0]].path}; rename one of them."
                    )
                found[name] = number, band
        return found


def unknown_channel(name: object, known: tuple[str, ...], owner: str) -> UnknownChannelError:
    """Say that a channel is not there, and what is."""
    listed = ", ".join(known) if known else "none with a name"
    return UnknownChannelError(f"{owner}: no channel {name!r}; there is: {listed}.")
