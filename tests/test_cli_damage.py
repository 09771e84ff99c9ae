"""Malformed arguments and files at the command line: one line and status 1, never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from subregion.cli.main import app

DIGITS = "9" * 5000
LONG = "x" * 5000

REFUSED: list[tuple[str, ...]] = [
    *(("info", name) for name in ("missing.png", "", "sub", "pipe.png", "bad.png", LONG, "~nobody/a.png")),
    *(("info", "a.png", "--backend", name) for name in ("xx", DIGITS)),
    *(("info", "a.png", "--backend", "cog", "--config", value)
      for value in (f"blocksize={DIGITS}", "blocksize=²", "blocksize=-1", "=5", "nothing", LONG)),
    ("info", "a.png", "--hashid-mode", "x"),
    *(("prepare", ".", "--pattern", value, "--workdir", "w")
      for value in ("/etc/*", "", "**x", "../*", LONG, "nothing*")),
    ("prepare", "a.png", "--workdir", "text", "--backend", "npy"),
    ("prepare", "a.png", "--workdir", "text/x", "--backend", "npy"),
    ("prepare", "a.png", "--hashid-mode", "GIVEN", "--backend", "npy"),
    ("prepare", "a.png", "--workers", "99999999", "--workdir", "w", "--backend", "npy"),
    *(("read", "a.png", "o.png", "--region", value)
      for value in (f"{DIGITS}:", "1:2:0", "::-1", "a", "5", "", ",,,,", "...,...", "1:2:3:4", "1e3:", LONG)),
    *(("read", "a.png", "o.png", "--window", value)
      for value in (f"0,0,1,{DIGITS}", "0,0,9999999999,9999999999", "0,0,-1,1", "0,0,1", "a", "0,0,0,0",
                    "0,0,1.5,1", "99999999999999999999,0,1,1", LONG)),
    *(("read", "a.png", "o.png", "--bounds", value) for value in ("0,0,1,1", "nan,0,1,1", "x", LONG)),
    ("read", "a.png", "o.png", "--bounds", "0,0,1,1", "--crs", "junk"),
    *(("read", "a.png", "o.png", "--window", "-1,-1,5,5", "--fill", value)
      for value in ("inf", "nan", "1e999", "x", "300", "", DIGITS)),
    *(("read", "a.png", "o.png", "--channels", value) for value in ("", "r||", "r", DIGITS, "65536|65536")),
    *(("read", "a.png", value)
      for value in ("o.bmp", "", "sub", "sub/x/o.png", f"{LONG}.png", "text/o.png", "/proc/o.png")),
    *(("read", name, "o.png") for name in ("bad.png", "pipe.png", "sub", "text")),
    *(("show", "a.png", value) for value in ("o.jpg", "sub/x/o.png", f"{LONG}.png", "/proc/o.png")),
    *(("show", name) for name in ("bad.png", "pipe.png", "/", ".")),
    *(("demo", "--quick", "--output", value) for value in ("text", "text/x", "/proc/x")),
    *(("bench", "--results", name) for name in ("missing", "sub", *(f"{k}.json" for k in range(8)))),
    *(("bench", "--quick", "--picture", f"relief{value}") for value in ("s", ":x", ":-1", f":{DIGITS}")),
    *(("bench", "--quick", option, "x") for option in ("--benchmark", "--peer")),
]  # fmt: skip

RESULTS = [
    b"[[[",
    b'{"rows": 5}',
    b"[" * 100_000,
    b"5",
    b'{"rows": [1]}',
    b'{"rows": [{"a": 1}]}',
    b"\xff\xfe",
]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    Image.fromarray(np.zeros((40, 60, 3), np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (tmp_path / "sub").mkdir()
    (tmp_path / "text").write_text("once upon a time")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.png")
    for number, content in enumerate(RESULTS):
        (tmp_path / f"{number}.json").write_bytes(content)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def described(arguments: tuple[str, ...]) -> str:
    return " ".join(argument[:30] for argument in arguments)


@pytest.mark.parametrize("arguments", REFUSED, ids=described)
def test_one_line_and_status_1(arguments: tuple[str, ...], here: Path) -> None:
    before = sorted(here.iterdir())
    result = CliRunner().invoke(app, arguments, prog_name="subregion")
    assert result.exit_code == 1, result.output
    assert type(result.exception) is SystemExit
    (line,) = result.stderr.splitlines()[-1:] if arguments[0] == "prepare" else result.stderr.splitlines()
    assert line.startswith("subregion: ")
    assert len(line) < 500 or LONG in line or DIGITS in line
    assert [each for each in sorted(here.iterdir()) if each.name != "w"] == before


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes")
def test_names_that_are_no_text(here: Path) -> None:
    odd = os.fsencode(here) + b"/\xff\xfe.png"
    os.rename("a.png", odd)
    (here / "two\nlines.png").write_bytes(Path(os.fsdecode(odd)).read_bytes())
    calls: list[list[str | bytes]] = [
        ["info", odd], ["prepare", odd, "--workdir", b"\xff"], ["read", odd, b"\xff\xfd.npy", "--overwrite"],
        ["info", odd, "--json"], ["info", "two\nlines.png"], ["show", odd, "--overwrite"],
        ["prepare", odd, "--workdir", "w", "--backend", "npy", "--json"],
    ]  # fmt: skip
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    for environment, wanted in ((ascii_only, calls), ({}, calls[:3])):
        for arguments in wanted:
            command = [sys.executable, "-m", "subregion.cli.main", *arguments]
            done = subprocess.run(
                command, capture_output=True, timeout=60, check=False, env=os.environ | environment
            )
            assert done.returncode == 0, done.stderr
            assert done.stderr == b""
    gone = subprocess.run(
        [sys.executable, "-m", "subregion.cli.main", "info", "no\nfile.png", b"no \xff"],
        capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert gone.returncode == 1
    assert len(gone.stderr.splitlines()) == 2


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is full")
@pytest.mark.parametrize(
    "arguments", [["info", "a.png"], ["info", "a.png", "--json"], ["read", "a.png", "b.npy"]]
)
def test_an_output_without_room_is_one_line(arguments: list[str]) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "subregion.cli.main", *arguments],
            stdout=full, stderr=subprocess.PIPE, timeout=60, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.strip() == b"subregion: No space left on device."


def test_names_as_long_as_names_can_be() -> None:
    name = "x" * 250 + ".png"
    assert CliRunner().invoke(app, ["read", "a.png", name, "--backend", "none"]).exit_code == 0
    assert os.path.exists(name)
