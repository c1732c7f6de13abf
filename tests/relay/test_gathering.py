"""Queues and gathering: pools that stay sorted, turns that come round, and the fullest room there is."""

from itertools import combinations, count
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.gathering import ANYWHERE, MAX_LOOKS, MAX_POOLS, Party, Queue, gather, nearest
from relay.tickets import Ticket

INFINITE = float("inf")

_numbers = count(1)


def make_queue(most: int = 4) -> Queue:
    return Queue((b"chess 1", b"", 1, most))


def add(queue: Queue, *skills: int, regions: tuple[bytes, ...] = ()) -> Party:
    """Let a party of these skills wait."""
    party = Party(queue, len(skills))
    for key, skill in enumerate(skills):
        party.tickets[key] = Ticket(
            key=key, game=b"chess 1", min_players=1, max_players=queue.key[3], skill=skill, regions=regions
        )
    party.complete(next(_numbers), 0.0)
    queue.add(party)
    return party


def skills_of(pool: list[Party]) -> list[int]:
    return [party.place[0] for party in pool]


def test_a_complete_party_knows_its_mean_its_extremes_and_where_all_can_play() -> None:
    queue = make_queue()
    party = Party(queue, 3)
    wishes = [(b"eu", b"us", b"af"), (), (b"af", b"eu")]
    for key, (skill, regions) in enumerate(zip([30, -10, 41], wishes)):
        assert party.missing == 3 - key
        party.tickets[key] = Ticket(
            key=key, game=b"g", min_players=1, max_players=4, skill=skill, regions=regions, party=b"p", party_size=3
        )
    party.complete(7, 5.0)
    assert (party.missing, party.place, party.since) == (0, (20, 7), 5.0)
    assert (party.lowest_skill, party.highest_skill, party.regions) == (-10, 41, (b"eu", b"af"))


def test_whoever_is_in_a_pool_suits_everybody_else_in_it() -> None:
    queue = make_queue()
    anywhere = add(queue, 5)
    both = add(queue, 9, regions=(b"us", b"eu"))
    american = add(queue, 1, regions=(b"us",))
    late = add(queue, 7)
    assert queue.pools == {
        ANYWHERE: [anywhere, late],
        b"eu": [anywhere, late, both],
        b"us": [american, anywhere, late, both],
    }
    assert queue.pools_of(anywhere) == [queue.pools[b"eu"], queue.pools[b"us"]]
    assert queue.pools_of(both) == [queue.pools[b"us"], queue.pools[b"eu"]]
    queue.remove(both)
    assert queue.pools == {ANYWHERE: [anywhere, late], b"us": [american, anywhere, late]}
    queue.remove(american)
    assert queue.pools == {ANYWHERE: [anywhere, late]} and queue.pools_of(late) == [queue.pools[ANYWHERE]]


def test_a_party_looks_in_the_region_first_that_it_prefers() -> None:
    queue = make_queue()
    party = add(queue, 0, regions=(b"us", b"eu"))
    add(queue, 1, regions=(b"eu",))
    assert queue.pools_of(party) == [queue.pools[b"us"], queue.pools[b"eu"]]


def test_a_queue_has_no_more_pools_than_it_may() -> None:
    queue = make_queue()
    for i in range(MAX_POOLS - 1):
        add(queue, 0, regions=(b"%d" % i,))
    assert queue.has_pools_left_for((b"new", b"1")) and queue.has_pools_left_for(())
    assert not queue.has_pools_left_for((b"new", b"newer"))
    last = add(queue, 0, regions=(b"new",))
    assert queue.has_pools_left_for((b"new", b"1")) and not queue.has_pools_left_for((b"newer",))
    queue.remove(last)
    assert queue.has_pools_left_for((b"newer",))


def test_pools_stay_sorted_and_whole_whatever_comes_and_goes() -> None:
    rng, queue, waiting = Random("pools"), make_queue(), list[Party]()
    choices: list[tuple[bytes, ...]] = [(), (b"a",), (b"a", b"b"), (b"c", b"b")]
    for _ in range(500):
        if waiting and rng.random() < 0.45:
            queue.remove(waiting.pop(rng.randrange(len(waiting))))
        else:
            waiting.append(add(queue, rng.randrange(20), regions=rng.choice(choices)))
        named = {region for party in waiting for region in party.regions}
        assert set(queue.pools) == named | {ANYWHERE}
        for region, pool in queue.pools.items():
            suits = [party for party in waiting if region in party.regions or not party.regions]
            assert pool == sorted(suits, key=lambda party: party.place)


# --- turns


def test_turns_go_from_the_oldest_to_the_youngest_and_round_again() -> None:
    queue = make_queue()
    a, b = add(queue, 9), add(queue, 3)
    assert [queue.next_turn(1) for _ in range(3)] == [a, b, None]
    c = add(queue, 1)
    assert [queue.next_turn(2) for _ in range(4)] == [a, b, c, None]


def test_an_interrupted_round_goes_on_and_begins_anew_in_the_same_pass() -> None:
    queue = make_queue()
    a, b, c = add(queue, 1), add(queue, 2), add(queue, 3)
    assert [queue.next_turn(1), queue.next_turn(1)] == [a, b]
    d = add(queue, 4)
    assert [queue.next_turn(2) for _ in range(5)] == [c, a, b, d, None]
    assert [queue.next_turn(3) for _ in range(5)] == [a, b, c, d, None]


def test_who_has_left_has_no_turn() -> None:
    queue = make_queue()
    a, b, c = add(queue, 1), add(queue, 2), add(queue, 3)
    assert queue.next_turn(1) is a
    queue.remove(b)
    assert queue.next_turn(1) is c and queue.next_turn(1) is None
    queue.remove(a)
    queue.remove(c)
    assert queue.next_turn(2) is None and make_queue().next_turn(1) is None


# --- gathering


def test_the_nearest_come_first_as_far_as_the_window() -> None:
    queue = make_queue()
    add(queue, 89), add(queue, 90), add(queue, 104)
    seed = add(queue, 100)
    add(queue, 96), add(queue, 100), add(queue, 110), add(queue, 111)
    pool = queue.pools[ANYWHERE]
    assert skills_of(list(nearest(pool, seed, 10))) == [100, 96, 104, 90, 110]
    assert skills_of(list(nearest(pool, seed, INFINITE))) == [100, 96, 104, 90, 110, 89, 111]
    assert list(nearest([seed], seed, INFINITE)) == []


def test_of_equals_the_one_who_waits_longer_comes_first() -> None:
    queue = make_queue(2)
    parties = [add(queue, 0) for _ in range(4)]
    assert gather(queue.pools[ANYWHERE], parties[0], 0.0)[0] == parties[:2]
    assert gather(queue.pools[ANYWHERE], parties[3], 0.0)[0] == [parties[3], parties[2]]


def test_the_extremes_of_all_members_are_within_the_window() -> None:
    queue = make_queue(3)
    seed = add(queue, 50)
    add(queue, 0, 90)
    pool = queue.pools[ANYWHERE]
    assert gather(pool, seed, 89.0) == ([seed], 1)
    assert len(gather(pool, seed, 90.0)[0]) == 2


def test_a_room_of_256_is_gathered() -> None:
    queue = make_queue(256)
    parties = [add(queue, skill) for skill in range(300)]
    gathered, num_looks = gather(queue.pools[ANYWHERE], parties[150], INFINITE)
    assert len(set(gathered)) == 256 and num_looks == 255
    assert sorted(skills_of(gathered)) == list(range(150 - 128, 150 + 128))


def test_no_more_are_looked_at_than_may_be() -> None:
    queue = make_queue(4)
    seed = add(queue, 0, 0, 0)
    for _ in range(MAX_LOOKS + 2):
        add(queue, 0, 0)
    assert gather(queue.pools[ANYWHERE], seed, INFINITE) == ([seed], MAX_LOOKS)


@given(
    sizes=st.lists(st.integers(1, 5), min_size=1, max_size=9),
    skills=st.lists(st.integers(-20, 20), min_size=9, max_size=9),
    most=st.integers(5, 12),
)
def test_the_room_is_as_full_as_any_choice_of_parties_makes_it(sizes: list[int], skills: list[int], most: int) -> None:
    queue = make_queue(most)
    parties = [add(queue, *[skill] * size) for size, skill in zip(sizes, skills)]
    gathered, num_looks = gather(queue.pools[ANYWHERE], parties[0], INFINITE)
    sums = [
        sizes[0] + sum(party.size for party in chosen)
        for num_others in range(len(parties))
        for chosen in combinations(parties[1:], num_others)
    ]
    assert sum(party.size for party in gathered) == max(total for total in sums if total <= most)
    assert gathered[0] is parties[0] and len(set(gathered)) == len(gathered) and num_looks < len(parties)


@given(
    members=st.lists(st.lists(st.integers(-50, 50), min_size=1, max_size=3), min_size=1, max_size=12),
    window=st.integers(0, 60),
)
def test_whoever_is_gathered_is_within_the_window(members: list[list[int]], window: int) -> None:
    queue = make_queue(6)
    parties = [add(queue, *skills) for skills in members]
    for seed in parties:
        gathered, _ = gather(queue.pools[ANYWHERE], seed, float(window))
        spread = max(one.highest_skill for one in gathered) - min(one.lowest_skill for one in gathered)
        assert gathered == [seed] or spread <= window
        assert sum(one.size for one in gathered) <= 6
        fits = [
            other
            for other in parties
            if other is not seed
            and seed.size + other.size <= 6
            and max(seed.highest_skill, other.highest_skill) - min(seed.lowest_skill, other.lowest_skill) <= window
        ]
        assert len(gathered) > 1 or not fits


@pytest.mark.parametrize("window", [0.0, INFINITE])
def test_a_party_alone_gathers_itself_whatever_its_own_skills(window: float) -> None:
    queue = make_queue()
    seed = add(queue, 0, 5000)
    assert gather(queue.pools[ANYWHERE], seed, window) == ([seed], 0)
