"""How much goes to each client: what it can read, what its line carries, and what it has lost."""

import numpy as np
import pytest

from relay.pacing import (
    HIGH_DELAY_S,
    HIGH_LOSS,
    MAX_FLIGHT_BYTES,
    MAX_FLIGHT_DATAGRAMS,
    MAX_INTERVAL_TICKS,
    PROBE_S,
    adapt_intervals,
    allowed_datagrams,
    datagrams_per_tick,
)
from relay.sessions import SessionTable
from tests.relay.bench import TICK, Bench


def table_of(**columns: list[float]) -> tuple[SessionTable, np.ndarray]:
    table = SessionTable(8)
    table.tick_interval[:] = 1
    count = 0
    for name, values in columns.items():
        count = len(values)
        getattr(table, name)[:count] = values
    return table, np.arange(count)


def test_nothing_under_way_allows_what_the_line_carries_in_a_tick() -> None:
    table, rows = table_of(send_seq=[0, 500], acked_seq=[0, 500], sent_bytes=[0, 9_000_000], acked_bytes=[0, 9_000_000])
    assert allowed_datagrams(table, rows, 11, now=0.0).tolist() == [11, 11]


def test_at_most_40_datagrams_are_under_way() -> None:
    table, rows = table_of(send_seq=[130, 139, 140, 141], acked_seq=[100] * 4, sent_at=[0.0] * 4)
    assert MAX_FLIGHT_DATAGRAMS == 40
    assert allowed_datagrams(table, rows, 40, now=0.1).tolist() == [10, 1, 0, 0]


def test_at_most_48_kib_are_under_way() -> None:
    limit = MAX_FLIGHT_BYTES
    assert limit == 48 * 1024
    table, rows = table_of(sent_bytes=[limit - 1160, limit - 1159, limit - 2 * 1160, limit + 5], send_seq=[1] * 4)
    assert allowed_datagrams(table, rows, 40, now=0.1).tolist() == [1, 0, 2, 0]


def test_who_has_reached_a_limit_gets_one_datagram_per_200_ms() -> None:
    table, rows = table_of(send_seq=[40, 40], sent_at=[10.0, 10.1])
    assert PROBE_S == 0.2
    assert allowed_datagrams(table, rows, 11, now=10.1).tolist() == [0, 0]
    assert allowed_datagrams(table, rows, 11, now=10.25).tolist() == [1, 0]


def test_no_sessions_are_allowed_nothing() -> None:
    table, rows = table_of()
    assert len(allowed_datagrams(table, rows, 11, now=0.0)) == 0
    adapt_intervals(table, rows)


@pytest.mark.parametrize(
    ("bytes_per_s", "tick_rate", "datagrams"),
    [(400_000, 30, 11), (10_000, 30, 2), (10_000, 240, 2), (2**31, 1, 40), (69_600, 30, 2), (104_400, 30, 3)],
)
def test_a_byte_rate_is_some_datagrams_a_tick(bytes_per_s: int, tick_rate: int, datagrams: int) -> None:
    assert datagrams_per_tick(bytes_per_s, tick_rate) == datagrams


def test_high_loss_or_delay_halves_the_snapshot_rate_down_to_every_fourth_tick() -> None:
    table, rows = table_of(
        loss_down=[HIGH_LOSS, HIGH_LOSS + 0.01, 0.0, 0.0],
        rtt_s=[0.1, 0.1, 0.1 + HIGH_DELAY_S + 0.01, 0.1 + HIGH_DELAY_S - 0.01],
        rtt_min_s=[0.1] * 4,
    )
    intervals = []
    for _ in range(4):
        table.rtt_min_s[rows] = 0.1  # it follows slowly, see below
        adapt_intervals(table, rows)
        intervals.append(table.tick_interval[rows].tolist())
    assert intervals == [[1, 2, 2, 1], [1, 4, 4, 1], [1, 4, 4, 1], [1, 4, 4, 1]]
    assert MAX_INTERVAL_TICKS == 4


def test_a_client_that_recovers_gets_its_rate_back_step_by_step() -> None:
    table, rows = table_of(tick_interval=[4])
    steps = []
    for _ in range(5):
        adapt_intervals(table, rows)
        steps.append(int(table.tick_interval[0]))
    assert steps == [3, 2, 1, 1, 1]


def test_a_lasting_longer_route_is_not_taken_for_a_full_queue_for_ever() -> None:
    table, rows = table_of(rtt_s=[0.5], rtt_min_s=[0.05])
    adapt_intervals(table, rows)
    assert table.tick_interval[0] == 2
    for _ in range(200):
        adapt_intervals(table, rows)
    assert table.tick_interval[0] == 1


# --- through the engine


def test_a_client_that_acknowledges_nothing_is_sent_40_datagrams_and_then_one_per_200_ms() -> None:
    bench = Bench(timeout_s=10.0)
    writer, reader = bench.join_all(2)
    sent = []
    for n in range(120):
        writer.say(writer.state(b"%d" % n))
        bench.tick()
        writer.hear()
        sent.append(len(bench.take(reader.address)))
    assert 30 <= sum(sent[:45]) <= 40
    assert 8 <= sum(sent[60:]) <= 60 * TICK / PROBE_S
    assert max(sent[60:]) == 1
    bench.receive(reader.data())
    bench.tick(3)
    assert sum(update.header.tick > 0 for update in reader.hear()) <= 2  # an old ack allows no more


def test_a_client_that_reads_again_is_sent_everything_again() -> None:
    bench = Bench()
    writer, reader = bench.join_all(2)
    for n in range(90):
        writer.say(writer.state(b"%d" % n))
        bench.tick()
        writer.hear()
    reader.hear()
    bench.receive(reader.data())
    counts = []
    for n in range(5):
        writer.say(writer.state(b"again %d" % n))
        bench.tick()
        writer.hear()
        counts.append(len(reader.hear()))
        bench.receive(reader.data())
    assert counts == [1] * 5


def test_large_datagrams_reach_the_limit_of_bytes_before_that_of_datagrams() -> None:
    bench = Bench(signals_per_s=1000, bytes_per_s=10_000_000, datagrams_per_s=1000)
    talker, reader = bench.join_all(2)
    for _ in range(90):
        bench.receive(*[talker.data(talker.signal(bytes(1024))) for _ in range(4)])
        bench.tick()
        bench.receive(talker.listen())
    num_bytes = [update.size for update in reader.hear()]
    assert sum(num_bytes) <= MAX_FLIGHT_BYTES + 1160 * 3 / PROBE_S + 1160
    assert sum(num_bytes) >= MAX_FLIGHT_BYTES - 1160
    assert bench.counted("signals_shed") > 0


@pytest.mark.parametrize("passes_per_tick", [1, 8])
def test_a_client_is_not_sent_more_bytes_per_second_than_was_set(passes_per_tick: int) -> None:
    """Each flush between two ticks was allowed as much as a tick: 760 kB/s went out where 100 kB/s had been set."""
    bench = Bench(client_bytes_per_s=100_000, signals_per_s=3000, bytes_per_s=10_000_000, datagrams_per_s=1000)
    talker, reader = bench.join_all(2)
    for _ in range(90):
        for _ in range(passes_per_tick):
            bench.receive(*[talker.data(talker.signal(bytes(500))) for _ in range(16 // passes_per_tick)])
            bench.flush()
            bench.receive(talker.listen(), reader.listen())
        bench.tick()
        bench.receive(talker.listen(), reader.listen())
    sent = sum(update.size for update in reader.updates)
    assert 100_000 <= sent <= 100_000 * 3.5  # three seconds, and half a one for a burst
