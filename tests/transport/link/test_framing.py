"""Chunks written by hand are what protobuf writes, and are read as protobuf reads them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedjoint.transport.link import link_pb2 as wire
from fedjoint.transport.link.framing import Chunk, frame_from_bytes, frame_to_bytes


def chunk(data):
    return Chunk(memoryview(data))


@pytest.mark.parametrize("size", [1, 127, 128, 16_383, 16_384, 1 << 20])
def test_a_chunk_is_written_as_protobuf_writes_it(size):
    data = bytes(size)
    assert frame_to_bytes(chunk(data)) == wire.Frame(chunk=data).SerializeToString()


@given(st.binary(min_size=1, max_size=400))
def test_a_chunk_that_protobuf_wrote_is_read_without_a_copy(data):
    read = frame_from_bytes(wire.Frame(chunk=data).SerializeToString())
    assert isinstance(read, Chunk) and read.data == data


@given(st.binary(max_size=60), st.booleans())
def test_any_bytes_are_read_as_protobuf_reads_them_or_as_an_empty_frame(data, looks_like_a_chunk):
    data = b"\x22" + data if looks_like_a_chunk else data
    read = frame_from_bytes(data)
    try:
        expected = wire.Frame.FromString(data)
    except Exception:
        expected = wire.Frame()
    if isinstance(read, Chunk):
        assert expected.chunk == read.data and expected.WhichOneof("body") == "chunk"
    else:
        assert read == expected


def test_other_frames_come_back():
    beat = wire.Frame(beat=wire.Beat(number=5))
    assert frame_from_bytes(frame_to_bytes(beat)) == beat
