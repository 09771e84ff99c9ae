"""The language of channel names, compared with the library that invented it."""

from __future__ import annotations

from typing import Any

import pytest
from delayed_image.channel_spec import FusedChannelSpec
from hypothesis import given, settings
from hypothesis import strategies as st

from subregion.errors import ConfigError
from subregion.geometry.channels import parse_channels, parse_streams

names = st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,4}", fullmatch=True)
codes = (
    names
    | st.sampled_from(["rgb", "rgba", "dxdy", "fxfy"])
    | st.builds("{}:{}".format, names, st.integers(1, 5))
    | st.builds("{}.{}:{}".format, names, st.integers(0, 3), st.integers(4, 6))
    | st.builds("{}:{}:{}".format, names, st.integers(0, 3), st.integers(4, 6))
    | st.builds("{}:{}:{}:{}".format, names, st.integers(0, 3), st.integers(4, 9), st.integers(1, 3))
    | st.builds("{}.{}:{}:{}".format, names, st.integers(0, 3), st.integers(4, 9), st.integers(1, 3))
)


@settings(deadline=None)
@given(st.lists(st.lists(codes, min_size=1, max_size=3), min_size=1, max_size=3))
def test_same_names_as_kwcoco(streams: list[list[str]]) -> None:
    spec = ",".join("|".join(stream) for stream in streams)
    expected = tuple(
        tuple(FusedChannelSpec.coerce("|".join(stream)).normalize().parsed) for stream in streams
    )
    assert parse_streams(spec) == expected
    assert parse_channels(spec) == tuple(name for stream in expected for name in stream)


def test_numbers_are_channels_without_a_name() -> None:
    assert parse_channels("3") == ("u0", "u1", "u2")
    assert parse_channels(["nir", "rgb"]) == ("nir", "r", "g", "b")
    assert parse_channels("B8.0") == ("B8.0",)


@pytest.mark.parametrize(
    "spec",
    [
        *("", "r||g", "r,,g", "a:0", "a.4:4", "a.0:4:0", "0", "99999999", [1], 3, b"r", None, ["65536", "r"]),
        *("9" * 5000, f"a:{10**30}", f"a.{10**30}:{10**30 + 3}", f"a:0:{10**30}:{10**28}"),
        *("|".join(["65000"] * 9999), "a:1:99999999999:2"),
    ],
)
def test_specs_without_meaning_are_errors(spec: Any) -> None:
    with pytest.raises(ConfigError, match="channels"):
        parse_channels(spec)
