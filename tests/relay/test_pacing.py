"""How much goes to each client: what it can read, what its line carries, and what it has lost."""

import numpy as np
import pytest

from relay.config import RelayConfig
from relay.items import Items, Order
from relay.pacing import (
    BURST_S,
    HIGH_DELAY_S,
    HIGH_LOSS,
    MAX_FLIGHT_BYTES,
    MAX_FLIGHT_DATAGRAMS,
    MAX_INTERVAL_TICKS,
    PROBE_S,
    RESERVED_DATAGRAMS,
    Pace,
    adapt_intervals,
    without_flood,
)
from relay.sessions import SessionTable
from tests.relay.bench import TICK, Bench


def table_of(**columns: list[float]) -> tuple[SessionTable, np.ndarray]:
    table = SessionTable(8)
    table.tick_interval[:] = 1
    table.send_tokens_at[:] = -np.inf
    count = 0
    for name, values in columns.items():
        count = len(values)
        getattr(table, name)[:count] = values
    return table, np.arange(count)


def pace(client_bytes_per_s: int = 2**31, tick_rate: int = 30) -> Pace:
    return Pace(RelayConfig(client_bytes_per_s=client_bytes_per_s, tick_rate=tick_rate))


def test_nothing_under_way_allows_a_tenth_of_a_seconds_bytes() -> None:
    table, rows = table_of(send_seq=[0, 500], acked_seq=[0, 500], sent_bytes=[0, 9_000_000], acked_bytes=[0, 9_000_000])
    assert BURST_S == 0.1
    assert pace(400_000).allowed(table, rows, 0.0, at_tick=True).tolist() == [40_000 // 1160 + 1] * 2


def test_at_most_40_datagrams_are_under_way() -> None:
    table, rows = table_of(send_seq=[130, 139, 140, 141], acked_seq=[100] * 4, sent_at=[0.0] * 4)
    assert MAX_FLIGHT_DATAGRAMS == 40
    assert pace().allowed(table, rows, 0.1, at_tick=True).tolist() == [10, 1, 0, 0]


def test_between_ticks_some_of_what_may_be_under_way_is_kept_for_the_tick() -> None:
    table, rows = table_of(send_seq=[130, 131, 132, 100], acked_seq=[100] * 4, sent_at=[0.0] * 4)
    assert RESERVED_DATAGRAMS == 8
    assert pace().allowed(table, rows, 0.1, at_tick=False).tolist() == [2, 1, 0, 32]
    assert pace().allowed(table, rows, 0.1, at_tick=True).tolist() == [10, 9, 8, 40]


def test_between_ticks_half_of_the_bytes_are_kept_for_the_tick() -> None:
    table, rows = table_of(send_tokens=[40_000.0, 20_001.0, 20_000.0, 0.0], send_tokens_at=[0.0] * 4)
    assert pace(400_000).allowed(table, rows, 0.0, at_tick=False).tolist() == [18, 1, 0, 0]
    assert pace(400_000).allowed(table, rows, 0.0, at_tick=True).tolist() == [35, 18, 18, 0]


def test_at_most_48_kib_are_under_way() -> None:
    limit = MAX_FLIGHT_BYTES
    assert limit == 48 * 1024
    table, rows = table_of(sent_bytes=[limit - 1160, limit - 1159, limit - 2 * 1160, limit + 5], send_seq=[1] * 4)
    assert pace().allowed(table, rows, 0.1, at_tick=True).tolist() == [1, 0, 2, 0]


def test_who_has_reached_a_limit_gets_one_datagram_per_200_ms() -> None:
    table, rows = table_of(send_seq=[40, 40], sent_at=[10.0, 10.1])
    assert PROBE_S == 0.2
    assert pace().allowed(table, rows, 10.1, at_tick=True).tolist() == [0, 0]
    assert pace().allowed(table, rows, 10.25, at_tick=True).tolist() == [1, 0]


def test_no_sessions_are_allowed_nothing() -> None:
    table, rows = table_of()
    assert len(pace().allowed(table, rows, 0.0, at_tick=True)) == 0
    adapt_intervals(table, rows)


@pytest.mark.parametrize(
    ("bytes_per_s", "tick_rate", "burst"),
    [(400_000, 30, 40_000), (100_000, 1, 100_000), (10_000, 240, 2320), (10_000, 30, 2320), (60_000, 5, 12_000)],
)
def test_a_bucket_holds_a_tenth_of_a_second_a_tick_or_two_datagrams(
    bytes_per_s: int, tick_rate: int, burst: int
) -> None:
    table, rows = table_of(send_seq=[0])
    pace(bytes_per_s, tick_rate).allowed(table, rows, 5.0, at_tick=True)
    assert table.send_tokens[0] == burst


def test_a_bucket_fills_with_time_and_may_be_overdrawn_by_one_datagram() -> None:
    table, rows = table_of(send_tokens=[-1000.0, -1000.0], send_tokens_at=[5.0, 5.0], sent_at=[5.0, 5.0])
    paced = pace(100_000)
    assert paced.allowed(table, rows, 5.01, at_tick=True).tolist() == [0, 0]
    assert paced.allowed(table, rows, 5.011, at_tick=True).tolist() == [1, 1]
    assert table.send_tokens[rows] == pytest.approx([100.0, 100.0])
    assert paced.allowed(table, rows, 5.022, at_tick=True).tolist() == [2, 2]


def items_of(*listed: tuple[int, Order, int]) -> Items:
    """Make items of (session, order, length)."""
    items = Items.empty().take(np.zeros(0, np.int64))
    columns = {name: np.zeros(len(listed), column.dtype) for name, column in vars(items).items()}
    for name, column in zip(("session", "order", "length"), zip(*listed, strict=True), strict=True):
        columns[name][:] = column
    return Items(**columns)


def test_signals_may_have_half_of_what_each_session_is_allowed_and_the_rest_is_not_asked() -> None:
    entry, signal, page = (0, Order.ENTRY, 1000), (0, Order.SIGNAL, 1000), (0, Order.PAGE, 1000)
    other = (3, Order.SIGNAL, 1000)
    items = items_of(entry, entry, *[signal] * 6, page, page, *[other] * 3)
    kept = without_flood(items, np.array([8, 0, 0, 2]))
    assert kept.session.tolist().count(3) == 1
    mine = kept.order[kept.session == 0].tolist()
    assert (mine.count(Order.ENTRY), mine.count(Order.SIGNAL), mine.count(Order.PAGE)) == (2, 4, 2)
    assert without_flood(items, np.array([40, 0, 0, 40])) is items


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


@pytest.mark.parametrize("tick_rate", [1, 30, 240])
@pytest.mark.parametrize("flush_rate", [0, 120])
def test_a_client_is_not_sent_more_bytes_per_second_than_was_set(tick_rate: int, flush_rate: int) -> None:
    """Each send was allowed whole datagrams, two a tick or more: 240 Hz sent 5 times what was set, 1 Hz half of it."""
    rate = 100_000
    bench = Bench(
        tick_rate=tick_rate, client_bytes_per_s=rate, signals_per_s=3000, bytes_per_s=10_000_000, datagrams_per_s=3000
    )
    talker, reader = bench.join_all(2)
    bench.receive(talker.listen(), reader.listen())
    reader.updates.clear()
    steps_per_s = max(tick_rate, flush_rate)
    began, seconds = bench.now, 4
    for step in range(1, seconds * steps_per_s + 1):
        bench.now = began + step / steps_per_s
        count = max(1, 600 // steps_per_s)
        bench.receive(*[talker.data(talker.signal(bytes(500))) for _ in range(count)])
        if step * tick_rate % steps_per_s == 0:
            bench.keep(bench.engine.tick(bench.now))
        elif flush_rate:
            bench.flush()
        bench.receive(talker.listen(), reader.listen())
    sent = sum(update.size for update in reader.updates)
    assert sent <= rate * seconds + rate * max(BURST_S, 1 / tick_rate) + 1160
    if tick_rate > 1 or flush_rate:  # a tick a second cannot carry more than may be under way
        assert sent >= (0.8 if tick_rate > 1 else 0.4) * rate * seconds
