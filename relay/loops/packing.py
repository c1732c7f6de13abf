"""From due items to datagrams as loops: cut, headers, pieces, and the record of what went out, as `relay/egress.py`."""

from collections import namedtuple
from typing import Any

import numpy as np

from protocol import dtypes
from protocol.constants import ACK_DELAY_MAX_MS, LOG_WINDOW, WINDOW, AckFlag, Kind, UpdateSection
from relay.egress import RANGE_BYTES, SPACE_BYTES
from relay.items import PAGE_BLOCK, Order
from relay.loops.bits import shifted_up
from relay.loops.jit import compiled, inlined
from relay.loops.sending import creditable

Receivers = namedtuple(
    "Receivers",
    "id room address recv_newest recv_mask recv_at ack_owed ack_due_at send_seq acked_seq flight_mask sent_bytes"
    " sent_at send_tokens history_tick history_page history_pages history_at history_bytes message_accepted"
    " message_permitted message_bits unread_bytes entry_charge log_sent_tick acked_at pages_first page_next",
)
"""Columns of SessionTable."""
Rooms = namedtuple("Rooms", "shard num_pages")
Items = namedtuple("Items", "session order pointer length linked apart first last after index")
"""As `items.Items`."""
Tables = namedtuple("Tables", "s r seat_sent")
"""`Receivers`, `Rooms`, and a column of SessionPages."""
Target = namedtuple("Target", "header range_section range piece first_piece address bases done")
"""What is written, each large enough: UPDATE headers; section and range headers side by side; (pointer, length) pairs;
the first piece and the address of each datagram. The memory addresses of headers and ranges, (2,) uint64. How many
there are of datagrams, pieces, ranges, and signals that are among them, and how many bytes, (NUM_COUNTS,) int64."""
NUM_COUNTS = 5
Clock = namedtuple("Clock", "now tick")

_UPDATE = int(Kind.UPDATE)
_UPDATE_BYTES = dtypes.UPDATE_HEADER.size
_RANGE_HEADER_BYTES = dtypes.RANGE_HEADER.size
_LOG_RANGE = int(UpdateSection.LOG_RANGE)
_SIGNAL, _PAGE = int(Order.SIGNAL), int(Order.PAGE)
_NOTHING_RECEIVED = int(AckFlag.NOTHING_RECEIVED)


@compiled
def build(items: Any, num_items: int, bare: Any, allowed: Any, tables: Any, times: Any, target: Any) -> None:
    """Cut items into datagrams and write them.

    Args:
        items: Box of `Items`, of which the first `num_items` stand, ordered by session.
        bare: Rows of sessions that must get a datagram even if no item is due for them, ascending.
        allowed: Datagrams permitted, by session row.
        tables, target: Boxes of `Tables` and `Target`.
        times: `Clock`, as a plain tuple.
    """
    i, t, out = items.value, tables.value, target.value
    clock = Clock(*times)
    done = out.done
    done[:] = 0
    out.first_piece[0] = 0
    at = next_bare = 0
    while at < num_items or next_bare < len(bare):
        if at == num_items or (next_bare < len(bare) and bare[next_bare] < i.session[at]):
            x = bare[next_bare]
            if allowed[x] > 0:
                _build_all(i, at, at, 1, t, x, clock, out, done)
            next_bare += 1
            continue
        x = i.session[at]
        if next_bare < len(bare) and bare[next_bare] == x:
            next_bare += 1
        end = at + 1
        while end < num_items and i.session[end] == x:
            end += 1
        if allowed[x] > 0:
            _build_all(i, at, end, allowed[x], t, x, clock, out, done)
        at = end


@inlined
def _build_all(
    items: Any, at: int, end: int, allowed: int, tables: Any, x: int, clock: Any, target: Any, done: Any
) -> None:
    """Build the datagrams of one session, one even if it has no items; what needs more than `allowed` is left out."""
    s = tables.s
    sent_before = s.sent_bytes[x]
    if s.send_seq[x] == s.acked_seq[x]:
        s.acked_at[x] = clock.now
    for number in range(allowed):
        if number > 0 and at == end:
            break
        stop = _next_cut(items, at, end)
        _build_one(items, at, stop, tables, x, clock, target, done)
        _note_sent(items, at, stop, tables, x, clock.tick, done)
        at = stop
    s.send_tokens[x] -= s.sent_bytes[x] - sent_before


@inlined
def _note_sent(items: Any, at: int, stop: int, tables: Any, x: int, tick: int, done: Any) -> None:
    """Note when each page and entry went out, and where the session's next round of pages begins."""
    s = tables.s
    for k in range(at, stop):
        if items.order[k] == _PAGE:
            tables.seat_sent[s.pages_first[x] + items.last[k]] = tick
            s.page_next[x] = (items.last[k] + 1) % tables.r.num_pages[s.room[x]]
        elif items.order[k] == _SIGNAL:
            done[3] += 1
        elif items.index[k] > 0:
            s.log_sent_tick[x, items.index[k] % LOG_WINDOW] = tick


@inlined
def _next_cut(items: Any, at: int, end: int) -> int:
    """Return where the datagram that begins with an item ends: greedily, and before an item that stands apart."""
    space = SPACE_BYTES - (RANGE_BYTES if at < end and items.linked[at] else 0)
    stop = at
    while stop < end and (stop == at or not items.apart[stop]):
        is_log = items.order[stop] % 2 == 0
        space -= items.length[stop] + (RANGE_BYTES if is_log and not items.linked[stop] else 0)
        if space < 0:
            break
        stop += 1
    return max(stop, min(at + 1, end))  # never an empty one: no item is larger than a datagram, and room is counted


@inlined
def _build_one(items: Any, at: int, stop: int, tables: Any, x: int, clock: Any, target: Any, done: Any) -> None:
    """Write one datagram with the items at ... stop, and record it."""
    s, bases = tables.s, target.bases
    d, piece = done[0], done[1]
    _write_header(target.header[d], s, tables.r, x, clock)
    for word in range(s.address.shape[1]):
        target.address[d, word] = s.address[x, word]
    target.piece[piece, 0] = bases[0] + np.uint64(d * _UPDATE_BYTES)
    target.piece[piece, 1] = np.uint64(_UPDATE_BYTES)
    size = np.int64(_UPDATE_BYTES)
    first = piece
    for k in range(at, stop):
        is_log = items.order[k] % 2 == 0
        if is_log and (not items.linked[k] or k == at):
            piece = _add_piece(target, first, piece, bases[1] + np.uint64(done[2] * RANGE_BYTES), RANGE_BYTES)
            section, covered = target.range_section[done[2]], target.range[done[2]]
            section.type, section.length = _LOG_RANGE, _RANGE_HEADER_BYTES
            covered.first, covered.after = items.first[k], items.after[k]
            size += RANGE_BYTES
            done[2] += 1
        if is_log:
            target.range_section[done[2] - 1].length += items.length[k]
            target.range[done[2] - 1].last = items.last[k]
        if items.length[k] > 0:
            piece = _add_piece(target, first, piece, items.pointer[k], items.length[k])
            size += items.length[k]
    _record(items, at, stop, s, x, size, clock)
    done[0], done[1] = d + 1, piece + 1
    done[4] += size
    target.first_piece[d + 1] = piece + 1


@inlined
def _add_piece(target: Any, first: int, piece: int, pointer: int, length: int) -> int:
    """Add a piece behind `piece`, or lengthen that if the new one lies behind it in memory. Returns the newest."""
    if piece >= first and target.piece[piece, 0] + target.piece[piece, 1] == pointer:
        target.piece[piece, 1] += np.uint64(length)
        return piece
    target.piece[piece + 1, 0], target.piece[piece + 1, 1] = pointer, np.uint64(length)
    return piece + 1


@inlined
def _write_header(header: Any, s: Any, r: Any, x: int, clock: Any) -> None:
    """Write the UPDATE header of a session's next datagram, and grant it what credit it may have."""
    header.kind, header.shard = _UPDATE, r.shard[s.room[x]]
    header.seq, header.session = (s.send_seq[x] + 1) & 0xFFFF, s.id[x]
    header.ack = s.recv_newest[x] & 0xFFFF
    header.ack_bits = (s.recv_mask[x] >> np.uint64(1)) & np.uint64(0xFFFFFFFF)
    if s.recv_newest[x] > 0:
        delay_ms = (clock.now - s.recv_at[x]) * 1000
        header.ack_delay, header.flags = np.uint8(min(max(delay_ms, 0), ACK_DELAY_MAX_MS)), 0
    else:
        header.ack_delay, header.flags = 0, _NOTHING_RECEIVED
    header.tick = clock.tick
    header.message_ack = s.message_accepted[x] & 0xFFFF
    header.message_bits = s.message_bits[x]
    s.message_permitted[x] = max(s.message_permitted[x], creditable(s, x))
    header.message_credit = s.message_permitted[x] & 0xFFFF


@inlined
def _record(items: Any, at: int, stop: int, s: Any, x: int, size: int, clock: Any) -> None:
    """Remember what a datagram carried, until it is acknowledged or forgotten."""
    s.send_seq[x] += 1
    s.sent_bytes[x] += size
    slot = s.send_seq[x] % WINDOW
    s.history_tick[x, slot] = clock.tick
    s.history_at[x, slot] = clock.now
    s.history_bytes[x, slot] = s.sent_bytes[x]
    s.history_pages[x, slot] = 0
    for k in range(at, stop):
        if items.order[k] == _PAGE:
            s.history_page[x, slot] = items.last[k] // PAGE_BLOCK * PAGE_BLOCK
            s.history_pages[x, slot] |= shifted_up(np.uint64(1), items.last[k] % PAGE_BLOCK)
    s.flight_mask[x] = s.flight_mask[x] << np.uint64(1) | np.uint64(1)
    s.sent_at[x] = clock.now
    s.ack_owed[x] = 0
    s.ack_due_at[x] = np.inf
