"""Pixels of a sample: one window of an image, or of many frames, as one array or file by file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from subregion.collections.video import VideoCollection
from subregion.errors import TargetError, UnknownChannelError, shown
from subregion.geometry.channels import ALL, parse_channels
from subregion.libraries import needed, xarray
from subregion.records import ImageRecord
from subregion.sampling.targets.options import PLAIN, SampleOptions
from subregion.sampling.targets.targets import Target


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """What one file of a frame holds of a sample, at its own resolution.

    Parameters
    ----------
    pixels : ndarray, shape (rows, columns, channels)
        The pixels.
    channels : tuple of str
        Their names.
    scale : tuple of float
        Pixels of it for each pixel of the image or the video, along x and y.
    """

    pixels: NDArray[Any]
    channels: tuple[str, ...]
    scale: tuple[float, float]


class Pixels(NamedTuple):
    """The pixels of a sample.

    Parameters
    ----------
    array : ndarray, or None
        Shape (rows, columns, channels), or (frames, rows, columns, channels) of a stack.
    parts : tuple of tuple of Part
        Of each frame, if each file was read at its own resolution.
    channels : tuple of (str or None), or None
        Names of the channels; None if nobody asked for them yet.
    missing : tuple of (image id, channel)
        What was filled, because the image lacks the channel.
    scales : tuple of (float, float)
        Pixels of the sample for each of the image or the video, along x and y, of each frame.
    """

    array: NDArray[Any] | None
    parts: tuple[tuple[Part, ...], ...]
    channels: tuple[str | None, ...] | None
    missing: tuple[tuple[Any, str], ...]
    scales: tuple[tuple[float, float], ...]


_UNSCALED = ((1.0, 1.0),)


def read_pixels(frames: VideoCollection, target: Target) -> Pixels:
    """Read the pixels of a target.

    Parameters
    ----------
    frames : VideoCollection
        The images.
    target : Target
        What is to be read.

    Returns
    -------
    Pixels
        Of the type of the files, or that of the options; owned by the caller.

    Raises
    ------
    TargetError
        If pixels cannot hold the number that stands for nodata, or frames have samples of different shapes.
    UnknownChannelError
        If a channel is unknown, and only the file names its channels; otherwise it is filled, and missing.
    SubregionError
        As for `Frames.load_region`.
    """
    options = target.options
    if options is PLAIN and not target.stacked:  # nearly always, and then nothing else may take time
        image = frames.load_region(target.image_ids[0], target.padded)
        return Pixels(image, (), None, (), _UNSCALED)
    if options.native:
        return _read_joined(frames, target) if options.joined else _read_native(frames, target)
    scales = (options.scale,) * len(target.image_ids)
    if not target.stacked and not _floats_outside(options):
        try:
            array = frames.load_region(
                target.image_ids[0],
                target.padded,
                options.channels,
                scale=_rows_first(options.scale),
                **options.reading,
            )
            return Pixels(_finished(array, options), (), None, (), scales)
        except UnknownChannelError:
            if not frames.record(target.image_ids[0]).places():  # only the file names its channels
                raise
    array, channels, missing = _read_stack(frames, target, target.image_ids, options.scale)
    return Pixels(array if target.stacked else array[0], (), channels, missing, scales)


def channel_names(frames: VideoCollection, target: Target) -> tuple[str | None, ...]:
    """Return the names of the channels of an image that was read without asking for them."""
    channels = target.options.channels
    record = frames.record(target.image_ids[0])
    known = tuple(record.places())
    if channels == ALL and known:
        return known
    if channels is None or channels == ALL:
        named = record.default_asset.channels
        if named is not None:
            return named
        return (None,) * frames.load_alignable(target.image_ids[0]).shape[2]
    return parse_channels(channels)


def _rows_first(scale: tuple[float, float]) -> Any:
    return 1 if scale == (1, 1) else (scale[1], scale[0])


def _floats_outside(options: SampleOptions) -> bool:
    """Whether integers are wanted as floats, with NaN outside."""
    fill, dtype = options.fill, options.dtype
    nan = isinstance(fill, float) and math.isnan(fill)
    return nan and dtype is not None and dtype.kind == "f" and options.nodata is None


def _read_stack(
    frames: VideoCollection,
    target: Target,
    image_ids: Sequence[Any],
    scale: tuple[float, float],
    channels: Any = None,
) -> tuple[NDArray[Any], tuple[str | None, ...], tuple[tuple[Any, str], ...]]:
    """Read frames as one array; return also the names of channels, and what is missing."""
    options = target.options
    channels = options.channels if channels is None else channels
    if channels is None and target.stacked:
        channels = ALL
    clip = frames.load_stack(
        image_ids,
        target.padded,
        channels,
        space="video" if target.stacked else "image",
        scale=_rows_first(scale),
        at_least=options.dtype if _floats_outside(options) else None,
        **options.reading,
    )
    missing = tuple(
        (clip.image_ids[frame], str(clip.channels[channel]))
        for frame, channel in zip(*np.nonzero(clip.missing), strict=True)
    )
    return _finished(clip.pixels, options), clip.channels, tuple(dict.fromkeys(missing))


def _finished(array: NDArray[Any], options: SampleOptions) -> NDArray[Any]:
    """Put a number where there is no pixel, and cast."""
    if isinstance(options.nodata, Real):
        array = _filled(array, options.nodata)
    if options.dtype is not None and array.dtype != options.dtype:
        if options.dtype.kind in "iu" and array.dtype.kind == "f":
            array = np.nan_to_num(array, nan=0)  # what lies outside is 0 for integers
        array = array.astype(options.dtype)
    return array


def _filled(array: NDArray[Any], value: Any) -> NDArray[Any]:
    if array.dtype.kind in "iu" and not (
        np.iinfo(array.dtype).min <= value <= np.iinfo(array.dtype).max and float(value).is_integer()
    ):
        raise TargetError(f"target: nodata={shown(value)}: pixels of {array.dtype} cannot hold it.")
    masked = np.ma.asarray(array)
    data = masked.data
    data[np.ma.getmaskarray(masked)] = value
    return data


def _grid_record(frames: VideoCollection, image_id: Any, stacked: bool) -> ImageRecord:
    record = frames.record(image_id)
    return record.in_video() if stacked and record.video is not None else record


def _runs(record: ImageRecord, channels: Any) -> list[tuple[int | None, tuple[str, ...]]]:
    """Return the runs of channels that lie in one file each, in the order in which they are wanted."""
    known = record.places()
    names = tuple(known) if channels is None or channels == ALL else parse_channels(channels)
    if not names:
        return [(record.default, ())]  # bands without names
    runs: list[tuple[int | None, list[str]]] = []
    for name in names:
        asset = known[name][0] if name in known else None
        if not runs or runs[-1][0] != asset:
            runs.append((asset, []))
        runs[-1][1].append(name)
    return [(asset, tuple(run)) for asset, run in runs]


def _native_scale(record: ImageRecord, asset: int) -> tuple[float, float]:
    """Return how many pixels a file has for each of the image or the video, along x and y."""
    matrix: Affine | None = record.assets[asset].to_image
    if matrix is None:
        return 1.0, 1.0
    across, down = 1 / math.hypot(matrix.a, matrix.d), 1 / math.hypot(matrix.b, matrix.e)
    return _rounded(across), _rounded(down)


def _rounded(scale: float) -> float:
    return 1.0 if abs(scale - 1) < 1e-9 else scale


def _read_native(frames: VideoCollection, target: Target) -> Pixels:
    """Read each file at its own resolution."""
    options = target.options
    missing: dict[tuple[Any, str], None] = {}
    parts = []
    for image_id in target.image_ids:
        record = _grid_record(frames, image_id, target.stacked)
        found = []
        for asset, run in _runs(record, options.channels):
            if asset is None:
                missing |= dict.fromkeys((image_id, name) for name in run)
                found.append(Part(_nothing(frames, image_id, options, len(run)), run, options.scale))
                continue
            across, down = _native_scale(record, asset)
            scale = across * options.scale[0], down * options.scale[1]
            array, _, _ = _read_stack(frames, target, [image_id], scale, run or None)
            found.append(Part(array[0], run, scale))
        parts.append(tuple(found))
    return Pixels(None, tuple(parts), None, tuple(missing), (options.scale,) * len(parts))


def _nothing(frames: VideoCollection, image_id: Any, options: SampleOptions, count: int) -> NDArray[Any]:
    """Return one pixel of a channel that is not there."""
    if options.nodata == "float":
        array = np.full((1, 1, count), np.nan, np.float32)
        return _finished(array, options)
    dtype = frames.load_alignable(image_id).dtype
    empty: NDArray[Any] = np.full((1, 1, count), np.nan if dtype.kind == "f" else 0, dtype)
    if options.nodata is not None:
        empty = np.ma.MaskedArray(empty, mask=True)
    return _finished(empty, options)


def _read_joined(frames: VideoCollection, target: Target) -> Pixels:
    """Read all files of each frame at the resolution of its finest."""
    options = target.options
    scales, names = [], dict[str, None]()
    for image_id in target.image_ids:
        record = _grid_record(frames, image_id, target.stacked)
        runs = _runs(record, options.channels)
        natives = [_native_scale(record, asset) for asset, _ in runs if asset is not None] or [(1.0, 1.0)]
        across, down = max(natives, key=math.prod)
        scales.append((across * options.scale[0], down * options.scale[1]))
        names |= dict.fromkeys(name for _, run in runs for name in run)
    wanted = options.channels
    if target.stacked and (wanted is None or wanted == ALL):
        wanted = tuple(names)
    if len(set(scales)) == 1:
        array, channels, missing = _read_stack(frames, target, target.image_ids, scales[0], wanted)
    else:
        reads = [
            _read_stack(frames, target, [image_id], scale, wanted)
            for image_id, scale in zip(target.image_ids, scales, strict=True)
        ]
        shapes = {each[0].shape for each in reads}
        if len(shapes) > 1:
            raise TargetError(
                f"target: realign_native='largest': frames have different resolutions, so samples of "
                f"{sorted(shape[1:3] for shape in shapes)} (rows, columns); give scale instead."
            )
        join = np.ma.concatenate if options.nodata == "ma" else np.concatenate
        array = join([each[0] for each in reads])
        channels = reads[0][1]
        missing = tuple(dict.fromkeys(pair for each in reads for pair in each[2]))
    return Pixels(array if target.stacked else array[0], (), channels, missing, tuple(scales))


def with_names(array: NDArray[Any], names: Sequence[str | None] | None) -> Any:
    """Return pixels as an array with names.

    Parameters
    ----------
    array : ndarray, shape (rows, columns, channels) or (frames, rows, columns, channels)
        The pixels.
    names : sequence of (str or None), or None
        Of the channels; they become coordinates if all are known.

    Returns
    -------
    xarray.DataArray
        With the dimensions y, x and c, and t in front of a stack.

    Raises
    ------
    MissingPackageError
        If xarray is not installed.
    """
    needed(xarray, "as_xarray")
    dims = ("t", "y", "x", "c")[-array.ndim :]
    coords = {"c": list(names)} if names is not None and None not in names else {}
    return xarray.DataArray(array, dims=dims, coords=coords)
