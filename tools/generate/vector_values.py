"""Values that the test vectors are put together from: fields of datagrams, sections, entries, and what was hashed."""

import hashlib
from typing import Any

from protocol.constants import DataSection, EntryKind, JoinMode, Kind, Target, UpdateSection

NONCE = 0x1122334455667788
SESSION = 0xFEDCBA9876543210
SHARD = 184
"""Shard of LOBBY; `shards` of the vectors spell it out."""
COOKIE = bytes(range(1, 21))
SECRET = bytes(range(0x10, 0x20))
TOKEN = bytes(range(0x20, 0x30))
IDENTITY = bytes(range(0x30, 0x40))
OLD_SESSION = 0x0F1E2D3C4B5A6978
"""Session of a player who comes back, under `SECRET`."""

Case = tuple[str, Kind, dict[str, Any]]
"""A datagram's (name, kind, value)."""


def hmac_sha256(key: bytes, message: bytes) -> bytes:
    """HMAC-SHA256 by its definition (RFC 2104), for keys of at most 64 bytes."""
    block = key.ljust(64, b"\0")
    inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block) + message).digest()
    return hashlib.sha256(bytes(byte ^ 0x5C for byte in block) + inner).digest()


ROOM_KEY = hmac_sha256(b"tickrelay room key", b"open sesame")
JOIN_PROOF = hmac_sha256(ROOM_KEY, b"join" + COOKIE + bytes.fromhex("8877665544332211"))[:16]
RESUME_PROOF = hmac_sha256(
    SECRET, b"resume" + COOKIE + bytes.fromhex("8877665544332211") + bytes.fromhex("78695a4b3c2d1e0f")
)[:16]
PATH_PROOF = hmac_sha256(SECRET, b"path" + bytes.fromhex("0807060504030201") + bytes.fromhex("1032547698badcfe"))[:16]


def padded(text: str, size: int) -> bytes:
    return text.encode().ljust(size, b"\0")


def hello(**fields: Any) -> dict[str, Any]:
    value: dict[str, Any] = {
        "kind": Kind.HELLO,
        "shard": 0,
        "magic": b"TKRL",
        "nonce": NONCE,
        "revision_min": 1,
        "revision_max": 1,
        "features": 0,
        "fingerprint": 0,
        "client_name": padded("space-race", 24),
        "client_release": padded("2.3", 16),
    }
    return value | fields


def join(options: list[tuple[int, bytes]], **fields: Any) -> dict[str, Any]:
    value: dict[str, Any] = {
        "kind": Kind.JOIN,
        "shard": SHARD,
        "nonce": NONCE,
        "cookie": COOKIE,
        "revision": 1,
        "features": 0,
        "mode": JoinMode.JOIN_OR_CREATE,
        "code": padded("LOBBY", 16),
        "name": padded("Ada", 32),
    }
    return {"fields": value | fields, "options": [{"key": key, "value": data} for key, data in options]}


def welcome(options: list[tuple[int, bytes]], **fields: Any) -> dict[str, Any]:
    value: dict[str, Any] = {
        "kind": Kind.WELCOME,
        "shard": SHARD,
        "nonce": NONCE,
        "session": SESSION,
        "secret": SECRET,
        "reset_token": TOKEN,
        "code": padded("LOBBY", 16),
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


def data(*sections: tuple[int, Any], **fields: int) -> dict[str, Any]:
    return {"header": data_header(**fields), "sections": [{"type": kind, "body": body} for kind, body in sections]}


def update(*sections: tuple[int, Any], **fields: int) -> dict[str, Any]:
    return {"header": update_header(**fields), "sections": [{"type": kind, "body": body} for kind, body in sections]}


def states(sample_ms: int, stride: int, *states: tuple[int, bytes]) -> tuple[int, Any]:
    header = {"sample_ms": sample_ms, "count": len(states), "stride": stride}
    return DataSection.STATE, {"header": header, "states": [{"entity_id": i, "state": data} for i, data in states]}


def message(message_id: int, payload: bytes, targets: tuple[int, ...] = (), **fields: int) -> tuple[int, Any]:
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


def signal_up(sequence: int, payload: bytes, targets: tuple[int, ...] = (), **fields: int) -> tuple[int, Any]:
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


def signal_down(sender: int, sequence: int, payload: bytes, **fields: int) -> tuple[int, Any]:
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
