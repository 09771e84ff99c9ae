"""Where the pixels of batches go: masks stay, and memory of the caller is filled or refused."""

from __future__ import annotations

import array
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pictures import KINDS
from subregion import CocoFrames, SimpleFrames, Window
from subregion.errors import ConfigError

MANY = 70  # images; more than are open at the same time


@pytest.fixture
def holes(photograph: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A small picture in which some values mean "no pixel"."""
    pixels = np.ascontiguousarray(photograph[100:140, 100:150])
    pixels[5:9, 3:20] = 7
    return pixels


@pytest.fixture
def many(tmp_path: Path, holes: NDArray[np.uint8]) -> CocoFrames:
    """So many images, all frames of one video."""
    images = []
    for k in range(MANY):
        Image.fromarray(np.roll(holes, k, axis=0)).save(tmp_path / f"{k}.png")
        images.append({
            "id": k, "file_name": f"{k}.png", "nodata": 7, "video_id": 1, "frame_index": k,
            "width": 50, "height": 40,
        })  # fmt: skip
    dataset = {"images": images, "videos": [{"id": 1, "width": 50, "height": 40}]}
    return CocoFrames(dataset, backend=None, root=tmp_path)


@pytest.fixture
def expected(holes: NDArray[np.uint8]) -> np.ma.MaskedArray[Any, Any]:
    return np.ma.masked_equal(np.stack([np.roll(holes, k, axis=0) for k in range(MANY)]), 7)


def same(got: Any, expected: Any) -> None:
    assert isinstance(got, np.ma.MaskedArray) is isinstance(expected, np.ma.MaskedArray)
    np.testing.assert_array_equal(np.ma.getmaskarray(got), np.ma.getmaskarray(expected))
    np.testing.assert_array_equal(np.ma.filled(got, 0), np.ma.filled(expected, 0))


@pytest.mark.parametrize("count", [3, MANY])
def test_a_mask_stays_however_many_images(count: int, many: CocoFrames, expected: Any) -> None:
    wanted = [(k, None) for k in range(count)]
    same(many.load_regions(wanted, nodata="ma"), expected[:count])
    same(many.load_clip(1, (slice(count),), nodata="ma"), expected[:count])
    several: list[Any] = [*wanted, (0, slice(0, 9))]
    got = many.load_regions(several, nodata="ma")
    assert isinstance(got, list)
    for part, whole in zip(got, [*expected[:count], expected[0, :9]], strict=True):
        same(part, whole)


@pytest.mark.parametrize("count", [3, MANY])
def test_a_masked_out_gets_the_mask_and_a_plain_one_is_refused(
    count: int, many: CocoFrames, expected: Any
) -> None:
    wanted = [(k, None) for k in range(count)]
    out: Any = np.ma.MaskedArray(np.full((count, 40, 50, 3), 99, np.uint8), mask=True)
    assert many.load_regions(wanted, nodata="ma", out=out) is out
    same(out, expected[:count])
    out[...] = np.ma.masked
    many.load_regions(wanted, out=out)
    assert not np.ma.getmaskarray(out).any()
    np.testing.assert_array_equal(out.data, expected.data[:count])
    with pytest.raises(ConfigError, match=r"numpy\.ma\.MaskedArray, or write nodata='float'"):
        many.load_regions(wanted, nodata="ma", out=np.zeros((count, 40, 50, 3), np.uint8))
    masked = np.ma.MaskedArray(np.zeros((count, 40, 50, 3), np.uint8))
    masked.flags.writeable = False
    with pytest.raises(ConfigError, match="read-only"):
        many.load_regions(wanted, nodata="ma", out=masked)


class Tensor:
    """What tensors of other libraries do: they share their memory with NumPy when asked."""

    def __init__(self, shape: tuple[int, ...], dtype: str = "u1") -> None:
        self.memory = np.zeros(shape, dtype)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self.memory if dtype is None else self.memory.astype(dtype)


class Interface:
    def __init__(self, shape: tuple[int, ...]) -> None:
        self.memory = np.zeros(shape, np.uint8)
        self.__array_interface__ = self.memory.__array_interface__


class OnADevice(Tensor):
    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        raise TypeError("can't convert cuda:0 device type tensor to numpy.")


class Copying(Tensor):
    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self.memory.copy()


WANTED: list[Any] = [(0, Window(-3, 5, 20, 30)), (1, Window(4, 4, 20, 30))]
SHAPE = 2, 20, 30, 3


@pytest.mark.parametrize("scale", [1, 1.0000001])  # as it is, and drawn
@pytest.mark.parametrize(
    "out",
    [
        np.zeros(SHAPE, np.uint8),
        np.zeros(SHAPE, np.uint8, order="F"),
        np.zeros((4, 40, 60, 6), np.uint8)[::2, ::-2, ::2, 1::2],
        np.zeros((3, 30, 20, 2), np.float64).T,
        np.zeros(SHAPE, ">u2"),
        np.zeros(np.prod(SHAPE) * 4 + 1, np.uint8)[1:].view("f4").reshape(SHAPE),
        Tensor(SHAPE),
        Tensor(SHAPE, "f4"),
        Interface(SHAPE),
        memoryview(bytearray(2 * 20 * 30 * 3)).cast("B", SHAPE),
    ],
    ids=[
        "plain", "fortran", "steps", "turned", "big endian", "unaligned",
        "tensor", "tensor of floats", "interface", "memoryview",
    ],
)  # fmt: skip
def test_out_is_any_memory(out: Any, scale: float, many: CocoFrames) -> None:
    expected = np.stack([many.load_region(*each, scale=scale) for each in WANTED])
    for threads in (1, 2):
        assert many.load_regions(WANTED, out=out, scale=scale, threads=threads) is out
        np.testing.assert_array_equal(getattr(out, "memory", out), expected)


def test_out_is_a_torch_tensor(many: CocoFrames) -> None:
    torch = pytest.importorskip("torch")
    out = torch.zeros(SHAPE, dtype=torch.float32)
    turned = torch.zeros((2, 3, 20, 30), dtype=torch.uint8)
    expected = np.stack([many.load_region(*each) for each in WANTED])
    assert many.load_regions(WANTED, out=out) is out
    np.testing.assert_array_equal(out.numpy(), expected)
    many.load_regions(WANTED, out=turned.permute(0, 2, 3, 1))
    np.testing.assert_array_equal(turned.numpy().transpose(0, 2, 3, 1), expected)
    with pytest.raises(ConfigError, match="grad"):
        many.load_regions(WANTED, out=out.requires_grad_())
    with pytest.raises(ConfigError, match="Tensor"):
        many.load_regions(WANTED, out=torch.zeros(SHAPE, device="meta"))


def read_only(values: NDArray[Any]) -> NDArray[Any]:
    values.flags.writeable = False
    return values


@pytest.mark.parametrize(
    ("out", "said"),
    [
        (read_only(np.zeros(SHAPE, np.uint8)), "read-only"),
        (np.broadcast_to(np.zeros((30, 3), np.uint8), SHAPE), "read-only"),
        (bytes(3600), "read-only"),
        (np.zeros((2, 20, 30), np.uint8), "shape"),
        (np.zeros(SHAPE, object), "object"),
        (np.zeros(SHAPE, "M8[s]"), "datetime64"),
        (np.zeros(SHAPE, "S3"), "S3"),
        (np.zeros(SHAPE, [("r", "u1")]), "cannot hold"),
        (np.zeros(SHAPE, bool), "bool"),
        (np.zeros(SHAPE).tolist(), "an array is needed"),
        (Path(), "an array is needed"),
        (5, "an array is needed"),
        ("out.npy", "an array is needed"),
        (np.uint8(5), "copy"),
        (array.array("B", bytes(3600)), r"\(3600,\)"),
        (OnADevice(SHAPE), "cuda"),
        (Copying(SHAPE), "copy"),
        (Tensor(SHAPE, "c8").memory.real[..., :2], "shape"),
    ],
)
@pytest.mark.parametrize("count", [2, MANY])
def test_what_cannot_be_filled_says_so(count: int, out: Any, said: str, many: CocoFrames) -> None:
    wanted = WANTED + [(k, Window(0, 0, 20, 30)) for k in range(2, count)]
    if count > 2 and said in ("shape", "bool"):
        said = "load_regions: out "
    with pytest.raises(ConfigError, match=said):
        many.load_regions(wanted, out=out)


@pytest.mark.parametrize("kind", KINDS)
def test_memory_in_any_order_is_filled_from_any_format(
    kind: str, tmp_path: Path, photograph: NDArray[np.uint8]
) -> None:
    write = KINDS[kind]
    path = tmp_path / f"a{write.suffix}"  # type: ignore[attr-defined]
    expected = write(path, np.ascontiguousarray(photograph[100:193, 200:331]))
    frames = SimpleFrames({1: path}, backend=None)
    windows = [Window(0, 0, 50, 60), Window(43, 71, 50, 60), Window(20, 30, 50, 60)]
    whole = np.zeros((2 * expected.shape[2], 60, 50, 3), expected.dtype)
    out = whole[::2].T
    frames.load_regions([(1, window) for window in windows], out=out)
    for got, window in zip(out, windows, strict=True):
        np.testing.assert_array_equal(got, expected[window.slices])
