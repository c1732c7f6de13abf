"""What players do by themselves, a little of everything and in any order."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from protocol.constants import Target
from tests.sim.lives import MIN_MESSAGE_BYTES, MIN_STATE_BYTES
from tests.sim.players import Player

if TYPE_CHECKING:
    from tests.sim.world import World


@dataclass(frozen=True, kw_only=True)
class Habits:
    """What players do by themselves: chances per client tick, unless said otherwise."""

    publish: float = 0.3
    """Per entity."""
    remove: float = 0.01
    """Per player: one of its entities."""
    message: float = 0.04
    big_message: float = 0.04
    """Share of messages that are 2 to 6 kB, in fragments."""
    signal: float = 0.10
    leave: float = 0.003
    crash: float = 0.2
    """Share of leaves without a BYE."""
    move: float = 0.003
    """Change the address."""
    absence_s: tuple[float, float] = (0.05, 2.0)
    """How long a player stays away before it joins again."""
    anchor: bool = True
    """Player 0 never leaves, so the room lives as long as the world."""


def act(world: "World", player: Player, habits: Habits) -> None:
    """Let a player do what it does in one of its ticks."""
    rng, number = world.rng, player.number
    for local_index in range(world.room.entities_per_player):
        if rng.random() < habits.publish:
            size = rng.choice((MIN_STATE_BYTES, world.room.max_state_bytes // 2, world.room.max_state_bytes))
            world.publish(number, local_index, max(MIN_STATE_BYTES, size))
    if rng.random() < habits.remove:
        local_index = rng.randrange(world.room.entities_per_player)
        world.remove(number, local_index)
        if rng.random() < 0.5:  # despawned and spawned within one tick
            world.publish(number, local_index, MIN_STATE_BYTES)
    if rng.random() < habits.message:
        big = rng.random() < habits.big_message
        size = rng.randint(2_000, 6_000) if big else rng.randint(MIN_MESSAGE_BYTES, 200)
        world.send_message(number, size, *random_target(world), kind=rng.randint(1, 111), channel=rng.randrange(4))
    if rng.random() < habits.signal:
        channel = rng.randrange(3)  # newest-first has a channel of its own, so has after_log
        size = rng.randint(1_100, 3_000) if rng.random() < 0.05 else rng.randint(MIN_MESSAGE_BYTES, 200)
        world.send_signal(
            number, size, *random_target(world), channel=channel, newest_first=channel == 1, after_log=channel == 2
        )
    if rng.random() < habits.move:
        world.move(number)
    if rng.random() < habits.leave and not (habits.anchor and number == 0):
        (world.crash if rng.random() < habits.crash else world.leave)(number)
        player.rejoin_at = world.now + rng.uniform(*habits.absence_s)
        if rng.random() < 0.5:
            world.move(number)


def random_target(world: "World") -> tuple[Target, tuple[int, ...]]:
    """Choose whom a message or signal is for among those who are in the room."""
    rng = world.rng
    target = rng.choice((Target.ALL, Target.ALL, Target.ALL_BUT, Target.ONE, Target.LIST))
    ids = [player.life.player_id for player in world.players if player.playing is not None and player.life is not None]
    if target == Target.ALL:
        return target, ()
    if target == Target.LIST:
        return target, tuple(rng.sample(ids, rng.randint(1, len(ids))))
    return target, (rng.choice(ids),)
