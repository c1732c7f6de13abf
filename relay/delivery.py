"""The receivers' side of the log: which entries each session still lacks, and which of them to send now (SPEC 9).

Works on pairs (session, entry), for all sessions that are behind at once. A pair is *open* if the session may see the
entry and has not acknowledged it. Indexes that are not open are complete for that session, so a range header that
spans them costs nothing and moves the receiver's cursor over what it may not see.
"""

from dataclasses import dataclass

import numpy as np

from protocol.constants import LOG_WINDOW, MAX_BODY_BYTES
from relay.audience import includes
from relay.columns import Bools, Ints, before, behind, expand, places, rank_in_run, run_ends, run_starts
from relay.items import Items, Order
from relay.log import Log
from relay.rooms import Rooms
from relay.sessions import Sessions, SessionTable

REPEAT_BYTES = 512
"""While no more than this is open for a session, it is repeated every tick: a loss then costs no round trip."""
FRAGMENTS_PER_S = 120
"""Fragments of large messages sent to one session, in whole ones a tick: 123 kB/s (chosen)."""
REPEAT_S = 1 / 30
"""Time after which what is repeated "every tick" is, where ticks are shorter than this."""
RTT_UNKNOWN_S = 0.2
"""Round trip assumed before one was measured."""
RESEND_MARGIN_S = 0.05
"""Added to one and a half round trips before something is sent again: the receiver may owe an ack that long."""
NEVER = 0
"""Tick of what was not sent yet; ticks start at 1."""


@dataclass
class Open:
    """Open pairs, ordered by session and index. Axis: u pairs."""

    session: Ints
    index: Ints
    entry: Ints
    """Rows of EntryTable."""
    fragment: Bools
    """Not the last of its message: it holds nothing else up."""
    first: Ints
    """First index that a range beginning at this entry covers."""
    last: Ints
    """Last index that a range ending at this entry covers."""
    after: Ints
    """Last open index before `first` that is no fragment, or the cursor."""
    follows: Bools
    """The pair before it is of the same session."""


@dataclass
class Tails:
    """Per session that is behind: the complete indexes behind its last open entry. Axis: s sessions."""

    session: Ints
    first: Ints
    last: Ints
    """Below `first` where there are none."""
    after: Ints


def find_open(log: Log, sessions: Sessions, rooms: Rooms, max_marked: int, now: float) -> tuple[Open, Tails]:
    """Find all open pairs, and move every session's effective cursor up to the first of them.

    Args:
        max_marked: See `mark_entries`.
    """
    table = sessions.table
    rows = sessions.live
    head = rooms.table.log_head[table.room[rows]]
    lags = head > table.log_cursor[rows]
    if not lags.any():
        _move_marks(table, rooms, rows, max_marked, now)
        return nothing_open()
    rows, head = rows[lags], head[lags]
    effective = table.log_effective[rows]
    limit = np.minimum(head, effective + LOG_WINDOW)
    which, k = expand(limit - effective)
    index = effective[which] + 1 + k
    row = rows[which]
    entry = log.entry_rows(rooms, table.room[row], index)
    is_open = includes(log.table.audience, entry, table.player_id[row])
    is_open &= log.table.first[entry] > table.log_start[row]
    is_open &= ~_acknowledged(table, row, index)
    kept = places(is_open)
    which, index, entry = which[kept], index[kept], entry[kept]
    _move_effective(table, rows, limit, which, index)
    _move_marks(table, rooms, sessions.live, max_marked, now)
    return _build_open(log, table, rows, limit, which, index, entry)


def nothing_open() -> tuple[Open, Tails]:
    """Everybody has everything: most ticks of most servers."""
    nothing, never = np.zeros(0, np.int64), np.zeros(0, np.bool_)
    found = Open(nothing, nothing, nothing, never, nothing, nothing, nothing, never)
    return found, Tails(nothing, nothing, nothing, nothing)


def _acknowledged(table: SessionTable, row: Ints, index: Ints) -> Bools:
    """Tell which pairs the receiver has reported complete beyond its cursor."""
    beyond = index - table.log_cursor[row] - 1
    word = table.log_bits[row, np.minimum(beyond >> 6, LOG_WINDOW // 64 - 1)]
    return (beyond < LOG_WINDOW) & ((word >> (beyond & 63).astype(np.uint64) & np.uint64(1)) != 0)


def _move_effective(table: SessionTable, rows: Ints, limit: Ints, which: Ints, index: Ints) -> None:
    """Set the effective cursors: up to the first open index, or all that was looked at."""
    starts = run_starts(which)
    effective = limit.copy()
    effective[which[starts]] = index[starts] - 1
    table.log_effective[rows] = effective


def _move_marks(table: SessionTable, rooms: Rooms, rows: Ints, max_marked: int, now: float) -> None:
    """Note who has read all that was in the log when this was last noted. Who takes too long for that is too slow.

    Progress alone is not enough: a member that reads an entry now and then would hold up everybody's credit for ever.
    """
    reached = rows[table.log_effective[rows] >= table.log_mark[rows]]
    head = rooms.table.log_head[table.room[reached]]
    table.log_mark[reached] = np.minimum(head, table.log_effective[reached] + max_marked)
    table.log_marked_at[reached] = now


def mark_entries(client_bytes_per_s: int, patience_s: float) -> int:
    """Tell how far ahead of what it has read a session's mark may be: what it is sent in half of its time at least.

    Not more, or a room full of large messages would end members whom the relay itself makes wait.
    """
    entries_per_s = min(FRAGMENTS_PER_S, client_bytes_per_s / MAX_BODY_BYTES)
    return max(1, int(entries_per_s * patience_s / 2))


def _build_open(
    log: Log, table: SessionTable, rows: Ints, limit: Ints, which: Ints, index: Ints, entry: Ints
) -> tuple[Open, Tails]:
    """Find for every open entry what a range around it may cover."""
    cursor = table.log_cursor[rows]
    fragment = log.table.more[entry]
    starts, ends = run_starts(which), run_ends(which)
    first = np.where(starts, cursor[which], before(index)) + 1
    last = np.where(ends, limit[which], behind(index) - 1)
    position = np.arange(len(index))
    run_start = np.maximum.accumulate(np.where(starts, position, 0))
    blocking = np.maximum.accumulate(np.where(fragment, -1, position))
    held_up = before(blocking)
    after = np.where(~starts & (held_up >= run_start), index[held_up], cursor[which])
    found = Open(rows[which], index, entry, fragment, first, last, after, ~starts)
    tail_first, tail_after = cursor + 1, cursor.copy()
    tail_first[which[ends]] = index[ends] + 1
    tail_after[which[ends]] = np.where(blocking >= run_start, index[blocking], cursor[which])[ends]
    return found, Tails(rows, tail_first, limit, tail_after)


def due_entries(found: Open, log: Log, table: SessionTable, tick: int, period_s: float, resend: bool) -> Items:
    """Choose what to send now: what was never sent, and at a tick what has waited for its acknowledgement too long.

    Args:
        resend: False between ticks: only what is new, and no fragments.
    """
    session = found.session
    if not len(session):
        return Items.empty()
    slot = found.index % LOG_WINDOW
    unseen = found.index > table.log_seen[session]
    table.log_sent_tick[session[unseen], slot[unseen]] = NEVER
    np.maximum.at(table.log_seen, session, found.index)
    sent_tick = table.log_sent_tick[session, slot].astype(np.int64)
    due = sent_tick == NEVER
    if resend:
        due |= tick - sent_tick >= _resend_ticks(found, log, table, period_s)
        bulk = places(due & found.fragment)
        due[bulk[rank_in_run(session[bulk]) >= fragments_per_tick(period_s)]] = False
    else:
        due &= ~found.fragment
    linked = due & found.follows & before(due) & (found.fragment == before(found.fragment))
    items = Items.build(
        session,
        Order.ENTRY,
        np.uint64(log.arena.bytes.ctypes.data) + log.table.at[found.entry].astype(np.uint64),
        log.table.length[found.entry],
        linked=linked,
        first=found.first,
        last=found.last,
        after=found.after,
        index=found.index,
    )
    items.order = np.where(found.fragment, int(Order.FRAGMENT), int(Order.ENTRY))
    items = items.take(due)
    return items.sorted() if found.fragment.any() else items


def _resend_ticks(found: Open, log: Log, table: SessionTable, period_s: float) -> Ints:
    """Return after how many ticks each open entry is sent again."""
    length = np.where(found.fragment, 0, log.table.length[found.entry])
    open_bytes = np.bincount(found.session, weights=length, minlength=1)[found.session]
    rtt = table.rtt_s[found.session]
    wait_s = 1.5 * np.where(rtt > 0, rtt, RTT_UNKNOWN_S) + RESEND_MARGIN_S
    ticks = np.ceil(wait_s / period_s).astype(np.int64)
    return np.where(found.fragment | (open_bytes > REPEAT_BYTES), ticks, soon_ticks(period_s))


def soon_ticks(period_s: float) -> int:
    """Return after how many ticks the little that is open is sent again."""
    return max(1, round(REPEAT_S / period_s))


def fragments_per_tick(period_s: float) -> int:
    """Return how many fragments one session is sent in a tick."""
    return max(1, round(FRAGMENTS_PER_S * period_s))


def empty_ranges(tails: Tails, due: Items, wanted: Bools) -> Items:
    """Build ranges without entries, so that a signal's position is reached over indexes nobody there may see.

    Where the last open entry is sent now, its own range reaches over them.

    Args:
        wanted: By session row: it is sent such a signal now.
    """
    last_due = np.full(len(wanted), -1)
    np.maximum.at(last_due, due.session, due.index)
    kept = wanted[tails.session] & (tails.last >= tails.first) & (last_due[tails.session] + 1 != tails.first)
    rows = tails.session[kept]
    nothing = np.zeros(len(rows), np.int64)
    return Items.build(
        rows,
        Order.ENTRY,
        nothing.astype(np.uint64),
        nothing,
        first=tails.first[kept],
        last=tails.last[kept],
        after=tails.after[kept],
    )
