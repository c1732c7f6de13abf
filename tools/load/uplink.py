"""What the players of a load send: DATA for many at a time, as `protocol.client` would build each.

Two differences. Everybody has one entity, and one DATA a tick: what does not fit waits for the next, where the client
would begin a second. A load is built so that it fits, and then the bytes are equal: the tests compare them.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from protocol import dtypes
from protocol.client.outbox import DEFAULT_RTT_S, REPEAT_MAX_BYTES, RETRY_EXTRA_S, RETRY_RTTS
from protocol.constants import (
    ACK_DELAY_MAX_MS,
    MAX_BODY_BYTES,
    MAX_SECTIONS,
    MESSAGE_WINDOW,
    AckFlag,
    DataSection,
    EntryKind,
    Kind,
    SignalFlag,
)
from relay.batch import ROW_BYTES
from relay.columns import Bools, Bytes, Ints, expand, rank_in_run, windows
from relay.ingress import Records
from tools.load import claims
from tools.load.audience import NUM_IDS, Aim, Audience, choose
from tools.load.claims import Use
from tools.load.log import Log
from tools.load.people import FLIGHT, MESSAGE_SLOTS, REMEMBERED, UNKNOWN, People

MAX_BACKLOG = 60
"""Messages of one player that may wait for the relay; then it says no more for a while. Far above a window of 32."""
NEWEST_FIRST_EVERY = 3
"""Every third signal is newest-first, every second waits for the log (chosen: every mixture occurs)."""
AFTER_LOG_EVERY = 2


@dataclass(frozen=True)
class Habits:
    """What the players of a load send."""

    per_room: int
    state_bytes: int
    message_bytes: int
    signal_bytes: int
    aim: Aim


@dataclass
class Outbound:
    """Datagrams to send. Axis: n datagrams."""

    row: Ints
    """Who sends each, (n,)."""
    data: Bytes
    """(n, ROW_BYTES); valid until the next is built."""
    length: Ints


def signal_flags(counter: Ints) -> Ints:
    """Tell which flags signals have, by their counters."""
    flags = np.zeros(len(counter), np.int64)
    flags[counter % NEWEST_FIRST_EVERY == 0] |= int(SignalFlag.NEWEST_FIRST)
    flags[counter % AFTER_LOG_EVERY == 0] |= int(SignalFlag.AFTER_LOG)
    return flags


class Uplink:
    """Builds what a crowd sends."""

    def __init__(self, people: People, log: Log, habits: Habits, tick_rate: int) -> None:
        self._people = people
        self._log = log
        self._habits = habits
        self._tick_rate = tick_rate
        self._data = np.zeros((0, ROW_BYTES), np.uint8)
        self.messages_resent = 0
        self.messages_held_back = 0
        """Not said, because too many of the same player waited."""

    # --- what the players do

    def publish(self, rows: Ints, now: float) -> None:
        """Let players publish their next state."""
        people = self._people
        people.published[rows] += 1
        people.published_at[rows, people.published[rows] % REMEMBERED] = now
        people.state_open[rows] = True
        people.state_mask[rows] = 0
        rtt_s = np.maximum(people.rtt_s[rows], 0.0)
        server_s = now + np.maximum(people.clock_best_s[rows], people.clock_before_s[rows]) + rtt_s / 2
        people.sample_ms[rows] = (server_s * 1000).astype(np.int64)

    def say(self, rows: Ints, now: float) -> None:
        """Let players queue their next message."""
        people = self._people
        free = people.said[rows] - people.message_acked[rows] < MAX_BACKLOG
        self.messages_held_back += int(np.count_nonzero(~free))
        rows = rows[free]
        people.said[rows] += 1
        people.said_at[rows, people.said[rows] % REMEMBERED] = now

    def signal(self, rows: Ints, now: float) -> None:
        """Let players queue their next signal."""
        people = self._people
        people.signalled[rows] += 1
        people.signalled_at[rows, people.signalled[rows] % REMEMBERED] = now

    # --- datagrams

    def build_tick(self, rows: Ints, now: float) -> Outbound:
        """Build what a tick of these players has to send: one DATA each, or none if nothing is due or owed."""
        people = self._people
        packing = self._open(rows)
        self._put_states(packing)
        self._put_signals(packing)
        self._put_messages(packing, now)
        sending = (packing.at > packing.begin) | (people.owed[rows] > 0)
        return self._seal(packing, sending, now)

    def build_words(self, now: float, keepalive_s: float) -> Outbound:
        """Build the acknowledgements that are due and the keepalives of everybody."""
        people = self._people
        rows = people.living
        due = (people.ack_due_at[rows] <= now) | (people.sent_at[rows] + keepalive_s <= now)
        packing = self._open(rows[due])
        return self._seal(packing, np.ones(len(packing.row), np.bool_), now)

    def _open(self, rows: Ints) -> "_Packing":
        if len(self._data) < len(rows):
            self._data = np.zeros((2 * len(rows), ROW_BYTES), np.uint8)
        packing = _Packing(rows, self._data[: len(rows)])
        for i, bits in self._log.bits_of(rows):
            body = np.frombuffer(bits, np.uint8)[None, :]
            packing.put(np.array([i]), DataSection.LOG_BITS, body)
        packing.begin = packing.at.copy()
        return packing

    def _put_states(self, packing: "_Packing") -> None:
        people, habits = self._people, self._habits
        some = np.flatnonzero(people.state_open[packing.row])
        rows = packing.row[some]
        header = np.zeros(len(rows), dtypes.STATE_HEADER_DTYPE)
        header["sample_ms"] = people.sample_ms[rows] & 0xFFFF
        header["count"], header["stride"] = 1, habits.state_bytes
        content = claims.write(Use.STATE, rows, people.published[rows], habits.state_bytes)
        entity_id = people.player_id[rows].astype("<u2")
        fitted = packing.put(some, DataSection.STATE, _rows_of(header), _rows_of(entity_id), content)
        packing.has_state[fitted] = True

    def _put_signals(self, packing: "_Packing") -> None:
        people, habits = self._people, self._habits
        waiting = people.signalled[packing.row] - people.signal_packed[packing.row]
        for _ in range(int(waiting.max(initial=0))):
            some = np.flatnonzero(people.signalled[packing.row] > people.signal_packed[packing.row])
            rows = packing.row[some]
            counter = people.signal_packed[rows] + 1
            header = np.zeros(len(rows), dtypes.SIGNAL_UP_HEADER_DTYPE)
            header["kind"] = EntryKind.MESSAGE
            header["flags"] = signal_flags(counter)
            header["sequence"] = counter & 0xFFFF
            after_log = counter % AFTER_LOG_EVERY == 0
            header["after_message"] = np.where(after_log, people.said[rows] & 0xFFFF, 0)
            content = claims.write(Use.SIGNAL, rows, counter, habits.signal_bytes)
            audience = self._audience(rows, counter, Use.SIGNAL)
            fitted = self._put_for(packing, some, DataSection.SIGNAL, header, audience, content)
            people.signal_packed[packing.row[fitted]] += 1
            if len(fitted) < len(some):
                return  # full; what is left goes with the next tick

    def _put_messages(self, packing: "_Packing", now: float) -> None:
        datagram, message_id = self._due_messages(packing, now)
        rank = rank_in_run(datagram)
        for k in range(int(rank.max(initial=-1)) + 1):
            some, ids = datagram[rank == k], message_id[rank == k]
            rows = packing.row[some]
            open_still = ~packing.is_full[some]
            some, ids, rows = some[open_still], ids[open_still], rows[open_still]
            header = np.zeros(len(rows), dtypes.MESSAGE_HEADER_DTYPE)
            header["message_id"], header["kind"] = ids & 0xFFFF, EntryKind.MESSAGE
            content = claims.write(Use.MESSAGE, rows, ids, self._habits.message_bytes)
            audience = self._audience(rows, ids, Use.MESSAGE)
            fitted = np.isin(some, self._put_for(packing, some, DataSection.MESSAGE, header, audience, content))
            packing.is_full[some[~fitted]] = True
            self._note_sent(rows[fitted], ids[fitted], now)

    def _due_messages(self, packing: "_Packing", now: float) -> tuple[Ints, Ints]:
        """List (datagram, message id) of what is due, in order: inside window and credit, not settled."""
        people, rows = self._people, packing.row
        acked = people.message_acked[rows]
        limit = np.minimum(np.minimum(people.said[rows], acked + MESSAGE_WINDOW), people.message_credit[rows])
        datagram, k = expand(np.maximum(limit - acked, 0))
        ids = acked[datagram] + 1 + k
        settled = people.message_bits[rows][datagram] >> k.astype(np.uint64) & np.uint64(1) != 0
        num_settled = np.bincount(datagram, weights=settled, minlength=len(rows)).astype(np.int64)
        waiting_bytes = (people.said[rows] - acked - num_settled) * self._habits.message_bytes
        is_new = ids > people.message_sent[rows][datagram]
        is_late = people.message_due_at[rows[datagram], ids % MESSAGE_SLOTS] <= now
        due = ~settled & (is_new | is_late | (waiting_bytes <= REPEAT_MAX_BYTES)[datagram])
        return datagram[due], ids[due]

    def _note_sent(self, rows: Ints, ids: Ints, now: float) -> None:
        people = self._people
        self.messages_resent += int(np.count_nonzero(ids <= people.message_sent[rows]))
        rtt_s = np.where(people.rtt_s[rows] == UNKNOWN, DEFAULT_RTT_S, people.rtt_s[rows])
        people.message_due_at[rows, ids % MESSAGE_SLOTS] = now + (RETRY_RTTS * rtt_s + RETRY_EXTRA_S)
        people.message_sent[rows] = np.maximum(people.message_sent[rows], ids)

    def _audience(self, rows: Ints, counter: Ints, use: Use) -> Audience:
        return audience_of(self._habits, use, rows, counter, self._people.player_id[rows])

    @staticmethod
    def _put_for(
        packing: "_Packing", some: Ints, kind: DataSection, header: Records, audience: Audience, content: Bytes
    ) -> Ints:
        """Put sections with their player ids. Returns: the datagrams in which they fitted."""
        header["target"] = audience.target
        num_ids = NUM_IDS[audience.target]
        header["target_count"] = num_ids
        ids = np.column_stack([audience.first, audience.second]).astype("<u2")
        fitted = [np.zeros(0, np.int64)]
        for count in range(3):
            these = np.flatnonzero(num_ids == count)
            if len(these):
                parts = [_rows_of(header[these]), _rows_of(ids[these, :count]), content[these]]
                fitted.append(packing.put(some[these], kind, *parts))
        return np.concatenate(fitted)

    def _seal(self, packing: "_Packing", sending: Bools, now: float) -> Outbound:
        """Write the headers of those that are sent, and note them as sent."""
        people = self._people
        kept = np.flatnonzero(sending)
        rows = packing.row[kept]
        seq = people.send_seq[rows] + 1
        header = np.zeros(len(rows), dtypes.DATA_HEADER_DTYPE)
        header["kind"], header["shard"] = Kind.DATA, people.shard[rows]
        header["seq"], header["session"] = seq & 0xFFFF, people.session[rows]
        heard = people.recv_newest[rows] > 0
        delay_ms = np.clip(np.rint((now - people.recv_at[rows]) * 1000), 0, ACK_DELAY_MAX_MS)
        header["ack"] = people.recv_newest[rows] & 0xFFFF
        header["ack_bits"] = people.recv_mask[rows] >> np.uint64(1) & np.uint64(0xFFFFFFFF)
        header["ack_delay"] = np.where(heard, delay_ms, 0)
        header["flags"] = np.where(heard, 0, int(AckFlag.NOTHING_RECEIVED))
        header["log_cursor"] = self._log.cursors(rows)
        data = packing.data if len(kept) == len(packing.row) else packing.data[kept]
        data[:, : header.itemsize] = _rows_of(header)
        people.send_seq[rows] = seq
        people.sent_at[rows] = now
        people.flight_at[rows, seq % FLIGHT] = now
        people.state_mask[rows] = people.state_mask[rows] << np.uint64(1) | packing.has_state[kept]
        people.owed[rows] = 0
        people.ack_due_at[rows] = np.inf
        return Outbound(rows, data, packing.at[kept])


def audience_of(habits: Habits, use: Use, life: Ints, counter: Ints, sender_id: Ints) -> Audience:
    """Tell whom messages or signals are for; the two roll apart, so that they do not always go to the same players."""
    return choose(habits.aim, life, counter * len(Use) + int(use), sender_id, habits.per_room)


class _Packing:
    """DATA while their sections are put in. Axis: n datagrams, rows of one array."""

    def __init__(self, rows: Ints, data: Bytes) -> None:
        self.row = rows
        self.data = data
        self.at = np.full(len(rows), dtypes.DATA_HEADER.size)
        """Bytes so far, (n,)."""
        self.begin = self.at.copy()
        """Bytes of what is no reason to send: header and LOG_BITS."""
        self.num_sections = np.zeros(len(rows), np.int64)
        self.has_state = np.zeros(len(rows), np.bool_)
        self.is_full = np.zeros(len(rows), np.bool_)
        """A message did not fit: those behind it must not go before it."""

    def put(self, some: Ints, kind: DataSection, *parts: Bytes) -> Ints:
        """Put one section into each of some datagrams, distinct, (m,): its body is `parts` side by side, (m, bytes).

        Returns: the datagrams into which it fitted.
        """
        body = sum(part.shape[1] for part in parts)
        size = dtypes.SECTION_HEADER.size + body
        fits = (self.at[some] + size <= MAX_BODY_BYTES) & (self.num_sections[some] < MAX_SECTIONS)
        if not fits.all():
            some, parts = some[fits], tuple(part[fits] for part in parts)
        section = np.empty((len(some), size), np.uint8)
        section[:, : dtypes.SECTION_HEADER.size] = np.frombuffer(dtypes.SECTION_HEADER.encode(kind, body), np.uint8)
        at = dtypes.SECTION_HEADER.size
        for part in parts:
            section[:, at : at + part.shape[1]] = part
            at += part.shape[1]
        flat = self.data.reshape(-1)
        windows(flat, f"V{size}")[some * ROW_BYTES + self.at[some]] = section.view(f"V{size}")[:, 0]
        self.at[some] += size
        self.num_sections[some] += 1
        return some


def _rows_of(values: npt.NDArray[Any]) -> Bytes:
    """View records, (n,) or (n, k), as bytes, (n, bytes)."""
    values = np.ascontiguousarray(values)
    return values.view(np.uint8).reshape(len(values), values.itemsize * int(np.prod(values.shape[1:])))
