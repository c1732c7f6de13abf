"""What is due of log, signals and pages, in its order: the same as with columns."""

from random import Random
from typing import Any

import pytest

pytest.importorskip("numba")

from protocol.constants import LOG_WINDOW, Target
from relay.delivery import FRAGMENTS_PER_S, REPEAT_BYTES
from relay.loops.stages import FIRST_ITEMS
from relay.pacing import MAX_FLIGHT_DATAGRAMS, RESERVED_DATAGRAMS
from tests.relay.bench import TICK, Bench, Client
from tests.relay.loops.twins import twin_bench

OPEN = {"datagrams_per_s": 60_000, "bytes_per_s": 2**31, "messages_per_s": 60_000, "signals_per_s": 60_000}
AFTER_LOG = 2


def game(num_players: int, **settings: Any) -> tuple[Bench, list[Client]]:
    """Build a bench with players in one room."""
    bench = twin_bench(**(OPEN | settings))
    return bench, bench.join_all(num_players, max_players=16, entities_per_player=2, max_state_bytes=20)


def go_on(bench: Bench, clients: list[Client], rounds: int = 10) -> None:
    """Let everybody hear and acknowledge."""
    for _ in range(rounds):
        bench.receive(*[client.listen() for client in clients])
        bench.flush()
        bench.tick()


@pytest.mark.parametrize("size", [0, REPEAT_BYTES - 60, REPEAT_BYTES + 60])
def test_what_is_not_acknowledged_is_sent_again_in_the_same_ticks(size: int) -> None:
    bench, clients = game(2)
    bench.receive(clients[0].data(clients[0].message(bytes(size))))
    bench.flush()
    for _ in range(30):
        bench.tick()
    go_on(bench, clients)
    assert all(len(client.messages) == 1 for client in clients)


def test_fragments_go_a_few_a_tick_and_behind_signals() -> None:
    bench, clients = game(3)
    a, b, _ = clients
    per_tick = round(FRAGMENTS_PER_S * TICK)
    bench.receive(*[a.data(a.message(bytes(700), more=1)) for _ in range(3 * per_tick)], b.data(b.message(b"whole")))
    bench.receive(b.data(b.signal(b"now"), b.signal(b"then", flags=AFTER_LOG, after_message=1), b.state(b"s")))
    for _ in range(6):
        bench.tick()
    go_on(bench, clients)
    bench.receive(a.data(a.message(b"end")))
    go_on(bench, clients)
    assert all(len(client.entries) > 3 * per_tick for client in clients)


def test_a_signal_reaches_its_position_over_entries_that_its_receiver_may_not_see() -> None:
    bench, clients = game(3)
    a, _, c = clients
    for n in range(5):
        bench.receive(a.data(*[a.message(b"for b", Target.ONE, (1,)) for _ in range(n)]))
        bench.receive(a.data(a.signal(b"after", flags=AFTER_LOG, after_message=a.message_id)))
        bench.flush()
        bench.tick(n)
    assert len(c.hear()) >= 4 and len(c.signals) == 5
    go_on(bench, clients)


def test_more_than_a_window_of_entries_and_more_items_than_there_was_room_for() -> None:
    bench, clients = game(3, client_bytes_per_s=2**31)
    a, b, _ = clients
    for _ in range(LOG_WINDOW // 20):
        bench.receive(a.data(*[a.message(b"") for _ in range(12)]), b.data(*[b.message(b"") for _ in range(12)]))
        bench.receive(clients[2].listen())
        bench.tick()
    go_on(bench, clients, 30)
    assert len(bench.engine.loops._stages._gathering._items.session) > FIRST_ITEMS  # type: ignore[attr-defined]
    assert len({len(client.messages) for client in clients}) == 1


def test_signals_wait_for_the_tick_where_nothing_may_go_and_are_shed_beyond_half() -> None:
    bench, clients = game(3)
    a, b, c = clients
    for _ in range(MAX_FLIGHT_DATAGRAMS - RESERVED_DATAGRAMS + 5):
        bench.receive(a.data(a.signal(b"x"), a.signal(b"y", Target.ONE, (1,))), c.listen())
        bench.flush()
    bench.receive(b.bye())  # what is queued for it is for nobody
    bench.receive(*[a.data(a.signal(bytes(1000))) for _ in range(60)])
    bench.tick()
    assert bench.counted("signals_shed") > 0
    go_on(bench, [a, c])


def test_anything_for_anybody_with_losses() -> None:
    rng = Random(7)
    bench, clients = game(6, client_bytes_per_s=60_000)
    for _ in range(150):
        said = []
        for client in clients:
            players = tuple(rng.sample(range(8), rng.randrange(1, 4)))
            target = rng.choice([Target.ALL, Target.LIST])
            named = players if target == Target.LIST else ()
            more = {"more": 1} if rng.random() < 0.1 else {}
            sections = []
            if rng.random() < 0.4 and client.updates and credit(client) > 0:
                sections.append(client.message(rng.randbytes(rng.randrange(1, 300)), target, named, **more))
            if rng.random() < 0.6:
                after = {"flags": AFTER_LOG, "after_message": client.message_id & 0xFFFF}
                sections.append(
                    client.signal(rng.randbytes(40), target, named, **(after if rng.random() < 0.5 else {}))
                )
            if rng.random() < 0.7:
                bench.take(client.address)  # lost
            said.append(client.data(*client.log_bits(), *sections))
            client.hear()
        bench.receive(*said)
        bench.flush()
        if rng.random() < 0.6:
            bench.tick(rng.randrange(1, 3))
    go_on(bench, clients, 40)
    assert all(client.messages and client.signals for client in clients)


def credit(client: Client) -> int:
    """Tell how many messages a client may send, as it was told last."""
    return (client.updates[-1].header.message_credit - client.message_id) & 0xFFFF
