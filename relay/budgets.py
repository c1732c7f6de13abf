"""Token buckets per session: datagrams, bytes, messages, signals (SPEC 11, step 6).

A bucket holds one second's worth and refills steadily. What it does not cover is dropped (datagrams, bytes, signals)
or left for later (messages: the client repeats them).
"""

from enum import IntEnum

import numpy as np
import numpy.typing as npt

from relay.columns import Bools, Ints, places, rank_in_run, run_starts
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
    def covered(table: SessionTable, sessions: Ints, budget: Budget) -> Bools:
        """Take one token per element and tell which elements were covered.

        Args:
            sessions: Session rows, (n,), equal ones side by side, in order of arrival.
        """
        kept = rank_in_run(sessions) + 1 <= table.tokens[sessions, budget]
        return _spend(table, sessions, np.ones(len(sessions)), kept, budget)

    @staticmethod
    def covered_bytes(table: SessionTable, sessions: Ints, num_bytes: Ints) -> Bools:
        """The same for BYTES, where an element costs its size."""
        total = np.cumsum(num_bytes)
        before_run = np.maximum.accumulate(np.where(run_starts(sessions), total - num_bytes, 0))
        kept = total - before_run <= table.tokens[sessions, Budget.BYTES]
        return _spend(table, sessions, num_bytes.astype(np.float64), kept, Budget.BYTES)


def _spend(table: SessionTable, sessions: Ints, cost: npt.NDArray[np.float64], kept: Bools, budget: Budget) -> Bools:
    """Subtract the cost of the elements that were kept."""
    np.subtract.at(table.tokens, (sessions[kept], np.int64(budget)), cost[kept])
    return kept
