"""How much a file may declare: headers come from strangers, memory and time are ours."""

from __future__ import annotations

import contextlib
import functools
import math
import os
from dataclasses import dataclass

import numpy as np

from subregion.errors import ConfigError, TooLargeError

#: Decoded bytes of an image that is streamed; beyond, a header is taken for absurd.
MAX_IMAGE_BYTES = 1 << 40
#: Decoded bytes of an image that must be decoded in one piece.
MAX_WHOLE_BYTES = 4 << 30
#: Decoded bytes of one block.
MAX_BLOCK_BYTES = 2 << 30
#: A file that grows this many times on decoding, beyond `BOMB_BYTES`, is a bomb: deflate can reach 1032.
BOMB_RATIO = 800
BOMB_BYTES = 1 << 30
#: Some decoders give tens of megabytes in a second; for those it is so many times less.
_SLOW = 8
#: Bytes of a dataset as JSON.
MAX_JSON_BYTES = 16 << 30
#: The same as above for packed datasets, which are parsed as a whole: those of images grow 5 to 30 times.
JSON_BOMB_RATIO = 200
JSON_BOMB_BYTES = 64 << 20
#: An array of so many bytes is made without a look at how much memory there is.
SURELY_FITS = 256 << 20


def _limit(name: str, default: int) -> int:
    text = os.environ.get(name)
    if text is None:
        return default
    try:
        return int(text)
    except ValueError:
        raise ConfigError(f"the environment variable {name}={text!r} must be a number of bytes.") from None


def check_pixels(path: str, *sizes: int) -> None:
    """Refuse sizes (rows, columns, bytes per pixel) that no honest file declares.

    Raises
    ------
    TooLargeError
        Naming the file, what it declares, the limit, and the environment variable that raises it.
    """
    if min(sizes) < 1:
        return
    need = math.prod(sizes)
    limit = _limit("SUBREGION_MAX_IMAGE_BYTES", MAX_IMAGE_BYTES)
    if need > limit:
        raise TooLargeError(
            f"{path}: declares {_times(sizes)} = {need} bytes; the limit is {limit}. "
            f"If the file is to be trusted, set SUBREGION_MAX_IMAGE_BYTES."
        )


def check_bomb(path: str, file_size: int, need: int, slow: bool = False) -> None:
    """Refuse a compressed file that would grow out of all proportion.

    Parameters
    ----------
    path : str
        The file.
    file_size, need : int
        Its bytes, and those of its pixels.
    slow : bool
        Whether its decoder takes so long that less than that is too much.

    Raises
    ------
    TooLargeError
        Naming the file, what it declares, the limit, and the environment variable that raises it.
    """
    limit = _limit("SUBREGION_BOMB_BYTES", BOMB_BYTES)
    floor = limit // _SLOW if slow else limit
    if need > floor and need > BOMB_RATIO * file_size:
        raise TooLargeError(
            f"{path}: {file_size} bytes declare {need} bytes of pixels, {need // file_size} times as many; "
            f"more than {BOMB_RATIO} times is taken for a decompression bomb. "
            f"If the file is to be trusted, set SUBREGION_BOMB_BYTES (now {limit}) to "
            f"{need * _SLOW if slow else need} or more."
        )


def check_declared(path: str, file_size: int, declared: Declared) -> None:
    """Refuse a compressed picture that would have to be decoded in one piece, by what its header says.

    Raises
    ------
    TooLargeError
        Naming the file, what it declares, the limit, and the environment variable that raises it.
    """
    check_stored(path, file_size)
    check_pixels(path, declared.height, declared.width, declared.samples, declared.itemsize)
    sizes = f"{declared.height} rows x {declared.width} columns x {declared.samples} samples"
    _check_one_piece(path, sizes, declared.nbytes)
    check_bomb(path, file_size, declared.nbytes, slow=True)


def check_whole(path: str, rows: int, cols: int, bands: int, dtype: np.dtype[np.generic]) -> None:
    """Refuse an image that would have to be decoded in one piece and is too large for that.

    Raises
    ------
    TooLargeError
        Naming the file, what it declares, the limit, and the environment variable that raises it.
    """
    sizes = f"{rows} rows x {cols} columns x {bands} bands of {dtype}"
    _check_one_piece(path, sizes, rows * cols * bands * dtype.itemsize)


def _check_one_piece(path: str, sizes: str, need: int) -> None:
    limit = _limit("SUBREGION_MAX_WHOLE_BYTES", MAX_WHOLE_BYTES)
    if need > limit:
        raise TooLargeError(
            f"{path}: this kind of file is decoded in one piece, and {sizes} are {need} bytes; "
            f"the limit is {limit}. Raise SUBREGION_MAX_WHOLE_BYTES if the memory is there."
        )


def check_stored(path: str, nbytes: int) -> None:
    """Refuse stored bytes that would have to be held at once and are too many for that.

    Raises
    ------
    TooLargeError
        Naming the file, how many there are, the limit, and the environment variable that raises it.
    """
    limit = _limit("SUBREGION_MAX_WHOLE_BYTES", MAX_WHOLE_BYTES)
    if nbytes > limit:
        raise TooLargeError(
            f"{path}: {nbytes} bytes would have to be read in one piece; the limit is {limit}. "
            f"Raise SUBREGION_MAX_WHOLE_BYTES if the memory is there."
        )


def fits_whole(nbytes: int) -> bool:
    """Whether so many bytes may be held in one piece."""
    return nbytes <= _limit("SUBREGION_MAX_WHOLE_BYTES", MAX_WHOLE_BYTES)


def most_pixels() -> int:
    """Return how many pixels of three bytes may be decoded in one piece."""
    whole = _limit("SUBREGION_MAX_WHOLE_BYTES", MAX_WHOLE_BYTES)
    most = min(whole, _limit("SUBREGION_MAX_IMAGE_BYTES", MAX_IMAGE_BYTES)) // 3
    return max(1, min(most, 1 << 30))  # decoders count them in 31 bits


def check_block(path: str, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> None:
    """Refuse a block that is too large to be decoded.

    Raises
    ------
    TooLargeError
        Naming the file, what it declares, the limit, and the environment variable that raises it.
    """
    need = math.prod(shape) * dtype.itemsize
    limit = _limit("SUBREGION_MAX_BLOCK_BYTES", MAX_BLOCK_BYTES)
    if need > limit:
        raise TooLargeError(
            f"{path}: declares blocks of {_times(shape)} samples of {dtype} = {need} bytes; "
            f"the limit is {limit}. If the file is to be trusted, set SUBREGION_MAX_BLOCK_BYTES."
        )


def _times(sizes: tuple[int, ...]) -> str:
    return " x ".join(str(size) for size in sizes)


def check_json(path: str, count: int, packed: int | None) -> None:
    """Refuse a dataset that is too large, or grows out of all proportion when it is unpacked.

    Parameters
    ----------
    path : str
        The file.
    count : int
        Bytes of JSON so far.
    packed : int or None
        Those of the file that they are unpacked from; None if it is not packed.

    Raises
    ------
    TooLargeError
        Naming the file, the limit, and the environment variable that raises it.
    """
    limit = _limit("SUBREGION_MAX_JSON_BYTES", MAX_JSON_BYTES)
    if count > limit:
        raise TooLargeError(
            f"{path}: holds more than {limit} bytes of JSON. "
            f"If the file is to be trusted, set SUBREGION_MAX_JSON_BYTES."
        )
    floor = _limit("SUBREGION_BOMB_BYTES", JSON_BOMB_BYTES)
    if packed is not None and count > floor and count > JSON_BOMB_RATIO * packed:
        raise TooLargeError(
            f"{path}: {packed} bytes grow to {count} and more; over {JSON_BOMB_RATIO} times is taken for "
            f"a decompression bomb. If the file is to be trusted, set SUBREGION_BOMB_BYTES (now {floor})."
        )


def check_result(path: str, *sizes: int) -> None:
    """Refuse to make arrays (shapes, and bytes of a sample) that the memory of this machine cannot hold.

    Raises
    ------
    TooLargeError
        Naming the file, the size, the limit, and the environment variable that raises it.
    """
    need = math.prod(sizes)
    if need <= SURELY_FITS:
        return
    limit = _limit("SUBREGION_MAX_RESULT_BYTES", _memory())
    if need > limit:
        raise TooLargeError(
            f"{path}: {_times(sizes)} = {need} bytes are needed at once; the limit is {limit}, by default "
            f"the memory that is there. Read less, or at a smaller scale, or set SUBREGION_MAX_RESULT_BYTES."
        )


@functools.cache
def _memory() -> int:
    """Return the bytes of memory that this process may have: of the machine, or of its control group."""
    try:
        found = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return MAX_IMAGE_BYTES
    for place in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError), open(place, "rb") as file:
            found = min(found, int(file.read(32)))  # "max" is no number
    return found


@dataclass(frozen=True, slots=True)
class Declared:
    """What a header says.

    Parameters
    ----------
    height, width : int
        Size in pixels.
    samples : int
        How many samples a decoder makes of a pixel, at most.
    itemsize : int
        How many bytes each of them takes, at most.
    tables : int
        How many bytes the decoder takes besides, for what the header lists.
    """

    height: int
    width: int
    samples: int
    itemsize: int
    tables: int = 0

    @property
    def nbytes(self) -> int:
        """Bytes that decoding takes, at most."""
        return self.height * self.width * self.samples * self.itemsize + self.tables
