"""How much may go to each client now (SPEC 13, pace): what it can read, what its line carries, what it has lost."""

import numpy as np
import numpy.typing as npt

from protocol.constants import MAX_BODY_BYTES
from relay.columns import Ints
from relay.sessions import SessionTable

MAX_FLIGHT_DATAGRAMS = 40
"""Datagrams beyond the newest acknowledged: half of what fits Godot's 64 KiB buffer at full size (measured there: 81
of 784 bytes)."""
MAX_FLIGHT_BYTES = 48 * 1024
"""Bytes beyond the newest acknowledged: three quarters of that buffer."""
PROBE_S = 0.2
"""Time between updates to a client that has reached either: it may be loading a scene."""
ADAPT_S = 1.0
"""How often the snapshot rate of each client is looked at."""
MAX_INTERVAL_TICKS = 4
"""Slowest snapshot rate: every fourth tick."""
HIGH_LOSS = 0.25
"""Loss above which a client gets fewer snapshots. Radio links show 10 %; a full queue shows far more (chosen)."""
HIGH_DELAY_S = 0.25
"""Round trip above the lowest seen that tells of a filling queue (chosen)."""


def allowed_datagrams(table: SessionTable, rows: Ints, per_tick: int, now: float) -> Ints:
    """Tell how many datagrams each session may be sent now, (n,)."""
    flight = table.send_seq[rows] - table.acked_seq[rows]
    flight_bytes = table.sent_bytes[rows] - table.acked_bytes[rows]
    by_bytes = (MAX_FLIGHT_BYTES - flight_bytes) // MAX_BODY_BYTES
    allowed = np.minimum(np.minimum(MAX_FLIGHT_DATAGRAMS - flight, by_bytes), per_tick - table.sent_in_tick[rows])
    allowed = np.maximum(allowed, 0)
    probing = (allowed == 0) & (now - table.sent_at[rows] >= PROBE_S)
    return np.where(probing, 1, allowed)


def datagrams_per_tick(client_bytes_per_s: int, tick_rate: int) -> int:
    """Turn the byte rate to a client into datagrams a tick, at least 2, at most what may be under way."""
    return min(MAX_FLIGHT_DATAGRAMS, max(2, client_bytes_per_s // (tick_rate * MAX_BODY_BYTES)))


def adapt_intervals(table: SessionTable, rows: Ints) -> None:
    """Halve the snapshot rate of clients whose loss or delay is high, and raise it again step by step."""
    delayed: npt.NDArray[np.bool_] = table.rtt_s[rows] > table.rtt_min_s[rows] + HIGH_DELAY_S
    struggling = (table.loss_down[rows] > HIGH_LOSS) | delayed
    interval = table.tick_interval[rows]
    slower = np.minimum(interval * 2, MAX_INTERVAL_TICKS)
    table.tick_interval[rows] = np.where(struggling, slower, np.maximum(interval - 1, 1))
    # a lasting change of route must not count as a full queue for ever
    table.rtt_min_s[rows] += (table.rtt_s[rows] - table.rtt_min_s[rows]) / 64
