"""Snapshots as loops: due pages, who shares a body, and the bodies (SPEC 8), as `relay/snapshots.py`."""

from collections import namedtuple
from typing import Any

import numpy as np

from protocol import dtypes
from protocol.constants import AGE_MAX, AGE_STEP_MS, StateEncoding, UpdateSection
from relay.items import PAGE_BLOCK
from relay.loops.bits import copy_bytes
from relay.loops.jit import compiled, inlined
from relay.snapshots import RTT_UNKNOWN_S

Receivers = namedtuple("Receivers", "room tick_interval page_next pages_first rtt_s rtt_var_s")
"""Columns of SessionTable."""
Rooms = namedtuple(
    "Rooms", "num_pages pages_first page_ids num_entities entities_first states_first max_state_bytes log_head"
)
Entities = namedtuple("Entities", "length changed_tick removed_tick sample_ms")
Pages = namedtuple("Pages", "changed_tick newest_body")
Seats = namedtuple("Seats", "acked_tick sent_tick")
Tables = namedtuple("Tables", "s r e p seats state_byte")
"""`Receivers`, `Rooms`, `Entities`, `Pages`, `Seats`, and the column of StateBytes."""
Ticks = namedtuple("Ticks", "now before period_s")
"""The tick that begins, the one before it, and the time between two."""
Due = namedtuple("Due", "session page body at length apart")
"""Due pages, (n,): receiver, page, number of its body, first byte and length of that, and whether it must begin a
datagram."""
Target = namedtuple("Target", "due byte u16 section page group")
"""What is written: `Due`; the bodies' bytes, and the same as overlapping items that may begin at every byte."""

_SECTION_BYTES = dtypes.SECTION_HEADER.size
_HEAD_BYTES = _SECTION_BYTES + dtypes.PAGE_HEADER.size
_GROUP_BYTES = dtypes.GROUP_HEADER.size
_ID_BYTES, _AGE_BYTES = 2, 1
_PAGE = int(UpdateSection.PAGE)
_WHOLE = int(StateEncoding.WHOLE)
_MAX_STRIDE = 255


@compiled
def due_pages(live: Any, tables: Any, times: Any, target: Any) -> tuple[int, int, int]:
    """Find due pages and encode their bodies.

    Args:
        live: Rows of sessions, ascending.
        tables, target: Boxes of `Tables` and `Target`.
        times: `Ticks`, as a plain tuple.
    Returns: due pages, the most there can be, and the bytes that all bodies take. If `target` has room for fewer pages
        nothing was done, and if it has fewer bytes no body was written.
    """
    s, r, e, p, seats, state_byte = tables.value
    ticks = Ticks(*times)
    session, page, body, at, length, apart = target.value.due
    limit = 0
    for x in live:
        limit += r.num_pages[s.room[x]]
    if limit > len(session):
        return 0, limit, 0
    bodies = np.empty((limit, _BODY_FIELDS), np.int64)
    of_stride = np.zeros(_MAX_STRIDE + 1, np.int64)
    num_due = num_bodies = 0
    for x in live:
        if ticks.now // s.tick_interval[x] <= ticks.before // s.tick_interval[x]:
            continue
        room = s.room[x]
        patience = _patience(s, x, ticks.period_s)
        block = -1
        for k in range(r.num_pages[room]):
            number = (s.page_next[x] + k) % r.num_pages[room]
            seat = s.pages_first[x] + number
            if not _is_due(p.changed_tick[r.pages_first[room] + number], seats, seat, ticks.now, patience):
                continue
            since = seats.acked_tick[seat]
            found, num_bodies = _find_body(r, e, p, bodies, num_bodies, room, number, since)
            session[num_due], page[num_due], body[num_due] = x, number, found
            apart[num_due] = block >= 0 and number // PAGE_BLOCK != block
            block = number // PAGE_BLOCK
            num_due += 1
    total = _lay_out(r, e, p, bodies, num_bodies, of_stride)
    if total <= len(target.value.byte):
        for number in range(num_bodies):
            if bodies[number, _SHARED] == number:
                _encode(bodies[number], of_stride, r, e, state_byte, ticks, target.value)
    for k in range(num_due):
        at[k], length[k] = _where(bodies, body[k])
    return num_due, limit, total


@inlined
def _patience(s: Any, x: int, period_s: float) -> int:
    """Return for how many ticks a page that was sent is taken to be on its way."""
    rtt_s = s.rtt_s[x] + 2 * s.rtt_var_s[x] if s.rtt_s[x] > 0 else RTT_UNKNOWN_S
    return np.int64(np.ceil(rtt_s / period_s))


@inlined
def _is_due(changed: int, seats: Any, seat: int, tick: int, patience: int) -> bool:
    """Tell whether a page changed since its receiver acknowledged it, and is not on its way already."""
    sent = seats.sent_tick[seat]
    return changed > seats.acked_tick[seat] and (changed > sent or tick - sent > patience)


# --- bodies: one row each
_ROOM, _PAGE_NUMBER, _SINCE, _CHANGES, _BEFORE, _SHARED, _AT, _LENGTH, _GONE, _GROUPS = range(10)
_BODY_FIELDS = 10
"""Its room, page and since-tick; how much changed since; the body of the same page that was found before it, 1 + its
number; the body that stands for it: itself, or one that says the same; first byte, bytes, removals, groups."""


@inlined
def _find_body(
    r: Any, e: Any, p: Any, bodies: Any, num_bodies: int, room: int, page: int, since: int
) -> tuple[int, int]:
    """Find the body of a page and baseline, or begin one. Returns its number, and how many there are now."""
    page_row = r.pages_first[room] + page
    newest = p.newest_body[page_row]
    number = newest - 1
    while number >= 0:
        if bodies[number, _SINCE] == since:
            return number, num_bodies
        number = bodies[number, _BEFORE] - 1
    number = num_bodies
    b = bodies[number]
    b[_ROOM], b[_PAGE_NUMBER], b[_SINCE], b[_BEFORE], b[_SHARED] = room, page, since, newest, number
    p.newest_body[page_row] = number + 1
    return number, num_bodies + 1


@inlined
def _lay_out(r: Any, e: Any, p: Any, bodies: Any, num_bodies: int, of_stride: Any) -> int:
    """Let baselines with as many changes since share the body of the oldest, and place the bodies that are left.

    Returns: the bytes of all.
    """
    for number in range(num_bodies):
        b = bodies[number]
        p.newest_body[r.pages_first[b[_ROOM]] + b[_PAGE_NUMBER]] = 0
        _measure(r, e, b, of_stride)
        other = b[_BEFORE] - 1
        while other >= 0:
            o = bodies[other]
            if o[_SHARED] == other and o[_CHANGES] == b[_CHANGES] and (o[_SINCE] > 0) == (b[_SINCE] > 0):
                # what changed since one tick is part of what changed since an older one: as many are the same
                o[_SINCE] = min(o[_SINCE], b[_SINCE])
                b[_SHARED] = other
                break
            other = o[_BEFORE] - 1
    total = np.int64(0)
    for number in range(num_bodies):
        b = bodies[number]
        if b[_SHARED] == number:
            b[_AT] = total
            total += b[_LENGTH]
    return total


@inlined
def _where(bodies: Any, number: int) -> tuple[int, int]:
    """Return first byte and length of the body that stands for one."""
    shared = bodies[number, _SHARED]
    return bodies[shared, _AT], bodies[shared, _LENGTH]


@inlined
def _num_ids(r: Any, room: int, page: int) -> int:
    """Return how many ids a page has; the last may have fewer."""
    return min(r.page_ids[room], r.num_entities[room] - page * r.page_ids[room])


@inlined
def _measure(r: Any, e: Any, b: Any, of_stride: Any) -> None:
    """Count what changed since a body's baseline, and what the body takes. `of_stride` (256,) is zero, and left so."""
    room, page, since = b[_ROOM], b[_PAGE_NUMBER], b[_SINCE]
    first = r.entities_first[room] + page * r.page_ids[room]
    gone = changed = groups = 0
    length = np.int64(_HEAD_BYTES)
    low, high = _MAX_STRIDE, 0
    for entity in range(first, first + _num_ids(r, room, page)):
        gone += e.removed_tick[entity] > since
        stride = np.int64(e.length[entity])
        if stride > 0 and e.changed_tick[entity] > since:
            changed += 1
            if of_stride[stride] == 0:
                of_stride[stride] = 1
                groups += 1
                length += _GROUP_BYTES
                low, high = min(low, stride), max(high, stride)
            length += _ID_BYTES + _AGE_BYTES + stride
    for stride in range(low, high + 1):
        of_stride[stride] = 0
    b[_CHANGES] = changed + gone
    b[_GONE] = gone if since > 0 else 0
    b[_GROUPS] = groups
    b[_LENGTH] = length + _ID_BYTES * b[_GONE]


@inlined
def _encode(b: Any, of_stride: Any, r: Any, e: Any, state_byte: Any, ticks: Any, target: Any) -> None:
    """Write a body: head, removed ids, then for each stride a head, all ids, all ages, all states.

    `of_stride` (256,) is zero, and left so.
    """
    room, page, since = b[_ROOM], b[_PAGE_NUMBER], b[_SINCE]
    first = r.entities_first[room]
    begin = first + page * r.page_ids[room]
    end = begin + _num_ids(r, room, page)
    _write_head(b, r, target)
    at = b[_AT] + _HEAD_BYTES
    low, high = _MAX_STRIDE, 0
    for entity in range(begin, end):
        if since > 0 and e.removed_tick[entity] > since:
            target.u16[at] = entity - first
            at += _ID_BYTES
        stride = np.int64(e.length[entity])
        if stride > 0 and e.changed_tick[entity] > since:
            of_stride[stride] += 1
            low, high = min(low, stride), max(high, stride)
    for stride in range(low, high + 1):
        count = of_stride[stride]
        if count == 0:
            continue
        group = target.group[at]
        group.encoding, group.count, group.stride = _WHOLE, count, stride
        at += _GROUP_BYTES
        _write_group(at, stride, count, begin, end, since, room, r, e, state_byte, ticks, target)
        at += count * (_ID_BYTES + _AGE_BYTES + stride)
        of_stride[stride] = 0


@inlined
def _write_head(b: Any, r: Any, target: Any) -> None:
    section = target.section[b[_AT]]
    section.type, section.length = _PAGE, b[_LENGTH] - _SECTION_BYTES
    head = target.page[b[_AT] + _SECTION_BYTES]
    head.page, head.layer, head.since, head.log_index = b[_PAGE_NUMBER], 0, b[_SINCE], r.log_head[b[_ROOM]]
    head.removed_count, head.group_count = b[_GONE], b[_GROUPS]


@inlined
def _write_group(
    at: int,
    stride: int,
    count: int,
    begin: int,
    end: int,
    since: int,
    room: int,
    r: Any,
    e: Any,
    state_byte: Any,
    ticks: Any,
    target: Any,
) -> None:
    """Write ids, ages and states of all entities in begin ... end of one stride that changed."""
    first = r.entities_first[room]
    tick_ms = ticks.now * ticks.period_s * 1000
    k = 0
    for entity in range(begin, end):
        if e.length[entity] != stride or e.changed_tick[entity] <= since:
            continue
        target.u16[at + _ID_BYTES * k] = entity - first
        age = (tick_ms - e.sample_ms[entity]) // AGE_STEP_MS
        target.byte[at + _ID_BYTES * count + k] = np.uint8(min(max(age, 0), AGE_MAX))
        to = at + (_ID_BYTES + _AGE_BYTES) * count + k * stride
        state_at = r.states_first[room] + (entity - first) * r.max_state_bytes[room]
        copy_bytes(target.byte, to, state_byte, state_at, stride)
        k += 1
