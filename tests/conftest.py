"""Pictures and folders that many tests share."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from scenes import Scene, make_scene
from subregion import CocoSampler
from subregion.blocks import native
from subregion.blocks.cache import BLOCKS, DEFAULT_LIMIT
from subregion.io.pool import POOL


@pytest.fixture(autouse=True, scope="session")
def nobodys_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the user's folders out of it, here and in the programs that tests start."""
    home = str(tmp_path_factory.mktemp("home"))
    with pytest.MonkeyPatch.context() as patch:
        for name in ("HOME", "XDG_CACHE_HOME", "MPLCONFIGDIR"):
            patch.setenv(name, home)
        yield


@pytest.fixture(autouse=True, scope="session")
def programs_are_compiled_once() -> Iterator[None]:
    """Let the programs that tests start keep bytecode: without it each of them compiles the library anew."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
        yield


@pytest.fixture(autouse=True)
def nothing_left_over() -> Iterator[None]:
    """Start each test without open files and decoded blocks, as a new process does."""
    POOL.forget(lambda key: True)
    BLOCKS._start_empty()
    yield
    POOL.forget(lambda key: True)
    BLOCKS._start_empty()
    BLOCKS.resize(DEFAULT_LIMIT)


@pytest.fixture
def in_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read without the compiled executor, whether it was built or not."""
    monkeypatch.setenv(native.VARIABLE, "0")


@pytest.fixture(autouse=True)
def executor(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read by the executor that a test marked `pixels` is run with; other tests read by any that there is."""
    if getattr(request, "param", None) == "python":
        monkeypatch.setenv(native.VARIABLE, "0")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run tests of pixels with both executors."""
    if native.BUILT and metafunc.definition.get_closest_marker("pixels"):
        metafunc.parametrize("executor", ["native", "python"], indirect=True)


@pytest.fixture(scope="session")
def photograph() -> NDArray[np.uint8]:
    """A real RGB picture of 400 x 600 pixels."""
    from skimage import data

    return np.ascontiguousarray(data.coffee())


@pytest.fixture
def workdir(tmp_path: Path) -> Path:
    """A place for a cache."""
    return tmp_path / "work"


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Any]:
    """Return the datasets that kwcoco draws, by their key; each is drawn once."""
    folder, known = tmp_path_factory.mktemp("kwcoco"), dict[str, Any]()

    def draw(key: str) -> Any:
        import kwcoco

        if key not in known:
            options = {"dpath": str(folder / key)} if key.startswith("vid") else {}
            with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
                warnings.simplefilter("ignore")
                patch.setenv("XDG_CACHE_HOME", str(folder))
                known[key] = kwcoco.CocoDataset.demo(key, verbose=0, **options)
        return known[key].copy()

    return draw


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return make_scene(tmp_path)


@pytest.fixture
def sampler(scene: Scene) -> CocoSampler:
    return scene.sampler(rng=0)
