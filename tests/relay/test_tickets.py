"""Tickets: what is wrong with one by itself, and which regions suit several."""

from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest

from relay.tickets import (
    MAX_NAME_BYTES,
    MAX_PLAYERS,
    MAX_REGION_BYTES,
    MAX_REGIONS,
    MAX_SKILL,
    Ticket,
    TicketRefusal,
    common_regions,
    preferred_region,
    what_is_wrong,
)

GOOD = Ticket(key=1, game=b"chess 1", min_players=2, max_players=4)


def playing_in(*regions: bytes) -> Ticket:
    return replace(GOOD, regions=regions)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, None),
        ({"min_players": 1, "max_players": 1}, None),
        ({"max_players": MAX_PLAYERS}, None),
        ({"max_players": MAX_PLAYERS + 1}, TicketRefusal.BAD_SIZES),
        ({"min_players": 0}, TicketRefusal.BAD_SIZES),
        ({"min_players": 5}, TicketRefusal.BAD_SIZES),
        ({"min_players": -1, "max_players": -1}, TicketRefusal.BAD_SIZES),
        ({"game": b""}, TicketRefusal.BAD_NAME),
        ({"game": b"x" * MAX_NAME_BYTES, "tags": b"x" * MAX_NAME_BYTES, "party": b"x" * MAX_NAME_BYTES}, None),
        ({"game": b"x" * (MAX_NAME_BYTES + 1)}, TicketRefusal.BAD_NAME),
        ({"tags": b"x" * (MAX_NAME_BYTES + 1)}, TicketRefusal.BAD_NAME),
        ({"party": b"x" * (MAX_NAME_BYTES + 1)}, TicketRefusal.BAD_NAME),
        ({"skill": MAX_SKILL}, None),
        ({"skill": MAX_SKILL + 1}, TicketRefusal.BAD_SKILL),
        ({"skill": -MAX_SKILL}, None),
        ({"skill": -MAX_SKILL - 1}, TicketRefusal.BAD_SKILL),
        ({"party": b"us", "party_size": 1}, None),
        ({"party": b"us", "party_size": 4}, None),
        ({"party": b"us", "party_size": 5}, TicketRefusal.BAD_PARTY_SIZE),
        ({"party": b"us", "party_size": 0}, TicketRefusal.BAD_PARTY_SIZE),
        ({"party_size": 2}, TicketRefusal.BAD_PARTY_SIZE),
        ({"party_size": 0}, TicketRefusal.BAD_PARTY_SIZE),
        ({"regions": tuple(b"%d" % i for i in range(MAX_REGIONS))}, None),
        ({"regions": tuple(b"%d" % i for i in range(MAX_REGIONS + 1))}, TicketRefusal.TOO_MANY_REGIONS),
        ({"regions": (b"x" * MAX_REGION_BYTES,)}, None),
        ({"regions": (b"x" * (MAX_REGION_BYTES + 1),)}, TicketRefusal.BAD_NAME),
        ({"regions": (b"eu", b"")}, TicketRefusal.BAD_NAME),
        ({"regions": (b"eu", b"us", b"eu")}, TicketRefusal.BAD_NAME),
    ],
)
def test_a_ticket_is_refused_for_what_is_wrong_with_it(change: dict[str, Any], expected: TicketRefusal | None) -> None:
    assert what_is_wrong(replace(GOOD, **change)) is expected


def test_regions_that_suit_all_come_in_the_order_of_the_first_who_names_any() -> None:
    assert common_regions([]) == common_regions([playing_in(), playing_in()]) == ()
    assert common_regions([playing_in(), playing_in(b"us", b"eu")]) == (b"us", b"eu")
    assert common_regions([playing_in(b"us", b"eu", b"af"), playing_in(b"af", b"us")]) == (b"us", b"af")
    assert common_regions([playing_in(b"us"), playing_in(), playing_in(b"eu")]) is None
    assert common_regions([playing_in(b"a", b"b"), playing_in(b"b", b"c"), playing_in(b"c", b"a")]) is None


def test_the_region_that_most_prefer_is_chosen_whoever_comes_first() -> None:
    tickets = [playing_in(b"us", b"eu"), playing_in(b"eu", b"us"), playing_in(b"asia", b"us", b"eu"), playing_in()]
    for order in permutations(tickets):
        common = common_regions(list(order))
        assert common is not None and preferred_region(list(order), common) == b"us"


def test_of_regions_preferred_by_as_many_the_name_decides() -> None:
    tickets = [playing_in(b"us", b"eu"), playing_in(b"eu", b"us")]
    assert preferred_region(tickets, (b"us", b"eu")) == preferred_region(tickets[::-1], (b"eu", b"us")) == b"eu"
    assert preferred_region([playing_in()], ()) == b""
