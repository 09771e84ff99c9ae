"""A few trials of each attack: ``make chaos`` makes many."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from chaos.suite import ATTACKS, attack, told


@pytest.mark.skipif(sys.platform != "linux", reason="looks at processes as Linux shows them")
@pytest.mark.parametrize("name", ATTACKS)
def test_nothing_comes_of_an_attack(name: str, tmp_path: Path) -> None:
    account = attack(name, seed=1, full=False, folder=tmp_path)
    assert not account.failed, told(account)
    if not account.counts:
        pytest.skip(" ".join(account.notes))
    assert account.trials
