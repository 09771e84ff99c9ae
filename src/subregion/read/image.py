"""The open files of one image, on the grid of the image."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from subregion.errors import ConfigError, RecordError, shown
from subregion.geometry.channels import ALL, parse_channels
from subregion.geometry.placement import OutputGrid, SourceRead, covers_image
from subregion.geometry.resample import working_dtype
from subregion.read.mending import mend_unlike, planned_again
from subregion.read.options import ReadOptions
from subregion.records import Asset, ImageRecord, invertible, unknown_channel

if TYPE_CHECKING:
    from subregion.cache.opened import OpenAsset
    from subregion.cache.store import Store
    from subregion.formats.raster import Raster


IDENTITY = Affine.identity()


class OpenImage:
    """The open files of one image, seen as one array on the grid of the image.

    Parameters
    ----------
    store : Store
        Where converted copies are.
    record : ImageRecord
        The image.
    channels : str, iterable of str or None
        Which channels; None for those of the default file.

    Attributes
    ----------
    names : list of (str or None)
        Of the channels.
    places : list of (int, int)
        For each channel, which file holds it and as which band.
    shape : tuple of int
        Rows, columns and channels.
    dtype : numpy.dtype
        A type that holds those of all files.

    Raises
    ------
    UnknownChannelError
        If no file has such a channel.
    RecordError
        If the record contradicts itself or its files.
    """

    def __init__(self, store: Store, record: ImageRecord, channels: str | Iterable[str] | None) -> None:
        self._store = store
        self._record = record
        self._opened: dict[int, OpenAsset] = {}
        self.names, self.places = self._look_up(channels)
        size = image_size(record, lambda: self.raster(record.default).shape)
        self.shape = (*size, len(self.places))
        needed = sorted({asset for asset, _ in self.places} or {record.default})
        self.dtype = np.result_type(*(self.raster(asset).dtype for asset in needed))
        for asset in needed:
            self._check_grid(asset)

    @property
    def path(self) -> str:
        """The default file, to name in messages."""
        return self._record.default_asset.path

    def raster(self, asset: int) -> Raster:
        """Return one of its files, open."""
        opened = self._opened.get(asset)
        if opened is None:
            declared = self._record.assets[asset]
            opened = self._opened[asset] = self._store.open(declared)
            try:
                check_asset(declared, opened.raster.shape)
            except RecordError as error:
                mend_unlike(self._store, declared, opened, error)
                raise
        return opened.raster

    def _look_up(
        self, channels: str | Iterable[str] | None
    ) -> tuple[list[str | None], list[tuple[int, int]]]:
        """Return for each channel its name, and which band of which file holds it."""
        record = self._record
        if channels is None:
            default = record.default
            count = self.raster(default).shape[2]
            names = record.assets[default].channels or self.raster(default).channel_names or (None,) * count
            return list(names), [(default, band) for band in range(count)]
        known = record.places()
        if isinstance(channels, str) and channels == ALL:
            known = known or self._named_by_files(known)
            if not known:
                return self._look_up(None)
            return list(known), list(known.values())
        wanted = parse_channels(channels)
        if not known.keys() >= set(wanted):
            known = self._named_by_files(known)
        for name in wanted:
            if name not in known:
                raise unknown_channel(name, tuple(known), f"image {record.image_id!r}")
        return list(wanted), [known[name] for name in wanted]

    def _named_by_files(self, known: dict[str, tuple[int, int]]) -> dict[str, tuple[int, int]]:
        """Add the channels that only files name; a name that two of them have is none."""
        found: dict[str, list[tuple[int, int]]] = {}
        for number, asset in enumerate(self._record.assets):
            if asset.channels is None:
                for band, name in enumerate(self.raster(number).channel_names or ()):
                    found.setdefault(name, []).append((number, band))
        return {name: places[0] for name, places in found.items() if len(places) == 1} | known

    def _check_grid(self, number: int) -> None:
        """Refuse a file that cannot be laid on the grid of the image."""
        asset, shape = self._record.assets[number], self.raster(number).shape
        if asset.to_image is not None:
            if not invertible(asset.to_image):
                numbers = tuple(asset.to_image[:6])
                raise RecordError(
                    f"{asset.path}: its transform to the image, {numbers}, is singular; correct it."
                )
        elif shape[:2] != self.shape[:2]:
            error = RecordError(
                f"{asset.path}: has width={shape[1]}, height={shape[0]} and no transform, but its image has "
                f"width={self.shape[1]}, height={self.shape[0]}. Give the transform, or correct the size."
                f"{_turned_hint(self.shape[1], self.shape[0], shape)}"
            )
            for each in {number, self._record.default} & set(self._opened):  # either may be wrong
                mend_unlike(self._store, self._record.assets[each], self._opened[each], error)
            raise error

    def asset(self, number: int) -> Asset:
        """Return what the record says of one of its files."""
        return self._record.assets[number]

    @property
    def opened(self) -> list[tuple[Asset, OpenAsset]]:
        """The files that were opened so far."""
        return [(self._record.assets[number], opened) for number, opened in self._opened.items()]

    def dtype_of(self, options: ReadOptions) -> np.dtype[Any]:
        """Return the type of what `read` returns."""
        if options.dtype is not None:
            return options.dtype
        measured = options.dequantize and any(
            self._record.assets[asset].quantization is not None for asset, _ in self.places
        )
        return working_dtype(self.dtype) if measured or options.nodata == "float" else self.dtype

    def covered(self, asset: int, read: SourceRead, grid: OutputGrid) -> NDArray[np.bool_] | None:
        """Return which pixels of the target have their centre on the file; None for all."""
        to_image = self._record.assets[asset].to_image
        shape = self.raster(asset).shape[:2]
        if (
            to_image is None
            or not (to_image.b or to_image.d)
            or covers_image(to_image, shape, self.shape[:2])
        ):
            return None
        inverse = ~(Affine.translation(-read.target.col, -read.target.row) @ grid.from_image @ to_image)
        x, y = np.arange(read.target.width) + 0.5, (np.arange(read.target.height) + 0.5)[:, None]
        across = inverse.a * x + inverse.b * y + inverse.c
        down = inverse.d * x + inverse.e * y + inverse.f
        return np.asarray((across >= 0) & (across <= shape[1]) & (down >= 0) & (down <= shape[0]))


def image_size(record: ImageRecord, default_shape: Callable[[], tuple[int, int, int]]) -> tuple[int, int]:
    """Return rows and columns of the grid of an image.

    Parameters
    ----------
    record : ImageRecord
        The image.
    default_shape : callable
        Returns the shape of its default file; asked only where the record does not tell the size.
    """
    if record.width is not None and record.height is not None:
        return record.height, record.width
    rows, cols, _ = default_shape()
    width, height = (record.default_asset.to_image or IDENTITY) @ (cols, rows)
    return round(height), round(width)


def check_asset(asset: Asset, shape: tuple[int, int, int]) -> None:
    """Refuse a file that is not what its record declares.

    Raises
    ------
    RecordError
        Naming the file, what is declared and what it has.
    """
    if asset.channels is not None and len(asset.channels) != shape[2]:
        raise RecordError(
            f"{asset.path}: {len(asset.channels)} channel names are declared, but the file has "
            f"{shape[2]} bands. Name each band, or leave the names out."
        )
    if asset.bands is not None and asset.bands != shape[2]:
        raise RecordError(f"{asset.path}: num_bands={asset.bands} is declared, but the file has {shape[2]}.")
    if asset.width is not None or asset.height is not None:
        check_size(asset.path, asset.width, asset.height, shape)


def check_size(path: str, width: int | None, height: int | None, shape: tuple[int, int, int]) -> None:
    """Refuse a size that is not that of the file.

    Raises
    ------
    RecordError
        Naming the file and both sizes.
    """
    rows, cols, _ = shape
    if width not in (None, cols) or height not in (None, rows):
        raise RecordError(
            f"{path}: width={width}, height={height} are declared, but the file has width={cols}, "
            f"height={rows}. Correct the record, or leave the size out.{_turned_hint(width, height, shape)}"
        )


def _turned_hint(width: int | None, height: int | None, shape: tuple[int, int, int]) -> str:
    """Say what to do where a size is that of the picture as viewers turn it, or the other way round."""
    if shape[0] == shape[1] or (height, width) != (shape[1], shape[0]):
        return ""
    return (
        " Exchanged they fit: if the EXIF tag of the file turns it, and the size is that of what is shown, "
        'read it with orientation="upright".'
    )


def check_file_size(store: Store, record: ImageRecord, width: int | None, height: int | None) -> None:
    """Refuse an image whose default file has not the size that is known.

    Raises
    ------
    RecordError
        Naming the file and both sizes.
    """
    for option, value in (("width", width), ("height", height)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer | None):
            raise ConfigError(f"{option}={shown(value)}: must be a whole number, or None.")
    asset = record.default_asset

    def check() -> None:
        opened = store.open(asset)
        try:
            check_size(asset.path, width, height, opened.raster.shape)
        except RecordError as error:
            mend_unlike(store, asset, opened, error)
            raise

    planned_again(check)
