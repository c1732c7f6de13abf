"""Whom messages and signals are for."""

from collections import Counter

import numpy as np
import pytest

from protocol.constants import Target
from tools.load.audience import NUM_IDS, Aim, Audience, choose

COUNTERS = np.arange(1, 4001)
LIFE = np.full(len(COUNTERS), 7)
SENDER = np.full(len(COUNTERS), 2)


def hearers(audience: Audience, per_room: int) -> list[set[int]]:
    heard = [audience.hears(np.full(len(audience.target), player_id)) for player_id in range(per_room)]
    return [{p for p in range(per_room) if heard[p][i]} for i in range(len(audience.target))]


def test_each_target_means_whom_the_protocol_says() -> None:
    target = np.array([Target.ALL, Target.ALL_BUT, Target.ONE, Target.LIST, Target.LIST])
    audience = Audience(target, np.array([1, 1, 1, 1, 2]), np.array([3, 3, 3, 3, 2]))
    assert hearers(audience, 4) == [{0, 1, 2, 3}, {0, 2, 3}, {1}, {1, 3}, {2}]


def test_a_mixed_audience_has_every_target_and_every_player() -> None:
    audience = choose(Aim.MIXED, LIFE, COUNTERS, SENDER, 8)
    shares = Counter(audience.target.tolist())
    wanted = {Target.ALL: 3, Target.ALL_BUT: 1, Target.ONE: 2, Target.LIST: 2}
    assert shares.keys() == wanted.keys()
    for target, eighths in wanted.items():
        assert shares[target] / len(COUNTERS) == pytest.approx(eighths / 8, abs=0.03)
    for ids in (audience.first, audience.second):
        assert min(Counter(ids.tolist()).values()) > 300 and set(ids.tolist()) == set(range(8))
    assert (audience.first != audience.second).all()


def test_it_is_a_function_of_who_and_which_only() -> None:
    whole = choose(Aim.MIXED, LIFE, COUNTERS, SENDER, 8)
    some = choose(Aim.MIXED, LIFE[5:9], COUNTERS[5:9], SENDER[5:9] * 0, 8)
    assert whole.target[5:9].tolist() == some.target.tolist()
    assert whole.first[5:9].tolist() == some.first.tolist()
    other = choose(Aim.MIXED, LIFE + 1, COUNTERS, SENDER, 8)
    assert (other.first != whole.first).mean() > 0.5


@pytest.mark.parametrize(("aim", "expected"), [(Aim.OTHERS, {0, 1, 3}), (Aim.ALL, {0, 1, 2, 3})])
def test_a_plain_aim_is_the_same_for_all(aim: Aim, expected: set[int]) -> None:
    audience = choose(aim, LIFE, COUNTERS, SENDER, 4)
    assert hearers(audience, 4) == [expected] * len(COUNTERS)


@pytest.mark.parametrize("per_room", [1, 2])
def test_ids_stay_within_a_small_room(per_room: int) -> None:
    audience = choose(Aim.MIXED, LIFE, COUNTERS, SENDER * 0, per_room)
    assert audience.first.max() < per_room and audience.second.max() < per_room


def test_each_target_goes_with_its_number_of_ids() -> None:
    assert {target: int(NUM_IDS[target]) for target in Target} == {
        Target.ALL: 0,
        Target.ALL_BUT: 1,
        Target.ONE: 1,
        Target.LIST: 2,
    }
