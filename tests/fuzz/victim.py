"""What is done with a damaged file: everything that an application would do with a sound one."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fuzz import seeds

#: In bytes of pixels: what is small enough to be read whole.
SMALL = 16 << 20


def use(case: str, seed: str, path: Path, use_as: str, workdir: Path, attempt: Callable[..., Any]) -> None:
    """Do everything with a file.

    Parameters
    ----------
    case : str
        Its name, from which dice start.
    seed : str
        What it was made of.
    path : pathlib.Path
        The file.
    use_as : str
        ``"image"``, ``"video"``, ``"coco"``, ``"dvc"`` or ``"entry"``.
    workdir : pathlib.Path
        For copies.
    attempt : callable
        Calls a function, and takes note of what it raises; returns None then.
    """
    dice = random.Random(case)
    USES[use_as](path, workdir, attempt, dice, seed)


def _windows(shape: Any, dice: random.Random) -> list[Any]:
    from subregion import Window

    rows, cols, bands = shape
    row, col = dice.randrange(max(1, rows)), dice.randrange(max(1, cols))
    high, wide = dice.randrange(1, 50), dice.randrange(1, 50)
    return [
        (slice(row, row + high), slice(col, col + wide)),
        (slice(-high, None), slice(-wide, None)),
        (slice(None, None, max(1, rows // 7)), slice(None, None, max(1, cols // 5))),
        (slice(row, row + high), slice(col, col + wide), slice(dice.randrange(max(1, bands)), None)),
        Window(row - 10, col - 10, high, wide),
        (slice(rows // 2, rows // 2 + 1), slice(cols // 2, cols // 2 + 1)),
    ]


def _image(path: Path, workdir: Path, attempt: Callable[..., Any], dice: random.Random, seed: str) -> None:
    import subregion

    in_place = subregion.open(path, backend=None)
    shape = attempt(lambda: in_place.shape)
    attempt(lambda: in_place.dtype)
    attempt(in_place.georeference)
    if shape is not None:
        windows = _windows(shape, dice)
        for window in windows[: 1 + dice.randrange(len(windows))]:
            attempt(lambda window=window: in_place[window])
        attempt(lambda: _scaled(path, windows[0], 0.5))
        dtype = attempt(lambda: in_place.dtype)
        if dtype is not None and int(np.prod(shape)) * dtype.itemsize <= SMALL:
            attempt(lambda: np.asarray(in_place))
    backend = dice.choice(["auto", "auto", "npy", "cog", "zarr", "jpeg"])
    mode = dice.choice(["PATH", "PIXELS"])
    stored = subregion.open(path, backend=backend, workdir=workdir, hashid_mode=mode)
    if attempt(lambda: stored[10:40, 5:60]) is not None:
        attempt(lambda: stored[-20:, ::3])
    _info(path, workdir, attempt)


def _scaled(path: Path, region: Any, scale: float) -> Any:
    from subregion import SimpleFrames

    return SimpleFrames({1: path}, backend=None).load_region(1, region, scale=scale)


def _info(path: Path, workdir: Path, attempt: Callable[..., Any]) -> None:
    from typer.testing import CliRunner

    from subregion.cli.main import app

    def ask() -> None:
        answer = CliRunner().invoke(app, ["info", str(path), "--json", "--workdir", str(workdir)])
        if answer.exception is not None and not isinstance(answer.exception, SystemExit):
            raise answer.exception

    attempt(ask)


def _video(path: Path, workdir: Path, attempt: Callable[..., Any], dice: random.Random, seed: str) -> None:
    import subregion
    from subregion import VideoFrames

    frames = attempt(lambda: VideoFrames(path, workdir=workdir, backend=None))
    count = attempt(lambda: len(frames)) if frames is not None else None
    if count:
        for number in {0, count - 1, dice.randrange(count)}:
            attempt(
                lambda number=number: frames.load_region(
                    frames.image_ids[number], (slice(5, 30), slice(5, 50))
                )
            )
    attempt(lambda: subregion.open(path, backend=None, frame=dice.randrange(8))[:10, :10])
    _image(path, workdir, attempt, dice, seed)


def _coco(path: Path, workdir: Path, attempt: Callable[..., Any], dice: random.Random, seed: str) -> None:
    from subregion import CocoFrames

    frames = attempt(lambda: CocoFrames(path, workdir=workdir, backend=dice.choice([None, "auto"])))
    if frames is None:
        return
    attempt(lambda: len(frames))
    ids = attempt(lambda: list(frames.image_ids)) or []
    for image_id in ids[:6]:
        attempt(lambda image_id=image_id: frames.record(image_id))
        attempt(lambda image_id=image_id: frames.load_region(image_id, (slice(0, 20), slice(0, 30))))
        attempt(
            lambda image_id=image_id: frames.load_region(
                image_id, (slice(0, 40), slice(0, 40)), "<all>", scale=0.5, nodata="float", dequantize=True
            )
        )
        attempt(lambda image_id=image_id: frames.load_region(image_id, (slice(3), slice(3)), space="video"))
        attempt(lambda image_id=image_id: frames.load_frame(image_id).shape)
    for video_id in (1, "1", None):
        attempt(lambda video_id=video_id: frames.load_clip(video_id, (slice(0, 2), slice(0, 9), slice(0, 9))))
    attempt(lambda: frames.prepare(progress=False))


def _dvc(path: Path, workdir: Path, attempt: Callable[..., Any], dice: random.Random, seed: str) -> None:
    from subregion import SimpleFrames

    frames = SimpleFrames({1: path}, workdir, "npy", "DVC")
    attempt(lambda: frames.load_region(1, (slice(9), slice(9))))
    attempt(lambda: frames.prepare(progress=False))


def _entry(path: Path, workdir: Path, attempt: Callable[..., Any], dice: random.Random, seed: str) -> None:
    from subregion import SimpleFrames, Window

    frames = SimpleFrames(
        {1: path}, path.parent / "work", seeds.backend_of(seed), "GIVEN", id_to_hashid={1: "a"}
    )
    attempt(lambda: frames.load_region(1, (slice(9, 50), slice(9, 70))))
    attempt(lambda: frames.load_region(1, Window(-5, -5, 30, 30)))
    attempt(lambda: frames.load_image(1))
    attempt(lambda: frames.load_region(1, scale=0.5))
    attempt(lambda: frames.prepare(progress=False))
    attempt(lambda: frames.load_region(1))


USES: dict[str, Callable[..., None]] = {
    "image": _image,
    "video": _video,
    "coco": _coco,
    "dvc": _dvc,
    "entry": _entry,
}
