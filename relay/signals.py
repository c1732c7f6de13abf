"""Signals: encoded once as they arrive, fanned out with the next sends, then forgotten (SPEC 10)."""

from collections import Counter
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from protocol import dtypes
from protocol.constants import DataSection, SignalFlag, UpdateSection
from protocol.drops import DropReason
from protocol.sequence import extend_array
from relay.audience import Audience, includes, read_audiences
from relay.budgets import Budget, Budgets
from relay.columns import Bools, Bytes, Ints, copy_runs, expand, places, windows
from relay.ingress import Received, Records, payload_bytes, read_section_headers
from relay.items import Items, Order
from relay.rooms import Rooms
from relay.sessions import Sessions
from relay.stats import Stats

MAX_WAITING = 1024
"""Signals on the whole relay that wait for a message of their sender (chosen: 1.1 MB)."""
MAX_WAITING_OF_SESSION = 64
"""Signals of one session that wait (chosen: one a frame during the resend of a message over 300 ms, three times)."""
WAIT_S = 1.0
"""How long a signal waits for its sender's message, then it is dropped (SPEC 10)."""
MAX_QUEUED = 8192
"""Signals gathered until the next sends (chosen: one second of a full core); more are dropped."""
_DOWN = dtypes.SIGNAL_DOWN_HEADER_DTYPE
_SECTION = dtypes.SECTION_HEADER.size
_OVERHEAD = _SECTION + dtypes.SIGNAL_DOWN_HEADER.size


@dataclass
class Signals:
    """Signals of one or more passes. Axis: n signals."""

    session: Ints
    """Sender rows."""
    room: Ints
    header: Records
    """SIGNAL_UP headers."""
    after: Ints
    """Extended id of the message before it; 0 = none."""
    audience: Audience
    source: Bytes
    payload_at: Ints
    payload_length: Ints

    def take(self, which: Ints | Bools) -> "Signals":
        """Select by positions or mask."""
        return Signals(
            self.session[which],
            self.room[which],
            self.header[which],
            self.after[which],
            self.audience[which],
            self.source,
            self.payload_at[which],
            self.payload_length[which],
        )

    def detached(self) -> "Signals":
        """Copy payloads out of the batch that they arrived in."""
        at = np.cumsum(self.payload_length) - self.payload_length
        source = np.zeros(int(self.payload_length.sum()), np.uint8)
        copy_runs(source, at, self.source, self.payload_at, self.payload_length)
        return Signals(self.session, self.room, self.header, self.after, self.audience, source, at, self.payload_length)


@dataclass
class Encoded:
    """Signals as sections of UPDATE, paired with their receivers. Axis: m pairs."""

    data: Bytes
    """The sections, one behind the other."""
    at: Ints
    """First byte of the pair's section in `data`."""
    length: Ints
    receiver: Ints
    """Session rows."""
    receiver_id: npt.NDArray[np.uint64]
    """Their session ids: until the next sends, a row may become another's."""
    position: Ints
    """Log index that the receiver must have reached; 0 = none."""
    num_signals: int
    """Signals that the pairs are of, or more."""

    def take(self, which: Bools) -> "Encoded":
        """Select pairs by mask."""
        at, length, position = self.at[which], self.length[which], self.position[which]
        return Encoded(self.data, at, length, self.receiver[which], self.receiver_id[which], position, self.num_signals)

    def pointers(self) -> npt.NDArray[np.uint64]:
        """Return the address of each pair's section, (m,)."""
        return np.uint64(self.data.ctypes.data) + self.at.astype(np.uint64)


class Queue(Protocol):
    """Pairs of signal and receiver between their arrival and the next sends; the stages choose how it is done."""

    @property
    def num_signals(self) -> int:
        """Signals that any pair is of."""

    def put(self, encoded: Encoded) -> None:
        """Add the pairs of one pass."""


class ColumnQueue:
    """The queue of `ColumnStages`."""

    def __init__(self) -> None:
        self._queued: list[Encoded] = []
        self.num_signals = 0

    def put(self, encoded: Encoded) -> None:
        """See `Queue`."""
        self._queued.append(encoded)
        self.num_signals += encoded.num_signals

    def due(self, sessions: Sessions, ready: Bools | None) -> tuple[Items, Bools, list[Bytes]]:
        """Hand over what is queued, and forget it.

        Args:
            ready: By session row, whether it may be sent anything now: what is for others stays, and shares a datagram
                with the snapshot instead of being lost. None for everything: what does not fit then is lost.
        Returns: items; by session row, whether it is sent a signal that waits for a log position; and the arrays that
            the items' pointers point into.
        """
        wanted = np.zeros(sessions.table.rows, np.bool_)
        if not self._queued:
            return Items.empty(), wanted, []
        queued, self._queued, self.num_signals = self._queued, [], 0
        if ready is not None:
            queued = [self._keep_back(encoded, ready) for encoded in queued]
        receiver, receiver_id, position, length, pointer = (
            np.concatenate(column)
            for column in zip(
                *((e.receiver, e.receiver_id, e.position, e.length, e.pointers()) for e in queued), strict=True
            )
        )
        here = sessions.table.id[receiver] == receiver_id
        receiver, position, length, pointer = receiver[here], position[here], length[here], pointer[here]
        wanted[receiver[position > sessions.table.log_cursor[receiver]]] = True
        order = np.argsort(receiver, kind="stable")
        items = Items.build(receiver[order], Order.SIGNAL, pointer[order], length[order])
        return items, wanted, [encoded.data for encoded in queued]

    def _keep_back(self, encoded: Encoded, ready: Bools) -> Encoded:
        """Queue again what is for sessions that are not ready; return the rest."""
        now = ready[encoded.receiver]
        if now.all():
            return encoded
        self.put(encoded.take(~now))
        return encoded.take(now)


class SignalRelay:
    """Signals between their arrival and the next sends."""

    def __init__(self) -> None:
        self._waiting: list[tuple[float, int, Signals]] = []
        """(deadline, session id, one signal) for those whose message has not arrived."""
        self._waiting_of: Counter[int] = Counter()
        """Session id -> how many of them are its."""
        self.queue: Queue = ColumnQueue()

    @property
    def num_queued(self) -> int:
        """Signals that go out with the next sends."""
        return self.queue.num_signals

    @property
    def num_waiting(self) -> int:
        """Signals that wait for a message of their sender."""
        return len(self._waiting)

    def accept(self, received: Received, sessions: Sessions, rooms: Rooms, stats: Stats, now: float) -> None:
        """Queue the SIGNAL sections of accepted datagrams, after the pass's messages were appended."""
        signals = self.read(received, sessions)
        kept = Budgets.covered(sessions.table, signals.session, Budget.SIGNALS)
        stats.count_dropped(DropReason.OVER_SIGNAL_RATE, kept)
        signals = signals.take(kept)
        possible = signals.after <= sessions.table.message_permitted[signals.session]
        stats.count_dropped(DropReason.SIGNAL_LATE, possible)
        signals = signals.take(possible)
        early = signals.after > sessions.table.message_accepted[signals.session]
        self.hold(signals.take(early), sessions, stats, now)
        self._encode(signals.take(~early), sessions, rooms, stats)

    def read(self, received: Received, sessions: Sessions) -> Signals:
        """Read SIGNAL sections in order of session and arrival."""
        sections = received.sections.of(DataSection.SIGNAL)
        sections = sections.take(np.lexsort((sections.at, sections.datagram)))
        header, _ = read_section_headers(received.source, sections, dtypes.SIGNAL_UP_HEADER_DTYPE)
        session = received.session[sections.datagram]
        near = sessions.table.message_accepted[session]
        after = np.where(header["flags"] & SignalFlag.AFTER_LOG != 0, extend_array(header["after_message"], near), 0)
        length = payload_bytes(sections, header)
        audience = read_audiences(received.source, sections, header)
        payload_at = sections.at + sections.length - length
        room = sessions.table.room[session]
        return Signals(session, room, header, after, audience, received.source, payload_at, length)

    def hold(self, signals: Signals, sessions: Sessions, stats: Stats, now: float) -> None:
        """Keep signals whose messages have not arrived."""
        for i in range(len(signals.session)):
            self._wait(signals.take(np.array([i])).detached(), sessions, stats, now)

    def _wait(self, signal: Signals, sessions: Sessions, stats: Stats, now: float) -> None:
        """Keep a signal whose message has not arrived."""
        session_id = int(sessions.table.id[signal.session[0]])
        if len(self._waiting) >= MAX_WAITING or self._waiting_of[session_id] >= MAX_WAITING_OF_SESSION:
            stats.count_drop(DropReason.SIGNAL_QUEUE_FULL)
            return
        self._waiting.append((now + WAIT_S, session_id, signal))
        self._waiting_of[session_id] += 1

    def release_waiting(self, sessions: Sessions, rooms: Rooms, stats: Stats, now: float) -> None:
        """Queue signals whose message has arrived, and drop those that waited too long."""
        if not self._waiting:
            return
        still = []
        for deadline, session_id, signal in self._waiting:
            if sessions.find(session_id) is None:
                stats.count_drop(DropReason.SIGNAL_LATE)
            elif signal.after[0] <= sessions.table.message_accepted[signal.session[0]]:
                self._encode(signal, sessions, rooms, stats)
            elif now >= deadline:
                stats.count_drop(DropReason.SIGNAL_LATE)
            else:
                still.append((deadline, session_id, signal))
        self._waiting = still
        self._waiting_of = Counter(session_id for _, session_id, _ in still)

    def _encode(self, signals: Signals, sessions: Sessions, rooms: Rooms, stats: Stats) -> None:
        """Write signals as sections of UPDATE, once for all receivers."""
        room_for = MAX_QUEUED - self.num_queued
        stats.count_drop(DropReason.SIGNAL_QUEUE_FULL, max(0, len(signals.session) - room_for))
        order = np.argsort(signals.room[:room_for], kind="stable")
        if not len(order):
            return
        signals = signals.take(order)
        length = _OVERHEAD + signals.payload_length
        at = np.cumsum(length) - length
        data = np.zeros(int(length.sum()), np.uint8)
        position = _positions(signals, sessions)
        sections = np.zeros(len(at), dtypes.SECTION_HEADER_DTYPE)
        sections["type"], sections["length"] = UpdateSection.SIGNAL, length - _SECTION
        header = np.zeros(len(at), _DOWN)
        for name in ("kind", "flags", "channel", "fragment", "sequence"):
            header[name] = signals.header[name]
        header["sender"] = sessions.table.player_id[signals.session]
        header["position"] = position & 0xFFFF
        windows(data, sections.dtype)[at] = sections
        windows(data, _DOWN)[at + _SECTION] = header
        copy_runs(data, at + _OVERHEAD, signals.source, signals.payload_at, signals.payload_length)
        which, receiver = _receivers(signals, sessions, rooms)
        receiver_id = sessions.table.id[receiver]
        self.queue.put(Encoded(data, at[which], length[which], receiver, receiver_id, position[which], len(at)))


def _receivers(signals: Signals, sessions: Sessions, rooms: Rooms) -> tuple[Ints, Ints]:
    """Pair every signal with the members of its room that it is for: (which signal, session row)."""
    table = rooms.table
    which, k = expand(table.members[signals.room])
    receiver = rooms.members.session[table.members_first[signals.room][which] + k]
    meant = places(includes(signals.audience, which, sessions.table.player_id[receiver]))
    return which[meant], receiver[meant]


def _positions(signals: Signals, sessions: Sessions) -> Ints:
    """Turn "after my message" into a log position: the later of its index and what the sender has acknowledged.

    The index of the sender's newest message in the log stands for that of the message named, which is it or before it.
    """
    table = sessions.table
    position = np.maximum(table.message_index[signals.session], table.log_cursor[signals.session])
    return np.where(signals.header["flags"] & SignalFlag.AFTER_LOG != 0, position, 0)
