"""The benchmark suite lies beside the package: `subregion bench` finds it in a clone, and nowhere else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import subregion

PACKAGE = Path(subregion.__path__[0])
CLONE = Path(__file__).parents[1]


def program(module: str, *arguments: str, path: Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a module with the package that lies in a folder."""
    command = [sys.executable, "-m", module, *arguments]
    environment = os.environ | {"PYTHONPATH": str(path), "COLUMNS": "200"}
    return subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False, cwd=cwd, env=environment
    )


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the package as a wheel brings it."""
    place = tmp_path_factory.mktemp("lib") / "site-packages"
    shutil.copytree(PACKAGE, place / "subregion", ignore=shutil.ignore_patterns("__pycache__"))
    return place


def test_the_package_holds_no_suite() -> None:
    built = tomllib.loads((CLONE / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert built["packages"]["find"] == {"where": ["src"]}
    modules = [path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py")]
    assert Path("cli/clone.py") in modules
    assert [path for path in modules if any(part.startswith("bench") for part in path.parts)] == []


@pytest.mark.parametrize("arguments", [(), ("--quick", "--peer", "rasterio"), ("--list",)])
def test_without_a_clone_one_line_says_where_the_suite_is(
    arguments: tuple[str, ...], installed: Path, tmp_path: Path
) -> None:
    done = program("subregion.cli.main", "bench", *arguments, path=installed, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"subregion: {installed / 'subregion'}: the benchmark suite is not part of the ")
    assert "clone the repository, and run 'make bench' there" in line


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_is_given_with_and_without_a_clone(option: str, installed: Path, tmp_path: Path) -> None:
    for path in (installed, PACKAGE.parent):
        done = program("subregion.cli.main", "bench", option, path=path, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        assert "Usage: subregion bench" in done.stdout
        assert ("--repeats" in done.stdout) == (path != installed)


def test_the_suite_of_the_clone_comes_first(tmp_path: Path) -> None:
    """Whatever is called `benchmarks` where the user is."""
    (tmp_path / "benchmarks").mkdir()
    for name in ("__init__", "command"):
        (tmp_path / "benchmarks" / f"{name}.py").write_text("raise SystemExit('not this one')")
    done = program("subregion.cli.main", "bench", "--list", path=PACKAGE.parent, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "beginnings" in done.stdout


def test_the_status_of_the_suite_is_passed_on(tmp_path: Path) -> None:
    unknown = program("subregion.cli.main", "bench", "--nothing", path=PACKAGE.parent, cwd=tmp_path)
    assert unknown.returncode == 2
    assert "Usage: subregion bench" in unknown.stderr
    refused = program("subregion.cli.main", "bench", "--peer", "nobody", path=PACKAGE.parent, cwd=tmp_path)
    assert refused.returncode == 1
    assert refused.stderr.startswith("subregion: peer 'nobody': known are ")


@pytest.mark.parametrize("module", ["benchmarks", "benchmarks.command"])
def test_the_suite_measures_a_package_that_is_installed(module: str, installed: Path) -> None:
    done = program(module, "--list", path=installed, cwd=CLONE)
    assert (done.returncode, done.stderr) == (0, "")
    assert "beginnings" in done.stdout
