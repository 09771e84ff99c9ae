"""Two hundred damaged files: ``make fuzz`` reads many."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from fuzz import seeds
from fuzz.__main__ import GRAVE, run
from fuzz.runner import cases


@pytest.mark.skipif(sys.platform != "linux", reason="measures processes as Linux shows them")
def test_damaged_files_are_errors_or_pictures(tmp_path: Path) -> None:
    names = list(seeds.kinds())
    made = seeds.make(tmp_path / "seeds", names)
    names = [name for name in names if made[name]]
    account = run(list(cases(names, 200, seed=1)), made, tmp_path, jobs=2, quiet=True)
    grave = [finding for finding in account.findings.values() if finding.kind in GRAVE]
    assert not grave, "\n".join(f"{finding.case}: {finding.kind}: {finding.detail}" for finding in grave)
    assert account.files.total() > 170
    assert account.pixels.total() > 70
