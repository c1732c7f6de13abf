"""PING and PONG."""

from hypothesis import given
from hypothesis import strategies as st

from protocol import codec
from protocol.client import Pong, build_ping, parse_pong
from protocol.constants import Kind


def pong(nonce: int = 5, later: bytes = b"") -> bytes:
    return codec.encode(
        Kind.PONG,
        shard=0,
        nonce=nonce,
        revision_min=1,
        revision_max=2,
        release=b"0.1.0".ljust(16, b"\0"),
        tick_rate=30,
        load_percent=12,
        players=100,
        max_players=2000,
        rooms=20,
        later=later,
    )


def test_a_ping_is_padded_so_that_its_answer_is_not_larger() -> None:
    ping = build_ping(5)
    assert len(ping) == 128
    value = codec.decode(ping)
    assert (value.kind, value.nonce) == (Kind.PING, 5)
    assert len(pong()) <= len(ping)


def test_a_pong_tells_where_the_relay_is_if_it_says_so() -> None:
    for later, region in ((b"", ""), (b"\0", ""), (b"\7eu-west", "eu-west"), (b"\2eulater", "eu"), (b"\7eu", "")):
        told = parse_pong(pong(later=later), 5)
        assert told is not None and told.region == region


def test_a_pong_tells_what_the_relay_says_of_itself() -> None:
    expected = Pong(
        revision_min=1,
        revision_max=2,
        release="0.1.0",
        tick_rate=30,
        load_percent=12,
        players=100,
        max_players=2000,
        rooms=20,
    )
    assert parse_pong(pong(), 5) == expected
    assert parse_pong(pong(later=b"more in a later revision"), 5) == expected


def test_an_answer_to_another_nonce_is_no_answer() -> None:
    assert parse_pong(pong(nonce=6), 5) is None


def test_another_kind_is_no_answer() -> None:
    assert parse_pong(build_ping(5), 5) is None


@given(st.binary(max_size=1300))
def test_any_bytes_are_a_pong_or_none(data: bytes) -> None:
    assert parse_pong(data, 5) is None or data[0] == Kind.PONG
