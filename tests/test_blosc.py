"""Blosc frames of several parts, against the Blosc of numcodecs."""

import contextlib
import struct

import imagecodecs
import numcodecs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lz4.block import LZ4BlockError

from subregion.codecs import blosc_lz4 as blosc

pytestmark = pytest.mark.pixels  # read by both executors

# What compresses, what does not, and what is a mixture.
CONTENTS = st.one_of(
    st.binary(min_size=1, max_size=3000),
    st.builds(lambda piece, count: piece * count, st.binary(min_size=1, max_size=40), st.integers(1, 100)),
    st.builds(lambda a, b: a + bytes(1500) + b, st.binary(max_size=900), st.binary(max_size=900)),
)


@given(CONTENTS, st.integers(1, 2000), st.integers(1, 12))
def test_any_blosc_decodes_our_frames(data: bytes, part: int, level: int) -> None:
    # Blosc takes parts of some bytes at least.
    frame = blosc.encode_parts(data, max(part, 128), level)
    assert numcodecs.Blosc().decode(frame) == data


@given(CONTENTS, st.integers(128, 2000), st.data())
def test_a_range_is_decoded_in_its_place(data: bytes, part: int, choose: st.DataObject) -> None:
    start = choose.draw(st.integers(0, len(data) - 1))
    stop = choose.draw(st.integers(start + 1, len(data)))
    out = bytearray(len(data))
    frame = blosc.encode_parts(data, part, 5)
    for source in (frame, memoryview(frame)):
        blosc.decode_range(source, len(data), memoryview(out), start, stop)
        assert out[start:stop] == data[start:stop]


def test_only_the_parts_of_a_range_are_decoded() -> None:
    data = bytes(range(1, 251)) * 40
    out = bytearray(len(data))
    blosc.decode_range(blosc.encode_parts(data, 1000, 5), len(data), memoryview(out), 3999, 4001)
    assert bytes(out) == bytes(3000) + data[3000:5000] + bytes(5000)


@pytest.mark.parametrize("shuffle", [0, 1, 2])
@pytest.mark.parametrize("samples", [1, 2, 4])
@pytest.mark.parametrize("codec", ["lz4", "lz4hc", "zstd", "blosclz"])
def test_frames_of_others_are_decoded_whole(codec: str, samples: int, shuffle: int) -> None:
    data = bytes(range(256)) * 64 * samples
    frame = numcodecs.Blosc(codec, 5, shuffle).encode(memoryview(data).cast("B"))
    out = bytearray(len(data))
    blosc.decode_range(frame, len(data), memoryview(out), 100, 200)
    assert out[100:200] == data[100:200]


@given(st.data())
def test_damage_is_an_error_or_gives_other_bytes(choose: st.DataObject) -> None:
    data = bytes(range(200)) * 30
    frame = bytearray(blosc.encode_parts(data, 1000, 5))
    for at in choose.draw(st.lists(st.integers(0, len(frame) - 1), min_size=1, max_size=4)):
        frame[at] ^= choose.draw(st.integers(1, 255))
    out = memoryview(bytearray(len(data)))
    # Any error will do: the reader names the block, and passes it on.
    with contextlib.suppress(ValueError, RuntimeError, struct.error, LZ4BlockError, imagecodecs.BloscError):
        blosc.decode_range(bytes(frame), len(data), out, 1500, 4500)


def test_a_frame_that_was_cut_is_refused() -> None:
    frame = blosc.encode_parts(bytes(1000), 500, 5)
    out = memoryview(bytearray(1000))
    with pytest.raises(ValueError, match="announces"):
        blosc.decode_range(frame[:-1], 1000, out, 0, 10)
    with pytest.raises(ValueError, match="announces"):
        blosc.decode(frame[:-1], 1000, out)
    with pytest.raises(ValueError, match="1000 decoded"):
        blosc.check_frame(frame, 999)


@pytest.mark.parametrize("nbytes", [999, 1001])
def test_a_frame_of_another_size_is_refused(nbytes: int) -> None:
    # What is not decoded would be what the buffer held before.
    frame = blosc.encode_parts(bytes(1000), 500, 5)
    out = memoryview(bytearray(4000))
    with pytest.raises(ValueError, match="1000 decoded"):
        blosc.decode(frame, nbytes, out[:nbytes])
    with pytest.raises(ValueError, match="1000 decoded"):
        blosc.decode_range(frame, nbytes, out[:nbytes], 0, 10)
    with pytest.raises(ValueError, match="1000 decoded"):
        blosc.decode_ranges([(frame, 0, 10)], nbytes, out)


def test_a_frame_of_empty_parts_is_refused() -> None:
    frame = bytearray(blosc.encode_parts(bytes(1000), 500, 5))
    frame[8:12] = bytes(4)
    with pytest.raises(imagecodecs.BloscError):
        blosc.decode_range(bytes(frame), 1000, memoryview(bytearray(1000)), 0, 10)
