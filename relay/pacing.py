"""How much may go to each client now (SPEC 13, pace): what it can read, what its line carries, what it has lost."""

import numpy as np
import numpy.typing as npt

from protocol.constants import MAX_BODY_BYTES
from relay.columns import Ints, run_starts
from relay.config import RelayConfig
from relay.items import Items, Order
from relay.sessions import SessionTable

MAX_FLIGHT_DATAGRAMS = 40
"""Datagrams beyond the newest acknowledged: half of what fits Godot's 64 KiB buffer at full size (measured there: 81
of 784 bytes)."""
MAX_FLIGHT_BYTES = 48 * 1024
"""Bytes beyond the newest acknowledged: three quarters of that buffer."""
PROBE_S = 0.2
"""Time between updates to a client that has reached either: it may be loading a scene."""
BURST_S = 0.1
"""What of the byte rate to a client may go out at once, at least a tick's worth: 40 kB at the default (chosen)."""
RESERVED_DATAGRAMS = 8
"""Of those, kept for the next tick: signals between ticks must not leave the snapshot without room."""
ADAPT_S = 1.0
"""How often the snapshot rate of each client is looked at."""
MAX_INTERVAL_TICKS = 4
"""Slowest snapshot rate: every fourth tick."""
HIGH_LOSS = 0.25
"""Loss above which a client gets fewer snapshots. Radio links show 10 %; a full queue shows far more (chosen)."""
HIGH_DELAY_S = 0.25
"""Round trip above the lowest seen that tells of a filling queue (chosen)."""


class Pace:
    """What may be sent to each client now. Between ticks only a part of it, so that there is room for the snapshot."""

    def __init__(self, config: RelayConfig) -> None:
        self.bytes_per_s = float(config.client_bytes_per_s)
        self.burst = max(self.bytes_per_s * max(BURST_S, 1 / config.tick_rate), 2.0 * MAX_BODY_BYTES)

    def allowed(self, table: SessionTable, rows: Ints, now: float, at_tick: bool) -> Ints:
        """Tell how many datagrams each session may be sent now, (n,)."""
        elapsed = now - table.send_tokens_at[rows]
        table.send_tokens[rows] = np.minimum(table.send_tokens[rows] + elapsed * self.bytes_per_s, self.burst)
        table.send_tokens_at[rows] = now
        tokens = table.send_tokens[rows] - (0.0 if at_tick else self.burst / 2)
        # a bucket may be overdrawn by one datagram: else it would have to hold a whole one
        by_rate = np.where(tokens > 0, tokens // MAX_BODY_BYTES + 1, 0).astype(np.int64)
        flight = table.send_seq[rows] - table.acked_seq[rows] + (0 if at_tick else RESERVED_DATAGRAMS)
        flight_bytes = table.sent_bytes[rows] - table.acked_bytes[rows]
        by_bytes = (MAX_FLIGHT_BYTES - flight_bytes) // MAX_BODY_BYTES
        allowed = np.maximum(np.minimum(np.minimum(MAX_FLIGHT_DATAGRAMS - flight, by_bytes), by_rate), 0)
        probing = (allowed == 0) & (now - table.sent_at[rows] >= PROBE_S)
        return np.where(probing, 1, allowed)


def without_flood(items: Items, allowed: Ints) -> Items:
    """Leave out signals beyond half of what a session may be sent at this tick: the other half is for its snapshot.

    Args:
        allowed: Datagrams, by session row.
    """
    is_signal = items.are(Order.SIGNAL)
    if not is_signal.any():
        return items
    size = np.where(is_signal, items.length, 0)
    total = np.cumsum(size)
    before_run = np.maximum.accumulate(np.where(run_starts(items.session), total - size, 0))
    share = np.maximum(allowed[items.session] // 2, 1) * MAX_BODY_BYTES
    kept = (total - before_run <= share) | ~is_signal
    return items if kept.all() else items.take(kept)


def adapt_intervals(table: SessionTable, rows: Ints) -> None:
    """Halve the snapshot rate of clients whose loss or delay is high, and raise it again step by step."""
    delayed: npt.NDArray[np.bool_] = table.rtt_s[rows] > table.rtt_min_s[rows] + HIGH_DELAY_S
    struggling = (table.loss_down[rows] > HIGH_LOSS) | delayed
    interval = table.tick_interval[rows]
    slower = np.minimum(interval * 2, MAX_INTERVAL_TICKS)
    table.tick_interval[rows] = np.where(struggling, slower, np.maximum(interval - 1, 1))
    # a lasting change of route must not count as a full queue for ever
    table.rtt_min_s[rows] += (table.rtt_s[rows] - table.rtt_min_s[rows]) / 64
