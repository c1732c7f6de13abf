"""Signals taken in: the same as with columns."""

import pytest

pytest.importorskip("numba")

from protocol.constants import MAX_SLOTS, Target
from relay.loops.signals import _FIRST_BYTES, _FIRST_PAIRS, _KEPT_PAIRS, PairQueue
from relay.signals import MAX_QUEUED, WAIT_S
from tests.relay.bench import Bench, Client
from tests.relay.loops.twins import twin_bench

AFTER_LOG = 2


def queue(bench: Bench) -> PairQueue:
    """Return the loops' queue."""
    return bench.engine.loops.world.signals.queue  # type: ignore[attr-defined, no-any-return]


def hear(clients: list[Client]) -> list[int]:
    """Let everybody read. Returns: how many signals each has."""
    for client in clients:
        client.hear()
    return [len(client.signals) for client in clients]


@pytest.mark.parametrize(
    ("target", "players", "reached"),
    [
        (Target.ALL, (), [1, 1, 1]),
        (Target.ALL_BUT, (0,), [0, 1, 1]),
        (Target.ONE, (2,), [0, 0, 1]),
        (Target.ONE, (MAX_SLOTS,), [0, 0, 0]),
        (Target.LIST, (0, 2, 2, 65_535), [1, 0, 1]),
    ],
)
def test_a_signal_is_for_whom_its_target_says(target: Target, players: tuple[int, ...], reached: list[int]) -> None:
    bench = twin_bench()
    clients = bench.join_all(3)
    clients[0].say(clients[0].signal(b"x", target, players))
    bench.flush()
    assert hear(clients) == reached


def test_signals_over_their_rate_and_too_late_ones_are_dropped() -> None:
    bench = twin_bench(signals_per_s=5)
    clients = bench.join_all(2)
    bench.receive(clients[0].data(*[clients[0].signal(b"x") for _ in range(8)]))
    bench.receive(clients[1].data(clients[1].signal(b"x", flags=AFTER_LOG, after_message=5000)))
    bench.flush()
    assert hear(clients) == [5, 5]
    assert bench.dropped() == {"OVER_SIGNAL_RATE": 3, "SIGNAL_LATE": 1}


def test_a_flood_of_signals_makes_no_more_memory_than_its_budget_permits() -> None:
    """24 signals in each datagram, of which the budget covers the first few: room is made for those alone."""
    bench = twin_bench(signals_per_s=10, datagrams_per_s=300)
    flooder, *_ = bench.join_all(16, max_players=16)
    bench.receive(*[flooder.data(*[flooder.signal(b"") for _ in range(24)]) for _ in range(250)])
    bench.flush()
    assert bench.dropped()["OVER_SIGNAL_RATE"] == 64 * 24 - 10  # the others are too old beside the newest
    assert len(queue(bench)._columns[0]) == _FIRST_PAIRS
    assert len(queue(bench)._byte) == 2 * _FIRST_BYTES


def test_memory_of_a_rare_burst_is_given_back_when_the_queue_is_empty() -> None:
    bench = twin_bench(signals_per_s=5000, datagrams_per_s=300)
    clients = bench.join_all(16, max_players=16)
    bench.receive(*[one.data(*[one.signal(b"") for _ in range(24)]) for one in clients[:4] for _ in range(60)])
    assert len(queue(bench)._columns[0]) > _KEPT_PAIRS
    bench.tick()
    assert len(queue(bench)._columns[0]) == _FIRST_PAIRS
    clients[0].say(clients[0].signal(b"after"))
    bench.tick()
    clients[1].hear()
    assert clients[1].signals[-1:] == [b"after"]


def test_a_signal_waits_for_its_message_or_is_dropped() -> None:
    bench = twin_bench()
    clients = bench.join_all(3)
    a, b, _ = clients
    bench.receive(
        a.data(a.signal(b"now"), a.signal(b"early", flags=AFTER_LOG, after_message=1), a.signal(b"now")),
        b.data(b.signal(b"never", flags=AFTER_LOG, after_message=2), b.message(b"one")),
    )
    bench.flush()
    assert hear(clients) == [2, 2, 2] and bench.engine.gauges()["waiting_signals"][0] == 2
    bench.receive(a.data(a.message(b"it"), a.signal(b"with it", flags=AFTER_LOG, after_message=1)))
    bench.flush()
    assert hear(clients) == [4, 4, 4]
    bench.wait(WAIT_S + 0.1)
    assert bench.dropped() == {"SIGNAL_LATE": 1}


def test_the_queue_grows_keeps_what_it_holds_and_is_emptied() -> None:
    bench = twin_bench(
        signals_per_s=65_535, datagrams_per_s=65_535, bytes_per_s=2**31, client_bytes_per_s=2**31, max_players=64
    )
    clients = bench.join_all(16, max_players=16)
    talker = clients[0]
    for number in range(30):
        bench.receive(*[talker.data(talker.signal(b"%d" % number * 250)) for _ in range(24)])
    held = queue(bench)
    assert held.num_signals == 30 * 24
    assert len(held.data()[0]) > _FIRST_BYTES and len(held.data()) > 1
    assert len(held._columns[0]) > _FIRST_PAIRS
    bench.tick()
    assert held.num_signals == 0 and len(held.data()) == 1
    hear(clients)


def test_signals_beyond_the_cap_are_dropped_with_those_that_wait_in_the_queue() -> None:
    bench = twin_bench(signals_per_s=65_535, datagrams_per_s=65_535, bytes_per_s=2**31, client_bytes_per_s=2**31)
    a, _ = bench.join_all(2)
    for _ in range(MAX_QUEUED // 24 // 31 + 1):
        bench.receive(*[a.data(*[a.signal(b"") for _ in range(24)]) for _ in range(31)])
    assert bench.dropped() == {"SIGNAL_QUEUE_FULL": (MAX_QUEUED // 24 // 31 + 1) * 24 * 31 - MAX_QUEUED}
    bench.flush()
