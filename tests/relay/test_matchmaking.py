"""Matchmaking: each promise by itself, bounded work, and random calls. A judged crowd is in `test_arrivals`."""

from dataclasses import replace
from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay import gathering, matchmaking
from relay.gathering import MAX_LOOKS, MAX_POOLS, Party
from relay.matchmaking import LOOKS_PER_PASS, LOOKS_PER_TAKEN, MAX_EXPIRED, SILENT_S, Matchmaker, Policy
from relay.tickets import Match, Ticket, TicketRefusal, Waiting, common_regions
from tests.relay import arrivals
from tests.relay.arrivals import JUDGES, Story

ANY_SKILL_S = Policy().unlimited_after_s
SETTLED_S = Policy().settles_after_s

_keys = count(1)


def ticket(key: int | None = None, *, sizes: tuple[int, int] = (2, 4), **fields: Any) -> Ticket:
    return Ticket(
        key=next(_keys) if key is None else key,
        **{"game": b"chess 1", "min_players": sizes[0], "max_players": sizes[1]} | fields,
    )


def friends(party: bytes, *skills: int, **fields: Any) -> list[Ticket]:
    return [ticket(skill=skill, party=party, party_size=len(skills), **fields) for skill in skills]


def put_all(maker: Matchmaker, tickets: list[Ticket], now: float = 0.0) -> list[int]:
    for one in tickets:
        assert maker.put(one, now) is None
    return [one.key for one in tickets]


def matched(maker: Matchmaker, now: float) -> list[list[int]]:
    return [sorted(match.keys) for match in maker.match(now)]


# --- who meets


def test_a_full_room_is_matched_at_once_and_its_tickets_wait_no_more() -> None:
    maker = Matchmaker()
    keys = put_all(maker, [ticket(skill=skill, regions=(b"eu",)) for skill in (10, 40, 20, 30)])
    [match] = maker.match(0.0)
    assert match == Match(
        keys=(keys[0], keys[2], keys[3], keys[1]),  # the oldest, then the nearest in skill
        game=b"chess 1",
        tags=b"",
        max_players=4,
        region=b"eu",
        lowest_skill=10,
        highest_skill=40,
    )
    assert len(maker) == 0 and maker.match(99.0) == [] and maker.expire(99.0) == []
    assert not maker.refresh(keys[0], 0.0) and not maker.withdraw(keys[0]) and maker.waiting(keys[0], 0.0) is None


@pytest.mark.parametrize("other", [{"game": b"chess 2"}, {"tags": b"blitz"}, {"sizes": (2, 5)}, {"sizes": (1, 4)}])
def test_only_equal_games_tags_and_sizes_meet(other: dict[str, Any]) -> None:
    maker = Matchmaker()
    put_all(maker, [ticket(sizes=(2, 4)), ticket(**other)])
    assert [match.keys for match in maker.match(1e6) if len(match.keys) > 1] == []


def test_four_strangers_of_a_game_for_one_do_not_wait() -> None:
    maker = Matchmaker()
    keys = put_all(maker, [ticket(sizes=(1, 1), skill=1000 * i) for i in range(4)])
    assert [match.keys for match in maker.match(0.0)] == [(key,) for key in keys]


def test_a_smaller_match_is_enough_the_longer_the_oldest_waits() -> None:
    maker = Matchmaker()
    pair = put_all(maker, [ticket(sizes=(2, 4)), ticket(sizes=(2, 4))])
    assert matched(maker, SETTLED_S - 0.1) == []
    assert matched(maker, SETTLED_S) == [pair]
    three = put_all(maker, [ticket(sizes=(2, 4)) for _ in range(3)], 100.0)
    assert matched(maker, 100.0 + SETTLED_S / 2 - 0.1) == []
    assert matched(maker, 100.0 + SETTLED_S / 2) == [three]


def test_the_window_widens_with_waiting_and_has_no_end_at_last() -> None:
    maker = Matchmaker()
    near = put_all(maker, [ticket(sizes=(2, 2), skill=0), ticket(sizes=(2, 2), skill=150)])
    assert matched(maker, 4.9) == [] and matched(maker, 5.0) == [near]
    far = put_all(maker, [ticket(sizes=(2, 2), skill=0), ticket(sizes=(2, 2), skill=1 << 30)], 100.0)
    assert matched(maker, 100.0 + ANY_SKILL_S - 0.1) == [] and matched(maker, 100.0 + ANY_SKILL_S) == [far]


def test_the_window_is_that_of_whose_turn_it_is_so_that_one_who_waits_long_meets_the_fresh() -> None:
    maker = Matchmaker()
    old = put_all(maker, [ticket(sizes=(2, 2), skill=0)])
    fresh = put_all(maker, [ticket(sizes=(2, 2), skill=600)], 50.0)
    assert matched(maker, 50.0) == [old + fresh]


@pytest.mark.parametrize(
    ("regions", "expected"),
    [
        ([(b"eu",), (b"us",)], None),
        ([(b"eu", b"us"), (b"us", b"asia")], b"us"),
        ([(), ()], b""),
        ([(), (b"us",)], b"us"),
        ([(b"us", b"eu"), (b"eu", b"us")], b"eu"),
        ([(b"us", b"eu"), (b"eu", b"us"), (b"us", b"eu")], b"us"),
        ([(b"asia", b"us", b"eu"), (b"us", b"eu", b"af"), (b"eu", b"us")], b"us"),
    ],
)
def test_a_match_has_a_region_that_suits_all_and_most_prefer(
    regions: list[tuple[bytes, ...]], expected: bytes | None
) -> None:
    for order in (regions, regions[::-1]):
        maker = Matchmaker()
        put_all(maker, [ticket(sizes=(len(order),) * 2, regions=one) for one in order])
        assert [match.region for match in maker.match(0.0)] == ([] if expected is None else [expected])


@pytest.mark.parametrize("regions", [(), (b"eu", b"us")])
def test_one_who_can_play_in_several_regions_goes_where_most_come_together(regions: tuple[bytes, ...]) -> None:
    maker = Matchmaker()
    put_all(maker, [ticket(skill=50, regions=regions)])
    put_all(maker, [ticket(skill=51, regions=(b"eu",)), *[ticket(skill=90, regions=(b"us",)) for _ in range(3)]])
    assert [(match.region, len(match.keys)) for match in maker.match(SETTLED_S)] == [(b"us", 4)]


def test_of_regions_where_as_many_come_together_the_preferred_is_chosen() -> None:
    maker = Matchmaker()
    put_all(maker, [ticket(regions=(b"us", b"eu")), ticket(regions=(b"eu",)), ticket(regions=(b"us",))])
    assert [match.region for match in maker.match(SETTLED_S)] == [b"us"]


# --- parties


def test_friends_wait_for_each_other_and_are_matched_together() -> None:
    maker = Matchmaker()
    party = friends(b"us two", 0, 0)
    alone = put_all(maker, [ticket(), ticket()])
    put_all(maker, party[:1])
    assert maker.match(SETTLED_S - 1.0) == []
    put_all(maker, party[1:], SETTLED_S - 1.0)
    assert matched(maker, SETTLED_S - 1.0) == [sorted([*alone, *(one.key for one in party)])]


def test_an_incomplete_party_is_never_matched_and_others_do_not_wait_for_it() -> None:
    maker = Matchmaker()
    party = friends(b"three", 0, 0, 0)
    put_all(maker, party[:2])
    assert maker.match(1e6) == []
    alone = put_all(maker, [ticket(), ticket()], 1e6)
    assert matched(maker, 2e6) == [alone]


def test_a_party_begins_to_wait_when_it_is_complete() -> None:
    """Or one friend could come early, and all would be matched as if they had waited."""
    maker = Matchmaker()
    first, second = friends(b"pair", 0, 0)
    assert maker.put(first, 0.0) is None and maker.put(second, 1000.0) is None
    assert maker.match(1000.0 + SETTLED_S - 0.1) == []
    assert maker.waiting(first.key, 1001.0) == Waiting(waited_s=1001.0, num_players=2, party_missing=0)
    assert matched(maker, 1000.0 + SETTLED_S) == [[first.key, second.key]]


def test_a_party_that_fills_a_room_is_matched_at_once_whatever_its_skills() -> None:
    maker = Matchmaker()
    keys = put_all(maker, friends(b"family", 0, 9000, 300, -50))
    assert [match.keys for match in maker.match(0.0)] == [tuple(keys)]


def test_all_of_a_party_count_for_the_window_not_its_mean() -> None:
    maker = Matchmaker()
    pair = put_all(maker, friends(b"pair", 0, 200, sizes=(3, 3)))
    third = put_all(maker, [ticket(skill=100, sizes=(3, 3))])
    assert matched(maker, 9.9) == []
    assert matched(maker, 10.0) == [pair + third]


def test_parties_are_put_together_so_that_a_room_fills_not_only_by_the_nearest() -> None:
    """Next to four friends waits one, a little further off two: six are a room, and the nearest would make five."""
    maker = Matchmaker()
    four = put_all(maker, friends(b"four", 0, 0, 0, 0, sizes=(6, 6)))
    put_all(maker, [ticket(skill=1, sizes=(6, 6))])
    two = put_all(maker, friends(b"two", 5, 5, sizes=(6, 6)))
    assert matched(maker, 0.0) == [four + two]


def test_a_party_that_lost_a_member_waits_for_another() -> None:
    maker = Matchmaker()
    first, second, third = friends(b"trio", 0, 0, 0, sizes=(2, 3))
    put_all(maker, [first, second, third])
    assert maker.withdraw(second.key)
    assert maker.match(1e6) == []
    waiting = maker.waiting(first.key, 0.0)
    assert waiting is not None and waiting.party_missing == 1
    assert maker.put(replace(second, key=next(_keys)), 1e6) is None
    assert [len(match.keys) for match in maker.match(1e6)] == [3]


def test_a_party_of_which_all_left_is_forgotten() -> None:
    maker = Matchmaker()
    keys = put_all(maker, friends(b"pair", 0, 0))
    assert all(maker.withdraw(key) for key in keys)
    assert maker.put(ticket(party=b"pair", party_size=3), 0.0) is None


def test_the_party_of_another_game_may_have_the_same_name() -> None:
    maker = Matchmaker()
    pair = friends(b"pair", 0, 0, sizes=(2, 2))
    put_all(maker, [pair[0], *[replace(one, key=next(_keys), game=b"go") for one in pair]])
    assert [(match.game, len(match.keys)) for match in maker.match(0.0)] == [(b"go", 2)]


# --- refusals, refreshing, withdrawing


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ({"tags": b"blitz"}, TicketRefusal.PARTY_DIFFERS),
        ({"sizes": (2, 5)}, TicketRefusal.PARTY_DIFFERS),
        ({"party_size": 3}, TicketRefusal.PARTY_DIFFERS),
        ({"regions": (b"us",)}, TicketRefusal.PARTY_HAS_NO_REGION),
        ({"skill": -(1 << 31)}, TicketRefusal.BAD_SKILL),
    ],
)
def test_a_ticket_that_does_not_fit_its_party_is_refused_and_changes_nothing(
    change: dict[str, Any], refusal: TicketRefusal
) -> None:
    maker = Matchmaker()
    pair: dict[str, Any] = {"party": b"pair", "party_size": 2, "regions": (b"eu", b"af")}
    first = ticket(**pair)
    put_all(maker, [first])
    assert maker.put(ticket(**pair | change), 0.0) is refusal
    assert len(maker) == 1 and maker.match(1e6) == []
    last = put_all(maker, [ticket(**pair)])
    assert maker.put(ticket(**pair), 0.0) is TicketRefusal.PARTY_FULL
    assert matched(maker, 1e6) == [[first.key, *last]]


def test_more_tickets_than_may_wait_are_refused() -> None:
    maker = Matchmaker(max_tickets=5)
    tickets = [ticket(tags=b"%d" % i) for i in range(7)]
    assert [maker.put(one, 0.0) for one in tickets] == [None] * 5 + [TicketRefusal.FULL] * 2
    assert maker.put(tickets[0], 0.0) is None, "a refresh takes no place"
    assert maker.withdraw(tickets[0].key)
    assert maker.put(tickets[6], 0.0) is None


def test_more_regions_than_a_queue_may_have_are_refused() -> None:
    maker = Matchmaker()
    tickets = [ticket(regions=(b"region %d" % i,)) for i in range(MAX_POOLS + 2)]
    assert [maker.put(one, 0.0) for one in tickets] == [None] * MAX_POOLS + [TicketRefusal.TOO_MANY_REGIONS] * 2
    put_all(maker, [ticket(), ticket(regions=(b"region 1",)), ticket(regions=(b"elsewhere",), tags=b"blitz")])
    assert maker.withdraw(tickets[0].key)
    assert maker.put(tickets[-1], 0.0) is None


def test_a_party_may_open_as_many_regions_as_suit_all_of_it() -> None:
    """Also when the last friend names none: the others' regions count then."""
    maker = Matchmaker()
    put_all(maker, [ticket(regions=(b"region %d" % i,)) for i in range(MAX_POOLS - 1)])
    many: dict[str, Any] = {"party_size": 2, "regions": (b"eu", b"us")}
    assert maker.put(ticket(party=b"a", **many), 0.0) is TicketRefusal.TOO_MANY_REGIONS
    put_all(maker, [ticket(party=b"b", party_size=2, regions=(b"eu",)), ticket(regions=(b"us",))])
    assert maker.put(ticket(party=b"b", party_size=2), 0.0) is TicketRefusal.TOO_MANY_REGIONS
    assert len(maker) == MAX_POOLS + 1


def test_putting_the_same_again_is_a_refresh_and_keeps_the_place() -> None:
    maker = Matchmaker()
    one = ticket()
    assert maker.put(one, 0.0) is None and maker.put(one, 9.0) is None
    assert maker.expire(SILENT_S + 8.9) == []
    assert maker.waiting(one.key, 18.0) == Waiting(waited_s=18.0, num_players=1, party_missing=0)
    assert maker.put(replace(one, skill=1), 18.0) is TicketRefusal.KEY_TAKEN
    assert maker.expire(SILENT_S + 9.0) == [one.key]


def test_who_is_silent_too_long_is_given_up_the_longest_silent_first() -> None:
    maker = Matchmaker()
    keys = put_all(maker, [ticket() for _ in range(3)])
    assert maker.refresh(keys[0], 1.0)
    assert maker.expire(SILENT_S - 0.1) == []
    assert maker.expire(SILENT_S) == keys[1:]
    assert maker.expire(SILENT_S + 1.0) == keys[:1] and len(maker) == 0
    assert not maker.refresh(keys[0], SILENT_S)


def test_who_waits_is_told_how_many_do_in_its_queue() -> None:
    maker = Matchmaker()
    first, second = put_all(maker, [ticket(regions=(b"eu",)), ticket(regions=(b"us",))])
    put_all(maker, [ticket(game=b"go"), *friends(b"trio", 0, 0, 0)[:2]], 2.0)
    assert maker.waiting(first, 3.0) == Waiting(waited_s=3.0, num_players=4, party_missing=0)
    assert maker.withdraw(second) and not maker.withdraw(second)
    waiting = maker.waiting(first, 3.0)
    assert waiting is not None and waiting.num_players == 3


# --- bounded work


def count_looks(patch: pytest.MonkeyPatch) -> list[int]:
    """Note what each gathering looked at."""
    looks: list[int] = []

    def gather(pool: list[Party], seed: Party, window: float) -> tuple[list[Party], int]:
        parties, num_looks = gathering.gather(pool, seed, window)
        looks.append(num_looks)
        return parties, num_looks

    patch.setattr(matchmaking, "gather", gather)
    return looks


def test_a_pass_over_a_crowd_does_a_bounded_part_and_the_next_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = count_looks(monkeypatch)
    maker = Matchmaker()
    put_all(maker, [ticket(sizes=(200, 200), skill=i) for i in range(3000)])
    passes = 0
    while maker.match(0.0) == [] and passes < 200:
        assert sum(looks) <= LOOKS_PER_PASS + 2 * MAX_LOOKS and looks
        looks.clear()
        passes += 1
    assert passes == 200, "no 200 of them are near enough"
    num_turns = 0
    while num_turns < 3000:  # whoever has had its turn has it again only after all others
        maker.match(ANY_SKILL_S - 0.1)
        num_turns += len(looks)
        looks.clear()
        passes += 1
    assert passes < 3000


def test_a_crowd_of_one_game_holds_up_no_other() -> None:
    maker = Matchmaker()
    put_all(maker, [ticket(sizes=(200, 200), skill=i) for i in range(3000)])
    pair = put_all(maker, [ticket(game=b"go", sizes=(2, 2)), ticket(game=b"go", sizes=(2, 2))])
    assert matched(maker, 0.0) == [pair]


def test_many_queues_have_their_turns_over_some_passes() -> None:
    maker = Matchmaker()
    for i in range(2000):
        put_all(maker, [ticket(tags=b"%d" % i, sizes=(2, 2)) for _ in range(2)])
    matches = [match.tags for match in maker.match(0.0)]
    assert 10 < len(matches) <= LOOKS_PER_PASS // (2 * LOOKS_PER_TAKEN)
    while len(maker):
        found = [match.tags for match in maker.match(0.0)]
        assert found
        matches += found
    assert matches == [b"%d" % i for i in range(2000)]


def test_queues_in_which_nobody_can_be_matched_cost_their_share_too() -> None:
    maker = Matchmaker()
    for i in range(2 * LOOKS_PER_PASS):
        put_all(maker, [ticket(tags=b"%d" % i, party=b"%d" % i, party_size=2)])
    pair = put_all(maker, [ticket(sizes=(2, 2)), ticket(sizes=(2, 2))])
    assert [matched(maker, 0.0) for _ in range(3)] == [[], [], [pair]]


def test_a_turn_is_bounded_however_many_regions_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threes do not fit together into rooms of four, and all of them would be looked at, in every region again."""
    looks = count_looks(monkeypatch)
    maker = Matchmaker()
    for i in range(MAX_LOOKS + 2):
        put_all(maker, friends(b"%d" % i, 0, 0, 0, sizes=(4, 4)))
    for i in range(MAX_POOLS):
        put_all(maker, [ticket(skill=9999, sizes=(4, 4), regions=(b"%d" % i,))])
    assert maker.match(0.0) == []
    assert sum(looks) <= LOOKS_PER_PASS + 2 * MAX_LOOKS


def test_when_all_fall_silent_at_once_they_are_given_up_in_parts() -> None:
    maker = Matchmaker()
    keys = put_all(maker, [ticket() for _ in range(2 * MAX_EXPIRED + 2)])
    parts = [maker.expire(SILENT_S) for _ in range(4)]
    assert [len(part) for part in parts] == [MAX_EXPIRED, MAX_EXPIRED, 2, 0]
    assert [key for part in parts for key in part] == keys and len(maker) == 0


def test_everybody_has_one_turn_in_a_pass_the_oldest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[int] = []

    def gather(pool: list[Party], seed: Party, window: float) -> tuple[list[Party], int]:
        seeds.extend(seed.tickets)
        return gathering.gather(pool, seed, window)

    monkeypatch.setattr(matchmaking, "gather", gather)
    maker = Matchmaker()
    keys = put_all(maker, [ticket(skill=-200 * i) for i in range(5)])
    maker.match(0.0)
    assert seeds == keys
    maker.match(1.0)
    assert seeds == keys * 2


@pytest.mark.parametrize("figure", ["fair_distance", "widens_per_s", "unlimited_after_s", "settles_after_s"])
@pytest.mark.parametrize("value", [-1, float("nan")])
def test_a_policy_of_senseless_figures_is_refused(figure: str, value: float) -> None:
    with pytest.raises(ValueError, match=figure):
        Policy(**{figure: value})  # type: ignore[arg-type]


def test_a_policy_of_zeros_takes_anything_at_once() -> None:
    maker = Matchmaker(Policy(fair_distance=0, widens_per_s=0, unlimited_after_s=0, settles_after_s=0))
    pair = put_all(maker, [ticket(skill=0), ticket(skill=9999)])
    assert matched(maker, 0.0) == [pair]


# --- any calls in any order


class AnyCalls:
    """Calls against a plain list of who should wait; every match goes to the judges."""

    def __init__(self) -> None:
        self.maker = Matchmaker(max_tickets=MOST_WAITING)
        self.now = 0.0
        self.story = Story()
        self.heard: dict[int, float] = {}
        """Who should wait, and when it was last heard."""
        self.keys = count()

    def put(
        self, shape: tuple[bytes, int, int], skill: int, regions: tuple[bytes, ...], party: tuple[bytes, int]
    ) -> None:
        """Put a ticket that may be good or not, and foretell which."""
        one = Ticket(
            key=next(self.keys),
            game=shape[0],
            min_players=shape[1],
            max_players=shape[2],
            skill=skill,
            regions=regions,
            party=party[0],
            party_size=party[1],
        )
        there = [self.story.tickets[key] for key in self.heard]
        mates = [other for other in there if one.party and (other.game, other.party) == (one.game, one.party)]
        is_good = (
            one.party_size <= one.max_players
            and len(there) < MOST_WAITING
            and len(mates) < one.party_size
            and all((arrivals.queue_of(mate), mate.party_size) == (arrivals.queue_of(one), party[1]) for mate in mates)
            and common_regions([*mates, one]) is not None
        )
        refusal = self.maker.put(one, self.now)
        assert (refusal is None) == is_good, refusal
        if is_good:
            self.story.tickets[one.key], self.story.put_at[one.key] = one, self.now
            self.heard[one.key] = self.now

    def withdraw(self, key: int) -> None:
        assert self.maker.withdraw(key) == (key in self.heard)
        if self.heard.pop(key, None) is not None:
            self.story.withdrawn[key] = self.now

    def refresh(self, key: int) -> None:
        assert self.maker.refresh(key, self.now) == (key in self.heard)
        if key in self.heard:
            self.heard[key] = self.now

    def wait(self, seconds: float) -> None:
        self.now += seconds

    def refresh_all(self) -> None:
        for key in self.heard:
            self.refresh(key)

    def expire(self) -> None:
        silent = [key for key, at in self.heard.items() if self.now - at >= SILENT_S]
        assert sorted(self.maker.expire(self.now)) == silent
        for key in silent:
            self.story.expired[key] = self.now
            del self.heard[key]

    def match(self) -> None:
        for match in self.maker.match(self.now):
            self.story.matches.append((self.now, match))
            for key in match.keys:
                del self.heard[key]
        self.story.stuck += arrivals.stuck(self.story, list(self.heard), self.now)

    def check(self) -> None:
        """Whoever should wait does, and is told so."""
        assert len(self.maker) == len(self.heard)
        queues = [arrivals.queue_of(self.story.tickets[key]) for key in self.heard]
        for key, queue in zip(self.heard, queues):
            waiting = self.maker.waiting(key, self.now)
            assert waiting is not None and waiting.waited_s == self.now - self.story.put_at[key]
            assert waiting.num_players == queues.count(queue)

    def end(self) -> None:
        """Judge it all; and when all have gone, nothing is kept of them."""
        self.story.left = list(self.heard)
        for judge in JUDGES[: JUDGES.index(arrivals.left_waiting) + 1]:
            assert judge(self.story) == []
        for key in list(self.heard):
            self.withdraw(key)
        assert (self.maker._queues, self.maker._friends, self.maker._heard) == ({}, {}, {})


MOST_WAITING = 12
PUTS = st.fixed_dictionaries(
    {
        "shape": st.sampled_from([(b"a", 2, 4), (b"b", 2, 4), (b"b", 1, 3)]),
        "skill": st.integers(-300, 300),
        "regions": st.sampled_from([(), (b"x",), (b"x", b"y"), (b"y", b"x", b"z")]),
        "party": st.sampled_from([(b"", 1), (b"p", 2), (b"p", 3), (b"q", 2), (b"q", 4)]),
    }
)
KEYS = st.fixed_dictionaries({"key": st.integers(0, 40)})
NOTHING = st.just(dict[str, Any]())
CALLS = st.one_of(
    st.tuples(st.just("put"), PUTS),
    st.tuples(st.just("put"), PUTS),
    st.tuples(st.just("wait"), st.fixed_dictionaries({"seconds": st.sampled_from([0.1, 3.0, 9.0, 30.0])})),
    st.tuples(st.sampled_from(["withdraw", "refresh"]), KEYS),
    st.tuples(st.sampled_from(["refresh_all", "expire", "match"]), NOTHING),
)


@settings(max_examples=300, deadline=None)
@given(calls=st.lists(CALLS, min_size=30, max_size=80))
def test_whatever_is_called_in_any_order_all_rules_hold(calls: list[tuple[str, dict[str, Any]]]) -> None:
    run = AnyCalls()
    for name, values in calls:
        getattr(run, name)(**values)
        run.check()
    run.end()
