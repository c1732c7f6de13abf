"""Messages on their way into the log as a loop: the common case of `relay/messages.py`.

That is a pass in which every message is whole, and neither a request nor to be kept; new ones are next in their
session's order and here once, and all are within credit, budget and memory. Any other pass is left to the columns.
"""

from collections import namedtuple
from typing import Any

import numpy as np

from protocol import dtypes
from protocol.constants import FIRST_REQUEST_KIND, DataSection, MessageFlag
from relay.audience import WORDS
from relay.batch import ROW_BYTES
from relay.budgets import Budget
from relay.loops.bits import copy_bytes, extend
from relay.loops.jit import compiled, inlined
from relay.loops.parts import SECTION_BYTES, first_section, payload_bytes, read_audience

Senders = namedtuple(
    "Senders",
    "room player_id tokens message_accepted message_permitted message_index message_held unfinished_parts"
    " unfinished_first unfinished_audience entry_charge unread_bytes",
)
"""Columns of SessionTable."""
Rooms = namedtuple("Rooms", "log_first log_capacity log_head log_tail")
Entries = namedtuple("Entries", "at length owner first more audience")
Tables = namedtuple("Tables", "s r e")
"""`Senders`, `Rooms`, `Entries`."""
Memory = namedtuple("Memory", "byte header")
"""The log's bytes, and the same as overlapping ENTRY headers that may begin at every byte."""
UNCOMMON = -1
"""Returned by `accept` where the columns must take the pass."""

_KIND = int(DataSection.MESSAGE)
_FIRST_REQUEST = FIRST_REQUEST_KIND
_KEEP, _OUTLIVES = int(MessageFlag.KEEP), int(MessageFlag.OUTLIVES_SENDER)
_BUDGET = int(Budget.MESSAGES)
_MESSAGE_BYTES, _ENTRY_BYTES = dtypes.MESSAGE_HEADER.size, dtypes.ENTRY_HEADER.size
_Found = namedtuple("_Found", "session at size message_id")


@compiled
def accept(received: Any, row: Any, session: Any, count: int, tables: Any, memory: Any, first: int, space: int) -> Any:
    """Append the messages of accepted datagrams, if their case is the common one.

    Args:
        received, tables, memory: Boxes of `intake.Received`, `Tables` and `Memory`.
        row, session: Batch rows of accepted datagrams and their sessions, side by side by session and in order.
        count: Messages that they hold.
        first, space: Where entries may be written in `memory`, and how many bytes.
    Returns: bytes that were written, or UNCOMMON: then nothing was done.
    """
    batch, t, log = received.value, tables.value, memory.value
    found = _Found(
        np.empty(count, np.int64), np.empty(count, np.int64), np.empty(count, np.int64), np.empty(count, np.int64)
    )
    num_found, total = _find(batch, row, session, t, found, np.zeros(len(t.r.log_head), np.int64))
    if num_found == UNCOMMON or total > space:
        return UNCOMMON
    order = np.arange(num_found)
    if not _are_rooms_ascending(t.s, found.session, num_found):
        order = np.argsort(t.s.room[found.session[:num_found]], kind="mergesort")
    at = first
    for k in order:
        at = _append(batch.source, t, log, at, found.session[k], found.at[k], found.size[k], found.message_id[k])
    return total


@inlined
def _find(batch: Any, row: Any, session: Any, t: Any, found: Any, of_room: Any) -> tuple[int, int]:
    """List the messages that are new.

    Args:
        found: `_Found`, room for every message.
        of_room: By room row, all 0: counts them.
    Returns: how many there are or UNCOMMON, and the bytes that they take in the log.
    """
    s = t.s
    num_found = total = new = 0
    before = -1
    for k in range(len(row)):
        x = session[k]
        if x != before:
            before, new = x, 0
        at, end = first_section(row[k]), row[k] * ROW_BYTES + batch.length[row[k]]
        while at < end:
            size = np.int64(batch.source.u16[at + 1])
            if batch.source.byte[at] == _KIND:
                header = batch.source.message[at + SECTION_BYTES]
                message_id = extend(header.message_id, s.message_accepted[x])
                if _is_special(header) or not _is_common(s, x, message_id, new):
                    return UNCOMMON, 0
                if message_id > s.message_accepted[x]:
                    room = s.room[x]
                    new += 1
                    of_room[room] += 1
                    if t.r.log_head[room] + of_room[room] - t.r.log_tail[room] > t.r.log_capacity[room]:
                        return UNCOMMON, 0
                    found.session[num_found], found.message_id[num_found] = x, message_id
                    found.at[num_found], found.size[num_found] = at + SECTION_BYTES, size
                    total += _ENTRY_BYTES + payload_bytes(header, size, _MESSAGE_BYTES)
                    num_found += 1
            at += SECTION_BYTES + size
    return num_found, total


@inlined
def _is_special(header: Any) -> bool:
    """Tell whether a message is a fragment, a request or to be kept."""
    return header.more != 0 or header.kind >= _FIRST_REQUEST or header.flags & _KEEP != 0


@inlined
def _is_common(s: Any, x: int, message_id: int, new: int) -> bool:
    """Tell whether a message was here before this pass, or is next behind `new` others of the pass and may be taken."""
    if s.message_held[x] > 0 or s.unfinished_parts[x] > 0:
        return False
    if message_id <= s.message_accepted[x]:
        return True
    is_next = message_id == s.message_accepted[x] + new + 1
    return is_next and message_id <= s.message_permitted[x] and new + 1 <= s.tokens[x, _BUDGET]


@inlined
def _are_rooms_ascending(s: Any, session: Any, count: int) -> bool:
    for k in range(1, count):  # noqa: SIM110 - numba compiles no generator expressions
        if s.room[session[k]] < s.room[session[k - 1]]:
            return False
    return True


@inlined
def _append(source: Any, t: Any, log: Any, to: int, x: int, at: int, size: int, message_id: int) -> int:
    """Append one message to its room's log. Returns where the next may be written."""
    s, r, e = t.s, t.r, t.e
    room, header = s.room[x], source.message[at]
    payload = payload_bytes(header, size, _MESSAGE_BYTES)
    index = r.log_head[room] + 1
    r.log_head[room] = index
    entry = r.log_first[room] + (index & (r.log_capacity[room] - 1))
    e.at[entry], e.length[entry] = to, _ENTRY_BYTES + payload
    e.owner[entry], e.first[entry], e.more[entry] = x, index, False
    read_audience(source, header, at + _MESSAGE_BYTES, e.audience[entry])
    written = log.header[to]
    written.index, written.length, written.part = index & 0xFFFF, payload, 0
    written.kind, written.flags, written.channel = header.kind, header.flags & _OUTLIVES, header.channel
    written.sender = s.player_id[x]
    copy_bytes(log.byte, to + _ENTRY_BYTES, source.byte, at + size - payload, payload)
    s.tokens[x, _BUDGET] -= 1
    s.message_accepted[x], s.message_index[x] = message_id, index
    s.unread_bytes[x] += payload + s.entry_charge[x]
    s.unfinished_first[x] = index
    for word in range(WORDS):
        s.unfinished_audience[x, word] = e.audience[entry, word]
    return to + _ENTRY_BYTES + payload
