"""Reads every datagram between the engine and its clients, and remembers what the invariants ask about.

It trusts neither side: which address is proven, who was sent which log entry and what an entry holds is taken from the
bytes on the wire alone.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from protocol import codec, dtypes
from protocol.constants import NO_PLAYER, PART_MORE, EntryKind, Kind, UpdateSection
from protocol.drops import DropReason
from protocol.sequence import extend


class Entry(NamedTuple):
    """One log entry as it was seen on the wire."""

    kind: int
    sender: int
    channel: int
    part: int
    payload: bytes

    @property
    def more(self) -> bool:
        """True for a fragment that is not the last of its message."""
        return bool(self.part & PART_MORE)

    @property
    def number(self) -> int:
        """Number of the fragment within its message."""
        return self.part & (PART_MORE - 1)

    @property
    def by_player(self) -> bool:
        """True for a message (or a fragment of one)."""
        return self.sender != NO_PLAYER

    @property
    def about(self) -> int:
        """The player that a presence entry names."""
        return int.from_bytes(self.payload[:2], "little")


@dataclass(eq=False)
class TappedSession:
    """What was sent to one session."""

    session: int
    nonce: int
    player_id: int
    room: int
    log_start: int
    addresses: set[bytes]
    indexes: set[int] = field(default_factory=set)
    """Log indexes whose entries were sent to it."""
    update_bytes: int = 0


class WiretapError(Exception):
    """Something on the wire breaks an invariant."""


class Wiretap:
    """The union of all that the server said, by session and by room opening."""

    def __init__(self) -> None:
        self.sessions: dict[int, TappedSession] = {}
        self.by_nonce: dict[int, TappedSession] = {}
        self.addresses: dict[int, set[bytes]] = {}
        """Nonce of a join attempt -> addresses that its player has used; the world fills it in."""
        self.logs: list[dict[int, Entry]] = []
        """Per room opening: log index -> entry."""
        self.sent_to: Counter[bytes] = Counter()
        """Bytes to an address that had not been proven when they were sent."""
        self.received_from: Counter[bytes] = Counter()
        self.proven: set[bytes] = set()
        self._secrets_sent: set[tuple[bytes, bytes]] = set()
        """(address, cookie or challenge) that the server sent there."""
        self._newest_room: dict[bytes, int] = {}

    def on_to_server(self, address: bytes, payload: bytes) -> None:
        """A datagram reached the server."""
        self.received_from[address] += len(payload)
        if not payload or payload[0] not in (Kind.JOIN, Kind.PATH_RESPONSE):
            return
        value = codec.decode(payload)
        if isinstance(value, DropReason):
            return
        if payload[0] == Kind.JOIN and (address, value.fields.cookie) in self._secrets_sent:
            self.proven.add(address)
        if payload[0] == Kind.PATH_RESPONSE and (address, payload[10:18]) in self._secrets_sent:
            self.proven.add(address)

    def on_from_server(self, address: bytes, payload: bytes) -> None:
        """The server sent a datagram. Raises: WiretapError if it must not have."""
        if address not in self.proven:
            self.count_unproven(address, payload)
        if payload[0] == Kind.UPDATE:
            self._on_update(address, payload)
        elif payload[0] in (Kind.CHALLENGE, Kind.WELCOME, Kind.PATH_CHALLENGE):
            self._on_cold(address, payload)

    def count_unproven(self, address: bytes, payload: bytes) -> None:
        """Count what is sent to an unproven address. Raises: WiretapError if it is more than came from it."""
        self.sent_to[address] += len(payload)
        if self.sent_to[address] > self.received_from[address]:
            raise WiretapError(
                f"an unproven address was sent {self.sent_to[address]} bytes for the {self.received_from[address]} "
                f"that came from it; the newest is a {Kind(payload[0]).name}"
            )

    def _on_cold(self, address: bytes, payload: bytes) -> None:
        value = codec.decode(payload)
        if isinstance(value, DropReason):
            raise WiretapError(f"the server sent what no client can read: {value.name} {payload.hex()}")
        if payload[0] == Kind.CHALLENGE:
            self._secrets_sent.add((address, value.cookie))
        elif payload[0] == Kind.PATH_CHALLENGE:
            self._secrets_sent.add((address, payload[10:18]))
        elif value.fields.session not in self.sessions:
            self._on_new_session(address, value.fields)

    def _on_new_session(self, address: bytes, fields: Any) -> None:
        if fields.nonce in self.by_nonce:
            raise WiretapError("one nonce was given two sessions: a ghost")
        addresses = self.addresses.setdefault(fields.nonce, {address})
        if address not in addresses:
            raise WiretapError("a WELCOME went to an address from which nobody asked")
        if fields.log_index == 0:
            self._newest_room[fields.code] = len(self.logs)
            self.logs.append({})
        room = self._newest_room[fields.code]
        session = TappedSession(fields.session, fields.nonce, fields.player_id, room, fields.log_index, addresses)
        self.sessions[fields.session] = self.by_nonce[fields.nonce] = session

    def _on_update(self, address: bytes, payload: bytes) -> None:
        session = self.sessions.get(int.from_bytes(payload[4:12], "little"))
        if session is None:
            raise WiretapError("an UPDATE for a session that nobody was given")
        if address not in session.addresses:
            raise WiretapError(f"an UPDATE for player id {session.player_id} went to an address that was never its own")
        session.update_bytes += len(payload)
        for kind, start, end in walk_sections(payload, dtypes.UPDATE_HEADER.size):
            if kind == UpdateSection.LOG_RANGE:
                self._on_range(session, payload[start:end])

    def _on_range(self, session: TappedSession, body: bytes) -> None:
        log = self.logs[session.room]
        for index, entry in read_range(body):
            known = log.setdefault(index, entry)
            if known != entry:
                raise WiretapError(f"log index {index} is not the same for all: {known} and {entry}")
            session.indexes.add(index)

    def members_by_join(self, room: int) -> dict[int, TappedSession]:
        """Find whose PLAYER_JOINED each such entry of a room opening is: log index -> session."""
        of_room = [session for session in self.sessions.values() if session.room == room]
        found: dict[int, TappedSession] = {}
        for index, entry in sorted(self.logs[room].items()):
            if entry.kind == EntryKind.PLAYER_JOINED:
                candidates = [s for s in of_room if s.player_id == entry.about and s.log_start < index]
                if not candidates:
                    raise WiretapError(f"log index {index} announces player id {entry.about}, which nobody was given")
                found[index] = max(candidates, key=lambda s: s.log_start)
        return found


def walk_sections(payload: bytes, offset: int) -> Iterator[tuple[int, int, int]]:
    """Yield (type, start, end) of every section of a well-formed DATA or UPDATE."""
    while offset < len(payload):
        start = offset + 3
        end = start + (payload[offset + 1] | payload[offset + 2] << 8)
        if end > len(payload):
            raise WiretapError("a section reaches beyond its datagram")
        yield payload[offset], start, end
        offset = end


def read_range(body: bytes) -> Iterator[tuple[int, Entry]]:
    """Yield (whole log index, entry) of a LOG_RANGE section."""
    header = dtypes.RANGE_HEADER.decode(body)
    offset = dtypes.RANGE_HEADER.size
    while offset < len(body):
        entry = dtypes.ENTRY_HEADER.decode(body, offset)
        offset += dtypes.ENTRY_HEADER.size
        index = extend(entry.index, header.first)
        if not header.first <= index <= header.last or offset + entry.length > len(body):
            raise WiretapError(f"entry {index} is not inside its range {header.first} to {header.last}")
        yield index, Entry(entry.kind, entry.sender, entry.channel, entry.part, body[offset : offset + entry.length])
        offset += entry.length
