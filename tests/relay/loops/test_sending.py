"""Who must end, what may be sent to whom, and who must be sent something: the same as with columns."""

from collections.abc import Callable
from itertools import product

import numpy as np
import pytest

pytest.importorskip("numba")

from protocol.constants import ACK_WITHIN_DATAGRAMS, MAX_BODY_BYTES
from relay.engine import Engine
from relay.log import CREDIT_BYTES, LOG_CAP_ENTRIES
from relay.pacing import MAX_FLIGHT_BYTES, MAX_FLIGHT_DATAGRAMS, PROBE_S, RESERVED_DATAGRAMS
from relay.stages import CREDIT_LOW, TOO_SLOW_S
from tests.relay.bench import Bench, Client, section
from tests.relay.loops.twins import Twins, twin_bench


def pair(**settings: float) -> tuple[Bench, Twins, Client, Client]:
    """Build a bench with two players in one room."""
    bench = twin_bench(**settings)
    a, b = bench.join_all(2, max_players=4, entities_per_player=4, max_state_bytes=20)
    return bench, bench.engine, a, b  # type: ignore[return-value]


def set_column(row: int, **values: float) -> Callable[[Engine], None]:
    """Build what sets columns of a session to values."""

    def act(engine: Engine) -> None:
        for name, value in values.items():
            getattr(engine.world.sessions.table, name)[row] = value

    return act


def reasons(bench: Bench) -> dict[str, int]:
    """Count why sessions ended."""
    return {name[5:]: n for name, n in bench.engine.stats.counters.items() if name.startswith("left_")}


# --- who must end


def test_who_says_nothing_ends_at_the_same_tick() -> None:
    bench, _, _, b = pair(timeout_s=2.0)
    for _ in range(80):
        bench.tick()
        bench.receive(b.listen())
        bench.flush()
    assert reasons(bench) == {"timeout": 1}


def test_who_acknowledges_nothing_ends_at_the_same_tick() -> None:
    bench, _, a, b = pair()
    a.window.accept(1)
    for _ in range(round((TOO_SLOW_S + 2) * 30)):
        bench.receive(a.data(a.state(b"x"), flags=1, ack=0), b.listen())
        bench.tick()
    assert reasons(bench) == {"too_slow": 1}


def test_who_does_not_read_the_log_ends_at_the_same_tick() -> None:
    bench, _, a, b = pair()
    start = a.cursor
    for _ in range(round((TOO_SLOW_S + 2) * 30)):
        a.hear()
        bench.receive(a.data(log_cursor=start), b.listen(), b.data(b.message(b"x")))
        bench.tick()
        bench.flush()
    assert reasons(bench) == {"too_slow": 1}


@pytest.mark.parametrize("waited_s", [TOO_SLOW_S / 2, TOO_SLOW_S / 2 + 0.1, TOO_SLOW_S, TOO_SLOW_S + 0.1])
def test_half_the_patience_while_the_log_is_short_of_memory(waited_s: float) -> None:
    bench, twins, a, b = pair()
    bench.now += 20.0
    bench.receive(a.data(), b.data())
    for is_short in (False, True):
        for engine in (twins.columns, twins.loops):
            engine.world.log.is_short = (lambda: True) if is_short else (lambda: False)  # type: ignore[method-assign]
        twins.each(set_column(a.row, log_marked_at=bench.now + bench_period(bench) - waited_s))
        twins.each(set_column(b.row, log_marked_at=bench.now))
        bench.tick()
        if reasons(bench):
            break
    assert reasons(bench) == ({"too_slow": 1} if waited_s > TOO_SLOW_S / 2 else {})


def bench_period(bench: Bench) -> float:
    """Return the time between two ticks."""
    return 1 / bench.engine.config.tick_rate


@pytest.mark.parametrize("behind", [0, LOG_CAP_ENTRIES - 3, LOG_CAP_ENTRIES, LOG_CAP_ENTRIES + 1])
def test_who_is_too_many_entries_behind_ends(behind: int) -> None:
    bench, twins, a, _ = pair()
    head = int(bench.engine.world.rooms.table.log_head[a.room_row])
    twins.each(set_column(a.row, log_effective=head - behind, log_cursor=head - behind))
    sessions = [engine._stages.find_overdue(bench.now) for engine in (twins.columns, twins.loops)]
    for ours, theirs in zip(*((o.silent.tolist(), o.too_slow.tolist()) for o in sessions), strict=True):
        assert ours == theirs
    assert sessions[0].too_slow.tolist() == ([a.row] if behind > LOG_CAP_ENTRIES else [])


def test_marks_move_in_the_same_calls() -> None:
    """Found by the first comparison of tables: `sending.plan` moves the marks of all at every flush if nobody lags,
    `ColumnStages` only where the engine asks for open entries.
    """
    bench, twins, a, _ = pair()
    bench.now += 0.2
    bench.receive(a.data(a.state(b"x")))
    bench.now += 0.051
    bench.flush()
    marked_at = [engine.world.sessions.table.log_marked_at.tolist() for engine in (twins.columns, twins.loops)]
    assert marked_at[0] == marked_at[1]


def test_a_relay_that_stood_still_for_long_ends_the_same_sessions() -> None:
    """What the marks are for: after 11 s without a tick, in which a batch came, the columns ended everybody as too
    slow and the loops nobody.
    """
    bench, twins, a, b = pair()
    bench.now += TOO_SLOW_S + 1.0
    bench.receive(a.data(), b.data())
    bench.flush()
    bench.tick()
    assert twins.columns.num_sessions == twins.loops.num_sessions


# --- what may be sent


FLIGHTS = (0, 1, MAX_FLIGHT_DATAGRAMS - RESERVED_DATAGRAMS - 1, MAX_FLIGHT_DATAGRAMS - RESERVED_DATAGRAMS,
           MAX_FLIGHT_DATAGRAMS - 1, MAX_FLIGHT_DATAGRAMS, MAX_FLIGHT_DATAGRAMS + 30)  # fmt: skip
BYTES_IN_FLIGHT = (0, MAX_FLIGHT_BYTES - MAX_BODY_BYTES, MAX_FLIGHT_BYTES - MAX_BODY_BYTES + 1, MAX_FLIGHT_BYTES,
                   MAX_FLIGHT_BYTES + 5000)  # fmt: skip
TOKENS = (-5000.0, -0.5, 0.0, 0.5, MAX_BODY_BYTES - 1.0, float(MAX_BODY_BYTES), 20_000.0, 20_000.5, 1e9)


@pytest.mark.parametrize("at_tick", [False, True])
def test_as_many_datagrams_are_allowed_at_every_limit(at_tick: bool) -> None:
    bench, twins, a, _ = pair()
    engines = (twins.columns, twins.loops)
    seen = set()
    for flight, in_flight, tokens, since_s in product(FLIGHTS, BYTES_IN_FLIGHT, TOKENS, (0.0, PROBE_S, PROBE_S - 1e-9)):
        values = {"acked_seq": 100, "send_seq": 100 + flight, "acked_bytes": 7, "sent_bytes": 7 + in_flight}
        values |= {"send_tokens": tokens, "send_tokens_at": bench.now, "sent_at": bench.now - since_s}
        for engine in engines:
            set_column(a.row, **values)(engine)
        ours, theirs = (engine._stages.plan(bench.now, at_tick) for engine in engines)
        assert ours.allowed.tolist() == theirs.allowed.tolist(), values
        assert ours.bare.tolist() == theirs.bare.tolist(), values
        seen.add(int(ours.allowed[a.row]))
    assert {0, 1} < seen


@pytest.mark.parametrize("client_bytes_per_s", [10_000, 25_000, 400_000, 2**31])
def test_a_flood_to_one_client_at_other_rates(client_bytes_per_s: int) -> None:
    bench, _, a, b = pair(client_bytes_per_s=client_bytes_per_s)
    for n in range(40):
        bench.receive(*[b.data(b.signal(bytes(1000))) for _ in range(6)], b.data(b.state(bytes([n]))))
        bench.now += 0.004
        bench.flush()
        bench.tick()
        if n % 3 == 0:
            bench.receive(a.listen(), b.listen())
    assert bench.engine.stats.counters["signals_shed"] or client_bytes_per_s > 25_000


def test_who_is_silent_is_probed_alike() -> None:
    bench, twins, a, b = pair()
    bench.take(a.address)
    for n in range(200):
        bench.receive(b.listen(), b.data(b.state(bytes([n]))))
        bench.tick()
    table = twins.columns.world.sessions.table
    assert table.send_seq[a.row] - table.acked_seq[a.row] > MAX_FLIGHT_DATAGRAMS


# --- who must be sent something


@pytest.mark.parametrize("tick_rate", [1, 10, 30, 240])
def test_keepalives_and_acks_in_time_at_other_tick_rates(tick_rate: int) -> None:
    bench, _, a, b = pair(tick_rate=tick_rate, keepalive_s=0.3)
    for n in range(40):
        bench.receive(a.data(*[section(200, b"")] * (n % 3 == 0)))
        for _ in range(n % 4):
            bench.now += 0.0173
            bench.flush()
        bench.tick()
    a.hear(), b.hear()
    assert len(b.updates) > 3


@pytest.mark.parametrize("owed", [1, ACK_WITHIN_DATAGRAMS - 1, ACK_WITHIN_DATAGRAMS, ACK_WITHIN_DATAGRAMS + 1])
def test_many_datagrams_are_acknowledged_before_it_is_time(owed: int) -> None:
    bench, _, a, _ = pair()
    bench.receive(*[a.data(section(200, b"")) for _ in range(owed)])
    assert bench.flush() == (1 if owed >= ACK_WITHIN_DATAGRAMS else 0)
    bench.now += 0.05
    assert bench.flush() == (0 if owed >= ACK_WITHIN_DATAGRAMS else 1)


def test_news_of_credit_is_sent_alike() -> None:
    bench, twins, a, b = pair()
    for unread, told_ahead in product(
        (0, 1000, CREDIT_BYTES - 1088, CREDIT_BYTES, CREDIT_BYTES * 2), (0, CREDIT_LOW - 1, CREDIT_LOW, 32)
    ):
        accepted = int(twins.columns.world.sessions.table.message_accepted[a.row])
        twins.each(set_column(a.row, unread_bytes=unread, message_permitted=accepted + told_ahead))
        bench.flush()
        bench.tick()
        told = [int(e.world.sessions.table.message_permitted[a.row]) for e in (twins.columns, twins.loops)]
        assert told[0] == told[1] >= accepted
        bench.receive(a.listen(), b.listen())


def test_the_credit_of_random_sessions_is_that_of_the_columns() -> None:
    from relay.loops.sending import Served, creditable
    from relay.messages import creditable as of_columns
    from relay.sessions import SessionTable

    table, rng = SessionTable(64), np.random.default_rng(1)
    table.message_accepted[:] = rng.integers(0, 10**6, 64)
    table.unread_bytes[:] = rng.integers(0, 2 * CREDIT_BYTES, 64)
    table.entry_charge[:] = rng.integers(64, 4096, 64)
    served = Served(*(getattr(table, name) for name in Served._fields))
    assert [creditable(served, row) for row in range(64)] == of_columns(table, np.arange(64)).tolist()
