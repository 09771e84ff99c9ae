"""The examples of the predecessor, in words of our own, with nothing but its name replaced."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import subregion as ndsampler

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
#: Rows and columns of the images.
SIZE = 270, 480


@pytest.fixture
def pixels(tmp_path: Path) -> dict[str, NDArray[np.uint8]]:
    """Write images; return what is in them, by path."""
    folder = tmp_path / "images"
    folder.mkdir()
    rng = np.random.default_rng(0)
    found = {}
    for number in range(3):
        path = folder / f"noise_{number}.png"
        found[str(path)] = rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8)
        Image.fromarray(found[str(path)]).save(path)
    return found


def _dataset(paths: list[str]) -> Any:
    """Return images without sizes, annotations or categories, as the examples have them."""
    kwcoco = pytest.importorskip("kwcoco")
    images = [{"id": number, "file_name": path} for number, path in enumerate(paths)]
    return kwcoco.CocoDataset({"images": images, "annotations": [], "categories": []})


def test_readme(pixels: dict[str, NDArray[np.uint8]], tmp_path: Path) -> None:
    """A sampler of a list of images, and a window around a point of one of them."""
    paths = sorted(pixels)
    sampler = ndsampler.CocoSampler(_dataset(paths), workdir=tmp_path / "work")
    sample = sampler.load_sample({"gid": 0, "cx": 200, "cy": 130, "width": 100, "height": 90})
    assert {"annots", "im", "params", "tr"} <= set(sample)
    np.testing.assert_array_equal(sample["im"], pixels[paths[0]][85:175, 150:250])


class _Chips:
    """A dataset of torch: a random square of a random image, whatever the index."""

    def __init__(self, folder: Path, backend: str | None, workdir: Path | None = None) -> None:
        self.paths = sorted(str(path) for path in folder.glob("**/*.png"))
        self.sampler = ndsampler.CocoSampler(_dataset(self.paths), backend=backend, workdir=workdir)
        self.sampler.frames.prepare(workers=2)
        assert self.sampler._backend == self.sampler.frames.backend

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Any, int, int, int]:
        import torch

        rng = np.random.RandomState(index)
        image, size = rng.randint(0, len(self.paths)), rng.randint(60, 90)
        cx, cy = (rng.randint(size // 2, length - size // 2) for length in SIZE[::-1])
        target = {"gid": image, "cx": cx, "cy": cy, "width": size, "height": size}
        im = self.sampler.load_sample(target)["im"]
        return torch.from_numpy(im), image, int(np.floor(cy - size / 2)), int(np.floor(cx - size / 2))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("backend", ["cog", "npy", None])
def test_torch_dataloader(
    pixels: dict[str, NDArray[np.uint8]], tmp_path: Path, backend: str | None, workers: int
) -> None:
    """A loader of torch over random squares, with and without copies of the images, twice."""
    torch_data = pytest.importorskip("torch.utils.data")
    chips: Any = _Chips(tmp_path / "images", backend, tmp_path / "work")
    loader = torch_data.DataLoader(chips, batch_size=1, num_workers=workers)
    for _ in range(2):
        seen = 0
        for squares, images, rows, cols in loader:
            _, height, width, channels = squares.shape
            row, col = int(rows[0]), int(cols[0])
            expected = pixels[chips.paths[int(images[0])]][row : row + height, col : col + width]
            np.testing.assert_array_equal(squares[0].numpy(), expected)
            assert channels == 3
            seen += 1
        assert seen == 3
