"""Token buckets per session: datagrams, bytes, messages, signals (SPEC 11, step 6).

A bucket holds one second's worth and refills steadily. What it does not cover is dropped (datagrams, bytes, signals)
or left for later (messages: the client repeats them).
"""

from enum import IntEnum

import numpy as np

from relay.columns import Bools, Ints, places, run_starts
from relay.config import RelayConfig
from relay.sessions import SessionTable


class Budget(IntEnum):
    """Columns of SessionTable.tokens."""

    DATAGRAMS = 0
    BYTES = 1
    MESSAGES = 2
    SIGNALS = 3


class Budgets:
    """The rates of one relay, applied to rows of the session table."""

    def __init__(self, config: RelayConfig) -> None:
        self.per_s = np.array(
            [config.datagrams_per_s, config.bytes_per_s, config.messages_per_s, config.signals_per_s], np.float64
        )

    def fill(self, table: SessionTable, row: int, now: float) -> None:
        """Give a new session full buckets."""
        table.tokens[row] = self.per_s
        table.tokens_at[row] = now

    def refill(self, table: SessionTable, rows: Ints, now: float) -> None:
        """Add what has accrued since each row was last refilled. Rows may repeat."""
        elapsed = np.maximum(now - table.tokens_at[rows], 0.0)
        table.tokens[rows] = np.minimum(table.tokens[rows] + elapsed[:, None] * self.per_s, self.per_s)
        table.tokens_at[rows] = now

    @staticmethod
    def take_all(table: SessionTable, sessions: Ints, num_bytes: Ints) -> bool:
        """Spend what datagrams of these sizes cost, DATAGRAMS and BYTES, if all are covered; else spend nothing.

        So a pass in which nobody is over its budget, and that is nearly every one, costs half as much.
        """
        starts = places(run_starts(sessions))
        if not len(starts):
            return True
        rows = sessions[starts]
        cost = np.empty((len(rows), 2), np.float64)
        cost[:, 0] = np.concatenate([starts[1:], [len(sessions)]]) - starts
        cost[:, 1] = np.add.reduceat(num_bytes, starts)
        left = table.tokens[rows, : Budget.MESSAGES] - cost
        if (left < 0).any():
            return False
        table.tokens[rows, : Budget.MESSAGES] = left
        return True

    @staticmethod
    def covered(table: SessionTable, sessions: Ints, budget: Budget, cost: Ints | None = None) -> Bools:
        """Take one token per element, or what it costs, and tell which elements were covered.

        One token is enough for an element that costs more: the bucket is in debt then.

        Args:
            sessions: Session rows, (n,), equal ones side by side, in order of arrival.
            cost: (n,); of what is not covered it counts, too.
        """
        if cost is None:
            cost = np.ones(len(sessions), np.int64)
        kept = _spent_before(sessions, cost) + 1 <= table.tokens[sessions, budget]
        return _spend(table, sessions, cost, kept, budget)

    @staticmethod
    def covered_bytes(table: SessionTable, sessions: Ints, num_bytes: Ints) -> Bools:
        """The same for BYTES, where an element costs its size, and all of it must be there."""
        kept = _spent_before(sessions, num_bytes) + num_bytes <= table.tokens[sessions, Budget.BYTES]
        return _spend(table, sessions, num_bytes, kept, Budget.BYTES)


def _spent_before(sessions: Ints, cost: Ints) -> Ints:
    """Sum up what the elements of each run before an element cost."""
    before = np.cumsum(cost) - cost
    return before - np.maximum.accumulate(np.where(run_starts(sessions), before, 0))


def _spend(table: SessionTable, sessions: Ints, cost: Ints, kept: Bools, budget: Budget) -> Bools:
    """Subtract the cost of the elements that were kept."""
    np.subtract.at(table.tokens, (sessions[kept], np.int64(budget)), cost[kept])
    return kept
