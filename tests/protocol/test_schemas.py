"""The layouts: sizes that the SPEC states, bytes written by hand, and replies no larger than what causes them."""

import re
import struct
from pathlib import Path
from typing import Any

import pytest
from construct import Construct, ConstructError, Terminated

import protocol
from protocol import schemas
from protocol.constants import (
    FIRST_REQUEST_KIND,
    HELLO_BYTES,
    MAX_FRAGMENT_BYTES,
    MAX_KEPT_MESSAGE_BYTES,
    MAX_PLAYER_KIND,
    MAX_TEXT_BYTES,
    PING_BYTES,
    REGION_BYTES,
    DataSection,
    EntryKind,
    Kind,
    Option,
    RequestKind,
    UpdateSection,
)

SPEC = (Path(protocol.__file__).parent / "SPEC.md").read_text(encoding="utf-8")

SIZES = {
    "HELLO_FIELDS": 1 + 1 + 4 + 8 + 2 + 2 + 4 + 4 + 24 + 16,
    "PING_FIELDS": 1 + 1 + 4 + 8,
    "CHALLENGE": 1 + 1 + 8 + 2 + 4 + 4 + 20,
    "JOIN_FIELDS": 1 + 1 + 8 + 20 + 2 + 4 + 1 + 16 + 32,
    "WELCOME_FIELDS": 108,
    "LIST_FIELDS": 1 + 1 + 8 + 20 + 2 + 4 + 4 + 1,
    "ROOMS_FIELDS": 1 + 1 + 8 + 4 + 4 + 4,
    "LISTED_ROOM_FIELDS": 16 + 2 + 2 + 1,
    "REDIRECT": 1 + 1 + 8 + 16 + 2 + 1,
    "RESET": 26,
    "PATH_CHALLENGE": 18,
    "PATH_RESPONSE": 34,
    "DATA_HEADER": 26,
    "UPDATE_HEADER": 32,
    "SECTION_HEADER": 3,
    "STATE_HEADER": 4,
    "MESSAGE_HEADER": 8,
    "SIGNAL_UP_HEADER": 10,
    "SIGNAL_DOWN_HEADER": 10,
    "PAGE_HEADER": 13,
    "GROUP_HEADER": 3,
    "RANGE_HEADER": 12,
    "ENTRY_HEADER": 11,
}
EMPTY_REFUSE = 1 + 1 + 8 + 1 + 2 + 2 + 1
EMPTY_PONG = 1 + 1 + 8 + 2 + 2 + 16 + 2 + 1 + 4 + 4 + 4


def size_of(schema: Construct) -> int:
    """Size of a fixed layout; `sizeof` alone stumbles over Terminated, which has none."""
    return sum(field.sizeof() for field in schema.subcons if field is not Terminated)


@pytest.mark.parametrize("name", SIZES)
def test_a_fixed_layout_has_the_stated_size(name: str) -> None:
    assert size_of(getattr(schemas, name)) == SIZES[name]


def test_the_spec_states_the_sizes_of_the_two_headers() -> None:
    assert f"DATA:* at least {SIZES['DATA_HEADER']} bytes" in SPEC
    assert f"UPDATE: at least {SIZES['UPDATE_HEADER']} bytes" in SPEC
    assert "What follows byte 66 is ignored" in SPEC and SIZES["HELLO_FIELDS"] == 66


def test_every_kind_has_a_layout_and_starts_with_kind_and_shard() -> None:
    assert set(schemas.DATAGRAMS) == set(Kind)
    for kind, schema in schemas.DATAGRAMS.items():
        head = schema.subcon if kind in (Kind.HELLO, Kind.PING) else schema
        if kind in (Kind.JOIN, Kind.WELCOME, Kind.LIST, Kind.ROOMS, Kind.DATA, Kind.UPDATE):
            head = schema.subcons[0].subcon
        assert [field.name for field in head.subcons[:2]] == ["kind", "shard"], kind


def test_data_and_update_start_alike() -> None:
    names = [[field.name for field in header.subcons[:8]] for header in (schemas.DATA_HEADER, schemas.UPDATE_HEADER)]
    assert names[0] == names[1] == ["kind", "shard", "seq", "session", "ack", "ack_bits", "ack_delay", "flags"]


def test_every_type_of_section_has_a_layout() -> None:
    assert set(schemas.DATA_SECTION_BODIES) == set(DataSection)
    assert set(schemas.UPDATE_SECTION_BODIES) == set(UpdateSection)


def test_no_reply_to_an_unproven_address_is_larger_than_its_cause() -> None:
    assert EMPTY_REFUSE + MAX_TEXT_BYTES <= HELLO_BYTES
    assert size_of(schemas.CHALLENGE) <= HELLO_BYTES
    assert size_of(schemas.CHALLENGE) <= size_of(schemas.JOIN_FIELDS)  # a JOIN with a stale cookie gets a fresh one
    assert size_of(schemas.CHALLENGE) <= size_of(schemas.LIST_FIELDS)  # and a LIST
    assert EMPTY_PONG + 1 + REGION_BYTES <= PING_BYTES
    assert size_of(schemas.RESET) <= size_of(schemas.DATA_HEADER)
    assert size_of(schemas.PATH_CHALLENGE) <= size_of(schemas.DATA_HEADER)


HELLO_HAND = (
    struct.pack("<BB4sQHHII", 1, 0, b"TKRL", 2**63 + 5, 1, 2, 3, 4) + b"game".ljust(24, b"\0") + b"1.0".ljust(16, b"\0")
)
NEVER_CHANGING: dict[Kind, tuple[bytes, dict[str, Any]]] = {
    Kind.HELLO: (
        HELLO_HAND.ljust(256, b"\0"),
        {
            "kind": 1,
            "shard": 0,
            "magic": b"TKRL",
            "nonce": 2**63 + 5,
            "revision_min": 1,
            "revision_max": 2,
            "features": 3,
            "fingerprint": 4,
            "client_name": b"game".ljust(24, b"\0"),
            "client_release": b"1.0".ljust(16, b"\0"),
        },
    ),
    Kind.CHALLENGE: (
        struct.pack("<BBQHII20s", 2, 7, 5, 1, 3, 4, b"c" * 20),
        {"kind": 2, "shard": 7, "nonce": 5, "revision": 1, "features": 3, "fingerprint": 4, "cookie": b"c" * 20},
    ),
    Kind.REFUSE: (
        struct.pack("<BBQBHHB3s", 5, 7, 5, 1, 2, 3, 3, b"old"),
        {"kind": 5, "shard": 7, "nonce": 5, "reason": 1, "revision_min": 2, "revision_max": 3, "text": b"old"},
    ),
    Kind.PING: (
        struct.pack("<BB4sQ", 7, 0, b"TKRL", 5).ljust(128, b"\0"),
        {"kind": 7, "shard": 0, "magic": b"TKRL", "nonce": 5},
    ),
    Kind.PONG: (
        struct.pack("<BBQHH16sHBIII", 8, 0, 5, 1, 2, b"r" * 16, 30, 50, 1, 2, 3),
        {
            "kind": 8,
            "shard": 0,
            "nonce": 5,
            "revision_min": 1,
            "revision_max": 2,
            "release": b"r" * 16,
            "tick_rate": 30,
            "load_percent": 50,
            "players": 1,
            "max_players": 2,
            "rooms": 3,
            "later": b"",
        },
    ),
}


@pytest.mark.parametrize("kind", NEVER_CHANGING, ids=lambda kind: kind.name)
def test_the_layouts_that_never_change_are_these_bytes(kind: Kind) -> None:
    data, value = NEVER_CHANGING[kind]
    schema = schemas.DATAGRAMS[kind]
    assert schema.build(value) == data
    parsed = schema.parse(data)
    assert {name: parsed[name] for name in value} == value


def test_the_lengths_of_a_page_group_come_from_its_own_header() -> None:
    """`states` once took its stride from the header of the section, which has none: every page was malformed."""
    section = struct.pack("<HBIIBB", 2, 0, 8, 9, 1, 2) + struct.pack("<H", 70)
    section += struct.pack("<BBBH", 0, 1, 3, 70) + b"\x05abc"
    section += struct.pack("<BBBHH", 0, 2, 1, 71, 72) + b"\x06\x07xy"
    page = schemas.PAGE_SECTION.parse(section)
    assert list(page.removed) == [70]
    assert [(list(g.ids), list(g.ages), list(g.states)) for g in page.groups] == [
        ([70], [5], [b"abc"]),
        ([71, 72], [6, 7], [b"x", b"y"]),
    ]


def test_an_entry_ends_where_its_length_says() -> None:
    header = {"index": 1, "kind": 1, "flags": 0, "sender": 2, "channel": 0, "part": 0, "length": 2}
    data = schemas.ENTRY.build({"header": header, "payload": b"hi"})
    assert data == struct.pack("<HBBHBHH", 1, 1, 0, 2, 0, 0, 2) + b"hi"
    assert schemas.ENTRY.parse(data + b"next").payload == b"hi"


ROOM = HOST = 65_535
PAYLOADS: dict[EntryKind | RequestKind, tuple[bytes, dict[str, Any]]] = {
    EntryKind.PLAYER_JOINED: (b"\x03\x00Ada", {"player_id": 3, "name": b"Ada"}),
    EntryKind.PLAYER_LEFT: (b"\x03\x00\x02", {"player_id": 3, "reason": 2}),
    EntryKind.HOST_CHANGED: (b"\xff\xff", {"player_id": 65_535}),
    EntryKind.ROSTER: (
        b"\x01\x00" + b"\x01\x00\x00\x03Bob" + b"\x02\x00\x01\x00",
        {
            "host": 1,
            "members": [
                {"player_id": 1, "is_away": 0, "name": b"Bob"},
                {"player_id": 2, "is_away": 1, "name": b""},
            ],
        },
    ),
    EntryKind.PLAYER_AWAY: (b"\x03\x00", {"player_id": 3}),
    EntryKind.PLAYER_BACK: (b"\x03\x00\x01", {"player_id": 3, "is_afresh": 1}),
    EntryKind.PROPERTY_CHANGED: (
        b"\x03\x00\xff\xff\x03map\x04Bonn",
        {"player_id": 3, "owner": ROOM, "key": b"map", "type": 4, "value": b"Bonn"},
    ),
    EntryKind.PROPERTIES: (
        b"\x07\x00\x01\x00\xff\xff\x03map\x04\x04Bonn" + b"\x08\x00\x00\x00\x03\x00\x01r\x01\x01\x01",
        {
            "properties": [
                {"version": 65_543, "owner": ROOM, "key": b"map", "type": 4, "value": b"Bonn"},
                {"version": 8, "owner": 3, "key": b"r", "type": 1, "value": b"\x01"},
            ]
        },
    ),
    EntryKind.ENTITY_OWNER: (b"\x05\x01\x03\x00", {"entity_id": 261, "owner": 3}),
    EntryKind.OWNERS: (
        b"\x05\x01\x03\x00" + b"\x06\x01\xff\xff",
        {"owners": [{"entity_id": 261, "owner": 3}, {"entity_id": 262, "owner": HOST}]},
    ),
    EntryKind.ROOM_LOCKED: (b"\x01", {"is_locked": 1}),
    EntryKind.REQUEST_REFUSED: (b"\x09\x01\x74\x03", {"message_id": 265, "request": 116, "reason": 3}),
    EntryKind.ROOM_READY: (b"\x00\x05\x80", {"is_locked": 0, "pages": b"\x05\x80"}),
    EntryKind.KEPT_CLEARED: (
        b"\x03\x00" + b"\x07\x00\x01\x00" + b"\x05\x00\x00\x00",
        {"player_id": 3, "cleared": [{"log_index": 65_543}, {"log_index": 5}]},
    ),
    EntryKind.ROOM_SHOWN: (b"\x01", {"is_listed": 1}),
    RequestKind.SET_PROPERTY: (
        b"\xff\xff\x01\x07\x00\x01\x00\x03map\x04Bonn",
        {"owner": ROOM, "is_conditional": 1, "version": 65_543, "key": b"map", "type": 4, "value": b"Bonn"},
    ),
    RequestKind.GIVE_ENTITY: (b"\x05\x01\xff\xff", {"entity_id": 261, "owner": HOST}),
    RequestKind.CLEAR_KEPT: (b"\x07\x00\x01\x00", {"log_index": 65_543}),
    RequestKind.HAND_OVER_HOST: (b"\x03\x00", {"player_id": 3}),
    RequestKind.KICK: (b"\x03\x00bye", {"player_id": 3, "text": b"bye"}),
    RequestKind.BAN: (b"\x03\x00\x01", {"player_id": 3, "flags": 1, "text": b""}),
    RequestKind.LOCK: (b"\x00", {"is_locked": 0}),
    RequestKind.SHOW: (b"\x01\x03map\x04laps", {"is_listed": 1, "keys": [b"map", b"laps"]}),
}
"""Written by hand from the tables of SPEC 9."""
OPEN_ENDED = {
    EntryKind.PLAYER_JOINED,
    EntryKind.PROPERTY_CHANGED,
    EntryKind.ROOM_READY,
    RequestKind.SET_PROPERTY,
    RequestKind.KICK,
    RequestKind.BAN,
}
"""Their last field is the rest."""


def schema_of(kind: EntryKind | RequestKind) -> Construct:
    return schemas.ENTRY_PAYLOADS[kind] if isinstance(kind, EntryKind) else schemas.REQUEST_PAYLOADS[kind]


def plain(value: Any) -> Any:
    """A parsed value without what construct adds for itself."""
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items() if not name.startswith("_")}
    return [plain(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("kind", PAYLOADS, ids=lambda kind: kind.name)
def test_the_payload_of_an_entry_or_a_request_is_these_bytes(kind: EntryKind | RequestKind) -> None:
    data, fields = PAYLOADS[kind]
    assert plain(schema_of(kind).parse(data)) == fields
    assert schema_of(kind).build(fields) == data


def test_every_entry_of_the_server_and_every_request_has_a_layout() -> None:
    assert set(schemas.ENTRY_PAYLOADS) == {kind for kind in EntryKind if kind > MAX_PLAYER_KIND}
    assert set(schemas.REQUEST_PAYLOADS) == {kind for kind in RequestKind if kind >= FIRST_REQUEST_KIND}
    assert set(PAYLOADS) == {*schemas.ENTRY_PAYLOADS, *schemas.REQUEST_PAYLOADS}


@pytest.mark.parametrize("kind", sorted(set(PAYLOADS) - OPEN_ENDED), ids=lambda kind: kind.name)
def test_a_payload_that_is_cut_or_has_a_byte_too_many_is_none(kind: EntryKind | RequestKind) -> None:
    data, _ = PAYLOADS[kind]
    for wrong in (data[:-1], data + b"\x01"):
        with pytest.raises(ConstructError):
            schema_of(kind).parse(wrong)


@pytest.mark.parametrize("kind", sorted(OPEN_ENDED), ids=lambda kind: kind.name)
def test_a_payload_whose_end_is_open_may_be_longer_but_not_without_its_numbers(kind: EntryKind | RequestKind) -> None:
    data, _ = PAYLOADS[kind]
    assert schema_of(kind).parse(data + b"x") is not None
    with pytest.raises(ConstructError):
        schema_of(kind).parse(b"")


def test_a_resume_option_says_session_log_index_and_proof() -> None:
    data = (2**63 + 5).to_bytes(8, "little") + b"\x07\x00\x01\x00" + bytes(range(16))
    fields = {"session": 2**63 + 5, "log_index": 65_543, "proof": bytes(range(16))}
    assert plain(schemas.RESUME_OPTION.parse(data)) == fields
    assert schemas.RESUME_OPTION.build(fields) == data and size_of(schemas.RESUME_OPTION) == 28
    with pytest.raises(ConstructError):
        schemas.RESUME_OPTION.parse(data + b"x")


@pytest.mark.parametrize(
    ("option", "data", "fields"),
    [
        (Option.GAME, b"chess", {"text": b"chess"}),
        (Option.TAGS, b"\x03duo\x01r", {"texts": [b"duo", b"r"]}),
        (Option.SHOWN, b"", {"texts": []}),
        (
            Option.PROPERTIES,
            b"\x03map\x04\x04Bonn\x01r\x01\x01\x01",
            {"properties": [{"key": b"map", "type": 4, "value": b"Bonn"}, {"key": b"r", "type": 1, "value": b"\x01"}]},
        ),
    ],
)
def test_the_value_of_an_option_is_these_bytes(option: Option, data: bytes, fields: dict[str, Any]) -> None:
    schema = schemas.OPTION_LAYOUTS[Kind.JOIN][option]
    assert plain(schema.parse(data)) == fields and schema.build(fields) == data


def test_a_listed_room_is_these_bytes() -> None:
    """Written by hand from the table of SPEC 4."""
    data = (
        b"LOBBY".ljust(16, b"\0") + b"\x03\x00\x04\x00\x01"
        + b"\x04Kart" + b"\x032.3" + b"\x06" + b"\x03duo" + b"\x01r" + b"\x0a\x00" + b"\x03map\x04\x04Bonn"
    )  # fmt: skip
    shown = [{"key": b"map", "type": 4, "value": b"Bonn"}]
    value = {
        "fields": {"code": b"LOBBY".ljust(16, b"\0"), "players": 3, "max_players": 4, "flags": 1},
        "body": {
            "name": b"Kart",
            "version": b"2.3",
            "tags": {"texts": [b"duo", b"r"]},
            "properties": {"properties": shown},
        },
    }
    assert plain(schemas.LISTED_ROOM.parse(data)) == value and schemas.LISTED_ROOM.build(value) == data


def test_the_spec_names_every_option_with_its_number() -> None:
    for option in Option:
        assert f"| {int(option)} | {option.name.lower()} | " in SPEC, option


def test_a_copy_of_a_kept_message_begins_with_the_index_that_the_message_had() -> None:
    data, fields = b"\x07\x00\x01\x00door", {"log_index": 65_543, "payload": b"door"}
    assert plain(schemas.KEPT_COPY.parse(data)) == fields and schemas.KEPT_COPY.build(fields) == data
    assert size_of(schemas.KEPT_INDEX) + MAX_KEPT_MESSAGE_BYTES == MAX_FRAGMENT_BYTES


def test_the_spec_names_every_entry_and_request_with_its_number() -> None:
    for kind in PAYLOADS:
        assert f"| {int(kind)} | {kind.name} | " in SPEC, kind


def test_every_datagram_ends_for_sure() -> None:
    """With Terminated, with padding, or with bytes kept for later; or stray bytes at the end would pass."""
    open_ended = {Kind.HELLO, Kind.PING, Kind.PONG}
    for kind, schema in schemas.DATAGRAMS.items():
        assert kind in open_ended or schema.subcons[-1] is Terminated, kind


def test_the_spec_has_a_table_for_every_fixed_layout_of_a_datagram() -> None:
    named = set(re.findall(r"<!-- generated: layout (\w+) -->", SPEC))
    assert {name for name in SIZES if name != "SECTION_HEADER"} <= named
