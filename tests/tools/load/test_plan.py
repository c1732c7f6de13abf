"""What a load is to do, and what it cannot be."""

import dataclasses
import math
from typing import Any

import pytest

from protocol.constants import MAX_PLAYERS_PER_ROOM
from tools.lag.conditions import PRESETS, Conditions, Path
from tools.load.claims import CLAIM_BYTES
from tools.load.plan import LONGEST_DELAY_S, RANGES, Plan


@pytest.mark.parametrize("name", RANGES)
def test_both_ends_of_a_range_are_permitted_and_nothing_beyond(name: str) -> None:
    low, high = RANGES[name]
    for value in (low, high):
        assert getattr(Plan(**({"port": 1} | {name: value})), name) == value
    for value in (low - 1, high + 1, math.nan):
        with pytest.raises(ValueError, match=f"^{name} is .*; permitted: "):
            Plan(**({"port": 1} | {name: value}))


def test_every_number_has_a_range() -> None:
    numbers = {one.name for one in dataclasses.fields(Plan) if isinstance(getattr(Plan(port=1), one.name), int | float)}
    assert numbers - {"floor"} == RANGES.keys()


def test_a_state_is_long_enough_to_prove_itself_or_there_is_none() -> None:
    assert Plan(port=1, state_bytes=0).habits.state_bytes == CLAIM_BYTES
    with pytest.raises(ValueError, match=f"state_bytes is 7; permitted: 0, or {CLAIM_BYTES} to"):
        Plan(port=1, state_bytes=7)


@pytest.mark.parametrize(
    ("changes", "seats"),
    [
        ({}, 8),
        ({"leaves": 0.1}, 16),
        ({"crashes": 0.1}, 16),
        ({"moves": 0.1}, 8),
        ({"players": MAX_PLAYERS_PER_ROOM, "leaves": 1.0}, MAX_PLAYERS_PER_ROOM),
    ],
)
def test_rooms_with_churn_have_seats_for_those_who_are_still_missed(changes: dict[str, Any], seats: int) -> None:
    assert Plan(port=1, **changes).seats == seats


def test_the_longest_delay_is_that_of_the_slowest_path() -> None:
    assert Plan(port=1).longest_delay_s == LONGEST_DELAY_S
    slow = Path(down=Conditions(latency_ms=200.0, jitter_ms=10.0))
    assert Plan(port=1, paths=((0.9, PRESETS["none"]), (0.1, slow))).longest_delay_s == LONGEST_DELAY_S + 0.28


def test_habits_and_players_follow_from_the_plan() -> None:
    plan = Plan(port=1, rooms=3, players=5, message_bytes=40, signal_bytes=50)
    assert plan.num_players == 15
    habits = plan.habits
    assert (habits.per_room, habits.message_bytes, habits.signal_bytes, habits.aim) == (5, 40, 50, plan.aim)
