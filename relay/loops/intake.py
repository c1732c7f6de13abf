"""A receive pass as loops: the steps of SPEC 11 datagram by datagram, then what an accepted one changes.

The datagrams of one session are handled together, in order of their sequence numbers, as `relay/ingress.py`,
`relay/acks.py` and `relay/entities.py` do for all sessions at once; those say what each step means.
"""

from collections import namedtuple
from typing import Any

import numpy as np

from protocol import dtypes
from protocol.constants import (
    ACK_BITS,
    ACK_DELAY_MAX_MS,
    ACK_WITHIN_S,
    LOG_WINDOW,
    MAX_DATAGRAM_BYTES,
    MAX_FRAGMENT_BYTES,
    MAX_PLAYER_KIND,
    MAX_SECTIONS,
    MAX_SIGNAL_FRAGMENTS,
    SAMPLE_CLAMP_MS,
    WINDOW,
    AckFlag,
    DataSection,
    Kind,
    Target,
)
from protocol.drops import DropReason
from relay.acks import LOSS_GAIN, RTT_GAIN, RTT_VAR_GAIN
from relay.batch import ROW_BYTES
from relay.budgets import Budget
from relay.ingress import COLD_KINDS
from relay.loops.bits import copy_bytes, count_bits, extend, has_bit, lowest_bit, shifted_up
from relay.loops.jit import compiled, inlined
from relay.loops.parts import count_parts
from relay.sessions import ROW_BITS

Received = namedtuple("Received", "source length address")
"""A batch: `Source`, (n,) int32, (n, 7) uint32."""
Source = namedtuple("Source", "byte u16 u32 data state message signal")
"""A batch's bytes, flat, and the same as overlapping items that may begin at every byte (`columns.windows`)."""
Tables = namedtuple("Tables", "s r e state_byte page_changed seat_acked")
"""`Sessions`, `Rooms`, `Entities`, and columns of StateBytes, PageTable and SessionPages."""
Sessions = namedtuple(
    "Sessions",
    "id room address recv_newest recv_mask recv_at heard_at ack_owed ack_due_at send_seq acked_seq flight_mask"
    " sent_bytes acked_bytes history_tick history_page history_pages history_at history_bytes rtt_s rtt_var_s rtt_min_s"
    " loss_down loss_up tokens tokens_at log_start log_cursor log_bits log_effective acked_at pages_first",
)
Rooms = namedtuple("Rooms", "max_state_bytes num_entities entities_first states_first page_ids pages_first log_head")
Entities = namedtuple("Entities", "length owner owned_from write_seq changed_tick removed_tick sample_ms pending")
Moment = namedtuple("Moment", "now clock_ms stamp")
"""Monotonic seconds, server time in ms, tick of the next snapshot."""
Found = namedtuple("Found", "row session seq cold unknown roamed_row roamed_session counts")
"""What `take_in` finds, int64 and as long as a batch, but for `counts`, (NUM_COUNTS,): batch rows and sessions of what
was accepted, side by side by session and in order; batch rows of cold kinds, and of unknown sessions; batch rows and
sessions of datagrams from another address. One for all batches: an array that a loop returns costs 1 us."""
COLD, UNKNOWN, ROAMED, ACCEPTED, NUM_BYTES, DROPPED = range(2, 8)
NUM_COUNTS = 8
"""Places in `counts`; before them those of `parts`: messages and signals."""

REASONS = tuple(DropReason)
"""The loops count drops by the place of the reason in this list."""
_TOO_SHORT = REASONS.index(DropReason.TOO_SHORT)
_TOO_LONG = REASONS.index(DropReason.TOO_LONG)
_UNKNOWN_KIND = REASONS.index(DropReason.UNKNOWN_KIND)
_UNKNOWN_SESSION = REASONS.index(DropReason.UNKNOWN_SESSION)
_OVER_RATE = REASONS.index(DropReason.OVER_RATE)
_OVER_BYTE_RATE = REASONS.index(DropReason.OVER_BYTE_RATE)
_DUPLICATE = REASONS.index(DropReason.DUPLICATE)
_TOO_OLD = REASONS.index(DropReason.TOO_OLD)
_BAD_ACK = REASONS.index(DropReason.BAD_ACK)
_BAD_SECTION = REASONS.index(DropReason.BAD_SECTION)
_BAD_ENTITY = REASONS.index(DropReason.BAD_ENTITY)
_NOT_OWNER = REASONS.index(DropReason.NOT_OWNER)

_DATA = int(Kind.DATA)
_COLD = tuple(int(kind) for kind in COLD_KINDS)
_NOTHING_RECEIVED = int(AckFlag.NOTHING_RECEIVED)
_STATE, _LOG_BITS = int(DataSection.STATE), int(DataSection.LOG_BITS)
_MESSAGE, _SIGNAL = int(DataSection.MESSAGE), int(DataSection.SIGNAL)
_ALL, _LIST = int(Target.ALL), int(Target.LIST)
_DATAGRAMS, _BYTES = int(Budget.DATAGRAMS), int(Budget.BYTES)
_ROW_MASK = (1 << ROW_BITS) - 1
_DATA_BYTES = dtypes.DATA_HEADER.size
_SECTION_BYTES = dtypes.SECTION_HEADER.size
_STATE_BYTES = dtypes.STATE_HEADER.size
_MESSAGE_BYTES = dtypes.MESSAGE_HEADER.size
_SIGNAL_BYTES = dtypes.SIGNAL_UP_HEADER.size
_ID_BYTES = 2


@compiled
def take_in(received: Any, count: int, tables: Any, tokens_per_s: Any, times: Any, dropped: Any, found: Any) -> None:
    """Take a batch in.

    Args:
        received, tables: Boxes of `Received` and `Tables`.
        count: Rows of the batch that are filled.
        tokens_per_s: Rates of the budgets, (4,).
        times: `Moment`, as a plain tuple: a named one costs 5 us more to hand over on cold caches.
        dropped: (number of REASONS,) int64, counted up.
        found: Box of `Found`, overwritten.
    """
    batch, t, f = received.value, tables.value, found.value
    moment = Moment(*times)
    f.counts[:] = 0
    known = _sort_out(batch, count, t.s, f, dropped)
    if not _is_ascending(f.session, known):
        order = np.argsort(f.session[:known], kind="mergesort")
        f.row[:known], f.session[:known] = f.row[:known][order], f.session[:known][order]
    _take_sessions(batch, t, f, known, tokens_per_s, moment, dropped)
    for k in range(count):
        f.counts[NUM_BYTES] += batch.length[k]
    f.counts[DROPPED] = dropped.sum()


@inlined
def _take_sessions(
    batch: Any, tables: Any, found: Any, known: int, tokens_per_s: Any, moment: Any, dropped: Any
) -> None:
    """Take the datagrams of one session after the other."""
    row, seq, s = found.row, found.seq, tables.s
    start = 0
    while start < known:
        x = found.session[start]
        stop = start + 1
        while stop < known and found.session[stop] == x:
            stop += 1
        _refill(s, x, tokens_per_s, moment.now)
        end = _within_budgets(s, x, row, start, stop, batch.length, dropped)
        end = _checked(batch, tables, x, row, seq, start, end, dropped)
        end = _in_order(row, seq, start, end, dropped)
        if end > start:
            _accept(batch, tables, x, found, start, end, moment, dropped)
        start = stop


@inlined
def _accept(batch: Any, tables: Any, x: int, found: Any, start: int, end: int, moment: Any, dropped: Any) -> None:
    """Take what passed all checks: the datagrams start ... end of one session, in order."""
    row, s = found.row, tables.s
    if _move_window(batch.length, s, x, row, found.seq, start, end, moment.now):
        newest = row[end - 1]
        _settle_acks(batch.source, newest * ROW_BYTES, s, x, tables.seat_acked, moment.now)
        _settle_log(batch.source, newest * ROW_BYTES, batch.length[newest], s, x)
    _write_states(batch, tables, x, row, found.seq, start, end, moment, dropped)
    for k in range(start, end):
        this = row[k]
        if not _is_same_address(batch.address, this, s.address, x):
            found.roamed_row[found.counts[ROAMED]], found.roamed_session[found.counts[ROAMED]] = this, x
            found.counts[ROAMED] += 1
        count_parts(batch.source, this, batch.length[this], found.counts)
        row[found.counts[ACCEPTED]], found.session[found.counts[ACCEPTED]] = this, x
        found.counts[ACCEPTED] += 1


# --- steps 1 to 9: nothing changes but budgets


@inlined
def _sort_out(batch: Any, count: int, s: Any, found: Any, dropped: Any) -> int:
    """Sort rows by kind and by whether their session is known (steps 1 to 5). Returns how many are known."""
    source, length, counts = batch.source, batch.length, found.counts
    known = 0
    for k in range(count):
        at = k * ROW_BYTES
        kind = source.byte[at]
        if length[k] < 2:
            dropped[_TOO_SHORT] += 1
        elif length[k] > MAX_DATAGRAM_BYTES:
            dropped[_TOO_LONG] += 1
        elif kind == _DATA:
            if length[k] < _DATA_BYTES:
                dropped[_TOO_SHORT] += 1
                continue
            session_id = source.data[at].session
            x = np.int64(session_id & np.uint64(_ROW_MASK))
            if session_id != 0 and x < len(s.id) and s.id[x] == session_id:
                found.row[known], found.session[known] = k, x
                known += 1
            else:
                dropped[_UNKNOWN_SESSION] += 1
                found.unknown[counts[UNKNOWN]] = k
                counts[UNKNOWN] += 1
        elif kind in _COLD:
            found.cold[counts[COLD]] = k
            counts[COLD] += 1
        else:
            dropped[_UNKNOWN_KIND] += 1
    return known


@inlined
def _is_ascending(values: Any, count: int) -> bool:
    for k in range(1, count):  # noqa: SIM110 - numba compiles no generator expressions
        if values[k] < values[k - 1]:
            return False
    return True


@inlined
def _refill(s: Any, x: int, per_s: Any, now: float) -> None:
    """Add to all budgets of a session what has accrued."""
    elapsed = max(now - s.tokens_at[x], 0.0)
    for k in range(len(per_s)):
        s.tokens[x, k] = min(s.tokens[x, k] + elapsed * per_s[k], per_s[k])
    s.tokens_at[x] = now


@inlined
def _within_budgets(s: Any, x: int, row: Any, start: int, stop: int, length: Any, dropped: Any) -> int:
    """Spend datagrams and bytes (step 6). Rows that are covered move to the front. Returns where they end."""
    total = 0
    for k in range(start, stop):
        total += length[row[k]]
    count = stop - start
    if count <= s.tokens[x, _DATAGRAMS] and total <= s.tokens[x, _BYTES]:
        s.tokens[x, _DATAGRAMS] -= count
        s.tokens[x, _BYTES] -= total
        return stop
    covered = min(count, int(s.tokens[x, _DATAGRAMS]))
    dropped[_OVER_RATE] += count - covered
    s.tokens[x, _DATAGRAMS] -= covered
    end = start
    total = spent = 0
    for k in range(start, start + covered):
        total += length[row[k]]
        if total <= s.tokens[x, _BYTES]:
            spent = total
            row[end] = row[k]
            end += 1
    s.tokens[x, _BYTES] -= spent
    dropped[_OVER_BYTE_RATE] += start + covered - end
    return end


@inlined
def _checked(batch: Any, tables: Any, x: int, row: Any, seq: Any, start: int, stop: int, dropped: Any) -> int:
    """Check window, acks and sections of one session's datagrams (steps 7 to 9).

    Rows that pass move to the front, their extended numbers into `seq`. Returns where they end.
    """
    s, r = tables.s, tables.r
    max_state_bytes = r.max_state_bytes[s.room[x]]
    newest = s.recv_newest[x]
    end = start
    for k in range(start, stop):
        at = row[k] * ROW_BYTES
        header = batch.source.data[at]
        number = extend(header.seq, newest)
        behind = newest - number
        if behind >= WINDOW or number < 1:
            dropped[_TOO_OLD] += 1
        elif behind >= 0 and has_bit(s.recv_mask[x], behind):
            dropped[_DUPLICATE] += 1
        elif not _is_ack_possible(header, s, r, x):
            dropped[_BAD_ACK] += 1
        elif not _are_sections_good(batch.source, at, batch.length[row[k]], max_state_bytes):
            dropped[_BAD_SECTION] += 1
        else:
            row[end], seq[end] = row[k], number
            end += 1
    return end


@inlined
def _is_ack_possible(header: Any, s: Any, r: Any, x: int) -> bool:
    """Tell whether all that a datagram acknowledges was sent (step 8)."""
    if not header.flags & _NOTHING_RECEIVED:
        ack = extend(header.ack, s.acked_seq[x])
        if ack < 1 or ack > s.send_seq[x]:
            return False
    return s.log_start[x] <= header.log_cursor <= r.log_head[s.room[x]]


@inlined
def _are_sections_good(source: Any, at: int, length: int, max_state_bytes: int) -> bool:
    """Walk the sections of a datagram (step 9)."""
    end = at + length
    at += _DATA_BYTES
    num_sections = num_log_bits = 0
    while at < end:
        body = at + _SECTION_BYTES
        if num_sections == MAX_SECTIONS or body > end:
            return False
        num_sections += 1
        size = np.int64(source.u16[at + 1])
        if body + size > end:
            return False
        kind = source.byte[at]
        good = True
        if kind == _STATE:
            good = _is_state_good(source.state[body], size, max_state_bytes)
        elif kind == _LOG_BITS:
            num_log_bits += 1
            good = num_log_bits == 1 and 4 <= size <= LOG_WINDOW // 8 and size % 4 == 0
        elif kind == _MESSAGE:
            good = _is_message_good(source.message[body], size)
        elif kind == _SIGNAL:
            good = _is_signal_good(source.signal[body], size)
        if not good:
            return False
        at = body + size
    return True


@inlined
def _is_state_good(header: Any, size: int, max_state_bytes: int) -> bool:
    count, stride = np.int64(header.count), np.int64(header.stride)
    exact = _STATE_BYTES + count * (_ID_BYTES + stride)
    return size >= _STATE_BYTES and count >= 1 and stride <= max_state_bytes and size == exact


@inlined
def _is_message_good(header: Any, size: int) -> bool:
    payload = size - _MESSAGE_BYTES - _ID_BYTES * np.int64(header.target_count)
    if size < _MESSAGE_BYTES or not _is_part_good(header, payload):
        return False
    return header.more == 0 or (header.more == 1 and payload >= 1)


@inlined
def _is_signal_good(header: Any, size: int) -> bool:
    payload = size - _SIGNAL_BYTES - _ID_BYTES * np.int64(header.target_count)
    part, last = header.fragment & 15, header.fragment >> 4
    if size < _SIGNAL_BYTES or not _is_part_good(header, payload):
        return False
    return part <= last < MAX_SIGNAL_FRAGMENTS


@inlined
def _is_part_good(header: Any, payload: int) -> bool:
    """Check what messages and signals have in common: kind, payload length, and that target and ids agree."""
    if not 1 <= header.kind <= MAX_PLAYER_KIND or not 0 <= payload <= MAX_FRAGMENT_BYTES:
        return False
    if header.target == _LIST:
        return header.target_count >= 1
    return header.target < _LIST and header.target_count == (0 if header.target == _ALL else 1)


# --- step 10: accepting


@inlined
def _in_order(row: Any, seq: Any, start: int, stop: int, dropped: Any) -> int:
    """Sort by sequence number, drop twins and what is too old beside the newest. Returns where they end."""
    for k in range(start + 1, stop):
        this, number, at = row[k], seq[k], k
        while at > start and seq[at - 1] > number:
            row[at], seq[at] = row[at - 1], seq[at - 1]
            at -= 1
        row[at], seq[at] = this, number
    end = start
    before = np.int64(0)
    for k in range(start, stop):
        number = seq[k]
        if k > start and number == before:
            dropped[_DUPLICATE] += 1
        elif seq[stop - 1] - number >= WINDOW:
            dropped[_TOO_OLD] += 1
        else:
            row[end], seq[end] = row[k], number
            end += 1
        before = number
    return end


@inlined
def _move_window(length: Any, s: Any, x: int, row: Any, seq: Any, start: int, end: int, now: float) -> bool:
    """Record arrivals. Returns whether the last of them is newer than all that came before."""
    before = s.recv_newest[x]
    newest = max(before, seq[end - 1])
    advance = newest - before
    mask = shifted_up(s.recv_mask[x], advance)
    owed = 0
    for k in range(start, end):
        mask |= shifted_up(np.uint64(1), newest - seq[k])
        owed += length[row[k]] > _DATA_BYTES  # any section asks for an acknowledgement
    s.recv_mask[x], s.recv_newest[x] = mask, newest
    s.heard_at[x] = now
    if advance > 0:
        s.recv_at[x] = now
        missing = 1.0 - min((end - start) / advance, 1.0)
        s.loss_up[x] += (missing - s.loss_up[x]) * min(1.0, advance * LOSS_GAIN / 2)
    s.ack_owed[x] += owed
    if owed:
        s.ack_due_at[x] = min(s.ack_due_at[x], now + ACK_WITHIN_S)
    return advance > 0


@inlined
def _is_same_address(address: Any, k: int, known: Any, x: int) -> bool:
    for word in range(known.shape[1]):  # noqa: SIM110
        if address[k, word] != known[x, word]:
            return False
    return True


# --- what the newest datagram of a session reports


@inlined
def _settle_acks(source: Any, at: int, s: Any, x: int, seat_acked: Any, now: float) -> None:
    """Settle what a datagram says of those sent to it: round trip, loss, and the ticks of pages."""
    header = source.data[at]
    if header.flags & _NOTHING_RECEIVED:
        return
    ack = extend(header.ack, s.acked_seq[x])
    behind = min(s.send_seq[x] - ack, WINDOW)
    reported = shifted_up(np.uint64(1) | np.uint64(header.ack_bits) << np.uint64(1), behind)
    settled = s.flight_mask[x] & reported
    s.flight_mask[x] &= ~reported
    if has_bit(settled, behind) and ack > s.acked_seq[x]:
        _measure(header, s, x, ack, now)
    while settled:
        age = lowest_bit(settled)
        settled &= settled - np.uint64(1)
        slot = (s.send_seq[x] - age) % WINDOW
        pages = s.history_pages[x, slot]
        while pages:
            seat = s.pages_first[x] + s.history_page[x, slot] + lowest_bit(pages)
            pages &= pages - np.uint64(1)
            seat_acked[seat] = max(seat_acked[seat], s.history_tick[x, slot])


@inlined
def _measure(header: Any, s: Any, x: int, ack: int, now: float) -> None:
    """Update progress, round trip and loss from an `ack` that is new and the newest."""
    slot = ack % WINDOW
    s.acked_bytes[x] = s.history_bytes[x, slot]
    s.acked_seq[x] = ack
    s.acked_at[x] = now
    delay = np.int64(header.ack_delay)
    if delay < ACK_DELAY_MAX_MS:
        sample = max(now - s.history_at[x, slot] - delay / 1000, 1e-6)
        rtt, var = s.rtt_s[x], s.rtt_var_s[x]
        if rtt == 0:
            s.rtt_s[x] = s.rtt_min_s[x] = sample
            s.rtt_var_s[x] = sample / 2
        else:
            s.rtt_var_s[x] = var + (abs(rtt - sample) - var) * RTT_VAR_GAIN
            s.rtt_s[x] = rtt + (sample - rtt) * RTT_GAIN
            s.rtt_min_s[x] = min(s.rtt_min_s[x], sample)
    if ack > ACK_BITS:
        missing = 1.0 - count_bits(header.ack_bits) / ACK_BITS
        s.loss_down[x] += (missing - s.loss_down[x]) * LOSS_GAIN


@inlined
def _settle_log(source: Any, at: int, length: int, s: Any, x: int) -> None:
    """Take cursor and LOG_BITS (SPEC 9)."""
    end = at + length
    cursor = np.int64(source.data[at].log_cursor)
    if cursor >= s.log_cursor[x]:
        s.log_cursor[x] = cursor
        for word in range(s.log_bits.shape[1]):
            s.log_bits[x, word] = 0
    s.log_effective[x] = max(s.log_effective[x], s.log_cursor[x])
    if cursor != s.log_cursor[x]:
        return
    at += _DATA_BYTES
    while at < end:
        size = np.int64(source.u16[at + 1])
        if source.byte[at] == _LOG_BITS:
            for word in range(size // 4):
                value = np.uint64(source.u32[at + _SECTION_BYTES + 4 * word])
                s.log_bits[x, word // 2] |= value << np.uint64(32 * (word % 2))
        at += _SECTION_BYTES + size


# --- states


@inlined
def _write_states(
    batch: Any, tables: Any, x: int, row: Any, seq: Any, start: int, end: int, moment: Any, dropped: Any
) -> None:
    """Write the states of one session's datagrams, in order: of several for one entity only the last counts.

    The first walk finds the last of each entity, in `pending`, the second writes it.
    """
    for is_writing in (False, True):
        number = 0
        for k in range(start, end):
            at = row[k] * ROW_BYTES
            stop = at + batch.length[row[k]]
            sent = (seq[k], np.int64(batch.source.data[at].log_cursor))
            at += _DATA_BYTES
            while at < stop:
                size = np.int64(batch.source.u16[at + 1])
                if batch.source.byte[at] == _STATE:
                    number = _walk_states(
                        batch.source, tables, x, at + _SECTION_BYTES, sent, number, is_writing, moment, dropped
                    )
                at += _SECTION_BYTES + size


@inlined
def _walk_states(
    source: Any, tables: Any, x: int, at: int, sent: Any, number: int, is_writing: bool, moment: Any, dropped: Any
) -> int:
    """Walk one STATE section of the datagram with (seq, log_cursor) `sent`.

    `number` counts the writes of this session in this pass. Returns the newest.
    """
    r, e = tables.r, tables.e
    room = tables.s.room[x]
    header = source.state[at]
    stride = np.int64(header.stride)
    at += _STATE_BYTES
    for _ in range(header.count):
        entity_id = np.int64(source.u16[at])
        entity = r.entities_first[room] + entity_id
        number += 1
        if not is_writing:
            _note_write(r, e, room, entity_id, x, sent, number, dropped)
        elif entity_id < r.num_entities[room] and e.pending[entity] == number:
            e.pending[entity] = 0
            e.write_seq[entity] = sent[0]
            first = r.states_first[room] + entity_id * r.max_state_bytes[room]
            copy_bytes(tables.state_byte, first, source.byte, at + _ID_BYTES, stride)
            if _note_state(e, entity, stride, header.sample_ms, moment):
                tables.page_changed[r.pages_first[room] + entity_id // r.page_ids[room]] = moment.stamp
        at += _ID_BYTES + stride
    return number


@inlined
def _note_write(r: Any, e: Any, room: int, entity_id: int, x: int, sent: Any, number: int, dropped: Any) -> None:
    """Let a write be the one that counts, if it may be made at all."""
    if entity_id >= r.num_entities[room]:
        dropped[_BAD_ENTITY] += 1
        return
    entity = r.entities_first[room] + entity_id
    seq, log_cursor = sent
    if e.owner[entity] != x or log_cursor < e.owned_from[entity]:
        dropped[_NOT_OWNER] += 1
    elif seq > e.write_seq[entity]:
        e.pending[entity] = number


@inlined
def _note_state(e: Any, entity: int, stride: int, sample: int, moment: Any) -> bool:
    """Note that a state was written; an empty one removes the entity, if it lives. Returns whether anything changed."""
    if stride == 0:
        if e.length[entity] == 0:
            return False
        e.length[entity] = 0
        e.removed_tick[entity] = moment.stamp
        return True
    sample_ms = extend(sample, moment.clock_ms)
    e.sample_ms[entity] = min(max(sample_ms, moment.clock_ms - SAMPLE_CLAMP_MS), moment.clock_ms)
    e.length[entity] = stride
    e.changed_tick[entity] = moment.stamp
    return True
