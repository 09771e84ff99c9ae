"""What tests of the faces share."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from subregion import SubregionError

DIGITS = 10**5000  # Python does not write such a number out
BEYOND = 10**30


def refused(call: Callable[[], Any], error: type[Exception] = SubregionError, said: str | None = None) -> str:
    start = time.monotonic()
    with pytest.raises(error, match=said) as caught:
        call()
    assert isinstance(caught.value, SubregionError)
    assert time.monotonic() - start < 3
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 1000
    return message
