"""What is cut into datagrams, in all its combinations: the same as with columns."""

import time
from random import Random
from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba")

from protocol.constants import MAX_BODY_BYTES, Target
from relay.egress import RANGE_BYTES, SPACE_BYTES
from relay.engine import Engine
from relay.items import Items
from relay.loops import packing
from relay.loops.stages import FIRST_DATAGRAMS
from relay.stages import Gathered, Plan
from tests.relay.bench import Bench, Client, section
from tests.relay.loops.twins import Twins, twin_bench
from tests.sim.scale import scaled

OPEN = {"datagrams_per_s": 60_000, "bytes_per_s": 2**31, "messages_per_s": 60_000, "signals_per_s": 60_000}


def game(num_players: int, **settings: Any) -> tuple[Bench, list[Client]]:
    """Build a bench with players in one room."""
    bench = twin_bench(**(OPEN | settings))
    return bench, bench.join_all(num_players, max_players=16, entities_per_player=8, max_state_bytes=200)


def go_on(bench: Bench, clients: list[Client], ticks: int = 8) -> None:
    """Let everybody hear and acknowledge until all is quiet."""
    for _ in range(ticks):
        bench.receive(*[client.listen() for client in clients])
        bench.flush()
        bench.tick()


def test_entries_signals_fragments_and_pages_for_one_session_at_once() -> None:
    bench, clients = game(3)
    a, b, c = clients
    for size in (0, 10, 400, 1000):
        bench.receive(
            a.data(a.message(bytes(size)), a.state(b"a")),
            b.data(*[b.message(bytes(900), more=1)], b.signal(bytes(10))),
            b.data(b.message(bytes(900), more=1), b.state(b"b" * 200)),
            b.data(b.message(b"last"), b.signal(bytes(size), flags=2)),
            c.data(c.message(b"for a", Target.ONE, (0,)), c.signal(b"", Target.ALL_BUT, (1,))),
            c.data(c.message(bytes(size), Target.LIST, (0, 2)), c.state(b"c" * 100)),
        )
        bench.tick()
        assert {len(client.hear()[-1].pages) > 0 for client in clients} == {True}
    go_on(bench, clients)
    assert len({len(client.messages) for client in clients}) > 1  # not all may see all


def test_ranges_of_linked_and_unlinked_entries() -> None:
    """Entries that some may not see, that were acknowledged out of order, and fragments between them."""
    bench, clients = game(4)
    rng = Random("ranges")
    for _ in range(40):
        sender = rng.choice(clients)
        target = rng.choice(
            ((Target.ALL, ()), (Target.ONE, (rng.randrange(4),)), (Target.ALL_BUT, (rng.randrange(4),)))
        )
        if sender.message_id - int(bench.engine.world.sessions.table.message_accepted[sender.row]) < 8:
            size = rng.choice((0, 3, 100, 700, 1024))
            bench.receive(sender.data(sender.message(bytes(size), *target, more=int(size > 0 and rng.random() < 0.2))))
        bench.flush()
        for client in clients:
            if rng.random() < 0.4:
                bench.take(client.address)  # lost
            elif rng.random() < 0.5:
                bench.receive(client.listen())
        bench.tick()
    ranges = [update for client in clients for update in client.updates if len(update.ranges) > 1]
    assert len(ranges) > 5
    go_on(bench, clients)


def test_a_signal_behind_log_entries_that_it_may_not_overtake() -> None:
    bench, clients = game(3)
    a, b, c = clients
    for number in range(10):
        bench.receive(
            a.data(a.message(b"secret", Target.ONE, (1,)), a.signal(b"after", flags=2)),
            b.data(b.signal(b"early", flags=2, after_message=b.message_id + 1)),
        )
        bench.flush()
        if number % 2:
            bench.receive(b.data(b.message(b"late", Target.ONE, (0,))))
        bench.now += 0.004
        bench.flush()
        bench.tick()
        c.hear()
    go_on(bench, clients)
    assert c.signals


@pytest.mark.parametrize("client_bytes_per_s", [10_000, 30_000, 100_000])
def test_fewer_datagrams_are_allowed_than_needed(client_bytes_per_s: int) -> None:
    bench, clients = game(3, client_bytes_per_s=client_bytes_per_s)
    rng = Random(client_bytes_per_s)
    for number in range(30):
        for client in clients:
            bench.receive(
                *[client.data(client.state(rng.randbytes(200), k)) for k in range(8)],
                *[client.data(client.signal(rng.randbytes(600))) for _ in range(3)],
            )
            if client.message_id < 20:
                bench.receive(client.data(client.message(rng.randbytes(500))))
        bench.now += 0.002
        bench.flush()
        bench.tick()
        if number % 4 == 0:
            bench.receive(*[client.listen() for client in clients])
    assert bench.counted("signals_shed")


def test_bare_acks_between_datagrams_with_items_in_order_of_sessions() -> None:
    bench, clients = game(8)
    apart = [bench.join(code=f"APART{n}") for n in range(6)]
    go_on(bench, clients + apart)
    bench.receive(*[client.data(section(200, b"")) for client in [*apart[1::2], *clients[::3]]])
    bench.receive(clients[4].data(clients[4].signal(b"s", Target.LIST, (1, 6))), apart[0].data(apart[0].message(b"m")))
    bench.now += 0.06
    assert bench.flush() == 9
    bench.tick()
    go_on(bench, clients + apart)


def test_items_of_the_largest_size_fit() -> None:
    """An item that did not would make empty datagrams, more than there is memory for."""
    bench, clients = game(2)
    a, b = clients
    bench.receive(a.data(a.message(bytes(1024))), a.data(a.signal(bytes(1024))), a.data(a.signal(bytes(1024), flags=2)))
    bench.tick()
    assert max(update.size for update in b.hear()) <= MAX_BODY_BYTES
    for size in range(1, 256):
        from protocol import dtypes

        most = dtypes.page_ids(size) * (size + 8)
        assert most <= dtypes.PAGE_SPACE_BYTES
    assert RANGE_BYTES + dtypes.ENTRY_HEADER.size + 1024 <= SPACE_BYTES
    assert dtypes.SECTION_HEADER.size + dtypes.SIGNAL_DOWN_HEADER.size + 1024 <= SPACE_BYTES
    go_on(bench, clients)


def test_arrays_grow_when_there_are_more_datagrams_or_items() -> None:
    bench = twin_bench(**OPEN, max_sessions_per_host=10_000)
    clients = [c for n in range(5) for c in bench.join_all(20, code=f"R{n}", max_players=20)]
    twins: Twins = bench.engine  # type: ignore[assignment]
    stages: Any = twins.loops._stages
    for number in range(4):
        bench.receive(*[client.data(*[client.signal(bytes(300)) for _ in range(3)]) for client in clients])
        bench.receive(*[client.data(client.state(b"%d" % number)) for client in clients])
        bench.tick()
        bench.receive(*[client.listen() for client in clients])
        bench.flush()
    assert stages._packing._num_items > FIRST_DATAGRAMS
    assert stages._packing._num_datagrams > FIRST_DATAGRAMS


def test_nothing_is_compiled_when_arrays_grow_for_bare_acks_alone() -> None:
    """With more than 256 players who are sent keepalives and nothing else, the arrays grew to room for no item; numpy
    calls an array without elements contiguous, which numba takes for another type: it compiled for 13 s at that tick.
    """
    bench = twin_bench(max_rooms=1000)
    clients: list[Client] = []
    for number in range(FIRST_DATAGRAMS // 8 + 2):
        clients += [bench.join(code=f"R{number}", max_players=8) for _ in range(8)]
        for _ in range(2):
            bench.tick()
            bench.receive(*[client.listen() for client in clients])
    for _ in range(3):
        bench.tick()
        bench.receive(*[client.listen() for client in clients])
    signatures = list(packing.build.signatures)
    bench.now += 1.1
    began = time.perf_counter()
    bench.tick()
    took_s = time.perf_counter() - began
    assert bench.engine.num_sessions > FIRST_DATAGRAMS
    assert len(packing.build.signatures) == len(signatures), f"the tick took {took_s:.1f} s"


# --- random items


def random_items(rng: np.random.Generator, rows: np.ndarray[Any, Any], bodies: np.ndarray[Any, Any]) -> Items:
    """Make up items of some of these sessions: in order, as the engine orders them, and else as they like."""
    n = int(rng.integers(0, 60))
    session = rng.choice(rows, n)
    order = rng.choice(4, n)
    by_order = np.lexsort((order, session))
    session, order = session[by_order], order[by_order]
    is_log, is_page = order % 2 == 0, order == 3
    length = rng.choice([1, 30, 200, 700, 1050], n) * (~is_log | (rng.random(n) < 0.9))
    same = np.zeros(n, np.bool_)
    same[1:] = (session[1:] == session[:-1]) & (order[1:] == order[:-1])
    pages = rng.integers(0, 64, n)
    return Items(
        session=session,
        order=order,
        pointer=np.uint64(bodies.ctypes.data) + rng.choice([0, 1, 30, 230, 300], n).astype(np.uint64),
        length=length,
        linked=is_log & same & (rng.random(n) < 0.6),
        apart=is_page & same & (rng.random(n) < 0.1),
        first=rng.integers(1, 1000, n) * is_log,
        last=np.where(is_page, pages, rng.integers(1, 1000, n) * is_log),
        after=rng.integers(0, 1000, n) * is_log,
        index=rng.integers(0, 1000, n) * is_log,
    )


def test_random_items_and_plans_make_the_same_datagrams_and_records() -> None:
    bench, clients = game(12)
    twins: Twins = bench.engine  # type: ignore[assignment]
    rng = np.random.default_rng(7)
    bodies = rng.integers(0, 256, 4096).astype(np.uint8)
    rows = twins.columns.world.sessions.live

    def set_shape(engine: Engine) -> None:
        engine.world.rooms.table.num_pages[clients[0].room_row] = 16

    twins.each(set_shape)
    for _ in range(scaled(60, 4_000)):
        items = random_items(rng, rows, bodies)
        items.last[items.order == 3] %= 16
        allowed = np.zeros(twins.columns.world.sessions.table.rows, np.int64)
        allowed[rows] = rng.choice([0, 1, 2, 5, 40], len(rows))
        plan = Plan(allowed, rows[rng.random(len(rows)) < 0.3])
        gathered = Gathered(items, len(items), 0, [bodies])
        ours, theirs = (e._stages.build(gathered, plan, bench.now) for e in (twins.columns, twins.loops))
        assert list(ours[0].datagrams()) == list(theirs[0].datagrams())
        assert ours[1] == theirs[1]
        twins.compare("build")
        bench.now += 0.01
