"""Looking at copies: `verify` tells what is wrong, and mends it; `info` tells what there is."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

from subregion import SimpleFrames, VerifyReport
from subregion.cli.main import app
from subregion.io.pool import POOL

BACKENDS: dict[str, Any] = {
    "npy": "npy",
    "cog": "cog",
    "cog raw": {"type": "cog", "config": {"compress": "RAW"}},
    "cog lzw": {"type": "cog", "config": {"compress": "LZW"}},
    "cog jpeg": {"type": "cog", "config": {"compress": "JPEG"}},
    "zarr": "zarr",
    "zarr raw": {"type": "zarr", "config": {"compress": "RAW"}},
    "jpeg": "jpeg",
}


@pytest.fixture
def sources(tmp_path: Path) -> dict[str, Path]:
    dice = np.random.default_rng(5)
    found = {}
    for name in "abc":
        pixels = dice.integers(0, 255, (150, 170, 3), np.uint8)
        pixels[20:90] //= 32
        found[name] = tmp_path / "sources" / f"{name}.png"
        found[name].parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(found[name])
    return found


def made(sources: dict[str, Path], workdir: Path, backend: Any = "cog", mode: str = "PATH") -> SimpleFrames:
    hashes = {name: f"hash of {name}" for name in sources} if mode == "GIVEN" else None
    frames = SimpleFrames(sources, workdir, backend, mode, id_to_hashid=hashes)
    frames.prepare(progress=False)
    return frames


def files_of(workdir: Path) -> list[Path]:
    return sorted(place for place in workdir.glob("_cache/frames/??/**/*") if place.is_file())


def pixels_of(path: Path) -> NDArray[Any]:
    with Image.open(path) as image:
        return np.asarray(image)


def run(*words: object, status: int = 0) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == status, result.output
    return result.stdout


@pytest.mark.parametrize("name", BACKENDS)
def test_every_changed_bit_is_told(name: str, sources: dict[str, Path], workdir: Path) -> None:
    frames = made({"a": sources["a"]}, workdir, BACKENDS[name])
    assert frames.verify(deep=True).ok
    dice = random.Random(3)
    for path in files_of(workdir):
        data = path.read_bytes()
        near = min(len(data), 300)
        for at in {dice.randrange(len(data)), dice.randrange(near), len(data) - 1 - dice.randrange(near)}:
            changed = bytearray(data)
            changed[at] ^= 1 << dice.randrange(8)
            path.write_bytes(changed)
            report = frames.verify(deep=True)
            assert not report.ok, (path.name, at)
            assert len(report.damaged) == 1
            assert frames.verify().checked == 1
            path.write_bytes(data)
    assert frames.verify(deep=True).ok


@pytest.mark.parametrize("name", BACKENDS)
def test_headers_and_indexes_are_looked_at_without_asking(
    name: str, sources: dict[str, Path], workdir: Path
) -> None:
    frames = made({"a": sources["a"]}, workdir, BACKENDS[name])
    for path in files_of(workdir):
        if path.suffix in (".npy", ".tif", ".jpg", ".json", ".sums") and path.parent.suffix in ("", ".zarr"):
            data = path.read_bytes()
            path.write_bytes(data[:8] + bytes([data[8] ^ 4]) + data[9:])
            assert not frames.verify().ok, path.name
            path.write_bytes(data[:-1])
            assert not frames.verify().ok, path.name
            path.unlink()
            assert not frames.verify().ok, path.name
            path.write_bytes(data)


@pytest.mark.parametrize("name", BACKENDS)
def test_repair_makes_damaged_copies_anew(name: str, sources: dict[str, Path], workdir: Path) -> None:
    frames = made(sources, workdir, BACKENDS[name])
    expected = {key: frames.load_region(key) for key in sources}
    victims = sorted(workdir.glob("_cache/frames/??/*.*[a-z]"))
    data = next(place for place in victims if place.suffix in (".npy", ".tif", ".jpg", ".zarr"))
    pixels = data / "0/c/0/0/0" if data.is_dir() else data
    with pixels.open("r+b") as file:
        file.seek(pixels.stat().st_size // 2)
        file.write(b"damage")
    report = frames.verify(deep=True, repair=True)
    assert report.ok
    assert [finding.mended for finding in report.damaged] == [True]
    assert str(pixels) in report.damaged[0].reason
    assert not data.exists()
    POOL.forget(lambda key: True)
    for key in sources:
        np.testing.assert_array_equal(frames.load_region(key), expected[key])
    again = frames.verify(deep=True)
    assert again == VerifyReport(3, again.nbytes)


def test_a_damaged_copy_of_a_source_that_is_gone_is_kept(sources: dict[str, Path], workdir: Path) -> None:
    frames = made(sources, workdir, "npy", "GIVEN")
    data = sorted(workdir.glob("_cache/frames/??/*.npy"))[0]
    content = bytearray(data.read_bytes())
    content[-9] ^= 2
    data.write_bytes(content)
    for path in sources.values():
        path.unlink()
    for report in (
        frames.verify(deep=True, repair=True),
        VerifyReport(
            **{"checked": 3} | _findings(run("verify", workdir, "--deep", "--repair", "--json", status=1))
        ),
    ):
        assert not report.ok
        assert len(report.damaged) == 1
        assert len(report.orphaned) == 3
        assert data.read_bytes() == bytes(content)


def _findings(text: str) -> dict[str, Any]:
    from subregion.cache.verify import Finding

    document = json.loads(text)
    return {
        kind: tuple(Finding(**finding) for finding in document[kind])
        for kind in ("damaged", "stale", "missing", "orphaned")
    }


def test_stale_missing_and_orphaned(sources: dict[str, Path], workdir: Path) -> None:
    frames = made(sources, workdir)
    missing = SimpleFrames(sources | {"d": sources["a"].with_name("d.png")}, workdir, "cog")
    shutil.copy(sources["a"], sources["a"].with_name("d.png"))
    Image.fromarray(255 - pixels_of(sources["b"])).save(sources["b"])
    sources["c"].unlink()
    report = missing.verify()
    assert not report.ok
    assert [finding.source for finding in report.stale] == [str(sources["b"])]
    assert [finding.source for finding in report.missing] == [str(sources["a"].with_name("d.png"))]
    assert [finding.source for finding in report.orphaned] == [str(sources["c"])]
    assert report.damaged == ()
    text = str(report)
    assert "NOT ok: 3 copies" in text
    assert "stale: 1" in text
    assert json.loads(json.dumps(report.to_dict()))["ok"] is False
    inventory = json.loads(run("info", workdir, "--json"))[0]
    assert inventory["gone"] == [str(sources["c"])]
    assert inventory["changed"] == [str(sources["b"])]
    mended = missing.verify(repair=True)
    assert mended.ok
    assert missing.verify().ok
    np.testing.assert_array_equal(frames.load_region("b"), pixels_of(sources["b"]))


def test_a_disk_that_is_not_there_makes_no_orphans(sources: dict[str, Path], workdir: Path) -> None:
    frames = made(sources, workdir)
    sources["a"].parent.rename(sources["a"].parent.with_name("elsewhere"))
    report = frames.verify()
    assert report.ok
    assert report.orphaned == ()
    assert report.checked == 3
    assert "ok: 3 copies" in run("verify", workdir)


@pytest.mark.parametrize("name", BACKENDS)
def test_pixels_are_compared_with_the_source(name: str, sources: dict[str, Path], workdir: Path) -> None:
    frames = made({"a": sources["a"]}, workdir, BACKENDS[name], "GIVEN")
    assert frames.verify(pixels=True).ok
    changed = pixels_of(sources["a"]).copy()
    changed[77, 5] ^= 255
    changed[70:90, 100:140] ^= 127
    Image.fromarray(changed).save(sources["a"])
    report = frames.verify(pixels=True)
    assert len(report.damaged) == 1
    assert "row " in report.damaged[0].reason
    assert frames.verify(pixels=True, repair=True).ok
    assert frames.verify(pixels=True, deep=True).ok


def test_images_that_need_no_copy_are_not_missing(tmp_path: Path, workdir: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((2000, 2000), np.uint8))
    Image.fromarray(np.zeros((2000, 2000), np.uint8)).save(tmp_path / "b.png")
    frames = SimpleFrames({1: tmp_path / "a.npy", 2: tmp_path / "b.png"}, workdir, "auto")
    report = frames.verify()
    assert [finding.source for finding in report.missing] == [str(tmp_path / "b.png")]
    assert frames.verify([1]).ok
    assert SimpleFrames({1: tmp_path / "a.npy"}, workdir).verify() == VerifyReport()
    with pytest.raises(TypeError, match="list of ids"):
        frames.verify("1")


def test_the_command_line(sources: dict[str, Path], workdir: Path) -> None:
    made(sources, workdir, "zarr")
    assert run("verify", workdir).startswith("ok: 3 copies checked")
    document = json.loads(run("verify", workdir, "--deep", "--pixels", "--json"))
    assert document["ok"]
    assert document["nbytes"] == sum(
        place.stat().st_size for place in files_of(workdir) if ".zarr/" in str(place)
    )
    shard = next(place for place in files_of(workdir) if place.name == "0" and place.stat().st_size > 2000)
    with shard.open("r+b") as file:
        file.write(b"damage")
    assert run("verify", workdir).startswith("ok")
    assert "damaged: 1\n" in run("verify", workdir, "--deep", status=1)
    assert "damaged: 1, 1 made anew" in run("verify", workdir, "--deep", "--repair")
    assert run("verify", workdir, "--deep").startswith("ok")
    result = CliRunner().invoke(app, ["verify", str(workdir.parent)])
    assert result.exit_code == 1
    assert "holds no cache" in result.output


def test_the_manifest_of_another_entry_is_damage(sources: dict[str, Path], workdir: Path) -> None:
    frames = made(sources, workdir)
    first, second, _ = sorted(workdir.glob("_cache/frames/??/*.json"))
    shutil.copy(first, second)
    assert len(frames.verify().damaged) == 1
    assert frames.verify(repair=True).ok
    for name, path in sources.items():
        np.testing.assert_array_equal(frames.load_region(name), pixels_of(path))


def test_info_tells_what_is_in_a_folder(sources: dict[str, Path], workdir: Path) -> None:
    made(sources, workdir, "cog")
    made({"a": sources["a"]}, workdir, "npy")
    (inventory,) = json.loads(run("info", workdir, "--json"))
    npy = next(place for place in files_of(workdir) if place.suffix == ".npy")
    assert inventory["entries"] == 4
    assert inventory["formats"]["npy"] == {"entries": 1, "nbytes": npy.stat().st_size}
    assert inventory["formats"]["cog"]["entries"] == 3
    assert inventory["nbytes"] == sum(stored["nbytes"] for stored in inventory["formats"].values())
    assert 0 <= inventory["newest"] <= inventory["oldest"] < 600
    assert not inventory["unfinished"]
    text = run("info", workdir)
    assert "4 copies" in text
    assert "npy: 1 copies" in text


@pytest.mark.skipif(not hasattr(os, "kill"), reason="needs processes")
def test_info_tells_who_writes(sources: dict[str, Path], workdir: Path) -> None:
    made(sources, workdir)
    program = (
        "import sys, time\n"
        "from subregion.cache.entries import Folder\n"
        "folder = Folder(sys.argv[1])\n"
        "key = 'ab' * 20\n"
        "with folder.turn(key, lambda: False):\n"
        "    open(sys.argv[1] + '/unfinished/' + key + '.0123456789abcdef.npy', 'wb').write(b'pixels')\n"
        "    print('ready', flush=True)\n"
        "    time.sleep(60)\n"
    )
    folder = workdir / "_cache/frames"
    writer = subprocess.Popen([sys.executable, "-c", program, str(folder)], stdout=subprocess.PIPE)
    try:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"ready\n"
        (inventory,) = json.loads(run("info", workdir, "--json"))
        (unfinished,) = inventory["unfinished"]
        assert unfinished["nbytes"] == 6
        assert unfinished["owner"].startswith(f"process {writer.pid} on ")
    finally:
        writer.kill()
        writer.wait()
    (inventory,) = json.loads(run("info", workdir, "--json"))
    assert inventory["unfinished"][0]["owner"] is None
    assert "nobody's" in run("info", workdir)
    made(sources, workdir, "npy")
    assert not json.loads(run("info", workdir, "--json"))[0]["unfinished"]
