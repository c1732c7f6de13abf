"""Who waits for the same game: parties sorted by skill, and how one of them gathers others around itself.

A queue keeps its parties in pools, one per region that any of them names, each sorted by skill. A party that can play
anywhere is in all pools, so that whoever is in a pool suits everybody else in it, and gathering looks at skills and
sizes only. Lists and `bisect`: moving the pointers of 10,000 parties takes a few microseconds, less than a tree would.
"""

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from operator import attrgetter

from relay.tickets import Ticket, common_regions

ANYWHERE = b""
"""The pool of those who name no region."""
MAX_POOLS = 32
"""Regions that the waiting parties of a queue name together at most (chosen: as many as a large cloud has). It bounds
the work for a party that can play anywhere."""
MAX_LOOKS = 1024
"""Parties looked at for one gathering: four times the largest room (chosen). The nearest in skill come first."""

_place = attrgetter("place")

QueueKey = tuple[bytes, bytes, int, int]
"""Game, tags, min_players, max_players: who differs in any never meets."""


@dataclass(eq=False, slots=True)
class Party:
    """Tickets that stay together; who is alone is a party of one. What follows `tickets` counts once all are there."""

    queue: "Queue"
    size: int
    """Players it will have."""
    tickets: dict[int, Ticket] = field(default_factory=dict)
    """Its tickets so far by key, first come first."""
    since: float = 0.0
    """When the last of it came: from then on it waits."""
    place: tuple[int, int] = (0, 0)
    """Its mean skill, and its number in the order of completion: sorts a pool, and no two have the same."""
    lowest_skill: int = 0
    highest_skill: int = 0
    regions: tuple[bytes, ...] = ()
    """Where all of it can play, the preferred first. Empty: anywhere."""
    tried_in: int = 0
    """The last pass in which it had its turn."""

    @property
    def missing(self) -> int:
        """Players who are not there yet."""
        return self.size - len(self.tickets)

    def complete(self, number: int, now: float) -> None:
        """Work out what counts now that all are there."""
        tickets = list(self.tickets.values())
        skills = [ticket.skill for ticket in tickets]
        self.since = now
        self.place = (sum(skills) // len(skills), number)
        self.lowest_skill, self.highest_skill = min(skills), max(skills)
        self.regions = common_regions(tickets) or ()


class Queue:
    """All who wait for one game with the same tags and sizes."""

    def __init__(self, key: QueueKey) -> None:
        self.key = key
        self.num_tickets = 0
        """Those of incomplete parties too."""
        self.parties: dict[int, Party] = {}
        """Complete parties by number, oldest first."""
        self.pools: dict[bytes, list[Party]] = {ANYWHERE: []}
        self._num_naming: dict[bytes, int] = {}
        """Region -> parties that name it: the pool of a region nobody names is given up."""
        self._turns: deque[Party] = deque()
        """Whose turn is still to come, oldest first. Some of them may have left the queue."""

    def add(self, party: Party) -> None:
        """Let a complete party wait."""
        self.parties[party.place[1]] = party
        for region in party.regions:
            if region not in self.pools:
                self.pools[region] = list(self.pools[ANYWHERE])
            self._num_naming[region] = self._num_naming.get(region, 0) + 1
        for region in party.regions or self.pools:
            insort(self.pools[region], party, key=_place)

    def remove(self, party: Party) -> None:
        """Let a complete party wait no more."""
        del self.parties[party.place[1]]
        for region in party.regions or self.pools:
            pool = self.pools[region]
            del pool[bisect_left(pool, party.place, key=_place)]
        for region in party.regions:
            self._num_naming[region] -= 1
            if not self._num_naming[region]:
                del self._num_naming[region], self.pools[region]

    def has_pools_left_for(self, regions: tuple[bytes, ...]) -> bool:
        """Tell whether a party of these regions may be added: no more pools are opened than `MAX_POOLS`."""
        return len(self._num_naming) + sum(region not in self._num_naming for region in regions) <= MAX_POOLS

    def pools_of(self, party: Party) -> list[list[Party]]:
        """Return the pools in which a party may find others, the preferred first.

        Who can play anywhere looks in every region, by name; all others of its kind are in each of them.
        """
        regions = party.regions or sorted(self._num_naming) or (ANYWHERE,)
        return [self.pools[region] for region in regions]

    def next_turn(self, number: int) -> Party | None:
        """Give the turn to the next party, after the youngest to the oldest. None: all had theirs in pass `number`."""
        while True:
            if not self._turns:
                oldest = next(iter(self.parties.values()), None)
                if oldest is None or oldest.tried_in == number:
                    return None
                self._turns.extend(self.parties.values())
            party = self._turns.popleft()
            if party.tried_in != number and party.place[1] in self.parties:
                party.tried_in = number
                return party


def gather(pool: list[Party], seed: Party, window: float) -> tuple[list[Party], int]:
    """Gather as many players around a party as the room holds and the window allows, the nearest in skill first.

    Parties are of many sizes, and the nearest are not always those that fill a room: three and one do, where three and
    two do not. So it keeps every number of players that can be reached, and from which party that was first possible.

    Args:
        pool: Parties by skill, the seed among them.
        window: How far apart the lowest and highest skill of the match may be. The seed's own are not held to it.
    Returns: the parties, the seed first; and how many were looked at.
    """
    most = seed.queue.key[3]
    possible = (2 << most) - 1
    reached = 1 << seed.size  # bit n: n players can be brought together
    last: dict[int, Party] = {}
    """Number of players -> the party that was added last to get there."""
    lowest, highest = seed.lowest_skill, seed.highest_skill
    num_looks = 0
    for party in nearest(pool, seed, window):
        if reached >> most or num_looks == MAX_LOOKS:
            break
        num_looks += 1
        new = (reached << party.size) & possible & ~reached
        low, high = min(lowest, party.lowest_skill), max(highest, party.highest_skill)
        if not new or high - low > window:
            continue
        lowest, highest = low, high
        reached |= new
        while new:
            num_players = new.bit_length() - 1
            last[num_players] = party
            new ^= 1 << num_players
    gathered: list[Party] = []
    num_players = reached.bit_length() - 1
    while num_players != seed.size:
        gathered.append(last[num_players])
        num_players -= last[num_players].size
    return [seed, *reversed(gathered)], num_looks


def nearest(pool: list[Party], seed: Party, window: float) -> Iterator[Party]:
    """Walk through a pool outwards from a party, as far as the window; of two equally near the less skilled first."""
    skill = seed.place[0]
    right = bisect_left(pool, seed.place, key=_place) + 1
    left = right - 2
    while True:
        below = skill - pool[left].place[0] if left >= 0 else None
        above = pool[right].place[0] - skill if right < len(pool) else None
        if below is not None and (above is None or below <= above):
            if below > window:
                return
            yield pool[left]
            left -= 1
        elif above is not None and above <= window:
            yield pool[right]
            right += 1
        else:
            return
