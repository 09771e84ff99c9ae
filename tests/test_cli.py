"""The command line as a user meets it: through typer's runner, and as a program of its own."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner, Result

from subregion import SimpleFrames, __version__
from subregion.cache.workdir import make_store
from subregion.cli.describe import describe
from subregion.cli.drawing import draw_blocks, reduced
from subregion.cli.main import app
from subregion.formats.open import open_raster
from subregion.records import Asset

PHOTOGRAPH = SimpleFrames.demo().record("coffee.png").default_asset.path


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user-cache"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "here"
    place.mkdir()
    return place


def run(*args: object) -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args], prog_name="subregion")


def program(*args: object, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "subregion.cli.main", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, **options)


def files_in(place: Path) -> list[Path]:
    return [item for item in place.rglob("*") if item.is_file()]


def photograph() -> NDArray[Any]:
    return decoded(Path(PHOTOGRAPH))


def decoded(path: Path) -> NDArray[Any]:
    if path.suffix == ".npy":
        loaded: NDArray[Any] = np.load(path)
        return loaded
    return np.asarray(tifffile.imread(path) if path.suffix == ".tif" else Image.open(path))


# --- what is always there ---------------------------------------------------------------------------


def test_version() -> None:
    assert run("--version").output == f"subregion {__version__}\n"


@pytest.mark.parametrize("command", ["", "prepare", "info", "read", "show", "demo", "bench"])
def test_help(command: str) -> None:
    result = run(*command.split(), "--help")
    assert result.exit_code == 0
    assert "Usage: subregion" in result.output
    if command:
        assert f"subregion {command}" in result.output.split("Examples")[1]


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from subregion.cli.main import app\n"
        "try: app(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'numpy', 'pyvips', 'PIL', 'tifffile', 'imagecodecs'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stderr.strip() == "[]"


def test_unknown_command_is_an_error_of_usage() -> None:
    assert run("verfy").exit_code == 2


# --- prepare ------------------------------------------------------------------------------------------


def test_prepare_converts_once(folder: Path, tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        (folder / name).write_bytes(Path(PHOTOGRAPH).read_bytes())
    Image.new("L", (8, 8)).save(folder / "small.png")
    args = ("prepare", folder, "--workdir", tmp_path / "work", "--json")
    first = json.loads(run(*args).stdout)
    assert (first["converted"], first["already_there"], first["read_in_place"]) == (2, 0, 1)
    assert first["images"] == 3
    assert first["nbytes"] > 0
    assert first["failed"] == {}
    second = json.loads(run(*args).stdout)
    assert (second["converted"], second["already_there"], second["read_in_place"]) == (0, 2, 1)
    assert second["nbytes"] == first["nbytes"]


def test_prepare_takes_patterns_options_and_threads(folder: Path, tmp_path: Path) -> None:
    (folder / "a.png").write_bytes(Path(PHOTOGRAPH).read_bytes())
    (folder / "notes.txt").write_text("no picture")
    result = run("prepare", folder, "--workdir", tmp_path / "work", "--pattern", "**/*.png",
                 "--backend", "cog", "--config", "compress=DEFLATE", "--config", "blocksize=64",
                 "--workers", "2")  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "1 of 1 images are ready" in result.stdout
    (copy,) = (item for item in files_in(tmp_path / "work") if item.suffix == ".tif")
    with tifffile.TiffFile(copy) as tiff:
        page = tiff.pages.first
        assert (page.tile, page.compression) == ((64, 64), 8)


def test_prepare_lists_failures_and_does_the_rest(folder: Path, tmp_path: Path) -> None:
    (folder / "good.png").write_bytes(Path(PHOTOGRAPH).read_bytes())
    (folder / "cut.png").write_bytes(Path(PHOTOGRAPH).read_bytes()[:5000])
    (folder / "notes.txt").write_text("no picture")
    (folder / "gone.png").symlink_to(folder / "nowhere.png")
    result = run("prepare", folder, "--workdir", tmp_path / "work")
    assert result.exit_code == 1
    assert "1 of 2 images are ready" in result.stdout
    passed_over, failed = result.stderr.splitlines()
    assert "1 of 3 files are no images, such as 'notes.txt'" in passed_over
    assert "1 link leads nowhere, such as 'gone.png'" in passed_over
    assert "cut.png" in failed
    named = run("prepare", folder / "notes.txt", "--workdir", tmp_path / "work")
    assert "1 of 1" not in named.stdout
    assert "notes.txt: is not an image" in named.stderr


def test_prepare_of_nothing_is_an_error(folder: Path) -> None:
    result = run("prepare", folder, "--pattern", "*.png")
    assert result.exit_code == 1
    assert result.stderr == f"subregion: {folder}: no file in it matches *.png.\n"
    (folder / "notes.txt").write_text("no picture")
    result = run("prepare", folder)
    assert result.exit_code == 1
    assert "none of 1 files in it that match **/* is an image" in result.stderr


def test_paths_are_urls_too(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    Image.new("L", (8, 9)).save(folder / "a b.png")
    output = tmp_path / "out.npy"
    url = (folder / "a b.png").as_uri()
    assert run("read", url, "~/out.npy", "--workdir", (tmp_path / "w").as_uri()).exit_code == 0
    assert np.load(output).shape == (9, 8, 1)
    for command in (["prepare"], ["info"], ["read", "a.png"]):
        result = run(*command[:1], "s3://bucket/a.png", *command[1:])
        assert result.exit_code == 1
        assert "mount the bucket" in result.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--backend", "zip"), "'zip'"),
        (("--config", "blocksize"), "KEY=VALUE"),
        (("--config", "colour=red"), "'colour'"),
        (("--backend", "none", "--config", "compress=RAW"), "none"),
        (("--backend", "cog", "--config", "blocksize=7"), "multiple of 16"),
        (("--hashid-mode", "name"), "'PATH'"),
    ],
)
def test_wrong_options_say_what_is_allowed(options: tuple[str, ...], said: str, tmp_path: Path) -> None:
    result = run("prepare", PHOTOGRAPH, "--workdir", tmp_path, *options)
    assert result.exit_code == 1
    assert result.stderr.startswith("subregion: ")
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1


# --- info ---------------------------------------------------------------------------------------------


def test_info_tells_of_layout_and_copies(tmp_path: Path) -> None:
    args = ("info", PHOTOGRAPH, "--workdir", tmp_path / "work", "--json")
    (before,) = json.loads(run(*args).stdout)
    assert before["driver"] == "PNG"
    assert before["shape"] == [400, 600, 3]
    assert before["dtype"] == "uint8"
    assert before["levels"] == [[400, 600]]
    assert not before["windowed"]
    assert before["auto_converts"]
    assert before["copies"] == []
    assert not (tmp_path / "work").exists()
    run("prepare", PHOTOGRAPH, "--workdir", tmp_path / "work")
    (after,) = json.loads(run(*args).stdout)
    (copy,) = after["copies"]
    assert copy["kind"] == "cog"
    assert os.path.getsize(copy["path"]) == copy["nbytes"]
    (of_npy,) = json.loads(run(*args, "--backend", "npy").stdout)
    assert of_npy["copies"] == []
    assert copy["path"] in run(*args[:-1]).stdout


def test_info_of_a_tiled_file(tmp_path: Path) -> None:
    pixels = np.zeros((700, 900), np.float32)
    tifffile.imwrite(tmp_path / "a.tif", pixels, tile=(256, 256), extratags=[(42113, 2, 4, "nan", True)])
    (document,) = json.loads(run("info", tmp_path / "a.tif", "--json").stdout)
    assert document["block"] == [256, 256]
    assert document["windowed"]
    assert not document["auto_converts"]
    assert document["nodata"] == "nan"
    text = run("info", tmp_path / "a.tif").stdout
    assert "tiles 256 x 256" in text
    assert "nan" in text


def test_info_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    found = json.loads(run("info", "--system", "--json").stdout)
    assert found["packages"]["numpy"] == np.__version__
    assert (found["compiled"] is None) == (not found["enabled"])
    text = run("info", "--system").stdout
    assert "compiled executor: " in text
    assert ("pip install" in text) == (found["how"] is not None)
    monkeypatch.setenv("SUBREGION_NATIVE", "0")
    assert json.loads(run("info", "--system", "--json").stdout)["enabled"] is False
    assert run("info").exit_code == 2


def test_info_goes_on_after_a_bad_file(tmp_path: Path) -> None:
    result = run("info", tmp_path / "missing.png", PHOTOGRAPH, "--json")
    assert result.exit_code == 1
    assert "missing.png" in result.stderr
    bad, good = json.loads(result.stdout)
    assert "no such file" in bad["error"]
    assert good["driver"] == "PNG"


def test_what_auto_does_is_what_is_said(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    noise = generator.integers(0, 255, (2048, 2048, 3), np.uint8)
    files: dict[str, Callable[[Path], object]] = {
        "tiled.tif": lambda path: tifffile.imwrite(path, noise, tile=(128, 128), compression="zlib"),
        "one-strip.tif": lambda path: tifffile.imwrite(path, noise, rowsperstrip=2048, compression="zlib"),
        "raw.npy": lambda path: np.save(path, noise),
        "tiny.png": lambda path: Image.fromarray(noise[:64, :64]).save(path),
        "large.jpg": lambda path: Image.fromarray(noise).save(path),
    }
    for name, write in files.items():
        write(tmp_path / name)
        store = make_store(tmp_path / "work", "auto", "PATH", warn=False)
        description = describe(Asset(str(tmp_path / name)), [store])
        opened = store.open(Asset(str(tmp_path / name)))
        assert description.auto_converts == (opened.entry is not None), name
        assert description.auto.startswith("makes a copy" if opened.entry else "reads the file"), name


# --- read ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["none", "npy", "cog", "zarr", "auto"])
@pytest.mark.parametrize("suffix", [".png", ".tif", ".npy"])
def test_read_gives_the_pixels(backend: str, suffix: str, tmp_path: Path) -> None:
    output = tmp_path / f"crop{suffix}"
    result = run("read", PHOTOGRAPH, output, "--region", "-90:,10:500:7", "--backend", backend,
                 "--workdir", tmp_path / "work")  # fmt: skip
    assert result.exit_code == 0, result.output
    np.testing.assert_array_equal(decoded(output), photograph()[-90:, 10:500:7])
    assert [item.name for item in tmp_path.iterdir() if item.name != "work"] == [output.name]


def test_read_window_with_fill(tmp_path: Path) -> None:
    args = ("read", PHOTOGRAPH, tmp_path / "a.npy", "--window", "-5,-6,20,30", "--backend", "none")
    assert run(*args, "--fill", "7").exit_code == 0
    pixels = np.load(tmp_path / "a.npy")
    assert pixels.shape == (20, 30, 3)
    assert (pixels[:5] == 7).all()
    np.testing.assert_array_equal(pixels[5:, 6:], photograph()[:15, :24])
    assert run(*args, "--fill", "reflect", "--overwrite").exit_code == 0
    expected = np.pad(photograph()[:15, :24], ((5, 0), (6, 0), (0, 0)), "reflect")
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), expected)


@pytest.mark.parametrize(("dtype", "bands"), [("u1", 1), ("u1", 2), ("u1", 4), ("u2", 1), ("u2", 3)])
def test_png_keeps_what_png_can_hold(dtype: str, bands: int, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 60000, (30, 40, bands)).astype(dtype)
    np.save(tmp_path / "a.npy", pixels)
    told = pytest.warns(UserWarning, match="second of 2 bands is alpha") if bands == 2 else nullcontext()
    with told:
        assert run("read", tmp_path / "a.npy", tmp_path / "b.png", "--backend", "none").exit_code == 0
    raster = open_raster(str(tmp_path / "b.png"))
    assert raster.dtype == dtype
    np.testing.assert_array_equal(next(raster.strips(30)), pixels)


@pytest.mark.parametrize("shape", [(30, 40, 3), (30, 40, 5), (30, 40, 1)])
def test_tiff_holds_what_png_cannot(shape: tuple[int, int, int], tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    np.save(tmp_path / "a.npy", pixels)
    result = run("read", tmp_path / "a.npy", tmp_path / "b.png", "--backend", "none")
    assert result.exit_code == 1
    assert "write a .tif or .npy" in result.stderr
    assert not (tmp_path / "b.png").exists()
    assert run("read", tmp_path / "a.npy", tmp_path / "b.tif", "--backend", "none").exit_code == 0
    raster = open_raster(str(tmp_path / "b.tif"))
    np.testing.assert_array_equal(next(raster.strips(30)), pixels)


def test_read_does_not_overwrite_unless_told(tmp_path: Path) -> None:
    output = tmp_path / "a.npy"
    output.write_text("precious")
    result = run("read", PHOTOGRAPH, output, "--backend", "none")
    assert result.exit_code == 1
    assert "--overwrite" in result.stderr
    assert output.read_text() == "precious"
    failed = run("read", tmp_path / "missing.png", output, "--backend", "none", "--overwrite")
    assert failed.exit_code == 1
    assert output.read_text() == "precious"
    assert run("read", PHOTOGRAPH, output, "--backend", "none", "--overwrite").exit_code == 0
    np.testing.assert_array_equal(np.load(output), photograph())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--region", "5,5:6"), "write 5:6"),
        (("--region", "-1,5:6"), "write -1: for"),
        (("--region", "a:b"), "START:STOP"),
        (("--region", "1:2:3:4"), "START:STOP"),
        (("--region", "::-1"), "negative step"),
        (("--region", ":,:,:,:"), "3"),
        (("--region", "9:9"), "empty"),
        (("--window", "1,2,3"), "ROW,COL,HEIGHT,WIDTH"),
        (("--window", "1,2,3,4.5"), "whole pixels"),
        (("--window", "1,2,-3,4"), "at least 0"),
        (("--window", "0,0,4,4", "--region", ":"), "not both"),
        (("--window", "-1,0,4,4", "--fill", "300"), "0 to 255"),
        (("--window", "-1,0,4,4", "--fill", "sideways"), "'reflect'"),
        (("--window", "0,0,99999999,99999999"), "memory"),
        (("--channels", "r"), "no channel 'r'"),
    ],
)
def test_wrong_regions_say_what_to_write(options: tuple[str, ...], said: str, folder: Path) -> None:
    result = run("read", PHOTOGRAPH, folder / "a.png", *options, "--backend", "none")
    assert result.exit_code == 1
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert files_in(folder) == []


def test_wrong_outputs_are_refused_before_any_work(folder: Path, tmp_path: Path) -> None:
    (folder / "b.png").mkdir()
    for output in ("a.jpg", "nowhere/a.png", "b.png"):
        result = run("read", PHOTOGRAPH, folder / output, "--workdir", tmp_path / "work")
        assert result.exit_code == 1
        assert output in result.stderr
    assert not (tmp_path / "work").exists()


# --- show ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["none", "cog", "npy"])
def test_show_draws(backend: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    result = run("show", PHOTOGRAPH, "--backend", backend, "--workdir", tmp_path / "work")
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == "coffee-blocks.png"
    with Image.open(folder / "coffee-blocks.png") as drawing:
        assert drawing.width > 900
    assert len(files_in(folder)) == 1
    assert run("show", PHOTOGRAPH, "a.jpg").exit_code == 1


@pytest.mark.parametrize(
    ("dtype", "bands"), [("u1", 1), ("u2", 3), ("f4", 1), ("f8", 5), ("i2", 2), ("u1", 4), ("i1", 3)]
)
def test_show_takes_every_kind_of_pixel(dtype: str, bands: int, tmp_path: Path) -> None:
    pixels = (np.random.default_rng(0).normal(size=(300, 200, bands)) * 50).astype(dtype)
    if dtype == "f4":
        pixels[:50] = np.nan
    planar = "contig" if bands > 1 else None
    tifffile.imwrite(
        tmp_path / "a.tif", pixels.squeeze(), tile=(64, 64), planarconfig=planar, photometric="minisblack"
    )
    drawing = draw_blocks(open_raster(str(tmp_path / "a.tif")), "a.tif", 400)
    assert np.asarray(drawing).std() > 5


def test_reducing_averages_and_leaves_out_what_is_no_pixel(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 1000, (301, 407, 3)).astype(np.int16)
    pixels[20:90, 10:60] = -1
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", rowsperstrip=10,
                     extratags=[(42113, 2, 3, "-1", True)])  # fmt: skip
    small = reduced(open_raster(str(tmp_path / "a.tif")), 100)
    assert small.shape == (76, 102, 3)
    masked = np.ma.masked_equal(pixels, -1)
    for row, col in ((0, 0), (4, 2), (8, 8), (75, 101), (22, 14)):
        square = masked[row * 4 : row * 4 + 4, col * 4 : col * 4 + 4]
        expected = square.mean(axis=(0, 1)).filled(np.nan)
        np.testing.assert_allclose(small[row, col], expected, rtol=1e-5)


def test_reducing_starts_from_an_overview(tmp_path: Path) -> None:
    pixels = np.zeros((512, 512), np.uint8)
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        tiff.write(pixels, tile=(128, 128), subifds=1)
        tiff.write(pixels[::2, ::2] + 9, tile=(128, 128), subfiletype=1)
    raster = open_raster(str(tmp_path / "a.tif"))
    assert (reduced(raster, 100) == 9).all()
    assert (reduced(raster, 400) == 0).all()


# --- bad input ----------------------------------------------------------------------------------------


def _png(width: int, height: int, data: bytes) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def _bomb() -> bytes:
    encoder = zlib.compressobj(9)
    start = encoder.compress(bytes(1 << 20)) + encoder.flush(zlib.Z_FULL_FLUSH)
    again = encoder.compress(bytes(1 << 20)) + encoder.flush(zlib.Z_FULL_FLUSH)
    return _png(50_000, 50_000, start + again * 2400)


def _tiff() -> bytes:
    with tempfile.TemporaryDirectory() as place:
        path = Path(place, "a.tif")
        tifffile.imwrite(path, np.arange(300 * 300, dtype=np.uint16).reshape(300, 300), rowsperstrip=10)
        return path.read_bytes()


BAD: dict[str, Callable[[], bytes]] = {
    "empty.png": lambda: b"",
    "cut.png": lambda: Path(PHOTOGRAPH).read_bytes()[:20_000],
    "cut-in-header.png": lambda: Path(PHOTOGRAPH).read_bytes()[:20],
    "cut.tif": lambda: _tiff()[:-5000],
    "text.png": lambda: b"this is a letter, not a picture\n" * 100,
    "zeros.tif": lambda: bytes(10_000),
    "absurd.png": lambda: _png(2**31 - 1, 2**31 - 1, zlib.compress(bytes(100))),
    "nothing.png": lambda: _png(0, 10, zlib.compress(b"")),
    "bomb.png": _bomb,
}


@pytest.fixture(params=[*BAD, "folder.png", "missing.png"])
def bad(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / str(request.param)
    if path.name in BAD:
        path.write_bytes(BAD[path.name]())
    elif path.name == "folder.png":
        path.mkdir()
    return path


@pytest.mark.parametrize("backend", ["none", "npy", "cog", "zarr", "auto"])
def test_bad_input_is_one_line(bad: Path, backend: str, folder: Path, tmp_path: Path) -> None:
    result = run("read", bad, folder / "out.png", "--backend", backend, "--workdir", tmp_path / "work")
    assert result.exit_code == 1, result.output
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"subregion: {bad}: ")
    assert line.endswith(tuple(".)'\"")) or ":" in line.removeprefix(f"subregion: {bad}: ")
    assert files_in(folder) == []
    assert not [item for item in files_in(tmp_path / "work") if item.parent.name != "locks"]


def test_bad_input_as_a_program_is_quick_and_small(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(_bomb())
    started = time.monotonic()
    result = program("read", path, tmp_path / "out.png")
    assert time.monotonic() - started < 20
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert "decompression bomb" in result.stderr


@pytest.mark.skipif(os.name == "nt", reason="modes are POSIX")
def test_no_permission() -> None:
    # Modes do not bind the superuser, who therefore becomes nobody, once all modules are loaded.
    code = (
        "import os, sys\n"
        "from subregion.cli.main import app\n"
        "for good in sys.argv[1], 'missing.png': app(['info', good], standalone_mode=False)\n"
        "if os.geteuid() == 0: os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "app(['info', sys.argv[2]])"
    )
    with tempfile.TemporaryDirectory() as place:
        os.chmod(place, 0o755)
        path = Path(place, "secret.png")
        path.write_bytes(Path(PHOTOGRAPH).read_bytes())
        path.chmod(0)
        command = [sys.executable, "-c", code, PHOTOGRAPH, str(path)]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    line = f"subregion: {path}: permission denied. Give this user the right to read it."
    assert result.stderr.splitlines()[-1] == line


# --- signals and pipes ----------------------------------------------------------------------------------


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX")
def test_interrupted_prepare_leaves_a_usable_cache(folder: Path, tmp_path: Path) -> None:
    noise = np.frombuffer(np.random.default_rng(0).bytes(3 * 5000 * 5000), np.uint8)
    np.save(folder / "large.npy", noise.reshape(5000, 5000, 3))
    work = tmp_path / "work"
    args = ("prepare", folder, "--workdir", work, "--backend", "cog", "--config", "compress=DEFLATE")
    command = [sys.executable, "-m", "subregion.cli.main", *map(str, args)]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell that runs tests in the background has them ignore interrupts, and their children too.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    ) as running:
        unfinished = work / "_cache" / "frames" / "unfinished"
        deadline = time.monotonic() + 60
        while not (unfinished.is_dir() and any(unfinished.iterdir())) and time.monotonic() < deadline:
            time.sleep(0.01)
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=60)
    assert running.returncode == 130, said
    assert "Traceback" not in said
    assert len(said.splitlines()) == 1
    assert files_in(unfinished) == []
    again = program(*args, "--json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["converted"] == 1


@pytest.mark.skipif(os.name == "nt", reason="pipes are POSIX")
def test_broken_pipe_is_quiet() -> None:
    command = [sys.executable, "-m", "subregion.cli.main", "info", *[PHOTOGRAPH] * 400]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.readline()
        running.stdout.close()
        said = running.stderr.read()
    assert said == ""
    assert running.returncode != 0


def test_progress_is_silent_when_not_a_terminal(tmp_path: Path) -> None:
    result = program("prepare", PHOTOGRAPH, "--workdir", tmp_path / "work")
    assert result.returncode == 0
    assert result.stderr == ""
