"""Signals as loops: read, checked and written for their receivers as they arrive, as `relay/signals.py`.

They are queued as columns of pairs in memory of their own, which `loops.delivery` empties.
"""

from collections import namedtuple
from typing import Any

import numpy as np

from protocol import dtypes
from protocol.constants import MAX_DATAGRAM_BYTES, DataSection, SignalFlag, UpdateSection
from protocol.drops import DropReason
from relay.audience import WORDS
from relay.batch import ROW_BYTES
from relay.budgets import Budget
from relay.columns import Bytes, windows
from relay.loops.arrays import Box
from relay.loops.bits import copy_bytes, extend
from relay.loops.intake import REASONS
from relay.loops.jit import compiled, inlined
from relay.loops.parts import SECTION_BYTES, first_section, payload_bytes, read_audience
from relay.signals import Encoded

Senders = namedtuple("Senders", "id room player_id tokens message_accepted message_permitted message_index log_cursor")
"""Columns of SessionTable."""
Rooms = namedtuple("Rooms", "members members_first")
Tables = namedtuple("Tables", "s r member")
"""`Senders`, `Rooms`, and the column of MemberTable."""
Queue = namedtuple("Queue", "receiver receiver_id position pointer length batch batch_signals counts data words")
"""Pairs of signal and receiver, as `signals.Encoded`, but with the address of the section; the batch that each came
with, ascending; by batch how many signals it had; `PAIRS` and the like; `Data`; and room for one audience, (WORDS,)."""
Data = namedtuple("Data", "byte section down base")
"""Where sections are written: bytes, the same as overlapping items that may begin at every byte, and its address."""
PAIRS, BATCHES, SIGNALS, BYTES = range(4)
"""How many pairs, batches with pairs and signals there are, and how many bytes they take."""

_FIRST_PAIRS = 1024
_FIRST_BYTES = 1 << 16
"""Room at first; doubled when it is not enough."""
_KEPT_PAIRS = 1 << 16
_KEPT_BYTES = 1 << 22
"""More than this is given back when the queue is empty: 3.7 MB and 4 MB (chosen)."""
_KIND, _SECTION = int(DataSection.SIGNAL), int(UpdateSection.SIGNAL)
_AFTER_LOG = int(SignalFlag.AFTER_LOG)
_BUDGET = int(Budget.SIGNALS)
_UP_BYTES, _DOWN_BYTES = dtypes.SIGNAL_UP_HEADER.size, dtypes.SIGNAL_DOWN_HEADER.size
_OVERHEAD = SECTION_BYTES + _DOWN_BYTES
_MOST_BYTES = _OVERHEAD + MAX_DATAGRAM_BYTES
"""More than any signal takes: those that arrive fit a datagram."""
_OVER_RATE = REASONS.index(DropReason.OVER_SIGNAL_RATE)
_LATE = REASONS.index(DropReason.SIGNAL_LATE)
_FULL = REASONS.index(DropReason.SIGNAL_QUEUE_FULL)


@compiled
def accept(received: Any, row: Any, session: Any, tables: Any, queue: Any, space: int, dropped: Any) -> Any:
    """Queue the signals of accepted datagrams.

    Args:
        received, tables, queue: Boxes of `intake.Received`, `Tables` and `Queue`.
        row, session: Batch rows of accepted datagrams and their sessions, side by side by session and in order.
        space: Signals that may be queued.
        dropped: (number of REASONS,) int64, counted up.
    Returns: signals that must wait for a message, (e, 3) int64: place in `row`, first byte and length of the section;
        and the pairs and bytes that there must be room for: if there is less, nothing was done.
    """
    batch, t, q = received.value, tables.value, queue.value
    num_signals, pairs, num_bytes = _measure(batch, row, session, t, space)
    pairs, num_bytes = pairs + q.counts[PAIRS], num_bytes + q.counts[BYTES]
    early = np.empty((num_signals, 3), np.int64)
    if pairs > len(q.receiver) or num_bytes > len(q.data.byte):
        return early[:0], pairs, num_bytes
    num_early = taken = 0
    first = q.counts[PAIRS]
    for k in range(len(row)):
        at, end = first_section(row[k]), row[k] * ROW_BYTES + batch.length[row[k]]
        while at < end:
            size = np.int64(batch.source.u16[at + 1])
            if batch.source.byte[at] == _KIND:
                verdict = _judge(batch.source.signal[at + SECTION_BYTES], t.s, session[k], taken < space, dropped)
                if verdict == _WAITS:
                    early[num_early, 0], early[num_early, 1], early[num_early, 2] = k, at + SECTION_BYTES, size
                    num_early += 1
                elif verdict == _GOES:
                    _queue(batch.source, at + SECTION_BYTES, size, t, session[k], q)
                    taken += 1
            at += SECTION_BYTES + size
    q.counts[SIGNALS] += taken
    if q.counts[PAIRS] > first:
        q.batch_signals[q.counts[BATCHES]] = taken  # no more batches than pairs
        q.counts[BATCHES] += 1
    return early[:num_early], pairs, num_bytes


@inlined
def _measure(batch: Any, row: Any, session: Any, t: Any, space: int) -> tuple[int, int, int]:
    """Count the signals that may be taken, and find how many pairs and bytes they may become at most.

    Budgets and `space` are minded here too: memory is made for no more than a pass may queue.
    """
    num_signals = pairs = num_bytes = most_members = 0
    x, left = np.int64(-1), 0
    for k in range(len(row)):
        if session[k] != x:
            x = session[k]
            left = np.int64(max(t.s.tokens[x, _BUDGET], 0.0))
        members = t.r.members[t.s.room[x]]
        at, end = first_section(row[k]), row[k] * ROW_BYTES + batch.length[row[k]]
        while at < end and left > 0:
            size = np.int64(batch.source.u16[at + 1])
            if batch.source.byte[at] == _KIND:
                left -= 1
                num_signals += 1
                pairs += members
                num_bytes += _OVERHEAD + size
                most_members = max(most_members, members)
            at += SECTION_BYTES + size
    return num_signals, min(pairs, space * most_members), min(num_bytes, space * _MOST_BYTES)


_DROPPED, _WAITS, _GOES = range(3)


@inlined
def _judge(header: Any, s: Any, x: int, is_space: bool, dropped: Any) -> int:
    """Take a token, and tell what becomes of a signal."""
    if s.tokens[x, _BUDGET] < 1:
        dropped[_OVER_RATE] += 1
        return _DROPPED
    s.tokens[x, _BUDGET] -= 1
    after = extend(header.after_message, s.message_accepted[x]) if header.flags & _AFTER_LOG else 0
    if after > s.message_permitted[x]:
        dropped[_LATE] += 1
        return _DROPPED
    if after > s.message_accepted[x]:
        return _WAITS
    if not is_space:
        dropped[_FULL] += 1
        return _DROPPED
    return _GOES


@inlined
def _queue(source: Any, at: int, size: int, t: Any, x: int, q: Any) -> None:
    """Write a signal as a section of UPDATE, once for all receivers, and queue it for each of them."""
    s, header = t.s, source.signal[at]
    position = max(s.message_index[x], s.log_cursor[x]) if header.flags & _AFTER_LOG else 0
    pointer = q.data.base[0] + np.uint64(q.counts[BYTES])
    length = _write_section(source, header, at, size, s.player_id[x], position, q)
    read_audience(source, header, at + _UP_BYTES, q.words)
    first = t.r.members_first[s.room[x]]
    for k in range(first, first + t.r.members[s.room[x]]):
        receiver = t.member[k]
        player_id = s.player_id[receiver]
        if (q.words[player_id >> 6] >> np.uint64(player_id & 63)) & np.uint64(1):
            p = q.counts[PAIRS]
            q.receiver[p], q.receiver_id[p], q.position[p] = receiver, s.id[receiver], position
            q.pointer[p], q.length[p], q.batch[p] = pointer, length, q.counts[BATCHES]
            q.counts[PAIRS] += 1


@inlined
def _write_section(source: Any, header: Any, at: int, size: int, sender: int, position: int, q: Any) -> int:
    """Write a signal as a section of UPDATE. Returns its bytes."""
    payload = payload_bytes(header, size, _UP_BYTES)
    to = q.counts[BYTES]
    section, down = q.data.section[to], q.data.down[to + SECTION_BYTES]
    section.type, section.length = _SECTION, _DOWN_BYTES + payload
    down.kind, down.flags, down.channel, down.fragment = header.kind, header.flags, header.channel, header.fragment
    down.sender, down.sequence, down.position = sender, header.sequence, position & 0xFFFF
    copy_bytes(q.data.byte, to + _OVERHEAD, source.byte, at + size - payload, payload)
    q.counts[BYTES] += _OVERHEAD + payload
    return _OVERHEAD + payload


class PairQueue:
    """The queue of `LoopStages`: see `signals.Queue`."""

    def __init__(self) -> None:
        self._counts = np.zeros(4, np.int64)
        self._words = np.zeros(WORDS, np.uint64)
        self._old: list[Bytes] = []
        """What pairs point into beside `_byte`."""
        self._byte: Bytes = np.zeros(0, np.uint8)
        self._columns = [np.zeros(0, dtype) for dtype in ("i8", "u8", "i8", "u8", "i8", "i8", "i8")]
        self.make_room(_FIRST_PAIRS, _FIRST_BYTES)

    @property
    def num_signals(self) -> int:
        """See `signals.Queue`."""
        return int(self._counts[SIGNALS])

    def put(self, encoded: Encoded) -> None:
        """See `signals.Queue`. For the few that waited."""
        begin, batch, count = int(self._counts[PAIRS]), int(self._counts[BATCHES]), len(encoded.receiver)
        self._counts[SIGNALS] += encoded.num_signals
        if not count:
            return
        end = begin + count
        self.make_room(end, 0)
        values = (encoded.receiver, encoded.receiver_id, encoded.position, encoded.pointers(), encoded.length, batch)
        for column, value in zip(self._columns, values, strict=False):
            column[begin:end] = value
        self._columns[-1][batch] = encoded.num_signals
        self._counts[PAIRS], self._counts[BATCHES] = end, batch + 1
        self._old.append(encoded.data)

    def make_room(self, num_pairs: int, num_bytes: int) -> bool:
        """Grow until there is room for so many pairs and bytes altogether. Returns whether that was needed."""
        rows = len(self._columns[0])
        if num_pairs <= rows and num_bytes <= len(self._byte):
            return False
        if num_pairs > rows:
            more = max(num_pairs, 2 * rows) - rows
            self._columns = [np.concatenate([column, np.zeros(more, column.dtype)]) for column in self._columns]
        if num_bytes > len(self._byte):
            self._old.append(self._byte)
            self._byte = np.zeros(2 * num_bytes, np.uint8)
            self._counts[BYTES] = 0
        section, down = (
            windows(self._byte, dtype) for dtype in (dtypes.SECTION_HEADER_DTYPE, dtypes.SIGNAL_DOWN_HEADER_DTYPE)
        )
        data = Data(self._byte, section, down, np.array([self._byte.ctypes.data], np.uint64))
        self.box = Box(Queue._make([*self._columns, self._counts, data, self._words]))
        return True

    def data(self) -> list[Bytes]:
        """Return what the pairs point into."""
        return [self._byte, *self._old]

    def tidy(self) -> None:
        """Forget what no pair points into any more, and give back what a rare burst took."""
        if self._counts[PAIRS]:
            return
        self._old.clear()
        self._counts[BYTES] = 0
        if len(self._columns[0]) > _KEPT_PAIRS or len(self._byte) > _KEPT_BYTES:
            self._columns = [np.zeros(0, column.dtype) for column in self._columns]
            self._byte = np.zeros(0, np.uint8)
            self.make_room(_FIRST_PAIRS, _FIRST_BYTES)
