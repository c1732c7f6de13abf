"""What the relay counts. One function counts every drop; nothing at the boundary returns early without it."""

from collections import Counter

import numpy as np

from protocol.drops import DropReason
from relay.columns import Bools


class Stats:
    """Counters since the start. Plain numbers; who wants rates takes differences."""

    def __init__(self) -> None:
        self.dropped: Counter[DropReason] = Counter()
        """Datagrams, or parts of datagrams, not taken, by reason (SPEC 11)."""
        self.counters: Counter[str] = Counter()
        """Everything else, by name: datagrams_in, bytes_out, joins, sessions_ended, ..."""

    def count_drop(self, reason: DropReason, count: int = 1) -> None:
        """Count what was not taken."""
        if count:
            self.dropped[reason] += count

    def count_dropped(self, reason: DropReason, kept: Bools) -> None:
        """Count the rows of a batch that a check did not keep."""
        self.count_drop(reason, len(kept) - int(np.count_nonzero(kept)))

    def count(self, name: str, count: int = 1) -> None:
        """Count anything else."""
        if count:
            self.counters[name] += count
