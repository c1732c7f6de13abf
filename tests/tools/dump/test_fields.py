"""Every field with its place: the same values as the codec's, from the same schemas."""

from typing import Any

import pytest
from hypothesis import given, settings

from protocol import codec
from protocol.constants import HELLO_BYTES, MAX_SECTIONS, PING_BYTES, Kind
from protocol.drops import DropReason
from tests.tools.dump.samples import GOOD, REFUSED, damaged, datagrams
from tools.dump.fields import ID_NAMES, Reading, plain, read_fields

LAYOUT_REASONS = {DropReason.MALFORMED, DropReason.BAD_SECTION}


def without_private(value: Any) -> Any:
    """The codec's value without what construct adds for itself."""
    if isinstance(value, dict):
        return {key: without_private(item) for key, item in value.items() if not str(key).startswith("_")}
    return [without_private(item) for item in value] if isinstance(value, list) else value


def assert_places_are_right(data: bytes, reading: Reading) -> None:
    """Fields follow each other without a gap, and the bytes at their places are their values."""
    at = 0
    for part in reading.fields:
        assert part.offset == at
        there = data[at : at + part.size]
        assert part.value == (there if isinstance(part.value, bytes) else int.from_bytes(there, "little"))
        at += part.size


@pytest.mark.parametrize("data", [data for _, data in GOOD], ids=[name for name, _ in GOOD])
def test_every_vector_is_read_as_the_codec_reads_it(data: bytes) -> None:
    reading = read_fields(data)
    assert without_private(reading.value) == without_private(codec.decode(data))
    assert reading.stopped_at is None
    assert_places_are_right(data, reading)
    padding_ignored = data[0] in (Kind.HELLO, Kind.PING)
    end = reading.fields[-1].offset + reading.fields[-1].size
    assert end == len(data) or (padding_ignored and end in (HELLO_BYTES, PING_BYTES))


@given(datagrams())
@settings(max_examples=400, deadline=None)
def test_any_datagram_is_read_as_the_codec_reads_it(data: bytes) -> None:
    decoded = codec.decode(data)
    reading = read_fields(data)
    assert reading.stopped_at is None
    assert without_private(reading.value) == (
        without_private(decoded) if not isinstance(decoded, DropReason) else without_private(reading.value)
    )
    assert_places_are_right(data, reading)


@given(damaged())
@settings(max_examples=600, deadline=None)
def test_reading_stops_exactly_where_the_codec_finds_no_layout(data: bytes) -> None:
    decoded = codec.decode(data)
    reading = read_fields(data)
    assert_places_are_right(data, reading)
    if reading.stopped_at is not None:
        assert isinstance(decoded, DropReason) and reading.why and 0 <= reading.stopped_at <= len(data)
    elif isinstance(decoded, DropReason) and decoded in LAYOUT_REASONS:
        assert len(reading.value.sections) > MAX_SECTIONS


@pytest.mark.parametrize(("name", "data", "reason"), REFUSED, ids=[name for name, _, _ in REFUSED])
def test_refused_vectors_are_read_as_far_as_they_go(name: str, data: bytes, reason: str) -> None:
    assert_places_are_right(data, read_fields(data))


def test_where_and_why_it_stops() -> None:
    data = codec.encode(Kind.BYE, shard=0, session=5, reason=1, text=b"gone")
    cut = read_fields(data[:-2])
    assert (cut.stopped_at, cut.why) == (11, "text says 4 bytes, 2 left")
    assert [part.path for part in cut.fields] == ["kind", "shard", "session", "reason", "text.length"]
    longer = read_fields(data + b"x")
    assert (longer.stopped_at, longer.why) == (16, "1 byte too many")
    assert read_fields(b"\x0f\0").why == "kind 15 is not given" and read_fields(b"\x10").stopped_at == 0


def test_numbers_of_64_bits_are_written_as_ids_and_bytes_as_hex() -> None:
    assert {"session", "nonce", "challenge"} == ID_NAMES
    value = codec.decode(codec.encode(Kind.RESET, shard=3, session=0xA1, reset_token=bytes(range(16))))
    assert plain(value) == {
        "kind": 10, "shard": 3, "session": "0x00000000000000a1", "reset_token": "000102030405060708090a0b0c0d0e0f",
    }  # fmt: skip
