"""What players do by themselves, a little of everything and in any order."""

from dataclasses import dataclass, replace
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


@dataclass(frozen=True, kw_only=True)
class LastingHabits(Habits):
    """What players do in rooms that last. Chances per player and client tick, unless said otherwise."""

    lose_connection: float = 0.002
    lost_s: tuple[float, float] = (0.5, 6.0)
    """How long nothing passes then. Longer than the timeout, shorter than timeout and grace together."""
    crash_and_resume: float = 0.002
    down_s: tuple[float, float] = (0.0, 5.0)
    """How long its process is down then."""
    intrude: float = 0.001
    """A stranger tries to take its place."""
    set_property: float = 0.02
    """Half of them with a condition, of few keys, so that several change one version."""
    give_entity: float = 0.004
    publish_given: float = 0.1
    """Per entity that was handed over."""
    keep: float = 0.1
    """Share of small messages to all that are kept."""
    clear_kept: float = 0.002
    hand_over_host: float = 0.006
    """As host, like the rest."""
    kick: float = 0.002
    ban: float = 0.002
    lock: float = 0.002
    locked_s: float = 1.0


LASTING = LastingHabits(leave=0.001, move=0.002)
"""A little of everything."""
KEYS = ("map", "score", "turn")


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
    if isinstance(habits, LastingHabits) and player.playing is not None:
        act_in_a_lasting_room(world, player, habits)


def act_in_a_lasting_room(world: "World", player: Player, habits: LastingHabits) -> None:
    """Let a player do what makes rooms last, and what only such rooms have."""
    rng, number = world.rng, player.number
    act_on_belongings(world, player, habits)
    connection = player.connection
    if connection is not None and connection.host == connection.player_id:
        act_as_host(world, player, habits)
    if rng.random() < habits.intrude and connection is not None:
        intrude(world, player)
    if rng.random() < habits.lose_connection and connection is not None and connection.is_whole:
        world.lose_connection(number, rng.uniform(*habits.lost_s))
    if rng.random() < habits.crash_and_resume:
        world.crash_and_resume(number, rng.uniform(*habits.down_s))
        if rng.random() < 0.5:
            world.move(number)


def act_on_belongings(world: "World", player: Player, habits: LastingHabits) -> None:
    """Properties, entities handed over, kept messages."""
    rng, number = world.rng, player.number
    if rng.random() < habits.set_property:
        owner = rng.choice((None, None, number, rng.randrange(len(world.players))))
        world.set_property(number, rng.choice(KEYS), owner, is_conditional=rng.random() < 0.5)
        if rng.random() < 0.1:
            world.remove_property(number, rng.choice(KEYS))
    if rng.random() < habits.give_entity and player.life is not None:
        slots = player.life.player_slots
        entity_id = rng.randrange(world.room.entities_per_player) * slots + player.life.player_id
        given = [*sorted(world.witness.handed_over), entity_id, entity_id]
        world.give_entity(number, rng.choice(given), rng.choice((None, rng.randrange(len(world.players)))))
    for entity_id in sorted(world.witness.handed_over):
        if rng.random() < habits.publish_given:
            world.publish_entity(number, entity_id, MIN_STATE_BYTES)
        elif rng.random() < habits.remove:
            world.remove_entity(number, entity_id)
    if rng.random() < habits.message * habits.keep:
        world.send_message(number, rng.randint(MIN_MESSAGE_BYTES, 200), keep=True, outlives_sender=rng.random() < 0.5)
    if rng.random() < habits.clear_kept and player.life is not None:
        kept, messages, connection = sorted(player.life.kept.items()), world.witness.messages, player.connection
        is_host = connection is not None and connection.host == connection.player_id
        own = [index for index, uid in kept if is_host or messages[uid].life is player.life]
        if kept:
            world.clear_kept(number, rng.choice(own or [index for index, _ in kept]))


def act_as_host(world: "World", player: Player, habits: LastingHabits) -> None:
    """What only the host may do. Player 0 is not removed if it is to stay."""
    rng, number = world.rng, player.number
    other = rng.randrange(int(habits.anchor), len(world.players))
    if rng.random() < habits.hand_over_host:
        world.hand_over_host(number, other)
    if rng.random() < habits.kick and other != number:
        world.kick(number, other)
    if rng.random() < habits.ban and other != number:
        world.ban(number, other)
    if rng.random() < habits.lock:
        world.lock(number)
        world.call_at(world.now + habits.locked_s, open_again, world)


def open_again(world: "World") -> None:
    """Let whoever is host open the room, again and again until it is open."""
    if any(
        player.connection is not None and player.playing and player.connection.is_locked for player in world.players
    ):
        host = world.host()
        if host is not None:
            world.lock(host, False)
        world.call_at(world.now + 1.0, open_again, world)


def intrude(world: "World", player: Player) -> None:
    """Let a stranger try to take a player's place: with an old token, or knowing only the session's number."""
    assert player.connection is not None
    token, sessions = player.connection.resume_token(), world.witness.tap.sessions
    newest = sessions[token.session]
    old = [old for old in player.old_tokens if sessions[old.session].seat is newest.seat]
    if old and newest.has_spoken and world.rng.random() < 0.5:
        world.intrude(old[-1])
    else:
        world.intrude(replace(token, secret=world.rng.randbytes(16)))


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
