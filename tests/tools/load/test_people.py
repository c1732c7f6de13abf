"""Lives as columns."""

import numpy as np

from tools.load.people import COLUMNS, UNKNOWN, People, columns_of
from tools.load.reading import Shape

SHAPE = Shape(player_slots=8, page_ids=3, state_bytes=24)


def crowd_of(*sessions: int) -> People:
    people = People(2, SHAPE)
    for session in sessions:
        row = people.add()
        people.session[row], people.live[row] = session, True
    return people


def test_a_row_is_never_used_again() -> None:
    people = crowd_of(5, 6)
    people.end(0)
    assert people.add() == 2 and people.used == 3
    assert people.living.tolist() == [1]


def test_a_new_life_knows_nothing() -> None:
    people = crowd_of(5)
    assert people.rtt_s[0] == UNKNOWN and people.ack_due_at[0] == np.inf
    assert (people.signal_newest[0] == UNKNOWN).all()
    assert not people.known[0].any() and not people.page_tick[0].any()


def test_growing_keeps_what_was_written() -> None:
    people = crowd_of(*range(1, 40))
    assert people.session[:39].tolist() == list(range(1, 40))
    assert people.known.shape[1] == 8 and people.page_tick.shape[1] == 3


def test_sessions_of_the_living_are_found_and_no_others() -> None:
    people = crowd_of(2**63 + 5, 7, 2**64 - 1)
    wanted = np.array([7, 2**64 - 1, 8, 2**63 + 5], np.uint64)
    row, known = people.find(wanted)
    assert known.tolist() == [True, True, False, True]
    assert row[known].tolist() == [1, 2, 0]
    people.end(1)
    assert people.find(wanted)[1].tolist() == [False, True, False, True]
    people.add()
    people.session[3], people.live[3] = 8, True
    assert people.find(wanted)[1].tolist() == [False, True, True, True]


def test_among_nobody_nobody_is_found() -> None:
    row, known = People(4, SHAPE).find(np.array([1, 2], np.uint64))
    assert len(row) == 2 and not known.any()


def test_the_columns_depend_on_the_shape_of_the_room() -> None:
    columns = columns_of(SHAPE)
    assert COLUMNS.items() <= columns.items()
    assert columns["known"][1] == (8,) and columns["page_tick"][1] == (3,)
    assert SHAPE.num_pages == 3
