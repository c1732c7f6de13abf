"""Which pages are due and what their bodies say: the same as with columns."""

from random import Random

import pytest

pytest.importorskip("numba")

from relay.loops.stages import FIRST_BODY_BYTES, LoopStages
from tests.relay.bench import Bench, Client, section, states_section
from tests.relay.loops.twins import Twins, twin_bench


def game(
    num_players: int, entities: int, max_state_bytes: int, max_players: int = 8, **settings: int
) -> tuple[Bench, list[Client]]:
    """Build a bench with players in one room of this shape."""
    bench = twin_bench(datagrams_per_s=60_000, bytes_per_s=2**31, client_bytes_per_s=2**31, **settings)
    shape = {"max_players": max_players, "entities_per_player": entities, "max_state_bytes": max_state_bytes}
    return bench, bench.join_all(num_players, **shape)


def write(client: Client, states: dict[int, bytes]) -> list[tuple[bytes, bytes]]:
    """Build datagrams that write states by local index; empty removes."""
    return [client.data(client.state(state, local_index)) for local_index, state in states.items()]


def see(bench: Bench, *clients: Client) -> None:
    """Let these hear what there is, and acknowledge it."""
    bench.receive(*[client.listen() for client in clients])
    bench.flush()


def pages_of(client: Client) -> list[tuple[int, int]]:
    """Return (page, since) of all that a client was sent and had not heard."""
    return [(page.page, page.since) for update in client.hear() for page in update.pages]


def test_one_page_with_several_baselines_of_which_some_share_a_body() -> None:
    bench, clients = game(5, 2, 20)
    writer, *others = clients
    for number in range(30):
        if number % 3 != 2:  # every third tick nothing changes: two baselines, one body
            bench.receive(*write(writer, {0: b"%d" % number, 1: b"" if number % 5 == 0 else b"x" * (number % 20)}))
        bench.tick()
        see(bench, *[client for k, client in enumerate(others) if number % (k + 2) == 0])
    assert len({since for client in others for _, since in [page for u in client.updates for page in
               [(p.page, p.since) for p in u.pages]]}) > 5  # fmt: skip
    see(bench, *clients)
    for _ in range(5):
        bench.tick()
        see(bench, *clients)
    assert all(client.table == dict(bench.engine.room_table("ROOM")) for client in clients)


def test_removals_are_told_to_who_has_a_baseline_and_left_out_for_who_has_none() -> None:
    bench, [a, b] = game(2, 4, 20)
    bench.receive(*write(a, {0: b"0", 1: b"11", 2: b"222"}))
    bench.tick()
    see(bench, a, b)
    bench.receive(*write(a, {0: b"", 2: b""}))
    new = bench.join(max_players=8)
    bench.tick()
    removed = [page.removed for update in b.hear() for page in update.pages]
    assert removed == [(a.entity(0), a.entity(2))] or removed == [[a.entity(0), a.entity(2)]]
    heard = [page for update in new.hear() for page in update.pages]
    assert [(page.since, list(page.removed)) for page in heard] == [(0, [])]
    bench.receive(a.bye())
    for _ in range(3):
        bench.tick()
        see(bench, b, new)
    assert b.table == new.table == {}


@pytest.mark.parametrize("max_state_bytes", [1, 2, 7, 100, 254, 255])
def test_states_of_all_lengths_in_one_page(max_state_bytes: int) -> None:
    bench, clients = game(3, 16, max_state_bytes)
    rng = Random(max_state_bytes)
    for _ in range(25):
        for client in clients[:2]:
            sizes = (0, 1, max_state_bytes, rng.randint(0, max_state_bytes))
            states = {k: rng.randbytes(rng.choice(sizes)) for k in rng.sample(range(16), 6)}
            bench.receive(*write(client, states))
        bench.tick()
        see(bench, *rng.sample(clients, rng.randrange(4)))
    for _ in range(6):
        bench.tick()
        see(bench, *clients)
    assert clients[2].table == dict(bench.engine.room_table("ROOM"))


def test_a_room_of_more_than_64_pages_whose_blocks_stand_apart() -> None:
    """12 x 2 slots x 24 entities of 255 bytes are 144 pages of 4 ids: three blocks."""
    bench, clients = game(4, 24, 255, max_players=12)
    rooms = bench.engine.world.rooms.table
    assert rooms.num_pages[clients[0].room_row] == 144
    rng = Random("blocks")
    for _ in range(30):
        for client in clients[:3]:
            size = rng.choice((1, 3, 255))
            bench.receive(
                *write(client, {k: rng.randbytes(size) for k in rng.sample(range(24), rng.choice((1, 4, 24)))})
            )
        bench.tick()
        see(bench, *rng.sample(clients, rng.randrange(5)))
    blocks = [{page.page // 64 for page in update.pages} for client in clients for update in client.updates]
    assert max(map(len, blocks)) == 1
    assert set.union(*blocks) == {0, 1, 2}
    for _ in range(20):
        bench.tick()
        see(bench, *clients)
    assert clients[3].table == dict(bench.engine.room_table("ROOM"))


def test_the_most_entities_a_player_may_have() -> None:
    bench, clients = game(2, 256, 4, max_players=4)
    for start in range(0, 256, 32):
        ids_ = [clients[0].entity(k) for k in range(start, start + 32)]
        bench.receive(clients[0].data(states_section([(entity, b"%04d" % entity) for entity in ids_])))
        bench.tick()
        see(bench, *clients)
    for _ in range(12):
        bench.tick()
        see(bench, *clients)
    assert len(clients[1].table) == 256


def test_memory_for_bodies_grows_when_it_is_too_small() -> None:
    """Six rooms, each with more than 12 kB that everybody lacks."""
    bench = twin_bench(datagrams_per_s=60_000, bytes_per_s=2**31)
    clients = [bench.join(code=f"R{n}", max_players=2, entities_per_player=64, max_state_bytes=255) for n in range(6)]
    for local_index in range(64):
        bench.receive(*[client.data(client.state(bytes([n]) * 255, local_index)) for n, client in enumerate(clients)])
    twins: Twins = bench.engine  # type: ignore[assignment]
    stages = twins.loops._stages
    assert isinstance(stages, LoopStages)
    assert len(stages._gathering._bodies._bytes) == FIRST_BODY_BYTES
    bench.tick()
    assert len(stages._gathering._bodies._bytes) > FIRST_BODY_BYTES
    for _ in range(10):
        see(bench, *clients)
        bench.tick()


def test_pages_that_do_not_all_fit_go_round() -> None:
    bench = twin_bench(client_bytes_per_s=60_000, datagrams_per_s=60_000, bytes_per_s=2**31)
    clients = bench.join_all(3, max_players=8, entities_per_player=24, max_state_bytes=255)
    started = set()
    for number in range(40):
        for client in clients:
            bench.receive(*write(client, {k: bytes([number]) * 255 for k in range(24)}))
        bench.tick()
        see(bench, *clients)
        started.add(int(bench.engine.world.sessions.table.page_next[clients[0].row]))
    assert len(started) > 5


@pytest.mark.parametrize("num_ticks", [1, 2, 3, 7])
def test_ticks_left_out_and_slow_clients(num_ticks: int) -> None:
    bench, [a, b, c] = game(3, 4, 20)
    twins: Twins = bench.engine  # type: ignore[assignment]

    def slow_down(engine: object) -> None:
        table = engine.world.sessions.table  # type: ignore[attr-defined]
        table.tick_interval[[b.row, c.row]] = 2, 4

    before = twins.tick_number
    for number in range(20):
        twins.each(slow_down)
        bench.receive(*write(a, {number % 4: b"%d" % number}))
        bench.now += num_ticks / 30
        bench.keep(twins.tick(bench.now, num_ticks))
        see(bench, a, b, c)
    assert twins.tick_number - before == 20 * num_ticks
    assert bench.engine.world.sessions.table.tick_interval[[b.row, c.row]].tolist() == [2, 4]


@pytest.mark.parametrize("sample_ago_ms", [0, 1, 2, 3, 100, 509, 510, 511, 600, 999, 1001, -50])
def test_ages_of_states(sample_ago_ms: int) -> None:
    bench, [a, b] = game(2, 4, 20, tick_rate=29)
    bench.wait(3.0)
    for _ in range(4):
        clock = bench.engine.world.clock_ms(bench.now)
        bench.receive(a.data(a.state(b"x", 0, clock - sample_ago_ms), section(200, b"")))
        bench.tick()
        see(bench, b)
        assert b.table == {a.entity(): b"x"}
        bench.now += 0.013


def test_patience_grows_with_the_round_trip() -> None:
    bench, [a, b] = game(2, 4, 20)
    twins: Twins = bench.engine  # type: ignore[assignment]
    for rtt_s, var_s in ((0.0, 0.0), (1e-6, 0.0), (1 / 30, 0.0), (0.1, 0.02), (0.9, 0.5)):

        def set_rtt(engine: object, rtt_s: float = rtt_s, var_s: float = var_s) -> None:
            table = engine.world.sessions.table  # type: ignore[attr-defined]
            table.rtt_s[b.row], table.rtt_var_s[b.row] = rtt_s, var_s

        twins.each(set_rtt)
        bench.receive(*write(a, {0: b"%f" % rtt_s}))
        sent = 0
        for _ in range(45):
            bench.tick()
            bench.receive(a.listen())
            sent += len(pages_of(b))
        assert sent >= 1
