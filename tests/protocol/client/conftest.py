"""A hand-driven server for the client's tests: it says exactly what a test wants to hear it say."""

from typing import Any

import pytest

from protocol import codec, schemas
from protocol.client import ClientConnection, JoinRequest
from protocol.constants import EntryKind, JoinMode, Kind, UpdateSection
from protocol.records import RoomShape

NONCE = 0x1122334455667788
SESSION = 0xABCDEF0123456789

WELCOME = {
    "kind": Kind.WELCOME,
    "shard": 0,
    "nonce": NONCE,
    "session": SESSION,
    "secret": b"s" * 16,
    "reset_token": b"r" * 16,
    "code": b"ROOM-1".ljust(16, b"\0"),
    "player_id": 1,
    "player_slots": 8,
    "max_players": 4,
    "entities_per_player": 4,
    "max_state_bytes": 32,
    "page_ids": 16,
    "tick_rate": 30,
    "tick": 300,
    "log_index": 0,
    "message_id": 0,
    "message_credit": 100,
    "keepalive_ms": 1000,
    "timeout_ms": 10000,
    "datagrams_per_s": 300,
    "messages_per_s": 200,
    "signals_per_s": 300,
    "bytes_per_s": 200000,
    "grace_s": 0,
    "resumed": 0,
    "room_flags": 0,
}


class FakeServer:
    """Builds what a server sends and reads what a client sends, through the schemas."""

    nonce = NONCE
    session = SESSION
    welcome_fields = WELCOME
    shape = RoomShape(player_slots=8, num_ids=32, page_ids=16, max_state_bytes=32)

    def __init__(self) -> None:
        self.seq = 0
        self.tick = 300

    def connect(self, now: float, request: JoinRequest | None = None, **changes: Any) -> ClientConnection:
        """Make a connection that was let in at `now`; `changes` are fields of WELCOME. The room is not whole yet."""
        request = request or JoinRequest(mode=JoinMode.JOIN, code="room-1", name="ann")
        connection = ClientConnection(request, nonce=NONCE, now=now)
        connection.poll(now)
        connection.receive(self.challenge(), now)
        connection.poll(now)
        connection.receive(self.welcome(**changes), now)
        connection.take_events()
        return connection

    def challenge(self, **changes: Any) -> bytes:
        fields = {"nonce": NONCE, "revision": 1, "features": 0, "fingerprint": 0, "cookie": b"c" * 20}
        return codec.encode(Kind.CHALLENGE, shard=0, **(fields | changes))

    def welcome(self, **changes: Any) -> bytes:
        return codec.encode(Kind.WELCOME, fields=WELCOME | changes, options=[])

    def refuse(self, **changes: Any) -> bytes:
        fields = {"nonce": NONCE, "reason": 4, "revision_min": 1, "revision_max": 1, "text": b"This room is full."}
        return codec.encode(Kind.REFUSE, shard=0, **(fields | changes))

    def bye(self, **changes: Any) -> bytes:
        fields = {"session": SESSION, "reason": 2, "text": b"Bye."}
        return codec.encode(Kind.BYE, shard=0, **(fields | changes))

    def reset(self, **changes: Any) -> bytes:
        fields = {"session": SESSION, "reset_token": b"r" * 16}
        return codec.encode(Kind.RESET, shard=0, **(fields | changes))

    def path_challenge(self, **changes: Any) -> bytes:
        fields = {"session": SESSION, "challenge": 77}
        return codec.encode(Kind.PATH_CHALLENGE, shard=0, **(fields | changes))

    def update(self, *sections: Any, **changes: Any) -> bytes:
        """Build an UPDATE with the next seq and tick, which reports nothing received unless told otherwise."""
        self.seq += 1
        self.tick += 1
        header = {
            "kind": Kind.UPDATE,
            "shard": 0,
            "seq": self.seq & 0xFFFF,
            "session": SESSION,
            "ack": 0,
            "ack_bits": 0,
            "ack_delay": 0,
            "flags": 0 if "ack" in changes else 1,
            "tick": self.tick,
            "message_ack": 0,
            "message_bits": 0,
            "message_credit": 100,
        }
        return codec.encode(Kind.UPDATE, header=header | changes, sections=list(sections))

    def page(self, number: int, *groups: Any, removed: tuple[int, ...] = (), **changes: Any) -> Any:
        """Describe a PAGE section; a group is {entity id: state} of one length, or a whole dict of the schema."""
        header = {
            "page": number,
            "layer": 0,
            "since": 0,
            "log_index": 0,
            "removed_count": len(removed),
            "group_count": len(groups),
        }
        body = {"header": header | changes, "removed": list(removed), "groups": [self.group(group) for group in groups]}
        return {"type": UpdateSection.PAGE, "body": body}

    def group(self, states: dict[int, bytes], age: int = 0) -> Any:
        stride = len(next(iter(states.values())))
        return {
            "header": {"encoding": 0, "count": len(states), "stride": stride},
            "ids": list(states),
            "ages": [age] * len(states),
            "states": list(states.values()),
        }

    def log(self, first: int, last: int, *entries: Any, after: int | None = None) -> Any:
        header = {"first": first, "last": last, "after": first - 1 if after is None else after}
        return {"type": UpdateSection.LOG_RANGE, "body": {"header": header, "entries": list(entries)}}

    def entry(
        self, index: int, payload: bytes = b"hi", kind: int = 1, sender: int = 2, part: int = 0, flags: int = 0
    ) -> Any:
        header = {
            "index": index & 0xFFFF,
            "kind": kind,
            "flags": flags,
            "sender": sender,
            "channel": 0,
            "part": part,
            "length": len(payload),
        }
        return {"header": header, "payload": payload}

    def written(self, index: int, kind: EntryKind, **fields: Any) -> Any:
        """Describe an entry that the server wrote, by the fields of its payload."""
        return self.entry(index, schemas.ENTRY_PAYLOADS[kind].build(fields), kind, 0xFFFF)

    def ready(self, index: int, pages: bytes = b"", is_locked: int = 0) -> Any:
        return self.written(index, EntryKind.ROOM_READY, is_locked=is_locked, pages=pages)

    def joined(self, index: int, player_id: int, name: bytes = b"bob") -> Any:
        payload = player_id.to_bytes(2, "little") + name
        return self.entry(index, payload, EntryKind.PLAYER_JOINED, 0xFFFF)

    def left(self, index: int, player_id: int, reason: int = 1) -> Any:
        payload = player_id.to_bytes(2, "little") + bytes([reason])
        return self.entry(index, payload, EntryKind.PLAYER_LEFT, 0xFFFF)

    def signal(self, payload: bytes = b"beep", **changes: Any) -> Any:
        header = {"kind": 1, "flags": 0, "channel": 0, "fragment": 0, "sender": 2, "sequence": 1, "position": 0}
        return {"type": UpdateSection.SIGNAL, "body": {"header": header | changes, "payload": payload}}

    def unknown(self, payload: bytes = b"later") -> Any:
        return {"type": 200, "body": payload}

    def read(self, datagram: bytes) -> Any:
        """Decode what a client sent, as any server would, and check its size."""
        assert len(datagram) <= 1160
        return codec.decode(datagram)

    def sections(self, datagram: bytes, kind: int) -> list[Any]:
        """The bodies of all sections of one type of a DATA."""
        return [section.body for section in self.read(datagram).sections if section.type == kind]


@pytest.fixture
def server() -> FakeServer:
    return FakeServer()


@pytest.fixture
def connection(server: FakeServer) -> ClientConnection:
    """A connection that was let in at now=10.0 as player 1 of ROOM-1."""
    return server.connect(10.0)


@pytest.fixture(scope="session")
def server_class() -> type[FakeServer]:
    """For tests that need a server of their own for every example."""
    return FakeServer
