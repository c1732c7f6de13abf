"""The proofs can fail: every planted fault is found within 20 seeds, and without one nothing is."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import pytest

from tests.sim import faults
from tests.sim.habits import Habits
from tests.sim.invariants import InvariantBroken
from tests.sim.network import STANDARD, Conditions
from tests.sim.players import Player, RoomShape
from tests.sim.world import World

NUM_SEEDS = 20
SECONDS = 6.0
SETTLE_S = 12.0


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
    world.autopilot = Habits(leave=0.03, crash=0.0, absence_s=(0.0, 0.1), remove=0.0)
    world.run(SECONDS)
    world.settle(SETTLE_S)


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


GAMES = (standard_game, crowded_game, game_among_strangers, game_with_a_frozen_player, game_with_many_entities)
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


@pytest.mark.parametrize("game", GAMES, ids=lambda value: value.__name__)
def test_the_same_games_find_nothing_where_no_fault_is_planted(game: Callable[[int], None]) -> None:
    assert first_seed_that_finds(nullcontext(), game, range(5)) is None
