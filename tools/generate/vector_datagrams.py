"""Values of datagrams for the test vectors: layout cases of every kind, and bytes that must not be taken."""

import hashlib
from typing import Any

from protocol.constants import (
    AckFlag,
    ByeReason,
    DataSection,
    EntryKind,
    JoinMode,
    Kind,
    Option,
    Refusal,
    SignalFlag,
    Target,
    UpdateSection,
)

NONCE = 0x1122334455667788
SESSION = 0xFEDCBA9876543210
SHARD = 184
"""Shard of LOBBY; `shards` of the vectors spell it out."""
COOKIE = bytes(range(1, 21))
SECRET = bytes(range(0x10, 0x20))
TOKEN = bytes(range(0x20, 0x30))

Case = tuple[str, Kind, dict[str, Any]]


def hmac_sha256(key: bytes, message: bytes) -> bytes:
    """HMAC-SHA256 by its definition (RFC 2104), for keys of at most 64 bytes."""
    block = key.ljust(64, b"\0")
    inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block) + message).digest()
    return hashlib.sha256(bytes(byte ^ 0x5C for byte in block) + inner).digest()


ROOM_KEY = hmac_sha256(b"tickrelay room key", b"open sesame")
JOIN_PROOF = hmac_sha256(ROOM_KEY, b"join" + COOKIE + bytes.fromhex("8877665544332211"))[:16]
PATH_PROOF = hmac_sha256(SECRET, b"path" + bytes.fromhex("0807060504030201") + bytes.fromhex("1032547698badcfe"))[:16]


def _padded(text: str, size: int) -> bytes:
    return text.encode().ljust(size, b"\0")


def _hello(**fields: Any) -> dict[str, Any]:
    value: dict[str, Any] = {
        "kind": Kind.HELLO,
        "shard": 0,
        "magic": b"TKRL",
        "nonce": NONCE,
        "revision_min": 1,
        "revision_max": 1,
        "features": 0,
        "fingerprint": 0,
        "client_name": _padded("space-race", 24),
        "client_release": _padded("2.3", 16),
    }
    return value | fields


def _join(options: list[tuple[int, bytes]], **fields: Any) -> dict[str, Any]:
    value: dict[str, Any] = {
        "kind": Kind.JOIN,
        "shard": SHARD,
        "nonce": NONCE,
        "cookie": COOKIE,
        "revision": 1,
        "features": 0,
        "mode": JoinMode.JOIN_OR_CREATE,
        "code": _padded("LOBBY", 16),
        "name": _padded("Ada", 32),
    }
    return {"fields": value | fields, "options": [{"key": key, "value": data} for key, data in options]}


def _welcome(options: list[tuple[int, bytes]], **fields: Any) -> dict[str, Any]:
    value: dict[str, Any] = {
        "kind": Kind.WELCOME,
        "shard": SHARD,
        "nonce": NONCE,
        "session": SESSION,
        "secret": SECRET,
        "reset_token": TOKEN,
        "code": _padded("LOBBY", 16),
        "player_id": 3,
        "player_slots": 32,
        "max_players": 16,
        "entities_per_player": 4,
        "max_state_bytes": 32,
        "page_ids": 27,
        "tick_rate": 30,
        "tick": 70_000,
        "log_index": 65_540,
        "message_id": 0,
        "message_credit": 32,
        "keepalive_ms": 1_000,
        "timeout_ms": 10_000,
        "datagrams_per_s": 300,
        "messages_per_s": 200,
        "signals_per_s": 300,
        "bytes_per_s": 200_000,
        "grace_s": 60,
        "resumed": 0,
        "room_flags": 0,
    }
    return {"fields": value | fields, "options": [{"key": key, "value": data} for key, data in options]}


def data_header(**fields: int) -> dict[str, int]:
    """The header of a DATA that acknowledges 10, 9 and 7, with the given fields changed."""
    value: dict[str, int] = {
        "kind": Kind.DATA,
        "shard": SHARD,
        "seq": 12,
        "session": SESSION,
        "ack": 10,
        "ack_bits": 0b101,
        "ack_delay": 7,
        "flags": 0,
        "log_cursor": 65_540,
        "reserved": 0,
    }
    return value | fields


def update_header(**fields: int) -> dict[str, int]:
    """The header of an UPDATE that acknowledges 12 and 11, with the given fields changed."""
    value: dict[str, int] = {
        "kind": Kind.UPDATE,
        "shard": SHARD,
        "seq": 11,
        "session": SESSION,
        "ack": 12,
        "ack_bits": 1,
        "ack_delay": 20,
        "flags": 0,
        "tick": 70_030,
        "message_ack": 4,
        "message_bits": 0b10,
        "message_credit": 36,
    }
    return value | fields


def _data(*sections: tuple[int, Any], **fields: int) -> dict[str, Any]:
    return {"header": data_header(**fields), "sections": [{"type": kind, "body": body} for kind, body in sections]}


def _update(*sections: tuple[int, Any], **fields: int) -> dict[str, Any]:
    return {"header": update_header(**fields), "sections": [{"type": kind, "body": body} for kind, body in sections]}


def _states(sample_ms: int, stride: int, *states: tuple[int, bytes]) -> tuple[int, Any]:
    header = {"sample_ms": sample_ms, "count": len(states), "stride": stride}
    return DataSection.STATE, {"header": header, "states": [{"entity_id": i, "state": data} for i, data in states]}


def _message(message_id: int, payload: bytes, targets: tuple[int, ...] = (), **fields: int) -> tuple[int, Any]:
    header: dict[str, int] = {
        "message_id": message_id,
        "kind": EntryKind.MESSAGE,
        "flags": 0,
        "channel": 0,
        "target": Target.ALL,
        "target_count": len(targets),
        "more": 0,
    }
    return DataSection.MESSAGE, {"header": header | fields, "targets": list(targets), "payload": payload}


def _signal_up(sequence: int, payload: bytes, targets: tuple[int, ...] = (), **fields: int) -> tuple[int, Any]:
    header: dict[str, int] = {
        "kind": 1,
        "flags": 0,
        "channel": 0,
        "fragment": 0,
        "target": Target.ALL,
        "target_count": len(targets),
        "sequence": sequence,
        "after_message": 0,
    }
    return DataSection.SIGNAL, {"header": header | fields, "targets": list(targets), "payload": payload}


def _signal_down(sender: int, sequence: int, payload: bytes, **fields: int) -> tuple[int, Any]:
    header: dict[str, int] = {
        "kind": 1,
        "flags": 0,
        "channel": 0,
        "fragment": 0,
        "sender": sender,
        "sequence": sequence,
        "position": 0,
    }
    return UpdateSection.SIGNAL, {"header": header | fields, "payload": payload}


def page(
    number: int, since: int, *groups: tuple[int, dict[int, bytes]], removed: tuple[int, ...] = (), log_index: int = 0
) -> dict[str, Any]:
    """A page section's value. groups: (age of all, id -> state); the states of a group have one length."""
    built = []
    for age, states in groups:
        stride = len(next(iter(states.values())))
        built.append(
            {
                "header": {"encoding": 0, "count": len(states), "stride": stride},
                "ids": list(states),
                "ages": [age] * len(states),
                "states": list(states.values()),
            }
        )
    header = {
        "page": number,
        "layer": 0,
        "since": since,
        "log_index": log_index,
        "removed_count": len(removed),
        "group_count": len(built),
    }
    return {"header": header, "removed": list(removed), "groups": built}


def entry(index: int, payload: bytes = b"", **fields: int) -> dict[str, Any]:
    """A log entry's value; by default a message of player 3 in one piece. `index` may be the whole index."""
    header: dict[str, int] = {
        "index": index & 0xFFFF,
        "kind": EntryKind.MESSAGE,
        "flags": 0,
        "sender": 3,
        "channel": 0,
        "part": 0,
        "length": len(payload),
    }
    return {"header": header | fields, "payload": payload}


def log_range(first: int, last: int, after: int, *entries: dict[str, Any]) -> dict[str, Any]:
    """A range section's value."""
    return {"header": {"first": first, "last": last, "after": after}, "entries": list(entries)}


def _joining_cases() -> list[Case]:
    challenge = {
        "kind": Kind.CHALLENGE,
        "shard": 0,
        "nonce": NONCE,
        "revision": 1,
        "features": 0,
        "fingerprint": 0xDEADBEEF,
        "cookie": COOKIE,
    }
    return [
        ("an ordinary greeting", Kind.HELLO, _hello()),
        (
            "a greeting with the largest numbers and a name that is not ASCII",
            Kind.HELLO,
            _hello(
                shard=255,
                nonce=2**64 - 1,
                revision_max=65_535,
                features=2**32 - 1,
                fingerprint=2**32 - 1,
                client_name=_padded("Überflieger", 24),
            ),
        ),
        ("a cookie", Kind.CHALLENGE, challenge),
        ("join a room or create it, no options", Kind.JOIN, _join([])),
        (
            "create a room with every option and a password",
            Kind.JOIN,
            _join(
                [
                    (Option.MAX_PLAYERS, b"\x10\x00"),
                    (Option.ENTITIES_PER_PLAYER, b"\x00\x01"),
                    (Option.MAX_STATE_BYTES, b"\x30"),
                    (Option.ROOM_KEY, ROOM_KEY),
                ],
                mode=JoinMode.CREATE,
            ),
        ),
        ("create a room, the server makes up its code", Kind.JOIN, _join([], mode=1, shard=0, code=bytes(16))),
        ("join with a password", Kind.JOIN, _join([(Option.PROOF, JOIN_PROOF)], mode=JoinMode.JOIN)),
        (
            "an unknown option is skipped by its length",
            Kind.JOIN,
            _join([(200, b"later"), (1, b"\x02\x00"), (201, b"")]),
        ),
        ("a welcome", Kind.WELCOME, _welcome([])),
        ("a welcome with an option to skip", Kind.WELCOME, _welcome([(9, b"later")], log_index=0, tick=1)),
    ]


def _other_cold_cases() -> list[Case]:
    refuse = {"kind": Kind.REFUSE, "shard": 0, "nonce": NONCE, "revision_min": 1, "revision_max": 1}
    bye = {"kind": Kind.BYE, "shard": SHARD, "session": SESSION}
    pong = {
        "kind": Kind.PONG,
        "shard": 0,
        "nonce": NONCE,
        "revision_min": 1,
        "revision_max": 1,
        "release": _padded("0.1.0", 16),
        "tick_rate": 30,
        "load_percent": 12,
        "players": 70_000,
        "max_players": 100_000,
        "rooms": 9_000,
        "later": b"",
    }
    redirect = {"kind": Kind.REDIRECT, "shard": 0, "nonce": NONCE, "host": bytes(15) + b"\x01", "port": 24545}
    path = {"kind": Kind.PATH_CHALLENGE, "shard": SHARD, "session": SESSION, "challenge": 0x0102030405060708}
    return [
        ("a refusal with a text", Kind.REFUSE, {**refuse, "reason": Refusal.ROOM_FULL, "text": b"This room is full."}),
        ("a refusal without a text", Kind.REFUSE, {**refuse, "reason": Refusal.VERSION, "text": b""}),
        ("reserved: a redirection", Kind.REDIRECT, {**redirect, "new_shard": 7}),
        ("a ping", Kind.PING, {"kind": Kind.PING, "shard": 0, "magic": b"TKRL", "nonce": NONCE}),
        ("a pong", Kind.PONG, pong),
        ("a pong with bytes for later", Kind.PONG, {**pong, "later": b"later"}),
        ("a player leaves", Kind.BYE, {**bye, "reason": ByeReason.LEFT, "text": b""}),
        ("the server stops", Kind.BYE, {**bye, "reason": ByeReason.SHUTDOWN, "text": "Bis später".encode()}),
        ("a reset", Kind.RESET, {"kind": Kind.RESET, "shard": SHARD, "session": SESSION, "reset_token": TOKEN}),
        ("a path challenge", Kind.PATH_CHALLENGE, path),
        ("its answer", Kind.PATH_RESPONSE, {**path, "kind": Kind.PATH_RESPONSE, "proof": PATH_PROOF}),
    ]


def _data_cases() -> list[Case]:
    nothing = {"seq": 1, "ack": 0, "ack_bits": 0, "ack_delay": 0, "flags": int(AckFlag.NOTHING_RECEIVED)}
    many = _data(
        (DataSection.LOG_BITS, {"words": [0b101]}),
        _states(4_000, 4, (3, b"\x01\x02\x03\x04"), (35, b"\x05\x06\x07\x08")),
        _states(4_010, 2, (67, b"\xaa\xbb")),
        _states(4_010, 0, (99, b"")),
        _message(5, b"hi"),
        _signal_up(9, b"boom"),
    )
    return [
        ("bare, nothing received yet", Kind.DATA, _data(**nothing)),
        ("bare, with acknowledgements", Kind.DATA, _data()),
        ("two states of four bytes", Kind.DATA, _data(_states(65_535, 4, (3, b"\0\0\x80\x3f"), (35, b"\0\0\0\x40")))),
        ("two entities are removed", Kind.DATA, _data(_states(0, 0, (3, b""), (35, b"")))),
        ("log bits, eight words", Kind.DATA, _data((DataSection.LOG_BITS, {"words": [1, 0, 0, 0, 0, 0, 0, 2**31]}))),
        ("a message to all", Kind.DATA, _data(_message(1, b"hello"))),
        ("an empty message to all but one", Kind.DATA, _data(_message(2, b"", (7,), target=Target.ALL_BUT))),
        ("a message to one, channel 5", Kind.DATA, _data(_message(3, b"psst", (7,), target=Target.ONE, channel=5))),
        ("a message to a list", Kind.DATA, _data(_message(4, b"team", (1, 2, 511), target=Target.LIST, kind=127))),
        ("two fragments of a message", Kind.DATA, _data(_message(65_535, b"frag", more=1), _message(0, b"ment"))),
        ("a plain signal", Kind.DATA, _data(_signal_up(1, b"voice"))),
        (
            "a signal after message 4, newest first, to one",
            Kind.DATA,
            _data(_signal_up(2, b"rpc", (7,), flags=3, target=Target.ONE, after_message=4)),
        ),
        ("the last of eight fragments of a signal", Kind.DATA, _data(_signal_up(3, b"end", fragment=0x77))),
        ("a section of unknown type is skipped", Kind.DATA, _data((200, b"later"), _message(5, b"x"))),
        ("everything in one datagram", Kind.DATA, many),
    ]


def _update_cases() -> list[Case]:
    roster = bytes.fromhex("0100010003" + b"Bob".hex() + "020005" + "Zoë!".encode().hex())
    join = log_range(
        65_541,
        65_543,
        65_540,
        entry(65_541, roster, kind=EntryKind.ROSTER, sender=65_535),
        entry(65_542, b"\x03\x00Ada", kind=EntryKind.PLAYER_JOINED, sender=65_535),
        entry(65_543, b"\x03\x00", kind=EntryKind.HOST_CHANGED, sender=65_535),
    )
    left = entry(65_544, b"\x02\x00\x03", kind=EntryKind.PLAYER_LEFT, sender=65_535)
    parts = log_range(1, 3, 0, entry(1, b"frag", part=0x8000), entry(2, b"me", part=0x8001), entry(3, b"nt", part=2))
    return [
        ("bare", Kind.UPDATE, _update()),
        ("bare, nothing received yet", Kind.UPDATE, _update(seq=1, ack=0, ack_bits=0, ack_delay=0, flags=1)),
        ("a whole page without entities", Kind.UPDATE, _update((UpdateSection.PAGE, page(0, 0)))),
        (
            "a page with a removal and a group, one id in both",
            Kind.UPDATE,
            _update((1, page(0, 70_000, (3, {3: b"abcd", 7: b"efgh"}), removed=(3, 5), log_index=65_540))),
        ),
        (
            "two groups of a page",
            Kind.UPDATE,
            _update((1, page(1, 70_029, (0, {27: b"\x01"}), (255, {28: b"\x02\x03", 30: b"\x04\x05"})))),
        ),
        ("two pages", Kind.UPDATE, _update((1, page(0, 5, (1, {2: b"x"}))), (1, page(1023, 0, (2, {4092: b"y"}))))),
        (
            "an empty range: all hidden",
            Kind.UPDATE,
            _update((UpdateSection.LOG_RANGE, log_range(65_541, 65_600, 65_540))),
        ),
        ("what a player sees first", Kind.UPDATE, _update((2, join))),
        ("a player left, timed out", Kind.UPDATE, _update((2, log_range(65_544, 65_544, 65_543, left)))),
        ("a message in three fragments", Kind.UPDATE, _update((2, parts))),
        ("a plain signal", Kind.UPDATE, _update(_signal_down(7, 1, b"voice"))),
        (
            "a range and a signal that waits for it",
            Kind.UPDATE,
            _update(
                (2, log_range(65_541, 65_541, 65_540, entry(65_541, b"spawn", channel=2))),
                _signal_down(3, 2, b"move", flags=int(SignalFlag.NEWEST_FIRST | SignalFlag.AFTER_LOG), position=5),
            ),
        ),
        ("a section of unknown type is skipped", Kind.UPDATE, _update((77, b""), (1, page(0, 0, (9, {1: b"z"}))))),
    ]


def datagram_cases() -> list[Case]:
    """All layout cases: (name, kind, value)."""
    return _joining_cases() + _other_cold_cases() + _data_cases() + _update_cases()


_DATA_26 = "10b80c001032547698badcfe0a000500000007000400" + "01000000"
_UPDATE_32 = "11b80b001032547698badcfe0c00010000001400" + "8e110100" + "0400" + "02000000" + "2400"
REFUSED_CASES: list[tuple[str, str, str]] = [
    ("nothing", "", "TOO_SHORT"),
    ("one byte", "01", "TOO_SHORT"),
    ("kind 0", "0000", "UNKNOWN_KIND"),
    ("kind 13 is not given yet", "0d00", "UNKNOWN_KIND"),
    ("the top bit of kind is kept for sealed traffic", "90b8" + _DATA_26[4:], "UNKNOWN_KIND"),
    ("1,201 bytes", "10b8" + "00" * 1199, "TOO_LONG"),
    ("a HELLO of 255 bytes", "0100" + b"TKRL".hex() + "00" * 249, "TOO_SHORT"),
    ("a HELLO with another magic", "0100" + b"TKRX".hex() + "00" * 250, "BAD_MAGIC"),
    ("a PING of 127 bytes", "0700" + b"TKRL".hex() + "00" * 121, "TOO_SHORT"),
    ("a PING with another magic", "0700" + "00" * 126, "BAD_MAGIC"),
    ("a BYE whose text is longer than the datagram", "09b8" + "00" * 8 + "01" + "05" + "61", "MALFORMED"),
    ("a BYE with a byte too many", "09b8" + "00" * 8 + "01" + "01" + "6161", "MALFORMED"),
    ("a RESET with a byte too many", "0ab8" + "00" * 25, "MALFORMED"),
    ("a JOIN cut in its name", "03b8" + "00" * 82, "MALFORMED"),
    ("a JOIN cut in an option", "03b8" + "00" * 83 + "0102" + "10", "MALFORMED"),
    ("a DATA of 25 bytes", _DATA_26[:-2], "TOO_SHORT"),
    ("a DATA with half a section header", _DATA_26 + "0100", "BAD_SECTION"),
    ("a section longer than its DATA", _DATA_26 + "030a00" + "00" * 9, "BAD_SECTION"),
    ("states that do not fill their section", _DATA_26 + "010800" + "0000" + "01" + "01" + "0300aabb", "BAD_SECTION"),
    ("fewer states than counted", _DATA_26 + "010700" + "0000" + "02" + "01" + "0300aa", "BAD_SECTION"),
    ("log bits that are no whole words", _DATA_26 + "020500" + "0000000000", "BAD_SECTION"),
    (
        "a message with fewer targets than counted",
        _DATA_26 + "030a00" + "0100" + "010000" + "03" + "0200" + "0500",
        "BAD_SECTION",
    ),
    ("an UPDATE of 31 bytes", _UPDATE_32[:-2], "TOO_SHORT"),
    ("25 sections", _DATA_26 + "c80000" * 25, "BAD_SECTION"),
    ("a page without its last group", _UPDATE_32 + "010d00" + "0000" + "00" + "00" * 8 + "00" + "01", "BAD_SECTION"),
    ("a range with half an entry", _UPDATE_32 + "021000" + "010000000100000000000000" + "01000100", "BAD_SECTION"),
]
"""(name, bytes in hex, reason of SPEC 11) of datagrams whose layout alone shows that they are wrong."""
