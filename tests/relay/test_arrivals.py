"""A crowd of 1,000 is matched by the rules; and the judges can fail: planted bad match makers are found."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from relay import gathering, matchmaking
from relay.gathering import Party
from relay.matchmaking import Matchmaker, Policy
from relay.tickets import Match, Ticket, TicketRefusal
from tests.relay import arrivals
from tests.relay.arrivals import JUDGES, Story, play

ROOT = Path(__file__).parents[2]
SEEDS = range(8)
ANY_SKILL_S = Policy().unlimited_after_s


# --- a crowd of 1,000


@pytest.mark.parametrize("seed", SEEDS)
def test_a_crowd_of_1000_is_matched_by_the_rules(seed: int) -> None:
    story = play(seed)
    assert len(story.tickets) == 1000
    assert {judge.__name__: judge(story) for judge in JUDGES} == {judge.__name__: [] for judge in JUDGES}
    assert len(arrivals.waits_s(story)) > 880


def test_the_crowd_has_everything_that_the_rules_are_about() -> None:
    story = play(0)
    matched_parties = [party for _, match in story.matches for party in story.parties(list(match.keys))]
    assert {len(party) for party in matched_parties} == {1, 2, 3, 4, 5}
    assert len({match.game for _, match in story.matches}) == 4
    assert {match.region for _, match in story.matches} >= {b"eu", b"us", b"asia"}
    assert story.withdrawn and story.expired and story.left
    sizes = [len(match.keys) for _, match in story.matches if match.max_players == 8]
    assert min(sizes) == 2 and max(sizes) == 8
    waited = [story.longest_wait(at, match) for at, match in story.matches]
    assert min(waited) < 1.0 and max(waited) >= ANY_SKILL_S


def test_the_same_arrivals_make_the_same_matches() -> None:
    assert play(3).digest() == play(3).digest() != play(4).digest()


def test_the_same_arrivals_make_the_same_matches_in_another_process() -> None:
    """Bytes hash differently in every process: whatever depends on the order of a set shows here."""
    script = "from tests.relay.arrivals import play; print(play(5).digest())"
    digests = {play(5).digest()}
    for hash_seed in ("1", "2"):
        environ = os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(
            [sys.executable, "-c", script],
            env=environ,
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        digests.add(done.stdout.strip())
    assert len(digests) == 1


# --- planted: each judge finds the match maker that breaks its rule


class AnySkill(Policy):
    """Whoever is there is matched with whoever comes."""

    def window(self, waited_s: float) -> float:
        return float("inf")


class NeverWider(Policy):
    """Who is far from all others waits for ever."""

    def window(self, waited_s: float) -> float:
        return float(self.fair_distance)


class SmallAtOnce(Policy):
    """Two are enough for a room of eight, however short they have waited."""

    def enough(self, waited_s: float, min_players: int, max_players: int) -> int:
        return min_players


class FullOnly(Policy):
    """A room that does not fill never begins."""

    def enough(self, waited_s: float, min_players: int, max_players: int) -> int:
        return max_players


class GivesUp(Policy):
    """Who has waited long has no turn any more."""

    def enough(self, waited_s: float, min_players: int, max_players: int) -> int:
        return max_players + 1 if waited_s > 20.0 else super().enough(waited_s, min_players, max_players)


class Splitter(Matchmaker):
    """Friends are strangers to it."""

    def put(self, ticket: Ticket, now: float) -> TicketRefusal | None:
        return super().put(replace(ticket, party=b"", party_size=1), now)


class Blind(Matchmaker):
    """It does not know that the world is round."""

    def put(self, ticket: Ticket, now: float) -> TicketRefusal | None:
        return super().put(replace(ticket, regions=()), now)


class Forgetful(Matchmaker):
    """The last of a match gets no seat."""

    def match(self, now: float) -> list[Match]:
        return [replace(match, keys=match.keys[:-1]) for match in super().match(now)]


class Generous(Matchmaker):
    """Every match is made twice."""

    def match(self, now: float) -> list[Match]:
        return [match for match in super().match(now) for _ in range(2)]


class Lazy(Matchmaker):
    """It looks once in half a minute."""

    def match(self, now: float) -> list[Match]:
        return super().match(now) if now % 30.0 == 0 else []


def mix_games(patch: pytest.MonkeyPatch) -> None:
    """Two games with rooms of one size are one."""
    patch.setattr(matchmaking, "_queue_key", lambda one: (b"arena 1", one.tags, one.min_players, one.max_players))


def mix_tags(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(matchmaking, "_queue_key", lambda one: (one.game, b"ranked", one.min_players, one.max_players))


def overfill(patch: pytest.MonkeyPatch) -> None:
    """A party more than the room holds."""

    def gather(pool: list[Party], seed: Party, window: float) -> tuple[list[Party], int]:
        parties, num_looks = gathering.gather(pool, seed, window)
        near = [party for party in gathering.nearest(pool, seed, 10.0) if party not in parties]
        return parties + near[:1], num_looks

    patch.setattr(matchmaking, "gather", gather)


def like_few(patch: pytest.MonkeyPatch) -> None:
    """Of the regions that suit all, the last by name."""
    patch.setattr(matchmaking, "preferred_region", lambda tickets, common: max(common, default=b""))


def forget_wide_parties(patch: pytest.MonkeyPatch) -> None:
    """A party's mean is taken for all of it."""

    def complete(party: Party, number: int, now: float) -> None:
        plain_complete(party, number, now)
        party.lowest_skill = party.highest_skill = party.place[0]

    plain_complete = Party.complete
    patch.setattr(Party, "complete", complete)


Judge = Callable[[Story], list[str]]
Plant = Callable[[pytest.MonkeyPatch], None]


@pytest.mark.parametrize(
    ("judge", "policy"),
    [
        (arrivals.wide_skills, AnySkill()),
        (arrivals.wide_skills, Policy(widens_per_s=30.0)),
        (arrivals.left_waiting, NeverWider()),
        (arrivals.left_waiting, Policy(unlimited_after_s=75.0)),
        (arrivals.wrong_sizes, SmallAtOnce()),
        (arrivals.empty_seats, SmallAtOnce()),
        (arrivals.left_waiting, FullOnly()),
        (arrivals.long_waits, FullOnly()),
        (arrivals.left_waiting, GivesUp()),
        (arrivals.long_waits, Policy(settles_after_s=55.0)),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
def test_a_bad_policy_is_found(judge: Judge, policy: Policy) -> None:
    assert judge(play(0, Matchmaker(policy)))


@pytest.mark.parametrize(
    ("judge", "maker"),
    [
        (arrivals.split_parties, Splitter),
        (arrivals.wrong_regions, Blind),
        (arrivals.lost_players, Forgetful),
        (arrivals.lost_players, Generous),
        (arrivals.long_waits, Lazy),
    ],
)
def test_a_bad_match_maker_is_found(judge: Judge, maker: type[Matchmaker]) -> None:
    assert judge(play(0, maker()))


@pytest.mark.parametrize(
    ("judge", "plant"),
    [
        (arrivals.strangers, mix_games),
        (arrivals.strangers, mix_tags),
        (arrivals.wrong_sizes, overfill),
        (arrivals.unpopular_regions, like_few),
        (arrivals.wide_skills, forget_wide_parties),
    ],
)
def test_a_planted_fault_is_found(judge: Judge, plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    assert judge(play(0))
