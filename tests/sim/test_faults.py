"""The proofs can fail: every planted fault is found within 20 seeds, and without one nothing is."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

import pytest

from relay import presence
from relay.membership import REST_S
from relay.stages import TOO_SLOW_S
from tests.sim import faults
from tests.sim import lasting_faults as lasting
from tests.sim.habits import Habits, LastingHabits
from tests.sim.invariants import InvariantBroken
from tests.sim.network import STANDARD, Conditions
from tests.sim.players import LASTING_ROOM, Player, RoomShape
from tests.sim.scale import scaled
from tests.sim.world import LASTING_CONFIG, World

NUM_SEEDS = 20
SECONDS = 6.0
SETTLE_S = 12.0
BUSY = LastingHabits(
    leave=0.003,
    lose_connection=0.004,
    crash_and_resume=0.004,
    intrude=0.01,
    set_property=0.1,
    message=0.06,
    big_message=0.3,
    keep=0.3,
    hand_over_host=0.003,
    lock=0.01,
)
"""A game in which much happens in a few seconds."""


def standard_game(seed: int) -> None:
    """Eight players under the standard condition, a little busier than they usually are."""
    world = World(f"fault {seed}", conditions=STANDARD)
    world.join_all()
    world.autopilot = Habits(leave=0.006, big_message=0.15, remove=0.05)
    world.run(SECONDS)
    world.settle(SETTLE_S)


def crowded_game(seed: int) -> None:
    """A room for four in which somebody is always leaving and coming, so that player ids are scarce."""
    world = World(f"fault {seed}", num_players=4, conditions=STANDARD, room=RoomShape(max_players=4))
    world.join_all()
    world.autopilot = Habits(leave=0.06, crash=0.0, absence_s=(0.0, 0.1), remove=0.0)
    world.run(SECONDS)
    world.settle(REST_S + SETTLE_S)  # player ids may have to rest


def game_among_strangers(seed: int) -> None:
    """Strangers overhear the players and send everything again: at once, and seconds later."""
    world = World(f"fault {seed}", num_players=4, conditions=Conditions(loss=0.05, duplication=0.05))

    def replay(player: Player, payload: bytes) -> None:
        world.send_raw(world.stranger(), payload, delay_s=world.rng.uniform(0.0, 0.2))
        world.send_raw(player.address, payload, delay_s=world.rng.uniform(2.2, 5.0))

    world.on_upstream = replay
    world.join_all(within_s=30.0)
    world.autopilot = Habits(leave=0.006)
    world.run(SECONDS)
    world.on_upstream = None
    world.settle(SETTLE_S)


def game_with_a_frozen_player(seed: int) -> None:
    """One player reads nothing for three seconds while another says more than its credit."""
    world = World(f"fault {seed}", num_players=3)
    world.join_all()
    world.freeze(2, 3.0)
    for _ in range(300):
        world.send_message(0, 1000)
    world.run(3.0)
    world.settle(SETTLE_S)


def game_with_many_entities(seed: int) -> None:
    """Each player has more entities than two datagrams carry, so a datagram does not repeat all that the last one said.

    An ack is there before an entity's turn has come again.
    """
    world = World(f"fault {seed}", num_players=3, conditions=Conditions(delay_s=(0.005, 0.02), jitter_s=0.0, loss=0.1))
    world.room = RoomShape(max_players=3, entities_per_player=24, max_state_bytes=200)
    world.join_all()
    for _ in range(6):
        for local_index in range(24):
            for number in range(3):
                world.publish(number, local_index, 200)
        world.run(0.7)
    world.settle(SETTLE_S)


def lasting_game(seed: int) -> None:
    """Eight players who lose their connections and crash, in a room that keeps things for them."""
    world = World(f"fault {seed}", conditions=STANDARD, config=LASTING_CONFIG, room=LASTING_ROOM)
    world.join_all()
    world.autopilot = BUSY
    world.run(SECONDS)
    world.settle(within_s=30.0)


def game_of_machines(seed: int) -> None:
    """Pairs of players who share a machine, and a host who bans one of them, its neighbour too, and comes and goes."""
    room = RoomShape(num_identities=2, max_players=4)
    world = World(f"fault {seed}", conditions=STANDARD, num_players=4, config=LASTING_CONFIG, room=room)
    world.join_all()
    world.ban(0, 1 + seed % 3)
    world.run(1.5)
    world.crash_and_resume(3)
    world.crash_and_resume(2)
    world.crash_and_resume(0)
    world.run(1.5)
    world.settle(within_s=30.0)


def game_of_neighbours(seed: int) -> None:
    """Two players at one address, one of whom is banned together with the address while the other comes back."""
    room = RoomShape(num_identities=4, max_players=4)
    world = World(f"fault {seed}", conditions=STANDARD, num_players=4, config=LASTING_CONFIG, room=room)
    world.move_beside(2, 1)
    world.join_all()
    world.ban(0, 1, address=True)
    world.run(1.5)
    world.crash_and_resume(2)
    world.lose_connection(3, 3.0)
    world.run(1.5)
    world.settle(within_s=30.0)


def game_of_slow_disks(seed: int) -> None:
    """Players load scenes for longer than a slow reader is waited for, and go on in the same session."""
    config = replace(LASTING_CONFIG, grace_s=20.0)
    world = World(f"fault {seed}", conditions=STANDARD, num_players=3, config=config, room=LASTING_ROOM)
    world.join_all()
    world.autopilot = LastingHabits(leave=0.0, lose_connection=0.0, crash_and_resume=0.0, kick=0.0, ban=0.0)
    world.freeze(1 + seed % 2, TOO_SLOW_S + 2.0)
    world.run(TOO_SLOW_S + 4.0)
    world.settle(within_s=30.0)


def game_of_a_lost_welcome(seed: int) -> None:
    """The line is cut again just when a player was welcomed back, and the room talks on until its log is given up."""
    config = replace(LASTING_CONFIG, grace_s=20.0)
    world = World(f"fault {seed}", conditions=STANDARD, num_players=3, config=config, room=LASTING_ROOM)
    world.join_all()
    world.settle()
    lost, counts = world.players[2], world.engine.stats.counters
    world.lose_connection(2, 3.0)
    world.run(2.9)
    assert lost.connection is not None
    world.run_until(lambda: lost.connection is None or lost.connection._handshake.has_sent_join, 15.0, 0.005)
    lost.down.blocked = True
    world.run_until(lambda: counts["resumes"] > 0, within_s=5.0, step_s=0.005)
    world.lose_connection(2, 6.0)
    with faults.patched(presence, "AWAY_ENTRIES", lambda original: 20):
        for _ in range(60):
            world.send_message(0)
            world.run(0.1)
    assert counts["away_logs_given_up"] == 1
    world.settle(within_s=40.0)


def game_of_hosts(seed: int) -> None:
    """The host is lost, kicked out of its role and leaves; what is the host's stays in the table."""
    world = World(f"fault {seed}", conditions=STANDARD, num_players=4, config=LASTING_CONFIG, room=LASTING_ROOM)
    world.join_all()
    for local_index in range(2):
        world.publish(0, local_index)
    world.settle(within_s=30.0)
    given = [0, 2 * world.room.max_players]
    for entity_id in given:
        world.give_entity(0, entity_id, None)
    world.run(1.0)
    table = world.engine.room_table(world.room.code)
    world.lose_connection(0, 3.0)
    world.run(7.0)
    world.leave(world.host() or 0)
    world.settle(within_s=30.0)
    if world.engine.room_table(world.room.code) != table:
        world.witness.broken(f"the host's entities {given} are not what they were: {table}")


def game_of_keepers(seed: int) -> None:
    """More messages are to be kept than a room keeps; some are cleared, also by a host who came later."""
    world = World(f"fault {seed}", conditions=STANDARD, num_players=3, config=LASTING_CONFIG, room=LASTING_ROOM)
    world.join_all()
    for number in range(68):
        world.send_message(number % 2, 1_000, keep=True, outlives_sender=number % 4 > 1)
        world.run(0.05)
    world.leave(2)
    world.run(1.0)
    world.join(2)
    world.run_until(lambda: world.players[2].playing is not None, within_s=10.0)
    world.clear_kept(0, min(world.players[0].life.kept))  # type: ignore[union-attr]
    world.hand_over_host(0, 2)
    world.run_until(lambda: world.host() == 2, within_s=5.0)
    world.clear_kept(2, max(world.players[2].life.kept))  # type: ignore[union-attr]
    world.leave(1)
    world.settle(within_s=30.0)
    if world.engine.stats.counters["requests_clear_kept"] != 2:
        world.witness.broken("not all requests to clear were read")


def game_of_given_entities(seed: int) -> None:
    """The host is away while another is host and plays on with what is the host's; then it is given that again."""
    world = World(f"fault {seed}", conditions=STANDARD, num_players=4, config=LASTING_CONFIG, room=LASTING_ROOM)
    world.join_all()
    entity_id = world.room.max_players * 2  # local index 1 of player id 0
    world.publish_entity(0, entity_id)
    world.give_entity(0, entity_id, None)
    world.run(world.rng.uniform(0.5, 1.0))
    world.publish_entity(0, entity_id)
    world.lose_connection(0, 4.0)
    world.run(3.0)
    others = range(1, 4)  # one of them is host, and only that one may
    for _ in range(10):
        for number in others:
            world.publish_entity(number, entity_id)
        world.run(0.05)
    for number in others:
        world.give_entity(number, entity_id, 0)
    world.autopilot = replace(BUSY, give_entity=0.03, publish_given=0.5)
    world.run(3.0)
    world.settle(within_s=30.0)


GAMES = (standard_game, crowded_game, game_among_strangers, game_with_a_frozen_player, game_with_many_entities)
LASTING_GAMES = (
    lasting_game,
    game_of_machines,
    game_of_neighbours,
    game_of_slow_disks,
    game_of_a_lost_welcome,
    game_of_hosts,
    game_of_keepers,
    game_of_given_entities,
)
OF_ALL_FAULTS: list[tuple[Callable[[], AbstractContextManager[None]], Callable[[int], None]]] = [
    (faults.duplicate_check_off, standard_game),
    (faults.ack_bit_off_by_one, standard_game),
    (faults.ack_bit_of_the_server_off_by_one, game_with_many_entities),
    (faults.wrong_baseline, standard_game),
    (faults.removal_forgotten, standard_game),
    (faults.target_of_messages_ignored, standard_game),
    (faults.target_of_signals_ignored, standard_game),
    (faults.cursor_skips_one, standard_game),
    (faults.upstream_repeat_off, standard_game),
    (faults.credit_cap_ignored, game_with_a_frozen_player),
    (faults.replay_window_too_wide, game_among_strangers),
    (faults.cookie_unchecked, game_among_strangers),
    (faults.path_proof_unneeded, game_among_strangers),
    (faults.nonce_forgotten, standard_game),
    (faults.fragment_lost, standard_game),
    (faults.signal_position_ignored, standard_game),
    (faults.signal_does_not_wait_at_the_server, standard_game),
    (faults.player_id_reused_at_once, crowded_game),
    (faults.message_ack_one_too_high, standard_game),
    (faults.late_state_wins, standard_game),
    (faults.late_joiner_sees_the_rest_of_a_message, standard_game),
    (faults.fragments_hold_nobody_up, standard_game),
    (faults.leaver_stays_in_the_table, standard_game),
    (faults.says_nothing_received, standard_game),
    (lasting.resume_proof_unchecked, lasting_game),
    (lasting.former_secret_good_for_ever, lasting_game),
    (lasting.resume_takes_a_second_seat, lasting_game),
    (lasting.resume_forgets_accepted_messages, lasting_game),
    (lasting.resume_drops_what_was_missed, lasting_game),
    (lasting.resume_hides_the_rest_of_a_message, lasting_game),
    (lasting.return_afresh_is_not_told, lasting_game),
    (lasting.sequence_numbers_not_begun_anew, lasting_game),
    (lasting.client_repeats_acknowledged_messages, lasting_game),
    (lasting.ban_ignored, game_of_machines),
    (lasting.ban_ignored_on_resume, game_of_machines),
    (lasting.ban_spares_the_others_of_its_machine, game_of_machines),
    (lasting.neighbours_of_who_is_banned_lose_their_places, game_of_neighbours),
    (lasting.condition_ignored, lasting_game),
    (lasting.version_not_updated, lasting_game),
    (lasting.property_of_who_left_stays, lasting_game),
    (lasting.removed_property_is_set, lasting_game),
    (lasting.host_that_is_away_stays_host, lasting_game),
    (lasting.host_is_told_late, lasting_game),
    (lasting.entities_of_the_host_leave_with_it, game_of_hosts),
    (lasting.states_count_before_their_sender_knows, game_of_given_entities),
    (lasting.lock_is_only_told, lasting_game),
    (lasting.kept_messages_not_told, lasting_game),
    (lasting.kept_messages_told_twice, lasting_game),
    (lasting.kept_messages_outlive_everybody, lasting_game),
    (lasting.copies_have_a_number_of_their_own, lasting_game),
    (lasting.clearing_is_not_told, game_of_keepers),
    (lasting.keeping_is_decided_too_late, game_of_keepers),
    (lasting.nobody_is_away, lasting_game),
    (lasting.what_was_not_read_while_away_counts, game_of_slow_disks),
    (lasting.lost_welcome_comes_again_unchanged, game_of_a_lost_welcome),
]


def first_seed_that_finds(fault: AbstractContextManager[None], game: Callable[[int], None], seeds: range) -> int | None:
    with fault:
        for seed in seeds:
            try:
                game(seed)
            except InvariantBroken:
                return seed
    return None


@pytest.mark.parametrize(("fault", "game"), OF_ALL_FAULTS, ids=lambda value: value.__name__)
def test_a_planted_fault_is_found_within_20_seeds(
    fault: Callable[[], AbstractContextManager[None]], game: Callable[[int], None]
) -> None:
    assert first_seed_that_finds(fault(), game, range(NUM_SEEDS)) is not None


@pytest.mark.parametrize("game", GAMES + LASTING_GAMES, ids=lambda value: value.__name__)
def test_the_same_games_find_nothing_where_no_fault_is_planted(game: Callable[[int], None]) -> None:
    assert first_seed_that_finds(nullcontext(), game, range(scaled(3, 20))) is None
