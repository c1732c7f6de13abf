"""What lies inside of entries, requests and options, in words."""

from random import Random

import pytest

from protocol import schemas
from protocol.constants import EntryKind, MessageFlag, Option, PropertyType, RequestKind, RoomFlag
from tools.dump.payloads import MALFORMED, flags_text, say_entry, say_kept_copy, say_option, say_request, value_text

ROOM = HOST = NOBODY = 65_535


@pytest.mark.parametrize(
    ("kind", "fields", "words"),
    [
        (EntryKind.PLAYER_JOINED, {"player_id": 3, "name": b"Ada"}, "player 3 'Ada'"),
        (EntryKind.PLAYER_LEFT, {"player_id": 3, "reason": 10}, "player 3, BANNED"),
        (EntryKind.HOST_CHANGED, {"player_id": 3}, "player 3"),
        (EntryKind.HOST_CHANGED, {"player_id": NOBODY}, "nobody"),
        (
            EntryKind.ROSTER,
            {
                "host": 1,
                "members": [
                    {"player_id": 1, "is_away": 0, "name": b"Bob"},
                    {"player_id": 2, "is_away": 1, "name": "Zoë".encode()},
                ],
            },
            "host 1, members 1 'Bob', 2 'Zoë' away",
        ),
        (EntryKind.ROSTER, {"host": NOBODY, "members": []}, "host nobody, members none"),
        (EntryKind.PLAYER_AWAY, {"player_id": 3}, "player 3"),
        (EntryKind.PLAYER_BACK, {"player_id": 3, "is_afresh": 0}, "player 3"),
        (EntryKind.PLAYER_BACK, {"player_id": 3, "is_afresh": 1}, "player 3, afresh"),
        (
            EntryKind.PROPERTY_CHANGED,
            {"player_id": 3, "owner": ROOM, "key": b"map", "type": PropertyType.TEXT, "value": b"Bonn"},
            "'map' of the room = 'Bonn', by player 3",
        ),
        (
            EntryKind.PROPERTY_CHANGED,
            {"player_id": 3, "owner": 4, "key": b"team", "type": PropertyType.NONE, "value": b""},
            "'team' of player 4 removed, by player 3",
        ),
        (
            EntryKind.PROPERTIES,
            {
                "properties": [
                    {"version": 7, "owner": ROOM, "key": b"on", "type": PropertyType.BOOL, "value": b"\1"},
                    {"version": 9, "owner": 2, "key": b"skin", "type": PropertyType.BYTES, "value": b"\xab"},
                ]
            },
            "'on' of the room = True (version 7), 'skin' of player 2 = ab (version 9)",
        ),
        (EntryKind.PROPERTIES, {"properties": []}, "none"),
        (EntryKind.ENTITY_OWNER, {"entity_id": 35, "owner": 1}, "entity 35 to player 1"),
        (EntryKind.ENTITY_OWNER, {"entity_id": 35, "owner": HOST}, "entity 35 to whoever is host"),
        (
            EntryKind.OWNERS,
            {"owners": [{"entity_id": 35, "owner": 1}, {"entity_id": 36, "owner": HOST}]},
            "entity 35 to player 1, entity 36 to whoever is host",
        ),
        (EntryKind.ROOM_LOCKED, {"is_locked": 1}, "locked"),
        (EntryKind.ROOM_LOCKED, {"is_locked": 0}, "open"),
        (EntryKind.ROOM_SHOWN, {"is_listed": 1}, "listed"),
        (
            EntryKind.REQUEST_REFUSED,
            {"message_id": 9, "request": RequestKind.KICK, "reason": 3},
            "message 9, KICK: NOT_HOST",
        ),
        (EntryKind.REQUEST_REFUSED, {"message_id": 9, "request": 1, "reason": 7}, "message 9, to keep it: TOO_MANY"),
        (EntryKind.REQUEST_REFUSED, {"message_id": 9, "request": 127, "reason": 1}, "message 9, 127: UNKNOWN"),
        (EntryKind.ROOM_READY, {"is_locked": 0, "pages": b"\x05\x80"}, "open, pages 0, 2, 15"),
        (EntryKind.ROOM_READY, {"is_locked": 1, "pages": b""}, "locked, pages none"),
        (
            EntryKind.KEPT_CLEARED,
            {"player_id": 3, "cleared": [{"log_index": 7}, {"log_index": 65_543}]},
            "entries 7, 65543, by player 3",
        ),
    ],
)
def test_what_is_said_of_an_entry(kind: EntryKind, fields: dict[str, object], words: str) -> None:
    assert say_entry(kind, schemas.ENTRY_PAYLOADS[kind].build(fields)) == words


@pytest.mark.parametrize(
    ("kind", "fields", "words"),
    [
        (
            RequestKind.SET_PROPERTY,
            {"owner": ROOM, "is_conditional": 0, "version": 0, "key": b"round", "type": 2, "value": b"\4" + bytes(7)},
            "'round' of the room = 4",
        ),
        (
            RequestKind.SET_PROPERTY,
            {"owner": 3, "is_conditional": 1, "version": 8, "key": b"team", "type": 0, "value": b""},
            "'team' of player 3 removed, if its version is 8",
        ),
        (RequestKind.GIVE_ENTITY, {"entity_id": 35, "owner": HOST}, "entity 35 to whoever is host"),
        (RequestKind.CLEAR_KEPT, {"log_index": 7}, "entry 7"),
        (RequestKind.CLEAR_KEPT, {"log_index": 0}, "all"),
        (RequestKind.HAND_OVER_HOST, {"player_id": 1}, "to player 1"),
        (RequestKind.KICK, {"player_id": 2, "text": b"Be nice."}, "player 2 'Be nice.'"),
        (RequestKind.KICK, {"player_id": 2, "text": b""}, "player 2"),
        (RequestKind.BAN, {"player_id": 2, "flags": 1, "text": b"\x1b[2J"}, "player 2 ADDRESS '\\\\x1b[2J'"),
        (RequestKind.LOCK, {"is_locked": 1}, "locked"),
        (RequestKind.SHOW, {"is_listed": 1, "keys": [b"map", b"laps"]}, "listed, with 'map', 'laps'"),
        (RequestKind.SHOW, {"is_listed": 0, "keys": []}, "hidden"),
    ],
)
def test_what_is_said_of_a_request(kind: RequestKind, fields: dict[str, object], words: str) -> None:
    assert say_request(kind, schemas.REQUEST_PAYLOADS[kind].build(fields)) == words


def test_of_a_long_list_the_first_are_named_and_the_others_counted() -> None:
    owners = [{"entity_id": i, "owner": 1} for i in range(100)]
    text = say_entry(EntryKind.OWNERS, schemas.OWNERS_PAYLOAD.build({"owners": owners}))
    assert text.startswith("entity 0 to player 1, ") and text.endswith("entity 7 to player 1, 92 more")


@pytest.mark.parametrize("kind", [*EntryKind, *RequestKind], ids=lambda kind: kind.name)
def test_any_bytes_are_said_in_printable_letters(kind: EntryKind | RequestKind) -> None:
    rng = Random(int(kind))
    said = say_entry if isinstance(kind, EntryKind) else say_request
    texts = {said(kind, rng.randbytes(rng.randint(0, 30))) for _ in range(300)}
    assert all(text.isprintable() for text in texts)
    assert kind == EntryKind.MESSAGE or texts != {""}


def test_what_a_player_says_and_what_nobody_knows_is_not_described() -> None:
    assert say_kept_copy(3, b"\x07\x00\x01\x00hi") == "2 B of 3 at 65543"
    assert say_kept_copy(3, b"hi") == MALFORMED
    assert say_entry(EntryKind.MESSAGE, b"hi") == say_entry(200, b"hi") == ""
    assert say_request(EntryKind.MESSAGE, b"hi") == say_request(127, b"hi") == ""
    assert say_entry(EntryKind.PLAYER_AWAY, b"hello") == say_request(RequestKind.LOCK, b"") == MALFORMED


def test_options_show_numbers_and_who_comes_back_but_no_secret() -> None:
    secret = bytes(range(0x50, 0x60))
    resume = (0xA1B2).to_bytes(8, "little") + b"\x07\0\1\0" + secret
    assert say_option(Option.RESUME, resume) == "0x000000000000a1b2 behind log 65543"
    assert say_option(Option.RESUME, resume[:-1]) == "(27 B, malformed)"
    assert say_option(Option.GAME, b"chess") == "'chess'"
    assert say_option(Option.TAGS, b"\3duo\6ranked") == "'duo', 'ranked'"
    assert say_option(Option.SHOWN, b"\3ma") == "(3 B, malformed)"
    assert say_option(Option.PROPERTIES, b"\3map\4\4Bonn") == "'map' = 'Bonn'"
    assert say_option(Option.MAX_PLAYERS, b"\x10\0") == "16" and say_option(Option.MAX_STATE_BYTES, b"\x18") == "24"
    assert say_option(Option.ROOM_FLAGS, b"\1") == "ANYONE_SETS" and say_option(Option.ROOM_FLAGS, b"\0") == "0"
    for option in (Option.IDENTITY, Option.PROOF, Option.ROOM_KEY, 99):
        assert say_option(option, secret) == "(16 B)"


def test_flags_are_named() -> None:
    assert flags_text(MessageFlag, 0) == flags_text(RoomFlag, 0x80) == ""
    assert flags_text(MessageFlag, 7) == "KEEP|OUTLIVES_SENDER|KEPT"


@pytest.mark.parametrize(
    ("kind", "data", "text"),
    [
        (PropertyType.NONE, b"", "None"),
        (PropertyType.BOOL, b"\0", "False"),
        (PropertyType.INT, (-3).to_bytes(8, "little", signed=True), "-3"),
        (PropertyType.FLOAT, bytes.fromhex("000000000000f83f"), "1.5"),
        (PropertyType.TEXT, "Görlitz".encode(), "'Görlitz'"),
        (PropertyType.BYTES, b"", "no bytes"),
        (PropertyType.BYTES, b"\1\2", "0102"),
        (PropertyType.BOOL, b"x", "malformed BOOL 78"),
        (PropertyType.TEXT, b"\xff", "malformed TEXT ff"),
        (9, b"", "malformed 9"),
    ],
)
def test_values_of_properties(kind: int, data: bytes, text: str) -> None:
    assert value_text(kind, data) == text
