"""What a send begins with, as loops: who must end, what may go to each session, and who must be sent something.

The meaning of each stands in `relay/stages.py`, `relay/pacing.py` and `relay/delivery.py`.
"""

from collections import namedtuple
from typing import Any

import numpy as np

from protocol.constants import ACK_WITHIN_DATAGRAMS, MAX_BODY_BYTES, MAX_FRAGMENT_BYTES, MESSAGE_WINDOW
from relay.log import CREDIT_BYTES, LOG_CAP_ENTRIES
from relay.loops.jit import compiled, inlined
from relay.pacing import MAX_FLIGHT_BYTES, MAX_FLIGHT_DATAGRAMS, PROBE_S, RESERVED_DATAGRAMS
from relay.stages import CREDIT_LOW, TOO_SLOW_S

Watched = namedtuple("Watched", "room heard_at log_marked_at send_seq acked_seq acked_at log_effective")
"""Columns of SessionTable that tell who must end."""
Served = namedtuple(
    "Served",
    "room send_tokens send_tokens_at send_seq acked_seq sent_bytes acked_bytes sent_at ack_due_at ack_owed"
    " message_accepted message_permitted unread_bytes entry_charge log_cursor",
)
"""Columns of SessionTable that tell what each may be sent."""
WatchedTables = namedtuple("WatchedTables", "s log_head")
ServedTables = namedtuple("ServedTables", "s log_head")
"""... and the rooms' `log_head`."""
Found = namedtuple("Found", "silent slow allowed bare")
"""What is found, int64, as long as SessionTable."""
Pace = namedtuple("Pace", "bytes_per_s burst keepalive_s period_s")
"""Rates of the relay: bytes per second and at once to one client; seconds."""


@compiled
def find_overdue(tables: Any, live: Any, now: float, timeout_s: float, is_short: bool, found: Any) -> tuple[int, int]:
    """Find sessions that are silent, and such as do not read.

    Args:
        found: Box of `Found`: their rows in `silent` and `slow`.
    Returns: how many there are of each. (An array that a loop returns costs 2 us, and 6 on cold caches.)
    """
    s, log_head = tables.value
    silent, slow = found.value.silent, found.value.slow
    num_silent = num_slow = 0
    patience_s = TOO_SLOW_S / 2 if is_short else TOO_SLOW_S
    for x in live:
        if now - s.heard_at[x] > timeout_s:
            silent[num_silent] = x
            num_silent += 1
        is_stuck = now - s.log_marked_at[x] > patience_s
        is_deaf = s.send_seq[x] > s.acked_seq[x] and s.heard_at[x] - s.acked_at[x] > TOO_SLOW_S
        if is_stuck or is_deaf or log_head[s.room[x]] - s.log_effective[x] > LOG_CAP_ENTRIES:
            slow[num_slow] = x
            num_slow += 1
    return num_silent, num_slow


@compiled
def plan(tables: Any, live: Any, rates: Any, now: float, at_tick: bool, found: Any) -> tuple[int, bool]:
    """Find what each session may be sent, who must be sent something, and whether anybody lacks log entries.

    Args:
        tables: Box of `ServedTables`.
        rates: `Pace`, as a plain tuple.
        found: Box of `Found`: datagrams by session row in `allowed`, and rows in `bare`.
    Returns: how many `bare` has, bool.
    """
    s, log_head = tables.value
    pace = Pace(*rates)
    allowed, bare = found.value.allowed, found.value.bare
    allowed[:] = 0
    num_bare = 0
    lags = False
    for x in live:
        allowed[x] = _allowed(s, x, pace, now, at_tick)
        if _needs_bare(s, x, pace, now, at_tick):
            bare[num_bare] = x
            num_bare += 1
        lags |= log_head[s.room[x]] > s.log_cursor[x]
    return num_bare, lags


@inlined
def _allowed(s: Any, x: int, pace: Any, now: float, at_tick: bool) -> int:
    """Tell how many datagrams a session may be sent now, as `pacing.Pace.allowed`."""
    tokens = min(s.send_tokens[x] + (now - s.send_tokens_at[x]) * pace.bytes_per_s, pace.burst)
    s.send_tokens[x] = tokens
    s.send_tokens_at[x] = now
    flight = s.send_seq[x] - s.acked_seq[x]
    if not at_tick:
        tokens -= pace.burst / 2
        flight += RESERVED_DATAGRAMS
    by_rate = np.int64(tokens // MAX_BODY_BYTES) + 1 if tokens > 0 else 0
    by_bytes = (MAX_FLIGHT_BYTES - (s.sent_bytes[x] - s.acked_bytes[x])) // MAX_BODY_BYTES
    allowed = max(min(MAX_FLIGHT_DATAGRAMS - flight, by_bytes, by_rate), 0)
    if allowed == 0 and now - s.sent_at[x] >= PROBE_S:
        return 1
    return allowed


@inlined
def _needs_bare(s: Any, x: int, pace: Any, now: float, at_tick: bool) -> bool:
    """Tell whether a session must be sent something now: acks owed, and at ticks keepalives and news of credit."""
    if s.ack_owed[x] >= ACK_WITHIN_DATAGRAMS:
        return True
    if not at_tick:
        return s.ack_due_at[x] <= now
    if s.ack_due_at[x] <= now + pace.period_s or now - s.sent_at[x] >= pace.keepalive_s:
        return True
    told = s.message_permitted[x]
    return told - s.message_accepted[x] < CREDIT_LOW and creditable(s, x) > told


@inlined
def creditable(s: Any, x: int) -> int:
    """Return the highest message id that a session may send, as `messages.creditable`."""
    left = max(CREDIT_BYTES - s.unread_bytes[x], 0) // (MAX_FRAGMENT_BYTES + s.entry_charge[x])
    return s.message_accepted[x] + min(left, MESSAGE_WINDOW)
