"""Token buckets: what a second's worth covers, within one batch and from batch to batch."""

from random import Random

import numpy as np
import pytest

from relay.budgets import Budget, Budgets
from relay.columns import Ints
from relay.config import RelayConfig
from relay.sessions import SessionTable
from tests.relay.bench import Bench

RATES = {"datagrams_per_s": 10, "bytes_per_s": 2000, "messages_per_s": 4, "signals_per_s": 6}


def rows(*values: int) -> Ints:
    return np.array(values, np.int64)


def full_buckets(num_sessions: int = 4, now: float = 0.0) -> tuple[Budgets, SessionTable]:
    budgets, table = Budgets(RelayConfig(**RATES)), SessionTable(num_sessions)
    for row in range(num_sessions):
        budgets.fill(table, row, now)
    return budgets, table


@pytest.mark.parametrize(("budget", "rate"), [(Budget.DATAGRAMS, 10), (Budget.MESSAGES, 4), (Budget.SIGNALS, 6)])
def test_a_new_session_may_spend_one_seconds_worth_at_once_and_no_more(budget: Budget, rate: int) -> None:
    budgets, table = full_buckets()
    kept = budgets.covered(table, rows(*[2] * (rate + 2)), budget)
    assert kept.tolist() == [True] * rate + [False] * 2
    assert not budgets.covered(table, rows(2), budget).any()


def test_the_first_of_a_batch_are_covered_and_sessions_do_not_pay_for_each_other() -> None:
    budgets, table = full_buckets()
    table.tokens[:, Budget.DATAGRAMS] = [2.0, 0.5, 1.0, 7.0]
    kept = budgets.covered(table, rows(0, 0, 0, 1, 2, 2, 3), Budget.DATAGRAMS)
    assert kept.tolist() == [True, True, False, False, True, False, True]
    assert table.tokens[:, Budget.DATAGRAMS].tolist() == [0.0, 0.5, 0.0, 6.0]


def test_budgets_of_one_session_are_apart() -> None:
    budgets, table = full_buckets()
    assert not budgets.covered(table, rows(*[1] * 11), Budget.DATAGRAMS).all()
    assert budgets.covered(table, rows(*[1] * 4), Budget.MESSAGES).all()
    assert budgets.covered(table, rows(*[1] * 6), Budget.SIGNALS).all()


def test_nothing_asked_costs_nothing() -> None:
    budgets, table = full_buckets()
    before = table.tokens.copy()
    assert len(budgets.covered(table, rows(), Budget.SIGNALS)) == 0
    assert len(budgets.covered_bytes(table, rows(), rows())) == 0
    budgets.refill(table, rows(), 5.0)
    assert (table.tokens == before).all()


def test_a_bucket_refills_steadily_up_to_one_seconds_worth() -> None:
    budgets, table = full_buckets()
    budgets.covered(table, rows(*[0] * 10), Budget.DATAGRAMS)
    now = 0.25
    budgets.refill(table, rows(0), now)
    assert table.tokens[0].tolist() == [2.5, 2000.0, 4.0, 6.0]
    now = 0.35
    budgets.refill(table, rows(0), now)
    assert table.tokens[0, Budget.DATAGRAMS] == pytest.approx(3.5)
    now = 1000.0
    budgets.refill(table, rows(0), now)
    assert table.tokens[0].tolist() == [10.0, 2000.0, 4.0, 6.0]


def test_a_session_that_stands_several_times_in_a_batch_is_refilled_once() -> None:
    budgets, table = full_buckets()
    table.tokens[1] = 0.0
    budgets.refill(table, rows(1, 1, 1, 2), 0.1)
    assert table.tokens[1, Budget.DATAGRAMS] == pytest.approx(1.0)


def test_time_that_goes_back_takes_nothing_away() -> None:
    budgets, table = full_buckets(now=50.0)
    table.tokens[0] = 1.0
    budgets.refill(table, rows(0), 40.0)
    assert table.tokens[0].tolist() == [1.0] * 4


def test_bytes_are_covered_by_their_size_up_to_exactly_what_is_left() -> None:
    budgets, table = full_buckets()
    sessions = rows(0, 0, 0, 3, 3)
    kept = budgets.covered_bytes(table, sessions, rows(1000, 1000, 1, 1999, 2))
    assert kept.tolist() == [True, True, False, True, False]
    assert table.tokens[[0, 3], Budget.BYTES].tolist() == [0.0, 1.0]


def test_a_pass_is_paid_at_once_if_everybody_can_pay_and_not_at_all_otherwise() -> None:
    budgets, table = full_buckets()
    assert budgets.take_all(table, rows(0, 0, 2), rows(500, 700, 30))
    assert table.tokens[:, : Budget.MESSAGES].tolist() == [[8, 800], [10, 2000], [9, 1970], [10, 2000]]
    assert not budgets.take_all(table, rows(0, 1), rows(801, 1))
    assert not budgets.take_all(table, rows(*[2] * 10), rows(*[1] * 10))
    assert table.tokens[:, : Budget.MESSAGES].tolist() == [[8, 800], [10, 2000], [9, 1970], [10, 2000]]
    assert budgets.take_all(table, rows(), rows())


@pytest.mark.parametrize("seed", range(10))
def test_a_batch_is_covered_as_one_by_one_would_be(seed: int) -> None:
    rng = Random(seed)
    budgets, table = full_buckets()
    left = [10.0] * 4
    now = at = 0.0
    for _ in range(50):
        now += rng.choice((0.0, 0.03, 0.4))
        sessions = sorted(rng.randrange(4) for _ in range(rng.randrange(12)))
        left = [min(10.0, tokens + (now - at) * 10) for tokens in left]
        at = now
        expected = []
        for session in sessions:
            expected.append(left[session] >= 1)
            left[session] -= expected[-1]
        budgets.refill(table, np.arange(4), now)
        assert budgets.covered(table, rows(*sessions), Budget.DATAGRAMS).tolist() == expected


# --- through the engine


def test_datagrams_beyond_the_rate_are_dropped_and_counted_and_more_are_taken_as_time_passes() -> None:
    bench = Bench(datagrams_per_s=10)
    client = bench.join()
    bench.receive(*[client.data() for _ in range(12)])
    assert bench.dropped() == {"OVER_RATE": 2}
    bench.now += 0.201
    bench.receive(*[client.data() for _ in range(4)])
    assert bench.dropped() == {"OVER_RATE": 4}


def test_bytes_beyond_the_rate_are_dropped_and_counted() -> None:
    bench = Bench(bytes_per_s=2000)
    client = bench.join()
    bench.receive(*[client.data(client.signal(bytes(900))) for _ in range(4)])
    assert bench.dropped() == {"OVER_BYTE_RATE": 2}
    assert bench.engine.world.signals.num_queued == 2


def test_a_datagram_that_is_over_the_rate_is_not_acknowledged_and_may_come_again() -> None:
    bench = Bench(datagrams_per_s=10)
    client = bench.join()
    datagrams = [client.data(client.signal(b"%d" % n)) for n in range(11)]
    bench.receive(*datagrams)
    bench.flush()
    assert client.hear()[-1].header.ack == 10
    bench.now += 0.2
    bench.receive(datagrams[10])
    bench.flush()
    client.hear()
    assert client.signals[-1] == b"10" and bench.dropped() == {"OVER_RATE": 1}


def test_one_sessions_flood_costs_the_others_of_its_batch_nothing() -> None:
    bench = Bench(datagrams_per_s=10)
    loud, quiet = bench.join(), bench.join()
    bench.receive(*[loud.data() for _ in range(50)], quiet.data(quiet.state(b"here")), *[loud.data() for _ in range(9)])
    assert bench.dropped() == {"OVER_RATE": 49}
    assert list(bench.engine.room_table("ROOM").values()) == [b"here"]


def test_messages_over_the_rate_stay_unacknowledged_and_are_taken_when_repeated() -> None:
    bench = Bench(messages_per_s=4)
    client = bench.join()
    messages = [client.message(b"%d" % n) for n in range(6)]
    client.say(*messages)
    assert bench.dropped() == {"OVER_MESSAGE_RATE": 2}
    bench.flush()
    assert client.hear()[-1].header.message_ack == 4
    bench.now += 1.0
    client.say(*messages[4:])
    bench.flush()
    client.hear()
    assert [payload for _, payload in client.messages] == [b"0", b"1", b"2", b"3", b"4", b"5"]


def test_signals_over_the_rate_are_dropped_and_counted() -> None:
    bench = Bench(signals_per_s=3)
    client = bench.join()
    client.say(*[client.signal(b"%d" % n) for n in range(5)])
    assert bench.dropped() == {"OVER_SIGNAL_RATE": 2}
    bench.flush()
    client.hear()
    assert client.signals == [b"0", b"1", b"2"]
