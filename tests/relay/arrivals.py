"""A judge of matchmaking: seeded arrivals in virtual time, and what may be said against the matches that were made.

It knows what was put and what came back, and the rules as `relay.matchmaking` states them, and nothing of how matches
are found. Each rule is a function from a story to complaints, so that each can be shown to find what breaks it.
"""

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from random import Random
from statistics import quantiles

from relay.matchmaking import Matchmaker
from relay.tickets import Match, Ticket

PASS_S = 0.5
"""Time between two calls of `match`."""
ARRIVING_S = 250.0
NUM_ARRIVALS = 1000
REFRESH_S = 2.0
PATIENT_S = 90.0
"""How long the last arrivals are given."""

SHAPES = [(b"arena 1", b"ranked", 2, 8), (b"arena 2", b"ranked", 2, 8), (b"arena 1", b"casual", 2, 8)]
SHAPES += [(b"duel 1", b"", 2, 2), (b"siege 1", b"", 8, 32)]
REGIONS: list[tuple[bytes, ...]] = [(b"eu",), (b"us",), (b"eu", b"us"), (b"us", b"eu", b"asia"), (b"asia",), ()]
REGION_WEIGHTS = [40, 30, 10, 5, 10, 5]
ALONE_SHARE, WITHDRAWING_SHARE, SILENT_SHARE = 0.7, 0.03, 0.03


@dataclass
class Story:
    """What was put, and what became of it."""

    tickets: dict[int, Ticket] = field(default_factory=dict)
    put_at: dict[int, float] = field(default_factory=dict)
    matches: list[tuple[float, Match]] = field(default_factory=list)
    withdrawn: dict[int, float] = field(default_factory=dict)
    expired: dict[int, float] = field(default_factory=dict)
    left: list[int] = field(default_factory=list)
    """Who still waits at the end."""
    stuck: list[str] = field(default_factory=list)
    """Who waited on although a match with it was possible."""

    def since(self, keys: list[int]) -> float:
        """Since when the last of these waits: for a party, since when all of it does."""
        return max(self.put_at[key] for key in keys)

    def parties(self, keys: list[int]) -> list[list[int]]:
        """Group keys into complete parties, incomplete ones left out."""
        groups: dict[tuple[bytes, bytes], list[int]] = {}
        for key in keys:
            ticket = self.tickets[key]
            groups.setdefault((ticket.game, ticket.party or b"alone %d" % key), []).append(key)
        return [group for group in groups.values() if len(group) == self.tickets[group[0]].party_size]

    def longest_wait(self, at: float, match: Match) -> float:
        """How long that party of a match waited which waited longest."""
        return max(at - self.since(party) for party in self.parties(list(match.keys)))

    def digest(self) -> str:
        """Everything that came back, as one number."""
        return hashlib.sha256(repr((self.matches, self.withdrawn, self.expired, self.left)).encode()).hexdigest()


# --- the rules in the judge's own words


def window(waited_s: float) -> float:
    return float("inf") if waited_s >= 60.0 else 100.0 + 10.0 * waited_s


def enough(waited_s: float, min_players: int, max_players: int) -> int:
    if waited_s >= 30.0:
        return min_players
    return max_players - int((max_players - min_players) * waited_s / 30.0)


def queue_of(ticket: Ticket) -> tuple[bytes, bytes, int, int]:
    return ticket.game, ticket.tags, ticket.min_players, ticket.max_players


def could_fill(sizes: list[int], with_size: int, min_players: int, max_players: int) -> bool:
    """Tell whether some of these parties together with one more are a match."""
    sums = {with_size}
    for size in sizes:
        sums |= {one + size for one in sums if one + size <= max_players}
    return max(sums) >= min_players


def stuck(story: Story, waiting: list[int], now: float) -> list[str]:
    """Parties to whom any skill and any size would do, and for whom there are others in a region of theirs."""
    parties = story.parties(waiting)
    regions = [common(story, party) for party in parties]
    complaints = []
    for party, own in zip(parties, regions):
        ticket = story.tickets[party[0]]
        if now - story.since(party) < 60.0 + PASS_S:
            continue
        for region in own or {region for others in regions if others for region in others} or {b""}:
            sizes = [
                len(other)
                for other, others in zip(parties, regions)
                if other is not party
                and queue_of(story.tickets[other[0]]) == queue_of(ticket)
                and (others is None or region in others)
            ]
            if could_fill(sizes, len(party), ticket.min_players, ticket.max_players):
                complaints.append(f"{party} waited on in {region!r} at {now}")
    return complaints


def common(story: Story, keys: list[int]) -> set[bytes] | None:
    """Find the regions that suit all; None: any."""
    named = [set(story.tickets[key].regions) for key in keys if story.tickets[key].regions]
    return set.intersection(*named) if named else None


# --- what may be said against a story


def lost_players(story: Story) -> list[str]:
    """Everybody was matched once, withdrew, was silent too long or still waits: one of these."""
    fates = Counter([key for _, match in story.matches for key in match.keys])
    fates.update([*story.withdrawn, *story.expired, *story.left])
    return [f"{key} has {fates[key]} fates" for key in story.tickets if fates[key] != 1]


def strangers(story: Story) -> list[str]:
    """Only those of one game, with the same tags and sizes, meet; and the match says which."""
    return [
        f"{match} has {story.tickets[key]}"
        for _, match in story.matches
        for key in match.keys
        if queue_of(story.tickets[key])
        != (match.game, match.tags, story.tickets[match.keys[0]].min_players, match.max_players)
    ]


def split_parties(story: Story) -> list[str]:
    """A party is in a match as a whole, side by side, or not at all."""
    complaints = []
    for _, match in story.matches:
        whole = [key for party in story.parties(list(match.keys)) for key in party]
        if whole != list(match.keys):
            complaints.append(f"{match} splits a party")
    return complaints


def wrong_regions(story: Story) -> list[str]:
    """The region of a match suits all, and if anybody named one it has one."""
    complaints = []
    for _, match in story.matches:
        suits = common(story, list(match.keys))
        if match.region not in (suits if suits is not None else {b""}):
            complaints.append(f"{match} does not suit all")
    return complaints


def unpopular_regions(story: Story) -> list[str]:
    """No other region that suits all is the first choice of more."""
    complaints = []
    for _, match in story.matches:
        suits = common(story, list(match.keys)) or set()
        wishes = [[region for region in story.tickets[key].regions if region in suits] for key in match.keys]
        votes = Counter(wish[0] for wish in wishes if wish)
        if votes and votes[match.region] < max(votes.values()):
            complaints.append(f"{match} is where fewer want it: {votes}")
    return complaints


def wrong_sizes(story: Story) -> list[str]:
    """A match is no smaller than what is enough by then, and no larger than the room."""
    complaints = []
    for at, match in story.matches:
        if not match.keys:
            complaints.append(f"{match} is empty")
            continue
        first = story.tickets[match.keys[0]]
        least = enough(story.longest_wait(at, match), first.min_players, first.max_players)
        if not max(least, first.min_players) <= len(match.keys) <= first.max_players:
            complaints.append(f"{len(match.keys)} players at {at}, {least} to {first.max_players} are right")
    return complaints


def wide_skills(story: Story) -> list[str]:
    """Skills lie within the window of who waited longest, one party by itself apart; and the match says the range."""
    complaints = []
    for at, match in story.matches:
        skills = [story.tickets[key].skill for key in match.keys]
        allowed = window(story.longest_wait(at, match))
        if max(skills) - min(skills) > allowed and len(story.parties(list(match.keys))) > 1:
            complaints.append(f"{min(skills)} to {max(skills)} at {at}, {allowed} is allowed")
        if (match.lowest_skill, match.highest_skill) != (min(skills), max(skills)):
            complaints.append(f"{match} has skills {min(skills)} to {max(skills)}")
    return complaints


def left_waiting(story: Story) -> list[str]:
    """Nobody who would take any match by then is left out of one that is possible."""
    return story.stuck


def waits_s(story: Story) -> list[float]:
    """How long each matched player's party waited, ascending."""
    waits = [
        at - story.since(party)
        for at, match in story.matches
        for party in story.parties(list(match.keys))
        for _ in party
    ]
    return sorted(waits)


def long_waits(story: Story) -> list[str]:
    """What this crowd should wait; the figures hold for its arrivals and for no others."""
    of_100 = quantiles(waits_s(story), n=100)
    bounds = {50: 13.0, 90: 35.0, 99: 75.0}
    return [f"{n} of 100 wait up to {of_100[n - 1]} s" for n, bound in bounds.items() if of_100[n - 1] > bound]


def empty_seats(story: Story) -> list[str]:
    """As many seats are taken as this thin crowd can fill; with rooms of two at once it would be a third."""
    taken = sum(len(match.keys) for _, match in story.matches)
    seats = sum(match.max_players for _, match in story.matches)
    return [] if taken >= 0.42 * seats else [f"{taken} of {seats} seats are taken"]


JUDGES = [lost_players, strangers, split_parties, wrong_regions, unpopular_regions, wrong_sizes, wide_skills]
JUDGES += [left_waiting, long_waits, empty_seats]


# --- arrivals


def arrivals(seed: int) -> list[tuple[float, Ticket]]:
    """Make up a crowd: friends come within five seconds of each other, the rest whenever."""
    rng = Random(seed)
    crowd: list[tuple[float, Ticket]] = []
    while len(crowd) < NUM_ARRIVALS:
        game, tags, least, most = rng.choices(SHAPES, [6, 3, 2, 3, 4])[0]
        size = 1 if rng.random() < ALONE_SHARE else rng.randint(1, min(5, most))
        regions = rng.choices(REGIONS, REGION_WEIGHTS)[0]
        party = b"friends %d" % len(crowd) if size > 1 else b""
        skill, at = rng.gauss(1500, 300), rng.uniform(0, ARRIVING_S)
        for _ in range(min(size, NUM_ARRIVALS - len(crowd))):
            ticket = Ticket(
                key=rng.getrandbits(64),
                game=game,
                tags=tags,
                min_players=least,
                max_players=most,
                skill=int(rng.gauss(skill, 50)),
                regions=regions if rng.random() < 0.9 else (),
                party=party,
                party_size=size,
            )
            crowd.append((at + rng.uniform(0, 5), ticket))
    return sorted(crowd, key=lambda arrival: (arrival[0], arrival[1].key))


def play(seed: int, maker: Matchmaker | None = None) -> Story:
    """Let a crowd arrive, wait, refresh, withdraw and fall silent, until all were given time enough."""
    maker = Matchmaker() if maker is None else maker
    rng, story, waiting = Random(f"habits {seed}"), Story(), dict[int, None]()
    coming, now = arrivals(seed)[::-1], 0.0
    leaves_at: dict[int, float] = {}
    silent: set[int] = set()
    while now < ARRIVING_S + PATIENT_S:
        now += PASS_S
        while coming and coming[-1][0] <= now:
            at, ticket = coming.pop()
            assert maker.put(ticket, at) is None
            story.tickets[ticket.key], story.put_at[ticket.key] = ticket, at
            waiting[ticket.key] = None
            habit = rng.random()
            if habit < WITHDRAWING_SHARE:
                leaves_at[ticket.key] = at + rng.uniform(0, 30)
            elif habit < WITHDRAWING_SHARE + SILENT_SHARE:
                silent.add(ticket.key)
        for key in list(waiting):
            if leaves_at.get(key, now) < now:
                maker.withdraw(key)
                story.withdrawn[key] = now
                del waiting[key]
            elif now % REFRESH_S == 0 and key not in silent:
                maker.refresh(key, now)
        for key in maker.expire(now):
            story.expired[key] = now
            waiting.pop(key, None)
        for match in maker.match(now):
            story.matches.append((now, match))
            for key in match.keys:
                waiting.pop(key, None)
        story.stuck += stuck(story, list(waiting), now)
    story.left = [key for key in waiting if maker.waiting(key, now) is not None]
    return story
