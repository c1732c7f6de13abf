"""When a player's table is right."""

import numpy as np

from tests.tools.load.made import SIZE, crowd_of, deliver, log_range, message, page, plan_of, signal, state, update
from tools.load.checks import Checks, unconverged
from tools.load.claims import keys_of
from tools.load.crowd import Crowd


def agreeing(rooms: int = 1, players: int = 4) -> Crowd:
    """Everybody has published twice, and everybody knows it."""
    crowd, _ = crowd_of(plan_of(rooms=rooms, players=players))
    people = crowd.people
    people.published[: people.used] = 2
    for row in range(people.used):
        mates = np.flatnonzero(people.room[: people.used] == people.room[row])
        people.known[row, people.player_id[mates]] = keys_of(mates, people.published[mates])
    return crowd


def test_tables_that_show_everybodys_newest_have_converged() -> None:
    assert unconverged(agreeing(2, 3), 2, []).tolist() == []


def test_who_lacks_a_state_or_has_an_old_one_is_listed() -> None:
    crowd = agreeing()
    crowd.people.known[1, 3] = 0
    crowd.people.known[2, 0] = keys_of(np.array([0]), np.array([1]))[0]
    assert unconverged(crowd, 1, []).tolist() == [1, 2]


def test_who_published_since_is_not_known_to_anybody() -> None:
    crowd = agreeing()
    crowd.people.published[2] += 1
    assert unconverged(crowd, 1, []).tolist() == [0, 1, 2, 3]


def test_who_left_must_be_gone_from_the_tables_of_others() -> None:
    crowd = agreeing()
    crowd.end(3)
    assert unconverged(crowd, 1, []).tolist() == [0, 1, 2]
    crowd.people.known[:3, 3] = 0
    assert unconverged(crowd, 1, []).tolist() == []


def test_who_fell_silent_may_still_be_there_or_not() -> None:
    crowd = agreeing(2, 2)
    crowd.end(3)
    assert unconverged(crowd, 2, []).tolist() == [2]
    assert unconverged(crowd, 2, [(1, 1)]).tolist() == []
    assert unconverged(crowd, 2, [(0, 1)]).tolist() == [2], "the seat of another room"


def test_who_never_published_is_in_no_table() -> None:
    crowd = agreeing()
    crowd.people.published[0] = 0
    assert unconverged(crowd, 1, []).tolist() == [0, 1, 2, 3]
    crowd.people.known[:, 0] = 0
    assert unconverged(crowd, 1, []).tolist() == []


def test_all_that_is_received_goes_to_those_who_judge_it() -> None:
    crowd, checks = crowd_of()
    assert isinstance(checks, Checks)
    people = crowd.people
    people.published[:4] = people.said[:4] = people.signalled[:4] = 9
    sections = page([(1, state(1, 3))]), log_range(1, 1, message(1, 1, 1)), signal(1, 1)
    deliver(crowd, update(0, 1, 5, *sections))
    deliver(crowd, update(0, 3, 7))
    assert checks.freshness.num_received == 1
    assert sum(checks.ledger.messages.values()) == sum(checks.ledger.signals.values()) == 1
    assert checks.freshness._gap_rooms == {6: [0]}
    assert crowd.shape.state_bytes == SIZE


def test_ages_and_latencies_are_noted_together_or_not_at_all() -> None:
    _, checks = crowd_of()
    assert not checks.freshness.is_timing and not checks.ledger.is_timing
    checks.set_timing(True)
    assert checks.freshness.is_timing and checks.ledger.is_timing
