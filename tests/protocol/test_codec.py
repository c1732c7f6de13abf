"""Any bytes become a value or a reason, never an exception; the fingerprint covers every layout."""

import os
import random
from typing import Any

import construct as k
import pytest
from construct import Container
from hypothesis import example, given
from hypothesis import strategies as st

from protocol import codec, schemas
from protocol.constants import HELLO_BYTES, MAX_DATAGRAM_BYTES, MAX_SECTIONS, PING_BYTES, Kind, Option
from protocol.drops import DropReason
from tools.generate.vector_datagrams import datagram_cases

FULL = bool(os.environ.get("TICKRELAY_FULL"))
VALID = [(kind, schemas.DATAGRAMS[kind].build(value)) for _, kind, value in datagram_cases()]
REASONS = {
    DropReason.TOO_SHORT,
    DropReason.TOO_LONG,
    DropReason.UNKNOWN_KIND,
    DropReason.MALFORMED,
    DropReason.BAD_MAGIC,
    DropReason.BAD_SECTION,
}


def check(data: bytes) -> DropReason | None:
    """Decode, and hold the answer against what may be answered. Returns the reason, if there is one."""
    result = codec.decode(data)
    if isinstance(result, DropReason):
        assert result in REASONS
        return result
    assert isinstance(result, Container)
    return None


@given(st.binary(max_size=80))
@example(b"")
@example(b"\x01")
def test_random_bytes_give_a_value_or_a_reason(data: bytes) -> None:
    check(data)


@given(st.sampled_from(list(Kind)), st.binary(max_size=300))
def test_random_bytes_after_a_true_kind_give_a_value_or_a_reason(kind: Kind, rest: bytes) -> None:
    check(bytes([kind]) + rest)


def mutated(rng: random.Random, data: bytes) -> bytes:
    """Damage a datagram in one of the ways in which networks and attackers do."""
    out = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        match rng.randrange(6):
            case 0 if out:
                out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
            case 1 if out:
                out[rng.randrange(len(out))] = rng.choice((0, 1, 127, 128, 254, 255))
            case 2:
                del out[rng.randint(0, len(out)) :]
            case 3:
                out += rng.randbytes(rng.randint(1, 40))
            case 4 if out:
                at = rng.randrange(len(out))
                del out[at : at + rng.randint(1, 4)]
            case _:
                at = rng.randint(0, len(out))
                out[at:at] = rng.randbytes(rng.randint(1, 4))
    return bytes(out)


def test_mutated_valid_datagrams_give_a_value_or_a_reason() -> None:
    rng = random.Random(20260101)
    seen: set[DropReason | None] = set()
    for _ in range(500_000 if FULL else 20_000):
        seen.add(check(mutated(rng, rng.choice(VALID)[1])))
    seen.add(check(bytes(2) + bytes(MAX_DATAGRAM_BYTES)))
    assert seen == REASONS | {None}


@pytest.mark.parametrize("cut", range(1, 6))
def test_a_valid_datagram_that_lost_its_end_never_raises(cut: int) -> None:
    for _, data in VALID:
        check(data[:-cut])


def test_every_kind_is_among_the_valid_cases() -> None:
    assert {kind for kind, _ in VALID} == set(Kind)
    assert all(check(data) is None for _, data in VALID)


def test_a_datagram_beyond_the_largest_size_is_too_long() -> None:
    ping = codec.encode(Kind.PING, shard=0, nonce=1)
    assert codec.decode(ping.ljust(MAX_DATAGRAM_BYTES, b"\0")).nonce == 1
    assert codec.decode(ping.ljust(MAX_DATAGRAM_BYTES + 1, b"\0")) is DropReason.TOO_LONG
    assert codec.decode(ping.ljust(MAX_DATAGRAM_BYTES + 2, b"\0")) is DropReason.TOO_LONG


@pytest.mark.parametrize(("kind", "least"), [(Kind.HELLO, HELLO_BYTES), (Kind.PING, PING_BYTES)])
def test_padding_is_part_of_the_datagram(kind: Kind, least: int) -> None:
    """An unpadded request could be answered by something larger, so it is not taken."""
    data = next(data for found, data in VALID if found is kind)
    assert len(data) == least
    assert codec.decode(data[:-1]) is DropReason.TOO_SHORT
    assert isinstance(codec.decode(data + b"later"), Container)


def bare(kind: Kind) -> bytes:
    return next(data for found, data in VALID if found is kind)


def test_a_datagram_with_more_sections_than_permitted_is_dropped_whole() -> None:
    section = b"\xc8\x01\x00x"
    data = bare(Kind.DATA)
    assert len(codec.decode(data + section * MAX_SECTIONS).sections) == MAX_SECTIONS
    assert codec.decode(data + section * (MAX_SECTIONS + 1)) is DropReason.BAD_SECTION
    assert codec.decode(data + section * (MAX_SECTIONS + 2)) is DropReason.BAD_SECTION


def test_an_update_has_as_many_sections_as_fit() -> None:
    # Found by a client written from SPEC.md alone: it enforced the cap of DATA on UPDATE, and pages never arrived.
    data = bare(Kind.UPDATE)
    fitting = (MAX_DATAGRAM_BYTES - len(data)) // 4
    assert len(codec.decode(data + b"\xc8\x01\x00x" * fitting).sections) == fitting


def test_another_magic_is_refused() -> None:
    data = codec.encode(Kind.PING, shard=0, nonce=1, magic=b"TKRX")
    assert codec.decode(data) is DropReason.BAD_MAGIC


def test_encode_fills_kind_and_magic_in() -> None:
    data = codec.encode(Kind.PING, shard=3, nonce=9)
    assert data[:6] == b"\x07\x03TKRL"
    assert len(data) == PING_BYTES


def test_what_the_caller_forgets_raises() -> None:
    with pytest.raises((k.ConstructError, KeyError)):
        codec.encode(Kind.PING, shard=3)


def test_of_an_option_that_stands_twice_the_first_counts() -> None:
    fields: dict[str, Any] = dict.fromkeys(("kind", "shard", "nonce", "revision", "features", "mode"), 0)
    fields |= {"kind": Kind.JOIN, "cookie": bytes(20), "code": bytes(16), "name": bytes(32)}
    options = [{"key": Option.MAX_PLAYERS, "value": b"\x02\x00"}, {"key": Option.MAX_PLAYERS, "value": b"\x09\x00"}]
    value = codec.decode(codec.encode(Kind.JOIN, fields=fields, options=options))
    assert isinstance(value, Container)
    assert codec.options_of(value) == {Option.MAX_PLAYERS: b"\x02\x00"}


def test_a_text_is_cut_between_letters() -> None:
    assert codec.text_bytes("plain", 200) == b"plain"
    assert codec.text_bytes("x" * 202, 200) == b"x" * 200
    assert codec.text_bytes("ä" * 101, 201) == ("ä" * 100).encode()
    assert codec.text_bytes("ä", 1) == b""


@given(st.text(), st.integers(0, 50))
def test_a_cut_text_is_the_longest_beginning_that_fits(text: str, limit: int) -> None:
    cut = codec.text_bytes(text, limit)
    assert len(cut) <= limit
    kept = cut.decode()
    assert text.startswith(kept)
    assert kept == text or len(text[: len(kept) + 1].encode()) > limit


# --- The fingerprint


def test_the_description_has_a_line_for_every_layout_and_no_address_of_an_object() -> None:
    lines = codec.layout_text().splitlines()
    names = {line.split("=")[0] for line in lines}
    assert {
        name for name in vars(schemas) if name.isupper() and isinstance(getattr(schemas, name), k.Construct)
    } <= names
    assert {kind.name for kind in Kind} <= names
    assert " at 0x" not in codec.layout_text()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (k.Bytes(3), k.Bytes(4)),
        (k.Int16ul, k.Int16ub),
        (k.Array(k.this.n, k.Int8ul), k.Array(k.this.m, k.Int8ul)),
        (k.Array(2, k.Int8ul), k.Array(2, k.Int16ul)),
        (k.Prefixed(k.Int8ul, k.GreedyBytes), k.Prefixed(k.Int16ul, k.GreedyBytes)),
        (k.Padded(8, k.Int8ul), k.Padded(9, k.Int8ul)),
        (k.Struct("a" / k.Int8ul), k.Struct("b" / k.Int8ul)),
        (k.Struct("a" / k.Int8ul), k.Struct("a" / k.Int8ul, k.Terminated)),
        (
            k.Switch(k.this.t, {1: k.Int8ul}, default=k.GreedyBytes),
            k.Switch(k.this.t, {2: k.Int8ul}, default=k.GreedyBytes),
        ),
        (
            k.GreedyRange(k.Struct("a" / k.Bytes(k.this._.n))),
            k.GreedyRange(k.Struct("a" / k.Bytes(k.this.n))),
        ),
    ],
)
def test_layouts_that_differ_are_described_differently(
    monkeypatch: pytest.MonkeyPatch, one: k.Construct, other: k.Construct
) -> None:
    texts = []
    for schema in (one, other):
        monkeypatch.setattr(schemas, "ADDED", k.Struct("inner" / k.Struct("x" / schema)), raising=False)
        texts.append(codec.layout_text())
    assert texts[0] != texts[1]


def test_a_class_of_schema_that_nobody_described_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schemas, "ADDED", k.Struct("x" / k.VarInt), raising=False)
    with pytest.raises(TypeError, match="VarInt"):
        codec.layout_text()


def test_a_new_constant_changes_the_description(monkeypatch: pytest.MonkeyPatch) -> None:
    before = codec.layout_text()
    monkeypatch.setattr(codec.constants, "MAX_SECTIONS", 25)
    assert codec.layout_text() != before


def test_a_new_revision_alone_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    before = codec.layout_text()
    monkeypatch.setattr(codec.constants, "REVISION_MAX", 2)
    assert codec.layout_text() == before
