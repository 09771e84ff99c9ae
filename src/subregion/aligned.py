"""Channels of several files, lined up by their transforms: planned first, then read and drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from subregion.errors import DamagedFileError, MendedError, RecordError, SubregionError
from subregion.geometry.bilinear import TOGETHER
from subregion.geometry.channels import ALL, parse_channels
from subregion.geometry.plan import AssetRead, OutputGrid, covers_image, plan_asset
from subregion.geometry.resample import Filter, working_dtype
from subregion.geometry.window import Window
from subregion.layers import Canvas, Drawing, Layer
from subregion.raster.limits import check_result
from subregion.records import Asset, ImageRecord, invertible, unknown_channel

if TYPE_CHECKING:
    from subregion.cache.store import OpenAsset, Store
    from subregion.raster.raster import Raster


_IDENTITY = Affine.identity()

T = TypeVar("T")


def planned_again(read: Callable[[], T], mended: list[str] | None = None) -> T:
    """Carry out a read, and all of it again whenever a damaged copy was made anew on the way.

    What a damaged copy said of its shape may have been wrong, and with it everything that was derived.

    Parameters
    ----------
    read : callable
        Opens, plans and reads.
    mended : list of str or None
        The sources whose copies were made anew are added.
    """
    seen: set[str] = set()
    while True:
        try:
            return read()
        except MendedError as error:
            if error.path in seen:
                raise
            seen.add(error.path)
            if mended is not None:
                mended.append(error.path)


def mend(store: Store, asset: Asset, opened: OpenAsset, error: SubregionError) -> MendedError:
    """Make a damaged copy anew; raise what was found if the damage is in the source, which is the user's."""
    if store.reopen(asset, opened) is None:
        raise error
    return MendedError(
        f"{asset.path}: its converted copy is damaged, and so was the one before. "
        f"Check the disk of the cache, {store.folder.path}.",
        asset.path,
    )


def mend_unlike(store: Store, asset: Asset, opened: OpenAsset, error: SubregionError) -> None:
    """Make a copy anew that is unlike its source, where it contradicts what is known of the image.

    Raises
    ------
    MendedError
        If that is so.
    """
    if opened.entry is not None and _is_unlike(store, asset, opened.raster):
        raise mend(store, asset, opened, error) from error


def _is_unlike(store: Store, asset: Asset, copy: Raster) -> bool:
    """Whether a copy has another shape than its source, as far as there is a source."""
    try:
        return store.in_place.open(asset).raster.shape != copy.shape
    except SubregionError:
        return False


class AlignedImage:
    """The open files of one image, seen as one array on the grid of the image.

    Parameters
    ----------
    store : Store
        Where converted copies are.
    record : ImageRecord
        The image.
    channels : str, iterable of str or None
        Which channels; None for those of the default file.

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
        self.names, self._places = self._look_up(channels)
        height, width = self._size()
        self.shape = (height, width, len(self._places))
        needed = sorted({asset for asset, _ in self._places} or {record.default})
        self.dtype = np.result_type(*(self._raster(asset).dtype for asset in needed))
        for asset in needed:
            self._check_grid(asset)

    @property
    def path(self) -> str:
        """The default file, to name in messages."""
        return self._record.default_asset.path

    def _raster(self, asset: int) -> Raster:
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
        known = record.places()
        if channels is None:
            default = record.default
            count = self._raster(default).shape[2]
            names = record.assets[default].channels or (None,) * count
            return list(names), [(default, band) for band in range(count)]
        if isinstance(channels, str) and channels == ALL:
            if not known:
                return self._look_up(None)
            return list(known), list(known.values())
        wanted = parse_channels(channels)
        for name in wanted:
            if name not in known:
                raise unknown_channel(name, tuple(known), f"image {record.image_id!r}")
        return list(wanted), [known[name] for name in wanted]

    def _size(self) -> tuple[int, int]:
        """Return rows and columns of the image."""
        record = self._record
        if record.width is not None and record.height is not None:
            height, width = record.height, record.width
        else:
            asset = record.default_asset
            rows, cols, _ = self._raster(record.default).shape
            corner = (asset.to_image or _IDENTITY) @ (cols, rows)
            width, height = round(corner[0]), round(corner[1])
        return height, width

    def _check_grid(self, number: int) -> None:
        """Refuse a file that cannot be laid on the grid of the image."""
        asset, shape = self._record.assets[number], self._raster(number).shape
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
            )
            for each in {number, self._record.default} & set(self._opened):  # either may be wrong
                mend_unlike(self._store, self._record.assets[each], self._opened[each], error)
            raise error

    def read(
        self,
        window: Window,
        drawing: Drawing,
        bands: Iterable[int] | None = None,
        part: Window | None = None,
    ) -> NDArray[Any]:
        """Read a window of the image.

        Parameters
        ----------
        window : Window
            In pixels of the image; may leave it.
        drawing : Drawing
            Scale, filters, fill.
        bands : iterable of int or None
            Which of the channels; None for all.
        part : Window or None
            Which pixels of the result, as if it had been cropped; None for all.

        Returns
        -------
        ndarray or numpy.ma.MaskedArray, shape (rows, columns, channels)
            C-contiguous, owned by the caller.
        """
        chosen = range(len(self._places)) if bands is None else list(bands)
        grid = OutputGrid.of(window, drawing.scale)
        if part is not None:
            grid = grid.part(part)
        whole = Window(0, 0, grid.height, grid.width)
        layers = list(self._layers(chosen, grid, drawing)) if chosen else []
        covered = all(layer.step.target == whole and layer.shown is None for layer in layers)
        dtype = self.dtype_of(drawing)
        check_result(self.path, *grid.shape, len(chosen), dtype.itemsize)
        canvas = Canvas((*grid.shape, len(chosen)), dtype, drawing, covered)
        together: dict[Any, list[Layer]] = {}
        for layer in layers:
            if layer.step.target.empty:
                continue
            straight = canvas.straight(layer)
            if straight is not None:
                self._read_into(layer, straight)
            elif canvas.interpolates(layer):
                bundle = together.setdefault(id(layer.step), [])
                if sum(len(other.places) for other in (*bundle, layer)) > TOGETHER:
                    self._draw_together(bundle, canvas)
                    bundle.clear()
                bundle.append(layer)
            else:
                shape = (*layer.step.source.shape, len(layer.places))
                check_result(self._raster(layer.asset).path, *shape, layer.dtype.itemsize)
                source = np.empty(shape, layer.dtype)
                self._read_into(layer, source)
                canvas.draw(layer, source)
        for bundle in together.values():
            self._draw_together(bundle, canvas)
        return canvas.finish()

    @property
    def places(self) -> list[tuple[int, int]]:
        """For each channel, which file holds it and as which band."""
        return list(self._places)

    def dtype_of(self, drawing: Drawing) -> np.dtype[Any]:
        """Return the type of what `read` returns."""
        if drawing.dtype is not None:
            return drawing.dtype
        measured = drawing.dequantize and any(
            self._record.assets[asset].quantization is not None for asset, _ in self._places
        )
        return working_dtype(self.dtype) if measured or drawing.nodata == "float" else self.dtype

    def _groups(self, chosen: Iterable[int], drawing: Drawing) -> dict[tuple[int, Filter], list[int]]:
        """Collect the channels that come from one file by one filter; values are places in the result."""
        groups: dict[tuple[int, Filter], list[int]] = {}
        for place, channel in enumerate(chosen):
            key = self._places[channel][0], drawing.filter_of(self.names[channel])
            groups.setdefault(key, []).append(place)
        return groups

    def _layers(self, chosen: Sequence[int], grid: OutputGrid, drawing: Drawing) -> Iterator[Layer]:
        """Plan what each file gives; files that lie alike share one plan."""
        plans: dict[Any, AssetRead] = {}
        for (number, filter_), places in self._groups(chosen, drawing).items():
            asset, raster = self._record.assets[number], self._raster(number)
            to_image, levels = asset.to_image or _IDENTITY, raster.level_shapes
            key = to_image, levels, filter_.name
            step = plans.get(key)
            if step is None:
                step = plan_asset(grid, to_image, levels, self.shape[:2], filter_, drawing.antialias)
                plans[key] = step
            bands = tuple(self._places[chosen[place]][1] for place in places)
            yield Layer(
                number,
                None if bands == tuple(range(raster.shape[2])) else bands,
                tuple(places),
                step,
                filter_,
                raster.dtype,
                raster.nodata if asset.nodata is None else asset.nodata,
                asset.quantization if drawing.dequantize else None,
                self._inside(number, step, grid),
            )

    def _draw_together(self, layers: Sequence[Layer], canvas: Canvas) -> None:
        """Read layers of one step side by side and interpolate them in one go."""
        count = sum(len(layer.places) for layer in layers)
        # Two or three bands are slower to interpolate than four.
        shape = (*layers[0].step.source.shape, 1 if count == 1 else TOGETHER)
        check_result(self.path, *shape, canvas.pixels.itemsize)
        source = np.zeros(shape, canvas.pixels.dtype)
        first = 0
        for layer in layers:
            self._read_into(layer, source[..., first : first + len(layer.places)])
            first += len(layer.places)
        canvas.draw_together(layers, source)

    def _read_into(self, layer: Layer, out: NDArray[Any]) -> None:
        """Read a layer's part of its file; a damaged copy is made anew from the source."""
        step = layer.step
        try:
            self._raster(layer.asset).read_into(step.source, out, layer.bands, level=step.level)
        except DamagedFileError as error:
            asset, opened = self._record.assets[layer.asset], self._opened[layer.asset]
            raise mend(self._store, asset, opened, error) from error

    def _inside(self, asset: int, step: AssetRead, grid: OutputGrid) -> NDArray[np.bool_] | None:
        """Return which pixels of the target have their centre on the file; None for all."""
        to_image = self._record.assets[asset].to_image
        shape = self._raster(asset).shape[:2]
        if (
            to_image is None
            or not (to_image.b or to_image.d)
            or covers_image(to_image, shape, self.shape[:2])
        ):
            return None
        inverse = ~(Affine.translation(-step.target.col, -step.target.row) @ grid.from_image @ to_image)
        x, y = np.arange(step.target.width) + 0.5, (np.arange(step.target.height) + 0.5)[:, None]
        across = inverse.a * x + inverse.b * y + inverse.c
        down = inverse.d * x + inverse.e * y + inverse.f
        return np.asarray((across >= 0) & (across <= shape[1]) & (down >= 0) & (down <= shape[0]))

    def crops(self, window: Window) -> list[tuple[NDArray[Any], Affine, tuple[str | None, ...]]]:
        """Read what each file holds of a window, unresampled, with the transform to the window."""
        found = []
        for layer in self._layers(range(len(self._places)), OutputGrid.of(window), Drawing(antialias=False)):
            step = layer.step
            to_window = Affine.translation(step.target.col, step.target.row) @ (step.to_target or _IDENTITY)
            shape = (*step.source.shape, len(layer.places))
            check_result(self._raster(layer.asset).path, *shape, layer.dtype.itemsize)
            pixels = np.empty(shape, layer.dtype)
            if not step.source.empty:
                self._read_into(layer, pixels)
            found.append((pixels, to_window, tuple(self.names[place] for place in layer.places)))
        return found


class DrawnImage:
    """An aligned image with one way of drawing, read like a file.

    Parameters
    ----------
    image : AlignedImage
        The image.
    drawing : Drawing
        At scale 1 and without a mask.
    """

    def __init__(self, image: AlignedImage, drawing: Drawing) -> None:
        self._image = image
        self._drawing = drawing
        self.path = image.path
        self.shape = image.shape
        self.dtype = image.dtype_of(drawing)

    def read_into(self, window: Window, out: NDArray[Any], bands: list[int] | None = None) -> None:
        """Read a window that lies inside the image."""
        out[...] = self._image.read(window, self._drawing, bands)


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
            f"height={rows}. Correct the record, or leave the size out."
        )
