"""Reads every datagram between the engine and its clients, and remembers what the invariants ask about.

It trusts neither side: which address is proven, who was sent which log entry and what an entry holds is taken from the
bytes on the wire alone. Who has which seat: see `seats.py`.
"""

import struct
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from construct import ConstructError

from protocol import codec, dtypes, schemas
from protocol.constants import (
    NO_PLAYER,
    PART_MORE,
    DataSection,
    EntryKind,
    Kind,
    MessageFlag,
    RequestKind,
    Resumed,
    UpdateSection,
)
from protocol.drops import DropReason
from protocol.sequence import extend
from tests.sim.seats import SeatBook, TappedSession, WiretapError

_PROOFS = {Kind.PATH_RESPONSE: slice(10, 18), Kind.LIST: slice(10, 30)}
"""Where challenge or cookie stand in what proves its address by that alone."""


class Entry(NamedTuple):
    """One log entry as it was seen on the wire."""

    kind: int
    sender: int
    channel: int
    part: int
    payload: bytes
    flags: int = 0

    @property
    def more(self) -> bool:
        """True for a fragment that is not the last of its message."""
        return bool(self.part & PART_MORE)

    @property
    def number(self) -> int:
        """Number of the fragment within its message."""
        return self.part & (PART_MORE - 1)

    @property
    def is_copy(self) -> bool:
        """True for a kept message as a joiner is told it."""
        return bool(self.flags & MessageFlag.KEPT)

    @property
    def by_player(self) -> bool:
        """True for a message (or a fragment of one) as it was written."""
        return self.sender != NO_PLAYER and not self.is_copy

    @property
    def about(self) -> int:
        """The player that a presence entry names."""
        return int.from_bytes(self.payload[:2], "little")

    @property
    def arrival(self) -> Resumed | None:
        """What a session said `resumed` whose arrival this is: a join, or a return that knows nothing; else None."""
        if self.kind == EntryKind.PLAYER_JOINED:
            return Resumed.NO
        return Resumed.AFRESH if self.kind == EntryKind.PLAYER_BACK and self.payload[2] else None


class Wiretap:
    """The union of all that the server said, by session and by room opening."""

    def __init__(self) -> None:
        self.book = SeatBook()
        self.new_sessions: list[TappedSession] = []
        """Those that the server gave since somebody emptied this."""
        self.addresses: dict[int, set[bytes]] = {}
        """Nonce of a join attempt -> addresses that its player has used; the world fills it in. A resume that proves
        whose it is shares the addresses of the session that it names."""
        self.logs: list[dict[int, Entry]] = []
        """Per room opening: log index -> entry."""
        self.requests: dict[tuple[int, int], Any] = {}
        """(session id, message id) -> what a SET_PROPERTY that reached the server asked for."""
        self.asked: dict[bytes, Any] = {}
        """The same by the value that it asked to set."""
        self.sent_to: Counter[bytes] = Counter()
        """Bytes to an address that had not been proven when they were sent."""
        self.received_from: Counter[bytes] = Counter()
        self.proven: set[bytes] = set()
        self._secrets_sent: set[tuple[bytes, bytes]] = set()
        """(address, cookie or challenge) that the server sent there."""

    @property
    def sessions(self) -> dict[int, TappedSession]:
        """Session id -> session."""
        return self.book.sessions

    def on_to_server(self, address: bytes, payload: bytes) -> None:
        """A datagram reached the server."""
        self.received_from[address] += len(payload)
        if not payload:
            return
        if payload[0] == Kind.DATA:
            self._on_data(payload)
        elif payload[0] == Kind.BYE:
            self.book.on_bye_of_player(int.from_bytes(payload[2:10], "little"))
        elif payload[0] == Kind.JOIN:
            self._on_join(address, payload)
        elif payload[0] in _PROOFS and (address, payload[_PROOFS[payload[0]]]) in self._secrets_sent:
            self.proven.add(address)

    def _on_join(self, address: bytes, payload: bytes) -> None:
        value = codec.decode(payload)
        if isinstance(value, DropReason) or (address, value.fields.cookie) not in self._secrets_sent:
            return
        self.proven.add(address)
        attempt = self.book.on_join(value)
        if attempt.is_proven and attempt.former is not None:
            self.addresses.setdefault(value.fields.nonce, attempt.former.addresses)

    def _on_data(self, payload: bytes) -> None:
        session_id = int.from_bytes(payload[4:12], "little")
        self.book.on_data(session_id)
        try:
            for kind, start, end in walk_sections(payload, dtypes.DATA_HEADER.size):
                if kind == DataSection.MESSAGE:
                    self._on_message(session_id, payload[start:end])
        except (WiretapError, IndexError, struct.error):
            return  # not well-formed: a stranger's

    def _on_message(self, session_id: int, body: bytes) -> None:
        header = dtypes.MESSAGE_HEADER.decode(body)
        if header.kind == RequestKind.SET_PROPERTY:
            try:
                asked = schemas.SET_PROPERTY_PAYLOAD.parse(body[dtypes.MESSAGE_HEADER.size :])
            except ConstructError:
                return
            self.requests[session_id, header.message_id] = self.asked[asked.value] = asked

    def on_from_server(self, address: bytes, payload: bytes) -> None:
        """The server sent a datagram. Raises: WiretapError if it must not have."""
        if address not in self.proven:
            self.count_unproven(address, payload)
        if payload[0] == Kind.UPDATE:
            self._on_update(address, payload)
        elif payload[0] in (Kind.CHALLENGE, Kind.WELCOME, Kind.PATH_CHALLENGE, Kind.BYE, Kind.REFUSE):
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
        elif payload[0] == Kind.BYE:
            self.book.on_bye_of_server(value.session, value.reason)
        elif payload[0] == Kind.REFUSE:
            self.book.on_refuse(value.nonce, value.reason)
        elif value.fields.session not in self.sessions:
            self._on_new_session(address, value.fields)
        else:
            self._on_welcome_again(value.fields)

    def _on_new_session(self, address: bytes, fields: Any) -> None:
        if fields.nonce in self.book.by_nonce:
            raise WiretapError("one nonce was given two sessions: a ghost")
        addresses = self.addresses.setdefault(fields.nonce, {address})
        if address not in addresses:
            raise WiretapError("a WELCOME went to an address from which nobody asked")
        self.new_sessions.append(self.book.on_welcome(fields, addresses))
        self.logs += [{} for _ in range(self.book.num_rooms - len(self.logs))]

    def _on_welcome_again(self, fields: Any) -> None:
        """A session that has not spoken is told where its log begins now, if that was given up meanwhile."""
        session = self.sessions[fields.session]
        if not session.has_spoken and (fields.resumed, fields.log_index) != (session.resumed, session.log_start):
            session.resumed, session.log_start = fields.resumed, fields.log_index
            session.indexes.clear()  # the client, which had no WELCOME, dropped all that it was sent
            self.new_sessions.append(session)

    def _on_update(self, address: bytes, payload: bytes) -> None:
        session = self.sessions.get(int.from_bytes(payload[4:12], "little"))
        if session is None:
            raise WiretapError("an UPDATE for a session that nobody was given")
        if address not in session.addresses:
            raise WiretapError(f"an UPDATE for player id {session.player_id} went to an address that was never its own")
        if session is not session.seat.newest:
            raise WiretapError(f"an UPDATE went to a session of player id {session.player_id} that was resumed")
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

    def arrivals(self, room: int) -> dict[int, TappedSession]:
        """Find whose each PLAYER_JOINED, and each PLAYER_BACK that is afresh, of a room opening is: by log index."""
        of_room = [session for session in self.sessions.values() if session.room == room]
        found: dict[int, TappedSession] = {}
        for index, entry in sorted(self.logs[room].items()):
            resumed = entry.arrival
            if resumed is not None:
                whose = (entry.about, resumed)
                candidates = [one for one in of_room if (one.player_id, one.resumed) == whose and one.log_start < index]
                if not candidates:
                    raise WiretapError(f"log index {index} announces player id {entry.about}, which nobody was given")
                found[index] = max(candidates, key=lambda one: one.log_start)
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
        payload = body[offset : offset + entry.length]
        yield index, Entry(entry.kind, entry.sender, entry.channel, entry.part, payload, entry.flags)
        offset += entry.length
