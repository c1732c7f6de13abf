"""What is due to be sent as one loop over the sessions: log entries, signals and pages, in the order of `items.Order`.

What each session lacks of the log, and what of it is sent now, is as in `relay/delivery.py`; the share of signals as in
`pacing.without_flood`.
"""

from collections import namedtuple
from typing import Any

import numpy as np

from protocol.constants import LOG_WINDOW, MAX_BODY_BYTES
from relay.delivery import NEVER, REPEAT_BYTES, RESEND_MARGIN_S, RTT_UNKNOWN_S
from relay.items import Order
from relay.loops.jit import compiled, inlined

Receivers = namedtuple(
    "Receivers",
    "id room player_id rtt_s log_start log_cursor log_bits log_effective log_seen log_sent_tick log_mark log_marked_at",
)
"""Columns of SessionTable."""
Rooms = namedtuple("Rooms", "log_first log_capacity log_head")
Entries = namedtuple("Entries", "at length first more audience")
Tables = namedtuple("Tables", "s r e")
"""`Receivers`, `Rooms`, `Entries`."""
Moment = namedtuple("Moment", "now tick at_tick lags log_base body_base")
"""Monotonic seconds, newest tick, whether that is sent now, whether anybody may lack entries; memory addresses of the
log's bytes and of the pages' bodies, uint64."""
Pace = namedtuple("Pace", "period_s soon_ticks max_fragments mark_entries")
"""Seconds between ticks; ticks after which the little that is open is sent again; fragments to a session in a tick; see
`delivery.mark_entries`."""
Target = namedtuple("Target", "items open_index open_entry open_due")
"""What is written: `packing.Items`, large enough; and room for what one session lacks, (LOG_WINDOW,) each."""

_ENTRY, _SIGNAL, _FRAGMENT, _PAGE = int(Order.ENTRY), int(Order.SIGNAL), int(Order.FRAGMENT), int(Order.PAGE)
_NOWHERE = np.uint64(0)
_NO_RANGE = (0, 0, 0)


@compiled
def gather(
    live: Any, tables: Any, queue: Any, pages: Any, num_pages: int, allowed: Any, times: Any, rates: Any, target: Any
) -> tuple[int, int, int]:
    """Write all that is due, move the effective cursors and marks, and take signals out of the queue.

    Args:
        live: Rows of sessions, ascending.
        tables, queue, target: Boxes of `Tables`, `signals.Queue` and `Target`.
        pages: Box of `pages.Target`, of whose due pages the first `num_pages` stand.
        allowed: Datagrams permitted, by session row. Between ticks signals stay for those to whom it is 0.
        times, rates: `Moment` and `Pace`, as plain tuples.
    Returns: items, signals that were due, and the items there must be room for: if `target` has less, nothing was done.
    """
    t, q, out, due = tables.value, queue.value, target.value, pages.value.due
    moment, pace = Moment(*times), Pace(*rates)
    most = _most_items(live, t, q.counts[0], num_pages, moment.lags)
    if most > len(out.items.session):
        return 0, 0, most
    next_pair = np.empty(q.counts[0], np.int64)
    first_pair = np.zeros(len(t.s.room), np.int64)
    num_signals = _link_pairs(q, t.s, allowed, moment.at_tick, first_pair, next_pair)
    n = page = 0
    for x in live:
        if moment.lags:
            n = _put_log_and_signals(
                out, n, t, x, q, first_pair[x], next_pair, allowed[x], moment.log_base, moment, pace
            )
        else:
            _move_mark(t.s, x, t.r.log_head[t.s.room[x]], pace.mark_entries, moment.now)
            n = _put_signals(out.items, n, x, q, first_pair[x], next_pair, allowed[x])
        while page < num_pages and due.session[page] == x:
            pointer = moment.body_base + np.uint64(due.at[page])
            n = _put(out.items, n, x, _PAGE, pointer, due.length[page], (0, due.page[page], 0))
            out.items.apart[n - 1] = due.apart[page]
            page += 1
    _keep_back(q, allowed, moment.at_tick)
    return n, num_signals, most


@inlined
def _most_items(live: Any, t: Any, num_pairs: int, num_pages: int, lags: bool) -> int:
    """Return how many items there are at most."""
    most = num_pairs + num_pages
    if lags:
        for x in live:
            most += max(_limit(t, x) - t.s.log_effective[x], 0) + 1  # an empty range
    return most


@inlined
def _limit(t: Any, x: int) -> int:
    """Return the last index that a session may be sent now."""
    return min(t.r.log_head[t.s.room[x]], t.s.log_effective[x] + LOG_WINDOW)


# --- signals


@inlined
def _link_pairs(q: Any, s: Any, allowed: Any, at_tick: bool, first_pair: Any, next_pair: Any) -> int:
    """Link the pairs of each receiver that are due, in their order. Returns how many are.

    Args:
        first_pair: By session row: 1 + its first pair, or 0. All are 0 before.
        next_pair: By pair: 1 + the next of the same receiver, or 0.
    """
    num_due = 0
    for p in range(q.counts[0] - 1, -1, -1):
        x = q.receiver[p]
        if (at_tick or allowed[x] > 0) and s.id[x] == q.receiver_id[p]:
            next_pair[p] = first_pair[x]
            first_pair[x] = p + 1
            num_due += 1
    return num_due


@inlined
def _put_signals(items: Any, n: int, x: int, q: Any, pair: int, next_pair: Any, allowed: int) -> int:
    """Put a session's signals, up to half of what it may be sent: the other half is for its snapshot."""
    left = max(allowed // 2, 1) * MAX_BODY_BYTES
    while pair > 0:
        p = pair - 1
        left -= q.length[p]
        if left < 0:
            break
        n = _put(items, n, x, _SIGNAL, q.pointer[p], q.length[p], _NO_RANGE)
        pair = next_pair[p]
    return n


@inlined
def _waits_for_log(q: Any, pair: int, next_pair: Any, cursor: int) -> bool:
    """Tell whether any of a session's signals waits for a log position beyond its cursor."""
    while pair > 0:
        if q.position[pair - 1] > cursor:
            return True
        pair = next_pair[pair - 1]
    return False


@inlined
def _keep_back(q: Any, allowed: Any, at_tick: bool) -> None:
    """Leave in the queue what is for sessions that may be sent nothing now, and all of a batch counts as queued."""
    num_pairs = num_batches = num_signals = 0
    batch = -1
    if not at_tick:
        for p in range(q.counts[0]):
            if allowed[q.receiver[p]] > 0:
                continue
            if q.batch[p] != batch:
                batch = q.batch[p]
                q.batch_signals[num_batches] = q.batch_signals[batch]
                num_signals += q.batch_signals[batch]
                num_batches += 1
            q.receiver[num_pairs], q.receiver_id[num_pairs] = q.receiver[p], q.receiver_id[p]
            q.position[num_pairs], q.length[num_pairs] = q.position[p], q.length[p]
            q.pointer[num_pairs], q.batch[num_pairs] = q.pointer[p], num_batches - 1
            num_pairs += 1
    q.counts[0], q.counts[1], q.counts[2] = num_pairs, num_batches, num_signals


# --- log


@inlined
def _put_log_and_signals(
    out: Any,
    n: int,
    t: Any,
    x: int,
    q: Any,
    pair: int,
    next_pair: Any,
    allowed: int,
    base: np.uint64,
    moment: Any,
    pace: Any,
) -> int:
    """Put a session's log entries, an empty range if a signal needs it, signals, and fragments."""
    s, items = t.s, out.items
    head, limit = t.r.log_head[s.room[x]], _limit(t, x)
    num_open = 0
    if head > s.log_cursor[x]:
        num_open = _find_open(out, t, x, limit)
        s.log_effective[x] = out.open_index[0] - 1 if num_open > 0 else limit
        _choose_due(out, t, x, num_open, moment, pace)
        n = _put_entries(out, n, t, x, num_open, limit, _ENTRY, base)
        if _waits_for_log(q, pair, next_pair, s.log_cursor[x]):
            n = _put_empty_range(out, n, t, x, num_open, limit)
    _move_mark(s, x, head, pace.mark_entries, moment.now)
    n = _put_signals(items, n, x, q, pair, next_pair, allowed)
    return _put_entries(out, n, t, x, num_open, limit, _FRAGMENT, base)


@inlined
def _move_mark(s: Any, x: int, head: int, mark_entries: int, now: float) -> None:
    """Note it if a session has read all that was in the log when this was last noted."""
    if s.log_effective[x] >= s.log_mark[x]:
        s.log_mark[x] = min(head, s.log_effective[x] + mark_entries)
        s.log_marked_at[x] = now


@inlined
def _find_open(out: Any, t: Any, x: int, limit: int) -> int:
    """List indexes and entry rows that a session may see and has not acknowledged. Returns how many there are."""
    s, r = t.s, t.r
    room = s.room[x]
    num_open = 0
    for index in range(s.log_effective[x] + 1, limit + 1):  # at most LOG_WINDOW, see `_limit`
        entry = r.log_first[room] + (index & (r.log_capacity[room] - 1))
        if _is_open(s, x, t.e, index, entry):
            out.open_index[num_open], out.open_entry[num_open] = index, entry
            num_open += 1
    return num_open


@inlined
def _is_open(s: Any, x: int, e: Any, index: int, entry: int) -> bool:
    """Tell whether a session may see an entry and has not acknowledged it."""
    player_id = s.player_id[x]
    if not (e.audience[entry, player_id >> 6] >> np.uint64(player_id & 63)) & np.uint64(1):
        return False
    if e.first[entry] <= s.log_start[x]:
        return False
    beyond = index - s.log_cursor[x] - 1
    if beyond < 0 or beyond >= LOG_WINDOW:
        return True
    return not (s.log_bits[x, beyond >> 6] >> np.uint64(beyond & 63)) & np.uint64(1)


@inlined
def _choose_due(out: Any, t: Any, x: int, num_open: int, moment: Any, pace: Any) -> None:
    """Choose what to send: what was never sent, and at a tick what has waited for its acknowledgement too long."""
    s, e = t.s, t.e
    patience, patience_for_fragments = _resend_ticks(out, t, x, num_open, pace)
    fragments_left = pace.max_fragments
    for k in range(num_open):
        index, is_fragment = out.open_index[k], e.more[out.open_entry[k]]
        slot = index % LOG_WINDOW
        if index > s.log_seen[x]:
            s.log_sent_tick[x, slot] = NEVER
            s.log_seen[x] = index
        sent_tick = np.int64(s.log_sent_tick[x, slot])
        due = sent_tick == NEVER
        if not moment.at_tick:
            due = due and not is_fragment
        elif is_fragment:
            due = due or moment.tick - sent_tick >= patience_for_fragments
            if due:
                due = fragments_left > 0
                fragments_left -= 1
        else:
            due = due or moment.tick - sent_tick >= patience
        out.open_due[k] = due


@inlined
def _resend_ticks(out: Any, t: Any, x: int, num_open: int, pace: Any) -> tuple[int, int]:
    """Return after how many ticks open entries of a session are sent again, and after how many fragments are."""
    open_bytes = 0
    for k in range(num_open):
        if not t.e.more[out.open_entry[k]]:
            open_bytes += t.e.length[out.open_entry[k]]
    rtt_s = t.s.rtt_s[x] if t.s.rtt_s[x] > 0 else RTT_UNKNOWN_S
    ticks = np.int64(np.ceil((1.5 * rtt_s + RESEND_MARGIN_S) / pace.period_s))
    return ticks if open_bytes > REPEAT_BYTES else pace.soon_ticks, ticks


@inlined
def _put_entries(out: Any, n: int, t: Any, x: int, num_open: int, limit: int, order: int, base: np.uint64) -> int:
    """Put the due entries of one order: fragments, or all others."""
    e, items = t.e, out.items
    before = after = t.s.log_cursor[x]
    for k in range(num_open):
        index, entry = out.open_index[k], out.open_entry[k]
        if out.open_due[k] and e.more[entry] == (order == _FRAGMENT):
            last = out.open_index[k + 1] - 1 if k + 1 < num_open else limit
            pointer = base + np.uint64(e.at[entry])
            n = _put(items, n, x, order, pointer, e.length[entry], (before + 1, last, after))
            items.index[n - 1] = index
            items.linked[n - 1] = k > 0 and out.open_due[k - 1] and e.more[out.open_entry[k - 1]] == e.more[entry]
        before = index
        if not e.more[entry]:
            after = index
    return n


@inlined
def _put_empty_range(out: Any, n: int, t: Any, x: int, num_open: int, limit: int) -> int:
    """Put a range over the indexes behind the last open entry, if there are any and that entry is not sent now."""
    first = after = t.s.log_cursor[x]
    if num_open > 0:
        if out.open_due[num_open - 1]:
            return n
        first = out.open_index[num_open - 1]
        for k in range(num_open):
            if not t.e.more[out.open_entry[k]]:
                after = out.open_index[k]
    if first == limit:
        return n
    return _put(out.items, n, x, _ENTRY, _NOWHERE, 0, (first + 1, limit, after))


@inlined
def _put(items: Any, n: int, x: int, order: int, pointer: np.uint64, length: int, covered: tuple[int, int, int]) -> int:
    """Put one item; `covered` is first, last and after. Returns how many items there are now."""
    items.session[n], items.order[n] = x, order
    items.pointer[n], items.length[n] = pointer, length
    items.linked[n] = items.apart[n] = False
    items.first[n], items.last[n], items.after[n] = covered
    items.index[n] = 0
    return n + 1
