"""Special cases of the table that random seeds seldom meet."""

import pytest

from protocol import dtypes
from protocol.constants import DataSection, UpdateSection
from tests.sim.network import PERFECT, Conditions
from tests.sim.players import RoomShape
from tests.sim.raw import Desk, RawClient
from tests.sim.wiretap import walk_sections
from tests.sim.world import World


def carries(payload: bytes, section: DataSection) -> bool:
    return any(kind == section for kind, _, _ in walk_sections(payload, dtypes.DATA_HEADER.size))


def two_players(seed: object, conditions: Conditions = PERFECT) -> World:
    world = World(seed, conditions=conditions, num_players=2)
    world.join_all()
    return world


@pytest.mark.parametrize("seed", range(20))
def test_a_local_index_despawned_and_spawned_within_one_tick_lives_with_its_new_bytes(seed: int) -> None:
    world = two_players(seed, Conditions(loss=0.2, delay_s=(0.02, 0.1)))
    for _ in range(20):
        world.publish(0, 1, 24)
        world.run(world.rng.uniform(0.0, 0.2))
        world.remove(0, 1)
        world.publish(0, 1, 12)
        world.run(world.rng.uniform(0.0, 0.2))
    world.settle()
    assert len(world.engine.room_table(world.room.code)) == 1


@pytest.mark.parametrize("seed", range(10))
def test_the_last_data_before_silence_is_repeated_until_it_has_arrived(seed: int) -> None:
    world = two_players(seed)
    lost = []

    def lose_the_first_three(payload: bytes) -> bool:
        if carries(payload, DataSection.STATE) and len(lost) < 3:
            lost.append(payload)
            return True
        return False

    world.players[0].up.drop_if = lose_the_first_three
    world.publish(0, 0, 24)  # and then nothing any more
    world.settle(within_s=1.0)
    assert len(lost) == 3


def test_the_last_update_before_silence_is_repeated_until_it_has_arrived() -> None:
    world = two_players("down")
    world.run(1.0)
    lost = []

    def lose_the_first_three(payload: bytes) -> bool:
        if any(kind == UpdateSection.PAGE for kind, _, _ in walk_sections(payload, dtypes.UPDATE_HEADER.size)):
            lost.append(payload)
        return 0 < len(lost) <= 3

    world.players[1].down.drop_if = lose_the_first_three
    world.publish(0, 0, 24)
    world.settle(within_s=2.0)
    assert len(lost) >= 4


def test_an_entity_written_at_seq_100_and_next_at_40_100_takes_the_second_write() -> None:
    """40,000 is more than half of 16 bits: whoever compares the low bits of the two takes the newer for the older."""
    desk = Desk()
    client = RawClient(desk, 0).join()
    while client.seq < 99:
        client.say()
        desk.tick()
    client.say(client.state((0, b"written at 100")))
    assert list(client.entities().values()) == [b"written at 100"]
    while client.seq < 40_099:
        desk.offer([(client.data(), client.address) for _ in range(min(250, 40_099 - client.seq))])
        desk.wait(1.0)
        client.hear()
    client.say(client.state((0, b"written at 40100")))
    assert list(client.entities().values()) == [b"written at 40100"]


def test_a_state_in_a_late_datagram_does_not_undo_a_newer_one() -> None:
    desk = Desk()
    client = RawClient(desk, 0).join(entities_per_player=2)
    late = client.data(client.state((0, b"late"), (1, b"only")))
    client.say(client.state((0, b"new!")))
    desk.offer([(late, client.address)])
    assert sorted(client.entities().values()) == [b"new!", b"only"]


def test_a_removal_in_a_late_datagram_does_not_undo_a_newer_state() -> None:
    desk = Desk()
    client = RawClient(desk, 0).join()
    client.say(client.state((0, b"one")))
    late = client.data(client.state((0, b"")))
    client.say(client.state((0, b"two")))
    desk.offer([(late, client.address)])
    assert list(client.entities().values()) == [b"two"]


@pytest.mark.parametrize("moving", [False, True])
def test_a_room_of_64_players_with_32_entities_of_48_bytes_is_whole_within_3_s_at_10_percent_loss(
    moving: bool,
) -> None:
    world = World("crowd", conditions=PERFECT, num_players=64)
    world.room = RoomShape(max_players=64, entities_per_player=32, max_state_bytes=48)
    for player in world.players[:63]:
        world.join(player.number)
    world.run_until(lambda: all(player.playing is not None for player in world.players[:63]), within_s=5.0)
    for player in world.players[:63]:
        for local_index in range(32):
            world.publish(player.number, local_index, 48)
    world.run_until(lambda: len(world.engine.room_table(world.room.code)) == 63 * 32, within_s=5.0)
    world.run(1.0)
    world.set_conditions(Conditions(delay_s=(0.06, 0.06), jitter_s=0.0, loss=0.10), players=[63])
    world.join(63)

    def move_and_look() -> bool:
        for number in range(63) if moving else ():
            world.publish(number, 0, 48)
        connection = world.players[63].connection
        return world.players[63].playing is not None and connection is not None and len(connection.table) == 63 * 32

    took = world.run_until(move_and_look, within_s=3.0, step_s=1 / 30)
    print(f"whole after {took:.2f} s")
    world.settle()
    connection = world.players[63].connection
    assert connection is not None and dict(connection.table) == world.engine.room_table(world.room.code)


def test_a_room_in_which_nothing_changed_sends_nothing_but_keepalives() -> None:
    world = World("quiet", conditions=PERFECT, num_players=8)
    world.join_all()
    for player in world.players:
        world.publish(player.number, 0, 24)
        world.send_message(player.number)
    world.settle()
    world.run(2.0)
    sent: list[tuple[str, bytes]] = []
    world.on_upstream = lambda player, payload: sent.append(("up", payload))
    for player in world.players:
        player.down.drop_if = lambda payload: sent.append(("down", payload)) or False
    world.run(10.0)
    sizes = {(direction, len(payload)) for direction, payload in sent}
    assert sizes == {("up", dtypes.DATA_HEADER.size), ("down", dtypes.UPDATE_HEADER.size)}
    assert len(sent) <= 2 * 8 * (10 / world.config.keepalive_s + 1)
