"""The annotated exchange of SPEC 16: one short life of a session, encoded by the codec and explained field by field."""

from protocol import codec, dtypes, proofs
from protocol.constants import EntryKind, JoinMode, Kind, Option

NONCE = 0x1122334455667788
COOKIE = b"\xc0" * 20
SECRET = b"\x5e" * 16
RESET_TOKEN = b"\x7e" * 16
PASSWORD = "swordfish"
CODE = b"LOBBY"
SESSION = 0xA1A2A3A4A5A00001
_CHALLENGE = 0x0807060504030201


def build_exchange() -> str:
    """Write every datagram as a line of meaning and lines of hex."""
    key = proofs.room_key(PASSWORD)
    proof = proofs.join_proof(key, COOKIE, NONCE)
    shard = proofs.shard_of(CODE)
    path = proofs.path_proof(SECRET, _CHALLENGE, SESSION)
    blocks = [
        f"room_key   {key.hex()}\nproof      {proof.hex()}\nshard      {shard} (0x{shard:02x}) of {CODE.decode()}\n"
        f"path proof {path.hex()} for challenge 0x{_CHALLENGE:016x}",
        _show("client: HELLO, padded to 256 bytes", _hello(shard)),
        _show("server: CHALLENGE, revision 1", _challenge()),
        _show("client: JOIN, join LOBBY as Ada, with option 5 (proof)", _join(shard, proof)),
        _show("server: WELCOME, player 1 of 4 slots, tick 90 at 30 per second, log_index 6", _welcome(shard)),
        _show("client: DATA 1, nothing received yet, state of entity 1 (8 bytes), message 1 'hi' to all", _data(shard)),
        _show("server: UPDATE 1 at tick 91, acks DATA 1 and message 1, entries 7 and 8, page 0", _update(shard)),
    ]
    return "```\n" + "\n\n".join(blocks) + "\n```"


def _show(title: str, data: bytes) -> str:
    """Write one datagram: a title, and 32 bytes a line with long runs of zeros shortened."""
    lines = [data[at : at + 32].hex(" ") for at in range(0, len(data), 32)]
    kept = [line for i, line in enumerate(lines) if i < 3 or set(line) - set("0 ")]
    if len(kept) < len(lines):
        kept.append(f"… zeros to byte {len(data)}")
    return f"{title} ({len(data)} bytes)\n" + "\n".join(kept)


def _hello(shard: int) -> bytes:
    return codec.encode(
        Kind.HELLO,
        shard=shard,
        nonce=NONCE,
        revision_min=1,
        revision_max=1,
        features=0,
        fingerprint=0,
        client_name=b"example".ljust(24, b"\0"),
        client_release=b"1.0".ljust(16, b"\0"),
    )


def _challenge() -> bytes:
    return codec.encode(Kind.CHALLENGE, shard=0, nonce=NONCE, revision=1, features=0, fingerprint=0, cookie=COOKIE)


def _join(shard: int, proof: bytes) -> bytes:
    fields = {
        "kind": Kind.JOIN,
        "shard": shard,
        "nonce": NONCE,
        "cookie": COOKIE,
        "revision": 1,
        "features": 0,
        "mode": JoinMode.JOIN,
        "code": CODE.ljust(16, b"\0"),
        "name": b"Ada".ljust(32, b"\0"),
    }
    return codec.encode(Kind.JOIN, fields=fields, options=[{"key": Option.PROOF, "value": proof}])


def _welcome(shard: int) -> bytes:
    fields = {
        "kind": Kind.WELCOME,
        "shard": shard,
        "nonce": NONCE,
        "session": SESSION,
        "secret": SECRET,
        "reset_token": RESET_TOKEN,
        "code": CODE.ljust(16, b"\0"),
        "player_id": 1,
        "player_slots": 4,
        "max_players": 2,
        "entities_per_player": 1,
        "max_state_bytes": 8,
        "page_ids": dtypes.page_ids(8),
        "tick_rate": 30,
        "tick": 90,
        "log_index": 6,
        "message_id": 0,
        "message_credit": 32,
        "keepalive_ms": 1000,
        "timeout_ms": 10000,
        "datagrams_per_s": 300,
        "messages_per_s": 200,
        "signals_per_s": 300,
        "bytes_per_s": 200_000,
        "grace_s": 60,
        "resumed": 0,
        "room_flags": 0,
    }
    return codec.encode(Kind.WELCOME, fields=fields, options=[])


def _data(shard: int) -> bytes:
    header = {"kind": Kind.DATA, "shard": shard, "seq": 1, "session": SESSION, "ack": 0, "ack_bits": 0, "ack_delay": 0}
    header |= {"flags": 1, "log_cursor": 6, "reserved": 0}
    state = {"entity_id": 1, "state": bytes(range(8))}
    message = {"message_id": 1, "kind": 1, "flags": 0, "channel": 0, "target": 0, "target_count": 0, "more": 0}
    sections = [
        {"type": 1, "body": {"header": {"sample_ms": 3010, "count": 1, "stride": 8}, "states": [state]}},
        {"type": 3, "body": {"header": message, "targets": [], "payload": b"hi"}},
    ]
    return codec.encode(Kind.DATA, header=header, sections=sections)


def _update(shard: int) -> bytes:
    header = {"kind": Kind.UPDATE, "shard": shard, "seq": 1, "session": SESSION, "ack": 1, "ack_bits": 0}
    header |= {"ack_delay": 7, "flags": 0, "tick": 91, "message_ack": 1, "message_bits": 0, "message_credit": 33}
    joined = {"index": 7, "kind": EntryKind.PLAYER_JOINED, "sender": 0xFFFF, "length": 5}
    chat = {"index": 8, "kind": EntryKind.MESSAGE, "sender": 1, "length": 2}
    zeros = {"flags": 0, "channel": 0, "part": 0}
    entries = [{"header": joined | zeros, "payload": b"\1\0Ada"}, {"header": chat | zeros, "payload": b"hi"}]
    page = {"page": 0, "layer": 0, "since": 0, "log_index": 8, "removed_count": 0, "group_count": 1}
    group = {"header": {"encoding": 0, "count": 1, "stride": 8}, "ids": [1], "ages": [11], "states": [bytes(range(8))]}
    sections = [
        {"type": 2, "body": {"header": {"first": 7, "last": 8, "after": 6}, "entries": entries}},
        {"type": 1, "body": {"header": page, "removed": [], "groups": [group]}},
    ]
    return codec.encode(Kind.UPDATE, header=header, sections=sections)
