"""Matchmaking by tickets: brings players together who do not know each other, and friends among them.

A player puts a ticket, refreshes it while it waits, and learns that it was matched. What a match becomes, a room with
reserved seats, is the caller's; nothing here knows rooms, addresses or sessions.

Who is matched with whom:

1. Only those meet whose game, tags, min_players and max_players are equal and who can all play in one region. Friends
   of one party are one unit: nobody of them is matched before all are there, and then all together.
2. Parties have their turns, oldest first. Who has its turn gathers others around its own skill, the nearest first, as
   many as fill the room or come nearest to that, in the region where most come together; its order of preference
   decides between equals.
3. No two skills of a match, members' of parties too, lie further apart than a window: `fair_distance` for a fresh
   ticket, `widens_per_s` more for each second that the party whose turn it is has waited, anything from
   `unlimited_after_s` on. A party that has a room to itself is not held to it.
4. A full room is taken at once. A smaller one is taken if it has at least the players that count as enough by then:
   max_players for a fresh party, evenly sinking to min_players at `settles_after_s`.

What is matched depends on the order of the calls and on their `now`, and on nothing else: dicts are walked in the order
of their making, and no set is walked.
"""

from collections import OrderedDict
from dataclasses import dataclass
from itertools import islice

from relay.gathering import MAX_LOOKS, Party, Queue, QueueKey, gather
from relay.tickets import (
    Match,
    Ticket,
    TicketRefusal,
    Waiting,
    common_regions,
    preferred_region,
    what_is_wrong,
)

MAX_TICKETS = 16_384
"""Tickets that may wait in all queues together (chosen); one beyond is refused."""
SILENT_S = 10.0
"""After this without a refresh a ticket is given up (chosen: a client refreshes every second or two)."""
LOOKS_PER_PASS = 1000
"""Parties looked at in one `match`, more or less: 0.4 to 0.9 ms with 10,000 tickets in one queue, measured on a 2-core
x86-64 machine. The next call goes on where this one stopped."""
LOOKS_PER_POOL = 6
"""What beginning to look through a pool counts as: the search for one's own place in it."""
LOOKS_PER_TAKEN = 8
"""What taking one matched party out of its queue counts as: sorted lists close up behind it."""
MAX_EXPIRED = 256
"""Tickets given up in one `expire`: about a millisecond. The rest have their turn in the next call."""


@dataclass(frozen=True, kw_only=True)
class Policy:
    """How what is asked of a match sinks while one waits. All figures are chosen, not measured."""

    fair_distance: int = 100
    """Skill points between the best and the worst of a match that a fresh ticket accepts. With Elo the better of two
    that are 100 apart wins 64 of 100."""
    widens_per_s: float = 10.0
    """Points that this grows by for each second of waiting: to 700 at last, which covers most who play a game."""
    unlimited_after_s: float = 60.0
    """From then on any skill will do: an uneven match is better than none."""
    settles_after_s: float = 30.0
    """From then on a match of min_players will do."""

    def __post_init__(self) -> None:
        """Raises: ValueError for a figure below 0."""
        for name, value in vars(self).items():
            if not value >= 0:
                raise ValueError(f"{name} is {value}, must be 0 or more")

    def window(self, waited_s: float) -> float:
        """Tell how far apart the skills of a match may be."""
        if waited_s >= self.unlimited_after_s:
            return float("inf")
        return self.fair_distance + self.widens_per_s * waited_s

    def enough(self, waited_s: float, min_players: int, max_players: int) -> int:
        """Tell how many players are enough for a match."""
        if waited_s >= self.settles_after_s:
            return min_players
        return max_players - int((max_players - min_players) * waited_s / self.settles_after_s)


@dataclass(slots=True)
class _Place:
    """One ticket that waits."""

    ticket: Ticket
    party: Party
    put_at: float


class Matchmaker:
    """All tickets that wait. `now` never goes back."""

    def __init__(
        self, policy: Policy | None = None, max_tickets: int = MAX_TICKETS, silent_s: float = SILENT_S
    ) -> None:
        self._policy = policy or Policy()
        self._max_tickets = max_tickets
        self._silent_s = silent_s
        self._places: dict[int, _Place] = {}
        self._heard: OrderedDict[int, float] = OrderedDict()
        """Key -> when its owner was last heard, the longest silent first."""
        self._queues: OrderedDict[QueueKey, Queue] = OrderedDict()
        """In the order of their next turns."""
        self._friends: dict[tuple[bytes, bytes], Party] = {}
        """(Game, name of the party) -> the party."""
        self._num_completed = 0
        self._num_passes = 0

    def __len__(self) -> int:
        """Return how many tickets wait."""
        return len(self._places)

    def put(self, ticket: Ticket, now: float) -> TicketRefusal | None:
        """Let a player wait. The same ticket again is a refresh. Returns why not; then nothing has changed."""
        known = self._places.get(ticket.key)
        if known is not None:
            return None if known.ticket == ticket and self.refresh(ticket.key, now) else TicketRefusal.KEY_TAKEN
        refusal = self._why_not(ticket)
        if refusal is not None:
            return refusal
        party = self._party_for(ticket)
        party.tickets[ticket.key] = ticket
        party.queue.num_tickets += 1
        self._places[ticket.key] = _Place(ticket, party, now)
        self._heard[ticket.key] = now
        if not party.missing:
            self._num_completed += 1
            party.complete(self._num_completed, now)
            party.queue.add(party)
        return None

    def refresh(self, key: int, now: float) -> bool:
        """Note that a player still waits. False: it does not, for it was matched, withdrew or was silent too long."""
        if key not in self._heard:
            return False
        self._heard[key] = now
        self._heard.move_to_end(key)
        return True

    def withdraw(self, key: int) -> bool:
        """Let a player wait no more; its party is incomplete then. False: it did not wait."""
        place = self._places.get(key)
        if place is None:
            return False
        if not place.party.missing:
            place.party.queue.remove(place.party)
        self._forget(key)
        return True

    def expire(self, now: float) -> list[int]:
        """Withdraw tickets whose owners have been silent too long. Returns their keys, the longest silent first."""
        expired = []
        for key, heard_at in islice(self._heard.items(), MAX_EXPIRED):
            if now - heard_at < self._silent_s:
                break
            expired.append(key)
        for key in expired:
            self.withdraw(key)
        return expired

    def waiting(self, key: int, now: float) -> Waiting | None:
        """Tell what to show a player who waits; None if it does not."""
        place = self._places.get(key)
        if place is None:
            return None
        party = place.party
        return Waiting(waited_s=now - place.put_at, num_players=party.queue.num_tickets, party_missing=party.missing)

    def match(self, now: float) -> list[Match]:
        """Bring players together, for about a millisecond. Their tickets wait no more.

        Queues take turns, so that a crowd of one game holds up no other. In one pass each party has one turn at most.
        """
        self._num_passes += 1
        matches = []
        looks_left, num_at_rest = LOOKS_PER_PASS, 0
        while looks_left > 0 and num_at_rest < len(self._queues):
            key, queue = next(iter(self._queues.items()))
            self._queues.move_to_end(key)
            looks_left -= 1
            seed = queue.next_turn(self._num_passes)
            if seed is None:
                num_at_rest += 1
                continue
            num_at_rest = 0
            parties, num_looks = self._gather(seed, now)
            looks_left -= num_looks
            if parties:
                matches.append(self._take(parties))
                looks_left -= LOOKS_PER_TAKEN * len(parties)
        return matches

    def _gather(self, seed: Party, now: float) -> tuple[list[Party], int]:
        """Gather a match around a party; none if too few come together. Returns how many were looked at, too."""
        waited_s = now - seed.since
        _, _, min_players, max_players = seed.queue.key
        window = self._policy.window(waited_s)
        best: list[Party] = []
        most = self._policy.enough(waited_s, min_players, max_players) - 1
        num_looks = 0
        for pool in seed.queue.pools_of(seed):
            parties, looks = gather(pool, seed, window)
            num_looks += LOOKS_PER_POOL + looks
            num_players = sum(party.size for party in parties)
            if num_players > most:
                best, most = parties, num_players
            if most == max_players or num_looks >= MAX_LOOKS:
                break
        return best, num_looks

    def _take(self, parties: list[Party]) -> Match:
        """Take parties out, and make a match of them."""
        queue = parties[0].queue
        tickets = [ticket for party in parties for ticket in party.tickets.values()]
        for party in parties:
            queue.remove(party)
        for ticket in tickets:
            self._forget(ticket.key)
        game, tags, _, max_players = queue.key
        return Match(
            keys=tuple(ticket.key for ticket in tickets),
            game=game,
            tags=tags,
            max_players=max_players,
            region=preferred_region(tickets, common_regions(tickets) or ()),
            lowest_skill=min(party.lowest_skill for party in parties),
            highest_skill=max(party.highest_skill for party in parties),
        )

    def _why_not(self, ticket: Ticket) -> TicketRefusal | None:
        """Tell why a ticket cannot be taken now."""
        refusal = what_is_wrong(ticket)
        if refusal is not None:
            return refusal
        if len(self._places) >= self._max_tickets:
            return TicketRefusal.FULL
        friends = self._friends.get((ticket.game, ticket.party))
        regions = ticket.regions
        if friends is not None:
            if friends.queue.key != _queue_key(ticket) or friends.size != ticket.party_size:
                return TicketRefusal.PARTY_DIFFERS
            if not friends.missing:
                return TicketRefusal.PARTY_FULL
            common = common_regions([*friends.tickets.values(), ticket])
            if common is None:
                return TicketRefusal.PARTY_HAS_NO_REGION
            regions = common
        queue = self._queues.get(_queue_key(ticket))
        if queue is not None and not queue.has_pools_left_for(regions):
            return TicketRefusal.TOO_MANY_REGIONS
        return None

    def _party_for(self, ticket: Ticket) -> Party:
        """Find or make the party of a ticket that may be taken, and its queue."""
        name = (ticket.game, ticket.party)
        if name in self._friends:
            return self._friends[name]
        key = _queue_key(ticket)
        if key not in self._queues:
            self._queues[key] = Queue(key)
        party = Party(self._queues[key], ticket.party_size)
        if ticket.party:
            self._friends[name] = party
        return party

    def _forget(self, key: int) -> None:
        """Forget a ticket whose party is in no pool, and with the last of them its party and queue."""
        place = self._places.pop(key)
        del self._heard[key]
        party, queue = place.party, place.party.queue
        del party.tickets[key]
        queue.num_tickets -= 1
        if not party.tickets:
            self._friends.pop((place.ticket.game, place.ticket.party), None)
        if not queue.num_tickets:
            del self._queues[queue.key]


def _queue_key(ticket: Ticket) -> QueueKey:
    """Tell where a ticket waits."""
    return ticket.game, ticket.tags, ticket.min_players, ticket.max_players
