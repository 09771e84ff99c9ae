"""Sources of every kind, each with the pixels that it was made of, or that Pillow finds in it."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[Any]
Writer = Callable[[Path, Pixels], "Pixels | None"]


def content(seed: int, height: int = 360, width: int = 480, bands: int = 3) -> NDArray[np.uint8]:
    """Make a picture that resembles one: areas, gradients, some noise; no two seeds alike anywhere large."""
    rng = np.random.default_rng(seed)
    side = 24
    areas = rng.integers(20, 200, (-(-height // side), -(-width // side), bands), np.uint8)
    picture = np.kron(areas, np.ones((side, side, 1), np.uint8))[:height, :width]
    picture = picture + np.linspace(0, 30, width).astype(np.uint8)[None, :, None]
    picture += rng.integers(0, 12, (height, width, bands), np.uint8)
    return picture.astype(np.uint8)


def _by_pillow(suffix_options: dict[str, Any], lossy: bool) -> Writer:
    def write(path: Path, pixels: Pixels) -> Pixels | None:
        from PIL import Image

        image: Any = Image.fromarray(pixels)
        image.save(path, **suffix_options)
        if not lossy:
            return None
        with Image.open(path) as decoded:
            return np.asarray(decoded.convert("RGB"))

    return write


def _png16(path: Path, pixels: Pixels) -> Pixels:
    from PIL import Image

    wide = pixels[..., 0].astype(np.uint16) * 257
    Image.fromarray(wide).save(path)
    return wide[..., None]


def _tiff(**options: Any) -> Writer:
    def write(path: Path, pixels: Pixels) -> None:
        import tifffile

        tifffile.imwrite(path, pixels, photometric="rgb", metadata=None, **options)

    return write


def _npy(path: Path, pixels: Pixels) -> None:
    np.save(path, pixels)


def _zarr(chunks: tuple[int, int, int] | None, **options: Any) -> Writer:
    def write(path: Path, pixels: Pixels) -> None:
        import zarr

        made = zarr.create_array(
            path, shape=pixels.shape, dtype=pixels.dtype, chunks=chunks or pixels.shape, **options
        )
        made[...] = pixels

    return write


def _jxl(path: Path, pixels: Pixels) -> None:
    import imagecodecs

    path.write_bytes(imagecodecs.jpegxl_encode(pixels, lossless=True))


def _video(path: Path, pixels: Pixels) -> None:
    import av

    with av.open(str(path), "w") as out:
        stream: Any = out.add_stream("ffv1", rate=25)
        stream.height, stream.width = pixels.shape[:2]
        stream.pix_fmt = "bgr0"
        stream.thread_count = 1
        for shift in range(4):
            frame = av.VideoFrame.from_ndarray(np.roll(pixels, shift, 0), format="rgb24")
            out.mux(stream.encode(frame))
        out.mux(stream.encode())


WRITERS: dict[str, tuple[str, Writer]] = {
    "png": (".png", _by_pillow({"compress_level": 1}, lossy=False)),
    "png16": (".png", _png16),
    "bmp": (".bmp", _by_pillow({}, lossy=False)),
    "jpeg": (".jpg", _by_pillow({"quality": 90}, lossy=True)),
    "jpeg-progressive": (".jpg", _by_pillow({"progressive": True}, lossy=True)),
    "jpeg-intervals": (".jpg", _by_pillow({"restart_marker_rows": 1}, lossy=True)),
    "webp": (".webp", _by_pillow({"lossless": True, "method": 0}, lossy=False)),
    "jp2": (".jp2", _by_pillow({}, lossy=False)),
    "avif": (".avif", _by_pillow({"speed": 10}, lossy=True)),
    "jxl": (".jxl", _jxl),
    "tiff-strips": (".tif", _tiff(rowsperstrip=16)),
    "tiff-zstd": (".tif", _tiff(tile=(128, 128), compression="zstd")),
    "tiff-deflate": (".tif", _tiff(rowsperstrip=64, compression="zlib", predictor=2)),
    "npy": (".npy", _npy),
    "zarr": (".zarr", _zarr((128, 128, 3))),
    "zarr-raw": (".zarr", _zarr(None, compressors=None, filters=None)),
    "video": (".mkv", _video),
}
#: One of each decoder.
KINDS = (
    "png",
    "jpeg",
    "jpeg-progressive",
    "webp",
    "tiff-zstd",
    "tiff-deflate",
    "npy",
    "zarr",
    "jxl",
    "jp2",
    "avif",
)


def kinds(wanted: Iterable[str] = KINDS) -> list[str]:
    """List the kinds, and video where it can be read."""
    return [*wanted, *(["video"] if importlib.util.find_spec("av") is not None else [])]


def write(path: Path, kind: str, pixels: Pixels) -> Pixels:
    """Write a source and return its pixels, (rows, columns, bands)."""
    found = WRITERS[kind][1](path, pixels)
    return pixels if found is None else found


class Sources:
    """Sources in a folder, and beside them their pixels as `.npy`.

    Parameters
    ----------
    folder : path
        Where they are; the same in every process.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def add(self, name: str, kind: str, pixels: Pixels) -> None:
        """Write one more."""
        for part in ("files", "pixels"):
            (self.folder / part).mkdir(parents=True, exist_ok=True)
        suffix = WRITERS[kind][0]
        found = write(self.folder / "files" / f"{name}{suffix}", kind, pixels)
        np.save(self.folder / "pixels" / f"{name}{suffix}.npy", found)

    @property
    def paths(self) -> dict[str, str]:
        """The path of each."""
        return {path.name: str(path) for path in sorted((self.folder / "files").iterdir())}

    def pixels(self, name: str) -> Pixels:
        """The pixels of one."""
        found: Pixels = np.load(self.folder / "pixels" / f"{name}.npy")
        return found


def make(folder: Path, wanted: Iterable[str], each: int = 1, seed: int = 0, **size: int) -> Sources:
    """Write sources of several kinds, named ``KIND-NUMBER.suffix``."""
    sources = Sources(folder)
    for kind in wanted:
        for number in range(each):
            sources.add(f"{kind}-{number}", kind, content(seed + 100 * number + hash_of(kind), **size))
    return sources


def hash_of(text: str) -> int:
    """Give a small number that depends on nothing but the text."""
    return sum(text.encode())
