"""Special cases of the log and of signals that random seeds seldom meet."""

from dataclasses import dataclass
from statistics import mean, quantiles

import pytest

from protocol import dtypes
from protocol.constants import DataSection, Kind, Target, UpdateSection
from protocol.drops import DropReason
from tests.sim.network import PERFECT, Conditions
from tests.sim.raw import Desk, RawClient
from tests.sim.scale import scaled
from tests.sim.wiretap import read_range, walk_sections
from tests.sim.world import World

LONG = 900
"""Bytes of a message that is not repeated in every datagram, so that a signal behind it travels alone."""
LOSSY_120_MS = Conditions(delay_s=(0.06, 0.06), jitter_s=0.0, loss=0.10)


def carries_message(payload: bytes) -> bool:
    return any(kind == DataSection.MESSAGE for kind, _, _ in walk_sections(payload, dtypes.DATA_HEADER.size))


def carries_entries(payload: bytes) -> bool:
    if payload[0] != Kind.UPDATE:
        return False
    sections = walk_sections(payload, dtypes.UPDATE_HEADER.size)
    return any(kind == UpdateSection.LOG_RANGE and list(read_range(payload[a:b])) for kind, a, b in sections)


@pytest.mark.parametrize("target", [Target.ALL, Target.ONE])
def test_a_signal_right_after_its_senders_own_message_does_not_overtake_it_when_that_is_lost_on_the_way_up(
    target: Target,
) -> None:
    world = World("lost up", conditions=PERFECT, num_players=3, gather_s=0.0)
    world.join_all()
    world.run(1.0)
    receiver = world.players[1].life
    assert receiver is not None
    world.players[0].up.drop_if = carries_message
    message = world.send_message(0, LONG, target, () if target == Target.ALL else (receiver.player_id,))
    world.run(0.034)
    signal = world.send_signal(0, after_log=True)
    world.run(0.3)
    assert message is not None and signal is not None and not receiver.signals_handed
    world.players[0].up.drop_if = None
    world.settle(within_s=3.0)
    assert receiver.handed_at[message.uid] <= receiver.signals_handed[signal.uid]


def test_a_signal_right_after_its_senders_own_message_does_not_overtake_it_when_that_is_lost_on_the_way_down() -> None:
    world = World("lost down", conditions=PERFECT, num_players=3, gather_s=0.0)
    world.join_all()
    world.run(1.0)
    receiver = world.players[1].life
    world.players[1].down.drop_if = carries_entries
    message = world.send_message(0, LONG)
    world.run(0.034)
    signal, voice = world.send_signal(0, after_log=True), world.send_signal(0, channel=1)
    world.run(0.3)
    assert message is not None and signal is not None and voice is not None and receiver is not None
    assert list(receiver.signals_handed) == [voice.uid]
    world.players[1].down.drop_if = None
    world.settle(within_s=3.0)
    assert receiver.handed_at[message.uid] <= receiver.signals_handed[signal.uid]


def test_a_signal_waits_for_a_message_that_its_receiver_may_not_see() -> None:
    """The position is an index that is hidden from the receiver: an empty range must carry its cursor there."""
    world = World("hidden", conditions=PERFECT, num_players=3)
    world.join_all()
    world.run(1.0)
    other = world.players[2].life
    assert other is not None
    world.send_message(0, 32, Target.ONE, (other.player_id,))
    signal = world.send_signal(0, after_log=True)
    world.run(0.2)
    life = world.players[1].life
    assert life is not None and signal is not None and signal.uid in life.signals_handed
    world.settle()


@pytest.mark.parametrize("seed", range(10))
def test_private_entries_in_a_receivers_gap_are_neither_sent_to_it_nor_in_its_way(seed: int) -> None:
    world = World(seed, conditions=PERFECT, num_players=4)
    world.join_all()
    world.run(1.0)
    watcher, friend = world.players[3], world.players[2].life
    assert friend is not None
    for _ in range(30):
        watcher.down.blocked = world.rng.random() < 0.5
        for _ in range(world.rng.randint(1, 5)):
            private = world.rng.random() < 0.6
            target = (Target.ONE, (friend.player_id,)) if private else (Target.ALL, ())
            world.send_message(world.rng.randrange(2), world.rng.choice((10, 200, 1500)), *target)
        world.run(world.rng.uniform(0.0, 0.2))
    watcher.down.blocked = False
    world.settle()
    connection = watcher.connection
    assert connection is not None and watcher.life is not None
    assert len(watcher.life.handed_at) == sum(m.target == Target.ALL for m in world.witness.messages.values())


def test_a_log_that_ends_with_entries_hidden_from_a_receiver_lets_it_come_to_rest() -> None:
    world = World("tail", conditions=PERFECT, num_players=3)
    world.join_all()
    friend = world.players[1].life
    assert friend is not None
    for _ in range(300):  # more than the window of 256
        world.send_message(0, 8, Target.ONE, (friend.player_id,))
        world.run(0.02)
    world.settle()
    world.send_message(0, 8)
    world.settle(within_s=2.0)


@dataclass
class Chat:
    """Four seconds in which player 1 says something every 100 ms, and player 0 sends 100 kB or does not."""

    waits: list[float]
    """Seconds until player 2 had each of player 1's messages."""
    bytes_up: int
    """What player 0 sent."""
    bytes_down: int
    """What the server sent to player 2."""
    took_s: float = 0.0
    """Seconds until player 2 had the 100 kB."""


def chat(seed: int, conditions: Conditions, big: bool) -> Chat:
    world = World(f"100 kB {seed}", conditions=conditions, num_players=3, gather_s=0.004)
    world.join_all()
    world.run(3.0)
    sender, receiver = world.players[0], world.players[2]
    up, down, began = sender.bytes_up, receiver.bytes_down, world.now - world.started_at
    large = world.send_message(0, 100_000) if big else None
    small = []
    for _ in range(40):
        small.append(world.send_message(1, 40))
        world.run(0.1)
    up, down = sender.bytes_up - up, receiver.bytes_down - down
    world.settle()
    assert receiver.life is not None
    handed = receiver.life.handed_at
    waits = [handed[message.uid] - message.queued_at for message in small if message is not None]
    return Chat(waits, up, down, handed[large.uid] - began if large is not None else 0.0)


@pytest.mark.parametrize("seed", range(scaled(2, 40)))
def test_100_kb_as_one_message_cost_at_most_1_3_times_their_bytes_each_way(seed: int) -> None:
    busy, calm = chat(seed, LOSSY_120_MS, big=True), chat(seed, LOSSY_120_MS, big=False)
    up, down = (busy.bytes_up - calm.bytes_up) / 100_000, (busy.bytes_down - calm.bytes_down) / 100_000
    print(f"{up:.3f} times up, {down:.3f} times down, there after {busy.took_s:.2f} s")
    assert up <= 1.3
    assert down <= 1.3


def test_100_kb_as_one_message_hold_others_messages_up_by_at_most_100_ms() -> None:
    """Looks at the messages of the time in which the 100 kB are on their way, 3 s, where they could be held up."""
    with_big: list[float] = []
    without: list[float] = []
    for seed in range(scaled(8, 40)):
        with_big += chat(seed, LOSSY_120_MS, big=True).waits[:30]
        without += chat(seed, LOSSY_120_MS, big=False).waits[:30]
    text = "others wait (mean, 95 %, most): "
    for waits in (without, with_big):
        text += f"{mean(waits) * 1000:.0f}, {quantiles(waits, n=20)[-1] * 1000:.0f}, {max(waits) * 1000:.0f} ms; "
    print(text)
    assert mean(with_big) - mean(without) <= 0.1
    assert quantiles(with_big, n=20)[-1] - quantiles(without, n=20)[-1] <= 0.1
    assert max(with_big) - max(without) <= 0.1


def test_a_message_of_1_mib_arrives_whole() -> None:
    world = World("1 MiB", conditions=PERFECT, num_players=2)
    world.join_all()
    message = world.send_message(0, 1 << 20)
    assert message is not None
    world.run_until(
        lambda: all(message.uid in life.handed_at for life in world.witness.lives), within_s=60.0, step_s=0.5
    )
    world.settle()


def test_an_unfinished_message_of_a_player_who_left_is_thrown_away() -> None:
    world = World("torn", conditions=PERFECT, num_players=2)
    world.join_all()
    torn = world.send_message(0, 200_000)
    world.run(0.3)
    world.send_message(1, 10)
    world.leave(0)
    world.run(0.5)
    world.join(0)
    world.run(0.5)
    whole = world.send_message(0, 3_000)
    world.settle()
    receiver = world.players[1].life
    assert torn is not None and whole is not None and receiver is not None
    assert torn.uid not in receiver.handed_at and whole.uid in receiver.handed_at


def test_who_joins_while_a_large_message_is_on_its_way_sees_nothing_of_it() -> None:
    world = World("later", conditions=PERFECT, num_players=3)
    world.join(0)
    world.run(0.5)
    world.join(1)
    world.run(0.5)
    message = world.send_message(0, 100_000)
    world.run(0.2)
    world.join(2)
    world.settle()
    assert message is not None
    assert message.uid in world.witness.lives[1].handed_at
    assert message.uid not in world.witness.lives[2].handed_at


def test_signals_behind_messages_that_may_not_be_sent_yet_wait_for_them_and_none_is_lost() -> None:
    world = World("backlog", conditions=PERFECT, num_players=2)
    world.join_all()
    world.run(1.0)
    receiver = world.players[1].life
    world.send_message(0, 60_000)  # as much as the log takes of one player
    pairs = []
    for _ in range(30):
        pairs.append((world.send_message(0, LONG), world.send_signal(0, after_log=True)))
        world.run(1 / 60)
    world.settle(within_s=5.0)
    assert receiver is not None
    assert world.engine.stats.dropped[DropReason.SIGNAL_LATE] == 0
    for message, signal in pairs:
        assert message is not None and signal is not None
        assert receiver.handed_at[message.uid] <= receiver.signals_handed[signal.uid]


def test_a_signal_whose_message_never_comes_is_dropped_after_a_second() -> None:
    desk = Desk()
    sender, receiver = (RawClient(desk, n).join() for n in range(2))
    sender.say(sender.signal(b"orphan", flags=2, after_message=1))
    desk.wait(2.0)
    receiver.hear()
    assert not [s for update in receiver.updates for s in update.sections if s.type == UpdateSection.SIGNAL]
