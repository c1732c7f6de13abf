"""Counters: nothing that was not taken goes uncounted, and nothing is counted that was."""

import numpy as np

from protocol.drops import DropReason
from relay.stats import Stats


def test_drops_add_up_by_reason() -> None:
    stats = Stats()
    stats.count_drop(DropReason.TOO_SHORT)
    stats.count_drop(DropReason.TOO_SHORT, 3)
    stats.count_drop(DropReason.BAD_ACK)
    assert stats.dropped == {DropReason.TOO_SHORT: 4, DropReason.BAD_ACK: 1}


def test_the_rows_that_a_check_did_not_keep_are_counted() -> None:
    stats = Stats()
    stats.count_dropped(DropReason.OVER_RATE, np.array([True, False, False, True]))
    stats.count_dropped(DropReason.OVER_RATE, np.array([False]))
    assert stats.dropped == {DropReason.OVER_RATE: 3}


def test_nothing_dropped_leaves_no_line() -> None:
    stats = Stats()
    stats.count_drop(DropReason.BAD_ACK, 0)
    stats.count_dropped(DropReason.BAD_ACK, np.ones(5, np.bool_))
    stats.count_dropped(DropReason.BAD_ACK, np.ones(0, np.bool_))
    stats.count("joins", 0)
    assert not stats.dropped and not stats.counters


def test_everything_else_adds_up_by_name() -> None:
    stats = Stats()
    stats.count("joins")
    stats.count("bytes_in", 100)
    stats.count("bytes_in", 20)
    assert stats.counters == {"joins": 1, "bytes_in": 120}
